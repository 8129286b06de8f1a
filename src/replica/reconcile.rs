//! Where two logs part, by leader epoch (semantics.md 2.8; KIP-101, 279, 320).

use crate::ids::{LeaderEpoch, Offset};
use crate::log::Epochs;
use crate::wire::replica::fetch::EpochEnd;

/// The leader's side: where its log parts from one whose last batch before `offset` is of
/// `last_epoch`; `None` where it does not.
///
/// An epoch that this leader has never heard of is answered with its newest one: the follower then
/// looks where that ended in its own log. (Kafka answers `OFFSET_OUT_OF_RANGE`, and the follower goes
/// by offsets alone.)
pub(super) fn parting(
    epochs: &Epochs,
    log_end: Offset,
    offset: Offset,
    last_epoch: LeaderEpoch,
) -> Option<EpochEnd> {
    let newest = epochs.latest()?;
    let (epoch, end) = epochs.end_offset_for(last_epoch, log_end).unwrap_or((newest, log_end));
    let parts = epoch < last_epoch || end < offset;
    parts.then_some(EpochEnd { leader_epoch: epoch, end_offset: end })
}

/// The follower's side: where to cut. The next fetch goes on from there and may be answered with an
/// earlier place once more.
pub(super) fn cut_offset(epochs: &Epochs, log_end: Offset, leader: EpochEnd) -> Offset {
    match epochs.end_offset_for(leader.leader_epoch, log_end) {
        Some((epoch, end)) if epoch == leader.leader_epoch => {
            end.min(leader.end_offset).min(log_end)
        }
        Some((_, end)) => end.min(log_end),
        // All of it is older than the leader's epoch there.
        None => leader.end_offset.min(log_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> Epochs {
        Epochs::new(starts.iter().map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start))))
    }

    /// Cuts a follower's log until it agrees with the leader's; answers the ends on the way.
    fn cuts(leader: &[(i32, i64)], leader_end: i64, follower: &[(i32, i64)], end: i64) -> Vec<i64> {
        let leader = epochs(leader);
        let mut follower = epochs(follower);
        let (mut end, mut ends) = (Offset(end), Vec::new());
        while let Some(parting) = parting(
            &leader,
            Offset(leader_end),
            end,
            follower.latest().unwrap_or(LeaderEpoch::NONE),
        ) {
            end = cut_offset(&follower, end, parting);
            follower.truncate_from(end);
            ends.push(end.0);
            assert!(ends.len() < 10, "it comes to an end");
        }
        ends
    }

    #[test]
    fn logs_that_agree_are_not_cut() {
        assert!(cuts(&[(1, 0)], 50, &[(1, 0)], 30).is_empty());
        assert!(cuts(&[(1, 0), (4, 50)], 50, &[(1, 0)], 50).is_empty(), "the epoch is new");
        assert!(cuts(&[(1, 0), (2, 20)], 50, &[], 0).is_empty());
    }

    #[test]
    fn a_tail_of_the_old_leader_goes() {
        // KIP-101, scenario 2: two logs of the same length.
        assert_eq!(cuts(&[(0, 0), (1, 1)], 2, &[(0, 0)], 2), [1]);
        assert_eq!(cuts(&[(0, 0)], 1, &[(0, 0)], 2), [1]);
    }

    #[test]
    fn it_goes_on_until_the_epochs_agree() {
        // KIP-279: the leader of epoch 3 never heard of epoch 2, nor the follower of epoch 1's end.
        assert_eq!(cuts(&[(0, 0), (1, 10), (3, 30)], 40, &[(0, 0), (2, 15)], 35), [15, 10]);
    }

    #[test]
    fn an_epoch_without_records_goes_too() {
        // It led in epoch 5, and nobody sent anything.
        assert_eq!(cuts(&[(4, 0), (6, 20)], 25, &[(4, 0), (5, 20)], 20), [20]);
    }

    #[test]
    fn an_epoch_from_the_future_is_no_excuse() {
        assert_eq!(cuts(&[(4, 0)], 20, &[(4, 0), (9, 10)], 15), [10]);
        assert_eq!(cuts(&[(4, 0)], 20, &[(9, 0)], 15), [0]);
    }
}
