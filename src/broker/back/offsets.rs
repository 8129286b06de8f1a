//! Offsets by time, and first offsets that rise (semantics.md 2.22).

use std::collections::BTreeMap;

use super::{Back, BackOutput, Parked, check_epoch};
use crate::broker::mail::{Ask, AskBody, OffsetsItem, ReplyBody, RequestId, TrimItem};
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{FoundOffset, ReadError};
use crate::time::{Now, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::delete_records::DeletedRecords;
use crate::wire::list_offsets::{self, ListedOffset};

impl<D: Disk> Back<D> {
    pub(super) fn offsets(&mut self, request: RequestId, items: Vec<OffsetsItem>) {
        let mut listed = Vec::with_capacity(items.len());
        for item in &items {
            match self.list_offset(item) {
                Ok(answer) => listed.push((item.place, answer)),
                Err(why) if self.must_load(item.topic_partition, &why) => {
                    let topic_partition = item.topic_partition;
                    let ask = Ask { request, body: AskBody::Offsets(items) };
                    self.load(ask, topic_partition, why);
                    return;
                }
                Err(why) => {
                    let error = self.read_failed(item.topic_partition, &why);
                    listed.push((item.place, ListedOffset::failed(error)));
                }
            }
        }
        self.reply(request, ReplyBody::Offsets(listed));
    }

    fn list_offset(&self, item: &OffsetsItem) -> Result<ListedOffset, ReadError<D::File>> {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return Ok(ListedOffset::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let log = &state.log;
        let epoch_error = check_epoch(item.current_leader_epoch, log.known_epoch());
        if !epoch_error.is_ok() {
            return Ok(ListedOffset::failed(epoch_error));
        }
        if !log.leads() {
            return Ok(ListedOffset::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        let end = |offset, leader_epoch| ListedOffset {
            error: ErrorCode::NONE,
            offset,
            timestamp: Timestamp::NONE,
            leader_epoch,
        };
        let high_watermark = state.high_watermark();
        let found = match item.timestamp {
            list_offsets::LATEST => {
                let latest = log.latest_offset();
                let listed = |_| end(high_watermark, log.leader_epoch());
                return Ok(latest.map_or_else(ListedOffset::failed, listed));
            }
            list_offsets::EARLIEST => {
                let start = log.start_offset();
                return Ok(end(start, log.epochs().epoch_of(start).unwrap_or(LeaderEpoch::NONE)));
            }
            list_offsets::MAX_TIMESTAMP => log.max_timestamp(high_watermark)?,
            at if at.0 < 0 => return Ok(ListedOffset::failed(ErrorCode::INVALID_REQUEST)),
            at => log.offset_for_timestamp(at, high_watermark)?,
        };
        Ok(match found {
            Some(FoundOffset { offset, timestamp, leader_epoch }) => {
                ListedOffset { error: ErrorCode::NONE, offset, timestamp, leader_epoch }
            }
            // Until it is known how far the epoch before was committed there may be more.
            None => ListedOffset::failed(log.latest_offset().err().unwrap_or(ErrorCode::NONE)),
        })
    }

    pub(super) fn trim(&mut self, now: Now, request: RequestId, items: &[TrimItem]) {
        let mut parked = Parked { done: Vec::new(), waiting_count: 0, places: BTreeMap::new() };
        for item in items {
            match self.advance_start(now, request, item) {
                Ok((low_watermark, must_wait)) => {
                    let deleted = DeletedRecords { error: ErrorCode::NONE, low_watermark };
                    if must_wait {
                        parked.waiting_count += 1;
                        parked.places.insert(item.topic_partition, (item.place, deleted));
                    } else {
                        parked.done.push((item.place, deleted));
                    }
                }
                Err(error) => parked.done.push((item.place, DeletedRecords::failed(error))),
            }
        }
        if parked.waiting_count == 0 {
            self.reply(request, ReplyBody::Trimmed(parked.done));
        } else {
            self.trims.insert(request, parked);
        }
    }

    fn advance_start(
        &mut self,
        now: Now,
        request: RequestId,
        item: &TrimItem,
    ) -> Result<(Offset, bool), ErrorCode> {
        let topic_partition = item.topic_partition;
        if !self.is_writable {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let state = self
            .partitions
            .get_mut(&topic_partition)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if state.log.replica().is_some() {
            let start = state.log.start_offset();
            let deleted = self.delete_from_replica(now, request, item)?;
            return Ok((deleted.unwrap_or(start), deleted.is_none()));
        }
        if !state.log.config().cleanup_policy.delete {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let high_watermark = state.high_watermark();
        let offset = if item.offset == Offset(-1) { high_watermark } else { item.offset };
        if offset < Offset::ZERO || high_watermark < offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        match state.log.advance_start(offset) {
            Some(raised) => {
                state.trims.push((offset, request));
                let entry = Entry::State { topic_partition, state: raised };
                self.outputs.push_back(BackOutput::Persist(entry));
                Ok((offset, true))
            }
            None => Ok((state.log.start_offset(), false)),
        }
    }

    pub(super) fn complete_trims(
        &mut self,
        topic_partition: TopicPartition,
        durable_start: Offset,
    ) {
        let state = self.partitions.get_mut(&topic_partition).expect("its start rose");
        let trims = std::mem::take(&mut state.trims);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            trims.into_iter().partition(|(offset, _)| *offset <= durable_start);
        state.trims = waiting;
        for (_, request) in ready {
            self.trimmed(request, topic_partition, Ok(None));
        }
    }

    pub(super) fn trimmed(
        &mut self,
        request: RequestId,
        topic_partition: TopicPartition,
        outcome: Result<Option<Offset>, ErrorCode>,
    ) {
        let parked = self.trims.get_mut(&request).expect("a waiting item has a parked ask");
        let (place, mut deleted) = parked.places.remove(&topic_partition).expect("it waits here");
        match outcome {
            Ok(low_watermark) => {
                deleted.low_watermark = low_watermark.unwrap_or(deleted.low_watermark);
            }
            Err(error) => deleted = DeletedRecords::failed(error),
        }
        parked.done.push((place, deleted));
        parked.waiting_count -= 1;
        if parked.waiting_count == 0 {
            let parked = self.trims.remove(&request).expect("found above");
            self.reply(request, ReplyBody::Trimmed(parked.done));
        }
    }
}
