//! How much a follower that catches up asks for at once.
//!
//! Others' batches come over the same cable, behind what is under way: with the 256 KiB that cost
//! nothing on loopback, acks of another topic took 76 ms (p50) over 100 Mbit/s, where 0.8 are usual.
//!
//! The portion begins low. It is doubled while answers come about as quickly as the quickest did, and
//! halved when they come later by milliseconds: what is asked for more only waits on the way by then. Of
//! several answers the quickest counts, for one may be late for reasons of its own. A batch that is
//! larger comes whole, and then nothing is asked for before it is there.
//!
//! **Invariant:** the portion is between its limits.

use crate::limits::{REPLICA_FETCHES_MAX, REPLICA_PORTION_BYTES_MAX, REPLICA_PORTION_BYTES_MIN};

/// So many answers are judged together.
const ANSWERS: u32 = 8;

/// How much later than the quickest answer is still as good as that: what a clock of milliseconds
/// cannot tell apart.
const QUICK_MS: u64 = 1;

/// How much later is too late.
const LATE_MS: u64 = 3;

#[derive(Debug)]
pub(super) struct Portion {
    bytes: u32,
    /// Of the last answer.
    came: u64,
    /// The quickest of all answers.
    quickest_ms: u64,
    /// Answers to what was asked for with the portion as it is, and the quickest of them.
    answers: u32,
    took_ms: u64,
}

impl Default for Portion {
    fn default() -> Self {
        Portion {
            bytes: REPLICA_PORTION_BYTES_MIN,
            came: 0,
            quickest_ms: u64::MAX,
            answers: 0,
            took_ms: u64::MAX,
        }
    }
}

impl Portion {
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// How many fetches may be under way.
    pub fn fetches(&self) -> usize {
        if u64::from(self.bytes) * 2 <= self.came { 1 } else { REPLICA_FETCHES_MAX }
    }

    /// So much was asked for, and so much came, so many milliseconds later.
    pub fn answered(&mut self, asked: u32, bytes: u64, took_ms: u64) {
        self.came = bytes;
        // One with less had all there was, or was asked for when little was allowed.
        if asked != self.bytes || bytes < u64::from(asked / 2) {
            return;
        }
        self.quickest_ms = self.quickest_ms.min(took_ms);
        self.took_ms = self.took_ms.min(took_ms);
        self.answers += 1;
        if self.answers < ANSWERS {
            return;
        }
        let later_ms = self.took_ms - self.quickest_ms;
        let bytes = if later_ms <= QUICK_MS {
            self.bytes * 2
        } else if LATE_MS <= later_ms {
            self.bytes / 2
        } else {
            self.bytes
        };
        self.bytes = bytes.clamp(REPLICA_PORTION_BYTES_MIN, REPLICA_PORTION_BYTES_MAX);
        self.answers = 0;
        self.took_ms = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for after a while, and how long it and the one before it are under way, over a
    /// cable of so many bytes a millisecond; every `jitter`-th answer is late.
    fn catch_up(bytes_ms: u64, round_trip_ms: u64, jitter: u64) -> (u32, u64) {
        let mut portion = Portion::default();
        let mut took_ms = 0;
        for answer in 1..500 {
            let asked = portion.bytes();
            let under_way = if answer == 1 { 1 } else { 2 };
            took_ms = round_trip_ms + under_way * u64::from(asked) / bytes_ms;
            let late_ms = if jitter != 0 && answer % jitter != 0 { 20 } else { 0 };
            portion.answered(asked, u64::from(asked), took_ms + late_ms);
        }
        (portion.bytes(), took_ms)
    }

    #[test]
    fn a_quick_cable_is_made_use_of() {
        // 16 Gbit/s.
        assert_eq!(catch_up(2_000_000, 0, 0), (REPLICA_PORTION_BYTES_MAX, 0));
    }

    #[test]
    fn over_a_thin_cable_little_is_under_way() {
        // 1 Gbit/s, 100 Mbit/s, Wi-Fi at 20 Mbit/s.
        let (bytes, took_ms) = catch_up(118_000, 0, 0);
        assert!(bytes <= 128 << 10 && took_ms <= 2, "{bytes} bytes take {took_ms} ms");
        assert_eq!(catch_up(11_800, 0, 0), (REPLICA_PORTION_BYTES_MIN, 5));
        assert_eq!(catch_up(2_360, 5, 0).0, REPLICA_PORTION_BYTES_MIN);
    }

    #[test]
    fn a_long_way_is_filled_nevertheless() {
        // 1 Gbit/s, 20 ms away: 32 KiB at a time would be a fortieth of it.
        let (bytes, _) = catch_up(118_000, 20, 0);
        assert!((128 << 10..=256 << 10).contains(&bytes), "{bytes}");
    }

    #[test]
    fn answers_that_are_late_now_and_then_change_nothing() {
        assert_eq!(catch_up(2_000_000, 2, 4).0, REPLICA_PORTION_BYTES_MAX);
    }

    #[test]
    fn what_was_all_there_was_says_nothing() {
        let mut portion = Portion::default();
        for _ in 0..100 {
            portion.answered(REPLICA_PORTION_BYTES_MIN, 100, 0);
            portion.answered(REPLICA_PORTION_BYTES_MIN / 2, 1 << 20, 0);
        }
        assert_eq!(portion.bytes(), REPLICA_PORTION_BYTES_MIN);
    }

    #[test]
    fn of_large_batches_one_is_under_way() {
        let mut portion = Portion::default();
        assert_eq!(portion.fetches(), REPLICA_FETCHES_MAX);
        portion.answered(portion.bytes(), 256 << 10, 0);
        assert_eq!(portion.fetches(), 1);
        portion.answered(portion.bytes(), 60 << 10, 0);
        assert_eq!(portion.fetches(), REPLICA_FETCHES_MAX);
    }
}
