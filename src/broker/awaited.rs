//! Batches that were refused for now, of producers that the log knows nothing of.
//!
//! Such a log takes any batch for a producer's first (KIP-360). A client sends several at a time: when
//! the first is refused because this node does not lead yet, and it leads a moment later, the second
//! would be stored, and the first never could be: it is out of order for good, and librdkafka drops it.
//! So what lies behind a batch that was refused waits until that one has come again, for a while.
//!
//! A back remembers what it refused by partition; a front, which refuses what is for a topic that it has
//! not heard of yet, by the words in which the client named it. Only the back knows the log, so the
//! front lets what lies behind pass, and says so ([`ProduceItem::is_behind_one`]).
//!
//! [`ProduceItem::is_behind_one`]: super::mail::ProduceItem::is_behind_one

use std::collections::VecDeque;

use crate::ids::{Partition, TopicId, TopicName};
use crate::record::BatchHeader;
use crate::time::Boot;
use crate::wire::{ErrorCode, TopicRef};

/// So many are remembered, of the newest ones: clients come again soon.
const BATCHES_MAX: usize = 64;

/// How long: a client that has given the batch up goes on afterwards.
const WAIT_MS: u64 = 30_000;

/// Why a batch goes nowhere, and where it was to go if it may come again.
#[derive(Debug)]
pub struct Nowhere {
    pub(super) error: ErrorCode,
    pub(super) wanted: Option<Wanted>,
}

impl From<ErrorCode> for Nowhere {
    fn from(error: ErrorCode) -> Nowhere {
        Nowhere { error, wanted: None }
    }
}

impl Nowhere {
    /// For a partition that is not found.
    pub(super) fn found(error: ErrorCode, topic: TopicRef<'_>, partition: Partition) -> Nowhere {
        let topic = match topic {
            TopicRef::Name(name) => {
                TopicName::new(name).ok().map(|name| WantedTopic::Name(Box::new(name)))
            }
            TopicRef::Id(topic_id) => Some(WantedTopic::Id(topic_id)),
        };
        Nowhere { error, wanted: topic.map(|topic| Wanted { topic, partition }) }
    }
}

/// A partition as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    topic: WantedTopic,
    partition: Partition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WantedTopic {
    Name(Box<TopicName>),
    Id(TopicId),
}

impl Wanted {
    /// Whether a partition is meant.
    pub fn means(&self, topic_id: TopicId, name: &str, partition: Partition) -> bool {
        let is_topic = match &self.topic {
            WantedTopic::Name(wanted) => wanted.as_str() == name,
            WantedTopic::Id(wanted) => *wanted == topic_id,
        };
        is_topic && self.partition == partition
    }
}

#[derive(Debug)]
struct Refused<P> {
    place: P,
    producer: (i64, i16),
    base_sequence: i32,
    until: Boot,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Awaited<P> {
    batches: VecDeque<Refused<P>>,
}

impl<P> Default for Awaited<P> {
    fn default() -> Awaited<P> {
        Awaited { batches: VecDeque::new() }
    }
}

impl<P: PartialEq> Awaited<P> {
    /// A batch of a producer that is not known was refused; it is to come again.
    pub fn refuse(&mut self, now: Boot, place: P, header: &BatchHeader) {
        let producer = (header.producer_id, header.producer_epoch);
        let is_same = |one: &Refused<P>| one.place == place && one.producer == producer;
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
        self.batches.push_back(Refused { place, producer, base_sequence, until });
    }

    /// Whether an earlier batch of the same producer is to come first.
    pub fn is_behind_one(
        &self,
        now: Boot,
        is_place: impl Fn(&P) -> bool,
        header: &BatchHeader,
    ) -> bool {
        let producer = (header.producer_id, header.producer_epoch);
        self.batches.iter().any(|one| {
            now < one.until
                && one.producer == producer
                && one.base_sequence < header.base_sequence
                && is_place(&one.place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicPartition;
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
        let here = |one: &TopicPartition| *one == place;
        let mut awaited = Awaited::default();
        awaited.refuse(Boot(0), place, &header(7, 40));
        awaited.refuse(Boot(0), place, &header(7, 90));
        assert!(awaited.is_behind_one(Boot(1), here, &header(7, 90)));
        assert!(!awaited.is_behind_one(Boot(1), here, &header(7, 40)), "it has come again");
        assert!(!awaited.is_behind_one(Boot(1), here, &header(8, 90)), "another producer");
        let later = Boot(0).plus_ms(WAIT_MS);
        assert!(!awaited.is_behind_one(later, here, &header(7, 90)), "it was given up");
        for producer_id in 0..1000 {
            awaited.refuse(Boot(1), place, &header(producer_id, 1));
        }
        assert!(awaited.batches.len() <= BATCHES_MAX);
    }
}
