//! Assignors: who is to have which partitions.
//!
//! `uniform` gives every member equally many, and each as many of those it had as that allows;
//! `range` gives every member a range of each topic, the same of all topics that are alike, so that
//! what belongs together in several topics meets in one member.
//!
//! Both give every partition of a topic that somebody reads to one member that reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::partitions::PartitionSet;
use super::{range, uniform};
use crate::ids::TopicId;

/// How partitions are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Every member gets equally many.
    Uniform,
    /// Every member gets a range of each topic.
    Range,
}

/// A member to assign to.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// The topics it reads, among those that exist.
    pub topics: BTreeSet<TopicId>,
    /// What it was assigned before.
    pub held: &'a PartitionSet,
}

impl Assignor {
    /// All, the default first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Its name, which is Kafka's.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name.
    pub fn parse(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each of the members is to have, in their order; `topics` says how many partitions each
    /// topic has.
    pub(super) fn assign(
        self,
        members: &[Candidate<'_>],
        topics: &BTreeMap<TopicId, i32>,
    ) -> Vec<PartitionSet> {
        match self {
            Assignor::Uniform => uniform::assign(members, topics),
            Assignor::Range => range::assign(members, topics),
        }
    }
}

/// Who reads each topic, by their places in `members`.
pub(super) fn readers(members: &[Candidate<'_>]) -> BTreeMap<TopicId, Vec<usize>> {
    let mut readers = BTreeMap::<TopicId, Vec<usize>>::new();
    for (place, member) in members.iter().enumerate() {
        for topic_id in &member.topics {
            readers.entry(*topic_id).or_default().push(place);
        }
    }
    readers
}

#[cfg(test)]
#[path = "assignors_tests.rs"]
mod tests;
