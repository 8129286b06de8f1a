//! `CreateTopics` (19).

use alloc::vec::Vec;

use crate::ids::{NodeId, Partition, TopicId};
use crate::wire::ErrorCode;

structs! {
    CreateTopicsRequest<'a> {
        [0..] topics: Vec<CreatableTopic<'a>>,
        [0..] timeout_ms: i32 = 60_000,
        [1..] validate_only: bool,
    }

    CreatableTopic<'a> {
        [0..] name: &'a str,
        /// -1 for the default, or with assignments.
        [0..] num_partitions: i32,
        /// -1 for the default, or with assignments.
        [0..] replication_factor: i16,
        [0..] assignments: Vec<CreatableReplicaAssignment>,
        [0..] configs: Vec<CreatableTopicConfig<'a>>,
    }

    CreatableReplicaAssignment {
        [0..] partition_index: Partition,
        [0..] broker_ids: Vec<NodeId>,
    }

    CreatableTopicConfig<'a> {
        [0..] name: &'a str,
        [0..] value: Option<&'a str>,
    }

    CreateTopicsResponse<'a> {
        [2..] throttle_time_ms: i32,
        [0..] topics: Vec<CreatableTopicResult<'a>>,
    }

    CreatableTopicResult<'a> {
        [0..]       name: &'a str,
        [7..]       topic_id: TopicId,
        [0..]       error_code: ErrorCode,
        [1..]       error_message: Option<&'a str>,
        /// Why `configs` is null.
        tag 0 [5..] topic_config_error_code: ErrorCode,
        [5..]       num_partitions: i32 = -1,
        [5..]       replication_factor: i16 = -1,
        [5..]       configs: Option<Vec<CreatableTopicConfigs<'a>>>,
    }

    CreatableTopicConfigs<'a> {
        [5..] name: &'a str,
        [5..] value: Option<&'a str>,
        [5..] read_only: bool,
        [5..] config_source: i8 = -1,
        [5..] is_sensitive: bool,
    }
}
