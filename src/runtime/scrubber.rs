//! The scrubber: a thread that verifies sealed segments, as slowly as `scrub.bytes.per.second`
//! says, and writes down which are damaged.
//!
//! What is in the page cache says nothing about the disk, so pages are dropped before they are
//! read; those that nobody else had there are dropped again afterwards, so that a pass over all
//! segments does not push out what consumers read.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

use crate::broker::metrics::ProcessMetrics;
use crate::broker::scrub::ScrubJob;
use crate::broker::shard::Event;
use crate::ids::TopicPartition;
use crate::journal::disk::{Disk, DiskFile};
use crate::log::{Cut, DamageNote, ProducersNote, Scrubbed};
use crate::runtime::reload::Dials;
use crate::runtime::shard_loop::Inbox;

/// Read at once: small enough that the disk serves others in between.
const STEP_BYTES: u64 = 256 << 10;

/// Verified before the shard is asked whether the segment is still there.
const TURN_BYTES: u64 = 4 << 20;

/// What the scrubber is to do.
pub enum ScrubWork<D: Disk> {
    /// Verify a part of a segment, and tell this shard.
    Verify(ScrubJob<D::File>, Inbox<D>),
    /// Write down that a segment is damaged.
    Note(DamageNote<D>),
    /// Make durable what is known of a partition's producers, and tell this shard.
    NoteProducers(TopicPartition, ProducersNote<D>, Inbox<D>),
    /// Cut a follower's log, and tell this shard.
    Cut(TopicPartition, Box<Cut<D>>, Inbox<D>),
}

struct Scrubber<D: Disk> {
    works: Receiver<ScrubWork<D>>,
    waiting: VecDeque<(ScrubJob<D::File>, Inbox<D>)>,
    dials: Arc<Dials>,
    metrics: &'static ProcessMetrics,
}

/// Starts the thread; it ends when the last sender is gone.
pub fn spawn<D>(
    dials: Arc<Dials>,
    metrics: &'static ProcessMetrics,
) -> io::Result<(Sender<ScrubWork<D>>, JoinHandle<()>)>
where
    D: Disk + Send + 'static,
    D::File: AsFd + Send + 'static,
{
    let (sender, works) = channel();
    let scrubber = Scrubber { works, waiting: VecDeque::new(), dials, metrics };
    let thread = thread::Builder::new().name("scrubber".into()).spawn(move || scrubber.run())?;
    Ok((sender, thread))
}

impl<D> Scrubber<D>
where
    D: Disk,
    D::File: AsFd,
{
    fn run(mut self) {
        loop {
            let Some((job, shard)) = self.waiting.pop_front() else {
                let Ok(work) = self.works.recv() else { return };
                self.take(work);
                continue;
            };
            if !self.verify(job, &shard) {
                return;
            }
        }
    }

    fn take(&mut self, work: ScrubWork<D>) {
        match work {
            ScrubWork::Verify(job, shard) => self.waiting.push_back((job, shard)),
            ScrubWork::Note(note) => {
                if let Err(why) = note.save() {
                    log::error!("damage could not be written down: {why}");
                }
            }
            ScrubWork::NoteProducers(topic_partition, note, shard) => {
                let saved = note.save();
                if let Err(why) = &saved {
                    log::error!("producers of {topic_partition} could not be kept: {why}");
                }
                shard.send(Event::ProducersNoted(topic_partition, saved.ok()));
            }
            ScrubWork::Cut(topic_partition, cut, shard) => {
                let done = cut.run();
                if let Err(why) = &done {
                    log::error!("the log of {topic_partition} could not be cut: {why}");
                }
                shard.send(Event::CutDone(topic_partition, done));
            }
        }
    }

    /// Verifies a part of a segment. `false` when the broker stops.
    fn verify(&mut self, mut job: ScrubJob<D::File>, shard: &Inbox<D>) -> bool {
        let begin = job.scrub.position();
        loop {
            let before = job.scrub.position();
            let found = self.step(&mut job);
            let read_bytes = job.scrub.position() - before;
            self.metrics.scrub_bytes.fetch_add(read_bytes, Ordering::Relaxed);
            if !self.rest(read_bytes) {
                return false;
            }
            let is_turn_over = TURN_BYTES <= job.scrub.position() - begin;
            match found {
                Ok(Scrubbed::Going) if !is_turn_over => {}
                Ok(found) => {
                    shard.send(Event::Scrubbed(job, Some(found)));
                    return true;
                }
                Err(why) => {
                    self.metrics.scrub_failed_count.fetch_add(1, Ordering::Relaxed);
                    log::error!(
                        "segment {} of {} cannot be read: {why}",
                        job.scrub.segment(),
                        job.topic_partition
                    );
                    shard.send(Event::Scrubbed(job, None));
                    return true;
                }
            }
        }
    }

    fn step(&self, job: &mut ScrubJob<D::File>) -> io::Result<Scrubbed> {
        let position = job.scrub.position();
        let was_cached = job.scrub.file().try_read_at(&mut [0], position).is_ok();
        drop_pages(job.scrub.file(), position, STEP_BYTES);
        let step_bytes = STEP_BYTES.min(self.dials.scrub_bytes_per_second.load(Ordering::Relaxed));
        let found = job.scrub.step(step_bytes);
        if !was_cached {
            drop_pages(job.scrub.file(), position, job.scrub.position() - position);
        }
        found
    }

    /// Waits as long as so many bytes may take, and writes down meanwhile what comes. `false` when
    /// the broker stops.
    fn rest(&mut self, bytes: u64) -> bool {
        let rate = self.dials.scrub_bytes_per_second.load(Ordering::Relaxed).max(1);
        let until = super::clock::boot().plus_us(bytes.saturating_mul(1_000_000) / rate);
        loop {
            let left = Duration::from_micros(until.us_since(super::clock::boot()));
            match self.works.recv_timeout(left) {
                Ok(work) => self.take(work),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Has the kernel forget pages that are on disk. It is advice: whether it is taken changes nothing
/// but what is read.
pub(super) fn drop_pages(file: &impl AsFd, position: u64, bytes: u64) {
    if let Some(bytes) = std::num::NonZeroU64::new(bytes) {
        let _ = fadvise(file, position, Some(bytes), Advice::DontNeed);
    }
}
