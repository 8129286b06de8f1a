//! The heartbeat: who may say what, and what comes of it.

use super::draft::Draft;
use super::member::{Member, Said};
use super::partitions::PartitionSet;
use super::{ConsumerGroup, expressions};
use crate::group::topics::Topics;
use crate::group::writes::Record;
use crate::group::{Caller, GroupRules, ids};
use crate::limits::{GROUP_EXPRESSIONS_MAX, GROUP_MEMBERS_MAX};
use crate::time::Now;
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOINING, LEAVING,
    LEAVING_FOR_A_WHILE, TopicPartitions,
};
use crate::wire::{ErrorCode, frame};

/// What comes of a heartbeat.
#[derive(Debug)]
pub(super) struct Outcome {
    pub records: Vec<Record>,
    /// The response, in postcard.
    pub body: Vec<u8>,
    /// The member as it will be; `None` if it leaves.
    pub member: Option<Member>,
    /// The member took a step towards its target.
    pub has_stepped: bool,
    /// How much more the group takes with it, at most.
    pub more_bytes: usize,
}

/// Whether a request can be looked at at all.
pub(super) fn check(
    rules: &GroupRules,
    request: &ConsumerGroupHeartbeatRequest<'_>,
) -> Result<(), ErrorCode> {
    let group_id = request.group_id;
    if group_id.is_empty() || !ids::is_legal(group_id) {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let texts = [request.instance_id, request.rack_id, request.server_assignor];
    let texts = texts.into_iter().flatten();
    let mut names = texts.chain(request.subscribed_topics.iter().flatten().copied());
    let is_well_said = names.all(|text| !text.is_empty() && ids::is_legal(text));
    let is_joining = request.member_epoch == JOINING;
    let has_subscription =
        request.subscribed_topics.is_some() || request.subscribed_regex.is_some();
    let has_nothing = request.owned.as_ref().is_some_and(Vec::is_empty);
    let is_whole = 0 <= request.rebalance_timeout_ms && has_subscription && has_nothing;
    let is_legal = is_well_said
        && ids::is_legal(request.member_id)
        && -1 <= request.rebalance_timeout_ms
        && LEAVING_FOR_A_WHILE <= request.member_epoch
        && (is_joining || !request.member_id.is_empty())
        && (!is_joining || is_whole)
        && (request.member_epoch != LEAVING_FOR_A_WHILE || request.instance_id.is_some());
    if !is_legal {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let is_served = |name: &str| rules.consumer_assignors.iter().any(|it| it.name() == name);
    if request.server_assignor.is_some_and(|name| !is_served(name)) {
        return Err(ErrorCode::UNSUPPORTED_ASSIGNOR);
    }
    Ok(())
}

impl ConsumerGroup {
    /// Looks at a heartbeat, which was checked and has a member id.
    pub(super) fn heartbeat(
        &self,
        rules: &GroupRules,
        topics: &Topics,
        now: Now,
        caller: Caller<'_>,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<Outcome, ErrorCode> {
        if request.member_epoch < JOINING {
            return self.departure(topics, now, request);
        }
        let owned = request.owned.as_deref().map(PartitionSet::of_told);
        let before = self.find(rules, request, owned.as_ref())?;
        let nobody = Said::default();
        let said_before = before.map_or(&nobody, |(_, member)| &member.said);
        let said = said_before.updated(caller, request);
        self.check_expression(said_before, &said)?;
        let has_changed = before.is_none() || !said.reads_as(said_before);
        let held_before = before.map(|(_, member)| member.current.clone()).unwrap_or_default();

        let member_id = request.member_id;
        let mut draft = Draft::new(self, topics);
        match before {
            Some((old_id, member)) if is_away(member) => draft.replace(old_id, member_id, said),
            _ => draft.say(member_id, said),
        }
        draft.refresh(now.wall, has_changed);
        draft.assign(&rules.consumer_assignors);
        let has_stepped = draft.reconcile(member_id, owned.as_ref());

        let member = draft.member(member_id).cloned().expect("it has just said something");
        let is_whole = request.owned.is_some()
            && 0 <= request.rebalance_timeout_ms
            && (request.subscribed_topics.is_some() || request.subscribed_regex.is_some());
        let is_late = request.member_epoch != held_before.epoch;
        let is_told = request.member_epoch == JOINING
            || is_whole
            || is_late
            || member.current.assigned != held_before.assigned;
        let more_bytes = if has_changed { member.cost(member_id, 0) } else { 0 };
        let interval_ms = rules.consumer_config(&self.id).heartbeat_interval_ms;
        let body = told(interval_ms, member_id, &member, is_told);
        let records = draft.into_records();
        Ok(Outcome { records, body, member: Some(member), has_stepped, more_bytes })
    }

    /// Whether a request is of a member that is there, under this id or under its name.
    pub(super) fn knows(&self, request: &ConsumerGroupHeartbeatRequest<'_>) -> bool {
        let by_name = request.instance_id.map(|name| self.static_members.contains_key(name));
        by_name.unwrap_or(false) || self.members.contains_key(request.member_id)
    }

    /// The member that a request is of, if there is one and it may speak.
    fn find(
        &self,
        rules: &GroupRules,
        request: &ConsumerGroupHeartbeatRequest<'_>,
        owned: Option<&PartitionSet>,
    ) -> Result<Option<(&str, &Member)>, ErrorCode> {
        let is_joining = request.member_epoch == JOINING;
        let member_id = request.member_id;
        let named = request.instance_id.and_then(|id| self.static_members.get_key_value(id));
        if let Some((_, old_id)) = named {
            let (old_id, member) = self.members.get_key_value(old_id).expect("it is a member");
            if is_joining && is_away(member) {
                return Ok(Some((old_id, member)));
            }
            if **old_id != *member_id {
                return Err(match is_joining {
                    true => ErrorCode::UNRELEASED_INSTANCE_ID,
                    false => ErrorCode::FENCED_INSTANCE_ID,
                });
            }
        }
        let Some((known_id, member)) = self.members.get_key_value(member_id) else {
            let size_max = rules.consumer_group_size_max.min(GROUP_MEMBERS_MAX);
            return match is_joining {
                true if self.members.len() < size_max => Ok(None),
                true => Err(ErrorCode::GROUP_MAX_SIZE_REACHED),
                false => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            };
        };
        // A member keeps the instance id it joined with.
        if request.instance_id.is_some()
            && request.instance_id != member.said.instance_id.as_deref()
        {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        check_epoch(member, request.member_epoch, owned)?;
        Ok(Some((known_id, member)))
    }

    fn check_expression(&self, before: &Said, said: &Said) -> Result<(), ErrorCode> {
        let Some(expression) = &said.expression else { return Ok(()) };
        if before.expression == said.expression || self.resolved.contains_key(expression) {
            return Ok(());
        }
        let is_legal =
            self.resolved.len() < GROUP_EXPRESSIONS_MAX && expressions::is_legal(expression);
        if is_legal { Ok(()) } else { Err(ErrorCode::INVALID_REGULAR_EXPRESSION) }
    }

    /// A member leaves.
    fn departure(
        &self,
        topics: &Topics,
        now: Now,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<Outcome, ErrorCode> {
        let member_id = request.member_id;
        if let Some(instance_id) = request.instance_id {
            let known = self.static_members.get(instance_id);
            let known = known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if **known != *member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        if !self.members.contains_key(member_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let mut draft = Draft::new(self, topics);
        if request.member_epoch == LEAVING {
            draft.remove(member_id);
            draft.refresh(now.wall, true);
        } else {
            draft.suspend(member_id, LEAVING_FOR_A_WHILE);
        }
        let body = frame::encode_body(&ConsumerGroupHeartbeatResponse {
            error: ErrorCode::NONE,
            member_id,
            member_epoch: request.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        });
        let records = draft.into_records();
        let member = None;
        Ok(Outcome { records, body, member, has_stepped: false, more_bytes: 0 })
    }

    /// The records that remove members of whom nothing is to be expected.
    pub(super) fn removal(&self, topics: &Topics, now: Now, members: &[Box<str>]) -> Vec<Record> {
        let mut draft = Draft::new(self, topics);
        for member_id in members {
            draft.remove(member_id);
        }
        draft.refresh(now.wall, true);
        draft.into_records()
    }
}

/// Whether a static member has left for a while.
pub(super) fn is_away(member: &Member) -> bool {
    member.current.epoch == LEAVING_FOR_A_WHILE
}

/// Whether a heartbeat is of this epoch, or of the one before and its answer was lost.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&PartitionSet>) -> Result<(), ErrorCode> {
    let current = &member.current;
    if epoch == current.epoch {
        return Ok(());
    }
    let is_late = epoch < current.epoch && epoch == current.previous_epoch;
    let holds_too_much = owned.is_none_or(|owned| !owned.is_subset(&current.assigned));
    if is_late && !holds_too_much { Ok(()) } else { Err(ErrorCode::FENCED_MEMBER_EPOCH) }
}

fn told(heartbeat_interval_ms: i32, member_id: &str, member: &Member, is_told: bool) -> Vec<u8> {
    let assignment: Option<Vec<TopicPartitions>> = is_told.then(|| member.current.assigned.told());
    frame::encode_body(&ConsumerGroupHeartbeatResponse {
        error: ErrorCode::NONE,
        member_id,
        member_epoch: member.current.epoch,
        heartbeat_interval_ms,
        assignment,
    })
}
