//! I7: nobody reads what is written only afterwards.
//!
//! Without transactions each batch is one of its own, so a cycle of reads and writes (G1c) can only be
//! that a record is read before it was sent, by somebody on whose word its sender might go.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A record is read; its producer has sent so many so far.
pub fn was_sent(verdict: &mut Verdict, (lane, offset): (Lane, i64), value: Value, sent: u32) {
    verdict.hold(value.number < sent, "I7", || {
        format!("{value:?} is read at {offset} of {lane:?}, and only {sent} were sent")
    });
}

#[test]
fn a_record_of_the_future_is_noticed() {
    let value = Value { producer: 1, number: 7 };
    let mut verdict = Verdict::default();
    was_sent(&mut verdict, ((0, 0), 3), value, 8);
    assert!(verdict.broken.is_none(), "the eighth is sent");
    was_sent(&mut verdict, ((0, 0), 3), value, 7);
    assert!(verdict.broken.is_some(), "nobody has sent it");
}
