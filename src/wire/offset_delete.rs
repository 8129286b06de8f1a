//! `OffsetDelete` (47): forgets offsets of a group.
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! list of                                   list of     varint i16  error code
//!   topic ref
//!   varint i32  partition
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::Partition;
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// A partition whose offset is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteOffset<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
}

/// Offsets to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetDeleteRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// The partitions.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<DeleteOffset<'a>>,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetDeleteResponse {
    /// What went wrong with all of them; the list is then empty.
    pub error: ErrorCode,
    /// One per partition, in the order of the request; `GROUP_SUBSCRIBED_TO_TOPIC` where a member
    /// still reads it.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ErrorCode>,
}
