//! A shard's thread: its poller, its connections, its share of the broker's core.
//!
//! A turn is an agenda: inbox and mail, timers, sockets, writes, wait.
//!
//! **Invariant:** it never waits for a disk (design.md §3): syncs are the flusher's, cold bytes
//! the loader's, deletion the control thread's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use bytes::BytesMut;
use polling::{Event as Ready, Events, PollMode, Poller};

use crate::broker::front::Answer;
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::{Event, Output, Shard};
use crate::broker::{CloseReason, ConnectionId};
use crate::config::Protocol;
use crate::ids::NodeId;
use crate::journal::Entry;
use crate::journal::disk::{Disk, DiskFile};
use crate::kafka::{self, Door};
use crate::limits::{FLUSH_REQUESTS_MAX, FRAME_BYTES_BEFORE_HELLO_MAX, JOURNAL_COMMIT_BYTES_MAX};
use crate::log::Log;
use crate::runtime::cleaner::CleanWork;
use crate::runtime::connection::{Connection, FrameSizes, READ_BYTES, Sent, Taken};
use crate::runtime::control_loop::ControlEvent;
use crate::runtime::dialer;
use crate::runtime::flusher::entry_bytes;
use crate::runtime::ledger::Ledger;
use crate::runtime::loader::LoadJob;
use crate::runtime::mailbox::{Mail, Outbox, ShardMail};
use crate::runtime::peers::Peers;
use crate::runtime::scrubber::ScrubWork;
use crate::runtime::site::handshake::Credentials;
use crate::runtime::throttle::LogThrottle;
use crate::runtime::{ConnectionLimits, clock};
use crate::time::{Boot, Now};
use crate::wire;

/// Frames of one connection handled in a turn, so that others get theirs.
const FRAMES_PER_TURN: usize = 64;

/// Frames of all connections handled in a turn, save that each has one: a turn that takes long
/// keeps those waiting that ask for little.
const FRAMES_PER_TURN_TOGETHER: usize = 512;

/// Partitions whose held batches are written in a turn with nothing else to do: so few that what
/// comes meanwhile hardly waits.
const SETTLED_WHEN_IDLE: usize = 16;

/// The same in a turn that must write some.
const SETTLED_PER_TURN: usize = 64;

/// What is appended before the flusher hears of it, unless the turn ends before. Each commit costs
/// a sync or two, whatever is in it, so a turn's appends go together; and what gathers while they
/// are synced still fits a commit.
const HAND_OVER_BYTES: u64 = JOURNAL_COMMIT_BYTES_MAX as u64 / 2;

/// Turns after which the flusher hears of it at the latest: whoever appended little does not wait
/// for one who asks much.
const HAND_OVER_TURNS: u32 = 4;

/// How often connections are looked at for timeouts.
const SWEEP_MS: u64 = 500;

/// How soon a connection is looked at again that waits for memory or room in a mailbox.
const RETRY: Duration = Duration::from_millis(1);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// What the loader's work was for.
#[derive(Clone, Copy, Debug)]
pub enum Loaded {
    /// A read of the core.
    Read(u64),
    /// A response on a connection.
    Send(ConnectionId),
}

/// What reaches a shard other than by mail.
pub enum Input<D: Disk> {
    /// An event for the core.
    Event(Event<D>),
    /// The loader is done; whether the disk has lost what was wanted.
    Loaded(Loaded, bool),
    /// A client connected from there, to speak this.
    Connection(Protocol, TcpStream, SocketAddr),
    /// Another broker was dialed.
    Dialed(NodeId, Option<TcpStream>),
    /// Another broker connected, to follow.
    Peered(NodeId, TcpStream),
    /// Timeouts and sizes are others now.
    Limits(ConnectionLimits),
    /// Write all that is held, then answer whether nothing was lost.
    Settle(Sender<bool>),
    /// Read no more, answer what was asked, end.
    Stop,
}

/// The way into a shard for all threads but the other shards.
pub struct Inbox<D: Disk> {
    sender: Sender<Input<D>>,
    waker: Arc<Poller>,
    /// Connections it has, for the acceptor to choose by.
    pub connections: Arc<AtomicUsize>,
    /// Set when it ends: all that it held was written.
    has_settled: Arc<AtomicBool>,
}

impl<D: Disk> Clone for Inbox<D> {
    fn clone(&self) -> Inbox<D> {
        Inbox {
            sender: self.sender.clone(),
            waker: Arc::clone(&self.waker),
            connections: Arc::clone(&self.connections),
            has_settled: Arc::clone(&self.has_settled),
        }
    }
}

impl<D: Disk> Inbox<D> {
    /// The way in, from its parts.
    pub fn new(sender: Sender<Input<D>>, waker: Arc<Poller>) -> Inbox<D> {
        Inbox { sender, waker, connections: Arc::default(), has_settled: Arc::default() }
    }

    /// Gives it an input; one that has ended takes none.
    pub fn give(&self, input: Input<D>) {
        let _ = self.sender.send(input);
        let _ = self.waker.notify();
    }

    /// Gives it an event for its core.
    pub fn send(&self, event: Event<D>) {
        self.give(Input::Event(event));
    }

    /// Has it write all that it holds; waits for that, and answers whether it was done.
    pub fn settle(&self) -> bool {
        let (done, outcome) = channel();
        self.give(Input::Settle(done));
        // One that has ended does not answer, but said how it ended.
        outcome.recv().unwrap_or_else(|_| self.has_settled.load(Ordering::Acquire))
    }

    /// Tells it that the loader is done.
    pub fn send_loaded(&self, loaded: Loaded, is_lost: bool) {
        self.give(Input::Loaded(loaded, is_lost));
    }
}

/// What a shard's thread is made of.
pub struct ShardLoop<D: Disk + 'static>
where
    D::File: 'static,
{
    /// Which shard.
    pub id: ShardId,
    /// The core.
    pub shard: Shard<D>,
    /// Its poller.
    pub poller: Arc<Poller>,
    /// What reaches it.
    pub inputs: Receiver<Input<D>>,
    /// The way in, for the loader.
    pub inbox: Inbox<D>,
    /// To and from the other shards.
    pub mail: ShardMail<D::File>,
    /// To the flusher.
    pub flush_queue: Outbox<Entry<D::File>, FLUSH_REQUESTS_MAX>,
    /// Wakes the flusher.
    pub flusher: Thread,
    /// To the loader.
    pub loader: Sender<LoadJob<D>>,
    /// To the scrubber.
    pub scrubber: Sender<ScrubWork<D>>,
    /// To the cleaner.
    pub cleaner: Sender<CleanWork<D>>,
    /// What other brokers are shown, where there are any.
    pub credentials: Option<Arc<Credentials>>,
    /// To the control thread.
    pub control: Sender<ControlEvent<D>>,
    /// The memory account.
    pub ledger: &'static Ledger,
    /// `max.connections.per.ip`.
    pub peers: Arc<Peers>,
    /// Timeouts and sizes.
    pub limits: ConnectionLimits,
    /// Counts.
    pub metrics: &'static ProcessMetrics,
    /// Shards in all, and those of them that have nothing left to answer since they were stopped.
    pub shard_count: usize,
    /// See `shard_count`.
    pub idle_shards: Arc<AtomicUsize>,
}

impl<D> ShardLoop<D>
where
    D: Disk + Send + 'static,
    D::File: DiskFile + AsFd + Send + 'static,
{
    /// Starts the thread. It ends with the shard's logs.
    pub fn spawn(self) -> std::io::Result<JoinHandle<Vec<Log<D>>>> {
        let name = format!("shard-{}", self.id.0);
        thread::Builder::new().name(name).spawn(move || Turns::new(self).run())
    }
}

/// The thread's own state.
struct Turns<D: Disk + 'static>
where
    D::File: 'static,
{
    parts: ShardLoop<D>,
    connections: Vec<Option<Connection<D::File>>>,
    /// The doors of connections that came through one, by slot.
    doors: BTreeMap<usize, Door<D::File>>,
    free: Vec<usize>,
    generation: u32,
    /// Connections with something to do this turn.
    active: BTreeSet<usize>,
    /// Connections that wait for memory or for room in a mailbox.
    blocked: BTreeSet<usize>,
    /// What is for the flusher and not in its queue yet, and the bytes of that.
    appended: Vec<Entry<D::File>>,
    appended_bytes: u64,
    /// Turns since the flusher was last given something, or there was nothing to give.
    since_hand_over: u32,
    /// A connection had its share of the turn and may have more.
    has_more: bool,
    scratch: Vec<u8>,
    sweep_at: Boot,
    stop_by: Option<Boot>,
    /// Nothing happened since the last turn.
    is_quiet: bool,
    /// It was stopped, and all its requests are answered.
    is_idle: bool,
    /// What the core's finished answers hold, as the ledger knows it.
    waiting_bytes: u64,
    complaints: LogThrottle,
}

impl<D> Turns<D>
where
    D: Disk + Send + 'static,
    D::File: DiskFile + AsFd + Send + 'static,
{
    fn new(parts: ShardLoop<D>) -> Turns<D> {
        Turns {
            parts,
            connections: Vec::new(),
            doors: BTreeMap::new(),
            free: Vec::new(),
            generation: 0,
            active: BTreeSet::new(),
            blocked: BTreeSet::new(),
            appended: Vec::new(),
            appended_bytes: 0,
            since_hand_over: 0,
            has_more: false,
            scratch: Vec::with_capacity(READ_BYTES),
            sweep_at: Boot(0),
            stop_by: None,
            is_quiet: false,
            is_idle: false,
            waiting_bytes: 0,
            complaints: LogThrottle::default(),
        }
    }

    fn run(mut self) -> Vec<Log<D>> {
        let mut events = Events::new();
        loop {
            let now = clock::now();
            self.take_inputs(now);
            self.take_mail(now);
            if self.parts.shard.next_deadline() <= now.boot {
                self.parts.shard.tick(now);
                self.act();
            }
            self.read_all(now);
            self.since_hand_over += 1;
            if !self.has_more || HAND_OVER_TURNS <= self.since_hand_over {
                self.hand_over();
            }
            self.write_all(now.boot);
            if self.sweep_at <= now.boot {
                self.sweep(now.boot);
            }
            if self.may_end(now.boot) {
                return self.end();
            }
            if self.parts.shard.must_settle() {
                self.parts.shard.settle(SETTLED_PER_TURN);
            } else if self.is_quiet {
                self.parts.shard.settle(SETTLED_WHEN_IDLE);
            }
            self.wait(&mut events, now.boot);
        }
    }

    fn wait(&mut self, events: &mut Events, now: Boot) {
        // Whatever there is to come will take a while.
        if self.active.is_empty() {
            self.hand_over();
        }
        let is_congested = self.parts.mail.pump() | self.pump_flush_queue();
        let due = Duration::from_micros(self.parts.shard.next_deadline().us_since(now));
        let timeout = if !self.active.is_empty() {
            Duration::ZERO
        } else if is_congested || !self.blocked.is_empty() || self.stop_by.is_some() {
            RETRY.min(due)
        } else {
            WAIT_MAX.min(due)
        };
        events.clear();
        let timeout = if self.parts.shard.is_holding() { Duration::ZERO } else { timeout };
        if let Err(why) = self.parts.poller.wait(events, Some(timeout)) {
            log::error!("shard {}: the poller failed: {why}", self.parts.id.0);
        }
        self.is_quiet = events.is_empty() && self.active.is_empty();
        for event in events.iter() {
            let slot = event.key;
            let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
            connection.is_readable |= event.readable;
            connection.wants_turn |= event.readable;
            connection.is_writable |= event.writable;
            self.active.insert(slot);
        }
        self.active.append(&mut self.blocked);
    }

    /// Gives the flusher what was appended since the last time.
    fn hand_over(&mut self) {
        self.since_hand_over = 0;
        if self.appended.is_empty() {
            return;
        }
        for entry in self.appended.drain(..) {
            self.parts.flush_queue.send(entry);
        }
        self.appended_bytes = 0;
        self.parts.flusher.unpark();
    }

    fn pump_flush_queue(&mut self) -> bool {
        if self.parts.flush_queue.is_congested() {
            self.parts.flush_queue.pump();
            self.parts.flusher.unpark();
        }
        self.parts.flush_queue.is_congested()
    }

    // Inputs.

    fn take_inputs(&mut self, now: Now) {
        while let Ok(input) = self.parts.inputs.try_recv() {
            self.is_quiet = false;
            match input {
                Input::Event(event) => self.step(now, event),
                Input::Loaded(Loaded::Read(token), is_lost) => {
                    self.step(now, Event::Loaded { token, is_lost });
                }
                Input::Loaded(Loaded::Send(id), is_lost) => {
                    if let Some(connection) = self.connection(id) {
                        connection.is_loading = false;
                        self.active.insert(slot_of(id));
                        // What was promised cannot be sent.
                        if is_lost {
                            self.close(slot_of(id));
                        }
                    }
                }
                Input::Connection(protocol, stream, peer) => {
                    self.open(now, protocol, stream, peer);
                }
                Input::Dialed(node_id, stream) => {
                    let connection = stream.and_then(|stream| self.take_in(now, stream));
                    self.step(now, Event::Dialed(node_id, connection));
                }
                Input::Peered(node_id, stream) => {
                    if let Some(connection) = self.take_in(now, stream) {
                        self.step(now, Event::Peered(node_id, connection));
                    }
                }
                Input::Limits(limits) => self.parts.limits = limits,
                Input::Settle(done) => {
                    let _ = done.send(self.parts.shard.settle_all());
                }
                Input::Stop => {
                    self.stop_by = Some(now.boot.plus_ms(self.parts.limits.shutdown_timeout_ms));
                }
            }
        }
    }

    fn take_mail(&mut self, now: Now) {
        while let Some((from, mail)) = self.parts.mail.receive() {
            self.is_quiet = false;
            let from = ShardId(from as u16);
            match mail {
                Mail::Ask(ask) => self.step(now, Event::Ask(ask)),
                Mail::Reply(reply) => self.step(now, Event::Reply(from, reply)),
                Mail::Notice(notice) => self.step(now, Event::Notice(from, notice)),
                Mail::Peer(mail) => self.step(now, Event::Peer(mail)),
            }
        }
    }

    fn step(&mut self, now: Now, event: Event<D>) {
        self.parts.shard.step(now, event);
        self.act();
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        let ledger = self.parts.ledger;
        while let Some(output) = self.parts.shard.poll() {
            match output {
                Output::Persist(entry) => {
                    let bytes = entry_bytes(&entry);
                    ledger.hold_flusher(bytes);
                    self.appended_bytes += bytes;
                    self.appended.push(entry);
                }
                Output::Respond(id, response) => {
                    if let Some(connection) = self.connection(id) {
                        connection.queue(response);
                        connection.account(ledger);
                        self.active.insert(slot_of(id));
                    }
                }
                Output::Answer(id, answer) => self.answer(id, answer),
                Output::Close(id, reason) => self.begin_close(id, reason),
                Output::Release(bytes) => self.parts.ledger.release_frame(bytes),
                Output::Ask(to, ask) => self.parts.mail.send(usize::from(to.0), Mail::Ask(ask)),
                Output::Reply(to, reply) => {
                    self.parts.mail.send(usize::from(to.0), Mail::Reply(reply));
                }
                Output::Notice(to, notice) => {
                    self.parts.mail.send(usize::from(to.0), Mail::Notice(notice));
                }
                other => self.pass_on(other),
            }
        }
        if HAND_OVER_BYTES <= self.appended_bytes {
            self.hand_over();
        }
        let waiting_bytes = self.parts.shard.waiting_answer_bytes();
        if waiting_bytes != self.waiting_bytes {
            ledger.hold_responses(self.waiting_bytes, waiting_bytes);
            self.waiting_bytes = waiting_bytes;
        }
    }

    /// Work that others do.
    fn pass_on(&mut self, output: Output<D>) {
        let inbox = || self.parts.inbox.clone();
        match output {
            Output::Load(load) => {
                let done = Loaded::Read(load.token);
                self.load(load.file, load.position, load.bytes, done);
            }
            // Scrubber and cleaner end after the shards.
            Output::Scrub(job) => {
                let work = ScrubWork::Verify(job, inbox());
                drop(self.parts.scrubber.send(work));
            }
            Output::Clean(round) => {
                let work = CleanWork(round, inbox());
                drop(self.parts.cleaner.send(work));
            }
            Output::Note(note) => drop(self.parts.scrubber.send(ScrubWork::Note(note))),
            Output::NoteProducers(topic_partition, note) => {
                let work = ScrubWork::NoteProducers(topic_partition, note, inbox());
                drop(self.parts.scrubber.send(work));
            }
            // Control threads end after shards do, so these are heard.
            Output::Control(ask) => drop(self.parts.control.send(ControlEvent::Ask(ask))),
            Output::Applied(version) => {
                drop(self.parts.control.send(ControlEvent::Applied(version)));
            }
            Output::Retired(log) => {
                drop(self.parts.control.send(ControlEvent::Retired(log)));
            }
            Output::HandOver(id, correlation_id, hello) => {
                self.hand_over_connection(id, correlation_id, hello);
            }
            Output::Peer(to, mail) => {
                self.parts.mail.send(usize::from(to.0), Mail::Peer(mail));
            }
            Output::Dial(node_id, address) => {
                let shard = inbox();
                match &self.parts.credentials {
                    Some(known) => dialer::dial(Arc::clone(known), node_id, address, shard),
                    None => shard.give(Input::Dialed(node_id, None)),
                }
            }
            Output::Alter(proposal) => {
                let shard = self.parts.id;
                drop(self.parts.control.send(ControlEvent::Alter(shard, proposal)));
            }
            Output::Cut(topic_partition, cut) => {
                let work = ScrubWork::Cut(topic_partition, cut, inbox());
                drop(self.parts.scrubber.send(work));
            }
            Output::Persist(_)
            | Output::Respond(..)
            | Output::Answer(..)
            | Output::Close(..)
            | Output::Release(_)
            | Output::Ask(..)
            | Output::Reply(..)
            | Output::Notice(..) => unreachable!("the caller does these itself"),
        }
    }

    /// The core answers a door.
    fn answer(&mut self, id: ConnectionId, answer: Answer<D::File>) {
        let slot = slot_of(id);
        // A connection that is gone wants no answer; its slot may be another's.
        if self.connection(id).is_none() {
            return;
        }
        let Some(door) = self.doors.get_mut(&slot) else { return };
        let answered = door.answer(self.parts.shard.topics(), answer);
        self.flush_door(slot);
        if answered.is_err() {
            self.begin_close(id, CloseReason::Malformed);
        }
    }

    /// Queues what a door has ready.
    fn flush_door(&mut self, slot: usize) {
        let Some(door) = self.doors.get_mut(&slot) else { return };
        let Some(connection) = self.connections[slot].as_mut() else { return };
        while let Some(response) = door.poll() {
            connection.queue(response);
            self.active.insert(slot);
        }
        // Now and not when it is sent: a reader that is stuck lets nothing be sent.
        connection.account(self.parts.ledger);
    }

    /// A frame came in, whatever the protocol.
    fn take_frame(&mut self, now: Now, id: ConnectionId, bytes: BytesMut) {
        let slot = slot_of(id);
        let Some(door) = self.doors.get_mut(&slot) else {
            return self.step(now, Event::Frame { connection: id, bytes });
        };
        let frame_bytes = bytes.len() as u64;
        match door.take(self.parts.shard.topics(), bytes) {
            Ok(kafka::Taken::Ask(request)) => {
                self.step(now, Event::Request { connection: id, request, frame_bytes });
            }
            Ok(kafka::Taken::Done) => {
                self.parts.ledger.release_frame(frame_bytes);
                self.flush_door(slot);
            }
            Err(why) => {
                self.parts.ledger.release_frame(frame_bytes);
                self.begin_close(id, CloseReason::Kafka(why));
            }
        }
    }

    fn load(&self, file: D::File, position: u64, bytes: u64, done: Loaded) {
        let shard = self.parts.inbox.clone();
        let job = LoadJob { file, position, bytes, shard, done };
        // The loader ends after the shards.
        let _ = self.parts.loader.send(job);
    }

    // Connections.

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection<D::File>> {
        let connection = self.connections.get_mut(slot_of(id))?.as_mut()?;
        (connection.id == id).then_some(connection)
    }

    fn new_slot(&mut self) -> (ConnectionId, usize) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        (ConnectionId(u64::from(self.generation) << 32 | slot as u64), slot)
    }

    fn open(&mut self, now: Now, protocol: Protocol, stream: TcpStream, peer: SocketAddr) {
        let (id, slot) = self.new_slot();
        match self.register(id, slot, (stream, peer), now) {
            Ok((local_host, local_port)) => {
                // As Kafka writes addresses of clients.
                let peer_host = format!("/{}", peer.ip().to_canonical()).into();
                self.active.insert(slot);
                if protocol == Protocol::Kafka {
                    self.doors.insert(slot, Door::default());
                }
                let opened = Event::Opened {
                    connection: id,
                    local_host,
                    local_port,
                    peer_host,
                    has_door: protocol != Protocol::Wire,
                };
                self.step(now, opened);
            }
            Err(why) => {
                self.complaints.warn(now.boot, format_args!("a connection was lost: {why}"));
                self.free.push(slot);
                self.count_closed(peer);
            }
        }
    }

    /// A connection with another broker of the site: it is none of the clients'.
    fn take_in(&mut self, now: Now, stream: TcpStream) -> Option<ConnectionId> {
        let peer = stream.peer_addr().ok()?;
        let (id, slot) = self.new_slot();
        if let Err(why) = self.register(id, slot, (stream, peer), now) {
            self.complaints.warn(now.boot, format_args!("a link was lost: {why}"));
            self.free.push(slot);
            return None;
        }
        let link = self.connections[slot].as_mut().expect("registered just now");
        link.is_link = true;
        self.active.insert(slot);
        Some(id)
    }

    fn register(
        &mut self,
        id: ConnectionId,
        slot: usize,
        (stream, peer): (TcpStream, SocketAddr),
        now: Now,
    ) -> std::io::Result<(Box<str>, u16)> {
        let local = stream.local_addr()?;
        let connection = Connection::new(id, stream, peer, now.boot)?;
        #[expect(unsafe_code, reason = "the poller holds the descriptor without owning it")]
        // SAFETY: the socket is deleted from the poller before it is dropped, in `close`.
        unsafe {
            let interest = Ready::all(slot);
            self.parts.poller.add_with_mode(connection.stream(), interest, PollMode::Edge)?;
        }
        self.connections[slot] = Some(connection);
        // An IPv4 client of a listener on `::` knows nothing of IPv6.
        Ok((local.ip().to_canonical().to_string().into(), local.port()))
    }

    fn begin_close(&mut self, id: ConnectionId, reason: CloseReason) {
        let now = clock::boot();
        let Some(connection) = self.connection(id) else { return };
        connection.is_closing = true;
        let peer = connection.peer;
        self.active.insert(slot_of(id));
        self.complaints.warn(now, format_args!("{peer} is disconnected: {reason}"));
    }

    /// A node of the site knocks: the control thread goes on with its connection. Nothing is lost:
    /// such a node says nothing more before it is answered.
    fn hand_over_connection(&mut self, id: ConnectionId, correlation_id: u32, hello: Vec<u8>) {
        let Some(connection) = self.connection(id) else { return };
        if let Ok(stream) = connection.stream().try_clone() {
            let knocked = ControlEvent::Knocked(stream, correlation_id, hello);
            drop(self.parts.control.send(knocked));
        }
        self.close(slot_of(id));
    }

    fn close(&mut self, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        self.doors.remove(&slot);
        connection.discard(self.parts.ledger);
        // A socket that cannot be deleted was never added.
        let _ = self.parts.poller.delete(connection.stream());
        self.parts.ledger.release_frame(connection.reserved_bytes());
        self.free.push(slot);
        self.active.remove(&slot);
        self.blocked.remove(&slot);
        if !connection.is_link {
            self.count_closed(connection.peer);
        }
        self.step(clock::now(), Event::Closed(connection.id));
    }

    fn count_closed(&self, peer: SocketAddr) {
        self.parts.peers.leave(peer.ip());
        self.parts.inbox.connections.fetch_sub(1, Ordering::Relaxed);
        self.parts.metrics.connections_now.fetch_sub(1, Ordering::Relaxed);
    }

    fn read_all(&mut self, now: Now) {
        let slots: Vec<usize> = std::mem::take(&mut self.active).into_iter().collect();
        self.has_more = false;
        let share = (FRAMES_PER_TURN_TOGETHER / slots.len().max(1)).clamp(1, FRAMES_PER_TURN);
        for slot in slots {
            if self.connections[slot].is_some() {
                self.read_one(now, slot, share);
            }
        }
    }

    /// Handles the frames of one connection, and marks it for what it needs next.
    fn read_one(&mut self, now: Now, slot: usize, frames_max: usize) {
        self.active.insert(slot);
        for _ in 0..frames_max {
            let Some(connection) = self.connections[slot].as_mut() else { return };
            if connection.is_closing || self.stop_by.is_some() {
                return;
            }
            if connection.is_congested(self.parts.ledger) {
                if connection.is_crowded_out(self.parts.ledger) {
                    self.blocked.insert(slot);
                }
                return;
            }
            let id = connection.id;
            let is_door_full = self.doors.get(&slot).is_some_and(Door::is_full);
            if is_door_full
                || !self.parts.shard.accepts(id)
                || self.parts.flush_queue.is_congested()
            {
                self.blocked.insert(slot);
                return;
            }
            let bytes_max = match self.parts.shard.said_hello(id) {
                true => self.parts.limits.frame_bytes_max,
                false => FRAME_BYTES_BEFORE_HELLO_MAX,
            };
            let has_door = self.doors.contains_key(&slot);
            let is_link = connection.is_link;
            let is_produce: fn(&[u8]) -> bool = match has_door {
                true => kafka::is_produce,
                // On a link come batches, whatever their frame begins with.
                false if is_link => |_| true,
                false => wire::is_produce,
            };
            let sizes = FrameSizes { bytes_max, is_produce };
            let ledger = self.parts.ledger;
            match connection.take(ledger, sizes, &mut self.scratch, now.boot) {
                Taken::Frame(bytes) => self.take_frame(now, id, bytes),
                Taken::Drained => return,
                Taken::NoMemory => {
                    self.blocked.insert(slot);
                    return;
                }
                Taken::BadLength(bytes, bytes_max) => {
                    self.complain_of_length(now.boot, slot, bytes, bytes_max);
                    self.close(slot);
                    return;
                }
                Taken::Ended => {
                    self.close(slot);
                    return;
                }
            }
        }
        // More may be there: the next turn goes on.
        self.has_more = true;
    }

    fn complain_of_length(&mut self, now: Boot, slot: usize, bytes: u32, frame_max: usize) {
        let peer = self.connections[slot].as_ref().expect("it was read from").peer;
        let hint = match &bytes.to_be_bytes() {
            b"GET " | b"POST" | b"HEAD" | b"PUT " => ": this is HTTP, the port is not",
            [0x16, 0x03, ..] => ": this is TLS, the port is not",
            _ => "",
        };
        self.complaints.warn(
            now,
            format_args!("{peer}: a frame of {bytes} bytes, at most {frame_max} are read{hint}"),
        );
    }

    fn write_all(&mut self, now: Boot) {
        let slots: Vec<usize> = std::mem::take(&mut self.active).into_iter().collect();
        for slot in slots {
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            if connection.is_writable && !connection.is_loading && connection.has_output() {
                let sent = connection.send(now);
                connection.account(self.parts.ledger);
                match sent {
                    Sent::All | Sent::Full => {}
                    Sent::Cold(slice) => {
                        connection.is_loading = true;
                        let done = Loaded::Send(connection.id);
                        self.load(slice.file, slice.position, slice.bytes, done);
                    }
                    Sent::Broken => {
                        self.close(slot);
                        continue;
                    }
                }
            }
            self.settle(slot);
        }
    }

    /// Decides whether a connection has more to do at once, is over, or waits for an event.
    fn settle(&mut self, slot: usize) {
        let is_stopping = self.stop_by.is_some();
        let Some(connection) = self.connections[slot].as_ref() else { return };
        if connection.is_closing {
            if !connection.has_output() {
                self.close(slot);
            }
            return;
        }
        let may_read = !connection.is_congested(self.parts.ledger) && !is_stopping;
        if connection.wants_turn && may_read && !self.blocked.contains(&slot) {
            self.active.insert(slot);
        }
    }

    fn sweep(&mut self, now: Boot) {
        self.sweep_at = now.plus_ms(SWEEP_MS);
        let limits = self.parts.limits;
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_ref() else { continue };
            let id = connection.id;
            let dripping = connection
                .frame_began_at
                .is_some_and(|began| limits.frame_timeout_ms <= now.ms_since(began));
            let idle_ms = now.ms_since(connection.active_at);
            let greets_late =
                !self.parts.shard.said_hello(id) && limits.frame_timeout_ms <= idle_ms;
            let is_idle = limits.idle_max_ms <= idle_ms && !self.parts.shard.is_busy(id);
            // A peer that does not read its answers holds memory; it is idle too.
            let is_stuck = connection.has_output() && limits.idle_max_ms <= idle_ms;
            if dripping || greets_late || is_idle || is_stuck {
                self.close(slot);
            }
        }
    }

    // The end.

    /// A shard that is done waits for the others, because what they have still to answer may need
    /// it: a fetch that is parked there asks all shards once more before it ends.
    fn may_end(&mut self, now: Boot) -> bool {
        let Some(stop_by) = self.stop_by else { return false };
        let has_output = |c: &Connection<D::File>| c.has_output();
        let is_idle = self.parts.shard.pending_count() == 0
            && !self.connections.iter().flatten().any(has_output);
        if is_idle && !self.is_idle {
            self.is_idle = true;
            self.parts.idle_shards.fetch_add(1, Ordering::AcqRel);
        }
        self.parts.shard_count <= self.parts.idle_shards.load(Ordering::Acquire) || stop_by <= now
    }

    fn end(mut self) -> Vec<Log<D>> {
        for slot in 0..self.connections.len() {
            self.close(slot);
        }
        let has_settled = self.parts.shard.settle_all();
        self.parts.inbox.has_settled.store(has_settled, Ordering::Release);
        self.hand_over();
        while self.pump_flush_queue() {
            // What the flusher waits for may be this shard.
            for input in self.parts.inputs.try_iter() {
                if let Input::Settle(done) = input {
                    let _ = done.send(has_settled);
                }
            }
            thread::sleep(RETRY);
        }
        self.parts.flusher.unpark();
        self.parts.shard.into_logs().collect()
    }
}

fn slot_of(id: ConnectionId) -> usize {
    (id.0 & u64::from(u32::MAX)) as usize
}
