//! `LeaveGroup` (13): one member up to version 2, several from 3 on.

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    LeaveGroupRequest<'a> {
        [0..]   group_id: &'a str,
        [0..=2] member_id: &'a str,
        [3..]   members: Vec<MemberIdentity<'a>>,
    }

    MemberIdentity<'a> {
        [3..] member_id: &'a str,
        [3..] group_instance_id: Option<&'a str>,
        [5..] reason: Option<&'a str>,
    }

    LeaveGroupResponse<'a> {
        [1..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [3..] members: Vec<MemberResponse<'a>>,
    }

    MemberResponse<'a> {
        [3..] member_id: &'a str,
        [3..] group_instance_id: Option<&'a str>,
        [3..] error_code: ErrorCode,
    }
}
