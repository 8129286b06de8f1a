//! The record batch v2: its header, and a whole batch as borrowed bytes.
//!
//! ```text
//!  0  i64  base offset             stamped by the leader, outside the CRC
//!  8  i32  length                  bytes that follow this field
//! 12  i32  partition leader epoch  stamped by the leader, outside the CRC
//! 16  i8   magic                   2
//! 17  u32  crc                     CRC-32C of everything from 21 to the end
//! 21  i16  attributes              0-2 codec, 3 timestamp type, 4 transactional, 5 control,
//!                                  6 delete horizon
//! 23  i32  last offset delta
//! 27  i64  base timestamp
//! 35  i64  max timestamp
//! 43  i64  producer id             −1 without idempotence
//! 51  i16  producer epoch          −1
//! 53  i32  base sequence           −1
//! 57  i32  record count
//! 61       records                 one after another, or compressed as a whole
//! ```
//!
//! All integers are big endian, which is what postcard writes for `postcard::fixint::be` fields: a
//! microcontroller encodes the header as a postcard struct ([`BatchHeader`] is one), and the hot
//! path here parses it by hand; a test holds the two together. Read Kafka's
//! `DefaultRecordBatch.java` and semantics.md 2.1 before editing.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset};
use crate::record::crc::crc32c;
use crate::record::record::Records;
use crate::record::{Compression, TimestampType};
use crate::time::Timestamp;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;

/// Bytes before those that the length field counts.
pub const LENGTH_END: usize = 12;

/// The only format that is read or written.
pub const MAGIC: i8 = 2;

/// Where the bytes begin that the CRC covers.
pub const CRC_START: usize = 21;

const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(#[serde(with = "postcard::fixint::be")] pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;
    const KNOWN: i16 = 0x7f;

    /// The attributes of a plain batch in some codec.
    pub const fn of(compression: Compression) -> Attributes {
        Attributes(compression as i16)
    }

    /// The codec, if its number is known.
    pub const fn compression(self) -> Option<Compression> {
        Compression::from_number(self.0 & Self::CODEC)
    }

    /// Who stamped the records.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker, not data.
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// The same attributes of a batch that holds a marker, or does not.
    #[must_use]
    pub const fn with_control(self, is_control: bool) -> Attributes {
        Attributes(if is_control { self.0 | Self::CONTROL } else { self.0 & !Self::CONTROL })
    }

    /// Whether a bit is set that has no meaning yet.
    pub const fn has_unknown_bits(self) -> bool {
        self.0 & !Self::KNOWN != 0
    }

    /// The same attributes in another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Attributes {
        Attributes((self.0 & !Self::CODEC) | compression as i16)
    }

    /// Whether the base timestamp is the time from which tombstones may go.
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same attributes of a batch whose base timestamp is its delete horizon.
    #[must_use]
    pub const fn with_delete_horizon(self) -> Attributes {
        Attributes(self.0 | Self::DELETE_HORIZON)
    }

    /// The same attributes of a batch that has none.
    #[must_use]
    pub const fn without_delete_horizon(self) -> Attributes {
        Attributes(self.0 & !Self::DELETE_HORIZON)
    }
}

/// The fields before a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// Offset of the first record.
    #[serde(with = "offset_be")]
    pub base_offset: Offset,
    /// Bytes after this field.
    #[serde(with = "postcard::fixint::be")]
    pub length: i32,
    /// Epoch of the leader that appended it.
    #[serde(with = "epoch_be")]
    pub leader_epoch: LeaderEpoch,
    /// [`MAGIC`].
    pub magic: i8,
    /// See the table above.
    #[serde(with = "postcard::fixint::be")]
    pub crc: u32,
    /// See [`Attributes`].
    pub attributes: Attributes,
    /// Offset of the last record, less the base offset; kept through compaction.
    #[serde(with = "postcard::fixint::be")]
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    #[serde(with = "timestamp_be")]
    pub base_timestamp: Timestamp,
    /// The largest timestamp among the records.
    #[serde(with = "timestamp_be")]
    pub max_timestamp: Timestamp,
    /// Who wrote it, for idempotence; −1 for nobody.
    #[serde(with = "postcard::fixint::be")]
    pub producer_id: i64,
    /// Incarnation of that producer.
    #[serde(with = "postcard::fixint::be")]
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    #[serde(with = "postcard::fixint::be")]
    pub base_sequence: i32,
    /// Records in it.
    #[serde(with = "postcard::fixint::be")]
    pub record_count: i32,
}

macro_rules! big_endian_newtype {
    ($module:ident, $newtype:ident) => {
        mod $module {
            use super::$newtype;
            use serde::{Deserializer, Serializer};

            pub fn serialize<S: Serializer>(v: &$newtype, s: S) -> Result<S::Ok, S::Error> {
                postcard::fixint::be::serialize(&v.0, s)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$newtype, D::Error> {
                postcard::fixint::be::deserialize(d).map($newtype)
            }
        }
    };
}

big_endian_newtype!(offset_be, Offset);
big_endian_newtype!(epoch_be, LeaderEpoch);
big_endian_newtype!(timestamp_be, Timestamp);

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the header, or than its length says.
    Short,
    /// A format other than version 2.
    Magic(i8),
    /// A length that no batch has.
    Length,
    /// An offset or count that no batch has.
    Field,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the batch is cut short"),
            Self::Magic(magic) => write!(f, "the batch has format {magic}, only 2 is read"),
            Self::Length => f.write_str("the batch has an impossible length"),
            Self::Field => f.write_str("the batch has an impossible offset or count"),
        }
    }
}

impl core::error::Error for BatchError {}

/// Takes the first `N` bytes of what is left of a header.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*field)
}

/// Writes a field to the front of what is left of a header, and returns what is left then.
fn put<const N: usize>(rest: &mut [u8], field: [u8; N]) -> &mut [u8] {
    let (place, tail) = rest.split_first_chunk_mut().expect("the fields add up to the header");
    *place = field;
    tail
}

impl BatchHeader {
    /// Reads the header at the front of `bytes` and checks what can be checked without the rest.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = Self::read(bytes).ok_or(BatchError::Short)?;
        header.check().map(|()| header)
    }

    fn read(mut bytes: &[u8]) -> Option<BatchHeader> {
        let rest = &mut bytes;
        Some(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(take(rest)?)),
            length: i32::from_be_bytes(take(rest)?),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(take(rest)?)),
            magic: i8::from_be_bytes(take(rest)?),
            crc: u32::from_be_bytes(take(rest)?),
            attributes: Attributes(i16::from_be_bytes(take(rest)?)),
            last_offset_delta: i32::from_be_bytes(take(rest)?),
            base_timestamp: Timestamp(i64::from_be_bytes(take(rest)?)),
            max_timestamp: Timestamp(i64::from_be_bytes(take(rest)?)),
            producer_id: i64::from_be_bytes(take(rest)?),
            producer_epoch: i16::from_be_bytes(take(rest)?),
            base_sequence: i32::from_be_bytes(take(rest)?),
            record_count: i32::from_be_bytes(take(rest)?),
        })
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.magic != MAGIC {
            return Err(BatchError::Magic(self.magic));
        }
        let length_min = (HEADER_BYTES - LENGTH_END) as i32;
        if self.length < length_min {
            return Err(BatchError::Length);
        }
        let is_sane = 0 <= self.base_offset.0
            && 0 <= self.last_offset_delta
            && 0 <= self.record_count
            // Compaction takes records out of a batch and never adds any.
            && i64::from(self.record_count) <= i64::from(self.last_offset_delta) + 1
            && self.base_offset.0 < i64::MAX - i64::from(self.last_offset_delta);
        if is_sane { Ok(()) } else { Err(BatchError::Field) }
    }

    /// The header as it stands at the front of a batch.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let rest = bytes.as_mut_slice();
        let rest = put(rest, self.base_offset.0.to_be_bytes());
        let rest = put(rest, self.length.to_be_bytes());
        let rest = put(rest, self.leader_epoch.0.to_be_bytes());
        let rest = put(rest, self.magic.to_be_bytes());
        let rest = put(rest, self.crc.to_be_bytes());
        let rest = put(rest, self.attributes.0.to_be_bytes());
        let rest = put(rest, self.last_offset_delta.to_be_bytes());
        let rest = put(rest, self.base_timestamp.0.to_be_bytes());
        let rest = put(rest, self.max_timestamp.0.to_be_bytes());
        let rest = put(rest, self.producer_id.to_be_bytes());
        let rest = put(rest, self.producer_epoch.to_be_bytes());
        let rest = put(rest, self.base_sequence.to_be_bytes());
        put(rest, self.record_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch.
    pub const fn size_bytes(&self) -> usize {
        // `check` holds the length positive.
        LENGTH_END + self.length as usize
    }

    /// Offset of the last record.
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0 + self.last_offset_delta as i64)
    }

    /// Offset after the last record.
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0 + 1)
    }
}

/// A whole batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`, and what follows it.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Batch<'a>, &'a [u8]), BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let (batch, rest) = bytes.split_at_checked(header.size_bytes()).ok_or(BatchError::Short)?;
        Ok((Batch { header, bytes: batch }, rest))
    }

    /// Its header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All of it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the checksum is right.
    pub fn crc_is_valid(&self) -> bool {
        crc_of(self.bytes) == self.header.crc
    }

    /// The codec, if its number is known.
    pub const fn compression(&self) -> Option<Compression> {
        self.header.attributes.compression()
    }

    /// Who stamped the records.
    pub const fn timestamp_type(&self) -> TimestampType {
        self.header.attributes.timestamp_type()
    }

    /// The records as they stand in the batch: compressed if it is.
    pub fn records_section(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The records of an uncompressed batch; of a compressed one, decompress the section first and
    /// use [`Records::new`].
    pub fn records(&self) -> Records<'a> {
        Records::new(&self.header, self.records_section())
    }
}

/// Writes offset and epoch into a batch. They lie outside the CRC, so nothing else changes.
pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    write_at(batch, 0, base_offset.0.to_be_bytes());
    write_at(batch, LEADER_EPOCH_AT, leader_epoch.0.to_be_bytes());
}

/// Gives all records of a batch the broker's time, and the batch its new checksum.
pub fn stamp_log_append_time(batch: &mut [u8], now: Timestamp) {
    let header = BatchHeader::read(batch).expect("a batch that is stamped was parsed before");
    let attributes = header.attributes.0 | Attributes::LOG_APPEND_TIME;
    write_at(batch, ATTRIBUTES_AT, attributes.to_be_bytes());
    stamp_max_timestamp(batch, now);
}

/// Says who sends a batch and as which of its batches, and gives it the new checksum.
pub fn stamp_producer(batch: &mut [u8], producer_id: i64, epoch: i16, base_sequence: i32) {
    write_at(batch, PRODUCER_ID_AT, producer_id.to_be_bytes());
    write_at(batch, PRODUCER_EPOCH_AT, epoch.to_be_bytes());
    write_at(batch, BASE_SEQUENCE_AT, base_sequence.to_be_bytes());
    stamp_crc(batch);
}

/// Writes the largest timestamp of a batch, and the new checksum.
pub fn stamp_max_timestamp(batch: &mut [u8], max_timestamp: Timestamp) {
    write_at(batch, MAX_TIMESTAMP_AT, max_timestamp.0.to_be_bytes());
    stamp_crc(batch);
}

/// Writes the checksum of what a batch holds now.
pub(super) fn stamp_crc(batch: &mut [u8]) {
    let crc = crc_of(batch);
    write_at(batch, CRC_AT, crc.to_be_bytes());
}

fn crc_of(batch: &[u8]) -> u32 {
    crc32c(batch.get(CRC_START..).unwrap_or_default())
}

pub(super) fn write_at<const N: usize>(batch: &mut [u8], at: usize, field: [u8; N]) {
    let place = batch.get_mut(at..at + N);
    place.expect("a batch that is stamped was parsed before").copy_from_slice(&field);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests know their sizes")]
mod tests {
    use super::*;
    use crate::record::BatchBuilder;
    use alloc::vec::Vec;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0x0102_0304_0506_0708),
            length: 0x1112_1314,
            leader_epoch: LeaderEpoch(0x2122_2324),
            magic: MAGIC,
            crc: 0x3132_3334,
            attributes: Attributes(0x0041),
            last_offset_delta: 0x5152_5354,
            base_timestamp: Timestamp(-2),
            max_timestamp: Timestamp(0x6162_6364_6566_6768),
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0x4172_7374,
        }
    }

    #[test]
    fn the_header_is_what_postcard_writes() {
        let header = header();
        let by_postcard = postcard::to_allocvec(&header).expect("a Vec takes all");
        assert_eq!(by_postcard, header.to_bytes());
        assert_eq!(by_postcard.len(), HEADER_BYTES);
        assert_eq!(postcard::from_bytes::<BatchHeader>(&by_postcard), Ok(header));
        assert_eq!(BatchHeader::parse(&by_postcard), Ok(header));
        assert_eq!(&by_postcard[..12], &[1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14]);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let sound = header();
        let check = |spoil: fn(&mut BatchHeader), expected| {
            let mut header = sound;
            spoil(&mut header);
            assert_eq!(BatchHeader::parse(&header.to_bytes()), Err(expected));
        };
        check(|h| h.magic = 1, BatchError::Magic(1));
        check(|h| h.magic = 3, BatchError::Magic(3));
        check(|h| h.length = 48, BatchError::Length);
        check(|h| h.length = -1, BatchError::Length);
        check(|h| h.record_count = h.last_offset_delta + 2, BatchError::Field);
        check(|h| h.base_offset = Offset(-1), BatchError::Field);
        check(|h| h.base_offset = Offset(i64::MAX), BatchError::Field);
        check(|h| h.last_offset_delta = -1, BatchError::Field);
        check(|h| h.record_count = -1, BatchError::Field);
        assert_eq!(BatchHeader::parse(&sound.to_bytes()[..60]), Err(BatchError::Short));
    }

    #[test]
    fn stamping_keeps_the_checksum_and_append_time_renews_it() {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), Some(b"k"), Some(b"v"), &[]);
        let mut bytes = builder.finish(Compression::None);
        stamp(&mut bytes, Offset(77), LeaderEpoch(3));
        let parse = |bytes: &[u8]| {
            let (batch, rest) = Batch::split_first(bytes).expect("sound");
            assert!(rest.is_empty() && batch.crc_is_valid());
            *batch.header()
        };
        let header = parse(&bytes);
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(77), LeaderEpoch(3)));
        stamp_log_append_time(&mut bytes, Timestamp(99));
        let header = parse(&bytes);
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, Timestamp(99));
    }

    #[test]
    fn every_flipped_bit_is_found_but_those_outside_the_crc() {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), Some(b"key"), Some(b"value"), &[("h", None)]);
        let sound = builder.finish(Compression::None);
        for bit in 0..sound.len() * 8 {
            let mut bytes: Vec<u8> = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_found = !Batch::split_first(&bytes)
                .is_ok_and(|(batch, rest)| rest.is_empty() && batch.crc_is_valid());
            // Base offset and leader epoch may change unseen: the log checks that offsets rise
            // and epochs never fall.
            let is_outside = bit / 8 < 8 || (12..16).contains(&(bit / 8));
            assert!(is_found || is_outside, "bit {bit}");
        }
    }
}
