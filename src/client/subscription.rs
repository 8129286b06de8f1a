//! `subscribe`: the group says what this consumer reads. This is the user's side of it: what
//! happens inside `poll`, between the group's thread and the rebalance listener.
//!
//! **Invariant:** a partition is given up only after the listener heard of it and, with
//! `enable.auto.commit`, after what was read of it is committed; the group joins again only then
//! (semantics.md 2.25).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex_lite::Regex;

use crate::client::ClientError;
use crate::client::assignors::{LastAssignment, RebalanceProtocol};
use crate::client::consumer::Consumer;
use crate::client::exchange::{Command, Event, Mode};
use crate::client::interceptor;
use crate::client::offsets::TopicPartition;
use crate::client::position::{Position, Stage};
use crate::ids::TopicName;
use crate::wire::ErrorCode;

/// Hears which partitions come and go. It is called inside `poll`, `unsubscribe` and `close`, in
/// the user's thread, and may do with the consumer what it likes but poll.
///
/// ```no_run
/// use odradek::client::{Consumer, ConsumerConfig, RebalanceListener, TopicPartition};
///
/// struct SaveOffsets;
///
/// impl RebalanceListener for SaveOffsets {
///     fn on_partitions_revoked(&mut self, consumer: &mut Consumer, gone: &[TopicPartition]) {
///         for partition in gone {
///             println!("{partition}: {:?}", consumer.position(partition));
///         }
///     }
///
///     fn on_partitions_assigned(&mut self, consumer: &mut Consumer, new: &[TopicPartition]) {
///         consumer.seek_to_beginning(new).expect("they are assigned");
///     }
/// }
///
/// let mut config = ConsumerConfig::new("127.0.0.1:7092");
/// config.group_id = Some("readers".to_owned());
/// let mut consumer = Consumer::new(config)?;
/// consumer.subscribe_with(&["host.vmstat"], SaveOffsets)?;
/// # Ok::<(), odradek::client::ClientError>(())
/// ```
pub trait RebalanceListener: Send {
    /// These go to others now. What was read of them may still be committed.
    fn on_partitions_revoked(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }

    /// These are new; positions may be sought. Called after every rebalance, also without any.
    fn on_partitions_assigned(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }

    /// These are gone already: others may read them, commits would be refused. The default treats
    /// them as revoked.
    fn on_partitions_lost(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        self.on_partitions_revoked(consumer, partitions);
    }
}

/// Nobody listens.
#[derive(Debug)]
struct Silent;

impl RebalanceListener for Silent {}

/// What a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Revoked,
    Assigned,
    Lost,
}

impl Consumer {
    /// Reads these topics, together with the other members of `group.id`. The group is joined by
    /// the next `poll`, and records come when it has agreed who reads what.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use odradek::client::{Consumer, ConsumerConfig};
    ///
    /// let mut config = ConsumerConfig::new("127.0.0.1:7092");
    /// config.group_id = Some("readers".to_owned());
    /// let mut consumer = Consumer::new(config)?;
    /// consumer.subscribe(&["host.vmstat"])?;
    /// loop {
    ///     for record in consumer.poll(Duration::from_secs(1))? {
    ///         println!("{}-{}: {:?}", record.topic, record.partition, record.value);
    ///     }
    /// }
    /// # Ok::<(), odradek::client::ClientError>(())
    /// ```
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), ClientError> {
        self.subscribe_with(topics, Silent)
    }

    /// As [`Consumer::subscribe`], with a listener for the partitions that come and go.
    pub fn subscribe_with(
        &mut self,
        topics: &[&str],
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ClientError> {
        if topics.is_empty() {
            return self.unsubscribe();
        }
        for topic in topics {
            TopicName::new(topic)?;
        }
        let mut names: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        names.sort_unstable();
        names.dedup();
        self.begin_subscription(Some(names), None, Box::new(listener))
    }

    /// Reads all topics whose whole names match a regular expression, also those that come later:
    /// it is looked for them every `metadata.max.age.ms`.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        self.subscribe_pattern_with(pattern, Silent)
    }

    /// As [`Consumer::subscribe_pattern`], with a listener for the partitions that come and go.
    pub fn subscribe_pattern_with(
        &mut self,
        pattern: &str,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ClientError> {
        let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
        let regex = regex.map_err(|_| ClientError::Config("pattern"))?;
        self.begin_subscription(None, Some(regex), Box::new(listener))
    }

    fn begin_subscription(
        &mut self,
        topics: Option<Vec<Arc<str>>>,
        regex: Option<Regex>,
        listener: Box<dyn RebalanceListener>,
    ) -> Result<(), ClientError> {
        self.must_have_group()?;
        let mut state = self.shared.lock();
        if state.group.mode == Mode::Assigned {
            return Err(ClientError::Subscription);
        }
        state.group.mode = Mode::Subscribed;
        if let Some(topics) = topics {
            state.group.topics = topics;
        }
        state.group.commands.push_back(Command::Subscribe(regex));
        drop(state);
        self.listener = Some(listener);
        self.fatal = None;
        self.shared.group_waker.wake();
        Ok(())
    }

    /// The topics that are subscribed to; of a pattern, those that matched.
    pub fn subscription(&self) -> Vec<Arc<str>> {
        self.shared.lock().group.topics.clone()
    }

    /// Gives up everything, subscribed or assigned, and leaves the group.
    pub fn unsubscribe(&mut self) -> Result<(), ClientError> {
        if self.is_in_callback {
            return Err(ClientError::Callback);
        }
        if self.mode() == Mode::Subscribed {
            self.commit_before_revocation(self.shared.config.default_api_timeout);
            let owned = self.assignment();
            self.give_up(&owned, News::Revoked);
            let mut state = self.shared.lock();
            state.group.last = LastAssignment::default();
            state.group.commands.push_back(Command::Unsubscribe);
        }
        let mut state = self.shared.lock();
        state.group.mode = Mode::None;
        state.group.topics.clear();
        state.positions.clear();
        drop(state);
        self.listener = None;
        self.shared.group_waker.wake();
        self.shared.waker.wake();
        Ok(())
    }

    /// Has the group rebalance soon.
    pub fn enforce_rebalance(&mut self) {
        self.tell_group(Command::Rejoin);
    }

    pub(super) fn mode(&self) -> Mode {
        self.shared.lock().group.mode
    }

    pub(super) fn tell_group(&self, command: Command) {
        self.shared.lock().group.commands.push_back(command);
        self.shared.group_waker.wake();
    }

    pub(super) fn must_have_group(&self) -> Result<(), ClientError> {
        match &self.shared.config.group_id {
            Some(_) => Ok(()),
            None => Err(ClientError::NoGroup),
        }
    }

    /// What the group's thread has to say, in its order.
    pub(super) fn handle_events(&mut self) -> Result<(), ClientError> {
        loop {
            let Some(event) = self.shared.lock().group.next_event() else { return Ok(()) };
            match event {
                Event::Prepare { number, is_lost } => {
                    self.prepare(is_lost);
                    self.tell_group(Command::Prepared(number));
                }
                Event::Assigned(partitions) => self.begin_with(&partitions),
                Event::Committed(commit, result) => self.committed_async(commit, result),
                Event::Failed(error) => {
                    if error == ClientError::Broker(ErrorCode::FENCED_INSTANCE_ID) {
                        self.fatal = Some(error.clone());
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Before the group is joined again.
    fn prepare(&mut self, is_lost: bool) {
        let owned = self.assignment();
        if is_lost {
            self.shared.lock().group.last = LastAssignment::default();
            self.give_up(&owned, News::Lost);
            return;
        }
        // Bounded, or the rebalance would be over before this member has joined it.
        let patience = self.shared.config.default_api_timeout;
        self.commit_before_revocation(patience.min(self.shared.config.max_poll_interval / 2));
        let gone: Vec<TopicPartition> = match self.shared.config.rebalance_protocol() {
            RebalanceProtocol::Eager => owned,
            RebalanceProtocol::Cooperative => {
                let topics = self.subscription();
                let is_wanted = |tp: &TopicPartition| topics.binary_search(&tp.topic).is_ok();
                owned.into_iter().filter(|tp| !is_wanted(tp)).collect()
            }
        };
        self.give_up(&gone, News::Revoked);
    }

    /// After the group was joined.
    fn begin_with(&mut self, assigned: &[TopicPartition]) {
        let owned: BTreeSet<TopicPartition> = self.assignment().into_iter().collect();
        let new: BTreeSet<TopicPartition> = assigned.iter().cloned().collect();
        let gone: Vec<TopicPartition> = owned.difference(&new).cloned().collect();
        if !gone.is_empty() {
            self.commit_before_revocation(self.shared.config.max_poll_interval / 2);
            self.give_up(&gone, News::Revoked);
        }
        let added: Vec<TopicPartition> = new.difference(&owned).cloned().collect();
        let mut state = self.shared.lock();
        for tp in &added {
            let generation = state.next_generation();
            state.topics.place(&tp.topic);
            let stage = Stage::AwaitingCommitted { is_asked: false };
            state.positions.insert(tp.clone(), Position::new(stage, generation));
        }
        drop(state);
        self.tell_listener(&added, News::Assigned);
        // What was given up just now is still to be handed out.
        if !gone.is_empty() {
            self.tell_group(Command::Rejoin);
        }
        self.shared.group_waker.wake();
        self.shared.waker.wake();
    }

    fn give_up(&mut self, partitions: &[TopicPartition], news: News) {
        if partitions.is_empty() {
            return;
        }
        self.tell_listener(partitions, news);
        let mut state = self.shared.lock();
        for tp in partitions {
            state.positions.remove(tp);
            self.last_auto_commit.remove(tp);
        }
    }

    /// The listener is out of the consumer while it is called, so that it can use the consumer.
    fn tell_listener(&mut self, partitions: &[TopicPartition], news: News) {
        let Some(mut listener) = self.listener.take() else { return };
        self.is_in_callback = true;
        match news {
            News::Revoked => listener.on_partitions_revoked(self, partitions),
            News::Assigned => listener.on_partitions_assigned(self, partitions),
            News::Lost => listener.on_partitions_lost(self, partitions),
        }
        self.is_in_callback = false;
        // Unless the listener subscribed to something else.
        self.listener.get_or_insert(listener);
    }

    /// `close`, as far as the group is concerned.
    pub(super) fn end_group(&mut self, patience: Duration) {
        let Some(thread) = self.group_thread.take() else { return };
        let by = Instant::now() + patience;
        if self.mode() == Mode::Subscribed {
            self.commit_before_revocation(patience);
            let owned = self.assignment();
            self.give_up(&owned, News::Revoked);
        } else {
            self.commit_before_revocation(patience);
        }
        self.tell_group(Command::Close(by));
        thread.join().expect("the group's thread has no reason to panic");
        // What ended on the way still has its callbacks.
        loop {
            let event = self.shared.lock().group.events.pop_front();
            match event {
                Some(Event::Committed(commit, result)) => self.committed_async(commit, result),
                Some(_) => {}
                None => return,
            }
        }
    }

    pub(super) fn intercept_commit(
        &self,
        offsets: &std::collections::BTreeMap<TopicPartition, super::OffsetAndMetadata>,
    ) {
        interceptor::on_commit(&self.shared.config.interceptors, offsets);
    }
}
