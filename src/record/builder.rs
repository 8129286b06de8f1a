//! Building batches: records pushed one by one, closed with a header and a checksum.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset};
use crate::record::Compression;
use crate::record::batch::{
    Attributes, BatchHeader, HEADER_BYTES, LENGTH_END, MAGIC, stamp_crc, write_at,
};
use crate::record::varint::{put_i64, size_i64};
use crate::time::Timestamp;

/// A header as a producer gives it: a key, and a value or none.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records: an uncompressed batch is never copied.
    bytes: Vec<u8>,
    record_count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    is_control: bool,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            bytes: Vec::from([0; HEADER_BYTES]),
            record_count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            is_control: false,
        }
    }

    /// Says that the batch holds a marker for whoever keeps the log, and no data.
    pub fn set_control(&mut self) {
        self.is_control = true;
    }

    /// Says which idempotent producer sends the batch, and the sequence of its first record.
    pub fn set_producer(&mut self, producer_id: i64, epoch: i16, base_sequence: i32) {
        self.producer_id = producer_id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let header_bytes: usize = headers.iter().map(header_bytes).sum();
        let bytes = 1
            + size_i64(delta)
            + size_i64(i64::from(self.record_count))
            + nullable_bytes(key)
            + nullable_bytes(value)
            + size_i64(headers.len() as i64)
            + header_bytes;
        let out = &mut self.bytes;
        out.reserve(size_i64(bytes as i64) + bytes);
        put_i64(out, bytes as i64);
        out.push(0);
        put_i64(out, delta);
        put_i64(out, i64::from(self.record_count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_i64(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key.as_bytes()));
            put_nullable(out, *value);
        }
        self.record_count += 1;
    }

    /// Records in it so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch if it were closed now, uncompressed.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Closes the batch: base offset 0, no leader epoch.
    ///
    /// # Panics
    /// Without `std` only [`Compression::None`] can be written.
    pub fn finish(mut self, compression: Compression) -> Vec<u8> {
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::of(compression).with_control(self.is_control),
            last_offset_delta: (self.record_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.record_count,
        };
        compress(compression, &mut self.bytes);
        seal(header, &mut self.bytes);
        self.bytes
    }
}

#[cfg(feature = "std")]
pub(super) fn compress(compression: Compression, batch: &mut Vec<u8>) {
    if compression != Compression::None {
        let section = batch.split_off(HEADER_BYTES);
        crate::record::compression::compress_into(compression, &section, batch);
    }
}

#[cfg(not(feature = "std"))]
pub(super) fn compress(compression: Compression, _: &mut Vec<u8>) {
    assert!(compression == Compression::None, "codecs need the feature `std`");
}

/// Writes `header` into the room before the records, with the length and checksum they have.
pub(super) fn seal(mut header: BatchHeader, batch: &mut [u8]) {
    let length = batch.len() - LENGTH_END;
    header.length = i32::try_from(length).expect("a batch is far below 2 GiB");
    write_at(batch, 0, header.to_bytes());
    stamp_crc(batch);
}

fn header_bytes((key, value): &HeaderRef<'_>) -> usize {
    nullable_bytes(Some(key.as_bytes())) + nullable_bytes(*value)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => size_i64(bytes.len() as i64) + bytes.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_i64(out, -1),
        Some(bytes) => {
            put_i64(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
