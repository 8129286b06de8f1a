//! A change to a consumer group on its way into records: the group as it is, and what differs.
//!
//! The group itself does not change until the records are replayed, so that a failed append leaves
//! nothing behind. Steps are taken from the top layer to the lowest: members, then
//! [`Draft::refresh`], [`Draft::assign`], [`Draft::reconcile`].
//!
//! **Invariant:** the group's epoch is the first record and that of the target follows all targets:
//! where a change takes several batches and only the first are durable, the target is made again.

use std::collections::{BTreeMap, BTreeSet};

use super::assignors::{Assignor, Candidate};
use super::member::{Member, Said};
use super::partitions::PartitionSet;
use super::reconcile::Target;
use super::{ConsumerGroup, expressions, records};
use crate::group::topics::Topics;
use crate::group::writes::Record;
use crate::ids::TopicId;
use crate::time::Timestamp;

/// See the module.
pub(super) struct Draft<'a> {
    group: &'a ConsumerGroup,
    topics: &'a Topics,
    /// Members that differ; `None` for those that are gone.
    members: BTreeMap<Box<str>, Option<Member>>,
    targets: BTreeMap<Box<str>, PartitionSet>,
    /// What expressions stand for, if it differs; `None` for those nobody uses.
    resolved: BTreeMap<Box<str>, Option<BTreeSet<Box<str>>>>,
    epoch: i32,
    target_epoch: i32,
    records: Vec<Record>,
}

impl<'a> Draft<'a> {
    pub fn new(group: &'a ConsumerGroup, topics: &'a Topics) -> Draft<'a> {
        Draft {
            group,
            topics,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            resolved: BTreeMap::new(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            records: Vec::new(),
        }
    }

    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    pub fn member(&self, member_id: &str) -> Option<&Member> {
        match self.members.get(member_id) {
            Some(changed) => changed.as_ref(),
            None => self.group.members.get(member_id),
        }
    }

    /// All members, ascending by id.
    fn members(&self) -> BTreeMap<&str, &Member> {
        let kept = self.group.members.iter();
        let kept = kept.filter(|(member_id, _)| !self.members.contains_key(*member_id));
        let kept = kept.map(|(member_id, member)| (&**member_id, member));
        let changed = self.members.iter();
        let changed = changed.filter_map(|(id, member)| Some((&**id, member.as_ref()?)));
        kept.chain(changed).collect()
    }

    fn target(&self, member_id: &str) -> Option<&PartitionSet> {
        self.targets.get(member_id).or_else(|| self.group.target(member_id))
    }

    fn resolved(&self, expression: &str) -> Option<&BTreeSet<Box<str>>> {
        match self.resolved.get(expression) {
            Some(changed) => changed.as_ref(),
            None => self.group.resolved.get(expression),
        }
    }

    /// A member says this; it is new if it was none.
    pub fn say(&mut self, member_id: &str, said: Said) {
        let mut member = self.member(member_id).cloned().unwrap_or_default();
        let is_known = self.member(member_id).is_some();
        if is_known && member.said == said {
            return;
        }
        self.records.push(records::said(&self.group.id, member_id, Some(&said)));
        member.said = said;
        self.members.insert(member_id.into(), Some(member));
    }

    /// A static member is another process now: it has what the one before it had, and joins.
    pub fn replace(&mut self, old_id: &str, member_id: &str, said: Said) {
        let Some(mut member) = self.member(old_id).cloned() else { return };
        let target = self.target(old_id).cloned();
        if old_id != member_id {
            self.remove(old_id);
        }
        self.records.push(records::said(&self.group.id, member_id, Some(&said)));
        if let Some(target) = target {
            self.records.push(records::target(&self.group.id, member_id, Some(&target)));
            self.targets.insert(member_id.into(), target);
        }
        member.said = said;
        member.current.epoch = 0;
        member.current.previous_epoch = 0;
        self.records.push(records::current(&self.group.id, member_id, Some(&member.current)));
        self.members.insert(member_id.into(), Some(member));
    }

    /// A static member is away for a while: it keeps what it has, but holds nothing.
    pub fn suspend(&mut self, member_id: &str, epoch: i32) {
        let Some(mut member) = self.member(member_id).cloned() else { return };
        member.current.epoch = epoch;
        member.current.revoking = PartitionSet::default();
        self.records.push(records::current(&self.group.id, member_id, Some(&member.current)));
        self.members.insert(member_id.into(), Some(member));
    }

    /// A member is gone, and what it had is free.
    pub fn remove(&mut self, member_id: &str) {
        if self.member(member_id).is_none() {
            return;
        }
        let group = &self.group.id;
        self.records.push(records::current(group, member_id, None));
        if self.group.target(member_id).is_some() {
            self.records.push(records::target(group, member_id, None));
        }
        self.records.push(records::said(group, member_id, None));
        self.members.insert(member_id.into(), None);
        self.targets.remove(member_id);
    }

    /// Sees to it that the group's epoch is that of its members, their subscriptions and the
    /// topics; `has_changed` if it is known to be another.
    pub fn refresh(&mut self, now: Timestamp, has_changed: bool) {
        if !has_changed && !self.group.is_refresh_due {
            return;
        }
        self.resolve(now);
        let hash = self.metadata_hash();
        if !has_changed && hash == self.group.metadata_hash {
            return;
        }
        self.epoch = self.epoch.saturating_add(1);
        self.records.insert(0, records::epoch(&self.group.id, self.epoch, hash));
    }

    /// Sees to it that exactly the members' expressions are resolved.
    fn resolve(&mut self, now: Timestamp) {
        let used: BTreeSet<Box<str>> =
            self.members().values().filter_map(|member| member.said.expression.clone()).collect();
        for expression in &used {
            let known = self.group.resolved.get(expression);
            if known.is_some() && !self.group.is_refresh_due {
                continue;
            }
            let topics = expressions::resolve(expression, self.topics);
            if known != Some(&topics) {
                let record = records::expression(&self.group.id, expression, Some(&topics), now.0);
                self.records.push(record);
                self.resolved.insert(expression.clone(), Some(topics));
            }
        }
        for unused in self.group.resolved.keys().filter(|known| !used.contains(*known)) {
            self.records.push(records::expression(&self.group.id, unused, None, 0));
            self.resolved.insert(unused.clone(), None);
        }
    }

    /// The topics that a member reads, by name, whether they exist or not.
    fn topics_of<'b>(&'b self, said: &'b Said) -> impl Iterator<Item = &'b str> {
        let expression = said.expression.as_deref();
        let matched = expression.and_then(|expression| self.resolved(expression));
        said.topics.iter().chain(matched.into_iter().flatten()).map(|name| &**name)
    }

    /// A number that differs when the topics do that the members read.
    fn metadata_hash(&self) -> u64 {
        let members = self.members();
        let names: BTreeSet<&str> =
            members.values().flat_map(|member| self.topics_of(&member.said)).collect();
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for name in names {
            let Some(topic) = self.topics.find(name) else { continue };
            add(name.as_bytes());
            add(&topic.id.0.0);
            add(&topic.partition_count.to_be_bytes());
        }
        hash
    }

    /// Makes the target assignment if that of this epoch is not made.
    pub fn assign(&mut self, assignors: &[Assignor]) {
        if self.epoch <= self.target_epoch {
            return;
        }
        let (ids, targets) = self.make_targets(assignors);
        for (member_id, target) in ids.into_iter().zip(targets) {
            if self.target(&member_id) != Some(&target) {
                self.records.push(records::target(&self.group.id, &member_id, Some(&target)));
                self.targets.insert(member_id, target);
            }
        }
        self.target_epoch = self.epoch;
        self.records.push(records::target_epoch(&self.group.id, self.epoch));
    }

    fn make_targets(&self, assignors: &[Assignor]) -> (Vec<Box<str>>, Vec<PartitionSet>) {
        let nothing = PartitionSet::default();
        let members = self.members();
        let mut counts = BTreeMap::<TopicId, i32>::new();
        let mut candidates = Vec::with_capacity(members.len());
        for (member_id, member) in &members {
            let topics = self.topics_of(&member.said).filter_map(|name| self.topics.find(name));
            let topics: BTreeMap<TopicId, i32> =
                topics.map(|topic| (topic.id, topic.partition_count)).collect();
            counts.extend(&topics);
            candidates.push(Candidate {
                member_id,
                instance_id: member.said.instance_id.as_deref(),
                topics: topics.into_keys().collect(),
                held: self.target(member_id).unwrap_or(&nothing),
            });
        }
        let targets = preferred(members.values().map(|member| &member.said), assignors);
        let targets = targets.assign(&candidates, &counts);
        (members.into_keys().map(Into::into).collect(), targets)
    }

    /// Takes a member a step towards its target; answers whether there was one to take.
    pub fn reconcile(&mut self, member_id: &str, owned: Option<&PartitionSet>) -> bool {
        let nothing = PartitionSet::default();
        let Some(member) = self.member(member_id) else { return false };
        let partitions = self.target(member_id).unwrap_or(&nothing);
        let target = Target { epoch: self.target_epoch, partitions };
        // Nobody else is removed in a draft that reconciles, so what is held is as the group has it.
        let is_held = |topic_partition: &_| self.group.held.contains_key(topic_partition);
        let Some(next) = member.current.next(target, owned, is_held) else { return false };
        let mut member = member.clone();
        self.records.push(records::current(&self.group.id, member_id, Some(&next)));
        member.current = next;
        self.members.insert(member_id.into(), Some(member));
        true
    }
}

/// The assignor that most members want; of several the first that is served.
pub(super) fn preferred<'a>(
    members: impl Iterator<Item = &'a Said>,
    assignors: &[Assignor],
) -> Assignor {
    let mut votes = BTreeMap::<&str, usize>::new();
    for name in members.filter_map(|said| said.assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    let count = |assignor: &&Assignor| votes.get(assignor.name()).copied().unwrap_or(0);
    // The last of several that are equal is the most, so the list is read from its end.
    assignors.iter().rev().max_by_key(count).copied().unwrap_or(Assignor::ALL[0])
}
