//! What is known of a partition beside its segments, and what a half of the ring keeps alive.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::journal::SegmentRef;

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
    /// The log was cut at its end, or begun anew elsewhere: what earlier entries say of offsets
    /// from `end` on is void, and must not be redone.
    Truncated {
        /// Its first offset.
        start: Offset,
        /// Its end.
        end: Offset,
        /// Its last segment,
        segment: Offset,
        /// and how long that is.
        position: u64,
        /// Whether what was cut off is kept beside the log: it was damaged, not void.
        is_set_aside: bool,
    },
    /// All in-sync replicas had on stable storage what lies below. Written down now and then: one
    /// that is too low only makes readers wait.
    HighWatermark(Offset),
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
    /// As it was last written down, if it was. A checkpoint has it in a list of its own.
    #[serde(skip)]
    pub high_watermark: Offset,
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
            SmallState::Truncated { start, end, segment, position, .. } => {
                self.log_start = start;
                self.epochs.retain(|(_, first)| *first < end);
                if (segment, position) < (self.recovery_segment, self.recovery_position) {
                    self.recovery_segment = segment;
                    self.recovery_position = position;
                }
                self.recovery_offset = self.recovery_offset.min(end);
                self.high_watermark = self.high_watermark.min(end);
            }
            SmallState::HighWatermark(offset) => {
                self.high_watermark = self.high_watermark.max(offset);
            }
            SmallState::Forget => {}
        }
    }

    pub(super) fn advance(&mut self, point: &Point) {
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
pub(super) struct Point {
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) end_offset: Offset,
}

impl Point {
    /// Where a truncation has cut the log.
    pub(super) fn of_cut(state: SmallState) -> Option<Point> {
        let SmallState::Truncated { end, segment, position, .. } = state else { return None };
        Some(Point { segment, position, end_offset: end })
    }
}

/// What a half of the ring keeps alive.
#[derive(Debug)]
pub(super) struct Half<F> {
    pub(super) is_free: bool,
    pub(super) first_sequence: u64,
    pub(super) dirty: BTreeMap<(TopicPartition, Offset), SegmentRef<F>>,
    pub(super) points: BTreeMap<TopicPartition, Point>,
}

impl<F> Half<F> {
    pub(super) fn free() -> Half<F> {
        Half { is_free: true, first_sequence: 0, dirty: BTreeMap::new(), points: BTreeMap::new() }
    }

    /// Forgets what lies behind a cut: a segment that gets the name of one that went is another
    /// file, and the recovery point must not move to where nothing is any more.
    pub(super) fn truncate(&mut self, topic_partition: TopicPartition, cut: &Point) {
        self.dirty.retain(|(dirty, base), _| *dirty != topic_partition || *base <= cut.segment);
        if let Some(point) = self.points.get_mut(&topic_partition) {
            if (cut.segment, cut.position) < (point.segment, point.position) {
                *point = *cut;
            }
            point.end_offset = point.end_offset.min(cut.end_offset);
        }
    }
}

/// The truncations that are still ahead in a replay: where each ended its log, in their order.
///
/// An entry before one of them that reaches beyond its end is void. It may not even be written and
/// cut again, for where it lay there may be bytes by now that bypassed the ring.
#[derive(Debug, Default)]
pub(super) struct Truncations {
    ahead: BTreeMap<TopicPartition, VecDeque<Offset>>,
    /// How far partitions were synced by what is void: what the cut left of it was, too.
    synced: BTreeMap<TopicPartition, Offset>,
}

impl Truncations {
    /// Takes note of the next one.
    pub(super) fn push(&mut self, topic_partition: TopicPartition, end: Offset) {
        self.ahead.entry(topic_partition).or_default().push_back(end);
    }

    /// The replay has come to one that says how far a segment was synced, and that is void.
    pub(super) fn note_synced(&mut self, topic_partition: TopicPartition, end_offset: Offset) {
        let synced = self.synced.entry(topic_partition).or_default();
        *synced = end_offset.max(*synced);
    }

    /// The replay has come to the first one. Answers whether what it left was synced.
    pub(super) fn pass(&mut self, topic_partition: TopicPartition) -> bool {
        let end = self.ahead.get_mut(&topic_partition).and_then(VecDeque::pop_front);
        let synced = self.synced.get(&topic_partition).copied();
        let is_synced = end <= synced;
        if is_synced {
            self.synced.remove(&topic_partition);
        }
        is_synced && end.is_some()
    }

    /// Whether an entry that ends at `end_offset` is void.
    pub(super) fn has_voided(&self, topic_partition: TopicPartition, end_offset: Offset) -> bool {
        let ends = self.ahead.get(&topic_partition);
        ends.is_some_and(|ends| ends.iter().any(|end| *end < end_offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(end: i64, segment: i64, position: u64) -> SmallState {
        let (end, segment) = (Offset(end), Offset(segment));
        SmallState::Truncated { start: Offset(5), end, segment, position, is_set_aside: false }
    }

    #[test]
    fn a_truncation_voids_what_lies_before_it_and_beyond_its_end() {
        let one = TopicPartition::default();
        let other = TopicPartition { partition: crate::ids::Partition(1), ..one };
        let mut ahead = Truncations::default();
        ahead.push(one, Offset(60));
        ahead.push(one, Offset(80));
        let voided = |ahead: &Truncations, end| ahead.has_voided(one, Offset(end));
        assert!(voided(&ahead, 61) && !voided(&ahead, 60));
        assert!(!ahead.has_voided(other, Offset(500)));
        assert!(!ahead.pass(one), "nobody said that it was synced");
        assert!(voided(&ahead, 81) && !voided(&ahead, 80), "only the second is still ahead");
        ahead.note_synced(one, Offset(100));
        assert!(ahead.pass(one));
        assert!(!voided(&ahead, 500));
    }

    #[test]
    fn a_truncation_moves_the_recovery_point_back_and_never_forth() {
        let mut state = PartitionState {
            log_start: Offset(5),
            epochs: vec![(LeaderEpoch(1), Offset(5)), (LeaderEpoch(2), Offset(50))],
            recovery_segment: Offset(40),
            recovery_position: 700,
            recovery_offset: Offset(60),
            high_watermark: Offset(58),
        };
        let before = state.clone();
        state.take(cut(90, 80, 100));
        assert_eq!(state, before);
        state.take(cut(50, 40, 300));
        assert_eq!(state.epochs, [(LeaderEpoch(1), Offset(5))]);
        let point = (state.recovery_segment, state.recovery_position, state.recovery_offset);
        assert_eq!(point, (Offset(40), 300, Offset(50)));
        assert_eq!(state.high_watermark, Offset(50));
        state.take(cut(20, 5, 900));
        let point = (state.recovery_segment, state.recovery_position, state.recovery_offset);
        assert_eq!(point, (Offset(5), 900, Offset(20)));
    }
}
