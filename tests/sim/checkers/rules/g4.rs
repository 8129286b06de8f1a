//! G4: whoever joins without a name is given one first, and counts when it comes back with it.

use crate::sim::checkers::Verdict;

/// A member joins, and is in.
pub fn has_a_name(verdict: &mut Verdict, member: u32, asked_as: &str) {
    verdict.hold(!asked_as.is_empty(), "G4", || format!("member {member} is in without a name"));
}

#[test]
fn a_member_that_is_in_without_a_name_is_noticed() {
    use super::breaks;
    assert!(!breaks(|verdict| has_a_name(verdict, 7, "consumer-7")));
    assert!(breaks(|verdict| has_a_name(verdict, 7, "")));
}
