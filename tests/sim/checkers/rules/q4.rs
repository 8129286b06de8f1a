//! Q4: a node that flaps unseats no healthy leader. A pre-vote raises nobody's epoch; whoever hears a
//! leader grants none; a leader that hears no majority steps down.
//!
//! All of it is seen from what the nodes say, hear and keep: an epoch is begun by one whom most of the
//! voters would vote for, or whom the leader before asked to.

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// Whoever was heard so long ago is no reason any more to refuse somebody else, at the earliest: the
/// shortest lease, less two ticks.
pub const LEASE_US: u64 = 500_000;

/// A leader that hears no majority leads no longer than this: twice the longest lease, and a second.
pub const SILENCE_US: u64 = 2 * 8 * 600_000 + 1_000_000;

/// A node says that it would vote for somebody; was it ever asked while it heard no leader?
pub fn heard_no_leader(
    verdict: &mut Verdict,
    from: VoterId,
    (to, epoch): (VoterId, u64),
    is: bool,
) {
    verdict.hold(is, "Q4", || {
        format!("{from} would vote for {to} in {epoch}, and hears a leader all the time")
    });
}

/// Somebody asks for votes in an epoch, or keeps it; so many would vote for it, itself among them.
pub fn most_would_vote(
    verdict: &mut Verdict,
    (from, epoch): (VoterId, u64),
    (willing, voters): (usize, usize),
) {
    verdict.hold(voters < 2 * willing, "Q4", || {
        format!("{from} begins epoch {epoch}; {willing} of {voters} would vote for it")
    });
}

/// A node leads that has been awake for so long; it has heard of so many voters in that time, itself
/// among them.
pub fn hears_a_majority(verdict: &mut Verdict, leader: i32, (heard, voters): (usize, usize)) {
    verdict.hold(voters < 2 * heard, "Q4", || {
        format!("node {leader} leads the quorum and hears {heard} of {voters} voters")
    });
}

#[test]
fn each_part_is_noticed() {
    use super::breaks;
    use odradek::ids::NodeId;
    let voter = |node| VoterId { node_id: NodeId(node), ..VoterId::default() };
    let to = (voter(2), 7);
    assert!(!breaks(|verdict| heard_no_leader(verdict, voter(1), to, true)));
    assert!(breaks(|verdict| heard_no_leader(verdict, voter(1), to, false)));
    assert!(!breaks(|verdict| most_would_vote(verdict, to, (2, 3))));
    assert!(breaks(|verdict| most_would_vote(verdict, to, (1, 3))));
    assert!(breaks(|verdict| most_would_vote(verdict, to, (1, 2))), "half is no majority");
    assert!(!breaks(|verdict| hears_a_majority(verdict, 1, (1, 1))));
    assert!(breaks(|verdict| hears_a_majority(verdict, 1, (1, 2))));
}
