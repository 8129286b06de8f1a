//! gzip (RFC 1952), by flate2.

use std::io::Write;

use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{CompressionError, read_bounded};

pub(super) fn compress(section: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(section).and_then(|()| encoder.finish()).expect("a Vec takes all")
}

pub(super) fn decompress(section: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    read_bounded(MultiGzDecoder::new(section), limit)
}
