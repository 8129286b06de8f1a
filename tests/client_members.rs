//! Consumers in groups against a broker in this process, over a real socket, with 1 shard and with
//! 4: semantics.md rows 100-112.

#[path = "support/running.rs"]
mod running;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use odradek::client::assignors::{CooperativeStickyAssignor, StickyAssignor};
use odradek::client::{
    Admin, AdminConfig, Consumer, ConsumerConfig, ConsumerRecord, NewTopic, OffsetReset, Producer,
    ProducerConfig, ProducerRecord, TopicPartition,
};
use odradek::ids::Offset;
use running::Running;

const MS: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(30);
const SETTINGS: [&str; 1] = ["group.initial.rebalance.delay.ms=0"];

fn create(broker: &Running, name: &str, partitions: i32) {
    let admin = Admin::new(AdminConfig::new(&broker.address())).expect("legal settings");
    let new = NewTopic::new(name).partitions(partitions);
    admin.create_topics(&[new]).expect("answered")[0].as_ref().expect("created");
}

/// Sends numbers to all partitions of a topic in turn.
fn produce(broker: &Running, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    let producer = Producer::new(ProducerConfig::new(&broker.address())).expect("legal settings");
    for number in numbers {
        let value = number.to_string();
        let record = ProducerRecord::new(topic, &value).partition(number % partitions);
        producer.send_and_forget(&record).expect("room");
    }
    producer.flush().expect("all written");
}

fn consumer(broker: &Running, tune: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let mut config = ConsumerConfig::new(&broker.address());
    config.group_id = Some("readers".to_owned());
    config.heartbeat_interval = 100 * MS;
    config.auto_offset_reset = OffsetReset::Earliest;
    config.partition_assignment_strategy = vec![Arc::new(CooperativeStickyAssignor)];
    tune(&mut config);
    Consumer::new(config).expect("legal settings")
}

fn number(record: &ConsumerRecord) -> i32 {
    let bytes = record.value.as_deref().expect("a value");
    std::str::from_utf8(bytes).expect("text").parse().expect("a number")
}

/// Polls all of them until `is_done` with what each poll brought.
fn poll_until(
    consumers: &mut [&mut Consumer],
    mut is_done: impl FnMut(&[&mut Consumer], Vec<ConsumerRecord>) -> bool,
) {
    let deadline = Instant::now() + WAIT;
    loop {
        assert!(Instant::now() < deadline, "not in {WAIT:?}");
        let mut records = Vec::new();
        for consumer in consumers.iter_mut() {
            records.extend(consumer.poll(10 * MS).expect("readable"));
        }
        if is_done(consumers, records) {
            return;
        }
    }
}

fn shares(consumers: &[&mut Consumer]) -> Vec<usize> {
    let all: Vec<TopicPartition> = consumers.iter().flat_map(|one| one.assignment()).collect();
    let distinct: BTreeSet<&TopicPartition> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "two members have the same: {all:?}");
    consumers.iter().map(|one| one.assignment().len()).collect()
}

/// Members share, records come once, and what was read stays read: across members, and across a
/// restart of the broker.
#[test]
fn a_group_shares_and_remembers() {
    for shards in [1, 4] {
        let mut broker = Running::start("members", shards, &SETTINGS);
        create(&broker, "shared", 4);
        produce(&broker, "shared", 4, 0..200);
        let mut first = consumer(&broker, |_| {});
        let mut second = consumer(&broker, |_| {});
        first.subscribe(&["shared"]).expect("a legal name");
        second.subscribe(&["shared"]).expect("a legal name");
        let mut seen = BTreeSet::new();
        poll_until(&mut [&mut first, &mut second], |all, records| {
            for record in &records {
                assert!(seen.insert(number(record)), "{} came twice", number(record));
            }
            seen.len() == 200 && shares(all) == [2, 2]
        });
        first.commit_sync().expect("it is a member");
        second.close();
        poll_until(&mut [&mut first], |all, records| {
            assert!(records.is_empty(), "read before");
            shares(all) == [4]
        });
        first.close();
        broker.restart();
        produce(&broker, "shared", 4, 200..220);
        let mut third = consumer(&broker, |_| {});
        third.subscribe(&["shared"]).expect("a legal name");
        let mut rest = BTreeSet::new();
        poll_until(&mut [&mut third], |_, records| {
            rest.extend(records.iter().map(number));
            rest.len() == 20
        });
        assert_eq!(rest, (200..220).collect());
    }
}

/// A broker that restarts is a coordinator that reads its log: its members come back, lose
/// nothing, and read on.
#[test]
fn members_outlive_their_coordinator() {
    for shards in [1, 4] {
        let mut broker = Running::start("outlive", shards, &SETTINGS);
        create(&broker, "steady", 2);
        let mut reader = consumer(&broker, |config| {
            config.partition_assignment_strategy = vec![Arc::new(StickyAssignor)];
        });
        reader.subscribe(&["steady"]).expect("a legal name");
        poll_until(&mut [&mut reader], |all, _| shares(all) == [2]);
        produce(&broker, "steady", 2, 0..10);
        let mut count = 0;
        poll_until(&mut [&mut reader], |_, records| {
            count += records.len();
            count == 10
        });
        broker.restart();
        produce(&broker, "steady", 2, 10..20);
        poll_until(&mut [&mut reader], |_, records| {
            count += records.len();
            20 <= count
        });
        assert_eq!(count, 20);
        let tp = TopicPartition::new("steady", 0);
        let deadline = Instant::now() + WAIT;
        while reader.commit_sync().is_err() {
            assert!(Instant::now() < deadline, "it is no member any more");
            reader.poll(10 * MS).expect("readable");
        }
        let committed = reader.committed(std::slice::from_ref(&tp)).expect("answered");
        assert_eq!(committed[0].as_ref().expect("committed").offset, Offset(10));
    }
}

/// A static member that comes back within its session has its partitions at once, and nobody else
/// notices (KIP-345).
#[test]
fn a_static_member_comes_back() {
    let broker = Running::start("static", 1, &SETTINGS);
    create(&broker, "kept", 4);
    let named = |name: &'static str| {
        move |config: &mut ConsumerConfig| config.group_instance_id = Some(name.to_owned())
    };
    let mut stays = consumer(&broker, named("stays"));
    let mut leaves = consumer(&broker, named("leaves"));
    stays.subscribe(&["kept"]).expect("a legal name");
    leaves.subscribe(&["kept"]).expect("a legal name");
    poll_until(&mut [&mut stays, &mut leaves], |all, _| shares(all) == [2, 2]);
    let (mine, before) = (leaves.assignment(), stays.group_metadata().expect("a group"));
    leaves.close();
    let mut back = consumer(&broker, named("leaves"));
    back.subscribe(&["kept"]).expect("a legal name");
    poll_until(&mut [&mut stays, &mut back], |all, _| shares(all) == [2, 2]);
    assert_eq!(back.assignment(), mine);
    assert_eq!(stays.group_metadata().expect("a group"), before);
}

/// Topics that come and grow later are noticed by the leader.
#[test]
fn topics_that_come_later_are_read() {
    let broker = Running::start("later", 1, &SETTINGS);
    let mut reader = consumer(&broker, |config| config.metadata_max_age = 300 * MS);
    reader.subscribe(&["late", "later"]).expect("legal names");
    poll_until(&mut [&mut reader], |all, _| {
        0 < all[0].group_metadata().expect("a group").generation_id
    });
    create(&broker, "late", 2);
    poll_until(&mut [&mut reader], |all, _| shares(all) == [2]);
    create(&broker, "later", 1);
    poll_until(&mut [&mut reader], |all, _| shares(all) == [3]);
    let mut by_pattern = consumer(&broker, |config| {
        config.group_id = Some("by pattern".to_owned());
        config.metadata_max_age = 300 * MS;
    });
    by_pattern.subscribe_pattern("late.*").expect("a legal pattern");
    poll_until(&mut [&mut by_pattern], |all, _| shares(all) == [3]);
    create(&broker, "latest", 2);
    poll_until(&mut [&mut by_pattern], |all, _| shares(all) == [5]);
}

/// A member that closes while its join waits for others does not wait with it.
#[test]
fn who_closes_while_joining_is_gone_at_once() {
    let broker = Running::start("closing", 1, &["group.initial.rebalance.delay.ms=20000"]);
    create(&broker, "slow", 1);
    for _ in 0..2 {
        let mut reader = consumer(&broker, |_| {});
        reader.subscribe(&["slow"]).expect("a legal name");
        assert_eq!(reader.poll(300 * MS), Ok(Vec::new()));
        let began = Instant::now();
        reader.close();
        assert!(began.elapsed() < 5_000 * MS, "{:?}", began.elapsed());
    }
}
