//! What voters of the metadata quorum say to each other: one file a message, and their own API keys.
//!
//! Every message is one frame, sent one way: a request header with correlation id 0, the body, and
//! record batches or a piece of an image behind it as raw bytes. An answer is a message of its own,
//! so that nothing waits for anything else, and a lost or repeated frame is nothing special.
//! `tests/transcripts/wire.txt` holds an example of each.
//!
//! ```text
//! envelope, the beginning of every body
//! voter id    from
//! voter id    to
//! varint u64  epoch of the sender
//!
//! voter id
//! varint i32  node id
//! varint u32  incarnation of its quorum log
//! ```
//!
//! Epochs and offsets are read as whatever number stands there; the quorum refuses those that no
//! log can have and says so by name, where a decoder would only know that a frame is malformed.
//!
//! **Invariant:** nothing here is protobuf. The consensus crate's own messages never leave the
//! process, and its parser never meets a byte of a peer (RUSTSEC-2024-0437).

pub mod append;
pub mod heartbeat;
pub mod members;
pub mod snapshot;
pub mod vote;

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// Who votes: a node and one life of its quorum log.
///
/// A node whose quorum log is lost or damaged comes back with another incarnation and so as another
/// voter, which nobody counts on before the site has taken it in again (reliability.md Q5; KIP-853
/// uses the directory id for the same purpose). Low bits of the directory id, or random ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct VoterId {
    /// The node.
    pub node_id: NodeId,
    /// Which life of its quorum log.
    pub incarnation: u32,
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:x}", self.node_id, self.incarnation)
    }
}

/// Which message a frame of a peer holds. Not listed in Hello: peers know each other's version from
/// their own handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum QuorumApiKey {
    /// [`vote::VoteRequest`].
    VoteRequest = 210,
    /// [`vote::VoteResponse`].
    VoteResponse = 211,
    /// [`append::AppendRequest`], with batches.
    AppendRequest = 212,
    /// [`append::AppendResponse`].
    AppendResponse = 213,
    /// [`heartbeat::HeartbeatRequest`].
    HeartbeatRequest = 214,
    /// [`heartbeat::HeartbeatResponse`].
    HeartbeatResponse = 215,
    /// [`snapshot::SnapshotRequest`], with a piece of an image.
    SnapshotRequest = 216,
    /// [`snapshot::SnapshotResponse`].
    SnapshotResponse = 217,
    /// [`vote::CampaignNow`].
    CampaignNow = 218,
}

impl QuorumApiKey {
    /// Every message, in ascending order.
    pub const ALL: [QuorumApiKey; 9] = [
        QuorumApiKey::VoteRequest,
        QuorumApiKey::VoteResponse,
        QuorumApiKey::AppendRequest,
        QuorumApiKey::AppendResponse,
        QuorumApiKey::HeartbeatRequest,
        QuorumApiKey::HeartbeatResponse,
        QuorumApiKey::SnapshotRequest,
        QuorumApiKey::SnapshotResponse,
        QuorumApiKey::CampaignNow,
    ];

    /// The message of a number, if this version knows it.
    pub fn from_number(number: u8) -> Option<QuorumApiKey> {
        QuorumApiKey::ALL.into_iter().find(|key| *key as u8 == number)
    }
}

/// The beginning of every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sends it.
    pub from: VoterId,
    /// Whom it is for: another life of the same node does not read it.
    pub to: VoterId,
    /// The sender's epoch; in a pre-vote and its grant, the one that is asked about.
    pub epoch: u64,
}

/// The end of a log, or another place in it, as Raft compares them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// An offset.
    pub offset: u64,
    /// The epoch of the batch there; 0 where there is none.
    pub epoch: u64,
}
