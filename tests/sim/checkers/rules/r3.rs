//! R3: after a change of epoch a follower takes nothing before its log is known to agree with the
//! leader's up to its own end.
//!
//! Whatever it asked and was told: when it appends in an epoch, what stands before is what the leader
//! of that epoch has there.

use crate::sim::checkers::{Batch, Place, Verdict};

/// A follower appends at `base`, in an epoch that somebody leads; the last batch before that is its
/// own, and its leader has this there.
pub fn agrees(
    verdict: &mut Verdict,
    place: Place,
    base: i64,
    (own, leaders): ((i64, &Batch), Option<&Batch>),
) {
    verdict.hold(leaders == Some(own.1), "R3", || {
        format!("{place:?} goes on at {base} behind {own:?}, where its leader has {leaders:?}")
    });
}

#[test]
fn going_on_behind_something_else_is_noticed() {
    use odradek::broker::control::METADATA;
    let place = Place { node: 2, topic_partition: METADATA };
    let own = Batch { end: 5, epoch: 1, hash: 11 };
    let mut verdict = Verdict::default();
    agrees(&mut verdict, place, 5, ((4, &own), Some(&own)));
    assert!(verdict.broken.is_none(), "the logs agree");
    let other = Batch { epoch: 2, ..own };
    agrees(&mut verdict, place, 5, ((4, &own), Some(&other)));
    assert!(verdict.broken.is_some(), "they part before that");
}
