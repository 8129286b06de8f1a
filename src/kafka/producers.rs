//! Producers and leader epochs: `InitProducerId`, `DescribeProducers`, `OffsetForLeaderEpoch`.

use super::{AnswerError, Call, millis};
use crate::wire::describe_producers::{
    DescribeProducersRequest as WireDescribe, DescribeProducersResponse as WireDescribed,
    ProducersPartition as WireProducers,
};
use crate::wire::init_producer_id::{
    InitProducerIdRequest as WireInit, InitProducerIdResponse as WireGiven,
};
use crate::wire::kafka::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use crate::wire::kafka::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::kafka::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::offset_for_leader_epoch::{
    EpochPartition as WireEpoch, OffsetForLeaderEpochRequest as WireEpochs,
    OffsetForLeaderEpochResponse as WireEnds,
};
use crate::wire::{TopicRef, frame};

pub(super) fn ask_init(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = InitProducerIdRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireInit {
        transactional_id: request.transactional_id,
        transaction_timeout_ms: millis(request.transaction_timeout_ms),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    }))
}

pub(super) fn given(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let answer: WireGiven = call.answer()?;
    Ok(call.encode(&InitProducerIdResponse {
        error_code: answer.error,
        producer_id: answer.producer_id,
        producer_epoch: answer.producer_epoch,
        ..InitProducerIdResponse::default()
    }))
}

pub(super) fn ask_describe(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = DescribeProducersRequest::decode(version, body)?;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partition_indexes.iter().map(|partition| WireProducers {
            topic: TopicRef::Name(topic.name),
            partition: *partition,
        })
    });
    Ok(frame::encode_body(&WireDescribe { partitions: partitions.collect() }))
}

pub(super) fn described(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeProducersRequest<'_> = call.request()?;
    let answer: WireDescribed = call.answer()?;
    let mut described = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let one = described.next().expect("one result per place");
            let state = one.producers.iter().map(|producer| ProducerState {
                producer_id: producer.producer_id,
                producer_epoch: i32::from(producer.producer_epoch),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp.0,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_start_offset: producer.transaction_start_offset,
            });
            PartitionResponse {
                partition_index: *partition,
                error_code: one.error,
                error_message: super::message_of(one.error, ""),
                active_producers: state.collect(),
            }
        });
        TopicResponse { name: topic.name, partitions: partitions.collect() }
    });
    Ok(call.encode(&DescribeProducersResponse { topics: topics.collect(), ..<_>::default() }))
}

pub(super) fn ask_epochs(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    let request = OffsetForLeaderEpochRequest::decode(version, body)?;
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|item| WireEpoch {
            topic: TopicRef::Name(topic.topic),
            partition: item.partition,
            current_leader_epoch: item.current_leader_epoch,
            leader_epoch: item.leader_epoch,
        })
    });
    Ok(frame::encode_body(&WireEpochs { partitions: partitions.collect() }))
}

pub(super) fn epoch_ends(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: OffsetForLeaderEpochRequest<'_> = call.request()?;
    let answer: WireEnds = call.answer()?;
    let mut ends = answer.partitions.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|item| {
            let end = ends.next().expect("one result per place");
            EpochEndOffset {
                error_code: end.error,
                partition: item.partition,
                leader_epoch: end.leader_epoch,
                end_offset: end.end_offset,
            }
        });
        OffsetForLeaderTopicResult { topic: topic.topic, partitions: partitions.collect() }
    });
    Ok(call.encode(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..<_>::default() }))
}
