//! Histograms: how long things took, in bounded memory, with a known error.
//!
//! Buckets are log-linear, as in HDR histograms: each power of two is cut into
//! [`SUB_BUCKETS`] equal parts, so that a value is known within 1/32 of itself whatever its size.
//!
//! **Invariant:** the memory never grows; a histogram is [`BUCKETS`] counters from the start.

use alloc::boxed::Box;
use alloc::vec;

/// Parts of one power of two.
pub const SUB_BUCKETS: usize = 1 << SUB_BITS;
const SUB_BITS: u32 = 5;

/// Values from here on count as this one: 12 days in microseconds.
pub const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
const VALUE_BITS: u32 = 40;

/// Counters of a histogram.
pub const BUCKETS: usize = (VALUE_BITS - SUB_BITS + 1) as usize * SUB_BUCKETS;

/// Counts values by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Histogram {
        let counts = vec![0; BUCKETS].into_boxed_slice();
        Histogram { counts, count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value `times` over.
    pub fn record_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let value = value.min(VALUE_MAX);
        self.counts[bucket_of(value)] += times;
        self.count += times;
        self.sum += u128::from(value) * u128::from(times);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds all that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.count = 0;
        self.sum = 0;
        self.min = u64::MAX;
        self.max = 0;
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value, 0 when there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, rounded down, 0 when there is none.
    pub fn mean(&self) -> u64 {
        (self.sum / u128::from(self.count.max(1))) as u64
    }

    /// The value that `numerator` of `denominator` values do not exceed, at most 1/32 too large;
    /// 0 when there is none. `quantile(99, 100)` is the 99th percentile.
    pub fn quantile(&self, numerator: u64, denominator: u64) -> u64 {
        let share = u128::from(self.count) * u128::from(numerator);
        let rank = share.div_ceil(u128::from(denominator.max(1))).max(1);
        let mut seen = 0u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if rank <= seen {
                return upper_end(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// How long a value is remembered by [`Recent`] at least, in ms.
pub const RECENT_MS: u64 = 60_000;

/// A histogram of the last one to two minutes: what a person asks about is how things go now, not
/// how they went since the start. No clock is asked here.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// The minute that `present` counts.
    minute: u64,
    present: Histogram,
    before: Histogram,
}

impl Recent {
    /// Counts a value at `now_ms`, which never goes back by a minute.
    pub fn record(&mut self, now_ms: u64, value: u64) {
        let minute = now_ms / RECENT_MS;
        if self.minute < minute {
            core::mem::swap(&mut self.present, &mut self.before);
            self.present.clear();
            if self.minute + 1 < minute {
                self.before.clear();
            }
            self.minute = minute;
        }
        self.present.record(value);
    }

    /// Adds what is remembered at `now_ms` to `sum`.
    pub fn add_to(&self, now_ms: u64, sum: &mut Histogram) {
        let minute = now_ms / RECENT_MS;
        if minute <= self.minute + 1 {
            sum.merge(&self.present);
        }
        if minute <= self.minute {
            sum.merge(&self.before);
        }
    }
}

/// Values below [`SUB_BUCKETS`] have a bucket each.
fn bucket_of(value: u64) -> usize {
    let shift = (value | (SUB_BUCKETS as u64 - 1)).ilog2() + 1 - SUB_BITS;
    if shift == 0 {
        return value as usize;
    }
    // The first of the top six bits is always set: the other five are the part.
    let shift = shift - 1;
    let part = (value >> shift) as usize - SUB_BUCKETS;
    (shift as usize + 1) * SUB_BUCKETS + part
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let part = (bucket % SUB_BUCKETS + SUB_BUCKETS) as u64;
    ((part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_buckets_touch() {
        let mut end = None;
        for bucket in 0..BUCKETS {
            let upper = upper_end(bucket);
            assert_eq!(bucket_of(upper), bucket);
            let lower = end.map_or(0, |end: u64| end + 1);
            assert_eq!(bucket_of(lower), bucket, "begins behind the one before");
            assert!((upper - lower) * SUB_BUCKETS as u64 <= upper, "a part of its size");
            end = Some(upper);
        }
        assert_eq!(end, Some(VALUE_MAX));
    }

    #[test]
    fn quantiles_are_within_a_thirty_second() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000u64 {
            histogram.record(value);
        }
        for (numerator, denominator, exact) in
            [(1, 2, 50_000), (99, 100, 99_000), (999, 1000, 99_900), (1, 1, 100_000)]
        {
            let found = histogram.quantile(numerator, denominator);
            assert!((exact..=exact + exact / 32).contains(&found), "{exact}: {found}");
        }
        assert_eq!(histogram.min(), 1);
        assert_eq!(histogram.max(), 100_000);
        assert_eq!(histogram.mean(), 50_000);
    }

    #[test]
    fn merged_histograms_count_as_one() {
        let (mut left, mut right, mut both) = Default::default();
        let fill = |into: &mut Histogram, values: core::ops::Range<u64>| {
            values.for_each(|value| into.record(value * value));
        };
        fill(&mut left, 0..300);
        fill(&mut right, 300..900);
        fill(&mut both, 0..900);
        left.merge(&right);
        assert_eq!(left.counts, both.counts);
        assert_eq!((left.count(), left.min(), left.max()), (900, 0, 899 * 899));
        assert_eq!(left.mean(), both.mean());
        left.clear();
        assert_eq!((left.count(), left.min(), left.max(), left.mean()), (0, 0, 0, 0));
        assert_eq!(left.quantile(1, 2), 0);
    }

    #[test]
    fn what_is_recent_is_remembered_for_one_to_two_minutes() {
        let mut recent = Recent::default();
        let remembered = |recent: &Recent, now_ms| {
            let mut sum = Histogram::new();
            recent.add_to(now_ms, &mut sum);
            (sum.count(), sum.max())
        };
        recent.record(RECENT_MS + 1, 10);
        recent.record(2 * RECENT_MS - 1, 20);
        assert_eq!(remembered(&recent, 2 * RECENT_MS - 1), (2, 20));
        assert_eq!(remembered(&recent, 3 * RECENT_MS - 1), (2, 20), "also while nothing new comes");
        assert_eq!(remembered(&recent, 3 * RECENT_MS), (0, 0));
        recent.record(2 * RECENT_MS, 5);
        assert_eq!(remembered(&recent, 3 * RECENT_MS - 1), (3, 20));
        assert_eq!(remembered(&recent, 3 * RECENT_MS), (1, 5));
        recent.record(9 * RECENT_MS, 1);
        assert_eq!(remembered(&recent, 9 * RECENT_MS), (1, 1), "a pause forgets all of it");
    }

    #[test]
    fn what_is_too_large_counts_as_the_largest() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        histogram.record_many(7, 3);
        assert_eq!(histogram.quantile(3, 4), 7);
        assert_eq!(histogram.quantile(1, 1), VALUE_MAX);
    }
}
