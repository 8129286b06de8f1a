//! Whether a producer's batch may enter a log (semantics.md 2.2 step 3, Kafka's `LogValidator`).
//!
//! One pass over the checksum and one over the varints; nothing is allocated for an uncompressed
//! batch. One bad record refuses the whole batch.
//!
//! **The largest timestamp.** The time index and retention rest on the header's `max_timestamp`,
//! which a producer may get wrong. `LogValidator` computes the maximum of the records and
//! overwrites what the producer wrote. [`admit_produce`] does the same; [`validate_produce`],
//! which may not write, refuses such a batch. Either way a lie never reaches a log. (Kafka counts
//! from −1, so a batch whose timestamps all lie before −1 gets −1; here it gets its maximum.)
//!
//! Stricter than Kafka, because what no client sends should not become what we must keep: no
//! delete horizon, no unknown attribute bits, no transaction without a producer id, no attributes
//! in a record, no bytes after the last record. Kafka rewrites batches whose inner offsets are not
//! 0, 1, 2 (a bug of clients of 2016); they are refused here.

use alloc::vec::Vec;

use crate::limits::{BAD_RECORDS_MAX, BATCH_RECORDS_MAX};
use crate::record::batch::{Batch, BatchError, BatchHeader};
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
    /// Memory that the records may take when decompressed.
    pub window_bytes_max: usize,
}

/// Why a batch is refused; the broker maps each to one error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The checksum is wrong or the size impossible: sending again may help.
    Corrupt,
    /// Larger than `max.message.bytes`.
    TooLarge,
    /// Its records decompress to more than `window_bytes_max`, or than any batch may.
    Window,
    /// A timestamp outside the topic's window, or set as only the broker may.
    Timestamp,
    /// A codec that nobody knows.
    Codec,
    /// Not exactly one batch of format 2 with sound records.
    Invalid,
}

/// Checks a batch that a producer sent. `bytes` must be exactly one, fit to be stored as it is;
/// whether it has the topic's codec is not looked at ([`admit_produce`] sees to that).
pub fn validate_produce(bytes: &[u8], rules: &ProduceRules) -> Result<BatchHeader, Rejection> {
    let batch = check_batch(bytes, rules)?;
    let header = *batch.header();
    let bad = &mut Vec::new();
    let max_timestamp = match batch.compression() {
        None => return Err(Rejection::Codec),
        Some(Compression::None) => check_records(&header, batch.records_section(), rules, bad)?,
        Some(_) => check_compressed(&batch, rules)?,
    };
    // With LogAppendTime the broker's own time goes over it.
    if rules.timestamp_type == TimestampType::CreateTime && max_timestamp != header.max_timestamp {
        return Err(Rejection::Invalid);
    }
    Ok(header)
}

/// A batch that may be appended.
#[cfg(feature = "std")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The header of what is to be appended.
    pub header: BatchHeader,
    /// What to append in place of the producer's bytes, when the topic has another codec.
    pub rewritten: Option<Vec<u8>>,
}

/// Checks a batch that a producer sent and makes it fit for the topic, as Kafka does: a wrong
/// `max_timestamp` is put right in place, and a batch in another codec than the topic's is written
/// anew and measured again. Where some records are to blame for a refusal, `bad_records` names the
/// first of them by their places in the batch (KIP-467).
#[cfg(feature = "std")]
pub fn admit_produce(
    bytes: &mut [u8],
    rules: &ProduceRules,
    bad_records: &mut Vec<u32>,
) -> Result<Admitted, Rejection> {
    use crate::record::compression::{decompress, recompress_section};
    use crate::record::{CompressionError, stamp_max_timestamp};

    let batch = check_batch(bytes, rules)?;
    let section = decompress(&batch, rules.window_bytes_max)?;
    let max_timestamp = check_records(batch.header(), &section, rules, bad_records)?;
    let source = batch.compression().ok_or(CompressionError::Codec)?;
    let header = BatchHeader { max_timestamp, ..*batch.header() };
    if let Some(target) = rules.compression.filter(|target| *target != source) {
        let rewritten = recompress_section(header, &section, target);
        if rules.max_message_bytes < rewritten.len() {
            return Err(Rejection::TooLarge);
        }
        let header = BatchHeader::parse(&rewritten).map_err(refuse)?;
        return Ok(Admitted { header, rewritten: Some(rewritten) });
    }
    let is_right = max_timestamp == batch.header().max_timestamp;
    if is_right || rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(Admitted { header: *batch.header(), rewritten: None });
    }
    stamp_max_timestamp(bytes, max_timestamp);
    let header = BatchHeader::parse(bytes).map_err(refuse)?;
    Ok(Admitted { header, rewritten: None })
}

/// Everything but the records.
fn check_batch<'a>(bytes: &'a [u8], rules: &ProduceRules) -> Result<Batch<'a>, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::Invalid);
    }
    let (batch, rest) = Batch::split_first(bytes).map_err(refuse)?;
    if !rest.is_empty() {
        return Err(Rejection::Invalid);
    }
    if rules.max_message_bytes < bytes.len() {
        return Err(Rejection::TooLarge);
    }
    if !batch.crc_is_valid() {
        return Err(Rejection::Corrupt);
    }
    check_header(batch.header())?;
    Ok(batch)
}

fn refuse(error: BatchError) -> Rejection {
    match error {
        BatchError::Short | BatchError::Length => Rejection::Corrupt,
        BatchError::Magic(_) | BatchError::Field => Rejection::Invalid,
    }
}

fn check_header(header: &BatchHeader) -> Result<(), Rejection> {
    let attributes = header.attributes;
    let is_counted = 0 < header.record_count
        && header.record_count <= BATCH_RECORDS_MAX
        && header.last_offset_delta == header.record_count - 1;
    let has_producer = 0 <= header.producer_id;
    let is_sequenced = if has_producer {
        0 <= header.producer_epoch && 0 <= header.base_sequence
    } else {
        header.producer_id == -1 && !attributes.is_transactional()
    };
    let is_sound = header.base_offset.0 == 0
        && is_counted
        && is_sequenced
        && !attributes.is_control()
        && !attributes.has_delete_horizon()
        && !attributes.has_unknown_bits();
    if !is_sound {
        return Err(Rejection::Invalid);
    }
    match attributes.timestamp_type() {
        TimestampType::CreateTime => Ok(()),
        TimestampType::LogAppendTime => Err(Rejection::Timestamp),
    }
}

#[cfg(feature = "std")]
fn check_compressed(batch: &Batch<'_>, rules: &ProduceRules) -> Result<Timestamp, Rejection> {
    let section = crate::record::decompress(batch, rules.window_bytes_max)?;
    check_records(batch.header(), &section, rules, &mut Vec::new())
}

#[cfg(not(feature = "std"))]
fn check_compressed(_: &Batch<'_>, _: &ProduceRules) -> Result<Timestamp, Rejection> {
    Err(Rejection::Codec)
}

#[cfg(feature = "std")]
impl From<crate::record::CompressionError> for Rejection {
    fn from(error: crate::record::CompressionError) -> Rejection {
        use crate::record::CompressionError;
        match error {
            CompressionError::Codec => Rejection::Codec,
            // The checksum was right, so the producer meant it: sending again cannot help.
            CompressionError::Malformed => Rejection::Invalid,
            CompressionError::TooLarge => Rejection::Window,
        }
    }
}

/// Walks the records and returns their largest timestamp. All of them are looked at, for the
/// producer is to hear which of them the topic does not take.
fn check_records(
    header: &BatchHeader,
    section: &[u8],
    rules: &ProduceRules,
    bad_records: &mut Vec<u32>,
) -> Result<Timestamp, Rejection> {
    let window = Window::of(rules);
    let mut rejection = None;
    let mut records = Records::new(header, section);
    let mut max_timestamp = Timestamp(i64::MIN);
    // Not by the iterator: this loop is the larger part of what a record costs the broker, and
    // takes two thirds longer when each is put together and handed over.
    for expected_delta in 0..header.record_count {
        let record = records.take_record();
        let Some(record) =
            record.filter(|record| record.offset_delta == expected_delta && record.attributes == 0)
        else {
            bad_records.clear();
            return Err(Rejection::Invalid);
        };
        let is_in_time = window.contains(record.timestamp);
        let lacks_key = rules.compacted && record.key.is_none();
        if lacks_key || !is_in_time {
            let is_late = !is_in_time || rejection == Some(Rejection::Timestamp);
            rejection = Some(if is_late { Rejection::Timestamp } else { Rejection::Invalid });
            if bad_records.len() < BAD_RECORDS_MAX {
                bad_records.push(expected_delta as u32);
            }
        }
        max_timestamp = max_timestamp.max(record.timestamp);
    }
    if records.remaining_bytes() != 0 {
        bad_records.clear();
        return Err(Rejection::Invalid);
    }
    rejection.map_or(Ok(max_timestamp), Err)
}

/// The timestamps that a topic takes.
struct Window {
    earliest: Timestamp,
    latest: Timestamp,
}

impl Window {
    fn of(rules: &ProduceRules) -> Window {
        match rules.timestamp_type {
            TimestampType::CreateTime => Window {
                earliest: Timestamp(rules.now.0.saturating_sub(rules.timestamp_before_max_ms)),
                latest: Timestamp(rules.now.0.saturating_add(rules.timestamp_after_max_ms)),
            },
            // The broker's time replaces the records', whatever they say.
            TimestampType::LogAppendTime => {
                Window { earliest: Timestamp(i64::MIN), latest: Timestamp(i64::MAX) }
            }
        }
    }

    /// −1 stands for no timestamp, which a topic with `CreateTime` takes as it is.
    fn contains(&self, timestamp: Timestamp) -> bool {
        timestamp == Timestamp::NONE || (self.earliest <= timestamp && timestamp <= self.latest)
    }
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::indexing_slicing, reason = "tests know their sizes")]
mod tests;
