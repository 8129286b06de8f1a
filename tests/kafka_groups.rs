//! Groups at Kafka's door over a real socket, in the oldest and the newest version of each API, and
//! in those where something changes. The client here is the codec's other direction; real clients
//! knock in `interop/groups.rs`.

#[path = "support/running.rs"]
#[expect(dead_code, reason = "other tests use its other door")]
mod running;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use odradek::config::Protocol;
use odradek::ids::{NodeId, Offset, Partition, TopicId};
use odradek::wire::ErrorCode;
use odradek::wire::kafka::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use odradek::wire::kafka::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use odradek::wire::kafka::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use odradek::wire::kafka::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::kafka::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use odradek::wire::kafka::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use odradek::wire::kafka::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use odradek::wire::kafka::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use odradek::wire::kafka::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::kafka::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use odradek::wire::kafka::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use odradek::wire::kafka::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use odradek::wire::kafka::list_groups::{ListGroupsRequest, ListGroupsResponse};
use odradek::wire::kafka::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use odradek::wire::kafka::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use odradek::wire::kafka::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use odradek::wire::kafka::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use odradek::wire::kafka::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use odradek::wire::kafka::{
    ApiKey, Frame, Message, Records, decode_response_header, encode_request,
};
use running::Running;

fn start(name: &str) -> Running {
    let listeners = "listeners=[\"wire://127.0.0.1:0\",\"kafka://127.0.0.1:0\"]";
    Running::start(name, 2, &[listeners, "group.initial.rebalance.delay.ms=0"])
}

/// A client's connection.
struct Client {
    socket: TcpStream,
    next_id: i32,
}

impl Client {
    fn to(broker: &Running) -> Client {
        let socket = TcpStream::connect(broker.address_of(Protocol::Kafka)).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Client { socket, next_id: 1 }
    }

    fn send<'a, M: Message<'a>>(&mut self, version: i16, message: &M) {
        let mut frame = Frame::new();
        self.next_id += 1;
        encode_request(version, self.next_id, Some("a test"), message, &mut frame);
        self.socket.write_all(frame.bytes()).expect("sent");
    }

    fn body(&mut self, api: ApiKey, version: i16) -> Vec<u8> {
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix).expect("answered");
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.socket.read_exact(&mut frame).expect("answered");
        let (correlation_id, body) = decode_response_header(api, version, &frame).expect("legal");
        assert_eq!(correlation_id, self.next_id);
        body.to_vec()
    }

    fn ask<'a, M: Message<'a>>(&mut self, version: i16, message: &M) -> Vec<u8> {
        self.send(version, message);
        self.body(M::API, version)
    }
}

fn decode<'a, M: Message<'a>>(version: i16, body: &'a [u8]) -> M {
    M::decode(version, body).expect("the broker speaks the protocol")
}

fn create(client: &mut Client, name: &str) -> TopicId {
    let topic = CreatableTopic {
        name,
        num_partitions: 2,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let body = client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..<_>::default() });
    let response: CreateTopicsResponse<'_> = decode(7, &body);
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
    response.topics[0].topic_id
}

/// Looks a group's coordinator up until it has read its log.
fn await_coordinator(client: &mut Client, group_id: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let request = FindCoordinatorRequest { key: group_id, ..<_>::default() };
        let body = client.ask(0, &request);
        let found: FindCoordinatorResponse<'_> = decode(0, &body);
        assert_eq!((found.error_code, found.node_id), (ErrorCode::NONE, NodeId(1)));
        let request = DescribeGroupsRequest { groups: vec![group_id], ..<_>::default() };
        let body = client.ask(6, &request);
        let described: DescribeGroupsResponse<'_> = decode(6, &body);
        if described.groups[0].error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            return;
        }
        assert!(Instant::now() < deadline, "a log of nothing is read at once");
    }
}

fn commit(
    client: &mut Client,
    version: i16,
    group_id: &str,
    topic: (&str, TopicId),
    generation: i32,
) -> Vec<ErrorCode> {
    commit_as(client, version, (group_id, ""), topic, generation)
}

fn commit_as(
    client: &mut Client,
    version: i16,
    (group_id, member_id): (&str, &str),
    (name, topic_id): (&str, TopicId),
    generation: i32,
) -> Vec<ErrorCode> {
    let partition = |index| OffsetCommitRequestPartition {
        partition_index: Partition(index),
        committed_offset: Offset(i64::from(version) * 100 + i64::from(index)),
        committed_metadata: None,
        ..<_>::default()
    };
    let topic = OffsetCommitRequestTopic {
        name,
        topic_id,
        partitions: vec![partition(0), partition(1), partition(2)],
    };
    let request = OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: generation,
        member_id,
        topics: vec![topic],
        ..<_>::default()
    };
    let body = client.ask(version, &request);
    let response: OffsetCommitResponse<'_> = decode(version, &body);
    let topic = &response.topics[0];
    if version < 10 {
        assert_eq!(topic.name, name);
    } else {
        assert_eq!(topic.topic_id, topic_id);
    }
    topic.partitions.iter().map(|partition| partition.error_code).collect()
}

#[test]
fn coordinators_are_found_in_every_version() {
    let broker = start("kafka-find");
    let mut client = Client::to(&broker);
    let port: i32 = broker
        .address_of(Protocol::Kafka)
        .rsplit_once(':')
        .expect("has a port")
        .1
        .parse()
        .expect("a number");
    for version in ApiKey::FindCoordinator.versions() {
        let keys = vec!["one", "two"];
        let request = FindCoordinatorRequest { key: "one", key_type: 0, coordinator_keys: keys };
        let body = client.ask(version, &request);
        let found: FindCoordinatorResponse<'_> = decode(version, &body);
        if version < 4 {
            assert_eq!(
                (found.error_code, found.host, found.port),
                (ErrorCode::NONE, "127.0.0.1", port)
            );
        } else {
            let keys: Vec<&str> = found.coordinators.iter().map(|found| found.key).collect();
            assert_eq!(keys, ["one", "two"]);
            assert!(found.coordinators.iter().all(|found| found.port == port));
        }
    }
    for key_type in [1, 2, -1] {
        let request =
            FindCoordinatorRequest { key_type, coordinator_keys: vec!["x"], ..<_>::default() };
        let body = client.ask(6, &request);
        let found: FindCoordinatorResponse<'_> = decode(6, &body);
        let found = &found.coordinators[0];
        assert_eq!((found.error_code, found.node_id), (ErrorCode::INVALID_REQUEST, NodeId(-1)));
    }
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let broker = start("kafka-offsets");
    let mut client = Client::to(&broker);
    let topic = ("plant", create(&mut client, "plant"));
    await_coordinator(&mut client, "g");
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for version in ApiKey::OffsetCommit.versions() {
        let errors = commit(&mut client, version, "g", topic, -1);
        assert_eq!(errors, [ErrorCode::NONE, ErrorCode::NONE, unknown], "version {version}");
        let stale = commit(&mut client, version, "nobody", topic, 3);
        let expected = match version {
            ..9 => ErrorCode::ILLEGAL_GENERATION,
            _ => ErrorCode::GROUP_ID_NOT_FOUND,
        };
        assert_eq!(stale[0], expected, "version {version}");
    }
    let strange = commit(&mut client, 10, "g", ("plant", TopicId::default()), -1);
    assert_eq!(strange, [ErrorCode::UNKNOWN_TOPIC_ID; 3]);
    let partitions = vec![Partition(1), Partition(0)];
    for version in ApiKey::OffsetFetch.versions() {
        for wants_all in [false, true].into_iter().filter(|all| !all || 2 <= version) {
            let found = if version < 8 {
                let wanted = OffsetFetchRequestTopic {
                    name: "plant",
                    partition_indexes: partitions.clone(),
                };
                let topics = (!wants_all).then(|| vec![wanted]);
                let request = OffsetFetchRequest { group_id: "g", topics, ..<_>::default() };
                let body = client.ask(version, &request);
                let response: OffsetFetchResponse<'_> = decode(version, &body);
                assert_eq!(response.error_code, ErrorCode::NONE);
                let partitions = response.topics[0].partitions.iter();
                partitions
                    .map(|found| (found.partition_index.0, found.committed_offset.0))
                    .collect::<Vec<_>>()
            } else {
                let wanted = OffsetFetchRequestTopics {
                    name: "plant",
                    topic_id: topic.1,
                    partition_indexes: partitions.clone(),
                };
                let group = OffsetFetchRequestGroup {
                    group_id: "g",
                    topics: (!wants_all).then(|| vec![wanted]),
                    ..<_>::default()
                };
                let other = OffsetFetchRequestGroup { group_id: "h", ..group.clone() };
                let groups = vec![group, other];
                let body = client.ask(version, &OffsetFetchRequest { groups, ..<_>::default() });
                let response: OffsetFetchResponse<'_> = decode(version, &body);
                assert_eq!(response.groups[1].group_id, "h");
                let topics = &response.groups[0].topics;
                assert_eq!((topics.len(), topics[0].topic_id == topic.1), (1, 10 <= version));
                let partitions = topics[0].partitions.iter();
                partitions
                    .map(|found| (found.partition_index.0, found.committed_offset.0))
                    .collect()
            };
            let expected = [(1, 1001), (0, 1000)];
            let mut sorted = expected;
            sorted.sort_unstable();
            assert_eq!(found, if wants_all { sorted } else { expected }, "version {version}");
        }
    }
}

/// semantics.md 2.19 (`ConsumerGroup.validateOffsetCommit`): who speaks KIP-848 and commits by a
/// version of before it is refused, however right its epoch is.
#[test]
fn members_of_kip_848_commit_by_new_versions_and_are_described() {
    let broker = start("kafka-consumers");
    let mut client = Client::to(&broker);
    let topic = ("plant", create(&mut client, "plant"));
    await_coordinator(&mut client, "g");
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g",
        member_id: "m",
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["plant"]),
        topic_partitions: Some(vec![]),
        ..<_>::default()
    };
    let body = client.ask(1, &request);
    let joined: ConsumerGroupHeartbeatResponse<'_> = decode(1, &body);
    assert_eq!(joined.error_code, ErrorCode::NONE);
    let epoch = joined.member_epoch;
    for version in ApiKey::OffsetCommit.versions() {
        let expected = match version {
            ..9 => [ErrorCode::UNSUPPORTED_VERSION; 2],
            _ => [ErrorCode::NONE, ErrorCode::STALE_MEMBER_EPOCH],
        };
        for (epoch, expected) in [epoch, epoch + 1].into_iter().zip(expected) {
            let errors = commit_as(&mut client, version, ("g", "m"), topic, epoch);
            assert_eq!(errors[0], expected, "version {version}, epoch {epoch}");
        }
    }
    for version in ApiKey::ConsumerGroupDescribe.versions() {
        for include_authorized_operations in [false, true] {
            let group_ids = vec!["g", "nobody"];
            let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations };
            let body = client.ask(version, &request);
            let described: ConsumerGroupDescribeResponse<'_> = decode(version, &body);
            let allowed = described.groups.iter().map(|group| group.authorized_operations);
            let of_group = if include_authorized_operations { 0xd48 } else { i32::MIN };
            assert_eq!(allowed.collect::<Vec<_>>(), [of_group, i32::MIN]);
            assert_eq!(described.groups[0].members[0].member_id, "m");
        }
    }
}

/// KIP-848: a group may have times of its own, which its members are told and a restart keeps.
#[test]
fn a_group_is_configured_before_it_is_there() {
    let mut broker = start("kafka-group-configs");
    let mut client = Client::to(&broker);
    create(&mut client, "plant");
    let interval = "consumer.heartbeat.interval.ms";
    let mut set = |group: &str, value: &str| {
        let config = AlterableConfig { name: interval, value: Some(value), ..<_>::default() };
        let resource = AlterConfigsResource {
            resource_type: GROUP,
            resource_name: group,
            configs: vec![config],
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], ..<_>::default() };
        let body = client.ask(1, &request);
        let altered: IncrementalAlterConfigsResponse<'_> = decode(1, &body);
        altered.responses[0].error_code
    };
    assert_eq!(set("g", "7000"), ErrorCode::NONE);
    assert_eq!(set("g", "70000"), ErrorCode::INVALID_CONFIG);
    assert_eq!(set("", "7000"), ErrorCode::INVALID_REQUEST);
    for round in 0..2 {
        assert_eq!(beat_interval(&mut client, "g", round), 7000);
        assert_eq!(beat_interval(&mut client, "h", round), 5000);
        let own = group_configs(&mut client, "g");
        let session = ("consumer.session.timeout.ms".to_owned(), "45000".to_owned(), 5);
        assert_eq!(own, [(interval.to_owned(), "7000".to_owned(), 8), session]);
        drop(client);
        broker.restart();
        client = Client::to(&broker);
    }
    let config = alter_configs::AlterableConfig {
        name: "consumer.session.timeout.ms",
        value: Some("60000"),
    };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: GROUP,
        resource_name: "g",
        configs: vec![config],
    };
    let body = client.ask(2, &AlterConfigsRequest { resources: vec![resource], ..<_>::default() });
    let replaced: AlterConfigsResponse<'_> = decode(2, &body);
    assert_eq!(replaced.responses[0].error_code, ErrorCode::NONE);
    let own = group_configs(&mut client, "g").into_iter().map(|(_, value, source)| (value, source));
    assert_eq!(own.collect::<Vec<_>>(), [("5000".to_owned(), 5), ("60000".to_owned(), 8)]);
    assert_eq!(beat_interval(&mut client, "g", 2), 5000);
}

/// Kafka's number for groups among what has a configuration.
const GROUP: i8 = 32;

/// Keys, values and sources.
fn group_configs(client: &mut Client, group_id: &str) -> Vec<(String, String, i8)> {
    let resource = DescribeConfigsResource {
        resource_type: GROUP,
        resource_name: group_id,
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..<_>::default() };
    let body = client.ask(4, &request);
    let described: DescribeConfigsResponse<'_> = decode(4, &body);
    assert_eq!(described.results[0].error_code, ErrorCode::NONE);
    let configs = described.results[0].configs.iter();
    let told = configs.map(|config| {
        assert!(!config.read_only);
        (config.name.to_owned(), config.value.expect("told").to_owned(), config.config_source)
    });
    told.collect()
}

/// Joins a group of KIP-848; answers how often the member is to be heard of.
fn beat_interval(client: &mut Client, group_id: &str, round: usize) -> i32 {
    await_coordinator(client, group_id);
    let member_id = format!("m{round}");
    let request = ConsumerGroupHeartbeatRequest {
        group_id,
        member_id: &member_id,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["plant"]),
        topic_partitions: Some(vec![]),
        ..<_>::default()
    };
    let body = client.ask(1, &request);
    let told: ConsumerGroupHeartbeatResponse<'_> = decode(1, &body);
    assert_eq!(told.error_code, ErrorCode::NONE);
    told.heartbeat_interval_ms
}

#[test]
fn offsets_are_forgotten_one_by_one() {
    let broker = start("kafka-forget");
    let mut client = Client::to(&broker);
    let topic = ("plant", create(&mut client, "plant"));
    await_coordinator(&mut client, "g");
    commit(&mut client, 9, "g", topic, -1);
    let partition = |index| OffsetDeleteRequestPartition { partition_index: Partition(index) };
    let topic = |name, index| OffsetDeleteRequestTopic { name, partitions: vec![partition(index)] };
    let request =
        OffsetDeleteRequest { group_id: "g", topics: vec![topic("nowhere", 0), topic("plant", 1)] };
    let body = client.ask(0, &request);
    let deleted: OffsetDeleteResponse<'_> = decode(0, &body);
    let errors = deleted.topics.iter().map(|topic| topic.partitions[0].error_code);
    let expected = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::NONE];
    assert_eq!(errors.collect::<Vec<_>>(), expected);
    let body = client.ask(0, &OffsetDeleteRequest { group_id: "nobody", ..request });
    let deleted: OffsetDeleteResponse<'_> = decode(0, &body);
    assert_eq!(deleted.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
}

/// One member's way through a generation, with one version of each API.
fn live(client: &mut Client, group_id: &str, join: i16, sync: i16, beat: i16, leave: i16) {
    let protocol = JoinGroupRequestProtocol { name: "range", metadata: b"said" };
    let mut request = JoinGroupRequest {
        group_id,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer",
        protocols: vec![protocol],
        ..<_>::default()
    };
    let body = client.ask(join, &request);
    let response: JoinGroupResponse<'_> = decode(join, &body);
    let mut member_id = response.member_id.to_owned();
    let mut body = body.clone();
    if 4 <= join {
        assert_eq!(response.error_code, ErrorCode::MEMBER_ID_REQUIRED, "KIP-394");
        let known = member_id.clone();
        request.member_id = &known;
        body = client.ask(join, &request);
        let response: JoinGroupResponse<'_> = decode(join, &body);
        response.member_id.clone_into(&mut member_id);
    }
    let joined: JoinGroupResponse<'_> = decode(join, &body);
    assert_eq!((joined.error_code, joined.leader), (ErrorCode::NONE, &*member_id));
    assert_eq!(joined.protocol_name, Some("range"));
    assert_eq!(joined.members[0].metadata, b"said");
    let generation_id = joined.generation_id;

    let assignment = SyncGroupRequestAssignment { member_id: &member_id, assignment: b"all" };
    let request = SyncGroupRequest {
        group_id,
        generation_id,
        member_id: &member_id,
        group_instance_id: None,
        protocol_type: Some("consumer"),
        protocol_name: Some("range"),
        assignments: vec![assignment],
    };
    if 5 <= sync {
        let body = client.ask(sync, &SyncGroupRequest { protocol_name: None, ..request.clone() });
        let synced: SyncGroupResponse<'_> = decode(sync, &body);
        assert_eq!(synced.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "KIP-559");
    }
    let body = client.ask(sync, &request);
    let synced: SyncGroupResponse<'_> = decode(sync, &body);
    assert_eq!((synced.error_code, synced.assignment), (ErrorCode::NONE, &b"all"[..]));

    let request = HeartbeatRequest {
        group_id,
        generation_id,
        member_id: &member_id,
        group_instance_id: None,
    };
    let body = client.ask(beat, &request);
    let beaten: HeartbeatResponse = decode(beat, &body);
    assert_eq!(beaten.error_code, ErrorCode::NONE);

    let leaving = MemberIdentity { member_id: &member_id, ..<_>::default() };
    let request = LeaveGroupRequest { group_id, member_id: &member_id, members: vec![leaving] };
    let body = client.ask(leave, &request);
    let left: LeaveGroupResponse<'_> = decode(leave, &body);
    assert_eq!(left.error_code, ErrorCode::NONE);
    let again = client.ask(leave, &request);
    let left: LeaveGroupResponse<'_> = decode(leave, &again);
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    match leave {
        ..3 => assert_eq!(left.error_code, unknown),
        _ => assert_eq!((left.error_code, left.members[0].error_code), (ErrorCode::NONE, unknown)),
    }
}

#[test]
fn a_member_joins_and_leaves_in_every_version() {
    let broker = start("kafka-members");
    let mut client = Client::to(&broker);
    for version in ApiKey::JoinGroup.versions() {
        let group_id = format!("group-{version}");
        await_coordinator(&mut client, &group_id);
        let of = |api: ApiKey| version.min(*api.versions().end());
        let (sync, beat) = (of(ApiKey::SyncGroup), of(ApiKey::Heartbeat));
        live(&mut client, &group_id, version, sync, beat, of(ApiKey::LeaveGroup));
    }
    for version in ApiKey::ListGroups.versions() {
        let body = client.ask(version, &ListGroupsRequest::default());
        let listed: ListGroupsResponse<'_> = decode(version, &body);
        assert_eq!((listed.error_code, listed.groups.len()), (ErrorCode::NONE, 10));
        let group = &listed.groups[0];
        assert_eq!((group.group_id, group.protocol_type), ("group-0", "consumer"));
        assert_eq!(group.group_state, if version < 4 { "" } else { "Empty" });
        assert_eq!(group.group_type, if version < 5 { "" } else { "Classic" });
    }
    for (states_filter, types_filter, count) in [
        (vec!["empty"], vec![], 10),
        (vec!["Stable", "strange"], vec![], 0),
        (vec!["strange"], vec![], 0),
        (vec![], vec!["classic"], 10),
        (vec![], vec!["share"], 0),
    ] {
        let body = client.ask(5, &ListGroupsRequest { states_filter, types_filter });
        let listed: ListGroupsResponse<'_> = decode(5, &body);
        assert_eq!(listed.groups.len(), count);
    }
    for version in ApiKey::DescribeGroups.versions() {
        let request = DescribeGroupsRequest { groups: vec!["group-0", "nobody"], ..<_>::default() };
        let body = client.ask(version, &request);
        let described: DescribeGroupsResponse<'_> = decode(version, &body);
        assert_eq!(described.groups[0].group_state, "Empty");
        let (state, error) = (described.groups[1].group_state, described.groups[1].error_code);
        assert_eq!(state, "Dead");
        assert_eq!(error.is_ok(), version < 6, "version {version}");
    }
    for version in ApiKey::DeleteGroups.versions() {
        let name = format!("group-{version}");
        let request = DeleteGroupsRequest { groups_names: vec![&name, "nobody"] };
        let body = client.ask(version, &request);
        let deleted: DeleteGroupsResponse<'_> = decode(version, &body);
        let errors: Vec<ErrorCode> = deleted.results.iter().map(|r| r.error_code).collect();
        assert_eq!(errors, [ErrorCode::NONE, ErrorCode::GROUP_ID_NOT_FOUND]);
    }
}

#[test]
fn the_topic_of_groups_is_closed_to_producers() {
    let broker = start("kafka-internal");
    let mut client = Client::to(&broker);
    await_coordinator(&mut client, "g");
    let mut builder = odradek::record::BatchBuilder::new();
    builder.push(odradek::time::Timestamp(1), Some(b"forged"), Some(b"offset"), &[]);
    let bytes = builder.finish(odradek::record::Compression::None);
    let partition = PartitionProduceData { index: Partition(0), records: Records::Bytes(&bytes) };
    let topic = TopicProduceData {
        name: "__consumer_offsets",
        partition_data: vec![partition],
        ..<_>::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..<_>::default() };
    let body = client.ask(9, &request);
    let response: ProduceResponse<'_> = decode(9, &body);
    let error = response.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ErrorCode::INVALID_TOPIC_EXCEPTION);
}
