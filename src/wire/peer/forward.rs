//! Requests that one node passes on to another: a client's to the active controller, and a broker's
//! own (219, 220).
//!
//! ```text
//! Forwarded                                 Answered
//! varint u64  number                        varint u64  number, that of the request
//! u8          api key                       varint i16  error code
//! ...         the request's body, raw       varint i64  end of the metadata that it rests on
//!                                           ...         the response's body, raw
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::Offset;
use crate::wire::ErrorCode;

/// A request, behind which its body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// Chosen by who asks, repeated in the answer.
    pub number: u64,
    /// What the body is.
    pub api_key: u8,
}

/// An answer, behind which its body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// That of the request.
    pub number: u64,
    /// `NONE`, or why there is no body.
    pub error: ErrorCode,
    /// Whoever asked knows what it was told once it has replayed so far.
    pub end_offset: Offset,
}
