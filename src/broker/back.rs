//! The back half of a shard: its partitions, and the produces, trims and fetches that wait there.
//!
//! A produce with acks −1 is parked until the partition's durable offset passes its last record;
//! a fetch that found too little leaves a watch. The clients' deadlines are the front's business:
//! an answer that comes too late finds no request and is dropped there.
//!
//! **Invariant:** every ask gets exactly one reply. A partition's waiting produces are in offset
//! order, so completing them is popping.
//!
//! Read semantics.md 2.2 steps 1–10, 2.3 and 2.22 before editing.

mod clean;
mod describe;
mod fetch;
mod group;
mod held;
mod kept;
mod offsets;
mod produce;
mod producers;
mod replicas;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::group::Groups;
use self::held::{Held, HeldShare};
use self::kept::Kept;
use self::replicas::Replicas;
use crate::broker::awaited::Awaited;
use crate::broker::mail::{Ask, AskBody, Place, Reply, ReplyBody, RequestId, Route};
use crate::broker::metrics::BackMetrics;
use crate::broker::scrub::{ScrubJob, ScrubPlan};
use crate::broker::{BrokerConfig, LiveConfig, Memory};
use crate::controller::OFFSETS_TOPIC;
use crate::group_config::GroupOverrides;
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
use crate::journal::disk::Disk;
use crate::journal::{Entry, SmallState};
use crate::log::{Cut, DamageNote, Log, ProducersNote, Round, Slice};
use crate::mutant::{self, Mutant};
use crate::replica::{Input, Replica};
use crate::time::{Boot, Now};
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;
use crate::wire::delete_records::DeletedRecords;
use crate::wire::produce::ProducedPartition;
use crate::wire::replica::alter_partition::AlterReplicas;
use crate::wire::replica::fetch::{FetchReplica, FetchedReplica};
use crate::wire::replica::progress::ProgressReplica;
use clean::CleanPlan;

/// What the back wants done.
pub enum BackOutput<D: Disk> {
    /// Hand to the flusher.
    Persist(Entry<D::File>),
    /// Give to the front of the asking shard.
    Reply(Reply<D::File>),
    /// Give to the front of the shard that watches.
    Progress(RequestId),
    /// Bring these bytes into the page cache, then say so by [`Back::loaded`].
    Load(Load<D::File>),
    /// Verify a sealed segment, slowly, then say so by [`Back::scrubbed`].
    Scrub(ScrubJob<D::File>),
    /// Work on a round of compaction, slowly, then give it back by [`Back::clean_turn`].
    Clean(Box<Round<D>>),
    /// Write down that a segment is damaged.
    Note(DamageNote<D>),
    /// Make durable what is known of a partition's producers, then say so by
    /// [`Back::producers_noted`].
    NoteProducers(TopicPartition, ProducersNote<D>),
    /// The partition is no longer here: its files may go.
    Retired(Box<Log<D>>),
    /// Ask a leader elsewhere.
    PeerFetch(NodeId, FetchReplica),
    /// Tell a leader elsewhere how far a replica is.
    PeerProgress(NodeId, ProgressReplica),
    /// Answer a follower elsewhere.
    PeerFetched(Route, FetchedReplica, Option<Slice<D::File>>),
    /// Propose other in-sync replicas to the controller, then tell its answer by
    /// [`Back::altered`].
    Alter(AlterReplicas),
    /// Cut a log on disk, then say so by [`Back::cut_done`].
    Cut(TopicPartition, Box<Cut<D>>),
}

/// Cold bytes that a read waits for.
#[derive(Clone, Debug)]
pub struct Load<F> {
    /// Names the wait.
    pub token: u64,
    /// The segment.
    pub file: F,
    /// From here,
    pub position: u64,
    /// so many.
    pub bytes: u64,
}

/// What a commit of the flusher made durable for one partition.
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Its new durable offset, if records were in the commit.
    pub durable_offset: Option<Offset>,
    /// Its new first offset, if that was in the commit.
    pub log_start_offset: Option<Offset>,
    /// Whether the commit says where the log is cut; the cut comes after what else is told here.
    pub is_truncated: bool,
    /// Whether the commit says that the log is let go: all that is told here is of that log, and all
    /// that is told from now on of the one in its place.
    pub is_forgotten: bool,
}

impl Flushed {
    /// Nothing of a partition.
    pub const fn nothing_of(topic_partition: TopicPartition) -> Flushed {
        Flushed {
            topic_partition,
            durable_offset: None,
            log_start_offset: None,
            is_truncated: false,
            is_forgotten: false,
        }
    }

    /// What became durable with an entry, if a partition's owner must hear of it.
    pub fn of<F>(entry: &Entry<F>) -> Option<Flushed> {
        let mut flushed = Flushed::nothing_of(entry.topic_partition());
        match entry {
            Entry::Append { end_offset, .. } | Entry::Flush { end_offset, .. } => {
                flushed.durable_offset = Some(*end_offset);
            }
            Entry::State { state, .. } => match *state {
                SmallState::LogStart(offset) => flushed.log_start_offset = Some(offset),
                SmallState::Truncated { .. } => flushed.is_truncated = true,
                SmallState::Forget => flushed.is_forgotten = true,
                _ => return None,
            },
        }
        Some(flushed)
    }

    /// Adds this to what a commit tells: a partition's batches come one after the other, and the last
    /// one says it all.
    pub fn join(self, commit: &mut Vec<Flushed>) {
        match commit.last_mut() {
            Some(last) if last.topic_partition == self.topic_partition && !last.is_last() => {
                last.durable_offset = last.durable_offset.max(self.durable_offset);
                last.log_start_offset = last.log_start_offset.max(self.log_start_offset);
                last.is_truncated = self.is_truncated;
                last.is_forgotten = self.is_forgotten;
            }
            _ => commit.push(self),
        }
    }

    /// Whether what follows is to be told by itself.
    fn is_last(&self) -> bool {
        self.is_truncated || self.is_forgotten
    }
}

struct PartitionState<D: Disk> {
    log: Kept<D>,
    /// Produces with acks −1: (end offset, request), in offset order.
    waiting: VecDeque<(Offset, RequestId)>,
    /// Trims whose new first offset is not durable yet.
    trims: Vec<(Offset, RequestId)>,
    /// Requests to tell when more can be read.
    watchers: Vec<RequestId>,
    /// When a topic without `acks.durable` is flushed next.
    flush_at: Option<Boot>,
    /// Whether a flush is under way.
    is_flushing: bool,
    /// Whether the segments on their way out go without delay.
    gives_up: bool,
    /// End of what consumers saw when the topic became durable: they do not see less afterwards.
    /// A replica knows that itself.
    seen: Offset,
    /// Whether what was appended before that is still to be flushed. Nothing may be appended until
    /// it is on its way: a commit behind it would be taken for proof of it.
    owes_flush: bool,
    /// What the log holds in memory.
    held: HeldShare,
}

impl<D: Disk> PartitionState<D> {
    /// Has a produce wait for a high watermark: a batch that was sent once more waits for the
    /// offset it got the first time, before others that came earlier.
    fn wait_for(&mut self, end_offset: Offset, request: RequestId) {
        let place = self.waiting.partition_point(|(other, _)| *other <= end_offset);
        self.waiting.insert(place, (end_offset, request));
    }

    fn high_watermark(&self) -> Offset {
        self.log.high_watermark().max(self.seen)
    }
}

/// An ask of which some items wait.
struct Parked<T> {
    done: Vec<(Place, T)>,
    waiting_count: usize,
    places: BTreeMap<TopicPartition, (Place, T)>,
}

struct Watch {
    topic_partitions: Vec<TopicPartition>,
    need_bytes: u64,
}

/// How often open files are counted, and what is known of producers is written down.
const HANDLES_INTERVAL_MS: u64 = 5000;

/// A load that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// The partitions of one shard.
pub struct Back<D: Disk> {
    partitions: BTreeMap<TopicPartition, PartitionState<D>>,
    produces: BTreeMap<RequestId, Parked<ProducedPartition>>,
    trims: BTreeMap<RequestId, Parked<DeletedRecords>>,
    watches: BTreeMap<RequestId, Watch>,
    /// Asks that wait for bytes of a segment.
    cold: BTreeMap<u64, (Ask, TopicPartition, Offset)>,
    /// Of the ask under way: the segment of which bytes could not be loaded.
    lost: Option<(TopicPartition, Offset)>,
    next_token: u64,
    flush_timers: BTreeSet<(Boot, TopicPartition)>,
    retention_at: Boot,
    retention_interval_ms: u64,
    producer_id_expiration_ms: u64,
    handles_at: Boot,
    handles_max: usize,
    /// Producers that partitions remember, counted too high rather than too low.
    producer_count: usize,
    producers_max: usize,
    scrub: ScrubPlan,
    clean: CleanPlan,
    held: Held,
    awaited: Awaited<TopicPartition>,
    replicas: Replicas,
    /// Partitions whose logs were let go, how many of each, until a commit says so: what commits tell
    /// until then is not of the log in their place.
    forgetting: BTreeMap<TopicPartition, u32>,
    /// Logs that were let go while they are being cut.
    leaving: BTreeMap<TopicPartition, Box<Log<D>>>,
    is_writable: bool,
    has_space: bool,
    outputs: VecDeque<BackOutput<D>>,
    metrics: BackMetrics,
    memory: &'static (dyn Memory + Sync),
    groups: Groups,
}

impl<D: Disk> Back<D> {
    /// A back without partitions.
    pub fn new(now: Now, config: &BrokerConfig) -> Back<D> {
        let retention_interval_ms = config.live.retention_check_interval_ms;
        Back {
            partitions: BTreeMap::new(),
            produces: BTreeMap::new(),
            trims: BTreeMap::new(),
            watches: BTreeMap::new(),
            cold: BTreeMap::new(),
            lost: None,
            next_token: 0,
            flush_timers: BTreeSet::new(),
            retention_at: now.boot.plus_ms(retention_interval_ms),
            retention_interval_ms,
            producer_id_expiration_ms: config.live.producer_id_expiration_ms,
            handles_at: now.boot.plus_ms(HANDLES_INTERVAL_MS),
            handles_max: config.handles_max,
            producer_count: 0,
            producers_max: config.producers_max,
            scrub: ScrubPlan::new(now.boot, config.live.scrub_interval_ms),
            clean: CleanPlan::new(
                now.boot,
                config.live.cleaner_backoff_ms,
                config.live.cleaner_map_bytes,
            ),
            held: Held::new(config.shard_count),
            awaited: Awaited::default(),
            replicas: Replicas::new(config),
            forgetting: BTreeMap::new(),
            leaving: BTreeMap::new(),
            is_writable: true,
            has_space: true,
            outputs: VecDeque::new(),
            metrics: BackMetrics::default(),
            memory: config.memory,
            groups: Groups::new(config.live.groups.clone(), config.seed),
        }
    }

    /// Takes a partition over. One that has replicas elsewhere leads only when it is told so.
    pub fn adopt(&mut self, now: Now, log: Log<D>, broker_epoch: Option<i64>) {
        let topic_partition = log.topic_partition();
        self.producer_count += log.producer_count();
        let log = match broker_epoch {
            Some(broker_epoch) => self.replicas.keep(now, log, broker_epoch),
            None => Kept::Alone(log),
        };
        if log.name().as_str() == OFFSETS_TOPIC && log.leads() && self.is_writable {
            self.groups.adopt(topic_partition, log.start_offset());
        }
        let state = PartitionState {
            log,
            waiting: VecDeque::new(),
            trims: Vec::new(),
            watchers: Vec::new(),
            flush_at: None,
            is_flushing: false,
            gives_up: false,
            seen: Offset::ZERO,
            owes_flush: false,
            held: HeldShare::default(),
        };
        let replaced = self.partitions.insert(topic_partition, state);
        assert!(replaced.is_none(), "a partition has one owner");
        self.bound_producers();
    }

    /// Lets all partitions of a deleted topic go; what waits there is answered.
    pub fn retire_topic(&mut self, topic_id: TopicId) {
        let leaving: Vec<_> = self
            .partitions
            .keys()
            .copied()
            .filter(|topic_partition| topic_partition.topic_id == topic_id)
            .collect();
        for topic_partition in leaving {
            self.retire(topic_partition, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
    }

    /// Lets a partition go, whose topic was deleted or that is to live elsewhere.
    pub fn retire(&mut self, topic_partition: TopicPartition, error: ErrorCode) {
        let Some(mut state) = self.partitions.remove(&topic_partition) else { return };
        self.held.forget(&mut state.held);
        self.fail_waiting(topic_partition, &mut state, error);
        if let Some(at) = state.flush_at {
            self.flush_timers.remove(&(at, topic_partition));
        }
        for request in std::mem::take(&mut state.watchers) {
            self.progress(request);
        }
        self.retire_group(topic_partition);
        self.replicas.forget(topic_partition, &state.log);
        let forget = Entry::State { topic_partition, state: SmallState::Forget };
        self.outputs.push_back(BackOutput::Persist(forget));
        *self.forgetting.entry(topic_partition).or_default() += 1;
        let is_being_cut = state.log.is_being_cut();
        let log = Box::new(state.log.into_log());
        if is_being_cut {
            self.leaving.insert(topic_partition, log);
        } else {
            self.outputs.push_back(BackOutput::Retired(log));
        }
    }

    /// Whether a log that was let go is being cut: until that is over its directory is not another's.
    pub fn is_letting_go(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Gives all partitions of a topic another configuration.
    pub fn configure_topic(&mut self, now: Now, topic_id: TopicId, config: &TopicConfig) {
        let is_of = |topic_partition: &&TopicPartition| topic_partition.topic_id == topic_id;
        let configured: Vec<_> = self.partitions.keys().filter(is_of).copied().collect();
        for topic_partition in configured {
            self.configure(now, topic_partition, config);
        }
    }

    fn configure(&mut self, now: Now, topic_partition: TopicPartition, config: &TopicConfig) {
        let state = self.partitions.get_mut(&topic_partition).expect("listed by the caller");
        let before = state.high_watermark();
        let becomes_durable = !state.log.config().acks_durable && config.acks_durable;
        let is_alone = state.log.replica().is_none();
        if is_alone {
            state.log.set_config(config.clone());
        }
        if becomes_durable {
            if is_alone {
                state.seen = before;
            }
            state.owes_flush = true;
            // What fails here is tried again, and answered for, by the next append.
            let is_paid = self.pay_flush(topic_partition).is_ok();
            // A follower appends what comes, and could not wait for it.
            if !is_paid && !is_alone {
                self.step_replica(now, topic_partition, Input::StorageFailed);
            }
        }
        if !is_alone {
            // It tells of a higher high watermark itself.
            return self.step_replica(
                now,
                topic_partition,
                Input::Configure(config.clone().into()),
            );
        }
        let state = self.partitions.get(&topic_partition).expect("found above");
        if before < state.high_watermark() {
            self.raise_high_watermark(topic_partition, u64::MAX);
            self.complete_produces(topic_partition);
        }
    }

    /// Hands what was appended while acks were weak to the flusher, ahead of whatever is appended
    /// from now on.
    fn pay_flush(&mut self, topic_partition: TopicPartition) -> Result<(), ErrorCode> {
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        if state.owes_flush {
            if let Some(at) = state.flush_at {
                self.flush_timers.remove(&(at, topic_partition));
            }
            self.flush_weak(topic_partition)?;
            self.partitions.get_mut(&topic_partition).expect("found above").owes_flush = false;
        }
        Ok(())
    }

    /// Takes over what may change at run time. Topics are configured one by one.
    pub fn reconfigure(&mut self, now: Now, config: &LiveConfig) {
        if self.retention_interval_ms != config.retention_check_interval_ms {
            self.retention_interval_ms = config.retention_check_interval_ms;
            self.retention_at = now.boot.plus_ms(self.retention_interval_ms);
        }
        self.producer_id_expiration_ms = config.producer_id_expiration_ms;
        self.replicas.throttled = config.replication_throttled;
        self.share_throttle(now);
        self.scrub.set_interval(now.boot, config.scrub_interval_ms);
        self.groups.reconfigure(&config.groups);
        self.clean.set(now.boot, config.cleaner_backoff_ms, config.cleaner_map_bytes);
    }

    /// A group has set something itself.
    pub fn configure_group(&mut self, group_id: &str, own: GroupOverrides) {
        self.groups.configure_group(group_id, own);
    }

    /// The log dir failed (or its flusher did): nothing more is acknowledged from it.
    pub fn storage_failed(&mut self, now: Now) {
        self.is_writable = false;
        let mut partitions = std::mem::take(&mut self.partitions);
        for (topic_partition, state) in &mut partitions {
            self.fail_waiting(*topic_partition, state, ErrorCode::KAFKA_STORAGE_ERROR);
        }
        self.partitions = partitions;
        self.fail_replicas(now);
        self.fail_group_writes(now, ErrorCode::KAFKA_STORAGE_ERROR);
        self.retire_all_groups();
    }

    /// The disk has room for appends, or no longer has.
    pub fn set_space(&mut self, has_space: bool) {
        self.has_space = has_space;
    }

    /// The logs here, each with its replica where others have a part in it.
    pub fn partitions(&self) -> impl Iterator<Item = (&Log<D>, Option<&Replica<D>>)> {
        self.partitions.values().map(|state| (&*state.log, state.log.replica()))
    }

    /// All logs, for a clean stop. Nothing may be asked afterwards.
    pub fn into_logs(self) -> impl Iterator<Item = Log<D>> {
        self.partitions.into_values().map(|state| state.log.into_log())
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<BackOutput<D>> {
        self.outputs.pop_front()
    }

    /// When [`Back::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        // Files whose delay is over go with the next retention check: nobody waits for them.
        let flush_at = self.flush_timers.first().map_or(Boot::NEVER, |(at, _)| *at);
        let upkeep_at = self.scrub.next_at().min(self.clean.next_at());
        let upkeep_at = upkeep_at.min(self.retention_at).min(self.handles_at);
        let replicas_at = self.replicas.next_deadline();
        flush_at.min(upkeep_at).min(replicas_at).min(self.groups.next_deadline())
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        while let Some(&(at, topic_partition)) = self.flush_timers.first() {
            if now.boot < at {
                break;
            }
            self.flush_timers.pop_first();
            // Said already; what is appended next has it tried again.
            let _ = self.flush_weak(topic_partition);
        }
        if self.replicas.next_deadline() <= now.boot {
            self.tick_replicas(now);
        }
        if self.handles_at <= now.boot {
            self.handles_at = now.boot.plus_ms(HANDLES_INTERVAL_MS);
            self.close_handles();
            self.save_producers(now);
        }
        if self.retention_at <= now.boot {
            self.retention_at = now.boot.plus_ms(self.retention_interval_ms);
            self.expire_all(now);
        }
        if self.scrub.next_at() <= now.boot {
            self.scrub_next(now);
        }
        if self.clean.next_at() <= now.boot {
            self.clean_next(now);
        }
        if self.groups.next_deadline() <= now.boot {
            self.tick_groups(now);
        }
    }

    /// Answers an ask, now or later.
    pub fn ask(&mut self, now: Now, ask: Ask) {
        let Ask { request, body } = ask;
        match body {
            AskBody::Produce { acks, items } => self.produce(now, request, acks, items),
            AskBody::Fetch(fetch) => self.fetch(now, request, fetch),
            AskBody::Offsets(items) => self.offsets(request, items),
            AskBody::Trim(items) => self.trim(now, request, &items),
            AskBody::EpochEnds(items) => self.epoch_ends(request, &items),
            AskBody::Describe(items) => self.describe(request, &items),
            AskBody::Group(ask) => self.ask_groups(now, request, ask),
            AskBody::GroupAnswers => self.take_group_answers(request),
            AskBody::Producers(items) => self.describe_producers(request, &items),
            AskBody::Metrics => {
                let mut metrics = self.metrics.list(self.partitions.values().map(|s| &*s.log));
                metrics.push(("groups_now", self.groups.group_count()));
                self.reply(request, ReplyBody::Metrics(metrics));
            }
        }
    }

    fn reply(&mut self, request: RequestId, body: ReplyBody<D::File>) {
        self.outputs.push_back(BackOutput::Reply(Reply { request, body }));
    }
}

fn check_epoch(requested: LeaderEpoch, current: LeaderEpoch) -> ErrorCode {
    let is_believed = requested < current && mutant::is_on(Mutant::TakesStaleEpoch);
    if requested == LeaderEpoch::NONE || requested == current || is_believed {
        ErrorCode::NONE
    } else if requested < current {
        ErrorCode::FENCED_LEADER_EPOCH
    } else {
        ErrorCode::UNKNOWN_LEADER_EPOCH
    }
}
