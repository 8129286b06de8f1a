//! What a log answers: results of append and read, and their errors.
//!
//! Errors are split by blame (style.md §5): the caller's request, the disk, or an earlier failure.

use std::fmt;
use std::io;

use bytes::Bytes;

use super::producers::SequenceError;
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::journal::{Entry, SegmentRef};
use crate::time::Timestamp;

/// A batch that lies in the log, not yet on stable storage.
#[derive(Clone, Debug)]
pub struct Appended<F> {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record: the new end of the log.
    pub end_offset: Offset,
    /// The epoch it was stamped with.
    pub leader_epoch: LeaderEpoch,
    /// The segment it was written to, as the journal wants it.
    pub segment: SegmentRef<F>,
    /// Where in the segment it begins.
    pub position: u64,
    /// Whether it is in the segment's file, or held in memory until the log settles.
    pub is_written: bool,
    /// The time the log stamped on it; `None` where the producer's times stay.
    pub log_append_time: Option<Timestamp>,
}

impl<F> Appended<F> {
    /// What the flusher is handed for it; `bytes` is the batch as it was stamped.
    pub fn into_entry(self, topic_partition: TopicPartition, bytes: Bytes) -> Entry<F> {
        Entry::Append {
            topic_partition,
            leader_epoch: self.leader_epoch,
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            segment: self.segment,
            position: self.position,
            is_written: self.is_written,
            bytes,
        }
    }
}

/// Whole batches of one segment, to be sent as they are.
#[derive(Clone, Debug)]
pub struct Slice<F> {
    /// The segment. The handle keeps its bytes readable after the segment was deleted.
    pub file: F,
    /// Where the first batch begins.
    pub position: u64,
    /// Bytes of all batches; 0 when there is nothing to send.
    pub bytes: u64,
    /// Offset after the last record of the last batch; the asked offset when there is none.
    pub end_offset: Offset,
}

/// A part of a segment that a weak topic's flush must sync.
#[derive(Clone, Debug)]
pub struct FlushTarget<F> {
    /// The segment to sync.
    pub segment: SegmentRef<F>,
    /// The end offset that is durable once it is synced.
    pub end_offset: Offset,
    /// Bytes of the segment that the sync covers.
    pub position_end: u64,
}

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// Offsets that are lost: the records of `[from, to)` were damaged and no copy was at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// First lost offset.
    pub from: Offset,
    /// First offset after the loss.
    pub to: Offset,
}

/// Why an append, a roll or a deletion failed.
#[derive(Debug)]
pub enum LogError {
    /// The batch is larger than `segment.bytes`.
    BatchTooLarge,
    /// The batch does not follow the last one of its producer, or is stored already.
    Sequence(SequenceError),
    /// No offset is left for the batch.
    OffsetsExhausted,
    /// The disk is full. Nothing was kept of the batch; later appends may succeed.
    DiskFull,
    /// An earlier append failed half-way; the log takes no more until it is reopened.
    Poisoned,
    /// The disk failed. The log is poisoned if bytes may have been written.
    Io(io::Error),
}

/// Why a read gave nothing.
pub enum ReadError<F> {
    /// The offset lies before the log's start or behind its end.
    OffsetOutOfRange,
    /// Bytes that the read needs are not in the page cache. The caller has `bytes` bytes from
    /// `position` loaded off this thread and asks again; `bytes` may be 0, which means that the
    /// read used up its share of work and only wants to be called again.
    Cold {
        /// Base offset of the segment.
        segment: Offset,
        /// The file to load from: the segment itself or an index of it.
        file: F,
        /// Where to begin.
        position: u64,
        /// How much to load.
        bytes: u64,
    },
    /// The segment's bytes at this offset are not a batch that belongs there.
    Damaged {
        /// Base offset of the damaged segment.
        segment: Offset,
        /// Where in it.
        position: u64,
    },
    /// The disk failed.
    Io(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchTooLarge => f.write_str("the batch is larger than segment.bytes"),
            Self::Sequence(why) => write!(f, "the batch is not appended: {why}"),
            Self::OffsetsExhausted => f.write_str("the partition has no offsets left"),
            Self::DiskFull => f.write_str("the disk is full"),
            Self::Poisoned => f.write_str("the log failed earlier and must be reopened"),
            Self::Io(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

impl<F> fmt::Display for ReadError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OffsetOutOfRange => f.write_str("the offset is out of range"),
            Self::Cold { .. } => f.write_str("the bytes are not in memory"),
            Self::Damaged { segment, position } => {
                write!(f, "segment {segment} is damaged at byte {position}")
            }
            Self::Io(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

// Not derived: a file need not be printable.
impl<F> fmt::Debug for ReadError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cold { position, bytes, .. } => {
                write!(f, "Cold {{ position: {position}, bytes: {bytes} }}")
            }
            other => write!(f, "{other}"),
        }
    }
}

impl<F> std::error::Error for ReadError<F> {}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<F> From<io::Error> for ReadError<F> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
