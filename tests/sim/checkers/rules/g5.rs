//! G5: of two members that bear the same instance id the later one is in, and the one before is fenced
//! from then on, whoever coordinates.
//!
//! What a coordinator says from memory counts only while it leads, and has loaded: one that was deposed
//! and has not heard of it says what it remembers, and one that loads answers a heartbeat that all is
//! well, as Kafka does. Nothing rests on either. A commit counts always.

use crate::sim::checkers::Verdict;

/// A member is answered as one of the group; was another in its place when it asked?
pub fn is_not_replaced(
    verdict: &mut Verdict,
    (member_id, instance): (&str, &str),
    is_replaced: bool,
) {
    verdict.hold(!is_replaced, "G5", || {
        format!("{member_id} is served as {instance}, and another had taken its place")
    });
}

#[test]
fn a_member_that_was_replaced_is_noticed() {
    let mut verdict = Verdict::default();
    is_not_replaced(&mut verdict, ("logger-1", "logger"), false);
    assert!(verdict.broken.is_none());
    is_not_replaced(&mut verdict, ("logger-1", "logger"), true);
    assert!(verdict.broken.is_some());
}
