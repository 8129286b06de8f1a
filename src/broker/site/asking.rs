//! What this node wants of the active controller, wherever that is: requests of its clients, and its
//! own life as a broker (semantics.md 2.12).
//!
//! ```text
//! unregistered ─ RegisterBroker ─► registered, fenced ─ heartbeats, caught up ─► active
//!       ▲                                  │                                       │
//!       └── the controller knows another incarnation, or none ◄────────────────────┘
//! ```
//!
//! **Invariant:** a request is answered exactly once: with what the controller said, once this node
//! has replayed as much as that rests on; or, when nobody can say, with `NOT_CONTROLLER`, which says
//! that it may or may not have taken effect.
//!
//! **Invariant:** no two processes of a node number their requests alike: the controller may answer one
//! that asks no more, and the answer comes to the next.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::broker::control::{Asker, ControlOutput, answer, give_producer_id, outcome_of};
use crate::broker::front::ControlAsk;
use crate::broker::mail::ShardId;
use crate::broker::site::active::Origin;
use crate::broker::site::{Said, Site, Work, membership};
use crate::controller::FEATURE_LEVEL;
use crate::ids::{NodeId, Offset, TopicPartition, Uuid};
use crate::journal::disk::Disk;
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::replica::LeaderAndIsr;
use crate::time::{Boot, Now};
use crate::wire::describe_quorum::DescribeQuorumRequest;
use crate::wire::init_producer_id::InitProducerIdResponse;
use crate::wire::peer::PeerApiKey;
use crate::wire::peer::forward::{Answered, Forwarded};
use crate::wire::peer::heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use crate::wire::peer::hello::BROKER;
use crate::wire::peer::producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::peer::register::{PeerEndpoint, RegisterBrokerRequest, RegisterBrokerResponse};
use crate::wire::replica::ReplicaApiKey;
use crate::wire::replica::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlterReplicas, AlteredReplicas,
};
use crate::wire::{ApiKey, ErrorCode, TopicRef, frame};

/// How long a request may wait for the active controller.
const PATIENCE_MS: u64 = 10_000;

/// How soon a registration that failed is tried again.
const RETRY_MS: u64 = 500;

/// What became of a leader's wish for other in-sync replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The version that the wish built on.
    pub partition_epoch: i32,
    /// What stands now, or why not.
    pub outcome: Result<LeaderAndIsr, ErrorCode>,
}

/// Why something is asked.
enum Wanted {
    /// A client wants it.
    Client(ControlAsk),
    /// A client wants a producer id, and there is none left.
    ProducerIds(ControlAsk),
    Registration,
    Heartbeat,
    /// Leaders here want other in-sync replicas: the shard, the partition and the version that each
    /// builds on.
    Alteration(Vec<(ShardId, TopicPartition, i32)>),
}

struct Waiting {
    wanted: Wanted,
    api_key: u8,
    body: Bytes,
    deadline: Boot,
    /// Who has it at present.
    at: Option<NodeId>,
    /// What was said, and how much this node must know before it passes it on.
    answer: Option<(Result<Bytes, ErrorCode>, Offset)>,
}

/// What waits for the active controller.
pub(super) struct Asking {
    waiting: BTreeMap<u64, Waiting>,
    /// See [`first_number`].
    next_number: u64,
    /// The broker's epoch, once it is registered.
    broker_epoch: Option<i64>,
    is_fenced: bool,
    /// When the broker has something to say again.
    due_at: Boot,
    wants_shutdown: bool,
    may_stop: bool,
    /// Since this node was asked to leave the site for good: it does not register any more.
    is_leaving: bool,
    /// Producer ids that may be given out; those left over at a stop are never used.
    producer_ids: Range<i64>,
    /// What leaders here want of their ISRs, while the controller has an earlier request of that kind.
    alterations: Vec<(ShardId, AlterReplicas)>,
}

impl Asking {
    pub(super) fn new(process: Uuid) -> Asking {
        Asking {
            waiting: BTreeMap::new(),
            next_number: first_number(process),
            broker_epoch: None,
            is_fenced: true,
            due_at: Boot(0),
            wants_shutdown: false,
            may_stop: false,
            is_leaving: false,
            producer_ids: 0..0,
            alterations: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self) {
        self.wants_shutdown = true;
        self.due_at = Boot(0);
    }

    pub(super) fn may_stop(&self) -> bool {
        self.may_stop || self.broker_epoch.is_none()
    }
}

impl<D: Disk> Site<D> {
    /// This broker's epoch, once it is registered.
    pub fn broker_epoch(&self) -> Option<i64> {
        self.asking.broker_epoch
    }

    pub(super) fn take_ask(&mut self, now: Now, ask: ControlAsk) {
        if ask.api == ApiKey::DescribeQuorum && !self.asks_leader(&ask) {
            let body = self.describe_quorum();
            self.outputs.push_back(ControlOutput::Answer(ask.request, body));
            return;
        }
        if ask.api == ApiKey::InitProducerId {
            return self.give_id(now, ask);
        }
        let mut body = Bytes::copy_from_slice(&ask.body);
        if ask.api == ApiKey::ChangeMembers {
            body = membership::named(&ask.body, self.id.node_id);
            self.asking.is_leaving |= membership::is_leave(&body, self.id.node_id);
        }
        self.want(now, ask.api as u8, body, Wanted::Client(ask));
    }

    /// Whether a question about the quorum is for its leader, and that is another node within reach.
    fn asks_leader(&self, ask: &ControlAsk) -> bool {
        let request = frame::decode::<DescribeQuorumRequest>(&ask.body);
        let is_there = |leader| leader != self.id.node_id && self.peers.contains_key(&leader);
        request.is_ok_and(|request| request.asks_leader) && self.leader().is_some_and(is_there)
    }

    fn give_id(&mut self, now: Now, ask: ControlAsk) {
        let next_id = self.controller.image().next_producer_id();
        let given = give_producer_id(&ask.body, next_id, &mut self.asking.producer_ids);
        if let Some(body) = given {
            self.outputs.push_back(ControlOutput::Answer(ask.request, body));
            return;
        }
        let Some(broker_epoch) = self.asking.broker_epoch else {
            let failed = InitProducerIdResponse::failed(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            let body = frame::encode_body(&failed);
            self.outputs.push_back(ControlOutput::Answer(ask.request, body));
            return;
        };
        let request = AllocateProducerIdsRequest { node_id: self.id.node_id, broker_epoch };
        let body = Bytes::from(frame::encode_body(&request));
        let key = PeerApiKey::AllocateProducerIds as u8;
        self.want(now, key, body, Wanted::ProducerIds(ask));
    }

    /// A leader of a shard wants other in-sync replicas, and is answered once. What cannot be asked
    /// is answered at once: the leader asks again.
    pub fn alter(&mut self, now: Now, shard: ShardId, proposal: AlterReplicas) {
        let alterations = &mut self.asking.alterations;
        // A leader has one wish at a time, and does not ask again before it is answered: what it
        // wanted before builds on another version, and is void.
        alterations.retain(|(_, one)| one.topic_partition != proposal.topic_partition);
        if alterations.len() < REQUEST_PARTITIONS_MAX {
            alterations.push((shard, proposal));
        } else {
            self.refuse_alteration((shard, proposal), ErrorCode::REQUEST_TIMED_OUT);
        }
        self.ask_alterations(now);
        self.settle(now);
    }

    /// Asks for all that gathered, when the answer to the last such request has come.
    fn ask_alterations(&mut self, now: Now) {
        let is_alteration = |waiting: &Waiting| matches!(waiting.wanted, Wanted::Alteration(_));
        if self.asking.waiting.values().any(is_alteration) {
            return;
        }
        let gathered = std::mem::take(&mut self.asking.alterations);
        let Some(broker_epoch) = self.asking.broker_epoch else {
            // Not registered yet.
            for one in gathered {
                self.refuse_alteration(one, ErrorCode::STALE_BROKER_EPOCH);
            }
            return;
        };
        if gathered.is_empty() {
            return;
        }
        let place = |(shard, one): &(ShardId, AlterReplicas)| {
            (*shard, one.topic_partition, one.partition_epoch)
        };
        let places = gathered.iter().map(place).collect();
        let request = AlterPartitionRequest {
            leader: self.id.node_id,
            broker_epoch,
            partitions: gathered.into_iter().map(|(_, one)| one).collect(),
        };
        let body = Bytes::from(frame::encode_body(&request));
        let key = ReplicaApiKey::AlterPartition as u8;
        self.want(now, key, body, Wanted::Alteration(places));
    }

    fn refuse_alteration(&mut self, (shard, one): (ShardId, AlterReplicas), error: ErrorCode) {
        let AlterReplicas { topic_partition, partition_epoch, .. } = one;
        let altered = Altered { topic_partition, partition_epoch, outcome: Err(error) };
        self.outputs.push_back(ControlOutput::Altered(shard, altered));
    }

    fn altered(
        &mut self,
        now: Now,
        places: Vec<(ShardId, TopicPartition, i32)>,
        said: Result<Bytes, ErrorCode>,
    ) {
        let response = said.and_then(|body| {
            let response = frame::decode::<AlterPartitionResponse>(&body);
            let response = response.map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
            if response.error.is_ok() { Ok(response) } else { Err(response.error) }
        });
        for (shard, topic_partition, partition_epoch) in places {
            let outcome = match &response {
                Ok(response) => {
                    let found = response
                        .partitions
                        .iter()
                        .find(|one| one.topic_partition == topic_partition);
                    found.map_or(Err(ErrorCode::UNKNOWN_SERVER_ERROR), |one| self.decided(one))
                }
                Err(error) => Err(*error),
            };
            let altered = Altered { topic_partition, partition_epoch, outcome };
            self.outputs.push_back(ControlOutput::Altered(shard, altered));
        }
        self.ask_alterations(now);
    }

    fn decided(&self, one: &AlteredReplicas) -> Result<LeaderAndIsr, ErrorCode> {
        if !one.error.is_ok() && one.error != ErrorCode::NEW_LEADER_ELECTED {
            return Err(one.error);
        }
        let TopicPartition { topic_id, partition } = one.topic_partition;
        let found = self.controller.image().find_partition(TopicRef::Id(topic_id), partition);
        Ok(LeaderAndIsr {
            leader: Some(one.leader).filter(|leader| *leader != NodeId::NONE),
            leader_epoch: one.leader_epoch,
            replicas: found.map(|(_, image)| image.replicas.to_vec()).unwrap_or_default(),
            isr: one.isr.clone(),
            partition_epoch: one.partition_epoch,
        })
    }

    fn want(&mut self, now: Now, api_key: u8, body: Bytes, wanted: Wanted) {
        self.asking.next_number += 1;
        let number = self.asking.next_number;
        let deadline = now.boot.plus_ms(PATIENCE_MS);
        let waiting = Waiting { wanted, api_key, body, deadline, at: None, answer: None };
        self.asking.waiting.insert(number, waiting);
        self.send_ask(now, number);
    }

    /// Gives a request to the active controller, if it is known and within reach.
    fn send_ask(&mut self, now: Now, number: u64) {
        let is_active = self.is_active();
        let (own, leader) = (self.id.node_id, self.leader());
        let Some(waiting) = self.asking.waiting.get_mut(&number) else { return };
        let (api_key, body) = (waiting.api_key, waiting.body.clone());
        match leader {
            Some(leader) if leader == own && is_active => {
                waiting.at = Some(own);
                self.decide(now, Origin::Own(number), api_key, body);
            }
            Some(leader) if leader != own && self.peers.contains_key(&leader) => {
                waiting.at = Some(leader);
                let said = Said::Forwarded(Forwarded { number, api_key }, body);
                self.outputs.push_back(ControlOutput::Send(leader, said));
            }
            _ => {}
        }
    }

    /// Another node leads: who waits for the old one is told so, who waits for any goes to the new.
    pub(super) fn redirect_asks(&mut self, now: Now) {
        let leader = self.leader();
        let numbers: Vec<u64> = self.asking.waiting.keys().copied().collect();
        for number in numbers {
            let Some(waiting) = self.asking.waiting.get(&number) else { continue };
            if waiting.answer.is_some() {
                continue;
            }
            match waiting.at {
                None => self.send_ask(now, number),
                Some(at) if Some(at) == leader => {}
                Some(_) => {
                    let lost = Err(ErrorCode::NOT_CONTROLLER);
                    self.take_answer(now, number, lost, Offset::ZERO);
                }
            }
        }
    }

    /// A peer is out of reach: what it has may be done or not.
    pub(super) fn lose_asks_to(&mut self, now: Now, peer: NodeId) {
        let is_lost = |waiting: &Waiting| waiting.at == Some(peer) && waiting.answer.is_none();
        let lost = self.asking.waiting.iter().filter(|(_, waiting)| is_lost(waiting));
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        for number in lost {
            self.take_answer(now, number, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
        }
    }

    pub(super) fn expire_asks(&mut self, now: Now) {
        let numbers: Vec<u64> = self.asking.waiting.keys().copied().collect();
        for number in numbers {
            let Some(waiting) = self.asking.waiting.get(&number) else { continue };
            if waiting.deadline <= now.boot {
                self.asking.waiting.get_mut(&number).expect("just looked at").answer = None;
                self.take_answer(now, number, Err(ErrorCode::NOT_CONTROLLER), Offset::ZERO);
            } else if waiting.at.is_none() {
                self.send_ask(now, number);
            }
        }
    }

    pub(super) fn answered(&mut self, now: Now, from: NodeId, head: Answered, body: Bytes) {
        let is_theirs = |waiting: &Waiting| waiting.at == Some(from) && waiting.answer.is_none();
        if self.asking.waiting.get(&head.number).is_some_and(is_theirs) {
            let answer = if head.error.is_ok() { Ok(body) } else { Err(head.error) };
            self.take_answer(now, head.number, answer, head.end_offset);
        }
    }

    /// The controller has spoken; what it said is passed on once this node knows as much.
    pub(super) fn take_answer(
        &mut self,
        now: Now,
        number: u64,
        answer: Result<Bytes, ErrorCode>,
        end_offset: Offset,
    ) {
        if let Some(waiting) = self.asking.waiting.get_mut(&number) {
            waiting.answer = Some((answer, end_offset));
            self.finish_asks(now);
        }
    }

    /// Passes on what waited for this node to know enough; answers whether there was anything.
    pub(super) fn finish_asks(&mut self, now: Now) -> bool {
        let applied_end = self.applied_end();
        let is_due = |waiting: &Waiting| {
            waiting.answer.as_ref().is_some_and(|(_, end_offset)| *end_offset <= applied_end)
        };
        let due = self.asking.waiting.iter().find(|(_, waiting)| is_due(waiting));
        let Some(number) = due.map(|(number, _)| *number) else { return false };
        let waiting = self.asking.waiting.remove(&number).expect("just found");
        let (answer, _) = waiting.answer.expect("it is due");
        self.finish(now, waiting.wanted, answer);
        true
    }

    fn finish(&mut self, now: Now, wanted: Wanted, said: Result<Bytes, ErrorCode>) {
        match (wanted, said) {
            (Wanted::Client(ask), Ok(body)) => {
                if ask.api == ApiKey::ChangeMembers {
                    self.note_departure(&ask, &body);
                }
                self.outputs.push_back(ControlOutput::Answer(ask.request, body.to_vec()));
            }
            (Wanted::Client(ask), Err(error)) => self.refuse(&ask, error),
            (Wanted::ProducerIds(ask), Ok(body)) => {
                if let Ok(block) = frame::decode::<AllocateProducerIdsResponse>(&body) {
                    self.asking.producer_ids = block.first_id..block.next_id;
                }
                self.give_id(now, ask);
            }
            (Wanted::ProducerIds(ask), Err(_)) => {
                let failed = InitProducerIdResponse::failed(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                let body = frame::encode_body(&failed);
                self.outputs.push_back(ControlOutput::Answer(ask.request, body));
            }
            (Wanted::Registration, Ok(body)) => {
                if let Ok(registered) = frame::decode::<RegisterBrokerResponse>(&body) {
                    log::info!("registered with broker epoch {}", registered.broker_epoch);
                    self.asking.broker_epoch = Some(registered.broker_epoch);
                    // All that came before its registration is known here by now.
                    self.outputs.push_back(ControlOutput::Inform);
                    self.asking.due_at = now.boot;
                    let was_sound = self.was_clean && !self.is_unproven;
                    (self.was_clean, self.is_unproven) = (true, false);
                    if !was_sound {
                        self.outputs.push_back(ControlOutput::Work(Work::Prove));
                    }
                    self.live(now);
                }
            }
            (Wanted::Registration, Err(error)) => {
                self.asking.due_at = now.boot.plus_ms(RETRY_MS);
                if error != ErrorCode::NOT_CONTROLLER {
                    log::warn!("this broker cannot register: {error}");
                }
            }
            (Wanted::Heartbeat, said) => self.heard_back(now, said),
            (Wanted::Alteration(places), said) => self.altered(now, places, said),
        }
    }

    /// This node was asked to leave: it has left, or stays.
    fn note_departure(&mut self, ask: &ControlAsk, answered: &[u8]) {
        let asked = membership::named(&ask.body, self.id.node_id);
        match membership::departure(&asked, self.id.node_id, answered) {
            Some(true) => {
                self.asking.may_stop = true;
                self.outputs.push_back(ControlOutput::Depart);
            }
            Some(false) => self.asking.is_leaving = false,
            None => {}
        }
    }

    /// A client is told that nobody decided, topic by topic.
    fn refuse(&mut self, ask: &ControlAsk, error: ErrorCode) {
        let own = match ask.api {
            ApiKey::ChangeMembers => Some(membership::answer(error, error.text(), false)),
            ApiKey::DescribeMembers => Some(membership::nobody_knows(error)),
            ApiKey::DescribeQuorum => Some(self.describe_quorum()),
            _ => None,
        };
        if let Some(body) = own {
            self.outputs.push_back(ControlOutput::Answer(ask.request, body));
            return;
        }
        let asker = Asker { node_id: self.id.node_id, is_heard: &|_| false };
        let outcome = outcome_of(&self.controller, ask.api, &ask.body, asker, &mut self.seed);
        let mut verdicts = outcome.unwrap_or_default().verdicts;
        for verdict in &mut verdicts {
            verdict.error = error;
            verdict.message = error.text().into();
        }
        let body = answer(ask.api, &verdicts);
        self.outputs.push_back(ControlOutput::Answer(ask.request, body));
    }

    /// The life of this broker: it registers, then says now and then that it is there.
    pub(super) fn live(&mut self, now: Now) {
        let is_broker = self.config.roles & BROKER != 0;
        if !is_broker || now.boot < self.asking.due_at || self.leader().is_none() {
            return;
        }
        let is_own =
            |waiting: &Waiting| matches!(waiting.wanted, Wanted::Registration | Wanted::Heartbeat);
        if self.asking.waiting.values().any(is_own) {
            return;
        }
        let Some(cluster_id) = self.controller.image().cluster_id() else { return };
        let node_id = self.id.node_id;
        // One that is to leave, and is still known, may have something that others wait for.
        let is_known = self.controller.image().broker(node_id).is_some();
        let has_left = self.asking.is_leaving && !is_known;
        match self.asking.broker_epoch {
            None if self.asking.wants_shutdown || has_left => {}
            None => {
                self.asking.due_at = now.boot.plus_ms(RETRY_MS);
                let endpoint = |one: &crate::controller::change::Endpoint| PeerEndpoint {
                    protocol: one.protocol.clone(),
                    host: one.host.clone(),
                    port: one.port,
                };
                let request = RegisterBrokerRequest {
                    node_id,
                    incarnation: self.process,
                    directory_id: self.directory_id,
                    cluster_id,
                    feature_level: FEATURE_LEVEL,
                    rack: self.config.rack.clone(),
                    endpoints: self.config.endpoints.iter().map(endpoint).collect(),
                    unsound: self.unsound.iter().copied().collect(),
                    is_unproven: self.is_unproven,
                    was_clean: self.was_clean,
                    metadata_end_offset: self.found_end,
                };
                let body = Bytes::from(frame::encode_body(&request));
                let key = PeerApiKey::RegisterBroker as u8;
                self.want(now, key, body, Wanted::Registration);
            }
            Some(broker_epoch) => {
                self.asking.due_at = now.boot.plus_ms(self.beat_ms());
                let request = BrokerHeartbeatRequest {
                    node_id,
                    broker_epoch,
                    metadata_end_offset: self.applied_end(),
                    wants_shutdown: self.asking.wants_shutdown,
                    has_failed_dir: self.is_failed,
                };
                let body = Bytes::from(frame::encode_body(&request));
                let key = PeerApiKey::BrokerHeartbeat as u8;
                self.want(now, key, body, Wanted::Heartbeat);
            }
        }
    }

    /// Who waits to be unfenced, or to stop, asks more often.
    fn beat_ms(&self) -> u64 {
        let is_waiting = self.asking.is_fenced || self.asking.wants_shutdown;
        if is_waiting {
            RETRY_MS.min(self.config.heartbeat_interval_ms)
        } else {
            self.config.heartbeat_interval_ms
        }
    }

    fn heard_back(&mut self, now: Now, said: Result<Bytes, ErrorCode>) {
        match said {
            Ok(body) => {
                if let Ok(response) = frame::decode::<BrokerHeartbeatResponse>(&body) {
                    self.asking.is_fenced = response.is_fenced;
                    if response.may_stop && !self.asking.may_stop {
                        self.asking.may_stop = true;
                        self.hand_over(now);
                    }
                }
            }
            Err(ErrorCode::STALE_BROKER_EPOCH | ErrorCode::BROKER_ID_NOT_REGISTERED) => {
                log::warn!("the controller knows another incarnation of this broker, or none");
                self.asking.broker_epoch = None;
                self.asking.is_fenced = true;
                self.asking.due_at = now.boot.plus_ms(RETRY_MS);
            }
            // Nobody decides at present: the next heartbeat finds whoever does.
            Err(_) => self.asking.due_at = now.boot.plus_ms(RETRY_MS),
        }
    }
}

/// Where a process begins to count: far from where all others do.
fn first_number(process: Uuid) -> u64 {
    let (random, _) = process.0.split_first_chunk().expect("sixteen are more than eight");
    u64::from_be_bytes(*random) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen in the simulation: a node asked and was killed, and the controller, whose disk was slow,
    /// answered the next process. Both had begun at 1, and the answer was taken for that to another
    /// question.
    #[test]
    fn no_two_processes_number_their_requests_alike() {
        let first = |byte| Asking::new(Uuid::from_random([byte; 16])).next_number;
        assert!(1 << 32 < first(8) - first(7));
        assert!(first(u8::MAX).checked_add(1 << 62).is_some(), "it can count on");
    }
}
