//! R1, `StrongIsr`: what is below the high watermark of whoever leads is the same on every in-sync
//! replica, and every later leader has it.
//!
//! A node may learn late that it is to lead: what a leader of a *later* epoch has committed by then
//! it need not have. A replica that lost bytes on purpose is looked at again once it was out of the
//! ISR and is back in it.

use crate::sim::checkers::{Batch, Place, Verdict};

/// A leader begins, and some leader of an earlier epoch has committed this batch.
pub fn leader_has(
    verdict: &mut Verdict,
    place: Place,
    base: i64,
    (theirs, batch): (Option<&Batch>, &Batch),
) {
    verdict.hold(theirs == Some(batch), "R1", || {
        format!("{place:?} leads and has {theirs:?} at {base}, committed is {batch:?}")
    });
}

/// The same epoch has one leader.
pub fn one_leader(verdict: &mut Verdict, place: Place, epoch: i32, known: i32) {
    verdict.hold(known == place.node, "R1", || {
        format!("{place:?} leads in epoch {epoch}, so does {known}")
    });
}

/// A leader commits up to an offset; its batches end there.
pub fn ends_a_batch(verdict: &mut Verdict, place: Place, end: i64, to: i64) {
    verdict.hold(end == to, "R1", || {
        format!("{place:?} commits up to {to}, its last batch there ends at {end}")
    });
}

/// A leader commits a batch; this is a member of the ISR.
pub fn member_has(
    verdict: &mut Verdict,
    member: Place,
    base: i64,
    (theirs, batch): (Option<&Batch>, &Batch),
) {
    verdict.hold(theirs == Some(batch), "R1", || {
        format!("{member:?} has {theirs:?} at {base}, committed is {batch:?}")
    });
}

/// The controller says that a node is in sync.
pub fn is_in_sync(verdict: &mut Verdict, member: Place, durable: i64, committed: i64) {
    verdict.hold(committed <= durable, "R1", || {
        format!("{member:?} is in sync with {durable} safe, {committed} is committed")
    });
}

#[test]
fn a_leader_or_a_member_that_lacks_what_is_committed_is_noticed() {
    use super::breaks;
    use odradek::broker::control::METADATA;
    let place = Place { node: 2, topic_partition: METADATA };
    let batch = Batch { end: 5, epoch: 1, hash: 11 };
    let other = Batch { hash: 12, ..batch };
    for has in [leader_has, member_has] {
        assert!(!breaks(|verdict| has(verdict, place, 4, (Some(&batch), &batch))));
        assert!(breaks(|verdict| has(verdict, place, 4, (None, &batch))));
        assert!(breaks(|verdict| has(verdict, place, 4, (Some(&other), &batch))));
    }
    assert!(!breaks(|verdict| is_in_sync(verdict, place, 5, 5)));
    assert!(breaks(|verdict| is_in_sync(verdict, place, 4, 5)), "not all of it is safe");
}

#[test]
fn two_leaders_of_an_epoch_and_half_a_batch_are_noticed() {
    use super::breaks;
    use odradek::broker::control::METADATA;
    let place = Place { node: 2, topic_partition: METADATA };
    assert!(!breaks(|verdict| one_leader(verdict, place, 7, 2)));
    assert!(breaks(|verdict| one_leader(verdict, place, 7, 3)));
    assert!(!breaks(|verdict| ends_a_batch(verdict, place, 5, 5)));
    assert!(breaks(|verdict| ends_a_batch(verdict, place, 5, 6)), "it commits what is not there");
    assert!(breaks(|verdict| ends_a_batch(verdict, place, 5, 4)), "it commits half of a batch");
}
