//! Cutting a log at its end, or beginning it anew: what a follower does where its leader's log says
//! otherwise (semantics.md 2.8), and where its own is damaged and a peer has what is lost.
//!
//! Four steps, and nothing is appended before the last:
//! 1. [`Log::truncation`] finds the batch to cut at. Its [`SmallState::Truncated`] goes to the
//!    journal; the log is still whole.
//! 2. When that is durable, [`Log::begin_truncation`] forgets what lies behind the cut and answers
//!    a [`Cut`]: work for a thread that may wait for the disk.
//! 3. [`Cut::run`] removes it from disk, makes that durable, and [`Log::finish_truncation`] takes
//!    what it learnt.
//! 4. What is left is synced and the journal told ([`Log::flush_targets`], or else
//!    [`Log::last_flush_target`]); when it has that, the log may be appended to.
//!
//! # Why a power cut cannot bring the records back
//!
//! The same offsets get other records afterwards, perhaps at the same bytes of the same file, so
//! nothing old may return *once something new was appended*. Before that the old log is as good as
//! ever: nobody was told of the cut, and the leader is asked again.
//!
//! - *A stop before the journal has the state*: the files were not touched. Cutting them first
//!   would be damage: the journal's mark says that those records are durable.
//! - *Between the state and the end of step 3*: replay meets the state last of this partition's
//!   entries, and recovery cuts the files as told. Should a checkpoint have taken the state out of
//!   the ring meanwhile, recovery may find the old records behind the recovery point, whole; it
//!   keeps them, and the log is the one from before. (Of one that was to begin anew below its start
//!   the gap counts as damage then, and is healed as such.)
//! - *After step 3*: the cut is durable before the first new batch is written. What can still bring
//!   old bytes back is the journal's redo alone, which writes batches where they once lay. So
//!   replay voids every entry before a truncation that reaches beyond its end: it does not write it
//!   and cut again, because new batches may have bypassed the ring to the very same place.
//! - *After step 4*: the state is not the last of this partition's entries any more, and recovery cuts
//!   nothing. Before that it would, once more, and what was appended since and is in no journal
//!   (`acks.durable=false`) would go with it.
//! - *A checkpoint under way when the log is cut*: it may write down a recovery point behind the
//!   cut, but the ring still has the state, and replay lowers it. The journal's own notes of
//!   segments to sync are dropped with the segments, or a new segment of an old name would never be
//!   synced.
//!
//! **Invariant:** what is cut off was never promised: it lies where the leader of the newest epoch
//! has something else, or it is damaged here and this replica has left the ISR (design.md §4).

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cleaned::Cleaned;
use super::damage::Damage;
use super::identity;
use super::producer_snapshot::{self, Rebuilt};
use super::recovery::{remove_caches, remove_files};
use super::repair;
use super::segment::{Place, Segment};
use super::types::{LogError, ReadError};
use super::{Disk, Log, disk_error};
use crate::ids::{Offset, TopicId};
use crate::journal::SmallState;
use crate::journal::disk::{DiskFile, Open};
use crate::time::{Boot, Now};

/// Where a log is to be cut: between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    start: Offset,
    end: Offset,
    segment: Offset,
    position: u64,
    is_set_aside: bool,
}

impl Truncation {
    /// The log's end afterwards.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Whether what is cut off is kept in `.torn` files.
    pub fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }

    /// What the journal must have before anything is cut.
    pub fn state(&self) -> SmallState {
        let Truncation { start, end, segment, position, is_set_aside } = *self;
        SmallState::Truncated { start, end, segment, position, is_set_aside }
    }

    /// To an empty log that goes on at `offset`.
    pub fn restart(offset: Offset) -> Truncation {
        Truncation { start: offset, end: offset, segment: offset, position: 0, is_set_aside: false }
    }

    /// The same, but what is cut off is kept in `.torn` files.
    #[must_use]
    pub fn set_aside(self) -> Truncation {
        Truncation { is_set_aside: true, ..self }
    }
}

/// A cut under way: what to do on disk. It may be done again where it was not done.
#[derive(Clone, Debug)]
pub struct Cut<D> {
    disk: D,
    dir: Arc<Path>,
    topic_id: TopicId,
    truncation: Truncation,
    /// Segments that stay: base, end and bytes.
    kept: Vec<(Offset, Offset, u64)>,
    /// Base offsets of those that go, the last one first.
    dropped: Vec<Offset>,
    /// What is known of damage afterwards, if that is news.
    damage: Option<Damage>,
    /// Where the log ended.
    end_before: Offset,
    now: Boot,
}

impl<D> Cut<D> {
    /// The offsets that go.
    pub fn range(&self) -> Range<Offset> {
        self.truncation.end..self.end_before
    }

    /// Whether what goes is damaged, and moved to where it can be looked at.
    pub fn is_set_aside(&self) -> bool {
        self.truncation.is_set_aside
    }
}

/// A cut that is durable.
pub struct CutDone {
    rebuilt: Rebuilt,
}

impl<D: Disk> Log<D> {
    /// Where to cut so that the log ends at `to`, or before it where `to` lies within a batch. The
    /// end itself may be named: then only epochs that begin there go.
    pub fn truncation(&self, to: Offset) -> Result<Truncation, ReadError<D::File>> {
        if to < self.start {
            return Ok(Truncation::restart(to));
        }
        let number = self.segments.partition_point(|segment| segment.base <= to).checked_sub(1);
        let Some(segment) = number.map(|number| &self.segments[number]) else {
            return Ok(Truncation { start: self.start, ..Truncation::restart(to) });
        };
        let (mut end, mut position) = (segment.end, segment.bytes);
        if to == segment.base {
            // Whatever its batches are like.
            (end, position) = (to, 0);
        } else if to < segment.end {
            let file = segment.file(self.place())?;
            let met = segment.locate(self.place(), &file, to, &self.config)?.met;
            (end, position) = (met.header.base_offset, met.position);
        }
        // The first batch may begin before the start.
        let start = self.start.min(end);
        Ok(Truncation { start, end, segment: segment.base, position, is_set_aside: false })
    }

    /// Forgets what lies behind the cut, whose state is in the journal by now. Retention and
    /// compaction wait until it is over, and so must whoever closes the log.
    pub fn begin_truncation(
        &mut self,
        now: Now,
        truncation: Truncation,
    ) -> Result<Cut<D>, LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        assert!(!self.is_truncating, "one truncation at a time");
        // What is held below the cut is in no file yet, and the cut goes by the file's length.
        self.settle()?;
        let end_before = self.end_offset();
        let Truncation { start, end, segment: base, position, .. } = truncation;
        let known = self.segments.binary_search_by_key(&base, |segment| segment.base);
        // Made first: where there is no room for it the log is as it was.
        let anew = match known {
            Ok(_) => None,
            Err(_) => Some(Segment::create(self.place(), base, now.boot).map_err(disk_error)?),
        };
        let first_gone = known.map_or(0, |number| number + 1);
        let gone = self.segments.drain(first_gone..).rev();
        let dropped: Vec<Offset> = gone.map(|segment| segment.base).collect();
        match anew {
            None => self.active_mut().cut(position, end),
            Some(segment) => self.segments.push(segment),
        }
        self.start = start;
        self.durable = self.durable.min(end).max(start);
        self.noted_high_watermark = self.noted_high_watermark.min(end);
        self.epochs.truncate_from(end);
        let damage = self.damage.clone();
        self.damage.truncate_end(end);
        self.is_truncating = true;
        self.cold = None;
        self.invariants();
        Ok(Cut {
            disk: self.disk.clone(),
            dir: Arc::clone(&self.dir),
            topic_id: self.topic_partition.topic_id,
            truncation,
            kept: self.segments.iter().map(|kept| (kept.base, kept.end, kept.bytes)).collect(),
            dropped,
            damage: (damage != self.damage).then(|| self.damage.clone()),
            end_before,
            now: now.boot,
        })
    }

    /// The cut is durable: the journal is to be told, then the log may be appended to.
    pub fn finish_truncation(&mut self, done: CutDone) {
        assert!(self.is_truncating, "it was begun");
        self.is_truncating = false;
        self.producers = done.rebuilt.producers;
        self.snapshots = done.rebuilt.snapshots;
        self.cleaning.truncate(self.end_offset());
    }
}

impl<D: Disk> Cut<D> {
    /// Removes what lies behind the cut and makes that durable. It waits for the disk.
    pub fn run(&self) -> io::Result<CutDone> {
        let place = Place { disk: &self.disk, dir: &self.dir };
        // The topic may be gone by now, and another may have its name.
        let is_there = self.disk.exists(&self.dir)?
            && identity::topic_id(&self.disk, &self.dir)? == Some(self.topic_id);
        if !is_there {
            return Err(io::ErrorKind::NotFound.into());
        }
        let Truncation { end, segment, position, is_set_aside, .. } = self.truncation;
        // From the end on, so that what a stop leaves is a log without gaps.
        for base in &self.dropped {
            drop_segment(place, *base, is_set_aside)?;
        }
        shorten(place, segment, position, is_set_aside)?;
        let kept: Vec<Segment<D>> = self.kept.iter().map(|kept| self.segment_of(*kept)).collect();
        let rebuilt = producer_snapshot::rebuild(place, &[], &kept, self.now)?;
        if let Some(damage) = &self.damage {
            damage.save(&self.disk, &self.dir)?;
        }
        let cleaned = Cleaned::load(&self.disk, &self.dir, self.topic_id)?;
        let cut = cleaned.truncated(end);
        if cut != cleaned {
            cut.save(&self.disk, &self.dir)?;
        }
        self.disk.sync_dir(&self.dir)?;
        Ok(CutDone { rebuilt })
    }

    fn segment_of(&self, (base, end, bytes): (Offset, Offset, u64)) -> Segment<D> {
        let mut segment = Segment::new(base, None, bytes, self.now);
        segment.end = end;
        segment
    }
}

/// Takes a segment behind the cut away.
pub(super) fn drop_segment<D: Disk>(
    place: Place<'_, D>,
    base: Offset,
    is_set_aside: bool,
) -> io::Result<()> {
    if is_set_aside {
        let moved = place.disk.rename(&place.path(base, "log"), &place.path(base, "log.torn"));
        // A stop may have come behind it.
        moved.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        return remove_caches(place, base);
    }
    remove_files(place, base)
}

/// Cuts a segment at `position` and makes that durable. Its indexes are learnt again.
pub(super) fn shorten<D: Disk>(
    place: Place<'_, D>,
    base: Offset,
    position: u64,
    is_set_aside: bool,
) -> io::Result<()> {
    let file = place.disk.open(&place.path(base, "log"), Open::CreateOrWrite)?;
    let bytes = file.len()?;
    if position < bytes {
        if is_set_aside {
            repair::copy_torn(place, base, &file, position, bytes)?;
        }
        remove_caches(place, base)?;
        file.set_len(position)?;
    }
    file.sync_data()
}
