//! R7: a copy is made of the same batches, byte for byte, in their order.

use odradek::ids::TopicPartition;

use crate::sim::checkers::Verdict;

/// A node appends a batch to a copy of this end.
pub fn at_the_end(
    verdict: &mut Verdict,
    (node, topic_partition): (i32, TopicPartition),
    base: i64,
    end: i64,
) {
    verdict.hold(end <= base, "R7", || {
        format!("node {node} appends {base} to {topic_partition} of {end}")
    });
}

/// What it has at an offset, of an epoch in which others have something there.
pub fn same_bytes(
    verdict: &mut Verdict,
    (node, topic_partition): (i32, TopicPartition),
    (base, epoch): (i64, i32),
    (hash, known): (u32, u32),
) {
    verdict.hold(known == hash, "R7", || {
        format!("node {node} has other bytes at {base} of {topic_partition}, {epoch}")
    });
}

#[test]
fn a_copy_out_of_order_or_of_other_bytes_is_noticed() {
    use super::breaks;
    use odradek::broker::control::METADATA;
    let copy = (2, METADATA);
    assert!(!breaks(|verdict| at_the_end(verdict, copy, 5, 5)));
    assert!(!breaks(|verdict| at_the_end(verdict, copy, 9, 5)), "a hole is not against this");
    assert!(breaks(|verdict| at_the_end(verdict, copy, 4, 5)), "something is there");
    assert!(!breaks(|verdict| same_bytes(verdict, copy, (5, 1), (11, 11))));
    assert!(breaks(|verdict| same_bytes(verdict, copy, (5, 1), (11, 12))));
}
