//! I4, no aborted read: what was refused each time it was sent is never read.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A record is read.
pub fn not_refused(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    value: Value,
    is_refused: bool,
) {
    verdict.hold(!is_refused, "I4", || {
        format!("{value:?} is read at {offset} of {lane:?}, and was refused")
    });
}

#[test]
fn a_record_that_was_refused_and_is_read_is_noticed() {
    use super::breaks;
    let value = Value { producer: 1, number: 7 };
    assert!(!breaks(|verdict| not_refused(verdict, ((0, 1), 3), value, false)));
    assert!(breaks(|verdict| not_refused(verdict, ((0, 1), 3), value, true)));
}
