//! Q1, Q2, Q3 and Q5 to Q7: a vote leaves after it is durable, nobody votes twice in an epoch, nobody
//! shares an epoch's leadership, most have voted for whoever leads, and what is committed is the same
//! on all nodes and stays. Members change one at a time.

use std::collections::{BTreeMap, BTreeSet};

use odradek::broker::control::METADATA;
use odradek::broker::site::{Keep, Said};
use odradek::ids::Offset;
use odradek::journal::Entry;
use odradek::quorum::entry::kind_of;
use odradek::quorum::message::Body;
use odradek::quorum::{EntryKind, Leadership, Quorum, Role};
use odradek::wire::quorum::VoterId;

use super::copies::{Copies, Copy};
use super::rules::{q1, q2, q3, q5, q6, q7};
use super::{Batches, Verdict};
use crate::sim::node::Running;
use crate::sim::trace::Trace;
use crate::sim_disk::SimFile;

/// See the module.
#[derive(Default)]
pub struct Votes {
    given: BTreeMap<(VoterId, u64), VoterId>,
    leaders: BTreeMap<u64, VoterId>,
    kept: BTreeMap<i32, (VoterId, u64)>,
    marks: BTreeMap<i32, i64>,
    /// Who leads, in which epoch.
    leading: BTreeMap<i32, i32>,
    /// Epochs of what is committed, by offset.
    epochs: BTreeMap<i64, i32>,
    /// The same as batches, as far as they were seen on a disk.
    committed: Batches,
    /// Who each node spoke as last, and those whose log is lost since.
    names: BTreeMap<i32, VoterId>,
    lost: BTreeSet<VoterId>,
    /// Up to where a node's process was looked at.
    compared: BTreeMap<i32, i64>,
    voters: BTreeMap<i32, Vec<VoterId>>,
    /// Batches that change the members: offset and epoch.
    changes: BTreeSet<(i64, i32)>,
}

impl Votes {
    /// A node makes files durable.
    pub fn kept(&mut self, node: i32, keeps: &[Keep]) {
        for keep in keeps {
            if let Keep::State(state) = keep {
                if let Some(vote) = state.vote {
                    self.kept.insert(node, (vote, state.epoch.0 as u64));
                }
            }
        }
    }

    /// A leader adds a batch to its log: another change of members before it is committed by then.
    pub fn persist(&mut self, running: &Running, entry: &Entry<SimFile>, verdict: &mut Verdict) {
        let Entry::Append { leader_epoch, base_offset, bytes, .. } = entry else { return };
        let Some(quorum) = running.site.quorum() else { return };
        if !matches!(kind_of(bytes), Some(EntryKind::Members(_))) {
            return;
        }
        let (next, epoch) = (base_offset.0, leader_epoch.0);
        self.changes.insert((next, epoch));
        let leads = quorum.leadership();
        if leads.role != Role::Leader || leads.epoch.0 != epoch {
            return;
        }
        let before = self.changes.range(..(next, 0)).rev();
        let mut own = before.filter(|(offset, epoch)| {
            quorum.epoch_at(Offset(*offset)).is_some_and(|known| known.0 == *epoch)
        });
        if let Some((before, _)) = own.next() {
            let committed = quorum.high_watermark().0;
            q6::one_at_a_time(verdict, running.life.node, (*before, next), committed);
        }
    }

    /// The offset behind what some node took for committed.
    pub fn committed_end(&self) -> Option<i64> {
        self.epochs.last_key_value().map(|(offset, _)| offset + 1)
    }

    /// What some node took for committed.
    pub fn committed(&self) -> &Batches {
        &self.committed
    }

    /// A node says something to a peer.
    pub fn said(&mut self, running: &Running, said: &Said, verdict: &mut Verdict) {
        let Said::Quorum(message) = said else { return };
        let node = running.life.node;
        let envelope = message.envelope;
        self.names.insert(node, envelope.from);
        q5::speaks(verdict, envelope.from, &self.lost);
        let vote = match &message.body {
            Body::VoteResponse { is_pre_vote: false, is_granted: true, .. } => envelope.to,
            Body::VoteRequest { is_pre_vote: false, .. } => envelope.from,
            Body::AppendRequest { .. } | Body::HeartbeatRequest { .. } => {
                if !self.leaders.contains_key(&envelope.epoch) {
                    self.leads(running, (envelope.from, envelope.epoch), verdict);
                }
                let leader = *self.leaders.entry(envelope.epoch).or_insert(envelope.from);
                return q2::one_leader(verdict, envelope.epoch, (envelope.from, leader));
            }
            _ => return,
        };
        let known = *self.given.entry((envelope.from, envelope.epoch)).or_insert(vote);
        q2::one_vote(verdict, (envelope.from, envelope.epoch), (vote, known));
        let kept = self.kept.get(&node);
        q1::kept_before(verdict, envelope.from, (vote, envelope.epoch), kept);
    }

    /// Somebody speaks as a leader for the first time: most have said that they vote for it.
    fn leads(&self, running: &Running, leader: (VoterId, u64), verdict: &mut Verdict) {
        let Some(quorum) = running.site.quorum() else { return };
        let voters: Vec<VoterId> = quorum.members().voters().collect();
        let votes_for = |voter: &&VoterId| {
            **voter == leader.0 || self.given.get(&(**voter, leader.1)) == Some(&leader.0)
        };
        let votes = voters.iter().filter(votes_for).count();
        q7::is_voted_for(verdict, leader, (votes, voters.len()));
    }

    /// Looks at what a node takes for committed.
    pub fn look(
        &mut self,
        running: &Running,
        copies: &Copies,
        verdict: &mut Verdict,
        trace: &mut Trace,
    ) {
        let Some(quorum) = running.site.quorum() else { return };
        let node = running.life.node;
        let mark = quorum.high_watermark().0;
        let leads = self.leads_on(node, quorum);
        if self.marks.insert(node, mark) == Some(mark) {
            return;
        }
        let last = quorum.epoch_at(Offset(mark - 1));
        if let (Some(epoch), Some(last)) = (leads, last) {
            q3::of_its_own(verdict, node, mark, (epoch, last.0));
        }
        let Some(own) = copies.copy(node, METADATA) else { return };
        let is_news = self.compare(node, (quorum, own, mark), verdict);
        let voters: Vec<VoterId> = quorum.members().voters().collect();
        let before = self.voters.insert(node, voters.clone());
        if is_news {
            let end = |id: &VoterId| {
                let copy = copies.copy(id.node_id.0, METADATA)?;
                self.agrees(copy, mark).then_some(copy.durable)
            };
            let is_majority = |voters: &[VoterId]| {
                let has = |id: &&VoterId| end(id).is_some_and(|end| mark <= end);
                let holders = voters.iter().filter(has).count();
                voters.len() / 2 < holders || voters.len() < 2
            };
            let is_held = is_majority(&voters) || before.is_some_and(|v| is_majority(&v));
            q3::most_have_it(verdict, node, mark, is_held, || {
                let ends: Vec<_> = voters.iter().map(|id| (id.node_id.0, end(id))).collect();
                format!("{ends:?}")
            });
            trace.mix(mark as u64);
        }
    }

    /// The epoch in which a node leads, if it did when it was looked at last.
    fn leads_on(&mut self, node: i32, quorum: &Quorum) -> Option<i32> {
        let Leadership { role, epoch, .. } = quorum.leadership();
        let before = match role {
            Role::Leader => self.leading.insert(node, epoch.0),
            _ => self.leading.remove(&node),
        };
        before.filter(|before| role == Role::Leader && *before == epoch.0)
    }

    /// Compares what a node has below its mark with what others had there when it was committed;
    /// answers whether some of it is news. What a snapshot holds is in memory no more, and was
    /// compared before, or came from somebody for whom it was.
    fn compare(
        &mut self,
        node: i32,
        (quorum, own, mark): (&Quorum, &Copy, i64),
        verdict: &mut Verdict,
    ) -> bool {
        let mut is_news = false;
        let from = self.compared.insert(node, mark).unwrap_or(0);
        for offset in from..mark {
            let Some(epoch) = quorum.epoch_at(Offset(offset)) else { continue };
            let known = *self.epochs.entry(offset).or_insert_with(|| {
                is_news = true;
                epoch.0
            });
            q3::same_epoch(verdict, node, offset, (epoch.0, known));
            let batch = own.batches.0.get(&offset).filter(|batch| batch.epoch == epoch.0);
            let Some(batch) = batch else { continue };
            let known = self.committed.0.entry(offset).or_insert(*batch);
            q3::same_batch(verdict, node, offset, (batch, known));
        }
        is_news
    }

    /// Whether a copy that reaches up to an offset has what is committed before it. One that began anew
    /// in a snapshot has no batch there.
    fn agrees(&self, copy: &Copy, end: i64) -> bool {
        let last = copy.batches.0.range(..end).next_back();
        last.is_none_or(|(offset, batch)| {
            self.epochs.get(offset).is_none_or(|known| *known == batch.epoch)
        })
    }

    /// A process starts: what it takes for committed is looked at again. One whose log is lost is no
    /// longer who it was.
    pub fn booted(&mut self, node: i32, is_lost: bool) {
        if is_lost {
            self.lost.extend(self.names.remove(&node));
        }
        self.compared.remove(&node);
        self.marks.remove(&node);
        self.leading.remove(&node);
    }
}
