//! Who wrote to a partition and how far: what makes a batch that is sent twice be stored once.
//!
//! Of each producer its epoch and its last five batches are known. A batch is *checked* before it
//! is appended ([`Producers::check`]) and *observed* afterwards ([`Producers::observe`]), and what
//! recovery finds in the log is only observed: what lies in a log was once found fit.
//!
//! **Invariants.** The state is a function of the batches observed, in their order, and of nothing
//! else but expiry: whoever observes the same batches knows the same. A producer's batches rise in
//! offset; there are at least one and at most [`BATCHES_KEPT`]. At most [`PARTITION_PRODUCERS_MAX`]
//! producers are known: beyond that the one that wrote least recently is forgotten, and expiry
//! forgets in the same order. A forgotten producer may go on with any sequence (KIP-360).
//!
//! Age is counted from boot time, as nothing but record timestamps may hang on the wall clock
//! (reliability.md 6). Read semantics.md 2.15, KIP-98 and KIP-360 and Kafka's
//! `ProducerAppendInfo.java` before editing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use heapless::Vec as Few;

use crate::ids::Offset;
use crate::limits::{PARTITION_PRODUCERS_MAX, PRODUCER_STATE_BYTES};
use crate::mutant::{self, Mutant};
use crate::record::BatchHeader;
use crate::time::{Boot, Timestamp};

/// Batches of one producer that are recognized when they come again: as many requests as a client
/// may have under way.
pub(super) const BATCHES_KEPT: usize = 5;

/// The batch that was stored when the same one came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

/// Why a batch of an idempotent producer is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceError {
    /// It is in the log already: the producer is told so, and that is success.
    Duplicate(Earlier),
    /// It does not follow the producer's last one.
    OutOfOrder,
    /// The producer has begun a newer epoch.
    StaleEpoch,
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(earlier) => write!(f, "it is stored at {}", earlier.base_offset),
            Self::OutOfOrder => f.write_str("its sequence does not follow the producer's last one"),
            Self::StaleEpoch => f.write_str("the producer has a newer epoch"),
        }
    }
}

/// What others may know of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of the last record it wrote.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
}

/// What is kept of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// That offset, less the batch's base offset.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl Kept {
    fn of(header: &BatchHeader) -> Kept {
        Kept {
            last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    fn is_copy_of(&self, header: &BatchHeader) -> bool {
        // The same last sequence and the same length are the same first sequence.
        let last = sequence_after(header.base_sequence, header.last_offset_delta);
        self.last_sequence == last && self.offset_delta == header.last_offset_delta
    }

    fn earlier(&self) -> Earlier {
        Earlier {
            base_offset: Offset(self.last_offset.0 - i64::from(self.offset_delta)),
            end_offset: Offset(self.last_offset.0 + 1),
            timestamp: self.timestamp,
        }
    }
}

/// What is known of one producer.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    /// Its incarnation.
    pub epoch: i16,
    /// Its last batches in this epoch, oldest first; never empty.
    pub batches: Few<Kept, BATCHES_KEPT>,
    /// When it last wrote in this run, or when the log was opened.
    seen: Boot,
}

impl Producer {
    fn last(&self) -> &Kept {
        self.batches.last().expect("a producer is known by its batches")
    }
}

// A map's nodes are at least half full, and each producer is in two maps.
const _: () = {
    let bytes = size_of::<(i64, Producer)>() + size_of::<(Offset, i64)>();
    assert!(bytes as u64 * 2 <= PRODUCER_STATE_BYTES);
};

/// Equal when they say the same of the log; when it was said does not count.
impl PartialEq for Producer {
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.batches == other.batches
    }
}

/// All producers that a partition knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// Their last offsets: who wrote least recently comes first.
    by_offset: BTreeSet<(Offset, i64)>,
}

impl Producers {
    /// Whether a batch may be appended. One without a producer always may.
    pub fn check(&self, header: &BatchHeader) -> Result<(), SequenceError> {
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Ok(()) };
        if header.producer_epoch < producer.epoch {
            return Err(SequenceError::StaleEpoch);
        }
        if producer.epoch < header.producer_epoch {
            let is_first = header.base_sequence == 0;
            return if is_first { Ok(()) } else { Err(SequenceError::OutOfOrder) };
        }
        if let Some(kept) = producer.batches.iter().find(|kept| kept.is_copy_of(header)) {
            if mutant::is_on(Mutant::AppendsDuplicates) {
                return Ok(());
            }
            return Err(SequenceError::Duplicate(kept.earlier()));
        }
        let next = sequence_after(producer.last().last_sequence, 1);
        if header.base_sequence == next { Ok(()) } else { Err(SequenceError::OutOfOrder) }
    }

    /// Whether anything is known of a producer.
    pub fn knows(&self, producer_id: i64) -> bool {
        self.by_id.contains_key(&producer_id)
    }

    /// Takes note of a batch that lies in the log.
    pub fn observe(&mut self, header: &BatchHeader, now: Boot) {
        if header.producer_id < 0 || header.base_sequence < 0 || header.attributes.is_control() {
            return;
        }
        self.keep(header.producer_id, header.producer_epoch, Kept::of(header), now);
    }

    /// Adds a producer's newest batch. One that does not lie behind all others is no news.
    pub fn keep(&mut self, producer_id: i64, epoch: i16, kept: Kept, now: Boot) {
        let producer = self.by_id.entry(producer_id).or_insert_with(|| Producer {
            epoch,
            batches: Few::new(),
            seen: now,
        });
        if let Some(last) = producer.batches.last() {
            if kept.last_offset <= last.last_offset {
                return;
            }
            self.by_offset.remove(&(last.last_offset, producer_id));
        }
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.remove(0);
        }
        producer.batches.push(kept).expect("room was made for it");
        producer.seen = now;
        self.by_offset.insert((kept.last_offset, producer_id));
        if PARTITION_PRODUCERS_MAX < self.by_id.len() {
            self.forget_oldest();
        }
        self.invariants();
    }

    /// Forgets producers that wrote nothing for `expiration_ms`.
    pub fn expire(&mut self, now: Boot, expiration_ms: u64) {
        while let Some((_, producer_id)) = self.by_offset.first() {
            let seen = self.by_id.get(producer_id).expect("both name the same producers").seen;
            if now.ms_since(seen) <= expiration_ms {
                break;
            }
            self.forget_oldest();
        }
        self.invariants();
    }

    /// Forgets those that wrote least recently, so many of them if there are as many.
    pub fn forget(&mut self, count: usize) {
        for _ in 0..count.min(self.by_id.len()) {
            self.forget_oldest();
        }
        self.invariants();
    }

    /// Producers known.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Every producer as others may know it, by id.
    pub fn known(&self) -> impl Iterator<Item = KnownProducer> + '_ {
        self.iter().map(|(producer_id, producer)| KnownProducer {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.last().last_sequence,
            last_timestamp: producer.last().timestamp,
        })
    }

    /// Of each producer, the last offset of the batch that tells its last sequence.
    pub fn last_offsets(&self) -> impl Iterator<Item = (i64, Offset)> + '_ {
        self.iter().map(|(producer_id, producer)| (producer_id, producer.last().last_offset))
    }

    /// All that is known, by producer id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(&id, producer)| (id, producer))
    }

    fn forget_oldest(&mut self) {
        let (_, producer_id) = self.by_offset.pop_first().expect("the caller saw one");
        self.by_id.remove(&producer_id).expect("both name the same producers");
    }

    fn invariants(&self) {
        debug_assert_eq!(self.by_id.len(), self.by_offset.len(), "both name the same producers");
        debug_assert!(self.by_id.len() <= PARTITION_PRODUCERS_MAX, "the limit holds");
    }
}

/// The sequence `count` records after `sequence`: 0 follows 2³¹−1.
pub(super) fn sequence_after(sequence: i32, count: i32) -> i32 {
    // Two numbers of 31 bits have a sum of 32.
    ((sequence as u32).wrapping_add(count as u32) & i32::MAX as u32) as i32
}

#[cfg(test)]
mod tests;
