//! Compaction of a shard's partitions: which one is next, and the shard's turns in a round.
//!
//! A shard has one round at a time, of the log that needs it most; the cleaner's thread takes the
//! most urgent of all shards'. How fast it goes is the runtime's business.

use std::collections::BTreeMap;

use super::{Back, BackOutput, Load, NOBODY};
use crate::ids::TopicPartition;
use crate::journal::disk::Disk;
use crate::limits::{CLEANER_SHARE_OF_MEMORY, WINDOWS_SHARE_OF_MEMORY};
use crate::log::{CleanError, CleanLimits, CleanTurn, Filth, Round};
use crate::time::{Boot, Now};

/// A round that failed is tried again after so many times the backoff: what filled the disk or
/// broke it is seldom gone at once, and other logs wait.
const FAILED_BACKOFFS: u64 = 8;

/// Where a shard's compaction stands.
#[derive(Debug)]
pub(super) struct CleanPlan {
    backoff_ms: u64,
    map_bytes: Option<u64>,
    /// When the next look is due; never while a round is under way.
    next_at: Boot,
    is_under_way: bool,
    /// Logs whose rounds failed, and until when they are left alone.
    rests: BTreeMap<TopicPartition, Boot>,
}

impl CleanPlan {
    pub fn new(now: Boot, backoff_ms: u64, map_bytes: Option<u64>) -> CleanPlan {
        let next_at = now.plus_ms(backoff_ms);
        CleanPlan { backoff_ms, map_bytes, next_at, is_under_way: false, rests: BTreeMap::new() }
    }

    /// Other settings, from now on; a round that is under way keeps its own.
    pub fn set(&mut self, now: Boot, backoff_ms: u64, map_bytes: Option<u64>) {
        self.map_bytes = map_bytes;
        if self.backoff_ms != backoff_ms {
            self.backoff_ms = backoff_ms;
            if !self.is_under_way {
                self.next_at = now.plus_ms(backoff_ms);
            }
        }
    }

    /// When there is something to do.
    pub fn next_at(&self) -> Boot {
        self.next_at
    }

    fn limits(&self, windows_bytes: u64) -> CleanLimits {
        let automatic = windows_bytes * WINDOWS_SHARE_OF_MEMORY / CLEANER_SHARE_OF_MEMORY;
        // However large it is set, decompression has to have something too.
        let map_bytes = self.map_bytes.unwrap_or(automatic).min(windows_bytes / 2);
        CleanLimits { map_bytes, memory_bytes: windows_bytes }
    }
}

impl<D: Disk> Back<D> {
    /// Begins a round of the log that needs it most.
    pub(super) fn clean_next(&mut self, now: Now) {
        self.clean.next_at = now.boot.plus_ms(self.clean.backoff_ms);
        if !self.is_writable || !self.has_space {
            return;
        }
        self.clean.rests.retain(|_, until| now.boot < *until);
        let mut best: Option<(TopicPartition, Filth)> = None;
        for (&topic_partition, state) in &mut self.partitions {
            if self.clean.rests.contains_key(&topic_partition) || state.log.is_cutting() {
                continue;
            }
            let high_watermark = state.high_watermark();
            let log = &mut state.log;
            if let Err(why) = log.roll_overdue(now) {
                log::error!("{}-{}: {why}", log.name(), topic_partition.partition);
            }
            let filth = log.filth(now, high_watermark).filter(|filth| log.is_filthy(filth));
            if let Some((file, position, bytes)) = log.take_cold() {
                // Loaded for the next look: nobody waits for it.
                let load = Load { token: NOBODY, file, position, bytes };
                self.outputs.push_back(BackOutput::Load(load));
            }
            let Some(filth) = filth else { continue };
            if best.is_none_or(|(_, known)| known.urgency() < filth.urgency()) {
                best = Some((topic_partition, filth));
            }
        }
        let Some((topic_partition, filth)) = best else { return };
        let limits = self.clean.limits(self.memory.windows_bytes_max());
        let state = self.partitions.get_mut(&topic_partition).expect("found above");
        let round = state.log.begin_clean(&filth, &limits);
        self.clean.is_under_way = true;
        self.clean.next_at = Boot::NEVER;
        self.outputs.push_back(BackOutput::Clean(Box::new(round)));
    }

    /// It is the shard's turn in a round.
    pub fn clean_turn(&mut self, now: Now, mut round: Box<Round<D>>) {
        let state = self.partitions.get_mut(&round.topic_partition());
        match round.turn() {
            CleanTurn::Work => {}
            CleanTurn::Swap => {
                let is_done = state.is_some_and(|state| state.log.swap(now, &mut round));
                round.swapped(is_done);
            }
            CleanTurn::Drop => {
                let is_done = state.is_some_and(|state| state.log.drop_replaced());
                round.dropped(is_done);
            }
            CleanTurn::End => return self.end_clean(now, &round),
        }
        self.outputs.push_back(BackOutput::Clean(round));
    }

    fn end_clean(&mut self, now: Now, round: &Round<D>) {
        self.clean.is_under_way = false;
        // The next one at once, if there is one and all goes well.
        let wait_ms = if round.outcome().is_ok() { 0 } else { self.clean.backoff_ms };
        self.clean.next_at = now.boot.plus_ms(wait_ms);
        let topic_partition = round.topic_partition();
        let counts = round.counts();
        self.metrics.cleaned_before_bytes += counts.before_bytes;
        self.metrics.cleaned_after_bytes += counts.after_bytes;
        let partition = topic_partition.partition;
        let is_hopeless = match round.outcome() {
            Ok(()) => {
                self.metrics.clean_round_count += 1;
                log::info!(
                    "{}-{partition}: compacted {} bytes to {}",
                    round.name(),
                    counts.before_bytes,
                    counts.after_bytes
                );
                false
            }
            // That is the topic's doing, or retention's.
            Err(CleanError::Outrun) if !round.is_stuck() => false,
            Err(why) => {
                self.metrics.clean_failed_count += 1;
                log::error!("{}-{partition}: compaction failed: {why}", round.name());
                matches!(why, CleanError::TooLarge { .. })
            }
        };
        if !matches!(round.outcome(), Ok(()) | Err(CleanError::Outrun)) {
            let rest_ms = self.clean.backoff_ms.saturating_mul(FAILED_BACKOFFS);
            self.clean.rests.insert(topic_partition, now.boot.plus_ms(rest_ms));
        }
        if let Some(state) = self.partitions.get_mut(&topic_partition) {
            state.log.end_clean(round, is_hopeless);
        }
        if let Err(CleanError::Damaged { segment, position }) = *round.outcome() {
            self.suspect(topic_partition, segment, Some(position));
        }
    }
}
