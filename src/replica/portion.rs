//! How much a follower that catches up asks for at once.
//!
//! Others' batches come over the same cable, behind what is under way: with the 256 KiB that cost
//! nothing on loopback, acks of another topic took 76 ms (p50) over 100 Mbit/s, where 0.8 are usual.
//!
//! The portion begins low. It is doubled while answers come about as quickly as the quickest did, and
//! halved when they come later by milliseconds: what is asked for more only waits on the way by then. Of
//! several answers the quickest counts, for one may be late for reasons of its own. What is late for
//! long however little is asked for is the way itself, which has become longer. A batch that is larger
//! comes whole, and then nothing is asked for before it is there.
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

/// So many times the least is too late before the way is taken to be longer: over 100 Mbit/s that is
/// most of a second, so that what is tried then is rare.
const LATE_AT_LEAST_MAX: u32 = 32;

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
    /// How often in a row the least was late.
    late: u32,
    /// While more is tried, as if the way had become longer: the quickest before.
    tried: Option<u64>,
}

impl Default for Portion {
    fn default() -> Self {
        Portion {
            bytes: REPLICA_PORTION_BYTES_MIN,
            came: 0,
            quickest_ms: u64::MAX,
            answers: 0,
            took_ms: u64::MAX,
            late: 0,
            tried: None,
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
        let bytes = match self.later_ms() {
            ..=QUICK_MS => self.bytes * 2,
            LATE_MS.. => self.bytes / 2,
            _ => self.bytes,
        };
        self.bytes = bytes.clamp(REPLICA_PORTION_BYTES_MIN, REPLICA_PORTION_BYTES_MAX);
        self.answers = 0;
        self.took_ms = u64::MAX;
    }

    /// How much later these answers came than they might.
    fn later_ms(&mut self) -> u64 {
        let later_ms = self.took_ms - self.quickest_ms;
        if later_ms < LATE_MS {
            // More came as quickly as the least did: it was the way.
            self.tried = self.tried.filter(|_| QUICK_MS < later_ms);
            self.late = 0;
        } else if let Some(quickest_ms) = self.tried.take() {
            self.quickest_ms = quickest_ms;
        } else if self.bytes == REPLICA_PORTION_BYTES_MIN {
            self.late += 1;
            if self.late == LATE_AT_LEAST_MAX {
                self.late = 0;
                self.tried = Some(self.quickest_ms);
                self.quickest_ms = self.took_ms;
                return 0;
            }
        }
        later_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for after a while, and how long it and the one before it are under way, over a
    /// cable of so many bytes a millisecond; every `jitter`-th answer is late.
    fn catch_up(bytes_ms: u64, round_trip_ms: u64, jitter: u64) -> (u32, u64) {
        go_on(&mut Portion::default(), 200, (bytes_ms, round_trip_ms, jitter))
    }

    fn go_on(
        portion: &mut Portion,
        answers: u64,
        (bytes_ms, round_trip_ms, jitter): (u64, u64, u64),
    ) -> (u32, u64) {
        let mut took_ms = 0;
        for answer in 1..answers {
            let asked = portion.bytes();
            let under_way = if portion.quickest_ms == u64::MAX { 1 } else { 2 };
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
    fn a_way_that_became_longer_is_filled_too() {
        let mut portion = Portion::default();
        go_on(&mut portion, 500, (118_000, 0, 0));
        let (bytes, _) = go_on(&mut portion, 500, (118_000, 20, 0));
        assert!((128 << 10..=256 << 10).contains(&bytes), "{bytes}");
    }

    #[test]
    fn over_a_thin_cable_more_is_hardly_ever_tried() {
        let mut portion = Portion::default();
        let mut more = 0;
        for _ in 0..10_000 {
            go_on(&mut portion, 2, (11_800, 0, 0));
            more += u32::from(portion.bytes() != REPLICA_PORTION_BYTES_MIN);
        }
        assert!(more < 500, "{more} of 10,000");
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
