//! The flusher: one thread per log dir that owns the commit journal.
//!
//! Shards hand it what they appended; everything that gathered while the last sync ran goes into
//! one commit. When the ring's next half is not free yet it waits for the checkpoint, which runs on
//! a thread of its own; so do the syncs of large shares while others commit little
//! ([`Syncer`]).
//!
//! **Invariant:** a shard hears of a commit only after its sync returned. After an error nothing is
//! ever acknowledged from this log dir again: the journal refuses, and the shards are told.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heapless::spsc::Consumer;

use crate::broker::back::Flushed;
use crate::broker::control::METADATA;
use crate::broker::mail::ShardId;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::Event;
use crate::journal::disk::Disk;
use crate::journal::{
    Ahead, CheckpointDone, CheckpointJob, Entry, Journal, JournalError, SyncDone,
};
use crate::limits::{FLUSH_REQUESTS_MAX, JOURNAL_BYPASS_BYTES};
use crate::metrics::{Histogram, Recent};
use crate::runtime::clock;
use crate::runtime::control_loop::ControlEvent;
use crate::runtime::ledger::Ledger;
use crate::runtime::reload::Dials;
use crate::runtime::shard_loop::Inbox;
use crate::runtime::syncer::Syncer;
use crate::time::Boot;

/// The reading end of a shard's queue to the flusher.
pub type FlushQueue<F> = Consumer<'static, Entry<F>, FLUSH_REQUESTS_MAX>;

/// How often the pace of the flusher is published.
const PUBLISH_MS: u64 = 500;

/// How long the flusher sleeps when nobody wakes it.
const IDLE: Duration = Duration::from_millis(200);

/// How long a full disk is left alone before a checkpoint is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// What the flusher is made of.
pub struct Flusher<D: Disk>
where
    D::File: 'static,
{
    /// The journal.
    pub journal: Journal<D>,
    /// From each shard.
    pub queues: Vec<FlushQueue<D::File>>,
    /// From the control thread.
    pub control_queue: Receiver<Entry<D::File>>,
    /// To each shard.
    pub shards: Vec<Inbox<D>>,
    /// To the control thread.
    pub control: Sender<ControlEvent<D>>,
    /// `flush.linger.ms`.
    pub dials: Arc<Dials>,
    /// The memory account.
    pub ledger: &'static Ledger,
    /// Counts.
    pub metrics: &'static ProcessMetrics,
    /// Set when all shards have stopped: drain, then end.
    pub stop: Arc<AtomicBool>,
}

impl<D> Flusher<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// Starts the thread. It ends with the journal, ready to be closed.
    pub fn spawn(self) -> std::io::Result<JoinHandle<Journal<D>>> {
        thread::Builder::new().name("flusher".into()).spawn(move || self.run())
    }

    fn run(mut self) -> Journal<D> {
        let (checkpoints, checkpoint_done) = channel();
        let mut syncer = Syncer::new();
        let mut ahead = Ahead::new(JOURNAL_BYPASS_BYTES);
        let mut entries = Vec::new();
        let mut is_checkpointing = false;
        let mut is_failed = false;
        let mut pace = Pace::default();
        loop {
            // Before anything is gathered: what was sent before the flag was set is visible then.
            let is_stopping = self.stop.load(Ordering::Acquire);
            if !ahead.is_full() {
                self.gather(&mut entries);
            }
            let mut synced = Vec::new();
            if let Some(done) = syncer.finish() {
                synced = ahead.done();
                pace.flushed(done.took_us, self.metrics);
                is_failed |= !self.take_synced(done.result, is_failed);
            }
            let linger_ms = self.dials.flush_linger_ms.load(Ordering::Relaxed);
            if linger_ms != 0 && !entries.is_empty() && synced.is_empty() {
                thread::sleep(Duration::from_millis(linger_ms));
                self.gather(&mut entries);
            }
            if is_failed {
                entries.append(&mut ahead.give_up());
            } else if ahead.split(clock::boot(), &mut entries) {
                syncer.begin(self.journal.sync_ahead(ahead.syncing()));
            }
            if entries.is_empty() && synced.is_empty() {
                if is_stopping && !is_checkpointing && !ahead.is_syncing() {
                    return self.journal;
                }
                is_checkpointing &= !self.finish_checkpoint(&checkpoint_done, Duration::ZERO);
                pace.publish(self.metrics);
                self.idle(ahead.is_syncing());
                continue;
            }
            while !is_failed && is_checkpointing && !self.journal.has_room_after(&synced, &entries)
            {
                is_checkpointing = !self.finish_checkpoint(&checkpoint_done, IDLE);
            }
            is_failed = is_failed || !self.commit(&synced, &entries, &mut pace);
            self.ledger.release_flusher(held_bytes(&synced) + held_bytes(&entries));
            // The kernel tells of a failed write once per file: a checkpoint, which syncs the same
            // ones, may be whom it told.
            is_checkpointing &= !self.finish_checkpoint(&checkpoint_done, Duration::ZERO);
            is_failed |= self.journal.is_poisoned();
            if !is_failed {
                self.announce(synced.iter().chain(&entries));
            }
            self.forget(&mut synced);
            self.forget(&mut entries);
            if !is_checkpointing && !is_failed {
                is_checkpointing = self.begin_checkpoint(&checkpoints);
            }
        }
    }

    /// A sync ahead of a commit ended. Answers whether its entries may be committed.
    fn take_synced(&mut self, result: std::io::Result<SyncDone>, is_failed: bool) -> bool {
        match self.journal.synced(result) {
            Ok(sync_count) => {
                self.metrics.segment_sync_count.fetch_add(sync_count, Ordering::Relaxed);
                true
            }
            Err(why) => {
                if !is_failed {
                    self.fail(&why);
                }
                false
            }
        }
    }

    /// Lets go of entries that are done with, save the memory of large ones.
    fn forget(&self, entries: &mut Vec<Entry<D::File>>) {
        for entry in entries.drain(..) {
            if let Entry::Append { bytes, .. } = entry {
                self.ledger.buffers.give(bytes);
            }
        }
    }

    fn gather(&mut self, entries: &mut Vec<Entry<D::File>>) {
        entries.extend(self.control_queue.try_iter());
        for queue in &mut self.queues {
            // As many as were there at the start of the turn, or one busy shard starves the rest.
            for _ in 0..queue.len() {
                entries.extend(queue.dequeue());
            }
        }
    }

    /// Waits for work; when none came for a whole while, writes a bit of the ring ahead. A step
    /// taken between two commits would delay the second (seen: it doubled the ack's latency).
    fn idle(&mut self, is_syncing: bool) {
        let began = clock::boot();
        thread::park_timeout(IDLE);
        let is_quiet = !is_syncing && IDLE.as_micros() as u64 <= clock::boot().us_since(began);
        if is_quiet {
            self.ledger.buffers.clear();
        }
        if is_quiet && !self.stop.load(Ordering::Acquire) {
            if let Err(why) = self.journal.prewrite_step() {
                log::warn!("the journal could not be written ahead: {why}");
            }
        }
    }

    /// Makes entries durable, those after `synced`; whether that worked.
    fn commit(
        &mut self,
        synced: &[Entry<D::File>],
        entries: &[Entry<D::File>],
        pace: &mut Pace,
    ) -> bool {
        let began = clock::boot();
        let committed = match self.journal.commit_after(synced, entries) {
            Ok(committed) => committed,
            Err(why) => {
                self.fail(&why);
                return false;
            }
        };
        let took_us = clock::boot().us_since(began);
        let metrics = self.metrics;
        metrics.flush_count.fetch_add(1, Ordering::Relaxed);
        metrics.flush_us.fetch_add(took_us, Ordering::Relaxed);
        pace.flushed(took_us, metrics);
        metrics.journal_bytes.fetch_add(committed.ring_bytes, Ordering::Relaxed);
        metrics.segment_sync_count.fetch_add(committed.segment_syncs, Ordering::Relaxed);
        true
    }

    /// Tells every shard what of its partitions is durable now.
    fn announce<'a>(&self, entries: impl Iterator<Item = &'a Entry<D::File>>) {
        let mut commits: Vec<Vec<Flushed>> = Vec::new();
        commits.resize_with(self.shards.len(), Vec::new);
        for entry in entries {
            let Some(flushed) = Flushed::of(entry) else { continue };
            let topic_partition = flushed.topic_partition;
            if topic_partition == METADATA {
                // A control thread that is gone needs no answer.
                let _ = self.control.send(ControlEvent::Flushed(flushed));
            } else {
                let owner = ShardId::owner(topic_partition, self.shards.len() as u16);
                flushed.join(&mut commits[usize::from(owner.0)]);
            }
        }
        for (shard, commit) in self.shards.iter().zip(commits) {
            if !commit.is_empty() {
                shard.send(Event::Flushed(commit));
            }
        }
    }

    fn begin_checkpoint(&mut self, done: &Sender<std::io::Result<CheckpointDone>>) -> bool {
        let Some(job) = self.journal.checkpoint_due() else { return false };
        let done = done.clone();
        let flusher = thread::current();
        let shards = self.shards.clone();
        let stop = Arc::clone(&self.stop);
        let spawned = thread::Builder::new().name("checkpoint".into()).spawn(move || {
            // What is to be synced must have been written; all shards, though one says no.
            let settled = shards.iter().filter(|shard| shard.settle()).count();
            let is_settled = settled == shards.len();
            let result = match is_settled {
                true => run_when_there_is_room(&job, &stop),
                false => Err(ErrorKind::Other.into()),
            };
            // The receiver lives as long as the flusher, which waits for this thread.
            let _ = done.send(result);
            flusher.unpark();
        });
        if let Err(why) = &spawned {
            log::error!("no thread for a checkpoint: {why}");
            self.fail(&JournalError::Poisoned);
        }
        spawned.is_ok()
    }

    /// Takes a finished checkpoint into account, waiting at most `patience` for it. Answers
    /// whether it has finished.
    fn finish_checkpoint(
        &mut self,
        checkpoint_done: &Receiver<std::io::Result<CheckpointDone>>,
        patience: Duration,
    ) -> bool {
        let Ok(result) = checkpoint_done.recv_timeout(patience) else { return false };
        let freed = result.map_err(JournalError::Io).and_then(|d| self.journal.checkpoint_done(d));
        match freed {
            Ok(()) => {
                self.metrics.checkpoint_count.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => {
                self.journal.checkpoint_failed();
                self.fail(&why);
            }
        }
        true
    }

    fn fail(&self, why: &JournalError) {
        log::error!("the log dir takes no more appends until it is reopened: {why}");
        self.metrics.storage_failed_now.store(1, Ordering::Relaxed);
        for shard in &self.shards {
            shard.send(Event::StorageFailed);
        }
        let _ = self.control.send(ControlEvent::StorageFailed);
    }
}

/// Runs a checkpoint; on a full disk again and again. Meanwhile commits go on while their half of
/// the ring has room, and then wait: a restart would find the same disk.
fn run_when_there_is_room<D: Disk>(
    job: &CheckpointJob<D>,
    stop: &AtomicBool,
) -> std::io::Result<CheckpointDone> {
    let mut is_told = false;
    loop {
        let result = job.run();
        let is_full = result.as_ref().is_err_and(|why| why.kind() == ErrorKind::StorageFull);
        if !is_full || stop.load(Ordering::Acquire) {
            if is_told && result.is_ok() {
                log::warn!("the disk has room again: the journal goes on");
            }
            return result;
        }
        if !is_told {
            log::warn!("the disk is full: the journal waits for room to write a checkpoint");
            is_told = true;
        }
        thread::sleep(FULL_RETRY);
    }
}

/// How long syncs took of late, those of commits and those ahead of them. Whoever asks reads what was
/// published last.
#[derive(Debug, Default)]
struct Pace {
    recent_us: Recent,
    publish_at: Boot,
}

impl Pace {
    fn flushed(&mut self, took_us: u64, metrics: &ProcessMetrics) {
        self.recent_us.record(clock::boot().ms_since(Boot(0)), took_us);
        self.publish(metrics);
    }

    fn publish(&mut self, metrics: &ProcessMetrics) {
        let now = clock::boot();
        if now < self.publish_at {
            return;
        }
        self.publish_at = now.plus_ms(PUBLISH_MS);
        let mut recent = Histogram::new();
        self.recent_us.add_to(now.ms_since(Boot(0)), &mut recent);
        metrics.flush_p50_now.store(recent.quantile(1, 2), Ordering::Relaxed);
        metrics.flush_p99_now.store(recent.quantile(99, 100), Ordering::Relaxed);
        metrics.flush_max_now.store(recent.max(), Ordering::Relaxed);
    }
}

/// Bytes of records that entries keep in memory.
pub fn held_bytes<F>(entries: &[Entry<F>]) -> u64 {
    entries.iter().map(entry_bytes).sum()
}

/// Bytes of records that an entry keeps in memory.
pub fn entry_bytes<F>(entry: &Entry<F>) -> u64 {
    match entry {
        Entry::Append { bytes, .. } => bytes.len() as u64,
        Entry::Flush { .. } | Entry::State { .. } => 0,
    }
}
