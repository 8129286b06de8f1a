//! The examples of what is said about who belongs to a site, and to a board that is let in; see
//! `wire_examples.rs`.

use odradek::ids::{NodeId, Uuid};
use odradek::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use odradek::wire::describe_members::{
    DescribeMembersRequest, DescribeMembersResponse, DescribedNode, NodeState,
};
use odradek::wire::manage_site::{ManageSiteRequest, ManageSiteResponse, SiteRequest};
use odradek::wire::peer::hello::{BROKER, CONTROLLER, PeerIdentity};
use odradek::wire::peer::pair::{PairGranted, PairOffer, PairRefusal};
use odradek::wire::quorum::VoterId;
use odradek::wire::quorum::members::MemberKind;
use odradek::wire::{ApiKey, ErrorCode};

use super::{CLUSTER, Example, ID, request, response};

/// Every such message once.
pub fn all() -> Vec<Example> {
    let mut examples = members();
    examples.extend(pairing());
    examples
}

fn members() -> Vec<Example> {
    let node = DescribedNode {
        node_id: NodeId(2),
        roles: BROKER | CONTROLLER,
        kind: Some(MemberKind::Voter),
        state: NodeState::Active,
        host: "edge-2.local".into(),
        port: 7092,
        rack: "attic".into(),
        silent_ms: 300,
        broker_epoch: 17,
        directory_id: ID.0,
    };
    let described = DescribeMembersResponse {
        error: ErrorCode::NONE,
        controller: NodeId(1),
        nodes: vec![node],
    };
    let remove = SiteChange::Remove { node_id: NodeId(3), is_forced: true };
    let changed = ChangeMembersResponse {
        error: ErrorCode::NONE,
        message: "it is unregistered",
        is_done: false,
    };
    vec![
        request(
            "request describe-members",
            ApiKey::DescribeMembers,
            &DescribeMembersRequest {},
            b"",
        ),
        response("response describe-members", &described, b""),
        request(
            "request change-members",
            ApiKey::ChangeMembers,
            &ChangeMembersRequest { change: remove },
            b"",
        ),
        response("response change-members", &changed, b""),
    ]
}

fn pairing() -> Vec<Example> {
    let join = SiteRequest::Join { code: "7K3Q-0XZ9-M2WD-R5TB", address: "edge-1.local:7092" };
    let joined = ManageSiteResponse {
        error: ErrorCode::NONE,
        text: "",
        address: "edge-1.local:7092",
        cluster_id: CLUSTER,
    };
    let identity = PeerIdentity {
        cluster_id: CLUSTER,
        voter: VoterId { node_id: NodeId(1), incarnation: 300 },
        has_log: true,
        roles: BROKER | CONTROLLER,
        process: Uuid::ZERO,
    };
    let offer = PairOffer {
        refusal: Some(PairRefusal::NodeIdTaken { free: NodeId(3) }),
        identity,
        nonce: [7; 32],
        proof: [0; 32],
    };
    let granted = PairGranted { refusal: None, sealed: vec![1, 2, 3] };
    vec![
        request(
            "request manage-site",
            ApiKey::ManageSite,
            &ManageSiteRequest { request: join },
            b"",
        ),
        response("response manage-site", &joined, b""),
        response("response pair-offer", &offer, b""),
        response("response pair-granted", &granted, b""),
    ]
}
