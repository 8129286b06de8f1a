//! What leaders and followers of partitions say to each other, and leaders to the controller: one
//! file a message, and their own API keys.
//!
//! `ReplicaFetch`, `ReplicaFetched` and `ReplicaProgress` go one way each: a request header with
//! correlation id 0, the body, and record batches behind it as raw bytes. A fetch names its answer
//! by a sequence number of its partition, so that it may stay at the leader until there is
//! something to say, and a thousand idle partitions cost nothing. `AlterPartition` is a request
//! with a response. `tests/transcripts/wire.txt` holds an example of each.
//!
//! **Invariant:** what a follower says of itself is read as whatever number stands there; the
//! leader judges it against what it knows and refuses by name.

pub mod alter_partition;
pub mod fetch;
pub mod progress;

/// Which message a frame of a peer holds. Not listed in Hello: peers know each other's version from
/// their own handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is documented in the module of its name")]
pub enum ReplicaApiKey {
    Fetch = 80,
    Fetched = 81,
    Progress = 82,
    AlterPartition = 83,
}

impl ReplicaApiKey {
    /// Every message, in ascending order.
    pub const ALL: [ReplicaApiKey; 4] = [
        ReplicaApiKey::Fetch,
        ReplicaApiKey::Fetched,
        ReplicaApiKey::Progress,
        ReplicaApiKey::AlterPartition,
    ];

    /// The message of a number, if this version knows it.
    pub fn from_number(number: u8) -> Option<ReplicaApiKey> {
        ReplicaApiKey::ALL.into_iter().find(|key| *key as u8 == number)
    }
}
