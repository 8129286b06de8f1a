//! What a consumer group knows of its members' time, and loses at a restart.

use std::collections::BTreeMap;

use super::member::Member;
use super::reconcile::MemberState;
use crate::time::Boot;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Until when each member is taken to live.
    lives: BTreeMap<Box<str>, Boot>,
    /// Until when a member must have given up what it was told to, and the epoch it had then.
    revocations: BTreeMap<Box<str>, (i32, Boot)>,
    /// Until when a member that speaks the classic protocol must have joined again, or asked for
    /// its assignment.
    calls: BTreeMap<Box<str>, Boot>,
}

impl Sessions {
    /// A member was heard of; answers until when it is taken to live.
    pub fn renew(&mut self, member_id: &str, now: Boot, session_timeout_ms: u64) -> Boot {
        let deadline = now.plus_ms(session_timeout_ms);
        match self.lives.get_mut(member_id) {
            Some(known) => *known = deadline,
            None => {
                self.lives.insert(member_id.into(), deadline);
            }
        }
        deadline
    }

    /// A member has taken a step: if it has to give something up, its time for that runs. Answers
    /// until when.
    pub fn watch(&mut self, member_id: &str, member: &Member, now: Boot) -> Boot {
        if member.current.state == MemberState::Unrevoked {
            let timeout_ms = u64::try_from(member.said.rebalance_timeout_ms).unwrap_or(0);
            let deadline = now.plus_ms(timeout_ms);
            self.revocations.insert(member_id.into(), (member.current.epoch, deadline));
            deadline
        } else {
            self.revocations.remove(member_id);
            Boot::NEVER
        }
    }

    /// A member has joined: its time to ask for its assignment runs.
    pub fn joined(&mut self, member_id: &str, now: Boot, timeout_ms: u64) {
        self.calls.insert(member_id.into(), now.plus_ms(timeout_ms));
    }

    /// A member has its assignment.
    pub fn synced(&mut self, member_id: &str) {
        self.calls.remove(member_id);
    }

    /// A member was told to join again: its time for that runs, if it does not run already.
    pub fn call(&mut self, member_id: &str, now: Boot, timeout_ms: u64) {
        if !self.calls.contains_key(member_id) {
            self.joined(member_id, now, timeout_ms);
        }
    }

    pub fn forget(&mut self, member_id: &str) {
        self.lives.remove(member_id);
        self.revocations.remove(member_id);
        self.calls.remove(member_id);
    }

    /// The members of whom nothing was heard for too long, or that kept what they were to give up.
    pub fn overdue(&mut self, members: &BTreeMap<Box<str>, Member>, now: Boot) -> Vec<Box<str>> {
        // A member whose first record was never written is none.
        self.lives.retain(|member_id, at| now < *at || members.contains_key(member_id));
        self.revocations.retain(|member_id, (epoch, at)| {
            let member = members.get(member_id).map(|member| &member.current);
            now < *at
                || member.is_some_and(|current| {
                    current.epoch == *epoch && current.state == MemberState::Unrevoked
                })
        });
        self.calls.retain(|member_id, at| now < *at || members.contains_key(member_id));
        let silent = self.lives.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id);
        let slow = self.revocations.iter().filter(|(_, (_, at))| *at <= now).map(|(id, _)| id);
        let gone = self.calls.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id);
        let mut overdue: Vec<Box<str>> = silent.chain(slow).chain(gone).cloned().collect();
        overdue.sort();
        overdue.dedup();
        overdue
    }

    /// They are being removed; should that fail, they are looked at again then.
    pub fn put_off(&mut self, overdue: &[Box<str>], until: Boot) {
        for member_id in overdue {
            if let Some(at) = self.lives.get_mut(member_id) {
                *at = until;
            }
            if let Some((_, at)) = self.revocations.get_mut(member_id) {
                *at = until;
            }
            if let Some(at) = self.calls.get_mut(member_id) {
                *at = until;
            }
        }
    }

    pub fn next(&self) -> Boot {
        let lives = self.lives.values().chain(self.calls.values()).copied();
        lives.chain(self.revocations.values().map(|(_, at)| *at)).min().unwrap_or(Boot::NEVER)
    }
}
