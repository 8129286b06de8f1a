//! How fast a follower that is not in sync may copy, and how fast a leader gives to such, so that
//! live traffic keeps its share (KIP-73). Kafka bounds what is on a list; here all are bounded that
//! are not in sync, for others are never far behind.

use crate::time::Boot;

/// Bytes a second for one replica; none: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottledRates {
    /// While it follows, and is not in sync.
    pub follower: Option<u64>,
    /// While it leads, to all followers together that are not in sync.
    pub leader: Option<u64>,
}

/// A bucket that holds what one second brings, and may be overdrawn by one answer.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<u64>,
    /// Bytes; what was overdrawn is below zero.
    left: i64,
    at: Boot,
}

impl Throttle {
    pub fn new(rate: Option<u64>, now: Boot) -> Throttle {
        // A rate of nothing would never end.
        let rate = rate.map(|rate| rate.max(1));
        Throttle { rate, left: rate.map_or(0, |rate| rate as i64), at: now }
    }

    /// Whether there is a bound.
    pub fn is_on(&self) -> bool {
        self.rate.is_some()
    }

    /// Another rate from now on. What is owed stays owed.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Boot) {
        self.take(now, 0);
        let owed = self.left.min(0);
        *self = Throttle::new(rate, now);
        if self.rate.is_some() {
            self.left = self.left.saturating_add(owed);
        }
    }

    /// Bytes came.
    pub fn take(&mut self, now: Boot, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let brought = u128::from(now.us_since(self.at)) * u128::from(rate) / 1_000_000;
        let brought = i64::try_from(brought).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(brought).min(rate as i64);
        self.left = self.left.saturating_sub(bytes as i64);
        self.at = now;
    }

    /// When more may be asked for.
    pub fn ready_at(&self) -> Boot {
        match self.rate {
            Some(rate) if self.left < 0 => {
                let owed = self.left.unsigned_abs().saturating_mul(1_000_000) / rate;
                self.at.plus_us(owed.saturating_add(1))
            }
            _ => Boot(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_the_rate_and_no_more_is_saved() {
        let mut throttle = Throttle::new(Some(1000), Boot(0));
        assert_eq!(throttle.ready_at(), Boot(0));
        throttle.take(Boot(60_000_000), 3000);
        assert_eq!(throttle.ready_at(), Boot(62_000_001), "two seconds' worth is owed");
        throttle.take(Boot(61_000_000), 0);
        assert_eq!(throttle.ready_at(), Boot(62_000_001));
        throttle.take(Boot(62_000_001), 0);
        assert_eq!(throttle.ready_at(), Boot(0));
        throttle.take(Boot(62_000_001), 3000);
        throttle.set_rate(Some(500), Boot(62_000_001));
        assert_eq!(throttle.ready_at(), Boot(67_000_002), "2500 bytes are owed");
        throttle.set_rate(None, Boot(62_000_001));
        assert_eq!(throttle.ready_at(), Boot(0));
        assert_eq!(Throttle::new(None, Boot(0)).ready_at(), Boot(0));
    }
}
