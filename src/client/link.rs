//! What a client's thread keeps for each broker, and how long it leaves a broker alone that failed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::net::Connection;
use crate::client::partitioner::Random;

/// Kafka's `reconnect.backoff.max.ms` is twenty times its `reconnect.backoff.ms`.
const RECONNECT_GROWTH_MAX: u32 = 20;

/// One broker; `R` is what is remembered of a request in flight.
#[derive(Debug)]
pub(super) struct Link<R> {
    /// `HOST:PORT`; empty until the metadata names it.
    pub address: String,
    pub connection: Option<Connection>,
    pub is_dialing: bool,
    pub failure_count: u32,
    /// Not before: the last attempt failed, or the broker asked for a pause.
    pub rests_until: Option<Instant>,
    pub in_flight: VecDeque<R>,
}

impl<R> Default for Link<R> {
    fn default() -> Self {
        Link {
            address: String::new(),
            connection: None,
            is_dialing: false,
            failure_count: 0,
            rests_until: None,
            in_flight: VecDeque::new(),
        }
    }
}

impl<R> Link<R> {
    pub fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    pub fn can_send(&self, now: Instant, in_flight_max: usize) -> bool {
        let is_free = self.connection.as_ref().is_some_and(|one| !one.wants_write());
        is_free && self.in_flight.len() < in_flight_max && !self.is_resting(now)
    }

    /// Whether the caller shall connect now.
    pub fn begin_dial(&mut self, now: Instant) -> bool {
        let is_due = self.connection.is_none() && !self.is_dialing && !self.is_resting(now);
        self.is_dialing |= is_due;
        is_due
    }

    /// Leaves the broker alone for a while, longer each time.
    pub fn rest(&mut self, now: Instant, first: Duration, random: &mut Random) {
        let max = first * RECONNECT_GROWTH_MAX;
        let pause = backoff(first, max, self.failure_count, random);
        self.failure_count = self.failure_count.saturating_add(1);
        self.rests_until = Some(now + pause);
    }
}

/// The pause before attempt `tries` + 2: `first` · 2^`tries`, at most `max`, give or take a fifth.
pub(super) fn backoff(first: Duration, max: Duration, tries: u32, random: &mut Random) -> Duration {
    let pause = first.saturating_mul(1u32.checked_shl(tries.min(20)).unwrap_or(u32::MAX)).min(max);
    let percent = 80 + random.below(41) as u32;
    pause * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    /// semantics.md row 77: growing gaps, a cap, jitter of a fifth.
    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut random = Random::new();
        let (first, max) = (Duration::from_millis(100), Duration::from_millis(1000));
        for (tries, expected) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (99, 1000)] {
            for _ in 0..50 {
                let pause = backoff(first, max, tries, &mut random).as_millis();
                let range = expected * 80 / 100..=expected * 120 / 100;
                assert!(range.contains(&pause), "{tries}: {pause}");
            }
        }
    }
}
