//! `UpdateFeatures` (57): the site's feature level is raised (KIP-584).
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of one
//! bool        validate only                   varint i16  error code
//! varint u16  feature level                   str         message
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::wire::delete_topics::TopicOutcome;
use crate::wire::frame;

/// The level that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFeaturesRequest {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// Check, but change nothing.
    pub validate_only: bool,
    /// The level.
    pub feature_level: u16,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFeaturesResponse<'a> {
    /// One outcome. `INVALID_UPDATE_VERSION` where a broker does not understand the level.
    #[serde(borrow, deserialize_with = "frame::list::<1, _, _>")]
    pub outcomes: Vec<TopicOutcome<'a>>,
}
