//! The cleaner: a thread that compacts logs, one at a time, as slowly as
//! `log.cleaner.io.max.bytes.per.second` says.
//!
//! A shard hands it a [`Round`] and gets it back whenever it is the shard's turn; of several the
//! most urgent goes first. Pages that nobody else had in the cache are dropped behind the reading,
//! and what is written is dropped with them, so that a round does not push out what consumers read.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::broker::Memory;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::shard::Event;
use crate::ids::TopicPartition;
use crate::journal::disk::{Disk, DiskFile};
use crate::log::{CleanTurn, Round};
use crate::runtime::boot::random;
use crate::runtime::clock;
use crate::runtime::ledger::Ledger;
use crate::runtime::reload::Dials;
use crate::runtime::scrubber::drop_pages;
use crate::runtime::shard_loop::Inbox;
use crate::time::Boot;

/// Read before the thread rests: small enough that the disk serves others in between.
const STEP_BYTES: u64 = 128 << 10;

/// How far the thread stands back from others for the processor.
const NICE: i32 = 10;

/// How long it waits for memory that others hold.
const MEMORY_WAIT_MS: u64 = 200;

/// A round that is to be worked on, and the shard that it is of.
pub struct CleanWork<D: Disk>(pub Box<Round<D>>, pub Inbox<D>);

struct Cleaner<D: Disk> {
    works: Receiver<CleanWork<D>>,
    waiting: Vec<CleanWork<D>>,
    /// The round that has begun: no other does before it has ended.
    current: Option<TopicPartition>,
    held_bytes: u64,
    dials: Arc<Dials>,
    ledger: &'static Ledger,
    metrics: &'static ProcessMetrics,
}

/// Starts the thread; it ends when the last sender is gone.
pub fn spawn<D>(
    dials: Arc<Dials>,
    ledger: &'static Ledger,
    metrics: &'static ProcessMetrics,
) -> io::Result<(Sender<CleanWork<D>>, JoinHandle<()>)>
where
    D: Disk + Send + 'static,
    D::File: AsFd + Send + 'static,
{
    let (sender, works) = channel();
    let cleaner = Cleaner {
        works,
        waiting: Vec::new(),
        current: None,
        held_bytes: 0,
        dials,
        ledger,
        metrics,
    };
    let thread = thread::Builder::new().name("cleaner".into()).spawn(move || cleaner.run())?;
    Ok((sender, thread))
}

impl<D> Cleaner<D>
where
    D: Disk,
    D::File: AsFd,
{
    fn run(mut self) {
        // Whoever serves goes first. Linux counts this by thread, others by process.
        if cfg!(target_os = "linux") {
            let _ = rustix::process::setpriority_process(None, NICE);
        }
        loop {
            let Some(CleanWork(mut round, shard)) = self.next() else {
                let Ok(work) = self.works.recv() else { break };
                self.waiting.push(work);
                continue;
            };
            if self.current.is_none() {
                self.current = Some(round.topic_partition());
                round.set_seed(u64::from_ne_bytes(random()));
            }
            if !self.work(&mut round) {
                break;
            }
            if round.turn() == CleanTurn::End {
                self.end();
                let began_at = Boot(self.metrics.began_at.load(Ordering::Relaxed));
                let at_us = clock::boot().us_since(began_at);
                self.metrics.cleaned_at_us.store(at_us, Ordering::Relaxed);
            }
            shard.send(Event::Clean(round));
        }
        self.end();
    }

    /// The round that has begun, once it is back, or the one that is needed most.
    fn next(&mut self) -> Option<CleanWork<D>> {
        let rounds = || self.waiting.iter().enumerate();
        let place = match self.current {
            Some(current) => rounds().find(|(_, work)| work.0.topic_partition() == current),
            None => rounds().max_by_key(|(_, work)| work.0.urgency()),
        };
        place.map(|(place, _)| place).map(|place| self.waiting.swap_remove(place))
    }

    fn end(&mut self) {
        self.current = None;
        self.ledger.release_window(std::mem::take(&mut self.held_bytes));
    }

    /// Works on a round until it is the shard's turn. `false` when the broker stops.
    fn work(&mut self, round: &mut Round<D>) -> bool {
        while round.turn() == CleanTurn::Work {
            if !self.hold(round.needed_bytes()) {
                if !self.rest_until(clock::boot().plus_ms(MEMORY_WAIT_MS)) {
                    return false;
                }
                continue;
            }
            let before = io_bytes(round);
            self.step(round);
            let bytes = io_bytes(round) - before;
            self.metrics.cleaner_io_bytes.fetch_add(bytes, Ordering::Relaxed);
            let rate = self.dials.cleaner_bytes_per_second.load(Ordering::Relaxed).max(1);
            let rest_us = bytes.saturating_mul(1_000_000) / rate;
            if !self.rest_until(clock::boot().plus_us(rest_us)) {
                return false;
            }
        }
        true
    }

    /// Takes so much memory in all.
    fn hold(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.held_bytes);
        let is_held = more == 0 || self.ledger.try_hold_window(more);
        if is_held {
            self.held_bytes += more;
        }
        is_held
    }

    fn step(&self, round: &mut Round<D>) {
        let rate = self.dials.cleaner_bytes_per_second.load(Ordering::Relaxed);
        let began = round.reads().map(|(file, position)| (file.clone(), position));
        let was_cached = began
            .as_ref()
            .is_none_or(|(file, position)| file.try_read_at(&mut [0], *position).is_ok());
        round.work(clock::now(), STEP_BYTES.min(rate));
        let Some((file, position)) = began.filter(|_| !was_cached) else { return };
        // To where it came, or to the end, if it went on to the next file.
        let read = round.reads().filter(|(now, _)| is_same(*now, &file));
        let end = read.map_or(u64::MAX, |(_, end)| end);
        drop_pages(&file, position, end.saturating_sub(position));
        if let Some((file, synced_bytes)) = round.writes() {
            drop_pages(file, 0, synced_bytes);
        }
    }

    /// Waits, and takes meanwhile what comes. `false` when the broker stops.
    fn rest_until(&mut self, until: Boot) -> bool {
        loop {
            let left = Duration::from_micros(until.us_since(clock::boot()));
            match self.works.recv_timeout(left) {
                Ok(work) => self.waiting.push(work),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

fn io_bytes<D: Disk>(round: &Round<D>) -> u64 {
    let counts = round.counts();
    counts.read_bytes + counts.written_bytes
}

fn is_same(a: &impl AsFd, b: &impl AsFd) -> bool {
    use std::os::fd::AsRawFd;
    a.as_fd().as_raw_fd() == b.as_fd().as_raw_fd()
}
