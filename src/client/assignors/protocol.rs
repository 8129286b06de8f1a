//! Subscriptions and assignments in Kafka's bytes.
//!
//! A member that cannot be understood gets nothing rather than breaking the group for all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::assignors::{Assignor, GroupMember, LastAssignment, partition_of};
use crate::client::offsets::TopicPartition;
use crate::ids::Partition;
use crate::wire::kafka::KafkaError;
use crate::wire::kafka::consumer_protocol::{
    self as wire, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};

/// What a member tells the leader under an assignor's name. `owned` is empty where the protocol is
/// eager.
pub(in crate::client) fn encode_subscription(
    assignor: &dyn Assignor,
    topics: &[Arc<str>],
    owned: &[TopicPartition],
    last: &LastAssignment,
    rack: Option<&str>,
) -> Vec<u8> {
    let user_data = assignor.user_data(last);
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| &**topic).collect(),
        user_data: user_data.as_deref(),
        owned_partitions: group(owned),
        generation_id: last.generation,
        rack_id: rack,
    };
    subscription.encode(wire::VERSION_MAX)
}

/// The leader's work: from the members' subscriptions to their assignments. `topics` answers the
/// partition count of a topic that exists. Also answers the topics that members asked for.
pub(in crate::client) fn assign_group(
    assignor: &dyn Assignor,
    members: &[(String, Option<String>, Vec<u8>)],
    topics: impl Fn(&str) -> Option<i32>,
) -> Vec<(String, Vec<u8>)> {
    let decoded: Vec<GroupMember> = members
        .iter()
        .map(|(member_id, instance_id, metadata)| {
            let member = decode_member(member_id, instance_id.as_deref(), metadata);
            member.unwrap_or_else(|error| {
                log::warn!("subscription of group member {member_id:?}: {error}");
                GroupMember { member_id: member_id.clone(), ..GroupMember::default() }
            })
        })
        .collect();
    let mut counts: BTreeMap<Arc<str>, i32> = BTreeMap::new();
    for topic in decoded.iter().flat_map(|member| &member.topics) {
        if let Some(count) = topics(topic) {
            counts.insert(Arc::clone(topic), count);
        }
    }
    let assigned = assignor.assign(&counts, &decoded);
    let encoded = members.iter().zip(&assigned).map(|((member_id, ..), partitions)| {
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: group(partitions), user_data: None };
        (member_id.clone(), assignment.encode(wire::VERSION_MAX))
    });
    encoded.collect()
}

/// The topics that members ask for.
pub(in crate::client) fn subscribed_topics(
    members: &[(String, Option<String>, Vec<u8>)],
) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = Vec::new();
    for (_, _, metadata) in members {
        if let Ok(subscription) = ConsumerProtocolSubscription::decode(metadata) {
            topics.extend(subscription.topics.into_iter().map(Arc::from));
        }
    }
    topics.sort_unstable();
    topics.dedup();
    topics
}

fn decode_member(
    member_id: &str,
    instance_id: Option<&str>,
    metadata: &[u8],
) -> Result<GroupMember, KafkaError> {
    let subscription = ConsumerProtocolSubscription::decode(metadata)?;
    let mut topics: Vec<Arc<str>> = subscription.topics.into_iter().map(Arc::from).collect();
    topics.sort_unstable();
    topics.dedup();
    Ok(GroupMember {
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        topics,
        owned_partitions: ungroup(&subscription.owned_partitions),
        generation: (0 <= subscription.generation_id).then_some(subscription.generation_id),
        rack: subscription.rack_id.map(str::to_owned),
        user_data: subscription.user_data.map(<[u8]>::to_vec),
    })
}

/// What the coordinator says that this member reads. Nothing at all, as it is before the leader
/// has spoken, is an empty assignment.
pub(in crate::client) fn decode_assignment(
    bytes: &[u8],
) -> Result<Vec<TopicPartition>, KafkaError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(ungroup(&ConsumerProtocolAssignment::decode(bytes)?.assigned_partitions))
}

fn group(partitions: &[TopicPartition]) -> Vec<wire::TopicPartition<'_>> {
    let mut topics: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
    for tp in partitions {
        topics.entry(&tp.topic).or_default().push(tp.partition);
    }
    let topics = topics.into_iter().map(|(topic, mut partitions)| {
        partitions.sort_unstable();
        wire::TopicPartition { topic, partitions }
    });
    topics.collect()
}

fn ungroup(topics: &[wire::TopicPartition<'_>]) -> Vec<TopicPartition> {
    let all = topics.iter().flat_map(|one| {
        let topic: Arc<str> = Arc::from(one.topic);
        one.partitions.iter().map(move |partition| partition_of(&topic, partition.0))
    });
    all.collect()
}
