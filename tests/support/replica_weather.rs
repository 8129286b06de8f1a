//! What befalls the replicas: the faults of each moment, and what clients ask meanwhile.

use bytes::BytesMut;
use odradek::ids::{NodeId, Offset};
use odradek::record::{BatchBuilder, Compression};
use odradek::replica::{Input, Role};

use super::super::replica_node::Node;
use super::{CONTROLLER, Event, NODES, Site, Violation};

impl Site {
    /// Something happens, or nothing.
    pub(super) fn chance(&mut self) -> Result<(), Violation> {
        let after = 500 + self.random.below(3000);
        self.at(after, Event::Chance);
        self.fence();
        if self.us < self.calm_since {
            self.fault()?;
        }
        // A while after the last fault too: the partition takes writes again.
        if self.us < self.calm_since.saturating_add(3_000_000) && self.random.is_one_in(2) {
            self.produce()?;
            if self.random.is_one_in(150) {
                self.delete()?;
            }
        }
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Violation> {
        let node = NODES[self.random.below(3) as usize];
        match self.random.below(2000) {
            0..8 => {
                let is_power_cut = self.random.is_one_in(2);
                self.counts.power_cuts += u64::from(is_power_cut);
                self.stop(node, is_power_cut);
            }
            8 => self.cut_power_of_all(),
            9..100 if !self.nodes.contains_key(&node) => self.boot(node),
            100..112 => {
                let other = [CONTROLLER, NODES[0], NODES[1], NODES[2]];
                let other = other[self.random.below(4) as usize];
                if node != other && self.cut_links.insert((node.min(other), node.max(other))) {
                    self.counts.partitions += 1;
                    self.note(&format!("part {node} and {other}"));
                    self.disconnect(node, other);
                }
                if other == CONTROLLER {
                    self.silent_since.entry(node).or_insert(self.us);
                }
            }
            112..160 => {
                if let Some(link) = self.cut_links.pop_first() {
                    self.note(&format!("heal {link:?}"));
                    self.heal(link);
                }
            }
            160..175 => {
                let other = NODES[self.random.below(3) as usize];
                self.disconnect(node, other);
            }
            175..180 => self.damage(node)?,
            _ => {}
        }
        Ok(())
    }

    /// A scrub finds damage at a follower.
    fn damage(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        let end = node.log().durable_offset();
        if matches!(node.replica.role(), Role::Leader(_)) || end == node.log().start_offset() {
            return Ok(());
        }
        let batches = node.batches(node.log().start_offset(), end);
        let from = batches[self.random.below(batches.len() as u64) as usize].0;
        self.damaged.insert(id);
        self.note(&format!("damage at {id} from {from}"));
        self.give(id, Input::Damaged(from))
    }

    pub(super) fn heal(&mut self, (a, b): (NodeId, NodeId)) {
        if a == CONTROLLER && self.nodes.contains_key(&b) {
            self.silent_since.remove(&b);
            self.brokers.get_mut(&b).expect("registered").is_active = true;
            if self.state.leader.is_none() {
                self.elect();
            }
            self.tell_all();
        }
    }

    /// One of those who think that they lead.
    fn any_leader(&mut self) -> Option<NodeId> {
        let leads = |node: &&Node| matches!(node.replica.role(), Role::Leader(_));
        let leaders: Vec<NodeId> = self.nodes.values().filter(leads).map(|node| node.id).collect();
        leaders.get(self.random.below(leaders.len().max(1) as u64) as usize).copied()
    }

    /// Deletes the older half of what is committed, as far as some leader knows.
    fn delete(&mut self) -> Result<(), Violation> {
        let Some(to) = self.any_leader() else { return Ok(()) };
        let replica = &self.nodes[&to].replica;
        let (start, end) = (replica.log().start_offset(), replica.high_watermark());
        let offset = Offset(start.0 + (end.0 - start.0) / 2);
        self.deleted_to = self.deleted_to.max(offset);
        self.give(to, Input::DeleteRecords { token: 0, offset })
    }

    fn produce(&mut self) -> Result<(), Violation> {
        let Some(to) = self.any_leader() else { return Ok(()) };
        let value = self.next_value;
        self.next_value += 1;
        let mut builder = BatchBuilder::new();
        for _ in 0..=self.random.below(3) {
            let mut bytes = value.to_be_bytes().to_vec();
            bytes.resize(8 + self.random.below(300) as usize, b'.');
            builder.push(self.now().wall, None, Some(&bytes), &[]);
        }
        let batch = BytesMut::from(&builder.finish(Compression::None)[..]);
        self.asked.insert(value, value);
        self.give(to, Input::Produce { token: value, acks: -1, batch })
    }
}
