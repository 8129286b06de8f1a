//! The metadata quorum: `__cluster_metadata-0`, agreed on by the site's voters.
//!
//! A protocol machine (style.md §2) around the `raft` crate. The owner calls [`Quorum::step`] with
//! what happened, then [`Quorum::poll`] until there is nothing left, then sleeps until
//! [`Quorum::next_deadline`]. It never waits for a disk: what must be durable leaves as
//! [`Output::Persist`], and what rests on it follows when [`Input::Persisted`] says so.
//!
//! ```text
//!  peer ── vote, append ──► follower ─ Persist ─► disk ─ Persisted ─► vote, ack ──► peer
//!  peer ── heartbeat ─────► follower ── heartbeat response, at once ──────────────► peer
//!
//!  propose ─► leader ─┬─ Persist ─► disk ─ Persisted ─► the leader's own ack ─┬─► Committed
//!                     └─ append, at once ─► followers ─► their acks ──────────┘
//! ```
//!
//! What is whose: one entry is one record batch of one record ([`entry`]), its index the offset,
//! its term the leader epoch. Offset 0 is the bootstrap batch, which stands under the log as a
//! snapshot would. Who belongs to the quorum is in the log itself ([`members`]).
//!
//! # The owner
//! At a start it reads hard state, snapshot and log into a [`Start`]; what is not sound there is one
//! more reason for another incarnation. It writes each [`Persist`] as one commit of the journal: the
//! batches as they are, cut off before where the first of them belongs. It replays
//! [`Output::Committed`] in order and answers a proposal when its offset comes in the epoch in which
//! it was proposed; whatever else comes there says that it was lost. When it no longer leads, what
//! it replayed in advance is dropped. It answers [`Output::WantImage`] before the next step.
//!
//! # Roles
//! Follower → pre-candidate (nothing heard for an election timeout) → candidate (a majority would
//! vote) → leader (a majority did). Leader → follower: a higher epoch is heard, or no majority for
//! the lease. Candidates of either kind → follower: a leader is heard, or the vote is lost. A leader
//! is of use to a controller once its first batch is committed ([`EntryKind::LeaderChange`]).
//!
//! # Invariants
//! - **Invariant:** a vote, an ack and a request for votes leave after the epoch, the vote and the
//!   batches they speak of are on stable storage (Q1). Heartbeats and their answers promise nothing
//!   and wait for nothing, save that a leader says nothing in an epoch that is not durable.
//! - **Invariant:** a node without a log, or with another incarnation than it is asked under, does
//!   not vote (Q5). Another life of a node votes only after its old one was removed and it has
//!   caught up with everything committed.
//! - **Invariant:** members change one at a time (Q6).
//! - **Invariant:** the consensus crate's own draws are never read ([`Timeouts`]), and no message of
//!   a peer can make it stop the process ([`Refusal`]).
//!
//! Read design.md §6, semantics.md 2.13 and reliability.md Q1-Q7 first; then the Raft dissertation,
//! chapters 3, 4 and 9, KIP-595, 853 and 996.
//!
//! # Why
//! - *The crate and not our own Raft*: it has run in production for years, with pre-vote,
//!   check-quorum and an asynchronous ready. Its protobuf stays inside.
//! - *A new identity for a lost log*, where one could let the node listen for a while and then vote
//!   again. That is not safe: an ack of its first life may still be on its way to the leader, and
//!   a vote of an epoch the listener never heard of to a candidate.
//! - *The log in memory behind the newest snapshot*: metadata is small, a snapshot bounds it, and a
//!   leader that sends batches never waits for a read.
//! - *A witness stores batches and may lead for a moment.* With the votes alone it could keep the
//!   one board from leading that is left, whose log ends a batch earlier.

mod admit;
pub mod entry;
mod hear;
#[cfg(test)]
mod hostile_tests;
pub mod members;
pub mod message;
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;
mod patience;
mod ready;
mod start;
mod store;
#[cfg(test)]
mod tests;
mod timeouts;
mod transfer;
mod types;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use raft::{ProgressState, RawNode, StateRole};

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::limits::{
    QUORUM_BATCH_BYTES_MAX, QUORUM_IMAGE_BYTES_MAX, QUORUM_MEMBERS_MAX, QUORUM_VOTERS_MAX,
};
use crate::quorum::members::{raft_id, voter_of};
use crate::quorum::patience::PATIENCE_MS_MIN;
use crate::quorum::ready::Waiting;
use crate::quorum::store::Store;
use crate::quorum::timeouts::Draws;
use crate::quorum::transfer::{Incoming, Outgoing};
use crate::time::{Boot, Now};
use crate::wire::quorum::members::{MemberChange, MemberKind};

pub use admit::Refusal;
pub use entry::EntryKind;
pub use members::{Members, MembersError};
pub use message::{Message, MessageError};
pub use patience::Patience;
pub use start::{Base, Start, StartError};
pub use timeouts::Timeouts;
pub use types::{
    Committed, HardState, Input, Leadership, Output, Persist, Progress, ProposeError, Reads, Role,
    Snapshot,
};

pub use crate::wire::quorum::VoterId;

/// Ticks of the clock for one of the crate's, at most.
const STRETCH_MAX: u64 = 8;

/// One voter, witness or observer of the metadata quorum.
pub struct Quorum {
    id: VoterId,
    is_witness: bool,
    reads: Reads,
    raw: RawNode<Store>,
    draws: Draws,
    tick_ms: u64,
    heartbeat_ticks: u64,
    next_tick: Boot,
    tick_count: u64,
    patience: Patience,
    /// Who led before, and when it was heard last.
    last_leader: Option<(NodeId, Boot)>,
    /// As of the last batch that was handed out.
    members: Members,
    introduced: BTreeSet<VoterId>,
    /// What waits for the disk, oldest first.
    waiting: VecDeque<Waiting>,
    last_number: u64,
    /// The term that is on stable storage.
    durable_term: u64,
    /// The newest snapshot, made here or received.
    snapshot: Option<Snapshot>,
    /// A snapshot whose image is complete, while the crate looks at it.
    arrived: Option<Snapshot>,
    outgoing: Outgoing,
    incoming: Incoming,
    outputs: VecDeque<Output>,
    told: Leadership,
    is_image_asked: bool,
    is_failed: bool,
    #[cfg(any(test, feature = "mutants"))]
    mutant: Option<mutant::Mutant>,
}

impl Quorum {
    /// Takes an event into account. Everything that [`Quorum::poll`] has is polled before the next.
    pub fn step(&mut self, now: Now, input: Input) {
        assert!(self.outputs.is_empty(), "outputs are polled before the next step");
        if self.is_failed {
            return;
        }
        match input {
            Input::Time => self.pass_time(now.boot),
            Input::Message(message) => {
                let from = message.envelope.from;
                if self.next_tick.plus_ms(2 * self.tick_ms) <= now.boot {
                    // This process stood still: that is not the peer's silence.
                    self.pass_time(now.boot);
                }
                if let Err(why) = self.take(now.boot, &message) {
                    self.outputs.push_back(Output::Refused(from, why));
                }
            }
            Input::Persisted(number) => self.persisted(number, now.boot),
            Input::Vanished(node_id) => self.vanished(node_id),
            Input::Image(image) => self.keep_image(image),
            Input::Introduce(id) => {
                if self.introduced.len() < QUORUM_MEMBERS_MAX {
                    self.introduced.insert(id);
                }
            }
            Input::Forget(id) => {
                self.introduced.remove(&id);
            }
            Input::StorageFailed => {
                self.is_failed = true;
                return;
            }
        }
        self.settle(now.boot);
    }

    /// The next thing to do, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Time`] is due. A node that is alone has nothing to wait for.
    pub fn next_deadline(&self) -> Boot {
        let is_idle = self.raw.raft.state == StateRole::Leader && self.members.is_alone(self.id);
        if self.is_failed || is_idle { Boot::NEVER } else { self.next_tick }
    }

    /// Appends a list of changes as one batch; answers its offset. It took effect when
    /// [`Output::Committed`] names that offset *and this epoch*.
    pub fn propose(&mut self, now: Now, value: &[u8]) -> Result<Offset, ProposeError> {
        let raft = &self.raw.raft;
        if self.is_failed || self.is_witness || raft.state != StateRole::Leader {
            return Err(ProposeError::NotLeader);
        }
        if !raft.apply_to_current_term() {
            return Err(ProposeError::NotReady);
        }
        let offset = entry::offset_of(raft.raft_log.last_index() + 1);
        let batch = entry::changes_batch(now.wall, value, offset, entry::epoch_of(raft.term));
        if QUORUM_BATCH_BYTES_MAX < batch.len() {
            return Err(ProposeError::TooLarge);
        }
        let proposed = self.raw.propose(Vec::new(), batch.into());
        self.settle(now.boot);
        proposed.map(|()| offset).map_err(|_| ProposeError::Busy)
    }

    /// Takes one step towards another set of members; answers the offset of its batch.
    pub fn change_members(
        &mut self,
        now: Now,
        change: MemberChange,
    ) -> Result<Offset, MembersError> {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader && raft.apply_to_current_term();
        if self.is_failed || !leads {
            return Err(MembersError::NotLeader);
        }
        if raft.has_pending_conf() {
            return Err(MembersError::InProgress);
        }
        self.members.check(change)?;
        match change {
            MemberChange::Promote { id, .. } if !self.has_caught_up(id) => {
                return Err(MembersError::NotCaughtUp);
            }
            MemberChange::Remove(id) if id == self.id => {
                self.hand_over(now);
                return Err(MembersError::HandingOver);
            }
            _ => {}
        }
        let raft = &self.raw.raft;
        let offset = entry::offset_of(raft.raft_log.last_index() + 1);
        let batch = entry::members_batch(now.wall, change, offset, entry::epoch_of(raft.term));
        let proposed = self.raw.propose_conf_change(batch.into(), entry::conf_change(change));
        self.settle(now.boot);
        proposed.map(|()| offset).map_err(|_| MembersError::InProgress)
    }

    /// Lets the voter lead that has caught up best: before a planned stop. Nothing is proposed
    /// meanwhile; when it does not come about, this node goes on leading.
    pub fn hand_over(&mut self, now: Now) {
        let raft = &self.raw.raft;
        if self.is_failed || raft.state != StateRole::Leader || raft.lead_transferee.is_some() {
            return;
        }
        let matched = |id: &VoterId| raft.prs().get(raft_id(*id)).map_or(0, |one| one.matched);
        let others = self.members.voters().filter(|id| *id != self.id);
        // Of several the first; witnesses only when there is nobody else.
        let best = others.min_by_key(|id| {
            let is_witness = self.members.kind(*id) == Some(MemberKind::Witness);
            (is_witness, std::cmp::Reverse(matched(id)))
        });
        if let Some(best) = best {
            self.raw.transfer_leader(raft_id(best));
            self.settle(now.boot);
        }
    }

    /// Who this is.
    pub fn id(&self) -> VoterId {
        self.id
    }

    /// Who leads, as far as is known here.
    pub fn leadership(&self) -> Leadership {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        Leadership { role, epoch: entry::epoch_of(raft.term), leader: voter_of(raft.leader_id) }
    }

    /// Who belongs to the quorum, by the batches that were handed out.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The end of the log; what lies at it may not be durable yet.
    pub fn log_end_offset(&self) -> Offset {
        self.end_of(self.raw.raft.raft_log.last_index())
    }

    /// The end of what is known to be committed.
    pub fn high_watermark(&self) -> Offset {
        self.end_of(self.raw.raft.raft_log.committed)
    }

    /// The epoch of the batch at an offset, as far as this node has it in memory; what is on stable
    /// storage may lag behind.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let index = u64::try_from(offset.0).ok()?;
        self.raw.raft.raft_log.term(index).ok().filter(|term| 0 < *term).map(entry::epoch_of)
    }

    /// Every member, and how far it is.
    pub fn progress(&self) -> Vec<Progress> {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        let of = |id: VoterId, kind: MemberKind| {
            let progress = raft.prs().get(raft_id(id)).filter(|_| leads);
            Progress {
                id,
                kind,
                durable_end_offset: progress.map(|one| self.end_of(one.matched)),
                is_restoring: progress.is_some_and(|one| one.state == ProgressState::Snapshot),
            }
        };
        self.members.to_list().into_iter().map(|one| of(one.id, one.kind)).collect()
    }

    fn end_of(&self, index: u64) -> Offset {
        // Without a bootstrap batch there is not even offset 0.
        let is_nothing = index == 0 && self.raw.store().base().term == 0;
        if is_nothing { Offset::ZERO } else { entry::offset_of(index + 1) }
    }

    /// Whether an observer has everything that is committed.
    fn has_caught_up(&self, id: VoterId) -> bool {
        let raft = &self.raw.raft;
        let progress = raft.prs().get(raft_id(id));
        progress.is_some_and(|one| raft.raft_log.committed <= one.matched)
    }

    fn pass_time(&mut self, now: Boot) {
        if now < self.next_tick {
            return;
        }
        let missed = now.ms_since(self.next_tick) / self.tick_ms;
        // After a pause of the process, or of the machine, what peers said meanwhile is read before
        // this node concludes that they are gone.
        let ticks = if missed == 0 { 1 } else { 2 };
        for _ in 0..ticks {
            self.tick();
        }
        let is_late = 2 <= missed;
        if is_late {
            self.patience.excuse(missed * self.tick_ms);
        }
        self.next_tick = if is_late {
            now.plus_ms(self.tick_ms)
        } else {
            self.next_tick.plus_ms(ticks * self.tick_ms)
        };
        if self.raw.raft.state == StateRole::Leader {
            self.go_on_with_images(now);
            self.maybe_hand_over();
        }
    }

    /// A tick of the clock is one of the crate's, unless patience stretches them.
    fn tick(&mut self) {
        self.tick_count += 1;
        let stretch = self.stretch();
        let is_leader = self.raw.raft.state == StateRole::Leader;
        if is_leader && stretch != 1 && self.tick_count % self.heartbeat_ticks == 0 {
            // Whoever listens measures the network by it.
            self.raw.ping();
        }
        if self.tick_count % stretch == 0 && !self.must_wait_for_disk() {
            self.raw.tick();
            self.draws.hold(&mut self.raw);
        }
    }

    /// Ticks of the clock for one of the crate's. Where nobody leads nobody is waited for.
    fn stretch(&self) -> u64 {
        let raft = &self.raw.raft;
        let patience_ms = match (raft.state, voter_of(raft.leader_id)) {
            (StateRole::Leader, _) => {
                let others = self.members.voters().filter(|id| *id != self.id);
                others.map(|id| self.patience.of(id.node_id)).max().unwrap_or(PATIENCE_MS_MIN)
            }
            (StateRole::Follower, Some(leader)) => self.patience.of(leader.node_id),
            _ => PATIENCE_MS_MIN,
        };
        patience_ms.div_ceil(PATIENCE_MS_MIN).clamp(1, STRETCH_MAX)
    }

    /// What is known of the silences of peers: of a leader's members and of a follower's leader.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Whoever owns this has drawn its conclusion from a peer's silence; the next one counts from
    /// when the peer is heard again.
    pub fn give_up_on(&mut self, peer: NodeId) {
        self.patience.forget_silence(peer);
    }

    /// A node whose disk stalls does not begin an election: it could not vote for itself, and one
    /// that is left alone would lead before its own log is durable, which the crate does not expect.
    fn must_wait_for_disk(&self) -> bool {
        let raft = &self.raw.raft;
        let would_campaign = raft.state != StateRole::Leader
            && raft.randomized_election_timeout() <= raft.election_elapsed + 1;
        would_campaign && !self.may_campaign()
    }

    fn may_campaign(&self) -> bool {
        self.waiting.is_empty() && self.raw.raft.term < admit::TERM_MAX
    }

    /// A witness that leads lets a voter lead that holds data, as soon as one has caught up.
    fn maybe_hand_over(&mut self) {
        let raft = &self.raw.raft;
        if !self.is_witness || raft.lead_transferee.is_some() || !raft.commit_to_current_term() {
            return;
        }
        let last = raft.raft_log.last_index();
        let has_all = |id: &VoterId| {
            self.members.kind(*id) == Some(MemberKind::Voter)
                && raft.prs().get(raft_id(*id)).is_some_and(|one| one.matched == last)
        };
        if let Some(heir) = self.members.voters().find(has_all) {
            self.raw.transfer_leader(raft_id(heir));
        }
    }

    fn keep_image(&mut self, image: Bytes) {
        if QUORUM_IMAGE_BYTES_MAX < image.len() {
            // No follower would take it, so it is not asked for again: the log goes on growing.
            log::error!("the image of the cluster has {} bytes, too many", image.len());
            return;
        }
        self.is_image_asked = false;
        let raft_log = &self.raw.raft.raft_log;
        let index = raft_log.applied;
        let known = self.raw.store().snapshot_index();
        if index <= known.max(self.raw.store().base().index) {
            return;
        }
        let term = raft_log.term(index).expect("what was handed out last is still here");
        let snapshot = Snapshot {
            last_offset: entry::offset_of(index),
            epoch: entry::epoch_of(term),
            members: self.members.clone(),
            image,
        };
        self.raw.mut_store().keep(start::raft_snapshot(&snapshot));
        self.snapshot = Some(snapshot.clone());
        self.persist_snapshot(snapshot);
    }

    /// Checks what must hold between steps.
    pub fn invariants(&self) {
        let log = &self.raw.raft.raft_log;
        assert!(log.applied <= log.committed, "nothing uncommitted is handed out");
        assert!(log.committed <= log.last_index(), "what is committed is here");
        assert!(self.draws.is_held(&self.raw), "the crate's own draw is not in force");
        assert!(self.raw.raft.term <= admit::TERM_MAX, "a term is a leader epoch");
        assert!(self.members.voters().count() <= QUORUM_VOTERS_MAX);
    }
}
