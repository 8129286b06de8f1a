//! `JoinGroup` (11): a member of a classic group asks for a place in the next generation.
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! varint i32  session timeout, ms           varint i32  generation
//! varint i32  rebalance timeout, ms; -1     optional    str protocol type
//! str         member id, "" at first        optional    str protocol name
//! optional    str group instance id         str         leader's member id
//! str         protocol type                 bool        skip the assignment
//! list of     str name, bytes metadata      str         member id
//! optional    str reason                    list of
//! bool        needs a known member id         str         member id
//! bool        can skip the assignment         optional    str group instance id
//!                                             bytes       metadata
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::{GROUP_MEMBERS_MAX, JOIN_PROTOCOLS_MAX};
use crate::wire::{ErrorCode, frame};

/// A way to assign partitions that a member knows, and what it says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinProtocol<'a> {
    /// Its name, as `range`.
    #[serde(borrow)]
    pub name: &'a str,
    /// The member's subscription, in the protocol's own form.
    pub metadata: &'a [u8],
}

/// Asks for a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// Without a heartbeat for so long the member is taken for dead.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member to come back; −1: the session timeout.
    pub rebalance_timeout_ms: i32,
    /// Given by the coordinator; empty for a new member.
    pub member_id: &'a str,
    /// A name that outlives the process: a static member.
    pub group_instance_id: Option<&'a str>,
    /// What kind of group it is: `consumer`.
    pub protocol_type: &'a str,
    /// The protocols the member knows, the most wanted first.
    #[serde(deserialize_with = "frame::list::<JOIN_PROTOCOLS_MAX, _, _>")]
    pub protocols: Vec<JoinProtocol<'a>>,
    /// Why it joins, for logs.
    pub reason: Option<&'a str>,
    /// Whether a new dynamic member is told its id and must come back with it (KIP-394).
    pub needs_known_member_id: bool,
    /// Whether a leader that comes back understands `skip_assignment` (KIP-814).
    pub can_skip_assignment: bool,
}

/// A member, told to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedMember<'a> {
    /// Its id.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
    /// What it says to the chosen protocol.
    pub metadata: &'a [u8],
}

/// The place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroupResponse<'a> {
    /// `MEMBER_ID_REQUIRED` comes with a `member_id` to join again with.
    pub error: ErrorCode,
    /// The generation, −1 on an error.
    pub generation_id: i32,
    /// As in the request.
    #[serde(borrow)]
    pub protocol_type: Option<&'a str>,
    /// The protocol that was chosen.
    pub protocol_name: Option<&'a str>,
    /// The member that assigns.
    pub leader: &'a str,
    /// The leader need not assign: the assignment of this generation stands.
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: &'a str,
    /// All members, for the leader only.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub members: Vec<JoinedMember<'a>>,
}

impl<'a> JoinGroupResponse<'a> {
    /// A refusal; `member_id` is the one to use from now on.
    pub const fn failed(error: ErrorCode, member_id: &'a str) -> JoinGroupResponse<'a> {
        JoinGroupResponse {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "",
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}
