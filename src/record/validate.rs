//! Whether a producer's batch may enter a log (semantics.md 2.2 step 3, Kafka's `LogValidator`).
//!
//! One pass over the checksum and one over the varints; nothing is allocated for an uncompressed
//! batch. One bad record refuses the whole batch.

use crate::limits::BATCH_RECORDS_MAX;
use crate::record::batch::{Batch, BatchHeader};
use crate::record::record::Records;
use crate::record::{Compression, TimestampType};
use crate::time::Timestamp;

/// What a topic allows.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRules {
    /// The broker's time.
    pub now: Timestamp,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// Whether the topic is compacted: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` keeps the producer's.
    pub compression: Option<Compression>,
}

/// Why a batch is refused; the broker maps each to one error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The checksum is wrong, the size impossible, or the records do not decompress.
    Corrupt,
    /// Larger than `max.message.bytes`.
    TooLarge,
    /// A timestamp outside the topic's window, or set as only the broker may.
    Timestamp,
    /// A codec that nobody knows.
    Codec,
    /// Not exactly one batch of format 2 with sound records.
    Invalid,
}

/// Checks a batch that a producer sent. `bytes` must be exactly one.
pub fn validate_produce(bytes: &[u8], rules: &ProduceRules) -> Result<BatchHeader, Rejection> {
    let (batch, rest) = Batch::split_first(bytes).map_err(|why| match why {
        crate::record::BatchError::Short => Rejection::Corrupt,
        crate::record::BatchError::Magic(_) | crate::record::BatchError::Field => {
            Rejection::Invalid
        }
    })?;
    if !rest.is_empty() {
        return Err(Rejection::Invalid);
    }
    if rules.max_message_bytes < bytes.len() {
        return Err(Rejection::TooLarge);
    }
    if !batch.crc_is_valid() {
        return Err(Rejection::Corrupt);
    }
    let header = *batch.header();
    check_header(&header)?;
    match batch.compression() {
        None => return Err(Rejection::Codec),
        Some(Compression::None) => check_records(&header, batch.records_section(), rules)?,
        Some(_) => check_compressed(&batch, rules)?,
    }
    Ok(header)
}

fn check_header(header: &BatchHeader) -> Result<(), Rejection> {
    let attributes = header.attributes;
    let is_counted = 0 < header.record_count
        && header.record_count <= BATCH_RECORDS_MAX
        && header.last_offset_delta == header.record_count - 1;
    let has_producer = 0 <= header.producer_id;
    let is_sequenced = !has_producer || (0 <= header.producer_epoch && 0 <= header.base_sequence);
    let is_sound = header.base_offset.0 == 0
        && is_counted
        && is_sequenced
        && (has_producer || !attributes.is_transactional())
        && !attributes.is_control()
        && !attributes.has_delete_horizon();
    if !is_sound {
        return Err(Rejection::Invalid);
    }
    match attributes.timestamp_type() {
        TimestampType::CreateTime => Ok(()),
        TimestampType::LogAppendTime => Err(Rejection::Timestamp),
    }
}

#[cfg(feature = "std")]
fn check_compressed(batch: &Batch<'_>, rules: &ProduceRules) -> Result<(), Rejection> {
    let section = crate::record::decompress(batch, crate::limits::DECOMPRESSED_BYTES_MAX)
        .map_err(|_| Rejection::Corrupt)?;
    check_records(batch.header(), &section, rules)
}

#[cfg(not(feature = "std"))]
fn check_compressed(_: &Batch<'_>, _: &ProduceRules) -> Result<(), Rejection> {
    Err(Rejection::Codec)
}

fn check_records(
    header: &BatchHeader,
    section: &[u8],
    rules: &ProduceRules,
) -> Result<(), Rejection> {
    let mut records = Records::new(header, section);
    let mut expected_delta = 0;
    let mut max_timestamp = Timestamp(i64::MIN);
    for record in &mut records {
        let record = record.map_err(|_| Rejection::Invalid)?;
        if record.offset_delta != expected_delta || (rules.compacted && record.key.is_none()) {
            return Err(Rejection::Invalid);
        }
        if rules.timestamp_type == TimestampType::CreateTime {
            check_timestamp(record.timestamp, rules)?;
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        expected_delta += 1;
    }
    // Kafka trusts the header's maximum; the time index and retention rest on it, so it is
    // checked here: a batch that lies about its age could be kept or lost for the wrong reason.
    if expected_delta != header.record_count
        || records.remaining_bytes() != 0
        || max_timestamp != header.max_timestamp
    {
        return Err(Rejection::Invalid);
    }
    Ok(())
}

fn check_timestamp(timestamp: Timestamp, rules: &ProduceRules) -> Result<(), Rejection> {
    let earliest = rules.now.0.saturating_sub(rules.timestamp_before_max_ms);
    let latest = rules.now.0.saturating_add(rules.timestamp_after_max_ms);
    // −1 stands for no timestamp, which a topic with CreateTime takes as it is.
    let is_inside =
        timestamp == Timestamp::NONE || (earliest <= timestamp.0 && timestamp.0 <= latest);
    if is_inside { Ok(()) } else { Err(Rejection::Timestamp) }
}
