//! Fetch (1): whole record batches from several partitions, waiting for bytes if asked to.
//!
//! The batches follow the response's body as raw bytes, in the order of the list. The first batch
//! of a partition may start below the offset asked for; the client skips those records. At least
//! one batch is returned from the first partition that has one, even above the limits (KIP-74).
//!
//! ```text
//! request                                   response
//! varint u32  longest wait, ms              list of
//! varint u32  fewest bytes                    varint i16  error code
//! varint u32  most bytes                      varint i64  high watermark
//! list of                                     varint i64  log start offset
//!   topic ref                                 varint u32  bytes of its batches
//!   varint i32  partition                   raw         the batches
//!   varint i64  offset
//!   varint i32  current leader epoch
//!   varint u32  most bytes
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// First offset wanted.
    pub offset: Offset,
    /// Leader epoch the client knows, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// At most this many bytes from this partition.
    pub max_bytes: u32,
}

/// What to read and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest<'a> {
    /// Answer after this many ms, whatever is there.
    pub max_wait_ms: u32,
    /// Answer as soon as this many bytes are there.
    pub min_bytes: u32,
    /// At most this many bytes in all.
    pub max_bytes: u32,
    /// The partitions, the most wanted first.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<FetchPartition<'a>>,
}

/// What was read from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedPartition {
    /// `NONE`, also when there is nothing to read yet.
    pub error: ErrorCode,
    /// Offsets below this one can be read; −1 on an error.
    pub high_watermark: Offset,
    /// First offset the partition holds; −1 on an error.
    pub log_start_offset: Offset,
    /// Length of its batches among the raw bytes.
    pub records_bytes: u32,
}

/// One answer per partition, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResponse {
    /// See [`FetchedPartition`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<FetchedPartition>,
}
