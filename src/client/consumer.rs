//! The consumer: a position in each of its partitions, records by `poll`.
//!
//! A thread of its own keeps one fetch open to each leader and a bounded buffer filled (see
//! `fetcher`); with a group, another one speaks with the coordinator (see `coordinator`). Names,
//! defaults and meanings are those of Kafka's Java consumer (semantics.md rows 97-116 and 2.25).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::background::Background;
use crate::client::cluster::Cluster;
use crate::client::consumer_config::ConsumerConfig;
use crate::client::coordinator::Coordinator;
use crate::client::exchange::{Exchange, Mode};
use crate::client::fetcher::{Fetcher, Landed};
use crate::client::interceptor;
use crate::client::net::Waker;
use crate::client::offsets::{
    self, OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, TopicPartition,
};
use crate::client::position::{ConsumerRecord, Position, Stage};
use crate::client::subscription::RebalanceListener;
use crate::client::topics::Topics;
use crate::ids::{Offset, TopicName};
use crate::time::Timestamp;

/// How long `close` tries to commit and to leave the group, as in Kafka.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// The same for a consumer that is dropped, where nobody expects to wait.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A wait for records is looked after so often, for the group's sake.
const POLL_TURN: Duration = Duration::from_secs(1);

/// What the caller, the fetcher and the group's thread share.
pub(super) struct Shared {
    pub config: ConsumerConfig,
    state: Mutex<State>,
    /// Records, positions or errors came.
    pub changed: Condvar,
    /// Wakes the fetcher.
    pub waker: Waker,
    /// Wakes the group's thread.
    pub group_waker: Waker,
}

#[derive(Default)]
pub(super) struct State {
    pub positions: BTreeMap<TopicPartition, Position>,
    pub topics: Topics,
    pub landed: Landed,
    pub generation: u64,
    pub is_closing: bool,
    pub group: Exchange,
    /// The next wait ends at once.
    pub is_woken: bool,
    /// The partition that the last poll ended with: the next begins behind it.
    polled: Option<TopicPartition>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub fn next_generation(&mut self) -> u64 {
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
    pub(super) shared: Arc<Shared>,
    cluster: Cluster,
    thread: Option<JoinHandle<()>>,
    /// If there is a group.
    pub(super) group_thread: Option<JoinHandle<()>>,
    pub(super) listener: Option<Box<dyn RebalanceListener>>,
    /// The listener runs: it must not poll.
    pub(super) is_in_callback: bool,
    /// The group threw this member out for good.
    pub(super) fatal: Option<ClientError>,
    pub(super) auto_commit_due: Instant,
    pub(super) last_auto_commit: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

/// Ends a consumer's waits from another thread; see [`Consumer::wakeup_handle`].
#[derive(Clone)]
pub struct WakeupHandle {
    shared: Arc<Shared>,
}

impl WakeupHandle {
    /// The present `poll` or other wait, or else the next one, answers [`ClientError::Wakeup`].
    pub fn wakeup(&self) {
        self.shared.lock().is_woken = true;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for WakeupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakeupHandle")
    }
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
            group_waker: Waker::new()?,
        });
        let fetcher = Fetcher::new(Arc::clone(&shared), background);
        let thread =
            thread::Builder::new().name("consumer".to_owned()).spawn(move || fetcher.run())?;
        let mut consumer = Consumer {
            cluster,
            thread: Some(thread),
            group_thread: None,
            listener: None,
            is_in_callback: false,
            fatal: None,
            auto_commit_due: Instant::now() + shared.config.auto_commit_interval,
            last_auto_commit: BTreeMap::new(),
            shared,
        };
        if consumer.shared.config.group_id.is_some() {
            consumer.start_group()?;
        }
        Ok(consumer)
    }

    fn start_group(&mut self) -> Result<(), ClientError> {
        let cluster = Cluster::new(self.shared.config.endpoint());
        let background = Background::start("group-calls", cluster)?;
        let coordinator = Coordinator::new(Arc::clone(&self.shared), background);
        let builder = thread::Builder::new().name("group".to_owned());
        self.group_thread = Some(builder.spawn(move || coordinator.run())?);
        Ok(())
    }

    /// Reads these partitions and no others. One that was assigned before keeps its position; a
    /// new one begins where `group.id` left it, or else where `auto.offset.reset` says, unless a
    /// seek follows.
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        for tp in partitions {
            TopicName::new(&tp.topic)?;
        }
        let config = &self.shared.config;
        let reset = config.auto_offset_reset.spec();
        let mut state = self.shared.lock();
        if state.group.mode == Mode::Subscribed {
            return Err(ClientError::Subscription);
        }
        state.group.mode = if partitions.is_empty() { Mode::None } else { Mode::Assigned };
        let mut before = std::mem::take(&mut state.positions);
        for tp in partitions {
            let generation = state.next_generation();
            let position = before.remove(tp).unwrap_or_else(|| {
                let stage = Stage::AwaitingCommitted { is_asked: false };
                let mut position = Position::new(stage, generation);
                if config.group_id.is_none() {
                    position.begin(tp, reset, generation);
                }
                position
            });
            state.topics.place(&tp.topic);
            state.positions.insert(tp.clone(), position);
        }
        drop(state);
        self.shared.waker.wake();
        self.shared.group_waker.wake();
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
                Stage::AwaitingReset { .. } | Stage::AwaitingCommitted { .. } => {}
            }
            if std::mem::take(&mut state.is_woken) {
                return Err(ClientError::Wakeup);
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
    /// Records of one partition come in order. Partitions take turns. With a group, this is also
    /// where rebalances happen: whoever does not poll for `max.poll.interval.ms` leaves the group.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        if self.is_in_callback {
            return Err(ClientError::Callback);
        }
        if let Some(error) = &self.fatal {
            return Err(error.clone());
        }
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let now = Instant::now();
            let auto_commit_at = self.maybe_auto_commit(now);
            self.handle_events()?;
            let mut state = self.shared.lock();
            state.group.polled = Some(now);
            if state.group.wants_poll {
                self.shared.group_waker.wake();
            }
            if !state.group.events.is_empty() {
                continue;
            }
            if std::mem::take(&mut state.is_woken) {
                return Err(ClientError::Wakeup);
            }
            let records = self.collect(&mut state)?;
            if !records.is_empty() {
                drop(state);
                // There is room in a buffer now.
                self.shared.waker.wake();
                return Ok(interceptor::on_consume(&self.shared.config.interceptors, records));
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(records);
            }
            let turn = POLL_TURN.min(self.shared.config.max_poll_interval / 2);
            let until = [deadline, auto_commit_at, Some(now + turn)].into_iter().flatten().min();
            let left = until.expect("a turn ends").saturating_duration_since(Instant::now());
            drop(self.shared.changed.wait_timeout(state, left));
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

    /// What ends this consumer's waits from another thread: `wakeup` on the handle.
    pub fn wakeup_handle(&self) -> WakeupHandle {
        WakeupHandle { shared: Arc::clone(&self.shared) }
    }

    /// Commits if `enable.auto.commit` says so, leaves the group and ends the threads. Dropping
    /// does the same with less patience.
    pub fn close(mut self) {
        self.end(CLOSE_PATIENCE);
    }

    fn end(&mut self, patience: Duration) {
        self.end_group(patience);
        self.shared.lock().is_closing = true;
        self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fetcher has no reason to panic");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.end(DROP_PATIENCE);
    }
}
