//! `DescribeTopicPartitions` (75): where partitions live, who leads and who could, and what moves
//! (KIP-455, 966). What a client needs to read and write is in Metadata.
//!
//! ```text
//! request                                   response
//! option      00, or 01 and the list of     list of topics
//!             topic ref
//!                                             varint i16  error code
//!                                             str         name
//!                                             16 bytes    topic id
//!                                             bool        internal
//!                                             list of partitions
//!                                               varint i16  error code
//!                                               varint i32  partition
//!                                               varint i32  leader, or −1
//!                                               varint i32  leader epoch
//!                                               varint i32  partition epoch
//!                                               list of     varint i32 replica
//!                                               list of     varint i32 in-sync replica
//!                                               list of     varint i32 eligible leader
//!                                               list of     varint i32 replica that comes
//!                                               list of     varint i32 replica that leaves
//!                                               list of     varint i32 replica that is away
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId};
use crate::limits::{PARTITION_REPLICAS_MAX, REQUEST_TOPICS_MAX, TOPIC_PARTITIONS_MAX, TOPICS_MAX};
use crate::wire::{ErrorCode, TopicRef, frame};

/// Asks for some topics, or for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeTopicPartitionsRequest<'a> {
    /// `None` for all topics.
    #[serde(borrow, deserialize_with = "frame::optional_list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Option<Vec<TopicRef<'a>>>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedPartition {
    /// `LEADER_NOT_AVAILABLE` when nobody leads.
    pub error: ErrorCode,
    /// The partition.
    pub partition: Partition,
    /// Its leader, or −1.
    pub leader: NodeId,
    /// Epoch of that leadership, or of the lack of one.
    pub leader_epoch: LeaderEpoch,
    /// Version of all this.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub isr: Vec<NodeId>,
    /// Those that may lead when none is.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub elr: Vec<NodeId>,
    /// Those that a reassignment brings.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub adding: Vec<NodeId>,
    /// Those that leave when it is done.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub removing: Vec<NodeId>,
    /// Those whose broker does not take part.
    #[serde(deserialize_with = "frame::list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub offline: Vec<NodeId>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedTopic<'a> {
    /// As Metadata has it.
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
    pub partitions: Vec<DescribedPartition>,
}

/// The topics as the broker knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeTopicPartitionsResponse<'a> {
    /// In the order they were asked for.
    #[serde(borrow, deserialize_with = "frame::list::<TOPICS_MAX, _, _>")]
    pub topics: Vec<DescribedTopic<'a>>,
}
