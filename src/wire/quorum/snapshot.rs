//! Snapshots (216, 217): the image of the cluster for a follower whose batches are gone, in pieces.
//!
//! The follower answers each piece with how much it has; the leader sends the next one then. There
//! are no names in it: an image is bytes, and where it is kept is the receiver's business.
//!
//! ```text
//! snapshot request                          snapshot response
//!             envelope                                  envelope
//! place       newest batch in the image     place       newest batch in the image
//! list of     member                        varint u64  bytes of it received so far
//! varint u64  bytes of the image
//! varint u64  position of this piece
//! raw         the piece
//!
//! member: voter id, varint kind (0 voter, 1 witness, 2 observer)
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::QUORUM_MEMBERS_MAX;
use crate::wire::frame;
use crate::wire::quorum::members::Member;
use crate::wire::quorum::{Envelope, LogPlace};

/// A piece of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// The leader.
    pub envelope: Envelope,
    /// The newest batch that the image holds.
    pub last: LogPlace,
    /// Who belonged to the quorum there.
    #[serde(deserialize_with = "frame::list::<QUORUM_MEMBERS_MAX, _, _>")]
    pub members: Vec<Member>,
    /// Bytes of the whole image.
    pub image_bytes: u64,
    /// Where in it the piece begins.
    pub position: u64,
}

/// How much of it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// The follower.
    pub envelope: Envelope,
    /// Which image.
    pub last: LogPlace,
    /// How many bytes from its beginning.
    pub received_bytes: u64,
}
