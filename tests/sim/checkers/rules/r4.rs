//! R4: the high watermark rises only while as many are in sync as must be, and have it.
//!
//! Who has it is counted among all replicas: the leader may not have heard yet that somebody has left
//! the ISR, and that one has it too.

use crate::sim::checkers::{Place, Verdict};

/// A leader commits so far.
pub fn enough(
    verdict: &mut Verdict,
    place: Place,
    to: i64,
    (in_sync, holders, min): (usize, usize, usize),
) {
    verdict.hold(min <= in_sync && min <= holders, "R4", || {
        format!("{place:?} commits {to}: {in_sync} in sync, {holders} have it safe, of {min}")
    });
}
