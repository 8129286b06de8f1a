//! What a group coordinator writes to `__consumer_offsets`: committed offsets and classic groups.
//!
//! ```text
//! key      0  i16   kind: 0 and 1 an offset, 2 a classic group
//!          2        the structure of that kind; never flexible
//! value    0  i16   version, 0 to 4; flexible from 4 on
//!          2        the structure of that version
//! no value          the offset or the group is forgotten
//! ```
//!
//! Kafka's own bytes, so that its tools read our directories (`kafka-dump-log --offsets-decoder`)
//! and an imported directory brings its groups. The authority is Kafka's
//! `group-coordinator/src/main/resources/common/message`. Other kinds of keys exist (groups of
//! KIP-848 in `consumer_group_records.rs`, share groups); whoever does not know one skips it.

use alloc::vec::Vec;

use super::consumer_group_records::ConsumerGroupKey;
use super::error::KafkaError;
use super::versioned;
use crate::ids::{LeaderEpoch, Offset, Partition};

/// Kind of an offset's key.
const OFFSET_COMMIT: i16 = 1;

/// The same, as Kafka wrote it long ago.
const OFFSET_COMMIT_OLD: i16 = 0;

/// Kind of a classic group's key.
const GROUP_METADATA: i16 = 2;

/// The last version of both values.
const VALUE_VERSION_MAX: i16 = 4;

/// The first flexible version of both values.
const VALUE_FLEXIBLE_MIN: i16 = 4;

/// What is written: Kafka 2.1 and later read it.
const VALUE_VERSION: i16 = 3;

/// What is written for an offset with a time of its own to expire: no other version has one.
const VALUE_VERSION_EXPIRING: i16 = 1;

structs! {
    OffsetCommitKey<'a> {
        [0..] group: &'a str,
        [0..] topic: &'a str,
        [0..] partition: Partition,
    }

    OffsetCommitValue<'a> {
        [0..]   offset: Offset,
        [3..]   leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..]   metadata: &'a str,
        [0..]   commit_timestamp: i64,
        [1..=1] expire_timestamp: i64 = -1,
    }

    GroupMetadataKey<'a> {
        [0..] group: &'a str,
    }

    GroupMetadataValue<'a> {
        [0..] protocol_type: &'a str,
        [0..] generation: i32,
        [0..] protocol: Option<&'a str>,
        [0..] leader: Option<&'a str>,
        [2..] current_state_timestamp: i64 = -1,
        [0..] members: Vec<MemberMetadata<'a>>,
    }

    MemberMetadata<'a> {
        [0..] member_id: &'a str,
        [3..] group_instance_id: Option<&'a str>,
        [0..] client_id: &'a str,
        [0..] client_host: &'a str,
        /// -1 in version 0, where the session timeout stands for it.
        [1..] rebalance_timeout: i32 = -1,
        [0..] session_timeout: i32,
        [0..] subscription: &'a [u8],
        [0..] assignment: &'a [u8],
    }
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey<'a> {
    /// The committed offset of a partition.
    Offset(OffsetCommitKey<'a>),
    /// A classic group.
    Group(GroupMetadataKey<'a>),
    /// Something of a group of KIP-848.
    ConsumerGroup(ConsumerGroupKey<'a>),
    /// A kind that this version does not know.
    Unknown(i16),
}

impl<'a> GroupKey<'a> {
    /// Reads the key of a record.
    pub fn decode(bytes: &'a [u8]) -> Result<GroupKey<'a>, KafkaError> {
        let (kind, rest) = versioned::split(bytes)?;
        Ok(match kind {
            OFFSET_COMMIT_OLD | OFFSET_COMMIT => {
                GroupKey::Offset(versioned::read(kind, false, rest)?)
            }
            GROUP_METADATA => GroupKey::Group(versioned::read(kind, false, rest)?),
            kind => match ConsumerGroupKey::read(kind, rest)? {
                Some(key) => GroupKey::ConsumerGroup(key),
                None => GroupKey::Unknown(kind),
            },
        })
    }
}

/// A value of whatever version.
fn decode_value<'a, T: super::Field<'a>>(bytes: &'a [u8]) -> Result<T, KafkaError> {
    let (version, rest) = versioned::split(bytes)?;
    if !(0..=VALUE_VERSION_MAX).contains(&version) {
        return Err(versioned::unknown(bytes));
    }
    versioned::read(version, VALUE_FLEXIBLE_MIN <= version, rest)
}

impl OffsetCommitKey<'_> {
    /// Writes the key.
    pub fn encode(&self) -> Vec<u8> {
        versioned::write(self, OFFSET_COMMIT, false)
    }
}

impl<'a> OffsetCommitValue<'a> {
    /// Reads the value of an offset's record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, KafkaError> {
        decode_value(bytes)
    }

    /// Writes the value; one with a time to expire loses its leader epoch, as in Kafka.
    pub fn encode(&self) -> Vec<u8> {
        let is_expiring = 0 <= self.expire_timestamp;
        let version = if is_expiring { VALUE_VERSION_EXPIRING } else { VALUE_VERSION };
        versioned::write(self, version, false)
    }
}

impl GroupMetadataKey<'_> {
    /// Writes the key.
    pub fn encode(&self) -> Vec<u8> {
        versioned::write(self, GROUP_METADATA, false)
    }
}

impl<'a> GroupMetadataValue<'a> {
    /// Reads the value of a group's record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, KafkaError> {
        decode_value(bytes)
    }

    /// Writes the value.
    pub fn encode(&self) -> Vec<u8> {
        versioned::write(self, VALUE_VERSION, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The bytes are those that Kafka 4.3's classes write.

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| {
            let text = core::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(text, 16).expect("hex digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn an_offset_has_kafkas_bytes() {
        let key = OffsetCommitKey { group: "g", topic: "t", partition: Partition(5) };
        let bytes = hex("0001 0001 67 0001 74 00000005");
        assert_eq!(key.encode(), bytes);
        assert_eq!(GroupKey::decode(&bytes), Ok(GroupKey::Offset(key.clone())));
        let old = hex("0000 0001 67 0001 74 00000005");
        assert_eq!(GroupKey::decode(&old), Ok(GroupKey::Offset(key)));

        let mut value = OffsetCommitValue {
            offset: Offset(10),
            leader_epoch: LeaderEpoch(2),
            metadata: "m",
            commit_timestamp: 256,
            expire_timestamp: -1,
        };
        let bytes = hex("0003 000000000000000a 00000002 0001 6d 0000000000000100");
        assert_eq!(value.encode(), bytes);
        assert_eq!(OffsetCommitValue::decode(&bytes), Ok(value.clone()));

        value.expire_timestamp = 512;
        let bytes = hex("0001 000000000000000a 0001 6d 0000000000000100 0000000000000200");
        assert_eq!(value.encode(), bytes);
        value.leader_epoch = LeaderEpoch::NONE;
        assert_eq!(OffsetCommitValue::decode(&bytes), Ok(value.clone()));

        value.expire_timestamp = -1;
        for old in [
            "0000 000000000000000a 0001 6d 0000000000000100",
            "0002 000000000000000a 0001 6d 0000000000000100",
        ] {
            assert_eq!(OffsetCommitValue::decode(&hex(old)), Ok(value.clone()));
        }
        // Version 4 is flexible; what it tags is skipped.
        value.leader_epoch = LeaderEpoch(2);
        for new in [
            "0004 000000000000000a 00000002 02 6d 0000000000000100 00",
            "0004 000000000000000a 00000002 02 6d 0000000000000100 01 00 02 abcd",
        ] {
            assert_eq!(OffsetCommitValue::decode(&hex(new)), Ok(value.clone()));
        }
        assert!(OffsetCommitValue::decode(&hex("0005 00")).is_err(), "an unknown version");
    }

    #[test]
    fn a_group_has_kafkas_bytes() {
        let key = GroupMetadataKey { group: "g" };
        assert_eq!(key.encode(), hex("0002 0001 67"));
        assert_eq!(GroupKey::decode(&hex("0002 0001 67")), Ok(GroupKey::Group(key)));
        assert_eq!(GroupKey::decode(&hex("0009 0001 67")), Ok(GroupKey::Unknown(9)));

        let mut value = GroupMetadataValue {
            protocol_type: "consumer",
            generation: 3,
            protocol: Some("range"),
            leader: Some("c-1"),
            current_state_timestamp: 256,
            members: Vec::from([MemberMetadata {
                member_id: "c-1",
                group_instance_id: None,
                client_id: "c",
                client_host: "/h",
                rebalance_timeout: 60_000,
                session_timeout: 10_000,
                subscription: b"su",
                assignment: b"as",
            }]),
        };
        let bytes = hex("0003 0008 636f6e73756d6572 00000003 0005 72616e6765 0003 632d31
             0000000000000100 00000001 0003 632d31 ffff 0001 63 0002 2f68 0000ea60 00002710
             00000002 7375 00000002 6173");
        assert_eq!(value.encode(), bytes);
        assert_eq!(GroupMetadataValue::decode(&bytes), Ok(value.clone()));

        let newer = hex("0004 09 636f6e73756d6572 00000003 06 72616e6765 04 632d31
             0000000000000100 02 04 632d31 00 02 63 03 2f68 0000ea60 00002710 03 7375 03 6173 00 00");
        assert_eq!(GroupMetadataValue::decode(&newer), Ok(value.clone()));
        let older = hex("0002 0008 636f6e73756d6572 00000003 0005 72616e6765 0003 632d31
             0000000000000100 00000001 0003 632d31 0001 63 0002 2f68 0000ea60 00002710
             00000002 7375 00000002 6173");
        assert_eq!(GroupMetadataValue::decode(&older), Ok(value.clone()));
        value.current_state_timestamp = -1;
        let older = hex("0001 0008 636f6e73756d6572 00000003 0005 72616e6765 0003 632d31
             00000001 0003 632d31 0001 63 0002 2f68 0000ea60 00002710 00000002 7375
             00000002 6173");
        assert_eq!(GroupMetadataValue::decode(&older), Ok(value.clone()));
        value.members[0].rebalance_timeout = -1;
        let oldest = hex("0000 0008 636f6e73756d6572 00000003 0005 72616e6765 0003 632d31
             00000001 0003 632d31 0001 63 0002 2f68 00002710 00000002 7375 00000002 6173");
        assert_eq!(GroupMetadataValue::decode(&oldest), Ok(value));
    }

    #[test]
    fn an_empty_group_has_nulls() {
        let value =
            GroupMetadataValue { protocol_type: "consumer", generation: 4, ..<_>::default() };
        let bytes = hex("0003 0008 636f6e73756d6572 00000004 ffff ffff ffffffffffffffff 00000000");
        assert_eq!(value.encode(), bytes);
        assert_eq!(GroupMetadataValue::decode(&bytes), Ok(value));
    }
}
