//! A partition's log as its shard keeps it: alone, or in a replica that has others elsewhere.
//!
//! Why two, where a replica without others would do: a single node is the most common site, and on
//! it a batch goes from its frame to the log, and its end from the journal to the client, without a
//! detour. What both have in common is the log, which either stands for.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use crate::broker::mail::{RequestId, Route};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::disk::Disk;
use crate::log::Log;
use crate::replica::{Replica, Role};
use crate::time::Boot;
use crate::wire::ErrorCode;

/// See the module.
#[expect(
    clippy::large_enum_variant,
    reason = "most partitions are alone, and a box would cost each a step"
)]
pub(super) enum Kept<D: Disk> {
    /// The only copy there is.
    Alone(Log<D>),
    /// One of several.
    Replica(Box<KeptReplica<D>>),
}

/// A replica, and what its shard knows beside it.
pub(super) struct KeptReplica<D: Disk> {
    pub replica: Replica<D>,
    /// By which way each follower last asked.
    pub routes: BTreeMap<NodeId, Route>,
    /// Deletions of records that wait for other replicas, by their name.
    pub deletions: BTreeMap<u64, RequestId>,
    /// Those that are done and not answered.
    pub deleted: Vec<(u64, Result<Offset, ErrorCode>)>,
    /// When it was last said to have something to do.
    pub due: Boot,
    /// Whether it led when it was last looked at.
    pub did_lead: bool,
}

impl<D: Disk> KeptReplica<D> {
    pub fn new(replica: Replica<D>) -> Self {
        KeptReplica {
            replica,
            routes: BTreeMap::new(),
            deletions: BTreeMap::new(),
            deleted: Vec::new(),
            due: Boot::NEVER,
            did_lead: false,
        }
    }
}

impl<D: Disk> Kept<D> {
    pub fn replica(&self) -> Option<&Replica<D>> {
        match self {
            Kept::Alone(_) => None,
            Kept::Replica(kept) => Some(&kept.replica),
        }
    }

    pub fn kept_replica(&mut self) -> Option<&mut KeptReplica<D>> {
        match self {
            Kept::Alone(_) => None,
            Kept::Replica(kept) => Some(kept),
        }
    }

    pub fn into_log(self) -> Log<D> {
        match self {
            Kept::Alone(log) => log,
            Kept::Replica(kept) => kept.replica.into_log(),
        }
    }

    /// Whether clients may write here.
    pub fn leads(&self) -> bool {
        self.replica().is_none_or(|replica| matches!(replica.role(), Role::Leader(_)))
    }

    /// Whether another one is about to lead, because the copy here is damaged.
    pub fn gives_way(&self) -> bool {
        self.replica().is_some_and(Replica::gives_way)
    }

    /// The epoch of the leadership that is known of.
    pub fn known_epoch(&self) -> LeaderEpoch {
        match self {
            Kept::Alone(log) => log.leader_epoch(),
            Kept::Replica(kept) => kept.replica.state().leader_epoch,
        }
    }

    /// Offsets below this one can be read.
    pub fn high_watermark(&self) -> Offset {
        match self {
            Kept::Alone(log) if log.config().acks_durable => log.durable_offset(),
            Kept::Alone(log) => log.end_offset(),
            Kept::Replica(kept) => kept.replica.high_watermark(),
        }
    }

    /// What a client is told as the latest offset.
    pub fn latest_offset(&self) -> Result<Offset, ErrorCode> {
        match self {
            Kept::Alone(_) => Ok(self.high_watermark()),
            Kept::Replica(kept) => kept.replica.latest_offset(),
        }
    }

    /// Whether a consumer may read at an offset of a replica that does not lead: such a one knows
    /// less than the leader, so what it lacks is no reason to begin anew (KIP-392).
    pub fn check_follower_read(&self, offset: Offset, may_follow: bool) -> ErrorCode {
        match self.replica() {
            Some(replica) if may_follow => replica.check_offset(offset),
            _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
    }

    /// Whether a cut is under way: nothing may be flushed here, expired or compacted meanwhile.
    pub fn is_cutting(&self) -> bool {
        self.replica().is_some_and(Replica::is_cutting)
    }

    /// Whether somebody is at work on a cut just now, and will say when it is over.
    pub fn is_being_cut(&self) -> bool {
        self.replica().is_some_and(Replica::is_being_cut)
    }

    /// Whether what is committed is as safe as was asked for.
    pub fn has_enough(&self) -> bool {
        self.replica().is_none_or(Replica::has_enough)
    }
}

impl<D: Disk> Deref for Kept<D> {
    type Target = Log<D>;

    fn deref(&self) -> &Log<D> {
        match self {
            Kept::Alone(log) => log,
            Kept::Replica(kept) => kept.replica.log(),
        }
    }
}

impl<D: Disk> DerefMut for Kept<D> {
    fn deref_mut(&mut self) -> &mut Log<D> {
        match self {
            Kept::Alone(log) => log,
            Kept::Replica(kept) => kept.replica.log_mut(),
        }
    }
}
