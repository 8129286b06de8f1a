//! What a group coordinator writes to `__consumer_offsets` about groups of KIP-848.
//!
//! ```text
//! key      0  i16   kind: 3 group, 4 topics, 5 member, 6 assignment, 7 target of a member,
//!                         8 what a member has, 16 regular expression
//!          2        the structure of that kind; never flexible
//! value    0  i16   version, 0
//!          2        the structure; always flexible
//! no value          the thing is forgotten
//! ```
//!
//! Kafka's own bytes; the authority is Kafka's `group-coordinator/src/main/resources/common/message`.
//! Kind 4 is what Kafka 4.0 wrote where later versions keep a hash: it is known and not looked at.

use alloc::vec::Vec;

use super::error::KafkaError;
use super::versioned;
use crate::ids::{Partition, TopicId};

/// The only version of all values.
const VALUE_VERSION: i16 = 0;

structs! {
    /// The key of what is one in a group: kinds 3, 4 and 6.
    GroupIdKey<'a> {
        [0..] group: &'a str,
    }

    /// The key of what is one in a member: kinds 5, 7 and 8.
    MemberIdKey<'a> {
        [0..] group: &'a str,
        [0..] member_id: &'a str,
    }

    ExpressionKey<'a> {
        [0..] group: &'a str,
        [0..] expression: &'a str,
    }

    ConsumerGroupMetadataValue {
        [0..] epoch: i32,
        /// Of the topics that the members read.
        tag 0 [0..] metadata_hash: i64,
    }

    ConsumerGroupMemberMetadataValue<'a> {
        [0..] instance_id: Option<&'a str>,
        [0..] rack_id: Option<&'a str>,
        [0..] client_id: &'a str,
        [0..] client_host: &'a str,
        [0..] subscribed_topic_names: Vec<&'a str>,
        [0..] subscribed_topic_regex: Option<&'a str>,
        [0..] rebalance_timeout_ms: i32 = -1,
        [0..] server_assignor: Option<&'a str>,
        /// For a member that speaks the classic protocol.
        tag 0 [0..] classic_member_metadata: Option<ClassicMemberMetadata<'a>>,
    }

    ClassicMemberMetadata<'a> {
        [0..] session_timeout_ms: i32,
        [0..] supported_protocols: Vec<ClassicProtocol<'a>>,
    }

    ClassicProtocol<'a> {
        [0..] name: &'a str,
        [0..] metadata: &'a [u8],
    }

    ConsumerGroupTargetAssignmentMetadataValue {
        [0..] assignment_epoch: i32,
        tag 0 [0..] assignment_timestamp: i64,
    }

    ConsumerGroupTargetAssignmentMemberValue {
        [0..] topic_partitions: Vec<StoredPartitions>,
    }

    StoredPartitions {
        [0..] topic_id: TopicId,
        [0..] partitions: Vec<Partition>,
    }

    ConsumerGroupCurrentMemberAssignmentValue {
        [0..] member_epoch: i32,
        [0..] previous_member_epoch: i32,
        /// 0 stable, 1 unrevoked partitions, 2 unreleased partitions.
        [0..] state: i8,
        [0..] assigned_partitions: Vec<StoredPartitions>,
        [0..] partitions_pending_revocation: Vec<StoredPartitions>,
    }

    ConsumerGroupRegularExpressionValue<'a> {
        [0..] topics: Vec<&'a str>,
        [0..] version: i64,
        [0..] timestamp: i64,
    }
}

/// What a record about a group of KIP-848 is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerGroupKey<'a> {
    /// The group: its epoch.
    Group(GroupIdKey<'a>),
    /// Its topics, as Kafka 4.0 kept them.
    Topics(GroupIdKey<'a>),
    /// A member: what it said.
    Member(MemberIdKey<'a>),
    /// The target assignment: its epoch.
    Target(GroupIdKey<'a>),
    /// What a member is to have.
    TargetMember(MemberIdKey<'a>),
    /// What a member has.
    CurrentMember(MemberIdKey<'a>),
    /// The topics that a regular expression stands for.
    Expression(ExpressionKey<'a>),
}

impl<'a> ConsumerGroupKey<'a> {
    /// Reads the key of a record behind its kind; `None` for kinds of others.
    pub(super) fn read(
        kind: i16,
        rest: &'a [u8],
    ) -> Result<Option<ConsumerGroupKey<'a>>, KafkaError> {
        Ok(Some(match kind {
            3 => ConsumerGroupKey::Group(versioned::read(kind, false, rest)?),
            4 => ConsumerGroupKey::Topics(versioned::read(kind, false, rest)?),
            5 => ConsumerGroupKey::Member(versioned::read(kind, false, rest)?),
            6 => ConsumerGroupKey::Target(versioned::read(kind, false, rest)?),
            7 => ConsumerGroupKey::TargetMember(versioned::read(kind, false, rest)?),
            8 => ConsumerGroupKey::CurrentMember(versioned::read(kind, false, rest)?),
            16 => ConsumerGroupKey::Expression(versioned::read(kind, false, rest)?),
            _ => return Ok(None),
        }))
    }

    /// Writes the key.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ConsumerGroupKey::Group(key) => versioned::write(key, 3, false),
            ConsumerGroupKey::Topics(key) => versioned::write(key, 4, false),
            ConsumerGroupKey::Member(key) => versioned::write(key, 5, false),
            ConsumerGroupKey::Target(key) => versioned::write(key, 6, false),
            ConsumerGroupKey::TargetMember(key) => versioned::write(key, 7, false),
            ConsumerGroupKey::CurrentMember(key) => versioned::write(key, 8, false),
            ConsumerGroupKey::Expression(key) => versioned::write(key, 16, false),
        }
    }

    /// The group it is about.
    pub fn group(&self) -> &'a str {
        match self {
            ConsumerGroupKey::Group(key)
            | ConsumerGroupKey::Topics(key)
            | ConsumerGroupKey::Target(key) => key.group,
            ConsumerGroupKey::Member(key)
            | ConsumerGroupKey::TargetMember(key)
            | ConsumerGroupKey::CurrentMember(key) => key.group,
            ConsumerGroupKey::Expression(key) => key.group,
        }
    }
}

/// A value, of the only version there is.
fn decode_value<'a, T: super::Field<'a>>(bytes: &'a [u8]) -> Result<T, KafkaError> {
    let (version, rest) = versioned::split(bytes)?;
    if version != VALUE_VERSION {
        return Err(versioned::unknown(bytes));
    }
    versioned::read(version, true, rest)
}

/// Both directions of a value.
macro_rules! values {
    ($($name:ident $(<$life:lifetime>)?;)*) => { $(
        impl<'a> $name $(<$life>)? {
            /// Reads the value of a record.
            pub fn decode(bytes: &'a [u8]) -> Result<Self, KafkaError> {
                decode_value(bytes)
            }

            /// Writes the value.
            pub fn encode(&self) -> Vec<u8> {
                versioned::write(self, VALUE_VERSION, true)
            }
        }
    )* };
}

values! {
    ConsumerGroupMetadataValue;
    ConsumerGroupMemberMetadataValue<'a>;
    ConsumerGroupTargetAssignmentMetadataValue;
    ConsumerGroupTargetAssignmentMemberValue;
    ConsumerGroupCurrentMemberAssignmentValue;
    ConsumerGroupRegularExpressionValue<'a>;
}

#[cfg(test)]
mod tests {
    use super::super::group_records::GroupKey;
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| {
            let text = core::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(text, 16).expect("hex digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    fn check_key(key: ConsumerGroupKey<'_>, bytes: &str) {
        let bytes = hex(bytes);
        assert_eq!(key.encode(), bytes);
        assert_eq!(key.group(), "g");
        assert_eq!(GroupKey::decode(&bytes), Ok(GroupKey::ConsumerGroup(key)));
    }

    #[test]
    fn keys_have_kafkas_bytes() {
        let group = || GroupIdKey { group: "g" };
        let member = || MemberIdKey { group: "g", member_id: "m" };
        check_key(ConsumerGroupKey::Group(group()), "0003 0001 67");
        check_key(ConsumerGroupKey::Topics(group()), "0004 0001 67");
        check_key(ConsumerGroupKey::Member(member()), "0005 0001 67 0001 6d");
        check_key(ConsumerGroupKey::Target(group()), "0006 0001 67");
        check_key(ConsumerGroupKey::TargetMember(member()), "0007 0001 67 0001 6d");
        check_key(ConsumerGroupKey::CurrentMember(member()), "0008 0001 67 0001 6d");
        let expression = ExpressionKey { group: "g", expression: "a*" };
        check_key(ConsumerGroupKey::Expression(expression), "0010 0001 67 0002 612a");
    }

    #[test]
    fn a_member_has_kafkas_bytes() {
        let mut value = ConsumerGroupMemberMetadataValue {
            instance_id: None,
            rack_id: Some("r"),
            client_id: "c",
            client_host: "/h",
            subscribed_topic_names: Vec::from(["t"]),
            subscribed_topic_regex: None,
            rebalance_timeout_ms: 256,
            server_assignor: Some("range"),
            classic_member_metadata: None,
        };
        let bytes = hex("0000 00 02 72 02 63 03 2f68 02 02 74 00 00000100 06 72616e6765 00");
        assert_eq!(value.encode(), bytes);
        assert_eq!(ConsumerGroupMemberMetadataValue::decode(&bytes), Ok(value.clone()));

        value.classic_member_metadata = Some(ClassicMemberMetadata {
            session_timeout_ms: 10,
            supported_protocols: Vec::from([ClassicProtocol { name: "p", metadata: b"m" }]),
        });
        let bytes = hex("0000 00 02 72 02 63 03 2f68 02 02 74 00 00000100 06 72616e6765
             01 00 0c 01 0000000a 02 02 70 02 6d 00 00");
        assert_eq!(value.encode(), bytes);
        assert_eq!(ConsumerGroupMemberMetadataValue::decode(&bytes), Ok(value));
    }

    #[test]
    fn epochs_and_assignments_have_kafkas_bytes() {
        let mut value = ConsumerGroupMetadataValue { epoch: 5, metadata_hash: 0 };
        assert_eq!(value.encode(), hex("0000 00000005 00"));
        value.metadata_hash = 7;
        let bytes = hex("0000 00000005 01 00 08 0000000000000007");
        assert_eq!(value.encode(), bytes);
        assert_eq!(ConsumerGroupMetadataValue::decode(&bytes), Ok(value));
        // A tag of a later version is skipped.
        let later = hex("0000 00000005 01 01 08 0000000000000007");
        let value = ConsumerGroupMetadataValue { epoch: 5, metadata_hash: 0 };
        assert_eq!(ConsumerGroupMetadataValue::decode(&later), Ok(value));

        let partitions = Vec::from([Partition(0), Partition(2)]);
        let held = Vec::from([StoredPartitions { topic_id: TopicId::METADATA, partitions }]);
        let held_bytes = "02 00000000000000000000000000000001 03 00000000 00000002 00";
        let target = ConsumerGroupTargetAssignmentMemberValue { topic_partitions: held.clone() };
        let bytes = hex(&["0000", held_bytes, "00"].concat());
        assert_eq!(target.encode(), bytes);
        assert_eq!(ConsumerGroupTargetAssignmentMemberValue::decode(&bytes), Ok(target));

        let current = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: 3,
            previous_member_epoch: 2,
            state: 1,
            assigned_partitions: held,
            partitions_pending_revocation: Vec::new(),
        };
        let bytes = hex(&["0000 00000003 00000002 01", held_bytes, "01 00"].concat());
        assert_eq!(current.encode(), bytes);
        assert_eq!(ConsumerGroupCurrentMemberAssignmentValue::decode(&bytes), Ok(current));
    }

    #[test]
    fn expressions_and_target_epochs_have_kafkas_bytes() {
        let value = ConsumerGroupRegularExpressionValue {
            topics: Vec::from(["a"]),
            version: 1,
            timestamp: 2,
        };
        let bytes = hex("0000 02 02 61 0000000000000001 0000000000000002 00");
        assert_eq!(value.encode(), bytes);
        assert_eq!(ConsumerGroupRegularExpressionValue::decode(&bytes), Ok(value));
        let value = ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: 9,
            assignment_timestamp: 0,
        };
        assert_eq!(value.encode(), hex("0000 00000009 00"));
        let unknown = hex("0001 00000009 00");
        assert!(ConsumerGroupTargetAssignmentMetadataValue::decode(&unknown).is_err());
    }
}
