//! What the log's unit tests share: a disk in memory and batches made by hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid};
use crate::journal::disk::{Disk, DiskFile, Open, Space};
use crate::time::{Boot, Now, Timestamp};

type Bytes = Rc<RefCell<Vec<u8>>>;

/// Files in memory; names are never lost.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Rc<RefCell<BTreeMap<PathBuf, Bytes>>>,
    /// Bytes that may still be written.
    pub is_full: Rc<RefCell<bool>>,
    /// Whether `try_read_at` finds nothing in the page cache.
    pub is_cold: Rc<RefCell<bool>>,
}

thread_local! {
    /// How often a file was read; not in the disk, whose size is part of a log's.
    pub static READ_COUNT: Cell<usize> = const { Cell::new(0) };
}

/// A file of a [`MemoryDisk`].
#[derive(Clone)]
pub struct MemoryFile {
    bytes: Bytes,
    disk: MemoryDisk,
}

impl MemoryDisk {
    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Bytes {
        Rc::clone(self.files.borrow().get(path).expect("the file exists"))
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<MemoryFile> {
        let mut files = self.files.borrow_mut();
        let exists = files.contains_key(path);
        match how {
            Open::Create if exists => return Err(io::ErrorKind::AlreadyExists.into()),
            Open::Read | Open::Write if !exists => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        let bytes = Rc::clone(files.entry(path.into()).or_default());
        Ok(MemoryFile { bytes, disk: self.clone() })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        let moved: Vec<_> = files.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let bytes = files.remove(&path).expect("listed");
            let rest = path.strip_prefix(from).expect("filtered");
            let target = if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) };
            files.insert(target, bytes);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let gone = self.files.borrow_mut().remove(path);
        gone.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.files.borrow_mut().retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.files.borrow();
        let inside = files.keys().filter_map(|file| file.strip_prefix(path).ok());
        let mut names: Vec<PathBuf> =
            inside.filter_map(|rest| rest.iter().next()).map(PathBuf::from).collect();
        names.dedup();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.borrow().keys().any(|file| file.starts_with(path)))
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 30, free_bytes: 1 << 30 })
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        READ_COUNT.set(READ_COUNT.get() + 1);
        let bytes = self.bytes.borrow();
        let start = bytes.len().min(position as usize);
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn try_read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if *self.disk.is_cold.borrow() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buf, position)
    }

    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        let end = position as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[position as usize..end].copy_from_slice(buf);
        if *self.disk.is_full.borrow() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.bytes.borrow_mut().resize(bytes as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn reserve(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A batch of `count` records, padded to `bytes` in all; only its header means something.
pub fn batch(count: i32, max_timestamp: i64, bytes: usize) -> Vec<u8> {
    let mut batch = vec![0; bytes];
    batch[8..12].copy_from_slice(&(bytes as i32 - 12).to_be_bytes());
    batch[16] = 2;
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[27..35].copy_from_slice(&max_timestamp.to_be_bytes());
    batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    batch[43..51].copy_from_slice(&(-1i64).to_be_bytes());
    batch[51..53].copy_from_slice(&(-1i16).to_be_bytes());
    batch[53..57].copy_from_slice(&(-1i32).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A name.
pub fn name() -> TopicName {
    TopicName::new("topic").expect("legal")
}

/// A partition.
pub fn topic_partition() -> TopicPartition {
    TopicPartition { topic_id: TopicId(Uuid([7; 16])), partition: Partition(3) }
}

/// A moment, `ms` after the boot and after some trusted wall-clock time.
pub fn at(ms: u64) -> Now {
    let wall = Timestamp(1_800_000_000_000 + ms as i64);
    Now { boot: Boot(ms * 1000), wall, wall_trusted: true }
}

/// An epoch.
pub const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// An offset.
pub const fn offset(value: i64) -> Offset {
    Offset(value)
}
