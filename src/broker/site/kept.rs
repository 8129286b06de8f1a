//! What a node keeps of the quorum beside its log: its promises, and the newest snapshot.
//!
//! ```text
//! quorum-state, quorum-snapshot
//! 0  u32  CRC-32C of what follows, big endian
//! 4  u8   version, 1
//! 5  ...  postcard: the state; or the snapshot, its image as bytes
//! ```
//!
//! Each has a spare. A file is written beside the old one, synced and renamed, the spare after the
//! first is durable; nothing rests on either before both are. So where one is damaged the other is
//! the newest that anybody was promised, and where both are, the node is no longer the voter it was.
//!
//! **Invariant:** whoever lost its promises lost its identity with them, because both are in the
//! same file: it comes back as another voter (reliability.md Q5).

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{LeaderEpoch, Offset};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::limits::QUORUM_IMAGE_BYTES_MAX;
use crate::quorum::{HardState, Members, Snapshot, VoterId};
use crate::record::crc::crc32c;
use crate::wire::frame;
use crate::wire::quorum::members::Member;

const STATE: &str = "quorum-state";
const SNAPSHOT: &str = "quorum-snapshot";
const VERSION: u8 = 1;

/// What a node promised, and which life of its log it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptState {
    /// The life.
    pub incarnation: u32,
    /// Whether its log begins with the site: nobody else voted then.
    pub is_founder: bool,
    /// The newest epoch.
    pub epoch: LeaderEpoch,
    /// Who has its vote in it.
    pub vote: Option<VoterId>,
    /// How far the log was known to be committed; may lag behind.
    pub high_watermark: Offset,
}

impl KeptState {
    /// As the quorum takes it.
    pub fn hard_state(&self) -> HardState {
        let KeptState { epoch, vote, high_watermark, .. } = *self;
        HardState { epoch, vote, high_watermark }
    }

    /// With what the quorum wants persisted.
    #[must_use]
    pub fn with(self, state: HardState) -> KeptState {
        let HardState { epoch, vote, high_watermark } = state;
        KeptState { epoch, vote, high_watermark, ..self }
    }
}

#[derive(Serialize, Deserialize)]
struct KeptSnapshot<'a> {
    last_offset: Offset,
    epoch: LeaderEpoch,
    #[serde(deserialize_with = "frame::list::<64, _, _>")]
    members: Vec<Member>,
    #[serde(borrow)]
    image: &'a [u8],
}

/// Something to make durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Promises.
    State(KeptState),
    /// A snapshot.
    Snapshot(Snapshot),
}

impl Keep {
    /// Makes it durable, twice. It waits for the disk.
    pub fn run<D: Disk>(&self, disk: &D, dir: &Path) -> io::Result<()> {
        match self {
            Keep::State(state) => {
                let bytes = postcard::to_extend(state, head()).expect("a Vec takes all");
                write(disk, dir, STATE, bytes)
            }
            Keep::Snapshot(snapshot) => {
                let kept = KeptSnapshot {
                    last_offset: snapshot.last_offset,
                    epoch: snapshot.epoch,
                    members: snapshot.members.to_list(),
                    image: &snapshot.image,
                };
                let bytes = postcard::to_extend(&kept, head()).expect("a Vec takes all");
                write(disk, dir, SNAPSHOT, bytes)
            }
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// There never was one.
    Never,
    /// There was one, and neither copy is sound.
    Damaged,
    /// The newest.
    Sound(T),
}

/// Reads the promises.
pub fn read_state<D: Disk>(disk: &D, dir: &Path) -> io::Result<Found<KeptState>> {
    read(disk, dir, STATE, 1024, |bytes| postcard::from_bytes(bytes).ok())
}

/// Reads the snapshot.
pub fn read_snapshot<D: Disk>(disk: &D, dir: &Path) -> io::Result<Found<Snapshot>> {
    let most = QUORUM_IMAGE_BYTES_MAX + 64 * 1024;
    read(disk, dir, SNAPSHOT, most, |bytes| {
        let kept: KeptSnapshot<'_> = postcard::from_bytes(bytes).ok()?;
        Some(Snapshot {
            last_offset: kept.last_offset,
            epoch: kept.epoch,
            members: Members::from_list(&kept.members)?,
            image: Bytes::copy_from_slice(kept.image),
        })
    })
}

/// Makes the promises worthless, before the log that goes with them is emptied: with an empty log they
/// would be those of a voter that has everything still to come.
pub fn spoil<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    for path in [dir.join(STATE), spare(dir, STATE)] {
        // Of a node that never promised anything nothing is there to be worthless.
        if disk.exists(&path)? {
            let file = disk.open(&path, Open::Write)?;
            file.set_len(0)?;
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Forgets everything: the node is no longer the voter it was. Until this has returned the next start
/// finds spoiled promises, if [`spoil`] was called before.
pub fn forget<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    for name in [SNAPSHOT, STATE] {
        for path in [dir.join(name), spare(dir, name)] {
            if disk.exists(&path)? {
                disk.remove_file(&path)?;
            }
        }
        disk.sync_dir(dir)?;
    }
    Ok(())
}

fn head() -> Vec<u8> {
    vec![0, 0, 0, 0, VERSION]
}

fn spare(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.spare"))
}

fn write<D: Disk>(disk: &D, dir: &Path, name: &str, mut bytes: Vec<u8>) -> io::Result<()> {
    let crc = crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_be_bytes());
    let new = dir.join(format!("{name}.new"));
    for path in [dir.join(name), spare(dir, name)] {
        let file = disk.open(&new, Open::CreateOrWrite)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        disk.rename(&new, &path)?;
        disk.sync_dir(dir)?;
    }
    Ok(())
}

fn read<D: Disk, T>(
    disk: &D,
    dir: &Path,
    name: &str,
    bytes_max: usize,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Found<T>> {
    let mut found = Found::Never;
    for path in [dir.join(name), spare(dir, name)] {
        if !disk.exists(&path)? {
            continue;
        }
        found = Found::Damaged;
        let file = disk.open(&path, Open::Read)?;
        let file_bytes = file.len()?;
        if bytes_max as u64 <= file_bytes {
            continue;
        }
        let mut bytes = vec![0; file_bytes as usize];
        let count = file.read_what_is_left(&mut bytes, 0)?;
        let Some((crc, checked)) = bytes[..count].split_first_chunk() else { continue };
        let Some((&VERSION, body)) = checked.split_first() else { continue };
        if u32::from_be_bytes(*crc) != crc32c(checked) {
            continue;
        }
        if let Some(value) = parse(body) {
            return Ok(Found::Sound(value));
        }
    }
    Ok(found)
}
