//! G3: what a group has committed never moves back, and is not forgotten, but by an explicit reset, for
//! which nobody asks here.
//!
//! It is seen in the log of the group's own topic, record by record as its leaders commit them, not in
//! anybody's answer.

use crate::sim::checkers::Verdict;

/// A record of a group's offset is committed; the one before it said `before`. `None` forgets it.
pub fn rises(verdict: &mut Verdict, of: &(String, String, i32), before: i64, offset: Option<i64>) {
    verdict.hold(offset.is_some_and(|offset| before <= offset), "G3", || {
        format!("the log takes the offset of {of:?} from {before} to {offset:?}")
    });
}

#[test]
fn an_offset_that_moves_back_or_is_forgotten_is_noticed() {
    let of = ("dashboard".to_owned(), "readings".to_owned(), 1);
    let mut verdict = Verdict::default();
    rises(&mut verdict, &of, 5, Some(5));
    rises(&mut verdict, &of, 5, Some(8));
    assert!(verdict.broken.is_none());
    rises(&mut verdict, &of, 8, Some(7));
    assert!(verdict.broken.is_some());
    let mut verdict = Verdict::default();
    rises(&mut verdict, &of, 8, None);
    assert!(verdict.broken.is_some());
}
