//! Timeouts, counted in ticks, and the draws among them.
//!
//! The consensus crate draws each election timeout from the thread's entropy. A simulation that is
//! to be replayed cannot have that, so [`Draws`] replaces each draw by one of its own seed before
//! the crate looks at it (design.md §6): after every call that may have drawn, the timeout is set
//! to ours, whether the crate drew or not.

use raft::{RawNode, StateRole};

use crate::quorum::store::Store;

/// How long things take.
///
/// The defaults: a leader speaks every 100 ms; nobody who heard it within 600 ms votes for another;
/// a follower that hears nothing for 700 to 1,100 ms asks whether it should lead. A site whose
/// packets come up to 500 ms late keeps its leader, and one whose leader is gone has the next within
/// about a second. Where the network holds frames up for longer, lease and elections are stretched
/// ([`Patience`](crate::quorum::Patience)); heartbeats are not.
///
/// Range: `0 < tick`, `0 < heartbeat < lease <= min < max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One tick.
    pub tick_ms: u64,
    /// Ticks between two heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks for which a follower that heard its leader takes part in no election, and after which
    /// a leader that hears no majority steps down.
    pub lease_ticks: usize,
    /// Ticks without a leader after which a follower asks for votes, at least.
    pub election_ticks_min: usize,
    /// The same, below which it always does.
    pub election_ticks_max: usize,
    /// Nobody who is to be heard is waited for longer (`broker.session.timeout.ms`).
    pub silence_ms_max: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            tick_ms: 50,
            heartbeat_ticks: 2,
            lease_ticks: 12,
            election_ticks_min: 14,
            election_ticks_max: 22,
            silence_ms_max: 9_000,
        }
    }
}

impl Timeouts {
    /// Whether they are in their range.
    pub const fn are_sound(&self) -> bool {
        0 < self.tick_ms
            && 0 < self.heartbeat_ticks
            && self.heartbeat_ticks < self.lease_ticks
            && self.lease_ticks <= self.election_ticks_min
            && self.election_ticks_min < self.election_ticks_max
    }

    /// Those of a witness: it lets the voters that hold data go first.
    pub(super) fn of_a_witness(self) -> Timeouts {
        let span = self.election_ticks_max - self.election_ticks_min;
        Timeouts {
            election_ticks_min: self.election_ticks_max,
            election_ticks_max: self.election_ticks_max + span,
            ..self
        }
    }
}

/// Election timeouts from a seed.
#[derive(Debug)]
pub(super) struct Draws {
    seed: u64,
    least: u64,
    span: u64,
    /// The timeout in force, in ticks.
    ticks: usize,
    /// The term and role it was drawn for.
    held_for: Option<(u64, StateRole)>,
}

impl Draws {
    pub(super) fn new(seed: u64, timeouts: Timeouts) -> Draws {
        let (least, most) = (timeouts.election_ticks_min, timeouts.election_ticks_max);
        Draws { seed, least: least as u64, span: (most - least) as u64, ticks: 0, held_for: None }
    }

    /// Puts our timeout in the place of the crate's, a new one when term or role changed.
    pub(super) fn hold(&mut self, raw: &mut RawNode<Store>) {
        let now = (raw.raft.term, raw.raft.state);
        if self.held_for != Some(now) {
            self.held_for = Some(now);
            self.ticks = (self.least + split_mix(&mut self.seed) % self.span) as usize;
        }
        raw.raft.set_randomized_election_timeout(self.ticks);
    }

    /// Whether the timeout in force is ours.
    pub(super) fn is_held(&self, raw: &RawNode<Store>) -> bool {
        raw.raft.randomized_election_timeout() == self.ticks
            && self.held_for == Some((raw.raft.term, raw.raft.state))
    }
}

/// The next number of a `SplitMix64` sequence.
fn split_mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
