//! Replication of one partition: its leader and its followers (design.md §6).
//!
//! Followers pull. A fetch carries the follower's log end and its durable end, and two of them are
//! under way: the leader answers the first at the end of the turn of its shard that brings bytes, and
//! has the second already. The end of a sync is told by the next fetch, or where that is there already
//! by a progress frame. What a follower has copied and not synced is bounded. The durable
//! end is the acknowledgement: the high watermark is the smallest durable end over the maximal ISR, and
//! rises only while the ISR is at least `min.insync.replicas`.
//!
//! [`Replica`] is a protocol machine (style.md §2): [`Replica::step`], then [`Replica::poll`] until
//! `None`, and [`Replica::next_deadline`]. Its role is a type:
//!
//! | from | to | trigger | what becomes of the log |
//! |---|---|---|---|
//! | an opened log | [`Follower`] without a leader | [`Replica::new`] | as recovery left it |
//! | `Follower` | `Follower` | metadata: a higher leader epoch, another leader or none | compared with the new leader's before a byte is taken |
//! | `Follower` | `Follower` without a leader | metadata: a higher leader epoch that names this node, but that its log has seen: it was away since | as it is |
//! | `Follower` | [`Leader`] | metadata: a higher leader epoch that names this node | kept whole; the epoch begins at its end |
//! | `Leader` | `Leader` | metadata: a higher leader epoch that names this node again | kept; followers prove themselves anew |
//! | `Leader` | `Follower` | metadata: a higher leader epoch, another leader or none | compared with the new leader's; parked produces fail |
//! | either | none | [`Replica::into_log`] | the owner's |
//!
//! A follower that cuts its log finishes that first; the newest metadata waits for it. Metadata of
//! the same leader epoch changes the ISR and the replicas, not the role; what is older than what is
//! known changes nothing.
//!
//! **Invariants** (reliability.md R1 to R7, R10):
//! - The high watermark never falls at a leader, nor at a follower but where its log is cut below
//!   it, which only an unclean election or damage does, and is said aloud ([`Output::Lost`]).
//! - It rises on acknowledgements of this leader epoch only. A pending removal from the ISR does
//!   not count before the controller confirmed it; a pending addition counts at once.
//! - Logs are cut by leader epoch, never by high watermark; what a follower says of itself counts
//!   only after the leader has found that their logs agree.
//! - [`Output::Persist`] precedes whatever depends on it, and entries reach the journal in order.
//!
//! # Why
//! - *A machine per partition that owns its log*, and not one over offsets alone: where a log is
//!   cut, what an epoch's end is and what may be read are then checked against the log itself, in
//!   the simulator as on the board.
//! - *Fetches that wait for ever* rather than for `replica.fetch.wait.max.ms`: an idle partition
//!   costs nothing. A fetch is answered without bytes only to tell of a newer high watermark.
//! - *In sync by durable end*: Kafka judges by log end. Here an acknowledgement waits for the
//!   followers' storage, so that a replica whose card hangs must leave the ISR as one whose link
//!   does.
//! - *Both fetch and progress are numbered*: a frame that comes late, or twice, is known as such,
//!   and a lower end in a new one is damage at the follower, not reordering.
//!
//! Read semantics.md 2.2 and 2.8 to 2.10, KIP-101, 279, 320, 497, 841, 903 and 966 before editing.

mod follower;
mod isr;
mod leader;
mod local;
#[cfg(feature = "mutants")]
pub mod mutant;
mod parked;
mod portion;
mod reconcile;
mod remote;
mod serve;
mod standing;
mod throttle;
mod unsynced;

use std::io;

use bytes::{Bytes, BytesMut};

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{Cut, CutDone, DamageNote, Log, Slice};
use crate::time::{Boot, Now, Timestamp};
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;
use crate::wire::replica::alter_partition::AlterReplicas;
use crate::wire::replica::fetch::{FetchReplica, FetchedReplica};
use crate::wire::replica::progress::ProgressReplica;

pub use follower::Follower;
pub use leader::Leader;
use local::Local;
pub use throttle::ThrottledRates;

/// What the controller has decided about a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// Who leads, if anyone.
    pub leader: Option<NodeId>,
    /// Epoch of that leadership, or of the lack of one.
    pub leader_epoch: LeaderEpoch,
    /// Where the partition lives, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Who is in sync.
    pub isr: Vec<NodeId>,
    /// Version of all this.
    pub partition_epoch: i32,
}

/// What is known of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerState {
    /// Which.
    pub node_id: NodeId,
    /// Its registered incarnation.
    pub broker_epoch: i64,
    /// Whether it is neither fenced nor shutting down: only then may it join an ISR.
    pub is_active: bool,
}

/// What a replica goes by; the names are those of the configuration.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node.
    pub node_id: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max_ms: u64,
    /// `replica.fetch.wait.max.ms`: a high watermark is told after this long, if nothing else is.
    pub fetch_wait_max_ms: u64,
    /// `replica.socket.timeout.ms`: a fetch that nobody answered is sent again.
    pub fetch_timeout_ms: u64,
    /// `replica.fetch.backoff.ms`; doubled with each failure in a row, up to sixteen times.
    pub fetch_backoff_ms: u64,
    /// After which a proposal is sent again that the controller refused for the moment, or that is
    /// lost.
    pub alter_timeout_ms: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`: how often the high watermark is written
    /// down.
    pub high_watermark_interval_ms: u64,
    /// This replica's share of `follower.replication.throttled.rate` and
    /// `leader.replication.throttled.rate`.
    pub throttled: ThrottledRates,
    /// What is wrong on purpose.
    #[cfg(feature = "mutants")]
    pub mutant: Option<mutant::Mutant>,
}

impl ReplicaConfig {
    /// Kafka's defaults.
    pub fn new(node_id: NodeId, broker_epoch: i64) -> ReplicaConfig {
        ReplicaConfig {
            node_id,
            broker_epoch,
            lag_time_max_ms: 30_000,
            fetch_wait_max_ms: 500,
            fetch_timeout_ms: 30_000,
            fetch_backoff_ms: 100,
            alter_timeout_ms: 1000,
            high_watermark_interval_ms: 5000,
            throttled: ThrottledRates::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// What a replica is told.
pub enum Input {
    /// The controller has decided.
    Metadata(LeaderAndIsr),
    /// The brokers that there are, or some of them whose state has changed.
    Brokers(Vec<BrokerState>),
    /// A follower asks.
    Fetch {
        /// Who.
        follower: NodeId,
        /// Its incarnation.
        broker_epoch: i64,
        /// What.
        fetch: FetchReplica,
    },
    /// A follower's storage got further.
    Progress {
        /// Whose.
        follower: NodeId,
        /// Its incarnation.
        broker_epoch: i64,
        /// How far.
        progress: ProgressReplica,
    },
    /// The leader answers.
    Fetched {
        /// What.
        answer: FetchedReplica,
        /// The batches.
        records: Bytes,
    },
    /// The connection to a peer is gone, and what was on its way.
    Disconnected(NodeId),
    /// The controller answers a proposal.
    Altered {
        /// The version that the proposal built on.
        partition_epoch: i32,
        /// The state that stands, or why it was refused.
        outcome: Result<LeaderAndIsr, ErrorCode>,
    },
    /// A client's batch, validated.
    Produce {
        /// Names the answer.
        token: u64,
        /// −1: when every in-sync replica has it on stable storage; else at once.
        acks: i8,
        /// The batch.
        batch: BytesMut,
    },
    /// Records before an offset are to go; −1 for all below the high watermark.
    DeleteRecords {
        /// Names the answer.
        token: u64,
        /// The offset.
        offset: Offset,
    },
    /// A commit of the flusher is on stable storage.
    Flushed {
        /// The end of records in it, if there were some.
        durable_end: Option<Offset>,
        /// The first offset, if that was in it.
        log_start: Option<Offset>,
    },
    /// The truncation that was to be persisted is.
    TruncationPersisted,
    /// An [`Output::Cut`] was run.
    CutDone(io::Result<CutDone>),
    /// Bytes asked for by [`Output::Load`] are in the page cache, or the disk has lost them.
    Loaded {
        /// Names the wait.
        token: u64,
        /// Whether they are lost.
        is_lost: bool,
    },
    /// Records from an offset on are damaged here, though they were durable.
    Damaged(Offset),
    /// The topic's configuration.
    Configure(Box<TopicConfig>),
    /// The log dir failed: nothing is acknowledged from it any more.
    StorageFailed,
    /// It is time.
    Tick,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last.
    pub end_offset: Offset,
    /// The time stamped on it, or −1.
    pub log_append_time: Timestamp,
    /// First offset of the log.
    pub log_start: Offset,
    /// Whether the batch was sent, and appended, once before.
    pub is_repeated: bool,
}

/// What a replica wants done.
pub enum Output<D: Disk> {
    /// Hand to the flusher, in this order. A `Truncated` state is answered by
    /// [`Input::TruncationPersisted`], a flush by [`Input::Flushed`].
    Persist(Entry<D::File>),
    /// Send to the leader.
    Fetch {
        /// Whom.
        leader: NodeId,
        /// What.
        fetch: FetchReplica,
    },
    /// Send to the leader.
    Progress {
        /// Whom.
        leader: NodeId,
        /// What.
        progress: ProgressReplica,
    },
    /// Send to a follower, the slice behind it.
    Fetched {
        /// Whom.
        follower: NodeId,
        /// What.
        answer: FetchedReplica,
        /// The batches.
        slice: Option<Slice<D::File>>,
    },
    /// Send to the controller. Each is to be answered once ([`Input::Altered`]), by
    /// `REQUEST_TIMED_OUT`, say, if nobody knows what became of it. The controller must not look at
    /// one after a later one.
    Alter(AlterReplicas),
    /// A produce is done.
    Produced {
        /// Which.
        token: u64,
        /// How.
        outcome: Result<Produced, ErrorCode>,
    },
    /// Records are deleted on every live replica; the lowest first offset of all.
    Deleted {
        /// Which request.
        token: u64,
        /// How.
        outcome: Result<Offset, ErrorCode>,
    },
    /// More can be read.
    HighWatermark(Offset),
    /// Run it where one may wait for the disk; then [`Input::CutDone`].
    Cut(Box<Cut<D>>),
    /// Bring bytes into the page cache; then [`Input::Loaded`].
    Load {
        /// Names the wait.
        token: u64,
        /// The file.
        file: D::File,
        /// From here,
        position: u64,
        /// so many; none when the read only wants to be called again.
        bytes: u64,
    },
    /// Write down a hole that the leader has as well.
    Note(DamageNote<D>),
    /// A segment cannot be read, here at least: write that down.
    Damaged {
        /// Its base offset.
        segment: Offset,
        /// Where in it, if that is known.
        position: Option<u64>,
    },
    /// Records below the high watermark are cut off: say it aloud.
    Lost {
        /// The first of them.
        from: Offset,
        /// The offset after the last.
        to: Offset,
        /// Whether they are to be had from the leader: they were damaged here.
        is_damage: bool,
    },
    /// The log takes no more until it is reopened.
    Failed,
}

/// What a replica is at the time.
pub enum Role<D: Disk> {
    /// It takes what is produced.
    Leader(Leader<D>),
    /// It copies what the leader has.
    Follower(Follower<D>),
}

/// One partition's replica on this node.
pub struct Replica<D: Disk> {
    /// Empty only within a transition.
    role: Option<Role<D>>,
    /// Metadata that waits for a cut to end.
    deferred: Option<LeaderAndIsr>,
}

impl<D: Disk> Replica<D> {
    /// Takes a log over.
    pub fn new(now: Now, log: Log<D>, config: ReplicaConfig) -> Self {
        let local = Local::new(now, log, config);
        let follower = Follower::new(now, local);
        Replica { role: Some(Role::Follower(follower)), deferred: None }
    }

    /// Takes an input into account. Outputs of the step before must have been taken.
    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Metadata(state) => self.take_metadata(now, state),
            Input::Altered { partition_epoch, outcome } => {
                if let Some(state) = self.altered(now, partition_epoch, outcome) {
                    self.take_metadata(now, state);
                }
            }
            input => match self.role_mut() {
                Role::Leader(leader) => leader.step(now, input),
                Role::Follower(follower) => follower.step(now, input),
            },
        }
        if !self.is_cutting() {
            if let Some(state) = self.deferred.take() {
                self.take_metadata(now, state);
            }
        }
        // Behind the state of a cut a high watermark from before it would outlive it.
        if !self.is_cutting() {
            self.local_mut().note_high_watermark(now.boot);
        }
        self.local().invariants();
    }

    /// A client's batch, validated, as [`Input::Produce`]; but who calls waits for the high
    /// watermark itself ([`Output::HighWatermark`]), and for the end of this leadership.
    pub fn append(&mut self, now: Now, acks: i8, batch: BytesMut) -> Result<Produced, ErrorCode> {
        let produced = match self.role_mut() {
            Role::Leader(leader) => leader.append(now, acks, batch)?,
            Role::Follower(_) => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        self.local().invariants();
        Ok(produced)
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output<D>> {
        self.local_mut().outputs.pop_front()
    }

    /// When [`Input::Tick`] has something to do.
    pub fn next_deadline(&self) -> Boot {
        let note_at = if self.is_cutting() { Boot::NEVER } else { self.local().note_at() };
        note_at.min(match self.role() {
            Role::Leader(leader) => leader.next_deadline(),
            Role::Follower(follower) => follower.next_deadline(),
        })
    }

    /// What it is.
    pub fn role(&self) -> &Role<D> {
        self.role.as_ref().expect("a role is left only for another")
    }

    /// Its log.
    pub fn log(&self) -> &Log<D> {
        &self.local().log
    }

    /// Its log, for retention and compaction, which are the owner's to time.
    pub fn log_mut(&mut self) -> &mut Log<D> {
        &mut self.local_mut().log
    }

    /// Offsets below this one can be read.
    pub fn high_watermark(&self) -> Offset {
        self.local().high_watermark
    }

    /// Whether as many replicas are in sync as there must be. If not, what is committed is there,
    /// but not as safe as was asked for.
    pub fn has_enough(&self) -> bool {
        matches!(self.role(), Role::Leader(leader) if leader.has_enough())
    }

    /// Whether it leads, but not for long: its copy is damaged, and another one is in sync.
    pub fn gives_way(&self) -> bool {
        matches!(self.role(), Role::Leader(leader) if leader.gives_way())
    }

    /// Whether the log is being cut: nobody else may flush, expire or compact it meanwhile.
    pub fn is_cutting(&self) -> bool {
        matches!(self.role(), Role::Follower(follower) if follower.is_cutting())
    }

    /// Whether a cut was given out ([`Output::Cut`]) and [`Input::CutDone`] is still to come.
    pub fn is_being_cut(&self) -> bool {
        matches!(self.role(), Role::Follower(follower) if follower.is_being_cut())
    }

    /// Other bounds of what is copied by those that are not in sync.
    pub fn set_throttled(&mut self, now: Now, rates: ThrottledRates) {
        if self.local().config.throttled == rates {
            return;
        }
        self.local_mut().config.throttled = rates;
        match self.role_mut() {
            Role::Follower(follower) => follower.set_throttled_rate(now, rates.follower),
            Role::Leader(leader) => leader.set_throttled_rate(now, rates.leader),
        }
    }

    /// Whether it has still to catch up.
    pub fn is_behind(&self) -> bool {
        let own = self.local().config.node_id;
        matches!(self.role(), Role::Follower(_)) && !self.state().isr.contains(&own)
    }

    /// Whether it leads others that have still to.
    pub fn is_ahead(&self) -> bool {
        let LeaderAndIsr { replicas, isr, .. } = self.state();
        matches!(self.role(), Role::Leader(_)) && replicas.iter().any(|node| !isr.contains(node))
    }

    /// The state it goes by.
    pub fn state(&self) -> &LeaderAndIsr {
        &self.local().state
    }

    /// The offset that a client is told as the latest: not before all that may be committed is
    /// known.
    pub fn latest_offset(&self) -> Result<Offset, ErrorCode> {
        match self.role() {
            Role::Leader(leader) => leader.latest_offset(),
            Role::Follower(_) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Whether a consumer may read at `offset` here (KIP-392).
    pub fn check_offset(&self, offset: Offset) -> ErrorCode {
        let local = self.local();
        let end = match self.role() {
            Role::Leader(_) => local.log.end_offset(),
            Role::Follower(_) => local.high_watermark,
        };
        if offset < local.log.start_offset() {
            ErrorCode::OFFSET_OUT_OF_RANGE
        } else if offset <= end {
            ErrorCode::NONE
        } else if matches!(self.role(), Role::Leader(_)) {
            ErrorCode::OFFSET_OUT_OF_RANGE
        } else {
            // It may well exist at the leader: never a reason to begin anew.
            ErrorCode::OFFSET_NOT_AVAILABLE
        }
    }

    /// What a consumer is told whose offset lies behind this log's end. [`Replica::poll`] has something
    /// to do then.
    pub fn refuse_offset(&mut self, now: Now, offset: Offset) -> ErrorCode {
        match self.role.as_mut().expect("a role is left only for another") {
            Role::Leader(leader) => leader.refuse_offset(now, offset),
            Role::Follower(_) => ErrorCode::OFFSET_NOT_AVAILABLE,
        }
    }

    /// Gives the log back, when the replica is closed or moved away. What waits is not answered.
    pub fn into_log(self) -> Log<D> {
        match self.role.expect("a role is left only for another") {
            Role::Leader(leader) => leader.into_local().log,
            Role::Follower(follower) => follower.into_local().log,
        }
    }

    fn take_metadata(&mut self, now: Now, state: LeaderAndIsr) {
        let known = self.state();
        let deferred_epoch = self.deferred.as_ref().map_or(-1, |state| state.partition_epoch);
        let is_older = state.leader_epoch < known.leader_epoch
            || state.partition_epoch <= known.partition_epoch.max(deferred_epoch);
        if is_older {
            return;
        }
        if state.leader_epoch == known.leader_epoch {
            // A leadership has one leader.
            if state.leader == known.leader {
                match self.role_mut() {
                    Role::Leader(leader) => leader.update(now, state),
                    Role::Follower(follower) => follower.update(now, state),
                }
            }
            return;
        }
        if self.is_cutting() {
            self.deferred = Some(state);
            return;
        }
        let state = self.without_old_leadership(state);
        let is_leader = state.leader == Some(self.local().config.node_id);
        let role = self.role.take().expect("a role is left only for another");
        self.role = Some(match (role, is_leader) {
            (Role::Leader(leader), true) => Role::Leader(leader.become_leader(now, state)),
            (Role::Leader(leader), false) => Role::Follower(leader.become_follower(now, state)),
            (Role::Follower(follower), true) => Role::Leader(follower.become_leader(now, state)),
            (Role::Follower(follower), false) => {
                Role::Follower(follower.become_follower(now, state))
            }
        });
    }

    /// A leadership of this node that its log has seen already is over: the node was away since,
    /// and must not give out offsets in that epoch again. The controller raises the epoch when it
    /// comes back; until this is heard of nobody leads.
    fn without_old_leadership(&self, mut state: LeaderAndIsr) -> LeaderAndIsr {
        let is_old = state.leader_epoch <= self.log().leader_epoch();
        if is_old && state.leader == Some(self.local().config.node_id) {
            state.leader = None;
        }
        state
    }

    /// The answer to a proposal; the state to take over, if there is one.
    fn altered(
        &mut self,
        now: Now,
        partition_epoch: i32,
        outcome: Result<LeaderAndIsr, ErrorCode>,
    ) -> Option<LeaderAndIsr> {
        match (self.role_mut(), outcome) {
            (Role::Leader(leader), Err(error)) => {
                leader.refused(now, partition_epoch, error);
                None
            }
            (Role::Leader(leader), Ok(state)) => {
                leader.confirmed(now, partition_epoch, &state);
                Some(state)
            }
            (Role::Follower(_), outcome) => outcome.ok(),
        }
    }

    fn role_mut(&mut self) -> &mut Role<D> {
        self.role.as_mut().expect("a role is left only for another")
    }

    fn local(&self) -> &Local<D> {
        match self.role() {
            Role::Leader(leader) => leader.local(),
            Role::Follower(follower) => follower.local(),
        }
    }

    fn local_mut(&mut self) -> &mut Local<D> {
        match self.role_mut() {
            Role::Leader(leader) => leader.local_mut(),
            Role::Follower(follower) => follower.local_mut(),
        }
    }
}
