//! The whole site under a seed: the real `broker`, `replica`, `quorum`, `controller`, `group`, `log`
//! and `journal` over a simulated clock, network and disks (style.md §6, "simulation").
//!
//! `ODRADEK_SIM_SEEDS=1000..2000 cargo test --release --test sim` runs other seeds than CI's;
//! `ODRADEK_SIM_TIMES=1` has a line for each, with its hash, and `ODRADEK_SIM_TRACE=1` shows all as it
//! goes. A seed that fails ends with the command that replays it.
//!
//! A run in which nothing goes wrong proves nothing. So 64 seeds must leave some of each; the floors
//! are less than half of what CI's seeds leave:
//!
//! | what | floor | found |
//! |---|---|---|
//! | acks | 9000 | 18757 |
//! | elections | 500 | 1043 |
//! | truncations | 130 | 279 |
//! | power cuts | 160 | 339 |
//! | power cuts of all nodes | 40 | 86 |
//! | partitions | 150 | 316 |
//! | damaged recoveries | 15 | 48 |
//! | simulated minutes | 20 | 43 |
//! | member changes | 60 | 129 |
//! | flipped bits | 25 | 60 |

#[path = "support/plenty.rs"]
mod plenty;
#[path = "support/sim_disk.rs"]
mod sim_disk;

mod sim {
    pub mod acting;
    pub mod chance;
    pub mod checkers;
    pub mod clients;
    pub mod config;
    pub mod counts;
    pub mod event;
    pub mod flushing;
    pub mod links;
    #[cfg(feature = "mutants")]
    mod mutants;
    pub mod net;
    pub mod node;
    pub mod run;
    pub mod trace;
    mod weak;
    pub mod world;
}

use std::ops::Range;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::counts::Counts;
use sim::run::{Outcome, run};

/// What CI runs.
const SEEDS: Range<u64> = 0..64;

/// Seeds that fail before the rest is not begun any more; `ODRADEK_SIM_FAILURES` says otherwise.
const FAILURES_MAX: usize = 3;

/// What so many seeds as CI's must leave at least: see the module.
const FLOORS: [(&str, fn(&Counts) -> u64, u64); 11] = [
    ("acks", |counts| counts.acks, 9000),
    ("elections", |counts| counts.elections, 500),
    ("truncations", |counts| counts.truncations, 130),
    ("power cuts", |counts| counts.power_cuts, 160),
    ("power cuts of all nodes", |counts| counts.power_cuts_of_all, 40),
    ("partitions", |counts| counts.partitions, 150),
    ("damaged recoveries", |counts| counts.damaged_recoveries, 15),
    ("syncs ahead of commits", |counts| counts.syncs_ahead, 1000),
    ("simulated minutes", |counts| counts.simulated_us / 60_000_000, 20),
    ("member changes", |counts| counts.member_changes, 60),
    ("flipped bits", |counts| counts.flips + counts.rots, 25),
];

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ODRADEK_SIM_SEEDS") else { return SEEDS };
    let numbers = text.split_once("..");
    let range = numbers.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    let range = range.filter(|range: &Range<u64>| !range.is_empty());
    range.unwrap_or_else(|| {
        panic!("ODRADEK_SIM_SEEDS is {text:?}, and must be a range of seeds: 1000..2000, say")
    })
}

fn failures_max() -> usize {
    let Ok(text) = std::env::var("ODRADEK_SIM_FAILURES") else { return FAILURES_MAX };
    text.parse()
        .unwrap_or_else(|_| panic!("ODRADEK_SIM_FAILURES is {text:?}, and must be a number"))
}

/// Whether somebody wants a line for each seed.
fn is_verbose() -> bool {
    std::env::var_os("ODRADEK_SIM_TIMES").is_some()
}

fn run_timed(seed: u64) -> Outcome {
    let began = std::time::Instant::now();
    let outcome = run(seed, |_| {});
    if is_verbose() {
        let Counts { events, simulated_us, .. } = outcome.counts;
        let (seconds, took) = (simulated_us / 1_000_000, began.elapsed());
        let hash = outcome.hash;
        eprintln!("seed {seed}: hash {hash:016x}, {events} events, {seconds} s, took {took:?}");
    }
    outcome
}

#[test]
fn a_site_loses_nothing_and_heals_by_itself() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((0, Counts::default()));
    let failures = Mutex::new(Vec::new());
    let failures_max = failures_max();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let failed = failures.lock().expect("alive").len();
                    if seeds.end <= seed || failures_max <= failed {
                        return;
                    }
                    let outcome = run_timed(seed);
                    let mut total = total.lock().expect("alive");
                    total.0 += 1;
                    total.1.add(&outcome.counts);
                    if let Err(why) = outcome.verdict {
                        failures.lock().expect("alive").push((seed, why.0, outcome.trace));
                    }
                }
            });
        }
    });
    let (seed_count, total) = total.into_inner().expect("alive");
    let failures = failures.into_inner().expect("alive");
    for (seed, why, trace) in &failures {
        eprintln!("{trace}seed {seed}: {why}");
        let range = format!("{seed}..{}", seed + 1);
        eprintln!(
            "again: ODRADEK_SIM_TRACE=1 ODRADEK_SIM_SEEDS={range} cargo test --test sim a_site \
             -- --nocapture\n"
        );
    }
    println!("sim: {seed_count} seeds, {total}, {} violations", failures.len());
    if is_verbose() {
        println!("sim: {total:?}");
    }
    assert!(failures.is_empty(), "seeds {:?}", failures.iter().map(|f| f.0).collect::<Vec<_>>());
    if seed_count < SEEDS.end {
        return;
    }
    for (name, count, floor) in FLOORS {
        let found = count(&total);
        assert!(floor <= found, "{seed_count} seeds leave {found} {name}, {floor} are to be there");
    }
}

/// The hash that another process comes to.
fn hash_elsewhere(seed: u64) -> String {
    let test = std::env::current_exe().expect("it runs");
    let output = Command::new(test)
        .args(["--exact", "a_site_loses_nothing_and_heals_by_itself", "--nocapture"])
        .env("ODRADEK_SIM_SEEDS", format!("{seed}..{}", seed + 1))
        .env("ODRADEK_SIM_TIMES", "1")
        .output()
        .expect("it starts");
    let words = String::from_utf8(output.stderr).expect("ours");
    let found = words.split_once("hash ").and_then(|(_, rest)| rest.get(..16));
    found.unwrap_or_else(|| panic!("no hash: {words}")).to_owned()
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hash = |seed| format!("{:016x}", run(seed, |_| {}).hash);
    let here = hash(7);
    assert_eq!(here, hash(7));
    assert_eq!(here, hash_elsewhere(7));
    assert_ne!(here, hash(8));
}
