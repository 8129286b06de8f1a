//! The image: the cluster's metadata in memory, the sum of all changes replayed.
//!
//! The controller holds one, and each shard a copy that the same changes keep equal.
//!
//! **Invariant:** [`Image::replay`] is the only mutator, so boot, failover and test are one path.

use std::collections::BTreeMap;

use crate::controller::change::Change;
use crate::group_config::GroupOverrides;
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, TopicPartition, Uuid};
use crate::topic_config::TopicConfig;
use crate::wire::TopicRef;

/// Metadata of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Where it lives, the preferred leader first.
    pub replicas: Box<[NodeId]>,
    /// Who leads it.
    pub leader: NodeId,
    /// Epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
}

/// Metadata of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Box<str>,
    /// Keys that differ from the broker's defaults.
    pub configs: BTreeMap<Box<str>, Box<str>>,
    /// Its partitions; the place is the number.
    pub partitions: Vec<PartitionImage>,
}

impl TopicImage {
    /// Whether clients see the topic as internal.
    pub fn is_internal(&self) -> bool {
        self.name.starts_with("__")
    }

    /// The effective configuration over the broker's `defaults`.
    pub fn effective(&self, defaults: &TopicConfig) -> TopicConfig {
        let mut config = defaults.clone();
        for (key, value) in &self.configs {
            // A value was checked before it was persisted; one that newer software wrote and
            // this one cannot read must not keep the broker from starting.
            if config.set(key, value).is_err() {
                log::warn!("topic {}: `{key}` = `{value}` is not understood, ignored", self.name);
            }
        }
        config
    }
}

/// What a group has set itself: keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupConfigs(BTreeMap<Box<str>, Box<str>>);

impl GroupConfigs {
    /// The keys, in ascending order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|key| &**key)
    }

    /// The same, understood.
    pub fn overrides(&self) -> GroupOverrides {
        let mut own = GroupOverrides::default();
        for (key, value) in &self.0 {
            // As with a topic's: newer software may have written it.
            if own.set(key, Some(value)).is_err() {
                log::warn!("a group's `{key}` = `{value}` is not understood, ignored");
            }
        }
        own
    }
}

/// The cluster's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    cluster_id: Option<Uuid>,
    broker_epochs: BTreeMap<NodeId, i64>,
    topics: BTreeMap<TopicId, TopicImage>,
    names: BTreeMap<Box<str>, TopicId>,
    partition_count: usize,
    next_producer_id: i64,
    groups: BTreeMap<Box<str>, GroupConfigs>,
    brokers: BTreeMap<Option<NodeId>, BTreeMap<Box<str>, Box<str>>>,
}

impl Image {
    /// Takes one change into account.
    pub fn replay(&mut self, change: &Change) {
        match change {
            Change::Cluster { cluster_id, .. } => self.cluster_id = Some(*cluster_id),
            Change::Broker { node_id, broker_epoch } => {
                self.broker_epochs.insert(*node_id, *broker_epoch);
                self.raise_epochs(*node_id);
            }
            Change::Topic { topic_id, name } => self.add_topic(*topic_id, name),
            Change::Partition { topic_id, partition, replicas, leader, leader_epoch } => {
                let topic = self.topics.get_mut(topic_id).expect("a partition follows its topic");
                assert_eq!(partition.0 as usize, topic.partitions.len(), "numbers have no holes");
                topic.partitions.push(PartitionImage {
                    replicas: replicas.as_slice().into(),
                    leader: *leader,
                    leader_epoch: *leader_epoch,
                });
                self.partition_count += 1;
            }
            Change::Config { topic_id, key, value } => {
                let topic = self.topics.get_mut(topic_id).expect("configured while it exists");
                match value {
                    Some(value) => topic.configs.insert(key.clone(), value.clone()),
                    None => topic.configs.remove(key),
                };
            }
            Change::RemoveTopic { topic_id } => {
                let topic = self.topics.remove(topic_id).expect("removed while it exists");
                self.names.remove(&topic.name);
                self.partition_count -= topic.partitions.len();
            }
            Change::ProducerIds { next_id } => self.next_producer_id = *next_id,
            Change::BrokerConfig { node_id, key, value } => {
                let broker = self.brokers.entry(*node_id).or_default();
                match value {
                    Some(value) => broker.insert(key.clone(), value.clone()),
                    None => broker.remove(key),
                };
                if broker.is_empty() {
                    self.brokers.remove(node_id);
                }
            }
            Change::GroupConfig { group_id, key, value } => {
                let group = self.groups.entry(group_id.clone()).or_default();
                match value {
                    Some(value) => group.0.insert(key.clone(), value.clone()),
                    None => group.0.remove(key),
                };
                if group.0.is_empty() {
                    self.groups.remove(group_id);
                }
            }
        }
    }

    fn add_topic(&mut self, topic_id: TopicId, name: &TopicName) {
        let name: Box<str> = name.as_str().into();
        let topic = TopicImage { name: name.clone(), ..TopicImage::default() };
        assert!(self.topics.insert(topic_id, topic).is_none(), "topic ids are unique");
        assert!(self.names.insert(name, topic_id).is_none(), "topic names are unique");
    }

    fn raise_epochs(&mut self, node_id: NodeId) {
        let led = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        for partition in led.filter(|partition| partition.leader == node_id) {
            partition.leader_epoch =
                partition.leader_epoch.next().expect("a board does not boot 2^31 times");
        }
    }

    /// The cluster's identity, once it has one.
    pub fn cluster_id(&self) -> Option<Uuid> {
        self.cluster_id
    }

    /// The first producer id of the next block: no broker may give it out yet.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Incarnation of a broker, 0 when it never started.
    pub fn broker_epoch(&self, node_id: NodeId) -> i64 {
        self.broker_epochs.get(&node_id).copied().unwrap_or(0)
    }

    /// A topic by id.
    pub fn topic(&self, topic_id: TopicId) -> Option<&TopicImage> {
        self.topics.get(&topic_id)
    }

    /// The names of all topics, in ascending order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// A topic as a request names it.
    pub fn find(&self, topic: TopicRef<'_>) -> Option<(TopicId, &TopicImage)> {
        let topic_id = match topic {
            TopicRef::Id(topic_id) => topic_id,
            TopicRef::Name(name) => *self.names.get(name)?,
        };
        self.topics.get(&topic_id).map(|image| (topic_id, image))
    }

    /// A partition as a request names it, if it exists.
    pub fn find_partition(
        &self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Option<(TopicPartition, &PartitionImage)> {
        let (topic_id, image) = self.find(topic)?;
        let index = usize::try_from(partition.0).ok()?;
        let found = image.partitions.get(index)?;
        Some((TopicPartition { topic_id, partition }, found))
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &TopicImage)> {
        self.names.values().map(|id| (*id, &self.topics[id]))
    }

    /// What was set at run time for a broker, or with `None` for all: keys and values, in the order
    /// of the keys.
    pub fn broker_configs(&self, node_id: Option<NodeId>) -> impl Iterator<Item = (&str, &str)> {
        let configs = self.brokers.get(&node_id).into_iter().flatten();
        configs.map(|(key, value)| (&**key, &**value))
    }

    /// What a group has set itself, if anything.
    pub fn group_configs(&self, group_id: &str) -> Option<&GroupConfigs> {
        self.groups.get(group_id)
    }

    /// All groups that have set something themselves.
    pub fn configured_groups(&self) -> impl Iterator<Item = (&str, &GroupConfigs)> {
        self.groups.iter().map(|(group_id, configs)| (&**group_id, configs))
    }

    /// How many they are.
    pub fn configured_group_count(&self) -> usize {
        self.groups.len()
    }

    /// The changes that lead from nothing to this image: what a shard is given at the start.
    pub fn as_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let cluster = self.cluster_id.map(|cluster_id| Change::Cluster {
            cluster_id,
            feature_level: crate::controller::FEATURE_LEVEL,
        });
        changes.extend(cluster);
        for (node_id, broker_epoch) in &self.broker_epochs {
            changes.push(Change::Broker { node_id: *node_id, broker_epoch: *broker_epoch });
        }
        if 0 < self.next_producer_id {
            changes.push(Change::ProducerIds { next_id: self.next_producer_id });
        }
        for (topic_id, topic) in self.topics() {
            let name = TopicName::new(&topic.name).expect("it came from a legal name");
            changes.push(Change::Topic { topic_id, name });
            for (key, value) in &topic.configs {
                let (key, value) = (key.clone(), Some(value.clone()));
                changes.push(Change::Config { topic_id, key, value });
            }
            for (number, partition) in topic.partitions.iter().enumerate() {
                changes.push(Change::Partition {
                    topic_id,
                    partition: Partition(number as i32),
                    replicas: partition.replicas.to_vec(),
                    leader: partition.leader,
                    leader_epoch: partition.leader_epoch,
                });
            }
        }
        for (node_id, configs) in &self.brokers {
            for (key, value) in configs {
                let (key, value) = (key.clone(), Some(value.clone()));
                changes.push(Change::BrokerConfig { node_id: *node_id, key, value });
            }
        }
        for (group_id, configs) in &self.groups {
            for (key, value) in &configs.0 {
                let (group_id, key) = (group_id.clone(), key.clone());
                changes.push(Change::GroupConfig { group_id, key, value: Some(value.clone()) });
            }
        }
        changes
    }

    /// Topics in all.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }
}
