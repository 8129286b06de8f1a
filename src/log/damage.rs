//! What is known to be lost or doubtful in a partition: a small file `damage` in its directory.
//!
//! ```text
//! hole <first lost offset> <first offset after it>
//! shared <the same of a hole that the leader's log has as well>
//! suspect <base offset of a segment that is scanned at the next start>
//! ```
//!
//! A hole is found by recovery and stays until the log's start has passed it, or a peer had what is
//! lost. One that was copied from a leader is shared: there is nobody to heal it from. A suspect is found
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
    /// Those of them, or parts of them, that the leader's log has as well.
    pub shared: Box<[Hole]>,
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
                (Some("shared"), Some(from), Some(to)) => damage.add_shared(Hole { from, to }),
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
        for hole in &self.shared {
            let _ = writeln!(text, "shared {} {}", hole.from, hole.to);
        }
        for base in &self.suspects {
            let _ = writeln!(text, "suspect {base}");
        }
        small_file::write(disk, dir, NAME, &text)
    }

    /// Adds a hole, merged with those it touches.
    pub fn add_hole(&mut self, hole: Hole) {
        merge(&mut self.holes, hole);
    }

    /// Adds a hole that the leader's log has as well.
    pub fn add_shared(&mut self, hole: Hole) {
        merge(&mut self.holes, hole);
        let mut shared = std::mem::take(&mut self.shared).into_vec();
        merge(&mut shared, hole);
        self.shared = shared.into();
    }

    /// The first offset that is lost here, and not known to be lost elsewhere too.
    pub fn first_unshared(&self) -> Option<Offset> {
        self.holes.iter().find_map(|hole| {
            let around = self.shared.iter().find(|s| s.from <= hole.from && hole.from < s.to);
            match around {
                Some(shared) if hole.to <= shared.to => None,
                Some(shared) => Some(shared.to),
                None => Some(hole.from),
            }
        })
    }

    /// Whether all of `[from, to)` is known to be lost.
    pub fn covers(&self, from: Offset, to: Offset) -> bool {
        self.holes.iter().any(|hole| hole.from <= from && to <= hole.to)
    }

    /// Forgets what lies before the log's start.
    pub fn truncate_start(&mut self, start: Offset) {
        self.holes.retain(|hole| start < hole.to);
        let shared = std::mem::take(&mut self.shared).into_vec();
        self.shared = shared.into_iter().filter(|hole| start < hole.to).collect();
    }

    /// Forgets what lies at or behind the log's end, which was cut.
    pub fn truncate_end(&mut self, end: Offset) {
        let mut shared = std::mem::take(&mut self.shared).into_vec();
        for holes in [&mut self.holes, &mut shared] {
            holes.retain(|hole| hole.from < end);
            if let Some(last) = holes.last_mut() {
                last.to = last.to.min(end);
            }
        }
        self.shared = shared.into();
        self.suspects.retain(|base| *base < end);
    }

    /// Forgets segments before the first one left.
    pub fn drop_suspects(&mut self, first: Offset) {
        self.suspects = self.suspects.split_off(&first);
    }
}

/// Adds a hole to a sorted list, merged with those it touches.
fn merge(holes: &mut Vec<Hole>, mut hole: Hole) {
    if hole.to <= hole.from {
        return;
    }
    holes.retain(|known| {
        let is_apart = known.to < hole.from || hole.to < known.from;
        if !is_apart {
            hole.from = hole.from.min(known.from);
            hole.to = hole.to.max(known.to);
        }
        is_apart
    });
    let place = holes.partition_point(|known| known.from < hole.from);
    holes.insert(place, hole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_that_the_leader_has_too_is_not_to_be_healed() {
        let hole = |from, to| Hole { from: Offset(from), to: Offset(to) };
        let mut damage = Damage::default();
        damage.add_shared(hole(10, 20));
        assert_eq!(damage.first_unshared(), None);
        damage.add_hole(hole(15, 30));
        assert_eq!(damage.first_unshared(), Some(Offset(20)));
        damage.add_hole(hole(5, 8));
        assert_eq!(damage.first_unshared(), Some(Offset(5)));
        damage.truncate_end(Offset(18));
        damage.truncate_start(Offset(8));
        assert_eq!((damage.first_unshared(), damage.holes.len()), (None, 1));
    }

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
