//! Questions about partitions, each answered by the shard that owns the partition: the ends of
//! leader epochs, the producers.

use std::collections::{BTreeMap, BTreeSet};

use super::Call;
use crate::broker::front::{Front, Gathering, owner_of};
use crate::broker::mail::{AskBody, EpochItem, Place, ProducersItem, ShardId};
use crate::ids::{Partition, TopicPartition};
use crate::time::Boot;
use crate::wire::describe_producers::{DescribeProducersRequest, DescribedProducers};
use crate::wire::offset_for_leader_epoch::{EpochEnd, OffsetForLeaderEpochRequest};
use crate::wire::{ErrorCode, FrameError, TopicRef, frame};

/// Answers that are known already, and what must be asked of whom.
struct Spread<R, I> {
    results: Vec<Option<R>>,
    items: BTreeMap<ShardId, Vec<I>>,
}

impl<R, I> Spread<R, I> {
    fn asks(self, body: impl Fn(Vec<I>) -> AskBody) -> (Vec<Option<R>>, Vec<(ShardId, AskBody)>) {
        let asks = self.items.into_iter().map(|(shard, items)| (shard, body(items)));
        (self.results, asks.collect())
    }
}

impl<F: Clone> Front<F> {
    pub(super) fn epoch_ends(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<OffsetForLeaderEpochRequest<'_>>(body)?;
        let wanted = request.partitions.iter().map(|one| (one.topic, one.partition));
        let item = |place: Place, topic_partition| EpochItem {
            place,
            topic_partition,
            current_leader_epoch: request.partitions[place as usize].current_leader_epoch,
            leader_epoch: request.partitions[place as usize].leader_epoch,
        };
        let spread = self.spread(wanted, item, EpochEnd::failed);
        let (results, asks) = spread.asks(AskBody::EpochEnds);
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::EpochEnds(results), Boot::NEVER);
        self.start_or_complete(call.now, number, pending, asks);
        Ok(())
    }

    pub(super) fn describe_producers(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<DescribeProducersRequest<'_>>(body)?;
        let wanted = request.partitions.iter().map(|one| (one.topic, one.partition));
        let item = |place, topic_partition| ProducersItem { place, topic_partition };
        let spread = self.spread(wanted, item, DescribedProducers::failed);
        let (results, asks) = spread.asks(AskBody::Producers);
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Producers(results), Boot::NEVER);
        self.start_or_complete(call.now, number, pending, asks);
        Ok(())
    }

    /// Makes an item of every partition that is there and not named twice.
    fn spread<'a, R, I>(
        &self,
        wanted: impl Iterator<Item = (TopicRef<'a>, Partition)>,
        item: impl Fn(Place, TopicPartition) -> I,
        failed: impl Fn(ErrorCode) -> R,
    ) -> Spread<R, I> {
        let mut spread = Spread { results: Vec::new(), items: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        for (place, (topic, partition)) in wanted.enumerate() {
            let found = self.resolve_here(topic, partition);
            spread.results.push(match found {
                Ok(topic_partition) if seen.insert(topic_partition) => {
                    let shard = owner_of(&self.config, topic_partition);
                    let item = item(place as Place, topic_partition);
                    spread.items.entry(shard).or_default().push(item);
                    None
                }
                Ok(_) => Some(failed(ErrorCode::INVALID_REQUEST)),
                Err(error) => Some(failed(error)),
            });
        }
        spread
    }
}
