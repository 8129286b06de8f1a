//! A group coordinator with a log in memory, driven by lines of text.
//!
//! ```text
//! join g as=NAME [instance=I] [fresh] [old] [type=T] [session=MS] [rebalance=MS] [with=P:TOPICS,..]
//!        [holds=A-0+B-1]
//! sync g as=NAME gen=N [assign=NAME:TEXT,..], TEXT being @A-0+B-1 for an assignment of consumers
//! heartbeat g as=NAME gen=N
//! leave g as=NAME,..
//! commit g [as=NAME gen=N] [retention=MS] [client=old] TOPIC-PARTITION=OFFSET[:METADATA] ..
//! fetch g [as=NAME epoch=N] [TOPIC-PARTITION ..]
//! forget g TOPIC-PARTITION ..
//! describe g | list [STATE ..] | delete g ..
//! beat g as=NAME epoch=N [topics=A+B] [regex=R] [owned=A-0+B-1] [instance=I] [assignor=X] ..
//! inspect g ..
//! topic NAME PARTITIONS
//! time MS | restart (what is held is lost) | hold | release | fail CODE | untrusted | trusted | topic-deleted NAME
//! ```
//!
//! A name stands for a member id: the one that the first join under that name was given. `old` is
//! a client from before KIP-394, `fresh` one that has forgotten its id. Answers to requests
//! that waited are named by them.

#[path = "group_rig_consumers.rs"]
mod consumers;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use odradek::group::{Caller, Coordinator, GroupOutput, GroupRules};
use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::Batch;
use odradek::time::{Boot, Now, Timestamp};
use odradek::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use odradek::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use odradek::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use odradek::wire::kafka::consumer_protocol::ConsumerProtocolSubscription;
use odradek::wire::kafka::group_records::{GroupKey, GroupMetadataValue, OffsetCommitValue};
use odradek::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember};
use odradek::wire::list_groups::{GroupState, ListGroupsRequest, ListGroupsResponse};
use odradek::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::offset_delete::{DeleteOffset, OffsetDeleteRequest, OffsetDeleteResponse};
use odradek::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use odradek::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};
use serde::Serialize;

/// A record of the log: key and value.
pub type LoggedRecord = (Vec<u8>, Option<Vec<u8>>);

/// See the module.
pub struct Rig {
    /// The coordinator.
    pub coordinator: Coordinator,
    /// What was appended.
    pub log: Vec<LoggedRecord>,
    /// How much of it is durable.
    durable_count: usize,
    /// Its configuration.
    pub rules: GroupRules,
    /// The present.
    pub now: Now,
    /// Every answer: token and body.
    pub answers: Vec<(u64, Vec<u8>)>,
    held: Option<Vec<u64>>,
    failure: Option<ErrorCode>,
    seed: u64,
    last_token: u64,
    asked: BTreeMap<u64, (ApiKey, String)>,
    names: BTreeMap<String, String>,
    topics: BTreeMap<String, i32>,
    shown: String,
}

impl Rig {
    /// A coordinator with an empty log.
    pub fn new(rules: GroupRules) -> Rig {
        let now =
            Now { boot: Boot(1_000_000), wall: Timestamp(1_700_000_000_000), wall_trusted: true };
        let mut coordinator = Coordinator::new(rules.clone(), 1);
        coordinator.loaded(now);
        Rig {
            coordinator,
            log: Vec::new(),
            durable_count: 0,
            rules,
            now,
            answers: Vec::new(),
            held: None,
            failure: None,
            seed: 1,
            last_token: 0,
            asked: BTreeMap::new(),
            names: BTreeMap::new(),
            topics: BTreeMap::new(),
            shown: String::new(),
        }
    }

    /// Runs a line and answers what came of it.
    pub fn run(&mut self, line: &str) -> String {
        self.shown.clear();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = words.split_first().expect("a command");
        match *command {
            "time" => self.pass(rest[0].parse().expect("ms")),
            "restart" => self.restart(),
            "hold" => self.held = Some(self.held.take().unwrap_or_default()),
            "release" => self.release(),
            "fail" => self.failure = Some(ErrorCode(rest[0].parse().expect("a code"))),
            "untrusted" => self.now.wall_trusted = false,
            "trusted" => self.now.wall_trusted = true,
            "topic" => self.set_topic(rest[0], rest[1].parse().expect("a number")),
            "topic-deleted" => {
                self.topics.remove(rest[0]);
                self.coordinator.topic_gone(rest[0]);
                self.coordinator.topic_deleted(self.now, rest[0]);
                self.drain();
            }
            command => self.ask(command, &Args::of(rest)),
        }
        if self.shown.is_empty() {
            self.shown.push_str("ok\n");
        }
        let mut shown = std::mem::take(&mut self.shown);
        for (name, id) in &self.names {
            shown = shown.replace(id, name);
        }
        shown
    }

    /// Lets time pass, stopping at each deadline.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.boot.plus_ms(ms);
        loop {
            let next = self.coordinator.next_deadline().max(self.now.boot).min(end);
            let passed_us = next.us_since(self.now.boot);
            self.now.boot = next;
            self.now.wall = self.now.wall + (passed_us / 1000) as i64;
            self.coordinator.tick(self.now);
            self.drain();
            if next == end && end < self.coordinator.next_deadline() {
                return;
            }
        }
    }

    /// The power goes: starts again from what is durable of the log.
    pub fn restart(&mut self) {
        self.seed += 1;
        self.asked.clear();
        self.held = None;
        self.log.truncate(self.durable_count);
        self.failure = None;
        self.coordinator = self.replayed();
        self.coordinator.loaded(self.now);
        self.drain();
    }

    /// A coordinator that knows what the log says, and serves nobody.
    pub fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.rules.clone(), self.seed);
        for (name, partition_count) in &self.topics {
            coordinator.topic_changed(name, consumers::topic_id(name), *partition_count);
        }
        for (place, (key, value)) in self.log.iter().enumerate() {
            let offset = Offset(place as i64);
            let replayed =
                coordinator.replay(self.now, offset, self.now.wall, key, value.as_deref());
            replayed.expect("our own records");
        }
        coordinator
    }

    /// There is a topic with so many partitions.
    pub fn set_topic(&mut self, name: &str, partition_count: i32) {
        self.topics.insert(name.to_owned(), partition_count);
        self.coordinator.topic_changed(name, consumers::topic_id(name), partition_count);
        self.drain();
    }

    /// Sends a request; the answer may come at once or later.
    pub fn send<T: Serialize>(&mut self, name: &str, api: ApiKey, body: &T) -> u64 {
        self.last_token += 1;
        self.asked.insert(self.last_token, (api, name.to_owned()));
        let caller = Caller { client_id: "c", client_host: "/10.0.0.1" };
        let body = frame::encode_body(body);
        self.coordinator
            .handle(self.now, self.last_token, caller, api, &body)
            .expect("our own request");
        self.drain();
        self.last_token
    }

    /// Does what the coordinator wants done.
    fn drain(&mut self) {
        while let Some(output) = self.coordinator.poll() {
            match output {
                GroupOutput::Append { write, batch } => self.append(write, &batch),
                GroupOutput::Answer { token, body } => {
                    self.show_answer(token, &body);
                    self.answers.push((token, body));
                }
            }
        }
    }

    fn append(&mut self, write: u64, bytes: &[u8]) {
        if let Some(error) = self.failure.take() {
            return self.coordinator.committed(self.now, write, Err(error));
        }
        let base_offset = Offset(self.log.len() as i64);
        let (batch, rest) = Batch::split_first(bytes).expect("a batch");
        assert!(rest.is_empty() && batch.crc_is_valid());
        for record in batch.records() {
            let record = record.expect("a record");
            let key = record.key.expect("a key").to_vec();
            let value = record.value.map(<[u8]>::to_vec);
            self.show_record(&key, value.as_deref());
            self.log.push((key, value));
        }
        self.coordinator.appended(self.now, write, base_offset);
        if let Some(held) = &mut self.held {
            return held.push(write);
        }
        self.durable_count = self.log.len();
        self.coordinator.committed(self.now, write, Ok(()));
    }

    fn release(&mut self) {
        self.durable_count = self.log.len();
        for write in self.held.take().unwrap_or_default() {
            self.coordinator.committed(self.now, write, Ok(()));
            self.drain();
        }
    }

    fn id(&self, name: &str) -> String {
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn ask(&mut self, command: &str, args: &Args<'_>) {
        match command {
            "join" => self.ask_join(args),
            "sync" => self.ask_sync(args),
            "heartbeat" => self.ask_heartbeat(args),
            "leave" => self.ask_leave(args),
            "beat" => self.ask_beat(args),
            "inspect" => self.ask_inspect(args),
            "commit" => self.ask_commit(args),
            "fetch" => self.ask_fetch(args),
            "forget" => self.ask_forget(args),
            "describe" => {
                let request = DescribeGroupsRequest { groups: args.words.clone() };
                self.send("describe", ApiKey::DescribeGroups, &request);
            }
            "list" => {
                let states = args.words.iter().filter_map(|name| GroupState::parse(name));
                let request = ListGroupsRequest { states: states.collect(), kinds: Vec::new() };
                self.send("list", ApiKey::ListGroups, &request);
            }
            "delete" => {
                let request = DeleteGroupsRequest { groups: args.words.clone() };
                self.send("delete", ApiKey::DeleteGroups, &request);
            }
            other => panic!("no command {other}"),
        }
    }

    fn ask_join(&mut self, args: &Args<'_>) {
        let name = args.text("as", "?");
        let member_id = if args.has("fresh") {
            String::new()
        } else {
            self.names.get(name).cloned().unwrap_or_default()
        };
        let with = args.text("with", "range:t");
        let protocols: Vec<(&str, Vec<u8>)> = with
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| {
                let (protocol, topics) = text.split_once(':').expect("protocol:topics");
                let topics = topics.split('+').collect();
                let owned_partitions = args.find("holds").map(consumers::places);
                let version = i16::from(owned_partitions.is_some());
                let owned_partitions = owned_partitions.unwrap_or_default();
                let said =
                    ConsumerProtocolSubscription { topics, owned_partitions, ..<_>::default() };
                (protocol, said.encode(version))
            })
            .collect();
        let protocols = protocols.iter();
        let request = JoinGroupRequest {
            group_id: args.words.first().copied().unwrap_or_default(),
            session_timeout_ms: args.number("session", 10_000),
            rebalance_timeout_ms: args.number("rebalance", 60_000),
            member_id: &member_id,
            group_instance_id: args.find("instance"),
            protocol_type: args.text("type", "consumer"),
            protocols: protocols.map(|(name, metadata)| JoinProtocol { name, metadata }).collect(),
            reason: None,
            needs_known_member_id: !args.has("old"),
            can_skip_assignment: !args.has("old"),
        };
        self.send(&format!("join {name}"), ApiKey::JoinGroup, &request);
    }

    fn ask_sync(&mut self, args: &Args<'_>) {
        let name = args.text("as", "?");
        let member_id = self.id(name);
        let given: Vec<(String, Vec<u8>)> = args
            .text("assign", "")
            .split(',')
            .filter_map(|text| text.split_once(':'))
            .map(|(name, assignment)| (self.id(name), consumers::assignment(assignment)))
            .collect();
        let request = SyncGroupRequest {
            group_id: args.words[0],
            generation_id: args.number("gen", -1),
            member_id: &member_id,
            group_instance_id: args.find("instance"),
            protocol_type: args.find("type"),
            protocol_name: args.find("protocol"),
            assignments: given
                .iter()
                .map(|(member_id, assignment)| SyncAssignment { member_id, assignment })
                .collect(),
        };
        self.send(&format!("sync {name}"), ApiKey::SyncGroup, &request);
    }

    fn ask_heartbeat(&mut self, args: &Args<'_>) {
        let name = args.text("as", "?");
        let member_id = self.id(name);
        let request = HeartbeatRequest {
            group_id: args.words[0],
            generation_id: args.number("gen", -1),
            member_id: &member_id,
            group_instance_id: args.find("instance"),
        };
        self.send(&format!("heartbeat {name}"), ApiKey::Heartbeat, &request);
    }

    fn ask_leave(&mut self, args: &Args<'_>) {
        let names = args.text("as", "");
        let ids: Vec<String> = names.split(',').map(|name| self.id(name)).collect();
        let members = ids.iter().map(|id| LeavingMember {
            member_id: id,
            group_instance_id: args.find("instance"),
            reason: None,
        });
        let request = LeaveGroupRequest { group_id: args.words[0], members: members.collect() };
        self.send(&format!("leave {names}"), ApiKey::LeaveGroup, &request);
    }

    fn ask_commit(&mut self, args: &Args<'_>) {
        let member_id = args.find("as").map(|name| self.id(name)).unwrap_or_default();
        let partitions = args.pairs.iter().filter_map(|(place, value)| {
            let (topic, partition) = split_place(place)?;
            let (offset, metadata) = value.split_once(':').unwrap_or((value, ""));
            Some(CommitPartition {
                topic: TopicRef::Name(topic),
                partition,
                offset: Offset(offset.parse().expect("an offset")),
                leader_epoch: LeaderEpoch::NONE,
                metadata,
            })
        });
        let request = OffsetCommitRequest {
            group_id: args.words.first().copied().unwrap_or_default(),
            generation_id_or_member_epoch: args.number("gen", -1),
            member_id: &member_id,
            group_instance_id: args.find("instance"),
            retention_time_ms: args.number("retention", -1).into(),
            knows_member_epochs: args.find("client") != Some("old"),
            partitions: partitions.collect(),
        };
        self.send("commit", ApiKey::OffsetCommit, &request);
    }

    fn ask_fetch(&mut self, args: &Args<'_>) {
        let (group_id, places) = args.words.split_first().expect("a group");
        let member_id = args.find("as").map(|name| self.id(name));
        let partitions: Vec<FetchOffset<'_>> = places
            .iter()
            .map(|place| {
                let (topic, partition) = split_place(place).expect("topic-partition");
                FetchOffset { topic: TopicRef::Name(topic), partition }
            })
            .collect();
        let group = FetchOffsetsGroup {
            group_id,
            member_id: member_id.as_deref(),
            member_epoch: args.number("epoch", -1),
            partitions: Some(partitions).filter(|partitions| !partitions.is_empty()),
        };
        let request = OffsetFetchRequest { require_stable: true, groups: vec![group] };
        self.send("fetch", ApiKey::OffsetFetch, &request);
    }

    fn ask_forget(&mut self, args: &Args<'_>) {
        let (group_id, places) = args.words.split_first().expect("a group");
        let partitions = places.iter().map(|place| {
            let (topic, partition) = split_place(place).expect("topic-partition");
            DeleteOffset { topic: TopicRef::Name(topic), partition }
        });
        let request = OffsetDeleteRequest { group_id, partitions: partitions.collect() };
        self.send("forget", ApiKey::OffsetDelete, &request);
    }

    fn show(&mut self, line: &str) {
        writeln!(self.shown, "{line}").expect("a String takes all");
    }

    fn show_record(&mut self, key: &[u8], value: Option<&[u8]>) {
        let line = match GroupKey::decode(key).expect("our own key") {
            GroupKey::Offset(key) => {
                let what = value.map_or_else(
                    || "forgotten".to_owned(),
                    |value| {
                        let value = OffsetCommitValue::decode(value).expect("our own value");
                        format!("{}", value.offset)
                    },
                );
                format!("  record: {} {}-{} {what}", key.group, key.topic, key.partition)
            }
            GroupKey::Group(key) => match value {
                None => format!("  record: {} forgotten", key.group),
                Some(value) => {
                    let value = GroupMetadataValue::decode(value).expect("our own value");
                    let members = value.members.iter().map(|member| {
                        let assignment = consumers::assigned(member.assignment);
                        format!(" {}={assignment}", member.member_id)
                    });
                    let members: String = members.collect();
                    format!("  record: {} generation {}{members}", key.group, value.generation)
                }
            },
            GroupKey::ConsumerGroup(key) => consumers::record(&key, value),
            GroupKey::Unknown(kind) => panic!("we write no records of kind {kind}"),
        };
        self.show(&line);
    }

    fn show_answer(&mut self, token: u64, body: &[u8]) {
        let (api, name) = self.asked.remove(&token).expect("one answer for each request");
        let line = match api {
            ApiKey::JoinGroup => self.joined(&name, body),
            ApiKey::SyncGroup => {
                let answer: SyncGroupResponse<'_> = frame::decode(body).expect("our own answer");
                let assignment = consumers::assigned(answer.assignment);
                ok_or(answer.error, &format!("assigned [{assignment}]"))
            }
            ApiKey::Heartbeat => {
                let answer: HeartbeatResponse = frame::decode(body).expect("our own answer");
                ok_or(answer.error, "ok")
            }
            ApiKey::LeaveGroup => {
                let answer: LeaveGroupResponse = frame::decode(body).expect("our own answer");
                ok_or(answer.error, &all(&answer.members))
            }
            ApiKey::OffsetCommit => {
                let answer: OffsetCommitResponse = frame::decode(body).expect("our own answer");
                all(&answer.partitions)
            }
            ApiKey::OffsetFetch => fetched(body),
            ApiKey::OffsetDelete => {
                let answer: OffsetDeleteResponse = frame::decode(body).expect("our own answer");
                ok_or(answer.error, &all(&answer.partitions))
            }
            ApiKey::DescribeGroups => Self::described(body),
            ApiKey::ListGroups => listed(body),
            ApiKey::DeleteGroups => {
                let answer: DeleteGroupsResponse = frame::decode(body).expect("our own answer");
                all(&answer.groups)
            }
            ApiKey::ConsumerGroupHeartbeat => self.beaten(&name, body),
            ApiKey::ConsumerGroupDescribe => consumers::inspected(body),
            other => panic!("nobody asks {other:?}"),
        };
        self.show(&format!("{name}: {line}"));
    }

    fn joined(&mut self, name: &str, body: &[u8]) -> String {
        let answer: JoinGroupResponse<'_> = frame::decode(body).expect("our own answer");
        let who = name.strip_prefix("join ").expect("a join");
        if !answer.member_id.is_empty() {
            self.names.insert(who.to_owned(), answer.member_id.to_owned());
        }
        if !answer.error.is_ok() {
            return answer.error.name().to_owned();
        }
        let members = answer.members.iter().map(|member| format!(" {}", member.member_id));
        let members: String = members.collect();
        format!(
            "generation {} by {} led by {}{}{}{members}",
            answer.generation_id,
            answer.protocol_name.unwrap_or("-"),
            answer.leader,
            if answer.skip_assignment { " skipping" } else { "" },
            if members.is_empty() { "" } else { " of" },
        )
    }

    fn described(body: &[u8]) -> String {
        let answer: DescribeGroupsResponse<'_> = frame::decode(body).expect("our own answer");
        let mut text = String::new();
        for group in &answer.groups {
            let what = format!(
                "{} type [{}] protocol [{}]",
                group.state, group.protocol_type, group.protocol_name
            );
            text.push_str(&ok_or(group.error, &what));
            for member in &group.members {
                let assignment = consumers::assigned(member.assignment);
                let id = member.member_id;
                let host = member.client_host;
                write!(text, "\n  {id} {}{host} [{assignment}]", member.client_id)
                    .expect("a String takes all");
            }
        }
        text
    }
}

/// The words of a command.
struct Args<'a> {
    words: Vec<&'a str>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Args<'a> {
    fn of(words: &[&'a str]) -> Args<'a> {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        let plain = words.iter().filter(|word| !word.contains('='));
        Args { words: plain.copied().collect(), pairs: pairs.collect() }
    }

    fn find(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.find(key).unwrap_or(default)
    }

    fn number(&self, key: &str, default: i32) -> i32 {
        self.find(key).map_or(default, |text| text.parse().expect("a number"))
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }
}

fn split_place(place: &str) -> Option<(&str, Partition)> {
    let (topic, partition) = place.rsplit_once('-')?;
    Some((topic, Partition(partition.parse().ok()?)))
}

fn ok_or(error: ErrorCode, text: &str) -> String {
    if error.is_ok() { text.to_owned() } else { error.name().to_owned() }
}

fn all(errors: &[ErrorCode]) -> String {
    let names: Vec<&str> = errors.iter().map(|error| error.name()).collect();
    names.join(" ")
}

fn fetched(body: &[u8]) -> String {
    let answer: OffsetFetchResponse<'_> = frame::decode(body).expect("our own answer");
    let group = &answer.groups[0];
    let places = group.partitions.iter().map(|item| {
        let TopicRef::Name(topic) = item.topic else { panic!("asked by name") };
        let metadata = if item.metadata.is_empty() { "" } else { ":" };
        let what = format!("{}{metadata}{}", item.offset, item.metadata);
        format!("{topic}-{}={}", item.partition, ok_or(item.error, &what))
    });
    let places: Vec<String> = places.collect();
    let text = if places.is_empty() { "nothing".to_owned() } else { places.join(" ") };
    ok_or(group.error, &text)
}

fn listed(body: &[u8]) -> String {
    let answer: ListGroupsResponse<'_> = frame::decode(body).expect("our own answer");
    let groups = answer.groups.iter().map(|group| {
        format!("{} {} {} [{}]", group.group_id, group.kind, group.state, group.protocol_type)
    });
    let groups: Vec<String> = groups.collect();
    let text = if groups.is_empty() { "no groups".to_owned() } else { groups.join(", ") };
    ok_or(answer.error, &text)
}
