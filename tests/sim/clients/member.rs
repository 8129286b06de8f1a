//! A member of a consumer group, by the classic protocol: it joins, reads what it is given from
//! where the group has committed, and commits how far it is.

use std::collections::BTreeMap;

use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::Batch;
use odradek::wire::fetch::{FetchPartition, FetchRequest, FetchResponse};
use odradek::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse,
};
use odradek::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use odradek::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use odradek::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use odradek::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

use super::link::Asked;
use super::{Leaders, Link, TOPICS};
use crate::sim::checkers::groups::Bearing;
use crate::sim::checkers::history::Lane;
use crate::sim::checkers::rules::{g2, g4};
use crate::sim::event::{Event, NodeNumber};
use crate::sim::world::World;

/// The groups' names, by number.
const GROUPS: [&str; 2] = ["dashboard", "archive"];

const FIND: u64 = 1;
const JOIN: u64 = 2;
const SYNC: u64 = 3;
const HEARTBEAT: u64 = 4;
const OFFSETS: u64 = 5;
const COMMIT: u64 = 6;
const FETCH: u64 = 7;
const LATE: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Syncing,
    /// It knows what it has, and asks from where to read.
    Beginning,
    Reading,
}

/// What a member was told as one of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// That all is well.
    Beat,
    Share,
    Committed,
}

/// A fetch that is under way.
struct Fetching {
    lane: Lane,
    offset: i64,
    /// Whether a copy was rotten when it was asked for: the answer may come after that one has healed.
    is_rotten: bool,
}

/// See the module.
pub struct Member {
    id: u32,
    group: u8,
    /// The name that it bears beyond its process.
    instance: Option<&'static str>,
    coordinator: Option<NodeNumber>,
    /// Its member id.
    name: String,
    generation: i32,
    stage: Stage,
    /// What the leader of the group gives each member.
    assignments: Vec<(String, Vec<u8>)>,
    positions: BTreeMap<Lane, i64>,
    /// What is under way, and what was known of whoever bears its name when it asked.
    out: BTreeMap<u64, Option<Bearing>>,
    heartbeat_at: u64,
    commit_at: u64,
    fetch_at: u64,
    rest_until: u64,
    /// Of the commit that is under way: what was known when it was sent.
    committing: Vec<(Lane, i64, i32)>,
    /// The same of the question for offsets; none when it was asked in an earlier generation, and its
    /// answer means nothing any more.
    least: Option<BTreeMap<Lane, i64>>,
    fetching: Option<Fetching>,
    turn: usize,
    /// What it read in an earlier generation: a commit that comes too late, and must be refused.
    late: Option<(i32, BTreeMap<Lane, i64>)>,
    committing_late: Vec<(Lane, i64)>,
}

impl Member {
    pub fn new(id: u32, group: u8, instance: Option<&'static str>) -> Member {
        Member {
            id,
            group,
            instance,
            coordinator: None,
            name: String::new(),
            generation: -1,
            stage: Stage::Joining,
            assignments: Vec::new(),
            positions: BTreeMap::new(),
            out: BTreeMap::new(),
            heartbeat_at: 0,
            commit_at: 0,
            fetch_at: 0,
            rest_until: 0,
            committing: Vec::new(),
            least: None,
            fetching: None,
            turn: 0,
            late: None,
            committing_late: Vec::new(),
        }
    }

    fn wake(&self, world: &mut World, at: u64) {
        world.at(at, Event::Client(self.id, 6));
    }

    fn rest(&mut self, world: &mut World) {
        self.rest_until = world.us + 100_000 + world.random.below(200_000);
        self.wake(world, self.rest_until);
    }

    fn is_out(&self, token: u64) -> bool {
        self.out.contains_key(&token)
    }

    fn ask(
        &mut self,
        world: &mut World,
        link: &mut Link,
        (node, api, token): (NodeNumber, ApiKey, u64),
        body: &impl serde::Serialize,
    ) {
        let groups = &world.checkers.groups;
        let bearing = |instance| groups.bearing(self.group, instance, &self.name);
        self.out.insert(token, self.instance.map(bearing));
        link.ask(world, node, api, (body, &[]), Some(Asked::Role(token)));
    }

    /// Does what its stage wants.
    pub fn go_on(&mut self, world: &mut World, link: &mut Link, leaders: &mut Leaders) {
        if world.us < self.rest_until || !link.refresh(world) {
            return;
        }
        let Some(coordinator) = self.coordinator else {
            if !self.is_out(FIND) {
                let node = world.any_node();
                let keys = vec![GROUPS[self.group as usize]];
                let body = FindCoordinatorRequest { kind: CoordinatorKind::Group, keys };
                self.ask(world, link, (node, ApiKey::FindCoordinator, FIND), &body);
            }
            return;
        };
        match self.stage {
            Stage::Joining => self.join(world, link, coordinator),
            Stage::Syncing => self.sync(world, link, coordinator),
            Stage::Beginning => {
                self.beat(world, link, coordinator);
                self.begin(world, link, coordinator);
            }
            Stage::Reading => {
                self.beat(world, link, coordinator);
                self.commit(world, link, coordinator);
                self.commit_late(world, link, coordinator);
                self.fetch(world, link, leaders);
            }
        }
    }

    fn join(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(JOIN) {
            return;
        }
        let topics = TOPICS.iter().map(|(name, _)| *name).collect();
        let subscription = ConsumerProtocolSubscription { topics, ..<_>::default() };
        let metadata = subscription.encode(0);
        let member_id = self.name.clone();
        let body = JoinGroupRequest {
            group_id: GROUPS[self.group as usize],
            session_timeout_ms: 6000,
            rebalance_timeout_ms: 6000,
            member_id: &member_id,
            group_instance_id: self.instance,
            protocol_type: "consumer",
            protocols: vec![JoinProtocol { name: "range", metadata: &metadata }],
            reason: None,
            needs_known_member_id: true,
            can_skip_assignment: false,
        };
        self.ask(world, link, (node, ApiKey::JoinGroup, JOIN), &body);
    }

    fn sync(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(SYNC) {
            return;
        }
        let (member_id, assignments) = (self.name.clone(), self.assignments.clone());
        let assignment =
            |(member_id, assignment): &(String, Vec<u8>)| (member_id.clone(), assignment.clone());
        let owned: Vec<(String, Vec<u8>)> = assignments.iter().map(assignment).collect();
        let body = SyncGroupRequest {
            group_id: GROUPS[self.group as usize],
            generation_id: self.generation,
            member_id: &member_id,
            group_instance_id: self.instance,
            protocol_type: Some("consumer"),
            protocol_name: Some("range"),
            assignments: owned
                .iter()
                .map(|(member_id, assignment)| SyncAssignment { member_id, assignment })
                .collect(),
        };
        self.ask(world, link, (node, ApiKey::SyncGroup, SYNC), &body);
    }

    fn beat(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(HEARTBEAT) || world.us < self.heartbeat_at {
            return;
        }
        self.heartbeat_at = world.us + 800_000;
        self.wake(world, self.heartbeat_at);
        let member_id = self.name.clone();
        let body = HeartbeatRequest {
            group_id: GROUPS[self.group as usize],
            generation_id: self.generation,
            member_id: &member_id,
            group_instance_id: self.instance,
        };
        self.ask(world, link, (node, ApiKey::Heartbeat, HEARTBEAT), &body);
    }

    fn begin(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(OFFSETS) {
            return;
        }
        let lanes: Vec<Lane> = self.positions.keys().copied().collect();
        let groups = &world.checkers.groups;
        let least = |lane: &Lane| (*lane, groups.committed_offset(self.group, *lane));
        self.least = Some(lanes.iter().map(least).collect());
        let partition = |lane: &Lane| FetchOffset {
            topic: TopicRef::Name(TOPICS[lane.0 as usize].0),
            partition: Partition(lane.1),
        };
        let body = OffsetFetchRequest {
            require_stable: true,
            groups: vec![FetchOffsetsGroup {
                group_id: GROUPS[self.group as usize],
                member_id: None,
                member_epoch: -1,
                partitions: Some(lanes.iter().map(partition).collect()),
            }],
        };
        self.ask(world, link, (node, ApiKey::OffsetFetch, OFFSETS), &body);
    }

    fn commit(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(COMMIT) || world.us < self.commit_at || self.positions.is_empty() {
            return;
        }
        self.commit_at = world.us + 300_000 + world.random.below(500_000);
        self.wake(world, self.commit_at);
        let groups = &world.checkers.groups;
        let newest = |lane: Lane| groups.newest(self.group, lane);
        let committing = self.positions.iter().map(|(lane, at)| (*lane, *at, newest(*lane)));
        self.committing = committing.collect();
        let positions = self.positions.clone();
        self.ask_to_commit(world, link, (node, COMMIT), (self.generation, &positions));
    }

    /// Commits for an earlier generation, as whoever repeats a commit that had no answer does.
    fn commit_late(&mut self, world: &mut World, link: &mut Link, node: NodeNumber) {
        if self.is_out(LATE) {
            return;
        }
        let Some((generation, positions)) = self.late.take() else { return };
        if generation < self.generation {
            self.committing_late = positions.iter().map(|(lane, at)| (*lane, *at)).collect();
            self.ask_to_commit(world, link, (node, LATE), (generation, &positions));
        }
    }

    fn ask_to_commit(
        &mut self,
        world: &mut World,
        link: &mut Link,
        (node, token): (NodeNumber, u64),
        (generation, positions): (i32, &BTreeMap<Lane, i64>),
    ) {
        let partition = |(lane, offset): (&Lane, &i64)| CommitPartition {
            topic: TopicRef::Name(TOPICS[lane.0 as usize].0),
            partition: Partition(lane.1),
            offset: Offset(*offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "",
        };
        let member_id = self.name.clone();
        let body = OffsetCommitRequest {
            group_id: GROUPS[self.group as usize],
            generation_id_or_member_epoch: generation,
            member_id: &member_id,
            group_instance_id: self.instance,
            retention_time_ms: -1,
            knows_member_epochs: false,
            partitions: positions.iter().map(partition).collect(),
        };
        self.ask(world, link, (node, ApiKey::OffsetCommit, token), &body);
    }

    fn fetch(&mut self, world: &mut World, link: &mut Link, leaders: &mut Leaders) {
        if self.is_out(FETCH) || world.us < self.fetch_at || self.positions.is_empty() {
            return;
        }
        self.turn += 1;
        let place = self.turn % self.positions.len();
        let (lane, offset) = self.positions.iter().nth(place).expect("it is one of them");
        let (lane, offset) = (*lane, *offset);
        let Some(&(leader, _)) = leaders.0.get(&lane) else { return link.doubt() };
        let body = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 50_000,
            partitions: vec![FetchPartition {
                topic: TopicRef::Name(TOPICS[lane.0 as usize].0),
                partition: Partition(lane.1),
                offset: Offset(offset),
                current_leader_epoch: LeaderEpoch::NONE,
                max_bytes: 20_000,
            }],
        };
        self.fetching = Some(Fetching { lane, offset, is_rotten: world.is_rotten(lane) });
        self.ask(world, link, (leader, ApiKey::Fetch, FETCH), &body);
    }

    /// No answer will come.
    pub fn unanswered(&mut self, world: &mut World, token: u64) {
        self.out.remove(&token);
        if token != FETCH && token != LATE {
            self.coordinator = None;
        }
        self.rest(world);
    }

    fn rejoin(&mut self) {
        self.stage = Stage::Joining;
        self.least = None;
        let positions = std::mem::take(&mut self.positions);
        if !positions.is_empty() {
            self.late = Some((self.generation, positions));
        }
    }

    /// An error of a coordinator: where to go on.
    fn stumble(&mut self, world: &mut World, node: NodeNumber, error: ErrorCode) {
        self.rest(world);
        match error {
            ErrorCode::REBALANCE_IN_PROGRESS => self.rejoin(),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                if error == ErrorCode::UNKNOWN_MEMBER_ID {
                    self.name.clear();
                }
                self.rejoin();
            }
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.coordinator = None;
            }
            // Another bears its name. After a while it takes it back.
            ErrorCode::FENCED_INSTANCE_ID if self.instance.is_some() => {
                self.name.clear();
                self.rejoin();
                self.rest_until = world.us + 1_000_000 + world.random.below(6_000_000);
                self.wake(world, self.rest_until);
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::UNSTABLE_OFFSET_COMMIT => {}
            // One that was deposed, and has not heard of it, never knew a group that began elsewhere.
            ErrorCode::GROUP_ID_NOT_FOUND if !world.checkers.leads_groups(node) => {
                self.coordinator = None;
            }
            ErrorCode::GROUP_ID_NOT_FOUND => {
                world.checkers.blame("G6", "a group that has members is forgotten");
            }
            other => {
                world.checkers.blame("an answer to a member", &format!("{other:?}"));
            }
        }
    }

    /// An answer came; whether the leaders are to be asked for.
    pub fn answered(
        &mut self,
        world: &mut World,
        node: NodeNumber,
        token: u64,
        body: &[u8],
    ) -> bool {
        let asked = self.out.remove(&token).flatten();
        match token {
            FIND => {
                let response: FindCoordinatorResponse<'_> = frame::decode(body).expect("found");
                let found = response.coordinators[0];
                self.coordinator = found.error.is_ok().then_some(found.node_id.0);
                if self.coordinator.is_none() {
                    self.rest(world);
                }
            }
            JOIN => self.joined(world, node, body),
            SYNC => self.synced(world, body, (node, asked)),
            HEARTBEAT => {
                let response: HeartbeatResponse = frame::decode(body).expect("an answer");
                match response.error.is_ok() {
                    true => self.was_served(world, (node, asked), Told::Beat),
                    false => self.stumble(world, node, response.error),
                }
            }
            OFFSETS => self.begun(world, node, body),
            COMMIT => self.has_committed(world, body, (node, asked)),
            LATE => self.is_too_late(world, body),
            _ => return self.has_fetched(world, body),
        }
        false
    }

    /// It was answered as one of the group, and told its share or not.
    fn was_served(
        &self,
        world: &mut World,
        (node, asked): (NodeNumber, Option<Bearing>),
        told: Told,
    ) {
        let is_current = world.checkers.coordinates(node, told != Told::Beat);
        if !is_current && told != Told::Committed {
            return;
        }
        let has_share = told == Told::Share;
        let (Some(instance), Some(asked)) = (self.instance, asked) else { return };
        world.checkers.served((self.group, instance, &self.name), &asked, has_share);
    }

    fn joined(&mut self, world: &mut World, node: NodeNumber, body: &[u8]) {
        let response: JoinGroupResponse<'_> = frame::decode(body).expect("an answer");
        if response.error == ErrorCode::MEMBER_ID_REQUIRED {
            response.member_id.clone_into(&mut self.name);
            return;
        }
        if !response.error.is_ok() {
            return self.stumble(world, node, response.error);
        }
        if self.instance.is_none() {
            g4::has_a_name(&mut world.checkers.verdict, self.id, &self.name);
        }
        response.member_id.clone_into(&mut self.name);
        self.generation = response.generation_id;
        self.stage = Stage::Syncing;
        self.assignments.clear();
        if response.leader != response.member_id {
            return;
        }
        let lanes: Vec<Lane> = TOPICS
            .iter()
            .enumerate()
            .flat_map(|(place, (_, count))| (0..*count).map(move |one| (place as u8, one)))
            .collect();
        let count = response.members.len();
        for (place, member) in response.members.iter().enumerate() {
            let own = lanes.iter().skip(place).step_by(count);
            let partitions = own.map(|lane| TopicPartition {
                topic: TOPICS[lane.0 as usize].0,
                partitions: vec![Partition(lane.1)],
            });
            let assignment = ConsumerProtocolAssignment {
                assigned_partitions: partitions.collect(),
                user_data: None,
            };
            self.assignments.push((member.member_id.to_owned(), assignment.encode(0)));
        }
    }

    fn synced(&mut self, world: &mut World, body: &[u8], asked: (NodeNumber, Option<Bearing>)) {
        let response: SyncGroupResponse<'_> = frame::decode(body).expect("an answer");
        if !response.error.is_ok() {
            return self.stumble(world, asked.0, response.error);
        }
        self.was_served(world, asked, Told::Share);
        let assignment = ConsumerProtocolAssignment::decode(response.assignment);
        let assignment = assignment.expect("as the leader wrote it");
        self.positions.clear();
        for given in assignment.assigned_partitions {
            let place = TOPICS.iter().position(|(name, _)| *name == given.topic);
            for partition in given.partitions {
                let lane = (place.expect("one of ours") as u8, partition.0);
                let (group, generation) = (self.group, self.generation);
                // One that comes back under its name has what it had.
                let owner = if self.instance.is_some() { u32::MAX } else { self.id };
                world.checkers.assigned(group, generation, lane, owner);
                self.positions.insert(lane, 0);
            }
        }
        let (id, generation, node) = (self.id, self.generation, self.coordinator);
        let lanes: Vec<Lane> = self.positions.keys().copied().collect();
        world.trace.note(|| {
            let of = GROUPS[usize::from(self.group)];
            format!("member {id} of {of} is given {lanes:?} in generation {generation} by {node:?}")
        });
        self.stage = Stage::Beginning;
        if self.positions.is_empty() {
            self.stage = Stage::Reading;
        }
    }

    fn begun(&mut self, world: &mut World, node: NodeNumber, body: &[u8]) {
        let Some(least) = self.least.take().filter(|_| self.stage == Stage::Beginning) else {
            return;
        };
        let response: OffsetFetchResponse<'_> = frame::decode(body).expect("an answer");
        let found = &response.groups[0];
        if !found.error.is_ok() {
            return self.stumble(world, node, found.error);
        }
        let failed = found.partitions.iter().find(|one| !one.error.is_ok());
        if let Some(failed) = failed {
            return self.stumble(world, node, failed.error);
        }
        for ((lane, least), one) in least.into_iter().zip(&found.partitions) {
            world.checkers.fetched_offset(lane, least, one.offset.0);
            self.positions.insert(lane, one.offset.0.max(0));
        }
        self.stage = Stage::Reading;
    }

    fn has_committed(
        &mut self,
        world: &mut World,
        body: &[u8],
        asked: (NodeNumber, Option<Bearing>),
    ) {
        let response: OffsetCommitResponse = frame::decode(body).expect("an answer");
        let committing = std::mem::take(&mut self.committing);
        let mut failed = None;
        for ((lane, offset, newest), error) in committing.into_iter().zip(response.partitions) {
            if error.is_ok() {
                let (group, generation) = (self.group, self.generation);
                world.checkers.committed_offset(group, (generation, newest), lane, offset);
            } else {
                failed = Some(error);
            }
        }
        match failed {
            Some(error) => self.stumble(world, asked.0, error),
            None => self.was_served(world, asked, Told::Committed),
        }
    }

    /// The coordinator has told it of a later generation: nothing of an earlier one may be granted.
    fn is_too_late(&mut self, world: &mut World, body: &[u8]) {
        let response: OffsetCommitResponse = frame::decode(body).expect("an answer");
        let committing = std::mem::take(&mut self.committing_late);
        for ((lane, offset), error) in committing.into_iter().zip(response.partitions) {
            g2::is_refused(&mut world.checkers.verdict, (lane, offset), self.generation, error);
        }
    }

    fn has_fetched(&mut self, world: &mut World, body: &[u8]) -> bool {
        let (response, mut raw): (FetchResponse, _) = frame::take(body).expect("an answer");
        let Fetching { lane, offset, is_rotten } = self.fetching.take().expect("it was asked for");
        let rest = world.plan.pace_us;
        self.fetch_at = world.us + 5000 + world.random.below(rest * 2);
        self.wake(world, self.fetch_at);
        let error = response.partitions[0].error;
        if !error.is_ok() {
            world.checkers.hold(error != ErrorCode::OFFSET_OUT_OF_RANGE, "G6", || {
                "what a group has committed is out of range".into()
            });
            return true;
        }
        // The lane may be another's by now.
        if self.positions.get(&lane) != Some(&offset) {
            return false;
        }
        while let Ok((batch, rest)) = Batch::split_first(raw) {
            if !batch.crc_is_valid() {
                world.checkers.hold(is_rotten || world.is_rotten(lane), "S4", || {
                    format!("a member gets a bad batch of {lane:?}")
                });
                break;
            }
            self.positions.insert(lane, batch.header().next_offset().0);
            raw = rest;
        }
        false
    }
}
