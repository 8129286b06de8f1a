//! `RegisterBroker` (62): a broker says that it started (KIP-631; semantics.md 2.12).
//!
//! ```text
//! request                                   response
//! varint i32  node id                       varint i64  its broker epoch
//! 16 bytes    process
//! 16 bytes    directory id
//! 16 bytes    cluster id
//! varint u32  feature level
//! str         rack
//! list of     str protocol, str host, varint u32 port
//! list of     16 bytes topic id, varint i32 partition: copies that are not what they were
//! bool        whether that is so of all, be they known or not
//! bool        whether its last process ended cleanly
//! varint i64  end of the metadata in its log dir when it started, -1 if nobody knows
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Offset, TopicPartition, Uuid};
use crate::limits::{ENDPOINTS_MAX, REQUEST_PARTITIONS_MAX};
use crate::wire::frame;

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEndpoint {
    /// `wire` or `kafka`.
    pub protocol: Box<str>,
    /// Name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
}

/// A broker that started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterBrokerRequest {
    /// Which.
    pub node_id: NodeId,
    /// Its process, made at random when it started.
    pub incarnation: Uuid,
    /// Its log dir, whatever the path: another one has none of the copies that the old one had.
    pub directory_id: Uuid,
    /// Its cluster.
    pub cluster_id: Uuid,
    /// The highest feature level that it understands.
    pub feature_level: u16,
    /// Where it stands.
    pub rack: Box<str>,
    /// Where it is reached.
    #[serde(deserialize_with = "frame::list::<ENDPOINTS_MAX, _, _>")]
    pub endpoints: Vec<PeerEndpoint>,
    /// Partitions whose copy here is damaged.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub unsound: Vec<TopicPartition>,
    /// Its journal is new, or was damaged: nobody knows what it had.
    pub is_unproven: bool,
    /// Each of its processes ended cleanly since one registered: everything that it had was durable.
    pub was_clean: bool,
    /// End of the metadata in its log dir when it started, -1 if nobody knows: one that is older than
    /// what it had shows by this.
    pub metadata_end_offset: Offset,
}

/// It is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterBrokerResponse {
    /// Its epoch: requests of an older one are refused.
    pub broker_epoch: i64,
}
