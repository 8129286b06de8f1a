//! `ListOffsets` (2): offsets by timestamp.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Offset, Partition};
use crate::wire::ErrorCode;

structs! {
    ListOffsetsRequest<'a> {
        [0..]  replica_id: NodeId,
        [2..]  isolation_level: i8,
        [0..]  topics: Vec<ListOffsetsTopic<'a>>,
        [10..] timeout_ms: i32,
    }

    ListOffsetsTopic<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<ListOffsetsPartition>,
    }

    ListOffsetsPartition {
        [0..] partition_index: Partition,
        [4..] current_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        /// -1 latest, -2 earliest, -3 that of the greatest timestamp; -4 and -5 concern tiers.
        [0..] timestamp: i64,
    }

    ListOffsetsResponse<'a> {
        [2..] throttle_time_ms: i32,
        [0..] topics: Vec<ListOffsetsTopicResponse<'a>>,
    }

    ListOffsetsTopicResponse<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<ListOffsetsPartitionResponse>,
    }

    ListOffsetsPartitionResponse {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
        [1..] timestamp: i64 = -1,
        [1..] offset: Offset = Offset(-1),
        [4..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
    }
}
