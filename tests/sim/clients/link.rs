//! A client's connections, one to each node, and what was asked on them.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek::broker::ConnectionId;
use odradek::broker::shard::Event as ShardEvent;
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::wire::hello::{HelloRequest, MAGIC};
use odradek::wire::metadata::{MetadataRequest, MetadataResponse};
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader, TopicRef, frame};

use super::{Client, Leaders, Role, TOPICS};
use crate::sim::event::{DialFor, End, Event, NodeNumber};
use crate::sim::world::World;

/// How long an answer may take.
const PATIENCE_US: u64 = 3_000_000;

/// What was asked, as the client names it.
#[derive(Clone, Debug)]
pub enum Asked {
    Hello,
    Metadata,
    /// Whatever the client's role wants; by its own number.
    Role(u64),
}

struct Question {
    asked: Asked,
    deadline: u64,
}

enum Stage {
    Dialing,
    Up(u64),
}

struct Peer {
    stage: Stage,
    questions: BTreeMap<u32, Question>,
    waiting: Vec<Bytes>,
    /// Fails to connect until then.
    rest_until: u64,
}

/// See the module.
pub struct Link {
    client: u32,
    peers: BTreeMap<NodeNumber, Peer>,
    next: u32,
    wants_metadata: bool,
    metadata_at: u64,
}

impl Link {
    pub fn new(client: u32) -> Link {
        Link { client, peers: BTreeMap::new(), next: 0, wants_metadata: true, metadata_at: 0 }
    }

    /// What the leaders are is to be asked anew.
    pub fn doubt(&mut self) {
        self.wants_metadata = true;
    }

    /// Asks a node; the answer comes, or the news that none will.
    pub fn ask(
        &mut self,
        world: &mut World,
        node: NodeNumber,
        api: ApiKey,
        (body, raw): (&impl serde::Serialize, &[u8]),
        asked: Option<Asked>,
    ) {
        self.next += 1;
        let number = self.next;
        let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id: number };
        let mut bytes = Vec::new();
        frame::encode(&header, body, raw.len(), &mut bytes);
        bytes.extend_from_slice(raw);
        // A member that joins waits for the others.
        let is_slow = matches!(api, ApiKey::JoinGroup | ApiKey::SyncGroup);
        let deadline = world.us + if is_slow { PATIENCE_US * 5 } else { PATIENCE_US };
        if !self.peers.contains_key(&node) {
            self.dial(world, node);
        }
        let peer = self.peers.get_mut(&node).expect("dialled just now");
        if let Some(asked) = asked {
            peer.questions.insert(number, Question { asked, deadline });
            world.at(deadline, Event::Client(self.client, 1));
        }
        match peer.stage {
            Stage::Dialing => peer.waiting.push(bytes.into()),
            Stage::Up(conn) => world.send(conn, 0, bytes.into()),
        }
    }

    fn dial(&mut self, world: &mut World, node: NodeNumber) {
        let own = End::Client(self.client).place();
        let us = world.dial_us(own, node);
        world.at(world.us + us, Event::Dialed(DialFor::Client(self.client), node));
        let peer = Peer {
            stage: Stage::Dialing,
            questions: BTreeMap::new(),
            waiting: Vec::new(),
            rest_until: 0,
        };
        self.peers.insert(node, peer);
        self.next += 1;
        let header = RequestHeader {
            api_key: ApiKey::Hello as u8,
            api_version: 0,
            correlation_id: self.next,
        };
        let mut bytes = Vec::new();
        let hello = HelloRequest { magic: MAGIC, client_id: "sim", features: 0 };
        frame::encode(&header, &hello, 0, &mut bytes);
        let peer = self.peers.get_mut(&node).expect("put there just now");
        peer.waiting.push(bytes.into());
        let deadline = world.us + PATIENCE_US;
        peer.questions.insert(self.next, Question { asked: Asked::Hello, deadline });
    }

    /// Asks for the leaders, if that is wanted.
    pub fn refresh(&mut self, world: &mut World) -> bool {
        if !self.wants_metadata {
            return true;
        }
        if world.us < self.metadata_at {
            return false;
        }
        let rest = 50_000 + world.random.below(250_000);
        self.metadata_at = world.us + rest;
        world.at(self.metadata_at, Event::Client(self.client, 2));
        let is_free =
            |node: &NodeNumber| self.peers.get(node).is_none_or(|peer| peer.rest_until <= world.us);
        let nodes: Vec<NodeNumber> = world.nodes().filter(is_free).collect();
        if nodes.is_empty() {
            return false;
        }
        let node = nodes[world.random.below(nodes.len() as u64) as usize];
        let topics = TOPICS.iter().map(|(name, _)| TopicRef::Name(name)).collect();
        let body = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false };
        self.ask(world, node, ApiKey::Metadata, (&body, &[]), Some(Asked::Metadata));
        false
    }
}

impl Client {
    /// Gives up on what has waited for too long, and on the connections it waited on.
    pub fn expire(&mut self, world: &mut World) {
        let now = world.us;
        let is_late = |peer: &Peer| peer.questions.values().any(|one| one.deadline <= now);
        let peers = self.link.peers.iter();
        let late: Vec<NodeNumber> =
            peers.filter(|(_, peer)| is_late(peer)).map(|(node, _)| *node).collect();
        for node in late {
            self.drop_peer(world, node);
        }
    }

    fn drop_peer(&mut self, world: &mut World, node: NodeNumber) {
        let Some(peer) = self.link.peers.remove(&node) else { return };
        if let Stage::Up(conn) = peer.stage {
            world.close_conn(conn, 0);
        }
        self.link.doubt();
        for question in peer.questions.into_values() {
            if let Asked::Role(token) = question.asked {
                self.unanswered(world, token);
            }
        }
    }

    /// A connection is gone.
    pub fn lost(&mut self, world: &mut World, conn: u64) {
        let is_it = |peer: &Peer| matches!(peer.stage, Stage::Up(open) if open == conn);
        let found = self.link.peers.iter().find(|(_, peer)| is_it(peer));
        if let Some(node) = found.map(|(node, _)| *node) {
            self.drop_peer(world, node);
        }
    }

    /// An attempt to connect is over.
    pub fn dialed(&mut self, world: &mut World, node: NodeNumber) {
        let own = End::Client(self.id);
        let Some(peer) = self.link.peers.get_mut(&node) else { return };
        if !matches!(peer.stage, Stage::Dialing) {
            return;
        }
        let is_path = world.is_path(own.place(), node);
        let is_awake = world.boards.get(&node).is_some_and(|one| one.paused_until <= world.us);
        let life = world.running(node).filter(|_| is_path && is_awake).map(|one| one.life);
        let Some(life) = life else {
            self.drop_peer(world, node);
            world.at(world.us + 200_000, Event::Client(self.id, 3));
            return;
        };
        let shard_count = u64::from(world.plan.shard_count(node));
        let shard = world.random.below(shard_count) as u16;
        let conn = world.connect(own, End::Shard(life, shard));
        let opened = ShardEvent::Opened {
            connection: ConnectionId(conn * 2 + 1),
            local_host: format!("board-{node}").into(),
            local_port: 7092,
            peer_host: "/10.0.0.1".into(),
            has_door: false,
        };
        world.at(world.us, Event::Shard(life, shard, Box::new(opened)));
        peer.stage = Stage::Up(conn);
        for frame in std::mem::take(&mut peer.waiting) {
            world.send(conn, 0, frame);
        }
    }

    /// A frame came.
    pub fn take(&mut self, world: &mut World, conn: u64, bytes: &Bytes) {
        let is_it = |peer: &Peer| matches!(peer.stage, Stage::Up(open) if open == conn);
        let found = self.link.peers.iter_mut().find(|(_, peer)| is_it(peer));
        let Some((&node, peer)) = found else { return };
        let bytes = &bytes[FRAME_PREFIX_BYTES..];
        let (header, body): (ResponseHeader, _) = frame::take(bytes).expect("a response");
        let Some(question) = peer.questions.remove(&header.correlation_id) else { return };
        match question.asked {
            Asked::Hello => {}
            Asked::Metadata => self.learn(world, body),
            Asked::Role(token) => self.answered(world, node, token, body),
        }
    }

    fn learn(&mut self, world: &mut World, body: &[u8]) {
        let response: MetadataResponse<'_> = frame::decode(body).expect("metadata");
        let mut leaders = Leaders::default();
        let mut is_whole = true;
        for topic in &response.topics {
            let Some(place) = TOPICS.iter().position(|(name, _)| *name == topic.name) else {
                is_whole = false;
                continue;
            };
            self.topic_ids.insert(place as u8, topic.topic_id);
            is_whole &= topic.error.is_ok();
            for partition in &topic.partitions {
                let lane = (place as u8, partition.partition.0);
                let told = (partition.leader.0, partition.leader_epoch);
                // Whoever says so may not have heard yet what this client has (KIP-320).
                let newest = self.epochs.entry(lane).or_insert(told.1);
                *newest = told.1.max(*newest);
                let known =
                    if told.1 < *newest { self.leaders.0.get(&lane).copied() } else { Some(told) };
                match known.filter(|known| 0 < known.0) {
                    Some(known) => _ = leaders.0.insert(lane, known),
                    None => is_whole = false,
                }
            }
        }
        self.leaders = leaders;
        self.link.wants_metadata = !is_whole;
        if !is_whole {
            world.at(self.link.metadata_at, Event::Client(self.id, 2));
        }
    }

    fn unanswered(&mut self, world: &mut World, token: u64) {
        match &mut self.role {
            Role::Producer(producer) => producer.unanswered(world, token),
            Role::Reader(reader) => reader.unanswered(token),
            Role::Admin(admin) => admin.unanswered(world),
            Role::Operator(operator) => operator.unanswered(world),
            Role::Member(member) => member.unanswered(world, token),
        }
    }

    fn answered(&mut self, world: &mut World, node: NodeNumber, token: u64, body: &[u8]) {
        let is_doubtful = match &mut self.role {
            Role::Producer(producer) => producer.answered(world, node, token, body),
            Role::Reader(reader) => reader.answered(world, token, body),
            Role::Admin(admin) => admin.answered(world, body),
            Role::Operator(operator) => operator.answered(world, body),
            Role::Member(member) => member.answered(world, node, token, body),
        };
        if is_doubtful {
            self.link.doubt();
        }
    }
}
