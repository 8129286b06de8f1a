//! `DeleteTopics` (20).
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! list of     topic ref                       varint i16  error code
//!                                             str         message
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_TOPICS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// Topics to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopicsRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// The topics.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Vec<TopicRef<'a>>,
}

/// What became of one topic, partition growth or configuration change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicOutcome<'a> {
    /// `NONE` when it was done.
    pub error: ErrorCode,
    /// What was wrong, for a person; empty on success.
    #[serde(borrow)]
    pub message: &'a str,
}

/// One answer per topic, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopicsResponse<'a> {
    /// See [`TopicOutcome`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Vec<TopicOutcome<'a>>,
}
