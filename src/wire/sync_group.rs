//! `SyncGroup` (14): the leader brings the assignment of a generation, all members fetch theirs.
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! varint i32  generation                    optional    str protocol type
//! str         member id                     optional    str protocol name
//! optional    str group instance id         bytes       assignment
//! optional    str protocol type
//! optional    str protocol name
//! list of     str member id, bytes
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::GROUP_MEMBERS_MAX;
use crate::wire::{ErrorCode, frame};

/// What one member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAssignment<'a> {
    /// The member.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// Its assignment, in the protocol's own form.
    pub assignment: &'a [u8],
}

/// Asks for the own assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// The generation it is for.
    pub generation_id: i32,
    /// Who asks.
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
    /// The protocol type it joined with; must be the group's if it is there.
    pub protocol_type: Option<&'a str>,
    /// The protocol that was chosen; must be the group's if it is there.
    pub protocol_name: Option<&'a str>,
    /// All assignments, from the leader only.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub assignments: Vec<SyncAssignment<'a>>,
}

/// The assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroupResponse<'a> {
    /// `REBALANCE_IN_PROGRESS` when the generation is over already.
    pub error: ErrorCode,
    /// The group's protocol type.
    #[serde(borrow)]
    pub protocol_type: Option<&'a str>,
    /// The protocol that was chosen.
    pub protocol_name: Option<&'a str>,
    /// What the member gets, in the protocol's own form.
    pub assignment: &'a [u8],
}

impl SyncGroupResponse<'_> {
    /// A refusal.
    pub const fn failed(error: ErrorCode) -> SyncGroupResponse<'static> {
        SyncGroupResponse { error, protocol_type: None, protocol_name: None, assignment: &[] }
    }
}
