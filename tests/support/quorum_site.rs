//! A site of quorum nodes over a simulated clock, network and disks. One seed, one history.
//!
//! Every message is encoded and decoded on its way. After each event the checker looks at every
//! invariant; `lines` collects what happened, for transcripts, and `trace` a digest of it.

#![allow(dead_code, reason = "each test uses a part of it")]

#[path = "quorum_checker.rs"]
pub mod checker;
#[path = "quorum_disk.rs"]
pub mod disk;
#[path = "quorum_words.rs"]
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use odradek::ids::NodeId;
use odradek::quorum::entry::{self, EntryKind};
use odradek::quorum::message::Body;
use odradek::quorum::{
    Base, Input, Leadership, Message, Output, ProposeError, Quorum, Reads, Role, Snapshot, Start,
    Timeouts, VoterId,
};
use odradek::time::{Boot, Now, Timestamp};
use odradek::wire::quorum::members::MemberChange;

use checker::{Checker, Seen};
use disk::{Kept, QuorumDisk};

/// How bad the network and the disks are.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a thousand messages so many are lost.
    pub loss: u64,
    /// And so many come twice.
    pub duplicates: u64,
    /// A message takes at least so long.
    pub delay_us_min: u64,
    /// And at most so long; those that take long are overtaken.
    pub delay_us_max: u64,
    /// A sync takes at most so long.
    pub sync_us_max: u64,
}

impl Weather {
    /// Everything comes, in order, a millisecond later.
    pub const CALM: Weather = Weather {
        loss: 0,
        duplicates: 0,
        delay_us_min: 1000,
        delay_us_max: 1000,
        sync_us_max: 1000,
    };
}

/// The controller of a node: it replays what is committed and remembers a digest of it.
#[derive(Clone, Copy, Debug)]
struct Replayed {
    next_offset: i64,
    digest: u64,
}

struct Node {
    id: VoterId,
    is_witness: bool,
    disk: QuorumDisk,
    quorum: Option<Quorum>,
    replayed: Replayed,
    runs_since: Boot,
    paused_until: Boot,
    heard: BTreeMap<VoterId, Boot>,
    leader_heard: Boot,
    /// Who asked about which epoch while this node heard no leader.
    may_grant: BTreeSet<(VoterId, u64)>,
    start_count: u64,
}

/// The whole of it.
pub struct Site {
    /// The present.
    pub now: Boot,
    /// Network and disks.
    pub weather: Weather,
    /// The invariants.
    pub checker: Checker,
    /// What happened, when somebody wants to read it.
    pub lines: Option<Vec<String>>,
    /// A digest of all that happened.
    pub trace: u64,
    /// Bytes that an image is padded with.
    pub image_bytes: usize,
    /// Builds a fault into every node that starts.
    pub sabotage: fn(&mut Quorum),
    /// A node with an empty disk takes its old identity: what a site must not allow.
    pub wiped_keep_their_id: bool,
    timeouts: Timeouts,
    nodes: BTreeMap<i32, Node>,
    flights: BTreeMap<(Boot, u64), (i32, i32, Bytes)>,
    sequence: u64,
    cuts: BTreeSet<(i32, i32)>,
    seed: u64,
    random: u64,
}

impl Site {
    /// A site whose voters are `founders`; node ids with one incarnation.
    pub fn new(seed: u64, founders: &[i32], weather: Weather) -> Site {
        // A storm is to have as many elections as it can.
        let impatient = Timeouts { silence_ms_max: 0, ..Timeouts::default() };
        Site::with(seed, founders, weather, impatient)
    }

    /// The same with other timeouts.
    pub fn with(seed: u64, founders: &[i32], weather: Weather, timeouts: Timeouts) -> Site {
        let ids: Vec<VoterId> = founders.iter().map(|&node| id(node, 1)).collect();
        // A leader looks around once a lease, and its ticks may come late.
        let lonely_ms_max = 3 * timeouts.lease_ticks as u64 * timeouts.tick_ms;
        let mut site = Site {
            now: Boot(1_000_000),
            weather,
            checker: Checker::new(&ids, lonely_ms_max),
            lines: None,
            trace: 0,
            image_bytes: 0,
            sabotage: |_| {},
            wiped_keep_their_id: false,
            timeouts,
            nodes: BTreeMap::new(),
            flights: BTreeMap::new(),
            sequence: 0,
            cuts: BTreeSet::new(),
            seed,
            random: seed,
        };
        for &voter in &ids {
            site.add(voter, false, Kept::bootstrapped(&ids));
        }
        site
    }

    /// Another node, switched off, with something on its disk.
    pub fn add(&mut self, id: VoterId, is_witness: bool, kept: Kept) {
        let node = Node {
            id,
            is_witness,
            disk: QuorumDisk::new(kept),
            quorum: None,
            replayed: Replayed { next_offset: 0, digest: 0 },
            runs_since: Boot(0),
            paused_until: Boot(0),
            heard: BTreeMap::new(),
            leader_heard: Boot(0),
            may_grant: BTreeSet::new(),
            start_count: 0,
        };
        self.nodes.insert(id.node_id.0, node);
    }

    /// The next number below `end`.
    pub fn random(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let line = line();
            // A refusal is worth one line, however often it happens.
            if !line.contains(" refuses ") || !lines.contains(&line) {
                lines.push(line);
            }
        }
    }

    /// Switches a node on.
    pub fn start(&mut self, node: i32) {
        let (seed, now, timeouts) = (self.seed, self.wall(), self.timeouts);
        let one = self.nodes.get_mut(&node).expect("a node");
        one.start_count += 1;
        let kept = one.disk.durable.clone();
        one.replayed = replayed_of(&kept.base);
        let start = Start {
            id: one.id,
            is_witness: one.is_witness,
            reads: READS,
            timeouts,
            seed: seed ^ ((node as u64) << 32) ^ (one.start_count << 48),
            hard_state: kept.hard_state,
            base: kept.base,
            batches: kept.batches,
        };
        let mut quorum = Quorum::start(now, start).expect("a disk that was synced is sound");
        (self.sabotage)(&mut quorum);
        one.quorum = Some(quorum);
        (one.runs_since, one.paused_until) = (self.now, Boot(0));
        one.heard.clear();
        one.leader_heard = Boot(0);
        self.act(node);
        self.introduce();
    }

    /// Tells everybody of everybody.
    fn introduce(&mut self) {
        let ids: Vec<VoterId> = self.nodes.values().map(|node| node.id).collect();
        for node in self.running() {
            for &id in &ids {
                self.step(node, Input::Introduce(id));
            }
        }
    }

    /// Takes the power from a node; `survivors` of its unsynced writes are on the disk all the same.
    pub fn cut_power(&mut self, node: i32, survivors: u64) {
        let one = self.nodes.get_mut(&node).expect("a node");
        one.quorum = None;
        one.disk.cut(survivors);
        self.checker.stopped(one.id);
    }

    /// A node learns that another's process is gone.
    pub fn vanished(&mut self, node: i32, gone: i32) {
        self.step(node, Input::Vanished(NodeId(gone)));
    }

    /// An empty card in a node that is off.
    pub fn wipe(&mut self, node: i32) {
        let keeps = self.wiped_keep_their_id;
        let one = self.nodes.get_mut(&node).expect("a node");
        if !keeps {
            one.id.incarnation += 1;
        }
        one.disk = QuorumDisk::new(Kept::nothing());
    }

    /// The process of a node stands still for a while.
    pub fn pause(&mut self, node: i32, ms: u64) {
        let until = self.now.plus_ms(ms);
        self.nodes.get_mut(&node).expect("a node").paused_until = until;
    }

    /// Nothing goes from one node to another any more, or again.
    pub fn set_cut(&mut self, from: i32, to: i32, is_cut: bool) {
        match is_cut {
            true => self.cuts.insert((from, to)),
            false => self.cuts.remove(&(from, to)),
        };
    }

    /// Everything goes everywhere again.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The disk of a node, to slow it down.
    pub fn disk(&mut self, node: i32) -> &mut QuorumDisk {
        &mut self.nodes.get_mut(&node).expect("a node").disk
    }

    /// The nodes that are on.
    pub fn running(&self) -> Vec<i32> {
        let on = self.nodes.iter().filter(|(_, node)| node.quorum.is_some());
        on.map(|(&node, _)| node).collect()
    }

    /// All nodes.
    pub fn all(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// A node that is on.
    pub fn quorum(&self, node: i32) -> Option<&Quorum> {
        self.nodes.get(&node).and_then(|node| node.quorum.as_ref())
    }

    /// Whether a node would still know after a power cut who belongs to the quorum.
    pub fn knows_members_for_good(&self, node: i32) -> bool {
        let durable = &self.nodes[&node].disk.durable;
        let is_change = |agreed: &checker::Agreed| {
            matches!(entry::kind_of(&agreed.batch), Some(EntryKind::Members(_)))
        };
        let changes = self.checker.agreed.iter().filter(|(_, agreed)| is_change(agreed));
        changes.map(|(offset, _)| *offset).max().is_none_or(|last| {
            last < durable.hard_state.high_watermark.0
                || durable.base_place().is_some_and(|(base, _)| last <= base)
        })
    }

    /// Who a node is.
    pub fn id_of(&self, node: i32) -> VoterId {
        self.nodes[&node].id
    }

    /// Whether a node holds no data.
    pub fn is_witness(&self, node: i32) -> bool {
        self.nodes[&node].is_witness
    }

    /// What a node has replayed: the next offset, and a digest.
    pub fn replayed(&self, node: i32) -> (i64, u64) {
        let Replayed { next_offset, digest } = self.nodes[&node].replayed;
        (next_offset, digest)
    }

    /// The leader of the newest epoch, among those that are on.
    pub fn leader(&self) -> Option<i32> {
        let leads = |node: &i32| {
            let leadership = self.quorum(*node)?.leadership();
            (leadership.role == Role::Leader).then_some((leadership.epoch, *node))
        };
        self.running().iter().filter_map(leads).max().map(|(_, node)| node)
    }

    /// Proposes at a node.
    pub fn propose(&mut self, node: i32, value: &[u8]) -> Result<i64, ProposeError> {
        let now = self.wall();
        let quorum = self.nodes.get_mut(&node).and_then(|node| node.quorum.as_mut());
        let outcome = quorum.ok_or(ProposeError::NotLeader)?.propose(now, value);
        self.act(node);
        outcome.map(|offset| offset.0)
    }

    /// Takes a step between sets of members at a node.
    pub fn change(&mut self, node: i32, change: MemberChange) -> String {
        let now = self.wall();
        let Some(quorum) = self.nodes.get_mut(&node).and_then(|node| node.quorum.as_mut()) else {
            return "off".into();
        };
        let outcome = quorum.change_members(now, change);
        let high_watermark = quorum.high_watermark().0;
        if let (MemberChange::Promote { id, .. }, Ok(_)) = (change, outcome) {
            self.checker.promoted(id, high_watermark);
        }
        self.act(node);
        match outcome {
            Ok(offset) => format!("offset {offset}"),
            Err(why) => format!("{why:?}"),
        }
    }

    /// Leadership goes to another.
    pub fn hand_over(&mut self, node: i32) {
        let now = self.wall();
        if let Some(quorum) = self.nodes.get_mut(&node).and_then(|node| node.quorum.as_mut()) {
            quorum.hand_over(now);
        }
        self.act(node);
    }

    fn wall(&self) -> Now {
        Now { boot: self.now, wall: Timestamp(self.now.0 as i64 / 1000), wall_trusted: true }
    }

    /// Runs for so long, or until an invariant is broken.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.checker.violation.is_none() {
            let Some((at, event)) = self.next_event().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<(Boot, Event)> {
        let flight = self.flights.keys().next().map(|key| (key.0, Event::Arrival(*key)));
        let nodes = self.nodes.iter().filter(|(_, node)| node.quorum.is_some());
        let of_nodes = nodes.flat_map(|(&number, node)| {
            let deadline = node.quorum.as_ref().map_or(Boot::NEVER, Quorum::next_deadline);
            [
                (node.disk.sync_at.max(node.paused_until), Event::Synced(number)),
                (deadline.max(node.paused_until), Event::Time(number)),
            ]
        });
        flight.into_iter().chain(of_nodes).filter(|(at, _)| *at < Boot::NEVER).min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Synced(node) => {
                let (now, latency) = (self.now, self.sync_us());
                let number = self.disk(node).synced(now, latency);
                self.step(node, Input::Persisted(number));
            }
            Event::Time(node) => self.step(node, Input::Time),
            Event::Arrival(key) => {
                let (from, to, frame) = self.flights.remove(&key).expect("it is under way");
                let Some(node) = self.nodes.get(&to) else { return };
                if self.now < node.paused_until {
                    // It waits in the socket.
                    self.sequence += 1;
                    let key = (node.paused_until.plus_us(1), self.sequence);
                    self.flights.insert(key, (from, to, frame));
                } else if node.quorum.is_some() {
                    let message = Message::decode(&frame.slice(4..)).expect("our own frame");
                    self.hear(to, message);
                }
            }
        }
    }

    /// A node reads a message.
    pub fn hear(&mut self, to: i32, message: Message) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&to) else { return };
        let Some(quorum) = &node.quorum else { return };
        let before = quorum.leadership();
        if message.envelope.to == node.id {
            node.heard.insert(message.envelope.from, now);
            let is_leaders =
                matches!(message.body, Body::HeartbeatRequest { .. } | Body::AppendRequest { .. });
            if is_leaders && before.epoch.0 as u64 <= message.envelope.epoch {
                node.leader_heard = now;
            }
        }
        let is_pre_vote = matches!(message.body, Body::VoteRequest { is_pre_vote: true, .. });
        let lease_ms = self.timeouts.lease_ticks as u64 * self.timeouts.tick_ms;
        let follows = before.role == Role::Follower && before.leader.is_some();
        // Ticks are coarse.
        let is_within_lease = follows && now.ms_since(node.leader_heard) + 100 < lease_ms;
        // Its question comes late, and it leads by now.
        let is_late = before.leader == Some(message.envelope.from);
        if is_pre_vote && (is_late || !is_within_lease) {
            node.may_grant.insert((message.envelope.from, message.envelope.epoch));
        }
        self.digest(&[to as u64, message.envelope.epoch]);
        self.step(to, Input::Message(message));
        if let (true, Some(quorum)) = (is_pre_vote, self.quorum(to)) {
            let after = quorum.leadership().epoch;
            let id = quorum.id();
            self.checker.pre_voted(id, before.epoch, after);
        }
    }

    fn step(&mut self, node: i32, input: Input) {
        let now = self.wall();
        let Some(quorum) = self.nodes.get_mut(&node).and_then(|node| node.quorum.as_mut()) else {
            return;
        };
        quorum.step(now, input);
        self.act(node);
    }

    /// Does what a node wants done, and looks at it.
    fn act(&mut self, node: i32) {
        loop {
            let one = self.nodes.get_mut(&node).expect("a node");
            let Some(quorum) = &mut one.quorum else { return };
            let outputs: Vec<Output> = std::iter::from_fn(|| quorum.poll()).collect();
            let mut is_image_wanted = false;
            for output in outputs {
                is_image_wanted |= matches!(output, Output::WantImage);
                self.carry_out(node, output);
            }
            if !is_image_wanted {
                break;
            }
            let image = self.image_of(node);
            let (now, one) = (self.wall(), self.nodes.get_mut(&node).expect("a node"));
            one.quorum.as_mut().expect("it is on").step(now, Input::Image(image));
        }
        let one = &self.nodes[&node];
        let quorum = one.quorum.as_ref().expect("it is on");
        let seen = Seen {
            quorum,
            durable: &one.disk.durable,
            written: &one.disk.written,
            heard: &one.heard,
            runs_since: one.runs_since.max(one.paused_until),
        };
        self.checker.after(&seen, self.now);
    }

    fn carry_out(&mut self, node: i32, output: Output) {
        if self.lines.is_some() {
            if let Some(line) = words::output(node, &output) {
                self.say(|| line);
            }
        }
        let (now, latency) = (self.now, self.sync_us());
        let one = self.nodes.get_mut(&node).expect("a node");
        match output {
            Output::Persist(persist) => {
                let number = persist.number;
                one.disk.write(persist, now, latency);
                self.digest(&[node as u64, number]);
            }
            Output::Send(message) => self.send(node, &message),
            Output::Committed(committed) => {
                let replayed = &mut one.replayed;
                assert_eq!(committed.offset.0, replayed.next_offset, "without gaps");
                replayed.next_offset += 1;
                replayed.digest = fold(replayed.digest, &committed.batch);
                let (id, digest) = (one.id, replayed.digest);
                self.checker.committed(id, &committed, digest);
                self.digest(&[node as u64, digest]);
            }
            Output::Restore(snapshot) => {
                one.replayed = replayed_of(&Base::Snapshot(snapshot));
                let (id, Replayed { next_offset, digest }) = (one.id, one.replayed);
                self.checker.restored(id, next_offset - 1, digest);
            }
            Output::Leadership(Leadership { epoch, role, .. }) => {
                self.digest(&[node as u64, epoch.0 as u64, role as u64]);
            }
            Output::Refused(..) | Output::WantImage => {}
        }
    }

    fn send(&mut self, node: i32, message: &Message) {
        let one = &self.nodes[&node];
        // The grant itself may have waited for a disk, and the leader be back since.
        let may_grant = one.may_grant.contains(&(message.envelope.to, message.envelope.epoch));
        self.checker.sent(message, &one.disk.durable, may_grant);
        let frame = Bytes::from(message.encode());
        let decoded = Message::decode(&frame.slice(4..));
        assert_eq!(decoded.as_ref(), Ok(message), "a message survives the wire");
        let to = message.envelope.to.node_id.0;
        let copies = 1 + u64::from(self.random(1000) < self.weather.duplicates);
        for _ in 0..copies {
            let is_lost = self.random(1000) < self.weather.loss;
            let spread = self.weather.delay_us_max - self.weather.delay_us_min + 1;
            let delay = self.weather.delay_us_min + self.random(spread);
            if !is_lost && !self.cuts.contains(&(node, to)) {
                self.sequence += 1;
                let key = (self.now.plus_us(delay), self.sequence);
                self.flights.insert(key, (node, to, frame.clone()));
            }
        }
    }

    fn sync_us(&mut self) -> u64 {
        let most = self.weather.sync_us_max;
        if self.weather.delay_us_min == self.weather.delay_us_max {
            most
        } else {
            self.random(most)
        }
    }

    fn image_of(&self, node: i32) -> Bytes {
        let Replayed { next_offset, digest } = self.nodes[&node].replayed;
        let mut image = (next_offset - 1).to_be_bytes().to_vec();
        image.extend(digest.to_be_bytes());
        image.resize(16 + self.image_bytes, 0);
        image.into()
    }

    fn digest(&mut self, words: &[u64]) {
        for word in words.iter().chain(&[self.now.0]) {
            self.trace = fold(self.trace, &word.to_be_bytes());
        }
    }
}

/// What these nodes can read: any value, and what [`Site::image_of`] makes.
const READS: Reads = Reads { changes: |_| true, image: |bytes| 16 <= bytes.len() };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Synced(i32),
    Arrival((Boot, u64)),
    Time(i32),
}

/// A voter.
pub fn id(node: i32, incarnation: u32) -> VoterId {
    VoterId { node_id: NodeId(node), incarnation }
}

fn replayed_of(base: &Base) -> Replayed {
    match base {
        Base::Nothing => Replayed { next_offset: 0, digest: 0 },
        Base::Bootstrap { .. } => Replayed { next_offset: 1, digest: 0 },
        Base::Snapshot(Snapshot { last_offset, image, .. }) => {
            let word = |at: usize| image[at..at + 8].try_into().expect("eight bytes");
            assert_eq!(i64::from_be_bytes(word(0)), last_offset.0, "the image of that offset");
            let digest = u64::from_be_bytes(word(8));
            Replayed { next_offset: last_offset.0 + 1, digest }
        }
    }
}

fn fold(digest: u64, bytes: &[u8]) -> u64 {
    let step = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(digest ^ 0xcbf2_9ce4_8422_2325, step)
}
