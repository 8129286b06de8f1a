//! Where partitions live and who leads them, by command: `ElectLeaders`,
//! `AlterPartitionReassignments`, `ListPartitionReassignments`.

use super::{AnswerError, Call, message_of, millis};
use crate::broker::Topics;
use crate::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest as WireReassign,
    AlterPartitionReassignmentsResponse as WireReassigned, ReassignPartition,
};
use crate::wire::describe_topic_partitions::{
    DescribeTopicPartitionsRequest as WireDescribe,
    DescribeTopicPartitionsResponse as WireDescribed, DescribedPartition, DescribedTopic,
};
use crate::wire::elect_leaders::{
    ElectLeadersRequest as WireElect, ElectLeadersResponse as WireElected, ElectPartition,
    ElectionKind,
};
use crate::wire::kafka::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::wire::kafka::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use crate::wire::kafka::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::{ErrorCode, TopicRef, frame};

fn kind(request: &ElectLeadersRequest<'_>) -> Option<ElectionKind> {
    match request.election_type {
        0 => Some(ElectionKind::Preferred),
        1 => Some(ElectionKind::Unclean),
        _ => None,
    }
}

pub(super) fn ask_elect(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = ElectLeadersRequest::decode(version, body)?;
    let Some(kind) = kind(&request) else {
        let nothing =
            WireElect { timeout_ms: 0, kind: ElectionKind::Preferred, partitions: Vec::new() };
        return Ok(frame::encode_body(&nothing));
    };
    let partitions = match &request.topic_partitions {
        Some(named) => named
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic, *partition)))
            .collect(),
        // All of them means those that are not as they should be: the others are not answered.
        None => topics.partitions_to_elect(kind),
    };
    let named = partitions
        .into_iter()
        .map(|(topic, partition)| ElectPartition { topic: TopicRef::Name(topic), partition });
    let timeout_ms = millis(request.timeout_ms);
    Ok(frame::encode_body(&WireElect { timeout_ms, kind, partitions: named.collect() }))
}

pub(super) fn elected(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: ElectLeadersRequest<'_> = call.request()?;
    if kind(&request).is_none() {
        let error_code = ErrorCode::INVALID_REQUEST;
        return Ok(call.encode(&ElectLeadersResponse { error_code, ..<_>::default() }));
    }
    // Partitions may have come and gone since: the names are those that were asked for.
    let asked: WireElect<'_> = frame::decode(call.asked).map_err(AnswerError::Wire)?;
    let answer: WireElected<'_> = call.answer()?;
    let mut results: Vec<ReplicaElectionResult<'_>> = Vec::new();
    for (place, outcome) in asked.partitions.iter().zip(&answer.partitions) {
        let TopicRef::Name(topic) = place.topic else { continue };
        if request.topic_partitions.is_none() && outcome.error == ErrorCode::ELECTION_NOT_NEEDED {
            continue;
        }
        let result = PartitionResult {
            partition_id: place.partition,
            error_code: outcome.error,
            error_message: message_of(outcome.error, outcome.message),
        };
        match results.last_mut() {
            Some(last) if last.topic == topic => last.partition_result.push(result),
            _ => results.push(ReplicaElectionResult { topic, partition_result: vec![result] }),
        }
    }
    let replica_election_results = results;
    Ok(call.encode(&ElectLeadersResponse { replica_election_results, ..<_>::default() }))
}

pub(super) fn ask_reassign(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = AlterPartitionReassignmentsRequest::decode(version, body)?;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| ReassignPartition {
            topic: TopicRef::Name(topic.name),
            partition: partition.partition_index,
            replicas: partition.replicas.clone(),
        })
    });
    Ok(frame::encode_body(&WireReassign {
        timeout_ms: millis(request.timeout_ms),
        allow_replication_factor_change: request.allow_replication_factor_change,
        partitions: partitions.collect(),
    }))
}

pub(super) fn reassigned(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: AlterPartitionReassignmentsRequest<'_> = call.request()?;
    let answer: WireReassigned<'_> = call.answer()?;
    let mut outcomes = answer.partitions.iter();
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .zip(outcomes.by_ref())
            .map(|(partition, outcome)| ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: outcome.error,
                error_message: message_of(outcome.error, outcome.message),
            })
            .collect(),
    });
    Ok(call.encode(&AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: responses.collect(),
        ..<_>::default()
    }))
}

pub(super) fn ask_moves(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = ListPartitionReassignmentsRequest::decode(version, body)?;
    let topics = request.topics.as_ref().map(|topics| {
        let names = topics.iter().map(|topic| TopicRef::Name(topic.name));
        names.collect()
    });
    Ok(frame::encode_body(&WireDescribe { topics }))
}

pub(super) fn moves(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: ListPartitionReassignmentsRequest<'_> = call.request()?;
    let answer: WireDescribed<'_> = call.answer()?;
    let mut topics = Vec::new();
    for (place, topic) in answer.topics.iter().enumerate() {
        let wanted = request.topics.as_ref().and_then(|topics| topics.get(place));
        let partitions = moving(topic, wanted);
        if !partitions.is_empty() {
            topics.push(OngoingTopicReassignment { name: topic.name, partitions });
        }
    }
    Ok(call.encode(&ListPartitionReassignmentsResponse { topics, ..<_>::default() }))
}

/// The partitions of a topic that move; of those that are asked for, if some are.
fn moving(
    topic: &DescribedTopic<'_>,
    wanted: Option<&ListPartitionReassignmentsTopics<'_>>,
) -> Vec<OngoingPartitionReassignment> {
    let is_wanted = |one: &&DescribedPartition| {
        wanted.is_none_or(|wanted| wanted.partition_indexes.contains(&one.partition))
    };
    let moves = |one: &&DescribedPartition| !one.adding.is_empty() || !one.removing.is_empty();
    let ongoing = |one: &DescribedPartition| OngoingPartitionReassignment {
        partition_index: one.partition,
        replicas: one.replicas.clone(),
        adding_replicas: one.adding.clone(),
        removing_replicas: one.removing.clone(),
    };
    topic.partitions.iter().filter(is_wanted).filter(moves).map(ongoing).collect()
}
