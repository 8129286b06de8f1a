//! The client's rules against a broker that does as it is told: semantics.md rows 58-79 and 97-99.

#[path = "support/fake_broker.rs"]
#[expect(dead_code, reason = "shared with client_idempotent.rs, which uses the rest")]
mod fake_broker;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fake_broker::{Act, FakeBroker};
use odradek::client::{
    Acks, Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, OffsetReset, Producer,
    ProducerConfig, ProducerRecord, TopicPartition,
};
use odradek::ids::{LeaderEpoch, Offset};
use odradek::record::{BatchBuilder, Compression, stamp};
use odradek::time::Timestamp;
use odradek::wire::{ErrorCode, FrameError};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn producer(broker: &FakeBroker, tune: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new(&broker.address());
    config.linger = Duration::ZERO;
    tune(&mut config);
    Producer::new(config).expect("legal settings")
}

fn send(producer: &Producer, value: &str) -> odradek::client::SendHandle {
    producer.send(&ProducerRecord::new("t", value).partition(0)).expect("room")
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:04}")).collect()
}

/// Row 69.
#[test]
fn records_linger_for_company() {
    let broker = FakeBroker::start(1);
    let producer = producer(&broker, |config| config.linger = 200 * MS);
    producer.partition_count("t").expect("known");
    let started = Instant::now();
    let handles: Vec<_> = numbers(0..20).iter().map(|value| send(&producer, value)).collect();
    for (index, handle) in handles.iter().enumerate() {
        assert_eq!(handle.wait().expect("written").offset, Offset(index as i64));
    }
    let arrivals = broker.arrivals();
    assert_eq!(arrivals.len(), 1, "one batch");
    assert!(200 * MS <= arrivals[0].at.duration_since(started), "not before its linger");
}

/// Row 68: full, flushed or closed goes without lingering.
#[test]
fn a_batch_goes_early_when_it_is_full_or_asked_for() {
    let broker = FakeBroker::start(1);
    let mut config = ProducerConfig::new(&broker.address());
    config.linger = HOUR;
    config.delivery_timeout = 2 * HOUR;
    config.batch_size = 1000;
    let producer = Producer::new(config).expect("legal settings");
    let value = "x".repeat(250);
    let handles: Vec<_> = (0..4).map(|_| send(&producer, &value)).collect();
    assert_eq!(handles[2].wait().expect("full").offset, Offset(2));
    assert!(!handles[3].is_done(), "the next batch lingers");
    producer.flush().expect("written");
    assert!(handles[3].is_done());
    let alone = send(&producer, &"y".repeat(5000));
    assert!(alone.wait_timeout(20_000 * MS).is_some(), "a larger record goes alone, at once");
    let last = send(&producer, "last");
    producer.close().expect("written");
    assert_eq!(last.wait().expect("written").offset, Offset(5));
    let sizes: Vec<usize> = broker.arrivals().iter().map(|one| one.values.len()).collect();
    assert_eq!(sizes, [3, 1, 1, 1]);
}

/// Row 70.
#[test]
fn a_full_buffer_blocks_and_then_says_so() {
    let broker = FakeBroker::start(1);
    broker.afterwards(Act::Swallow);
    let limit = 64 << 10;
    let producer = producer(&broker, |config| {
        config.buffer_memory = limit;
        config.max_block = 300 * MS;
    });
    let value = "x".repeat(1000);
    let record = ProducerRecord::new("t", &value).partition(0);
    let mut accepted = 0;
    let started = loop {
        let started = Instant::now();
        match producer.send(&record) {
            Ok(_) => accepted += 1,
            Err(error) => {
                assert_eq!(error, ClientError::BufferExhausted);
                break started;
            }
        }
        assert!(producer.buffer_used_bytes() <= limit);
    };
    assert!(300 * MS <= started.elapsed(), "it waited for max.block.ms");
    assert!((50..=64).contains(&accepted), "{accepted}");
    producer.close_timeout(Duration::ZERO).expect("handles know, nobody else asked");
}

/// Rows 76, 77: retriable errors are retried with growing pauses, and the record is written once.
#[test]
fn retries_pause_longer_each_time() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER); 4]);
    let producer = producer(&broker, |_| {});
    let metadata_before = broker.metadata_count();
    assert_eq!(send(&producer, "once").wait().expect("written").offset, Offset(0));
    let arrivals = broker.arrivals();
    let gaps: Vec<Duration> =
        arrivals.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect();
    assert_eq!(gaps.len(), 4);
    for (gap, least) in gaps.iter().zip([80, 160, 320, 640]) {
        assert!(least * MS <= *gap, "{gaps:?}");
    }
    assert_eq!(broker.appended(0), ["once"]);
    assert!(metadata_before + 1 < broker.metadata_count(), "leaders were asked for again");
}

#[test]
fn trouble_is_told_while_it_lasts() {
    let broker = FakeBroker::start(1);
    broker.afterwards(Act::Refuse(ErrorCode::KAFKA_STORAGE_ERROR));
    let producer = producer(&broker, |config| config.retry_backoff_max = 100 * MS);
    assert_eq!(producer.trouble(), None);
    let began = Instant::now();
    let handle = send(&producer, "patient");
    broker.wait_for_arrivals(3);
    let trouble = producer.trouble().expect("it was refused");
    assert_eq!(trouble.error, ClientError::Broker(ErrorCode::KAFKA_STORAGE_ERROR));
    assert!(began <= trouble.since && !handle.is_done());
    broker.wait_for_arrivals(6);
    assert_eq!(producer.trouble().map(|later| later.since), Some(trouble.since), "the same one");
    broker.afterwards(Act::Append);
    assert_eq!(handle.wait().expect("written").offset, Offset(0));
    producer.flush().expect("written");
    assert_eq!(producer.trouble(), None, "an acknowledgement ends it");
}

/// The command, with its words read as they come.
struct Command {
    child: std::process::Child,
    words: std::sync::mpsc::Receiver<String>,
}

impl Command {
    fn produce(broker: &FakeBroker) -> Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_odradek"));
        command.args(["produce", "t", "--print-acks", "--server", &broker.address()]);
        let piped = std::process::Stdio::piped;
        let mut child =
            command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("it starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, words) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Command { child, words }
    }

    fn feed(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    fn ack(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().expect("piped");
        BufReader::with_capacity(1, stdout).read_line(&mut line).expect("it writes");
        line
    }

    fn words(&self) -> String {
        self.words.recv_timeout(Duration::from_secs(20)).expect("it says something")
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A producer that waits for a disk or a broker said nothing for two minutes, and seemed to hang.
#[test]
fn the_command_says_what_it_waits_for() {
    let broker = FakeBroker::start(1);
    let mut command = Command::produce(&broker);
    broker.afterwards(Act::Refuse(ErrorCode::KAFKA_STORAGE_ERROR));
    command.feed("first");
    let words = command.words();
    assert!(words.contains("waiting for ") && words.contains("KAFKA_STORAGE_ERROR"), "{words}");
    assert!(words.contains("tried for 120 s"), "{words}");
    broker.afterwards(Act::Append);
    assert_eq!(command.ack(), "0 0 first\n");
    let words = command.words();
    assert!(words.ends_with("acknowledged again"), "{words}");
    drop(broker);
    command.feed("second");
    let words = command.words();
    assert!(words.contains("no broker can be reached: connection refused"), "{words}");
}

#[test]
fn what_is_not_retriable_fails_at_once_and_once() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Refuse(ErrorCode::INVALID_TIMESTAMP)]);
    let producer = producer(&broker, |config| config.linger = 50 * MS);
    let handles: Vec<_> = numbers(0..10).iter().map(|value| send(&producer, value)).collect();
    for handle in handles {
        let refused = Err(ClientError::Broker(ErrorCode::INVALID_TIMESTAMP));
        assert_eq!(handle.wait(), refused);
    }
    assert_eq!(broker.arrivals().len(), 1);
    // Memory is free a moment after the handles know: flush waits for both.
    assert_eq!(producer.flush(), Ok(()));
    assert_eq!(producer.buffer_used_bytes(), 0);
    let sent = producer.send_and_forget(&ProducerRecord::new("t", "fine").partition(0));
    assert_eq!(sent, Ok(()));
    assert_eq!(producer.flush(), Ok(()));
    broker.script(&[Act::Refuse(ErrorCode::INVALID_RECORD)]);
    producer.send_and_forget(&ProducerRecord::new("t", "bad").partition(0)).expect("room");
    let refused = Err(ClientError::Broker(ErrorCode::INVALID_RECORD));
    assert_eq!(producer.flush(), refused, "flush tells what nobody watched");
    assert_eq!(producer.flush(), Ok(()), "once");
}

/// Rows 75, 79: without an answer it is sent again, on a new connection; what was appended before
/// is there once, or twice where the producer is not idempotent.
#[test]
fn a_lost_answer_is_sent_again() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Swallow]);
    let producer = producer(&broker, |config| config.request_timeout = 300 * MS);
    send(&producer, "first").wait().expect("written in the end");
    let arrivals = broker.arrivals();
    assert_eq!(arrivals.len(), 2);
    assert!(300 * MS <= arrivals[1].at.duration_since(arrivals[0].at));
    assert_ne!(arrivals[0].connection, arrivals[1].connection);
    broker.script(&[Act::AppendAndHangUp]);
    send(&producer, "second").wait().expect("written in the end");
    assert_eq!(broker.appended(0), ["first", "second"]);
    let broker = FakeBroker::start(1);
    broker.script(&[Act::AppendAndHangUp]);
    let producer = self::producer(&broker, |config| config.enable_idempotence = Some(false));
    send(&producer, "third").wait().expect("written in the end");
    assert_eq!(broker.appended(0), ["third", "third"]);
}

/// A leader that stands still closes no connection: who is not answered asks who leads.
#[test]
fn a_deposed_leader_that_says_nothing_is_left() {
    let (old, new) = (FakeBroker::start(1), FakeBroker::start(1));
    old.afterwards(Act::Swallow);
    new.depose(&new);
    let producer = producer(&old, |config| config.request_timeout = 60_000 * MS);
    let first = send(&producer, "first");
    let begun = old.wait_for_arrivals(1)[0].at;
    old.depose(&new);
    first.wait().expect("the new leader takes it");
    assert!(begun.elapsed() < 20_000 * MS, "no request timeout was waited for");
    assert_eq!(new.appended(0), ["first"]);
}

/// Row 60 and KIP-91: the outcome comes within `delivery.timeout.ms`, once, whatever happens.
#[test]
fn the_delivery_timeout_ends_every_wait() {
    let broker = FakeBroker::start(1);
    broker.afterwards(Act::Swallow);
    let producer = producer(&broker, |config| {
        config.request_timeout = 400 * MS;
        config.delivery_timeout = 500 * MS;
        config.batch_size = 100;
    });
    producer.partition_count("t").expect("known");
    let started = Instant::now();
    let told = Arc::new(Mutex::new(BTreeMap::new()));
    for value in numbers(0..100) {
        let (told, key) = (Arc::clone(&told), value.clone());
        let record = ProducerRecord::new("t", &value).partition(0);
        let callback = move |result| {
            told.lock().expect("whole").entry(key).or_insert_with(Vec::new).push(result);
        };
        producer.send_with(&record, callback).expect("room");
    }
    producer.flush().expect("all are watched");
    assert!(500 * MS <= started.elapsed());
    let told = told.lock().expect("whole");
    assert_eq!(told.len(), 100);
    assert!(told.values().all(|results| *results == [Err(ClientError::Timeout)]));
    assert_eq!(producer.buffer_used_bytes(), 0);
}

#[test]
fn closing_in_a_hurry_tells_every_record() {
    let broker = FakeBroker::start(1);
    broker.afterwards(Act::Swallow);
    let producer = producer(&broker, |config| config.batch_size = 100);
    let handles: Vec<_> = numbers(0..100).iter().map(|value| send(&producer, value)).collect();
    producer.close_timeout(100 * MS).expect("all are watched");
    for handle in handles {
        let result = handle.wait_timeout(Duration::ZERO).expect("close waits for the outcomes");
        assert_eq!(result, Err(ClientError::Closed));
    }
    let late = producer.send(&ProducerRecord::new("t", "late")).map(drop);
    assert_eq!(late, Err(ClientError::Closed));
}

#[test]
fn a_batch_too_large_for_the_broker_is_cut() {
    let broker = FakeBroker::start(1);
    broker.batch_bytes_max(500);
    for compression in [Compression::None, Compression::Lz4] {
        let producer = producer(&broker, |config| {
            config.linger = 100 * MS;
            config.compression_type = compression;
            config.max_in_flight_requests_per_connection = 1;
        });
        let values = numbers(0..200);
        let before = broker.appended(0).len();
        let handles: Vec<_> = values.iter().map(|value| send(&producer, value)).collect();
        producer.flush().expect("all are watched");
        for (index, handle) in handles.iter().enumerate() {
            let written = handle.wait_timeout(Duration::ZERO).expect("flushed").expect("written");
            assert_eq!(written.offset, Offset((before + index) as i64), "{compression:?}");
        }
        assert_eq!(broker.appended(0)[before..], values, "in order, once");
        assert_eq!(producer.buffer_used_bytes(), 0);
        let alone = send(&producer, &incompressible(600));
        let refused = Err(ClientError::Broker(ErrorCode::MESSAGE_TOO_LARGE));
        assert_eq!(alone.wait(), refused, "one record cannot be cut");
    }
}

fn incompressible(chars: usize) -> String {
    let mut state = 1u64;
    let draw = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
        char::from(b' ' + (*state >> 33) as u8 % 94)
    };
    (0..chars).map(|_| draw(&mut state)).collect()
}

/// Row 78.
#[test]
fn requests_in_flight_are_bounded() {
    let broker = FakeBroker::start(1);
    for (in_flight, tag) in [(5, "five"), (1, "one")] {
        broker.afterwards(Act::Append);
        let producer = producer(&broker, |config| {
            config.batch_size = 1;
            config.max_in_flight_requests_per_connection = in_flight;
        });
        // The first goes alone in any case.
        send(&producer, tag).wait().expect("stored");
        broker.afterwards(Act::Swallow);
        let before = broker.arrivals().len();
        for _ in 0..20 {
            send(&producer, tag);
        }
        broker.wait_for_arrivals(before + in_flight);
        let closed = producer.close_timeout(100 * MS);
        assert_eq!(closed, Ok(()));
        assert_eq!(broker.arrivals().len() - before, in_flight, "{tag}");
    }
}

/// Row 78: one request in flight keeps the order through failures.
#[test]
fn one_in_flight_keeps_order() {
    let broker = FakeBroker::start(2);
    let refused = Act::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    broker.script(&[Act::Append, refused, Act::Append, refused, refused]);
    let producer = producer(&broker, |config| {
        config.batch_size = 100;
        config.max_in_flight_requests_per_connection = 1;
        config.retry_backoff = 10 * MS;
    });
    let values = numbers(0..60);
    for value in &values {
        let partition = i32::from(value.ends_with(['1', '3', '5', '7', '9']));
        let record = ProducerRecord::new("t", value).partition(partition);
        producer.send_and_forget(&record).expect("room");
    }
    producer.flush().expect("written");
    let even: Vec<String> = values.iter().step_by(2).cloned().collect();
    let odd: Vec<String> = values.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(broker.appended(0), even);
    assert_eq!(broker.appended(1), odd);
}

/// Row 72.
#[test]
fn acks_zero_waits_for_nothing() {
    let broker = FakeBroker::start(1);
    broker.afterwards(Act::Swallow);
    let producer = producer(&broker, |config| config.acks = Acks::None);
    assert_eq!(send(&producer, "gone").wait().expect("sent").offset, Offset(-1));
}

#[test]
fn a_callback_may_send_but_not_wait() {
    let broker = FakeBroker::start(1);
    let producer = Arc::new(producer(&broker, |_| {}));
    let seen = Arc::new(Mutex::new(None));
    let (inner, slot) = (Arc::clone(&producer), Arc::clone(&seen));
    let record = ProducerRecord::new("t", "outer").partition(0);
    let callback = move |_| {
        let sent = inner.send_and_forget(&ProducerRecord::new("t", "inner").partition(0));
        *slot.lock().expect("whole") = Some((sent, inner.flush()));
    };
    producer.send_with(&record, callback).expect("room");
    producer.flush().expect("written");
    let seen = seen.lock().expect("whole").take();
    assert_eq!(seen, Some((Ok(()), Err(ClientError::Callback))));
    producer.flush().expect("written");
    assert_eq!(broker.appended(0), ["outer", "inner"]);
}

/// Row 65-66: without a key every partition gets its share.
#[test]
fn keyless_records_fill_one_batch_after_another() {
    let broker = FakeBroker::start(3);
    let mut config = ProducerConfig::new(&broker.address());
    config.batch_size = 1000;
    let producer = Producer::new(config).expect("legal settings");
    for value in numbers(0..30_000) {
        producer.send_and_forget(&ProducerRecord::new("t", &value)).expect("room");
    }
    producer.flush().expect("written");
    let counts: Vec<usize> = (0..3).map(|partition| broker.appended(partition).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 30_000);
    assert!(counts.iter().all(|count| (6_000..=14_000).contains(count)), "{counts:?}");
    let batches = broker.arrivals().len();
    assert!(batches < 3000, "{batches} batches: records stuck together");
}

#[test]
fn settings_that_contradict_are_refused() {
    let refused = |tune: &dyn Fn(&mut ProducerConfig)| {
        let mut config = ProducerConfig::default();
        tune(&mut config);
        Producer::new(config).map(drop).expect_err("refused")
    };
    let key = |key| ClientError::Config(key);
    let short = refused(&|config| config.delivery_timeout = config.request_timeout);
    assert_eq!(short, key("delivery.timeout.ms"));
    let none = refused(&|config| config.max_in_flight_requests_per_connection = 0);
    assert_eq!(none, key("max.in.flight.requests.per.connection"));
    let many = refused(&|config| config.max_in_flight_requests_per_connection = 6);
    assert_eq!(many, key("max.in.flight.requests.per.connection"));
    let weak = refused(&|config| {
        config.enable_idempotence = Some(true);
        config.acks = Acks::Leader;
    });
    assert_eq!(weak, key("acks"));
    let once = refused(&|config| {
        config.enable_idempotence = Some(true);
        config.retries = 0;
    });
    assert_eq!(once, key("retries"));
    assert_eq!(refused(&|config| config.bootstrap_servers.clear()), key("bootstrap.servers"));
}

/// Row 82: who does not say that records shall be stored once gets it where nothing contradicts it.
#[test]
fn idempotence_is_on_unless_something_contradicts_it() {
    let is_on = |tune: &dyn Fn(&mut ProducerConfig)| {
        let mut config = ProducerConfig::default();
        tune(&mut config);
        config.is_idempotent()
    };
    assert!(is_on(&|_| {}));
    assert!(!is_on(&|config| config.acks = Acks::Leader));
    assert!(!is_on(&|config| config.retries = 0));
    assert!(!is_on(&|config| config.enable_idempotence = Some(false)));
    let config = ProducerConfig {
        enable_idempotence: Some(false),
        max_in_flight_requests_per_connection: 6,
        ..ProducerConfig::default()
    };
    assert!(Producer::new(config).is_ok(), "without it more may be in flight");
}

/// Peers that are no broker: an error each, nothing reserved for what they claim.
#[test]
fn a_peer_that_is_no_broker_is_an_error() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x7f\xff\xff\xff", b"\0\0\0\0", b""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client comes");
            let mut bytes = [0; 64];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(answer);
        });
        let admin = Admin::new(AdminConfig::new(&address)).expect("legal settings");
        let error = admin.list_topics().expect_err("it is no broker");
        let is_expected = matches!(
            error,
            ClientError::Protocol(FrameError::Malformed) | ClientError::Disconnected(_)
        );
        assert!(is_expected, "{answer:?}: {error:?}");
        peer.join().expect("it has ended");
    }
    let nobody = Admin::new(AdminConfig::new("127.0.0.1:1")).expect("legal settings");
    let error = nobody.list_topics().expect_err("nobody is there");
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

fn batch(base: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(Timestamp(1000), None, Some(value.as_bytes()), &[]);
    }
    let mut batch = builder.finish(Compression::None);
    stamp(&mut batch, Offset(base), LeaderEpoch(3));
    batch
}

/// A batch whose control bit is set, its checksum made good again.
fn control(base: i64) -> Vec<u8> {
    let mut bytes = batch(base, &["marker"]);
    bytes[22] |= 0x20;
    let crc = odradek::record::crc::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn reader(broker: &FakeBroker) -> (Consumer, TopicPartition) {
    let mut config = ConsumerConfig::new(&broker.address());
    config.auto_offset_reset = OffsetReset::Earliest;
    let mut consumer = Consumer::new(config).expect("legal settings");
    let tp = TopicPartition::new("t", 0);
    consumer.assign(std::slice::from_ref(&tp)).expect("a legal name");
    (consumer, tp)
}

fn offsets(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let records = consumer.poll(Duration::from_secs(10)).expect("readable");
        assert!(!records.is_empty(), "only {offsets:?} came");
        offsets.extend(records.iter().map(|record| record.offset.0));
    }
    offsets
}

/// Section 2.25: control batches and gaps move the position, records below it are skipped.
#[test]
fn a_consumer_skips_what_is_not_for_it() {
    let broker = FakeBroker::start(1);
    let log = [batch(0, &["a", "b", "c"]), control(3), batch(10, &["d", "e"]), control(12)];
    broker.set_log(log.concat(), 13);
    let (mut consumer, tp) = reader(&broker);
    assert_eq!(offsets(&mut consumer, 5), [0, 1, 2, 10, 11]);
    assert_eq!(consumer.poll(100 * MS), Ok(Vec::new()));
    assert_eq!(consumer.position(&tp), Ok(Offset(13)), "behind the last marker");
    assert_eq!(consumer.lag(&tp), Some(0));
    consumer.seek(&tp, Offset(2)).expect("assigned");
    assert_eq!(offsets(&mut consumer, 3), [2, 10, 11], "0 and 1 lie in the batch of 2");
    consumer.seek(&tp, Offset(5)).expect("assigned");
    assert_eq!(offsets(&mut consumer, 2), [10, 11], "nothing between");
}

#[test]
fn a_damaged_batch_stops_the_consumer_until_it_seeks_past() {
    let broker = FakeBroker::start(1);
    let mut damaged = batch(2, &["c", "d"]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    broker.set_log([batch(0, &["a", "b"]), damaged, batch(4, &["e"])].concat(), 5);
    let (mut consumer, tp) = reader(&broker);
    assert_eq!(offsets(&mut consumer, 2), [0, 1], "what is sound comes first");
    let corrupt =
        ClientError::Corrupt { topic: "t".to_owned(), partition: tp.partition, offset: Offset(2) };
    assert_eq!(consumer.poll(Duration::from_secs(10)), Err(corrupt.clone()));
    assert_eq!(consumer.poll(Duration::from_secs(10)), Err(corrupt));
    assert_eq!(consumer.position(&tp), Ok(Offset(2)));
    consumer.seek(&tp, Offset(4)).expect("assigned");
    assert_eq!(offsets(&mut consumer, 1), [4]);
}

#[test]
fn a_seek_forgets_what_was_fetched_ahead() {
    let broker = FakeBroker::start(1);
    let values: Vec<String> = numbers(0..2000);
    let mut log = Vec::new();
    for (index, value) in values.iter().enumerate() {
        log.extend(batch(index as i64, &[value]));
    }
    broker.set_log(log, 2000);
    let (mut consumer, tp) = reader(&broker);
    for target in [0, 1500, 3, 1999, 700] {
        consumer.seek(&tp, Offset(target)).expect("assigned");
        let records = consumer.poll(Duration::from_secs(10)).expect("readable");
        assert_eq!(records[0].offset, Offset(target));
        assert!(records.len() <= 500, "max.poll.records");
        let expected: Vec<i64> = (target..).take(records.len()).collect();
        assert_eq!(records.iter().map(|one| one.offset.0).collect::<Vec<_>>(), expected);
        assert_eq!(consumer.position(&tp), Ok(Offset(target + records.len() as i64)));
    }
}
