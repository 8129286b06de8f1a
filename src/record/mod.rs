//! Kafka's record batch v2: what its attributes say.

/// How the records of a batch are compressed; the numbers are those of the attribute bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
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

/// Who stamped the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, when it made the record.
    CreateTime,
    /// The broker, when it appended the batch.
    LogAppendTime,
}
