//! Q5: who lost its quorum log comes back as somebody else: nothing is heard any more of the voter it
//! was, whose promises are forgotten.

use std::collections::BTreeSet;

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// A voter says something.
pub fn speaks(verdict: &mut Verdict, from: VoterId, lost: &BTreeSet<VoterId>) {
    verdict.hold(!lost.contains(&from), "Q5", || format!("{from} has lost its log, and speaks on"));
}
