//! The log against a naive model: whatever is done to it, it says what was written to it, or says
//! that it cannot.
//!
//! Seeded; `ODRADEK_SEED=n cargo test --test model` replays one run.

#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::{Path, PathBuf};

use odradek::ids::Offset;
use odradek::journal::disk::Disk;
use odradek::time::Timestamp;
use partition::{
    Fate, Random, WALL, World, is_cache, random_batch, read_all, read_at, small_config, warm,
};
use sim_disk::SimDisk;

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ODRADEK_SEED") {
        Ok(seed) => vec![seed.parse().expect("ODRADEK_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

fn hurt_a_cache(disk: &SimDisk, random: &mut Random) {
    let caches: Vec<PathBuf> = disk.paths().into_iter().filter(|path| is_cache(path)).collect();
    if caches.is_empty() {
        return;
    }
    let path = &caches[random.below(caches.len() as u64) as usize];
    let len = disk.len_of(path);
    if len == 0 || random.is_one_in(3) {
        disk.remove_file(path).expect("it is there");
    } else {
        disk.flip(path, random.below(len as u64) as usize, 1 << random.below(8));
    }
}

fn random_read(world: &World, random: &mut Random) {
    let log = world.log.as_ref().expect("open");
    let (start, end) = (log.start_offset().0, log.end_offset().0);
    let from = start + random.below((end - start + 1) as u64) as i64;
    let limit = Offset(start + random.below((end - start + 1) as u64) as i64);
    let max_bytes = random.below(3000);
    let (records, next) = read_at(log, Offset(from), max_bytes, limit).expect("undamaged");
    for &(offset, value) in &records {
        assert!(offset < limit.0, "nothing beyond the limit");
        assert_eq!(world.truth.values.get(&offset), Some(&value), "offset {offset}");
    }
    assert!(from <= next.0);
    // Whole batches that hold `from`, without a gap.
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        assert!(first.0 <= from && from <= last.0);
        assert_eq!(last.0 - first.0 + 1, records.len() as i64);
    }
}

fn random_time_lookup(world: &World, random: &mut Random) {
    let log = world.log.as_ref().expect("open");
    let (start, end) = (log.start_offset().0, log.end_offset().0);
    let limit = start + random.below((end - start + 1) as u64) as i64;
    let times = || world.truth.times.range(start..);
    let at = WALL + random.below(world.ms + 600) as i64;
    let want = times().find(|&(_, &time)| at <= time).map(|(&o, &t)| (o, t));
    let found = warm(|| log.offset_for_timestamp(Timestamp(at), Offset(limit)));
    let found = found.map(|found| (found.offset.0, found.timestamp.0));
    assert_eq!(found, want.filter(|&(offset, _)| offset < limit), "at {at}, limit {limit}");

    let newest = warm(|| log.max_timestamp(Offset(end))).map(|found| found.timestamp.0);
    assert_eq!(newest, times().map(|(_, &time)| time).max());
}

fn step(world: &mut World, random: &mut Random) {
    match random.below(100) {
        0..50 => {
            for _ in 0..=random.below(6) {
                random_batch(world, random).expect("the disk works");
            }
            if !random.is_one_in(4) {
                world.commit();
            }
        }
        50..65 => random_read(world, random),
        65..75 => random_time_lookup(world, random),
        75..79 => {
            world.ms += 50;
            world.expire().expect("the disk works");
        }
        79..82 => {
            let (start, durable) = (world.truth.start, world.truth.durable);
            let to = start + random.below((durable - start) as u64 / 4 + 1) as i64;
            if let Some(state) = world.log().advance_start(Offset(to)) {
                world.persist(state);
            }
            world.truth.start = world.log().start_offset().0;
        }
        82..84 => world.checkpoint().expect("the disk works"),
        84..87 => world.log().close_idle_handles(),
        87..90 => {
            world.close();
            let disk = world.disk.after_kill();
            if random.is_one_in(2) {
                hurt_a_cache(&disk, random);
            }
            let report = world.open(disk);
            assert!(report.was_clean);
            world.check();
        }
        90..95 => {
            let disk = world.disk.after_kill();
            for _ in 0..random.below(3) {
                hurt_a_cache(&disk, random);
            }
            let end = world.log().end_offset();
            let report = world.open(disk);
            assert!(!report.was_clean && report.partitions[0].is_sound());
            assert_eq!(world.log().end_offset(), end, "a kill loses nothing");
            world.check();
        }
        _ => {
            let disk = world.disk.after_power_cut(random);
            if random.is_one_in(3) {
                hurt_a_cache(&disk, random);
            }
            let report = world.open(disk);
            assert!(report.partitions[0].is_sound(), "{report:?}");
            world.check();
        }
    }
}

#[test]
fn the_log_is_its_model() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        println!("seed {seed}");
        let mut world = World::new(small_config());
        for _ in 0..120 {
            step(&mut world, &mut random);
        }
        world.check();
    }
}

/// Any byte of any file flipped, at rest: found or harmless, never served.
#[test]
fn a_flipped_byte_is_found_or_harmless() {
    for seed in seeds(8) {
        let mut random = Random::new(seed);
        println!("seed {seed}");
        let mut world = World::new(small_config());
        for number in 0..40 {
            random_batch(&mut world, &mut random).expect("the disk works");
            world.commit();
            if number == 20 {
                world.checkpoint().expect("the disk works");
            }
        }
        if seed % 2 == 0 {
            world.close();
        }
        for path in world.disk.paths() {
            for _ in 0..12 {
                flip_and_look(&world, &path, &mut random);
            }
        }
    }
}

fn flip_and_look(world: &World, path: &Path, random: &mut Random) {
    let disk = world.disk.after_kill();
    let len = disk.len_of(path);
    if len == 0 {
        return;
    }
    let at = random.below(len as u64) as usize;
    disk.flip(path, at, 1 << random.below(8));
    if path.ends_with("meta.properties") {
        // The directory may say that it belongs to somebody else; that is found.
        return;
    }
    let (logs, report) = world.look(&disk);
    let what = format!("{} byte {at}: {report:?}", path.display());
    assert_eq!(logs.len(), 1, "{what}");
    let log = &logs[0];
    assert!(world.truth.durable <= log.end_offset().0, "{what}");
    match read_all(log, 700) {
        Err(_) => assert!(path.extension().is_some_and(|suffix| suffix == "log"), "{what}"),
        Ok(found) => {
            let lost: i64 = log.holes().iter().map(|hole| hole.to.0 - hole.from.0).sum();
            for &(offset, value) in &found {
                assert_eq!(world.truth.values.get(&offset), Some(&value), "{what}");
            }
            let want = world.truth.values.range(world.truth.start..).count() as i64;
            assert_eq!(found.len() as i64 + lost, want, "{what}");
        }
    }
}
