//! `BrokerHeartbeat` (63): a broker is still there (KIP-631; semantics.md 2.12).
//!
//! ```text
//! request                                   response
//! varint i32  node id                       bool        whether it is fenced
//! varint i64  its broker epoch              bool        whether it may stop
//! varint i64  end of the metadata it knows
//! bool        whether it wants to stop
//! bool        whether its log dir failed
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Offset};

/// A broker that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerHeartbeatRequest {
    /// Which.
    pub node_id: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// The end of the metadata that it has replayed.
    pub metadata_end_offset: Offset,
    /// Whether it wants to leave.
    pub wants_shutdown: bool,
    /// Whether its log dir failed: it can neither lead nor be in sync until it is started anew.
    pub has_failed_dir: bool,
}

/// What it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerHeartbeatResponse {
    /// Whether it may lead nothing yet, or no more.
    pub is_fenced: bool,
    /// Whether it leads nothing any more, and wanted to stop.
    pub may_stop: bool,
}
