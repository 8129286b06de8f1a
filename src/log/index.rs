//! The sparse indexes of a segment: `.index` (offset to position) and `.timeindex` (time to offset).
//!
//! ```text
//! .index      last offset of a batch - base offset   i32 | position of that batch      i32
//! .timeindex  largest timestamp so far               i64 | its batch's last offset - base i32
//! ```
//!
//! Entries rise in both fields. The older ones lie in the file, written without sync, the newest
//! few hundred in memory, so that an index costs little however long its segment grew.
//!
//! **Invariant:** indexes are caches (reliability.md S3). The checksum over the stored entries is
//! kept beside them in the segment's summary, and a lookup's answer is checked against the batch it
//! points to; a file that is missing or lies is rebuilt. Read semantics.md 2.3 before editing.

use std::io;

use crate::journal::disk::DiskFile;

/// Entries kept in memory before they are written to the file.
const TAIL_ENTRIES_MAX: usize = 512;

/// Bytes read at once when a file is read whole.
const READ_BYTES: usize = 64 << 10;

/// What both kinds of entry have in common.
pub(super) trait IndexEntry: Copy {
    /// Bytes of an entry in its file.
    const BYTES: usize;

    /// Appends the entry's bytes.
    fn encode(self, out: &mut Vec<u8>);
    /// Reads `BYTES` bytes.
    fn decode(bytes: &[u8]) -> Self;
}

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Last offset of the batch, from the segment's base.
    pub offset: u32,
    /// Where the batch begins.
    pub position: u32,
}

/// An entry of the time index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// Largest timestamp up to and in the batch.
    pub timestamp: i64,
    /// Last offset of that batch, from the segment's base.
    pub offset: u32,
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        OffsetEntry { offset: be_u32(bytes), position: be_u32(&bytes[4..]) }
    }
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let high = u64::from(be_u32(bytes));
        let low = u64::from(be_u32(&bytes[4..]));
        TimeEntry { timestamp: ((high << 32) | low) as i64, offset: be_u32(&bytes[8..]) }
    }
}

/// One index of one segment: a file of older entries and a tail of newer ones.
#[derive(Debug)]
pub(super) struct SparseIndex<E> {
    /// Entries in the file.
    stored: u32,
    /// CRC-32C of the stored entries' bytes.
    crc: u32,
    tail: Vec<E>,
    last: Option<E>,
}

impl<E: IndexEntry> SparseIndex<E> {
    /// An index without entries.
    pub fn new() -> Self {
        SparseIndex { stored: 0, crc: 0, tail: Vec::new(), last: None }
    }

    /// An index whose file is said to hold `stored` entries with this checksum.
    pub fn claimed(stored: u32, crc: u32) -> Self {
        SparseIndex { stored, crc, tail: Vec::new(), last: None }
    }

    /// Entries in all.
    pub fn count(&self) -> usize {
        self.stored as usize + self.tail.len()
    }

    /// The newest entry.
    pub fn last(&self) -> Option<E> {
        self.last
    }

    /// Stored entries and their checksum.
    pub fn stored(&self) -> (u32, u32) {
        (self.stored, self.crc)
    }

    /// Bytes of the file that hold entries.
    pub fn stored_bytes(&self) -> u64 {
        u64::from(self.stored) * E::BYTES as u64
    }

    /// Whether entries wait in memory.
    pub fn has_tail(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Adds an entry behind the newest.
    pub fn push(&mut self, entry: E) {
        self.tail.push(entry);
        self.last = Some(entry);
    }

    /// Whether the tail should be written to the file.
    pub fn is_tail_full(&self) -> bool {
        TAIL_ENTRIES_MAX <= self.tail.len()
    }

    /// Moves the tail into the file.
    pub fn spill(&mut self, file: &impl DiskFile) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.tail.len() * E::BYTES);
        for entry in &self.tail {
            entry.encode(&mut bytes);
        }
        file.write_all_at(&bytes, self.stored_bytes())?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        self.stored += self.tail.len() as u32;
        self.tail = Vec::new();
        Ok(())
    }

    /// Reads the stored entries whole and says whether they are what was claimed: checksum and
    /// order right. `WouldBlock` when bytes are missing from the page cache and `may_wait` is not.
    pub fn verify(&mut self, file: &impl DiskFile, may_wait: bool) -> io::Result<bool> {
        let total = self.stored_bytes();
        // A multiple of both entry sizes, so that no entry straddles two reads.
        let mut buf = vec![0; READ_BYTES.min(total as usize) / 24 * 24 + 24];
        let (mut position, mut crc) = (0, 0);
        while position < total {
            let want = (total - position).min(buf.len() as u64) as usize;
            if !read_full(file, &mut buf[..want], position, may_wait)? {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, &buf[..want]);
            self.last = Some(E::decode(&buf[want - E::BYTES..want]));
            position += want as u64;
        }
        Ok(crc == self.crc)
    }

    /// The entry of this number.
    pub fn entry(
        &self,
        file: Option<&impl DiskFile>,
        number: usize,
        may_wait: bool,
    ) -> io::Result<E> {
        let stored = self.stored as usize;
        if stored <= number {
            return Ok(self.tail[number - stored]);
        }
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        // The largest entry is 12 bytes.
        let mut buf = [0; 12];
        let bytes = &mut buf[..E::BYTES];
        if read_full(file, bytes, number as u64 * E::BYTES as u64, may_wait)? {
            Ok(E::decode(bytes))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// How many entries from the first on satisfy `is_before`, which must hold for a prefix.
    pub fn partition_point(
        &self,
        file: Option<&impl DiskFile>,
        may_wait: bool,
        is_before: impl Fn(E) -> bool,
    ) -> io::Result<usize> {
        let stored = self.stored as usize;
        // The tail first: most reads are near the end.
        if self.tail.first().is_some_and(|&first| is_before(first)) {
            return Ok(stored + self.tail.partition_point(|&entry| is_before(entry)));
        }
        let (mut low, mut high) = (0, stored);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.entry(file, middle, may_wait)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Keeps the first `count` entries, all of which must be stored.
    pub fn truncate(&mut self, file: &impl DiskFile, count: usize) -> io::Result<()> {
        self.tail = Vec::new();
        self.stored = self.stored.min(count as u32);
        self.crc = 0;
        self.last = None;
        let mut bytes = vec![0; self.stored_bytes() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        self.crc = crc32c::crc32c(&bytes);
        self.last = bytes.len().checked_sub(E::BYTES).map(|start| E::decode(&bytes[start..]));
        Ok(())
    }
}

/// Fills `buf`; `false` when the file ends before, `WouldBlock` when the bytes are cold.
pub(super) fn read_full(
    file: &impl DiskFile,
    buf: &mut [u8],
    position: u64,
    may_wait: bool,
) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buf.len() {
        let at = position + filled as u64;
        let read = if may_wait {
            file.read_at(&mut buf[filled..], at)?
        } else {
            file.try_read_at(&mut buf[filled..], at)?
        };
        if read == 0 {
            return Ok(false);
        }
        filled += read;
    }
    Ok(true)
}
