//! What goes wrong: processes that die or stop, power that goes, paths that break, disks that fail,
//! clocks that jump.

use std::path::PathBuf;

use odradek::broker::shard::Shard;
use odradek::ids::{Partition, TopicPartition};
use odradek::record::Batch;
use odradek::replica::{Replica, Role};

use super::checkers::Place;
use super::event::{Event, NodeNumber};
use super::node::{DIR, Running};
use super::world::{Board, World};
use crate::sim_disk::SimDisk;

/// Years that a clock jumps by: one that was never set shows 1970.
const YEARS_MS: i64 = 56 * 365 * 86_400_000;

impl World {
    /// Something happens, and something else a while later.
    pub fn chance(&mut self) {
        if self.is_calm {
            return;
        }
        let at = self.soon(100_000, 1_800_000);
        self.at(at, Event::Chance);
        let node = self.any_node();
        // The last copy of something, with a hole in it, is another story.
        if self.has_dear() || self.has_weakened() {
            return;
        }
        match self.random.below(100) {
            0..9 => self.kill(node),
            9..18 => {
                if !self.may_go_dark(node) {
                    self.kill(node);
                } else if self.boards[&node].is_on {
                    self.cut_power(node);
                }
            }
            18..21 => self.cut_power_of_all(),
            21..29 => self.pause(node),
            29..50 => self.part(node),
            50..70 => self.heal(),
            70..76 => {
                let other = self.any_node();
                self.reset_between(node, other);
            }
            76..82 => self.slow_link(node),
            82..88 => self.slow_disk(node),
            88..92 => self.jump(node),
            92..94 => self.part_client(node),
            94..96 => self.fail_disk(node),
            96..98 => self.fill_disk(node),
            _ => self.rot(node),
        }
    }

    /// Whether nothing is wrong anywhere.
    pub fn is_quiet(&self) -> bool {
        let is_well = |board: &Board| board.running.is_some() && board.paused_until <= self.us;
        let decided = &self.checkers.decisions.partitions;
        self.net.cuts.is_empty()
            && self.boards.values().filter(|board| !board.has_left).all(is_well)
            && decided.values().all(|one| one.isr.len() == one.replicas.len())
    }

    /// Whether everything a node has that may have been acknowledged is safe elsewhere, for good: others
    /// are in sync, and nothing is under way that could have them leave. Where one replica in sync is enough
    /// to go on (`min.insync.replicas` = 1), they may still be fenced before the one that was damaged has
    /// said so: it never heard of that, so they have all that it acknowledged
    /// (`controller/last_copy.rs`).
    pub fn may_lose(&self, node: NodeNumber) -> bool {
        let is_settled = |running: &Running| {
            let quorum = running.site.quorum();
            let is_committed =
                quorum.is_none_or(|one| one.epoch_at(one.high_watermark()).is_none());
            let mut partitions = running.shards.iter().flat_map(Shard::partitions);
            let is_altering = partitions.any(|(_, replica)| {
                matches!(replica.map(Replica::role), Some(Role::Leader(one)) if one.is_altering())
            });
            is_committed && !is_altering
        };
        self.checkers.decisions.can_lose(node)
            && self.checkers.is_metadata_settled()
            && self.boards.values().filter_map(|board| board.running.as_ref()).all(is_settled)
    }

    /// Whether a node with a rotten batch may not be lost. It does not know of it, so where one in sync
    /// is enough it goes on when the others are fenced, and is the last copy: while there is such a
    /// batch nothing else goes wrong there.
    pub fn has_dear(&self) -> bool {
        let copies = &self.checkers.copies;
        let is_enough = self.plan.min_insync == 1;
        let is_dear = |node: &NodeNumber| is_enough || !self.may_lose(*node);
        self.boards.keys().any(|node| copies.is_rotten(*node) && is_dear(node))
    }

    /// The power of the whole site goes; its processes end where it would take what was acknowledged.
    pub fn cut_power_of_all(&mut self) {
        let copies = &self.checkers.copies;
        if !self.nodes().all(|node| copies.is_flushed(node)) {
            for node in self.nodes().collect::<Vec<_>>() {
                self.kill(node);
            }
            return;
        }
        self.trace.note(|| "the power of all goes".into());
        self.counts.power_cuts_of_all += 1;
        for node in self.boards.keys().copied().collect::<Vec<_>>() {
            if self.boards[&node].is_on {
                self.cut_power(node);
            }
        }
    }

    fn pause(&mut self, node: NodeNumber) {
        let us = [300_000, 2_000_000, 12_000_000][self.random.below(3) as usize];
        let until = self.soon(us / 2, us);
        self.trace.note(|| format!("node {node} is paused for {} ms", us / 1000));
        // What came for it waits for the end of the first pause: it may not end before that.
        let board = self.boards.get_mut(&node).expect("a board");
        board.paused_until = board.paused_until.max(until);
    }

    fn part(&mut self, node: NodeNumber) {
        let others: Vec<NodeNumber> = self.nodes().filter(|other| *other != node).collect();
        let other = others[self.random.below(others.len() as u64) as usize];
        let shape = self.random.below(5);
        self.counts.partitions += 1;
        self.trace.note(|| format!("parting {shape} of {node} and {other}"));
        match shape {
            // One hears the other, but not the other way.
            0 => self.cut(node, other),
            // A bridge: the third sees both.
            1 => self.part_two(node, other),
            // Alone; its clients still reach it.
            2 | 3 => others.iter().for_each(|other| self.part_two(node, *other)),
            // It hears nobody, and all hear it; or the other way round.
            _ => {
                let hears = self.random.flip();
                for other in others {
                    let (from, to) = if hears { (node, other) } else { (other, node) };
                    self.cut(from, to);
                }
            }
        }
    }

    fn cut(&mut self, from: i32, to: i32) {
        self.net.cuts.insert((from, to));
    }

    fn part_two(&mut self, a: i32, b: i32) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// A client no longer reaches a node.
    fn part_client(&mut self, node: NodeNumber) {
        let client = 100 + self.random.below(self.clients.all.len() as u64) as i32;
        self.part_two(client, node);
    }

    /// All paths are whole again, and as fast as before.
    pub fn heal(&mut self) {
        if !self.net.cuts.is_empty() {
            self.trace.note(|| "all paths are whole".into());
        }
        self.net.cuts.clear();
        self.net.slow.clear();
    }

    fn slow_link(&mut self, node: NodeNumber) {
        let other = self.any_node();
        let us = 20_000 << self.random.below(5);
        self.net.slow.insert((node, other), us);
    }

    fn slow_disk(&mut self, node: NodeNumber) {
        let us = [1, 20, 200][self.random.below(3) as usize] * 1000;
        let fine = self.plan.sync_us(node);
        let board = self.boards.get_mut(&node).expect("a board");
        board.sync_us = if us == 1000 { fine } else { (us, us * 2) };
        self.trace.note(|| format!("syncs of node {node} take {us} us"));
    }

    /// Syncs fail with EIO from now on, until the process is started anew.
    fn fail_disk(&mut self, node: NodeNumber) {
        if self.running(node).is_some() {
            self.trace.note(|| format!("syncs of node {node} fail"));
            self.boards[&node].disk.set_syncs_fail(true);
            let at = self.soon(2_000_000, 8_000_000);
            self.at(at, Event::Restart(node));
        }
    }

    /// The disk runs full, or has room again.
    fn fill_disk(&mut self, node: NodeNumber) {
        if self.running(node).is_none() {
            return;
        }
        let free = [None, Some(600_000), Some(60_000)][self.random.below(3) as usize];
        self.trace.note(|| format!("the disk of node {node} has {free:?} bytes left"));
        self.boards[&node].disk.set_free_bytes(free);
    }

    /// A card that was without power has lost something that was safe. Only what others have, and
    /// only on one node at a time, is lost so.
    pub fn damage(&mut self, node: NodeNumber) {
        let copies = &self.checkers.copies;
        let is_rotten = copies.is_rotten(node);
        if is_rotten || !copies.is_whole_but(node) || self.random.below(2) == 0 {
            return;
        }
        let disk = self.boards[&node].disk.clone();
        let files = disk.files();
        // Two voters that lost their logs are more than a quorum of three survives, and one is more than
        // one of two does, of which there may be only so many while members change.
        let may_lose_log = self.counts.lost_journals == 0 && !self.plan.has_moves;
        let is_journal = self.random.below(4) == 0 && may_lose_log;
        let segments = files.iter().filter(|(path, bytes)| {
            let name = path.to_string_lossy();
            name.ends_with(".log") && !name.contains("__cluster_metadata") && !bytes.is_empty()
        });
        let segments: Vec<PathBuf> = segments.map(|(path, _)| path.clone()).collect();
        if is_journal {
            self.trace.note(|| format!("the journal of node {node} is lost"));
            self.counts.lost_journals += 1;
            for (path, bytes) in &files {
                if path.to_string_lossy().ends_with("commit.journal") {
                    let length = bytes.len();
                    disk.damage(path, |bytes| *bytes = vec![0; length]);
                }
            }
        } else if segments.is_empty() {
            return;
        } else {
            let path = segments[self.random.below(segments.len() as u64) as usize].clone();
            let shape = self.random.below(3);
            self.trace.note(|| format!("{} of node {node} is gone, {shape}", path.display()));
            if shape == 0 {
                let kept = self.random.below(files[&path].len() as u64) as usize;
                disk.damage(&path, |bytes| bytes.truncate(kept));
            } else {
                disk.destroy(&path);
            }
            // What is derived from it may go too.
            for suffix in ["index", "timeindex", "summary"] {
                let path = path.with_extension(suffix);
                if shape == 2 && files.contains_key(&path) {
                    disk.destroy(&path);
                }
            }
        }
        self.counts.damages += 1;
        self.checkers.copies.damage(node);
    }

    /// A bit flips in what a power cut left of bytes that were never synced: nobody was promised any of
    /// them, so nothing may come of it. `before` is the disk whose power went. (Bytes that were synced
    /// before their file got its name are sure, whether or not the name is.)
    pub fn flip_unsynced(&mut self, node: NodeNumber, before: &SimDisk) {
        if self.random.below(3) != 0 {
            return;
        }
        let disk = self.boards[&node].disk.clone();
        let loose = before.unsynced_of(&disk);
        if loose.is_empty() {
            return;
        }
        let (path, places) = &loose[self.random.below(loose.len() as u64) as usize];
        let at = places[self.random.below(places.len() as u64) as usize];
        let bit = 1 << self.random.below(8);
        self.trace.note(|| format!("{} of node {node} flips at {at}", path.display()));
        disk.damage(path, |bytes| bytes[at] ^= bit);
        self.counts.flips += 1;
    }

    /// A bit of a batch in a sealed segment flips, running or not: no start reads it, the scrub does.
    /// Only what others have too rots so, and once at a time. (The 16 bytes before what a batch's
    /// checksum covers are left alone: what they say is compared with their neighbours only.)
    pub fn rot(&mut self, node: NodeNumber) {
        let copies = &self.checkers.copies;
        let is_safe = 1 < self.plan.min_insync || self.is_quiet();
        let is_safe = is_safe && self.may_lose(node) && self.may_weaken(node);
        if !copies.damaged.is_empty() || !is_safe {
            return;
        }
        let disk = self.boards[&node].disk.clone();
        let mut sealed: Vec<(PathBuf, Vec<u8>, TopicPartition)> = Vec::new();
        for (name, topic_id) in &self.checkers.decisions.topics {
            for partition in 0..2 {
                let dir = PathBuf::from(format!("{DIR}/{name}-{partition}"));
                let is_segment = |path: &PathBuf| {
                    path.parent() == Some(&dir) && path.extension().is_some_and(|e| e == "log")
                };
                let files = disk.files();
                let mut segments: Vec<_> =
                    files.into_iter().filter(|(path, _)| is_segment(path)).collect();
                segments.pop();
                let place = TopicPartition { topic_id: *topic_id, partition: Partition(partition) };
                sealed.extend(segments.into_iter().map(|(path, bytes)| (path, bytes, place)));
            }
        }
        if sealed.is_empty() {
            return;
        }
        let number = self.random.below(sealed.len() as u64) as usize;
        let (path, bytes, topic_partition) = sealed.swap_remove(number);
        let mut batches = Vec::new();
        let mut rest = &bytes[..];
        while let Ok((batch, behind)) = Batch::split_first(rest) {
            batches.push((bytes.len() - rest.len(), *batch.header()));
            rest = behind;
        }
        if batches.is_empty() {
            return;
        }
        let (position, header) = batches[self.random.below(batches.len() as u64) as usize];
        let base = header.base_offset.0;
        let place = Place { node, topic_partition };
        let copy = self.checkers.copies.copy(node, topic_partition);
        // Not what was written and never acknowledged; and a file may outlive its topic.
        let is_safe = copy.is_some_and(|copy| {
            header.next_offset().0 <= copy.durable && copy.batches.0.contains_key(&base)
        });
        if !is_safe {
            return;
        }
        let at = position + 16 + self.random.below(header.size_bytes() as u64 - 16) as usize;
        let bit = 1 << self.random.below(8);
        self.trace.note(|| format!("{} of node {node} rots at {at}, {base}", path.display()));
        disk.damage(&path, |bytes| {
            // The medium may not have all of what is read yet.
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        });
        self.counts.rots += 1;
        self.checkers.copies.rot(place, base);
    }

    fn jump(&mut self, node: NodeNumber) {
        let off = [0, YEARS_MS, -YEARS_MS, 3_600_000][self.random.below(4) as usize];
        self.trace.note(|| format!("the clock of node {node} is {off} ms off"));
        self.boards.get_mut(&node).expect("a board").wall_off_ms = off;
    }
}
