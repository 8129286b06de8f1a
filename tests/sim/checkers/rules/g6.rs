//! G6: what a group has committed survives its coordinator, and whoever asks is told no less.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A member is told what is committed; when it asked, `least` was.
pub fn not_behind(verdict: &mut Verdict, lane: Lane, least: i64, offset: i64) {
    verdict.hold(least <= offset, "G6", || {
        format!("{offset} of {lane:?} is what the group committed, it was {least}")
    });
}
