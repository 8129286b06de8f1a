//! R9: without a command nobody leads who was not in sync, or among the last that were.

use odradek::ids::{NodeId, TopicPartition};

use crate::sim::checkers::Verdict;
use crate::sim::checkers::decisions::Decided;

/// A leader is chosen, by the version right behind `before`.
pub fn elected(
    verdict: &mut Verdict,
    topic_partition: TopicPartition,
    leader: NodeId,
    before: &Decided,
) {
    verdict.hold(before.isr.contains(&leader) || before.elr.contains(&leader), "R9", || {
        format!("{leader} leads {topic_partition}, in sync were {before:?}")
    });
}
