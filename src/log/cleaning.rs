//! Compaction as the log sees it: how much it is needed, and the turns of the shard that owns it.
//!
//! What may be cleaned ends at the first segment that is active, not yet durable, or has a record
//! younger than `min.compaction.lag.ms`; ages are those of retention, so that a clock that was
//! never set or has stepped does not count (reliability.md S9). Read semantics.md 2.6 before
//! editing.

use std::sync::Arc;

use super::cleaned::{Cleaned, SUFFIXES, waiting_name};
use super::compaction::{CleanLimits, Input, Round, RoundParts, Rules};
use super::recovery::{remove_caches, remove_files};
use super::segment::{Place, Segment};
use super::types::LogError;
use super::{Disk, Log};
use crate::ids::{Offset, TopicId};
use crate::time::Now;
use crate::topic_config::Ratio;

/// A log's memory of its compaction; nothing until there is something to remember, for most logs
/// are never compacted.
#[derive(Debug, Default)]
pub(super) struct Cleaning(Option<Box<State>>);

#[derive(Debug)]
struct State {
    /// What its file says, or will.
    cleaned: Cleaned,
    is_under_way: bool,
    /// Segments whose files are to go as soon as the one that replaced them has its name for good.
    replaced: Vec<Offset>,
    /// A round ended in doubt, or met what it cannot clean: the next start goes on.
    is_given_up: bool,
}

/// How much a log needs compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filth {
    /// Bytes of segments that were compacted before.
    pub clean_bytes: u64,
    /// Bytes of those that were not, and may be.
    pub dirty_bytes: u64,
    /// Whether records are older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
    /// Segments that may be cleaned.
    segment_count: usize,
}

impl Filth {
    /// The dirty share.
    pub fn ratio(&self) -> Ratio {
        Ratio::of(self.dirty_bytes, self.clean_bytes + self.dirty_bytes)
    }

    /// What is cleaned first: overdue records, then the largest share.
    pub fn urgency(&self) -> (bool, Ratio) {
        (self.is_overdue, self.ratio())
    }
}

impl Cleaning {
    /// Of a log whose file says this.
    pub fn new(cleaned: Cleaned) -> Cleaning {
        let is_nothing = cleaned == Cleaned::new(cleaned.topic_id);
        Cleaning((!is_nothing).then(|| Box::new(State::new(cleaned))))
    }

    /// Whether a round may begin.
    fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|state| !state.is_under_way && !state.is_given_up)
    }

    fn is_under_way(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.is_under_way)
    }

    /// The log was cut at `end`. A round under way finds its segments changed and ends.
    pub fn truncate(&mut self, end: Offset) {
        if let Some(state) = &mut self.0 {
            state.cleaned = state.cleaned.truncated(end);
        }
    }

    fn state(&mut self, topic_id: TopicId) -> &mut State {
        self.0.get_or_insert_with(|| Box::new(State::new(Cleaned::new(topic_id))))
    }
}

impl State {
    fn new(cleaned: Cleaned) -> State {
        State { cleaned, is_under_way: false, replaced: Vec::new(), is_given_up: false }
    }
}

impl<D: Disk> Log<D> {
    /// How much the log needs compaction; `None` when it is none of its topic's policy, nothing may
    /// be cleaned, or it is under way. What lies above the high watermark may yet be cut off, and a
    /// record that went for its sake would be lost with it.
    pub fn filth(&mut self, now: Now, high_watermark: Offset) -> Option<Filth> {
        let is_idle = self.config.cleanup_policy.compact
            && !self.is_poisoned
            && self.cleaning.is_idle()
            && self.damage.suspects.is_empty();
        if !is_idle {
            return None;
        }
        let first_dirty = self.first_dirty();
        let (mut clean_bytes, mut dirty_bytes, mut is_overdue) = (0, 0, false);
        let segment_count = self.cleanable_count(now, high_watermark);
        for segment in &self.segments[..segment_count] {
            if segment.end <= first_dirty {
                clean_bytes += segment.bytes;
                continue;
            }
            dirty_bytes += segment.bytes;
            let age_ms = self.retention.age_ms(now, segment.created, segment.first_timestamp);
            is_overdue |= now.wall_trusted && self.config.max_compaction_lag_ms < age_ms;
        }
        let filth = Filth { clean_bytes, dirty_bytes, is_overdue, segment_count };
        (0 < dirty_bytes).then_some(filth)
    }

    /// Whether that is enough.
    pub fn is_filthy(&self, filth: &Filth) -> bool {
        filth.is_overdue || self.config.min_cleanable_dirty_ratio < filth.ratio()
    }

    /// Seals an idle active segment whose records must be compacted by now.
    pub fn roll_overdue(&mut self, now: Now) -> Result<(), LogError> {
        let active = self.active();
        let is_candidate = self.config.cleanup_policy.compact
            && !self.is_poisoned
            && now.wall_trusted
            && 0 < active.bytes
            && self.config.max_compaction_lag_ms < i64::MAX;
        if !is_candidate {
            return Ok(());
        }
        let age_ms = self.retention.age_ms(now, active.created, active.first_timestamp);
        if self.config.max_compaction_lag_ms < age_ms { self.roll(now.boot) } else { Ok(()) }
    }

    /// Where the first record is that was never looked at.
    fn first_dirty(&self) -> Offset {
        let cleaned = self.cleaned_offset();
        // A note from beyond the end is of another log that once lay here.
        if self.end_offset() < cleaned { self.start } else { cleaned.max(self.start) }
    }

    fn cleanable_count(&mut self, now: Now, high_watermark: Offset) -> usize {
        let lag_ms = self.config.min_compaction_lag_ms.min(self.config.max_compaction_lag_ms);
        let sealed = self.segments.len() - 1;
        let settled = self.durable.min(high_watermark);
        let count = self.segments[..sealed].partition_point(|segment| segment.end <= settled);
        if lag_ms == 0 {
            return count;
        }
        (0..count)
            .find(|&number| {
                let Some(newest) = self.newest_timestamp(number) else { return true };
                let age_ms = self.retention.age_ms(now, self.segments[number].appended, newest);
                age_ms < lag_ms
            })
            .unwrap_or(count)
    }

    /// Begins a round.
    pub fn begin_clean(&mut self, filth: &Filth, limits: &CleanLimits) -> Round<D> {
        assert!(self.cleaning.is_idle(), "one round at a time");
        let clean_end = self.first_dirty();
        let state = self.cleaning.state(self.topic_partition.topic_id);
        state.is_under_way = true;
        let cleaned = Cleaned { clean_end, ..state.cleaned };
        let segments = &self.segments[..filth.segment_count];
        let parts = RoundParts {
            disk: self.disk.clone(),
            dir: Arc::clone(&self.dir),
            name: self.name.clone(),
            topic_partition: self.topic_partition,
            urgency: filth.urgency(),
            rules: Rules {
                delete_retention_ms: self.config.delete_retention_ms,
                segment_bytes: u64::from(self.config.segment_bytes),
                segment_index_bytes: u64::from(self.config.segment_index_bytes),
                index_interval_bytes: self.config.index_interval_bytes,
            },
            producers: self.producers.last_offsets().collect(),
            inputs: segments.iter().map(input_of).collect(),
            cleaned,
        };
        Round::new(parts, limits)
    }

    /// Puts the round's new segment in the place of those it was made of, here and on disk. `false`
    /// when they are no longer what was read; then nothing is changed.
    pub fn swap(&mut self, now: Now, round: &mut Round<D>) -> bool {
        let Some(swap) = round.cleaned.swap else { return false };
        let replaced: Vec<Input> = round.replaced_inputs().to_vec();
        let first = self.segments.partition_point(|segment| segment.base < swap.base);
        let last = first + replaced.len();
        let is_same = self.cleaning.is_under_way()
            && self.config.cleanup_policy.compact
            && !self.is_poisoned
            && !self.is_truncating
            && last < self.segments.len()
            && self.segments[first..last].iter().map(input_of).eq(replaced.iter().copied());
        let Some(output) = round.output.take().filter(|_| is_same) else { return false };
        let place = Place { disk: &self.disk, dir: &self.dir };
        let rename = |suffix| {
            let from = place.dir.join(waiting_name(swap.base, suffix));
            place.disk.rename(&from, &place.path(swap.base, suffix))
        };
        if rename("log").is_err() {
            return false;
        }
        let mut segment = Segment::new(swap.base, Some(output.file), swap.bytes, now.boot);
        segment.end = swap.end;
        segment.first_timestamp = output.first_timestamp;
        let old = &self.segments[first..last];
        segment.appended = old.iter().map(|old| old.appended).max().unwrap_or(now.boot);
        let caches = SUFFIXES.iter().filter(|suffix| **suffix != "log");
        if caches.map(|suffix| rename(suffix)).all(|renamed| renamed.is_ok()) {
            segment.derived = output.derived.into();
        } else {
            // They are learnt again. An old one that stays is found out by its summary.
            let _ = remove_caches(place, swap.base);
        }
        self.segments.splice(first..last, [segment]);
        let state = self.cleaning.state(self.topic_partition.topic_id);
        state.cleaned = round.cleaned;
        state.replaced = round.replaced().collect();
        self.invariants();
        true
    }

    /// Takes the files of segments that went into another out of the way. `false` when that fails.
    pub fn drop_replaced(&mut self) -> bool {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let state = self.cleaning.state(self.topic_partition.topic_id);
        let renamed = state.replaced.iter().try_for_each(|&base| {
            place.disk.rename(&place.path(base, "log"), &place.path(base, "log.deleted"))
        });
        if renamed.is_ok() {
            state.replaced = Vec::new();
        }
        renamed.is_ok()
    }

    /// A round has ended; whether it is worth another try is told by its outcome.
    pub fn end_clean(&mut self, round: &Round<D>, is_hopeless: bool) {
        let state = self.cleaning.state(self.topic_partition.topic_id);
        state.is_under_way = false;
        state.is_given_up |= round.is_stuck() || is_hopeless;
        state.cleaned = round.cleaned;
    }

    /// Leaves nothing of a round that was cut off by a clean stop, nor what a start would have to
    /// decide.
    pub(super) fn close_clean(&mut self) -> std::io::Result<()> {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let is_idle = self.cleaning.is_idle();
        let Some(cleaning) = self.cleaning.0.as_mut().filter(|_| !is_idle) else { return Ok(()) };
        if !cleaning.replaced.is_empty() {
            place.disk.sync_dir(place.dir)?;
            for base in std::mem::take(&mut cleaning.replaced) {
                remove_files(place, base)?;
            }
        }
        place.disk.sync_dir(place.dir)?;
        let mut on_disk = Cleaned::load(place.disk, place.dir, cleaning.cleaned.topic_id)?;
        if on_disk.swap.take().is_some() {
            on_disk.save(place.disk, place.dir)?;
        }
        super::cleaned::remove_unfinished(place)
    }

    /// Before this offset no key has two records.
    pub fn cleaned_offset(&self) -> Offset {
        self.cleaning.0.as_ref().map_or(Offset::ZERO, |state| state.cleaned.clean_end)
    }
}

fn input_of<D: Disk>(segment: &Segment<D>) -> Input {
    Input { base: segment.base, end: segment.end, bytes: segment.bytes }
}
