//! Offsets that nobody needs any more are forgotten, and groups without members with them.
//!
//! An offset expires `offsets.retention.minutes` after its group became empty, after it was
//! committed where the group has no members by nature, or after it was committed where the members
//! no longer read its topic.
//!
//! **Time is clock-safe** (reliability.md S9): while the wall clock is not trusted nothing expires,
//! and after it has stepped nothing expires until it has run for the retention time beside the boot
//! clock, because the times in the records come from another clock. A record from before 2020 was
//! written by a clock that was never set: it counts from when this coordinator began to serve.

use super::super::groups::{Group, Members};
use super::super::writes::{After, Record};
use super::super::{Coordinator, GroupRules};
use super::{Committed, tombstone};
use crate::time::{Boot, Now, Timestamp};

/// A wall clock that shows an earlier time was never set: 2020-01-01.
const PLAUSIBLE_MIN: Timestamp = Timestamp(1_577_836_800_000);

/// However full it is, offsets are not looked through more often.
const CHECK_INTERVAL_MS_MIN: u64 = 1_000;

/// The clocks may part by this much between two looks, and by a thousandth of the time between.
const STEP_MS: i64 = 60_000;

/// Since when an offset is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Idle {
    /// It is.
    Not,
    /// Since it was committed.
    SinceCommit,
    /// Since its group became empty.
    Since(Timestamp),
}

/// When offsets are looked through, and how the clocks have run.
#[derive(Debug)]
pub(in super::super) struct Retention {
    check_at: Boot,
    checked_at: Boot,
    check_interval_ms: u64,
    began: Boot,
    seen: Now,
    /// No expiry before: the wall clock has stepped.
    held_until: Boot,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            check_at: Boot::NEVER,
            checked_at: Boot(0),
            check_interval_ms: 0,
            began: Boot(0),
            seen: Now::default(),
            held_until: Boot(0),
        }
    }
}

impl Retention {
    /// The coordinator begins to serve.
    pub fn begin(&mut self, now: Now, rules: &GroupRules) {
        self.seen = now;
        self.began = now.boot;
        self.checked_at = now.boot;
        self.check_interval_ms = rules.offsets_retention_check_interval_ms.max(1);
        self.check_at = now.boot.plus_ms(self.check_interval_ms);
    }

    /// Room is wanted: the next look comes soon.
    pub fn hurry(&mut self) {
        self.check_at = self.check_at.min(self.checked_at.plus_ms(CHECK_INTERVAL_MS_MIN));
    }

    /// Whether it is time to look; the next time is set if so.
    pub fn is_due(&mut self, now: Now) -> bool {
        let is_due = self.check_at <= now.boot;
        if is_due {
            self.checked_at = now.boot;
            self.check_at = now.boot.plus_ms(self.check_interval_ms);
        }
        is_due
    }

    /// When to look next.
    pub fn next(&self) -> Boot {
        self.check_at
    }

    /// Whether the times in records may be compared with the wall clock.
    fn may_expire(&mut self, now: Now, rules: &GroupRules) -> bool {
        let boot_ms = now.boot.ms_since(self.seen.boot) as i64;
        let wall_ms = now.wall.0.saturating_sub(self.seen.wall.0);
        let apart = wall_ms.saturating_sub(boot_ms).saturating_abs();
        if STEP_MS + boot_ms / 1000 < apart || (now.wall_trusted && !self.seen.wall_trusted) {
            self.held_until = now.boot.plus_ms(rules.offsets_retention_ms);
        }
        self.seen = now;
        now.wall_trusted && self.held_until <= now.boot
    }
}

impl Coordinator {
    /// Forgets what is no longer needed.
    pub(in super::super) fn expire_offsets(&mut self, now: Now) {
        self.context.retention.check_interval_ms =
            self.context.rules.offsets_retention_check_interval_ms.max(1);
        let may_expire = self.context.retention.may_expire(now, &self.context.rules);
        let retention_ms = self.context.rules.offsets_retention_ms;
        let limits = Limits {
            wall: now.wall,
            retention_ms,
            served_ms: now.boot.ms_since(self.context.retention.began),
        };
        let mut records = Vec::new();
        for (group_id, group) in &self.groups {
            let expired_count =
                if may_expire { expire(&limits, group_id, group, &mut records) } else { 0 };
            if expired_count == group.offsets.count() && group.is_empty() {
                records.extend(group.tombstones(group_id));
            }
        }
        self.context.write(now, records, After::Nothing);
        self.settle(now);
    }
}

/// What decides whether an offset has expired.
struct Limits {
    wall: Timestamp,
    retention_ms: u64,
    /// For how long this coordinator has served: the age of a record whose clock was never set.
    served_ms: u64,
}

/// Tombstones for the expired offsets of a group; answers how many they are.
fn expire(limits: &Limits, group_id: &str, group: &Group, records: &mut Vec<Record>) -> usize {
    let before = records.len();
    for (topic, partition, committed) in group.offsets.iter() {
        let idle = match &group.members {
            Members::Simple => Idle::SinceCommit,
            Members::Classic(classic) => classic.idle(topic),
            Members::Consumer(consumers) => consumers.idle(topic),
        };
        if limits.is_expired(idle, committed) {
            records.push(tombstone(group_id, topic, partition));
        }
    }
    records.len() - before
}

impl Limits {
    fn is_expired(&self, idle: Idle, committed: &Committed) -> bool {
        let since = match idle {
            Idle::Not => return false,
            Idle::SinceCommit => committed.at,
            Idle::Since(since) => since,
        };
        if since < PLAUSIBLE_MIN && self.served_ms < self.retention_ms {
            return false;
        }
        if let Some(expires_at) = committed.expires_at {
            return expires_at <= self.wall;
        }
        let age_ms = self.wall.0.saturating_sub(since.0);
        self.retention_ms <= u64::try_from(age_ms).unwrap_or(0)
    }
}
