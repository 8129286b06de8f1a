//! Large shares are synced ahead of their commit, by a thread of its own: whoever has little to
//! commit does not wait for them.
//!
//! The sync of a segment takes as long as its bytes take, and where the segment grew, as the file
//! system's own commit takes; a commit of the ring alone writes a few blocks over others. So while
//! both are to be done, what bypasses the ring goes one way and the rest the other, and meets again
//! in a later commit, which names the synced segments:
//!
//! ```text
//! gathered ─┬─ little ──────────────────────────────────► commit
//!           └─ much ───► sync of the segments ──► named by a later commit
//!                        what comes for these partitions meanwhile waits
//! ```
//!
//! Where no other partition has anything to commit, one thread does both: to hand over costs two
//! wake-ups.
//!
//! **Invariant:** a partition's entries are committed in the order in which they came; and nothing of
//! any partition passes one that was let go: where it is given back, the log there is another, and what
//! is told of the old one must have been told before.
//! **Invariant:** a segment is named by a commit only after its sync returned.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::ids::{Offset, TopicPartition};
use crate::journal::commit::still_held;
use crate::journal::disk::Disk;
use crate::journal::{Entry, SegmentRef, SmallState, sync_segments};
use crate::limits::JOURNAL_COMMIT_ENTRIES_MAX;
use crate::time::Boot;

/// Who committed little within so long will do so again.
const RECENT_MS: u64 = 1_000;

/// Which entries are committed next, which are synced ahead, and which wait.
#[derive(Debug)]
pub struct Ahead<F> {
    /// A partition with so many bytes in a commit has much.
    much_bytes: usize,
    /// What is being synced; empty when nothing is.
    syncing: Vec<Entry<F>>,
    /// Whose entries are, and whose wait.
    held: BTreeSet<TopicPartition>,
    /// One of them was let go: all wait.
    is_all_held: bool,
    waiting: Vec<Entry<F>>,
    /// The two partitions that had little last, and when: one of them is not who has much now, and
    /// had less before.
    little: [Option<(TopicPartition, Boot)>; 2],
}

impl<F> Ahead<F> {
    /// Nothing is under way. `much_bytes` is `JOURNAL_BYPASS_BYTES` but in tests.
    pub fn new(much_bytes: usize) -> Ahead<F> {
        Ahead {
            much_bytes,
            syncing: Vec::new(),
            held: BTreeSet::new(),
            is_all_held: false,
            waiting: Vec::new(),
            little: [None; 2],
        }
    }

    /// Leaves in `entries` what is to be committed next, what waited included. Answers whether a
    /// sync is to begin: of [`Ahead::syncing`], until [`Ahead::done`].
    pub fn split(&mut self, now: Boot, entries: &mut Vec<Entry<F>>) -> bool {
        if self.is_syncing() {
            self.held.append(&mut self.with_much(entries));
            self.is_all_held |= is_one_let_go(&self.held, entries);
            if self.is_all_held {
                self.waiting.append(entries);
            }
            self.waiting.append(&mut take_of(&self.held, entries));
            self.note_little(now, entries, &BTreeSet::new());
            return false;
        }
        self.held.clear();
        self.is_all_held = false;
        entries.splice(0..0, self.waiting.drain(..));
        let much = self.with_much(entries);
        self.note_little(now, entries, &much);
        let is_awaited = self.little.iter().flatten().any(|(topic_partition, at)| {
            !much.contains(topic_partition) && now.ms_since(*at) <= RECENT_MS
        });
        if much.is_empty() || !is_awaited || is_one_let_go(&much, entries) {
            return false;
        }
        self.syncing = take_of(&much, entries);
        self.held = much;
        true
    }

    /// Remembers who has little, the first and the last of them.
    fn note_little(&mut self, now: Boot, entries: &[Entry<F>], much: &BTreeSet<TopicPartition>) {
        let mut little = entries.iter().map(Entry::topic_partition).filter(|tp| !much.contains(tp));
        for topic_partition in little.next().into_iter().chain(little.next_back()) {
            let [newer, older] = &mut self.little;
            if newer.is_none_or(|(known, _)| known != topic_partition) {
                std::mem::swap(newer, older);
            }
            *newer = Some((topic_partition, now));
        }
    }

    /// Whose share is large. One whose last batches have not reached their segment is the commit's.
    fn with_much(&self, entries: &[Entry<F>]) -> BTreeSet<TopicPartition> {
        let mut shares: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        let mut held = BTreeSet::new();
        if !self.may_be_much(entries) {
            return held;
        }
        for (entry, is_held) in entries.iter().zip(still_held(entries)) {
            let bytes = match entry {
                Entry::Append { topic_partition, .. } if is_held => {
                    held.insert(*topic_partition);
                    continue;
                }
                Entry::Append { bytes, .. } => bytes.len(),
                Entry::Flush { .. } => self.much_bytes,
                Entry::State { .. } => 0,
            };
            let share = shares.entry(entry.topic_partition()).or_default();
            *share = share.saturating_add(bytes);
        }
        let is_much = |(_, share): &(TopicPartition, usize)| self.much_bytes <= *share;
        let much = shares.into_iter().filter(is_much).map(|(topic_partition, _)| topic_partition);
        much.filter(|topic_partition| !held.contains(topic_partition)).collect()
    }

    /// A thousand sensors with little are not to be sorted first.
    fn may_be_much(&self, entries: &[Entry<F>]) -> bool {
        let mut left_bytes = self.much_bytes;
        entries.iter().any(|entry| {
            if let Entry::Append { bytes, .. } = entry {
                left_bytes = left_bytes.saturating_sub(bytes.len());
            }
            left_bytes == 0 || matches!(entry, Entry::Flush { .. })
        })
    }

    /// Whether a sync is under way.
    pub fn is_syncing(&self) -> bool {
        !self.syncing.is_empty()
    }

    /// What is being synced.
    pub fn syncing(&self) -> &[Entry<F>] {
        &self.syncing
    }

    /// Whether so much waits that no more is to be taken on until the sync is done.
    pub fn is_full(&self) -> bool {
        JOURNAL_COMMIT_ENTRIES_MAX <= self.waiting.len()
    }

    /// The sync returned: what is to be named by the next commit, before all else of it.
    pub fn done(&mut self) -> Vec<Entry<F>> {
        std::mem::take(&mut self.syncing)
    }

    /// Nothing is committed any more: what waited.
    pub fn give_up(&mut self) -> Vec<Entry<F>> {
        self.held.clear();
        std::mem::take(&mut self.waiting)
    }
}

/// Whether one of these partitions is let go.
fn is_one_let_go<F>(partitions: &BTreeSet<TopicPartition>, entries: &[Entry<F>]) -> bool {
    entries.iter().any(|entry| match entry {
        Entry::State { topic_partition, state: SmallState::Forget } => {
            partitions.contains(topic_partition)
        }
        _ => false,
    })
}

/// Takes the entries of these partitions out.
fn take_of<F>(partitions: &BTreeSet<TopicPartition>, entries: &mut Vec<Entry<F>>) -> Vec<Entry<F>> {
    let all = std::mem::take(entries).into_iter();
    let (taken, left) = all.partition(|entry| partitions.contains(&entry.topic_partition()));
    *entries = left;
    taken
}

/// Work for a thread other than the flusher's: see [`Journal::sync_ahead`](super::Journal).
#[derive(Debug)]
pub struct SyncJob<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    pub(super) segments: Vec<(TopicPartition, SegmentRef<D::File>)>,
}

/// The work is done.
#[derive(Clone, Debug)]
pub struct SyncDone {
    /// Segments whose names are durable now.
    pub(super) named: Vec<(TopicPartition, Offset)>,
    /// Syncs it took.
    pub sync_count: u64,
}

impl<D: Disk> SyncJob<D> {
    /// Syncs the segments, and the directories of new ones.
    pub fn run(&self) -> io::Result<SyncDone> {
        let segments = self.segments.iter().map(|(_, segment)| segment);
        let sync_count = sync_segments(&self.disk, &self.dir, segments)?;
        let new = self.segments.iter().filter(|(_, segment)| segment.is_new);
        let named = new.map(|(topic_partition, one)| (*topic_partition, one.base_offset)).collect();
        Ok(SyncDone { named, sync_count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderEpoch, Partition, TopicId};
    use bytes::Bytes;
    use std::path::Path;

    const MUCH: usize = 1000;

    fn tp(number: i32) -> TopicPartition {
        TopicPartition { topic_id: TopicId::METADATA, partition: Partition(number) }
    }

    fn ms(ms: u64) -> Boot {
        Boot(0).plus_ms(ms)
    }

    /// The `number`th batch of a partition; its file is nobody's.
    fn append(partition: i32, number: i64, bytes: usize) -> Entry<()> {
        let dir = Path::new("/data").into();
        Entry::Append {
            topic_partition: tp(partition),
            leader_epoch: LeaderEpoch(1),
            base_offset: Offset(number),
            end_offset: Offset(number + 1),
            segment: SegmentRef { file: (), base_offset: Offset::ZERO, is_new: false, dir },
            position: 0,
            is_written: true,
            bytes: Bytes::from(vec![0; bytes]),
        }
    }

    fn state(partition: i32) -> Entry<()> {
        let state = SmallState::HighWatermark(Offset(7));
        Entry::State { topic_partition: tp(partition), state }
    }

    /// Partition and first offset of each; -1 for small state.
    fn told(entries: &[Entry<()>]) -> Vec<(i32, i64)> {
        let told = entries.iter().map(|entry| {
            let offset = match entry {
                Entry::Append { base_offset, .. } => base_offset.0,
                _ => -1,
            };
            (entry.topic_partition().partition.0, offset)
        });
        told.collect()
    }

    #[test]
    fn who_has_little_does_not_wait_for_who_has_much() {
        let mut ahead = Ahead::new(MUCH);
        let mut entries = vec![append(1, 0, 600), append(2, 0, 10), append(1, 1, 600)];
        assert!(ahead.split(ms(0), &mut entries));
        assert_eq!(told(&entries), [(2, 0)]);
        assert_eq!(told(ahead.syncing()), [(1, 0), (1, 1)]);

        // While that is synced, what is small or is state of the same partition waits behind it, and
        // another with much does, too.
        let mut entries = vec![append(1, 2, 10), append(2, 1, 10), state(1), append(3, 0, MUCH)];
        assert!(!ahead.split(ms(1), &mut entries), "one at a time");
        assert_eq!(told(&entries), [(2, 1)]);
        let mut entries = vec![append(3, 1, 10), append(1, 3, 10)];
        assert!(!ahead.split(ms(2), &mut entries));
        assert_eq!(told(&entries), []);

        assert_eq!(told(&ahead.done()), [(1, 0), (1, 1)]);
        let mut entries = vec![append(1, 4, 10), append(2, 2, 10)];
        assert!(ahead.split(ms(3), &mut entries), "the other's turn");
        assert_eq!(told(ahead.syncing()), [(3, 0), (3, 1)]);
        assert_eq!(told(&entries), [(1, 2), (1, -1), (1, 3), (1, 4), (2, 2)], "in their order");
    }

    #[test]
    fn who_is_alone_is_not_handed_over() {
        let mut ahead = Ahead::new(MUCH);
        let mut entries = vec![append(1, 0, MUCH), state(1)];
        assert!(!ahead.split(ms(0), &mut entries));
        assert_eq!(told(&entries), [(1, 0), (1, -1)], "one thread does all of it");

        let mut entries = vec![append(2, 0, 10)];
        assert!(!ahead.split(ms(10), &mut entries));
        let mut entries = vec![append(1, 1, MUCH)];
        assert!(ahead.split(ms(10 + RECENT_MS), &mut entries), "the other may come again");
        ahead.done();
        let mut entries = vec![append(1, 2, MUCH)];
        assert!(!ahead.split(ms(11 + RECENT_MS), &mut entries), "it did not");
        assert_eq!(told(&entries), [(1, 2)]);
    }

    /// A producer alone, of batches about as large as what is much, had each second one handed over.
    #[test]
    fn who_has_more_now_and_then_is_still_alone() {
        let mut ahead = Ahead::new(MUCH);
        for number in 0..10 {
            let bytes = [MUCH - 1, MUCH][number as usize % 2];
            assert!(!ahead.split(ms(0), &mut vec![append(1, number, bytes), state(1)]));
        }
        assert!(!ahead.split(ms(1), &mut vec![append(2, 0, 10), append(1, 10, 10)]));
        assert!(ahead.split(ms(2), &mut vec![append(1, 11, MUCH)]), "the other may come again");
        assert!(!ahead.split(ms(3), &mut vec![append(3, 0, 10), append(2, 1, 10)]));
        ahead.done();
        assert!(ahead.split(ms(4), &mut vec![append(2, 2, MUCH)]), "one of them is another");
    }

    /// A batch that is in memory only.
    fn held(partition: i32, number: i64, bytes: usize) -> Entry<()> {
        let mut held = append(partition, number, bytes);
        let Entry::Append { is_written, .. } = &mut held else { panic!("it is an append") };
        *is_written = false;
        held
    }

    #[test]
    fn what_is_not_in_its_segment_yet_is_not_synced_ahead() {
        let mut ahead = Ahead::new(MUCH);
        let mut entries = vec![append(1, 0, MUCH), held(1, 1, 10), append(2, 0, 10)];
        assert!(!ahead.split(ms(0), &mut entries));
        assert_eq!(told(&entries), [(1, 0), (1, 1), (2, 0)]);
        assert!(!ahead.is_syncing());

        let mut entries = vec![held(1, 2, 10), append(1, 3, MUCH), append(2, 1, 10)];
        assert!(ahead.split(ms(1), &mut entries), "a log writes what it held before what follows");
        assert_eq!(told(ahead.syncing()), [(1, 2), (1, 3)]);
    }

    fn forget(partition: i32) -> Entry<()> {
        Entry::State { topic_partition: tp(partition), state: SmallState::Forget }
    }

    /// Found by reading: what was told of a log that was let go reached the one that took its place,
    /// for the metadata that gave the partition back had passed it.
    #[test]
    fn nothing_passes_a_partition_that_is_let_go() {
        let mut ahead = Ahead::new(MUCH);
        let mut entries = vec![append(1, 0, MUCH), append(2, 0, 10)];
        assert!(ahead.split(ms(0), &mut entries));
        let mut entries = vec![append(2, 1, 10), forget(1)];
        assert!(!ahead.split(ms(1), &mut entries));
        let mut later = vec![append(2, 2, 10)];
        assert!(!ahead.split(ms(2), &mut later));
        assert_eq!((told(&entries), told(&later)), (vec![], vec![]));
        assert_eq!(told(&ahead.done()), [(1, 0)]);
        let mut entries = Vec::new();
        assert!(!ahead.split(ms(3), &mut entries));
        assert_eq!(told(&entries), [(2, 1), (1, -1), (2, 2)]);

        let mut entries = vec![append(1, 0, MUCH), forget(1), append(2, 3, 10)];
        assert!(!ahead.split(ms(4), &mut entries), "it would be passed");
        assert_eq!(told(&entries), [(1, 0), (1, -1), (2, 3)]);
    }

    #[test]
    fn what_waits_has_an_end() {
        let mut ahead = Ahead::new(MUCH);
        let mut entries = vec![append(1, 0, MUCH), append(2, 0, 10)];
        assert!(ahead.split(ms(0), &mut entries));
        for number in 0..JOURNAL_COMMIT_ENTRIES_MAX as i64 {
            assert!(!ahead.is_full());
            ahead.split(ms(1), &mut vec![append(1, 1 + number, 1)]);
        }
        assert!(ahead.is_full());
        assert_eq!(ahead.give_up().len(), JOURNAL_COMMIT_ENTRIES_MAX);
        assert!(!ahead.is_full());
    }
}
