//! The disk: the core's [`Disk`] over a file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};

use crate::journal::disk::{Disk, DiskFile, Open, Space};

/// See [`read_bytes`].
static READ_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes that this process read from files and waited for: how far a recovery is, which must not
/// know of screens, shows itself to whoever looks on.
pub fn read_bytes() -> u64 {
    READ_BYTES.load(Ordering::Relaxed)
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

impl FileDisk {
    /// The file system.
    pub fn new() -> FileDisk {
        FileDisk
    }
}

/// An open file. Clones share it.
#[derive(Clone, Debug)]
pub struct OpenFile(Arc<File>);

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Disk for FileDisk {
    type File = OpenFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<OpenFile> {
        let mut options = OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => &mut options,
            Open::Write => options.write(true),
            Open::Create => options.write(true).create_new(true),
            Open::CreateOrWrite => options.write(true).create(true).truncate(false),
        };
        options.open(path).map(|file| OpenFile(Arc::new(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let names = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name().into()));
        let mut names = names.collect::<io::Result<Vec<PathBuf>>>()?;
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all().map_err(in_doubt)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        syncfs(File::open(path)?).map_err(|why| in_doubt(why.into()))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = statvfs(path)?;
        Ok(Space {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

/// A file system that finds out only now that it has no room has dropped bytes like one whose medium
/// failed (reliability.md S6).
fn in_doubt(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull => io::Error::other("no room was left for what was synced"),
        _ => error,
    }
}

impl DiskFile for OpenFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        READ_BYTES.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }

    fn try_read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            let slices = &mut [IoSliceMut::new(&mut buf[filled..])];
            let at = position + filled as u64;
            match preadv2(&self.0, slices, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                // Some file systems and emulators cannot say what is cached: they are asked to
                // wait, which is what they would have done without the question.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    return self.read_at(buf, position);
                }
                Err(why) => return Err(why.into()),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(buf, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data().map_err(in_doubt)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn reserve(&self, position: u64, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, position, bytes) {
            // FAT, NFS and their kin cannot; files then grow as they are written.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }
}
