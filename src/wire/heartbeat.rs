//! `Heartbeat` (12): a member of a classic group is alive, and learns of a rebalance.
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! varint i32  generation
//! str         member id
//! optional    str group instance id
//! ```

use serde::{Deserialize, Serialize};

use crate::wire::ErrorCode;

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// The generation the member is in.
    pub generation_id: i32,
    /// The member.
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
}

/// What the member must do: nothing, or join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// `REBALANCE_IN_PROGRESS` asks the member to join again.
    pub error: ErrorCode,
}
