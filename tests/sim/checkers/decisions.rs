//! R5, R9 and Q6: what the controllers decide. A version of a partition's state says the same on
//! every node; a leader is chosen from the in-sync replicas, or from those that were the last.

use std::collections::{BTreeMap, BTreeSet};

use odradek::controller::change::Change;
use odradek::ids::{NodeId, TopicId, TopicPartition};

use super::rules::{q6, r5, r8, r9};
use super::{Place, Verdict};

/// The newest that is known of a partition.
#[derive(Clone, Debug)]
pub struct Decided {
    pub leader: Option<NodeId>,
    pub leader_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub elr: Vec<NodeId>,
    pub partition_epoch: i32,
}

/// See the module.
#[derive(Default)]
pub struct Decisions {
    pub partitions: BTreeMap<TopicPartition, Decided>,
    versions: BTreeMap<(TopicPartition, i32), Change>,
    /// Where a partition lives by what a node was told last; the version comes right behind.
    placed: BTreeMap<(i32, TopicPartition), Vec<NodeId>>,
    /// Who was registered, as which incarnation.
    registrations: BTreeSet<(NodeId, i64)>,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicId>,
    pub elections: u64,
}

impl Decisions {
    /// Who is in sync, as the controller says.
    pub fn isr(&self, topic_partition: TopicPartition) -> &[NodeId] {
        self.partitions.get(&topic_partition).map_or(&[], |decided| &decided.isr)
    }

    /// Where it lives.
    pub fn replicas(&self, topic_partition: TopicPartition) -> &[NodeId] {
        self.partitions.get(&topic_partition).map_or(&[], |decided| &decided.replicas)
    }

    /// The name of a partition's topic.
    pub fn name(&self, topic_partition: TopicPartition) -> Option<&str> {
        let named = self.topics.iter().find(|(_, id)| **id == topic_partition.topic_id);
        named.map(|(name, _)| name.as_str())
    }

    /// A partition's state, for the trace.
    pub fn words(&self, topic_partition: TopicPartition) -> String {
        let decided = &self.partitions[&topic_partition];
        let name = self.name(topic_partition).unwrap_or("?");
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
        format!(
            "decided: {name}-{} on {:?}, version {}: led by {} in epoch {}, in sync {:?}, were last {:?}",
            topic_partition.partition,
            numbers(&decided.replicas),
            decided.partition_epoch,
            decided.leader.map_or(-1, |leader| leader.0),
            decided.leader_epoch,
            numbers(&decided.isr),
            numbers(&decided.elr),
        )
    }

    /// Whether everybody else has what a node may lose.
    pub fn can_lose(&self, node: i32) -> bool {
        let node = NodeId(node);
        self.partitions.values().all(|one| {
            let others = one.isr.iter().chain(&one.elr).filter(|other| **other != node);
            0 < others.count()
        })
    }

    /// What a process led before it was registered, if it is news that it is: its place, and in which
    /// epoch.
    pub fn registered(&mut self, change: &Change) -> Vec<(Place, i32)> {
        let Change::Registration { node_id, broker_epoch, .. } = change else { return Vec::new() };
        if !self.registrations.insert((*node_id, *broker_epoch)) {
            return Vec::new();
        }
        let led = self.partitions.iter().filter(|(_, one)| one.leader == Some(*node_id));
        let place = |at: &TopicPartition| Place { node: node_id.0, topic_partition: *at };
        led.map(|(at, one)| (place(at), one.leader_epoch)).collect()
    }

    /// Takes a change that a node was told; answers the partition that is not what it was.
    pub fn take(
        &mut self,
        node: i32,
        change: &Change,
        verdict: &mut Verdict,
    ) -> Option<TopicPartition> {
        match change {
            Change::Topic { topic_id, name } => {
                self.topics.insert(name.as_str().to_owned(), *topic_id);
                None
            }
            Change::Partition { topic_id, partition, replicas, leader, leader_epoch } => {
                let topic_partition = TopicPartition { topic_id: *topic_id, partition: *partition };
                self.partitions.entry(topic_partition).or_insert(Decided {
                    leader: Some(*leader),
                    leader_epoch: leader_epoch.0,
                    replicas: replicas.clone(),
                    isr: replicas.clone(),
                    elr: Vec::new(),
                    partition_epoch: 0,
                });
                None
            }
            Change::Replicas { topic_id, partition, replicas, .. } => {
                let topic_partition = TopicPartition { topic_id: *topic_id, partition: *partition };
                self.placed.insert((node, topic_partition), replicas.clone());
                None
            }
            Change::PartitionChange { topic_id, partition, .. } => {
                let topic_partition = TopicPartition { topic_id: *topic_id, partition: *partition };
                self.change(node, topic_partition, change, verdict)
            }
            Change::RemoveTopic { topic_id } => {
                q6::removed(verdict, *topic_id);
                self.partitions.retain(|place, _| place.topic_id != *topic_id);
                None
            }
            _ => None,
        }
    }

    fn change(
        &mut self,
        node: i32,
        topic_partition: TopicPartition,
        change: &Change,
        verdict: &mut Verdict,
    ) -> Option<TopicPartition> {
        let Change::PartitionChange { leader, leader_epoch, isr, elr, partition_epoch, .. } =
            change
        else {
            return None;
        };
        let placed = self.placed.remove(&(node, topic_partition));
        let key = (topic_partition, *partition_epoch);
        let known = self.versions.entry(key).or_insert_with(|| change.clone());
        r5::same_version(verdict, node, change, known);
        let before = self.partitions.get_mut(&topic_partition)?;
        if *partition_epoch <= before.partition_epoch {
            return None;
        }
        let is_next = *partition_epoch == before.partition_epoch + 1;
        if let Some(new) = leader.filter(|_| before.leader != *leader) {
            self.elections += 1;
            if is_next {
                let goes = |old: NodeId| placed.as_ref().is_some_and(|now| !now.contains(&old));
                let ends_a_move = isr.contains(&new) && before.leader.is_some_and(goes);
                r9::elected(verdict, topic_partition, (new, ends_a_move), before);
            }
        }
        r5::epoch_rises(verdict, topic_partition, before, (*leader, leader_epoch.0));
        r8::somebody_is_left(verdict, topic_partition, &before.isr, isr.len() + elr.len());
        before.replicas = placed.unwrap_or_else(|| std::mem::take(&mut before.replicas));
        before.leader = *leader;
        before.leader_epoch = leader_epoch.0;
        before.isr.clone_from(isr);
        before.elr.clone_from(elr);
        before.partition_epoch = *partition_epoch;
        Some(topic_partition)
    }
}
