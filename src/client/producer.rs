//! The producer: records in, batches out, one outcome for each record.
//!
//! `send` appends to the buffer and returns; one thread sends (see `sender`). Names, defaults and
//! meanings are those of Kafka's Java producer (semantics.md rows 57-79 and 2.24).

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::client::ClientError;
use crate::client::accumulator::{Accumulator, Lane, Payload, Rules};
use crate::client::background::Background;
use crate::client::cluster::{Cluster, Endpoint};
use crate::client::interceptor::{self, ProducerInterceptor};
use crate::client::net::Waker;
use crate::client::outcome::{Callback, Place, RecordMetadata, SendHandle};
use crate::client::partitioner::{Partitioner, Random, partition_for_key};
use crate::client::producer_record::ProducerRecord;
use crate::client::sender::{Landed, Sender};
use crate::client::topics::Topics;
use crate::ids::{Partition, TopicName};
use crate::record::Compression;
use crate::time::Timestamp;
use crate::wire::ErrorCode;

/// Which acknowledgement a record waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// `acks=0`: none. Records may be lost without a word.
    None,
    /// `acks=1`: the leader has appended it. A power cut may take it.
    Leader,
    /// `acks=all`: it is on the stable storage of every in-sync replica.
    All,
}

impl Acks {
    pub(super) fn number(self) -> i8 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }

    /// Reads `0`, `1`, `-1` or `all`.
    pub fn parse(text: &str) -> Option<Acks> {
        match text {
            "0" => Some(Acks::None),
            "1" => Some(Acks::Leader),
            "-1" | "all" => Some(Acks::All),
            _ => None,
        }
    }
}

/// Requests in flight that an idempotent producer may have: a partition recognizes as many batches
/// when they come again.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

/// A producer's settings; [`Default`] has Kafka's.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `bootstrap.servers`: `HOST:PORT`, several separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// `acks`.
    pub acks: Acks,
    /// `compression.type`.
    pub compression_type: Compression,
    /// `linger.ms`: how long a batch waits for more records.
    pub linger: Duration,
    /// `batch.size`: bytes at which a batch goes without waiting; a larger record goes alone.
    pub batch_size: usize,
    /// `buffer.memory`: bytes of records without an outcome.
    pub buffer_memory: usize,
    /// `max.block.ms`: how long `send` waits for metadata and memory.
    pub max_block: Duration,
    /// `retries`: bounded in practice by `delivery.timeout.ms`.
    pub retries: u32,
    /// `retry.backoff.ms`: the first pause; each one is twice the last, with jitter.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `delivery.timeout.ms`: from `send` to the outcome; at least linger and request timeout.
    pub delivery_timeout: Duration,
    /// `request.timeout.ms`: after it a request counts as lost, and its batches are sent again.
    pub request_timeout: Duration,
    /// `enable.idempotence`: every record is stored once, in the order of the sends, however often
    /// it is sent. It asks for `acks=all`, `retries` above 0 and at most 5 requests in flight.
    /// `None`, the default, is `Some(true)`, save that other `acks` or no `retries` switch it off.
    pub enable_idempotence: Option<bool>,
    /// `max.in.flight.requests.per.connection`. Above 1, and without idempotence, a retry may put
    /// a batch behind a later one of its partition.
    pub max_in_flight_requests_per_connection: usize,
    /// `max.request.size`.
    pub max_request_size: usize,
    /// `partitioner.class`: who chooses partitions. `None` is Kafka's default: the key's murmur2
    /// hash, or without a key one partition until its batch is full.
    pub partitioner: Option<Arc<dyn Partitioner>>,
    /// `partitioner.ignore.keys`: the default partitioner takes no notice of keys.
    pub partitioner_ignore_keys: bool,
    /// `interceptor.classes`: a chain that sees every record and what becomes of it.
    pub interceptors: Vec<Arc<dyn ProducerInterceptor>>,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `reconnect.backoff.ms`; it doubles to twenty times itself, as Kafka's defaults do.
    pub reconnect_backoff: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig {
            bootstrap_servers: "127.0.0.1:7092".to_owned(),
            client_id: "odradek-producer".to_owned(),
            acks: Acks::All,
            compression_type: Compression::None,
            linger: Duration::from_millis(5),
            batch_size: 16_384,
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            retries: i32::MAX as u32,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_millis(1000),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            enable_idempotence: None,
            max_in_flight_requests_per_connection: 5,
            max_request_size: 1 << 20,
            partitioner: None,
            partitioner_ignore_keys: false,
            interceptors: Vec::new(),
            metadata_max_age: Duration::from_secs(300),
            reconnect_backoff: Duration::from_millis(50),
            connection_setup_timeout: Duration::from_secs(10),
        }
    }
}

impl ProducerConfig {
    /// The defaults, with these `bootstrap.servers`.
    pub fn new(bootstrap_servers: &str) -> ProducerConfig {
        ProducerConfig { bootstrap_servers: bootstrap_servers.to_owned(), ..Self::default() }
    }

    fn check(&self) -> Result<(), ClientError> {
        let complaints = [
            (self.bootstrap_servers.trim().is_empty(), "bootstrap.servers"),
            (self.delivery_timeout < self.linger + self.request_timeout, "delivery.timeout.ms"),
            (
                self.max_in_flight_requests_per_connection < 1,
                "max.in.flight.requests.per.connection",
            ),
            (
                self.enable_idempotence != Some(false)
                    && IDEMPOTENT_IN_FLIGHT_MAX < self.max_in_flight_requests_per_connection,
                "max.in.flight.requests.per.connection",
            ),
            (self.enable_idempotence == Some(true) && self.acks != Acks::All, "acks"),
            (self.enable_idempotence == Some(true) && self.retries == 0, "retries"),
            (self.request_timeout.is_zero(), "request.timeout.ms"),
            (self.retry_backoff_max < self.retry_backoff, "retry.backoff.max.ms"),
        ];
        match complaints.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, key)) => Err(ClientError::Config(key)),
            None => Ok(()),
        }
    }

    /// Whether each record is stored once: `enable.idempotence`, if nothing contradicts it.
    pub fn is_idempotent(&self) -> bool {
        self.enable_idempotence.unwrap_or(self.acks == Acks::All && 0 < self.retries)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            bootstrap_servers: self.bootstrap_servers.clone(),
            client_id: self.client_id.clone(),
            request_timeout: self.request_timeout,
            connect_timeout: self.connection_setup_timeout,
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            batch_bytes: self.batch_size,
            linger: self.linger,
            memory_bytes: self.buffer_memory,
            delivery_timeout: self.delivery_timeout,
            request_bytes_max: self.max_request_size,
            keeps_order: self.max_in_flight_requests_per_connection == 1,
        }
    }
}

/// Why a producer tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was met last.
    pub error: ClientError,
    /// When it began, whatever it was then.
    pub since: Instant,
}

/// What the callers and the sender share.
pub(super) struct Shared {
    pub config: ProducerConfig,
    state: Mutex<State>,
    /// Memory was freed, metadata came, batches were completed, or the end came.
    pub changed: Condvar,
    pub waker: Waker,
}

pub(super) struct State {
    pub accumulator: Accumulator,
    pub topics: Topics,
    pub random: Random,
    pub landed: Landed,
    /// The first failure of a record that nobody watches, since the last flush.
    pub unwatched_error: Option<ClientError>,
    /// Since the last acknowledgement.
    pub trouble: Option<Trouble>,
    /// After this time the sender gives up what is left.
    pub give_up_at: Option<Instant>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a bug of ours; the callers' threads still want answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> (MutexGuard<'a, State>, bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, true);
        }
        let waited = self.changed.wait_timeout(state, left);
        (waited.unwrap_or_else(PoisonError::into_inner).0, false)
    }
}

/// Sends records. Share it among threads by reference or in an `Arc`.
///
/// ```no_run
/// use odradek::client::{Producer, ProducerConfig, ProducerRecord};
///
/// let producer = Producer::new(ProducerConfig::new("127.0.0.1:7092"))?;
/// let handle = producer.send(&ProducerRecord::new("host.vmstat", "procs 1").key("this machine"))?;
/// let written = handle.wait()?;
/// println!("{}-{} at {}", written.topic, written.partition, written.offset);
/// producer.close()?;
/// # Ok::<(), odradek::client::ClientError>(())
/// ```
pub struct Producer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    sender_id: ThreadId,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// Who wants to know what becomes of a record.
#[derive(Default)]
struct Watch {
    wants_handle: bool,
    callback: Option<Callback>,
    /// Nobody: the next flush tells.
    is_unwatched: bool,
}

impl Producer {
    /// Starts the sending thread; brokers are looked for when there is something to send.
    pub fn new(config: ProducerConfig) -> Result<Producer, ClientError> {
        config.check()?;
        let background = Background::start("producer-calls", Cluster::new(config.endpoint()))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                accumulator: Accumulator::new(config.rules()),
                topics: Topics::default(),
                random: Random::new(),
                landed: Landed::default(),
                unwatched_error: None,
                trouble: None,
                give_up_at: None,
            }),
            changed: Condvar::new(),
            waker: Waker::new()?,
            config,
        });
        let sender = Sender::new(Arc::clone(&shared), background);
        let thread =
            thread::Builder::new().name("producer".to_owned()).spawn(move || sender.run())?;
        let sender_id = thread.thread().id();
        Ok(Producer { shared, thread: Mutex::new(Some(thread)), sender_id })
    }

    /// Sends a record; the handle tells what became of it.
    ///
    /// Waits at most `max.block.ms`, and only while the topic is not known yet or the buffer is
    /// full.
    pub fn send(&self, record: &ProducerRecord<'_>) -> Result<SendHandle, ClientError> {
        let handle = self.intercept(record, Watch { wants_handle: true, ..Watch::default() })?;
        Ok(handle.expect("a handle was asked for"))
    }

    /// Sends a record and calls back with what became of it, exactly once, on the sending thread:
    /// within a partition in the order of the sends. A callback that blocks holds up all others.
    pub fn send_with(
        &self,
        record: &ProducerRecord<'_>,
        callback: impl FnOnce(Result<RecordMetadata, ClientError>) + Send + 'static,
    ) -> Result<(), ClientError> {
        let callback: Option<Callback> = Some(Box::new(callback));
        self.intercept(record, Watch { callback, ..Watch::default() }).map(drop)
    }

    /// Sends a record and does not look back; the next [`Producer::flush`] answers the first
    /// failure.
    pub fn send_and_forget(&self, record: &ProducerRecord<'_>) -> Result<(), ClientError> {
        self.intercept(record, Watch { is_unwatched: true, ..Watch::default() }).map(drop)
    }

    /// Appends what the interceptors make of a record, and has them told its outcome.
    fn intercept(
        &self,
        record: &ProducerRecord<'_>,
        mut watch: Watch,
    ) -> Result<Option<SendHandle>, ClientError> {
        let chain = &self.shared.config.interceptors;
        if chain.is_empty() {
            return self.append(record, watch);
        }
        let record = interceptor::on_send(chain, record.clone());
        let (told, topic) = (chain.clone(), record.topic.to_owned());
        let callback = watch.callback.take();
        watch.callback = Some(Box::new(move |outcome| {
            interceptor::on_acknowledgement(&told, &topic, outcome.as_ref());
            if let Some(callback) = callback {
                callback(outcome);
            }
        }));
        let appended = self.append(&record, watch);
        if let Err(error) = &appended {
            interceptor::on_acknowledgement(chain, record.topic, Err(error));
        }
        appended
    }

    fn append(
        &self,
        record: &ProducerRecord<'_>,
        watch: Watch,
    ) -> Result<Option<SendHandle>, ClientError> {
        TopicName::new(record.topic)?;
        let headers = record.header_slices();
        let payload = Payload {
            timestamp: record.timestamp.unwrap_or_else(wall_clock),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let Watch { wants_handle, mut callback, is_unwatched } = watch;
        let config = &self.shared.config;
        let now = Instant::now();
        let deadline = now + config.max_block;
        let mut named = record.partition;
        let mut state = self.shared.lock();
        state.accumulator.can_hold(&payload)?;
        loop {
            if state.accumulator.closing {
                return Err(ClientError::Closed);
            }
            let topic = state.topics.place(record.topic);
            if let (None, Some(partitioner)) = (named, &config.partitioner) {
                let info = state.topics.at(topic).info.as_ref();
                let info = info.filter(|info| !info.partitions.is_empty());
                named = info.map(|info| partitioner.partition(record, info));
            }
            let is_custom = config.partitioner.is_some();
            let key = payload.key.filter(|_| !config.partitioner_ignore_keys);
            let chosen = match named {
                None if is_custom => None,
                named => state.choose_partition(topic, named, key)?,
            };
            let Some(partition) = chosen else {
                state = self.wait_for_topic(state, topic, deadline)?;
                continue;
            };
            let lane = Lane { topic, partition };
            match state.accumulator.append(now, lane, &payload, callback.take(), is_unwatched) {
                Ok(appended) => {
                    if named.is_none() && key.is_none() {
                        let batch_bytes = config.batch_size;
                        let bytes = payload.bytes_max();
                        let sticky = &mut state.topics.at_mut(topic).sticky;
                        sticky.record(bytes, batch_bytes, appended.is_full || appended.index == 0);
                    }
                    let name = Arc::clone(&state.topics.at(topic).name);
                    drop(state);
                    if appended.wakes {
                        self.shared.waker.wake();
                    }
                    let place = Place { topic: name, partition, timestamp: payload.timestamp };
                    let (outcome, index) = (appended.outcome, appended.index);
                    return Ok(wants_handle.then_some(SendHandle { outcome, index, place }));
                }
                Err(unused) => {
                    callback = unused;
                    state = self.wait_for_memory(state, deadline)?;
                }
            }
        }
    }

    fn wait_for_topic<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        topic: usize,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, State>, ClientError> {
        if let Some(error) = &state.topics.at(topic).error {
            if !error.is_retriable() || deadline <= Instant::now() {
                return Err(error.clone());
            }
        }
        state.topics.at_mut(topic).is_wanted = true;
        self.shared.waker.wake();
        let (state, is_late) = self.shared.wait(state, deadline);
        if is_late { Err(ClientError::Timeout) } else { Ok(state) }
    }

    fn wait_for_memory<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, State>, ClientError> {
        if thread::current().id() == self.sender_id {
            return Err(ClientError::BufferExhausted);
        }
        state.accumulator.waiting += 1;
        self.shared.waker.wake();
        let (mut state, is_late) = self.shared.wait(state, deadline);
        state.accumulator.waiting -= 1;
        if is_late { Err(ClientError::BufferExhausted) } else { Ok(state) }
    }

    /// How many partitions a topic has; waits for the answer as `send` does.
    pub fn partition_count(&self, topic: &str) -> Result<usize, ClientError> {
        TopicName::new(topic)?;
        let deadline = Instant::now() + self.shared.config.max_block;
        let mut state = self.shared.lock();
        loop {
            let place = state.topics.place(topic);
            if let Some(info) = &state.topics.at(place).info {
                return Ok(info.partitions.len());
            }
            if state.accumulator.closing {
                return Err(ClientError::Closed);
            }
            state = self.wait_for_topic(state, place, deadline)?;
        }
    }

    /// Sends everything without lingering and waits until each record sent before has its
    /// outcome. Answers the first failure of a record that was sent and forgotten.
    pub fn flush(&self) -> Result<(), ClientError> {
        if thread::current().id() == self.sender_id {
            return Err(ClientError::Callback);
        }
        let mut state = self.shared.lock();
        let target = state.accumulator.flush_target();
        state.accumulator.flushing += 1;
        self.shared.waker.wake();
        while !state.accumulator.is_complete_below(target) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.accumulator.flushing -= 1;
        match state.unwatched_error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What keeps records from being acknowledged at present, if anything does. It is tried again
    /// until `delivery.timeout.ms`; an acknowledgement ends the trouble.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.lock().trouble.clone()
    }

    /// Bytes of `buffer.memory` in use.
    pub fn buffer_used_bytes(&self) -> usize {
        self.shared.lock().accumulator.used_bytes()
    }

    /// Takes no more records, sends what is there and ends the thread. Every record has its
    /// outcome afterwards, at the latest after `delivery.timeout.ms`. Dropping does the same.
    pub fn close(&self) -> Result<(), ClientError> {
        self.end(None)
    }

    /// As [`Producer::close`], but what is not sent after `timeout` fails with
    /// [`ClientError::Closed`].
    pub fn close_timeout(&self, timeout: Duration) -> Result<(), ClientError> {
        self.end(Some(Instant::now() + timeout))
    }

    fn end(&self, give_up_at: Option<Instant>) -> Result<(), ClientError> {
        let mut state = self.shared.lock();
        state.accumulator.closing = true;
        state.give_up_at = give_up_at.or(state.give_up_at);
        drop(state);
        self.shared.changed.notify_all();
        self.shared.waker.wake();
        if thread::current().id() == self.sender_id {
            return Err(ClientError::Callback);
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            thread.join().expect("the sender has no reason to panic");
        }
        match self.shared.lock().unwatched_error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Whoever wants to know calls `close` first.
        let _ = self.end(None);
    }
}

impl State {
    /// The partition of a record, or `None` while the topic or the partition is not known.
    fn choose_partition(
        &mut self,
        place: usize,
        named: Option<i32>,
        key: Option<&[u8]>,
    ) -> Result<Option<Partition>, ClientError> {
        let State { topics, accumulator, random, .. } = self;
        let topic = topics.at_mut(place);
        let Some(info) = &topic.info else { return Ok(None) };
        let count = info.partitions.len();
        if count == 0 {
            return Ok(None);
        }
        if let Some(partition) = named {
            let number = usize::try_from(partition)
                .map_err(|_| ClientError::Broker(ErrorCode::INVALID_PARTITIONS))?;
            return Ok((number < count).then_some(Partition(partition)));
        }
        if let Some(key) = key {
            return Ok(Some(partition_for_key(key, count)));
        }
        if topic.sticky.current().is_some_and(|current| info.leader(current).is_none()) {
            topic.sticky.leave();
        }
        let chosen = topic.sticky.choose(random, || {
            let queue = |partition| accumulator.queue_length(Lane { topic: place, partition });
            let all = || info.partitions.iter();
            let led: Vec<_> = all()
                .filter(|one| one.leader.is_some())
                .map(|one| (one.partition, queue(one.partition)))
                .collect();
            if led.is_empty() { all().map(|one| (one.partition, 0)).collect() } else { led }
        });
        Ok(Some(chosen))
    }
}

/// Milliseconds since 1970 on this machine's clock.
pub(super) fn wall_clock() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(elapsed.as_millis() as i64)
}
