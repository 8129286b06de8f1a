//! When groups want to be looked at.
//!
//! A group is woken at or before its earliest deadline, never after: deadlines that move later (as
//! a session's with each heartbeat) cost nothing here, and a group woken too early says when it
//! wants to be woken next.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Boot;

/// Groups by the time of their next look.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Boot, Box<str>)>,
    armed: BTreeMap<Box<str>, Boot>,
}

impl Timers {
    /// Has the group looked at when `at` has come, or before.
    pub fn wake(&mut self, group_id: &str, at: Boot) {
        if at == Boot::NEVER {
            return;
        }
        if let Some(armed) = self.armed.get_mut(group_id) {
            if *armed <= at {
                return;
            }
            let (_, id) = self.queue.take(&(*armed, group_id.into())).expect("it was armed");
            *armed = at;
            self.queue.insert((at, id));
            return;
        }
        self.armed.insert(group_id.into(), at);
        self.queue.insert((at, group_id.into()));
    }

    /// A group whose time has come.
    pub fn due(&mut self, now: Boot) -> Option<Box<str>> {
        let (at, _) = self.queue.first()?;
        if now < *at {
            return None;
        }
        let (_, group_id) = self.queue.pop_first()?;
        self.armed.remove(&group_id);
        Some(group_id)
    }

    /// When the group is looked at.
    pub fn at(&self, group_id: &str) -> Boot {
        self.armed.get(group_id).copied().unwrap_or(Boot::NEVER)
    }

    /// When the next one is due.
    pub fn next(&self) -> Boot {
        self.queue.first().map_or(Boot::NEVER, |(at, _)| *at)
    }

    /// The group is gone.
    pub fn forget(&mut self, group_id: &str) {
        if let Some((group_id, at)) = self.armed.remove_entry(group_id) {
            self.queue.remove(&(at, group_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_woken_once_at_its_earliest_time() {
        let mut timers = Timers::default();
        timers.wake("a", Boot(30));
        timers.wake("a", Boot(10));
        timers.wake("a", Boot(20));
        timers.wake("b", Boot(15));
        timers.wake("c", Boot::NEVER);
        assert_eq!(timers.next(), Boot(10));
        assert_eq!(timers.due(Boot(9)), None);
        assert_eq!(timers.due(Boot(40)).as_deref(), Some("a"));
        timers.forget("b");
        timers.forget("a");
        assert_eq!(timers.due(Boot(40)), None);
        assert_eq!(timers.next(), Boot::NEVER);
    }
}
