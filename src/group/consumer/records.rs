//! The records of a consumer group: written, and replayed.

use std::collections::BTreeSet;

use super::ConsumerGroup;
use super::member::{Member, Said};
use super::partitions::PartitionSet;
use super::reconcile::{Current, MemberState};
use crate::group::writes::Record;
use crate::ids::TopicPartition;
use crate::wire::consumer_group_heartbeat::LEAVING_FOR_A_WHILE;
use crate::wire::kafka::KafkaError;
use crate::wire::kafka::consumer_group_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupKey, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue,
    ExpressionKey, GroupIdKey, MemberIdKey,
};

/// A record with a value, or a tombstone.
fn record(key: &ConsumerGroupKey<'_>, value: Option<Vec<u8>>) -> Record {
    Record { key: key.encode(), value }
}

pub(super) fn epoch(group: &str, epoch: i32, metadata_hash: u64) -> Record {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash: metadata_hash as i64 };
    record(&ConsumerGroupKey::Group(GroupIdKey { group }), Some(value.encode()))
}

pub(super) fn said(group: &str, member_id: &str, said: Option<&Said>) -> Record {
    let value = said.map(|said| said.stored().encode());
    record(&ConsumerGroupKey::Member(MemberIdKey { group, member_id }), value)
}

pub(super) fn target_epoch(group: &str, epoch: i32) -> Record {
    let value =
        ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: epoch, ..<_>::default() };
    record(&ConsumerGroupKey::Target(GroupIdKey { group }), Some(value.encode()))
}

pub(super) fn target(group: &str, member_id: &str, target: Option<&PartitionSet>) -> Record {
    let value = target.map(|target| {
        ConsumerGroupTargetAssignmentMemberValue { topic_partitions: target.stored() }.encode()
    });
    record(&ConsumerGroupKey::TargetMember(MemberIdKey { group, member_id }), value)
}

pub(super) fn current(group: &str, member_id: &str, current: Option<&Current>) -> Record {
    let value = current.map(|current| {
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: current.epoch,
            previous_member_epoch: current.previous_epoch,
            state: current.state.stored(),
            assigned_partitions: current.assigned.stored(),
            partitions_pending_revocation: current.revoking.stored(),
        };
        value.encode()
    });
    record(&ConsumerGroupKey::CurrentMember(MemberIdKey { group, member_id }), value)
}

pub(super) fn expression(
    group: &str,
    expression: &str,
    topics: Option<&BTreeSet<Box<str>>>,
    timestamp: i64,
) -> Record {
    let value = topics.map(|topics| {
        let topics = topics.iter().map(|name| &**name).collect();
        ConsumerGroupRegularExpressionValue { topics, version: 0, timestamp }.encode()
    });
    record(&ConsumerGroupKey::Expression(ExpressionKey { group, expression }), value)
}

impl ConsumerGroup {
    /// The records that forget a group, and its members if it has some.
    pub fn tombstones(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if !self.is_written {
            return records;
        }
        let group = &self.id;
        let members = self.members.keys();
        records.extend(members.clone().map(|member_id| current(group, member_id, None)));
        let targets = self.targets.keys();
        records.extend(targets.map(|member_id| target(group, member_id, None)));
        records.extend(members.map(|member_id| said(group, member_id, None)));
        let resolved = self.resolved.keys();
        records.extend(resolved.map(|text| expression(group, text, None, 0)));
        let key = || GroupIdKey { group };
        if self.has_old_topics {
            records.push(record(&ConsumerGroupKey::Topics(key()), None));
        }
        records.push(record(&ConsumerGroupKey::Target(key()), None));
        records.push(record(&ConsumerGroupKey::Group(key()), None));
        records
    }

    /// Takes a record into account; the only mutator of what is durable. Answers how much more the
    /// group takes.
    pub fn replay(
        &mut self,
        key: &ConsumerGroupKey<'_>,
        value: Option<&[u8]>,
    ) -> Result<isize, KafkaError> {
        let before = self.cost;
        match key {
            ConsumerGroupKey::Group(_) => {
                self.is_written = value.is_some();
                if let Some(value) = value {
                    let value = ConsumerGroupMetadataValue::decode(value)?;
                    self.epoch = value.epoch;
                    self.metadata_hash = value.metadata_hash as u64;
                    self.is_refresh_due = false;
                }
            }
            ConsumerGroupKey::Topics(_) => self.has_old_topics = value.is_some(),
            ConsumerGroupKey::Target(_) => {
                if let Some(value) = value {
                    let value = ConsumerGroupTargetAssignmentMetadataValue::decode(value)?;
                    self.target_epoch = value.assignment_epoch;
                }
            }
            ConsumerGroupKey::Member(key) => {
                let value = value.map(ConsumerGroupMemberMetadataValue::decode).transpose()?;
                self.replay_said(key.member_id, value.as_ref().map(Said::of_stored));
            }
            ConsumerGroupKey::TargetMember(key) => {
                let value =
                    value.map(ConsumerGroupTargetAssignmentMemberValue::decode).transpose()?;
                let target = value.map(|value| PartitionSet::of_stored(&value.topic_partitions));
                self.charge(key.member_id, false);
                match target {
                    Some(target) => drop(self.targets.insert(key.member_id.into(), target)),
                    None => drop(self.targets.remove(key.member_id)),
                }
                self.charge(key.member_id, true);
            }
            ConsumerGroupKey::CurrentMember(key) => {
                let value =
                    value.map(ConsumerGroupCurrentMemberAssignmentValue::decode).transpose()?;
                self.replay_current(key.member_id, value.as_ref().map(current_of));
            }
            ConsumerGroupKey::Expression(key) => {
                let value = value.map(ConsumerGroupRegularExpressionValue::decode).transpose()?;
                let topics = value
                    .map(|value| value.topics.into_iter().map(Box::from).collect::<BTreeSet<_>>());
                self.replay_expression(key.expression, topics);
            }
        }
        Ok(self.cost as isize - before as isize)
    }

    /// Makes of what a log says what can be. A log that others wrote, or that we wrote by mistake, may
    /// give a partition to two members; a member that is told less comes to no harm.
    pub(super) fn mend(&mut self) {
        self.target_epoch = self.target_epoch.min(self.epoch);
        self.held.clear();
        for member in self.members.values_mut() {
            let current = &mut member.current;
            current.epoch = current.epoch.max(LEAVING_FOR_A_WHILE);
            for partitions in [&mut current.assigned, &mut current.revoking] {
                let is_free = |it: &TopicPartition| self.held.insert(*it, 1).is_none();
                *partitions = partitions.iter().filter(is_free).collect();
            }
        }
    }

    fn replay_said(&mut self, member_id: &str, said: Option<Said>) {
        self.charge(member_id, false);
        let old = self.members.get(member_id).and_then(|member| member.said.instance_id.clone());
        if let Some(instance_id) = old {
            if self.static_members.get(&instance_id).is_some_and(|id| **id == *member_id) {
                self.static_members.remove(&instance_id);
            }
        }
        if let Some(said) = said {
            if let Some(instance_id) = &said.instance_id {
                self.static_members.insert(instance_id.clone(), member_id.into());
            }
            self.members.entry(member_id.into()).or_default().said = said;
        } else {
            if let Some(member) = self.members.remove(member_id) {
                self.hold(&member.current, false);
            }
            self.sessions.forget(member_id);
        }
        self.charge(member_id, true);
    }

    fn replay_current(&mut self, member_id: &str, current: Option<Current>) {
        self.charge(member_id, false);
        if current.is_some() && !self.members.contains_key(member_id) {
            self.members.insert(member_id.into(), Member::default());
        }
        if let Some(member) = self.members.get_mut(member_id) {
            let next = current.unwrap_or_default();
            let before = std::mem::replace(&mut member.current, next.clone());
            self.hold(&before, false);
            self.hold(&next, true);
        }
        self.charge(member_id, true);
    }

    fn replay_expression(&mut self, expression: &str, topics: Option<BTreeSet<Box<str>>>) {
        let cost = |topics: &BTreeSet<Box<str>>| {
            let names = topics.iter().map(|name| name.len() + 32);
            names.sum::<usize>() + expression.len() + 64
        };
        if let Some(topics) = &topics {
            self.cost += cost(topics);
        }
        let before = match topics {
            Some(topics) => self.resolved.insert(expression.into(), topics),
            None => self.resolved.remove(expression),
        };
        self.cost -= before.as_ref().map_or(0, cost);
    }

    /// Counts what a member has as held, or as held no longer.
    fn hold(&mut self, current: &Current, is_held: bool) {
        for topic_partition in current.assigned.iter().chain(current.revoking.iter()) {
            if is_held {
                *self.held.entry(topic_partition).or_default() += 1;
                continue;
            }
            let count = self.held.get_mut(&topic_partition).expect("a member had it");
            *count -= 1;
            if *count == 0 {
                self.held.remove(&topic_partition);
            }
        }
    }

    /// Puts a member's cost on the bill, or takes it off before the member changes.
    fn charge(&mut self, member_id: &str, is_on: bool) {
        let target_count = self.targets.get(member_id).map_or(0, PartitionSet::len);
        let member = self.members.get(member_id);
        let cost = member.map_or(0, |member| member.cost(member_id, target_count));
        if is_on {
            self.cost += cost;
        } else {
            self.cost -= cost;
        }
    }
}

fn current_of(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    Current {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::of_stored(value.state),
        assigned: PartitionSet::of_stored(&value.assigned_partitions),
        revoking: PartitionSet::of_stored(&value.partitions_pending_revocation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Partition, TopicId};
    use crate::wire::kafka::group_records::GroupKey;

    /// Found by fuzzing: a target of an epoch that the group never had, and a partition with two
    /// members, were taken as they stood, and later steps rest on neither being so.
    #[test]
    fn a_log_that_cannot_be_is_mended() {
        let mut group = ConsumerGroup::new("g");
        let partitions: PartitionSet =
            [TopicPartition { topic_id: TopicId::default(), partition: Partition(0) }]
                .into_iter()
                .collect();
        let held = |epoch| Current { epoch, assigned: partitions.clone(), ..Current::default() };
        let records = [
            epoch("g", 3, 0),
            target_epoch("g", 9),
            said("g", "a", Some(&Said::default())),
            said("g", "b", Some(&Said::default())),
            current("g", "a", Some(&held(3))),
            current("g", "b", Some(&held(-7))),
        ];
        for record in &records {
            let Ok(GroupKey::ConsumerGroup(key)) = GroupKey::decode(&record.key) else {
                panic!("a key of a consumer group")
            };
            group.replay(&key, record.value.as_deref()).expect("it decodes");
        }
        group.mend();
        group.invariants();
        assert_eq!(group.target_epoch, 3);
        assert_eq!(group.members["a"].current, held(3));
        assert_eq!(group.members["b"].current, Current { epoch: -2, ..Current::default() });
    }
}
