//! What a segment's batches imply: its indexes and the span of its timestamps.
//!
//! All of it is a cache. It is complete when it covers every byte of its segment; what is missing
//! after an unclean stop is made good by walking over the headers, a bounded step at a time.
//!
//! ```text
//! <base>.summary, one block, big-endian, written over in place and not synced
//! "ODSM" | version u32 | base i64 | covered u64 | covered end i64 | bytes since entry u64
//! | first timestamp i64 | largest timestamp i64 | its offset i64
//! | offset entries u32 | their CRC u32 | time entries u32 | their CRC u32
//! | last covered batch: position u64, CRC u32 | CRC-32C of all u32
//! ```
//!
//! The last batch binds the summary to its segment: a summary that outlived the bytes it speaks of
//! (they were torn off, and others written in their place) names a batch that is not there.
//!
//! The rules for when an entry is added are Kafka's `LogSegment.append`, so that `kafka-dump-log`
//! finds nothing to complain about (semantics.md 2.3).

use std::io;

use super::index::{OffsetEntry, SparseIndex, TimeEntry, read_full};
use super::walk::{Met, Walk, WalkError};
use crate::ids::Offset;
use crate::journal::disk::{DiskFile, is_unreadable};
use crate::time::Timestamp;

const SUMMARY_MAGIC: [u8; 4] = *b"ODSM";
const SUMMARY_VERSION: u32 = 1;

/// Bytes of a summary file.
pub(super) const SUMMARY_BYTES: usize = 96;

/// Span of a segment's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Largest timestamp of the first batch.
    pub first: Timestamp,
    /// Largest timestamp of all.
    pub max: Timestamp,
    /// Last offset of the first batch that bears it.
    pub max_offset: Offset,
}

impl Span {
    const EMPTY: Span =
        Span { first: Timestamp::NONE, max: Timestamp::NONE, max_offset: Offset(-1) };
}

/// The files of a segment's indexes, open.
#[derive(Clone, Debug)]
pub(super) struct IndexFiles<F> {
    pub offsets: F,
    pub times: F,
    pub summary: F,
}

/// Indexes and span of the first `covered` bytes of a segment.
#[derive(Debug)]
pub(super) struct Derived<F> {
    base: Offset,
    pub offsets: SparseIndex<OffsetEntry>,
    pub times: SparseIndex<TimeEntry>,
    /// Open while in use.
    pub files: Option<IndexFiles<F>>,
    /// Whether the stored entries were not yet compared with their checksums.
    pub is_unchecked: bool,
    /// Bytes of the segment that were observed.
    pub covered: u64,
    /// Offset after the last observed batch.
    pub covered_end: Offset,
    since_entry_bytes: u64,
    /// Position and checksum of the last observed batch.
    last: (u64, u32),
    /// Span of what was observed.
    pub span: Span,
    /// Whether the files say all of this, as they do once a segment is sealed.
    pub is_settled: bool,
}

impl<F: DiskFile> Derived<F> {
    /// Of an empty segment, or of one nothing is known about.
    pub fn new(base: Offset) -> Self {
        Derived {
            base,
            offsets: SparseIndex::new(),
            times: SparseIndex::new(),
            files: None,
            is_unchecked: false,
            covered: 0,
            covered_end: base,
            since_entry_bytes: 0,
            last: (0, 0),
            span: Span::EMPTY,
            is_settled: true,
        }
    }

    /// Forgets everything; the files are written over as it is learnt again.
    pub fn reset(&mut self) {
        let files = self.files.take();
        *self = Derived::new(self.base);
        self.files = files;
    }

    /// Takes note of the batch at `covered`.
    pub fn observe(&mut self, met: &Met, index_interval_bytes: u32) {
        debug_assert_eq!(met.position, self.covered, "batches are observed in turn");
        let header = &met.header;
        let last = header.last_offset();
        if self.covered == 0 {
            self.span.first = header.max_timestamp;
        }
        // A batch that compaction has emptied may still bear a time: no record has it.
        if self.span.max < header.max_timestamp && 0 < header.record_count {
            self.span.max = header.max_timestamp;
            self.span.max_offset = last;
        }
        if u64::from(index_interval_bytes) < self.since_entry_bytes {
            let offset = last.since(self.base) as u32;
            self.offsets.push(OffsetEntry { offset, position: met.position as u32 });
            self.push_time();
            self.since_entry_bytes = 0;
        }
        self.since_entry_bytes += header.size_bytes() as u64;
        self.covered = met.end_position();
        self.covered_end = header.next_offset();
        self.last = (met.position, header.crc);
        self.is_settled = false;
    }

    /// Adds the largest timestamp so far to the time index, unless it is there.
    pub fn push_time(&mut self) {
        let newest = self.times.last().map_or(Timestamp::NONE.0, |entry| entry.timestamp);
        if newest < self.span.max.0 {
            let offset = self.span.max_offset.since(self.base) as u32;
            self.times.push(TimeEntry { timestamp: self.span.max.0, offset });
        }
    }

    /// Writes the entries in memory behind the stored ones, and the summary that vouches for them.
    pub fn spill(&mut self) -> io::Result<()> {
        let files = self.files.as_ref().ok_or(io::ErrorKind::NotFound)?;
        self.offsets.spill(&files.offsets)?;
        self.times.spill(&files.times)?;
        files.summary.write_all_at(&self.summary(), 0)
    }

    /// Spills where many entries wait in memory and the files are open.
    pub fn maybe_spill(&mut self) -> io::Result<()> {
        if self.offsets.is_tail_full() && self.files.is_some() { self.spill() } else { Ok(()) }
    }

    /// Whether entries lie in files.
    pub fn is_stored(&self) -> bool {
        self.offsets.stored().0 != 0 || self.times.stored().0 != 0
    }

    /// Leaves the files as Kafka wants to find them: nothing behind the last entry.
    pub fn trim_files(&mut self) -> io::Result<()> {
        let files = self.files.as_ref().ok_or(io::ErrorKind::NotFound)?;
        files.offsets.set_len(self.offsets.stored_bytes())?;
        files.times.set_len(self.times.stored_bytes())?;
        self.is_settled = true;
        Ok(())
    }

    /// Compares the stored entries with their checksums; forgets everything when they are wrong.
    /// `WouldBlock` when it may not wait for the disk and would have to.
    pub fn check(&mut self, may_wait: bool) -> io::Result<()> {
        if !self.is_unchecked || !self.is_stored() {
            self.is_unchecked = false;
            return Ok(());
        }
        let Some(files) = self.files.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let verdict = self
            .offsets
            .verify(&files.offsets, may_wait)
            .and_then(|is_right| Ok(is_right && self.times.verify(&files.times, may_wait)?));
        match verdict {
            Ok(true) => self.is_unchecked = false,
            Ok(false) => self.reset(),
            Err(error) if is_unreadable(&error) => self.reset(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Walks on over at most about `reads_max` chunks of the segment, up to `end`.
    pub fn catch_up(
        &mut self,
        file: &F,
        end: u64,
        index_interval_bytes: u32,
        may_wait: bool,
        reads_max: usize,
    ) -> Result<(), WalkError> {
        let mut walk = Walk::new(file, self.covered, end, may_wait);
        while walk.reads < reads_max {
            let Some(met) = walk.next()? else { break };
            let fits = if met.position == 0 {
                self.base <= met.header.base_offset
            } else {
                met.header.base_offset == self.covered_end
            };
            if !fits || i64::from(u32::MAX >> 1) < met.header.last_offset().since(self.base) {
                return Err(WalkError::Bad(met.position));
            }
            self.observe(&met, index_interval_bytes);
            self.maybe_spill().map_err(WalkError::Io)?;
        }
        Ok(())
    }

    /// Forgets what lies at or behind `position`, or more: the state is that after some batch with
    /// an index entry, or the empty one. The indexes must have been checked.
    pub fn truncate(&mut self, file: &F, position: u64) -> io::Result<()> {
        if self.covered <= position {
            return Ok(());
        }
        let Some(files) = self.files.clone() else {
            self.reset();
            return Ok(());
        };
        self.offsets.spill(&files.offsets)?;
        self.times.spill(&files.times)?;
        let stays = |entry: OffsetEntry| u64::from(entry.position) < position;
        let count = self.offsets.partition_point(Some(&files.offsets), true, stays)?;
        let first = self.span.first;
        let Some(number) = count.checked_sub(1) else {
            self.reset();
            return Ok(());
        };
        let last = self.offsets.entry(Some(&files.offsets), number, true)?;
        let met = Walk::new(file, u64::from(last.position), position, true).next();
        let is_named =
            |met: &Met| met.header.last_offset().since(self.base) == i64::from(last.offset);
        let Some(met) = met.ok().flatten().filter(is_named) else {
            self.reset();
            return Ok(());
        };
        let stays = |entry: TimeEntry| entry.offset <= last.offset;
        let time_count = self.times.partition_point(Some(&files.times), true, stays)?;
        self.offsets.truncate(&files.offsets, count)?;
        self.times.truncate(&files.times, time_count)?;
        let newest = self.times.last();
        self.span = Span {
            first,
            max: newest.map_or(Timestamp::NONE, |entry| Timestamp(entry.timestamp)),
            max_offset: newest
                .map_or(Offset(-1), |entry| Offset(self.base.0 + i64::from(entry.offset))),
        };
        self.covered = met.end_position();
        self.covered_end = met.header.next_offset();
        self.last = (met.position, met.header.crc);
        self.since_entry_bytes = met.header.size_bytes() as u64;
        Ok(())
    }

    fn summary(&self) -> [u8; SUMMARY_BYTES] {
        let mut out = Vec::with_capacity(SUMMARY_BYTES);
        out.extend_from_slice(&SUMMARY_MAGIC);
        out.extend_from_slice(&SUMMARY_VERSION.to_be_bytes());
        let span = &self.span;
        for field in [
            self.base.0,
            self.covered as i64,
            self.covered_end.0,
            self.since_entry_bytes as i64,
            span.first.0,
            span.max.0,
            span.max_offset.0,
        ] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        let (offset_count, offset_crc) = self.offsets.stored();
        let (time_count, time_crc) = self.times.stored();
        for field in [offset_count, offset_crc, time_count, time_crc] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.last.0.to_be_bytes());
        out.extend_from_slice(&self.last.1.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
        out.try_into().expect("the fields add up to the block")
    }

    /// Whether the last batch that was observed is where it was in `log`, `bytes` long.
    pub fn is_of(&self, log: &F, bytes: u64) -> bool {
        let (position, crc) = self.last;
        let met = Walk::new(log, position, self.covered, true).next();
        let is_last = |met: &Met| {
            met.header.crc == crc
                && met.end_position() == self.covered
                && met.header.next_offset() == self.covered_end
        };
        let is_there = self.covered <= bytes && met.ok().flatten().as_ref().is_some_and(is_last);
        self.covered == 0 || is_there
    }

    /// What a summary file claims, its index entries still unchecked; `None` when it is missing,
    /// torn, of another version or of another segment.
    pub fn from_summary(base: Offset, file: &F) -> io::Result<Option<Self>> {
        let mut block = [0; SUMMARY_BYTES];
        if !read_full(file, &mut block, 0, true)? {
            return Ok(None);
        }
        let i64_at = |at: usize| i64::from_be_bytes(block[at..at + 8].try_into().expect("8 bytes"));
        let u32_at = |at: usize| u32::from_be_bytes(block[at..at + 4].try_into().expect("4 bytes"));
        if block[..4] != SUMMARY_MAGIC
            || u32_at(4) != SUMMARY_VERSION
            || i64_at(8) != base.0
            || u32_at(SUMMARY_BYTES - 4) != crc32c::crc32c(&block[..SUMMARY_BYTES - 4])
        {
            return Ok(None);
        }
        Ok(Some(Derived {
            base,
            offsets: SparseIndex::claimed(u32_at(64), u32_at(68)),
            times: SparseIndex::claimed(u32_at(72), u32_at(76)),
            files: None,
            is_unchecked: true,
            covered: i64_at(16) as u64,
            covered_end: Offset(i64_at(24)),
            since_entry_bytes: i64_at(32) as u64,
            last: (i64_at(80) as u64, u32_at(88)),
            span: Span {
                first: Timestamp(i64_at(40)),
                max: Timestamp(i64_at(48)),
                max_offset: Offset(i64_at(56)),
            },
            is_settled: false,
        }))
    }
}
