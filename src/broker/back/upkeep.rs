//! What a partition needs from time to time: its flush, retention, verification, fewer open files.

use super::{Back, BackOutput, Load, NOBODY, PartitionState};
use crate::broker::scrub::ScrubJob;
use crate::ids::{Offset, TopicPartition};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{FlushTarget, Log, ReadError, Scrubbed};
use crate::time::Now;
use crate::wire::ErrorCode;

impl<D: Disk> Back<D> {
    /// Has the next sealed segment verified, if the pass is not over.
    pub(super) fn scrub_next(&mut self, now: Now) {
        let first = self.scrub.partition().unwrap_or_default();
        for (&topic_partition, state) in self.partitions.range(first..) {
            match state.log.scrub(self.scrub.segment_in(topic_partition)) {
                Ok(Some(scrub)) => {
                    self.scrub.begin(now.boot, topic_partition, scrub.segment());
                    let job = ScrubJob { topic_partition, scrub };
                    return self.outputs.push_back(BackOutput::Scrub(job));
                }
                Ok(None) => {}
                Err(why) => log::error!("{}: the scrub cannot read it: {why}", state.log.name()),
            }
        }
        self.scrub.end_pass(now.boot);
    }

    /// A part of a segment was verified; `None` when it could not be read.
    pub fn scrubbed(&mut self, now: Now, job: ScrubJob<D::File>, found: Option<Scrubbed>) {
        let (topic_partition, segment) = (job.topic_partition, job.scrub.segment());
        let state = self.partitions.get(&topic_partition);
        // Compaction may have put another in its place.
        let is_there = state.is_some_and(|state| state.log.has_scrubbed(&job.scrub));
        if found == Some(Scrubbed::Going) && is_there && self.scrub.is_wanted() {
            // A segment that was deleted meanwhile is let go: its room may be needed.
            return self.outputs.push_back(BackOutput::Scrub(job));
        }
        self.scrub.go_on(now.boot);
        self.metrics.scrub_segment_count += u64::from(found == Some(Scrubbed::Sound));
        if let Some(Scrubbed::Damaged { position, .. }) = found.filter(|_| is_there) {
            self.suspect(topic_partition, segment, Some(position));
        }
    }

    /// Has it written down that a segment is damaged, when that is news.
    pub(super) fn suspect(
        &mut self,
        topic_partition: TopicPartition,
        segment: Offset,
        position: Option<u64>,
    ) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        let Some(note) = state.log.note_suspect(segment) else { return };
        let place = position.map_or(String::new(), |position| format!(" at byte {position}"));
        log::error!(
            "{}-{}: segment {segment} is damaged{place}; the next start scans it, keeps what is \
             good and names what is lost",
            state.log.name(),
            topic_partition.partition
        );
        self.metrics.damage_found_count += 1;
        if state.log.replica().is_some() {
            self.replicas.suspect(topic_partition, segment);
        }
        self.outputs.push_back(BackOutput::Note(note));
    }

    /// The answer to a read that failed. Damage that it met is taken note of.
    pub(super) fn read_failed(
        &mut self,
        topic_partition: TopicPartition,
        why: &ReadError<D::File>,
    ) -> ErrorCode {
        match why {
            ReadError::OffsetOutOfRange => return ErrorCode::OFFSET_OUT_OF_RANGE,
            // What is cold even after it was loaded cannot be read.
            ReadError::Damaged { segment, position }
            | ReadError::Cold { segment, position, .. } => {
                self.suspect(topic_partition, *segment, Some(*position));
            }
            ReadError::Io(_) => {}
        }
        ErrorCode::KAFKA_STORAGE_ERROR
    }

    /// Sealed segments are opened again when they are read, so closing them costs little.
    pub(super) fn close_handles(&mut self) {
        let open: usize = self.partitions.values().map(|state| state.log.handle_count()).sum();
        if self.handles_max < open {
            self.partitions.values_mut().for_each(|state| state.log.close_idle_handles());
        }
    }

    pub(super) fn flush_weak(&mut self, topic_partition: TopicPartition) -> Result<(), ErrorCode> {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return Ok(()) };
        state.flush_at = None;
        if state.log.is_cutting() {
            // What is appended behind the cut has it flushed again.
            return Ok(());
        }
        let targets = state.log.flush_targets().map_err(|why| {
            log::error!("a flush of {} failed: {why}", state.log.name());
            ErrorCode::KAFKA_STORAGE_ERROR
        })?;
        state.is_flushing = !targets.is_empty();
        for FlushTarget { segment, end_offset, position_end } in targets {
            let entry = Entry::Flush { topic_partition, end_offset, segment, position_end };
            self.outputs.push_back(BackOutput::Persist(entry));
        }
        Ok(())
    }

    pub(super) fn expire_all(&mut self, now: Now) {
        for (topic_partition, state) in &mut self.partitions {
            if state.log.is_cutting() {
                continue;
            }
            let high_watermark = state.high_watermark();
            match state.log.expire(now, high_watermark) {
                Ok(Some(raised)) => {
                    let entry = Entry::State { topic_partition: *topic_partition, state: raised };
                    self.outputs.push_back(BackOutput::Persist(entry));
                }
                Ok(None) => {}
                Err(why) => log::error!("retention of {}: {why}", state.log.name()),
            }
            if let Some((file, position, bytes)) = state.log.take_cold() {
                // Loaded for the next check: nobody waits for it.
                let load = Load { token: NOBODY, file, position, bytes };
                self.outputs.push_back(BackOutput::Load(load));
            }
            if let Some(note) = state.log.note_producers(now) {
                self.outputs.push_back(BackOutput::NoteProducers(*topic_partition, note));
            }
            delete_expired(&mut state.log, now);
            state.log.expire_producers(now, self.producer_id_expiration_ms);
        }
    }

    /// Keeps short what a start must read to know who wrote last.
    pub(super) fn save_producers(&mut self, now: Now) {
        self.partitions.values_mut().for_each(|state| state.log.maybe_save_producers(now));
    }

    /// What is known of a partition's producers is on stable storage, up to `at`.
    pub fn producers_noted(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        at: Option<Offset>,
    ) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        // What cannot be kept is not kept: retention goes on, and room is made.
        let at = at.unwrap_or(state.log.start_offset());
        state.log.mark_producers_durable(at);
        delete_dropped(state, now);
    }

    /// Makes room by giving up the oldest segment of the largest log, at the latest when the disk
    /// is full (`disk.full.policy = "delete-oldest"`). While one is on its way out it is the only
    /// one: its room is not seen before. Answers whether one goes.
    pub fn give_up_oldest(&mut self, now: Now) -> bool {
        if self.partitions.values().any(|state| state.gives_up) {
            return true;
        }
        // What is only compacted holds the last word on each key, and what groups have committed is
        // small: neither is old, nor made again by whoever measures.
        let candidates = self.partitions.iter_mut().filter(|(topic_partition, state)| {
            state.log.config().cleanup_policy.delete
                && 1 < state.log.segment_count()
                && !state.log.is_cutting()
                && !self.groups.has(**topic_partition)
        });
        let Some((topic_partition, state)) = candidates.max_by_key(|(_, s)| s.log.size_bytes())
        else {
            return false;
        };
        let high_watermark = state.high_watermark();
        let Ok(Some(raised)) = state.log.expire_oldest(now, high_watermark) else { return false };
        state.gives_up = true;
        if let Some(note) = state.log.note_producers(now) {
            self.outputs.push_back(BackOutput::NoteProducers(*topic_partition, note));
        }
        let entry = Entry::State { topic_partition: *topic_partition, state: raised };
        self.outputs.push_back(BackOutput::Persist(entry));
        true
    }
}

/// Removes the files of dropped segments that nothing holds back any more.
pub(super) fn delete_dropped<D: Disk>(state: &mut PartitionState<D>, now: Now) {
    delete_expired(&mut state.log, now);
    if state.gives_up && !state.log.is_holding_back() {
        state.gives_up = false;
        // The disk is full: the room is needed now, not after `file.delete.delay.ms`.
        if let Err(why) = state.log.delete_at_once(now) {
            log::error!("deletion in {}: {why}", state.log.name());
        }
    }
}

fn delete_expired<D: Disk>(log: &mut Log<D>, now: Now) {
    if let Err(why) = log.delete_expired(now) {
        log::error!("deletion in {}: {why}", log.name());
    }
}
