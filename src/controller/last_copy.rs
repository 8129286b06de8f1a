//! Who had everything when a replica became the last one in sync: for the case that it comes back
//! damaged (design.md §4 and §6; reliability.md R1, R8).
//!
//! With `min.insync.replicas` = 1 the ISR may shrink to one replica, and whoever left is eligible for
//! nothing: the last one may have acknowledged records alone since. But a leader goes on counting on
//! everybody until it has *heard* that somebody is out. Until then whatever it acknowledged is safe at
//! the other, too.
//!
//! ```text
//! board 3, leader, loses its power, and its card is damaged    ISR 1 3
//! board 1 dies: it is fenced before board 3 is missed          ISR 3      board 1 was put out
//! board 3 comes back and says that its copy is damaged         ISR -      ELR 1
//! board 1 comes back, leads, and nothing is lost
//! ```
//!
//! What a broker has heard is in its own metadata log, whose end it tells when it registers. So where
//! that log ends before the batch that made it the last one, whoever was put out by that batch is made
//! eligible in its place. The reasoning is that of KIP-966's ELR: the high watermark cannot have moved.
//!
//! Soft state, made from batches as they are replayed. A controller that got them as a snapshot knows of
//! nobody, and the damaged copy leads, as the last one does.
//!
//! **Invariant:** only who was fenced, or shuts down, counts: of what a leader asked for itself by
//! `AlterPartition` it hears by the answer, which its log may not have.

use std::collections::BTreeMap;

use crate::controller::Controller;
use crate::controller::brokers::{Registering, changed, is_same_life};
use crate::controller::change::{BrokerState, Change};
use crate::controller::election::{self, Election, Wish};
use crate::controller::image::{PartitionImage, TopicImage};
use crate::ids::{NodeId, Offset, TopicPartition};
use crate::wire::TopicRef;

/// Of each partition whose whole copies are down to one.
#[derive(Debug, Default)]
pub(super) struct LastCopies(BTreeMap<TopicPartition, LastCopy>);

#[derive(Debug)]
struct LastCopy {
    /// End of the metadata that says so.
    told_at: Offset,
    /// Who was put out then.
    left: Vec<NodeId>,
}

impl Controller {
    /// Takes a committed batch of changes into account; `end_offset` is that of the metadata with it.
    /// Answers those that could be: one that cannot follow, which only a leader that lies can have
    /// committed, changes nothing on any board, and stops none.
    pub fn replay_batch(&mut self, changes: Vec<Change>, end_offset: Offset) -> Vec<Change> {
        let mut refused = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            if !self.image.may_follow(change) {
                log::error!(
                    "metadata before offset {end_offset}: change {place} cannot follow those before \
                     it, and is left out: {change:?}"
                );
                refused.push(place);
                continue;
            }
            self.note_last_copy(&changes, change, end_offset);
            self.replay(change);
        }
        if refused.is_empty() {
            return changes;
        }
        let all = changes.into_iter().enumerate();
        all.filter(|(place, _)| !refused.contains(place)).map(|(_, change)| change).collect()
    }

    fn note_last_copy(&mut self, batch: &[Change], change: &Change, end_offset: Offset) {
        let Change::PartitionChange { topic_id, partition, isr, elr, .. } = change else {
            if let Change::RemoveTopic { topic_id } = change {
                self.last_copies.0.retain(|place, _| place.topic_id != *topic_id);
            }
            return;
        };
        let found = self.image.find_partition(TopicRef::Id(*topic_id), *partition);
        let Some((topic_partition, before)) = found else { return };
        let is_whole = |node: &NodeId| isr.contains(node) || elr.contains(node);
        if isr.len() + elr.len() != 1 {
            self.last_copies.0.remove(&topic_partition);
            return;
        }
        let was_alone = before.isr.iter().chain(&before.elr).all(is_whole);
        if was_alone {
            self.forget_lost(topic_partition, batch);
            return;
        }
        let left: Vec<NodeId> = before.isr.iter().copied().filter(|node| !is_whole(node)).collect();
        let is_put_out = |node: &NodeId| {
            batch.iter().any(|change| match change {
                Change::BrokerState { node_id, state } => {
                    node_id == node && *state != BrokerState::Active
                }
                _ => false,
            })
        };
        if left.is_empty() || !left.iter().all(is_put_out) {
            self.last_copies.0.remove(&topic_partition);
        } else {
            self.last_copies.0.insert(topic_partition, LastCopy { told_at: end_offset, left });
        }
    }

    /// Whoever registers in the batch that touches a partition has lost its copy.
    fn forget_lost(&mut self, topic_partition: TopicPartition, batch: &[Change]) {
        let registers = |node: &NodeId| {
            let is_it = |change: &Change| matches!(change, Change::Registration { node_id, .. } if node_id == node);
            batch.iter().any(is_it)
        };
        if let Some(known) = self.last_copies.0.get_mut(&topic_partition) {
            known.left.retain(|node| !registers(node));
        }
    }

    /// A broker whose copy is lost registers. Where somebody counts on that copy, though it is in sync
    /// no more, the partition is touched so that nobody does.
    pub(super) fn touched(
        &self,
        node_id: NodeId,
        topic_partition: TopicPartition,
        image: &PartitionImage,
    ) -> Vec<Change> {
        let known = self.last_copies.0.get(&topic_partition);
        let is_counted_on = known.is_some_and(|known| known.left.contains(&node_id));
        let partition_epoch = image.partition_epoch + 1;
        let touched = is_counted_on.then(|| PartitionImage { partition_epoch, ..image.clone() });
        changed(image, touched, topic_partition)
    }

    /// The last one in sync registers with a damaged copy: whoever has everything is eligible in its
    /// place, and then leads if it may. No changes where nobody is known to.
    pub(super) fn pass_on(
        &self,
        broker: &Registering,
        (topic_partition, topic, image): (TopicPartition, &TopicImage, &PartitionImage),
        may_lead: &dyn Fn(NodeId) -> bool,
    ) -> Vec<Change> {
        let heard_end = broker.metadata_end;
        let known = self.last_copies.0.get(&topic_partition);
        let is_known = |known: &&LastCopy| Offset::ZERO <= heard_end && heard_end < known.told_at;
        // Of another life's log nothing follows.
        let before = self.image.broker(broker.node_id);
        let known = known
            .filter(is_known)
            .filter(|_| before.is_some_and(|before| is_same_life(broker, before)));
        let is_there =
            |node: &NodeId| image.replicas.contains(node) && self.image.broker(*node).is_some();
        let left = known.iter().flat_map(|known| &known.left);
        let heirs: Vec<NodeId> = left.copied().filter(is_there).collect();
        if heirs.is_empty() {
            return Vec::new();
        }
        log::warn!(
            "broker {} was the last in sync of {}-{} and comes back with a damaged copy; {heirs:?} \
             had all of it",
            broker.node_id,
            topic.name,
            topic_partition.partition
        );
        let min_isr = self.min_isr(topic);
        // First it is said who is eligible, then who leads: nobody leads who was not eligible.
        let meant = PartitionImage { elr: heirs.into(), ..image.clone() };
        let wish = Wish { lost: Some(broker.node_id), ..Wish::without(&meant, broker.node_id) };
        // Where it was put out before, too, nobody led and nobody was in sync: only who is eligible
        // changes.
        let partition_epoch = image.partition_epoch + 1;
        let waiting = election::settle(&meant, wish, &|_| false, min_isr)
            .unwrap_or(PartitionImage { partition_epoch, ..meant });
        let wish = Wish::leader(&waiting, Election::Keep);
        let led = election::settle(&waiting, wish, may_lead, min_isr);
        let mut changes = changed(image, Some(waiting.clone()), topic_partition);
        changes.extend(changed(&waiting, led, topic_partition));
        changes
    }
}
