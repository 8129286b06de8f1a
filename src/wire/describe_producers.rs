//! `DescribeProducers` (61): the idempotent producers that partitions remember.
//!
//! ```text
//! request                                   response
//! list of                                   list of
//!   topic ref                                 varint i16  error code
//!   varint i32  partition                     list of
//!                                               varint i64  producer id
//!                                               varint i16  producer epoch
//!                                               varint i32  last sequence
//!                                               varint i64  last timestamp
//!                                               varint i32  coordinator epoch, -1
//!                                               varint i64  first offset of its transaction, -1
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, Partition};
use crate::limits::{PARTITION_PRODUCERS_MAX, REQUEST_PARTITIONS_MAX};
use crate::time::Timestamp;
use crate::wire::{ErrorCode, TopicRef, frame};

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducersPartition<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: Partition,
}

/// Questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeProducersRequest<'a> {
    /// One per partition; none twice.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<ProducersPartition<'a>>,
}

/// A producer as a partition knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence of the last record it wrote.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator that ended its last transaction, −1 for none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, −1 for none.
    pub transaction_start_offset: Offset,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedProducers {
    /// `NONE`, or why nothing is known.
    pub error: ErrorCode,
    /// The producers by rising id.
    #[serde(deserialize_with = "frame::list::<PARTITION_PRODUCERS_MAX, _, _>")]
    pub producers: Vec<ActiveProducer>,
}

impl DescribedProducers {
    /// The answer where there is nothing to ask.
    pub const fn failed(error: ErrorCode) -> DescribedProducers {
        DescribedProducers { error, producers: Vec::new() }
    }
}

/// One answer per question, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeProducersResponse {
    /// See [`DescribedProducers`].
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<DescribedProducers>,
}
