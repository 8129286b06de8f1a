//! `Fetch`: batches leave between the response's own bytes as they lie in their segments.

use super::fetch_session::{Cached, Mode, Sessions, TopicKey};
use super::{AskedTopic, check_count};
use crate::broker::front::{FetchWanted, Request, Response};
use crate::broker::{Slice, Topics};
use crate::ids::{LeaderEpoch, Partition};
use crate::wire::fetch::FetchedPartition;
use crate::wire::kafka::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::wire::kafka::{self, ApiKey, Frame, KafkaError, Message, Place, Records, Segment};
use crate::wire::{ErrorCode, TopicRef};

/// The first version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// The first version whose clients know that a follower may answer (KIP-392).
const FOLLOWER_FETCH_VERSION: i16 = 11;

/// What the answer to a fetch needs to know of it.
#[derive(Debug)]
pub(super) struct AskedFetch {
    topics: Vec<AskedTopic>,
    mode: Mode,
    session_id: i32,
}

/// The request in our words, and what its answer will need; or the answer, when the session is not
/// what the client thinks.
pub(super) fn take<F>(
    topics: Topics<'_>,
    sessions: &mut Sessions,
    (version, correlation_id): (i16, i32),
    body: &[u8],
) -> Result<Result<(Request, AskedFetch), Response<F>>, KafkaError> {
    let request = FetchRequest::decode(version, body)?;
    let place = &Place { structure: "FetchRequest", field: "topics" };
    let partitions = request.topics.iter().map(|topic| topic.partitions.len().max(1));
    check_count(ApiKey::Fetch, place, partitions.sum())?;
    let mode = match sessions.take(&request, TOPIC_ID_VERSION <= version) {
        Ok(mode) => mode,
        Err(error_code) => {
            let response = FetchResponse { error_code, ..FetchResponse::default() };
            return Ok(Err(Response::of(super::encode(version, correlation_id, &response))));
        }
    };
    // Only brokers of this cluster fetch as replicas, and they speak the wire.
    let is_replica = 0 <= request.replica_id.0 || 0 <= request.replica_state.replica_id.0;
    let mut asked: Vec<AskedTopic> = Vec::new();
    let mut wanted = Vec::new();
    let mut ask = |topic: &TopicKey, partition: Partition, cached: &Cached| {
        wanted.push(if is_replica {
            Err(ErrorCode::INVALID_REQUEST)
        } else {
            want(topics, topic_ref(version, topic), partition, cached)
        });
        match asked.last_mut() {
            Some(last) if last.key == *topic => last.partitions.push(partition),
            _ => asked.push(AskedTopic { key: topic.clone(), partitions: vec![partition] }),
        }
    };
    let session_id = sessions.id(mode);
    match sessions.of(session_id).filter(|_| mode == Mode::Incremental) {
        Some(session) => {
            for (topic, partition, cached) in session.wanted() {
                ask(&topic, partition, &cached);
            }
        }
        None => {
            for topic in &request.topics {
                let key = TopicKey { name: topic.topic.into(), id: topic.topic_id };
                for item in &topic.partitions {
                    ask(&key, item.partition, &Cached::of(item));
                }
            }
        }
    }
    let request = Request::Fetch {
        max_wait_ms: super::millis(request.max_wait_ms),
        min_bytes: u32::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: u32::try_from(request.max_bytes).unwrap_or(0),
        may_follow: FOLLOWER_FETCH_VERSION <= version,
        wanted,
    };
    Ok(Ok((request, AskedFetch { topics: asked, mode, session_id })))
}

fn topic_ref(version: i16, topic: &TopicKey) -> TopicRef<'_> {
    if version < TOPIC_ID_VERSION { TopicRef::Name(&topic.name) } else { TopicRef::Id(topic.id) }
}

fn want(
    topics: Topics<'_>,
    topic: TopicRef<'_>,
    partition: Partition,
    cached: &Cached,
) -> Result<FetchWanted, ErrorCode> {
    Ok(FetchWanted {
        topic_partition: topics.resolve_here(topic, partition)?,
        offset: cached.offset,
        current_leader_epoch: cached.current_leader_epoch.max(LeaderEpoch::NONE),
        max_bytes: u32::try_from(cached.max_bytes).unwrap_or(0),
    })
}

/// The response: the frame's bytes with the slices between them.
pub(super) fn respond<F>(
    sessions: &mut Sessions,
    (version, correlation_id): (i16, i32),
    asked: &AskedFetch,
    fetched: &[FetchedPartition],
    slices: Vec<Slice<F>>,
) -> Response<F> {
    let AskedFetch { topics, mode, session_id } = asked;
    let mut session = sessions.of(*session_id);
    let mut fetched = fetched.iter();
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let fetched = fetched.next().expect("one result per place");
            let is_news = session.as_mut().is_none_or(|s| s.tell(&topic.key, *partition, fetched));
            if is_news || *mode != Mode::Incremental {
                partitions.push(partition_data(*partition, fetched));
            }
        }
        if !partitions.is_empty() {
            let (name, topic_id) = (&*topic.key.name, topic.key.id);
            responses.push(FetchableTopicResponse { topic: name, topic_id, partitions });
        }
    }
    let response = FetchResponse { session_id: *session_id, responses, ..FetchResponse::default() };
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

fn partition_data<'a>(partition: Partition, fetched: &FetchedPartition) -> PartitionData<'a> {
    PartitionData {
        partition_index: partition,
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
}
