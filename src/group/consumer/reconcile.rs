//! How a member comes from what it has to what it is to have.
//!
//! ```text
//!                 ┌─ nothing to give up, all free ──────────────────────► Stable
//! new target ─────┼─ something to give up ──► Unrevoked ──given up─┐        ▲
//!                 └─ others still hold some ──► Unreleased ◄────────┘── all free
//! ```
//!
//! In Unrevoked the member stays in its epoch until it no longer reports what it must give up. In
//! Unreleased it is in the target's epoch and takes partitions as others let go of them.
//!
//! **Invariant:** a partition is given to a member only when no member has it, one that was told to
//! give it up included.

use super::partitions::PartitionSet;
use crate::ids::TopicPartition;

/// Where a member is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::group) enum MemberState {
    /// It has what it is to have.
    #[default]
    Stable,
    /// It was told to give something up and has not said that it did.
    Unrevoked,
    /// It waits for others to give something up.
    Unreleased,
}

impl MemberState {
    /// As a record has it.
    pub const fn stored(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
        }
    }

    /// A state of a later version is taken for one that has to be gone through again.
    pub const fn of_stored(number: i8) -> MemberState {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            _ => MemberState::Unreleased,
        }
    }
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Current {
    /// The epoch its next heartbeat must bear.
    pub epoch: i32,
    /// The one before, in case the answer with the new one was lost.
    pub previous_epoch: i32,
    pub state: MemberState,
    /// What it may hold.
    pub assigned: PartitionSet,
    /// What it must give up, and may still hold.
    pub revoking: PartitionSet,
}

/// What a member is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub epoch: i32,
    pub partitions: &'a PartitionSet,
}

impl Current {
    /// The next step towards the target; `None` where there is none to take. `owned` is what the
    /// member says it holds, if it says so, and `is_held` whether any member has a partition.
    pub(super) fn next(
        &self,
        target: Target<'_>,
        owned: Option<&PartitionSet>,
        is_held: impl Fn(&TopicPartition) -> bool,
    ) -> Option<Current> {
        let next = match self.state {
            MemberState::Stable if self.epoch == target.epoch => return None,
            MemberState::Unrevoked if still_holds(owned, &self.revoking) => return None,
            MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => {
                self.towards(target, owned, is_held)
            }
        };
        (next != *self).then_some(next)
    }

    fn towards(
        &self,
        target: Target<'_>,
        owned: Option<&PartitionSet>,
        is_held: impl Fn(&TopicPartition) -> bool,
    ) -> Current {
        let kept = self.assigned.and(target.partitions);
        let revoking = self.assigned.minus(&kept);
        if !revoking.is_empty() && still_holds(owned, &revoking) {
            return Current {
                epoch: self.epoch,
                previous_epoch: self.previous_epoch,
                state: MemberState::Unrevoked,
                assigned: kept,
                revoking,
            };
        }
        let wanted = target.partitions.minus(&kept);
        // What the member itself has just given up is free.
        let is_free = |wanted: &TopicPartition| !is_held(wanted) || self.revoking.contains(wanted);
        let given: PartitionSet = wanted.iter().filter(is_free).collect();
        let is_complete = given.len() == wanted.len();
        // A step within an epoch is no new epoch: whoever asks with the one before is still late.
        let previous_epoch =
            if self.epoch == target.epoch { self.previous_epoch } else { self.epoch };
        Current {
            epoch: target.epoch,
            previous_epoch,
            state: if is_complete { MemberState::Stable } else { MemberState::Unreleased },
            assigned: kept.iter().chain(given.iter()).collect(),
            revoking: PartitionSet::default(),
        }
    }
}

/// Whether the member may still hold some of these: it does until it says otherwise.
fn still_holds(owned: Option<&PartitionSet>, revoked: &PartitionSet) -> bool {
    owned.is_none_or(|owned| owned.intersects(revoked))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
