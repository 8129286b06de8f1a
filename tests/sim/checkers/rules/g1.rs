//! G1: a partition has one owner in a generation.

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A member is given a partition.
pub fn one_owner(
    verdict: &mut Verdict,
    (lane, generation): (Lane, i32),
    (member, owner): (u32, u32),
) {
    verdict.hold(owner == member, "G1", || {
        format!("{owner} and {member} own {lane:?} in generation {generation}")
    });
}

#[test]
fn a_second_owner_is_noticed() {
    use super::breaks;
    assert!(!breaks(|verdict| one_owner(verdict, ((0, 1), 4), (7, 7))));
    assert!(breaks(|verdict| one_owner(verdict, ((0, 1), 4), (7, 8))));
}
