//! `PeerHello` (84) and `PeerProof` (85): two nodes of a site prove to each other that they know its
//! secret, before a byte of anything else is read.
//!
//! ```text
//! PeerHello                                 its response
//! u8          purpose: 0 quorum, 1 replica, varint i16  error code
//!             2 pair
//! identity    of who connects               identity    of who answers
//! 32 bytes    its nonce                     32 bytes    its nonce
//!                                           32 bytes    its proof
//!
//! PeerProof                                 its response
//! 32 bytes    proof of who connects         varint i16  error code
//!
//! identity
//! 16 bytes    cluster id, all zero before there is a cluster
//! varint i32  node id
//! varint u32  incarnation of its quorum log
//! bool        whether it has one
//! u8          roles: 1 broker, 2 controller, 4 witness; 8: no list names who votes
//! 16 bytes    process, drawn when it started
//! ```
//!
//! A proof is an HMAC-SHA-256 under the site's secret, over who proves it (`answer` or `connect`),
//! the purpose, both identities and both nonces as they stand in the frames. Who answers proves
//! first: a node that is asked for its secret by a stranger gives nothing away that a stranger could
//! use, because no two proofs are over the same nonces.

use serde::{Deserialize, Serialize};

use crate::ids::Uuid;
use crate::wire::ErrorCode;
use crate::wire::quorum::VoterId;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// It holds partitions.
pub const BROKER: u8 = 1;

/// It may vote, and run the controller.
pub const CONTROLLER: u8 = 2;

/// It votes, and holds no data.
pub const WITNESS: u8 = 4;

/// It goes by `peers` alone: no list names who is to vote, and no code let it in.
pub const UNNAMED: u8 = 8;

/// What a connection is for. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The metadata quorum, and what brokers ask its leader.
    Quorum,
    /// A follower that fetches.
    Replica,
    /// A board that has a pairing code ([`super::pair`]).
    Pair,
}

/// Who a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerIdentity {
    /// Its cluster; zero before it has one.
    pub cluster_id: Uuid,
    /// The node, and which life of its quorum log.
    pub voter: VoterId,
    /// Whether it has a quorum log: it was once part of a site.
    pub has_log: bool,
    /// What it does, [`BROKER`], [`CONTROLLER`], [`WITNESS`] and [`UNNAMED`] added up.
    pub roles: u8,
    /// Its process, made at random when it started: two boards with one id, or one card copied, are
    /// told apart by it.
    pub process: Uuid,
}

impl PeerIdentity {
    /// Whether it has a role.
    pub fn is(&self, role: u8) -> bool {
        self.roles & role != 0
    }
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// What for.
    pub purpose: Purpose,
    /// Who.
    pub identity: PeerIdentity,
    /// Drawn for this connection.
    pub nonce: [u8; NONCE_BYTES],
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHelloResponse {
    /// `NONE`, or why the peer is refused.
    pub error: ErrorCode,
    /// Who.
    pub identity: PeerIdentity,
    /// Drawn for this connection.
    pub nonce: [u8; NONCE_BYTES],
    /// That it knows the secret.
    pub proof: [u8; PROOF_BYTES],
}

/// That who connects knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerProof {
    /// The proof.
    pub proof: [u8; PROOF_BYTES],
}

/// Whether the proof is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerProofResponse {
    /// `NONE`, or why not.
    pub error: ErrorCode,
}

/// What both prove that they know of; it crosses no wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Met {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Who connects.
    pub connects: PeerIdentity,
    /// Its nonce.
    pub connects_nonce: [u8; NONCE_BYTES],
    /// Who answers.
    pub answers: PeerIdentity,
    /// Its nonce.
    pub answers_nonce: [u8; NONCE_BYTES],
}
