//! gzip (RFC 1952), by flate2. Members may follow each other, as Java's `GZIPInputStream` reads
//! them.

use std::io::Write;

use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{CompressionError, read_bounded};

pub(super) fn compress(section: &[u8], out: &mut Vec<u8>) {
    let mut encoder = GzEncoder::new(out, Level::default());
    encoder.write_all(section).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all");
}

pub(super) fn decompress(section: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    read_bounded(MultiGzDecoder::new(section), limit)
}
