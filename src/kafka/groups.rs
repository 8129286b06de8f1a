//! Members of groups: `FindCoordinator`, `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`.

use super::{AnswerError, Call, message_of};
use crate::ids::NodeId;
use crate::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest as WireFind, FindCoordinatorResponse as WireFound,
    FoundCoordinator,
};
use crate::wire::heartbeat::{HeartbeatRequest as WireBeat, HeartbeatResponse as WireBeaten};
use crate::wire::join_group::{
    JoinGroupRequest as WireJoin, JoinGroupResponse as WireJoined, JoinProtocol,
};
use crate::wire::kafka::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::wire::kafka::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::kafka::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::wire::kafka::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};
use crate::wire::kafka::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::leave_group::{
    LeaveGroupRequest as WireLeave, LeaveGroupResponse as WireLeft, LeavingMember,
};
use crate::wire::sync_group::{
    SyncAssignment, SyncGroupRequest as WireSync, SyncGroupResponse as WireSynced,
};
use crate::wire::{ErrorCode, frame};

/// The first version of `FindCoordinator` that takes several keys.
const KEYS_VERSION: i16 = 4;

/// The first version of `JoinGroup` whose new members come back with the id they were given.
const KNOWN_MEMBER_VERSION: i16 = 4;

/// The first version of `JoinGroup` whose leader may be told not to assign.
const SKIP_VERSION: i16 = 9;

/// The first version of `SyncGroup` that must name the protocol.
const NAMED_PROTOCOL_VERSION: i16 = 5;

/// The first version of `LeaveGroup` that names several members.
const MEMBERS_VERSION: i16 = 3;

/// What is looked for, in the wire's words.
fn kind(key_type: i8) -> Option<CoordinatorKind> {
    match key_type {
        0 => Some(CoordinatorKind::Group),
        1 => Some(CoordinatorKind::Transaction),
        _ => None,
    }
}

pub(super) fn ask_coordinator(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = FindCoordinatorRequest::decode(version, body)?;
    let keys = match kind(request.key_type) {
        // There is nothing to ask the broker.
        None => Vec::new(),
        Some(_) if version < KEYS_VERSION => vec![request.key],
        Some(_) => request.coordinator_keys,
    };
    let kind = kind(request.key_type).unwrap_or(CoordinatorKind::Group);
    Ok(frame::encode_body(&WireFind { kind, keys }))
}

pub(super) fn coordinator(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: FindCoordinatorRequest<'_> = call.request()?;
    let answer: WireFound<'_> = call.answer()?;
    let mut found = answer.coordinators.into_iter();
    let mut next = || found.next().unwrap_or(FoundCoordinator::failed(ErrorCode::INVALID_REQUEST));
    if call.version < KEYS_VERSION {
        let found = next();
        return Ok(call.encode(&FindCoordinatorResponse {
            error_code: found.error,
            error_message: message_of(found.error, ""),
            node_id: found.node_id,
            host: found.host,
            port: port(&found),
            ..FindCoordinatorResponse::default()
        }));
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let found = next();
        Coordinator {
            key,
            node_id: found.node_id,
            host: found.host,
            port: port(&found),
            error_code: found.error,
            error_message: message_of(found.error, ""),
        }
    });
    Ok(call.encode(&FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }))
}

fn port(found: &FoundCoordinator<'_>) -> i32 {
    if found.node_id == NodeId(-1) { -1 } else { i32::from(found.port) }
}

pub(super) fn ask_join(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = JoinGroupRequest::decode(version, body)?;
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| JoinProtocol { name: protocol.name, metadata: protocol.metadata });
    Ok(frame::encode_body(&WireJoin {
        group_id: request.group_id,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        reason: request.reason,
        needs_known_member_id: KNOWN_MEMBER_VERSION <= version,
        can_skip_assignment: SKIP_VERSION <= version,
    }))
}

pub(super) fn joined(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireJoined<'_> = call.answer()?;
    let members = answer.members.iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        metadata: member.metadata,
    });
    Ok(call.encode(&JoinGroupResponse {
        error_code: answer.error,
        generation_id: answer.generation_id,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol_name,
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }))
}

pub(super) fn ask_sync(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = SyncGroupRequest::decode(version, body)?;
    // What must be there and is not, is like no group's (KIP-559).
    let named = |name: Option<&'_ str>| match name {
        None if NAMED_PROTOCOL_VERSION <= version => Some(String::new()),
        name => name.map(str::to_owned),
    };
    let protocol_type = named(request.protocol_type);
    let protocol_name = named(request.protocol_name);
    let assignments = request.assignments.iter().map(|assignment| SyncAssignment {
        member_id: assignment.member_id,
        assignment: assignment.assignment,
    });
    Ok(frame::encode_body(&WireSync {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: protocol_type.as_deref(),
        protocol_name: protocol_name.as_deref(),
        assignments: assignments.collect(),
    }))
}

pub(super) fn synced(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireSynced<'_> = call.answer()?;
    Ok(call.encode(&SyncGroupResponse {
        error_code: answer.error,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol_name,
        assignment: answer.assignment,
        ..SyncGroupResponse::default()
    }))
}

pub(super) fn ask_beat(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = HeartbeatRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireBeat {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    }))
}

pub(super) fn beaten(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireBeaten = call.answer()?;
    Ok(call.encode(&HeartbeatResponse { error_code: answer.error, ..<_>::default() }))
}

/// The members that leave, whatever the version.
fn leaving<'a>(version: i16, request: &LeaveGroupRequest<'a>) -> Vec<MemberIdentity<'a>> {
    if version < MEMBERS_VERSION {
        let alone = MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() };
        return vec![alone];
    }
    request.members.clone()
}

pub(super) fn ask_leave(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = LeaveGroupRequest::decode(version, body)?;
    let members = leaving(version, &request).into_iter().map(|member| LeavingMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        reason: member.reason,
    });
    Ok(frame::encode_body(&WireLeave { group_id: request.group_id, members: members.collect() }))
}

pub(super) fn left(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: LeaveGroupRequest<'_> = call.request()?;
    let answer: WireLeft = call.answer()?;
    let members = leaving(call.version, &request);
    let members = members.iter().zip(&answer.members).map(|(member, error)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: *error,
    });
    let error_code = match answer.members.first() {
        Some(error) if call.version < MEMBERS_VERSION && answer.error.is_ok() => *error,
        _ => answer.error,
    };
    Ok(call.encode(&LeaveGroupResponse {
        error_code,
        members: members.collect(),
        ..LeaveGroupResponse::default()
    }))
}
