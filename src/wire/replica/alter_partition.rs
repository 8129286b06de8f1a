//! `AlterPartition` (83): a leader asks the controller to change its partitions' in-sync replicas
//! (KIP-497; semantics.md 2.10).
//!
//! ```text
//! request                                   response
//! varint i32  leader                        varint i16  error code of all
//! varint i64  its broker epoch              list of
//! list of                                     16 bytes    topic id
//!   16 bytes    topic id                      varint i32  partition
//!   varint i32  partition                     varint i16  error code
//!   varint i32  leader epoch                  varint i32  leader
//!   varint i32  partition epoch               varint i32  leader epoch
//!   list of                                   list of     varint i32 in-sync replica
//!     varint i32  in-sync replica             varint i32  partition epoch
//!     varint i64  its broker epoch
//!   list of
//!     varint i32  damaged replica
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, TopicPartition};
use crate::limits::{REPLICAS_MAX, REQUEST_PARTITIONS_MAX};
use crate::wire::{ErrorCode, frame};

/// A replica that is in sync, and the incarnation of which that is true (KIP-903).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSync {
    /// The broker.
    pub node_id: NodeId,
    /// Its broker epoch, −1 where the leader does not know it.
    pub broker_epoch: i64,
}

/// The in-sync replicas that a leader wants for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterReplicas {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Epoch of the leadership that asks.
    pub leader_epoch: LeaderEpoch,
    /// Version of the partition's state that this builds on.
    pub partition_epoch: i32,
    /// The new in-sync replicas, the leader among them unless it is damaged itself.
    #[serde(deserialize_with = "frame::list::<REPLICAS_MAX, _, _>")]
    pub isr: Vec<InSync>,
    /// Replicas that are not what they were: they may not lead either, when nobody is in sync.
    #[serde(deserialize_with = "frame::list::<REPLICAS_MAX, _, _>")]
    pub damaged: Vec<NodeId>,
}

/// Changes that one leader wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionRequest {
    /// Who asks.
    pub leader: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// One per partition.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<AlterReplicas>,
}

/// What became of one change, or the state that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredReplicas {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// `NONE` when it is as it was asked for; the rest is the state then.
    pub error: ErrorCode,
    /// Who leads.
    pub leader: NodeId,
    /// Epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync replicas.
    #[serde(deserialize_with = "frame::list::<REPLICAS_MAX, _, _>")]
    pub isr: Vec<NodeId>,
    /// Version of this state.
    pub partition_epoch: i32,
}

/// One answer per partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionResponse {
    /// Set when the whole request is refused; the list is empty then.
    pub error: ErrorCode,
    /// See [`AlteredReplicas`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<AlteredReplicas>,
}
