//! Reassignment: partitions move between brokers, and get more replicas or fewer (semantics.md 2.14;
//! KIP-455).
//!
//! ```text
//! replicas R ─ asked for T ─► T, then R\T    adding T\R, removing R\T
//!                             │                   │ all of T is in sync (election.rs)
//!                             │ cancelled         ▼
//!                             ▼                   T
//!                          without what was being added
//! ```
//!
//! **Invariant:** a replica leaves only when everyone who stays is in sync, or when the move is
//! cancelled; so at no time are there fewer copies than before, or than are asked for.

use std::collections::BTreeSet;

use crate::controller::brokers::changed;
use crate::controller::change::Change;
use crate::controller::election::{self, Assignment, Election, Wish};
use crate::controller::image::{PartitionImage, TopicImage};
use crate::controller::{Controller, Outcome, Refusal, Verdict};
use crate::ids::{NodeId, TopicPartition};
use crate::limits::PARTITION_REPLICAS_MAX;
use crate::wire::ErrorCode;
use crate::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignPartition,
};

impl Controller {
    pub(super) fn reassign(&self, request: &AlterPartitionReassignmentsRequest<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut seen = BTreeSet::new();
        for asked in &request.partitions {
            let may_change_factor = request.allow_replication_factor_change;
            let verdict = match self.reassign_one(asked, may_change_factor, &mut seen) {
                Ok((topic_partition, mut changes)) => {
                    outcome.changes.append(&mut changes);
                    Verdict::accepted(topic_partition.topic_id, -1, -1)
                }
                Err(why) => Verdict::refused(why.error, why.message),
            };
            outcome.verdicts.push(verdict);
        }
        outcome
    }

    fn reassign_one(
        &self,
        asked: &ReassignPartition<'_>,
        may_change_factor: bool,
        seen: &mut BTreeSet<TopicPartition>,
    ) -> Result<(TopicPartition, Vec<Change>), Refusal> {
        let (topic_partition, topic, image) = self.named(asked.topic, asked.partition)?;
        if !seen.insert(topic_partition) {
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "the partition is named twice"));
        }
        let assignment = match &asked.replicas {
            Some(target) => self.moved(image, target, may_change_factor)?,
            None => without_what_comes(image)?,
        };
        let wish = Wish { assignment: Some(assignment), ..Wish::leader(image, Election::Keep) };
        let may_lead = |node| self.image.is_active(node);
        let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
        Ok((topic_partition, changed(image, settled, topic_partition)))
    }

    /// A partition as a request names it.
    pub(super) fn named(
        &self,
        topic: crate::wire::TopicRef<'_>,
        partition: crate::ids::Partition,
    ) -> Result<(TopicPartition, &TopicImage, &PartitionImage), Refusal> {
        let Some((topic_id, image)) = self.image.find(topic) else {
            let unknown = super::topics::unknown_topic(topic);
            return Err(Refusal { error: unknown.error, message: unknown.message.into() });
        };
        let found =
            usize::try_from(partition.0).ok().and_then(|number| image.partitions.get(number));
        let topic_partition = TopicPartition { topic_id, partition };
        found.map(|found| (topic_partition, image, found)).ok_or_else(|| Refusal {
            error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            message: format!("topic `{}` has no partition {partition}", image.name),
        })
    }

    fn moved(
        &self,
        image: &PartitionImage,
        target: &[NodeId],
        may_change_factor: bool,
    ) -> Result<Assignment, Refusal> {
        let invalid =
            |message: String| Refusal { error: ErrorCode::INVALID_REPLICA_ASSIGNMENT, message };
        if target.is_empty() || PARTITION_REPLICAS_MAX < target.len() {
            let count = target.len();
            return Err(invalid(format!(
                "{count} replicas: a partition has from 1 to {PARTITION_REPLICAS_MAX}"
            )));
        }
        for (place, node) in target.iter().enumerate() {
            if target[..place].contains(node) {
                return Err(invalid(format!("broker {node} is named twice")));
            }
            if self.image.broker(*node).is_none() {
                return Err(invalid(format!("there is no broker {node}")));
            }
        }
        // Before a move that is under way, and is replaced by this one.
        let settled: Vec<NodeId> =
            image.replicas.iter().copied().filter(|node| !image.adding.contains(node)).collect();
        if !may_change_factor && target.len() != settled.len() {
            return Err(Refusal {
                error: ErrorCode::INVALID_REPLICATION_FACTOR,
                message: format!(
                    "it has {} replicas, and would have {}",
                    settled.len(),
                    target.len()
                ),
            });
        }
        let is_of = |list: &[NodeId], node: &NodeId| list.contains(node);
        let removing: Vec<NodeId> =
            image.replicas.iter().copied().filter(|node| !is_of(target, node)).collect();
        let adding = target.iter().copied().filter(|node| !is_of(&settled, node)).collect();
        let replicas = target.iter().chain(&removing).copied().collect();
        Ok(Assignment { replicas, adding, removing })
    }
}

/// Where a partition lives when its move is cancelled.
fn without_what_comes(image: &PartitionImage) -> Result<Assignment, Refusal> {
    if !image.is_moving() {
        let message = "the partition does not move";
        return Err(Refusal::new(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, message));
    }
    let stays = |node: &&NodeId| !image.adding.contains(node);
    let replicas: Vec<NodeId> = image.replicas.iter().filter(stays).copied().collect();
    if !image.isr.iter().chain(&image.elr).any(|node| replicas.contains(node)) {
        let message = "only brokers that the move brings have what was acknowledged: to cancel it \
                       would lose that";
        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    }
    Ok(Assignment { replicas, adding: Vec::new(), removing: Vec::new() })
}
