//! A disk in memory with a live and a durable image, for crash tests.
//!
//! Every write, length change, sync, rename, creation and removal is a step; the disk can be
//! stopped at any of them. A power cut then makes a new disk of what was durable, plus whatever
//! unsynced sectors and names the seed happens to keep, in any order.

#![allow(dead_code, missing_docs)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use odradek::journal::disk::{Disk, DiskFile, Open, Space};

const SECTOR_BYTES: usize = 512;

/// A small generator, so that a seed replays everything.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn is_one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Default)]
struct FileImage {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Default)]
struct Image {
    files: Vec<FileImage>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    dirs: Vec<PathBuf>,
    steps: u64,
    stop_at: Option<u64>,
    is_cold: bool,
}

impl Image {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.stop_at {
            Some(stop) if stop <= self.steps => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Default)]
pub struct ImageDisk(Rc<RefCell<Image>>);

#[derive(Clone)]
pub struct ImageFile {
    image: Rc<RefCell<Image>>,
    id: usize,
}

impl ImageDisk {
    /// Fails every step from the `steps`th from now on.
    pub fn stop_after(&self, steps: u64) {
        let mut image = self.0.borrow_mut();
        image.stop_at = Some(image.steps + steps);
    }

    pub fn has_stopped(&self) -> bool {
        let image = self.0.borrow();
        image.stop_at.is_some_and(|stop| stop <= image.steps)
    }

    pub fn steps(&self) -> u64 {
        self.0.borrow().steps
    }

    pub fn set_cold(&self, is_cold: bool) {
        self.0.borrow_mut().is_cold = is_cold;
    }

    /// The disk that a process finds after it was killed: nothing that was written is lost.
    pub fn after_kill(&self) -> ImageDisk {
        let mut image = self.0.borrow().clone();
        image.stop_at = None;
        ImageDisk(Rc::new(RefCell::new(image)))
    }

    /// The disk that is found after a power cut.
    pub fn after_power_cut(&self, random: &mut Random) -> ImageDisk {
        let old = self.0.borrow();
        let mut image = Image { dirs: old.dirs.clone(), ..Image::default() };
        for file in &old.files {
            let survived = survive(file, random);
            image.files.push(FileImage { live: survived.clone(), durable: survived });
        }
        // A name that was not synced may be as it was or as it became.
        let mut names = old.durable.clone();
        let all: Vec<&PathBuf> = old.live.keys().chain(old.durable.keys()).collect();
        for path in all {
            if random.is_one_in(2) {
                match old.live.get(path) {
                    Some(&id) => names.insert(path.clone(), id),
                    None => names.remove(path),
                };
            }
        }
        image.live.clone_from(&names);
        image.durable = names;
        ImageDisk(Rc::new(RefCell::new(image)))
    }

    /// All files by name.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.borrow().live.keys().cloned().collect()
    }

    pub fn len_of(&self, path: &Path) -> usize {
        let image = self.0.borrow();
        image.live.get(path).map_or(0, |&id| image.files[id].live.len())
    }

    /// Changes one byte of a file, on stable storage too.
    pub fn flip(&self, path: &Path, at: usize, bits: u8) {
        let mut image = self.0.borrow_mut();
        let id = image.live[path];
        let file = &mut image.files[id];
        file.live[at] ^= bits;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= bits;
        }
    }

    /// A copy that shares nothing.
    pub fn fork(&self) -> ImageDisk {
        ImageDisk(Rc::new(RefCell::new(self.0.borrow().clone())))
    }
}

/// What of a file is there after a power cut: each unsynced sector old or new, the length old,
/// new or between.
fn survive(file: &FileImage, random: &mut Random) -> Vec<u8> {
    let (old, new) = (&file.durable, &file.live);
    if old == new {
        return new.clone();
    }
    let len = match random.below(3) {
        0 => old.len(),
        1 => new.len(),
        _ => {
            let (low, high) = (old.len().min(new.len()), old.len().max(new.len()));
            low + random.below((high - low) as u64 + 1) as usize
        }
    };
    let mut bytes = vec![0; len];
    let keeps_all = random.is_one_in(4);
    for start in (0..len).step_by(SECTOR_BYTES) {
        let end = len.min(start + SECTOR_BYTES);
        let source = if keeps_all || random.is_one_in(2) { new } else { old };
        let have = source.len().min(end);
        if start < have {
            bytes[start..have].copy_from_slice(&source[start..have]);
        }
    }
    bytes
}

impl Disk for ImageDisk {
    type File = ImageFile;

    fn open(&self, path: &Path, how: Open) -> io::Result<ImageFile> {
        let mut image = self.0.borrow_mut();
        let found = image.live.get(path).copied();
        let id = match (how, found) {
            (Open::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Open::Read | Open::Write, None) => return Err(io::ErrorKind::NotFound.into()),
            (_, Some(id)) => id,
            (_, None) => {
                image.step()?;
                image.files.push(FileImage::default());
                let id = image.files.len() - 1;
                image.live.insert(path.into(), id);
                id
            }
        };
        Ok(ImageFile { image: Rc::clone(&self.0), id })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        image.step()?;
        let moved: Vec<_> =
            image.live.keys().filter(|path| path.starts_with(from)).cloned().collect();
        if moved.is_empty() && !image.dirs.iter().any(|dir| dir == from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for path in moved {
            let id = image.live.remove(&path).expect("listed");
            let rest = path.strip_prefix(from).expect("filtered").to_path_buf();
            let target = if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) };
            image.live.insert(target, id);
        }
        for dir in &mut image.dirs {
            if dir == from {
                *dir = to.into();
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        if !image.live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        image.step()?;
        image.live.remove(path);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        if !image.dirs.iter().any(|dir| dir == path) {
            image.step()?;
            image.dirs.push(path.into());
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        image.step()?;
        image.live.retain(|file, _| !file.starts_with(path));
        image.dirs.retain(|dir| !dir.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let image = self.0.borrow();
        let all = image.live.keys().chain(&image.dirs);
        let mut names: Vec<PathBuf> = all
            .filter_map(|file| file.strip_prefix(path).ok()?.iter().next().map(PathBuf::from))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let image = self.0.borrow();
        let exists = image.live.contains_key(path) || image.dirs.iter().any(|dir| dir == path);
        Ok(exists)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        image.step()?;
        // A renamed directory takes its files along.
        let is_inside = |file: &Path| {
            file.parent() == Some(path) || file.parent().and_then(Path::parent) == Some(path)
        };
        let live: Vec<_> = image
            .live
            .iter()
            .filter(|(file, _)| is_inside(file))
            .map(|(file, &id)| (file.clone(), id))
            .collect();
        image.durable.retain(|file, _| !is_inside(file));
        image.durable.extend(live);
        Ok(())
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        let mut image = self.0.borrow_mut();
        image.step()?;
        for file in &mut image.files {
            file.durable.clone_from(&file.live);
        }
        image.durable = image.live.clone();
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 30, free_bytes: 1 << 30 })
    }
}

impl DiskFile for ImageFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let image = self.image.borrow();
        let bytes = &image.files[self.id].live;
        let start = bytes.len().min(position as usize);
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn try_read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if self.image.borrow().is_cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buf, position)
    }

    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let mut image = self.image.borrow_mut();
        image.step()?;
        let bytes = &mut image.files[self.id].live;
        let end = position as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[position as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image.borrow_mut();
        image.step()?;
        let file = &mut image.files[self.id];
        file.durable.clone_from(&file.live);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut image = self.image.borrow_mut();
        if image.files[self.id].live.len() != bytes as usize {
            image.step()?;
            image.files[self.id].live.resize(bytes as usize, 0);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.image.borrow().files[self.id].live.len() as u64)
    }

    fn reserve(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}
