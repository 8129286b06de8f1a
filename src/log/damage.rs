//! What is known to be lost or doubtful in a partition: a small file `damage` in its directory.
//!
//! ```text
//! hole <first lost offset> <first offset after it>
//! suspect <base offset of a segment that is scanned at the next start>
//! ```
//!
//! A hole is found by recovery and stays until the log's start has passed it. A suspect is found
//! by a read or by the scrub; the next start scans that segment from end to end and turns what is
//! bad into a hole.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::Path;

use super::small_file::{self, SmallFile};
use super::types::Hole;
use crate::ids::Offset;
use crate::journal::disk::Disk;

const NAME: &str = "damage";

/// Holes and suspects of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// In ascending order, apart from each other.
    pub holes: Vec<Hole>,
    /// Base offsets of segments.
    pub suspects: BTreeSet<Offset>,
}

impl Damage {
    /// Reads the file. One that is damaged itself counts as none: its holes are gaps between
    /// segments, which recovery finds again, or have no consequence.
    pub fn load(disk: &impl Disk, dir: &Path) -> io::Result<Damage> {
        let mut damage = Damage::default();
        let SmallFile::Text(text) = small_file::read(disk, dir, NAME)? else {
            return Ok(damage);
        };
        for line in text.lines() {
            let mut words = line.split(' ');
            let kind = words.next();
            let mut offset = || words.next().and_then(|word| word.parse().ok()).map(Offset);
            match (kind, offset(), offset()) {
                (Some("hole"), Some(from), Some(to)) => damage.add_hole(Hole { from, to }),
                (Some("suspect"), Some(base), None) => {
                    damage.suspects.insert(base);
                }
                _ => {}
            }
        }
        Ok(damage)
    }

    /// Makes the file say this.
    pub fn save(&self, disk: &impl Disk, dir: &Path) -> io::Result<()> {
        let mut text = String::new();
        for hole in &self.holes {
            let _ = writeln!(text, "hole {} {}", hole.from, hole.to);
        }
        for base in &self.suspects {
            let _ = writeln!(text, "suspect {base}");
        }
        small_file::write(disk, dir, NAME, &text)
    }

    /// Adds a hole, merged with those it touches.
    pub fn add_hole(&mut self, mut hole: Hole) {
        if hole.to <= hole.from {
            return;
        }
        self.holes.retain(|known| {
            let is_apart = known.to < hole.from || hole.to < known.from;
            if !is_apart {
                hole.from = hole.from.min(known.from);
                hole.to = hole.to.max(known.to);
            }
            is_apart
        });
        let place = self.holes.partition_point(|known| known.from < hole.from);
        self.holes.insert(place, hole);
    }

    /// Whether all of `[from, to)` is known to be lost.
    pub fn covers(&self, from: Offset, to: Offset) -> bool {
        self.holes.iter().any(|hole| hole.from <= from && to <= hole.to)
    }

    /// Forgets what lies before the log's start.
    pub fn truncate_start(&mut self, start: Offset) {
        self.holes.retain(|hole| start < hole.to);
    }

    /// Forgets what lies at or behind the log's end, which was cut.
    pub fn truncate_end(&mut self, end: Offset) {
        self.holes.retain(|hole| hole.from < end);
        if let Some(last) = self.holes.last_mut() {
            last.to = last.to.min(end);
        }
        self.suspects.retain(|base| *base < end);
    }

    /// Forgets segments before the first one left.
    pub fn drop_suspects(&mut self, first: Offset) {
        self.suspects = self.suspects.split_off(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_merge_and_stay_sorted() {
        let mut damage = Damage::default();
        for (from, to) in [(50, 60), (10, 20), (30, 30), (20, 25), (55, 70)] {
            damage.add_hole(Hole { from: Offset(from), to: Offset(to) });
        }
        let holes: Vec<_> = damage.holes.iter().map(|hole| (hole.from.0, hole.to.0)).collect();
        assert_eq!(holes, [(10, 25), (50, 70)]);
        assert!(damage.covers(Offset(12), Offset(25)));
        assert!(!damage.covers(Offset(12), Offset(26)));
        damage.truncate_start(Offset(25));
        assert_eq!(damage.holes.len(), 1);
        damage.suspects.extend([Offset(40), Offset(60)]);
        damage.truncate_end(Offset(60));
        assert_eq!(damage.holes, [Hole { from: Offset(50), to: Offset(60) }]);
        assert_eq!(damage.suspects.len(), 1);
    }
}
