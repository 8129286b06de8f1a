//! zstd (RFC 8878), by `ruzstd`. The decoder grows its window with what it decodes, so the bound on
//! the output bounds its memory too.

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::CompressionLevel;

use super::{CompressionError, read_bounded};

pub(super) fn compress(section: &[u8], out: &mut Vec<u8>) {
    ruzstd::encoding::compress(section, out, CompressionLevel::Fastest);
}

pub(super) fn decompress(section: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let decoder = StreamingDecoder::new(section).map_err(|_| CompressionError::Malformed)?;
    read_bounded(decoder, limit)
}
