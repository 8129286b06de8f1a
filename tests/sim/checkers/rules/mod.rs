//! One file for each named invariant of reliability.md: what it says, and where it is asked.
//!
//! | not here | because |
//! |---|---|
//! | I7 | there are no transactions yet |
//! | R2, R3 | they are how R1, R6 and R7 come about, and are asked in `tests/replica` |
//! | Q4 | `tests/quorum` asks it message by message |
//! | Q7 | three nodes vote; `tests/member` has two |
//! | G3 | it is G6 seen from the log |
//! | G5 | `tests/client_members` has members that bear the same name |

pub mod g1;
pub mod g2;
pub mod g4;
pub mod g6;
pub mod i1;
pub mod i2;
pub mod i3;
pub mod i4;
pub mod i5;
pub mod i6;
pub mod i8;
pub mod q1;
pub mod q2;
pub mod q3;
pub mod q5;
pub mod q6;
pub mod r1;
pub mod r10;
pub mod r11;
pub mod r4;
pub mod r5;
pub mod r6;
pub mod r7;
pub mod r8;
pub mod r9;
pub mod s1;
