//! The start: log dir, recovery, this boot's leader epochs, threads, listener.
//!
//! **Invariant:** before the listener answers, the boot record and every partition's new leader
//! epoch are on stable storage: without that a power cut could let offsets be reused unseen.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use polling::Poller;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::broker::control::{
    Control, ControlStart, METADATA, METADATA_TOPIC, MetadataError, metadata_topic_config,
};
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::{Apply, Event, Shard};
use crate::broker::{BrokerConfig, ConfigText};
use crate::config::{Config, DiskFullPolicy, Setting, Source};
use crate::controller::ControllerConfig;
use crate::controller::image::Image;
use crate::ids::{LeaderEpoch, Partition, TopicName, TopicPartition};
use crate::journal::disk::Disk;
use crate::journal::{Entry, Journal, JournalDamage, JournalError, SmallState};
use crate::limits::{
    BROKER_PARTITIONS_MAX, FRAME_SHARE_OF_MEMORY, JOURNAL_BYTES_MAX, JOURNAL_BYTES_MIN,
    JOURNAL_COMMIT_ENTRIES_MAX, MEMORY_LIMIT_BYTES_MIN, SHARDS_MAX,
};
use crate::log::{Log, LogDir, OpenParameters, RecoveryReport};
use crate::runtime::accept::{self, Acceptor};
use crate::runtime::control_loop::{ControlEvent, ControlLoop, SpacePolicy};
use crate::runtime::disk::FileDisk;
use crate::runtime::flusher::{FlushQueue, Flusher};
use crate::runtime::ledger::Ledger;
use crate::runtime::lock::{DirLock, LockError};
use crate::runtime::mailbox::{self, Outbox};
use crate::runtime::shard_loop::{Inbox, Input, ShardLoop};
use crate::runtime::{Broker, ConnectionLimits, StartError, clock, loader};
use crate::time::Now;
use crate::topic_config::TopicConfig;
use crate::wire::configs::ConfigSource;

/// File handles kept for everything that is not a partition.
const HANDLES_RESERVED: u64 = 64;

type File = <FileDisk as Disk>::File;

pub(super) fn start(config: &Config) -> Result<Broker, StartError> {
    let began = clock::boot();
    let now = clock::now();
    let sizes = Sizes::of(config);
    let [dir] = &config.log_dirs[..] else { return Err(StartError::SeveralLogDirs) };
    let lock = DirLock::take(dir).map_err(|why| match why {
        LockError::Held => StartError::LogDirInUse(dir.clone()),
        LockError::Io(why) => StartError::LogDirIo(dir.clone(), why),
    })?;
    let listener_address = resolve(config)?;
    let listener = accept::listen(listener_address, config.socket_listen_backlog_size)
        .map_err(|why| StartError::Listen(listener_address, why))?;
    let wire_address = listener.local_addr()?;

    let metrics: &'static ProcessMetrics = Box::leak(Box::default());
    let partitions_max = raise_handles(config.max_connections as u64);
    let mut opened = OpenDir::open(config, dir, now)?;
    opened.report(metrics);
    let controller_config = controller_config(config, partitions_max);
    let log = opened.take_metadata(now)?;
    let start = ControlStart {
        disk: FileDisk::new(),
        log_dir: dir.clone(),
        controller: controller_config.clone(),
        log,
        shard_count: sizes.shards,
        seed: u64::from_be_bytes(random()),
    };
    let cluster_id = opened.dir.identity().cluster_id;
    let (control, mut entries) =
        Control::start(now, start, cluster_id).map_err(StartError::Metadata)?;
    let image = control.controller().image().clone();
    let logs = opened.settle(config, now, &image, &mut entries)?;
    opened.commit(&entries)?;

    let threads = Threads { config, sizes, dir, metrics, now };
    let wiring = threads.spawn(control, opened.journal, logs, &image, listener)?;
    metrics.start_us.store(clock::boot().us_since(began), Ordering::Relaxed);
    Ok(Broker {
        wire_address,
        wiring,
        log_dir: opened.dir,
        controller_config,
        metrics,
        _lock: lock,
    })
}

/// What the configuration leaves to the machine.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    shards: u16,
    memory_limit: u64,
}

impl Sizes {
    fn of(config: &Config) -> Sizes {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = match config.shards {
            0 => (cores / 2).clamp(1, 4),
            count => count.min(SHARDS_MAX),
        };
        let ram = rustix::system::sysinfo();
        let ram_bytes = (ram.totalram as u64).saturating_mul(u64::from(ram.mem_unit));
        let automatic = (ram_bytes / 4).min(256 << 20).max(MEMORY_LIMIT_BYTES_MIN);
        Sizes { shards: shards as u16, memory_limit: config.memory_limit.unwrap_or(automatic) }
    }
}

fn resolve(config: &Config) -> Result<SocketAddr, StartError> {
    let [listener] = &config.listeners[..] else { return Err(StartError::SeveralListeners) };
    let name = listener.address();
    let unresolved = || StartError::Resolve(name.clone());
    name.to_socket_addrs().map_err(|_| unresolved())?.next().ok_or_else(unresolved)
}

/// Raises the limit of file handles as far as it goes; answers how many partitions it allows.
fn raise_handles(connections_max: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(why) = setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of file handles stays at {:?}: {why}", limit.current);
    }
    let handles = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let for_partitions = handles.saturating_sub(connections_max + HANDLES_RESERVED);
    usize::try_from(for_partitions).unwrap_or(usize::MAX).min(BROKER_PARTITIONS_MAX)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel gives random bytes to whoever asks for so few");
    bytes
}

/// A log dir on its way to being served.
struct OpenDir {
    dir: LogDir<FileDisk>,
    journal: Journal<FileDisk>,
    logs: Vec<Log<FileDisk>>,
    recovery: RecoveryReport,
    damage: Option<JournalDamage>,
}

impl OpenDir {
    fn open(config: &Config, path: &Path, now: Now) -> Result<OpenDir, StartError> {
        let disk = FileDisk::new();
        let journal_failed = |why| StartError::Journal(path.to_owned(), why);
        let space = disk.space(path).map_err(|why| StartError::LogDirIo(path.to_owned(), why))?;
        let automatic = (space.total_bytes / 100).clamp(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX);
        let parameters = OpenParameters {
            node_id: config.broker_id,
            cluster_id: None,
            random: random(),
            now,
            config: config.topic_defaults.clone(),
        };
        let mut dir = LogDir::claim(disk, path, &parameters).map_err(StartError::LogDir)?;
        let salt = u64::from_be_bytes(random());
        let journal_bytes = config.journal_bytes.unwrap_or(automatic);
        let opened = Journal::open(disk, path, journal_bytes, salt).map_err(journal_failed)?;
        let mut journal = opened.journal;
        let mut redo = dir.redo(opened.states);
        let replay = journal.replay(&mut redo).map_err(journal_failed)?;
        let damage = opened.damage.or(replay.damage);
        let (logs, recovery) =
            dir.recover(&parameters, damage.is_none()).map_err(StartError::LogDir)?;
        Ok(OpenDir { dir, journal, logs, recovery, damage })
    }

    fn report(&self, metrics: &ProcessMetrics) {
        if let Some(damage) = self.damage {
            log::error!("{damage}");
        }
        let torn: u64 = self.recovery.partitions.iter().map(|p| p.torn_bytes).sum();
        metrics.recovery_torn_bytes.store(torn, Ordering::Relaxed);
        for found in &self.recovery.partitions {
            let partition = found.topic_partition.partition;
            if 0 < found.torn_bytes {
                log::warn!(
                    "{}-{partition}: {} bytes that nobody was promised were moved to a .torn file",
                    found.name,
                    found.torn_bytes
                );
            }
            for hole in &found.new_holes {
                log::error!(
                    "{}-{partition}: damaged; the records from offset {} up to {} are lost",
                    found.name,
                    hole.from,
                    hole.to
                );
            }
        }
        for unknown in &self.recovery.unknown {
            log::warn!("{}: kept, not opened: {:?}", unknown.name.display(), unknown.why);
        }
    }

    fn take_metadata(&mut self, now: Now) -> Result<Log<FileDisk>, StartError> {
        let is_metadata = |log: &Log<FileDisk>| log.topic_partition() == METADATA;
        if let Some(place) = self.logs.iter().position(is_metadata) {
            let mut log = self.logs.swap_remove(place);
            log.set_config(metadata_topic_config());
            return Ok(log);
        }
        let name = TopicName::new(METADATA_TOPIC).expect("the name is legal");
        self.dir
            .create(&name, METADATA, metadata_topic_config(), now)
            .map_err(|why| StartError::Metadata(MetadataError::Log(why)))
    }

    /// Matches what is on disk with what the metadata says, and begins this boot's epochs.
    fn settle(
        &mut self,
        config: &Config,
        now: Now,
        image: &Image,
        entries: &mut Vec<Entry<File>>,
    ) -> Result<Vec<Log<FileDisk>>, StartError> {
        for found in &self.recovery.partitions {
            let topic_partition = found.topic_partition;
            let state = |state: &SmallState| Entry::State { topic_partition, state: *state };
            entries.extend(found.small_states.iter().map(state));
        }
        let logs = std::mem::take(&mut self.logs);
        let mut found: BTreeMap<TopicPartition, Log<FileDisk>> =
            logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
        let mut settled = Vec::with_capacity(image.partition_count());
        for (topic_id, topic) in image.topics() {
            let effective = topic.effective(&config.topic_defaults);
            for (number, partition) in topic.partitions.iter().enumerate() {
                let topic_partition =
                    TopicPartition { topic_id, partition: Partition(number as i32) };
                let mut log = match found.remove(&topic_partition) {
                    Some(log) => log,
                    None => self.replace(&topic.name, topic_partition, &effective, now)?,
                };
                log.set_config(effective.clone());
                let epoch = next_epoch(&log, partition.leader_epoch);
                let state = log.begin_epoch(epoch);
                entries.push(Entry::State { topic_partition, state });
                settled.push(log);
            }
        }
        for stray in found.values() {
            log::warn!(
                "{}-{} belongs to no topic of this cluster; it is kept as it is",
                stray.name(),
                stray.topic_partition().partition
            );
        }
        Ok(settled)
    }

    fn replace(
        &self,
        name: &str,
        topic_partition: TopicPartition,
        config: &TopicConfig,
        now: Now,
    ) -> Result<Log<FileDisk>, StartError> {
        log::error!("{name}-{} is missing on disk; it begins empty", topic_partition.partition);
        let name = TopicName::new(name).expect("the controller checked it");
        self.dir
            .create(&name, topic_partition, config.clone(), now)
            .map_err(|why| StartError::Metadata(MetadataError::Log(why)))
    }

    /// Makes this boot durable. Nothing else runs yet, so a checkpoint that is due is done here.
    fn commit(&mut self, entries: &[Entry<File>]) -> Result<(), StartError> {
        let path = self.dir.path().to_owned();
        let failed = |why| StartError::Journal(path.clone(), why);
        for part in entries.chunks(JOURNAL_COMMIT_ENTRIES_MAX) {
            if !self.journal.has_room(part) {
                if let Some(job) = self.journal.checkpoint_due() {
                    let done = job.run().map_err(|why| failed(JournalError::Io(why)))?;
                    self.journal.checkpoint_done(done).map_err(failed)?;
                }
            }
            self.journal.commit(part).map_err(failed)?;
        }
        Ok(())
    }
}

/// The image's epoch, or a higher one if the log has seen that: its file may be from a directory
/// that was restored beside older metadata.
fn next_epoch(log: &Log<FileDisk>, image: LeaderEpoch) -> LeaderEpoch {
    let beyond = log.leader_epoch().next().expect("2^31 boots are not reached");
    image.max(beyond)
}

/// The controller's share of the configuration.
pub(super) fn controller_config(config: &Config, partitions_max: usize) -> ControllerConfig {
    ControllerConfig {
        node_id: config.broker_id,
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        delete_topic_enable: config.delete_topic_enable,
        partitions_max,
        topic_defaults: config.topic_defaults.clone(),
    }
}

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
}

struct Threads<'a> {
    config: &'a Config,
    sizes: Sizes,
    dir: &'a Path,
    metrics: &'static ProcessMetrics,
    now: Now,
}

impl Threads<'_> {
    fn spawn(
        &self,
        control: Control<FileDisk>,
        journal: Journal<FileDisk>,
        logs: Vec<Log<FileDisk>>,
        image: &Image,
        listener: std::net::TcpListener,
    ) -> Result<Wiring, StartError> {
        let config = self.config;
        let shard_count = usize::from(self.sizes.shards);
        let ledger = Arc::new(Ledger::new(self.sizes.memory_limit, self.metrics));
        let mut pollers = Vec::with_capacity(shard_count);
        for _ in 0..shard_count {
            pollers.push(Arc::new(Poller::new()?));
        }
        let (inboxes, inputs): (Vec<Inbox<FileDisk>>, Vec<Receiver<Input<FileDisk>>>) = pollers
            .iter()
            .map(|poller| {
                let (sender, receiver) = channel();
                (Inbox::new(sender, Arc::clone(poller)), receiver)
            })
            .unzip();
        let (outboxes, queues): (Vec<Outbox<Entry<File>, _>>, Vec<FlushQueue<File>>) =
            (0..shard_count).map(|_| mailbox::queue()).unzip();
        let (control_events, events) = channel();
        let (flusher_queue, control_queue) = channel();
        let flusher_stop = Arc::default();
        let flusher = Flusher {
            journal,
            queues,
            control_queue,
            shards: inboxes.clone(),
            control: control_events.clone(),
            linger: Duration::from_millis(config.flush_linger_ms),
            ledger: Arc::clone(&ledger),
            metrics: self.metrics,
            stop: Arc::clone(&flusher_stop),
        }
        .spawn()?;
        let (load_jobs, loader) = loader::spawn()?;
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

        self.hand_out(&inboxes, logs, image);
        let mut shards = Vec::with_capacity(shard_count);
        let mails = mailbox::between_shards(&pollers);
        let parts = inputs.into_iter().zip(mails).zip(outboxes).zip(&inboxes).zip(pollers);
        for (number, ((((inputs, mail), flush_queue), inbox), poller)) in parts.enumerate() {
            let id = ShardId(number as u16);
            let thread = ShardLoop {
                id,
                shard: Shard::new(self.now, id, self.broker_config()),
                poller,
                inputs,
                inbox: inbox.clone(),
                mail,
                flush_queue,
                flusher: flusher.thread().clone(),
                loader: load_jobs.clone(),
                control: control_events.clone(),
                ledger: Arc::clone(&ledger),
                limits: self.connection_limits(),
                metrics: self.metrics,
            }
            .spawn()?;
            shards.push((inbox.clone(), thread));
        }
        let acceptor_poller = Arc::new(Poller::new()?);
        let acceptor_stop = Arc::default();
        let acceptor = Acceptor {
            listener,
            poller: Arc::clone(&acceptor_poller),
            shards: inboxes,
            connections_max: config.max_connections as u64,
            metrics: self.metrics,
            stop: Arc::clone(&acceptor_stop),
        }
        .spawn()?;
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
        })
    }

    /// Gives every shard the metadata and its partitions, as the first thing in its inbox.
    fn hand_out(&self, inboxes: &[Inbox<FileDisk>], logs: Vec<Log<FileDisk>>, image: &Image) {
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

    fn frame_bytes_max(&self) -> u64 {
        self.sizes.memory_limit / FRAME_SHARE_OF_MEMORY
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
            frame_bytes_max: u32::try_from(self.frame_bytes_max()).unwrap_or(u32::MAX),
            fetch_bytes_max: u32::try_from(self.frame_bytes_max() * 4).unwrap_or(u32::MAX),
            auto_create_topics_enable: config.auto_create_topics_enable,
            retention_check_interval_ms: config.log_retention_check_interval_ms,
            topic_defaults: config.topic_defaults.clone(),
            shown,
            process: self.metrics,
        }
    }
}

fn shown(setting: &Setting) -> Option<ConfigText> {
    let source = match setting.source {
        Source::Default => ConfigSource::Default,
        Source::File => ConfigSource::File,
        Source::Environment => ConfigSource::Environment,
        Source::CommandLine => ConfigSource::CommandLine,
    };
    Some((setting.key.to_owned(), setting.value.clone()?, source))
}
