//! Q5: who lost its quorum log comes back as somebody else: nothing is heard any more of the voter it
//! was, whose promises are forgotten.

use std::collections::BTreeSet;

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// A voter says something.
pub fn speaks(verdict: &mut Verdict, from: VoterId, lost: &BTreeSet<VoterId>) {
    verdict.hold(!lost.contains(&from), "Q5", || format!("{from} has lost its log, and speaks on"));
}

#[test]
fn a_voter_without_its_log_that_speaks_on_is_noticed() {
    use super::breaks;
    use odradek::ids::NodeId;
    let was = VoterId { node_id: NodeId(1), incarnation: 1 };
    let is = VoterId { incarnation: 2, ..was };
    assert!(!breaks(|verdict| speaks(verdict, was, &BTreeSet::new())), "it has lost nothing");
    let lost = BTreeSet::from([was]);
    assert!(!breaks(|verdict| speaks(verdict, is, &lost)), "it comes as somebody else");
    assert!(breaks(|verdict| speaks(verdict, was, &lost)));
}
