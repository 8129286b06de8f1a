//! `ConsumerGroupHeartbeat` (68): the whole of KIP-848's protocol.

use alloc::vec::Vec;

use crate::ids::{Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    ConsumerGroupHeartbeatRequest<'a> {
        [0..] group_id: &'a str,
        [0..] member_id: &'a str,
        /// 0 joins, -1 leaves, -2 leaves for a while as a static member.
        [0..] member_epoch: i32,
        [0..] instance_id: Option<&'a str>,
        [0..] rack_id: Option<&'a str>,
        [0..] rebalance_timeout_ms: i32 = -1,
        [0..] subscribed_topic_names: Option<Vec<&'a str>>,
        [1..] subscribed_topic_regex: Option<&'a str>,
        [0..] server_assignor: Option<&'a str>,
        /// What the member holds; `None` while that has not changed.
        [0..] topic_partitions: Option<Vec<TopicPartitions>>,
    }

    TopicPartitions {
        [0..] topic_id: TopicId,
        [0..] partitions: Vec<Partition>,
    }

    ConsumerGroupHeartbeatResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] member_id: Option<&'a str>,
        [0..] member_epoch: i32,
        [0..] heartbeat_interval_ms: i32,
        /// `None` while it has not changed.
        [0..] assignment: Option<Assignment>,
    }

    Assignment {
        [0..] topic_partitions: Vec<TopicPartitions>,
    }
}
