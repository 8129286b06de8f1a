//! `OffsetFetch` (9): where groups were.
//!
//! ```text
//! request                                   response
//! bool        only what is settled          list of     groups
//! list of     groups                          varint i16  error code
//!   str         group id                      list of     partitions
//!   optional    str member id                   topic ref
//!   varint i32  member epoch                    varint i32  partition
//!   optional    list of                         varint i64  offset
//!     topic ref                                 varint i32  leader epoch
//!     varint i32  partition                     str         metadata
//!                                               varint i16  error code
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::{GROUP_OFFSETS_MAX, REQUEST_GROUPS_MAX, REQUEST_PARTITIONS_MAX};
use crate::wire::{ErrorCode, TopicRef, frame};

/// A partition whose offset is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchOffset<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
}

/// A group whose offsets are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchOffsetsGroup<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_id: &'a str,
    /// The member, where it is to be checked (KIP-848).
    pub member_id: Option<&'a str>,
    /// Its epoch, −1 where it is not to be checked.
    pub member_epoch: i32,
    /// `None` for all partitions that the group has offsets of.
    #[serde(deserialize_with = "frame::optional_list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Option<Vec<FetchOffset<'a>>>,
}

/// Asks for offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetFetchRequest<'a> {
    /// Whether offsets that a running transaction may replace are withheld
    /// (`UNSTABLE_OFFSET_COMMIT`).
    pub require_stable: bool,
    /// The groups; none twice.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<FetchOffsetsGroup<'a>>,
}

/// The offset of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedOffset<'a> {
    /// The topic, as it was asked for; by name where all were.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
    /// The offset of the next record to read, −1 when none was committed.
    pub offset: Offset,
    /// Leader epoch of the last record read, if it was known.
    pub leader_epoch: LeaderEpoch,
    /// What was committed with it.
    pub metadata: &'a str,
    /// `NONE`, also when none was committed.
    pub error: ErrorCode,
}

impl<'a> FetchedOffset<'a> {
    /// The answer where nothing was committed (`NONE`), or where it cannot be told.
    pub const fn absent(
        topic: TopicRef<'a>,
        partition: Partition,
        error: ErrorCode,
    ) -> FetchedOffset<'a> {
        FetchedOffset {
            topic,
            partition,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "",
            error,
        }
    }
}

/// The offsets of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedOffsets<'a> {
    /// What went wrong with all of them; the list is then empty.
    pub error: ErrorCode,
    /// In the order of the request, or ascending where all were asked for.
    #[serde(borrow, deserialize_with = "frame::list::<GROUP_OFFSETS_MAX, _, _>")]
    pub partitions: Vec<FetchedOffset<'a>>,
}

/// One answer per group, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetFetchResponse<'a> {
    /// See [`FetchedOffsets`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<FetchedOffsets<'a>>,
}
