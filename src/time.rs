//! Time as a plain value. Nothing in the core asks a clock: `Now` is an argument.
//!
//! **Invariant:** deadlines, timeouts and ages of running things use [`Boot`], which never steps.
//! The wall clock decides nothing but record timestamps, and retention only while it is trusted
//! (design.md §3, reliability.md S9).

use core::ops::Add;
use serde::{Deserialize, Serialize};

/// Microseconds since the machine booted, time asleep included (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

impl Boot {
    /// The instant that never comes.
    pub const NEVER: Boot = Boot(u64::MAX);

    /// This instant moved by `ms` milliseconds, stopping at [`Boot::NEVER`].
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Boot {
        Boot(self.0.saturating_add(ms.saturating_mul(1000)))
    }

    /// This instant moved by `us` microseconds, stopping at [`Boot::NEVER`].
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Boot {
        Boot(self.0.saturating_add(us))
    }

    /// Microseconds from `earlier` to this instant, 0 when `earlier` is later.
    pub const fn us_since(self, earlier: Boot) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds from `earlier` to this instant, 0 when `earlier` is later.
    pub const fn ms_since(self, earlier: Boot) -> u64 {
        self.us_since(earlier) / 1000
    }
}

/// Milliseconds since 1970 on the wall clock: what records carry.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Kafka's "no timestamp".
    pub const NONE: Timestamp = Timestamp(-1);
}

impl Add<i64> for Timestamp {
    type Output = Timestamp;

    fn add(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}

/// The present, as the shell saw it at the start of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub boot: Boot,
    /// For record timestamps.
    pub wall: Timestamp,
    /// Whether the wall clock is plausible: not before the build, nor behind the last persisted
    /// time. Retention by time rests on it.
    pub wall_trusted: bool,
}
