//! What a `.log` file holds, batch by batch, without a broker and without trust: for
//! `odradek log dump`.

use std::io;
use std::path::Path;

use super::walk::{Met, Walk, WalkError, crc_is_valid};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::record::BatchHeader;

/// A file of batches.
#[derive(Debug)]
pub struct Dump<F> {
    file: F,
    position: u64,
    end: u64,
}

/// What lies at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// A batch.
    Batch {
        /// Where it begins.
        position: u64,
        /// Its header.
        header: BatchHeader,
        /// Whether its checksum is right.
        crc_is_valid: bool,
    },
    /// Bytes up to the end of the file that are no batch.
    Garbage {
        /// Where they begin.
        position: u64,
        /// How many they are.
        bytes: u64,
    },
}

impl<F: DiskFile> Dump<F> {
    /// Opens a file.
    pub fn open(disk: &impl Disk<File = F>, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Open::Read)?;
        let end = file.len()?;
        Ok(Dump { file, position: 0, end })
    }

    /// A dumped batch whole, to look at its records; `None` when it is too large to hold.
    pub fn bytes(&self, position: u64, header: &BatchHeader) -> io::Result<Option<Vec<u8>>> {
        let bytes = header.size_bytes();
        if DECOMPRESSED_BYTES_MAX < bytes {
            return Ok(None);
        }
        let mut buf = vec![0; bytes];
        self.file.read_exact_at(&mut buf, position)?;
        Ok(Some(buf))
    }

    fn take(&mut self, met: Met) -> io::Result<Dumped> {
        self.position = met.end_position();
        let crc_is_valid = crc_is_valid(&self.file, &met)?;
        Ok(Dumped::Batch { position: met.position, header: met.header, crc_is_valid })
    }
}

impl<F: DiskFile> Iterator for Dump<F> {
    type Item = io::Result<Dumped>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.position;
        let met = Walk::new(&self.file, position, self.end, true).next();
        match met {
            Ok(None) => None,
            Ok(Some(met)) => Some(self.take(met)),
            Err(WalkError::Io(error)) => {
                self.position = self.end;
                Some(Err(error))
            }
            Err(WalkError::Bad(_) | WalkError::Cold(_)) => {
                self.position = self.end;
                Some(Ok(Dumped::Garbage { position, bytes: self.end - position }))
            }
        }
    }
}
