//! The thread that speaks with a group's coordinator: it drives the membership, commits offsets
//! and asks for committed ones, while the user works on its records.
//!
//! Requests are pipelined on one connection, and answers come in their order. **Invariant:** every
//! commit and question has one answer: from the coordinator, or at its deadline.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex_lite::Regex;

use crate::client::ClientError;
use crate::client::assignors::protocol;
use crate::client::background::Background;
use crate::client::cluster::{self, Cluster};
use crate::client::consumer::{Shared, State};
use crate::client::coordinator_offsets::{ask_again, finish};
use crate::client::exchange::{Command, Commit, Event, Question};
use crate::client::group_requests::{self as requests, Call};
use crate::client::link::backoff;
use crate::client::membership::{Membership, Output};
use crate::client::net::{self, Connection};
use crate::client::partitioner::Random;
use crate::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::wire::{ApiKey, ErrorCode, FrameError};

/// How long the leader waits for metadata before it assigns what it knows of.
const METADATA_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it is asked for topics that are subscribed to and not there.
const MISSING_TOPIC_PAUSE: Duration = Duration::from_secs(1);

/// A `JoinGroup` may take this much longer than the rebalance that it waits for.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// A request without its answer.
struct Sent {
    correlation_id: u32,
    deadline: Instant,
    call: Call,
}

/// The leader's work, while it waits for metadata.
struct Assigning {
    protocol: String,
    members: Vec<(String, Option<String>, Vec<u8>)>,
    topics: Vec<Arc<str>>,
    began: Instant,
}

/// A subscription by pattern.
struct Pattern {
    regex: Regex,
    asked: Option<Instant>,
    is_asking: bool,
}

/// See the module's documentation.
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
    background: Background,
    pub(super) machine: Membership,
    pub(super) connection: Option<Connection>,
    in_flight: VecDeque<Sent>,
    is_finding: bool,
    rests_until: Option<Instant>,
    failure_count: u32,
    random: Random,
    pub(super) commits: VecDeque<Commit>,
    pub(super) questions: VecDeque<Question>,
    assigning: Option<Assigning>,
    /// The partition counts by which this member, as the leader, assigned.
    assigned_by: BTreeMap<Arc<str>, Option<i32>>,
    pattern: Option<Pattern>,
    close_by: Option<Instant>,
}

impl Coordinator {
    pub fn new(shared: Arc<Shared>, background: Background) -> Coordinator {
        let rules = shared.config.membership_rules();
        Coordinator {
            shared,
            background,
            machine: Membership::new(Instant::now(), rules),
            connection: None,
            in_flight: VecDeque::new(),
            is_finding: false,
            rests_until: None,
            failure_count: 0,
            random: Random::new(),
            commits: VecDeque::new(),
            questions: VecDeque::new(),
            assigning: None,
            assigned_by: BTreeMap::new(),
            pattern: None,
            close_by: None,
        }
    }

    /// Runs until the consumer is closed.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            shared.group_waker.clear();
            let now = Instant::now();
            let mut guard = shared.lock();
            let state = &mut *guard;
            self.take_landed(now, state);
            self.receive(now, state);
            self.take_commands(now, state);
            self.assign(now, state);
            self.machine.tick(now);
            self.carry_out(now, state);
            self.send_commits(now, state);
            self.send_questions(now, state);
            self.give_up(now, state);
            state.group.wants_poll = self.machine.wants_poll();
            state.group.can_commit = self.machine.can_commit();
            state.group.identity = self.machine.identity().clone();
            let is_over = self.is_over(now);
            let deadline = self.deadline(now, state);
            drop(guard);
            shared.changed.notify_all();
            if is_over {
                return;
            }
            self.find(now, deadline.1);
            self.wait(deadline.0);
        }
    }

    fn wait(&self, deadline: Option<Instant>) {
        let timeout = deadline.map_or(Duration::from_secs(60), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let mut sockets = vec![(self.shared.group_waker.as_fd(), false)];
        if let Some(connection) = &self.connection {
            sockets.push((connection.as_fd(), connection.wants_write()));
        }
        net::wait(&sockets, timeout).expect("poll fails only for arguments that we do not give");
    }

    /// When to look again, and whether a coordinator is wanted.
    fn deadline(&self, now: Instant, state: &State) -> (Option<Instant>, bool) {
        let mut all: Vec<Instant> = Vec::new();
        all.extend(self.machine.next_deadline());
        all.extend(self.in_flight.front().map(|sent| sent.deadline));
        all.extend(self.rests_until.filter(|until| now < *until));
        all.extend(self.close_by);
        all.extend(self.assigning.as_ref().map(|one| one.began + METADATA_WAIT_MAX));
        for commit in &self.commits {
            all.extend([Some(commit.deadline), commit.retry_at].into_iter().flatten());
        }
        for question in &self.questions {
            all.extend([Some(question.deadline), question.retry_at].into_iter().flatten());
        }
        let waiting = state.positions.values().filter(|one| one.stage.awaits_committed());
        let mut is_wanted = self.machine.wants_coordinator()
            || !self.commits.is_empty()
            || !self.questions.is_empty();
        for position in waiting {
            is_wanted = true;
            all.extend(position.retry_at.filter(|at| now < *at));
        }
        if let Some(Pattern { asked: Some(asked), is_asking: false, .. }) = &self.pattern {
            all.push(*asked + self.shared.config.metadata_max_age);
        }
        if self.assigned_by.values().any(Option::is_none) {
            all.push(now + MISSING_TOPIC_PAUSE);
        }
        (all.into_iter().min(), is_wanted && self.close_by.is_none())
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(by) = self.close_by else { return false };
        let is_silent = self.in_flight.is_empty() && self.commits.is_empty();
        by <= now || is_silent || self.connection.is_none()
    }

    fn take_landed(&mut self, now: Instant, state: &mut State) {
        match state.group.landed.coordinator.take() {
            Some(Ok(connection)) => {
                self.is_finding = false;
                self.failure_count = 0;
                self.connection = Some(connection);
                self.machine.connected(now);
            }
            Some(Err(error)) => {
                self.is_finding = false;
                if !error.is_retriable() {
                    state.group.fail(error);
                }
                self.rest(now);
            }
            None => {}
        }
        let (Some(pattern), Some(answer)) =
            (&mut self.pattern, state.group.landed.all_topics.take())
        else {
            return;
        };
        pattern.is_asking = false;
        pattern.asked = Some(now);
        let Ok(topics) = answer else {
            // Asked again soon, not after the whole age.
            let age = self.shared.config.metadata_max_age;
            pattern.asked = now.checked_sub(age).map(|at| at + MISSING_TOPIC_PAUSE);
            return;
        };
        let is_matched = |name: &str, is_internal: bool| {
            pattern.regex.is_match(name)
                && !(is_internal && self.shared.config.exclude_internal_topics)
        };
        let matched = topics.iter().filter(|(name, is_internal)| is_matched(name, *is_internal));
        let mut topics: Vec<Arc<str>> = matched.map(|(name, _)| Arc::from(&**name)).collect();
        topics.sort_unstable();
        if state.group.topics != topics {
            state.group.topics = topics;
            self.machine.subscribe();
        }
    }

    fn take_commands(&mut self, now: Instant, state: &mut State) {
        while let Some(command) = state.group.commands.pop_front() {
            match command {
                Command::Subscribe(regex) => {
                    let pattern = |regex| Pattern { regex, asked: None, is_asking: false };
                    self.pattern = regex.map(pattern);
                    if self.pattern.is_none() {
                        self.machine.subscribe();
                    }
                }
                Command::Unsubscribe => {
                    self.pattern = None;
                    self.assigned_by.clear();
                    state.group.events.retain(|event| matches!(event, Event::Committed(..)));
                    self.machine.leave("the consumer unsubscribed from all topics");
                }
                Command::Prepared(number) => self.machine.prepared(now, number),
                Command::Rejoin => self.machine.rejoin(),
                Command::Commit(commit) => self.commits.push_back(commit),
                Command::Ask(question) => self.questions.push_back(question),
                Command::Close(by) => {
                    self.pattern = None;
                    self.assigned_by.clear();
                    self.close_by = Some(by);
                    self.machine.leave("the consumer is being closed");
                }
            }
        }
        if let Some(polled) = state.group.polled.take() {
            self.machine.polled(polled);
        }
        let age = self.shared.config.metadata_max_age;
        if let Some(pattern) = &mut self.pattern {
            let is_due = pattern.asked.is_none_or(|asked| asked + age <= now);
            if is_due && !pattern.is_asking {
                pattern.is_asking = true;
                self.ask_all_topics();
            }
        }
    }

    fn ask_all_topics(&self) {
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let answer = cluster.metadata(None, false).map(|metadata| {
                let topics = metadata.topics.into_iter().flatten();
                topics.map(|topic| (topic.name, topic.is_internal)).collect()
            });
            shared.lock().group.landed.all_topics = Some(answer);
            shared.group_waker.wake();
        });
    }

    /// Looks for the coordinator in the background, if there is need and no pause.
    fn find(&mut self, now: Instant, is_wanted: bool) {
        let is_resting = self.rests_until.is_some_and(|until| now < until);
        if !is_wanted || is_resting || self.is_finding || self.connection.is_some() {
            return;
        }
        self.is_finding = true;
        let shared = Arc::clone(&self.shared);
        self.background.run(move |cluster| {
            let config = &shared.config;
            let group_id = config.group_id.as_deref().unwrap_or_default();
            let connection = find_coordinator(cluster, group_id).and_then(|address| {
                Connection::open(&address, &config.client_id, config.connection_setup_timeout)
            });
            shared.lock().group.landed.coordinator = Some(connection);
            shared.group_waker.wake();
        });
    }

    fn rest(&mut self, now: Instant) {
        let config = &self.shared.config;
        let (first, max) = (config.retry_backoff, config.retry_backoff_max);
        let pause = backoff(first, max, self.failure_count, &mut self.random);
        self.failure_count = self.failure_count.saturating_add(1);
        self.rests_until = Some(now + pause);
    }

    /// Drops the connection. What it carried is sent again, where that makes sense.
    pub(super) fn disconnect(&mut self, now: Instant, state: &mut State) {
        self.connection = None;
        self.machine.disconnected();
        let sent = std::mem::take(&mut self.in_flight);
        if !sent.is_empty() {
            self.rest(now);
        }
        for sent in sent {
            match sent.call {
                Call::Commit { commit, .. } => {
                    let why = ClientError::Broker(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                    self.commit_failed(now, state, commit, why);
                }
                Call::Question(question) => self.questions.push_front(question),
                Call::Positions(asked) => ask_again(state, &asked, None),
                Call::Join { .. } | Call::Sync { .. } | Call::Heartbeat { .. } | Call::Leave => {}
            }
        }
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        state: &mut State,
        call: Call,
        frame: &requests::Request<'_>,
    ) {
        let config = &self.shared.config;
        let patience = match call {
            Call::Join { .. } => config.max_poll_interval + JOIN_GRACE,
            _ => config.request_timeout,
        };
        let deadline = now + patience.max(config.request_timeout);
        let Some(connection) = &mut self.connection else {
            // The machine asks only while it is connected; the connection broke since.
            self.in_flight.push_back(Sent { correlation_id: 0, deadline, call });
            self.disconnect(now, state);
            return;
        };
        let sent = frame.send(connection);
        let correlation_id = *sent.as_ref().unwrap_or(&0);
        self.in_flight.push_back(Sent { correlation_id, deadline, call });
        if sent.is_err() {
            self.disconnect(now, state);
        }
    }

    fn receive(&mut self, now: Instant, state: &mut State) {
        while let Some(connection) = &mut self.connection {
            match connection.flush().and_then(|()| connection.try_receive()) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let is_mine = self
                        .in_flight
                        .front()
                        .is_some_and(|sent| sent.correlation_id == frame.header().correlation_id);
                    let answered = match self.in_flight.pop_front().filter(|_| is_mine) {
                        Some(sent) => self.answered(now, state, sent.call, &frame),
                        None => Err(ClientError::Protocol(FrameError::Malformed)),
                    };
                    if answered.is_err() {
                        self.disconnect(now, state);
                    }
                }
                Err(_) => self.disconnect(now, state),
            }
        }
        if self.in_flight.front().is_some_and(|sent| sent.deadline <= now) {
            self.disconnect(now, state);
        }
    }

    fn answered(
        &mut self,
        now: Instant,
        state: &mut State,
        call: Call,
        frame: &net::Frame,
    ) -> Result<(), ClientError> {
        match call {
            Call::Join { epoch } => {
                let joined = requests::read_join(frame)?;
                self.machine.joined(now, epoch, joined);
            }
            Call::Sync { epoch } => {
                let synced = requests::read_sync(frame)?;
                self.machine.synced(now, epoch, synced);
            }
            Call::Heartbeat { epoch } => {
                let code = requests::read_heartbeat(frame)?;
                self.machine.heartbeat_answered(now, epoch, code);
            }
            Call::Leave => {}
            Call::Commit { commit, generation } => {
                let count = commit.offsets.len();
                match requests::read_commit(frame, count) {
                    Ok(code) => self.commit_answered(now, state, commit, generation, code),
                    Err(error) => {
                        finish(state, commit, Err(error.clone()));
                        return Err(error);
                    }
                }
            }
            Call::Question(question) => self.question_answered(now, state, question, frame)?,
            Call::Positions(asked) => self.positions_answered(now, state, &asked, frame)?,
        }
        Ok(())
    }

    /// Does what the machine asks for.
    fn carry_out(&mut self, now: Instant, state: &mut State) {
        while let Some(output) = self.machine.poll() {
            let identity = self.machine.identity().clone();
            let shared = Arc::clone(&self.shared);
            let config = &shared.config;
            match output {
                Output::Join { epoch } => {
                    let protocols = requests::subscriptions(config, state);
                    let request = requests::join(config, &identity, &protocols);
                    self.send(now, state, Call::Join { epoch }, &request);
                }
                Output::Sync { epoch, protocol, assignments } => {
                    let request = requests::sync(config, &identity, &protocol, &assignments);
                    self.send(now, state, Call::Sync { epoch }, &request);
                }
                Output::Heartbeat { epoch } => {
                    let request = requests::heartbeat(config, &identity);
                    self.send(now, state, Call::Heartbeat { epoch }, &request);
                }
                Output::Leave { member_id, reason } => {
                    if self.connection.is_some() {
                        let request = requests::leave(config, &member_id, reason);
                        self.send(now, state, Call::Leave, &request);
                    }
                }
                Output::Assign { protocol, members } => {
                    let topics = protocol::subscribed_topics(&members);
                    for topic in &topics {
                        let place = state.topics.place(topic);
                        state.topics.at_mut(place).is_wanted = true;
                    }
                    self.assigning = Some(Assigning { protocol, members, topics, began: now });
                    self.shared.waker.wake();
                }
                Output::Rediscover => self.disconnect(now, state),
                Output::Prepare { number, is_lost } => {
                    self.assigning = None;
                    self.assigned_by.clear();
                    state.group.events.push_back(Event::Prepare { number, is_lost });
                }
                Output::Assigned { assignment } => match protocol::decode_assignment(&assignment) {
                    Ok(partitions) => {
                        state.group.last.partitions.clone_from(&partitions);
                        state.group.last.generation = identity.generation;
                        state.group.events.push_back(Event::Assigned(partitions));
                    }
                    Err(_) => state.group.fail(ClientError::Protocol(FrameError::Malformed)),
                },
                Output::Failed(error) => state.group.fail(error),
            }
        }
    }

    /// The leader's work, once the metadata is there; and a new round where it has changed since.
    fn assign(&mut self, now: Instant, state: &mut State) {
        let Some(assigning) = &self.assigning else {
            self.watch_topics(now, state);
            return;
        };
        let is_late = assigning.began + METADATA_WAIT_MAX <= now;
        let is_known = assigning.topics.iter().all(|topic| {
            let place = state.topics.place(topic);
            state.topics.at(place).asked.is_some_and(|asked| assigning.began <= asked)
        });
        if !is_known && !is_late {
            return;
        }
        let Assigning { protocol, members, topics, .. } =
            self.assigning.take().expect("it was just looked at");
        let counts: BTreeMap<Arc<str>, Option<i32>> =
            topics.into_iter().map(|topic| (Arc::clone(&topic), count(state, &topic))).collect();
        let config = &self.shared.config;
        let mut strategies = config.partition_assignment_strategy.iter();
        let Some(assignor) = strategies.find(|one| one.name() == protocol) else {
            let error = ClientError::Protocol(FrameError::Malformed);
            state.group.fail(error);
            return;
        };
        let count = |topic: &str| counts.get(topic).copied().flatten();
        let assignments = protocol::assign_group(&**assignor, &members, count);
        self.assigned_by = counts;
        self.machine.assigned(now, assignments);
    }

    /// The leader looks whether topics came, went or grew.
    fn watch_topics(&mut self, now: Instant, state: &mut State) {
        let mut has_changed = false;
        for (topic, before) in &self.assigned_by {
            has_changed |= count(state, topic) != *before;
            let place = state.topics.place(topic);
            let topic = state.topics.at_mut(place);
            let is_due = topic.asked.is_none_or(|asked| asked + MISSING_TOPIC_PAUSE <= now);
            if topic.info.is_none() && is_due && !topic.is_wanted {
                topic.is_wanted = true;
                self.shared.waker.wake();
            }
        }
        if has_changed {
            self.assigned_by.clear();
            self.machine.rejoin();
        }
    }
}

/// The partition count of a topic, if it is there.
fn count(state: &mut State, topic: &str) -> Option<i32> {
    let place = state.topics.place(topic);
    let topic = state.topics.at(place);
    let is_gone = topic.error == Some(ClientError::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let info = topic.info.as_ref().filter(|_| !is_gone)?;
    Some(info.partitions.len() as i32)
}

fn find_coordinator(cluster: &mut Cluster, group_id: &str) -> Result<String, ClientError> {
    let request = FindCoordinatorRequest { kind: CoordinatorKind::Group, keys: vec![group_id] };
    let timeout = cluster.request_timeout();
    let frame = cluster.call_any(ApiKey::FindCoordinator, &request, timeout)?;
    let response: FindCoordinatorResponse<'_> = frame.body()?;
    let [found] = &response.coordinators[..] else {
        return Err(ClientError::Protocol(FrameError::Malformed));
    };
    if !found.error.is_ok() {
        return Err(ClientError::Broker(found.error));
    }
    Ok(cluster::address(found.host, found.port))
}
