//! Identifiers: newtypes, so that an offset is never taken for a count or a node for a partition.
//!
//! Sizes are those of Kafka's protocol (`i64` offsets, `i32` partitions and epochs, 16-byte
//! uuids), never `usize`: 32-bit boards read what 64-bit boards wrote. Read semantics.md rows 5
//! and 9 before editing.

use core::fmt;
use heapless::String as Name;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;

/// Position of a record in a partition. The `end` of a range of offsets is exclusive.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);

    /// The offset after this one, or `None` at the end of the offset space.
    pub const fn next(self) -> Option<Offset> {
        match self.0.checked_add(1) {
            Some(next) => Some(Offset(next)),
            None => None,
        }
    }

    /// This offset moved by `count` records, or `None` beyond the offset space.
    pub const fn checked_add(self, count: i64) -> Option<Offset> {
        match self.0.checked_add(count) {
            Some(sum) => Some(Offset(sum)),
            None => None,
        }
    }

    /// How many offsets lie from `from` to this one; negative when `from` is later.
    pub const fn since(self, from: Offset) -> i64 {
        self.0.wrapping_sub(from.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Fencing number of a partition's leadership; it rises by one at each boot and each election.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// Kafka's "no epoch known": a request without fencing.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// The epoch after this one, or `None` when the number space is used up.
    pub const fn next(self) -> Option<LeaderEpoch> {
        match self.0.checked_add(1) {
            Some(next) => Some(LeaderEpoch(next)),
            None => None,
        }
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a partition within its topic, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Partition(pub i32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a broker, unique in its cluster (`broker.id`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub i32);

impl NodeId {
    /// Kafka's "nobody": a partition without a leader, a cluster without a controller.
    pub const NONE: NodeId = NodeId(-1);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 128-bit identifier, printed as Kafka prints uuids: URL-safe base64 without padding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Uuid(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Length of a printed [`Uuid`].
pub const UUID_TEXT_CHARS: usize = 22;

impl Uuid {
    /// The uuid that stands for "none".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// A version 4 uuid from 16 random bytes.
    pub const fn from_random(mut bytes: [u8; 16]) -> Uuid {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    /// Reads the 22 characters that `Display` writes.
    pub fn parse(text: &str) -> Option<Uuid> {
        if text.len() != UUID_TEXT_CHARS {
            return None;
        }
        let mut value: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = BASE64_URL.iter().position(|&symbol| symbol == byte)? as u128;
            // 22 digits hold 132 bits: the last digit carries only two.
            value = if place + 1 == UUID_TEXT_CHARS {
                if digit & 0x0f != 0 {
                    return None;
                }
                (value << 2) | (digit >> 4)
            } else {
                (value << 6) | digit
            };
        }
        Some(Uuid(value.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for place in 0..UUID_TEXT_CHARS {
            let digit = if place + 1 == UUID_TEXT_CHARS {
                (value & 0x3) << 4
            } else {
                value >> (122 - 6 * place)
            };
            let symbol = BASE64_URL[(digit & 0x3f) as usize];
            write!(f, "{}", symbol as char)?;
        }
        Ok(())
    }
}

/// Identity of a topic; a topic made again under the same name has another one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// The id of `__cluster_metadata`, fixed as in Kafka.
    pub const METADATA: TopicId = TopicId(Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition, named by its topic's identity: what the core keys by.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TopicPartition {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition within it.
    pub partition: Partition,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

/// Why a topic name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    /// No characters at all.
    Empty,
    /// More than [`limits::TOPIC_NAME_CHARS_MAX`] characters.
    TooLong,
    /// `.` or `..`: a directory would be named so.
    Dots,
    /// A character outside `[a-zA-Z0-9._-]`.
    Character,
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic name must not be empty",
            Self::TooLong => "a topic name has at most 249 characters",
            Self::Dots => "a topic name must not be `.` or `..`",
            Self::Character => "a topic name holds only letters, digits, `.`, `_` and `-`",
        })
    }
}

/// A legal topic name: `[a-zA-Z0-9._-]{1,249}`, neither `.` nor `..` (semantics.md row 5). What is
/// not, does not decode either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicName(Name<{ limits::TOPIC_NAME_CHARS_MAX }>);

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicName, D::Error> {
        let name = Name::<{ limits::TOPIC_NAME_CHARS_MAX }>::deserialize(deserializer)?;
        TopicName::new(&name).map_err(D::Error::custom)
    }
}

impl TopicName {
    /// Checks `name` and keeps it.
    pub fn new(name: &str) -> Result<TopicName, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !name.bytes().all(legal) {
            return Err(TopicNameError::Character);
        }
        Name::try_from(name).map(TopicName).map_err(|()| TopicNameError::TooLong)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether clients see the topic as internal (`__consumer_offsets` and its kin).
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }

    /// Whether two names differ only in `.` against `_`, which would clash in metric names.
    pub fn collides_with(&self, other: &TopicName) -> bool {
        let same = |a: u8, b: u8| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
        self.0.len() == other.0.len()
            && self.0.bytes().zip(other.0.bytes()).all(|(a, b)| same(a, b))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{self, StrDeserializer};
    extern crate std;
    use std::string::{String, ToString};

    #[test]
    fn a_name_that_is_a_path_does_not_decode() {
        let read = |name: &str| {
            let text: StrDeserializer<'_, value::Error> = name.into_deserializer();
            TopicName::deserialize(text)
        };
        for name in ["", "..", "../../x", "a/b", &"x".repeat(250)] {
            assert!(read(name).is_err(), "{name}");
        }
        let name = read("host.vmstat").expect("legal");
        assert_eq!(name.as_str(), "host.vmstat");
    }

    #[test]
    fn uuid_prints_as_kafka_does_and_reads_back() {
        // Kafka's METADATA_TOPIC_ID and its text, from `kafka-topics --describe`.
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        for seed in 0..64u8 {
            let uuid = Uuid::from_random([seed.wrapping_mul(37); 16]);
            let text = uuid.to_string();
            assert_eq!(text.len(), UUID_TEXT_CHARS);
            assert_eq!(Uuid::parse(&text), Some(uuid));
        }
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAA*"), None);
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAB"), None, "stray low bits");
        assert_eq!(Uuid::parse("short"), None);
    }

    #[test]
    fn topic_names_follow_row_5() {
        for good in ["a", "host.vmstat", "A-b_C.9", "..."] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        let long: String = core::iter::repeat_n('x', 250).collect();
        for (bad, why) in [
            ("", TopicNameError::Empty),
            (".", TopicNameError::Dots),
            ("..", TopicNameError::Dots),
            ("a/b", TopicNameError::Character),
            ("a b", TopicNameError::Character),
            ("é", TopicNameError::Character),
            ("a\0", TopicNameError::Character),
            (long.as_str(), TopicNameError::TooLong),
        ] {
            assert_eq!(TopicName::new(bad), Err(why), "{bad}");
        }
        assert!(TopicName::new(&long[..249]).is_ok());
    }

    #[test]
    fn dots_and_underscores_collide() {
        let name = |text| TopicName::new(text).expect("legal");
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
        assert!(!name("a.b").collides_with(&name("a.bc")));
    }
}
