//! The front half of a shard: its connections and the requests under way on them.
//!
//! A request is taken apart into one [`Ask`] per shard that owns one of its partitions, put
//! together again from the replies, and answered in the order in which it came.
//!
//! ```text
//! frame ──► handlers: decode, resolve ──► asks ──► backs ──► replies ──► pending ──► answer slot
//!                     └► controller ───────────────────────► verdicts ──┘   ▲          in order
//!                                                 deadline ─────────────────┘
//! ```
//!
//! **Invariant:** a pending request is completed exactly once: it is taken out of the map first,
//! and whatever comes for it later finds nothing. An ask leaves only with a credit (mail.rs).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::broker::groups::{GroupGathering, GroupRequest};
use crate::broker::mail::{
    Ask, AskBody, FetchAsk, FetchItem, FetchWatch, Fetched, Notice, Place, Reply, ReplyBody,
    RequestId, ShardId,
};
use crate::broker::metrics::{FrontMetrics, ShardMetrics};
use crate::broker::{BrokerConfig, CloseReason, ConnectionId};
use crate::controller::image::Image;
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::limits::{MAILBOX_MESSAGES_MAX, PIPELINE_REQUESTS_MAX, WRITE_QUEUE_BYTES_MAX};
use crate::log::Slice;
use crate::time::{Boot, Now};
use crate::wire::delete_records::DeletedRecords;
use crate::wire::describe_log_dirs::DescribedLog;
use crate::wire::describe_producers::DescribedProducers;
use crate::wire::fetch::FetchedPartition;
use crate::wire::list_offsets::ListedOffset;
use crate::wire::offset_for_leader_epoch::EpochEnd;
use crate::wire::produce::ProducedPartition;
use crate::wire::{ApiKey, ErrorCode, ResponseHeader, frame};

/// Bytes to send, and between them slices of segments as they are.
#[derive(Debug)]
pub struct Response<F> {
    /// First these,
    pub head: Vec<u8>,
    /// then each slice and the bytes behind it.
    pub tail: Vec<(Slice<F>, Vec<u8>)>,
}

impl<F> Response<F> {
    /// These bytes.
    pub fn of(head: Vec<u8>) -> Response<F> {
        Response { head, tail: Vec::new() }
    }

    /// And then these.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        let end = self.tail.last_mut().map_or(&mut self.head, |(_, behind)| behind);
        end.extend_from_slice(bytes);
    }

    /// And then this.
    pub fn push_slice(&mut self, slice: Slice<F>) {
        self.tail.push((slice, Vec::new()));
    }
}

/// A request from a door: another protocol's, put in our words.
#[derive(Debug)]
pub enum Request {
    /// Append batches. Answered by [`Answer::Produced`], unless `acks` is 0.
    Produce {
        /// See [`crate::wire::produce`].
        acks: i8,
        /// How long an answer to `acks` −1 may take.
        timeout_ms: u32,
        /// Where each batch goes, or why it goes nowhere.
        batches: Vec<(Result<TopicPartition, ErrorCode>, BytesMut)>,
    },
    /// Read. Answered by [`Answer::Fetched`].
    Fetch {
        /// Answer after this many ms, whatever is there.
        max_wait_ms: u32,
        /// Answer as soon as this many bytes are there.
        min_bytes: u32,
        /// At most this many bytes in all.
        max_bytes: u32,
        /// What to read, or why it cannot be.
        wanted: Vec<Result<FetchWanted, ErrorCode>>,
    },
    /// The body of one of the wire's other requests. Answered by [`Answer::Body`].
    Wire(ApiKey, BytesMut),
    /// The same of a request to a group's coordinator, and the client's name for itself.
    Group(ApiKey, BytesMut, Box<str>),
}

/// A place to read from.
#[derive(Clone, Copy, Debug)]
pub struct FetchWanted {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// First offset wanted.
    pub offset: Offset,
    /// Leader epoch the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// At most this many bytes.
    pub max_bytes: u32,
}

/// What a door is answered, in the order in which it asked.
#[derive(Debug)]
pub enum Answer<F> {
    /// One result per batch.
    Produced(Vec<ProducedPartition>),
    /// One result per place.
    Fetched {
        /// The results,
        partitions: Vec<FetchedPartition>,
        /// and the batches of those that have some.
        slices: Vec<Slice<F>>,
    },
    /// The body of the wire's response.
    Body(Vec<u8>),
}

/// An answer, ready to leave.
pub(super) enum Ready<F> {
    Frame(Response<F>),
    Door(Answer<F>),
}

impl<F> Ready<F> {
    /// Bytes that it keeps in memory; a slice keeps none.
    fn head_bytes(&self) -> usize {
        match self {
            Ready::Frame(response) => response.head.len(),
            Ready::Door(Answer::Body(body)) => body.len(),
            Ready::Door(Answer::Produced(results)) => size_of_val(&results[..]),
            Ready::Door(Answer::Fetched { partitions, .. }) => size_of_val(&partitions[..]),
        }
    }
}

/// What the front wants done.
#[derive(Debug)]
pub enum FrontOutput<F> {
    /// Send on a connection.
    Respond {
        /// Where.
        connection: ConnectionId,
        /// What.
        response: Response<F>,
    },
    /// Give to a connection's door.
    Answer {
        /// Whose.
        connection: ConnectionId,
        /// What.
        answer: Answer<F>,
    },
    /// Close a connection, after what was sent.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Give to the back of a shard.
    Ask {
        /// Which shard.
        to: ShardId,
        /// The question.
        ask: Ask,
    },
    /// Tell the back of a shard.
    Notice {
        /// Which shard.
        to: ShardId,
        /// The word.
        notice: Notice,
    },
    /// Give to the control thread; it answers with [`Front::controlled`].
    Control(ControlAsk),
    /// So many bytes of a frame are no longer needed.
    Release {
        /// As reserved.
        bytes: u64,
    },
}

/// A request for the control thread.
#[derive(Debug)]
pub struct ControlAsk {
    /// The request.
    pub request: RequestId,
    /// What kind it is.
    pub api: ApiKey,
    /// Its body.
    pub body: BytesMut,
}

/// What a request under way gathers.
#[derive(Debug)]
pub(super) enum Gathering<F> {
    Produce {
        acks: i8,
        results: Vec<Option<ProducedPartition>>,
        /// As the batches' headers say.
        record_counts: Vec<u32>,
    },
    Fetch(FetchGathering<F>),
    Offsets(Vec<Option<ListedOffset>>),
    Trim(Vec<Option<DeletedRecords>>),
    EpochEnds(Vec<Option<EpochEnd>>),
    Describe(Vec<Option<DescribedLog>>),
    Producers(Vec<Option<DescribedProducers>>),
    Metrics(Box<ShardMetrics>),
    Group(GroupGathering),
    /// The control thread has it; its answer is the body of the response.
    Control,
    /// The control thread creates topics; then the same request is handled once more.
    MetadataAfterCreate {
        body: BytesMut,
    },
    /// The control thread makes the topic of groups; then the same request is handled once more.
    GroupAfterCreate(GroupRequest),
}

impl<F> Gathering<F> {
    /// Whether it waits for something that may never come, rather than for work that is under way.
    fn may_wait(&self) -> bool {
        match self {
            Gathering::Fetch(_) => true,
            Gathering::Group(group) => group.may_wait(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct FetchGathering<F> {
    pub(super) items: BTreeMap<ShardId, Vec<FetchItem>>,
    pub(super) min_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) results: Vec<Option<Fetched<F>>>,
    pub(super) watching: BTreeSet<ShardId>,
    /// Time is up: the next full round of replies is the answer.
    pub(super) is_last_round: bool,
    /// A shard gave notice while replies were outstanding: ask once more when they are in.
    pub(super) is_stale: bool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Pending<F> {
    pub(super) connection: ConnectionId,
    pub(super) correlation_id: u32,
    pub(super) gathering: Gathering<F>,
    pub(super) replies_due: usize,
    pub(super) deadline: Boot,
    pub(super) frame_bytes: u64,
    pub(super) since: Boot,
}

/// Place of an answer in the order of a connection.
struct Slot<F> {
    number: u64,
    ready: Option<Ready<F>>,
}

struct Connection<F> {
    said_hello: bool,
    /// A door stands before it and translates.
    has_door: bool,
    local_host: Box<str>,
    local_port: u16,
    /// Where it comes from.
    peer_host: Box<str>,
    /// As its hello said; a door says it with each request.
    client_id: Box<str>,
    slots: VecDeque<Slot<F>>,
    /// Bytes of the answers in `slots`.
    waiting_bytes: usize,
    is_closing: bool,
}

/// The connections of one shard and what they asked.
pub struct Front<F> {
    pub(super) shard: ShardId,
    pub(super) config: BrokerConfig,
    pub(super) image: Image,
    connections: BTreeMap<ConnectionId, Connection<F>>,
    waiting_bytes: u64,
    pending: BTreeMap<u64, Pending<F>>,
    deadlines: BTreeSet<(Boot, u64)>,
    credits: Vec<usize>,
    /// Asks of later rounds that found no credit.
    starved: VecDeque<(ShardId, Ask)>,
    next_number: u64,
    outputs: VecDeque<FrontOutput<F>>,
    pub(super) metrics: FrontMetrics,
}

impl<F: Clone> Front<F> {
    /// A front without connections.
    pub fn new(shard: ShardId, config: BrokerConfig) -> Front<F> {
        let credits = vec![MAILBOX_MESSAGES_MAX / 2; usize::from(config.shard_count)];
        Front {
            shard,
            config,
            image: Image::default(),
            connections: BTreeMap::new(),
            waiting_bytes: 0,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            credits,
            starved: VecDeque::new(),
            next_number: 0,
            outputs: VecDeque::new(),
            metrics: FrontMetrics::default(),
        }
    }

    /// The cluster as this shard knows it.
    pub fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// The cluster as this shard knows it.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A connection came, to the address given, perhaps through a door.
    pub fn opened(
        &mut self,
        connection: ConnectionId,
        (local_host, local_port): (Box<str>, u16),
        peer_host: Box<str>,
        has_door: bool,
    ) {
        let fresh = Connection {
            // A door keeps its own rules for strangers.
            said_hello: has_door,
            has_door,
            local_host,
            local_port,
            peer_host,
            client_id: "".into(),
            slots: VecDeque::new(),
            waiting_bytes: 0,
            is_closing: false,
        };
        self.connections.insert(connection, fresh);
        self.metrics.connection_count += 1;
    }

    /// A connection went. What it asked goes on, but nobody hears the answer.
    pub fn closed(&mut self, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else { return };
        self.waiting_bytes -= gone.waiting_bytes as u64;
        for slot in gone.slots {
            // A fetch would keep its watches until its deadline, a member that joins its place
            // until the others have come; the rest completes by itself.
            if self.pending.get(&slot.number).is_some_and(|p| p.gathering.may_wait()) {
                self.abandon(slot.number);
            }
        }
    }

    /// Whether the connection said hello: frames before that are tiny.
    pub fn said_hello(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.said_hello)
    }

    /// What Metadata names as this broker's address: the advertised one, or where the connection
    /// came in, which is the one address that this client is known to reach.
    pub(super) fn own_address(&self, connection: ConnectionId) -> (&str, u16) {
        let live = &self.config.live;
        let advertised = match self.has_door(connection) {
            true => &live.advertised_kafka,
            false => &live.advertised,
        };
        if let Some((host, port)) = advertised {
            return (host, *port);
        }
        self.connections.get(&connection).map_or(("", 0), |c| (&*c.local_host, c.local_port))
    }

    pub(super) fn welcome(&mut self, connection: ConnectionId, client_id: &str) {
        if let Some(greeted) = self.connections.get_mut(&connection) {
            greeted.said_hello = true;
            greeted.client_id = client_id.into();
        }
    }

    /// Who a connection is for the groups it is in: its client id and its address.
    pub(super) fn caller(&self, connection: ConnectionId) -> (Box<str>, Box<str>) {
        let caller = |c: &Connection<F>| (c.client_id.clone(), c.peer_host.clone());
        self.connections.get(&connection).map(caller).unwrap_or_default()
    }

    /// Whether another frame of this connection may be handled now. If not, its bytes wait in the
    /// socket.
    pub fn accepts(&self, connection: ConnectionId) -> bool {
        let room = |c: &Connection<F>| {
            let has_place = c.slots.len() < PIPELINE_REQUESTS_MAX;
            has_place && c.waiting_bytes < WRITE_QUEUE_BYTES_MAX && !c.is_closing
        };
        self.starved.is_empty()
            && self.credits.iter().all(|credit| 0 < *credit)
            && self.connections.get(&connection).is_some_and(room)
    }

    /// Whether answers of this connection are outstanding (it is not idle).
    pub fn is_busy(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| !c.slots.is_empty())
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<FrontOutput<F>> {
        self.outputs.pop_front()
    }

    /// When [`Front::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        self.deadlines.first().map_or(Boot::NEVER, |(at, _)| *at)
    }

    /// Completes what has waited long enough.
    pub fn tick(&mut self, now: Now) {
        while let Some(&(at, number)) = self.deadlines.first() {
            if now.boot < at {
                break;
            }
            self.deadlines.pop_first();
            self.expire(now, number);
        }
    }

    // Requests.

    pub(super) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        if let Some(closing) = self.connections.get_mut(&connection) {
            closing.is_closing = true;
            self.outputs.push_back(FrontOutput::Close { connection, reason });
        }
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.outputs.push_back(FrontOutput::Release { bytes });
    }

    /// Reserves the place of an answer, in the order of the connection.
    pub(super) fn reserve_slot(&mut self, connection: ConnectionId) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(owner) = self.connections.get_mut(&connection) {
            owner.slots.push_back(Slot { number, ready: None });
        }
        number
    }

    /// A number for a request that gets no answer.
    pub(super) fn reserve_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    pub(super) fn start(
        &mut self,
        number: u64,
        pending: Pending<F>,
        asks: Vec<(ShardId, AskBody)>,
    ) {
        if pending.deadline < Boot::NEVER {
            self.deadlines.insert((pending.deadline, number));
        }
        self.pending.insert(number, pending);
        for (to, body) in asks {
            self.send_ask(to, Ask { request: self.request_id(number), body });
        }
    }

    pub(super) fn start_control(&mut self, number: u64, pending: Pending<F>, ask: ControlAsk) {
        self.pending.insert(number, pending);
        self.outputs.push_back(FrontOutput::Control(ask));
    }

    pub(super) fn request_id(&self, number: u64) -> RequestId {
        RequestId { shard: self.shard, number }
    }

    fn send_ask(&mut self, to: ShardId, ask: Ask) {
        if let Some(pending) = self.pending.get_mut(&ask.request.number) {
            pending.replies_due += 1;
        }
        let credit = &mut self.credits[usize::from(to.0)];
        if *credit == 0 {
            self.starved.push_back((to, ask));
        } else {
            *credit -= 1;
            self.outputs.push_back(FrontOutput::Ask { to, ask });
        }
    }

    fn return_credit(&mut self, from: ShardId) {
        self.credits[usize::from(from.0)] += 1;
        if let Some(place) = self.starved.iter().position(|(to, _)| *to == from) {
            let (to, ask) = self.starved.remove(place).expect("found just now");
            self.credits[usize::from(to.0)] -= 1;
            self.outputs.push_back(FrontOutput::Ask { to, ask });
        }
    }

    /// Answers now.
    pub(super) fn respond<B: serde::Serialize>(
        &mut self,
        connection: ConnectionId,
        number: u64,
        correlation_id: u32,
        body: &B,
    ) {
        let ready = self.ready(connection, correlation_id, body);
        self.fill_slot(connection, number, ready);
    }

    /// A response that its request's handler built.
    pub(super) fn ready<B: serde::Serialize>(
        &self,
        connection: ConnectionId,
        correlation_id: u32,
        body: &B,
    ) -> Ready<F> {
        if self.has_door(connection) {
            return Ready::Door(Answer::Body(frame::encode_body(body)));
        }
        let mut head = Vec::new();
        let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
        frame::encode(&header, body, 0, &mut head);
        Ready::Frame(Response::of(head))
    }

    /// The same, of a body that is encoded already.
    pub(super) fn ready_body(
        &self,
        connection: ConnectionId,
        correlation_id: u32,
        body: Vec<u8>,
    ) -> Ready<F> {
        if self.has_door(connection) {
            return Ready::Door(Answer::Body(body));
        }
        let mut head = Vec::new();
        let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
        frame::encode(&header, &(), body.len(), &mut head);
        head.extend_from_slice(&body);
        Ready::Frame(Response::of(head))
    }

    fn has_door(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.has_door)
    }

    pub(super) fn fill_slot(&mut self, connection: ConnectionId, number: u64, ready: Ready<F>) {
        let Some(owner) = self.connections.get_mut(&connection) else { return };
        let Some(slot) = owner.slots.iter_mut().find(|slot| slot.number == number) else {
            return;
        };
        let waiting_bytes = ready.head_bytes();
        owner.waiting_bytes += waiting_bytes;
        self.waiting_bytes += waiting_bytes as u64;
        slot.ready = Some(ready);
        while let Some(Slot { ready: Some(_), .. }) = owner.slots.front() {
            let slot = owner.slots.pop_front().expect("there is a front");
            let ready = slot.ready.expect("it is ready");
            let waiting_bytes = ready.head_bytes();
            owner.waiting_bytes -= waiting_bytes;
            self.waiting_bytes -= waiting_bytes as u64;
            self.outputs.push_back(match ready {
                Ready::Frame(response) => FrontOutput::Respond { connection, response },
                Ready::Door(answer) => FrontOutput::Answer { connection, answer },
            });
        }
    }

    // Replies.

    /// A back of shard `from` answered.
    pub fn replied(&mut self, now: Now, from: ShardId, reply: Reply<F>) {
        self.return_credit(from);
        let number = reply.request.number;
        let Some(pending) = self.pending.get_mut(&number) else {
            if matches!(
                reply.body,
                ReplyBody::Fetched { is_watching: true, .. }
                    | ReplyBody::Group { is_parked: true, .. }
            ) {
                let notice = Notice::Unwatch(reply.request);
                self.outputs.push_back(FrontOutput::Notice { to: from, notice });
            }
            return;
        };
        pending.replies_due -= 1;
        gather(&mut pending.gathering, from, reply.body);
        if pending.replies_due == 0 {
            self.round_complete(now, number);
        }
    }

    fn round_complete(&mut self, now: Now, number: u64) {
        let pending = self.pending.get(&number).expect("its replies are in");
        match &pending.gathering {
            Gathering::Fetch(fetch) if !fetch.is_enough() => {
                if fetch.is_stale {
                    self.ask_fetch_again(number);
                }
            }
            Gathering::Group(group) if group.is_parked() => {}
            _ => self.complete(now, number),
        }
    }

    fn ask_fetch_again(&mut self, number: u64) {
        let pending = self.pending.get_mut(&number).expect("it is asked for again");
        let Gathering::Fetch(fetch) = &mut pending.gathering else { return };
        fetch.is_stale = false;
        fetch.watching.clear();
        let asks = fetch.asks();
        for (to, body) in asks {
            self.send_ask(to, Ask { request: self.request_id(number), body });
        }
    }

    /// A back gave notice.
    pub fn progressed(&mut self, from: ShardId, request: RequestId) {
        let number = request.number;
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if let Gathering::Group(group) = &mut pending.gathering {
            group.parked.remove(&from);
            self.send_ask(from, Ask { request, body: AskBody::GroupAnswers });
            return;
        }
        let Gathering::Fetch(fetch) = &mut pending.gathering else { return };
        fetch.watching.remove(&from);
        if 0 < pending.replies_due {
            fetch.is_stale = true;
        } else {
            self.ask_fetch_again(number);
        }
    }

    fn expire(&mut self, now: Now, number: u64) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        match &mut pending.gathering {
            Gathering::Fetch(fetch) => {
                fetch.is_last_round = true;
                // Replies that are under way carry what is there; else it is read once more.
                if pending.replies_due == 0 {
                    self.ask_fetch_again(number);
                }
            }
            Gathering::Produce { results, .. } => {
                for missing in results.iter_mut().filter(|result| result.is_none()) {
                    *missing = Some(ProducedPartition::failed(ErrorCode::REQUEST_TIMED_OUT));
                }
                self.metrics.produce_timeout_count += 1;
                self.complete(now, number);
            }
            _ => self.complete(now, number),
        }
    }

    fn abandon(&mut self, number: u64) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.deadlines.remove(&(pending.deadline, number));
        self.release(pending.frame_bytes);
        self.unwatch(number, &pending.gathering);
    }

    fn unwatch(&mut self, number: u64, gathering: &Gathering<F>) {
        let watching = match gathering {
            Gathering::Fetch(fetch) => &fetch.watching,
            Gathering::Group(group) => &group.parked,
            _ => return,
        };
        let request = self.request_id(number);
        for to in watching {
            let notice = Notice::Unwatch(request);
            self.outputs.push_back(FrontOutput::Notice { to: *to, notice });
        }
    }

    pub(super) fn complete(&mut self, now: Now, number: u64) {
        let pending = self.pending.remove(&number).expect("completed once");
        self.deadlines.remove(&(pending.deadline, number));
        self.release(pending.frame_bytes);
        self.unwatch(number, &pending.gathering);
        self.metrics.observe(now, pending.since, &pending.gathering);
        let connection = pending.connection;
        match pending.gathering {
            Gathering::Produce { acks: 0, results, .. } => {
                let failed = results.iter().flatten().find(|result| !result.error.is_ok());
                if let Some(failed) = failed {
                    self.close(connection, CloseReason::UnackedError(failed.error));
                }
            }
            Gathering::MetadataAfterCreate { body } => {
                self.metadata(now, connection, number, pending.correlation_id, &body, false);
            }
            Gathering::GroupAfterCreate(request) => {
                self.group_after_create(now, connection, number, pending.correlation_id, request);
            }
            gathering => {
                let ready = if self.has_door(connection) {
                    Ready::Door(super::assemble::answer(gathering))
                } else {
                    let correlation_id = pending.correlation_id;
                    let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
                    Ready::Frame(super::assemble::response(header, gathering))
                };
                self.fill_slot(connection, number, ready);
            }
        }
    }

    /// The control thread answered: `body` is the body of the response.
    pub fn controlled(&mut self, now: Now, request: RequestId, body: Vec<u8>) {
        let Some(pending) = self.pending.get(&request.number) else { return };
        if matches!(
            pending.gathering,
            Gathering::MetadataAfterCreate { .. } | Gathering::GroupAfterCreate(_)
        ) {
            self.complete(now, request.number);
            return;
        }
        let pending = self.pending.remove(&request.number).expect("found above");
        self.release(pending.frame_bytes);
        let ready = self.ready_body(pending.connection, pending.correlation_id, body);
        self.fill_slot(pending.connection, request.number, ready);
    }

    /// Bytes of answers that are finished, but wait for an earlier one of their connection.
    pub fn waiting_answer_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Requests under way, save those that wait for what other clients do.
    pub fn pending_count(&self) -> usize {
        let is_parked =
            |p: &Pending<F>| matches!(&p.gathering, Gathering::Group(group) if group.is_parked());
        self.pending.values().filter(|pending| !is_parked(pending)).count()
    }
}

impl<F> FetchGathering<F> {
    /// One ask per shard. The last round watches nothing.
    pub(super) fn asks(&self) -> Vec<(ShardId, AskBody)> {
        let watch = (!self.is_last_round).then_some(FetchWatch {
            enough_bytes: self.min_bytes,
            shard_count: self.items.len() as u64,
        });
        let ask = |items: &Vec<FetchItem>| {
            AskBody::Fetch(FetchAsk { items: items.clone(), max_bytes: self.max_bytes, watch })
        };
        self.items.iter().map(|(shard, items)| (*shard, ask(items))).collect()
    }

    /// Offsets from where was asked to the ends of what was found: records, save for gaps.
    pub(super) fn offset_count(&self) -> u64 {
        let found = |item: &FetchItem| {
            let slice = self.results[item.place as usize].as_ref()?.slice.as_ref()?;
            u64::try_from(slice.end_offset.0 - item.offset.0).ok()
        };
        self.items.values().flatten().filter_map(found).sum()
    }

    fn is_enough(&self) -> bool {
        let found: u64 = self.results.iter().flatten().map(Fetched::bytes).sum();
        let failed = |fetched: &Fetched<F>| !fetched.error.is_ok();
        self.is_last_round || self.min_bytes <= found || self.results.iter().flatten().any(failed)
    }
}

fn gather<F>(gathering: &mut Gathering<F>, from: ShardId, body: ReplyBody<F>) {
    match (gathering, body) {
        (Gathering::Produce { results, .. }, ReplyBody::Produced(items)) => place(results, items),
        (Gathering::Offsets(results), ReplyBody::Offsets(items)) => place(results, items),
        (Gathering::Trim(results), ReplyBody::Trimmed(items)) => place(results, items),
        (Gathering::EpochEnds(results), ReplyBody::EpochEnds(items)) => place(results, items),
        (Gathering::Describe(results), ReplyBody::Described(items)) => place(results, items),
        (Gathering::Producers(results), ReplyBody::Producers(items)) => place(results, items),
        (Gathering::Fetch(fetch), ReplyBody::Fetched { items, is_watching }) => {
            place(&mut fetch.results, items);
            if is_watching {
                fetch.watching.insert(from);
            }
        }
        (Gathering::Metrics(sums), ReplyBody::ShardMetrics(shard)) => sums.add(*shard),
        (Gathering::Group(group), ReplyBody::Group { items, is_parked }) => {
            place(&mut group.results, items);
            if is_parked {
                group.parked.insert(from);
            }
        }
        _ => unreachable!("a reply is of the kind of its ask"),
    }
}

fn place<T>(results: &mut [Option<T>], items: Vec<(Place, T)>) {
    for (place, item) in items {
        results[place as usize] = Some(item);
    }
}

/// Which shard owns a partition.
pub(super) fn owner_of(config: &BrokerConfig, topic_partition: TopicPartition) -> ShardId {
    ShardId::owner(topic_partition, config.shard_count)
}
