//! Checkpoints: segments are synced, the partitions' small state is written, a half becomes free.
//!
//! ```text
//! checkpoint file
//! 0  u8   version, 1
//! 1  u32  CRC-32C of what follows, big endian
//! 5  ...  postcard: varint count, then (topic id, partition, state) each
//! ```
//!
//! It is written as `checkpoint.new`, synced, and renamed; the one before stays as
//! `checkpoint.old`, and a reader takes the newest that is sound.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::ids::{Offset, TopicPartition};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::journal::superblock::Superblock;
use crate::journal::{JournalError, PartitionState, SegmentRef, sync_segments};
use crate::record::crc::crc32c;

const FILE: &str = "checkpoint";
const NEW: &str = "checkpoint.new";
const OLD: &str = "checkpoint.old";
const VERSION: u8 = 1;
const BODY_START: usize = 5;

/// Work for a thread other than the flusher's.
#[derive(Debug)]
pub struct CheckpointJob<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    pub(super) file: D::File,
    pub(super) segments: BTreeMap<(TopicPartition, Offset), SegmentRef<D::File>>,
    pub(super) states: BTreeMap<TopicPartition, PartitionState>,
    pub(super) superblock: Superblock,
}

/// The work is done.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointDone {
    pub(super) superblock: Superblock,
}

impl<D: Disk> CheckpointJob<D> {
    /// Syncs the segments, then writes the checkpoint file, then the superblock: each rests on the
    /// one before.
    pub fn run(self) -> io::Result<CheckpointDone> {
        sync_segments(&self.disk, &self.dir, self.segments.values())?;
        write(&self.disk, &self.dir, &self.states)?;
        self.superblock.write(&self.file)?;
        self.file.sync_data()?;
        Ok(CheckpointDone { superblock: self.superblock })
    }
}

fn write<D: Disk>(
    disk: &D,
    dir: &Path,
    states: &BTreeMap<TopicPartition, PartitionState>,
) -> io::Result<()> {
    let mut bytes = vec![VERSION, 0, 0, 0, 0];
    let list: Vec<(&TopicPartition, &PartitionState)> = states.iter().collect();
    bytes = postcard::to_extend(&list, bytes).expect("a Vec takes all");
    let crc = crc32c(&bytes[BODY_START..]);
    bytes[1..BODY_START].copy_from_slice(&crc.to_be_bytes());

    let new = dir.join(NEW);
    let file = disk.open(&new, Open::CreateOrWrite)?;
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()?;
    let current = dir.join(FILE);
    if disk.exists(&current)? {
        disk.rename(&current, &dir.join(OLD))?;
    }
    disk.rename(&new, &current)?;
    disk.sync_dir(dir)
}

/// The newest sound checkpoint; `None` when there never was one.
pub(super) fn read<D: Disk>(
    disk: &D,
    dir: &Path,
) -> Result<Option<BTreeMap<TopicPartition, PartitionState>>, JournalError> {
    let mut is_any = false;
    for name in [FILE, OLD] {
        let path = dir.join(name);
        if !disk.exists(&path)? {
            continue;
        }
        is_any = true;
        let file = disk.open(&path, Open::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        if let Some(states) = decode(&bytes)? {
            return Ok(Some(states));
        }
    }
    // A checkpoint that cannot be read costs a longer scan, not data: segments are scanned whole.
    Ok(is_any.then(BTreeMap::new))
}

fn decode(bytes: &[u8]) -> Result<Option<BTreeMap<TopicPartition, PartitionState>>, JournalError> {
    let Some((front, body)) = bytes.split_at_checked(BODY_START) else { return Ok(None) };
    let crc = u32::from_be_bytes(front[1..].try_into().expect("4 bytes"));
    if crc != crc32c(body) {
        return Ok(None);
    }
    if front[0] != VERSION {
        return Err(JournalError::Version(u32::from(front[0])));
    }
    let list: Result<Vec<(TopicPartition, PartitionState)>, _> = postcard::from_bytes(body);
    Ok(list.ok().map(|list| list.into_iter().collect()))
}
