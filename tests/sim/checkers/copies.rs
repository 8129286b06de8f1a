//! R2, R3, R6, R7, I8 and S1: what each node has of each partition, as it handed it to its flusher, and
//! what of that is on stable storage. Of a topic whose acks do not wait for storage no batch goes to the
//! flusher: its log is looked at.
//!
//! - Batches of the same epoch and offset are the same bytes everywhere (R7; for the metadata, log
//!   matching).
//! - Nothing that is committed is cut off (R6), unless it was damaged there.
//! - A node that starts has everything that was on its stable storage (S1).

use std::collections::{BTreeMap, BTreeSet};

use odradek::broker::control::METADATA;
use odradek::ids::{NodeId, Offset, TopicPartition};
use odradek::journal::{Entry, SmallState};
use odradek::log::Log;
use odradek::record::crc::crc32c;
use odradek::replica::Replica;

use super::rules::{i8, r2, r3, r6, r7, r8, s1};
use super::{Batch, Batches, Place, Verdict};
use crate::sim::event::Life;
use crate::sim::node::{Found, FoundLog, read_from};
use crate::sim_disk::{SimDisk, SimFile};

/// One node's copy of a partition.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub batches: Batches,
    /// Its end, which may lie behind its last batch where it begins anew.
    pub end: i64,
    /// End of what is on stable storage.
    pub durable: i64,
}

/// All of them.
#[derive(Default)]
pub struct Copies {
    pub all: BTreeMap<Place, Copy>,
    /// What each epoch has at an offset.
    seen: BTreeMap<(TopicPartition, i32, i64), u32>,
    /// Partitions whose acks do not wait for storage.
    weak: BTreeSet<TopicPartition>,
    /// Copies that were damaged on purpose.
    pub damaged: BTreeMap<Place, Damaged>,
}

/// A copy that was damaged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Damaged {
    /// Whether a process that started on it belongs to the site: until then it may be put in or out for
    /// what its node was before.
    is_told: bool,
    /// Whether it has left the in-sync replicas since.
    has_left: bool,
    /// Of a topic whose acks do not wait for storage, a copy that calls itself unsound and has it all.
    has_all: bool,
    /// The life that started on it.
    pub life: u64,
    /// A batch that rotted in a segment which a start does not read: the scrub is to find it.
    pub rot: Option<i64>,
}

impl Copies {
    /// A node's copy.
    pub fn copy(&self, node: i32, topic_partition: TopicPartition) -> Option<&Copy> {
        self.all.get(&Place { node, topic_partition })
    }

    /// How far a copy counts as acknowledged.
    pub fn acked(&self, place: Place) -> i64 {
        let is_weak = self.weak.contains(&place.topic_partition);
        self.all.get(&place).map_or(0, |copy| if is_weak { copy.end } else { copy.durable })
    }

    /// Takes in what was appended to a log without the flusher's being told.
    pub fn look(
        &mut self,
        node: i32,
        log: &Log<SimDisk>,
        replica: &Replica<SimDisk>,
        verdict: &mut Verdict,
    ) {
        let topic_partition = log.topic_partition();
        if log.config().acks_durable {
            return;
        }
        self.weak.insert(topic_partition);
        let place = Place { node, topic_partition };
        let end = self.all.get(&place).map_or(0, |copy| copy.end);
        // What is to be cut off was taken off here already.
        if replica.is_cutting() || log.end_offset().0 <= end {
            return;
        }
        for (base, batch) in read_from(log, log.start_offset().max(Offset(end))).0 {
            self.append(place, base, batch, verdict);
        }
    }

    /// Whether the power would take nothing from a node of what it counts as acknowledged.
    pub fn is_flushed(&self, node: i32) -> bool {
        let of_node = self.all.iter().filter(|(place, _)| place.node == node);
        let mut weak = of_node.filter(|(place, _)| self.weak.contains(&place.topic_partition));
        weak.all(|(_, copy)| copy.end <= copy.durable)
    }

    /// The power of a node goes: what was not flushed may be gone.
    pub fn weaken(&mut self, node: i32) {
        let loose = self.all.iter().filter(|(place, copy)| {
            let is_weak = self.weak.contains(&place.topic_partition);
            place.node == node && is_weak && copy.durable < copy.end
        });
        for (place, _) in loose {
            self.damaged.entry(*place).or_default();
        }
    }

    /// Whether a copy of a topic whose acks do not wait for storage is not what it was.
    pub fn has_weakened(&self) -> bool {
        self.damaged.keys().any(|place| self.weak.contains(&place.topic_partition))
    }

    /// Whether nothing is damaged, or only on this node.
    pub fn is_whole_but(&self, node: i32) -> bool {
        self.damaged.keys().all(|place| place.node == node)
    }

    /// Whether no copy of a partition goes beyond an offset.
    pub fn is_behind(&self, topic_partition: TopicPartition, end: i64) -> bool {
        let copies = self.all.iter().filter(|(at, _)| at.topic_partition == topic_partition);
        copies.map(|(_, copy)| copy.end).all(|has| has <= end)
    }

    /// A node's disk has lost something.
    pub fn damage(&mut self, node: i32) {
        for place in self.all.keys().filter(|place| place.node == node) {
            let damaged = self.damaged.entry(*place).or_default();
            (damaged.life, damaged.rot) = (0, None);
        }
    }

    /// A batch of a node's copy is no longer what it was.
    pub fn rot(&mut self, place: Place, base: i64) {
        self.damaged.insert(place, Damaged { rot: Some(base), ..Damaged::default() });
    }

    /// Whether a node has a batch that rotted and was not healed.
    pub fn is_rotten(&self, node: i32) -> bool {
        self.damaged.iter().any(|(place, one)| place.node == node && one.rot.is_some())
    }

    /// Whether some copy of a partition has such a batch.
    pub fn has_rot(&self, topic_partition: TopicPartition) -> bool {
        let mut damaged = self.damaged.iter();
        damaged.any(|(at, one)| at.topic_partition == topic_partition && one.rot.is_some())
    }

    /// A node has no copy of a partition any more.
    pub fn forget(&mut self, node: i32, topic_partition: TopicPartition) {
        let place = Place { node, topic_partition };
        self.all.remove(&place);
        self.damaged.remove(&place);
    }

    /// Where a partition lives: what is elsewhere is nobody's any more, once its node has started on it
    /// and has no copy. (One that was off may find its copy again, and be a replica again.)
    pub fn note_replicas(&mut self, topic_partition: TopicPartition, replicas: &[NodeId]) {
        let all = &self.all;
        self.damaged.retain(|place, damaged| {
            let is_kept = replicas.contains(&NodeId(place.node)) || all.contains_key(place);
            place.topic_partition != topic_partition || is_kept || damaged.life == 0
        });
    }

    /// A node has left for good.
    pub fn leave(&mut self, node: i32) {
        self.all.retain(|place, _| place.node != node);
        self.damaged.retain(|place, _| place.node != node);
    }

    /// Who is in sync has changed: a copy that had left and is back is healed.
    pub fn note_isr(&mut self, topic_partition: TopicPartition, isr: &[NodeId]) {
        self.damaged.retain(|place, damaged| {
            let is_meant = place.topic_partition == topic_partition;
            let is_in = isr.contains(&NodeId(place.node));
            damaged.has_left |= is_meant && !is_in && damaged.is_told;
            !(is_meant && is_in && damaged.has_left)
        });
    }

    /// A process belongs to the site, which has heard what it started on. What stays in sync is the last
    /// there is; if it has all it ever had, nobody will heal it.
    pub fn registered(&mut self, node: i32, life: u64, is_in_sync: impl Fn(Place) -> bool) {
        self.damaged.retain(|place, damaged| {
            if place.node != node || damaged.life != life {
                return true;
            }
            damaged.is_told = true;
            damaged.has_left |= !is_in_sync(*place);
            damaged.has_left || !damaged.has_all
        });
    }

    /// A follower cuts its copy, or adds to it, while somebody leads: what that has there is what the
    /// leader had when it answered.
    pub fn compare(&self, node: i32, leader: i32, entry: &Entry<SimFile>, verdict: &mut Verdict) {
        let topic_partition = entry.topic_partition();
        let place = Place { node, topic_partition };
        let is_whole = |node: i32| !self.damaged.contains_key(&Place { node, topic_partition });
        let (own, leaders) = (self.all.get(&place), self.copy(leader, topic_partition));
        let (Some(own), Some(leaders)) = (own, leaders) else { return };
        if !is_whole(node) || !is_whole(leader) {
            return;
        }
        match entry {
            Entry::State { state: SmallState::Truncated { start, end, .. }, .. } if start < end => {
                for (base, batch) in own.batches.0.range(end.0..) {
                    let there = leaders.batches.0.get(base);
                    r2::leader_lacks(verdict, place, *base, (batch, there));
                }
            }
            Entry::Append { base_offset, .. } => {
                let last = own.batches.0.range(..base_offset.0).next_back();
                // A leader that began anew need not have it.
                let first = leaders.batches.0.first_key_value().map_or(i64::MAX, |(base, _)| *base);
                if let Some((base, batch)) = last.filter(|(base, _)| first <= **base) {
                    let there = leaders.batches.0.get(base);
                    r3::agrees(verdict, place, base_offset.0, ((*base, batch), there));
                }
            }
            _ => {}
        }
    }

    /// See the module.
    pub fn persist(
        &mut self,
        node: i32,
        entry: &Entry<SimFile>,
        committed: Option<&Batches>,
        verdict: &mut Verdict,
    ) {
        let topic_partition = entry.topic_partition();
        let place = Place { node, topic_partition };
        match entry {
            Entry::Append { leader_epoch, base_offset, end_offset, bytes, .. } => {
                let (end, epoch, hash) = (end_offset.0, leader_epoch.0, crc32c(bytes));
                self.append(place, base_offset.0, Batch { end, epoch, hash }, verdict);
            }
            Entry::State { state: SmallState::Truncated { start, end, .. }, .. } => {
                let copy = self.all.entry(place).or_default();
                let is_excused = self.damaged.contains_key(&place);
                for (base, batch) in copy.batches.0.range(end.0..) {
                    let is_kept = committed.is_some_and(|kept| kept.0.get(base) == Some(batch));
                    r6::cuts(verdict, (node, topic_partition), *base, (is_kept, is_excused));
                }
                // One that begins anew, behind what is deleted or in a snapshot, has nothing of what it
                // had.
                let is_anew = start == end;
                copy.batches.0.retain(|_, batch| batch.end <= end.0 && !is_anew);
                copy.end = end.0;
                copy.durable = copy.durable.min(end.0);
                // It is fetched anew.
                let is_gone = |one: &Damaged| one.rot.is_some_and(|base| end.0 <= base);
                if self.damaged.get(&place).is_some_and(is_gone) {
                    self.damaged.remove(&place);
                }
            }
            Entry::State { state: SmallState::Forget, .. } => self.forget(node, topic_partition),
            _ => {}
        }
    }

    fn append(&mut self, place: Place, base: i64, batch: Batch, verdict: &mut Verdict) {
        let copy = self.all.entry(place).or_default();
        let Batch { end, epoch, hash } = batch;
        let at = (place.node, place.topic_partition);
        r7::at_the_end(verdict, at, base, copy.end);
        let known = *self.seen.entry((place.topic_partition, epoch, base)).or_insert(hash);
        r7::same_bytes(verdict, at, (base, epoch), (hash, known));
        copy.batches.0.insert(base, batch);
        copy.end = end;
    }

    /// See the module.
    pub fn committed<'a>(&mut self, node: i32, entries: impl Iterator<Item = &'a Entry<SimFile>>) {
        for entry in entries {
            let place = Place { node, topic_partition: entry.topic_partition() };
            let Some(copy) = self.all.get_mut(&place) else { continue };
            match entry {
                // What was cut since is no longer meant.
                Entry::Append { end_offset, .. } | Entry::Flush { end_offset, .. } => {
                    copy.durable = copy.durable.max(end_offset.0.min(copy.end));
                }
                // It begins anew behind what is deleted, or in a snapshot.
                Entry::State { state: SmallState::Truncated { start, end, .. }, .. }
                    if start == end =>
                {
                    copy.durable = copy.durable.max(end.0.min(copy.end));
                }
                Entry::State { .. } => {}
            }
        }
    }

    /// See the module.
    pub fn booted(&mut self, life: Life, found: &Found, verdict: &mut Verdict) {
        self.look_for_missing(life.node, found, verdict);
        for log in &found.logs {
            let place = Place { node: life.node, topic_partition: log.topic_partition };
            let is_lost = log.topic_partition == METADATA && found.is_quorum_lost;
            let copy = self.all.entry(place).or_default();
            let is_weak = self.weak.contains(&log.topic_partition);
            // Whoever starts says that it did not end cleanly.
            let has_lost = is_weak && lacking(copy, log, copy.end).is_some();
            let lacking = lacking(copy, log, copy.durable);
            let is_told = found.is_unsound(log.topic_partition) || has_lost;
            match self.damaged.get_mut(&place) {
                _ if is_lost => {}
                Some(damaged) if damaged.rot.is_some() && !is_told => {
                    s1::starts_with_all(verdict, place, lacking.as_ref(), damaged.rot);
                    if lacking.is_none() {
                        // The journal had it.
                        self.damaged.remove(&place);
                    }
                }
                None => {
                    s1::starts_with_all(verdict, place, lacking.as_ref(), None);
                    // The cut that was to heal it was not durable yet, say: it is made once more.
                    if is_told {
                        let has_all = is_weak && !has_lost;
                        let damaged = Damaged { life: life.number, has_all, ..Damaged::default() };
                        self.damaged.insert(place, damaged);
                    }
                }
                // It was looked at before, and what it lacks is known.
                Some(damaged) if 0 < damaged.life => damaged.life = life.number,
                Some(damaged) => {
                    (damaged.life, damaged.rot) = (life.number, None);
                    damaged.has_all = is_weak && !has_lost && lacking.is_none();
                    r8::notices(verdict, place, lacking.as_ref(), is_told);
                    // What it lacked before is known, and stays so.
                    if lacking.is_none() && !is_told {
                        self.damaged.remove(&place);
                    }
                }
            }
            self.take_found(place, log, found, is_lost, verdict);
        }
        self.damaged.remove(&Place { node: life.node, topic_partition: METADATA });
    }

    /// A copy that is not there at all must have had nothing.
    fn look_for_missing(&mut self, node: i32, found: &Found, verdict: &mut Verdict) {
        let is_there = |place: &Place| {
            let mut logs = found.logs.iter();
            logs.any(|log| log.topic_partition == place.topic_partition)
        };
        let of_node = self.all.keys().filter(|place| place.node == node);
        let missing: Vec<Place> = of_node.filter(|place| !is_there(place)).copied().collect();
        for place in missing {
            let copy = self.all.remove(&place).expect("listed above");
            let safe = copy.batches.0.iter().find(|(_, batch)| batch.end <= copy.durable);
            let lacks = safe.map(|(base, _)| (*base, None));
            if !self.damaged.contains_key(&place) {
                s1::starts_with_all(verdict, place, lacks.as_ref(), None);
            }
        }
    }

    fn take_found(
        &mut self,
        place: Place,
        log: &FoundLog,
        found: &Found,
        is_lost: bool,
        verdict: &mut Verdict,
    ) {
        let FoundLog { topic_partition, batches, end, durable, .. } = log;
        let rot = self.damaged.get(&place).and_then(|damaged| damaged.rot);
        let before = self.all.get(&place).map(|copy| copy.batches.clone()).unwrap_or_default();
        // What rotted is not what it was, and what is behind it may be out of reach.
        let batches = match rot {
            Some(_) => Batches(before.0.into_iter().filter(|(_, one)| one.end <= *end).collect()),
            None => batches.clone(),
        };
        for (base, Batch { epoch, hash, .. }) in &batches.0 {
            let key = (*topic_partition, *epoch, *base);
            let known = *self.seen.entry(key).or_insert(*hash);
            let at = (place.node, *topic_partition);
            r7::same_bytes(verdict, at, (*base, *epoch), (*hash, known));
        }
        let safe = found.safe.get(topic_partition).copied().unwrap_or(0);
        if !is_lost {
            i8::takes_for_safe(verdict, place, *durable, safe);
        }
        let end = (*end).max(batches.end());
        let kept = Copy { batches, end, durable: safe.min(end) };
        self.all.insert(place, if is_lost { Copy::default() } else { kept });
    }
}

/// What a copy had up to an offset, and is not there: its offset, and what there is.
fn lacking(copy: &Copy, log: &FoundLog, end: i64) -> Option<(i64, Option<Batch>)> {
    if log.end < end {
        return Some((log.end, None));
    }
    let safe = copy.batches.0.iter().filter(|(_, batch)| batch.end <= end);
    let mut safe = safe.filter(|(base, _)| log.start <= **base);
    let missing = safe.find(|(base, batch)| log.batches.0.get(base) != Some(batch));
    missing.map(|(base, _)| (*base, log.batches.0.get(base).copied()))
}
