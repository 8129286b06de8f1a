//! Compaction: a log is rewritten so that of each key only the last record is left.
//!
//! A [`Round`] takes one log's sealed segments, on a thread of its own and a few bytes at a time:
//!
//! 1. *Map*: the dirty segments are read, and the last offset of each key noted ([`KeyMap`]). When
//!    the map is full the round ends there; the next one goes on behind it.
//! 2. *Copy*: all segments up to there are written anew, several small ones into one. A record
//!    stays if no later one in the map has its key. A tombstone gives its batch a *delete horizon*
//!    when a round first keeps it and goes in a round after that; a record without a key goes.
//! 3. *Publish*, *swap*, *drop*: see [`super::cleaned`]. The shard that owns the log swaps the
//!    segments in memory and renames the files, for nobody else may touch them ([`Log::swap`],
//!    [`Log::drop_replaced`]); between its two turns the round syncs what must not be lost.
//!
//! One segment is on its way at a time: the disk needs room for one more, not for a second log, and
//! what a tombstone deleted is gone for good before the tombstone goes.
//!
//! **Invariant:** no offset, order, base, last offset, producer or sequence changes. **Where all
//! records of a batch are gone, an empty batch stands for its offsets**, one for as many batches as
//! follow one another in one leader epoch. Kafka leaves a gap there; but offsets lie outside a
//! batch's checksum, and only because they follow one another can a segment prove that nothing in
//! it is missing or moved. It costs 61 bytes a gap, clients know such batches from Kafka, and
//! reading, recovery, scrub and indexes need not know of compaction at all.
//!
//! **Invariant:** nothing is dropped on the word of a batch whose checksum is wrong, of a hash, or
//! of an untrusted clock. Batches of a transaction are kept whole and hide nothing: whether it was
//! aborted is not known here. Read semantics.md 2.6 and Kafka's `LogCleaner` before editing.
//!
//! [`Log::swap`]: super::Log::swap
//! [`Log::drop_replaced`]: super::Log::drop_replaced

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Disk;
use super::cleaned::{self, Cleaned, SUFFIXES, Swap, unfinished_name, waiting_name};
use super::key_map::KeyMap;
use super::recovery::{remove_caches, remove_if_there};
use super::rewrite::{Fate, Keep, Output, Reader};
use super::segment::Place;
use crate::ids::{Offset, TopicName, TopicPartition};
use crate::journal::disk::{DiskFile, Open};
use crate::limits::{
    CLEANER_GROUP_SEGMENTS_MAX, CLEANER_KEY_BYTES_MAX, DECOMPRESSED_BYTES_MAX,
    DECOMPRESSION_GUESS_RATIO, DECOMPRESSION_WINDOW_MIN,
};
use crate::record::{BatchHeader, Records};
use crate::time::Now;
use crate::topic_config::Ratio;

/// A vector that grows is copied to one twice its size, and what is kept is compressed beside it.
const WINDOW_COST: u64 = 3;

/// Room that a round leaves on the disk, whatever it frees later: a hundredth, at least and at most.
const RESERVE_BYTES_MIN: u64 = 8 << 20;
const RESERVE_BYTES_MAX: u64 = 256 << 20;

/// Why a round ended early.
#[derive(Debug)]
pub enum CleanError {
    /// A segment's bytes are not what was written.
    Damaged {
        /// Base offset of the segment.
        segment: Offset,
        /// Where in it.
        position: u64,
    },
    /// A batch decompresses to more than there is memory for.
    TooLarge {
        /// Its first offset.
        offset: Offset,
    },
    /// The log changed meanwhile: segments were deleted, or the topic was, or its policy.
    Outrun,
    /// The disk failed or is full.
    Io(io::Error),
}

impl fmt::Display for CleanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { segment, position } => {
                write!(f, "segment {segment} is damaged at byte {position}")
            }
            Self::TooLarge { offset } => {
                write!(f, "the batch at offset {offset} needs more memory than there is")
            }
            Self::Outrun => f.write_str("the log has changed meanwhile"),
            Self::Io(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl std::error::Error for CleanError {}

impl From<io::Error> for CleanError {
    fn from(error: io::Error) -> CleanError {
        // Segments that retention deletes are missed when they are opened next.
        if error.kind() == io::ErrorKind::NotFound { Self::Outrun } else { Self::Io(error) }
    }
}

/// What a round may use.
#[derive(Clone, Debug)]
pub struct CleanLimits {
    /// Memory for the map of keys.
    pub map_bytes: u64,
    /// Memory for that and for a batch, uncompressed.
    pub memory_bytes: u64,
}

/// A sealed segment that is to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub base: Offset,
    pub end: Offset,
    pub bytes: u64,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanCounts {
    /// Bytes of the segments that were replaced.
    pub before_bytes: u64,
    /// Bytes of what replaced them.
    pub after_bytes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Keys in the map.
    pub key_count: u64,
}

/// What of the topic's configuration a round obeys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub delete_retention_ms: i64,
    pub segment_bytes: u64,
    pub segment_index_bytes: u64,
    pub index_interval_bytes: u32,
}

/// Where a round stands; the shard has its turn in `Swap`, `Drop` and `Ended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Map,
    Copy,
    Publish,
    Swap,
    Settle,
    Drop,
    Clear,
    Finish,
    Discard,
    Ended,
}

/// What the shard has to do for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanTurn {
    /// Nothing: the round works on by itself.
    Work,
    /// [`Log::swap`](super::Log::swap), then [`Round::swapped`].
    Swap,
    /// [`Log::drop_replaced`](super::Log::drop_replaced), then [`Round::dropped`].
    Drop,
    /// [`Log::end_clean`](super::Log::end_clean).
    End,
}

/// Compaction of one log, under way.
pub struct Round<D: Disk> {
    disk: D,
    dir: Arc<Path>,
    name: TopicName,
    topic_partition: TopicPartition,
    urgency: (bool, Ratio),
    rules: Rules,
    map_bytes: u64,
    memory_bytes: u64,
    /// A batch may decompress to so much; it grows to what is needed, within the memory.
    window_bytes: u64,
    /// Batches that tell a live producer's last sequence: the last offset of each.
    producers: BTreeMap<i64, Offset>,
    inputs: Vec<Input>,
    pub(super) cleaned: Cleaned,
    map: KeyMap,
    /// The first offset that the map knows nothing of.
    map_end: Offset,
    stage: Stage,
    /// The input that is read, and how many of the first are synced.
    input: usize,
    synced_count: usize,
    reader: Option<Reader<D::File>>,
    /// The input that the output begins with.
    first_input: usize,
    pub(super) output: Option<Output<D::File>>,
    /// Base offset of what is, or was last, on its way.
    base: Offset,
    counts: CleanCounts,
    outcome: Result<(), CleanError>,
    /// Whether files may be left that only the next start can judge.
    is_stuck: bool,
}

/// What a round is made of.
pub(super) struct RoundParts<D: Disk> {
    pub disk: D,
    pub dir: Arc<Path>,
    pub name: TopicName,
    pub topic_partition: TopicPartition,
    pub urgency: (bool, Ratio),
    pub rules: Rules,
    pub producers: BTreeMap<i64, Offset>,
    pub inputs: Vec<Input>,
    pub cleaned: Cleaned,
}

impl<D: Disk> Round<D> {
    pub(super) fn new(parts: RoundParts<D>, limits: &CleanLimits) -> Round<D> {
        let RoundParts { disk, dir, name, topic_partition, urgency, rules, .. } = parts;
        let RoundParts { producers, inputs, cleaned, .. } = parts;
        let first_dirty = inputs.partition_point(|input| input.end <= cleaned.clean_end);
        Round {
            disk,
            dir,
            name,
            topic_partition,
            urgency,
            rules,
            map_bytes: limits.map_bytes,
            memory_bytes: limits.memory_bytes,
            window_bytes: DECOMPRESSION_WINDOW_MIN,
            producers,
            map_end: cleaned.clean_end,
            inputs,
            cleaned,
            map: KeyMap::new(limits.map_bytes as usize),
            stage: Stage::Map,
            input: first_dirty,
            synced_count: 0,
            reader: None,
            first_input: 0,
            output: None,
            base: Offset::ZERO,
            counts: CleanCounts::default(),
            outcome: Ok(()),
            is_stuck: false,
        }
    }

    /// Which log.
    pub fn topic_partition(&self) -> TopicPartition {
        self.topic_partition
    }

    /// Its topic.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// How much the log needs it: whether records are overdue, then the dirty share.
    pub fn urgency(&self) -> (bool, Ratio) {
        self.urgency
    }

    /// What it did so far.
    pub fn counts(&self) -> CleanCounts {
        let mut counts = self.counts;
        if let Some(output) = self.output.as_ref().filter(|_| self.stage == Stage::Copy) {
            counts.written_bytes += output.bytes();
        }
        counts
    }

    /// How it went, once it has ended.
    pub fn outcome(&self) -> &Result<(), CleanError> {
        &self.outcome
    }

    /// Whether only the next start can tell what is left of it.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Whose turn it is.
    pub fn turn(&self) -> CleanTurn {
        match self.stage {
            Stage::Swap => CleanTurn::Swap,
            Stage::Drop => CleanTurn::Drop,
            Stage::Ended => CleanTurn::End,
            _ => CleanTurn::Work,
        }
    }

    /// The file that is read next and where, for whoever minds the page cache.
    pub fn reads(&self) -> Option<(&D::File, u64)> {
        self.reader.as_ref().map(Reader::place)
    }

    /// The file that is written and how much of it is on disk.
    pub fn writes(&self) -> Option<(&D::File, u64)> {
        self.output.as_ref().map(|output| (&output.file, output.synced_bytes))
    }

    /// Works on until about `bytes_max` were read, waiting for the disk. What fails ends the round.
    pub fn work(&mut self, now: Now, bytes_max: u64) {
        let worked = match self.stage {
            Stage::Map => self.map(bytes_max),
            Stage::Copy => self.copy(now, bytes_max),
            Stage::Publish => self.publish(),
            Stage::Settle => self.settle(),
            Stage::Clear => self.clear(),
            Stage::Finish => self.finish(),
            Stage::Discard => self.discard(),
            Stage::Swap | Stage::Drop | Stage::Ended => Ok(()),
        };
        match worked {
            Ok(()) => {}
            Err(CleanError::TooLarge { .. }) if self.widen() => {}
            Err(why) => self.fail(why),
        }
    }

    /// Gives a new round a random number, so that nobody can choose keys that make it slow.
    pub fn set_seed(&mut self, seed: u64) {
        self.map.set_seed(seed);
    }

    /// Memory that the next [`Round::work`] may take.
    pub fn needed_bytes(&self) -> u64 {
        self.map_bytes + self.window_bytes * WINDOW_COST
    }

    /// Has the batch that was read last read again, with more memory, if there is any.
    fn widen(&mut self) -> bool {
        let most = self.memory_bytes.saturating_sub(self.map_bytes) / WINDOW_COST;
        let most = most.min(DECOMPRESSED_BYTES_MAX as u64);
        let is_wider = self.window_bytes < most;
        self.window_bytes = (self.window_bytes * DECOMPRESSION_GUESS_RATIO).min(most);
        if let Some(reader) = &mut self.reader {
            reader.again();
        }
        is_wider
    }

    fn fail(&mut self, why: CleanError) {
        // Once the new segment serves, what went wrong can only be judged by a start.
        self.is_stuck = matches!(self.stage, Stage::Settle | Stage::Clear | Stage::Discard);
        if self.outcome.is_ok() {
            self.outcome = Err(why);
        }
        self.reader = None;
        self.stage = if self.is_stuck { Stage::Ended } else { Stage::Discard };
    }

    /// Ends the round as soon as nothing is half done.
    pub fn abandon(&mut self) {
        self.fail(CleanError::Outrun);
    }

    /// Notes the last offset of each key of the dirty segments.
    fn map(&mut self, bytes_max: u64) -> Result<(), CleanError> {
        let mut read_bytes = 0;
        while read_bytes < bytes_max {
            let Some(input) = self.inputs.get(self.input).copied() else {
                self.begin_copy();
                return Ok(());
            };
            let reader = open(&mut self.reader, &self.disk, &self.dir, input)?;
            let Some(found) = reader.next()? else {
                self.reader = None;
                self.input += 1;
                self.map_end = self.map_end.max(input.end);
                continue;
            };
            let header = found.header();
            read_bytes += header.size_bytes() as u64;
            let is_known = header.next_offset() <= self.map_end;
            let end = if is_known || holds_nothing(header) {
                header.next_offset()
            } else {
                let section = found.section(self.window_bytes as usize)?;
                let end = put_keys(&mut self.map, header, &section, self.map_end);
                end.ok_or(found.damaged())?
            };
            self.map_end = self.map_end.max(end);
            if end < header.next_offset() {
                // Full.
                self.begin_copy();
                break;
            }
        }
        self.counts.read_bytes += read_bytes;
        Ok(())
    }

    fn begin_copy(&mut self) {
        self.counts.key_count = self.map.key_count() as u64;
        let end = self.map_end;
        self.inputs.truncate(self.inputs.partition_point(|input| input.base < end));
        self.reader = None;
        self.input = 0;
        self.stage = Stage::Copy;
    }

    /// Writes what is kept of the inputs.
    fn copy(&mut self, now: Now, bytes_max: u64) -> Result<(), CleanError> {
        let mut read_bytes = 0;
        while read_bytes < bytes_max {
            let Some(input) = self.inputs.get(self.input).copied() else {
                self.stage = Stage::Finish;
                break;
            };
            if self.output.is_none() {
                self.begin_output(input)?;
            }
            let output = self.output.as_mut().expect("begun above");
            let reader = open(&mut self.reader, &self.disk, &self.dir, input)?;
            let Some(found) = reader.next()? else {
                self.end_input()?;
                if self.stage == Stage::Copy {
                    continue;
                }
                break;
            };
            read_bytes += found.header().size_bytes() as u64;
            let keep = Keep {
                map: &self.map,
                map_end: self.map_end,
                producers: &self.producers,
                delete_retention_ms: self.rules.delete_retention_ms,
                window_bytes: self.window_bytes as usize,
                now,
            };
            match keep.judge(&found)? {
                Fate::Copy => output.push(found.header(), found.bytes())?,
                Fate::Rewrite(batch) => output.push_changed(&batch)?,
                Fate::Gone => output.skip(found.header())?,
            }
        }
        self.counts.read_bytes += read_bytes;
        Ok(())
    }

    fn begin_output(&mut self, input: Input) -> Result<(), CleanError> {
        let space = self.disk.space(&self.dir)?;
        let reserve_bytes = (space.total_bytes / 100).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let needed_bytes = reserve_bytes + self.rules.segment_bytes.max(input.bytes);
        let left_bytes: u64 = self.inputs[self.input..].iter().map(|input| input.bytes).sum();
        if space.free_bytes < needed_bytes.min(reserve_bytes + left_bytes) {
            return Err(CleanError::Io(io::ErrorKind::StorageFull.into()));
        }
        self.first_input = self.input;
        self.base = input.base;
        let place = Place { disk: &self.disk, dir: &self.dir };
        self.output = Some(Output::create(place, input.base, self.rules.index_interval_bytes)?);
        Ok(())
    }

    /// One segment is copied: the next one joins it, or what is written takes its place.
    fn end_input(&mut self) -> Result<(), CleanError> {
        self.reader = None;
        let done = self.inputs[self.input];
        self.input += 1;
        let output = self.output.as_mut().expect("an input is copied into an output");
        let count = self.input - self.first_input;
        if self.inputs.get(self.input).is_some_and(|next| {
            // A hole between two segments stays where it is.
            let follows = next.base == done.end && count < CLEANER_GROUP_SEGMENTS_MAX;
            let reach = next.end.since(self.base);
            follows && reach <= i64::from(i32::MAX) && output.has_room_for(next.bytes, &self.rules)
        }) {
            return Ok(());
        }
        output.flush()?;
        self.counts.written_bytes += output.bytes();
        if count == 1 && !output.is_changed() {
            // It is what it was. Later segments rest on its being synced.
            self.output = None;
            let place = Place { disk: &self.disk, dir: &self.dir };
            return Ok(cleaned::discard(place, &self.cleaned, self.base)?);
        }
        self.stage = Stage::Publish;
        Ok(())
    }

    /// Syncs what was written and says in the partition's file that it is to take its place.
    fn publish(&mut self) -> Result<(), CleanError> {
        let output = self.output.as_mut().expect("there is something to publish");
        output.close()?;
        for suffix in SUFFIXES {
            let from = self.dir.join(unfinished_name(self.base, suffix));
            self.disk.rename(&from, &self.dir.join(waiting_name(self.base, suffix)))?;
        }
        self.disk.sync_dir(&self.dir)?;
        let place = Place { disk: &self.disk, dir: &self.dir };
        // From now on the journal does not make these segments whole.
        for input in &self.inputs[self.synced_count..self.input] {
            self.disk.open(&place.path(input.base, "log"), Open::Write)?.sync_data()?;
        }
        self.synced_count = self.input;
        let end = self.inputs[self.input - 1].end;
        let output = self.output.as_ref().expect("as above");
        let swap = Swap { base: self.base, end, bytes: output.bytes(), crc: output.crc() };
        let rewritten_end = self.cleaned.rewritten_end.max(end);
        self.cleaned = Cleaned { rewritten_end, swap: Some(swap), ..self.cleaned };
        self.cleaned.save(&self.disk, &self.dir)?;
        self.stage = Stage::Swap;
        Ok(())
    }

    /// The shard has swapped the segments, or could not.
    pub fn swapped(&mut self, is_done: bool) {
        assert!(self.stage == Stage::Swap, "the shard swaps when it is asked to");
        if !is_done {
            return self.abandon();
        }
        self.counts.before_bytes +=
            self.replaced_inputs().iter().map(|input| input.bytes).sum::<u64>();
        self.counts.after_bytes += self.cleaned.swap.map_or(0, |swap| swap.bytes);
        self.stage = Stage::Settle;
    }

    /// Makes the new segment's name durable: only then may those that it replaced go.
    fn settle(&mut self) -> Result<(), CleanError> {
        self.disk.sync_dir(&self.dir)?;
        let has_others = 1 < self.input - self.first_input;
        self.stage = if has_others { Stage::Drop } else { Stage::Copy };
        Ok(())
    }

    /// What the new segment takes the place of.
    pub(super) fn replaced_inputs(&self) -> &[Input] {
        &self.inputs[self.first_input..self.input]
    }

    /// Base offsets of the segments that went into another one.
    pub(super) fn replaced(&self) -> impl Iterator<Item = Offset> + '_ {
        self.inputs[self.first_input + 1..self.input].iter().map(|input| input.base)
    }

    /// The shard has renamed the files of segments that went into another, or could not.
    pub fn dropped(&mut self, is_done: bool) {
        assert!(self.stage == Stage::Drop, "the shard drops when it is asked to");
        self.stage = Stage::Clear;
        if !is_done {
            self.abandon();
        }
    }

    /// Makes it durable that the others are gone, and removes their files.
    fn clear(&mut self) -> Result<(), CleanError> {
        self.disk.sync_dir(&self.dir)?;
        let place = Place { disk: &self.disk, dir: &self.dir };
        for base in self.replaced() {
            remove_if_there(&self.disk, &place.path(base, "log.deleted"))?;
            remove_if_there(&self.disk, &place.path(base, "snapshot"))?;
            remove_caches(place, base)?;
        }
        self.stage = Stage::Copy;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CleanError> {
        self.cleaned = Cleaned { clean_end: self.map_end, swap: None, ..self.cleaned };
        self.cleaned.save(&self.disk, &self.dir)?;
        self.map.clear();
        self.stage = Stage::Ended;
        Ok(())
    }

    fn discard(&mut self) -> Result<(), CleanError> {
        self.output = None;
        let place = Place { disk: &self.disk, dir: &self.dir };
        cleaned::discard(place, &self.cleaned, self.base)?;
        self.cleaned.swap = None;
        self.map.clear();
        self.stage = Stage::Ended;
        Ok(())
    }
}

/// The reader of an input, opened when it is not yet.
fn open<'a, D: Disk>(
    reader: &'a mut Option<Reader<D::File>>,
    disk: &D,
    dir: &Path,
    input: Input,
) -> Result<&'a mut Reader<D::File>, CleanError> {
    if reader.is_none() {
        let file = disk.open(&Place { disk, dir }.path(input.base, "log"), Open::Read)?;
        *reader = Some(Reader::new(file, input));
    }
    Ok(reader.as_mut().expect("opened above"))
}

/// Whether no key of a batch says anything about others.
fn holds_nothing(header: &BatchHeader) -> bool {
    let attributes = header.attributes;
    header.record_count == 0 || attributes.is_control() || attributes.is_transactional()
}

/// Notes a batch's keys; the offset behind the last record that was noted, `None` when its records
/// do not decode.
fn put_keys(
    map: &mut KeyMap,
    header: &BatchHeader,
    section: &[u8],
    known_end: Offset,
) -> Option<Offset> {
    for record in Records::new(header, section) {
        let record = record.ok()?;
        let Some(key) = record.key.filter(|key| key.len() <= CLEANER_KEY_BYTES_MAX) else {
            continue;
        };
        if known_end <= record.offset && map.put(key, record.offset).is_err() {
            return Some(record.offset);
        }
    }
    Some(header.next_offset())
}
