//! `DeleteRecords` (21): a partition's first offset rises.

use alloc::vec::Vec;

use crate::ids::{Offset, Partition};
use crate::wire::ErrorCode;

structs! {
    DeleteRecordsRequest<'a> {
        [0..] topics: Vec<DeleteRecordsTopic<'a>>,
        [0..] timeout_ms: i32,
    }

    DeleteRecordsTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<DeleteRecordsPartition>,
    }

    DeleteRecordsPartition {
        [0..] partition_index: Partition,
        /// -1 stands for the high watermark.
        [0..] offset: Offset,
    }

    DeleteRecordsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] topics: Vec<DeleteRecordsTopicResult<'a>>,
    }

    DeleteRecordsTopicResult<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<DeleteRecordsPartitionResult>,
    }

    DeleteRecordsPartitionResult {
        [0..] partition_index: Partition,
        [0..] low_watermark: Offset,
        [0..] error_code: ErrorCode,
    }
}
