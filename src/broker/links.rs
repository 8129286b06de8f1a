//! A shard's connections with the other brokers of the site.
//!
//! Who follows asks: a shard has one *link* to each broker that leads a partition it has a replica
//! of, made when there is something to ask and made again, after a pause, when it broke. A link
//! carries fetches and progress one way and answers the other, those of a turn together. The other
//! end takes it for a *peer*, whichever of its shards the connection came to, and passes fetches on
//! to the shards that own the partitions (mail.rs).
//!
//! | stage of a link | what it waits for |
//! |---|---|
//! | `Idle` | something to ask |
//! | `Resting` | the end of a pause after a failure |
//! | `Dialing` | the socket, on which both ends have proved who they are |
//! | `Up` | nothing |
//!
//! **Invariant:** what is asked while a link is not up waits here, of each partition no more than a
//! follower may have under way; when a link breaks, the followers that asked on it are told.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::broker::ConnectionId;
use crate::broker::front::Response;
use crate::ids::{NodeId, TopicPartition};
use crate::limits::{REPLICA_ANSWER_BYTES, REPLICA_FETCHES_MAX, REQUEST_PARTITIONS_MAX};
use crate::log::Slice;
use crate::time::{Boot, Now};
use crate::wire::replica::ReplicaApiKey;
use crate::wire::replica::fetch::{
    FetchFrom, FetchReplica, FetchedReplica, ReplicaFetch, ReplicaFetched,
};
use crate::wire::replica::progress::{ProgressReplica, ReplicaProgress};
use crate::wire::{RequestHeader, frame};

/// The first pause after a failure, doubled with each in a row.
const REST_MS: u64 = 100;

/// How often at most.
const DOUBLINGS_MAX: u32 = 4;

/// What the links want done.
#[derive(Debug)]
pub(super) enum LinkOutput<F> {
    /// Connect to a broker, then say so by [`Links::dialed`].
    Dial(NodeId),
    /// Send on a connection.
    Send(ConnectionId, Response<F>),
    /// Close a connection.
    Close(ConnectionId),
    /// What was asked of a leader is void.
    Lost(NodeId),
    /// A leader answers.
    Answered(FetchedReplica, Bytes),
    /// A follower asks, on this connection.
    Asked(ConnectionId, Follower, Vec<FetchReplica>, Vec<ProgressReplica>),
    /// A follower's connection is gone.
    Gone(ConnectionId, NodeId),
}

/// A broker and its incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Follower {
    pub node_id: NodeId,
    pub broker_epoch: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Resting { until: Boot },
    Dialing,
    Up(ConnectionId),
}

#[derive(Debug)]
struct Link {
    stage: Stage,
    failure_count: u32,
    fetches: BTreeMap<TopicPartition, Vec<FetchReplica>>,
    progress: BTreeMap<TopicPartition, ProgressReplica>,
}

/// A frame that does not decode, or that this end of a connection is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Answers to one follower, each with its batches.
type Answers<F> = Vec<(FetchedReplica, Option<Slice<F>>)>;

/// See the module.
pub(super) struct Links<F> {
    by_node: BTreeMap<NodeId, Link>,
    /// Links by their connection.
    linked: BTreeMap<ConnectionId, NodeId>,
    /// Who is at the other end of connections that came in.
    peers: BTreeMap<ConnectionId, NodeId>,
    answers: BTreeMap<ConnectionId, Answers<F>>,
    outputs: VecDeque<LinkOutput<F>>,
}

impl<F> Links<F> {
    /// None so far.
    pub fn new() -> Links<F> {
        Links {
            by_node: BTreeMap::new(),
            linked: BTreeMap::new(),
            peers: BTreeMap::new(),
            answers: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Whether a connection is one of these.
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.linked.contains_key(&connection) || self.peers.contains_key(&connection)
    }

    /// Whether there is nothing to send, and nothing to wait for before it is.
    pub fn is_quiet(&self) -> bool {
        let is_idle = |link: &Link| link.fetches.is_empty() && link.progress.is_empty();
        self.outputs.is_empty() && self.answers.is_empty() && self.by_node.values().all(is_idle)
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<LinkOutput<F>> {
        self.outputs.pop_front()
    }

    /// A follower here asks its leader.
    pub fn fetch(&mut self, leader: NodeId, fetch: FetchReplica) {
        let link = self.link(leader);
        let waiting = link.fetches.entry(fetch.topic_partition).or_default();
        let begins_anew = fetch.from != FetchFrom::Next;
        if begins_anew || REPLICA_FETCHES_MAX <= waiting.len() {
            waiting.clear();
        }
        waiting.push(fetch);
    }

    /// A follower here tells its leader how far it is. While the link is not up this need not be
    /// said: the fetch that waits for it will.
    pub fn progress(&mut self, leader: NodeId, progress: ProgressReplica) {
        let link = self.link(leader);
        if matches!(link.stage, Stage::Up(_)) {
            link.progress.insert(progress.topic_partition, progress);
        }
    }

    fn link(&mut self, leader: NodeId) -> &mut Link {
        self.by_node.entry(leader).or_insert_with(|| Link {
            stage: Stage::Idle,
            failure_count: 0,
            fetches: BTreeMap::new(),
            progress: BTreeMap::new(),
        })
    }

    /// A leader here answers the follower on a connection.
    pub fn answer(
        &mut self,
        connection: ConnectionId,
        answer: FetchedReplica,
        slice: Option<Slice<F>>,
    ) {
        if self.peers.contains_key(&connection) {
            self.answers.entry(connection).or_default().push((answer, slice));
        }
    }

    /// Sends what has gathered.
    pub fn flush(&mut self, now: Now, own: Follower) {
        for (connection, answers) in std::mem::take(&mut self.answers) {
            self.send_answers(connection, answers);
        }
        for (&leader, link) in &mut self.by_node {
            if link.fetches.is_empty() && link.progress.is_empty() {
                continue;
            }
            match link.stage {
                Stage::Idle => {
                    link.stage = Stage::Dialing;
                    self.outputs.push_back(LinkOutput::Dial(leader));
                }
                Stage::Resting { until } if until <= now.boot => {
                    link.stage = Stage::Dialing;
                    self.outputs.push_back(LinkOutput::Dial(leader));
                }
                Stage::Up(connection) => send_asks(connection, link, own, &mut self.outputs),
                Stage::Resting { .. } | Stage::Dialing => {}
            }
        }
    }

    fn send_answers(&mut self, connection: ConnectionId, answers: Answers<F>) {
        let mut part: Answers<F> = Vec::new();
        let mut raw_bytes = 0;
        for (answer, slice) in answers {
            let bytes = u64::from(answer.records_bytes);
            let is_full =
                REPLICA_ANSWER_BYTES < raw_bytes + bytes || REQUEST_PARTITIONS_MAX <= part.len();
            if is_full && !part.is_empty() {
                let full = std::mem::take(&mut part);
                self.outputs.push_back(LinkOutput::Send(connection, fetched_frame(full)));
                raw_bytes = 0;
            }
            raw_bytes += bytes;
            part.push((answer, slice));
        }
        self.outputs.push_back(LinkOutput::Send(connection, fetched_frame(part)));
    }

    /// A socket to a broker is there, or could not be had.
    pub fn dialed(&mut self, now: Now, node_id: NodeId, connection: Option<ConnectionId>) {
        let Some(connection) = connection else { return self.rest(now, node_id) };
        let link = self.link(node_id);
        if link.stage == Stage::Dialing {
            link.stage = Stage::Up(connection);
            link.failure_count = 0;
            self.linked.insert(connection, node_id);
        } else {
            self.outputs.push_back(LinkOutput::Close(connection));
        }
    }

    /// A follower connected, and has proved who it is.
    pub fn admit(&mut self, connection: ConnectionId, node_id: NodeId) {
        self.peers.insert(connection, node_id);
    }

    fn rest(&mut self, now: Now, node_id: NodeId) {
        let Some(link) = self.by_node.get_mut(&node_id) else { return };
        let pause_ms = REST_MS << link.failure_count.min(DOUBLINGS_MAX);
        link.failure_count += 1;
        link.stage = Stage::Resting { until: now.boot.plus_ms(pause_ms) };
    }

    /// A connection is gone.
    pub fn closed(&mut self, now: Now, connection: ConnectionId) {
        self.answers.remove(&connection);
        if let Some(node_id) = self.peers.remove(&connection) {
            self.outputs.push_back(LinkOutput::Gone(connection, node_id));
        }
        if let Some(node_id) = self.linked.remove(&connection) {
            self.rest(now, node_id);
            let link = self.by_node.get_mut(&node_id).expect("it had a connection");
            // Whoever asked asks anew.
            link.fetches.clear();
            link.progress.clear();
            self.outputs.push_back(LinkOutput::Lost(node_id));
        }
    }

    /// A frame came on one of these connections, without its prefix.
    pub fn take(&mut self, connection: ConnectionId, bytes: &Bytes) -> Result<(), Malformed> {
        let (header, body) = frame::take::<RequestHeader>(bytes).map_err(|_| Malformed)?;
        if self.linked.contains_key(&connection) {
            return self.take_from_leader(header, body, bytes);
        }
        let peer = *self.peers.get(&connection).ok_or(Malformed)?;
        let (follower, fetches, progress) = match ReplicaApiKey::from_number(header.api_key) {
            Some(ReplicaApiKey::Fetch) => {
                let ReplicaFetch { follower: node_id, broker_epoch, partitions } =
                    frame::decode(body).map_err(|_| Malformed)?;
                (Follower { node_id, broker_epoch }, partitions, Vec::new())
            }
            Some(ReplicaApiKey::Progress) => {
                let ReplicaProgress { follower: node_id, broker_epoch, partitions } =
                    frame::decode(body).map_err(|_| Malformed)?;
                (Follower { node_id, broker_epoch }, Vec::new(), partitions)
            }
            Some(ReplicaApiKey::Fetched | ReplicaApiKey::AlterPartition) | None => {
                return Err(Malformed);
            }
        };
        if follower.node_id != peer {
            return Err(Malformed);
        }
        self.outputs.push_back(LinkOutput::Asked(connection, follower, fetches, progress));
        Ok(())
    }

    fn take_from_leader(
        &mut self,
        header: RequestHeader,
        body: &[u8],
        bytes: &Bytes,
    ) -> Result<(), Malformed> {
        if header.api_key != ReplicaApiKey::Fetched as u8 {
            return Err(Malformed);
        }
        let (fetched, mut raw) = frame::take::<ReplicaFetched>(body).map_err(|_| Malformed)?;
        let lengths = fetched.partitions.iter().map(|one| u64::from(one.records_bytes));
        if lengths.sum::<u64>() != raw.len() as u64 {
            return Err(Malformed);
        }
        for answer in fetched.partitions {
            let (records, rest) = raw.split_at(answer.records_bytes as usize);
            raw = rest;
            self.outputs.push_back(LinkOutput::Answered(answer, bytes.slice_ref(records)));
        }
        Ok(())
    }

    /// When [`Links::flush`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        let due = |link: &Link| match link.stage {
            Stage::Resting { until } if !link.fetches.is_empty() => until,
            _ => Boot::NEVER,
        };
        self.by_node.values().map(due).min().unwrap_or(Boot::NEVER)
    }
}

/// A frame that goes one way.
fn message<B: serde::Serialize>(api_key: u8, body: &B, raw_bytes: usize) -> Vec<u8> {
    let header = RequestHeader { api_key, api_version: 0, correlation_id: 0 };
    let mut head = Vec::new();
    frame::encode(&header, body, raw_bytes, &mut head);
    head
}

fn send_asks<F>(
    connection: ConnectionId,
    link: &mut Link,
    own: Follower,
    outputs: &mut VecDeque<LinkOutput<F>>,
) {
    let (follower, broker_epoch) = (own.node_id, own.broker_epoch);
    let fetches: Vec<_> = std::mem::take(&mut link.fetches).into_values().flatten().collect();
    for part in fetches.chunks(REQUEST_PARTITIONS_MAX) {
        let body = ReplicaFetch { follower, broker_epoch, partitions: part.to_vec() };
        let head = message(ReplicaApiKey::Fetch as u8, &body, 0);
        outputs.push_back(LinkOutput::Send(connection, Response::of(head)));
    }
    let progress: Vec<_> = std::mem::take(&mut link.progress).into_values().collect();
    for part in progress.chunks(REQUEST_PARTITIONS_MAX) {
        let body = ReplicaProgress { follower, broker_epoch, partitions: part.to_vec() };
        let head = message(ReplicaApiKey::Progress as u8, &body, 0);
        outputs.push_back(LinkOutput::Send(connection, Response::of(head)));
    }
}

fn fetched_frame<F>(answers: Answers<F>) -> Response<F> {
    let partitions: Vec<FetchedReplica> = answers.iter().map(|(answer, _)| *answer).collect();
    let raw_bytes: usize = partitions.iter().map(|answer| answer.records_bytes as usize).sum();
    let body = ReplicaFetched { partitions };
    let mut response = Response::of(message(ReplicaApiKey::Fetched as u8, &body, raw_bytes));
    for slice in answers.into_iter().filter_map(|(_, slice)| slice) {
        response.push_slice(slice);
    }
    response
}
