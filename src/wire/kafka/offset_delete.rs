//! `OffsetDelete` (47).

use alloc::vec::Vec;

use crate::ids::Partition;
use crate::wire::ErrorCode;

structs! {
    OffsetDeleteRequest<'a> {
        [0..] group_id: &'a str,
        [0..] topics: Vec<OffsetDeleteRequestTopic<'a>>,
    }

    OffsetDeleteRequestTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<OffsetDeleteRequestPartition>,
    }

    OffsetDeleteRequestPartition {
        [0..] partition_index: Partition,
    }

    OffsetDeleteResponse<'a> {
        [0..] error_code: ErrorCode,
        [0..] throttle_time_ms: i32,
        [0..] topics: Vec<OffsetDeleteResponseTopic<'a>>,
    }

    OffsetDeleteResponseTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<OffsetDeleteResponsePartition>,
    }

    OffsetDeleteResponsePartition {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
    }
}
