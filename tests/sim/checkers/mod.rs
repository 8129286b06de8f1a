//! What must hold, looked at after every event as far as that event could have broken it.
//!
//! What was seen is kept here: each node's copies, who leads and what is committed, what the controllers
//! decided, the quorum's votes, and what clients were told. `rules` has one file for each invariant
//! of reliability.md.

pub mod copies;
pub mod decisions;
pub mod elections;
pub mod groups;
pub mod history;
pub mod leaders;
pub mod quorum;
pub mod rules;
pub mod stale;

use std::collections::BTreeMap;

use odradek::broker::control::METADATA;
use odradek::broker::shard::Apply;
use odradek::broker::site::{Keep, Said};
use odradek::controller::change::Change;
use odradek::ids::{NodeId, Partition, TopicPartition};
use odradek::journal::Entry;

use self::copies::Copies;
use self::decisions::Decisions;
use self::elections::Elections;
use self::groups::{Bearing, Groups};
use self::history::{History, Lane, Value};
use self::leaders::Leaders;
use self::quorum::Votes;
use self::rules::r8;
use self::stale::Stale;
use super::counts::Counts;
use super::node::{Flight, Found, Running};
use super::trace::Trace;
use super::world::Board;
use crate::sim_disk::{SimDisk, SimFile};

/// The topic in which groups keep what they have committed.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Violation(pub String);

/// What came of the rules.
#[derive(Default)]
pub struct Verdict {
    /// The first rule that was broken, if one was.
    pub broken: Option<Violation>,
    /// How often each rule was asked: one that nothing is fed to holds, and says nothing.
    pub asked: BTreeMap<&'static str, u64>,
}

impl Verdict {
    /// Says that something must be so.
    pub fn hold(&mut self, condition: bool, rule: &'static str, words: impl FnOnce() -> String) {
        *self.asked.entry(rule).or_default() += 1;
        if !condition && self.broken.is_none() {
            self.broken = Some(Violation(format!("{rule}: {}", words())));
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Checkers {
    pub verdict: Verdict,
    pub copies: Copies,
    pub leaders: Leaders,
    pub decisions: Decisions,
    pub quorum: Votes,
    pub elections: Elections,
    pub history: History,
    pub groups: Groups,
    pub stale: Stale,
}

impl Checkers {
    /// Whether all held so far.
    pub fn verdict(&mut self) -> Result<(), Violation> {
        self.verdict.broken.clone().map_or(Ok(()), Err)
    }

    /// Something that must not be was seen elsewhere.
    pub fn blame(&mut self, rule: &'static str, words: &str) {
        self.verdict.hold(false, rule, || words.to_owned());
    }

    /// What an answer to a client must be.
    pub fn hold(&mut self, condition: bool, rule: &'static str, words: impl FnOnce() -> String) {
        self.verdict.hold(condition, rule, words);
    }

    /// A client was told that a record is safe.
    pub fn acked(&mut self, lane: Lane, offset: i64, value: Value) {
        self.history.acked(lane, offset, value, &mut self.verdict);
    }

    /// A client has read a record.
    pub fn read(&mut self, lane: Lane, offset: i64, value: Value) {
        self.history.read(lane, offset, value, &mut self.verdict);
    }

    /// A member was given a partition.
    pub fn assigned(&mut self, group: u8, generation: i32, lane: Lane, member: u32) {
        self.groups.assigned(group, generation, lane, member, &mut self.verdict);
    }

    /// Whether the node that answers a member leads the partition that both groups' names fall into, of
    /// two, and has shown in this epoch that its coordinator has loaded.
    pub fn coordinates(&mut self, node: i32, has_loaded: bool) -> bool {
        let Some((_, epoch)) = self.leadership_of_groups(node) else { return false };
        let leadership = Some((node, epoch));
        if has_loaded {
            self.groups.serving = leadership;
        }
        self.groups.serving == leadership
    }

    /// Whether a node leads that partition, and knows it.
    pub fn leads_groups(&self, node: i32) -> bool {
        let leadership = self.leadership_of_groups(node);
        leadership.is_some_and(|(place, epoch)| self.leaders.leads(place, epoch))
    }

    /// Where both groups live, and the epoch in which a node leads there, if it does.
    fn leadership_of_groups(&self, node: i32) -> Option<(Place, i32)> {
        let topic_id = *self.decisions.topics.get(OFFSETS_TOPIC)?;
        let topic_partition = TopicPartition { topic_id, partition: Partition(0) };
        let decided = self.decisions.partitions.get(&topic_partition)?;
        let leads = decided.leader == Some(NodeId(node));
        leads.then_some((Place { node, topic_partition }, decided.leader_epoch))
    }

    /// A static member was answered as one of its group.
    pub fn served(&mut self, who: (u8, &str, &str), asked: &Bearing, has_share: bool) {
        self.groups.served(who, asked, has_share, &mut self.verdict);
    }

    /// A member's commit was answered.
    pub fn committed_offset(&mut self, group: u8, sent: (i32, i32), lane: Lane, offset: i64) {
        self.groups.committed(group, sent, lane, offset, &mut self.verdict);
    }

    /// A member was told what its group has committed.
    pub fn fetched_offset(&mut self, lane: Lane, least: i64, offset: i64) {
        Groups::fetched(lane, least, offset, &mut self.verdict);
    }

    /// All was read.
    pub fn check_the_end(&mut self, ends: &BTreeMap<Lane, i64>) {
        self.history.check_the_end(ends, &mut self.verdict);
    }

    /// A node hands an entry to its flusher; `follows` is whom the replica follows, in which epoch.
    pub fn persist(
        &mut self,
        running: &Running,
        entry: &Entry<SimFile>,
        follows: Option<(i32, i32)>,
    ) {
        let node = running.life.node;
        let topic_partition = entry.topic_partition();
        let leads = |(leader, epoch): &(i32, i32)| {
            self.leaders.leads(Place { node: *leader, topic_partition }, *epoch)
        };
        if let Some((leader, _)) = follows.filter(leads) {
            self.copies.compare(node, leader, entry, &mut self.verdict);
        }
        if topic_partition == METADATA {
            self.quorum.persist(running, entry, &mut self.verdict);
        }
        let committed = match topic_partition {
            METADATA => Some(self.quorum.committed()),
            place => self.leaders.committed.get(&place),
        };
        self.copies.persist(node, entry, committed, &mut self.verdict);
        if self.decisions.name(topic_partition) == Some(OFFSETS_TOPIC) {
            self.groups.persist(entry);
        }
    }

    /// A commit of a node's journal is on stable storage.
    pub fn committed(&mut self, node: i32, flight: &Flight) {
        self.copies.committed(node, flight.all());
    }

    /// A process has started on what its disk holds.
    pub fn booted(&mut self, running: &Running, found: &Found, counts: &mut Counts) {
        // The first start finds nothing, and no journal that could say so.
        let is_damaged = 1 < running.life.number && found.is_damaged();
        counts.damaged_recoveries += u64::from(is_damaged);
        self.copies.booted(running.life, found, &mut self.verdict);
        for (topic_partition, decided) in &self.decisions.partitions {
            self.copies.note_replicas(*topic_partition, &decided.replicas);
        }
        self.leaders.booted(running.life.node);
        self.quorum.booted(running.life.node, found.is_quorum_lost);
        self.elections.booted(running.life.node);
    }

    /// Whether no replica's copy is damaged.
    pub fn is_healed(&self) -> bool {
        let is_replica = |place: &Place| {
            self.decisions.replicas(place.topic_partition).contains(&NodeId(place.node))
        };
        !self.copies.damaged.keys().any(is_replica)
    }

    /// Whether no node has something of the metadata on its disk that may yet be committed.
    pub fn is_metadata_settled(&self) -> bool {
        self.quorum.committed_end().is_some_and(|end| self.copies.is_behind(METADATA, end))
    }

    /// A node's control machine hands changes to its shards.
    pub fn applied(&mut self, node: i32, apply: &Apply<SimDisk>, trace: &mut Trace) {
        let mut left = Vec::new();
        for change in &apply.changes {
            left.extend(self.decisions.registered(change));
            if let Change::Registration { node_id, incarnation, .. } = change {
                let decisions = &self.decisions;
                let is_in_sync =
                    |place: Place| decisions.isr(place.topic_partition).contains(node_id);
                self.copies.registered(node_id.0, u64::from(incarnation.0[1]), is_in_sync);
            }
            let Some(topic_partition) = self.decisions.take(node, change, &mut self.verdict) else {
                continue;
            };
            trace.note(|| self.decisions.words(topic_partition));
            let isr = self.decisions.isr(topic_partition);
            self.copies.note_replicas(topic_partition, self.decisions.replicas(topic_partition));
            self.copies.note_isr(topic_partition, isr);
            self.leaders.isr_changed(topic_partition, isr, &self.copies, &mut self.verdict);
        }
        for (place, epoch) in left {
            let decided = &self.decisions.partitions[&place.topic_partition];
            r8::steps_down(&mut self.verdict, place, epoch, decided);
        }
        for change in &apply.changes {
            if let Change::Registration { node_id, incarnation, .. } = change {
                self.registered(*node_id, u64::from(incarnation.0[1]));
            }
        }
    }

    /// A process belongs to the site (R8): where its copy is damaged it is not in sync, unless it is
    /// the last one.
    fn registered(&mut self, node_id: NodeId, life: u64) {
        for (place, damaged) in &self.copies.damaged {
            if place.node != node_id.0 || damaged.life != life {
                continue;
            }
            let isr = self.decisions.isr(place.topic_partition);
            r8::leaves(&mut self.verdict, *place, isr);
        }
    }

    /// A node says something to a peer.
    pub fn said(&mut self, running: &Running, said: &Said) {
        self.elections.said(running, said, &mut self.verdict);
        self.quorum.said(running, said, &mut self.verdict);
    }

    /// A node makes files of the quorum durable.
    pub fn kept(&mut self, running: &Running, keeps: &[Keep]) {
        self.quorum.kept(running.life.node, keeps);
        for keep in keeps {
            if let Keep::State(state) = keep {
                self.elections.kept(running, state.epoch.0 as u64, &mut self.verdict);
            }
        }
    }

    /// A control machine has done something.
    pub fn control(&mut self, board: &Board, counts: &mut Counts, trace: &mut Trace) {
        let Some(running) = &board.running else { return };
        self.quorum.look(running, &self.copies, &mut self.verdict, trace);
        // One whose disk has failed says nothing any more, whatever it takes itself for.
        if !running.flusher.is_failed {
            self.elections.look(trace.us, board.paused_until, running, &mut self.verdict);
        }
        counts.elections = self.decisions.elections;
        counts.commits = self.groups.commits;
    }

    /// A leader's shard answers a follower.
    pub fn answers(&mut self, connection: u64, frame: &[u8]) {
        self.stale.leaves(connection, frame, &mut self.verdict);
    }

    /// A shard has done something.
    pub fn shard(&mut self, board: &Board, shard: u16, trace: &mut Trace) {
        let Some(running) = &board.running else { return };
        for (log, replica) in running.shards[usize::from(shard)].partitions() {
            let Some(replica) = replica else { continue };
            let topic_partition = log.topic_partition();
            self.copies.look(running.life.node, log, replica, &mut self.verdict);
            let isr = self.decisions.isr(topic_partition);
            let seen = leaders::Seen { life: running.life, replica, isr };
            self.leaders.look(&seen, &self.copies, &mut self.verdict, trace);
        }
        for (topic_partition, base, epoch) in self.leaders.newly.drain(..) {
            self.groups.log_committed((topic_partition, base, epoch), &mut self.verdict);
        }
    }
}

/// A batch, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The offset behind it.
    pub end: i64,
    pub epoch: i32,
    /// Checksum of all its bytes.
    pub hash: u32,
}

/// Batches of one copy, by base offset.
#[derive(Clone, Debug, Default)]
pub struct Batches(pub BTreeMap<i64, Batch>);

impl Batches {
    /// The offset behind the last.
    pub fn end(&self) -> i64 {
        self.0.last_key_value().map_or(0, |(_, batch)| batch.end)
    }
}

/// A partition of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub node: i32,
    pub topic_partition: TopicPartition,
}
