//! A disk in memory that loses power on demand.
//!
//! Every file has a live image (what a running process reads) and a durable one (what a power cut
//! leaves). Bytes become durable by `sync_data`, names by `sync_dir`, all by `sync_all`. A cut keeps
//! of what was not synced nothing, or any part of it by the sector, as its seed says: torn and
//! reordered writes.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use odradek::journal::disk::{Disk, DiskFile, Open, Space};

/// Unit in which unsynced bytes survive or not.
const SECTOR_BYTES: usize = 512;

/// Unit in which bytes are read.
const PAGE_BYTES: u64 = 4096;

/// A seeded source of numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Heads or tails.
    pub fn flip(&mut self) -> bool {
        self.next() % 2 == 0
    }
}

/// A file: what a running process reads, and by the sector what a power cut leaves where that is
/// something else.
#[derive(Clone, Default)]
struct Image {
    live: Vec<u8>,
    durable_bytes: usize,
    /// As they are on the medium, of sectors that were written since the last sync.
    dirty: BTreeMap<usize, Vec<u8>>,
    /// The same of sectors whose sync has failed: their pages pass for clean, so no later sync
    /// writes them.
    forgotten: BTreeMap<usize, Vec<u8>>,
}

impl Image {
    fn synced(bytes: Vec<u8>) -> Image {
        Image { durable_bytes: bytes.len(), live: bytes, ..Image::default() }
    }

    fn sync(&mut self) {
        self.durable_bytes = self.live.len();
        self.dirty.clear();
    }

    fn fail_sync(&mut self) {
        self.forgotten.append(&mut self.dirty);
    }

    /// What the medium has of sectors where it is something else.
    fn differing(&self) -> BTreeMap<usize, &Vec<u8>> {
        self.dirty.iter().chain(&self.forgotten).map(|(place, sector)| (*place, sector)).collect()
    }

    /// Keeps what the medium has of these bytes, before they change.
    fn touch(&mut self, bytes: Range<usize>) {
        for place in bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES) {
            if let Some(sector) = self.forgotten.remove(&place) {
                self.dirty.insert(place, sector);
            }
            let start = place * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.durable_bytes).min(self.live.len());
            let live = &self.live;
            self.dirty.entry(place).or_insert_with(|| live.get(start..end).unwrap_or(&[]).to_vec());
        }
    }

    fn write(&mut self, buf: &[u8], start: usize) {
        let end = start + buf.len();
        self.touch(start..end);
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[start..end].copy_from_slice(buf);
    }

    fn resize(&mut self, bytes: usize) {
        if bytes < self.live.len() {
            self.touch(bytes..self.live.len());
        }
        self.live.resize(bytes, 0);
    }

    /// What the medium has.
    fn durable(&self) -> Vec<u8> {
        let mut bytes = self.live.clone();
        bytes.resize(self.durable_bytes, 0);
        for (place, sector) in self.differing() {
            let start = place * SECTOR_BYTES;
            if start < bytes.len() {
                let end = (start + SECTOR_BYTES).min(bytes.len());
                bytes[start..end].fill(0);
                bytes[start..start + sector.len()].copy_from_slice(sector);
            }
        }
        bytes
    }
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<u64, Image>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    operation_count: u64,
    fail_at: Option<u64>,
    syncs_fail: bool,
    write_count: u64,
    write_bytes: u64,
    sync_count: u64,
    free_bytes: Option<u64>,
    is_cold: bool,
    sync_does_nothing: bool,
    /// Bytes of files that the medium has lost.
    lost: Vec<(u64, Range<u64>)>,
}

/// What of the unsynced bytes a power cut keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "they are answers to one question")]
pub enum Cut {
    /// Nothing.
    KeepNothing,
    /// Each sector, length and name or not, by the seed.
    KeepSome(u64),
    /// Everything: the process died, the machine did not.
    KeepAll,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

/// An open file of it.
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({})", self.id)
    }
}

/// The names in a directory: they follow its own, in the order of paths.
fn inside(names: &BTreeMap<PathBuf, u64>, dir: &Path) -> impl Iterator<Item = (PathBuf, u64)> {
    let behind = names.range(dir.to_owned()..).take_while(move |(name, _)| name.starts_with(dir));
    let found = behind.filter(move |(name, _)| name.parent() == Some(dir));
    found.map(|(name, id)| (name.clone(), *id))
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}", path.display()))
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// The `n`-th write, sync or change of a name from now on fails, and so do all later ones.
    pub fn fail_after(&self, n: u64) {
        let mut inner = self.inner();
        inner.fail_at = Some(inner.operation_count + n);
    }

    /// What [`SimDisk::fail_after`] arranged is off.
    pub fn stop_failing(&self) {
        self.inner().fail_at = None;
    }

    /// Whether an operation has failed because of that.
    pub fn is_failing(&self) -> bool {
        let inner = self.inner();
        inner.fail_at.is_some_and(|at| at < inner.operation_count)
    }

    /// Syncs fail with EIO, or work again.
    pub fn set_syncs_fail(&self, fail: bool) {
        self.inner().syncs_fail = fail;
    }

    /// Whether they do.
    pub fn has_failing_syncs(&self) -> bool {
        self.inner().syncs_fail
    }

    /// Syncs return at once and do nothing: the lie that tests must notice.
    pub fn set_sync_does_nothing(&self) {
        self.inner().sync_does_nothing = true;
    }

    /// Nothing is in the page cache: `try_read_at` answers `WouldBlock`.
    pub fn set_cold(&self, is_cold: bool) {
        self.inner().is_cold = is_cold;
    }

    /// Whether next to no room is left.
    pub fn is_full(&self) -> bool {
        self.inner().free_bytes.is_some_and(|free| free < 1 << 20)
    }

    /// Room that is left; writes beyond it fail.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.inner().free_bytes = free;
    }

    /// Writes, syncs and changes of names so far.
    pub fn operation_count(&self) -> u64 {
        self.inner().operation_count
    }

    /// (writes, bytes written, syncs) so far.
    pub fn counts(&self) -> (u64, u64, u64) {
        let inner = self.inner();
        (inner.write_count, inner.write_bytes, inner.sync_count)
    }

    /// All files with their live bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.inner();
        inner.names.iter().map(|(path, id)| (path.clone(), inner.files[id].live.clone())).collect()
    }

    /// Changes a file's bytes, live and durable, as a failing card would.
    pub fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let id = inner.names[path];
        let image = inner.files.get_mut(&id).expect("named");
        let mut durable = image.durable();
        let mut live = std::mem::take(&mut image.live);
        change(&mut live);
        change(&mut durable);
        *image = Image::synced(durable);
        image.resize(live.len());
        let sectors = live.chunks(SECTOR_BYTES).enumerate();
        for (place, sector) in sectors {
            let start = place * SECTOR_BYTES;
            if image.live[start..start + sector.len()] != *sector {
                image.write(sector, start);
            }
        }
    }

    /// Loses bytes of a file, as a worn block does: reading their pages fails with EIO until they
    /// are written again.
    pub fn lose(&self, path: &Path, bytes: Range<u64>) {
        let mut inner = self.inner();
        let id = inner.names[path];
        let file_bytes = inner.files[&id].live.len() as u64;
        let end = bytes.end.next_multiple_of(PAGE_BYTES).min(file_bytes);
        let pages = bytes.start / PAGE_BYTES * PAGE_BYTES..end;
        inner.lost.push((id, pages));
    }

    /// Removes a file for good.
    pub fn destroy(&self, path: &Path) {
        let mut inner = self.inner();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    /// Where the files that a power cut of this disk left hold bytes that were never synced.
    pub fn unsynced_of(&self, left: &SimDisk) -> Vec<(PathBuf, Vec<usize>)> {
        let (inner, left) = (self.inner(), left.inner());
        let places = |(path, id): (&PathBuf, &u64)| {
            let (sure, bytes) = (inner.files[id].durable(), &left.files[id].live);
            let is_loose = |at: &usize| sure.get(*at) != bytes.get(*at);
            let end = if sure == *bytes { 0 } else { bytes.len() };
            (path.clone(), (0..end).filter(is_loose).collect())
        };
        let loose = left.names.iter().map(places);
        loose.filter(|(_, places): &(PathBuf, Vec<usize>)| !places.is_empty()).collect()
    }

    /// The disk as it is after a power cut and a reboot: another disk; this one stays as it is.
    pub fn power_cut(&self, cut: Cut) -> SimDisk {
        let inner = self.inner();
        let mut rng = Rng(if let Cut::KeepSome(seed) = cut { seed } else { 0 });
        let mut keeps = |rng: &mut Rng| match cut {
            Cut::KeepNothing => false,
            Cut::KeepSome(_) => rng.flip(),
            Cut::KeepAll => true,
        };
        let mut fresh = Inner { next_file: inner.next_file, ..Inner::default() };
        let paths: BTreeSet<&PathBuf> =
            inner.names.keys().chain(inner.durable_names.keys()).collect();
        for path in paths {
            let (live, durable) = (inner.names.get(path), inner.durable_names.get(path));
            let id = if live == durable || !keeps(&mut rng) { durable } else { live };
            if let Some(id) = id {
                fresh.names.insert(path.clone(), *id);
            }
        }
        for dir in inner.dirs.union(&inner.durable_dirs) {
            let is_both = inner.dirs.contains(dir) && inner.durable_dirs.contains(dir);
            let stays = inner.durable_dirs.contains(dir) && !keeps(&mut rng);
            let comes = inner.dirs.contains(dir) && keeps(&mut rng);
            let holds_files = fresh.names.keys().any(|name| name.starts_with(dir));
            if is_both || stays || comes || holds_files {
                fresh.dirs.insert(dir.clone());
            }
        }
        for id in fresh.names.values() {
            let image = &inner.files[id];
            let bytes = survive(image, &mut rng, &mut keeps);
            fresh.files.insert(*id, Image::synced(bytes));
        }
        fresh.durable_names.clone_from(&fresh.names);
        fresh.durable_dirs.clone_from(&fresh.dirs);
        SimDisk(Arc::new(Mutex::new(fresh)))
    }
}

fn survive(image: &Image, rng: &mut Rng, keeps: &mut impl FnMut(&mut Rng) -> bool) -> Vec<u8> {
    let has_new_length = image.live.len() != image.durable_bytes && keeps(rng);
    let length = if has_new_length { image.live.len() } else { image.durable_bytes };
    let mut bytes = image.live.clone();
    bytes.resize(length, 0);
    for (place, durable) in image.differing() {
        let start = place * SECTOR_BYTES;
        if length <= start {
            break;
        }
        let sector = &mut bytes[start..(start + SECTOR_BYTES).min(length)];
        let mut durable = durable.clone();
        durable.resize(sector.len(), 0);
        if *sector != *durable && !keeps(rng) {
            sector.copy_from_slice(&durable);
        }
    }
    bytes
}

impl Inner {
    /// Counts an operation that changes something, and fails it if it is to fail.
    fn operate(&mut self) -> io::Result<()> {
        self.operation_count += 1;
        match self.fail_at {
            Some(at) if at < self.operation_count => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    /// The room of a file that has no name any more can be used again.
    fn give_back(&mut self, file: Option<u64>) {
        let freed = file.map_or(0, |id| self.files[&id].live.len() as u64);
        self.free_bytes = self.free_bytes.map(|free| free + freed);
    }

    /// Counts a sync, of one file or of all.
    fn sync(&mut self, file: Option<u64>) -> io::Result<bool> {
        self.operate()?;
        self.sync_count += 1;
        if self.syncs_fail {
            let failing = |id: &u64| file.is_none_or(|file| file == *id);
            let images = self.files.iter_mut().filter(|(id, _)| failing(id));
            images.for_each(|(_, image)| image.fail_sync());
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(!self.sync_does_nothing)
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<SimFile> {
        let mut inner = self.inner();
        let known = inner.names.get(path).copied();
        let id = match (known, how) {
            (Some(_), Open::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), _) => id,
            (None, Open::Read | Open::Write) => return Err(not_found(path)),
            (None, Open::Create | Open::CreateOrWrite) => {
                inner.operate()?;
                let id = inner.next_file;
                inner.next_file += 1;
                inner.files.insert(id, Image::default());
                inner.names.insert(path.to_owned(), id);
                id
            }
        };
        Ok(SimFile { disk: self.clone(), id })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operate()?;
        if inner.dirs.contains(from) {
            let moved = |path: &PathBuf| path.strip_prefix(from).ok().map(|rest| to.join(rest));
            let names = std::mem::take(&mut inner.names);
            inner.names = names.into_iter().map(|(p, id)| (moved(&p).unwrap_or(p), id)).collect();
            let dirs = std::mem::take(&mut inner.dirs);
            inner.dirs = dirs.into_iter().map(|p| moved(&p).unwrap_or(p)).collect();
            return Ok(());
        }
        let id = inner.names.remove(from).ok_or_else(|| not_found(from))?;
        let replaced = inner.names.insert(to.to_owned(), id);
        inner.give_back(replaced);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operate()?;
        let removed = inner.names.remove(path);
        inner.give_back(removed);
        removed.map(|_| ()).ok_or_else(|| not_found(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operate()?;
        for dir in path.ancestors() {
            inner.dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operate()?;
        inner.names.retain(|name, _| !name.starts_with(path));
        inner.dirs.retain(|dir| !dir.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.inner();
        if !inner.dirs.contains(path) {
            return Err(not_found(path));
        }
        let dirs = inner.dirs.iter().filter(|dir| dir.parent() == Some(path)).cloned();
        let all = inside(&inner.names, path).map(|(name, _)| name).chain(dirs);
        let mut names: Vec<PathBuf> =
            all.map(|name| name.file_name().expect("it has a parent").into()).collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.inner();
        Ok(inner.names.contains_key(path) || inner.dirs.contains(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.dirs.contains(path) && inside(&inner.names, path).next().is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Of a directory that could not be synced nothing passes for clean.
        if !inner.sync(Some(u64::MAX))? {
            return Ok(());
        }
        let inner = &mut *inner;
        let before: Vec<PathBuf> = inside(&inner.durable_names, path).map(|(p, _)| p).collect();
        for name in before {
            inner.durable_names.remove(&name);
        }
        inner.durable_names.extend(inside(&inner.names, path));
        inner.durable_dirs.retain(|dir| dir.parent() != Some(path));
        let is_inside = |dir: &&PathBuf| dir.parent() == Some(path);
        let dirs: Vec<PathBuf> = inner.dirs.iter().filter(is_inside).cloned().collect();
        inner.durable_dirs.extend(dirs);
        Ok(())
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.sync(None)? {
            return Ok(());
        }
        let inner = &mut *inner;
        inner.durable_names.clone_from(&inner.names);
        inner.durable_dirs.clone_from(&inner.dirs);
        for image in inner.files.values_mut() {
            image.sync();
        }
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let free_bytes = self.inner().free_bytes.unwrap_or(1 << 40);
        Ok(Space { total_bytes: 1 << 40, free_bytes })
    }
}

impl SimFile {
    fn image<T>(&self, act: impl FnOnce(&mut Image) -> T) -> T {
        let mut inner = self.disk.inner();
        act(inner.files.get_mut(&self.id).expect("open files stay"))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let end = position + (buf.len() as u64).min(self.len()?.saturating_sub(position));
        let is_hit = |(id, lost): &(u64, Range<u64>)| {
            *id == self.id && position < lost.end && lost.start < end
        };
        if self.disk.inner().lost.iter().any(is_hit) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.image(|image| {
            let start = usize::try_from(position).unwrap_or(usize::MAX).min(image.live.len());
            let rest = &image.live[start..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn try_read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if self.disk.inner().is_cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // What cannot be read is never in the page cache.
        self.read_at(buf, position).map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let fails = inner.operate();
        inner.write_count += 1;
        inner.write_bytes += buf.len() as u64;
        if let Some(free) = inner.free_bytes {
            // What is there may be written again on a full disk.
            let there = inner.files[&self.id].live.len() as u64;
            let needed = (position + buf.len() as u64).saturating_sub(there.max(position));
            if free < needed {
                return Err(io::Error::from_raw_os_error(28));
            }
            inner.free_bytes = Some(free - needed);
        }
        // A write that the power cut interrupts may have got half-way.
        let buf = if fails.is_err() { &buf[..buf.len() / 2] } else { buf };
        let end = position + buf.len() as u64;
        let is_healed = |lost: &Range<u64>| position <= lost.start && lost.end <= end;
        inner.lost.retain(|(id, lost)| *id != self.id || !is_healed(lost));
        let image = inner.files.get_mut(&self.id).expect("open files stay");
        image.write(buf, position as usize);
        fails
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        if inner.sync(Some(self.id))? {
            let image = inner.files.get_mut(&self.id).expect("open files stay");
            image.sync();
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operate()?;
        let image = inner.files.get_mut(&self.id).expect("open files stay");
        let freed = (image.live.len() as u64).saturating_sub(bytes);
        image.resize(bytes as usize);
        inner.free_bytes = inner.free_bytes.map(|free| free + freed);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.image(|image| image.live.len() as u64))
    }

    fn reserve(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}
