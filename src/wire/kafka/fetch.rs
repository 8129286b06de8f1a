//! `Fetch` (1): batches to read, within a session or without one (KIP-227).

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicId, Uuid};
use crate::wire::ErrorCode;
use crate::wire::kafka::Records;

structs! {
    FetchRequest<'a> {
        tag 0 [12..] cluster_id: Option<&'a str>,
        /// -1 for a consumer.
        [0..=14]     replica_id: NodeId = NodeId(-1),
        tag 1 [15..] replica_state: ReplicaState,
        [0..]        max_wait_ms: i32,
        [0..]        min_bytes: i32,
        [3..]        max_bytes: i32 = i32::MAX,
        /// 0 reads all that is committed, 1 only what no open transaction holds back.
        [4..]        isolation_level: i8,
        [7..]        session_id: i32,
        /// -1 without a session, 0 to open one.
        [7..]        session_epoch: i32 = -1,
        /// Within a session, only what changed.
        [0..]        topics: Vec<FetchTopic<'a>>,
        [7..]        forgotten_topics_data: Vec<ForgottenTopic<'a>>,
        [11..]       rack_id: &'a str,
    }

    ReplicaState {
        [15..] replica_id: NodeId = NodeId(-1),
        [15..] replica_epoch: i64 = -1,
    }

    FetchTopic<'a> {
        [0..=12] topic: &'a str,
        [13..]   topic_id: TopicId,
        [0..]    partitions: Vec<FetchPartition>,
    }

    FetchPartition {
        [0..]        partition: Partition,
        /// What the client knows, or -1 for no fencing.
        [9..]        current_leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [0..]        fetch_offset: Offset,
        [12..]       last_fetched_epoch: LeaderEpoch = LeaderEpoch::NONE,
        [5..]        log_start_offset: Offset = Offset(-1),
        [0..]        partition_max_bytes: i32,
        tag 0 [17..] replica_directory_id: Uuid,
        tag 1 [18..] high_watermark: Offset = Offset(i64::MAX),
    }

    ForgottenTopic<'a> {
        [7..=12] topic: &'a str,
        [13..]   topic_id: TopicId,
        [7..]    partitions: Vec<Partition>,
    }

    FetchResponse<'a> {
        [1..]        throttle_time_ms: i32,
        [7..]        error_code: ErrorCode,
        [7..]        session_id: i32,
        [0..]        responses: Vec<FetchableTopicResponse<'a>>,
        tag 0 [16..] node_endpoints: Vec<NodeEndpoint<'a>>,
    }

    FetchableTopicResponse<'a> {
        [0..=12] topic: &'a str,
        [13..]   topic_id: TopicId,
        [0..]    partitions: Vec<PartitionData<'a>>,
    }

    PartitionData<'a> {
        [0..]        partition_index: Partition,
        [0..]        error_code: ErrorCode,
        [0..]        high_watermark: Offset,
        [4..]        last_stable_offset: Offset = Offset(-1),
        [5..]        log_start_offset: Offset = Offset(-1),
        /// Where the log of the fetcher parts from this one.
        tag 0 [12..] diverging_epoch: EpochEndOffset,
        tag 1 [12..] current_leader: LeaderIdAndEpoch,
        tag 2 [12..] snapshot_id: SnapshotId,
        [4..]        aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// A nearer replica, or -1.
        [11..]       preferred_read_replica: NodeId = NodeId(-1),
        /// Whole batches. May be a gap that `sendfile` fills.
        [0..]        records: Records<'a>,
    }

    EpochEndOffset {
        [12..] epoch: LeaderEpoch = LeaderEpoch::NONE,
        [12..] end_offset: Offset = Offset(-1),
    }

    LeaderIdAndEpoch {
        [12..] leader_id: NodeId = NodeId(-1),
        [12..] leader_epoch: LeaderEpoch = LeaderEpoch::NONE,
    }

    SnapshotId {
        [0..] end_offset: Offset = Offset(-1),
        [0..] epoch: LeaderEpoch = LeaderEpoch::NONE,
    }

    AbortedTransaction {
        [4..] producer_id: i64,
        [4..] first_offset: Offset,
    }

    NodeEndpoint<'a> {
        [16..] node_id: NodeId,
        [16..] host: &'a str,
        [16..] port: i32,
        [16..] rack: Option<&'a str>,
    }
}
