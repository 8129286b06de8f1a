//! One commit: which entries it holds and how they lie in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicPartition};
use crate::journal::state::{Half, Point};
use crate::journal::{Entry, PartitionState, SegmentRef, SmallState};
use crate::limits::{
    JOURNAL_BLOCK_BYTES, JOURNAL_BYPASS_BYTES, JOURNAL_COMMIT_BYTES_MAX, JOURNAL_COMMIT_ENTRIES_MAX,
};
use crate::record::crc::crc32c;

/// "OJC1".
pub(super) const MAGIC: u32 = 0x4f4a_4331;

/// Bytes before the entries.
pub(super) const HEADER_BYTES: usize = 32;

/// The most that the postcard part of an entry takes, its topic's included: uuid, varints, tags.
const ENTRY_HEADER_BYTES_MAX: usize = 96;

/// An entry as it lies in a commit. The order of the variants is the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredEntry {
    /// `bytes` of batches follow.
    Append {
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        base_offset: Offset,
        end_offset: Offset,
        segment: Offset,
        position: u64,
        bytes: u32,
    },
    /// The segment was synced up to here.
    Reference {
        topic_partition: TopicPartition,
        end_offset: Offset,
        segment: Offset,
        position_end: u64,
    },
    State {
        topic_partition: TopicPartition,
        state: SmallState,
    },
    /// The topic of each `TopicAppend` that follows.
    Topic {
        topic_id: TopicId,
    },
    /// As `Append`, of the topic named last: a thousand sensors in one topic are told apart by two
    /// bytes each rather than by eighteen.
    TopicAppend {
        partition: Partition,
        leader_epoch: LeaderEpoch,
        base_offset: Offset,
        offset_count: u64,
        segment: Offset,
        position: u64,
        bytes: u32,
    },
}

/// What is written for an entry, when its topic has been named.
fn short(stored: StoredEntry) -> StoredEntry {
    match stored {
        StoredEntry::Append {
            topic_partition,
            leader_epoch,
            base_offset,
            end_offset,
            segment,
            position,
            bytes,
        } => StoredEntry::TopicAppend {
            partition: topic_partition.partition,
            leader_epoch,
            base_offset,
            offset_count: end_offset.since(base_offset) as u64,
            segment,
            position,
            bytes,
        },
        other => other,
    }
}

/// Reads a commit's entries one by one; short ones are told in full.
#[derive(Default)]
pub(super) struct Entries {
    topic_id: TopicId,
}

impl Entries {
    /// The entry at the front of `bytes` and what follows it; no entry when that names a topic.
    /// Nothing when newer software wrote it.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<(Option<StoredEntry>, &'a [u8])> {
        let (stored, rest) = postcard::take_from_bytes::<StoredEntry>(bytes).ok()?;
        let stored = match stored {
            StoredEntry::Topic { topic_id } => {
                self.topic_id = topic_id;
                return Some((None, rest));
            }
            StoredEntry::TopicAppend {
                partition,
                leader_epoch,
                base_offset,
                offset_count,
                segment,
                position,
                bytes,
            } => StoredEntry::Append {
                topic_partition: TopicPartition { topic_id: self.topic_id, partition },
                leader_epoch,
                base_offset,
                end_offset: base_offset.checked_add(i64::try_from(offset_count).ok()?)?,
                segment,
                position,
                bytes,
            },
            other => other,
        };
        Some((Some(stored), rest))
    }
}

/// An entry on its way into a commit.
pub(super) struct Item<'a, F> {
    stored: StoredEntry,
    bytes: &'a [u8],
    segment: Option<&'a SegmentRef<F>>,
}

impl<F: Clone> Item<'_, F> {
    fn size_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES_MAX + self.bytes.len()
    }

    /// Remembers what this entry keeps alive, now that it is durable.
    pub(super) fn track(
        &self,
        halves: &mut [Half<F>; 2],
        half: usize,
        states: &mut BTreeMap<TopicPartition, PartitionState>,
        named: &mut BTreeMap<TopicPartition, Offset>,
    ) {
        let (topic_partition, point) = match self.stored {
            StoredEntry::State { topic_partition, state: SmallState::Forget } => {
                forget(topic_partition, halves, states);
                named.remove(&topic_partition);
                return;
            }
            StoredEntry::State { topic_partition, state } => {
                if let Some(cut) = Point::of_cut(state) {
                    for half in halves.iter_mut() {
                        half.truncate(topic_partition, &cut);
                    }
                    named.entry(topic_partition).and_modify(|base| *base = cut.segment.min(*base));
                }
                states.entry(topic_partition).or_default().take(state);
                return;
            }
            StoredEntry::Append {
                topic_partition, end_offset, segment, position, bytes, ..
            } => {
                let position = position + u64::from(bytes);
                (topic_partition, Point { segment, position, end_offset })
            }
            StoredEntry::Reference { topic_partition, end_offset, segment, position_end } => {
                (topic_partition, Point { segment, position: position_end, end_offset })
            }
            StoredEntry::Topic { .. } | StoredEntry::TopicAppend { .. } => {
                unreachable!("an item is whole")
            }
        };
        let half = &mut halves[half];
        if half.points.insert(topic_partition, point).is_none() {
            states.entry(topic_partition).or_default();
        }
        if let Some(segment) = self.segment {
            let key = (topic_partition, segment.base_offset);
            // The first one is as new as it ever was.
            half.dirty.entry(key).or_insert_with(|| segment.clone());
        }
    }
}

/// A deleted partition's segments need no sync, and its state is nobody's.
fn forget<F>(
    topic_partition: TopicPartition,
    halves: &mut [Half<F>; 2],
    states: &mut BTreeMap<TopicPartition, PartitionState>,
) {
    states.remove(&topic_partition);
    // The older half's, too: they would be taken for those of the log that comes in its place.
    for half in halves {
        half.points.remove(&topic_partition);
        half.dirty.retain(|(dirty, _), _| *dirty != topic_partition);
    }
}

/// What a call of `commit` will do.
pub(super) struct Plan<'a, F> {
    items: Vec<Item<'a, F>>,
    bypassing: BTreeMap<(TopicPartition, Offset), &'a SegmentRef<F>>,
    /// Where the last reference to each segment is, if nothing of its partition came after it.
    references: BTreeMap<(TopicPartition, Offset), usize>,
}

/// How far a segment is durable once it is synced.
struct Target<'a, F> {
    topic_partition: TopicPartition,
    end_offset: Offset,
    segment: &'a SegmentRef<F>,
    position_end: u64,
}

/// Of each entry, whether it is a batch that may be in memory only. What a log held is in its segment
/// before anything that it writes later.
pub(super) fn still_held<F>(entries: &[Entry<F>]) -> Vec<bool> {
    let mut settled = BTreeSet::new();
    let mut held = vec![false; entries.len()];
    for (entry, is_held) in entries.iter().zip(&mut held).rev() {
        match entry {
            Entry::Append { topic_partition, is_written: true, .. } => {
                settled.insert(*topic_partition);
            }
            Entry::Append { topic_partition, .. } => *is_held = !settled.contains(topic_partition),
            // What comes after it is another log's.
            Entry::State { topic_partition, state: SmallState::Forget } => {
                settled.remove(topic_partition);
            }
            Entry::Flush { .. } | Entry::State { .. } => {}
        }
    }
    held
}

/// What an entry's segment holds; nothing for small state.
fn end_in_segment<F>(entry: &Entry<F>) -> Option<Target<'_, F>> {
    match entry {
        Entry::Append { topic_partition, end_offset, segment, position, bytes, .. } => {
            Some(Target {
                topic_partition: *topic_partition,
                end_offset: *end_offset,
                segment,
                position_end: position + bytes.len() as u64,
            })
        }
        Entry::Flush { topic_partition, end_offset, segment, position_end } => Some(Target {
            topic_partition: *topic_partition,
            end_offset: *end_offset,
            segment,
            position_end: *position_end,
        }),
        Entry::State { .. } => None,
    }
}

impl<'a, F: Clone> Plan<'a, F> {
    /// Sorts out which partitions bypass the ring: those with a large share, and smaller ones too
    /// when together they are more than one commit. One sync of everything is cheaper than a
    /// second writing of so much, and a commit never waits for more room than a half has.
    ///
    /// The segments of `synced` are named, and not synced again.
    pub(super) fn of(synced: &'a [Entry<F>], entries: &'a [Entry<F>]) -> Plan<'a, F> {
        let mut plan = Plan::with_bypass(synced, entries, JOURNAL_BYPASS_BYTES);
        for bypass_bytes in [JOURNAL_BLOCK_BYTES as usize, 0] {
            if plan.size_bytes() <= JOURNAL_COMMIT_BYTES_MAX {
                break;
            }
            plan = Plan::with_bypass(synced, entries, bypass_bytes);
        }
        plan
    }

    /// All of it bypasses the ring: segments that are synced ahead of their commit.
    pub(super) fn ahead(entries: &'a [Entry<F>]) -> Plan<'a, F> {
        Plan::with_bypass(&[], entries, 0)
    }

    fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.items.iter().map(Item::size_bytes).sum::<usize>()
    }

    fn with_bypass(
        synced: &'a [Entry<F>],
        entries: &'a [Entry<F>],
        bypass_bytes: usize,
    ) -> Plan<'a, F> {
        let mut shares: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        for entry in entries {
            if let Entry::Append { topic_partition, bytes, .. } = entry {
                *shares.entry(*topic_partition).or_default() += bytes.len();
            }
        }
        let mut plan = Plan {
            items: Vec::with_capacity(synced.len() + entries.len()),
            bypassing: <_>::default(),
            references: <_>::default(),
        };
        for entry in synced {
            match end_in_segment(entry) {
                Some(target) => plan.refer(&target),
                None => plan.take(entry),
            }
        }
        for (entry, is_held) in entries.iter().zip(still_held(entries)) {
            let bypasses = match entry {
                Entry::Append { topic_partition, .. } => {
                    bypass_bytes <= shares[topic_partition] && !is_held
                }
                Entry::Flush { .. } => true,
                Entry::State { .. } => false,
            };
            match end_in_segment(entry).filter(|_| bypasses) {
                Some(target) => {
                    plan.bypass(&target);
                    plan.refer(&target);
                }
                None => plan.take(entry),
            }
        }
        plan
    }

    /// An entry with its bytes, or small state: behind what the partition has in here.
    fn take(&mut self, entry: &'a Entry<F>) {
        let topic_partition = entry.topic_partition();
        let of_it = (topic_partition, Offset::ZERO)..=(topic_partition, Offset(i64::MAX));
        while let Some((&key, _)) = self.references.range(of_it.clone()).next() {
            // What is referred to from now on comes after this, a cut for one.
            self.references.remove(&key);
        }
        self.items.push(inline(entry));
    }

    /// One reference per segment: a later one replaces an earlier.
    fn refer(&mut self, target: &Target<'a, F>) {
        let &Target { topic_partition, end_offset, segment, position_end } = target;
        let stored = StoredEntry::Reference {
            topic_partition,
            end_offset,
            segment: segment.base_offset,
            position_end,
        };
        let item = Item { stored, bytes: &[], segment: Some(segment) };
        let key = (topic_partition, segment.base_offset);
        if let Some(place) = self.references.get(&key) {
            self.items[*place] = item;
        } else {
            self.references.insert(key, self.items.len());
            self.items.push(item);
        }
    }

    fn bypass(&mut self, target: &Target<'a, F>) {
        let key = (target.topic_partition, target.segment.base_offset);
        // A segment that was new once must have its directory synced, whichever entry said so.
        let known = self.bypassing.entry(key).or_insert(target.segment);
        if target.segment.is_new {
            *known = target.segment;
        }
    }

    /// Segments to sync before the ring is written.
    pub(super) fn bypassing(&self) -> &BTreeMap<(TopicPartition, Offset), &'a SegmentRef<F>> {
        &self.bypassing
    }

    /// The items, in as many parts as there are ring commits; none is larger than a half.
    pub(super) fn parts(&self, half_bytes: u64) -> Vec<&[Item<'a, F>]> {
        let bytes_max = JOURNAL_COMMIT_BYTES_MAX.min(half_bytes as usize);
        let mut parts = Vec::new();
        let (mut start, mut bytes) = (0, HEADER_BYTES);
        for (place, item) in self.items.iter().enumerate() {
            let is_full = bytes_max < bytes + item.size_bytes()
                || JOURNAL_COMMIT_ENTRIES_MAX <= place - start;
            if is_full && start < place {
                parts.push(&self.items[start..place]);
                (start, bytes) = (place, HEADER_BYTES);
            }
            bytes += item.size_bytes();
        }
        if start < self.items.len() {
            parts.push(&self.items[start..]);
        }
        parts
    }
}

fn inline<F>(entry: &Entry<F>) -> Item<'_, F> {
    match entry {
        Entry::Append {
            topic_partition,
            leader_epoch,
            base_offset,
            end_offset,
            segment,
            position,
            bytes,
            ..
        } => Item {
            stored: StoredEntry::Append {
                topic_partition: *topic_partition,
                leader_epoch: *leader_epoch,
                base_offset: *base_offset,
                end_offset: *end_offset,
                segment: segment.base_offset,
                position: *position,
                bytes: u32::try_from(bytes.len()).expect("larger shares bypass the ring"),
            },
            bytes,
            segment: Some(segment),
        },
        Entry::State { topic_partition, state } => Item {
            stored: StoredEntry::State { topic_partition: *topic_partition, state: *state },
            bytes: &[],
            segment: None,
        },
        Entry::Flush { .. } => unreachable!("flushes are references"),
    }
}

/// Upper bound of the ring bytes of one part, in whole blocks.
pub(super) fn size_max<F: Clone>(part: &[Item<'_, F>]) -> u64 {
    let bytes: usize = part.iter().map(Item::size_bytes).sum();
    (HEADER_BYTES + bytes).next_multiple_of(JOURNAL_BLOCK_BYTES as usize) as u64
}

/// A commit's bytes, in whole blocks.
pub(super) fn encode<F>(items: &[Item<'_, F>], salt: u64, sequence: u64) -> Vec<u8> {
    let content: usize = items.iter().map(|item| item.bytes.len() + ENTRY_HEADER_BYTES_MAX).sum();
    let mut bytes =
        Vec::with_capacity((HEADER_BYTES + content).next_multiple_of(JOURNAL_BLOCK_BYTES as usize));
    bytes.resize(HEADER_BYTES, 0);
    let mut named = None;
    let mut entry_count = 0u32;
    for item in items {
        if let StoredEntry::Append { topic_partition: TopicPartition { topic_id, .. }, .. } =
            item.stored
        {
            if named != Some(topic_id) {
                named = Some(topic_id);
                entry_count += 1;
                let topic = StoredEntry::Topic { topic_id };
                bytes = postcard::to_extend(&topic, bytes).expect("a Vec takes all");
            }
        }
        entry_count += 1;
        bytes = postcard::to_extend(&short(item.stored), bytes).expect("a Vec takes all");
        bytes.extend_from_slice(item.bytes);
    }
    let body_bytes = (bytes.len() - HEADER_BYTES) as u32;
    bytes[0..4].copy_from_slice(&MAGIC.to_be_bytes());
    bytes[8..16].copy_from_slice(&salt.to_be_bytes());
    bytes[16..24].copy_from_slice(&sequence.to_be_bytes());
    bytes[24..28].copy_from_slice(&body_bytes.to_be_bytes());
    bytes[28..32].copy_from_slice(&entry_count.to_be_bytes());
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes.resize(bytes.len().next_multiple_of(JOURNAL_BLOCK_BYTES as usize), 0);
    bytes
}

/// The front of a commit, before its checksum is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitHeader {
    pub(super) crc: u32,
    pub(super) salt: u64,
    pub(super) sequence: u64,
    pub(super) body_bytes: u32,
    pub(super) entry_count: u32,
}

impl CommitHeader {
    /// Reads a header, if that is what the bytes may be.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<CommitHeader> {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let header = CommitHeader {
            crc: word(4),
            salt: long(8),
            sequence: long(16),
            body_bytes: word(24),
            entry_count: word(28),
        };
        // One entry may be larger than a commit should be, but never as large as this; and each may
        // have its topic named before it.
        let is_sane = word(0) == MAGIC
            && header.body_bytes as usize <= 2 * JOURNAL_COMMIT_BYTES_MAX
            && header.entry_count as usize <= 2 * JOURNAL_COMMIT_ENTRIES_MAX;
        is_sane.then_some(header)
    }

    /// Bytes it takes in the ring.
    pub(super) fn ring_bytes(&self) -> u64 {
        let bytes = HEADER_BYTES as u64 + u64::from(self.body_bytes);
        bytes.next_multiple_of(JOURNAL_BLOCK_BYTES)
    }
}
