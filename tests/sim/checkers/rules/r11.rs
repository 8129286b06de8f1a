//! R11: who knows of an older epoch than the leader is told so, and not answered with other data.

use odradek::ids::{LeaderEpoch, TopicPartition};
use odradek::wire::ErrorCode;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A reader is answered; `stale` is the epoch it asked with, if its leader knew of a later one when it
/// asked.
pub fn answered(verdict: &mut Verdict, lane: Lane, stale: Option<LeaderEpoch>) {
    verdict.hold(stale.is_none(), "R11", || {
        format!("a reader of {lane:?} knows of epoch {stale:?} and is answered")
    });
}

/// A follower's fetch is answered that is of an earlier epoch than its leader knew when it came.
pub fn is_refused(verdict: &mut Verdict, topic_partition: TopicPartition, error: ErrorCode) {
    verdict.hold(!error.is_ok(), "R11", || {
        format!("a fetch of an earlier epoch of {topic_partition} is answered")
    });
}
