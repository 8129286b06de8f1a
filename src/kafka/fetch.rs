//! `Fetch`: batches leave between the response's own bytes as they lie in their segments.
//!
//! Sessions (KIP-227) are declined by session id 0, as Kafka does when its cache is full: the
//! client then names all its partitions each time.

use super::AskedTopic;
use crate::broker::Topics;
use crate::broker::front::{FetchWanted, Request, Response};
use crate::ids::{LeaderEpoch, Partition};
use crate::wire::fetch::FetchedPartition;
use crate::wire::kafka::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use crate::wire::kafka::{self, Frame, KafkaError, Message, Records, Segment};
use crate::wire::{ErrorCode, TopicRef};

/// The first version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// The request in our words, and what its answer will repeat.
pub(super) fn take(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<(Request, Vec<AskedTopic>), KafkaError> {
    let request = FetchRequest::decode(version, body)?;
    // Only brokers of this cluster fetch as replicas, and they speak the wire.
    let is_replica = 0 <= request.replica_id.0 || 0 <= request.replica_state.replica_id.0;
    let mut asked = Vec::with_capacity(request.topics.len());
    let mut wanted = Vec::new();
    for topic in &request.topics {
        for item in &topic.partitions {
            wanted.push(if is_replica {
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                want(topics, topic_ref(version, topic), item)
            });
        }
        asked.push(AskedTopic {
            name: topic.topic.into(),
            id: topic.topic_id,
            partitions: topic.partitions.iter().map(|item| item.partition).collect(),
        });
    }
    let request = Request::Fetch {
        max_wait_ms: super::millis(request.max_wait_ms),
        min_bytes: u32::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: u32::try_from(request.max_bytes).unwrap_or(0),
        wanted,
    };
    Ok((request, asked))
}

fn topic_ref<'a>(version: i16, topic: &FetchTopic<'a>) -> TopicRef<'a> {
    if version < TOPIC_ID_VERSION {
        TopicRef::Name(topic.topic)
    } else {
        TopicRef::Id(topic.topic_id)
    }
}

fn want(
    topics: Topics<'_>,
    topic: TopicRef<'_>,
    item: &FetchPartition,
) -> Result<FetchWanted, ErrorCode> {
    Ok(FetchWanted {
        topic_partition: topics.resolve(topic, item.partition)?,
        offset: item.fetch_offset,
        current_leader_epoch: item.current_leader_epoch.max(LeaderEpoch::NONE),
        max_bytes: u32::try_from(item.partition_max_bytes).unwrap_or(0),
    })
}

/// The response: the frame's bytes with the slices between them.
pub(super) fn respond<F>(
    version: i16,
    correlation_id: i32,
    asked: &[AskedTopic],
    fetched: &[FetchedPartition],
    slices: Vec<crate::broker::Slice<F>>,
) -> Response<F> {
    let mut fetched = fetched.iter();
    let mut result = |index: &Partition| {
        let fetched = fetched.next().expect("one result per place");
        PartitionData {
            partition_index: *index,
            error_code: fetched.error,
            high_watermark: fetched.high_watermark,
            // Without transactions everything below the high watermark is stable.
            last_stable_offset: fetched.high_watermark,
            log_start_offset: fetched.log_start_offset,
            aborted_transactions: None,
            records: match fetched.records_bytes {
                0 => Records::Bytes(&[]),
                bytes => Records::Gap(bytes),
            },
            ..PartitionData::default()
        }
    };
    let responses = asked.iter().map(|topic| FetchableTopicResponse {
        topic: &topic.name,
        topic_id: topic.id,
        partitions: topic.partitions.iter().map(&mut result).collect(),
    });
    let response = FetchResponse { responses: responses.collect(), ..<_>::default() };
    let mut frame = Frame::new();
    kafka::encode_response(version, correlation_id, &response, &mut frame);
    let mut slices = slices.into_iter();
    let mut response = Response::of(Vec::new());
    for segment in frame.segments() {
        match segment {
            Segment::Bytes(bytes) => response.push_bytes(bytes),
            Segment::Gap(_) => {
                response.push_slice(slices.next().expect("a slice for every gap"));
            }
        }
    }
    response
}
