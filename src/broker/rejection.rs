//! From a refused batch to Kafka's error code (semantics.md §3, rows of Produce).

use crate::record::Rejection;
use crate::wire::ErrorCode;

/// The code that a client gets for a refused batch.
pub(super) fn error_code(why: Rejection) -> ErrorCode {
    match why {
        Rejection::Corrupt => ErrorCode::CORRUPT_MESSAGE,
        Rejection::TooLarge => ErrorCode::MESSAGE_TOO_LARGE,
        Rejection::Timestamp => ErrorCode::INVALID_TIMESTAMP,
        Rejection::Codec => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        Rejection::Invalid => ErrorCode::INVALID_RECORD,
    }
}
