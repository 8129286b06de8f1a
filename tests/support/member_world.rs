//! A site of nodes without threads, sockets or clocks: each is its control machine, a journal and a
//! disk in memory. Links carry frames after a while, a commit and a write of files are done at once,
//! and a shard is what it was told.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use odradek::broker::back::Flushed;
use odradek::broker::control::{ControlOutput, METADATA, METADATA_TOPIC, metadata_topic_config};
use odradek::broker::front::ControlAsk;
use odradek::broker::mail::{RequestId, ShardId};
use odradek::broker::making::Making;
use odradek::broker::site::{
    Altered, FoundCopies, Said, Site, SiteConfig, SiteError, SiteStart, Standing, Work, Worked,
    examine, prove, read_snapshot, read_state,
};
use odradek::controller::ControllerConfig;
use odradek::controller::change::Endpoint;
use odradek::controller::image::{Image, PartitionImage};
use odradek::ids::{NodeId, TopicName, TopicPartition, Uuid};
use odradek::journal::disk::Disk;
use odradek::journal::{Entry, Journal};
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::log::{Log, OpenParameters};
use odradek::quorum::Timeouts;
use odradek::replica::LeaderAndIsr;
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignPartition,
};
use odradek::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use odradek::wire::create_topics::{
    ConfigEntry, CreateTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::describe_quorum::DescribeQuorumResponse;
use odradek::wire::peer::forward::Answered;
use odradek::wire::peer::hello::{BROKER, CONTROLLER};
use odradek::wire::replica::alter_partition::{AlterReplicas, InSync};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

use crate::booted::{self, Booted};
use crate::sim_disk::{Cut, SimDisk, SimFile};

const DIR: &str = "/data";

/// A step of the world's clock.
const STEP_MS: u64 = 5;

struct Running {
    site: Site<SimDisk>,
    journal: Journal<SimDisk>,
    entries: Vec<Entry<SimFile>>,
    /// What the shard of this node was told.
    shard: Image,
    /// Whether that is all that was decided.
    is_current: bool,
    /// Logs to make.
    makings: Vec<Making<SimDisk>>,
    logs: BTreeMap<TopicPartition, Log<SimDisk>>,
    answers: BTreeMap<u64, Vec<u8>>,
    altered: Vec<Altered>,
}

struct Board {
    disk: SimDisk,
    running: Option<Running>,
    boot_count: u64,
    /// Its card makes no files for now.
    is_stalled: bool,
}

/// The whole of it.
pub struct World {
    boards: BTreeMap<i32, Board>,
    /// Frames on their way: when they arrive, and in which order they left.
    flights: BTreeMap<(u64, u64), (i32, i32, Bytes)>,
    cuts: BTreeSet<(i32, i32)>,
    now_ms: u64,
    sequence: u64,
    /// How many of them `controller.quorum.voters` names.
    named: i32,
    /// How far the wall clock of a board is off.
    skews_ms: BTreeMap<i32, i64>,
    /// What peers were answered: who was told what.
    pub answered: Vec<(i32, Answered, Bytes)>,
}

impl World {
    /// Boards 1 to `count`, all of which vote; switched off, with empty disks.
    pub fn of(count: i32) -> World {
        let board =
            |_| Board { disk: SimDisk::new(), running: None, boot_count: 0, is_stalled: false };
        World {
            boards: (1..=count).map(|node| (node, board(node))).collect(),
            flights: BTreeMap::new(),
            cuts: BTreeSet::new(),
            now_ms: 1_000_000,
            sequence: 0,
            named: count,
            skews_ms: BTreeMap::new(),
            answered: Vec::new(),
        }
    }

    /// The same, formed by pairing: the first begins the site, and no list says who votes.
    pub fn paired(count: i32) -> World {
        World { named: 0, ..World::of(count) }
    }

    /// Sets the wall clock of a board wrong from now on.
    pub fn skew(&mut self, node: i32, ms: i64) {
        self.skews_ms.insert(node, ms);
    }

    /// The time as a board has it.
    fn now_at(&self, node: i32) -> Now {
        let now = self.now();
        let skew = self.skews_ms.get(&node).copied().unwrap_or(0);
        Now { wall: Timestamp(now.wall.0 + skew), ..now }
    }

    /// A board hears this from another, as if that had said it.
    pub fn say(&mut self, from: i32, to: i32, said: Said) {
        let now = self.now_at(to);
        self.site(to).heard(now, NodeId(from), said);
        self.act(to);
    }

    fn now(&self) -> Now {
        let wall = Timestamp(1_790_000_000_000 + self.now_ms as i64);
        Now { boot: Boot(0).plus_ms(self.now_ms), wall, wall_trusted: true }
    }

    /// A board's disk, to put something on it before it starts.
    pub fn disk(&self, node: i32) -> SimDisk {
        self.boards[&node].disk.clone()
    }

    /// Switches a board on.
    pub fn start(&mut self, node: i32) {
        if let Err(why) = self.try_start(node) {
            panic!("node {node} does not start: {why}");
        }
    }

    /// The same, where it may refuse to start.
    pub fn try_start(&mut self, node: i32) -> Result<(), SiteError> {
        let (now, count) = (self.now(), self.named);
        let board = self.boards.get_mut(&node).expect("a board");
        board.boot_count += 1;
        let seed = ((node as u64) << 8) | board.boot_count;
        board.running = Some(boot(&board.disk, node, count, seed, now)?);
        for other in self.running() {
            self.link(node, other);
        }
        self.act(node);
        Ok(())
    }

    /// Switches all boards on.
    pub fn start_all(&mut self) {
        for node in self.boards.keys().copied().collect::<Vec<_>>() {
            self.start(node);
        }
    }

    /// A board's card makes no more files, or does so again.
    pub fn stall(&mut self, node: i32, is_stalled: bool) {
        self.boards.get_mut(&node).expect("a board").is_stalled = is_stalled;
        self.act(node);
    }

    /// Takes the power from a board.
    pub fn cut_power(&mut self, node: i32) {
        let board = self.boards.get_mut(&node).expect("a board");
        board.running = None;
        board.disk = board.disk.power_cut(Cut::KeepNothing);
        self.flights.retain(|_, (from, to, _)| *from != node && *to != node);
        for other in self.running() {
            let now = self.now();
            if let Some(running) = &mut self.boards.get_mut(&other).expect("a board").running {
                running.site.unlinked(now, NodeId(node));
            }
            self.act(other);
        }
    }

    /// An empty card in a board that is off.
    pub fn wipe(&mut self, node: i32) {
        self.boards.get_mut(&node).expect("a board").disk = SimDisk::new();
    }

    /// The boards that are on.
    pub fn running(&self) -> Vec<i32> {
        let on = self.boards.iter().filter(|(_, board)| board.running.is_some());
        on.map(|(node, _)| *node).collect()
    }

    fn link(&mut self, one: i32, other: i32) {
        if one == other {
            return;
        }
        let now = self.now();
        let identity = |world: &World, node: i32| {
            world.boards[&node].running.as_ref().map(|running| running.site.identity())
        };
        for (from, to) in [(one, other), (other, one)] {
            let Some(peer) = identity(self, from) else { continue };
            let board = self.boards.get_mut(&to).expect("a board");
            if let Some(running) = &mut board.running {
                running.site.linked(now, peer);
            }
            self.act(to);
        }
    }

    /// Nothing goes from one board to another any more.
    pub fn cut(&mut self, from: i32, to: i32) {
        self.cuts.insert((from, to));
    }

    /// Everything goes everywhere again.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Lets time pass.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += STEP_MS;
            while let Some(entry) = self.flights.first_entry() {
                if self.now_ms < entry.key().0 {
                    break;
                }
                let (from, to, frame) = entry.remove();
                let said = Said::decode(&frame.slice(FRAME_PREFIX_BYTES..)).expect("our own");
                let now = self.now_at(to);
                if let Some(running) = &mut self.boards.get_mut(&to).expect("a board").running {
                    running.site.heard(now, NodeId(from), said);
                }
                self.act(to);
            }
            for node in self.running() {
                let now = self.now_at(node);
                let board = self.boards.get_mut(&node).expect("a board");
                let running = board.running.as_mut().expect("it runs");
                if running.site.next_deadline() <= now.boot {
                    running.site.tick(now);
                }
                self.act(node);
            }
        }
    }

    /// Lets time pass until something is so.
    pub fn run_until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        for _ in 0..600 {
            if is_so(self) {
                return;
            }
            self.run_ms(100);
        }
        let states: Vec<String> = self.running().iter().map(|node| self.text(*node)).collect();
        panic!("it is never so that {what}:\n{}", states.join("\n"));
    }

    fn text(&self, node: i32) -> String {
        let brokers: Vec<String> = self
            .image(node)
            .brokers()
            .map(|(id, broker)| format!("{id} {:?} {}", broker.state, broker.broker_epoch))
            .collect();
        let quorum = self.quorum(node);
        format!("node {node}: {quorum:?} brokers {brokers:?}")
    }

    /// Does what a node wants done, until it wants nothing.
    fn act(&mut self, node: i32) {
        let now = self.now_at(node);
        loop {
            let board = self.boards.get_mut(&node).expect("a board");
            let Some(running) = &mut board.running else { return };
            if let Some(output) = running.site.poll() {
                if let Some((to, said)) = do_one(running, &board.disk, now, output) {
                    self.fly(node, to, &said);
                }
            } else if !running.entries.is_empty() {
                commit(running, now);
            } else if board.is_stalled {
                return;
            } else if let Some(mut making) = running.makings.pop() {
                let made = making.run(&board.disk, Path::new(DIR), now);
                running.site.prepared(now, making, made);
            } else {
                return;
            }
        }
    }

    fn fly(&mut self, from: i32, to: i32, said: &Said) {
        if let Said::Answered(head, body) = said {
            self.answered.push((to, *head, body.clone()));
        }
        if self.cuts.contains(&(from, to)) || !self.running().contains(&to) {
            return;
        }
        self.sequence += 1;
        let frame = Bytes::from(said.encode());
        self.flights.insert((self.now_ms + STEP_MS, self.sequence), (from, to, frame));
    }

    /// What the shard of a node was told.
    pub fn image(&self, node: i32) -> &Image {
        &self.boards[&node].running.as_ref().expect("it runs").shard
    }

    /// A node's machine.
    pub fn site(&mut self, node: i32) -> &mut Site<SimDisk> {
        let board = self.boards.get_mut(&node).expect("a board");
        &mut board.running.as_mut().expect("it runs").site
    }

    /// Asks a node to stop, as SIGTERM does; whether it may.
    pub fn leave(&mut self, node: i32) {
        let now = self.now();
        self.site(node).leave(now);
        self.act(node);
    }

    /// A node's first partition of a topic.
    pub fn partition(&self, node: i32, topic: &str) -> Option<PartitionImage> {
        let (_, image) = self.image(node).find(TopicRef::Name(topic))?;
        image.partitions.first().cloned()
    }

    /// The first partition of a topic.
    pub fn topic_partition(&self, topic: &str) -> TopicPartition {
        let node = self.running()[0];
        let found =
            self.image(node).find_partition(TopicRef::Name(topic), odradek::ids::Partition(0));
        found.expect("it was created").0
    }

    /// Asks a node; answers the number of the question.
    pub fn ask(&mut self, node: i32, api: ApiKey, body: &[u8]) -> u64 {
        self.sequence += 1;
        let (now, number) = (self.now(), self.sequence);
        let request = RequestId { shard: ShardId(0), number };
        let ask = ControlAsk { request, api, body: BytesMut::from(body) };
        self.site(node).ask(now, ask);
        self.act(node);
        number
    }

    /// The answer of a node to a question.
    pub fn answer(&self, node: i32, number: u64) -> Option<&Vec<u8>> {
        self.boards[&node].running.as_ref()?.answers.get(&number)
    }

    /// Asks a node for a change of members until it is done or refused; answers with what error.
    pub fn change(&mut self, node: i32, change: SiteChange) -> ErrorCode {
        let body = frame::encode_body(&ChangeMembersRequest { change });
        for _ in 0..100 {
            let number = self.ask(node, ApiKey::ChangeMembers, &body);
            self.run_ms(200);
            let Some(answer) = self.answer(node, number) else { continue };
            let answer: ChangeMembersResponse<'_> = frame::decode(answer).expect("an answer");
            if answer.is_done || !(answer.error.is_ok() || answer.error.is_retriable()) {
                return answer.error;
            }
        }
        panic!("it does not end: {}", self.text(node));
    }

    /// Who votes, as a node knows it.
    pub fn voters(&self, node: i32) -> Vec<i32> {
        let members = self.quorum(node).map(|quorum| quorum.members).unwrap_or_default();
        let votes = |kind| kind != odradek::wire::quorum::members::MemberKind::Observer;
        members.iter().filter(|one| votes(one.kind)).map(|one| one.id.node_id.0).collect()
    }

    /// Creates a topic of one partition at a node; answers what it is told.
    pub fn create(&mut self, node: i32, name: &str, factor: i16) -> ErrorCode {
        let configs = vec![ConfigEntry { key: "min.insync.replicas", value: "2" }];
        let topic = CreateTopic { name, partition_count: 1, replication_factor: factor, configs };
        let request =
            CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics: vec![topic] };
        let number = self.ask(node, ApiKey::CreateTopics, &frame::encode_body(&request));
        for _ in 0..400 {
            if let Some(body) = self.answer(node, number) {
                let response: CreateTopicsResponse<'_> = frame::decode(body).expect("an answer");
                return response.topics[0].error;
            }
            self.run_ms(50);
        }
        panic!("nobody answers: {}", self.text(node));
    }

    /// Has a topic's first partition live elsewhere, and waits until that is decided.
    pub fn reassign(&mut self, node: i32, name: &str, replicas: &[i32]) {
        let replicas: Vec<NodeId> = replicas.iter().map(|node| NodeId(*node)).collect();
        let (topic, partition) = (TopicRef::Name(name), odradek::ids::Partition(0));
        let wanted = ReassignPartition { topic, partition, replicas: Some(replicas.clone()) };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 0,
            allow_replication_factor_change: true,
            partitions: vec![wanted],
        };
        let body = frame::encode_body(&request);
        self.ask(node, ApiKey::AlterPartitionReassignments, &body);
        self.run_until("it is decided everywhere", |world| {
            let is_there = |node: &i32| world.partition(*node, name);
            world.running().iter().filter_map(is_there).all(|one| *one.replicas == *replicas)
        });
    }

    /// A leader of a node's shard wants these in sync; answers what it is told.
    pub fn alter(
        &mut self,
        node: i32,
        topic: &str,
        isr: &[i32],
    ) -> Result<LeaderAndIsr, ErrorCode> {
        self.propose(node, topic, isr, 0);
        self.altered(node).outcome
    }

    /// The same, without waiting; a wish that builds on a version so much older than the newest.
    pub fn propose(&mut self, node: i32, topic: &str, isr: &[i32], age: i32) {
        let image = self.image(node);
        let (topic_partition, partition) = image
            .find_partition(TopicRef::Name(topic), odradek::ids::Partition(0))
            .expect("it was created");
        let in_sync = |node: &i32| InSync {
            node_id: NodeId(*node),
            broker_epoch: image.broker_epoch(NodeId(*node)),
        };
        let proposal = AlterReplicas {
            topic_partition,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch - age,
            isr: isr.iter().map(in_sync).collect(),
            damaged: Vec::new(),
        };
        let now = self.now();
        self.site(node).alter(now, ShardId(0), proposal);
        self.act(node);
    }

    /// What a leader of a node's shard is told next.
    pub fn altered(&mut self, node: i32) -> Altered {
        for _ in 0..100 {
            let board = self.boards.get_mut(&node).expect("a board");
            let running = board.running.as_mut().expect("it runs");
            if let Some(altered) = running.altered.pop() {
                return altered;
            }
            self.run_ms(50);
        }
        panic!("nobody answers: {}", self.text(node));
    }

    /// The quorum as a node sees it.
    pub fn quorum(&self, node: i32) -> Option<DescribeQuorumResponse> {
        let running = self.boards[&node].running.as_ref()?;
        frame::decode(&running.site.describe_quorum()).ok()
    }

    /// The node that all who run say leads.
    pub fn leader(&self) -> Option<i32> {
        let mut leaders = BTreeSet::new();
        for node in self.running() {
            leaders.insert(self.quorum(node)?.leader.0);
        }
        let leader = leaders.pop_first().filter(|leader| 0 <= *leader && leaders.is_empty());
        leader.filter(|leader| self.running().contains(leader))
    }

    /// Whether every node that runs knows so many voters and active brokers, and the same leader.
    pub fn is_whole(&self, voters: usize, brokers: usize) -> bool {
        self.leader().is_some()
            && self.running().into_iter().all(|node| {
                let known = self.quorum(node).map_or(0, |quorum| {
                    let votes = |kind| kind != odradek::wire::quorum::members::MemberKind::Observer;
                    quorum.members.iter().filter(|member| votes(member.kind)).count()
                });
                let active = self.image(node).brokers().filter(|(_, one)| one.is_active()).count();
                known == voters && active == brokers
            })
    }
}

impl Running {
    /// A shard lets go what lives elsewhere, once it knows that nothing later was decided.
    fn let_go(&mut self) {
        if !self.is_current {
            return;
        }
        let node_id = self.site.controller().node_id();
        let image = &self.shard;
        let lives_here = |place: &TopicPartition| {
            let found = image.find_partition(TopicRef::Id(place.topic_id), place.partition);
            found.is_some_and(|(_, partition)| partition.replicas.contains(&node_id))
        };
        let gone: Vec<_> = self.logs.keys().copied().filter(|place| !lives_here(place)).collect();
        for place in gone {
            let log = self.logs.remove(&place).expect("listed just now");
            self.site.retired(Box::new(log));
        }
    }
}

/// Does one thing that a node wants done; what it sends is answered.
fn do_one(
    running: &mut Running,
    disk: &SimDisk,
    now: Now,
    output: ControlOutput<SimDisk>,
) -> Option<(i32, Said)> {
    match output {
        ControlOutput::Prepare(making) => running.makings.push(making),
        ControlOutput::Persist(entry) => running.entries.push(entry),
        ControlOutput::Apply(_, apply) => {
            for change in &apply.changes {
                running.shard.replay(change);
            }
            for log in apply.adopted {
                let replaced = running.logs.insert(log.topic_partition(), log);
                assert!(replaced.is_none(), "a partition has one owner");
            }
            running.is_current |= apply.is_current;
            running.let_go();
            running.site.applied(now, apply.version);
        }
        ControlOutput::Answer(request, body) => {
            running.answers.insert(request.number, body);
        }
        ControlOutput::Remove(log) => {
            let path = log.retire().expect("the disk works");
            disk.remove_dir_all(&path).expect("the disk works");
        }
        ControlOutput::Work(work) => {
            let worked = match work {
                Work::Keep(keeps) => {
                    Worked::Kept(keeps.iter().try_for_each(|keep| keep.run(disk, Path::new(DIR))))
                }
                Work::Cut(cut) => Worked::Cut(cut.run()),
                Work::Load(..) => Worked::Loaded(Ok(())),
                Work::Prove => Worked::Proven(prove(disk, Path::new(DIR))),
            };
            running.site.worked(now, worked);
        }
        ControlOutput::Altered(_, altered) => running.altered.push(altered),
        ControlOutput::Configure | ControlOutput::Inform | ControlOutput::Depart => {}
        ControlOutput::Send(to, said) => return Some((to.0, said)),
    }
    None
}

fn commit(running: &mut Running, now: Now) {
    let entries = std::mem::take(&mut running.entries);
    running.journal.commit(&entries).expect("the disk works");
    if let Some(job) = running.journal.checkpoint_due() {
        let done = job.run().expect("the disk works");
        running.journal.checkpoint_done(done).expect("the disk works");
    }
    for flushed in entries.iter().filter_map(Flushed::of) {
        running.site.flushed(now, &flushed);
    }
}

/// What `runtime::joining` does.
fn boot(disk: &SimDisk, node: i32, count: i32, seed: u64, now: Now) -> Result<Running, SiteError> {
    let path = Path::new(DIR);
    let parameters = OpenParameters {
        node_id: NodeId(node),
        cluster_id: None,
        // Each board its own card.
        random: [(node as u8) << 4 | (seed as u8 & 15); 32],
        now,
        config: TopicConfig::default(),
    };
    let booted = booted::boot(disk, path, 16 << 20, seed, &parameters).expect("boots");
    let Booted { dir, journal, damage, is_unproven, logs, report } = booted;
    let mut found: BTreeMap<TopicPartition, Log<SimDisk>> =
        logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
    let name = TopicName::new(METADATA_TOPIC).expect("legal");
    let mut log = found.remove(&METADATA).unwrap_or_else(|| {
        dir.create(&name, METADATA, metadata_topic_config(), now).expect("creates")
    });
    log.set_config(metadata_topic_config());
    let state = read_state(disk, path).expect("the disk works");
    let snapshot = read_snapshot(disk, path).expect("the disk works");
    let standing = examine(NodeId(node), &log, state, snapshot, damage.is_none());
    assert!(!matches!(standing, Standing::Lost(_)), "node {node}: {standing:?}");
    let start = SiteStart {
        config: site_config(node, count),
        controller: controller_config(node),
        log,
        standing,
        shard_count: 1,
        seed,
        incarnation: seed as u32,
        process: Uuid([seed as u8; 16]),
        directory_id: dir.identity().directory_id,
        cluster_id: Uuid([node as u8; 16]),
    };
    let mut site = Site::start(now, start).map_err(|(why, _)| why)?;
    let image = site.controller().image().clone();
    let is_here = |place: &TopicPartition| {
        image.find_partition(TopicRef::Id(place.topic_id), place.partition).is_some()
    };
    let unclaimed: Vec<TopicPartition> =
        found.keys().copied().filter(|place| !is_here(place)).collect();
    let unclaimed =
        unclaimed.into_iter().map(|place| (place, found.remove(&place).expect("there")));
    site.note_found(FoundCopies {
        unclaimed: unclaimed.collect(),
        unsound: BTreeSet::new(),
        is_unproven,
        was_clean: !report.is_unclean,
    });
    site.note_given(found.keys().copied());
    Ok(Running {
        site,
        journal,
        entries: Vec::new(),
        shard: image,
        is_current: false,
        logs: found,
        answers: BTreeMap::new(),
        makings: Vec::new(),
        altered: Vec::new(),
    })
}

fn site_config(node: i32, count: i32) -> SiteConfig {
    SiteConfig {
        roles: BROKER | CONTROLLER,
        voters: (1..=count).map(NodeId).collect(),
        voters_max: 3,
        may_found: node == 1,
        endpoints: vec![Endpoint {
            protocol: "wire".into(),
            host: format!("board-{node}").into(),
            port: 7092,
        }],
        rack: "".into(),
        timeouts: Timeouts::default(),
        session_timeout_ms: 9000,
        heartbeat_interval_ms: 2000,
        leader_imbalance_check_ms: Some(300_000),
    }
}

/// As in the product, with small numbers.
pub fn controller_config(node: i32) -> ControllerConfig {
    ControllerConfig { partitions_max: 100, ..ControllerConfig::new(NodeId(node)) }
}
