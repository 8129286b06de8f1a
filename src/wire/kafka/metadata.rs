//! `Metadata` (3): brokers, topics, partitions and their leaders.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    MetadataRequest<'a> {
        /// `None` for all of them; version 0 says so with an empty list.
        [0..] ?[1..] topics: Option<Vec<MetadataRequestTopic<'a>>>,
        [4..]        allow_auto_topic_creation: bool = true,
        [8..=10]     include_cluster_authorized_operations: bool,
        [8..]        include_topic_authorized_operations: bool,
    }

    MetadataRequestTopic<'a> {
        [10..]        topic_id: TopicId,
        [0..] ?[10..] name: Option<&'a str>,
    }

    MetadataResponse<'a> {
        [3..]    throttle_time_ms: i32,
        [0..]    brokers: Vec<MetadataResponseBroker<'a>>,
        [2..]    cluster_id: Option<&'a str>,
        [1..]    controller_id: NodeId = NodeId(-1),
        [0..]    topics: Vec<MetadataResponseTopic<'a>>,
        [8..=10] cluster_authorized_operations: i32 = i32::MIN,
        [13..]   error_code: ErrorCode,
    }

    MetadataResponseBroker<'a> {
        [0..] node_id: NodeId,
        [0..] host: &'a str,
        [0..] port: i32,
        [1..] rack: Option<&'a str>,
    }

    MetadataResponseTopic<'a> {
        [0..]         error_code: ErrorCode,
        [0..] ?[12..] name: Option<&'a str>,
        [10..]        topic_id: TopicId,
        [1..]         is_internal: bool,
        [0..]         partitions: Vec<MetadataResponsePartition>,
        [8..]         topic_authorized_operations: i32 = i32::MIN,
    }

    MetadataResponsePartition {
        [0..] error_code: ErrorCode,
        [0..] partition_index: Partition,
        [0..] leader_id: NodeId,
        [7..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..] replica_nodes: Vec<NodeId>,
        [0..] isr_nodes: Vec<NodeId>,
        [5..] offline_replicas: Vec<NodeId>,
    }
}
