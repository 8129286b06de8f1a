//! A site under a seed: nodes as `runtime/` wires them, clients that speak the wire, and one clock.
//!
//! Everything that takes time is an event; what happens at the same time happens in the order in
//! which it was decided on. After each event the checkers look at what it changed.

use std::collections::BTreeMap;

use odradek::broker::ConnectionId;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::Event as ShardEvent;
use odradek::broker::site::Said;
use odradek::ids::NodeId;
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::time::{Boot, Now, Timestamp};

use bytes::{Bytes, BytesMut};

use super::checkers::{Checkers, Violation};
use super::clients::Clients;
use super::config::Plan;
use super::counts::Counts;
use super::event::{DialFor, End, Event, Life, NodeNumber, ToControl};
use super::net::Net;
use super::node::{self, Running};
use super::trace::Trace;
use crate::sim_disk::{Cut, Rng, SimDisk};

/// The wall clock when a run begins: the autumn of 2026.
const WALL_MS: i64 = 1_790_000_000_000;

/// A machine, on or off.
pub struct Board {
    pub disk: SimDisk,
    pub running: Option<Running>,
    /// The machine has power.
    pub is_on: bool,
    pub lives: u64,
    /// When the machine was switched on.
    booted_us: u64,
    /// How far the wall clock is off.
    pub wall_off_ms: i64,
    /// The process does not run before this.
    pub paused_until: u64,
    /// What its syncs take.
    pub sync_us: (u64, u64),
    /// It left the site for good.
    pub has_left: bool,
}

impl Board {
    /// One that was never switched on.
    fn new(plan: &Plan, node: NodeNumber) -> Board {
        Board {
            disk: SimDisk::new(),
            running: None,
            is_on: false,
            lives: 0,
            booted_us: 0,
            wall_off_ms: 0,
            paused_until: 0,
            sync_us: plan.sync_us(node),
            has_left: false,
        }
    }
}

/// See the module.
pub struct World {
    pub random: Rng,
    pub plan: Plan,
    pub us: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub boards: BTreeMap<NodeNumber, Board>,
    pub net: Net,
    pub clients: Clients,
    pub checkers: Checkers,
    pub trace: Trace,
    pub counts: Counts,
    /// Nobody wants to know what happens after so many.
    pub events_max: u64,
    /// From here on nothing fails any more.
    pub is_calm: bool,
    /// Producers send nothing new any more.
    pub is_over: bool,
}

impl World {
    /// Three boards that are off, with empty disks.
    pub fn new(seed: u64) -> World {
        let mut random = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x0d0d);
        let plan = Plan::draw(seed, &mut random);
        let mut net = Net::default();
        net.latency_us = 50 + random.below(2000);
        net.jitter_us = 50 + random.below(3000);
        net.loss = [0, 0, 5, 30][random.below(4) as usize];
        let mut trace = Trace::new();
        trace.note(|| format!("{plan:?}"));
        let mut world = World {
            boards: (1..=plan.node_count).map(|node| (node, Board::new(&plan, node))).collect(),
            random,
            us: 1_000_000,
            events: BTreeMap::new(),
            next_event: 0,
            net,
            clients: Clients::default(),
            checkers: Checkers::default(),
            trace,
            counts: Counts::default(),
            events_max: u64::MAX,
            is_calm: false,
            is_over: false,
            plan,
        };
        for node in 1..=world.plan.node_count {
            let after = world.random.below(300_000);
            world.at(world.us + after, Event::Boot(node));
        }
        world
    }

    /// Something comes true.
    pub fn at(&mut self, us: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((us.max(self.us), self.next_event), event);
    }

    /// A while from now, at least and beyond.
    pub fn soon(&mut self, least_us: u64, beyond_us: u64) -> u64 {
        self.us + least_us + self.random.below(beyond_us.max(1))
    }

    /// The present, as a node's clocks show it.
    pub fn now(&self, node: NodeNumber) -> Now {
        let board = &self.boards[&node];
        let wall = Timestamp(WALL_MS + (self.us / 1000) as i64 + board.wall_off_ms);
        let floor = board.running.as_ref().map_or(Timestamp(0), |running| running.wall_floor);
        let wall_trusted = floor.0.max(WALL_MS - 1_000_000_000) <= wall.0;
        Now { boot: Boot(self.us - board.booted_us), wall, wall_trusted }
    }

    fn world_us(&self, node: NodeNumber, deadline: Boot) -> u64 {
        deadline.0.saturating_add(self.boards[&node].booted_us)
    }

    /// Whether this life of a process goes on.
    pub fn is_alive(&self, life: Life) -> bool {
        self.running(life.node).is_some_and(|running| running.life == life)
    }

    /// Whether a machine has power.
    pub fn is_machine_on(&self, place: i32) -> bool {
        self.boards.get(&place).is_none_or(|board| board.is_on)
    }

    /// A node's process.
    pub fn running(&self, node: NodeNumber) -> Option<&Running> {
        self.boards.get(&node)?.running.as_ref()
    }

    /// A life's process, if it goes on.
    pub fn life(&mut self, life: Life) -> Option<&mut Running> {
        let running = self.boards.get_mut(&life.node)?.running.as_mut()?;
        (running.life == life).then_some(running)
    }

    /// Nodes whose process runs.
    pub fn up(&self) -> Vec<NodeNumber> {
        let up = self.boards.iter().filter(|(_, board)| board.running.is_some());
        up.map(|(node, _)| *node).collect()
    }

    /// Boards that belong to the site, or are to.
    pub fn nodes(&self) -> impl Iterator<Item = NodeNumber> {
        self.boards.iter().filter(|(_, board)| !board.has_left).map(|(node, _)| *node)
    }

    /// One of them.
    pub fn any_node(&mut self) -> NodeNumber {
        let place = self.random.below(self.nodes().count() as u64);
        self.nodes().nth(place as usize).expect("a place among them")
    }

    /// Another board is switched on.
    pub fn add_board(&mut self, node: NodeNumber) {
        self.boards.insert(node, Board::new(&self.plan, node));
        self.at(self.us, Event::Boot(node));
    }

    /// A board has left the site: it is switched off, and stays so.
    pub fn depart(&mut self, node: NodeNumber) {
        let board = self.boards.get_mut(&node).expect("a board");
        if std::mem::replace(&mut board.has_left, true) {
            return;
        }
        (board.running, board.is_on) = (None, false);
        self.checkers.copies.leave(node);
        self.trace.note(|| format!("node {node} has left"));
        self.orphan(node, false);
    }

    /// Lets events happen until a time.
    pub fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(entry) = self.events.first_entry() {
            let (us, _) = *entry.key();
            if end < us {
                break;
            }
            let event = entry.remove();
            self.us = us;
            self.trace.us = us;
            self.counts.events += 1;
            if self.events_max < self.counts.events {
                return Err(Violation("long enough".into()));
            }
            if let Some(until) = self.paused(&event) {
                self.at(until, event);
                continue;
            }
            self.handle(event);
            self.checkers.verdict()?;
        }
        self.us = end;
        self.counts.simulated_us = end;
        Ok(())
    }

    /// Until when the process that an event is for is paused.
    fn paused(&self, event: &Event) -> Option<u64> {
        let life = match event {
            Event::Control(life, _)
            | Event::Shard(life, ..)
            | Event::Wake(life, _)
            | Event::Settle(life, _)
            | Event::FlushDone(life)
            | Event::Checkpoint(life, _)
            | Event::CheckpointDone(life)
            | Event::Work(life)
            | Event::Scrub(life)
            | Event::Links(life)
            | Event::Gone(_, End::Control(life) | End::Shard(life, _)) => *life,
            Event::Arrive(number, side) => match self.net.conns.get(number)?.ends[1 - side] {
                End::Control(life) | End::Shard(life, _) => life,
                End::Client(_) => return None,
            },
            _ => return None,
        };
        let until = self.boards[&life.node].paused_until;
        (self.us < until && self.is_alive(life)).then_some(until)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Control(life, input) => self.control(life, input),
            Event::Shard(life, shard, event) => self.step_shard(life, shard, *event),
            Event::Wake(life, thread) => self.wake(life, thread),
            Event::Settle(life, shard) => {
                if let Some(running) = self.life(life) {
                    let at = usize::from(shard);
                    running.is_settling[at] = false;
                    running.shards[at].settle(16);
                    self.after_shard(life, shard);
                }
            }
            Event::FlushDone(life) => self.flush_done(life),
            Event::SyncDone(life) => self.sync_done(life),
            Event::Checkpoint(life, stage) => self.checkpoint(life, stage),
            Event::CheckpointDone(life) => self.checkpoint_done(life),
            Event::Work(life) => self.work(life),
            Event::Scrub(life) => self.scrub(life),
            Event::Links(life) => self.look_at_links(life),
            Event::Arrive(number, side) => self.arrive(number, side),
            Event::Gone(number, end) => self.gone(number, end),
            Event::Dialed(who, node) => self.dialed(who, node),
            Event::Client(client, token) => self.client_timer(client, token),
            Event::Boot(node) => self.boot(node),
            Event::Restart(node) if self.has_weakened() => {
                self.at(self.us + 1_000_000, Event::Restart(node));
            }
            Event::Restart(node) => {
                self.boards[&node].disk.set_syncs_fail(false);
                self.kill(node);
            }
            Event::Chance => self.chance(),
        }
    }

    // Nodes.

    /// Switches a machine on, if it is off, and starts its process.
    pub fn boot(&mut self, node: NodeNumber) {
        let us = self.us;
        let board = self.boards.get_mut(&node).expect("a board");
        if board.running.is_some() || board.has_left {
            return;
        }
        if !board.is_on {
            (board.is_on, board.booted_us) = (true, us);
        }
        board.lives += 1;
        board.paused_until = 0;
        let life = Life { node, number: board.lives };
        let disk = board.disk.clone();
        // Whoever switches it on has seen to that.
        disk.set_syncs_fail(false);
        let now = self.now(node);
        // The power may go while it recovers.
        if !self.is_calm && self.random.below(12) == 0 {
            let after = self.random.below(20);
            if self.checkers.copies.is_flushed(node) {
                disk.fail_after(after);
            }
        }
        let booted = node::boot(&disk, life, &self.plan, now);
        match booted {
            Ok((running, found)) => {
                if disk.is_failing() {
                    return self.cut_power(node);
                }
                disk.stop_failing();
                self.trace.note(|| format!("node {node} starts, life {}", life.number));
                for unsound in &found.unsound {
                    self.trace.note(|| format!("  {unsound} is unsound there"));
                }
                self.checkers.booted(&running, &found, &mut self.counts);
                let board = self.boards.get_mut(&node).expect("a board");
                board.running = Some(running);
                for shard in 0..self.plan.shard_count(node) {
                    self.after_shard(life, shard);
                }
                self.after_control(life);
                self.at(self.us, Event::Links(life));
            }
            Err(why) if disk.is_failing() => {
                self.trace.note(|| format!("node {node} loses power as it starts: {}", why.0));
                self.cut_power(node);
            }
            // Whoever looks after it tries again: there may be room by then.
            Err(why) if disk.is_full() => {
                self.trace.note(|| format!("node {node} finds no room to start: {}", why.0));
                let at = self.soon(2_000_000, 2_000_000);
                self.at(at, Event::Boot(node));
            }
            Err(why) => {
                self.checkers.blame("a node starts", &format!("node {node}: {}", why.0));
            }
        }
    }

    /// Ends a process, by `kill -9`.
    pub fn kill(&mut self, node: NodeNumber) {
        let board = self.boards.get_mut(&node).expect("a board");
        if board.running.take().is_none() {
            return;
        }
        self.counts.kills += 1;
        self.trace.note(|| format!("node {node} is killed"));
        self.orphan(node, false);
        let at = self.soon(100_000, 4_000_000);
        self.at(at, Event::Boot(node));
    }

    /// Takes the power from a machine.
    pub fn cut_power(&mut self, node: NodeNumber) {
        let keep = match self.random.below(3) {
            0 => Cut::KeepNothing,
            _ => Cut::KeepSome(self.random.next()),
        };
        let may_lose = self.may_lose(node) && self.may_weaken(node);
        self.checkers.copies.weaken(node);
        self.interrupt(node);
        let board = self.boards.get_mut(&node).expect("a board");
        board.running = None;
        board.is_on = false;
        let left = board.disk.power_cut(keep);
        let before = std::mem::replace(&mut board.disk, left);
        self.counts.power_cuts += 1;
        self.trace.note(|| format!("node {node} loses power, {keep:?}"));
        self.orphan(node, true);
        if !self.is_calm && keep != Cut::KeepNothing {
            self.flip_unsynced(node, &before);
        }
        if !self.is_calm && may_lose {
            self.damage(node);
        }
        let at = self.soon(300_000, 8_000_000);
        self.at(at, Event::Boot(node));
    }

    // Threads.

    /// Gives a thread of a node an input, as mail: in order, a moment later.
    pub fn mail(&mut self, life: Life, from: usize, to: usize, event: Event) {
        // A thread that was just preempted.
        let late = if self.random.below(64) == 0 { 3000 } else { 20 };
        let at = self.us + 1 + self.random.below(late);
        let Some(running) = self.life(life) else { return };
        let last = running.mail_at.entry((from, to)).or_default();
        let at = at.max(*last);
        *last = at;
        self.at(at, event);
    }

    /// The same, to a shard.
    pub fn mail_shard(&mut self, life: Life, from: usize, to: ShardId, event: ShardEvent<SimDisk>) {
        let event = Event::Shard(life, to.0, Box::new(event));
        self.mail(life, from, usize::from(to.0) + 1, event);
    }

    fn control(&mut self, life: Life, input: ToControl) {
        let now = self.now(life.node);
        let Some(running) = self.life(life) else { return };
        let site = &mut running.site;
        match input {
            ToControl::Ask(ask) => site.ask(now, ask),
            ToControl::Flushed(flushed) => site.flushed(now, &flushed),
            ToControl::Applied(version) => site.applied(now, version),
            ToControl::Retired(log) => site.retired(log),
            ToControl::Alter(shard, proposal) => site.alter(now, shard, proposal),
            ToControl::Prepared(making, made) => site.prepared(now, making, made),
            ToControl::StorageFailed => site.storage_failed(now),
            ToControl::Worked(worked) => site.worked(now, worked),
        }
        self.after_control(life);
    }

    fn step_shard(&mut self, life: Life, shard: u16, event: ShardEvent<SimDisk>) {
        let now = self.now(life.node);
        if let ShardEvent::Apply(apply) = &event {
            self.checkers.stale.told(life, shard, apply);
        }
        let Some(running) = self.life(life) else { return };
        running.shards[usize::from(shard)].step(now, event);
        self.after_shard(life, shard);
    }

    fn wake(&mut self, life: Life, thread: usize) {
        let (us, now) = (self.us, self.now(life.node));
        let Some(running) = self.life(life) else { return };
        // Another one comes earlier, or later.
        if us < running.wakes[thread] {
            return;
        }
        running.wakes[thread] = u64::MAX;
        if thread == 0 {
            if running.site.next_deadline() <= now.boot {
                running.site.tick(now);
            }
            self.after_control(life);
        } else {
            let shard = &mut running.shards[thread - 1];
            if shard.next_deadline() <= now.boot {
                shard.tick(now);
            }
            self.after_shard(life, thread as u16 - 1);
        }
    }

    fn after_control(&mut self, life: Life) {
        self.act_control(life);
        let Some(running) = self.life(life) else { return };
        let deadline = running.site.next_deadline();
        self.wake_at(life, 0, deadline);
        self.checkers.control(&self.boards[&life.node], &mut self.counts, &mut self.trace);
    }

    /// Does what a shard wants done, and looks at what it has become.
    pub fn after_shard(&mut self, life: Life, shard: u16) {
        self.act_shard(life, shard);
        let Some(running) = self.life(life) else { return };
        let at = usize::from(shard);
        let deadline = running.shards[at].next_deadline();
        let wants_to_settle = running.shards[at].is_holding() && !running.is_settling[at];
        running.is_settling[at] |= wants_to_settle;
        self.wake_at(life, at + 1, deadline);
        if wants_to_settle {
            let at = self.soon(50, 30_000);
            self.at(at, Event::Settle(life, shard));
        }
        self.begin_flush(life);
        self.checkers.shard(&self.boards[&life.node], shard, &mut self.trace);
    }

    fn wake_at(&mut self, life: Life, thread: usize, deadline: Boot) {
        let at = self.world_us(life.node, deadline).max(self.us + 1);
        let Some(running) = self.life(life) else { return };
        if at < running.wakes[thread] && at < u64::MAX / 2 {
            running.wakes[thread] = at;
            self.at(at, Event::Wake(life, thread));
        }
    }

    // What comes by the network.

    /// A frame is at its end.
    pub fn take_frame(&mut self, number: u64, side: usize, frame: &Bytes) {
        let Some(conn) = self.net.conns.get(&number) else { return };
        let far = conn.ends[1 - side];
        match conn.ends[side] {
            End::Control(life) => {
                let from = far.place();
                let running = self.running(life.node).filter(|running| running.life == life);
                let link = running.and_then(|running| running.links.get(&from));
                if link == Some(&(number, side)) {
                    let said = Said::decode(&frame.slice(FRAME_PREFIX_BYTES..)).expect("our own");
                    self.hear(life, from, &said);
                }
            }
            End::Shard(life, shard) => {
                let connection = ConnectionId(number * 2 + side as u64);
                let late = self.note_fetch(far, life, number, frame);
                for frame in [Some(frame), late.as_ref()].into_iter().flatten() {
                    let bytes = BytesMut::from(&frame[FRAME_PREFIX_BYTES..]);
                    self.step_shard(life, shard, ShardEvent::Frame { connection, bytes });
                }
            }
            End::Client(client) => self.client_frame(client, number, frame),
        }
    }

    /// A control machine hears something.
    fn hear(&mut self, life: Life, from: NodeNumber, said: &Said) {
        let (us, now) = (self.us, self.now(life.node));
        let running = self.boards.get_mut(&life.node).and_then(|board| board.running.as_mut());
        let running = running.expect("it was linked just now");
        self.checkers.elections.hears(us, running, said);
        running.site.heard(now, NodeId(from), said.clone());
        self.checkers.elections.has_heard(us, running, said);
        self.after_control(life);
    }

    /// Takes note of what a follower asks; answers what an earlier incarnation of it has asked, and comes
    /// late.
    fn note_fetch(&mut self, far: End, life: Life, number: u64, frame: &Bytes) -> Option<Bytes> {
        let running = self.boards[&life.node].running.as_ref();
        let running = running.filter(|_| matches!(far, End::Shard(..)))?;
        let stale = &mut self.checkers.stale;
        stale.arrives(number, running, frame);
        if !self.plan.has_late_fetches {
            return None;
        }
        let late = stale.asked_before(running, frame)?;
        stale.arrives(number, running, &late);
        self.counts.late_fetches += 1;
        Some(late)
    }

    /// An end hears that its connection is gone.
    fn gone(&mut self, number: u64, end: End) {
        match end {
            End::Control(life) => self.link_gone(life, number),
            End::Shard(life, shard) => {
                for side in 0..2 {
                    let connection = ConnectionId(number * 2 + side);
                    self.step_shard(life, shard, ShardEvent::Closed(connection));
                }
            }
            End::Client(client) => self.client_gone(client, number),
        }
    }

    /// An attempt to connect is over.
    fn dialed(&mut self, who: DialFor, node: NodeNumber) {
        match who {
            DialFor::Quorum(life) => self.quorum_dialed(life, node),
            DialFor::Replica(life, shard) => self.replica_dialed(life, shard, node),
            DialFor::Client(client) => self.client_dialed(client, node),
        }
    }
}
