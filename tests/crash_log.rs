//! The log stopped at every write, sync and name change in turn, by a kill and by power cuts, and
//! recovered; recovery itself stopped at every step and begun again. No acknowledged record is
//! lost, no offset has another value, and what is served is what was written.
//!
//! The journal is a list in memory that never fails: what it promises is exactly what was
//! committed. `ODRADEK_STOP=n` replays one stop.

#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use odradek::ids::Offset;
use partition::{Fate, Random, World, random_batch, small_config};
use sim_disk::SimDisk;

/// What the log goes through; ends early when the disk stops.
fn run(world: &mut World, random: &mut Random) -> Option<()> {
    for round in 0..24 {
        for _ in 0..3 {
            random_batch(world, random).ok()?;
        }
        // Some of it is never acknowledged.
        if round % 3 != 2 {
            world.commit();
        }
        match round {
            5 | 13 => world.checkpoint().ok()?,
            9 | 17 | 21 => {
                world.ms += 60;
                world.expire().ok()?;
            }
            11 => {
                let to = Offset((world.truth.start + world.truth.durable) / 2);
                let state = world.log().advance_start(to)?;
                world.persist(state);
                world.truth.start = to.0;
            }
            15 => world.log().close_idle_handles(),
            _ => {}
        }
    }
    Some(())
}

fn world() -> World {
    let config = odradek::topic_config::TopicConfig { retention_bytes: 15_000, ..small_config() };
    World::new(config)
}

/// The run up to `stop`, its disk as it was then.
fn stopped_at(stop: u64) -> World {
    let mut world = world();
    world.disk.fail_after(stop);
    // The last failures may be of index files only, which nobody misses.
    let _ = run(&mut world, &mut Random::new(1));
    world
}

fn after(disk: &SimDisk, seed: u64) -> SimDisk {
    if seed == 0 { disk.after_kill() } else { disk.after_power_cut(&mut Random::new(seed)) }
}

fn stops() -> Vec<u64> {
    match std::env::var("ODRADEK_STOP") {
        Ok(stop) => vec![stop.parse().expect("ODRADEK_STOP is a number")],
        Err(_) => {
            let mut world = world();
            let begin = world.disk.operation_count();
            run(&mut world, &mut Random::new(1)).expect("the disk does not stop");
            (0..world.disk.operation_count() - begin).collect()
        }
    }
}

#[test]
fn no_stop_loses_what_was_acknowledged() {
    let stops = stops();
    assert!(stops.len() == 1 || 100 < stops.len(), "{}", stops.len());
    for stop in stops {
        for seed in 0..4 {
            println!("stop {stop}, seed {seed}");
            let mut world = stopped_at(stop);
            let disk = after(&world.disk, stop * 4 + seed);
            let report = world.open(disk);
            assert!(report.partitions[0].is_sound(), "{report:?}");
            world.check();
            // And it goes on: what is written now is read back after one more stop.
            random_batch(&mut world, &mut Random::new(seed)).expect("the disk works");
            world.commit();
            let disk = after(&world.disk, stop * 4 + seed + 1);
            world.open(disk);
            world.check();
        }
    }
}

#[test]
fn recovery_may_be_stopped_anywhere() {
    for stop in stops().into_iter().step_by(7) {
        let mut world = stopped_at(stop);
        let cut = after(&world.disk, stop);
        for step in 1.. {
            println!("stop {stop}, then {step}");
            let disk = cut.after_kill();
            disk.fail_after(step);
            let is_whole = world.try_look(&disk).is_some();
            let again = after(&disk, stop + step);
            let (logs, report) = world.look(&again);
            assert!(report.partitions[0].is_sound(), "{report:?}");
            assert!(world.truth.durable <= logs[0].end_offset().0);
            if is_whole {
                break;
            }
        }
        world.open(cut);
        world.check();
    }
}
