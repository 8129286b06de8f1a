//! Which partition a record goes to: Kafka's rules, so that a key finds the same partition from
//! any client (semantics.md rows 64-66; KIP-480, KIP-794).

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::client::cluster::TopicInfo;
use crate::client::producer_record::ProducerRecord;
use crate::ids::Partition;

/// `partitioner.class`: chooses the partitions of records that name none.
///
/// It runs under the producer's lock, so that it must not call the producer.
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// The partition of this record among those of its topic. A negative one fails the send; for
    /// one beyond the topic's last the send waits, as for a partition that the record names.
    fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicInfo) -> i32;
}

/// Each record goes to the next partition that has a leader, whatever its key. It begins anywhere.
#[derive(Debug, Default)]
pub struct RoundRobinPartitioner {
    /// By topic.
    next: Mutex<BTreeMap<String, u64>>,
}

impl Partitioner for RoundRobinPartitioner {
    fn partition(&self, _record: &ProducerRecord<'_>, topic: &TopicInfo) -> i32 {
        let led = topic.partitions.iter().filter(|one| one.leader.is_some());
        let mut places: Vec<i32> = led.map(|one| one.partition.0).collect();
        if places.is_empty() {
            places = topic.partitions.iter().map(|one| one.partition.0).collect();
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || Random::new().below(1 << 32);
        let turn = next.entry(topic.name.clone()).or_insert_with(begin);
        let place = *turn % places.len().max(1) as u64;
        *turn = turn.wrapping_add(1);
        places.get(place as usize).copied().unwrap_or(0)
    }
}

/// The hash of Kafka's Java client.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut chunks = key.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("chunks of four"));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partition_count`, dead or alive.
pub fn partition_for_key(key: &[u8], partition_count: usize) -> Partition {
    let positive = murmur2(key) & 0x7fff_ffff;
    Partition((positive as usize % partition_count) as i32)
}

/// A small random number generator (xorshift64*), seeded by the process's entropy.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new() -> Random {
        Random(RandomState::new().build_hasher().finish() | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end.max(1)
    }
}

/// Records without a key fill one partition's batch, then move on. The same number of bytes goes
/// to each partition, less to one whose queue is long.
#[derive(Clone, Debug, Default)]
pub(super) struct Sticky {
    current: Option<Partition>,
    bytes: usize,
}

impl Sticky {
    /// The partition of the next record. `candidates` are the partitions that have a leader, with
    /// the batches that wait for each.
    pub fn choose(
        &mut self,
        random: &mut Random,
        candidates: impl Fn() -> Vec<(Partition, usize)>,
    ) -> Partition {
        if let Some(current) = self.current {
            return current;
        }
        let candidates = candidates();
        let longest = candidates.iter().map(|(_, length)| *length).max().unwrap_or(0);
        let weight = |length: usize| (longest + 1 - length) as u64;
        let total = candidates.iter().map(|(_, length)| weight(*length)).sum();
        let mut draw = random.below(total);
        let mut chosen = Partition(0);
        for (partition, length) in candidates {
            chosen = partition;
            if draw < weight(length) {
                break;
            }
            draw -= weight(length);
        }
        self.current = Some(chosen);
        self.bytes = 0;
        chosen
    }

    /// Counts a record's bytes. A switch comes after `batch_bytes` when a batch was completed by
    /// it, after twice as many in any case.
    pub fn record(&mut self, bytes: usize, batch_bytes: usize, is_batch_complete: bool) {
        self.bytes += bytes;
        let is_due = batch_bytes <= self.bytes && is_batch_complete;
        if is_due || batch_bytes * 2 <= self.bytes {
            self.current = None;
        }
    }

    /// Leaves the partition: it has no leader.
    pub fn leave(&mut self) {
        self.current = None;
    }

    pub fn current(&self) -> Option<Partition> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From Kafka's UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            let expected = (hash & 0x7fff_ffff) % 7;
            assert_eq!(partition_for_key(key.as_bytes(), 7), Partition(expected), "{key}");
        }
    }

    /// semantics.md row 66: each of three partitions gets a third, within a tenth.
    #[test]
    fn the_sticky_partition_is_uniform_over_full_batches() {
        let mut random = Random(42);
        let mut sticky = Sticky::default();
        let mut counts = [0usize; 3];
        for record in 0..30_000 {
            let even = || (0..3).map(|partition| (Partition(partition), 0)).collect();
            let partition = sticky.choose(&mut random, even);
            counts[partition.0 as usize] += 1;
            sticky.record(100, 1000, record % 10 == 9);
        }
        for count in counts {
            assert!((9_000..=11_000).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn a_long_queue_gets_less() {
        let mut random = Random(7);
        let mut counts = [0usize; 2];
        for _ in 0..4_000 {
            let mut sticky = Sticky::default();
            let queues = || vec![(Partition(0), 0), (Partition(1), 9)];
            counts[sticky.choose(&mut random, queues).0 as usize] += 1;
        }
        assert!(counts[1] * 5 < counts[0], "{counts:?}");
        assert!(0 < counts[1], "never starved: {counts:?}");
    }

    #[test]
    fn a_partition_is_left_when_its_batch_is_complete_or_twice_the_bytes_are_in() {
        let mut random = Random(1);
        let mut sticky = Sticky::default();
        let one = || vec![(Partition(5), 0)];
        assert_eq!(sticky.choose(&mut random, one), Partition(5));
        sticky.record(999, 1000, true);
        assert_eq!(sticky.current(), Some(Partition(5)), "too few bytes");
        sticky.record(1, 1000, false);
        assert_eq!(sticky.current(), Some(Partition(5)), "the batch is not complete");
        sticky.record(1, 1000, true);
        assert_eq!(sticky.current(), None);
        sticky.choose(&mut random, one);
        sticky.record(2000, 1000, false);
        assert_eq!(sticky.current(), None);
    }
}
