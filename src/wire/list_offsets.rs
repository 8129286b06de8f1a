//! `ListOffsets` (2): offsets by time, and the ends of partitions.
//!
//! ```text
//! request                                   response
//! list of                                   list of
//!   topic ref                                 varint i16  error code
//!   varint i32  partition                     varint i64  offset
//!   varint i32  current leader epoch          varint i64  timestamp
//!   varint i64  timestamp, -1, -2 or -3       varint i32  leader epoch
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::time::Timestamp;
use crate::wire::{ErrorCode, TopicRef, frame};

/// The offset after the last record that can be read.
pub const LATEST: Timestamp = Timestamp(-1);
/// The first offset held.
pub const EARLIEST: Timestamp = Timestamp(-2);
/// The record with the largest timestamp.
pub const MAX_TIMESTAMP: Timestamp = Timestamp(-3);

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsetsPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// Leader epoch the client knows, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// A time (the first record at or after it is sought), or one of the constants above.
    pub timestamp: Timestamp,
}

/// Questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsetsRequest<'a> {
    /// One per partition; none twice.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ListOffsetsPartition<'a>>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOffset {
    /// `NONE`, also when no record matches.
    pub error: ErrorCode,
    /// The offset, −1 when no record matches.
    pub offset: Offset,
    /// That record's timestamp, −1 for the ends.
    pub timestamp: Timestamp,
    /// Epoch in which it was written.
    pub leader_epoch: LeaderEpoch,
}

impl ListedOffset {
    /// The answer where no record matches (`NONE`), or where there is nothing to ask.
    pub const fn failed(error: ErrorCode) -> ListedOffset {
        ListedOffset {
            error,
            offset: Offset(-1),
            timestamp: Timestamp::NONE,
            leader_epoch: LeaderEpoch::NONE,
        }
    }
}

/// One answer per question, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsetsResponse {
    /// See [`ListedOffset`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ListedOffset>,
}
