//! Rebalances: from the first join to the next generation, and what time does to a group.

use std::collections::BTreeMap;

use super::member::Member;
use super::{ClassicGroup, Initial, Phase};
use crate::group::context::Context;
use crate::group::writes::After;
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;

impl ClassicGroup {
    /// All members must join again.
    pub(super) fn prepare_rebalance(&mut self, context: &mut Context, now: Now) {
        self.begin_preparing(context, now);
        self.maybe_complete_join(context, now);
    }

    /// From here on joins wait for each other.
    pub(super) fn begin_preparing(&mut self, context: &mut Context, now: Now) {
        let is_initial = self.is_empty();
        for member in self.members.values_mut() {
            member.refuse_sync(context, ErrorCode::REBALANCE_IN_PROGRESS);
            member.is_sync_due = false;
        }
        let timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = context.rules.initial_rebalance_delay_ms;
        self.phase = if is_initial {
            let remaining_ms = timeout_ms.saturating_sub(delay_ms);
            let initial = Some(Initial { delay_ms, remaining_ms, has_newcomer: false });
            Phase::Preparing { deadline: now.boot.plus_ms(delay_ms), initial }
        } else {
            Phase::Preparing { deadline: now.boot.plus_ms(timeout_ms), initial: None }
        };
        self.state_since = now.wall;
    }

    /// Goes on if everybody is there. A new group waits longer, for members that nobody knows yet.
    pub(super) fn maybe_complete_join(&mut self, context: &mut Context, now: Now) {
        let Phase::Preparing { initial: None, .. } = self.phase else { return };
        let all_joined = || self.members.values().all(|member| member.joining.is_some());
        if self.pending.is_empty() && all_joined() {
            self.complete_join(context, now);
        }
    }

    /// The time to join is up.
    fn join_time_up(&mut self, context: &mut Context, now: Now) {
        if let Phase::Preparing { initial: Some(initial), .. } = self.phase {
            if initial.has_newcomer && 0 < initial.remaining_ms {
                let delay_ms = context.rules.initial_rebalance_delay_ms.min(initial.remaining_ms);
                let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms);
                let initial = Some(Initial { delay_ms, remaining_ms, has_newcomer: false });
                self.phase = Phase::Preparing { deadline: now.boot.plus_ms(delay_ms), initial };
                return;
            }
        }
        self.complete_join(context, now);
    }

    /// Goes on with those who are there. Static members stay: only their sessions end them.
    fn complete_join(&mut self, context: &mut Context, now: Now) {
        let is_absent = |member: &Member| member.joining.is_none() && member.instance_id.is_none();
        let absent = self.members.iter().filter(|(_, member)| is_absent(member));
        let absent: Vec<Box<str>> = absent.map(|(member_id, _)| member_id.clone()).collect();
        for member_id in absent {
            self.drop_member(context, &member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if self.members.is_empty() {
            return self.become_empty(context, now);
        }
        if self.elect() {
            return self.become_completing(context, now);
        }
        // Nobody came back, and all that are left are static: wait for their sessions.
        let deadline = now.boot.plus_ms(self.rebalance_timeout_ms());
        self.phase = Phase::Preparing { deadline, initial: None };
    }

    /// Sees to it that the leader is one that has joined.
    fn elect(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| leader.joining.is_some()) {
            return true;
        }
        let joined = self.members.iter().filter(|(_, member)| member.joining.is_some());
        let first = joined.min_by_key(|(_, member)| member.order);
        let first = first.map(|(member_id, _)| member_id.clone());
        let is_found = first.is_some();
        if is_found {
            self.leader = first;
        }
        is_found
    }

    fn next_generation(&mut self, now: Now) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.state_since = now.wall;
    }

    fn become_empty(&mut self, context: &mut Context, now: Now) {
        self.next_generation(now);
        self.protocol = None;
        self.leader = None;
        self.phase = Phase::Empty;
        self.subscribed = self.subscriptions();
        // A group that never had an assignment leaves no trace.
        if self.is_written {
            let record = self.record(|_| &[]);
            context.write(now, vec![record], After::Nothing);
        }
    }

    fn become_completing(&mut self, context: &mut Context, now: Now) {
        self.next_generation(now);
        self.protocol = self.vote();
        self.subscribed = self.subscriptions();
        let sync_deadline = now.boot.plus_ms(self.rebalance_timeout_ms());
        self.phase = Phase::Completing { sync_deadline, is_assigning: false };
        let mut tokens = Vec::new();
        for (member_id, member) in &mut self.members {
            member.is_new = false;
            member.is_sync_due = true;
            member.renew(now.boot);
            tokens.extend(member.joining.take().map(|token| (token, member_id.clone())));
        }
        for (token, member_id) in tokens {
            let response = self.joined(&member_id, self.is_leader(&member_id));
            context.answer(token, &response);
        }
    }

    /// The protocol that most members want, among those that all know.
    pub(super) fn vote(&self) -> Option<Box<str>> {
        let is_common = |name: &str| self.members.values().all(|member| member.said.knows(name));
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let mut wanted = member.said.protocols.iter().map(|(name, _)| &**name);
            if let Some(name) = wanted.find(|name| is_common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        // Of several with as many votes, the first by name.
        let most = votes.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(name, _)| name.into())
    }

    /// Lets time pass: sessions, joins and syncs that are over.
    pub fn expire(&mut self, context: &mut Context, now: Now) {
        let pending_count = self.pending.len();
        self.pending.retain(|_, deadline| now.boot < *deadline);
        let silent = self.members.iter().filter(|(_, member)| member.deadline() <= now.boot);
        let silent: Vec<Box<str>> = silent.map(|(member_id, _)| member_id.clone()).collect();
        for member_id in &silent {
            // One that is new may still wait: it will join again.
            self.drop_member(context, member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !silent.is_empty() {
            self.after_departure(context, now);
        } else if self.pending.len() < pending_count {
            self.maybe_complete_join(context, now);
        }
        match self.phase {
            Phase::Preparing { deadline, .. } if deadline <= now.boot => {
                self.join_time_up(context, now);
            }
            Phase::Completing { sync_deadline, .. } | Phase::Stable { sync_deadline }
                if sync_deadline <= now.boot =>
            {
                self.sync_time_up(context, now);
            }
            _ => {}
        }
        self.wake(context);
    }

    /// Members that joined and never asked for their assignment are dropped.
    fn sync_time_up(&mut self, context: &mut Context, now: Now) {
        let late = self.members.iter().filter(|(_, member)| member.is_sync_due);
        let late: Vec<Box<str>> = late.map(|(member_id, _)| member_id.clone()).collect();
        for member_id in &late {
            self.drop_member(context, member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if late.is_empty() {
            self.set_sync_deadline(Boot::NEVER);
        } else {
            self.prepare_rebalance(context, now);
        }
    }

    pub(super) fn set_sync_deadline(&mut self, at: Boot) {
        match &mut self.phase {
            Phase::Completing { sync_deadline, .. } | Phase::Stable { sync_deadline } => {
                *sync_deadline = at;
            }
            Phase::Empty | Phase::Preparing { .. } => {}
        }
    }

    /// Members are gone: the rest share what they had.
    pub(super) fn after_departure(&mut self, context: &mut Context, now: Now) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { .. } => self.maybe_complete_join(context, now),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare_rebalance(context, now),
        }
    }

    /// Forgets a member, telling it why if it waits.
    pub(super) fn drop_member(&mut self, context: &mut Context, member_id: &str, why: ErrorCode) {
        self.pending.remove(member_id);
        let Some(mut member) = self.members.remove(member_id) else { return };
        context.state_bytes -= member.cost(member_id);
        member.refuse(context, why);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            let first = self.members.iter().min_by_key(|(_, member)| member.order);
            self.leader = first.map(|(member_id, _)| member_id.clone());
        }
    }

    /// An id that was given out is taken back: there are too many. That brings no deadline nearer,
    /// unless it was the last that a rebalance waited for.
    pub fn drop_pending(&mut self, context: &mut Context, now: Now, member_id: &str) {
        if self.pending.remove(member_id).is_some() && self.pending.is_empty() {
            self.maybe_complete_join(context, now);
            self.wake(context);
        }
    }
}
