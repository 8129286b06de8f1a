//! Metadata (3): brokers, topics, partitions and who leads them.
//!
//! ```text
//! request                                   response
//! option      00, or 01 and the list of     16 bytes    cluster id
//!             topic ref                     varint i32  controller
//! bool        may create                    list of brokers
//!                                             varint i32  node id
//!                                             str         host
//!                                             varint u16  port
//!                                             str         rack
//!                                           list of topics
//!                                             varint i16  error code
//!                                             str         name
//!                                             16 bytes    topic id
//!                                             bool        internal
//!                                             list of partitions
//!                                               varint i16  error code
//!                                               varint i32  partition
//!                                               varint i32  leader
//!                                               varint i32  leader epoch
//!                                               list of     varint i32 replica
//!                                               list of     varint i32 in-sync replica
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, Uuid};
use crate::limits::{PARTITION_REPLICAS_MAX, REQUEST_TOPICS_MAX, TOPIC_PARTITIONS_MAX, TOPICS_MAX};
use crate::wire::{ErrorCode, TopicRef, frame};

/// Asks for some topics, or for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataRequest<'a> {
    /// `None` for all topics.
    #[serde(borrow, deserialize_with = "frame::optional_list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Option<Vec<TopicRef<'a>>>,
    /// Whether an unknown topic may be created when `auto.create.topics.enable` is set.
    pub allow_auto_topic_creation: bool,
}

/// A broker and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataBroker<'a> {
    /// The broker.
    pub node_id: NodeId,
    /// Host name or address of its wire listener.
    #[serde(borrow)]
    pub host: &'a str,
    /// Port of its wire listener.
    pub port: u16,
    /// Where it stands, or empty.
    #[serde(borrow)]
    pub rack: &'a str,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataPartition {
    /// `LEADER_NOT_AVAILABLE` or `KAFKA_STORAGE_ERROR` when it cannot be used at present.
    pub error: ErrorCode,
    /// The partition.
    pub partition: Partition,
    /// Its leader, or −1.
    pub leader: NodeId,
    /// Epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub isr: Vec<NodeId>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataTopic<'a> {
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID` or `INVALID_TOPIC_EXCEPTION`.
    pub error: ErrorCode,
    /// Its name; empty when it was asked for by an unknown id.
    #[serde(borrow)]
    pub name: &'a str,
    /// Its id.
    pub topic_id: TopicId,
    /// Whether it serves the broker itself.
    pub is_internal: bool,
    /// Its partitions in ascending order.
    #[serde(deserialize_with = "frame::list::<{ TOPIC_PARTITIONS_MAX as usize }, _, _>")]
    pub partitions: Vec<MetadataPartition>,
}

/// The cluster as the broker knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataResponse<'a> {
    /// The cluster.
    pub cluster_id: Uuid,
    /// The active controller.
    pub controller_id: NodeId,
    /// Live brokers.
    #[serde(borrow, deserialize_with = "frame::list::<1024, _, _>")]
    pub brokers: Vec<MetadataBroker<'a>>,
    /// The topics asked for, in the order they were.
    #[serde(borrow, deserialize_with = "frame::list::<TOPICS_MAX, _, _>")]
    pub topics: Vec<MetadataTopic<'a>>,
}
