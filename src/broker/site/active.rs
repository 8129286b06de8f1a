//! The active controller: whoever leads the quorum decides what the cluster is to be.
//!
//! ```text
//! queued ─► judged by the image ─► proposed ─► committed ─► answered
//!                 └► nothing to change, or refused ───────────▲
//! ```
//!
//! One command at a time, so that each is judged by all before it. An answer names the end of the
//! metadata that it rests on: whoever asked waits until it knows that much itself.
//!
//! **Invariant:** nothing is decided before this leader's first batch is committed, for until then it
//! does not know what earlier leaders decided. A decision took effect when its offset is committed
//! *in the epoch in which it was proposed*; whatever else is committed there says that it was lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::broker::control::{Asker, ControlOutput, answer, outcome_of};
use crate::broker::site::{Said, Site};
use crate::controller::change::{self, BrokerState, Change, Endpoint};
use crate::controller::{Registering, Sessions};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::disk::Disk;
use crate::limits::CONTROLLER_JOBS_MAX;
use crate::quorum::{EntryKind, ProposeError, Role};
use crate::time::{Boot, Now};
use crate::wire::change_members::{ChangeMembersRequest, SiteChange};
use crate::wire::peer::PeerApiKey;
use crate::wire::peer::forward::{Answered, Forwarded};
use crate::wire::peer::heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use crate::wire::peer::producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::peer::register::{RegisterBrokerRequest, RegisterBrokerResponse};
use crate::wire::replica::ReplicaApiKey;
use crate::wire::replica::alter_partition::AlterPartitionRequest;
use crate::wire::{ApiKey, ErrorCode, frame};

/// Leaderships that go back at once.
const PREFERRED_MAX: usize = 256;

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node, under this number.
    Own(u64),
    /// A peer, under this number of its own.
    Peer(NodeId, u64),
    /// Nobody: the controller acts by itself.
    Nobody,
}

/// What is to be done.
#[derive(Clone, Debug)]
enum Job {
    /// A request, by its key.
    Request(u8, Bytes),
    Fence(NodeId),
    Unfence(NodeId),
    ShutDown(NodeId),
    /// It was to leave, and is the only one left with something.
    Stay(NodeId),
    /// Its log dir failed.
    Fail(NodeId),
    Prefer,
}

pub(super) type Reply = Result<Vec<u8>, ErrorCode>;

struct Proposed {
    origin: Origin,
    offset: Offset,
    epoch: LeaderEpoch,
    reply: Reply,
}

/// The controller of a leader; of another node it is empty.
#[derive(Default)]
pub(super) struct Active {
    /// Since this leader's first batch is committed.
    is_ready: bool,
    pub(super) sessions: Sessions,
    queue: VecDeque<(Origin, Job)>,
    proposed: Option<Proposed>,
    prefer_at: Boot,
    /// Brokers for which something is queued.
    judged: BTreeSet<NodeId>,
    /// Nodes on their way out of the site, and until when they are not taken in again.
    pub(super) departing: BTreeMap<NodeId, Boot>,
}

impl<D: Disk> Site<D> {
    /// Whether the controller runs here.
    pub(super) fn is_active(&self) -> bool {
        self.leads() && self.active.is_ready && !self.is_witness()
    }

    /// A peer passes a request on.
    pub(super) fn serve(&mut self, now: Now, from: NodeId, head: Forwarded, body: Bytes) {
        self.decide(now, Origin::Peer(from, head.number), head.api_key, body);
    }

    fn asker(&self, origin: Origin) -> NodeId {
        match origin {
            Origin::Peer(peer, _) => peer,
            Origin::Own(_) | Origin::Nobody => self.id.node_id,
        }
    }

    /// Takes a request; it is answered in due course.
    pub(super) fn decide(&mut self, now: Now, origin: Origin, api_key: u8, body: Bytes) {
        if !self.is_active() {
            return self.reply(now, origin, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
        }
        let asker = self.asker(origin);
        if speaks_for(api_key, &body).is_some_and(|node| node != asker) {
            log::warn!("node {asker} speaks for another broker; that is refused");
            return self.reply(now, origin, Err(ErrorCode::INVALID_REQUEST), Offset::ZERO);
        }
        if api_key == ApiKey::DescribeMembers as u8 {
            let body = self.describe_members(now);
            return self.reply(now, origin, Ok(body), Offset::ZERO);
        }
        if api_key == PeerApiKey::BrokerHeartbeat as u8 {
            let reply = self.hear_broker(now, &body);
            return self.reply(now, origin, reply, Offset::ZERO);
        }
        if CONTROLLER_JOBS_MAX <= self.active.queue.len() {
            let full = Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
            return self.reply(now, origin, full, Offset::ZERO);
        }
        self.active.queue.push_back((origin, Job::Request(api_key, body)));
    }

    /// Begins with the next job; answers whether there was one to begin with.
    pub(super) fn advance_jobs(&mut self, now: Now) -> bool {
        if !self.is_active() || self.active.proposed.is_some() {
            return false;
        }
        let Some((origin, job)) = self.active.queue.pop_front() else { return false };
        if let Job::Request(api_key, body) = &job {
            if *api_key == ApiKey::ChangeMembers as u8 {
                self.change_site(now, origin, body);
                return true;
            }
        }
        let (changes, reply) = self.judge(now, origin, &job);
        if changes.is_empty() {
            self.forget_judged(&job);
            self.reply(now, origin, reply, self.replayed_end);
            return true;
        }
        let value = change::encode(&changes);
        let quorum = self.quorum.as_mut().expect("it leads");
        let proposed = quorum.propose(now, &value);
        self.drain(now);
        match proposed {
            Ok(offset) => {
                self.forget_judged(&job);
                let epoch = self.leadership.epoch;
                self.active.proposed = Some(Proposed { origin, offset, epoch, reply });
            }
            Err(ProposeError::Busy | ProposeError::NotReady) => {
                self.active.queue.push_front((origin, job));
                return false;
            }
            Err(ProposeError::TooLarge) => {
                self.forget_judged(&job);
                self.reply(now, origin, Err(ErrorCode::POLICY_VIOLATION), Offset::ZERO);
            }
            Err(ProposeError::NotLeader) => {
                self.reply(now, origin, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
            }
        }
        true
    }

    /// Makes changes of a job that has no other answer.
    pub(super) fn propose_changes(
        &mut self,
        now: Now,
        origin: Origin,
        changes: &[Change],
        reply: Vec<u8>,
    ) {
        let quorum = self.quorum.as_mut().expect("it leads");
        let proposed = quorum.propose(now, &change::encode(changes));
        self.drain(now);
        match proposed {
            Ok(offset) => self.note_proposed(origin, offset, reply),
            Err(ProposeError::TooLarge) => {
                self.reply(now, origin, Err(ErrorCode::POLICY_VIOLATION), Offset::ZERO);
            }
            Err(ProposeError::Busy | ProposeError::NotReady | ProposeError::NotLeader) => {
                self.reply(now, origin, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
            }
        }
    }

    /// Something is on its way to being committed; it is answered when it is.
    pub(super) fn note_proposed(&mut self, origin: Origin, offset: Offset, reply: Vec<u8>) {
        let epoch = self.leadership.epoch;
        self.active.proposed = Some(Proposed { origin, offset, epoch, reply: Ok(reply) });
    }

    /// A batch is committed, and replayed.
    pub(super) fn note_committed(
        &mut self,
        now: Now,
        offset: Offset,
        epoch: LeaderEpoch,
        kind: EntryKind,
    ) {
        let is_own_first = kind == EntryKind::LeaderChange
            && self.leadership.role == Role::Leader
            && self.leadership.epoch == epoch;
        if is_own_first {
            self.begin_controlling(now);
        }
        if self.active.proposed.as_ref().is_none_or(|proposed| offset < proposed.offset) {
            return;
        }
        let proposed = self.active.proposed.take().expect("just looked at");
        let is_lost = (proposed.offset, proposed.epoch) != (offset, epoch);
        let reply = if is_lost { Err(ErrorCode::NOT_CONTROLLER) } else { proposed.reply };
        // Whoever is no member any more does not hear of the batch that says so.
        let rests_on = match kind {
            EntryKind::Members(_) => Offset::ZERO,
            EntryKind::Changes | EntryKind::LeaderChange => Offset(offset.0 + 1),
        };
        self.reply(now, proposed.origin, reply, rests_on);
    }

    fn begin_controlling(&mut self, now: Now) {
        let brokers = self.controller.image().brokers().map(|(node_id, _)| node_id);
        self.active.sessions = Sessions::begin(now.boot, self.config.session_timeout_ms, brokers);
        self.active.is_ready = true;
        self.active.prefer_at = self.next_preference(now);
        if !self.is_witness() {
            log::info!("this node is the active controller in epoch {}", self.leadership.epoch);
        }
        self.redirect_asks(now);
        self.watch_sessions(now);
    }

    /// Another epoch has begun: whoever asked is told to look for its leader.
    pub(super) fn stop_controlling(&mut self, now: Now) {
        let active = std::mem::take(&mut self.active);
        let proposed = active.proposed.map(|proposed| proposed.origin);
        let queued = active.queue.into_iter().map(|(origin, _)| origin);
        for origin in proposed.into_iter().chain(queued) {
            self.reply(now, origin, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
        }
    }

    pub(super) fn reply(&mut self, now: Now, origin: Origin, reply: Reply, end_offset: Offset) {
        match origin {
            Origin::Own(number) => {
                self.take_answer(now, number, reply.map(Bytes::from), end_offset);
            }
            Origin::Peer(peer, number) => {
                let (error, body) = match reply {
                    Ok(body) => (ErrorCode::NONE, body),
                    Err(error) => (error, Vec::new()),
                };
                let head = Answered { number, error, end_offset };
                let said = Said::Answered(head, Bytes::from(body));
                self.outputs.push_back(ControlOutput::Send(peer, said));
            }
            Origin::Nobody => {}
        }
    }

    /// What a job changes, and what is answered once that is committed.
    fn judge(&mut self, now: Now, origin: Origin, job: &Job) -> (Vec<Change>, Reply) {
        let asker = self.asker(origin);
        match job {
            Job::Request(api_key, body) => self.judge_request(now, asker, *api_key, body),
            Job::Fence(node_id) => {
                let changes = self.controller.fence(*node_id);
                if !changes.is_empty() {
                    log::warn!("broker {node_id} was not heard of for too long: it is fenced");
                }
                (changes, Ok(Vec::new()))
            }
            Job::Unfence(node_id) => {
                let changes = self.controller.unfence(*node_id);
                if !changes.is_empty() {
                    log::info!("broker {node_id} has caught up: it takes part");
                }
                (changes, Ok(Vec::new()))
            }
            Job::ShutDown(node_id) => (self.controller.shut_down(*node_id), Ok(Vec::new())),
            Job::Stay(node_id) => {
                let changes = self.controller.stay(*node_id);
                if !changes.is_empty() {
                    log::warn!(
                        "broker {node_id}, which is to leave, leads again what nobody else can"
                    );
                }
                (changes, Ok(Vec::new()))
            }
            Job::Fail(node_id) => {
                let changes = self.controller.fence(*node_id);
                if !changes.is_empty() {
                    log::error!("the log dir of broker {node_id} failed: it is fenced");
                }
                (changes, Ok(Vec::new()))
            }
            Job::Prefer => (self.controller.prefer(PREFERRED_MAX), Ok(Vec::new())),
        }
    }

    fn judge_request(
        &mut self,
        now: Now,
        asker: NodeId,
        api_key: u8,
        body: &[u8],
    ) -> (Vec<Change>, Reply) {
        let refused = |error| (Vec::new(), Err(error));
        if api_key == PeerApiKey::RegisterBroker as u8 {
            return self.judge_registration(now, body);
        }
        if api_key == PeerApiKey::AllocateProducerIds as u8 {
            let Ok(request) = frame::decode::<AllocateProducerIdsRequest>(body) else {
                return refused(ErrorCode::INVALID_REQUEST);
            };
            if self.controller.image().broker_epoch(request.node_id) != request.broker_epoch {
                return refused(ErrorCode::STALE_BROKER_EPOCH);
            }
            let api = ApiKey::InitProducerId;
            let nobody = Asker { node_id: request.node_id, is_heard: &|_| false };
            let outcome = outcome_of(&self.controller, api, &[], nobody, &mut self.seed);
            let first_id = self.controller.image().next_producer_id();
            let Some(outcome) = outcome.filter(|outcome| !outcome.changes.is_empty()) else {
                return refused(ErrorCode::UNKNOWN_SERVER_ERROR);
            };
            let next_id = first_id + crate::controller::PRODUCER_IDS_PER_BLOCK;
            let response = AllocateProducerIdsResponse { first_id, next_id };
            return (outcome.changes, Ok(frame::encode_body(&response)));
        }
        if api_key == ReplicaApiKey::AlterPartition as u8 {
            let Ok(request) = frame::decode::<AlterPartitionRequest>(body) else {
                return refused(ErrorCode::INVALID_REQUEST);
            };
            let (changes, response) = self.controller.alter_partition(&request);
            return (changes, Ok(frame::encode_body(&response)));
        }
        let api = ApiKey::from_number(api_key);
        if api == Some(ApiKey::DescribeQuorum) {
            return (Vec::new(), Ok(self.describe_quorum()));
        }
        let is_heard = |node_id| self.active.sessions.is_heard(now.boot, node_id);
        let asker = Asker { node_id: asker, is_heard: &is_heard };
        let outcome =
            api.and_then(|api| outcome_of(&self.controller, api, body, asker, &mut self.seed));
        match (api, outcome) {
            (Some(api), Some(outcome)) => {
                let body = answer(api, &outcome.verdicts);
                (outcome.changes, Ok(body))
            }
            _ => refused(ErrorCode::INVALID_REQUEST),
        }
    }

    fn judge_registration(&mut self, now: Now, body: &[u8]) -> (Vec<Change>, Reply) {
        let Ok(request) = frame::decode::<RegisterBrokerRequest>(body) else {
            return (Vec::new(), Err(ErrorCode::INVALID_REQUEST));
        };
        let node_id = request.node_id;
        let voter = match node_id == self.id.node_id {
            true => Some(self.id),
            false => self.peers.get(&node_id).map(|peer| peer.voter),
        };
        if self.is_let_go(now, node_id) || voter.is_some_and(|voter| self.has_departed(voter)) {
            return (Vec::new(), Err(ErrorCode::POLICY_VIOLATION));
        }
        let endpoint = |one: &crate::wire::peer::register::PeerEndpoint| Endpoint {
            protocol: one.protocol.clone(),
            host: one.host.clone(),
            port: one.port,
        };
        let broker = Registering {
            node_id,
            incarnation: request.incarnation,
            directory_id: request.directory_id,
            cluster_id: request.cluster_id,
            feature_level: request.feature_level,
            endpoints: request.endpoints.iter().map(endpoint).collect(),
            rack: request.rack.clone(),
            unsound: request.unsound.iter().copied().collect(),
            is_unproven: request.is_unproven,
            was_clean: request.was_clean,
            life: voter.map_or(0, |voter| voter.incarnation),
            metadata_end: request.metadata_end_offset,
        };
        let offset = self.quorum.as_ref().expect("it leads").log_end_offset();
        let is_heard = self.active.sessions.is_heard(now.boot, node_id);
        match self.controller.register(&broker, offset, is_heard) {
            Ok(changes) => {
                // Asked again, it is told what it was told before.
                let again = self.controller.image().broker_epoch(node_id);
                let broker_epoch = if changes.is_empty() { again } else { offset.0 };
                self.active.sessions.hear(now.boot, node_id);
                (changes, Ok(frame::encode_body(&RegisterBrokerResponse { broker_epoch })))
            }
            Err(error) => {
                log::warn!("broker {node_id} may not register: {error}");
                (Vec::new(), Err(error))
            }
        }
    }

    fn hear_broker(&mut self, now: Now, body: &[u8]) -> Reply {
        let Ok(request) = frame::decode::<BrokerHeartbeatRequest>(body) else {
            return Err(ErrorCode::INVALID_REQUEST);
        };
        let node_id = request.node_id;
        let image = self.controller.image();
        let broker = image.broker(node_id).ok_or(ErrorCode::BROKER_ID_NOT_REGISTERED)?;
        if broker.broker_epoch != request.broker_epoch {
            return Err(ErrorCode::STALE_BROKER_EPOCH);
        }
        let state = broker.state;
        let has_caught_up = broker.broker_epoch < request.metadata_end_offset.0;
        let may_not = request.wants_shutdown || request.has_failed_dir;
        let is_in_use = self.controller.is_in_use(node_id);
        self.active.sessions.hear(now.boot, node_id);
        let job = match state {
            BrokerState::Fenced if may_not => None,
            BrokerState::Active if request.has_failed_dir => Some(Job::Fail(node_id)),
            BrokerState::Fenced if has_caught_up => Some(Job::Unfence(node_id)),
            BrokerState::Active if request.wants_shutdown => Some(Job::ShutDown(node_id)),
            // It leaves the site, not for a while, and others have lost what it has.
            BrokerState::ShuttingDown if !may_not && self.controller.is_needed(node_id) => {
                Some(Job::Stay(node_id))
            }
            _ => None,
        };
        if let Some(job) = job.filter(|_| !self.active.judged.contains(&node_id)) {
            self.active.judged.insert(node_id);
            self.active.queue.push_back((Origin::Nobody, job));
        }
        let may_stop = request.wants_shutdown && state != BrokerState::Active && !is_in_use;
        let is_fenced = state == BrokerState::Fenced;
        Ok(frame::encode_body(&BrokerHeartbeatResponse { is_fenced, may_stop }))
    }

    /// A peer's link broke.
    pub(super) fn doubt(&mut self, peer: NodeId) {
        self.active.sessions.doubt(peer);
    }

    /// Fences who was not heard of for a session, one broker at a time, and gives leaderships back.
    pub(super) fn watch_sessions(&mut self, now: Now) {
        if !self.is_active() {
            return;
        }
        if self.active.judged.is_empty() {
            let silent = || self.first_silent(now.boot);
            if let Some(node_id) = silent().or_else(|| self.active.sessions.take_expired(now.boot))
            {
                self.active.sessions.forget(node_id);
                self.give_up_on(node_id);
                self.active.judged.insert(node_id);
                self.active.queue.push_back((Origin::Nobody, Job::Fence(node_id)));
            }
        }
        if self.active.prefer_at <= now.boot {
            self.active.prefer_at = self.next_preference(now);
            self.active.queue.push_back((Origin::Nobody, Job::Prefer));
        }
    }

    /// A broker that has a session, and whose frames have stopped or whose process is gone.
    fn first_silent(&self, now: Boot) -> Option<NodeId> {
        let is_over = |node_id: &NodeId| {
            self.gone.contains(node_id)
                || self.silence_ends_at(*node_id).is_some_and(|at| at <= now)
        };
        self.active.sessions.brokers().find(is_over)
    }

    /// When the first broker's silence has lasted too long, if nothing is heard.
    pub(super) fn silence_deadline(&self) -> Boot {
        if !self.is_active() || !self.active.judged.is_empty() {
            return Boot::NEVER;
        }
        let ends = |node_id| self.silence_ends_at(node_id);
        self.active.sessions.brokers().filter_map(ends).min().unwrap_or(Boot::NEVER)
    }

    fn silence_ends_at(&self, node_id: NodeId) -> Option<Boot> {
        if node_id == self.id.node_id {
            return None;
        }
        self.quorum.as_ref()?.patience().ends_at(node_id)
    }

    /// This process stood still: nobody could have been heard.
    pub(super) fn excuse_silence(&mut self, pause_ms: u64) {
        self.active.sessions.excuse(pause_ms);
    }

    fn next_preference(&self, now: Now) -> Boot {
        self.config.leader_imbalance_check_ms.map_or(Boot::NEVER, |ms| now.boot.plus_ms(ms))
    }

    fn forget_judged(&mut self, job: &Job) {
        match job {
            Job::Fence(node_id)
            | Job::Unfence(node_id)
            | Job::ShutDown(node_id)
            | Job::Stay(node_id)
            | Job::Fail(node_id) => {
                self.active.judged.remove(node_id);
            }
            Job::Request(..) | Job::Prefer => {}
        }
    }
}

/// The broker that a request is about, where it is about one: nobody else may send it.
fn speaks_for(api_key: u8, body: &[u8]) -> Option<NodeId> {
    match PeerApiKey::from_number(api_key) {
        Some(PeerApiKey::RegisterBroker) => {
            frame::decode::<RegisterBrokerRequest>(body).ok().map(|request| request.node_id)
        }
        Some(PeerApiKey::BrokerHeartbeat) => {
            frame::decode::<BrokerHeartbeatRequest>(body).ok().map(|request| request.node_id)
        }
        Some(PeerApiKey::AllocateProducerIds) => {
            frame::decode::<AllocateProducerIdsRequest>(body).ok().map(|request| request.node_id)
        }
        _ if api_key == ReplicaApiKey::AlterPartition as u8 => {
            frame::decode::<AlterPartitionRequest>(body).ok().map(|request| request.leader)
        }
        // Nobody sends another away; a dead one is removed.
        _ if api_key == ApiKey::ChangeMembers as u8 => {
            match frame::decode::<ChangeMembersRequest>(body).ok()?.change {
                SiteChange::Leave { node_id } => Some(node_id),
                SiteChange::Remove { .. } | SiteChange::MoveVoter { .. } => None,
            }
        }
        _ => None,
    }
}
