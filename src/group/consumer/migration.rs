//! From one protocol to the other while there are members (KIP-848, online migration).
//!
//! ```text
//! classic ──── a member joins by KIP-848 ────► KIP-848: the others go on as classic members of it
//! KIP-848 ── only classic members are left ──► classic: they join again
//! ```
//!
//! A classic group has its members' assignments in a form that only its assignor reads whole: one
//! with data of its own in them cannot move. The epoch goes on from the generation, and the other
//! way round, so that no member hears of a smaller one.

use super::classic_members::{assignment, is_legible, placed};
use super::member::{Member, Said};
use super::partitions::PartitionSet;
use super::reconcile::{Current, MemberState};
use super::{ConsumerGroup, records};
use crate::group::classic::{self, ClassicGroup, Moving};
use crate::group::topics::Topics;
use crate::group::writes::Record;
use crate::ids::TopicPartition;
use crate::time::Now;
use crate::wire::ErrorCode;
use crate::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use crate::wire::kafka::group_records::GroupKey;

impl ConsumerGroup {
    /// What a classic group is as one of KIP-848, and the records that make it so.
    pub(super) fn of_classic(
        classic: &ClassicGroup,
        topics: &Topics,
    ) -> Result<(ConsumerGroup, Vec<Record>), ErrorCode> {
        let (group_id, epoch) = (classic.id(), classic.generation());
        let mut records = Vec::new();
        if classic.stored().is_some() {
            // First, or Kafka would find one group of two kinds in the log.
            records.push(classic::tombstone(group_id));
        }
        records.push(records::epoch(group_id, epoch, 0));
        records.push(records::target_epoch(group_id, epoch));
        let mut held = PartitionSet::default();
        for moving in classic.moving() {
            let member_id = moving.member_id.clone();
            let member = converted(classic, topics, moving, &mut held)?;
            let assigned = &member.current.assigned;
            records.push(records::said(group_id, &member_id, Some(&member.said)));
            records.push(records::target(group_id, &member_id, Some(assigned)));
            records.push(records::current(group_id, &member_id, Some(&member.current)));
        }
        let mut group = ConsumerGroup::new(group_id);
        for Record { key, value } in &records {
            if let Ok(GroupKey::ConsumerGroup(key)) = GroupKey::decode(key) {
                group.replay(&key, value.as_deref()).expect("we wrote it ourselves");
            }
        }
        Ok((group, records))
    }

    /// The classic group of those members that stay, if there are some and all are classic.
    pub(super) fn to_classic(
        &self,
        topics: &Topics,
        leaving: &[Box<str>],
        now: Now,
    ) -> Option<ClassicGroup> {
        let stay = self.members.iter().filter(|(member_id, _)| !leaving.contains(*member_id));
        let moving: Option<Vec<Moving>> = stay
            .map(|(member_id, member)| {
                Some(Moving {
                    member_id: member_id.clone(),
                    instance_id: member.said.instance_id.clone(),
                    client_id: member.said.client_id.clone(),
                    client_host: member.said.client_host.clone(),
                    said: member.said.classic.as_deref()?.clone(),
                    assignment: assignment(topics, member).into(),
                })
            })
            .collect();
        let moving = moving.filter(|moving| !moving.is_empty())?;
        Some(ClassicGroup::of_members(&self.id, self.epoch, moving, now))
    }
}

/// A member of a classic group as one of KIP-848: it has what it was assigned last.
fn converted(
    classic: &ClassicGroup,
    topics: &Topics,
    moving: Moving,
    held: &mut PartitionSet,
) -> Result<Member, ErrorCode> {
    // What Kafka answers where a classic group cannot become another.
    let refusal = ErrorCode::GROUP_ID_NOT_FOUND;
    let metadata = match moving.said.metadata(classic.protocol()) {
        [] => moving.said.protocols.first().map_or(&[][..], |(_, metadata)| metadata),
        metadata => metadata,
    };
    let subscription = ConsumerProtocolSubscription::decode(metadata).map_err(|_| refusal)?;
    if !is_legible(&subscription) {
        return Err(refusal);
    }
    let mut assigned = PartitionSet::default();
    if !moving.assignment.is_empty() {
        let given = ConsumerProtocolAssignment::decode(&moving.assignment).map_err(|_| refusal)?;
        if given.user_data.is_some_and(|data| !data.is_empty()) {
            return Err(refusal);
        }
        // A leader that gave a partition to two members is not to be believed twice.
        let given = placed(topics, &given.assigned_partitions);
        assigned = given.iter().filter(|it: &TopicPartition| held.insert(*it)).collect();
    }
    let mut said = Said::of_classic(moving.said.clone(), &subscription);
    said.instance_id = moving.instance_id;
    said.client_id = moving.client_id;
    said.client_host = moving.client_host;
    let epoch = classic.generation();
    let revoking = PartitionSet::default();
    let state = MemberState::Stable;
    let current = Current { epoch, previous_epoch: epoch, state, assigned, revoking };
    Ok(Member { said, current })
}
