//! `OffsetFetch` (9): one group up to version 7, several from 8 on.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    OffsetFetchRequest<'a> {
        [0..=7]          group_id: &'a str,
        /// `None` for all of them.
        [0..=7] ?[2..=7] topics: Option<Vec<OffsetFetchRequestTopic<'a>>>,
        [8..]            groups: Vec<OffsetFetchRequestGroup<'a>>,
        [7..]            require_stable: bool,
    }

    OffsetFetchRequestTopic<'a> {
        [0..=7] name: &'a str,
        [0..=7] partition_indexes: Vec<Partition>,
    }

    OffsetFetchRequestGroup<'a> {
        [8..] group_id: &'a str,
        [9..] member_id: Option<&'a str>,
        [9..] member_epoch: i32 = -1,
        /// `None` for all of them.
        [8..] topics: Option<Vec<OffsetFetchRequestTopics<'a>>>,
    }

    OffsetFetchRequestTopics<'a> {
        [8..=9] name: &'a str,
        [10..]  topic_id: TopicId,
        [8..]   partition_indexes: Vec<Partition>,
    }

    OffsetFetchResponse<'a> {
        [3..]   throttle_time_ms: i32,
        [0..=7] topics: Vec<OffsetFetchResponseTopic<'a>>,
        [2..=7] error_code: ErrorCode,
        [8..]   groups: Vec<OffsetFetchResponseGroup<'a>>,
    }

    OffsetFetchResponseTopic<'a> {
        [0..=7] name: &'a str,
        [0..=7] partitions: Vec<OffsetFetchResponsePartition<'a>>,
    }

    OffsetFetchResponsePartition<'a> {
        [0..=7] partition_index: Partition,
        [0..=7] committed_offset: Offset,
        [5..=7] committed_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..=7] metadata: Option<&'a str>,
        [0..=7] error_code: ErrorCode,
    }

    OffsetFetchResponseGroup<'a> {
        [8..] group_id: &'a str,
        [8..] topics: Vec<OffsetFetchResponseTopics<'a>>,
        [8..] error_code: ErrorCode,
    }

    OffsetFetchResponseTopics<'a> {
        [8..=9] name: &'a str,
        [10..]  topic_id: TopicId,
        [8..]   partitions: Vec<OffsetFetchResponsePartitions<'a>>,
    }

    OffsetFetchResponsePartitions<'a> {
        [8..] partition_index: Partition,
        [8..] committed_offset: Offset,
        [8..] committed_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [8..] metadata: Option<&'a str>,
        [8..] error_code: ErrorCode,
    }
}
