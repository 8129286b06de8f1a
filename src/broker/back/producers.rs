//! What partitions remember of epochs and producers.

use super::{Back, check_epoch};
use crate::broker::mail::{EpochItem, ProducersItem, ReplyBody, RequestId};
use crate::ids::Offset;
use crate::journal::disk::Disk;
use crate::log::KnownProducer;
use crate::wire::ErrorCode;
use crate::wire::describe_producers::{ActiveProducer, DescribedProducers};
use crate::wire::offset_for_leader_epoch::EpochEnd;

impl<D: Disk> Back<D> {
    pub(super) fn epoch_ends(&mut self, request: RequestId, items: &[EpochItem]) {
        let ends = items.iter().map(|item| (item.place, self.epoch_end(item))).collect();
        self.reply(request, ReplyBody::EpochEnds(ends));
    }

    /// Semantics.md 2.8: the end of the latest epoch is the end of the log, not what consumers see.
    fn epoch_end(&self, item: &EpochItem) -> EpochEnd {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return EpochEnd::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let log = &state.log;
        let error = match log.leads() {
            true => check_epoch(item.current_leader_epoch, log.known_epoch()),
            false => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        };
        if !error.is_ok() {
            return EpochEnd::failed(error);
        }
        match log.epochs().end_offset_for(item.leader_epoch, log.end_offset()) {
            Some((leader_epoch, end_offset)) => EpochEnd { error, leader_epoch, end_offset },
            None => EpochEnd::failed(ErrorCode::NONE),
        }
    }

    /// Has partitions forget producers while all of them remember too many.
    pub(super) fn bound_producers(&mut self) {
        if self.producer_count <= self.producers_max {
            return;
        }
        loop {
            let counts = self.partitions.values().map(|state| state.log.producer_count());
            self.producer_count = counts.sum();
            if self.producer_count <= self.producers_max {
                return;
            }
            let most = self.partitions.values_mut().max_by_key(|one| one.log.producer_count());
            let log = &mut most.expect("something remembers them").log;
            // Some at once, so that the next ones find room without a look at all partitions.
            let forgotten_count = log.producer_count() / 8 + 1;
            log.forget_producers(forgotten_count);
        }
    }

    pub(super) fn describe_producers(&mut self, request: RequestId, items: &[ProducersItem]) {
        let described = items.iter().map(|item| (item.place, self.producers_of(item))).collect();
        self.reply(request, ReplyBody::Producers(described));
    }

    fn producers_of(&self, item: &ProducersItem) -> DescribedProducers {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return DescribedProducers::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let active = |known: KnownProducer| ActiveProducer {
            producer_id: known.producer_id,
            producer_epoch: known.epoch,
            last_sequence: known.last_sequence,
            last_timestamp: known.last_timestamp,
            coordinator_epoch: -1,
            transaction_start_offset: Offset(-1),
        };
        let producers = state.log.producers().map(active).collect();
        DescribedProducers { error: ErrorCode::NONE, producers }
    }
}
