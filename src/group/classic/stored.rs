//! What is durable of a classic group: the last record about it.

use std::collections::BTreeMap;

use crate::time::Timestamp;
use crate::wire::kafka::group_records::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};

use super::super::writes::Record;
use super::ClassicGroup;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Stored {
    pub protocol_type: Box<str>,
    pub generation: i32,
    pub protocol: Option<Box<str>>,
    pub leader: Option<Box<str>>,
    /// Since when the group was in its state; −1 where that was not written.
    pub state_since: Timestamp,
    pub members: BTreeMap<Box<str>, StoredMember>,
}

/// A member in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct StoredMember {
    pub instance_id: Option<Box<str>>,
    pub client_id: Box<str>,
    pub client_host: Box<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Box<[u8]>,
    pub assignment: Box<[u8]>,
}

impl Stored {
    pub fn of(value: &GroupMetadataValue<'_>) -> Stored {
        let member = |member: &MemberMetadata<'_>| {
            let rebalance_timeout_ms = match member.rebalance_timeout {
                ..0 => member.session_timeout,
                given => given,
            };
            let stored = StoredMember {
                instance_id: member.group_instance_id.map(Into::into),
                client_id: member.client_id.into(),
                client_host: member.client_host.into(),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout,
                subscription: member.subscription.into(),
                assignment: member.assignment.into(),
            };
            (member.member_id.into(), stored)
        };
        Stored {
            protocol_type: value.protocol_type.into(),
            generation: value.generation,
            protocol: value.protocol.map(Into::into),
            leader: value.leader.map(Into::into),
            state_since: Timestamp(value.current_state_timestamp),
            members: value.members.iter().map(member).collect(),
        }
    }
}

/// The record that forgets a group.
pub(in super::super) fn tombstone(group_id: &str) -> Record {
    Record { key: GroupMetadataKey { group: group_id }.encode(), value: None }
}

impl ClassicGroup {
    /// The group as a record, `assignment` being what each member gets.
    pub(super) fn record<'a>(&'a self, assignment: impl Fn(&'a str) -> &'a [u8]) -> Record {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(member_id, member)| MemberMetadata {
            member_id,
            group_instance_id: member.instance_id.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout: member.said.rebalance_timeout_ms,
            session_timeout: member.said.session_timeout_ms,
            subscription: member.said.metadata(protocol),
            assignment: assignment(member_id),
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or_default(),
            generation: self.generation,
            protocol,
            leader: self.leader.as_deref(),
            current_state_timestamp: self.state_since.0,
            members: members.collect(),
        };
        let key = GroupMetadataKey { group: &self.id }.encode();
        Record { key, value: Some(value.encode()) }
    }
}
