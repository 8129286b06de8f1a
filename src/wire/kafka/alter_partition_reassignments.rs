//! `AlterPartitionReassignments` (45): partitions move between brokers (KIP-455, 860).

use alloc::vec::Vec;

use crate::ids::{NodeId, Partition};
use crate::wire::ErrorCode;

structs! {
    AlterPartitionReassignmentsRequest<'a> {
        [0..] timeout_ms: i32 = 60_000,
        [1..] allow_replication_factor_change: bool = true,
        [0..] topics: Vec<ReassignableTopic<'a>>,
    }

    ReassignableTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<ReassignablePartition>,
    }

    ReassignablePartition {
        [0..] partition_index: Partition,
        /// `None` cancels what is under way.
        [0..] replicas: Option<Vec<NodeId>>,
    }

    AlterPartitionReassignmentsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [1..] allow_replication_factor_change: bool = true,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] responses: Vec<ReassignableTopicResponse<'a>>,
    }

    ReassignableTopicResponse<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<ReassignablePartitionResponse<'a>>,
    }

    ReassignablePartitionResponse<'a> {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
    }
}
