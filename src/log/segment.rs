//! One segment: a `.log` file of batches and what is derived from it.
//!
//! **Invariants:** bytes are only added at the end, and the file's length is that of its batches
//! (space reserved ahead does not show), save for those that are *held*: small ones that the journal
//! keeps, which are written a few at a time, and before anybody gets the file to read it. `base <= end`; a batch's last offset fits 31 bits from
//! the base. A lookup's answer comes from the batch itself: an index only says where to begin.
//!
//! Handles are opened when needed and given back by [`Segment::close_handles`]; a sealed segment at
//! rest costs its struct. Read semantics.md 2.3 and 2.4 before editing.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};

use super::derived::{Derived, IndexFiles, Span};
use super::types::ReadError;
use super::walk::{Met, Walk, WalkError};
use crate::ids::Offset;
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::limits::{HELD_BATCH_BYTES_MAX, HELD_SEGMENT_BYTES_MAX};
use crate::record::BatchHeader;
use crate::time::{Boot, Now, Timestamp};
use crate::topic_config::TopicConfig;

/// Reserved ahead of the end: at least this much at once, so that a busy file grows in few steps.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
/// And at most this much.
const RESERVE_BYTES_MAX: u64 = 16 << 20;

/// A lookup that walks further than this was led astray by its index.
const WALK_BYTES_MAX: u64 = 1 << 20;

/// Chunks read in one step of catching up, so that a turn stays short.
const CATCH_UP_READS: usize = 2048;

/// What is learnt anew of a segment with no more unseen bytes stays in memory at first.
const UNSEEN_BYTES_MAX: u64 = 1 << 20;

/// Bytes to load at once when a walk meets cold ones.
const COLD_BYTES: u64 = 1 << 20;

/// Where a log's files are.
#[derive(Debug)]
pub(super) struct Place<'a, D> {
    pub disk: &'a D,
    pub dir: &'a Path,
}

impl<D> Clone for Place<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Place<'_, D> {}

impl<D: Disk> Place<'_, D> {
    /// Path of a segment's file, by its suffix.
    pub fn path(&self, base: Offset, suffix: &str) -> PathBuf {
        self.dir.join(file_name(base, suffix))
    }
}

/// Kafka's name of a segment's file.
pub(super) fn file_name(base: Offset, suffix: &str) -> String {
    format!("{:020}.{suffix}", base.0)
}

/// What a segment holds; few hold anything, and it is to cost the others no more than a pointer.
#[derive(Default)]
struct Held {
    batches: Vec<u8>,
}

/// A batch that was looked for, and a walk that goes on behind it.
pub(super) struct Located<'a, F> {
    pub walk: Walk<'a, F>,
    pub met: Met,
}

/// One segment.
pub(super) struct Segment<D: Disk> {
    pub base: Offset,
    /// Offset after the last record.
    pub end: Offset,
    /// Length of the `.log` file.
    pub bytes: u64,
    /// Whether the file came into being in this run, or in one that did not end well. Whether its
    /// name is durable by now is the journal's to know: only it sees syncs of the directory.
    pub is_new: bool,
    /// When the segment came into being, or was opened.
    pub created: Boot,
    /// When it last grew in this run.
    pub appended: Boot,
    /// Largest timestamp of its first batch.
    pub first_timestamp: Timestamp,
    reserved_bytes: u64,
    /// Batches that are not in the file yet: the last of `bytes`, for which space is reserved.
    held: Cell<Option<Box<Held>>>,
    log: RefCell<Option<D::File>>,
    pub derived: RefCell<Derived<D::File>>,
    /// Where the last read ended: the next one of the same reader begins there.
    hint: Cell<(Offset, u64)>,
    cold_turn: Cell<bool>,
}

impl<D: Disk> Segment<D> {
    /// A segment whose file is `file`, `bytes` long; nothing is derived yet.
    pub fn new(base: Offset, file: Option<D::File>, bytes: u64, now: Boot) -> Self {
        Segment {
            base,
            end: base,
            bytes,
            is_new: false,
            created: now,
            appended: now,
            first_timestamp: Timestamp::NONE,
            reserved_bytes: bytes,
            held: Cell::new(None),
            log: RefCell::new(file),
            derived: RefCell::new(Derived::new(base)),
            hint: Cell::new((base, 0)),
            cold_turn: Cell::new(false),
        }
    }

    /// A new, empty segment. A file left by a failed attempt to make it is taken over.
    pub fn create(place: Place<'_, D>, base: Offset, now: Boot) -> io::Result<Self> {
        let file = place.disk.open(&place.path(base, "log"), Open::CreateOrWrite)?;
        file.set_len(0)?;
        let mut segment = Segment::new(base, Some(file), 0, now);
        segment.is_new = true;
        Ok(segment)
    }

    /// Adds a stamped batch at the end, and writes it unless it may be held. Answers whether it is
    /// in the file. On an error the bytes behind `bytes` are undefined.
    pub fn append(
        &mut self,
        place: Place<'_, D>,
        batch: &[u8],
        header: &BatchHeader,
        config: &TopicConfig,
        now: Boot,
        may_hold: bool,
    ) -> io::Result<bool> {
        let file = self.handle(place)?;
        self.reserve(&file, batch.len() as u64, u64::from(config.segment_bytes));
        let is_held = may_hold && self.can_hold(batch.len());
        if is_held {
            self.held.get_mut().get_or_insert_default().batches.extend_from_slice(batch);
        } else {
            self.settle(place)?;
            file.write_all_at(batch, self.bytes)?;
        }
        let met = Met { position: self.bytes, header: *header };
        if self.bytes == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        let derived = self.derived.get_mut();
        if derived.covered == self.bytes {
            derived.observe(&met, config.index_interval_bytes);
        }
        let is_tail_full = derived.offsets.is_tail_full();
        self.bytes = met.end_position();
        self.end = header.next_offset();
        self.appended = now;
        if is_tail_full {
            // The entries stay in memory when their file cannot be written; the log goes on.
            let _ = self.spill(place);
        }
        Ok(!is_held)
    }

    /// Whether so many bytes are few enough to be held, and sure to find space later.
    fn can_hold(&self, bytes: usize) -> bool {
        bytes <= HELD_BATCH_BYTES_MAX
            && self.held_bytes() + bytes <= HELD_SEGMENT_BYTES_MAX
            && self.bytes + bytes as u64 <= self.reserved_bytes
    }

    /// Bytes that are not in the file yet.
    pub fn held_bytes(&self) -> usize {
        let held = self.held.take();
        let bytes = held.as_ref().map_or(0, |held| held.batches.len());
        self.held.set(held);
        bytes
    }

    /// Writes what is held. What fails stays held.
    pub fn settle(&self, place: Place<'_, D>) -> io::Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let position = self.bytes - held.batches.len() as u64;
        let written =
            self.handle(place).and_then(|file| file.write_all_at(&held.batches, position));
        if written.is_err() {
            self.held.set(Some(held));
        }
        written
    }

    /// Cuts the file back to its batches after a failed write.
    pub fn undo_append(&mut self, place: Place<'_, D>) -> io::Result<()> {
        let written_bytes = self.bytes - self.held_bytes() as u64;
        self.reserved_bytes = written_bytes;
        self.handle(place)?.set_len(written_bytes)
    }

    /// Forgets what lies behind the batch that ends at `position`. Indexes are learnt again.
    pub fn cut(&mut self, position: u64, end: Offset) {
        if self.bytes == position {
            return;
        }
        self.bytes = position;
        self.end = end;
        self.reserved_bytes = position;
        if position == 0 {
            self.first_timestamp = Timestamp::NONE;
        }
        *self.derived.get_mut() = Derived::new(self.base);
        self.hint.set((self.base, 0));
    }

    /// Ends the segment's growth: the last time entry, indexes and summary to their files, and no
    /// reserved space left.
    pub fn seal(&mut self, place: Place<'_, D>) -> io::Result<()> {
        self.file(place)?.set_len(self.bytes)?;
        self.reserved_bytes = self.bytes;
        self.finish(place)
    }

    /// Writes indexes and summary as they stay, if they cover the segment.
    pub fn finish(&mut self, place: Place<'_, D>) -> io::Result<()> {
        let bytes = self.bytes;
        let derived = self.derived.get_mut();
        if derived.covered == bytes {
            derived.push_time();
        }
        self.spill(place)?;
        self.derived.get_mut().trim_files()
    }

    /// Makes indexes and span complete, waiting for the disk. A bad batch ends it early.
    pub fn complete(&self, place: Place<'_, D>, config: &TopicConfig) -> io::Result<()> {
        let file = self.file(place)?;
        self.open_index_files(place)?;
        let mut derived = self.derived.borrow_mut();
        derived.check(true)?;
        let interval = config.index_interval_bytes;
        match derived.catch_up(&file, self.bytes, interval, true, usize::MAX) {
            Ok(()) | Err(WalkError::Bad(_) | WalkError::Cold(_)) => Ok(()),
            Err(WalkError::Io(error)) => Err(error),
        }
    }

    /// Whether something derived lies in memory only, or space is reserved behind the end.
    pub fn has_loose_entries(&self) -> bool {
        let derived = self.derived.borrow();
        !derived.is_settled || self.bytes < self.reserved_bytes
    }

    /// Gives back handles. The active segment keeps its `.log`.
    pub fn close_handles(&mut self, place: Place<'_, D>, is_active: bool) {
        if self.derived.get_mut().offsets.has_tail() {
            let _ = self.spill(place);
        }
        self.derived.get_mut().files = None;
        if !is_active && self.settle(place).is_ok() {
            *self.log.get_mut() = None;
        }
    }

    /// How many files are open.
    pub fn handle_count(&self) -> usize {
        let logs = usize::from(self.log.borrow().is_some());
        if self.derived.borrow().files.is_some() { logs + 3 } else { logs }
    }

    /// The `.log` file with all of its batches, opened if it was not.
    pub fn file(&self, place: Place<'_, D>) -> io::Result<D::File> {
        self.settle(place)?;
        self.handle(place)
    }

    /// The `.log` file, whatever of it is held.
    pub fn handle(&self, place: Place<'_, D>) -> io::Result<D::File> {
        if let Some(file) = &*self.log.borrow() {
            return Ok(file.clone());
        }
        let file = place.disk.open(&place.path(self.base, "log"), Open::Write)?;
        *self.log.borrow_mut() = Some(file.clone());
        Ok(file)
    }

    /// Span of the timestamps, when all of the segment was observed.
    pub fn span(&self) -> Option<Span> {
        let derived = self.derived.borrow();
        (derived.covered == self.bytes).then_some(derived.span)
    }

    /// The span, found out by walking on if need be.
    pub fn span_or_catch_up(
        &self,
        place: Place<'_, D>,
        config: &TopicConfig,
    ) -> Result<Span, ReadError<D::File>> {
        if self.span().is_none() {
            let file = self.file(place)?;
            self.catch_up_to(place, &file, self.end, config)?;
        }
        let derived = self.derived.borrow();
        Ok(derived.span)
    }

    /// Whether the segment must end before a batch of this header is added (semantics.md 2.4).
    pub fn is_due_to_roll(&self, header: &BatchHeader, config: &TopicConfig, now: Now) -> bool {
        let derived = self.derived.borrow();
        let is_full = u64::from(config.segment_bytes) < self.bytes + header.size_bytes() as u64;
        let offset_slots = config.segment_index_bytes as usize / 8;
        let time_slots = config.segment_index_bytes as usize / 12;
        let is_index_full = offset_slots <= derived.offsets.count()
            // The last slot is kept for the entry that the roll adds.
            || time_slots <= derived.times.count() + 1;
        let does_overflow = i64::from(i32::MAX) < header.last_offset().since(self.base);
        let is_old = 0 < self.bytes && config.roll_ms() < self.age_ms(header.max_timestamp, now);
        is_full || is_old || is_index_full || does_overflow
    }

    /// Age for the roll: by record timestamps, or since creation where records have none.
    fn age_ms(&self, newest: Timestamp, now: Now) -> i64 {
        if Timestamp(0) <= self.first_timestamp {
            newest.0.saturating_sub(self.first_timestamp.0)
        } else {
            now.boot.ms_since(self.created) as i64
        }
    }

    /// Finds the batch that holds `target`, and a walk that goes on behind it.
    pub fn locate<'a>(
        &self,
        place: Place<'_, D>,
        file: &'a D::File,
        target: Offset,
        config: &TopicConfig,
    ) -> Result<Located<'a, D::File>, ReadError<D::File>> {
        let (hint, position) = self.hint.get();
        if hint == target {
            let mut walk = Walk::new(file, position, self.bytes, false);
            let met = walk.next().map_err(|error| self.read_error(file, error))?;
            if let Some(met) = met.filter(|met| met.header.base_offset == target) {
                return Ok(Located { walk, met });
            }
        }
        self.catch_up_to(place, file, target, config)?;
        let start = self.floor(place, target)?;
        let mut walk = Walk::new(file, start.map_or(0, |at| at.1), self.bytes, false);
        let walk_bytes_max = WALK_BYTES_MAX.max(4 * u64::from(config.index_interval_bytes));
        let mut first_end = None;
        let mut expected = None;
        loop {
            let met = walk.next().map_err(|error| self.read_error(file, error))?;
            let Some(met) = met else { return Err(self.damaged(self.bytes)) };
            let fits = match (expected, start) {
                (Some(expected), _) => met.header.base_offset == expected,
                // The index must name the batch exactly, or it lies.
                (None, Some((last, _))) => met.header.last_offset() == last,
                (None, None) => self.base <= met.header.base_offset,
            };
            let walked = met.position - *first_end.get_or_insert(met.position);
            let is_astray =
                walk_bytes_max < walked || expected.is_none() && start.is_some() && !fits;
            if is_astray {
                // Forget the index; the next call begins to learn it again.
                self.derived.borrow_mut().reset();
                return Err(ReadError::Cold {
                    segment: self.base,
                    file: file.clone(),
                    position: 0,
                    bytes: 0,
                });
            }
            if !fits || target < met.header.base_offset {
                return Err(self.damaged(met.position));
            }
            if target <= met.header.last_offset() {
                return Ok(Located { walk, met });
            }
            if expected.is_none() {
                first_end = Some(met.end_position());
            }
            expected = Some(met.header.next_offset());
        }
    }

    /// Remembers where a reader that continues will begin.
    pub fn remember(&self, offset: Offset, position: u64) {
        if position < self.bytes {
            self.hint.set((offset, position));
        }
    }

    /// The index entry to begin at: last offset of a batch and its position.
    fn floor(
        &self,
        place: Place<'_, D>,
        target: Offset,
    ) -> Result<Option<(Offset, u64)>, ReadError<D::File>> {
        let derived = self.derived.borrow();
        let relative = target.since(self.base);
        let files = derived.files.as_ref();
        let file = files.map(|files| &files.offsets);
        let result = derived
            .offsets
            .partition_point(file, false, |entry| i64::from(entry.offset) <= relative)
            .and_then(|count| match count.checked_sub(1) {
                Some(number) => derived.offsets.entry(file, number, false).map(Some),
                None => Ok(None),
            });
        drop(derived);
        match result {
            Ok(entry) => Ok(entry.map(|entry| {
                (Offset(self.base.0 + i64::from(entry.offset)), u64::from(entry.position))
            })),
            Err(error) => Err(self.index_error(place, &error)),
        }
    }

    /// Learns what is derived up to the batch that holds `target`, in bounded steps.
    pub fn catch_up_to(
        &self,
        place: Place<'_, D>,
        file: &D::File,
        target: Offset,
        config: &TopicConfig,
    ) -> Result<(), ReadError<D::File>> {
        self.open_index_files(place)?;
        let checked = self.derived.borrow_mut().check(false);
        checked.map_err(|error| self.index_error(place, &error))?;
        let mut derived = self.derived.borrow_mut();
        if derived.covered == self.bytes || target < derived.covered_end {
            return Ok(());
        }
        let interval = config.index_interval_bytes;
        let step = derived.catch_up(file, self.bytes, interval, false, CATCH_UP_READS);
        let (covered, covered_end) = (derived.covered, derived.covered_end);
        if covered == self.bytes && derived.files.is_some() {
            derived.push_time();
            derived.spill().and_then(|()| derived.trim_files())?;
        }
        drop(derived);
        step.map_err(|error| self.read_error(file, error))?;
        if covered < self.bytes && covered_end <= target {
            return Err(ReadError::Cold {
                segment: self.base,
                file: file.clone(),
                position: covered,
                bytes: 0,
            });
        }
        Ok(())
    }

    /// Opens the index files where entries are stored, or so many will be found that they must be.
    pub fn open_index_files(&self, place: Place<'_, D>) -> io::Result<()> {
        let derived = self.derived.borrow();
        let unseen = self.bytes.saturating_sub(derived.covered);
        let is_needed = derived.is_stored() || UNSEEN_BYTES_MAX < unseen;
        drop(derived);
        if is_needed { self.make_index_files(place) } else { Ok(()) }
    }

    fn make_index_files(&self, place: Place<'_, D>) -> io::Result<()> {
        let mut derived = self.derived.borrow_mut();
        if derived.files.is_some() {
            return Ok(());
        }
        let open = |suffix| place.disk.open(&place.path(self.base, suffix), Open::CreateOrWrite);
        derived.files = Some(IndexFiles {
            offsets: open("index")?,
            times: open("timeindex")?,
            summary: open("summary")?,
        });
        Ok(())
    }

    fn spill(&self, place: Place<'_, D>) -> io::Result<()> {
        self.make_index_files(place)?;
        let mut derived = self.derived.borrow_mut();
        derived.check(true)?;
        derived.spill()
    }

    fn reserve(&mut self, file: &D::File, more: u64, segment_bytes: u64) {
        let needed = self.bytes + more;
        if needed <= self.reserved_bytes {
            return;
        }
        let ahead = self.bytes.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let end = (needed + ahead).min(segment_bytes.max(needed));
        // Reserving is a favour to the file system; the write itself says whether there is space.
        if file.reserve(self.reserved_bytes, end - self.reserved_bytes).is_ok() {
            self.reserved_bytes = end;
        }
    }

    /// Says in the log's terms why a walk stopped.
    pub fn read_error(&self, file: &D::File, error: WalkError) -> ReadError<D::File> {
        match error {
            WalkError::Cold(position) => ReadError::Cold {
                segment: self.base,
                file: file.clone(),
                position,
                bytes: COLD_BYTES.min(self.bytes.saturating_sub(position)),
            },
            WalkError::Bad(position) => self.damaged(position),
            WalkError::Io(error) => ReadError::Io(error),
        }
    }

    /// An index that cannot be read: loaded when it is cold, learnt anew when it is broken.
    pub fn index_error(&self, place: Place<'_, D>, error: &io::Error) -> ReadError<D::File> {
        let mut derived = self.derived.borrow_mut();
        let file = match (&derived.files, error.kind()) {
            (Some(files), io::ErrorKind::WouldBlock) => {
                // Which of the two is cold was not told, so they take turns.
                let is_time = self.cold_turn.replace(!self.cold_turn.get());
                let (file, bytes) = if is_time {
                    (files.times.clone(), derived.times.stored_bytes())
                } else {
                    (files.offsets.clone(), derived.offsets.stored_bytes())
                };
                return ReadError::Cold { segment: self.base, file, position: 0, bytes };
            }
            _ => self.file(place),
        };
        derived.reset();
        match file {
            Ok(file) => ReadError::Cold { segment: self.base, file, position: 0, bytes: 0 },
            Err(error) => ReadError::Io(error),
        }
    }

    fn damaged(&self, position: u64) -> ReadError<D::File> {
        ReadError::Damaged { segment: self.base, position }
    }
}
