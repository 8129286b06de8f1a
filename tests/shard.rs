//! A shard's core by itself, without threads or sockets: events in, outputs out, on a disk in
//! memory. What is a matter of order between a shard and its neighbours is shown here.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/plenty.rs"]
mod plenty;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::BytesMut;
use odradek::broker::back::Flushed;
use odradek::broker::front::{Answer, Request};
use odradek::broker::mail::{
    Ask, AskBody, DescribeItem, FetchAsk, FetchItem, ProduceItem, ProducersItem, ReplyBody,
    RequestId, ShardId,
};
use odradek::broker::shard::{Apply, Event, Output, Shard};
use odradek::broker::{BrokerConfig, ConnectionId, LiveConfig};
use odradek::controller::change::Change;
use odradek::group::GroupRules;
use odradek::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use odradek::journal::disk::Disk;
use odradek::journal::{Entry, Journal, SmallState};
use odradek::log::{DamageNote, Log, OpenParameters, Scrubbed};
use odradek::record::{BatchBuilder, Compression};
use odradek::replica::{ReplicaConfig, ThrottledRates};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::describe_log_dirs::DescribedLog;
use odradek::wire::metadata::{MetadataRequest, MetadataResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};
use plenty::Plenty;
use sim_disk::{Cut, SimDisk};

const TOPIC: TopicPartition =
    TopicPartition { topic_id: TopicId(Uuid([3; 16])), partition: Partition(0) };

fn at(ms: u64) -> Now {
    let wall = Timestamp(1_790_000_000_000 + ms as i64);
    Now { boot: Boot(0).plus_ms(ms), wall, wall_trusted: true }
}

/// A shard with one topic `t` of one partition, on a disk of its own.
struct World {
    disk: SimDisk,
    shard: Shard<SimDisk>,
}

impl World {
    fn new(config: TopicConfig) -> World {
        World::of(config, true)
    }

    /// One that has caught up with its site, or has not.
    fn of(config: TopicConfig, is_informed: bool) -> World {
        World::with(config, is_informed, true)
    }

    /// One that knows what was decided until now, or only what was decided once.
    fn with(config: TopicConfig, is_informed: bool, is_current: bool) -> World {
        let broker = BrokerConfig {
            has_peers: false,
            is_informed,
            is_broker: true,
            node_id: NodeId(1),
            shard_count: 1,
            frame_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            handles_max: 100,
            producers_max: 50,
            process: Box::leak(Box::default()),
            memory: &Plenty,
            seed: 1,
            replica: ReplicaConfig::new(NodeId(1), 0),
            live: LiveConfig {
                groups: GroupRules::default(),
                advertised: None,
                advertised_kafka: None,
                auto_create_topics_enable: false,
                retention_check_interval_ms: 1_000_000,
                scrub_interval_ms: 1000,
                cleaner_backoff_ms: 1000,
                cleaner_map_bytes: None,
                replication_throttled: ThrottledRates::default(),
                producer_id_expiration_ms: 86_400_000,
                topic_defaults: config.clone(),
                topic_sources: BTreeMap::new(),
                shown: Vec::new(),
                alterable: Vec::new(),
            },
        };
        let disk = SimDisk::new();
        let name = TopicName::new("t").expect("legal");
        let log = Log::create(disk.clone(), Path::new("/d"), &name, TOPIC, config, at(0));
        let topic_id = TOPIC.topic_id;
        let made = Change::Partition {
            topic_id,
            partition: TOPIC.partition,
            replicas: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
        };
        let changes = vec![Change::Topic { topic_id, name }, made];
        let adopted = vec![log.expect("the disk works")];
        let mut world = World { disk, shard: Shard::new(at(0), ShardId(0), broker) };
        world.step(0, Event::Apply(Apply { version: 1, changes, adopted, is_current }));
        world
    }

    fn step(&mut self, ms: u64, event: Event<SimDisk>) -> Vec<Output<SimDisk>> {
        self.shard.step(at(ms), event);
        std::iter::from_fn(|| self.shard.poll()).collect()
    }

    /// Sets a key of the topic, as the controller does.
    fn set(&mut self, key: &str, value: &str) -> Vec<Output<SimDisk>> {
        let (key, value) = (key.into(), Some(value.into()));
        let changes = vec![Change::Config { topic_id: TOPIC.topic_id, key, value }];
        self.step(
            0,
            Event::Apply(Apply { version: 2, changes, adopted: Vec::new(), is_current: true }),
        )
    }

    fn tick(&mut self, ms: u64) -> Vec<Output<SimDisk>> {
        self.shard.tick(at(ms));
        std::iter::from_fn(|| self.shard.poll()).collect()
    }

    /// What another shard's front asks.
    fn ask(&mut self, ms: u64, body: AskBody) -> Vec<Output<SimDisk>> {
        let request = RequestId { shard: ShardId(1), number: ms };
        self.step(ms, Event::Ask(Ask { request, body }))
    }

    fn produce(&mut self, ms: u64, acks: i8, value: &[u8]) -> Vec<Output<SimDisk>> {
        self.produce_by((-1, -1, -1), ms, acks, value)
    }

    /// The same of a producer: its id and epoch, and the record's sequence.
    fn produce_by(
        &mut self,
        (id, epoch, sequence): (i64, i16, i32),
        ms: u64,
        acks: i8,
        value: &[u8],
    ) -> Vec<Output<SimDisk>> {
        let mut builder = BatchBuilder::new();
        builder.set_producer(id, epoch, sequence);
        builder.push(at(ms).wall, None, Some(value), &[]);
        let batch = builder.finish(Compression::None)[..].into();
        let items =
            vec![ProduceItem { place: 0, topic_partition: TOPIC, batch, is_behind_one: false }];
        self.ask(ms, AskBody::Produce { acks, items })
    }

    fn describe(&mut self) -> DescribedLog {
        let item = DescribeItem { place: 0, topic_place: 0, topic_partition: TOPIC };
        let replies = replies(self.ask(0, AskBody::Describe(vec![item])));
        let [ReplyBody::Described(described)] = &replies[..] else { panic!("{replies:?}") };
        described[0].1.clone()
    }

    /// Fetches from an offset: the error, and whether something came.
    fn fetch(&mut self, offset: i64) -> (ErrorCode, bool, Vec<DamageNote<SimDisk>>) {
        let item = FetchItem {
            place: 0,
            topic_partition: TOPIC,
            offset: Offset(offset),
            current_leader_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
            may_follow: false,
        };
        let fetch = FetchAsk { items: vec![item], max_bytes: 1 << 20, watch: None };
        let (mut answer, mut notes) = (None, Vec::new());
        for output in self.ask(0, AskBody::Fetch(fetch)) {
            match output {
                Output::Note(note) => notes.push(note),
                Output::Reply(_, reply) => answer = Some(reply.body),
                _ => {}
            }
        }
        let Some(ReplyBody::Fetched { items, .. }) = answer else { panic!("{answer:?}") };
        (items[0].1.error, 0 < items[0].1.bytes(), notes)
    }

    /// Does what the scrubber does, until the pass is over: base offsets of what was sound, and
    /// the notes.
    fn scrub(&mut self, ms: u64) -> (Vec<i64>, Vec<DamageNote<SimDisk>>) {
        let (mut sound, mut notes) = (Vec::new(), Vec::new());
        loop {
            let mut outputs = self.tick(ms);
            loop {
                let mut next = Vec::new();
                for output in outputs {
                    match output {
                        Output::Note(note) => notes.push(note),
                        Output::Scrub(mut job) => {
                            let found = job.scrub.step(1000).expect("the disk works");
                            let base = job.scrub.segment().0;
                            sound.extend((found == Scrubbed::Sound).then_some(base));
                            next.extend(self.step(ms, Event::Scrubbed(job, Some(found))));
                        }
                        _ => {}
                    }
                }
                outputs = next;
                if outputs.is_empty() {
                    break;
                }
            }
            if at(ms).boot < self.shard.next_deadline() {
                return (sound, notes);
            }
        }
    }
}

fn replies(outputs: Vec<Output<SimDisk>>) -> Vec<ReplyBody<sim_disk::SimFile>> {
    let reply = |output| match output {
        Output::Reply(_, reply) => Some(reply.body),
        _ => None,
    };
    outputs.into_iter().filter_map(reply).collect()
}

/// What goes to the flusher.
fn persisted(outputs: Vec<Output<SimDisk>>) -> Vec<Entry<sim_disk::SimFile>> {
    let entry = |output| match output {
        Output::Persist(entry) => Some(entry),
        _ => None,
    };
    outputs.into_iter().filter_map(entry).collect()
}

/// What the next start finds of the topic after the power went.
fn after_power_cut(disk: &SimDisk) -> Log<SimDisk> {
    let disk = disk.power_cut(Cut::KeepNothing);
    let parameters = OpenParameters {
        node_id: NodeId(1),
        cluster_id: None,
        random: [7; 32],
        now: at(5000),
        config: TopicConfig::default(),
    };
    let booted = booted::boot(&disk, Path::new("/d"), 16 << 20, 2, &parameters).expect("boots");
    booted.logs.into_iter().next_back().expect("the topic is there")
}

fn segment(base: i64) -> std::path::PathBuf {
    Path::new("/d/t-0").join(format!("{base:020}.log"))
}

/// Eight segments of two records each.
fn rolled() -> World {
    let config = TopicConfig { segment_bytes: 4000, acks_durable: false, ..TopicConfig::default() };
    let mut world = World::new(config);
    for ms in 1..=16 {
        world.produce(ms, 1, &[7; 1700]);
    }
    assert_eq!(world.describe().segment_count, 8);
    world.disk.sync_all(Path::new("/d")).expect("the disk works");
    world
}

/// A board had the only copy of a partition; it was given company, and another led it. When the board
/// started anew it knew nothing of that, led its copy as before, and acknowledged what nobody else
/// ever had.
#[test]
fn the_only_copy_leads_nothing_before_it_is_known_that_it_still_is() {
    let mut world = World::with(TopicConfig::default(), true, false);
    let error = |outputs: Vec<Output<SimDisk>>| match &replies(outputs)[..] {
        [] => None,
        [ReplyBody::Produced(items)] => Some(items[0].1.error),
        other => panic!("{other:?}"),
    };
    let refused = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(error(world.produce(1, -1, b"a")), refused);
    let decided = |world: &mut World, version, leader, epoch| {
        let changes = vec![Change::PartitionChange {
            topic_id: TOPIC.topic_id,
            partition: TOPIC.partition,
            leader,
            leader_epoch: LeaderEpoch(epoch),
            isr: vec![NodeId(1)],
            elr: Vec::new(),
            partition_epoch: epoch,
        }];
        let apply = Apply { version, changes, adopted: Vec::new(), is_current: true };
        world.step(2, Event::Apply(apply));
    };
    decided(&mut world, 2, None, 1);
    assert_eq!(error(world.produce(3, -1, b"a")), refused);
    decided(&mut world, 3, Some(NodeId(1)), 2);
    assert_eq!(error(world.produce(4, -1, b"a")), None, "it waits for the disk");
    assert_eq!(world.describe().log_end_offset, Offset(1));
}

#[test]
fn a_deleted_log_leaves_before_its_deletion_counts_as_applied() {
    // Both commands may wait in the control thread's queue: delete a topic, create one of the same
    // name. With "applied" first the second one made its directory before the first one's log was
    // retired, and the retirement then took the new directory away.
    let mut world = World::new(TopicConfig::default());
    let changes = vec![Change::RemoveTopic { topic_id: TOPIC.topic_id }];
    let apply = Apply { version: 2, changes, adopted: Vec::new(), is_current: true };
    let mut order = Vec::new();
    for output in world.step(0, Event::Apply(apply)) {
        match output {
            Output::Retired(_) => order.push("retired"),
            Output::Applied(2) => order.push("applied"),
            _ => {}
        }
    }
    assert_eq!(order, ["retired", "applied"]);
}

#[test]
fn a_pass_of_the_scrub_reads_every_sealed_segment_and_notes_the_damaged_ones() {
    let mut world = rolled();
    world.disk.damage(&segment(6), |bytes| bytes[2000] ^= 1);
    assert_eq!(world.scrub(900).0, [0i64; 0], "not yet due");
    let (sound, notes) = world.scrub(1000);
    assert_eq!(sound, [0, 2, 4, 8, 10, 12], "all but the damaged one and the active one");
    assert_eq!(notes.len(), 1);
    assert_eq!(world.describe().suspects, [Offset(6)]);
    notes[0].save().expect("the disk works");
    let text = &world.disk.files()[Path::new("/d/t-0/damage")];
    assert!(String::from_utf8_lossy(text).contains("suspect 6\n"), "written down");

    assert!(world.scrub(1999).0.is_empty(), "the next pass begins an interval after this one");
    let (sound, notes) = world.scrub(2000);
    assert_eq!((sound.len(), notes.len()), (6, 0), "what is known is not news");
}

#[test]
fn a_note_does_not_reach_a_topic_made_anew() {
    let mut world = rolled();
    world.disk.damage(&segment(0), |bytes| bytes[100] ^= 1);
    let (_, notes) = world.scrub(1000);
    let changes = vec![Change::RemoveTopic { topic_id: TOPIC.topic_id }];
    let apply = Apply { version: 2, changes, adopted: Vec::new(), is_current: true };
    for output in world.step(1000, Event::Apply(apply)) {
        if let Output::Retired(log) = output {
            log.retire().expect("the disk works");
        }
    }
    notes[0].save().expect("nothing to do");
    let name = TopicName::new("t").expect("legal");
    let other = TopicPartition { topic_id: TopicId(Uuid([4; 16])), ..TOPIC };
    let (disk, config) = (world.disk.clone(), TopicConfig::default());
    Log::create(disk, Path::new("/d"), &name, other, config, at(0)).expect("the disk works");
    notes[0].save().expect("nothing to do");
    assert!(!world.disk.files().contains_key(Path::new("/d/t-0/damage")));
}

/// A partition that was moved away and back, as one commit of the metadata told it: what was on its way
/// to the disk of the first log was taken for the second's.
#[test]
fn what_is_told_of_a_log_that_was_let_go_is_not_of_the_one_in_its_place() {
    let mut world = World::new(TopicConfig::default());
    let apply = |version, changes, adopted| {
        Event::Apply(Apply { version, changes, adopted, is_current: true })
    };
    let topic_id = TOPIC.topic_id;
    let mut on_their_way = persisted(world.produce(1, -1, b"a"));
    let gone = world.step(2, apply(2, vec![Change::RemoveTopic { topic_id }], vec![]));
    for output in gone {
        match output {
            Output::Retired(log) => drop(log.retire().expect("the disk works")),
            Output::Persist(entry) => on_their_way.push(entry),
            _ => {}
        }
    }
    let name = TopicName::new("t").expect("legal");
    let (disk, config) = (world.disk.clone(), TopicConfig::default());
    let log = Log::create(disk, Path::new("/d"), &name, TOPIC, config, at(3));
    let made = Change::Partition {
        topic_id,
        partition: TOPIC.partition,
        replicas: vec![NodeId(1)],
        leader: NodeId(1),
        leader_epoch: LeaderEpoch(0),
    };
    let changes = vec![Change::Topic { topic_id, name }, made];
    world.step(3, apply(3, changes, vec![log.expect("the disk works")]));
    assert_eq!(produced(world.produce(4, -1, b"b")), [], "it waits for the disk");

    let [appended, forgotten] = &on_their_way[..] else { panic!("a batch, and that all is gone") };
    let told =
        |entry| Event::Flushed(vec![Flushed::of(entry).expect("the shard is to hear of it")]);
    assert_eq!(produced(world.step(5, told(appended))), [], "that was the other's");
    assert_eq!(produced(world.step(6, told(forgotten))), []);
    assert_eq!(world.describe().durable_offset, Offset(0));
    assert_eq!(produced(world.step(7, durable(1))), [(ErrorCode::NONE, 0)]);
}

#[test]
fn a_segment_that_is_deleted_meanwhile_is_let_go() {
    let mut world = rolled();
    let mut outputs = world.tick(1000);
    let place = outputs.iter().position(|output| matches!(output, Output::Scrub(_)));
    let Output::Scrub(job) = outputs.swap_remove(place.expect("due")) else { unreachable!() };
    world.step(1000, Event::GiveUpOldest);
    let outputs = world.step(1000, Event::Scrubbed(job, Some(Scrubbed::Going)));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Scrub(_))), "not read on");
    assert_eq!(world.scrub(1001).0, [2, 4, 6, 8, 10, 12], "the pass goes on behind it");
}

#[test]
fn one_segment_at_a_time_is_given_up() {
    // The disk is looked at more often than a commit takes, and its room counts only afterwards.
    let mut world = rolled();
    let starts = |outputs| -> Vec<Offset> {
        let start = |entry| match entry {
            Entry::State { state: SmallState::LogStart(offset), .. } => Some(offset),
            _ => None,
        };
        persisted(outputs).into_iter().filter_map(start).collect()
    };
    assert_eq!(starts(world.step(1000, Event::GiveUpOldest)), [Offset(2)]);
    assert_eq!(starts(world.step(1000, Event::GiveUpOldest)), [], "its room is not there yet");
    let start = Some(Offset(2));
    let durable = Flushed { log_start_offset: start, ..Flushed::nothing_of(TOPIC) };
    world.step(1000, Event::Flushed(vec![durable]));
    assert!(!world.disk.files().contains_key(&segment(0)), "without delay");
    assert_eq!(starts(world.step(1000, Event::GiveUpOldest)), [Offset(4)]);
}

#[test]
fn a_read_that_meets_damage_notes_it() {
    let mut world = rolled();
    world.disk.damage(&segment(4), |bytes| bytes[16] = 9);
    let (error, _, notes) = world.fetch(4);
    assert_eq!((error, notes.len()), (ErrorCode::KAFKA_STORAGE_ERROR, 1));
    assert_eq!(world.describe().suspects, [Offset(4)]);
    let (error, _, notes) = world.fetch(4);
    assert_eq!((error, notes.len()), (ErrorCode::KAFKA_STORAGE_ERROR, 0), "said once");
    assert_eq!(world.fetch(8).0, ErrorCode::NONE, "the others are served");
}

#[test]
fn what_was_weak_is_flushed_before_an_ack_is_durable() {
    // A commit of records that follow unsynced ones was taken for proof of both: after a power cut
    // the weak ones were a hole below the durable mark.
    let config = TopicConfig { acks_durable: false, ..TopicConfig::default() };
    let mut world = World::new(config);
    let opened = Journal::open(world.disk.clone(), Path::new("/d"), 16 << 20, 1).expect("opens");
    let mut journal = opened.journal;
    for ms in 1..=3 {
        let outputs = world.produce(ms, -1, b"weak");
        assert_eq!(replies(outputs).len(), 1, "a weak topic answers at once");
    }
    let mut entries = persisted(world.set("acks.durable", "true"));
    let described = world.describe();
    assert_eq!(described.durable_offset, Offset(0));
    assert_eq!(described.high_watermark, Offset(3), "what was seen stays seen");
    let outputs = world.produce(4, -1, b"strong");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Reply(..))), "it waits");
    entries.extend(persisted(outputs));
    assert!(
        matches!(&entries[..], [Entry::Flush { end_offset: Offset(3), .. }, Entry::Append { .. }]),
        "the flush goes first"
    );
    journal.commit(&entries).expect("commits");
    let answers = replies(world.step(5, durable(4)));
    assert_eq!(answers.len(), 1, "now it is acknowledged");
    let log = after_power_cut(&world.disk);
    assert_eq!((log.end_offset(), log.holes().len()), (Offset(4), 0), "all of it is there");
}

#[test]
fn a_topic_that_becomes_weak_again_is_flushed_by_its_timer() {
    let config = TopicConfig { acks_durable: false, flush_ms: 100, ..TopicConfig::default() };
    let mut world = World::new(config);
    world.produce(1, 1, b"weak");
    assert_eq!(persisted(world.set("acks.durable", "true")).len(), 1);
    assert!(persisted(world.tick(101)).is_empty(), "the timer went with the weakness");
    world.step(102, durable(1));
    let entries = persisted(world.produce(103, -1, b"strong"));
    assert!(matches!(&entries[..], [Entry::Append { .. }]), "nothing is owed any more");
    world.step(104, durable(2));
    assert!(persisted(world.set("acks.durable", "false")).is_empty());
    assert!(persisted(world.produce(105, 1, b"weak")).is_empty());
    let entries = persisted(world.tick(205));
    assert!(matches!(&entries[..], [Entry::Flush { end_offset: Offset(3), .. }]), "flushed");
}

#[test]
fn a_topic_that_becomes_weak_answers_what_waits() {
    let mut world = World::new(TopicConfig::default());
    assert!(replies(world.produce(1, -1, b"strong")).is_empty());
    assert_eq!(replies(world.set("acks.durable", "false")).len(), 1);
    assert_eq!(world.describe().high_watermark, Offset(1));
}

/// A fetch of a block that cannot be read was loaded, found cold, and loaded again, for ever.
#[test]
fn a_fetch_of_what_cannot_be_read_ends() {
    let mut world = World::new(TopicConfig { acks_durable: false, ..TopicConfig::default() });
    for number in 0..4 {
        world.produce(number, 1, &[7; 3000]);
    }
    let path = Path::new("/d/t-0/00000000000000000000.log");
    world.disk.lose(path, 0..100);
    let item = FetchItem {
        place: 0,
        topic_partition: TOPIC,
        offset: Offset(0),
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
        may_follow: false,
    };
    let fetch = FetchAsk { items: vec![item], max_bytes: 1 << 20, watch: None };
    let outputs = world.ask(5, AskBody::Fetch(fetch));
    let [Output::Load(load)] = &outputs[..] else { panic!("{} outputs", outputs.len()) };
    let token = load.token;
    let (mut answer, mut notes) = (None, 0);
    for output in world.step(6, Event::Loaded { token, is_lost: true }) {
        match output {
            Output::Reply(_, reply) => answer = Some(reply.body),
            Output::Note(_) => notes += 1,
            Output::Load(_) => panic!("it asks again"),
            _ => {}
        }
    }
    let Some(ReplyBody::Fetched { items, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(items[0].1.error, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(notes, 1, "the next start scans the segment");
    // What can be read is served.
    assert_eq!(world.fetch(2).0, ErrorCode::NONE);
}

/// Error and offset of each produce that was answered.
fn produced(outputs: Vec<Output<SimDisk>>) -> Vec<(ErrorCode, i64)> {
    let bodies = replies(outputs).into_iter();
    let results = bodies.flat_map(|body| match body {
        ReplyBody::Produced(items) => items,
        other => panic!("{other:?}"),
    });
    results.map(|(_, one)| (one.error, one.base_offset.0)).collect()
}

fn durable(end: i64) -> Event<SimDisk> {
    let durable_offset = Some(Offset(end));
    Event::Flushed(vec![Flushed { durable_offset, ..Flushed::nothing_of(TOPIC) }])
}

#[test]
fn a_batch_that_comes_again_waits_for_the_first_one_to_be_durable() {
    // An answer to the copy is an answer to the original, which a power cut may still take.
    let mut world = World::new(TopicConfig::default());
    assert_eq!(produced(world.produce_by((7, 0, 0), 1, -1, b"a")), []);
    assert_eq!(produced(world.produce_by((7, 0, 1), 2, -1, b"b")), []);
    let outputs = world.produce_by((7, 0, 0), 3, -1, b"a");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Persist(_))), "not stored again");
    assert_eq!(produced(outputs), [], "nor answered yet");
    let ok = |offset| (ErrorCode::NONE, offset);
    assert_eq!(produced(world.produce_by((7, 0, 0), 4, 1, b"a")), [ok(0)], "acks 1 do not wait");
    let answers = produced(world.step(5, durable(1)));
    assert_eq!(answers, [ok(0), ok(0)], "the original and its copy, before what came between");
    assert_eq!(produced(world.step(6, durable(2))), [ok(1)]);
    assert_eq!(produced(world.produce_by((7, 0, 1), 7, -1, b"b")), [ok(1)], "durable: at once");
    assert_eq!(produced(world.produce_by((7, 0, 2), 8, -1, b"c")), []);
    assert_eq!(produced(world.produce_by((7, 0, 2), 9, -1, b"c")), []);
    let failed = (ErrorCode::KAFKA_STORAGE_ERROR, -1);
    assert_eq!(produced(world.step(10, Event::StorageFailed)), [failed; 2], "they share its fate");
}

#[test]
fn a_flood_of_producers_is_bounded_and_the_busy_one_stays() {
    let mut world = World::new(TopicConfig { acks_durable: false, ..TopicConfig::default() });
    let item = ProducersItem { place: 0, topic_partition: TOPIC };
    let count =
        |world: &mut World, ms| match &replies(world.ask(ms, AskBody::Producers(vec![item])))[..] {
            [ReplyBody::Producers(found)] => found[0].1.producers.len(),
            other => panic!("{other:?}"),
        };
    for number in 0..1000 {
        let ok = produced(world.produce_by((1000 + number, 3, 17), number as u64, 1, b"flood"));
        assert_eq!(ok[0].0, ErrorCode::NONE);
        let busy = produced(world.produce_by((1, 0, number as i32), number as u64, 1, b"busy"));
        assert_eq!(busy[0].0, ErrorCode::NONE);
    }
    let known = count(&mut world, 2000);
    assert!((20..=50).contains(&known), "{known}");
    let gap = produced(world.produce_by((1, 0, 5), 2001, 1, b"busy"));
    assert_eq!(gap[0].0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "it is still known");
    // A day of silence, and nobody is.
    drop(world.tick(90_000_000));
    assert_eq!(count(&mut world, 90_000_001), 0);
}

#[test]
fn segments_go_when_what_they_tell_of_producers_is_durable() {
    let config = TopicConfig { segment_bytes: 4000, acks_durable: false, ..TopicConfig::default() };
    let mut world = World::new(config);
    for number in 0..8 {
        world.produce_by((7, 0, number), number as u64, 1, &[7; 1700]);
    }
    world.disk.sync_all(Path::new("/d")).expect("the disk works");
    let outputs = world.step(1000, Event::GiveUpOldest);
    let note = outputs.into_iter().find_map(|output| match output {
        Output::NoteProducers(topic_partition, note) => Some((topic_partition, note)),
        _ => None,
    });
    let (topic_partition, note) = note.expect("there is something to keep");
    let log_start_offset = Some(Offset(2));
    let start = Flushed { log_start_offset, ..Flushed::nothing_of(topic_partition) };
    world.step(1001, Event::Flushed(vec![start]));
    assert!(world.disk.files().contains_key(&segment(0)), "its producers are not safe yet");
    let at = note.save().expect("the disk works");
    assert_eq!(at, Offset(2));
    world.step(1002, Event::ProducersNoted(topic_partition, Some(at)));
    assert!(!world.disk.files().contains_key(&segment(0)), "now it goes, without delay");
    assert!(!world.disk.files().contains_key(&segment(0).with_extension("snapshot")));
}

#[test]
fn who_has_not_caught_up_with_its_site_does_not_say_what_is_not_there() {
    // All boards lost power; one answered librdkafka before it knew what the site had agreed on:
    // "unknown topic", which is for good, and records were given up.
    let mut world = World::of(TopicConfig::default(), false);
    let connection = ConnectionId(1);
    let (local_host, peer_host) = ("h".into(), "p".into());
    world.step(
        0,
        Event::Opened { connection, local_host, local_port: 9092, peer_host, has_door: true },
    );
    let topics = vec![TopicRef::Name("t"), TopicRef::Name("later")];
    let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false };
    let asked = |world: &mut World, ms| {
        let body = BytesMut::from(&frame::encode_body(&request)[..]);
        let request = Request::Wire(ApiKey::Metadata, body);
        world.step(ms, Event::Request { connection, request, frame_bytes: 0 })
    };
    let errors = |outputs: Vec<Output<SimDisk>>| -> Vec<ErrorCode> {
        let body = outputs.into_iter().find_map(|output| match output {
            Output::Answer(_, Answer::Body(body)) => Some(body),
            _ => None,
        });
        let Some(body) = body else { return Vec::new() };
        let response: MetadataResponse<'_> = frame::decode(&body).expect("decodes");
        response.topics.iter().map(|topic| topic.error).collect()
    };
    let not_yet = [ErrorCode::NONE, ErrorCode::LEADER_NOT_AVAILABLE];
    assert_eq!(errors(asked(&mut world, 0)), [], "it waits");
    assert_eq!(errors(world.tick(5000)), not_yet, "but not for ever");
    let unknown = TopicRef::Name("later");
    let found = world.shard.topics().resolve(unknown, Partition(0));
    assert_eq!(found, Err(ErrorCode::NOT_LEADER_OR_FOLLOWER), "a producer asks again");

    assert_eq!(errors(asked(&mut world, 6000)), []);
    let known = [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    assert_eq!(errors(world.step(7000, Event::Informed)), known);
    assert_eq!(errors(asked(&mut world, 8000)), known);
    let found = world.shard.topics().resolve(unknown, Partition(0));
    assert_eq!(found, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}
