//! What groups have read: `OffsetCommit`, `OffsetFetch`, `OffsetDelete`.

use super::{AnswerError, Call};
use crate::ids::{LeaderEpoch, Offset, Partition, TopicId};
use crate::wire::kafka::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::kafka::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use crate::wire::kafka::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::offset_commit::{
    CommitPartition, OffsetCommitRequest as WireCommit, OffsetCommitResponse as WireCommitted,
};
use crate::wire::offset_delete::{
    DeleteOffset, OffsetDeleteRequest as WireDelete, OffsetDeleteResponse as WireDeleted,
};
use crate::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, FetchedOffset, FetchedOffsets, OffsetFetchRequest as WireFetch,
    OffsetFetchResponse as WireFetched,
};
use crate::wire::{ErrorCode, TopicRef, frame};

/// The first versions of `OffsetCommit` and `OffsetFetch` that name topics by id.
const TOPIC_ID_VERSION: i16 = 10;

/// The first versions of both that know the groups of KIP-848.
const MEMBER_EPOCH_VERSION: i16 = 9;

/// The first version of `OffsetFetch` that asks about several groups.
const GROUPS_VERSION: i16 = 8;

/// The first version of `OffsetFetch` with an error for the whole group.
const GROUP_ERROR_VERSION: i16 = 2;

fn topic_ref(version: i16, name: &str, topic_id: TopicId) -> TopicRef<'_> {
    if version < TOPIC_ID_VERSION { TopicRef::Name(name) } else { TopicRef::Id(topic_id) }
}

pub(super) fn ask_commit(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = OffsetCommitRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireCommit {
        group_id: request.group_id,
        generation_id_or_member_epoch: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        retention_time_ms: request.retention_time_ms,
        knows_member_epochs: MEMBER_EPOCH_VERSION <= version,
        partitions: request.topics.iter().flat_map(|topic| commits(version, topic)).collect(),
    }))
}

fn commits<'a>(version: i16, topic: &OffsetCommitRequestTopic<'a>) -> Vec<CommitPartition<'a>> {
    let topic_ref = topic_ref(version, topic.name, topic.topic_id);
    let partitions = topic.partitions.iter().map(|item| CommitPartition {
        topic: topic_ref,
        partition: item.partition_index,
        offset: item.committed_offset,
        leader_epoch: item.committed_leader_epoch,
        metadata: item.committed_metadata.unwrap_or_default(),
    });
    partitions.collect()
}

/// What a client that does not know the groups of KIP-848 understands.
fn older(version: i16, error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::GROUP_ID_NOT_FOUND if version < MEMBER_EPOCH_VERSION => {
            ErrorCode::ILLEGAL_GENERATION
        }
        error => error,
    }
}

pub(super) fn committed(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: OffsetCommitRequest<'_> = call.request()?;
    let answer: WireCommitted = call.answer()?;
    let mut errors = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|item| OffsetCommitResponsePartition {
            partition_index: item.partition_index,
            error_code: older(call.version, errors.next().expect("one result per place")),
        });
        OffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    Ok(call.encode(&OffsetCommitResponse { topics: topics.collect(), ..<_>::default() }))
}

pub(super) fn ask_fetch(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = OffsetFetchRequest::decode(version, body)?;
    let groups = if version < GROUPS_VERSION {
        vec![wanted_of_one(&request)]
    } else {
        request.groups.iter().map(|group| wanted(version, group)).collect()
    };
    Ok(frame::encode_body(&WireFetch { require_stable: request.require_stable, groups }))
}

/// What is wanted in versions that ask about one group.
fn wanted_of_one<'a>(request: &OffsetFetchRequest<'a>) -> FetchOffsetsGroup<'a> {
    let partitions = request.topics.as_ref().map(|topics| {
        let named = topics.iter().map(|topic| (TopicRef::Name(topic.name), topic));
        named.flat_map(|(name, topic)| places(name, &topic.partition_indexes)).collect()
    });
    let group_id = request.group_id;
    FetchOffsetsGroup { group_id, member_id: None, member_epoch: -1, partitions }
}

fn wanted<'a>(version: i16, group: &OffsetFetchRequestGroup<'a>) -> FetchOffsetsGroup<'a> {
    let partitions = group.topics.as_ref().map(|topics| {
        let named = topics.iter().map(|t| (topic_ref(version, t.name, t.topic_id), t));
        named.flat_map(|(topic_ref, t)| places(topic_ref, &t.partition_indexes)).collect()
    });
    FetchOffsetsGroup {
        group_id: group.group_id,
        member_id: group.member_id,
        member_epoch: group.member_epoch,
        partitions,
    }
}

fn places<'a>(topic: TopicRef<'a>, partitions: &[Partition]) -> Vec<FetchOffset<'a>> {
    partitions.iter().map(|partition| FetchOffset { topic, partition: *partition }).collect()
}

pub(super) fn fetched(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: OffsetFetchRequest<'_> = call.request()?;
    let answer: WireFetched<'_> = call.answer()?;
    if call.version < GROUPS_VERSION {
        let group = answer.groups.into_iter().next().expect("one result per group");
        return Ok(call.encode(&fetched_of_one(call.version, &request, &group)));
    }
    let groups =
        request.groups.iter().zip(&answer.groups).map(|(wanted, group)| OffsetFetchResponseGroup {
            group_id: wanted.group_id,
            topics: topics(call, group),
            error_code: group.error,
        });
    Ok(call.encode(&OffsetFetchResponse { groups: groups.collect(), ..<_>::default() }))
}

/// The answer in versions that ask about one group.
fn fetched_of_one<'a>(
    version: i16,
    request: &OffsetFetchRequest<'a>,
    group: &FetchedOffsets<'a>,
) -> OffsetFetchResponse<'a> {
    let partition = |found: &FetchedOffset<'a>| OffsetFetchResponsePartition {
        partition_index: found.partition,
        committed_offset: found.offset,
        committed_leader_epoch: found.leader_epoch,
        metadata: Some(found.metadata),
        error_code: found.error,
    };
    let mut topics: Vec<OffsetFetchResponseTopic<'a>> = Vec::new();
    for found in &group.partitions {
        let TopicRef::Name(name) = found.topic else { continue };
        match topics.last_mut() {
            Some(topic) if topic.name == name => topic.partitions.push(partition(found)),
            _ => topics.push(OffsetFetchResponseTopic { name, partitions: vec![partition(found)] }),
        }
    }
    if version < GROUP_ERROR_VERSION && !group.error.is_ok() {
        // There is no place for it but with each partition.
        let failed = |partition: &Partition| OffsetFetchResponsePartition {
            partition_index: *partition,
            committed_offset: Offset(-1),
            committed_leader_epoch: LeaderEpoch::NONE,
            metadata: Some(""),
            error_code: group.error,
        };
        let wanted = request.topics.iter().flatten();
        topics = wanted
            .map(|topic| OffsetFetchResponseTopic {
                name: topic.name,
                partitions: topic.partition_indexes.iter().map(failed).collect(),
            })
            .collect();
    }
    OffsetFetchResponse { topics, error_code: group.error, ..<_>::default() }
}

fn topics<'a>(call: Call<'a>, group: &FetchedOffsets<'a>) -> Vec<OffsetFetchResponseTopics<'a>> {
    let by_id = TOPIC_ID_VERSION <= call.version;
    let mut topics: Vec<OffsetFetchResponseTopics<'a>> = Vec::new();
    for found in &group.partitions {
        let (name, topic_id) = match found.topic {
            TopicRef::Id(topic_id) => ("", topic_id),
            // A topic that is gone has no id to name it by.
            TopicRef::Name(name) if by_id => match call.topics.topic_id(name) {
                Some(topic_id) => (name, topic_id),
                None => continue,
            },
            TopicRef::Name(name) => (name, TopicId::default()),
        };
        let partition = OffsetFetchResponsePartitions {
            partition_index: found.partition,
            committed_offset: found.offset,
            committed_leader_epoch: found.leader_epoch,
            metadata: Some(found.metadata),
            error_code: found.error,
        };
        match topics.last_mut() {
            Some(topic) if topic.name == name && topic.topic_id == topic_id => {
                topic.partitions.push(partition);
            }
            _ => topics.push(OffsetFetchResponseTopics {
                name,
                topic_id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

pub(super) fn ask_delete(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = OffsetDeleteRequest::decode(version, body)?;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|item| DeleteOffset {
            topic: TopicRef::Name(topic.name),
            partition: item.partition_index,
        })
    });
    Ok(frame::encode_body(&WireDelete {
        group_id: request.group_id,
        partitions: partitions.collect(),
    }))
}

pub(super) fn deleted(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: OffsetDeleteRequest<'_> = call.request()?;
    let answer: WireDeleted = call.answer()?;
    if !answer.error.is_ok() {
        let error_code = answer.error;
        return Ok(call.encode(&OffsetDeleteResponse { error_code, ..<_>::default() }));
    }
    let mut errors = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|item| OffsetDeleteResponsePartition {
            partition_index: item.partition_index,
            error_code: errors.next().expect("one result per place"),
        });
        OffsetDeleteResponseTopic { name: topic.name, partitions: partitions.collect() }
    });
    Ok(call.encode(&OffsetDeleteResponse { topics: topics.collect(), ..<_>::default() }))
}
