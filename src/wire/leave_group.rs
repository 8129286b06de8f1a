//! `LeaveGroup` (13): members leave a group without waiting for their sessions to end.
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! list of                                   list of     varint i16  error code
//!   str       member id
//!   optional  str group instance id
//!   optional  str reason
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::GROUP_MEMBERS_MAX;
use crate::wire::{ErrorCode, frame};

/// A member that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingMember<'a> {
    /// Its id; may be empty where an operator removes a static member.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
    /// Why, for logs.
    pub reason: Option<&'a str>,
}

/// Members that leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// The members; none twice.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub members: Vec<LeavingMember<'a>>,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveGroupResponse {
    /// What went wrong with all of them; the list is then empty.
    pub error: ErrorCode,
    /// One per member, in the order of the request.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub members: Vec<ErrorCode>,
}
