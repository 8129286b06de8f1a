//! Whoever looks after the site, where its members change: a fourth board joins, partitions move to it,
//! a vote goes to it, and one of the four leaves for good. It does what `odradek topic reassign` and
//! `odradek cluster move-voter` and `leave` do: it asks until it is done.

use std::collections::VecDeque;

use odradek::ids::{NodeId, Partition};
use odradek::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignPartition,
};
use odradek::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

use super::link::Asked;
use super::{Link, TOPICS};
use crate::sim::checkers::history::Lane;
use crate::sim::event::{Event, NodeNumber};
use crate::sim::world::World;

/// The board that comes.
const NEW: NodeNumber = 4;

/// One thing to do.
#[derive(Clone, Debug)]
enum Step {
    /// The new board is switched on.
    Join,
    /// A partition is to live on these.
    Move(Lane, Vec<NodeId>),
    /// A vote goes to the new board.
    Vote(NodeNumber),
    /// A board leaves.
    Leave(NodeNumber),
}

/// See the module.
pub struct Operator {
    id: u32,
    steps: VecDeque<Step>,
    is_out: bool,
    rest_until: u64,
}

impl Operator {
    /// One that has all of it before it.
    pub fn new(id: u32, world: &mut World) -> Operator {
        let mut steps = VecDeque::from([Step::Join]);
        let any = |world: &mut World| 1 + world.random.below(3) as NodeNumber;
        for _ in 0..2 + world.random.below(2) {
            steps.push_back(a_move(world));
        }
        let from = any(world);
        steps.push_back(Step::Vote(from));
        steps.push_back(a_move(world));
        let leaves = 1 + world.random.below(4) as NodeNumber;
        steps.push_back(Step::Leave(leaves));
        let rest_until = world.soon(4_000_000, 6_000_000);
        world.at(rest_until, Event::Client(id, 7));
        Operator { id, steps, is_out: false, rest_until }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty()
    }

    fn rest(&mut self, world: &mut World, least_us: u64) {
        self.is_out = false;
        self.rest_until = world.soon(least_us, least_us);
        world.at(self.rest_until, Event::Client(self.id, 7));
    }

    fn next(&mut self, world: &mut World) {
        let done = self.steps.pop_front();
        world.trace.note(|| format!("done: {done:?}"));
        world.counts.member_changes += 1;
        self.rest(world, 500_000);
    }

    /// Asks for the next thing.
    pub fn go_on(&mut self, world: &mut World, link: &mut Link) {
        if self.is_out || world.us < self.rest_until {
            return;
        }
        let Some(step) = self.steps.front().cloned() else { return };
        match step {
            Step::Join => {
                world.add_board(NEW);
                self.next(world);
            }
            Step::Move((topic, partition), replicas) => {
                let moved = ReassignPartition {
                    topic: TopicRef::Name(TOPICS[usize::from(topic)].0),
                    partition: Partition(partition),
                    replicas: Some(replicas),
                };
                let body = AlterPartitionReassignmentsRequest {
                    timeout_ms: 2000,
                    allow_replication_factor_change: false,
                    partitions: vec![moved],
                };
                self.ask(world, link, None, ApiKey::AlterPartitionReassignments, &body);
            }
            Step::Vote(from) => {
                let change = SiteChange::MoveVoter { from: NodeId(from), to: NodeId(NEW) };
                let body = ChangeMembersRequest { change };
                self.ask(world, link, None, ApiKey::ChangeMembers, &body);
            }
            // It has heard that it is out, and whoever asked has not.
            Step::Leave(node) if world.is_nobody(node) => {
                world.depart(node);
                self.next(world);
            }
            Step::Leave(node) => {
                let body =
                    ChangeMembersRequest { change: SiteChange::Leave { node_id: NodeId(node) } };
                self.ask(world, link, Some(node), ApiKey::ChangeMembers, &body);
            }
        }
    }

    fn ask(
        &mut self,
        world: &mut World,
        link: &mut Link,
        of: Option<NodeNumber>,
        api: ApiKey,
        body: &impl serde::Serialize,
    ) {
        self.is_out = true;
        let node = of.unwrap_or_else(|| world.any_node());
        link.ask(world, node, api, (body, &[]), Some(Asked::Role(0)));
    }

    /// No answer will come.
    pub fn unanswered(&mut self, world: &mut World) {
        self.rest(world, 200_000);
    }

    /// An answer came.
    pub fn answered(&mut self, world: &mut World, body: &[u8]) -> bool {
        match self.steps.front().cloned() {
            Some(Step::Move(..)) => {
                let response: AlterPartitionReassignmentsResponse<'_> =
                    frame::decode(body).expect("an answer");
                let answer = &response.partitions[0];
                world.trace.note(|| format!("a move: {:?} {}", answer.error, answer.message));
                match answer.error.is_ok() {
                    true => self.next(world),
                    false => self.rest(world, 300_000),
                }
            }
            Some(step) => {
                let response: ChangeMembersResponse<'_> = frame::decode(body).expect("an answer");
                let ChangeMembersResponse { error, message, is_done } = response;
                world.trace.note(|| format!("{step:?}: {error:?} {message} {is_done}"));
                let leaving = match step {
                    Step::Leave(node) => Some(node),
                    _ => None,
                };
                // It was done, and the answer was lost.
                let is_gone = leaving.is_some() && error == ErrorCode::BROKER_ID_NOT_REGISTERED;
                if is_done || is_gone {
                    if let Some(node) = leaving {
                        world.depart(node);
                    }
                    self.next(world);
                } else {
                    self.rest(world, 100_000);
                }
            }
            None => {}
        }
        false
    }
}

/// A partition moves to three of the four.
fn a_move(world: &mut World) -> Step {
    let topic = world.random.below(TOPICS.len() as u64) as u8;
    let partition = world.random.below(TOPICS[usize::from(topic)].1 as u64) as i32;
    let mut replicas: Vec<NodeId> = (1..=NEW).map(NodeId).collect();
    replicas.remove(world.random.below(3) as usize);
    let first = world.random.below(3) as usize;
    replicas.rotate_left(first);
    Step::Move((topic, partition), replicas)
}
