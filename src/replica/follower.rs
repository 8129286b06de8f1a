//! The follower: copies its leader's log, byte for byte (semantics.md 2.8, 2.9).
//!
//! | phase | what it waits for |
//! |---|---|
//! | `Leaderless` | metadata |
//! | `Resting` | the end of a pause after a failure |
//! | `Asking` | the answer to a fetch at an offset: does the log agree with the leader's? |
//! | `Fetching` | batches: two fetches are under way, or the disk has enough to do |
//! | `Loading` | bytes that are needed to find where to cut |
//! | `Persisting` | the journal to have where the log is cut; then, on a full disk, room |
//! | `Cutting` | the cut to be durable; or room to make it once more |
//! | `Noting` | the journal to have that the cut is made |
//! | `Failed` | the log to be reopened |
//!
//! **Invariants.** A batch is verified before it is appended, belongs behind the end, and its epoch
//! neither falls nor is newer than the leader's. Nothing of an answer counts that is of another
//! leader epoch or not of the oldest fetch under way. The high watermark is at most the durable end
//! here, whatever the leader says: consumers may be served from it.
//!
//! *Damage* below the durable end is healed once this replica is out of the ISR: until then it may
//! be the one that leads next, and what is good behind the damage is worth more than a copy that is
//! on its way. Its fetches say that it wants to leave, and the leader's refusal that it has left.
//! Metadata would not do: the leader may have proposed, before it knew, to take it in again.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use super::leader::Leader;
use super::local::Local;
use super::parked::Parked;
use super::portion::Portion;
use super::reconcile;
use super::throttle::Throttle;
use super::unsynced::Unsynced;
use super::{Input, LeaderAndIsr, Output};
use crate::ids::{NodeId, Offset};
use crate::journal::disk::Disk;
use crate::limits::{REPLICA_FETCH_BYTES, REPLICA_FETCHES_MAX};
use crate::log::{Copied, Cut, LogError, ReadError, Truncation};
use crate::mutant::{self, Mutant};
use crate::record::{Batch, empty_batch};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::replica::fetch::{FetchFrom, FetchReplica, FetchedReplica};
use crate::wire::replica::progress::ProgressReplica;

/// The pause after a failure is doubled at most so often.
const DOUBLINGS_MAX: u32 = 4;

/// After an answer of at most so many bytes there is no hurry for another, if it had all there was.
const ANSWER_BYTES_SMALL: u64 = 16 << 10;

/// Where a follower stands; see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Leaderless,
    Resting { until: Boot },
    Asking,
    Fetching,
    Loading { token: u64, segment: Offset, cut: CutWanted },
    Persisting { plan: Truncation, again_at: Boot },
    Cutting { again_at: Boot },
    Noting,
    Failed,
}

/// A cut that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CutWanted {
    to: Offset,
    /// Whether it is damage that goes.
    heals: bool,
}

/// A fetch without an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sequence: u64,
    at: Boot,
    bytes: u32,
}

/// Why an answer's batches are not appended.
enum Fault {
    /// They are not what they should be.
    Corrupt,
    /// The disk is full.
    Full,
    /// The log failed.
    Failed,
}

/// The replica that copies.
pub struct Follower<D: Disk> {
    local: Local<D>,
    phase: Phase,
    /// Of the newest fetch. It begins at the boot clock, so that a follower that is made anew in
    /// one incarnation goes on behind the one before.
    sequence: u64,
    /// Fetches without an answer, oldest first.
    in_flight: VecDeque<Asked>,
    /// When the leader last answered, or was first asked.
    heard: Boot,
    failure_count: u32,
    /// The cut under way: a full disk may want it to be made again.
    cut: Option<Box<Cut<D>>>,
    /// It was given out, and is not over.
    is_cut_given: bool,
    throttle: Throttle,
    unsynced: Unsynced,
    portion: Portion,
    /// The next fetch waits for what came last to be durable, and says so: the leader is woken once
    /// rather than twice.
    is_biding: bool,
    leader_high_watermark: Offset,
}

impl<D: Disk> Follower<D> {
    /// A follower that has no leader yet.
    pub(super) fn new(now: Now, local: Local<D>) -> Self {
        let throttle = Throttle::new(local.config.throttled.follower, now.boot);
        let phase = if local.is_failed { Phase::Failed } else { Phase::Leaderless };
        Follower {
            local,
            phase,
            sequence: now.boot.0,
            in_flight: VecDeque::new(),
            heard: now.boot,
            failure_count: 0,
            cut: None,
            is_cut_given: false,
            throttle,
            unsynced: Unsynced::default(),
            portion: Portion::default(),
            is_biding: false,
            leader_high_watermark: Offset::ZERO,
        }
    }

    /// The node leads from now on: its log is kept whole.
    pub(super) fn become_leader(self, now: Now, state: LeaderAndIsr) -> Leader<D> {
        Leader::new(now, self.local, state, Parked::default())
    }

    /// There is another leader, or another epoch of it, or none.
    pub(super) fn become_follower(mut self, now: Now, state: LeaderAndIsr) -> Follower<D> {
        self.follow(now, state);
        self
    }

    /// Begins with the leader that the state names.
    pub(super) fn follow(&mut self, now: Now, state: LeaderAndIsr) {
        self.local.state = state;
        self.in_flight.clear();
        self.failure_count = 0;
        // What the leader before has said of its high watermark, this one need not know.
        self.leader_high_watermark = self.local.high_watermark;
        if self.phase == Phase::Failed {
            return;
        }
        #[cfg(feature = "mutants")]
        if self.local.config.mutant == Some(super::mutant::Mutant::TruncatesToHighWatermark) {
            let to = self.local.high_watermark;
            return self.cut(CutWanted { to, heals: false });
        }
        self.begin(now);
    }

    /// A newer version of the same leadership.
    pub(super) fn update(&mut self, now: Now, state: LeaderAndIsr) {
        self.local.state = state;
        self.ask_on(now);
    }

    pub(super) fn is_cutting(&self) -> bool {
        matches!(self.phase, Phase::Persisting { .. } | Phase::Cutting { .. } | Phase::Noting)
    }

    pub(super) fn is_being_cut(&self) -> bool {
        self.is_cut_given
    }

    pub(super) fn step(&mut self, now: Now, input: Input) {
        self.is_cut_given &= !matches!(input, Input::CutDone(_));
        match input {
            Input::Fetched { answer, records } => self.fetched(now, &answer, &records),
            Input::Flushed { durable_end, log_start } => {
                self.flushed(now, durable_end, log_start);
            }
            Input::TruncationPersisted => self.begin_cut(now),
            Input::CutDone(Ok(done)) => {
                self.cut = None;
                self.failure_count = 0;
                self.local.log.finish_truncation(done);
                self.note_cut();
            }
            Input::CutDone(Err(why)) if self.cut.is_some() && is_full(&why) => {
                self.phase = Phase::Cutting { again_at: self.pause(now) };
            }
            Input::CutDone(Err(_)) | Input::StorageFailed => self.fail(),
            Input::Loaded { token, is_lost } => self.loaded(token, is_lost),
            Input::Disconnected(node) => {
                if self.local.state.leader == Some(node) {
                    self.rest(now);
                }
            }
            Input::Brokers(brokers) => {
                let epoch = self.local.config.broker_epoch;
                self.local.take_brokers(brokers);
                let is_newer = epoch < self.local.config.broker_epoch;
                if is_newer && matches!(self.phase, Phase::Asking | Phase::Fetching) {
                    // The fetches under way speak for a process that is gone, as far as the leader
                    // knows: of an idle partition it would hear nothing else.
                    self.begin(now);
                }
            }
            Input::Configure(config) => self.local.log.set_config(*config),
            Input::Damaged(from) => {
                self.local.note_damage(from);
                if matches!(self.phase, Phase::Asking | Phase::Fetching) {
                    // The fetches under way do not say so.
                    self.begin(now);
                }
            }
            Input::Tick => self.tick(now),
            Input::Produce { token, .. } => {
                let outcome = Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
                self.local.push(Output::Produced { token, outcome });
            }
            Input::DeleteRecords { token, .. } => {
                let outcome = Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
                self.local.push(Output::Deleted { token, outcome });
            }
            Input::Fetch { follower, fetch, .. } => self.refuse(follower, &fetch),
            Input::Progress { .. } => {}
            Input::Metadata(_) | Input::Altered { .. } => unreachable!("the replica takes these"),
        }
    }

    /// Another replica takes this one for the leader.
    fn refuse(&mut self, follower: NodeId, fetch: &FetchReplica) {
        let error = self.local.check_epoch(fetch.leader_epoch).err();
        let answer = FetchedReplica {
            topic_partition: fetch.topic_partition,
            leader_epoch: self.local.state.leader_epoch,
            sequence: fetch.sequence,
            error: error.unwrap_or(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            high_watermark: Offset(-1),
            log_start: Offset(-1),
            log_end: Offset(-1),
            diverging: None,
            records_bytes: 0,
        };
        self.local.push(Output::Fetched { follower, answer, slice: None });
    }

    /// Asks the leader whether the logs agree.
    fn begin(&mut self, now: Now) {
        self.in_flight.clear();
        self.is_biding = false;
        self.unsynced.begin_anew();
        self.portion = Portion::default();
        // A log that has seen a later epoch is not judged by the leader of an earlier one: what is
        // known of the site is behind, and that leader was deposed.
        let is_behind = self.local.state.leader_epoch < self.local.log.leader_epoch();
        if self.local.state.leader.is_none() || is_behind {
            self.phase = Phase::Leaderless;
            return;
        }
        self.phase = Phase::Asking;
        self.heard = now.boot;
        let log = &self.local.log;
        let from = FetchFrom::Offset { offset: log.end_offset(), last_epoch: log.leader_epoch() };
        self.ask(now, from);
    }

    fn ask(&mut self, now: Now, from: FetchFrom) {
        let Some(leader) = self.local.state.leader else { return };
        self.sequence += 1;
        let asked = Asked { sequence: self.sequence, at: now.boot, bytes: self.fetch_bytes() };
        self.in_flight.push_back(asked);
        let log = &self.local.log;
        let fetch = FetchReplica {
            topic_partition: log.topic_partition(),
            leader_epoch: self.local.state.leader_epoch,
            sequence: self.sequence,
            from,
            log_start: self.local.start_durable.min(log.start_offset()),
            log_end: log.end_offset(),
            durable_end: match mutant::is_on(Mutant::SaysLogEnd) {
                true => log.end_offset(),
                false => self.local.durable_end(),
            },
            max_bytes: asked.bytes,
            is_damaged: self.local.damage.is_some(),
        };
        self.local.push(Output::Fetch { leader, fetch });
    }

    fn fetches_max(&self) -> usize {
        if self.is_in_sync() { REPLICA_FETCHES_MAX } else { self.portion.fetches() }
    }

    /// How much to ask for at once.
    fn fetch_bytes(&self) -> u32 {
        let most = match self.is_in_sync() {
            true => REPLICA_FETCH_BYTES,
            false => self.portion.bytes(),
        };
        match self.local.log.config().acks_durable {
            true => self.unsynced.fetch_bytes(most),
            false => most,
        }
    }

    fn is_in_sync(&self) -> bool {
        self.local.state.isr.contains(&self.local.config.node_id)
    }

    /// Keeps two fetches under way, as far as the throttle and the disk keep up.
    fn ask_on(&mut self, now: Now) {
        if self.phase != Phase::Fetching || now.boot < self.more_at() {
            return;
        }
        if self.in_flight.is_empty() {
            self.heard = now.boot;
        }
        for _ in self.in_flight.len()..self.fetches_max() {
            self.ask(now, FetchFrom::Next);
        }
    }

    /// Another bound of what it copies while it is not in sync.
    pub(super) fn set_throttled_rate(&mut self, now: Now, rate: Option<u64>) {
        self.throttle.set_rate(rate, now.boot);
        self.ask_on(now);
    }

    /// From when on it may ask for more; never, if that is not a question of time.
    fn more_at(&self) -> Boot {
        let must_wait = self.is_biding || self.unsynced.is_much();
        match (must_wait, self.is_in_sync()) {
            (true, _) => Boot::NEVER,
            (false, true) => Boot(0),
            (false, false) => self.throttle.ready_at(),
        }
    }

    fn fetched(&mut self, now: Now, answer: &FetchedReplica, records: &Bytes) {
        let is_current = matches!(self.phase, Phase::Asking | Phase::Fetching)
            && answer.leader_epoch == self.local.state.leader_epoch;
        let place = self.in_flight.iter().position(|asked| asked.sequence == answer.sequence);
        let (true, Some(0), Some(asked)) = (is_current, place, self.in_flight.front().copied())
        else {
            // One before it is lost; or a refusal from another epoch, of which metadata will tell.
            if place.is_some() {
                self.rest(now);
            }
            return;
        };
        if !self.is_in_sync() {
            let took_ms = now.boot.ms_since(asked.at);
            self.portion.answered(asked.bytes, records.len() as u64, took_ms);
        }
        self.in_flight.pop_front();
        self.heard = now.boot;
        if let Some(parting) = answer.diverging.filter(|_| answer.error.is_ok()) {
            let log = &self.local.log;
            let to = reconcile::cut_offset(log.epochs(), log.end_offset(), parting);
            return self.cut(CutWanted { to, heals: false });
        }
        match (answer.error, self.local.damage) {
            (ErrorCode::NONE, _) => self.take(now, answer, records),
            (ErrorCode::OFFSET_OUT_OF_RANGE, _) => self.out_of_range(now, answer),
            (ErrorCode::INELIGIBLE_REPLICA, Some(to)) => {
                self.cut(CutWanted { to, heals: true });
            }
            _ => self.rest(now),
        }
    }

    fn take(&mut self, now: Now, answer: &FetchedReplica, records: &Bytes) {
        self.throttle.take(now.boot, records.len() as u64);
        match self.append(now, records) {
            Ok(()) => {}
            Err(Fault::Failed) => return self.fail(),
            Err(Fault::Corrupt | Fault::Full) => return self.rest(now),
        }
        let bytes = records.len() as u64;
        let is_synced_next = self.local.log.config().acks_durable && 0 < bytes;
        if is_synced_next {
            self.unsynced.add(now.boot, self.local.log.end_offset(), bytes);
        }
        let has_all = answer.log_end <= self.local.log.end_offset() && bytes <= ANSWER_BYTES_SMALL;
        self.is_biding = is_synced_next && has_all && !self.in_flight.is_empty();
        self.failure_count = 0;
        self.phase = Phase::Fetching;
        self.leader_high_watermark = self.leader_high_watermark.max(answer.high_watermark);
        self.local.raise_start(answer.log_start);
        self.follow_high_watermark();
        self.ask_on(now);
    }

    fn append(&mut self, now: Now, records: &Bytes) -> Result<(), Fault> {
        let mut rest = &records[..];
        while !rest.is_empty() {
            let position = records.len() - rest.len();
            let (batch, tail) = Batch::split_first(rest).map_err(|_| Fault::Corrupt)?;
            rest = tail;
            let header = *batch.header();
            let end = self.local.log.end_offset();
            let is_of_its_epoch = self.local.log.leader_epoch() <= header.leader_epoch
                && header.leader_epoch <= self.local.state.leader_epoch;
            if !batch.crc_is_valid() || !is_of_its_epoch || header.next_offset() <= end {
                return Err(Fault::Corrupt);
            }
            if end <= header.base_offset {
                let bytes = records.slice(position..position + batch.bytes().len());
                self.copy(now, bytes)?;
            } else if header.record_count == 0 {
                // The leader's compaction has made one empty batch of several, of which the first
                // are here as they were: the rest of it says the same.
                let rest = empty_batch(end, header.last_offset(), header.leader_epoch);
                self.copy(now, Bytes::copy_from_slice(&rest))?;
            } else {
                return Err(Fault::Corrupt);
            }
        }
        Ok(())
    }

    fn copy(&mut self, now: Now, batch: Bytes) -> Result<(), Fault> {
        let copied = self.local.log.append_copy(now, &batch, false).map_err(|why| match why {
            LogError::DiskFull => Fault::Full,
            _ => Fault::Failed,
        })?;
        let Copied { appended, epoch_start, note } = copied;
        if let Some(state) = epoch_start {
            self.local.persist_state(state);
        }
        if let Some(note) = note {
            self.local.push(Output::Note(note));
        }
        self.local.persist_batch(appended, batch);
        Ok(())
    }

    fn follow_high_watermark(&mut self) {
        let acked = self.local.acked_end();
        let readable = self.local.damage.map_or(acked, |damage| damage.min(acked));
        self.local.raise_high_watermark(self.leader_high_watermark.min(readable));
    }

    fn out_of_range(&mut self, now: Now, answer: &FetchedReplica) {
        let log = &self.local.log;
        let (start, end) = (log.start_offset(), log.end_offset());
        let is_possible = Offset::ZERO <= answer.log_start && answer.log_start <= answer.log_end;
        if !is_possible {
            self.rest(now);
        } else if end < answer.log_start || start == end {
            // The leader has deleted what would come next, or there is nothing to keep.
            self.persist_cut(Truncation::restart(answer.log_start));
        } else if answer.log_end < end {
            self.cut(CutWanted { to: answer.log_end, heals: false });
        } else {
            self.rest(now);
        }
    }

    fn flushed(&mut self, now: Now, durable_end: Option<Offset>, log_start: Option<Offset>) {
        let before = (self.local.durable_end(), self.local.start_durable);
        self.local.flushed(durable_end, log_start);
        self.unsynced.forget(now.boot, self.local.durable_end());
        if self.phase == Phase::Noting && durable_end.is_some() {
            return self.begin(now);
        }
        self.follow_high_watermark();
        let after = (self.local.durable_end(), self.local.start_durable);
        if before == after || self.phase != Phase::Fetching {
            return;
        }
        self.is_biding = false;
        let newest = self.sequence;
        self.ask_on(now);
        if newest != self.sequence {
            // The fetch says it.
            return;
        }
        let Some(leader) = self.local.state.leader else { return };
        let log = &self.local.log;
        let progress = ProgressReplica {
            topic_partition: log.topic_partition(),
            leader_epoch: self.local.state.leader_epoch,
            sequence: self.sequence,
            log_start: self.local.start_durable.min(log.start_offset()),
            log_end: log.end_offset(),
            durable_end: self.local.durable_end(),
        };
        self.local.push(Output::Progress { leader, progress });
    }

    /// Something is wrong: asks anew after a pause.
    fn rest(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Asking | Phase::Fetching) {
            return;
        }
        self.in_flight.clear();
        self.phase = Phase::Resting { until: self.pause(now) };
    }

    /// When to try again what failed: later each time.
    fn pause(&mut self, now: Now) -> Boot {
        let doublings = self.failure_count.min(DOUBLINGS_MAX);
        self.failure_count += 1;
        now.boot.plus_ms(self.local.config.fetch_backoff_ms << doublings)
    }

    fn fail(&mut self) {
        self.in_flight.clear();
        if self.phase != Phase::Failed {
            self.phase = Phase::Failed;
            self.cut = None;
            self.local.is_failed = true;
            self.local.push(Output::Failed);
        }
    }

    /// Cuts the log, once it is known where.
    fn cut(&mut self, cut: CutWanted) {
        self.in_flight.clear();
        match self.local.log.truncation(cut.to.max(Offset::ZERO)) {
            Ok(plan) if cut.heals => self.persist_cut(plan.set_aside()),
            Ok(plan) => self.persist_cut(plan),
            Err(ReadError::Cold { segment, file, position, bytes }) => {
                let token = self.local.token();
                self.phase = Phase::Loading { token, segment, cut };
                self.local.push(Output::Load { token, file, position, bytes });
            }
            Err(ReadError::Damaged { segment, .. }) => self.cut_before(segment, cut),
            Err(_) => self.fail(),
        }
    }

    /// The batches of a segment cannot be told apart: all of it goes.
    fn cut_before(&mut self, segment: Offset, cut: CutWanted) {
        if segment < cut.to {
            self.cut(CutWanted { to: segment, ..cut });
        } else {
            self.fail();
        }
    }

    fn loaded(&mut self, token: u64, is_lost: bool) {
        let Phase::Loading { token: wanted, segment, cut } = self.phase else { return };
        if token != wanted {
            return;
        }
        if is_lost {
            return self.cut_before(segment, cut);
        }
        self.cut(cut);
    }

    /// The cut goes to the journal before anything is touched.
    fn persist_cut(&mut self, plan: Truncation) {
        self.in_flight.clear();
        self.phase = Phase::Persisting { plan, again_at: Boot::NEVER };
        self.local.persist_state(plan.state());
    }

    fn begin_cut(&mut self, now: Now) {
        let Phase::Persisting { plan, .. } = self.phase else { return };
        let (lost_from, high_watermark) = (plan.end_offset(), self.local.high_watermark);
        match self.local.log.begin_truncation(now, plan) {
            Ok(cut) => self.cut = Some(Box::new(cut)),
            Err(LogError::DiskFull) => {
                self.phase = Phase::Persisting { plan, again_at: self.pause(now) };
                return;
            }
            Err(_) => return self.fail(),
        }
        self.make_cut();
        self.local.cut();
        self.unsynced.clear();
        if lost_from < high_watermark {
            let (from, to, is_damage) = (lost_from, high_watermark, plan.is_set_aside());
            self.local.push(Output::Lost { from, to, is_damage });
        }
        let log = &self.local.log;
        self.local.high_watermark = high_watermark.min(log.end_offset()).max(log.start_offset());
        self.leader_high_watermark = self.local.high_watermark;
    }

    /// Has the cut made, or made once more.
    fn make_cut(&mut self) {
        self.phase = Phase::Cutting { again_at: Boot::NEVER };
        self.is_cut_given = true;
        let cut = self.cut.clone().expect("it was begun");
        self.local.push(Output::Cut(cut));
    }

    /// Tells the journal that the cut is made, or the next start would make it again: on what was
    /// appended since, where the journal knows nothing of that (`acks.durable=false`).
    fn note_cut(&mut self) {
        match self.local.persist_end() {
            Ok(()) => self.phase = Phase::Noting,
            Err(_) => self.fail(),
        }
    }

    fn tick(&mut self, now: Now) {
        match self.phase {
            Phase::Resting { until } if until <= now.boot => self.begin(now),
            Phase::Persisting { again_at, .. } if again_at <= now.boot => self.begin_cut(now),
            Phase::Cutting { again_at } if again_at <= now.boot => self.make_cut(),
            Phase::Asking | Phase::Fetching => {
                let timeout_at = self.heard.plus_ms(self.local.config.fetch_timeout_ms);
                if !self.in_flight.is_empty() && timeout_at <= now.boot {
                    return self.begin(now);
                }
                self.ask_on(now);
            }
            _ => {}
        }
    }

    pub(super) fn next_deadline(&self) -> Boot {
        match self.phase {
            Phase::Resting { until } => until,
            Phase::Persisting { again_at, .. } | Phase::Cutting { again_at } => again_at,
            Phase::Asking | Phase::Fetching => {
                let timeout_at = self.heard.plus_ms(self.local.config.fetch_timeout_ms);
                let wants_more =
                    self.phase == Phase::Fetching && self.in_flight.len() < self.fetches_max();
                let more_at = if wants_more { self.more_at() } else { Boot::NEVER };
                let timeout_at = if self.in_flight.is_empty() { Boot::NEVER } else { timeout_at };
                timeout_at.min(more_at)
            }
            _ => Boot::NEVER,
        }
    }

    /// Whether it copies, the logs having been found to agree.
    pub fn is_fetching(&self) -> bool {
        self.phase == Phase::Fetching
    }

    /// From where on it is damaged, if it is.
    pub fn damage(&self) -> Option<Offset> {
        self.local.damage
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

fn is_full(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::StorageFull
}
