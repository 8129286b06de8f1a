//! Three brokers of a site, as far as shards go: the real shards, logs and journals over simulated
//! disks, a wire that loses nothing but what is cut, and the real controller's word on ISRs, without
//! a quorum below it. Who leads is the test's to say.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::BytesMut;
use odradek::broker::back::Flushed;
use odradek::broker::mail::{
    Ask, AskBody, FetchAsk, FetchItem, GroupAsk, GroupItem, ProduceItem, ReplyBody, RequestId,
    ShardId, TrimItem,
};
use odradek::broker::shard::{Apply, Event, Output, Shard};
use odradek::broker::{BrokerConfig, ConnectionId, LiveConfig};
use odradek::controller::change::{BrokerState, Change};
use odradek::controller::{Controller, ControllerConfig, FEATURE_LEVEL};
use odradek::group::GroupRules;
use odradek::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use odradek::journal::disk::DiskFile;
use odradek::journal::{Entry, Journal};
use odradek::log::{Cut, Log, OpenParameters, owed_entries};
use odradek::record::{BatchBuilder, Compression};
use odradek::replica::{LeaderAndIsr, ReplicaConfig, ThrottledRates};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::replica::alter_partition::{AlterPartitionRequest, AlterReplicas};
use odradek::wire::{ApiKey, ErrorCode};

use super::booted::{Booted, boot};
use super::plenty::Plenty;
use super::sim_disk::{SimDisk, SimFile};

pub const ONE: NodeId = NodeId(1);
pub const TWO: NodeId = NodeId(2);
pub const THREE: NodeId = NodeId(3);
pub const NODES: [NodeId; 3] = [ONE, TWO, THREE];
const TOPIC: TopicId = TopicId(Uuid([3; 16]));
const RING_BYTES: u64 = 1 << 20;

pub fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic_id: TOPIC, partition: Partition(partition) }
}

/// One broker.
struct Broker {
    disk: SimDisk,
    journal: Journal<SimDisk>,
    shards: Vec<Shard<SimDisk>>,
    entries: Vec<Entry<SimFile>>,
}

/// One end of a connection.
type End = (NodeId, usize, ConnectionId);

/// See the module.
pub struct Site {
    name: &'static str,
    controller: Controller,
    config: TopicConfig,
    brokers: BTreeMap<NodeId, Broker>,
    disks: BTreeMap<NodeId, SimDisk>,
    /// Both ways.
    wires: BTreeMap<End, End>,
    next_connection: u64,
    cut: BTreeSet<NodeId>,
    /// Nodes whose flusher hangs.
    pub stalled: BTreeSet<NodeId>,
    next_request: u64,
    replies: BTreeMap<u64, ReplyBody<SimFile>>,
    us: u64,
    pub lost_count: u64,
    /// Whether cuts are made only when [`Site::end_cuts`] says so.
    pub are_cuts_slow: bool,
    cuts: Vec<SlowCut>,
    /// Lists of changes that the shards of a node have said they have applied.
    pub applied: BTreeMap<NodeId, usize>,
    /// What shards have let go.
    pub retired: Vec<(NodeId, TopicPartition)>,
}

/// A cut that a shard waits for.
type SlowCut = (NodeId, usize, TopicPartition, Box<Cut<SimDisk>>);

/// Asked by a shard that does not exist, so that its replies come out.
const CLIENT: ShardId = ShardId(900);

impl Site {
    /// Three brokers and a topic of two partitions on all of them, led by the first.
    pub fn new(config: TopicConfig) -> Site {
        Site::of("t", config)
    }

    /// The same, and the topic has this name.
    pub fn of(name: &'static str, config: TopicConfig) -> Site {
        let controller = Controller::new(ControllerConfig {
            default_replication_factor: 3,
            topic_defaults: config.clone(),
            ..ControllerConfig::new(NodeId(9))
        });
        let mut site = Site {
            name,
            controller,
            config,
            brokers: BTreeMap::new(),
            disks: NODES.iter().map(|node| (*node, SimDisk::new())).collect(),
            wires: BTreeMap::new(),
            next_connection: 0,
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            next_request: 0,
            replies: BTreeMap::new(),
            us: 1_000_000,
            lost_count: 0,
            are_cuts_slow: false,
            cuts: Vec::new(),
            applied: BTreeMap::new(),
            retired: Vec::new(),
        };
        let name = TopicName::new(name).expect("legal");
        let mut changes =
            vec![Change::Cluster { cluster_id: Uuid([7; 16]), feature_level: FEATURE_LEVEL }];
        for node in NODES {
            changes.extend(active(node, 10));
        }
        changes.push(Change::Topic { topic_id: TOPIC, name });
        changes.extend((0..2).map(|partition| Change::Partition {
            topic_id: TOPIC,
            partition: Partition(partition),
            replicas: NODES.to_vec(),
            leader: NODES[0],
            leader_epoch: LeaderEpoch(1),
        }));
        for change in &changes {
            site.controller.replay(change);
        }
        for node in NODES {
            site.boot(node);
        }
        site.run(50);
        site
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp(1_790_000_000_000 + (self.us / 1000) as i64);
        Now { boot: Boot(self.us), wall, wall_trusted: true }
    }

    /// Starts a broker on what its disk holds.
    pub fn boot(&mut self, node: NodeId) {
        let disk = self.disks[&node].clone();
        let parameters = OpenParameters {
            node_id: node,
            cluster_id: None,
            random: [node.0 as u8; 32],
            now: self.now(),
            config: self.config.clone(),
        };
        let path = Path::new("/data");
        let booted = boot(&disk, path, RING_BYTES, 77, &parameters).expect("the disk works");
        let Booted { dir, mut journal, mut logs, report, .. } = booted;
        let owed = owed_entries(&logs, &report.partitions);
        let entries: Vec<Entry<SimFile>> = owed.expect("the disk works");
        let name = TopicName::new(self.name).expect("legal");
        for partition in 0..2 {
            if logs.iter().all(|log| log.topic_partition() != place(partition)) {
                let config = self.config.clone();
                let log = dir.create(&name, place(partition), config, parameters.now);
                logs.push(log.expect("the disk works"));
            }
        }
        journal.commit(&entries).expect("the disk works");
        let shard_count = if node == NODES[1] { 1 } else { 2 };
        let mut shares: Vec<Vec<Log<SimDisk>>> = Vec::new();
        shares.resize_with(usize::from(shard_count), Vec::new);
        for log in logs {
            let owner = ShardId::owner(log.topic_partition(), shard_count);
            shares[usize::from(owner.0)].push(log);
        }
        let config = broker_config(node, shard_count, &self.config);
        let now = self.now();
        let shards = shares.into_iter().enumerate().map(|(number, adopted)| {
            let mut shard = Shard::new(now, ShardId(number as u16), config.clone());
            let changes = self.controller.image().as_changes();
            shard.step(now, Event::Apply(Apply { version: 0, changes, adopted, is_current: true }));
            shard
        });
        let broker = Broker { disk, journal, shards: shards.collect(), entries: Vec::new() };
        self.brokers.insert(node, broker);
        self.settle();
    }

    /// Ends a broker: its process is gone, or the power was.
    pub fn kill(&mut self, node: NodeId, disk_after: impl Fn(&SimDisk) -> SimDisk) {
        let broker = self.brokers.remove(&node).expect("it runs");
        self.disks.insert(node, disk_after(&broker.disk));
        self.drop_wires(|end| end.0 == node);
    }

    /// Parts a broker from the others, or no longer.
    pub fn part(&mut self, node: NodeId, is_cut: bool) {
        if is_cut {
            self.cut.insert(node);
            self.drop_wires(|end| end.0 == node);
        } else {
            self.cut.remove(&node);
        }
    }

    fn drop_wires(&mut self, is_meant: impl Fn(&End) -> bool) {
        let ends: Vec<End> = self.wires.keys().copied().collect();
        for end in ends.into_iter().filter(|end| is_meant(end)) {
            self.hang_up(end);
        }
        self.settle();
    }

    fn hang_up(&mut self, end: End) {
        let Some(other) = self.wires.remove(&end) else { return };
        self.wires.remove(&other);
        for (node, shard, connection) in [end, other] {
            self.step(node, shard, Event::Closed(connection));
        }
    }

    /// The controller decides; every broker that runs hears of it.
    pub fn decide(&mut self, changes: &[Change]) {
        for change in changes {
            self.controller.replay(change);
        }
        for node in NODES {
            let shard_count = self.brokers.get(&node).map_or(0, |broker| broker.shards.len());
            for shard in 0..shard_count {
                let changes = changes.to_vec();
                let apply = Apply { version: 1, changes, adopted: Vec::new(), is_current: true };
                self.step(node, shard, Event::Apply(apply));
            }
        }
        self.settle();
    }

    /// Another leader, and who is in sync.
    pub fn elect(&mut self, partition: i32, leader: NodeId, isr: &[NodeId]) {
        let image = self.controller.image();
        let known = &image.topic(TOPIC).expect("made").partitions[partition as usize];
        let epoch = known.leader_epoch.next().expect("small");
        self.change(partition, Some(leader), epoch, isr);
    }

    /// The same leader goes on, with these in sync.
    pub fn shrink(&mut self, partition: i32, isr: &[NodeId]) {
        let image = self.controller.image();
        let known = &image.topic(TOPIC).expect("made").partitions[partition as usize];
        let (leader, epoch) = (known.leader, known.leader_epoch);
        self.change(partition, leader, epoch, isr);
    }

    /// The replicas are to be elsewhere; who leads goes on.
    pub fn move_to(&mut self, partition: i32, replicas: &[NodeId]) {
        let change = Change::Replicas {
            topic_id: TOPIC,
            partition: Partition(partition),
            replicas: replicas.to_vec(),
            adding: Vec::new(),
            removing: Vec::new(),
        };
        self.decide(&[change]);
    }

    /// The cuts that wait are made.
    pub fn end_cuts(&mut self) {
        assert!(!self.cuts.is_empty(), "something is being cut");
        for (node, shard, topic_partition, cut) in std::mem::take(&mut self.cuts) {
            let event = Event::CutDone(topic_partition, cut.run());
            self.step(node, shard, event);
        }
    }

    fn change(
        &mut self,
        partition: i32,
        leader: Option<NodeId>,
        leader_epoch: LeaderEpoch,
        isr: &[NodeId],
    ) {
        let image = self.controller.image();
        let known = &image.topic(TOPIC).expect("made").partitions[partition as usize];
        let change = Change::PartitionChange {
            topic_id: TOPIC,
            partition: Partition(partition),
            leader,
            leader_epoch,
            isr: isr.to_vec(),
            elr: Vec::new(),
            partition_epoch: known.partition_epoch + 1,
        };
        self.decide(&[change]);
    }

    /// A broker that was stopped is back as another incarnation.
    pub fn register(&mut self, node: NodeId, broker_epoch: i64) {
        self.decide(&active(node, broker_epoch));
    }

    pub fn isr(&self, partition: i32) -> Vec<NodeId> {
        let image = self.controller.image();
        image.topic(TOPIC).expect("made").partitions[partition as usize].isr.to_vec()
    }

    fn decided(&self, partition: i32) -> LeaderAndIsr {
        let image = self.controller.image();
        let known = &image.topic(TOPIC).expect("made").partitions[partition as usize];
        LeaderAndIsr {
            leader: known.leader,
            leader_epoch: known.leader_epoch,
            replicas: known.replicas.to_vec(),
            isr: known.isr.to_vec(),
            partition_epoch: known.partition_epoch,
        }
    }

    fn step(&mut self, node: NodeId, shard: usize, event: Event<SimDisk>) {
        let now = self.now();
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.shards[shard].step(now, event);
        }
    }

    /// Lets time pass, timer by timer.
    pub fn run(&mut self, ms: u64) {
        let end = self.us + ms * 1000;
        loop {
            self.settle();
            let shards = self.brokers.values().flat_map(|broker| &broker.shards);
            let next = shards.map(|shard| shard.next_deadline().0).min().expect("one runs");
            let next = next.max(self.us + 100);
            if end < next {
                self.us = end;
                return;
            }
            self.us = next;
            let now = self.now();
            for broker in self.brokers.values_mut() {
                for shard in &mut broker.shards {
                    if shard.next_deadline() <= now.boot {
                        shard.tick(now);
                    }
                }
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for node in NODES {
                let shard_count = self.brokers.get(&node).map_or(0, |broker| broker.shards.len());
                for shard in 0..shard_count {
                    while let Some(output) = self.poll(node, shard) {
                        is_quiet = false;
                        self.act(node, shard, output);
                    }
                }
            }
            if is_quiet && !NODES.into_iter().any(|node| self.commit(node)) {
                return;
            }
        }
    }

    fn poll(&mut self, node: NodeId, shard: usize) -> Option<Output<SimDisk>> {
        self.brokers.get_mut(&node)?.shards[shard].poll()
    }

    fn act(&mut self, node: NodeId, shard: usize, output: Output<SimDisk>) {
        let from = ShardId(shard as u16);
        match output {
            Output::Persist(entry) => {
                self.brokers.get_mut(&node).expect("it runs").entries.push(entry);
            }
            Output::Reply(CLIENT, reply) => {
                self.replies.insert(reply.request.number, reply.body);
            }
            Output::Ask(to, ask) => self.step(node, usize::from(to.0), Event::Ask(ask)),
            Output::Reply(to, reply) => {
                self.step(node, usize::from(to.0), Event::Reply(from, reply));
            }
            Output::Notice(CLIENT, _) => {}
            Output::Notice(to, notice) => {
                self.step(node, usize::from(to.0), Event::Notice(from, notice));
            }
            Output::Peer(to, mail) => self.step(node, usize::from(to.0), Event::Peer(mail)),
            Output::Dial(to, _) => self.dial(node, shard, to),
            Output::Respond(connection, response) => {
                let mut bytes = response.head;
                for (slice, behind) in response.tail {
                    let mut records = vec![0; slice.bytes as usize];
                    slice.file.read_exact_at(&mut records, slice.position).expect("written");
                    bytes.extend(records);
                    bytes.extend(behind);
                }
                let Some(&(to, shard, connection)) = self.wires.get(&(node, shard, connection))
                else {
                    return;
                };
                let bytes = BytesMut::from(&bytes[4..]);
                self.step(to, shard, Event::Frame { connection, bytes });
            }
            Output::Close(connection, _) => self.hang_up((node, shard, connection)),
            Output::Alter(proposal) => self.alter(node, shard, proposal),
            Output::Cut(topic_partition, cut) => {
                self.cuts.push((node, shard, topic_partition, cut));
                if !self.are_cuts_slow {
                    self.end_cuts();
                }
            }
            Output::Applied(_) => *self.applied.entry(node).or_default() += 1,
            Output::Retired(log) => self.retired.push((node, log.topic_partition())),
            Output::Load(load) => {
                self.brokers[&node].disk.set_cold(false);
                let event = Event::Loaded { token: load.token, is_lost: false };
                self.step(node, shard, event);
            }
            Output::Note(note) => note.save().expect("the disk works"),
            _ => {}
        }
    }

    /// A leader proposes another ISR.
    fn alter(&mut self, node: NodeId, shard: usize, proposal: AlterReplicas) {
        let (topic_partition, partition_epoch) =
            (proposal.topic_partition, proposal.partition_epoch);
        let outcome = if self.cut.contains(&node) {
            Err(ErrorCode::REQUEST_TIMED_OUT)
        } else {
            let broker_epoch = self.controller.image().broker_epoch(node);
            let partitions = vec![proposal];
            let request = AlterPartitionRequest { leader: node, broker_epoch, partitions };
            let (changes, response) = self.controller.alter_partition(&request);
            self.decide(&changes);
            match response.partitions.first().map_or(response.error, |one| one.error) {
                ErrorCode::NONE => Ok(self.decided(topic_partition.partition.0)),
                error => Err(error),
            }
        };
        self.step(node, shard, Event::Altered { topic_partition, partition_epoch, outcome });
    }

    fn dial(&mut self, node: NodeId, shard: usize, to: NodeId) {
        let is_reachable =
            self.brokers.contains_key(&to) && !self.cut.contains(&node) && !self.cut.contains(&to);
        if !is_reachable {
            return self.step(node, shard, Event::Dialed(to, None));
        }
        self.next_connection += 2;
        let near = ConnectionId(self.next_connection);
        let far = ConnectionId(self.next_connection + 1);
        // It comes to any shard there.
        let at = self.next_connection as usize / 2 % self.brokers[&to].shards.len();
        self.wires.insert((node, shard, near), (to, at, far));
        self.wires.insert((to, at, far), (node, shard, near));
        self.step(to, at, Event::Peered(node, far));
        self.step(node, shard, Event::Dialed(to, Some(near)));
    }

    /// One commit of what a node's flusher was given; whether there was something.
    fn commit(&mut self, node: NodeId) -> bool {
        let is_stalled = self.stalled.contains(&node);
        let Some(broker) = self.brokers.get_mut(&node).filter(|_| !is_stalled) else {
            return false;
        };
        let entries = std::mem::take(&mut broker.entries);
        if entries.is_empty() {
            return false;
        }
        if !broker.journal.has_room(&entries) {
            let job = broker.journal.checkpoint_due().expect("the other half is full");
            let done = job.run().expect("the disk works");
            broker.journal.checkpoint_done(done).expect("the disk works");
        }
        broker.journal.commit(&entries).expect("the disk works");
        let shard_count = broker.shards.len() as u16;
        for flushed in entries.iter().filter_map(Flushed::of) {
            let owner = ShardId::owner(flushed.topic_partition, shard_count);
            self.step(node, usize::from(owner.0), Event::Flushed(vec![flushed]));
        }
        true
    }

    // Clients.

    fn ask(&mut self, node: NodeId, partition: i32, body: AskBody) -> u64 {
        self.next_request += 1;
        let number = self.next_request;
        let request = RequestId { shard: CLIENT, number };
        let shard_count = self.brokers[&node].shards.len() as u16;
        let owner = ShardId::owner(place(partition), shard_count);
        self.step(node, usize::from(owner.0), Event::Ask(Ask { request, body }));
        self.settle();
        number
    }

    /// Sends a record; the name of the answer.
    pub fn produce(&mut self, node: NodeId, partition: i32, acks: i8, value: &str) -> u64 {
        self.produce_by(None, node, partition, acks, value)
    }

    /// The same, by an idempotent producer: its id, and the sequence.
    pub fn produce_by(
        &mut self,
        producer: Option<(i64, i32)>,
        node: NodeId,
        partition: i32,
        acks: i8,
        value: &str,
    ) -> u64 {
        let mut builder = BatchBuilder::new();
        if let Some((id, sequence)) = producer {
            builder.set_producer(id, 0, sequence);
        }
        builder.push(self.now().wall, None, Some(value.as_bytes()), &[]);
        let batch = builder.finish(Compression::None)[..].into();
        let topic_partition = place(partition);
        let items = vec![ProduceItem { place: 0, topic_partition, batch, is_behind_one: false }];
        self.ask(node, partition, AskBody::Produce { acks, items })
    }

    /// What a produce was answered: the error, and the offset.
    pub fn produced(&self, number: u64) -> Option<(ErrorCode, i64)> {
        match self.replies.get(&number)? {
            ReplyBody::Produced(items) => Some((items[0].1.error, items[0].1.base_offset.0)),
            other => panic!("{other:?}"),
        }
    }

    /// Reads from an offset: the error, the high watermark, and bytes.
    pub fn fetch(
        &mut self,
        node: NodeId,
        partition: i32,
        offset: i64,
        may_follow: bool,
    ) -> (ErrorCode, i64, u64) {
        let item = FetchItem {
            place: 0,
            topic_partition: place(partition),
            offset: Offset(offset),
            current_leader_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
            may_follow,
        };
        let fetch = FetchAsk { items: vec![item], max_bytes: 1 << 20, watch: None };
        let number = self.ask(node, partition, AskBody::Fetch(fetch));
        match &self.replies[&number] {
            ReplyBody::Fetched { items, .. } => {
                let fetched = &items[0].1;
                (fetched.error, fetched.high_watermark.0, fetched.bytes())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks the coordinator that a partition of the groups' topic has on a node.
    pub fn ask_group(
        &mut self,
        node: NodeId,
        partition: i32,
        api: ApiKey,
        body: &impl serde::Serialize,
    ) -> u64 {
        let body = odradek::wire::frame::encode_body(body);
        let item = GroupItem { place: 0, topic_partition: place(partition), body };
        let (client_id, client_host) = ("c".into(), "/10.0.0.1".into());
        let ask = GroupAsk { api, client_id, client_host, items: vec![item] };
        self.ask(node, partition, AskBody::Group(ask))
    }

    /// What a coordinator answered, if it did.
    pub fn group_answer(&self, number: u64) -> Option<&[u8]> {
        match self.replies.get(&number)? {
            ReplyBody::Group { items, .. } => Some(&items[0].1),
            other => panic!("{other:?}"),
        }
    }

    /// Deletes records before an offset; the name of the answer.
    pub fn delete(&mut self, node: NodeId, partition: i32, offset: i64) -> u64 {
        let (topic_partition, offset) = (place(partition), Offset(offset));
        let item = TrimItem { place: 0, topic_partition, offset };
        self.ask(node, partition, AskBody::Trim(vec![item]))
    }

    /// What a deletion was answered: the error, and the low watermark.
    pub fn deleted(&self, number: u64) -> Option<(ErrorCode, i64)> {
        match self.replies.get(&number)? {
            ReplyBody::Trimmed(items) => Some((items[0].1.error, items[0].1.low_watermark.0)),
            other => panic!("{other:?}"),
        }
    }

    /// A bit flips in the first segment of a partition on a node.
    pub fn flip(&self, node: NodeId, partition: i32, position: usize) {
        let path = format!("/data/{}-{partition}/{:020}.log", self.name, 0);
        self.brokers[&node].disk.damage(Path::new(&path), |bytes| {
            // The medium may not have all of what is read yet.
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= 1;
            }
        });
    }

    /// The bytes of a partition's segments on a node.
    pub fn segments(&self, node: NodeId, partition: i32) -> Vec<u8> {
        let disk = self.brokers.get(&node).map_or(&self.disks[&node], |broker| &broker.disk);
        let dir = format!("/data/{}-{partition}/", self.name);
        let files = disk.files().into_iter();
        let is_log = |path: &Path| {
            let text = path.to_string_lossy();
            text.starts_with(&dir) && text.ends_with(".log")
        };
        files.filter(|(path, _)| is_log(path)).flat_map(|(_, bytes)| bytes).collect()
    }
}

fn active(node_id: NodeId, broker_epoch: i64) -> [Change; 2] {
    [
        Change::Registration {
            node_id,
            broker_epoch,
            incarnation: Uuid([broker_epoch as u8; 16]),
            directory_id: Uuid([9; 16]),
            endpoints: Vec::new(),
            rack: "".into(),
            life: 0,
            active_epoch: 0,
        },
        Change::BrokerState { node_id, state: BrokerState::Active },
    ]
}

fn broker_config(node: NodeId, shard_count: u16, topic: &TopicConfig) -> BrokerConfig {
    BrokerConfig {
        node_id: node,
        shard_count,
        has_peers: true,
        is_informed: true,
        is_broker: true,
        frame_bytes_max: 1 << 20,
        fetch_bytes_max: 1 << 20,
        handles_max: 100,
        producers_max: 50,
        process: Box::leak(Box::default()),
        memory: &Plenty,
        seed: 1,
        replica: ReplicaConfig { lag_time_max_ms: 1000, ..ReplicaConfig::new(node, 0) },
        live: LiveConfig {
            groups: GroupRules::default(),
            advertised: None,
            advertised_kafka: None,
            auto_create_topics_enable: false,
            retention_check_interval_ms: 1_000_000,
            scrub_interval_ms: 0,
            cleaner_backoff_ms: 1_000_000,
            cleaner_map_bytes: None,
            replication_throttled: ThrottledRates::default(),
            producer_id_expiration_ms: 86_400_000,
            topic_defaults: topic.clone(),
            topic_sources: BTreeMap::new(),
            shown: Vec::new(),
            alterable: Vec::new(),
        },
    }
}
