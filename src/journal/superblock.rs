//! The superblock: where the live part of the ring begins. Two copies, written in turn, so that a
//! torn write leaves the other.

use std::io;

use crate::journal::disk::DiskFile;
use crate::journal::{JournalError, RING_BYTES_MIN, RING_START};
use crate::limits::JOURNAL_BLOCK_BYTES;
use crate::record::crc::crc32c;

const MAGIC: [u8; 8] = *b"ODRKJRNL";
const VERSION: u32 = 1;
/// What the checksum covers: the version too, or a flipped bit in it would pass for a newer
/// format. These 72 bytes mean the same in every version.
const CHECKED: std::ops::Range<usize> = 12..72;
const FIELDS_START: usize = 16;

/// See the table in the module's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) generation: u64,
    pub(super) ring_bytes: u64,
    pub(super) salt: u64,
    /// Where the oldest live commit lies, or the next one if there is none.
    pub(super) tail_position: u64,
    pub(super) tail_sequence: u64,
    pub(super) is_clean: bool,
    /// Bytes at the ring's end that were never written.
    pub(super) unwritten_bytes: u64,
}

impl Superblock {
    fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; JOURNAL_BLOCK_BYTES as usize];
        block[..8].copy_from_slice(&MAGIC);
        block[12..16].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [
            self.generation,
            self.ring_bytes,
            self.salt,
            self.tail_position,
            self.tail_sequence,
            u64::from(self.is_clean),
            self.unwritten_bytes,
        ];
        for (place, field) in fields.into_iter().enumerate() {
            let at = FIELDS_START + 8 * place;
            block[at..at + 8].copy_from_slice(&field.to_be_bytes());
        }
        let crc = crc32c(&block[CHECKED]);
        block[8..12].copy_from_slice(&crc.to_be_bytes());
        block
    }

    fn decode(block: &[u8]) -> Result<Option<Superblock>, JournalError> {
        let word = |at: usize| u32::from_be_bytes(block[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_be_bytes(block[at..at + 8].try_into().expect("8 bytes"));
        if block[..8] != MAGIC || word(8) != crc32c(&block[CHECKED]) {
            return Ok(None);
        }
        if word(12) != VERSION {
            return Err(JournalError::Version(word(12)));
        }
        Ok(Some(Superblock {
            generation: long(16),
            ring_bytes: long(24),
            salt: long(32),
            tail_position: long(40),
            tail_sequence: long(48),
            is_clean: long(56) == 1,
            unwritten_bytes: long(64),
        }))
    }

    /// Writes the copy that this generation belongs to. The caller syncs.
    pub(super) fn write<F: DiskFile>(&self, file: &F) -> io::Result<()> {
        let slot = self.generation % 2;
        file.write_all_at(&self.encode(), slot * JOURNAL_BLOCK_BYTES)
    }
}

/// What the two copies say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The newer valid copy.
    pub(super) newest: Option<Superblock>,
    /// The other copy is damaged; it may have been the newer one.
    pub(super) is_one_lost: bool,
}

/// Reads both copies.
pub(super) fn read<F: DiskFile>(file: &F) -> Result<Found, JournalError> {
    let mut found = Found::default();
    let file_bytes = file.len()?;
    for slot in 0..2 {
        let mut block = vec![0; JOURNAL_BLOCK_BYTES as usize];
        let read = file.read_what_is_left(&mut block, slot * JOURNAL_BLOCK_BYTES)?;
        block[read..].fill(0);
        let is_sane = |superblock: &Superblock| {
            superblock.ring_bytes % (2 * JOURNAL_BLOCK_BYTES) == 0
                && RING_BYTES_MIN <= superblock.ring_bytes
                && superblock.ring_bytes <= file_bytes.saturating_sub(RING_START)
                // Replay begins with a half: a tail within one would be looked for at its start.
                && superblock.tail_position % (superblock.ring_bytes / 2) == 0
                && superblock.tail_position < superblock.ring_bytes
                && superblock.unwritten_bytes <= superblock.ring_bytes
        };
        let Some(superblock) = Superblock::decode(&block)?.filter(is_sane) else {
            found.is_one_lost = true;
            continue;
        };
        if found.newest.is_none_or(|newest| newest.generation < superblock.generation) {
            found.newest = Some(superblock);
        }
    }
    Ok(found)
}
