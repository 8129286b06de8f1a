//! Q6: no damage removes a topic. (That members change one at a time `tests/quorum` asks.)

use odradek::ids::TopicId;

use crate::sim::checkers::Verdict;

/// A topic is removed, which nobody asks for here.
pub fn removed(verdict: &mut Verdict, topic_id: TopicId) {
    verdict.hold(false, "Q6", || format!("{topic_id} is removed, and nobody asked for that"));
}
