//! What is known of a partition beside its segments, and what a half of the ring keeps alive.

use std::collections::BTreeMap;

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
}
