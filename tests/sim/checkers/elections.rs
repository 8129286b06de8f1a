//! Q4 and Q7: how an epoch of the quorum comes about, and how a leadership ends.

use std::collections::{BTreeMap, BTreeSet};

use odradek::broker::site::Said;
use odradek::quorum::message::Body;
use odradek::quorum::{Leadership, Quorum, Role};
use odradek::wire::quorum::VoterId;

use super::Verdict;
use super::rules::q4;
use crate::sim::node::Running;

/// See the module.
#[derive(Default)]
pub struct Elections {
    /// Epochs in which somebody has asked for votes, or led.
    begun: BTreeSet<u64>,
    /// Who would vote for somebody in an epoch.
    willing: BTreeMap<(VoterId, u64), BTreeSet<VoterId>>,
    /// Who was asked whether it would, while it heard no leader.
    free: BTreeSet<(i32, VoterId, u64)>,
    /// The epoch that a node has begun last, where it was looked at who would vote for it.
    judged: BTreeMap<i32, u64>,
    /// Who was asked by its leader to take over.
    called: BTreeSet<VoterId>,
    /// Which leader a node heard last, and when.
    leaders: BTreeMap<i32, (VoterId, u64)>,
    /// When a node heard a voter last.
    heard: BTreeMap<i32, BTreeMap<i32, u64>>,
    /// In which epoch a node leads, and since when.
    leads: BTreeMap<i32, (u64, u64)>,
    /// What a node has kept.
    kept: BTreeMap<i32, u64>,
}

impl Elections {
    /// A node says something to a peer.
    pub fn said(&mut self, running: &Running, said: &Said, verdict: &mut Verdict) {
        let (Said::Quorum(message), Some(quorum)) = (said, running.site.quorum()) else { return };
        let envelope = message.envelope;
        match &message.body {
            Body::VoteResponse { is_pre_vote: true, is_granted: true, .. } => {
                let asked = (envelope.to, envelope.epoch);
                let is_free = self.free.contains(&(running.life.node, asked.0, asked.1));
                q4::heard_no_leader(verdict, envelope.from, asked, is_free);
                self.willing.entry(asked).or_default().insert(envelope.from);
            }
            Body::VoteRequest { is_pre_vote: false, .. } => {
                self.begins(running.life.node, quorum, envelope.epoch, verdict);
                self.begun.insert(envelope.epoch);
            }
            Body::AppendRequest { .. } | Body::HeartbeatRequest { .. } => {
                self.begun.insert(envelope.epoch);
            }
            Body::CampaignNow => {
                self.called.insert(envelope.to);
            }
            _ => {}
        }
    }

    /// A node begins an epoch: most would vote for it, or its leader has asked it to. Who votes is what
    /// it knows when it stands for the first time: while its own vote is synced, it may hear that
    /// another member has come.
    fn begins(&mut self, node: i32, quorum: &Quorum, epoch: u64, verdict: &mut Verdict) {
        let id = quorum.id();
        if self.judged.insert(node, epoch) == Some(epoch) || self.called.contains(&id) {
            return;
        }
        let willing = self.willing.get(&(id, epoch));
        let count =
            |voter: &VoterId| *voter == id || willing.is_some_and(|known| known.contains(voter));
        let voters: Vec<VoterId> = quorum.members().voters().collect();
        let willing = voters.iter().filter(|voter| count(voter)).count();
        q4::most_would_vote(verdict, (id, epoch), (willing, voters.len()));
    }

    /// A node is about to hear something.
    pub fn hears(&mut self, us: u64, running: &Running, said: &Said) {
        let (Said::Quorum(message), Some(quorum)) = (said, running.site.quorum()) else { return };
        let (node, envelope) = (running.life.node, message.envelope);
        self.heard.entry(node).or_default().insert(envelope.from.node_id.0, us);
        if matches!(message.body, Body::VoteRequest { is_pre_vote: true, .. }) {
            let Leadership { role, leader, .. } = quorum.leadership();
            let heard = self.leaders.get(&node).filter(|heard| leader == Some(heard.0));
            let is_recent = heard.is_some_and(|heard| us < heard.1 + q4::LEASE_US);
            if role != Role::Leader && !is_recent {
                self.free.insert((node, envelope.from, envelope.epoch));
            }
        }
    }

    /// A node has heard something.
    pub fn has_heard(&mut self, us: u64, running: &Running, said: &Said) {
        let (Said::Quorum(message), Some(quorum)) = (said, running.site.quorum()) else { return };
        let is_leaders = matches!(
            message.body,
            Body::AppendRequest { .. }
                | Body::HeartbeatRequest { .. }
                | Body::SnapshotRequest { .. }
        );
        let from = message.envelope.from;
        let Leadership { epoch, leader, .. } = quorum.leadership();
        if is_leaders && leader == Some(from) && epoch.0 as u64 == message.envelope.epoch {
            self.leaders.insert(running.life.node, (from, us));
        }
    }

    /// A node makes an epoch durable.
    pub fn kept(&mut self, running: &Running, epoch: u64, verdict: &mut Verdict) {
        let before = self.kept.insert(running.life.node, epoch);
        let Some(quorum) = running.site.quorum() else { return };
        if before.is_some_and(|before| before < epoch) && !self.begun.contains(&epoch) {
            self.begins(running.life.node, quorum, epoch, verdict);
        }
    }

    /// Looks at what a node is; `awake` is since when it has not been held up.
    pub fn look(&mut self, us: u64, awake: u64, running: &Running, verdict: &mut Verdict) {
        let node = running.life.node;
        let Some(quorum) = running.site.quorum() else { return };
        let Leadership { role, epoch, .. } = quorum.leadership();
        if role == Role::Candidate {
            self.begins(node, quorum, epoch.0 as u64, verdict);
        }
        if role != Role::Leader {
            self.leads.remove(&node);
            return;
        }
        let leads = self.leads.entry(node).or_insert((epoch.0 as u64, us));
        if leads.0 != epoch.0 as u64 {
            *leads = (epoch.0 as u64, us);
        }
        if us < leads.1.max(awake) + q4::SILENCE_US {
            return;
        }
        let heard = self.heard.entry(node).or_default();
        let is_heard = |voter: &VoterId| {
            let at = heard.get(&voter.node_id.0);
            *voter == quorum.id() || at.is_some_and(|at| us <= at + q4::SILENCE_US)
        };
        let voters: Vec<VoterId> = quorum.members().voters().collect();
        let heard = voters.iter().filter(|voter| is_heard(voter)).count();
        q4::hears_a_majority(verdict, node, (heard, voters.len()));
    }

    /// A process starts.
    pub fn booted(&mut self, node: i32) {
        self.leaders.remove(&node);
        self.judged.remove(&node);
        self.leads.remove(&node);
        self.kept.remove(&node);
    }
}
