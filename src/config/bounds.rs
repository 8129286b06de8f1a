//! Keys that bound each other: each is legal by itself, but not every one beside every other.
//!
//! The rules are those of Kafka's `GroupCoordinatorConfig`. They are looked at once all sources are
//! read, because a file may set the one and the command line the other.

use std::collections::BTreeMap;

use super::Config;
use super::error::{ConfigError, Place, Problem};

/// Which of two values is the smaller one.
struct Rule {
    key: &'static str,
    other: &'static str,
    is_strict: bool,
    values: fn(&Config) -> (i64, i64),
}

const SESSION: &str = "group.consumer.session.timeout.ms";
const SESSION_MIN: &str = "group.consumer.min.session.timeout.ms";
const SESSION_MAX: &str = "group.consumer.max.session.timeout.ms";
const INTERVAL: &str = "group.consumer.heartbeat.interval.ms";
const INTERVAL_MIN: &str = "group.consumer.min.heartbeat.interval.ms";
const INTERVAL_MAX: &str = "group.consumer.max.heartbeat.interval.ms";

const RULES: &[Rule] = &[
    Rule {
        key: SESSION_MIN,
        other: SESSION,
        is_strict: false,
        values: |c| (c.group_consumer_min_session_timeout_ms.into(), session_of(c)),
    },
    Rule {
        key: SESSION,
        other: SESSION_MAX,
        is_strict: false,
        values: |c| (session_of(c), c.group_consumer_max_session_timeout_ms.into()),
    },
    Rule {
        key: INTERVAL_MIN,
        other: INTERVAL,
        is_strict: false,
        values: |c| (c.group_consumer_min_heartbeat_interval_ms.into(), interval_of(c)),
    },
    Rule {
        key: INTERVAL,
        other: INTERVAL_MAX,
        is_strict: false,
        values: |c| (interval_of(c), c.group_consumer_max_heartbeat_interval_ms.into()),
    },
    Rule {
        key: INTERVAL,
        other: SESSION,
        is_strict: true,
        values: |c| (interval_of(c), session_of(c)),
    },
];

fn session_of(config: &Config) -> i64 {
    config.group_consumer_session_timeout_ms.into()
}

fn interval_of(config: &Config) -> i64 {
    config.group_consumer_heartbeat_interval_ms.into()
}

/// Finds what breaks a rule; `places` says where the keys stand that were set, and the defaults keep
/// all rules.
pub(super) fn check(
    config: &Config,
    places: &BTreeMap<&'static str, Place>,
    errors: &mut Vec<ConfigError>,
) {
    for rule in RULES {
        let (value, bound) = (rule.values)(config);
        let is_kept = if rule.is_strict { value < bound } else { value <= bound };
        if is_kept {
            continue;
        }
        // A value that is too far out is named rather than the bound that it breaks.
        let is_bound = rule.key == SESSION_MIN || rule.key == INTERVAL_MIN;
        let (first, second) =
            if is_bound { (rule.other, rule.key) } else { (rule.key, rule.other) };
        let place = places.get(first).or_else(|| places.get(second));
        let (key, other, is_strict) = (rule.key, rule.other, rule.is_strict);
        errors.push(ConfigError {
            place: place.expect("the defaults break no rule").clone(),
            problem: Problem::OutOfBounds { key, value, other, bound, is_strict },
        });
    }
}
