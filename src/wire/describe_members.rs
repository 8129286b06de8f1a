//! `DescribeMembers` (201): every node of a site, as its active controller knows it.
//!
//! ```text
//! request                                   response
//! (nothing)                                 varint i16  error code
//!                                           varint i32  who answers: the active controller
//!                                           list of nodes
//!
//! node
//! varint i32  node id
//! u8          roles: 1 broker, 2 controller, 4 witness
//! optional    varint u32 in the quorum: 0 voter, 1 witness, 2 observer
//! varint u32  state: 0 not registered, 1 fenced, 2 active, 3 shutting down
//! str         host of its wire listener, empty when nobody said
//! varint u32  its port
//! str         rack
//! varint i64  milliseconds since it was heard of, −1 when it never was by who answers
//! varint i64  its broker epoch, −1 when it is not registered
//! 16 bytes    directory id, all zero when it is not registered
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Uuid};
use crate::limits::SITE_NODES_MAX;
use crate::wire::quorum::members::MemberKind;
use crate::wire::{ErrorCode, frame};

/// Asks who belongs to the site; it has no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMembersRequest {}

/// What a node may do as a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// It is no broker, or has not registered.
    Unregistered,
    /// It was not heard of for a session, or has not caught up yet.
    Fenced,
    /// Everything.
    Active,
    /// It is on its way out.
    ShuttingDown,
}

/// A node of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedNode {
    /// Which.
    pub node_id: NodeId,
    /// What it does, as in [`crate::wire::peer::hello`].
    pub roles: u8,
    /// As what it belongs to the metadata quorum, if it does.
    pub kind: Option<MemberKind>,
    /// What it may do.
    pub state: NodeState,
    /// Of its wire listener; may be empty.
    pub host: Box<str>,
    /// Of its wire listener.
    pub port: u16,
    /// Where it stands.
    pub rack: Box<str>,
    /// Since it was heard of; −1 when it never was.
    pub silent_ms: i64,
    /// Its incarnation; −1 when it is not registered.
    pub broker_epoch: i64,
    /// Its log dir.
    pub directory_id: Uuid,
}

/// The site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMembersResponse {
    /// `NONE`, or `NOT_CONTROLLER` while nobody can say.
    pub error: ErrorCode,
    /// Who answers.
    pub controller: NodeId,
    /// Everybody, in the order of the ids.
    #[serde(deserialize_with = "frame::list::<SITE_NODES_MAX, _, _>")]
    pub nodes: Vec<DescribedNode>,
}
