//! Q6: members of the quorum change one at a time, and no damage removes a topic.

use odradek::ids::TopicId;

use crate::sim::checkers::Verdict;

/// A node has a change of members in its log behind another one, up to which it has this committed.
pub fn one_at_a_time(verdict: &mut Verdict, node: i32, (before, next): (i64, i64), committed: i64) {
    verdict.hold(before < committed, "Q6", || {
        format!("node {node} changes members at {next}, and {before} is not committed")
    });
}

/// A topic is removed, which nobody asks for here.
pub fn removed(verdict: &mut Verdict, topic_id: TopicId) {
    verdict.hold(false, "Q6", || format!("{topic_id} is removed, and nobody asked for that"));
}

#[test]
fn a_second_change_before_the_first_is_noticed() {
    let mut verdict = Verdict::default();
    one_at_a_time(&mut verdict, 1, (7, 9), 8);
    assert!(verdict.broken.is_none(), "the first is committed");
    one_at_a_time(&mut verdict, 1, (7, 9), 7);
    assert!(verdict.broken.is_some(), "it is not");
}

#[test]
fn a_topic_that_is_removed_is_noticed() {
    assert!(super::breaks(|verdict| removed(verdict, TopicId::METADATA)));
}
