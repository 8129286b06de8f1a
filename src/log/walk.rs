//! Walking over the batches of a segment by their headers, without touching the records.
//!
//! A walk never leaves `[position, end)`, never takes a header at its word beyond those bytes, and
//! says which bytes it lacks rather than wait for the disk, unless it may wait. Bytes that the disk
//! has lost are bad ones: what lies behind them may be good.

use std::io;

use crate::journal::disk::DiskFile;
use crate::record::{BatchHeader, HEADER_BYTES};

/// Bytes read at once: many small batches, or one header of a large one.
const CHUNK_BYTES: usize = 4096;

/// Bytes checksummed at once.
const CRC_CHUNK_BYTES: usize = 64 << 10;

/// Where the checksummed part of a batch begins (after base offset, length, epoch, magic, CRC).
const CRC_START: usize = 21;

/// Why a walk stopped early.
#[derive(Debug)]
pub(super) enum WalkError {
    /// The bytes at this position are not in the page cache.
    Cold(u64),
    /// What lies at this position is no batch that fits.
    Bad(u64),
    /// The disk failed.
    Io(io::Error),
}

/// A batch met on a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    /// Where it begins.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
}

impl Met {
    /// Where the next batch begins.
    pub fn end_position(&self) -> u64 {
        self.position + self.header.size_bytes() as u64
    }
}

/// An iterator over headers.
pub(super) struct Walk<'a, F> {
    file: &'a F,
    position: u64,
    end: u64,
    may_wait: bool,
    chunk: [u8; CHUNK_BYTES],
    chunk_position: u64,
    chunk_bytes: usize,
    /// Reads done so far, for callers that bound their work.
    pub reads: usize,
}

impl<'a, F: DiskFile> Walk<'a, F> {
    /// A walk over `[position, end)`.
    pub fn new(file: &'a F, position: u64, end: u64, may_wait: bool) -> Self {
        Walk {
            file,
            position,
            end,
            may_wait,
            chunk: [0; CHUNK_BYTES],
            chunk_position: 0,
            chunk_bytes: 0,
            reads: 0,
        }
    }

    /// The next batch, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Met>, WalkError> {
        if self.end <= self.position {
            return Ok(None);
        }
        let position = self.position;
        let remaining = self.end - position;
        if remaining < HEADER_BYTES as u64 {
            return Err(WalkError::Bad(position));
        }
        let start = self.load(position)?;
        let header = BatchHeader::parse(&self.chunk[start..self.chunk_bytes])
            .map_err(|_| WalkError::Bad(position))?;
        if remaining < header.size_bytes() as u64 {
            return Err(WalkError::Bad(position));
        }
        let met = Met { position, header };
        self.position = met.end_position();
        Ok(Some(met))
    }

    /// Whether the bytes from `from` to `to` seem to be in the page cache, probed here and there.
    pub fn probe(&self, from: u64, to: u64) -> Result<(), WalkError> {
        const STEP_BYTES: usize = 64 << 10;
        if self.may_wait {
            return Ok(());
        }
        let mut byte = [0];
        let last = to.checked_sub(1).filter(|&last| from <= last);
        for position in (from..to).step_by(STEP_BYTES).chain(last) {
            read(self.file, &mut byte, position, false)?;
        }
        Ok(())
    }

    /// Has a header's worth of bytes at `position` in the chunk; answers where in it.
    fn load(&mut self, position: u64) -> Result<usize, WalkError> {
        let chunk_end = self.chunk_position + self.chunk_bytes as u64;
        if self.chunk_position <= position && position + HEADER_BYTES as u64 <= chunk_end {
            return Ok((position - self.chunk_position) as usize);
        }
        let want = (self.end - position).min(CHUNK_BYTES as u64) as usize;
        self.chunk_bytes = 0;
        self.chunk_position = position;
        while self.chunk_bytes < HEADER_BYTES {
            let at = position + self.chunk_bytes as u64;
            let got = read(self.file, &mut self.chunk[self.chunk_bytes..want], at, self.may_wait)
                .map_err(|error| match error {
                // The file is shorter than its segment: what is missing began here.
                WalkError::Bad(_) => WalkError::Bad(position),
                other => other,
            })?;
            self.chunk_bytes += got;
            self.reads += 1;
        }
        Ok(0)
    }
}

fn read(
    file: &impl DiskFile,
    buf: &mut [u8],
    position: u64,
    may_wait: bool,
) -> Result<usize, WalkError> {
    let read = match may_wait {
        true => file.read_what_is_left(buf, position),
        false => file.try_read_at(buf, position),
    };
    match read {
        Ok(0) => Err(WalkError::Bad(position)),
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(WalkError::Cold(position)),
        Err(error) => Err(WalkError::Io(error)),
    }
}

/// Whether the batch's checksum is right, read in pieces so that no length is trusted with memory.
pub(super) fn crc_is_valid(file: &impl DiskFile, met: &Met) -> io::Result<bool> {
    let mut position = met.position + CRC_START as u64;
    let end = met.end_position();
    let mut buf = vec![0; CRC_CHUNK_BYTES.min((end - position) as usize)];
    let mut crc = 0;
    while position < end {
        let want = (end - position).min(buf.len() as u64) as usize;
        let got = file.read_what_is_left(&mut buf[..want], position)?;
        if got == 0 {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &buf[..got]);
        position += got as u64;
    }
    Ok(crc == met.header.crc)
}
