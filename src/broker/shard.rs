//! A shard: one front and one back, and the agenda between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::broker::back::{Back, BackOutput, Flushed, Load};
use crate::broker::front::{Answer, ControlAsk, Front, FrontOutput, Request, Response};
use crate::broker::links::{Follower, LinkOutput, Links};
use crate::broker::mail::{
    Ask, Notice, PeerAsk, PeerMail, Reply, ReplyBody, RequestId, Route, ShardId,
};
use crate::broker::scrub::ScrubJob;
use crate::broker::{BrokerConfig, CloseReason, ConnectionId, LiveConfig, Topics};
use crate::controller::OFFSETS_TOPIC;
use crate::controller::change::Change;
use crate::controller::image::{BrokerImage, GroupConfigs, PartitionImage};
use crate::ids::{NodeId, Offset, TopicId, TopicPartition};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{Cut, CutDone, DamageNote, Log, ProducersNote, Round, Scrubbed};
use crate::replica::{BrokerState, LeaderAndIsr, Replica};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::replica::alter_partition::AlterReplicas;
use crate::wire::replica::fetch::FetchReplica;
use crate::wire::replica::progress::ProgressReplica;

/// What happens to a shard.
pub enum Event<D: Disk> {
    /// A connection came in at a local address.
    Opened {
        /// Its name from now on.
        connection: ConnectionId,
        /// The address it came to.
        local_host: Box<str>,
        /// The port it came to.
        local_port: u16,
        /// The address it came from.
        peer_host: Box<str>,
        /// Whether a door translates what it says.
        has_door: bool,
    },
    /// A door asks on behalf of its connection.
    Request {
        /// Whose.
        connection: ConnectionId,
        /// What.
        request: Request,
        /// Reserved for the frame it came in; released in due course.
        frame_bytes: u64,
    },
    /// A connection is gone.
    Closed(ConnectionId),
    /// A whole frame came, without its prefix.
    Frame {
        /// On this connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: BytesMut,
    },
    /// Another shard's front asks this shard's back.
    Ask(Ask),
    /// Another shard's back answers this shard's front.
    Reply(ShardId, Reply<D::File>),
    /// Another shard gives notice.
    Notice(ShardId, Notice),
    /// This node has caught up with its site's metadata.
    Informed,
    /// A commit is on stable storage.
    Flushed(Vec<Flushed>),
    /// The log dir failed: nothing more is acknowledged.
    StorageFailed,
    /// The disk has room for appends, or no longer has.
    Space(bool),
    /// The broker's configuration is another now.
    Reconfigure(Box<LiveConfig>),
    /// Give up the oldest segment, to make room.
    GiveUpOldest,
    /// Cold bytes are in the page cache now.
    Loaded {
        /// As in [`Load`].
        token: u64,
        /// The disk has lost some of them.
        is_lost: bool,
    },
    /// A part of a sealed segment was verified; `None` when it could not be read.
    Scrubbed(ScrubJob<D::File>, Option<Scrubbed>),
    /// It is this shard's turn in a round of compaction.
    Clean(Box<Round<D>>),
    /// What is known of a partition's producers up to this offset is on stable storage; `None` when
    /// it could not be brought there.
    ProducersNoted(TopicPartition, Option<Offset>),
    /// The metadata changed.
    Apply(Apply<D>),
    /// The control thread answered a request with the body of its response.
    Controlled(RequestId, Vec<u8>),
    /// Another shard has a word from or for a broker elsewhere.
    Peer(PeerMail<D::File>),
    /// A socket to another broker is there, or could not be had.
    Dialed(NodeId, Option<ConnectionId>),
    /// Another broker connected, to follow partitions here; it has proved who it is.
    Peered(NodeId, ConnectionId),
    /// The controller has answered [`Output::Alter`].
    Altered {
        /// The partition.
        topic_partition: TopicPartition,
        /// The version that the proposal built on.
        partition_epoch: i32,
        /// The state that stands, or why it was refused.
        outcome: Result<LeaderAndIsr, ErrorCode>,
    },
    /// [`Output::Cut`] was made, or could not be.
    CutDone(TopicPartition, std::io::Result<CutDone>),
}

/// A committed change of the metadata, on its way to one shard.
pub struct Apply<D: Disk> {
    /// Names the change; the shard confirms it.
    pub version: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Logs of new partitions that this shard owns.
    pub adopted: Vec<Log<D>>,
    /// Whether this process belongs to the site by now, for all that is decided up to here. Before
    /// that the decisions are those of an earlier time: whoever leads by them has perhaps been
    /// deposed, and must neither lead nor be followed.
    pub is_current: bool,
}

/// What a shard wants done.
pub enum Output<D: Disk> {
    /// Hand to the flusher. It always precedes the answer that depends on it.
    Persist(Entry<D::File>),
    /// Send on a connection.
    Respond(ConnectionId, Response<D::File>),
    /// Give to a connection's door.
    Answer(ConnectionId, Answer<D::File>),
    /// Close a connection, after what was sent.
    Close(ConnectionId, CloseReason),
    /// So many reserved bytes of frames are free again.
    Release(u64),
    /// Give to another shard's back.
    Ask(ShardId, Ask),
    /// Give to another shard's front.
    Reply(ShardId, Reply<D::File>),
    /// Give to another shard.
    Notice(ShardId, Notice),
    /// Have cold bytes loaded.
    Load(Load<D::File>),
    /// Have a part of a sealed segment verified.
    Scrub(ScrubJob<D::File>),
    /// Have a round of compaction worked on.
    Clean(Box<Round<D>>),
    /// Have it written down that a segment is damaged.
    Note(DamageNote<D>),
    /// Have what is known of a partition's producers made durable.
    NoteProducers(TopicPartition, ProducersNote<D>),
    /// Give to the control thread.
    Control(ControlAsk),
    /// Tell the control thread that a change is in effect here.
    Applied(u64),
    /// Give the log of a deleted partition to the control thread.
    Retired(Box<Log<D>>),
    /// Give a connection to the control thread: a node of the site knocks.
    HandOver(ConnectionId, u32, Vec<u8>),
    /// Give to another shard.
    Peer(ShardId, PeerMail<D::File>),
    /// Connect to another broker, at `HOST:PORT` if that is known, then say so by
    /// [`Event::Dialed`].
    Dial(NodeId, Option<String>),
    /// Propose other in-sync replicas to the controller.
    Alter(AlterReplicas),
    /// Cut a log on disk, where one may wait for it.
    Cut(TopicPartition, Box<Cut<D>>),
}

/// One poll-loop thread's share of the broker.
pub struct Shard<D: Disk> {
    id: ShardId,
    front: Front<D::File>,
    back: Back<D>,
    links: Links<D::File>,
    /// See [`Apply::is_current`].
    is_current: bool,
    /// The newest list of changes, while something that it took away is still here.
    unconfirmed: Option<u64>,
    outputs: VecDeque<Output<D>>,
}

impl<D: Disk> Shard<D> {
    /// A shard without connections or partitions.
    pub fn new(now: Now, id: ShardId, config: BrokerConfig) -> Shard<D> {
        let back = Back::new(now, &config);
        let front = Front::new(id, config);
        let (links, outputs) = (Links::new(), VecDeque::new());
        Shard { id, front, back, links, is_current: false, unconfirmed: None, outputs }
    }

    /// Takes one event. Take all outputs before the next.
    pub fn step(&mut self, now: Now, event: Event<D>) {
        match event {
            Event::Opened { connection, local_host, local_port, peer_host, has_door } => {
                self.front.opened(connection, (local_host, local_port), peer_host, has_door);
            }
            Event::Request { connection, request, frame_bytes } => {
                self.front.request(now, connection, request, frame_bytes);
            }
            Event::Closed(connection) => {
                self.front.closed(connection);
                self.links.closed(now, connection);
            }
            Event::Frame { connection, bytes } => self.frame(now, connection, bytes),
            Event::Ask(ask) => self.back.ask(now, ask),
            Event::Reply(from, reply) => self.front.replied(now, from, reply),
            Event::Notice(from, Notice::Progress(request)) => self.front.progressed(from, request),
            Event::Notice(_, Notice::Unwatch(request)) => self.back.unwatch(request),
            Event::Flushed(commit) => {
                for flushed in &commit {
                    self.back.flushed(now, flushed);
                }
            }
            Event::StorageFailed => self.back.storage_failed(now),
            Event::Space(has_space) => self.back.set_space(has_space),
            Event::Reconfigure(config) => self.reconfigure(now, *config),
            Event::GiveUpOldest => {
                self.back.give_up_oldest(now);
            }
            Event::Loaded { token, is_lost } => self.back.loaded(now, token, is_lost),
            Event::Scrubbed(job, found) => self.back.scrubbed(now, job, found),
            Event::Clean(round) => self.back.clean_turn(now, round),
            Event::ProducersNoted(topic_partition, at) => {
                self.back.producers_noted(now, topic_partition, at);
            }
            Event::Apply(apply) => self.apply(now, apply),
            Event::Informed => self.front.inform(now),
            Event::Controlled(request, body) => self.front.controlled(now, request, body),
            Event::Peer(mail) => self.peer_mail(now, mail),
            Event::Dialed(node_id, connection) => {
                self.links.dialed(now, node_id, connection);
            }
            Event::Peered(node_id, connection) => self.links.admit(connection, node_id),
            Event::Altered { topic_partition, partition_epoch, outcome } => {
                self.back.altered(now, topic_partition, partition_epoch, outcome);
            }
            Event::CutDone(topic_partition, done) => {
                self.back.cut_done(now, topic_partition, done);
            }
        }
        self.pump(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        self.front.tick(now);
        self.back.tick(now);
        self.pump(now);
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output<D>> {
        self.outputs.pop_front()
    }

    /// When [`Shard::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        let links_at = self.links.next_deadline();
        self.front.next_deadline().min(self.back.next_deadline()).min(links_at)
    }

    /// Whether another frame of this connection may be handled now.
    pub fn accepts(&self, connection: ConnectionId) -> bool {
        self.links.has(connection) || self.front.accepts(connection)
    }

    /// Whether answers of this connection are outstanding.
    pub fn is_busy(&self, connection: ConnectionId) -> bool {
        self.links.has(connection) || self.front.is_busy(connection)
    }

    /// Whether the connection said hello: frames before that are tiny.
    pub fn said_hello(&self, connection: ConnectionId) -> bool {
        self.links.has(connection) || self.front.said_hello(connection)
    }

    /// The topics, as this shard knows them.
    pub fn topics(&self) -> Topics<'_> {
        self.front.topics()
    }

    /// Bytes of answers that are finished, but wait for an earlier one of their connection.
    pub fn waiting_answer_bytes(&self) -> u64 {
        self.front.waiting_answer_bytes()
    }

    /// Requests under way: a graceful stop waits for them.
    pub fn pending_count(&self) -> usize {
        self.front.pending_count()
    }

    /// Whether batches are held that are not in their segments yet.
    pub fn is_holding(&self) -> bool {
        self.back.is_holding()
    }

    /// Whether so much is held that some must be written though there is other work.
    pub fn must_settle(&self) -> bool {
        self.back.must_settle()
    }

    /// Writes what so many partitions hold.
    pub fn settle(&mut self, partition_count: usize) {
        self.back.settle(partition_count);
    }

    /// Writes all that is held; answers whether nothing was lost, now or before. No half of the
    /// journal's ring may be freed before every shard said so.
    pub fn settle_all(&mut self) -> bool {
        self.back.settle_all()
    }

    /// The logs here, each with its replica where others have a part in it, for whoever watches.
    pub fn partitions(&self) -> impl Iterator<Item = (&Log<D>, Option<&Replica<D>>)> {
        self.back.partitions()
    }

    /// All logs, for a clean stop.
    pub fn into_logs(self) -> impl Iterator<Item = Log<D>> {
        self.back.into_logs()
    }

    fn apply(&mut self, now: Now, apply: Apply<D>) {
        let mut reconfigured: Vec<TopicId> = Vec::new();
        let mut touched: BTreeSet<TopicId> = BTreeSet::new();
        let mut decided: BTreeSet<TopicPartition> = BTreeSet::new();
        let mut are_brokers_changed = false;
        for change in &apply.changes {
            if let Change::RemoveTopic { topic_id } = change {
                if let Some(topic) = self.front.image().topic(*topic_id) {
                    self.back.forget_topic(now, &topic.name);
                }
            }
            self.front.image_mut().replay(change);
            match change {
                Change::RemoveTopic { topic_id } => self.back.retire_topic(*topic_id),
                Change::Config { topic_id, .. } => reconfigured.push(*topic_id),
                Change::GroupConfig { group_id, .. } => {
                    let configs = self.front.image().group_configs(group_id);
                    let own = configs.map(GroupConfigs::overrides).unwrap_or_default();
                    self.back.configure_group(group_id, own);
                }
                Change::Topic { topic_id, .. } | Change::Partition { topic_id, .. } => {
                    touched.insert(*topic_id);
                }
                Change::PartitionChange { topic_id, partition, .. }
                | Change::Replicas { topic_id, partition, .. } => {
                    decided.insert(TopicPartition { topic_id: *topic_id, partition: *partition });
                }
                Change::Broker { .. }
                | Change::Registration { .. }
                | Change::BrokerState { .. }
                | Change::RemoveBroker { .. } => are_brokers_changed = true,
                _ => {}
            }
        }
        let mut has_coordinators = false;
        // Of a copy that was the only one others may have been made since, and one of them may lead:
        // before that is known it leads no more than any replica, though it stays alone.
        let is_known = self.is_current || apply.is_current;
        for log in apply.adopted {
            has_coordinators |= log.name().as_str() == OFFSETS_TOPIC;
            let topic_partition = log.topic_partition();
            decided.insert(topic_partition);
            let is_replicated = !is_known || self.decision(topic_partition).is_some();
            let broker_epoch = is_replicated.then_some(self.identity().broker_epoch);
            self.back.adopt(now, log, broker_epoch);
        }
        if are_brokers_changed {
            self.back.set_brokers(now, &self.brokers());
            decided.extend(self.back.replicated());
        }
        if apply.is_current && !std::mem::replace(&mut self.is_current, true) {
            decided.extend(self.back.partitions().map(|(log, _)| log.topic_partition()));
        }
        if self.is_current {
            self.decide(now, &decided);
        }
        has_coordinators |= self.back.take_new_coordinators();
        self.note_topics(has_coordinators, &touched);
        reconfigured.dedup();
        for topic_id in reconfigured {
            if let Some(topic) = self.front.image().topic(topic_id) {
                let config = topic.effective(&self.front.config.live.topic_defaults);
                self.back.configure_topic(now, topic_id, &config);
            }
        }
        // What was deleted leaves before the change counts as applied: the next command may make
        // a topic of the same name, and its directory must not be the one that is taken away.
        self.unconfirmed = Some(apply.version);
        self.pump(now);
    }

    /// Says that a list of changes is applied, once all that it took away has left.
    fn confirm(&mut self) {
        if !self.back.is_letting_go() {
            let version = self.unconfirmed.take();
            self.outputs.extend(version.map(Output::Applied));
        }
    }

    /// What the controller has decided about a partition, where others have a part in it.
    fn decision(&self, topic_partition: TopicPartition) -> Option<LeaderAndIsr> {
        let TopicPartition { topic_id, partition } = topic_partition;
        let topic = self.front.image().topic(topic_id)?;
        let decided = topic.partitions.get(usize::try_from(partition.0).ok()?)?;
        let own = [self.front.config.node_id];
        let is_alone = *decided.replicas == own && !self.back.is_replicated(topic_partition);
        (!is_alone).then(|| leader_and_isr(decided))
    }

    /// Has the replicas here go by what was decided.
    fn decide(&mut self, now: Now, decided: &BTreeSet<TopicPartition>) {
        let own = self.identity();
        for &topic_partition in decided {
            let Some(decision) = self.decision(topic_partition) else {
                self.lead_alone(topic_partition);
                continue;
            };
            if decision.replicas.contains(&own.node_id) {
                self.back.set_replicas(now, topic_partition, decision, own.broker_epoch);
            } else {
                self.back.retire(topic_partition, ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
        }
        if !decided.is_empty() {
            self.back.share_throttle(now);
        }
    }

    /// The only copy of a partition is led from here; on a node of a site the controller says in
    /// which epoch.
    fn lead_alone(&mut self, topic_partition: TopicPartition) {
        let TopicPartition { topic_id, partition } = topic_partition;
        let topic = self.front.image().topic(topic_id);
        let decided = topic.and_then(|topic| topic.partitions.get(partition.0 as usize));
        let own = Some(self.front.config.node_id);
        if let Some(decided) = decided.filter(|decided| decided.leader == own) {
            let epoch = decided.leader_epoch;
            self.back.lead_alone(topic_partition, epoch);
        }
    }

    fn brokers(&self) -> Vec<BrokerState> {
        let brokers = self.front.image().brokers();
        let state = |(node_id, broker): (NodeId, &BrokerImage)| {
            let is_active = broker.is_active();
            BrokerState { node_id, broker_epoch: broker.broker_epoch, is_active }
        };
        brokers.map(state).collect()
    }

    /// This broker, as its leaders know it.
    fn identity(&self) -> Follower {
        let node_id = self.front.config.node_id;
        Follower { node_id, broker_epoch: self.front.image().broker_epoch(node_id) }
    }

    // Other brokers.

    fn frame(&mut self, now: Now, connection: ConnectionId, bytes: BytesMut) {
        if !self.links.has(connection) {
            return self.front.handle(now, connection, bytes);
        }
        let bytes = bytes.freeze();
        self.outputs.push_back(Output::Release(bytes.len() as u64));
        if self.links.take(connection, &bytes).is_err() {
            self.outputs.push_back(Output::Close(connection, CloseReason::Malformed));
        }
    }

    fn peer_mail(&mut self, now: Now, mail: PeerMail<D::File>) {
        match mail {
            PeerMail::Ask(ask) => self.back.peer_asks(now, ask),
            PeerMail::Answer(connection, answer, slice) => {
                self.links.answer(connection, answer, slice);
            }
            PeerMail::Gone(follower, route) => self.back.peer_gone(now, follower, route),
        }
    }

    fn route_link(&mut self, now: Now, output: LinkOutput<D::File>) {
        match output {
            LinkOutput::Dial(node_id) => {
                let broker = self.front.image().broker(node_id);
                let listener = broker.and_then(|broker| broker.listener("wire"));
                let address = listener.map(|(host, port)| format!("{host}:{port}"));
                self.outputs.push_back(Output::Dial(node_id, address));
            }
            LinkOutput::Send(connection, response) => {
                self.outputs.push_back(Output::Respond(connection, response));
            }
            LinkOutput::Close(connection) => {
                self.outputs.push_back(Output::Close(connection, CloseReason::Superseded));
            }
            LinkOutput::Lost(leader) => self.back.link_lost(now, leader),
            LinkOutput::Answered(answer, records) => self.back.peer_answers(now, answer, records),
            LinkOutput::Asked(connection, follower, fetches, progress) => {
                self.pass_on(now, connection, follower, (fetches, progress));
            }
            LinkOutput::Gone(connection, follower) => {
                let route = Route { shard: self.id, connection };
                for shard in (0..self.front.config.shard_count).map(ShardId) {
                    if shard == self.id {
                        self.back.peer_gone(now, follower, route);
                    } else {
                        let mail = PeerMail::Gone(follower, route);
                        self.outputs.push_back(Output::Peer(shard, mail));
                    }
                }
            }
        }
    }

    /// Gives what a follower asks to the shards that own the partitions.
    fn pass_on(
        &mut self,
        now: Now,
        connection: ConnectionId,
        follower: Follower,
        (fetches, progress): (Vec<FetchReplica>, Vec<ProgressReplica>),
    ) {
        let route = Route { shard: self.id, connection };
        let ask_of = || PeerAsk {
            route,
            follower: follower.node_id,
            broker_epoch: follower.broker_epoch,
            fetches: Vec::new(),
            progress: Vec::new(),
        };
        let shard_count = self.front.config.shard_count;
        let mut asks: BTreeMap<ShardId, PeerAsk> = BTreeMap::new();
        for fetch in fetches {
            let owner = ShardId::owner(fetch.topic_partition, shard_count);
            asks.entry(owner).or_insert_with(ask_of).fetches.push(fetch);
        }
        for told in progress {
            let owner = ShardId::owner(told.topic_partition, shard_count);
            asks.entry(owner).or_insert_with(ask_of).progress.push(told);
        }
        for (owner, ask) in asks {
            if owner == self.id {
                self.back.peer_asks(now, ask);
            } else {
                self.outputs.push_back(Output::Peer(owner, PeerMail::Ask(ask)));
            }
        }
    }

    /// Tells coordinators of the topics that changed, or of all where there are new coordinators.
    fn note_topics(&mut self, all: bool, touched: &BTreeSet<TopicId>) {
        let image = self.front.image();
        let of_touched = touched.iter().filter_map(|id| Some((*id, image.topic(*id)?)));
        let of_all = image.topics().filter(|_| all);
        for (topic_id, topic) in of_all.chain(of_touched) {
            self.back.note_topic(&topic.name, topic_id, topic.partitions.len() as i32);
        }
    }

    fn reconfigure(&mut self, now: Now, mut config: LiveConfig) {
        for (group_id, configs) in self.front.image().configured_groups() {
            config.groups.configure_group(group_id, configs.overrides());
        }
        for (topic_id, topic) in self.front.image().topics() {
            self.back.configure_topic(now, topic_id, &topic.effective(&config.topic_defaults));
        }
        self.back.reconfigure(now, &config);
        self.front.config.live = config;
    }

    /// Lets front and back talk until neither has anything left to say to the other.
    fn pump(&mut self, now: Now) {
        loop {
            if let Some(output) = self.back.poll() {
                self.route_back(now, output);
            } else if let Some(output) = self.front.poll() {
                self.route_front(now, output);
            } else if let Some(output) = self.next_of_links(now) {
                self.route_link(now, output);
            } else {
                return self.confirm();
            }
        }
    }

    /// What goes to other brokers leaves together, when nothing else is left to do.
    fn next_of_links(&mut self, now: Now) -> Option<LinkOutput<D::File>> {
        if self.links.is_quiet() {
            return None;
        }
        self.links.poll().or_else(|| {
            self.links.flush(now, self.identity());
            self.links.poll()
        })
    }

    fn route_back(&mut self, now: Now, output: BackOutput<D>) {
        match output {
            BackOutput::Persist(entry) => self.outputs.push_back(Output::Persist(entry)),
            BackOutput::Reply(mut reply) => {
                let owner = reply.request.shard;
                if let ReplyBody::Metrics(counts) = &mut reply.body {
                    let shard = self.front.metrics.with(now, std::mem::take(counts));
                    reply.body = ReplyBody::ShardMetrics(Box::new(shard));
                }
                if owner == self.id {
                    self.front.replied(now, self.id, reply);
                } else {
                    self.outputs.push_back(Output::Reply(owner, reply));
                }
            }
            BackOutput::Progress(request) if request.shard == self.id => {
                self.front.progressed(self.id, request);
            }
            BackOutput::Progress(request) => {
                self.outputs.push_back(Output::Notice(request.shard, Notice::Progress(request)));
            }
            BackOutput::Load(load) => self.outputs.push_back(Output::Load(load)),
            BackOutput::Scrub(job) => self.outputs.push_back(Output::Scrub(job)),
            BackOutput::Clean(round) => self.outputs.push_back(Output::Clean(round)),
            BackOutput::Note(note) => self.outputs.push_back(Output::Note(note)),
            BackOutput::NoteProducers(topic_partition, note) => {
                self.outputs.push_back(Output::NoteProducers(topic_partition, note));
            }
            BackOutput::Retired(log) => self.outputs.push_back(Output::Retired(log)),
            BackOutput::PeerFetch(leader, fetch) => self.links.fetch(leader, fetch),
            BackOutput::PeerProgress(leader, progress) => self.links.progress(leader, progress),
            BackOutput::PeerFetched(route, answer, slice) if route.shard == self.id => {
                self.links.answer(route.connection, answer, slice);
            }
            BackOutput::PeerFetched(Route { shard, connection }, answer, slice) => {
                let mail = PeerMail::Answer(connection, answer, slice);
                self.outputs.push_back(Output::Peer(shard, mail));
            }
            BackOutput::Alter(proposal) => self.outputs.push_back(Output::Alter(proposal)),
            BackOutput::Cut(topic_partition, cut) => {
                self.outputs.push_back(Output::Cut(topic_partition, cut));
            }
        }
    }

    fn route_front(&mut self, now: Now, output: FrontOutput<D::File>) {
        match output {
            FrontOutput::Ask { to, ask } if to == self.id => self.back.ask(now, ask),
            FrontOutput::Ask { to, ask } => self.outputs.push_back(Output::Ask(to, ask)),
            FrontOutput::Notice { to, notice: Notice::Unwatch(request) } if to == self.id => {
                self.back.unwatch(request);
            }
            FrontOutput::Notice { to, notice } => {
                self.outputs.push_back(Output::Notice(to, notice));
            }
            FrontOutput::Respond { connection, response } => {
                self.outputs.push_back(Output::Respond(connection, response));
            }
            FrontOutput::Answer { connection, answer } => {
                self.outputs.push_back(Output::Answer(connection, answer));
            }
            FrontOutput::Close { connection, reason } => {
                self.outputs.push_back(Output::Close(connection, reason));
            }
            FrontOutput::Control(ask) => self.outputs.push_back(Output::Control(ask)),
            FrontOutput::HandOver { connection, correlation_id, hello } => {
                self.outputs.push_back(Output::HandOver(connection, correlation_id, hello));
            }
            FrontOutput::Release { bytes } => self.outputs.push_back(Output::Release(bytes)),
        }
    }
}

fn leader_and_isr(decided: &PartitionImage) -> LeaderAndIsr {
    LeaderAndIsr {
        leader: decided.leader,
        leader_epoch: decided.leader_epoch,
        replicas: decided.replicas.to_vec(),
        isr: decided.isr.to_vec(),
        partition_epoch: decided.partition_epoch,
    }
}
