//! Append (212, 213): record batches of the metadata log on their way to a follower.
//!
//! One batch is one entry: its base offset is the entry's index, its leader epoch the entry's term,
//! both in the batch's own header, so nothing is said twice. The batches follow the body as raw
//! bytes, just as they lie in the segments.
//!
//! ```text
//! append request                            append response
//!             envelope                                  envelope
//! place       batch before the first one    bool        appended
//! varint u64  newest committed offset       varint u64  last offset appended, or the offset
//! list of     varint u32 bytes of a batch               before the first one when refused
//! raw         the batches                   place       refused: where the logs may still agree
//!                                           varint u64  newest committed offset
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::QUORUM_MESSAGE_BATCHES_MAX;
use crate::wire::frame;
use crate::wire::quorum::{Envelope, LogPlace};

/// Batches to append behind one that both have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRequest {
    /// The leader.
    pub envelope: Envelope,
    /// The batch before the first of these.
    pub previous: LogPlace,
    /// What the leader knows to be committed.
    pub committed_offset: u64,
    /// Lengths of the batches that follow; none when only the commit is news.
    #[serde(deserialize_with = "frame::list::<QUORUM_MESSAGE_BATCHES_MAX, _, _>")]
    pub batch_bytes: Vec<u32>,
}

/// What became of them; it leaves after they are on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendResponse {
    /// The follower.
    pub envelope: Envelope,
    /// Whether the batch before was there.
    pub is_appended: bool,
    /// The last offset that agrees with the leader, or the one that was not found.
    pub offset: u64,
    /// When it was not: the last place that may agree.
    pub hint: LogPlace,
    /// What the follower knows to be committed.
    pub committed_offset: u64,
}
