//! `AllocateProducerIds` (67): a broker has given out all producer ids of its block (KIP-730).
//!
//! ```text
//! request                                   response
//! varint i32  node id                       varint i64  first id of the block
//! varint i64  its broker epoch              varint i64  first id behind it
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// A broker that needs ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocateProducerIdsRequest {
    /// Which.
    pub node_id: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
}

/// The ids are its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocateProducerIdsResponse {
    /// The first.
    pub first_id: i64,
    /// The first that is not its any more.
    pub next_id: i64,
}
