//! A broker leaves the site for good: what lives on it lives on without it.
//!
//! Its replicas move to brokers that have none of the partition, where there are such. Then those that
//! are left are taken off the lists of their partitions, which have one replica fewer from there on.
//! Nothing is decided about a partition of which nobody else has everything: the departure is refused,
//! and says which.
//!
//! **Invariant:** a partition keeps an in-sync replica, save by force, where it keeps one that may
//! lack records.

use std::collections::BTreeMap;

use crate::controller::Controller;
use crate::controller::brokers::changed;
use crate::controller::change::{BrokerState, Change};
use crate::controller::election::{self, Assignment, Election, Wish};
use crate::controller::image::PartitionImage;
use crate::controller::leaders::tell_of_loss;
use crate::ids::{NodeId, Partition};
use crate::wire::{ErrorCode, TopicRef};

/// Why a broker's replicas stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyCopy {
    /// The topic.
    pub topic: Box<str>,
    /// The partition.
    pub partition: Partition,
    /// Whether it has replicas elsewhere, which have not caught up.
    pub has_others: bool,
    /// Partitions of which the same is true.
    pub count: usize,
}

/// A broker's replicas on their way to others.
#[derive(Debug, Default)]
pub struct Moves {
    /// What sends more of them on their way.
    pub changes: Vec<Change>,
    /// How many are on their way already.
    pub under_way_count: usize,
}

impl Controller {
    /// What moves a broker's replicas to others, so many at a time; never to those that `may_take`
    /// does not let. Whatever nobody is left for, and nobody leads, stays.
    pub fn move_off(
        &self,
        node_id: NodeId,
        count_max: usize,
        may_take: &dyn Fn(NodeId) -> bool,
    ) -> Moves {
        let may_take =
            |node: NodeId| node != node_id && self.image.is_active(node) && may_take(node);
        let brokers = self.image.brokers().map(|(node, _)| node).filter(|node| may_take(*node));
        let mut loads: BTreeMap<NodeId, usize> = brokers.map(|node| (node, 0)).collect();
        for (_, _, image) in self.partitions() {
            image.target().for_each(|node| {
                loads.entry(node).and_modify(|load| *load += 1);
            });
        }
        let may_lead = |node| self.image.is_active(node);
        let mut moves = Moves::default();
        let mut begun_count = 0;
        for (topic_partition, topic, image) in self.partitions_of(node_id) {
            let is_leaving = image.removing.contains(&node_id);
            if is_leaving && image.adding.iter().all(|node| self.image.is_active(*node)) {
                moves.under_way_count += 1;
                continue;
            }
            // One that is being brought to it needs no other place: that is called off.
            let taker = match image.adding.contains(&node_id) {
                true => Some(node_id),
                false => self.taker(image, node_id, &loads),
            };
            let Some(taker) = taker.filter(|_| image.leader.is_some()) else { continue };
            if count_max <= moves.under_way_count + begun_count {
                break;
            }
            let assignment = in_place_of(image, node_id, taker);
            let wish = Wish { assignment: Some(assignment), ..Wish::leader(image, Election::Keep) };
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            moves.changes.extend(changed(image, settled, topic_partition));
            loads.entry(taker).and_modify(|load| *load += 1);
            begun_count += 1;
        }
        moves
    }

    /// Who takes the place of a replica: of those that have none, one of a rack that has no other, with
    /// few replicas.
    fn taker(
        &self,
        image: &PartitionImage,
        leaves: NodeId,
        loads: &BTreeMap<NodeId, usize>,
    ) -> Option<NodeId> {
        let rack = |node: NodeId| self.image.broker(node).map(|broker| &*broker.rack);
        let stays = image.target().filter(|node| *node != leaves);
        let racks: Vec<_> = stays.map(rack).collect();
        let is_free = |node: &NodeId| !image.replicas.contains(node);
        let free = loads.iter().filter(|(node, _)| is_free(node));
        let least = free.min_by_key(|(node, load)| (racks.contains(&rack(**node)), **load));
        least.map(|(node, _)| *node)
    }

    /// What takes a broker's replicas off it, or the first partition of which only it has everything.
    /// `is_forced` gives that up where another replica has some of it.
    pub fn vacate(&self, node_id: NodeId, is_forced: bool) -> Result<Vec<Change>, OnlyCopy> {
        let mut changes = Vec::new();
        let mut only: Option<OnlyCopy> = None;
        let may_lead = |node| node != node_id && self.image.is_active(node);
        for (topic_partition, topic, image) in self.partitions_of(node_id) {
            let keep = |list: &[NodeId]| -> Vec<NodeId> {
                list.iter().copied().filter(|node| *node != node_id).collect()
            };
            let isr = keep(&image.isr);
            let assignment = Assignment {
                replicas: keep(&image.replicas),
                adding: keep(&image.adding),
                removing: keep(&image.removing),
            };
            let replicas = &assignment.replicas;
            let may_go = !isr.is_empty() || (is_forced && !replicas.is_empty());
            if !may_go {
                let count = only.as_ref().map_or(0, |only| only.count) + 1;
                let first = only.take().unwrap_or(OnlyCopy {
                    topic: topic.name.clone(),
                    partition: topic_partition.partition,
                    has_others: !replicas.is_empty(),
                    count,
                });
                only = Some(OnlyCopy { count, ..first });
                continue;
            }
            let election = if isr.is_empty() { Election::Unclean } else { Election::Keep };
            let wish = Wish { assignment: Some(assignment), isr, lost: Some(node_id), election };
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            changes.extend(changed(image, settled, topic_partition));
        }
        only.map_or(Ok(changes), Err)
    }

    /// Says what goes lost by force, before [`Controller::vacate`]'s changes are proposed.
    pub fn tell_of_losses(&self, changes: &[Change]) {
        for change in changes {
            let Change::PartitionChange { topic_id, partition, leader, .. } = change else {
                continue;
            };
            let topic_ref = TopicRef::Id(*topic_id);
            let found = self.image.topic(*topic_id);
            let before = self.image.find_partition(topic_ref, *partition);
            if let (Some(topic), Some((_, before))) = (found, before) {
                tell_of_loss(topic, *partition, before, *leader);
            }
        }
    }

    /// A broker is forgotten: it leads nothing any more, and holds no replica.
    pub fn forget(&self, node_id: NodeId) -> Result<Vec<Change>, ErrorCode> {
        let broker = self.image.broker(node_id).ok_or(ErrorCode::BROKER_ID_NOT_REGISTERED)?;
        if broker.state == BrokerState::Active || self.partitions_of(node_id).next().is_some() {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        Ok(vec![Change::RemoveBroker { node_id }])
    }
}

/// A partition that moves from one broker to another, whatever move was under way before: one that
/// was bringing it to the first is called off.
fn in_place_of(image: &PartitionImage, from: NodeId, to: NodeId) -> Assignment {
    let stays = |node: &NodeId| !image.adding.contains(node);
    let is_called_off = image.adding.contains(&from);
    let is_wanted =
        |node: &NodeId| is_called_off || *node == from || !image.removing.contains(node);
    let settled: Vec<NodeId> = image.replicas.iter().copied().filter(stays).collect();
    let target: Vec<NodeId> = settled
        .iter()
        .copied()
        .filter(is_wanted)
        .map(|node| if node == from { to } else { node })
        .collect();
    let removing: Vec<NodeId> =
        image.replicas.iter().copied().filter(|node| !target.contains(node)).collect();
    let adding = target.iter().copied().filter(|node| !settled.contains(node)).collect();
    let replicas = target.iter().chain(&removing).copied().collect();
    Assignment { replicas, adding, removing }
}
