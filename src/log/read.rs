//! Reading: by offset, by timestamp, and the largest timestamp.
//!
//! A read gives whole batches of one segment as a range of its file, for `sendfile`. Every header
//! in it was walked over: offsets follow one another without a gap, and epochs do not fall behind the
//! epoch cache, which the batches' own checksums do not cover. Records are not looked at;
//! clients verify them. Nothing here waits for the disk: see [`ReadError::Cold`].
//!
//! Read semantics.md 2.3 before editing.

use super::segment::{Located, Segment};
use super::types::{ReadError, Slice};
use super::walk::Met;
use super::{Disk, Log};
use crate::ids::Offset;

impl<D: Disk> Log<D> {
    /// Whole batches from the one that holds `from`, at most `max_bytes` (but one batch in any
    /// case if `at_least_one`), none that ends behind `limit`.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u64,
        limit: Offset,
        at_least_one: bool,
    ) -> Result<Slice<D::File>, ReadError<D::File>> {
        if from < self.start || self.end_offset() < from {
            return Err(ReadError::OffsetOutOfRange);
        }
        let limit = limit.min(self.end_offset());
        let Some((segment, from)) = self.segment_at(from).filter(|&(_, from)| from < limit) else {
            let file = self.active().handle(self.place())?;
            return Ok(Slice { file, position: 0, bytes: 0, end_offset: from });
        };
        let file = segment.file(self.place())?;
        let Located { mut walk, mut met } =
            segment.locate(self.place(), &file, from, &self.config)?;
        let position = met.position;
        let (mut end_position, mut end_offset) = (position, from);
        loop {
            if !self.is_in_place(segment, &met) {
                if end_position == position {
                    return Err(ReadError::Damaged { segment: segment.base, position });
                }
                break;
            }
            let bytes = met.end_position() - position;
            let fits = bytes <= max_bytes || (at_least_one && end_position == position);
            if !fits || limit < met.header.next_offset() {
                break;
            }
            (end_position, end_offset) = (met.end_position(), met.header.next_offset());
            match walk.next() {
                Ok(Some(next)) if next.header.base_offset == end_offset => met = next,
                // What is good is served; the next read begins at a bad place and says so.
                _ => break,
            }
        }
        walk.probe(position, end_position).map_err(|error| segment.read_error(&file, error))?;
        segment.remember(end_offset, end_position);
        Ok(Slice { file, position, bytes: end_position - position, end_offset })
    }

    /// The segment to read `from` in, and the offset to look for: `from` itself, or the first one
    /// behind a hole. `None` at the end of the log.
    fn segment_at(&self, from: Offset) -> Option<(&Segment<D>, Offset)> {
        let after = self.segments.partition_point(|segment| segment.base <= from);
        let floor = after.checked_sub(1).map(|number| &self.segments[number]);
        if let Some(segment) = floor.filter(|segment| from < segment.end) {
            return Some((segment, from));
        }
        let next = self.segments[after..].iter().find(|segment| segment.base < segment.end)?;
        Some((next, next.base))
    }

    /// Where the segment begins that holds `offset`, or would.
    pub fn segment_of(&self, offset: Offset) -> Offset {
        let behind = self.segments.partition_point(|segment| segment.base <= offset);
        self.segments[behind.saturating_sub(1)].base
    }

    /// Where the first segment begins that lies behind `offset`, if there is one.
    pub fn segment_after(&self, offset: Offset) -> Option<Offset> {
        self.segments.iter().map(|segment| segment.base).find(|base| offset < *base)
    }

    /// Whether what the batch's checksum does not cover is what the log knows.
    fn is_in_place(&self, segment: &Segment<D>, met: &Met) -> bool {
        let header = &met.header;
        let known = self.epochs.epoch_of(header.base_offset);
        // A later epoch than is known is news, not damage: the cache may be older than the batch.
        let is_of_its_epoch = known.is_none_or(|epoch| epoch <= header.leader_epoch);
        is_of_its_epoch && header.next_offset() <= segment.end
    }
}
