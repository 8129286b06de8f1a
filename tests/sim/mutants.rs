//! Each fault put in on purpose must be found, by a recorded seed.
//!
//! | fault | put in by | found here as | and by |
//! |---|---|---|---|
//! | ack before sync | `AcksUnsynced` | I8 | |
//! | high watermark truncation in place of epochs | `replica::TruncatesToHighWatermark` | R6 | `tests/replica` |
//! | ISR shrink counted before it is confirmed | `replica::ShrinksUnconfirmed` | R1, R4 | `tests/replica` |
//! | high watermark moved while ISR < min | `CommitsBelowMin` | R4 | |
//! | vote before sync | `VotesUnsynced` | Q1 | `quorum::tests` |
//! | vote twice in a term | `VotesTwice` | Q2 | `quorum::tests` |
//! | commit of an old term by count | `CommitsOldEpoch` | Q3 | `quorum::tests` |
//! | leader elected outside the ISR | `ElectsOutsideIsr` | R9 | |
//! | fetch accepted with a stale leader epoch | `TakesStaleEpoch` | R11, R1 | |
//! | stale broker epoch accepted | `TakesStaleBroker` | R1, R8 | |
//! | follower counts log end for durable end | `SaysLogEnd`, `replica::CountsLogEnds` | I8 | `tests/replica` |
//! | damaged replica stays in ISR | `KeepsDamagedInSync` | R8 | |
//! | recovery drops a batch below the durable mark | `DropsBelowMark` | R8 | |
//! | recovery serves past a hole | `ServesPastHole` | R8, I5 | |
//! | journal half freed before its segments are synced | `FreesUnsynced` | S1 | |
//! | leader epoch not raised at boot | `KeepsEpochAtBoot` | R1, R7 | |
//! | offset commit answered before committed | `AnswersUncommitted` | G6 | |
//! | group generation not fenced | `IgnoresGeneration` | G2 | |
//! | duplicate sequence appended | `AppendsDuplicates` | I3 | |
//! | purgatory completes twice | `CompletesTwice` | an assertion | |

use std::sync::Mutex;

use odradek::mutant::{self, choose};
use odradek::replica::mutant::Mutant as ReplicaMutant;

use super::run::run;

/// What is done wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Site(mutant::Mutant),
    Replica(ReplicaMutant),
}

use Fault::{Replica, Site};
use mutant::Mutant as M;

/// Each fault, and a seed that finds it, soon.
const RECORDED: [(Fault, u64); 21] = [
    (Site(M::AcksUnsynced), 0),
    (Replica(ReplicaMutant::TruncatesToHighWatermark), 0),
    (Replica(ReplicaMutant::ShrinksUnconfirmed), 0),
    (Site(M::CommitsBelowMin), 0),
    (Site(M::VotesUnsynced), 0),
    (Site(M::VotesTwice), 0),
    (Site(M::CommitsOldEpoch), 0),
    (Site(M::ElectsOutsideIsr), 0),
    (Site(M::TakesStaleEpoch), 0),
    (Site(M::TakesStaleBroker), 0),
    (Site(M::SaysLogEnd), 0),
    (Replica(ReplicaMutant::CountsLogEnds), 0),
    (Site(M::KeepsDamagedInSync), 0),
    (Site(M::DropsBelowMark), 0),
    (Site(M::ServesPastHole), 0),
    (Site(M::FreesUnsynced), 0),
    (Site(M::KeepsEpochAtBoot), 0),
    (Site(M::AnswersUncommitted), 0),
    (Site(M::IgnoresGeneration), 0),
    (Site(M::AppendsDuplicates), 0),
    (Site(M::CompletesTwice), 0),
];

/// Seeds tried for each fault, from 0 on, when somebody looks for those to record.
fn tries() -> Option<u64> {
    let asked = std::env::var("ODRADEK_SIM_MUTANT_TRIES").ok();
    asked.map(|text| text.parse().expect("a number"))
}

/// How a seed finds a fault, if it does, and after how many events.
fn found(fault: Fault, seed: u64) -> Option<(u64, String)> {
    let outcome = run(seed, |world| match fault {
        Site(mutant) => choose(Some(mutant)),
        Replica(mutant) => world.plan.replica_mutant = Some(mutant),
    });
    choose(None);
    let why = outcome.verdict.err()?;
    let words: String = why.0.lines().next().unwrap_or_default().chars().take(150).collect();
    Some((outcome.counts.events, format!("seed {seed}: {words}")))
}

/// The recorded seed, or of those that are tried the one that finds it first.
fn search(fault: Fault, recorded: u64) -> Option<(u64, String)> {
    let Some(tries) = tries() else { return found(fault, recorded) };
    (0..tries).filter_map(|seed| found(fault, seed)).min_by_key(|(events, _)| *events)
}

#[test]
fn every_fault_is_found() {
    let only = std::env::var("ODRADEK_SIM_MUTANT").unwrap_or_default();
    let is_meant = |(fault, _): &(Fault, u64)| format!("{fault:?}").contains(&only);
    let left = Mutex::new(RECORDED.into_iter().filter(is_meant).collect::<Vec<_>>());
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some((fault, seed)) = left.lock().expect("alive").pop() else { return };
                    if let Some((events, words)) = search(fault, seed) {
                        println!("{fault:?}: {events} events, {words}");
                    } else {
                        println!("{fault:?}: not found");
                        missed.lock().expect("alive").push(fault);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("alive");
    assert!(missed.is_empty(), "not found: {missed:?}");
}
