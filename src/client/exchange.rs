//! What the user's thread and the group's thread of a consumer tell each other, under the
//! consumer's lock: commands one way, events and answers the other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use regex_lite::Regex;

use crate::client::ClientError;
use crate::client::assignors::LastAssignment;
use crate::client::membership::Identity;
use crate::client::net::Connection;
use crate::client::offsets::{OffsetAndMetadata, TopicPartition};

/// What a consumer reads, and who decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing yet.
    #[default]
    None,
    /// The user: `assign`.
    Assigned,
    /// The group: `subscribe`.
    Subscribed,
}

/// Called in the user's thread with what became of `commit_async`.
pub type CommitCallback =
    Box<dyn FnOnce(&BTreeMap<TopicPartition, OffsetAndMetadata>, Result<(), ClientError>) + Send>;

/// Who waits for a commit.
pub(super) enum Waits {
    /// A call of `commit_sync`, by this number: it is tried again until its deadline.
    Call(u64),
    /// A callback, or nobody.
    Callback(Option<CommitCallback>),
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waits::Call(id) => write!(f, "Call({id})"),
            Waits::Callback(callback) => write!(f, "Callback({})", callback.is_some()),
        }
    }
}

/// Offsets on their way to the coordinator.
#[derive(Debug)]
pub(super) struct Commit {
    pub offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// Whether a member commits, or somebody whose partitions the group did not assign.
    pub is_member: bool,
    pub waits: Waits,
    pub deadline: Instant,
    pub retry_at: Option<Instant>,
}

/// A call of `committed`.
#[derive(Debug)]
pub(super) struct Question {
    pub id: u64,
    pub partitions: Vec<TopicPartition>,
    pub deadline: Instant,
    pub retry_at: Option<Instant>,
}

/// From the user's thread.
#[derive(Debug)]
pub(super) enum Command {
    /// The topics are in [`Exchange::topics`], or will be those that match.
    Subscribe(Option<Regex>),
    Unsubscribe,
    Prepared(u64),
    Rejoin,
    Commit(Commit),
    Ask(Question),
    /// Leave and end, at the latest then.
    Close(Instant),
}

/// To the user's thread.
pub(super) enum Event {
    /// Give up partitions, then answer `Prepared`.
    Prepare {
        number: u64,
        is_lost: bool,
    },
    /// This is the assignment now.
    Assigned(Vec<TopicPartition>),
    /// `commit_async` came to an end.
    Committed(Commit, Result<(), ClientError>),
    Failed(ClientError),
}

/// What background calls brought back.
#[derive(Default)]
pub(super) struct Landed {
    pub coordinator: Option<Result<Connection, ClientError>>,
    /// Names of all topics, and whether each is internal.
    pub all_topics: Option<Result<Vec<(String, bool)>, ClientError>>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Exchange {
    pub mode: Mode,
    /// The subscription, in ascending order.
    pub topics: Vec<Arc<str>>,
    pub commands: VecDeque<Command>,
    pub events: VecDeque<Event>,
    /// Answers to calls, by their numbers.
    pub committed: BTreeMap<u64, Result<(), ClientError>>,
    pub found: BTreeMap<u64, Result<Vec<Option<OffsetAndMetadata>>, ClientError>>,
    next_id: u64,
    /// When the user polled last.
    pub polled: Option<Instant>,
    /// The group cannot go on without a poll.
    pub wants_poll: bool,
    /// Offsets can be committed by a member now.
    pub can_commit: bool,
    pub identity: Identity,
    pub last: LastAssignment,
    pub landed: Landed,
}

impl Exchange {
    /// Tells the user of a failure, once until it has heard of it.
    pub fn fail(&mut self, error: ClientError) {
        if !self.events.iter().any(|event| matches!(event, Event::Failed(_))) {
            self.events.push_back(Event::Failed(error));
        }
    }

    /// The next thing to tell the user. What the group said before it learnt that nothing is
    /// subscribed to any more does not count.
    pub fn next_event(&mut self) -> Option<Event> {
        let is_leaving = self.commands.iter().any(|one| matches!(one, Command::Unsubscribe));
        if is_leaving || self.mode != Mode::Subscribed {
            self.events.retain(|event| matches!(event, Event::Committed(..) | Event::Failed(_)));
        }
        self.events.pop_front()
    }

    pub fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
