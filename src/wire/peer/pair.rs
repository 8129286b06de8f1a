//! How a board that has a pairing code is given the site's secret: a `PeerHello` for
//! [`Purpose::Pair`](super::hello::Purpose::Pair), answered in another way than those of peers.
//!
//! ```text
//! PeerHello ─►                              ◄─ Offer
//!                                           optional    why nobody is let in, one of the words below
//!                                           identity    of who answers
//!                                           32 bytes    its nonce
//!                                           32 bytes    its proof
//!
//! PeerProof ─►                              ◄─ Granted
//! 32 bytes    proof of who connects         optional    why not
//!                                           bytes       sealed: a Grant
//!
//! Grant
//! bytes       the secret
//! 16 bytes    cluster id
//! list of     str HOST:PORT of a wire listener of the site
//! ```
//!
//! Three keys come from the code, each 32 bytes of HKDF-SHA-256: its secret is the code's 10 bytes, its
//! salt the nonce of who connects and that of who answers, its info `odradek pair 0 ` and `connect`,
//! `answer` or `seal`. A proof is an HMAC-SHA-256 under the first or the second over what both have met
//! ([`super::hello::Met`]). The grant is sealed by ChaCha20-Poly1305 under the third, with a nonce of
//! zeros, for no two exchanges have the same key, and with what both have met as its context.
//!
//! Whoever listens, or pretends to be either side, learns what a guess can be checked against. A code
//! has 80 bits and is of use for ten minutes.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Uuid};
use crate::limits::{PAIR_GRANT_BYTES_MAX, SITE_NODES_MAX};
use crate::wire::frame;
use crate::wire::peer::hello::{NONCE_BYTES, PROOF_BYTES, PeerIdentity};

/// Bytes of a pairing code.
pub const CODE_BYTES: usize = 10;

/// Why a board is not let in. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PairRefusal {
    /// No code was made there.
    NoCode,
    /// The code was used.
    Used,
    /// The code is too old.
    Expired,
    /// The code was tried too often.
    Exhausted,
    /// It is another code.
    WrongCode,
    /// A node of that id belongs to the site.
    NodeIdTaken {
        /// The lowest that is free.
        free: NodeId,
    },
    /// The site has not begun yet.
    NotReady,
}

impl core::fmt::Display for PairRefusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let again = "`odradek cluster invite` on a board of the site prints another";
        match self {
            Self::NoCode => write!(
                f,
                "it lets nobody in at present: `odradek cluster invite` on it prints a code"
            ),
            Self::Used => write!(f, "the code was used, and each lets one board in: {again}"),
            Self::Expired => write!(f, "the code is older than ten minutes: {again}"),
            Self::Exhausted => write!(f, "the code was tried too often: {again}"),
            Self::WrongCode => write!(f, "that is another code than it printed"),
            Self::NodeIdTaken { free } => write!(
                f,
                "a node of this id belongs to the site: start this one with an empty log dir and \
                 another `broker.id`, such as {free}"
            ),
            Self::NotReady => write!(f, "its site has not begun yet: try again"),
        }
    }
}

/// Who lets a board in, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairOffer {
    /// Why not.
    pub refusal: Option<PairRefusal>,
    /// Who.
    pub identity: PeerIdentity,
    /// Drawn for this connection.
    pub nonce: [u8; NONCE_BYTES],
    /// That it knows the code.
    pub proof: [u8; PROOF_BYTES],
}

/// What the board is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGranted {
    /// Why it is given nothing.
    pub refusal: Option<PairRefusal>,
    /// A [`Grant`] that only this board can open.
    #[serde(deserialize_with = "frame::list::<PAIR_GRANT_BYTES_MAX, _, _>")]
    pub sealed: Vec<u8>,
}

/// What makes a board one of the site's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The site's secret.
    #[serde(deserialize_with = "frame::list::<PAIR_GRANT_BYTES_MAX, _, _>")]
    pub secret: Vec<u8>,
    /// The site's cluster.
    pub cluster_id: Uuid,
    /// Wire listeners of its nodes.
    #[serde(deserialize_with = "frame::list::<SITE_NODES_MAX, _, _>")]
    pub peers: Vec<String>,
}
