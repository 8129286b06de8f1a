//! Configuration of a consumer group of KIP-848: two times, under Kafka's names.
//!
//! The broker has a value of each for all groups (`group.consumer.session.timeout.ms` and
//! `group.consumer.heartbeat.interval.ms`), a group may have its own, and the broker's bounds hold
//! for both. Values cross the wire and the metadata log as text. Reference: Kafka's `GroupConfig`.
//!
//! **Invariant:** an effective session timeout is within its bounds, even if those were wider when
//! the group's own value was set; so is the interval, unless a third of the timeout is less.

use alloc::string::{String, ToString};
use core::ops::RangeInclusive;

use crate::topic_config::{Expected, TopicConfigError};

const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";

/// What holds for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// How often members are told to be heard of; less than `session_timeout_ms`.
    pub heartbeat_interval_ms: i32,
}

/// Within which both must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBounds {
    /// `group.consumer.min.session.timeout.ms` and `group.consumer.max.session.timeout.ms`.
    pub session_timeout_ms: RangeInclusive<i32>,
    /// `group.consumer.min.heartbeat.interval.ms` and `group.consumer.max.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: RangeInclusive<i32>,
}

/// What a group has set itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    session_timeout_ms: Option<i32>,
    heartbeat_interval_ms: Option<i32>,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig { session_timeout_ms: 45_000, heartbeat_interval_ms: 5_000 }
    }
}

impl Default for GroupBounds {
    fn default() -> GroupBounds {
        GroupBounds { session_timeout_ms: 45_000..=60_000, heartbeat_interval_ms: 5_000..=15_000 }
    }
}

impl GroupConfig {
    /// Every key, in alphabetical order.
    pub const KEYS: &[&str] = &[HEARTBEAT_INTERVAL, SESSION_TIMEOUT];

    /// The broker's key that sets `key` for all groups.
    pub fn broker_key(key: &str) -> Option<&'static str> {
        match key {
            HEARTBEAT_INTERVAL => Some("group.consumer.heartbeat.interval.ms"),
            SESSION_TIMEOUT => Some("group.consumer.session.timeout.ms"),
            _ => None,
        }
    }

    /// The value of `key`, or `None` for an unknown key.
    pub fn text(&self, key: &str) -> Option<String> {
        match key {
            HEARTBEAT_INTERVAL => Some(self.heartbeat_interval_ms.to_string()),
            SESSION_TIMEOUT => Some(self.session_timeout_ms.to_string()),
            _ => None,
        }
    }

    /// Whether members that keep to the interval live, or which key is to blame.
    pub fn check(&self, bounds: &GroupBounds) -> Result<(), TopicConfigError> {
        let session = &bounds.session_timeout_ms;
        if !session.contains(&self.session_timeout_ms) {
            return Err(out_of(SESSION_TIMEOUT, *session.start(), *session.end()));
        }
        let interval = &bounds.heartbeat_interval_ms;
        // A member that is heard of only when its session ends has lost it.
        let max = (*interval.end()).min(self.session_timeout_ms - 1);
        if (*interval.start()..=max).contains(&self.heartbeat_interval_ms) {
            return Ok(());
        }
        Err(out_of(HEARTBEAT_INTERVAL, *interval.start(), max))
    }

    fn clamped(self, bounds: &GroupBounds) -> GroupConfig {
        let clamp = |ms: i32, range: &RangeInclusive<i32>| ms.min(*range.end()).max(*range.start());
        let session_timeout_ms = clamp(self.session_timeout_ms, &bounds.session_timeout_ms);
        let interval_ms = clamp(self.heartbeat_interval_ms, &bounds.heartbeat_interval_ms);
        // A member that is heard of less often would be lost with one heartbeat.
        let heartbeat_interval_ms = interval_ms.min((session_timeout_ms / 3).max(1));
        GroupConfig { session_timeout_ms, heartbeat_interval_ms }
    }
}

impl GroupOverrides {
    /// Sets a key, or with `None` takes it back. Bounds are looked at when all is set.
    pub fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), TopicConfigError> {
        let (field, key) = match key {
            HEARTBEAT_INTERVAL => (&mut self.heartbeat_interval_ms, HEARTBEAT_INTERVAL),
            SESSION_TIMEOUT => (&mut self.session_timeout_ms, SESSION_TIMEOUT),
            _ => return Err(TopicConfigError::unknown_key(key, GroupConfig::KEYS)),
        };
        *field = match value.map(str::parse::<i32>) {
            None => None,
            Some(Ok(ms)) if 1 <= ms => Some(ms),
            Some(_) => return Err(out_of(key, 1, i32::MAX)),
        };
        Ok(())
    }

    /// What a group of these has beside the broker's `defaults`.
    pub fn over(&self, defaults: GroupConfig) -> GroupConfig {
        GroupConfig {
            session_timeout_ms: self.session_timeout_ms.unwrap_or(defaults.session_timeout_ms),
            heartbeat_interval_ms: self
                .heartbeat_interval_ms
                .unwrap_or(defaults.heartbeat_interval_ms),
        }
    }

    /// The same as it is in effect.
    pub fn effective(&self, defaults: GroupConfig, bounds: &GroupBounds) -> GroupConfig {
        self.over(defaults).clamped(bounds)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == GroupOverrides::default()
    }
}

fn out_of(key: &'static str, min: i32, max: i32) -> TopicConfigError {
    let expected = Expected::Integer { min: min.into(), max: max.into() };
    TopicConfigError::Value { key, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<GroupConfig, String> {
        let mut own = GroupOverrides::default();
        for (key, value) in pairs {
            own.set(key, Some(value)).map_err(|why| why.to_string())?;
        }
        let config = own.over(GroupConfig::default());
        config.check(&GroupBounds::default()).map_err(|why| why.to_string())?;
        Ok(config)
    }

    #[test]
    fn what_is_set_is_within_kafkas_bounds() {
        let config = set(&[(SESSION_TIMEOUT, "50000"), (HEARTBEAT_INTERVAL, "7000")]);
        let config = config.expect("within the bounds");
        assert_eq!((config.session_timeout_ms, config.heartbeat_interval_ms), (50_000, 7_000));
        for (key, value, message) in [
            (SESSION_TIMEOUT, "44999", "takes a whole number from 45000 to 60000"),
            (SESSION_TIMEOUT, "60001", "takes a whole number from 45000 to 60000"),
            (SESSION_TIMEOUT, "0", "takes a whole number from 1 to 2147483647"),
            (HEARTBEAT_INTERVAL, "4999", "takes a whole number from 5000 to 15000"),
            (HEARTBEAT_INTERVAL, "soon", "takes a whole number from 1 to 2147483647"),
        ] {
            assert_eq!(set(&[(key, value)]), Err(format!("`{key}` {message}")), "{value}");
        }
        let message = "unknown key `consumer.session.ms`: did you mean \
                       `consumer.session.timeout.ms`?";
        assert_eq!(set(&[("consumer.session.ms", "1")]), Err(message.to_owned()));
    }

    #[test]
    fn an_interval_is_less_than_the_session() {
        let bounds = GroupBounds { session_timeout_ms: 1..=10, heartbeat_interval_ms: 1..=10 };
        let config = GroupConfig { session_timeout_ms: 9, heartbeat_interval_ms: 9 };
        let expected = Err("`consumer.heartbeat.interval.ms` takes a whole number from 1 to 8");
        assert_eq!(
            config.check(&bounds).map_err(|why| why.to_string()),
            expected.map_err(String::from)
        );
        let near = GroupConfig { heartbeat_interval_ms: 8, ..config };
        near.check(&bounds).expect("less than the session");
        let effective = GroupOverrides::default().effective(near, &bounds);
        assert_eq!(effective.heartbeat_interval_ms, 3, "two may be lost");
    }

    #[test]
    fn bounds_that_became_narrower_hold_for_what_was_set_before() {
        let mut own = GroupOverrides::default();
        own.set(SESSION_TIMEOUT, Some("50000")).expect("a number");
        let bounds = GroupBounds { session_timeout_ms: 10..=20, heartbeat_interval_ms: 2..=3 };
        let effective = own.effective(GroupConfig::default(), &bounds);
        let expected = GroupConfig { session_timeout_ms: 20, heartbeat_interval_ms: 3 };
        assert_eq!(effective, expected);
        own.set(SESSION_TIMEOUT, None).expect("a key");
        assert!(own.is_empty());
    }
}
