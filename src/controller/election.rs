//! Who leads a partition, and who is in sync, after something changed (semantics.md 2.11; KIP-966).
//!
//! Pure: a partition as it is, what is wished for it, and who may lead; out comes the partition as
//! it will be. Every path to a new leader goes through [`settle`].
//!
//! The *eligible leader replicas* (ELR) are those that left the in-sync replicas while these were
//! fewer than `min.insync.replicas`. The high watermark cannot have moved since, so each of them has
//! everything below it, and may lead when nobody is in sync any more.
//!
//! **Invariant:** a leader comes from the ISR, or from the ELR while the ISR is empty; from elsewhere
//! only by command (R9). It raises the leader epoch, and whatever changes raises the partition epoch.

use crate::controller::image::PartitionImage;
use crate::ids::{LeaderEpoch, NodeId};
use crate::mutant::{self, Mutant};

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The present one if it may go on, else the first that may lead.
    Keep,
    /// The first replica, if it may lead.
    Preferred,
    /// Anyone alive where nobody may lead: what only it lacks is lost.
    Unclean,
}

/// Where a partition lives, and where it moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// All replicas, the preferred leader first; those that leave stand last.
    pub replicas: Vec<NodeId>,
    /// Those that come.
    pub adding: Vec<NodeId>,
    /// Those that leave.
    pub removing: Vec<NodeId>,
}

impl Assignment {
    fn of(image: &PartitionImage) -> Assignment {
        Assignment {
            replicas: image.replicas.to_vec(),
            adding: image.adding.to_vec(),
            removing: image.removing.to_vec(),
        }
    }

    /// Ends a move whose target is in sync (KIP-455): what leaves is left behind.
    fn complete(&mut self, isr: &mut Vec<NodeId>) {
        let Assignment { replicas, adding, removing } = self;
        let is_there = |node: &&NodeId| isr.contains(node) || removing.contains(node);
        if (adding.is_empty() && removing.is_empty())
            || !replicas.iter().all(|node| is_there(&node))
        {
            return;
        }
        replicas.retain(|node| !removing.contains(node));
        isr.retain(|node| !removing.contains(node));
        adding.clear();
        removing.clear();
    }
}

/// What is wished for a partition.
#[derive(Debug)]
pub(super) struct Wish {
    /// Where it is to live; as it does, if nothing is said.
    pub assignment: Option<Assignment>,
    /// Who is to be in sync.
    pub isr: Vec<NodeId>,
    /// Whose copy is not what it was: it is eligible for nothing.
    pub lost: Option<NodeId>,
    /// Which leader.
    pub election: Election,
}

impl Wish {
    /// Nothing but a leader, if there is none.
    pub(super) fn leader(image: &PartitionImage, election: Election) -> Wish {
        Wish { assignment: None, isr: image.isr.to_vec(), lost: None, election }
    }

    /// That `node` is not in sync.
    pub(super) fn without(image: &PartitionImage, node: NodeId) -> Wish {
        let isr = image.isr.iter().copied().filter(|one| *one != node).collect();
        Wish { assignment: None, isr, lost: None, election: Election::Keep }
    }
}

/// The partition as it will be; `None` when nothing changes.
pub(super) fn settle(
    image: &PartitionImage,
    wish: Wish,
    may_lead: &dyn Fn(NodeId) -> bool,
    min_isr: usize,
) -> Option<PartitionImage> {
    let Wish { assignment, mut isr, lost, election } = wish;
    let mut assignment = assignment.unwrap_or_else(|| Assignment::of(image));
    isr.retain(|node| assignment.replicas.contains(node));
    assignment.complete(&mut isr);
    let Assignment { replicas, adding, removing } = assignment;
    // Whoever leaves the ISR now is eligible if that leaves too few.
    let left = image.isr.iter().filter(|node| !isr.contains(node));
    let is_eligible = |node: &NodeId| lost != Some(*node) && replicas.contains(node);
    let mut eligible: Vec<NodeId> =
        image.elr.iter().chain(left).copied().filter(is_eligible).collect();
    let among = if isr.is_empty() { &eligible } else { &isr };
    let is_among = |node: &NodeId| among.contains(node) || mutant::is_on(Mutant::ElectsOutsideIsr);
    let is_candidate = |node: &&NodeId| is_among(node) && may_lead(**node);
    let found: Vec<NodeId> = replicas.iter().filter(is_candidate).copied().collect();
    let keeps = image.leader.filter(|leader| found.contains(leader));
    let mut leader = match election {
        Election::Preferred => found.iter().find(|node| replicas.first() == Some(node)),
        Election::Keep | Election::Unclean => None,
    }
    .copied()
    .or(keeps)
    .or(found.first().copied());
    if leader.is_none() && election == Election::Unclean {
        leader = replicas.iter().copied().find(|node| may_lead(*node));
        if leader.is_some() {
            isr.clear();
            eligible.clear();
        }
    }
    if let Some(leader) = leader.filter(|leader| !isr.contains(leader)) {
        isr = vec![leader];
    }
    eligible.retain(|node| !isr.contains(node));
    eligible.dedup();
    if min_isr.clamp(1, replicas.len()) <= isr.len() {
        eligible.clear();
    }
    // Who was taken off must not be served as a follower any more, nor be heard as a leader.
    let shrinks = image.replicas.iter().any(|node| !replicas.contains(node));
    // A leader that was alone took its records without asking whether it still leads. With others it
    // begins anew: an epoch that its log has seen already it takes for one of an earlier life.
    let grows_from_one = image.replicas.len() == 1 && 1 < replicas.len();
    let is_another = leader != image.leader || shrinks || grows_from_one;
    let leader_epoch = if is_another { next_epoch(image.leader_epoch) } else { image.leader_epoch };
    let settled = PartitionImage {
        replicas: replicas.into(),
        leader,
        leader_epoch,
        isr: isr.into(),
        elr: eligible.into(),
        adding: adding.into(),
        removing: removing.into(),
        partition_epoch: image.partition_epoch,
    };
    (settled != *image)
        .then(|| PartitionImage { partition_epoch: image.partition_epoch + 1, ..settled })
}

fn next_epoch(epoch: LeaderEpoch) -> LeaderEpoch {
    epoch.next().expect("a partition does not change its leader 2^31 times")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(list: &[i32]) -> Vec<NodeId> {
        list.iter().map(|node| NodeId(*node)).collect()
    }

    fn partition(leader: i32, isr: &[i32], elr: &[i32]) -> PartitionImage {
        PartitionImage {
            replicas: nodes(&[1, 2, 3]).into(),
            leader: (0 < leader).then_some(NodeId(leader)),
            leader_epoch: LeaderEpoch(5),
            isr: nodes(isr).into(),
            elr: nodes(elr).into(),
            adding: Box::default(),
            removing: Box::default(),
            partition_epoch: 7,
        }
    }

    /// Settles with `alive` able to lead and a `min.insync.replicas` of 2; as text.
    fn check(image: &PartitionImage, wish: Wish, alive: &[i32], expected: &str) {
        let alive = nodes(alive);
        let settled = settle(image, wish, &|node| alive.contains(&node), 2);
        let text = match settled {
            None => "same".to_owned(),
            Some(new) => {
                assert_eq!(new.partition_epoch, 8, "any change raises it");
                let numbers = |list: &[NodeId]| -> String {
                    list.iter().map(|node| node.0.to_string()).collect()
                };
                format!(
                    "leader {} epoch {} isr {} elr {}",
                    new.leader.map_or(-1, |leader| leader.0),
                    new.leader_epoch.0,
                    numbers(&new.isr),
                    numbers(&new.elr)
                )
            }
        };
        assert_eq!(text, expected, "{image:?}");
    }

    fn without(image: &PartitionImage, node: i32) -> Wish {
        Wish::without(image, NodeId(node))
    }

    #[test]
    fn semantics_2_11_a_leader_that_goes_is_followed_by_the_first_in_sync() {
        let image = partition(1, &[1, 2, 3], &[]);
        check(&image, without(&image, 1), &[2, 3], "leader 2 epoch 6 isr 23 elr ");
        check(&image, without(&image, 3), &[1, 2], "leader 1 epoch 5 isr 12 elr ");
        // Too few are left, so whoever goes is eligible.
        let image = partition(1, &[1, 2], &[]);
        check(&image, without(&image, 1), &[2], "leader 2 epoch 6 isr 2 elr 1");
        let image = partition(2, &[2], &[1]);
        check(&image, without(&image, 2), &[], "leader -1 epoch 6 isr  elr 12");
    }

    #[test]
    fn kip_966_an_eligible_replica_leads_when_nobody_is_in_sync() {
        let image = partition(0, &[], &[2, 1]);
        let wish = || Wish::leader(&image, Election::Keep);
        check(&image, wish(), &[3], "same");
        check(&image, wish(), &[2, 3], "leader 2 epoch 6 isr 2 elr 1");
        check(&image, wish(), &[1, 2, 3], "leader 1 epoch 6 isr 1 elr 2");
        // With somebody in sync the eligible must wait for that one.
        let image = partition(0, &[3], &[1, 2]);
        check(&image, Wish::leader(&image, Election::Keep), &[1, 2], "same");
        // Enough are in sync again.
        let image = partition(1, &[1], &[2]);
        let wish = Wish { isr: nodes(&[1, 3]), ..Wish::leader(&image, Election::Keep) };
        check(&image, wish, &[1, 3], "leader 1 epoch 5 isr 13 elr ");
    }

    #[test]
    fn r8_a_copy_that_is_not_sound_is_eligible_for_nothing() {
        let image = partition(2, &[2], &[1]);
        let lost = Wish { lost: Some(NodeId(1)), ..Wish::leader(&image, Election::Keep) };
        check(&image, lost, &[2], "leader 2 epoch 5 isr 2 elr ");
        let image = partition(1, &[1, 2], &[]);
        let lost = Wish { lost: Some(NodeId(1)), ..without(&image, 1) };
        check(&image, lost, &[2], "leader 2 epoch 6 isr 2 elr ");
    }

    #[test]
    fn r9_an_unclean_leader_comes_by_command_only() {
        let image = partition(0, &[], &[1]);
        check(&image, Wish::leader(&image, Election::Preferred), &[3], "same");
        check(&image, Wish::leader(&image, Election::Unclean), &[3], "leader 3 epoch 6 isr 3 elr ");
        // Where somebody may lead cleanly, that one does.
        check(
            &image,
            Wish::leader(&image, Election::Unclean),
            &[1, 3],
            "leader 1 epoch 6 isr 1 elr ",
        );
    }

    #[test]
    fn the_preferred_replica_leads_if_it_may() {
        let image = partition(2, &[1, 2], &[]);
        check(
            &image,
            Wish::leader(&image, Election::Preferred),
            &[1, 2],
            "leader 1 epoch 6 isr 12 elr ",
        );
        check(&image, Wish::leader(&image, Election::Preferred), &[2], "same");
        check(&image, Wish::leader(&image, Election::Keep), &[1, 2], "same");
    }
}
