//! What a partition knows of its producers, in a file: Kafka's, with what Kafka leaves out behind.
//!
//! ```text
//! <offset>.snapshot: the state before the batch at that offset, big-endian
//! 0  i16  version, 1
//! 2  u32  CRC-32C of all that follows
//! 6  i32  count; then for each producer, by rising id
//!         producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32
//!         | timestamp i64 | coordinator epoch i32, -1 | first offset of its transaction i64, -1
//! .  "ODPS", then where the batch at that offset begins:
//!         base offset of its segment i64 | position u64
//!    then for each producer in the same order
//!         count of older batches u8, then each, oldest first:
//!         last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//! ```
//!
//! Kafka remembers only a producer's last batch across a restart; its reader takes the checksum
//! over the whole file and stops reading after the list, so the rest of the five follow there and
//! the state after a start is the state before. A file that Kafka wrote ends after the list.
//!
//! Files are written when a segment begins (at its base), every [`INTERVAL_BYTES`] between, now and
//! then when less has come, and at a clean stop (at the end). A start reads the headers of what
//! lies behind the newest. They are caches and not synced: one that is missing or torn is made good
//! by the segments, from an older one on or from the log's beginning. A segment takes the file at
//! its base with it when it goes; before it goes, the file at the next segment's base is synced
//! ([`ProducersNote`]), because from then on nothing else tells of its producers.
//!
//! **Invariant:** a file at an offset that the log reaches tells of batches that the log has or
//! had. Recovery therefore removes those beyond the end, durably, before anything is appended.
//!
//! Read Kafka's `ProducerStateManager.java` before editing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Log;
use super::identity;
use super::producers::{BATCHES_KEPT, Kept, Producer, Producers};
use super::recovery::remove_if_there;
use super::segment::{Place, Segment, file_name};
use super::small_file;
use super::walk::{Walk, WalkError};
use crate::ids::{Offset, TopicId};
use crate::journal::disk::{Disk, DiskFile, Open};
use crate::limits::PARTITION_PRODUCERS_MAX;
use crate::time::{Boot, Now, Timestamp};

const VERSION: i16 = 1;
const CRC_START: usize = 6;
const ENTRY_BYTES: usize = 46;
const OLDER_MAGIC: [u8; 4] = *b"ODPS";
const HEAD_BYTES: usize = CRC_START + 4 + OLDER_MAGIC.len() + 16;
const SUFFIX: &str = "snapshot";

/// With so much behind the newest file the next is written at once.
const INTERVAL_BYTES: u64 = 16 << 20;

/// With so much behind it, and after so long, the next is written as well.
const QUIET_BYTES: u64 = 64 << 10;
const QUIET_MS: u64 = 60_000;

const _: () = {
    // As the layout above has them.
    let older_bytes = 24;
    let all = PARTITION_PRODUCERS_MAX * (ENTRY_BYTES + 1 + (BATCHES_KEPT - 1) * older_bytes);
    // What is written can be read again.
    assert!(all + HEAD_BYTES <= small_file::BYTES_MAX as usize);
};

/// A place between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Between {
    /// Offset of the batch behind it.
    pub offset: Offset,
    /// Base offset of the segment,
    pub base: Offset,
    /// and the byte where that batch begins in it.
    pub position: u64,
}

/// The snapshot files of a log.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    newest: Option<Offset>,
    /// The newest, when it belongs to no segment: the next one replaces it.
    loose: Option<Offset>,
    /// Bytes appended since the newest.
    behind_bytes: u64,
    written: Boot,
    /// What lies before it is told by a file that is on stable storage.
    durable: Offset,
}

/// A snapshot file on its way to stable storage.
#[derive(Debug)]
pub struct ProducersNote<D> {
    disk: D,
    dir: Arc<Path>,
    topic_id: TopicId,
    at: Offset,
}

impl<D: Disk> ProducersNote<D> {
    /// Syncs it. It waits for the disk. Answers what to tell [`Log::mark_producers_durable`].
    pub fn save(&self) -> io::Result<Offset> {
        // The topic may be gone by now, and another may have its name.
        let is_there = self.disk.exists(&self.dir)?
            && identity::topic_id(&self.disk, &self.dir)? == Some(self.topic_id);
        if is_there {
            let path = self.dir.join(file_name(self.at, SUFFIX));
            self.disk.open(&path, Open::Write)?.sync_data()?;
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(self.at)
    }
}

impl<D: Disk> Log<D> {
    /// What must be on stable storage before the files of dropped segments go: call it after each
    /// `expire`. `None` when nothing is to be kept, or nothing can be.
    pub fn note_producers(&mut self, now: Now) -> Option<ProducersNote<D>> {
        let end = self.retention.doomed_end().filter(|end| self.snapshots.durable < *end)?;
        let first = self.segments[0].base;
        let path = self.place().path(first, SUFFIX);
        let at = if self.disk.exists(&path).unwrap_or(false) {
            first
        } else {
            let _ = self.save_producers(now.boot);
            self.snapshots.newest.unwrap_or_default()
        };
        if self.producers.count() == 0 || at < end {
            // Nothing to lose; or no room to keep it, and then room is what is wanted.
            self.snapshots.durable = end;
            return None;
        }
        let topic_id = self.topic_partition.topic_id;
        Some(ProducersNote { disk: self.disk.clone(), dir: Arc::clone(&self.dir), topic_id, at })
    }

    /// Says that what is known of the producers of batches before `at` is on stable storage.
    pub fn mark_producers_durable(&mut self, at: Offset) {
        self.snapshots.durable = self.snapshots.durable.max(at);
    }
}

impl Snapshots {
    /// Whether the batches before `end` may go.
    pub fn can_lose(&self, end: Offset) -> bool {
        end <= self.durable
    }

    /// Takes note that the log grew; answers whether the next file is due.
    pub fn is_due_after(&mut self, bytes: u64) -> bool {
        self.behind_bytes += bytes;
        INTERVAL_BYTES <= self.behind_bytes
    }

    /// Whether enough has come, and it was long enough ago, for the next file.
    pub fn is_due(&self, now: Boot) -> bool {
        QUIET_BYTES <= self.behind_bytes && QUIET_MS <= now.ms_since(self.written)
    }

    /// Makes the newest file durable.
    pub fn sync<D: Disk>(&self, place: Place<'_, D>) -> io::Result<()> {
        if let Some(at) = self.newest {
            place.disk.open(&place.path(at, SUFFIX), Open::Write)?.sync_data()?;
        }
        place.disk.sync_dir(place.dir)
    }

    /// Writes the state at `at`, the end of the log. A failure leaves an older file to begin from.
    pub fn write<D: Disk>(
        &mut self,
        place: Place<'_, D>,
        producers: &Producers,
        at: Between,
        now: Boot,
    ) -> io::Result<()> {
        let is_loose = at.offset != at.base;
        if self.newest == Some(at.offset) {
            // What ended the last segment begins this one.
            self.loose = self.loose.filter(|_| is_loose);
            return Ok(());
        }
        // A failure is tried again when as much has come once more.
        self.behind_bytes = 0;
        self.written = now;
        let path = place.path(at.offset, SUFFIX);
        let written = place.disk.open(&path, Open::CreateOrWrite).and_then(|file| {
            file.set_len(0)?;
            file.write_all_at(&encode(producers, at), 0)
        });
        if let Err(error) = written {
            // Half a file would be found out, but it need not lie there.
            let _ = place.disk.remove_file(&path);
            return Err(error);
        }
        self.newest = Some(at.offset);
        match std::mem::replace(&mut self.loose, is_loose.then_some(at.offset)) {
            Some(loose) => remove_if_there(place.disk, &place.path(loose, SUFFIX)),
            None => Ok(()),
        }
    }
}

/// What a log's files say of its producers.
pub(super) struct Rebuilt {
    pub producers: Producers,
    pub snapshots: Snapshots,
    /// Whether files were removed, which must be made durable.
    pub has_removed: bool,
}

/// The state at the end of a log: the newest snapshot that holds, and the batches behind it. `gone`
/// are segments before the log's start that a stop left behind: they may be all there is to tell of
/// some producers.
pub(super) fn rebuild<D: Disk>(
    place: Place<'_, D>,
    gone: &[Segment<D>],
    segments: &[Segment<D>],
    now: Boot,
) -> io::Result<Rebuilt> {
    let end = segments.last().map_or(Offset::ZERO, |segment| segment.end);
    let all = || gone.iter().chain(segments);
    let is_base = |at: Offset| all().any(|segment| segment.base == at);
    let mut found: Option<Snapshot> = None;
    let mut has_removed = false;
    for at in snapshot_offsets(place)?.into_iter().rev() {
        let is_wanted = at <= end && (found.is_none() || is_base(at));
        if is_wanted && found.is_some() {
            continue;
        }
        let path = place.path(at, SUFFIX);
        let bytes = if is_wanted { small_file::read_bytes(place.disk, &path)? } else { None };
        found = found.or(bytes.and_then(|bytes| decode(&bytes, at, now)));
        if found.as_ref().is_none_or(|snapshot| snapshot.at.offset != at) {
            place.disk.remove_file(&path)?;
            has_removed = true;
        }
    }
    let newest = found.as_ref().map(|snapshot| snapshot.at.offset);
    let loose = newest.filter(|at| !is_base(*at));
    let durable = Offset::ZERO;
    let mut snapshots = Snapshots { newest, loose, behind_bytes: 0, written: now, durable };
    let Snapshot { mut producers, at } = found.unwrap_or_default();
    for segment in all().filter(|segment| at.offset < segment.end) {
        snapshots.behind_bytes += observe(place, segment, at, now, &mut producers)?;
    }
    Ok(Rebuilt { producers, snapshots, has_removed })
}

/// Copies the newest snapshot of a log that ends at `end` from another directory, if there is one
/// that holds, and syncs it: it tells of producers whose batches are gone, and spares the first
/// start the reading of all others.
pub(super) fn bring<D: Disk>(disk: &D, from: &Path, to: &Path, end: Offset) -> io::Result<()> {
    let (from, to) = (Place { disk, dir: from }, Place { disk, dir: to });
    for at in snapshot_offsets(from)?.into_iter().rev().filter(|at| *at <= end) {
        let bytes = small_file::read_bytes(disk, &from.path(at, SUFFIX))?;
        let Some(bytes) = bytes.filter(|bytes| decode(bytes, at, Boot(0)).is_some()) else {
            continue;
        };
        if from.dir != to.dir {
            let file = disk.open(&to.path(at, SUFFIX), Open::CreateOrWrite)?;
            file.set_len(0)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_data()?;
        }
        break;
    }
    Ok(())
}

/// Observes the batches of a segment that lie behind `from`, and answers how many bytes they are.
/// What is damaged is passed over: it is the scan's to judge.
fn observe<D: Disk>(
    place: Place<'_, D>,
    segment: &Segment<D>,
    from: Between,
    now: Boot,
    producers: &mut Producers,
) -> io::Result<u64> {
    let file = segment.file(place)?;
    let is_there = |position: u64| {
        let next = Walk::new(&file, position, segment.bytes, true).next();
        matches!(next, Ok(Some(met)) if met.header.base_offset == from.offset)
    };
    // The position is a hint: the segment may have been cut, or compacted, since.
    let has_hint = from.base == segment.base && from.position < segment.bytes;
    let start = if has_hint && is_there(from.position) { from.position } else { 0 };
    let mut walk = Walk::new(&file, start, segment.bytes, true);
    let mut observed_bytes = 0;
    loop {
        match walk.next() {
            Ok(Some(met)) if from.offset <= met.header.base_offset => {
                observed_bytes += met.header.size_bytes() as u64;
                producers.observe(&met.header, now);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(WalkError::Bad(_) | WalkError::Cold(_)) => return Ok(observed_bytes),
            Err(WalkError::Io(error)) => return Err(error),
        }
    }
}

/// Offsets of the snapshot files in a partition's directory, ascending.
fn snapshot_offsets<D: Disk>(place: Place<'_, D>) -> io::Result<Vec<Offset>> {
    let parse = |name: &str| {
        let at = Offset(name.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok()?);
        (file_name(at, SUFFIX) == name).then_some(at)
    };
    let names = place.disk.list(place.dir)?;
    let mut offsets: Vec<_> =
        names.iter().filter_map(|name| parse(name.file_name()?.to_str()?)).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// The bytes of a snapshot file.
fn encode(producers: &Producers, at: Between) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + producers.count() * (ENTRY_BYTES + 1));
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(producers.count() as i32).to_be_bytes());
    for (producer_id, producer) in producers.iter() {
        let (last, _) = split_last(producer);
        out.extend_from_slice(&producer_id.to_be_bytes());
        out.extend_from_slice(&producer.epoch.to_be_bytes());
        put_kept(&mut out, last);
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.extend_from_slice(&(-1i64).to_be_bytes());
    }
    out.extend_from_slice(&OLDER_MAGIC);
    out.extend_from_slice(&at.base.0.to_be_bytes());
    out.extend_from_slice(&at.position.to_be_bytes());
    for (_, producer) in producers.iter() {
        let (_, older) = split_last(producer);
        out.push(older.len() as u8);
        for kept in older {
            put_kept(&mut out, kept);
        }
    }
    let crc = crc32c::crc32c(&out[CRC_START..]);
    out[2..CRC_START].copy_from_slice(&crc.to_be_bytes());
    out
}

fn split_last(producer: &Producer) -> (&Kept, &[Kept]) {
    producer.batches.split_last().expect("a producer is known by its batches")
}

fn put_kept(out: &mut Vec<u8>, kept: &Kept) {
    out.extend_from_slice(&kept.last_sequence.to_be_bytes());
    out.extend_from_slice(&kept.last_offset.0.to_be_bytes());
    out.extend_from_slice(&kept.offset_delta.to_be_bytes());
    out.extend_from_slice(&kept.timestamp.0.to_be_bytes());
}

/// What a snapshot file says.
#[derive(Debug, PartialEq)]
struct Snapshot {
    producers: Producers,
    at: Between,
}

impl Default for Snapshot {
    fn default() -> Self {
        let at = Between { offset: Offset::ZERO, base: Offset::ZERO, position: 0 };
        Snapshot { producers: Producers::default(), at }
    }
}

/// The state in the snapshot file of an offset; `None` when it is torn or not understood.
fn decode(bytes: &[u8], offset: Offset, now: Boot) -> Option<Snapshot> {
    let mut rest = bytes;
    let version = i16::from_be_bytes(take(&mut rest)?);
    let crc = u32::from_be_bytes(take(&mut rest)?);
    if version != VERSION || crc != crc32c::crc32c(rest) {
        return None;
    }
    let count = i32::from_be_bytes(take(&mut rest)?);
    let mut found = Vec::new();
    for _ in 0..count {
        let producer_id = i64::from_be_bytes(take(&mut rest)?);
        let epoch = i16::from_be_bytes(take(&mut rest)?);
        let last = take_kept(&mut rest)?;
        // Transactions are not known yet.
        take::<12>(&mut rest)?;
        found.push((producer_id, epoch, Vec::new(), last));
    }
    let mut at = Between { offset, base: offset, position: 0 };
    if !rest.is_empty() {
        if take(&mut rest)? != OLDER_MAGIC {
            return None;
        }
        at.base = Offset(i64::from_be_bytes(take(&mut rest)?));
        at.position = u64::from_be_bytes(take(&mut rest)?);
        for (_, _, older, _) in &mut found {
            let [older_count] = take(&mut rest)?;
            for _ in 0..older_count {
                older.push(take_kept(&mut rest)?);
            }
        }
    }
    // In the order of their writing, should there be too many.
    found.sort_by_key(|(_, _, _, last)| last.last_offset);
    let mut producers = Producers::default();
    for (producer_id, epoch, older, last) in found {
        // Kafka writes down a producer of which it has seen markers only.
        if last.last_sequence < 0 {
            continue;
        }
        for kept in older.into_iter().chain([last]) {
            let is_before = 0 <= kept.offset_delta
                && i64::from(kept.offset_delta) <= kept.last_offset.0
                && kept.last_offset < offset;
            if producer_id < 0 || epoch < 0 || kept.last_sequence < 0 || !is_before {
                return None;
            }
            producers.keep(producer_id, epoch, kept, now);
        }
    }
    Some(Snapshot { producers, at })
}

/// The producers in a snapshot file.
#[cfg(test)]
pub(super) fn producers_of(bytes: &[u8]) -> Option<Producers> {
    decode(bytes, Offset(i64::MAX), Boot(0)).map(|snapshot| snapshot.producers)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*field)
}

fn take_kept(rest: &mut &[u8]) -> Option<Kept> {
    Some(Kept {
        last_sequence: i32::from_be_bytes(take(rest)?),
        last_offset: Offset(i64::from_be_bytes(take(rest)?)),
        offset_delta: i32::from_be_bytes(take(rest)?),
        timestamp: Timestamp(i64::from_be_bytes(take(rest)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(last_sequence: i32, last_offset: i64) -> Kept {
        let timestamp = Timestamp(1_800_000_000_000 + last_offset);
        Kept { last_sequence, last_offset: Offset(last_offset), offset_delta: 1, timestamp }
    }

    fn producers() -> Producers {
        let mut producers = Producers::default();
        producers.keep(7, 2, kept(1, 1), Boot(0));
        for number in 0..7 {
            producers.keep(4000, 0, kept(1 + 2 * number, 3 + 2 * i64::from(number)), Boot(0));
        }
        producers
    }

    const AT: Between = Between { offset: Offset(30_000), base: Offset(5), position: 900 };

    #[test]
    fn the_first_part_is_kafkas_and_alone_gives_the_last_batches() {
        let bytes = encode(&producers(), AT);
        let mut expected = vec![0, 0, 0, 2];
        expected.extend(7i64.to_be_bytes());
        expected.extend([0, 2, 0, 0, 0, 1]);
        expected.extend(1i64.to_be_bytes());
        expected.extend([0, 0, 0, 1]);
        expected.extend(1_800_000_000_001i64.to_be_bytes());
        expected.extend([0xff; 12]);
        expected.extend(4000i64.to_be_bytes());
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(bytes[6..6 + expected.len()], expected);
        // As Kafka would have written it.
        let mut kafkas = bytes[..CRC_START + 4 + 2 * ENTRY_BYTES].to_vec();
        let crc = crc32c::crc32c(&kafkas[CRC_START..]);
        kafkas[2..CRC_START].copy_from_slice(&crc.to_be_bytes());
        let read = decode(&kafkas, AT.offset, Boot(0)).expect("whole");
        let mut last_only = Producers::default();
        last_only.keep(7, 2, kept(1, 1), Boot(0));
        last_only.keep(4000, 0, kept(13, 15), Boot(0));
        assert_eq!(read.producers, last_only);
        assert_eq!(
            read.at,
            Between { base: AT.offset, position: 0, ..AT },
            "its segment is sought"
        );
    }

    #[test]
    fn what_was_written_is_read_and_nothing_torn_is() {
        for producers in [Producers::default(), producers()] {
            let bytes = encode(&producers, AT);
            let read = |bytes: &[u8]| decode(bytes, AT.offset, Boot(9));
            assert_eq!(read(&bytes), Some(Snapshot { producers, at: AT }));
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), None, "cut at {end}");
            }
            for place in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[place] ^= 0x20;
                assert_eq!(read(&flipped), None, "flipped at {place}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        // As a bug of another writer would leave it: the checksum is right.
        let read = |change: fn(&mut Vec<u8>)| {
            let mut bytes = encode(&producers(), AT);
            change(&mut bytes);
            let crc = crc32c::crc32c(&bytes[CRC_START..]);
            bytes[2..CRC_START].copy_from_slice(&crc.to_be_bytes());
            decode(&bytes, AT.offset, Boot(0))
        };
        assert!(read(|_| {}).is_some());
        assert_eq!(read(|bytes| bytes[10] = 0x80), None, "a producer id below 0");
        assert_eq!(read(|bytes| bytes[18] = 0x80), None, "an epoch below 0");
        assert_eq!(read(|bytes| bytes[24] = 0x7f), None, "an offset of the future");
        assert_eq!(read(|bytes| bytes[24] = 0x80), None, "an offset below 0");
        assert_eq!(read(|bytes| bytes[32] = 0x7f), None, "a batch that began below 0");
        assert_eq!(read(|bytes| bytes[6] = 0x7f), None, "more producers than there are bytes");
        // Kafka writes so of a producer that only ended transactions.
        let without = read(|bytes| bytes[20..24].fill(0xff)).expect("the others are told");
        assert_eq!(without.producers.count(), 1);
    }

    #[test]
    fn the_most_that_is_kept_can_be_read_again() {
        let mut producers = Producers::default();
        for id in 0..PARTITION_PRODUCERS_MAX as i64 {
            for number in 0..5 {
                producers.keep(id, 0, kept(number, 1 + 5 * id + i64::from(number)), Boot(0));
            }
        }
        let bytes = encode(&producers, AT);
        assert!(bytes.len() as u64 <= small_file::BYTES_MAX, "{}", bytes.len());
        let read = decode(&bytes, AT.offset, Boot(0)).map(|read| read.producers);
        assert!(read == Some(producers), "what was written is read");
    }
}
