//! The examples of the messages about groups; see `wire_examples.rs`.

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition};
use odradek::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerMember,
    DescribedConsumerGroup, NamedPartitions,
};
use odradek::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use odradek::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use odradek::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedMember,
};
use odradek::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator,
};
use odradek::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol, JoinedMember};
use odradek::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember};
use odradek::wire::list_groups::{
    GroupKind, GroupState, ListGroupsRequest, ListGroupsResponse, ListedGroup,
};
use odradek::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::offset_delete::{DeleteOffset, OffsetDeleteRequest, OffsetDeleteResponse};
use odradek::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, FetchedOffset, FetchedOffsets, OffsetFetchRequest,
    OffsetFetchResponse,
};
use odradek::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef};

use super::{Example, ID, request, response};

/// Every message about groups once.
pub fn all() -> Vec<Example> {
    let mut examples = Vec::new();
    examples.extend(membership());
    examples.extend(presence());
    examples.extend(committed());
    examples.extend(forgotten());
    examples.extend(groups());
    examples.extend(consumer_groups());
    examples
}

fn membership() -> [Example; 4] {
    [
        request(
            "request join-group",
            ApiKey::JoinGroup,
            &JoinGroupRequest {
                group_id: "g",
                session_timeout_ms: 45_000,
                rebalance_timeout_ms: -1,
                member_id: "",
                group_instance_id: Some("i"),
                protocol_type: "consumer",
                protocols: vec![JoinProtocol { name: "range", metadata: b"m" }],
                reason: None,
                needs_known_member_id: true,
                can_skip_assignment: true,
            },
            b"",
        ),
        response(
            "response join-group",
            &JoinGroupResponse {
                error: ErrorCode::NONE,
                generation_id: 7,
                protocol_type: Some("consumer"),
                protocol_name: Some("range"),
                leader: "c-1",
                skip_assignment: false,
                member_id: "c-1",
                members: vec![JoinedMember {
                    member_id: "c-1",
                    group_instance_id: Some("i"),
                    metadata: b"m",
                }],
            },
            b"",
        ),
        request(
            "request sync-group",
            ApiKey::SyncGroup,
            &SyncGroupRequest {
                group_id: "g",
                generation_id: 7,
                member_id: "c-1",
                group_instance_id: None,
                protocol_type: Some("consumer"),
                protocol_name: Some("range"),
                assignments: vec![SyncAssignment { member_id: "c-1", assignment: b"as" }],
            },
            b"",
        ),
        response(
            "response sync-group",
            &SyncGroupResponse {
                error: ErrorCode::NONE,
                protocol_type: Some("consumer"),
                protocol_name: Some("range"),
                assignment: b"as",
            },
            b"",
        ),
    ]
}

fn presence() -> [Example; 4] {
    [
        request(
            "request heartbeat",
            ApiKey::Heartbeat,
            &HeartbeatRequest {
                group_id: "g",
                generation_id: 7,
                member_id: "c-1",
                group_instance_id: None,
            },
            b"",
        ),
        response(
            "response heartbeat",
            &HeartbeatResponse { error: ErrorCode::REBALANCE_IN_PROGRESS },
            b"",
        ),
        request(
            "request leave-group",
            ApiKey::LeaveGroup,
            &LeaveGroupRequest {
                group_id: "g",
                members: vec![LeavingMember {
                    member_id: "c-1",
                    group_instance_id: None,
                    reason: Some("bye"),
                }],
            },
            b"",
        ),
        response(
            "response leave-group",
            &LeaveGroupResponse { error: ErrorCode::NONE, members: vec![ErrorCode::NONE] },
            b"",
        ),
    ]
}

fn asked() -> Vec<FetchOffsetsGroup<'static>> {
    let partition = FetchOffset { topic: TopicRef::Id(ID), partition: Partition(2) };
    vec![
        FetchOffsetsGroup {
            group_id: "g",
            member_id: None,
            member_epoch: -1,
            partitions: Some(vec![partition]),
        },
        FetchOffsetsGroup {
            group_id: "h",
            member_id: Some("m"),
            member_epoch: 5,
            partitions: None,
        },
    ]
}

fn committed() -> [Example; 4] {
    [
        request(
            "request offset-commit",
            ApiKey::OffsetCommit,
            &OffsetCommitRequest {
                group_id: "g",
                generation_id_or_member_epoch: 7,
                member_id: "c-1",
                group_instance_id: None,
                retention_time_ms: -1,
                knows_member_epochs: true,
                partitions: vec![CommitPartition {
                    topic: TopicRef::Name("a"),
                    partition: Partition(2),
                    offset: Offset(300),
                    leader_epoch: LeaderEpoch(3),
                    metadata: "here",
                }],
            },
            b"",
        ),
        response(
            "response offset-commit",
            &OffsetCommitResponse { partitions: vec![ErrorCode::NONE] },
            b"",
        ),
        request(
            "request offset-fetch",
            ApiKey::OffsetFetch,
            &OffsetFetchRequest { require_stable: true, groups: asked() },
            b"",
        ),
        response("response offset-fetch", &fetched_offsets(), b""),
    ]
}

fn fetched_offsets() -> OffsetFetchResponse<'static> {
    OffsetFetchResponse {
        groups: vec![
            FetchedOffsets {
                error: ErrorCode::NONE,
                partitions: vec![FetchedOffset {
                    topic: TopicRef::Id(ID),
                    partition: Partition(2),
                    offset: Offset(300),
                    leader_epoch: LeaderEpoch(3),
                    metadata: "here",
                    error: ErrorCode::NONE,
                }],
            },
            FetchedOffsets { error: ErrorCode::STALE_MEMBER_EPOCH, partitions: vec![] },
        ],
    }
}

fn forgotten() -> [Example; 4] {
    let partition = DeleteOffset { topic: TopicRef::Name("a"), partition: Partition(2) };
    [
        request(
            "request offset-delete",
            ApiKey::OffsetDelete,
            &OffsetDeleteRequest { group_id: "g", partitions: vec![partition] },
            b"",
        ),
        response(
            "response offset-delete",
            &OffsetDeleteResponse {
                error: ErrorCode::NONE,
                partitions: vec![ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC],
            },
            b"",
        ),
        request(
            "request delete-groups",
            ApiKey::DeleteGroups,
            &DeleteGroupsRequest { groups: vec!["g"] },
            b"",
        ),
        response(
            "response delete-groups",
            &DeleteGroupsResponse { groups: vec![ErrorCode::NON_EMPTY_GROUP] },
            b"",
        ),
    ]
}

fn groups() -> [Example; 6] {
    [
        request(
            "request find-coordinator",
            ApiKey::FindCoordinator,
            &FindCoordinatorRequest { kind: CoordinatorKind::Group, keys: vec!["g"] },
            b"",
        ),
        response(
            "response find-coordinator",
            &FindCoordinatorResponse {
                coordinators: vec![
                    FoundCoordinator {
                        error: ErrorCode::NONE,
                        node_id: NodeId(1),
                        host: "127.0.0.1",
                        port: 7092,
                    },
                    FoundCoordinator::failed(ErrorCode::COORDINATOR_NOT_AVAILABLE),
                ],
            },
            b"",
        ),
        request(
            "request list-groups",
            ApiKey::ListGroups,
            &ListGroupsRequest {
                states: vec![GroupState::Stable],
                kinds: vec![GroupKind::Classic, GroupKind::Consumer],
            },
            b"",
        ),
        response(
            "response list-groups",
            &ListGroupsResponse {
                error: ErrorCode::NONE,
                groups: vec![ListedGroup {
                    group_id: "g",
                    protocol_type: "consumer",
                    state: GroupState::Stable,
                    kind: GroupKind::Classic,
                }],
            },
            b"",
        ),
        request(
            "request describe-groups",
            ApiKey::DescribeGroups,
            &DescribeGroupsRequest { groups: vec!["g", "h"] },
            b"",
        ),
        response(
            "response describe-groups",
            &DescribeGroupsResponse {
                groups: vec![described(), DescribedGroup::failed(ErrorCode::GROUP_ID_NOT_FOUND)],
            },
            b"",
        ),
    ]
}

fn described() -> DescribedGroup<'static> {
    DescribedGroup {
        error: ErrorCode::NONE,
        state: GroupState::Stable,
        protocol_type: "consumer",
        protocol_name: "range",
        members: vec![DescribedMember {
            member_id: "c-1",
            group_instance_id: None,
            client_id: "c",
            client_host: "/127.0.0.1",
            metadata: b"m",
            assignment: b"as",
        }],
    }
}

fn consumer_groups() -> [Example; 4] {
    let held = || TopicPartitions { topic_id: ID, partitions: vec![Partition(2)] };
    [
        request(
            "request consumer-group-heartbeat",
            ApiKey::ConsumerGroupHeartbeat,
            &ConsumerGroupHeartbeatRequest {
                group_id: "g",
                member_id: "m",
                member_epoch: 5,
                instance_id: Some("i"),
                rack_id: None,
                rebalance_timeout_ms: -1,
                subscribed_topics: Some(vec!["a"]),
                subscribed_regex: Some("b.*"),
                server_assignor: None,
                owned: Some(vec![held()]),
            },
            b"",
        ),
        response(
            "response consumer-group-heartbeat",
            &ConsumerGroupHeartbeatResponse {
                error: ErrorCode::NONE,
                member_id: "m",
                member_epoch: 6,
                heartbeat_interval_ms: 5_000,
                assignment: Some(vec![held()]),
            },
            b"",
        ),
        request(
            "request consumer-group-describe",
            ApiKey::ConsumerGroupDescribe,
            &ConsumerGroupDescribeRequest { groups: vec!["g", "h"] },
            b"",
        ),
        response(
            "response consumer-group-describe",
            &ConsumerGroupDescribeResponse {
                groups: vec![
                    described_consumers(),
                    DescribedConsumerGroup::failed(ErrorCode::GROUP_ID_NOT_FOUND),
                ],
            },
            b"",
        ),
    ]
}

fn described_consumers() -> DescribedConsumerGroup<'static> {
    let named = || NamedPartitions { topic_id: ID, topic: "a", partitions: vec![Partition(2)] };
    DescribedConsumerGroup {
        error: ErrorCode::NONE,
        state: GroupState::Reconciling,
        epoch: 6,
        assignment_epoch: 6,
        assignor: "uniform",
        members: vec![ConsumerMember {
            member_id: "m",
            instance_id: None,
            rack_id: None,
            member_epoch: 5,
            client_id: "c",
            client_host: "/127.0.0.1",
            subscribed_topics: vec!["a"],
            subscribed_regex: None,
            assignment: vec![],
            target: vec![named()],
            kind: GroupKind::Consumer,
        }],
    }
}
