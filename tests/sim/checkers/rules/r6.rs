//! R6 (for whose sake there are R2 and R3): the high watermark of a leader never falls, and nothing
//! that is committed is cut off, but where it was damaged.

use odradek::ids::TopicPartition;

use crate::sim::checkers::{Place, Verdict};

/// A leader's high watermark moves.
pub fn mark_rises(verdict: &mut Verdict, place: Place, from: i64, to: i64) {
    verdict.hold(from <= to, "R6", || {
        format!("the high watermark of {place:?} falls from {from} to {to}")
    });
}

/// A node cuts a batch off.
pub fn cuts(
    verdict: &mut Verdict,
    (node, topic_partition): (i32, TopicPartition),
    base: i64,
    (is_committed, is_damaged): (bool, bool),
) {
    verdict.hold(!is_committed || is_damaged, "R6", || {
        format!("node {node} cuts {base} of {topic_partition}, it is committed")
    });
}
