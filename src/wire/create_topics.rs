//! `CreateTopics` (19).
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! bool        validate only                   varint i16  error code
//! list of                                     str         message
//!   str         name                          16 bytes    topic id
//!   varint i32  partitions                    varint i32  partitions
//!   varint i16  replication factor            varint i16  replication factor
//!   list of     str key, str value
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::TopicId;
use crate::limits::{CONFIG_ENTRIES_MAX, REQUEST_NEW_TOPICS_MAX};
use crate::wire::{ErrorCode, frame};

/// A configuration key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry<'a> {
    /// Kafka's name of the key.
    #[serde(borrow)]
    pub key: &'a str,
    /// Its value as text.
    #[serde(borrow)]
    pub value: &'a str,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopic<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: &'a str,
    /// Its partitions; −1 for `num.partitions`.
    pub partition_count: i32,
    /// Replicas of each partition; −1 for `default.replication.factor`.
    pub replication_factor: i16,
    /// Configuration that differs from the broker's defaults.
    #[serde(borrow, deserialize_with = "frame::list::<CONFIG_ENTRIES_MAX, _, _>")]
    pub configs: Vec<ConfigEntry<'a>>,
}

/// Topics to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopicsRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// Check, but create nothing.
    pub validate_only: bool,
    /// The topics.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_NEW_TOPICS_MAX, _, _>")]
    pub topics: Vec<CreateTopic<'a>>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic<'a> {
    /// `NONE` when it exists now.
    pub error: ErrorCode,
    /// What was wrong, for a person; empty on success.
    #[serde(borrow)]
    pub message: &'a str,
    /// Its id.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_count: i32,
    /// Its replication factor.
    pub replication_factor: i16,
}

/// One answer per topic, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopicsResponse<'a> {
    /// See [`CreatedTopic`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_NEW_TOPICS_MAX, _, _>")]
    pub topics: Vec<CreatedTopic<'a>>,
}
