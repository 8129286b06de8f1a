//! Who belongs to the site, and how a node ceases to: what `odradek cluster members`, `leave`, `remove`
//! and `move-voter` ask of the active controller.
//!
//! ```text
//! leave, remove    replicas moved to others, where there are others
//!                  ─► put out (leads nothing, in sync with nothing) ─► replicas taken off
//!                  ─► unregistered, and noted as departed ─► out of the quorum ─► done
//! move-voter       the other promoted ─► the one removed from the quorum ─► done
//! ```
//!
//! Each request takes the next step, and the next request finds the site as that step left it: an
//! active controller that is lost on the way loses nothing, for whoever asked asks the next one.
//!
//! **Invariant:** a step is refused before anything has changed, if the last one would be: nobody
//! leaves who holds the only copy of something, or without whom the voters are no majority.

use bytes::Bytes;

use crate::broker::site::Site;
use crate::broker::site::active::{Origin, Reply};
use crate::controller::change::{BrokerState, Change};
use crate::ids::NodeId;
use crate::journal::disk::Disk;
use crate::limits::QUORUM_VOTERS_MAX;
use crate::quorum::{MembersError, VoterId};
use crate::time::Now;
use crate::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use crate::wire::describe_members::{DescribeMembersResponse, DescribedNode, NodeState};
use crate::wire::peer::hello::{BROKER, CONTROLLER, UNNAMED, WITNESS};
use crate::wire::quorum::members::{MemberChange, MemberKind};
use crate::wire::{ErrorCode, frame};

/// How long a node is on its way out, since it was last asked about.
const DEPARTURE_MS: u64 = 10_000;

/// Replicas of a node that leaves which are on their way to others at a time.
const MOVES_MAX: usize = 256;

/// The next step of a change.
enum Step {
    /// Of the metadata.
    Changes(Vec<Change>, &'static str),
    /// Of the quorum; nothing is left to do behind it, or something is.
    Quorum(MemberChange, bool),
    /// What was begun goes on, as these words say.
    Wait(String),
    /// None is needed any more.
    Done,
}

/// Why a change is refused.
struct Refused(ErrorCode, String);

impl Refused {
    fn policy(why: impl Into<String>) -> Refused {
        Refused(ErrorCode::POLICY_VIOLATION, why.into())
    }
}

/// An answer to `ChangeMembers`.
pub(super) fn answer(error: ErrorCode, message: &str, is_done: bool) -> Vec<u8> {
    frame::encode_body(&ChangeMembersResponse { error, message, is_done })
}

impl<D: Disk> Site<D> {
    /// Takes the next step of a change of members.
    pub(super) fn change_site(&mut self, now: Now, origin: Origin, body: &[u8]) {
        let Ok(request) = frame::decode::<ChangeMembersRequest>(body) else {
            return self.reply_now(now, origin, Err(ErrorCode::INVALID_REQUEST));
        };
        match self.next_step(now, request.change) {
            Err(Refused(error, why)) => {
                if let SiteChange::Leave { node_id } | SiteChange::Remove { node_id, .. } =
                    request.change
                {
                    self.active.departing.remove(&node_id);
                }
                self.reply_now(now, origin, Ok(answer(error, &why, false)));
            }
            Ok(Step::Done) => self.reply_now(now, origin, Ok(answer(ErrorCode::NONE, "", true))),
            Ok(Step::Changes(changes, what)) => {
                let reply = answer(ErrorCode::NONE, what, false);
                self.propose_changes(now, origin, &changes, reply);
            }
            Ok(Step::Wait(what)) => {
                self.reply_now(now, origin, Ok(answer(ErrorCode::NONE, &what, false)));
            }
            Ok(Step::Quorum(change, is_last)) => self.step_quorum(now, origin, change, is_last),
        }
    }

    fn step_quorum(&mut self, now: Now, origin: Origin, change: MemberChange, is_last: bool) {
        let quorum = self.quorum.as_mut().expect("it leads");
        let changed = quorum.change_members(now, change);
        self.drain(now);
        match changed {
            Ok(offset) => {
                log::info!("members of the metadata quorum change: {change:?}");
                let reply = answer(ErrorCode::NONE, "the quorum changes", is_last);
                self.note_proposed(origin, offset, reply);
            }
            Err(why) => {
                let (error, words) = match why {
                    MembersError::LastVoter => (
                        ErrorCode::POLICY_VIOLATION,
                        "it is the only one that votes: let another board join first",
                    ),
                    MembersError::HandingOver => {
                        (ErrorCode::NONE, "another node takes over the metadata quorum")
                    }
                    MembersError::NotCaughtUp => {
                        (ErrorCode::NONE, "the node that is to vote has not caught up yet")
                    }
                    MembersError::InProgress | MembersError::NotLeader => {
                        (ErrorCode::NONE, "the quorum changes")
                    }
                    MembersError::Full => {
                        (ErrorCode::POLICY_VIOLATION, "there are as many voters as may be")
                    }
                    MembersError::Duplicate
                    | MembersError::NotFound
                    | MembersError::OtherLife(_)
                    | MembersError::NodeId => (ErrorCode::NONE, "the quorum has changed meanwhile"),
                };
                self.reply_now(now, origin, Ok(answer(error, words, false)));
            }
        }
    }

    fn next_step(&mut self, now: Now, change: SiteChange) -> Result<Step, Refused> {
        match change {
            SiteChange::Leave { node_id } => {
                self.may_lose(node_id)?;
                self.depart(now, node_id, false)
            }
            SiteChange::Remove { node_id, is_forced } => {
                self.is_dead(now, node_id)?;
                self.may_lose(node_id)?;
                self.depart(now, node_id, is_forced)
            }
            SiteChange::MoveVoter { from, to } => self.move_voter(from, to),
        }
    }

    fn lives(&self, node_id: NodeId) -> Vec<VoterId> {
        let quorum = self.quorum.as_ref().expect("it leads");
        let members = quorum.members().to_list().into_iter().map(|one| one.id);
        members.filter(|id| id.node_id == node_id).collect()
    }

    fn is_voter(&self, node_id: NodeId) -> bool {
        let quorum = self.quorum.as_ref().expect("it leads");
        quorum.members().voters().any(|id| id.node_id == node_id)
    }

    fn is_dead(&self, now: Now, node_id: NodeId) -> Result<(), Refused> {
        let is_there = node_id == self.id.node_id
            || self.peers.contains_key(&node_id)
            || self.active.sessions.is_heard(now.boot, node_id);
        if is_there {
            return Err(Refused::policy(format!(
                "node {node_id} is alive: run `odradek cluster leave` on it, or stop it first"
            )));
        }
        Ok(())
    }

    /// Whether those who are left and alive are a majority of those who are left to vote.
    fn may_lose(&self, node_id: NodeId) -> Result<(), Refused> {
        if !self.is_voter(node_id) {
            return Ok(());
        }
        let quorum = self.quorum.as_ref().expect("it leads");
        let left: Vec<NodeId> =
            quorum.members().voters().map(|id| id.node_id).filter(|id| *id != node_id).collect();
        let is_alive = |id: &&NodeId| **id == self.id.node_id || self.peers.contains_key(*id);
        let alive = left.iter().filter(is_alive).count();
        if left.is_empty() {
            return Err(Refused::policy(format!(
                "node {node_id} is the only one that votes: let another board join first"
            )));
        }
        if alive < left.len() / 2 + 1 {
            return Err(Refused::policy(format!(
                "without node {node_id} only {alive} of {} that are left to vote are within reach, \
                 which is no majority: bring the others back, or remove a dead one, first",
                left.len()
            )));
        }
        Ok(())
    }

    fn depart(&mut self, now: Now, node_id: NodeId, is_forced: bool) -> Result<Step, Refused> {
        let registered = self.controller.image().broker(node_id).map(|broker| broker.state);
        let lives = self.lives(node_id);
        if registered.is_none() && lives.is_empty() {
            return match self.active.departing.contains_key(&node_id) {
                true => Ok(Step::Done),
                false => Err(Refused(
                    ErrorCode::BROKER_ID_NOT_REGISTERED,
                    format!("there is no node {node_id} in this site"),
                )),
            };
        }
        // From now on nothing moves to it either, from another that leaves.
        self.active.departing.insert(node_id, now.boot.plus_ms(DEPARTURE_MS));
        if !is_forced {
            if let Some(step) = self.move_off(now, node_id) {
                return Ok(step);
            }
        }
        let taken_off = self.controller.vacate(node_id, is_forced).map_err(|only| {
            let (topic, partition) = (&only.topic, only.partition);
            let more = match only.count {
                1 => String::new(),
                count => format!(", and so for {} partitions more", count - 1),
            };
            let advice = match (only.has_others, is_forced) {
                (true, _) => "wait until its replicas have caught up (`odradek topic describe`)",
                (false, _) => "reassign or delete the topic first",
            };
            Refused::policy(format!(
                "node {node_id} holds the only copy of {topic}-{partition}{more}: {advice}"
            ))
        })?;
        match registered {
            Some(BrokerState::Active) => {
                return Ok(Step::Changes(
                    self.controller.shut_down(node_id),
                    "others take over what it leads",
                ));
            }
            Some(_) if !taken_off.is_empty() => {
                self.controller.tell_of_losses(&taken_off);
                return Ok(Step::Changes(taken_off, "its replicas are taken off it"));
            }
            Some(_) => {
                let mut changes = self.departures(node_id, &lives);
                changes.extend(self.controller.forget(node_id).map_err(|error| {
                    Refused(error, format!("node {node_id} is still in use; try again"))
                })?);
                return Ok(Step::Changes(changes, "it is unregistered"));
            }
            // It never held data, so nobody registered it.
            None => {
                let changes = self.departures(node_id, &lives);
                if !changes.is_empty() {
                    return Ok(Step::Changes(changes, "it is not to come back"));
                }
            }
        }
        let last = lives.last().copied().expect("one of the two is left");
        Ok(Step::Quorum(MemberChange::Remove(last), lives.len() == 1))
    }

    /// Has what lives on a node move to others; `None` when nothing does any more, or can.
    fn move_off(&self, now: Now, node_id: NodeId) -> Option<Step> {
        let may_take = |node| !self.is_departing(now, node);
        let moves = self.controller.move_off(node_id, MOVES_MAX, &may_take);
        match moves.under_way_count {
            _ if !moves.changes.is_empty() => {
                Some(Step::Changes(moves.changes, "its replicas move to other brokers"))
            }
            0 => None,
            1 => Some(Step::Wait("1 of its replicas is on its way to another broker".into())),
            count => Some(Step::Wait(format!(
                "{count} of its replicas are on their way to other brokers"
            ))),
        }
    }

    /// What has none of a node's lives so far taken in again.
    fn departures(&self, node_id: NodeId, lives: &[VoterId]) -> Vec<Change> {
        let image = self.controller.image();
        let registered = image.broker(node_id).map(|broker| broker.life);
        let mut all: Vec<u32> = lives.iter().map(|id| id.incarnation).chain(registered).collect();
        all.sort_unstable();
        all.dedup();
        let is_new = |life: &u32| !self.has_departed(VoterId { node_id, incarnation: *life });
        let departed = |life| Change::Departed { node_id, life };
        all.into_iter().filter(is_new).map(departed).collect()
    }

    /// Whether a node that comes with this left the site.
    pub(super) fn has_departed(&self, id: VoterId) -> bool {
        self.controller.image().departed().contains(&id)
    }

    fn move_voter(&mut self, from: NodeId, to: NodeId) -> Result<Step, Refused> {
        if self.config.voters.contains(&from) {
            return Err(Refused::policy(format!(
                "controller.quorum.voters names node {from}: that list decides who votes, so change \
                 it on every node"
            )));
        }
        let quorum = self.quorum.as_ref().expect("it leads");
        let members = quorum.members().to_list();
        let kind = |node: NodeId| {
            members.iter().filter(|one| one.id.node_id == node).map(|one| (one.id, one.kind)).next()
        };
        let Some((_, to_kind)) = kind(to) else {
            return Err(Refused(
                ErrorCode::BROKER_ID_NOT_REGISTERED,
                format!("there is no node {to} in this site, or it has not been taken in yet"),
            ));
        };
        if to_kind == MemberKind::Observer {
            if !self.is_voter(from) {
                return Err(Refused::policy(format!("node {from} does not vote")));
            }
            let Some(peer) = self
                .peers
                .get(&to)
                .copied()
                .or_else(|| Some(self.identity()).filter(|own| own.voter.node_id == to))
            else {
                return Err(Refused::policy(format!("node {to} is out of reach")));
            };
            if !peer.is(CONTROLLER) && !peer.is(WITNESS) {
                return Err(Refused::policy(format!(
                    "node {to} is no controller (process.roles), so it cannot vote"
                )));
            }
            if QUORUM_VOTERS_MAX <= quorum.members().voters().count() {
                return Err(Refused::policy("there are as many voters as may be"));
            }
            let change = MemberChange::Promote { id: peer.voter, is_witness: peer.is(WITNESS) };
            return Ok(Step::Quorum(change, false));
        }
        match kind(from) {
            Some((id, MemberKind::Voter | MemberKind::Witness)) => {
                Ok(Step::Quorum(MemberChange::Remove(id), true))
            }
            _ => Ok(Step::Done),
        }
    }

    /// Says what two voters are worth (reliability.md Q7).
    pub(super) fn note_voters(&self) {
        let voters = self.quorum.as_ref().map_or(0, |quorum| quorum.members().voters().count());
        if voters == 2 && self.config.voters.len() <= 2 {
            log::warn!(
                "two nodes vote: when one is lost the other cannot lead alone, and nothing fails over. \
                 A third vote makes the site survive it; a witness needs no data (process.roles = \
                 [\"witness\"])"
            );
        }
    }

    /// Whether a node is on its way out.
    pub(super) fn is_departing(&self, now: Now, node_id: NodeId) -> bool {
        self.active.departing.get(&node_id).is_some_and(|until| now.boot < *until)
    }

    /// Whether a node is on its way out, and registered no more. Until then a new process of it is let
    /// in: what it alone has gets to others in no other way.
    pub(super) fn is_let_go(&self, now: Now, node_id: NodeId) -> bool {
        self.is_departing(now, node_id) && self.controller.image().broker(node_id).is_none()
    }

    /// Everybody, for `DescribeMembers`.
    pub(super) fn describe_members(&self, now: Now) -> Vec<u8> {
        let image = self.controller.image();
        let quorum = self.quorum.as_ref().expect("it leads");
        let members = quorum.members().to_list();
        let own = self.identity();
        let mut ids: Vec<NodeId> = image.brokers().map(|(node_id, _)| node_id).collect();
        ids.extend(members.iter().map(|one| one.id.node_id));
        ids.extend(self.peers.keys());
        ids.push(own.voter.node_id);
        ids.sort_unstable();
        ids.dedup();
        let describe = |node_id: NodeId| {
            let is_own = node_id == own.voter.node_id;
            let peer = if is_own { Some(&own) } else { self.peers.get(&node_id) };
            let kinds = members.iter().filter(|one| one.id.node_id == node_id);
            let kind = kinds.map(|one| one.kind).min_by_key(|kind| *kind as u8);
            let broker = image.broker(node_id);
            let (host, port) = broker.and_then(|one| one.listener("wire")).unwrap_or_default();
            let roles = peer.map_or_else(|| roles_of(broker.is_some(), kind), |peer| peer.roles);
            let roles = roles & !UNNAMED;
            let heard = self.active.sessions.silent_ms(now.boot, node_id);
            let silent_ms = match is_own || (peer.is_some() && broker.is_none()) {
                true => 0,
                false => heard.map_or(-1, |ms| ms as i64),
            };
            DescribedNode {
                node_id,
                roles,
                kind,
                state: broker.map_or(NodeState::Unregistered, |broker| match broker.state {
                    BrokerState::Fenced => NodeState::Fenced,
                    BrokerState::Active => NodeState::Active,
                    BrokerState::ShuttingDown => NodeState::ShuttingDown,
                }),
                host: host.into(),
                port,
                rack: broker.map(|broker| broker.rack.clone()).unwrap_or_default(),
                silent_ms,
                broker_epoch: broker.map_or(-1, |broker| broker.broker_epoch),
                directory_id: broker.map(|broker| broker.directory_id).unwrap_or_default(),
            }
        };
        let response = DescribeMembersResponse {
            error: ErrorCode::NONE,
            controller: own.voter.node_id,
            nodes: ids.into_iter().map(describe).collect(),
        };
        frame::encode_body(&response)
    }

    fn reply_now(&mut self, now: Now, origin: Origin, reply: Reply) {
        self.reply(now, origin, reply, crate::ids::Offset::ZERO);
    }
}

/// What a node out of reach does, for all that is known.
fn roles_of(is_broker: bool, kind: Option<MemberKind>) -> u8 {
    match (is_broker, kind) {
        (_, Some(MemberKind::Witness)) => WITNESS,
        (true, Some(MemberKind::Voter)) => BROKER | CONTROLLER,
        (true, _) => BROKER,
        (false, Some(MemberKind::Voter)) => CONTROLLER,
        (false, _) => 0,
    }
}

/// The node that a request means when it names none, put into it.
pub(super) fn named(body: &[u8], own: NodeId) -> Bytes {
    match frame::decode::<ChangeMembersRequest>(body) {
        Ok(ChangeMembersRequest { change: SiteChange::Leave { node_id: NodeId::NONE } }) => {
            let change = SiteChange::Leave { node_id: own };
            Bytes::from(frame::encode_body(&ChangeMembersRequest { change }))
        }
        _ => Bytes::copy_from_slice(body),
    }
}

/// Whether a request is about the node that it was asked of.
pub(super) fn is_leave(asked: &[u8], own: NodeId) -> bool {
    frame::decode::<ChangeMembersRequest>(asked)
        .is_ok_and(|asked| asked.change == SiteChange::Leave { node_id: own })
}

/// What an answer means for a node that asked to leave: it has left, or is not let go; `None` while
/// that is under way, or when it asked for something else.
pub(super) fn departure(asked: &[u8], own: NodeId, answered: &[u8]) -> Option<bool> {
    let answered: ChangeMembersResponse<'_> = frame::decode(answered).ok()?;
    let is_decided = answered.is_done || !answered.error.is_ok();
    (is_leave(asked, own) && is_decided).then_some(answered.is_done)
}

/// An answer to `DescribeMembers` while nobody leads.
pub(super) fn nobody_knows(error: ErrorCode) -> Vec<u8> {
    let nodes = Vec::new();
    frame::encode_body(&DescribeMembersResponse { error, controller: NodeId::NONE, nodes })
}
