//! Idempotent producers through a log: what is refused, and that a start knows what a stop knew
//! (semantics.md 2.15, reliability.md T1 and T2).

use std::path::Path;

use super::recovery::{self, Evidence};
use super::testing::{EPOCH, MemoryDisk, READ_COUNT, at, batch, name, offset, topic_partition};
use super::{Earlier, Log, LogError, Producers, SequenceError, producer_snapshot};
use crate::ids::Offset;
use crate::journal::PartitionState;
use crate::journal::disk::Disk;
use crate::time::Timestamp;
use crate::topic_config::TopicConfig;

const LOG_DIR: &str = "/data";
const DIR: &str = "/data/topic-3";

fn config() -> TopicConfig {
    TopicConfig { segment_bytes: 1000, ..TopicConfig::default() }
}

fn create(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let dir = Path::new(LOG_DIR);
    let log = Log::create(disk.clone(), dir, &name(), topic_partition(), config(), at(0));
    let mut log = log.expect("an empty disk");
    log.begin_epoch(EPOCH);
    log
}

/// Opens the directory again; the journal knows the start and nothing more.
fn reopen(disk: &MemoryDisk, start: Offset) -> Log<MemoryDisk> {
    reopen_from(disk, start, 0, Offset::ZERO)
}

/// The same with a recovery point in the first segment: nothing before it is looked at.
fn reopen_from(
    disk: &MemoryDisk,
    start: Offset,
    recovery_position: u64,
    recovery_offset: Offset,
) -> Log<MemoryDisk> {
    let state = PartitionState {
        log_start: start,
        epochs: vec![(EPOCH, Offset::ZERO)],
        recovery_segment: Offset::ZERO,
        recovery_position,
        recovery_offset,
        high_watermark: Offset::ZERO,
    };
    let evidence = Evidence {
        cut: None,
        state: Some(state),
        mark: Some(start),
        is_journal_whole: true,
        noted_start: None,
    };
    let (disk, dir) = (disk.clone(), Path::new(DIR));
    let opened = recovery::open(disk, dir, &name(), topic_partition(), config(), at(0), evidence);
    opened.expect("the disk works").0
}

fn sent(producer_id: i64, epoch: i16, sequence: i32, count: i32) -> Vec<u8> {
    let mut batch = batch(count, 1_800_000_000_000 + i64::from(sequence), 100);
    batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Sends a batch; answers its base offset, or why it was not stored.
fn send(log: &mut Log<MemoryDisk>, mut batch: Vec<u8>) -> Result<i64, SequenceError> {
    match log.append(at(0), &mut batch) {
        Ok(appended) => Ok(appended.base_offset.0),
        Err(LogError::Sequence(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_batch_is_stored_once_however_often_it_is_sent() {
    // Row 80: the same bytes 100 times, one copy, the original offset each time.
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    assert_eq!(send(&mut log, sent(-1, -1, -1, 2)), Ok(0));
    assert_eq!(send(&mut log, sent(5, 0, 0, 3)), Ok(2));
    let size_bytes = log.size_bytes();
    let earlier = Earlier {
        base_offset: offset(2),
        end_offset: offset(5),
        timestamp: Timestamp(1_800_000_000_000),
    };
    for _ in 0..100 {
        let again = send(&mut log, sent(5, 0, 0, 3));
        assert_eq!(again, Err(SequenceError::Duplicate(earlier)));
    }
    assert_eq!(send(&mut log, sent(5, 0, 4, 1)), Err(SequenceError::OutOfOrder));
    assert_eq!((log.end_offset(), log.size_bytes()), (offset(5), size_bytes));
    assert_eq!(send(&mut log, sent(5, 0, 3, 1)), Ok(5));
    assert_eq!(send(&mut log, sent(-1, -1, -1, 1)), Ok(6), "others are not asked");
}

#[test]
fn a_batch_that_was_not_written_may_come_again() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    *disk.is_full.borrow_mut() = true;
    assert!(matches!(log.append(at(0), &mut sent(5, 0, 0, 1)), Err(LogError::DiskFull)));
    *disk.is_full.borrow_mut() = false;
    assert_eq!(send(&mut log, sent(5, 0, 0, 1)), Ok(0));
}

/// A follower that becomes the leader takes its producers' next batches for what they are: neither
/// copying nor cutting leaves it with another state than the batches have that are there.
#[test]
fn a_copy_knows_what_the_leader_knows_and_a_cut_what_is_left() {
    let [mut leader, mut follower, mut short] = [(); 3].map(|()| create(&MemoryDisk::default()));
    let mut stored = Vec::new();
    for number in 0..60 {
        let mut batch = sent(5 + i64::from(number % 3), 0, number / 3 * 2, 2);
        leader.append(at(0), &mut batch).expect("in order");
        follower.append_copy(at(0), &batch, false).expect("behind the end");
        assert_eq!(follower.producers, leader.producers);
        stored.push(batch);
    }
    let (kept, gone) = stored.split_at(41);
    for batch in kept {
        short.append_copy(at(0), batch, false).expect("behind the end");
    }
    let plan = follower.truncation(short.end_offset()).expect("all of it is in memory");
    let cut = follower.begin_truncation(at(0), plan).expect("the disk works");
    let done = cut.run().expect("the disk works");
    follower.finish_truncation(done);
    assert_eq!(follower.producers, short.producers);
    let next = sent(5 + 41 % 3, 0, 41 / 3 * 2, 2);
    assert_eq!(send(&mut short, next), Ok(82));
    for batch in gone {
        follower.append_copy(at(0), batch, false).expect("behind the end");
    }
    assert_eq!(follower.producers, leader.producers);
}

#[test]
fn a_clean_stop_leaves_a_snapshot_that_is_all_a_start_needs() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    for number in 0..7 {
        send(&mut log, sent(5, 1, 2 * number, 2)).expect("in order");
    }
    let before = log.producers.clone();
    log.close().expect("the disk works");
    let path = Path::new(DIR).join("00000000000000000014.snapshot");
    let bytes = disk.bytes(&path).borrow().clone();
    assert_eq!(producer_snapshot::producers_of(&bytes), Some(before.clone()));
    assert_eq!(reopen(&disk, Offset::ZERO).producers, before);
    // It is a cache: torn, it changes nothing.
    disk.bytes(&path).borrow_mut()[20] ^= 1;
    assert_eq!(reopen(&disk, Offset::ZERO).producers, before);
    assert!(!disk.exists(&path).expect("lists"), "what is torn goes");
    // The next segment's file replaces the one that belongs to none.
    log = reopen(&disk, Offset::ZERO);
    log.close().expect("the disk works");
    log = reopen(&disk, Offset::ZERO);
    for number in 7..12 {
        send(&mut log, sent(5, 1, 2 * number, 2)).expect("in order");
    }
    let snapshots = |disk: &MemoryDisk| {
        let names = disk.list(Path::new(DIR)).expect("lists");
        let is_snapshot = |name: &&std::path::PathBuf| {
            name.extension().is_some_and(|extension| extension == "snapshot")
        };
        names.iter().filter(is_snapshot).count()
    };
    assert_eq!((log.segment_count(), snapshots(&disk)), (2, 1));
}

#[test]
fn a_start_reads_no_more_than_what_lies_behind_the_newest_snapshot() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    log.set_config(TopicConfig::default());
    for number in 0..20_000 {
        send(&mut log, sent(5, 0, number, 1)).expect("in order");
    }
    let names = |disk: &MemoryDisk| {
        let names = disk.list(Path::new(DIR)).expect("lists");
        let texts = names.iter().filter_map(|name| name.to_str().map(str::to_owned));
        texts.filter(|name| name.ends_with(".snapshot")).collect::<Vec<_>>()
    };
    log.maybe_save_producers(at(59_000));
    assert_eq!(names(&disk), [""; 0], "it was opened just now");
    log.maybe_save_producers(at(60_000));
    assert_eq!(names(&disk), ["00000000000000020000.snapshot"]);
    for number in 20_000..20_003 {
        send(&mut log, sent(5, 0, number, 1)).expect("in order");
    }
    let before = log.producers.clone();
    let reads = || {
        let count = READ_COUNT.get();
        let log = reopen_from(&disk, Offset::ZERO, 20_003 * 100, offset(20_003));
        assert_eq!(log.producers, before);
        READ_COUNT.get() - count
    };
    // The first start learns the index anew.
    reads();
    let few = reads();
    disk.remove_file(&Path::new(DIR).join(&names(&disk)[0])).expect("there");
    let all = reads();
    assert!(few + 400 < all, "{few} reads, {all} without the snapshot");
}

#[test]
fn an_import_brings_the_newest_snapshot_that_holds() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    for number in 0..25 {
        send(&mut log, sent(5, 1, number, 1)).expect("in order");
    }
    log.close().expect("the disk works");
    let (from, to) = (Path::new(DIR), Path::new("/data/other-0"));
    let bring = |end| {
        producer_snapshot::bring(&disk, from, to, offset(end)).expect("the disk works");
        let names = disk.list(to).expect("lists");
        names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(bring(9), [""; 0], "none is so old");
    assert_eq!(bring(24), ["00000000000000000020.snapshot"], "the newest is of the future");
    disk.bytes(&from.join("00000000000000000025.snapshot")).borrow_mut()[8] ^= 1;
    assert_eq!(bring(30).len(), 1, "and torn");
    producer_snapshot::bring(&disk, from, from, offset(30)).expect("it is there already");
}

#[test]
fn a_snapshot_beyond_the_end_is_not_believed_later() {
    // The tail was lost with a power cut and other batches took its offsets; the snapshot of what
    // was lost must be gone by then.
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    for number in 0..3 {
        send(&mut log, sent(5, 0, number, 1)).expect("in order");
    }
    log.close().expect("the disk works");
    let segment = disk.bytes(&Path::new(DIR).join("00000000000000000000.log"));
    segment.borrow_mut().truncate(100);
    let mut log = reopen(&disk, Offset::ZERO);
    assert_eq!(log.end_offset(), offset(1));
    for _ in 0..2 {
        send(&mut log, sent(-1, -1, -1, 1)).expect("no sequence");
    }
    let mut log = reopen(&disk, Offset::ZERO);
    assert_eq!(log.end_offset(), offset(3));
    assert_eq!(send(&mut log, sent(5, 0, 1, 1)), Ok(3), "1 is what 0 is followed by");
}

#[test]
fn whoever_wrote_is_known_when_retention_took_all_of_it() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk);
    send(&mut log, sent(5, 0, 0, 1)).expect("the first");
    for _ in 0..30 {
        send(&mut log, sent(-1, -1, -1, 1)).expect("no sequence");
    }
    log.mark_durable(log.end_offset());
    let start = {
        log.set_config(TopicConfig { retention_bytes: 0, ..config() });
        log.expire(at(0), log.end_offset()).expect("the disk works").expect("something expires");
        log.start_offset()
    };
    log.mark_start_durable(start);
    log.delete_expired(at(0)).expect("the disk works");
    assert!(offset(1) < start);
    let mut log = reopen(&disk, start);
    assert_eq!(log.start_offset(), start);
    assert_eq!(send(&mut log, sent(5, 0, 2, 1)), Err(SequenceError::OutOfOrder));
    assert!(send(&mut log, sent(5, 0, 1, 1)).is_ok());
}

#[test]
fn the_state_rebuilt_after_any_stop_is_the_state_before() {
    let mut seed = 0x0dd_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut stops = [0; 3];
    for _ in 0..40 {
        let disk = MemoryDisk::default();
        let mut log = create(&disk);
        // The state at each end that the log had.
        let mut states: Vec<(Offset, Producers)> = vec![(Offset::ZERO, Producers::default())];
        let mut next = [(0i16, 0i32); 4];
        for _ in 0..12 {
            for _ in 0..random(20) {
                let id = random(4) as usize;
                let (epoch, sequence) = next[id];
                if random(15) == 0 {
                    next[id] = (epoch + 1, 0);
                }
                let count = 1 + random(3) as i32;
                // A batch that was cut off leaves a gap: the producer begins a new epoch.
                if send(&mut log, sent(id as i64, epoch, sequence, count)).is_err() {
                    next[id] = (epoch + 1, 0);
                } else if next[id].0 == epoch {
                    next[id] = (epoch, sequence + count);
                }
                states.push((log.end_offset(), log.producers.clone()));
            }
            let stop = random(3) as usize;
            stops[stop] += 1;
            match stop {
                0 => log.close().expect("the disk works"),
                1 => {}
                _ => {
                    let base = log.segments.last().expect("active").base;
                    let file = disk.bytes(&Path::new(DIR).join(format!("{:020}.log", base.0)));
                    let kept = random(1 + file.borrow().len() as u64) as usize;
                    file.borrow_mut().truncate(kept);
                }
            }
            log = reopen(&disk, Offset::ZERO);
            let end = log.end_offset();
            states.retain(|(at, _)| *at <= end);
            let (at, before) = states.last().expect("0 at the least");
            assert_eq!(*at, end);
            assert_eq!(log.producers, *before, "at {end} after stop {stop}");
        }
    }
    assert!(stops.iter().all(|&count| 50 < count), "{stops:?}");
}
