//! `DescribeProducers` (61).

use alloc::vec::Vec;

use crate::ids::{Offset, Partition};
use crate::wire::ErrorCode;

structs! {
    DescribeProducersRequest<'a> {
        [0..] topics: Vec<TopicRequest<'a>>,
    }

    TopicRequest<'a> {
        [0..] name: &'a str,
        [0..] partition_indexes: Vec<Partition>,
    }

    DescribeProducersResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] topics: Vec<TopicResponse<'a>>,
    }

    TopicResponse<'a> {
        [0..] name: &'a str,
        [0..] partitions: Vec<PartitionResponse<'a>>,
    }

    PartitionResponse<'a> {
        [0..] partition_index: Partition,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] active_producers: Vec<ProducerState>,
    }

    ProducerState {
        [0..] producer_id: i64,
        [0..] producer_epoch: i32,
        [0..] last_sequence: i32 = -1,
        [0..] last_timestamp: i64 = -1,
        [0..] coordinator_epoch: i32,
        [0..] current_txn_start_offset: Offset = Offset(-1),
    }
}
