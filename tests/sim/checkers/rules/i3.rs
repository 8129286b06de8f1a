//! I3: what an idempotent producer sent is nowhere twice.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A value is read that was first read at `first`.
pub fn nowhere_twice(verdict: &mut Verdict, lane: Lane, value: Value, first: i64, offset: i64) {
    verdict.hold(first == offset, "I3", || {
        format!("{value:?} is read at {first} and {offset} of {lane:?}")
    });
}
