//! Produce (0): one record batch for each of some partitions.
//!
//! The batches follow the body as raw bytes, in the order of the list. With `acks` 0 there is no
//! response; on an error the connection is closed.
//!
//! ```text
//! request                                   response
//! u8          acks: 01, 00 or ff (-1)       list of
//! varint u32  timeout, ms                     varint i16  error code
//! list of                                     varint i64  base offset
//!   topic ref                                 varint i64  log append time
//!   varint i32  partition                     varint i64  log start offset
//!   varint u32  bytes of its batch            list of
//! raw         the batches                       varint u32  place of a bad record
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, Partition};
use crate::limits::{BAD_RECORDS_MAX, REQUEST_PARTITIONS_MAX};
use crate::time::Timestamp;
use crate::wire::{ErrorCode, TopicRef, frame};

/// One batch and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducePartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// Length of its batch among the raw bytes.
    pub records_bytes: u32,
}

/// Batches to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceRequest<'a> {
    /// −1: answer when the batch is on stable storage of every in-sync replica; 1: after the
    /// leader's append; 0: do not answer.
    pub acks: i8,
    /// How long an answer to `acks` −1 may take, in ms.
    pub timeout_ms: u32,
    /// The batches.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ProducePartition<'a>>,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducedPartition {
    /// `NONE` when it was appended and, for `acks` −1, is durable.
    pub error: ErrorCode,
    /// Offset of its first record, −1 on an error.
    pub base_offset: Offset,
    /// Time given to its records when the topic has `LogAppendTime`, else −1.
    pub log_append_time: Timestamp,
    /// First offset the partition holds.
    pub log_start_offset: Offset,
    /// The records for which the whole batch was refused, by their places in it; at most the first
    /// [`BAD_RECORDS_MAX`].
    #[serde(deserialize_with = "frame::list::<BAD_RECORDS_MAX, _, _>")]
    pub bad_records: Vec<u32>,
}

impl ProducedPartition {
    /// The answer for a batch that was not appended, or whose fate is unknown.
    pub const fn failed(error: ErrorCode) -> ProducedPartition {
        ProducedPartition {
            error,
            base_offset: Offset(-1),
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset(-1),
            bad_records: Vec::new(),
        }
    }
}

/// One answer per batch, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceResponse {
    /// See [`ProducedPartition`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ProducedPartition>,
}
