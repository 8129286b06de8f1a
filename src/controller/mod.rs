//! The controller: brokers, topics, partitions and configurations of the cluster.
//!
//! Replicated state (style.md §2): [`Controller::handle`] turns a command into changes and a
//! response without touching the image; the changes are appended to `__cluster_metadata-0`, and
//! when they are committed [`Controller::replay`] takes them into the image and the response goes
//! out. On one node "committed" means durable here; with a quorum it will mean a majority.
//!
//! Read semantics.md rows 5, 12, 34, 36 and §3 (creating topics and partitions, configurations) first.
//!
//! Why a log and not a file of topics: boot, failover and test are then one code path, and a
//! quorum slides underneath without a migration. Rejected: topics as directories on disk are the
//! truth, as old Kafka had it; a damaged directory would then be a deleted topic.

mod brokers;
pub mod change;
mod configs;
mod departure;
mod election;
mod features;
pub mod image;
mod isr;
mod last_copy;
mod leaders;
mod placement;
mod reassign;
mod sessions;
mod topics;

use std::collections::BTreeMap;

use crate::controller::change::Change;
use crate::controller::image::Image;
use crate::controller::last_copy::LastCopies;
use crate::group_config::{GroupBounds, GroupConfig};
use crate::ids::{NodeId, TopicId, Uuid};
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;
use crate::wire::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use crate::wire::configs::IncrementalAlterConfigsRequest;
use crate::wire::create_partitions::CreatePartitionsRequest;
use crate::wire::create_topics::CreateTopicsRequest;
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::elect_leaders::ElectLeadersRequest;
use crate::wire::update_features::UpdateFeaturesRequest;

pub use brokers::Registering;
pub use departure::OnlyCopy;
pub use features::FEATURE_NAME;
pub use sessions::Sessions;

/// The feature level this software writes for a new cluster, and the highest that it understands.
pub const FEATURE_LEVEL: u16 = 1;

/// The lowest feature level that it understands.
pub const FEATURE_LEVEL_MIN: u16 = 1;

/// Name of the topic that holds the state of groups: committed offsets first of all.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How [`OFFSETS_TOPIC`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// Its partitions (`offsets.topic.num.partitions`), for good: a group's place depends on it.
    pub partition_count: i32,
    /// Its replicas at most (`offsets.topic.replication.factor`).
    pub replication_factor: i16,
    /// Its segments' size (`offsets.topic.segment.bytes`).
    pub segment_bytes: u32,
}

/// Producer ids that a broker is given at once (Kafka's number).
pub const PRODUCER_IDS_PER_BLOCK: i64 = 1000;

/// What the controller is told about its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerConfig {
    /// The node it runs on.
    pub node_id: NodeId,
    /// Partitions of a topic that does not say (`num.partitions`).
    pub num_partitions: i32,
    /// Replicas of a topic that does not say (`default.replication.factor`).
    pub default_replication_factor: i16,
    /// Whether topics may be deleted (`delete.topic.enable`).
    pub delete_topic_enable: bool,
    /// Partitions this broker's file handles allow.
    pub partitions_max: usize,
    /// How the topic of groups is made.
    pub offsets_topic: OffsetsTopic,
    /// Configuration of a topic that says nothing.
    pub topic_defaults: TopicConfig,
    /// Configuration of a group that says nothing.
    pub group_defaults: GroupConfig,
    /// What a group may set.
    pub group_bounds: GroupBounds,
}

impl ControllerConfig {
    /// What holds where nothing was said; file handles for a hundred thousand partitions.
    pub fn new(node_id: NodeId) -> ControllerConfig {
        ControllerConfig {
            node_id,
            num_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            partitions_max: 100_000,
            offsets_topic: OffsetsTopic {
                partition_count: 4,
                replication_factor: 3,
                segment_bytes: 16 << 20,
            },
            topic_defaults: TopicConfig::default(),
            group_defaults: GroupConfig::default(),
            group_bounds: GroupBounds::default(),
        }
    }
}

/// A request to change the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// See [`crate::wire::create_topics`].
    CreateTopics(&'a CreateTopicsRequest<'a>),
    /// See [`crate::wire::delete_topics`].
    DeleteTopics(&'a DeleteTopicsRequest<'a>),
    /// See [`crate::wire::create_partitions`].
    CreatePartitions(&'a CreatePartitionsRequest<'a>),
    /// See [`crate::wire::configs`].
    AlterConfigs {
        /// What is wished.
        request: &'a IncrementalAlterConfigsRequest<'a>,
        /// The broker that was asked: its own configuration is meant where a broker's is.
        asker: NodeId,
    },
    /// See [`crate::wire::elect_leaders`].
    ElectLeaders(&'a ElectLeadersRequest<'a>),
    /// See [`crate::wire::alter_partition_reassignments`].
    Reassign(&'a AlterPartitionReassignmentsRequest<'a>),
    /// See [`crate::wire::unregister_broker`].
    UnregisterBroker {
        /// The broker.
        node_id: NodeId,
        /// Whether its process is there, for all that is known.
        is_heard: bool,
    },
    /// See [`crate::wire::update_features`].
    UpdateFeatures(UpdateFeaturesRequest),
    /// Somebody needs [`OFFSETS_TOPIC`].
    CreateOffsetsTopic,
    /// A broker has given out all producer ids of its block.
    AllocateProducerIds,
    /// This node started. `cluster_id` is used if the cluster has no identity yet.
    Boot {
        /// From `meta.properties`, or made at random.
        cluster_id: Uuid,
    },
}

/// What became of one topic or resource of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `NONE` when its changes are among the outcome's.
    pub error: ErrorCode,
    /// What was wrong, for a person.
    pub message: Box<str>,
    /// The topic, where there is one.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_count: i32,
    /// Its replication factor.
    pub replication_factor: i16,
}

impl Verdict {
    fn refused(error: ErrorCode, message: impl Into<Box<str>>) -> Verdict {
        Verdict {
            error,
            message: message.into(),
            topic_id: TopicId::default(),
            partition_count: -1,
            replication_factor: -1,
        }
    }

    fn accepted(topic_id: TopicId, partition_count: i32, replication_factor: i16) -> Verdict {
        Verdict {
            error: ErrorCode::NONE,
            message: "".into(),
            topic_id,
            partition_count,
            replication_factor,
        }
    }
}

/// What a command leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To append, and to replay once committed; empty when nothing changes.
    pub changes: Vec<Change>,
    /// One per topic or resource of the command, in its order.
    pub verdicts: Vec<Verdict>,
}

/// Keys and values that were set at run time.
pub type Settings = BTreeMap<Box<str>, Box<str>>;

/// Why something cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For a client.
    pub error: ErrorCode,
    /// For a person.
    pub message: String,
}

impl Refusal {
    fn new(error: ErrorCode, message: &str) -> Refusal {
        Refusal { error, message: message.to_owned() }
    }
}

/// Whoever knows what a broker's settings mean.
pub trait BrokerKeys: core::fmt::Debug + Send {
    /// Whether a key may be set at run time, for all brokers or for one.
    fn judge(&self, key: &str, is_of_all: bool) -> Result<(), Refusal>;
    /// Whether this broker can run with these.
    fn check(&self, of_all: &Settings, of_this: &Settings) -> Result<(), Refusal>;
    /// The value that a key has with these, if it is a list.
    fn list(&self, of_all: &Settings, of_this: &Settings, key: &str) -> Option<String>;
}

/// The cluster's state machine.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    /// Without it nothing of the broker is set at run time.
    broker_keys: Option<Box<dyn BrokerKeys>>,
    image: Image,
    last_copies: LastCopies,
}

impl Controller {
    /// A controller of a cluster about which nothing is known yet.
    pub fn new(config: ControllerConfig) -> Controller {
        let (image, last_copies) = (Image::default(), LastCopies::default());
        Controller { config, broker_keys: None, image, last_copies }
    }

    /// Takes a committed change into account.
    pub fn replay(&mut self, change: &Change) {
        self.image.replay(change);
    }

    /// Replaces what SIGHUP may replace.
    pub fn reconfigure(&mut self, config: ControllerConfig) {
        self.config = config;
    }

    /// The node it runs on.
    pub fn node_id(&self) -> NodeId {
        self.config.node_id
    }

    /// Begins anew with another image: that of a snapshot.
    pub fn restore(&mut self, image: Image) {
        (self.image, self.last_copies) = (image, LastCopies::default());
    }

    /// Lets the broker be configured at run time, or replaces what it is started with.
    pub fn set_broker_keys(&mut self, keys: Box<dyn BrokerKeys>) {
        self.broker_keys = Some(keys);
    }

    /// The cluster as it is.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What `command` would change, and what to answer once that is committed. `fresh_id` gives
    /// random uuids.
    pub fn handle(&self, command: Command<'_>, fresh_id: &mut dyn FnMut() -> Uuid) -> Outcome {
        match command {
            Command::CreateTopics(request) => self.create_topics(request, fresh_id),
            Command::DeleteTopics(request) => self.delete_topics(request),
            Command::CreatePartitions(request) => self.create_partitions(request),
            Command::AlterConfigs { request, asker } => self.alter_configs(request, asker),
            Command::ElectLeaders(request) => self.elect_leaders(request),
            Command::Reassign(request) => self.reassign(request),
            Command::UnregisterBroker { node_id, is_heard } => {
                match self.unregister(node_id, is_heard) {
                    Ok(changes) => {
                        let verdict = Verdict::accepted(TopicId::default(), -1, -1);
                        Outcome { changes, verdicts: vec![verdict] }
                    }
                    Err(why) => {
                        let verdict = Verdict::refused(why.error, why.message);
                        Outcome { changes: Vec::new(), verdicts: vec![verdict] }
                    }
                }
            }
            Command::UpdateFeatures(request) => self.update_features(request),
            Command::CreateOffsetsTopic => self.create_offsets_topic(fresh_id),
            Command::AllocateProducerIds => self.allocate_producer_ids(),
            Command::Boot { cluster_id } => self.boot(cluster_id),
        }
    }

    fn allocate_producer_ids(&self) -> Outcome {
        let Some(next_id) = self.image.next_producer_id().checked_add(PRODUCER_IDS_PER_BLOCK)
        else {
            let message = "no producer id is left";
            let verdict = Verdict::refused(ErrorCode::UNKNOWN_SERVER_ERROR, message);
            return Outcome { changes: Vec::new(), verdicts: vec![verdict] };
        };
        let verdict = Verdict::accepted(TopicId::default(), 0, 0);
        Outcome { changes: vec![Change::ProducerIds { next_id }], verdicts: vec![verdict] }
    }

    fn boot(&self, cluster_id: Uuid) -> Outcome {
        let mut changes = Vec::new();
        if self.image.cluster_id().is_none() {
            changes.push(Change::Cluster { cluster_id, feature_level: FEATURE_LEVEL });
        }
        let node_id = self.config.node_id;
        let broker_epoch = self.image.broker_epoch(node_id) + 1;
        changes.push(Change::Broker { node_id, broker_epoch });
        Outcome { changes, verdicts: Vec::new() }
    }
}

#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod tests;
