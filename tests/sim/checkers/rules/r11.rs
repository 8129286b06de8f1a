//! R11: who knows of an older epoch than the leader is told so, and not answered with other data.

use odradek::ids::LeaderEpoch;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A reader is answered; `stale` is the epoch it asked with, if its leader knew of a later one when it
/// asked.
pub fn answered(verdict: &mut Verdict, lane: Lane, stale: Option<LeaderEpoch>) {
    verdict.hold(stale.is_none(), "R11", || {
        format!("a reader of {lane:?} knows of epoch {stale:?} and is answered")
    });
}
