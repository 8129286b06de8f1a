//! Three replicas of one partition, a controller that is only a struct, a network that breaks and
//! nodes that lose power; after every event it is looked whether what must hold does.
//!
//! The controller is what semantics.md 2.10 to 2.12 say of it, for one partition: it versions its
//! state, checks `AlterPartition`, fences who is silent and elects from the ISR. Connections keep
//! their order and lose everything when they break.

macro_rules! hold {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(Violation(format!($($words)*)));
        }
    };
}

#[path = "replica_checks.rs"]
mod checks;
#[path = "replica_weather.rs"]
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use odradek::ids::{LeaderEpoch, NodeId, Offset};
use odradek::replica::{BrokerState, Input, LeaderAndIsr, Output, Replica, ReplicaConfig, Role};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::ErrorCode;
use odradek::wire::replica::alter_partition::AlterReplicas;

use super::partition::{Fate, Random, WALL, name, topic_partition};
use super::replica_node::{Node, Sent, Setup, bytes_of};
use super::sim_disk::SimDisk;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const SESSION_MS: u64 = 900;

/// When a leader hears that nobody knows what became of its proposal.
const ALTER_TIMEOUT_US: u64 = 150_000;

/// What comes true at some time.
enum Event {
    Deliver { to: NodeId, connection: u64, input: Input },
    Broken { to: NodeId, incarnation: i64, peer: NodeId },
    Told { to: NodeId, incarnation: i64, input: Input },
    Alter { from: NodeId, incarnation: i64, proposal: AlterReplicas },
    Flushed { node: NodeId, incarnation: i64 },
    Cut { node: NodeId, incarnation: i64 },
    Tick { node: NodeId, incarnation: i64 },
    Chance,
}

/// Counts for the line that a run ends with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub acked: u64,
    pub elections: u64,
    pub truncations: u64,
    pub power_cuts: u64,
    pub cuts_of_all: u64,
    pub partitions: u64,
    pub isr_changes: u64,
    pub healed: u64,
}

/// See the module.
pub struct Site {
    random: Random,
    us: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    nodes: BTreeMap<NodeId, Node>,
    disks: BTreeMap<NodeId, SimDisk>,
    setup: Setup,
    /// Pairs that do not hear each other; 0 is the controller.
    cut_links: BTreeSet<(NodeId, NodeId)>,
    connections: BTreeMap<(NodeId, NodeId), u64>,
    /// When the last frame of a connection arrives.
    arrivals: BTreeMap<(NodeId, NodeId), u64>,
    state: LeaderAndIsr,
    brokers: BTreeMap<NodeId, BrokerState>,
    silent_since: BTreeMap<NodeId, u64>,
    next_epoch: i64,
    next_value: u64,
    asked: BTreeMap<u64, u64>,
    /// What clients were told is safe: value by base offset.
    acked: BTreeMap<i64, u64>,
    /// What some leader said is committed, batch by batch.
    committed: BTreeMap<i64, (LeaderEpoch, Bytes)>,
    committed_end: Offset,
    marks: BTreeMap<NodeId, (LeaderEpoch, Offset)>,
    /// From here on nothing fails any more.
    calm_since: u64,
    deleted_to: Offset,
    /// Followers that were told that their log is damaged.
    damaged: BTreeSet<NodeId>,
    pub counts: Counts,
    pub trace: Vec<String>,
}

const CONTROLLER: NodeId = NodeId(0);

/// A rule that was broken.
#[derive(Debug)]
pub struct Violation(pub String);

impl Site {
    pub fn new(seed: u64, tune: impl Fn(&mut ReplicaConfig)) -> Site {
        let mut random = Random::new(seed);
        let mut config = ReplicaConfig {
            lag_time_max_ms: 600,
            fetch_wait_max_ms: 40,
            fetch_timeout_ms: 700,
            fetch_backoff_ms: 20,
            alter_timeout_ms: 150,
            ..ReplicaConfig::new(NODES[0], 0)
        };
        tune(&mut config);
        let topic = TopicConfig {
            segment_bytes: 5000,
            index_interval_bytes: 500,
            retention_bytes: -1,
            min_insync_replicas: 1 + random.below(2) as i32,
            ..TopicConfig::default()
        };
        let setup = Setup { config, topic, name: name(), topic_partition: topic_partition() };
        let mut site = Site {
            random,
            us: 1_000_000,
            events: BTreeMap::new(),
            next_event: 0,
            nodes: BTreeMap::new(),
            disks: NODES.iter().map(|node| (*node, SimDisk::new())).collect(),
            setup,
            cut_links: BTreeSet::new(),
            connections: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            state: LeaderAndIsr {
                leader: None,
                leader_epoch: LeaderEpoch(0),
                replicas: NODES.to_vec(),
                isr: NODES.to_vec(),
                partition_epoch: 0,
            },
            brokers: BTreeMap::new(),
            silent_since: BTreeMap::new(),
            next_epoch: 1,
            next_value: 1,
            asked: BTreeMap::new(),
            acked: BTreeMap::new(),
            committed: BTreeMap::new(),
            committed_end: Offset::ZERO,
            marks: BTreeMap::new(),
            calm_since: u64::MAX,
            deleted_to: Offset::ZERO,
            damaged: BTreeSet::new(),
            counts: Counts::default(),
            trace: Vec::new(),
        };
        for node in NODES {
            site.boot(node);
        }
        site.at(1000, Event::Chance);
        site
    }

    fn now(&self) -> Now {
        let wall = Timestamp(WALL + (self.us / 1000) as i64);
        Now { boot: Boot(self.us), wall, wall_trusted: true }
    }

    fn at(&mut self, after_us: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((self.us + after_us, self.next_event), event);
    }

    fn note(&mut self, words: &str) {
        if 4000 <= self.trace.len() {
            self.trace.drain(..2000);
        }
        self.trace.push(format!("{:>9} {words}", self.us));
    }

    /// Runs for a while, then heals everything, and looks whether all is there.
    pub fn run(&mut self, ms: u64) -> Result<(), Violation> {
        let end = self.us + ms * 1000;
        self.run_until(end)?;
        self.calm_since = self.us;
        while let Some(link) = self.cut_links.pop_first() {
            self.heal(link);
        }
        if self.random.is_one_in(2) {
            self.cut_power_of_all();
        }
        for node in NODES {
            if !self.nodes.contains_key(&node) {
                self.boot(node);
            }
        }
        self.tell_all();
        let before = self.counts.acked;
        let (deadline, mut quiet_since) = (self.us + 30_000_000, None);
        while self.us < deadline {
            self.run_until(self.us + 100_000)?;
            let is_level = self.is_level();
            let since = *quiet_since.get_or_insert(self.us);
            if !is_level {
                quiet_since = None;
            } else if since + 300_000 < self.us && before < self.counts.acked {
                return self.check_the_end();
            }
        }
        Err(Violation(format!("it does not come to rest: {}", self.describe())))
    }

    fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some((&(at, number), _)) = self.events.first_key_value() {
            if end < at {
                break;
            }
            let event = self.events.remove(&(at, number)).expect("the first one");
            self.us = at;
            self.counts.events += 1;
            self.handle(event)?;
            self.check()?;
        }
        self.us = self.us.max(end);
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Deliver { to, connection, input } => {
                let is_open = self.connections.values().any(|open| *open == connection);
                if is_open {
                    self.give(to, input)?;
                }
            }
            Event::Broken { to, incarnation, peer } if self.is_up(to, incarnation) => {
                self.give(to, Input::Disconnected(peer))?;
            }
            Event::Told { to, incarnation, input } if self.is_up(to, incarnation) => {
                self.give(to, input)?;
            }
            Event::Alter { from, incarnation, proposal } => {
                self.alter(from, incarnation, &proposal)?;
            }
            Event::Flushed { node, incarnation } if self.is_up(node, incarnation) => {
                let told = self.nodes.get_mut(&node).expect("it is up").end_flush();
                for input in told {
                    self.give(node, input)?;
                }
                self.flush(node);
            }
            Event::Cut { node, incarnation } if self.is_up(node, incarnation) => {
                if let Some(done) = self.nodes.get_mut(&node).expect("it is up").run_cut() {
                    self.counts.truncations += 1;
                    self.give(node, done)?;
                }
            }
            Event::Tick { node, incarnation } if self.is_up(node, incarnation) => {
                if self.nodes[&node].replica.next_deadline() <= Boot(self.us) {
                    self.give(node, Input::Tick)?;
                }
                self.at(3000, Event::Tick { node, incarnation });
            }
            Event::Chance => self.chance()?,
            _ => {}
        }
        Ok(())
    }

    fn is_up(&self, node: NodeId, incarnation: i64) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.broker_epoch == incarnation)
    }

    /// Gives a node an input and sends what it says.
    fn give(&mut self, to: NodeId, input: Input) -> Result<(), Violation> {
        let now = self.now();
        let Some(node) = self.nodes.get_mut(&to) else { return Ok(()) };
        let broker_epoch = node.broker_epoch;
        let sent = node.step(now, input);
        if node.cut.is_some() {
            let after = 100 + self.random.below(5000);
            self.at(after, Event::Cut { node: to, incarnation: broker_epoch });
        }
        for output in sent {
            self.take(to, broker_epoch, output)?;
        }
        self.flush(to);
        Ok(())
    }

    fn flush(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.flushing.is_empty() || !node.begin_flush() {
            return;
        }
        let incarnation = node.broker_epoch;
        // A card that thinks now and then.
        let slow = self.random.is_one_in(60) && self.us < self.calm_since;
        let us = if slow { 400_000 } else { 300 + self.random.below(9000) };
        self.at(us, Event::Flushed { node: id, incarnation });
    }

    fn take(&mut self, from: NodeId, broker_epoch: i64, output: Sent) -> Result<(), Violation> {
        match output {
            Output::Fetch { leader, fetch } => {
                self.send(from, leader, Input::Fetch { follower: from, broker_epoch, fetch });
            }
            Output::Progress { leader, progress } => {
                let input = Input::Progress { follower: from, broker_epoch, progress };
                self.send(from, leader, input);
            }
            Output::Fetched { follower, answer, slice } => {
                let records = bytes_of(slice);
                self.send(from, follower, Input::Fetched { answer, records });
            }
            Output::Alter(proposal) => {
                let incarnation = broker_epoch;
                if self.is_cut(from, CONTROLLER) {
                    let outcome = Err(ErrorCode::REQUEST_TIMED_OUT);
                    let input =
                        Input::Altered { partition_epoch: proposal.partition_epoch, outcome };
                    self.at(ALTER_TIMEOUT_US, Event::Told { to: from, incarnation, input });
                } else {
                    let after = 500 + self.random.below(20_000);
                    self.at(after, Event::Alter { from, incarnation, proposal });
                }
            }
            Output::Produced { token, outcome } => {
                let value = self.asked.remove(&token).expect("each is answered once");
                if let Ok(produced) = outcome {
                    self.counts.acked += 1;
                    self.acked.insert(produced.base_offset.0, value);
                    hold!(
                        produced.end_offset <= self.nodes[&from].replica.high_watermark(),
                        "acknowledged above the high watermark at {}",
                        produced.base_offset
                    );
                }
            }
            Output::Load { token, .. } => {
                let input = Input::Loaded { token, is_lost: false };
                self.at(200, Event::Told { to: from, incarnation: broker_epoch, input });
            }
            Output::Lost { from: lost, to, .. } => {
                let is_healing = self.damaged.contains(&from);
                hold!(is_healing, "R6: node {from} cut {lost}..{to} off");
                hold!(!self.state.isr.contains(&from), "{from} heals itself within the ISR");
                self.counts.healed += 1;
            }
            Output::Failed => return Err(Violation(format!("node {from} failed"))),
            Output::HighWatermark(_) | Output::Deleted { .. } | Output::Damaged { .. } => {}
            Output::Persist(_) | Output::Cut(_) | Output::Note(_) => unreachable!("kept there"),
        }
        Ok(())
    }

    fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.cut_links.contains(&(a.min(b), a.max(b)))
    }

    fn send(&mut self, from: NodeId, to: NodeId, input: Input) {
        let pair = (from.min(to), from.max(to));
        let is_there = self.nodes.contains_key(&to) && !self.is_cut(from, to);
        if !is_there {
            let incarnation = self.nodes[&from].broker_epoch;
            return self.at(2000, Event::Broken { to: from, incarnation, peer: to });
        }
        self.next_event += 1;
        let connection = *self.connections.entry(pair).or_insert(self.next_event);
        let arrival = self.arrivals.get(&(from, to)).copied().unwrap_or(0);
        let slow = if self.random.is_one_in(30) { 40_000 } else { 2500 };
        let arrival = arrival.max(self.us + 50 + self.random.below(slow)) + 1;
        self.arrivals.insert((from, to), arrival);
        self.at(arrival - self.us, Event::Deliver { to, connection, input });
    }

    /// Breaks the connection of two nodes, if there is one.
    fn disconnect(&mut self, a: NodeId, b: NodeId) {
        if self.connections.remove(&(a.min(b), a.max(b))).is_none() {
            return;
        }
        self.arrivals.remove(&(a, b));
        self.arrivals.remove(&(b, a));
        for (to, peer) in [(a, b), (b, a)] {
            if let Some(node) = self.nodes.get(&to) {
                let incarnation = node.broker_epoch;
                let after = self.random.below(30_000);
                self.at(after, Event::Broken { to, incarnation, peer });
            }
        }
    }

    fn boot(&mut self, id: NodeId) {
        let broker_epoch = self.next_epoch;
        self.next_epoch += 1;
        let mut setup = self.setup.clone();
        setup.config.node_id = id;
        setup.config.broker_epoch = broker_epoch;
        let disk = self.disks[&id].clone();
        let (node, report) = Node::open(self.now(), &disk, &setup);
        let is_sound = report.partitions.iter().all(odradek::log::LogReport::is_sound);
        assert!(is_sound, "a power cut does no damage: {report:?}");
        self.nodes.insert(id, node);
        self.note(&format!("boot {id} as {broker_epoch}"));
        self.marks.remove(&id);
        self.damaged.remove(&id);
        let broker = BrokerState { node_id: id, broker_epoch, is_active: true };
        self.brokers.insert(id, broker);
        self.silent_since.remove(&id);
        // A new incarnation has dropped its leadership, and stays in the ISR: it was sound.
        if self.state.leader == Some(id) || self.state.leader.is_none() {
            self.elect();
        }
        self.at(7000, Event::Tick { node: id, incarnation: broker_epoch });
        self.tell_all();
        self.flush(id);
    }

    /// The disk after a power cut, or a kill of the process.
    fn stop(&mut self, id: NodeId, is_power_cut: bool) {
        let Some(node) = self.nodes.remove(&id) else { return };
        let disk = match is_power_cut {
            true => node.disk.after_power_cut(&mut self.random),
            false => node.disk.after_kill(),
        };
        self.disks.insert(id, disk);
        self.silent_since.insert(id, self.us);
        for other in NODES {
            self.disconnect(id, other);
        }
        self.note(&format!("stop {id}, power cut: {is_power_cut}"));
    }

    fn cut_power_of_all(&mut self) {
        self.counts.cuts_of_all += 1;
        for node in NODES {
            self.stop(node, true);
        }
    }

    /// The first replica in the ISR that lives, in a new epoch.
    fn elect(&mut self) {
        let is_alive = |node: &&NodeId| {
            self.state.isr.contains(node)
                && self.brokers.get(node).is_some_and(|broker| broker.is_active)
                && self.nodes.contains_key(node)
        };
        let leader = self.state.replicas.iter().find(is_alive).copied();
        if leader.is_none() && self.state.leader.is_none() {
            return;
        }
        self.state.leader = leader;
        self.state.leader_epoch = LeaderEpoch(self.state.leader_epoch.0 + 1);
        self.state.partition_epoch += 1;
        self.counts.elections += 1;
        self.note(&format!("elect {:?} in epoch {}", leader, self.state.leader_epoch));
    }

    /// Fences who was silent for too long.
    fn fence(&mut self) {
        let silent: Vec<NodeId> = self
            .silent_since
            .iter()
            .filter(|(_, since)| **since + SESSION_MS * 1000 < self.us)
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            let broker = self.brokers.get_mut(&node).expect("it was registered");
            if !broker.is_active {
                continue;
            }
            broker.is_active = false;
            // The last one stays.
            if self.state.isr.contains(&node) && 1 < self.state.isr.len() {
                self.state.isr.retain(|member| *member != node);
                self.state.partition_epoch += 1;
            }
            self.note(&format!("fence {node}, isr {:?}", self.state.isr));
            if self.state.leader == Some(node) {
                self.elect();
            }
            self.tell_all();
        }
    }

    fn tell_all(&mut self) {
        for node in NODES {
            self.tell(node);
        }
    }

    /// Metadata reaches a node some time later, the newest there is then.
    fn tell(&mut self, to: NodeId) {
        let Some(node) = self.nodes.get(&to) else { return };
        if self.is_cut(CONTROLLER, to) {
            return;
        }
        let incarnation = node.broker_epoch;
        // It is a log: what comes later is newer.
        let arrival = self.arrivals.get(&(CONTROLLER, to)).copied().unwrap_or(0);
        let arrival = arrival.max(self.us + 200 + self.random.below(25_000)) + 1;
        self.arrivals.insert((CONTROLLER, to), arrival);
        let after = arrival - self.us;
        let brokers = Input::Brokers(self.brokers.values().copied().collect());
        self.at(after, Event::Told { to, incarnation, input: brokers });
        let state = Input::Metadata(self.state.clone());
        self.at(after, Event::Told { to, incarnation, input: state });
    }

    fn alter(
        &mut self,
        from: NodeId,
        incarnation: i64,
        proposal: &AlterReplicas,
    ) -> Result<(), Violation> {
        let outcome = self.judge(from, incarnation, proposal);
        if let Ok(isr) = &outcome {
            self.check_joining(isr)?;
            self.state.isr.clone_from(isr);
            self.state.partition_epoch += 1;
            self.counts.isr_changes += 1;
            self.note(&format!("isr {isr:?} version {}", self.state.partition_epoch));
            // A leader that is damaged has named itself.
            if !isr.contains(&from) {
                self.elect();
            }
            self.tell_all();
        }
        let outcome = outcome.and_then(|isr| match isr.contains(&from) {
            true => Ok(self.state.clone()),
            false => Err(ErrorCode::NEW_LEADER_ELECTED),
        });
        let is_lost = self.random.is_one_in(8) || self.is_cut(CONTROLLER, from);
        let outcome = if is_lost { Err(ErrorCode::REQUEST_TIMED_OUT) } else { outcome };
        let after = if is_lost { ALTER_TIMEOUT_US } else { 300 + self.random.below(10_000) };
        let input = Input::Altered { partition_epoch: proposal.partition_epoch, outcome };
        self.at(after, Event::Told { to: from, incarnation, input });
        Ok(())
    }

    /// semantics.md 2.10, in its order.
    fn judge(
        &mut self,
        from: NodeId,
        incarnation: i64,
        proposal: &AlterReplicas,
    ) -> Result<Vec<NodeId>, ErrorCode> {
        if self.brokers[&from].broker_epoch != incarnation {
            return Err(ErrorCode::STALE_BROKER_EPOCH);
        }
        if self.random.is_one_in(20) {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if proposal.leader_epoch < self.state.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if self.state.leader != Some(from) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if proposal.partition_epoch < self.state.partition_epoch {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        for member in &proposal.isr {
            let broker = self.brokers.get(&member.node_id).ok_or(ErrorCode::INELIGIBLE_REPLICA)?;
            let is_same = member.broker_epoch == -1 || member.broker_epoch == broker.broker_epoch;
            if !broker.is_active || !is_same {
                return Err(ErrorCode::INELIGIBLE_REPLICA);
            }
        }
        Ok(proposal.isr.iter().map(|member| member.node_id).collect())
    }

    /// R5: who joins the ISR has all that is committed, on stable storage.
    fn check_joining(&self, isr: &[NodeId]) -> Result<(), Violation> {
        for node in isr.iter().filter(|node| !self.state.isr.contains(node)) {
            let Some(node) = self.nodes.get(node) else { continue };
            let durable = node.log().durable_offset();
            hold!(self.committed_end <= durable, "R5: {} joins with {durable}", node.id);
        }
        Ok(())
    }

    pub fn describe(&self) -> String {
        let mut words = format!("{:?}\n", self.state);
        for (id, node) in &self.nodes {
            let _ = writeln!(words, "{id}: {}", shown(&node.replica));
        }
        words
    }
}

fn shown(replica: &Replica<SimDisk>) -> String {
    let log = replica.log();
    let role = match replica.role() {
        Role::Leader(leader) => {
            format!("leads, isr {:?}, maximal {:?}", leader.isr(), leader.maximal_isr())
        }
        Role::Follower(follower) => format!("follows, fetching {}", follower.is_fetching()),
    };
    format!(
        "{role}, epoch {}, end {}, durable {}, high watermark {}",
        replica.state().leader_epoch,
        log.end_offset(),
        log.durable_offset(),
        replica.high_watermark()
    )
}

fn value_of(batch: &[u8]) -> u64 {
    let (batch, _) = odradek::record::Batch::split_first(batch).expect("a whole batch");
    let section = odradek::record::decompress(&batch, 1 << 20).expect("uncompressed");
    let mut records = odradek::record::Records::new(batch.header(), &section);
    let record = records.next().expect("one at least").expect("it was written whole");
    u64::from_be_bytes(record.value.expect("a value")[..8].try_into().expect("8 bytes"))
}
