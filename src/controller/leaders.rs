//! Leaders by command: the preferred one, or, where nobody may lead, anyone alive (semantics.md
//! 2.11; KIP-460, 966).
//!
//! Who leads comes from the ISR, then from the eligible leader replicas. Kafka's *last known leader*
//! has no place of its own here: whoever is the last of both is never taken out of them
//! (brokers.rs), so there is always somebody to wait for. Beyond that a leader comes only by this
//! command, or where the last copy's broker is removed by force, and what it lacks is lost: how much that is, the others say when they come back and
//! cut it off, record by record in their log and `lost_records_count`.

use std::collections::BTreeSet;

use crate::controller::brokers::changed;
use crate::controller::election::{self, Election, Wish};
use crate::controller::image::{PartitionImage, TopicImage};
use crate::controller::{Controller, Outcome, Refusal, Verdict};
use crate::ids::{NodeId, Partition, TopicPartition};
use crate::wire::ErrorCode;
use crate::wire::elect_leaders::{ElectLeadersRequest, ElectPartition, ElectionKind};

impl Controller {
    pub(super) fn elect_leaders(&self, request: &ElectLeadersRequest<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut seen = BTreeSet::new();
        for asked in &request.partitions {
            let verdict = match self.elect(asked, request.kind, &mut outcome, &mut seen) {
                Ok(topic_partition) => Verdict::accepted(topic_partition.topic_id, -1, -1),
                Err(why) => Verdict::refused(why.error, why.message),
            };
            outcome.verdicts.push(verdict);
        }
        outcome
    }

    fn elect(
        &self,
        asked: &ElectPartition<'_>,
        kind: ElectionKind,
        outcome: &mut Outcome,
        seen: &mut BTreeSet<TopicPartition>,
    ) -> Result<TopicPartition, Refusal> {
        let (topic_partition, topic, image) = self.named(asked.topic, asked.partition)?;
        if !seen.insert(topic_partition) {
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "the partition is named twice"));
        }
        let first = image.replicas.first();
        let (is_needed, election) = match kind {
            ElectionKind::Preferred => (image.leader.as_ref() != first, Election::Preferred),
            ElectionKind::Unclean => (image.leader.is_none(), Election::Unclean),
        };
        if !is_needed {
            let message = match kind {
                ElectionKind::Preferred => "the preferred replica leads already",
                ElectionKind::Unclean => "the partition has a leader",
            };
            return Err(Refusal::new(ErrorCode::ELECTION_NOT_NEEDED, message));
        }
        let may_lead = |node| self.image.is_active(node);
        let wish = Wish::leader(image, election);
        let Some(new) = election::settle(image, wish, &may_lead, self.min_isr(topic)) else {
            let (error, message) = match kind {
                ElectionKind::Preferred => (
                    ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
                    "the preferred replica is not in sync, or not there",
                ),
                ElectionKind::Unclean => {
                    (ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, "no replica of it is there")
                }
            };
            return Err(Refusal::new(error, message));
        };
        tell_of_loss(topic, topic_partition.partition, image, new.leader);
        outcome.changes.extend(changed(image, Some(new), topic_partition));
        Ok(topic_partition)
    }
}

/// Says that somebody leads now who may lack what was acknowledged, if that is so. How much it is, is
/// said by whoever had it and finds out that the leader has not.
pub(super) fn tell_of_loss(
    topic: &TopicImage,
    partition: Partition,
    before: &PartitionImage,
    leader: Option<NodeId>,
) {
    let Some(leader) = leader else { return };
    let had_all: Vec<i32> = before.isr.iter().chain(&before.elr).map(|node| node.0).collect();
    if !had_all.contains(&leader.0) {
        log::error!(
            "{}-{partition}: broker {leader} leads by command, though it was not in sync; what was \
             acknowledged and only {had_all:?} had is lost, and counted when they come back",
            topic.name,
        );
    }
}
