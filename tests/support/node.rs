//! A whole broker without threads, sockets or clocks: control machine, shards and journal on a disk
//! in memory. Requests go in as a door's, mail is carried by hand, and a commit happens when the
//! test says so.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use bytes::BytesMut;
use odradek::broker::back::Flushed;
use odradek::broker::control::{
    Control, ControlOutput, ControlStart, METADATA, METADATA_TOPIC, metadata_topic_config,
};
use odradek::broker::front::{Answer, Request};
use odradek::broker::mail::ShardId;
use odradek::broker::shard::{Apply, Event, Output, Shard};
use odradek::broker::{BrokerConfig, ConnectionId, LiveConfig};
use odradek::controller::ControllerConfig;
use odradek::controller::image::Image;
use odradek::group::GroupRules;
use odradek::ids::{NodeId, Partition, TopicName, TopicPartition, Uuid};
use odradek::journal::disk::Disk;
use odradek::journal::{Entry, Journal};
use odradek::log::{Log, OpenParameters};
use odradek::replica::{ReplicaConfig, ThrottledRates};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::create_topics::{CreateTopic, CreateTopicsRequest, CreateTopicsResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

use crate::booted::{Booted, boot};
use crate::plenty::Plenty;
use crate::sim_disk::{Cut, SimDisk, SimFile};

const DIR: &str = "/data";

/// How a node is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards.
    pub shard_count: u16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: u32,
    /// For the coordinators.
    pub rules: GroupRules,
}

/// A broker and its clients.
pub struct Node {
    /// Its disk.
    pub disk: SimDisk,
    setup: Setup,
    journal: Journal<SimDisk>,
    control: Control<SimDisk>,
    /// Its shards.
    pub shards: Vec<Shard<SimDisk>>,
    entries: Vec<Entry<SimFile>>,
    /// While set, nothing is committed.
    pub holds_commits: bool,
    /// While set, what is cold stays so.
    pub holds_loads: bool,
    loads: Vec<(usize, u64)>,
    now_ms: u64,
    boot_count: u64,
    next_connection: u64,
    answers: BTreeMap<ConnectionId, VecDeque<Vec<u8>>>,
    /// Messages between shards so far.
    pub mail_count: u64,
}

impl Node {
    /// A broker on an empty disk.
    pub fn new(setup: Setup) -> Node {
        Node::boot(SimDisk::new(), setup, 1)
    }

    /// The same after the power went: what was not durable is gone.
    pub fn power_cut(self) -> Node {
        Node::boot(self.disk.power_cut(Cut::KeepNothing), self.setup, self.boot_count + 1)
    }

    /// What `runtime::boot` does.
    fn boot(disk: SimDisk, setup: Setup, boot_count: u64) -> Node {
        let path = Path::new(DIR);
        let now = at(boot_count * 1_000_000);
        let parameters = OpenParameters {
            node_id: NodeId(1),
            cluster_id: None,
            random: [7; 32],
            now,
            config: TopicConfig::default(),
        };
        let booted = boot(&disk, path, 16 << 20, boot_count, &parameters).expect("boots");
        let Booted { dir, mut journal, logs, .. } = booted;
        let mut found: BTreeMap<TopicPartition, Log<SimDisk>> =
            logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
        let name = TopicName::new(METADATA_TOPIC).expect("legal");
        let log = found.remove(&METADATA).unwrap_or_else(|| {
            dir.create(&name, METADATA, metadata_topic_config(), now).expect("creates")
        });
        let start = ControlStart {
            controller: controller_config(&setup),
            log,
            shard_count: setup.shard_count,
            seed: boot_count,
        };
        let (control, mut entries) = Control::start(now, start, Uuid([9; 16])).expect("starts");
        let image = control.controller().image();
        let shares = shares(image, found, setup.shard_count, &mut entries);
        let changes = image.as_changes();
        journal.commit(&entries).expect("commits");
        let shards = (0..setup.shard_count)
            .map(|id| Shard::new(now, ShardId(id), broker_config(&setup, boot_count)))
            .collect();
        let mut node = Node {
            disk,
            setup,
            journal,
            control,
            shards,
            entries: Vec::new(),
            holds_commits: false,
            holds_loads: false,
            loads: Vec::new(),
            now_ms: boot_count * 1_000_000,
            boot_count,
            next_connection: 0,
            answers: BTreeMap::new(),
            mail_count: 0,
        };
        for (shard, adopted) in shares.into_iter().enumerate() {
            let changes = changes.clone();
            node.step(
                shard,
                Event::Apply(Apply { version: 0, changes, adopted, is_current: true }),
            );
        }
        node
    }

    /// The present.
    pub fn now(&self) -> Now {
        at(self.now_ms)
    }

    /// Feeds a shard, and does what it wants, and what that leads to.
    pub fn step(&mut self, shard: usize, event: Event<SimDisk>) {
        let now = self.now();
        self.shards[shard].step(now, event);
        self.settle();
    }

    /// Lets a shard do what is due, once.
    pub fn tick(&mut self, shard: usize) {
        let now = self.now();
        self.shards[shard].tick(now);
        self.settle();
    }

    /// Lets time pass, timer by timer, as a poll loop does.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let due = |shard: &Shard<SimDisk>| shard.next_deadline();
            let next = self.shards.iter().map(due).min().expect("there is a shard");
            let next_ms = next.us_since(Boot(0)).div_ceil(1000);
            if end < next_ms {
                self.now_ms = end;
                return;
            }
            self.now_ms = self.now_ms.max(next_ms);
            for shard in 0..self.shards.len() {
                if self.shards[shard].next_deadline() <= self.now().boot {
                    self.tick(shard);
                }
            }
        }
    }

    /// Lets every coordinator read its log.
    pub fn load(&mut self) {
        self.pass(0);
    }

    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for shard in 0..self.shards.len() {
                while let Some(output) = self.shards[shard].poll() {
                    is_quiet = false;
                    self.act(shard, output);
                }
            }
            while let Some(output) = self.control.poll() {
                is_quiet = false;
                self.act_control(output);
            }
            if !self.holds_loads && !self.loads.is_empty() {
                is_quiet = false;
                self.disk.set_cold(false);
                for (shard, token) in std::mem::take(&mut self.loads) {
                    let now = self.now();
                    self.shards[shard].step(now, Event::Loaded { token, is_lost: false });
                }
            }
            if is_quiet && (self.holds_commits || self.entries.is_empty()) {
                return;
            }
            if is_quiet {
                self.commit();
            }
        }
    }

    fn act(&mut self, shard: usize, output: Output<SimDisk>) {
        let now = self.now();
        let from = ShardId(shard as u16);
        let at = |to: ShardId| usize::from(to.0);
        match output {
            Output::Persist(entry) => self.entries.push(entry),
            Output::Ask(to, ask) => {
                self.mail_count += 1;
                self.shards[at(to)].step(now, Event::Ask(ask));
            }
            Output::Reply(to, reply) => {
                self.mail_count += 1;
                self.shards[at(to)].step(now, Event::Reply(from, reply));
            }
            Output::Notice(to, notice) => {
                self.mail_count += 1;
                self.shards[at(to)].step(now, Event::Notice(from, notice));
            }
            Output::Control(ask) => self.control.ask(now, ask),
            Output::Applied(version) => self.control.applied(now, version),
            Output::Retired(log) => self.control.retired(log),
            Output::Load(load) => self.loads.push((shard, load.token)),
            Output::Answer(connection, Answer::Body(body)) => {
                self.answers.entry(connection).or_default().push_back(body);
            }
            Output::Answer(_, other) => panic!("nobody asked for {other:?}"),
            Output::Close(_, reason) => panic!("closed: {reason}"),
            Output::Respond(..)
            | Output::Release(_)
            | Output::Scrub(_)
            | Output::Note(_)
            | Output::Clean(_)
            | Output::Peer(..)
            | Output::Dial(..)
            | Output::Alter(_)
            | Output::Cut(..)
            | Output::HandOver(..)
            | Output::NoteProducers(..) => {}
        }
    }

    fn act_control(&mut self, output: ControlOutput<SimDisk>) {
        let now = self.now();
        match output {
            ControlOutput::Prepare(mut making) => {
                making.run(&self.disk, Path::new(DIR), now).expect("the disk works");
                self.control.prepared(now, making, Ok(()));
            }
            ControlOutput::Persist(entry) => self.entries.push(entry),
            ControlOutput::Apply(to, apply) => {
                self.shards[usize::from(to.0)].step(now, Event::Apply(apply));
            }
            ControlOutput::Answer(request, body) => {
                let shard = usize::from(request.shard.0);
                self.shards[shard].step(now, Event::Controlled(request, body));
            }
            ControlOutput::Configure => unreachable!("nothing of the broker is set at run time"),
            ControlOutput::Remove(log) => {
                let path = log.retire().expect("the disk works");
                self.disk.remove_dir_all(&path).expect("the disk works");
            }
            ControlOutput::Work(_)
            | ControlOutput::Inform
            | ControlOutput::Send(..)
            | ControlOutput::Depart
            | ControlOutput::Altered(..) => panic!("a node that is alone"),
        }
    }

    /// One commit of everything that was handed to the flusher.
    pub fn commit(&mut self) {
        let now = self.now();
        let entries = std::mem::take(&mut self.entries);
        self.journal.commit(&entries).expect("the disk works");
        if let Some(job) = self.journal.checkpoint_due() {
            assert!(self.shards.iter_mut().all(Shard::settle_all), "the disk works");
            let done = job.run().expect("the disk works");
            self.journal.checkpoint_done(done).expect("the disk works");
        }
        for flushed in entries.iter().filter_map(Flushed::of) {
            if flushed.topic_partition == METADATA {
                self.control.flushed(now, &flushed);
            } else {
                let owner = ShardId::owner(flushed.topic_partition, self.setup.shard_count);
                self.shards[usize::from(owner.0)].step(now, Event::Flushed(vec![flushed]));
            }
        }
        self.settle();
    }

    /// Every shard hears that the log dir failed.
    pub fn fail_storage(&mut self) {
        self.entries.clear();
        for shard in 0..self.shards.len() {
            self.step(shard, Event::StorageFailed);
        }
    }

    /// A client connects to a shard.
    pub fn connect(&mut self, shard: usize) -> Client {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let opened = Event::Opened {
            connection,
            local_host: "127.0.0.1".into(),
            local_port: 9092,
            peer_host: "/192.0.2.7".into(),
            has_door: true,
        };
        self.step(shard, opened);
        Client { connection, shard }
    }

    /// A client goes.
    pub fn disconnect(&mut self, client: Client) {
        self.step(client.shard, Event::Closed(client.connection));
    }

    /// Sends a request about groups.
    pub fn send<B: serde::Serialize>(&mut self, client: Client, api: ApiKey, request: &B) {
        let body = BytesMut::from(&frame::encode_body(request)[..]);
        let request = Request::Group(api, body, "a-client".into());
        let Client { connection, shard } = client;
        self.step(shard, Event::Request { connection, request, frame_bytes: 0 });
    }

    /// The next answer to a client, if it is there.
    pub fn answer(&mut self, client: Client) -> Option<Vec<u8>> {
        self.answers.get_mut(&client.connection)?.pop_front()
    }

    /// Sends a request and takes its answer.
    pub fn call<B: serde::Serialize>(
        &mut self,
        client: Client,
        api: ApiKey,
        request: &B,
    ) -> Vec<u8> {
        self.send(client, api, request);
        self.answer(client).unwrap_or_else(|| panic!("no answer to {api:?}"))
    }

    /// Any of the wire's other requests.
    pub fn ask<B: serde::Serialize>(
        &mut self,
        client: Client,
        api: ApiKey,
        request: &B,
    ) -> Vec<u8> {
        let body = BytesMut::from(&frame::encode_body(request)[..]);
        let Client { connection, shard } = client;
        let request = Request::Wire(api, body);
        self.step(shard, Event::Request { connection, request, frame_bytes: 0 });
        self.answer(client).unwrap_or_else(|| panic!("no answer to {api:?}"))
    }

    /// Creates a topic.
    pub fn create(&mut self, client: Client, name: &str, partition_count: i32) {
        let topics =
            vec![CreateTopic { name, partition_count, replication_factor: -1, configs: vec![] }];
        let request = CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics };
        let body = self.ask(client, ApiKey::CreateTopics, &request);
        let response: CreateTopicsResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(response.topics[0].error, ErrorCode::NONE);
    }

    /// Whether there is a topic of this name.
    pub fn has_topic(&self, name: &str) -> bool {
        self.control.controller().image().find(TopicRef::Name(name)).is_some()
    }
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// Its name.
    pub connection: ConnectionId,
    /// Where it is served.
    pub shard: usize,
}

fn at(ms: u64) -> Now {
    let wall = Timestamp(1_790_000_000_000 + ms as i64);
    Now { boot: Boot(0).plus_ms(ms), wall, wall_trusted: true }
}

/// Each shard's logs, in this boot's epochs.
fn shares(
    image: &Image,
    mut found: BTreeMap<TopicPartition, Log<SimDisk>>,
    shard_count: u16,
    entries: &mut Vec<Entry<SimFile>>,
) -> Vec<Vec<Log<SimDisk>>> {
    let mut shares: Vec<Vec<Log<SimDisk>>> = Vec::new();
    shares.resize_with(usize::from(shard_count), Vec::new);
    for (topic_id, topic) in image.topics() {
        for (number, partition) in topic.partitions.iter().enumerate() {
            let topic_partition = TopicPartition { topic_id, partition: Partition(number as i32) };
            let mut log = found.remove(&topic_partition).expect("its directory is durable");
            log.set_config(topic.effective(&TopicConfig::default()));
            let state = log.begin_epoch(partition.leader_epoch);
            entries.push(Entry::State { topic_partition, state });
            let owner = ShardId::owner(topic_partition, shard_count);
            shares[usize::from(owner.0)].push(log);
        }
    }
    shares
}

fn controller_config(setup: &Setup) -> ControllerConfig {
    let mut config = ControllerConfig::new(NodeId(1));
    config.offsets_topic.segment_bytes = setup.segment_bytes;
    config
}

fn broker_config(setup: &Setup, seed: u64) -> BrokerConfig {
    BrokerConfig {
        has_peers: false,
        is_informed: true,
        is_broker: true,
        node_id: NodeId(1),
        shard_count: setup.shard_count,
        frame_bytes_max: 1 << 20,
        fetch_bytes_max: 1 << 20,
        producers_max: 1000,
        handles_max: 1000,
        process: Box::leak(Box::default()),
        memory: &Plenty,
        seed,
        replica: ReplicaConfig::new(NodeId(1), 0),
        live: LiveConfig {
            groups: setup.rules.clone(),
            cleaner_backoff_ms: 1000,
            cleaner_map_bytes: None,
            advertised: None,
            advertised_kafka: None,
            auto_create_topics_enable: false,
            retention_check_interval_ms: 1_000_000_000,
            scrub_interval_ms: 0,
            topic_defaults: TopicConfig::default(),
            alterable: Vec::new(),
            topic_sources: BTreeMap::new(),
            replication_throttled: ThrottledRates::default(),
            producer_id_expiration_ms: 86_400_000,
            shown: Vec::new(),
        },
    }
}
