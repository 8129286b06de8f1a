//! A thread for calls that block: metadata, offsets, new connections.
//!
//! The sender and the fetcher must not wait for a name server or a dead broker, or one of them
//! would hold up all others. They hand such work over and are woken when it is done. One job runs
//! at a time.

use std::sync::mpsc;
use std::thread;

use crate::client::ClientError;
use crate::client::cluster::Cluster;

type Job = Box<dyn FnOnce(&mut Cluster) + Send>;

/// The thread's mailbox. The thread ends after its present job when this is dropped.
#[derive(Debug)]
pub(super) struct Background {
    jobs: mpsc::Sender<Job>,
}

impl Background {
    pub fn start(name: &str, mut cluster: Cluster) -> Result<Background, ClientError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in inbox {
                job(&mut cluster);
            }
        })?;
        Ok(Background { jobs })
    }

    pub fn run(&self, job: impl FnOnce(&mut Cluster) + Send + 'static) {
        self.jobs.send(Box::new(job)).expect("the thread outlives its mailbox");
    }
}
