//! A shard's thread: its poller, its connections, its share of the broker's core.
//!
//! A turn is an agenda: inbox and mail, sockets, timers, writes, wait.
//!
//! **Invariant:** it never waits for a disk (design.md §3): syncs are the flusher's, cold bytes
//! the loader's, deletion the control thread's.

mod inbox;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use bytes::BytesMut;
use polling::{Events, Poller};

use crate::broker::front::Answer;
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::{Event, Output, Shard};
use crate::broker::{CloseReason, ConnectionId};
use crate::journal::Entry;
use crate::journal::disk::{Disk, DiskFile};
use crate::kafka::{self, Door};
use crate::limits::{FLUSH_REQUESTS_MAX, JOURNAL_COMMIT_BYTES_MAX};
use crate::log::Log;
use crate::runtime::cleaner::CleanWork;
use crate::runtime::connection::{Connection, READ_BYTES};
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

pub use inbox::{Inbox, Input, Loaded};

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

/// How soon a connection is looked at again that waits for memory or room in a mailbox.
const RETRY: Duration = Duration::from_millis(1);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_millis(500);

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
            self.read_all(now);
            // After the reads: followers get what they brought in one answer.
            if self.parts.shard.next_deadline() <= now.boot {
                self.parts.shard.tick(now);
                self.act();
            }
            self.write_ahead(now.boot);
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
