//! What an operator asks at Kafka's door, of a node that is alone: a site of one, which leads what
//! there is, moves nothing and elects nobody.

use odradek::ids::{NodeId, Partition};
use odradek::wire::ErrorCode;
use odradek::wire::kafka::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use odradek::wire::kafka::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use odradek::wire::kafka::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, PartitionRequest, TopicRequest,
};
use odradek::wire::kafka::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest as NamedTopic,
};
use odradek::wire::kafka::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, TopicPartitions,
};
use odradek::wire::kafka::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use odradek::wire::kafka::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use odradek::wire::kafka::update_features::{
    FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::{Client, create, decode, start};

#[test]
fn the_quorum_of_one_is_led_by_that_one() {
    let broker = start("operators-quorum", 1);
    let mut client = Client::to(&broker);
    for version in 0..=2 {
        let topic = |topic_name: &'static str, partition: i32| TopicRequest {
            topic_name,
            partitions: vec![PartitionRequest { partition_index: Partition(partition) }],
        };
        let topics = vec![topic("__cluster_metadata", 0), topic("__cluster_metadata", 1)];
        let topics = [topics, vec![topic("other", 0)]].concat();
        let body = client.ask(version, &DescribeQuorumRequest { topics });
        let response: DescribeQuorumResponse<'_> = decode(version, &body);
        assert_eq!(response.error_code, ErrorCode::NONE);
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let errors: Vec<_> = response.topics.iter().map(|t| t.partitions[0].error_code).collect();
        assert_eq!(errors, [ErrorCode::NONE, unknown, unknown]);
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.leader_id, found.observers.len()), (NodeId(1), 0));
        assert_eq!(found.current_voters.len(), 1);
        assert_eq!(found.current_voters[0].replica_id, NodeId(1));
        assert!(found.high_watermark <= found.current_voters[0].log_end_offset);
        assert!(odradek::ids::Offset(0) < found.high_watermark);
        assert_eq!(response.nodes.len(), usize::from(version == 2));
    }
}

#[test]
fn leaders_of_one_need_no_election() {
    let broker = start("operators-elect", 2);
    let mut client = Client::to(&broker);
    create(&mut client, "t", 2);
    for version in 0..=2 {
        let wanted = |topic: &'static str, partitions: &[i32]| TopicPartitions {
            topic,
            partitions: partitions.iter().map(|number| Partition(*number)).collect(),
        };
        let named = Some(vec![wanted("t", &[0, 1, 2]), wanted("u", &[0])]);
        let request = ElectLeadersRequest { topic_partitions: named, ..<_>::default() };
        let body = client.ask(version, &request);
        let response: ElectLeadersResponse<'_> = decode(version, &body);
        let results = response.replica_election_results.iter();
        let codes: Vec<(&str, Vec<ErrorCode>)> = results
            .map(|topic| {
                (topic.topic, topic.partition_result.iter().map(|one| one.error_code).collect())
            })
            .collect();
        let (needless, unknown) =
            (ErrorCode::ELECTION_NOT_NEEDED, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(codes, [("t", vec![needless, needless, unknown]), ("u", vec![unknown])]);
        // Of all of them none needs one, so that none is named.
        let all = ElectLeadersRequest { topic_partitions: None, ..<_>::default() };
        let body = client.ask(version, &all);
        let response: ElectLeadersResponse<'_> = decode(version, &body);
        assert_eq!(response.replica_election_results, []);
    }
    let strange = ElectLeadersRequest { election_type: 7, ..<_>::default() };
    let body = client.ask(2, &strange);
    let response: ElectLeadersResponse<'_> = decode(2, &body);
    assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST);
}

#[test]
fn a_partition_of_one_moves_nowhere() {
    let broker = start("operators-move", 1);
    let mut client = Client::to(&broker);
    create(&mut client, "t", 1);
    for version in 0..=1 {
        let codes = |client: &mut Client, replicas: Option<&[i32]>| {
            let replicas = replicas.map(|list| list.iter().map(|node| NodeId(*node)).collect());
            let partition = ReassignablePartition { partition_index: Partition(0), replicas };
            let topics = vec![ReassignableTopic { name: "t", partitions: vec![partition] }];
            let request = AlterPartitionReassignmentsRequest { topics, ..<_>::default() };
            let body = client.ask(version, &request);
            let response: AlterPartitionReassignmentsResponse<'_> = decode(version, &body);
            response.responses[0].partitions[0].error_code
        };
        assert_eq!(codes(&mut client, Some(&[1])), ErrorCode::NONE, "it is there");
        let nowhere = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
        assert_eq!(codes(&mut client, Some(&[2])), nowhere);
        assert_eq!(codes(&mut client, Some(&[1, 2])), nowhere);
        assert_eq!(codes(&mut client, None), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
    }
    let body = client.ask(0, &ListPartitionReassignmentsRequest::default());
    let response: ListPartitionReassignmentsResponse<'_> = decode(0, &body);
    assert_eq!((response.error_code, response.topics.len()), (ErrorCode::NONE, 0));
    let topics = vec![NamedTopic { name: "t" }, NamedTopic { name: "u" }];
    let body = client.ask(0, &DescribeTopicPartitionsRequest { topics, ..<_>::default() });
    let response: DescribeTopicPartitionsResponse<'_> = decode(0, &body);
    let found = &response.topics[0].partitions[0];
    assert_eq!((found.leader_id, &found.isr_nodes[..]), (NodeId(1), &[NodeId(1)][..]));
    assert_eq!(found.eligible_leader_replicas, Some(Vec::new()));
    assert_eq!(found.offline_replicas, []);
    assert_eq!(response.topics[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn the_one_broker_stays_and_its_level_is_told() {
    let broker = start("operators-level", 1);
    let mut client = Client::to(&broker);
    for (node, expected) in
        [(1, ErrorCode::POLICY_VIOLATION), (2, ErrorCode::BROKER_ID_NOT_REGISTERED)]
    {
        let body = client.ask(0, &UnregisterBrokerRequest { broker_id: NodeId(node) });
        let response: UnregisterBrokerResponse<'_> = decode(0, &body);
        assert_eq!(response.error_code, expected);
        assert!(response.error_message.is_some());
    }
    let asked = ApiVersionsRequest { client_software_name: "t", client_software_version: "1" };
    let body = client.ask(4, &asked);
    let response: ApiVersionsResponse<'_> = decode(4, &body);
    let (supported, finalized) = (&response.supported_features[0], &response.finalized_features[0]);
    assert_eq!((supported.name, finalized.name), ("odradek.level", "odradek.level"));
    assert_eq!(finalized.max_version_level, 1);
    for version in 0..=2 {
        let answered = |client: &mut Client, updates: &[(&'static str, i16)]| {
            let update = |(feature, level): &(&'static str, i16)| FeatureUpdateKey {
                feature,
                max_version_level: *level,
                ..<_>::default()
            };
            let feature_updates = updates.iter().map(update).collect();
            let request = UpdateFeaturesRequest { feature_updates, ..<_>::default() };
            let body = client.ask(version, &request);
            let response: UpdateFeaturesResponse<'_> = decode(version, &body);
            let codes: Vec<ErrorCode> = response.results.iter().map(|one| one.error_code).collect();
            (response.error_code, codes)
        };
        let none = ErrorCode::NONE;
        let bad = ErrorCode::INVALID_UPDATE_VERSION;
        let each = |codes: &[ErrorCode]| if version < 2 { codes.to_vec() } else { Vec::new() };
        let top = |code: ErrorCode| if version < 2 { none } else { code };
        assert_eq!(answered(&mut client, &[("odradek.level", 1)]), (none, each(&[none])));
        assert_eq!(answered(&mut client, &[("odradek.level", 2)]), (top(bad), each(&[bad])));
        assert_eq!(answered(&mut client, &[("odradek.level", -1)]), (top(bad), each(&[bad])));
        let both = [("odradek.level", 1), ("metadata.version", 29)];
        assert_eq!(answered(&mut client, &both), (top(bad), each(&[none, bad])));
    }
}
