//! The crate's asynchronous ready: what it wants persisted, what may leave at once, what waits.
//!
//! ```text
//! ready ─► store (memory) ─► Persist ─► advance_append_async ─► Send what need not wait
//!                                                            └► waiting: messages, restored image
//! Persisted(n) ─► on_persist_ready, in order ─► Send what waited ─► more readies: commits
//! ```

use bytes::Bytes;
use raft::eraftpb::{Entry, Message as RaftMessage, MessageType};
use raft::{INVALID_ID, Ready, StateRole};

use crate::quorum::admit;
use crate::quorum::entry::{self, EntryKind};
use crate::quorum::members::{raft_id, voter_of};
use crate::quorum::message::{Body, Message};
use crate::quorum::{
    Committed, HardState, Leadership, Output, Persist, Quorum, Role, Snapshot, VoterId,
};
use crate::time::Boot;
use crate::wire::quorum::Envelope;

/// Something that waits for the disk, or for what waits before it.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Of the [`Persist`]; `None` when there was nothing to persist.
    number: Option<u64>,
    is_durable: bool,
    /// Number of the crate's ready, if it is one.
    ready: Option<u64>,
    /// The term that is durable with it.
    term: Option<u64>,
    messages: Vec<RaftMessage>,
    /// A leader's snapshot that replaces everything.
    restored: Option<Snapshot>,
    /// Entries up to here are in a snapshot of our own.
    compact_to: Option<u64>,
}

impl Waiting {
    /// What waits for this number and nothing else.
    fn on(number: u64) -> Waiting {
        Waiting {
            number: Some(number),
            is_durable: false,
            ready: None,
            term: None,
            messages: Vec::new(),
            restored: None,
            compact_to: None,
        }
    }

    #[cfg(any(test, feature = "mutants"))]
    pub(super) fn take_messages(&mut self) -> Vec<RaftMessage> {
        std::mem::take(&mut self.messages)
    }
}

impl Quorum {
    /// Carries out everything the crate has ready, until it has nothing left.
    pub(super) fn settle(&mut self, now: Boot) {
        self.draws.hold(&mut self.raw);
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.carry_out(ready, now);
            self.draws.hold(&mut self.raw);
        }
        self.tell(now);
        let store = self.raw.store();
        let applied = self.raw.raft.raft_log.applied;
        if store.wants_image() && !self.is_image_asked && store.snapshot_index() < applied {
            self.is_image_asked = true;
            self.outputs.push_back(Output::WantImage);
        }
        if cfg!(debug_assertions) {
            self.invariants();
        }
    }

    fn carry_out(&mut self, mut ready: Ready, now: Boot) {
        let raft = &self.raw.raft;
        let (term, leads) = (raft.term, raft.state == StateRole::Leader);
        // As a leader the crate lets messages go at once. The only voter leads before its new epoch
        // is durable, and an observer that heard of it would keep what a power cut unsays.
        let is_epoch_durable = self.durable_term == term;
        let mut messages = ready.take_messages();
        messages.extend(ready.take_persisted_messages());
        let may_leave = |message: &RaftMessage| match message.get_msg_type() {
            // It promises nothing, and without it a leader takes a slow disk for a lost node.
            MessageType::MsgHeartbeatResponse => true,
            _ => leads && is_epoch_durable,
        };
        let (at_once, held): (Vec<_>, Vec<_>) = messages.into_iter().partition(may_leave);
        let hard_state = ready.hs().map(|state| HardState {
            epoch: entry::epoch_of(state.term),
            vote: voter_of(state.vote),
            high_watermark: self.end_of(state.commit),
        });
        let entries = ready.take_entries();
        let restored = self.arrived.take().filter(|_| !ready.snapshot().is_empty());
        if restored.is_some() {
            self.raw.mut_store().restore(ready.snapshot().clone());
        }
        self.raw.mut_store().append(&entries);
        let number = ready.must_sync().then(|| {
            let node_id = self.id.node_id;
            let batches = entries.iter().map(|one| entry::batch_of(one, node_id)).collect();
            self.persist(hard_state, restored.clone(), restored.is_some(), batches)
        });
        let committed = ready.take_committed_entries();
        self.waiting.push_back(Waiting {
            number,
            is_durable: number.is_none(),
            ready: Some(ready.number()),
            term: hard_state.map(|state| state.epoch.0 as u64),
            messages: held,
            restored,
            compact_to: None,
        });
        self.raw.advance_append_async(ready);
        self.send_all(at_once, now);
        #[cfg(any(test, feature = "mutants"))]
        self.mutate_waiting(now);
        self.commit(&committed);
        self.release(now);
    }

    fn persist(
        &mut self,
        hard_state: Option<HardState>,
        snapshot: Option<Snapshot>,
        begins_anew: bool,
        batches: Vec<Bytes>,
    ) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let persist = Persist { number, hard_state, snapshot, begins_anew, batches };
        self.outputs.push_back(Output::Persist(persist));
        number
    }

    /// Has a snapshot of our own made durable; then what it holds goes from memory.
    pub(super) fn persist_snapshot(&mut self, snapshot: Snapshot) {
        let index = snapshot.place().offset;
        let number = self.persist(None, Some(snapshot), false, Vec::new());
        self.waiting.push_back(Waiting { compact_to: Some(index), ..Waiting::on(number) });
    }

    pub(super) fn persisted(&mut self, number: u64, now: Boot) {
        for one in &mut self.waiting {
            one.is_durable |= one.number.is_some_and(|waiting| waiting <= number);
        }
        self.release(now);
    }

    /// Lets go, in order, what waits for nothing any more.
    fn release(&mut self, now: Boot) {
        while self.waiting.front().is_some_and(|one| one.is_durable) {
            let one = self.waiting.pop_front().expect("just looked at");
            if let Some(term) = one.term {
                self.durable_term = term;
            }
            if let Some(ready) = one.ready {
                self.raw.on_persist_ready(ready);
            }
            if let Some(snapshot) = one.restored {
                self.raw.advance_apply_to(snapshot.place().offset);
                self.members = snapshot.members.clone();
                self.snapshot = Some(snapshot.clone());
                self.outputs.push_back(Output::Restore(snapshot));
            }
            if let Some(index) = one.compact_to {
                self.raw.mut_store().compact(index);
            }
            self.send_all(one.messages, now);
        }
    }

    /// Has it made durable how far the log is committed. Members count by committed changes alone, so
    /// a node that forgot one after a power cut might wait for the vote of somebody who is gone.
    fn persist_high_watermark(&mut self) {
        let raft = &self.raw.raft;
        let state = HardState {
            epoch: entry::epoch_of(raft.term),
            vote: voter_of(raft.vote),
            high_watermark: self.end_of(raft.raft_log.committed),
        };
        let number = self.persist(Some(state), None, false, Vec::new());
        self.waiting.push_back(Waiting::on(number));
    }

    fn commit(&mut self, entries: &[Entry]) {
        let mut has_new_members = false;
        for entry in entries {
            let batch = entry::batch_of(entry, self.id.node_id);
            let read = entry::read(&batch).expect("an entry was checked when it came");
            if let EntryKind::Members(change) = read.kind {
                // All nodes have the same members here, so all take the step or none.
                if self.members.check(change).is_ok() {
                    self.members.apply(change);
                    self.raw
                        .apply_conf_change(&entry::conf_change(change))
                        .expect("the step leads from these members to a quorum");
                    has_new_members = true;
                }
            }
            let (offset, epoch, kind) = (read.offset, read.epoch, read.kind);
            self.outputs.push_back(Output::Committed(Committed { offset, epoch, kind, batch }));
        }
        if let Some(last) = entries.last() {
            self.raw.advance_apply_to(last.index);
        }
        if has_new_members {
            self.persist_high_watermark();
        }
        // A leader that inherited its own removal. The crate would go on leading, and stop the
        // process at the next batch that a majority has.
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && !self.members.is_voter(self.id) {
            let term = raft.term;
            raft.become_follower(term, INVALID_ID);
        }
    }

    pub(super) fn send_all(&mut self, mut messages: Vec<RaftMessage>, now: Boot) {
        // The crate goes through a hash map; its order is not the same on every machine.
        messages.sort_by_key(|message| message.to);
        for message in messages {
            let Some(to) = voter_of(message.to) else { continue };
            let envelope = Envelope { from: self.id, to, epoch: message.term };
            let node_id = self.id.node_id;
            let bodies = match message.get_msg_type() {
                MessageType::MsgAppend => {
                    admit::appends(&message, |entry| entry::batch_of(entry, node_id))
                }
                MessageType::MsgSnapshot => self.begin_image(to, now).into_iter().collect(),
                _ => admit::body_of(&message).into_iter().collect(),
            };
            for body in bodies {
                self.outputs.push_back(Output::Send(Message { envelope, body }));
            }
        }
    }

    fn begin_image(&mut self, to: VoterId, now: Boot) -> Option<Body> {
        // It is on its way; only another refusal asks for one again.
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(raft_id(to)) {
            progress.pending_request_snapshot = 0;
        }
        let snapshot = self.snapshot.clone()?;
        Some(self.outgoing.begin(to, snapshot, now))
    }

    pub(super) fn send_body(&mut self, to: VoterId, body: Body) {
        let envelope = Envelope { from: self.id, to, epoch: self.raw.raft.term };
        self.outputs.push_back(Output::Send(Message { envelope, body }));
    }

    /// Says who leads, when that is news.
    fn tell(&mut self, now: Boot) {
        let leadership = self.leadership();
        if leadership == self.told {
            return;
        }
        self.expect_others(now, leadership);
        self.told = leadership;
        self.outputs.push_back(Output::Leadership(leadership));
    }

    /// From now on others are to be heard than before.
    fn expect_others(&mut self, now: Boot, leadership: Leadership) {
        let known = self.told.leader.filter(|leader| *leader != self.id);
        if let Some(leader) = known {
            let heard = self.patience.heard_at(leader.node_id);
            self.last_leader = heard.map(|at| (leader.node_id, at)).or(self.last_leader);
        }
        self.patience.begin_anew();
        if leadership.role != Role::Leader {
            self.outgoing.clear();
            return;
        }
        for member in self.members.to_list() {
            let node_id = member.id.node_id;
            // It led before, and was silent already.
            let silent = self.last_leader.filter(|(leader, _)| *leader == node_id);
            if node_id != self.id.node_id {
                self.patience.expect(silent.map_or(now, |(_, at)| at), node_id);
            }
        }
        self.last_leader = None;
    }
}
