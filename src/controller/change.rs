//! Changes: the records of `__cluster_metadata-0`.
//!
//! One record batch holds one record, and its value holds a list of changes that take effect
//! together:
//!
//! ```text
//! 0  u8      version of the list, 0
//! 1  ...     postcard: varint count, then each change (varint variant, then its fields)
//! ```
//!
//! **Invariant:** a variant's place and its fields never change once released; a new version of a
//! change is a new variant at the end.

use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, Uuid};

/// Version byte of a list of changes.
pub const CHANGES_VERSION: u8 = 0;

/// One fact about the cluster, as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The first change of all: the cluster has an identity and a feature level.
    Cluster {
        /// Made at the first boot.
        cluster_id: Uuid,
        /// Lowest software that may join; 1 so far.
        feature_level: u16,
    },
    /// A broker started: every partition it leads gets the next leader epoch.
    Broker {
        /// The broker.
        node_id: NodeId,
        /// Its incarnation; rises at every boot.
        broker_epoch: i64,
    },
    /// A topic exists; its partitions follow.
    Topic {
        /// Its identity.
        topic_id: TopicId,
        /// Its name.
        name: TopicName,
    },
    /// A partition exists.
    Partition {
        /// Its topic.
        topic_id: TopicId,
        /// Its number: the next one of its topic.
        partition: Partition,
        /// Where it lives, the preferred leader first.
        replicas: Vec<NodeId>,
        /// Who leads it.
        leader: NodeId,
        /// Epoch of that leadership.
        leader_epoch: LeaderEpoch,
    },
    /// A topic's configuration differs from the broker's default, or again does not.
    Config {
        /// The topic.
        topic_id: TopicId,
        /// Kafka's name of the key.
        key: Box<str>,
        /// Its value, `None` for the default.
        value: Option<Box<str>>,
    },
    /// A topic and all its partitions are gone.
    RemoveTopic {
        /// The topic.
        topic_id: TopicId,
    },
    /// A broker may give out another block of producer ids.
    ProducerIds {
        /// The first id behind it, which is the first of the next block.
        next_id: i64,
    },
    /// A broker's configuration, or that of all, differs at run time from its file, or again does
    /// not.
    BrokerConfig {
        /// The broker, `None` for all.
        node_id: Option<NodeId>,
        /// The key.
        key: Box<str>,
        /// Its value, `None` for that of the file.
        value: Option<Box<str>>,
    },
    /// A group's configuration differs from the broker's default, or again does not.
    GroupConfig {
        /// The group, which need not be there.
        group_id: Box<str>,
        /// Kafka's name of the key.
        key: Box<str>,
        /// Its value, `None` for the default.
        value: Option<Box<str>>,
    },
    /// A new incarnation of a broker belongs to the site; it is fenced until it has caught up.
    Registration {
        /// The broker.
        node_id: NodeId,
        /// Its epoch: the offset of this change.
        broker_epoch: i64,
        /// Its process.
        incarnation: Uuid,
        /// Its log dir.
        directory_id: Uuid,
        /// Where it is reached.
        endpoints: Vec<Endpoint>,
        /// Where it stands, for placement; empty when nobody said.
        rack: Box<str>,
        /// Which life of its quorum log it has.
        life: u32,
        /// The last of its epochs in which it was active, in that life; 0 for none.
        active_epoch: i64,
    },
    /// A registered broker may lead and be in sync, or may not.
    BrokerState {
        /// The broker.
        node_id: NodeId,
        /// Which it may.
        state: BrokerState,
    },
    /// A broker no longer belongs to the site.
    RemoveBroker {
        /// The broker.
        node_id: NodeId,
    },
    /// Who leads a partition and who is in sync with it, from here on.
    PartitionChange {
        /// Its topic.
        topic_id: TopicId,
        /// Its number.
        partition: Partition,
        /// Who leads it, if anyone can.
        leader: Option<NodeId>,
        /// Epoch of that leadership, or of the lack of one.
        leader_epoch: LeaderEpoch,
        /// Who has everything below the high watermark.
        isr: Vec<NodeId>,
        /// Who had it when too few were left, and may lead when nobody is.
        elr: Vec<NodeId>,
        /// Version of all this.
        partition_epoch: i32,
    },
    /// Where a partition lives, and where it moves (KIP-455). A [`Change::PartitionChange`] of the
    /// same list says what follows for leader and in-sync replicas.
    Replicas {
        /// Its topic.
        topic_id: TopicId,
        /// Its number.
        partition: Partition,
        /// Where it lives, the preferred leader first; those that leave stand last.
        replicas: Vec<NodeId>,
        /// Of those, the ones that have still to catch up before the move is over.
        adding: Vec<NodeId>,
        /// Of those, the ones that leave when it is.
        removing: Vec<NodeId>,
    },
    /// The highest feature level that a registered broker understands, where that is not 1.
    BrokerLevel {
        /// The broker.
        node_id: NodeId,
        /// Its level.
        feature_level: u16,
    },
    /// The site's feature level was raised: whoever does not understand it may not join.
    FeatureLevel {
        /// The level.
        feature_level: u16,
    },
    /// A node belongs to the site no more: whoever comes with what it had is not taken in again.
    Departed {
        /// The node.
        node_id: NodeId,
        /// Which life of its quorum log that was.
        life: u32,
    },
}

/// Where a broker is reached, and what is spoken there. Persisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `wire` or `kafka`.
    pub protocol: Box<str>,
    /// Name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
}

/// What a broker may do. The order of the variants is the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerState {
    /// Nothing: it was not heard of for a session, or has not caught up yet.
    #[default]
    Fenced,
    /// Everything.
    Active,
    /// It leaves: it leads nothing and is in sync with nothing any more.
    ShuttingDown,
}

/// Why a persisted list of changes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangesError {
    /// It was written by newer software.
    Version(u8),
    /// It does not decode, though its batch's checksum is right.
    Malformed,
}

impl std::fmt::Display for ChangesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "a metadata record has version {version}, this software reads up to \
                 {CHANGES_VERSION}"
            ),
            Self::Malformed => f.write_str(
                "a metadata record does not decode, though its checksum is right: newer software may \
                 have written it. Start that again; nothing is lost",
            ),
        }
    }
}

impl std::error::Error for ChangesError {}

/// The value of a metadata record.
pub fn encode(changes: &[Change]) -> Vec<u8> {
    postcard::to_extend(changes, vec![CHANGES_VERSION])
        .expect("writing to a Vec cannot fail, and changes have known lengths")
}

/// Reads the value of a metadata record.
pub fn decode(value: &[u8]) -> Result<Vec<Change>, ChangesError> {
    each(value)?.collect()
}

/// The same, one change after the other: an image's list is many times as large in memory.
pub fn each(value: &[u8]) -> Result<Each<'_>, ChangesError> {
    match value.split_first() {
        Some((&CHANGES_VERSION, body)) => {
            let counted = postcard::take_from_bytes::<u32>(body);
            let (left, rest) = counted.map_err(|_| ChangesError::Malformed)?;
            Ok(Each { left, rest })
        }
        Some((&version, _)) => Err(ChangesError::Version(version)),
        None => Err(ChangesError::Malformed),
    }
}

/// Changes of a list, as they are read. Behind one that is malformed there is none.
#[derive(Debug)]
pub struct Each<'a> {
    left: u32,
    rest: &'a [u8],
}

impl Iterator for Each<'_> {
    type Item = Result<Change, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let Ok((change, rest)) = postcard::take_from_bytes(self.rest) else {
            self.left = 0;
            return Some(Err(ChangesError::Malformed));
        };
        self.rest = rest;
        Some(Ok(change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_changes_has_this_layout() {
        let changes = [
            Change::Cluster { cluster_id: Uuid::ZERO, feature_level: 1 },
            Change::Topic {
                topic_id: TopicId::METADATA,
                name: TopicName::new("t").expect("legal"),
            },
        ];
        let mut expected = vec![0, 2, 0];
        expected.extend([0; 16]);
        expected.extend([1, 2]);
        expected.extend(TopicId::METADATA.0.0);
        expected.extend([1, b't']);
        assert_eq!(encode(&changes), expected);
        assert_eq!(decode(&expected).as_deref(), Ok(&changes[..]));
    }

    #[test]
    fn newer_or_broken_records_are_refused() {
        assert_eq!(decode(&[1, 0]), Err(ChangesError::Version(1)));
        assert_eq!(decode(&[]), Err(ChangesError::Malformed));
        assert_eq!(decode(&[0, 1, 99]), Err(ChangesError::Malformed));
    }
}
