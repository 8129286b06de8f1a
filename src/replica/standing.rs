//! Whether a leadership still stands, for the two answers that cannot be taken back: that a batch
//! does not follow its producer's last one, and that an offset lies behind the log's end. To librdkafka
//! the first is the end of the producer; upon the second a consumer begins anew somewhere else.
//!
//! A leader that was deposed and has not heard of it lacks what its successor has acknowledged since:
//! it takes the next batch for one behind a gap, and what was read already for what never was. So
//! neither is believed at first: the client is told that this node does not lead, asks who does, and
//! comes back if it is this one after all.
//! Meanwhile the others in the ISR, of whom one would lead otherwise, show that they follow.
//!
//! **Invariant:** a *round* is over when each of them has sent a fetch of this leader epoch that it
//! can only have sent upon an answer given within the round. At most [`REPLICA_FETCHES_MAX`] fetches
//! are under way, so one that lies so many behind another was sent after the other's answer came.
//! What lay in a socket since before a doubt proves nothing about the time after it.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{NodeId, Offset};
use crate::limits::REPLICA_FETCHES_MAX;
use crate::record::BatchHeader;

/// So many refused requests are remembered: of the newest ones, for each must come again soon.
const DOUBTS_MAX: usize = 64;

/// What makes a request known when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A batch.
    Batch { producer_id: i64, producer_epoch: i16, base_sequence: i32 },
    /// A read at this offset.
    Read(Offset),
}

impl Refused {
    pub fn of(header: &BatchHeader) -> Refused {
        Refused::Batch {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        }
    }
}

/// What a follower has shown in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Its fetch of this sequence was answered.
    Answered(u64),
    /// It has asked on since: it follows.
    Follows,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Rounds that are over.
    rounds: u64,
    shown: BTreeMap<NodeId, Shown>,
    /// Requests, and how many rounds must be over until they are refused for good. Oldest first.
    doubts: VecDeque<(Refused, u64)>,
}

impl Standing {
    /// Whether a round must come to its end.
    pub fn is_doubted(&self) -> bool {
        self.doubts.back().is_some_and(|(_, rounds)| self.rounds < *rounds)
    }

    /// Whether a request that was refused before can be refused for good. One that was not is noted.
    pub fn is_certain(&mut self, refused: Refused) -> bool {
        let place = self.doubts.iter().position(|(known, _)| *known == refused);
        if let Some(place) = place {
            let is_certain = self.doubts[place].1 <= self.rounds;
            if is_certain {
                // In another leadership's time it may be another matter.
                self.doubts.remove(place);
            }
            return is_certain;
        }
        if self.doubts.len() == DOUBTS_MAX {
            self.doubts.pop_front();
        }
        // A round that has begun may rest on what was said before.
        let begun = u64::from(!self.shown.is_empty());
        self.doubts.push_back((refused, self.rounds + begun + 1));
        false
    }

    /// Whether a follower is to be answered, bytes or none, so that it asks on.
    pub fn wants_word_of(&self, follower: NodeId) -> bool {
        self.is_doubted() && !self.shown.contains_key(&follower)
    }

    /// A follower's fetch is answered.
    pub fn answered(&mut self, follower: NodeId, sequence: u64) {
        if self.wants_word_of(follower) {
            self.shown.insert(follower, Shown::Answered(sequence));
        }
    }

    /// A follower has asked on, behind a fetch whose answer it may not have seen yet.
    pub fn asked_on(&mut self, follower: NodeId, sequence: u64) {
        if let Some(shown) = self.shown.get_mut(&follower) {
            let least = REPLICA_FETCHES_MAX as u64;
            if matches!(shown, Shown::Answered(at) if at.saturating_add(least) <= sequence) {
                *shown = Shown::Follows;
            }
        }
    }

    /// Another incarnation of a follower counts its fetches anew.
    pub fn forget(&mut self, follower: NodeId) {
        self.shown.remove(&follower);
    }

    /// Ends the round if all of the ISR but the leader have shown that they follow.
    pub fn conclude(&mut self, others: &[NodeId]) {
        let follows = |node: &NodeId| self.shown.get(node) == Some(&Shown::Follows);
        if self.is_doubted() && others.iter().all(follows) {
            self.rounds += 1;
            self.shown.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [NodeId; 2] = [NodeId(2), NodeId(3)];

    fn refused(base_sequence: i32) -> Refused {
        Refused::Batch { producer_id: 7, producer_epoch: 0, base_sequence }
    }

    fn follow(standing: &mut Standing, follower: NodeId, from: u64) {
        standing.answered(follower, from);
        standing.asked_on(follower, from + REPLICA_FETCHES_MAX as u64);
        standing.conclude(&OTHERS);
    }

    #[test]
    fn all_must_follow() {
        let mut standing = Standing::default();
        assert!(!standing.is_certain(refused(9)));
        follow(&mut standing, NodeId(2), 10);
        assert!(!standing.is_certain(refused(9)));
        follow(&mut standing, NodeId(3), 20);
        assert!(standing.is_certain(refused(9)));
        assert!(!standing.is_doubted());
        assert!(!standing.is_certain(refused(9)), "it was answered");
    }

    #[test]
    fn what_was_under_way_proves_nothing() {
        let mut standing = Standing::default();
        assert!(!standing.is_certain(refused(9)));
        standing.answered(NodeId(2), 10);
        standing.asked_on(NodeId(2), 11);
        standing.conclude(&[NodeId(2)]);
        assert!(!standing.is_certain(refused(9)));
        standing.asked_on(NodeId(2), 12);
        standing.conclude(&[NodeId(2)]);
        assert!(standing.is_certain(refused(9)));
    }

    #[test]
    fn a_doubt_within_a_round_waits_for_the_next() {
        let mut standing = Standing::default();
        assert!(!standing.is_certain(refused(1)));
        standing.answered(NodeId(2), 10);
        assert!(!standing.is_certain(refused(2)));
        follow(&mut standing, NodeId(2), 12);
        follow(&mut standing, NodeId(3), 20);
        assert!(standing.is_certain(refused(1)) && !standing.is_certain(refused(2)));
        follow(&mut standing, NodeId(2), 14);
        follow(&mut standing, NodeId(3), 22);
        assert!(standing.is_certain(refused(2)));
    }

    #[test]
    fn another_incarnation_begins_anew() {
        let mut standing = Standing::default();
        assert!(!standing.is_certain(refused(1)));
        standing.answered(NodeId(2), 1000);
        standing.forget(NodeId(2));
        standing.answered(NodeId(2), 5);
        standing.asked_on(NodeId(2), 7);
        standing.conclude(&[NodeId(2)]);
        assert!(standing.is_certain(refused(1)));
    }

    #[test]
    fn not_every_batch_is_remembered() {
        let mut standing = Standing::default();
        for sequence in 0..1000 {
            assert!(!standing.is_certain(refused(sequence)));
        }
        assert!(standing.doubts.len() <= DOUBTS_MAX);
    }
}
