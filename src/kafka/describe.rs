//! The broker about itself: `DescribeCluster`, `DescribeLogDirs`.

use super::{AnswerError, Call, authorized};
use crate::broker::Topics;
use crate::wire::describe_cluster::{
    DescribeClusterRequest as WireCluster, DescribeClusterResponse as WireClusterAnswer,
};
use crate::wire::describe_log_dirs::{
    DescribeLogDirsRequest as WireLogDirs, DescribeLogDirsResponse as WireLogDirsAnswer,
};
use crate::wire::kafka::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::wire::kafka::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::{ErrorCode, TopicRef, frame};

/// Endpoints that a client may ask for.
const BROKERS: i8 = 1;

pub(super) fn ask_cluster(version: i16, body: &[u8]) -> Result<Vec<u8>, KafkaError> {
    DescribeClusterRequest::decode(version, body)?;
    Ok(frame::encode_body(&WireCluster {}))
}

pub(super) fn cluster(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeClusterRequest = call.request()?;
    let answer: WireClusterAnswer<'_> = call.answer()?;
    if request.endpoint_type != BROKERS {
        return Ok(call.encode(&DescribeClusterResponse {
            error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            error_message: Some("this is a broker's endpoint"),
            endpoint_type: request.endpoint_type,
            ..DescribeClusterResponse::default()
        }));
    }
    let brokers = answer.brokers.iter().map(|broker| DescribeClusterBroker {
        broker_id: broker.node_id,
        host: broker.host,
        port: i32::from(broker.port),
        rack: Some(broker.rack).filter(|rack| !rack.is_empty()),
        is_fenced: false,
    });
    let cluster_id = answer.cluster_id.to_string();
    Ok(call.encode(&DescribeClusterResponse {
        error_code: answer.error,
        cluster_id: &cluster_id,
        controller_id: answer.controller_id,
        brokers: brokers.collect(),
        cluster_authorized_operations: authorized::if_asked(
            request.include_cluster_authorized_operations,
            authorized::CLUSTER,
        ),
        ..DescribeClusterResponse::default()
    }))
}

/// The topics that are asked for, in order.
fn wanted<'a>(topics: Topics<'a>, request: &DescribeLogDirsRequest<'a>) -> Vec<&'a str> {
    match &request.topics {
        Some(topics) => topics.iter().map(|topic| topic.topic).collect(),
        None => topics.names().collect(),
    }
}

pub(super) fn ask_log_dirs(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = DescribeLogDirsRequest::decode(version, body)?;
    let names = wanted(topics, &request).into_iter().map(TopicRef::Name);
    Ok(frame::encode_body(&WireLogDirs { topics: names.collect() }))
}

pub(super) fn log_dirs(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeLogDirsRequest<'_> = call.request()?;
    // Topics may have come and gone since: the names are those that were asked for.
    let asked: WireLogDirs<'_> = frame::decode(call.asked).map_err(AnswerError::Wire)?;
    let answer: WireLogDirsAnswer = call.answer()?;
    let mut topics: Vec<DescribeLogDirsTopic<'_>> = Vec::new();
    for log in answer.partitions.iter().filter(|log| log.error.is_ok()) {
        let place = log.topic_place as usize;
        let Some(TopicRef::Name(name)) = asked.topics.get(place).copied() else { continue };
        let partition = DescribeLogDirsPartition {
            partition_index: log.partition,
            partition_size: i64::try_from(log.size_bytes).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        };
        if !is_wanted(&request, name, partition.partition_index) {
            continue;
        }
        match topics.last_mut() {
            Some(topic) if topic.name == name => topic.partitions.push(partition),
            _ => topics.push(DescribeLogDirsTopic { name, partitions: vec![partition] }),
        }
    }
    let log_dir = call.topics.setting("log.dirs").unwrap_or_default();
    let result = DescribeLogDirsResult { log_dir, topics, ..DescribeLogDirsResult::default() };
    Ok(call.encode(&DescribeLogDirsResponse { results: vec![result], ..<_>::default() }))
}

fn is_wanted(
    request: &DescribeLogDirsRequest<'_>,
    name: &str,
    partition: crate::ids::Partition,
) -> bool {
    let Some(topics) = &request.topics else { return true };
    // A topic without partitions stands for all of them.
    topics.iter().any(|topic| {
        topic.topic == name
            && (topic.partitions.is_empty() || topic.partitions.contains(&partition))
    })
}
