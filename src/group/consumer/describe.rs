//! What a person is told of a consumer group.

use super::ConsumerGroup;
use super::assignors::Assignor;
use super::draft::preferred;
use super::member::Member;
use super::partitions::PartitionSet;
use crate::group::topics::Topics;
use crate::wire::ErrorCode;
use crate::wire::consumer_group_describe::{
    ConsumerMember, DescribedConsumerGroup, NamedPartitions,
};
use crate::wire::list_groups::GroupKind;

impl ConsumerGroup {
    /// The group and its members.
    pub fn describe<'a>(
        &'a self,
        topics: &'a Topics,
        assignors: &[Assignor],
    ) -> DescribedConsumerGroup<'a> {
        let members = self.members.iter();
        DescribedConsumerGroup {
            error: ErrorCode::NONE,
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor: preferred(self.members.values().map(|member| &member.said), assignors).name(),
            members: members.map(|(id, member)| self.describe_member(topics, id, member)).collect(),
        }
    }

    fn describe_member<'a>(
        &'a self,
        topics: &'a Topics,
        member_id: &'a str,
        member: &'a Member,
    ) -> ConsumerMember<'a> {
        let target = self.target(member_id);
        ConsumerMember {
            member_id,
            instance_id: member.said.instance_id.as_deref(),
            rack_id: member.said.rack_id.as_deref(),
            member_epoch: member.current.epoch,
            client_id: &member.said.client_id,
            client_host: &member.said.client_host,
            subscribed_topics: member.said.topics.iter().map(|name| &**name).collect(),
            subscribed_regex: member.said.expression.as_deref(),
            assignment: named(topics, &member.current.assigned),
            target: target.map(|target| named(topics, target)).unwrap_or_default(),
            kind: if member.is_classic() { GroupKind::Classic } else { GroupKind::Consumer },
        }
    }
}

/// Partitions with the names of their topics; those of topics that are gone are left out.
fn named<'a>(topics: &'a Topics, partitions: &PartitionSet) -> Vec<NamedPartitions<'a>> {
    let by_topic = partitions.by_topic().into_iter();
    let named = by_topic.filter_map(|(topic_id, partitions)| {
        Some(NamedPartitions { topic_id, topic: topics.name(topic_id)?, partitions })
    });
    named.collect()
}
