//! When sealed segments are verified: one pass over all of a shard's every `scrub.interval.ms`, a
//! segment at a time. How fast a segment is read is the runtime's business.

use crate::ids::{Offset, TopicPartition};
use crate::log::Scrub;
use crate::time::Boot;

/// How soon after the start the first pass begins: a board that has just come up has other things
/// to do.
const FIRST_PASS_MS: u64 = 60_000;

/// A sealed segment to verify.
#[derive(Clone, Debug)]
pub struct ScrubJob<F> {
    /// The partition it is of.
    pub topic_partition: TopicPartition,
    /// The check.
    pub scrub: Scrub<F>,
}

/// Where a shard's scrub stands.
#[derive(Debug)]
pub(super) struct ScrubPlan {
    /// 0: never.
    interval_ms: u64,
    /// When the next segment is due; never while one is under way.
    next_at: Boot,
    pass_began_at: Option<Boot>,
    /// The segment verified last in this pass.
    last: Option<(TopicPartition, Offset)>,
    is_under_way: bool,
}

impl ScrubPlan {
    pub(super) fn new(now: Boot, interval_ms: u64) -> ScrubPlan {
        let mut plan = ScrubPlan {
            interval_ms: 0,
            next_at: Boot::NEVER,
            pass_began_at: None,
            last: None,
            is_under_way: false,
        };
        plan.set_interval(now, interval_ms);
        plan
    }

    /// Another interval, from now on. A pass that has begun is finished, unless there are to be
    /// none.
    pub(super) fn set_interval(&mut self, now: Boot, interval_ms: u64) {
        if self.interval_ms == interval_ms {
            return;
        }
        self.interval_ms = interval_ms;
        if interval_ms == 0 {
            self.last = None;
            self.pass_began_at = None;
            self.next_at = Boot::NEVER;
        } else if !self.is_under_way && self.last.is_none() {
            self.next_at = now.plus_ms(interval_ms.min(FIRST_PASS_MS));
        }
    }

    /// When there is something to do.
    pub(super) fn next_at(&self) -> Boot {
        self.next_at
    }

    /// Whether segments are to be verified at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.interval_ms != 0
    }

    /// The partition where the pass goes on.
    pub(super) fn partition(&self) -> Option<TopicPartition> {
        self.last.map(|(topic_partition, _)| topic_partition)
    }

    /// The segment of this partition behind which it goes on.
    pub(super) fn segment_in(&self, topic_partition: TopicPartition) -> Option<Offset> {
        self.last.filter(|(last, _)| *last == topic_partition).map(|(_, segment)| segment)
    }

    /// A segment is on its way.
    pub(super) fn begin(&mut self, now: Boot, topic_partition: TopicPartition, segment: Offset) {
        self.pass_began_at.get_or_insert(now);
        self.last = Some((topic_partition, segment));
        self.is_under_way = true;
        self.next_at = Boot::NEVER;
    }

    /// That segment is done.
    pub(super) fn go_on(&mut self, now: Boot) {
        self.is_under_way = false;
        if self.interval_ms != 0 {
            self.next_at = now;
        }
    }

    /// All segments are done.
    pub(super) fn end_pass(&mut self, now: Boot) {
        let began_at = self.pass_began_at.take().unwrap_or(now);
        self.last = None;
        self.next_at = began_at.plus_ms(self.interval_ms).max(now.plus_ms(1));
    }
}
