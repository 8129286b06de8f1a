//! `AlterPartitionReassignments` (45): partitions move to other brokers, or do not after all
//! (KIP-455).
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! bool        the number of replicas          varint i16  error code
//!             may change                      str         message
//! list of
//!   topic ref
//!   varint i32  partition
//!   optional    list of varint i32 replica,
//!               the preferred leader first;
//!               none cancels
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Partition};
use crate::limits::{PARTITION_REPLICAS_MAX, REQUEST_PARTITIONS_MAX};
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::{TopicRef, frame};

/// A partition and where it is to live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassignPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// Its replicas, the preferred leader first; `None` cancels what is under way.
    #[serde(deserialize_with = "frame::optional_list::<PARTITION_REPLICAS_MAX, _, _>")]
    pub replicas: Option<Vec<NodeId>>,
}

/// Partitions to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionReassignmentsRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// Whether a partition may have another number of replicas afterwards (KIP-860).
    pub allow_replication_factor_change: bool,
    /// The partitions.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ReassignPartition<'a>>,
}

/// One answer per partition, in the order of the request. A move that was accepted goes on by
/// itself: `DescribeTopicPartitions` tells how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionReassignmentsResponse<'a> {
    /// See [`TopicOutcome`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<TopicOutcome<'a>>,
}
