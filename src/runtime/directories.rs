//! A thread for what waits for the disk's directories: the logs of new partitions are made, those of
//! deleted ones go.
//!
//! It is there from the first of them on, and does one after the other in the order they came: a
//! topic may have the name of one that goes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::broker::making::Making;
use crate::journal::disk::Disk;
use crate::log::{Log, LogError};
use crate::runtime::clock;
use crate::runtime::control_loop::ControlEvent;
use crate::time::Boot;

/// The system's own timers may stand still while a board sleeps.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is done there.
enum Job<D: Disk> {
    Make(Making<D>),
    Remove(Box<Log<D>>),
}

/// That thread, if there was need for it.
pub struct Directories<D: Disk> {
    disk: D,
    log_dir: PathBuf,
    events: Sender<ControlEvent<D>>,
    thread: Option<(Sender<Job<D>>, JoinHandle<()>)>,
}

impl<D> Directories<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// None so far. `events` is where is told of what is made.
    pub fn new(disk: D, log_dir: PathBuf, events: Sender<ControlEvent<D>>) -> Directories<D> {
        Directories { disk, log_dir, events, thread: None }
    }

    /// Makes logs, then says so by [`ControlEvent::Prepared`].
    pub fn make(&mut self, making: Making<D>) {
        if let Err((Job::Make(making), why)) = self.give(Job::Make(making)) {
            let _ = self.events.send(ControlEvent::Prepared(making, Err(LogError::Io(why))));
        }
    }

    /// Takes a deleted partition's directory out of the way; its files go later.
    pub fn remove(&mut self, log: Box<Log<D>>) {
        if let Err((_, why)) = self.give(Job::Remove(log)) {
            log::error!("a deleted partition's directory stays: {why}");
        }
    }

    /// Lets it finish what it was asked for.
    pub fn end(self) {
        if let Some((jobs, thread)) = self.thread {
            drop(jobs);
            let _ = thread.join();
        }
    }

    fn give(&mut self, job: Job<D>) -> Result<(), (Job<D>, io::Error)> {
        let jobs = match &self.thread {
            Some((jobs, _)) => jobs,
            None => match self.spawn() {
                Ok(spawned) => &self.thread.insert(spawned).0,
                Err(why) => return Err((job, why)),
            },
        };
        let gone = || io::Error::other("the thread for directories is gone");
        jobs.send(job).map_err(|SendError(job)| (job, gone()))
    }

    fn spawn(&self) -> io::Result<(Sender<Job<D>>, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let (disk, log_dir, events) =
            (self.disk.clone(), self.log_dir.clone(), self.events.clone());
        let builder = thread::Builder::new().name("directories".into());
        let thread = builder.spawn(move || run(&disk, &log_dir, &queue, &events))?;
        Ok((jobs, thread))
    }
}

fn run<D: Disk>(
    disk: &D,
    log_dir: &Path,
    jobs: &Receiver<Job<D>>,
    events: &Sender<ControlEvent<D>>,
) {
    let mut removals: BTreeSet<(Boot, PathBuf)> = BTreeSet::new();
    // Whoever asks is waited for; what is to go can wait, and goes one by one.
    loop {
        let due = removals.first().map_or(Boot::NEVER, |(at, _)| *at);
        let due = Duration::from_micros(due.us_since(clock::boot()));
        match jobs.recv_timeout(due.min(WAIT_MAX)) {
            Ok(Job::Make(mut making)) => {
                let made = making.run(disk, log_dir, clock::now());
                // Nobody waits for it when the broker stops.
                let _ = events.send(ControlEvent::Prepared(making, made));
            }
            Ok(Job::Remove(log)) => removals.extend(set_aside(*log)),
            // A start finds what is left then.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => remove_due(disk, &mut removals),
        }
    }
}

fn remove_due<D: Disk>(disk: &D, removals: &mut BTreeSet<(Boot, PathBuf)>) {
    if removals.first().is_none_or(|(at, _)| clock::boot() < *at) {
        return;
    }
    let (_, path) = removals.pop_first().expect("just looked at");
    if let Err(why) = disk.remove_dir_all(&path) {
        log::warn!("{} could not be removed: {why}", path.display());
    }
}

/// When its files are to go, and where they are now.
fn set_aside<D: Disk>(log: Log<D>) -> Option<(Boot, PathBuf)> {
    let delay_ms = u64::try_from(log.config().file_delete_delay_ms).unwrap_or(0);
    match log.retire() {
        Ok(path) => Some((clock::boot().plus_ms(delay_ms), path)),
        Err(why) => {
            log::error!("a deleted partition's directory stays: {why}");
            None
        }
    }
}
