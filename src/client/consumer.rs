//! The consumer: assigned partitions, a position in each, records by `poll`.
//!
//! A thread of its own keeps one fetch open to each leader and a bounded buffer filled (see
//! `fetcher`). Names, defaults and meanings are those of Kafka's Java consumer (semantics.md rows
//! 97-99 and 2.25); groups are not here yet, so partitions are assigned by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::background::Background;
use crate::client::cluster::{Cluster, Endpoint};
use crate::client::fetcher::{Fetcher, Landed};
use crate::client::interceptor::{self, ConsumerInterceptor};
use crate::client::net::Waker;
use crate::client::offsets;
use crate::client::offsets::{OffsetAndTimestamp, OffsetSpec, TopicPartition};
use crate::client::position::{ConsumerRecord, Position, Stage};
use crate::client::producer::wall_clock;
use crate::client::topics::Topics;
use crate::ids::{Offset, TopicName};
use crate::time::Timestamp;

/// Where to begin when there is no position, or the position is no longer held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// `auto.offset.reset=latest`: at the end; earlier records are not seen.
    #[default]
    Latest,
    /// `auto.offset.reset=earliest`: at the first record held.
    Earliest,
    /// `auto.offset.reset=by_duration`: at the first record younger than this.
    ByDuration(Duration),
    /// `auto.offset.reset=none`: `poll` answers [`ClientError::OffsetOutOfRange`].
    None,
}

impl OffsetReset {
    pub(super) fn spec(self) -> Option<OffsetSpec> {
        match self {
            OffsetReset::Latest => Some(OffsetSpec::Latest),
            OffsetReset::Earliest => Some(OffsetSpec::Earliest),
            OffsetReset::ByDuration(age) => {
                Some(OffsetSpec::At(Timestamp(wall_clock().0 - age.as_millis() as i64)))
            }
            OffsetReset::None => None,
        }
    }
}

/// A consumer's settings; [`Default`] has Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `bootstrap.servers`: `HOST:PORT`, several separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `max.poll.records`.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: u32,
    /// `fetch.max.bytes`: of one fetch, and of all buffers together.
    pub fetch_max_bytes: u32,
    /// `max.partition.fetch.bytes`: of one fetch; a partition that has so many buffered is not
    /// asked for more.
    pub max_partition_fetch_bytes: u32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: for calls that wait for an answer.
    pub default_api_timeout: Duration,
    /// `interceptor.classes`: a chain that sees every record before `poll` returns it.
    pub interceptors: Vec<Arc<dyn ConsumerInterceptor>>,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `reconnect.backoff.ms`; it doubles to twenty times itself.
    pub reconnect_backoff: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig {
            bootstrap_servers: "127.0.0.1:7092".to_owned(),
            client_id: "odradek-consumer".to_owned(),
            auto_offset_reset: OffsetReset::Latest,
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            fetch_max_wait: Duration::from_millis(500),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_secs(60),
            interceptors: Vec::new(),
            retry_backoff: Duration::from_millis(100),
            reconnect_backoff: Duration::from_millis(50),
            metadata_max_age: Duration::from_secs(300),
            connection_setup_timeout: Duration::from_secs(10),
        }
    }
}

impl ConsumerConfig {
    /// The defaults, with these `bootstrap.servers`.
    pub fn new(bootstrap_servers: &str) -> ConsumerConfig {
        ConsumerConfig { bootstrap_servers: bootstrap_servers.to_owned(), ..Self::default() }
    }

    fn check(&self) -> Result<(), ClientError> {
        let complaints = [
            (self.bootstrap_servers.trim().is_empty(), "bootstrap.servers"),
            (self.max_poll_records < 1, "max.poll.records"),
            (self.request_timeout <= self.fetch_max_wait, "request.timeout.ms"),
            (self.fetch_max_bytes < 1, "fetch.max.bytes"),
            (self.max_partition_fetch_bytes < 1, "max.partition.fetch.bytes"),
        ];
        match complaints.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, key)) => Err(ClientError::Config(key)),
            None => Ok(()),
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            bootstrap_servers: self.bootstrap_servers.clone(),
            client_id: self.client_id.clone(),
            request_timeout: self.request_timeout,
            connect_timeout: self.connection_setup_timeout,
        }
    }
}

/// What the caller and the fetcher share.
pub(super) struct Shared {
    pub config: ConsumerConfig,
    state: Mutex<State>,
    /// Records, positions or errors came.
    pub changed: Condvar,
    pub waker: Waker,
}

#[derive(Default)]
pub(super) struct State {
    pub positions: BTreeMap<TopicPartition, Position>,
    pub topics: Topics,
    pub landed: Landed,
    pub generation: u64,
    pub is_closing: bool,
    /// The partition that the last poll ended with: the next begins behind it.
    polled: Option<TopicPartition>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    fn position(&mut self, tp: &TopicPartition) -> Result<&mut Position, ClientError> {
        self.positions.get_mut(tp).ok_or(ClientError::NotAssigned)
    }
}

/// Reads records.
///
/// ```no_run
/// use std::time::Duration;
/// use odradek::client::{Consumer, ConsumerConfig, TopicPartition};
///
/// let mut consumer = Consumer::new(ConsumerConfig::new("127.0.0.1:7092"))?;
/// let partition = TopicPartition::new("host.vmstat", 0);
/// consumer.assign(&[partition.clone()])?;
/// consumer.seek_to_beginning(&[partition])?;
/// for record in consumer.poll(Duration::from_secs(1))? {
///     println!("{}: {:?}", record.offset, record.value);
/// }
/// # Ok::<(), odradek::client::ClientError>(())
/// ```
pub struct Consumer {
    shared: Arc<Shared>,
    cluster: Cluster,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Starts the fetching thread; brokers are looked for when a partition is assigned.
    pub fn new(config: ConsumerConfig) -> Result<Consumer, ClientError> {
        config.check()?;
        let background = Background::start("consumer-calls", Cluster::new(config.endpoint()))?;
        let cluster = Cluster::new(config.endpoint());
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            waker: Waker::new()?,
        });
        let fetcher = Fetcher::new(Arc::clone(&shared), background);
        let thread =
            thread::Builder::new().name("consumer".to_owned()).spawn(move || fetcher.run())?;
        Ok(Consumer { shared, cluster, thread: Some(thread) })
    }

    /// Reads these partitions and no others. One that was assigned before keeps its position; a
    /// new one begins where `auto.offset.reset` says, unless a seek follows.
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        for tp in partitions {
            TopicName::new(&tp.topic)?;
        }
        let reset = self.shared.config.auto_offset_reset.spec();
        let mut state = self.shared.lock();
        let mut before = std::mem::take(&mut state.positions);
        for tp in partitions {
            let generation = state.next_generation();
            let position = before.remove(tp).unwrap_or_else(|| {
                Position::new(
                    match reset {
                        Some(spec) => Stage::AwaitingReset { spec, is_asked: false },
                        None => Stage::Failed(ClientError::OffsetOutOfRange {
                            topic: tp.topic.to_string(),
                            partition: tp.partition,
                            offset: None,
                        }),
                    },
                    generation,
                )
            });
            state.topics.place(&tp.topic);
            state.positions.insert(tp.clone(), position);
        }
        drop(state);
        self.shared.waker.wake();
        Ok(())
    }

    /// What is assigned.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.lock().positions.keys().cloned().collect()
    }

    /// The next `poll` goes on at this offset.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), ClientError> {
        if offset < Offset::ZERO {
            return Err(ClientError::Config("offset"));
        }
        let mut state = self.shared.lock();
        let generation = state.next_generation();
        state.position(partition)?.seek(offset, generation);
        drop(state);
        self.shared.waker.wake();
        Ok(())
    }

    /// Goes to the first offsets held; to all assigned partitions if the list is empty.
    pub fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.reset(partitions, OffsetSpec::Earliest)
    }

    /// Goes behind the last records; to all assigned partitions if the list is empty.
    pub fn seek_to_end(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.reset(partitions, OffsetSpec::Latest)
    }

    /// Goes to the first record at or after a time, or to the end where none is that late.
    pub fn seek_to_timestamp(
        &mut self,
        partitions: &[TopicPartition],
        at: Timestamp,
    ) -> Result<(), ClientError> {
        self.reset(partitions, OffsetSpec::At(at))
    }

    fn reset(
        &mut self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<(), ClientError> {
        let mut state = self.shared.lock();
        let all: Vec<TopicPartition> = if partitions.is_empty() {
            state.positions.keys().cloned().collect()
        } else {
            partitions.to_vec()
        };
        for tp in all {
            let generation = state.next_generation();
            state.position(&tp)?.reset(spec, generation);
        }
        drop(state);
        self.shared.waker.wake();
        Ok(())
    }

    /// Fetches and returns nothing from these partitions until [`Consumer::resume`].
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.set_paused(partitions, true)
    }

    /// Ends a pause; what was buffered before it is returned first.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.set_paused(partitions, false)
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], is: bool) -> Result<(), ClientError> {
        let mut state = self.shared.lock();
        for tp in partitions {
            state.position(tp)?.is_paused = is;
        }
        drop(state);
        self.shared.waker.wake();
        Ok(())
    }

    /// What is paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        let state = self.shared.lock();
        let paused = state.positions.iter().filter(|(_, position)| position.is_paused);
        paused.map(|(tp, _)| tp.clone()).collect()
    }

    /// Offset of the next record that `poll` returns from a partition. Waits for the answer to a
    /// reset, at most `default.api.timeout.ms`.
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset, ClientError> {
        let deadline = Instant::now() + self.shared.config.default_api_timeout;
        let mut state = self.shared.lock();
        loop {
            let position = state.position(partition)?;
            match &position.stage {
                Stage::Fetching => return Ok(position.next),
                Stage::Failed(error) => return Err(error.clone()),
                Stage::AwaitingReset { .. } => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Timeout);
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How far a partition's end lies beyond the position, as of the last fetch.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let state = self.shared.lock();
        let position = state.positions.get(partition)?;
        Some(position.high_watermark?.since(position.next).max(0))
    }

    /// The next records, at most `max.poll.records` of them; waits for the first at most
    /// `timeout`. The positions move behind what is returned.
    ///
    /// Records of one partition come in order. Partitions take turns.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        loop {
            let records = self.collect(&mut state)?;
            if !records.is_empty() {
                drop(state);
                // There is room in a buffer now.
                self.shared.waker.wake();
                return Ok(interceptor::on_consume(&self.shared.config.interceptors, records));
            }
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Ok(records);
            }
            let left = left.min(Duration::from_secs(3600));
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn collect(&self, state: &mut State) -> Result<Vec<ConsumerRecord>, ClientError> {
        let count_max = self.shared.config.max_poll_records;
        let mut records = Vec::new();
        let mut order: Vec<TopicPartition> = Vec::new();
        let ready = state.positions.iter().filter(|(_, position)| {
            position.has_more()
                || (!position.is_paused && matches!(position.stage, Stage::Failed(_)))
        });
        order.extend(ready.map(|(tp, _)| tp.clone()));
        if let Some(polled) = &state.polled {
            let first = order.partition_point(|tp| tp <= polled);
            order.rotate_left(first);
        }
        let mut failure = None;
        for tp in order {
            if count_max <= records.len() {
                break;
            }
            let position = state.positions.get_mut(&tp).expect("it was listed above");
            let taken = match &position.stage {
                Stage::Failed(error) => Err(error.clone()),
                _ => position.take(&tp, count_max, &mut records),
            };
            if let Err(error) = taken {
                failure = failure.or(Some(error));
            }
            state.polled = Some(tp);
        }
        // What was read goes out first; the error stays where it is until the next poll.
        match failure {
            Some(error) if records.is_empty() => Err(error),
            _ => Ok(records),
        }
    }

    /// The first offset at or after a time, per partition; `None` where no record is that late.
    pub fn offsets_for_times(
        &mut self,
        times: &[(TopicPartition, Timestamp)],
    ) -> Result<Vec<Option<OffsetAndTimestamp>>, ClientError> {
        let questions = times.iter().map(|(tp, at)| (tp.clone(), OffsetSpec::At(*at)));
        self.list_offsets(&questions.collect::<Vec<_>>())
    }

    /// The first offsets held.
    pub fn beginning_offsets(&mut self, of: &[TopicPartition]) -> Result<Vec<Offset>, ClientError> {
        self.ends(of, OffsetSpec::Earliest)
    }

    /// The offsets behind the last records that can be read.
    pub fn end_offsets(&mut self, of: &[TopicPartition]) -> Result<Vec<Offset>, ClientError> {
        self.ends(of, OffsetSpec::Latest)
    }

    fn ends(
        &mut self,
        of: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<Vec<Offset>, ClientError> {
        let questions: Vec<_> = of.iter().map(|tp| (tp.clone(), spec)).collect();
        let answers = self.list_offsets(&questions)?.into_iter();
        Ok(answers.map(|answer| answer.map_or(Offset::ZERO, |found| found.offset)).collect())
    }

    /// Asks again, with pauses, while the answer may still change.
    fn list_offsets(
        &mut self,
        questions: &[(TopicPartition, OffsetSpec)],
    ) -> Result<Vec<Option<OffsetAndTimestamp>>, ClientError> {
        let deadline = Instant::now() + self.shared.config.default_api_timeout;
        loop {
            let answers = offsets::list(&mut self.cluster, questions).and_then(|answers| {
                let all: Result<Vec<_>, _> = answers.into_iter().collect();
                all.map_err(ClientError::Broker)
            });
            match answers {
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    thread::sleep(self.shared.config.retry_backoff);
                }
                answers => return answers,
            }
        }
    }

    /// The partitions of a topic.
    pub fn partitions_for(&mut self, topic: &str) -> Result<Vec<TopicPartition>, ClientError> {
        TopicName::new(topic)?;
        let refs = [crate::wire::TopicRef::Name(topic)];
        let metadata = self.cluster.metadata(Some(&refs), false)?;
        let info = metadata.topics.into_iter().next();
        let info = info.ok_or(ClientError::Protocol(crate::wire::FrameError::Malformed))?;
        let info = info.map_err(ClientError::Broker)?;
        Ok(info.partitions.iter().map(|one| TopicPartition::new(topic, one.partition.0)).collect())
    }

    /// Ends the fetching thread. Dropping does the same.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fetcher has no reason to panic");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.end();
    }
}
