//! I6: what one idempotent producer sent is in its order.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A record is read behind another of the same producer.
pub fn in_order(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    value: Value,
    before: (i64, u32),
) {
    verdict.hold(before.1 < value.number, "I6", || {
        format!("{value:?} is read at {offset} of {lane:?}, behind {before:?}")
    });
}
