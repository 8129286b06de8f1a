//! Records and record batches: Kafka's format v2, byte for byte, borrowed when read.
//!
//! The batch is the unit of append, checksum, replication and fetch: what a device encodes is what
//! the broker stores, a follower copies and a consumer gets (design.md §1).
//!
//! Why Kafka's format and not a smaller one of our own: a cloud Kafka takes the same bytes, and
//! `kafka-dump-log` reads the card. Nobody re-encodes, so nobody can get it wrong.

#![deny(clippy::indexing_slicing, clippy::panic)]

pub mod batch;
pub mod builder;
#[cfg(feature = "std")]
pub mod compression;
pub mod crc;
#[expect(clippy::module_inception, reason = "a record is a noun of its own beside the batch")]
pub mod record;
pub mod retain;
pub mod validate;
mod varint;

pub use batch::{
    Attributes, Batch, BatchError, BatchHeader, HEADER_BYTES, stamp, stamp_log_append_time,
    stamp_max_timestamp, stamp_producer,
};
pub use builder::BatchBuilder;
#[cfg(feature = "std")]
pub use compression::{CompressionError, decompress, recompress};
pub use record::{Header, Headers, Record, RecordError, Records};
pub use retain::{Kept, count_kept, emptied, empty_batch, retain};
#[cfg(feature = "std")]
pub use validate::{Admitted, admit_produce};
pub use validate::{ProduceRules, Rejection, validate_produce};

/// How the records of a batch are compressed; the numbers are those of the attribute bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    #[default]
    None = 0,
    /// gzip.
    Gzip = 1,
    /// snappy in xerial framing.
    Snappy = 2,
    /// lz4 frames.
    Lz4 = 3,
    /// zstd.
    Zstd = 4,
}

impl Compression {
    /// Every codec.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec of an attribute number.
    pub const fn from_number(number: i16) -> Option<Compression> {
        match number {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec of a name.
    pub fn parse(name: &str) -> Option<Compression> {
        Compression::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Who stamped the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, when it made the record.
    #[default]
    CreateTime,
    /// The broker, when it appended the batch.
    LogAppendTime,
}

impl TimestampType {
    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
    }
}
