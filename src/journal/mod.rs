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
//!  8  u32      CRC-32C of 12..72       4  u32  CRC-32C of bytes 8 to the end of the body
//! 12  u32      version, 1              8  u64  salt of the ring
//! 16  u64      generation             16  u64  sequence number
//! 24  u64      ring bytes             24  u32  body bytes
//! 32  u64      salt                   28  u32  entry count
//! 40  u64      tail position          32  ...  entries, then zeros to the end of the block
//! 48  u64      tail sequence
//! 56  u64      1 after a clean stop   entry: postcard of `StoredEntry`, then the batches it names
//! 64  u64      bytes at the ring's end that were never written: its first lap is not over
//! ```
//!
//! All integers are big endian.
//!
//! **Invariant:** a commit is written only after its predecessor's sync returned, so a valid commit
//! proves its predecessor durable; the last valid commit is the *durable mark*.
//! **Invariant:** a half is written over only after every segment with bytes in it is synced and
//! the checkpoint file and the superblock say so.
//! **Invariant:** a commit is written over bytes that were written before. In the ring's first lap
//! zeros go ahead of it, so that its sync changes no extent: that is faster, and ext4 was seen to
//! answer the sync of an unwritten extent with success while the file system was being shut down,
//! although the extent's conversion had failed and the bytes were gone.
//! **Invariant:** after an error nothing more is written until the journal is opened again: what a
//! failed sync left on disk cannot be known (reliability.md S6).
//!
//! Why a ring beside the segments and not the segments alone: measured in design.md §4, a thousand
//! partitions cost 105 ms per commit with a sync each, and 0.12 ms here. Why the batches twice and
//! not an index over one shared log: a segment per partition is Kafka's format, readable by Kafka's
//! tools and sent by `sendfile`; large shares bypass the ring, so nothing is written twice at full
//! speed, and small ones do not wait for them ([`Ahead`]). Why two halves and not a free-running
//! tail: a checkpoint then has a fixed set of segments to sync, and one flag says whether the head
//! may go on.

mod ahead;
mod checkpoint;
mod commit;
pub mod disk;
mod error;
mod replay;
mod ring;
mod state;
mod superblock;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::journal::checkpoint::Stored;
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::journal::state::Half;
use crate::journal::superblock::Superblock;
use crate::limits::{JOURNAL_BLOCK_BYTES, JOURNAL_BYPASS_BYTES};

pub use ahead::{Ahead, SyncDone, SyncJob};
pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use error::{JournalDamage, JournalError};
pub use replay::{Redo, ReplayReport};
pub use state::{PartitionState, SmallState};

/// Name of the journal in its log dir.
pub const JOURNAL_FILE: &str = "commit.journal";

/// Says that the journal does not go back to what was promised last. It stays until whoever goes by
/// the copies here knows, for a second start finds a journal that is whole.
const UNPROVEN_FILE: &str = "commit.journal.unproven";

/// Says that the journal was found damaged, until a start that knows has come to its end: what it
/// makes or writes meanwhile is sound, and the power may go before it has drawn its conclusions.
const DAMAGED_FILE: &str = "commit.journal.damaged";

/// The journal while it is made: a power cut in its first moment leaves no half-made ring behind,
/// which a later start would take for a damaged one.
const NEW_FILE: &str = "commit.journal.new";

/// The smallest ring: a half holds the largest share that does not bypass it, twice.
const RING_BYTES_MIN: u64 = 4 * JOURNAL_BYPASS_BYTES as u64;

/// Where the ring begins.
const RING_START: u64 = 2 * JOURNAL_BLOCK_BYTES;

/// Bytes written ahead at a time in the ring's first lap: the sync of so much delays a commit that
/// waits for it no longer than a card's own pauses do.
const PREWRITE_BYTES: usize = 256 << 10;

/// Bytes of one write of these.
const PREWRITE_PIECE_BYTES: usize = 16 << 10;

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
    /// A batch that the shard has written to its segment (page cache), or will before the half of
    /// the ring that has it is freed.
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
        /// Whether it was there when this was told. What is not is there before anything of the same log
        /// that is; the last ones cannot bypass the ring.
        is_written: bool,
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

/// A journal that was opened, and what there is to replay.
pub struct Opened<D: Disk> {
    /// The journal; call [`Journal::replay`] before anything else.
    pub journal: Journal<D>,
    /// Small state and recovery points as of the last checkpoint.
    pub states: BTreeMap<TopicPartition, PartitionState>,
    /// Whether the last stop was clean: the ring is empty.
    pub was_clean: bool,
    /// What is wrong with the journal itself, now or since a start came to its end ([`started`]).
    pub damage: Option<JournalDamage>,
    /// The journal does not go back to what was promised last: it is new, or was damaged, now or
    /// since [`prove`] was called last.
    pub is_unproven: bool,
}

/// The commit journal of a log dir.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    file: D::File,
    /// The same file by another handle, for checkpoints: see [`CheckpointJob`].
    checkpoint_file: D::File,
    superblock: Superblock,
    /// Where the next commit goes, counted from the start of the ring.
    head: u64,
    sequence: u64,
    halves: [Half<D::File>; 2],
    states: BTreeMap<TopicPartition, PartitionState>,
    /// Every byte of the ring before this one has been written at least once.
    prewritten: u64,
    /// The newest segment of each partition whose name is known to be durable: a segment says that
    /// it is new for as long as it grows, and its directory is synced once.
    named: BTreeMap<TopicPartition, Offset>,
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
        let mut damage = None;
        let mut found = superblock::Found::default();
        if disk.exists(&path)? {
            let file = disk.open(&path, Open::Write)?;
            found = superblock::read(&file)?;
            if found.newest.is_none() {
                damage = Some(JournalDamage::Superblock);
                found.newest = tail::salvage(&file)?;
            }
        } else if !matches!(stored, Stored::Never) {
            damage = Some(JournalDamage::Missing);
        }
        let is_fresh = found.newest.is_none();
        if damage.is_some() {
            note_damage(&disk, dir)?;
        } else if is_fresh {
            // Before anything covers up that there was no other.
            note(&disk, dir, &[UNPROVEN_FILE])?;
        }
        let is_tail_lost = !is_fresh && found.is_one_lost;
        let mut superblock = match found.newest {
            Some(superblock) => superblock,
            None => make_ring(&disk, dir, bytes, salt)?,
        };
        let states = match stored {
            Stored::States(states) => Some(states),
            Stored::Lost => None,
            // The tail has moved once, so there was a checkpoint.
            Stored::Never => (superblock.tail_sequence <= 1).then(BTreeMap::new),
        };
        let damage = damage.or(states.is_none().then_some(JournalDamage::Checkpoint));
        let states = states.unwrap_or_default();
        if damage == Some(JournalDamage::Checkpoint) {
            note_damage(&disk, dir)?;
        }
        let was_damaged = disk.exists(&dir.join(DAMAGED_FILE))?;
        let damage = damage.or(was_damaged.then_some(JournalDamage::Earlier));
        let is_unproven = disk.exists(&dir.join(UNPROVEN_FILE))?;
        if is_tail_lost {
            // Perhaps a later lap than this one says: nothing may be written ahead.
            superblock.unwritten_bytes = 0;
        }
        let journal = Journal {
            file: disk.open(&path, Open::Write)?,
            checkpoint_file: disk.open(&path, Open::Write)?,
            disk,
            dir: dir.to_owned(),
            head: superblock.tail_position,
            sequence: superblock.tail_sequence,
            halves: [Half::free(), Half::free()],
            states: states.clone(),
            prewritten: superblock.ring_bytes - superblock.unwritten_bytes,
            named: BTreeMap::new(),
            is_tail_lost,
            is_checkpointing: false,
            // Nothing may be written before the ring's live part is known.
            is_poisoned: is_tail_lost || !superblock.is_clean,
            superblock,
        };
        let was_clean = journal.superblock.is_clean && !is_tail_lost && damage.is_none();
        Ok(Opened { journal, states, was_clean, damage, is_unproven })
    }

    /// Whether [`Journal::commit`] of these entries finds its half free.
    pub fn has_room(&self, entries: &[Entry<D::File>]) -> bool {
        self.has_room_after(&[], entries)
    }

    /// The same of [`Journal::commit_after`].
    pub fn has_room_after(&self, synced: &[Entry<D::File>], entries: &[Entry<D::File>]) -> bool {
        self.fits(&commit::Plan::of(synced, entries))
    }

    fn fits(&self, plan: &commit::Plan<'_, D::File>) -> bool {
        let mut head = self.head;
        let mut enters_other = false;
        for part in plan.parts(self.half_bytes()) {
            let bytes = commit::size_max(part);
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
    /// if they are too many for one), each with one write and one sync.
    pub fn commit(&mut self, entries: &[Entry<D::File>]) -> Result<Committed, JournalError> {
        self.commit_after(&[], entries)
    }

    /// As `commit`, with entries before them whose segments were synced: what was given to
    /// [`Journal::sync_ahead`].
    pub fn commit_after(
        &mut self,
        synced: &[Entry<D::File>],
        entries: &[Entry<D::File>],
    ) -> Result<Committed, JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned);
        }
        let plan = commit::Plan::of(synced, entries);
        if !self.fits(&plan) {
            return Err(JournalError::Full);
        }
        for entry in entries {
            if let Entry::State { topic_partition, state: SmallState::Forget } = entry {
                // What comes behind it is another log's, and may be the first of its directory.
                self.named.remove(topic_partition);
            }
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
        for part in plan.parts(self.half_bytes()) {
            let bytes = commit::encode(part, self.superblock.salt, self.sequence);
            let (place, is_new_half) = self.place(self.head, bytes.len() as u64);
            let half = self.half_of(place);
            if is_new_half {
                assert!(self.halves[half].is_free, "a commit never covers a live block");
                self.halves[half].is_free = false;
                self.halves[half].first_sequence = self.sequence;
            }
            if place < self.head {
                // The first lap is over: nothing ahead of the head is unwritten, or free.
                self.prewritten = self.superblock.ring_bytes;
            }
            while self.prewritten < place + bytes.len() as u64 {
                self.prewrite()?;
                committed.ring_syncs += 1;
            }
            self.file.write_all_at(&bytes, RING_START + place)?;
            self.file.sync_data()?;
            committed.ring_bytes += bytes.len() as u64;
            committed.ring_syncs += 1;
            self.head = place + bytes.len() as u64;
            self.sequence += 1;
            for item in part {
                item.track(&mut self.halves, half, &mut self.states, &mut self.named);
            }
        }
        Ok(committed)
    }

    fn sync_bypass(&mut self, plan: &commit::Plan<'_, D::File>) -> Result<u64, JournalError> {
        let done = self.sync_of(plan).run()?;
        Ok(self.name(done))
    }

    /// The sync of the segments of these entries, for another thread; all of them are written. Only
    /// one at a time, and [`Journal::synced`] is to hear of its end.
    pub fn sync_ahead(&self, entries: &[Entry<D::File>]) -> SyncJob<D> {
        self.sync_of(&commit::Plan::ahead(entries))
    }

    fn sync_of(&self, plan: &commit::Plan<'_, D::File>) -> SyncJob<D> {
        let segments = plan.bypassing().iter().map(|(&(topic_partition, base_offset), segment)| {
            let is_named = self.named.get(&topic_partition).is_some_and(|&n| base_offset <= n);
            let is_new = segment.is_new && !is_named;
            (topic_partition, SegmentRef { is_new, ..(*segment).clone() })
        });
        SyncJob { segments: segments.collect(), disk: self.disk.clone(), dir: self.dir.clone() }
    }

    /// Takes a sync into account: its entries may be committed. Answers how many syncs it took.
    pub fn synced(&mut self, done: io::Result<SyncDone>) -> Result<u64, JournalError> {
        match done {
            Ok(done) => Ok(self.name(done)),
            Err(why) => {
                self.is_poisoned = true;
                Err(JournalError::Io(why))
            }
        }
    }

    fn name(&mut self, done: SyncDone) -> u64 {
        self.named.extend(done.named);
        done.sync_count
    }

    /// Where a commit of `bytes` goes when the head is at `head`, and whether it is the first of
    /// its half.
    fn place(&self, head: u64, bytes: u64) -> (u64, bool) {
        let half_bytes = self.half_bytes();
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

    fn half_bytes(&self) -> u64 {
        self.superblock.ring_bytes / 2
    }

    fn half_of(&self, position: u64) -> usize {
        usize::from(self.half_bytes() <= position % self.superblock.ring_bytes)
    }

    /// A checkpoint, if the half that the head is not in is to be freed. One at a time.
    pub fn checkpoint_due(&mut self) -> Option<CheckpointJob<D>> {
        let current = self.current_half()?;
        let other = 1 - current;
        if self.is_poisoned || self.is_checkpointing || self.halves[other].is_free {
            return None;
        }
        self.is_checkpointing = true;
        let tail_position = current as u64 * self.half_bytes();
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
            unwritten_bytes: self.superblock.ring_bytes - self.prewritten,
            ..self.superblock
        };
        CheckpointJob {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            file: self.checkpoint_file.clone(),
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

    /// Takes note that a checkpoint failed: what its syncs left on disk cannot be known.
    pub fn checkpoint_failed(&mut self) {
        self.is_poisoned = true;
    }

    /// Whether something failed: nothing is to be acknowledged any more.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Writes zeros ahead of the head in the ring's first lap, so that a commit need not. To be
    /// called when there is nothing else to do; answers whether it did something.
    pub fn prewrite_step(&mut self) -> Result<bool, JournalError> {
        if self.is_poisoned || self.superblock.ring_bytes <= self.prewritten {
            return Ok(false);
        }
        self.is_poisoned = true;
        self.prewrite()?;
        self.is_poisoned = false;
        Ok(true)
    }

    fn prewrite(&mut self) -> Result<(), JournalError> {
        let bytes = PREWRITE_BYTES.min((self.superblock.ring_bytes - self.prewritten) as usize);
        // In pieces off the stack: the allocator would keep what one of the whole took.
        let zeros = [0; PREWRITE_PIECE_BYTES];
        for start in (0..bytes).step_by(zeros.len()) {
            let piece = &zeros[..zeros.len().min(bytes - start)];
            self.file.write_all_at(piece, RING_START + self.prewritten + start as u64)?;
        }
        self.file.sync_data()?;
        self.prewritten += bytes as u64;
        Ok(())
    }

    /// Ends cleanly: every segment synced, the ring empty, and a mark that says so. Not while a
    /// checkpoint is out, which took with it the segments it is to sync; nor after it failed.
    pub fn close(mut self) -> Result<(), JournalError> {
        if self.is_poisoned || self.is_checkpointing {
            return Err(JournalError::Poisoned);
        }
        let tail_position = match self.current_half() {
            None => self.superblock.tail_position,
            // The first lap goes on where it is: what it has not written yet is ahead of the head.
            Some(half) if self.prewritten < self.superblock.ring_bytes => {
                half as u64 * self.half_bytes()
            }
            // Past all that is live, so that commits still rise from half to half.
            Some(half) => (1 - half) as u64 * self.half_bytes(),
        };
        let done = self.job(&[0, 1], tail_position, self.sequence, true).run()?;
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

/// Before anything covers it up: what is made or written now is sound again.
fn note_damage(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    note(disk, dir, &[DAMAGED_FILE, UNPROVEN_FILE])
}

fn note(disk: &impl Disk, dir: &Path, names: &[&str]) -> io::Result<()> {
    for name in names {
        disk.open(&dir.join(name), Open::CreateOrWrite)?.sync_data()?;
    }
    disk.sync_dir(dir)
}

/// Takes note that there was a journal, whatever is there now: somebody has made promises that went
/// through it. [`Journal::open`] knows so by itself from the first checkpoint on.
pub fn expect(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    if disk.exists(&dir.join(JOURNAL_FILE))? { Ok(()) } else { note_damage(disk, dir) }
}

/// Takes note that whoever goes by the copies here knows what [`Opened::is_unproven`] means.
pub fn prove(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    remove_note(disk, dir, UNPROVEN_FILE)
}

/// Takes note that a start has come to its end: what is to be done about [`Opened::damage`] is done,
/// and the next start does not find it again.
pub fn started(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    remove_note(disk, dir, DAMAGED_FILE)
}

fn remove_note(disk: &impl Disk, dir: &Path, name: &str) -> io::Result<()> {
    match disk.remove_file(&dir.join(name)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Err(_) => Ok(()),
        Ok(()) => disk.sync_dir(dir),
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
        match disk.sync_dir(dir) {
            // The partition is given up, and its directory has another name: it needs none.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            synced => synced?,
        }
        count += 1;
    }
    Ok(count)
}

fn make_ring<D: Disk>(
    disk: &D,
    dir: &Path,
    bytes: u64,
    salt: u64,
) -> Result<Superblock, JournalError> {
    let unit = 2 * JOURNAL_BLOCK_BYTES;
    let ring_bytes = (bytes / unit * unit).max(RING_BYTES_MIN);
    let new = dir.join(NEW_FILE);
    let file = disk.open(&new, Open::CreateOrWrite)?;
    file.set_len(0)?;
    file.set_len(RING_START + ring_bytes)?;
    file.reserve(0, RING_START + ring_bytes)?;
    let superblock = Superblock {
        generation: 1,
        ring_bytes,
        salt,
        tail_position: 0,
        tail_sequence: 1,
        is_clean: true,
        unwritten_bytes: ring_bytes,
    };
    Superblock { generation: 0, ..superblock }.write(&file)?;
    superblock.write(&file)?;
    file.sync_data()?;
    disk.rename(&new, &dir.join(JOURNAL_FILE))?;
    disk.sync_dir(dir)?;
    Ok(superblock)
}
