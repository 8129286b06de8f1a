//! `DescribeCluster` (60).
//!
//! ```text
//! request                                   response
//! (nothing)                                 varint i16  error code
//!                                           16 bytes    cluster id
//!                                           varint i32  controller
//!                                           list of brokers, as in Metadata
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Uuid};
use crate::wire::metadata::MetadataBroker;
use crate::wire::{ErrorCode, frame};

/// Asks who is there; it has no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeClusterRequest {}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeClusterResponse<'a> {
    /// Always `NONE` so far.
    pub error: ErrorCode,
    /// The cluster.
    pub cluster_id: Uuid,
    /// The active controller.
    pub controller_id: NodeId,
    /// Live brokers.
    #[serde(borrow, deserialize_with = "frame::list::<1024, _, _>")]
    pub brokers: Vec<MetadataBroker<'a>>,
}
