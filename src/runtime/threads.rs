//! The threads of a broker, and the queues between them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use polling::Poller;

use crate::broker::control::Control;
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::{Apply, Event, Shard};
use crate::broker::{BrokerConfig, ConfigText};
use crate::config::{Config, DiskFullPolicy, Protocol, Setting, Source};
use crate::controller::image::Image;
use crate::journal::disk::Disk;
use crate::journal::{Entry, Journal};
use crate::limits::{FLUSH_REQUESTS_MAX, FRAME_SHARE_OF_MEMORY};
use crate::log::Log;
use crate::runtime::accept::Acceptor;
use crate::runtime::boot::{File, Sizes};
use crate::runtime::control_loop::{ControlEvent, ControlLoop, SpacePolicy};
use crate::runtime::disk::FileDisk;
use crate::runtime::flusher::{FlushQueue, Flusher};
use crate::runtime::handles::Handles;
use crate::runtime::ledger::Ledger;
use crate::runtime::loader::{self, LoadJob};
use crate::runtime::mailbox::{self, Outbox, ShardMail};
use crate::runtime::peers::Peers;
use crate::runtime::scrubber::{self, ScrubWork};
use crate::runtime::shard_loop::{Inbox, Input, ShardLoop};
use crate::runtime::{ConnectionLimits, StartError};
use crate::time::Now;
use crate::topic_config::TopicConfig;
use crate::wire::configs::ConfigSource;

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
    /// `scrub.bytes.per.second`.
    pub(super) scrub_rate: Arc<AtomicU64>,
}

/// What the threads are started with.
pub(super) struct Threads<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// What it leaves to the machine.
    pub(super) sizes: Sizes,
    /// The log dir.
    pub(super) dir: &'a Path,
    /// How many files connections and logs may keep open.
    pub(super) handles: Handles,
    /// Counts.
    pub(super) metrics: &'static ProcessMetrics,
    /// The present.
    pub(super) now: Now,
}

/// One shard's ends of all its queues.
struct Lane {
    poller: Arc<Poller>,
    inbox: Inbox<FileDisk>,
    inputs: Receiver<Input<FileDisk>>,
    mail: ShardMail<File>,
    flush_queue: Outbox<Entry<File>, FLUSH_REQUESTS_MAX>,
}

/// What every shard's thread shares with the others.
struct Shared {
    flusher: Thread,
    loader: Sender<LoadJob<FileDisk>>,
    scrubber: Sender<ScrubWork<FileDisk>>,
    control: Sender<ControlEvent<FileDisk>>,
    ledger: Arc<Ledger>,
    peers: Arc<Peers>,
}

impl Threads<'_> {
    /// Starts everything; the listeners answer from now on.
    pub(super) fn spawn(
        &self,
        control: Control<FileDisk>,
        journal: Journal<FileDisk>,
        logs: Vec<Log<FileDisk>>,
        image: &Image,
        listeners: Vec<(Protocol, TcpListener)>,
    ) -> Result<Wiring, StartError> {
        let (lanes, queues) = lanes(usize::from(self.sizes.shards))?;
        let inboxes: Vec<Inbox<FileDisk>> = lanes.iter().map(|lane| lane.inbox.clone()).collect();
        let ledger = Arc::new(Ledger::new(self.sizes.memory_limit, self.metrics));
        let (control_events, events) = channel();
        let (flusher_queue, control_queue) = channel();
        let flusher_stop = Arc::default();
        let flusher = Flusher {
            journal,
            queues,
            control_queue,
            shards: inboxes.clone(),
            control: control_events.clone(),
            linger: Duration::from_millis(self.config.flush_linger_ms),
            ledger: Arc::clone(&ledger),
            metrics: self.metrics,
            stop: Arc::clone(&flusher_stop),
        }
        .spawn()?;
        let control = ControlLoop {
            control,
            disk: FileDisk::new(),
            log_dir: self.dir.to_owned(),
            events,
            sender: control_events.clone(),
            flusher_queue,
            flusher: flusher.thread().clone(),
            shards: inboxes.clone(),
            space: self.space_policy(),
            ledger: Arc::clone(&ledger),
            metrics: self.metrics,
        }
        .spawn()?;
        let (load_jobs, loader) = loader::spawn()?;
        let scrub_rate = Arc::new(AtomicU64::new(self.config.scrub_bytes_per_second));
        let (scrub_works, scrubber) = scrubber::spawn(Arc::clone(&scrub_rate), self.metrics)?;
        Self::hand_out(&inboxes, logs, image);
        let peers = Arc::new(Peers::new(self.config.max_connections_per_ip));
        let shared = Shared {
            flusher: flusher.thread().clone(),
            loader: load_jobs,
            scrubber: scrub_works,
            control: control_events.clone(),
            ledger,
            peers: Arc::clone(&peers),
        };
        let shards = self.spawn_shards(lanes, &shared)?;
        let (acceptor, acceptor_poller, acceptor_stop) =
            self.spawn_acceptor(listeners, inboxes, peers)?;
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
            scrub_rate,
        })
    }

    fn spawn_shards(
        &self,
        lanes: Vec<Lane>,
        shared: &Shared,
    ) -> Result<Vec<(Inbox<FileDisk>, JoinHandle<Vec<Log<FileDisk>>>)>, StartError> {
        let mut shards = Vec::with_capacity(lanes.len());
        for (number, lane) in lanes.into_iter().enumerate() {
            let id = ShardId(number as u16);
            let inbox = lane.inbox.clone();
            let thread = ShardLoop {
                id,
                shard: Shard::new(self.now, id, self.broker_config()),
                poller: lane.poller,
                inputs: lane.inputs,
                inbox: lane.inbox,
                mail: lane.mail,
                flush_queue: lane.flush_queue,
                flusher: shared.flusher.clone(),
                loader: shared.loader.clone(),
                scrubber: shared.scrubber.clone(),
                control: shared.control.clone(),
                ledger: Arc::clone(&shared.ledger),
                peers: Arc::clone(&shared.peers),
                limits: self.connection_limits(),
                metrics: self.metrics,
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
    ) -> Result<(JoinHandle<()>, Arc<Poller>, Arc<AtomicBool>), StartError> {
        let poller = Arc::new(Poller::new()?);
        let stop = Arc::default();
        let thread = Acceptor {
            listeners,
            poller: Arc::clone(&poller),
            shards,
            connections_max: self.handles.connections_max,
            peers,
            metrics: self.metrics,
            stop: Arc::clone(&stop),
        }
        .spawn()?;
        Ok((thread, poller, stop))
    }

    /// Gives every shard the metadata and its partitions, as the first thing in its inbox.
    fn hand_out(inboxes: &[Inbox<FileDisk>], logs: Vec<Log<FileDisk>>, image: &Image) {
        let mut shares: Vec<Vec<Log<FileDisk>>> = Vec::new();
        shares.resize_with(inboxes.len(), Vec::new);
        for log in logs {
            let owner = ShardId::owner(log.topic_partition(), inboxes.len() as u16);
            shares[usize::from(owner.0)].push(log);
        }
        for (inbox, adopted) in inboxes.iter().zip(shares) {
            let changes = image.as_changes();
            // Version 0 is nobody's: the control machine waits for no confirmation of it.
            inbox.send(Event::Apply(Apply { version: 0, changes, adopted }));
        }
    }

    fn space_policy(&self) -> SpacePolicy {
        SpacePolicy {
            reserve_bytes: self.config.disk_reserve_bytes.unwrap_or_else(|| {
                let total = FileDisk::new().space(self.dir).map_or(0, |space| space.total_bytes);
                (total / 100).clamp(8 << 20, 256 << 20)
            }),
            delete_oldest: self.config.disk_full_policy == DiskFullPolicy::DeleteOldest,
        }
    }

    /// A share of the memory, however much that is: below 2 GiB a length and what is added to it
    /// fit in 32 bits, on the wire and in a small board's addresses.
    fn frame_bytes_max(&self) -> u32 {
        let share = self.sizes.memory_limit / FRAME_SHARE_OF_MEMORY;
        share.min(i32::MAX as u64) as u32
    }

    fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            frame_bytes_max: self.frame_bytes_max() as usize,
            idle_max_ms: self.config.connections_max_idle_ms,
            frame_timeout_ms: self.config.frame_timeout_ms,
            shutdown_timeout_ms: self.config.shutdown_timeout_ms,
        }
    }

    fn broker_config(&self) -> BrokerConfig {
        let config = self.config;
        let shown: Vec<ConfigText> = config.settings().iter().filter_map(shown).collect();
        BrokerConfig {
            node_id: config.broker_id,
            shard_count: self.sizes.shards,
            frame_bytes_max: self.frame_bytes_max(),
            fetch_bytes_max: self.frame_bytes_max().saturating_mul(4),
            auto_create_topics_enable: config.auto_create_topics_enable,
            retention_check_interval_ms: config.log_retention_check_interval_ms,
            scrub_interval_ms: config.scrub_interval_ms,
            handles_max: self.handles.partitions_max / usize::from(self.sizes.shards),
            topic_defaults: config.topic_defaults.clone(),
            topic_sources: topic_sources(config),
            shown,
            process: self.metrics,
        }
    }
}

fn shown(setting: &Setting) -> Option<ConfigText> {
    Some((setting.key.to_owned(), setting.value.clone()?, wire_source(setting.source)))
}

fn topic_sources(config: &Config) -> BTreeMap<&'static str, ConfigSource> {
    let source = |key: &&'static str| (*key, wire_source(config.topic_source(key)));
    TopicConfig::KEYS.iter().map(source).collect()
}

fn wire_source(source: Source) -> ConfigSource {
    match source {
        Source::Default => ConfigSource::Default,
        Source::File => ConfigSource::File,
        Source::Environment => ConfigSource::Environment,
        Source::CommandLine => ConfigSource::CommandLine,
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
