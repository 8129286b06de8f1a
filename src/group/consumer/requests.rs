//! The coordinator's side of consumer groups: requests, time, topics.

use super::super::groups::{Group, Members};
use super::super::topics::Topic;
use super::super::writes::{After, Moved, Reader, Record};
use super::super::{Caller, Coordinator, classic};
use super::ConsumerGroup;
use super::heartbeat::{Outcome, check};
use super::member::MEMBER_BYTES;
use crate::ids::TopicId;
use crate::time::Now;
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedConsumerGroup,
};
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOINING, LEAVING,
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
        let done = check(&self.context.rules, request).and_then(|()| {
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
            _ if !is_joining => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(Members::Classic(classic)) if !classic.is_empty() => {
                let begun = self.upgraded(classic)?;
                return self.become_consumers(now, token, caller, begun, request);
            }
            Some(_) | None => &fresh,
        };
        // Before an assignment is worked out with a member that there is no room for.
        if is_joining && !group.knows(request) && !self.context.has_room(MEMBER_BYTES) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let rules = &self.context.rules;
        let mut outcome = group.heartbeat(rules, &self.topics, now, caller, request)?;
        if !self.context.has_room(outcome.more_bytes) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if self.consumer_mut(group_id).is_none() {
            self.begin_consumer_group(now, fresh, &mut outcome)?;
        }
        let is_leaving = request.member_epoch == LEAVING;
        let leaving: Vec<Box<str>> =
            is_leaving.then(|| request.member_id.into()).into_iter().collect();
        let classic = self.downgraded(now, group_id, &leaving);
        self.take_note(now, group_id, request.member_id, &outcome);
        let Outcome { records, body, .. } = outcome;
        let reader = Reader { token, body, failed };
        match classic {
            Some(classic) => self.become_classic(now, group_id, classic, Some(reader)),
            None => self.tell_after(now, group_id, records, reader),
        }
        Ok(())
    }

    /// A member of KIP-848 joins a classic group, which becomes one of KIP-848 with it.
    fn become_consumers(
        &mut self,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        (begun, mut records): (ConsumerGroup, Vec<Record>),
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let group_id = request.group_id;
        let rules = &self.context.rules;
        let outcome = begun.heartbeat(rules, &self.topics, now, caller, request)?;
        if !self.context.has_room(begun.cost() + outcome.more_bytes) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        // What it is comes from the records; only what they do not tell is there before.
        let mut fresh = ConsumerGroup::new(group_id);
        let config = rules.consumer_config(group_id);
        for (member_id, member) in &begun.members {
            fresh.sessions.renew(member_id, now.boot, member.session_timeout_ms(config));
        }
        fresh.wake(&mut self.context);
        if let Some(classic) = self.groups.get_mut(group_id).and_then(Group::classic_mut) {
            classic.send_away(&mut self.context);
        }
        let before = self.swap(group_id, Members::Consumer(Box::new(fresh)));
        self.take_note(now, group_id, request.member_id, &outcome);
        records.extend(outcome.records);
        let reader = Some(Reader { token, body: outcome.body, failed });
        let moved = Moved { group_id: group_id.into(), before, reader };
        self.context.write(now, records, After::Moved(Box::new(moved)));
        Ok(())
    }

    /// A group becomes one of KIP-848: it is new, or has no members that speak another protocol.
    fn begin_consumer_group(
        &mut self,
        now: Now,
        fresh: ConsumerGroup,
        outcome: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let group_id = fresh.id.clone();
        let is_new = !self.groups.contains_key(&group_id);
        if is_new && !self.make_room(now, &group_id, outcome.more_bytes) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let before = self.swap(&group_id, Members::Consumer(Box::new(fresh)));
        if matches!(before, Members::Classic(classic) if classic.stored().is_some()) {
            // First, or Kafka would find one group of two kinds in the log.
            outcome.records.insert(0, classic::tombstone(&group_id));
        }
        Ok(())
    }

    /// What is not durable: sessions, and the time that members have to give up partitions.
    pub(super) fn take_note(
        &mut self,
        now: Now,
        group_id: &str,
        member_id: &str,
        outcome: &Outcome,
    ) {
        let context = &mut self.context;
        let group = self.groups.get_mut(group_id).and_then(Group::consumer_mut);
        let Some(group) = group else { return };
        if let Some(member) = &outcome.member {
            let config = context.rules.consumer_config(group_id);
            let session_ms = member.session_timeout_ms(config);
            let mut deadline = group.sessions.renew(member_id, now.boot, session_ms);
            if outcome.has_stepped {
                deadline = deadline.min(group.sessions.watch(member_id, member, now.boot));
            }
            // The others' deadlines are where they were.
            context.timers.wake(group_id, deadline);
        }
        if outcome.records.is_empty() {
            group.is_refresh_due = false;
        }
    }

    /// Answers when these records are durable, and all that was before them.
    pub(super) fn tell_after(
        &mut self,
        now: Now,
        group_id: &str,
        records: Vec<Record>,
        reader: Reader,
    ) {
        if records.is_empty() {
            return self.context.answer_durable(reader);
        }
        let group_id = group_id.into();
        self.context.write(now, records, After::Told { group_id, reader });
    }

    /// Time has passed for a consumer group: members of whom nothing was heard are removed.
    pub(in super::super) fn expire_consumers(&mut self, now: Now, group_id: &str) {
        let context = &mut self.context;
        let group = self.groups.get_mut(group_id).and_then(Group::consumer_mut);
        let Some(group) = group else { return };
        let overdue = group.sessions.overdue(&group.members, now.boot);
        let config = context.rules.consumer_config(group_id);
        let again = now.boot.plus_ms(u64::try_from(config.session_timeout_ms).unwrap_or(0));
        group.sessions.put_off(&overdue, again);
        group.wake(context);
        if overdue.is_empty() {
            return;
        }
        if let Some(classic) = self.downgraded(now, group_id, &overdue) {
            return self.become_classic(now, group_id, classic, None);
        }
        let group = self.groups.get(group_id).and_then(Group::consumer).expect("it was there");
        let records = group.removal(&self.topics, now, &overdue);
        self.context.write(now, records, After::Nothing);
    }

    pub(in super::super) fn describe_consumers(
        &mut self,
        token: u64,
        request: &ConsumerGroupDescribeRequest<'_>,
    ) {
        let groups = request.groups.iter().map(|group_id| {
            let group = self.groups.get(*group_id).and_then(Group::consumer);
            match group {
                Some(group) => group.describe(&self.topics, &self.context.rules.consumer_assignors),
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
