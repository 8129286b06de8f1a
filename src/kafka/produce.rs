//! `Produce`: its batches are cut out of the frame as they lie there.

use std::ops::Range;

use bytes::BytesMut;

use super::fetch_session::TopicKey;
use super::{AskedTopic, check_count};
use crate::broker::front::{Request, Response};
use crate::broker::{Nowhere, Topics};
use crate::ids::{Partition, TopicPartition};
use crate::record::BatchHeader;
use crate::wire::kafka::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::wire::kafka::{ApiKey, KafkaError, Message, Place};
use crate::wire::produce::ProducedPartition;
use crate::wire::{ErrorCode, TopicRef};

/// Versions before are advertised, because librdkafka looks for them, but not served; they carry
/// formats that Kafka 4 dropped (KIP-896).
pub(super) const VERSION_MIN: i16 = 3;

/// The first version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// The first version whose clients know that a transaction may have to be aborted (KIP-890).
const ABORTABLE_VERSION: i16 = 11;

/// Answers a version that is not served, in its own words.
pub(super) fn refuse<F>(
    version: i16,
    correlation_id: i32,
    body: &[u8],
) -> Result<Response<F>, KafkaError> {
    let request = ProduceRequest::decode(version, body)?;
    let refused = |item: &PartitionProduceData<'_>| PartitionProduceResponse {
        index: item.index,
        ..failed(ErrorCode::UNSUPPORTED_VERSION)
    };
    let responses = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic.partition_data.iter().map(refused).collect(),
    });
    let response = ProduceResponse { responses: responses.collect(), ..<_>::default() };
    Ok(Response::of(super::encode(version, correlation_id, &response)))
}

fn failed<'a>(error: ErrorCode) -> PartitionProduceResponse<'a> {
    let ProducedPartition { error, base_offset, log_start_offset, .. } =
        ProducedPartition::failed(error);
    PartitionProduceResponse {
        error_code: error,
        base_offset,
        log_start_offset,
        ..PartitionProduceResponse::default()
    }
}

/// The request in our words, and what its answer will repeat.
pub(super) fn take(
    topics: Topics<'_>,
    version: i16,
    body: BytesMut,
) -> Result<(Request, Vec<AskedTopic>), KafkaError> {
    let request = ProduceRequest::decode(version, &body)?;
    let place = &Place { structure: "ProduceRequest", field: "topic_data" };
    let partitions = request.topic_data.iter().map(|topic| topic.partition_data.len().max(1));
    check_count(ApiKey::Produce, place, partitions.sum())?;
    // Values of `acks` that do not exist are refused by the broker, partition by partition.
    let acks = i8::try_from(request.acks).unwrap_or(i8::MAX);
    let timeout_ms = super::millis(request.timeout_ms);
    let mut asked = Vec::with_capacity(request.topic_data.len());
    let mut places = Vec::new();
    for topic in &request.topic_data {
        for item in &topic.partition_data {
            let target = match item.records.bytes() {
                Some(records) if is_transactional(records) => {
                    Err(refuse_transaction(version, request.transactional_id).into())
                }
                Some(_) => topics.place_batch(topic_ref(version, topic), item.index),
                None => Err(ErrorCode::INVALID_RECORD.into()),
            };
            let records = item.records.bytes().unwrap_or_default();
            places.push((target, place_of(&body, records)));
        }
        asked.push(AskedTopic {
            key: TopicKey { name: topic.name.into(), id: topic.topic_id },
            partitions: topic.partition_data.iter().map(|item| item.index).collect(),
        });
    }
    let batches = cut(body, places);
    Ok((Request::Produce { acks, timeout_ms, batches }, asked))
}

fn is_transactional(records: &[u8]) -> bool {
    BatchHeader::parse(records).is_ok_and(|header| header.attributes.is_transactional())
}

/// Why a batch of a transaction is not written: it names no transaction, or one that is not open,
/// because none ever is here (semantics.md §3).
fn refuse_transaction(version: i16, transactional_id: Option<&str>) -> ErrorCode {
    match transactional_id {
        None => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        Some(_) if version < ABORTABLE_VERSION => ErrorCode::INVALID_TXN_STATE,
        Some(_) => ErrorCode::TRANSACTION_ABORTABLE,
    }
}

fn topic_ref<'a>(version: i16, topic: &TopicProduceData<'a>) -> TopicRef<'a> {
    if version < TOPIC_ID_VERSION {
        TopicRef::Name(topic.name)
    } else {
        TopicRef::Id(topic.topic_id)
    }
}

/// Where `part` lies in `whole`, of which it is a slice; an empty one lies at the end.
fn place_of(whole: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return whole.len()..whole.len();
    }
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Cuts pieces out of a frame. They were read one after the other, so they lie in that order.
fn cut(
    frame: BytesMut,
    places: Vec<(Result<TopicPartition, Nowhere>, Range<usize>)>,
) -> Vec<(Result<TopicPartition, Nowhere>, BytesMut)> {
    let mut rest = frame;
    let mut position = 0;
    let piece = |(target, place): (_, Range<usize>)| {
        if place.is_empty() {
            return (target, BytesMut::new());
        }
        drop(rest.split_to(place.start - position));
        position = place.end;
        (target, rest.split_to(place.len()))
    };
    places.into_iter().map(piece).collect()
}

/// A record for which its batch was refused (KIP-467); what is wrong with it, the batch's error says.
fn bad_record<'a>(place: u32) -> BatchIndexAndErrorMessage<'a> {
    BatchIndexAndErrorMessage {
        batch_index: i32::try_from(place).unwrap_or(i32::MAX),
        batch_index_error_message: None,
    }
}

/// The response to a request whose batches met these fates.
pub(super) fn respond<F>(
    version: i16,
    correlation_id: i32,
    asked: &[AskedTopic],
    results: &[ProducedPartition],
) -> Response<F> {
    let mut results = results.iter();
    let mut result = |index: &Partition| {
        let produced = results.next().expect("one result per batch");
        PartitionProduceResponse {
            index: *index,
            error_code: produced.error,
            base_offset: produced.base_offset,
            log_append_time_ms: produced.log_append_time.0,
            log_start_offset: produced.log_start_offset,
            record_errors: produced.bad_records.iter().map(|place| bad_record(*place)).collect(),
            error_message: super::message_of(produced.error, ""),
            ..PartitionProduceResponse::default()
        }
    };
    let responses = asked.iter().map(|topic| TopicProduceResponse {
        name: &topic.key.name,
        topic_id: topic.key.id,
        partition_responses: topic.partitions.iter().map(&mut result).collect(),
    });
    let response = ProduceResponse { responses: responses.collect(), ..<_>::default() };
    Response::of(super::encode(version, correlation_id, &response))
}
