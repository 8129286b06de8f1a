//! The image: the cluster's metadata in memory, the sum of all changes replayed.
//!
//! The controller holds one, and each shard a copy that the same changes keep equal.
//!
//! **Invariant:** [`Image::replay`] is the only mutator, so boot, failover and test are one path.

use std::collections::BTreeMap;

use crate::controller::FEATURE_LEVEL_MIN;
use crate::controller::change::{BrokerState, Change, Endpoint};
use crate::group_config::GroupOverrides;
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, TopicPartition, Uuid};
use crate::limits::SITE_DEPARTED_MAX;
use crate::topic_config::TopicConfig;
use crate::wire::TopicRef;
use crate::wire::quorum::VoterId;

mod examined;

pub use examined::ImageError;

/// Metadata of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Where it lives, the preferred leader first.
    pub replicas: Box<[NodeId]>,
    /// Who leads it, if anyone can.
    pub leader: Option<NodeId>,
    /// Epoch of that leadership, or of the lack of one.
    pub leader_epoch: LeaderEpoch,
    /// Who has everything below the high watermark; a part of `replicas`.
    pub isr: Box<[NodeId]>,
    /// Who had it when fewer than `min.insync.replicas` were left; none of them is in `isr`.
    pub elr: Box<[NodeId]>,
    /// Replicas that a reassignment brings; a part of `replicas`.
    pub adding: Box<[NodeId]>,
    /// Replicas that it takes away when it is done; a part of `replicas`, behind all others.
    pub removing: Box<[NodeId]>,
    /// Version of all this.
    pub partition_epoch: i32,
}

impl PartitionImage {
    /// The change that leads here.
    pub fn to_change(&self, topic_id: TopicId, partition: Partition) -> Change {
        Change::PartitionChange {
            topic_id,
            partition,
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            isr: self.isr.to_vec(),
            elr: self.elr.to_vec(),
            partition_epoch: self.partition_epoch,
        }
    }

    /// The changes that lead here from `before`.
    pub fn changes_from(
        &self,
        before: &PartitionImage,
        topic_id: TopicId,
        partition: Partition,
    ) -> impl Iterator<Item = Change> + use<> {
        let moved = (!self.lives_as(before)).then(|| self.placement(topic_id, partition));
        moved.into_iter().chain([self.to_change(topic_id, partition)])
    }

    /// Whether a reassignment is under way.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Where it will live when the reassignment is done.
    pub fn target(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().copied().filter(|node| !self.removing.contains(node))
    }

    fn lives_as(&self, other: &PartitionImage) -> bool {
        self.replicas == other.replicas
            && self.adding == other.adding
            && self.removing == other.removing
    }

    fn placement(&self, topic_id: TopicId, partition: Partition) -> Change {
        Change::Replicas {
            topic_id,
            partition,
            replicas: self.replicas.to_vec(),
            adding: self.adding.to_vec(),
            removing: self.removing.to_vec(),
        }
    }
}

/// What is known of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// Its incarnation; requests of an older one are refused.
    pub broker_epoch: i64,
    /// What it may do.
    pub state: BrokerState,
    /// Its process; all zero on a node that is alone.
    pub incarnation: Uuid,
    /// Its log dir; all zero on a node that is alone.
    pub directory_id: Uuid,
    /// Where it is reached; none on a node that is alone.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Box<str>,
    /// The highest feature level that it understands.
    pub feature_level: u16,
    /// Which life of its quorum log it has.
    pub life: u32,
    /// The last of its epochs in which it was active, in that life, 0 for none: its log dir holds the
    /// metadata up to there and beyond.
    pub active_epoch: i64,
}

impl Default for BrokerImage {
    fn default() -> BrokerImage {
        BrokerImage {
            broker_epoch: 0,
            state: BrokerState::default(),
            incarnation: Uuid::ZERO,
            directory_id: Uuid::ZERO,
            endpoints: Vec::new(),
            rack: Box::default(),
            feature_level: FEATURE_LEVEL_MIN,
            life: 0,
            active_epoch: 0,
        }
    }
}

impl BrokerImage {
    /// Whether it is neither fenced nor on its way out.
    pub fn is_active(&self) -> bool {
        self.state == BrokerState::Active
    }

    /// Host and port of a listener.
    pub fn listener(&self, protocol: &str) -> Option<(&str, u16)> {
        let found = self.endpoints.iter().find(|endpoint| &*endpoint.protocol == protocol);
        found.map(|endpoint| (&*endpoint.host, endpoint.port))
    }
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
    feature_level: u16,
    brokers: BTreeMap<NodeId, BrokerImage>,
    topics: BTreeMap<TopicId, TopicImage>,
    names: BTreeMap<Box<str>, TopicId>,
    partition_count: usize,
    next_producer_id: i64,
    groups: BTreeMap<Box<str>, GroupConfigs>,
    broker_configs: BTreeMap<Option<NodeId>, BTreeMap<Box<str>, Box<str>>>,
    /// Who left, the last of them last.
    departed: Vec<VoterId>,
}

impl Image {
    /// Takes one change into account.
    pub fn replay(&mut self, change: &Change) {
        match change {
            Change::Cluster { cluster_id, feature_level } => {
                (self.cluster_id, self.feature_level) = (Some(*cluster_id), *feature_level);
            }
            Change::FeatureLevel { feature_level } => self.feature_level = *feature_level,
            Change::Broker { node_id, broker_epoch } => {
                let broker = self.brokers.entry(*node_id).or_default();
                (broker.broker_epoch, broker.state) = (*broker_epoch, BrokerState::Active);
                self.raise_epochs(*node_id);
            }
            Change::Topic { topic_id, name } => self.add_topic(*topic_id, name),
            Change::Partition { .. } => self.add_partition(change),
            Change::Config { topic_id, key, value } => {
                let topic = self.topics.get_mut(topic_id).expect("configured while it exists");
                set(&mut topic.configs, key, value.as_deref());
            }
            Change::RemoveTopic { topic_id } => {
                let topic = self.topics.remove(topic_id).expect("removed while it exists");
                self.names.remove(&topic.name);
                self.partition_count -= topic.partitions.len();
            }
            Change::ProducerIds { next_id } => self.next_producer_id = *next_id,
            Change::BrokerConfig { node_id, key, value } => {
                let broker = self.broker_configs.entry(*node_id).or_default();
                set(broker, key, value.as_deref());
                if broker.is_empty() {
                    self.broker_configs.remove(node_id);
                }
            }
            Change::GroupConfig { group_id, key, value } => {
                let group = self.groups.entry(group_id.clone()).or_default();
                set(&mut group.0, key, value.as_deref());
                if group.0.is_empty() {
                    self.groups.remove(group_id);
                }
            }
            Change::Registration { .. }
            | Change::BrokerState { .. }
            | Change::BrokerLevel { .. }
            | Change::RemoveBroker { .. } => self.change_broker(change),
            Change::PartitionChange { .. } => self.change_partition(change),
            Change::Replicas { topic_id, partition, replicas, adding, removing } => {
                let image = self.partition_mut(*topic_id, *partition);
                image.replicas = replicas.as_slice().into();
                image.adding = adding.as_slice().into();
                image.removing = removing.as_slice().into();
            }
            Change::Departed { node_id, life } => {
                self.departed.push(VoterId { node_id: *node_id, incarnation: *life });
                let excess = self.departed.len().saturating_sub(SITE_DEPARTED_MAX);
                self.departed.drain(..excess);
            }
        }
    }

    fn change_broker(&mut self, change: &Change) {
        match change {
            Change::Registration {
                node_id,
                broker_epoch,
                incarnation,
                directory_id,
                endpoints,
                rack,
                life,
                active_epoch,
            } => {
                let broker = BrokerImage {
                    broker_epoch: *broker_epoch,
                    state: BrokerState::Fenced,
                    incarnation: *incarnation,
                    directory_id: *directory_id,
                    endpoints: endpoints.clone(),
                    rack: rack.clone(),
                    feature_level: FEATURE_LEVEL_MIN,
                    life: *life,
                    active_epoch: *active_epoch,
                };
                self.brokers.insert(*node_id, broker);
            }
            Change::BrokerState { node_id, state } => {
                let broker = self.brokers.get_mut(node_id).expect("it is registered");
                broker.state = *state;
                if broker.is_active() {
                    broker.active_epoch = broker.broker_epoch;
                }
            }
            Change::BrokerLevel { node_id, feature_level } => {
                let broker = self.brokers.get_mut(node_id).expect("it is registered");
                broker.feature_level = *feature_level;
            }
            Change::RemoveBroker { node_id } => {
                self.brokers.remove(node_id).expect("it was registered");
            }
            _ => unreachable!("asked for no other change"),
        }
    }

    fn add_partition(&mut self, change: &Change) {
        let Change::Partition { topic_id, partition, replicas, leader, leader_epoch } = change
        else {
            unreachable!("asked for no other change");
        };
        let topic = self.topics.get_mut(topic_id).expect("a partition follows its topic");
        assert_eq!(partition.0 as usize, topic.partitions.len(), "numbers have no holes");
        topic.partitions.push(PartitionImage {
            replicas: replicas.as_slice().into(),
            leader: Some(*leader),
            leader_epoch: *leader_epoch,
            isr: replicas.as_slice().into(),
            elr: Box::default(),
            adding: Box::default(),
            removing: Box::default(),
            partition_epoch: 0,
        });
        self.partition_count += 1;
    }

    fn partition_mut(&mut self, topic_id: TopicId, partition: Partition) -> &mut PartitionImage {
        let topic = self.topics.get_mut(&topic_id).expect("changed while it exists");
        topic.partitions.get_mut(partition.0 as usize).expect("it exists")
    }

    fn change_partition(&mut self, change: &Change) {
        let Change::PartitionChange {
            topic_id,
            partition,
            leader,
            leader_epoch,
            isr,
            elr,
            partition_epoch,
        } = change
        else {
            unreachable!("asked for no other change");
        };
        let image = self.partition_mut(*topic_id, *partition);
        image.leader = *leader;
        image.leader_epoch = *leader_epoch;
        image.isr = isr.as_slice().into();
        image.elr = elr.as_slice().into();
        image.partition_epoch = *partition_epoch;
    }

    fn add_topic(&mut self, topic_id: TopicId, name: &TopicName) {
        let name: Box<str> = name.as_str().into();
        let topic = TopicImage { name: name.clone(), ..TopicImage::default() };
        assert!(self.topics.insert(topic_id, topic).is_none(), "topic ids are unique");
        assert!(self.names.insert(name, topic_id).is_none(), "topic names are unique");
    }

    fn raise_epochs(&mut self, node_id: NodeId) {
        let led = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        for partition in led.filter(|partition| partition.leader == Some(node_id)) {
            partition.leader_epoch =
                partition.leader_epoch.next().expect("a board does not boot 2^31 times");
            partition.partition_epoch += 1;
        }
    }

    /// The cluster's identity, once it has one.
    pub fn cluster_id(&self) -> Option<Uuid> {
        self.cluster_id
    }

    /// What the site's members agreed to write and say; 0 before there is a site.
    pub fn feature_level(&self) -> u16 {
        self.feature_level
    }

    /// The first producer id of the next block: no broker may give it out yet.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Incarnation of a broker, 0 when it never started.
    pub fn broker_epoch(&self, node_id: NodeId) -> i64 {
        self.brokers.get(&node_id).map_or(0, |broker| broker.broker_epoch)
    }

    /// A broker that belongs to the site.
    pub fn broker(&self, node_id: NodeId) -> Option<&BrokerImage> {
        self.brokers.get(&node_id)
    }

    /// All brokers, in the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &BrokerImage)> {
        self.brokers.iter().map(|(node_id, broker)| (*node_id, broker))
    }

    /// Whether a broker may lead.
    pub fn is_active(&self, node_id: NodeId) -> bool {
        self.brokers.get(&node_id).is_some_and(BrokerImage::is_active)
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
        let configs = self.broker_configs.get(&node_id).into_iter().flatten();
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
        let cluster = self
            .cluster_id
            .map(|cluster_id| Change::Cluster { cluster_id, feature_level: self.feature_level });
        changes.extend(cluster);
        for (&node_id, broker) in &self.brokers {
            changes.extend(changes_of_broker(node_id, broker));
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
                changes.extend(changes_of_partition(topic_id, number, partition));
            }
        }
        for (node_id, configs) in &self.broker_configs {
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
        let departed =
            |one: &VoterId| Change::Departed { node_id: one.node_id, life: one.incarnation };
        changes.extend(self.departed.iter().map(departed));
        changes
    }

    /// The changes that lead from this image to a later one of the same cluster: what the shards of
    /// a node are given that was sent a snapshot.
    pub fn changes_to(&self, later: &Image) -> Vec<Change> {
        let mut changes = Vec::new();
        for topic_id in self.topics.keys().filter(|id| !later.topics.contains_key(*id)) {
            changes.push(Change::RemoveTopic { topic_id: *topic_id });
        }
        for node_id in self.brokers.keys().filter(|id| !later.brokers.contains_key(*id)) {
            changes.push(Change::RemoveBroker { node_id: *node_id });
        }
        if self.cluster_id.is_some() && self.feature_level != later.feature_level {
            changes.push(Change::FeatureLevel { feature_level: later.feature_level });
        }
        let is_known = |change: &Change| self.has(change);
        changes.extend(later.as_changes().into_iter().filter(|change| !is_known(change)));
        changes.extend(self.settings_gone(later));
        for (topic_id, topic) in &later.topics {
            let Some(before) = self.topics.get(topic_id) else { continue };
            for key in before.configs.keys().filter(|key| !topic.configs.contains_key(*key)) {
                let (topic_id, key) = (*topic_id, key.clone());
                changes.push(Change::Config { topic_id, key, value: None });
            }
            for (number, (old, new)) in before.partitions.iter().zip(&topic.partitions).enumerate()
            {
                let partition = Partition(number as i32);
                if !new.lives_as(old) {
                    changes.push(new.placement(*topic_id, partition));
                }
                // A partition that stands as it was made needs no change of its own, save here.
                if old != new && new.partition_epoch == 0 {
                    changes.push(new.to_change(*topic_id, partition));
                }
            }
        }
        changes
    }

    /// What brokers and groups had set that a later image does not have.
    fn settings_gone(&self, later: &Image) -> Vec<Change> {
        let mut gone = Vec::new();
        for (node_id, configs) in &self.broker_configs {
            let left = later.broker_configs.get(node_id);
            let is_gone = |key: &str| left.is_none_or(|left| !left.contains_key(key));
            gone.extend(configs.keys().filter(|key| is_gone(key)).map(|key| {
                Change::BrokerConfig { node_id: *node_id, key: key.clone(), value: None }
            }));
        }
        for (group_id, configs) in &self.groups {
            let left = later.groups.get(group_id);
            let is_gone = |key: &str| left.is_none_or(|left| !left.0.contains_key(key));
            gone.extend(configs.0.keys().filter(|key| is_gone(key)).map(|key| {
                Change::GroupConfig { group_id: group_id.clone(), key: key.clone(), value: None }
            }));
        }
        gone
    }

    /// Whether a change of [`Image::as_changes`] is in force here, or has been made.
    fn has(&self, change: &Change) -> bool {
        match change {
            Change::Cluster { .. } => self.cluster_id.is_some(),
            Change::Broker { node_id, broker_epoch } => {
                self.broker(*node_id).is_some_and(|broker| broker.broker_epoch == *broker_epoch)
            }
            Change::Registration { node_id, broker_epoch, active_epoch, .. } => {
                let epochs = |broker: &BrokerImage| (broker.broker_epoch, broker.active_epoch);
                self.broker(*node_id).map(epochs) == Some((*broker_epoch, *active_epoch))
            }
            Change::Topic { topic_id, .. } => self.topics.contains_key(topic_id),
            // Where it differs is said apart.
            Change::Partition { topic_id, partition, .. }
            | Change::Replicas { topic_id, partition, .. } => {
                let topic = self.topics.get(topic_id);
                topic.is_some_and(|topic| (partition.0 as usize) < topic.partitions.len())
            }
            Change::Config { topic_id, key, value } => {
                let topic = self.topics.get(topic_id);
                topic.is_some_and(|topic| topic.configs.get(key) == value.as_ref())
            }
            Change::PartitionChange { topic_id, partition, partition_epoch, .. } => {
                let topic = self.topics.get(topic_id);
                let known = topic.and_then(|topic| topic.partitions.get(partition.0 as usize));
                known.is_some_and(|known| known.partition_epoch == *partition_epoch)
            }
            Change::ProducerIds { next_id } => self.next_producer_id == *next_id,
            Change::BrokerConfig { node_id, key, value } => {
                let configs = self.broker_configs.get(node_id);
                configs.and_then(|configs| configs.get(key)) == value.as_ref()
            }
            Change::GroupConfig { group_id, key, value } => {
                let configs = self.groups.get(group_id);
                configs.and_then(|configs| configs.0.get(key)) == value.as_ref()
            }
            Change::FeatureLevel { feature_level } => self.feature_level == *feature_level,
            Change::Departed { node_id, life } => {
                self.departed.contains(&VoterId { node_id: *node_id, incarnation: *life })
            }
            Change::BrokerState { .. }
            | Change::BrokerLevel { .. }
            | Change::RemoveBroker { .. }
            | Change::RemoveTopic { .. } => false,
        }
    }

    /// Lives of nodes that left the site for good.
    pub fn departed(&self) -> &[VoterId] {
        &self.departed
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

/// Sets a key, or takes it back.
fn set(configs: &mut BTreeMap<Box<str>, Box<str>>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => configs.insert(key.into(), value.into()),
        None => configs.remove(key),
    };
}

fn changes_of_broker(node_id: NodeId, broker: &BrokerImage) -> Vec<Change> {
    let BrokerImage { broker_epoch, state, incarnation, directory_id, .. } = broker;
    let (broker_epoch, state) = (*broker_epoch, *state);
    // A node that is alone does not register.
    if *incarnation == Uuid::ZERO {
        return vec![Change::Broker { node_id, broker_epoch }];
    }
    let mut changes = vec![
        Change::Registration {
            node_id,
            broker_epoch,
            incarnation: *incarnation,
            directory_id: *directory_id,
            endpoints: broker.endpoints.clone(),
            rack: broker.rack.clone(),
            life: broker.life,
            active_epoch: broker.active_epoch,
        },
        Change::BrokerState { node_id, state },
    ];
    if broker.feature_level != FEATURE_LEVEL_MIN {
        changes.push(Change::BrokerLevel { node_id, feature_level: broker.feature_level });
    }
    changes
}

fn changes_of_partition(
    topic_id: TopicId,
    number: usize,
    image: &PartitionImage,
) -> impl Iterator<Item = Change> {
    let partition = Partition(number as i32);
    let first = image.replicas.first().copied().unwrap_or_default();
    let made = Change::Partition {
        topic_id,
        partition,
        replicas: image.replicas.to_vec(),
        leader: image.leader.unwrap_or(first),
        leader_epoch: image.leader_epoch,
    };
    let is_as_made =
        image.leader.is_some() && image.isr == image.replicas && image.partition_epoch == 0;
    let moves = image.is_moving().then(|| image.placement(topic_id, partition));
    let since = (!is_as_made).then(|| image.to_change(topic_id, partition));
    std::iter::once(made).chain(moves).chain(since)
}

#[cfg(test)]
mod tests;
