//! Kafka's door: what Kafka's clients say, put into the wire's words, and the answers back.
//!
//! ```text
//! frame ──► Door::take ──► Request ──► broker ──► Answer ──► Door::answer ──► Response
//!              │ answered by the door itself (ApiVersions)              ▲ in order
//!              └────────────────────────────────────────────────────────┘
//! ```
//!
//! The door has no meaning of its own: topics, offsets and errors are the broker's, whose numbers
//! are Kafka's. It holds what a connection has asked and not been answered yet. Batches are never
//! copied: a produce's are cut out of its frame, a fetch's leave by `sendfile`.
//!
//! **Invariant:** answers leave in the order of the requests, each once. A frame that does not
//! decode closes its connection and changes nothing.
//!
//! # Why
//! A request that touches one partition a hundred thousand times a second (produce, fetch) goes
//! through typed values; all others go through a body in the wire's format, which costs a few
//! microseconds and keeps one code path for both protocols. Read semantics.md 1D before editing.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic))]

mod api_versions;
mod authorized;
mod configs;
mod consumer_groups;
mod describe;
mod fetch;
mod fetch_session;
mod group_admin;
mod group_offsets;
mod groups;
mod offsets;
mod partitions;
mod produce;
mod producers;
mod site;
mod topics;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use self::fetch::AskedFetch;
use self::fetch_session::{Sessions, TopicKey};
use crate::broker::Topics;
use crate::broker::front::{Answer, Request, Response};
use crate::ids::Partition;
use crate::limits::{PIPELINE_REQUESTS_MAX, REQUEST_PARTITIONS_MAX};
use crate::wire::kafka::{
    self, ApiKey, Expected, Frame, KafkaError, Message, Place, RequestHeader,
};
use crate::wire::{self, ErrorCode, FrameError, frame};

/// A connection's state: requests that are not answered yet.
#[derive(Debug)]
pub struct Door<F> {
    dues: VecDeque<Due<F>>,
    sessions: Sessions,
}

/// What became of a frame.
#[derive(Debug)]
pub enum Taken {
    /// Ask the broker. Unless it is a produce with acks 0, its answer goes to [`Door::answer`].
    Ask(Request),
    /// The door has answered it, or it needs no answer.
    Done,
}

/// A request's place among the answers.
#[derive(Debug)]
enum Due<F> {
    Waiting(Context),
    Ready(Response<F>),
}

/// What the answer to a request needs to know of it.
#[derive(Debug)]
struct Context {
    version: i16,
    correlation_id: i32,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Produce(Vec<AskedTopic>),
    Fetch(AskedFetch),
    /// The request, to be read once more beside its answer, and what the broker was asked.
    Body(ApiKey, Bytes, Vec<u8>),
}

/// A topic as a request named it, which is what the answer repeats.
#[derive(Debug)]
struct AskedTopic {
    key: TopicKey,
    partitions: Vec<Partition>,
}

impl<F> Default for Door<F> {
    fn default() -> Door<F> {
        Door { dues: VecDeque::new(), sessions: Sessions::default() }
    }
}

impl<F> Door<F> {
    /// Whether so many requests wait for answers that no more are read.
    pub fn is_full(&self) -> bool {
        PIPELINE_REQUESTS_MAX <= self.dues.len()
    }

    /// Whether a request waits for its answer.
    pub fn is_busy(&self) -> bool {
        !self.dues.is_empty()
    }

    /// Takes one frame, without its prefix.
    pub fn take(&mut self, topics: Topics<'_>, bytes: BytesMut) -> Result<Taken, KafkaError> {
        let (header, body) = RequestHeader::decode(&bytes)?;
        let RequestHeader { api, version, correlation_id, client_id } = header;
        if api == ApiKey::ApiVersions {
            let response = api_versions::respond(topics, version, correlation_id, body)?;
            self.dues.push_back(Due::Ready(response));
            return Ok(Taken::Done);
        }
        api_versions::check(api, version)?;
        let client_id: Box<str> =
            client_id.filter(|_| is_of_groups(api)).unwrap_or_default().into();
        let header_bytes = bytes.len() - body.len();
        let mut body = bytes;
        drop(body.split_to(header_bytes));
        let context = |asked| Context { version, correlation_id, asked };
        let (request, asked) = match api {
            ApiKey::Produce if version < produce::VERSION_MIN => {
                let response = produce::refuse(version, correlation_id, &body)?;
                self.dues.push_back(Due::Ready(response));
                return Ok(Taken::Done);
            }
            ApiKey::Produce => {
                let (request, asked) = produce::take(topics, version, body)?;
                if matches!(request, Request::Produce { acks: 0, .. }) {
                    return Ok(Taken::Ask(request));
                }
                (request, Asked::Produce(asked))
            }
            ApiKey::Fetch => {
                let call = (version, correlation_id);
                match fetch::take(topics, &mut self.sessions, call, &body)? {
                    Ok((request, asked)) => (request, Asked::Fetch(asked)),
                    Err(response) => {
                        self.dues.push_back(Due::Ready(response));
                        return Ok(Taken::Done);
                    }
                }
            }
            _ => {
                let (wire_api, wire_body) = translate(topics, api, version, &body)?;
                let bytes = BytesMut::from(&wire_body[..]);
                let request = match is_of_groups(api) {
                    true => Request::Group(wire_api, bytes, client_id),
                    false => Request::Wire(wire_api, bytes),
                };
                (request, Asked::Body(api, body.freeze(), wire_body))
            }
        };
        self.dues.push_back(Due::Waiting(context(asked)));
        Ok(Taken::Ask(request))
    }

    /// Takes the broker's answer to the oldest request that waits for one. An error is the end of
    /// the connection: there is no answer that Kafka's client would understand.
    pub fn answer(&mut self, topics: Topics<'_>, answer: Answer<F>) -> Result<(), AnswerError> {
        let waiting = self.dues.iter_mut().find(|due| matches!(due, Due::Waiting(_)));
        if let Some(due) = waiting {
            if let Due::Waiting(context) = due {
                *due = Due::Ready(respond(topics, &mut self.sessions, context, answer)?);
            }
        }
        Ok(())
    }

    /// The next response to send, if it is there.
    pub fn poll(&mut self) -> Option<Response<F>> {
        match self.dues.pop_front()? {
            Due::Ready(response) => Some(response),
            waiting @ Due::Waiting(_) => {
                self.dues.push_front(waiting);
                None
            }
        }
    }
}

/// Whether a frame that begins so, behind its prefix, is a produce: only those may be large.
pub fn is_produce(frame: &[u8]) -> bool {
    frame.starts_with(&ApiKey::Produce.number().to_be_bytes())
}

/// Refuses more partitions than the wire's lists may have, as its codec does for other requests.
fn check_count(api: ApiKey, place: &'static Place, count: usize) -> Result<(), KafkaError> {
    if count <= REQUEST_PARTITIONS_MAX {
        return Ok(());
    }
    Err(KafkaError::Malformed { api: Some(api), place, expected: Expected::FewerElements })
}

/// Whether a coordinator of groups answers, which wants to know who asks.
fn is_of_groups(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::FindCoordinator
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
    )
}

/// Which of the wire's requests a request is, and its body.
fn translate(
    topics: Topics<'_>,
    api: ApiKey,
    version: i16,
    body: &[u8],
) -> Result<(wire::ApiKey, Vec<u8>), KafkaError> {
    Ok(match api {
        ApiKey::Metadata => (wire::ApiKey::Metadata, topics::ask_metadata(version, body)?),
        ApiKey::DescribeTopicPartitions => {
            (wire::ApiKey::DescribeTopicPartitions, topics::ask_description(version, body)?)
        }
        ApiKey::CreateTopics => {
            (wire::ApiKey::CreateTopics, topics::ask_create(topics, version, body)?)
        }
        ApiKey::DeleteTopics => (wire::ApiKey::DeleteTopics, topics::ask_delete(version, body)?),
        ApiKey::CreatePartitions => {
            (wire::ApiKey::CreatePartitions, topics::ask_grow(version, body)?)
        }
        ApiKey::ListOffsets => (wire::ApiKey::ListOffsets, offsets::ask_list(version, body)?),
        ApiKey::DeleteRecords => (wire::ApiKey::DeleteRecords, offsets::ask_trim(version, body)?),
        ApiKey::InitProducerId => {
            (wire::ApiKey::InitProducerId, producers::ask_init(version, body)?)
        }
        ApiKey::DescribeProducers => {
            (wire::ApiKey::DescribeProducers, producers::ask_describe(version, body)?)
        }
        ApiKey::OffsetForLeaderEpoch => {
            (wire::ApiKey::OffsetForLeaderEpoch, producers::ask_epochs(version, body)?)
        }
        ApiKey::DescribeConfigs => {
            (wire::ApiKey::DescribeConfigs, configs::ask_describe(topics, version, body)?)
        }
        ApiKey::IncrementalAlterConfigs => {
            (wire::ApiKey::IncrementalAlterConfigs, configs::ask_alter(topics, version, body)?)
        }
        ApiKey::AlterConfigs => {
            (wire::ApiKey::IncrementalAlterConfigs, configs::ask_replace(topics, version, body)?)
        }
        ApiKey::DescribeCluster => {
            (wire::ApiKey::DescribeCluster, describe::ask_cluster(version, body)?)
        }
        ApiKey::DescribeLogDirs => {
            (wire::ApiKey::DescribeLogDirs, describe::ask_log_dirs(topics, version, body)?)
        }
        _ => return translate_site(topics, api, version, body),
    })
}

/// The same, of requests about the site.
fn translate_site(
    topics: Topics<'_>,
    api: ApiKey,
    version: i16,
    body: &[u8],
) -> Result<(wire::ApiKey, Vec<u8>), KafkaError> {
    use wire::ApiKey as Wire;
    Ok(match api {
        ApiKey::ElectLeaders => (Wire::ElectLeaders, partitions::ask_elect(topics, version, body)?),
        ApiKey::AlterPartitionReassignments => {
            (Wire::AlterPartitionReassignments, partitions::ask_reassign(version, body)?)
        }
        ApiKey::ListPartitionReassignments => {
            (Wire::DescribeTopicPartitions, partitions::ask_moves(version, body)?)
        }
        ApiKey::DescribeQuorum => (Wire::DescribeQuorum, site::ask_quorum(version, body)?),
        ApiKey::UnregisterBroker => (Wire::UnregisterBroker, site::ask_unregister(version, body)?),
        ApiKey::UpdateFeatures => (Wire::UpdateFeatures, site::ask_update(topics, version, body)?),
        _ => return translate_group(api, version, body),
    })
}

/// The same, of requests about groups.
fn translate_group(
    api: ApiKey,
    version: i16,
    body: &[u8],
) -> Result<(wire::ApiKey, Vec<u8>), KafkaError> {
    use wire::ApiKey as Wire;
    Ok(match api {
        ApiKey::FindCoordinator => (Wire::FindCoordinator, groups::ask_coordinator(version, body)?),
        ApiKey::JoinGroup => (Wire::JoinGroup, groups::ask_join(version, body)?),
        ApiKey::SyncGroup => (Wire::SyncGroup, groups::ask_sync(version, body)?),
        ApiKey::Heartbeat => (Wire::Heartbeat, groups::ask_beat(version, body)?),
        ApiKey::LeaveGroup => (Wire::LeaveGroup, groups::ask_leave(version, body)?),
        ApiKey::OffsetCommit => (Wire::OffsetCommit, group_offsets::ask_commit(version, body)?),
        ApiKey::OffsetFetch => (Wire::OffsetFetch, group_offsets::ask_fetch(version, body)?),
        ApiKey::OffsetDelete => (Wire::OffsetDelete, group_offsets::ask_delete(version, body)?),
        ApiKey::DescribeGroups => (Wire::DescribeGroups, group_admin::ask_describe(version, body)?),
        ApiKey::ListGroups => (Wire::ListGroups, group_admin::ask_list(version, body)?),
        ApiKey::DeleteGroups => (Wire::DeleteGroups, group_admin::ask_delete(version, body)?),
        ApiKey::ConsumerGroupHeartbeat => {
            (Wire::ConsumerGroupHeartbeat, consumer_groups::ask_beat(version, body)?)
        }
        ApiKey::ConsumerGroupDescribe => {
            (Wire::ConsumerGroupDescribe, consumer_groups::ask_describe(version, body)?)
        }
        _ => return Err(KafkaError::UnsupportedVersion { api, version }),
    })
}

fn respond<F>(
    topics: Topics<'_>,
    sessions: &mut Sessions,
    context: &Context,
    answer: Answer<F>,
) -> Result<Response<F>, AnswerError> {
    let Context { version, correlation_id, asked } = context;
    let (version, correlation_id) = (*version, *correlation_id);
    Ok(match (asked, answer) {
        (Asked::Produce(asked), Answer::Produced(results)) => {
            produce::respond(version, correlation_id, asked, &results)
        }
        (Asked::Fetch(asked), Answer::Fetched { partitions, slices }) => {
            fetch::respond(sessions, (version, correlation_id), asked, &partitions, slices)
        }
        (Asked::Body(api, request, asked), Answer::Body(body)) => {
            let call = Call { topics, version, correlation_id, request, asked, body: &body };
            let head = match api {
                ApiKey::Metadata => topics::metadata(call),
                ApiKey::DescribeTopicPartitions => topics::describe(call),
                ApiKey::CreateTopics => topics::created(call),
                ApiKey::DeleteTopics => topics::deleted(call),
                ApiKey::CreatePartitions => topics::grown(call),
                ApiKey::ListOffsets => offsets::listed(call),
                ApiKey::DeleteRecords => offsets::trimmed(call),
                ApiKey::InitProducerId => producers::given(call),
                ApiKey::DescribeProducers => producers::described(call),
                ApiKey::OffsetForLeaderEpoch => producers::epoch_ends(call),
                ApiKey::DescribeConfigs => configs::described(call),
                ApiKey::IncrementalAlterConfigs => configs::altered(call),
                ApiKey::AlterConfigs => configs::replaced(call),
                ApiKey::DescribeCluster => describe::cluster(call),
                ApiKey::DescribeLogDirs => describe::log_dirs(call),
                ApiKey::ElectLeaders => partitions::elected(call),
                ApiKey::AlterPartitionReassignments => partitions::reassigned(call),
                ApiKey::ListPartitionReassignments => partitions::moves(call),
                ApiKey::DescribeQuorum => site::quorum(call),
                ApiKey::UnregisterBroker => site::unregistered(call),
                ApiKey::UpdateFeatures => site::updated(call),
                _ => respond_of_group(*api, call),
            };
            Response::of(head?)
        }
        _ => unreachable!("an answer is of the kind of its request"),
    })
}

/// The response's frame to a request about groups.
fn respond_of_group(api: ApiKey, call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    match api {
        ApiKey::FindCoordinator => groups::coordinator(call),
        ApiKey::JoinGroup => groups::joined(call),
        ApiKey::SyncGroup => groups::synced(call),
        ApiKey::Heartbeat => groups::beaten(call),
        ApiKey::LeaveGroup => groups::left(call),
        ApiKey::OffsetCommit => group_offsets::committed(call),
        ApiKey::OffsetFetch => group_offsets::fetched(call),
        ApiKey::OffsetDelete => group_offsets::deleted(call),
        ApiKey::DescribeGroups => group_admin::described(call),
        ApiKey::ListGroups => group_admin::listed(call),
        ApiKey::ConsumerGroupHeartbeat => consumer_groups::beaten(call),
        ApiKey::ConsumerGroupDescribe => consumer_groups::described(call),
        _ => group_admin::deleted(call),
    }
}

/// A request beside its answer.
#[derive(Clone, Copy)]
struct Call<'a> {
    topics: Topics<'a>,
    version: i16,
    correlation_id: i32,
    request: &'a [u8],
    /// The broker's request that it became,
    asked: &'a [u8],
    /// and the answer to that.
    body: &'a [u8],
}

impl<'a> Call<'a> {
    /// The request, read again.
    fn request<M: Message<'a>>(self) -> Result<M, AnswerError> {
        M::decode(self.version, self.request).map_err(AnswerError::Kafka)
    }

    /// The broker's answer.
    fn answer<T: serde::Deserialize<'a>>(self) -> Result<T, AnswerError> {
        frame::decode(self.body).map_err(AnswerError::Wire)
    }

    /// The response's frame.
    fn encode<'m, M: Message<'m>>(self, message: &M) -> Vec<u8> {
        encode(self.version, self.correlation_id, message)
    }
}

/// Why a response cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The request does not decode, although it did before.
    Kafka(KafkaError),
    /// The broker's answer does not decode: it could make nothing of a request that was within
    /// Kafka's bounds and not within the wire's.
    Wire(FrameError),
}

fn encode<'m, M: Message<'m>>(version: i16, correlation_id: i32, message: &M) -> Vec<u8> {
    let mut frame = Frame::new();
    kafka::encode_response(version, correlation_id, message, &mut frame);
    frame.into_parts().0
}

/// Longest message that is passed on; Kafka's strings end at 32,767 bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A message for an error: its sentence, none for success.
fn message_of(error: ErrorCode, message: &str) -> Option<&str> {
    if error.is_ok() {
        return None;
    }
    let is_usable = (1..=MESSAGE_BYTES_MAX).contains(&message.len());
    Some(if is_usable { message } else { error.text() })
}

/// A wait in ms as the wire has it; Kafka's negative ones are none.
fn millis(ms: i32) -> u32 {
    u32::try_from(ms).unwrap_or(0)
}
