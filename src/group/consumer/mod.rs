//! Consumer groups of KIP-848: the coordinator assigns (semantics.md 2.19).
//!
//! Three layers, all durable, each following the one above it:
//!
//! ```text
//! group epoch        rises when members, subscriptions or topics change
//! target assignment  made by an assignor for an epoch of the group
//! current assignment of each member: reconciled towards the target by its heartbeats
//! ```
//!
//! Everything a member says and hears is in one request, the heartbeat. [`ConsumerGroup::heartbeat`]
//! looks at the group and answers with the records that change it (a [`draft::Draft`]) and with the
//! response, which leaves when they are durable. What is here changes by
//! [`ConsumerGroup::replay`] alone, but for sessions and for when a member must have given up its
//! partitions: those begin anew at a restart.
//!
//! Members that speak the classic protocol may be among them (`classic_members.rs`): a group changes
//! from one protocol to the other while it has members (`migration.rs`).
//!
//! **Invariant:** no two members have a partition, see `reconcile.rs`. **Invariant:** no member
//! hears of an assignment before it is durable, so no restart can give a partition to another
//! member while the first one reads it.
//!
//! Read KIP-848 and Kafka's `GroupMetadataManager` and `CurrentAssignmentBuilder` before editing.

mod assignors;
mod classic_members;
mod classic_requests;
mod describe;
mod draft;
mod expressions;
mod heartbeat;
mod member;
mod migration;
mod partitions;
mod range;
mod reconcile;
mod records;
mod requests;
mod sessions;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::assignors::Assignor;
use self::member::Member;
use self::partitions::PartitionSet;
use self::reconcile::MemberState;
use self::sessions::Sessions;
use super::context::Context;
use super::offsets::Idle;
use crate::ids::TopicPartition;
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::consumer_group_heartbeat::LEAVING_FOR_A_WHILE;
use crate::wire::list_groups::GroupState;
use crate::wire::offset_commit::OffsetCommitRequest;

/// A consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    id: Box<str>,
    /// A record of its epoch was replayed.
    is_written: bool,
    /// Kafka 4.0 left a record of its topics.
    has_old_topics: bool,
    epoch: i32,
    /// Of the topics that the members read, at `epoch`.
    metadata_hash: u64,
    /// Up to which epoch the target is made; at most `epoch`.
    target_epoch: i32,
    targets: BTreeMap<Box<str>, PartitionSet>,
    members: BTreeMap<Box<str>, Member>,
    /// Instance ids, each of one of `members`.
    static_members: BTreeMap<Box<str>, Box<str>>,
    /// The topics that the members' expressions stand for.
    resolved: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// How many members have a partition: one, save in the middle of a replay.
    held: BTreeMap<TopicPartition, u32>,
    /// Topics may have changed since `metadata_hash` was made.
    is_refresh_due: bool,
    sessions: Sessions,
    /// What it takes, roughly.
    cost: usize,
}

impl ConsumerGroup {
    /// A group without members.
    pub fn new(group_id: &str) -> ConsumerGroup {
        ConsumerGroup {
            id: group_id.into(),
            is_written: false,
            has_old_topics: false,
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            targets: BTreeMap::new(),
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            resolved: BTreeMap::new(),
            held: BTreeMap::new(),
            is_refresh_due: true,
            sessions: Sessions::default(),
            cost: 0,
        }
    }

    /// Goes on after a restart: sessions start now.
    pub fn restore(&mut self, context: &mut Context, now: Now) {
        self.mend();
        let config = context.rules.consumer_config(&self.id);
        for (member_id, member) in &self.members {
            let session_timeout_ms = member.session_timeout_ms(config);
            self.sessions.renew(member_id, now.boot, session_timeout_ms);
            self.sessions.watch(member_id, member, now.boot);
        }
        self.is_refresh_due = true;
        self.wake(context);
    }

    /// Whether nothing would be lost with it.
    pub fn is_vain(&self) -> bool {
        !self.is_written && self.members.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn state(&self) -> GroupState {
        if self.members.is_empty() {
            return GroupState::Empty;
        }
        if self.target_epoch < self.epoch {
            return GroupState::Assigning;
        }
        let is_there = |member: &Member| {
            let current = &member.current;
            current.state == MemberState::Stable && current.epoch == self.target_epoch
        };
        let is_stable = self.members.values().all(is_there);
        if is_stable { GroupState::Stable } else { GroupState::Reconciling }
    }

    /// Whether a member reads the topic.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.said.topics.contains(topic))
            || self.resolved.values().any(|topics| topics.contains(topic))
    }

    /// Since when an offset is not needed.
    pub fn idle(&self, topic: &str) -> Idle {
        if self.is_subscribed(topic) { Idle::Not } else { Idle::SinceCommit }
    }

    /// A topic has come, grown or gone: whether that matters is seen at the next heartbeat.
    pub fn topic_changed(&mut self, topic: &str) {
        let may_match = self.members.values().any(|member| member.said.expression.is_some());
        if may_match || self.is_subscribed(topic) {
            self.is_refresh_due = true;
        }
    }

    /// Whether a commit may come from whom it says it comes from.
    pub fn check_commit(&self, request: &OffsetCommitRequest<'_>) -> Result<(), ErrorCode> {
        let (epoch, member_id) = (request.generation_id_or_member_epoch, request.member_id);
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if !member.is_classic() && !request.knows_member_epochs {
            // It could make nothing of STALE_MEMBER_EPOCH, so it does not get as far as that.
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        self.check_epoch(epoch, member_id)
    }

    /// Whether the committed offsets may be told to whom wants them; `None` is nobody in particular.
    pub fn check_fetch(&self, epoch: i32, member_id: Option<&str>) -> Result<(), ErrorCode> {
        match member_id {
            None if epoch < 0 => Ok(()),
            member_id => self.check_epoch(epoch, member_id.unwrap_or_default()),
        }
    }

    fn check_epoch(&self, epoch: i32, member_id: &str) -> Result<(), ErrorCode> {
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match epoch == member.current.epoch {
            true => Ok(()),
            false if member.is_classic() => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// What it takes, roughly.
    pub fn cost(&self) -> usize {
        self.cost
    }

    fn target(&self, member_id: &str) -> Option<&PartitionSet> {
        self.targets.get(member_id)
    }

    /// When it wants to be looked at.
    pub fn deadline(&self) -> Boot {
        self.sessions.next()
    }

    fn wake(&self, context: &mut Context) {
        context.timers.wake(&self.id, self.deadline());
    }

    pub fn invariants(&self) {
        assert!(self.target_epoch <= self.epoch || !self.is_written, "targets follow epochs");
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id);
            let is_its = member.is_some_and(|it| it.said.instance_id.as_ref() == Some(instance_id));
            assert!(is_its, "static members are members");
        }
        let mut held = BTreeSet::new();
        for member in self.members.values() {
            assert!(LEAVING_FOR_A_WHILE <= member.current.epoch, "no other epochs are negative");
            let current = &member.current;
            for topic_partition in current.assigned.iter().chain(current.revoking.iter()) {
                assert!(held.insert(topic_partition), "a partition has one member at most");
            }
        }
        assert!(self.held.keys().copied().eq(held), "what is held is what members have");
    }
}
