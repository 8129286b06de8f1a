//! Retention against semantics.md 2.5 and reliability.md S9.

use std::path::Path;

use super::Log;
use super::testing::{EPOCH, MemoryDisk, batch, name, offset, topic_partition};
use crate::journal::SmallState;
use crate::journal::disk::Disk;
use crate::time::{Boot, Now, Timestamp};
use crate::topic_config::TopicConfig;

const WALL: i64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

struct Bench {
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    now: Now,
}

impl Bench {
    fn new(config: TopicConfig) -> Bench {
        let disk = MemoryDisk::default();
        let now = Now { boot: Boot(0), wall: Timestamp(WALL), wall_trusted: true };
        let log_dir = Path::new("/data");
        let log = Log::create(disk.clone(), log_dir, &name(), topic_partition(), config, now);
        let mut log = log.expect("an empty disk");
        log.begin_epoch(EPOCH);
        Bench { disk, log, now }
    }

    /// Both clocks run on.
    fn pass(&mut self, ms: u64) {
        self.now.boot = self.now.boot.plus_ms(ms);
        self.now.wall = self.now.wall + ms as i64;
    }

    /// A segment's worth of records with the present's timestamp.
    fn fill_segment(&mut self) {
        let time = self.now.wall.0;
        for _ in 0..4 {
            self.log.append(self.now, &mut batch(1, time, 250)).expect("the disk takes it");
        }
    }

    /// What retention raises the start to, if anything; all of the log is committed.
    fn expire(&mut self) -> Option<i64> {
        self.log.mark_durable(self.log.end_offset());
        let state = self.log.expire(self.now, self.log.end_offset()).expect("the disk works");
        state.map(|state| match state {
            SmallState::LogStart(start) => start.0,
            other => panic!("{other:?}"),
        })
    }
}

fn config() -> TopicConfig {
    TopicConfig {
        segment_bytes: 1000,
        retention_ms: HOUR_MS as i64,
        file_delete_delay_ms: 60_000,
        ..TopicConfig::default()
    }
}

#[test]
fn old_segments_expire_and_the_idle_active_one_too() {
    let mut bench = Bench::new(config());
    for _ in 0..3 {
        bench.fill_segment();
        bench.pass(HOUR_MS / 2);
    }
    bench.pass(1);
    assert_eq!(bench.expire(), Some(8), "1.5 h and 1 h are old, half an hour is not");
    assert_eq!(bench.expire(), None);
    bench.pass(HOUR_MS);
    assert_eq!(bench.expire(), Some(12), "the active segment rolls and goes");
    assert_eq!((bench.log.segment_count(), bench.log.size_bytes()), (1, 0));
    assert_eq!(bench.log.end_offset(), offset(12));
    bench.pass(10 * HOUR_MS);
    assert_eq!(bench.expire(), None, "an empty segment is where the log goes on");
}

#[test]
fn nothing_above_the_high_watermark_expires() {
    let mut bench = Bench::new(config());
    bench.fill_segment();
    bench.fill_segment();
    bench.pass(2 * HOUR_MS);
    bench.log.mark_durable(offset(8));
    let state = bench.log.expire(bench.now, offset(3)).expect("the disk works");
    assert_eq!(state, None);
    let state = bench.log.expire(bench.now, offset(4)).expect("the disk works");
    assert_eq!(state, Some(SmallState::LogStart(offset(4))));
}

#[test]
fn size_decides_without_any_clock() {
    let mut bench = Bench::new(TopicConfig { retention_bytes: 2000, retention_ms: -1, ..config() });
    bench.now.wall_trusted = false;
    for _ in 0..5 {
        bench.fill_segment();
    }
    assert_eq!(bench.expire(), Some(12), "2,000 bytes stay");
    let config = TopicConfig { retention_bytes: -1, ..config() };
    bench.log.set_config(config);
    assert_eq!(bench.expire(), None);
}

#[test]
fn no_cleanup_policy_keeps_all_but_what_was_deleted_by_request() {
    let mut keep = config();
    keep.cleanup_policy.delete = false;
    let mut bench = Bench::new(keep);
    for _ in 0..3 {
        bench.fill_segment();
    }
    bench.pass(100 * HOUR_MS);
    assert_eq!(bench.expire(), None);
    let state = bench.log.advance_start(offset(5));
    assert_eq!(state, Some(SmallState::LogStart(offset(5))));
    assert_eq!(bench.log.advance_start(offset(4)), None, "the start never falls");
    assert_eq!(bench.expire(), None, "the start is persisted already");
    assert_eq!(bench.log.segment_count(), 2, "the first segment lies below it");
}

#[test]
fn an_untrusted_clock_expires_nothing() {
    let mut bench = Bench::new(config());
    bench.fill_segment();
    bench.fill_segment();
    bench.pass(100 * HOUR_MS);
    bench.now.wall_trusted = false;
    assert_eq!(bench.expire(), None);
}

#[test]
fn a_clock_that_steps_expires_nothing_early() {
    // 56 years ahead, as when a board without a battery learns the time.
    let mut bench = Bench::new(config());
    bench.now.wall = Timestamp(5_000);
    bench.now.wall_trusted = false;
    bench.expire();
    bench.fill_segment();
    bench.fill_segment();
    bench.now.wall = Timestamp(WALL);
    bench.now.wall_trusted = true;
    assert_eq!(bench.expire(), None);
    bench.pass(HOUR_MS);
    assert_eq!(bench.expire(), None, "age counts from boot time now");
    bench.fill_segment();
    bench.pass(1);
    assert_eq!(bench.expire(), Some(8), "an hour after the step");
    // A year back: what lies in the future is no older than it was.
    bench.now.wall = Timestamp(WALL - 365 * 24 * HOUR_MS as i64);
    assert_eq!(bench.expire(), None);
    bench.pass(HOUR_MS + 1);
    assert_eq!(bench.expire(), Some(12));
}

#[test]
fn a_clock_that_steps_every_second_expires_nothing_early() {
    let mut bench = Bench::new(config());
    bench.fill_segment();
    bench.fill_segment();
    for second in 0..100 {
        bench.pass(1000);
        let year = 365 * 24 * HOUR_MS as i64;
        bench.now.wall = bench.now.wall + if second % 2 == 0 { year } else { -year };
        assert_eq!(bench.expire(), None, "second {second}");
    }
}

#[test]
fn timestamps_of_a_clock_that_was_never_set_prove_no_age() {
    let mut bench = Bench::new(config());
    for _ in 0..8 {
        bench.log.append(bench.now, &mut batch(1, 7_000, 250)).expect("the disk takes it");
    }
    bench.pass(HOUR_MS);
    assert_eq!(bench.expire(), None);
    bench.pass(1);
    assert_eq!(bench.expire(), Some(8), "by boot time, all of it");
}

#[test]
fn files_go_when_the_start_is_durable_and_the_delay_is_over() {
    let mut bench = Bench::new(config());
    bench.fill_segment();
    bench.fill_segment();
    bench.pass(HOUR_MS / 2);
    bench.fill_segment();
    bench.pass(HOUR_MS / 2 + 1);
    let exists = |bench: &Bench, file: &str| {
        bench.disk.exists(&Path::new("/data/topic-3").join(file)).expect("a disk")
    };
    let (log, deleted) = ("00000000000000000000.log", "00000000000000000000.log.deleted");
    assert_eq!(bench.expire(), Some(8));
    bench.log.delete_expired(bench.now).expect("the disk works");
    assert!(exists(&bench, log), "the start is not durable yet");
    bench.log.mark_start_durable(offset(8));
    bench.log.delete_expired(bench.now).expect("the disk works");
    assert!(!exists(&bench, log) && exists(&bench, deleted));
    bench.pass(60_000 - 1);
    bench.log.delete_expired(bench.now).expect("the disk works");
    assert!(exists(&bench, deleted));
    assert_eq!(bench.log.next_deletion(), Some(bench.now.boot.plus_ms(1)));
    bench.pass(1);
    bench.log.delete_expired(bench.now).expect("the disk works");
    assert!(!exists(&bench, deleted));
    assert_eq!(bench.log.doomed_count(), 0);
}

#[test]
fn a_full_disk_frees_the_oldest_segment_at_once() {
    let mut bench = Bench::new(config());
    bench.fill_segment();
    bench.fill_segment();
    bench.log.mark_durable(offset(8));
    let state = bench.log.expire_oldest(bench.now, offset(8)).expect("the disk works");
    assert_eq!(state, Some(SmallState::LogStart(offset(4))));
    bench.log.mark_start_durable(offset(4));
    bench.log.delete_at_once(bench.now).expect("the disk works");
    assert_eq!(bench.log.doomed_count(), 0);
    let state = bench.log.expire_oldest(bench.now, offset(8)).expect("the disk works");
    assert_eq!(state, None, "the active segment stays");
}
