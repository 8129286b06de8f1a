//! The in-sync replicas, and the change of them that is under way (semantics.md 2.9, 2.10;
//! KIP-497).
//!
//! | refusal | what follows |
//! |---|---|
//! | `OPERATION_NOT_ATTEMPTED`, `INELIGIBLE_REPLICA` | nothing happened: back to the committed ISR |
//! | `FENCED_LEADER_EPOCH`, `INVALID_UPDATE_VERSION`, `INVALID_REQUEST`, `NEW_LEADER_ELECTED` | the change stays pending until metadata says what became of it: it may have been made |
//! | `UNKNOWN_TOPIC_ID`, `UNKNOWN_TOPIC_OR_PARTITION` | the same: the partition is about to go |
//! | any other | it may have been made, or be made yet: sent again |
//!
//! Each proposal is answered once ([`Output::Alter`]), and until then nothing is sent again. Were there
//! two copies of it, the controller could refuse one, so that the high watermark goes by the
//! committed ISR again, and grant the other.
//!
//! [`Output::Alter`]: crate::replica::Output::Alter
//!
//! **Invariant:** at most one change is under way. While it is, the *maximal* ISR counts: an
//! addition at once, because the controller may have made it a member already; a removal not before
//! the controller confirmed it, because the controller may still elect that replica.

use std::collections::BTreeSet;

use crate::ids::NodeId;
use crate::time::Boot;
use crate::wire::ErrorCode;
use crate::wire::replica::alter_partition::AlterReplicas;

/// In-sync replicas.
#[derive(Debug)]
pub(super) struct Isr {
    committed: BTreeSet<NodeId>,
    pending: Option<Pending>,
    /// After a refusal nothing is proposed before this.
    pub not_before: Boot,
    #[cfg(feature = "mutants")]
    pub shrinks_unconfirmed: bool,
}

#[derive(Debug)]
struct Pending {
    proposal: AlterReplicas,
    /// When it is sent again; never while an answer or metadata is to say what became of it.
    resend_at: Boot,
}

impl Isr {
    pub fn new(committed: &[NodeId]) -> Isr {
        Isr {
            committed: committed.iter().copied().collect(),
            pending: None,
            not_before: Boot(0),
            #[cfg(feature = "mutants")]
            shrinks_unconfirmed: false,
        }
    }

    /// The controller's word: whatever was under way is decided.
    pub fn commit(&mut self, committed: &[NodeId]) {
        self.committed = committed.iter().copied().collect();
        self.pending = None;
    }

    pub fn committed(&self) -> &BTreeSet<NodeId> {
        &self.committed
    }

    /// Members, with one that may be a member by now.
    pub fn maximal(&self) -> BTreeSet<NodeId> {
        let wanted = self.pending.iter().flat_map(|pending| &pending.proposal.isr);
        let wanted: BTreeSet<NodeId> = wanted.map(|member| member.node_id).collect();
        #[cfg(feature = "mutants")]
        if self.shrinks_unconfirmed && self.pending.is_some() {
            return wanted;
        }
        &self.committed | &wanted
    }

    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a change may be proposed.
    pub fn may_propose(&self, now: Boot) -> bool {
        self.pending.is_none() && self.not_before <= now
    }

    /// A change is on its way to the controller.
    pub fn propose(&mut self, proposal: AlterReplicas) {
        assert!(self.pending.is_none(), "one change at a time");
        self.pending = Some(Pending { proposal, resend_at: Boot::NEVER });
    }

    /// The controller refuses the change that builds on `partition_epoch`.
    pub fn refuse(&mut self, partition_epoch: i32, error: ErrorCode, retry_at: Boot) {
        let Some(pending) = &mut self.pending else { return };
        if pending.proposal.partition_epoch != partition_epoch {
            return;
        }
        match error {
            ErrorCode::OPERATION_NOT_ATTEMPTED | ErrorCode::INELIGIBLE_REPLICA => {
                self.pending = None;
                self.not_before = retry_at;
            }
            ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::INVALID_UPDATE_VERSION
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::NEW_LEADER_ELECTED
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => pending.resend_at = Boot::NEVER,
            _ => pending.resend_at = retry_at,
        }
    }

    /// The proposal, when it is to be sent again now.
    pub fn resend(&mut self, now: Boot) -> Option<AlterReplicas> {
        let pending = self.pending.as_mut().filter(|pending| pending.resend_at <= now)?;
        pending.resend_at = Boot::NEVER;
        Some(pending.proposal.clone())
    }

    /// When [`Isr::resend`] has something.
    pub fn next_deadline(&self) -> Boot {
        self.pending.as_ref().map_or(Boot::NEVER, |pending| pending.resend_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderEpoch, TopicPartition};
    use crate::wire::replica::alter_partition::InSync;

    fn proposed(committed: &[i32], wanted: &[i32]) -> Isr {
        let nodes: Vec<NodeId> = committed.iter().copied().map(NodeId).collect();
        let mut isr = Isr::new(&nodes);
        let member = |node: &i32| InSync { node_id: NodeId(*node), broker_epoch: 1 };
        let proposal = AlterReplicas {
            topic_partition: TopicPartition::default(),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 7,
            isr: wanted.iter().map(member).collect(),
            damaged: Vec::new(),
        };
        isr.propose(proposal);
        isr
    }

    fn maximal(isr: &Isr) -> Vec<i32> {
        isr.maximal().iter().map(|node| node.0).collect()
    }

    #[test]
    fn an_addition_counts_at_once_and_a_removal_when_it_is_confirmed() {
        let mut isr = proposed(&[1, 2], &[1, 2, 3]);
        assert_eq!(maximal(&isr), [1, 2, 3]);
        assert_eq!(isr.committed().len(), 2);
        isr = proposed(&[1, 2], &[1]);
        assert_eq!(maximal(&isr), [1, 2]);
        isr.commit(&[NodeId(1)]);
        assert_eq!(maximal(&isr), [1]);
        assert!(!isr.is_pending() && isr.may_propose(Boot(0)));
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        for (error, is_pending, next_at) in [
            (ErrorCode::INELIGIBLE_REPLICA, false, Boot::NEVER),
            (ErrorCode::OPERATION_NOT_ATTEMPTED, false, Boot::NEVER),
            (ErrorCode::FENCED_LEADER_EPOCH, true, Boot::NEVER),
            (ErrorCode::INVALID_UPDATE_VERSION, true, Boot::NEVER),
            (ErrorCode::INVALID_REQUEST, true, Boot::NEVER),
            (ErrorCode::NEW_LEADER_ELECTED, true, Boot::NEVER),
            (ErrorCode::UNKNOWN_TOPIC_ID, true, Boot::NEVER),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true, Boot::NEVER),
            (ErrorCode::NOT_CONTROLLER, true, Boot(50)),
            (ErrorCode::STALE_BROKER_EPOCH, true, Boot(50)),
            (ErrorCode::REQUEST_TIMED_OUT, true, Boot(50)),
            (ErrorCode(999), true, Boot(50)),
        ] {
            let mut isr = proposed(&[1, 2], &[1, 2, 3]);
            isr.refuse(6, error, Boot(50));
            assert_eq!(isr.next_deadline(), Boot::NEVER, "{error}: of another proposal");
            isr.refuse(7, error, Boot(50));
            assert_eq!((isr.is_pending(), isr.next_deadline()), (is_pending, next_at), "{error}");
            assert_eq!(isr.may_propose(Boot(50)), !is_pending, "{error}");
            assert!(!isr.may_propose(Boot(49)), "{error}");
        }
    }
}
