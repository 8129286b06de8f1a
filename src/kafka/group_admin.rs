//! Groups seen from outside: `DescribeGroups`, `ListGroups`, `DeleteGroups`.

use super::{AnswerError, Call, authorized};
use crate::wire::delete_groups::{
    DeleteGroupsRequest as WireDelete, DeleteGroupsResponse as WireDeleted,
};
use crate::wire::describe_groups::{
    DescribeGroupsRequest as WireDescribe, DescribeGroupsResponse as WireDescribed,
};
use crate::wire::kafka::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::wire::kafka::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::wire::kafka::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::list_groups::{
    GroupKind, GroupState, ListGroupsRequest as WireList, ListGroupsResponse as WireListed,
};
use crate::wire::{ErrorCode, frame};

/// The first version of `DescribeGroups` that is told of a group which is not there; earlier ones
/// hear that it is dead.
const NOT_FOUND_VERSION: i16 = 6;

pub(super) fn ask_describe(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DescribeGroupsRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireDescribe { groups: request.groups }))
}

pub(super) fn described(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeGroupsRequest<'_> = call.request()?;
    let answer: WireDescribed<'_> = call.answer()?;
    let groups = request.groups.iter().zip(&answer.groups).map(|(group_id, group)| {
        let is_hidden =
            group.error == ErrorCode::GROUP_ID_NOT_FOUND && call.version < NOT_FOUND_VERSION;
        let error_code = if is_hidden { ErrorCode::NONE } else { group.error };
        let members = group.members.iter().map(|member| DescribedGroupMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            member_metadata: member.metadata,
            member_assignment: member.assignment,
        });
        DescribedGroup {
            error_code,
            error_message: super::message_of(error_code, ""),
            group_id,
            group_state: group.state.name(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol_name,
            members: members.collect(),
            authorized_operations: authorized::if_asked(
                request.include_authorized_operations && error_code.is_ok(),
                authorized::GROUP,
            ),
        }
    });
    Ok(call.encode(&DescribeGroupsResponse { groups: groups.collect(), ..<_>::default() }))
}

pub(super) fn ask_list(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = ListGroupsRequest::decode(version, body)?;
    // Words that nobody knows are looked at when the answer is there.
    let mut states: Vec<GroupState> =
        request.states_filter.iter().filter_map(|state| GroupState::parse(state)).collect();
    states.sort_unstable_by_key(|state| *state as u8);
    states.dedup();
    let mut kinds: Vec<GroupKind> =
        request.types_filter.iter().filter_map(|kind| GroupKind::parse(kind)).collect();
    kinds.sort_unstable_by_key(|kind| *kind as u8);
    kinds.dedup();
    Ok(frame::encode_body(&WireList { states, kinds }))
}

/// Whether a filter lets a word through.
fn lets_through(filter: &[&str], word: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
}

pub(super) fn listed(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: ListGroupsRequest<'_> = call.request()?;
    let answer: WireListed<'_> = call.answer()?;
    let is_wanted = |group: &&crate::wire::list_groups::ListedGroup<'_>| {
        lets_through(&request.states_filter, group.state.name())
            && lets_through(&request.types_filter, group.kind.name())
    };
    let groups = answer.groups.iter().filter(is_wanted).map(|group| ListedGroup {
        group_id: group.group_id,
        protocol_type: group.protocol_type,
        group_state: group.state.name(),
        group_type: group.kind.name(),
    });
    Ok(call.encode(&ListGroupsResponse {
        error_code: answer.error,
        groups: groups.collect(),
        ..ListGroupsResponse::default()
    }))
}

pub(super) fn ask_delete(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DeleteGroupsRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireDelete { groups: request.groups_names }))
}

pub(super) fn deleted(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DeleteGroupsRequest<'_> = call.request()?;
    let answer: WireDeleted = call.answer()?;
    let results =
        request.groups_names.iter().zip(&answer.groups).map(|(group_id, error_code)| {
            DeletableGroupResult { group_id, error_code: *error_code }
        });
    Ok(call.encode(&DeleteGroupsResponse { results: results.collect(), ..<_>::default() }))
}
