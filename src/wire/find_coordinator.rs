//! `FindCoordinator` (10): which broker keeps a group or a transactional id.
//!
//! ```text
//! request                                   response
//! varint      0 group, 1 transaction        list of
//! list of     str key                         varint i16  error code
//!                                             varint i32  node id
//!                                             str         host
//!                                             varint u16  port
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::limits::REQUEST_GROUPS_MAX;
use crate::wire::{ErrorCode, frame};

/// What a key names. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinatorKind {
    /// A consumer group.
    Group,
    /// A transactional id.
    Transaction,
}

/// Asks for coordinators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindCoordinatorRequest<'a> {
    /// What the keys are.
    pub kind: CoordinatorKind,
    /// Group ids, or transactional ids.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub keys: Vec<&'a str>,
}

/// Where one key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCoordinator<'a> {
    /// `COORDINATOR_NOT_AVAILABLE` while there is none.
    pub error: ErrorCode,
    /// The broker, −1 on an error.
    pub node_id: NodeId,
    /// Its address on the listener that was asked.
    #[serde(borrow)]
    pub host: &'a str,
    /// Its port.
    pub port: u16,
}

impl FoundCoordinator<'_> {
    /// The answer where there is no coordinator.
    pub const fn failed(error: ErrorCode) -> FoundCoordinator<'static> {
        FoundCoordinator { error, node_id: NodeId(-1), host: "", port: 0 }
    }
}

/// One answer per key, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindCoordinatorResponse<'a> {
    /// See [`FoundCoordinator`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub coordinators: Vec<FoundCoordinator<'a>>,
}
