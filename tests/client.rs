//! Producer, consumer and admin against a broker in this process, over a real socket, with 1 shard
//! and with 4.

#[path = "support/running.rs"]
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use odradek::client::{
    Acks, Admin, AdminConfig, AlterConfig, ClientError, Consumer, ConsumerConfig, ConsumerRecord,
    NewTopic, OffsetReset, OffsetSpec, Producer, ProducerConfig, ProducerRecord, Resource,
    TopicPartition, partition_for_key,
};
use odradek::ids::{Offset, Partition};
use odradek::record::Compression;
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use running::Running;

const WAIT: Duration = Duration::from_secs(10);

fn admin(broker: &Running) -> Admin {
    Admin::new(AdminConfig::new(&broker.address())).expect("legal settings")
}

fn create(broker: &Running, name: &str, partitions: i32) {
    let new = NewTopic::new(name).partitions(partitions);
    let created = admin(broker).create_topics(&[new]).expect("the broker answers");
    assert_eq!(created[0].as_ref().expect("created").partition_count, partitions);
}

fn producer(broker: &Running, tune: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new(&broker.address());
    tune(&mut config);
    Producer::new(config).expect("legal settings")
}

fn consumer(broker: &Running, reset: OffsetReset) -> Consumer {
    let mut config = ConsumerConfig::new(&broker.address());
    config.auto_offset_reset = reset;
    Consumer::new(config).expect("legal settings")
}

/// Polls until `count` records are there.
fn read(consumer: &mut Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    while records.len() < count {
        let polled = consumer.poll(WAIT).expect("readable");
        assert!(!polled.is_empty(), "{} of {count} records came", records.len());
        records.extend(polled);
    }
    assert_eq!(records.len(), count);
    records
}

fn value(record: &ConsumerRecord) -> String {
    let bytes = record.value.as_deref().expect("a value");
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn for_each_shard_count(test: impl Fn(usize)) {
    test(1);
    test(4);
}

#[test]
fn records_come_back_by_key_in_order() {
    for_each_shard_count(|shards| {
        let broker = Running::start("keys", shards, &[]);
        create(&broker, "keyed", 5);
        let producer = producer(&broker, |_| {});
        let mut handles = Vec::new();
        for number in 0..2000 {
            let (key, text) = (format!("key-{}", number % 17), format!("{number}"));
            let record = ProducerRecord::new("keyed", &text).key(&key).header("n", &text);
            handles.push((key.clone(), producer.send(&record).expect("room")));
        }
        for (key, handle) in &handles {
            let written = handle.wait().expect("acknowledged");
            assert_eq!(written.partition, partition_for_key(key.as_bytes(), 5));
        }
        producer.close().expect("all acknowledged");

        let mut consumer = consumer(&broker, OffsetReset::Earliest);
        let all = consumer.partitions_for("keyed").expect("known");
        assert_eq!(all.len(), 5);
        consumer.assign(&all).expect("legal names");
        let records = read(&mut consumer, 2000);
        let mut ends: BTreeMap<Partition, i64> = BTreeMap::new();
        let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for record in &records {
            let end = ends.entry(record.partition).or_insert(0);
            assert_eq!(record.offset.0, *end, "no gap, no repeat, in order");
            *end += 1;
            let number: i64 = value(record).parse().expect("a number");
            let key = record.key.as_deref().expect("a key").to_vec();
            assert_eq!(record.partition, partition_for_key(&key, 5));
            let before = last.insert(key, number);
            assert!(before.is_none_or(|before| before < number), "order within a key");
            assert_eq!(record.headers.len(), 1);
            assert_eq!(record.headers[0].1.as_deref(), record.value.as_deref());
        }
    });
}

#[test]
fn every_codec_and_acks_reach_the_consumer() {
    let broker = Running::start("codecs", 2, &[]);
    create(&broker, "codecs", 1);
    let mut expected = Vec::new();
    for compression in Compression::ALL {
        for acks in [Acks::All, Acks::Leader, Acks::None] {
            let producer = producer(&broker, |config| {
                config.compression_type = compression;
                config.acks = acks;
            });
            for number in 0..50 {
                let text = format!("{} {acks:?} {number}", compression.name());
                let handle = producer.send(&ProducerRecord::new("codecs", &text)).expect("room");
                expected.push(text);
                if number == 49 {
                    let written = handle.wait().expect("written");
                    assert_eq!(written.offset.0 < 0, acks == Acks::None, "{written:?}");
                }
            }
            producer.close().expect("written");
        }
    }
    let mut consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign(&[TopicPartition::new("codecs", 0)]).expect("legal");
    let records = read(&mut consumer, expected.len());
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), expected);
}

#[test]
fn callbacks_come_once_each_in_the_order_of_the_offsets() {
    let broker = Running::start("callbacks", 2, &[]);
    create(&broker, "called", 3);
    let producer = producer(&broker, |config| config.batch_size = 500);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for number in 0..1000 {
        let text = format!("{number}");
        let seen = Arc::clone(&seen);
        let record = ProducerRecord::new("called", &text).partition(number % 3);
        let callback = move |result: Result<_, _>| seen.lock().expect("whole").push(result);
        producer.send_with(&record, callback).expect("room");
    }
    producer.flush().expect("all acknowledged");
    let seen = seen.lock().expect("whole");
    assert_eq!(seen.len(), 1000, "flush returns behind the callbacks");
    let mut ends = [0i64; 3];
    for result in seen.iter() {
        let written: &odradek::client::RecordMetadata = result.as_ref().expect("acknowledged");
        let end = &mut ends[written.partition.0 as usize];
        assert_eq!(written.offset, Offset(*end));
        *end += 1;
    }
}

#[test]
fn seeks_go_to_offsets_times_and_ends() {
    let broker = Running::start("seeks", 1, &[]);
    create(&broker, "seeks", 1);
    let tp = TopicPartition::new("seeks", 0);
    let producer = producer(&broker, |config| config.batch_size = 1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let base = now.expect("after 1970").as_millis() as i64 - 100_000;
    for number in 0..100i64 {
        let text = format!("{number}");
        let record = ProducerRecord::new("seeks", &text);
        let record = record.timestamp(Timestamp(base + number * 10)).partition(0);
        producer.send(&record).expect("room").wait().expect("written");
    }
    let mut consumer = consumer(&broker, OffsetReset::Latest);
    assert_eq!(consumer.seek(&tp, Offset(3)), Err(ClientError::NotAssigned));
    consumer.assign(std::slice::from_ref(&tp)).expect("legal");
    assert_eq!(consumer.position(&tp), Ok(Offset(100)), "latest by default");
    consumer.seek(&tp, Offset(42)).expect("assigned");
    assert_eq!(consumer.position(&tp), Ok(Offset(42)));
    assert_eq!(read(&mut consumer, 58)[0].offset, Offset(42));
    consumer.seek_to_beginning(&[]).expect("assigned");
    let first = consumer.poll(WAIT).expect("readable");
    assert_eq!(first[0].offset, Offset(0));
    consumer.seek_to_timestamp(std::slice::from_ref(&tp), Timestamp(base + 505)).expect("assigned");
    assert_eq!(consumer.position(&tp), Ok(Offset(51)));
    assert_eq!(consumer.poll(WAIT).expect("readable")[0].offset, Offset(51));
    consumer.seek_to_end(&[]).expect("assigned");
    assert_eq!(consumer.position(&tp), Ok(Offset(100)));
    assert_eq!(consumer.poll(Duration::from_millis(50)), Ok(Vec::new()));

    let at = |ms| (tp.clone(), Timestamp(base + ms));
    for (ms, expected) in [(505, Some(51)), (990, Some(99)), (991, None)] {
        let found = consumer.offsets_for_times(&[at(ms)]).expect("answered")[0];
        assert_eq!(found.map(|found| found.offset.0), expected);
        if let Some(found) = found {
            assert_eq!(found.timestamp, Timestamp(base + found.offset.0 * 10));
        }
    }
    let tps = [tp.clone()];
    assert_eq!(consumer.beginning_offsets(&tps), Ok(vec![Offset(0)]));
    assert_eq!(consumer.end_offsets(&tps), Ok(vec![Offset(100)]));
}

#[test]
fn a_position_that_is_gone_is_reset_by_policy() {
    let broker = Running::start("reset", 1, &[]);
    create(&broker, "reset", 1);
    let tp = TopicPartition::new("reset", 0);
    let producer = producer(&broker, |config| config.batch_size = 1);
    for number in 0..10 {
        let text = format!("{number}");
        producer.send(&ProducerRecord::new("reset", &text)).expect("room").wait().expect("written");
    }
    let trimmed = admin(&broker).delete_records(&[(tp.clone(), Some(Offset(4)))]);
    assert_eq!(trimmed, Ok(vec![Ok(Offset(4))]));
    for (reset, expected) in [(OffsetReset::Earliest, 4), (OffsetReset::Latest, 10)] {
        let mut consumer = consumer(&broker, reset);
        consumer.assign(std::slice::from_ref(&tp)).expect("legal");
        consumer.seek(&tp, Offset(2)).expect("assigned");
        if expected < 10 {
            assert_eq!(read(&mut consumer, 6)[0].offset, Offset(expected));
        } else {
            assert_eq!(consumer.poll(Duration::from_millis(700)), Ok(Vec::new()));
            assert_eq!(consumer.position(&tp), Ok(Offset(expected)));
        }
    }
    let mut consumer = consumer(&broker, OffsetReset::None);
    consumer.assign(std::slice::from_ref(&tp)).expect("legal");
    let gone = |offset| ClientError::OffsetOutOfRange {
        topic: "reset".to_owned(),
        partition: Partition(0),
        offset,
    };
    assert_eq!(consumer.poll(WAIT), Err(gone(None)), "no position was ever set");
    consumer.seek(&tp, Offset(2)).expect("assigned");
    assert_eq!(consumer.poll(WAIT), Err(gone(Some(Offset(2)))));
    assert_eq!(consumer.poll(WAIT), Err(gone(Some(Offset(2)))), "until a seek");
    consumer.seek(&tp, Offset(9)).expect("assigned");
    assert_eq!(read(&mut consumer, 1)[0].offset, Offset(9));
}

#[test]
fn a_paused_partition_is_silent_and_goes_on_where_it_stood() {
    let broker = Running::start("pause", 2, &[]);
    create(&broker, "pause", 2);
    let tps = [TopicPartition::new("pause", 0), TopicPartition::new("pause", 1)];
    let producer = producer(&broker, |_| {});
    for number in 0..200 {
        let text = format!("{number}");
        let record = ProducerRecord::new("pause", &text).partition(number % 2);
        producer.send_and_forget(&record).expect("room");
    }
    producer.flush().expect("written");
    let mut config = ConsumerConfig::new(&broker.address());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.max_poll_records = 7;
    let mut consumer = Consumer::new(config).expect("legal");
    consumer.assign(&tps).expect("legal");
    let before = consumer.poll(WAIT).expect("readable");
    assert!(!before.is_empty() && before.len() <= 7);
    consumer.pause(&tps[..1]).expect("assigned");
    assert_eq!(consumer.paused(), tps[..1]);
    let from_first = before.iter().filter(|one| one.partition == Partition(0)).count();
    let left = 100 - (before.len() - from_first);
    for record in read(&mut consumer, left) {
        assert_eq!(record.partition, Partition(1));
    }
    assert_eq!(consumer.poll(Duration::from_millis(50)), Ok(Vec::new()));
    consumer.resume(&tps[..1]).expect("assigned");
    let rest = read(&mut consumer, 100 - from_first);
    assert_eq!(rest[0].offset, Offset(from_first as i64));
}

#[test]
fn a_waiting_poll_sees_a_new_record_at_once() {
    let broker = Running::start("wake", 1, &[]);
    create(&broker, "wake", 1);
    let mut consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign(&[TopicPartition::new("wake", 0)]).expect("legal");
    assert_eq!(consumer.poll(Duration::from_millis(100)), Ok(Vec::new()));
    let producer = producer(&broker, |config| config.linger = Duration::ZERO);
    producer.send(&ProducerRecord::new("wake", "up")).expect("room");
    assert_eq!(value(&read(&mut consumer, 1)[0]), "up");
}

/// A fetch is parked while the broker stops. With several shards it asked shards that had ended
/// already, waited for `shutdown.timeout.ms`, and so did whoever stopped the broker.
#[test]
fn a_restart_of_the_broker_loses_and_repeats_nothing() {
    for shards in [1, 4] {
        let mut broker = Running::start("restart", shards, &[]);
        create(&broker, "restart", 4);
        let producer = producer(&broker, |_| {});
        let mut consumer = consumer(&broker, OffsetReset::Earliest);
        let all = consumer.partitions_for("restart").expect("known");
        consumer.assign(&all).expect("legal");
        let mut seen = BTreeSet::new();
        for round in 0..3 {
            for number in 0..100 {
                let text = format!("{round}-{number}");
                producer.send_and_forget(&ProducerRecord::new("restart", &text)).expect("room");
            }
            producer.flush().expect("written");
            for record in read(&mut consumer, 100) {
                assert!(seen.insert(value(&record)), "once each");
            }
            let began = Instant::now();
            broker.restart();
            assert!(began.elapsed() < WAIT, "{shards} shards: {:?}", began.elapsed());
        }
        assert_eq!(seen.len(), 300);
    }
}

#[test]
fn the_admin_sees_and_changes_topics() {
    let broker = Running::start("admin", 1, &[]);
    let admin = admin(&broker);
    let new = NewTopic::new("a.topic").partitions(2).config("retention.ms", "60000");
    let created = admin.create_topics(&[new.clone(), NewTopic::new("a/b")]).expect("answered");
    assert_eq!(created[0].as_ref().expect("created").partition_count, 2);
    let refused = created[1].as_ref().expect_err("no such name");
    assert_eq!(refused.error, ErrorCode::INVALID_TOPIC_EXCEPTION);
    let again = admin.create_topics(&[new]).expect("answered");
    assert_eq!(again[0].as_ref().expect_err("there").error, ErrorCode::TOPIC_ALREADY_EXISTS);

    let names: Vec<String> =
        admin.list_topics().expect("answered").into_iter().map(|topic| topic.name).collect();
    assert!(names.contains(&"a.topic".to_owned()), "{names:?}");
    let grown = admin.create_partitions(&[("a.topic", 3)]).expect("answered");
    assert_eq!(grown, [Ok(())]);
    let described = admin.describe_topics(&["a.topic", "nobody"]).expect("answered");
    assert_eq!(described[0].as_ref().expect("there").partitions.len(), 3);
    assert_eq!(described[1], Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));

    let topic = Resource::Topic("a.topic".to_owned());
    let set = |key: &str, value: &str| AlterConfig::Set(key.to_owned(), value.to_owned());
    let changes = [(topic.clone(), vec![set("retention.ms", "120000")])];
    assert_eq!(admin.incremental_alter_configs(&changes).expect("answered"), [Ok(())]);
    let wrong = [(topic.clone(), vec![set("retention.mss", "1")])];
    let refused = admin.incremental_alter_configs(&wrong).expect("answered");
    assert_eq!(refused[0].as_ref().expect_err("no such key").error, ErrorCode::INVALID_CONFIG);
    let configs = admin.describe_configs(&[topic, Resource::Broker]).expect("answered");
    let configs = configs[0].as_ref().expect("there");
    let retention = configs.iter().find(|config| config.key == "retention.ms");
    assert_eq!(retention.expect("listed").value, "120000");

    let producer = producer(&broker, |_| {});
    let record = ProducerRecord::new("a.topic", "x").partition(1).timestamp(Timestamp::NONE);
    drop(producer.send(&record));
    let record = ProducerRecord::new("a.topic", "x").partition(1);
    let written = producer.send(&record).expect("room").wait().expect("written");
    let tp = TopicPartition::new("a.topic", 1);
    let found = admin.list_offsets(&[(tp, OffsetSpec::MaxTimestamp)]).expect("answered");
    assert_eq!(found[0].expect("led").expect("a record").timestamp, written.timestamp);
    let dirs = admin.describe_log_dirs(&["a.topic"]).expect("answered");
    assert_eq!(dirs.len(), 3);
    let cluster = admin.describe_cluster().expect("answered");
    assert_eq!(cluster.brokers[0].address, broker.address());
    let metrics = admin.describe_metrics().expect("answered");
    assert!(metrics.iter().any(|metric| metric.name == "produce_requests_count"), "{metrics:?}");
    assert_eq!(admin.delete_topics(&["a.topic"]).expect("answered"), [Ok(())]);
    let described = admin.describe_topics(&["a.topic"]).expect("answered");
    assert_eq!(described[0], Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn what_cannot_be_sent_is_said_at_once() {
    let broker = Running::start("refused", 1, &["auto.create.topics.enable=false"]);
    create(&broker, "there", 3);
    let producer = producer(&broker, |config| config.max_block = Duration::from_millis(300));
    let sent = |record: &ProducerRecord<'_>| producer.send(record).map(drop);
    assert!(matches!(sent(&ProducerRecord::new("a/b", "x")), Err(ClientError::Topic(_))));
    let unknown = ClientError::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(sent(&ProducerRecord::new("nobody", "x")), Err(unknown));
    let beyond = ProducerRecord::new("there", "x").partition(99);
    assert_eq!(sent(&beyond), Err(ClientError::Timeout), "semantics.md row 64");
    let large = vec![0u8; 2 << 20];
    let large = sent(&ProducerRecord::new("there", &large));
    assert!(matches!(large, Err(ClientError::RecordTooLarge { .. })), "{large:?}");
    assert_eq!(sent(&ProducerRecord::new("there", "fits")), Ok(()));
    producer.close().expect("written");
    assert_eq!(sent(&ProducerRecord::new("there", "late")), Err(ClientError::Closed));
}
