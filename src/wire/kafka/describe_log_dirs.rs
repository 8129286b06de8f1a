//! `DescribeLogDirs` (35).

use alloc::vec::Vec;

use crate::ids::Partition;
use crate::wire::ErrorCode;

structs! {
    DescribeLogDirsRequest<'a> {
        /// `None` for all of them.
        [0..] topics: Option<Vec<DescribableLogDirTopic<'a>>>,
    }

    DescribableLogDirTopic<'a> {
        [0..] topic: &'a str,
        [0..] partitions: Vec<Partition>,
    }

    DescribeLogDirsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [3..] error_code: ErrorCode,
        [0..] results: Vec<DescribeLogDirsResult<'a>>,
    }

    DescribeLogDirsResult<'a> {
        [0..] error_code: ErrorCode,
        [0..] log_dir: &'a str,
        [0..] topics: Vec<DescribeLogDirsTopic<'a>>,
        [4..] total_bytes: i64 = -1,
        [4..] usable_bytes: i64 = -1,
        [5..] is_cordoned: bool,
    }

    DescribeLogDirsTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<DescribeLogDirsPartition>,
    }

    DescribeLogDirsPartition {
        [0..] partition_index: Partition,
        [0..] partition_size: i64,
        [0..] offset_lag: i64,
        [0..] is_future_key: bool,
    }
}
