//! `DescribeQuorum` (55): who agrees on the cluster's metadata, and how far they are (KIP-595, 836).
//!
//! ```text
//! request                                   response
//! bool        as the leader sees it         varint i16  error code
//!                                           varint i32  leader, −1 when nobody leads
//!                                           varint i32  its epoch
//!                                           varint i64  high watermark
//!                                           varint i64  end of the log of who answers
//!                                           list of members
//!
//! member
//! varint i32  node id
//! varint u32  incarnation of its quorum log
//! varint u32  0 voter, 1 witness, 2 observer
//! varint i64  end of what it has on stable storage, −1 when not known here
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::limits::QUORUM_MEMBERS_MAX;
use crate::wire::quorum::VoterId;
use crate::wire::quorum::members::MemberKind;
use crate::wire::{ErrorCode, frame};

/// Asks about the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeQuorumRequest {
    /// Whether the leader is to answer, if it is within reach: only it knows how far the others are.
    pub asks_leader: bool,
}

/// A member of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedMember {
    /// Who.
    pub id: VoterId,
    /// As what.
    pub kind: MemberKind,
    /// How far its log is on stable storage; −1 when who answers does not lead.
    pub durable_end_offset: Offset,
}

/// The quorum as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeQuorumResponse {
    /// Always `NONE` so far.
    pub error: ErrorCode,
    /// Who leads, [`NodeId::NONE`] when nobody is known to.
    pub leader: NodeId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// The end of what is committed.
    pub high_watermark: Offset,
    /// The end of the log.
    pub log_end_offset: Offset,
    /// Everybody who belongs to it; one alone where there is no quorum.
    #[serde(deserialize_with = "frame::list::<QUORUM_MEMBERS_MAX, _, _>")]
    pub members: Vec<DescribedMember>,
}
