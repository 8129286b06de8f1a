//! The leader: takes what is produced, says what is committed, and keeps the ISR (semantics.md 2.2,
//! 2.9, 2.10). How it answers followers is in [`super::serve`].
//!
//! Who is in sync is judged by durable ends: has a follower had, on stable storage, all that the
//! leader had at some time within `replica.lag.time.max.ms`? It is removed when not, and joins when
//! it has all below the high watermark and has reached the start of this leader epoch.
//!
//! The high watermark also waits for a follower outside the ISR that keeps up and may join: without
//! that, one that is half a round trip behind under load would never be level with it. Such a one
//! holds it up for `replica.lag.time.max.ms` at most.
//!
//! That a batch does not follow its producer's last one is said only by a leader that is certain to
//! lead ([`super::standing`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::follower::Follower;
use super::isr::Isr;
use super::local::Local;
use super::parked::Parked;
use super::remote::Remote;
use super::standing::{Refused, Standing};
use super::throttle::Throttle;
use super::{Input, LeaderAndIsr, Output, Produced};
use crate::ids::{NodeId, Offset};
use crate::journal::disk::Disk;
use crate::log::{LogError, SequenceError};
use crate::mutant::{self, Mutant};
use crate::record::BatchHeader;
use crate::time::{Boot, Now, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::replica::alter_partition::{AlterReplicas, InSync};

/// The replica that takes what is produced.
pub struct Leader<D: Disk> {
    pub(super) local: Local<D>,
    /// Where the log ended when this leadership began.
    epoch_start: Offset,
    pub(super) remotes: BTreeMap<NodeId, Remote>,
    isr: Box<Isr>,
    parked: Parked,
    pub(super) standing: Standing,
    /// When it is looked for who lags.
    check_at: Boot,
    /// When followers get what was appended: with all else that is, in one turn of the shard.
    pub(super) serve_at: Boot,
    /// Of what goes to followers that are not in sync.
    throttle: Throttle,
    /// Followers that wait for bytes, by the name of the wait.
    pub(super) cold: BTreeMap<u64, NodeId>,
}

impl<D: Disk> Leader<D> {
    /// Begins a leadership at the end of the log, which is kept whole.
    pub(super) fn new(now: Now, mut local: Local<D>, state: LeaderAndIsr, parked: Parked) -> Self {
        let begun = local.log.begin_epoch(state.leader_epoch);
        local.persist_state(begun);
        let epoch_start = local.log.end_offset();
        let mut leader = Leader {
            epoch_start,
            remotes: BTreeMap::new(),
            isr: Box::new(Isr::new(&state.isr)),
            parked,
            standing: Standing::default(),
            check_at: now.boot.plus_ms(local.config.lag_time_max_ms / 2),
            serve_at: Boot::NEVER,
            throttle: Throttle::new(local.config.throttled.leader, now.boot),
            cold: BTreeMap::new(),
            local,
        };
        #[cfg(feature = "mutants")]
        {
            leader.isr.shrinks_unconfirmed =
                leader.local.config.mutant == Some(super::mutant::Mutant::ShrinksUnconfirmed);
        }
        leader.take_state(now, state);
        leader.settle(now);
        leader
    }

    /// The same node leads in a newer epoch: followers prove themselves anew. What waits goes on
    /// waiting, for the log is the same.
    pub(super) fn become_leader(self, now: Now, state: LeaderAndIsr) -> Leader<D> {
        Leader::new(now, self.local, state, self.parked)
    }

    /// Another leads, or nobody. What waits may still be committed, but not be seen from here.
    pub(super) fn become_follower(mut self, now: Now, state: LeaderAndIsr) -> Follower<D> {
        self.parked.fail(ErrorCode::NOT_LEADER_OR_FOLLOWER, &mut self.local.outputs);
        let mut follower = Follower::new(now, self.local);
        follower.follow(now, state);
        follower
    }

    pub(super) fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Fetch { follower, broker_epoch, fetch } => {
                self.fetch(now, follower, broker_epoch, &fetch);
            }
            Input::Progress { follower, broker_epoch, progress } => {
                self.progress(now, follower, broker_epoch, &progress);
            }
            Input::Produce { token, acks, batch } => self.produce(now, token, acks, batch),
            Input::DeleteRecords { token, offset } => self.delete_records(token, offset),
            Input::Flushed { durable_end, log_start } => {
                self.local.flushed(durable_end, log_start);
                self.settle(now);
            }
            Input::Brokers(brokers) => {
                self.local.take_brokers(brokers);
                self.settle(now);
            }
            Input::Disconnected(follower) => {
                if let Some(remote) = self.remotes.get_mut(&follower) {
                    remote.parked.clear();
                    remote.cursor = None;
                }
            }
            Input::Loaded { token, is_lost } => self.loaded(now, token, is_lost),
            Input::Configure(config) => {
                self.local.log.set_config(*config);
                self.settle(now);
            }
            Input::StorageFailed => {
                self.local.is_failed = true;
                self.parked.fail(ErrorCode::KAFKA_STORAGE_ERROR, &mut self.local.outputs);
            }
            Input::Tick => self.tick(now),
            Input::Damaged(from) => {
                self.local.note_damage(from);
                self.settle(now);
            }
            // It asks nobody, and cuts nothing.
            Input::Fetched { .. } | Input::TruncationPersisted | Input::CutDone(_) => {}
            Input::Metadata(_) | Input::Altered { .. } => unreachable!("the replica takes these"),
        }
    }

    /// A newer version of the same leadership.
    pub(super) fn update(&mut self, now: Now, state: LeaderAndIsr) {
        self.isr.commit(&state.isr);
        self.take_state(now, state);
        self.settle(now);
        // Who is out of the ISR by now may be told so.
        self.serve_all(now);
    }

    fn take_state(&mut self, now: Now, state: LeaderAndIsr) {
        let own = self.local.config.node_id;
        self.remotes.retain(|node, _| state.replicas.contains(node));
        for node in state.replicas.iter().filter(|node| **node != own) {
            let caught_up = state.isr.contains(node).then_some(now.boot);
            self.remotes.entry(*node).or_insert_with(|| Remote::new(caught_up));
        }
        self.local.state = state;
    }

    /// The controller did what was proposed: nobody counts on those any more that were named as
    /// damaged, and they may be told.
    pub(super) fn confirmed(&mut self, now: Now, partition_epoch: i32, state: &LeaderAndIsr) {
        if state.leader_epoch != self.local.state.leader_epoch {
            return;
        }
        for remote in self.remotes.values_mut() {
            // Metadata may have been faster than this answer, and a proposal made since.
            let was_named = remote.named_since.is_some_and(|version| version <= partition_epoch);
            remote.is_given_up |= remote.is_damaged && was_named;
        }
        self.serve_all(now);
    }

    /// The controller refused a proposal.
    pub(super) fn refused(&mut self, now: Now, partition_epoch: i32, error: ErrorCode) {
        let retry_at = now.boot.plus_ms(self.local.config.alter_timeout_ms);
        self.isr.refuse(partition_epoch, error, retry_at);
        self.settle(now);
    }

    fn produce(&mut self, now: Now, token: u64, acks: i8, batch: BytesMut) {
        match self.append(now, acks, batch) {
            // One that was sent once more may still not be committed.
            Ok(produced) if acks == -1 && self.local.high_watermark < produced.end_offset => {
                self.parked.produce(token, produced);
            }
            outcome => self.local.push(Output::Produced { token, outcome }),
        }
    }

    /// Appends a batch, or finds the one that it repeats.
    pub(super) fn append(
        &mut self,
        now: Now,
        acks: i8,
        mut batch: BytesMut,
    ) -> Result<Produced, ErrorCode> {
        if self.local.is_failed {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if acks == -1 && self.isr.committed().len() < self.local.min_insync() {
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        self.note_caught_up(now.boot);
        let local = &mut self.local;
        let log_start = local.log.start_offset();
        match local.log.append(now, &mut batch) {
            Ok(appended) => {
                let produced = Produced {
                    base_offset: appended.base_offset,
                    end_offset: appended.end_offset,
                    log_append_time: appended.log_append_time.unwrap_or(Timestamp::NONE),
                    log_start,
                    is_repeated: false,
                };
                local.persist_batch(appended, batch.freeze());
                self.settle(now);
                self.serve_at = now.boot;
                Ok(produced)
            }
            Err(LogError::Sequence(SequenceError::Duplicate(earlier))) => Ok(Produced {
                base_offset: earlier.base_offset,
                end_offset: earlier.end_offset,
                log_append_time: local.stamped(earlier.timestamp),
                log_start,
                is_repeated: true,
            }),
            Err(LogError::Sequence(SequenceError::OutOfOrder)) => Err(self.refuse_gap(now, &batch)),
            Err(LogError::Sequence(SequenceError::StaleEpoch)) => {
                Err(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Err(LogError::BatchTooLarge) => Err(ErrorCode::RECORD_LIST_TOO_LARGE),
            Err(_) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    /// What a batch is told that does not follow its producer's last one here.
    fn refuse_gap(&mut self, now: Now, batch: &[u8]) -> ErrorCode {
        let others = self.others_in_sync();
        let header = BatchHeader::parse(batch).expect("it was found fit");
        self.standing.conclude(&others);
        if others.is_empty() || self.standing.is_certain(Refused::of(&header)) {
            return ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        }
        self.serve_all(now);
        ErrorCode::NOT_LEADER_OR_FOLLOWER
    }

    /// What a read behind the log's end is told.
    pub(super) fn refuse_offset(&mut self, now: Now, offset: Offset) -> ErrorCode {
        let others = self.others_in_sync();
        self.standing.conclude(&others);
        if others.is_empty() || self.standing.is_certain(Refused::Read(offset)) {
            return ErrorCode::OFFSET_OUT_OF_RANGE;
        }
        self.serve_all(now);
        ErrorCode::NOT_LEADER_OR_FOLLOWER
    }

    /// Who may lead next, as far as is known here.
    pub(super) fn others_in_sync(&self) -> Vec<NodeId> {
        let own = self.local.config.node_id;
        self.isr.maximal().into_iter().filter(|node| *node != own).collect()
    }

    /// Whether another is to lead instead: the copy here is damaged, and not the only one in sync.
    pub(super) fn gives_way(&self) -> bool {
        self.local.damage.is_some() && !self.others_in_sync().is_empty()
    }

    /// Followers that have all there is had it until now: an idle partition hears nothing of them.
    fn note_caught_up(&mut self, now: Boot) {
        let end = self.local.log.end_offset();
        for remote in self.remotes.values_mut() {
            let ends = remote.ends;
            if ends.is_some_and(|e| end <= self.local.acked(e.log_end, e.durable_end)) {
                remote.note_caught_up(now);
            }
        }
    }

    fn delete_records(&mut self, token: u64, offset: Offset) {
        let high_watermark = self.local.high_watermark;
        let offset = if offset == Offset(-1) { high_watermark } else { offset };
        let refusal = if self.local.is_failed {
            Some(ErrorCode::KAFKA_STORAGE_ERROR)
        } else if !self.local.log.config().cleanup_policy.delete {
            Some(ErrorCode::POLICY_VIOLATION)
        } else if offset < Offset::ZERO || high_watermark < offset {
            Some(ErrorCode::OFFSET_OUT_OF_RANGE)
        } else {
            None
        };
        if let Some(error) = refusal {
            return self.local.push(Output::Deleted { token, outcome: Err(error) });
        }
        self.local.raise_start(offset);
        self.parked.deletion(token, offset);
        self.complete_deletions();
    }

    fn complete_deletions(&mut self) {
        let mut low_watermark = self.local.start_durable;
        for (node, remote) in &self.remotes {
            // One that is away makes up for it when it comes back.
            let is_alive = self.local.brokers.get(node).is_some_and(|broker| broker.is_active);
            if is_alive {
                let start = remote.ends.map_or(Offset::ZERO, |ends| ends.log_start);
                low_watermark = low_watermark.min(start);
            }
        }
        self.parked.complete_deletions(low_watermark, &mut self.local.outputs);
    }

    /// Draws the conclusions of what has changed: the ISR, the high watermark, and what waited.
    pub(super) fn settle(&mut self, now: Now) {
        self.maybe_leave(now.boot);
        self.maybe_expand(now.boot);
        self.maybe_raise_high_watermark(now.boot);
        let has_enough = self.has_enough();
        let high_watermark = self.local.high_watermark;
        self.parked.complete_produces(high_watermark, has_enough, &mut self.local.outputs);
        self.complete_deletions();
    }

    fn maybe_raise_high_watermark(&mut self, now: Boot) {
        let is_enough = self.local.min_insync() <= self.isr.committed().len();
        if !is_enough && !mutant::is_on(Mutant::CommitsBelowMin) {
            return;
        }
        let own = self.local.config.node_id;
        let maximal = self.isr.maximal();
        let mut lowest = self.local.acked_end();
        for (node, remote) in &self.remotes {
            if maximal.contains(node) || self.is_waited_for(now, *node, remote) {
                // Of one that has not shown what it has nothing is known to be there.
                lowest = lowest.min(self.acked_of(remote).unwrap_or(Offset::ZERO));
            }
        }
        // A leader that is told to leave the ISR, or a member that is no replica: wait for
        // metadata.
        let is_known = |node: &NodeId| *node == own || self.remotes.contains_key(node);
        if maximal.contains(&own) && maximal.iter().all(is_known) {
            self.local.raise_high_watermark(lowest);
        }
    }

    fn acked_of(&self, remote: &Remote) -> Option<Offset> {
        remote.ends.map(|ends| self.local.acked(ends.log_end, ends.durable_end))
    }

    fn is_waited_for(&self, now: Boot, node: NodeId, remote: &Remote) -> bool {
        remote.ends.is_some()
            && remote.was_caught_up(now, self.local.config.lag_time_max_ms)
            && self.is_eligible(node, remote)
    }

    /// Whether a follower may join the ISR as far as its broker is concerned.
    fn is_eligible(&self, node: NodeId, remote: &Remote) -> bool {
        let broker = self.local.brokers.get(&node);
        !remote.is_damaged
            && broker.is_some_and(|b| b.is_active && b.broker_epoch == remote.broker_epoch)
    }

    fn is_in_sync(&self, now: Boot, remote: &Remote) -> bool {
        let has_all = self.acked_of(remote) == Some(self.local.log.end_offset());
        let was_caught_up = remote.was_caught_up(now, self.local.config.lag_time_max_ms);
        !remote.is_damaged && (has_all || was_caught_up)
    }

    fn maybe_expand(&mut self, now: Boot) {
        if !self.isr.may_propose(now) {
            return;
        }
        let floor = self.local.high_watermark.max(self.epoch_start);
        let committed = self.isr.committed();
        let mut joining = self.remotes.iter().filter(|(node, remote)| {
            !committed.contains(node)
                && self.is_eligible(**node, remote)
                && self.acked_of(remote).is_some_and(|acked| floor <= acked)
                // Or it would leave again at once: one that is away has what was committed last.
                && self.is_in_sync(now, remote)
        });
        if let Some((&node, _)) = joining.next() {
            let mut wanted = committed.clone();
            wanted.insert(node);
            self.propose(&wanted);
        }
    }

    /// Proposes to go on without those who lag, and to count on nobody whose copy is damaged.
    pub(super) fn maybe_shrink(&mut self, now: Boot) {
        if !self.isr.may_propose(now) {
            return;
        }
        let stays = |node: &&NodeId| {
            let remote = self.remotes.get(node);
            remote.is_none_or(|remote| self.is_in_sync(now, remote))
        };
        let wanted: BTreeSet<NodeId> = self.isr.committed().iter().filter(stays).copied().collect();
        // One that is out of the ISR may still be eligible when nobody is in it.
        let is_untold = self.remotes.values().any(|one| one.is_damaged && !one.is_given_up);
        if wanted.len() < self.isr.committed().len() || is_untold {
            self.propose(&wanted);
        }
    }

    /// Proposes that another lead, because the copy here is damaged: as a follower it is healed. It
    /// stays while nobody else in sync could lead at once, for then it has the most.
    pub(super) fn maybe_leave(&mut self, now: Boot) {
        if self.local.damage.is_none() || !self.isr.may_propose(now) {
            return;
        }
        let in_sync = self.remotes.iter().filter(|(node, remote)| {
            self.isr.committed().contains(node) && self.is_in_sync(now, remote)
        });
        let wanted: BTreeSet<NodeId> = in_sync.map(|(node, _)| *node).collect();
        let is_active =
            |node: &NodeId| self.local.brokers.get(node).is_some_and(|broker| broker.is_active);
        if wanted.iter().any(is_active) {
            self.propose(&wanted);
        }
    }

    fn propose(&mut self, wanted: &BTreeSet<NodeId>) {
        let config = &self.local.config;
        let epoch_of = |node: &NodeId| match self.remotes.get(node) {
            Some(remote) => remote.broker_epoch,
            None if *node == config.node_id => config.broker_epoch,
            None => -1,
        };
        let member = |node: &NodeId| InSync { node_id: *node, broker_epoch: epoch_of(node) };
        let proposal = AlterReplicas {
            topic_partition: self.local.log.topic_partition(),
            leader_epoch: self.local.state.leader_epoch,
            partition_epoch: self.local.state.partition_epoch,
            isr: wanted.iter().map(member).collect(),
            damaged: self.damaged(wanted),
        };
        for (node, remote) in &mut self.remotes {
            let is_named = proposal.damaged.contains(node);
            let version = proposal.partition_epoch;
            remote.named_since = is_named.then(|| remote.named_since.unwrap_or(version));
        }
        self.isr.propose(proposal.clone());
        self.local.push(Output::Alter(proposal));
    }

    fn damaged(&self, wanted: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let damaged = self.remotes.iter().filter(|(_, remote)| remote.is_damaged);
        let own = self.local.damage.map(|_| self.local.config.node_id);
        let damaged = damaged.map(|(node, _)| *node).chain(own);
        damaged.filter(|node| !wanted.contains(node)).collect()
    }

    fn tick(&mut self, now: Now) {
        if let Some(proposal) = self.isr.resend(now.boot) {
            self.local.push(Output::Alter(proposal));
        }
        if self.check_at <= now.boot {
            self.check_at = now.boot.plus_ms(self.local.config.lag_time_max_ms / 2);
            self.maybe_shrink(now.boot);
        }
        // One that was waited for may have lost its time.
        self.settle(now);
        self.serve_all(now);
    }

    pub(super) fn next_deadline(&self) -> Boot {
        let told_at = self.remotes.iter().map(|(node, remote)| self.told_at(*node, remote)).min();
        let told_at = told_at.unwrap_or(Boot::NEVER);
        let check_at = self.check_at.min(self.isr.next_deadline());
        check_at.min(told_at).min(self.given_at()).min(self.serve_at)
    }

    /// When a follower gets what the throttle keeps back; never, if it keeps nothing back.
    fn given_at(&self) -> Boot {
        let end = self.local.log.end_offset();
        let waits = |(node, remote): (&NodeId, &Remote)| {
            !remote.is_cold
                && !remote.parked.is_empty()
                && remote.cursor.is_some_and(|cursor| cursor < end)
                && !self.is_live(*node)
        };
        let ready_at = self.throttle.ready_at();
        let is_kept_back = Boot(0) < ready_at && self.remotes.iter().any(waits);
        if is_kept_back { ready_at } else { Boot::NEVER }
    }

    /// Whether a follower's copying is live traffic: it is in sync, or about to be.
    fn is_live(&self, follower: NodeId) -> bool {
        self.isr.maximal().contains(&follower)
    }

    /// Another bound of what goes to followers that are not in sync.
    pub(super) fn set_throttled_rate(&mut self, now: Now, rate: Option<u64>) {
        self.throttle.set_rate(rate, now.boot);
        self.serve_all(now);
    }

    /// Whether a follower has to wait for more.
    pub(super) fn keeps_back(&mut self, now: Now, follower: NodeId) -> bool {
        // What a while has brought counts.
        self.throttle.take(now.boot, 0);
        now.boot < self.throttle.ready_at() && !self.is_live(follower)
    }

    /// Bytes go to a follower.
    pub(super) fn note_given(&mut self, now: Now, follower: NodeId, bytes: u64) {
        if self.throttle.is_on() && !self.is_live(follower) {
            self.throttle.take(now.boot, bytes);
        }
    }

    /// Whether as many replicas are in sync as there must be.
    pub(super) fn has_enough(&self) -> bool {
        self.local.min_insync() <= self.isr.maximal().len()
    }

    pub(super) fn latest_offset(&self) -> Result<Offset, ErrorCode> {
        // Before that a committed record of the epoch before may still be above it.
        if self.local.high_watermark < self.epoch_start {
            return Err(ErrorCode::OFFSET_NOT_AVAILABLE);
        }
        Ok(self.local.high_watermark)
    }

    /// The in-sync replicas as the controller last confirmed them.
    pub fn isr(&self) -> &BTreeSet<NodeId> {
        self.isr.committed()
    }

    /// Those that count for the high watermark.
    pub fn maximal_isr(&self) -> BTreeSet<NodeId> {
        self.isr.maximal()
    }

    /// Whether a change of them is under way.
    pub fn is_altering(&self) -> bool {
        self.isr.is_pending()
    }

    /// A follower's log end and durable end, once they are known.
    pub fn ends_of(&self, node: NodeId) -> Option<(Offset, Offset)> {
        let ends = self.remotes.get(&node)?.ends?;
        Some((ends.log_end, ends.durable_end))
    }

    pub(super) fn local(&self) -> &Local<D> {
        &self.local
    }

    pub(super) fn local_mut(&mut self) -> &mut Local<D> {
        &mut self.local
    }

    pub(super) fn into_local(self) -> Local<D> {
        self.local
    }
}
