//! `OffsetForLeaderEpoch` (23): where leader epochs ended.
//!
//! ```text
//! request                                   response
//! list of                                   list of
//!   topic ref                                 varint i16  error code
//!   varint i32  partition                     varint i32  leader epoch
//!   varint i32  current leader epoch          varint i64  end offset
//!   varint i32  leader epoch
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// Leader epoch the client knows, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is sought.
    pub leader_epoch: LeaderEpoch,
}

/// Questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetForLeaderEpochRequest<'a> {
    /// One per partition; none twice.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<EpochPartition<'a>>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    /// `NONE`, also when the epoch is not known.
    pub error: ErrorCode,
    /// The largest epoch known that is not above the one in the question, −1 when that epoch lies
    /// in the future.
    pub leader_epoch: LeaderEpoch,
    /// First offset that is not of that epoch or an earlier one, −1 where there is no epoch.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// The answer for an epoch from the future (`NONE`), or where there is nothing to ask.
    pub const fn failed(error: ErrorCode) -> EpochEnd {
        EpochEnd { error, leader_epoch: LeaderEpoch::NONE, end_offset: Offset(-1) }
    }
}

/// One answer per question, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetForLeaderEpochResponse {
    /// See [`EpochEnd`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<EpochEnd>,
}
