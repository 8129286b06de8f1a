//! `DescribeTopicPartitions` (75): topics in pages (KIP-966).

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    DescribeTopicPartitionsRequest<'a> {
        [0..] topics: Vec<TopicRequest<'a>>,
        [0..] response_partition_limit: i32 = 2000,
        /// Where the last page ended.
        [0..] cursor: Option<Cursor<'a>>,
    }

    TopicRequest<'a> {
        [0..] name: &'a str,
    }

    Cursor<'a> {
        [0..] topic_name: &'a str,
        [0..] partition_index: Partition,
    }

    DescribeTopicPartitionsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>,
        [0..] next_cursor: Option<Cursor<'a>>,
    }

    DescribeTopicPartitionsResponseTopic<'a> {
        [0..] error_code: ErrorCode,
        [0..] name: Option<&'a str>,
        [0..] topic_id: TopicId,
        [0..] is_internal: bool,
        [0..] partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        [0..] topic_authorized_operations: i32 = i32::MIN,
    }

    DescribeTopicPartitionsResponsePartition {
        [0..] error_code: ErrorCode,
        [0..] partition_index: Partition,
        [0..] leader_id: NodeId,
        [0..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..] replica_nodes: Vec<NodeId>,
        [0..] isr_nodes: Vec<NodeId>,
        [0..] eligible_leader_replicas: Option<Vec<NodeId>>,
        [0..] last_known_elr: Option<Vec<NodeId>>,
        [0..] offline_replicas: Vec<NodeId>,
    }
}
