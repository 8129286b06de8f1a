//! `DescribeQuorum` (55): who agrees on the metadata, and how far they are (KIP-595, 836, 853).

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Offset, Partition, Uuid};
use crate::wire::ErrorCode;

structs! {
    DescribeQuorumRequest<'a> {
        [0..] topics: Vec<TopicRequest<'a>>,
    }

    TopicRequest<'a> {
        [0..] topic_name: &'a str,
        [0..] partitions: Vec<PartitionRequest>,
    }

    PartitionRequest {
        [0..] partition_index: Partition,
    }

    DescribeQuorumResponse<'a> {
        [0..] error_code: ErrorCode,
        [2..] error_message: Option<&'a str>,
        [0..] topics: Vec<TopicData<'a>>,
        [2..] nodes: Vec<Node<'a>>,
    }

    TopicData<'a> {
        [0..] topic_name: &'a str,
        [0..] partitions: Vec<PartitionData<'a>>,
    }

    PartitionData<'a> {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
        [2..] error_message: Option<&'a str>,
        [0..] leader_id: NodeId,
        [0..] leader_epoch: LeaderEpoch,
        [0..] high_watermark: Offset,
        [0..] current_voters: Vec<ReplicaState>,
        [0..] observers: Vec<ReplicaState>,
    }

    ReplicaState {
        [0..] replica_id: NodeId,
        [2..] replica_directory_id: Uuid,
        [0..] log_end_offset: Offset,
        [1..] last_fetch_timestamp: i64 = -1,
        [1..] last_caught_up_timestamp: i64 = -1,
    }

    Node<'a> {
        [2..] node_id: NodeId,
        [2..] listeners: Vec<Listener<'a>>,
    }

    Listener<'a> {
        [2..] name: &'a str,
        [2..] host: &'a str,
        [2..] port: u16,
    }
}
