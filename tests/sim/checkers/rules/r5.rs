//! R5: changes of a partition's state are versioned. A version says the same to everybody, epochs never
//! fall, and a leadership is one node's. What an earlier incarnation of a broker asks changes nothing.

use odradek::controller::change::Change;
use odradek::ids::{NodeId, TopicPartition};
use odradek::wire::ErrorCode;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::decisions::Decided;

/// A node is told of a version of which others were told before.
pub fn same_version(verdict: &mut Verdict, node: i32, change: &Change, known: &Change) {
    verdict.hold(known == change, "R5", || {
        format!("node {node} is told {change:?}, others were told {known:?}")
    });
}

/// A newer version comes with this leader and epoch.
pub fn epoch_rises(
    verdict: &mut Verdict,
    topic_partition: TopicPartition,
    before: &Decided,
    (leader, leader_epoch): (Option<NodeId>, i32),
) {
    verdict.hold(before.leader_epoch <= leader_epoch, "R5", || {
        format!("the epoch of {topic_partition} falls to {leader_epoch}")
    });
    verdict.hold(before.leader == leader || before.leader_epoch < leader_epoch, "R5", || {
        format!("{topic_partition} is led by {leader:?} in the epoch of {before:?}")
    });
}

/// A fetch is answered whose follower was registered anew, which its leader knew when it came.
pub fn is_refused(verdict: &mut Verdict, topic_partition: TopicPartition, error: ErrorCode) {
    verdict.hold(!error.is_ok(), "R5", || {
        format!("an earlier incarnation's fetch of {topic_partition} is answered")
    });
}
