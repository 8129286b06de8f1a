//! Building batches: records pushed one by one, closed with a header and a checksum.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset};
use crate::record::Compression;
use crate::record::batch::{Attributes, BatchHeader, CRC_START, HEADER_BYTES, LENGTH_END, MAGIC};
use crate::record::crc::crc32c;
use crate::time::Timestamp;

/// A header as a producer gives it: a key, and a value or none.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// A batch in the making.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    section: Vec<u8>,
    record_count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
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
            + varint_bytes(delta)
            + varint_bytes(i64::from(self.record_count))
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varint_bytes(headers.len() as i64)
            + header_bytes;
        let out = &mut self.section;
        put_varint(out, bytes as i64);
        out.push(0);
        put_varint(out, delta);
        put_varint(out, i64::from(self.record_count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, headers.len() as i64);
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
        HEADER_BYTES + self.section.len()
    }

    /// Closes the batch: base offset 0, no epoch, no producer.
    ///
    /// # Panics
    /// Without `std` only [`Compression::None`] can be written.
    pub fn finish(self, compression: Compression) -> Vec<u8> {
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::of(compression),
            last_offset_delta: (self.record_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: self.record_count,
        };
        let section = compress(compression, self.section);
        close(header, &section)
    }
}

#[cfg(feature = "std")]
fn compress(compression: Compression, section: Vec<u8>) -> Vec<u8> {
    match compression {
        Compression::None => section,
        codec => crate::record::compression::compress(codec, &section),
    }
}

#[cfg(not(feature = "std"))]
fn compress(compression: Compression, section: Vec<u8>) -> Vec<u8> {
    assert!(compression == Compression::None, "codecs need the feature `std`");
    section
}

/// A batch of `header` and `section`: length and checksum are computed here.
pub(super) fn close(mut header: BatchHeader, section: &[u8]) -> Vec<u8> {
    let bytes = HEADER_BYTES + section.len() - LENGTH_END;
    header.length = i32::try_from(bytes).expect("a batch is far below 2 GiB");
    let mut batch = Vec::with_capacity(HEADER_BYTES + section.len());
    batch.extend_from_slice(&header.to_bytes());
    batch.extend_from_slice(section);
    header.crc = crc32c(&batch[CRC_START..]);
    batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    batch
}

fn header_bytes((key, value): &HeaderRef<'_>) -> usize {
    nullable_bytes(Some(key.as_bytes())) + nullable_bytes(*value)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint_bytes(bytes.len() as i64) + bytes.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while 0x80 <= rest {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_what_postcard_writes() {
        for value in [0, -1, 1, 63, 64, -64, -65, 300, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, postcard::to_allocvec(&value).expect("a Vec takes all"), "{value}");
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }
}
