//! Q3: what is committed is the same on all nodes, stays, and is on the stable storage of most of those
//! who vote when the first of them takes it for committed.
//!
//! What counts is what the quorum has in memory, and hands to the controller. The disk may lag
//! behind that: a follower hears in one message of a batch and of its being committed, and what it
//! has in that batch's place is cut only then. So bytes are compared where the disk has the same
//! epoch. A change of the voters is committed by those before it.
//!
//! That most have a batch commits it only where its own leader counts: what an earlier one appended may
//! yet be overwritten, unless something of the present epoch stands behind it (Raft §5.4.2).

use crate::sim::checkers::{Batch, Verdict};

/// A node takes the batch at an offset, of this epoch, for committed.
pub fn same_epoch(verdict: &mut Verdict, node: i32, offset: i64, (epoch, known): (i32, i32)) {
    verdict.hold(known == epoch, "Q3", || {
        format!("node {node} has {offset} of epoch {epoch} committed, others of {known}")
    });
}

/// The same, as it is on its disk.
pub fn same_batch(verdict: &mut Verdict, node: i32, offset: i64, (batch, known): (&Batch, &Batch)) {
    verdict.hold(known == batch, "Q3", || {
        format!("node {node} has {batch:?} committed at {offset}, others have {known:?}")
    });
}

/// A node is the first to take it for committed.
pub fn most_have_it(
    verdict: &mut Verdict,
    node: i32,
    mark: i64,
    is_held: bool,
    words: impl FnOnce() -> String,
) {
    verdict.hold(is_held, "Q3", || {
        let words = words();
        format!("node {node} takes {mark} for committed, too few of the voters have it: {words}")
    });
}

/// A leader that has led before takes more for committed; the last of it is of this epoch.
pub fn of_its_own(verdict: &mut Verdict, node: i32, mark: i64, (epoch, last): (i32, i32)) {
    verdict.hold(last == epoch, "Q3", || {
        format!("node {node} leads in {epoch} and commits {mark} by count, which is of {last}")
    });
}
