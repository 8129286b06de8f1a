//! `CreatePartitions` (37): a topic grows.
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! bool        validate only                   varint i16  error code
//! list of                                     str         message
//!   topic ref
//!   varint i32  partitions afterwards
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_TOPICS_MAX;
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::{TopicRef, frame};

/// A topic and its new size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowTopic<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// Partitions it has afterwards; more than now.
    pub partition_count: i32,
}

/// Topics to grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitionsRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// Check, but change nothing.
    pub validate_only: bool,
    /// The topics.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Vec<GrowTopic<'a>>,
}

/// One answer per topic, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitionsResponse<'a> {
    /// See [`TopicOutcome`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub topics: Vec<TopicOutcome<'a>>,
}
