//! `DeleteGroups` (42).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    DeleteGroupsRequest<'a> {
        [0..] groups_names: Vec<&'a str>,
    }

    DeleteGroupsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] results: Vec<DeletableGroupResult<'a>>,
    }

    DeletableGroupResult<'a> {
        [0..] group_id: &'a str,
        [0..] error_code: ErrorCode,
    }
}
