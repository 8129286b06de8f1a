//! The syncer: a thread beside the flusher that syncs large shares ahead of their commit.
//!
//! It is started when it is needed first, and sleeps when nothing is to be synced. One sync at a
//! time; the flusher asks for it and takes its end into account ([`journal::Ahead`]).
//!
//! [`journal::Ahead`]: crate::journal::Ahead

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Thread};

use crate::journal::disk::Disk;
use crate::journal::{SyncDone, SyncJob};
use crate::runtime::clock;

/// A sync that ended.
pub struct Synced {
    /// How.
    pub result: io::Result<SyncDone>,
    /// How long it took.
    pub took_us: u64,
}

/// The flusher's handle of the thread.
pub struct Syncer<D: Disk> {
    jobs: Option<Sender<SyncJob<D>>>,
    ends: Sender<Synced>,
    ended: Receiver<Synced>,
}

impl<D> Syncer<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// No thread yet.
    pub fn new() -> Syncer<D> {
        let (ends, ended) = channel();
        Syncer { jobs: None, ends, ended }
    }

    /// Begins a sync; the calling thread is unparked when it ends.
    pub fn begin(&mut self, job: SyncJob<D>) {
        if self.jobs.is_none() {
            self.jobs = start(self.ends.clone(), thread::current());
        }
        if let Some(jobs) = &self.jobs {
            // It ends only when this handle goes.
            let _ = jobs.send(job);
        } else {
            // Without a thread it is this one's: slower for others, and no less durable.
            let _ = self.ends.send(run(&job));
            thread::current().unpark();
        }
    }

    /// A sync that ended, if one did.
    pub fn finish(&self) -> Option<Synced> {
        self.ended.try_recv().ok()
    }
}

fn start<D>(ends: Sender<Synced>, flusher: Thread) -> Option<Sender<SyncJob<D>>>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    let (jobs, work) = channel();
    let serve = move || {
        for job in work {
            // The flusher waits for it: it is there.
            let _ = ends.send(run(&job));
            flusher.unpark();
        }
    };
    match thread::Builder::new().name("syncer".into()).spawn(serve) {
        Ok(_) => Some(jobs),
        Err(why) => {
            log::warn!("no thread for large syncs, small commits wait for them: {why}");
            None
        }
    }
}

fn run<D: Disk>(job: &SyncJob<D>) -> Synced {
    let began = clock::boot();
    let result = job.run();
    Synced { result, took_us: clock::boot().us_since(began) }
}
