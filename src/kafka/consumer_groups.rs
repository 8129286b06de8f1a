//! Groups of KIP-848: `ConsumerGroupHeartbeat`, `ConsumerGroupDescribe`.

use super::{AnswerError, Call, authorized, message_of};
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest as WireDescribe, ConsumerGroupDescribeResponse as WireDescribed,
    ConsumerMember, NamedPartitions,
};
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest as WireBeat, ConsumerGroupHeartbeatResponse as WireBeaten,
    TopicPartitions as WirePartitions,
};
use crate::wire::kafka::consumer_group_describe::{
    Assignment as DescribedAssignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    DescribedGroup, Member, TopicPartitions as DescribedPartitions,
};
use crate::wire::kafka::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::list_groups::GroupKind;
use crate::wire::{ErrorCode, frame};

pub(super) fn ask_beat(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = ConsumerGroupHeartbeatRequest::decode(version, body)?;
    let owned = request.topic_partitions.map(|topics| {
        let topics = topics
            .into_iter()
            .map(|topic| WirePartitions { topic_id: topic.topic_id, partitions: topic.partitions });
        topics.collect()
    });
    Ok(frame::encode_body(&WireBeat {
        group_id: request.group_id,
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        subscribed_topics: request.subscribed_topic_names,
        subscribed_regex: request.subscribed_topic_regex,
        server_assignor: request.server_assignor,
        owned,
    }))
}

pub(super) fn beaten(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireBeaten<'_> = call.answer()?;
    let assignment = answer.assignment.map(|topics| {
        let topics = topics.into_iter().map(|topic| TopicPartitions {
            topic_id: topic.topic_id,
            partitions: topic.partitions,
        });
        Assignment { topic_partitions: topics.collect() }
    });
    Ok(call.encode(&ConsumerGroupHeartbeatResponse {
        error_code: answer.error,
        error_message: message_of(answer.error, ""),
        member_id: Some(answer.member_id).filter(|id| !id.is_empty()),
        member_epoch: answer.member_epoch,
        heartbeat_interval_ms: answer.heartbeat_interval_ms,
        assignment,
        ..<_>::default()
    }))
}

pub(super) fn ask_describe(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = ConsumerGroupDescribeRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireDescribe { groups: request.group_ids }))
}

pub(super) fn described(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: ConsumerGroupDescribeRequest<'_> = call.request()?;
    let answer: WireDescribed<'_> = call.answer()?;
    let groups = request.group_ids.iter().zip(answer.groups).map(|(group_id, group)| {
        let is_found = group.error == ErrorCode::NONE;
        DescribedGroup {
            error_code: group.error,
            error_message: message_of(group.error, ""),
            group_id,
            group_state: if is_found { group.state.name() } else { "" },
            group_epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            assignor_name: group.assignor,
            members: group.members.into_iter().map(member).collect(),
            authorized_operations: authorized::if_asked(
                request.include_authorized_operations && is_found,
                authorized::GROUP,
            ),
        }
    });
    Ok(call.encode(&ConsumerGroupDescribeResponse { groups: groups.collect(), ..<_>::default() }))
}

fn member(member: ConsumerMember<'_>) -> Member<'_> {
    Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: member.member_epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.subscribed_topics,
        subscribed_topic_regex: member.subscribed_regex,
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: match member.kind {
            GroupKind::Classic => 0,
            GroupKind::Consumer => 1,
        },
    }
}

fn assignment(topics: Vec<NamedPartitions<'_>>) -> DescribedAssignment<'_> {
    let topics = topics.into_iter().map(|topic| DescribedPartitions {
        topic_id: topic.topic_id,
        topic_name: topic.topic,
        partitions: topic.partitions,
    });
    DescribedAssignment { topic_partitions: topics.collect() }
}
