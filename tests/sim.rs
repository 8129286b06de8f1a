//! The whole site under a seed: the real `broker`, `replica`, `quorum`, `controller`, `group`, `log`
//! and `journal` over a simulated clock, network and disks (style.md §6, "simulation").
//!
//! `ODRADEK_SIM_SEEDS=1000..2000 cargo test --release --test sim` runs other seeds than CI's;
//! `ODRADEK_SIM_TRACE=1` shows one as it goes. A seed that fails ends with the command for both.

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
    pub mod world;
}

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::counts::Counts;
use sim::run::run;

/// What CI runs.
const SEEDS: Range<u64> = 0..64;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ODRADEK_SIM_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("ODRADEK_SIM_SEEDS is a range");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn a_site_loses_nothing_and_heals_by_itself() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Counts::default());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seeds.end <= seed || 3 <= failures.lock().expect("alive").len() {
                        return;
                    }
                    let began = std::time::Instant::now();
                    let outcome = run(seed, |_| {});
                    if std::env::var_os("ODRADEK_SIM_TIMES").is_some() {
                        let events = outcome.counts.events;
                        let seconds = outcome.counts.simulated_us / 1_000_000;
                        let took = began.elapsed();
                        eprintln!("seed {seed}: {events} events, {seconds} s, {took:?}");
                    }
                    total.lock().expect("alive").add(&outcome.counts);
                    if let Err(why) = outcome.verdict {
                        failures.lock().expect("alive").push((seed, why.0, outcome.trace));
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("alive");
    let failures = failures.into_inner().expect("alive");
    for (seed, why, trace) in &failures {
        eprintln!("{trace}seed {seed}: {why}");
        let range = format!("{seed}..{}", seed + 1);
        eprintln!(
            "again: ODRADEK_SIM_TRACE=1 ODRADEK_SIM_SEEDS={range} cargo test --test sim a_site \
             -- --nocapture\n"
        );
    }
    println!("sim: {} seeds, {}, {} violations", seeds.clone().count(), total, failures.len());
    println!("sim: {total:?}");
    assert!(failures.is_empty(), "seeds {:?}", failures.iter().map(|f| f.0).collect::<Vec<_>>());
    if seeds.count() < 64 {
        return;
    }
    assert!(20_000 <= total.acks && 300 <= total.elections, "{total:?}");
    assert!(100 <= total.truncations && 200 <= total.power_cuts, "{total:?}");
    assert!(60 <= total.power_cuts_of_all && 400 <= total.partitions, "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (one, other) = (run(7, |_| {}), run(7, |_| {}));
    assert_eq!(one.hash, other.hash);
    assert_ne!(one.hash, run(8, |_| {}).hash);
}
