//! `DeleteRecords` (21): a partition's first offset rises.
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! list of                                     varint i16  error code
//!   topic ref                                 varint i64  low watermark
//!   varint i32  partition
//!   varint i64  offset, or -1
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// A partition and its new first offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRecordsPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// Records below this offset go; −1 stands for the high watermark.
    pub offset: Offset,
}

/// Partitions to trim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRecordsRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// The partitions.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<DeleteRecordsPartition<'a>>,
}

/// What became of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRecords {
    /// `OFFSET_OUT_OF_RANGE` above the high watermark or below −1.
    pub error: ErrorCode,
    /// First offset the partition holds now; −1 on an error.
    pub low_watermark: Offset,
}

impl DeletedRecords {
    /// The answer for a partition that was not trimmed.
    pub const fn failed(error: ErrorCode) -> DeletedRecords {
        DeletedRecords { error, low_watermark: Offset(-1) }
    }
}

/// One answer per partition, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRecordsResponse {
    /// See [`DeletedRecords`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<DeletedRecords>,
}
