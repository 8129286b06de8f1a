//! `UnregisterBroker` (64): a broker that is gone is taken off the list (KIP-631).
//!
//! ```text
//! request                                   response
//! varint i32  node id                       list of one
//!                                             varint i16  error code
//!                                             str         message
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::frame;

/// A broker that does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterBrokerRequest {
    /// The broker.
    pub node_id: NodeId,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterBrokerResponse<'a> {
    /// One outcome. `POLICY_VIOLATION` while it takes part, or holds the only whole copy of
    /// something.
    #[serde(borrow, deserialize_with = "frame::list::<1, _, _>")]
    pub outcomes: Vec<TopicOutcome<'a>>,
}
