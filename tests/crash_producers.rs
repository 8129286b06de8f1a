//! What a log knows of its producers, through every stop: the log stopped at each write, sync and
//! name change in turn, by a kill and by power cuts, and recovered; its snapshots damaged, deleted
//! or old. What it knows afterwards is what the batches that are still there, and those that
//! retention took, say together (reliability.md T2, S1 and S3).
//!
//! `ODRADEK_STOP=n` replays one stop.

#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use odradek::ids::Offset;
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::log::{Log, LogError, SequenceError};
use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::topic_config::TopicConfig;
use partition::{Fate, Random, WALL, World, small_config};
use sim_disk::SimDisk;

/// A batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    epoch: i16,
    sequence: i32,
    count: usize,
    offset: i64,
}

/// Every batch that each producer ever stored, in order; retention takes nothing from here.
type History = BTreeMap<i64, Vec<Stored>>;

/// Some write all the time, others so rarely that retention takes all they wrote.
const BUSY_PRODUCERS: u64 = 3;
const QUIET_PRODUCERS: u64 = 30;

fn config() -> TopicConfig {
    TopicConfig { retention_bytes: 12_000, segment_bytes: 3000, ..small_config() }
}

/// The next batch of some producer, now and then of a new epoch.
fn send(world: &mut World, random: &mut Random, history: &mut History) -> Option<()> {
    let is_quiet = random.is_one_in(6);
    let id =
        if is_quiet { 100 + random.below(QUIET_PRODUCERS) } else { random.below(BUSY_PRODUCERS) };
    let id = id as i64;
    let stored = history.entry(id).or_default();
    let (epoch, sequence) = match stored.last() {
        Some(last) if random.is_one_in(25) => (last.epoch + 1, 0),
        Some(last) => (last.epoch, last.sequence + last.count as i32),
        None => (0, 0),
    };
    let count = 1 + random.below(3) as usize;
    let padding = random.below(120) as usize;
    let offset = world.log().end_offset().0;
    world.append_by((id, epoch, sequence), count, padding).ok()?;
    history.entry(id).or_default().push(Stored { epoch, sequence, count, offset });
    Some(())
}

/// What the log goes through; ends early when the disk stops.
fn run(world: &mut World, random: &mut Random, history: &mut History) -> Option<()> {
    for round in 0..40 {
        for _ in 0..3 {
            if random.is_one_in(4) {
                world.append(1, 100).ok()?;
            } else {
                send(world, random, history)?;
            }
        }
        if round % 3 != 2 {
            world.commit();
        }
        match round {
            7 | 19 | 31 => world.checkpoint().ok()?,
            11 | 17 | 23 | 29 | 35 => {
                world.ms += 60;
                world.saves_producers = round != 11 && round != 17;
                world.expire().ok()?;
            }
            13 => {
                let to = Offset((world.truth.start + world.truth.durable) / 2);
                let state = world.log().advance_start(to)?;
                world.persist(state);
                world.truth.start = to.0;
            }
            15 | 27 => {
                // Long after the last time, so that a snapshot is due for its age.
                world.ms += 100_000;
                let now = world.now();
                world.log().maybe_save_producers(now);
            }
            _ => {}
        }
    }
    Some(())
}

/// A batch as a producer sends it.
fn batch(id: i64, stored: &Stored) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for _ in 0..stored.count {
        builder.push(Timestamp(WALL), None, Some(b"again"), &[]);
    }
    builder.set_producer(id, stored.epoch, stored.sequence);
    builder.finish(Compression::None)
}

/// What the log answers to a batch that is not new.
fn answer(world: &World, log: &mut Log<SimDisk>, id: i64, stored: &Stored) -> SequenceError {
    match log.append(world.now(), &mut batch(id, stored)) {
        Err(LogError::Sequence(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{stored:?} of {id} was stored once more"),
    }
}

/// The log knows of each producer what the history says of it, up to the log's end.
#[track_caller]
fn check(world: &World, log: &mut Log<SimDisk>, history: &History) {
    let end = log.end_offset().0;
    let mut known: Vec<(i64, i16, i32)> = Vec::new();
    for (id, stored) in history {
        let is_there = |one: &&Stored| one.offset + one.count as i64 <= end;
        let stored: Vec<Stored> = stored.iter().filter(is_there).copied().collect();
        let Some(last) = stored.last() else { continue };
        known.push((*id, last.epoch, last.sequence + last.count as i32 - 1));
        let of_epoch = stored.iter().rev().filter(|one| one.epoch == last.epoch);
        for (back, one) in of_epoch.enumerate() {
            let found = answer(world, log, *id, one);
            if back < 5 {
                let SequenceError::Duplicate(earlier) = found else { panic!("{one:?}: {found:?}") };
                assert_eq!(earlier.base_offset, Offset(one.offset), "{id}: {one:?}");
            } else {
                assert_eq!(found, SequenceError::OutOfOrder, "{id}: {one:?}");
            }
        }
        let older = stored.iter().rev().find(|one| one.epoch < last.epoch);
        if let Some(older) = older {
            assert_eq!(answer(world, log, *id, older), SequenceError::StaleEpoch);
        }
    }
    let found: Vec<_> =
        log.producers().map(|one| (one.producer_id, one.epoch, one.last_sequence)).collect();
    assert_eq!(found, known, "at {end}");
}

/// The run up to `stop`, its disk as it was then.
fn stopped_at(stop: u64) -> (World, History) {
    let mut world = World::new(config());
    let mut history = History::new();
    world.disk.fail_after(stop);
    let _ = run(&mut world, &mut Random::new(7), &mut history);
    (world, history)
}

fn after(disk: &SimDisk, seed: u64) -> SimDisk {
    if seed == 0 { disk.after_kill() } else { disk.after_power_cut(&mut Random::new(seed)) }
}

fn stops() -> Vec<u64> {
    if let Ok(stop) = std::env::var("ODRADEK_STOP") {
        return vec![stop.parse().expect("ODRADEK_STOP is a number")];
    }
    let mut world = World::new(config());
    let begin = world.disk.operation_count();
    run(&mut world, &mut Random::new(7), &mut History::new()).expect("the disk does not stop");
    (0..world.disk.operation_count() - begin).collect()
}

#[test]
fn no_stop_changes_what_is_known_of_producers() {
    let stops = stops();
    assert!(stops.len() == 1 || 100 < stops.len(), "{}", stops.len());
    for stop in stops {
        for seed in 0..3 {
            println!("stop {stop}, seed {seed}");
            let (mut world, history) = stopped_at(stop);
            let disk = after(&world.disk, stop * 3 + seed);
            world.open(disk);
            let mut log = world.log.take().expect("open");
            check(&world, &mut log, &history);
            // Recovered once more, without a word written in between.
            let again = after(&world.disk, stop * 3 + seed + 1);
            let (mut logs, _) = world.look(&again);
            check(&world, &mut logs[0], &history);
        }
    }
}

#[test]
fn recovery_may_be_stopped_anywhere() {
    for stop in stops().into_iter().step_by(11) {
        let (world, history) = stopped_at(stop);
        let cut = after(&world.disk, stop);
        for step in 1.. {
            println!("stop {stop}, then {step}");
            let disk = cut.after_kill();
            disk.fail_after(step);
            let is_whole = world.try_look(&disk).is_some();
            let again = after(&disk, stop + step);
            let (mut logs, _) = world.look(&again);
            check(&world, &mut logs[0], &history);
            if is_whole {
                break;
            }
        }
    }
}

fn snapshots(disk: &SimDisk) -> Vec<PathBuf> {
    let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|one| one == "snapshot");
    disk.paths().into_iter().filter(is_snapshot).collect()
}

/// A whole run without retention, so that the segments can tell everything again.
fn full_run(is_clean: bool) -> (World, History) {
    let mut world = World::new(TopicConfig { retention_bytes: -1, ..config() });
    let mut history = History::new();
    let mut random = Random::new(3);
    for _ in 0..150 {
        send(&mut world, &mut random, &mut history).expect("the disk works");
    }
    world.commit();
    if is_clean {
        world.close();
    }
    (world, history)
}

#[test]
fn snapshots_are_caches() {
    for is_clean in [false, true] {
        let (world, history) = full_run(is_clean);
        let count = snapshots(&world.disk).len();
        assert!(5 < count, "{count}");
        let look = |change: &dyn Fn(&SimDisk, &Path, usize)| {
            let disk = world.disk.after_kill();
            for (place, path) in snapshots(&disk).iter().enumerate() {
                change(&disk, path, place);
            }
            let (mut logs, _) = world.look(&disk);
            check(&world, &mut logs[0], &history);
        };
        look(&|_, _, _| {});
        look(&|disk, path, _| disk.remove_file(path).expect("there"));
        look(&|disk, path, place| {
            if 1 < place {
                disk.remove_file(path).expect("there");
            }
        });
        look(&|disk, path, _| disk.flip(path, 9, 0x40));
        look(&|disk, path, place| {
            if place + 1 == count {
                disk.flip(path, 20, 1);
            }
        });
        look(&|disk, path, _| {
            let file = disk.open(path, Open::Write).expect("there");
            file.set_len(disk.len_of(path) as u64 / 2).expect("cut");
        });
        look(&|disk, path, _| {
            // As long as it was, and zeros, as a power cut leaves it.
            let file = disk.open(path, Open::Write).expect("there");
            file.write_all_at(&vec![0; disk.len_of(path)], 0).expect("written");
        });
        look(&|disk, path, place| {
            // One of the future, which tells of batches that are not there.
            if place == 0 {
                let to = path.with_file_name("00000000000000009999.snapshot");
                disk.rename(path, &to).expect("there");
            }
        });
    }
}

/// A start after a clean stop needs nothing but the newest snapshot: no header is read for it.
#[test]
fn a_clean_stop_leaves_nothing_to_read() {
    let (world, history) = full_run(true);
    let newest = snapshots(&world.disk).pop().expect("there are some");
    let end: i64 = newest.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits");
    let (mut logs, _) = world.look(&world.disk.after_kill());
    assert_eq!(logs[0].end_offset(), Offset(end));
    check(&world, &mut logs[0], &history);
}
