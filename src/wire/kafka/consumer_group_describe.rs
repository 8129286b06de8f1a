//! `ConsumerGroupDescribe` (69).

use alloc::vec::Vec;

use crate::ids::{Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    ConsumerGroupDescribeRequest<'a> {
        [0..] group_ids: Vec<&'a str>,
        [0..] include_authorized_operations: bool,
    }

    ConsumerGroupDescribeResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] groups: Vec<DescribedGroup<'a>>,
    }

    DescribedGroup<'a> {
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] group_id: &'a str,
        [0..] group_state: &'a str,
        [0..] group_epoch: i32,
        [0..] assignment_epoch: i32,
        [0..] assignor_name: &'a str,
        [0..] members: Vec<Member<'a>>,
        [0..] authorized_operations: i32 = i32::MIN,
    }

    Member<'a> {
        [0..] member_id: &'a str,
        [0..] instance_id: Option<&'a str>,
        [0..] rack_id: Option<&'a str>,
        [0..] member_epoch: i32,
        [0..] client_id: &'a str,
        [0..] client_host: &'a str,
        [0..] subscribed_topic_names: Vec<&'a str>,
        [0..] subscribed_topic_regex: Option<&'a str>,
        [0..] assignment: Assignment<'a>,
        [0..] target_assignment: Assignment<'a>,
        /// -1 unknown, 0 classic, 1 of KIP-848.
        [1..] member_type: i8 = -1,
    }

    TopicPartitions<'a> {
        [0..] topic_id: TopicId,
        [0..] topic_name: &'a str,
        [0..] partitions: Vec<Partition>,
    }

    Assignment<'a> {
        [0..] topic_partitions: Vec<TopicPartitions<'a>>,
    }
}
