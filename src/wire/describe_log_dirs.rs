//! `DescribeLogDirs` (35): what a broker's partitions hold, how far it is durable, what is damaged.
//!
//! ```text
//! request                                   response
//! list of     topic ref                     list of
//!                                             varint i16  error code
//!                                             varint u32  place of the topic in the request
//!                                             varint i32  partition
//!                                             varint i32  leader epoch
//!                                             varint i64  log start offset
//!                                             varint i64  high watermark
//!                                             varint i64  durable offset
//!                                             varint i64  log end offset
//!                                             varint u64  bytes
//!                                             varint u32  segments
//!                                             varint u64  loss window, ms
//!                                             list of     varint i64 from, varint i64 end
//!                                             list of     varint i64 base offset
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::{DESCRIBED_DAMAGE_MAX, REQUEST_PARTITIONS_MAX, REQUEST_TOPICS_MAX};
use crate::wire::{ErrorCode, TopicRef, frame};

/// Asks for all partitions of some topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeLogDirsRequest<'a> {
    /// The topics.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Vec<TopicRef<'a>>,
}

/// Offsets that are lost: what recovery found damaged below the durable mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// First offset lost.
    pub from: Offset,
    /// The offset after the last one lost.
    pub end: Offset,
}

/// One partition. `0 <= log_start <= high_watermark <= log_end`, `durable <= log_end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedLog {
    /// `KAFKA_STORAGE_ERROR` when its log dir has failed.
    pub error: ErrorCode,
    /// Place of its topic in the request.
    pub topic_place: u32,
    /// The partition.
    pub partition: Partition,
    /// Epoch of its leadership.
    pub leader_epoch: LeaderEpoch,
    /// First offset held.
    pub log_start_offset: Offset,
    /// End of what consumers see.
    pub high_watermark: Offset,
    /// End of what is on stable storage.
    pub durable_offset: Offset,
    /// End of what was appended.
    pub log_end_offset: Offset,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// Its segments.
    pub segment_count: u32,
    /// How many ms of acknowledged records a power cut may take: 0 when acks wait for storage.
    pub loss_window_ms: u64,
    /// What is lost for ever.
    #[serde(deserialize_with = "frame::list::<DESCRIBED_DAMAGE_MAX, _, _>")]
    pub holes: Vec<Hole>,
    /// Base offsets of damaged segments: the next start scans them, and what is lost in them
    /// becomes a hole.
    #[serde(deserialize_with = "frame::list::<DESCRIBED_DAMAGE_MAX, _, _>")]
    pub suspects: Vec<Offset>,
}

impl DescribedLog {
    /// The answer for a partition that is not here.
    pub const fn failed(error: ErrorCode, topic_place: u32, partition: Partition) -> DescribedLog {
        DescribedLog {
            error,
            topic_place,
            partition,
            leader_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset(-1),
            high_watermark: Offset(-1),
            durable_offset: Offset(-1),
            log_end_offset: Offset(-1),
            size_bytes: 0,
            segment_count: 0,
            loss_window_ms: 0,
            holes: Vec::new(),
            suspects: Vec::new(),
        }
    }
}

/// The partitions, by topic in the order of the request, then by partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeLogDirsResponse {
    /// See [`DescribedLog`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<DescribedLog>,
}
