//! The clocks: the only place that asks what time it is.

use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::{Boot, Now, Timestamp};

/// A wall clock before this (2026-01-01) was never set: boards without a battery start in 1970.
const WALL_MS_MIN: i64 = 1_767_225_600_000;

/// The newest time that any log dir of this process has written down.
static FLOOR_MS: AtomicI64 = AtomicI64::new(WALL_MS_MIN);

/// The present.
pub fn now() -> Now {
    let wall = Timestamp(millis(clock_gettime(ClockId::Realtime)));
    Now { boot: boot(), wall, wall_trusted: FLOOR_MS.load(Ordering::Relaxed) <= wall.0 }
}

/// A wall clock that shows an earlier time than this one is wrong.
pub fn distrust_before(newest: Timestamp) {
    FLOOR_MS.fetch_max(newest.0, Ordering::Relaxed);
}

/// The present for deadlines alone.
pub fn boot() -> Boot {
    let time = clock_gettime(ClockId::Boottime);
    Boot(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}
