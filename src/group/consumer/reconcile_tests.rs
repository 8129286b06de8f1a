//! Tests of the steps from what a member has to what it is to have.

use super::*;
use crate::ids::{Partition, TopicId};

fn set(numbers: &[i32]) -> PartitionSet {
    let placed = |number: &i32| TopicPartition {
        topic_id: TopicId::default(),
        partition: Partition(*number),
    };
    numbers.iter().map(placed).collect()
}

fn current(epoch: i32, state: MemberState, assigned: &[i32], revoking: &[i32]) -> Current {
    Current {
        epoch,
        previous_epoch: epoch - 1,
        state,
        assigned: set(assigned),
        revoking: set(revoking),
    }
}

/// A step from `before` towards `target` in epoch 7, while others have `held`.
fn step(
    before: &Current,
    target: &[i32],
    owned: Option<&[i32]>,
    held: &[i32],
) -> Option<(i32, MemberState, PartitionSet, PartitionSet)> {
    let (partitions, owned, held) = (set(target), owned.map(set), set(held));
    let target = Target { epoch: 7, partitions: &partitions };
    // What the member has is held, too: the group counts everything.
    let is_held = |it: &TopicPartition| {
        held.contains(it) || before.assigned.contains(it) || before.revoking.contains(it)
    };
    let next = before.next(target, owned.as_ref(), is_held)?;
    Some((next.epoch, next.state, next.assigned, next.revoking))
}

use MemberState::{Stable, Unreleased, Unrevoked};

#[test]
fn a_stable_member_takes_what_is_free() {
    let before = current(6, Stable, &[1], &[]);
    assert_eq!(step(&before, &[1, 2], None, &[]), Some((7, Stable, set(&[1, 2]), set(&[]))));
    assert_eq!(step(&before, &[1, 2], None, &[2]), Some((7, Unreleased, set(&[1]), set(&[]))));
    assert_eq!(
        step(&before, &[1, 2, 3], None, &[2]),
        Some((7, Unreleased, set(&[1, 3]), set(&[])))
    );
    assert_eq!(step(&before, &[1], None, &[]), Some((7, Stable, set(&[1]), set(&[]))));
    assert_eq!(step(&current(7, Stable, &[1], &[]), &[1], None, &[]), None);
}

#[test]
fn a_member_stays_in_its_epoch_until_it_has_given_up_what_it_must() {
    let before = current(6, Stable, &[1, 2], &[]);
    let told = Some((6, Unrevoked, set(&[1]), set(&[2])));
    assert_eq!(step(&before, &[1, 3], None, &[]), told);
    assert_eq!(step(&before, &[1, 3], Some(&[1, 2]), &[]), told);
    // It has done so already.
    assert_eq!(step(&before, &[1, 3], Some(&[1]), &[]), Some((7, Stable, set(&[1, 3]), set(&[]))));

    let before = current(6, Unrevoked, &[1], &[2]);
    assert_eq!(step(&before, &[1, 3], None, &[]), None);
    assert_eq!(step(&before, &[1, 3], Some(&[1, 2]), &[]), None);
    assert_eq!(step(&before, &[1, 3], Some(&[1]), &[]), Some((7, Stable, set(&[1, 3]), set(&[]))));
    assert_eq!(step(&before, &[1, 3], Some(&[]), &[3]), Some((7, Unreleased, set(&[1]), set(&[]))));
    // The target has moved on, and it must give up more.
    assert_eq!(step(&before, &[3], Some(&[1]), &[]), Some((6, Unrevoked, set(&[]), set(&[1]))));
    // It gets back what it has just given up: nobody else can have it yet.
    assert_eq!(step(&before, &[1, 2], Some(&[1]), &[]), Some((7, Stable, set(&[1, 2]), set(&[]))));
}

#[test]
fn a_member_that_waits_takes_partitions_as_they_become_free() {
    let before = current(7, Unreleased, &[1], &[]);
    assert_eq!(step(&before, &[1, 2, 3], None, &[2, 3]), None);
    assert_eq!(
        step(&before, &[1, 2, 3], None, &[3]),
        Some((7, Unreleased, set(&[1, 2]), set(&[])))
    );
    assert_eq!(step(&before, &[1, 2], None, &[]), Some((7, Stable, set(&[1, 2]), set(&[]))));
    let before = current(6, Unreleased, &[1], &[]);
    assert_eq!(step(&before, &[2], None, &[2]), Some((6, Unrevoked, set(&[]), set(&[1]))));
}

#[test]
fn a_step_within_an_epoch_keeps_the_epoch_before() {
    let before = current(7, Unreleased, &[1], &[]);
    let partitions = set(&[1, 2]);
    let target = Target { epoch: 7, partitions: &partitions };
    let next = before.next(target, None, |_| false).expect("a step");
    assert_eq!((next.previous_epoch, next.epoch), (6, 7));
    let before = current(5, Stable, &[1], &[]);
    let next = before.next(target, None, |_| false).expect("a step");
    assert_eq!((next.previous_epoch, next.epoch), (5, 7));
}
