//! The loader: a thread that brings cold bytes into the page cache, so that poll threads never
//! wait for the disk.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::journal::disk::{Disk, DiskFile};
use crate::runtime::shard_loop::{Inbox, Loaded};

/// Bytes read at a time: enough for the card's readahead, small enough for a board.
const STEP_BYTES: usize = 128 << 10;

/// At most this much is loaded for one request: what is beyond may be evicted before it is sent.
const LOAD_BYTES_MAX: u64 = 4 << 20;

/// Bytes to load.
pub struct LoadJob<D: Disk> {
    /// The segment.
    pub file: D::File,
    /// From here,
    pub position: u64,
    /// so many.
    pub bytes: u64,
    /// Whom to tell.
    pub shard: Inbox<D>,
    /// What to tell.
    pub done: Loaded,
}

/// Starts the thread; it ends when the last sender is gone.
pub fn spawn<D>() -> std::io::Result<(Sender<LoadJob<D>>, JoinHandle<()>)>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    let (sender, jobs) = channel();
    let thread = thread::Builder::new().name("loader".into()).spawn(move || run(&jobs))?;
    Ok((sender, thread))
}

fn run<D: Disk>(jobs: &Receiver<LoadJob<D>>) {
    // A node that never reads cold bytes needs no room for them.
    let mut scratch = Vec::new();
    for job in jobs {
        scratch.resize(STEP_BYTES, 0);
        let end = job.position + job.bytes.min(LOAD_BYTES_MAX);
        let mut position = job.position;
        let mut is_lost = false;
        while position < end && !is_lost {
            let step = (end - position).min(STEP_BYTES as u64) as usize;
            match job.file.read_at(&mut scratch[..step], position) {
                // The end of the file: whoever asked finds out by itself.
                Ok(0) => break,
                Ok(read) => position += read as u64,
                Err(why) => {
                    log::error!("a segment cannot be read at byte {position}: {why}");
                    is_lost = true;
                }
            }
        }
        job.shard.send_loaded(job.done, is_lost);
    }
}
