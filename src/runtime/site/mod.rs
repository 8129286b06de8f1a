//! What a node of a site needs of the outside: links to its peers, and a thread that may wait for the
//! disk in the place of the control thread.

pub mod attend;
pub mod code;
pub mod discover;
pub mod file;
pub mod handshake;
pub mod links;
pub mod manage;
pub mod pairing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::broker::site::{Work, Worked, prove};
use crate::journal::disk::{Disk, DiskFile};
use crate::runtime::control_loop::ControlEvent;

/// Bytes read at a time to have them cached.
const LOAD_BYTES: usize = 64 << 10;

/// The thread that does what waits for the disk, in order.
pub struct Worker<D: Disk> {
    works: Sender<Work<D>>,
    thread: JoinHandle<()>,
}

impl<D: Disk> Worker<D> {
    /// Has it do something.
    pub fn give(&self, work: Work<D>) {
        // It ends after whoever asks.
        let _ = self.works.send(work);
    }

    /// Lets it finish what it was asked.
    pub fn end(self) {
        drop(self.works);
        let _ = self.thread.join();
    }
}

/// Starts that thread.
pub fn spawn_worker<D>(
    disk: D,
    dir: PathBuf,
    events: Sender<ControlEvent<D>>,
) -> io::Result<Worker<D>>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    let (works, queue) = channel::<Work<D>>();
    let thread = thread::Builder::new().name("metadata".into()).spawn(move || {
        for work in queue {
            let worked = carry_out(&disk, &dir, work);
            if events.send(ControlEvent::Worked(worked)).is_err() {
                return;
            }
        }
    })?;
    Ok(Worker { works, thread })
}

fn carry_out<D: Disk>(disk: &D, dir: &Path, work: Work<D>) -> Worked {
    match work {
        Work::Keep(keeps) => Worked::Kept(keeps.iter().try_for_each(|keep| keep.run(disk, dir))),
        Work::Cut(cut) => Worked::Cut(cut.run()),
        Work::Prove => Worked::Proven(prove(disk, dir)),
        Work::Load(file, position, bytes) => {
            let mut read = 0;
            let mut buffer = vec![0; LOAD_BYTES];
            while read < bytes {
                let count = (bytes - read).min(LOAD_BYTES as u64) as usize;
                match file.read_at(&mut buffer[..count], position + read) {
                    Ok(0) => break,
                    Ok(count) => read += count as u64,
                    Err(why) => return Worked::Loaded(Err(why)),
                }
            }
            Worked::Loaded(Ok(()))
        }
    }
}
