//! `CreatePartitions` (37): topics grow.

use alloc::vec::Vec;

use crate::ids::NodeId;
use crate::wire::ErrorCode;

structs! {
    CreatePartitionsRequest<'a> {
        [0..] topics: Vec<CreatePartitionsTopic<'a>>,
        [0..] timeout_ms: i32,
        [0..] validate_only: bool,
    }

    CreatePartitionsTopic<'a> {
        [0..] name: &'a str,
        /// Partitions it has afterwards.
        [0..] count: i32,
        [0..] assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    CreatePartitionsAssignment {
        [0..] broker_ids: Vec<NodeId>,
    }

    CreatePartitionsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] results: Vec<CreatePartitionsTopicResult<'a>>,
    }

    CreatePartitionsTopicResult<'a> {
        [0..] name: &'a str,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
    }
}
