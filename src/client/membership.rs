//! A member of a classic group, as a machine without sockets, threads or clock (semantics.md 2.18
//! and 2.25; KIP-62, 345, 394, 429).
//!
//! ```text
//! Idle --polled--> Preparing --prepared--> Joining --leader--> Assigning --assigned--> Syncing
//!   ^               ^  ^                      |  \---------follower---------------------^  |
//!   |               |  '------- fenced -------'-----------------------------------------'  |
//!   |               '---- rebalance, fenced --- Stable <-----------------------------------'
//!   '-- unsubscribed, poll too late, refused for good: from everywhere
//! ```
//!
//! Whoever drives it passes `now` and answers in, calls `tick`, and then carries out what `poll`
//! brings until it brings nothing. *Preparing* waits for the user, who gives up partitions inside
//! its own `poll`; heartbeats go on meanwhile.
//!
//! **Invariant:** requests carry the epoch of the attempt they belong to, and an answer to an
//! older one changes nothing. **Invariant:** a member that lost its place goes through *Preparing*
//! with `is_lost` before it joins again, so that it never claims what others may read by now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::wire::ErrorCode;

/// The settings that rule a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    pub retry_backoff: Duration,
    pub retry_backoff_max: Duration,
    /// It has a `group.instance.id`: it does not leave, its session ends or it comes back.
    pub is_static: bool,
}

/// What a member says of itself in requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub member_id: String,
    /// −1 outside of a generation.
    pub generation: i32,
}

impl Default for Identity {
    fn default() -> Self {
        Identity { member_id: String::new(), generation: -1 }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send `JoinGroup`.
    Join { epoch: u64 },
    /// Compute the group's assignment: this member leads.
    Assign { protocol: String, members: Vec<(String, Option<String>, Vec<u8>)> },
    /// Send `SyncGroup`.
    Sync { epoch: u64, protocol: String, assignments: Vec<(String, Vec<u8>)> },
    /// Send `Heartbeat`.
    Heartbeat { epoch: u64 },
    /// Send `LeaveGroup`.
    Leave { member_id: String, reason: &'static str },
    /// The broker is not the coordinator (any more): find it anew.
    Rediscover,
    /// Have the user give up partitions, then call `prepared` with the number.
    Prepare { number: u64, is_lost: bool },
    /// Have the user begin with this assignment.
    Assigned { assignment: Vec<u8> },
    /// Tell the user; nothing is tried until it polls again.
    Failed(ClientError),
}

/// An answer to `JoinGroup`.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol: String,
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    pub members: Vec<(String, Option<String>, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Preparing,
    Joining { is_sent: bool },
    Assigning { protocol: String },
    Syncing { protocol: String, assignments: Vec<(String, Vec<u8>)>, is_sent: bool },
    Stable,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Membership {
    rules: Rules,
    state: State,
    identity: Identity,
    outputs: VecDeque<Output>,
    is_subscribed: bool,
    is_connected: bool,
    /// What is owned is lost already, not given up.
    is_lost: bool,
    /// A rebalance is due, once this one is over.
    must_rejoin: bool,
    epoch: u64,
    prepare_number: u64,
    polled: Instant,
    heartbeat_due: Instant,
    is_heartbeat_sent: bool,
    /// When the coordinator was last heard.
    heard: Instant,
    tries: u32,
    retry_at: Option<Instant>,
}

impl Membership {
    pub fn new(now: Instant, rules: Rules) -> Membership {
        Membership {
            rules,
            state: State::Idle,
            identity: Identity::default(),
            outputs: VecDeque::new(),
            is_subscribed: false,
            is_connected: false,
            is_lost: false,
            must_rejoin: false,
            epoch: 0,
            prepare_number: 0,
            polled: now,
            heartbeat_due: now,
            is_heartbeat_sent: false,
            heard: now,
            tries: 0,
            retry_at: None,
        }
    }

    /// Topics are wanted: a group is joined at the next `polled`, or joined again.
    pub fn subscribe(&mut self) {
        self.is_subscribed = true;
        self.rejoin();
    }

    /// Leaves the group. What was owned is the caller's to give up, before this.
    pub fn leave(&mut self, reason: &'static str) {
        self.is_subscribed = false;
        self.go(reason);
        self.is_lost = false;
    }

    /// The user is alive.
    pub fn polled(&mut self, now: Instant) {
        self.polled = self.polled.max(now);
        if self.state == State::Idle && self.is_subscribed {
            self.prepare();
        }
    }

    /// The user gave up what it had to.
    pub fn prepared(&mut self, now: Instant, number: u64) {
        if self.state == State::Preparing && number == self.prepare_number {
            self.is_lost = false;
            self.become_joining();
            self.tick(now);
        }
    }

    /// There is reason for a rebalance: other topics, other partitions, some were just given up.
    pub fn rejoin(&mut self) {
        match self.state {
            State::Stable => self.prepare(),
            // The join that is to be sent will say what is new.
            State::Idle | State::Preparing | State::Joining { is_sent: false } => {}
            State::Joining { is_sent: true } | State::Assigning { .. } | State::Syncing { .. } => {
                self.must_rejoin = true;
            }
        }
    }

    /// Requests can be sent to the coordinator.
    pub fn connected(&mut self, now: Instant) {
        self.is_connected = true;
        self.is_heartbeat_sent = false;
        self.heard = now;
        self.tick(now);
    }

    /// What was sent and not answered never will be.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.is_heartbeat_sent = false;
        match &mut self.state {
            State::Joining { is_sent } => *is_sent = false,
            // Whether the coordinator has the assignments nobody knows: another generation tells.
            State::Syncing { is_sent: true, .. } => self.become_joining(),
            State::Syncing { is_sent: false, .. }
            | State::Idle
            | State::Preparing
            | State::Assigning { .. }
            | State::Stable => {}
        }
    }

    pub fn joined(&mut self, now: Instant, epoch: u64, answer: Joined) {
        if epoch != self.epoch || self.state != (State::Joining { is_sent: true }) {
            return;
        }
        let code = answer.error;
        if code.is_ok() {
            self.tries = 0;
            self.heard = now;
            self.heartbeat_due = now + self.rules.heartbeat_interval;
            let is_leader = answer.leader == answer.member_id;
            self.identity = Identity { member_id: answer.member_id, generation: answer.generation };
            let protocol = answer.protocol;
            if is_leader && !answer.skip_assignment {
                self.state = State::Assigning { protocol: protocol.clone() };
                self.outputs.push_back(Output::Assign { protocol, members: answer.members });
            } else {
                self.state = State::Syncing { protocol, assignments: Vec::new(), is_sent: false };
                self.tick(now);
            }
        } else if code == ErrorCode::MEMBER_ID_REQUIRED {
            self.identity = Identity { member_id: answer.member_id, generation: -1 };
            self.become_joining();
            self.tick(now);
        } else {
            self.refused(now, code);
        }
    }

    /// The leader has its assignments.
    pub fn assigned(&mut self, now: Instant, assignments: Vec<(String, Vec<u8>)>) {
        if let State::Assigning { protocol } = &self.state {
            let protocol = protocol.clone();
            self.state = State::Syncing { protocol, assignments, is_sent: false };
            self.tick(now);
        }
    }

    pub fn synced(&mut self, now: Instant, epoch: u64, answer: Result<Vec<u8>, ErrorCode>) {
        if epoch != self.epoch || !matches!(self.state, State::Syncing { is_sent: true, .. }) {
            return;
        }
        match answer {
            Ok(assignment) => {
                self.tries = 0;
                self.heard = now;
                self.heartbeat_due = now + self.rules.heartbeat_interval;
                self.state = State::Stable;
                self.outputs.push_back(Output::Assigned { assignment });
                if std::mem::take(&mut self.must_rejoin) {
                    self.prepare();
                }
            }
            Err(code) => self.refused(now, code),
        }
    }

    pub fn heartbeat_answered(&mut self, now: Instant, epoch: u64, code: ErrorCode) {
        if epoch != self.epoch {
            return;
        }
        self.is_heartbeat_sent = false;
        self.heard = now;
        if !code.is_ok() && self.beats() {
            self.refused(now, code);
        }
    }

    /// A commit of this generation was refused: that may be the first sign of a rebalance.
    pub fn commit_refused(&mut self, now: Instant, generation: i32, code: ErrorCode) {
        let is_mine = 0 <= generation && generation == self.identity.generation && self.beats();
        let is_place = code == ErrorCode::REBALANCE_IN_PROGRESS || is_fenced(code);
        if is_mine && is_place {
            self.refused(now, code);
        }
    }

    /// What a refusal means, wherever it is met.
    fn refused(&mut self, now: Instant, code: ErrorCode) {
        if code == ErrorCode::REBALANCE_IN_PROGRESS {
            match self.state {
                State::Stable => self.prepare(),
                State::Preparing => {}
                _ => self.join_later(now),
            }
        } else if is_fenced(code) {
            let member_id = match code {
                // The group goes by another generation and knows the member: under another name it
                // would join beside itself, and all would wait for the one that is gone.
                ErrorCode::ILLEGAL_GENERATION => std::mem::take(&mut self.identity.member_id),
                _ => String::new(),
            };
            self.identity = Identity { member_id, generation: -1 };
            self.is_lost = true;
            if code == ErrorCode::FENCED_INSTANCE_ID {
                // To join again would throw out whoever has the name now.
                self.is_subscribed = false;
                self.fail(ClientError::Broker(code));
            } else {
                self.prepare();
            }
        } else if code.is_retriable() {
            if is_about_coordinator(code) {
                self.outputs.push_back(Output::Rediscover);
            }
            match self.state {
                State::Stable | State::Preparing | State::Idle => {}
                _ => self.join_later(now),
            }
        } else {
            self.fail(ClientError::Broker(code));
        }
    }

    fn join_later(&mut self, now: Instant) {
        let doubled = self.rules.retry_backoff * (1 << self.tries.min(10));
        self.tries += 1;
        self.become_joining();
        self.retry_at = Some(now + doubled.min(self.rules.retry_backoff_max));
    }

    fn fail(&mut self, error: ClientError) {
        self.go("the group refuses this member");
        self.outputs.push_back(Output::Failed(error));
    }

    /// Out of the group, until the user polls again.
    fn go(&mut self, reason: &'static str) {
        let identity = std::mem::take(&mut self.identity);
        let is_member = !identity.member_id.is_empty() && self.state != State::Idle;
        if is_member && !self.rules.is_static {
            self.outputs.push_back(Output::Leave { member_id: identity.member_id, reason });
        }
        self.is_lost = true;
        self.must_rejoin = false;
        self.epoch += 1;
        self.is_heartbeat_sent = false;
        self.state = State::Idle;
    }

    fn prepare(&mut self) {
        self.epoch += 1;
        self.is_heartbeat_sent = false;
        self.prepare_number += 1;
        self.must_rejoin = false;
        self.state = State::Preparing;
        let (number, is_lost) = (self.prepare_number, self.is_lost);
        self.outputs.push_back(Output::Prepare { number, is_lost });
    }

    fn become_joining(&mut self) {
        self.epoch += 1;
        self.is_heartbeat_sent = false;
        self.retry_at = None;
        self.state = State::Joining { is_sent: false };
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if self.state != State::Idle && self.polled + self.rules.max_poll_interval <= now {
            log::warn!(
                "no poll for max.poll.interval.ms: this member leaves its group. Poll more often, \
                 or lower max.poll.records"
            );
            self.go("the consumer did not poll for max.poll.interval.ms");
        }
        if !self.is_connected {
            return;
        }
        if self.beats() {
            if self.heard + self.rules.session_timeout <= now {
                self.heard = now;
                self.outputs.push_back(Output::Rediscover);
            } else if !self.is_heartbeat_sent && self.heartbeat_due <= now {
                self.is_heartbeat_sent = true;
                self.heartbeat_due = now + self.rules.heartbeat_interval;
                self.outputs.push_back(Output::Heartbeat { epoch: self.epoch });
            }
        }
        let epoch = self.epoch;
        match &mut self.state {
            State::Joining { is_sent: is_sent @ false }
                if self.retry_at.is_none_or(|at| at <= now) =>
            {
                *is_sent = true;
                self.retry_at = None;
                self.outputs.push_back(Output::Join { epoch });
            }
            State::Syncing { protocol, assignments, is_sent: is_sent @ false } => {
                *is_sent = true;
                let (protocol, assignments) = (protocol.clone(), std::mem::take(assignments));
                self.outputs.push_back(Output::Sync { epoch, protocol, assignments });
            }
            _ => {}
        }
    }

    /// Whether heartbeats keep a place.
    fn beats(&self) -> bool {
        let is_between = matches!(self.state, State::Stable | State::Preparing);
        is_between && 0 <= self.identity.generation
    }

    /// When to call `tick` if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.state == State::Idle {
            return None;
        }
        let mut deadline = self.polled + self.rules.max_poll_interval;
        if self.is_connected && self.beats() {
            let session_end = self.heard + self.rules.session_timeout;
            let next = if self.is_heartbeat_sent { session_end } else { self.heartbeat_due };
            deadline = deadline.min(next).min(session_end);
        }
        if let (true, State::Joining { is_sent: false }) = (self.is_connected, &self.state) {
            deadline = deadline.min(self.retry_at.unwrap_or(deadline));
        }
        Some(deadline)
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether there is any use for a coordinator.
    pub fn wants_coordinator(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether it is no member, nor about to be one.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether the user's next poll makes it join.
    pub fn wants_poll(&self) -> bool {
        self.state == State::Idle && self.is_subscribed
    }

    /// Whether offsets can be committed: not between the join and the assignment.
    pub fn can_commit(&self) -> bool {
        self.beats()
    }
}

/// The member has no place in the group any more.
fn is_fenced(code: ErrorCode) -> bool {
    [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::ILLEGAL_GENERATION, ErrorCode::FENCED_INSTANCE_ID]
        .contains(&code)
}

/// Another broker may be the coordinator.
pub(super) fn is_about_coordinator(code: ErrorCode) -> bool {
    [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR, ErrorCode::REQUEST_TIMED_OUT]
        .contains(&code)
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
