//! The group coordinator: members of consumer groups, and the offsets that groups commit.
//!
//! One [`Coordinator`] serves one partition of `__consumer_offsets`, in the shard that owns it.
//! Bytes in, bytes out: [`Coordinator::handle`] takes a request, [`Coordinator::poll`] gives
//! answers and record batches to append.
//!
//! # The life of a commit
//!
//! 1. `handle` checks the request and gives a [`GroupOutput::Append`] with the records.
//! 2. The broker appends the batch and calls [`Coordinator::appended`]: the records are replayed.
//! 3. When it is durable, the broker calls [`Coordinator::committed`]: the answer leaves.
//!
//! If the append fails, `committed` is called with the error and `appended` never is.
//!
//! **Invariant:** [`Coordinator::replay`] is the only mutator of what is durable, at boot and after
//! an append alike (style.md §2). **Invariant:** an answer leaves after everything it tells of is
//! durable: one that reads offsets waits for the appends it has seen.
//!
//! What is not durable (who is joining, whose session runs until when) is changed at once; it is
//! lost at a restart, and the members join again. A failed append undoes such a change.
//!
//! Read semantics.md 2.18 to 2.20 first; the authority behind them is Kafka's
//! `GroupMetadataManager`, `ClassicGroup` and `OffsetMetadataManager`.
//!
//! # Why
//!
//! Kafka keeps its classic groups in memory and writes them down beside it, so that what is in
//! memory and what a restart would find can part. Here what is durable stands apart
//! (`classic::Stored`) and comes from records alone; a test compares it with a fresh replay.

mod admin;
mod classic;
mod consumer;
mod context;
mod groups;
mod ids;
mod loading;
mod offsets;
mod refusal;
mod rules;
mod timers;
mod topics;
mod writes;

#[cfg(test)]
mod tests;

pub use consumer::Assignor;
pub use loading::GroupError;
pub use refusal::refusal;
pub use rules::{GroupRules, MigrationPolicy};

use std::collections::BTreeMap;

use self::context::Context;
use self::groups::Group;
use self::topics::Topics;
use crate::group_config::GroupOverrides;
use crate::time::{Boot, Now};
use crate::wire::{ApiKey, FrameError, frame};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// As its connection said.
    pub client_id: &'a str,
    /// Where it connects from, with a `/` before it, as Kafka has it.
    pub client_host: &'a str,
}

/// What a coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupOutput {
    /// Append a record batch to the coordinator's partition.
    Append {
        /// Names the append in [`Coordinator::appended`] and [`Coordinator::committed`].
        write: u64,
        /// The batch.
        batch: Vec<u8>,
    },
    /// Answer a request.
    Answer {
        /// That of [`Coordinator::handle`].
        token: u64,
        /// The response, in postcard.
        body: Vec<u8>,
    },
}

/// The coordinator of one partition's groups.
#[derive(Debug)]
pub struct Coordinator {
    groups: BTreeMap<Box<str>, Group>,
    topics: Topics,
    context: Context,
    is_loaded: bool,
}

impl Coordinator {
    /// A coordinator that knows no groups yet; `seed` must differ at each start.
    pub fn new(rules: GroupRules, seed: u64) -> Coordinator {
        let context = Context::new(rules, seed);
        let topics = Topics::default();
        Coordinator { groups: BTreeMap::new(), topics, context, is_loaded: false }
    }

    /// Replaces what SIGHUP may replace.
    pub fn reconfigure(&mut self, rules: GroupRules) {
        self.context.rules = rules;
    }

    /// A group has set something itself; it holds from its members' next heartbeats on.
    pub fn configure_group(&mut self, group_id: &str, own: GroupOverrides) {
        self.context.rules.configure_group(group_id, own);
    }

    /// Takes a request; `body` is its postcard body, its topics by name. The answer comes from
    /// [`Coordinator::poll`], now or later, once for each token.
    pub fn handle(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        api_key: ApiKey,
        body: &[u8],
    ) -> Result<(), FrameError> {
        if !self.is_loaded {
            let body = refusal::while_loading(api_key, body)?;
            self.context.answer_body(token, body);
            return Ok(());
        }
        match api_key {
            ApiKey::JoinGroup => self.join(now, token, caller, &frame::decode(body)?),
            ApiKey::SyncGroup => self.sync(now, token, &frame::decode(body)?),
            ApiKey::Heartbeat => self.heartbeat(now, token, &frame::decode(body)?),
            ApiKey::LeaveGroup => self.leave(now, token, &frame::decode(body)?),
            ApiKey::OffsetCommit => self.commit(now, token, &frame::decode(body)?),
            ApiKey::OffsetFetch => self.fetch(token, &frame::decode(body)?),
            ApiKey::OffsetDelete => self.delete_offsets(now, token, &frame::decode(body)?),
            ApiKey::DescribeGroups => self.describe(token, &frame::decode(body)?),
            ApiKey::ListGroups => self.list(token, &frame::decode(body)?),
            ApiKey::DeleteGroups => self.delete_groups(now, token, &frame::decode(body)?),
            ApiKey::ConsumerGroupHeartbeat => {
                self.consumer_heartbeat(now, token, caller, &frame::decode(body)?);
            }
            ApiKey::ConsumerGroupDescribe => {
                self.describe_consumers(token, &frame::decode(body)?);
            }
            _ => return Err(FrameError::Malformed),
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Now) {
        while let Some(change) = self.context.writes.overdue(now.boot) {
            self.give_up(now, change);
        }
        while let Some(group_id) = self.context.timers.due(now.boot) {
            self.expire_members(now, &group_id);
        }
        if self.is_loaded && self.context.retention.is_due(now) {
            self.expire_offsets(now);
        }
        self.invariants();
    }

    /// When [`Coordinator::tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        let timers = self.context.timers.next().min(self.context.writes.next_deadline());
        if self.is_loaded { timers.min(self.context.retention.next()) } else { timers }
    }

    /// What to do next; to be called until there is nothing.
    pub fn poll(&mut self) -> Option<GroupOutput> {
        self.context.poll()
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Half a log says half of it.
    fn invariants(&self) {
        if cfg!(debug_assertions) && self.is_loaded {
            for (group_id, group) in &self.groups {
                group.invariants();
                let woken_at = self.context.timers.at(group_id);
                assert!(woken_at <= group.deadline(), "a group is woken in time");
            }
        }
    }
}
