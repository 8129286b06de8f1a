//! Names: too many of them, too long, and with more in them than letters; and numbers of topics.

use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::wire::ErrorCode;
use odradek::wire::kafka::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use odradek::wire::kafka::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::kafka::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use odradek::wire::kafka::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use odradek::wire::kafka::{ApiKey, Message, decode_response_header};

use super::{Client, frame, request, start, with_groups};
use crate::broker::Folder;
use crate::e2e::hostile::{
    MEMORY_LIMIT, SLACK_BYTES, accounts, is_unharmed, send_all, serves_others,
};
use crate::kafka_schema::{Fill, Value, encode, fill, schemas};

/// The longest text that a request can hold.
const TEXT_BYTES: usize = 32_767;

/// What the text would be, if it came into a log as it is.
const FORGED: &str = "\n[2026-01-01T00:00:00Z ERROR odradek] forged\r\u{1b}[2J\u{0}\u{7f}";

fn evil() -> String {
    let mut text = FORGED.repeat(TEXT_BYTES / FORGED.len());
    text.push_str(&"x".repeat(TEXT_BYTES - text.len()));
    text
}

/// The same message with every text in it replaced.
fn spoil(value: &mut Value) {
    match value {
        Value::Text(text) => *text = evil(),
        Value::List(list) => list.iter_mut().for_each(spoil),
        Value::Struct(fields) => fields.values_mut().for_each(spoil),
        Value::Null | Value::Number(_) | Value::Bytes(_) => {}
    }
}

#[test]
fn a_log_line_stays_a_line() {
    let folder = Folder::new();
    let broker = start(&folder);
    with_groups(&broker);
    let before = accounts(&broker);
    let mut client = Client::to(&broker);
    for schema in schemas().iter().filter(|schema| schema.name.ends_with("Request")) {
        let api = ApiKey::from_number(schema.api).expect("described");
        for version in schema.versions.0..=schema.versions.1 {
            let mut value = fill(&schema.fields, version, &mut Fill::Plain);
            spoil(&mut value);
            let body = encode(&schema.fields, &value, version, schema.flexible_from <= version);
            if client.fate_of(&frame(api, version, evil().as_bytes(), &body)) == super::Fate::Closed
            {
                client = Client::to(&broker);
            }
        }
    }
    drop(client);
    is_unharmed(&broker, &before);
    let words = broker.words();
    for line in words.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() < 1000, "{} bytes: {line:.200?}", line.len());
        assert!(!line.contains("forged"), "{line}");
    }
}

fn join(group_id: &str) -> JoinGroupRequest<'_> {
    JoinGroupRequest {
        group_id,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer",
        protocols: vec![JoinGroupRequestProtocol { name: "range", metadata: b"" }],
        ..JoinGroupRequest::default()
    }
}

fn commit(group_id: &str) -> OffsetCommitRequest<'_> {
    let partition = OffsetCommitRequestPartition {
        partition_index: Partition(0),
        committed_offset: Offset(1),
        committed_leader_epoch: LeaderEpoch::NONE,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "kept",
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest { group_id, topics: vec![topic], ..OffsetCommitRequest::default() }
}

fn committed(body: &[u8]) -> ErrorCode {
    let response = OffsetCommitResponse::decode(7, body).expect("it decodes");
    response.topics[0].partitions[0].error_code
}

#[test]
fn groups_and_members_give_way_or_are_refused() {
    const NAMES: i32 = 20_000;
    const COMMITS: i32 = 4_000;
    let folder = Folder::new();
    let broker = start(&folder);
    broker.produce(&["kept", "--create"], &["x".to_owned()]);
    let mut client = Client::to(&broker);
    with_groups(&broker);
    // Its log was made just now, and may still be read.
    let mut answer = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    while answer == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
        answer = committed(&client.ask(7, &commit("readers")));
    }
    assert_eq!(answer, ErrorCode::NONE);
    let name = |number: i32| format!("{number:0500}");
    // Each is given an id; the oldest of those that never come back gives way.
    let joins = (1..=NAMES).flat_map(|number| request(5, number, &join(&name(number))));
    send_all(&client.peer, joins.collect());
    for number in 1..=NAMES {
        let frame = client.receive().expect("answered");
        let (id, body) = decode_response_header(ApiKey::JoinGroup, 5, &frame).expect("legal");
        let response = JoinGroupResponse::decode(5, body).expect("it decodes");
        assert_eq!((id, response.error_code), (number, ErrorCode::MEMBER_ID_REQUIRED));
    }
    // Offsets are not given up for others': who comes too late is refused.
    let commits = (1..=COMMITS).flat_map(|number| request(7, number, &commit(&name(number))));
    send_all(&client.peer, commits.collect());
    let mut taken = 0;
    for _ in 1..=COMMITS {
        let frame = client.receive().expect("answered");
        let (_, body) = decode_response_header(ApiKey::OffsetCommit, 7, &frame).expect("legal");
        match committed(body) {
            ErrorCode::NONE => taken += 1,
            error => assert_eq!(error, ErrorCode::INVALID_COMMIT_OFFSET_SIZE),
        }
    }
    assert!((100..2000).contains(&taken), "{taken} groups are kept");
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + SLACK_BYTES, "{bytes} bytes of memory");
    serves_others(&broker);
    let again = committed(&client.ask(7, &commit("readers")));
    assert_eq!(again, ErrorCode::NONE, "whoever was there goes on");
}

#[test]
fn topics_that_are_too_large_are_not_made() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "kept"]);
    let before = accounts(&broker);
    let mut client = Client::to(&broker);
    let cases = [
        (1_000_000, 1, ErrorCode::INVALID_PARTITIONS),
        (i32::MAX, 1, ErrorCode::INVALID_PARTITIONS),
        (0, 1, ErrorCode::INVALID_PARTITIONS),
        (-2, 1, ErrorCode::INVALID_PARTITIONS),
        (1, 32_767, ErrorCode::INVALID_REPLICATION_FACTOR),
        (1, 0, ErrorCode::INVALID_REPLICATION_FACTOR),
        (1, -2, ErrorCode::INVALID_REPLICATION_FACTOR),
    ];
    for version in 2..=7 {
        for (num_partitions, replication_factor, expected) in cases {
            let topic = CreatableTopic {
                name: "huge",
                num_partitions,
                replication_factor,
                ..CreatableTopic::default()
            };
            let request =
                CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..<_>::default() };
            let body = client.ask(version, &request);
            let response = CreateTopicsResponse::decode(version, &body).expect("it decodes");
            let error = response.topics[0].error_code;
            assert_eq!(error, expected, "{num_partitions} {replication_factor} {version}");
        }
    }
    for version in 0..=3 {
        for count in [1_000_000, i32::MAX, 0, -2] {
            let topic = CreatePartitionsTopic { name: "kept", count, assignments: None };
            let request = CreatePartitionsRequest {
                topics: vec![topic],
                timeout_ms: 1000,
                ..CreatePartitionsRequest::default()
            };
            let body = client.ask(version, &request);
            let response = CreatePartitionsResponse::decode(version, &body).expect("it decodes");
            assert_eq!(response.results[0].error_code, ErrorCode::INVALID_PARTITIONS, "{count}");
        }
    }
    drop(client);
    is_unharmed(&broker, &before);
}
