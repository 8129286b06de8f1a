//! Q2: nobody votes twice in an epoch, whatever happens to its power, and an epoch has one leader.

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// Somebody votes.
pub fn one_vote(
    verdict: &mut Verdict,
    (from, epoch): (VoterId, u64),
    (vote, known): (VoterId, VoterId),
) {
    verdict.hold(known == vote, "Q2", || format!("{from} votes for {known} and {vote} in {epoch}"));
}

/// Somebody speaks as a leader.
pub fn one_leader(verdict: &mut Verdict, epoch: u64, (leader, known): (VoterId, VoterId)) {
    verdict.hold(leader == known, "Q2", || format!("{leader} and {known} lead in {epoch}"));
}
