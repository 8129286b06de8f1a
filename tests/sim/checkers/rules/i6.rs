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

#[test]
fn a_producer_out_of_order_is_noticed() {
    use super::breaks;
    let value = Value { producer: 1, number: 7 };
    let behind = |number| breaks(|verdict| in_order(verdict, ((0, 1), 3), value, (2, number)));
    assert!(!behind(6));
    assert!(!behind(4), "what it sent between them may be elsewhere");
    assert!(behind(7), "it is there twice");
    assert!(behind(8), "what it sent later stands before it");
}
