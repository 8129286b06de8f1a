//! `cooperative-sticky`: as `sticky`, but nobody stops reading what it keeps.
//!
//! Members keep their partitions while the group rebalances. One that is to go to another member
//! is given to nobody in this round: its owner sees that it lost it, gives it up and joins again,
//! and the second round hands it out (KIP-429).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::client::assignors::sticky::{self, Claim};
use crate::client::assignors::{Assignor, GroupMember, LastAssignment};
use crate::client::offsets::TopicPartition;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct CooperativeStickyAssignor;

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &'static str {
        "cooperative-sticky"
    }

    fn supports_cooperative(&self) -> bool {
        true
    }

    /// The generation, for members older than the subscription that has it as a field.
    fn user_data(&self, last: &LastAssignment) -> Option<Vec<u8>> {
        Some(last.generation.to_be_bytes().to_vec())
    }

    fn assign(
        &self,
        topics: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>> {
        let claims: Vec<Claim> = members.iter().map(claim_of).collect();
        let (mut assigned, owners) = sticky::assign(topics, members, &claims);
        let mut claimants: BTreeMap<&TopicPartition, BTreeSet<usize>> = BTreeMap::new();
        for (place, claim) in claims.iter().enumerate() {
            for tp in &claim.partitions {
                claimants.entry(tp).or_default().insert(place);
            }
        }
        for (place, partitions) in assigned.iter_mut().enumerate() {
            // Whoever says that it reads a partition reads it, even where the claim does not hold.
            partitions.retain(|tp| {
                let others = claimants.get(tp).into_iter().flatten().any(|other| *other != place);
                owners.of(tp) == Some(place) || !others
            });
        }
        assigned
    }
}

fn claim_of(member: &GroupMember) -> Claim {
    let said = || Some(i32::from_be_bytes(*member.user_data.as_deref()?.first_chunk()?));
    Claim {
        partitions: member.owned_partitions.clone(),
        generation: member.generation.or_else(said).unwrap_or(-1),
    }
}
