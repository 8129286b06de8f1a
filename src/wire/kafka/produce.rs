//! `Produce` (0): batches to append.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicId};
use crate::wire::ErrorCode;
use crate::wire::kafka::Records;

structs! {
    ProduceRequest<'a> {
        [3..] transactional_id: Option<&'a str>,
        /// -1 for all replicas in sync, 0 for no answer at all, 1 for the leader.
        [0..] acks: i16,
        [0..] timeout_ms: i32,
        [0..] topic_data: Vec<TopicProduceData<'a>>,
    }

    TopicProduceData<'a> {
        [0..=12] name: &'a str,
        [13..]   topic_id: TopicId,
        [0..]    partition_data: Vec<PartitionProduceData<'a>>,
    }

    PartitionProduceData<'a> {
        [0..] index: Partition,
        /// One batch.
        [0..] records: Records<'a>,
    }

    ProduceResponse<'a> {
        [0..]        responses: Vec<TopicProduceResponse<'a>>,
        [1..]        throttle_time_ms: i32,
        /// Where the leaders of the hints are.
        tag 0 [10..] node_endpoints: Vec<NodeEndpoint<'a>>,
    }

    TopicProduceResponse<'a> {
        [0..=12] name: &'a str,
        [13..]   topic_id: TopicId,
        [0..]    partition_responses: Vec<PartitionProduceResponse<'a>>,
    }

    PartitionProduceResponse<'a> {
        [0..]        index: Partition,
        [0..]        error_code: ErrorCode,
        [0..]        base_offset: Offset,
        /// -1 unless the topic takes its own time as the timestamp.
        [2..]        log_append_time_ms: i64 = -1,
        [5..]        log_start_offset: Offset = Offset(-1),
        /// The records for which the whole batch was refused.
        [8..]        record_errors: Vec<BatchIndexAndErrorMessage<'a>>,
        [8..]        error_message: Option<&'a str>,
        /// A hint with `NOT_LEADER_OR_FOLLOWER` (KIP-951).
        tag 0 [10..] current_leader: LeaderIdAndEpoch,
    }

    BatchIndexAndErrorMessage<'a> {
        [8..] batch_index: i32,
        [8..] batch_index_error_message: Option<&'a str>,
    }

    LeaderIdAndEpoch {
        [10..] leader_id: NodeId = NodeId(-1),
        [10..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
    }

    NodeEndpoint<'a> {
        [10..] node_id: NodeId,
        [10..] host: &'a str,
        [10..] port: i32,
        [10..] rack: Option<&'a str>,
    }
}
