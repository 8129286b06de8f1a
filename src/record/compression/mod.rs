//! The codecs of a batch's records, each with a bound on what it may grow to.
//!
//! **Invariant:** decompression stops, with an error, before it has produced more than the limit:
//! a bomb costs no memory (reliability.md, bad input 6). The bound is the smaller of the caller's
//! and [`DECOMPRESSION_RATIO_MAX`] times the input (or [`DECOMPRESSED_BYTES_ALWAYS`], if more).

mod gzip;
mod lz4;
mod snappy;
mod zstd;
mod zstd_block;
mod zstd_entropy;

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use crate::limits::{DECOMPRESSED_BYTES_ALWAYS, DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_MAX};
use crate::record::Compression;
use crate::record::batch::{Batch, BatchHeader, HEADER_BYTES};
use crate::record::builder;

/// Why records cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// A codec number that nobody knows.
    Codec,
    /// The bytes are not what the codec writes.
    Malformed,
    /// More comes out than may.
    TooLarge,
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codec => "the batch's codec is not known",
            Self::Malformed => "the batch does not decompress",
            Self::TooLarge => "the batch decompresses to more than is allowed",
        })
    }
}

impl std::error::Error for CompressionError {}

/// The records of a batch, uncompressed, if they are at most `limit` bytes.
pub fn decompress<'a>(batch: &Batch<'a>, limit: usize) -> Result<Cow<'a, [u8]>, CompressionError> {
    let section = batch.records_section();
    let ratio_limit = section.len().saturating_mul(DECOMPRESSION_RATIO_MAX);
    let limit = limit.min(ratio_limit.max(DECOMPRESSED_BYTES_ALWAYS));
    let records = match batch.compression().ok_or(CompressionError::Codec)? {
        Compression::None => return Ok(Cow::Borrowed(section)),
        Compression::Gzip => gzip::decompress(section, limit)?,
        Compression::Snappy => snappy::decompress(section, limit)?,
        Compression::Lz4 => lz4::decompress(section, limit)?,
        Compression::Zstd => zstd::decompress(section, limit)?,
    };
    Ok(Cow::Owned(records))
}

/// Appends records to `out` in a codec's form.
pub(super) fn compress_into(codec: Compression, section: &[u8], out: &mut Vec<u8>) {
    match codec {
        Compression::None => out.extend_from_slice(section),
        Compression::Gzip => gzip::compress(section, out),
        Compression::Snappy => snappy::compress(section, out),
        Compression::Lz4 => lz4::compress(section, out),
        Compression::Zstd => zstd::compress(section, out),
    }
}

/// The same batch in another codec, or `None` when it has that codec already.
pub fn recompress(bytes: &[u8], target: Compression) -> Result<Option<Vec<u8>>, CompressionError> {
    let (batch, _) = Batch::split_first(bytes).map_err(|_| CompressionError::Malformed)?;
    if batch.compression() == Some(target) {
        return Ok(None);
    }
    let section = decompress(&batch, DECOMPRESSED_BYTES_MAX)?;
    Ok(Some(recompress_section(*batch.header(), &section, target)))
}

/// A batch of `header` but for codec, length and checksum, with these records.
pub(super) fn recompress_section(
    header: BatchHeader,
    section: &[u8],
    target: Compression,
) -> Vec<u8> {
    let attributes = header.attributes.with_compression(target);
    let mut batch = vec![0; HEADER_BYTES];
    compress_into(target, section, &mut batch);
    builder::seal(BatchHeader { attributes, ..header }, &mut batch);
    batch
}

/// Reads a decoder to its end, unless that lies beyond `limit`.
fn read_bounded(decoder: impl Read, limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut out);
    match read {
        Err(_) => Err(CompressionError::Malformed),
        Ok(bytes) if limit < bytes => Err(CompressionError::TooLarge),
        Ok(_) => Ok(out),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests know their sizes")]
mod tests {
    use super::*;
    use crate::record::BatchBuilder;
    use crate::time::Timestamp;

    /// A batch whose record section is whatever it is told to be.
    fn close(header: BatchHeader, section: &[u8]) -> Vec<u8> {
        let mut batch = vec![0; HEADER_BYTES];
        batch.extend_from_slice(section);
        builder::seal(header, &mut batch);
        batch
    }

    fn batch(codec: Compression, value: &[u8], count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for _ in 0..count {
            builder.push(Timestamp(1), None, Some(value), &[]);
        }
        builder.finish(codec)
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let values = [b"".to_vec(), vec![7; 200_000], (0..=255).cycle().take(70_000).collect()];
        for codec in Compression::ALL {
            for value in &values {
                let bytes = batch(codec, value, 3);
                let (parsed, rest) = Batch::split_first(&bytes).expect("sound");
                assert!(rest.is_empty() && parsed.crc_is_valid());
                assert_eq!(parsed.compression(), Some(codec));
                let plain = batch(Compression::None, value, 3);
                let section = decompress(&parsed, usize::MAX).expect("its own output");
                assert_eq!(section, &plain[crate::record::HEADER_BYTES..], "{codec:?}");
                for target in Compression::ALL {
                    let again = recompress(&bytes, target).expect("sound");
                    let expected = (target != codec).then(|| batch(target, value, 3));
                    assert_eq!(again, expected, "{codec:?} to {target:?}");
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_and_so_is_each_truncation() {
        for codec in Compression::ALL.into_iter().skip(1) {
            let bytes = batch(codec, &vec![0; 1 << 20], 1);
            let (parsed, _) = Batch::split_first(&bytes).expect("sound");
            assert_eq!(decompress(&parsed, 1 << 19), Err(CompressionError::TooLarge), "{codec:?}");
            let section = parsed.records_section();
            for cut in [0, 1, section.len() / 2, section.len() - 1] {
                let mut header = *parsed.header();
                header.crc = 0;
                let short = close(header, &section[..cut]);
                let (short, _) = Batch::split_first(&short).expect("closed anew");
                assert!(decompress(&short, usize::MAX).is_err(), "{codec:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for codec in Compression::ALL.into_iter().skip(1) {
            let mut state = 1u32;
            for bytes in 0..200usize {
                let section: Vec<u8> = (0..bytes)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8
                    })
                    .collect();
                let sound = batch(codec, b"x", 1);
                let header = BatchHeader::parse(&sound).expect("sound");
                let hostile = close(header, &section);
                let (parsed, _) = Batch::split_first(&hostile).expect("closed anew");
                // An error or a few bytes; never a panic, never more than the limit.
                let found = decompress(&parsed, 1 << 16).map_or(0, |found| found.len());
                assert!(found <= 1 << 16);
            }
        }
    }
}
