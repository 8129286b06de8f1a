//! `OffsetForLeaderEpoch` (23): where a leader epoch ended.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Offset, Partition};
use crate::wire::ErrorCode;

structs! {
    OffsetForLeaderEpochRequest<'a> {
        /// -1 or -2 for a consumer.
        [3..] replica_id: NodeId = NodeId(-2),
        [0..] topics: Vec<OffsetForLeaderTopic<'a>>,
    }

    OffsetForLeaderTopic<'a> {
        [0..] topic: &'a str,
        [0..] partitions: Vec<OffsetForLeaderPartition>,
    }

    OffsetForLeaderPartition {
        [0..] partition: Partition,
        [2..] current_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..] leader_epoch: LeaderEpoch,
    }

    OffsetForLeaderEpochResponse<'a> {
        [2..] throttle_time_ms: i32,
        [0..] topics: Vec<OffsetForLeaderTopicResult<'a>>,
    }

    OffsetForLeaderTopicResult<'a> {
        [0..] topic: &'a str,
        [0..] partitions: Vec<EpochEndOffset>,
    }

    EpochEndOffset {
        [0..] error_code: ErrorCode,
        [0..] partition: Partition,
        [1..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..] end_offset: Offset = Offset(-1),
    }
}
