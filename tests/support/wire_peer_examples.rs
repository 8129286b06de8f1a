//! The examples of what peers of a site say to each other, and of the quorum's description; see
//! `wire_examples.rs`.

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicPartition};
use odradek::wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, DescribedMember,
};
use odradek::wire::peer::PeerApiKey;
use odradek::wire::peer::forward::{Answered, Forwarded};
use odradek::wire::peer::heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use odradek::wire::peer::hello::{
    BROKER, CONTROLLER, PeerHello, PeerHelloResponse, PeerIdentity, PeerProof, PeerProofResponse,
    Purpose,
};
use odradek::wire::peer::producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use odradek::wire::peer::register::{PeerEndpoint, RegisterBrokerRequest, RegisterBrokerResponse};
use odradek::wire::quorum::VoterId;
use odradek::wire::quorum::members::MemberKind;
use odradek::wire::{ApiKey, ErrorCode, RequestHeader};
use serde::{Deserialize, Serialize};

use super::{CLUSTER, Example, ID, example, request, response};

/// Every such message once.
pub fn all() -> Vec<Example> {
    let mut examples = quorum();
    examples.extend(meeting());
    examples.extend(passing_on());
    examples.extend(living());
    examples
}

fn ask<M>(name: &'static str, api: PeerApiKey, body: &M, raw: &[u8]) -> Example
where
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id: 0 };
    example(name, &header, body, raw)
}

fn voter(node: i32, incarnation: u32) -> VoterId {
    VoterId { node_id: NodeId(node), incarnation }
}

fn quorum() -> Vec<Example> {
    let member = |node, kind, end| DescribedMember {
        id: voter(node, 300),
        kind,
        durable_end_offset: Offset(end),
    };
    let described = DescribeQuorumResponse {
        error: ErrorCode::NONE,
        leader: NodeId(1),
        epoch: LeaderEpoch(5),
        high_watermark: Offset(200),
        log_end_offset: Offset(201),
        members: vec![
            member(1, MemberKind::Voter, 201),
            member(2, MemberKind::Witness, 200),
            member(3, MemberKind::Observer, -1),
        ],
    };
    vec![
        request(
            "request describe-quorum",
            ApiKey::DescribeQuorum,
            &DescribeQuorumRequest { asks_leader: true },
            b"",
        ),
        response("response describe-quorum", &described, b""),
    ]
}

fn meeting() -> Vec<Example> {
    let identity = PeerIdentity {
        cluster_id: CLUSTER,
        voter: voter(2, 300),
        has_log: true,
        roles: BROKER | CONTROLLER,
        process: ID.0,
    };
    let hello = PeerHello { purpose: Purpose::Replica, identity, nonce: [7; 32] };
    let answer =
        PeerHelloResponse { error: ErrorCode::NONE, identity, nonce: [8; 32], proof: [9; 32] };
    let refused = PeerProofResponse { error: ErrorCode::CLUSTER_AUTHORIZATION_FAILED };
    vec![
        ask("peer hello", PeerApiKey::Hello, &hello, b""),
        response("response peer-hello", &answer, b""),
        ask("peer proof", PeerApiKey::Proof, &PeerProof { proof: [6; 32] }, b""),
        response("response peer-proof", &refused, b""),
    ]
}

fn passing_on() -> Vec<Example> {
    let head = Forwarded { number: 300, api_key: ApiKey::CreateTopics as u8 };
    let answer = Answered { number: 300, error: ErrorCode::NONE, end_offset: Offset(200) };
    vec![
        ask("peer forwarded", PeerApiKey::Forwarded, &head, b"body"),
        ask("peer answered", PeerApiKey::Answered, &answer, b"body"),
    ]
}

fn living() -> Vec<Example> {
    let register = RegisterBrokerRequest {
        node_id: NodeId(2),
        incarnation: CLUSTER,
        directory_id: ID.0,
        cluster_id: CLUSTER,
        feature_level: 1,
        rack: "attic".into(),
        endpoints: vec![PeerEndpoint {
            protocol: "wire".into(),
            host: "edge-2.local".into(),
            port: 7092,
        }],
        unsound: vec![TopicPartition { topic_id: ID, partition: Partition(3) }],
        is_unproven: true,
        was_clean: false,
        metadata_end_offset: Offset(190),
    };
    let beat = BrokerHeartbeatRequest {
        node_id: NodeId(2),
        broker_epoch: 17,
        metadata_end_offset: Offset(200),
        wants_shutdown: false,
        has_failed_dir: false,
    };
    let heard = BrokerHeartbeatResponse { is_fenced: false, may_stop: true };
    let ids = AllocateProducerIdsRequest { node_id: NodeId(2), broker_epoch: 17 };
    let given = AllocateProducerIdsResponse { first_id: 1000, next_id: 2000 };
    vec![
        ask("peer register-broker", PeerApiKey::RegisterBroker, &register, b""),
        response("response register-broker", &RegisterBrokerResponse { broker_epoch: 17 }, b""),
        ask("peer broker-heartbeat", PeerApiKey::BrokerHeartbeat, &beat, b""),
        response("response broker-heartbeat", &heard, b""),
        ask("peer allocate-producer-ids", PeerApiKey::AllocateProducerIds, &ids, b""),
        response("response allocate-producer-ids", &given, b""),
    ]
}
