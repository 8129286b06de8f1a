//! Small files that must not be lost: written whole, checksummed, with a spare copy.
//!
//! ```text
//! odradek-file <version> <CRC-32C of the rest, 8 hex digits>\n
//! <text>
//! ```
//!
//! Writing: tmp file, sync, rename, sync of the directory; then the same for the spare. A reader
//! takes the spare where the file is missing or damaged, so one flipped bit or one crash at any
//! point loses nothing that a finished write promised.

use std::io;
use std::path::Path;

use crate::journal::disk::{Disk, DiskFile, Open};

const VERSION: u32 = 1;
const WORD: &str = "odradek-file";

/// A small file is never longer.
pub(super) const BYTES_MAX: u64 = 1 << 20;

/// What a small file held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SmallFile {
    /// Neither the file nor its spare is there.
    Missing,
    /// Both are unreadable.
    Damaged,
    /// Written by a newer release.
    Newer,
    /// Its text.
    Text(String),
}

/// Reads a small file or its spare.
pub(super) fn read(disk: &impl Disk, dir: &Path, name: &str) -> io::Result<SmallFile> {
    match read_one(disk, &dir.join(name))? {
        SmallFile::Missing => read_one(disk, &dir.join(spare(name))),
        SmallFile::Damaged => Ok(match read_one(disk, &dir.join(spare(name)))? {
            SmallFile::Missing => SmallFile::Damaged,
            found => found,
        }),
        found => Ok(found),
    }
}

/// Writes a small file and its spare; both are durable when this returns.
pub(super) fn write(disk: &impl Disk, dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let bytes = bytes_of(text);
    replace(disk, dir, name, &bytes)?;
    replace(disk, dir, &spare(name), &bytes)
}

/// Writes a small file without a spare that nobody has read yet: it need not be replaced whole.
/// The caller syncs what is answered, and the directory for its name.
pub(super) fn create<D: Disk>(disk: &D, dir: &Path, name: &str, text: &str) -> io::Result<D::File> {
    let file = disk.open(&dir.join(name), Open::CreateOrWrite)?;
    file.set_len(0)?;
    file.write_all_at(&bytes_of(text), 0)?;
    Ok(file)
}

fn bytes_of(text: &str) -> Vec<u8> {
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{WORD} {VERSION} {crc:08x}\n{text}").into_bytes()
}

/// Replaces a file by other bytes, all or nothing.
pub(super) fn replace(disk: &impl Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let tmp = dir.join(format!("{name}.tmp"));
    let file = disk.open(&tmp, Open::CreateOrWrite)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&tmp, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// Reads a file whole, `None` when it is missing or longer than any small file.
pub(super) fn read_bytes(disk: &impl Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len()?;
    if BYTES_MAX < len {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    let read = file.read_what_is_left(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn spare(name: &str) -> String {
    format!("{name}.spare")
}

fn read_one(disk: &impl Disk, path: &Path) -> io::Result<SmallFile> {
    let Some(bytes) = read_bytes(disk, path)? else { return Ok(SmallFile::Missing) };
    Ok(parse(bytes).unwrap_or(SmallFile::Damaged))
}

fn parse(bytes: Vec<u8>) -> Option<SmallFile> {
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once('\n')?;
    let mut words = head.split(' ');
    if words.next()? != WORD {
        return None;
    }
    let version: u32 = words.next()?.parse().ok()?;
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    if crc != crc32c::crc32c(body.as_bytes()) {
        return None;
    }
    Some(if VERSION < version { SmallFile::Newer } else { SmallFile::Text(body.into()) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryDisk;
    use super::*;

    #[test]
    fn any_flipped_byte_is_found_and_the_spare_serves() {
        let disk = MemoryDisk::default();
        let dir = Path::new("/d");
        assert_eq!(read(&disk, dir, "f").expect("reads"), SmallFile::Missing);
        write(&disk, dir, "f", "hole 1 2\n").expect("writes");
        let good = SmallFile::Text("hole 1 2\n".into());
        let count = disk.bytes(&dir.join("f")).borrow().len();
        for place in 0..count {
            for path in ["f", "f.spare"] {
                let bytes = disk.bytes(&dir.join(path));
                bytes.borrow_mut()[place] ^= 0x10;
                assert_eq!(read(&disk, dir, "f").expect("reads"), good, "{path} {place}");
                bytes.borrow_mut()[place] ^= 0x10;
            }
        }
        disk.remove_file(&dir.join("f")).expect("there");
        assert_eq!(read(&disk, dir, "f").expect("reads"), good);
    }
}
