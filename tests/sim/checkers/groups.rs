//! G1 to G3, G5 and G6: who owns what, who bears a name, and what was committed.

use std::collections::{BTreeMap, BTreeSet};

use odradek::ids::TopicPartition;
use odradek::journal::Entry;
use odradek::record::Batch;
use odradek::wire::kafka::group_records::{GroupKey, OffsetCommitValue};

use super::Verdict;
use super::history::Lane;
use super::rules::{g1, g2, g3, g5, g6};
use crate::sim_disk::SimFile;

/// Of what a record of an offset tells: group, topic and partition.
type Of = (String, String, i32);

/// A batch: its partition, offset and epoch.
type Where = (TopicPartition, i64, i32);

/// See the module.
#[derive(Default)]
pub struct Groups {
    /// What each group was told is committed: generation and offset.
    committed: BTreeMap<(u8, Lane), (i32, i64)>,
    /// Who was given a partition in a generation.
    owners: BTreeMap<(u8, i32, Lane), u32>,
    pub commits: u64,
    /// Offsets that a batch of the groups' own topic takes down.
    written: BTreeMap<Where, Vec<(Of, Option<i64>)>>,
    /// What the log says, so far as it is committed.
    log: BTreeMap<Of, i64>,
    /// Who was the last to be served under an instance id.
    bearers: BTreeMap<(u8, String), String>,
    /// Members whose place another has taken.
    replaced: BTreeSet<String>,
    /// The last leadership, node and epoch, whose coordinator is known to have loaded.
    pub serving: Option<(i32, i32)>,
}

/// What is known of a static member when it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearing {
    bearer: Option<String>,
    is_replaced: bool,
}

impl Groups {
    /// A member was given a partition.
    pub fn assigned(
        &mut self,
        group: u8,
        generation: i32,
        lane: Lane,
        member: u32,
        verdict: &mut Verdict,
    ) {
        let owner = *self.owners.entry((group, generation, lane)).or_insert(member);
        g1::one_owner(verdict, (lane, generation), (member, owner));
    }

    /// A commit was answered that was sent when `newest` was the newest generation of which one
    /// was.
    pub fn committed(
        &mut self,
        group: u8,
        (generation, newest): (i32, i32),
        lane: Lane,
        offset: i64,
        verdict: &mut Verdict,
    ) {
        self.commits += 1;
        g2::is_newest(verdict, (lane, offset), (generation, newest));
        let known = self.committed.entry((group, lane)).or_insert((generation, offset));
        *known = (known.0.max(generation), known.1.max(offset));
    }

    /// The newest generation of which a commit was answered.
    pub fn newest(&self, group: u8, lane: Lane) -> i32 {
        self.committed.get(&(group, lane)).map_or(-1, |known| known.0)
    }

    /// A member was told what is committed; it asked when `least` was.
    pub fn fetched(lane: Lane, least: i64, offset: i64, verdict: &mut Verdict) {
        g6::not_behind(verdict, lane, least, offset);
    }

    /// What a group was last told is committed.
    pub fn committed_offset(&self, group: u8, lane: Lane) -> i64 {
        self.committed.get(&(group, lane)).map_or(-1, |known| known.1)
    }

    /// A member asks for something.
    pub fn bearing(&self, group: u8, instance: &str, member_id: &str) -> Bearing {
        Bearing {
            bearer: self.bearers.get(&(group, instance.to_owned())).cloned(),
            is_replaced: self.replaced.contains(member_id),
        }
    }

    /// A static member is answered as one of its group; `has_share` is whether it was told its share.
    pub fn served(
        &mut self,
        (group, instance, member_id): (u8, &str, &str),
        asked: &Bearing,
        has_share: bool,
        verdict: &mut Verdict,
    ) {
        g5::is_not_replaced(verdict, (member_id, instance), asked.is_replaced);
        let key = (group, instance.to_owned());
        let bearer = self.bearers.get(&key).cloned();
        // Of two that asked at the same time nobody knows who was the later one.
        if !has_share || bearer != asked.bearer || bearer.as_deref() == Some(member_id) {
            return;
        }
        self.replaced.extend(bearer);
        self.bearers.insert(key, member_id.to_owned());
    }

    /// A batch is written to the groups' topic, on some node.
    pub fn persist(&mut self, entry: &Entry<SimFile>) {
        let Entry::Append { topic_partition, leader_epoch, base_offset, bytes, .. } = entry else {
            return;
        };
        let Ok((batch, _)) = Batch::split_first(bytes) else { return };
        let mut told = Vec::new();
        for record in batch.records().flatten() {
            let Some(Ok(GroupKey::Offset(key))) = record.key.map(GroupKey::decode) else {
                continue;
            };
            let value = record.value.and_then(|value| OffsetCommitValue::decode(value).ok());
            let of = (key.group.to_owned(), key.topic.to_owned(), key.partition.0);
            told.push((of, value.map(|value| value.offset.0)));
        }
        self.written.insert((*topic_partition, base_offset.0, leader_epoch.0), told);
    }

    /// A batch of the groups' topic is committed.
    pub fn log_committed(&mut self, place: Where, verdict: &mut Verdict) {
        for (of, offset) in self.written.remove(&place).unwrap_or_default() {
            let before = self.log.get(&of).copied().unwrap_or(-1);
            g3::rises(verdict, &of, before, offset);
            self.log.insert(of, offset.unwrap_or(-1));
        }
    }
}
