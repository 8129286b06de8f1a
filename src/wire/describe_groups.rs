//! `DescribeGroups` (15): classic groups and their members.
//!
//! ```text
//! request                                   response
//! list of     str group id                  list of     groups
//!                                             varint i16  error code
//!                                             varint      state (list_groups.rs)
//!                                             str         protocol type
//!                                             str         protocol name
//!                                             list of     members
//!                                               str         member id
//!                                               optional    str group instance id
//!                                               str         client id
//!                                               str         client host
//!                                               bytes       metadata
//!                                               bytes       assignment
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::{GROUP_MEMBERS_MAX, REQUEST_GROUPS_MAX};
use crate::wire::list_groups::GroupState;
use crate::wire::{ErrorCode, frame};

/// Asks about groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeGroupsRequest<'a> {
    /// The groups.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<&'a str>,
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedMember<'a> {
    /// Its id.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
    /// As its connection said.
    pub client_id: &'a str,
    /// Where it connects from, with a `/` before it, as Kafka has it.
    pub client_host: &'a str,
    /// What it says to the chosen protocol; empty while there is none.
    pub metadata: &'a [u8],
    /// What it was assigned, in the protocol's own form.
    pub assignment: &'a [u8],
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedGroup<'a> {
    /// `GROUP_ID_NOT_FOUND` where there is no such classic group.
    pub error: ErrorCode,
    /// What it is doing.
    pub state: GroupState,
    /// What kind of members it has: `consumer`.
    #[serde(borrow)]
    pub protocol_type: &'a str,
    /// The protocol that was chosen, if one was.
    pub protocol_name: &'a str,
    /// Its members, ascending by id.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub members: Vec<DescribedMember<'a>>,
}

impl DescribedGroup<'_> {
    /// The answer where there is nothing to describe.
    pub const fn failed(error: ErrorCode) -> DescribedGroup<'static> {
        DescribedGroup {
            error,
            state: GroupState::Dead,
            protocol_type: "",
            protocol_name: "",
            members: Vec::new(),
        }
    }
}

/// One answer per group, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeGroupsResponse<'a> {
    /// See [`DescribedGroup`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<DescribedGroup<'a>>,
}
