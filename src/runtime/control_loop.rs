//! The control thread: owns the control machine, watches the disk's free space.
//!
//! A busy shard never delays it, and it waits neither for a sync nor for directories: the flusher
//! does the one, [`Directories`] the other.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use bytes::Bytes;

use crate::broker::back::Flushed;
use crate::broker::control::{Control, ControlOutput};
use crate::broker::front::ControlAsk;
use crate::broker::mail::{RequestId, ShardId};
use crate::broker::making::Making;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::Event;
use crate::broker::site::{Altered, Said, Site, Worked};
use crate::config::Config;
use crate::controller::{BrokerKeys, Controller, ControllerConfig};
use crate::ids::{NodeId, Uuid};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{Log, LogError};
use crate::runtime::clock;
use crate::runtime::directories::Directories;
use crate::runtime::flusher::entry_bytes;
use crate::runtime::ledger::Ledger;
use crate::runtime::reload::{Dials, Reload};
use crate::runtime::settings::RunTime;
use crate::runtime::shard_loop::{Inbox, Input};
use crate::runtime::site::Worker;
use crate::runtime::site::attend::Attending;
use crate::runtime::site::handshake::HandshakeError;
use crate::runtime::site::links::{Links, Met};
use crate::runtime::site::manage::Managed;
use crate::time::{Boot, Now};
use crate::wire::ApiKey;
use crate::wire::peer::hello::{PeerIdentity, Purpose};
use crate::wire::replica::alter_partition::AlterReplicas;

/// How often free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// The same while old segments are given up: whoever writes to a full disk waits for each of them.
const SPACE_INTERVAL_TIGHT: Duration = Duration::from_millis(50);

/// What reaches the control thread.
pub enum ControlEvent<D: Disk> {
    /// A front asks.
    Ask(ControlAsk),
    /// A commit with metadata in it is durable.
    Flushed(Flushed),
    /// A shard replayed a change.
    Applied(u64),
    /// A shard let a deleted partition go.
    Retired(Box<Log<D>>),
    /// A leader proposes other in-sync replicas.
    Alter(ShardId, AlterReplicas),
    /// New logs are made and durable, or could not be.
    Prepared(Making<D>, Result<(), LogError>),
    /// The log dir failed.
    StorageFailed,
    /// SIGHUP: another configuration was read.
    Reconfigure(Box<Config>),
    /// Work that waited for the disk is done.
    Worked(Worked),
    /// A peer knocked at a listener; its hello, and the number to answer it by.
    Knocked(TcpStream, u32, Vec<u8>),
    /// The handshake with it is over.
    Answered(Result<(TcpStream, PeerIdentity, Purpose), HandshakeError>),
    /// An address was dialled.
    Dialled(String, Result<(TcpStream, PeerIdentity), HandshakeError>),
    /// A frame came by a link of this number.
    Heard(NodeId, u64, Bytes),
    /// A link broke.
    Unlinked(NodeId, u64),
    /// A peer whose link broke refuses connections.
    Vanished(NodeId),
    /// A wish about the site was carried out, or refused.
    Managed(RequestId, Managed),
    /// The log dir says which site it belongs to, or could not be made to.
    Settled(Result<Uuid, std::io::Error>),
    /// Ask the site for leave to stop; the flag is set when it is given.
    Leave(Arc<AtomicBool>),
    /// End, and give the metadata log back.
    Stop,
}

/// The machine that owns the cluster's metadata here.
pub enum Machine<D: Disk> {
    /// Of a node that is alone.
    Alone(Box<Control<D>>),
    /// Of a node of a site, with its links.
    Member(Box<Site<D>>, Links<D>, Worker<D>),
}

impl<D: Disk> Machine<D> {
    fn controller(&self) -> &Controller {
        match self {
            Machine::Alone(control) => control.controller(),
            Machine::Member(site, _, _) => site.controller(),
        }
    }

    fn set_broker_keys(&mut self, keys: Box<dyn BrokerKeys>) {
        match self {
            Machine::Alone(control) => control.set_broker_keys(keys),
            Machine::Member(site, _, _) => site.set_broker_keys(keys),
        }
    }

    fn reconfigure(&mut self, config: ControllerConfig) {
        match self {
            Machine::Alone(control) => control.reconfigure(config),
            Machine::Member(site, _, _) => site.reconfigure(config),
        }
    }
}

/// When appends stop for want of space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpacePolicy {
    /// Appends stop when less is free.
    pub reserve_bytes: u64,
    /// `disk.full.policy = "delete-oldest"`.
    pub delete_oldest: bool,
}

/// What the control thread is made of.
pub struct ControlLoop<D: Disk> {
    /// The machine.
    pub machine: Machine<D>,
    /// For free space, and what a stop writes.
    pub disk: D,
    /// The log dir.
    pub log_dir: PathBuf,
    /// What reaches it.
    pub events: Receiver<ControlEvent<D>>,
    /// The same, for its helpers.
    pub sender: Sender<ControlEvent<D>>,
    /// To the flusher.
    pub flusher_queue: Sender<Entry<D::File>>,
    /// Wakes the flusher.
    pub flusher: Thread,
    /// To each shard.
    pub shards: Vec<Inbox<D>>,
    /// About a full disk.
    pub space: SpacePolicy,
    /// What the broker runs with.
    pub run_time: RunTime,
    /// Where whoever works reads some of it.
    pub dials: Arc<Dials>,
    /// The memory account.
    pub ledger: &'static Ledger,
    /// Counts.
    pub metrics: &'static ProcessMetrics,
    /// What is under way for the sake of other nodes.
    pub attending: Attending,
}

impl<D> ControlLoop<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// Starts the thread. It ends with the metadata log.
    pub fn spawn(self) -> std::io::Result<JoinHandle<Log<D>>> {
        thread::Builder::new().name("control".into()).spawn(move || self.run())
    }

    fn run(mut self) -> Log<D> {
        let mut directories =
            Directories::new(self.disk.clone(), self.log_dir.clone(), self.sender.clone());
        let mut has_space = true;
        let mut space_at = Boot(0);
        let mut interval = SPACE_INTERVAL;
        let mut leaving: Option<Arc<AtomicBool>> = None;
        loop {
            let due = Duration::from_micros(self.next_deadline().us_since(clock::boot()));
            let event = self.events.recv_timeout(interval.min(due));
            let now = clock::now();
            match event {
                Ok(ControlEvent::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    directories.end();
                    return self.end();
                }
                Ok(ControlEvent::Leave(given)) => {
                    self.leave(now);
                    leaving = Some(given);
                }
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tick(clock::now());
            self.act(&mut directories);
            if let Some(given) = leaving.as_ref().filter(|_| self.may_stop()) {
                given.store(true, Ordering::Release);
            }
            if space_at <= now.boot {
                (has_space, interval) = self.watch_space(has_space);
                space_at = now.boot.plus_ms(interval.as_millis() as u64);
            }
        }
    }

    /// The metadata log, once what is kept beside it is durable.
    fn end(self) -> Log<D> {
        match self.machine {
            Machine::Alone(control) => control.into_log(),
            Machine::Member(site, _, worker) => {
                worker.end();
                let (log, keep) = site.into_log();
                if let Err(why) = keep.run(&self.disk, &self.log_dir) {
                    log::warn!("how far the quorum has come could not be written down: {why}");
                }
                log
            }
        }
    }

    fn next_deadline(&self) -> Boot {
        match &self.machine {
            Machine::Alone(_) => Boot::NEVER,
            Machine::Member(site, _, _) => site.next_deadline(),
        }
    }

    fn tick(&mut self, now: Now) {
        if let Machine::Member(site, _, _) = &mut self.machine {
            if site.next_deadline() <= now.boot {
                site.tick(now);
                self.attend(now);
            }
        }
    }

    fn leave(&mut self, now: Now) {
        if let Machine::Member(site, _, _) = &mut self.machine {
            site.leave(now);
        }
    }

    fn may_stop(&self) -> bool {
        match &self.machine {
            Machine::Alone(_) => true,
            Machine::Member(site, _, _) => site.may_stop(),
        }
    }

    fn take(&mut self, event: ControlEvent<D>) {
        match (&mut self.machine, event) {
            (machine, ControlEvent::Reconfigure(config)) => {
                self.run_time.replace(*config);
                machine.set_broker_keys(self.run_time.keys());
                self.configure();
            }
            (_, ControlEvent::Ask(ask)) if ask.api == ApiKey::ManageSite => self.manage(&ask),
            (_, ControlEvent::Managed(request, managed)) => {
                self.attending.is_busy = false;
                self.managed(request, managed);
            }
            (_, ControlEvent::Settled(settled)) => {
                self.attending.is_busy = false;
                match settled {
                    Ok(cluster_id) => {
                        (self.attending.own.cluster_id, self.attending.own.founds) =
                            (cluster_id, false);
                    }
                    Err(why) => log::error!("{}: {why}", self.attending.own.dir.display()),
                }
            }
            (Machine::Member(site, links, _), ControlEvent::Answered(outcome)) => {
                match links.answered(outcome) {
                    Some(Met::Member(peer)) => site.linked(clock::now(), peer),
                    Some(Met::Follower(node_id, stream)) => {
                        let connections =
                            |shard: &&Inbox<D>| shard.connections.load(Ordering::Relaxed);
                        let shard = self.shards.iter().min_by_key(connections);
                        shard.expect("there is one").give(Input::Peered(node_id, stream));
                    }
                    Some(Met::Board(node_id)) => {
                        log::info!("node {node_id} was let in by its code");
                    }
                    None => {}
                }
            }
            (Machine::Alone(control), event) => take_alone(control, event),
            (Machine::Member(site, links, _), event) => take_as_member(site, links, event),
        }
    }

    fn act(&mut self, directories: &mut Directories<D>) {
        loop {
            let output = match &mut self.machine {
                Machine::Alone(control) => control.poll(),
                Machine::Member(site, _, _) => site.poll(),
            };
            let Some(output) = output else { return };
            match output {
                ControlOutput::Prepare(making) => directories.make(making),
                ControlOutput::Depart => self.depart(),
                ControlOutput::Persist(entry) => {
                    self.ledger.hold_flusher(entry_bytes(&entry));
                    // A flusher that is gone has told of its failure already.
                    let _ = self.flusher_queue.send(entry);
                    self.flusher.unpark();
                }
                ControlOutput::Apply(shard, apply) => {
                    self.shards[usize::from(shard.0)].send(Event::Apply(apply));
                }
                ControlOutput::Configure => self.configure(),
                ControlOutput::Inform => {
                    self.shards.iter().for_each(|shard| shard.send(Event::Informed));
                }
                ControlOutput::Answer(request, body) => {
                    let shard = &self.shards[usize::from(request.shard.0)];
                    shard.send(Event::Controlled(request, body));
                }
                ControlOutput::Remove(log) => directories.remove(log),
                ControlOutput::Work(work) => {
                    if let Machine::Member(_, _, worker) = &self.machine {
                        worker.give(work);
                    }
                }
                ControlOutput::Altered(shard, altered) => {
                    let Altered { topic_partition, partition_epoch, outcome } = altered;
                    let event = Event::Altered { topic_partition, partition_epoch, outcome };
                    self.shards[usize::from(shard.0)].send(event);
                }
                ControlOutput::Send(to, said) => {
                    if let Machine::Member(_, links, _) = &mut self.machine {
                        links.send(to, said.encode());
                    }
                }
            }
        }
    }

    /// Hands out what is in effect now, to everybody who goes by it.
    fn configure(&mut self) {
        let (config, reload) = self.run_time.in_effect(self.machine.controller().image());
        let Reload { live, limits, controller, space, dials } = reload;
        for inbox in &self.shards {
            inbox.give(Input::Limits(limits));
            inbox.send(Event::Reconfigure(Box::new(live.clone())));
        }
        self.run_time.warn_of_connections(&config);
        self.dials.set(dials);
        self.machine.reconfigure(controller);
        self.space = space;
        log::set_max_level(config.log_level);
    }

    /// Answers whether appends have room, and when to look again.
    fn watch_space(&self, had_space: bool) -> (bool, Duration) {
        let Ok(space) = self.disk.space(&self.log_dir) else { return (had_space, SPACE_INTERVAL) };
        self.metrics.disk_free_bytes_now.store(space.free_bytes, Ordering::Relaxed);
        self.metrics.disk_total_bytes_now.store(space.total_bytes, Ordering::Relaxed);
        let has_space = self.space.reserve_bytes <= space.free_bytes;
        if has_space != had_space {
            self.metrics.disk_full_now.store(u64::from(!has_space), Ordering::Relaxed);
            if has_space {
                log::info!("the disk has room again: appends are taken");
            } else {
                log::error!(
                    "the disk has {} bytes left, fewer than the reserve of {}: appends are refused",
                    space.free_bytes,
                    self.space.reserve_bytes
                );
            }
            for shard in &self.shards {
                shard.send(Event::Space(has_space));
            }
        }
        // Room is made a little early, so that a board that runs full keeps on running.
        if self.space.delete_oldest && space.free_bytes < self.space.reserve_bytes * 2 {
            for shard in &self.shards {
                shard.send(Event::GiveUpOldest);
            }
            return (has_space, SPACE_INTERVAL_TIGHT);
        }
        (has_space, SPACE_INTERVAL)
    }
}

fn take_alone<D: Disk>(control: &mut Control<D>, event: ControlEvent<D>) {
    let now = clock::now();
    match event {
        ControlEvent::Ask(ask) => control.ask(now, ask),
        ControlEvent::Flushed(flushed) => control.flushed(now, &flushed),
        ControlEvent::Applied(version) => control.applied(now, version),
        ControlEvent::Retired(log) => control.retired(log),
        ControlEvent::Prepared(making, made) => control.prepared(now, making, made),
        ControlEvent::StorageFailed => control.storage_failed(now),
        // A node that is alone has no peers: whoever knocks is not answered.
        ControlEvent::Reconfigure(..)
        | ControlEvent::Worked(_)
        | ControlEvent::Knocked(..)
        | ControlEvent::Answered(_)
        | ControlEvent::Dialled(..)
        | ControlEvent::Heard(..)
        | ControlEvent::Unlinked(..)
        | ControlEvent::Vanished(_)
        | ControlEvent::Alter(..)
        | ControlEvent::Managed(..)
        | ControlEvent::Settled(_)
        | ControlEvent::Leave(_)
        | ControlEvent::Stop => {}
    }
}

fn take_as_member<D>(site: &mut Site<D>, links: &mut Links<D>, event: ControlEvent<D>)
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    let now = clock::now();
    match event {
        ControlEvent::Ask(ask) => site.ask(now, ask),
        ControlEvent::Flushed(flushed) => site.flushed(now, &flushed),
        ControlEvent::Applied(version) => site.applied(now, version),
        ControlEvent::Retired(log) => site.retired(log),
        ControlEvent::Prepared(making, made) => site.prepared(now, making, made),
        ControlEvent::StorageFailed => site.storage_failed(now),
        ControlEvent::Worked(worked) => site.worked(now, worked),
        ControlEvent::Knocked(stream, number, hello) => links.answer(stream, number, hello),
        ControlEvent::Alter(shard, proposal) => site.alter(now, shard, proposal),
        ControlEvent::Dialled(address, outcome) => {
            let is_gone = matches!(&outcome, Err(why) if why.is_refused());
            if let Some(peer) = links.dialled(&address, outcome) {
                site.linked(now, peer);
            } else if is_gone {
                if let Some(node_id) = links.node_at(&address).filter(|id| links.vanished(*id)) {
                    site.vanished(now, node_id);
                }
            }
        }
        ControlEvent::Heard(node_id, serial, frame) => {
            if links.is_current(node_id, serial) {
                match Said::decode(&frame) {
                    Ok(said) => site.heard(now, node_id, said),
                    Err(why) => log::warn!("a frame of node {node_id} is not read: {why}"),
                }
            }
        }
        ControlEvent::Unlinked(node_id, serial) => {
            if links.unlinked(node_id, serial) {
                site.unlinked(now, node_id);
            }
        }
        ControlEvent::Vanished(node_id) => {
            if links.vanished(node_id) {
                site.vanished(now, node_id);
            }
        }
        ControlEvent::Answered(_)
        | ControlEvent::Reconfigure(..)
        | ControlEvent::Managed(..)
        | ControlEvent::Settled(_)
        | ControlEvent::Leave(_)
        | ControlEvent::Stop => {}
    }
}
