//! The one way to storage: what the core asks of a disk.
//!
//! `runtime::disk` implements it over a file system, `tests/` over an image in memory that can be
//! stopped at each write and sync. It lives here, with its lowest consumer; `log` uses it too.
//!
//! **Invariant:** nothing written is on stable storage until `sync_data` on that file returned,
//! and no name (created, renamed, removed) until `sync_dir` on its directory returned.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits::JOURNAL_BLOCK_BYTES;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; `AlreadyExists` when there is one.
    Create,
    /// A file to read and write, created when missing, its bytes kept.
    CreateOrWrite,
}

/// Space on the file system of a log dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes this process may still write.
    pub free_bytes: u64,
}

/// A file system.
pub trait Disk: Clone {
    /// An open file. A clone is another handle to the same open file.
    type File: DiskFile;

    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Self::File>;
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Open handles stay readable.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents; an existing one is no error.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, in ascending order.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether something of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything on the file system of `path` durable (`syncfs`).
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// Space on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file of a [`Disk`].
#[expect(clippy::len_without_is_empty, reason = "the length is of a file, and may fail")]
pub trait DiskFile: Clone {
    /// Reads at `position` without moving a cursor; fewer bytes than asked only at the end.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// As `read_at`, but answers `WouldBlock` rather than wait for the disk.
    fn try_read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `buf` at `position`; the file grows as needed.
    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable (`fdatasync`). What a failed sync leaves is never
    /// known, so none fails with `StorageFull`, which says that nothing is lost.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reserves space from `position` without changing the length, where the file system can;
    /// elsewhere it does nothing.
    fn reserve(&self, position: u64, bytes: u64) -> io::Result<()>;

    /// As `read_at`, for whoever verifies what it reads: blocks that the disk has lost are zeros.
    ///
    /// One bad sector must not keep a broker from starting that nobody will repair. A disk that is
    /// gone altogether is noticed when recovery writes.
    fn read_what_is_left(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self.read_at(buf, position) {
            Err(error) if is_unreadable(&error) => read_block_by_block(self, buf, position),
            read => read,
        }
    }

    /// Reads exactly `buf.len()` bytes at `position`; `UnexpectedEof` when there are fewer.
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        if self.read_at(buf, position)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Whether a read failed because the medium lost the bytes: EIO, or the EBADMSG and EUCLEAN of file
/// systems with checksums.
pub fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 74 | 117))
}

/// A dying card may think about each bad block for a second: after so many in a row the rest of a
/// read counts as lost.
const LOST_BLOCKS_MAX: u32 = 4;

fn read_block_by_block<F: DiskFile>(file: &F, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let readable_bytes = file.len()?.saturating_sub(position).min(buf.len() as u64) as usize;
    let buf = &mut buf[..readable_bytes];
    let (mut filled, mut lost_in_a_row) = (0, 0);
    while filled < buf.len() {
        let at = position + filled as u64;
        let to_boundary = (JOURNAL_BLOCK_BYTES - at % JOURNAL_BLOCK_BYTES) as usize;
        let end = (filled + to_boundary).min(buf.len());
        let block = &mut buf[filled..end];
        let read = match lost_in_a_row {
            LOST_BLOCKS_MAX => Ok(0),
            _ => file.read_at(block, at),
        };
        match read {
            Ok(read) if read == block.len() => lost_in_a_row = 0,
            Ok(read) => block[read..].fill(0),
            Err(error) if is_unreadable(&error) => {
                lost_in_a_row += 1;
                block.fill(0);
            }
            Err(error) => return Err(error),
        }
        filled = end;
    }
    Ok(filled)
}
