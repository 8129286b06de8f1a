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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::broker::admit::admit;
use crate::broker::mail::{
    Ask, AskBody, DescribeItem, FetchAsk, FetchItem, Fetched, OffsetsItem, Place, ProduceItem,
    Reply, ReplyBody, RequestId, TrimItem,
};
use crate::broker::metrics::BackMetrics;
use crate::broker::scrub::{ScrubJob, ScrubPlan};
use crate::broker::{BrokerConfig, LiveConfig, Memory};
use crate::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::journal::disk::Disk;
use crate::journal::{Entry, SmallState};
use crate::limits::DESCRIBED_DAMAGE_MAX;
use crate::log::{DamageNote, FlushTarget, FoundOffset, Log, LogError, ReadError, Scrubbed};
use crate::time::{Boot, Now, Timestamp};
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;
use crate::wire::delete_records::DeletedRecords;
use crate::wire::describe_log_dirs::{DescribedLog, Hole};
use crate::wire::list_offsets::{self, ListedOffset};
use crate::wire::produce::ProducedPartition;

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
    /// Write down that a segment is damaged.
    Note(DamageNote<D>),
    /// The partition is no longer here: its files may go.
    Retired(Box<Log<D>>),
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
}

struct PartitionState<D: Disk> {
    log: Log<D>,
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
    seen: Offset,
    /// Whether what was appended before that is still to be flushed. Nothing may be appended until
    /// it is on its way: a commit behind it would be taken for proof of it.
    owes_flush: bool,
}

impl<D: Disk> PartitionState<D> {
    fn high_watermark(&self) -> Offset {
        if self.log.config().acks_durable {
            self.log.durable_offset().max(self.seen)
        } else {
            self.log.end_offset()
        }
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

/// How often open files are counted.
const HANDLES_INTERVAL_MS: u64 = 5000;

/// A load that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// The partitions of one shard.
pub struct Back<D: Disk> {
    partitions: BTreeMap<TopicPartition, PartitionState<D>>,
    produces: BTreeMap<RequestId, Parked<ProducedPartition>>,
    trims: BTreeMap<RequestId, Parked<DeletedRecords>>,
    watches: BTreeMap<RequestId, Watch>,
    cold: BTreeMap<u64, Ask>,
    next_token: u64,
    flush_timers: BTreeSet<(Boot, TopicPartition)>,
    retention_at: Boot,
    retention_interval_ms: u64,
    handles_at: Boot,
    handles_max: usize,
    scrub: ScrubPlan,
    is_writable: bool,
    has_space: bool,
    outputs: VecDeque<BackOutput<D>>,
    metrics: BackMetrics,
    memory: &'static (dyn Memory + Sync),
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
            next_token: 0,
            flush_timers: BTreeSet::new(),
            retention_at: now.boot.plus_ms(retention_interval_ms),
            retention_interval_ms,
            handles_at: now.boot.plus_ms(HANDLES_INTERVAL_MS),
            handles_max: config.handles_max,
            scrub: ScrubPlan::new(now.boot, config.live.scrub_interval_ms),
            is_writable: true,
            has_space: true,
            outputs: VecDeque::new(),
            metrics: BackMetrics::default(),
            memory: config.memory,
        }
    }

    /// Takes a partition over.
    pub fn adopt(&mut self, log: Log<D>) {
        let topic_partition = log.topic_partition();
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
        };
        let replaced = self.partitions.insert(topic_partition, state);
        assert!(replaced.is_none(), "a partition has one owner");
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
            let mut state = self.partitions.remove(&topic_partition).expect("listed just now");
            self.fail_waiting(topic_partition, &mut state, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            if let Some(at) = state.flush_at {
                self.flush_timers.remove(&(at, topic_partition));
            }
            for request in std::mem::take(&mut state.watchers) {
                self.progress(request);
            }
            let forget = Entry::State { topic_partition, state: SmallState::Forget };
            self.outputs.push_back(BackOutput::Persist(forget));
            self.outputs.push_back(BackOutput::Retired(Box::new(state.log)));
        }
    }

    /// Gives all partitions of a topic another configuration.
    pub fn configure_topic(&mut self, topic_id: TopicId, config: &TopicConfig) {
        let is_of = |topic_partition: &&TopicPartition| topic_partition.topic_id == topic_id;
        let configured: Vec<_> = self.partitions.keys().filter(is_of).copied().collect();
        for topic_partition in configured {
            self.configure(topic_partition, config);
        }
    }

    fn configure(&mut self, topic_partition: TopicPartition, config: &TopicConfig) {
        let state = self.partitions.get_mut(&topic_partition).expect("listed by the caller");
        let before = state.high_watermark();
        let becomes_durable = !state.log.config().acks_durable && config.acks_durable;
        state.log.set_config(config.clone());
        if becomes_durable {
            state.seen = before;
            state.owes_flush = true;
            // What fails here is tried again, and answered for, by the next append.
            let _ = self.pay_flush(topic_partition);
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
        self.scrub.set_interval(now.boot, config.scrub_interval_ms);
    }

    /// The log dir failed (or its flusher did): nothing more is acknowledged from it.
    pub fn storage_failed(&mut self) {
        self.is_writable = false;
        let mut partitions = std::mem::take(&mut self.partitions);
        for (topic_partition, state) in &mut partitions {
            self.fail_waiting(*topic_partition, state, ErrorCode::KAFKA_STORAGE_ERROR);
        }
        self.partitions = partitions;
    }

    /// The disk has room for appends, or no longer has.
    pub fn set_space(&mut self, has_space: bool) {
        self.has_space = has_space;
    }

    /// All logs, for a clean stop. Nothing may be asked afterwards.
    pub fn into_logs(self) -> impl Iterator<Item = Log<D>> {
        self.partitions.into_values().map(|state| state.log)
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<BackOutput<D>> {
        self.outputs.pop_front()
    }

    /// When [`Back::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        // Files whose delay is over go with the next retention check: nobody waits for them.
        let flush_at = self.flush_timers.first().map_or(Boot::NEVER, |(at, _)| *at);
        flush_at.min(self.retention_at).min(self.handles_at).min(self.scrub.next_at())
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
        if self.handles_at <= now.boot {
            self.handles_at = now.boot.plus_ms(HANDLES_INTERVAL_MS);
            self.close_handles();
        }
        if self.retention_at <= now.boot {
            self.retention_at = now.boot.plus_ms(self.retention_interval_ms);
            self.expire_all(now);
        }
        if self.scrub.next_at() <= now.boot {
            self.scrub_next(now);
        }
    }

    // Scrub.

    /// Has the next sealed segment verified, if the pass is not over.
    fn scrub_next(&mut self, now: Now) {
        let first = self.scrub.partition().unwrap_or_default();
        for (&topic_partition, state) in self.partitions.range(first..) {
            match state.log.scrub(self.scrub.segment_in(topic_partition)) {
                Ok(Some(scrub)) => {
                    self.scrub.begin(now.boot, topic_partition, scrub.segment());
                    let job = ScrubJob { topic_partition, scrub };
                    return self.outputs.push_back(BackOutput::Scrub(job));
                }
                Ok(None) => {}
                Err(why) => log::error!("{}: the scrub cannot read it: {why}", state.log.name()),
            }
        }
        self.scrub.end_pass(now.boot);
    }

    /// A part of a segment was verified; `None` when it could not be read.
    pub fn scrubbed(&mut self, now: Now, job: ScrubJob<D::File>, found: Option<Scrubbed>) {
        let (topic_partition, segment) = (job.topic_partition, job.scrub.segment());
        let state = self.partitions.get(&topic_partition);
        let is_there = state.is_some_and(|state| state.log.has_segment(segment));
        if found == Some(Scrubbed::Going) && is_there && self.scrub.is_wanted() {
            // A segment that was deleted meanwhile is let go: its room may be needed.
            return self.outputs.push_back(BackOutput::Scrub(job));
        }
        self.scrub.go_on(now.boot);
        self.metrics.scrub_segment_count += u64::from(found == Some(Scrubbed::Sound));
        if let Some(Scrubbed::Damaged { position, .. }) = found {
            self.suspect(topic_partition, segment, position);
        }
    }

    /// Has it written down that a segment is damaged, when that is news.
    fn suspect(&mut self, topic_partition: TopicPartition, segment: Offset, position: u64) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        let Some(note) = state.log.note_suspect(segment) else { return };
        log::error!(
            "{}-{}: segment {segment} is damaged at byte {position}; the next start scans it, \
             keeps what is good and names what is lost",
            state.log.name(),
            topic_partition.partition
        );
        self.metrics.damage_found_count += 1;
        self.outputs.push_back(BackOutput::Note(note));
    }

    /// The answer to a read that failed. Damage that it met is taken note of.
    fn read_failed(
        &mut self,
        topic_partition: TopicPartition,
        why: &ReadError<D::File>,
    ) -> ErrorCode {
        match why {
            ReadError::OffsetOutOfRange => return ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::Damaged { segment, position } => {
                self.suspect(topic_partition, *segment, *position);
            }
            ReadError::Cold { .. } | ReadError::Io(_) => {}
        }
        ErrorCode::KAFKA_STORAGE_ERROR
    }

    /// Sealed segments are opened again when they are read, so closing them costs little.
    fn close_handles(&mut self) {
        let open: usize = self.partitions.values().map(|state| state.log.handle_count()).sum();
        if self.handles_max < open {
            self.partitions.values_mut().for_each(|state| state.log.close_idle_handles());
        }
    }

    fn flush_weak(&mut self, topic_partition: TopicPartition) -> Result<(), ErrorCode> {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return Ok(()) };
        state.flush_at = None;
        let targets = state.log.flush_targets().map_err(|why| {
            log::error!("a flush of {} failed: {why}", state.log.name());
            ErrorCode::KAFKA_STORAGE_ERROR
        })?;
        state.is_flushing = !targets.is_empty();
        for FlushTarget { segment, end_offset, position_end } in targets {
            let entry = Entry::Flush { topic_partition, end_offset, segment, position_end };
            self.outputs.push_back(BackOutput::Persist(entry));
        }
        Ok(())
    }

    fn expire_all(&mut self, now: Now) {
        for (topic_partition, state) in &mut self.partitions {
            let high_watermark = state.high_watermark();
            match state.log.expire(now, high_watermark) {
                Ok(Some(raised)) => {
                    let entry = Entry::State { topic_partition: *topic_partition, state: raised };
                    self.outputs.push_back(BackOutput::Persist(entry));
                }
                Ok(None) => {}
                Err(why) => log::error!("retention of {}: {why}", state.log.name()),
            }
            if let Some((file, position, bytes)) = state.log.take_cold() {
                // Loaded for the next check: nobody waits for it.
                let load = Load { token: NOBODY, file, position, bytes };
                self.outputs.push_back(BackOutput::Load(load));
            }
            delete_expired(&mut state.log, now);
        }
    }

    /// Makes room by giving up the oldest segment of the largest log, at the latest when the disk
    /// is full (`disk.full.policy = "delete-oldest"`). While one is on its way out it is the only
    /// one: its room is not seen before. Answers whether one goes.
    pub fn give_up_oldest(&mut self, now: Now) -> bool {
        if self.partitions.values().any(|state| state.gives_up) {
            return true;
        }
        let candidates = self.partitions.iter_mut().filter(|(_, s)| 1 < s.log.segment_count());
        let Some((topic_partition, state)) = candidates.max_by_key(|(_, s)| s.log.size_bytes())
        else {
            return false;
        };
        let high_watermark = state.high_watermark();
        let Ok(Some(raised)) = state.log.expire_oldest(now, high_watermark) else { return false };
        state.gives_up = true;
        let entry = Entry::State { topic_partition: *topic_partition, state: raised };
        self.outputs.push_back(BackOutput::Persist(entry));
        true
    }

    /// Answers an ask, now or later.
    pub fn ask(&mut self, now: Now, ask: Ask) {
        let Ask { request, body } = ask;
        match body {
            AskBody::Produce { acks, items } => self.produce(now, request, acks, items),
            AskBody::Fetch(fetch) => self.fetch(request, fetch),
            AskBody::Offsets(items) => self.offsets(request, items),
            AskBody::Trim(items) => self.trim(request, &items),
            AskBody::Describe(items) => self.describe(request, &items),
            AskBody::Metrics => {
                let metrics = self.metrics.list(self.partitions.values().map(|s| &s.log));
                self.reply(request, ReplyBody::Metrics(metrics));
            }
        }
    }

    fn reply(&mut self, request: RequestId, body: ReplyBody<D::File>) {
        self.outputs.push_back(BackOutput::Reply(Reply { request, body }));
    }

    // Produce.

    fn produce(&mut self, now: Now, request: RequestId, acks: i8, items: Vec<ProduceItem>) {
        let mut parked = Parked { done: Vec::new(), waiting_count: 0, places: BTreeMap::new() };
        for ProduceItem { place, topic_partition, batch } in items {
            match self.append(now, topic_partition, batch) {
                Err(error) => parked.done.push((place, ProducedPartition::failed(error))),
                Ok((produced, end_offset)) => {
                    let state = self.partitions.get_mut(&topic_partition).expect("appended to");
                    if acks == -1 && state.high_watermark() < end_offset {
                        state.waiting.push_back((end_offset, request));
                        parked.waiting_count += 1;
                        parked.places.insert(topic_partition, (place, produced));
                    } else {
                        parked.done.push((place, produced));
                    }
                }
            }
        }
        if parked.waiting_count == 0 {
            self.reply(request, ReplyBody::Produced(parked.done));
        } else {
            self.produces.insert(request, parked);
        }
    }

    fn append(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        mut batch: BytesMut,
    ) -> Result<(ProducedPartition, Offset), ErrorCode> {
        if !self.is_writable || !self.has_space {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if !self.partitions.contains_key(&topic_partition) {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        self.pay_flush(topic_partition)?;
        let state = self.partitions.get_mut(&topic_partition).expect("found just now");
        let config = state.log.config();
        admit(now, config, self.memory, &mut batch)?;
        let appended = state.log.append(now, &mut batch).map_err(|why| log_error(&why))?;
        let end_offset = appended.end_offset;
        let produced = ProducedPartition {
            error: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time: appended.log_append_time.unwrap_or(Timestamp::NONE),
            log_start_offset: state.log.start_offset(),
        };
        self.metrics.append_count += 1;
        self.metrics.append_bytes += batch.len() as u64;
        if state.log.config().acks_durable {
            let entry = super::entry_of(appended, topic_partition, batch.freeze());
            self.outputs.push_back(BackOutput::Persist(entry));
        } else {
            self.schedule_flush(now, topic_partition);
            self.raise_high_watermark(topic_partition, batch.len() as u64);
        }
        Ok((produced, end_offset))
    }

    fn schedule_flush(&mut self, now: Now, topic_partition: TopicPartition) {
        let state = self.partitions.get_mut(&topic_partition).expect("appended to");
        if state.flush_at.is_none() && !state.is_flushing {
            let delay_ms = u64::try_from(state.log.config().flush_ms).unwrap_or(u64::MAX);
            let at = now.boot.plus_ms(delay_ms);
            state.flush_at = Some(at);
            self.flush_timers.insert((at, topic_partition));
        }
    }

    /// A commit of the flusher is on stable storage.
    pub fn flushed(&mut self, now: Now, flushed: &Flushed) {
        let topic_partition = flushed.topic_partition;
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        if let Some(offset) = flushed.log_start_offset {
            state.log.mark_start_durable(offset);
            delete_expired(&mut state.log, now);
            if std::mem::take(&mut state.gives_up) {
                // The disk is full: the room is needed now, not after `file.delete.delay.ms`.
                if let Err(why) = state.log.delete_at_once(now) {
                    log::error!("deletion in {}: {why}", state.log.name());
                }
            }
            self.complete_trims(topic_partition, offset);
        }
        let Some(durable_offset) = flushed.durable_offset else { return };
        let state = self.partitions.get_mut(&topic_partition).expect("found above");
        let before = state.high_watermark();
        state.log.mark_durable(durable_offset);
        state.is_flushing = false;
        let is_weak = !state.log.config().acks_durable;
        if is_weak && state.log.durable_offset() < state.log.end_offset() {
            self.schedule_flush(now, topic_partition);
        }
        let state = self.partitions.get_mut(&topic_partition).expect("found above");
        let high_watermark = state.high_watermark();
        if before < high_watermark {
            // The bytes are not known here without a look-up; an estimate that is never too low
            // only makes a parked fetch look once more.
            self.raise_high_watermark(topic_partition, u64::MAX);
        }
        self.complete_produces(topic_partition);
    }

    fn complete_produces(&mut self, topic_partition: TopicPartition) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        let high_watermark = state.high_watermark();
        let ready = state.waiting.iter().take_while(|(end, _)| *end <= high_watermark).count();
        let requests: Vec<RequestId> = state.waiting.drain(..ready).map(|(_, r)| r).collect();
        for request in requests {
            self.produced(request, topic_partition, None);
        }
    }

    /// One waiting item of a parked produce is done, as it stands or with an error.
    fn produced(
        &mut self,
        request: RequestId,
        topic_partition: TopicPartition,
        error: Option<ErrorCode>,
    ) {
        let parked = self.produces.get_mut(&request).expect("a waiting item has a parked ask");
        let (place, produced) = parked.places.remove(&topic_partition).expect("it waits here");
        parked.done.push((place, error.map_or(produced, ProducedPartition::failed)));
        parked.waiting_count -= 1;
        if parked.waiting_count == 0 {
            let parked = self.produces.remove(&request).expect("found above");
            self.reply(request, ReplyBody::Produced(parked.done));
        }
    }

    fn fail_waiting(
        &mut self,
        topic_partition: TopicPartition,
        state: &mut PartitionState<D>,
        error: ErrorCode,
    ) {
        for (_, request) in std::mem::take(&mut state.waiting) {
            self.produced(request, topic_partition, Some(error));
        }
        for (_, request) in std::mem::take(&mut state.trims) {
            self.trimmed(request, topic_partition, Some(error));
        }
    }

    // Fetch.

    fn fetch(&mut self, request: RequestId, fetch: FetchAsk) {
        // A later round replaces the watch of the one before.
        self.unwatch(request);
        let mut items = Vec::with_capacity(fetch.items.len());
        let mut left_bytes = fetch.max_bytes;
        let mut total_bytes = 0;
        let mut has_error = false;
        for item in &fetch.items {
            let fetched = match self.read(item, left_bytes, total_bytes == 0) {
                Ok(fetched) => fetched,
                Err(ReadError::Cold { file, position, bytes }) => {
                    let ask = Ask { request, body: AskBody::Fetch(fetch) };
                    self.load(ask, file, position, bytes);
                    return;
                }
                Err(why) => Fetched::failed(self.read_failed(item.topic_partition, &why)),
            };
            has_error |= !fetched.error.is_ok();
            total_bytes += fetched.bytes();
            left_bytes = left_bytes.saturating_sub(fetched.bytes());
            items.push((item.place, fetched));
        }
        self.metrics.fetch_count += 1;
        self.metrics.fetch_bytes += total_bytes;
        let is_watching = match fetch.watch {
            Some(watch) if !has_error && total_bytes < watch.enough_bytes => {
                let missing = watch.enough_bytes - total_bytes;
                self.watch(request, &fetch.items, missing.div_ceil(watch.shard_count.max(1)));
                true
            }
            _ => false,
        };
        self.reply(request, ReplyBody::Fetched { items, is_watching });
    }

    fn read(
        &mut self,
        item: &FetchItem,
        left_bytes: u64,
        at_least_one: bool,
    ) -> Result<Fetched<D::File>, ReadError<D::File>> {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return Ok(Fetched::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let epoch_error = check_epoch(item.current_leader_epoch, state.log.leader_epoch());
        if !epoch_error.is_ok() {
            return Ok(Fetched::failed(epoch_error));
        }
        let high_watermark = state.high_watermark();
        let max_bytes = u64::from(item.max_bytes).min(left_bytes);
        let slice = state.log.read(item.offset, max_bytes, high_watermark, at_least_one)?;
        Ok(Fetched {
            error: ErrorCode::NONE,
            high_watermark,
            log_start_offset: state.log.start_offset(),
            slice: (0 < slice.bytes).then_some(slice),
        })
    }

    fn load(&mut self, ask: Ask, file: D::File, position: u64, bytes: u64) {
        let token = self.next_token;
        self.next_token += 1;
        self.cold.insert(token, ask);
        self.metrics.cold_read_count += 1;
        self.outputs.push_back(BackOutput::Load(Load { token, file, position, bytes }));
    }

    /// Bytes asked for by [`BackOutput::Load`] are in the page cache (or cannot be had).
    pub fn loaded(&mut self, now: Now, token: u64) {
        if let Some(ask) = self.cold.remove(&token) {
            self.ask(now, ask);
        }
    }

    fn watch(&mut self, request: RequestId, items: &[FetchItem], need_bytes: u64) {
        let topic_partitions: Vec<_> = items.iter().map(|item| item.topic_partition).collect();
        for topic_partition in &topic_partitions {
            let state = self.partitions.get_mut(topic_partition).expect("read without error");
            state.watchers.push(request);
        }
        self.watches.insert(request, Watch { topic_partitions, need_bytes });
    }

    /// A watch is no longer wanted.
    pub fn unwatch(&mut self, request: RequestId) {
        let Some(watch) = self.watches.remove(&request) else { return };
        for topic_partition in watch.topic_partitions {
            if let Some(state) = self.partitions.get_mut(&topic_partition) {
                state.watchers.retain(|watcher| *watcher != request);
            }
        }
    }

    fn raise_high_watermark(&mut self, topic_partition: TopicPartition, bytes: u64) {
        let state = self.partitions.get(&topic_partition).expect("its offset rose");
        let mut reached = Vec::new();
        for request in &state.watchers {
            let watch = self.watches.get_mut(request).expect("a watcher has a watch");
            watch.need_bytes = watch.need_bytes.saturating_sub(bytes);
            if watch.need_bytes == 0 {
                reached.push(*request);
            }
        }
        for request in reached {
            self.progress(request);
        }
    }

    fn progress(&mut self, request: RequestId) {
        self.unwatch(request);
        self.outputs.push_back(BackOutput::Progress(request));
    }

    // Offsets.

    fn offsets(&mut self, request: RequestId, items: Vec<OffsetsItem>) {
        let mut listed = Vec::with_capacity(items.len());
        for item in &items {
            match self.list_offset(item) {
                Ok(answer) => listed.push((item.place, answer)),
                Err(ReadError::Cold { file, position, bytes }) => {
                    let ask = Ask { request, body: AskBody::Offsets(items) };
                    self.load(ask, file, position, bytes);
                    return;
                }
                Err(why) => {
                    let error = self.read_failed(item.topic_partition, &why);
                    listed.push((item.place, ListedOffset::failed(error)));
                }
            }
        }
        self.reply(request, ReplyBody::Offsets(listed));
    }

    fn list_offset(&self, item: &OffsetsItem) -> Result<ListedOffset, ReadError<D::File>> {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return Ok(ListedOffset::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let log = &state.log;
        let epoch_error = check_epoch(item.current_leader_epoch, log.leader_epoch());
        if !epoch_error.is_ok() {
            return Ok(ListedOffset::failed(epoch_error));
        }
        let end = |offset, leader_epoch| ListedOffset {
            error: ErrorCode::NONE,
            offset,
            timestamp: Timestamp::NONE,
            leader_epoch,
        };
        let high_watermark = state.high_watermark();
        let found = match item.timestamp {
            list_offsets::LATEST => return Ok(end(high_watermark, log.leader_epoch())),
            list_offsets::EARLIEST => {
                let start = log.start_offset();
                return Ok(end(start, log.epochs().epoch_of(start).unwrap_or(LeaderEpoch::NONE)));
            }
            list_offsets::MAX_TIMESTAMP => log.max_timestamp(high_watermark)?,
            at if at.0 < 0 => return Ok(ListedOffset::failed(ErrorCode::INVALID_REQUEST)),
            at => log.offset_for_timestamp(at, high_watermark)?,
        };
        Ok(match found {
            Some(FoundOffset { offset, timestamp, leader_epoch }) => {
                ListedOffset { error: ErrorCode::NONE, offset, timestamp, leader_epoch }
            }
            None => ListedOffset::failed(ErrorCode::NONE),
        })
    }

    // DeleteRecords.

    fn trim(&mut self, request: RequestId, items: &[TrimItem]) {
        let mut parked = Parked { done: Vec::new(), waiting_count: 0, places: BTreeMap::new() };
        for item in items {
            match self.advance_start(request, item) {
                Ok((low_watermark, must_wait)) => {
                    let deleted = DeletedRecords { error: ErrorCode::NONE, low_watermark };
                    if must_wait {
                        parked.waiting_count += 1;
                        parked.places.insert(item.topic_partition, (item.place, deleted));
                    } else {
                        parked.done.push((item.place, deleted));
                    }
                }
                Err(error) => parked.done.push((item.place, DeletedRecords::failed(error))),
            }
        }
        if parked.waiting_count == 0 {
            self.reply(request, ReplyBody::Trimmed(parked.done));
        } else {
            self.trims.insert(request, parked);
        }
    }

    fn advance_start(
        &mut self,
        request: RequestId,
        item: &TrimItem,
    ) -> Result<(Offset, bool), ErrorCode> {
        let topic_partition = item.topic_partition;
        if !self.is_writable {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let state = self
            .partitions
            .get_mut(&topic_partition)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !state.log.config().cleanup_policy.delete {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let high_watermark = state.high_watermark();
        let offset = if item.offset == Offset(-1) { high_watermark } else { item.offset };
        if offset < Offset::ZERO || high_watermark < offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        match state.log.advance_start(offset) {
            Some(raised) => {
                state.trims.push((offset, request));
                let entry = Entry::State { topic_partition, state: raised };
                self.outputs.push_back(BackOutput::Persist(entry));
                Ok((offset, true))
            }
            None => Ok((state.log.start_offset(), false)),
        }
    }

    fn complete_trims(&mut self, topic_partition: TopicPartition, durable_start: Offset) {
        let state = self.partitions.get_mut(&topic_partition).expect("its start rose");
        let trims = std::mem::take(&mut state.trims);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            trims.into_iter().partition(|(offset, _)| *offset <= durable_start);
        state.trims = waiting;
        for (_, request) in ready {
            self.trimmed(request, topic_partition, None);
        }
    }

    fn trimmed(
        &mut self,
        request: RequestId,
        topic_partition: TopicPartition,
        error: Option<ErrorCode>,
    ) {
        let parked = self.trims.get_mut(&request).expect("a waiting item has a parked ask");
        let (place, deleted) = parked.places.remove(&topic_partition).expect("it waits here");
        parked.done.push((place, error.map_or(deleted, DeletedRecords::failed)));
        parked.waiting_count -= 1;
        if parked.waiting_count == 0 {
            let parked = self.trims.remove(&request).expect("found above");
            self.reply(request, ReplyBody::Trimmed(parked.done));
        }
    }

    // Describe.

    fn describe(&mut self, request: RequestId, items: &[DescribeItem]) {
        let described = items.iter().map(|item| (item.place, self.describe_one(item))).collect();
        self.reply(request, ReplyBody::Described(described));
    }

    fn describe_one(&self, item: &DescribeItem) -> DescribedLog {
        let topic_partition = item.topic_partition;
        let Some(state) = self.partitions.get(&topic_partition) else {
            let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return DescribedLog::failed(error, item.topic_place, topic_partition.partition);
        };
        let log = &state.log;
        let error = if self.is_writable { ErrorCode::NONE } else { ErrorCode::KAFKA_STORAGE_ERROR };
        let hole = |hole: &crate::log::Hole| Hole { from: hole.from, end: hole.to };
        DescribedLog {
            error,
            topic_place: item.topic_place,
            partition: topic_partition.partition,
            leader_epoch: log.leader_epoch(),
            log_start_offset: log.start_offset(),
            high_watermark: state.high_watermark(),
            durable_offset: log.durable_offset(),
            log_end_offset: log.end_offset(),
            size_bytes: log.size_bytes(),
            segment_count: log.segment_count() as u32,
            loss_window_ms: loss_window_ms(log.config()),
            holes: log.holes().iter().take(DESCRIBED_DAMAGE_MAX).map(hole).collect(),
            suspects: log.suspects().take(DESCRIBED_DAMAGE_MAX).collect(),
        }
    }
}

fn check_epoch(requested: LeaderEpoch, current: LeaderEpoch) -> ErrorCode {
    if requested == LeaderEpoch::NONE || requested == current {
        ErrorCode::NONE
    } else if requested < current {
        ErrorCode::FENCED_LEADER_EPOCH
    } else {
        ErrorCode::UNKNOWN_LEADER_EPOCH
    }
}

/// How much a power cut may take of what was acknowledged with acks −1.
fn loss_window_ms(config: &TopicConfig) -> u64 {
    if config.acks_durable { 0 } else { u64::try_from(config.flush_ms).unwrap_or(0) }
}

fn delete_expired<D: Disk>(log: &mut Log<D>, now: Now) {
    if let Err(why) = log.delete_expired(now) {
        log::error!("deletion in {}: {why}", log.name());
    }
}

fn log_error(why: &LogError) -> ErrorCode {
    match why {
        LogError::BatchTooLarge => ErrorCode::RECORD_LIST_TOO_LARGE,
        LogError::DiskFull | LogError::OffsetsExhausted | LogError::Poisoned | LogError::Io(_) => {
            log::error!("append failed: {why}");
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}
