//! Opening a partition's directory: what is kept, what is set aside, and what is lost.
//!
//! Bytes that the journal proved durable are never thrown away. From the recovery point on every
//! batch is read and checked; at the first bad one the journal's *durable mark* decides:
//!
//! - at or above the mark nobody was promised anything: the rest is *torn* and moves to a `.torn`
//!   file;
//! - below it the bad place is *damage*: the bytes behind it are searched for the next good batch
//!   (magic 2, a length that fits, offsets above the last good one, an epoch that does not fall, a
//!   right checksum). What is good goes on in a segment of its own, and the offsets between are a
//!   [`Hole`], written down and reported. The log's end never falls behind the mark, so that no
//!   offset is given out twice.
//!
//! Where the journal or a part of it is lost, its recovery points are not gone by: every batch is read
//! that compaction has not rewritten.
//!
//! **Invariant:** the log's start is never raised over records that the journal does not say were
//! deleted: what is missing there is a hole like any other.
//!
//! **Invariant:** recovery is idempotent. Stopped anywhere and begun again it ends the same: the
//! good part of a damaged segment has its new name before the old file is cut, and batches that
//! reach the next segment's base are never taken for the older segment's. Read design.md §4 and
//! reliability.md S1 to S4 before editing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::cleaned;
use super::damage::Damage;
use super::derived::Derived;
use super::epochs::Epochs;
use super::identity;
use super::repair::{Wanted, resync, write_again};
use super::segment::{Place, Segment};
use super::types::{FlushTarget, Hole};
use super::walk::{Walk, WalkError, crc_is_valid};
use super::{Disk, Log, producer_snapshot, truncation};
use crate::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};
use crate::journal::disk::{DiskFile, Open, is_unreadable};
use crate::journal::{Entry, PartitionState, SmallState};
use crate::mutant::{self, Mutant};
use crate::record::BatchHeader;
use crate::time::{Boot, Now};
use crate::topic_config::TopicConfig;

/// Chunks that are read at the start to learn an index anew; what is longer waits for a lookup.
const START_READS_MAX: usize = 1024;

/// What the journal proves about a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// `None` when the journal does not know the partition.
    pub state: Option<PartitionState>,
    /// The largest end offset that a commit names; `None` when the journal itself was lost.
    pub mark: Option<Offset>,
    /// Whether a partition that the journal does not know was never in it.
    pub is_journal_whole: bool,
    /// The log's start as the last clean stop noted it for Kafka: it only rises.
    pub noted_start: Option<Offset>,
    /// Where the log was to be cut, with nothing appended since.
    pub cut: Option<CutAt>,
}

/// A cut that the journal tells of and that may not have come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutAt {
    pub end: Offset,
    pub segment: Offset,
    pub position: u64,
    pub is_set_aside: bool,
}

/// What opening one partition found.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Its topic's name.
    pub name: TopicName,
    /// Bytes that were read and checked.
    pub scanned_bytes: u64,
    /// Bytes moved to `.torn` files.
    pub torn_bytes: u64,
    /// Holes found now; [`Log::holes`] has the older ones too.
    pub new_holes: Vec<Hole>,
    /// Small state that the journal does not have and must be given.
    pub small_states: Vec<SmallState>,
    /// The largest end that the journal proved. Where the log ends behind it, recovery has made it
    /// durable, and the journal must be told that, too.
    pub mark: Option<Offset>,
}

/// What the journal does not know of logs that were just opened, and must be given before anything is
/// promised: were a segment to go, nobody would miss what no commit tells of.
pub fn owed_entries<D: Disk>(
    logs: &[Log<D>],
    reports: &[LogReport],
) -> io::Result<Vec<Entry<D::File>>> {
    let mut entries = Vec::new();
    let mut behind: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for report in reports {
        let topic_partition = report.topic_partition;
        let state = |state: &SmallState| Entry::State { topic_partition, state: *state };
        entries.extend(report.small_states.iter().map(state));
        behind.insert(topic_partition, report.mark.unwrap_or(Offset::ZERO));
    }
    for log in logs {
        let topic_partition = log.topic_partition();
        let Some(mark) = behind.get(&topic_partition) else { continue };
        let last = log.segments.iter().rev().find(|segment| segment.base < segment.end);
        if let Some(last) = last.filter(|last| *mark < last.end) {
            let FlushTarget { segment, end_offset, position_end } = log.flush_target(last)?;
            entries.push(Entry::Flush { topic_partition, end_offset, segment, position_end });
        }
    }
    Ok(entries)
}

impl LogReport {
    /// Whether all that was promised is there.
    pub fn is_sound(&self) -> bool {
        self.new_holes.is_empty()
    }
}

/// Opens a partition's directory.
pub(super) fn open<D: Disk>(
    disk: D,
    dir: &Path,
    name: &TopicName,
    topic_partition: TopicPartition,
    config: TopicConfig,
    now: Now,
    evidence: Evidence,
) -> io::Result<(Log<D>, LogReport)> {
    let place = Place { disk: &disk, dir };
    // First of all: until then two segments may claim the same offsets.
    let mut cleaned = cleaned::recover(place, topic_partition.topic_id)?;
    let cut = evidence.cut;
    if let Some(known) = cut.map(|cut| cleaned.truncated(cut.end)).filter(|c| *c != cleaned) {
        known.save(&disk, dir)?;
        cleaned = known;
    }
    let mut recovery = Recovery::new(place, &config, now.boot, name, topic_partition, evidence)?;
    if let Some(cut) = cut {
        recovery.cut_as_told(cut)?;
    }
    recovery.trust_rewritten(cleaned.rewritten_end);
    recovery.load_segments()?;
    recovery.scan_segments()?;
    recovery.reach_the_mark()?;
    let Recovery { gone, segments, .. } = &recovery;
    let rebuilt = producer_snapshot::rebuild(place, gone, segments, now.boot)?;
    recovery.has_new_names |= rebuilt.has_removed;
    recovery.settle()?;
    recovery.report.mark = recovery.mark;
    let gone: Vec<Offset> = recovery.gone.iter().map(|segment| segment.base).collect();
    let Recovery { start, segments, mut epochs, damage, report, state, .. } = recovery;
    let end = segments.last().map_or(start, |segment| segment.end);
    epochs.truncate_end(end);
    epochs.truncate_start(start);
    let mut log = Log {
        dir: dir.into(),
        name: name.clone(),
        topic_partition,
        config,
        start,
        durable: end,
        segments,
        epochs,
        damage,
        is_truncating: false,
        is_poisoned: false,
        retention: super::retention::Retention::new(now, start),
        cleaning: super::cleaning::Cleaning::new(cleaned),
        producers: rebuilt.producers,
        snapshots: rebuilt.snapshots,
        noted_high_watermark: state.high_watermark.min(end),
        cold: None,
        disk,
    };
    log.close_idle_handles();
    log.remove_gone(&gone, now.boot)?;
    log.invariants();
    Ok((log, report))
}

impl<D: Disk> Log<D> {
    /// Removes segments that were deleted before the last stop, once what only they may tell of
    /// producers is on stable storage.
    fn remove_gone(&mut self, gone: &[Offset], now: Boot) -> io::Result<()> {
        if !gone.is_empty() && 0 < self.producers.count() {
            self.sync_producers(now)?;
        }
        let place = self.place();
        gone.iter().try_for_each(|base| remove_files(place, *base))
    }
}

/// A recovery under way.
pub(super) struct Recovery<'a, D: Disk> {
    pub place: Place<'a, D>,
    config: &'a TopicConfig,
    pub now: Boot,
    state: PartitionState,
    mark: Option<Offset>,
    is_journal_whole: bool,
    /// Whether the journal, or what is left of it, says anything of this log.
    is_known: bool,
    noted_start: Option<Offset>,
    start: Offset,
    pub segments: Vec<Segment<D>>,
    /// Segments before the start: files that a stop left behind.
    gone: Vec<Segment<D>>,
    epochs: Epochs,
    pub damage: Damage,
    known_damage: Damage,
    pub report: LogReport,
    pub has_new_names: bool,
}

impl<'a, D: Disk> Recovery<'a, D> {
    fn new(
        place: Place<'a, D>,
        config: &'a TopicConfig,
        now: Boot,
        name: &TopicName,
        topic_partition: TopicPartition,
        evidence: Evidence,
    ) -> io::Result<Self> {
        let mut state = evidence.state.unwrap_or_default();
        let is_known = state != PartitionState::default() || evidence.mark.is_some();
        if !evidence.is_journal_whole {
            // What is lost may have told of a cut, and of other bytes below the recovery point since.
            state.recovery_segment = Offset::ZERO;
            state.recovery_position = 0;
            state.recovery_offset = Offset::ZERO;
        }
        let damage = Damage::load(place.disk, place.dir)?;
        Ok(Recovery {
            place,
            config,
            now,
            mark: evidence.mark.map(|mark| mark.max(state.recovery_offset)),
            is_journal_whole: evidence.is_journal_whole,
            is_known,
            noted_start: evidence.noted_start,
            start: state.log_start,
            segments: Vec::new(),
            gone: Vec::new(),
            epochs: Epochs::new(state.epochs.iter().copied()),
            known_damage: damage.clone(),
            damage,
            report: LogReport {
                topic_partition,
                name: name.clone(),
                scanned_bytes: 0,
                torn_bytes: 0,
                new_holes: Vec::new(),
                small_states: Vec::new(),
                mark: None,
            },
            has_new_names: false,
            state,
        })
    }

    /// What compaction has rewritten was synced, and is no longer what the journal's recovery point
    /// speaks of.
    fn trust_rewritten(&mut self, rewritten: Offset) {
        let state = &mut self.state;
        if state.recovery_segment < rewritten {
            state.recovery_segment = rewritten;
            state.recovery_position = 0;
            state.recovery_offset = rewritten;
        }
    }

    /// Finishes a truncation that a stop may have interrupted.
    fn cut_as_told(&mut self, cut: CutAt) -> io::Result<()> {
        for base in segment_bases(self.place.disk, self.place.dir)?.into_iter().rev() {
            if cut.segment < base {
                truncation::drop_segment(self.place, base, cut.is_set_aside)?;
            }
        }
        if self.place.disk.exists(&self.place.path(cut.segment, "log"))? {
            truncation::shorten(self.place, cut.segment, cut.position, cut.is_set_aside)?;
        }
        self.damage.truncate_end(cut.end);
        self.place.disk.sync_dir(self.place.dir)
    }

    /// Whether something bad at `offset` is damage rather than torn.
    fn is_below_mark(&self, offset: Offset) -> bool {
        let is_below = self.mark.is_none_or(|mark| offset < mark);
        is_below && !mutant::is_on(Mutant::DropsBelowMark)
    }

    pub fn next_base(&self, number: usize) -> Option<Offset> {
        self.segments.get(number + 1).map(|segment| segment.base)
    }

    pub fn add_hole(&mut self, from: Offset, to: Offset) {
        let from = from.max(self.start);
        if from < to && !self.damage.covers(from, to) {
            self.damage.add_hole(Hole { from, to });
            self.report.new_holes.push(Hole { from, to });
        }
    }

    /// Finds the segments on disk, and removes what was deleted before the last stop.
    fn load_segments(&mut self) -> io::Result<()> {
        for path in self.place.disk.list(self.place.dir)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let [cleaned, swap] = cleaned::UNFINISHED;
            if [".deleted", ".tmp", cleaned, swap].iter().any(|suffix| name.ends_with(suffix)) {
                self.place.disk.remove_file(&self.place.dir.join(name))?;
            }
        }
        let mut bases = segment_bases(self.place.disk, self.place.dir)?;
        // A segment that lies wholly below the start was deleted; the journal's redo, or a rename
        // that was not durable, may have brought it back.
        let gone = bases.windows(2).take_while(|pair| pair[1] <= self.start).count();
        for pair in bases[..(gone + 1).min(bases.len())].windows(2) {
            let (base, end) = (pair[0], pair[1]);
            let file = self.place.disk.open(&self.place.path(base, "log"), Open::Write)?;
            let bytes = file.len()?;
            let mut segment = Segment::new(base, Some(file), bytes, self.now);
            segment.end = end;
            self.gone.push(segment);
        }
        bases.drain(..gone);
        for base in bases {
            let segment = self.load(base)?;
            self.segments.push(segment);
        }
        for number in 0..self.segments.len() {
            self.adopt_end(number);
        }
        Ok(())
    }

    /// A segment as its file and its summary have it.
    fn load(&mut self, base: Offset) -> io::Result<Segment<D>> {
        let file = self.place.disk.open(&self.place.path(base, "log"), Open::Write)?;
        let bytes = file.len()?;
        let mut segment = Segment::new(base, Some(file.clone()), bytes, self.now);
        segment.is_new = self.state.recovery_segment <= base;
        if let Ok(Some(met)) = Walk::new(&file, 0, bytes, true).next() {
            segment.first_timestamp = met.header.max_timestamp;
        }
        match self.place.disk.open(&self.place.path(base, "summary"), Open::Read) {
            Ok(summary) => {
                let claimed = match Derived::from_summary(base, &summary) {
                    Err(error) if is_unreadable(&error) => None,
                    claimed => claimed?,
                };
                let is_true = claimed.as_ref().is_none_or(|derived| derived.is_of(&file, bytes));
                if let Some(derived) = claimed.filter(|_| is_true) {
                    segment.derived = derived.into();
                } else if !is_true && base < self.state.recovery_segment {
                    // Bytes that were once there, and are not scanned otherwise, are missing.
                    self.damage.suspects.insert(base);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(segment)
    }

    /// Where a segment that is not scanned ends: its summary says so, or a hole behind it, or the
    /// next segment's base does.
    fn adopt_end(&mut self, number: usize) {
        let next_base = self.next_base(number);
        let hole = self.damage.holes.iter().find(|hole| Some(hole.to) == next_base).copied();
        let segment = &mut self.segments[number];
        let derived = segment.derived.get_mut();
        let covers_all = derived.covered == segment.bytes;
        derived.is_settled |= covers_all && next_base.is_some();
        let covered_end = derived.covered_end;
        segment.end = match (next_base, hole) {
            (Some(next), _) if covers_all && covered_end <= next => covered_end,
            (Some(_), Some(hole)) if segment.base <= hole.from => hole.from,
            (Some(next), _) => next,
            (None, _) => covered_end.max(segment.base),
        };
    }

    /// Where the scan of a segment begins: position and offset. `None` when it is not needed.
    fn scan_start(&self, number: usize) -> io::Result<Option<(u64, Offset)>> {
        let segment = &self.segments[number];
        let state = &self.state;
        let whole = Some((0, segment.base));
        if self.damage.suspects.contains(&segment.base) {
            return Ok(whole);
        }
        if segment.base < state.recovery_segment {
            // The segment of the recovery point is missing: this one is the last, and its end must
            // be known. Or its end is not where the next one begins.
            let Some(next) = self.next_base(number) else { return Ok(whole) };
            return Ok(if self.may_end_at(number, next)? { None } else { whole });
        }
        if segment.base == state.recovery_segment && state.recovery_position <= segment.bytes {
            let offset = state.recovery_offset.max(segment.base);
            return Ok(Some((state.recovery_position, offset)));
        }
        Ok(whole)
    }

    /// Whether a sealed segment reaches up to the next one, or to a hole before that. Its summary
    /// says so; where that is missing the headers do, as far as a start may wait for them.
    fn may_end_at(&self, number: usize, next: Offset) -> io::Result<bool> {
        let segment = &self.segments[number];
        let derived = segment.derived.borrow();
        let (covered, mut end) = (derived.covered, derived.covered_end);
        if covered == segment.bytes {
            // What is missing behind it is seen without a scan.
            return Ok(true);
        }
        let file = segment.file(self.place)?;
        let mut walk = Walk::new(&file, covered, segment.bytes, true);
        while walk.reads < START_READS_MAX {
            match walk.next() {
                Ok(Some(met)) if met.header.base_offset == end => end = met.header.next_offset(),
                Ok(None) => return Ok(end == next || self.damage.covers(end, next)),
                Err(WalkError::Io(error)) => return Err(error),
                Ok(Some(_)) | Err(WalkError::Bad(_) | WalkError::Cold(_)) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn scan_segments(&mut self) -> io::Result<()> {
        let mut number = 0;
        while number < self.segments.len() {
            if let Some((position, offset)) = self.scan_start(number)? {
                if !self.scan(number, position, offset)? {
                    self.set_aside_behind(number)?;
                }
                if self.next_base(number).is_some() {
                    let place = self.place;
                    self.segments[number].finish(place)?;
                }
            } else {
                let place = self.place;
                self.segments[number].close_handles(place, false);
            }
            let Some(segment) = self.segments.get(number) else { break };
            let end = segment.end;
            match self.next_base(number) {
                Some(next)
                    if end < next && (self.is_below_mark(end) || self.damage.covers(end, next)) =>
                {
                    self.add_hole(end, next);
                }
                Some(next) if end < next => self.set_aside_behind(number)?,
                _ => {}
            }
            number += 1;
        }
        Ok(())
    }

    /// Checks every batch of a segment from `position` on. `false` when the rest of the log is
    /// torn.
    pub fn scan(&mut self, number: usize, position: u64, offset: Offset) -> io::Result<bool> {
        let next_base = self.next_base(number);
        let segment = &self.segments[number];
        let (base, bytes) = (segment.base, segment.bytes);
        let file = segment.file(self.place)?;
        segment.open_index_files(self.place)?;
        if !prepare(segment, &file, position, self.config)? && 0 < position {
            // The headers below the recovery point are not what they were.
            return self.scan(number, 0, base);
        }
        let mut last_epoch =
            self.epochs.epoch_of(Offset(offset.0 - 1)).unwrap_or(LeaderEpoch::NONE);
        let mut walk = Walk::new(&file, position, bytes, true);
        let (mut end, mut end_position) = (offset, position);
        let is_whole = loop {
            let met = match walk.next() {
                Ok(Some(met)) => met,
                Ok(None) => break true,
                Err(WalkError::Io(error)) => return Err(error),
                Err(WalkError::Bad(_) | WalkError::Cold(_)) => break false,
            };
            let header = &met.header;
            let floor = self.epoch_floor(header.base_offset, last_epoch);
            let fits = header.base_offset == end
                && floor <= header.leader_epoch
                && next_base.is_none_or(|next| header.last_offset() < next)
                && header.last_offset().since(base) <= i64::from(i32::MAX);
            if !fits || !crc_is_valid(&file, &met)? {
                break false;
            }
            last_epoch = header.leader_epoch;
            self.note_epoch(header);
            let mut derived = self.segments[number].derived.borrow_mut();
            if derived.covered == met.position {
                derived.observe(&met, self.config.index_interval_bytes);
                derived.maybe_spill()?;
            }
            drop(derived);
            (end, end_position) = (header.next_offset(), met.end_position());
        };
        self.segments[number].end = end;
        self.report.scanned_bytes += end_position - position;
        if is_whole {
            return Ok(true);
        }
        let is_damage = self.is_below_mark(end);
        if is_damage {
            let wanted = Wanted { from: end, next_base, epoch: last_epoch };
            if let Some(met) = resync(&file, end_position + 1, bytes, &wanted)? {
                self.split(number, end_position, &met)?;
                return Ok(true);
            }
        }
        self.cut(number, end_position, bytes)?;
        Ok(is_damage)
    }

    fn epoch_floor(&self, offset: Offset, last: LeaderEpoch) -> LeaderEpoch {
        self.epochs.epoch_of(offset).map_or(last, |epoch| epoch.max(last))
    }

    /// An epoch that the journal did not tell of: the first of its batches does.
    fn note_epoch(&mut self, header: &BatchHeader) {
        let (epoch, offset) = (header.leader_epoch, header.base_offset);
        if self.epochs.latest().is_none_or(|latest| latest < epoch) && LeaderEpoch(0) <= epoch {
            self.epochs.assign(epoch, offset);
            self.report.small_states.push(SmallState::EpochStart { epoch, offset });
        }
    }

    /// Sees to it that the log begins at its start and ends at or behind the mark.
    fn reach_the_mark(&mut self) -> io::Result<()> {
        let is_known = self.is_known;
        if let Some(first) = self.segments.first().map(|segment| segment.base) {
            if !is_known && self.is_journal_whole {
                // A directory that was put here begins where its files do.
                self.start = first;
            } else {
                if !is_known {
                    // The journal, which knew the start, is lost. A start beyond the first segment
                    // may be that of an earlier topic of the name.
                    self.start = self.noted_start.unwrap_or(Offset::ZERO).min(first);
                }
                // What is missing at the start may be damage, so it is named, not passed over.
                self.add_hole(self.start, first);
            }
            if !is_known && self.start != self.state.log_start {
                // The next start knows this log by the journal again, and what it says then counts.
                self.report.small_states.push(SmallState::LogStart(self.start));
            }
        }
        let end = self.segments.last().map_or(self.start, |segment| segment.end);
        let mark = self.mark.filter(|_| !mutant::is_on(Mutant::DropsBelowMark));
        let goal = mark.unwrap_or(self.start).max(self.start);
        if end < goal {
            self.add_hole(end, goal);
        }
        if self.segments.is_empty() || end < goal {
            if self.segments.last().is_some_and(|last| last.bytes == 0) {
                let last = self.segments.pop().expect("there is a last one");
                remove_files(self.place, last.base)?;
            }
            let segment = Segment::create(self.place, goal, self.now)?;
            self.segments.push(segment);
            self.has_new_names = true;
        }
        Ok(())
    }

    /// Where the batch begins that holds an offset, or that follows it.
    fn position_of(&self, segment: &Segment<D>, offset: Offset) -> io::Result<u64> {
        let state = &self.state;
        let is_known = segment.base == state.recovery_segment && state.recovery_offset <= offset;
        let from = if is_known { state.recovery_position.min(segment.bytes) } else { 0 };
        let file = segment.file(self.place)?;
        let mut walk = Walk::new(&file, from, segment.bytes, true);
        loop {
            match walk.next() {
                Ok(Some(met)) if met.header.next_offset() <= offset => {}
                Ok(Some(met)) => return Ok(met.position),
                Err(WalkError::Io(error)) => return Err(error),
                // None is bad: all of them were checked by the scan.
                Ok(None) | Err(WalkError::Bad(_) | WalkError::Cold(_)) => return Ok(segment.bytes),
            }
        }
    }

    /// Makes durable what recovery changed and what is served from now on.
    fn settle(&mut self) -> io::Result<()> {
        let mark = self.mark.unwrap_or(Offset::ZERO);
        for segment in self.segments.iter().filter(|segment| mark < segment.end) {
            let file = segment.file(self.place)?;
            // Where the journal is lost nothing is known to be new, and that would be all of it.
            if self.is_journal_whole {
                write_again(&file, self.position_of(segment, mark)?, segment.bytes)?;
            }
            file.sync_data()?;
            self.has_new_names = true;
        }
        if self.mark.is_none() && self.segments.iter().any(|segment| Offset::ZERO < segment.end) {
            // Nor is there a proof that it is durable whose log this is.
            identity::sync_topic_id(self.place.disk, self.place.dir)?;
        }
        self.damage.suspects.clear();
        self.damage.truncate_start(self.start);
        if self.damage != self.known_damage {
            self.damage.save(self.place.disk, self.place.dir)?;
        }
        if self.has_new_names {
            self.place.disk.sync_dir(self.place.dir)?;
        }
        Ok(())
    }
}

/// Brings what is derived of a segment to the state at `position`, as far as a start may wait.
/// `false` when the headers before it are damaged.
fn prepare<D: Disk>(
    segment: &Segment<D>,
    file: &D::File,
    position: u64,
    config: &TopicConfig,
) -> io::Result<bool> {
    let mut derived = segment.derived.borrow_mut();
    if position == 0 {
        derived.reset();
        return Ok(true);
    }
    derived.check(true)?;
    derived.truncate(file, position)?;
    let interval = config.index_interval_bytes;
    match derived.catch_up(file, position, interval, true, START_READS_MAX) {
        Ok(()) => Ok(derived.covered <= position),
        Err(WalkError::Io(error)) => Err(error),
        Err(WalkError::Bad(_) | WalkError::Cold(_)) => Ok(false),
    }
}

/// Base offsets of the segments in a partition's directory, ascending.
pub(super) fn segment_bases(disk: &impl Disk, dir: &Path) -> io::Result<Vec<Offset>> {
    let names = disk.list(dir)?;
    let mut bases: Vec<_> =
        names.iter().filter_map(|name| parse_name(name.file_name()?.to_str()?)).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// The base offset in a `.log` file's name.
fn parse_name(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    let is_kafkas = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if is_kafkas { digits.parse().ok().map(Offset) } else { None }
}

/// Removes a segment's files, if they are there.
pub(super) fn remove_files<D: Disk>(place: Place<'_, D>, base: Offset) -> io::Result<()> {
    remove_if_there(place.disk, &place.path(base, "log"))?;
    remove_caches(place, base)
}

pub(super) fn remove_caches<D: Disk>(place: Place<'_, D>, base: Offset) -> io::Result<()> {
    for suffix in ["index", "timeindex", "summary"] {
        remove_if_there(place.disk, &place.path(base, suffix))?;
    }
    Ok(())
}

/// Removes a file that may be missing.
pub(super) fn remove_if_there(disk: &impl Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
