//! Batches that were refused for now, of producers that the log knows nothing of.
//!
//! Such a log takes any batch for a producer's first (KIP-360). A client sends several at a time: when
//! the first is refused because this node does not lead yet, and it leads a moment later, the second
//! would be stored, and the first never could be: it is out of order for good, and librdkafka drops it.
//! So what lies behind a batch that was refused waits until that one has come again, for a while.

use std::collections::VecDeque;

use crate::ids::TopicPartition;
use crate::record::BatchHeader;
use crate::time::Boot;

/// So many are remembered, of the newest ones: clients come again soon.
const BATCHES_MAX: usize = 64;

/// How long: a client that has given the batch up goes on afterwards.
const WAIT_MS: u64 = 30_000;

#[derive(Debug)]
struct Refused {
    topic_partition: TopicPartition,
    producer: (i64, i16),
    base_sequence: i32,
    until: Boot,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    batches: VecDeque<Refused>,
}

impl Awaited {
    /// A batch of a producer that is not known was refused; it is to come again.
    pub fn refuse(&mut self, now: Boot, topic_partition: TopicPartition, header: &BatchHeader) {
        let producer = (header.producer_id, header.producer_epoch);
        let is_same =
            |one: &Refused| one.topic_partition == topic_partition && one.producer == producer;
        self.batches.retain(|one| now < one.until);
        let known = self.batches.iter_mut().find(|one| is_same(one));
        if let Some(known) = known {
            known.base_sequence = known.base_sequence.min(header.base_sequence);
            known.until = now.plus_ms(WAIT_MS);
            return;
        }
        if self.batches.len() == BATCHES_MAX {
            self.batches.pop_front();
        }
        let (base_sequence, until) = (header.base_sequence, now.plus_ms(WAIT_MS));
        self.batches.push_back(Refused { topic_partition, producer, base_sequence, until });
    }

    /// Whether an earlier batch of the same producer is to come first.
    pub fn is_behind_one(
        &self,
        now: Boot,
        topic_partition: TopicPartition,
        header: &BatchHeader,
    ) -> bool {
        let producer = (header.producer_id, header.producer_epoch);
        self.batches.iter().any(|one| {
            now < one.until
                && one.topic_partition == topic_partition
                && one.producer == producer
                && one.base_sequence < header.base_sequence
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Compression};

    fn header(producer_id: i64, base_sequence: i32) -> BatchHeader {
        let mut builder = BatchBuilder::new();
        builder.set_producer(producer_id, 0, base_sequence);
        builder.push(crate::time::Timestamp(0), None, Some(b"x"), &[]);
        BatchHeader::parse(&builder.finish(Compression::None)).expect("a batch of our own")
    }

    /// Seen with librdkafka after the power of a leader was cut: the first batch reached the next
    /// leader before it led, the second when it did.
    #[test]
    fn what_was_sent_behind_a_refused_batch_waits_for_it() {
        let place = TopicPartition::default();
        let mut awaited = Awaited::default();
        awaited.refuse(Boot(0), place, &header(7, 40));
        awaited.refuse(Boot(0), place, &header(7, 90));
        assert!(awaited.is_behind_one(Boot(1), place, &header(7, 90)));
        assert!(!awaited.is_behind_one(Boot(1), place, &header(7, 40)), "it has come again");
        assert!(!awaited.is_behind_one(Boot(1), place, &header(8, 90)), "another producer");
        let later = Boot(0).plus_ms(WAIT_MS);
        assert!(!awaited.is_behind_one(later, place, &header(7, 90)), "it was given up");
        for producer_id in 0..1000 {
            awaited.refuse(Boot(1), place, &header(producer_id, 1));
        }
        assert!(awaited.batches.len() <= BATCHES_MAX);
    }
}
