//! Members that speak the classic protocol in a group of KIP-848 (online migration).
//!
//! They join, ask for their assignment and send heartbeats as ever, but nobody leads: the
//! coordinator assigns to them as to the others. Their generation is their epoch. Where a member of
//! KIP-848 takes a step with each heartbeat, one of these is told to join again
//! (`REBALANCE_IN_PROGRESS`) and takes it then; what it holds stands in its subscription.
//!
//! Read `GroupMetadataManager.classicGroupJoinToConsumerGroup` and its kin before editing.

use super::ConsumerGroup;
use super::draft::Draft;
use super::heartbeat::Outcome;
use super::member::{Member, Said};
use super::partitions::PartitionSet;
use super::reconcile::MemberState;
use crate::group::topics::Topics;
use crate::group::writes::Record;
use crate::group::{Caller, GroupRules, classic, ids};
use crate::ids::TopicPartition;
use crate::limits::GROUP_MEMBERS_MAX;
use crate::time::Now;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::kafka::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use crate::wire::leave_group::LeavingMember;
use crate::wire::sync_group::SyncGroupRequest;
use crate::wire::{ErrorCode, frame};

impl ConsumerGroup {
    /// Looks at a join, which was checked; the member is `member_id` from here on.
    pub(super) fn classic_join(
        &self,
        rules: &GroupRules,
        topics: &Topics,
        now: Now,
        caller: Caller<'_>,
        member_id: &str,
        request: &JoinGroupRequest<'_>,
    ) -> Result<Outcome, ErrorCode> {
        let subscription = self.check_join(request)?;
        let before = self.find_classic(rules, request)?;
        let said = Said::of_join(caller, request, &subscription);
        let has_changed = before.is_none_or(|(_, member)| !said.reads_as(&member.said));
        let owned = placed(topics, &subscription.owned_partitions);

        let mut draft = Draft::new(self, topics);
        match before {
            Some((old_id, _)) if old_id != member_id => draft.replace(old_id, member_id, said),
            _ => draft.say(member_id, said),
        }
        draft.refresh(now.wall, has_changed);
        draft.assign(&rules.consumer_assignors);
        let has_stepped = draft.reconcile(member_id, Some(&owned));

        let member = draft.member(member_id).cloned().expect("it has just said something");
        let body = frame::encode_body(&JoinGroupResponse {
            error: ErrorCode::NONE,
            generation_id: member.current.epoch,
            protocol_type: Some(classic::CONSUMER),
            protocol_name: protocol_of(&member),
            // Whoever does not find itself here waits for its assignment.
            leader: "",
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        });
        let more_bytes = if has_changed { member.cost(member_id, 0) } else { 0 };
        let records = draft.into_records();
        Ok(Outcome { records, body, member: Some(member), has_stepped, more_bytes })
    }

    /// What a member reads, if it shares a protocol with all classic members there are.
    pub(super) fn check_join<'a>(
        &self,
        request: &JoinGroupRequest<'a>,
    ) -> Result<ConsumerProtocolSubscription<'a>, ErrorCode> {
        let refusal = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
        let mut classic = self.members.values().filter_map(|member| member.said.classic.as_ref());
        let is_common = |name: &str| classic.all(|said| said.knows(name));
        let is_served = request.protocol_type == classic::CONSUMER
            && request.protocols.iter().map(|it| it.name).any(is_common);
        let first = request.protocols.first().filter(|_| is_served).ok_or(refusal)?;
        let read = ConsumerProtocolSubscription::decode(first.metadata).map_err(|_| refusal)?;
        if is_legible(&read) { Ok(read) } else { Err(refusal) }
    }

    /// The member that a join is of, if there is one already.
    fn find_classic(
        &self,
        rules: &GroupRules,
        request: &JoinGroupRequest<'_>,
    ) -> Result<Option<(&str, &Member)>, ErrorCode> {
        let member_id = request.member_id;
        if !ids::is_legal(member_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let named = request.group_instance_id.and_then(|id| self.static_members.get(id));
        if let Some(known) = named {
            if !member_id.is_empty() && **known != *member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
            let (known, member) = self.members.get_key_value(known).expect("it is a member");
            return Ok(Some((known, member)));
        }
        if let Some((known, member)) = self.members.get_key_value(member_id) {
            // A member keeps the instance id it joined with.
            let is_its = request.group_instance_id == member.said.instance_id.as_deref();
            return if is_its {
                Ok(Some((known, member)))
            } else {
                Err(ErrorCode::UNKNOWN_MEMBER_ID)
            };
        }
        let size_max = rules.consumer_group_size_max.min(GROUP_MEMBERS_MAX);
        if self.members.len() < size_max {
            Ok(None)
        } else {
            Err(ErrorCode::GROUP_MAX_SIZE_REACHED)
        }
    }

    /// A member that speaks the classic protocol, by what a request says of it.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<&Member, ErrorCode> {
        if let Some(instance_id) = instance_id {
            let known = self.static_members.get(instance_id);
            let known = known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if **known != *member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        let member = self.members.get(member_id).filter(|member| member.is_classic());
        let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let is_its = generation == member.current.epoch;
        if is_its { Ok(member) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// A member asks for its assignment; answers with it, as a consumer reads it, and with the
    /// name of its protocol.
    pub(super) fn classic_sync(
        &self,
        topics: &Topics,
        request: &SyncGroupRequest<'_>,
    ) -> Result<(Vec<u8>, &str), ErrorCode> {
        let SyncGroupRequest { member_id, generation_id, group_instance_id, .. } = *request;
        let member = self.classic_member(member_id, group_instance_id, generation_id)?;
        let protocol = protocol_of(member).unwrap_or_default();
        if request.protocol_type.is_some_and(|it| it != classic::CONSUMER)
            || request.protocol_name.is_some_and(|it| it != protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        // One that has to give something up has joined already, and must be told of it.
        let is_behind = member.current.epoch < self.epoch;
        if is_behind && member.current.state != MemberState::Unrevoked {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok((assignment(topics, member), protocol))
    }

    /// A member lives; the answer says whether it must join again.
    pub(super) fn classic_heartbeat(
        &self,
        request: &HeartbeatRequest<'_>,
    ) -> Result<bool, ErrorCode> {
        let HeartbeatRequest { member_id, generation_id, group_instance_id, .. } = *request;
        let member = self.classic_member(member_id, group_instance_id, generation_id)?;
        let is_behind = member.current.epoch < self.epoch;
        Ok(is_behind
            || match member.current.state {
                MemberState::Stable => false,
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits(member_id, member),
            })
    }

    /// Whether others still have something of what a member is to have.
    fn waits(&self, member_id: &str, member: &Member) -> bool {
        let Some(target) = self.target(member_id) else { return false };
        target.minus(&member.current.assigned).iter().any(|it| self.held.contains_key(&it))
    }

    /// The member that is to leave.
    pub(super) fn leaving(&self, leaving: &LeavingMember<'_>) -> Result<Box<str>, ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
        if leaving.member_id.is_empty() {
            // An operator removes a static member, whatever its id is at present.
            let instance_id = leaving.group_instance_id.ok_or(unknown)?;
            return self.static_members.get(instance_id).cloned().ok_or(unknown);
        }
        let known = self.members.get_key_value(leaving.member_id);
        let (known, member) = known.filter(|(_, member)| member.is_classic()).ok_or(unknown)?;
        if let Some(instance_id) = leaving.group_instance_id {
            if member.said.instance_id.as_deref() != Some(instance_id) {
                let is_named = self.static_members.contains_key(instance_id);
                return Err(if is_named { ErrorCode::FENCED_INSTANCE_ID } else { unknown });
            }
        }
        Ok(known.clone())
    }

    /// How long a member may take to join again.
    pub(super) fn rebalance_timeout_ms(&self, member_id: &str) -> u64 {
        let member = self.members.get(member_id);
        let timeout_ms = member.map_or(0, |member| member.said.rebalance_timeout_ms);
        u64::try_from(timeout_ms).unwrap_or(0)
    }

    /// The records that remove members which leave.
    pub(super) fn farewell(&self, topics: &Topics, now: Now, members: &[Box<str>]) -> Vec<Record> {
        if members.is_empty() { Vec::new() } else { self.removal(topics, now, members) }
    }
}

/// Whether what a member reads may be kept and shown.
pub(super) fn is_legible(subscription: &ConsumerProtocolSubscription<'_>) -> bool {
    let names = subscription.topics.iter().copied().chain(subscription.rack_id);
    names.into_iter().all(ids::is_legal)
}

/// The protocol it goes by: the one it wants most.
fn protocol_of(member: &Member) -> Option<&str> {
    member.said.classic.as_ref()?.protocols.first().map(|(name, _)| &**name)
}

/// Partitions that are named, as far as there are such.
pub(super) fn placed(
    topics: &Topics,
    named: &[consumer_protocol::TopicPartition<'_>],
) -> PartitionSet {
    let mut partitions = PartitionSet::default();
    for named in named {
        let Some(topic) = topics.find(named.topic) else { continue };
        let there = named.partitions.iter().copied();
        for partition in there.filter(|it| (0..topic.partition_count).contains(&it.0)) {
            partitions.insert(TopicPartition { topic_id: topic.id, partition });
        }
    }
    partitions
}

/// What a member has, as a consumer reads it, in the version of what it said.
pub(super) fn assignment(topics: &Topics, member: &Member) -> Vec<u8> {
    let by_topic = member.current.assigned.by_topic().into_iter();
    let named = by_topic.filter_map(|(topic_id, partitions)| {
        let topic = topics.name(topic_id)?;
        Some(consumer_protocol::TopicPartition { topic, partitions })
    });
    let assigned = ConsumerProtocolAssignment {
        assigned_partitions: named.collect(),
        ..ConsumerProtocolAssignment::default()
    };
    let said = member.said.classic.as_ref().and_then(|said| said.protocols.first());
    let version = match said.map(|(_, metadata)| &**metadata) {
        Some([high, low, ..]) => i16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    assigned.encode(version.clamp(0, consumer_protocol::VERSION_MAX))
}
