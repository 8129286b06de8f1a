//! R10: a follower shows only what is committed, and what it has on stable storage.

use crate::sim::checkers::{Place, Verdict};

/// A follower's high watermark moves.
pub fn shows(verdict: &mut Verdict, place: Place, mark: i64, (durable, committed): (i64, i64)) {
    verdict.hold(mark <= durable, "R10", || {
        format!("{place:?} shows {mark}, only {durable} is durable")
    });
    verdict.hold(mark <= committed, "R10", || {
        format!("{place:?} shows {mark}, only {committed} is committed")
    });
}

#[test]
fn a_follower_that_shows_too_much_is_noticed() {
    use super::breaks;
    use odradek::broker::control::METADATA;
    let place = Place { node: 2, topic_partition: METADATA };
    let shown = |mark, known| breaks(|verdict| shows(verdict, place, mark, known));
    assert!(!shown(5, (5, 5)));
    assert!(!shown(3, (5, 4)));
    assert!(shown(5, (4, 5)), "not all of it is durable");
    assert!(shown(5, (5, 4)), "not all of it is committed");
}
