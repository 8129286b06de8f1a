//! S1: a node starts with everything that was on its stable storage.

use crate::sim::checkers::{Batch, Place, Verdict};

/// A node starts; `lacks` is the first batch it lacks: its offset, and what is there. One that is known
/// to have rotted is excused.
pub fn starts_with_all(
    verdict: &mut Verdict,
    place: Place,
    lacks: Option<&(i64, Option<Batch>)>,
    rot: Option<i64>,
) {
    let is_excused = |base: i64| rot == Some(base);
    verdict.hold(lacks.is_none_or(|(base, _)| is_excused(*base)), "S1", || {
        format!("{place:?} starts without what was safe: {lacks:?}")
    });
}
