//! The commit journal of a log dir: one write and one sync for all partitions.
//!
//! One `fdatasync` per partition and commit costs a thousand flushes for a thousand sensors, and
//! each rewrites a page that holds acknowledged records. Here a *commit* carries the batches of all
//! partitions that appended since the last one, is written once and synced once; the segments get
//! the same bytes without a sync, and are synced later, at a *checkpoint*, off the commit path.
//!
//! ```text
//! file    0 ........ superblock A (4 KiB)   the newer valid one of the two counts
//!      4096 ........ superblock B (4 KiB)
//!      8192 ........ ring: two halves of 4 KiB blocks
//!
//! superblock                          commit (starts on a block, lies within one half)
//!  0  [u8; 8]  "ODRKJRNL"              0  u32  0x4f4a4331, "OJC1": the format is in the name
//!  8  u32      version, 1              4  u32  CRC-32C of bytes 8 to the end of the body
//! 12  u32      CRC-32C of 16..72       8  u64  salt of the ring
//! 16  u64      generation             16  u64  sequence number
//! 24  u64      ring bytes             24  u32  body bytes
//! 32  u64      salt                   28  u32  entry count
//! 40  u64      tail position          32  ...  entries, then zeros to the end of the block
//! 48  u64      tail sequence
//! 56  u64      1 after a clean stop   entry: postcard of `StoredEntry`, then the batches it names
//! 64  u64      0
//! ```
//!
//! All integers are big endian.
//!
//! **Invariant:** a commit is written only after its predecessor's sync returned, so a valid commit
//! proves its predecessor durable; the last valid commit is the *durable mark*.
//! **Invariant:** a half is written over only after every segment with bytes in it is synced and
//! the checkpoint file and the superblock say so.
//! **Invariant:** after an error nothing more is written until the journal is opened again: what a
//! failed sync left on disk cannot be known (reliability.md S6).
//!
//! Why a ring beside the segments and not the segments alone: measured in design.md §4, a thousand
//! partitions cost 105 ms per commit with a sync each, and 0.12 ms here. Why the batches twice and
//! not an index over one shared log: a segment per partition is Kafka's format, readable by Kafka's
//! tools and sent by `sendfile`; large shares bypass the ring, so nothing is written twice at full
//! speed. Why two halves and not a free-running tail: a checkpoint then has a fixed set of segments
//! to sync, and one flag says whether the head may go on.

mod checkpoint;
mod commit;
pub mod disk;
mod replay;
mod superblock;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::journal::superblock::Superblock;
use crate::limits::JOURNAL_BLOCK_BYTES;

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use replay::{Redo, ReplayReport};

/// Name of the journal in its log dir.
pub const JOURNAL_FILE: &str = "commit.journal";

/// Where the ring begins.
const RING_START: u64 = 2 * JOURNAL_BLOCK_BYTES;

/// Bytes written ahead at a time in the ring's first lap.
const PREWRITE_BYTES: usize = 256 << 10;

/// A segment, as the journal needs to know it.
#[derive(Clone, Debug)]
pub struct SegmentRef<F> {
    /// Its open file.
    pub file: F,
    /// Its name's offset.
    pub base_offset: Offset,
    /// Whether its name is not durable yet: its directory must be synced with it.
    pub is_new: bool,
    /// That directory.
    pub dir: Arc<Path>,
}

/// Something to make durable.
#[derive(Clone, Debug)]
pub enum Entry<F> {
    /// A batch that the shard has written to its segment (page cache).
    Append {
        /// Whose.
        topic_partition: TopicPartition,
        /// Epoch it is stamped with.
        leader_epoch: LeaderEpoch,
        /// Its first offset.
        base_offset: Offset,
        /// The offset after its last.
        end_offset: Offset,
        /// Where it was written.
        segment: SegmentRef<F>,
        /// Where in that.
        position: u64,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A segment to sync as it is: topics whose acks do not wait for storage.
    Flush {
        /// Whose.
        topic_partition: TopicPartition,
        /// The offset after the last record it holds.
        end_offset: Offset,
        /// The segment.
        segment: SegmentRef<F>,
        /// Bytes of it that are to be durable.
        position_end: u64,
    },
    /// A partition's small state.
    State {
        /// Whose.
        topic_partition: TopicPartition,
        /// The state.
        state: SmallState,
    },
}

impl<F> Entry<F> {
    /// The partition concerned.
    pub fn topic_partition(&self) -> TopicPartition {
        match self {
            Entry::Append { topic_partition, .. }
            | Entry::Flush { topic_partition, .. }
            | Entry::State { topic_partition, .. } => *topic_partition,
        }
    }
}

/// A partition's small state, persisted. The order of the variants is the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SmallState {
    /// Its first offset rose.
    LogStart(Offset),
    /// A leader epoch begins at an offset.
    EpochStart {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        offset: Offset,
    },
    /// The partition was deleted.
    Forget,
}

/// What is known of a partition beside its segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Its first offset.
    pub log_start: Offset,
    /// Its epochs and where each begins, both ascending.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Bytes below `recovery_position` of this segment, and all earlier segments, are synced.
    pub recovery_segment: Offset,
    /// See `recovery_segment`.
    pub recovery_position: u64,
    /// The offset after the last record below that position.
    pub recovery_offset: Offset,
}

impl PartitionState {
    /// Takes a change of small state into account.
    pub fn take(&mut self, state: SmallState) {
        match state {
            SmallState::LogStart(offset) => {
                self.log_start = self.log_start.max(offset);
                // An epoch that ended before the first offset has nothing left to say; the one
                // that the first offset lies in stays.
                let before = self.epochs.iter().filter(|(_, start)| *start <= self.log_start);
                let gone = before.count().saturating_sub(1);
                self.epochs.drain(..gone);
            }
            SmallState::EpochStart { epoch, offset } => {
                let stays = |known: &(LeaderEpoch, Offset)| known.0 < epoch && known.1 < offset;
                self.epochs.retain(stays);
                self.epochs.push((epoch, offset));
            }
            SmallState::Forget => {}
        }
    }

    fn advance(&mut self, point: &Point) {
        let recovery = (self.recovery_segment, self.recovery_position);
        if recovery < (point.segment, point.position) {
            self.recovery_segment = point.segment;
            self.recovery_position = point.position;
            self.recovery_offset = self.recovery_offset.max(point.end_offset);
        }
    }
}

/// A place in a partition: the end of something that is in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    segment: Offset,
    position: u64,
    end_offset: Offset,
}

/// What a half of the ring keeps alive.
#[derive(Debug)]
struct Half<F> {
    is_free: bool,
    first_sequence: u64,
    dirty: BTreeMap<(TopicPartition, Offset), SegmentRef<F>>,
    points: BTreeMap<TopicPartition, Point>,
}

impl<F> Half<F> {
    fn free() -> Half<F> {
        Half { is_free: true, first_sequence: 0, dirty: BTreeMap::new(), points: BTreeMap::new() }
    }
}

/// Why the journal cannot go on.
#[derive(Debug)]
pub enum JournalError {
    /// The disk failed.
    Io(io::Error),
    /// An earlier failure: nothing is written until it is opened again.
    Poisoned,
    /// It was written by newer software.
    Version(u32),
    /// The next half is not free yet: finish the checkpoint first.
    Full,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "{JOURNAL_FILE}: {why}"),
            Self::Poisoned => write!(f, "{JOURNAL_FILE} failed earlier and must be opened again"),
            Self::Version(version) => {
                write!(f, "{JOURNAL_FILE} has format {version}, this software reads up to 1")
            }
            Self::Full => write!(f, "{JOURNAL_FILE} waits for a checkpoint"),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<io::Error> for JournalError {
    fn from(why: io::Error) -> JournalError {
        JournalError::Io(why)
    }
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Bytes written to the ring.
    pub ring_bytes: u64,
    /// Syncs of the ring.
    pub ring_syncs: u64,
    /// Syncs of segments that bypassed it.
    pub segment_syncs: u64,
}

/// What is wrong with the journal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalDamage {
    /// There are checkpoints, but no journal.
    Missing,
    /// No superblock is valid.
    Superblock,
    /// A commit below the durable mark is not valid; the ones after it are.
    Commit {
        /// Its sequence number.
        sequence: u64,
    },
}

impl fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "{JOURNAL_FILE} is missing: what was acknowledged shortly before the last stop may \
                 be lost"
            ),
            Self::Superblock => write!(
                f,
                "{JOURNAL_FILE} has no valid superblock: what was acknowledged shortly before the \
                 last stop may be lost"
            ),
            Self::Commit { sequence } => write!(
                f,
                "{JOURNAL_FILE}: commit {sequence} is damaged; what it alone held is lost"
            ),
        }
    }
}

/// A journal that was opened, and what there is to replay.
pub struct Opened<D: Disk> {
    /// The journal; call [`Journal::replay`] before anything else.
    pub journal: Journal<D>,
    /// Small state and recovery points as of the last checkpoint.
    pub states: BTreeMap<TopicPartition, PartitionState>,
    /// Whether the last stop was clean: the ring is empty.
    pub was_clean: bool,
    /// What is wrong with the journal itself.
    pub damage: Option<JournalDamage>,
}

/// The commit journal of a log dir.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    file: D::File,
    superblock: Superblock,
    /// Where the next commit goes, counted from the start of the ring.
    head: u64,
    sequence: u64,
    halves: [Half<D::File>; 2],
    states: BTreeMap<TopicPartition, PartitionState>,
    prewritten: u64,
    /// The newest segment of each directory whose name is known to be durable: a segment says
    /// that it is new for as long as it grows, and its directory is synced once.
    named: BTreeMap<Arc<Path>, Offset>,
    /// One superblock was damaged, perhaps the newer: the tail must be looked for.
    is_tail_lost: bool,
    is_checkpointing: bool,
    is_poisoned: bool,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal of `dir`, or makes one of about `bytes`. `salt` is random: it tells this
    /// ring's commits from those of any other that once lay on the same blocks.
    pub fn open(disk: D, dir: &Path, bytes: u64, salt: u64) -> Result<Opened<D>, JournalError> {
        let path = dir.join(JOURNAL_FILE);
        let stored = checkpoint::read(&disk, dir)?;
        let (file, found, damage) = if disk.exists(&path)? {
            let file = disk.open(&path, Open::Write)?;
            let found = superblock::read(&file)?;
            let damage = found.newest.is_none().then_some(JournalDamage::Superblock);
            (file, found, damage)
        } else {
            let damage = stored.is_some().then_some(JournalDamage::Missing);
            (disk.open(&path, Open::Create)?, superblock::Found::default(), damage)
        };
        let is_fresh = found.newest.is_none();
        let superblock = match found.newest {
            Some(superblock) => superblock,
            None => make_ring(&disk, dir, &file, bytes, salt)?,
        };
        let states = stored.unwrap_or_default();
        let journal = Journal {
            disk,
            dir: dir.to_owned(),
            file,
            head: superblock.tail_position,
            sequence: superblock.tail_sequence,
            halves: [Half::free(), Half::free()],
            states: states.clone(),
            prewritten: if is_fresh { 0 } else { superblock.ring_bytes },
            named: BTreeMap::new(),
            is_tail_lost: found.is_one_lost,
            is_checkpointing: false,
            is_poisoned: false,
            superblock,
        };
        let was_clean = journal.superblock.is_clean && !found.is_one_lost && damage.is_none();
        Ok(Opened { journal, states, was_clean, damage })
    }

    /// Whether [`Journal::commit`] of these entries finds its half free.
    pub fn has_room(&self, entries: &[Entry<D::File>]) -> bool {
        self.fits(&commit::Plan::of(entries))
    }

    fn fits(&self, plan: &commit::Plan<'_, D::File>) -> bool {
        let mut head = self.head;
        let mut enters_other = false;
        for bytes in plan.sizes() {
            let (place, is_new_half) = self.place(head, bytes);
            if is_new_half {
                // More than one whole half in one call can never be free.
                if enters_other || !self.halves[self.half_of(place)].is_free {
                    return false;
                }
                enters_other = true;
            }
            head = place + bytes;
        }
        true
    }

    /// Makes entries durable: segments with large shares first, then one ring commit (or several,
    /// if they are too large for one), each with one write and one sync.
    pub fn commit(&mut self, entries: &[Entry<D::File>]) -> Result<Committed, JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned);
        }
        let plan = commit::Plan::of(entries);
        if !self.fits(&plan) {
            return Err(JournalError::Full);
        }
        // Set before the first write: whatever fails from here on leaves the disk in doubt.
        self.is_poisoned = true;
        let committed = self.write(&plan)?;
        self.is_poisoned = false;
        Ok(committed)
    }

    fn write(&mut self, plan: &commit::Plan<'_, D::File>) -> Result<Committed, JournalError> {
        let mut committed = Committed { segment_syncs: self.sync_bypass(plan)?, ..<_>::default() };
        if self.superblock.is_clean {
            // The same sync that makes the first commit durable makes this so; and it goes to the
            // other copy, so that a torn write leaves the clean one, which is then still true.
            self.superblock.is_clean = false;
            self.superblock.generation += 1;
            self.superblock.write(&self.file)?;
        }
        for part in plan.parts() {
            let bytes = commit::encode(part, self.superblock.salt, self.sequence);
            let (place, is_new_half) = self.place(self.head, bytes.len() as u64);
            if is_new_half {
                let half = self.half_of(place);
                self.halves[half].is_free = false;
                self.halves[half].first_sequence = self.sequence;
            }
            self.file.write_all_at(&bytes, RING_START + place)?;
            self.file.sync_data()?;
            committed.ring_bytes += bytes.len() as u64;
            committed.ring_syncs += 1;
            self.head = place + bytes.len() as u64;
            self.sequence += 1;
            let half = self.half_of(place);
            for item in part {
                item.track(&mut self.halves[half], &mut self.states);
            }
        }
        Ok(committed)
    }

    fn sync_bypass(&mut self, plan: &commit::Plan<'_, D::File>) -> Result<u64, JournalError> {
        let named = &self.named;
        let is_unnamed = |segment: &SegmentRef<D::File>| {
            segment.is_new && named.get(&segment.dir).is_none_or(|&base| base < segment.base_offset)
        };
        let segments: Vec<_> = plan
            .bypassing()
            .values()
            .map(|&segment| SegmentRef { is_new: is_unnamed(segment), ..segment.clone() })
            .collect();
        let count = sync_segments(&self.disk, &self.dir, segments.iter())?;
        for segment in segments.into_iter().filter(|segment| segment.is_new) {
            self.named.insert(segment.dir, segment.base_offset);
        }
        Ok(count)
    }

    /// Where a commit of `bytes` goes when the head is at `head`, and whether it is the first of
    /// its half.
    fn place(&self, head: u64, bytes: u64) -> (u64, bool) {
        let half_bytes = self.superblock.ring_bytes / 2;
        let within = head % half_bytes;
        let is_start = within == 0;
        let place = if is_start || within + bytes <= half_bytes {
            head
        } else {
            head - within + half_bytes
        };
        let place = place % self.superblock.ring_bytes;
        let is_new_half = place % half_bytes == 0;
        (place, is_new_half)
    }

    fn half_of(&self, position: u64) -> usize {
        usize::from(self.superblock.ring_bytes / 2 <= position % self.superblock.ring_bytes)
    }

    /// A checkpoint, if the half that the head is not in is to be freed. One at a time.
    pub fn checkpoint_due(&mut self) -> Option<CheckpointJob<D>> {
        let current = self.current_half()?;
        let other = 1 - current;
        if self.is_poisoned || self.is_checkpointing || self.halves[other].is_free {
            return None;
        }
        self.is_checkpointing = true;
        let tail_position = current as u64 * (self.superblock.ring_bytes / 2);
        let tail_sequence = self.halves[current].first_sequence;
        Some(self.job(&[other], tail_position, tail_sequence, false))
    }

    /// The half that the last commit lies in, if there is one.
    fn current_half(&self) -> Option<usize> {
        let last = (0..2).filter(|half| !self.halves[*half].is_free);
        last.max_by_key(|half| self.halves[*half].first_sequence)
    }

    fn job(
        &mut self,
        halves: &[usize],
        tail_position: u64,
        tail_sequence: u64,
        is_clean: bool,
    ) -> CheckpointJob<D> {
        let mut segments = BTreeMap::new();
        for half in halves {
            segments.append(&mut self.halves[*half].dirty);
            for (topic_partition, point) in std::mem::take(&mut self.halves[*half].points) {
                if let Some(state) = self.states.get_mut(&topic_partition) {
                    state.advance(&point);
                }
            }
        }
        let superblock = Superblock {
            generation: self.superblock.generation + 1,
            tail_position,
            tail_sequence,
            is_clean,
            ..self.superblock
        };
        CheckpointJob {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            file: self.file.clone(),
            segments,
            states: self.states.clone(),
            superblock,
        }
    }

    /// Takes a checkpoint into account: the half is free.
    pub fn checkpoint_done(&mut self, done: CheckpointDone) -> Result<(), JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned);
        }
        self.superblock = done.superblock;
        self.is_checkpointing = false;
        let tail_half = self.half_of(self.superblock.tail_position);
        self.halves[1 - tail_half] = Half::free();
        Ok(())
    }

    /// Writes zeros ahead of the head in the ring's first lap, so that a commit's sync has no
    /// blocks to allocate. To be called when there is nothing else to do; answers whether it did
    /// something.
    pub fn prewrite_step(&mut self) -> Result<bool, JournalError> {
        let end = self.superblock.ring_bytes;
        self.prewritten = self.prewritten.max(self.head);
        if self.is_poisoned || end <= self.prewritten {
            return Ok(false);
        }
        let bytes = PREWRITE_BYTES.min((end - self.prewritten) as usize);
        self.file.write_all_at(&vec![0; bytes], RING_START + self.prewritten)?;
        self.file.sync_data()?;
        self.prewritten += bytes as u64;
        Ok(true)
    }

    /// Ends cleanly: every segment synced, the ring empty, and a mark that says so.
    pub fn close(mut self) -> Result<(), JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned);
        }
        let (tail_position, tail_sequence) = (self.superblock.tail_position, self.sequence);
        // The tail moves to the half that the next commit would begin, past all that is live.
        let next_half = self
            .current_half()
            .map_or(tail_position, |half| (1 - half) as u64 * (self.superblock.ring_bytes / 2));
        let done = self.job(&[0, 1], next_half, tail_sequence, true).run()?;
        self.superblock = done.superblock;
        Ok(())
    }

    /// Small state of every partition, as of the last commit.
    pub fn states(&self) -> &BTreeMap<TopicPartition, PartitionState> {
        &self.states
    }

    /// Gives a partition's epochs and first offset, as recovery found them, to later checkpoints.
    pub fn set_state(&mut self, topic_partition: TopicPartition, state: PartitionState) {
        self.states.insert(topic_partition, state);
    }
}

/// Syncs segments and the directories of new ones: each by itself when they are few, else the
/// whole file system at once. Answers how many syncs that took.
fn sync_segments<'a, D: Disk>(
    disk: &D,
    log_dir: &Path,
    segments: impl ExactSizeIterator<Item = &'a SegmentRef<D::File>>,
) -> io::Result<u64>
where
    D::File: 'a,
{
    /// More than this many syncs cost more than one of everything (design.md §4, first table).
    const SEPARATE_SYNCS_MAX: usize = 8;
    if SEPARATE_SYNCS_MAX < segments.len() {
        disk.sync_all(log_dir)?;
        return Ok(1);
    }
    let mut dirs = BTreeSet::new();
    let mut count = 0;
    for segment in segments {
        segment.file.sync_data()?;
        count += 1;
        if segment.is_new {
            dirs.insert(&segment.dir);
        }
    }
    for dir in dirs {
        disk.sync_dir(dir)?;
        count += 1;
    }
    Ok(count)
}

fn make_ring<D: Disk>(
    disk: &D,
    dir: &Path,
    file: &D::File,
    bytes: u64,
    salt: u64,
) -> Result<Superblock, JournalError> {
    let unit = 2 * JOURNAL_BLOCK_BYTES;
    let ring_bytes = (bytes / unit).max(1) * unit;
    file.set_len(RING_START + ring_bytes)?;
    file.reserve(0, RING_START + ring_bytes)?;
    let superblock = Superblock {
        generation: 1,
        ring_bytes,
        salt,
        tail_position: 0,
        tail_sequence: 1,
        is_clean: true,
    };
    Superblock { generation: 0, ..superblock }.write(file)?;
    superblock.write(file)?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    Ok(superblock)
}
