//! `ConsumerGroupHeartbeat` (68): all that a member of a consumer group says and hears (KIP-848).
//!
//! ```text
//! request                                   response
//! str         group id                      varint i16  error code
//! str         member id, "" at first        str         member id
//! varint i32  member epoch; 0 joins, -1     varint i32  member epoch
//!             leaves, -2 leaves for a       varint i32  ms to the next heartbeat
//!             while                         optional    list of
//! optional    str instance id                 16 bytes    topic id
//! optional    str rack id                     list of     varint i32  partition
//! varint i32  rebalance timeout, ms; -1
//! optional    list of     str topic
//! optional    str regular expression
//! optional    str assignor
//! optional    list of
//!   16 bytes    topic id
//!   list of     varint i32  partition
//! ```
//!
//! What is absent from a request has not changed since the last one; what is absent from a response
//! has not changed since the last one either.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Partition, TopicId};
use crate::limits::{REQUEST_PARTITIONS_MAX, REQUEST_TOPICS_MAX};
use crate::wire::{ErrorCode, frame};

/// The member epoch of a member that joins.
pub const JOINING: i32 = 0;

/// The member epoch of a member that leaves.
pub const LEAVING: i32 = -1;

/// The member epoch of a static member that leaves and means to come back.
pub const LEAVING_FOR_A_WHILE: i32 = -2;

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// Its partitions, ascending; none twice.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<Partition>,
}

/// A member lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerGroupHeartbeatRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// Chosen by the member; one that is empty is chosen by the coordinator.
    pub member_id: &'a str,
    /// As the last response said, or [`JOINING`], [`LEAVING`], [`LEAVING_FOR_A_WHILE`].
    pub member_epoch: i32,
    /// A name that outlives the process: a static member.
    pub instance_id: Option<&'a str>,
    /// Where the member is.
    pub rack_id: Option<&'a str>,
    /// How long the member may take to give up a partition; −1: unchanged.
    pub rebalance_timeout_ms: i32,
    /// The topics it reads.
    #[serde(deserialize_with = "frame::optional_list::<REQUEST_TOPICS_MAX, _, _>")]
    pub subscribed_topics: Option<Vec<&'a str>>,
    /// It reads topics of such names, too; empty for none.
    pub subscribed_regex: Option<&'a str>,
    /// How it wants partitions to be assigned.
    pub server_assignor: Option<&'a str>,
    /// The partitions it holds.
    #[serde(deserialize_with = "frame::optional_list::<REQUEST_TOPICS_MAX, _, _>")]
    pub owned: Option<Vec<TopicPartitions>>,
}

/// What the member has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerGroupHeartbeatResponse<'a> {
    /// `FENCED_MEMBER_EPOCH` and `UNKNOWN_MEMBER_ID`: give everything up and join again.
    pub error: ErrorCode,
    /// Its id.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// The epoch of its next request.
    pub member_epoch: i32,
    /// When that is due, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// The partitions it may hold: others it gives up.
    #[serde(deserialize_with = "frame::optional_list::<REQUEST_TOPICS_MAX, _, _>")]
    pub assignment: Option<Vec<TopicPartitions>>,
}

impl<'a> ConsumerGroupHeartbeatResponse<'a> {
    /// A refusal.
    pub const fn failed(error: ErrorCode) -> ConsumerGroupHeartbeatResponse<'a> {
        ConsumerGroupHeartbeatResponse {
            error,
            member_id: "",
            member_epoch: 0,
            heartbeat_interval_ms: 0,
            assignment: None,
        }
    }
}
