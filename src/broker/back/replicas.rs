//! The partitions of a shard that have replicas on other nodes: what their replicas want done, and
//! what of it concerns clients.
//!
//! A replica says that its high watermark rose; produces, fetches and coordinators that wait for it
//! are this shard's. When it no longer leads they are told to look elsewhere, and its coordinator,
//! if it has one, ends; the replica that leads then replays the same log.
//!
//! **Invariant:** a replica's outputs are taken after each of its steps, in order. What depends on an
//! entry's being durable waits for the flusher's word; what is only to be copied may leave before the
//! flusher has the entry.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::kept::{Kept, KeptReplica};
use super::{Back, BackOutput, Load};
use crate::broker::BrokerConfig;
use crate::broker::mail::{PeerAsk, RequestId, Route, TrimItem};
use crate::controller::OFFSETS_TOPIC;
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{CutDone, Log};
use crate::replica::{
    BrokerState, Input, LeaderAndIsr, Output, Produced, Replica, ReplicaConfig, ThrottledRates,
};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::replica::fetch::{FetchReplica, FetchedReplica};

/// What the replicas of a shard have in common.
pub(super) struct Replicas {
    /// What a new replica goes by.
    pub config: ReplicaConfig,
    /// `follower.` and `leader.replication.throttled.rate`, of the whole broker.
    pub throttled: ThrottledRates,
    shard_count: u64,
    brokers: Vec<BrokerState>,
    timers: BTreeSet<(Boot, TopicPartition)>,
    /// Bytes that replicas wait for, and their names for the wait.
    loads: BTreeMap<u64, (TopicPartition, u64)>,
    /// Segments that were found damaged: a follower fetches them again.
    suspects: Vec<(TopicPartition, Offset)>,
    /// Partitions of groups whose leadership came here and that nobody took note of yet.
    has_new_coordinators: bool,
}

impl Replicas {
    pub fn new(config: &BrokerConfig) -> Replicas {
        Replicas {
            config: config.replica.clone(),
            throttled: config.live.replication_throttled,
            shard_count: u64::from(config.shard_count),
            brokers: Vec::new(),
            timers: BTreeSet::new(),
            loads: BTreeMap::new(),
            suspects: Vec::new(),
            has_new_coordinators: false,
        }
    }

    /// Makes a replica of a log.
    pub fn keep<D: Disk>(&self, now: Now, log: Log<D>, broker_epoch: i64) -> Kept<D> {
        let config = ReplicaConfig { broker_epoch, ..self.config.clone() };
        Kept::Replica(Box::new(KeptReplica::new(Replica::new(now, log, config))))
    }

    /// A partition leaves: its timer goes too.
    pub fn forget<D: Disk>(&mut self, topic_partition: TopicPartition, kept: &Kept<D>) {
        if let Kept::Replica(kept) = kept {
            self.timers.remove(&(kept.due, topic_partition));
        }
    }

    /// A segment is damaged.
    pub fn suspect(&mut self, topic_partition: TopicPartition, segment: Offset) {
        self.suspects.push((topic_partition, segment));
    }

    /// When one of them has something to do.
    pub fn next_deadline(&self) -> Boot {
        if !self.suspects.is_empty() {
            return Boot(0);
        }
        self.timers.first().map_or(Boot::NEVER, |(at, _)| *at)
    }
}

impl<D: Disk> Back<D> {
    /// What the controller has decided about a partition that has replicas elsewhere, or had.
    pub fn set_replicas(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        decided: LeaderAndIsr,
        broker_epoch: i64,
    ) {
        let Some(mut state) = self.partitions.remove(&topic_partition) else { return };
        if let Kept::Alone(log) = state.log {
            state.log = self.replicas.keep(now, log, broker_epoch);
            let kept = state.log.kept_replica().expect("made just now");
            // Until now it was the only copy, and led.
            kept.did_lead = true;
        }
        self.partitions.insert(topic_partition, state);
        let brokers = self.replicas.brokers.clone();
        self.step_replica(now, topic_partition, Input::Brokers(brokers));
        self.step_replica(now, topic_partition, Input::Metadata(decided));
    }

    /// Divides the bytes a second that this broker may copy among its replicas that have still to
    /// catch up, and those that it may give to such among its leaders. The shards' shares are alike,
    /// for none knows how many the others have.
    pub fn share_throttle(&mut self, now: Now) {
        let Replicas { throttled, shard_count, .. } = self.replicas;
        let present = self.replicas.config.throttled;
        if throttled == ThrottledRates::default() && present == throttled {
            return;
        }
        let share = |rate: Option<u64>, is_one: fn(&Replica<D>) -> bool| {
            let replicas = self.partitions.values().filter_map(|state| state.log.replica());
            let count = replicas.filter(|replica| is_one(replica)).count() as u64;
            rate.map(|rate| (rate / shard_count / count.max(1)).max(1))
        };
        let rates = ThrottledRates {
            follower: share(throttled.follower, Replica::is_behind),
            leader: share(throttled.leader, Replica::is_ahead),
        };
        if rates == present {
            return;
        }
        self.replicas.config.throttled = rates;
        for topic_partition in self.replicated() {
            let state = self.partitions.get_mut(&topic_partition).expect("listed just now");
            let kept = state.log.kept_replica().expect("it is replicated");
            kept.replica.set_throttled(now, rates);
            self.pump_replica(now, topic_partition);
        }
    }

    /// The only copy of a partition is led in this epoch, if that is a newer one.
    pub fn lead_alone(&mut self, topic_partition: TopicPartition, epoch: LeaderEpoch) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        if state.log.replica().is_none() && state.log.leader_epoch() < epoch {
            let state = state.log.begin_epoch(epoch);
            let entry = Entry::State { topic_partition, state };
            self.outputs.push_back(BackOutput::Persist(entry));
        }
    }

    /// The brokers that there are.
    pub fn set_brokers(&mut self, now: Now, brokers: &[BrokerState]) {
        self.replicas.brokers = brokers.to_vec();
        for topic_partition in self.replicated() {
            self.step_replica(now, topic_partition, Input::Brokers(brokers.to_vec()));
        }
    }

    /// Whether coordinators came here since this was last asked: they are to hear of the topics.
    pub fn take_new_coordinators(&mut self) -> bool {
        std::mem::take(&mut self.replicas.has_new_coordinators)
    }

    /// The controller has answered a proposal.
    pub fn altered(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        partition_epoch: i32,
        outcome: Result<LeaderAndIsr, ErrorCode>,
    ) {
        self.step_replica(now, topic_partition, Input::Altered { partition_epoch, outcome });
    }

    /// A follower on another node asks, or tells how far it is.
    pub fn peer_asks(&mut self, now: Now, ask: PeerAsk) {
        let PeerAsk { route, follower, broker_epoch, fetches, progress } = ask;
        for fetch in fetches {
            let topic_partition = fetch.topic_partition;
            let state = self.partitions.get_mut(&topic_partition);
            let Some(kept) = state.and_then(|state| state.log.kept_replica()) else {
                self.refuse_fetch(route, &fetch);
                continue;
            };
            kept.routes.insert(follower, route);
            let input = Input::Fetch { follower, broker_epoch, fetch };
            self.step_replica(now, topic_partition, input);
        }
        for progress in progress {
            let topic_partition = progress.topic_partition;
            let input = Input::Progress { follower, broker_epoch, progress };
            self.step_replica(now, topic_partition, input);
        }
    }

    /// Nothing is known here of what a peer takes to be replicated: its metadata or this node's is
    /// older.
    fn refuse_fetch(&mut self, route: Route, fetch: &FetchReplica) {
        let answer = FetchedReplica {
            topic_partition: fetch.topic_partition,
            leader_epoch: fetch.leader_epoch,
            sequence: fetch.sequence,
            error: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            high_watermark: Offset(-1),
            log_start: Offset(-1),
            log_end: Offset(-1),
            diverging: None,
            records_bytes: 0,
        };
        self.outputs.push_back(BackOutput::PeerFetched(route, answer, None));
    }

    /// A follower's connection is gone, and what was parked for it.
    pub fn peer_gone(&mut self, now: Now, follower: NodeId, route: Route) {
        for topic_partition in self.replicated() {
            let state = self.partitions.get_mut(&topic_partition).expect("listed just now");
            let kept = state.log.kept_replica().expect("it is replicated");
            if kept.routes.get(&follower) == Some(&route) {
                kept.routes.remove(&follower);
                self.step_replica(now, topic_partition, Input::Disconnected(follower));
            }
        }
    }

    /// A leader answers.
    pub fn peer_answers(&mut self, now: Now, answer: FetchedReplica, records: Bytes) {
        let topic_partition = answer.topic_partition;
        self.step_replica(now, topic_partition, Input::Fetched { answer, records });
        self.flush_if_weak(now, topic_partition);
    }

    /// The connection to a leader is gone, and what was asked on it.
    pub fn link_lost(&mut self, now: Now, leader: NodeId) {
        for topic_partition in self.replicated() {
            let state = self.partitions.get(&topic_partition).expect("listed just now");
            let replica = state.log.replica().expect("it is replicated");
            if !state.log.leads() && replica.state().leader == Some(leader) {
                self.step_replica(now, topic_partition, Input::Disconnected(leader));
            }
        }
    }

    /// A cut that was asked for by [`BackOutput::Cut`] is made, or could not be.
    pub fn cut_done(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        done: std::io::Result<CutDone>,
    ) {
        if let Some(log) = self.leaving.remove(&topic_partition) {
            self.outputs.push_back(BackOutput::Retired(log));
        } else {
            self.step_replica(now, topic_partition, Input::CutDone(done));
        }
    }

    /// Bytes that a replica waited for are there, or lost. `false` when none waited.
    pub(super) fn replica_bytes_loaded(&mut self, now: Now, token: u64, is_lost: bool) -> bool {
        let Some((topic_partition, token)) = self.replicas.loads.remove(&token) else {
            return false;
        };
        self.step_replica(now, topic_partition, Input::Loaded { token, is_lost });
        true
    }

    pub(super) fn tick_replicas(&mut self, now: Now) {
        for (topic_partition, segment) in std::mem::take(&mut self.replicas.suspects) {
            self.step_replica(now, topic_partition, Input::Damaged(segment));
        }
        let timers = self.replicas.timers.iter();
        let due: Vec<_> = timers.take_while(|(at, _)| *at <= now.boot).map(|t| t.1).collect();
        for topic_partition in due {
            self.step_replica(now, topic_partition, Input::Tick);
        }
    }

    /// Whether a partition here has replicas elsewhere, or had.
    pub fn is_replicated(&self, topic_partition: TopicPartition) -> bool {
        let state = self.partitions.get(&topic_partition);
        state.is_some_and(|state| state.log.replica().is_some())
    }

    /// The partitions here that have replicas elsewhere, or had.
    pub fn replicated(&self) -> Vec<TopicPartition> {
        let replicated = self.partitions.iter().filter(|(_, s)| s.log.replica().is_some());
        replicated.map(|(topic_partition, _)| *topic_partition).collect()
    }

    /// Gives a partition's replica an input and does what comes of it.
    pub(super) fn step_replica(&mut self, now: Now, topic_partition: TopicPartition, input: Input) {
        let Some(state) = self.partitions.get_mut(&topic_partition) else { return };
        let Some(kept) = state.log.kept_replica() else { return };
        kept.replica.step(now, input);
        self.pump_replica(now, topic_partition);
    }

    /// Appends to a replica that leads.
    pub(super) fn append_to_replica(
        &mut self,
        now: Now,
        topic_partition: TopicPartition,
        acks: i8,
        batch: BytesMut,
    ) -> Result<Produced, ErrorCode> {
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let kept = state.log.kept_replica().expect("it is replicated");
        let outcome = kept.replica.append(now, acks, batch);
        self.pump_replica(now, topic_partition);
        outcome
    }

    /// Has records of a replicated partition deleted. The lowest first offset of all replicas, when
    /// they are already.
    pub(super) fn delete_from_replica(
        &mut self,
        now: Now,
        request: RequestId,
        item: &TrimItem,
    ) -> Result<Option<Offset>, ErrorCode> {
        let TrimItem { topic_partition, offset, .. } = *item;
        let token = self.next_token;
        self.next_token += 1;
        self.step_replica(now, topic_partition, Input::DeleteRecords { token, offset });
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let kept = state.log.kept_replica().expect("it is replicated");
        let done = kept.deleted.iter().position(|(done, _)| *done == token);
        if let Some((_, outcome)) = done.map(|place| kept.deleted.swap_remove(place)) {
            outcome.map(Some)
        } else {
            kept.deletions.insert(token, request);
            Ok(None)
        }
    }

    /// Does what a replica wants done.
    pub(super) fn pump_replica(&mut self, now: Now, topic_partition: TopicPartition) {
        let mut has_risen = false;
        loop {
            let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
            let kept = state.log.kept_replica().expect("it is replicated");
            let Some(output) = kept.replica.poll() else { break };
            match output {
                Output::Persist(entry) => self.outputs.push_back(BackOutput::Persist(entry)),
                Output::Fetch { leader, fetch } => {
                    self.outputs.push_back(BackOutput::PeerFetch(leader, fetch));
                }
                Output::Progress { leader, progress } => {
                    self.outputs.push_back(BackOutput::PeerProgress(leader, progress));
                }
                Output::Fetched { follower, answer, slice } => {
                    if let Some(route) = kept.routes.get(&follower) {
                        let output = BackOutput::PeerFetched(*route, answer, slice);
                        self.outputs.push_back(output);
                    }
                }
                Output::Alter(proposal) => self.outputs.push_back(BackOutput::Alter(proposal)),
                Output::Produced { .. } => unreachable!("the broker appends and waits itself"),
                Output::Deleted { token, outcome } => kept.deleted.push((token, outcome)),
                Output::HighWatermark(_) => has_risen = true,
                Output::Cut(cut) => {
                    let Range { start, end } = cut.range();
                    if start < end && !cut.is_set_aside() {
                        let (name, partition) = (state.log.name(), topic_partition.partition);
                        log::warn!(
                            "{name}-{partition}: records {start} up to {end} are not in the \
                             leader's log; they are cut off"
                        );
                    }
                    self.outputs.push_back(BackOutput::Cut(topic_partition, cut));
                }
                Output::Load { token, file, position, bytes } => {
                    self.load_for_replica(topic_partition, token, (file, position, bytes));
                }
                Output::Note(note) => self.outputs.push_back(BackOutput::Note(note)),
                Output::Damaged { segment, position } => {
                    self.suspect(topic_partition, segment, position);
                }
                // It was said when it was found, and comes back from the leader.
                Output::Lost { is_damage: true, .. } => {}
                Output::Lost { from, to, .. } => {
                    self.metrics.lost_records_count += to.since(from).unsigned_abs();
                    log::error!(
                        "{}-{}: of these, records {from} up to {to} were committed: they are lost",
                        state.log.name(),
                        topic_partition.partition
                    );
                }
                Output::Failed => {
                    let name = state.log.name();
                    log::error!("{name}-{}: the replica failed", topic_partition.partition);
                }
            }
        }
        self.note_role(topic_partition);
        self.resume_load(topic_partition);
        if has_risen {
            self.raise_high_watermark(topic_partition, u64::MAX);
            self.complete_produces(topic_partition);
            self.complete_group_writes(now, topic_partition);
        }
        self.complete_deletions(topic_partition);
        self.note_due(topic_partition);
    }

    fn load_for_replica(
        &mut self,
        topic_partition: TopicPartition,
        name: u64,
        (file, position, bytes): (D::File, u64, u64),
    ) {
        let token = self.next_token;
        self.next_token += 1;
        self.replicas.loads.insert(token, (topic_partition, name));
        self.metrics.cold_read_count += 1;
        self.outputs.push_back(BackOutput::Load(Load { token, file, position, bytes }));
    }

    /// Leadership came or went: what waits here is told, coordinators begin or end.
    fn note_role(&mut self, topic_partition: TopicPartition) {
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let leads = state.log.leads();
        let is_coordinators = state.log.name().as_str() == OFFSETS_TOPIC;
        let kept = state.log.kept_replica().expect("it is replicated");
        if std::mem::replace(&mut kept.did_lead, leads) == leads {
            return;
        }
        if leads {
            if is_coordinators && self.is_writable && !self.groups.has(topic_partition) {
                let start = kept.replica.log().start_offset();
                self.groups.adopt(topic_partition, start);
                self.replicas.has_new_coordinators = true;
            }
            return;
        }
        let mut state = self.partitions.remove(&topic_partition).expect("found above");
        // What is committed by now was answered before; of the rest nobody knows.
        self.fail_waiting(topic_partition, &mut state, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        for request in std::mem::take(&mut state.watchers) {
            self.progress(request);
        }
        self.partitions.insert(topic_partition, state);
        self.retire_group(topic_partition);
    }

    fn complete_deletions(&mut self, topic_partition: TopicPartition) {
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let Some(kept) = state.log.kept_replica() else { return };
        let mut answered = Vec::new();
        kept.deleted.retain(|&(token, outcome)| {
            let request = kept.deletions.remove(&token);
            answered.extend(request.map(|request| (request, outcome)));
            request.is_none()
        });
        for (request, outcome) in answered {
            self.trimmed(request, topic_partition, outcome.map(Some));
        }
    }

    fn note_due(&mut self, topic_partition: TopicPartition) {
        let state = self.partitions.get_mut(&topic_partition).expect("found by the caller");
        let Some(kept) = state.log.kept_replica() else { return };
        let due = kept.replica.next_deadline();
        let before = std::mem::replace(&mut kept.due, due);
        if before != due {
            self.replicas.timers.remove(&(before, topic_partition));
        }
        if due < Boot::NEVER {
            self.replicas.timers.insert((due, topic_partition));
        }
    }

    /// The log dir failed.
    pub(super) fn fail_replicas(&mut self, now: Now) {
        for topic_partition in self.replicated() {
            self.step_replica(now, topic_partition, Input::StorageFailed);
        }
    }
}
