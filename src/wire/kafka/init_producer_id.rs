//! `InitProducerId` (22).

use crate::wire::ErrorCode;

structs! {
    InitProducerIdRequest<'a> {
        [0..] transactional_id: Option<&'a str>,
        [0..] transaction_timeout_ms: i32,
        /// -1 for a new one; otherwise its epoch rises (KIP-360).
        [3..] producer_id: i64 = -1,
        [3..] producer_epoch: i16 = -1,
        [6..] enable2_pc: bool,
        [6..] keep_prepared_txn: bool,
    }

    InitProducerIdResponse {
        [0..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] producer_id: i64 = -1,
        [0..] producer_epoch: i16,
        [6..] ongoing_txn_producer_id: i64 = -1,
        [6..] ongoing_txn_producer_epoch: i16 = -1,
    }
}
