//! A node as `runtime/` wires one: a control machine, shards, a flusher with the journal, and the
//! threads that may wait for the disk, all of them queues here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use odradek::broker::control::{METADATA, METADATA_TOPIC, metadata_topic_config};
use odradek::broker::mail::ShardId;
use odradek::broker::shard::{Apply, Event as ShardEvent, Shard};
use odradek::broker::site::{
    self, FoundCopies, Site, SiteError, SiteStart, Standing, Work, examine, forget, read_snapshot,
    read_state, spoil,
};
use odradek::controller::image::Image;
use odradek::ids::{NodeId, Offset, Partition, TopicName, TopicPartition, Uuid};
use odradek::journal::disk::DiskFile;
use odradek::journal::{
    self, Ahead, CheckpointDone, CheckpointJob, Entry, Journal, SyncDone, SyncJob,
};
use odradek::log::{
    Cut, DamageNote, Log, LogDir, OpenParameters, ProducersNote, Truncation, owed_entries,
};
use odradek::record::Batch;
use odradek::record::crc::crc32c;
use odradek::time::{Now, Timestamp};

use super::checkers::{Batch as Known, Batches};
use super::config::Plan;
use super::event::Life;
use crate::sim_disk::{Cut as PowerCut, SimDisk, SimFile};

/// The log dir.
pub const DIR: &str = "/data";

/// Work of the thread that scrubs, notes and cuts.
pub enum ScrubWork {
    Note(DamageNote<SimDisk>),
    NoteProducers(u16, TopicPartition, ProducersNote<SimDisk>),
    Cut(u16, TopicPartition, Box<Cut<SimDisk>>),
    Verify(u16, Box<odradek::broker::scrub::ScrubJob<SimFile>>),
}

/// The flusher of a node.
pub struct Flusher {
    pub journal: Journal<SimDisk>,
    pub queue: Vec<Entry<SimFile>>,
    /// What is being committed.
    pub in_flight: Option<Flight>,
    /// What is synced ahead of that.
    pub ahead: Ahead<SimFile>,
    pub sync: Option<Sync>,
    /// What was, and waits for room.
    pub late: Vec<Entry<SimFile>>,
    pub job: Option<CheckpointJob<SimDisk>>,
    pub done: Option<std::io::Result<CheckpointDone>>,
    pub is_checkpointing: bool,
    pub is_failed: bool,
}

/// A commit under way.
pub struct Flight {
    /// What was synced ahead of it.
    pub synced: Vec<Entry<SimFile>>,
    pub entries: Vec<Entry<SimFile>>,
    /// It was done already, and only the sync's return is waited for.
    pub is_done: bool,
}

impl Flight {
    /// All that it makes durable.
    pub fn all(&self) -> impl Iterator<Item = &Entry<SimFile>> {
        self.synced.iter().chain(&self.entries)
    }
}

/// A sync ahead of a commit.
pub struct Sync {
    pub job: SyncJob<SimDisk>,
    /// How it ended, when it has already.
    pub done: Option<std::io::Result<SyncDone>>,
    /// Its end is known.
    pub is_back: bool,
}

/// A process.
pub struct Running {
    pub life: Life,
    pub site: Site<SimDisk>,
    pub shards: Vec<Shard<SimDisk>>,
    pub flusher: Flusher,
    pub works: VecDeque<Work<SimDisk>>,
    pub scrubs: VecDeque<ScrubWork>,
    /// Links of the quorum: node to connection, and its end.
    pub links: BTreeMap<i32, (u64, usize)>,
    /// Nodes that are being dialled for the quorum.
    pub dialling: BTreeMap<i32, u64>,
    /// When each thread is woken next.
    pub wakes: Vec<u64>,
    pub is_settling: Vec<bool>,
    /// When the last mail between two threads arrives.
    pub mail_at: BTreeMap<(usize, usize), u64>,
    pub has_space: bool,
    /// A wall clock before this is not trusted.
    pub wall_floor: Timestamp,
}

impl Running {
    fn new(
        life: Life,
        site: Site<SimDisk>,
        shards: Vec<Shard<SimDisk>>,
        opened: OpenDir,
        much_bytes: usize,
    ) -> Running {
        let flusher = Flusher {
            journal: opened.journal,
            queue: Vec::new(),
            in_flight: None,
            ahead: Ahead::new(much_bytes),
            sync: None,
            late: Vec::new(),
            job: None,
            done: None,
            is_checkpointing: false,
            is_failed: false,
        };
        Running {
            life,
            site,
            flusher,
            works: VecDeque::new(),
            scrubs: VecDeque::new(),
            links: BTreeMap::new(),
            dialling: BTreeMap::new(),
            wakes: vec![u64::MAX; shards.len() + 1],
            is_settling: vec![false; shards.len()],
            mail_at: BTreeMap::new(),
            has_space: true,
            wall_floor: opened.wall_floor,
            shards,
        }
    }
}

/// Why a node did not start; the disk failed under it.
#[derive(Debug)]
pub struct BootError(pub String);

fn failed(what: &str) -> impl Fn(String) -> BootError + '_ {
    move |why| BootError(format!("{what}: {why}"))
}

/// A log dir on its way to being served: `runtime::boot::OpenDir`.
struct OpenDir {
    dir: LogDir<SimDisk>,
    journal: Journal<SimDisk>,
    logs: Vec<Log<SimDisk>>,
    recovery: odradek::log::RecoveryReport,
    is_journal_sound: bool,
    is_unproven: bool,
    wall_floor: Timestamp,
}

impl OpenDir {
    fn open(disk: &SimDisk, life: Life, plan: &Plan, now: Now) -> Result<OpenDir, BootError> {
        let path = Path::new(DIR);
        let seed = life.number << 8 | life.node as u64;
        let parameters = OpenParameters {
            node_id: NodeId(life.node),
            cluster_id: None,
            random: [(seed % 251) as u8; 32],
            now,
            config: plan.topic_defaults(),
        };
        let mut dir = LogDir::claim(disk.clone(), path, &parameters)
            .map_err(|why| failed("claim")(why.to_string()))?;
        let wall_floor = dir.newest_wall().unwrap_or(Timestamp(0));
        let state = read_state(disk, path).map_err(|why| failed("state")(why.to_string()))?;
        if state != site::Found::Never {
            journal::expect(disk, path).map_err(|why| failed("expect")(why.to_string()))?;
        }
        let opened = Journal::open(disk.clone(), path, plan.ring_bytes, seed.wrapping_mul(77))
            .map_err(|why| failed("journal")(why.to_string()))?;
        let mut journal = opened.journal;
        let replay = journal
            .replay(&mut dir.redo(opened.states))
            .map_err(|why| failed("replay")(why.to_string()))?;
        let is_journal_sound = opened.damage.or(replay.damage).is_none();
        let is_unproven = opened.is_unproven || replay.damage.is_some();
        let (logs, recovery) = dir
            .recover(&parameters, is_journal_sound)
            .map_err(|why| failed("recover")(why.to_string()))?;
        Ok(OpenDir { dir, journal, logs, recovery, is_journal_sound, is_unproven, wall_floor })
    }

    fn commit(&mut self, entries: &[Entry<SimFile>]) -> Result<(), BootError> {
        let error = failed("commit");
        for part in entries.chunks(1000) {
            if !self.journal.has_room(part) {
                if let Some(job) = self.journal.checkpoint_due() {
                    let done = job.run().map_err(|why| error(why.to_string()))?;
                    self.journal.checkpoint_done(done).map_err(|why| error(why.to_string()))?;
                }
            }
            self.journal.commit(part).map_err(|why| error(why.to_string()))?;
        }
        Ok(())
    }

    fn take_metadata(&mut self, now: Now) -> Result<Log<SimDisk>, BootError> {
        let is_metadata = |log: &Log<SimDisk>| log.topic_partition() == METADATA;
        if let Some(place) = self.logs.iter().position(is_metadata) {
            let mut log = self.logs.swap_remove(place);
            log.set_config(metadata_topic_config());
            return Ok(log);
        }
        let name = TopicName::new(METADATA_TOPIC).expect("legal");
        let log = self.dir.create(&name, METADATA, metadata_topic_config(), now);
        log.map_err(|why| failed("metadata")(why.to_string()))
    }

    /// `runtime::joining::reset`.
    fn reset(&mut self, disk: &SimDisk, log: &mut Log<SimDisk>, now: Now) -> Result<(), BootError> {
        let error = failed("reset");
        spoil(disk, Path::new(DIR)).map_err(|why| error(why.to_string()))?;
        let truncation = Truncation::restart(Offset::ZERO);
        let entry = Entry::State { topic_partition: METADATA, state: truncation.state() };
        self.commit(std::slice::from_ref(&entry))?;
        let cut = log.begin_truncation(now, truncation).map_err(|why| error(why.to_string()))?;
        let done = cut.run().map_err(|why| error(why.to_string()))?;
        log.finish_truncation(done);
        forget(disk, Path::new(DIR)).map_err(|why| error(why.to_string()))
    }

    /// `runtime::joining::settle`.
    fn settle(&mut self, node_id: NodeId, image: &Image, plan: &Plan, now: Now) -> Settled {
        let mut unsound = BTreeSet::new();
        let lost = self.logs.iter().filter(|log| log.damaged_from().is_some());
        unsound.extend(lost.map(Log::topic_partition));
        let logs = std::mem::take(&mut self.logs);
        let mut found: BTreeMap<TopicPartition, Log<SimDisk>> =
            logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
        let mut settled = Vec::new();
        let mut missing = Vec::new();
        for (topic_id, topic) in image.topics() {
            let effective = topic.effective(&plan.topic_defaults());
            for (number, partition) in topic.partitions.iter().enumerate() {
                let topic_partition =
                    TopicPartition { topic_id, partition: Partition(number as i32) };
                if !partition.replicas.contains(&node_id) {
                    continue;
                }
                let mut log = if let Some(log) = found.remove(&topic_partition) {
                    log
                } else {
                    unsound.insert(topic_partition);
                    let name = TopicName::new(&topic.name).expect("legal");
                    let made = self.dir.create(&name, topic_partition, effective.clone(), now);
                    let Ok(log) = made else {
                        missing.push(topic_partition);
                        continue;
                    };
                    log
                };
                log.set_config(effective.clone());
                settled.push(log);
            }
        }
        Settled { logs: settled, unclaimed: found, unsound, missing }
    }
}

struct Settled {
    logs: Vec<Log<SimDisk>>,
    unclaimed: BTreeMap<TopicPartition, Log<SimDisk>>,
    unsound: BTreeSet<TopicPartition>,
    missing: Vec<TopicPartition>,
}

/// What a start found.
pub struct Found {
    /// Logs with damage below the durable mark.
    pub damage: BTreeSet<TopicPartition>,
    /// What the site is told of.
    pub unsound: BTreeSet<TopicPartition>,
    /// Whether the quorum's log could be used.
    pub is_quorum_lost: bool,
    /// Whether all copies are doubted.
    pub is_unproven: bool,
    /// What each log holds, from where to where, and up to where it says that it is safe.
    pub logs: Vec<FoundLog>,
    /// What would be left of each if the power went now.
    pub safe: BTreeMap<TopicPartition, i64>,
}

impl Found {
    /// Whether something was missing that had been safe.
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty() || self.is_quorum_lost || self.is_unproven
    }

    /// Whether a copy is known not to be what it was.
    pub fn is_unsound(&self, topic_partition: TopicPartition) -> bool {
        self.is_unproven || self.unsound.contains(&topic_partition)
    }
}

/// A log as a start found it.
pub struct FoundLog {
    pub topic_partition: TopicPartition,
    pub batches: Batches,
    pub start: i64,
    pub end: i64,
    pub durable: i64,
}

/// All batches of a log.
pub fn read_log(log: &Log<SimDisk>) -> FoundLog {
    let (start, end) = (log.start_offset(), log.end_offset());
    let batches = read_from(log, start);
    let (start, end, durable) = (start.0, end.0, log.durable_offset().0);
    FoundLog { topic_partition: log.topic_partition(), batches, start, end, durable }
}

/// The batches of a log from an offset on.
pub fn read_from(log: &Log<SimDisk>, start: Offset) -> Batches {
    let end = log.end_offset();
    let mut batches = Batches::default();
    let mut offset = start;
    while offset < end {
        let Ok(slice) = log.read(offset, 1 << 20, end, true) else { break };
        let mut bytes = vec![0; slice.bytes as usize];
        if bytes.is_empty() || slice.file.read_exact_at(&mut bytes, slice.position).is_err() {
            break;
        }
        let mut rest = &bytes[..];
        while let Ok((batch, behind)) = Batch::split_first(rest) {
            let header = batch.header();
            let (base, next) = (header.base_offset.0, header.next_offset());
            let (epoch, hash) = (header.leader_epoch.0, crc32c(batch.bytes()));
            batches.0.insert(base, Known { end: next.0, epoch, hash });
            (offset, rest) = (next, behind);
        }
    }
    batches
}

/// What would be left of each log if the power went now.
fn survey(disk: &SimDisk, life: Life, plan: &Plan, now: Now) -> BTreeMap<TopicPartition, i64> {
    let after = disk.power_cut(PowerCut::KeepNothing);
    let Ok(opened) = OpenDir::open(&after, life, plan, now) else { return BTreeMap::new() };
    opened.logs.iter().map(|log| (log.topic_partition(), log.end_offset().0)).collect()
}

/// The name of a process; the second byte is its life, by which checkers know it.
fn process_of(life: Life, seed: u64) -> Uuid {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&[1, life.number as u8, life.node as u8, 1]);
    name[4..12].copy_from_slice(&seed.to_be_bytes());
    Uuid(name)
}

/// Starts the control machine on what was found; one whose quorum log cannot be used begins anew.
fn begin(
    opened: &mut OpenDir,
    disk: &SimDisk,
    (life, seed): (Life, u64),
    plan: &Plan,
    now: Now,
    (mut log, mut standing): (Log<SimDisk>, Standing),
    found: &mut Found,
) -> Result<Site<SimDisk>, BootError> {
    loop {
        if let Standing::Lost(_) = &standing {
            found.is_quorum_lost = true;
            opened.reset(disk, &mut log, now)?;
            standing = Standing::Blank;
        }
        let start = SiteStart {
            config: plan.site_config(life.node, life.number == 1),
            controller: plan.controller_config(life.node),
            log,
            standing,
            shard_count: plan.shard_count(life.node),
            seed,
            incarnation: seed as u32 | 1,
            process: process_of(life, seed),
            directory_id: opened.dir.identity().directory_id,
            cluster_id: opened.dir.identity().cluster_id,
        };
        match Site::start(now, start) {
            Ok(site) => return Ok(site),
            Err((SiteError::Quorum(_), kept)) => {
                (log, standing) = (*kept, Standing::Lost("the quorum does not go by it"));
            }
            Err((why, _)) => return Err(BootError(format!("site: {why}"))),
        }
    }
}

/// Starts the shards, each with its share of the logs.
fn begin_shards(
    (life, seed): (Life, u64),
    plan: &Plan,
    now: Now,
    image: &Image,
    logs: Vec<Log<SimDisk>>,
) -> Vec<Shard<SimDisk>> {
    let shard_count = plan.shard_count(life.node);
    let config = plan.broker_config(life.node, seed);
    let mut shares: Vec<Vec<Log<SimDisk>>> = Vec::new();
    shares.resize_with(usize::from(shard_count), Vec::new);
    for log in logs {
        let owner = ShardId::owner(log.topic_partition(), shard_count);
        shares[usize::from(owner.0)].push(log);
    }
    let shards = shares.into_iter().enumerate().map(|(number, adopted)| {
        let mut shard = Shard::new(now, ShardId(number as u16), config.clone());
        let changes = image.as_changes();
        shard.step(
            now,
            ShardEvent::Apply(Apply { version: 0, changes, adopted, is_current: false }),
        );
        shard
    });
    shards.collect()
}

/// Starts a process on a disk: `runtime::boot` and `runtime::joining`.
pub fn boot(
    disk: &SimDisk,
    life: Life,
    plan: &Plan,
    now: Now,
) -> Result<(Running, Found), BootError> {
    let mut opened = OpenDir::open(disk, life, plan, now)?;
    let path = Path::new(DIR);
    let owed = owed_entries(&opened.logs, &opened.recovery.partitions);
    let owed = owed.map_err(|why| BootError(format!("what the journal is owed: {why}")))?;
    opened.commit(&owed)?;
    let log = opened.take_metadata(now)?;
    let node_id = NodeId(life.node);
    let read = |why: std::io::Error| BootError(format!("quorum files: {why}"));
    let state = read_state(disk, path).map_err(read)?;
    let snapshot = read_snapshot(disk, path).map_err(read)?;
    let standing = examine(node_id, &log, state, snapshot, opened.is_journal_sound);
    let damage = opened.recovery.partitions.iter();
    let damage = damage.filter(|one| !one.new_holes.is_empty());
    let mut found = Found {
        damage: damage.map(|one| one.topic_partition).collect(),
        unsound: BTreeSet::new(),
        is_quorum_lost: false,
        is_unproven: false,
        logs: opened.logs.iter().chain([&log]).map(read_log).collect(),
        safe: BTreeMap::new(),
    };
    let seed = plan.seed.wrapping_mul(31) ^ (life.number << 8 | life.node as u64);
    let mut site = begin(&mut opened, disk, (life, seed), plan, now, (log, standing), &mut found)?;
    let image = site.controller().image().clone();
    let settled = opened.settle(node_id, &image, plan, now);
    if !settled.missing.is_empty() {
        return Err(BootError(format!("{:?} could not be made", settled.missing)));
    }
    found.unsound.clone_from(&settled.unsound);
    found.is_unproven = opened.is_unproven;
    site.note_given(settled.logs.iter().map(Log::topic_partition));
    site.note_found(FoundCopies {
        unclaimed: settled.unclaimed,
        unsound: settled.unsound,
        is_unproven: opened.is_unproven,
        was_clean: !opened.recovery.is_unclean,
    });
    journal::started(disk, path).map_err(|why| BootError(format!("the start's end: {why}")))?;
    found.safe = survey(disk, life, plan, now);
    let shards = begin_shards((life, seed), plan, now, &image, settled.logs);
    Ok((Running::new(life, site, shards, opened, plan.much_bytes), found))
}
