//! Classic groups: members join, one of them assigns (semantics.md 2.18; KIP-62, 134, 345, 394,
//! 429, 814).
//!
//! ```text
//! Empty ──join──► Preparing ──all joined, or time up──► Completing ──assignment durable──► Stable
//!   ▲                │  ▲                                  │                                │
//!   └── nobody left ─┘  └─── join with news, leave, session over, sync too late ────────────┘
//! ```
//!
//! The generation rises by one where Preparing ends. Everything here is lost at a restart but
//! [`Stored`], from which [`ClassicGroup::restore`] makes a Stable or an Empty group.
//!
//! **Invariant:** an assignment is told to members after the record that holds it is durable, so no
//! restart can bring back a generation in which a partition has another owner.

mod describe;
mod join;
mod leave;
mod member;
mod moving;
mod rebalance;
mod static_member;
mod stored;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use join::check as check_join;
pub(super) use member::{Said, millis};
pub(super) use moving::Moving;
pub(super) use stored::{Stored, tombstone};

use self::member::Member;
use super::context::Context;
use super::offsets::Idle;
use crate::mutant::{self, Mutant};
use crate::time::{Boot, Now, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::kafka::consumer_protocol::ConsumerProtocolSubscription;
use crate::wire::list_groups::GroupState;

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has no members.
    Empty,
    /// Members join.
    Preparing {
        /// Until then at most.
        deadline: Boot,
        /// The group was empty: it waits for more members even if all known ones are there.
        initial: Option<Initial>,
    },
    /// The leader assigns.
    Completing {
        /// Who has not asked for its assignment by then is dropped.
        sync_deadline: Boot,
        /// The assignment is being written.
        is_assigning: bool,
    },
    /// All is well.
    Stable {
        /// As above, for those that are late.
        sync_deadline: Boot,
    },
}

/// How long a new group still waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Initial {
    /// The delay that is running.
    delay_ms: u64,
    /// What may be added to it.
    remaining_ms: u64,
    /// A member came since the delay began.
    has_newcomer: bool,
}

/// A classic group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    id: Box<str>,
    stored: Option<Stored>,
    /// A record about it was written, or is on its way.
    is_written: bool,
    phase: Phase,
    /// Since when, by the wall clock; −1 where it is not known.
    state_since: Timestamp,
    generation: i32,
    protocol_type: Option<Box<str>>,
    protocol: Option<Box<str>>,
    /// One of `members`, if there are any.
    leader: Option<Box<str>>,
    members: BTreeMap<Box<str>, Member>,
    /// Instance ids, each of one of `members`.
    static_members: BTreeMap<Box<str>, Box<str>>,
    /// Member ids that were given out and until when they may join; none of `members`.
    pending: BTreeMap<Box<str>, Boot>,
    /// What the members of this generation read; `None` where they do not say it legibly.
    subscribed: Option<BTreeSet<Box<str>>>,
    next_order: u64,
}

impl ClassicGroup {
    /// A group without members.
    pub fn new(group_id: &str) -> ClassicGroup {
        ClassicGroup {
            id: group_id.into(),
            stored: None,
            is_written: false,
            phase: Phase::Empty,
            state_since: Timestamp::NONE,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            subscribed: Some(BTreeSet::new()),
            next_order: 0,
        }
    }

    /// Takes what is durable into account: the only place that changes it.
    pub fn replay(&mut self, stored: Option<Stored>) {
        self.is_written = stored.is_some();
        self.stored = stored;
    }

    /// Goes on from what is durable, as it was before a restart; sessions start now.
    pub fn restore(&mut self, context: &mut Context, now: Now) {
        let Some(stored) = &self.stored else { return };
        self.generation = stored.generation;
        self.protocol_type = Some(stored.protocol_type.clone()).filter(|text| !text.is_empty());
        self.protocol = stored.protocol.clone();
        self.state_since = stored.state_since;
        let protocol = stored.protocol.as_deref();
        for (member_id, stored) in &stored.members {
            let mut member = Member::restored(stored, protocol, now.boot);
            member.order = self.next_order;
            self.next_order += 1;
            context.state_bytes += member.cost(member_id);
            if let Some(instance_id) = &member.instance_id {
                self.static_members.insert(instance_id.clone(), member_id.clone());
            }
            self.members.insert(member_id.clone(), member);
        }
        let leader = stored.leader.clone().filter(|leader| self.members.contains_key(leader));
        self.leader = leader.or_else(|| self.members.keys().next().cloned());
        if !self.members.is_empty() {
            self.phase = Phase::Stable { sync_deadline: Boot::NEVER };
        }
        self.subscribed = self.subscriptions();
        if context.rules.group_size_max < self.members.len() {
            self.prepare_rebalance(context, now);
        }
        self.wake(context);
    }

    /// What is durable of it.
    pub fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    /// Whether nothing would be lost with it.
    pub fn is_vain(&self) -> bool {
        !self.is_written && self.is_empty() && self.pending.is_empty()
    }

    /// Whether it has no members and none are joining.
    pub fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    pub fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    pub fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    /// Whether its members say what they read.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member reads the topic, or might.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        let subscribed = self.subscribed.as_ref();
        self.is_of_consumers() && subscribed.is_none_or(|topics| topics.contains(topic))
    }

    /// Since when nobody needs its offsets of a topic.
    pub fn idle(&self, topic: &str) -> Idle {
        match self.phase {
            _ if self.protocol_type.is_none() => Idle::SinceCommit,
            Phase::Empty if Timestamp::NONE < self.state_since => Idle::Since(self.state_since),
            Phase::Empty => Idle::SinceCommit,
            Phase::Stable { .. } if self.is_of_consumers() && !self.is_subscribed(topic) => {
                Idle::SinceCommit
            }
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => Idle::Not,
        }
    }

    /// Whether a commit may come from whom it says it comes from.
    pub fn check_commit(
        &mut self,
        now: Now,
        generation: i32,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(member_id, instance_id)?;
        self.check_generation(generation)?;
        match self.phase {
            Phase::Completing { .. } => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Preparing { .. } | Phase::Stable { .. } => {
                let member = self.members.get_mut(member_id).expect("it was checked");
                member.renew(now.boot);
            }
            Phase::Empty => {}
        }
        Ok(())
    }

    /// Whether there is such a member.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            let current = self.static_members.get(instance_id);
            let current = current.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if **current != *member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        let is_member = self.members.contains_key(member_id);
        if is_member { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    fn check_generation(&self, generation: i32) -> Result<(), ErrorCode> {
        let is_ours = generation == self.generation || mutant::is_on(Mutant::IgnoresGeneration);
        if is_ours { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// How long a rebalance may take: as long as the most patient member allows.
    fn rebalance_timeout_ms(&self) -> u64 {
        let timeouts = self.members.values().map(|member| member.said.rebalance_timeout_ms);
        member::millis(timeouts.max().unwrap_or(0))
    }

    /// The topics that the members say they read, by the chosen protocol.
    fn subscriptions(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.said.metadata(self.protocol.as_deref());
            let subscription = ConsumerProtocolSubscription::decode(metadata).ok()?;
            topics.extend(subscription.topics.into_iter().map(Box::from));
        }
        Some(topics)
    }

    /// When it wants to be looked at.
    pub fn deadline(&self) -> Boot {
        let phase = match self.phase {
            Phase::Empty => Boot::NEVER,
            Phase::Preparing { deadline, .. } => deadline,
            Phase::Completing { sync_deadline, .. } | Phase::Stable { sync_deadline } => {
                sync_deadline
            }
        };
        let sessions = self.members.values().map(Member::deadline);
        sessions.chain(self.pending.values().copied()).fold(phase, Boot::min)
    }

    fn wake(&self, context: &mut Context) {
        context.timers.wake(&self.id, self.deadline());
    }

    pub fn invariants(&self) {
        assert!(self.phase != Phase::Empty || self.members.is_empty(), "Empty means no members");
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id).expect("static members are members");
            assert!(member.instance_id.as_ref() == Some(instance_id), "by their instance ids");
        }
        assert!(self.members.keys().all(|id| !self.pending.contains_key(id)), "joined or pending");
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "the leader is a member");
        }
        for member in self.members.values() {
            let may_join = matches!(self.phase, Phase::Preparing { .. });
            assert!(member.joining.is_none() || may_join, "joins wait in Preparing only");
            let may_sync = matches!(self.phase, Phase::Completing { .. });
            assert!(member.syncing.is_none() || may_sync, "syncs wait in Completing only");
        }
    }
}
