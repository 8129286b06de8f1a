//! The producer's thread: takes ready batches, keeps up to
//! `max.in.flight.requests.per.connection` requests in flight to each leader, and gives every
//! batch its outcome.
//!
//! **Invariant:** a batch is in exactly one place: queued, in flight, or with its outcome told. A
//! connection that breaks gives back all it carried.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::accumulator::{Batch, Lane};
use crate::client::background::{Background, connect_apart};
use crate::client::cluster::{BrokerInfo, Cluster, TopicInfo};
use crate::client::idempotence::{Idempotence, ProducerId};
use crate::client::link::{Link, backoff};
use crate::client::net::{self, Connection, Frame};
use crate::client::outcome::{Ack, Outcome, Place};
use crate::client::partitioner::Random;
use crate::client::producer::{Acks, Shared, State, Trouble};
use crate::ids::{NodeId, TopicId};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::record::{self, BatchBuilder, HEADER_BYTES, Records};
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse, ProducedPartition};
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

use std::os::fd::AsFd;

/// An answer that takes longer is reason to ask who leads.
const SILENCE: Duration = Duration::from_millis(250);

/// What background calls brought back.
#[derive(Default)]
pub(super) struct Landed {
    connections: Vec<(NodeId, Result<Connection, ClientError>)>,
    metadata: Option<MetadataAnswer>,
    producer_id: Option<Result<ProducerId, ClientError>>,
}

struct MetadataAnswer {
    places: Vec<usize>,
    topics: Result<(Vec<BrokerInfo>, Vec<Result<TopicInfo, ClientError>>), ClientError>,
}

struct InFlight {
    correlation_id: u32,
    sent: Instant,
    deadline: Instant,
    /// A batch leaves its place early when its delivery timeout passes.
    batches: Vec<(Lane, Option<Batch>)>,
}

/// Changes that wait for the lock.
#[derive(Default)]
struct Results {
    landed: Vec<Lane>,
    put_back: Vec<(Lane, Batch)>,
    divided: Vec<(u64, usize, usize)>,
    released: Vec<(u64, usize)>,
    wanted: Vec<usize>,
    unwatched_error: Option<ClientError>,
    trouble: Option<ClientError>,
    /// A batch was acknowledged after the trouble.
    is_well: bool,
}

impl Results {
    fn meet(&mut self, error: ClientError) {
        self.trouble = Some(error);
        self.is_well = false;
    }

    fn is_empty(&self) -> bool {
        self.landed.is_empty() && self.put_back.is_empty() && self.released.is_empty()
    }
}

/// See the module's documentation.
pub(super) struct Sender {
    shared: Arc<Shared>,
    background: Background,
    links: BTreeMap<NodeId, Link<InFlight>>,
    results: Results,
    random: Random,
    names: Vec<Arc<str>>,
    is_asking: bool,
    idempotence: Idempotence,
    id_call: IdCall,
}

/// The search for a producer id.
#[derive(Default)]
struct IdCall {
    is_under_way: bool,
    failure_count: u32,
    not_before: Option<Instant>,
    /// Asking again would not help.
    failure: Option<ClientError>,
}

/// What one look at the buffer asks for.
#[derive(Default)]
struct Work {
    sends: Vec<Ready>,
    failed: Vec<(Lane, Batch)>,
    /// Why those failed.
    failure: Option<ClientError>,
    deadline: Option<Instant>,
}

struct Ready {
    node: NodeId,
    batches: Vec<(Lane, Batch, TopicId)>,
}

impl Sender {
    pub fn new(shared: Arc<Shared>, background: Background) -> Sender {
        Sender {
            idempotence: Idempotence::new(shared.config.is_idempotent()),
            id_call: IdCall::default(),
            shared,
            background,
            links: BTreeMap::new(),
            results: Results::default(),
            random: Random::new(),
            names: Vec::new(),
            is_asking: false,
        }
    }

    /// Runs until the producer is closed and every batch has its outcome.
    pub fn run(mut self) {
        loop {
            self.shared.waker.clear();
            let now = Instant::now();
            self.receive(now);
            self.expire_requests(now);
            let Some(work) = self.turn(now) else { return };
            let failure = work.failure.unwrap_or(ClientError::Timeout);
            for (lane, batch) in work.failed {
                self.idempotence.lost(lane, &batch);
                self.tell(lane, batch, Err(failure.clone()));
            }
            for ready in work.sends {
                self.send(now, ready);
            }
            if !self.results.is_empty() {
                continue;
            }
            let mut deadline = work.deadline;
            for link in self.links.values() {
                let wakes = link.rests_until.into_iter().filter(|until| now < *until);
                let oldest = link.in_flight.front();
                let silence = oldest.map(|one| one.sent + SILENCE).filter(|at| now < *at);
                for at in wakes
                    .chain(oldest.map(|one| one.deadline))
                    .chain(silence)
                    .chain(first_death(link, self.shared.config.delivery_timeout))
                {
                    deadline = Some(deadline.map_or(at, |deadline| deadline.min(at)));
                }
            }
            self.wait(deadline);
        }
    }

    fn wait(&self, deadline: Option<Instant>) {
        let timeout = deadline.map_or(Duration::from_secs(60), |deadline| {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
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

    /// One look at the buffer under the lock. `None` when all is done.
    fn turn(&mut self, now: Instant) -> Option<Work> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let state = &mut *state;
        self.take_landed(now, state);
        self.apply_results(now, state);
        if state.accumulator.closing && state.accumulator.is_empty() {
            return None;
        }
        if state.give_up_at.is_some_and(|at| at <= now) {
            let failed = self.take_all(state);
            state.give_up_at = None;
            return Some(Work { failed, failure: Some(ClientError::Closed), ..Work::default() });
        }
        if let Some(failure) = self.id_call.failure.take() {
            let failed = state.accumulator.take_all();
            return Some(Work { failed, failure: Some(failure), ..Work::default() });
        }
        let in_flight_max = shared.config.max_in_flight_requests_per_connection;
        let State { accumulator, topics, .. } = state;
        let leader = |lane: Lane| topics.at(lane.topic).info.as_ref()?.leader(lane.partition);
        let links = &self.links;
        let can_send =
            |node| links.get(&node).is_some_and(|link| link.can_send(now, in_flight_max));
        let turn = accumulator.turn(now, leader, can_send, &mut self.idempotence);
        for topic in turn.leaderless {
            topics.at_mut(topic).is_wanted = true;
        }
        let mut sends = Vec::new();
        for (node, batches) in turn.sends {
            let topic_id = |lane: Lane| topics.at(lane.topic).info.as_ref().map(|i| i.topic_id);
            let batches = batches.into_iter().map(|(lane, batch)| {
                (lane, batch, topic_id(lane).expect("it has a leader, so it is known"))
            });
            sends.push(Ready { node, batches: batches.collect() });
        }
        let mut deadline = turn.deadline.into_iter().chain(state.give_up_at).min();
        deadline = deadline.into_iter().chain(self.suspect(now, state)).min();
        deadline = deadline.into_iter().chain(self.ask(now, state)).min();
        if !state.accumulator.is_empty() {
            deadline = deadline.into_iter().chain(self.ask_for_id(now)).min();
        }
        for node in turn.blocked {
            if !self.dial(now, node) {
                // The metadata names a leader but not where it is: ask again, after a pause.
                self.results.wanted.extend(0..self.names.len());
                let pause = now + shared.config.retry_backoff;
                deadline = deadline.into_iter().chain(Some(pause)).min();
            }
        }
        #[cfg(debug_assertions)]
        state.accumulator.invariants();
        Some(Work { sends, failed: turn.expired, failure: None, deadline })
    }

    fn apply_results(&mut self, now: Instant, state: &mut State) {
        let results = std::mem::take(&mut self.results);
        for lane in results.landed {
            state.accumulator.landed(lane);
        }
        for (flush_id, parts, extra) in results.divided {
            state.accumulator.divided(flush_id, parts, extra);
        }
        for (lane, batch) in results.put_back {
            state.accumulator.put_back(lane, batch);
        }
        for topic in results.wanted {
            state.topics.at_mut(topic).is_wanted = true;
        }
        if let Some(error) = results.unwatched_error {
            state.unwatched_error.get_or_insert(error);
        }
        if results.is_well {
            state.trouble = None;
        }
        if let Some(error) = results.trouble {
            let since = state.trouble.as_ref().map_or(now, |trouble| trouble.since);
            state.trouble = Some(Trouble { error, since });
        }
        if !results.released.is_empty() {
            for (flush_id, reserved) in results.released {
                state.accumulator.release(flush_id, reserved);
            }
            self.shared.changed.notify_all();
        }
    }

    fn take_landed(&mut self, now: Instant, state: &mut State) {
        let landed = std::mem::take(&mut state.landed);
        for (node, connection) in landed.connections {
            let link = self.links.entry(node).or_default();
            link.is_dialing = false;
            match connection {
                Ok(connection) => {
                    link.failure_count = 0;
                    link.connection = Some(connection);
                }
                Err(error) => {
                    self.results.meet(error);
                    self.rest(now, node);
                }
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
            if let Err(error) = &answers {
                self.results.meet(error.clone());
            }
            state.topics.answer(now, &places, answers);
            self.shared.changed.notify_all();
            self.leave_deposed(now, state);
        }
        match landed.producer_id {
            Some(Ok(producer)) => {
                self.id_call = IdCall::default();
                self.idempotence.take_id(producer);
            }
            Some(Err(error)) => self.id_failed(now, error),
            None => {}
        }
        while let Some(name) = state.topics.name(self.names.len()) {
            self.names.push(name);
        }
    }

    /// Asks for a producer id, if one is needed; answers when to look again.
    fn ask_for_id(&mut self, now: Instant) -> Option<Instant> {
        if !self.idempotence.wants_id() || self.id_call.is_under_way {
            return None;
        }
        if let Some(at) = self.id_call.not_before.filter(|at| now < *at) {
            return Some(at);
        }
        self.id_call.is_under_way = true;
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let found = init_producer_id(cluster);
            shared.lock().landed.producer_id = Some(found);
            shared.waker.wake();
        });
        None
    }

    fn id_failed(&mut self, now: Instant, error: ClientError) {
        let config = &self.shared.config;
        let (first, max) = (config.retry_backoff, config.retry_backoff_max);
        let pause = backoff(first, max, self.id_call.failure_count, &mut self.random);
        self.id_call.is_under_way = false;
        self.id_call.failure_count = self.id_call.failure_count.saturating_add(1);
        self.id_call.not_before = Some(now + pause);
        self.id_call.failure = Some(error.clone()).filter(|error| !error.is_retriable());
        self.results.meet(error);
    }

    /// A broker that failed is left alone for a while, longer each time; its topics may have moved.
    fn rest(&mut self, now: Instant, node: NodeId) {
        let config = &self.shared.config;
        let link = self.links.entry(node).or_default();
        link.rest(now, config.reconnect_backoff, &mut self.random);
        self.results.wanted.extend(0..self.names.len());
    }

    /// Brokers that have owed an answer for some time.
    fn silent_nodes(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        let is_silent = move |link: &Link<InFlight>| {
            link.in_flight.front().is_some_and(|oldest| oldest.sent + SILENCE <= now)
        };
        self.links.iter().filter(move |(_, link)| is_silent(link)).map(|(node, _)| *node)
    }

    /// A broker that does not answer may lead no more: asks the others. Answers when to look again.
    fn suspect(&mut self, now: Instant, state: &mut State) -> Option<Instant> {
        let silent: Vec<NodeId> = self.silent_nodes(now).collect();
        for node in &silent {
            for (lane, _) in self.links[node].in_flight.iter().flat_map(|one| &one.batches) {
                state.topics.at_mut(lane.topic).is_wanted = true;
            }
        }
        let oldest = self.links.values().filter_map(|link| link.in_flight.front());
        let next = oldest.map(|oldest| oldest.sent + SILENCE).filter(|at| now < *at).min();
        next.into_iter().chain((!silent.is_empty()).then(|| now + SILENCE)).min()
    }

    /// What went to a broker that owes an answer and leads none of it any more goes to those who do.
    fn leave_deposed(&mut self, now: Instant, state: &State) {
        let leader = |lane: Lane| state.topics.at(lane.topic).info.as_ref()?.leader(lane.partition);
        let is_deposed = |node: &NodeId| {
            let mut lanes = self.links[node].in_flight.iter().flat_map(|one| &one.batches);
            lanes.all(|(lane, _)| leader(*lane).is_some_and(|leader| leader != *node))
        };
        let deposed: Vec<NodeId> = self.silent_nodes(now).filter(is_deposed).collect();
        for node in deposed {
            self.disconnect(now, node, &ClientError::Broker(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
    }

    /// Asks for the topics that are due, in the background.
    fn ask(&mut self, now: Instant, state: &mut State) -> Option<Instant> {
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
        let silent: Vec<NodeId> = self.silent_nodes(now).collect();
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let refs: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
            for node in silent {
                cluster.shun(node);
            }
            let topics = cluster.metadata(Some(&refs), true).map(|metadata| {
                let topics = metadata.topics.into_iter();
                (metadata.brokers, topics.map(|one| one.map_err(ClientError::Broker)).collect())
            });
            shared.lock().landed.metadata = Some(MetadataAnswer { places, topics });
            shared.waker.wake();
        });
        None
    }

    /// Connects to a leader in the background, if it is not connected. False when nobody knows its
    /// address.
    fn dial(&mut self, now: Instant, node: NodeId) -> bool {
        let Some(link) = self.links.get_mut(&node) else { return false };
        if link.address.is_empty() {
            return false;
        }
        if !link.begin_dial(now) {
            return true;
        }
        let (address, config) = (link.address.clone(), &self.shared.config);
        let (client_id, timeout) = (config.client_id.clone(), config.connection_setup_timeout);
        let shared = Arc::clone(&self.shared);
        let begun = connect_apart(address, client_id, timeout, move |connection| {
            shared.lock().landed.connections.push((node, connection));
            shared.waker.wake();
        });
        if let Err(error) = begun {
            link.is_dialing = false;
            self.results.meet(error);
            self.rest(now, node);
        }
        true
    }

    fn send(&mut self, now: Instant, ready: Ready) {
        let config = &self.shared.config;
        let mut batches = Vec::with_capacity(ready.batches.len());
        let mut partitions = Vec::with_capacity(ready.batches.len());
        for (lane, mut batch, topic_id) in ready.batches {
            let bytes = batch.close(config.compression_type);
            partitions.push(ProducePartition {
                topic: TopicRef::Id(topic_id),
                partition: lane.partition,
                records_bytes: bytes.len() as u32,
            });
            batch.attempts += 1;
            batches.push((lane, Some(batch)));
        }
        let request = ProduceRequest {
            acks: config.acks.number(),
            timeout_ms: config.request_timeout.as_millis() as u32,
            partitions,
        };
        let raw: Vec<&[u8]> =
            batches.iter().filter_map(|(_, batch)| batch.as_ref()?.closed.as_deref()).collect();
        let deadline = now + config.request_timeout;
        let is_silent = config.acks == Acks::None;
        let link = self.links.get_mut(&ready.node).expect("the turn asked whether it can send");
        let connection = link.connection.as_mut().expect("it is connected");
        let sent = connection.send(ApiKey::Produce, &request, &raw);
        match sent {
            Ok(_) if is_silent => {
                self.results.is_well = true;
                for (lane, batch) in batches {
                    self.results.landed.push(lane);
                    let batch = batch.expect("nothing took it yet");
                    self.tell(lane, batch, Ok(Ack::UNKNOWN));
                }
            }
            Ok(correlation_id) => {
                let sent = now;
                link.in_flight.push_back(InFlight { correlation_id, sent, deadline, batches });
            }
            Err(ClientError::RecordTooLarge { .. }) => {
                // Larger than the broker reads: nothing was written, the connection is whole.
                for (lane, batch) in batches {
                    self.results.landed.push(lane);
                    let batch = batch.expect("nothing took it yet");
                    self.refused(now, lane, batch, ErrorCode::MESSAGE_TOO_LARGE);
                }
            }
            Err(error) => {
                let (correlation_id, sent) = (0, now);
                link.in_flight.push_back(InFlight { correlation_id, sent, deadline, batches });
                self.disconnect(now, ready.node, &error);
            }
        }
    }

    /// Takes all responses that are here.
    fn receive(&mut self, now: Instant) {
        let nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for node in nodes {
            loop {
                let link = self.links.get_mut(&node).expect("no link is ever removed");
                let Some(connection) = &mut link.connection else { break };
                let received = connection.flush().and_then(|()| connection.try_receive());
                match received {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Err(error) = self.answered(now, node, &frame) {
                            self.disconnect(now, node, &error);
                        }
                    }
                    Err(error) => self.disconnect(now, node, &error),
                }
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
        let response: ProduceResponse = frame.body()?;
        let is_expected = link.in_flight.front().is_some_and(|request| {
            request.correlation_id == header.correlation_id
                && request.batches.len() == response.partitions.len()
        });
        if !is_expected {
            return Err(ClientError::Protocol(FrameError::Malformed));
        }
        let request = link.in_flight.pop_front().expect("it was just looked at");
        for ((lane, batch), answer) in request.batches.into_iter().zip(response.partitions) {
            self.results.landed.push(lane);
            if let Some(batch) = batch {
                self.batch_answered(now, lane, batch, &answer);
            }
        }
        Ok(())
    }

    fn batch_answered(
        &mut self,
        now: Instant,
        lane: Lane,
        batch: Batch,
        answer: &ProducedPartition,
    ) {
        if answer.error.is_ok() {
            self.results.is_well = true;
            self.results.trouble = None;
            let ack =
                Ack { base_offset: answer.base_offset, log_append_time: answer.log_append_time };
            self.idempotence.acknowledged(lane, &batch);
            self.tell(lane, batch, Ok(ack));
        } else {
            self.refused(now, lane, batch, answer.error);
        }
    }

    fn refused(&mut self, now: Instant, lane: Lane, batch: Batch, code: ErrorCode) {
        if code == ErrorCode::MESSAGE_TOO_LARGE && 1 < batch.record_count {
            self.split(lane, batch);
        } else if code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
            // It was written, but nobody remembers where.
            self.idempotence.acknowledged(lane, &batch);
            self.tell(lane, batch, Ok(Ack::UNKNOWN));
        } else if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && batch.stamp.is_some() {
            self.idempotence.out_of_order(lane, &batch);
            self.retry(now, lane, batch, ClientError::Broker(code));
        } else if code == ErrorCode::UNKNOWN_PRODUCER_ID && batch.stamp.is_some() {
            self.idempotence.forgotten(lane);
            self.retry(now, lane, batch, ClientError::Broker(code));
        } else if code.is_retriable() {
            self.results.wanted.push(lane.topic);
            self.retry(now, lane, batch, ClientError::Broker(code));
        } else {
            self.idempotence.refused(lane, &batch);
            self.tell(lane, batch, Err(ClientError::Broker(code)));
        }
    }

    fn retry(&mut self, now: Instant, lane: Lane, mut batch: Batch, error: ClientError) {
        let config = &self.shared.config;
        if config.retries < batch.attempts || batch.created + config.delivery_timeout <= now {
            self.idempotence.lost(lane, &batch);
            self.tell(lane, batch, Err(error));
            return;
        }
        self.results.meet(error);
        let tries = batch.attempts.saturating_sub(1);
        let (first, max) = (config.retry_backoff, config.retry_backoff_max);
        batch.retry_at = Some(now + backoff(first, max, tries, &mut self.random));
        self.results.put_back.push((lane, batch));
    }

    /// Gives a batch its outcome: callbacks first, then handles, then `flush` and memory.
    fn tell(&mut self, lane: Lane, batch: Batch, result: Result<Ack, ClientError>) {
        for (index, timestamp, callback) in batch.callbacks {
            let topic = Arc::clone(&self.names[lane.topic]);
            let place = Place { topic, partition: lane.partition, timestamp };
            let told = result.clone().map(|ack| ack.metadata(&place, index));
            // A callback that panics is the user's bug, and no reason to leave others untold.
            if catch_unwind(AssertUnwindSafe(|| callback(told))).is_err() {
                log::error!("a callback of the producer panicked");
            }
        }
        if let (true, Err(error)) = (batch.unwatched, &result) {
            self.results.unwatched_error.get_or_insert(error.clone());
        }
        batch.outcome.complete(result);
        self.results.released.push((batch.flush_id, batch.reserved));
    }

    /// Cuts a batch that the broker finds too large into halves.
    fn split(&mut self, lane: Lane, batch: Batch) {
        let bytes = batch.closed.as_deref().expect("only a sent batch is refused");
        let (whole, _) = record::Batch::split_first(bytes).expect("our own batch");
        let section = record::decompress(&whole, DECOMPRESSED_BYTES_MAX).expect("our own batch");
        let middle = batch.record_count / 2;
        let mut halves = [half_of(&batch, 0), half_of(&batch, middle)];
        for (index, record) in Records::new(whole.header(), &section).enumerate() {
            let record = record.expect("our own record");
            let half = &mut halves[usize::from(middle <= index as u32)];
            let headers: Vec<(&str, Option<&[u8]>)> = record
                .headers()
                .filter_map(|header| Some((std::str::from_utf8(header.key).ok()?, header.value)))
                .collect();
            half.builder.push(record.timestamp, record.key, record.value, &headers);
            half.record_count += 1;
        }
        self.idempotence.divide(lane, &batch, &mut halves);
        for (index, timestamp, callback) in batch.callbacks {
            let is_second = middle <= index;
            let index = if is_second { index - middle } else { index };
            halves[usize::from(is_second)].callbacks.push((index, timestamp, callback));
        }
        let [mut first, mut second] = halves;
        // The second half needs a header of its own; what was reserved is shared out.
        second.reserved = batch.reserved / 2 + HEADER_BYTES;
        first.reserved = batch.reserved - batch.reserved / 2;
        let parts = vec![(0, Arc::clone(&first.outcome)), (middle, Arc::clone(&second.outcome))];
        batch.outcome.split(parts);
        self.results.divided.push((batch.flush_id, 2, HEADER_BYTES));
        self.results.put_back.push((lane, first));
        self.results.put_back.push((lane, second));
    }

    /// Requests and batches whose time is over.
    fn expire_requests(&mut self, now: Instant) {
        let delivery_timeout = self.shared.config.delivery_timeout;
        let mut late = Vec::new();
        let mut dead = Vec::new();
        for (node, link) in &mut self.links {
            if link.in_flight.front().is_some_and(|request| request.deadline <= now) {
                late.push(*node);
            }
            for (lane, slot) in link.in_flight.iter_mut().flat_map(|one| &mut one.batches) {
                if let Some(batch) = slot.take_if(|one| one.created + delivery_timeout <= now) {
                    dead.push((*lane, batch));
                }
            }
        }
        for (lane, batch) in dead {
            self.idempotence.lost(lane, &batch);
            self.tell(lane, batch, Err(ClientError::Timeout));
        }
        for node in late {
            self.disconnect(now, node, &ClientError::Timeout);
        }
    }

    /// Drops a connection; what it carried is tried again.
    fn disconnect(&mut self, now: Instant, node: NodeId, why: &ClientError) {
        let link = self.links.get_mut(&node).expect("no link is ever removed");
        link.connection = None;
        if link.in_flight.is_empty() {
            // Brokers close idle connections; that is no reason to wait before the next.
            return;
        }
        for request in std::mem::take(&mut link.in_flight) {
            for (lane, batch) in request.batches {
                self.results.landed.push(lane);
                if let Some(batch) = batch {
                    self.retry(now, lane, batch, why.clone());
                }
            }
        }
        self.rest(now, node);
    }

    /// Everything left, for a producer whose time to close is over.
    fn take_all(&mut self, state: &mut State) -> Vec<(Lane, Batch)> {
        let mut left = state.accumulator.take_all();
        for link in self.links.values_mut() {
            for request in link.in_flight.drain(..) {
                left.extend(request.batches.into_iter().filter_map(|(l, b)| Some((l, b?))));
            }
        }
        left
    }
}

/// Asks any broker for an id.
fn init_producer_id(cluster: &mut Cluster) -> Result<ProducerId, ClientError> {
    let timeout = cluster.request_timeout();
    let frame = cluster.call_any(ApiKey::InitProducerId, &InitProducerIdRequest::NEW, timeout)?;
    let answer: InitProducerIdResponse = frame.body()?;
    if !answer.error.is_ok() {
        return Err(ClientError::Broker(answer.error));
    }
    Ok(ProducerId { id: answer.producer_id, epoch: answer.producer_epoch })
}

fn first_death(link: &Link<InFlight>, delivery_timeout: Duration) -> Option<Instant> {
    let batches = link.in_flight.iter().flat_map(|request| &request.batches);
    let created = batches.filter_map(|(_, batch)| Some(batch.as_ref()?.created)).min()?;
    Some(created + delivery_timeout)
}

fn half_of(batch: &Batch, from: u32) -> Batch {
    Batch {
        flush_id: batch.flush_id,
        sequence: (batch.sequence.0, batch.sequence.1 + from),
        created: batch.created,
        builder: BatchBuilder::new(),
        stamp: None,
        closed: None,
        record_count: 0,
        reserved: 0,
        outcome: Outcome::new(),
        callbacks: Vec::new(),
        unwatched: batch.unwatched,
        attempts: 0,
        retry_at: Some(batch.created),
    }
}
