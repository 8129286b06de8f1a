//! What compaction does with each batch: it is read whole, judged, and written or not.
//!
//! Reading is checked as recovery checks: batches follow one another without a gap up to the end of
//! their segment, and their checksums are right. Writing syncs every MiB, so that no sync is
//! long: the disk serves the flusher in between.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Disk;
use super::cleaned::unfinished_name;
use super::compaction::{CleanError, Input, Rules};
use super::derived::{Derived, IndexFiles};
use super::index::read_full;
use super::key_map::KeyMap;
use super::segment::Place;
use super::walk::Met;
use crate::ids::{LeaderEpoch, Offset};
use crate::journal::disk::{DiskFile, Open, is_unreadable};
use crate::limits::{CLEANER_KEY_BYTES_MAX, DECOMPRESSED_BYTES_MAX};
use crate::record::{
    Batch, BatchHeader, CompressionError, HEADER_BYTES, Record, count_kept, decompress, emptied,
    empty_batch, retain,
};
use crate::time::{Now, Timestamp};

/// Read at once, where a batch is not larger.
const READ_BYTES: usize = 64 << 10;

/// Written at once.
const WRITE_BYTES: usize = 64 << 10;

/// Written between two syncs. Whoever syncs meanwhile waits for as much, so it is little.
const SYNC_BYTES: u64 = 1 << 20;

/// The batches of a segment, one after another.
pub(super) struct Reader<F> {
    file: F,
    input: Input,
    position: u64,
    next: Offset,
    /// Where the last batch began.
    last: (u64, Offset),
    buf: Vec<u8>,
    /// Where in the segment `buf` begins.
    buf_position: u64,
}

/// A batch whose place and checksum are right.
pub(super) struct Found<'a> {
    batch: Batch<'a>,
    segment: Offset,
    position: u64,
}

impl<F: DiskFile> Reader<F> {
    pub fn new(file: F, input: Input) -> Self {
        let next = input.base;
        let last = (0, next);
        Reader { file, input, position: 0, next, last, buf: Vec::new(), buf_position: 0 }
    }

    /// The file, and how far it is read.
    pub fn place(&self) -> (&F, u64) {
        (&self.file, self.buf_position + self.buf.len() as u64)
    }

    /// The next batch, `None` at the segment's end.
    pub fn next(&mut self) -> Result<Option<Found<'_>>, CleanError> {
        let position = self.position;
        let segment = self.input.base;
        let damaged = CleanError::Damaged { segment, position };
        if position == self.input.bytes {
            return if self.next == self.input.end { Ok(None) } else { Err(damaged) };
        }
        let left = self.input.bytes - position;
        if left < HEADER_BYTES as u64 || !self.load(HEADER_BYTES)? {
            return Err(damaged);
        }
        let Ok(header) = BatchHeader::parse(self.loaded()) else { return Err(damaged) };
        let bytes = header.size_bytes();
        let fits = bytes as u64 <= left && bytes <= DECOMPRESSED_BYTES_MAX;
        if !fits || header.base_offset != self.next || !self.load(bytes)? {
            return Err(damaged);
        }
        self.last = (position, self.next);
        self.position += bytes as u64;
        self.next = header.next_offset();
        let at = (position - self.buf_position) as usize;
        let Ok((batch, _)) = Batch::split_first(&self.buf[at..]) else { return Err(damaged) };
        let is_whole = self.next <= self.input.end && batch.crc_is_valid();
        if is_whole { Ok(Some(Found { batch, segment, position })) } else { Err(damaged) }
    }

    /// Has the batch that was read last come once more.
    pub fn again(&mut self) {
        (self.position, self.next) = self.last;
    }

    fn loaded(&self) -> &[u8] {
        &self.buf[(self.position - self.buf_position) as usize..]
    }

    /// Has so many bytes from the position on; `false` when they are not all there.
    fn load(&mut self, bytes: usize) -> Result<bool, CleanError> {
        let held_end = self.buf_position + self.buf.len() as u64;
        let is_behind = self.position < self.buf_position || held_end < self.position;
        if !is_behind && bytes <= self.loaded().len() {
            return Ok(true);
        }
        let left = (self.input.bytes - self.position) as usize;
        self.buf.clear();
        self.buf.resize(bytes.max(READ_BYTES).min(left), 0);
        self.buf_position = self.position;
        match read_full(&self.file, &mut self.buf, self.position, true) {
            // What the disk has lost is for recovery to part from what is good.
            Err(error) if is_unreadable(&error) => Ok(false),
            read => Ok(read?),
        }
    }
}

impl<'a> Found<'a> {
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.batch.bytes()
    }

    /// Its records, uncompressed, if they are at most so many bytes.
    pub fn section(&self, bytes_max: usize) -> Result<Cow<'a, [u8]>, CleanError> {
        decompress(&self.batch, bytes_max).map_err(|why| match why {
            CompressionError::TooLarge => {
                CleanError::TooLarge { offset: self.header().base_offset }
            }
            CompressionError::Codec | CompressionError::Malformed => self.damaged(),
        })
    }

    /// What is wrong with it, when its records do not decode.
    pub fn damaged(&self) -> CleanError {
        CleanError::Damaged { segment: self.segment, position: self.position }
    }
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, byte for byte.
    Copy,
    /// This takes its place.
    Rewrite(Vec<u8>),
    /// Nothing of it is kept.
    Gone,
}

/// What is kept.
pub(super) struct Keep<'a> {
    pub map: &'a KeyMap,
    /// The first offset that the map knows nothing of.
    pub map_end: Offset,
    /// Where each live producer's last sequence is.
    pub producers: &'a BTreeMap<i64, Offset>,
    pub delete_retention_ms: i64,
    pub window_bytes: usize,
    pub now: Now,
}

impl Keep<'_> {
    pub fn judge(&self, found: &Found<'_>) -> Result<Fate, CleanError> {
        let header = found.header();
        let attributes = header.attributes;
        if attributes.is_control() || attributes.is_transactional() {
            return Ok(Fate::Copy);
        }
        let tells_sequence = self.producers.get(&header.producer_id) == Some(&header.last_offset());
        if header.record_count == 0 {
            return Ok(if tells_sequence { Fate::Copy } else { Fate::Gone });
        }
        if self.map_end <= header.base_offset {
            return Ok(Fate::Copy);
        }
        let section = found.section(self.window_bytes)?;
        let is_past_horizon = attributes.has_delete_horizon()
            && self.now.wall_trusted
            && header.base_timestamp <= self.now.wall;
        let keeps = |record: &Record<'_>| self.keeps(record, is_past_horizon);
        let kept = count_kept(header, &section, keeps).map_err(|_| found.damaged())?;
        if kept.record_count == 0 {
            let emptied = || Fate::Rewrite(emptied(header).to_vec());
            return Ok(if tells_sequence { emptied() } else { Fate::Gone });
        }
        // The time counts from the round that took away what the tombstone deletes.
        let sets_horizon = kept.has_tombstone
            && !attributes.has_delete_horizon()
            && self.now.wall_trusted
            && header.next_offset() <= self.map_end;
        if kept.record_count == header.record_count && !sets_horizon {
            return Ok(Fate::Copy);
        }
        let horizon = sets_horizon.then(|| self.now.wall + self.delete_retention_ms);
        let batch = retain(header, &section, horizon, keeps).map_err(|_| found.damaged())?;
        Ok(Fate::Rewrite(batch))
    }

    fn keeps(&self, record: &Record<'_>, is_past_horizon: bool) -> bool {
        if self.map_end <= record.offset {
            return true;
        }
        let Some(key) = record.key else { return false };
        if CLEANER_KEY_BYTES_MAX < key.len() {
            return true;
        }
        let is_last = self.map.last(key).is_none_or(|last| last <= record.offset);
        is_last && (record.value.is_some() || !is_past_horizon)
    }
}

/// Offsets of which nothing is left, to be told by one empty batch.
#[derive(Clone, Copy, Debug)]
struct Gap {
    base: Offset,
    last: Offset,
    leader_epoch: LeaderEpoch,
}

/// A segment that is being written.
pub(super) struct Output<F> {
    pub file: F,
    /// What is written, and what waits to be.
    written_bytes: u64,
    pending: Vec<u8>,
    gap: Option<Gap>,
    is_changed: bool,
    /// Bytes that are on disk.
    pub synced_bytes: u64,
    crc: u32,
    pub derived: Derived<F>,
    index_interval_bytes: u32,
    /// Of the first batch that has one.
    pub first_timestamp: Timestamp,
}

impl<F: DiskFile> Output<F> {
    /// Makes the files of a segment under the names of unfinished ones.
    pub fn create<D: Disk<File = F>>(
        place: Place<'_, D>,
        base: Offset,
        index_interval_bytes: u32,
    ) -> Result<Self, CleanError> {
        let open = |suffix| -> std::io::Result<F> {
            let path = place.dir.join(unfinished_name(base, suffix));
            let file = place.disk.open(&path, Open::CreateOrWrite)?;
            file.set_len(0)?;
            Ok(file)
        };
        let file = open("log")?;
        let mut derived = Derived::new(base);
        derived.files = Some(IndexFiles {
            offsets: open("index")?,
            times: open("timeindex")?,
            summary: open("summary")?,
        });
        Ok(Output {
            file,
            written_bytes: 0,
            pending: Vec::with_capacity(WRITE_BYTES),
            gap: None,
            is_changed: false,
            synced_bytes: 0,
            crc: 0,
            derived,
            index_interval_bytes,
            first_timestamp: Timestamp::NONE,
        })
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        self.written_bytes + self.pending.len() as u64
    }

    /// CRC-32C of all that is written.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Whether it is other than what was read.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether a segment of so many bytes may join it.
    pub fn has_room_for(&self, bytes: u64, rules: &Rules) -> bool {
        let entries = self.derived.offsets.count() as u64
            + bytes / u64::from(self.index_interval_bytes.max(1))
            + 1;
        // Entries of the time index are the larger ones.
        self.bytes() + bytes <= rules.segment_bytes && entries * 12 <= rules.segment_index_bytes
    }

    /// Adds a batch as it is.
    pub fn push(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), CleanError> {
        self.end_gap()?;
        self.put(header, bytes)
    }

    /// Adds a batch that is another than was read.
    pub fn push_changed(&mut self, bytes: &[u8]) -> Result<(), CleanError> {
        self.is_changed = true;
        let header = BatchHeader::parse(bytes).expect("it was written here");
        self.push(&header, bytes)
    }

    /// Takes note that nothing is left of a batch.
    pub fn skip(&mut self, header: &BatchHeader) -> Result<(), CleanError> {
        let (base, last) = (header.base_offset, header.last_offset());
        let leader_epoch = header.leader_epoch;
        self.is_changed |= 0 < header.record_count;
        match &mut self.gap {
            Some(gap)
                if gap.leader_epoch == leader_epoch
                    && last.since(gap.base) <= i64::from(i32::MAX) =>
            {
                gap.last = last;
                self.is_changed = true;
            }
            _ => {
                self.end_gap()?;
                self.gap = Some(Gap { base, last, leader_epoch });
            }
        }
        Ok(())
    }

    fn end_gap(&mut self) -> Result<(), CleanError> {
        let Some(Gap { base, last, leader_epoch }) = self.gap.take() else { return Ok(()) };
        let batch = empty_batch(base, last, leader_epoch);
        let header = BatchHeader::parse(&batch).expect("it was written here");
        self.put(&header, &batch)
    }

    fn put(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), CleanError> {
        let position = self.bytes();
        // Positions in a segment are 31 bits wide. Rewriting can make a batch a little larger.
        if i64::from(i32::MAX) < (position + bytes.len() as u64) as i64 {
            return Err(CleanError::Io(std::io::ErrorKind::FileTooLarge.into()));
        }
        if self.first_timestamp < Timestamp(0) {
            self.first_timestamp = header.max_timestamp;
        }
        self.derived.observe(&Met { position, header: *header }, self.index_interval_bytes);
        self.derived.maybe_spill()?;
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < WRITE_BYTES { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), CleanError> {
        self.file.write_all_at(&self.pending, self.written_bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.pending);
        self.written_bytes += self.pending.len() as u64;
        self.pending.clear();
        if SYNC_BYTES <= self.written_bytes - self.synced_bytes {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), CleanError> {
        self.file.sync_data()?;
        self.synced_bytes = self.written_bytes;
        Ok(())
    }

    /// Writes all that was pushed.
    pub fn flush(&mut self) -> Result<(), CleanError> {
        self.end_gap()?;
        self.write()
    }

    /// Makes it durable, and its indexes as they stay.
    pub fn close(&mut self) -> Result<(), CleanError> {
        assert!(self.pending.is_empty() && self.gap.is_none(), "flushed before");
        self.sync()?;
        self.derived.push_time();
        self.derived.spill()?;
        self.derived.trim_files()?;
        self.derived.files = None;
        Ok(())
    }
}
