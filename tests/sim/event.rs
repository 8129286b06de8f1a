//! What comes true at some time.

use odradek::broker::back::Flushed;
use odradek::broker::front::ControlAsk;
use odradek::broker::mail::ShardId;
use odradek::broker::making::Making;
use odradek::broker::shard;
use odradek::broker::site::Worked;
use odradek::log::{Log, LogError};
use odradek::wire::replica::alter_partition::AlterReplicas;

use crate::sim_disk::SimDisk;

/// A node's number, as the site knows it.
pub type NodeNumber = i32;

/// A life of a node's process: what was meant for an earlier one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    pub node: NodeNumber,
    pub number: u64,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A node's control thread.
    Control(Life),
    /// One of its shards.
    Shard(Life, u16),
    /// A client.
    Client(u32),
}

impl End {
    /// Where packets go: a node, or a client (100 and more).
    pub fn place(self) -> i32 {
        match self {
            End::Control(life) | End::Shard(life, _) => life.node,
            End::Client(client) => 100 + client as i32,
        }
    }
}

/// What reaches a control thread.
pub enum ToControl {
    Ask(ControlAsk),
    Flushed(Flushed),
    Applied(u64),
    Retired(Box<Log<SimDisk>>),
    Alter(ShardId, AlterReplicas),
    Prepared(Making<SimDisk>, Result<(), LogError>),
    StorageFailed,
    Worked(Worked),
}

/// Why a socket is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFor {
    /// The metadata quorum.
    Quorum(Life),
    /// A shard that follows.
    Replica(Life, u16),
    /// A client.
    Client(u32),
}

/// An event.
pub enum Event {
    Control(Life, ToControl),
    Shard(Life, u16, Box<shard::Event<SimDisk>>),
    /// A timer of a control thread (0) or shard (1 and on).
    Wake(Life, usize),
    /// A shard has time to write what it holds.
    Settle(Life, u16),
    /// The flusher's sync returns.
    FlushDone(Life),
    /// A sync ahead of a commit returns.
    SyncDone(Life),
    /// A checkpoint goes on: so many shards have settled.
    Checkpoint(Life, usize),
    CheckpointDone(Life),
    /// The worker's next work is done.
    Work(Life),
    /// The scrubber's next work is done.
    Scrub(Life),
    /// Links are looked at.
    Links(Life),
    /// The head of a connection's queue arrives, in this direction.
    Arrive(u64, usize),
    /// An end is told that its connection is gone.
    Gone(u64, End),
    /// An attempt to connect to a node ends.
    Dialed(DialFor, NodeNumber),
    /// A client's timer.
    Client(u32, u64),
    /// A node starts.
    Boot(NodeNumber),
    /// A node's process is ended and started anew, its disk works again.
    Restart(NodeNumber),
    /// Something happens.
    Chance,
}
