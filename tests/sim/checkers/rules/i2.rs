//! I2, one offset, one value, for ever, whoever serves it.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A value is told of an offset of which another was told before, by an answer or a read.
pub fn one_value(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    value: Value,
    before: Option<Value>,
) {
    verdict.hold(before.is_none_or(|before| before == value), "I2", || {
        format!("{value:?} is at {offset} of {lane:?}, where {before:?} was")
    });
}

#[test]
fn a_second_value_of_an_offset_is_noticed() {
    use super::breaks;
    let place = ((0, 1), 3);
    let value = Value { producer: 1, number: 7 };
    assert!(!breaks(|verdict| one_value(verdict, place, value, None)), "it is the first");
    assert!(!breaks(|verdict| one_value(verdict, place, value, Some(value))));
    let number = Value { number: 8, ..value };
    assert!(breaks(|verdict| one_value(verdict, place, value, Some(number))));
    let producer = Value { producer: 2, ..value };
    assert!(breaks(|verdict| one_value(verdict, place, value, Some(producer))));
}
