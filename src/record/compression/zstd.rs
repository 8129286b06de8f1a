//! zstd (RFC 8878): written by `ruzstd`, read here.
//!
//! ```text
//! 0  u32 le  magic, fd2fb528
//! 4  u8      6-7 size of the content size, 5 single segment, 3 reserved, 2 checksum,
//!            0-1 size of the dictionary id
//!    [u8]    window, unless single segment
//!    [..]    dictionary id, content size
//!    each block: u24 le: 0 last, 1-2 raw, repeated byte or compressed, 3-23 size; bytes
//!    [u32]   checksum
//! ```
//!
//! Why not `ruzstd`'s decoder: nothing bounds what one block of it decodes to. A frame of 65 KB
//! made it take gigabytes and then fail an assertion, which ends a process that aborts on panic
//! (0.8.1; the frame is built in the tests). Here the output is the window: the size that a frame
//! declares for it reserves nothing, and every copy is measured before it is made.
//!
//! The frame's checksum is not compared: the batch's CRC covers every byte of the frame.

use ruzstd::encoding::CompressionLevel;

use super::CompressionError;
use super::zstd_block::{BLOCK_BYTES_MAX, BlockDecoder, take, take_le};

const MAGIC: u64 = 0xfd2f_b528;

/// Sixteen magics that stand for frames to be skipped.
const SKIPPABLE_MAGIC: u64 = 0x184d_2a50;

pub(super) fn compress(section: &[u8], out: &mut Vec<u8>) {
    ruzstd::encoding::compress(section, out, CompressionLevel::Fastest);
}

pub(super) fn decompress(mut rest: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let malformed = CompressionError::Malformed;
    let mut out = Vec::new();
    let mut frame_count = 0;
    while !rest.is_empty() {
        let magic = take_le(&mut rest, 4).ok_or(malformed)?;
        if magic & !0xf == SKIPPABLE_MAGIC {
            let bytes = take_le(&mut rest, 4).ok_or(malformed)?;
            take(&mut rest, bytes as usize).ok_or(malformed)?;
            continue;
        }
        if magic != MAGIC {
            return Err(malformed);
        }
        append_frame(&mut rest, limit, &mut out)?;
        frame_count += 1;
    }
    if frame_count == 0 { Err(malformed) } else { Ok(out) }
}

fn append_frame(rest: &mut &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let malformed = CompressionError::Malformed;
    let frame = take_header(rest).ok_or(malformed)?;
    let start = out.len();
    let allowed = limit.saturating_sub(start) as u64;
    if frame.content_bytes.is_some_and(|bytes| allowed < bytes) {
        return Err(CompressionError::TooLarge);
    }
    let mut decoder = BlockDecoder::new();
    loop {
        let header = take_le(rest, 3).ok_or(malformed)? as usize;
        let size = header >> 3;
        if BLOCK_BYTES_MAX < size {
            return Err(malformed);
        }
        let stored = if header >> 1 & 3 == 1 { 1 } else { size };
        let block = take(rest, stored).ok_or(malformed)?;
        match header >> 1 & 3 {
            2 => decoder.decode(block, out, start, limit)?,
            3 => return Err(malformed),
            _ if limit.saturating_sub(out.len()) < size => return Err(CompressionError::TooLarge),
            0 => out.extend_from_slice(block),
            _ => out.resize(out.len() + size, *block.first().ok_or(malformed)?),
        }
        if header & 1 == 1 {
            break;
        }
    }
    if frame.has_checksum {
        take(rest, 4).ok_or(malformed)?;
    }
    let content_bytes = (out.len() - start) as u64;
    if frame.content_bytes.is_some_and(|bytes| bytes != content_bytes) {
        return Err(malformed);
    }
    Ok(())
}

/// What a frame's header says that matters here.
struct FrameHeader {
    content_bytes: Option<u64>,
    has_checksum: bool,
}

fn take_header(rest: &mut &[u8]) -> Option<FrameHeader> {
    let descriptor = take_le(rest, 1)?;
    if descriptor & 0x08 != 0 {
        return None;
    }
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        take(rest, 1)?;
    }
    let dictionary_bytes = [0, 1, 2, 4].get((descriptor & 3) as usize)?;
    // Dictionary 0 is none.
    if take_le(rest, *dictionary_bytes)? != 0 {
        return None;
    }
    let content_bytes = match descriptor >> 6 {
        0 if is_single_segment => Some(take_le(rest, 1)?),
        0 => None,
        1 => Some(take_le(rest, 2)? + 256),
        2 => Some(take_le(rest, 4)?),
        _ => Some(take_le(rest, 8)?),
    };
    Some(FrameHeader { content_bytes, has_checksum: descriptor & 0x04 != 0 })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// What `tests/record/telemetry-19.zst` holds: 400 readings, by `zstd -19` of the C library.
    fn telemetry() -> Vec<u8> {
        let mut state = 1u32;
        let mut text = String::new();
        for place in 0..400u64 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (sensor, value) = (state >> 28, (state >> 8) % 1000);
            let time = 1_700_000_000_000 + place * 37;
            writeln!(text, "{{\"sensor\":{sensor},\"t\":{time},\"v\":{value}}}").expect("a String");
        }
        text.into_bytes()
    }

    #[test]
    fn frames_of_the_c_library_are_read() {
        let frame = include_bytes!("../../../tests/record/telemetry-19.zst");
        let plain = telemetry();
        assert_eq!(decompress(frame, plain.len()), Ok(plain.clone()));
        assert_eq!(decompress(frame, plain.len() - 1), Err(CompressionError::TooLarge));
        let skipped =
            [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &frame[..], &frame[..]].concat();
        assert_eq!(decompress(&skipped, 1 << 20), Ok(plain.repeat(2)), "frames may follow frames");
        for cut in 0..frame.len() {
            let short = frame.get(..cut).expect("inside");
            assert_eq!(decompress(short, 1 << 20), Err(CompressionError::Malformed), "{cut}");
        }
    }

    /// `ruzstd` 0.8.1 decodes this frame to gigabytes and then fails an assertion: every one of its
    /// sequences takes two bytes and copies 131,074. A block may make 128 KiB; the second copy is
    /// refused before it is made.
    #[test]
    fn a_block_that_makes_gigabytes_is_refused() {
        let sequences = 0x7f00 + 300;
        let mut block = vec![0, 255, 44, 1, 0x54, 0, 0, 52];
        block.resize(block.len() + 2 * sequences, 0xff);
        block.push(1);
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x70, 8 << 3, 0, 0];
        frame.extend_from_slice(b"abcdefgh");
        let header = (block.len() as u32) << 3 | 2 << 1 | 1;
        frame.extend_from_slice(header.to_le_bytes().first_chunk::<3>().expect("of four"));
        frame.extend_from_slice(&block);
        assert_eq!(decompress(&frame, usize::MAX), Err(CompressionError::Malformed));
    }

    #[test]
    fn repeated_bytes_stop_at_the_limit() {
        // 1,000 blocks of 128 KiB each, four bytes a block.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x70];
        let header = (BLOCK_BYTES_MAX as u32) << 3 | 1 << 1;
        for _ in 0..1000 {
            frame.extend_from_slice(header.to_le_bytes().first_chunk::<3>().expect("of four"));
            frame.push(0);
        }
        assert_eq!(decompress(&frame, 1 << 20), Err(CompressionError::TooLarge));
        // A window of 2^41 bytes and a content of 2^64 - 1 reserve nothing.
        let huge = [0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0xff, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(decompress(&huge, 1 << 20), Err(CompressionError::TooLarge));
    }
}
