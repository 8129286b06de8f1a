//! `SyncGroup` (14).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    SyncGroupRequest<'a> {
        [0..] group_id: &'a str,
        [0..] generation_id: i32,
        [0..] member_id: &'a str,
        [3..] group_instance_id: Option<&'a str>,
        [5..] protocol_type: Option<&'a str>,
        [5..] protocol_name: Option<&'a str>,
        [0..] assignments: Vec<SyncGroupRequestAssignment<'a>>,
    }

    SyncGroupRequestAssignment<'a> {
        [0..] member_id: &'a str,
        [0..] assignment: &'a [u8],
    }

    SyncGroupResponse<'a> {
        [1..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [5..] protocol_type: Option<&'a str>,
        [5..] protocol_name: Option<&'a str>,
        [0..] assignment: &'a [u8],
    }
}
