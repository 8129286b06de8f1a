//! `ReplicaFetch` (80) and `ReplicaFetched` (81): a follower asks, its leader answers when there is
//! something to say.
//!
//! ```text
//! fetch                                     fetched
//! varint i32  follower                      list of
//! varint i64  its broker epoch                16 bytes    topic id
//! list of                                     varint i32  partition
//!   16 bytes    topic id                      varint i32  leader epoch
//!   varint i32  partition                     varint u64  sequence of the fetch
//!   varint i32  leader epoch                  varint i16  error code
//!   varint u64  sequence                      varint i64  high watermark
//!   from        see below                     varint i64  log start offset
//!   varint i64  log start offset              varint i64  log end offset
//!   varint i64  log end offset                optional    where the logs part:
//!   varint i64  durable end offset              varint i32  leader epoch
//!   varint u32  most bytes                      varint i64  its end offset
//!   bool        is damaged                    varint u32  bytes of its batches
//!                                           raw         the batches
//! from: varint 0                            behind the answer to the fetch before
//!       varint 1, varint i64, varint i32    offset, epoch of the batch before it
//! ```
//!
//! Two fetches of a partition may be under way. The second cannot know where the answer to the
//! first ends, so it asks for what comes behind it; it has the next sequence number.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, frame};

/// Where a follower goes on. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchFrom {
    /// Behind the answer to the fetch before, whose sequence is one less.
    Next,
    /// At an offset. The leader first looks whether the logs agree up to there.
    Offset {
        /// The first offset wanted.
        offset: Offset,
        /// Epoch of the follower's last batch before it, [`LeaderEpoch::NONE`] where there is none.
        last_epoch: LeaderEpoch,
    },
}

/// What a follower asks for one partition, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchReplica {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Leader epoch that the follower follows in.
    pub leader_epoch: LeaderEpoch,
    /// Rises by one with each fetch of this partition.
    pub sequence: u64,
    /// Where to read.
    pub from: FetchFrom,
    /// First offset of the follower's log, durable.
    pub log_start: Offset,
    /// End of the follower's log.
    pub log_end: Offset,
    /// End of what is on the follower's stable storage: the acknowledgement.
    pub durable_end: Offset,
    /// At most this many bytes, but one batch in any case.
    pub max_bytes: u32,
    /// Whether records below the durable end are damaged here: this replica wants to leave the ISR.
    pub is_damaged: bool,
}

/// A follower's fetches of one leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFetch {
    /// Who asks.
    pub follower: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// One per partition.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<FetchReplica>,
}

/// The largest epoch of the leader's that is not above the follower's, and where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
    /// First offset that is not of it or an earlier one.
    pub end_offset: Offset,
}

/// What the leader answers for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedReplica {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// That of the fetch.
    pub sequence: u64,
    /// `NONE`, also where the logs part. On `OFFSET_OUT_OF_RANGE` start and end say what there is.
    pub error: ErrorCode,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// First offset of the leader's log; on `OFFSET_OUT_OF_RANGE` where its first batch begins.
    pub log_start: Offset,
    /// End of the leader's log.
    pub log_end: Offset,
    /// Set where the logs part before the offset asked for; there are no batches then.
    pub diverging: Option<EpochEnd>,
    /// Length of its batches among the raw bytes.
    pub records_bytes: u32,
}

/// Answers to one follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFetched {
    /// One per fetch that is answered.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<FetchedReplica>,
}
