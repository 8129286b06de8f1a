//! Fetches: what lies below the high watermark, and watches where that is too little
//! (semantics.md 2.3).

use super::{Back, BackOutput, Load, Watch, check_epoch};
use crate::broker::mail::{Ask, AskBody, FetchAsk, FetchItem, Fetched, ReplyBody, RequestId};
use crate::ids::TopicPartition;
use crate::journal::disk::Disk;
use crate::log::ReadError;
use crate::time::Now;
use crate::wire::ErrorCode;

impl<D: Disk> Back<D> {
    pub(super) fn fetch(&mut self, now: Now, request: RequestId, fetch: FetchAsk) {
        // A later round replaces the watch of the one before.
        self.unwatch(request);
        let mut items = Vec::with_capacity(fetch.items.len());
        let mut left_bytes = fetch.max_bytes;
        let mut total_bytes = 0;
        let mut has_error = false;
        for item in &fetch.items {
            let fetched = match self.read(item, left_bytes, total_bytes == 0) {
                Ok(fetched) => fetched,
                Err(why) if self.must_load(item.topic_partition, &why) => {
                    let topic_partition = item.topic_partition;
                    let ask = Ask { request, body: AskBody::Fetch(fetch) };
                    self.load(ask, topic_partition, why);
                    return;
                }
                Err(ReadError::OffsetOutOfRange) => Fetched::failed(self.out_of_range(now, item)),
                Err(why) => Fetched::failed(self.read_failed(item.topic_partition, &why)),
            };
            has_error |= !fetched.error.is_ok();
            total_bytes += fetched.bytes();
            left_bytes = left_bytes.saturating_sub(fetched.bytes());
            items.push((item.place, fetched));
        }
        self.metrics.fetch_count += 1;
        self.metrics.fetch_bytes += total_bytes;
        let is_watching = match fetch.watch {
            Some(watch) if !has_error && total_bytes < watch.enough_bytes => {
                let missing = watch.enough_bytes - total_bytes;
                self.watch(request, &fetch.items, missing.div_ceil(watch.shard_count.max(1)));
                true
            }
            _ => false,
        };
        self.reply(request, ReplyBody::Fetched { items, is_watching });
    }

    pub(super) fn read(
        &mut self,
        item: &FetchItem,
        left_bytes: u64,
        at_least_one: bool,
    ) -> Result<Fetched<D::File>, ReadError<D::File>> {
        let Some(state) = self.partitions.get(&item.topic_partition) else {
            return Ok(Fetched::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let epoch_error = check_epoch(item.current_leader_epoch, state.log.known_epoch());
        if !epoch_error.is_ok() {
            return Ok(Fetched::failed(epoch_error));
        }
        if !state.log.leads() {
            let refusal = state.log.check_follower_read(item.offset, item.may_follow);
            if !refusal.is_ok() {
                return Ok(Fetched::failed(refusal));
            }
        }
        let high_watermark = state.high_watermark();
        let max_bytes = u64::from(item.max_bytes).min(left_bytes);
        let slice = state.log.read(item.offset, max_bytes, high_watermark, at_least_one)?;
        Ok(Fetched {
            error: ErrorCode::NONE,
            high_watermark,
            log_start_offset: state.log.start_offset(),
            slice: (0 < slice.bytes).then_some(slice),
        })
    }

    /// A leader that was deposed and has not heard of it has less than was read already.
    fn out_of_range(&mut self, now: Now, item: &FetchItem) -> ErrorCode {
        let state = self.partitions.get_mut(&item.topic_partition);
        let is_behind = state.as_ref().is_some_and(|state| state.log.end_offset() < item.offset);
        let Some(kept) = state.filter(|_| is_behind).and_then(|state| state.log.kept_replica())
        else {
            return ErrorCode::OFFSET_OUT_OF_RANGE;
        };
        let error = kept.replica.refuse_offset(now, item.offset);
        self.pump_replica(now, item.topic_partition);
        error
    }

    /// Whether a read waits for bytes that can still be had.
    pub(super) fn must_load(
        &self,
        topic_partition: TopicPartition,
        why: &ReadError<D::File>,
    ) -> bool {
        matches!(why, ReadError::Cold { segment, .. }
            if self.lost != Some((topic_partition, *segment)))
    }

    pub(super) fn load(
        &mut self,
        ask: Ask,
        topic_partition: TopicPartition,
        why: ReadError<D::File>,
    ) {
        let ReadError::Cold { segment, file, position, bytes } = why else { return };
        let token = self.next_token;
        self.next_token += 1;
        self.cold.insert(token, (ask, topic_partition, segment));
        self.metrics.cold_read_count += 1;
        self.outputs.push_back(BackOutput::Load(Load { token, file, position, bytes }));
    }

    /// Bytes asked for by [`BackOutput::Load`] are in the page cache, or the disk has lost them:
    /// then the read fails rather than ask for ever.
    pub fn loaded(&mut self, now: Now, token: u64, is_lost: bool) {
        if self.replica_bytes_loaded(now, token, is_lost) {
            return;
        }
        if let Some((ask, topic_partition, segment)) = self.cold.remove(&token) {
            self.lost = is_lost.then_some((topic_partition, segment));
            self.ask(now, ask);
            self.lost = None;
        } else {
            self.group_bytes_loaded(now, token, is_lost);
        }
    }

    pub(super) fn watch(&mut self, request: RequestId, items: &[FetchItem], need_bytes: u64) {
        let topic_partitions: Vec<_> = items.iter().map(|item| item.topic_partition).collect();
        for topic_partition in &topic_partitions {
            let state = self.partitions.get_mut(topic_partition).expect("read without error");
            state.watchers.push(request);
        }
        self.watches.insert(request, Watch { topic_partitions, need_bytes });
    }

    /// A watch, or the answers of a parked group request, are no longer wanted.
    pub fn unwatch(&mut self, request: RequestId) {
        self.groups.forget(request);
        let Some(watch) = self.watches.remove(&request) else { return };
        for topic_partition in watch.topic_partitions {
            if let Some(state) = self.partitions.get_mut(&topic_partition) {
                state.watchers.retain(|watcher| *watcher != request);
            }
        }
    }

    pub(super) fn raise_high_watermark(&mut self, topic_partition: TopicPartition, bytes: u64) {
        let state = self.partitions.get(&topic_partition).expect("its offset rose");
        let mut reached = Vec::new();
        for request in &state.watchers {
            let watch = self.watches.get_mut(request).expect("a watcher has a watch");
            watch.need_bytes = watch.need_bytes.saturating_sub(bytes);
            if watch.need_bytes == 0 {
                reached.push(*request);
            }
        }
        for request in reached {
            self.progress(request);
        }
    }

    pub(super) fn progress(&mut self, request: RequestId) {
        self.unwatch(request);
        self.outputs.push_back(BackOutput::Progress(request));
    }
}
