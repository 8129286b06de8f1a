//! lz4 frames (the LZ4 frame format 1.6): independent blocks of 64 KiB, as Java's client writes
//! them. `lz4_flex` writes frames and reads blocks; frames are read here, because a frame's header
//! must not make us reserve memory, and because Kafka reads a part of the format only.
//!
//! ```text
//! 0   u32 le   magic, 184d2204
//! 4   u8       flags: 6-7 version 01, 5 independent blocks, 4 block checksums, 3 content size,
//!              2 content checksum, 1 reserved, 0 dictionary
//! 5   u8       4-6 largest block: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB
//! 6   [u64 le] content size, if flagged
//!     u8       header checksum
//!     each block: u32 le length (bit 31: stored as it is), bytes, [u32 checksum]
//!     u32      0, the end mark; [u32 content checksum]
//! ```
//!
//! As in Kafka's `Lz4BlockInputStream.java`, blocks that lean on earlier ones and dictionaries are
//! refused. The frame's checksums are not compared: the batch's CRC covers every byte of it.

use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::CompressionError;

const MAGIC: u32 = 0x184d_2204;

const VERSION_MASK: u8 = 0xc0;
const VERSION: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
/// A reserved bit and the dictionary's.
const REFUSED: u8 = 0x03;

/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;

pub(super) fn compress(section: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(section).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all");
}

pub(super) fn decompress(mut rest: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let rest = &mut rest;
    let (flags, block_bytes_max) = take_header(rest).ok_or(CompressionError::Malformed)?;
    let mut out = Vec::new();
    loop {
        let length = take_u32(rest).ok_or(CompressionError::Malformed)?;
        if length == 0 {
            break;
        }
        let bytes = (length & !STORED) as usize;
        if block_bytes_max < bytes {
            return Err(CompressionError::Malformed);
        }
        let block = take(rest, bytes).ok_or(CompressionError::Malformed)?;
        if flags & BLOCK_CHECKSUMS != 0 {
            take_u32(rest).ok_or(CompressionError::Malformed)?;
        }
        append_block(block, length & STORED != 0, block_bytes_max, limit, &mut out)?;
    }
    if flags & CONTENT_CHECKSUM != 0 {
        take_u32(rest).ok_or(CompressionError::Malformed)?;
    }
    if rest.is_empty() { Ok(out) } else { Err(CompressionError::Malformed) }
}

/// The flags and the size of the largest block.
fn take_header(rest: &mut &[u8]) -> Option<(u8, usize)> {
    if take_u32(rest)? != MAGIC {
        return None;
    }
    let [flags, descriptor] = *take(rest, 2)?.first_chunk()?;
    if flags & VERSION_MASK != VERSION || flags & INDEPENDENT == 0 || flags & REFUSED != 0 {
        return None;
    }
    if flags & CONTENT_SIZE != 0 {
        take(rest, 8)?;
    }
    take(rest, 1)?;
    match descriptor {
        0x40 | 0x50 | 0x60 | 0x70 => Some((flags, 1 << (8 + 2 * (descriptor >> 4)))),
        _ => None,
    }
}

fn append_block(
    block: &[u8],
    is_stored: bool,
    block_bytes_max: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let start = out.len();
    let allowed = limit.saturating_sub(start);
    if is_stored {
        if allowed < block.len() {
            return Err(CompressionError::TooLarge);
        }
        out.extend_from_slice(block);
        return Ok(());
    }
    // No block grows more than 255 times, so a short one does not make us reserve much.
    let room = block_bytes_max.min(block.len().saturating_mul(255));
    out.resize(start + room.min(allowed), 0);
    let place = out.get_mut(start..).unwrap_or_default();
    let bytes = decompress_into(block, place).map_err(|error| match error {
        DecompressError::OutputTooSmall { .. } if allowed < room => CompressionError::TooLarge,
        _ => CompressionError::Malformed,
    })?;
    out.truncate(start + bytes);
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_starts_as_javas_does() {
        let mut frame = Vec::new();
        compress(&vec![7; 100_000], &mut frame);
        // Magic, version 1 with independent blocks, 64 KiB, and the checksum of those two bytes,
        // as Java's `Lz4BlockOutputStream` writes them.
        assert_eq!(frame.get(..7), Some(&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82][..]));
        assert_eq!(frame.get(frame.len() - 4..), Some(&[0; 4][..]));
        assert_eq!(decompress(&frame, 100_000), Ok(vec![7; 100_000]));
        assert_eq!(decompress(&frame, 99_999), Err(CompressionError::TooLarge));
    }

    #[test]
    fn what_kafka_does_not_read_is_refused() {
        let mut sound = Vec::new();
        compress(b"some bytes", &mut sound);
        let check = |at: usize, byte: u8| {
            let mut frame = sound.clone();
            *frame.get_mut(at).expect("inside") = byte;
            assert_eq!(decompress(&frame, 1 << 20), Err(CompressionError::Malformed), "{at}");
        };
        check(0, 0x02);
        check(4, 0x40);
        check(4, 0xa0);
        check(4, 0x61);
        check(4, 0x62);
        check(5, 0x30);
        check(5, 0xc0);
        // A block longer than the frame's largest, and one longer than the frame.
        check(9, 0x7f);
        check(7, 0xff);
        for cut in 0..sound.len() {
            let short = sound.get(..cut).expect("inside");
            assert_eq!(decompress(short, 1 << 20), Err(CompressionError::Malformed), "{cut}");
        }
        sound.push(0);
        assert_eq!(decompress(&sound, 1 << 20), Err(CompressionError::Malformed));
    }
}
