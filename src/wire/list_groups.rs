//! `ListGroups` (16): the groups that a broker coordinates.
//!
//! ```text
//! request                                   response
//! list of     states, all if empty          varint i16  error code
//! list of     kinds, all if empty           list of
//!                                             str         group id
//!                                             str         protocol type
//!                                             varint      state
//!                                             varint      kind
//!
//! state: 0 Empty, 1 PreparingRebalance, 2 CompletingRebalance, 3 Stable, 4 Dead, 5 Assigning,
//!        6 Reconciling                      kind: 0 Classic, 1 Consumer
//! ```

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::limits::{GROUP_FILTERS_MAX, GROUPS_LISTED_MAX};
use crate::wire::{ErrorCode, frame};

/// What a group is doing. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// It has no members, perhaps offsets.
    Empty,
    /// Classic: members are joining.
    PreparingRebalance,
    /// Classic: all have joined, the leader is assigning.
    CompletingRebalance,
    /// All members have what they should have.
    Stable,
    /// It is gone.
    Dead,
    /// KIP-848: a new target assignment is being made.
    Assigning,
    /// KIP-848: members are moving to the target assignment.
    Reconciling,
}

impl GroupState {
    /// Every state.
    pub const ALL: [GroupState; 7] = [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
        GroupState::Dead,
        GroupState::Assigning,
        GroupState::Reconciling,
    ];

    /// The name that Kafka's tools show.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
        }
    }

    /// The state of a name, in whatever case.
    pub fn parse(name: &str) -> Option<GroupState> {
        GroupState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By which protocol a group works. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupKind {
    /// Members assign: `JoinGroup`, `SyncGroup`, `Heartbeat`.
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

impl GroupKind {
    /// Every kind.
    pub const ALL: [GroupKind; 2] = [GroupKind::Classic, GroupKind::Consumer];

    /// The name that Kafka's tools show.
    pub const fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "Classic",
            GroupKind::Consumer => "Consumer",
        }
    }

    /// The kind of a name, in whatever case.
    pub fn parse(name: &str) -> Option<GroupKind> {
        GroupKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Asks for groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListGroupsRequest {
    /// Only those in one of these states; empty for all.
    #[serde(deserialize_with = "frame::list::<GROUP_FILTERS_MAX, _, _>")]
    pub states: Vec<GroupState>,
    /// Only those of one of these kinds; empty for all.
    #[serde(deserialize_with = "frame::list::<GROUP_FILTERS_MAX, _, _>")]
    pub kinds: Vec<GroupKind>,
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGroup<'a> {
    /// Its id.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// What kind of members it has: `consumer`; empty where it only has offsets.
    pub protocol_type: &'a str,
    /// What it is doing.
    pub state: GroupState,
    /// By which protocol.
    pub kind: GroupKind,
}

/// The groups, ascending by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListGroupsResponse<'a> {
    /// `COORDINATOR_LOAD_IN_PROGRESS` when some of them may be missing.
    pub error: ErrorCode,
    /// See [`ListedGroup`].
    #[serde(borrow, deserialize_with = "frame::list::<GROUPS_LISTED_MAX, _, _>")]
    pub groups: Vec<ListedGroup<'a>>,
}
