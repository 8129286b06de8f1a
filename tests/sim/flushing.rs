//! The flusher of a node, and its checkpoints: `runtime::flusher`, with syncs that take their time.

use std::io::ErrorKind;

use odradek::broker::back::Flushed;
use odradek::broker::control::METADATA;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::Event as ShardEvent;
use odradek::journal::Entry;

use super::event::{Event, Life, NodeNumber, ToControl};
use super::node::{Flight, Sync};
use super::world::World;
use crate::sim_disk::SimFile;

/// A thread that is none of those which get mail in order.
const FLUSHER: usize = 99;

impl World {
    /// When a sync that begins now returns.
    pub fn sync_done_at(&mut self, node: NodeNumber) -> u64 {
        let (least, beyond) = self.boards[&node].sync_us;
        // A card that thinks for a while.
        if !self.is_calm && self.random.below(4000) == 0 {
            self.trace.note(|| format!("the disk of node {node} stalls"));
            return self.soon(2_000_000, 2_000_000);
        }
        self.soon(least, beyond)
    }

    /// Begins a commit, if there is something to commit and none is under way.
    pub fn begin_flush(&mut self, life: Life) {
        let early = self.random_bit();
        let is_idle = self.life(life).is_some_and(|running| running.flusher.in_flight.is_none());
        if !is_idle {
            return;
        }
        let Some(synced) = self.take_synced(life) else { return };
        self.begin_sync(life, early);
        let Some(running) = self.life(life) else { return };
        let flusher = &mut running.flusher;
        if flusher.queue.is_empty() && synced.is_empty() {
            return;
        }
        if flusher.is_checkpointing && !flusher.journal.has_room_after(&synced, &flusher.queue) {
            flusher.late.extend(synced);
            return;
        }
        let entries = std::mem::take(&mut flusher.queue);
        // The bytes are on their way at once, or only when the sync returns: either may be.
        let is_done = early && flusher.journal.commit_after(&synced, &entries).is_ok();
        let flight = Flight { synced, entries, is_done };
        if is_done {
            self.checkers.committed(life.node, &flight);
        }
        let running = self.life(life).expect("it was there");
        running.flusher.in_flight = Some(flight);
        let at = self.sync_done_at(life.node);
        self.at(at, Event::FlushDone(life));
    }

    /// What was synced ahead of the next commit; nothing when the log dir has failed.
    fn take_synced(&mut self, life: Life) -> Option<Vec<Entry<SimFile>>> {
        let flusher = &mut self.life(life)?.flusher;
        if flusher.is_failed {
            flusher.queue.clear();
            flusher.ahead.give_up();
            return None;
        }
        let mut synced = std::mem::take(&mut flusher.late);
        let Some(sync) = flusher.sync.take_if(|sync| sync.is_back) else { return Some(synced) };
        let done = sync.done.unwrap_or_else(|| sync.job.run());
        synced.extend(flusher.ahead.done());
        if let Err(why) = flusher.journal.synced(done) {
            self.trace.note(|| format!("node {}: a sync ahead fails: {why}", life.node));
            self.fail_storage(life);
            return None;
        }
        Some(synced)
    }

    /// Begins a sync ahead of a commit, where one is called for.
    fn begin_sync(&mut self, life: Life, early: bool) {
        let now = self.now(life.node).boot;
        let Some(running) = self.life(life) else { return };
        let flusher = &mut running.flusher;
        if !flusher.ahead.split(now, &mut flusher.queue) {
            return;
        }
        let job = flusher.journal.sync_ahead(flusher.ahead.syncing());
        let done = early.then(|| job.run());
        flusher.sync = Some(Sync { job, done, is_back: false });
        self.counts.syncs_ahead += 1;
        let at = self.sync_done_at(life.node);
        self.at(at, Event::SyncDone(life));
    }

    /// A sync ahead of a commit returns.
    pub fn sync_done(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        let Some(sync) = &mut running.flusher.sync else { return };
        sync.is_back = true;
        self.begin_flush(life);
    }

    fn random_bit(&mut self) -> bool {
        // Not drawn anew each time: a flush that does not begin must not change what follows.
        self.us & 4 == 0
    }

    /// A sync returns.
    pub fn flush_done(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        let flusher = &mut running.flusher;
        let Some(flight) = flusher.in_flight.take() else { return };
        if !flight.is_done {
            let Flight { synced, entries, .. } = &flight;
            if let Err(why) = flusher.journal.commit_after(synced, entries) {
                self.trace.note(|| format!("node {}: a commit fails: {why}", life.node));
                return self.fail_storage(life);
            }
            self.checkers.committed(life.node, &flight);
        }
        self.announce(life, &flight);
        self.begin_checkpoint(life);
        self.begin_flush(life);
    }

    fn announce(&mut self, life: Life, flight: &Flight) {
        let shard_count = self.plan.shard_count(life.node);
        let mut commits: Vec<Vec<Flushed>> = Vec::new();
        commits.resize_with(usize::from(shard_count), Vec::new);
        for flushed in flight.all().filter_map(Flushed::of) {
            let topic_partition = flushed.topic_partition;
            if topic_partition == METADATA {
                let event = Event::Control(life, ToControl::Flushed(flushed));
                self.mail(life, FLUSHER, 0, event);
                continue;
            }
            let owner = ShardId::owner(topic_partition, shard_count);
            flushed.join(&mut commits[usize::from(owner.0)]);
        }
        for (shard, commit) in commits.into_iter().enumerate() {
            if !commit.is_empty() {
                let event = ShardEvent::Flushed(commit);
                self.mail_shard(life, FLUSHER, ShardId(shard as u16), event);
            }
        }
    }

    /// The log dir failed: all are told.
    fn fail_storage(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        running.flusher.is_failed = true;
        running.flusher.queue.clear();
        for shard in 0..self.plan.shard_count(life.node) {
            self.mail_shard(life, FLUSHER, ShardId(shard), ShardEvent::StorageFailed);
        }
        let event = Event::Control(life, ToControl::StorageFailed);
        self.mail(life, FLUSHER, 0, event);
        // Whoever looks after it starts it anew.
        let at = self.soon(3_000_000, 5_000_000);
        self.at(at, Event::Restart(life.node));
    }

    fn begin_checkpoint(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        let flusher = &mut running.flusher;
        if flusher.is_checkpointing || flusher.is_failed {
            return;
        }
        let Some(job) = flusher.journal.checkpoint_due() else { return };
        flusher.job = Some(job);
        flusher.is_checkpointing = true;
        let at = self.soon(50, 5000);
        self.at(at, Event::Checkpoint(life, 0));
    }

    /// One shard after the other settles, then the job runs.
    pub fn checkpoint(&mut self, life: Life, stage: usize) {
        let Some(running) = self.life(life) else { return };
        if let Some(shard) = running.shards.get_mut(stage) {
            let is_settled = shard.settle_all();
            if !is_settled {
                running.flusher.done = Some(Err(std::io::ErrorKind::Other.into()));
                return self.at(self.us + 1, Event::CheckpointDone(life));
            }
            let at = self.soon(50, 5000);
            return self.at(at, Event::Checkpoint(life, stage + 1));
        }
        let job = running.flusher.job.take().expect("it was taken at the start");
        let done = job.run();
        if done.as_ref().is_err_and(|why| why.kind() == ErrorKind::StorageFull) {
            // It waits for room.
            running.flusher.job = Some(job);
            return self.at(self.us + 1_000_000, Event::Checkpoint(life, stage));
        }
        running.flusher.done = Some(done);
        let at = self.sync_done_at(life.node) + 2000;
        self.at(at, Event::CheckpointDone(life));
    }

    /// A checkpoint is done: its half is free.
    pub fn checkpoint_done(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        let flusher = &mut running.flusher;
        let done = flusher.done.take().expect("it was kept for this");
        flusher.is_checkpointing = false;
        let freed = done.map_err(|why| why.to_string());
        let freed = freed
            .and_then(|done| flusher.journal.checkpoint_done(done).map_err(|why| why.to_string()));
        if let Err(why) = freed {
            flusher.journal.checkpoint_failed();
            self.trace.note(|| format!("node {}: a checkpoint fails: {why}", life.node));
            return self.fail_storage(life);
        }
        self.begin_flush(life);
    }

    /// The power goes: a commit or checkpoint that is under way gets somewhere, or nowhere.
    pub fn interrupt(&mut self, node: NodeNumber) {
        let choice = self.random.below(4);
        let after = self.random.below(6);
        let now = self.now(node).boot;
        let board = self.boards.get_mut(&node).expect("a board");
        let disk = board.disk.clone();
        let Some(running) = &mut board.running else { return };
        let flusher = &mut running.flusher;
        if choice == 0 || flusher.is_failed {
            return;
        }
        disk.fail_after(after);
        if let Some(flight) = flusher.in_flight.take().filter(|flight| !flight.is_done) {
            let _ = flusher.journal.commit_after(&flight.synced, &flight.entries);
        }
        if choice == 2 {
            for shard in &mut running.shards {
                shard.settle(usize::MAX);
            }
        }
        if let Some(job) = flusher.job.take().filter(|_| choice == 3) {
            let _ = job.run();
        }
        let mut synced = std::mem::take(&mut flusher.late);
        if let Some(sync) = flusher.sync.take() {
            let done = sync.done.unwrap_or_else(|| sync.job.run());
            if flusher.journal.synced(done).is_ok() {
                synced.extend(flusher.ahead.done());
            }
        }
        // What waits for it does so.
        let _ = flusher.ahead.split(now, &mut flusher.queue);
        let entries = std::mem::take(&mut flusher.queue);
        if flusher.journal.has_room_after(&synced, &entries) {
            let _ = flusher.journal.commit_after(&synced, &entries);
        }
    }
}
