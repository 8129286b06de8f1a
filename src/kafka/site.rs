//! The site: `DescribeQuorum`, `UnregisterBroker`, `UpdateFeatures`.

use super::{AnswerError, Call, message_of, millis};
use crate::broker::Topics;
use crate::ids::{Partition, Uuid};
use crate::wire::describe_quorum::{
    DescribeQuorumRequest as WireQuorum, DescribeQuorumResponse as WireQuorumAnswer,
    DescribedMember,
};
use crate::wire::kafka::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState,
    TopicData, TopicRequest,
};
use crate::wire::kafka::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use crate::wire::kafka::update_features::{
    UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::quorum::members::MemberKind;
use crate::wire::unregister_broker::{
    UnregisterBrokerRequest as WireUnregister, UnregisterBrokerResponse as WireUnregistered,
};
use crate::wire::update_features::{
    UpdateFeaturesRequest as WireUpdate, UpdateFeaturesResponse as WireUpdated,
};
use crate::wire::{ErrorCode, frame};

/// The topic that Kafka's tools ask about.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) fn ask_quorum(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    DescribeQuorumRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireQuorum { asks_leader: true }))
}

pub(super) fn quorum(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeQuorumRequest<'_> = call.request()?;
    let answer: WireQuorumAnswer = call.answer()?;
    let topics = request.topics.iter().map(|topic| described_topic(topic, &answer));
    let nodes = answer.members.iter().map(|member| {
        let endpoints = call.topics.endpoints(member.id.node_id);
        let listener = |(protocol, host, port)| {
            listener_name(protocol).map(|name| Listener { name, host, port })
        };
        Node { node_id: member.id.node_id, listeners: endpoints.filter_map(listener).collect() }
    });
    Ok(call.encode(&DescribeQuorumResponse {
        error_code: answer.error,
        error_message: message_of(answer.error, ""),
        topics: topics.collect(),
        nodes: nodes.collect(),
    }))
}

fn described_topic<'a>(topic: &TopicRequest<'a>, answer: &WireQuorumAnswer) -> TopicData<'a> {
    let partition = |partition_index: Partition| {
        if topic.topic_name != METADATA_TOPIC || partition_index != Partition(0) {
            let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return PartitionData { partition_index, error_code, ..<_>::default() };
        }
        let is_observer = |member: &&DescribedMember| member.kind == MemberKind::Observer;
        let voters = answer.members.iter().filter(|member| !is_observer(member));
        let observers = answer.members.iter().filter(is_observer);
        PartitionData {
            partition_index,
            leader_id: answer.leader,
            leader_epoch: answer.epoch,
            high_watermark: answer.high_watermark,
            current_voters: voters.map(|voter| replica(voter, answer)).collect(),
            observers: observers.map(|observer| replica(observer, answer)).collect(),
            ..<_>::default()
        }
    };
    let partitions = topic.partitions.iter().map(|one| partition(one.partition_index)).collect();
    TopicData { topic_name: topic.topic_name, partitions }
}

fn replica(member: &DescribedMember, answer: &WireQuorumAnswer) -> ReplicaState {
    // Who leads has all of its own log; what of it is on stable storage is another question.
    let leads = member.id.node_id == answer.leader;
    ReplicaState {
        replica_id: member.id.node_id,
        replica_directory_id: directory(member.id.incarnation),
        log_end_offset: if leads { answer.log_end_offset } else { member.durable_end_offset },
        ..<_>::default()
    }
}

/// A listener as Kafka's tools have it: they insist on capitals.
fn listener_name(protocol: &str) -> Option<&'static str> {
    match protocol {
        "wire" => Some("WIRE"),
        "kafka" => Some("KAFKA"),
        _ => None,
    }
}

/// What tells one life of a node's quorum log from another, as Kafka shows it.
fn directory(incarnation: u32) -> Uuid {
    Uuid(u128::from(incarnation).to_be_bytes())
}

pub(super) fn ask_unregister(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = UnregisterBrokerRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireUnregister { node_id: request.broker_id }))
}

pub(super) fn unregistered(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireUnregistered<'_> = call.answer()?;
    let (error_code, message) = first(answer.outcomes.first().map(|one| (one.error, one.message)));
    let error_message = message_of(error_code, message);
    Ok(call.encode(&UnregisterBrokerResponse { error_code, error_message, ..<_>::default() }))
}

pub(super) fn ask_update(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = UpdateFeaturesRequest::decode(version, body)?;
    let feature = topics.feature();
    let ours = request.feature_updates.iter().find(|update| update.feature == feature.name);
    let is_all = request.feature_updates.iter().all(|update| update.feature == feature.name);
    let level =
        ours.map_or(feature.level, |update| u16::try_from(update.max_version_level).unwrap_or(0));
    Ok(frame::encode_body(&WireUpdate {
        timeout_ms: millis(request.timeout_ms),
        // All of a request's updates take effect, or none (KIP-778).
        validate_only: request.validate_only || !is_all,
        feature_level: level,
    }))
}

pub(super) fn updated(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: UpdateFeaturesRequest<'_> = call.request()?;
    let answer: WireUpdated<'_> = call.answer()?;
    let outcome = first(answer.outcomes.first().map(|one| (one.error, one.message)));
    let name = call.topics.feature().name;
    let strange = (ErrorCode::INVALID_UPDATE_VERSION, "there is no such feature here");
    let results = request.feature_updates.iter().map(|update| {
        let (error_code, message) = if update.feature == name { outcome } else { strange };
        let error_message = message_of(error_code, message);
        UpdatableFeatureResult { feature: update.feature, error_code, error_message }
    });
    let results: Vec<UpdatableFeatureResult<'_>> = results.collect();
    // Versions that list no results have one error for all.
    let failed = results.iter().find(|result| !result.error_code.is_ok() && 1 < call.version);
    Ok(call.encode(&UpdateFeaturesResponse {
        error_code: failed.map_or(ErrorCode::NONE, |failed| failed.error_code),
        error_message: failed.and_then(|failed| failed.error_message),
        results: results.clone(),
        ..<_>::default()
    }))
}

fn first(outcome: Option<(ErrorCode, &str)>) -> (ErrorCode, &str) {
    outcome.unwrap_or((ErrorCode::UNKNOWN_SERVER_ERROR, ""))
}
