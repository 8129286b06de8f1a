//! Takes over one partition of Apache Kafka's: every batch is read and checked on its way.
//!
//! The segments stay byte for byte what they were, but for one thing. Kafka's compaction leaves
//! gaps between batches; here offsets follow one another, because that is how a segment proves
//! that nothing in it is missing (see the compaction of our own logs). So an empty batch is put
//! where Kafka left a gap; clients know such batches from Kafka.
//!
//! Indexes are not taken over: they are caches, and are learned again.
//!
//! **Invariant:** taking over again what was taken over in part ends the same: a copy is written
//! over, a file that was moved is found where it went.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Disk;
use super::kafka_dir::{KafkaPartition, KafkaSegment};
use super::segment::file_name;
use super::walk::{Met, Walk, WalkError, crc_is_valid};
use super::{identity, producer_snapshot};
use crate::ids::{LeaderEpoch, Offset, TopicId};
use crate::journal::disk::{DiskFile, Open};
use crate::record::batch::{Attributes, CRC_START, LENGTH_END};
use crate::record::crc::crc32c;
use crate::record::{BatchHeader, HEADER_BYTES};
use crate::time::Timestamp;

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// How segments come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// They are copied.
    Copy,
    /// They are renamed, on the same file system; those with gaps are copied all the same.
    Move,
}

/// Why a partition cannot be taken over.
#[derive(Debug)]
pub enum TakeError {
    /// A batch is damaged, or out of order.
    Damaged {
        /// Its file.
        file: PathBuf,
        /// Where in it.
        position: u64,
    },
    /// Records older than Kafka 0.11 wrote them.
    OldFormat(PathBuf),
    /// It ends before the offset that Kafka noted.
    Cut {
        /// The partition's directory.
        dir: PathBuf,
        /// Where it ends.
        end: Offset,
        /// Where it should.
        noted: Offset,
    },
    /// The disk failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { file, position } => {
                write!(f, "{}: damaged at position {position}", file.display())
            }
            Self::OldFormat(file) => write!(
                f,
                "{}: holds messages of before Kafka 0.11; only record batches of format 2 are read",
                file.display()
            ),
            Self::Cut { dir, end, noted } => write!(
                f,
                "{}: ends at offset {end}, but Kafka noted {noted}: records are missing",
                dir.display()
            ),
            Self::Io(path, why) => {
                let hint = match why.kind() {
                    io::ErrorKind::CrossesDevices => {
                        " (--move needs the same file system; without it files are copied)"
                    }
                    _ => "",
                };
                write!(f, "{}: {why}{hint}", path.display())
            }
        }
    }
}

impl std::error::Error for TakeError {}

/// What was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its end.
    pub end: Offset,
    /// Its epochs and where each begins, as its batches say.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// The last segment and its length, if there is one.
    pub last: Option<KafkaSegment>,
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// Segments.
    pub segment_count: usize,
    /// The largest producer id in it, −1 without one.
    pub producer_id_max: i64,
    /// Batches that belong to transactions.
    pub transactional_count: u64,
}

/// A place between two batches where offsets are missing.
#[derive(Clone, Copy, Debug)]
struct Gap {
    position: u64,
    from: Offset,
    to: Offset,
    epoch: LeaderEpoch,
}

/// Brings a partition's segments to the directory `to`, which becomes one of ours, and makes them
/// durable there. `progress` is told of bytes as they are done with.
pub fn take_over<D: Disk>(
    disk: &D,
    partition: &KafkaPartition,
    topic_id: TopicId,
    to: &Path,
    how: Take,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken, TakeError> {
    let failed = |error| TakeError::Io(to.into(), error);
    disk.create_dir_all(to).map_err(failed)?;
    for file in identity::write_topic_id(disk, to, topic_id).map_err(failed)? {
        file.sync_data().map_err(failed)?;
    }
    let first = partition.segments.first().map_or(partition.start, |segment| segment.base);
    let mut taken = Taken {
        end: first,
        epochs: Vec::new(),
        last: None,
        size_bytes: 0,
        segment_count: partition.segments.len(),
        producer_id_max: -1,
        transactional_count: 0,
    };
    for (number, segment) in partition.segments.iter().enumerate() {
        let next_base = partition.segments.get(number + 1).map(|next| next.base);
        let name = file_name(segment.base, "log");
        let (source, target) = (partition.dir.join(&name), to.join(&name));
        let is_there = disk.exists(&source).map_err(failed)?;
        let read = if is_there { &source } else { &target };
        let bytes = taken.segment(disk, read, segment.base, next_base, &target, how)?;
        taken.last = Some(KafkaSegment { base: segment.base, bytes });
        taken.size_bytes += bytes;
        progress(segment.bytes);
    }
    producer_snapshot::bring(disk, &partition.dir, to, taken.end).map_err(failed)?;
    disk.sync_dir(to).map_err(failed)?;
    match partition.noted_end {
        Some(noted) if taken.end < noted => {
            Err(TakeError::Cut { dir: partition.dir.clone(), end: taken.end, noted })
        }
        _ => Ok(taken),
    }
}

impl Taken {
    /// Checks a segment and brings it to `target`; answers its length there.
    fn segment<D: Disk>(
        &mut self,
        disk: &D,
        source: &Path,
        base: Offset,
        next_base: Option<Offset>,
        target: &Path,
        how: Take,
    ) -> Result<u64, TakeError> {
        let failed = |error| TakeError::Io(source.into(), error);
        let file = disk.open(source, Open::Read).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let gaps = self.survey(&file, source, bytes, base, next_base)?;
        if source == target {
            // It was moved before, when its gaps were filled.
        } else if gaps.is_empty() && how == Take::Move {
            disk.rename(source, target).map_err(failed)?;
        } else {
            return copy(disk, &file, bytes, &gaps, target)
                .map_err(|error| TakeError::Io(target.into(), error));
        }
        let file = disk.open(target, Open::Write).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        Ok(bytes)
    }

    /// Reads every batch of a segment; answers where offsets are missing.
    fn survey<F: DiskFile>(
        &mut self,
        file: &F,
        path: &Path,
        bytes: u64,
        base: Offset,
        next_base: Option<Offset>,
    ) -> Result<Vec<Gap>, TakeError> {
        let damaged = |position| TakeError::Damaged { file: path.into(), position };
        if base < self.end {
            return Err(damaged(0));
        }
        self.end = base;
        let mut gaps = Vec::new();
        let mut walk = Walk::new(file, 0, bytes, true);
        loop {
            let met = match walk.next() {
                Ok(Some(met)) => met,
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(TakeError::Io(path.into(), error)),
                Err(WalkError::Bad(position) | WalkError::Cold(position)) => {
                    let mut magic = [0];
                    let read = file.read_at(&mut magic, position + 16).unwrap_or(0);
                    let is_old = read == 1 && magic[0] < 2;
                    return Err(match is_old {
                        true => TakeError::OldFormat(path.into()),
                        false => damaged(position),
                    });
                }
            };
            let header = &met.header;
            let is_valid = crc_is_valid(file, &met).map_err(|e| TakeError::Io(path.into(), e))?;
            let latest = self.epochs.last().map_or(LeaderEpoch::NONE, |last| last.0);
            // A flipped bit in a base offset, which no checksum covers, is not a gap to be filled.
            let is_near = header.last_offset().since(base) <= i64::from(i32::MAX);
            let is_next = is_near && next_base.is_none_or(|next| header.last_offset() < next);
            if !is_valid
                || header.base_offset < self.end
                || !is_next
                || header.leader_epoch < latest
            {
                return Err(damaged(met.position));
            }
            self.note(&met, latest, &mut gaps);
        }
        if let Some(next) = next_base.filter(|next| self.end < *next) {
            if i64::from(i32::MAX) < next.since(base) {
                return Err(damaged(bytes));
            }
            let epoch = self.epochs.last().map_or(LeaderEpoch(0), |last| last.0);
            gaps.push(Gap { position: bytes, from: self.end, to: next, epoch });
            self.end = next;
        }
        Ok(gaps)
    }

    fn note(&mut self, met: &Met, latest: LeaderEpoch, gaps: &mut Vec<Gap>) {
        let header = &met.header;
        if self.end < header.base_offset {
            let (from, to) = (self.end, header.base_offset);
            let epoch = if LeaderEpoch(0) <= latest { latest } else { header.leader_epoch };
            gaps.push(Gap { position: met.position, from, to, epoch });
        }
        if latest < header.leader_epoch {
            self.epochs.push((header.leader_epoch, header.base_offset));
        }
        self.producer_id_max = self.producer_id_max.max(header.producer_id);
        self.transactional_count += u64::from(header.attributes.is_transactional());
        self.end = header.next_offset();
    }
}

/// Copies a segment, its gaps filled; answers the new length. It is durable but for its name.
fn copy<D: Disk>(
    disk: &D,
    source: &D::File,
    bytes: u64,
    gaps: &[Gap],
    target: &Path,
) -> io::Result<u64> {
    let file = disk.open(target, Open::CreateOrWrite)?;
    file.set_len(0)?;
    let mut buf = vec![0; COPY_BYTES];
    let (mut position, mut written) = (0, 0);
    let ends = gaps.iter().map(|gap| (gap.position, Some(gap)));
    for (end, gap) in ends.chain([(bytes, None)]) {
        while position < end {
            let count = (end - position).min(COPY_BYTES as u64) as usize;
            source.read_exact_at(&mut buf[..count], position)?;
            file.write_all_at(&buf[..count], written)?;
            position += count as u64;
            written += count as u64;
        }
        for batch in gap.into_iter().flat_map(fillers) {
            file.write_all_at(&batch, written)?;
            written += batch.len() as u64;
        }
    }
    file.sync_data()?;
    Ok(written)
}

/// Empty batches for the offsets of a gap.
fn fillers(gap: &Gap) -> Vec<[u8; HEADER_BYTES]> {
    let mut batches = Vec::new();
    let mut from = gap.from;
    while from < gap.to {
        let count = gap.to.since(from).min(i64::from(i32::MAX));
        let header = BatchHeader {
            base_offset: from,
            length: (HEADER_BYTES - LENGTH_END) as i32,
            leader_epoch: gap.epoch,
            magic: crate::record::batch::MAGIC,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: (count - 1) as i32,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        let crc = crc32c(&header.to_bytes()[CRC_START..]);
        batches.push(BatchHeader { crc, ..header }.to_bytes());
        from = Offset(from.0 + count);
    }
    batches
}
