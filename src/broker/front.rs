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

mod connections;
mod exchange;
mod gathering;
mod replies;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use self::connections::Connection;
pub(super) use self::exchange::Ready;
pub use self::exchange::{Answer, FetchWanted, Request, Response};
pub(super) use self::gathering::{FetchGathering, Gathering, Pending};
use crate::broker::awaited::{Awaited, Wanted};
use crate::broker::mail::{Ask, AskBody, Notice, RequestId, ShardId};
use crate::broker::metrics::FrontMetrics;
use crate::broker::{BrokerConfig, CloseReason, ConnectionId};
use crate::controller::image::Image;
use crate::ids::TopicPartition;
use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::time::{Boot, Now};
use crate::wire::ApiKey;

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
    /// A node of the site knocks: the connection is its links' from now on.
    HandOver {
        /// Which connection.
        connection: ConnectionId,
        /// By what number it is answered.
        correlation_id: u32,
        /// Its hello.
        hello: Vec<u8>,
    },
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
    /// Whether the image is what the site has agreed on, or was not long ago.
    pub(super) is_informed: bool,
    pub(super) awaited: Awaited<Wanted>,
    pub(super) metrics: FrontMetrics,
}

impl<F: Clone> Front<F> {
    /// A front without connections.
    pub fn new(shard: ShardId, config: BrokerConfig) -> Front<F> {
        let credits = vec![MAILBOX_MESSAGES_MAX / 2; usize::from(config.shard_count)];
        Front {
            is_informed: config.is_informed,
            shard,
            config,
            image: Image::default(),
            awaited: Awaited::default(),
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

    /// This node has caught up with its site: whoever wanted to know of it is answered.
    pub fn inform(&mut self, now: Now) {
        self.is_informed = true;
        let waits =
            |pending: &Pending<F>| matches!(pending.gathering, Gathering::MetadataLater { .. });
        let waiting = self.pending.iter().filter(|(_, pending)| waits(pending));
        for number in waiting.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.complete(now, number);
        }
    }

    /// A connection is somebody else's from now on.
    pub(super) fn give_away(
        &mut self,
        connection: ConnectionId,
        correlation_id: u32,
        hello: Vec<u8>,
    ) {
        self.outputs.push_back(FrontOutput::HandOver { connection, correlation_id, hello });
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.outputs.push_back(FrontOutput::Release { bytes });
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

/// Which shard owns a partition.
pub(super) fn owner_of(config: &BrokerConfig, topic_partition: TopicPartition) -> ShardId {
    ShardId::owner(topic_partition, config.shard_count)
}
