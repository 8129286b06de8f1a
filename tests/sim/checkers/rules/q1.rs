//! Q1: a vote leaves after it is on stable storage.

use odradek::wire::quorum::VoterId;

use crate::sim::checkers::Verdict;

/// Somebody says whom it votes for in an epoch; this was kept last.
pub fn kept_before(
    verdict: &mut Verdict,
    from: VoterId,
    vote: (VoterId, u64),
    kept: Option<&(VoterId, u64)>,
) {
    verdict.hold(kept == Some(&vote), "Q1", || format!("{from} votes {vote:?}, kept is {kept:?}"));
}
