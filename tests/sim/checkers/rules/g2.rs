//! G2: a commit of an earlier generation is refused.

use odradek::wire::ErrorCode;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A commit was granted that was sent when one of the generation `newest` had been.
pub fn is_newest(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    (generation, newest): (i32, i32),
) {
    verdict.hold(newest <= generation, "G2", || {
        format!("{offset} of {lane:?} is taken in generation {generation}, after {newest}")
    });
}

/// A commit was answered that was sent for an earlier generation than the member had been told of.
pub fn is_refused(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    generation: i32,
    error: ErrorCode,
) {
    verdict.hold(!error.is_ok(), "G2", || {
        format!("{offset} of {lane:?} is taken for a generation before {generation}")
    });
}
