//! The postcard wire: compact frames that carry Kafka's meaning.
//!
//! A connection opens with [`hello`]; after it the client may pipeline requests, and the broker
//! answers them in order. One file holds one API, except that configurations share one, and opens
//! with a drawing of its bodies; `tests/transcripts/wire.txt` holds an example of each, byte by
//! byte. What the drawings call things, all of it postcard:
//!
//! ```text
//! varint u32   7 bits a byte, low bits first, the high bit set on all bytes but the last
//! varint i32   the same after zigzag: 0, -1, 1, -2 become 0, 1, 2, 3
//! bool         00 or 01
//! str          varint u32 length, then UTF-8
//! list of      varint u32 count, then so many elements
//! bytes        varint u32 length, then so many bytes
//! optional     00; or 01 and the value
//! topic ref    varint 0, str name; or varint 1, 16 bytes topic id
//! ```
//!
//! **Invariant:** hostile bytes meet only readers that answer `Err`. Nothing here indexes or
//! panics, and a count reserves no memory.
//!
//! Why postcard and not Kafka's own encoding: one derive serves broker, client and a
//! microcontroller without allocation, and one rule per type replaces a schema per message.
//! Kafka's encoding is spoken where Kafka's clients are: [`kafka`].

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic))]

pub mod alter_partition_reassignments;
pub mod change_members;
pub mod configs;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_members;
pub mod describe_metrics;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod error;
pub mod fetch;
pub mod find_coordinator;
pub mod frame;
pub mod heartbeat;
pub mod hello;
pub mod init_producer_id;
pub mod join_group;
pub mod kafka;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod manage_site;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod peer;
pub mod produce;
pub mod quorum;
pub mod replica;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;

use serde::{Deserialize, Serialize};

use crate::ids::TopicId;
use crate::wire::hello::ApiRange;
pub use error::ErrorCode;
pub use frame::{FrameError, RequestHeader, ResponseHeader};

/// What a request asks, in Kafka's numbers where Kafka has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is documented in the module of its name")]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    Hello = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    DescribeLogDirs = 35,
    CreatePartitions = 37,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    OffsetDelete = 47,
    DescribeQuorum = 55,
    UpdateFeatures = 57,
    DescribeCluster = 60,
    DescribeProducers = 61,
    UnregisterBroker = 64,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    DescribeTopicPartitions = 75,
    DescribeMetrics = 200,
    DescribeMembers = 201,
    ChangeMembers = 202,
    ManageSite = 203,
}

impl ApiKey {
    /// Every API, in ascending order.
    pub const ALL: [ApiKey; 39] = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::Metadata,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::Heartbeat,
        ApiKey::LeaveGroup,
        ApiKey::SyncGroup,
        ApiKey::DescribeGroups,
        ApiKey::ListGroups,
        ApiKey::Hello,
        ApiKey::CreateTopics,
        ApiKey::DeleteTopics,
        ApiKey::DeleteRecords,
        ApiKey::InitProducerId,
        ApiKey::OffsetForLeaderEpoch,
        ApiKey::DescribeConfigs,
        ApiKey::DescribeLogDirs,
        ApiKey::CreatePartitions,
        ApiKey::DeleteGroups,
        ApiKey::ElectLeaders,
        ApiKey::IncrementalAlterConfigs,
        ApiKey::AlterPartitionReassignments,
        ApiKey::OffsetDelete,
        ApiKey::DescribeQuorum,
        ApiKey::UpdateFeatures,
        ApiKey::DescribeCluster,
        ApiKey::DescribeProducers,
        ApiKey::UnregisterBroker,
        ApiKey::ConsumerGroupHeartbeat,
        ApiKey::ConsumerGroupDescribe,
        ApiKey::DescribeTopicPartitions,
        ApiKey::DescribeMetrics,
        ApiKey::DescribeMembers,
        ApiKey::ChangeMembers,
        ApiKey::ManageSite,
    ];

    /// The API of a number, if this version knows it.
    pub fn from_number(number: u8) -> Option<ApiKey> {
        ApiKey::ALL.into_iter().find(|key| *key as u8 == number)
    }

    /// The versions of this API that this build speaks: all at their first so far.
    pub const fn versions(self) -> ApiRange {
        ApiRange { api_key: self as u8, version_min: 0, version_max: 0 }
    }
}

/// Whether a frame that begins so, behind its prefix, is a produce: only those may be large.
pub fn is_produce(frame: &[u8]) -> bool {
    frame.first() == Some(&(ApiKey::Produce as u8))
}

/// How a request names a topic. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicRef<'a> {
    /// By name.
    Name(#[serde(borrow)] &'a str),
    /// By id: survives no re-creation under the same name, and is shorter.
    Id(TopicId),
}

#[cfg(test)]
#[path = "../../tests/support/wire_examples.rs"]
mod examples;
#[cfg(test)]
mod tests;
