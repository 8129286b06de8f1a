//! Checkpoints: segments are synced, the partitions' small state is written, a half becomes free.
//!
//! ```text
//! checkpoint file
//! 0  u32  CRC-32C of what follows, big endian
//! 4  u8   version, 1
//! 5  ...  postcard: varint count, then (topic id, partition, state) each
//!         postcard: varint count, then (topic id, partition, high watermark) each; may be missing
//! ```
//!
//! `checkpoint` and `checkpoint.spare` hold the same: small state is in no other place once its
//! half is free, so one flipped bit must not take it. Each is written as `checkpoint.new`, synced
//! and renamed, the second one after the first is durable, and both before the half is free: a
//! stop in between leaves a spare that the ring still completes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::ids::{Offset, TopicPartition};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::journal::superblock::Superblock;
use crate::journal::{JournalError, PartitionState, SegmentRef, sync_segments};
use crate::mutant::{self, Mutant};
use crate::record::crc::crc32c;

const FILE: &str = "checkpoint";
const SPARE: &str = "checkpoint.spare";
const NEW: &str = "checkpoint.new";
const VERSION: u8 = 1;
const CHECKED_START: usize = 4;

/// Far beyond what partitions can be open at a time; a file that claims more is not one of ours.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// Work for a thread other than the flusher's.
#[derive(Debug)]
pub struct CheckpointJob<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    /// The ring's file, by a handle of its own: the kernel tells of a failed write once per handle,
    /// and the commits' sync must not miss it because this thread's heard it first.
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
    /// one before. Where there was no room for the file (`StorageFull`) it may be run again: until
    /// it is done the half stays as it is.
    pub fn run(&self) -> io::Result<CheckpointDone> {
        if !mutant::is_on(Mutant::FreesUnsynced) {
            sync_segments(&self.disk, &self.dir, self.segments.values())?;
        }
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
    let mut bytes = vec![0, 0, 0, 0, VERSION];
    let list: Vec<(&TopicPartition, &PartitionState)> = states.iter().collect();
    bytes = postcard::to_extend(&list, bytes).expect("a Vec takes all");
    let noted = states.iter().filter(|(_, state)| Offset::ZERO < state.high_watermark);
    let noted: Vec<_> = noted.map(|(place, state)| (place, state.high_watermark)).collect();
    if !noted.is_empty() {
        bytes = postcard::to_extend(&noted, bytes).expect("a Vec takes all");
    }
    if CHECKPOINT_BYTES_MAX < bytes.len() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let crc = crc32c(&bytes[CHECKED_START..]);
    bytes[..CHECKED_START].copy_from_slice(&crc.to_be_bytes());
    for name in [FILE, SPARE] {
        let new = dir.join(NEW);
        let file = disk.open(&new, Open::CreateOrWrite)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        disk.rename(&new, &dir.join(name))?;
        disk.sync_dir(dir)?;
    }
    Ok(())
}

/// What is left of the last checkpoint.
pub(super) enum Stored {
    /// There never was one.
    Never,
    /// There was one, and no copy of it is sound.
    Lost,
    /// The newest sound copy.
    States(BTreeMap<TopicPartition, PartitionState>),
}

/// Reads the newest sound copy.
pub(super) fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Stored, JournalError> {
    let mut stored = Stored::Never;
    for name in [FILE, SPARE] {
        let path = dir.join(name);
        if !disk.exists(&path)? {
            continue;
        }
        stored = Stored::Lost;
        let file = disk.open(&path, Open::Read)?;
        let file_bytes = file.len()?;
        if CHECKPOINT_BYTES_MAX as u64 <= file_bytes {
            continue;
        }
        let mut bytes = vec![0; file_bytes as usize];
        let read = file.read_what_is_left(&mut bytes, 0)?;
        if let Some(states) = decode(&bytes[..read])? {
            return Ok(Stored::States(states));
        }
    }
    Ok(stored)
}

fn decode(bytes: &[u8]) -> Result<Option<BTreeMap<TopicPartition, PartitionState>>, JournalError> {
    let Some((crc, checked)) = bytes.split_first_chunk() else { return Ok(None) };
    if u32::from_be_bytes(*crc) != crc32c(checked) {
        return Ok(None);
    }
    let Some((&version, body)) = checked.split_first() else { return Ok(None) };
    if version != VERSION {
        return Err(JournalError::Version(u32::from(version)));
    }
    let list = postcard::take_from_bytes::<Vec<(TopicPartition, PartitionState)>>(body);
    let Ok((list, rest)) = list else { return Ok(None) };
    let mut states: BTreeMap<_, _> = list.into_iter().collect();
    let noted = postcard::from_bytes::<Vec<(TopicPartition, Offset)>>(rest).unwrap_or_default();
    for (topic_partition, high_watermark) in noted {
        if let Some(state) = states.get_mut(&topic_partition) {
            state.high_watermark = high_watermark;
        }
    }
    Ok(Some(states))
}
