//! Topics: `Metadata`, `DescribeTopicPartitions`, `CreateTopics`, `DeleteTopics`,
//! `CreatePartitions`.

use super::{AnswerError, Call, authorized, message_of, millis};
use crate::broker::Topics;
use crate::ids::{NodeId, TopicId};
use crate::wire::create_partitions::{
    CreatePartitionsRequest as WireGrow, CreatePartitionsResponse as WireGrown, GrowTopic,
};
use crate::wire::create_topics::ConfigEntry;
use crate::wire::create_topics::{
    CreateTopic, CreateTopicsRequest as WireCreate, CreateTopicsResponse as WireCreated,
};
use crate::wire::delete_topics::{
    DeleteTopicsRequest as WireDelete, DeleteTopicsResponse as WireDeleted,
};
use crate::wire::describe_topic_partitions::{
    DescribeTopicPartitionsRequest as WireDescribe,
    DescribeTopicPartitionsResponse as WireDescribed, DescribedPartition, DescribedTopic,
};
use crate::wire::kafka::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use crate::wire::kafka::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::wire::kafka::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::wire::kafka::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::wire::kafka::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::metadata::{
    MetadataPartition, MetadataRequest as WireMetadata, MetadataResponse as WireMetadataAnswer,
};
use crate::wire::{ErrorCode, TopicRef, frame};

/// Partitions on a page of `DescribeTopicPartitions`, whatever the client would like (KIP-966).
const PAGE_PARTITIONS_MAX: usize = 2000;

fn topic_ref<'a>(topic: &MetadataRequestTopic<'a>) -> TopicRef<'a> {
    match topic.name {
        Some(name) => TopicRef::Name(name),
        None => TopicRef::Id(topic.topic_id),
    }
}

pub(super) fn ask_metadata(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = MetadataRequest::decode(version, body)?;
    // Version 0 has no null: there an empty list stands for all.
    let wants_all = |topics: &Vec<MetadataRequestTopic<'_>>| version == 0 && topics.is_empty();
    let topics = request.topics.as_ref().filter(|topics| !wants_all(topics));
    Ok(frame::encode_body(&WireMetadata {
        topics: topics.map(|topics| topics.iter().map(topic_ref).collect()),
        allow_auto_topic_creation: request.allow_auto_topic_creation,
    }))
}

pub(super) fn metadata(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: MetadataRequest<'_> = call.request()?;
    let answer: WireMetadataAnswer<'_> = call.answer()?;
    let live: Vec<NodeId> = answer.brokers.iter().map(|broker| broker.node_id).collect();
    let brokers = answer.brokers.iter().map(|broker| MetadataResponseBroker {
        node_id: broker.node_id,
        host: broker.host,
        port: i32::from(broker.port),
        rack: Some(broker.rack).filter(|rack| !rack.is_empty()),
    });
    let topics = answer.topics.iter().map(|topic| MetadataResponseTopic {
        error_code: topic.error,
        // An id that nobody knows has no name; versions without null want an empty one.
        name: Some(topic.name).filter(|name| !name.is_empty() || call.version < 12),
        topic_id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: topic
            .partitions
            .iter()
            .map(|one| partition(call.version, one, &live))
            .collect(),
        topic_authorized_operations: authorized::if_asked(
            request.include_topic_authorized_operations && topic.error.is_ok(),
            authorized::TOPIC,
        ),
    });
    let cluster_id = answer.cluster_id.to_string();
    Ok(call.encode(&MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(&cluster_id),
        controller_id: answer.controller_id,
        topics: topics.collect(),
        cluster_authorized_operations: authorized::if_asked(
            request.include_cluster_authorized_operations,
            authorized::CLUSTER,
        ),
        ..MetadataResponse::default()
    }))
}

/// A partition as a client of this door sees it: `live` are the brokers that it can reach.
fn partition(
    version: i16,
    partition: &MetadataPartition,
    live: &[NodeId],
) -> MetadataResponsePartition {
    let is_away = |node: &NodeId| !live.contains(node);
    let (error_code, leader_id) = match partition.leader {
        leader if !partition.error.is_ok() || !is_away(&leader) => (partition.error, leader),
        // It leads, and has no such listener; before version 6 there was no word for that.
        _ if version < 6 => (ErrorCode::LEADER_NOT_AVAILABLE, NodeId::NONE),
        _ => (ErrorCode::LISTENER_NOT_FOUND, NodeId::NONE),
    };
    MetadataResponsePartition {
        error_code,
        partition_index: partition.partition,
        leader_id,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        offline_replicas: partition.replicas.iter().copied().filter(is_away).collect(),
    }
}

pub(super) fn ask_description(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DescribeTopicPartitionsRequest::decode(version, body)?;
    let names = request.topics.iter().map(|topic| TopicRef::Name(topic.name));
    let topics = (!request.topics.is_empty()).then(|| names.collect());
    Ok(frame::encode_body(&WireDescribe { topics }))
}

pub(super) fn describe(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeTopicPartitionsRequest<'_> = call.request()?;
    let answer: WireDescribed<'_> = call.answer()?;
    let mut found = answer.topics;
    found.sort_by_key(|topic| topic.name);
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, PAGE_PARTITIONS_MAX);
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for topic in &found {
        let first = match &request.cursor {
            Some(cursor) if topic.name < cursor.topic_name => continue,
            Some(cursor) if topic.name == cursor.topic_name => cursor.partition_index.0,
            _ => 0,
        };
        let first = usize::try_from(first).unwrap_or(0);
        let rest = topic.partitions.get(first..).unwrap_or_default();
        if left == 0 {
            next_cursor = Some(cursor(topic, first));
            break;
        }
        let (page, beyond) = rest.split_at(left.min(rest.len()));
        left -= page.len();
        topics.push(described(topic, page));
        if !beyond.is_empty() {
            next_cursor = Some(cursor(topic, first + page.len()));
            break;
        }
    }
    Ok(call.encode(&DescribeTopicPartitionsResponse { topics, next_cursor, ..<_>::default() }))
}

fn cursor<'a>(topic: &DescribedTopic<'a>, partition: usize) -> Cursor<'a> {
    let partition_index = crate::ids::Partition(partition as i32);
    Cursor { topic_name: topic.name, partition_index }
}

fn described<'a>(
    topic: &DescribedTopic<'a>,
    page: &[DescribedPartition],
) -> DescribeTopicPartitionsResponseTopic<'a> {
    let partition = |partition: &DescribedPartition| DescribeTopicPartitionsResponsePartition {
        error_code: partition.error,
        partition_index: partition.partition,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(partition.elr.clone()),
        // The last of those that were in sync stays in sync or eligible, whatever befalls it.
        last_known_elr: Some(Vec::new()),
        offline_replicas: partition.offline.clone(),
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: topic.error,
        name: Some(topic.name),
        topic_id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: page.iter().map(partition).collect(),
        // Nobody need ask: this API always tells.
        topic_authorized_operations: authorized::if_asked(topic.error.is_ok(), authorized::TOPIC),
    }
}

/// How many partitions and replicas a new topic is to have; an assignment must be one that the
/// broker would choose itself.
fn counts(topics: Topics<'_>, topic: &CreatableTopic<'_>) -> Result<(i32, i16), ErrorCode> {
    if topic.assignments.is_empty() {
        return Ok((topic.num_partitions, topic.replication_factor));
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let mut numbers: Vec<i32> =
        topic.assignments.iter().map(|place| place.partition_index.0).collect();
    numbers.sort_unstable();
    let is_whole = numbers.iter().copied().eq(0..numbers.len() as i32);
    let is_here = topic.assignments.iter().all(|place| place.broker_ids == [topics.node_id()]);
    if is_whole && is_here {
        Ok((numbers.len() as i32, 1))
    } else {
        Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT)
    }
}

pub(super) fn ask_create(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = CreateTopicsRequest::decode(version, body)?;
    let legal = request.topics.iter().filter_map(|topic| {
        let (partition_count, replication_factor) = counts(topics, topic).ok()?;
        let set = topic
            .configs
            .iter()
            .filter_map(|config| Some(ConfigEntry { key: config.name, value: config.value? }));
        Some(CreateTopic {
            name: topic.name,
            partition_count,
            replication_factor,
            configs: set.collect(),
        })
    });
    Ok(frame::encode_body(&WireCreate {
        timeout_ms: millis(request.timeout_ms),
        validate_only: request.validate_only,
        topics: legal.collect(),
    }))
}

pub(super) fn created(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: CreateTopicsRequest<'_> = call.request()?;
    let answer: WireCreated<'_> = call.answer()?;
    let mut created = answer.topics.iter();
    let topics = request.topics.iter().map(|topic| {
        let result = CreatableTopicResult {
            name: topic.name,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        };
        if let Err(error_code) = counts(call.topics, topic) {
            let error_message = message_of(error_code, "");
            return CreatableTopicResult { error_code, error_message, ..result };
        }
        let created = created.next().expect("one result per topic that was asked for");
        CreatableTopicResult {
            topic_id: created.topic_id,
            error_code: created.error,
            error_message: message_of(created.error, created.message),
            num_partitions: created.partition_count,
            replication_factor: created.replication_factor,
            ..result
        }
    });
    Ok(call.encode(&CreateTopicsResponse { topics: topics.collect(), ..<_>::default() }))
}

pub(super) fn ask_delete(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DeleteTopicsRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireDelete {
        timeout_ms: millis(request.timeout_ms),
        topics: named(&request).map(|(topic, ..)| topic).collect(),
    }))
}

/// The topics of a request, as the wire and as the answer name them.
fn named<'r, 'a>(
    request: &'r DeleteTopicsRequest<'a>,
) -> impl Iterator<Item = (TopicRef<'a>, Option<&'a str>, TopicId)> + use<'r, 'a> {
    let names = request.topic_names.iter();
    let by_name = names.map(|name| (TopicRef::Name(name), Some(*name), TopicId::default()));
    let either = request.topics.iter().map(|topic| match topic.name {
        Some(name) => (TopicRef::Name(name), Some(name), topic.topic_id),
        None => (TopicRef::Id(topic.topic_id), None, topic.topic_id),
    });
    by_name.chain(either)
}

pub(super) fn deleted(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DeleteTopicsRequest<'_> = call.request()?;
    let answer: WireDeleted<'_> = call.answer()?;
    let responses = named(&request).zip(&answer.topics).map(|((_, name, topic_id), outcome)| {
        DeletableTopicResult {
            name,
            topic_id,
            error_code: outcome.error,
            error_message: message_of(outcome.error, outcome.message),
        }
    });
    Ok(call.encode(&DeleteTopicsResponse { responses: responses.collect(), ..<_>::default() }))
}

pub(super) fn ask_grow(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = CreatePartitionsRequest::decode(version, body)?;
    let topics = request
        .topics
        .iter()
        .map(|topic| GrowTopic { topic: TopicRef::Name(topic.name), partition_count: topic.count });
    Ok(frame::encode_body(&WireGrow {
        timeout_ms: millis(request.timeout_ms),
        validate_only: request.validate_only,
        topics: topics.collect(),
    }))
}

pub(super) fn grown(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: CreatePartitionsRequest<'_> = call.request()?;
    let answer: WireGrown<'_> = call.answer()?;
    let results = request.topics.iter().zip(&answer.topics).map(|(topic, outcome)| {
        CreatePartitionsTopicResult {
            name: topic.name,
            error_code: outcome.error,
            error_message: message_of(outcome.error, outcome.message),
        }
    });
    Ok(call.encode(&CreatePartitionsResponse { results: results.collect(), ..<_>::default() }))
}
