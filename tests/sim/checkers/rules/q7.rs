//! Q7: nobody leads without the votes of a majority of all voters. Of two that is both: when one of two
//! is gone, the other does not take over, and a third vote decides.

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// Somebody speaks as a leader for the first time in an epoch; so many have said that they vote for it,
/// itself among them.
pub fn is_voted_for(
    verdict: &mut Verdict,
    (leader, epoch): (VoterId, u64),
    (votes, voters): (usize, usize),
) {
    verdict.hold(voters < 2 * votes, "Q7", || {
        format!("{leader} leads in {epoch} by {votes} votes of {voters}")
    });
}

#[test]
fn one_of_two_is_no_majority() {
    use odradek::ids::NodeId;
    let leader = (VoterId { node_id: NodeId(1), ..VoterId::default() }, 4);
    let mut verdict = Verdict::default();
    is_voted_for(&mut verdict, leader, (1, 1));
    is_voted_for(&mut verdict, leader, (2, 2));
    is_voted_for(&mut verdict, leader, (2, 3));
    assert!(verdict.broken.is_none());
    is_voted_for(&mut verdict, leader, (1, 2));
    assert!(verdict.broken.is_some());
}
