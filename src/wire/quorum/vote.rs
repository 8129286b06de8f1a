//! Votes (210, 211) and the call to an election (218). Raft dissertation §3.4, §9.6; KIP-996.
//!
//! ```text
//! vote request                        vote response                       campaign now
//!             envelope                            envelope                            envelope
//! bool        only asks (pre-vote)    bool        pre-vote
//! bool        leadership is handed    bool        granted
//!             over: no lease counts   place       newest committed
//! place       last batch
//! place       newest committed
//!
//! place: varint u64 offset, varint u64 epoch
//! ```

use serde::{Deserialize, Serialize};

use crate::wire::quorum::{Envelope, LogPlace};

/// Asks for a vote, or whether it would be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRequest {
    /// Who asks, and for which epoch.
    pub envelope: Envelope,
    /// Nobody's epoch rises by this question.
    pub is_pre_vote: bool,
    /// The leader itself called for this election.
    pub is_handed_over: bool,
    /// The candidate's last batch.
    pub last: LogPlace,
    /// The newest batch that the candidate knows to be committed.
    pub committed: LogPlace,
}

/// The answer; it leaves after epoch and vote are on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteResponse {
    /// Who answers.
    pub envelope: Envelope,
    /// Which question it answers.
    pub is_pre_vote: bool,
    /// Whether the vote is given.
    pub is_granted: bool,
    /// With a refusal: the newest batch that the voter knows to be committed.
    pub committed: LogPlace,
}

/// The leader hands its leadership over to a voter that has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignNow {
    /// The leader, and its epoch.
    pub envelope: Envelope,
}
