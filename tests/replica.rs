//! One partition on three nodes, by seeds: loss, delay, partings, kills and power cuts of one and
//! of all; after every event R1 to R10 of reliability.md as far as one partition shows them, and at
//! the end everything acknowledged on every replica, byte for byte.
//!
//! `ODRADEK_REPLICA_SEEDS=100..200 cargo test --features mutants --test replica` runs other seeds;
//! one that fails prints its last events. The mutants are faults put in on purpose: each must be
//! found.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/partition.rs"]
mod partition;
#[path = "support/replica_node.rs"]
mod replica_node;
#[path = "support/replica_site.rs"]
mod replica_site;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use replica_site::{Counts, Site, Violation};

const RUN_MS: u64 = 12_000;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("ODRADEK_REPLICA_SEEDS") else { return 0..16 };
    let (from, to) = text.split_once("..").expect("ODRADEK_REPLICA_SEEDS is a range");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn what_is_acknowledged_stays_on_every_replica() {
    let mut total = Counts::default();
    for seed in seeds() {
        let mut site = Site::new(seed, |_| {});
        if let Err(Violation(words)) = site.run(RUN_MS) {
            let from = site.trace.len().saturating_sub(60);
            println!("{}\n{}", site.trace[from..].join("\n"), site.describe());
            panic!("seed {seed}: {words}");
        }
        let counts = site.counts;
        total.events += counts.events;
        total.acked += counts.acked;
        total.elections += counts.elections;
        total.truncations += counts.truncations;
        total.power_cuts += counts.power_cuts;
        total.cuts_of_all += counts.cuts_of_all;
        total.partitions += counts.partitions;
        total.isr_changes += counts.isr_changes;
        total.healed += counts.healed;
    }
    println!("replica: {} seeds, {total:?}, 0 violations", seeds().count());
    let reaches = |count: u64, least: u64| seeds().count() < 16 || least <= count;
    assert!(reaches(total.acked, 1000) && reaches(total.elections, 100));
    assert!(reaches(total.truncations, 20) && reaches(total.healed, 3));
    assert!(reaches(total.power_cuts, 50) && reaches(total.cuts_of_all, 10));
    assert!(reaches(total.partitions, 100) && reaches(total.isr_changes, 100));
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::{RUN_MS, Site, Violation};
    use odradek::replica::mutant::Mutant;

    /// Runs seeds until one of them shows the fault, and answers how. An assertion in the code under
    /// test counts.
    fn found(mutant: Mutant) -> String {
        for seed in 0..40 {
            let run = || {
                let mut site = Site::new(seed, |config| config.mutant = Some(mutant));
                site.run(RUN_MS)
            };
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => {}
                Ok(Err(Violation(words))) => return format!("{mutant:?}: seed {seed}: {words}"),
                Err(_) => return format!("{mutant:?}: seed {seed}: an assertion"),
            }
        }
        panic!("{mutant:?} is not found");
    }

    #[test]
    fn a_high_watermark_over_log_ends_is_found() {
        println!("{}", found(Mutant::CountsLogEnds));
    }

    #[test]
    fn a_cut_at_the_high_watermark_is_found() {
        println!("{}", found(Mutant::TruncatesToHighWatermark));
    }

    #[test]
    fn a_removal_that_counts_unconfirmed_is_found() {
        println!("{}", found(Mutant::ShrinksUnconfirmed));
    }
}
