//! `ListGroups` (16).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    ListGroupsRequest<'a> {
        /// Empty for all of them.
        [4..] states_filter: Vec<&'a str>,
        /// Empty for all of them.
        [5..] types_filter: Vec<&'a str>,
    }

    ListGroupsResponse<'a> {
        [1..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] groups: Vec<ListedGroup<'a>>,
    }

    ListedGroup<'a> {
        [0..] group_id: &'a str,
        [0..] protocol_type: &'a str,
        [4..] group_state: &'a str,
        [5..] group_type: &'a str,
    }
}
