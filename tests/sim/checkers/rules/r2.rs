//! R2: a log is cut where it parts from its leader's, by leader epoch, and no earlier: nothing goes that
//! the leader has, wherever any high watermark stands.
//!
//! The leader's copy is what it handed to its own flusher. It is looked at while it leads in the epoch
//! in which the follower was answered: in that time it only grows.

use crate::sim::checkers::{Batch, Place, Verdict};

/// A follower cuts a batch off; its leader has this there.
pub fn leader_lacks(
    verdict: &mut Verdict,
    place: Place,
    base: i64,
    (batch, leaders): (&Batch, Option<&Batch>),
) {
    verdict.hold(leaders != Some(batch), "R2", || {
        format!("{place:?} cuts off {batch:?} at {base}, which its leader has, too")
    });
}

#[test]
fn a_cut_that_is_too_long_is_noticed() {
    use odradek::broker::control::METADATA;
    let place = Place { node: 2, topic_partition: METADATA };
    let batch = Batch { end: 5, epoch: 1, hash: 11 };
    let other = Batch { epoch: 2, ..batch };
    let mut verdict = Verdict::default();
    leader_lacks(&mut verdict, place, 4, (&batch, None));
    leader_lacks(&mut verdict, place, 4, (&batch, Some(&other)));
    assert!(verdict.broken.is_none(), "the leader has nothing there, or something else");
    leader_lacks(&mut verdict, place, 4, (&batch, Some(&batch)));
    assert!(verdict.broken.is_some(), "it has the same");
}
