//! Lookups by time: the first record at or after a timestamp, and the largest timestamp.
//!
//! The time index only says where to begin, and its entry is compared with the batch it names;
//! the answer comes from a record. Nothing here waits for the disk: see [`ReadError::Cold`]. Read
//! semantics.md 2.3 before editing.

use std::io;

use super::index::{TimeEntry, read_full};
use super::segment::{Located, Place, Segment};
use super::types::{FoundOffset, ReadError};
use super::walk::Met;
use super::{Disk, Log};
use crate::ids::Offset;
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::record::{Batch, Records, decompress};
use crate::time::Timestamp;

/// The largest timestamp of a range, and the last offset of the first batch that bears it.
type Largest = (Timestamp, Offset);

impl<D: Disk> Log<D> {
    /// The first record whose timestamp is `at` or later, from the log's start on; `None` when
    /// there is none before `limit`.
    pub fn offset_for_timestamp(
        &self,
        at: Timestamp,
        limit: Offset,
    ) -> Result<Option<FoundOffset>, ReadError<D::File>> {
        for segment in self.segments.iter().filter(|segment| self.start < segment.end) {
            if segment.base < segment.end && at <= self.largest_of(segment)? {
                let found = self.first_at(segment, at)?;
                if found.is_some() {
                    return Ok(found.filter(|found| found.offset < limit));
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp before `limit`, the first of several.
    pub fn max_timestamp(&self, limit: Offset) -> Result<Option<FoundOffset>, ReadError<D::File>> {
        let mut best: Option<(Largest, &Segment<D>)> = None;
        for segment in self.segments.iter().filter(|segment| self.start < segment.end) {
            let from = self.start.max(segment.base);
            let to = limit.min(segment.end);
            if from < to {
                let Some(largest) = self.largest_in(segment, from, to)? else { continue };
                if best.is_none_or(|(known, _)| known.0 < largest.0) {
                    best = Some((largest, segment));
                }
            }
        }
        let Some(((timestamp, last), segment)) = best else { return Ok(None) };
        let file = segment.file(self.place())?;
        let Located { met, .. } = segment.locate(self.place(), &file, last, &self.config)?;
        self.record_at(segment, &file, &met, timestamp)
    }

    fn largest_of(&self, segment: &Segment<D>) -> Result<Timestamp, ReadError<D::File>> {
        Ok(segment.span_or_catch_up(self.place(), &self.config)?.max)
    }

    /// The first record of a segment at or after `at`.
    fn first_at(
        &self,
        segment: &Segment<D>,
        at: Timestamp,
    ) -> Result<Option<FoundOffset>, ReadError<D::File>> {
        let file = segment.file(self.place())?;
        let start = self.start.max(segment.base);
        let floor = segment.time_floor(self.place(), |entry| entry.timestamp <= at.0)?;
        let entry = floor.filter(|&(offset, _)| start < offset);
        let from = entry.map_or(start, |(offset, _)| offset);
        let Located { mut walk, mut met } =
            segment.locate(self.place(), &file, from, &self.config)?;
        if let Some((offset, timestamp)) = entry {
            segment.check_time_entry(&file, &met, offset, timestamp)?;
        }
        loop {
            if at <= met.header.max_timestamp {
                let found = self.record_at(segment, &file, &met, at)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let next = walk.next().map_err(|error| segment.read_error(&file, error))?;
            let Some(next) = next else { return Ok(None) };
            met = next;
        }
    }

    /// The first record of a batch at or after `at` that the log still has.
    fn record_at(
        &self,
        segment: &Segment<D>,
        file: &D::File,
        met: &Met,
        at: Timestamp,
    ) -> Result<Option<FoundOffset>, ReadError<D::File>> {
        let damaged = ReadError::Damaged { segment: segment.base, position: met.position };
        let bytes = met.header.size_bytes();
        if DECOMPRESSED_BYTES_MAX < bytes {
            return Err(damaged);
        }
        let mut buf = vec![0; bytes];
        match read_full(file, &mut buf, met.position, false) {
            Ok(true) => {}
            Ok(false) => return Err(damaged),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ReadError::Cold {
                    segment: segment.base,
                    file: file.clone(),
                    position: met.position,
                    bytes: bytes as u64,
                });
            }
            Err(error) => return Err(error.into()),
        }
        let Ok((batch, _)) = Batch::split_first(&buf) else { return Err(damaged) };
        if !batch.crc_is_valid() {
            return Err(damaged);
        }
        let Ok(section) = decompress(&batch, DECOMPRESSED_BYTES_MAX) else { return Err(damaged) };
        for record in Records::new(batch.header(), &section) {
            let Ok(record) = record else { return Err(damaged) };
            if at <= record.timestamp && self.start <= record.offset {
                return Ok(Some(FoundOffset {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    leader_epoch: batch.header().leader_epoch,
                }));
            }
        }
        Ok(None)
    }

    /// The largest timestamp in `[from, to)` of a segment.
    fn largest_in(
        &self,
        segment: &Segment<D>,
        from: Offset,
        to: Offset,
    ) -> Result<Option<Largest>, ReadError<D::File>> {
        let span = segment.span_or_catch_up(self.place(), &self.config)?;
        if from <= span.max_offset && span.max_offset < to {
            return Ok(Some((span.max, span.max_offset)));
        }
        let file = segment.file(self.place())?;
        let is_before = |entry: TimeEntry| i64::from(entry.offset) < to.since(segment.base);
        let floor = segment.time_floor(self.place(), is_before)?;
        // An entry before `from` speaks of what is gone.
        let begin = floor.map_or(from, |(offset, _)| offset.max(from));
        let Located { mut walk, mut met } =
            segment.locate(self.place(), &file, begin, &self.config)?;
        let mut largest: Option<Largest> = None;
        while met.header.next_offset() <= to {
            let (timestamp, last) = (met.header.max_timestamp, met.header.last_offset());
            let is_empty = met.header.record_count == 0;
            if !is_empty && largest.is_none_or(|(known, _)| known < timestamp) {
                largest = Some((timestamp, last));
            }
            match walk.next().map_err(|error| segment.read_error(&file, error))? {
                Some(next) => met = next,
                None => break,
            }
        }
        Ok(largest)
    }
}

impl<D: Disk> Segment<D> {
    /// The last time entry of the prefix that satisfies `is_before`: offset and timestamp.
    fn time_floor(
        &self,
        place: Place<'_, D>,
        is_before: impl Fn(TimeEntry) -> bool,
    ) -> Result<Option<(Offset, Timestamp)>, ReadError<D::File>> {
        let derived = self.derived.borrow();
        let file = derived.files.as_ref().map(|files| &files.times);
        let result = derived.times.partition_point(file, false, is_before).and_then(|count| {
            match count.checked_sub(1) {
                Some(number) => derived.times.entry(file, number, false).map(Some),
                None => Ok(None),
            }
        });
        drop(derived);
        match result {
            Ok(entry) => Ok(entry.map(|entry| {
                (Offset(self.base.0 + i64::from(entry.offset)), Timestamp(entry.timestamp))
            })),
            Err(error) => Err(self.index_error(place, &error)),
        }
    }

    /// A time entry must name a batch and its timestamp exactly, or the index lies and is learnt
    /// again.
    fn check_time_entry(
        &self,
        file: &D::File,
        met: &Met,
        offset: Offset,
        timestamp: Timestamp,
    ) -> Result<(), ReadError<D::File>> {
        if met.header.last_offset() == offset && met.header.max_timestamp == timestamp {
            return Ok(());
        }
        self.derived.borrow_mut().reset();
        Err(ReadError::Cold { segment: self.base, file: file.clone(), position: 0, bytes: 0 })
    }
}
