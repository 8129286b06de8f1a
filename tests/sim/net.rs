//! The network: connections that keep their order, lose nothing while they live and break when the
//! path is cut for long; of different connections anything may overtake anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::event::{End, Event};
use super::world::World;

/// How long bytes may stay unconfirmed (`TCP_USER_TIMEOUT`).
const DEAD_AFTER_US: u64 = 5_000_000;

/// The first pause before something is sent again.
const RETRANSMIT_US: u64 = 200_000;

/// One direction of a connection.
#[derive(Default)]
struct Way {
    frames: VecDeque<(u64, Bytes)>,
    last_arrival: u64,
    is_scheduled: bool,
    /// Since when nothing gets through, and the present pause.
    blocked: Option<(u64, u64)>,
}

/// A connection; its ends know it by twice its number, and one more.
pub struct Conn {
    pub ends: [End; 2],
    ways: [Way; 2],
}

/// All of them, and what is wrong with the paths.
#[derive(Default)]
pub struct Net {
    pub conns: BTreeMap<u64, Conn>,
    next: u64,
    /// Nothing goes from one place to another.
    pub cuts: BTreeSet<(i32, i32)>,
    /// Everything takes so much longer.
    pub slow: BTreeMap<(i32, i32), u64>,
    /// Of a thousand frames so many are lost, and sent again.
    pub loss: u64,
    pub latency_us: u64,
    pub jitter_us: u64,
}

impl World {
    fn latency(&mut self, from: i32, to: i32) -> u64 {
        let (latency, jitter, loss) = (self.net.latency_us, self.net.jitter_us, self.net.loss);
        let mut us = latency + self.random.below(jitter.max(1));
        if self.random.below(1000) < loss {
            us += RETRANSMIT_US << self.random.below(3);
        }
        us + self.net.slow.get(&(from, to)).copied().unwrap_or(0)
    }

    /// Whether packets go both ways.
    pub fn is_path(&self, a: i32, b: i32) -> bool {
        !self.net.cuts.contains(&(a, b)) && !self.net.cuts.contains(&(b, a))
    }

    /// A connection between two ends.
    pub fn connect(&mut self, near: End, far: End) -> u64 {
        self.net.next += 1;
        let conn = Conn { ends: [near, far], ways: [Way::default(), Way::default()] };
        self.net.conns.insert(self.net.next, conn);
        self.net.next
    }

    /// How long it takes to connect, there and back.
    pub fn dial_us(&mut self, from: i32, to: i32) -> u64 {
        self.latency(from, to) + self.latency(to, from)
    }

    /// Sends a frame from one end.
    pub fn send(&mut self, number: u64, side: usize, frame: Bytes) {
        let Some(conn) = self.net.conns.get(&number) else { return };
        let conn_ends = conn.ends;
        let (from, to) = (conn.ends[side].place(), conn.ends[1 - side].place());
        let at = self.us + self.latency(from, to);
        let is_said = matches!(conn_ends, [End::Control(_), End::Control(_)]);
        let is_again = is_said && self.random.below(100) == 0;
        let way = &mut self.net.conns.get_mut(&number).expect("found above").ways[side];
        let at = at.max(way.last_arrival + 1);
        way.last_arrival = at;
        // A peer that resends says the same twice; of what clients and followers ask the connection
        // keeps count.
        if is_again {
            way.frames.push_back((at, frame.clone()));
        }
        way.frames.push_back((at, frame));
        if !way.is_scheduled {
            way.is_scheduled = true;
            self.at(at, Event::Arrive(number, side));
        }
    }

    /// The head of a queue arrives, if nothing is in its way.
    pub fn arrive(&mut self, number: u64, side: usize) {
        let now = self.us;
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let (from, to) = (conn.ends[side].place(), conn.ends[1 - side]);
        let is_cut = self.net.cuts.contains(&(from, to.place()));
        let is_dead = match to {
            End::Control(life) | End::Shard(life, _) => !self.is_alive(life),
            End::Client(_) => false,
        };
        let way = &mut self.net.conns.get_mut(&number).expect("found above").ways[side];
        if is_cut || is_dead {
            let (since, pause) = way.blocked.unwrap_or((now, RETRANSMIT_US));
            way.blocked = Some((since, (pause * 2).min(2_000_000)));
            // A machine that runs without that process says so at once.
            let is_reset = is_dead && !is_cut && self.is_machine_on(to.place());
            if since + DEAD_AFTER_US <= now || is_reset {
                return self.break_conn(number);
            }
            return self.at(now + pause, Event::Arrive(number, side));
        }
        way.blocked = None;
        let Some((_, frame)) = way.frames.pop_front() else {
            way.is_scheduled = false;
            return;
        };
        match way.frames.front() {
            Some((next, _)) => {
                let next = (*next).max(now + 1);
                self.at(next, Event::Arrive(number, side));
            }
            None => way.is_scheduled = false,
        }
        self.trace.frame(number, &frame);
        self.take_frame(number, 1 - side, &frame);
    }

    /// Both ends are told, each after a while, unless it knows.
    pub fn break_conn(&mut self, number: u64) {
        let Some(conn) = self.net.conns.remove(&number) else { return };
        for end in conn.ends {
            let after = self.random.below(30_000);
            self.at(self.us + after, Event::Gone(number, end));
        }
    }

    /// An end closes its connection; the other hears of it if it can.
    pub fn close_conn(&mut self, number: u64, side: usize) {
        let Some(conn) = self.net.conns.remove(&number) else { return };
        let (near, far) = (conn.ends[side], conn.ends[1 - side]);
        let is_path = !self.net.cuts.contains(&(near.place(), far.place()));
        let after = if is_path { self.latency(near.place(), far.place()) } else { DEAD_AFTER_US };
        self.at(self.us + after, Event::Gone(number, far));
    }

    /// What a process that ends leaves of its connections: its kernel closes them, or the power is
    /// gone and nobody says anything.
    pub fn orphan(&mut self, node: i32, is_power_gone: bool) {
        let is_of = |conn: &Conn, side: usize| {
            conn.ends[side].place() == node && !matches!(conn.ends[side], End::Client(_))
        };
        let of_node = |side: usize| {
            let conns = self.net.conns.iter();
            conns.filter(move |(_, conn)| is_of(conn, side)).map(move |(number, _)| (*number, side))
        };
        let ours: Vec<(u64, usize)> = of_node(0).chain(of_node(1)).collect();
        for (number, side) in ours {
            if is_power_gone {
                let Some(conn) = self.net.conns.remove(&number) else { continue };
                let after = DEAD_AFTER_US / 2 + self.random.below(DEAD_AFTER_US / 2);
                self.at(self.us + after, Event::Gone(number, conn.ends[1 - side]));
            } else {
                self.close_conn(number, side);
            }
        }
    }
}
