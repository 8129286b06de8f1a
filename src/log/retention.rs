//! What makes a log shorter at its start: retention by time and size, and `DeleteRecords`.
//!
//! Deletion has three steps, so that no crash brings records back or loses any too early. `expire`
//! or `advance_start` raises the start and says what to persist; when that is durable
//! ([`Log::mark_start_durable`]), and so is what was known of producers ([`Log::note_producers`]),
//! `delete_expired` renames the files to `.deleted`, and later, after
//! `file.delete.delay.ms` of boot time, unlinks them.
//!
//! **Time is clock-safe** (reliability.md S9). A segment's age is the wall clock minus its largest
//! timestamp only when that proves something. It does not, and age is then the boot time since the
//! segment grew, since it was opened or since the clock stepped, whichever is latest,
//! - for a segment whose last append was before the wall clock last stepped against boot time
//!   (or became trusted) in this run: its timestamps come from another clock;
//! - for a timestamp before 2020: it comes from a clock that was never set.
//!
//! While the wall clock is untrusted nothing expires by time at all. Read semantics.md 2.5 before
//! editing.

use std::io;

use super::segment::Place;
use super::types::{LogError, ReadError};
use super::{Disk, Log};
use crate::ids::Offset;
use crate::journal::SmallState;
use crate::time::{Boot, Now, Timestamp};

/// A wall clock that shows an earlier time was never set: 2020-01-01.
const PLAUSIBLE_MIN: Timestamp = Timestamp(1_577_836_800_000);

/// The clocks may part by this much between two looks, and by a thousandth of the time between.
const STEP_MS: i64 = 60_000;

/// Steps of learning a segment's largest timestamp in one call.
const CATCH_UP_STEPS: usize = 8;

/// Files of a segment.
const SUFFIXES: [&str; 5] = ["log", "index", "timeindex", "summary", "snapshot"];

/// A log's memory of clocks and of segments on their way out.
#[derive(Debug)]
pub(super) struct Retention {
    seen: Now,
    /// Since when the wall clock has run beside the boot clock, trusted.
    steady_since: Boot,
    start_durable: Offset,
    doomed: Vec<Doomed>,
}

/// A segment that was dropped from the log.
#[derive(Debug)]
struct Doomed {
    base: Offset,
    end: Offset,
    /// When its renamed files are unlinked; `None` until they are renamed.
    unlink_at: Option<Boot>,
}

impl Retention {
    /// Of a log that is opened now, its start known to be durable.
    pub fn new(now: Now, start: Offset) -> Self {
        Retention { seen: now, steady_since: Boot(0), start_durable: start, doomed: Vec::new() }
    }

    /// Where the last dropped segment ends whose files are still to go.
    pub fn doomed_end(&self) -> Option<Offset> {
        self.doomed.iter().filter(|one| one.unlink_at.is_none()).map(|one| one.end).max()
    }

    /// Compares the clocks with the last look.
    fn look(&mut self, now: Now) {
        let boot_ms = now.boot.ms_since(self.seen.boot) as i64;
        let wall_ms = now.wall.0.saturating_sub(self.seen.wall.0);
        let apart = wall_ms.saturating_sub(boot_ms).saturating_abs();
        let is_step = STEP_MS + boot_ms / 1000 < apart;
        if is_step || (now.wall_trusted && !self.seen.wall_trusted) {
            self.steady_since = now.boot;
        }
        self.seen = now;
    }

    /// Age of a segment by the best proof there is.
    pub fn age_ms(&self, now: Now, appended: Boot, newest: Timestamp) -> i64 {
        let is_proven = PLAUSIBLE_MIN <= newest && self.steady_since <= appended;
        if is_proven {
            now.wall.0.saturating_sub(newest.0)
        } else {
            now.boot.ms_since(appended.max(self.steady_since)) as i64
        }
    }
}

impl<D: Disk> Log<D> {
    /// Raises the start to `offset`, which the caller knows to be at most the high watermark. The
    /// answer must be durable before anyone is told; whole segments before it go with the next
    /// `expire`.
    pub fn advance_start(&mut self, offset: Offset) -> Option<SmallState> {
        let offset = offset.min(self.end_offset());
        if offset <= self.start {
            return None;
        }
        self.start = offset;
        // What is before the start need not be durable any more.
        self.durable = self.durable.max(offset);
        self.epochs.truncate_start(offset);
        self.damage.truncate_start(offset);
        self.invariants();
        Some(SmallState::LogStart(offset))
    }

    /// Drops the oldest segments that retention no longer wants, up to the high watermark. The
    /// answer must be durable before their files go.
    pub fn expire(
        &mut self,
        now: Now,
        high_watermark: Offset,
    ) -> Result<Option<SmallState>, LogError> {
        self.retention.look(now);
        self.cold = None;
        let mut size = self.size_bytes();
        let mut count = 0;
        while count < self.segments.len() {
            let (end, bytes) = (self.segments[count].end, self.segments[count].bytes);
            if high_watermark < end || !self.is_expired(count, size, now) {
                break;
            }
            size -= bytes;
            count += 1;
        }
        self.drop_oldest(count, now)
    }

    /// Drops the oldest sealed segment whatever its age: the disk is full.
    pub fn expire_oldest(
        &mut self,
        now: Now,
        high_watermark: Offset,
    ) -> Result<Option<SmallState>, LogError> {
        let is_sealed = 1 < self.segments.len();
        let count = usize::from(is_sealed && self.segments[0].end <= high_watermark);
        self.drop_oldest(count, now)
    }

    fn drop_oldest(&mut self, count: usize, now: Now) -> Result<Option<SmallState>, LogError> {
        if count == 0 || self.is_truncating {
            return Ok(None);
        }
        if count == self.segments.len() {
            // An idle log's last records expire too: it goes on in an empty segment.
            self.roll(now.boot)?;
        }
        for segment in self.segments.drain(..count) {
            let (base, end) = (segment.base, segment.end);
            self.retention.doomed.push(Doomed { base, end, unlink_at: None });
        }
        let base = self.segments[0].base;
        if self.producers.count() == 0 {
            self.mark_producers_durable(base);
        }
        self.damage.drop_suspects(base);
        Ok(self.advance_start(base))
    }

    fn is_expired(&mut self, number: usize, size: u64, now: Now) -> bool {
        let next = self.segments.get(number + 1).map(|segment| segment.base);
        if next.is_some_and(|next| next <= self.start) {
            return true;
        }
        let segment = &self.segments[number];
        // The empty active segment is where the log goes on.
        if segment.bytes == 0 && next.is_none() || !self.config.cleanup_policy.delete {
            return false;
        }
        let retention_bytes = self.config.retention_bytes;
        if 0 <= retention_bytes && retention_bytes as u64 <= size - segment.bytes {
            return true;
        }
        if self.config.retention_ms < 0 || !now.wall_trusted {
            return false;
        }
        let Some(newest) = self.newest_timestamp(number) else { return false };
        let age = self.retention.age_ms(now, self.segments[number].appended, newest);
        self.config.retention_ms < age
    }

    /// Largest timestamp of a segment, learnt from its headers if need be. `None` when that takes
    /// more than a turn; what must be loaded for it is then in `cold`.
    pub(super) fn newest_timestamp(&mut self, number: usize) -> Option<Timestamp> {
        for _ in 0..CATCH_UP_STEPS {
            let segment = &self.segments[number];
            match segment.span_or_catch_up(self.place(), &self.config) {
                Ok(span) => return Some(span.max),
                Err(ReadError::Cold { bytes: 0, .. }) => {}
                Err(ReadError::Cold { file, position, bytes, .. }) => {
                    self.cold = Some(Box::new((file, position, bytes)));
                    return None;
                }
                Err(_) => return None,
            }
        }
        None
    }

    /// Says that the log's start is on stable storage.
    pub fn mark_start_durable(&mut self, start: Offset) {
        self.retention.start_durable = self.retention.start_durable.max(start);
    }

    /// Renames the files of dropped segments once the start that dropped them is durable, and
    /// unlinks those whose delay is over. Call it after each commit of a start, and with a timer.
    pub fn delete_expired(&mut self, now: Now) -> Result<(), LogError> {
        self.delete(now.boot, self.config.file_delete_delay_ms.unsigned_abs())
    }

    /// As `delete_expired`, but without delay: the disk is full.
    pub fn delete_at_once(&mut self, now: Now) -> Result<(), LogError> {
        for doomed in &mut self.retention.doomed {
            doomed.unlink_at = doomed.unlink_at.map(|_| now.boot);
        }
        self.delete(now.boot, 0)
    }

    /// When `delete_expired` has files to unlink next.
    pub fn next_deletion(&self) -> Option<Boot> {
        self.retention.doomed.iter().filter_map(|doomed| doomed.unlink_at).min()
    }

    fn delete(&mut self, now: Boot, delay_ms: u64) -> Result<(), LogError> {
        let mut doomed = std::mem::take(&mut self.retention.doomed);
        let place = self.place();
        let mut result = Ok(());
        doomed.retain_mut(|segment| {
            if result.is_err() {
                return true;
            }
            let may_go =
                segment.end <= self.retention.start_durable && self.snapshots.can_lose(segment.end);
            if segment.unlink_at.is_none() && may_go {
                result = rename_files(place, segment.base);
                segment.unlink_at = result.is_ok().then(|| now.plus_ms(delay_ms));
            }
            if segment.unlink_at.is_none_or(|due| now < due) || result.is_err() {
                return true;
            }
            result = unlink_files(place, segment.base);
            result.is_err()
        });
        self.retention.doomed = doomed;
        result.map_err(LogError::Io)
    }

    /// What the last `expire` would have had to wait for: have it loaded and call it again.
    pub fn take_cold(&mut self) -> Option<(D::File, u64, u64)> {
        self.cold.take().map(|cold| *cold)
    }

    /// Whether dropped segments wait for something to be durable.
    pub fn is_holding_back(&self) -> bool {
        self.retention.doomed_end().is_some()
    }

    /// Segments whose files are still to be removed.
    pub fn doomed_count(&self) -> usize {
        self.retention.doomed.len()
    }
}

fn rename_files<D: Disk>(place: Place<'_, D>, base: Offset) -> io::Result<()> {
    for suffix in SUFFIXES {
        let to = place.path(base, &format!("{suffix}.deleted"));
        match place.disk.rename(&place.path(base, suffix), &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn unlink_files<D: Disk>(place: Place<'_, D>, base: Offset) -> io::Result<()> {
    for suffix in SUFFIXES {
        let path = place.path(base, &format!("{suffix}.deleted"));
        super::recovery::remove_if_there(place.disk, &path)?;
    }
    Ok(())
}
