//! The log's own behaviour: append, roll, read. Cites the rows of semantics.md it proves.

use std::path::Path;

use super::testing::{EPOCH, MemoryDisk, at, batch, name, offset, topic_partition};
use super::{Log, LogError, ReadError};
use crate::topic_config::TopicConfig;

fn config() -> TopicConfig {
    TopicConfig { segment_bytes: 20_000, index_interval_bytes: 500, ..TopicConfig::default() }
}

fn log_with(config: TopicConfig) -> (MemoryDisk, Log<MemoryDisk>) {
    let disk = MemoryDisk::default();
    let dir = Path::new("/data");
    let log = Log::create(disk.clone(), dir, &name(), topic_partition(), config, at(0));
    let mut log = log.expect("an empty disk");
    log.begin_epoch(EPOCH);
    (disk, log)
}

fn append(log: &mut Log<MemoryDisk>, count: i32, bytes: usize) -> i64 {
    let time = 1_800_000_000_000 + log.end_offset().0;
    let appended = log.append(at(0), &mut batch(count, time, bytes)).expect("the disk takes it");
    assert_eq!(appended.end_offset, log.end_offset());
    appended.base_offset.0
}

#[test]
fn reads_give_whole_batches_up_to_the_limit() {
    let (_, mut log) = log_with(config());
    for _ in 0..3 {
        append(&mut log, 10, 200);
    }
    let read = |from, bytes, limit, one| {
        let slice = log.read(offset(from), bytes, offset(limit), one).expect("in range");
        (slice.position, slice.bytes, slice.end_offset.0)
    };
    assert_eq!(read(0, 1000, 30, false), (0, 600, 30));
    assert_eq!(read(15, 1000, 30, false), (200, 400, 30), "from within a batch");
    assert_eq!(read(0, 1000, 29, false), (0, 400, 20), "a batch beyond the limit stays");
    assert_eq!(read(0, 399, 30, false), (0, 200, 10), "whole batches only");
    assert_eq!(read(0, 10, 30, true), (0, 200, 10), "one batch in any case");
    assert_eq!(read(0, 10, 30, false).1, 0);
    assert_eq!(read(20, 10, 10, true).1, 0, "behind the limit");
    assert_eq!(read(30, 1000, 30, true).1, 0, "at the end");
    let beyond = log.read(offset(31), 10, offset(31), true);
    assert!(matches!(beyond, Err(ReadError::OffsetOutOfRange)));
}

#[test]
fn every_offset_is_found_in_every_segment() {
    // Rows 49 and 50: the lookup against a linear scan, over many segments.
    let (_, mut log) = log_with(config());
    let mut batches = Vec::new();
    for number in 0..700 {
        let base = append(&mut log, 1 + number % 3, 100 + (number as usize * 37) % 900);
        batches.push((base, log.end_offset().0));
    }
    assert!(10 < log.segment_count());
    for (base, end) in batches {
        for from in base..end {
            let slice = log.read(offset(from), 1, log.end_offset(), true).expect("in range");
            assert_eq!(slice.end_offset, offset(end), "from {from}");
        }
    }
    log.close_idle_handles();
    assert!(log.handle_count() <= 1, "only the active segment's file");
    assert!(log.read(offset(5), 1, log.end_offset(), true).is_ok());
}

#[test]
fn cold_bytes_are_asked_for() {
    let (disk, mut log) = log_with(config());
    append(&mut log, 1, 200);
    *disk.is_cold.borrow_mut() = true;
    let cold = log.read(offset(0), 1000, offset(1), true);
    assert!(matches!(cold, Err(ReadError::Cold { position: 0, bytes: 200, .. })));
}

#[test]
fn rolls_by_size() {
    // Row 51 and semantics 2.4: size + batch > segment.bytes.
    let (disk, mut log) = log_with(config());
    for _ in 0..20 {
        append(&mut log, 1, 1000);
    }
    assert_eq!(log.segment_count(), 1, "exactly full");
    append(&mut log, 1, 100);
    assert_eq!(log.segment_count(), 2);
    let second = Path::new("/data/topic-3/00000000000000000020.log");
    assert_eq!(disk.bytes(second).borrow().len(), 100);
    let large = log.append(at(0), &mut batch(1, 0, 20_001));
    assert!(matches!(large, Err(LogError::BatchTooLarge)));
}

#[test]
fn rolls_by_record_time_or_by_age_without_it() {
    let config = TopicConfig { segment_ms: 1000, ..config() };
    let (_, mut log) = log_with(config.clone());
    let mut put = |time, now| {
        log.append(at(now), &mut batch(1, time, 100)).expect("the disk takes it");
        log.segment_count()
    };
    assert_eq!(put(5000, 0), 1);
    assert_eq!(put(6000, 9_999_999), 1, "the wall clock does not matter");
    assert_eq!(put(6001, 0), 2, "1,001 ms behind the first batch");
    let (_, mut log) = log_with(config);
    let mut put = |now| {
        log.append(at(now), &mut batch(1, -1, 100)).expect("the disk takes it");
        log.segment_count()
    };
    assert_eq!(put(0), 1);
    assert_eq!(put(1000), 1);
    assert_eq!(put(1001), 2, "age since creation where records have no time");
}

#[test]
fn rolls_when_an_index_is_full() {
    // Two offset entries fit, and the time index keeps its last slot for the roll.
    let config = TopicConfig { segment_index_bytes: 40, index_interval_bytes: 50, ..config() };
    let (_, mut log) = log_with(config);
    let mut bases = Vec::new();
    for _ in 0..8 {
        append(&mut log, 1, 100);
        bases.push(log.segment_count());
    }
    assert_eq!(bases, [1, 1, 1, 2, 2, 2, 3, 3]);
}

#[test]
fn rolls_before_a_relative_offset_overflows() {
    let (_, mut log) = log_with(TopicConfig { segment_ms: i64::MAX, ..config() });
    append(&mut log, i32::MAX, 100);
    assert_eq!(log.segment_count(), 1);
    append(&mut log, 1, 100);
    assert_eq!(log.segment_count(), 1, "the last relative offset is 2^31 - 1");
    append(&mut log, 1, 100);
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn a_full_disk_keeps_the_log_usable_and_other_failures_do_not_repeat_offsets() {
    let (disk, mut log) = log_with(config());
    append(&mut log, 1, 100);
    *disk.is_full.borrow_mut() = true;
    let full = log.append(at(0), &mut batch(1, 0, 100));
    assert!(matches!(full, Err(LogError::DiskFull)));
    *disk.is_full.borrow_mut() = false;
    assert_eq!(append(&mut log, 1, 100), 1);
    let slice = log.read(offset(0), 1000, offset(2), true).expect("in range");
    assert_eq!(slice.bytes, 200);
}

#[test]
fn a_full_disk_does_not_end_a_log_that_is_to_roll() {
    // The second batch begins a segment: the indexes of the first are written then.
    let (disk, mut log) = log_with(TopicConfig { segment_bytes: 180, ..config() });
    append(&mut log, 1, 100);
    *disk.is_full.borrow_mut() = true;
    for _ in 0..2 {
        let full = log.append(at(0), &mut batch(1, 0, 100));
        assert!(matches!(full, Err(LogError::DiskFull)));
    }
    *disk.is_full.borrow_mut() = false;
    // A small one still has its place in the old one.
    assert_eq!((append(&mut log, 1, 70), log.segment_count()), (1, 1));
    assert_eq!((append(&mut log, 1, 100), log.segment_count()), (2, 2));
    let slice = log.read(offset(0), 1000, offset(3), true).expect("in range");
    assert_eq!(slice.end_offset, offset(2));
}

#[test]
fn index_files_are_kafkas() {
    let (disk, mut log) = log_with(config());
    for _ in 0..21 {
        append(&mut log, 1, 1000);
    }
    let file = |suffix| {
        let path = format!("/data/topic-3/00000000000000000000.{suffix}");
        disk.bytes(Path::new(&path)).borrow().clone()
    };
    // Each batch is larger than the interval, so that each but the first has an entry.
    assert_eq!(file("index").len(), 19 * 8);
    assert_eq!(file("index")[..8], [0, 0, 0, 1, 0, 0, 3, 232]);
    assert_eq!(file("timeindex").len(), 19 * 12, "the last batch has its entry already");
    assert_eq!(file("timeindex")[8..12], [0, 0, 0, 1]);
}

#[test]
fn an_idle_partition_costs_little_memory() {
    // 4 KiB is the budget of an idle partition beyond its file handles.
    let (_, log) = log_with(config());
    let own = size_of_val(&log) + log.dir().as_os_str().len() + 32;
    let segment = size_of::<super::segment::Segment<MemoryDisk>>();
    assert!(own + 4 * segment + 64 <= 2560, "{own} + 4 * {segment}");
}

#[test]
fn epochs_are_stamped_and_checked() {
    let (disk, mut log) = log_with(config());
    append(&mut log, 1, 100);
    log.begin_epoch(crate::ids::LeaderEpoch(4));
    append(&mut log, 1, 100);
    let path = Path::new("/data/topic-3/00000000000000000000.log");
    assert_eq!(disk.bytes(path).borrow()[112..116], [0, 0, 0, 4]);
    assert!(log.read(offset(1), 100, offset(2), true).is_ok());
    // A batch of an older epoch in its place, say one that a recycled block brought back.
    disk.bytes(path).borrow_mut()[115] = 1;
    let stale = log.read(offset(1), 100, offset(2), true);
    assert!(matches!(stale, Err(ReadError::Damaged { position: 100, .. })));
}
