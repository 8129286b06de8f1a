//! `DescribeGroups` (15).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    DescribeGroupsRequest<'a> {
        [0..] groups: Vec<&'a str>,
        [3..] include_authorized_operations: bool,
    }

    DescribeGroupsResponse<'a> {
        [1..] throttle_time_ms: i32,
        [0..] groups: Vec<DescribedGroup<'a>>,
    }

    DescribedGroup<'a> {
        [0..] error_code: ErrorCode,
        [6..] error_message: Option<&'a str>,
        [0..] group_id: &'a str,
        [0..] group_state: &'a str,
        [0..] protocol_type: &'a str,
        [0..] protocol_data: &'a str,
        [0..] members: Vec<DescribedGroupMember<'a>>,
        [3..] authorized_operations: i32 = i32::MIN,
    }

    DescribedGroupMember<'a> {
        [0..] member_id: &'a str,
        [4..] group_instance_id: Option<&'a str>,
        [0..] client_id: &'a str,
        [0..] client_host: &'a str,
        [0..] member_metadata: &'a [u8],
        [0..] member_assignment: &'a [u8],
    }
}
