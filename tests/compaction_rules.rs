//! What compaction keeps and what it takes away, rule by rule (semantics.md 2.6).

#[path = "support/booted.rs"]
mod booted;
#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::{Path, PathBuf};

use keyed::{Keyed, WALL, config};
use odradek::ids::Offset;
use odradek::journal::disk::DiskFile;
use odradek::log::{CleanError, CleanTurn, ReadError};
use odradek::record::{Batch, BatchHeader, Compression};
use odradek::time::Timestamp;
use odradek::topic_config::TopicConfig;

fn world() -> Keyed {
    Keyed::new(config())
}

fn clean(world: &mut Keyed) {
    world.roll().expect("the disk works");
    world.clean().expect("the disk works");
    world.check();
}

fn configure(world: &mut Keyed, change: impl FnOnce(&mut TopicConfig)) {
    change(&mut world.config);
    let config = world.config.clone();
    world.log().set_config(config);
}

/// Headers of all batches on disk, in order, the active segment's too.
fn headers(world: &Keyed) -> Vec<BatchHeader> {
    let files = world.disk.files();
    let logs = files.iter().filter(|(path, _)| path.extension().is_some_and(|s| s == "log"));
    let mut headers = Vec::new();
    for (_, bytes) in logs {
        let mut rest = &bytes[..];
        while let Ok((batch, after)) = Batch::split_first(rest) {
            headers.push(*batch.header());
            rest = after;
        }
    }
    headers
}

fn names(world: &Keyed, wanted: &str) -> Vec<PathBuf> {
    world.disk.files().into_keys().filter(|path| path.to_string_lossy().contains(wanted)).collect()
}

#[test]
fn a_tombstone_takes_older_values_at_once_and_goes_after_its_time() {
    let mut world = world();
    world.put("a", true);
    world.put("b", true);
    world.put("a", false);
    clean(&mut world);
    assert_eq!(world.of("a"), [(2, None)], "its older value is gone, it stays");
    let horizon = WALL + world.ms as i64 + 500;
    let marked = headers(&world).into_iter().find(|h| h.attributes.has_delete_horizon());
    assert_eq!(marked.expect("its batch has a horizon").base_timestamp, Timestamp(horizon));

    // A later round before that time keeps it, and does not put it off.
    world.ms += 400;
    world.put("c", true);
    clean(&mut world);
    assert_eq!(world.of("a"), [(2, None)]);
    let marked = headers(&world).into_iter().find(|h| h.attributes.has_delete_horizon());
    assert_eq!(marked.expect("still there").base_timestamp, Timestamp(horizon));

    // While the clock is not to be trusted nothing goes.
    world.ms += 400;
    world.is_trusted = false;
    world.put("c", true);
    clean(&mut world);
    assert_eq!(world.of("a"), [(2, None)]);

    world.is_trusted = true;
    world.put("c", true);
    clean(&mut world);
    assert_eq!(world.of("a"), []);
    assert_eq!(world.of("b").len(), 1);
}

#[test]
fn without_a_trusted_clock_a_tombstone_gets_no_horizon() {
    let mut world = world();
    world.is_trusted = false;
    world.put("a", true);
    world.put("a", false);
    clean(&mut world);
    assert_eq!(world.of("a"), [(1, None)]);
    assert!(headers(&world).iter().all(|header| !header.attributes.has_delete_horizon()));
}

#[test]
fn records_without_a_key_go_and_those_with_a_huge_one_stay() {
    let mut world = world();
    configure(&mut world, |config| config.segment_bytes = 1 << 20);
    let huge = vec![7; 40_000];
    world.append(&[(None, true, 5), (Some(&huge), true, 5)], Compression::None);
    world.append(&[(Some(&huge), true, 5), (Some(b""), true, 5)], Compression::None);
    world.append(&[(Some(b""), true, 5)], Compression::None);
    world.commit();
    world.roll();
    world.clean().expect("the disk works");
    let left: Vec<i64> = world.values().into_keys().collect();
    assert_eq!(left, [1, 2, 4], "an empty key is a key");
}

#[test]
fn what_loses_nothing_is_the_same_byte_for_byte() {
    for codec in Compression::ALL {
        let mut world = world();
        let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
        for pair in keys.chunks(2) {
            let rows = [(Some(pair[0].as_bytes()), true, 9), (Some(pair[1].as_bytes()), true, 9)];
            world.append(&rows, codec);
        }
        world.append(&[(Some(b"key-7"), true, 9)], codec);
        world.commit();
        let before = headers(&world);
        clean(&mut world);
        let after = headers(&world);
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            let is_hit = before.base_offset == Offset(6);
            assert_eq!(before == after, !is_hit, "{codec:?} {before:?} {after:?}");
            assert_eq!(before.last_offset(), after.last_offset());
            assert_eq!(before.attributes, after.attributes);
        }
    }
}

#[test]
fn emptied_batches_become_one_and_offsets_still_follow_one_another() {
    let mut world = world();
    for _ in 0..30 {
        world.put("a", true);
    }
    world.put("b", true);
    clean(&mut world);
    let found: Vec<_> =
        headers(&world).iter().map(|h| (h.base_offset.0, h.last_offset().0)).collect();
    assert_eq!(found, [(0, 28), (29, 29), (30, 30)]);
    assert_eq!(headers(&world)[0].record_count, 0);
    assert_eq!(headers(&world)[0].size_bytes(), 61);
}

#[test]
fn small_segments_are_written_into_one_but_not_beyond_its_size() {
    let mut world = world();
    for number in 0..120 {
        world.put(&format!("key-{}", number % 50), true);
        if number % 5 == 0 {
            world.roll();
        }
    }
    let before = world.log().segment_count();
    clean(&mut world);
    let after = world.log().segment_count();
    assert!(20 < before && after <= 5, "{before} segments became {after}");
    let logs = names(&world, ".log");
    assert!(logs.iter().all(|path| world.disk.files()[path].len() <= 3000));
    assert_eq!(logs.len(), after, "the others' files are gone");
    assert_eq!((names(&world, ".cleaned"), names(&world, ".swap")), (vec![], vec![]));
    // A second look finds nothing to do.
    assert!(world.begin_round().is_none());
}

#[test]
fn a_full_map_ends_the_round_and_the_next_goes_on() {
    let mut world = world();
    configure(&mut world, |config| config.segment_bytes = 200_000);
    world.map_bytes = 0;
    let mut round_count = 0;
    for turn in 0..2 {
        for number in 0..400 {
            let key = format!("{number:01000}");
            world.append(&[(Some(key.as_bytes()), true, 0)], Compression::None);
        }
        assert!(turn == 0 || world.log().segment_count() > 3);
        world.commit();
    }
    world.roll();
    while let Some(mut round) = world.begin_round() {
        while world.step(&mut round) {}
        assert!(round.outcome().is_ok());
        assert!(round.counts().key_count < 400, "{:?}", round.counts());
        round_count += 1;
        world.check();
    }
    assert!(2 < round_count, "{round_count} rounds");
    assert_eq!(world.values().len(), 400);
}

#[test]
fn a_producers_last_batch_stays_although_it_is_empty() {
    let mut world = world();
    for sequence in 0..5 {
        world.producer = Some((44, sequence));
        world.put("a", true);
    }
    world.producer = None;
    world.put("a", true);
    clean(&mut world);
    assert_eq!(world.of("a").len(), 1);
    let last = headers(&world).into_iter().find(|header| header.producer_id == 44);
    let last = last.expect("its last batch is there");
    assert_eq!((last.base_offset, last.base_sequence, last.record_count), (Offset(4), 4, 0));
    // Whatever a start knows of it comes from there.
    for path in names(&world, ".snapshot") {
        world.disk.destroy(&path);
    }
    let disk = world.disk.power_cut(sim_disk::Cut::KeepAll);
    world.try_open(&disk).expect("the disk works");
    world.producer = Some((44, 4));
    let again = world.append(&[(Some(b"a"), true, 20)], Compression::None);
    assert!(again.is_none(), "the same sequence is a duplicate");
    world.producer = Some((44, 5));
    world.put("a", true).expect("the next one is not");
}

#[test]
fn young_records_wait_and_old_ones_do_not() {
    let mut world = world();
    configure(&mut world, |config| {
        config.min_compaction_lag_ms = 1000;
        config.set("min.cleanable.dirty.ratio", "1").expect("legal");
    });
    world.put("a", true);
    world.put("a", true);
    world.roll();
    let now = world.now();
    assert!(world.log().filth(now, Offset(i64::MAX)).is_none(), "all of it is young");
    world.ms += 2000;
    let now = world.now();
    let filth = world.log().filth(now, Offset(i64::MAX)).expect("old enough");
    assert_eq!(filth.ratio().percent(), 100);
    assert!(!world.log().is_filthy(&filth), "but not dirty enough");
    configure(&mut world, |config| config.max_compaction_lag_ms = 1500);
    let filth = world.log().filth(now, Offset(i64::MAX)).expect("as before");
    assert!(filth.is_overdue && world.log().is_filthy(&filth));
    clean(&mut world);
    assert_eq!(world.of("a").len(), 1);

    // What lies in the active segment is sealed when it is overdue.
    world.put("a", true);
    world.log().roll_overdue(now).expect("the disk works");
    assert!(world.begin_round().is_none(), "too young");
    world.ms += 2000;
    let now = world.now();
    world.log().roll_overdue(now).expect("the disk works");
    world.clean().expect("the disk works");
    assert_eq!(world.of("a").len(), 1);
}

#[test]
fn a_reader_of_the_old_segment_reads_on() {
    let mut world = world();
    for _ in 0..10 {
        world.put("a", true);
    }
    let end = world.log().end_offset();
    let read = |world: &mut Keyed| match world.log().read(Offset(0), 10_000, end, true) {
        Ok(slice) => slice,
        Err(error) => panic!("{error}"),
    };
    let old = read(&mut world);
    let bytes_of = |slice: &odradek::log::Slice<_>| {
        let mut bytes = vec![0; slice.bytes as usize];
        let file: &sim_disk::SimFile = &slice.file;
        file.read_exact_at(&mut bytes, slice.position).expect("in the file");
        bytes
    };
    let before = bytes_of(&old);
    clean(&mut world);
    assert_eq!(bytes_of(&old), before, "the handle keeps what was there");
    let new = read(&mut world);
    assert!(new.bytes < old.bytes && new.end_offset == old.end_offset);
}

#[test]
fn times_are_found_where_records_are_left() {
    let mut world = world();
    for _ in 0..5 {
        world.put("a", true);
    }
    let first = world.values()[&0].time;
    world.ms += 1000;
    world.put("b", true);
    clean(&mut world);
    let end = world.log().end_offset();
    let log = world.log();
    let found = loop {
        match log.offset_for_timestamp(Timestamp(first), end) {
            Ok(found) => break found,
            Err(ReadError::Cold { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(found.expect("there is one").offset, Offset(4), "the first that is left");
    let newest = loop {
        match log.max_timestamp(end) {
            Ok(found) => break found,
            Err(ReadError::Cold { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(newest.expect("there is one").offset, Offset(5));
}

#[test]
fn a_damaged_batch_ends_the_round_and_nothing_is_taken_away() {
    let mut world = world();
    for _ in 0..6 {
        world.put("a", true);
    }
    world.roll();
    let log = Path::new("/data/device.state-0/00000000000000000000.log");
    let at = headers(&world)[2].size_bytes() * 3 + 70;
    // What is only in the page cache yet is not on stable storage.
    world.disk.damage(log, |bytes| bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1));
    let before = world.disk.files()[log].clone();
    let mut round = world.begin_round().expect("due");
    while world.step(&mut round) {}
    let Err(CleanError::Damaged { segment, position }) = *round.outcome() else {
        panic!("{:?}", round.outcome())
    };
    assert_eq!((segment, position), (Offset(0), at as u64 - 70));
    assert_eq!(world.disk.files()[log], before);
    assert_eq!((names(&world, ".cleaned"), names(&world, ".swap")), (vec![], vec![]));
}

#[test]
fn a_full_disk_ends_the_round_and_leaves_no_files() {
    let mut world = world();
    for number in 0..30 {
        world.put(&format!("key-{}", number % 7), true);
    }
    world.roll();
    let mut round = world.begin_round().expect("due");
    world.disk.set_free_bytes(Some(600));
    while world.step(&mut round) {}
    assert!(matches!(round.outcome(), Err(CleanError::Io(_))), "{:?}", round.outcome());
    assert!(!round.is_stuck());
    assert_eq!((names(&world, ".cleaned"), names(&world, ".swap")), (vec![], vec![]));
    world.disk.set_free_bytes(None);
    clean(&mut world);
    world.check_is_clean();
}

#[test]
fn a_log_that_changed_meanwhile_is_left_alone() {
    let mut world = world();
    for number in 0..60 {
        world.put(&format!("key-{}", number % 7), true);
    }
    world.roll();
    let mut round = world.begin_round().expect("due");
    while round.turn() != CleanTurn::Swap {
        world.step(&mut round);
    }
    // Retention takes the segments away that were copied.
    configure(&mut world, |config| {
        config.cleanup_policy.delete = true;
        config.retention_bytes = 1000;
    });
    world.expire().expect("the disk works");
    assert!(Offset(0) < world.log().start_offset());
    while world.step(&mut round) {}
    assert!(matches!(round.outcome(), Err(CleanError::Outrun)), "{:?}", round.outcome());
    assert_eq!((names(&world, ".cleaned"), names(&world, ".swap")), (vec![], vec![]));
    world.check();
    // And so does whoever raises its start into the middle of a segment.
    configure(&mut world, |config| config.retention_bytes = -1);
    let middle = Offset(world.log().start_offset().0 + 3);
    let raised = world.log().advance_start(middle).expect("it rises");
    world.persist(raised);
    clean(&mut world);
    let disk = world.disk.power_cut(sim_disk::Cut::KeepNothing);
    world.try_open(&disk).expect("the disk works");
    world.check();
    assert_eq!(world.log().start_offset(), middle);
}

#[test]
fn a_scrub_of_a_replaced_segment_says_nothing_about_the_new_one() {
    let mut world = world();
    for _ in 0..6 {
        world.put("a", true);
    }
    world.roll();
    let scrub = world.log().scrub(None).expect("reads").expect("a sealed segment");
    assert!(world.log().has_scrubbed(&scrub));
    world.clean().expect("the disk works");
    assert!(!world.log().has_scrubbed(&scrub));
    let mut scrub = world.log().scrub(None).expect("reads").expect("the new one");
    assert_eq!(scrub.step(1 << 20).expect("reads"), odradek::log::Scrubbed::Sound);
}
