//! What was sent, acknowledged and read: who compares them says whether the site kept its word.
//!
//! Each sensor numbers its records, so that a reader knows of every one whether it is the next of its
//! key, one that came before, or one that nobody sent. A record is forgotten once it is acknowledged
//! and read.
//!
//! **Invariant:** what is acknowledged and not yet read is in `open`; nothing else can be lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A record on its way.
#[derive(Debug)]
struct Sent {
    value: String,
    at: Instant,
    /// Its offset, once it is acknowledged.
    acknowledged: Option<i64>,
    /// Where it was read.
    read: Option<i64>,
}

/// A sensor: one key, one partition.
#[derive(Debug, Default)]
struct Series {
    next_number: u64,
    open: BTreeMap<u64, Sent>,
    /// The highest number that was read.
    last_read: Option<u64>,
}

/// What is known of a partition.
#[derive(Debug, Default)]
struct Flow {
    acknowledged_count: u64,
    last_ack: Option<Instant>,
    /// The reader has passed all offsets below.
    read_end: i64,
    outage: Option<Outage>,
}

/// A partition has lost its leader.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    /// The longest time between two acknowledgements since then, the one before it counted.
    longest: Duration,
}

/// Totals that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read, each counted once.
    pub read: u64,
    /// Records read once more.
    pub twice: u64,
    /// Records that were read after a later one of their key.
    pub disordered: u64,
    /// Records that nobody sent so, or that lie elsewhere than their acknowledgement says.
    pub wrong: u64,
    /// Records that the producer gave up.
    pub refused: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    series: Vec<Series>,
    flows: Vec<Flow>,
    totals: Totals,
    /// How long partitions went without an acknowledgement when they lost their leader.
    failovers: Vec<Duration>,
}

impl Ledger {
    /// For so many sensors, and partitions.
    pub fn new(series_count: usize, partition_count: usize) -> Ledger {
        Ledger {
            series: (0..series_count).map(|_| Series::default()).collect(),
            flows: (0..partition_count).map(|_| Flow::default()).collect(),
            totals: Totals::default(),
            failovers: Vec::new(),
        }
    }

    /// A sensor has a reading: the number and the value of the record that holds it.
    pub fn send(&mut self, now: Instant, series: usize, reading: &str) -> (u64, String) {
        let one = &mut self.series[series];
        let number = one.next_number;
        one.next_number += 1;
        let value = format!("{number} {reading}");
        let sent = Sent { value: value.clone(), at: now, acknowledged: None, read: None };
        one.open.insert(number, sent);
        (number, value)
    }

    /// The site acknowledged a record.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        series: usize,
        number: u64,
        partition: usize,
        offset: i64,
    ) {
        self.totals.acknowledged += 1;
        let open = &mut self.series[series].open;
        let sent = open.get_mut(&number).expect("it is kept until it is acknowledged");
        sent.acknowledged = Some(offset);
        let sent_at = sent.at;
        if sent.read.is_some() {
            self.totals.wrong += u64::from(sent.read != Some(offset));
            open.remove(&number);
        }
        let flow = &mut self.flows[partition];
        flow.acknowledged_count += 1;
        let before = flow.last_ack.replace(now);
        let Some(outage) = &mut flow.outage else { return };
        let before = before.unwrap_or(outage.since);
        outage.longest = outage.longest.max(now.saturating_duration_since(before));
        // What was sent before may have been acknowledged by the leader that is gone.
        if outage.since < sent_at {
            self.failovers.push(outage.longest);
            flow.outage = None;
        }
    }

    /// The producer gave a record up; it may be there all the same.
    pub fn refuse(&mut self) {
        self.totals.refused += 1;
    }

    /// The reader met a record.
    pub fn read(&mut self, series: Option<usize>, value: &[u8], partition: usize, offset: i64) {
        if let Some(flow) = self.flows.get_mut(partition) {
            flow.read_end = offset + 1;
        }
        let number = std::str::from_utf8(value).ok().and_then(|text| {
            let (number, _) = text.split_once(' ')?;
            number.parse::<u64>().ok()
        });
        let place = series.filter(|series| *series < self.series.len());
        let (Some(place), Some(number)) = (place, number) else {
            self.totals.wrong += 1;
            return;
        };
        let one = &mut self.series[place];
        if one.next_number <= number {
            self.totals.wrong += 1;
            return;
        }
        let is_late = one.last_read.is_some_and(|last| number < last);
        one.last_read = one.last_read.max(Some(number));
        match one.open.get_mut(&number) {
            Some(sent) if sent.read.is_none() => {
                let is_elsewhere = sent.acknowledged.is_some_and(|acked| acked != offset);
                let is_wrong = sent.value.as_bytes() != value || is_elsewhere;
                self.totals.read += 1;
                self.totals.wrong += u64::from(is_wrong);
                self.totals.disordered += u64::from(is_late);
                sent.read = Some(offset);
                if sent.acknowledged.is_some() {
                    one.open.remove(&number);
                }
            }
            // Read before.
            _ => self.totals.twice += 1,
        }
    }

    /// Partitions have lost their leader.
    pub fn begin_outage(&mut self, now: Instant, partitions: &[usize]) {
        for partition in partitions {
            let outage = Outage { since: now, longest: Duration::ZERO };
            self.flows[*partition].outage.get_or_insert(outage);
        }
    }

    /// Whether a partition that lost its leader waits for the next one.
    pub fn is_failing_over(&self) -> bool {
        self.flows.iter().any(|flow| flow.outage.is_some())
    }

    /// How long each outage lasted that is over.
    pub fn failovers(&self) -> &[Duration] {
        &self.failovers
    }

    /// The sums.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Records acknowledged, by partition.
    pub fn acknowledged_by_partition(&self) -> impl Iterator<Item = u64> {
        self.flows.iter().map(|flow| flow.acknowledged_count)
    }

    /// Records sent that have no outcome.
    pub fn unacknowledged_count(&self) -> u64 {
        let sent: u64 = self.series.iter().map(|one| one.next_number).sum();
        sent - self.totals.acknowledged - self.totals.refused
    }

    /// Acknowledged records that were not read so far.
    pub fn unread_count(&self) -> u64 {
        self.count_unread(|_, _| true)
    }

    /// Acknowledged records that the reader has passed without meeting them.
    pub fn lost_count(&self) -> u64 {
        self.count_unread(|partition, offset| offset < self.flows[partition].read_end)
    }

    /// The series `n` goes to partition `n` modulo their count.
    pub fn partition_of(&self, series: usize) -> usize {
        series % self.flows.len()
    }

    fn count_unread(&self, counts: impl Fn(usize, i64) -> bool) -> u64 {
        let mut count = 0;
        for (place, one) in self.series.iter().enumerate() {
            let partition = self.partition_of(place);
            let unread = one.open.values().filter(|sent| sent.read.is_none());
            let offsets = unread.filter_map(|sent| sent.acknowledged);
            count += offsets.filter(|offset| counts(partition, *offset)).count() as u64;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sensors, two partitions, and a clock.
    struct Bench {
        ledger: Ledger,
        start: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { ledger: Ledger::new(2, 2), start: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn send(&mut self, ms: u64, series: usize) -> u64 {
            let now = self.at(ms);
            self.ledger.send(now, series, "x").0
        }

        fn ack(&mut self, ms: u64, series: usize, number: u64, offset: i64) {
            let now = self.at(ms);
            self.ledger.acknowledge(now, series, number, series, offset);
        }

        fn read(&mut self, series: usize, number: u64, offset: i64) {
            let value = format!("{number} x");
            self.ledger.read(Some(series), value.as_bytes(), series, offset);
        }

        /// Acknowledged, read, lost, twice, disordered, wrong.
        fn check(&self, expected: [u64; 6]) {
            let t = self.ledger.totals();
            let lost = self.ledger.lost_count();
            let seen = [t.acknowledged, t.read, lost, t.twice, t.disordered, t.wrong];
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn what_is_acknowledged_and_read_is_forgotten() {
        let mut bench = Bench::new();
        for number in 0..4 {
            assert_eq!(bench.send(0, 0), number);
        }
        bench.ack(1, 0, 0, 0);
        bench.read(0, 0, 0);
        // A reader may be faster than an acknowledgement.
        bench.read(0, 1, 1);
        bench.ack(1, 0, 1, 1);
        bench.ack(1, 0, 2, 2);
        bench.check([3, 2, 0, 0, 0, 0]);
        assert_eq!((bench.ledger.unread_count(), bench.ledger.unacknowledged_count()), (1, 1));
        bench.read(0, 2, 2);
        assert_eq!(bench.ledger.series[0].open.len(), 1);
    }

    #[test]
    fn what_the_reader_has_passed_is_lost() {
        let mut bench = Bench::new();
        for number in 0..3 {
            bench.send(0, 0);
            bench.ack(1, 0, number, number as i64);
        }
        bench.read(0, 0, 0);
        bench.check([3, 1, 0, 0, 0, 0]);
        bench.read(0, 2, 2);
        bench.check([3, 2, 1, 0, 0, 0]);
        // It was there after all, behind a later one of its key, and not where it was said to be.
        bench.read(0, 1, 3);
        bench.check([3, 3, 0, 0, 1, 1]);
    }

    #[test]
    fn what_nobody_sent_and_what_comes_twice_is_seen() {
        let mut bench = Bench::new();
        bench.send(0, 1);
        bench.ack(1, 1, 0, 7);
        bench.read(1, 0, 7);
        bench.read(1, 0, 8);
        bench.check([1, 1, 0, 1, 0, 0]);
        bench.read(1, 1, 9);
        bench.ledger.read(Some(1), b"nonsense", 1, 10);
        bench.ledger.read(None, b"0 x", 1, 11);
        bench.check([1, 1, 0, 1, 0, 3]);
        bench.send(0, 1);
        bench.ledger.read(Some(1), b"1 y", 1, 12);
        bench.check([1, 2, 0, 1, 0, 4]);
    }

    #[test]
    fn a_failover_lasts_from_the_last_ack_of_one_leader_to_the_first_of_the_next() {
        let mut bench = Bench::new();
        for number in 0..3 {
            bench.send(10 * number, 0);
        }
        bench.ack(100, 0, 0, 0);
        let killed = bench.at(105);
        bench.ledger.begin_outage(killed, &[0]);
        // On its way when the leader died, so that it says nothing of the next.
        bench.ack(110, 0, 1, 1);
        assert!(bench.ledger.is_failing_over());
        bench.send(200, 0);
        bench.ack(900, 0, 2, 2);
        bench.ack(910, 0, 3, 3);
        assert!(!bench.ledger.is_failing_over());
        assert_eq!(bench.ledger.failovers(), [Duration::from_millis(790)]);
    }

    #[test]
    fn a_partition_that_never_was_acknowledged_waits_from_when_it_lost_its_leader() {
        let mut bench = Bench::new();
        let killed = bench.at(100);
        bench.ledger.begin_outage(killed, &[1]);
        bench.send(150, 1);
        bench.ack(400, 1, 0, 0);
        assert_eq!(bench.ledger.failovers(), [Duration::from_millis(300)]);
    }
}
