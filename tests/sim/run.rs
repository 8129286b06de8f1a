//! A run: the site comes up, everything goes wrong for a while, everything is well again; then
//! nothing may be missing and nothing may need a hand.

use std::collections::BTreeMap;

use odradek::broker::shard::Shard;
use odradek::ids::{LeaderEpoch, Partition, TopicPartition};
use odradek::quorum::{self, Quorum};
use odradek::replica::{self, Replica};

use super::checkers::Violation;
use super::checkers::history::Lane;
use super::clients::{Admin, Kind, Member, Operator, Producer, Reader, Role, TOPICS};
use super::counts::Counts;
use super::event::Event;
use super::world::World;
use crate::sim_disk::SimDisk;

/// How long things go wrong.
const CHAOS_US: u64 = 24_000_000;

/// How long the site may take to be whole again.
const HEAL_US: u64 = 120_000_000;

/// How often it is tried to find a copy that may rot.
const ROT_ATTEMPTS: u32 = 20;

/// What came of a seed.
pub struct Outcome {
    pub counts: Counts,
    pub hash: u64,
    pub verdict: Result<(), Violation>,
    pub trace: String,
}

/// Runs a seed.
pub fn run(seed: u64, tune: impl Fn(&mut World)) -> Outcome {
    let mut world = World::new(seed);
    tune(&mut world);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world)));
    let verdict = ran.unwrap_or_else(|why| {
        let words = why.downcast_ref::<String>().cloned();
        let words = words.or_else(|| why.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(Violation(format!("panic: {}", words.unwrap_or_default())))
    });
    world.trace.mix(world.counts.events);
    world.counts.asked = std::mem::take(&mut world.checkers.verdict.asked);
    let (counts, hash, trace) = (world.counts, world.trace.hash(), world.trace.text());
    Outcome { counts, hash, verdict, trace }
}

fn play(world: &mut World) -> Result<(), Violation> {
    world.is_calm = true;
    let admin = world.add_client(Role::Admin(Admin::new(0)));
    until(
        world,
        60_000_000,
        "the topics are there",
        |world| matches!(&world.clients.all[&admin].role, Role::Admin(admin) if admin.is_done),
    )?;
    add_clients(world);
    add_operator(world);
    let calm = world.us + 3_000_000;
    world.run_until(calm)?;
    world.is_calm = false;
    world.at(world.us, Event::Chance);
    let end = world.us + CHAOS_US;
    world.run_until(end)?;
    heal(world)?;
    check_the_end(world)
}

fn add_clients(world: &mut World) {
    let kinds = [Kind::Idempotent, Kind::Plain(-1), Kind::Plain(1), Kind::Plain(0)];
    for (place, (_, count)) in TOPICS.iter().enumerate() {
        for partition in 0..*count {
            let lane = (place as u8, partition);
            let next = world.clients.all.len() as u32;
            world.add_client(Role::Reader(Reader::new(next, lane)));
            for kind in &kinds[..2] {
                add_producer(world, *kind, lane);
            }
        }
    }
    for kind in &kinds[2..] {
        add_producer(world, *kind, (0, 0));
    }
    for group in [0, 0, 0, 1] {
        let id = world.clients.all.len() as u32;
        world.add_client(Role::Member(Box::new(Member::new(id, group, None))));
    }
    // Two that bear the same name: each takes the other's place.
    for _ in 0..if world.plan.has_twins { 2 } else { 0 } {
        let id = world.clients.all.len() as u32;
        world.add_client(Role::Member(Box::new(Member::new(id, 1, Some("logger")))));
    }
}

fn add_operator(world: &mut World) {
    if world.plan.has_moves {
        let id = world.clients.all.len() as u32;
        let operator = Operator::new(id, world);
        world.add_client(Role::Operator(operator));
    }
}

fn add_producer(world: &mut World, kind: Kind, lane: Lane) {
    let padding = [10, 300, 2000][world.random.below(3) as usize];
    let id = world.clients.all.len() as u32;
    world.add_client(Role::Producer(Producer::new(id, kind, lane, padding)));
}

/// Lets time pass until something is so.
fn until(
    world: &mut World,
    within_us: u64,
    what: &str,
    is_so: impl Fn(&World) -> bool,
) -> Result<(), Violation> {
    let deadline = world.us + within_us;
    while !is_so(world) {
        if deadline <= world.us {
            return Err(Violation(format!(
                "liveness: it is never so that {what}\n{}",
                state(world)
            )));
        }
        let next = world.us + 100_000;
        world.run_until(next)?;
    }
    Ok(())
}

fn heal(world: &mut World) -> Result<(), Violation> {
    world.is_calm = true;
    world.heal();
    world.net.loss = 0;
    for (node, board) in &mut world.boards {
        board.sync_us = world.plan.sync_us(*node);
        board.disk.set_syncs_fail(false);
        board.disk.set_free_bytes(None);
    }
    if world.random.below(2) == 0 && !world.has_dear() && !world.has_weakened() {
        world.cut_power_of_all();
    }
    world.trace.note(|| "all is well".into());
    let acked = acked(world);
    until(world, HEAL_US, "the members have changed", |world| {
        world.clients.all.values().all(|client| match &client.role {
            Role::Operator(operator) => operator.is_done(),
            _ => true,
        })
    })?;
    until(world, HEAL_US, "every partition is led and whole", is_whole)?;
    until(world, HEAL_US, "every producer is acknowledged", |world| {
        let now = self::acked(world);
        acked.iter().all(|(id, before)| before < &now[id])
    })?;
    rot(world)?;
    world.trace.note(|| "producers end".into());
    world.is_over = true;
    until(world, HEAL_US, "nothing is under way any more", |world| {
        world.clients.all.values().all(|client| match &client.role {
            Role::Producer(producer) => producer.is_idle(),
            _ => true,
        })
    })?;
    let ends: BTreeMap<Lane, i64> =
        readers(world).map(|reader| (reader.lane, reader.end)).collect();
    let is_read = |world: &World| {
        let is_at_end =
            |reader: &Reader| ends[&reader.lane].max(world.acked_end(reader.lane)) <= reader.offset;
        readers(world).all(is_at_end)
    };
    until(world, HEAL_US, "every reader is at the end", is_read)?;
    until(world, HEAL_US, "what rotted is found and healed", |world| {
        world.checkers.is_healed() && is_whole(world)
    })?;
    // What was read once is read again from the first record on.
    for client in world.clients.all.values_mut() {
        if let Role::Reader(reader) = &mut client.role {
            reader.begin_again();
        }
    }
    until(world, HEAL_US, "everything is read once more", is_read)
}

/// With nothing else wrong a bit rots: its board is to find that and to copy what it had again, with
/// no command and no start. While one seed's storm lasts there is hardly ever a copy that may be lost.
fn rot(world: &mut World) -> Result<(), Violation> {
    let before = world.counts.rots;
    for _ in 0..ROT_ATTEMPTS {
        for node in world.boards.keys().copied().collect::<Vec<_>>() {
            world.rot(node);
            if before < world.counts.rots {
                return Ok(());
            }
        }
        let next = world.us + 50_000;
        world.run_until(next)?;
    }
    Ok(())
}

fn readers(world: &World) -> impl Iterator<Item = &Reader> {
    world.clients.all.values().filter_map(|client| match &client.role {
        Role::Reader(reader) => Some(reader),
        _ => None,
    })
}

/// Successes of each producer that waits for answers.
fn acked(world: &World) -> BTreeMap<u32, u64> {
    let of = |(id, client): (&u32, &super::clients::Client)| match &client.role {
        Role::Producer(producer) if producer.is_told() => Some((*id, producer.acked)),
        _ => None,
    };
    world.clients.all.iter().filter_map(of).collect()
}

fn is_whole(world: &World) -> bool {
    let decided = &world.checkers.decisions.partitions;
    world.up().len() == world.nodes().count()
        && decided.values().all(|one| {
            let leads = one.leader.is_some_and(|leader| world.running(leader.0).is_some());
            leads && one.isr.len() == one.replicas.len()
        })
}

fn check_the_end(world: &mut World) -> Result<(), Violation> {
    let ends = readers(world).map(|reader| (reader.lane, reader.offset)).collect();
    world.checkers.check_the_end(&ends);
    world.checkers.verdict()
}

fn state(world: &World) -> String {
    let mut lines = Vec::new();
    for node in world.boards.keys() {
        let Some(running) = world.running(*node) else {
            lines.push(format!("node {node} is down"));
            continue;
        };
        let quorum = running.site.quorum().map(Quorum::leadership);
        let brokers = running.site.controller().image().brokers();
        let brokers: Vec<String> =
            brokers.map(|(id, one)| format!("{id} {:?} {}", one.state, one.broker_epoch)).collect();
        let is_failed = running.flusher.is_failed;
        lines.push(format!("node {node} {quorum:?} {brokers:?} failed {is_failed}"));
        let partitions = running.shards.iter().flat_map(Shard::partitions);
        lines.extend(partitions.filter_map(|(_, replica)| Some(state_of(replica?))));
    }
    let decided = world.checkers.decisions.partitions.iter();
    lines.extend(decided.map(|(place, one)| format!("{place}: {one:?}")));
    let damaged = world.checkers.copies.damaged.iter();
    lines.extend(damaged.map(|(place, one)| format!("damaged: {place:?} {one:?}")));
    for Reader { lane, offset, end, .. } in readers(world) {
        let acked = world.acked_end(*lane);
        lines.push(format!("reader {lane:?} at {offset} of {end}, {acked}"));
    }
    let producers = world.clients.all.values().filter_map(|client| match &client.role {
        Role::Producer(producer) if !producer.is_idle() => Some(producer.text()),
        _ => None,
    });
    lines.extend(producers);
    lines.join("\n")
}

fn state_of(replica: &Replica<SimDisk>) -> String {
    let role = match replica.role() {
        replica::Role::Leader(leader) => {
            format!("leads, isr {:?} of {:?}", leader.isr(), leader.maximal_isr())
        }
        replica::Role::Follower(one) => format!("follows {}", one.is_fetching()),
    };
    let log = replica.log();
    format!(
        "  {}-{} {role} {:?} end {} durable {} mark {}",
        log.name(),
        log.topic_partition().partition,
        replica.state(),
        log.end_offset(),
        log.durable_offset(),
        replica.high_watermark()
    )
}

impl World {
    /// Whether a node has left by what whoever leads the quorum knows.
    pub fn is_nobody(&self, node: i32) -> bool {
        let others = self.boards.iter().filter(|(other, _)| **other != node);
        let leads = |quorum: &Quorum| quorum.leadership().role == quorum::Role::Leader;
        let mut leaders = others.filter_map(|(_, board)| {
            let site = &board.running.as_ref()?.site;
            site.quorum().filter(|quorum| leads(quorum)).map(|quorum| (site, quorum))
        });
        let has_left = leaders.any(|(site, quorum)| {
            let departed = site.controller().image().departed().iter();
            let is_member = quorum.members().to_list().iter().any(|one| one.id.node_id.0 == node);
            departed.clone().any(|id| id.node_id.0 == node) && !is_member
        });
        has_left || self.boards[&node].has_left
    }

    /// The epoch of a partition that a node knows, with its replica.
    pub fn epoch_at(&self, node: i32, (topic, partition): Lane) -> LeaderEpoch {
        let topic_id = self.checkers.decisions.topics.get(TOPICS[topic as usize].0);
        let Some(running) = self.running(node) else { return LeaderEpoch::NONE };
        let partitions = running.shards.iter().flat_map(Shard::partitions);
        let mut replicas = partitions.filter_map(|(_, replica)| replica);
        let is_it = |replica: &&Replica<SimDisk>| {
            let place = replica.log().topic_partition();
            Some(&place.topic_id) == topic_id && place.partition.0 == partition
        };
        replicas.find(is_it).map_or(LeaderEpoch::NONE, |replica| replica.state().leader_epoch)
    }

    /// Whether a batch of a partition has rotted somewhere.
    pub fn is_rotten(&self, (topic, partition): Lane) -> bool {
        let topic_id = self.checkers.decisions.topics.get(TOPICS[topic as usize].0);
        topic_id.is_some_and(|topic_id| {
            let partition = Partition(partition);
            self.checkers.copies.has_rot(TopicPartition { topic_id: *topic_id, partition })
        })
    }

    /// The end of what was acknowledged.
    pub fn acked_end(&self, lane: Lane) -> i64 {
        let acked = &self.checkers.history.acked;
        let range = acked.range((lane, 0)..=(lane, i64::MAX));
        range.last().map_or(0, |((_, offset), _)| offset + 1)
    }
}
