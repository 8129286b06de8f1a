//! One example of every message between voters of the metadata quorum.

use odradek::ids::NodeId;
use odradek::wire::RequestHeader;
use odradek::wire::quorum::append::{AppendRequest, AppendResponse};
use odradek::wire::quorum::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::quorum::members::{Member, MemberKind};
use odradek::wire::quorum::snapshot::{SnapshotRequest, SnapshotResponse};
use odradek::wire::quorum::vote::{CampaignNow, VoteRequest, VoteResponse};
use odradek::wire::quorum::{Envelope, LogPlace, QuorumApiKey, VoterId};
use serde::{Deserialize, Serialize};

use super::{Example, example};

const ONE: VoterId = VoterId { node_id: NodeId(1), incarnation: 300 };
const TWO: VoterId = VoterId { node_id: NodeId(2), incarnation: 1 };
const HERE: Envelope = Envelope { from: ONE, to: TWO, epoch: 5 };

fn message<M>(name: &'static str, key: QuorumApiKey, body: &M, raw: &[u8]) -> Example
where
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let header = RequestHeader { api_key: key as u8, api_version: 0, correlation_id: 0 };
    example(name, &header, body, raw)
}

const fn at(offset: u64, epoch: u64) -> LogPlace {
    LogPlace { offset, epoch }
}

/// Every message once.
pub fn all() -> Vec<Example> {
    let mut examples = votes();
    examples.extend(batches());
    examples.extend(images());
    examples
}

fn votes() -> Vec<Example> {
    let ask = VoteRequest {
        envelope: HERE,
        is_pre_vote: true,
        is_handed_over: false,
        last: at(200, 4),
        committed: at(199, 4),
    };
    let answer = VoteResponse {
        envelope: HERE,
        is_pre_vote: true,
        is_granted: false,
        committed: at(199, 4),
    };
    vec![
        message("quorum vote-request", QuorumApiKey::VoteRequest, &ask, b""),
        message("quorum vote-response", QuorumApiKey::VoteResponse, &answer, b""),
        message(
            "quorum campaign-now",
            QuorumApiKey::CampaignNow,
            &CampaignNow { envelope: HERE },
            b"",
        ),
    ]
}

fn batches() -> Vec<Example> {
    let append = AppendRequest {
        envelope: HERE,
        previous: at(200, 4),
        committed_offset: 199,
        batch_bytes: vec![3, 2],
    };
    let answer = AppendResponse {
        envelope: HERE,
        is_appended: false,
        offset: 200,
        hint: at(150, 3),
        committed_offset: 149,
    };
    vec![
        message("quorum append-request", QuorumApiKey::AppendRequest, &append, b"abcde"),
        message("quorum append-response", QuorumApiKey::AppendResponse, &answer, b""),
        message(
            "quorum heartbeat-request",
            QuorumApiKey::HeartbeatRequest,
            &HeartbeatRequest { envelope: HERE, committed_offset: 199 },
            b"",
        ),
        message(
            "quorum heartbeat-response",
            QuorumApiKey::HeartbeatResponse,
            &HeartbeatResponse { envelope: HERE, committed_offset: 199 },
            b"",
        ),
    ]
}

fn images() -> Vec<Example> {
    let piece = SnapshotRequest {
        envelope: HERE,
        last: at(200, 4),
        members: vec![
            Member { id: ONE, kind: MemberKind::Voter },
            Member { id: TWO, kind: MemberKind::Observer },
        ],
        image_bytes: 1000,
        position: 997,
    };
    let answer = SnapshotResponse { envelope: HERE, last: at(200, 4), received_bytes: 1000 };
    vec![
        message("quorum snapshot-request", QuorumApiKey::SnapshotRequest, &piece, b"xyz"),
        message("quorum snapshot-response", QuorumApiKey::SnapshotResponse, &answer, b""),
    ]
}
