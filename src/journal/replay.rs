//! Replay: what the ring holds goes back to where it belongs.
//!
//! Commits are followed by sequence number from the tail. Each batch is handed to the target,
//! which writes it where its segment differs, so replaying twice is replaying once. The ring is
//! read commit by commit: memory is bounded by the largest.

use std::collections::BTreeMap;

use crate::ids::{Offset, TopicPartition};
use crate::journal::commit::{CommitHeader, HEADER_BYTES, StoredEntry};
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::{
    Half, Journal, JournalDamage, JournalError, PartitionState, Point, RING_START, SegmentRef,
    SmallState,
};
use crate::limits::{JOURNAL_BLOCK_BYTES, JOURNAL_COMMIT_BYTES_MAX};
use crate::record::crc::crc32c;

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

impl<D: Disk> Journal<D> {
    /// Replays the ring into `target`. Afterwards commits go on after the last valid one.
    pub fn replay(
        &mut self,
        target: &mut impl Redo<D::File>,
    ) -> Result<ReplayReport, JournalError> {
        let mut report = ReplayReport::default();
        if self.is_tail_lost {
            self.find_tail()?;
        } else if self.superblock.is_clean {
            return Ok(report);
        }
        let half_bytes = self.superblock.ring_bytes / 2;
        let mut position = self.superblock.tail_position;
        let mut sequence = self.superblock.tail_sequence;
        while let Some((place, header, body)) = self.find(position, sequence)? {
            if sequence < header.sequence {
                report.damage.get_or_insert(JournalDamage::Commit { sequence });
            }
            let half = self.half_of(place);
            if self.halves[half].is_free {
                self.halves[half].is_free = false;
                self.halves[half].first_sequence = header.sequence;
            }
            self.replay_commit(half, &header, &body, target)?;
            report.commit_count += 1;
            position = (place + header.ring_bytes()) % self.superblock.ring_bytes;
            sequence = header.sequence + 1;
            // The tail's half may be reached again only by commits that were lost.
            if position % half_bytes == 0 && self.half_of(position) == self.tail_half() {
                break;
            }
        }
        self.head = position;
        self.sequence = sequence;
        if 0 < report.commit_count {
            // After a crash of the process alone, the last commit may be in the page cache only.
            self.file.sync_data()?;
        }
        Ok(report)
    }

    fn tail_half(&self) -> usize {
        self.half_of(self.superblock.tail_position)
    }

    /// The valid commit of `sequence`, at `position` or at the start of the next half; or, if it is
    /// damaged, the next valid one.
    fn find(
        &self,
        position: u64,
        sequence: u64,
    ) -> Result<Option<(u64, CommitHeader, Vec<u8>)>, JournalError> {
        let half_bytes = self.superblock.ring_bytes / 2;
        let next_half = (position / half_bytes + 1) * half_bytes % self.superblock.ring_bytes;
        for place in [position, next_half] {
            if let Some((header, body)) = self.read_commit(place)? {
                if header.sequence == sequence {
                    return Ok(Some((place, header, body)));
                }
            }
        }
        // A damaged commit hides where the next one begins: within a largest commit's length, or
        // at the start of the next half.
        let end = (position + JOURNAL_COMMIT_BYTES_MAX as u64 * 2)
            .min((position / half_bytes + 1) * half_bytes);
        let mut place = position + JOURNAL_BLOCK_BYTES;
        while place < end {
            if let Some((header, body)) = self.read_commit(place)? {
                if sequence < header.sequence {
                    return Ok(Some((place, header, body)));
                }
            }
            place += JOURNAL_BLOCK_BYTES;
        }
        if let Some((header, body)) = self.read_commit(next_half)? {
            if sequence < header.sequence {
                return Ok(Some((next_half, header, body)));
            }
        }
        Ok(None)
    }

    /// The longest run of commits without a gap that ends in the newest one: the superblock that
    /// says where it begins is damaged. It may begin too early, which costs time and nothing else.
    fn find_tail(&mut self) -> Result<(), JournalError> {
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let mut place = 0;
        while place < self.superblock.ring_bytes {
            match self.read_commit(place)? {
                Some((header, _)) => {
                    found.insert(header.sequence, place);
                    place += header.ring_bytes();
                }
                None => place += JOURNAL_BLOCK_BYTES,
            }
        }
        let mut expected = None;
        for (sequence, place) in found.into_iter().rev() {
            if expected.is_some_and(|expected| expected != sequence) {
                break;
            }
            self.superblock.tail_position = place;
            self.superblock.tail_sequence = sequence;
            expected = sequence.checked_sub(1);
        }
        self.superblock.is_clean = false;
        self.is_tail_lost = false;
        Ok(())
    }

    fn read_commit(&self, place: u64) -> Result<Option<(CommitHeader, Vec<u8>)>, JournalError> {
        let mut front = [0; HEADER_BYTES];
        if self.file.read_at(&mut front, RING_START + place)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(header) = CommitHeader::decode(&front) else { return Ok(None) };
        let half_bytes = self.superblock.ring_bytes / 2;
        let fits = place % half_bytes + header.ring_bytes() <= half_bytes;
        if header.salt != self.superblock.salt || !fits {
            return Ok(None);
        }
        let mut commit = vec![0; HEADER_BYTES + header.body_bytes as usize];
        if self.file.read_at(&mut commit, RING_START + place)? < commit.len() {
            return Ok(None);
        }
        if crc32c(&commit[8..]) != header.crc {
            return Ok(None);
        }
        commit.drain(..HEADER_BYTES);
        Ok(Some((header, commit)))
    }

    fn replay_commit(
        &mut self,
        half: usize,
        header: &CommitHeader,
        body: &[u8],
        target: &mut impl Redo<D::File>,
    ) -> Result<(), JournalError> {
        let mut rest = body;
        for _ in 0..header.entry_count {
            // The checksum is right, so this is what was written: if it does not decode, newer
            // software wrote it.
            let (stored, tail) = postcard::take_from_bytes::<StoredEntry>(rest)
                .map_err(|_| JournalError::Version(2))?;
            let bytes = match stored {
                StoredEntry::Append { bytes, .. } => bytes as usize,
                _ => 0,
            };
            let (batches, tail) = tail.split_at_checked(bytes).ok_or(JournalError::Version(2))?;
            rest = tail;
            self.replay_entry(half, stored, batches, target)?;
        }
        Ok(())
    }

    fn replay_entry(
        &mut self,
        half: usize,
        stored: StoredEntry,
        batches: &[u8],
        target: &mut impl Redo<D::File>,
    ) -> Result<(), JournalError> {
        match stored {
            StoredEntry::State { topic_partition, state } => {
                match state {
                    SmallState::Forget => drop(self.states.remove(&topic_partition)),
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
        }
        Ok(())
    }

    /// What replay and the last checkpoint know of a partition.
    pub fn state(&self, topic_partition: TopicPartition) -> Option<&PartitionState> {
        self.states.get(&topic_partition)
    }
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
