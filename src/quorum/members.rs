//! Who belongs to the quorum, and which steps lead from one set of members to the next.
//!
//! One step at a time, each a batch of its own: an observer follows until it has caught up, is then
//! promoted, and a voter is removed before another life of its node may vote in its place.
//! Read semantics.md 2.13, KIP-853 and the Raft dissertation, chapter 4.

use std::collections::BTreeMap;

use raft::eraftpb::ConfState;

use crate::ids::NodeId;
use crate::limits::{QUORUM_MEMBERS_MAX, QUORUM_VOTERS_MAX};
use crate::wire::quorum::VoterId;
use crate::wire::quorum::members::{Member, MemberChange, MemberKind};

/// The members of a quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    kinds: BTreeMap<VoterId, MemberKind>,
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersError {
    /// This node does not lead, or not yet.
    NotLeader,
    /// The step before is not committed yet.
    InProgress,
    /// It is a member already (Kafka's `DUPLICATE_VOTER`).
    Duplicate,
    /// There is no such member, or it is no observer (Kafka's `VOTER_NOT_FOUND`).
    NotFound,
    /// The observer lacks batches that are committed.
    NotCaughtUp,
    /// Another life of the same node still votes; it is removed first.
    OtherLife(VoterId),
    /// The leader does not remove itself: it has handed its leadership over, ask again then.
    HandingOver,
    /// Nobody would be left to vote.
    LastVoter,
    /// There are as many as are allowed.
    Full,
    /// A node id is negative.
    NodeId,
}

impl Members {
    /// A quorum in which these vote.
    pub fn voting(voters: impl IntoIterator<Item = VoterId>) -> Members {
        let kinds = voters.into_iter().map(|id| (id, MemberKind::Voter)).collect();
        Members { kinds }
    }

    /// The members of a list, unless it cannot be a quorum's: nobody votes, one stands there twice,
    /// or two lives of a node vote.
    pub fn from_list(list: &[Member]) -> Option<Members> {
        let kinds: BTreeMap<_, _> = list.iter().map(|one| (one.id, one.kind)).collect();
        let members = Members { kinds };
        let mut voters: Vec<NodeId> = members.voters().map(|id| id.node_id).collect();
        let voter_count = voters.len();
        voters.dedup();
        let is_sound = members.kinds.len() == list.len()
            && list.len() <= QUORUM_MEMBERS_MAX
            && (1..=QUORUM_VOTERS_MAX).contains(&voter_count)
            && voters.len() == voter_count
            && list.iter().all(|one| 0 <= one.id.node_id.0);
        is_sound.then_some(members)
    }

    /// As a list, in ascending order.
    pub fn to_list(&self) -> Vec<Member> {
        self.kinds.iter().map(|(&id, &kind)| Member { id, kind }).collect()
    }

    /// Everybody who votes, witnesses included.
    pub fn voters(&self) -> impl Iterator<Item = VoterId> + '_ {
        let voters = self.kinds.iter().filter(|(_, kind)| **kind != MemberKind::Observer);
        voters.map(|(&id, _)| id)
    }

    /// As what somebody belongs to the quorum, if it does.
    pub fn kind(&self, id: VoterId) -> Option<MemberKind> {
        self.kinds.get(&id).copied()
    }

    /// Whether this one votes.
    pub fn is_voter(&self, id: VoterId) -> bool {
        self.kind(id).is_some_and(|kind| kind != MemberKind::Observer)
    }

    /// Whether nobody is in it: the log it would stand in is empty.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether nobody else belongs to it.
    pub fn is_alone(&self, id: VoterId) -> bool {
        self.kinds.len() == 1 && self.is_voter(id)
    }

    /// Whether it can lose any one voter and still elect a leader. Two voters cannot (reliability.md
    /// Q7): the site then needs a third vote, a witness at least.
    pub fn survives_a_loss(&self) -> bool {
        3 <= self.voters().count()
    }

    /// Whether `change` leads to a set that may be, as far as that does not depend on logs.
    pub(super) fn check(&self, change: MemberChange) -> Result<(), MembersError> {
        let id = change.id();
        if id.node_id.0 < 0 {
            return Err(MembersError::NodeId);
        }
        match change {
            MemberChange::Observe(_) if self.kind(id).is_some() => Err(MembersError::Duplicate),
            MemberChange::Observe(_) if QUORUM_MEMBERS_MAX <= self.kinds.len() => {
                Err(MembersError::Full)
            }
            MemberChange::Promote { .. } if self.is_voter(id) => Err(MembersError::Duplicate),
            MemberChange::Promote { .. } | MemberChange::Remove(_) if self.kind(id).is_none() => {
                Err(MembersError::NotFound)
            }
            MemberChange::Promote { .. } if QUORUM_VOTERS_MAX <= self.voters().count() => {
                Err(MembersError::Full)
            }
            MemberChange::Promote { .. } => {
                let other = self.voters().find(|voter| voter.node_id == id.node_id);
                other.map_or(Ok(()), |other| Err(MembersError::OtherLife(other)))
            }
            MemberChange::Remove(_) if self.is_voter(id) && self.voters().count() == 1 => {
                Err(MembersError::LastVoter)
            }
            MemberChange::Observe(_) | MemberChange::Remove(_) => Ok(()),
        }
    }

    /// Takes a committed step.
    pub(super) fn apply(&mut self, change: MemberChange) {
        match change {
            MemberChange::Observe(id) => self.kinds.insert(id, MemberKind::Observer),
            MemberChange::Promote { id, is_witness: false } => {
                self.kinds.insert(id, MemberKind::Voter)
            }
            MemberChange::Promote { id, is_witness: true } => {
                self.kinds.insert(id, MemberKind::Witness)
            }
            MemberChange::Remove(id) => self.kinds.remove(&id),
        };
    }

    pub(super) fn conf_state(&self) -> ConfState {
        let mut state = ConfState::default();
        for (&id, &kind) in &self.kinds {
            match kind {
                MemberKind::Observer => state.mut_learners().push(raft_id(id)),
                MemberKind::Voter | MemberKind::Witness => state.mut_voters().push(raft_id(id)),
            }
        }
        state
    }
}

/// The number under which the consensus crate knows a voter: never 0, which means nobody there.
pub(super) fn raft_id(id: VoterId) -> u64 {
    let node = u64::try_from(id.node_id.0).expect("node ids are checked where they enter");
    ((node + 1) << 32) | u64::from(id.incarnation)
}

/// The voter of such a number.
pub(super) fn voter_of(raft_id: u64) -> Option<VoterId> {
    let node = (raft_id >> 32).checked_sub(1)?;
    let node_id = NodeId(i32::try_from(node).ok()?);
    Some(VoterId { node_id, incarnation: raft_id as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(node: i32, incarnation: u32) -> VoterId {
        VoterId { node_id: NodeId(node), incarnation }
    }

    #[test]
    fn a_voter_has_a_number_and_the_number_its_voter() {
        for voter in [id(0, 0), id(0, 1), id(1, 0), id(i32::MAX, u32::MAX)] {
            assert_ne!(raft_id(voter), 0);
            assert_eq!(voter_of(raft_id(voter)), Some(voter));
        }
        assert_eq!(voter_of(0), None);
        assert_eq!(voter_of(u64::MAX), None);
    }

    #[test]
    fn steps_that_may_not_be_are_refused() {
        let mut members = Members::voting([id(1, 1), id(2, 1)]);
        let promote = |id| MemberChange::Promote { id, is_witness: false };
        let (new, old) = (id(2, 7), id(2, 1));
        for (change, expected) in [
            (MemberChange::Observe(id(1, 1)), Err(MembersError::Duplicate)),
            (MemberChange::Observe(id(-1, 1)), Err(MembersError::NodeId)),
            (promote(id(1, 1)), Err(MembersError::Duplicate)),
            (promote(new), Err(MembersError::NotFound)),
            (MemberChange::Remove(new), Err(MembersError::NotFound)),
            (MemberChange::Observe(new), Ok(())),
        ] {
            assert_eq!(members.check(change), expected, "{change:?}");
        }
        members.apply(MemberChange::Observe(new));
        assert_eq!(members.check(promote(new)), Err(MembersError::OtherLife(old)));
        members.apply(MemberChange::Remove(old));
        assert_eq!(members.check(MemberChange::Remove(id(1, 1))), Err(MembersError::LastVoter));
        assert_eq!(members.check(promote(new)), Ok(()));
        members.apply(promote(new));
        assert_eq!(members, Members::voting([id(1, 1), new]));
        assert!(!members.survives_a_loss());
    }

    #[test]
    fn lists_that_are_no_quorum_are_refused() {
        let member = |node, incarnation, kind| Member { id: id(node, incarnation), kind };
        let one = member(1, 1, MemberKind::Voter);
        assert!(Members::from_list(&[]).is_none());
        assert!(Members::from_list(&[member(1, 1, MemberKind::Observer)]).is_none());
        assert!(Members::from_list(&[one, one]).is_none());
        assert!(Members::from_list(&[one, member(1, 2, MemberKind::Witness)]).is_none());
        assert!(Members::from_list(&[one, member(-2, 2, MemberKind::Observer)]).is_none());
        let list = [one, member(1, 2, MemberKind::Observer), member(2, 0, MemberKind::Witness)];
        assert_eq!(Members::from_list(&list).expect("a quorum").to_list(), list);
    }
}
