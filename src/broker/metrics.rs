//! What the broker counts. Shards count in plain numbers and add them up when asked.
//!
//! A name ends in its unit; `_now` marks a gauge, all others are counters from process start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::front::Gathering;
use crate::journal::disk::Disk;
use crate::log::Log;
use crate::metrics::{Histogram, Recent};
use crate::time::{Boot, Now};

/// Counts of one front.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it; docs/metrics in the README list them")]
pub struct FrontMetrics {
    pub connection_count: u64,
    pub request_count: u64,
    pub refused_count: u64,
    pub produce_timeout_count: u64,
    pub produce_count: u64,
    pub produce_us: u64,
    pub fetch_us: u64,
    pub produce_record_count: u64,
    pub fetch_record_count: u64,
    pub produce_recent_us: Recent,
    pub fetch_recent_us: Recent,
}

impl FrontMetrics {
    /// A request that came at `since` is answered.
    pub(super) fn observe<F>(&mut self, now: Now, since: Boot, gathering: &Gathering<F>) {
        let latency_us = now.boot.us_since(since);
        let now_ms = now.boot.ms_since(Boot(0));
        match gathering {
            Gathering::Produce { results, record_counts, .. } => {
                self.produce_count += 1;
                self.produce_us += latency_us;
                self.produce_recent_us.record(now_ms, latency_us);
                let written = results.iter().zip(record_counts).filter(|(result, _)| {
                    result.as_ref().is_some_and(|result| result.error.is_ok())
                });
                self.produce_record_count += written.map(|(_, n)| u64::from(*n)).sum::<u64>();
            }
            Gathering::Fetch(fetch) => {
                self.fetch_us += latency_us;
                self.fetch_recent_us.record(now_ms, latency_us);
                self.fetch_record_count += fetch.offset_count();
            }
            _ => {}
        }
    }

    /// All of it, with what the back of the same shard counted.
    pub(super) fn with(&self, now: Now, counts: Vec<(&'static str, u64)>) -> ShardMetrics {
        let now_ms = now.boot.ms_since(Boot(0));
        let mut shard = ShardMetrics { counts, ..ShardMetrics::default() };
        shard.counts.extend(self.list());
        self.produce_recent_us.add_to(now_ms, &mut shard.produce_us);
        self.fetch_recent_us.add_to(now_ms, &mut shard.fetch_us);
        shard
    }

    /// All of them by name.
    pub fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("connections_opened_count", self.connection_count),
            ("requests_count", self.request_count),
            ("requests_refused_count", self.refused_count),
            ("produce_timeouts_count", self.produce_timeout_count),
            ("produce_requests_count", self.produce_count),
            ("produce_records_count", self.produce_record_count),
            ("fetch_records_count", self.fetch_record_count),
            ("produce_latency_us", self.produce_us),
            ("fetch_latency_us", self.fetch_us),
        ]
    }
}

/// What one shard counted: on the way to whoever asked, and summed up there.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {
    /// By name; those of equal name add up.
    pub counts: Vec<(&'static str, u64)>,
    /// From request to answer, of late.
    pub produce_us: Histogram,
    /// The same; a fetch that waits for records waits here too.
    pub fetch_us: Histogram,
}

impl ShardMetrics {
    /// Adds another shard's.
    pub(super) fn add(&mut self, other: ShardMetrics) {
        self.counts.extend(other.counts);
        self.produce_us.merge(&other.produce_us);
        self.fetch_us.merge(&other.fetch_us);
    }

    /// Every number by its name.
    pub(super) fn sums(self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (name, value) in self.counts {
            *sums.entry(name).or_insert(0) += value;
        }
        let of = |latency: &Histogram| [latency.quantile(1, 2), latency.quantile(99, 100)];
        let [p50, p99] = of(&self.produce_us);
        sums.insert("produce_latency_us_p50_now", p50);
        sums.insert("produce_latency_us_p99_now", p99);
        sums.insert("produce_latency_us_max_now", self.produce_us.max());
        let [p50, p99] = of(&self.fetch_us);
        sums.insert("fetch_latency_us_p50_now", p50);
        sums.insert("fetch_latency_us_p99_now", p99);
        sums.insert("fetch_latency_us_max_now", self.fetch_us.max());
        sums
    }
}

/// Counts of one back.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "as above")]
pub struct BackMetrics {
    pub append_count: u64,
    pub append_bytes: u64,
    pub duplicate_count: u64,
    pub fetch_count: u64,
    pub fetch_bytes: u64,
    pub cold_read_count: u64,
    /// Committed records that a replica cut off, because its leader does not have them.
    pub lost_records_count: u64,
    pub scrub_segment_count: u64,
    pub clean_round_count: u64,
    pub clean_failed_count: u64,
    pub cleaned_before_bytes: u64,
    pub cleaned_after_bytes: u64,
    pub damage_found_count: u64,
}

impl BackMetrics {
    /// All of them by name, with what the logs hold.
    pub(super) fn list<'a, D: Disk + 'a>(
        &self,
        logs: impl Iterator<Item = &'a Log<D>>,
    ) -> Vec<(&'static str, u64)> {
        let (mut bytes, mut segments, mut holes, mut suspects) = (0, 0, 0, 0);
        let mut producers = 0;
        for log in logs {
            bytes += log.size_bytes();
            producers += log.producer_count() as u64;
            segments += log.segment_count() as u64;
            holes += log.holes().len() as u64;
            suspects += log.suspects().len() as u64;
        }
        vec![
            ("append_batches_count", self.append_count),
            ("append_bytes", self.append_bytes),
            ("append_duplicates_count", self.duplicate_count),
            ("fetch_reads_count", self.fetch_count),
            ("fetch_bytes", self.fetch_bytes),
            ("cold_reads_count", self.cold_read_count),
            ("lost_records_count", self.lost_records_count),
            ("log_bytes_now", bytes),
            ("log_segments_now", segments),
            ("producer_ids_now", producers),
            ("log_holes_now", holes),
            ("log_suspect_segments_now", suspects),
            ("scrub_segments_count", self.scrub_segment_count),
            ("clean_rounds_count", self.clean_round_count),
            ("clean_failed_count", self.clean_failed_count),
            ("cleaned_before_bytes", self.cleaned_before_bytes),
            ("cleaned_after_bytes", self.cleaned_after_bytes),
            ("damage_found_count", self.damage_found_count),
        ]
    }
}

/// Counts of the process as a whole, kept by the threads that are not shards. It lives as long as
/// the process, so every shard may hold a plain reference.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "as above")]
pub struct ProcessMetrics {
    /// When the broker began, in microseconds of [`Boot`].
    pub began_at: AtomicU64,
    pub connections_now: AtomicU64,
    pub connections_max_now: AtomicU64,
    pub connections_refused_count: AtomicU64,
    pub flush_count: AtomicU64,
    pub flush_us: AtomicU64,
    pub flush_p50_now: AtomicU64,
    pub flush_p99_now: AtomicU64,
    pub flush_max_now: AtomicU64,
    pub disk_free_bytes_now: AtomicU64,
    pub disk_total_bytes_now: AtomicU64,
    pub memory_limit_bytes_now: AtomicU64,
    pub journal_bytes: AtomicU64,
    pub segment_sync_count: AtomicU64,
    pub checkpoint_count: AtomicU64,
    pub memory_frames_bytes_now: AtomicU64,
    pub memory_flusher_bytes_now: AtomicU64,
    pub memory_buffers_bytes_now: AtomicU64,
    pub memory_responses_bytes_now: AtomicU64,
    pub memory_windows_bytes_now: AtomicU64,
    pub memory_refused_count: AtomicU64,
    pub storage_failed_now: AtomicU64,
    pub disk_full_now: AtomicU64,
    pub start_us: AtomicU64,
    pub recovery_torn_bytes: AtomicU64,
    pub scrub_bytes: AtomicU64,
    pub scrub_failed_count: AtomicU64,
    pub cleaner_io_bytes: AtomicU64,
    /// When the last round of compaction ended, in microseconds since the start; 0: none did.
    pub cleaned_at_us: AtomicU64,
}

impl ProcessMetrics {
    /// All of them by name.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let read =
            |(name, value): (&'static str, &AtomicU64)| (name, value.load(Ordering::Relaxed));
        [
            ("connections_now", &self.connections_now),
            ("connections_max_now", &self.connections_max_now),
            ("connections_refused_count", &self.connections_refused_count),
            ("flush_count", &self.flush_count),
            ("flush_us", &self.flush_us),
            ("flush_us_p50_now", &self.flush_p50_now),
            ("flush_us_p99_now", &self.flush_p99_now),
            ("flush_us_max_now", &self.flush_max_now),
            ("disk_free_bytes_now", &self.disk_free_bytes_now),
            ("disk_total_bytes_now", &self.disk_total_bytes_now),
            ("memory_limit_bytes_now", &self.memory_limit_bytes_now),
            ("journal_bytes", &self.journal_bytes),
            ("segment_syncs_count", &self.segment_sync_count),
            ("checkpoints_count", &self.checkpoint_count),
            ("memory_frames_bytes_now", &self.memory_frames_bytes_now),
            ("memory_flusher_bytes_now", &self.memory_flusher_bytes_now),
            ("memory_buffers_bytes_now", &self.memory_buffers_bytes_now),
            ("memory_responses_bytes_now", &self.memory_responses_bytes_now),
            ("memory_windows_bytes_now", &self.memory_windows_bytes_now),
            ("memory_refused_count", &self.memory_refused_count),
            ("storage_failed_now", &self.storage_failed_now),
            ("disk_full_now", &self.disk_full_now),
            ("start_us", &self.start_us),
            ("recovery_torn_bytes", &self.recovery_torn_bytes),
            ("scrub_bytes", &self.scrub_bytes),
            ("scrub_failed_count", &self.scrub_failed_count),
            ("cleaner_io_bytes", &self.cleaner_io_bytes),
            ("cleaned_at_us_now", &self.cleaned_at_us),
        ]
        .map(read)
        .into_iter()
    }
}
