//! The broker's core: shards, each a front (connections) and a back (partitions), and the control
//! machine that owns the cluster's metadata.
//!
//! Protocol machines in the sense of style.md §2: the runtime feeds [`shard::Event`]s with the
//! present time, takes [`shard::Output`]s until there is none, and asks for the next deadline.
//! Nothing here touches a socket, a thread or a clock, so the same code runs under the simulator.
//!
//! Why two halves: most requests touch partitions of several shards, and one of them must own the
//! request. With the halves apart, a partition of the own shard and one of another are asked in
//! the same words, and only the runtime knows which of the two goes through a mailbox.

mod admit;
mod assemble;
mod awaited;
pub mod back;
pub mod control;
pub mod front;
mod groups;
mod handlers;
mod links;
pub mod mail;
pub mod making;
pub mod metrics;
pub mod scrub;
pub mod shard;
pub mod site;

pub use awaited::Nowhere;
pub use handlers::ConfigText;

pub use crate::log::Slice;

use std::collections::BTreeMap;

use crate::broker::metrics::ProcessMetrics;
use crate::controller::image::{GroupConfigs, Image, PartitionImage};
use crate::controller::{FEATURE_LEVEL, FEATURE_LEVEL_MIN, FEATURE_NAME};
use crate::group::GroupRules;
use crate::ids::{NodeId, Partition, TopicId, TopicPartition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::replica::{ReplicaConfig, ThrottledRates};
use crate::topic_config::TopicConfig;
use crate::wire::configs::ConfigSource;
use crate::wire::elect_leaders::ElectionKind;
use crate::wire::kafka::KafkaError;
use crate::wire::{ErrorCode, TopicRef};

/// Whoever knows how much memory there is for what batches decompress to.
pub trait Memory: std::fmt::Debug {
    /// The most there ever is.
    fn windows_bytes_max(&self) -> u64;
    /// Takes some, if it is there.
    fn try_hold_window(&self, bytes: u64) -> bool;
    /// Gives it back.
    fn release_window(&self, bytes: u64);
}

/// A connection, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What every shard is told at the start.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// This node.
    pub node_id: NodeId,
    /// How many shards there are.
    pub shard_count: u16,
    /// Whether nodes of a site may knock.
    pub has_peers: bool,
    /// Whether the metadata of the start is all there is; else [`shard::Event::Informed`] says when
    /// this node has caught up with its site.
    pub is_informed: bool,
    /// Whether partitions may live here: clients are told of this node then.
    pub is_broker: bool,
    /// Largest frame that is read.
    pub frame_bytes_max: u32,
    /// Most bytes in one answer to a fetch.
    pub fetch_bytes_max: u32,
    /// Files that the logs of one shard may keep open.
    pub handles_max: usize,
    /// Idempotent producers that the partitions of one shard may remember together.
    pub producers_max: usize,
    /// Counts of the process.
    pub process: &'static ProcessMetrics,
    /// For what batches decompress to.
    pub memory: &'static (dyn Memory + Sync),
    /// For what is drawn at random.
    pub seed: u64,
    /// What replicas go by.
    pub replica: ReplicaConfig,
    /// What may change while it runs.
    pub live: LiveConfig,
}

/// What SIGHUP may change of a shard's configuration ([`shard::Event::Reconfigure`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// `advertised.listeners`: host and port that clients are told; `None`: those they came to.
    pub advertised: Option<(Box<str>, u16)>,
    /// The same for Kafka's clients.
    pub advertised_kafka: Option<(Box<str>, u16)>,
    /// For the coordinators of groups.
    pub groups: GroupRules,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: u64,
    /// `scrub.interval.ms`.
    pub scrub_interval_ms: u64,
    /// `log.cleaner.backoff.ms`.
    pub cleaner_backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`; `None`: a share of the memory.
    pub cleaner_map_bytes: Option<u64>,
    /// `follower.replication.throttled.rate` and `leader.replication.throttled.rate`.
    pub replication_throttled: ThrottledRates,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: u64,
    /// Configuration of a topic that says nothing.
    pub topic_defaults: TopicConfig,
    /// Where those come from, by topic-level key; built in where none is named.
    pub topic_sources: BTreeMap<&'static str, ConfigSource>,
    /// The broker's own configuration, for whoever asks for it.
    pub shown: Vec<ConfigText>,
    /// Its keys that may be set at run time.
    pub alterable: Vec<&'static str>,
}

/// The topics there are, for a door that names them its own way.
#[derive(Clone, Copy)]
pub struct Topics<'a> {
    image: &'a Image,
    config: &'a BrokerConfig,
    is_informed: bool,
}

impl<'a> Topics<'a> {
    /// Which partition is meant, if there is one.
    pub fn resolve(
        self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Result<TopicPartition, ErrorCode> {
        match self.image.find_partition(topic, partition) {
            Some((topic_partition, _)) => Ok(topic_partition),
            None => Err(self.unknown(topic)),
        }
    }

    /// The same, of a partition that this broker has a replica of.
    pub fn resolve_here(
        self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Result<TopicPartition, ErrorCode> {
        match self.image.find_partition(topic, partition) {
            Some((topic_partition, image)) if image.replicas.contains(&self.config.node_id) => {
                Ok(topic_partition)
            }
            Some(_) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            None => Err(self.unknown(topic)),
        }
    }

    /// The same, for a batch.
    pub fn place_batch(
        self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Result<TopicPartition, Nowhere> {
        let place = self.resolve_here(topic, partition);
        place.map_err(|error| Nowhere::found(error, topic, partition))
    }

    /// Why a partition is not found. Who has not caught up with its site does not say that there is no
    /// such thing: clients give up records for that.
    fn unknown(self, topic: TopicRef<'_>) -> ErrorCode {
        match self.is_informed {
            true => handlers::unknown(topic, self.image.find(topic).is_some()),
            false => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
    }

    /// The id of the topic of a name.
    pub fn topic_id(self, name: &str) -> Option<TopicId> {
        self.image.find(TopicRef::Name(name)).map(|(topic_id, _)| topic_id)
    }

    /// The name of the topic of an id.
    pub fn name(self, topic_id: TopicId) -> Option<&'a str> {
        self.image.topic(topic_id).map(|image| &*image.name)
    }

    /// All names, in ascending order.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.image.names()
    }

    /// The keys that a topic sets itself.
    pub fn configured(self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let image = self.image.find(TopicRef::Name(name)).map(|(_, image)| image);
        image.into_iter().flat_map(|image| image.configs.keys().map(|key| &**key))
    }

    /// The keys that a group sets itself.
    pub fn configured_of_group(self, group_id: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.image.group_configs(group_id).into_iter().flat_map(GroupConfigs::keys)
    }

    /// The keys that are set at run time for this broker, or for all.
    pub fn configured_of_broker(self, of_all: bool) -> impl Iterator<Item = &'a str> + use<'a> {
        let node_id = (!of_all).then_some(self.config.node_id);
        self.image.broker_configs(node_id).map(|(key, _)| key)
    }

    /// Whether a key of the broker may be set at run time.
    pub fn is_alterable(self, key: &str) -> bool {
        self.config.live.alterable.contains(&key)
    }

    /// Partitions that `ElectLeaders` has something to do for.
    pub fn partitions_to_elect(self, kind: ElectionKind) -> Vec<(&'a str, Partition)> {
        let needs = |image: &PartitionImage| match kind {
            ElectionKind::Preferred => image.leader.as_ref() != image.replicas.first(),
            ElectionKind::Unclean => image.leader.is_none(),
        };
        let all = self.image.topics().flat_map(|(_, topic)| {
            let partitions = topic.partitions.iter().enumerate();
            partitions.map(|(number, image)| (&*topic.name, Partition(number as i32), image))
        });
        let needy = all.filter(|(.., image)| needs(image));
        needy.map(|(name, partition, _)| (name, partition)).take(REQUEST_PARTITIONS_MAX).collect()
    }

    /// Where a broker is reached: protocols, hosts and ports.
    pub fn endpoints(
        self,
        node_id: NodeId,
    ) -> impl Iterator<Item = (&'a str, &'a str, u16)> + use<'a> {
        let broker = self.image.broker(node_id);
        let endpoints = broker.into_iter().flat_map(|broker| &broker.endpoints);
        endpoints.map(|endpoint| (&*endpoint.protocol, &*endpoint.host, endpoint.port))
    }

    /// What the site's members agreed to write and say.
    pub fn feature(self) -> Feature {
        Feature {
            name: FEATURE_NAME,
            level_min: FEATURE_LEVEL_MIN,
            level_max: FEATURE_LEVEL,
            level: self.image.feature_level().max(FEATURE_LEVEL_MIN),
        }
    }

    /// This broker.
    pub fn node_id(self) -> NodeId {
        self.config.node_id
    }

    /// A setting of the broker's own.
    pub fn setting(self, key: &str) -> Option<&'a str> {
        self.config.live.shown.iter().find(|(known, ..)| known == key).map(|(_, value, _)| &**value)
    }
}

/// The one feature that has levels, as this software knows it and as the site has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that this software understands.
    pub level_min: u16,
    /// The highest.
    pub level_max: u16,
    /// The level of the site.
    pub level: u16,
}

/// Why the broker closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A frame does not decode.
    Malformed,
    /// The first frame is not a hello, or a second hello came.
    NoHello,
    /// An API number that nobody serves.
    UnknownApi(u8),
    /// An API version that is not served.
    UnknownVersion(u8, u8),
    /// A produce with acks 0 failed: closing is the only way to tell.
    UnackedError(ErrorCode),
    /// A frame is none of Kafka's protocol.
    Kafka(KafkaError),
    /// There is another connection for the same.
    Superseded,
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("a frame does not decode"),
            Self::NoHello => f.write_str("the connection does not open with a hello"),
            Self::UnknownApi(api) => write!(f, "api {api} is not known"),
            Self::UnknownVersion(api, version) => {
                write!(f, "version {version} of api {api} is not served")
            }
            Self::UnackedError(error) => write!(f, "a produce with acks 0 failed: {error}"),
            Self::Kafka(why) => why.fmt(f),
            Self::Superseded => f.write_str("there is another connection for the same"),
        }
    }
}
