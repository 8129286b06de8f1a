//! R8: a replica that is not what it was says so and leaves the ISR, unless it is the last; somebody is
//! always left; and a process that starts does not lead on. (That a sound one stays is liveness: a
//! site that lost its power heals by itself.) The last one leaves, too, where another was put out
//! without its hearing of it, which therefore has all that it acknowledged (R1;
//! `controller/last_copy.rs`).

use odradek::ids::{NodeId, TopicPartition};

use crate::sim::checkers::decisions::Decided;
use crate::sim::checkers::{Batch, Place, Verdict};

/// A node starts on a card that has lost something, and is told so or not. `lacks` is the first batch
/// it lacks: its offset, and what is there.
pub fn notices(
    verdict: &mut Verdict,
    place: Place,
    lacks: Option<&(i64, Option<Batch>)>,
    is_told: bool,
) {
    verdict.hold(lacks.is_none() || is_told, "R8", || {
        format!("{place:?} does not notice that it lacks {lacks:?}")
    });
}

/// The process of a node belongs to the site, and has a copy that is not what it was.
pub fn leaves(verdict: &mut Verdict, place: Place, isr: &[NodeId]) {
    let is_out = !isr.contains(&NodeId(place.node)) || isr.len() == 1;
    verdict.hold(is_out, "R8", || format!("{place:?} is damaged, and in sync"));
}

/// A process is registered whose node led a partition in this epoch: what it had promised before, it may
/// have lost.
pub fn steps_down(verdict: &mut Verdict, place: Place, epoch: i32, decided: &Decided) {
    let leads_on = decided.leader == Some(NodeId(place.node)) && decided.leader_epoch == epoch;
    verdict.hold(!leads_on, "R8", || format!("{place:?} starts anew, and leads on in {epoch}"));
}

/// Who is left, where somebody was.
pub fn somebody_is_left(
    verdict: &mut Verdict,
    topic_partition: TopicPartition,
    before: &[NodeId],
    left: usize,
) {
    verdict.hold(0 < left || before.is_empty(), "R8", || {
        format!("nobody is left of {topic_partition}: {before:?} were in sync")
    });
}
