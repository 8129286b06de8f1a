//! Answers of a broker that cannot serve a request about groups: it is loading, or is not the
//! coordinator.

use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedConsumerGroup,
};
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::wire::offset_fetch::{FetchedOffsets, OffsetFetchRequest, OffsetFetchResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ApiKey, ErrorCode, FrameError, frame};

/// The answer to `body` that says `error` everywhere.
pub fn refusal(api_key: ApiKey, body: &[u8], error: ErrorCode) -> Result<Vec<u8>, FrameError> {
    Ok(match api_key {
        ApiKey::JoinGroup => {
            let request: JoinGroupRequest<'_> = frame::decode(body)?;
            frame::encode_body(&JoinGroupResponse::failed(error, request.member_id))
        }
        ApiKey::SyncGroup => {
            let _: SyncGroupRequest<'_> = frame::decode(body)?;
            frame::encode_body(&SyncGroupResponse::failed(error))
        }
        ApiKey::Heartbeat => {
            let _: HeartbeatRequest<'_> = frame::decode(body)?;
            frame::encode_body(&HeartbeatResponse { error })
        }
        ApiKey::LeaveGroup => {
            let _: LeaveGroupRequest<'_> = frame::decode(body)?;
            frame::encode_body(&LeaveGroupResponse { error, members: Vec::new() })
        }
        ApiKey::OffsetCommit => {
            let request: OffsetCommitRequest<'_> = frame::decode(body)?;
            let partitions = vec![error; request.partitions.len()];
            frame::encode_body(&OffsetCommitResponse { partitions })
        }
        ApiKey::OffsetFetch => {
            let request: OffsetFetchRequest<'_> = frame::decode(body)?;
            let failed = FetchedOffsets { error, partitions: Vec::new() };
            frame::encode_body(&OffsetFetchResponse { groups: vec![failed; request.groups.len()] })
        }
        ApiKey::OffsetDelete => {
            let _: OffsetDeleteRequest<'_> = frame::decode(body)?;
            frame::encode_body(&OffsetDeleteResponse { error, partitions: Vec::new() })
        }
        ApiKey::DescribeGroups => {
            let request: DescribeGroupsRequest<'_> = frame::decode(body)?;
            let groups = vec![DescribedGroup::failed(error); request.groups.len()];
            frame::encode_body(&DescribeGroupsResponse { groups })
        }
        ApiKey::ListGroups => {
            let _: ListGroupsRequest = frame::decode(body)?;
            frame::encode_body(&ListGroupsResponse { error, groups: Vec::new() })
        }
        ApiKey::DeleteGroups => {
            let request: DeleteGroupsRequest<'_> = frame::decode(body)?;
            frame::encode_body(&DeleteGroupsResponse { groups: vec![error; request.groups.len()] })
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let _: ConsumerGroupHeartbeatRequest<'_> = frame::decode(body)?;
            frame::encode_body(&ConsumerGroupHeartbeatResponse::failed(error))
        }
        ApiKey::ConsumerGroupDescribe => {
            let request: ConsumerGroupDescribeRequest<'_> = frame::decode(body)?;
            let groups = vec![DescribedConsumerGroup::failed(error); request.groups.len()];
            frame::encode_body(&ConsumerGroupDescribeResponse { groups })
        }
        _ => return Err(FrameError::Malformed),
    })
}

/// The answer while the log is being read: members are told that all is well, because they will not
/// be missed.
pub(super) fn while_loading(api_key: ApiKey, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let error = match api_key {
        ApiKey::Heartbeat => ErrorCode::NONE,
        _ => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    };
    refusal(api_key, body, error)
}
