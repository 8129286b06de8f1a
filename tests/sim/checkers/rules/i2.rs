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
