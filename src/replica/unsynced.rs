//! What a follower has copied and its disk has not synced.
//!
//! One sync of a segment writes all that is dirty of it, and whoever waits for storage, of whatever
//! partition, waits for that. Without a bound here a board that was away holds the acks of all
//! topics up for as long as its card takes to write what its memory holds: seconds.
//!
//! The bound begins low, doubles while it is made use of and syncs are quick, and is halved when one
//! is slow: a board that was away copies all its partitions at once, and none of them knows of the
//! others. What is slow goes by the quickest sync, for a card, or `flush.linger.ms`, may take its
//! time whatever there is to write.
//!
//! **Invariant:** the bound is between its limits; nothing that is durable counts.

use std::collections::VecDeque;

use crate::ids::Offset;
use crate::limits::{
    REPLICA_FETCHES_MAX, REPLICA_UNSYNCED_BYTES_MAX, REPLICA_UNSYNCED_BYTES_MIN,
    REPLICA_UNSYNCED_MS,
};
use crate::time::Boot;

/// What one fetch brought.
#[derive(Debug)]
struct Share {
    at: Boot,
    /// Where the log ended behind it.
    end: Offset,
    bytes: u64,
}

/// How much of it there is, and how much there may be.
#[derive(Debug)]
pub(super) struct Unsynced {
    /// Oldest first.
    copied: VecDeque<Share>,
    bytes: u64,
    bytes_max: u64,
    /// The quickest sync so far.
    quickest_ms: u64,
}

impl Default for Unsynced {
    fn default() -> Self {
        Unsynced {
            copied: VecDeque::new(),
            bytes: 0,
            bytes_max: REPLICA_UNSYNCED_BYTES_MIN,
            quickest_ms: u64::MAX,
        }
    }
}

impl Unsynced {
    /// So many bytes were appended, up to there.
    pub fn add(&mut self, at: Boot, end: Offset, bytes: u64) {
        self.copied.push_back(Share { at, end, bytes });
        self.bytes += bytes;
    }

    /// All before this is durable. How long that took says how much the disk can do.
    pub fn forget(&mut self, now: Boot, durable_end: Offset) {
        let is_used = self.bytes_max / 2 <= self.bytes;
        let mut took_ms = None;
        while let Some(oldest) = self.copied.front().filter(|oldest| oldest.end <= durable_end) {
            took_ms.get_or_insert(now.ms_since(oldest.at));
            self.bytes -= oldest.bytes;
            self.copied.pop_front();
        }
        let Some(took_ms) = took_ms else { return };
        self.quickest_ms = self.quickest_ms.min(took_ms);
        let allowed_ms = REPLICA_UNSYNCED_MS.max(self.quickest_ms.saturating_mul(2));
        let quick_ms = (allowed_ms / 2).max(self.quickest_ms.saturating_mul(3) / 2);
        let bytes_max = if allowed_ms < took_ms {
            self.bytes_max / 2
        } else if is_used && took_ms < quick_ms {
            self.bytes_max * 2
        } else {
            return;
        };
        self.bytes_max = bytes_max.clamp(REPLICA_UNSYNCED_BYTES_MIN, REPLICA_UNSYNCED_BYTES_MAX);
    }

    /// Another leader is followed, or the same one anew: by then the disk may have more to do.
    pub fn begin_anew(&mut self) {
        self.bytes_max = REPLICA_UNSYNCED_BYTES_MIN;
        self.quickest_ms = u64::MAX;
    }

    /// It was cut off.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.bytes = 0;
    }

    /// Whether no more is to be asked for.
    pub fn is_much(&self) -> bool {
        self.bytes_max <= self.bytes
    }

    /// How much of `most` to ask for at once: what is under way is no more than what may lie here.
    pub fn fetch_bytes(&self, most: u32) -> u32 {
        let share = self.bytes_max / REPLICA_FETCHES_MAX as u64;
        u32::try_from(share).unwrap_or(u32::MAX).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const ASKED: u32 = 256 << 10;

    /// Copies partitions as fast as may be, to a disk that takes `ms` for a MiB; answers how much lay
    /// there at most, how much once the disk is known, and what is asked for at once by then. A sync
    /// of nothing takes `least_ms`.
    fn copy_to(ms: u64, least_ms: u64, partition_count: usize) -> (u64, u64, u32) {
        let mut partitions: Vec<Unsynced> = Vec::new();
        partitions.resize_with(partition_count, Unsynced::default);
        let (mut now, mut end) = (Boot(0), 0);
        let (mut most, mut last) = (0, 0);
        for _ in 0..50 {
            for unsynced in &mut partitions {
                while !unsynced.is_much() {
                    end += 1;
                    unsynced.add(now, Offset(end), u64::from(unsynced.fetch_bytes(ASKED)));
                }
            }
            last = partitions.iter().map(|unsynced| unsynced.bytes).sum();
            most = most.max(last);
            // One sync writes all that is there.
            now = now.plus_ms(least_ms + ms * last / MIB);
            for unsynced in &mut partitions {
                unsynced.forget(now, Offset(end));
                assert_eq!(unsynced.bytes, 0);
            }
        }
        (most, last, partitions[0].fetch_bytes(ASKED))
    }

    #[test]
    fn a_disk_that_keeps_up_gets_what_it_can_do() {
        assert_eq!(copy_to(1, 0, 1), (4 * MIB, 4 * MIB, ASKED));
    }

    #[test]
    fn a_slow_card_holds_nobody_up_for_long() {
        // 30 MB/s: 2 MiB are 66 ms.
        assert_eq!(copy_to(33, 0, 1), (2 * MIB, 2 * MIB, ASKED));
        assert_eq!(copy_to(1000, 0, 1), (MIB / 16, MIB / 16, 32 << 10));
        // A hundred partitions at once.
        assert_eq!(copy_to(33, 0, 100), (100 * MIB / 16, 100 * MIB / 16, 32 << 10));
    }

    #[test]
    fn where_each_sync_takes_long_it_is_worth_it() {
        assert_eq!(copy_to(33, 200, 1), (4 * MIB, 4 * MIB, ASKED));
    }

    #[test]
    fn a_bound_that_is_not_reached_does_not_grow() {
        let mut unsynced = Unsynced::default();
        for end in 1..100 {
            unsynced.add(Boot(0), Offset(end), 100);
            unsynced.forget(Boot(0), Offset(end));
        }
        assert_eq!(unsynced.bytes_max, REPLICA_UNSYNCED_BYTES_MIN);
    }

    #[test]
    fn what_is_cut_off_is_waited_for_no_more() {
        let mut unsynced = Unsynced::default();
        unsynced.add(Boot(0), Offset(5), 4 * MIB);
        assert!(unsynced.is_much());
        unsynced.forget(Boot(0), Offset(4));
        assert!(unsynced.is_much());
        unsynced.clear();
        assert!(!unsynced.is_much());
    }
}
