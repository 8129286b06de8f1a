//! The consumer's thread: one fetch in flight to each leader, buffers kept filled but bounded,
//! positions found where there are none.
//!
//! **Invariant:** all buffers together hold less than `fetch.max.bytes` and one more fetch of each
//! leader, and a partition's less than twice `max.partition.fetch.bytes`, unless a single batch is
//! larger. An answer is kept only if its partition's generation is still the one that asked.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::ClientError;
use crate::client::background::{Background, connect_apart};
use crate::client::cluster::{BrokerInfo, TopicInfo};
use crate::client::consumer::{Shared, State};
use crate::client::link::Link;
use crate::client::net::{self, Connection, Frame};
use crate::client::offsets::{self, OffsetAndTimestamp, OffsetSpec, TopicPartition};
use crate::client::partitioner::Random;
use crate::client::position::{Position, Stage};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchedPartition};
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

/// A fetch that leaves out a partition because its buffer is full waits no longer than this: the
/// partition may want to be asked for again soon.
const FULL_BUFFER_WAIT_MS_MAX: u32 = 50;

/// An answer that takes so much longer than it was allowed to is reason to ask who leads.
const SILENCE: Duration = Duration::from_millis(250);

/// What background calls brought back.
#[derive(Default)]
pub(super) struct Landed {
    connections: Vec<(NodeId, Result<Connection, ClientError>)>,
    metadata: Option<MetadataAnswer>,
    offsets: Vec<OffsetsAnswer>,
}

struct MetadataAnswer {
    places: Vec<usize>,
    topics: Result<(Vec<BrokerInfo>, Vec<Result<TopicInfo, ClientError>>), ClientError>,
}

type FoundOffset = Result<Option<OffsetAndTimestamp>, ErrorCode>;

struct OffsetsAnswer {
    asked: Vec<(TopicPartition, OffsetSpec, u64)>,
    found: Result<Vec<FoundOffset>, ClientError>,
}

struct InFlight {
    correlation_id: u32,
    /// An answer is late from here on.
    late_at: Instant,
    deadline: Instant,
    asked: Vec<(TopicPartition, u64)>,
}

/// What one fetch asks for.
struct Wanted {
    tp: TopicPartition,
    generation: u64,
    topic_id: TopicId,
    leader_epoch: LeaderEpoch,
    offset: Offset,
}

/// See the module's documentation.
pub(super) struct Fetcher {
    shared: Arc<Shared>,
    background: Background,
    links: BTreeMap<NodeId, Link<InFlight>>,
    random: Random,
    is_asking: bool,
    /// The partition at which the next fetch begins, so that each comes first in its turn.
    turn_from: Option<TopicPartition>,
}

impl Fetcher {
    pub fn new(shared: Arc<Shared>, background: Background) -> Fetcher {
        Fetcher {
            shared,
            background,
            links: BTreeMap::new(),
            random: Random::new(),
            is_asking: false,
            turn_from: None,
        }
    }

    /// Runs until the consumer is closed.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            shared.waker.clear();
            let now = Instant::now();
            self.receive(now);
            let mut state = shared.lock();
            if state.is_closing {
                return;
            }
            self.take_landed(now, &mut state);
            self.ask_offsets(&mut state);
            let (fetches, deadline) = self.plan(now, &mut state);
            let deadline = deadline.into_iter().chain(self.suspect(now, &mut state)).min();
            let deadline = deadline.into_iter().chain(self.ask_topics(now, &mut state)).min();
            drop(state);
            for (node, wait_ms, wanted) in fetches {
                self.fetch(now, node, wait_ms, &wanted);
            }
            self.wait(now, deadline);
        }
    }

    fn wait(&self, now: Instant, mut deadline: Option<Instant>) {
        for link in self.links.values() {
            let wakes = link.rests_until.into_iter().filter(|until| now < *until);
            let oldest = link.in_flight.front();
            let late = oldest.map(|one| one.late_at).filter(|at| now < *at);
            let dead = oldest.map(|one| one.deadline);
            deadline = deadline.into_iter().chain(wakes).chain(late).chain(dead).min();
        }
        let timeout = deadline.map_or(Duration::from_secs(60), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let mut sockets = vec![(self.shared.waker.as_fd(), false)];
        for link in self.links.values() {
            if let Some(connection) = &link.connection {
                sockets.push((connection.as_fd(), connection.wants_write()));
            }
        }
        net::wait(&sockets, timeout).expect("poll fails only for arguments that we do not give");
    }

    fn take_landed(&mut self, now: Instant, state: &mut State) {
        let landed = std::mem::take(&mut state.landed);
        for (node, connection) in landed.connections {
            let link = self.links.entry(node).or_default();
            link.is_dialing = false;
            if let Ok(connection) = connection {
                link.failure_count = 0;
                link.connection = Some(connection);
            } else {
                link.rest(now, self.shared.config.reconnect_backoff, &mut self.random);
                want_all(state);
            }
        }
        if let Some(MetadataAnswer { places, topics }) = landed.metadata {
            self.is_asking = false;
            let answers = topics.map(|(brokers, topics)| {
                for broker in brokers {
                    self.links.entry(broker.node_id).or_default().address = broker.address;
                }
                topics
            });
            state.topics.answer(now, &places, answers);
            self.leave_deposed(now, state);
            // The leader of a group assigns by what is known of its topics.
            self.shared.group_waker.wake();
        }
        for OffsetsAnswer { asked, found } in landed.offsets {
            self.offsets_found(now, state, asked, found);
        }
    }

    /// Answers to resets: positions begin there.
    fn offsets_found(
        &self,
        now: Instant,
        state: &mut State,
        asked: Vec<(TopicPartition, OffsetSpec, u64)>,
        found: Result<Vec<FoundOffset>, ClientError>,
    ) {
        let mut found = found.map(Vec::into_iter);
        for (tp, spec, generation) in asked {
            let answer = match &mut found {
                Ok(found) => found.next().expect("one answer for each question"),
                Err(_) => Err(ErrorCode::LEADER_NOT_AVAILABLE),
            };
            let Some(position) = state.positions.get_mut(&tp) else { continue };
            if position.generation != generation {
                continue;
            }
            match answer {
                Ok(Some(found)) => position.seek(found.offset, generation),
                // No record is that late: the end it is, which must be asked for in turn.
                Ok(None) if spec != OffsetSpec::Latest => {
                    position.reset(OffsetSpec::Latest, generation);
                }
                Err(code) if !code.is_retriable() => {
                    position.stage = Stage::Failed(ClientError::Broker(code));
                }
                Ok(None) | Err(_) => {
                    position.stage = Stage::AwaitingReset { spec, is_asked: false };
                    position.retry_at = Some(now + self.shared.config.retry_backoff);
                }
            }
        }
        self.shared.changed.notify_all();
    }

    /// Asks for the offsets of partitions that have no position, in the background.
    fn ask_offsets(&mut self, state: &mut State) {
        let now = Instant::now();
        let mut asked = Vec::new();
        for (tp, position) in &mut state.positions {
            if position.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            if let Stage::AwaitingReset { spec, is_asked: is_asked @ false } = &mut position.stage {
                *is_asked = true;
                asked.push((tp.clone(), *spec, position.generation));
            }
        }
        if asked.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let questions: Vec<_> = asked.iter().map(|(tp, spec, _)| (tp.clone(), *spec)).collect();
            let found = offsets::list(cluster, &questions);
            shared.lock().landed.offsets.push(OffsetsAnswer { asked, found });
            shared.waker.wake();
        });
    }

    /// Brokers that owe an answer for longer than they were allowed to wait.
    fn late_nodes(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        let is_late = move |link: &Link<InFlight>| {
            link.in_flight.front().is_some_and(|oldest| oldest.late_at <= now)
        };
        self.links.iter().filter(move |(_, link)| is_late(link)).map(|(node, _)| *node)
    }

    /// A broker that does not answer may lead no more: asks the others. Answers when to look again.
    fn suspect(&mut self, now: Instant, state: &mut State) -> Option<Instant> {
        let late: Vec<NodeId> = self.late_nodes(now).collect();
        for node in &late {
            for (tp, _) in self.links[node].in_flight.iter().flat_map(|one| &one.asked) {
                let place = state.topics.place(&tp.topic);
                state.topics.at_mut(place).is_wanted = true;
            }
        }
        let oldest = self.links.values().filter_map(|link| link.in_flight.front());
        let next = oldest.map(|oldest| oldest.late_at).filter(|at| now < *at).min();
        next.into_iter().chain((!late.is_empty()).then(|| now + SILENCE)).min()
    }

    /// A broker that owes an answer and leads none of what it was asked for is left alone.
    fn leave_deposed(&mut self, now: Instant, state: &mut State) {
        let State { topics, positions, .. } = state;
        let late: Vec<NodeId> = self.late_nodes(now).collect();
        for node in late {
            let link = self.links.get_mut(&node).expect("no link is ever removed");
            let mut asked = link.in_flight.iter().flat_map(|one| &one.asked);
            let is_deposed = asked.all(|(tp, _)| {
                let place = topics.place(&tp.topic);
                let leader =
                    topics.at(place).info.as_ref().and_then(|info| info.leader(tp.partition));
                leader.is_some_and(|leader| leader != node)
            });
            if is_deposed {
                link.connection = None;
                give_back(link, positions);
                link.rest(now, self.shared.config.reconnect_backoff, &mut self.random);
            }
        }
    }

    /// Asks for the topics that are due, in the background.
    fn ask_topics(&mut self, now: Instant, state: &mut State) -> Option<Instant> {
        if self.is_asking {
            return None;
        }
        let config = &self.shared.config;
        let (places, next) = state.topics.due(now, config.retry_backoff, config.metadata_max_age);
        if places.is_empty() {
            return next;
        }
        self.is_asking = true;
        let names: Vec<Arc<str>> =
            places.iter().map(|place| Arc::clone(&state.topics.at(*place).name)).collect();
        let silent: Vec<NodeId> = self.late_nodes(now).collect();
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let refs: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
            for node in silent {
                cluster.shun(node);
            }
            let topics = cluster.metadata(Some(&refs), false).map(|metadata| {
                let topics = metadata.topics.into_iter();
                (metadata.brokers, topics.map(|one| one.map_err(ClientError::Broker)).collect())
            });
            shared.lock().landed.metadata = Some(MetadataAnswer { places, topics });
            shared.waker.wake();
        });
        None
    }

    /// Decides what to fetch from whom, and when to look again.
    #[expect(clippy::type_complexity, reason = "a list that is used once, right away")]
    fn plan(
        &mut self,
        now: Instant,
        state: &mut State,
    ) -> (Vec<(NodeId, u32, Vec<Wanted>)>, Option<Instant>) {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let buffer_bytes = config.max_partition_fetch_bytes as usize;
        let mut plans: BTreeMap<NodeId, (bool, Vec<Wanted>)> = BTreeMap::new();
        let mut deadline: Option<Instant> = None;
        let buffered: usize = state.positions.values().map(Position::buffered_bytes).sum();
        let is_full = config.fetch_max_bytes as usize <= buffered;
        let State { positions, topics, .. } = state;
        for (tp, position) in positions.iter() {
            deadline = deadline.into_iter().chain(position.retry_at.filter(|at| now < *at)).min();
            let place = topics.place(&tp.topic);
            let topic = topics.at_mut(place);
            let known = topic.info.as_ref().and_then(|info| {
                let partition = info.partition(tp.partition)?;
                Some((partition.leader?, partition.leader_epoch, info.topic_id))
            });
            let Some((leader, leader_epoch, topic_id)) = known else {
                topic.is_wanted = true;
                continue;
            };
            let plan = plans.entry(leader).or_default();
            if is_full || !position.is_fetchable(now, buffer_bytes) {
                plan.0 |= !position.is_paused && buffer_bytes <= position.buffered_bytes();
                continue;
            }
            plan.1.push(Wanted {
                tp: tp.clone(),
                generation: position.generation,
                topic_id,
                leader_epoch,
                offset: position.fetch_offset,
            });
        }
        let mut fetches = Vec::new();
        for (node, (has_full, mut wanted)) in plans {
            if wanted.is_empty() || !self.is_ready(now, node, state) {
                continue;
            }
            self.rotate(&mut wanted);
            for one in &wanted {
                let position = state.positions.get_mut(&one.tp).expect("it was just planned");
                position.is_in_flight = true;
            }
            let wait_ms = config.fetch_max_wait.as_millis() as u32;
            let wait_ms = if has_full { wait_ms.min(FULL_BUFFER_WAIT_MS_MAX) } else { wait_ms };
            fetches.push((node, wait_ms, wanted));
        }
        (fetches, deadline)
    }

    /// The most wanted come first: those that the last fetch put behind others.
    fn rotate(&mut self, wanted: &mut Vec<Wanted>) {
        if let Some(from) = &self.turn_from {
            let first = wanted.partition_point(|one| one.tp < *from);
            wanted.rotate_left(first);
        }
        wanted.truncate(REQUEST_PARTITIONS_MAX);
        self.turn_from = wanted.get(1).map(|one| one.tp.clone());
    }

    /// Whether a leader can take a fetch now; connects to it if need be.
    fn is_ready(&mut self, now: Instant, node: NodeId, state: &mut State) -> bool {
        let link = self.links.entry(node).or_default();
        if link.can_send(now, 1) {
            return true;
        }
        if link.address.is_empty() {
            want_all(state);
            return false;
        }
        if link.begin_dial(now) {
            let (address, config) = (link.address.clone(), &self.shared.config);
            let (client_id, timeout) = (config.client_id.clone(), config.connection_setup_timeout);
            let shared = Arc::clone(&self.shared);
            let begun = connect_apart(address, client_id, timeout, move |connection| {
                shared.lock().landed.connections.push((node, connection));
                shared.waker.wake();
            });
            if begun.is_err() {
                link.is_dialing = false;
                link.rest(now, self.shared.config.reconnect_backoff, &mut self.random);
            }
        }
        false
    }

    fn fetch(&mut self, now: Instant, node: NodeId, wait_ms: u32, wanted: &[Wanted]) {
        let config = &self.shared.config;
        let partitions = wanted.iter().map(|one| FetchPartition {
            topic: TopicRef::Id(one.topic_id),
            partition: one.tp.partition,
            offset: one.offset,
            current_leader_epoch: one.leader_epoch,
            max_bytes: config.max_partition_fetch_bytes,
        });
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: config.fetch_min_bytes,
            max_bytes: config.fetch_max_bytes,
            partitions: partitions.collect(),
        };
        let deadline = now + config.request_timeout;
        let asked = wanted.iter().map(|one| (one.tp.clone(), one.generation)).collect();
        let link = self.links.get_mut(&node).expect("the plan asked whether it is ready");
        let connection = link.connection.as_mut().expect("it is connected");
        let sent = connection.send(ApiKey::Fetch, &request, &[]);
        let correlation_id = *sent.as_ref().unwrap_or(&0);
        let late_at = now + Duration::from_millis(u64::from(wait_ms)) + SILENCE;
        link.in_flight.push_back(InFlight { correlation_id, late_at, deadline, asked });
        if sent.is_err() {
            self.disconnect(now, node);
        }
    }

    /// Takes all responses that are here, and gives up those that are late.
    fn receive(&mut self, now: Instant) {
        let nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for node in nodes {
            loop {
                let link = self.links.get_mut(&node).expect("no link is ever removed");
                let Some(connection) = &mut link.connection else { break };
                match connection.flush().and_then(|()| connection.try_receive()) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if self.answered(now, node, &frame).is_err() {
                            self.disconnect(now, node);
                        }
                    }
                    Err(_) => self.disconnect(now, node),
                }
            }
            let link = &self.links[&node];
            if link.in_flight.front().is_some_and(|request| request.deadline <= now) {
                self.disconnect(now, node);
            }
        }
    }

    fn answered(&mut self, now: Instant, node: NodeId, frame: &Frame) -> Result<(), ClientError> {
        let link = self.links.get_mut(&node).expect("no link is ever removed");
        let header = frame.header();
        if header.throttle_time_ms != 0 {
            let pause = Duration::from_millis(u64::from(header.throttle_time_ms));
            link.rests_until = Some(now + pause);
        }
        let (response, raw) = frame.body_and_raw::<FetchResponse>()?;
        let is_expected = link.in_flight.front().is_some_and(|request| {
            request.correlation_id == header.correlation_id
                && request.asked.len() == response.partitions.len()
        });
        if !is_expected {
            return Err(ClientError::Protocol(FrameError::Malformed));
        }
        let lengths = response.partitions.iter().map(|one| one.records_bytes);
        let pieces = crate::wire::frame::split_records(lengths, &raw)?;
        let request = link.in_flight.pop_front().expect("it was just looked at");
        let mut state = self.shared.lock();
        let answers = request.asked.into_iter().zip(response.partitions).zip(pieces);
        for (((tp, generation), answer), piece) in answers {
            let Some(position) = state.positions.get_mut(&tp) else { continue };
            position.is_in_flight = false;
            if position.generation == generation {
                self.partition_answered(now, &mut state, &tp, &answer, &raw.slice_ref(piece));
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn partition_answered(
        &self,
        now: Instant,
        state: &mut State,
        tp: &TopicPartition,
        answer: &FetchedPartition,
        records: &Bytes,
    ) {
        let generation = state.generation + 1;
        let position = state.positions.get_mut(tp).expect("the caller looked it up");
        let code = answer.error;
        if code.is_ok() {
            position.retry_at = None;
            position.high_watermark = Some(answer.high_watermark);
            position.deliver(tp, records);
        } else if code == ErrorCode::OFFSET_OUT_OF_RANGE {
            if let Some(spec) = self.shared.config.auto_offset_reset.spec() {
                // What was fetched before is still good; the reset comes behind it.
                if position.is_drained() {
                    position.reset(spec, generation);
                    state.generation = generation;
                } else {
                    position.retry_at = Some(now + self.shared.config.retry_backoff);
                }
            } else {
                position.fail(ClientError::OffsetOutOfRange {
                    topic: tp.topic.to_string(),
                    partition: tp.partition,
                    offset: Some(position.fetch_offset),
                });
            }
        } else if code.is_retriable() {
            position.retry_at = Some(now + self.shared.config.retry_backoff);
            let place = state.topics.place(&tp.topic);
            state.topics.at_mut(place).is_wanted = true;
        } else {
            position.fail(ClientError::Broker(code));
        }
    }

    /// Drops a connection; its fetch is asked again.
    fn disconnect(&mut self, now: Instant, node: NodeId) {
        let link = self.links.get_mut(&node).expect("no link is ever removed");
        link.connection = None;
        if link.in_flight.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        give_back(link, &mut state.positions);
        link.rest(now, self.shared.config.reconnect_backoff, &mut self.random);
        want_all(&mut state);
    }
}

/// What a broker was asked may be asked again.
fn give_back(link: &mut Link<InFlight>, positions: &mut BTreeMap<TopicPartition, Position>) {
    for request in std::mem::take(&mut link.in_flight) {
        for (tp, _) in request.asked {
            if let Some(position) = positions.get_mut(&tp) {
                position.is_in_flight = false;
            }
        }
    }
}

/// Where a broker failed, leaders may have moved.
fn want_all(state: &mut State) {
    for tp in state.positions.keys() {
        let place = state.topics.place(&tp.topic);
        state.topics.at_mut(place).is_wanted = true;
    }
}
