//! Starting from what is on disk.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, HardState as RaftHardState, Snapshot as RaftSnapshot};
use raft::{Config, RawNode};
use std::collections::{BTreeSet, VecDeque};

use crate::ids::{LeaderEpoch, Offset};
use crate::limits::{
    QUORUM_MESSAGE_BYTES, QUORUM_MESSAGES_IN_FLIGHT_MAX, QUORUM_UNCOMMITTED_BYTES_MAX,
};
use crate::quorum::members::{Members, raft_id};
use crate::quorum::patience::Patience;
use crate::quorum::store::{Place, Store};
use crate::quorum::timeouts::{Draws, Timeouts};
use crate::quorum::transfer::{Incoming, Outgoing};
use crate::quorum::{HardState, Leadership, Quorum, Reads, Snapshot, VoterId, admit, entry};
use crate::time::Now;

/// What the log stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// There has never been a log: the node waits for a leader.
    Nothing,
    /// The bootstrap batch, at offset 0; the owner has replayed it.
    Bootstrap {
        /// Its epoch.
        epoch: LeaderEpoch,
        /// Who belongs to the quorum by it.
        members: Members,
    },
    /// A snapshot; the owner has restored it.
    Snapshot(Snapshot),
}

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who it is. After damage to hard state, snapshot or log this is another than before, with
    /// [`Base::Nothing`].
    pub id: VoterId,
    /// Whether it votes without holding data.
    pub is_witness: bool,
    /// What peers may bring.
    pub reads: Reads,
    /// How long things take.
    pub timeouts: Timeouts,
    /// For election timeouts.
    pub seed: u64,
    /// As it was persisted last.
    pub hard_state: HardState,
    /// What the log stands on.
    pub base: Base,
    /// The log from there on, or from before.
    pub batches: Vec<Bytes>,
}

/// Why a log cannot be used. The owner then starts with another incarnation and [`Base::Nothing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The batch that should be at this offset is no entry, or of an epoch that cannot be.
    Batch(Offset),
    /// The hard state is older than the log: a vote may be forgotten.
    HardState,
    /// The epoch has no number left.
    EpochsExhausted,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch(offset) => write!(f, "the batch at offset {offset} is not usable"),
            Self::HardState => f.write_str("the persisted vote is older than the log"),
            Self::EpochsExhausted => f.write_str("the quorum has no epoch left"),
        }
    }
}

impl std::error::Error for StartError {}

impl Quorum {
    /// A node as it was left. Batches before the high watermark come out of [`Quorum::poll`] again.
    pub fn start(now: Now, start: Start) -> Result<Quorum, StartError> {
        let Start { id, is_witness, reads, timeouts, seed, hard_state, base, batches } = start;
        assert!(timeouts.are_sound(), "timeouts are checked with the configuration");
        let timeouts = if is_witness { timeouts.of_a_witness() } else { timeouts };
        let (base, members, snapshot) = match base {
            Base::Nothing => (Place::default(), Members::default(), None),
            Base::Bootstrap { epoch, members } => {
                (Place { index: 0, term: epoch.0 as u64 }, members, None)
            }
            Base::Snapshot(snapshot) => {
                let place = snapshot.place();
                let base = Place { index: place.offset, term: place.epoch };
                (base, snapshot.members.clone(), Some(snapshot))
            }
        };
        let entries = entries_behind(base, batches)?;
        let last = entries.last().map_or(base, |last| Place { index: last.index, term: last.term });
        let term = u64::try_from(hard_state.epoch.0).map_err(|_| StartError::HardState)?;
        if term < last.term {
            return Err(StartError::HardState);
        }
        // Nobody else could lead, so nobody need be waited for.
        let is_sole_voter = members.voters().eq([id]);
        if is_sole_voter && admit::TERM_MAX <= term {
            return Err(StartError::EpochsExhausted);
        }
        let proven = proven_end(&entries).unwrap_or(base.index);
        let raft_state = raft_state(&hard_state, term, (base, last), proven);
        let raft_snapshot = snapshot.as_ref().map(raft_snapshot);
        let store = Store::new(base, entries, raft_snapshot, raft_state, &members);
        let config = config(id, base.index, timeouts);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut raw = RawNode::new(&config, store, &logger)
            .expect("the configuration is sound, and the store answers from memory");
        let mut draws = Draws::new(seed, timeouts);
        draws.hold(&mut raw);
        let mut quorum = Quorum {
            id,
            is_witness,
            reads,
            raw,
            draws,
            tick_ms: timeouts.tick_ms,
            heartbeat_ticks: timeouts.heartbeat_ticks as u64,
            tick_count: 0,
            patience: Patience::new(timeouts.silence_ms_max),
            last_leader: None,
            next_tick: now.boot.plus_ms(timeouts.tick_ms),
            members,
            introduced: BTreeSet::new(),
            waiting: VecDeque::new(),
            last_number: 0,
            durable_term: term,
            snapshot,
            arrived: None,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            outputs: VecDeque::new(),
            told: Leadership::default(),
            is_image_asked: false,
            is_failed: false,
            #[cfg(any(test, feature = "mutants"))]
            mutant: None,
        };
        if is_sole_voter {
            let _ = quorum.raw.campaign();
        }
        quorum.settle(now.boot);
        Ok(quorum)
    }
}

fn raft_state(
    state: &HardState,
    term: u64,
    (base, last): (Place, Place),
    proven: u64,
) -> RaftHardState {
    let known = u64::try_from(state.high_watermark.0 - 1).unwrap_or(0);
    RaftHardState {
        term,
        vote: state.vote.map_or(0, raft_id),
        commit: known.max(proven).clamp(base.index, last.index),
        ..RaftHardState::default()
    }
}

/// The last entry that the log itself proves committed: a change of the members with another one behind
/// it, for that was proposed only when this one was applied.
///
/// The high watermark of a stop may lag. A node that had two changes in its log and went by neither
/// would ask those for votes who voted before both, and two majorities that are two changes apart need
/// not meet.
fn proven_end(entries: &[Entry]) -> Option<u64> {
    let is_change = |entry: &&Entry| entry.get_entry_type() == EntryType::EntryConfChangeV2;
    entries.iter().rev().filter(is_change).nth(1).map(|entry| entry.index)
}

fn config(id: VoterId, applied: u64, timeouts: Timeouts) -> Config {
    Config {
        id: raft_id(id),
        election_tick: timeouts.lease_ticks,
        heartbeat_tick: timeouts.heartbeat_ticks,
        min_election_tick: timeouts.election_ticks_min,
        max_election_tick: timeouts.election_ticks_max,
        applied,
        check_quorum: true,
        pre_vote: true,
        max_size_per_msg: QUORUM_MESSAGE_BYTES as u64,
        max_inflight_msgs: QUORUM_MESSAGES_IN_FLIGHT_MAX,
        max_uncommitted_size: QUORUM_UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: QUORUM_UNCOMMITTED_BYTES_MAX,
        ..Config::default()
    }
}

fn entries_behind(base: Place, batches: Vec<Bytes>) -> Result<Vec<Entry>, StartError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut last = base;
    for batch in batches {
        let refused = StartError::Batch(entry::offset_of(last.index + 1));
        let entry = entry::entry_of(batch).map_err(|_| refused)?;
        if entry.index <= base.index {
            continue;
        }
        let follows = base.term != 0 && entry.index == last.index + 1 && last.term <= entry.term;
        if !follows {
            return Err(refused);
        }
        last = Place { index: entry.index, term: entry.term };
        entries.push(entry);
    }
    Ok(entries)
}

/// A snapshot as the crate takes it.
pub(super) fn raft_snapshot(snapshot: &Snapshot) -> RaftSnapshot {
    let place = snapshot.place();
    let mut out = RaftSnapshot { data: snapshot.image.clone(), ..RaftSnapshot::default() };
    let metadata = out.mut_metadata();
    (metadata.index, metadata.term) = (place.offset, place.epoch);
    metadata.set_conf_state(snapshot.members.conf_state());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by tests/sim: a board was away while the voters 1 2 3 became 1 2 3 4 and then 1 2 4. It had
    /// fetched the log, though not been told that it is committed, when the power of all went. It asked
    /// 3 for its vote, and led without what 1 and 4 had committed.
    #[test]
    fn q3_a_change_of_members_with_another_behind_it_is_committed() {
        let entry = |index: u64, is_change: bool| {
            let mut entry = Entry { index, term: 2, ..Entry::default() };
            if is_change {
                entry.set_entry_type(EntryType::EntryConfChangeV2);
            }
            entry
        };
        let state = HardState { high_watermark: Offset(3), ..HardState::default() };
        let commit = |changes: &[u64]| {
            let entries: Vec<Entry> = (1..9).map(|at| entry(at, changes.contains(&at))).collect();
            let bounds = (Place::default(), Place { index: 8, term: 2 });
            raft_state(&state, 2, bounds, proven_end(&entries).unwrap_or(0)).commit
        };
        assert_eq!(commit(&[]), 2);
        assert_eq!(commit(&[6]), 2, "it may not be committed");
        assert_eq!(commit(&[5, 6]), 5);
        assert_eq!(commit(&[4, 5, 7]), 5);
        assert_eq!(commit(&[1, 7]), 2, "more is known");
    }
}
