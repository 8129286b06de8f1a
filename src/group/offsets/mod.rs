//! The offsets that groups have committed (semantics.md 2.20).
//!
//! What is here is what the log says: it changes by [`Coordinator::replay_offset`] alone.

mod commit;
mod expire;
mod fetch;

use std::collections::BTreeMap;

pub(super) use expire::{Idle, Retention};

use super::Coordinator;
use super::writes::Record;
use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::time::Timestamp;
use crate::wire::kafka::group_records::{OffsetCommitKey, OffsetCommitValue};

/// What an offset takes beside its metadata, roughly.
const OFFSET_BYTES: usize = 128;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Box<str>,
    /// When it was committed, by the wall clock.
    pub at: Timestamp,
    /// When it expires, if whoever committed it said so.
    pub expires_at: Option<Timestamp>,
    /// Where its record stands in the log: of two, the later counts.
    pub log_offset: Offset,
}

impl Committed {
    pub fn of(
        value: &OffsetCommitValue<'_>,
        log_offset: Offset,
        _timestamp: Timestamp,
    ) -> Committed {
        let expires_at = Timestamp(value.expire_timestamp);
        Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.into(),
            at: Timestamp(value.commit_timestamp),
            expires_at: Some(expires_at).filter(|at| Timestamp::NONE < *at),
            log_offset,
        }
    }

    /// What keeping it takes.
    pub fn cost(&self) -> usize {
        OFFSET_BYTES + self.metadata.len()
    }
}

/// The offsets of one group, by topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    topics: BTreeMap<Box<str>, BTreeMap<Partition, Committed>>,
    count: usize,
}

impl Offsets {
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn find(&self, topic: &str, partition: Partition) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    /// All of them, ascending by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Partition, &Committed)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            let named = partitions.iter();
            named.map(move |(partition, committed)| (&**topic, *partition, committed))
        })
    }

    /// Those of one topic.
    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = Partition> + use<'_> {
        self.topics.get(topic).into_iter().flat_map(|partitions| partitions.keys().copied())
    }

    /// Puts one in or takes it out; answers what was there.
    fn set(
        &mut self,
        topic: &str,
        partition: Partition,
        committed: Option<Committed>,
    ) -> Option<Committed> {
        let Some(committed) = committed else {
            let partitions = self.topics.get_mut(topic)?;
            let before = partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
            self.count -= usize::from(before.is_some());
            return before;
        };
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), BTreeMap::new());
        }
        let partitions = self.topics.get_mut(topic).expect("it was put in if it was not there");
        let before = partitions.insert(partition, committed);
        self.count += usize::from(before.is_none());
        before
    }
}

/// The record that forgets an offset.
pub(super) fn tombstone(group: &str, topic: &str, partition: Partition) -> Record {
    Record { key: OffsetCommitKey { group, topic, partition }.encode(), value: None }
}

impl Coordinator {
    /// Takes the record of an offset into account.
    pub(super) fn replay_offset(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: Partition,
        committed: Option<Committed>,
    ) {
        let cost = committed.as_ref().map_or(0, Committed::cost);
        let before = if committed.is_some() {
            let group = self.group_or_new(group_id);
            group.offsets.set(topic, partition, committed)
        } else {
            let Some(group) = self.groups.get_mut(group_id) else { return };
            group.offsets.set(topic, partition, None)
        };
        self.context.state_bytes += cost;
        self.context.state_bytes -= before.as_ref().map_or(0, Committed::cost);
        if cost == 0 {
            self.forget_if_vain(group_id);
        }
    }
}
