//! lz4 frames (the LZ4 frame format 1.6), by `lz4_flex`: independent blocks of 64 KiB, as Java's
//! client writes them.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{CompressionError, read_bounded};

pub(super) fn compress(section: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(section).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

pub(super) fn decompress(section: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    read_bounded(FrameDecoder::new(section), limit)
}
