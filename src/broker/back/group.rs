//! Consumer groups: the coordinators of the partitions of `__consumer_offsets` that live here.
//!
//! ```text
//! adopted ──► loading: the log is replayed, a slice a turn ──► all of it is committed ──► serving
//! ask ──► coordinator ──► append ──► flusher ──► durable ──► coordinator ──► answer
//! ```
//!
//! A coordinator's answer may come at once, with a commit, or after minutes (a member that joins
//! waits for the others). An ask of the last kind is told "not yet", which gives its credit back;
//! the front asks for the answers when it hears that they are there.
//!
//! **Invariant:** a coordinator serves only after every record of its log was replayed and the high
//! watermark is behind the last of them: a new leader may have records that the next one lacks, and
//! nobody is told of those. It passes over what is damaged here, and serves without only where no
//! other replica in sync may have it: else that one is about to lead. What a request wrote is
//! answered when it is durable. Nothing but coordinators appends to these logs.
//!
//! Read semantics.md 2.18 and 2.20 before editing.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;

use super::{Back, BackOutput, Load};
use crate::broker::groups::refusal;
use crate::broker::mail::{GroupAsk, GroupItem, Place, ReplyBody, RequestId};
use crate::controller::OFFSETS_TOPIC;
use crate::group::{Caller, Coordinator, GroupOutput, GroupRules};
use crate::group_config::GroupOverrides;
use crate::ids::{Offset, TopicId, TopicPartition};
use crate::journal::disk::{Disk, DiskFile};
use crate::limits::{DECOMPRESSED_BYTES_ALWAYS, GROUP_ASKS_MAX, GROUP_LOAD_BYTES};
use crate::log::{ReadError, Slice};
use crate::record::{Batch, Records, decompress};
use crate::replica::Input;
use crate::time::{Boot, Now};
use crate::wire::{ApiKey, ErrorCode};

/// All groups of one shard.
pub(super) struct Groups {
    rules: GroupRules,
    seed: u64,
    /// Coordinators that were taken over in this process.
    adopted_count: u64,
    hosted: BTreeMap<TopicPartition, Hosted>,
    asks: BTreeMap<RequestId, GroupWait>,
    /// Which item of which ask a coordinator will answer, and whose it is.
    tokens: BTreeMap<u64, (RequestId, Place, TopicPartition)>,
    next_token: u64,
    /// Cold bytes that a load waits for: from which offset it goes on, and where in the segment.
    cold: BTreeMap<u64, (TopicPartition, Offset, u64)>,
}

/// A coordinator, and what its log has to do with it.
struct Hosted {
    coordinator: Coordinator,
    stage: Stage,
    /// Writes that are in the log and not yet durable: their end, and the coordinator's name for
    /// them. In offset order.
    writes: VecDeque<(Offset, u64)>,
}

enum Stage {
    /// The records below `next` are replayed.
    Loading {
        next: Offset,
        waits_for: Option<Lacking>,
        /// Topics that were deleted meanwhile.
        deleted: Vec<Box<str>>,
    },
    Serving,
}

/// What a load cannot go on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    /// Bytes are on their way into the page cache.
    Bytes,
    /// All is replayed, and the high watermark is not behind it yet.
    Commit,
    /// All is replayed but what is damaged here, which others may have: one of them is to lead.
    Successor,
}

/// An ask that is not answered yet.
struct GroupWait {
    done: Vec<(Place, Vec<u8>)>,
    tokens: Vec<u64>,
    waiting_count: usize,
    /// The front was told to wait for a notice.
    is_parked: bool,
}

impl Groups {
    pub(super) fn new(rules: GroupRules, seed: u64) -> Groups {
        Groups {
            rules,
            seed,
            adopted_count: 0,
            hosted: BTreeMap::new(),
            asks: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            cold: BTreeMap::new(),
        }
    }

    /// Takes the coordinator of a partition over; its log holds nothing below `start`.
    pub(super) fn adopt(&mut self, topic_partition: TopicPartition, start: Offset) {
        let seed = self.next_seed(topic_partition);
        let hosted = Hosted {
            coordinator: Coordinator::new(self.rules.clone(), seed),
            stage: Stage::Loading { next: start, waits_for: None, deleted: Vec::new() },
            writes: VecDeque::new(),
        };
        self.hosted.insert(topic_partition, hosted);
    }

    /// Member ids are drawn from the seed, and must differ between coordinators, between boots, and
    /// from those that the same partition's coordinator gave out here when it was here before.
    fn next_seed(&mut self, topic_partition: TopicPartition) -> u64 {
        self.adopted_count += 1;
        let time = self.adopted_count.wrapping_mul(0xd1b5_4a32_d192_ed03);
        self.seed ^ (topic_partition.partition.0 as u64).rotate_left(32) ^ time
    }

    pub(super) fn reconfigure(&mut self, rules: &GroupRules) {
        self.rules = rules.clone();
        for hosted in self.hosted.values_mut() {
            hosted.coordinator.reconfigure(rules.clone());
        }
    }

    pub(super) fn configure_group(&mut self, group_id: &str, own: GroupOverrides) {
        self.rules.configure_group(group_id, own);
        for hosted in self.hosted.values_mut() {
            hosted.coordinator.configure_group(group_id, own);
        }
    }

    /// Groups in all.
    pub(super) fn group_count(&self) -> u64 {
        self.hosted.values().map(|hosted| hosted.coordinator.group_count() as u64).sum()
    }

    /// Whether a partition has a coordinator.
    pub(super) fn has(&self, topic_partition: TopicPartition) -> bool {
        self.hosted.contains_key(&topic_partition)
    }

    pub(super) fn next_deadline(&self) -> Boot {
        let due = |hosted: &Hosted| match hosted.stage {
            Stage::Loading { waits_for: None, .. } => Boot(0),
            Stage::Loading { .. } => Boot::NEVER,
            Stage::Serving => hosted.coordinator.next_deadline(),
        };
        self.hosted.values().map(due).min().unwrap_or(Boot::NEVER)
    }

    /// The front no longer wants the answers of an ask.
    pub(super) fn forget(&mut self, request: RequestId) {
        let Some(wait) = self.asks.remove(&request) else { return };
        for token in wait.tokens {
            self.tokens.remove(&token);
        }
    }
}

impl<D: Disk> Back<D> {
    pub(super) fn ask_groups(&mut self, now: Now, request: RequestId, ask: GroupAsk) {
        let GroupAsk { api, client_id, client_host, items } = ask;
        let wait = GroupWait {
            done: Vec::new(),
            tokens: Vec::new(),
            waiting_count: items.len(),
            is_parked: false,
        };
        let has_room = self.groups.asks.len() < GROUP_ASKS_MAX;
        self.groups.asks.insert(request, wait);
        let caller = Caller { client_id: &client_id, client_host: &client_host };
        for item in items {
            let refused = match has_room {
                true => self.ask_group(now, request, caller, api, &item),
                false => Some(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            };
            if let Some(error) = refused {
                self.group_done(request, item.place, refusal(api, &item.body, error));
            }
        }
        // A rebalance may take minutes: its waiters keep no credit.
        if matches!(api, ApiKey::JoinGroup | ApiKey::SyncGroup) {
            if let Some(wait) = self.groups.asks.get_mut(&request) {
                wait.is_parked = true;
                self.reply(request, ReplyBody::Group { items: Vec::new(), is_parked: true });
            }
        }
    }

    /// Gives a request to its coordinator, or says why not.
    fn ask_group(
        &mut self,
        now: Now,
        request: RequestId,
        caller: Caller<'_>,
        api: ApiKey,
        item: &GroupItem,
    ) -> Option<ErrorCode> {
        let Some(hosted) = self.groups.hosted.get_mut(&item.topic_partition) else {
            return Some(ErrorCode::NOT_COORDINATOR);
        };
        let token = self.groups.next_token;
        self.groups.next_token += 1;
        self.groups.tokens.insert(token, (request, item.place, item.topic_partition));
        let wait = self.groups.asks.get_mut(&request).expect("its items are not all answered");
        wait.tokens.push(token);
        if hosted.coordinator.handle(now, token, caller, api, &item.body).is_err() {
            self.groups.tokens.remove(&token);
            return Some(ErrorCode::INVALID_REQUEST);
        }
        self.pump_group(now, item.topic_partition);
        None
    }

    /// Hands over the answers of an ask that was parked.
    pub(super) fn take_group_answers(&mut self, request: RequestId) {
        let items = self.groups.asks.remove(&request).map(|wait| wait.done).unwrap_or_default();
        self.reply(request, ReplyBody::Group { items, is_parked: false });
    }

    fn group_answered(&mut self, token: u64, body: Vec<u8>) {
        // Whoever asked may be gone.
        if let Some((request, place, _)) = self.groups.tokens.remove(&token) {
            self.group_done(request, place, body);
        }
    }

    fn group_done(&mut self, request: RequestId, place: Place, body: Vec<u8>) {
        let wait = self.groups.asks.get_mut(&request).expect("an item that waits has an ask");
        wait.done.push((place, body));
        wait.waiting_count -= 1;
        if 0 < wait.waiting_count {
            return;
        }
        if wait.is_parked {
            self.outputs.push_back(BackOutput::Progress(request));
        } else {
            self.take_group_answers(request);
        }
    }

    /// Does what a coordinator wants done.
    fn pump_group(&mut self, now: Now, topic_partition: TopicPartition) {
        while let Some(hosted) = self.groups.hosted.get_mut(&topic_partition) {
            match hosted.coordinator.poll() {
                None => return,
                Some(GroupOutput::Answer { token, body }) => self.group_answered(token, body),
                Some(GroupOutput::Append { write, batch }) => {
                    self.write_group(now, topic_partition, write, &batch);
                }
            }
        }
    }

    fn write_group(&mut self, now: Now, topic_partition: TopicPartition, write: u64, batch: &[u8]) {
        let appended = self.append_group(now, topic_partition, batch);
        let hosted = self.groups.hosted.get_mut(&topic_partition).expect("it asked for it");
        match appended {
            Ok((base_offset, end_offset)) => {
                hosted.writes.push_back((end_offset, write));
                hosted.coordinator.appended(now, write, base_offset);
                self.settle_group_writes(now, topic_partition);
            }
            Err(error) => hosted.coordinator.committed(now, write, Err(error)),
        }
    }

    /// Appends a batch of a coordinator's own: there is nothing to check in it but its size.
    fn append_group(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        batch: &[u8],
    ) -> Result<(Offset, Offset), ErrorCode> {
        let state = self.partitions.get(&topic_partition).ok_or(ErrorCode::NOT_COORDINATOR)?;
        if (state.log.config().max_message_bytes as usize) < batch.len() {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let (produced, end_offset) =
            self.append_as_is(now, topic_partition, -1, BytesMut::from(batch))?;
        Ok((produced.base_offset, end_offset))
    }

    /// More of a log is durable: its coordinator, if it has one, goes on.
    pub(super) fn complete_group_writes(&mut self, now: Now, topic_partition: TopicPartition) {
        self.settle_group_writes(now, topic_partition);
        self.resume_load(topic_partition);
        self.pump_group(now, topic_partition);
    }

    /// Tells a coordinator which of its writes are durable.
    fn settle_group_writes(&mut self, now: Now, topic_partition: TopicPartition) {
        let Some(state) = self.partitions.get(&topic_partition) else { return };
        let high_watermark = state.high_watermark();
        let Some(hosted) = self.groups.hosted.get_mut(&topic_partition) else { return };
        while let Some(&(end_offset, write)) = hosted.writes.front() {
            if high_watermark < end_offset {
                break;
            }
            hosted.writes.pop_front();
            hosted.coordinator.committed(now, write, Ok(()));
        }
    }

    /// A load that is over but for what others are to do goes on when they have done it.
    pub(super) fn resume_load(&mut self, topic_partition: TopicPartition) {
        let Some(hosted) = self.groups.hosted.get_mut(&topic_partition) else { return };
        let Stage::Loading { next, waits_for, .. } = &mut hosted.stage else { return };
        let state = self.partitions.get(&topic_partition).expect("a coordinator has a log");
        let is_done = match waits_for {
            Some(Lacking::Commit) => *next <= state.high_watermark(),
            Some(Lacking::Successor) => !state.log.gives_way(),
            Some(Lacking::Bytes) | None => false,
        };
        if is_done {
            *waits_for = None;
        }
    }

    /// What was written is not going to be durable.
    pub(super) fn fail_group_writes(&mut self, now: Now, error: ErrorCode) {
        let hosted: Vec<_> = self.groups.hosted.keys().copied().collect();
        for topic_partition in hosted {
            let hosted = self.groups.hosted.get_mut(&topic_partition).expect("listed just now");
            for (_, write) in std::mem::take(&mut hosted.writes) {
                hosted.coordinator.committed(now, write, Err(error));
            }
            self.pump_group(now, topic_partition);
        }
    }

    /// The coordinator of a partition goes with it. An answer without a body tells the client to
    /// look for the coordinator anew.
    pub(super) fn retire_group(&mut self, topic_partition: TopicPartition) {
        if self.groups.hosted.remove(&topic_partition).is_none() {
            return;
        }
        let asked = self.groups.tokens.iter().filter(|(_, asked)| asked.2 == topic_partition);
        let tokens: Vec<u64> = asked.map(|(token, _)| *token).collect();
        for token in tokens {
            self.group_answered(token, Vec::new());
        }
    }

    /// Nothing that is answered here can be durable any more, and others may coordinate by now
    /// without our hearing of it: whoever asks looks for them.
    pub(super) fn retire_all_groups(&mut self) {
        let hosted: Vec<_> = self.groups.hosted.keys().copied().collect();
        for topic_partition in hosted {
            self.retire_group(topic_partition);
        }
    }

    /// Groups forget what they committed of a topic that is gone.
    pub fn forget_topic(&mut self, now: Now, name: &str) {
        let hosted: Vec<_> = self.groups.hosted.keys().copied().collect();
        for topic_partition in hosted {
            let hosted = self.groups.hosted.get_mut(&topic_partition).expect("listed just now");
            hosted.coordinator.topic_gone(name);
            match &mut hosted.stage {
                Stage::Loading { deleted, .. } => deleted.push(name.into()),
                Stage::Serving => hosted.coordinator.topic_deleted(now, name),
            }
            self.pump_group(now, topic_partition);
        }
    }

    /// Groups that are assigned partitions here hear of a topic and how many it has.
    pub fn note_topic(&mut self, name: &str, topic_id: TopicId, partition_count: i32) {
        for hosted in self.groups.hosted.values_mut() {
            hosted.coordinator.topic_changed(name, topic_id, partition_count);
        }
    }

    pub(super) fn tick_groups(&mut self, now: Now) {
        let due: Vec<_> = self.groups.hosted.keys().copied().collect();
        let mut has_loaded = false;
        for topic_partition in due {
            let hosted = self.groups.hosted.get_mut(&topic_partition).expect("listed just now");
            match hosted.stage {
                // One slice a turn: the connections want their turns too.
                Stage::Loading { waits_for: None, .. } if !has_loaded => {
                    self.load_group(now, topic_partition);
                    has_loaded = true;
                }
                Stage::Serving if hosted.coordinator.next_deadline() <= now.boot => {
                    hosted.coordinator.tick(now);
                    self.pump_group(now, topic_partition);
                }
                Stage::Loading { .. } | Stage::Serving => {}
            }
        }
    }

    // Loading.

    /// Replays the next slice of a coordinator's log.
    fn load_group(&mut self, now: Now, topic_partition: TopicPartition) {
        let hosted = self.groups.hosted.get(&topic_partition).expect("found by the caller");
        let Stage::Loading { next, .. } = hosted.stage else { return };
        let state = self.partitions.get(&topic_partition).expect("a coordinator has a log");
        let (next, end) = (next.max(state.log.start_offset()), state.log.end_offset());
        match state.log.read(next, GROUP_LOAD_BYTES, end, true) {
            Ok(slice) if slice.bytes == 0 => self.group_replayed(now, topic_partition),
            Ok(slice) => self.replay_slice(now, topic_partition, next, &slice),
            Err(ReadError::Cold { file, position, bytes, .. }) => {
                self.load_group_later(topic_partition, next, file, position, bytes);
            }
            Err(why) => {
                log::error!("{}-{}: {why}", state.log.name(), topic_partition.partition);
                self.read_failed(topic_partition, &why);
                self.skip_damage(now, topic_partition, next, 0);
            }
        }
    }

    /// Has a slice loaded, and goes on when it is there.
    fn load_group_later(
        &mut self,
        topic_partition: TopicPartition,
        next: Offset,
        file: D::File,
        position: u64,
        bytes: u64,
    ) {
        let token = self.next_token;
        self.next_token += 1;
        self.groups.cold.insert(token, (topic_partition, next, position));
        self.set_loading(topic_partition, next, Some(Lacking::Bytes));
        self.outputs.push_back(BackOutput::Load(Load { token, file, position, bytes }));
    }

    /// Bytes that a load waited for are there, or the disk has lost them.
    pub(super) fn group_bytes_loaded(&mut self, now: Now, token: u64, is_lost: bool) {
        let Some((topic_partition, next, position)) = self.groups.cold.remove(&token) else {
            return;
        };
        if !self.groups.has(topic_partition) {
            return;
        }
        if is_lost {
            self.skip_damage(now, topic_partition, next, position);
        } else {
            self.set_loading(topic_partition, next, None);
        }
    }

    fn set_loading(
        &mut self,
        topic_partition: TopicPartition,
        to: Offset,
        lacking: Option<Lacking>,
    ) {
        let hosted = self.groups.hosted.get_mut(&topic_partition).expect("it is loading");
        if let Stage::Loading { next, waits_for, .. } = &mut hosted.stage {
            *next = to;
            *waits_for = lacking;
        }
    }

    fn replay_slice(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        next: Offset,
        slice: &Slice<D::File>,
    ) {
        let mut bytes = vec![0; slice.bytes as usize];
        match slice.file.try_read_at(&mut bytes, slice.position) {
            Ok(read) if read == bytes.len() => {}
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {
                let (file, position) = (slice.file.clone(), slice.position);
                return self.load_group_later(topic_partition, next, file, position, slice.bytes);
            }
            Ok(_) | Err(_) => {
                return self.skip_damage(now, topic_partition, next, slice.position);
            }
        }
        let hosted = self.groups.hosted.get_mut(&topic_partition).expect("it is loading");
        let mut damaged_at = None;
        let mut rest = &bytes[..];
        while let Ok((batch, behind)) = Batch::split_first(rest) {
            if batch.crc_is_valid() {
                replay_batch(&mut hosted.coordinator, now, &batch, topic_partition);
            } else {
                damaged_at = damaged_at.or(Some(bytes.len() - rest.len()));
            }
            rest = behind;
        }
        self.set_loading(topic_partition, slice.end_offset, None);
        if let Some(at) = damaged_at {
            self.note_damage(now, topic_partition, next, slice.position + at as u64);
        }
    }

    /// What holds `offset` is damaged at a byte: the replica is to know before anyone is served.
    fn note_damage(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        offset: Offset,
        position: u64,
    ) {
        let state = self.partitions.get(&topic_partition).expect("a coordinator has a log");
        let segment = state.log.segment_of(offset);
        self.suspect(topic_partition, segment, Some(position));
        self.step_replica(now, topic_partition, Input::Damaged(segment));
    }

    /// Goes on behind what cannot be read: a group that begins again where it was earlier is worth
    /// more than no groups at all, on a board that nobody looks after.
    fn skip_damage(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        next: Offset,
        position: u64,
    ) {
        self.note_damage(now, topic_partition, next, position);
        let state = self.partitions.get(&topic_partition).expect("a coordinator has a log");
        match state.log.segment_after(next) {
            Some(base) => self.set_loading(topic_partition, base, None),
            None => self.group_replayed(now, topic_partition),
        }
    }

    /// Nothing is left to replay: the coordinator serves, at once or when all of it is committed; or
    /// another one does, if something is damaged here.
    fn group_replayed(&mut self, now: Now, topic_partition: TopicPartition) {
        let state = self.partitions.get(&topic_partition).expect("a coordinator has a log");
        let (high_watermark, end) = (state.high_watermark(), state.log.end_offset());
        if state.log.gives_way() {
            self.set_loading(topic_partition, end, Some(Lacking::Successor));
        } else if high_watermark < end {
            self.set_loading(topic_partition, end, Some(Lacking::Commit));
        } else {
            self.group_loaded(now, topic_partition);
        }
    }

    fn group_loaded(&mut self, now: Now, topic_partition: TopicPartition) {
        let hosted = self.groups.hosted.get_mut(&topic_partition).expect("it is loading");
        let before = std::mem::replace(&mut hosted.stage, Stage::Serving);
        hosted.coordinator.loaded(now);
        let group_count = hosted.coordinator.group_count();
        if 0 < group_count {
            let partition = topic_partition.partition;
            log::info!("{OFFSETS_TOPIC}-{partition}: {group_count} groups");
        }
        if let Stage::Loading { deleted, .. } = before {
            for name in deleted {
                hosted.coordinator.topic_deleted(now, &name);
            }
        }
        self.pump_group(now, topic_partition);
    }
}

/// Replays the records of a batch. What a later software wrote is left out.
fn replay_batch(
    coordinator: &mut Coordinator,
    now: Now,
    batch: &Batch<'_>,
    topic_partition: TopicPartition,
) {
    let header = batch.header();
    let place = topic_partition.partition;
    if header.attributes.is_control() {
        return;
    }
    let Ok(section) = decompress(batch, DECOMPRESSED_BYTES_ALWAYS) else {
        log::error!(
            "{OFFSETS_TOPIC}-{place}: the batch at {} does not decompress",
            header.base_offset
        );
        return;
    };
    for record in Records::new(header, &section) {
        let Ok(record) = record else {
            log::error!(
                "{OFFSETS_TOPIC}-{place}: the batch at {} is malformed",
                header.base_offset
            );
            return;
        };
        let Some(key) = record.key else { continue };
        let (offset, timestamp) = (record.offset, record.timestamp);
        if coordinator.replay(now, offset, timestamp, key, record.value).is_err() {
            log::warn!(
                "{OFFSETS_TOPIC}-{place}: the record at {offset} is not understood, left out"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::Partition;

    /// Found by tests/sim: a coordinator that went and came back drew the same names anew, and gave the
    /// name of a member that was still there to another.
    #[test]
    fn a_coordinator_that_comes_back_draws_other_names() {
        let mut groups = Groups::new(GroupRules::default(), 7);
        let place = |number: i32| TopicPartition {
            partition: Partition(number % 3),
            ..TopicPartition::default()
        };
        let seeds: BTreeSet<u64> = (0..30).map(|number| groups.next_seed(place(number))).collect();
        assert_eq!(seeds.len(), 30);
    }
}
