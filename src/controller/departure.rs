//! A broker leaves the site for good: what lives on it lives on without it.
//!
//! Its replicas are taken off the lists of their partitions, which have one replica fewer then; to
//! have as many as before they are reassigned first. Nothing is decided about a partition of which
//! nobody else has everything: the departure is refused, and says which.
//!
//! **Invariant:** a partition keeps an in-sync replica, save by force, where it keeps one that may
//! lack records.

use crate::controller::Controller;
use crate::controller::brokers::changed;
use crate::controller::change::{BrokerState, Change};
use crate::controller::election::{self, Assignment, Election, Wish};
use crate::ids::{NodeId, Partition};
use crate::wire::ErrorCode;

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

impl Controller {
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

    /// A broker is forgotten: it leads nothing any more, and holds no replica.
    pub fn forget(&self, node_id: NodeId) -> Result<Vec<Change>, ErrorCode> {
        let broker = self.image.broker(node_id).ok_or(ErrorCode::BROKER_ID_NOT_REGISTERED)?;
        if broker.state == BrokerState::Active || self.partitions_of(node_id).next().is_some() {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        Ok(vec![Change::RemoveBroker { node_id }])
    }
}
