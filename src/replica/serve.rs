//! How a leader judges and answers its followers (semantics.md 2.8, 2.9).
//!
//! | what is wrong with a fetch | answer |
//! |---|---|
//! | an older leader epoch | `FENCED_LEADER_EPOCH` |
//! | a newer one, or from a broker that is no replica | `UNKNOWN_LEADER_EPOCH` |
//! | an incarnation that is older than the registered, or than the one that fetched last | `NOT_LEADER_OR_FOLLOWER` |
//! | offsets below 0, a durable end or a start beyond the log end, a log end beyond this log's | `INVALID_REQUEST` |
//! | goes on behind an answer that was never given | `INVALID_FETCH_SESSION_EPOCH` |
//! | an offset before the first batch, or an empty log that begins behind the end | `OFFSET_OUT_OF_RANGE`, with what there is |
//! | damaged, and neither in the ISR nor about to be | `INELIGIBLE_REPLICA`: it may heal itself |
//! | an older sequence than has been seen | none: it came late or twice |
//!
//! None of these counts as a sign of life, and nothing is learnt from them. A log that parts from
//! this one is told where, and that does not count either.

use super::Output;
use super::leader::Leader;
use super::reconcile;
use super::remote::{Ends, ParkedFetch, Remote};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::disk::Disk;
use crate::limits::REPLICA_FETCHES_MAX;
use crate::log::{ReadError, Slice};
use crate::mutant::{self, Mutant};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::replica::fetch::{EpochEnd, FetchFrom, FetchReplica, FetchedReplica};
use crate::wire::replica::progress::ProgressReplica;

/// What a fetch is answered with at once, instead of being parked.
enum Refusal {
    Error(ErrorCode),
    OutOfRange(Offset),
    Diverging(EpochEnd),
    /// It came late or twice.
    Stale,
}

/// Why nothing was read.
enum Unread<F> {
    Cold(ReadError<F>),
    Refused(Refusal),
}

/// A load that nobody waits for.
const NOBODY: NodeId = NodeId(-1);

impl<D: Disk> Leader<D> {
    pub(super) fn fetch(
        &mut self,
        now: Now,
        follower: NodeId,
        broker_epoch: i64,
        fetch: &FetchReplica,
    ) {
        let ends = Ends {
            log_start: fetch.log_start,
            log_end: fetch.log_end,
            durable_end: fetch.durable_end,
        };
        let judged = self
            .judge_sender(follower, broker_epoch, fetch.leader_epoch, fetch.sequence, &ends)
            .and_then(|()| self.judge_place(follower, fetch));
        let cursor = match judged {
            Ok(cursor) => cursor,
            Err(Refusal::Stale) => return,
            Err(refusal) => return self.refuse(follower, fetch.sequence, &refusal),
        };
        if fetch.from == FetchFrom::Next && self.standing.is_doubted() {
            self.standing.asked_on(follower, fetch.sequence);
            let others = self.others_in_sync();
            self.standing.conclude(&others);
        }
        let remote = self.remotes.get_mut(&follower).expect("judged");
        remote.is_damaged = fetch.is_damaged;
        remote.is_given_up &= fetch.is_damaged;
        remote.named_since = remote.named_since.filter(|_| fetch.is_damaged);
        remote.cursor = Some(cursor);
        remote.parked.push_back(ParkedFetch {
            sequence: fetch.sequence,
            max_bytes: fetch.max_bytes,
            since: now.boot,
            is_first: fetch.from != FetchFrom::Next,
        });
        self.hear(now, follower, ends);
        self.serve(now, follower);
    }

    pub(super) fn progress(
        &mut self,
        now: Now,
        follower: NodeId,
        broker_epoch: i64,
        progress: &ProgressReplica,
    ) {
        let ends = Ends {
            log_start: progress.log_start,
            log_end: progress.log_end,
            durable_end: progress.durable_end,
        };
        let ProgressReplica { leader_epoch, sequence, .. } = *progress;
        let Some(remote) = self.remotes.get(&follower) else { return };
        // It belongs to the newest fetch, and the logs were found to agree by then.
        let is_newest = sequence == remote.sequence && broker_epoch == remote.broker_epoch;
        let Some(known) = remote.ends.filter(|_| is_newest) else { return };
        let is_sane = ends.are_possible()
            && self.local.check_epoch(leader_epoch).is_ok()
            && known.log_end <= ends.log_end
            && known.durable_end <= ends.durable_end;
        if is_sane {
            self.hear(now, follower, ends);
        }
    }

    fn judge_sender(
        &mut self,
        follower: NodeId,
        broker_epoch: i64,
        leader_epoch: LeaderEpoch,
        sequence: u64,
        ends: &Ends,
    ) -> Result<(), Refusal> {
        self.local.check_epoch(leader_epoch).map_err(Refusal::Error)?;
        let registered = self.local.brokers.get(&follower).map_or(-1, |b| b.broker_epoch);
        let Some(remote) = self.remotes.get_mut(&follower) else {
            return Err(Refusal::Error(ErrorCode::UNKNOWN_LEADER_EPOCH));
        };
        let is_stale = broker_epoch < registered.max(remote.broker_epoch);
        if is_stale && !mutant::is_on(Mutant::TakesStaleBroker) {
            return Err(Refusal::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        if !ends.are_possible() {
            return Err(Refusal::Error(ErrorCode::INVALID_REQUEST));
        }
        if remote.broker_epoch < broker_epoch {
            remote.begin_incarnation(broker_epoch);
            self.standing.forget(follower);
        }
        if sequence <= remote.sequence {
            return Err(Refusal::Stale);
        }
        Ok(())
    }

    /// Where the fetch goes on reading, if the logs agree so far.
    fn judge_place(&mut self, follower: NodeId, fetch: &FetchReplica) -> Result<Offset, Refusal> {
        let end = self.local.log.end_offset();
        let remote = self.remotes.get_mut(&follower).expect("its sender was judged");
        let before = std::mem::replace(&mut remote.sequence, fetch.sequence);
        let FetchFrom::Offset { offset, last_epoch } = fetch.from else {
            let follows = before.checked_add(1) == Some(fetch.sequence);
            let cursor = remote.cursor.filter(|_| follows);
            let has_room = remote.parked.len() < REPLICA_FETCHES_MAX;
            let cursor = cursor
                .filter(|_| has_room)
                .ok_or(Refusal::Error(ErrorCode::INVALID_FETCH_SESSION_EPOCH))?;
            let is_sane = fetch.log_end <= end;
            return is_sane.then_some(cursor).ok_or(Refusal::Error(ErrorCode::INVALID_REQUEST));
        };
        // It begins anew: what it asked for before is void.
        remote.parked.clear();
        remote.cursor = None;
        if offset != fetch.log_end {
            return Err(Refusal::Error(ErrorCode::INVALID_REQUEST));
        }
        // An empty log agrees with any.
        let is_empty = fetch.log_start == fetch.log_end && last_epoch == LeaderEpoch::NONE;
        if !is_empty {
            let parting = reconcile::parting(self.local.log.epochs(), end, offset, last_epoch);
            if let Some(parting) = parting {
                return Err(Refusal::Diverging(parting));
            }
        }
        self.check_range(offset)?;
        Ok(offset)
    }

    /// Whether the log still has what follows `offset`.
    fn check_range(&mut self, offset: Offset) -> Result<(), Refusal> {
        if self.local.log.start_offset() <= offset && offset <= self.local.log.end_offset() {
            return Ok(());
        }
        match self.local.log.first_batch_offset() {
            Ok(first) if offset == first => Ok(()),
            Ok(first) => Err(Refusal::OutOfRange(first)),
            Err(why) => {
                self.load(NOBODY, why);
                Err(Refusal::Error(ErrorCode::OFFSET_NOT_AVAILABLE))
            }
        }
    }

    fn refuse(&mut self, follower: NodeId, sequence: u64, refusal: &Refusal) {
        let answer = self.answer(sequence);
        let answer = match *refusal {
            Refusal::Error(error) => FetchedReplica { error, ..answer },
            Refusal::OutOfRange(log_start) => {
                FetchedReplica { error: ErrorCode::OFFSET_OUT_OF_RANGE, log_start, ..answer }
            }
            Refusal::Diverging(end) => FetchedReplica { diverging: Some(end), ..answer },
            Refusal::Stale => return,
        };
        self.local.push(Output::Fetched { follower, answer, slice: None });
    }

    fn answer(&self, sequence: u64) -> FetchedReplica {
        let log = &self.local.log;
        FetchedReplica {
            topic_partition: log.topic_partition(),
            leader_epoch: self.local.state.leader_epoch,
            sequence,
            error: ErrorCode::NONE,
            high_watermark: self.local.high_watermark,
            log_start: log.start_offset(),
            log_end: log.end_offset(),
            diverging: None,
            records_bytes: 0,
        }
    }

    /// What a follower has counts.
    fn hear(&mut self, now: Now, follower: NodeId, ends: Ends) {
        let end = self.local.log.end_offset();
        let acked = self.local.acked(ends.log_end, ends.durable_end);
        let remote = self.remotes.get_mut(&follower).expect("judged");
        let before =
            remote.ends.map_or(Offset::ZERO, |e| self.local.acked(e.log_end, e.durable_end));
        let is_sound = remote.hear(now.boot, ends, acked, before, end);
        if !is_sound || remote.is_damaged {
            // It has lost what it had: the sooner it is out, the sooner it is healed.
            self.maybe_shrink(now.boot);
        }
        self.settle(now);
    }

    pub(super) fn serve_all(&mut self, now: Now) {
        self.serve_at = Boot::NEVER;
        let waiting = self.remotes.iter().filter(|(_, remote)| !remote.parked.is_empty());
        let waiting: Vec<NodeId> = waiting.map(|(node, _)| *node).collect();
        for follower in waiting {
            self.serve(now, follower);
        }
    }

    /// Answers a follower's oldest fetches as far as there is something to say.
    fn serve(&mut self, now: Now, follower: NodeId) {
        loop {
            let remote = self.remotes.get(&follower).expect("named by the caller");
            let told_at = self.told_at(follower, remote);
            let (Some(&fetch), Some(cursor)) = (remote.parked.front(), remote.cursor) else {
                return;
            };
            if remote.is_cold {
                return;
            }
            if remote.is_given_up && !self.maximal_isr().contains(&follower) {
                // Nor will it be: it is not proposed before it has fetched as a whole one.
                let refusal = Refusal::Error(ErrorCode::INELIGIBLE_REPLICA);
                return self.give_up(follower, fetch.sequence, &refusal);
            }
            let read = match self.keeps_back(now, follower) {
                true => Ok(None),
                false => self.read(cursor, fetch.max_bytes),
            };
            match read {
                Ok(Some(slice)) => {
                    self.note_given(now, follower, slice.bytes);
                    self.reply(follower, fetch.sequence, Some(slice));
                }
                Ok(None) if told_at <= now.boot => {
                    return self.reply(follower, fetch.sequence, None);
                }
                Ok(None) => return,
                Err(Unread::Cold(why)) => return self.load(follower, why),
                Err(Unread::Refused(refusal)) => {
                    self.give_up(follower, fetch.sequence, &refusal);
                    // Another may have what cannot be read here.
                    return self.maybe_leave(now.boot);
                }
            }
        }
    }

    /// What follows `cursor`, if there is something.
    fn read(
        &mut self,
        cursor: Offset,
        max_bytes: u32,
    ) -> Result<Option<Slice<D::File>>, Unread<D::File>> {
        let limit = self.local.log.end_offset();
        if limit <= cursor {
            return Ok(None);
        }
        self.check_range(cursor).map_err(Unread::Refused)?;
        let from = cursor.max(self.local.log.start_offset());
        match self.local.log.read(from, u64::from(max_bytes), limit, true) {
            // Nothing but a hole may be left.
            Ok(slice) => Ok((0 < slice.bytes).then_some(slice)),
            Err(why @ ReadError::Cold { .. }) => Err(Unread::Cold(why)),
            Err(ReadError::Damaged { segment, position }) => {
                self.local.find_damage(segment, Some(position));
                Err(Unread::Refused(Refusal::Error(ErrorCode::KAFKA_STORAGE_ERROR)))
            }
            Err(_) => Err(Unread::Refused(Refusal::Error(ErrorCode::KAFKA_STORAGE_ERROR))),
        }
    }

    fn reply(&mut self, follower: NodeId, sequence: u64, slice: Option<Slice<D::File>>) {
        let records_bytes = slice.as_ref().map_or(0, |slice| slice.bytes as u32);
        let answer = FetchedReplica { records_bytes, ..self.answer(sequence) };
        self.standing.answered(follower, sequence);
        let remote = self.remotes.get_mut(&follower).expect("named by the caller");
        remote.parked.pop_front();
        remote.told = (answer.high_watermark, answer.log_start);
        if let Some(slice) = &slice {
            remote.cursor = Some(slice.end_offset);
        }
        self.local.push(Output::Fetched { follower, answer, slice });
    }

    /// The fetch cannot be answered, nor the one behind it.
    fn give_up(&mut self, follower: NodeId, sequence: u64, refusal: &Refusal) {
        let remote = self.remotes.get_mut(&follower).expect("named by the caller");
        remote.parked.clear();
        remote.cursor = None;
        self.refuse(follower, sequence, refusal);
    }

    /// When a follower's oldest fetch is answered without bytes: there is a newer high watermark,
    /// or first offset, and nothing else came along with which to tell it; or it is to ask on, to
    /// show that it follows.
    pub(super) fn told_at(&self, follower: NodeId, remote: &Remote) -> Boot {
        let news = (self.local.high_watermark, self.local.log.start_offset());
        match remote.parked.front() {
            _ if remote.is_cold => Boot::NEVER,
            Some(fetch) if fetch.is_first || self.standing.wants_word_of(follower) => fetch.since,
            Some(fetch) if remote.told != news => {
                fetch.since.plus_ms(self.local.config.fetch_wait_max_ms)
            }
            _ => Boot::NEVER,
        }
    }

    fn load(&mut self, follower: NodeId, why: ReadError<D::File>) {
        let ReadError::Cold { file, position, bytes, .. } = why else { return };
        let token = self.local.token();
        self.cold.insert(token, follower);
        if let Some(remote) = self.remotes.get_mut(&follower) {
            remote.is_cold = true;
        }
        self.local.push(Output::Load { token, file, position, bytes });
    }

    pub(super) fn loaded(&mut self, now: Now, token: u64, is_lost: bool) {
        let Some(follower) = self.cold.remove(&token) else { return };
        let Some(remote) = self.remotes.get_mut(&follower) else { return };
        remote.is_cold = false;
        let Some(sequence) = remote.parked.front().map(|fetch| fetch.sequence) else { return };
        if is_lost {
            if let Some(cursor) = remote.cursor {
                self.local.find_damage(self.local.log.segment_of(cursor), None);
            }
            let refusal = Refusal::Error(ErrorCode::KAFKA_STORAGE_ERROR);
            self.give_up(follower, sequence, &refusal);
            return self.maybe_leave(now.boot);
        }
        self.serve(now, follower);
    }
}
