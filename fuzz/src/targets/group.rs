//! Consumer groups: the records of `__consumer_offsets`, and a coordinator that is asked anything.

use std::collections::BTreeMap;

use odradek::group::{Caller, Coordinator, GroupOutput, GroupRules};
use odradek::ids::{LeaderEpoch, Offset, Partition, TopicId, Uuid};
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::record::Batch;
use odradek::time::{Boot, Now, Timestamp};
use odradek::wire::kafka::consumer_group_records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, ExpressionKey, GroupIdKey, MemberIdKey,
    StoredPartitions,
};
use odradek::wire::kafka::group_records::{
    GroupKey, GroupMetadataKey, GroupMetadataValue, MemberMetadata, OffsetCommitKey,
    OffsetCommitValue,
};
use odradek::wire::{ApiKey, ErrorCode, RequestHeader, frame};

use crate::note::note;
use crate::{Target, take, wire_examples};

/// Records, and the coordinator.
pub fn all() -> Vec<Target> {
    let coordinator = Target {
        memory_bytes_max: 64 << 20,
        ..Target::new("group/coordinator", scripts(), coordinator)
    };
    vec![
        Target::new("group/key", records().into_iter().map(|record| record.0).collect(), key),
        Target::new("group/value", values(), value),
        Target::new("group/consumer_value", values(), consumer_value),
        coordinator,
    ]
}

/// Keys and values as a coordinator writes them.
fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = OffsetCommitKey { group: "readers", topic: "topic", partition: Partition(1) };
    let offset = OffsetCommitValue {
        offset: Offset(7),
        leader_epoch: LeaderEpoch(2),
        metadata: "note",
        commit_timestamp: 1_800_000_000_000,
        expire_timestamp: -1,
    };
    let member = MemberMetadata {
        member_id: "client-1",
        group_instance_id: Some("static"),
        client_id: "client",
        client_host: "/127.0.0.1",
        rebalance_timeout: 60_000,
        session_timeout: 10_000,
        subscription: &[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        assignment: &[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer",
        generation: 4,
        protocol: Some("range"),
        leader: Some("client-1"),
        current_state_timestamp: 1_800_000_000_000,
        members: vec![member],
    };
    let expiring = OffsetCommitValue { expire_timestamp: 1_900_000_000_000, ..offset.clone() };
    let mut records = vec![
        (key.encode(), offset.encode()),
        (key.encode(), expiring.encode()),
        (GroupMetadataKey { group: "readers" }.encode(), group.encode()),
    ];
    records.extend(consumer_records());
    records
}

/// A group of KIP-848 with a member that reads by name and by expression, and once spoke the classic
/// protocol.
fn consumer_records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let group = GroupIdKey { group: "sharers" };
    let member = MemberIdKey { group: "sharers", member_id: "client-2" };
    let partitions = vec![StoredPartitions {
        topic_id: TopicId(Uuid([7; 16])),
        partitions: vec![Partition(0), Partition(3)],
    }];
    let said = ConsumerGroupMemberMetadataValue {
        instance_id: Some("static"),
        rack_id: None,
        client_id: "client",
        client_host: "/127.0.0.1",
        subscribed_topic_names: vec!["topic"],
        subscribed_topic_regex: Some("t.*"),
        rebalance_timeout_ms: 60_000,
        server_assignor: Some("uniform"),
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: 10_000,
            supported_protocols: vec![ClassicProtocol { name: "range", metadata: &[0, 1, 2] }],
        }),
    };
    let current = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: 3,
        previous_member_epoch: 2,
        state: 1,
        assigned_partitions: partitions.clone(),
        partitions_pending_revocation: vec![],
    };
    let expression = ConsumerGroupRegularExpressionValue {
        topics: vec!["topic", "top"],
        version: 0,
        timestamp: 1_800_000_000_000,
    };
    vec![
        (ConsumerGroupKey::Member(member.clone()).encode(), said.encode()),
        (
            ConsumerGroupKey::Expression(ExpressionKey { group: "sharers", expression: "t.*" })
                .encode(),
            expression.encode(),
        ),
        (
            ConsumerGroupKey::Group(group.clone()).encode(),
            ConsumerGroupMetadataValue { epoch: 3, metadata_hash: 5 }.encode(),
        ),
        (
            ConsumerGroupKey::TargetMember(member.clone()).encode(),
            ConsumerGroupTargetAssignmentMemberValue { topic_partitions: partitions }.encode(),
        ),
        (
            ConsumerGroupKey::Target(group).encode(),
            ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: 3,
                assignment_timestamp: 9,
            }
            .encode(),
        ),
        (ConsumerGroupKey::CurrentMember(member).encode(), current.encode()),
    ]
}

fn values() -> Vec<Vec<u8>> {
    records().into_iter().map(|record| record.1).collect()
}

fn key(bytes: &[u8]) {
    match GroupKey::decode(bytes) {
        Err(error) => note(&error),
        Ok(GroupKey::Offset(key)) => {
            note(&"offset");
            assert_eq!(GroupKey::decode(&key.encode()), Ok(GroupKey::Offset(key)));
        }
        Ok(GroupKey::Group(key)) => {
            note(&"group");
            assert_eq!(GroupKey::decode(&key.encode()), Ok(GroupKey::Group(key)));
        }
        Ok(GroupKey::ConsumerGroup(key)) => {
            note(&"consumer group");
            assert_eq!(GroupKey::decode(&key.encode()), Ok(GroupKey::ConsumerGroup(key)));
        }
        Ok(GroupKey::Unknown(_)) => note(&"unknown"),
    }
}

/// What is read of a value is written so that it is read the same.
macro_rules! check_value {
    ($bytes:expr, $($value:ident)*) => { $(
        match $value::decode($bytes) {
            Err(error) => note(&error),
            Ok(value) => {
                note(&stringify!($value));
                let encoded = value.encode();
                assert_eq!($value::decode(&encoded), Ok(value));
            }
        }
    )* };
}

fn consumer_value(bytes: &[u8]) {
    check_value!(
        bytes,
        ConsumerGroupMetadataValue
        ConsumerGroupMemberMetadataValue
        ConsumerGroupTargetAssignmentMetadataValue
        ConsumerGroupTargetAssignmentMemberValue
        ConsumerGroupCurrentMemberAssignmentValue
        ConsumerGroupRegularExpressionValue
    );
}

fn value(bytes: &[u8]) {
    match OffsetCommitValue::decode(bytes) {
        Err(error) => note(&error),
        Ok(value) => {
            let encoded = value.encode();
            let again = OffsetCommitValue::decode(&encoded).expect("ours");
            assert_eq!((again.offset, again.metadata), (value.offset, value.metadata));
            assert_eq!(again.encode(), encoded);
        }
    }
    match GroupMetadataValue::decode(bytes) {
        Err(error) => note(&error),
        Ok(value) => {
            let encoded = value.encode();
            let again = GroupMetadataValue::decode(&encoded).expect("ours");
            assert_eq!(again.members.len(), value.members.len());
            assert_eq!(again.encode(), encoded);
        }
    }
}

/// What a step of a script is.
const REPLAY: u8 = 0;
const TICK: u8 = 1;
const REQUEST: u8 = 2;

fn step(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], &(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Scripts: each group request by itself, and all in a row behind the records of a group.
fn scripts() -> Vec<Vec<u8>> {
    let mut all: Vec<u8> = Vec::new();
    for (key, value) in records() {
        let record = [&[key.len() as u8], &*key, &*value].concat();
        all.extend(step(REPLAY, &record));
    }
    let mut scripts = Vec::new();
    for example in wire_examples::all() {
        let framed = &example.frame[FRAME_PREFIX_BYTES..];
        if example.name.starts_with("request ") {
            let request = step(REQUEST, framed);
            scripts.push([&*request, &*request, &*step(TICK, &[0, 0, 40])].concat());
            all.extend(request);
            all.extend(step(TICK, &[0, 5, 0]));
        }
    }
    scripts.push(all);
    scripts
}

/// A coordinator, and who waits for what of it.
struct Bench {
    coordinator: Coordinator,
    now: Now,
    end: Offset,
    /// How often each token was answered.
    answers: BTreeMap<u64, u32>,
    appends: u64,
}

/// Runs a script: records replayed, requests, time passing. Every request is answered once, at the
/// latest when all of its time is over; what is appended is a sound batch.
fn coordinator(mut bytes: &[u8]) {
    let [options] = take(&mut bytes);
    let rules = GroupRules { groups_max: 4, group_size_max: 3, ..GroupRules::default() };
    let now = Now { boot: Boot(1_000_000), wall: Timestamp(1_800_000_000_000), wall_trusted: true };
    let mut bench = Bench {
        coordinator: Coordinator::new(rules, 7),
        now,
        end: Offset(0),
        answers: BTreeMap::new(),
        appends: 0,
    };
    let mut is_loaded = options & 1 != 0;
    if is_loaded {
        bench.coordinator.loaded(bench.now);
    }
    for _ in 0..64 {
        if bytes.is_empty() {
            break;
        }
        let [kind] = take(&mut bytes);
        let length = usize::from(u16::from_be_bytes(take(&mut bytes))).min(bytes.len());
        let (body, rest) = bytes.split_at(length);
        bytes = rest;
        match kind % 3 {
            REPLAY if !is_loaded => bench.replay(body),
            TICK => bench.pass(body),
            _ => {
                if !is_loaded {
                    is_loaded = true;
                    bench.coordinator.loaded(bench.now);
                    bench.settle(options);
                }
                bench.ask(body);
            }
        }
        bench.settle(options);
    }
    bench.end_of_time(options);
}

impl Bench {
    fn replay(&mut self, mut body: &[u8]) {
        let [length] = take(&mut body);
        let (key, value) = body.split_at(usize::from(length).min(body.len()));
        let value = (!value.is_empty()).then_some(value);
        let replayed = self.coordinator.replay(self.now, self.end, self.now.wall, key, value);
        note(&replayed.is_ok());
        self.end = Offset(self.end.0 + 1);
    }

    fn pass(&mut self, mut body: &[u8]) {
        let [high, middle, low] = take(&mut body);
        let ms = u64::from(u32::from_be_bytes([0, high, middle, low]));
        self.now.boot = self.now.boot.plus_ms(ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        self.coordinator.tick(self.now);
    }

    fn ask(&mut self, framed: &[u8]) {
        let Ok((header, body)) = frame::take::<RequestHeader>(framed) else { return };
        let Some(api_key) = ApiKey::from_number(header.api_key) else { return };
        let token = self.answers.len() as u64;
        let caller = Caller { client_id: "client", client_host: "/127.0.0.1" };
        match self.coordinator.handle(self.now, token, caller, api_key, body) {
            Ok(()) => {
                note(&api_key);
                self.answers.insert(token, 0);
            }
            Err(error) => note(&(api_key, error)),
        }
    }

    /// Does what the coordinator wants. The second option bit fails every append.
    fn settle(&mut self, options: u8) {
        for _ in 0..10_000 {
            match self.coordinator.poll() {
                None => return,
                Some(GroupOutput::Answer { token, body }) => {
                    note(&("answer", body.len().min(8)));
                    let count = self.answers.get_mut(&token).expect("it was asked");
                    *count += 1;
                    assert_eq!(*count, 1, "answered once");
                }
                Some(GroupOutput::Append { write, batch }) => {
                    self.appends += 1;
                    let (batch, rest) = Batch::split_first(&batch).expect("a batch");
                    assert!(rest.is_empty() && batch.crc_is_valid());
                    let records: Vec<_> = batch.records().collect();
                    assert!(records.iter().all(Result::is_ok));
                    if options & 2 != 0 {
                        let failed = Err(ErrorCode::NOT_ENOUGH_REPLICAS);
                        self.coordinator.committed(self.now, write, failed);
                        continue;
                    }
                    self.coordinator.appended(self.now, write, self.end);
                    self.end = Offset(self.end.0 + records.len() as i64);
                    self.coordinator.committed(self.now, write, Ok(()));
                }
            }
        }
        panic!("the coordinator never comes to rest");
    }

    /// Lets all time pass: whoever waited was answered.
    fn end_of_time(&mut self, options: u8) {
        for _ in 0..1000 {
            if self.answers.values().all(|count| *count == 1) {
                return;
            }
            let deadline = self.coordinator.next_deadline();
            assert!(deadline < Boot::NEVER, "somebody waits for nothing");
            let ms = deadline.ms_since(self.now.boot) + 1;
            self.now.boot = self.now.boot.plus_ms(ms);
            self.now.wall = Timestamp(self.now.wall.0.saturating_add(ms as i64));
            self.coordinator.tick(self.now);
            self.settle(options);
        }
        panic!("somebody is never answered");
    }
}
