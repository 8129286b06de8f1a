//! Examples of what an operator says to a site of several brokers.

use odradek::ids::{LeaderEpoch, NodeId, Partition};
use odradek::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignPartition,
};
use odradek::wire::delete_topics::TopicOutcome;
use odradek::wire::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
    DescribedTopic,
};
use odradek::wire::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectPartition, ElectionKind,
};
use odradek::wire::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use odradek::wire::update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef};

use super::{Example, ID, request, response};

/// Every message once.
pub fn all() -> Vec<Example> {
    let mut examples = described();
    examples.extend(elections());
    examples.extend(moves());
    examples.extend(brokers());
    examples
}

const DONE: TopicOutcome<'static> = TopicOutcome { error: ErrorCode::NONE, message: "" };

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn described() -> Vec<Example> {
    let topics = Some(vec![TopicRef::Name("a")]);
    let partition = DescribedPartition {
        error: ErrorCode::NONE,
        partition: Partition(0),
        leader: NodeId(1),
        leader_epoch: LeaderEpoch(3),
        partition_epoch: 200,
        replicas: nodes(&[4, 1, 2]),
        isr: nodes(&[1]),
        elr: nodes(&[2]),
        adding: nodes(&[4]),
        removing: nodes(&[2]),
        offline: nodes(&[2]),
    };
    let topic = DescribedTopic {
        error: ErrorCode::NONE,
        name: "a",
        topic_id: ID,
        is_internal: false,
        partitions: vec![partition],
    };
    let api = ApiKey::DescribeTopicPartitions;
    let described = DescribeTopicPartitionsResponse { topics: vec![topic] };
    vec![
        request(
            "request describe-topic-partitions",
            api,
            &DescribeTopicPartitionsRequest { topics },
            b"",
        ),
        response("response describe-topic-partitions", &described, b""),
    ]
}

fn elections() -> Vec<Example> {
    let wanted = ElectPartition { topic: TopicRef::Name("a"), partition: Partition(3) };
    let elect = ElectLeadersRequest {
        timeout_ms: 30_000,
        kind: ElectionKind::Unclean,
        partitions: vec![wanted],
    };
    let refused = TopicOutcome { error: ErrorCode::ELECTION_NOT_NEEDED, message: "it leads" };
    let elected = ElectLeadersResponse { partitions: vec![DONE, refused] };
    vec![
        request("request elect-leaders", ApiKey::ElectLeaders, &elect, b""),
        response("response elect-leaders", &elected, b""),
    ]
}

fn moves() -> Vec<Example> {
    let wanted = |partition: i32, replicas: Option<Vec<NodeId>>| ReassignPartition {
        topic: TopicRef::Name("a"),
        partition: Partition(partition),
        replicas,
    };
    let reassign = AlterPartitionReassignmentsRequest {
        timeout_ms: 30_000,
        allow_replication_factor_change: true,
        partitions: vec![wanted(0, Some(nodes(&[4, 1]))), wanted(1, None)],
    };
    let refused =
        TopicOutcome { error: ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, message: "it stays" };
    let reassigned = AlterPartitionReassignmentsResponse { partitions: vec![DONE, refused] };
    let api = ApiKey::AlterPartitionReassignments;
    vec![
        request("request alter-partition-reassignments", api, &reassign, b""),
        response("response alter-partition-reassignments", &reassigned, b""),
    ]
}

fn brokers() -> Vec<Example> {
    let unregister = UnregisterBrokerRequest { node_id: NodeId(3) };
    let refused = TopicOutcome { error: ErrorCode::POLICY_VIOLATION, message: "it takes part" };
    let unregistered = UnregisterBrokerResponse { outcomes: vec![refused] };
    let update =
        UpdateFeaturesRequest { timeout_ms: 30_000, validate_only: true, feature_level: 2 };
    let updated = UpdateFeaturesResponse { outcomes: vec![DONE] };
    vec![
        request("request unregister-broker", ApiKey::UnregisterBroker, &unregister, b""),
        response("response unregister-broker", &unregistered, b""),
        request("request update-features", ApiKey::UpdateFeatures, &update, b""),
        response("response update-features", &updated, b""),
    ]
}
