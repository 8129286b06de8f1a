//! R9: without a command nobody leads who was not in sync, or among the last that were.

use odradek::ids::{NodeId, TopicPartition};

use crate::sim::checkers::Verdict;
use crate::sim::checkers::decisions::Decided;

/// A leader is chosen, by the version right behind `before`; or the leader before has said that it is
/// in sync by now, and by that a move is over which it is the first of.
pub fn elected(
    verdict: &mut Verdict,
    topic_partition: TopicPartition,
    (leader, ends_a_move): (NodeId, bool),
    before: &Decided,
) {
    let is_whole = before.isr.contains(&leader) || before.elr.contains(&leader);
    verdict.hold(is_whole || ends_a_move, "R9", || {
        format!("{leader} leads {topic_partition}, in sync were {before:?}")
    });
}
