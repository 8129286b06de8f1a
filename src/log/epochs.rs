//! The leader epoch cache: which epoch began at which offset.
//!
//! Both fields rise strictly. It lives in the journal's small state, is rebuilt from the batches
//! when that is lost, and is written as Kafka's `leader-epoch-checkpoint` at a clean stop. Read
//! semantics.md 2.8 before editing.

use crate::ids::{LeaderEpoch, Offset};

/// Epochs and their first offsets, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// Takes over entries that are said to rise; those that do not are dropped.
    pub fn new(starts: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Epochs::default();
        for (epoch, start) in starts {
            epochs.assign(epoch, start);
        }
        epochs
    }

    /// The epoch in force, if any began.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|&(epoch, _)| epoch)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }

    /// The epoch that a batch at `offset` must bear, if it is known.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.starts.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|place| self.starts[place].0)
    }

    /// Records that `epoch` began at `start`. An epoch that does not rise is no news; entries that
    /// begin at or behind `start` are superseded.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest().is_some_and(|latest| epoch <= latest) {
            return;
        }
        while self.starts.last().is_some_and(|&(_, last)| start <= last) {
            self.starts.pop();
        }
        self.starts.push((epoch, start));
    }

    /// Where `epoch` ended: the largest known epoch that is no larger, and the offset where the
    /// next one began (`end` of the log for the latest). `None` for an epoch from the future.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if self.latest()? < epoch {
            return None;
        }
        let after = self.starts.partition_point(|&(known, _)| known <= epoch);
        let end = self.starts.get(after).map_or(end, |&(_, start)| start);
        let known = after.checked_sub(1).map_or(epoch, |place| self.starts[place].0);
        Some((known, end))
    }

    /// Forgets what lies before `start`, but not the epoch that `start` belongs to.
    pub fn truncate_start(&mut self, start: Offset) {
        let after = self.starts.partition_point(|&(_, first)| first <= start);
        if 1 < after {
            self.starts.drain(..after - 1);
        }
        if 0 < after {
            self.starts[0].1 = start;
        }
    }

    /// Forgets epochs that begin at or behind `end`: the log is cut there, and nobody leads it here.
    pub fn truncate_from(&mut self, end: Offset) {
        while self.starts.last().is_some_and(|&(_, start)| end <= start) {
            self.starts.pop();
        }
    }

    /// Forgets epochs that begin at or behind `end`, except the newest entry at `end` itself,
    /// which a leader assigned before its first append.
    pub fn truncate_end(&mut self, end: Offset) {
        while self.starts.last().is_some_and(|&(_, start)| end < start) {
            self.starts.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> Epochs {
        Epochs::new(starts.iter().map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start))))
    }

    #[test]
    fn ends_of_epochs_follow_semantics_2_8() {
        let cache = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let end_of = |epoch| cache.end_offset_for(LeaderEpoch(epoch), Offset(50));
        let answer = |epoch, offset| Some((LeaderEpoch(epoch), Offset(offset)));
        assert_eq!(end_of(7), answer(7, 50), "latest: the end of the log");
        assert_eq!(end_of(8), None, "from the future");
        assert_eq!(end_of(5), answer(4, 30), "the largest known that is no larger");
        assert_eq!(end_of(2), answer(2, 20));
        assert_eq!(end_of(1), answer(1, 10), "before the first: where the first began");
        assert_eq!(Epochs::default().end_offset_for(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn a_later_epoch_supersedes_empty_ones() {
        let mut cache = epochs(&[(1, 0), (2, 10)]);
        cache.assign(LeaderEpoch(3), Offset(10));
        assert_eq!(cache, epochs(&[(1, 0), (3, 10)]));
        cache.assign(LeaderEpoch(3), Offset(20));
        assert_eq!(cache.entries().len(), 2, "an epoch that does not rise is no news");
        assert_eq!(cache.epoch_of(Offset(9)), Some(LeaderEpoch(1)));
        assert_eq!(cache.epoch_of(Offset(10)), Some(LeaderEpoch(3)));
        assert_eq!(epochs(&[(1, 5)]).epoch_of(Offset(4)), None);
    }

    #[test]
    fn truncation_keeps_the_epoch_of_the_start() {
        let mut cache = epochs(&[(1, 0), (2, 10), (3, 20)]);
        cache.truncate_start(Offset(15));
        assert_eq!(cache.entries(), [(LeaderEpoch(2), Offset(15)), (LeaderEpoch(3), Offset(20))]);
        cache.truncate_end(Offset(18));
        assert_eq!(cache.latest(), Some(LeaderEpoch(2)));
        // Of a follower that led and appended nothing, that epoch goes too.
        cache.assign(LeaderEpoch(4), Offset(18));
        cache.truncate_from(Offset(18));
        assert_eq!(cache.latest(), Some(LeaderEpoch(2)));
    }
}
