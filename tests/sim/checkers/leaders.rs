//! R1, R4, R6, R10 and I8: what a leader says is committed stays what it is, is on the stable
//! storage of every in-sync replica when it says so, and every later leader has it.

use std::collections::BTreeMap;

use odradek::ids::{NodeId, TopicPartition};
use odradek::replica::{Replica, Role};

use super::copies::{Copies, Copy};
use super::rules::{i8, r1, r4, r6, r10};
use super::{Batches, Place, Verdict};
use crate::sim::event::Life;
use crate::sim::trace::Trace;
use crate::sim_disk::SimDisk;

/// A replica, looked at.
pub struct Seen<'a> {
    pub life: Life,
    pub replica: &'a Replica<SimDisk>,
    /// Who is in sync, as the controller says.
    pub isr: &'a [NodeId],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stand {
    leads: bool,
    epoch: i32,
    high_watermark: i64,
    /// How many are in sync, as a leader knows it.
    in_sync: usize,
}

/// See the module.
#[derive(Default)]
pub struct Leaders {
    stands: BTreeMap<Place, Stand>,
    /// What some leader said is committed.
    pub committed: BTreeMap<TopicPartition, Batches>,
    /// In which epoch each batch was committed.
    committed_in: BTreeMap<(TopicPartition, i64), i32>,
    /// Who led in an epoch.
    led: BTreeMap<(TopicPartition, i32), i32>,
    /// Batches that have just been committed: where, and of which epoch.
    pub newly: Vec<(TopicPartition, i64, i32)>,
}

impl Leaders {
    /// End of what is committed.
    pub fn committed_end(&self, topic_partition: TopicPartition) -> i64 {
        self.committed.get(&topic_partition).map_or(0, Batches::end)
    }

    /// Whether a replica leads in an epoch, as its own process saw it last.
    pub fn leads(&self, place: Place, epoch: i32) -> bool {
        self.stands.get(&place).is_some_and(|stand| stand.leads && stand.epoch == epoch)
    }

    /// A process knows nothing of what it was.
    pub fn booted(&mut self, node: i32) {
        self.stands.retain(|place, _| place.node != node);
    }

    /// Looks at a replica after something happened to it.
    pub fn look(
        &mut self,
        seen: &Seen<'_>,
        copies: &Copies,
        verdict: &mut Verdict,
        trace: &mut Trace,
    ) {
        let replica = seen.replica;
        let topic_partition = replica.log().topic_partition();
        let place = Place { node: seen.life.node, topic_partition };
        let stand = Stand {
            leads: matches!(replica.role(), Role::Leader(_)),
            epoch: replica.state().leader_epoch.0,
            high_watermark: replica.high_watermark().0,
            in_sync: match replica.role() {
                Role::Leader(leader) => leader.isr().len(),
                Role::Follower(_) => 0,
            },
        };
        let before = self.stands.insert(place, stand);
        if before == Some(stand) {
            return;
        }
        if stand.leads {
            let is_new = before.is_none_or(|before| !before.leads || before.epoch != stand.epoch);
            if is_new {
                trace.note(|| {
                    let name = replica.log().name();
                    let TopicPartition { partition, .. } = topic_partition;
                    let (node, end) = (place.node, replica.log().end_offset());
                    format!("node {node} leads {name}-{partition} in epoch {}, end {end}, high watermark {}", stand.epoch, stand.high_watermark)
                });
                self.elected(place, stand, copies, verdict);
            }
            let low = before.filter(|before| before.leads).map_or(0, |b| b.high_watermark);
            r6::mark_rises(verdict, place, low, stand.high_watermark);
            // One that hears at once that a replica it waits for is away, and that too few are in sync,
            // waits no more and then goes by the fewer.
            let before = before.filter(|before| before.leads && before.epoch == stand.epoch);
            let in_sync = before.map_or(0, |before| before.in_sync).max(stand.in_sync);
            self.commit(place, Stand { in_sync, ..stand }, seen, copies, verdict);
        } else {
            // One that hears at once that a replica it waits for is away, and that it leads no more,
            // waits no more and then leads no more: what it commits on its way out is looked at like
            // anything else that it commits.
            if let Some(before) = before.filter(|before| before.leads) {
                let last = Stand { high_watermark: stand.high_watermark, ..before };
                self.commit(place, last, seen, copies, verdict);
            }
            let (log, mark) = (replica.log(), stand.high_watermark);
            let is_weak = !log.config().acks_durable;
            let acked = if is_weak { log.end_offset() } else { log.durable_offset() };
            let committed = self.committed_end(topic_partition);
            r10::shows(verdict, place, mark, (acked.0, committed));
        }
    }

    /// A new leader has all that is committed (R1), and is the only one of its epoch.
    fn elected(&mut self, place: Place, stand: Stand, copies: &Copies, verdict: &mut Verdict) {
        let key = (place.topic_partition, stand.epoch);
        let other = *self.led.entry(key).or_insert(place.node);
        r1::one_leader(verdict, place, stand.epoch, other);
        let Some(committed) = self.committed.get(&place.topic_partition) else { return };
        let found = copies.copy(place.node, place.topic_partition);
        let is_due = |base: i64| self.committed_in[&(place.topic_partition, base)] < stand.epoch;
        for (base, batch) in committed.0.iter().filter(|(base, _)| is_due(**base)) {
            let theirs = found.and_then(|found| found.batches.0.get(base));
            r1::leader_has(verdict, place, *base, (theirs, batch));
        }
    }

    fn commit(
        &mut self,
        place: Place,
        stand: Stand,
        seen: &Seen<'_>,
        copies: &Copies,
        verdict: &mut Verdict,
    ) {
        let topic_partition = place.topic_partition;
        let committed = self.committed.entry(topic_partition).or_default();
        let (from, to) = (committed.end(), stand.high_watermark);
        if to <= from {
            return;
        }
        let none = Copy::default();
        let own = copies.copy(place.node, topic_partition).unwrap_or(&none);
        let replicas = &seen.replica.state().replicas;
        // One whose card was damaged since it told had it.
        let has = |node: &&NodeId| {
            let is_damaged = copies.damaged.contains_key(&Place { node: node.0, topic_partition });
            is_damaged || to <= copies.acked(Place { node: node.0, topic_partition })
        };
        let holders = replicas.iter().filter(has).count();
        let min = seen.replica.log().config().min_insync_replicas as usize;
        let in_sync = match seen.replica.role() {
            Role::Leader(_) => stand.in_sync,
            // It has forgotten whom it took for in sync: those who have it must do.
            Role::Follower(_) => holders,
        };
        r4::enough(verdict, place, to, (in_sync, holders, min.min(replicas.len())));
        for (base, batch) in own.batches.0.range(from..to) {
            for member in seen.isr {
                let place = Place { node: member.0, topic_partition };
                if copies.damaged.contains_key(&place) {
                    continue;
                }
                let copy = copies.copy(member.0, topic_partition);
                let theirs = copy.and_then(|copy| copy.batches.0.get(base));
                r1::member_has(verdict, place, *base, (theirs, batch));
                i8::is_stable(verdict, place, batch.end, copies.acked(place));
            }
            committed.0.insert(*base, *batch);
            self.newly.push((topic_partition, *base, batch.epoch));
            self.committed_in.insert((topic_partition, *base), stand.epoch);
        }
        r1::ends_a_batch(verdict, place, committed.end(), to);
    }

    /// The controller says who is in sync: all of them have what is committed, on stable storage.
    pub fn isr_changed(
        &mut self,
        topic_partition: TopicPartition,
        isr: &[NodeId],
        copies: &Copies,
        verdict: &mut Verdict,
    ) {
        let committed = self.committed_end(topic_partition);
        for member in isr {
            let place = Place { node: member.0, topic_partition };
            if !copies.damaged.contains_key(&place) {
                r1::is_in_sync(verdict, place, copies.acked(place), committed);
            }
        }
    }
}
