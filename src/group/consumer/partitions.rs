//! A set of partitions: what a member has, is to have, or says it holds.

use std::collections::BTreeSet;

use crate::ids::{Partition, TopicId, TopicPartition};
use crate::wire::consumer_group_heartbeat::TopicPartitions;
use crate::wire::kafka::consumer_group_records::StoredPartitions;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct PartitionSet(BTreeSet<TopicPartition>);

impl PartitionSet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, topic_partition: &TopicPartition) -> bool {
        self.0.contains(topic_partition)
    }

    pub fn insert(&mut self, topic_partition: TopicPartition) -> bool {
        self.0.insert(topic_partition)
    }

    /// Ascending by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        self.0.iter().copied()
    }

    pub fn is_subset(&self, other: &PartitionSet) -> bool {
        self.0.is_subset(&other.0)
    }

    pub fn intersects(&self, other: &PartitionSet) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// What is in both.
    pub fn and(&self, other: &PartitionSet) -> PartitionSet {
        PartitionSet(&self.0 & &other.0)
    }

    /// What is in this one only.
    pub fn minus(&self, other: &PartitionSet) -> PartitionSet {
        PartitionSet(&self.0 - &other.0)
    }

    /// The partitions of each topic.
    pub fn by_topic(&self) -> Vec<(TopicId, Vec<Partition>)> {
        let mut topics: Vec<(TopicId, Vec<Partition>)> = Vec::new();
        for TopicPartition { topic_id, partition } in self.iter() {
            match topics.last_mut() {
                Some((last, partitions)) if *last == topic_id => partitions.push(partition),
                _ => topics.push((topic_id, vec![partition])),
            }
        }
        topics
    }

    /// As a response has it.
    pub fn told(&self) -> Vec<TopicPartitions> {
        let topics = self.by_topic().into_iter();
        topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
    }

    /// As a record has it.
    pub fn stored(&self) -> Vec<StoredPartitions> {
        let topics = self.by_topic().into_iter();
        topics.map(|(topic_id, partitions)| StoredPartitions { topic_id, partitions }).collect()
    }

    pub fn of_told(topics: &[TopicPartitions]) -> PartitionSet {
        topics.iter().flat_map(|told| placed(told.topic_id, &told.partitions)).collect()
    }

    pub fn of_stored(topics: &[StoredPartitions]) -> PartitionSet {
        topics.iter().flat_map(|stored| placed(stored.topic_id, &stored.partitions)).collect()
    }
}

impl FromIterator<TopicPartition> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = TopicPartition>>(partitions: I) -> PartitionSet {
        PartitionSet(partitions.into_iter().collect())
    }
}

fn placed(topic_id: TopicId, list: &[Partition]) -> impl Iterator<Item = TopicPartition> + '_ {
    list.iter().map(move |partition| TopicPartition { topic_id, partition: *partition })
}
