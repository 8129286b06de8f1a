//! What recovery does to files: a damaged segment is parted, a torn one cut, the rest set aside.
//!
//! **Invariant:** nothing that may be good is cut before its copy is durable under its own name,
//! and what is cut is kept in a `.torn` file, unless it is all zeros (space that a power cut left
//! behind). Each of these may be stopped anywhere and done again.

use std::io;

use super::Disk;
use super::recovery::{Recovery, remove_caches};
use super::segment::{Place, Segment, file_name};
use super::walk::{Met, Walk, WalkError, crc_is_valid};
use crate::ids::{LeaderEpoch, Offset};
use crate::journal::disk::{DiskFile, Open};
use crate::record::{BatchHeader, HEADER_BYTES};

/// Bytes copied or searched at once.
const COPY_BYTES: usize = 64 << 10;

/// Unit in which a card writes: of what follows a hole, the part in the sector before may be lost.
const SECTOR_BYTES: u64 = 512;

/// What precedes a batch's magic byte, and its checksum does not cover: its offset, length and epoch.
const UNCHECKED_BYTES: usize = 16;

/// What a batch must be like to follow a hole.
pub(super) struct Wanted {
    /// First offset that is missing.
    pub from: Offset,
    /// Base of the next segment.
    pub next_base: Option<Offset>,
    /// Epoch of the last good batch.
    pub epoch: LeaderEpoch,
}

impl Wanted {
    fn accepts(&self, met: &Met, end: u64) -> bool {
        let header = &met.header;
        let lost = header.base_offset.since(self.from);
        met.end_position() <= end
            && 0 <= lost
            && lost <= i64::from(i32::MAX)
            && self.epoch <= header.leader_epoch
            && self.next_base.is_none_or(|next| header.last_offset() < next)
    }

    /// Whether what follows a batch goes on where that ends.
    fn is_confirmed(&self, file: &impl DiskFile, met: &Met, end: u64) -> io::Result<bool> {
        let next = met.header.next_offset();
        match Walk::new(file, met.end_position(), end, true).next() {
            Ok(Some(behind)) => {
                Ok(behind.header.base_offset == next && crc_is_valid(file, &behind)?)
            }
            Ok(None) => Ok(self.next_base == Some(next)),
            Err(WalkError::Io(error)) => Err(error),
            Err(WalkError::Bad(_) | WalkError::Cold(_)) => Ok(false),
        }
    }
}

/// Whether a batch begins in a sector that reads as zeros up to its end, as one that was never written
/// does, so that its offset may be another: the checksum says nothing about that.
fn may_lack_its_begin(position: u64, header: &[u8]) -> bool {
    let in_sector = (SECTOR_BYTES - position % SECTOR_BYTES) as usize;
    in_sector <= UNCHECKED_BYTES && header[..in_sector].iter().all(|byte| *byte == 0)
}

impl<D: Disk> Recovery<'_, D> {
    /// Parts a damaged segment: what is good behind the bad bytes goes on under its own name.
    pub(super) fn split(&mut self, number: usize, bad: u64, good: &Met) -> io::Result<()> {
        let place = self.place;
        let segment = &self.segments[number];
        let (old_base, old_end, bytes) = (segment.base, segment.end, segment.bytes);
        let base = good.header.base_offset;
        let from = segment.file(place)?;
        let tmp = place.path(base, "log.tmp");
        let to = place.disk.open(&tmp, Open::CreateOrWrite)?;
        to.set_len(0)?;
        copy(&from, good.position, bytes, &to)?;
        to.sync_data()?;
        self.save_torn(old_base, &from, bad, good.position)?;
        remove_caches(place, base)?;
        place.disk.rename(&tmp, &place.path(base, "log"))?;
        place.disk.sync_dir(place.dir)?;
        self.add_hole(old_end, base);
        let mut rest = Segment::new(base, Some(to), bytes - good.position, self.now);
        rest.end = self.next_base(number).unwrap_or(base);
        rest.is_new = true;
        rest.first_timestamp = good.header.max_timestamp;
        // It must be scanned even where the journal would not ask for it.
        self.damage.suspects.insert(base);
        if base == old_base {
            self.segments[number] = rest;
            return self.scan(number, 0, base).map(|_| ());
        }
        self.segments.insert(number + 1, rest);
        let segment = &mut self.segments[number];
        segment.bytes = bad;
        from.set_len(bad)?;
        from.sync_data()
    }

    /// Moves what lies behind the last good batch of a segment to a `.torn` file.
    pub(super) fn cut(&mut self, number: usize, position: u64, bytes: u64) -> io::Result<()> {
        let file = self.segments[number].file(self.place)?;
        self.save_torn(self.segments[number].base, &file, position, bytes)?;
        file.set_len(position)?;
        file.sync_data()?;
        self.segments[number].bytes = position;
        Ok(())
    }

    fn save_torn(&mut self, base: Offset, from: &D::File, start: u64, end: u64) -> io::Result<()> {
        let is_empty = is_zero(from, start, end)?;
        if is_empty {
            return Ok(());
        }
        copy_torn(self.place, base, from, start, end)?;
        self.has_new_names = true;
        self.report.torn_bytes += end - start;
        Ok(())
    }

    /// Sets whole segments aside: they lie behind the torn place and above the mark.
    pub(super) fn set_aside_behind(&mut self, number: usize) -> io::Result<()> {
        for segment in self.segments.drain(number + 1..) {
            let from = self.place.path(segment.base, "log");
            if segment.bytes == 0 {
                self.place.disk.remove_file(&from)?;
            } else {
                self.place.disk.rename(&from, &self.place.path(segment.base, "log.torn"))?;
            }
            remove_caches(self.place, segment.base)?;
            self.report.torn_bytes += segment.bytes;
            self.has_new_names = true;
        }
        Ok(())
    }
}

/// Copies a part of a segment to a `.torn` file and syncs that; its name is the caller's to sync. On a
/// full disk there is no copy: nobody was promised those bytes, or a peer has better ones, and a node
/// that did not start for want of room would be the greater loss (reliability.md S7).
pub(super) fn copy_torn<D: Disk>(
    place: Place<'_, D>,
    base: Offset,
    from: &D::File,
    start: u64,
    end: u64,
) -> io::Result<()> {
    let path = place.dir.join(file_name(base, &format!("{start}.torn")));
    let to = place.disk.open(&path, Open::CreateOrWrite)?;
    to.set_len(0)?;
    match copy(from, start, end, &to) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            log::warn!("{}: there is no room to set aside what is cut off", path.display());
            place.disk.remove_file(&path)
        }
        copied => copied.and_then(|()| to.sync_data()),
    }
}

/// Searches for the next good batch. One that may have lost where it says that it belongs is one only
/// where what follows it agrees.
pub(super) fn resync(
    file: &impl DiskFile,
    from: u64,
    end: u64,
    wanted: &Wanted,
) -> io::Result<Option<Met>> {
    let mut window = vec![0; COPY_BYTES];
    let mut start = from;
    while start + HEADER_BYTES as u64 <= end {
        let want = (end - start).min(COPY_BYTES as u64) as usize;
        let got = file.read_what_is_left(&mut window[..want], start)?;
        if got < HEADER_BYTES {
            return Ok(None);
        }
        let last = got - HEADER_BYTES;
        for place in 0..=last {
            // The magic byte first: it rules out nearly everything.
            if window[place + 16] != 2 {
                continue;
            }
            let Ok(header) = BatchHeader::parse(&window[place..got]) else { continue };
            let met = Met { position: start + place as u64, header };
            if !wanted.accepts(&met, end) || !crc_is_valid(file, &met)? {
                continue;
            }
            let is_doubted = may_lack_its_begin(met.position, &window[place..got]);
            if !is_doubted || wanted.is_confirmed(file, &met, end)? {
                return Ok(Some(met));
            }
        }
        start += last as u64 + 1;
    }
    Ok(None)
}

fn copy<F: DiskFile>(from: &F, start: u64, end: u64, to: &F) -> io::Result<()> {
    let mut buf = vec![0; COPY_BYTES];
    let mut position = start;
    while position < end {
        let want = (end - position).min(COPY_BYTES as u64) as usize;
        let got = from.read_what_is_left(&mut buf[..want], position)?;
        if got == 0 {
            return Ok(());
        }
        to.write_all_at(&buf[..got], position - start)?;
        position += got as u64;
    }
    Ok(())
}

fn is_zero(file: &impl DiskFile, start: u64, end: u64) -> io::Result<bool> {
    let mut buf = vec![0; COPY_BYTES];
    let mut position = start;
    while position < end {
        let want = (end - position).min(COPY_BYTES as u64) as usize;
        let got = file.read_what_is_left(&mut buf[..want], position)?;
        if buf[..got].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if got == 0 {
            break;
        }
        position += got as u64;
    }
    Ok(true)
}

/// Writes part of a file once more. What a sync that failed has left in the page cache passes for
/// clean, and no later sync would do anything about it.
pub(super) fn write_again(file: &impl DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; COPY_BYTES];
    let mut position = from;
    while position < to {
        let count = bytes.len().min((to - position) as usize);
        file.read_exact_at(&mut bytes[..count], position)?;
        file.write_all_at(&bytes[..count], position)?;
        position += count as u64;
    }
    Ok(())
}
