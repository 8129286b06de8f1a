//! The way into a shard's thread: what other threads give it, and how they wake it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use polling::Poller;

use crate::broker::ConnectionId;
use crate::broker::shard::Event;
use crate::config::Protocol;
use crate::ids::NodeId;
use crate::journal::disk::Disk;
use crate::runtime::ConnectionLimits;

/// What the loader's work was for.
#[derive(Clone, Copy, Debug)]
pub enum Loaded {
    /// A read of the core.
    Read(u64),
    /// A response on a connection.
    Send(ConnectionId),
}

/// What reaches a shard other than by mail.
pub enum Input<D: Disk> {
    /// An event for the core.
    Event(Event<D>),
    /// The loader is done; whether the disk has lost what was wanted.
    Loaded(Loaded, bool),
    /// A client connected from there, to speak this.
    Connection(Protocol, TcpStream, SocketAddr),
    /// Another broker was dialed.
    Dialed(NodeId, Option<TcpStream>),
    /// Another broker connected, to follow.
    Peered(NodeId, TcpStream),
    /// Timeouts and sizes are others now.
    Limits(ConnectionLimits),
    /// Write all that is held, then answer whether nothing was lost.
    Settle(Sender<bool>),
    /// Read no more, answer what was asked, end.
    Stop,
}

/// The way into a shard for all threads but the other shards.
pub struct Inbox<D: Disk> {
    sender: Sender<Input<D>>,
    waker: Arc<Poller>,
    /// Connections it has, for the acceptor to choose by.
    pub connections: Arc<AtomicUsize>,
    /// Set when it ends: all that it held was written.
    pub(super) has_settled: Arc<AtomicBool>,
}

impl<D: Disk> Clone for Inbox<D> {
    fn clone(&self) -> Inbox<D> {
        Inbox {
            sender: self.sender.clone(),
            waker: Arc::clone(&self.waker),
            connections: Arc::clone(&self.connections),
            has_settled: Arc::clone(&self.has_settled),
        }
    }
}

impl<D: Disk> Inbox<D> {
    /// The way in, from its parts.
    pub fn new(sender: Sender<Input<D>>, waker: Arc<Poller>) -> Inbox<D> {
        Inbox { sender, waker, connections: Arc::default(), has_settled: Arc::default() }
    }

    /// Gives it an input; one that has ended takes none.
    pub fn give(&self, input: Input<D>) {
        let _ = self.sender.send(input);
        let _ = self.waker.notify();
    }

    /// Gives it an event for its core.
    pub fn send(&self, event: Event<D>) {
        self.give(Input::Event(event));
    }

    /// Has it write all that it holds; waits for that, and answers whether it was done.
    pub fn settle(&self) -> bool {
        let (done, outcome) = channel();
        self.give(Input::Settle(done));
        // One that has ended does not answer, but said how it ended.
        outcome.recv().unwrap_or_else(|_| self.has_settled.load(Ordering::Acquire))
    }

    /// Tells it that the loader is done.
    pub fn send_loaded(&self, loaded: Loaded, is_lost: bool) {
        self.give(Input::Loaded(loaded, is_lost));
    }
}
