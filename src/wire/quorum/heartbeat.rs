//! Heartbeats of the quorum (214, 215). Neither waits for a disk: they promise nothing that a power
//! cut could take back.
//!
//! ```text
//! request and response
//!             envelope
//! varint u64  newest committed offset; in a request no more than the follower has
//! ```

use serde::{Deserialize, Serialize};

use crate::wire::quorum::Envelope;

/// The leader is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// The leader.
    pub envelope: Envelope,
    /// What is committed, as far as the follower has it.
    pub committed_offset: u64,
}

/// So is the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// The follower.
    pub envelope: Envelope,
    /// What it knows to be committed.
    pub committed_offset: u64,
}
