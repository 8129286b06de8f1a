//! A client that sends numbered records to one partition.
//!
//! A plain one has one batch under way, and sends it again, or gives it up, when it hears of no
//! success. An idempotent one has three, and sends each until it is acknowledged.
//!
//! It keeps their order as `src/client/idempotence.rs` and librdkafka do: what was sent before goes
//! again when nothing is before it, and nothing new goes past what is to be sent again or is under way
//! at another node. A leader knows a producer's last five batches, so of more than that the oldest could
//! not be told from one that is out of order. Like librdkafka's, and unlike ours, its second batch does
//! not wait for the first.

use std::collections::VecDeque;

use odradek::ids::Partition;
use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use odradek::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

use super::link::Asked;
use super::{Leaders, Link, TOPICS};
use crate::sim::checkers::history::{Lane, Value};
use crate::sim::event::{Event, NodeNumber};
use crate::sim::world::World;

/// How it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With these acks.
    Plain(i8),
    Idempotent,
}

/// Names the question for a producer id.
const INIT: u64 = u64::MAX;

/// Batches under way of an idempotent producer.
const UNDER_WAY_MAX: usize = 3;

/// How often the first batch under way may be out of order. (An answer may be overtaken by that of the
/// batch before.)
const OUT_OF_ORDER_MAX: u32 = 20;

struct Sent {
    token: u64,
    first: u32,
    count: u32,
    /// Whose answer is still to come.
    is_out: Option<NodeNumber>,
    /// How often it was out of order, though there was nothing before it.
    out_of_order_count: u32,
    /// Whether it may be in the log all the same.
    is_unsure: bool,
}

/// See the module.
pub struct Producer {
    id: u32,
    kind: Kind,
    pub lane: Lane,
    identity: Option<(i64, i16)>,
    is_asking: bool,
    next_value: u32,
    next_token: u64,
    sent: VecDeque<Sent>,
    /// Does nothing before that.
    rest_until: u64,
    pub acked: u64,
    /// Bytes of padding at most.
    padding: u64,
}

impl Producer {
    pub fn new(id: u32, kind: Kind, lane: Lane, padding: u64) -> Producer {
        Producer {
            id,
            kind,
            lane,
            identity: None,
            is_asking: false,
            next_value: 0,
            next_token: 0,
            sent: VecDeque::new(),
            rest_until: 0,
            acked: 0,
            padding,
        }
    }

    fn rest(&mut self, world: &mut World, us: u64) {
        let us = us + world.random.below(us.max(1));
        self.rest_until = world.us + us;
        world.at(self.rest_until, Event::Client(self.id, 4));
    }

    /// Sends what there is to send.
    pub fn go_on(&mut self, world: &mut World, link: &mut Link, leaders: &mut Leaders) {
        if world.us < self.rest_until || !link.refresh(world) {
            return;
        }
        if self.kind == Kind::Idempotent && self.identity.is_none() {
            if !self.is_asking {
                self.is_asking = true;
                let node = world.any_node();
                let body = InitProducerIdRequest::NEW;
                let asked = Some(Asked::Role(INIT));
                link.ask(world, node, ApiKey::InitProducerId, (&body, &[]), asked);
            }
            return;
        }
        let Some(&(leader, _)) = leaders.0.get(&self.lane) else { return link.doubt() };
        // What was sent before goes first, in its order.
        if self.sent.front().is_some_and(|first| first.is_out.is_none()) {
            self.send(world, link, leader, 0);
        }
        let most = if self.kind == Kind::Idempotent { UNDER_WAY_MAX } else { 1 };
        let may_follow = self.sent.iter().all(|sent| sent.is_out == Some(leader));
        if self.sent.len() < most && may_follow && !world.is_over {
            let count = 1 + world.random.below(3) as u32;
            self.next_token += 1;
            let sent = Sent {
                token: self.next_token,
                first: self.next_value,
                count,
                is_out: None,
                out_of_order_count: 0,
                is_unsure: false,
            };
            self.next_value += count;
            world.checkers.history.sent(self.id, self.next_value);
            self.sent.push_back(sent);
            self.send(world, link, leader, self.sent.len() - 1);
            self.rest(world, world.plan.pace_us);
        }
    }

    fn send(&mut self, world: &mut World, link: &mut Link, leader: NodeNumber, place: usize) {
        let wall = Timestamp(1_790_000_000_000 + (world.us / 1000) as i64);
        let Sent { token, first, count, .. } = self.sent[place];
        let mut builder = BatchBuilder::new();
        for number in first..first + count {
            let mut value = self.id.to_be_bytes().to_vec();
            value.extend(number.to_be_bytes());
            // The same each time: what is sent again is the same batch.
            let padding = u64::from(number).wrapping_mul(0x9e37_79b9) % self.padding.max(1);
            value.resize(8 + padding as usize, b'.');
            builder.push(wall, None, Some(&value), &[]);
        }
        if let Some((producer_id, producer_epoch)) = self.identity {
            builder.set_producer(producer_id, producer_epoch, first as i32);
        }
        let batch = builder.finish(Compression::None);
        let acks = match self.kind {
            Kind::Plain(acks) => acks,
            Kind::Idempotent => -1,
        };
        let (topic, partition) = (TopicRef::Name(TOPICS[self.lane.0 as usize].0), self.lane.1);
        let partitions = vec![ProducePartition {
            topic,
            partition: Partition(partition),
            records_bytes: batch.len() as u32,
        }];
        let body = ProduceRequest { acks, timeout_ms: 2500, partitions };
        let asked = (acks != 0).then_some(Asked::Role(token));
        link.ask(world, leader, ApiKey::Produce, (&body, &batch), asked);
        if acks == 0 {
            self.sent.remove(place);
        } else {
            self.sent[place].is_out = Some(leader);
        }
    }

    /// No answer will come: nobody knows what became of it.
    pub fn unanswered(&mut self, world: &mut World, token: u64) {
        if token == INIT {
            self.is_asking = false;
        }
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.token == token) {
            sent.is_unsure = true;
        }
        self.again(world, token);
    }

    /// A batch is to be sent again, or is given up.
    fn again(&mut self, world: &mut World, token: u64) {
        self.rest(world, 50_000);
        let Some(place) = self.sent.iter().position(|sent| sent.token == token) else { return };
        self.sent[place].is_out = None;
        let is_over = self.kind != Kind::Idempotent && world.random.below(3) == 0;
        if is_over {
            let sent = self.sent.remove(place).expect("found above");
            for number in (sent.first..sent.first + sent.count).filter(|_| !sent.is_unsure) {
                let value = Value { producer: self.id, number };
                world.checkers.history.refused.insert(value);
            }
        }
    }

    /// An answer came; whether the leaders are to be asked for.
    pub fn answered(
        &mut self,
        world: &mut World,
        node: NodeNumber,
        token: u64,
        body: &[u8],
    ) -> bool {
        if token == INIT {
            self.is_asking = false;
            let response: InitProducerIdResponse = frame::decode(body).expect("an answer");
            if response.error.is_ok() {
                self.identity = Some((response.producer_id, response.producer_epoch));
                world.checkers.history.is_idempotent(self.id);
            } else {
                self.rest(world, 100_000);
            }
            return !response.error.is_ok();
        }
        let Some(place) = self.sent.iter().position(|sent| sent.token == token) else {
            return false;
        };
        let response: ProduceResponse = frame::decode(body).expect("an answer");
        let answer = &response.partitions[0];
        if answer.error.is_ok() {
            self.note_acked(world, place, answer.base_offset.0);
            return false;
        }
        let error = answer.error;
        // Whoever loses its leadership says so after it has appended, too.
        let is_refused = matches!(
            error,
            ErrorCode::NOT_ENOUGH_REPLICAS
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::LEADER_NOT_AVAILABLE
        );
        self.sent[place].is_unsure |= !is_refused;
        let is_fine = matches!(
            error,
            ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::REQUEST_TIMED_OUT
                | ErrorCode::NOT_ENOUGH_REPLICAS
                | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::LEADER_NOT_AVAILABLE
                | ErrorCode::KAFKA_STORAGE_ERROR
                | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        );
        world
            .checkers
            .hold(is_fine, "an answer to a producer", || format!("{error:?} from node {node}"));
        // One that was there and is no more: the broker has forgotten the producer.
        let is_forgotten = error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && place == 0;
        self.sent[place].out_of_order_count += u32::from(is_forgotten);
        let count = self.sent[place].out_of_order_count;
        world.checkers.hold(count < OUT_OF_ORDER_MAX, "T1", || {
            format!("producer {} is out of order for ever at node {node}", self.id)
        });
        self.again(world, token);
        true
    }

    fn note_acked(&mut self, world: &mut World, place: usize, base: i64) {
        let sent = self.sent.remove(place).expect("found by the caller");
        self.acked += 1;
        if self.kind == Kind::Plain(1) {
            return;
        }
        world.counts.acks += 1;
        for number in 0..sent.count {
            let value = Value { producer: self.id, number: sent.first + number };
            world.checkers.acked(self.lane, base + i64::from(number), value);
        }
    }

    /// What it waits for.
    pub fn text(&self) -> String {
        let Producer { id, kind, lane, sent, .. } = self;
        let waits = |sent: &Sent| format!("{}+{} {:?}", sent.first, sent.count, sent.is_out);
        let sent: Vec<String> = sent.iter().map(waits).collect();
        format!("producer {id} {kind:?} {lane:?} waits for {sent:?}")
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether it hears what became of what it sends.
    pub fn is_told(&self) -> bool {
        self.kind != Kind::Plain(0)
    }
}
