//! The one table of topic-level configuration keys, under Kafka's names.
//!
//! A [`TopicConfig`] is always complete: it starts as the broker's defaults and each key that a
//! topic sets is laid over it. Values cross the wire and the metadata log as text, so [`set`] is
//! the only parser and [`text`] the only printer; for every key `set(key, text(key))` changes
//! nothing. Read Kafka's `TopicConfig` documentation before adding a key.
//!
//! [`set`]: TopicConfig::set
//! [`text`]: TopicConfig::text

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use crate::record::{Compression, TimestampType};

/// What happens to records that are no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are deleted by time and size.
    pub delete: bool,
    /// Only the last record of each key is kept.
    pub compact: bool,
}

/// A share from 0 to 1, in millionths: a configuration must be comparable, and floats are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// Kafka's default of `min.cleanable.dirty.ratio`.
    pub const HALF: Ratio = Ratio(500_000);

    const ONE: u32 = 1_000_000;

    /// The ratio in a text, if it is one.
    pub fn parse(text: &str) -> Option<Ratio> {
        let number: f64 = text.parse().ok()?;
        let is_share = (0.0..=1.0).contains(&number);
        is_share.then(|| Ratio((number * f64::from(Ratio::ONE) + 0.5) as u32))
    }

    /// The share that `part` is of `whole`; 0 of nothing.
    pub fn of(part: u64, whole: u64) -> Ratio {
        let millionths = u128::from(part) * u128::from(Ratio::ONE) / u128::from(whole.max(1));
        Ratio(millionths.min(u128::from(Ratio::ONE)) as u32)
    }

    /// The share in whole percent, rounded down.
    pub fn percent(self) -> u32 {
        self.0 / (Ratio::ONE / 100)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Ratio::ONE, self.0 % Ratio::ONE);
        if rest == 0 {
            return write!(f, "{whole}.0");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A topic's effective configuration; the default is the broker's without any setting.
///
/// Each field bears its key's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `delete`, `compact` or both.
    pub cleanup_policy: CleanupPolicy,
    /// Age at which a segment is deleted; −1 never. At least −1.
    pub retention_ms: i64,
    /// Bytes of a partition above which its oldest segments are deleted; −1 never. At least −1.
    pub retention_bytes: i64,
    /// Size at which a segment is rolled, in [`SEGMENT_BYTES`].
    pub segment_bytes: u32,
    /// Age at which a segment is rolled. At least 1.
    pub segment_ms: i64,
    /// Size of an index at which its segment is rolled.
    pub segment_index_bytes: u32,
    /// Bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// Largest record batch.
    pub max_message_bytes: u32,
    /// Who stamps the records.
    pub message_timestamp_type: TimestampType,
    /// How far behind the broker's clock a record's timestamp may be. At least 0.
    pub message_timestamp_before_max_ms: i64,
    /// How far ahead of the broker's clock a record's timestamp may be. At least 0.
    pub message_timestamp_after_max_ms: i64,
    /// How long a tombstone stays after the round of compaction that met it. At least 0.
    pub delete_retention_ms: i64,
    /// Age at which a record may be compacted. At least 0.
    pub min_compaction_lag_ms: i64,
    /// Age at which a record is compacted, whatever the ratio. At least 1.
    pub max_compaction_lag_ms: i64,
    /// Share of a log's bytes that must be new for it to be compacted.
    pub min_cleanable_dirty_ratio: Ratio,
    /// Compression on disk; `None` keeps the producer's.
    pub compression_type: Option<Compression>,
    /// In-sync replicas that acks=all needs. At least 1.
    pub min_insync_replicas: i32,
    /// Whether acks=all waits for stable storage.
    pub acks_durable: bool,
    /// Longest time until what was appended is synced, where no ack waits for it. At least 0.
    pub flush_ms: i64,
    /// Time between a segment's deletion and the removal of its file. At least 0.
    pub file_delete_delay_ms: i64,
}

/// Legal `segment.bytes`: below 16 KiB a segment costs more than it holds, and positions in a
/// segment are 31 bits wide.
pub const SEGMENT_BYTES: RangeInclusive<i64> = 16 * 1024..=i32::MAX as i64;

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: (1 << 20) + 12,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            delete_retention_ms: 24 * 3_600_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: Ratio::HALF,
            compression_type: None,
            min_insync_replicas: 1,
            acks_durable: true,
            flush_ms: 1000,
            file_delete_delay_ms: 60_000,
        }
    }
}

impl TopicConfig {
    /// Every key, in alphabetical order.
    pub const KEYS: &[&str] = &[
        "acks.durable",
        "cleanup.policy",
        "compression.type",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.ms",
        "index.interval.bytes",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.ms",
    ];

    /// Sets `key` to what `value` says, or leaves everything as it was.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), TopicConfigError> {
        let Some(key) = TopicConfig::KEYS.iter().copied().find(|known| *known == key) else {
            return Err(TopicConfigError::unknown_key(key, TopicConfig::KEYS));
        };
        let value = Value { key, text: value.trim() };
        match key {
            "acks.durable" => self.acks_durable = value.boolean()?,
            "cleanup.policy" => self.cleanup_policy = value.cleanup_policy()?,
            "compression.type" => self.compression_type = value.compression()?,
            "delete.retention.ms" => self.delete_retention_ms = value.integer(0..=i64::MAX)?,
            "file.delete.delay.ms" => self.file_delete_delay_ms = value.integer(0..=i64::MAX)?,
            "flush.ms" => self.flush_ms = value.integer(0..=i64::MAX)?,
            "index.interval.bytes" => self.index_interval_bytes = value.bytes(0)?,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = value.integer(1..=i64::MAX)?,
            "max.message.bytes" => self.max_message_bytes = value.bytes(128)?,
            "message.timestamp.after.max.ms" => {
                self.message_timestamp_after_max_ms = value.integer(0..=i64::MAX)?;
            }
            "message.timestamp.before.max.ms" => {
                self.message_timestamp_before_max_ms = value.integer(0..=i64::MAX)?;
            }
            "message.timestamp.type" => self.message_timestamp_type = value.timestamp_type()?,
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio = value.ratio()?,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = value.integer(0..=i64::MAX)?,
            "min.insync.replicas" => {
                self.min_insync_replicas = value.integer(1..=i64::from(i32::MAX))? as i32;
            }
            "retention.bytes" => self.retention_bytes = value.integer(-1..=i64::MAX)?,
            "retention.ms" => self.retention_ms = value.integer(-1..=i64::MAX)?,
            "segment.bytes" => self.segment_bytes = value.integer(SEGMENT_BYTES)? as u32,
            "segment.index.bytes" => self.segment_index_bytes = value.bytes(1024)?,
            "segment.ms" => self.segment_ms = value.integer(1..=i64::MAX)?,
            _ => unreachable!("every key of KEYS has an arm, as the tests show"),
        }
        Ok(())
    }

    /// Whether the value of `key` is a list of words.
    pub fn is_list(key: &str) -> bool {
        key == "cleanup.policy"
    }

    /// Age at which a segment is rolled: what must be compacted must not stay in the active one.
    pub fn roll_ms(&self) -> i64 {
        if self.cleanup_policy.compact {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// The value of `key` as [`set`](TopicConfig::set) reads it, or `None` for an unknown key.
    pub fn text(&self, key: &str) -> Option<String> {
        Some(match key {
            "acks.durable" => self.acks_durable.to_string(),
            "cleanup.policy" => match self.cleanup_policy {
                CleanupPolicy { delete: true, compact: true } => "compact,delete".to_owned(),
                CleanupPolicy { compact: true, .. } => "compact".to_owned(),
                CleanupPolicy { .. } => "delete".to_owned(),
            },
            "compression.type" => compression_text(self.compression_type).to_owned(),
            "delete.retention.ms" => self.delete_retention_ms.to_string(),
            "file.delete.delay.ms" => self.file_delete_delay_ms.to_string(),
            "flush.ms" => self.flush_ms.to_string(),
            "index.interval.bytes" => self.index_interval_bytes.to_string(),
            "max.compaction.lag.ms" => self.max_compaction_lag_ms.to_string(),
            "max.message.bytes" => self.max_message_bytes.to_string(),
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms.to_string(),
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms.to_string(),
            "message.timestamp.type" => match self.message_timestamp_type {
                TimestampType::CreateTime => "CreateTime".to_owned(),
                TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
            },
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio.to_string(),
            "min.compaction.lag.ms" => self.min_compaction_lag_ms.to_string(),
            "min.insync.replicas" => self.min_insync_replicas.to_string(),
            "retention.bytes" => self.retention_bytes.to_string(),
            "retention.ms" => self.retention_ms.to_string(),
            "segment.bytes" => self.segment_bytes.to_string(),
            "segment.index.bytes" => self.segment_index_bytes.to_string(),
            "segment.ms" => self.segment_ms.to_string(),
            _ => return None,
        })
    }
}

/// Characters of an unknown key that its error repeats.
const KEY_SHOWN_CHARS_MAX: usize = 64;

/// Why a key is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicConfigError {
    /// No such key.
    UnknownKey {
        /// The key as it was given, cut after 64 bytes.
        key: heapless::String<KEY_SHOWN_CHARS_MAX>,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value is of another kind or out of range.
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: Expected,
    },
}

impl TopicConfigError {
    pub(crate) fn unknown_key(key: &str, keys: &[&'static str]) -> TopicConfigError {
        let mut shown = heapless::String::new();
        for character in key.chars().filter(|character| !character.is_control()) {
            if shown.push(character).is_err() {
                break;
            }
        }
        let nearest = nearest_key(key, keys);
        TopicConfigError::UnknownKey { key: shown, nearest }
    }
}

impl fmt::Display for TopicConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicConfigError::UnknownKey { key, nearest: None } => {
                write!(f, "unknown key `{key}`")
            }
            TopicConfigError::UnknownKey { key, nearest: Some(nearest) } => {
                write!(f, "unknown key `{key}`: did you mean `{nearest}`?")
            }
            TopicConfigError::Value { key, expected } => write!(f, "`{key}` takes {expected}"),
        }
    }
}

impl core::error::Error for TopicConfigError {}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `true` or `false`.
    Boolean,
    /// A whole number in a range.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A share, from 0 to 1.
    Ratio,
    /// One of some words.
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Expected::Boolean => f.write_str("true or false"),
            Expected::Integer { min, max: i64::MAX } => {
                write!(f, "a whole number from {min} upwards")
            }
            Expected::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Expected::Ratio => f.write_str("a number from 0 to 1"),
            Expected::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "one of {}", words.join(", "))
            }
        }
    }
}

const CLEANUP_POLICIES: &[&str] = &["delete", "compact", "compact,delete"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const COMPRESSIONS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// A value on its way into the field of its key.
struct Value<'a> {
    key: &'static str,
    text: &'a str,
}

impl Value<'_> {
    fn expected(&self, expected: Expected) -> TopicConfigError {
        TopicConfigError::Value { key: self.key, expected }
    }

    fn boolean(&self) -> Result<bool, TopicConfigError> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.expected(Expected::Boolean)),
        }
    }

    fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, TopicConfigError> {
        match self.text.parse::<i64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(self.expected(Expected::Integer { min: *range.start(), max: *range.end() })),
        }
    }

    /// Bytes within one segment, whose positions are 31 bits wide.
    fn bytes(&self, min: i64) -> Result<u32, TopicConfigError> {
        self.integer(min..=i64::from(i32::MAX)).map(|number| number as u32)
    }

    fn ratio(&self) -> Result<Ratio, TopicConfigError> {
        Ratio::parse(self.text).ok_or_else(|| self.expected(Expected::Ratio))
    }

    fn cleanup_policy(&self) -> Result<CleanupPolicy, TopicConfigError> {
        let mut policy = CleanupPolicy { delete: false, compact: false };
        for word in self.text.split(',') {
            match word.trim() {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return Err(self.expected(Expected::OneOf(CLEANUP_POLICIES))),
            }
        }
        Ok(policy)
    }

    fn compression(&self) -> Result<Option<Compression>, TopicConfigError> {
        Ok(match self.text {
            "producer" => None,
            // Kafka's word for the topic, and its word for the producer.
            "uncompressed" | "none" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            _ => return Err(self.expected(Expected::OneOf(COMPRESSIONS))),
        })
    }

    fn timestamp_type(&self) -> Result<TimestampType, TopicConfigError> {
        match self.text {
            "CreateTime" => Ok(TimestampType::CreateTime),
            "LogAppendTime" => Ok(TimestampType::LogAppendTime),
            _ => Err(self.expected(Expected::OneOf(TIMESTAMP_TYPES))),
        }
    }
}

fn compression_text(compression: Option<Compression>) -> &'static str {
    match compression {
        None => "producer",
        Some(Compression::None) => "uncompressed",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Snappy) => "snappy",
        Some(Compression::Lz4) => "lz4",
        Some(Compression::Zstd) => "zstd",
    }
}

/// Longest key that is compared with the known ones.
const NEAREST_KEY_BYTES_MAX: usize = 64;

/// The key of `keys` that `key` was probably meant to be: the one with the fewest edits, when
/// they are at most a third of it.
pub fn nearest_key<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    if NEAREST_KEY_BYTES_MAX < key.len() {
        return None;
    }
    let (edits, nearest) =
        keys.iter().map(|known| (edit_distance(key, known), *known)).min_by_key(|near| near.0)?;
    (edits * 3 <= nearest.len()).then_some(nearest)
}

/// Insertions, removals, replacements and swaps of neighbours that turn one text into the other,
/// by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, &from) in a.iter().enumerate() {
        let mut line = Vec::with_capacity(b.len() + 1);
        line.push(row + 1);
        for (column, &to) in b.iter().enumerate() {
            let replaced = above[column] + usize::from(from != to);
            let mut edits = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            if 0 < row && 0 < column && from == b[column - 1] && a[row - 1] == to {
                edits = edits.min(before[column - 1] + 1);
            }
            line.push(edits);
        }
        before = core::mem::replace(&mut above, line);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Result<TopicConfig, TopicConfigError> {
        let mut config = TopicConfig::default();
        config.set(key, value).map(|()| config)
    }

    #[test]
    fn every_key_reads_back_what_it_prints() {
        let defaults = TopicConfig::default();
        for key in TopicConfig::KEYS {
            let text = defaults.text(key).expect("every key has a text");
            assert_eq!(set(key, &text).as_ref(), Ok(&defaults), "{key}");
        }
        assert!(TopicConfig::KEYS.is_sorted());
        assert_eq!(defaults.text("no.such.key"), None);
    }

    #[test]
    fn every_key_changes_its_own_text_only() {
        let values = [
            ("acks.durable", "false"),
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "zstd"),
            ("delete.retention.ms", "9"),
            ("file.delete.delay.ms", "1"),
            ("flush.ms", "2"),
            ("index.interval.bytes", "3"),
            ("max.compaction.lag.ms", "10"),
            ("max.message.bytes", "4000"),
            ("message.timestamp.after.max.ms", "5"),
            ("message.timestamp.before.max.ms", "6"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("min.compaction.lag.ms", "11"),
            ("min.insync.replicas", "2"),
            ("retention.bytes", "7"),
            ("retention.ms", "-1"),
            ("segment.bytes", "65536"),
            ("segment.index.bytes", "4096"),
            ("segment.ms", "8"),
        ];
        assert!(values.iter().map(|value| value.0).eq(TopicConfig::KEYS.iter().copied()));
        for (key, value) in values {
            let config = set(key, value).expect("a legal value");
            for other in TopicConfig::KEYS {
                let expected = if *other == key {
                    Some(value.to_owned())
                } else {
                    TopicConfig::default().text(other)
                };
                assert_eq!(config.text(other), expected, "{key}: {other}");
            }
        }
    }

    #[test]
    fn wrong_values_name_what_was_expected() {
        for (key, value, message) in [
            ("acks.durable", "yes", "`acks.durable` takes true or false"),
            ("retention.ms", "-2", "`retention.ms` takes a whole number from -1 upwards"),
            ("retention.ms", "7d", "`retention.ms` takes a whole number from -1 upwards"),
            ("retention.ms", "", "`retention.ms` takes a whole number from -1 upwards"),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "`min.cleanable.dirty.ratio` takes a number from 0 to 1",
            ),
            (
                "segment.bytes",
                "99999999999",
                "`segment.bytes` takes a whole number from 16384 to 2147483647",
            ),
            (
                "cleanup.policy",
                "delete,",
                "`cleanup.policy` takes one of `delete`, `compact`, `compact,delete`",
            ),
            (
                "message.timestamp.type",
                "createtime",
                "`message.timestamp.type` takes one of `CreateTime`, `LogAppendTime`",
            ),
            (
                "compression.type",
                "brotli",
                "`compression.type` takes one of `producer`, `uncompressed`, `gzip`, `snappy`, `lz4`, `zstd`",
            ),
        ] {
            let error = set(key, value).expect_err("an illegal value");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn unknown_keys_name_the_key_that_was_meant() {
        for (key, message) in [
            ("retension.ms", "unknown key `retension.ms`: did you mean `retention.ms`?"),
            ("retention_ms", "unknown key `retention_ms`: did you mean `retention.ms`?"),
            ("segment.sm", "unknown key `segment.sm`: did you mean `segment.ms`?"),
            ("colour", "unknown key `colour`"),
            ("", "unknown key ``"),
        ] {
            let error = set(key, "1").expect_err("no such key");
            assert_eq!(error.to_string(), message);
        }
        let long = "retention.ms".repeat(1000);
        let error = set(&long, "1").expect_err("no such key").to_string();
        assert!(error.len() < 100, "a hostile key is cut: {error}");
    }

    #[test]
    fn ratios_read_as_they_print() {
        for (text, shown) in [("0", "0.0"), ("1", "1.0"), (".5", "0.5"), ("0.000001", "0.000001")] {
            assert_eq!(Ratio::parse(text).expect("a share").to_string(), shown);
        }
        for text in ["", "-0.1", "1.01", "NaN", "inf", "half"] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
        assert_eq!((Ratio::of(1, 3).percent(), Ratio::of(0, 0).percent()), (33, 0));
        assert_eq!(Ratio::of(u64::MAX, u64::MAX), Ratio::of(1, 1));
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "acb", 1)] {
            assert_eq!(edit_distance(a, b), edits, "{a} {b}");
        }
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
