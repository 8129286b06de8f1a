//! A thread for calls that block: metadata, offsets, new connections.
//!
//! The sender and the fetcher must not wait for a name server or a dead broker, or one of them
//! would hold up all others. They hand such work over and are woken when it is done. One job runs
//! at a time, save for new connections: a board whose power is cut says neither yes nor no to one,
//! and those to the boards that take over from it must not wait for that.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::client::ClientError;
use crate::client::cluster::Cluster;
use crate::client::net::Connection;

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

/// Connects to a broker, on a thread of its own; the caller asks once at a time for each.
pub(super) fn connect_apart(
    address: String,
    client_id: String,
    timeout: Duration,
    told: impl FnOnce(Result<Connection, ClientError>) + Send + 'static,
) -> Result<(), ClientError> {
    let run = move || told(Connection::open(&address, &client_id, timeout));
    thread::Builder::new().name("client-dials".to_owned()).spawn(run)?;
    Ok(())
}
