//! What a run counts, and the line it ends with.

use std::collections::BTreeMap;

/// What a run counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub simulated_us: u64,
    pub acks: u64,
    pub elections: u64,
    pub truncations: u64,
    pub power_cuts: u64,
    pub power_cuts_of_all: u64,
    pub partitions: u64,
    pub damages: u64,
    pub lost_journals: u64,
    pub damaged_recoveries: u64,
    pub kills: u64,
    pub read: u64,
    pub commits: u64,
    pub rots: u64,
    /// Bits of what was not synced.
    pub flips: u64,
    /// Boards that joined or left, and partitions and votes that moved.
    pub member_changes: u64,
    /// Segments synced ahead of their commits.
    pub syncs_ahead: u64,
    /// What an earlier incarnation asked, come once more.
    pub late_fetches: u64,
    /// How often each rule was asked.
    pub asked: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds what another run counted.
    pub fn add(&mut self, other: &Counts) {
        self.events += other.events;
        self.simulated_us += other.simulated_us;
        self.acks += other.acks;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.power_cuts += other.power_cuts;
        self.power_cuts_of_all += other.power_cuts_of_all;
        self.partitions += other.partitions;
        self.damages += other.damages;
        self.lost_journals += other.lost_journals;
        self.damaged_recoveries += other.damaged_recoveries;
        self.syncs_ahead += other.syncs_ahead;
        self.late_fetches += other.late_fetches;
        self.kills += other.kills;
        self.read += other.read;
        self.commits += other.commits;
        self.rots += other.rots;
        self.flips += other.flips;
        self.member_changes += other.member_changes;
        for (rule, times) in &other.asked {
            *self.asked.entry(rule).or_default() += times;
        }
    }
}

impl Counts {
    /// How often each rule was asked.
    pub fn asked_words(&self) -> String {
        let words = self.asked.iter().map(|(rule, times)| format!("{rule} {times}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.simulated_us as f64 / 3.6e9;
        write!(
            f,
            "{hours:.1} simulated hours, {} acks, {} elections, {} truncations, {} power cuts \
             (all-node: {}), {} partitions, {} damaged recoveries",
            self.acks,
            self.elections,
            self.truncations,
            self.power_cuts,
            self.power_cuts_of_all,
            self.partitions,
            self.damaged_recoveries
        )
    }
}
