//! One file for each named invariant of reliability.md: what it says, and where it is asked.
//!
//! | | as far as a site shows it |
//! |---|---|
//! | I7 | there are no transactions: a batch is one of its own |
//! | R2, R3 | of what others lead; the quorum's log is Q3's, and `tests/replica` asks message by message |
//! | Q4 | that nobody is unseated follows from its parts; `quorum::tests` counts needless elections |
//! | Q6 | that a topic's files go only after a delay is the runtime's doing, which is not here |
//!
//! S1 of the rules for storage is here, too, because nodes start all the time.
//!
//! That a rule is asked, `tests/sim.rs` sees to. That it sees what breaks it is shown by a test beside it
//! (I1, I2, I4 to I7, R1 to R3, R7, R10, Q4 to Q7, G1, G3 to G5), or at least in one of its parts by one
//! of `mutants`, which only a build with that feature has (I3, I8, R4 to R6, R8, R9, R11, Q1 to Q3, G2,
//! G6, S1).

pub mod g1;
pub mod g2;
pub mod g3;
pub mod g4;
pub mod g5;
pub mod g6;
pub mod i1;
pub mod i2;
pub mod i3;
pub mod i4;
pub mod i5;
pub mod i6;
pub mod i7;
pub mod i8;
pub mod q1;
pub mod q2;
pub mod q3;
pub mod q4;
pub mod q5;
pub mod q6;
pub mod q7;
pub mod r1;
pub mod r10;
pub mod r11;
pub mod r2;
pub mod r3;
pub mod r4;
pub mod r5;
pub mod r6;
pub mod r7;
pub mod r8;
pub mod r9;
pub mod s1;

use crate::sim::checkers::Verdict;

/// Whether a rule that is asked so is broken.
#[cfg(test)]
fn breaks(ask: impl FnOnce(&mut Verdict)) -> bool {
    let mut verdict = Verdict::default();
    ask(&mut verdict);
    verdict.broken.is_some()
}
