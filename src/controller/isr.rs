//! `AlterPartition`: a leader says who is in sync with it, and the controller decides (semantics.md
//! 2.10; KIP-497, 841, 903).
//!
//! **Invariant:** an ISR changes by compare and swap: the request names the leader epoch and the
//! version that it builds on, and the incarnation of every replica it counts on. What comes late,
//! from an old incarnation or of a replica that was replaced meanwhile, changes nothing.
//!
//! **Invariant:** a replica that its leader names as damaged is neither in the ISR nor eligible: it
//! begins to lose what it has as soon as it hears that nobody counts on it (R8). A leader that names
//! itself so gives way to another in sync, if one can lead at once.
//!
//! A leadership by command has no state RECOVERING, in which Kafka's ISR may not grow (KIP-704): Kafka's
//! own brokers leave it with the first ISR that they ask for, having nothing to recover, and no more is
//! done here.

use crate::controller::Controller;
use crate::controller::change::Change;
use crate::controller::election::{self, Election, Wish};
use crate::controller::image::{PartitionImage, TopicImage};
use crate::ids::{NodeId, TopicPartition};
use crate::mutant::{self, Mutant};
use crate::wire::ErrorCode;
use crate::wire::replica::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlterReplicas, AlteredReplicas,
};

impl Controller {
    /// What an `AlterPartition` changes, and what to answer once that is committed.
    pub fn alter_partition(
        &self,
        request: &AlterPartitionRequest,
    ) -> (Vec<Change>, AlterPartitionResponse) {
        let known = self.image.broker(request.leader).map(|broker| broker.broker_epoch);
        let is_stale = known != Some(request.broker_epoch);
        if is_stale && !mutant::is_on(Mutant::TakesStaleBroker) {
            let error = ErrorCode::STALE_BROKER_EPOCH;
            return (Vec::new(), AlterPartitionResponse { error, partitions: Vec::new() });
        }
        let mut changes = Vec::new();
        let mut partitions: Vec<AlteredReplicas> = Vec::new();
        for alter in &request.partitions {
            let is_again =
                partitions.iter().any(|one| one.topic_partition == alter.topic_partition);
            let altered = match self.alter(request.leader, alter) {
                _ if is_again => refused(alter.topic_partition, ErrorCode::INVALID_REQUEST),
                Err(error) => refused(alter.topic_partition, error),
                Ok((old, new)) => {
                    let TopicPartition { topic_id, partition } = alter.topic_partition;
                    changes.extend(new.changes_from(old, topic_id, partition));
                    let error = match new.leader == Some(request.leader) {
                        true => ErrorCode::NONE,
                        false => ErrorCode::NEW_LEADER_ELECTED,
                    };
                    AlteredReplicas {
                        topic_partition: alter.topic_partition,
                        error,
                        leader: new.leader.unwrap_or(NodeId::NONE),
                        leader_epoch: new.leader_epoch,
                        isr: new.isr.to_vec(),
                        partition_epoch: new.partition_epoch,
                    }
                }
            };
            partitions.push(altered);
        }
        (changes, AlterPartitionResponse { error: ErrorCode::NONE, partitions })
    }

    /// The partition as it is and as it will be.
    fn alter(
        &self,
        leader: NodeId,
        alter: &AlterReplicas,
    ) -> Result<(&PartitionImage, PartitionImage), ErrorCode> {
        let (topic, image) = self.find(alter.topic_partition)?;
        if image.leader_epoch < alter.leader_epoch || image.partition_epoch < alter.partition_epoch
        {
            // The leader has heard of changes that this controller has not: another one is active.
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if alter.leader_epoch < image.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if image.leader != Some(leader) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if alter.partition_epoch < image.partition_epoch {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        let isr: Vec<NodeId> = alter.isr.iter().map(|one| one.node_id).collect();
        let is_twice = |(place, node): (usize, &NodeId)| isr[..place].contains(node);
        let gives_way = alter.damaged.contains(&leader);
        let is_legal = isr.contains(&leader) != gives_way
            && isr.iter().all(|node| image.replicas.contains(node))
            && !isr.iter().enumerate().any(is_twice);
        if !is_legal {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let is_eligible = |node: NodeId, broker_epoch: i64| {
            self.image.broker(node).is_some_and(|broker| {
                broker.is_active() && (broker_epoch == -1 || broker_epoch == broker.broker_epoch)
            })
        };
        // A restarted replica that is still in the ISR of old may stay: it was found sound.
        let may_stay = |node: NodeId| image.isr.contains(&node);
        if !alter.isr.iter().all(|one| {
            is_eligible(one.node_id, one.broker_epoch)
                || (may_stay(one.node_id) && self.is_same(one.node_id, one.broker_epoch))
        }) {
            return Err(ErrorCode::INELIGIBLE_REPLICA);
        }
        // Of a damaged leader more is left than of nobody.
        if gives_way && !isr.iter().any(|node| self.image.is_active(*node)) {
            return Err(ErrorCode::INELIGIBLE_REPLICA);
        }
        let lost = gives_way.then_some(leader);
        let wish = Wish { isr, lost, ..Wish::leader(image, Election::Keep) };
        let may_lead = |node| node == leader || self.image.is_active(node);
        let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
        // What is so already is a success of the same version.
        let mut settled = settled.unwrap_or_else(|| image.clone());
        if !alter.damaged.is_empty() {
            // Whoever asks goes by the version: what was so already is said once more.
            let is_sound = |node: &NodeId| !alter.damaged.contains(node);
            settled.elr = settled.elr.iter().copied().filter(is_sound).collect();
            settled.partition_epoch = image.partition_epoch + 1;
        }
        Ok((image, settled))
    }

    fn is_same(&self, node: NodeId, broker_epoch: i64) -> bool {
        let known = self.image.broker(node).map(|broker| broker.broker_epoch);
        broker_epoch == -1 || known == Some(broker_epoch)
    }

    pub(super) fn find(
        &self,
        topic_partition: TopicPartition,
    ) -> Result<(&TopicImage, &PartitionImage), ErrorCode> {
        let topic =
            self.image.topic(topic_partition.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let number = usize::try_from(topic_partition.partition.0).ok();
        let image = number.and_then(|number| topic.partitions.get(number));
        image.map(|image| (topic, image)).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }
}

fn refused(topic_partition: TopicPartition, error: ErrorCode) -> AlteredReplicas {
    AlteredReplicas {
        topic_partition,
        error,
        leader: NodeId::NONE,
        leader_epoch: crate::ids::LeaderEpoch::NONE,
        isr: Vec::new(),
        partition_epoch: -1,
    }
}
