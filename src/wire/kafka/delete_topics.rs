//! `DeleteTopics` (20).

use alloc::vec::Vec;

use crate::ids::TopicId;
use crate::wire::ErrorCode;

structs! {
    DeleteTopicsRequest<'a> {
        [6..]   topics: Vec<DeleteTopicState<'a>>,
        [0..=5] topic_names: Vec<&'a str>,
        [0..]   timeout_ms: i32,
    }

    DeleteTopicState<'a> {
        /// `None` where the id stands for it.
        [6..] name: Option<&'a str>,
        [6..] topic_id: TopicId,
    }

    DeleteTopicsResponse<'a> {
        [1..] throttle_time_ms: i32,
        [0..] responses: Vec<DeletableTopicResult<'a>>,
    }

    DeletableTopicResult<'a> {
        [0..] ?[6..] name: Option<&'a str>,
        [6..]        topic_id: TopicId,
        [0..]        error_code: ErrorCode,
        [5..]        error_message: Option<&'a str>,
    }
}
