//! `ElectLeaders` (43): leaders by command (KIP-460).

use alloc::vec::Vec;

use crate::ids::Partition;
use crate::wire::ErrorCode;

structs! {
    ElectLeadersRequest<'a> {
        /// 0 preferred, 1 unclean; version 0 knows only the first.
        [1..] election_type: i8,
        /// `None` for all of them.
        [0..] topic_partitions: Option<Vec<TopicPartitions<'a>>>,
        [0..] timeout_ms: i32 = 60_000,
    }

    TopicPartitions<'a> {
        [0..] topic: &'a str,
        [0..] partitions: Vec<Partition>,
    }

    ElectLeadersResponse<'a> {
        [0..] throttle_time_ms: i32,
        [1..] error_code: ErrorCode,
        [0..] replica_election_results: Vec<ReplicaElectionResult<'a>>,
    }

    ReplicaElectionResult<'a> {
        [0..] topic: &'a str,
        [0..] partition_result: Vec<PartitionResult<'a>>,
    }

    PartitionResult<'a> {
        [0..] partition_id: Partition,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
    }
}
