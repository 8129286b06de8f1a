//! Each fault put in on purpose must be found: by a recorded seed, and by a rule that is about it.
//!
//! | fault | put in by | found by a test of its own, too |
//! |---|---|---|
//! | ack before sync | `AcksUnsynced` | |
//! | high watermark truncation in place of epochs | `replica::TruncatesToHighWatermark` | `tests/replica` |
//! | ISR shrink counted before it is confirmed | `replica::ShrinksUnconfirmed` | `tests/replica` |
//! | high watermark moved while ISR < min | `CommitsBelowMin` | |
//! | vote before sync | `VotesUnsynced` | `quorum::tests` |
//! | vote twice in a term | `VotesTwice` | `quorum::tests` |
//! | commit of an old term by count | `CommitsOldEpoch` | `quorum::tests` |
//! | leader elected outside the ISR | `ElectsOutsideIsr` | |
//! | fetch accepted with a stale leader epoch | `TakesStaleEpoch` | |
//! | stale broker epoch accepted | `TakesStaleBroker` | |
//! | follower counts log end for durable end | `SaysLogEnd`, `replica::CountsLogEnds` | `tests/replica` |
//! | damaged replica stays in ISR | `KeepsDamagedInSync` | |
//! | recovery drops a batch below the durable mark | `DropsBelowMark` | |
//! | recovery serves past a hole | `ServesPastHole` | |
//! | journal half freed before its segments are synced | `FreesUnsynced` | |
//! | leader epoch not raised at boot | `KeepsEpochAtBoot` | |
//! | offset commit answered before committed | `AnswersUncommitted` | |
//! | group generation not fenced | `IgnoresGeneration` | |
//! | duplicate sequence appended | `AppendsDuplicates` | |
//! | purgatory completes twice | `CompletesTwice` | |
//!
//! What changes a run changes which seeds find what. They are recorded anew by
//! `ODRADEK_BLESS=1 cargo test --features mutants --test sim every_fault -- --nocapture`,
//! which tries CI's seeds, or `ODRADEK_SIM_SEEDS`, and writes those into this file that find each
//! fault soonest. `ODRADEK_SIM_MUTANT=Name` looks at one fault only.

use std::sync::Mutex;

use odradek::mutant::{self, choose};
use odradek::replica::mutant::Mutant as ReplicaMutant;

use super::config::SLOW_SYNC_US;
use super::run::run;
use super::world::World;
use crate::{SEEDS, seeds};

/// What is done wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Site(mutant::Mutant),
    Replica(ReplicaMutant),
}

use Fault::{Replica, Site};
use ReplicaMutant as R;
use mutant::Mutant as M;

/// A fault, the rules that may find it (what else fails does not count), and a seed that does.
type Recorded = (Fault, &'static [&'static str], u64);

/// See the module.
const RECORDED: [Recorded; 21] = [
    (Site(M::AcksUnsynced), &["I8"], 1),
    (Replica(R::TruncatesToHighWatermark), &["R6"], 28),
    (Replica(R::ShrinksUnconfirmed), &["R1", "R4"], 56),
    (Site(M::CommitsBelowMin), &["R4"], 60),
    (Site(M::VotesUnsynced), &["Q1"], 21),
    (Site(M::VotesTwice), &["Q2"], 62),
    (Site(M::CommitsOldEpoch), &["Q3"], 17),
    (Site(M::ElectsOutsideIsr), &["R9"], 63),
    (Site(M::TakesStaleEpoch), &["R11"], 20),
    (Site(M::TakesStaleBroker), &["R5"], 53),
    (Site(M::SaysLogEnd), &["I8"], 11),
    (Replica(R::CountsLogEnds), &["I8"], 1),
    (Site(M::KeepsDamagedInSync), &["R8"], 15),
    (Site(M::DropsBelowMark), &["R8"], 23),
    (Site(M::ServesPastHole), &["R8", "I5"], 23),
    (Site(M::FreesUnsynced), &["S1"], 61),
    (Site(M::KeepsEpochAtBoot), &["R8"], 20),
    (Site(M::AnswersUncommitted), &["G6", "G1"], 7),
    (Site(M::IgnoresGeneration), &["G2"], 28),
    (Site(M::AppendsDuplicates), &["I3"], 58),
    (Site(M::CompletesTwice), &["panic: a waiting item has a parked ask"], 21),
];

/// The fault's name, as this file spells it.
fn name(fault: Fault) -> String {
    match fault {
        Site(mutant) => format!("Site(M::{mutant:?})"),
        Replica(mutant) => format!("Replica(R::{mutant:?})"),
    }
}

/// Whether a fault is looked for in a site of its own, because chance alone seldom has it matter.
fn has_scene(fault: Fault) -> bool {
    matches!(fault, Site(M::VotesTwice | M::TakesStaleBroker))
}

fn set_scene(fault: Fault, world: &mut World) {
    match fault {
        // Where votes take long to become durable, two nodes ask for them before one hears of the
        // other.
        Site(M::VotesTwice) => {
            world.plan.sync_us = [SLOW_SYNC_US; 4];
            for board in world.boards.values_mut() {
                board.sync_us = SLOW_SYNC_US;
            }
        }
        Site(M::TakesStaleBroker) => world.plan.has_late_fetches = true,
        _ => {}
    }
}

/// How a seed fails with a fault, if it does: after how many events, and the first words.
fn fails(fault: Fault, seed: u64, events_max: u64) -> Option<(u64, String)> {
    let outcome = run(seed, |world| {
        world.events_max = events_max;
        set_scene(fault, world);
        match fault {
            Site(mutant) => choose(Some(mutant)),
            Replica(mutant) => world.plan.replica_mutant = Some(mutant),
        }
    });
    choose(None);
    let why = outcome.verdict.err()?;
    let words = why.0.lines().next().unwrap_or_default().chars().take(150).collect();
    Some((outcome.counts.events, words))
}

/// Whether a seed finds a fault, by one of the rules that may, and after how many events.
#[expect(clippy::print_stdout, reason = "whoever runs it wants to see how each is found")]
fn finds((fault, rules, _): Recorded, seed: u64, events_max: u64) -> Option<u64> {
    let Some((events, words)) = fails(fault, seed, events_max) else {
        println!("{}: seed {seed} passes", name(fault));
        return None;
    };
    if events_max < events {
        return None;
    }
    let rule = words.split(": ").next().unwrap_or_default();
    let is_meant = rules.contains(&rule) || rules.contains(&words.as_str());
    let verb = if is_meant { "finds it" } else { "ends otherwise" };
    println!("{}: seed {seed} {verb} at event {events}: {words}", name(fault));
    is_meant.then_some(events)
}

/// The seed that finds a fault after the fewest events.
fn soonest(recorded: Recorded) -> Option<u64> {
    let mut best = None;
    let mut events_max = u64::MAX;
    for seed in seeds() {
        if let Some(events) = finds(recorded, seed, events_max) {
            (best, events_max) = (Some(seed), events - 1);
        }
    }
    best
}

/// Whether the recorded seed finds the fault, and nothing but the fault.
#[expect(clippy::print_stdout, reason = "whoever runs it wants to see how each is found")]
fn is_found(recorded: Recorded) -> bool {
    let (fault, _, seed) = recorded;
    // CI's seeds are known to pass as they are.
    let is_known = SEEDS.contains(&seed) && !has_scene(fault);
    if !is_known {
        if let Err(why) = run(seed, |world| set_scene(fault, world)).verdict {
            println!("{}: seed {seed} fails without it: {}", name(fault), why.0);
            return false;
        }
    }
    finds(recorded, seed, u64::MAX).is_some()
}

/// Writes a seed into this file.
fn record(fault: Fault, seed: u64) {
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().expect("alive");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sim/mutants.rs");
    let text = std::fs::read_to_string(path).expect("this file");
    let start = format!("    ({}, ", name(fault));
    let lines = text.lines().map(|line| match line.rsplit_once(", ") {
        Some((before, _)) if line.starts_with(&start) => format!("{before}, {seed}),\n"),
        _ => format!("{line}\n"),
    });
    std::fs::write(path, lines.collect::<String>()).expect("this file");
}

#[test]
fn every_fault_is_found() {
    let only = std::env::var("ODRADEK_SIM_MUTANT").unwrap_or_default();
    let is_blessed = std::env::var_os("ODRADEK_BLESS").is_some();
    let is_meant = |(fault, ..): &Recorded| name(*fault).contains(&only);
    let left = Mutex::new(RECORDED.into_iter().filter(is_meant).collect::<Vec<_>>());
    let missed = Mutex::new(Vec::new());
    let next = || left.lock().expect("alive").pop();
    let look = || {
        while let Some(recorded) = next() {
            let (fault, ..) = recorded;
            let is_found = match is_blessed {
                true => soonest(recorded).map(|seed| record(fault, seed)).is_some(),
                false => is_found(recorded),
            };
            if !is_found {
                missed.lock().expect("alive").push(name(fault));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(look);
        }
    });
    let missed = missed.into_inner().expect("alive");
    assert!(missed.is_empty(), "not found: {missed:?}");
}
