//! The control machine of a node that belongs to a site: the cluster's metadata is what the quorum
//! commits, and whoever leads the quorum runs the controller.
//!
//! ```text
//! front ─ ask ─► asking ─► the active controller, here or at a peer ─► propose ─► quorum
//!                                                                                   │
//! shards ◄─ Apply ◄─ applying ◄─ replayed in order, on every node ◄── Committed ◄───┘
//! ```
//!
//! - `asking`: what this node wants of the active controller, for its clients and for itself
//!   (registration, heartbeats, producer ids), wherever that is at present.
//! - `active`: the active controller: one command at a time, answered when its changes are committed.
//! - `applying`: committed changes on their way to the shards, one batch after the other.
//! - `joining`: how a site begins, and who is taken into the quorum; `membership`: who leaves.
//! - `storage` and `kept`: what the quorum has made durable.
//!
//! A node that is alone has none of this: [`crate::broker::control::Control`] does the same with its
//! own log and nobody to ask.
//!
//! **Invariant:** nothing is replayed before it is committed, on no node; and nothing is answered
//! before the shards of the node that asked have replayed it.
//!
//! Read design.md §6, semantics.md 2.9 to 2.13 and KIP-500, 631 and 595 before editing.

mod active;
mod applying;
mod asking;
mod joining;
mod kept;
mod membership;
mod passed;
mod start;
mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::broker::back::Flushed;
use crate::broker::control::ControlOutput;
use crate::broker::front::ControlAsk;
use crate::broker::making::Making;
use crate::controller::change::Endpoint;
use crate::controller::{BrokerKeys, Controller, ControllerConfig};
use crate::ids::{NodeId, Offset, TopicPartition, Uuid};
use crate::journal::disk::Disk;
use crate::log::{Log, LogError};
use crate::quorum::{
    Base, EntryKind, Input, Leadership, Output, Quorum, Refusal, Role, Timeouts, VoterId,
};
use crate::time::{Boot, Now};
use crate::topic_config::TopicConfig;
use crate::wire::describe_quorum::{DescribeQuorumResponse, DescribedMember};
use crate::wire::peer::hello::{PeerIdentity, WITNESS};
use crate::wire::{ErrorCode, frame};

use active::Active;
use applying::Applying;
pub use asking::Altered;
use asking::Asking;
pub use kept::{Found, Keep, KeptState, forget, read_snapshot, read_state, spoil};
pub use passed::Said;
pub use start::{FoundCopies, SiteError, SiteStart, Standing, examine};
use storage::{Storage, StorageOutput};
pub use storage::{Work, Worked, prove};

/// How often the machine looks around, beside what happens to it.
const LOOK_MS: u64 = 200;

/// What a node of a site is told of itself.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// Its roles, as in [`PeerIdentity`]; where no list names who votes, that is one of them.
    pub roles: u8,
    /// Nodes that are to vote (`controller.quorum.voters`).
    pub voters: BTreeSet<NodeId>,
    /// `quorum.voters.max`: others vote too while so many do not.
    pub voters_max: usize,
    /// Whether this node begins the site, if nobody has.
    pub may_found: bool,
    /// Where this broker is reached.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Box<str>,
    /// Of the quorum.
    pub timeouts: Timeouts,
    /// `broker.session.timeout.ms`.
    pub session_timeout_ms: u64,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: u64,
    /// How often leaderships go back to their first replicas: `auto.leader.rebalance.enable` and
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_ms: Option<u64>,
}

/// The owner of the cluster's metadata on one node of a site.
pub struct Site<D: Disk> {
    config: SiteConfig,
    controller: Controller,
    topic_defaults: TopicConfig,
    shard_count: u16,
    id: VoterId,
    /// This process.
    process: Uuid,
    /// Its log dir.
    directory_id: Uuid,
    /// The cluster that this node would found.
    cluster_id: Uuid,
    /// Before the site has begun there is none.
    quorum: Option<Quorum>,
    /// What a site that begins here stands on, while that is made durable.
    founding: Option<Base>,
    /// Whether this node has a log of the site, or of its own.
    has_log: bool,
    /// Whether its log is that of a node that was alone.
    is_legacy: bool,
    storage: Storage<D>,
    leadership: Leadership,
    /// Of a snapshot or batch: the end of what the image holds.
    replayed_end: Offset,
    applying: Applying<D>,
    active: Active,
    asking: Asking,
    /// Nodes with a link, by their latest words of themselves.
    peers: BTreeMap<NodeId, PeerIdentity>,
    /// Whether every node that this one was told of is among them.
    sees_all: bool,
    /// Nodes whose processes are known to be gone.
    gone: BTreeSet<NodeId>,
    /// Logs on disk that the metadata has not named yet.
    unclaimed: BTreeMap<TopicPartition, Log<D>>,
    /// Partitions whose copy here is not what it was.
    unsound: BTreeSet<TopicPartition>,
    /// Whether that is so of all, as far as the controller has not been told yet.
    is_unproven: bool,
    /// Whether the processes before this one ended cleanly, as far as the controller has not been told.
    was_clean: bool,
    /// End of the quorum's log when the process started, -1 where that says nothing.
    found_end: Offset,
    seed: u64,
    look_at: Boot,
    wants_image: bool,
    is_failed: bool,
    refused: BTreeSet<(VoterId, u8)>,
    last_refusal: Option<(VoterId, Refusal)>,
    outputs: VecDeque<ControlOutput<D>>,
}

impl<D: Disk> Site<D> {
    /// The cluster as it is.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The metadata log and what is to be kept beside it, for a clean stop.
    pub fn into_log(self) -> (Log<D>, Keep) {
        let mut state = self.storage.state();
        if let Some(quorum) = &self.quorum {
            state.high_watermark = quorum.high_watermark();
        }
        (self.storage.into_log(), Keep::State(state))
    }

    /// Its part in the quorum, for whoever watches; none before the site has begun.
    pub fn quorum(&self) -> Option<&Quorum> {
        self.quorum.as_ref()
    }

    /// What this node says of itself to a peer.
    pub fn identity(&self) -> PeerIdentity {
        PeerIdentity {
            cluster_id: self.controller.image().cluster_id().unwrap_or_default(),
            voter: self.id,
            has_log: self.has_log,
            roles: self.config.roles,
            process: self.process,
        }
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<ControlOutput<D>> {
        self.outputs.pop_front()
    }

    /// The end of the metadata that this node has replayed.
    pub fn metadata_end(&self) -> Offset {
        self.replayed_end
    }

    /// The last message to the quorum that was refused, once: whose, and why.
    pub fn take_refusal(&mut self) -> Option<(VoterId, Refusal)> {
        self.last_refusal.take()
    }

    /// Every node that is known to belong to the site.
    pub fn known_nodes(&self) -> BTreeSet<NodeId> {
        let mut nodes: BTreeSet<NodeId> = self.peers.keys().copied().collect();
        nodes.insert(self.id.node_id);
        nodes.extend(self.controller.image().brokers().map(|(node_id, _)| node_id));
        let members = self.quorum.iter().flat_map(|quorum| quorum.members().to_list());
        nodes.extend(members.map(|one| one.id.node_id));
        nodes
    }

    /// When [`Site::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        let quorum = self.quorum.as_ref().map_or(Boot::NEVER, Quorum::next_deadline);
        self.look_at.min(quorum).min(self.silence_deadline())
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        if self.quorum.as_ref().is_some_and(|quorum| quorum.next_deadline() <= now.boot) {
            self.step(now, Input::Time);
        }
        if self.look_at <= now.boot {
            let late_ms = now.boot.ms_since(self.look_at);
            if LOOK_MS < late_ms {
                self.excuse_silence(late_ms);
            }
            self.look_at = now.boot.plus_ms(LOOK_MS);
            self.storage.look(now);
            if self.storage.is_full() || self.applying.is_full() {
                // Somebody else may have room.
                self.hand_over(now);
            }
            self.join(now);
            self.live(now);
            self.expire_asks(now);
        }
        self.watch_sessions(now);
        self.settle(now);
    }

    /// A front asks.
    pub fn ask(&mut self, now: Now, ask: ControlAsk) {
        self.take_ask(now, ask);
        self.settle(now);
    }

    /// The logs of the present changes are made and durable, or could not be.
    pub fn prepared(&mut self, now: Now, making: Making<D>, outcome: Result<(), LogError>) {
        self.apply_prepared(now, making, outcome);
        self.settle(now);
    }

    /// A commit of the flusher is on stable storage.
    pub fn flushed(&mut self, now: Now, flushed: &Flushed) {
        self.storage.flushed(now, flushed);
        self.settle(now);
    }

    /// Work is done.
    pub fn worked(&mut self, now: Now, worked: Worked) {
        match worked {
            Worked::Proven(Ok(())) => {}
            // It is said again at the next start, which costs a place in sync and no record.
            Worked::Proven(Err(why)) => log::warn!("the journal's past could not be noted: {why}"),
            worked => self.storage.worked(now, worked),
        }
        self.settle(now);
    }

    /// A shard has replayed a change.
    pub fn applied(&mut self, now: Now, version: u64) {
        self.apply_confirmed(version);
        self.settle(now);
    }

    /// A shard let the log of a deleted partition go.
    pub fn retired(&mut self, log: Box<Log<D>>) {
        self.note_retired(log.topic_partition());
        self.outputs.push_back(ControlOutput::Remove(log));
    }

    /// The log dir failed: this node says nothing more in the quorum until it is started anew.
    pub fn storage_failed(&mut self, now: Now) {
        self.storage.fail();
        self.settle(now);
    }

    /// A peer proved that it belongs to the site.
    pub fn linked(&mut self, now: Now, peer: PeerIdentity) {
        self.gone.remove(&peer.voter.node_id);
        let before = self.peers.insert(peer.voter.node_id, peer);
        if let Some(old) = before.filter(|old| old.voter != peer.voter) {
            self.step(now, Input::Forget(old.voter));
        }
        self.step(now, Input::Introduce(peer.voter));
        self.settle(now);
    }

    /// Whether every node that this one was told of (`peers`) is linked.
    pub fn set_sees_all(&mut self, sees_all: bool) {
        self.sees_all = sees_all;
    }

    /// A peer's link broke.
    pub fn unlinked(&mut self, now: Now, peer: NodeId) {
        if let Some(gone) = self.peers.remove(&peer) {
            // Members are believed without an introduction.
            self.step(now, Input::Forget(gone.voter));
        }
        self.doubt(peer);
        self.lose_asks_to(now, peer);
        self.settle(now);
    }

    /// A peer's machine refuses connections: its process is gone, and nobody need wait to see
    /// whether it comes back.
    pub fn vanished(&mut self, now: Now, peer: NodeId) {
        if self.peers.contains_key(&peer) {
            return;
        }
        self.gone.insert(peer);
        self.step(now, Input::Vanished(peer));
        self.watch_sessions(now);
        self.settle(now);
    }

    /// A peer says something.
    pub fn heard(&mut self, now: Now, from: NodeId, said: Said) {
        match said {
            // A link speaks for nobody else.
            Said::Quorum(message) if message.envelope.from.node_id != from => {}
            // As if it had got lost: it is sent again.
            Said::Quorum(message) if self.storage.is_clogged() && message.body.grows_log() => {}
            Said::Quorum(message) => self.step(now, Input::Message(message)),
            Said::Forwarded(head, body) => self.serve(now, from, head, body),
            Said::Answered(head, body) => self.answered(now, from, head, body),
        }
        self.settle(now);
    }

    /// Replaces what SIGHUP may replace.
    pub fn reconfigure(&mut self, config: ControllerConfig) {
        self.topic_defaults = config.topic_defaults.clone();
        self.controller.reconfigure(config);
    }

    /// Lets the broker be configured at run time, or replaces what it is started with.
    pub fn set_broker_keys(&mut self, keys: Box<dyn BrokerKeys>) {
        self.controller.set_broker_keys(keys);
    }

    /// Asks for leave to stop; [`Site::may_stop`] says when it is given.
    pub fn leave(&mut self, now: Now) {
        self.asking.leave();
        self.live(now);
        self.settle(now);
    }

    /// Whether nothing is led here any more, or nobody could say so.
    pub fn may_stop(&self) -> bool {
        let is_alone = self.leader().is_none() && self.peers.is_empty();
        self.asking.may_stop() || is_alone
    }

    /// Lets another node lead the quorum before this one stops.
    fn hand_over(&mut self, now: Now) {
        if let Some(quorum) = &mut self.quorum {
            quorum.hand_over(now);
        }
        self.drain(now);
    }

    /// A broker is fenced: its silence says nothing any more.
    fn give_up_on(&mut self, node_id: NodeId) {
        if let Some(quorum) = &mut self.quorum {
            quorum.give_up_on(node_id);
        }
    }

    fn leads(&self) -> bool {
        self.leadership.role == Role::Leader
    }

    fn leader(&self) -> Option<NodeId> {
        self.leadership.leader.map(|leader| leader.node_id)
    }

    /// Tells the quorum what happened, and does what it wants done.
    fn step(&mut self, now: Now, input: Input) {
        let Some(quorum) = &mut self.quorum else { return };
        quorum.step(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.quorum.as_mut().and_then(Quorum::poll) {
            match output {
                Output::Persist(persist) => self.storage.persist(now, persist),
                Output::Send(message) => {
                    let to = message.envelope.to.node_id;
                    self.outputs.push_back(ControlOutput::Send(to, Said::Quorum(message)));
                }
                Output::Committed(committed) => {
                    let (offset, epoch) = (committed.offset, committed.epoch);
                    if committed.kind == EntryKind::Changes {
                        self.replay(&committed);
                    }
                    self.replayed_end = Offset(offset.0 + 1);
                    self.has_log = true;
                    if matches!(committed.kind, EntryKind::Members(_)) {
                        self.note_voters();
                    }
                    self.note_committed(now, offset, epoch, committed.kind);
                }
                Output::Restore(snapshot) => {
                    self.restore(&snapshot);
                    self.has_log = true;
                }
                Output::Leadership(leadership) => self.lead_or_follow(now, leadership),
                Output::WantImage => self.wants_image = true,
                Output::Refused(from, why) => self.note_refusal(from, why),
            }
        }
    }

    /// Goes on until there is nothing left that follows from what happened.
    fn settle(&mut self, now: Now) {
        loop {
            if let Some(output) = self.storage.poll() {
                match output {
                    StorageOutput::Journal(entry) => {
                        self.outputs.push_back(ControlOutput::Persist(entry));
                    }
                    StorageOutput::Work(work) => {
                        self.outputs.push_back(ControlOutput::Work(work));
                    }
                    StorageOutput::Persisted(number) => self.persisted(now, number),
                    StorageOutput::Failed => {
                        self.is_failed = true;
                        self.step(now, Input::StorageFailed);
                    }
                }
            } else if std::mem::take(&mut self.wants_image) {
                let image = crate::controller::change::encode(&self.image_changes());
                self.step(now, Input::Image(Bytes::from(image)));
            } else if !self.apply_next(now) && !self.advance_jobs(now) && !self.finish_asks(now) {
                return;
            }
        }
    }

    fn persisted(&mut self, now: Now, number: u64) {
        if self.quorum.is_some() {
            self.step(now, Input::Persisted(number));
        } else {
            self.begin_as_founder(now);
        }
    }

    fn image_changes(&self) -> Vec<crate::controller::change::Change> {
        self.controller.image().as_changes()
    }

    fn lead_or_follow(&mut self, now: Now, leadership: Leadership) {
        let before = std::mem::replace(&mut self.leadership, leadership);
        if before.leader != leadership.leader {
            match leadership.leader {
                Some(leader) => log::info!(
                    "node {} leads the metadata quorum in epoch {}",
                    leader.node_id,
                    leadership.epoch
                ),
                None => log::info!("nobody leads the metadata quorum that this node knows of"),
            }
        }
        if !self.leads() || before.epoch != leadership.epoch {
            self.stop_controlling(now);
        }
        if before.leader != leadership.leader {
            self.redirect_asks(now);
        }
    }

    /// Says once per peer and reason that something was refused.
    fn note_refusal(&mut self, from: VoterId, why: Refusal) {
        self.last_refusal = Some((from, why));
        if self.refused.len() < 64 && self.refused.insert((from, why as u8)) {
            log::warn!("a message of node {from} to the quorum is refused: {why:?}");
        }
    }

    /// The quorum as this node sees it: the body of a `DescribeQuorum` response.
    pub fn describe_quorum(&self) -> Vec<u8> {
        let Some(quorum) = &self.quorum else {
            return frame::encode_body(&DescribeQuorumResponse {
                error: ErrorCode::NONE,
                leader: NodeId::NONE,
                epoch: self.storage.state().epoch,
                high_watermark: Offset::ZERO,
                log_end_offset: Offset::ZERO,
                members: Vec::new(),
            });
        };
        let members = quorum.progress().into_iter().map(|one| DescribedMember {
            id: one.id,
            kind: one.kind,
            durable_end_offset: one.durable_end_offset.unwrap_or(Offset(-1)),
        });
        frame::encode_body(&DescribeQuorumResponse {
            error: ErrorCode::NONE,
            leader: self.leader().unwrap_or(NodeId::NONE),
            epoch: self.leadership.epoch,
            high_watermark: quorum.high_watermark(),
            log_end_offset: quorum.log_end_offset(),
            members: members.collect(),
        })
    }

    fn is_witness(&self) -> bool {
        self.config.roles & WITNESS != 0
    }
}
