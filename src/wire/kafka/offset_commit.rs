//! `OffsetCommit` (8).

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    OffsetCommitRequest<'a> {
        [0..]   group_id: &'a str,
        /// -1 from a consumer that is no member.
        [1..]   generation_id_or_member_epoch: i32 = -1,
        [1..]   member_id: &'a str,
        [7..]   group_instance_id: Option<&'a str>,
        [2..=4] retention_time_ms: i64 = -1,
        [0..]   topics: Vec<OffsetCommitRequestTopic<'a>>,
    }

    OffsetCommitRequestTopic<'a> {
        [0..=9] name: &'a str,
        [10..]  topic_id: TopicId,
        [0..]   partitions: Vec<OffsetCommitRequestPartition<'a>>,
    }

    OffsetCommitRequestPartition<'a> {
        [0..] partition_index: Partition,
        [0..] committed_offset: Offset,
        [6..] committed_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..] committed_metadata: Option<&'a str>,
    }

    OffsetCommitResponse<'a> {
        [3..] throttle_time_ms: i32,
        [0..] topics: Vec<OffsetCommitResponseTopic<'a>>,
    }

    OffsetCommitResponseTopic<'a> {
        [0..=9] name: &'a str,
        [10..]  topic_id: TopicId,
        [0..]   partitions: Vec<OffsetCommitResponsePartition>,
    }

    OffsetCommitResponsePartition {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
    }
}
