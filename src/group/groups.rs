//! A group: its committed offsets, and its members by one protocol or another.

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::offsets::Offsets;
use super::writes::{After, Record};
use super::{Caller, Coordinator, classic};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::wire::list_groups::{GroupKind, GroupState};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::classic::check_join;

/// What a group takes, but for its members, its offsets and the copies of its id.
const GROUP_BYTES: usize = 1024;

/// What a group of this id takes before it has members or offsets: it is kept by its id, and so are
/// the times of its next look.
pub(super) fn cost(group_id: &str) -> usize {
    GROUP_BYTES + 4 * group_id.len()
}

/// How a group's members work together.
#[derive(Debug, Default)]
pub(super) enum Members {
    /// It has never had any: somebody only commits offsets in its name.
    #[default]
    Simple,
    /// By the classic protocol.
    Classic(Box<ClassicGroup>),
    /// By that of KIP-848.
    Consumer(Box<ConsumerGroup>),
}

impl Members {
    /// What they take, roughly.
    pub fn cost(&self) -> usize {
        match self {
            Members::Simple => 0,
            Members::Classic(group) => group.cost(),
            Members::Consumer(group) => group.cost(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub members: Members,
    pub offsets: Offsets,
}

impl Group {
    /// Whether nothing would be lost with it.
    pub fn is_vain(&self) -> bool {
        let is_vain = match &self.members {
            Members::Simple => true,
            Members::Classic(group) => group.is_vain(),
            Members::Consumer(group) => group.is_vain(),
        };
        is_vain && self.offsets.is_empty()
    }

    /// Whether it has no members and none are joining.
    pub fn is_empty(&self) -> bool {
        match &self.members {
            Members::Simple => true,
            Members::Classic(group) => group.is_empty(),
            Members::Consumer(group) => group.is_empty(),
        }
    }

    pub fn state(&self) -> GroupState {
        match &self.members {
            Members::Simple => GroupState::Empty,
            Members::Classic(group) => group.state(),
            Members::Consumer(group) => group.state(),
        }
    }

    pub fn kind(&self) -> GroupKind {
        match &self.members {
            Members::Simple | Members::Classic(_) => GroupKind::Classic,
            Members::Consumer(_) => GroupKind::Consumer,
        }
    }

    pub fn protocol_type(&self) -> &str {
        match &self.members {
            Members::Simple => "",
            Members::Classic(group) => group.protocol_type(),
            Members::Consumer(_) => classic::CONSUMER,
        }
    }

    pub fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match &mut self.members {
            Members::Classic(group) => Some(group),
            Members::Simple | Members::Consumer(_) => None,
        }
    }

    pub fn consumer(&self) -> Option<&ConsumerGroup> {
        match &self.members {
            Members::Consumer(group) => Some(group),
            Members::Simple | Members::Classic(_) => None,
        }
    }

    pub fn consumer_mut(&mut self) -> Option<&mut ConsumerGroup> {
        match &mut self.members {
            Members::Consumer(group) => Some(group),
            Members::Simple | Members::Classic(_) => None,
        }
    }

    /// The records that forget its members' protocol, once there are no members.
    pub fn tombstones(&self, group_id: &str) -> Vec<Record> {
        match &self.members {
            Members::Simple => Vec::new(),
            Members::Classic(group) => {
                group.stored().map(|_| classic::tombstone(group_id)).into_iter().collect()
            }
            Members::Consumer(group) => group.tombstones(),
        }
    }

    #[cfg(test)]
    pub fn classic(&self) -> Option<&ClassicGroup> {
        match &self.members {
            Members::Classic(group) => Some(group),
            Members::Simple | Members::Consumer(_) => None,
        }
    }

    /// What is durable of its classic members.
    #[cfg(test)]
    pub fn stored(&self) -> Option<&super::classic::Stored> {
        self.classic().and_then(ClassicGroup::stored)
    }

    /// When it wants to be looked at.
    pub fn deadline(&self) -> Boot {
        match &self.members {
            Members::Simple => Boot::NEVER,
            Members::Classic(group) => group.deadline(),
            Members::Consumer(group) => group.deadline(),
        }
    }

    pub fn invariants(&self) {
        match &self.members {
            Members::Simple => {}
            Members::Classic(group) => group.invariants(),
            Members::Consumer(group) => group.invariants(),
        }
    }
}

impl Coordinator {
    pub(super) fn consumer_mut(&mut self, group_id: &str) -> Option<&mut ConsumerGroup> {
        self.groups.get_mut(group_id).and_then(Group::consumer_mut)
    }

    pub(super) fn join(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) {
        let group_id = request.group_id;
        let checked = check_join(&self.context.rules, request);
        if checked.is_ok() && self.has_consumers(group_id) {
            if let Err(error) = self.join_consumers(now, token, caller, request) {
                let refusal = JoinGroupResponse::failed(error, request.member_id);
                self.context.answer(token, &refusal);
            }
            return self.settle(now);
        }
        let entered = checked.and_then(|()| self.enter(now, group_id, request.member_id));
        if let Err(error) = entered {
            let refusal = JoinGroupResponse::failed(error, request.member_id);
            return self.context.answer(token, &refusal);
        }
        let group = self.groups.get_mut(group_id).and_then(Group::classic_mut);
        let group = group.expect("it was entered");
        group.join(&mut self.context, now, token, caller, request);
        self.settle(now);
        self.forget_if_vain(group_id);
    }

    /// Sees to it that there is a classic group to join.
    fn enter(&mut self, now: Now, group_id: &str, member_id: &str) -> Result<(), ErrorCode> {
        match self.groups.get_mut(group_id) {
            Some(Group { members: Members::Classic(_), .. }) => return Ok(()),
            _ if !member_id.is_empty() => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(group) => {
                // It was one of KIP-848, and has no members left.
                let records = group.tombstones(group_id);
                self.context.write(now, records, After::Nothing);
            }
            None => {
                let has_room = self.make_room(now, group_id, 0);
                has_room.then_some(()).ok_or(ErrorCode::GROUP_MAX_SIZE_REACHED)?;
            }
        }
        self.swap(group_id, Members::Classic(Box::new(ClassicGroup::new(group_id))));
        Ok(())
    }

    pub(super) fn sync(&mut self, now: Now, token: u64, request: &SyncGroupRequest<'_>) {
        if self.has_consumers(request.group_id) {
            self.sync_consumers(now, token, request);
            return self.settle(now);
        }
        let group = self.groups.get_mut(request.group_id).and_then(Group::classic_mut);
        if let Some(group) = group {
            group.sync(&mut self.context, now, token, request);
        } else {
            self.context.answer(token, &SyncGroupResponse::failed(absent(request.group_id)));
        }
        self.settle(now);
    }

    pub(super) fn heartbeat(&mut self, now: Now, token: u64, request: &HeartbeatRequest<'_>) {
        let is_of_consumers = self.has_consumers(request.group_id);
        let result = match self.groups.get_mut(request.group_id).and_then(Group::classic_mut) {
            Some(group) => group.heartbeat(now, request),
            None if is_of_consumers => self.heartbeat_consumers(now, request),
            None => Err(absent(request.group_id)),
        };
        let error = result.err().unwrap_or(ErrorCode::NONE);
        self.context.answer(token, &HeartbeatResponse { error });
    }

    pub(super) fn leave(&mut self, now: Now, token: u64, request: &LeaveGroupRequest<'_>) {
        let group_id = request.group_id;
        if self.has_consumers(group_id) {
            self.leave_consumers(now, token, request);
            return self.settle(now);
        }
        let response = match self.groups.get_mut(group_id).and_then(Group::classic_mut) {
            Some(group) => LeaveGroupResponse {
                error: ErrorCode::NONE,
                members: group.leave(&mut self.context, now, &request.members),
            },
            None if group_id.is_empty() => {
                LeaveGroupResponse { error: ErrorCode::INVALID_GROUP_ID, members: Vec::new() }
            }
            None => LeaveGroupResponse {
                error: ErrorCode::NONE,
                members: vec![ErrorCode::UNKNOWN_MEMBER_ID; request.members.len()],
            },
        };
        self.context.answer(token, &response);
        self.settle(now);
        self.forget_if_vain(group_id);
    }

    /// Time has passed for a group.
    pub(super) fn expire_members(&mut self, now: Now, group_id: &str) {
        if let Some(group) = self.groups.get_mut(group_id).and_then(Group::classic_mut) {
            group.expire(&mut self.context, now);
        }
        self.expire_consumers(now, group_id);
        self.settle(now);
        self.forget_if_vain(group_id);
    }

    /// What is left to do after anything: consequences without an append, and too many ids that
    /// were given out.
    pub(super) fn settle(&mut self, now: Now) {
        while let Some((after, result)) = self.context.settled.pop_front() {
            self.follow(now, after, result);
        }
        // Ids take what members and offsets leave; the newest is always good for its next step.
        while self.context.rules.pending_members_max < self.context.pending.len()
            || 1 < self.context.pending.len() && !self.context.has_room(self.context.pending_bytes)
        {
            self.evict_pending(now);
        }
    }

    /// The group of this id, made if there is none.
    pub(super) fn group_or_new(&mut self, group_id: &str) -> &mut Group {
        if !self.groups.contains_key(group_id) {
            self.context.state_bytes += cost(group_id);
        }
        self.groups.entry(group_id.into()).or_default()
    }

    /// Takes the oldest id back that was given out; answers whether there was one.
    fn evict_pending(&mut self, now: Now) -> bool {
        let Some((group_id, member_id)) = self.context.take_pending() else { return false };
        if let Some(group) = self.groups.get_mut(&group_id).and_then(Group::classic_mut) {
            group.drop_pending(&mut self.context, now, &member_id);
        }
        self.forget_if_vain(&group_id);
        true
    }

    /// Whether there may be one more group, of this id and with so much in it; groups of nothing but
    /// ids that were given out give way.
    pub(super) fn make_room(&mut self, now: Now, group_id: &str, bytes: usize) -> bool {
        let bytes = bytes + cost(group_id);
        while self.context.rules.groups_max <= self.groups.len() || !self.context.has_room(bytes) {
            if !self.evict_pending(now) {
                // Perhaps some are of no use any more.
                self.context.retention.hurry();
                return false;
            }
        }
        true
    }

    /// Forgets a group of which nothing is left.
    pub(super) fn forget_if_vain(&mut self, group_id: &str) {
        if self.groups.get(group_id).is_some_and(Group::is_vain) {
            self.groups.remove(group_id);
            self.context.state_bytes -= cost(group_id);
            self.context.timers.forget(group_id);
        }
    }
}

/// The error where there is no such group.
fn absent(group_id: &str) -> ErrorCode {
    if group_id.is_empty() { ErrorCode::INVALID_GROUP_ID } else { ErrorCode::UNKNOWN_MEMBER_ID }
}
