//! The work that the site is given: a producer fed by the sensors, and a consumer that reads it all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use odradek::client::{
    ClientError, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};

use super::ledger::Ledger;
use super::sensor::Sensor;
use super::watch::TOPIC;

/// Time between two readings of a sensor.
const PACE: Duration = Duration::from_millis(10);

/// How long a request may go unanswered: a broker that was paused holds its connections, and only
/// time tells that it does not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What the threads share.
#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// The sensors rest.
    is_over: AtomicBool,
    /// The reader rests too.
    is_read: AtomicBool,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Feed {
    shared: Arc<Shared>,
    producer: Arc<Producer>,
    threads: Vec<JoinHandle<()>>,
}

impl Feed {
    /// Begins to write and to read, `partition_count` partitions from the sensors.
    pub fn start(
        servers: &str,
        sensors: Vec<Sensor>,
        partition_count: usize,
    ) -> Result<Feed, ClientError> {
        let shared = Arc::new(Shared {
            ledger: Mutex::new(Ledger::new(sensors.len(), partition_count)),
            is_over: AtomicBool::new(false),
            is_read: AtomicBool::new(false),
        });
        let producer = Arc::new(Producer::new(ProducerConfig {
            request_timeout: REQUEST_TIMEOUT,
            connection_setup_timeout: REQUEST_TIMEOUT,
            ..ProducerConfig::new(servers)
        })?);
        let mut consumer = Consumer::new(ConsumerConfig {
            request_timeout: REQUEST_TIMEOUT,
            connection_setup_timeout: REQUEST_TIMEOUT,
            ..ConsumerConfig::new(servers)
        })?;
        let partitions = 0..partition_count as i32;
        let partitions: Vec<TopicPartition> =
            partitions.map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        consumer.assign(&partitions)?;
        consumer.seek_to_beginning(&partitions)?;
        let keys: Vec<&'static str> = sensors.iter().map(|sensor| sensor.key).collect();
        let writer = {
            let (shared, producer) = (Arc::clone(&shared), Arc::clone(&producer));
            thread::Builder::new()
                .name("sensors".to_owned())
                .spawn(move || write(&shared, &producer, &sensors))?
        };
        let reader = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("reader".to_owned())
                .spawn(move || read(&shared, &mut consumer, &keys))?
        };
        Ok(Feed { shared, producer, threads: vec![writer, reader] })
    }

    /// What was written and read so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// Why the producer tries again, if it does.
    pub fn trouble(&self) -> Option<String> {
        self.producer.trouble().map(|trouble| trouble.error.to_string())
    }

    /// The sensors rest: no more records.
    pub fn rest(&self) {
        self.shared.is_over.store(true, Ordering::Release);
    }

    /// Ends both threads; what has no outcome by now is given up.
    pub fn stop(mut self) {
        self.rest();
        self.shared.is_read.store(true, Ordering::Release);
        // A failure is in the ledger.
        let _ = self.producer.close_timeout(Duration::ZERO);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn write(shared: &Arc<Shared>, producer: &Producer, sensors: &[Sensor]) {
    let mut due = Instant::now();
    while !shared.is_over.load(Ordering::Acquire) {
        for (series, sensor) in sensors.iter().enumerate() {
            let reading = sensor.read();
            let mut ledger = shared.ledger();
            let partition = ledger.partition_of(series);
            let (number, value) = ledger.send(Instant::now(), series, &reading);
            drop(ledger);
            let record = ProducerRecord::new(TOPIC, &value).key(sensor.key);
            let record = record.partition(partition as i32);
            let told = Arc::clone(shared);
            let sent = producer.send_with(&record, move |outcome| {
                let mut ledger = told.ledger();
                match outcome {
                    Ok(at) => {
                        let place = at.partition.0 as usize;
                        ledger.acknowledge(Instant::now(), series, number, place, at.offset.0);
                    }
                    Err(_) => ledger.refuse(),
                }
            });
            if sent.is_err() {
                shared.ledger().refuse();
            }
        }
        due += PACE;
        // After a wait for room in the buffer there is nothing to make up for.
        due = due.max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn read(shared: &Shared, consumer: &mut Consumer, keys: &[&'static str]) {
    while !shared.is_read.load(Ordering::Acquire) {
        // What fails here is tried again; what stays away shows as unread.
        let Ok(records) = consumer.poll(Duration::from_millis(100)) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let mut ledger = shared.ledger();
        for record in records {
            let key = record.key.unwrap_or_default();
            let series = keys.iter().position(|own| own.as_bytes() == &key[..]);
            let value = record.value.unwrap_or_default();
            ledger.read(series, &value, record.partition.0 as usize, record.offset.0);
        }
    }
}
