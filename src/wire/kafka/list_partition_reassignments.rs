//! `ListPartitionReassignments` (46): what moves at present (KIP-455).

use alloc::vec::Vec;

use crate::ids::{NodeId, Partition};
use crate::wire::ErrorCode;

structs! {
    ListPartitionReassignmentsRequest<'a> {
        [0..] timeout_ms: i32 = 60_000,
        /// `None` for all of them.
        [0..] topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>>,
    }

    ListPartitionReassignmentsTopics<'a> {
        [0..] name: &'a str,
        [0..] partition_indexes: Vec<Partition>,
    }

    ListPartitionReassignmentsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] topics: Vec<OngoingTopicReassignment<'a>>,
    }

    OngoingTopicReassignment<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<OngoingPartitionReassignment>,
    }

    OngoingPartitionReassignment {
        [0..] partition_index: Partition,
        [0..] replicas: Vec<NodeId>,
        [0..] adding_replicas: Vec<NodeId>,
        [0..] removing_replicas: Vec<NodeId>,
    }
}
