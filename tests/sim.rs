//! The whole site under a seed: the real `broker`, `replica`, `quorum`, `controller`, `group`, `log`
//! and `journal` over a simulated clock, network and disks (style.md §6, "simulation").
//!
//! `ODRADEK_SIM_SEEDS=1000..2000 cargo test --release --test sim` runs other seeds than CI's;
//! `ODRADEK_SIM_TIMES=1` has a line for each, with its hash, and `ODRADEK_SIM_TRACE=1` shows all as it
//! goes. A seed that fails ends with the command that replays it.
//!
//! A run in which nothing goes wrong proves nothing. So 64 seeds must leave some of each; the floors
//! are below what CI's seeds leave:
//!
//! | what | floor | found |
//! |---|---|---|
//! | acks | 9000 | 18604 |
//! | elections | 500 | 1173 |
//! | truncations | 130 | 320 |
//! | power cuts | 160 | 308 |
//! | power cuts of all nodes | 40 | 61 |
//! | partitions | 150 | 322 |
//! | damaged recoveries | 15 | 38 |
//! | syncs ahead of commits | 1000 | 10816 |
//! | simulated minutes | 20 | 48 |
//! | member changes | 60 | 128 |
//! | bits flipped in what was not synced | 20 | 49 |
//! | kills | 60 | 153 |
//! | lost journals | 1 | 4 |
//! | bits that rotted in sealed segments | 25 | 54 |
//! | fetches of an earlier incarnation | 60 | 156 |
//! | records read | 50000 | 116626 |
//! | commits of groups | 4000 | 10442 |
//!
//! Nor does a rule prove anything that is never asked. So each rule of `checkers::rules` must have been
//! asked so often:
//!
//! | rule | floor | asked |
//! |---|---|---|
//! | I1 | 30000 | 95504 |
//! | I2 | 50000 | 132683 |
//! | I3 | 8000 | 20532 |
//! | I4 | 20000 | 58317 |
//! | I5 | 20000 | 58905 |
//! | I6 | 8000 | 20340 |
//! | I7 | 20000 | 58317 |
//! | I8 | 30000 | 94539 |
//! | R1 | 70000 | 202942 |
//! | R2 | 700 | 1602 |
//! | R3 | 30000 | 86421 |
//! | R4 | 10000 | 27463 |
//! | R5 | 10000 | 31994 |
//! | R6 | 10000 | 40105 |
//! | R7 | 100000 | 410549 |
//! | R8 | 1000 | 4489 |
//! | R9 | 400 | 1173 |
//! | R10 | 30000 | 92296 |
//! | R11 | 7000 | 18929 |
//! | Q1 | 200 | 599 |
//! | Q2 | 20000 | 74684 |
//! | Q3 | 10000 | 46401 |
//! | Q4 | 9000 | 25166 |
//! | Q5 | 50000 | 142628 |
//! | Q6 | 100 | 324 |
//! | Q7 | 90 | 236 |
//! | G1 | 200 | 619 |
//! | G2 | 3000 | 10473 |
//! | G3 | 4000 | 10792 |
//! | G4 | 100 | 346 |
//! | G5 | 500 | 1391 |
//! | G6 | 400 | 1089 |
//! | S1 | 900 | 2372 |
//!
//! A question counts whatever it is about: that R8 asks what a card lacks does not say that one
//! lacked something. That a rule sees what breaks it is shown by the test beside it, or by `mutants`.

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

use std::collections::BTreeSet;
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
const FLOORS: [(&str, fn(&Counts) -> u64, u64); 17] = [
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
    ("bits flipped in what was not synced", |counts| counts.flips, 20),
    ("kills", |counts| counts.kills, 60),
    ("lost journals", |counts| counts.lost_journals, 1),
    ("bits that rotted", |counts| counts.rots, 25),
    ("late fetches", |counts| counts.late_fetches, 60),
    ("records read", |counts| counts.read, 50_000),
    ("commits of groups", |counts| counts.commits, 4000),
];

/// How often so many seeds must at least ask each rule: see the module.
const ASKED_FLOORS: [(&str, u64); 33] = [
    ("I1", 30_000),
    ("I2", 50_000),
    ("I3", 8000),
    ("I4", 20_000),
    ("I5", 20_000),
    ("I6", 8000),
    ("I7", 20_000),
    ("I8", 30_000),
    ("R1", 70_000),
    ("R2", 700),
    ("R3", 30_000),
    ("R4", 10_000),
    ("R5", 10_000),
    ("R6", 10_000),
    ("R7", 100_000),
    ("R8", 1000),
    ("R9", 400),
    ("R10", 30_000),
    ("R11", 7000),
    ("Q1", 200),
    ("Q2", 20_000),
    ("Q3", 10_000),
    ("Q4", 9000),
    ("Q5", 50_000),
    ("Q6", 100),
    ("Q7", 90),
    ("G1", 200),
    ("G2", 3000),
    ("G3", 4000),
    ("G4", 100),
    ("G5", 500),
    ("G6", 400),
    ("S1", 900),
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
    println!("sim: asked: {}", total.asked_words());
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
    for (rule, floor) in ASKED_FLOORS {
        let asked = total.asked.get(rule).copied().unwrap_or(0);
        assert!(floor <= asked, "{seed_count} seeds ask {rule} {asked} times, {floor} are to be");
    }
}

#[test]
fn every_rule_must_be_asked() {
    let list = include_str!("sim/checkers/rules/mod.rs");
    let names = list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let rules: BTreeSet<String> = names.map(str::to_uppercase).collect();
    let floors = ASKED_FLOORS.iter().filter(|(_, floor)| 0 < *floor);
    assert_eq!(rules, floors.map(|(rule, _)| (*rule).to_owned()).collect());
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
