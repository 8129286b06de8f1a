//! The records of Kafka's own metadata log, as far as moving in needs them.
//!
//! ```text
//! 0  varint  version of the frame, 1
//!    varint  type of the record
//!    varint  its version
//!    ...     the structure of that type and version; always flexible
//! ```
//!
//! The authority is `metadata/src/main/resources/common/metadata/*.json` in Apache Kafka (4.3).

use alloc::vec::Vec;

use super::error::{Expected, KafkaError, Place};
use super::field::Field;
use super::reader::Reader;
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, Uuid};

/// The only version of the frame.
const FRAME_VERSION: u32 = 1;

/// A topic's configuration, among those of brokers and others.
pub const TOPIC_RESOURCE: i8 = 2;

structs! {
    TopicRecord<'a> {
        [0..] name: &'a str,
        [0..] topic_id: TopicId,
    }

    PartitionRecord {
        [0..] partition_id: Partition,
        [0..] topic_id: TopicId,
        [0..] replicas: Vec<NodeId>,
        [0..] isr: Vec<NodeId>,
        [0..] removing_replicas: Vec<NodeId>,
        [0..] adding_replicas: Vec<NodeId>,
        [0..] leader: NodeId,
        tag 0 [0..] leader_recovery_state: i8,
        [0..] leader_epoch: LeaderEpoch,
        [0..] partition_epoch: i32,
        [1..] directories: Vec<Uuid>,
    }

    ConfigRecord<'a> {
        [0..] resource_type: i8,
        [0..] resource_name: &'a str,
        [0..] name: &'a str,
        [0..] value: Option<&'a str>,
    }

    RemoveTopicRecord {
        [0..] topic_id: TopicId,
    }

    ProducerIdsRecord {
        [0..] broker_id: NodeId,
        [0..] broker_epoch: i64,
        [0..] next_producer_id: i64,
    }
}

/// A record of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord<'a> {
    /// A topic exists.
    Topic(TopicRecord<'a>),
    /// A partition exists.
    Partition(PartitionRecord),
    /// A key of a configuration is set, or with a null no longer is.
    Config(ConfigRecord<'a>),
    /// A topic is gone, with its configuration.
    RemoveTopic(RemoveTopicRecord),
    /// Producer ids below this one are given out.
    ProducerIds(ProducerIdsRecord),
    /// Something that moving in does not need.
    Other {
        /// Its type.
        kind: u32,
    },
}

impl<'a> MetadataRecord<'a> {
    /// Reads the value of a record. A version newer than is described is an error, since where its
    /// fields end cannot be known.
    pub fn decode(bytes: &'a [u8]) -> Result<MetadataRecord<'a>, KafkaError> {
        let mut head = Reader::new(bytes, 0, false);
        head.enter(&Place { structure: "MetadataRecord", field: "frame" });
        let (kind, version) = head_of(&mut head).map_err(|expected| head.error(None, expected))?;
        let newest = match kind {
            2 | 4 | 9 | 15 => 0,
            3 => 2,
            kind => return Ok(MetadataRecord::Other { kind }),
        };
        let version = i16::try_from(version).ok().filter(|version| *version <= newest);
        head.enter(&Place { structure: "MetadataRecord", field: "version" });
        let version = version.ok_or_else(|| head.error(None, Expected::Version))?;
        let mut reader = Reader::new(head.rest(), version, true);
        let record = match kind {
            2 => Field::read(&mut reader).map(MetadataRecord::Topic),
            3 => Field::read(&mut reader).map(MetadataRecord::Partition),
            4 => Field::read(&mut reader).map(MetadataRecord::Config),
            9 => Field::read(&mut reader).map(MetadataRecord::RemoveTopic),
            _ => Field::read(&mut reader).map(MetadataRecord::ProducerIds),
        };
        record.map_err(|expected| reader.error(None, expected))
    }
}

/// Type and version.
fn head_of(head: &mut Reader<'_>) -> Result<(u32, u32), Expected> {
    if head.varint()? != FRAME_VERSION {
        return Err(Expected::Version);
    }
    Ok((head.varint()?, head.varint()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_kafka_4_are_read() {
        // Of a topic `t`, as `kafka-dump-log --cluster-metadata-decoder` names their fields.
        let id = [7; 16];
        let topic = [&[1, 2, 0, 2, b't'][..], &id, &[0]].concat();
        let topic_id = TopicId(Uuid(id));
        let expected = MetadataRecord::Topic(TopicRecord { name: "t", topic_id });
        assert_eq!(MetadataRecord::decode(&topic), Ok(expected));

        let config = [1, 4, 0, 2, 2, b't', 2, b'k', 2, b'v', 0];
        let expected = ConfigRecord {
            resource_type: TOPIC_RESOURCE,
            resource_name: "t",
            name: "k",
            value: Some("v"),
        };
        assert_eq!(MetadataRecord::decode(&config), Ok(MetadataRecord::Config(expected)));

        let mut partition = [&[1, 3, 1, 0, 0, 0, 5][..], &id].concat();
        partition.extend([2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 1]);
        partition.extend([0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2]);
        partition.extend([&[2][..], &[8; 16], &[0]].concat());
        let Ok(MetadataRecord::Partition(read)) = MetadataRecord::decode(&partition) else {
            unreachable!("a partition")
        };
        assert_eq!((read.partition_id, read.leader_epoch), (Partition(5), LeaderEpoch(9)));
        assert_eq!(read.directories, [Uuid([8; 16])]);

        assert_eq!(MetadataRecord::decode(&[1, 20, 0, 0]), Ok(MetadataRecord::Other { kind: 20 }));
        assert!(MetadataRecord::decode(&[1, 2, 1, 2, b't']).is_err(), "a newer version");
        assert!(MetadataRecord::decode(&[2, 2, 0]).is_err(), "a newer frame");
        assert!(MetadataRecord::decode(&topic[..9]).is_err(), "cut");
    }
}
