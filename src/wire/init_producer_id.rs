//! `InitProducerId` (22): an id for an idempotent producer, or the next epoch of one it has.
//!
//! ```text
//! request                                   response
//! option      str transactional id          varint i16  error code
//! varint u32  transaction timeout, ms       varint i64  producer id
//! varint i64  producer id, -1               varint i16  producer epoch
//! varint i16  producer epoch, -1
//! ```
//!
//! There are no transactions yet: a request with a transactional id is answered
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, which clients take for final.

use serde::{Deserialize, Serialize};

use crate::wire::ErrorCode;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitProducerIdRequest<'a> {
    /// The name that a transactional producer keeps across restarts.
    #[serde(borrow)]
    pub transactional_id: Option<&'a str>,
    /// How long a transaction may stay open.
    pub transaction_timeout_ms: u32,
    /// The id that the producer has, −1 for none: its epoch rises, and its sequences begin at 0
    /// again (KIP-360).
    pub producer_id: i64,
    /// That id's epoch, −1 for none.
    pub producer_epoch: i16,
}

impl InitProducerIdRequest<'_> {
    /// Asks for an id that nobody had.
    pub const NEW: InitProducerIdRequest<'static> = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 0,
        producer_id: -1,
        producer_epoch: -1,
    };
}

/// What the producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitProducerIdResponse {
    /// `NONE`, or why there is no id.
    pub error: ErrorCode,
    /// The id, −1 on an error.
    pub producer_id: i64,
    /// Its epoch, −1 on an error.
    pub producer_epoch: i16,
}

impl InitProducerIdResponse {
    /// No id.
    pub const fn failed(error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse { error, producer_id: -1, producer_epoch: -1 }
    }
}
