//! `Heartbeat` (12).

use crate::wire::ErrorCode;

structs! {
    HeartbeatRequest<'a> {
        [0..] group_id: &'a str,
        [0..] generation_id: i32,
        [0..] member_id: &'a str,
        [3..] group_instance_id: Option<&'a str>,
    }

    HeartbeatResponse {
        [1..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
    }
}
