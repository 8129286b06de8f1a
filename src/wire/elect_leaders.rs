//! `ElectLeaders` (43): leaders by command (KIP-460).
//!
//! ```text
//! request                                   response
//! varint u32  timeout, ms                   list of
//! varint u32  0 preferred, 1 unclean          varint i16  error code
//! list of                                     str         message
//!   topic ref
//!   varint i32  partition
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::Partition;
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::{TopicRef, frame};

/// Which leader is wanted. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionKind {
    /// The first replica, where it is in sync.
    Preferred,
    /// Anyone alive, where nobody leads and nobody in sync is there: records may be lost.
    Unclean,
}

/// A partition that is to have a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
}

/// Partitions that are to have leaders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectLeadersRequest<'a> {
    /// How long the broker may take, in ms.
    pub timeout_ms: u32,
    /// Which leaders.
    pub kind: ElectionKind,
    /// The partitions.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ElectPartition<'a>>,
}

/// One answer per partition, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectLeadersResponse<'a> {
    /// See [`TopicOutcome`]; `ELECTION_NOT_NEEDED` where all is as wished.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<TopicOutcome<'a>>,
}
