//! What a member says to its coordinator, and what it hears: from settings and state to requests,
//! from answers to plain values. An answer that does not fit its request is a broken peer.

use std::collections::BTreeMap;

use crate::client::ClientError;
use crate::client::assignors::{RebalanceProtocol, protocol};
use crate::client::consumer::State;
use crate::client::consumer_config::ConsumerConfig;
use crate::client::exchange::{Commit, Question};
use crate::client::membership::{Identity, Joined};
use crate::client::net::{Connection, Frame};
use crate::client::offsets::{OffsetAndMetadata, TopicPartition};
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use crate::wire::leave_group::{LeaveGroupRequest, LeavingMember};
use crate::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

/// Kafka's protocol type of consumers.
const CONSUMER: &str = "consumer";

/// A request that was sent: what its answer is for.
#[derive(Debug)]
pub(super) enum Call {
    Join {
        epoch: u64,
    },
    Sync {
        epoch: u64,
    },
    Heartbeat {
        epoch: u64,
    },
    Leave,
    Commit {
        commit: Commit,
        generation: i32,
    },
    Question(Question),
    /// Positions that begin at what was committed, with their generations.
    Positions(Vec<(TopicPartition, u64)>),
}

/// A request to send.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Join(JoinGroupRequest<'a>),
    Sync(SyncGroupRequest<'a>),
    Heartbeat(HeartbeatRequest<'a>),
    Leave(LeaveGroupRequest<'a>),
    Commit(OffsetCommitRequest<'a>),
    Offsets(OffsetFetchRequest<'a>),
}

impl Request<'_> {
    /// Answers the correlation id.
    pub fn send(&self, connection: &mut Connection) -> Result<u32, ClientError> {
        match self {
            Request::Join(body) => connection.send(ApiKey::JoinGroup, body, &[]),
            Request::Sync(body) => connection.send(ApiKey::SyncGroup, body, &[]),
            Request::Heartbeat(body) => connection.send(ApiKey::Heartbeat, body, &[]),
            Request::Leave(body) => connection.send(ApiKey::LeaveGroup, body, &[]),
            Request::Commit(body) => connection.send(ApiKey::OffsetCommit, body, &[]),
            Request::Offsets(body) => connection.send(ApiKey::OffsetFetch, body, &[]),
        }
    }
}

fn group_id(config: &ConsumerConfig) -> &str {
    config.group_id.as_deref().expect("there is a coordinator only with a group")
}

/// The subscription under the name of each strategy.
pub(super) fn subscriptions(config: &ConsumerConfig, state: &State) -> Vec<(String, Vec<u8>)> {
    let owned: Vec<TopicPartition> = match config.rebalance_protocol() {
        RebalanceProtocol::Eager => Vec::new(),
        RebalanceProtocol::Cooperative => state.positions.keys().cloned().collect(),
    };
    let strategies = config.partition_assignment_strategy.iter();
    let encoded = strategies.map(|assignor| {
        let (topics, last) = (&state.group.topics, &state.group.last);
        let rack = config.client_rack.as_deref();
        let metadata = protocol::encode_subscription(&**assignor, topics, &owned, last, rack);
        (assignor.name().to_owned(), metadata)
    });
    encoded.collect()
}

pub(super) fn join<'a>(
    config: &'a ConsumerConfig,
    identity: &'a Identity,
    protocols: &'a [(String, Vec<u8>)],
) -> Request<'a> {
    let protocols = protocols.iter().map(|(name, metadata)| JoinProtocol { name, metadata });
    Request::Join(JoinGroupRequest {
        group_id: group_id(config),
        session_timeout_ms: millis(config.session_timeout),
        rebalance_timeout_ms: millis(config.max_poll_interval),
        member_id: &identity.member_id,
        group_instance_id: config.group_instance_id.as_deref(),
        protocol_type: CONSUMER,
        protocols: protocols.collect(),
        reason: None,
        needs_known_member_id: true,
        can_skip_assignment: true,
    })
}

pub(super) fn sync<'a>(
    config: &'a ConsumerConfig,
    identity: &'a Identity,
    protocol: &'a str,
    assignments: &'a [(String, Vec<u8>)],
) -> Request<'a> {
    let assignments =
        assignments.iter().map(|(member_id, assignment)| SyncAssignment { member_id, assignment });
    Request::Sync(SyncGroupRequest {
        group_id: group_id(config),
        generation_id: identity.generation,
        member_id: &identity.member_id,
        group_instance_id: config.group_instance_id.as_deref(),
        protocol_type: Some(CONSUMER),
        protocol_name: Some(protocol),
        assignments: assignments.collect(),
    })
}

pub(super) fn heartbeat<'a>(config: &'a ConsumerConfig, identity: &'a Identity) -> Request<'a> {
    Request::Heartbeat(HeartbeatRequest {
        group_id: group_id(config),
        generation_id: identity.generation,
        member_id: &identity.member_id,
        group_instance_id: config.group_instance_id.as_deref(),
    })
}

pub(super) fn leave<'a>(
    config: &'a ConsumerConfig,
    member_id: &'a str,
    reason: &'a str,
) -> Request<'a> {
    let group_instance_id = config.group_instance_id.as_deref();
    let member = LeavingMember { member_id, group_instance_id, reason: Some(reason) };
    Request::Leave(LeaveGroupRequest { group_id: group_id(config), members: vec![member] })
}

pub(super) fn commit<'a>(
    config: &'a ConsumerConfig,
    identity: &'a Identity,
    is_member: bool,
    offsets: &'a BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Request<'a> {
    let partitions = offsets.iter().map(|(tp, committed)| CommitPartition {
        topic: TopicRef::Name(&tp.topic),
        partition: tp.partition,
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: &committed.metadata,
    });
    Request::Commit(OffsetCommitRequest {
        group_id: group_id(config),
        generation_id_or_member_epoch: identity.generation,
        member_id: &identity.member_id,
        group_instance_id: config.group_instance_id.as_deref().filter(|_| is_member),
        retention_time_ms: -1,
        knows_member_epochs: true,
        partitions: partitions.collect(),
    })
}

pub(super) fn offsets<'a>(
    config: &'a ConsumerConfig,
    partitions: &'a [TopicPartition],
) -> Request<'a> {
    let partitions = partitions
        .iter()
        .map(|tp| FetchOffset { topic: TopicRef::Name(&tp.topic), partition: tp.partition });
    let group = FetchOffsetsGroup {
        group_id: group_id(config),
        member_id: None,
        member_epoch: -1,
        partitions: Some(partitions.collect()),
    };
    Request::Offsets(OffsetFetchRequest { require_stable: true, groups: vec![group] })
}

pub(super) fn read_join(frame: &Frame) -> Result<Joined, ClientError> {
    let response: JoinGroupResponse<'_> = frame.body()?;
    let members = response.members.into_iter().map(|member| {
        let instance_id = member.group_instance_id.map(str::to_owned);
        (member.member_id.to_owned(), instance_id, member.metadata.to_vec())
    });
    Ok(Joined {
        error: response.error,
        generation: response.generation_id,
        protocol: response.protocol_name.unwrap_or_default().to_owned(),
        leader: response.leader.to_owned(),
        skip_assignment: response.skip_assignment,
        member_id: response.member_id.to_owned(),
        members: members.collect(),
    })
}

pub(super) fn read_sync(frame: &Frame) -> Result<Result<Vec<u8>, ErrorCode>, ClientError> {
    let response: SyncGroupResponse<'_> = frame.body()?;
    Ok(match response.error.is_ok() {
        true => Ok(response.assignment.to_vec()),
        false => Err(response.error),
    })
}

pub(super) fn read_heartbeat(frame: &Frame) -> Result<ErrorCode, ClientError> {
    let response: HeartbeatResponse = frame.body()?;
    Ok(response.error)
}

/// The worst of a commit's answers: what cannot be tried again, or else what can.
pub(super) fn read_commit(frame: &Frame, count: usize) -> Result<ErrorCode, ClientError> {
    let response: OffsetCommitResponse = frame.body()?;
    if response.partitions.len() != count {
        return Err(ClientError::Protocol(FrameError::Malformed));
    }
    let failed = response.partitions.into_iter().filter(|code| !code.is_ok());
    Ok(failed.min_by_key(|code| code.is_retriable()).unwrap_or(ErrorCode::NONE))
}

/// What is committed for each partition, or why nothing can be told of any.
#[expect(clippy::type_complexity, reason = "taken apart where it is read")]
pub(super) fn read_offsets(
    frame: &Frame,
    count: usize,
) -> Result<Result<Vec<Result<Option<OffsetAndMetadata>, ErrorCode>>, ErrorCode>, ClientError> {
    let response: OffsetFetchResponse<'_> = frame.body()?;
    let malformed = ClientError::Protocol(FrameError::Malformed);
    let [group] = &response.groups[..] else { return Err(malformed) };
    if !group.error.is_ok() {
        return Ok(Err(group.error));
    }
    if group.partitions.len() != count {
        return Err(malformed);
    }
    let answers = group.partitions.iter().map(|one| match one.error.is_ok() {
        false => Err(one.error),
        true if one.offset.0 < 0 => Ok(None),
        true => Ok(Some(OffsetAndMetadata {
            offset: one.offset,
            leader_epoch: one.leader_epoch,
            metadata: one.metadata.to_owned(),
        })),
    });
    Ok(Ok(answers.collect()))
}

fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
