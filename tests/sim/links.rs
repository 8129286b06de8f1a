//! The links of the quorum, as `runtime::site::links` keeps them, and how shards and clients connect.

use std::path::Path;

use odradek::broker::ConnectionId;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::Event as ShardEvent;
use odradek::ids::{NodeId, Uuid};
use odradek::wire::peer::hello::PeerIdentity;

use odradek::journal::disk::Disk;

use super::event::{DialFor, End, Event, Life, NodeNumber};
use super::node::DIR;
use super::world::World;

/// Appends stop when less is free.
const SPACE_RESERVE: u64 = 200_000;

/// How often a node looks whom to dial.
const LOOK_US: u64 = 200_000;

fn are_apart(own: &PeerIdentity, other: &PeerIdentity) -> bool {
    own.cluster_id != other.cluster_id
        && own.cluster_id != Uuid::ZERO
        && other.cluster_id != Uuid::ZERO
}

impl World {
    /// As the control thread does: shards are told when the disk runs full, and when it has room.
    fn look_at_space(&mut self, life: Life) {
        let space = self.boards[&life.node].disk.space(Path::new(DIR)).expect("it always says");
        let has_space = SPACE_RESERVE <= space.free_bytes;
        let Some(running) = self.life(life) else { return };
        if std::mem::replace(&mut running.has_space, has_space) == has_space {
            return;
        }
        self.trace.note(|| format!("the disk of node {} has room: {has_space}", life.node));
        for shard in 0..self.plan.shard_count(life.node) {
            self.mail_shard(life, 0, ShardId(shard), ShardEvent::Space(has_space));
        }
    }

    /// Dials who is due: of two nodes the one with the higher number does.
    pub fn look_at_links(&mut self, life: Life) {
        self.look_at_space(life);
        let now = self.us;
        let mut due = Vec::new();
        let nodes: Vec<NodeNumber> = self.nodes().filter(|node| *node < life.node).collect();
        let Some(running) = self.life(life) else { return };
        for node in nodes {
            let is_free = running.dialling.get(&node).is_none_or(|until| *until <= now);
            if !running.links.contains_key(&node) && is_free {
                running.dialling.insert(node, now + 3_000_000);
                due.push(node);
            }
        }
        for node in due {
            let us = self.dial_us(life.node, node) * 3 / 2;
            self.at(self.us + us, Event::Dialed(DialFor::Quorum(life), node));
        }
        let at = self.soon(LOOK_US / 2, LOOK_US);
        self.at(at, Event::Links(life));
    }

    /// Both processes, if each reaches the other and runs.
    fn meet(&self, near: Life, node: NodeNumber) -> Option<(PeerIdentity, PeerIdentity, Life)> {
        let ours = self.running(near.node).filter(|running| running.life == near)?;
        let theirs = self.running(node)?;
        let is_awake = self.boards.get(&node)?.paused_until <= self.us;
        if !self.is_path(near.node, node) || !is_awake {
            return None;
        }
        let (own, other) = (ours.site.identity(), theirs.site.identity());
        (!are_apart(&own, &other)).then_some((own, other, theirs.life))
    }

    /// A dial for the quorum is over.
    pub fn quorum_dialed(&mut self, life: Life, node: NodeNumber) {
        let met = self.meet(life, node);
        let again = self.us + 100_000;
        let Some(running) = self.life(life) else { return };
        running.dialling.insert(node, again);
        let Some((own, other, theirs)) = met else { return };
        let number = self.connect(End::Control(life), End::Control(theirs));
        self.adopt(life, node, (number, 0), other);
        self.adopt(theirs, life.node, (number, 1), own);
    }

    /// A link takes the place of the old one.
    fn adopt(&mut self, life: Life, peer: NodeNumber, link: (u64, usize), identity: PeerIdentity) {
        let now = self.now(life.node);
        let running = self.life(life).expect("it has just met somebody");
        let old = running.links.insert(peer, link);
        running.site.linked(now, identity);
        if let Some((number, side)) = old {
            self.close_conn(number, side);
        }
        self.trace.note(|| format!("node {} is linked with {peer}", life.node));
        self.wake_control(life);
    }

    /// Has a control machine's outputs taken in a moment.
    fn wake_control(&mut self, life: Life) {
        let at = self.us + 1;
        if let Some(running) = self.life(life) {
            if at < running.wakes[0] {
                running.wakes[0] = at;
                self.at(at, Event::Wake(life, 0));
            }
        }
    }

    /// A link broke.
    pub fn link_gone(&mut self, life: Life, number: u64) {
        let now = self.now(life.node);
        let Some(running) = self.life(life) else { return };
        let peer = running.links.iter().find(|(_, link)| link.0 == number);
        let Some(peer) = peer.map(|(peer, _)| *peer) else { return };
        running.links.remove(&peer);
        running.site.unlinked(now, NodeId(peer));
        self.trace.note(|| format!("node {} has lost its link with {peer}", life.node));
        self.wake_control(life);
    }

    /// A dial of a shard is over.
    pub fn replica_dialed(&mut self, life: Life, shard: u16, node: NodeNumber) {
        let met = self.meet(life, node);
        let connection = met.map(|(.., theirs)| {
            let at = self.random.below(u64::from(self.plan.shard_count(node))) as u16;
            let number = self.connect(End::Shard(life, shard), End::Shard(theirs, at));
            let far = ConnectionId(number * 2 + 1);
            let event = ShardEvent::Peered(NodeId(life.node), far);
            self.at(self.us, Event::Shard(theirs, at, Box::new(event)));
            ConnectionId(number * 2)
        });
        let event = ShardEvent::Dialed(NodeId(node), connection);
        self.at(self.us, Event::Shard(life, shard, Box::new(event)));
    }

    /// Breaks every connection between two places, as a reset would.
    pub fn reset_between(&mut self, a: i32, b: i32) {
        let is_meant = |ends: &[End; 2]| {
            let places = (ends[0].place(), ends[1].place());
            places == (a, b) || places == (b, a)
        };
        let conns = self.net.conns.iter().filter(|(_, conn)| is_meant(&conn.ends));
        let numbers: Vec<u64> = conns.map(|(number, _)| *number).collect();
        for number in numbers {
            self.break_conn(number);
        }
    }
}
