//! R10: a follower shows only what is committed, and what it has on stable storage.

use crate::sim::checkers::{Place, Verdict};

/// A follower's high watermark moves.
pub fn shows(verdict: &mut Verdict, place: Place, mark: i64, (durable, committed): (i64, i64)) {
    verdict.hold(mark <= durable, "R10", || {
        format!("{place:?} shows {mark}, only {durable} is durable")
    });
    verdict.hold(mark <= committed, "R10", || {
        format!("{place:?} shows {mark}, only {committed} is committed")
    });
}
