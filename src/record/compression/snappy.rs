//! snappy blocks in xerial framing, as Java's client writes them; bare blocks are read too, since
//! other clients write those.
//!
//! ```text
//! 0   8 bytes  82 53 4e 41 50 50 59 00   "\x82SNAPPY\0"
//! 8   i32      version, 1
//! 12  i32      oldest reader, 1
//! 16  each block: i32 length, big endian, then a snappy block
//! ```

use snap::raw::{Decoder, Encoder, decompress_len};

use super::CompressionError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

const HEADER_BYTES: usize = 16;

/// Bytes of a block before compression, as in Java's client.
const BLOCK_BYTES: usize = 32 << 10;

/// A copy of up to 64 bytes takes three, so no block grows more than this many times.
const GROWTH_MAX: usize = 22;

pub(super) fn compress(section: &[u8], out: &mut Vec<u8>) {
    let mut encoder = Encoder::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    for block in section.chunks(BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).expect("a block is far below 4 GiB");
        out.extend_from_slice(&(packed.len() as i32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
}

pub(super) fn decompress(section: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    if !section.starts_with(&MAGIC) {
        append_block(section, limit, &mut out)?;
        return Ok(out);
    }
    let mut rest = check_header(section).ok_or(CompressionError::Malformed)?;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk().ok_or(CompressionError::Malformed)?;
        let bytes = usize::try_from(i32::from_be_bytes(*length));
        let bytes = bytes.map_err(|_| CompressionError::Malformed)?;
        let (block, tail) = tail.split_at_checked(bytes).ok_or(CompressionError::Malformed)?;
        append_block(block, limit, &mut out)?;
        rest = tail;
    }
    Ok(out)
}

/// What follows the header, if version 1 can read it.
fn check_header(section: &[u8]) -> Option<&[u8]> {
    let (header, rest) = section.split_first_chunk::<HEADER_BYTES>()?;
    let oldest_reader: &[u8; 4] = header.last_chunk()?;
    (i32::from_be_bytes(*oldest_reader) <= 1).then_some(rest)
}

fn append_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let bytes = decompress_len(block).map_err(|_| CompressionError::Malformed)?;
    if limit.saturating_sub(out.len()) < bytes {
        return Err(CompressionError::TooLarge);
    }
    // A length that the block cannot fill must not make us reserve it.
    if block.len().saturating_mul(GROWTH_MAX) < bytes {
        return Err(CompressionError::Malformed);
    }
    let start = out.len();
    out.resize(start + bytes, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    let done = Decoder::new().decompress(block, place);
    done.map(|_| ()).map_err(|_| CompressionError::Malformed)
}
