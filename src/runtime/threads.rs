//! The threads of a broker, and the queues between them.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, Thread};

use polling::Poller;

use crate::broker::BrokerConfig;
use crate::broker::control::Control;
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::{Apply, Event, Shard};
use crate::broker::site::Site;
use crate::config::{Config, Protocol};
use crate::controller::image::Image;
use crate::journal::{Entry, Journal};
use crate::limits::{FLUSH_REQUESTS_MAX, PRODUCER_STATE_BYTES, PRODUCERS_SHARE_OF_MEMORY};
use crate::log::Log;
use crate::replica::ReplicaConfig;
use crate::runtime::accept::Acceptor;
use crate::runtime::boot::{File, Sizes};
use crate::runtime::cleaner::{self, CleanWork};
use crate::runtime::control_loop::{ControlEvent, ControlLoop, Machine};
use crate::runtime::disk::FileDisk;
use crate::runtime::flusher::{FlushQueue, Flusher};
use crate::runtime::handles::Handles;
use crate::runtime::ledger::Ledger;
use crate::runtime::loader::{self, LoadJob};
use crate::runtime::mailbox::{self, Outbox, ShardMail};
use crate::runtime::peers::Peers;
use crate::runtime::reload::{Dials, Reload};
use crate::runtime::scrubber::{self, ScrubWork};
use crate::runtime::settings::RunTime;
use crate::runtime::shard_loop::{Inbox, Input, ShardLoop};
use crate::runtime::site::attend::Attending;
use crate::runtime::site::handshake::Credentials;
use crate::runtime::site::links::{Links, Target};
use crate::runtime::site::manage::Own;
use crate::runtime::site::spawn_worker;
use crate::runtime::{Outside, StartError};
use crate::time::Now;
use crate::wire::peer::hello::BROKER;

/// Everything that runs.
pub(super) struct Wiring {
    pub(super) acceptor: JoinHandle<()>,
    pub(super) acceptor_poller: Arc<Poller>,
    pub(super) acceptor_stop: Arc<AtomicBool>,
    pub(super) shards: Vec<(Inbox<FileDisk>, JoinHandle<Vec<Log<FileDisk>>>)>,
    pub(super) control: JoinHandle<Log<FileDisk>>,
    pub(super) control_events: Sender<ControlEvent<FileDisk>>,
    pub(super) flusher: JoinHandle<Journal<FileDisk>>,
    pub(super) flusher_stop: Arc<AtomicBool>,
    pub(super) loader: JoinHandle<()>,
    pub(super) scrubber: JoinHandle<()>,
    pub(super) cleaner: JoinHandle<()>,
}

/// What the threads are started with.
pub(super) struct Threads<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// What it leaves to the machine.
    pub(super) sizes: Sizes,
    /// What of it may change later.
    pub(super) reload: Reload,
    /// The log dir.
    pub(super) dir: &'a Path,
    /// How many files connections and logs may keep open.
    pub(super) handles: Handles,
    /// Counts.
    pub(super) metrics: &'static ProcessMetrics,
    /// For what the shards draw at random.
    pub(super) seed: u64,
    /// The present.
    pub(super) now: Now,
    /// What outlives a restart within the process.
    pub(super) outside: &'a Outside,
    /// What the node says of itself when it founds or joins a site.
    pub(super) own: Own,
}

/// Who decides about the metadata.
pub(super) enum Governor {
    /// This node, alone.
    Alone(Box<Control<FileDisk>>),
    /// The site that it belongs to.
    Member(Box<Site<FileDisk>>, Membership),
}

/// What a node of a site needs to meet the others.
pub(super) struct Membership {
    /// What they all know.
    pub(super) secret: Vec<u8>,
    /// Where they are.
    pub(super) targets: Vec<Target>,
}

impl Governor {
    fn machine(
        self,
        dir: &Path,
        events: &Sender<ControlEvent<FileDisk>>,
        outside: &Outside,
    ) -> Result<(Machine<FileDisk>, Option<Arc<Credentials>>), StartError> {
        Ok(match self {
            Governor::Alone(control) => (Machine::Alone(control), None),
            Governor::Member(site, Membership { secret, targets }) => {
                let credentials = Arc::new(Credentials::new(
                    secret,
                    site.identity(),
                    Arc::clone(&outside.pairing),
                ));
                let links = Links::new(Arc::clone(&credentials), targets, events.clone());
                let works = spawn_worker(FileDisk::new(), dir.to_owned(), events.clone())?;
                (Machine::Member(site, links, works), Some(credentials))
            }
        })
    }
}

/// One shard's ends of all its queues.
struct Lane {
    poller: Arc<Poller>,
    inbox: Inbox<FileDisk>,
    inputs: Receiver<Input<FileDisk>>,
    mail: ShardMail<File>,
    flush_queue: Outbox<Entry<File>, FLUSH_REQUESTS_MAX>,
}

/// What the flusher reads from, and what ends it.
type FlusherEnds = (Vec<FlushQueue<File>>, Receiver<Entry<File>>, Arc<AtomicBool>);

/// What every shard's thread shares with the others.
struct Shared {
    flusher: Thread,
    loader: Sender<LoadJob<FileDisk>>,
    scrubber: Sender<ScrubWork<FileDisk>>,
    cleaner: Sender<CleanWork<FileDisk>>,
    credentials: Option<Arc<Credentials>>,
    control: Sender<ControlEvent<FileDisk>>,
    ledger: &'static Ledger,
    peers: Arc<Peers>,
}

impl Threads<'_> {
    /// Starts everything; the listeners answer from now on.
    pub(super) fn spawn(
        &self,
        governor: Governor,
        journal: Journal<FileDisk>,
        logs: Vec<Log<FileDisk>>,
        image: &Image,
        (listeners, run_time): (Vec<(Protocol, TcpListener)>, RunTime),
    ) -> Result<Wiring, StartError> {
        let (lanes, queues) = lanes(usize::from(self.sizes.shards))?;
        let inboxes: Vec<Inbox<FileDisk>> = lanes.iter().map(|lane| lane.inbox.clone()).collect();
        let ledger: &_ = Box::leak(Ledger::new(self.sizes.memory_limit, self.metrics).into());
        let dials = Arc::new(Dials::of(self.reload.dials));
        let (control_events, events) = channel();
        let (flusher_queue, control_queue) = channel();
        let flusher_stop = Arc::default();
        let ends = (queues, control_queue, Arc::clone(&flusher_stop));
        let flusher =
            self.spawn_flusher(journal, ends, &inboxes, &control_events, &dials, ledger)?;
        let has_peers = matches!(governor, Governor::Member(..));
        let (machine, credentials) = governor.machine(self.dir, &control_events, self.outside)?;
        let control = ControlLoop {
            machine,
            disk: FileDisk::new(),
            log_dir: self.dir.to_owned(),
            events,
            sender: control_events.clone(),
            flusher_queue,
            flusher: flusher.thread().clone(),
            shards: inboxes.clone(),
            space: self.reload.space,
            run_time,
            dials: Arc::clone(&dials),
            ledger,
            metrics: self.metrics,
            attending: Attending::new(self.outside, &self.own),
        }
        .spawn()?;
        let (load_jobs, loader) = loader::spawn()?;
        let (scrub_works, scrubber) = scrubber::spawn(Arc::clone(&dials), self.metrics)?;
        let (clean_works, cleaner) = cleaner::spawn(Arc::clone(&dials), ledger, self.metrics)?;
        Self::hand_out(&inboxes, logs, image, !has_peers);
        let peers = Arc::new(Peers::default());
        let shared = Shared {
            flusher: flusher.thread().clone(),
            loader: load_jobs,
            scrubber: scrub_works,
            cleaner: clean_works,
            credentials,
            control: control_events.clone(),
            ledger,
            peers: Arc::clone(&peers),
        };
        let shards = self.spawn_shards(lanes, &shared, has_peers)?;
        let (acceptor, acceptor_poller, acceptor_stop) =
            self.spawn_acceptor(listeners, inboxes, peers, Arc::clone(&dials))?;
        Ok(Wiring {
            acceptor,
            acceptor_poller,
            acceptor_stop,
            shards,
            control,
            control_events,
            flusher,
            flusher_stop,
            loader,
            scrubber,
            cleaner,
        })
    }

    fn spawn_flusher(
        &self,
        journal: Journal<FileDisk>,
        (queues, control_queue, stop): FlusherEnds,
        shards: &[Inbox<FileDisk>],
        control: &Sender<ControlEvent<FileDisk>>,
        dials: &Arc<Dials>,
        ledger: &'static Ledger,
    ) -> Result<JoinHandle<Journal<FileDisk>>, StartError> {
        let flusher = Flusher {
            journal,
            queues,
            control_queue,
            shards: shards.to_vec(),
            control: control.clone(),
            dials: Arc::clone(dials),
            ledger,
            metrics: self.metrics,
            stop,
        };
        Ok(flusher.spawn()?)
    }

    fn spawn_shards(
        &self,
        lanes: Vec<Lane>,
        shared: &Shared,
        has_peers: bool,
    ) -> Result<Vec<(Inbox<FileDisk>, JoinHandle<Vec<Log<FileDisk>>>)>, StartError> {
        let mut shards = Vec::with_capacity(lanes.len());
        let (shard_count, idle_shards) = (lanes.len(), Arc::new(AtomicUsize::new(0)));
        for (number, lane) in lanes.into_iter().enumerate() {
            let id = ShardId(number as u16);
            let inbox = lane.inbox.clone();
            let thread = ShardLoop {
                id,
                shard: Shard::new(self.now, id, self.broker_config(shared.ledger, has_peers)),
                poller: lane.poller,
                inputs: lane.inputs,
                inbox: lane.inbox,
                mail: lane.mail,
                flush_queue: lane.flush_queue,
                flusher: shared.flusher.clone(),
                loader: shared.loader.clone(),
                scrubber: shared.scrubber.clone(),
                cleaner: shared.cleaner.clone(),
                credentials: shared.credentials.clone(),
                control: shared.control.clone(),
                ledger: shared.ledger,
                peers: Arc::clone(&shared.peers),
                limits: self.reload.limits,
                metrics: self.metrics,
                shard_count,
                idle_shards: Arc::clone(&idle_shards),
            }
            .spawn()?;
            shards.push((inbox, thread));
        }
        Ok(shards)
    }

    fn spawn_acceptor(
        &self,
        listeners: Vec<(Protocol, TcpListener)>,
        shards: Vec<Inbox<FileDisk>>,
        peers: Arc<Peers>,
        dials: Arc<Dials>,
    ) -> Result<(JoinHandle<()>, Arc<Poller>, Arc<AtomicBool>), StartError> {
        let poller = Arc::new(Poller::new()?);
        let stop = Arc::default();
        let thread = Acceptor {
            listeners,
            poller: Arc::clone(&poller),
            shards,
            dials,
            peers,
            metrics: self.metrics,
            stop: Arc::clone(&stop),
        }
        .spawn()?;
        Ok((thread, poller, stop))
    }

    /// Gives every shard the metadata and its partitions, as the first thing in its inbox.
    fn hand_out(
        inboxes: &[Inbox<FileDisk>],
        logs: Vec<Log<FileDisk>>,
        image: &Image,
        is_current: bool,
    ) {
        let mut shares: Vec<Vec<Log<FileDisk>>> = Vec::new();
        shares.resize_with(inboxes.len(), Vec::new);
        for log in logs {
            let owner = ShardId::owner(log.topic_partition(), inboxes.len() as u16);
            shares[usize::from(owner.0)].push(log);
        }
        for (inbox, adopted) in inboxes.iter().zip(shares) {
            let changes = image.as_changes();
            // Version 0 is nobody's: the control machine waits for no confirmation of it.
            inbox.send(Event::Apply(Apply { version: 0, changes, adopted, is_current }));
        }
    }

    fn broker_config(&self, ledger: &'static Ledger, has_peers: bool) -> BrokerConfig {
        let frame_bytes_max = self.reload.limits.frame_bytes_max;
        BrokerConfig {
            node_id: self.config.broker_id,
            shard_count: self.sizes.shards,
            has_peers,
            is_informed: !has_peers,
            is_broker: self.own.roles & BROKER != 0,
            frame_bytes_max: frame_bytes_max as u32,
            fetch_bytes_max: (frame_bytes_max as u32).saturating_mul(4),
            handles_max: self.handles.partitions_max / usize::from(self.sizes.shards),
            producers_max: (self.sizes.memory_limit
                / PRODUCERS_SHARE_OF_MEMORY
                / PRODUCER_STATE_BYTES
                / u64::from(self.sizes.shards)) as usize,
            process: self.metrics,
            memory: ledger,
            seed: self.seed,
            replica: ReplicaConfig {
                lag_time_max_ms: self.config.replica_lag_time_max_ms,
                ..ReplicaConfig::new(self.config.broker_id, 0)
            },
            live: self.reload.live.clone(),
        }
    }
}

/// All shards' queues, and the flusher's ends of them.
fn lanes(count: usize) -> Result<(Vec<Lane>, Vec<FlushQueue<File>>), StartError> {
    let mut pollers = Vec::with_capacity(count);
    for _ in 0..count {
        pollers.push(Arc::new(Poller::new()?));
    }
    let mails = mailbox::between_shards(&pollers);
    let lane = |(poller, mail): (Arc<Poller>, ShardMail<File>)| {
        let (sender, inputs) = channel();
        let (flush_queue, queue) = mailbox::queue();
        let inbox = Inbox::new(sender, Arc::clone(&poller));
        (Lane { poller, inbox, inputs, mail, flush_queue }, queue)
    };
    Ok(pollers.into_iter().zip(mails).map(lane).unzip())
}
