//! Offsets: `ListOffsets`, `DeleteRecords`.

use super::{AnswerError, Call, millis};
use crate::time::Timestamp;
use crate::wire::delete_records::{
    DeleteRecordsPartition as WireTrimPartition, DeleteRecordsRequest as WireTrim,
    DeleteRecordsResponse as WireTrimmed,
};
use crate::wire::kafka::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use crate::wire::kafka::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::list_offsets::{
    EARLIEST, ListOffsetsPartition as WirePartition, ListOffsetsRequest as WireList,
    ListOffsetsResponse as WireListed, ListedOffset, MAX_TIMESTAMP,
};
use crate::wire::{ErrorCode, TopicRef, frame};

/// The earliest offset that is not in a remote tier: there is none, so the earliest of all.
const EARLIEST_LOCAL: i64 = -4;

/// The offset behind the last one in a remote tier: there is no such.
const LATEST_TIERED: i64 = -5;

pub(super) fn ask_list(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = ListOffsetsRequest::decode(version, body)?;
    let mut partitions = Vec::new();
    for topic in &request.topics {
        for item in topic.partitions.iter().filter(|item| is_asked(item.timestamp)) {
            partitions.push(WirePartition {
                topic: TopicRef::Name(topic.name),
                partition: item.partition_index,
                current_leader_epoch: item.current_leader_epoch,
                timestamp: match item.timestamp {
                    EARLIEST_LOCAL => EARLIEST,
                    timestamp => Timestamp(timestamp),
                },
            });
        }
    }
    Ok(frame::encode_body(&WireList { partitions }))
}

/// Whether the broker has an answer for this time.
fn is_asked(timestamp: i64) -> bool {
    timestamp == EARLIEST_LOCAL || MAX_TIMESTAMP.0 <= timestamp
}

pub(super) fn listed(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: ListOffsetsRequest<'_> = call.request()?;
    let answer: WireListed = call.answer()?;
    let mut listed = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|item| {
            let found = match item.timestamp {
                timestamp if is_asked(timestamp) => listed.next().expect("one result per place"),
                LATEST_TIERED => ListedOffset::failed(ErrorCode::NONE),
                _ => ListedOffset::failed(ErrorCode::INVALID_REQUEST),
            };
            ListOffsetsPartitionResponse {
                partition_index: item.partition_index,
                error_code: found.error,
                timestamp: found.timestamp.0,
                offset: found.offset,
                leader_epoch: found.leader_epoch,
            }
        });
        ListOffsetsTopicResponse { name: topic.name, partitions: partitions.collect() }
    });
    Ok(call.encode(&ListOffsetsResponse { topics: topics.collect(), ..<_>::default() }))
}

pub(super) fn ask_trim(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DeleteRecordsRequest::decode(version, body)?;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|item| WireTrimPartition {
            topic: TopicRef::Name(topic.name),
            partition: item.partition_index,
            offset: item.offset,
        })
    });
    Ok(frame::encode_body(&WireTrim {
        timeout_ms: millis(request.timeout_ms),
        partitions: partitions.collect(),
    }))
}

pub(super) fn trimmed(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DeleteRecordsRequest<'_> = call.request()?;
    let answer: WireTrimmed = call.answer()?;
    let mut trimmed = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|item| {
            let trimmed = trimmed.next().expect("one result per place");
            DeleteRecordsPartitionResult {
                partition_index: item.partition_index,
                low_watermark: trimmed.low_watermark,
                error_code: trimmed.error,
            }
        });
        DeleteRecordsTopicResult { name: topic.name, partitions: partitions.collect() }
    });
    Ok(call.encode(&DeleteRecordsResponse { topics: topics.collect(), ..<_>::default() }))
}
