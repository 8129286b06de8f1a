//! `UnregisterBroker` (64): a broker that is gone is taken off the list (KIP-631).

use crate::ids::NodeId;
use crate::wire::ErrorCode;

structs! {
    UnregisterBrokerRequest {
        [0..] broker_id: NodeId,
    }

    UnregisterBrokerResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
    }
}
