//! What a user hooks into the producer: interceptors, partitioners, serializers (semantics.md rows
//! 61-66), against a broker that does as it is told.

#[path = "support/fake_broker.rs"]
#[expect(dead_code, reason = "shared with client_rules.rs, which uses the rest")]
mod fake_broker;

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake_broker::{Act, FakeBroker};
use odradek::client::{
    ClientError, LongSerializer, Partitioner, Producer, ProducerConfig, ProducerInterceptor,
    ProducerRecord, RecordMetadata, RoundRobinPartitioner, SerializationError, Serializer,
    StringSerializer, TopicInfo, TypedProducer,
};
use odradek::wire::ErrorCode;

fn producer(broker: &FakeBroker, tune: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new(&broker.address());
    config.linger = Duration::ZERO;
    tune(&mut config);
    Producer::new(config).expect("legal settings")
}

/// Adds its name as a header, and writes the names it sees into the value.
#[derive(Debug)]
struct Named {
    name: &'static str,
    told: Arc<Mutex<Vec<String>>>,
}

impl ProducerInterceptor for Named {
    fn on_send<'a>(
        &self,
        mut record: ProducerRecord<'a>,
    ) -> Result<ProducerRecord<'a>, Box<dyn Error>> {
        record.headers.push((Cow::Borrowed(self.name), None));
        let seen: Vec<&str> = record.headers.iter().map(|(key, _)| &**key).collect();
        record.value = Some(Cow::Owned(seen.join("+").into_bytes()));
        Ok(record)
    }

    fn on_acknowledgement(
        &self,
        topic: &str,
        outcome: Result<&RecordMetadata, &ClientError>,
    ) -> Result<(), Box<dyn Error>> {
        let what = outcome.map_or_else(ToString::to_string, |written| written.offset.to_string());
        self.told.lock().expect("whole").push(format!("{} {topic} {what}", self.name));
        Ok(())
    }
}

#[derive(Debug)]
struct Failing;

impl ProducerInterceptor for Failing {
    fn on_send<'a>(
        &self,
        mut record: ProducerRecord<'a>,
    ) -> Result<ProducerRecord<'a>, Box<dyn Error>> {
        record.value = None;
        Err("not today".into())
    }

    fn on_acknowledgement(
        &self,
        _topic: &str,
        _outcome: Result<&RecordMetadata, &ClientError>,
    ) -> Result<(), Box<dyn Error>> {
        panic!("an interceptor of a test");
    }
}

/// Row 61: in order, each sees what the one before it made, and one that fails is passed over.
#[test]
fn interceptors_form_a_chain() {
    let broker = FakeBroker::start(1);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let named = |name| Arc::new(Named { name, told: Arc::clone(&told) });
    let producer = producer(&broker, |config| {
        config.interceptors = vec![named("1"), Arc::new(Failing), named("2")];
    });
    producer
        .send(&ProducerRecord::new("t", "v").header("0", ""))
        .expect("sent")
        .wait()
        .expect("ok");
    let after = Arc::clone(&told);
    let callback = move |outcome: Result<RecordMetadata, ClientError>| {
        let offset = outcome.expect("written").offset;
        after.lock().expect("whole").push(format!("callback {offset}"));
    };
    producer.send_with(&ProducerRecord::new("t", "v"), callback).expect("sent");
    producer.send_and_forget(&ProducerRecord::new("t", "v")).expect("sent");
    producer.flush().expect("all written");
    assert_eq!(broker.appended(0), ["0+1+2", "1+2", "1+2"]);
    let expected = ["1 t 0", "2 t 0", "1 t 1", "2 t 1", "callback 1", "1 t 2", "2 t 2"];
    assert_eq!(*told.lock().expect("whole"), expected);
}

/// A send that fails at once, and one that fails later, are told once each.
#[test]
fn interceptors_hear_of_failures() {
    let broker = FakeBroker::start(1);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let named = Arc::new(Named { name: "i", told: Arc::clone(&told) });
    let producer = producer(&broker, |config| config.interceptors = vec![named]);
    let refused = producer.send(&ProducerRecord::new("no/topic", "v")).expect_err("no such name");
    broker.script(&[Act::Refuse(ErrorCode::INVALID_RECORD)]);
    let handle = producer.send(&ProducerRecord::new("t", "v")).expect("sent");
    let failed = handle.wait().expect_err("the broker refuses it");
    assert_eq!(failed, ClientError::Broker(ErrorCode::INVALID_RECORD));
    let expected = [format!("i no/topic {refused}"), format!("i t {failed}")];
    assert_eq!(*told.lock().expect("whole"), expected);
}

/// Always the same.
#[derive(Debug)]
struct Fixed(i32);

impl Partitioner for Fixed {
    fn partition(&self, _record: &ProducerRecord<'_>, topic: &TopicInfo) -> i32 {
        assert_eq!(topic.partitions.len(), 3);
        self.0
    }
}

/// Row 63: a custom partitioner decides, unless the record names a partition (row 64).
#[test]
fn a_custom_partitioner_decides() {
    let broker = FakeBroker::start(3);
    let fixed = producer(&broker, |config| config.partitioner = Some(Arc::new(Fixed(2))));
    for value in ["a", "b"] {
        let record = ProducerRecord::new("t", value).key(value);
        fixed.send(&record).expect("sent").wait().expect("written");
    }
    fixed.send(&ProducerRecord::new("t", "c").partition(1)).expect("sent").wait().expect("written");
    assert_eq!(broker.appended(2), ["a", "b"]);
    assert_eq!(broker.appended(1), ["c"]);
    let negative = producer(&broker, |config| config.partitioner = Some(Arc::new(Fixed(-1))));
    let refused = negative.send(&ProducerRecord::new("t", "d")).expect_err("no partition");
    assert_eq!(refused, ClientError::Broker(ErrorCode::INVALID_PARTITIONS));
    let beyond = producer(&broker, |config| {
        config.partitioner = Some(Arc::new(Fixed(3)));
        config.max_block = Duration::from_millis(50);
    });
    let late = beyond.send(&ProducerRecord::new("t", "e")).expect_err("it never comes");
    assert_eq!(late, ClientError::Timeout);
}

/// Row 66: round robin is exact, for keys too.
#[test]
fn round_robin_is_even() {
    let broker = FakeBroker::start(3);
    let robin = Arc::new(RoundRobinPartitioner::default());
    let producer = producer(&broker, |config| {
        config.partitioner = Some(robin);
        config.linger = Duration::from_millis(5);
    });
    for _ in 0..3000 {
        producer.send_and_forget(&ProducerRecord::new("t", "v").key("k")).expect("sent");
    }
    producer.flush().expect("all written");
    assert_eq!([0, 1, 2].map(|partition| broker.appended(partition).len()), [1000; 3]);
}

#[test]
fn keys_may_be_ignored() {
    let broker = FakeBroker::start(3);
    let producer = producer(&broker, |config| {
        config.partitioner_ignore_keys = true;
        config.batch_size = 200;
    });
    for _ in 0..300 {
        producer.send_and_forget(&ProducerRecord::new("t", "0123456789").key("k")).expect("sent");
    }
    producer.flush().expect("all written");
    for partition in 0..3 {
        assert!(!broker.appended(partition).is_empty(), "partition {partition} has nothing");
    }
}

struct Picky;

impl Serializer<str> for Picky {
    fn serialize<'a>(
        &self,
        topic: &str,
        value: &'a str,
    ) -> Result<Cow<'a, [u8]>, SerializationError> {
        match value {
            "bad" => Err(SerializationError::new("bad is not good")),
            value => Ok(Cow::Owned(format!("{topic}:{value}").into_bytes())),
        }
    }
}

/// Row 62: a serializer that fails fails the send, and nothing is sent.
#[test]
fn serializers_make_the_bytes() {
    let broker = FakeBroker::start(1);
    let typed = TypedProducer::new(producer(&broker, |_| {}), StringSerializer, Picky);
    typed.send("t", Some("k"), Some("good")).expect("sent").wait().expect("written");
    let refused = typed.send("t", Some("k"), Some("bad")).expect_err("it cannot be serialized");
    assert_eq!(refused.to_string(), "bad is not good");
    typed.producer().flush().expect("all written");
    assert_eq!(broker.appended(0), ["t:good"]);
    let longs = TypedProducer::new(producer(&broker, |_| {}), StringSerializer, LongSerializer);
    let record = longs.record("t", None::<&str>, Some(&0x4142_4344_4546_4748)).expect("8 bytes");
    longs.producer().send(&record.partition(0)).expect("sent").wait().expect("written");
    assert_eq!(broker.appended(0), ["t:good", "ABCDEFGH"]);
}
