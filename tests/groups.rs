//! Consumer groups in a whole broker without threads: routing by group id, the topic they are kept
//! in, answers that wait for a commit, loading after a power cut; with 1 shard and with 4.
//!
//! What a coordinator decides is tested beside it (`src/group/tests.rs`); here is what the broker
//! around it must not get wrong. Semantics.md 2.18 and 2.20.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/node.rs"]
mod node;
#[path = "support/plenty.rs"]
mod plenty;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use node::{Client, Node, Setup};
use odradek::group::GroupRules;
use odradek::ids::{LeaderEpoch, Offset, Partition, TopicId, Uuid};
use odradek::journal::disk::Disk;
use odradek::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use odradek::wire::delete_topics::DeleteTopicsRequest;
use odradek::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use odradek::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse,
};
use odradek::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use odradek::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember};
use odradek::wire::list_groups::{GroupState, ListGroupsRequest, ListGroupsResponse};
use odradek::wire::metadata::{MetadataRequest, MetadataResponse};
use odradek::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::offset_delete::{DeleteOffset, OffsetDeleteRequest, OffsetDeleteResponse};
use odradek::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use odradek::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

const OFFSETS_TOPIC: &str = "__consumer_offsets";

fn setup(shard_count: u16) -> Setup {
    Setup { shard_count, segment_bytes: 1 << 24, rules: GroupRules::default() }
}

fn with_shards(test: impl Fn(u16)) {
    for shards in [1, 4] {
        test(shards);
    }
}

fn commit_request<'a>(
    group_id: &'a str,
    offsets: &[(&'a str, i32, i64)],
) -> OffsetCommitRequest<'a> {
    let partition = |&(topic, partition, offset): &(&'a str, i32, i64)| CommitPartition {
        topic: TopicRef::Name(topic),
        partition: Partition(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(0),
        metadata: "m",
    };
    OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: -1,
        member_id: "",
        group_instance_id: None,
        retention_time_ms: -1,
        knows_member_epochs: true,
        partitions: offsets.iter().map(partition).collect(),
    }
}

fn committed(body: &[u8]) -> Vec<ErrorCode> {
    frame::decode::<OffsetCommitResponse>(body).expect("decodes").partitions
}

fn commit(
    node: &mut Node,
    client: Client,
    group_id: &str,
    offsets: &[(&str, i32, i64)],
) -> Vec<ErrorCode> {
    committed(&node.call(client, ApiKey::OffsetCommit, &commit_request(group_id, offsets)))
}

/// All that a group has committed: its error, and (topic, partition, offset).
fn offsets(
    node: &mut Node,
    client: Client,
    group_id: &str,
) -> (ErrorCode, Vec<(String, i32, i64)>) {
    let group = FetchOffsetsGroup { group_id, member_id: None, member_epoch: -1, partitions: None };
    let request = OffsetFetchRequest { require_stable: false, groups: vec![group] };
    let body = node.call(client, ApiKey::OffsetFetch, &request);
    let response: OffsetFetchResponse<'_> = frame::decode(&body).expect("decodes");
    let group = &response.groups[0];
    let found = group.partitions.iter().map(|found| {
        let TopicRef::Name(topic) = found.topic else { panic!("by name: {found:?}") };
        (topic.to_owned(), found.partition.0, found.offset.0)
    });
    (group.error, found.collect())
}

fn entry(topic: &str, partition: i32, offset: i64) -> (String, i32, i64) {
    (topic.to_owned(), partition, offset)
}

#[test]
fn the_first_group_makes_its_topic_and_a_commit_survives_a_power_cut() {
    with_shards(|shards| {
        let mut node = Node::new(setup(shards));
        let client = node.connect(0);
        node.create(client, "plant", 3);
        let list = ListGroupsRequest { states: vec![], kinds: vec![] };
        node.call(client, ApiKey::ListGroups, &list);
        assert!(!node.has_topic(OFFSETS_TOPIC), "looking makes nothing");
        let find = FindCoordinatorRequest { kind: CoordinatorKind::Group, keys: vec!["a", "b"] };
        let body = node.call(client, ApiKey::FindCoordinator, &find);
        let found: FindCoordinatorResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(found.coordinators.len(), 2);
        assert_eq!(
            (found.coordinators[1].error, found.coordinators[1].port),
            (ErrorCode::NONE, 9092)
        );
        node.load();
        assert!(node.has_topic(OFFSETS_TOPIC));
        let topics = Some(vec![TopicRef::Name(OFFSETS_TOPIC)]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false };
        let body = node.ask(client, ApiKey::Metadata, &request);
        let metadata: MetadataResponse<'_> = frame::decode(&body).expect("decodes");
        assert!(metadata.topics[0].is_internal && metadata.topics[0].partitions.len() == 4);

        for group in ["a", "b", "c", "d", "e", "f"] {
            let errors = commit(&mut node, client, group, &[("plant", 0, 7), ("plant", 2, 9)]);
            assert_eq!(errors, [ErrorCode::NONE; 2]);
        }
        let mut node = node.power_cut();
        let client = node.connect(usize::from(shards) - 1);
        node.load();
        for group in ["a", "b", "c", "d", "e", "f"] {
            let found = offsets(&mut node, client, group);
            assert_eq!(found, (ErrorCode::NONE, vec![entry("plant", 0, 7), entry("plant", 2, 9)]));
        }
    });
}

#[test]
fn a_commit_is_answered_when_it_is_durable_and_not_before() {
    with_shards(|shards| {
        let mut node = Node::new(setup(shards));
        let client = node.connect(0);
        node.create(client, "plant", 1);
        assert_eq!(
            commit(&mut node, client, "g", &[("plant", 0, 1)]),
            [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]
        );
        node.load();
        assert_eq!(commit(&mut node, client, "g", &[("plant", 0, 1)]), [ErrorCode::NONE]);
        node.holds_commits = true;
        node.send(client, ApiKey::OffsetCommit, &commit_request("g", &[("plant", 0, 2)]));
        assert_eq!(node.answer(client), None, "it is in the page cache only");
        node.commit();
        assert_eq!(committed(&node.answer(client).expect("durable")), [ErrorCode::NONE]);
        node.send(client, ApiKey::OffsetCommit, &commit_request("g", &[("plant", 0, 3)]));
        assert_eq!(node.answer(client), None);
        let mut node = node.power_cut();
        let client = node.connect(0);
        node.load();
        let found = offsets(&mut node, client, "g").1;
        assert_eq!(found, [entry("plant", 0, 2)], "what nobody was promised is gone");
    });
}

#[test]
fn a_log_dir_that_fails_is_said_to_those_who_wait() {
    let mut node = Node::new(setup(4));
    let client = node.connect(0);
    node.create(client, "plant", 1);
    commit(&mut node, client, "g", &[("plant", 0, 1)]);
    node.load();
    node.holds_commits = true;
    node.send(client, ApiKey::OffsetCommit, &commit_request("g", &[("plant", 0, 2)]));
    node.fail_storage();
    let errors = committed(&node.answer(client).expect("answered"));
    assert_eq!(errors, [ErrorCode::NOT_COORDINATOR], "as Kafka says it");
    let errors = commit(&mut node, client, "g", &[("plant", 0, 3)]);
    assert_eq!(errors, [ErrorCode::NOT_COORDINATOR]);
    // Found by tests/sim: it went on to serve members from memory, beside the one that coordinated next.
    let (error, _) = offsets(&mut node, client, "g");
    assert_eq!(error, ErrorCode::NOT_COORDINATOR);
}

#[test]
fn what_names_no_partition_is_refused_in_its_place() {
    let mut node = Node::new(setup(4));
    let client = node.connect(1);
    node.create(client, "plant", 2);
    commit(&mut node, client, "g", &[("plant", 0, 1)]);
    node.load();
    let wanted = [("nowhere", 0, 1), ("plant", 1, 5), ("plant", 2, 6), ("a/b", 0, 1)];
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let errors = commit(&mut node, client, "g", &wanted);
    assert_eq!(errors, [unknown, ErrorCode::NONE, unknown, unknown]);
    assert_eq!(offsets(&mut node, client, "g").1, [entry("plant", 1, 5)]);
    assert_eq!(commit(&mut node, client, "g", &[("nowhere", 0, 1)]), [unknown], "none is left");

    let id = TopicRef::Id(TopicId(Uuid([9; 16])));
    let place = |topic, partition| FetchOffset { topic, partition: Partition(partition) };
    let group = |group_id, partitions| FetchOffsetsGroup {
        group_id,
        member_id: None,
        member_epoch: -1,
        partitions: Some(partitions),
    };
    let first = vec![place(id, 0), place(TopicRef::Name("plant"), 1)];
    let second = vec![place(TopicRef::Name("nowhere"), 0)];
    let groups = vec![group("g", first), group("h", second)];
    let request = OffsetFetchRequest { require_stable: true, groups };
    let body = node.call(client, ApiKey::OffsetFetch, &request);
    let response: OffsetFetchResponse<'_> = frame::decode(&body).expect("decodes");
    let found: Vec<_> = response.groups.iter().flat_map(|group| &group.partitions).collect();
    assert_eq!((found[0].topic, found[0].error), (id, ErrorCode::UNKNOWN_TOPIC_ID));
    assert_eq!((found[1].offset, found[1].metadata), (Offset(5), "m"));
    assert_eq!((found[2].offset, found[2].error), (Offset(-1), ErrorCode::NONE));

    let partitions = ["nowhere", "plant"]
        .map(|topic| DeleteOffset { topic: TopicRef::Name(topic), partition: Partition(1) });
    let request = OffsetDeleteRequest { group_id: "g", partitions: partitions.to_vec() };
    let body = node.call(client, ApiKey::OffsetDelete, &request);
    let response: OffsetDeleteResponse = frame::decode(&body).expect("decodes");
    assert_eq!(response.partitions, [unknown, ErrorCode::NONE]);
    assert_eq!(offsets(&mut node, client, "g").1, []);
}

#[test]
fn lists_descriptions_and_deletions_reach_every_coordinator() {
    with_shards(|shards| {
        let mut node = Node::new(setup(shards));
        let client = node.connect(0);
        node.create(client, "plant", 1);
        let names: Vec<String> = (0..20).map(|number| format!("group-{number:02}")).collect();
        commit(&mut node, client, "x", &[]);
        commit(&mut node, client, "x", &[("plant", 0, 0)]);
        node.load();
        for name in &names {
            assert_eq!(commit(&mut node, client, name, &[("plant", 0, 1)]), [ErrorCode::NONE]);
        }
        let list = ListGroupsRequest { states: vec![GroupState::Empty], kinds: vec![] };
        let body = node.call(client, ApiKey::ListGroups, &list);
        let listed: ListGroupsResponse<'_> = frame::decode(&body).expect("decodes");
        let ids: Vec<&str> = listed.groups.iter().map(|group| group.group_id).collect();
        assert_eq!(ids, names, "in order, each once");
        let groups: Vec<&str> = ["nobody"].into_iter().chain(ids).collect();
        let request = DescribeGroupsRequest { groups: groups.clone() };
        let body = node.call(client, ApiKey::DescribeGroups, &request);
        let described: DescribeGroupsResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(described.groups[0].error, ErrorCode::GROUP_ID_NOT_FOUND);
        assert!(described.groups[1..].iter().all(|group| group.state == GroupState::Empty));
        let body = node.call(client, ApiKey::DeleteGroups, &DeleteGroupsRequest { groups });
        let deleted: DeleteGroupsResponse = frame::decode(&body).expect("decodes");
        assert_eq!(deleted.groups[0], ErrorCode::GROUP_ID_NOT_FOUND);
        assert_eq!(deleted.groups[1..], [ErrorCode::NONE; 20]);
        let body = node.call(client, ApiKey::ListGroups, &list);
        let listed: ListGroupsResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(listed.groups, []);
    });
}

#[test]
fn a_deleted_topic_takes_what_was_committed_of_it_along() {
    with_shards(|shards| {
        let mut node = Node::new(setup(shards));
        let client = node.connect(0);
        node.create(client, "plant", 1);
        node.create(client, "other", 1);
        commit(&mut node, client, "g", &[("plant", 0, 1)]);
        node.load();
        commit(&mut node, client, "g", &[("plant", 0, 1), ("other", 0, 2)]);
        let request = DeleteTopicsRequest { timeout_ms: 0, topics: vec![TopicRef::Name("plant")] };
        node.ask(client, ApiKey::DeleteTopics, &request);
        assert_eq!(offsets(&mut node, client, "g").1, [entry("other", 0, 2)]);
        let mut node = node.power_cut();
        let client = node.connect(0);
        node.create(client, "plant", 1);
        node.load();
        assert_eq!(offsets(&mut node, client, "g").1, [entry("other", 0, 2)], "for good");
    });
}

// Members.

fn join_request<'a>(group_id: &'a str, member_id: &'a str) -> JoinGroupRequest<'a> {
    JoinGroupRequest {
        group_id,
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id,
        group_instance_id: None,
        protocol_type: "consumer",
        protocols: vec![JoinProtocol { name: "range", metadata: b"subscription" }],
        reason: None,
        needs_known_member_id: true,
        can_skip_assignment: false,
    }
}

/// Sends a new member's joins; the second one waits for the others. Answers its id.
fn begin_join(node: &mut Node, client: Client, group_id: &str) -> String {
    let body = node.call(client, ApiKey::JoinGroup, &join_request(group_id, ""));
    let response: JoinGroupResponse<'_> = frame::decode(&body).expect("decodes");
    assert_eq!(response.error, ErrorCode::MEMBER_ID_REQUIRED);
    let member_id = response.member_id.to_owned();
    node.send(client, ApiKey::JoinGroup, &join_request(group_id, &member_id));
    member_id
}

/// The answer to a join: error, generation, leader, members.
fn joined(node: &mut Node, client: Client) -> Option<(ErrorCode, i32, String, usize)> {
    let body = node.answer(client)?;
    let response: JoinGroupResponse<'_> = frame::decode(&body).expect("decodes");
    let leader = response.leader.to_owned();
    Some((response.error, response.generation_id, leader, response.members.len()))
}

fn ready(shards: u16, group_id: &str) -> (Node, Client) {
    let mut node = Node::new(setup(shards));
    let client = node.connect(0);
    node.create(client, "plant", 2);
    commit(&mut node, client, group_id, &[("plant", 0, 1)]);
    node.load();
    (node, client)
}

#[test]
fn members_on_different_shards_share_a_group() {
    with_shards(|shards| {
        let (mut node, admin) = ready(shards, "readers");
        let clients: Vec<Client> =
            (0..3).map(|number| node.connect(number % usize::from(shards))).collect();
        let ids: Vec<String> =
            clients.iter().map(|client| begin_join(&mut node, *client, "readers")).collect();
        assert_eq!(joined(&mut node, clients[0]), None, "the first ones wait for more");
        node.pass(10_000);
        let places: Vec<_> =
            clients.iter().map(|client| joined(&mut node, *client).expect("all joined")).collect();
        let leader = ids.iter().position(|id| *id == places[0].2).expect("one of them");
        for (place, (error, generation, _, members)) in places.iter().enumerate() {
            assert_eq!((*error, *generation), (ErrorCode::NONE, 1));
            assert_eq!(*members, if place == leader { 3 } else { 0 });
        }
        let sync = |place: usize| SyncGroupRequest {
            group_id: "readers",
            generation_id: 1,
            member_id: &ids[place],
            group_instance_id: None,
            protocol_type: Some("consumer"),
            protocol_name: Some("range"),
            assignments: Vec::new(),
        };
        for place in (0..3).filter(|place| *place != leader) {
            node.send(clients[place], ApiKey::SyncGroup, &sync(place));
            assert_eq!(node.answer(clients[place]), None, "until the leader has assigned");
        }
        let mut request = sync(leader);
        request.assignments = ids
            .iter()
            .map(|id| SyncAssignment { member_id: id, assignment: id.as_bytes() })
            .collect();
        node.send(clients[leader], ApiKey::SyncGroup, &request);
        for (client, id) in clients.iter().zip(&ids) {
            let body = node.answer(*client).expect("the assignment is durable");
            let synced: SyncGroupResponse<'_> = frame::decode(&body).expect("decodes");
            assert_eq!((synced.error, synced.assignment), (ErrorCode::NONE, id.as_bytes()));
        }
        let request = DescribeGroupsRequest { groups: vec!["readers"] };
        let body = node.call(admin, ApiKey::DescribeGroups, &request);
        let described: DescribeGroupsResponse<'_> = frame::decode(&body).expect("decodes");
        let group = &described.groups[0];
        assert_eq!((group.state, group.members.len()), (GroupState::Stable, 3));
        assert_eq!(group.members[0].client_id, "a-client");
        assert_eq!(group.members[0].client_host, "/192.0.2.7");

        // One leaves, the others hear of it.
        let leaving = LeavingMember { member_id: &ids[2], group_instance_id: None, reason: None };
        let request = LeaveGroupRequest { group_id: "readers", members: vec![leaving] };
        let body = node.call(clients[2], ApiKey::LeaveGroup, &request);
        let left: LeaveGroupResponse = frame::decode(&body).expect("decodes");
        assert_eq!((left.error, &left.members[..]), (ErrorCode::NONE, &[ErrorCode::NONE][..]));
        let request = HeartbeatRequest {
            group_id: "readers",
            generation_id: 1,
            member_id: &ids[0],
            group_instance_id: None,
        };
        let body = node.call(clients[0], ApiKey::Heartbeat, &request);
        let beaten: HeartbeatResponse = frame::decode(&body).expect("decodes");
        assert_eq!(beaten.error, ErrorCode::REBALANCE_IN_PROGRESS);
    });
}

#[test]
fn members_outlive_a_power_cut() {
    let (mut node, _) = ready(4, "readers");
    let client = node.connect(2);
    let id = begin_join(&mut node, client, "readers");
    node.pass(10_000);
    assert_eq!(joined(&mut node, client).expect("alone").1, 1);
    let request = SyncGroupRequest {
        group_id: "readers",
        generation_id: 1,
        member_id: &id,
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![SyncAssignment { member_id: &id, assignment: b"all" }],
    };
    node.call(client, ApiKey::SyncGroup, &request);
    let mut node = node.power_cut();
    let client = node.connect(1);
    let request = HeartbeatRequest {
        group_id: "readers",
        generation_id: 1,
        member_id: &id,
        group_instance_id: None,
    };
    let beat = |node: &mut Node| {
        let body = node.call(client, ApiKey::Heartbeat, &request);
        frame::decode::<HeartbeatResponse>(&body).expect("decodes").error
    };
    assert_eq!(beat(&mut node), ErrorCode::NONE, "while the log is read");
    node.load();
    assert_eq!(beat(&mut node), ErrorCode::NONE, "in the same generation");
    node.pass(31_000);
    assert_eq!(beat(&mut node), ErrorCode::UNKNOWN_MEMBER_ID, "its session is over");
}

#[test]
fn members_that_wait_keep_no_credit_and_nothing_of_them_stays() {
    let (mut node, _) = ready(4, "readers");
    // More than there are credits from one shard to another, all from one shard.
    let clients: Vec<Client> = (0..400).map(|_| node.connect(3)).collect();
    for client in &clients {
        begin_join(&mut node, *client, "readers");
    }
    let other = node.connect(3);
    assert!(node.shards[3].accepts(other.connection), "others are served meanwhile");
    assert_eq!(node.shards[3].pending_count(), 0, "a clean stop does not wait for them");
    assert_eq!(commit(&mut node, other, "another", &[("plant", 0, 5)]), [ErrorCode::NONE]);
    let (stay, go) = clients.split_at(200);
    for client in go {
        node.disconnect(*client);
    }
    node.pass(60_000);
    for client in stay {
        let (error, ..) = joined(&mut node, *client).expect("the rebalance is over");
        assert_eq!(error, ErrorCode::NONE);
    }
    for client in go {
        assert_eq!(node.answer(*client), None);
    }
}

// Loading.

#[test]
fn a_long_log_is_read_slice_by_slice_and_from_a_cold_disk() {
    with_shards(|shards| {
        let mut node = Node::new(Setup { segment_bytes: 1 << 20, ..setup(shards) });
        let client = node.connect(0);
        node.create(client, "plant", 50);
        commit(&mut node, client, "g", &[("plant", 0, 0)]);
        node.load();
        for round in 0..250 {
            let wanted: Vec<(&str, i32, i64)> =
                (0..50).map(|partition| ("plant", partition, round)).collect();
            assert!(commit(&mut node, client, "g", &wanted).iter().all(|error| error.is_ok()));
        }
        let mut node = node.power_cut();
        node.disk.set_cold(true);
        node.holds_loads = true;
        let client = node.connect(0);
        let (error, _) = offsets(&mut node, client, "g");
        assert_eq!(error, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        node.pass(0);
        let (error, _) = offsets(&mut node, client, "g");
        assert_eq!(error, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, "the disk has not answered");
        node.holds_loads = false;
        let mut turns = 0;
        while offsets(&mut node, client, "g").0 == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            for shard in 0..usize::from(shards) {
                node.tick(shard);
            }
            turns += 1;
            assert!(turns < 1000, "it comes to an end");
        }
        assert!(3 < turns, "not all of it in one turn: {turns}");
        let (_, found) = offsets(&mut node, client, "g");
        assert_eq!(found.len(), 50);
        assert!(found.iter().all(|(.., offset)| *offset == 249));
    });
}

#[test]
fn a_damaged_log_costs_what_is_damaged_and_no_group_besides() {
    for (name, position) in [("a header", 16), ("a record", 3000)] {
        let mut node = Node::new(Setup { segment_bytes: 1 << 20, ..setup(4) });
        let client = node.connect(0);
        node.create(client, "plant", 100);
        commit(&mut node, client, "g", &[("plant", 0, 0)]);
        node.load();
        for round in 0..130 {
            let wanted: Vec<(&str, i32, i64)> =
                (0..100).map(|partition| ("plant", partition, round)).collect();
            assert!(commit(&mut node, client, "g", &wanted).iter().all(|error| error.is_ok()));
        }
        let disk = node.disk.clone();
        disk.sync_all(std::path::Path::new("/data")).expect("the disk works");
        let is_first = |path: &&std::path::PathBuf| {
            path.to_string_lossy().contains(OFFSETS_TOPIC)
                && path.ends_with(format!("{:020}.log", 0))
        };
        let files = disk.files();
        let first = files.keys().filter(is_first).max_by_key(|path| files[*path].len());
        disk.damage(first.expect("there is one"), |bytes| bytes[position] ^= 1);
        let mut node = node.power_cut();
        let client = node.connect(0);
        node.load();
        let (error, found) = offsets(&mut node, client, "g");
        assert_eq!((error, found.len()), (ErrorCode::NONE, 100), "{name}");
        assert!(found.iter().all(|(.., offset)| *offset == 129), "{name}");
        assert_eq!(commit(&mut node, client, "h", &[("plant", 0, 1)]), [ErrorCode::NONE], "{name}");
    }
}
