//! What goes into a quorum and what comes out of it.

use bytes::Bytes;

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::quorum::admit::Refusal;
use crate::quorum::entry::EntryKind;
use crate::quorum::members::Members;
use crate::quorum::message::Message;
use crate::wire::quorum::members::MemberKind;
use crate::wire::quorum::{LogPlace, VoterId};

/// What the log's owner can read. Values and images are bytes here; what the owner could not read, no
/// peer may bring.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Whether a record's value is a list of changes.
    pub changes: fn(&[u8]) -> bool,
    /// Whether a snapshot's bytes are an image.
    pub image: fn(&[u8]) -> bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed: [`Quorum::next_deadline`](crate::quorum::Quorum::next_deadline) is here, or not yet.
    Time,
    /// A peer says something.
    Message(Message),
    /// Every [`Persist`] up to this number is on stable storage.
    Persisted(u64),
    /// The image of everything that was polled so far, after [`Output::WantImage`].
    Image(Bytes),
    /// A node proved that it belongs to the site; members need no introduction.
    Introduce(VoterId),
    /// A node no longer belongs to the site.
    Forget(VoterId),
    /// A node's process is known to be gone: its machine refuses connections.
    Vanished(NodeId),
    /// The disk failed: this node says nothing more until it is started anew.
    StorageFailed,
}

/// What is to be done. An output that rests on another comes after it.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make durable, in the order of the numbers, then say so by [`Input::Persisted`].
    Persist(Persist),
    /// Send to a peer; it may get lost.
    Send(Message),
    /// A batch is committed. They come without gaps, in the order of their offsets.
    Committed(Committed),
    /// An image replaces everything that was replayed.
    Restore(Snapshot),
    /// Somebody leads, or nobody any more.
    Leadership(Leadership),
    /// An image is wanted of all that was polled: [`Input::Image`].
    WantImage,
    /// A message was refused.
    Refused(VoterId, Refusal),
}

/// What survives a power cut beside the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest epoch that was heard of.
    pub epoch: LeaderEpoch,
    /// Who has this node's vote in it.
    pub vote: Option<VoterId>,
    /// How far batches were known to be committed; may lag behind.
    pub high_watermark: Offset,
}

/// Things to make durable together.
#[derive(Clone, Debug)]
pub struct Persist {
    /// Rises by one; a later one is never durable before an earlier one.
    pub number: u64,
    /// Replaces the hard state there is.
    pub hard_state: Option<HardState>,
    /// To be kept beside the log.
    pub snapshot: Option<Snapshot>,
    /// The snapshot came from a leader: the log begins anew behind it. Otherwise batches before it
    /// may be deleted once it is durable.
    pub begins_anew: bool,
    /// To append. What the log has from the first one's offset on is replaced.
    pub batches: Vec<Bytes>,
}

/// A committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// What it is about.
    pub kind: EntryKind,
    /// Its bytes.
    pub batch: Bytes,
}

/// The cluster at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last batch it holds.
    pub last_offset: Offset,
    /// That batch's epoch.
    pub epoch: LeaderEpoch,
    /// Who belonged to the quorum there.
    pub members: Members,
    /// The controller's image, as bytes that only the controller reads.
    pub image: Bytes,
}

impl Snapshot {
    pub(super) fn place(&self) -> LogPlace {
        LogPlace { offset: self.last_offset.0 as u64, epoch: self.epoch.0 as u64 }
    }
}

/// What a node does in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits for somebody to follow.
    #[default]
    Follower,
    /// It asks whether it would be voted for; its epoch does not rise by that.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// What this node does.
    pub role: Role,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Who leads in it, as far as is known.
    pub leader: Option<VoterId>,
}

/// Why a proposal is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This node does not lead, or is a witness.
    NotLeader,
    /// It leads, but what earlier leaders left is not committed yet.
    NotReady,
    /// The batch would be larger than `QUORUM_BATCH_BYTES_MAX`.
    TooLarge,
    /// Too much waits for its commit, or leadership is being handed over.
    Busy,
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Who.
    pub id: VoterId,
    /// As what it belongs to the quorum.
    pub kind: MemberKind,
    /// The end of what it confirmed to have on stable storage; known only to the leader.
    pub durable_end_offset: Option<Offset>,
    /// Whether it gets an image at present.
    pub is_restoring: bool,
}
