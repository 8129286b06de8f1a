//! `JoinGroup` (11).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    JoinGroupRequest<'a> {
        [0..] group_id: &'a str,
        [0..] session_timeout_ms: i32,
        /// -1 stands for the session timeout.
        [1..] rebalance_timeout_ms: i32 = -1,
        [0..] member_id: &'a str,
        [5..] group_instance_id: Option<&'a str>,
        [0..] protocol_type: &'a str,
        [0..] protocols: Vec<JoinGroupRequestProtocol<'a>>,
        [8..] reason: Option<&'a str>,
    }

    JoinGroupRequestProtocol<'a> {
        [0..] name: &'a str,
        [0..] metadata: &'a [u8],
    }

    JoinGroupResponse<'a> {
        [2..]        throttle_time_ms: i32,
        [0..]        error_code: ErrorCode,
        [0..]        generation_id: i32 = -1,
        [7..]        protocol_type: Option<&'a str>,
        [0..] ?[7..] protocol_name: Option<&'a str>,
        [0..]        leader: &'a str,
        [9..]        skip_assignment: bool,
        [0..]        member_id: &'a str,
        /// Only for the leader of the group.
        [0..]        members: Vec<JoinGroupResponseMember<'a>>,
    }

    JoinGroupResponseMember<'a> {
        [0..] member_id: &'a str,
        [5..] group_instance_id: Option<&'a str>,
        [0..] metadata: &'a [u8],
    }
}
