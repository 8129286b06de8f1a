//! The ring as a reader sees it: commits, by where they begin.

use std::ops::Range;

use crate::journal::commit::{CommitHeader, HEADER_BYTES};
use crate::journal::disk::DiskFile;
use crate::journal::{JournalError, RING_START};
use crate::limits::JOURNAL_BLOCK_BYTES;
use crate::record::crc::crc32c;

/// Bytes read at a time while looking for a commit: seeking through a card by the block takes
/// longer than reading it.
const SCAN_BYTES: usize = 256 << 10;

/// A valid commit.
pub(super) struct Found {
    /// Where it begins, counted from the start of the ring.
    pub(super) place: u64,
    pub(super) header: CommitHeader,
    /// All of it: header and body.
    pub(super) bytes: Vec<u8>,
}

impl Found {
    /// The entries.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Where the next commit begins, if it is in the same half.
    pub(super) fn end(&self) -> u64 {
        self.place + self.header.ring_bytes()
    }
}

/// See the module's doc.
pub(super) struct Ring<'a, F> {
    pub(super) file: &'a F,
    /// Without the superblocks.
    pub(super) bytes: u64,
    /// Whose commits count; `None` when that is what is looked for.
    pub(super) salt: Option<u64>,
}

impl<F: DiskFile> Ring<'_, F> {
    /// The commit that begins at `place`, if a valid one does.
    pub(super) fn commit_at(&self, place: u64) -> Result<Option<Found>, JournalError> {
        let mut front = [0; HEADER_BYTES];
        if self.file.read_what_is_left(&mut front, RING_START + place)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(header) = self.header(&front, place) else { return Ok(None) };
        let mut bytes = vec![0; HEADER_BYTES + header.body_bytes as usize];
        let read = self.file.read_what_is_left(&mut bytes, RING_START + place)?;
        if read < bytes.len() || crc32c(&bytes[8..]) != header.crc {
            return Ok(None);
        }
        Ok(Some(Found { place, header, bytes }))
    }

    /// The first valid commit that begins in `range` and has at least this sequence number.
    pub(super) fn first_in(
        &self,
        range: Range<u64>,
        sequence: u64,
    ) -> Result<Option<Found>, JournalError> {
        let mut chunk = vec![0; SCAN_BYTES];
        let mut start = range.start;
        while start < range.end {
            let chunk = &mut chunk[..(SCAN_BYTES as u64).min(range.end - start) as usize];
            let read = self.file.read_what_is_left(chunk, RING_START + start)?;
            chunk[read..].fill(0);
            for (number, block) in chunk.chunks(JOURNAL_BLOCK_BYTES as usize).enumerate() {
                let place = start + number as u64 * JOURNAL_BLOCK_BYTES;
                let Some(front) = block.first_chunk() else { continue };
                if self.header(front, place).is_some_and(|header| sequence <= header.sequence) {
                    if let Some(found) = self.commit_at(place)? {
                        return Ok(Some(found));
                    }
                }
            }
            start += chunk.len() as u64;
        }
        Ok(None)
    }

    /// Every valid commit, by place: (place, sequence number, salt).
    pub(super) fn all(&self) -> Result<Vec<(u64, u64, u64)>, JournalError> {
        let mut all = Vec::new();
        let mut place = 0;
        while let Some(found) = self.first_in(place..self.bytes, 0)? {
            all.push((found.place, found.header.sequence, found.header.salt));
            place = found.end();
        }
        Ok(all)
    }

    /// What the front of a block says, if a commit of this ring may begin with it.
    fn header(&self, front: &[u8; HEADER_BYTES], place: u64) -> Option<CommitHeader> {
        let header = CommitHeader::decode(front)?;
        let half_bytes = self.bytes / 2;
        let fits = place % half_bytes + header.ring_bytes() <= half_bytes;
        let is_ours = self.salt.is_none_or(|salt| salt == header.salt);
        (fits && is_ours).then_some(header)
    }
}
