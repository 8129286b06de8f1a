//! What makes a producer's batches be stored once, and in order: its id, and for each partition
//! the sequences that it was sent (KIP-98, KIP-360).
//!
//! A batch gets its [`Stamp`] when it is sent for the first time and keeps it when it is sent again.
//! A batch that failed for good leaves a gap that the broker would not pass over, so the producer
//! then takes its next epoch, in which sequences begin at 0, and stamps anew what that partition
//! has not acknowledged. Other partitions keep the old epoch until all they were sent is settled.
//!
//! **Invariants.** `outstanding` holds, in order, the batches of a partition that have a stamp and
//! no outcome. A batch is stamped anew only while none of its partition is in flight. While one is
//! sent again it goes alone, and nothing new goes before all that failed is settled. The first batch
//! of a partition, or of an epoch, goes alone, too: a broker that knows nothing of a producer takes
//! any batch for its first, and would store the second before the first that it refused.
//!
//! Read semantics.md 2.24 and Kafka's `TransactionManager.java` before editing.

use std::collections::{BTreeMap, VecDeque};

use crate::client::accumulator::{Batch, Lane};

/// The last epoch that a producer gives itself; behind it comes another id.
const EPOCH_MAX: i16 = i16::MAX;

/// An id from the broker, and the epoch that this producer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerId {
    pub id: i64,
    pub epoch: i16,
}

/// Who sent a batch, and as which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub producer: ProducerId,
    pub base_sequence: i32,
}

/// Place of a batch among those of its partition, as [`Batch::sequence`] has it.
type Place = (u64, u32);

/// What one partition was sent.
#[derive(Debug)]
struct Track {
    producer: ProducerId,
    /// For the next new batch.
    next: i32,
    /// What follows the last acknowledged batch.
    expected: i32,
    outstanding: Vec<Place>,
    /// A batch was given up, and nobody knows whether it was stored.
    is_unresolved: bool,
    /// There is a gap, or there may be: what follows needs the next epoch.
    wants_epoch: bool,
    /// The broker stored a batch of this epoch: it knows what comes next.
    is_known: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Idempotence {
    is_enabled: bool,
    producer: Option<ProducerId>,
    tracks: BTreeMap<Lane, Track>,
}

impl Idempotence {
    pub fn new(is_enabled: bool) -> Idempotence {
        Idempotence { is_enabled, producer: None, tracks: BTreeMap::new() }
    }

    /// Whether nothing can be sent for want of an id.
    pub fn wants_id(&self) -> bool {
        self.is_enabled && self.producer.is_none()
    }

    pub fn take_id(&mut self, producer: ProducerId) {
        self.producer = Some(producer);
    }

    /// Whether the first queued batch of a partition may go now, of which `in_flight` are under
    /// way.
    pub fn admits(&mut self, lane: Lane, queue: &mut VecDeque<Batch>, in_flight: usize) -> bool {
        if !self.is_enabled {
            return true;
        }
        let Some(producer) = self.producer else { return false };
        let track = self.tracks.entry(lane).or_insert_with(|| Track::new(producer));
        if track.is_unresolved && track.outstanding.is_empty() {
            // What came behind the lost batch was stored, so it was, too; or else nobody knows.
            track.is_unresolved = false;
            track.wants_epoch |= track.expected != track.next;
        }
        if track.wants_epoch {
            if 0 < in_flight {
                return false;
            }
            if track.producer == producer {
                self.producer = producer.next();
            }
            let Some(producer) = self.producer else { return false };
            track.begin(producer, queue);
        }
        let Some(first) = queue.front() else { return false };
        if first.stamp.is_some() {
            return track.outstanding.first() == Some(&first.sequence);
        }
        let goes_alone = !track.is_known && !track.outstanding.is_empty();
        if track.is_unresolved || goes_alone {
            return false;
        }
        let producer = self.producer.expect("it was there above");
        if track.producer != producer && !track.outstanding.is_empty() {
            return false;
        }
        if track.producer != producer {
            *track = Track::new(producer);
        }
        true
    }

    /// Stamps a batch that goes for the first time.
    pub fn stamp(&mut self, lane: Lane, batch: &mut Batch) {
        if batch.stamp.is_some() {
            return;
        }
        let Some(track) = self.tracks.get_mut(&lane).filter(|_| self.is_enabled) else { return };
        batch.stamp = Some(Stamp { producer: track.producer, base_sequence: track.next });
        track.next = after(track.next, batch.record_count);
        track.outstanding.push(batch.sequence);
    }

    /// A batch was stored.
    pub fn acknowledged(&mut self, lane: Lane, batch: &Batch) {
        let Some((track, stamp)) = self.settle(lane, batch) else { return };
        if track.producer == stamp.producer {
            track.expected = after(stamp.base_sequence, batch.record_count);
            track.is_known = true;
        }
    }

    /// A batch was refused, and is not sent again.
    pub fn refused(&mut self, lane: Lane, batch: &Batch) {
        if let Some((track, _)) = self.settle(lane, batch) {
            track.wants_epoch = true;
        }
    }

    /// A batch is given up that may have been stored.
    pub fn lost(&mut self, lane: Lane, batch: &Batch) {
        if let Some((track, _)) = self.settle(lane, batch) {
            track.is_unresolved = true;
        }
    }

    /// The broker says that a batch does not follow the last one. It is to be sent again: after
    /// those before it, or, when there are none, in the next epoch.
    pub fn out_of_order(&mut self, lane: Lane, batch: &Batch) {
        let (Some(track), Some(stamp)) = (self.tracks.get_mut(&lane), batch.stamp) else { return };
        let is_next = track.producer == stamp.producer && track.expected == stamp.base_sequence;
        track.wants_epoch |= is_next || track.is_unresolved;
    }

    /// The broker does not know the producer: it begins anew.
    pub fn forgotten(&mut self, lane: Lane) {
        if let Some(track) = self.tracks.get_mut(&lane) {
            track.wants_epoch = true;
        }
    }

    /// A batch is cut in two, which share its sequences.
    pub fn divide(&mut self, lane: Lane, batch: &Batch, halves: &mut [Batch; 2]) {
        let (Some(track), Some(stamp)) = (self.tracks.get_mut(&lane), batch.stamp) else { return };
        let [first, second] = halves;
        first.stamp = Some(stamp);
        let base_sequence = after(stamp.base_sequence, first.record_count);
        second.stamp = Some(Stamp { base_sequence, ..stamp });
        if let Some(place) = track.outstanding.iter().position(|one| *one == batch.sequence) {
            track.outstanding.splice(place..=place, [first.sequence, second.sequence]);
        }
    }

    /// A batch with a stamp has its outcome.
    fn settle(&mut self, lane: Lane, batch: &Batch) -> Option<(&mut Track, Stamp)> {
        let stamp = batch.stamp?;
        let track = self.tracks.get_mut(&lane)?;
        track.outstanding.retain(|place| *place != batch.sequence);
        Some((track, stamp))
    }
}

impl Track {
    fn new(producer: ProducerId) -> Track {
        Track {
            producer,
            next: 0,
            expected: 0,
            outstanding: Vec::new(),
            is_unresolved: false,
            wants_epoch: false,
            is_known: false,
        }
    }

    /// Goes on in another epoch: what has a stamp gets another, in the same order.
    fn begin(&mut self, producer: ProducerId, queue: &mut VecDeque<Batch>) {
        let outstanding = std::mem::take(&mut self.outstanding);
        *self = Track { outstanding, ..Track::new(producer) };
        for batch in queue.iter_mut().filter(|batch| batch.stamp.is_some()) {
            batch.restamp(Stamp { producer, base_sequence: self.next });
            self.next = after(self.next, batch.record_count);
        }
    }
}

impl ProducerId {
    /// The next epoch; `None` after the last, when another id is needed.
    fn next(self) -> Option<ProducerId> {
        (self.epoch < EPOCH_MAX).then(|| ProducerId { epoch: self.epoch + 1, ..self })
    }
}

/// The sequence `count` records after `sequence`: 0 follows 2³¹−1.
fn after(sequence: i32, count: u32) -> i32 {
    ((sequence as u32).wrapping_add(count) & i32::MAX as u32) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_and_epochs_end_and_begin_anew() {
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 1, 4), 2);
        assert_eq!(ProducerId { id: 7, epoch: 3 }.next(), Some(ProducerId { id: 7, epoch: 4 }));
        assert_eq!(ProducerId { id: 7, epoch: i16::MAX }.next(), None);
    }
}
