//! The scrub: sealed segments are read again, slowly, to find what rotted.
//!
//! A [`Scrub`] owns a handle and nothing else, so that it runs on any thread, a few bytes at a
//! time. What it finds goes to [`Log::note_suspect`], and the [`DamageNote`] that answers to disk,
//! again on any thread; the next start then scans that segment and keeps what is good
//! (reliability.md S4).

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::damage::Damage;
use super::identity;
use super::segment::Segment;
use super::walk::{Walk, WalkError, crc_is_valid};
use super::{Disk, Log};
use crate::ids::{Offset, TopicId};
use crate::journal::disk::DiskFile;
use crate::mutant::{self, Mutant};

/// The check of one sealed segment.
#[derive(Clone, Debug)]
pub struct Scrub<F> {
    file: F,
    segment: Offset,
    position: u64,
    end: u64,
    next: Offset,
    end_offset: Offset,
}

/// How far a scrub came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// There is more to read.
    Going,
    /// The segment is what was written.
    Sound,
    /// A batch is not.
    Damaged {
        /// Where it begins.
        position: u64,
        /// The offset that should be there.
        offset: Offset,
    },
}

impl<F: DiskFile> Scrub<F> {
    /// Base offset of the segment.
    pub fn segment(&self) -> Offset {
        self.segment
    }

    /// The file that it reads.
    pub fn file(&self) -> &F {
        &self.file
    }

    /// Where it goes on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Checks batches until `bytes_max` bytes were read, one batch at least. It waits for the disk.
    pub fn step(&mut self, bytes_max: u64) -> io::Result<Scrubbed> {
        let begin = self.position;
        let mut walk = Walk::new(&self.file, self.position, self.end, true);
        let damaged = Scrubbed::Damaged { position: self.position, offset: self.next };
        while self.position - begin < bytes_max {
            let damaged = Scrubbed::Damaged { position: self.position, offset: self.next };
            let met = match walk.next() {
                Ok(Some(met)) => met,
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(error),
                Err(WalkError::Bad(_) | WalkError::Cold(_)) => return Ok(damaged),
            };
            if met.header.base_offset != self.next || !crc_is_valid(&self.file, &met)? {
                return Ok(damaged);
            }
            self.position = met.end_position();
            self.next = met.header.next_offset();
        }
        Ok(match self.position == self.end {
            false => Scrubbed::Going,
            true if self.next == self.end_offset => Scrubbed::Sound,
            true => damaged,
        })
    }
}

/// What is known of a partition's damage, on its way to the file that says so.
#[derive(Debug)]
pub struct DamageNote<D> {
    disk: D,
    dir: Arc<Path>,
    topic_id: TopicId,
    damage: Damage,
}

impl<D: Disk> DamageNote<D> {
    /// Writes it down. It waits for the disk.
    pub fn save(&self) -> io::Result<()> {
        // The topic may be gone by now, and another may have its name.
        let is_there = self.disk.exists(&self.dir)?
            && identity::topic_id(&self.disk, &self.dir)? == Some(self.topic_id);
        if is_there { self.damage.save(&self.disk, &self.dir) } else { Ok(()) }
    }
}

impl<D: Disk> Log<D> {
    /// A scrub of the first sealed segment behind `after`, if there is one. Segments that are
    /// known to be damaged are passed over.
    pub fn scrub(&self, after: Option<Offset>) -> io::Result<Option<Scrub<D::File>>> {
        let sealed = &self.segments[..self.segments.len() - 1];
        let first = after.map_or(0, |after| sealed.partition_point(|s| s.base <= after));
        let is_unsuspected = |segment: &&Segment<D>| !self.damage.suspects.contains(&segment.base);
        let Some(segment) = sealed[first..].iter().find(is_unsuspected) else { return Ok(None) };
        Ok(Some(Scrub {
            file: segment.file(self.place())?,
            segment: segment.base,
            position: 0,
            end: segment.bytes,
            next: segment.base,
            end_offset: segment.end,
        }))
    }

    /// Takes note that a segment is damaged: the next start scans it from end to end, once what is
    /// answered has been written down. `None` when that is known already, or the segment is gone.
    pub fn note_suspect(&mut self, segment: Offset) -> Option<DamageNote<D>> {
        let is_news = self.has_segment(segment) && self.damage.suspects.insert(segment);
        is_news.then(|| self.damage_note())
    }

    /// The first offset that is lost here though it was durable, and that a peer may have.
    pub fn damaged_from(&self) -> Option<Offset> {
        self.damage.first_unshared().filter(|_| !mutant::is_on(Mutant::ServesPastHole))
    }

    /// What is known of damage, to be written down.
    pub(super) fn damage_note(&self) -> DamageNote<D> {
        DamageNote {
            disk: self.disk.clone(),
            dir: Arc::clone(&self.dir),
            topic_id: self.topic_partition.topic_id,
            damage: self.damage.clone(),
        }
    }

    /// Whether a segment of this base offset is still part of the log.
    pub fn has_segment(&self, base: Offset) -> bool {
        self.segments.binary_search_by_key(&base, |segment| segment.base).is_ok()
    }

    /// Whether the segment that a scrub reads is still the log's.
    pub fn has_scrubbed(&self, scrub: &Scrub<D::File>) -> bool {
        let number = self.segments.binary_search_by_key(&scrub.segment, |segment| segment.base);
        let segment = number.ok().map(|number| &self.segments[number]);
        segment.is_some_and(|s| s.bytes == scrub.end && s.end == scrub.end_offset)
    }

    /// Base offsets of the segments that are known to be damaged and not scanned yet.
    pub fn suspects(&self) -> impl ExactSizeIterator<Item = Offset> + '_ {
        self.damage.suspects.iter().copied()
    }
}
