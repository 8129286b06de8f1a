//! Appending what a leader has appended: the same bytes, offsets and epochs (semantics.md 2.2
//! step 11).
//!
//! Nothing is stamped and no size is refused. Who calls has verified the batch's checksum and that
//! it belongs behind the end: what lies in the leader's log was once found fit. Where the leader
//! has a hole, so has the copy: the log goes on in a segment of its own, as it does in recovery.

use std::sync::Arc;

use super::scrub::DamageNote;
use super::segment::Segment;
use super::types::{Appended, Hole, LogError};
use super::{Disk, Log};
use crate::ids::{LeaderEpoch, Offset};
use crate::journal::{SegmentRef, SmallState};
use crate::record::BatchHeader;
use crate::time::Now;

/// A leader's batch that lies in this log, not yet on stable storage.
#[derive(Debug)]
pub struct Copied<D: Disk> {
    /// As an append of one's own.
    pub appended: Appended<D::File>,
    /// An epoch that begins with it: it goes to the journal, before the batch does.
    pub epoch_start: Option<SmallState>,
    /// A hole before it, to be written down.
    pub note: Option<DamageNote<D>>,
}

impl<D: Disk> Log<D> {
    /// Writes a leader's batch at the end, as it is. A small one may be held in memory, as
    /// [`Log::append_held`] does, where the journal has it too.
    pub fn append_copy(
        &mut self,
        now: Now,
        batch: &[u8],
        may_hold: bool,
    ) -> Result<Copied<D>, LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        assert!(!self.is_truncating, "the cut is durable before anything is appended");
        let header = BatchHeader::parse(batch).expect("the batch was verified");
        assert!(header.size_bytes() == batch.len(), "exactly one batch is appended");
        assert!(self.end_offset() <= header.base_offset, "it belongs behind the end");
        assert!(self.leader_epoch() <= header.leader_epoch, "epochs do not fall");
        let end = self.end_offset();
        let mut note = None;
        if end < header.base_offset {
            note = Some(self.leave_hole(now, Hole { from: end, to: header.base_offset })?);
        } else if self.active().is_due_to_roll(&header, &self.config, now) {
            self.roll(now.boot)?;
        }
        let is_written = self.write(now.boot, batch, &header, may_hold)?;
        let epoch_start = self.note_epoch(header.leader_epoch, header.base_offset);
        self.producers.observe(&header, now.boot);
        if self.snapshots.is_due_after(batch.len() as u64) {
            // Without it a start reads more: the segments say the same.
            let _ = self.save_producers(now.boot);
        }
        let active = self.active();
        let appended = Appended {
            base_offset: header.base_offset,
            end_offset: header.next_offset(),
            leader_epoch: header.leader_epoch,
            position: active.bytes - batch.len() as u64,
            is_written,
            segment: SegmentRef {
                file: active.handle(self.place())?,
                base_offset: active.base,
                is_new: active.is_new,
                dir: Arc::clone(&self.dir),
            },
            log_append_time: None,
        };
        Ok(Copied { appended, epoch_start, note })
    }

    fn note_epoch(&mut self, epoch: LeaderEpoch, offset: Offset) -> Option<SmallState> {
        if epoch <= self.leader_epoch() {
            return None;
        }
        self.epochs.assign(epoch, offset);
        Some(SmallState::EpochStart { epoch, offset })
    }

    /// Goes on behind offsets that the leader has lost.
    fn leave_hole(&mut self, now: Now, hole: Hole) -> Result<DamageNote<D>, LogError> {
        if 0 < self.active().bytes {
            self.roll(now.boot)?;
        }
        // The empty segment gives way to one that begins behind the hole.
        let segment = Segment::create(self.place(), hole.to, now.boot)?;
        if 1 < self.segments.len() {
            self.segments.pop();
        }
        self.segments.push(segment);
        self.damage.add_shared(hole);
        self.invariants();
        Ok(self.damage_note())
    }

    /// Where the first batch begins: at the log's start or, where that lies within a batch, before
    /// it. A copy of this log begins there.
    pub fn first_batch_offset(&self) -> Result<Offset, super::ReadError<D::File>> {
        let number = self.segments.partition_point(|segment| segment.base <= self.start);
        let segment = number.checked_sub(1).map(|number| &self.segments[number]);
        let Some(segment) = segment.filter(|segment| self.start < segment.end) else {
            return Ok(self.start);
        };
        let file = segment.file(self.place())?;
        let met = segment.locate(self.place(), &file, self.start, &self.config)?.met;
        Ok(met.header.base_offset)
    }
}
