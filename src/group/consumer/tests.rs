//! Random members that keep to the protocol, random failures and power cuts; whatever happens,
//!
//! - no partition is held by two members that live, as they themselves see it;
//! - a coordinator that replays the log has what the one before had;
//! - once it is quiet, every partition is held by somebody, and all are in the group's epoch.

#[path = "classic_tests.rs"]
mod classic_tests;

use std::collections::BTreeMap;

use crate::group::tests::group_rig::Rig;
use crate::group::{Coordinator, GroupRules};
use crate::ids::{Partition, TopicPartition};
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::wire::list_groups::GroupState;
use crate::wire::{ApiKey, ErrorCode, frame};

use self::classic_tests::ClassicClient;
use super::partitions::PartitionSet;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 5;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }
}

/// A client as it sees itself.
#[derive(Clone, Debug, Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    epoch: i32,
    /// What it reads from, and may commit.
    owned: PartitionSet,
    /// What it was told to have, if it has not done so yet.
    assigned: Option<PartitionSet>,
    /// The partitions it has last told the coordinator of; `None` to tell everything.
    told: Option<PartitionSet>,
    topics: Vec<&'static str>,
    expression: Option<&'static str>,
    waiting: Option<u64>,
    /// It died; the coordinator does not know.
    is_dead: bool,
}

struct World {
    rig: Rig,
    random: Random,
    clients: Vec<Client>,
    classics: Vec<ClassicClient>,
    counts: BTreeMap<&'static str, i32>,
    nonce: usize,
    heard: usize,
    heard_classics: usize,
}

impl World {
    fn new(seed: u64, client_count: usize, classic_count: usize) -> World {
        let mut rig = Rig::new(GroupRules::default());
        let mut counts = BTreeMap::new();
        for (place, name) in TOPICS.into_iter().enumerate() {
            counts.insert(name, place as i32 + 2);
            rig.set_topic(name, place as i32 + 2);
        }
        let instance = |number: usize| (number % 2 == 0).then(|| format!("i{number}"));
        let clients = (0..client_count)
            .map(|number| Client { instance_id: instance(number), ..<_>::default() });
        let clients = clients.collect();
        let classics = vec![ClassicClient::default(); classic_count];
        World {
            rig,
            random: Random(seed),
            clients,
            classics,
            counts,
            nonce: 0,
            heard: 0,
            heard_classics: 0,
        }
    }

    fn step(&mut self) {
        let client = self.random.next(self.clients.len());
        if self.random.next(self.clients.len() + self.classics.len()) < self.classics.len() {
            self.step_classic();
        }
        match self.random.next(100) {
            0..=64 => self.beat(client),
            65..=74 => self.obey(client),
            75..=79 => self.rig.pass(self.random.next(3_000) as u64),
            80 => self.rig.pass(50_000),
            81..=83 => drop(self.rig.run("hold")),
            84..=89 => drop(self.rig.run("release")),
            90 => drop(self.rig.run("fail 56")),
            91 => self.power_cut(),
            92..=93 => (0..self.clients.len()).for_each(|place| {
                // Where there are classic members, all leave: the group is theirs.
                if place == client || !self.classics.is_empty() {
                    self.leave(place);
                }
            }),
            94 => self.die(client),
            95..=96 => self.subscribe(client),
            97 => self.grow(),
            _ => self.rig.pass(5_000),
        }
        self.hear();
        self.hear_classics();
        self.expire();
        self.expire_classics();
        self.check();
    }

    fn step_classic(&mut self) {
        let place = self.random.next(self.classics.len());
        match self.random.next(40) {
            0 => self.leave_classic(place),
            _ => self.act(place),
        }
    }

    fn subscribe(&mut self, place: usize) {
        let (names, expression) = match self.random.next(5) {
            0 => (vec!["a"], None),
            1 => (vec!["a", "b"], None),
            2 => (vec![], Some("[bc]")),
            _ => (TOPICS.to_vec(), None),
        };
        let client = &mut self.clients[place];
        client.topics = names;
        client.expression = expression;
        client.told = None;
    }

    fn grow(&mut self) {
        let name = TOPICS[self.random.next(TOPICS.len())];
        let count = self.counts.get_mut(name).expect("it is one of them");
        *count += 1;
        self.rig.set_topic(name, *count);
    }

    /// A heartbeat, which joins if it must.
    fn beat(&mut self, place: usize) {
        if self.clients[place].waiting.is_some() {
            return;
        }
        if self.clients[place].member_id.is_empty() {
            self.nonce += 1;
            self.clients[place].member_id = format!("m{place}-{}", self.nonce);
            self.subscribe(place);
        }
        let client = self.clients[place].clone();
        let is_whole = client.told.is_none();
        let has_news = client.told.as_ref() != Some(&client.owned);
        let owned = (is_whole || has_news).then(|| client.owned.told());
        self.clients[place].is_dead = false;
        self.clients[place].told = Some(client.owned.clone());
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g",
            member_id: &client.member_id,
            member_epoch: client.epoch,
            instance_id: client.instance_id.as_deref(),
            rack_id: None,
            rebalance_timeout_ms: if is_whole { 20_000 } else { -1 },
            subscribed_topics: is_whole.then_some(client.topics.clone()),
            subscribed_regex: is_whole.then_some(client.expression.unwrap_or("")),
            server_assignor: None,
            owned,
        };
        self.send(place, &request);
    }

    fn send(&mut self, place: usize, request: &ConsumerGroupHeartbeatRequest<'_>) {
        let name = format!("beat {}", request.member_id);
        let token = self.rig.send(&name, ApiKey::ConsumerGroupHeartbeat, request);
        self.clients[place].waiting = Some(token);
    }

    /// The answers that have come.
    fn hear(&mut self) {
        let answers: Vec<(u64, Vec<u8>)> = self.rig.answers[self.heard..].to_vec();
        self.heard = self.rig.answers.len();
        for (token, body) in answers {
            let mut clients = self.clients.iter_mut();
            let Some(client) = clients.find(|client| client.waiting == Some(token)) else {
                continue;
            };
            client.waiting = None;
            let answer: ConsumerGroupHeartbeatResponse<'_> =
                frame::decode(&body).expect("a heartbeat's answer");
            match answer.error {
                ErrorCode::NONE if answer.member_epoch < 0 => {}
                ErrorCode::NONE => {
                    client.epoch = answer.member_epoch;
                    if let Some(assignment) = &answer.assignment {
                        let assigned = PartitionSet::of_told(assignment);
                        // It stops reading at once, and says so when it has finished.
                        client.assigned = Some(assigned);
                    }
                }
                ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => {
                    client.forget();
                }
                ErrorCode::GROUP_ID_NOT_FOUND => client.forget(),
                // It is not known what came of it.
                _ => client.told = None,
            }
        }
    }

    /// A client does what it was told: gives up, then takes. Not while a heartbeat is under way or
    /// its answer is lost: that may have told of something else, and the coordinator believes (as
    /// Kafka's does) that what a heartbeat does not name is not held.
    fn obey(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if client.waiting.is_some() || client.told.is_none() {
            return;
        }
        if let Some(assigned) = client.assigned.take() {
            client.owned = assigned;
        }
    }

    fn leave(&mut self, place: usize) {
        let client = self.clients[place].clone();
        if client.waiting.is_some() || client.epoch <= 0 {
            return;
        }
        let is_for_a_while = client.instance_id.is_some() && self.random.next(2) == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g",
            member_id: &client.member_id,
            member_epoch: if is_for_a_while { -2 } else { -1 },
            instance_id: client.instance_id.as_deref(),
            rack_id: None,
            rebalance_timeout_ms: -1,
            subscribed_topics: None,
            subscribed_regex: None,
            server_assignor: None,
            owned: None,
        };
        // It holds nothing from here on, whatever the answer.
        self.clients[place].forget();
        self.rig.send("beat gone", ApiKey::ConsumerGroupHeartbeat, &request);
    }

    /// A process ends without a word.
    fn die(&mut self, place: usize) {
        self.clients[place].forget();
    }

    /// Members that were silent for a session know themselves that they are out.
    fn expire(&mut self) {
        let known = self.rig.coordinator.groups.get("g").and_then(|group| group.consumer());
        for client in &mut self.clients {
            let is_known =
                known.is_some_and(|group| group.members.contains_key(&*client.member_id));
            if !is_known && client.waiting.is_none() && 0 < client.epoch {
                client.forget();
            }
        }
    }

    /// What is not durable is gone.
    fn power_cut(&mut self) {
        same(&self.rig.replayed(), &self.rig.coordinator);
        self.rig.restart();
        for client in &mut self.clients {
            if client.waiting.take().is_some() {
                client.told = None;
            }
        }
        self.cut_classics();
    }

    /// No partition is held twice, and what is replayed is what there was.
    fn check(&self) {
        self.rig.coordinator.invariants();
        let mut held = BTreeMap::<TopicPartition, usize>::new();
        let owned = self.clients.iter().map(|client| &client.owned);
        let owned = owned.chain(self.classics.iter().map(|client| &client.owned));
        for (place, owned) in owned.enumerate() {
            for topic_partition in owned.iter() {
                let other = held.insert(topic_partition, place);
                assert_eq!(other, None, "{topic_partition} is held twice");
            }
        }
    }

    /// Everybody goes on until there is nothing to do.
    fn settle(&mut self) {
        self.rig.run("release");
        self.hear();
        self.hear_classics();
        same(&self.rig.replayed(), &self.rig.coordinator);
        // A failure may still be due, and puts off the end of sessions once.
        self.rig.pass(120_000);
        for client in &mut self.clients {
            client.waiting = None;
            client.told = None;
        }
        self.expire();
        self.cut_classics();
        self.expire_classics();
        for _ in 0..12 {
            for place in 0..self.classics.len() {
                for _ in 0..4 {
                    self.act(place);
                    self.check();
                }
            }
            for place in 0..self.clients.len() {
                self.beat(place);
                self.hear();
                self.obey(place);
                self.check();
            }
            self.rig.pass(1_000);
        }
        let group = self.rig.coordinator.groups["g"].consumer().expect("it has members");
        assert_eq!(group.state(), GroupState::Stable);
        let classics = self.classics.iter().flat_map(|it| it.owned.iter());
        let held = self.clients.iter().flat_map(|it| it.owned.iter()).chain(classics);
        let held: PartitionSet = held.collect();
        let read = |name: &str| {
            !self.classics.is_empty()
                || self.clients.iter().any(|client| {
                    client.topics.contains(&name) || (client.expression.is_some() && name != "a")
                })
        };
        let count: i32 = TOPICS.iter().filter(|it| read(it)).map(|name| self.counts[name]).sum();
        assert_eq!(held.len(), count as usize, "every partition that is read has an owner");
    }
}

impl Client {
    /// It is no member any more, and holds nothing.
    fn forget(&mut self) {
        *self = Client { instance_id: self.instance_id.clone(), ..<_>::default() };
    }
}

/// What is durable is the same.
fn same(one: &Coordinator, other: &Coordinator) {
    let durable = |coordinator: &Coordinator| {
        let group = coordinator.groups.get("g").and_then(|group| group.consumer());
        group.map(|group| {
            (
                (group.epoch, group.metadata_hash, group.target_epoch, group.cost),
                group.members.clone(),
                group.static_members.clone(),
                group.targets.clone(),
                group.resolved.clone(),
                group.held.clone(),
            )
        })
    };
    assert_eq!(durable(one), durable(other));
}

#[test]
fn no_partition_has_two_owners_whatever_happens() {
    for seed in 1..=30 {
        let mut world = World::new(seed, CLIENTS, 0);
        for _ in 0..300 {
            world.step();
        }
        world.settle();
    }
}

#[test]
fn partitions_of_a_request_are_a_set() {
    let partitions = vec![Partition(1), Partition(0), Partition(1)];
    let topic_id = <_>::default();
    let told = [TopicPartitions { topic_id, partitions }];
    assert_eq!(PartitionSet::of_told(&told).len(), 2);
}
