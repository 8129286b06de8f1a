//! What compaction has done to a partition: a small file `cleaned` in its directory, and what
//! recovery makes of it.
//!
//! ```text
//! topic <topic id>
//! cleaned <offset>                         before it no key has two records
//! rewritten <offset>                       segments before it may not be what was appended
//! swap <base> <end> <bytes> <CRC-32C>      one is on its way to its name
//! ```
//!
//! Compaction writes `<base>.log.cleaned`, syncs it, renames it to `.swap`, and only when that name
//! is durable does the `swap` line say that it is to take the place of all segments in
//! `[base, end)`. The log then renames it to `.log`; when that is durable the other segments go,
//! and when they are gone for good the line does.
//!
//! Whatever a stop leaves of these steps is decided here, before anything looks at the segments:
//! - a `.swap` that the line names, whole, takes its place;
//! - a `.log` that is what the line names has its place, and the others go;
//! - neither: the old segments are all there, for they go only after the new one's name is durable;
//! - a `.cleaned` or `.swap` that no line names is half a thing and goes.
//!
//! **Invariant:** the journal's redo passes over entries before `rewritten`, or a batch would be
//! written where it once lay. Before the line says so, what it speaks of is synced: in the new
//! segment, or in the old ones. The topic's id is in the file because the directory's name may be
//! another topic's by the time that the cleaner writes to it.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::identity;
use super::recovery::{remove_caches, remove_files, remove_if_there, segment_bases};
use super::segment::{Place, file_name};
use super::small_file::{self, SmallFile};
use crate::ids::{Offset, TopicId, Uuid};
use crate::journal::disk::{Disk, DiskFile, Open};

const NAME: &str = "cleaned";

/// Suffixes of what is not in its place.
pub(super) const UNFINISHED: [&str; 2] = [".cleaned", ".swap"];

/// Read at once to verify a segment.
const READ_BYTES: usize = 64 << 10;

/// Files of a segment, the one that matters last.
pub(super) const SUFFIXES: [&str; 4] = ["index", "timeindex", "summary", "log"];

/// A segment on its way to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    /// Its base offset, and that of the first segment it replaces.
    pub base: Offset,
    /// The offset after the last segment it replaces.
    pub end: Offset,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub crc: u32,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cleaned {
    /// Whose it is.
    pub topic_id: TopicId,
    /// Before it no key has two records.
    pub clean_end: Offset,
    /// Segments before it may have been rewritten; they are synced.
    pub rewritten_end: Offset,
    /// A segment on its way.
    pub swap: Option<Swap>,
}

impl Cleaned {
    /// Of a partition that was never compacted.
    pub fn new(topic_id: TopicId) -> Cleaned {
        Cleaned { topic_id, clean_end: Offset::ZERO, rewritten_end: Offset::ZERO, swap: None }
    }

    /// Reads the file. Without one, or with one of another topic, nothing was ever compacted.
    pub fn load(disk: &impl Disk, dir: &Path, topic_id: TopicId) -> io::Result<Cleaned> {
        let none = Cleaned::new(topic_id);
        let SmallFile::Text(text) = small_file::read(disk, dir, NAME)? else { return Ok(none) };
        let found = parse(&text).filter(|found| found.topic_id == topic_id);
        Ok(found.unwrap_or(none))
    }

    /// What it says when the log is cut at `end`: what is appended from there on was never
    /// compacted, and is redone where it was appended.
    pub fn truncated(self, end: Offset) -> Cleaned {
        Cleaned {
            clean_end: self.clean_end.min(end),
            rewritten_end: self.rewritten_end.min(end),
            swap: self.swap.filter(|swap| swap.end <= end),
            ..self
        }
    }

    /// Makes the file say this, and that durable.
    pub fn save(&self, disk: &impl Disk, dir: &Path) -> io::Result<()> {
        let mut text = format!(
            "topic {}\ncleaned {}\nrewritten {}\n",
            self.topic_id, self.clean_end, self.rewritten_end
        );
        if let Some(Swap { base, end, bytes, crc }) = self.swap {
            let _ = writeln!(text, "swap {base} {end} {bytes} {crc}");
        }
        small_file::write(disk, dir, NAME, &text)
    }
}

fn parse(text: &str) -> Option<Cleaned> {
    let mut topic_id = None;
    let mut found = Cleaned::new(TopicId::default());
    for line in text.lines() {
        let mut words = line.split(' ');
        let kind = words.next()?;
        if kind == "topic" {
            topic_id = Uuid::parse(words.next()?).map(TopicId);
            continue;
        }
        let numbers: Vec<i64> = words.map_while(|word| word.parse().ok()).collect();
        match (kind, &numbers[..]) {
            ("cleaned", &[offset]) => found.clean_end = Offset(offset),
            ("rewritten", &[offset]) => found.rewritten_end = Offset(offset),
            ("swap", &[base, end, bytes, crc]) => {
                let (bytes, crc) = (u64::try_from(bytes).ok()?, u32::try_from(crc).ok()?);
                found.swap = Some(Swap { base: Offset(base), end: Offset(end), bytes, crc });
            }
            _ => return None,
        }
    }
    topic_id.map(|topic_id| Cleaned { topic_id, ..found })
}

/// Finishes what a stop interrupted, if it came far enough, and answers what there is then. Files
/// that are still `.cleaned` or `.swap` afterwards are to be discarded.
pub(super) fn recover<D: Disk>(place: Place<'_, D>, topic_id: TopicId) -> io::Result<Cleaned> {
    let mut found = Cleaned::load(place.disk, place.dir, topic_id)?;
    if let Some(swap) = found.swap {
        finish(place, &swap)?;
        // The line goes only when what it tells is done for good.
        place.disk.sync_dir(place.dir)?;
        found.swap = None;
        found.save(place.disk, place.dir)?;
    }
    Ok(found)
}

fn finish<D: Disk>(place: Place<'_, D>, swap: &Swap) -> io::Result<()> {
    let log = place.path(swap.base, "log");
    let waiting = place.dir.join(waiting_name(swap.base, "log"));
    if is_what(place.disk, &waiting, swap)? {
        place.disk.rename(&waiting, &log)?;
        // A rename that is lost half-way must find the old segments.
        place.disk.sync_dir(place.dir)?;
    } else if !is_what(place.disk, &log, swap)? {
        return Ok(());
    }
    remove_caches(place, swap.base)?;
    for base in segment_bases(place.disk, place.dir)? {
        if swap.base < base && base < swap.end {
            remove_files(place, base)?;
        }
    }
    Ok(())
}

/// Whether a file is the segment that was written.
fn is_what(disk: &impl Disk, path: &Path, swap: &Swap) -> io::Result<bool> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.len()? != swap.bytes {
        return Ok(false);
    }
    let mut buf = vec![0; READ_BYTES];
    let (mut position, mut crc) = (0, 0);
    while position < swap.bytes {
        let got = file.read_what_is_left(&mut buf, position)?;
        if got == 0 {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &buf[..got]);
        position += got as u64;
    }
    Ok(crc == swap.crc)
}

/// Name of a file that is being written.
pub(super) fn unfinished_name(base: Offset, suffix: &str) -> String {
    file_name(base, &format!("{suffix}.cleaned"))
}

/// Name of a file that is whole and waits for its place.
pub(super) fn waiting_name(base: Offset, suffix: &str) -> String {
    file_name(base, &format!("{suffix}.swap"))
}

/// Removes files that no `swap` line names any more.
pub(super) fn remove_unfinished<D: Disk>(place: Place<'_, D>) -> io::Result<()> {
    for path in place.disk.list(place.dir)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if UNFINISHED.iter().any(|suffix| name.ends_with(suffix)) {
            place.disk.remove_file(&place.dir.join(name))?;
        }
    }
    Ok(())
}

/// Undoes what is half done, before any `swap` line says otherwise: the files of one segment.
pub(super) fn discard<D: Disk>(
    place: Place<'_, D>,
    cleaned: &Cleaned,
    base: Offset,
) -> io::Result<()> {
    // The directory's name may be another topic's by now.
    let is_there = place.disk.exists(place.dir)?
        && identity::topic_id(place.disk, place.dir)? == Some(cleaned.topic_id);
    if !is_there {
        return Ok(());
    }
    if cleaned.swap.is_some() {
        Cleaned { swap: None, ..*cleaned }.save(place.disk, place.dir)?;
    }
    for suffix in SUFFIXES {
        remove_if_there(place.disk, &place.dir.join(unfinished_name(base, suffix)))?;
        remove_if_there(place.disk, &place.dir.join(waiting_name(base, suffix)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MemoryDisk, topic_partition};
    use super::*;

    #[test]
    fn the_file_says_what_was_saved_and_of_which_topic() {
        let disk = MemoryDisk::default();
        let dir = Path::new("/d");
        let topic_id = topic_partition().topic_id;
        let load = |topic_id| Cleaned::load(&disk, dir, topic_id).expect("reads");
        assert_eq!(load(topic_id), Cleaned::new(topic_id));
        let swap = Swap { base: Offset(5), end: Offset(900), bytes: 77, crc: u32::MAX };
        let mut cleaned = Cleaned {
            clean_end: Offset(800),
            rewritten_end: Offset(900),
            swap: Some(swap),
            ..Cleaned::new(topic_id)
        };
        for swap in [Some(swap), None] {
            cleaned.swap = swap;
            cleaned.save(&disk, dir).expect("writes");
            assert_eq!(load(topic_id), cleaned);
        }
        let other = TopicId(Uuid([9; 16]));
        assert_eq!(load(other), Cleaned::new(other), "another topic's file says nothing");
    }
}
