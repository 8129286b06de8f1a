//! A million names of groups and of their members: what is kept of them is bounded by number and by
//! bytes, and so is the memory that it takes (issue "Kafka's door", bad input; semantics.md 4.3).
//!
//! A million of each under `CI_LONG=1`, a minute and a half without optimisation. Otherwise as many as
//! come to many times the bound: once it is reached, nothing changes any more, the time that one id
//! takes included. While that grew with the ids before it, nobody had waited for the million to end.
//! One test, because it measures the memory of the whole process. Producers are tested beside their
//! state (`src/log/producers/tests.rs`).

use std::fs;

use odradek::group::{Caller, Coordinator, GroupOutput, GroupRules};
use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::time::{Boot, Now, Timestamp};
use odradek::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOINING,
};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use odradek::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

/// What one coordinator may keep: more than one of fifty has in a broker with 256 MiB.
const STATE_BYTES: usize = 1 << 20;

/// What the bytes that are counted may cost beside that: allocation is not free.
const SLACK_BYTES: u64 = 2 << 20;

/// As much again for groups of one member by the newer protocol: each of their many maps takes room
/// for more than the one that is in it.
const GROUPS_OF_ONE_BYTES: u64 = 2 << 20;

const CALLER: Caller<'_> = Caller { client_id: "c", client_host: "/10.0.0.1" };

fn million() -> usize {
    if std::env::var_os("CI_LONG").is_some() { 1_000_000 } else { 20_000 }
}

fn now() -> Now {
    Now { boot: Boot(1_000_000), wall: Timestamp(1_700_000_000_000), wall_trusted: true }
}

/// Memory of this process that is its own and no file's.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it does");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
}

fn join_request(group_id: &str, needs_known_member_id: bool) -> JoinGroupRequest<'_> {
    JoinGroupRequest {
        group_id,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: "",
        group_instance_id: None,
        protocol_type: "consumer",
        protocols: vec![JoinProtocol { name: "range", metadata: b"" }],
        reason: None,
        needs_known_member_id,
        can_skip_assignment: true,
    }
}

fn commit_request(group_id: &str) -> OffsetCommitRequest<'_> {
    OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: -1,
        member_id: "",
        group_instance_id: None,
        retention_time_ms: -1,
        knows_member_epochs: true,
        partitions: vec![CommitPartition {
            topic: TopicRef::Name("t"),
            partition: Partition(0),
            offset: Offset(1),
            leader_epoch: LeaderEpoch(0),
            metadata: "",
        }],
    }
}

/// Sends a request and gives the body of the answer, if it came at once.
fn ask(coordinator: &mut Coordinator, api: ApiKey, body: &[u8]) -> Option<Vec<u8>> {
    coordinator.handle(now(), 1, CALLER, api, body).expect("our own");
    let mut answer = None;
    while let Some(output) = coordinator.poll() {
        match output {
            GroupOutput::Append { write, .. } => {
                coordinator.appended(now(), write, Offset(0));
                coordinator.committed(now(), write, Ok(()));
            }
            GroupOutput::Answer { body, .. } => answer = Some(body),
        }
    }
    answer
}

fn join(coordinator: &mut Coordinator, request: &JoinGroupRequest<'_>) -> Option<ErrorCode> {
    let answer = ask(coordinator, ApiKey::JoinGroup, &frame::encode_body(request))?;
    Some(frame::decode::<JoinGroupResponse<'_>>(&answer).expect("a join's answer").error)
}

/// A member of KIP-848 that comes without an id.
fn heartbeat(coordinator: &mut Coordinator, group_id: &str) -> ErrorCode {
    let request = ConsumerGroupHeartbeatRequest {
        group_id,
        member_id: "",
        member_epoch: JOINING,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 10_000,
        subscribed_topics: Some(vec!["t"]),
        subscribed_regex: None,
        server_assignor: None,
        owned: Some(vec![]),
    };
    let body = frame::encode_body(&request);
    let answer = ask(coordinator, ApiKey::ConsumerGroupHeartbeat, &body).expect("answered");
    frame::decode::<ConsumerGroupHeartbeatResponse<'_>>(&answer).expect("an answer").error
}

fn commit(coordinator: &mut Coordinator, group_id: &str) -> ErrorCode {
    let body = frame::encode_body(&commit_request(group_id));
    let answer = ask(coordinator, ApiKey::OffsetCommit, &body).expect("answered");
    frame::decode::<OffsetCommitResponse>(&answer).expect("a commit's answer").partitions[0]
}

/// A name as long as it may be, for every tenth; the others are short.
fn name(number: usize) -> String {
    let width = if number % 10 == 0 { 1000 } else { 8 };
    format!("g{number:0width$}")
}

fn fresh(state_bytes_max: usize) -> Coordinator {
    let rules = GroupRules { state_bytes_max, ..<_>::default() };
    let mut coordinator = Coordinator::new(rules, 1);
    coordinator.loaded(now());
    coordinator
}

fn check_memory(before: u64, what: &str) {
    let grown = anonymous_bytes().saturating_sub(before);
    assert!(grown < STATE_BYTES as u64 + SLACK_BYTES, "{what}: {grown} bytes more");
}

/// Offers a million and answers how many were taken; all others must be refused with `refusal`.
fn taken(refusal: ErrorCode, mut offer: impl FnMut(usize) -> ErrorCode) -> usize {
    let mut taken = 0;
    for number in 0..million() {
        match offer(number) {
            ErrorCode::NONE => taken += 1,
            error => assert_eq!(error, refusal, "number {number}"),
        }
    }
    assert!((100..2000).contains(&taken), "{taken} are kept");
    taken
}

#[test]
fn a_million_names_leave_no_more_than_the_bound() {
    let before = anonymous_bytes();
    ids_that_are_given_out_in_groups_of_their_own(before);
    ids_of_one_group(before);
    members_of_one_group(before);
    members_by_the_newer_protocol(before);
}

fn ids_that_are_given_out_in_groups_of_their_own(before: u64) {
    let mut coordinator = fresh(STATE_BYTES);
    // The oldest gives way, never the newest.
    for number in 0..million() {
        let error = join(&mut coordinator, &join_request(&name(number), true));
        assert_eq!(error, Some(ErrorCode::MEMBER_ID_REQUIRED), "group {number}");
    }
    assert!((100..2000).contains(&coordinator.group_count()), "{}", coordinator.group_count());
    check_memory(before, "groups of ids that were given out");
    // Groups that only commit: the first are kept, and go on; the others are refused.
    let refusal = ErrorCode::INVALID_COMMIT_OFFSET_SIZE;
    let taken = taken(refusal, |number| commit(&mut coordinator, &name(number)));
    assert_eq!(coordinator.group_count(), taken, "those of mere ids gave way");
    check_memory(before, "groups of offsets");
    assert_eq!(commit(&mut coordinator, &name(0)), ErrorCode::NONE, "whoever is there goes on");
}

fn ids_of_one_group(before: u64) {
    let mut coordinator = fresh(STATE_BYTES);
    for _ in 0..million() {
        let error = join(&mut coordinator, &join_request("crowd", true));
        assert_eq!(error, Some(ErrorCode::MEMBER_ID_REQUIRED));
    }
    check_memory(before, "ids of one group");
}

/// In from the start: a join that waits for the others has no answer yet.
fn members_of_one_group(before: u64) {
    let mut coordinator = fresh(STATE_BYTES);
    let request = join_request("crowd", false);
    taken(ErrorCode::GROUP_MAX_SIZE_REACHED, |_| {
        join(&mut coordinator, &request).unwrap_or(ErrorCode::NONE)
    });
    check_memory(before, "members");
}

fn members_by_the_newer_protocol(before: u64) {
    // With each that is taken an assignment is worked out for all: a quarter will do.
    let mut coordinator = fresh(STATE_BYTES / 4);
    let refusal = ErrorCode::GROUP_MAX_SIZE_REACHED;
    taken(refusal, |_| heartbeat(&mut coordinator, "crowd"));
    check_memory(before, "members by KIP-848");
    let mut coordinator = fresh(STATE_BYTES);
    taken(refusal, |number| heartbeat(&mut coordinator, &name(number)));
    check_memory(before.saturating_add(GROUPS_OF_ONE_BYTES), "groups of KIP-848");
}
