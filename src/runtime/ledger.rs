//! Who holds how much memory, and whether a frame may be read.
//!
//! A whole frame is reserved before its body is read; until then its bytes stay in the socket.
//! Back-pressure, not the OOM killer, is what a client meets (design.md §3). Answers that their
//! readers do not take are counted too: beyond a quarter of the limit nobody is given much more.
//!
//! **Invariant:** what was reserved is released exactly once, so an idle broker's ledger reads 0.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::Memory;
use crate::broker::metrics::ProcessMetrics;
use crate::limits::{
    BUFFERS_SHARE_OF_MEMORY, FRAME_BYTES_ON_TRUST, SMALL_FRAMES_SHARE, WINDOWS_SHARE_OF_MEMORY,
};
use crate::runtime::buffers::Buffers;

/// The process's memory account.
#[derive(Debug)]
pub struct Ledger {
    /// What frames and the flusher's queue may hold together.
    budget_bytes: u64,
    /// What answers may hold before each connection is given little.
    responses_bytes: u64,
    /// What decompression may hold beside that.
    windows_bytes_max: u64,
    /// What is kept for frames to come. It counts as theirs.
    pub buffers: Buffers,
    metrics: &'static ProcessMetrics,
}

impl Ledger {
    /// An account over `memory.limit`: half of it for requests and what waits for the flusher,
    /// since a frame's buffer and the commit that is built from it exist side by side.
    pub fn new(memory_limit: u64, metrics: &'static ProcessMetrics) -> Ledger {
        let windows_bytes_max = memory_limit / WINDOWS_SHARE_OF_MEMORY;
        let (budget_bytes, responses_bytes) = (memory_limit / 2, memory_limit / 4);
        let buffers_bytes_max = memory_limit / BUFFERS_SHARE_OF_MEMORY;
        let buffers = Buffers::new(buffers_bytes_max, &metrics.memory_buffers_bytes_now);
        Ledger { budget_bytes, responses_bytes, windows_bytes_max, buffers, metrics }
    }

    /// Takes `bytes` for a frame, if they are there. Large frames leave some to small ones.
    pub fn try_reserve_frame(&self, bytes: u64) -> bool {
        let is_small = bytes <= FRAME_BYTES_ON_TRUST as u64;
        let kept_bytes = if is_small { 0 } else { self.budget_bytes / SMALL_FRAMES_SHARE };
        let flusher = self.metrics.memory_flusher_bytes_now.load(Ordering::Relaxed);
        let frames = &self.metrics.memory_frames_bytes_now;
        let take = |idle_bytes: u64| {
            frames.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                // One frame always fits, or a frame of the legal size could wait for ever.
                let taken = held + flusher + idle_bytes + kept_bytes + bytes;
                (held == 0 || taken <= self.budget_bytes).then_some(held + bytes)
            })
        };
        let mut taken = take(self.buffers.kept_bytes());
        if taken.is_err() {
            self.buffers.clear();
            taken = take(self.buffers.kept_bytes());
        }
        if taken.is_err() {
            self.metrics.memory_refused_count.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Gives a frame's bytes back.
    pub fn release_frame(&self, bytes: u64) {
        subtract(&self.metrics.memory_frames_bytes_now, bytes);
    }

    /// Whether so many answers wait for their readers that no connection may add much more.
    pub fn is_crowded(&self) -> bool {
        self.responses_bytes <= self.metrics.memory_responses_bytes_now.load(Ordering::Relaxed)
    }

    /// A connection's answers that wait to be sent take so many bytes now, and took so many before.
    pub fn hold_responses(&self, before: u64, now: u64) {
        let account = &self.metrics.memory_responses_bytes_now;
        account.fetch_add(now, Ordering::Relaxed);
        subtract(account, before);
    }

    /// Bytes went into the flusher's queue.
    pub fn hold_flusher(&self, bytes: u64) {
        self.metrics.memory_flusher_bytes_now.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of the flusher's queue are on disk.
    pub fn release_flusher(&self, bytes: u64) {
        subtract(&self.metrics.memory_flusher_bytes_now, bytes);
    }
}

impl Memory for Ledger {
    fn windows_bytes_max(&self) -> u64 {
        self.windows_bytes_max
    }

    fn try_hold_window(&self, bytes: u64) -> bool {
        let windows = &self.metrics.memory_windows_bytes_now;
        let taken = windows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let held = held.saturating_add(bytes);
            (held <= self.windows_bytes_max).then_some(held)
        });
        if taken.is_err() {
            self.metrics.memory_refused_count.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn release_window(&self, bytes: u64) {
        subtract(&self.metrics.memory_windows_bytes_now, bytes);
    }
}

fn subtract(account: &AtomicU64, bytes: u64) {
    let before = account.fetch_sub(bytes, Ordering::Relaxed);
    debug_assert!(bytes <= before, "released more than was reserved");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_refused_when_the_budget_is_used_and_fits_again_after_release() {
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(1000, metrics);
        assert!(ledger.try_reserve_frame(600), "one frame always fits");
        assert!(!ledger.try_reserve_frame(1));
        ledger.release_frame(600);
        assert!(ledger.try_reserve_frame(300));
        assert!(ledger.try_reserve_frame(200));
        ledger.hold_flusher(100);
        ledger.release_frame(200);
        assert!(!ledger.try_reserve_frame(101), "the flusher's bytes count");
        ledger.release_flusher(100);
        assert!(ledger.try_reserve_frame(101));
        ledger.release_frame(300);
        ledger.release_frame(101);
        assert_eq!(metrics.memory_frames_bytes_now.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn large_frames_leave_room_for_small_ones() {
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(8 << 20, metrics);
        let mut held = 0;
        while ledger.try_reserve_frame(1 << 20) {
            held += 1;
        }
        assert_eq!(held, 3, "of the four that are for frames");
        assert!(!ledger.try_reserve_frame(FRAME_BYTES_ON_TRUST as u64 + 1));
        let mut small = 0;
        while ledger.try_reserve_frame(FRAME_BYTES_ON_TRUST as u64) {
            small += 1;
        }
        assert_eq!(small, 64);
    }

    #[test]
    fn answers_crowd_at_a_quarter_of_the_memory() {
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(1000, metrics);
        ledger.hold_responses(0, 249);
        assert!(!ledger.is_crowded());
        ledger.hold_responses(249, 250);
        assert!(ledger.is_crowded());
        assert!(ledger.try_reserve_frame(500), "requests have their own share");
        ledger.hold_responses(250, 0);
        assert!(!ledger.is_crowded());
        assert_eq!(metrics.memory_responses_bytes_now.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn windows_have_a_share_of_their_own() {
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(1000, metrics);
        assert!(ledger.try_reserve_frame(500), "frames may have their half");
        assert!(ledger.try_hold_window(200));
        assert!(!ledger.try_hold_window(51));
        assert!(!ledger.try_hold_window(u64::MAX));
        assert!(ledger.try_hold_window(50));
        ledger.release_window(250);
        assert!(ledger.try_hold_window(250));
        assert_eq!(metrics.memory_refused_count.load(Ordering::Relaxed), 2);
    }
}
