//! `OffsetCommit` (8): how far a group has read.
//!
//! ```text
//! request                                   response
//! str         group id                      list of     varint i16  error code
//! varint i32  generation or member epoch
//! str         member id
//! optional    str group instance id
//! varint i64  retention, ms; -1 default
//! bool        knows member epochs
//! list of
//!   topic ref
//!   varint i32  partition
//!   varint i64  offset
//!   varint i32  leader epoch
//!   str         metadata
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::{ErrorCode, TopicRef, frame};

/// The offset of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// Leader epoch of the last record read, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// Whatever the consumer wants back with it; bounded by `offset.metadata.max.bytes`.
    pub metadata: &'a str,
}

/// Offsets to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommitRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// −1 from whoever is no member.
    pub generation_id_or_member_epoch: i32,
    /// The member; empty from whoever is none.
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub group_instance_id: Option<&'a str>,
    /// How long they are kept from now on; −1 for the broker's rule.
    pub retention_time_ms: i64,
    /// Whether the client knows of member epochs; Kafka's clients do from version 9 on. Members of
    /// groups of KIP-848 must.
    pub knows_member_epochs: bool,
    /// One per partition; none twice.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<CommitPartition<'a>>,
}

/// Sent once the offsets are durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommitResponse {
    /// One per partition, in the order of the request.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ErrorCode>,
}
