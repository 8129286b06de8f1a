//! Records: what lies between a batch's header and its end, uncompressed.
//!
//! ```text
//! varint   length of what follows
//! i8       attributes, unused
//! varlong  timestamp delta
//! varint   offset delta
//! varint   key length, −1 for none;    key
//! varint   value length, −1 for none;  value
//! varint   header count
//!          each: varint key length, key, varint value length (−1 for none), value
//! ```
//!
//! Varints are zigzag, which is what postcard writes for `i32` and `i64`. Read Kafka's
//! `DefaultRecord.java` before editing.
//!
//! **Invariant:** hostile bytes end in an error; nothing is indexed by what they say.

use core::fmt;

use crate::ids::Offset;
use crate::limits::RECORD_HEADERS_MAX;
use crate::record::TimestampType;
use crate::record::batch::BatchHeader;
use crate::record::varint::{take_i32, take_i64};
use crate::time::Timestamp;

/// Bytes that are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError;

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record of the batch does not decode")
    }
}

impl core::error::Error for RecordError {}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its offset, less the batch's base offset.
    pub offset_delta: i32,
    /// Unused bits; every client writes 0.
    pub attributes: i8,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; a record without one is a tombstone.
    pub value: Option<&'a [u8]>,
    header_count: i32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its headers, in order; a key may repeat.
    pub fn headers(&self) -> Headers<'a> {
        Headers { left: self.header_count, bytes: self.headers }
    }
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key: text by convention.
    pub key: &'a [u8],
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record. They were checked with the record, so reading them cannot fail.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: i32,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        take_header(&mut self.bytes)
    }
}

/// The records of a batch.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    left: i32,
    base_offset: Offset,
    base_timestamp: Timestamp,
    append_time: Option<Timestamp>,
}

impl<'a> Records<'a> {
    /// The records in `section`, which is uncompressed, of a batch with this header.
    pub fn new(header: &BatchHeader, section: &'a [u8]) -> Records<'a> {
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Records {
            bytes: section,
            left: header.record_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time,
        }
    }

    /// Bytes after the last record read; none should be left after the last of all.
    pub fn remaining_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The next record, whatever the batch says of their number.
    #[expect(clippy::inline_always, reason = "what a caller does not look at is not put together")]
    #[inline(always)]
    pub(super) fn take_record(&mut self) -> Option<Record<'a>> {
        let bytes = usize::try_from(take_i32(&mut self.bytes)?).ok()?;
        let (mut record, rest) = self.bytes.split_at_checked(bytes)?;
        self.bytes = rest;
        let attributes = take_bytes(&mut record, 1)?.first().copied()? as i8;
        let timestamp_delta = take_i64(&mut record)?;
        let offset_delta = take_i32(&mut record)?;
        let key = take_nullable(&mut record)?;
        let value = take_nullable(&mut record)?;
        let header_count = take_i32(&mut record)?;
        if !(0..=RECORD_HEADERS_MAX).contains(&header_count) {
            return None;
        }
        let headers = record;
        for _ in 0..header_count {
            take_header(&mut record)?;
        }
        if !record.is_empty() {
            return None;
        }
        // Kafka's clients wrap around here, so that any two timestamps have a delta.
        let own_time = Timestamp(self.base_timestamp.0.wrapping_add(timestamp_delta));
        Some(Record {
            offset: self.base_offset.checked_add(i64::from(offset_delta))?,
            attributes,
            offset_delta,
            timestamp: self.append_time.unwrap_or(own_time),
            key,
            value,
            header_count,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        let record = self.take_record();
        // After an error nothing that follows can be trusted.
        self.left = if record.is_some() { self.left - 1 } else { 0 };
        Some(record.ok_or(RecordError))
    }
}

#[inline]
fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// `None` for bytes that are no field, `Some(None)` for a field that is null.
#[expect(clippy::option_option, reason = "the outer one is for `?`, and stays in this file")]
#[expect(clippy::inline_always, reason = "see `Records::take_record`")]
#[inline(always)]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_i32(bytes)? {
        -1 => Some(None),
        count => take_bytes(bytes, usize::try_from(count).ok()?).map(Some),
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<Header<'a>> {
    let key_bytes = usize::try_from(take_i32(bytes)?).ok()?;
    let key = take_bytes(bytes, key_bytes)?;
    let value = take_nullable(bytes)?;
    Some(Header { key, value })
}
