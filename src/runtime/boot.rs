//! The start: log dir, recovery, this boot's leader epochs, threads, listener.
//!
//! **Invariant:** before the listener answers, the boot record and every partition's new leader
//! epoch are on stable storage: without that a power cut could let offsets be reused unseen.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::broker::control::{
    Control, ControlStart, METADATA, METADATA_TOPIC, MetadataError, metadata_topic_config,
};
use crate::broker::metrics::ProcessMetrics;
use crate::broker::site::{Found, prove, read_state};
use crate::config::{Config, Listener, Protocol};
use crate::controller::image::Image;
use crate::ids::{LeaderEpoch, Partition, TopicName, TopicPartition};
use crate::journal::disk::Disk;
use crate::journal::{self, Entry, Journal, JournalDamage, JournalError};
use crate::limits::{
    FRAME_SHARE_OF_MEMORY, GROUP_STATE_BYTES_MAX, GROUPS_SHARE_OF_MEMORY, JOURNAL_BYTES_MAX,
    JOURNAL_BYTES_MIN, JOURNAL_COMMIT_ENTRIES_MAX, MEMORY_LIMIT_BYTES_MIN, SHARDS_MAX,
};
use crate::log::{Log, LogDir, OpenParameters, RecoveryReport, owed_entries};
use crate::runtime::accept::SocketBuffers;
use crate::runtime::disk::FileDisk;
use crate::runtime::handles::Handles;
use crate::runtime::lock::{DirLock, LockError};
use crate::runtime::reload::{Fixed, Reload};
use crate::runtime::settings::RunTime;
use crate::runtime::site::file::{self, SiteFile};
use crate::runtime::site::manage::{Own, host_towards};
use crate::runtime::threads::{Governor, Threads};
use crate::runtime::{Broker, Outside, StartError, accept, clock, joining};
use crate::time::Now;
use crate::topic_config::TopicConfig;

/// An open file of the disk.
pub(super) type File = <FileDisk as Disk>::File;

pub(super) fn start(config: &Config, outside: &Outside) -> Result<Broker, StartError> {
    let began = clock::boot();
    let now = clock::now();
    let sizes = Sizes::of(config);
    let seed = u64::from_be_bytes(random());
    log::info!("{} shards, memory.limit {}, seed {seed:#x}", sizes.shards, sizes.memory_limit);
    let [dir] = &config.log_dirs[..] else { return Err(StartError::SeveralLogDirs) };
    let lock = DirLock::take(dir).map_err(|why| match why {
        LockError::Held => StartError::LogDirInUse(dir.clone()),
        LockError::Io(why) => StartError::LogDirIo(dir.clone(), why),
    })?;
    if let Some(file) = file::left(dir) {
        return Err(StartError::HasLeft(file));
    }
    let site_file = SiteFile::read(dir).map_err(|why| StartError::LogDirIo(dir.clone(), why))?;
    let founds = site_file.as_ref().is_some_and(|file| file.founds);
    let listeners = listen(config)?;
    let mut addresses = Vec::with_capacity(listeners.len());
    for (protocol, listener) in &listeners {
        addresses.push((*protocol, listener.local_addr()?));
    }

    let metrics: &'static ProcessMetrics = Box::leak(Box::default());
    metrics.began_at.store(began.0, Ordering::Relaxed);
    metrics.memory_limit_bytes_now.store(sizes.memory_limit, Ordering::Relaxed);
    let handles = Handles::claim(config.max_connections);
    let mut opened = OpenDir::open(config, dir, now)?;
    opened.report(metrics);
    let fixed = Fixed {
        config: config.clone(),
        frame_bytes_max: sizes.frame_bytes_max(),
        group_state_bytes_max: sizes.group_state_bytes_max(config),
        handles,
        space: FileDisk::new().space(dir).map_err(|why| StartError::LogDirIo(dir.clone(), why))?,
    };
    let reload = Reload::of(config, &fixed);
    let log = opened.take_metadata(now)?;
    let start = ControlStart {
        controller: reload.controller.clone(),
        log,
        shard_count: sizes.shards,
        seed,
    };
    let run_time = RunTime::new(fixed);
    let begun = if config.is_member() || site_file.is_some() {
        joining::start(config, &mut opened, start, &addresses, &run_time, site_file)?
    } else {
        joining::refuse_member(&opened)?;
        alone(config, &mut opened, start, &run_time)?
    };
    opened.started()?;
    let Begun { governor, image, logs, reload } = begun;

    let now = clock::now();
    let own = Own {
        node_id: config.broker_id,
        dir: dir.clone(),
        cluster_id: opened.dir.identity().cluster_id,
        roles: joining::roles_of(config),
        bound: wire_bound(&addresses),
        address: wire_address(config, &addresses),
        founds,
    };
    let threads = Threads { config, sizes, reload, dir, handles, metrics, seed, now, outside, own };
    let wiring = threads.spawn(governor, opened.journal, logs, &image, (listeners, run_time))?;
    metrics.start_us.store(clock::boot().us_since(began), Ordering::Relaxed);
    Ok(Broker { addresses, wiring, log_dir: opened.dir, metrics, _lock: lock })
}

/// What a start has led to.
pub(super) struct Begun {
    /// Who decides here.
    pub(super) governor: Governor,
    /// The cluster as it is.
    pub(super) image: Image,
    /// The logs of its partitions.
    pub(super) logs: Vec<Log<FileDisk>>,
    /// What is in effect.
    pub(super) reload: Reload,
}

fn alone(
    config: &Config,
    opened: &mut OpenDir,
    start: ControlStart<FileDisk>,
    run_time: &RunTime,
) -> Result<Begun, StartError> {
    let cluster_id = opened.dir.identity().cluster_id;
    let now = clock::now();
    let (mut control, mut entries) =
        Control::start(now, start, cluster_id).map_err(StartError::Metadata)?;
    let image = control.controller().image().clone();
    let (in_effect, reload) = run_time.in_effect(&image);
    control.reconfigure(reload.controller.clone());
    control.set_broker_keys(run_time.keys());
    if in_effect.log_level != config.log_level {
        log::set_max_level(in_effect.log_level);
    }
    let logs = opened.settle(&in_effect, now, &image, &mut entries)?;
    opened.commit(&entries)?;
    // Nobody else has copies that this one's could be measured by.
    let path = opened.dir.path();
    prove(&FileDisk::new(), path).map_err(|why| StartError::LogDirIo(path.to_owned(), why))?;
    Ok(Begun { governor: Governor::Alone(Box::new(control)), image, logs, reload })
}

/// What the configuration leaves to the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Poll-loop threads.
    pub(super) shards: u16,
    /// `memory.limit`.
    pub(super) memory_limit: u64,
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
        let automatic = (ram_bytes / 4).clamp(MEMORY_LIMIT_BYTES_MIN, 256 << 20);
        Sizes { shards: shards as u16, memory_limit: config.memory_limit.unwrap_or(automatic) }
    }

    /// What the groups of one coordinator may take, of the share of them all.
    fn group_state_bytes_max(self, config: &Config) -> usize {
        let coordinators = u64::from(config.offsets_topic_num_partitions.unsigned_abs());
        let share = self.memory_limit / GROUPS_SHARE_OF_MEMORY / coordinators.max(1);
        share.min(GROUP_STATE_BYTES_MAX as u64) as usize
    }

    /// A share of the memory, however much that is: below 2 GiB a length and what is added to it
    /// fit in 32 bits, on the wire and in a small board's addresses.
    fn frame_bytes_max(self) -> usize {
        (self.memory_limit / FRAME_SHARE_OF_MEMORY).min(i32::MAX as u64) as usize
    }
}

fn listen(config: &Config) -> Result<Vec<(Protocol, TcpListener)>, StartError> {
    let buffers = SocketBuffers {
        send_bytes: config.socket_send_buffer_bytes,
        receive_bytes: config.socket_receive_buffer_bytes,
    };
    let open = |listener: &Listener| {
        let name = listener.address();
        let found = name.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = found.ok_or(StartError::Resolve(name))?;
        let opened = accept::listen(address, config.socket_listen_backlog_size, buffers);
        Ok((listener.protocol, opened.map_err(|why| StartError::Listen(address, why))?))
    };
    config.listeners.iter().map(open).collect()
}

/// What the wire listener is bound to; without one, nothing that others reach.
fn wire_bound(addresses: &[(Protocol, SocketAddr)]) -> IpAddr {
    let wire = addresses.iter().find(|(protocol, _)| *protocol == Protocol::Wire);
    wire.map_or(IpAddr::from([127, 0, 0, 1]), |(_, bound)| bound.ip().to_canonical())
}

/// Where others reach the wire listener.
fn wire_address(config: &Config, addresses: &[(Protocol, SocketAddr)]) -> String {
    let is_wire = |listener: &&Listener| listener.protocol == Protocol::Wire;
    if let Some(advertised) = config.advertised_listeners.iter().find(is_wire) {
        return advertised.address();
    }
    let bound = addresses.iter().find(|(protocol, _)| *protocol == Protocol::Wire);
    let reached = |(_, bound): &(Protocol, SocketAddr)| {
        SocketAddr::new(host_towards(*bound, &config.peers), bound.port()).to_string()
    };
    bound.map(reached).unwrap_or_default()
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel gives random bytes to whoever asks for so few");
    bytes
}

/// A log dir on its way to being served.
pub(super) struct OpenDir {
    pub(super) dir: LogDir<FileDisk>,
    pub(super) journal: Journal<FileDisk>,
    pub(super) logs: Vec<Log<FileDisk>>,
    pub(super) recovery: RecoveryReport,
    pub(super) damage: Option<JournalDamage>,
    pub(super) is_unproven: bool,
}

impl OpenDir {
    pub(super) fn open(config: &Config, path: &Path, now: Now) -> Result<OpenDir, StartError> {
        let disk = FileDisk::new();
        let journal_failed = |why| StartError::Journal(path.to_owned(), why);
        let space = disk.space(path).map_err(|why| StartError::LogDirIo(path.to_owned(), why))?;
        // A witness holds no data: nothing but votes and metadata passes through its journal.
        let share = if config.is_witness() { 0 } else { space.total_bytes / 100 };
        let automatic = share.clamp(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX);
        let parameters = OpenParameters {
            node_id: config.broker_id,
            cluster_id: None,
            random: random(),
            now,
            config: config.topic_defaults.clone(),
        };
        let mut dir = LogDir::claim(disk, path, &parameters).map_err(StartError::LogDir)?;
        dir.newest_wall().into_iter().for_each(clock::distrust_before);
        let salt = u64::from_be_bytes(random());
        let journal_bytes = config.journal_bytes.unwrap_or(automatic);
        let dir_failed = |why| StartError::LogDirIo(path.to_owned(), why);
        if read_state(&disk, path).map_err(dir_failed)? != Found::Never {
            journal::expect(&disk, path).map_err(dir_failed)?;
        }
        let opened = Journal::open(disk, path, journal_bytes, salt).map_err(journal_failed)?;
        let mut journal = opened.journal;
        let mut redo = dir.redo(opened.states);
        let replay = journal.replay(&mut redo).map_err(journal_failed)?;
        let damage = opened.damage.or(replay.damage);
        let is_unproven = opened.is_unproven || replay.damage.is_some();
        let (logs, recovery) =
            dir.recover(&parameters, damage.is_none()).map_err(StartError::LogDir)?;
        let owed = owed_entries(&logs, &recovery.partitions)
            .map_err(|why| StartError::LogDirIo(path.to_owned(), why))?;
        let mut opened = OpenDir { dir, journal, logs, recovery, damage, is_unproven };
        opened.commit(&owed)?;
        Ok(opened)
    }

    /// All that a damaged journal asks for is done.
    fn started(&self) -> Result<(), StartError> {
        let path = self.dir.path();
        journal::started(&FileDisk::new(), path)
            .map_err(|why| StartError::LogDirIo(path.to_owned(), why))
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

    pub(super) fn take_metadata(&mut self, now: Now) -> Result<Log<FileDisk>, StartError> {
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
        let logs = std::mem::take(&mut self.logs);
        let mut found: BTreeMap<TopicPartition, Log<FileDisk>> =
            logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
        let mut settled = Vec::with_capacity(image.partition_count());
        for (topic_id, topic) in image.topics() {
            let effective = topic.effective(&config.topic_defaults);
            for (number, partition) in topic.partitions.iter().enumerate() {
                let topic_partition =
                    TopicPartition { topic_id, partition: Partition(number as i32) };
                if !partition.replicas.contains(&config.broker_id) {
                    continue;
                }
                let mut log = match found.remove(&topic_partition) {
                    Some(log) => log,
                    None => self.replace(&topic.name, topic_partition, &effective, now)?,
                };
                log.set_config(effective.clone());
                // One that has replicas elsewhere begins an epoch when it hears that it leads.
                if partition.replicas.len() == 1 {
                    let epoch = next_epoch(&log, partition.leader_epoch);
                    let state = log.begin_epoch(epoch);
                    entries.push(Entry::State { topic_partition, state });
                }
                settled.push(log);
            }
        }
        self.remove_unfinished(found.into_values())?;
        Ok(settled)
    }

    /// Clears away what a stop left of a request that was making partitions.
    pub(super) fn remove_unfinished(
        &self,
        strays: impl Iterator<Item = Log<FileDisk>>,
    ) -> Result<(), StartError> {
        let mut removed_count = self.recovery.unfinished_count;
        for stray in strays {
            let kept = self.dir.remove_unfinished(stray);
            match kept.map_err(|why| StartError::LogDirIo(self.dir.path().to_owned(), why))? {
                Some(stray) => log::warn!(
                    "{}-{} belongs to no topic of this cluster; it is kept as it is",
                    stray.name(),
                    stray.topic_partition().partition
                ),
                None => removed_count += 1,
            }
        }
        if 0 < removed_count {
            log::info!("{removed_count} partitions that were never made to the end are removed");
        }
        Ok(())
    }

    pub(super) fn replace(
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
    pub(super) fn commit(&mut self, entries: &[Entry<File>]) -> Result<(), StartError> {
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
