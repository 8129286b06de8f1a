//! The scrub: sealed segments are read again, slowly, to find what rotted.
//!
//! A [`Scrub`] owns a handle and nothing else, so that it runs on any thread, a few bytes at a
//! time. What it finds goes to [`Log::note_suspect`]; the next start then scans that segment and
//! keeps what is good (reliability.md S4).

use std::io;

use super::walk::{Walk, WalkError, crc_is_valid};
use super::{Disk, Log};
use crate::ids::Offset;
use crate::journal::disk::DiskFile;

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

impl<D: Disk> Log<D> {
    /// A scrub of the first sealed segment behind `after`, if there is one.
    pub fn scrub(&self, after: Option<Offset>) -> io::Result<Option<Scrub<D::File>>> {
        let sealed = &self.segments[..self.segments.len() - 1];
        let Some(segment) = sealed.iter().find(|segment| after < Some(segment.base)) else {
            return Ok(None);
        };
        Ok(Some(Scrub {
            file: segment.file(self.place())?,
            segment: segment.base,
            position: 0,
            end: segment.bytes,
            next: segment.base,
            end_offset: segment.end,
        }))
    }

    /// Writes down that a segment is doubtful: the next start scans it from end to end.
    pub fn note_suspect(&mut self, segment: Offset) -> io::Result<()> {
        if self.damage.suspects.insert(segment) {
            self.damage.save(&self.disk, &self.dir)?;
        }
        Ok(())
    }
}
