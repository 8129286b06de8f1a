//! Hello (18): the first request of every connection; versions and features are agreed here.
//!
//! ```text
//! request                                   response
//! 4 bytes     "ODRK"                        varint i16  error code
//! str         client id                     16 bytes    cluster id
//! varint u64  features                      varint i32  node id
//!                                           str         software
//!                                           varint u64  features
//!                                           varint u32  largest frame
//!                                           list of     u8 api key, u8 lowest, u8 highest version
//! ```
//!
//! **Invariant:** Hello's version 0 never changes: it is how versions are found out.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Uuid};
use crate::limits;
use crate::wire::{ErrorCode, frame};

/// First bytes of a Hello's body: what tells this protocol from any other.
pub const MAGIC: [u8; 4] = *b"ODRK";

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRequest<'a> {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Free text for logs and metrics, bounded by [`limits::TEXT_CHARS_MAX`].
    #[serde(borrow)]
    pub client_id: &'a str,
    /// Optional abilities the client has; none are defined yet, unknown bits are ignored.
    pub features: u64,
}

/// Versions of one API that are served, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRange {
    /// The API.
    pub api_key: u8,
    /// Lowest version.
    pub version_min: u8,
    /// Highest version.
    pub version_max: u8,
}

/// What the broker is and serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloResponse<'a> {
    /// `UNSUPPORTED_VERSION` when no version of Hello is shared; the list is filled all the same.
    pub error: ErrorCode,
    /// Cluster the broker belongs to.
    pub cluster_id: Uuid,
    /// The broker.
    pub node_id: NodeId,
    /// Product and version, free text.
    #[serde(borrow)]
    pub software: &'a str,
    /// Abilities of the broker that a client may use.
    pub features: u64,
    /// Largest frame the broker reads.
    pub frame_bytes_max: u32,
    /// One range per API.
    #[serde(deserialize_with = "frame::list::<256, _, _>")]
    pub apis: Vec<ApiRange>,
}

impl HelloRequest<'_> {
    /// Whether the text fields obey their limits.
    pub fn is_bounded(&self) -> bool {
        self.client_id.len() <= limits::TEXT_CHARS_MAX
    }
}
