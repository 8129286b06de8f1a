//! Produces: appended now, answered now or when a commit has covered them (semantics.md 2.2).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::BytesMut;

use super::upkeep::delete_dropped;
use super::{Back, BackOutput, Flushed, Parked, PartitionState};
use crate::broker::admit::admit;
use crate::broker::mail::{ProduceItem, ReplyBody, RequestId};
use crate::ids::{Offset, TopicPartition};
use crate::journal::disk::Disk;
use crate::log::{Earlier, Log, LogError, SequenceError};
use crate::mutant::{self, Mutant};
use crate::record::{BatchHeader, TimestampType};
use crate::replica::Input;
use crate::time::{Now, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::produce::ProducedPartition;

impl<D: Disk> Back<D> {
    pub(super) fn produce(
        &mut self,
        now: Now,
        request: RequestId,
        acks: i8,
        items: Vec<ProduceItem>,
    ) {
        let mut parked = Parked { done: Vec::new(), waiting_count: 0, places: BTreeMap::new() };
        for item in items {
            let (place, topic_partition) = (item.place, item.topic_partition);
            let mut bad_records = Vec::new();
            match self.append(now, item, acks, &mut bad_records) {
                Err(error) => {
                    let failed =
                        ProducedPartition { bad_records, ..ProducedPartition::failed(error) };
                    parked.done.push((place, failed));
                }
                Ok((produced, end_offset)) => {
                    let state = self.partitions.get_mut(&topic_partition).expect("appended to");
                    if acks == -1 && state.high_watermark() < end_offset {
                        state.wait_for(end_offset, request);
                        parked.waiting_count += 1;
                        parked.places.insert(topic_partition, (place, produced));
                    } else {
                        parked.done.push((place, produced));
                    }
                }
            }
        }
        if parked.waiting_count == 0 {
            self.reply(request, ReplyBody::Produced(parked.done));
        } else {
            self.produces.insert(request, parked);
        }
    }

    fn append(
        &mut self,
        now: Now,
        item: ProduceItem,
        acks: i8,
        bad_records: &mut Vec<u32>,
    ) -> Result<(ProducedPartition, Offset), ErrorCode> {
        let ProduceItem { topic_partition, batch, is_behind_one, .. } = item;
        // Kept for a batch that is refused; the log is asked only where something was.
        let header = BatchHeader::parse(&batch).ok().filter(|header| 0 <= header.producer_id);
        if let Some(header) = &header {
            let is_here = |place: &TopicPartition| *place == topic_partition;
            let is_behind_one =
                is_behind_one || self.awaited.is_behind_one(now.boot, is_here, header);
            if is_behind_one && self.is_stranger(topic_partition, header) {
                return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
        }
        let outcome = self.append_fit(now, topic_partition, acks, batch, bad_records);
        if let (Some(header), Err(error)) = (&header, &outcome) {
            if error.is_retriable() && self.is_stranger(topic_partition, header) {
                self.awaited.refuse(now.boot, topic_partition, header);
            }
        }
        outcome
    }

    /// Whether the log knows nothing of a batch's producer, or is not here yet.
    fn is_stranger(&self, topic_partition: TopicPartition, header: &BatchHeader) -> bool {
        let state = self.partitions.get(&topic_partition);
        state.is_none_or(|state| !state.log.knows_producer(header.producer_id))
    }

    /// Appends a batch if it is sound, and if this node leads.
    fn append_fit(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        acks: i8,
        mut batch: BytesMut,
        bad_records: &mut Vec<u32>,
    ) -> Result<(ProducedPartition, Offset), ErrorCode> {
        self.check_writable()?;
        let state = self.partitions.get(&topic_partition);
        let state = state.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !state.log.leads() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let config = state.log.config();
        admit(now, config, self.memory, &mut batch, bad_records)?;
        if is_transactional(&batch) {
            // No transaction is ever open here.
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
        self.append_as_is(now, topic_partition, acks, batch)
    }

    fn check_writable(&self) -> Result<(), ErrorCode> {
        let is_writable = self.is_writable && self.has_space;
        if is_writable { Ok(()) } else { Err(ErrorCode::KAFKA_STORAGE_ERROR) }
    }

    /// Appends a batch that is known to be sound, to a partition that is known to be here.
    pub(super) fn append_as_is(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        acks: i8,
        mut batch: BytesMut,
    ) -> Result<(ProducedPartition, Offset), ErrorCode> {
        self.check_writable()?;
        self.pay_flush(topic_partition)?;
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let known_count = state.log.producer_count();
        if state.log.replica().is_some() {
            return self.append_shared(now, topic_partition, acks, batch, known_count);
        }
        let may_hold =
            acks == -1 && state.log.config().acks_durable && self.held.has_room(batch.len());
        let appended = if may_hold {
            state.log.append_held(now, &mut batch)
        } else {
            state.log.append(now, &mut batch)
        };
        let appended = match appended {
            Ok(appended) => appended,
            Err(LogError::Sequence(SequenceError::Duplicate(earlier))) => {
                self.metrics.duplicate_count += 1;
                return Ok((written_earlier(&state.log, earlier), earlier.end_offset));
            }
            Err(why) => return Err(log_error(&why)),
        };
        let end_offset = appended.end_offset;
        let produced = ProducedPartition {
            error: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time: appended.log_append_time.unwrap_or(Timestamp::NONE),
            log_start_offset: state.log.start_offset(),
            bad_records: Vec::new(),
        };
        if !appended.is_written {
            self.held.hold(state, batch.len());
        }
        let is_stranger = known_count < state.log.producer_count();
        self.metrics.append_count += 1;
        self.metrics.append_bytes += batch.len() as u64;
        if state.log.config().acks_durable {
            let entry = appended.into_entry(topic_partition, batch.freeze());
            self.outputs.push_back(BackOutput::Persist(entry));
        } else {
            self.schedule_flush(now, topic_partition);
            self.raise_high_watermark(topic_partition, batch.len() as u64);
        }
        if is_stranger {
            self.producer_count += 1;
            self.bound_producers();
        }
        Ok((produced, end_offset))
    }

    /// The same, of a partition that has replicas elsewhere.
    fn append_shared(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        acks: i8,
        batch: BytesMut,
        known_count: usize,
    ) -> Result<(ProducedPartition, Offset), ErrorCode> {
        let bytes = batch.len() as u64;
        let appended = self.append_to_replica(now, topic_partition, acks, batch)?;
        if appended.is_repeated {
            self.metrics.duplicate_count += 1;
        } else {
            self.metrics.append_count += 1;
            self.metrics.append_bytes += bytes;
            self.flush_if_weak(now, topic_partition);
        }
        let state = self.partitions.get(&topic_partition).expect("appended to");
        if known_count < state.log.producer_count() {
            self.producer_count += 1;
            self.bound_producers();
        }
        let produced = ProducedPartition {
            bad_records: Vec::new(),
            error: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time: appended.log_append_time,
            log_start_offset: appended.log_start,
        };
        Ok((produced, appended.end_offset))
    }

    /// What acks do not wait for is brought to the disk in its own time.
    pub(super) fn flush_if_weak(&mut self, now: Now, topic_partition: TopicPartition) {
        let Some(state) = self.partitions.get(&topic_partition) else { return };
        let is_weak = !state.log.config().acks_durable;
        if is_weak && state.log.durable_offset() < state.log.end_offset() {
            self.schedule_flush(now, topic_partition);
        }
    }

    fn schedule_flush(&mut self, now: Now, topic_partition: TopicPartition) {
        let state = self.partitions.get_mut(&topic_partition).expect("appended to");
        if state.flush_at.is_none() && !state.is_flushing {
            let delay_ms = u64::try_from(state.log.config().flush_ms).unwrap_or(u64::MAX);
            let at = now.boot.plus_ms(delay_ms);
            state.flush_at = Some(at);
            self.flush_timers.insert((at, topic_partition));
        }
    }

    /// A commit of the flusher is on stable storage.
    pub fn flushed(&mut self, now: Now, flushed: &Flushed) {
        let topic_partition = flushed.topic_partition;
        if let Entry::Occupied(mut forgetting) = self.forgetting.entry(topic_partition) {
            *forgetting.get_mut() -= u32::from(flushed.is_forgotten);
            if *forgetting.get() == 0 {
                forgetting.remove();
            }
            return;
        }
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        if state.log.replica().is_some() {
            return self.flushed_replica(now, flushed);
        }
        if let Some(offset) = flushed.log_start_offset {
            state.log.mark_start_durable(offset);
            delete_dropped(state, now);
            self.complete_trims(topic_partition, offset);
        }
        let Some(durable_offset) = flushed.durable_offset else { return };
        let state = self.partitions.get_mut(&topic_partition).expect("found above");
        let before = state.high_watermark();
        state.log.mark_durable(durable_offset);
        self.held.committed(state);
        state.is_flushing = false;
        self.flush_if_weak(now, topic_partition);
        let state = self.partitions.get_mut(&topic_partition).expect("found above");
        let high_watermark = state.high_watermark();
        if before < high_watermark {
            // The bytes are not known here without a look-up; an estimate that is never too low
            // only makes a parked fetch look once more.
            self.raise_high_watermark(topic_partition, u64::MAX);
        }
        self.complete_produces(topic_partition);
        self.complete_group_writes(now, topic_partition);
    }

    fn flushed_replica(&mut self, now: Now, flushed: &Flushed) {
        let Flushed { topic_partition, durable_offset, log_start_offset, is_truncated, .. } =
            *flushed;
        let told = Input::Flushed { durable_end: durable_offset, log_start: log_start_offset };
        self.step_replica(now, topic_partition, told);
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        self.held.committed(state);
        if log_start_offset.is_some() {
            delete_dropped(state, now);
        }
        if durable_offset.is_some() {
            state.is_flushing = false;
            self.flush_if_weak(now, topic_partition);
        }
        if is_truncated {
            self.step_replica(now, topic_partition, Input::TruncationPersisted);
        }
    }

    pub(super) fn complete_produces(&mut self, topic_partition: TopicPartition) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        let high_watermark = state.high_watermark();
        let ready = state.waiting.iter().take_while(|(end, _)| *end <= high_watermark).count();
        let again = mutant::is_on(Mutant::CompletesTwice).then(|| state.waiting.clone());
        let requests: Vec<RequestId> = state.waiting.drain(..ready).map(|(_, r)| r).collect();
        state.waiting = again.unwrap_or_else(|| std::mem::take(&mut state.waiting));
        let is_enough = state.log.has_enough();
        let error = (!is_enough).then_some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
        for request in requests {
            self.produced(request, topic_partition, error);
        }
    }

    /// One waiting item of a parked produce is done, as it stands or with an error.
    fn produced(
        &mut self,
        request: RequestId,
        topic_partition: TopicPartition,
        error: Option<ErrorCode>,
    ) {
        let parked = self.produces.get_mut(&request).expect("a waiting item has a parked ask");
        let (place, produced) = parked.places.remove(&topic_partition).expect("it waits here");
        parked.done.push((place, error.map_or(produced, ProducedPartition::failed)));
        parked.waiting_count -= 1;
        if parked.waiting_count == 0 {
            let parked = self.produces.remove(&request).expect("found above");
            self.reply(request, ReplyBody::Produced(parked.done));
        }
    }

    pub(super) fn fail_waiting(
        &mut self,
        topic_partition: TopicPartition,
        state: &mut PartitionState<D>,
        error: ErrorCode,
    ) {
        for (_, request) in std::mem::take(&mut state.waiting) {
            self.produced(request, topic_partition, Some(error));
        }
        for (_, request) in std::mem::take(&mut state.trims) {
            self.trimmed(request, topic_partition, Err(error));
        }
    }
}

fn is_transactional(batch: &[u8]) -> bool {
    BatchHeader::parse(batch).is_ok_and(|header| header.attributes.is_transactional())
}

/// The answer to a batch that was sent once more: that of the first time.
fn written_earlier<D: Disk>(log: &Log<D>, earlier: Earlier) -> ProducedPartition {
    let is_stamped = log.config().message_timestamp_type == TimestampType::LogAppendTime;
    ProducedPartition {
        error: ErrorCode::NONE,
        base_offset: earlier.base_offset,
        log_append_time: if is_stamped { earlier.timestamp } else { Timestamp::NONE },
        log_start_offset: log.start_offset(),
        bad_records: Vec::new(),
    }
}

fn log_error(why: &LogError) -> ErrorCode {
    match why {
        LogError::Sequence(SequenceError::Duplicate(_)) => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        LogError::Sequence(SequenceError::OutOfOrder) => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        LogError::Sequence(SequenceError::StaleEpoch) => ErrorCode::INVALID_PRODUCER_EPOCH,
        LogError::BatchTooLarge => ErrorCode::RECORD_LIST_TOO_LARGE,
        LogError::DiskFull | LogError::OffsetsExhausted | LogError::Poisoned | LogError::Io(_) => {
            log::error!("append failed: {why}");
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}
