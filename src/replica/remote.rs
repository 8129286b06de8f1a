//! What a leader knows of one follower, in its own leader epoch.

use std::collections::VecDeque;

use crate::ids::Offset;
use crate::time::Boot;

/// What a follower has, by its own word, judged.
///
/// Range: `log_start <= log_end`, `durable_end <= log_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub log_start: Offset,
    pub log_end: Offset,
    pub durable_end: Offset,
}

impl Ends {
    /// Whether a log can be like this.
    pub fn are_possible(&self) -> bool {
        Offset::ZERO <= self.log_start
            && Offset::ZERO <= self.durable_end
            && self.log_start <= self.log_end
            && self.durable_end <= self.log_end
    }
}

/// A fetch that waits for something to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParkedFetch {
    pub sequence: u64,
    pub max_bytes: u32,
    pub since: Boot,
    /// Whether it is answered at once, bytes or none: the follower wants to know that the logs
    /// agree.
    pub is_first: bool,
}

/// A follower.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// Its incarnation, −1 before it fetched.
    pub broker_epoch: i64,
    /// Of its newest fetch.
    pub sequence: u64,
    /// What it has. `None` before a fetch was found to agree with the log.
    pub ends: Option<Ends>,
    /// When it last had all there was.
    caught_up: Option<Boot>,
    /// Some time, and where the leader's log ended then: once it has that much it was caught up at
    /// that time. Moved on only then, for its storage may be several messages behind.
    goal: Option<(Boot, Offset)>,
    pub is_damaged: bool,
    /// The version that the first proposal builds on which names it as damaged, where all since have.
    pub named_since: Option<i32>,
    /// Whether the controller knows that, and counts on it for nothing any more.
    pub is_given_up: bool,
    /// Oldest first.
    pub parked: VecDeque<ParkedFetch>,
    /// Where the answer to the oldest parked fetch begins.
    pub cursor: Option<Offset>,
    /// Whether bytes for it are being loaded.
    pub is_cold: bool,
    /// High watermark and first offset that it was told last.
    pub told: (Offset, Offset),
}

impl Remote {
    /// Of a leadership that begins: who is in the ISR has `replica.lag.time.max.ms` to prove it.
    pub fn new(caught_up: Option<Boot>) -> Remote {
        Remote { broker_epoch: -1, caught_up, ..Remote::default() }
    }

    /// Another incarnation: nothing that the one before said counts any more.
    pub fn begin_incarnation(&mut self, broker_epoch: i64) {
        *self = Remote { broker_epoch, caught_up: self.caught_up, ..Remote::default() };
    }

    /// Takes what it has into account; `false` when it has less than it had.
    pub fn hear(
        &mut self,
        now: Boot,
        ends: Ends,
        acked: Offset,
        before: Offset,
        end: Offset,
    ) -> bool {
        self.ends = Some(ends);
        if acked < before {
            (self.caught_up, self.goal) = (None, None);
            return false;
        }
        if end <= acked {
            self.caught_up = Some(now);
        }
        match self.goal {
            Some((at, goal)) if goal <= acked => {
                self.caught_up = self.caught_up.max(Some(at));
                self.goal = Some((now, end));
            }
            Some(_) => {}
            None => self.goal = Some((now, end)),
        }
        true
    }

    /// It has all there is, and more is about to come.
    pub fn note_caught_up(&mut self, now: Boot) {
        self.caught_up = Some(now);
    }

    /// Whether it had all there was at some time within `lag_ms`.
    pub fn was_caught_up(&self, now: Boot, lag_ms: u64) -> bool {
        self.caught_up.is_some_and(|at| now.ms_since(at) <= lag_ms)
    }
}
