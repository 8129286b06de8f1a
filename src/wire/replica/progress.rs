//! `ReplicaProgress` (82): what a follower has on stable storage by now, while its fetches wait at
//! the leader. Nothing answers it.
//!
//! ```text
//! varint i32  follower
//! varint i64  its broker epoch
//! list of
//!   16 bytes    topic id
//!   varint i32  partition
//!   varint i32  leader epoch
//!   varint u64  sequence of the newest fetch
//!   varint i64  log start offset
//!   varint i64  log end offset
//!   varint i64  durable end offset
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::frame;

/// How far one partition came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressReplica {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Leader epoch that the follower follows in.
    pub leader_epoch: LeaderEpoch,
    /// Of the fetch that was sent last; what was sent before a later fetch is out of date.
    pub sequence: u64,
    /// First offset of the follower's log, durable.
    pub log_start: Offset,
    /// End of the follower's log.
    pub log_end: Offset,
    /// End of what is on the follower's stable storage.
    pub durable_end: Offset,
}

/// A follower's progress, to one leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaProgress {
    /// Who.
    pub follower: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// One per partition that made some.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ProgressReplica>,
}
