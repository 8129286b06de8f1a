//! I1, no lost write: what was acknowledged is read where it was said to be, and at the end all of it.

use std::collections::BTreeMap;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::{Lane, Value};

/// A record is read.
pub fn read(
    verdict: &mut Verdict,
    (lane, offset): (Lane, i64),
    value: Value,
    acked: Option<Value>,
) {
    verdict.hold(acked.is_none_or(|acked| acked == value), "I1", || {
        format!("{value:?} is read at {offset} of {lane:?}, {acked:?} was acknowledged")
    });
}

/// Everything was read, up to these ends.
pub fn all_read(
    verdict: &mut Verdict,
    acked: &BTreeMap<(Lane, i64), Value>,
    read: &BTreeMap<(Lane, i64), Value>,
    ends: &BTreeMap<Lane, i64>,
) {
    for ((lane, offset), value) in acked {
        let read = read.get(&(*lane, *offset));
        verdict.hold(read == Some(value), "I1", || {
            let end = ends.get(lane);
            format!(
                "{value:?} is acknowledged at {offset} of {lane:?}; read {read:?} up to {end:?}"
            )
        });
    }
}

#[test]
fn a_write_that_is_read_otherwise_or_not_at_all_is_noticed() {
    use super::breaks;
    let place = ((0, 1), 3);
    let value = Value { producer: 1, number: 7 };
    let other = Value { number: 8, ..value };
    assert!(!breaks(|verdict| read(verdict, place, value, Some(value))));
    assert!(!breaks(|verdict| read(verdict, place, value, None)), "nobody was told of it");
    assert!(breaks(|verdict| read(verdict, place, other, Some(value))));

    let acked = BTreeMap::from([(place, value)]);
    let ends = BTreeMap::from([(place.0, 4)]);
    let breaks_with = |found: &BTreeMap<(Lane, i64), Value>| {
        breaks(|verdict| all_read(verdict, &acked, found, &ends))
    };
    assert!(!breaks_with(&acked));
    assert!(breaks_with(&BTreeMap::new()), "it is gone");
    assert!(breaks_with(&BTreeMap::from([(place, other)])), "another is in its place");
    assert!(breaks_with(&BTreeMap::from([((place.0, 4), value)])), "it is somewhere else");
}
