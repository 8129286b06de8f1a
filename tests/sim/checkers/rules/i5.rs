//! I5: one consumer skips nothing, never goes back, and is never told to.

use odradek::wire::ErrorCode;

use crate::sim::checkers::Verdict;
use crate::sim::checkers::history::Lane;

/// A reader that wants an offset gets a batch.
pub fn follows(verdict: &mut Verdict, lane: Lane, asked: i64, (base, next): (i64, i64)) {
    verdict.hold(base <= asked && asked < next, "I5", || {
        format!("a reader of {lane:?} wants {asked} and gets {base}..{next}")
    });
}

/// It gets none. That its offset is out of range would have it begin somewhere else.
pub fn refused(verdict: &mut Verdict, lane: Lane, asked: i64, error: ErrorCode) {
    let is_fine = matches!(
        error,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::OFFSET_NOT_AVAILABLE
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR
    );
    verdict
        .hold(is_fine, "I5", || format!("a reader at {asked} of {lane:?} is answered {error:?}"));
}

#[test]
fn a_reader_that_skips_goes_back_or_is_told_to_is_noticed() {
    use super::breaks;
    let given = |asked, span| breaks(|verdict| follows(verdict, (0, 1), asked, span));
    assert!(!given(5, (5, 8)));
    assert!(!given(7, (5, 8)), "it is in the midst of a batch");
    assert!(given(5, (6, 8)), "it skips one");
    assert!(given(8, (5, 8)), "it goes back");
    let told = |error| breaks(|verdict| refused(verdict, (0, 1), 5, error));
    assert!(!told(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert!(told(ErrorCode::OFFSET_OUT_OF_RANGE));
}
