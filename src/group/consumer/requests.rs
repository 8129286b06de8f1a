//! The coordinator's side of consumer groups: requests, time, topics.

use super::super::groups::{Group, Members};
use super::super::topics::Topic;
use super::super::writes::{After, Reader};
use super::super::{Caller, Coordinator, classic};
use super::ConsumerGroup;
use super::heartbeat::{Outcome, check};
use crate::ids::TopicId;
use crate::time::Now;
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedConsumerGroup,
};
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOINING,
};
use crate::wire::{ErrorCode, frame};

impl Coordinator {
    /// A member of a consumer group lives.
    pub(in super::super) fn consumer_heartbeat(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) {
        let done = check(request).and_then(|()| {
            if !request.member_id.is_empty() {
                return self.try_heartbeat(now, token, caller, request);
            }
            let member_id = self.context.member_ids.fresh(caller.client_id);
            let request =
                ConsumerGroupHeartbeatRequest { member_id: &member_id, ..request.clone() };
            self.try_heartbeat(now, token, caller, &request)
        });
        if let Err(error) = done {
            self.context.answer(token, &ConsumerGroupHeartbeatResponse::failed(error));
        }
        self.settle(now);
    }

    fn try_heartbeat(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let group_id = request.group_id;
        let is_joining = request.member_epoch == JOINING;
        let fresh = ConsumerGroup::new(group_id);
        let group = match self.groups.get(group_id).map(|group| &group.members) {
            Some(Members::Consumer(group)) => group,
            Some(Members::Classic(group)) if !group.is_empty() => {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            Some(_) | None if is_joining => &fresh,
            Some(_) | None => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
        };
        let rules = &self.context.rules;
        let mut outcome = group.heartbeat(rules, &self.topics, now, caller, request)?;
        if !self.context.has_room(outcome.more_bytes) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if self.consumer_mut(group_id).is_none() {
            self.begin_consumer_group(now, group_id, fresh, &mut outcome)?;
        }
        self.take_note(now, request, &outcome);
        self.answer_heartbeat(now, token, group_id, outcome);
        Ok(())
    }

    /// A group becomes one of KIP-848: it is new, or has no members that speak another protocol.
    fn begin_consumer_group(
        &mut self,
        now: Now,
        group_id: &str,
        fresh: ConsumerGroup,
        outcome: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        if !self.groups.contains_key(group_id) && !self.make_room(now) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let group = self.groups.entry(group_id.into()).or_default();
        if group.stored().is_some() {
            // Last, so that there is something to keep when it is replayed.
            outcome.records.push(classic::tombstone(group_id));
        }
        group.members = Members::Consumer(Box::new(fresh));
        Ok(())
    }

    /// What is not durable: sessions, and the time that members have to give up partitions.
    fn take_note(
        &mut self,
        now: Now,
        request: &ConsumerGroupHeartbeatRequest<'_>,
        outcome: &Outcome,
    ) {
        let context = &mut self.context;
        let group = self.groups.get_mut(request.group_id).and_then(Group::consumer_mut);
        let Some(group) = group else { return };
        if let Some(member) = &outcome.member {
            let session_timeout_ms = context.rules.consumer_session_timeout_ms;
            group.sessions.renew(request.member_id, now.boot, session_timeout_ms);
            if outcome.has_stepped {
                group.sessions.watch(request.member_id, member, now.boot);
            }
        }
        if outcome.records.is_empty() {
            group.is_refresh_due = false;
        }
        group.wake(context);
    }

    fn answer_heartbeat(&mut self, now: Now, token: u64, group_id: &str, outcome: Outcome) {
        let Outcome { records, body, .. } = outcome;
        if records.is_empty() {
            self.context.answer_durable(Reader { token, body, failed });
        } else {
            let group_id = group_id.into();
            self.context.write(now, records, After::Heartbeat { group_id, token, body });
        }
    }

    /// The records of a heartbeat are durable, or are not.
    pub(in super::super) fn heartbeat_written(
        &mut self,
        group_id: &str,
        token: u64,
        body: Vec<u8>,
        result: Result<(), ErrorCode>,
    ) {
        let body = match result {
            Ok(()) => body,
            Err(error) => failed(&body, super::super::writes::told(error)),
        };
        self.context.answer_body(token, body);
        self.forget_if_vain(group_id);
    }

    /// Time has passed for a consumer group: members of whom nothing was heard are removed.
    pub(in super::super) fn expire_consumers(&mut self, now: Now, group_id: &str) {
        let context = &mut self.context;
        let group = self.groups.get_mut(group_id).and_then(Group::consumer_mut);
        let Some(group) = group else { return };
        let overdue = group.sessions.overdue(&group.members, now.boot);
        let again = now.boot.plus_ms(context.rules.consumer_session_timeout_ms);
        group.sessions.put_off(&overdue, again);
        group.wake(context);
        if !overdue.is_empty() {
            let records = group.removal(&self.topics, now, &overdue);
            self.context.write(now, records, After::Nothing);
        }
    }

    pub(in super::super) fn describe_consumers(
        &mut self,
        token: u64,
        request: &ConsumerGroupDescribeRequest<'_>,
    ) {
        let groups = request.groups.iter().map(|group_id| {
            let group = self.groups.get(*group_id).and_then(Group::consumer);
            match group {
                Some(group) => group.describe(&self.topics),
                None => DescribedConsumerGroup::failed(ErrorCode::GROUP_ID_NOT_FOUND),
            }
        });
        let response = ConsumerGroupDescribeResponse { groups: groups.collect() };
        let body = frame::encode_body(&response);
        self.context.answer_durable(Reader { token, body, failed: failed_description });
    }

    /// There is such a topic now, or it has so many partitions now; told of every topic before
    /// [`Coordinator::loaded`], and of every change later.
    pub fn topic_changed(&mut self, name: &str, topic_id: TopicId, partition_count: i32) {
        if self.topics.set(name, Topic { id: topic_id, partition_count }) {
            self.topic_moved(name);
        }
    }

    /// There is no such topic any more; [`Coordinator::topic_deleted`] follows once the log is read.
    pub fn topic_gone(&mut self, name: &str) {
        if self.topics.remove(name) {
            self.topic_moved(name);
        }
    }

    /// Groups that read the topic look at it at their next heartbeat.
    fn topic_moved(&mut self, name: &str) {
        for group in self.groups.values_mut().filter_map(Group::consumer_mut) {
            group.topic_changed(name);
        }
    }
}

/// The answer to a heartbeat whose change is not durable after all.
fn failed(_body: &[u8], error: ErrorCode) -> Vec<u8> {
    frame::encode_body(&ConsumerGroupHeartbeatResponse::failed(error))
}

fn failed_description(body: &[u8], error: ErrorCode) -> Vec<u8> {
    let told: ConsumerGroupDescribeResponse<'_> =
        frame::decode(body).expect("we encoded it ourselves");
    let groups = vec![DescribedConsumerGroup::failed(error); told.groups.len()];
    frame::encode_body(&ConsumerGroupDescribeResponse { groups })
}
