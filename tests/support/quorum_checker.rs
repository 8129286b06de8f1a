//! The quorum's invariants (reliability.md Q1-Q7), checked after every event of a simulated site.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek::ids::LeaderEpoch;
use odradek::quorum::entry::{self, EntryKind};
use odradek::quorum::message::Body;
use odradek::quorum::{Committed, Members, Message, Quorum, Role, VoterId};
use odradek::time::Boot;

use super::disk::{Kept, place};

/// A batch of the log that all agree on.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// Epoch of its leader.
    pub epoch: i32,
    /// Its bytes.
    pub batch: Bytes,
    /// Of everything up to it.
    pub digest: u64,
}

/// What a node looks like after an event.
pub struct Seen<'a> {
    /// The node.
    pub quorum: &'a Quorum,
    /// What is on its disk for good.
    pub durable: &'a Kept,
    /// What it reads of its disk.
    pub written: &'a Kept,
    /// When each member was heard last.
    pub heard: &'a BTreeMap<VoterId, Boot>,
    /// Its process runs, and has for so long.
    pub runs_since: Boot,
}

#[derive(Clone, Debug)]
struct Before {
    epoch: LeaderEpoch,
    high_watermark: i64,
    role: Role,
    led_since: Boot,
    members: Members,
}

/// All that was ever seen of a site.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was found wrong first.
    pub violation: Option<String>,
    /// The log that was committed, by offset.
    pub agreed: BTreeMap<i64, Agreed>,
    votes: BTreeMap<(VoterId, u64), VoterId>,
    leaders: BTreeMap<LeaderEpoch, VoterId>,
    /// How far the log was committed when a node was promoted.
    promoted: BTreeMap<VoterId, i64>,
    founders: Vec<VoterId>,
    before: BTreeMap<VoterId, Before>,
    /// What each life of each node had on its disk when it was last seen.
    disks: BTreeMap<VoterId, Kept>,
    /// After so long without a majority nobody leads.
    pub lonely_ms_max: u64,
    /// Elections that were won.
    pub election_count: usize,
}

impl Checker {
    /// For a site founded by these.
    pub fn new(founders: &[VoterId], lonely_ms_max: u64) -> Checker {
        Checker { founders: founders.to_vec(), lonely_ms_max, ..Checker::default() }
    }

    fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A leader took an observer in.
    pub fn promoted(&mut self, id: VoterId, high_watermark: i64) {
        self.promoted.insert(id, high_watermark);
    }

    /// A node sends; `may_grant` says whether it was asked while it heard no leader.
    pub fn sent(&mut self, message: &Message, durable: &Kept, may_grant: bool) {
        let (from, to, epoch) =
            (message.envelope.from, message.envelope.to, message.envelope.epoch);
        let state = durable.hard_state;
        let durable_epoch = state.epoch.0 as u64;
        let voted = |whom| epoch < durable_epoch || state.vote == Some(whom);
        match &message.body {
            Body::VoteResponse { is_pre_vote: true, is_granted: true, .. } if !may_grant => {
                self.fail(format!("Q4: {from} hears its leader and grants {to} a pre-vote"));
            }
            Body::VoteResponse { is_pre_vote: false, is_granted: true, .. } => {
                if durable_epoch < epoch || !voted(to) {
                    self.fail(format!("Q1: {from} votes for {to} in {epoch}, not durably"));
                }
                self.vote(from, epoch, to);
                self.check_taken_in(from, durable);
            }
            Body::VoteRequest { is_pre_vote: false, .. } => {
                if durable_epoch < epoch || !voted(from) {
                    self.fail(format!("Q1: {from} stands in {epoch}, its own vote not durable"));
                }
                self.vote(from, epoch, from);
            }
            Body::AppendResponse { is_appended: true, offset, .. } if 0 < *offset => {
                let is_there = (*offset as i64) < durable.end();
                if durable_epoch < epoch || !is_there {
                    self.fail(format!("Q1: {from} confirms {offset} in {epoch}, not durably"));
                }
            }
            Body::AppendRequest { .. } | Body::HeartbeatRequest { .. }
                if durable_epoch < epoch || !voted(from) =>
            {
                self.fail(format!("Q1: {from} leads {epoch}, which is not durable"));
            }
            _ => {}
        }
    }

    fn vote(&mut self, voter: VoterId, epoch: u64, candidate: VoterId) {
        let first = *self.votes.entry((voter, epoch)).or_insert(candidate);
        if first != candidate {
            self.fail(format!("Q2: {voter} votes for {first} and {candidate} in {epoch}"));
        }
    }

    fn check_taken_in(&mut self, voter: VoterId, durable: &Kept) {
        if self.founders.contains(&voter) {
            return;
        }
        match self.promoted.get(&voter) {
            Some(high_watermark) if *high_watermark <= durable.end() => {}
            Some(_) => self.fail(format!("Q5: {voter} votes before it has caught up")),
            None => self.fail(format!("Q5: {voter} votes and was never taken in")),
        }
    }

    /// A batch is handed to a node's controller; answers the digest of all up to it.
    pub fn committed(&mut self, node: VoterId, committed: &Committed, digest: u64) {
        let offset = committed.offset.0;
        let agreed = self.agreed.entry(offset).or_insert_with(|| Agreed {
            epoch: committed.epoch.0,
            batch: committed.batch.clone(),
            digest,
        });
        let is_same = agreed.epoch == committed.epoch.0
            && agreed.batch == committed.batch
            && agreed.digest == digest;
        if !is_same {
            self.fail(format!("committed: {node} has another batch at {offset}"));
        }
        if place(&committed.batch) != (offset, committed.epoch.0) {
            self.fail(format!("committed: {node} has a batch at {offset} that is stamped wrongly"));
        }
    }

    /// A node's controller is replaced by an image.
    pub fn restored(&mut self, node: VoterId, last_offset: i64, digest: u64) {
        let agreed = self.agreed.get(&last_offset).map(|agreed| agreed.digest);
        if agreed != Some(digest) {
            self.fail(format!("restored: {node} has another cluster at {last_offset}"));
        }
    }

    /// A node heard a question about a vote.
    pub fn pre_voted(&mut self, node: VoterId, before: LeaderEpoch, after: LeaderEpoch) {
        if before != after {
            self.fail(format!(
                "Q4: a pre-vote raised the epoch of {node} from {before} to {after}"
            ));
        }
    }

    /// A node starts again: what it knew and had not synced is gone.
    pub fn stopped(&mut self, node: VoterId) {
        self.before.remove(&node);
    }

    /// An event is over for a node.
    pub fn after(&mut self, seen: &Seen<'_>, now: Boot) {
        let quorum = seen.quorum;
        let id = quorum.id();
        quorum.invariants();
        let version = self.disks.get(&id).map(|disk| disk.version);
        if version != Some(seen.durable.version) {
            self.disks.insert(id, seen.durable.clone());
        }
        let leadership = quorum.leadership();
        let high_watermark = quorum.high_watermark().0;
        let before = self.before.get(&id).cloned();
        let (mut led_since, mut is_new) = (now, true);
        if let Some(before) = &before {
            if leadership.epoch < before.epoch {
                self.fail(format!("monotonic: the epoch of {id} falls"));
            }
            if high_watermark < before.high_watermark {
                self.fail(format!("monotonic: the high watermark of {id} falls"));
            }
            if before.role == Role::Leader && before.epoch == leadership.epoch {
                (led_since, is_new) = (before.led_since, false);
            }
        }
        if leadership.role == Role::Leader {
            self.leads(seen, is_new);
            if let Some(before) = before.filter(|one| one.high_watermark < high_watermark) {
                self.leader_committed(seen, high_watermark - 1, &before.members);
            }
            self.check_company(seen, led_since, now);
        }
        let (epoch, role) = (leadership.epoch, leadership.role);
        let members = quorum.members().clone();
        self.before.insert(id, Before { epoch, high_watermark, role, led_since, members });
    }

    fn leads(&mut self, seen: &Seen<'_>, is_new: bool) {
        let (id, epoch) = (seen.quorum.id(), seen.quorum.leadership().epoch);
        let known = *self.leaders.entry(epoch).or_insert(id);
        if known != id {
            self.fail(format!("single leader: {known} and {id} lead {epoch}"));
        }
        if is_new {
            self.election_count += 1;
            let lost =
                self.agreed.iter().find(|(at, agreed)| !seen.written.has(**at, agreed.epoch));
            if let Some((offset, _)) = lost {
                let what = format!("leader completeness: {id} leads {epoch} without {offset}");
                self.fail(what);
            }
        }
        // A new leader may not know yet how much of its log is committed, but somebody does.
        let known = self.agreed.last_key_value().map_or(0, |(offset, _)| offset + 1);
        let committed = seen.quorum.high_watermark().0.max(known);
        let newest_first = seen.written.batches.iter().rev();
        let pending = newest_first.take_while(|batch| committed <= place(batch).0);
        let is_change =
            |batch: &&Bytes| matches!(entry::kind_of(batch), Some(EntryKind::Members(_)));
        if 1 < pending.filter(is_change).count() {
            self.fail(format!("Q6: {id} changes members twice at once"));
        }
    }

    fn leader_committed(&mut self, seen: &Seen<'_>, last: i64, before: &Members) {
        let (id, epoch) = (seen.quorum.id(), seen.quorum.leadership().epoch.0);
        let Some(last_epoch) = seen.written.epoch_at(last) else { return };
        if last_epoch != epoch {
            self.fail(format!(
                "Q3: {id} leads {epoch} and commits {last} of {last_epoch} by count"
            ));
        }
        let has_majority = |members: &Members| {
            let voters: Vec<VoterId> = members.voters().collect();
            let has = |voter: &&VoterId| {
                self.disks.get(voter).is_some_and(|disk| disk.has(last, last_epoch))
            };
            voters.len() < 2 * voters.iter().filter(has).count()
        };
        // The batch may itself have changed who counts.
        let is_majority = has_majority(seen.quorum.members()) || has_majority(before);
        if !is_majority {
            self.fail(format!("majority: {id} commits {last} that too few have"));
        }
    }

    fn check_company(&mut self, seen: &Seen<'_>, led_since: Boot, now: Boot) {
        let id = seen.quorum.id();
        let since = led_since.max(seen.runs_since);
        let is_heard = |voter: &VoterId| {
            let at = seen.heard.get(voter).copied().unwrap_or(Boot(0)).max(since);
            *voter == id || now.ms_since(at) <= self.lonely_ms_max
        };
        let voters: Vec<VoterId> = seen.quorum.members().voters().collect();
        let heard_count = voters.iter().filter(|voter| is_heard(voter)).count();
        if 2 * heard_count <= voters.len() {
            self.fail(format!("Q4: {id} still leads, and hears no majority"));
        }
    }
}
