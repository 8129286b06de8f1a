//! Tests of the coordinator's bounds, and of what must hold whatever happens; what it does in each
//! case is shown by `tests/transcripts/group.txt`.

use std::collections::BTreeMap;

use super::*;
use crate::group::classic::Stored;
use crate::group::offsets::Offsets;
use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::time::Timestamp;
use crate::wire::heartbeat::HeartbeatResponse;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use crate::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ErrorCode, TopicRef};

#[path = "../../tests/support/group_rig.rs"]
#[allow(dead_code, reason = "the transcripts use the rest of it")]
pub(super) mod group_rig;
use group_rig::Rig;

mod random;

fn join_request<'a>(group_id: &'a str, member_id: &'a str) -> JoinGroupRequest<'a> {
    JoinGroupRequest {
        group_id,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id,
        group_instance_id: None,
        protocol_type: "consumer",
        protocols: vec![JoinProtocol { name: "range", metadata: b"" }],
        reason: None,
        needs_known_member_id: true,
        can_skip_assignment: true,
    }
}

fn commit_request<'a>(
    group_id: &'a str,
    metadata: &'a str,
    offset: i64,
) -> OffsetCommitRequest<'a> {
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
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(4),
            metadata,
        }],
    }
}

/// The last answer.
fn last(rig: &Rig) -> &[u8] {
    &rig.answers.last().expect("there was an answer").1
}

fn joined(rig: &mut Rig, request: &JoinGroupRequest<'_>) -> ErrorCode {
    rig.send("join x", ApiKey::JoinGroup, request);
    let answer: JoinGroupResponse<'_> = frame::decode(last(rig)).expect("a join's answer");
    answer.error
}

fn committed(rig: &mut Rig, request: &OffsetCommitRequest<'_>) -> ErrorCode {
    rig.send("commit", ApiKey::OffsetCommit, request);
    let answer: OffsetCommitResponse = frame::decode(last(rig)).expect("a commit's answer");
    answer.partitions[0]
}

/// semantics.md 4.3 and the issue: a million ids leave no more behind than the bound.
#[test]
fn many_members_and_groups_do_not_grow_memory() {
    let rules = GroupRules { pending_members_max: 50, groups_max: 20, ..<_>::default() };
    let mut rig = Rig::new(rules);
    for number in 0..5_000 {
        let group_id = format!("g{}", number % 1_000);
        let error = joined(&mut rig, &join_request(&group_id, ""));
        assert_eq!(error, ErrorCode::MEMBER_ID_REQUIRED, "the oldest gives way, never the newest");
        rig.answers.clear();
    }
    assert!(rig.coordinator.groups.len() <= 20);
    assert!(rig.coordinator.context.pending.len() <= 50);
    assert!(rig.log.is_empty(), "nothing was stored");
    rig.pass(10_000);
    assert_eq!(rig.coordinator.group_count(), 0);
    assert_eq!(rig.coordinator.context.state_bytes, 0);
}

#[test]
fn members_that_are_not_asked_for_their_id_are_bounded_too() {
    let rules = GroupRules { state_bytes_max: 100_000, group_size_max: 30, ..<_>::default() };
    let mut rig = Rig::new(rules);
    for number in 0..1_000 {
        let group_id = format!("g{}", number % 20);
        let request =
            JoinGroupRequest { needs_known_member_id: false, ..join_request(&group_id, "") };
        rig.send("join x", ApiKey::JoinGroup, &request);
    }
    assert!(rig.coordinator.context.state_bytes <= 100_000);
    let refused = rig.answers.iter().filter(|(_, body)| {
        let answer: JoinGroupResponse<'_> = frame::decode(body).expect("a join's answer");
        answer.error == ErrorCode::GROUP_MAX_SIZE_REACHED
    });
    assert!(500 < refused.count());
    rig.pass(10 * 60_000);
    assert_eq!(rig.coordinator.context.state_bytes, 0, "the bounds are given back");
}

#[test]
fn names_that_are_no_line_are_refused_or_escaped() {
    let mut rig = Rig::new(GroupRules::default());
    let long = "x".repeat(32 << 10);
    for name in ["", "a\nb", "a\u{1b}[2J", &long] {
        assert_eq!(joined(&mut rig, &join_request(name, "")), ErrorCode::INVALID_GROUP_ID);
    }
    for name in ["a\nb", &long] {
        let request = commit_request(name, "", 1);
        assert_eq!(committed(&mut rig, &request), ErrorCode::INVALID_GROUP_ID);
        let instance = JoinGroupRequest { group_instance_id: Some(name), ..join_request("g", "") };
        assert_eq!(joined(&mut rig, &instance), ErrorCode::INVALID_REQUEST);
        let protocols = vec![JoinProtocol { name, metadata: b"" }];
        let protocol = JoinGroupRequest { protocols, ..join_request("g", "") };
        assert_eq!(joined(&mut rig, &protocol), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    assert_eq!(rig.coordinator.group_count(), 0);
    let metadata = vec![0; crate::limits::GROUP_METADATA_BYTES_MAX + 1];
    let protocols = vec![JoinProtocol { name: "range", metadata: &metadata }];
    let heavy = JoinGroupRequest { protocols, ..join_request("g", "") };
    assert_eq!(joined(&mut rig, &heavy), ErrorCode::INVALID_REQUEST);

    let caller = Caller { client_id: "evil\n\u{7}", client_host: "/10.0.0.1" };
    let body = frame::encode_body(&join_request("g", ""));
    rig.coordinator.handle(rig.now, 999, caller, ApiKey::JoinGroup, &body).expect("our own");
    let Some(GroupOutput::Answer { body, .. }) = rig.coordinator.poll() else {
        panic!("an answer")
    };
    let answer: JoinGroupResponse<'_> = frame::decode(&body).expect("a join's answer");
    assert!(answer.member_id.starts_with("evil??-"));
}

#[test]
fn a_body_that_does_not_decode_is_an_error() {
    let mut rig = Rig::new(GroupRules::default());
    let caller = Caller { client_id: "c", client_host: "/h" };
    for is_loaded in [true, false] {
        if !is_loaded {
            rig.coordinator = Coordinator::new(GroupRules::default(), 1);
        }
        for api in ApiKey::ALL {
            let handled = rig.coordinator.handle(rig.now, 1, caller, api, &[0xff]);
            assert_eq!(handled, Err(FrameError::Malformed), "{api:?}");
        }
    }
    assert!(rig.coordinator.poll().is_none());
}

#[test]
fn while_the_log_is_read_everybody_waits_but_heartbeats_are_well() {
    let now = Now::default();
    let mut coordinator = Coordinator::new(GroupRules::default(), 1);
    let caller = Caller { client_id: "c", client_host: "/h" };
    let join = frame::encode_body(&join_request("g", ""));
    coordinator.handle(now, 1, caller, ApiKey::JoinGroup, &join).expect("our own");
    let request = crate::wire::heartbeat::HeartbeatRequest {
        group_id: "g",
        generation_id: 1,
        member_id: "m",
        group_instance_id: None,
    };
    let heartbeat = frame::encode_body(&request);
    coordinator.handle(now, 2, caller, ApiKey::Heartbeat, &heartbeat).expect("our own");
    let loading = JoinGroupResponse::failed(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, "");
    let body = frame::encode_body(&loading);
    assert_eq!(coordinator.poll(), Some(GroupOutput::Answer { token: 1, body }));
    let body = frame::encode_body(&HeartbeatResponse { error: ErrorCode::NONE });
    assert_eq!(coordinator.poll(), Some(GroupOutput::Answer { token: 2, body }));
    assert_eq!(coordinator.next_deadline(), Boot::NEVER);
}

#[test]
fn records_of_other_kinds_are_skipped_and_bad_ones_are_errors() {
    let mut coordinator = Coordinator::new(GroupRules::default(), 1);
    let mut replay = |key: &[u8], value: Option<&[u8]>| {
        coordinator.replay(Now::default(), Offset(0), Timestamp(0), key, value)
    };
    assert_eq!(replay(&[0, 9, 1, 2, 3], Some(&[0, 0])), Ok(()), "a share group, say");
    assert_eq!(replay(&[0], None), Err(GroupError::Key));
    assert_eq!(replay(&[0, 2, 0, 9, b'g'], None), Err(GroupError::Key));
    assert_eq!(replay(&[0, 2, 0, 1, b'g'], Some(&[0, 3, 0])), Err(GroupError::Value));
    assert_eq!(replay(&[0, 2, 0, 1, b'g'], None), Ok(()), "a tombstone of nothing");
    assert_eq!(coordinator.group_count(), 0);
}

#[test]
fn an_old_groups_record_without_times_goes_on() {
    // GroupMetadataValue of version 0: no rebalance timeout, no time of its state.
    let value = [&[0, 0, 0, 8][..], b"consumer", &[0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]]
        .concat();
    let mut coordinator = Coordinator::new(GroupRules::default(), 1);
    let replayed = coordinator.replay(
        Now::default(),
        Offset(0),
        Timestamp(0),
        &[0, 2, 0, 1, b'g'],
        Some(&value),
    );
    assert_eq!(replayed, Ok(()));
    coordinator.loaded(Now::default());
    let stored = coordinator.groups["g"].stored().expect("it was stored");
    assert_eq!(stored.generation, 3);
    assert_eq!(stored.state_since, Timestamp::NONE);
    assert_eq!(coordinator.groups["g"].state(), crate::wire::list_groups::GroupState::Empty);
}

#[test]
fn refusals_have_the_shape_of_their_answer() {
    let body = frame::encode_body(&commit_request("g", "", 1));
    let error = ErrorCode::NOT_COORDINATOR;
    let answer = refusal(ApiKey::OffsetCommit, &body, error).expect("our own");
    let expected = OffsetCommitResponse { partitions: vec![error] };
    assert_eq!(answer, frame::encode_body(&expected));
    assert_eq!(refusal(ApiKey::Produce, &body, error), Err(FrameError::Malformed));
}

/// What is durable of a coordinator.
fn durable(coordinator: &Coordinator) -> BTreeMap<Box<str>, (Option<Stored>, Offsets)> {
    let groups = coordinator.groups.iter();
    let parts = groups.map(|(group_id, group)| {
        (group_id.clone(), (group.stored().cloned(), group.offsets.clone()))
    });
    parts.filter(|(_, (stored, offsets))| stored.is_some() || !offsets.is_empty()).collect()
}
