//! Replay: what the ring holds goes back to where it belongs.
//!
//! Commits are followed by sequence number from the tail. Each batch is handed to the target,
//! which writes it where its segment has it, so replaying twice is replaying once. The ring is
//! read commit by commit: memory is bounded by the largest. It is read twice, because what a
//! truncation voids lies before it ([`Truncations`]); the second time it is in the page cache.

use crate::ids::{Offset, TopicPartition};
use crate::journal::commit::{Entries, StoredEntry};
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::ring::{Found, Ring};
use crate::journal::state::{Half, Point, Truncations};
use crate::journal::superblock::Superblock;
use crate::journal::{
    Journal, JournalDamage, JournalError, PartitionState, RING_START, SegmentRef, SmallState, tail,
};
use crate::limits::{JOURNAL_BLOCK_BYTES, JOURNAL_COMMIT_BYTES_MAX};

/// An offset before all others.
const BEFORE_ALL: Offset = Offset(-1);

/// Where replayed entries go, in the order in which they were committed.
pub trait Redo<F> {
    /// Sees to it that a segment holds `bytes` at `position`, and answers the segment; `None` when
    /// there is no such partition any more, or the segment lies below its first offset.
    fn append(
        &mut self,
        topic_partition: TopicPartition,
        end_offset: Offset,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> std::io::Result<Option<SegmentRef<F>>>;

    /// Takes note that a segment was synced up to here.
    fn flush(
        &mut self,
        topic_partition: TopicPartition,
        end_offset: Offset,
        segment: Offset,
        position_end: u64,
    );

    /// Takes note of a partition's small state.
    fn state(&mut self, topic_partition: TopicPartition, state: SmallState);
}

/// What replay found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Commits replayed.
    pub commit_count: u64,
    /// Commits that were lost between valid ones.
    pub damage: Option<JournalDamage>,
}

/// How far a damaged commit's successor is looked for: no commit is larger, and no erase block of
/// a card is.
const LOOK_AHEAD_BYTES: u64 = 2 * JOURNAL_COMMIT_BYTES_MAX as u64;

impl<D: Disk> Journal<D> {
    /// Replays the ring into `target`. Afterwards commits go on after the last valid one.
    pub fn replay(
        &mut self,
        target: &mut impl Redo<D::File>,
    ) -> Result<ReplayReport, JournalError> {
        let mut report = ReplayReport::default();
        if self.is_tail_lost {
            self.find_tail()?;
        }
        if self.superblock.is_clean {
            self.is_poisoned = false;
            return Ok(report);
        }
        let mut truncations = self.truncations()?;
        let mut cursor = self.tail();
        let mut last = None;
        while let Some(found) = self.next(&cursor)? {
            if cursor.sequence < found.header.sequence {
                report.damage.get_or_insert(JournalDamage::Commit { sequence: cursor.sequence });
                super::note_damage(&self.disk, &self.dir)?;
            }
            let half = self.half_of(found.place);
            if self.halves[half].is_free {
                self.halves[half].is_free = false;
                self.halves[half].first_sequence = found.header.sequence;
            }
            each_entry(&found, |stored, batches| {
                self.replay_entry(half, stored, batches, &mut truncations, target)
            })?;
            report.commit_count += 1;
            // What was written since the superblock was; going round ends the first lap.
            let is_next_lap = found.place < cursor.position;
            let written = if is_next_lap { self.superblock.ring_bytes } else { found.end() };
            self.prewritten = self.prewritten.max(written);
            cursor = self.behind(&found);
            last = Some(found);
        }
        self.head = cursor.position;
        self.sequence = cursor.sequence;
        if let Some(last) = last {
            // No successor proves this one durable. It may be in the page cache only, and after a
            // failed sync its pages pass for clean, so that another sync would do nothing: they
            // are written again.
            self.file.write_all_at(&last.bytes, RING_START + last.place)?;
            self.file.sync_data()?;
        }
        self.is_poisoned = false;
        Ok(report)
    }

    /// What the ring's truncations void; a partition that is forgotten keeps nothing.
    fn truncations(&self) -> Result<Truncations, JournalError> {
        let mut truncations = Truncations::default();
        let mut cursor = self.tail();
        while let Some(found) = self.next(&cursor)? {
            each_entry(&found, |stored, _| {
                match stored {
                    StoredEntry::State {
                        topic_partition,
                        state: SmallState::Truncated { end, .. },
                    } => truncations.push(topic_partition, end),
                    StoredEntry::State { topic_partition, state: SmallState::Forget } => {
                        truncations.push(topic_partition, BEFORE_ALL);
                    }
                    _ => {}
                }
                Ok(())
            })?;
            cursor = self.behind(&found);
        }
        Ok(truncations)
    }

    fn tail(&self) -> Cursor {
        let Superblock { tail_position, tail_sequence, .. } = self.superblock;
        Cursor { position: tail_position, sequence: tail_sequence, is_at_end: false }
    }

    fn behind(&self, found: &Found) -> Cursor {
        let position = found.end() % self.superblock.ring_bytes;
        let is_half_full = position % (self.superblock.ring_bytes / 2) == 0;
        let tail_half = self.half_of(self.superblock.tail_position);
        // The tail's half is not free: this is as far as the head can have come.
        let is_at_end = is_half_full && self.half_of(position) == tail_half;
        Cursor { position, sequence: found.header.sequence + 1, is_at_end }
    }

    fn next(&self, cursor: &Cursor) -> Result<Option<Found>, JournalError> {
        if cursor.is_at_end { Ok(None) } else { self.find(cursor.position, cursor.sequence) }
    }

    fn ring(&self) -> Ring<'_, D::File> {
        let Superblock { ring_bytes, salt, .. } = self.superblock;
        Ring { file: &self.file, bytes: ring_bytes, salt: Some(salt) }
    }

    /// The valid commit of `sequence`, at `position` or at the start of the next half; or, if it is
    /// damaged, the next valid one.
    fn find(&self, position: u64, sequence: u64) -> Result<Option<Found>, JournalError> {
        let half_bytes = self.superblock.ring_bytes / 2;
        let half_end = (position / half_bytes + 1) * half_bytes;
        let next_half = half_end % self.superblock.ring_bytes;
        for place in [position, next_half] {
            if let Some(found) = self.ring().commit_at(place)? {
                if found.header.sequence == sequence {
                    return Ok(Some(found));
                }
            }
        }
        // A damaged commit hides where the next one begins. Older laps' commits have smaller
        // numbers; there is no other way for a greater one to be here.
        let later = sequence.saturating_add(1);
        let end = half_end.min(position + LOOK_AHEAD_BYTES);
        if let Some(found) = self.ring().first_in(position + JOURNAL_BLOCK_BYTES..end, later)? {
            return Ok(Some(found));
        }
        self.ring().first_in(next_half..next_half + half_bytes.min(LOOK_AHEAD_BYTES), later)
    }

    fn find_tail(&mut self) -> Result<(), JournalError> {
        let commits: Vec<_> = self.ring().all()?.into_iter().map(|(at, n, _)| (at, n)).collect();
        let half_bytes = self.superblock.ring_bytes / 2;
        if let Some((place, sequence)) =
            tail::find(&commits, half_bytes, self.superblock.tail_sequence)
        {
            self.superblock.tail_position = place;
            self.superblock.tail_sequence = sequence;
            self.superblock.is_clean = false;
        }
        self.is_tail_lost = false;
        Ok(())
    }

    fn replay_entry(
        &mut self,
        half: usize,
        stored: StoredEntry,
        batches: &[u8],
        truncations: &mut Truncations,
        target: &mut impl Redo<D::File>,
    ) -> Result<(), JournalError> {
        match stored {
            StoredEntry::Append { topic_partition, end_offset, .. }
                if truncations.has_voided(topic_partition, end_offset) => {}
            StoredEntry::Reference { topic_partition, end_offset, .. }
                if truncations.has_voided(topic_partition, end_offset) =>
            {
                truncations.note_synced(topic_partition, end_offset);
            }
            StoredEntry::State { topic_partition, state } => {
                if let Some(cut) = Point::of_cut(state) {
                    if truncations.pass(topic_partition) {
                        let Point { segment, position, end_offset } = cut;
                        self.states.entry(topic_partition).or_default().advance(&cut);
                        target.flush(topic_partition, end_offset, segment, position);
                    }
                    for half in &mut self.halves {
                        half.truncate(topic_partition, &cut);
                    }
                }
                match state {
                    SmallState::Forget => {
                        let _ = truncations.pass(topic_partition);
                        self.states.remove(&topic_partition);
                    }
                    _ => self.states.entry(topic_partition).or_default().take(state),
                }
                target.state(topic_partition, state);
            }
            StoredEntry::Reference { topic_partition, end_offset, segment, position_end } => {
                let state = self.states.entry(topic_partition).or_default();
                // It was synced before this commit was written.
                state.advance(&Point { segment, position: position_end, end_offset });
                target.flush(topic_partition, end_offset, segment, position_end);
            }
            StoredEntry::Append {
                topic_partition, end_offset, segment, position, bytes, ..
            } => {
                self.states.entry(topic_partition).or_default();
                let written =
                    target.append(topic_partition, end_offset, segment, position, batches)?;
                if let Some(segment_ref) = written {
                    let point =
                        Point { segment, position: position + u64::from(bytes), end_offset };
                    note(&mut self.halves[half], topic_partition, point, segment_ref);
                }
            }
            StoredEntry::Topic { .. } | StoredEntry::TopicAppend { .. } => {
                unreachable!("entries are told in full")
            }
        }
        Ok(())
    }

    /// What replay and the last checkpoint know of a partition.
    pub fn state(&self, topic_partition: TopicPartition) -> Option<&PartitionState> {
        self.states.get(&topic_partition)
    }
}

/// Where a replay stands.
struct Cursor {
    position: u64,
    /// Of the commit that is expected there.
    sequence: u64,
    is_at_end: bool,
}

/// Takes the entries of a commit in turn, each with its batches.
fn each_entry(
    found: &Found,
    mut take: impl FnMut(StoredEntry, &[u8]) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut rest = found.body();
    let mut entries = Entries::default();
    for _ in 0..found.header.entry_count {
        // The checksum is right, so this is what was written: if it does not decode, newer
        // software wrote it.
        let (stored, tail) = entries.take(rest).ok_or(JournalError::Version(2))?;
        rest = tail;
        let Some(stored) = stored else { continue };
        let bytes = match stored {
            StoredEntry::Append { bytes, .. } => bytes as usize,
            _ => 0,
        };
        let (batches, tail) = tail.split_at_checked(bytes).ok_or(JournalError::Version(2))?;
        rest = tail;
        take(stored, batches)?;
    }
    Ok(())
}

fn note<F>(
    half: &mut Half<F>,
    topic_partition: TopicPartition,
    point: Point,
    segment: SegmentRef<F>,
) {
    half.points.insert(topic_partition, point);
    half.dirty.insert((topic_partition, segment.base_offset), segment);
}
