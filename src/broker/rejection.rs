//! From a refused batch to Kafka's error code (semantics.md §3, rows of Produce), and the one case
//! in which the broker changes a batch's records: another codec is asked for.

use bytes::BytesMut;

use crate::record::{self, Rejection};
use crate::topic_config::TopicConfig;
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

/// Brings a validated batch into the codec of `compression.type`, if that is not the producer's.
pub(super) fn recompress(config: &TopicConfig, batch: &mut BytesMut) -> Result<(), ErrorCode> {
    let Some(target) = config.compression_type else { return Ok(()) };
    match record::recompress(batch, target) {
        Ok(None) => Ok(()),
        Ok(Some(fresh)) if (config.max_message_bytes as usize) < fresh.len() => {
            Err(ErrorCode::MESSAGE_TOO_LARGE)
        }
        Ok(Some(fresh)) => {
            *batch = BytesMut::from(&fresh[..]);
            Ok(())
        }
        Err(_) => Err(ErrorCode::CORRUPT_MESSAGE),
    }
}
