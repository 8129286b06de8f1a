//! Our producer's idempotence against a broker that does as it is told and checks sequences as
//! Kafka's does: semantics.md rows 78 to 84 and 2.24, KIP-98 and KIP-360.

#[path = "support/fake_broker.rs"]
#[expect(dead_code, reason = "shared with client_rules.rs, which uses the rest")]
mod fake_broker;

use std::time::Duration;

use fake_broker::{Act, Arrival, FakeBroker};
use odradek::client::{
    Acks, ClientError, Producer, ProducerConfig, ProducerRecord, RecordMetadata, SendHandle,
};
use odradek::ids::Offset;
use odradek::wire::ErrorCode;

const MS: Duration = Duration::from_millis(1);

/// Sends each record in a batch of its own, up to five at a time.
fn producer(broker: &FakeBroker, tune: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new(&broker.address());
    config.linger = Duration::ZERO;
    config.batch_size = 1;
    config.retry_backoff = 10 * MS;
    config.retry_backoff_max = 100 * MS;
    config.reconnect_backoff = 10 * MS;
    tune(&mut config);
    Producer::new(config).expect("legal settings")
}

fn send(producer: &Producer, value: &str) -> SendHandle {
    producer.send(&ProducerRecord::new("t", value).partition(0)).expect("room")
}

fn send_all(producer: &Producer, values: &[String]) -> Vec<SendHandle> {
    values.iter().map(|value| send(producer, value)).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:04}")).collect()
}

fn outcomes(handles: &[SendHandle]) -> Vec<Result<RecordMetadata, ClientError>> {
    handles.iter().map(SendHandle::wait).collect()
}

/// Each handle knows where its record is, and the partition holds each once and in order.
#[track_caller]
fn check_stored(broker: &FakeBroker, values: &[String], handles: &[SendHandle]) {
    for (place, outcome) in outcomes(handles).into_iter().enumerate() {
        assert_eq!(outcome.expect("stored").offset, Offset(place as i64));
    }
    assert_eq!(broker.appended(0), values);
}

fn epochs(arrivals: &[Arrival]) -> Vec<i16> {
    let mut epochs: Vec<i16> = arrivals.iter().map(|arrival| arrival.stamp.1).collect();
    epochs.dedup();
    epochs
}

#[test]
fn sequences_count_the_records_of_each_partition() {
    let broker = FakeBroker::start(2);
    let producer = producer(&broker, |_| {});
    for value in numbers(10) {
        let partition = i32::from(value.ends_with(['1', '3', '5', '7', '9']));
        let record = ProducerRecord::new("t", &value).partition(partition);
        producer.send(&record).expect("room").wait().expect("stored");
    }
    assert_eq!(broker.id_count(), 1, "one id serves all");
    let mut next = [0, 0];
    for arrival in broker.arrivals() {
        let partition = usize::from(arrival.values[0].ends_with(['1', '3', '5', '7', '9']));
        assert_eq!(arrival.stamp, (1001, 0, next[partition]));
        next[partition] += arrival.values.len() as i32;
    }
    assert_eq!(next, [5, 5]);
}

/// Row 75: the answer is lost with the connection, the record was stored.
#[test]
fn what_is_sent_again_is_stored_once() {
    let broker = FakeBroker::start(1);
    let script = [Act::Append, Act::AppendAndHangUp, Act::Append, Act::AppendAndHangUp];
    broker.script(&script);
    let producer = producer(&broker, |_| {});
    let values = numbers(30);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    assert!(values.len() < broker.arrivals().len(), "something was sent again");
    assert_eq!(epochs(&broker.arrivals()), [0]);
}

/// Row 78: with five in flight, a failure in front of the others costs no order.
#[test]
fn order_is_kept_when_one_of_five_fails() {
    let broker = FakeBroker::start(1);
    let refused = Act::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    broker.script(&[Act::Append, refused, Act::Append, refused, Act::Append, Act::Append, refused]);
    let producer = producer(&broker, |_| {});
    let values = numbers(60);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    assert_eq!(epochs(&broker.arrivals()), [0], "waiting was enough");
}

#[test]
fn a_request_without_an_answer_is_sent_again_and_keeps_its_sequence() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Append, Act::Swallow]);
    let producer = producer(&broker, |config| config.request_timeout = 200 * MS);
    let values = numbers(20);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    let mut of_second = broker.arrivals();
    of_second.retain(|arrival| arrival.values == ["0001"]);
    assert!(1 < of_second.len(), "sent again");
    assert!(of_second.iter().all(|arrival| arrival.stamp == (1001, 0, 1)));
}

/// KIP-360: a batch that is refused for good leaves a gap; the next epoch has none.
#[test]
fn what_follows_a_refused_batch_goes_on_in_the_next_epoch() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Append, Act::Refuse(ErrorCode::INVALID_RECORD)]);
    let producer = producer(&broker, |_| {});
    let values = numbers(20);
    let handles = send_all(&producer, &values);
    let mut outcomes = outcomes(&handles);
    let refused = outcomes.remove(1);
    assert_eq!(refused, Err(ClientError::Broker(ErrorCode::INVALID_RECORD)));
    for (place, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.expect("stored").offset, Offset(place as i64));
    }
    let mut stored = values;
    stored.remove(1);
    assert_eq!(broker.appended(0), stored, "once, in order");
    assert_eq!(epochs(&broker.arrivals()), [0, 1]);
    let first = broker.arrivals().into_iter().find(|arrival| arrival.stamp.1 == 1);
    assert_eq!(first.expect("there is one").stamp, (1001, 1, 0), "sequences begin anew");
}

/// A partition that lost nothing keeps its epoch until it is idle.
#[test]
fn other_partitions_are_not_disturbed() {
    let broker = FakeBroker::start(2);
    broker.script(&[Act::Append, Act::Refuse(ErrorCode::INVALID_RECORD)]);
    let producer = producer(&broker, |_| {});
    let on = |partition: i32, value: &str| {
        let record = ProducerRecord::new("t", value).partition(partition);
        producer.send(&record).expect("room").wait()
    };
    on(1, "a").expect("stored");
    on(0, "refused").expect_err("by the script");
    on(1, "b").expect("stored");
    on(0, "c").expect("stored");
    on(1, "d").expect("stored");
    assert_eq!(broker.appended(0), ["c"]);
    assert_eq!(broker.appended(1), ["a", "b", "d"]);
    let stamps: Vec<_> = broker.arrivals().into_iter().map(|one| one.stamp).collect();
    let of = |epoch, sequence| (1001, epoch, sequence);
    assert_eq!(stamps, [of(0, 0), of(0, 0), of(0, 1), of(1, 0), of(1, 0)]);
}

/// A batch whose time is over may have been stored: what follows must not be refused for it.
#[test]
fn what_follows_a_lost_batch_is_stored() {
    for last_words in [Act::Swallow, Act::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS)] {
        let broker = FakeBroker::start(1);
        broker.afterwards(last_words);
        let producer = producer(&broker, |config| {
            config.request_timeout = 100 * MS;
            config.delivery_timeout = 300 * MS;
        });
        let lost = send(&producer, "lost");
        let error = lost.wait().expect_err("nothing is appended");
        assert!(error.is_retriable(), "{error:?}");
        broker.afterwards(Act::Append);
        let values = numbers(10);
        let handles = send_all(&producer, &values);
        check_stored(&broker, &values, &handles);
    }
}

/// Retention, or time, may make a broker forget; the batch in its hands is taken all the same.
#[test]
fn a_broker_that_forgets_is_told_again() {
    let broker = FakeBroker::start(1);
    let producer = producer(&broker, |_| {});
    let mut values = numbers(4);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    broker.forget_producers();
    let unknown = Act::Refuse(ErrorCode::UNKNOWN_PRODUCER_ID);
    let out_of_order = Act::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    broker.script(&[unknown, Act::Append, out_of_order]);
    for value in ["five", "six"] {
        send(&producer, value).wait().expect("stored");
        values.push(value.to_owned());
    }
    assert_eq!(broker.appended(0), values);
    assert_eq!(epochs(&broker.arrivals()), [0, 1, 2], "each time from 0 in the next epoch");
}

#[test]
fn an_id_is_asked_for_until_there_is_one() {
    let broker = FakeBroker::start(1);
    broker.refuse_ids(&[ErrorCode::KAFKA_STORAGE_ERROR; 3]);
    let producer = producer(&broker, |_| {});
    let values = numbers(3);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    assert_eq!(broker.id_count(), 4);

    let broker = FakeBroker::start(1);
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    broker.refuse_ids(&[refused]);
    let producer = self::producer(&broker, |_| {});
    assert_eq!(send(&producer, "no").wait(), Err(ClientError::Broker(refused)), "told at once");
    send(&producer, "yes").wait().expect("the next one asks again");
    assert_eq!(broker.appended(0), ["yes"]);
}

/// KAFKA-18660: behind the last epoch comes another id.
#[test]
fn epochs_end_and_another_id_begins() {
    let broker = FakeBroker::start(2);
    broker.give_epoch(i16::MAX);
    broker.script(&[Act::Append, Act::Append, Act::Refuse(ErrorCode::INVALID_RECORD)]);
    let producer = producer(&broker, |_| {});
    let on = |partition: i32, value: &str| {
        let record = ProducerRecord::new("t", value).partition(partition);
        producer.send(&record).expect("room").wait()
    };
    on(0, "a").expect("stored");
    on(1, "b").expect("stored");
    on(0, "refused").expect_err("by the script");
    on(0, "c").expect("stored");
    on(1, "d").expect("stored");
    let stamps: Vec<_> = broker.arrivals().into_iter().map(|one| one.stamp).collect();
    let old = |sequence| (1001, i16::MAX, sequence);
    assert_eq!(stamps, [old(0), old(0), old(1), (1002, 0, 0), (1002, 0, 0)]);
}

/// Kafka's brokers of old said so; it is success, though nobody knows the offset.
#[test]
fn a_duplicate_that_is_called_one_was_stored() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Refuse(ErrorCode::DUPLICATE_SEQUENCE_NUMBER)]);
    let producer = producer(&broker, |_| {});
    assert_eq!(send(&producer, "stored").wait().expect("stored").offset, Offset(-1));
}

#[test]
fn without_idempotence_there_is_no_id() {
    let broker = FakeBroker::start(1);
    let producer = producer(&broker, |config| config.acks = Acks::Leader);
    send(&producer, "plain").wait().expect("stored");
    assert_eq!(broker.id_count(), 0);
    assert_eq!(broker.arrivals()[0].stamp, (-1, -1, -1));
}

/// A broker that knows nothing of a producer takes any of its batches for the first. The second one
/// was under way when the first was lost on its way: it was stored, and the first never could be.
#[test]
fn the_first_batch_goes_alone() {
    let broker = FakeBroker::start(1);
    broker.script(&[Act::Swallow]);
    let producer = producer(&broker, |config| {
        config.request_timeout = 300 * MS;
        config.delivery_timeout = Duration::from_secs(20);
    });
    let values = numbers(2);
    let first = send(&producer, &values[0]);
    broker.wait_for_arrivals(1);
    let second = send(&producer, &values[1]);
    check_stored(&broker, &values, &[first, second]);
}

/// A batch that is cut keeps its sequences, and what follows it its place.
#[test]
fn halves_share_the_sequences_of_the_whole() {
    let broker = FakeBroker::start(1);
    broker.batch_bytes_max(400);
    let producer = producer(&broker, |config| {
        config.batch_size = 16_384;
        config.linger = 50 * MS;
    });
    let values = numbers(200);
    let handles = send_all(&producer, &values);
    check_stored(&broker, &values, &handles);
    assert_eq!(epochs(&broker.arrivals()), [0]);
}

/// Everything at once: whatever the broker does that is no refusal for good, each record is stored
/// once, in order.
#[test]
fn no_weather_loses_doubles_or_reorders() {
    let mut seed = 0x5eed_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..10 {
        let broker = FakeBroker::start(1);
        let acts = (0..120).map(|_| match random(9) {
            0 => Act::AppendAndHangUp,
            1 => Act::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            2 => Act::Refuse(ErrorCode::KAFKA_STORAGE_ERROR),
            3 if random(4) == 0 => Act::Swallow,
            _ => Act::Append,
        });
        broker.script(&acts.collect::<Vec<_>>());
        let producer = producer(&broker, |config| {
            config.retry_backoff_max = 20 * MS;
            config.request_timeout = 100 * MS;
        });
        let values = numbers(100);
        let handles = send_all(&producer, &values);
        check_stored(&broker, &values, &handles);
    }
}
