//! The coordinator's side of classic members in groups of KIP-848, and of groups that change over.

use super::super::classic::{self, ClassicGroup};
use super::super::groups::{Group, Members};
use super::super::writes::{After, Moved, Reader};
use super::super::{Caller, Coordinator};
use super::ConsumerGroup;
use crate::limits::GROUP_MEMBERS_MAX;
use crate::time::Now;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ErrorCode, frame};

impl Coordinator {
    /// Whether the group is one of KIP-848 and has members, so that who joins joins them.
    pub(in super::super) fn has_consumers(&self, group_id: &str) -> bool {
        let group = self.groups.get(group_id).and_then(Group::consumer);
        group.is_some_and(|group| !group.is_empty())
    }

    /// A member joins a group of KIP-848 by the classic protocol.
    pub(in super::super) fn join_consumers(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let group_id = request.group_id;
        let name = request.group_instance_id.unwrap_or(caller.client_id);
        let fresh_id = self.context.member_ids.fresh(name);
        let group = self.groups.get(group_id).and_then(Group::consumer);
        let group = group.expect("the caller looked");
        let is_unknown = request.member_id.is_empty();
        if is_unknown && request.group_instance_id.is_none() && request.needs_known_member_id {
            group.check_join(request)?;
            let required = ErrorCode::MEMBER_ID_REQUIRED;
            self.context.answer(token, &JoinGroupResponse::failed(required, &fresh_id));
            return Ok(());
        }
        let member_id = if is_unknown { &fresh_id } else { request.member_id };
        let rules = &self.context.rules;
        let outcome = group.classic_join(rules, &self.topics, now, caller, member_id, request)?;
        if !self.context.has_room(outcome.more_bytes) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        self.take_note(now, group_id, member_id, &outcome);
        let timeout_ms = classic::millis(classic::Said::of(request).rebalance_timeout_ms);
        if let Some(group) = self.groups.get_mut(group_id).and_then(Group::consumer_mut) {
            group.sessions.joined(member_id, now.boot, timeout_ms);
            group.wake(&mut self.context);
        }
        let reader = Reader { token, body: outcome.body, failed: failed_join };
        self.tell_after(now, group_id, outcome.records, reader);
        Ok(())
    }

    /// A classic member asks for its assignment.
    pub(in super::super) fn sync_consumers(
        &mut self,
        now: Now,
        token: u64,
        request: &SyncGroupRequest<'_>,
    ) {
        let member_id = request.member_id;
        let group = self.groups.get_mut(request.group_id).and_then(Group::consumer_mut);
        let group = group.expect("the caller looked");
        let session_ms = group.members.get(member_id);
        let config = self.context.rules.consumer_config(request.group_id);
        let session_ms = session_ms.map(|it| it.session_timeout_ms(config));
        match group.classic_sync(&self.topics, request) {
            Ok((assignment, protocol)) => {
                let body = frame::encode_body(&SyncGroupResponse {
                    error: ErrorCode::NONE,
                    protocol_type: Some(classic::CONSUMER),
                    protocol_name: Some(protocol),
                    assignment: &assignment,
                });
                group.sessions.synced(member_id);
                group.sessions.renew(member_id, now.boot, session_ms.unwrap_or(0));
                self.context.answer_durable(Reader { token, body, failed: failed_sync });
            }
            Err(error) => {
                if error == ErrorCode::REBALANCE_IN_PROGRESS {
                    group.sessions.synced(member_id);
                    group.call(member_id, now);
                }
                self.context.answer(token, &SyncGroupResponse::failed(error));
            }
        }
        let group = self.groups.get(request.group_id).and_then(Group::consumer);
        group.expect("it was there").wake(&mut self.context);
    }

    /// A classic member lives.
    pub(in super::super) fn heartbeat_consumers(
        &mut self,
        now: Now,
        request: &HeartbeatRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id;
        let group = self.groups.get_mut(request.group_id).and_then(Group::consumer_mut);
        let group = group.expect("the caller looked");
        let must_join = group.classic_heartbeat(request)?;
        let config = self.context.rules.consumer_config(request.group_id);
        let session_ms = group.members[member_id].session_timeout_ms(config);
        group.sessions.renew(member_id, now.boot, session_ms);
        if must_join {
            group.call(member_id, now);
        }
        group.wake(&mut self.context);
        if must_join { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    /// Classic members leave, or an operator removes static ones.
    pub(in super::super) fn leave_consumers(
        &mut self,
        now: Now,
        token: u64,
        request: &LeaveGroupRequest<'_>,
    ) {
        let group_id = request.group_id;
        let group = self.groups.get(group_id).and_then(Group::consumer);
        let group = group.expect("the caller looked");
        let mut leaving: Vec<Box<str>> = Vec::new();
        let members = request.members.iter().map(|member| {
            let left = group.leaving(member);
            let is_twice = left.as_ref().is_ok_and(|member_id| leaving.contains(member_id));
            match left {
                Ok(_) if is_twice => ErrorCode::UNKNOWN_MEMBER_ID,
                Ok(member_id) => {
                    leaving.push(member_id);
                    ErrorCode::NONE
                }
                Err(error) => error,
            }
        });
        let response = LeaveGroupResponse { error: ErrorCode::NONE, members: members.collect() };
        let body = frame::encode_body(&response);
        let reader = Reader { token, body, failed: failed_leave };
        if let Some(classic) = self.downgraded(now, group_id, &leaving) {
            return self.become_classic(now, group_id, classic, Some(reader));
        }
        let group = self.groups.get(group_id).and_then(Group::consumer);
        let records = group.expect("it was there").farewell(&self.topics, now, &leaving);
        self.tell_after(now, group_id, records, reader);
    }

    /// What a group with members of the classic protocol is as one of KIP-848.
    pub(super) fn upgraded(
        &self,
        classic: &ClassicGroup,
    ) -> Result<(ConsumerGroup, Vec<super::super::writes::Record>), ErrorCode> {
        let rules = &self.context.rules;
        let size_max = rules.consumer_group_size_max.min(GROUP_MEMBERS_MAX);
        let may = rules.consumer_migration_policy.upgrades()
            && classic.is_of_consumers()
            && classic.member_count() <= size_max;
        if !may {
            return Err(ErrorCode::GROUP_ID_NOT_FOUND);
        }
        ConsumerGroup::of_classic(classic, &self.topics)
    }

    /// The classic group that is left when these members leave, if there is to be one.
    pub(super) fn downgraded(
        &self,
        now: Now,
        group_id: &str,
        leaving: &[Box<str>],
    ) -> Option<ClassicGroup> {
        let rules = &self.context.rules;
        if leaving.is_empty() || !rules.consumer_migration_policy.downgrades() {
            return None;
        }
        let group = self.groups.get(group_id).and_then(Group::consumer)?;
        let classic = group.to_classic(&self.topics, leaving, now)?;
        let size_max = rules.group_size_max.min(GROUP_MEMBERS_MAX);
        Some(classic).filter(|classic| classic.member_count() <= size_max)
    }

    /// A group of KIP-848 has only members of the classic protocol left.
    pub(super) fn become_classic(
        &mut self,
        now: Now,
        group_id: &str,
        mut classic: ClassicGroup,
        reader: Option<Reader>,
    ) {
        let group = self.groups.get(group_id).expect("it has members");
        let mut records = group.tombstones(group_id);
        records.push(classic.first_record());
        let before = self.swap(group_id, Members::Classic(Box::new(classic)));
        let moved = Moved { group_id: group_id.into(), before, reader };
        self.context.write(now, records, After::Moved(Box::new(moved)));
        if let Some(classic) = self.groups.get_mut(group_id).and_then(Group::classic_mut) {
            classic.begin_anew(&mut self.context, now);
        }
    }

    /// Gives a group other members; answers with those before.
    pub(in super::super) fn swap(&mut self, group_id: &str, members: Members) -> Members {
        let cost = members.cost();
        let before = std::mem::replace(&mut self.group_or_new(group_id).members, members);
        self.context.state_bytes = self.context.state_bytes + cost - before.cost();
        before
    }

    /// A group has changed over, durably or in vain.
    pub(in super::super) fn moved(
        &mut self,
        now: Now,
        moved: Moved,
        result: Result<(), ErrorCode>,
    ) {
        let Moved { group_id, before, reader } = moved;
        let is_replayed = self.groups.get(&group_id).is_none_or(|group| match &group.members {
            Members::Simple => true,
            Members::Classic(classic) => classic.stored().is_some(),
            Members::Consumer(consumers) => !consumers.is_vain(),
        });
        if result.is_err() && !is_replayed {
            // Nothing of it is in the log: the group is what it was.
            if let Some(classic) = self.groups.get_mut(&group_id).and_then(Group::classic_mut) {
                classic.send_away(&mut self.context);
            }
            self.swap(&group_id, before);
            self.context.timers.wake(&group_id, now.boot);
        }
        if let Some(reader) = reader {
            self.context.tell(vec![reader], result);
        }
        self.forget_if_vain(&group_id);
    }
}

impl ConsumerGroup {
    /// A member was told to join again.
    fn call(&mut self, member_id: &str, now: Now) {
        let timeout_ms = self.rebalance_timeout_ms(member_id);
        self.sessions.call(member_id, now.boot, timeout_ms);
    }
}

fn failed_join(_body: &[u8], error: ErrorCode) -> Vec<u8> {
    frame::encode_body(&JoinGroupResponse::failed(error, ""))
}

fn failed_sync(_body: &[u8], error: ErrorCode) -> Vec<u8> {
    frame::encode_body(&SyncGroupResponse::failed(error))
}

fn failed_leave(_body: &[u8], error: ErrorCode) -> Vec<u8> {
    frame::encode_body(&LeaveGroupResponse { error, members: Vec::new() })
}
