//! Compaction against a naive map: keys, tombstones, rounds and stops at random; and the same
//! stopped at every write, sync and name change in turn. After anything every reader sees each
//! key's last value, at the offset where it was written.
//!
//! `ODRADEK_STOP=n` replays one stop, `ODRADEK_SEED=n` one random run. Semantics.md 2.6.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use keyed::{Keyed, config};
use odradek::record::Compression;
use sim_disk::{Cut, Rng, SimDisk};

/// What a partition goes through; ends early when the disk stops.
fn run(world: &mut Keyed, rng: &mut Rng) -> Option<()> {
    for round in 0..8 {
        for _ in 0..12 {
            world.random_batch(rng, 9)?;
            if rng.below(3) != 0 {
                world.commit()?;
            }
        }
        world.commit()?;
        match round {
            // Writes go on while a round does.
            2 | 6 => {
                if let Some(mut round) = world.begin_round() {
                    while world.step(&mut round) {
                        world.random_batch(rng, 9)?;
                    }
                    round.outcome().as_ref().ok()?;
                }
                world.commit()?;
            }
            3 | 4 | 7 => {
                world.ms += 300;
                world.clean()?;
            }
            _ => {}
        }
    }
    Some(())
}

fn stopped_at(stop: u64) -> Keyed {
    let mut world = Keyed::new(config());
    world.disk.fail_after(stop);
    let _ = run(&mut world, &mut Rng(1));
    world
}

fn after(disk: &SimDisk, seed: u64) -> SimDisk {
    match seed % 4 {
        0 => disk.power_cut(Cut::KeepAll),
        1 => disk.power_cut(Cut::KeepNothing),
        _ => disk.power_cut(Cut::KeepSome(seed)),
    }
}

fn stops() -> Vec<u64> {
    if let Ok(stop) = std::env::var("ODRADEK_STOP") {
        return vec![stop.parse().expect("ODRADEK_STOP is a number")];
    }
    let mut world = Keyed::new(config());
    let begin = world.disk.operation_count();
    run(&mut world, &mut Rng(1)).expect("the disk does not stop");
    world.check();
    (0..world.disk.operation_count() - begin).collect()
}

#[test]
fn no_stop_loses_a_keys_last_value() {
    let stops = stops();
    assert!(stops.len() == 1 || 300 < stops.len(), "{}", stops.len());
    for stop in stops {
        for seed in 0..2 {
            println!("stop {stop}, seed {seed}");
            let mut world = stopped_at(stop);
            let disk = after(&world.disk, stop * 3 + seed);
            world.ms += 1000;
            world.try_open(&disk).expect("the disk works");
            world.check();
            // And it goes on: what is written and cleaned now survives one more stop.
            let mut rng = Rng(seed);
            for _ in 0..10 {
                world.random_batch(&mut rng, 9).expect("the disk works");
            }
            world.commit().expect("the disk works");
            world.clean().expect("the disk works");
            world.check();
            world.check_is_clean();
            let disk = after(&world.disk, stop * 3 + seed + 1);
            world.try_open(&disk).expect("the disk works");
            world.check();
        }
    }
}

#[test]
fn recovery_of_a_stopped_round_may_be_stopped_anywhere() {
    for stop in stops().into_iter().step_by(11) {
        let mut world = stopped_at(stop);
        let mut disk = after(&world.disk, stop);
        for step in 0.. {
            println!("stop {stop}, then {step}");
            disk.fail_after(step);
            let is_whole = world.try_open(&disk).is_some();
            disk = after(&disk, stop + step);
            if is_whole {
                break;
            }
        }
        world.try_open(&disk).expect("the disk works");
        world.check();
    }
}

#[test]
fn a_random_life_never_loses_a_keys_last_value() {
    let seeds: Vec<u64> = match std::env::var("ODRADEK_SEED") {
        Ok(seed) => vec![seed.parse().expect("ODRADEK_SEED is a number")],
        Err(_) => (0..60).collect(),
    };
    for seed in seeds {
        println!("seed {seed}");
        live(&mut Rng(seed));
    }
}

fn live(rng: &mut Rng) {
    let mut world = Keyed::new(config());
    world.codecs = Compression::ALL.to_vec();
    world.config.cleanup_policy.delete = rng.flip();
    world.config.retention_bytes = if world.config.cleanup_policy.delete { 12_000 } else { -1 };
    world.config.min_compaction_lag_ms = [0, 0, 40][rng.below(3) as usize];
    let config = world.config.clone();
    world.log().set_config(config);
    let key_count = 1 + rng.below(40);
    let mut under_way = None;
    for _ in 0..400 {
        world.ms += rng.below(20);
        match rng.below(24) {
            0..12 => world.random_batch(rng, key_count).expect("the disk works"),
            12..15 => world.commit().expect("the disk works"),
            15 => world.expire().expect("the disk works"),
            16 => {
                let now = world.now();
                world.log().roll(now.boot).expect("the disk works");
            }
            17 if under_way.is_none() => under_way = world.begin_round(),
            18 => world.log().close_idle_handles(),
            19 if under_way.is_none() => {
                world.clean().expect("the disk works");
                world.check_is_clean();
            }
            20 if rng.below(3) == 0 => {
                under_way = None;
                let disk = after(&world.disk, rng.next());
                world.try_open(&disk).expect("the disk works");
                world.check();
            }
            21 if rng.below(6) == 0 => {
                under_way = None;
                world.close();
                let disk = world.disk.clone();
                let report = world.try_open(&disk).expect("the disk works");
                assert!(report.was_clean);
                world.check();
            }
            _ => {
                for _ in 0..4 {
                    if let Some(round) = &mut under_way {
                        if !world.step(round) {
                            under_way = None;
                        }
                    }
                }
            }
        }
    }
    world.check();
}
