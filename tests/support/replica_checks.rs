//! What holds after every event, and what holds in the end.

use std::collections::BTreeMap;

use odradek::ids::{NodeId, Offset};
use odradek::replica::Role;

use super::{NODES, Site, Violation, value_of};

impl Site {
    /// What must hold after every event.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        for id in NODES {
            let Some(node) = self.nodes.get(&id) else { continue };
            let high_watermark = node.replica.high_watermark();
            if let Role::Leader(leader) = node.replica.role() {
                let epoch = node.replica.state().leader_epoch;
                let last = self.marks.insert(id, (epoch, high_watermark));
                let before = last.filter(|(of, _)| *of == epoch).map(|(_, before)| before);
                let before = before.unwrap_or(Offset::ZERO);
                hold!(before <= high_watermark, "R6: the high watermark of {id} fell");
                if before < high_watermark && self.committed_end < high_watermark {
                    let min = self.setup.topic.min_insync_replicas as usize;
                    hold!(min <= leader.isr().len(), "R4: committed by {:?}", leader.isr());
                }
                self.commit(id, high_watermark)?;
            } else {
                let durable = node.log().durable_offset();
                hold!(high_watermark <= durable, "R10: {id} serves what is not durable");
                hold!(high_watermark <= self.committed_end, "R10: {id} serves the uncommitted");
            }
        }
        self.check_isr()
    }

    /// R1: every member of the controller's ISR has all that any leader said is committed.
    pub(super) fn check_isr(&self) -> Result<(), Violation> {
        for node in self.state.isr.iter().filter_map(|node| self.nodes.get(node)) {
            let end = node.log().end_offset();
            hold!(self.committed_end <= end, "R1: {} lacks {end}..{}", node.id, self.committed_end);
        }
        Ok(())
    }

    /// A leader says that everything below its high watermark is committed: it is the same for
    /// ever, and every member of the ISR has it.
    pub(super) fn commit(
        &mut self,
        leader: NodeId,
        high_watermark: Offset,
    ) -> Result<(), Violation> {
        if high_watermark <= self.committed_end {
            return Ok(());
        }
        let from = self.committed_end;
        let batches = self.nodes[&leader].batches(from, high_watermark);
        for member in self.state.isr.iter().filter_map(|member| self.nodes.get(member)) {
            let theirs = member.batches(from, high_watermark);
            hold!(theirs == batches, "R1, R7: {} differs from {leader} at {from}", member.id);
            let durable = member.log().durable_offset();
            hold!(high_watermark <= durable, "I8: {} has only {durable} safe", member.id);
        }
        for (base, epoch, bytes) in batches {
            self.committed.insert(base.0, (epoch, bytes));
        }
        self.committed_end = high_watermark;
        Ok(())
    }

    pub(super) fn is_level(&self) -> bool {
        let Some(leader) = self.state.leader.and_then(|leader| self.nodes.get(&leader)) else {
            return false;
        };
        let end = leader.log().end_offset();
        self.state.isr.len() == NODES.len()
            && leader.replica.high_watermark() == end
            && self.nodes.values().all(|node| node.log().end_offset() == end)
    }

    /// All replicas are the same, byte for byte, and hold what was acknowledged.
    pub(super) fn check_the_end(&self) -> Result<(), Violation> {
        for node in self.nodes.values() {
            let start = node.log().start_offset();
            hold!(start <= self.deleted_to, "{} begins at {start}", node.id);
            let found = node.batches(start, self.committed_end);
            let found = found.into_iter().map(|(base, epoch, bytes)| (base.0, (epoch, bytes)));
            let found: BTreeMap<_, _> = found.collect();
            let first = found.first_key_value().map_or(self.committed_end.0, |(base, _)| *base);
            let wanted = self.committed.range(first..);
            let is_same = wanted.eq(&found);
            hold!(is_same, "R7: {} is not what was committed", node.id);
            hold!(first <= start.0 || start == self.committed_end, "{} has a gap", node.id);
        }
        for (base, value) in self.acked.range(self.deleted_to.0..) {
            let stored = self.committed.get(base).map(|(_, bytes)| value_of(bytes));
            hold!(stored == Some(*value), "I1: {value} at {base} is {stored:?}");
        }
        Ok(())
    }
}
