//! What the consensus crate reads of the log: everything behind the newest snapshot, in memory.
//!
//! The owner keeps the same batches in the segments of `__cluster_metadata-0` and reads them once,
//! at a start. Memory is bounded by snapshots: one is asked for at
//! [`QUORUM_LOG_BYTES`](crate::limits::QUORUM_LOG_BYTES), and the batches before it go.
//!
//! **Invariant:** `base.index + entries.len()` is the last index; entries follow each other.

use std::cell::Cell;

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::limits::QUORUM_LOG_BYTES;
use crate::quorum::members::Members;

/// What remains in memory of the batches before a snapshot, for followers that are a little behind.
const TAIL_BYTES: usize = QUORUM_LOG_BYTES / 4;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub index: u64,
    pub term: u64,
}

/// The log as the crate sees it.
#[derive(Debug)]
pub(super) struct Store {
    /// The entry before the first one here; term 0 means that there has never been any.
    base: Place,
    entries: Vec<Entry>,
    /// Bytes of the entries behind the newest snapshot.
    fresh_bytes: usize,
    snapshot: Option<Snapshot>,
    /// As of a start; the crate asks once.
    initial: RaftState,
    /// The crate looked for a snapshot that is not there.
    is_image_wanted: Cell<bool>,
}

impl Store {
    pub(super) fn new(
        base: Place,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot>,
        hard_state: HardState,
        members: &Members,
    ) -> Store {
        let fresh_bytes = entries.iter().map(entry_bytes).sum();
        let initial = RaftState::new(hard_state, members.conf_state());
        let is_image_wanted = Cell::new(false);
        Store { base, entries, fresh_bytes, snapshot, initial, is_image_wanted }
    }

    pub(super) fn base(&self) -> Place {
        self.base
    }

    pub(super) fn last(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }

    /// Takes entries over, and drops what they replace.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(self.base.index < first.index, "what a snapshot holds does not change");
        assert!(first.index <= self.last() + 1, "entries follow each other");
        let kept = (first.index - self.base.index - 1) as usize;
        let replaced: usize = self.entries[kept..].iter().map(entry_bytes).sum();
        self.entries.truncate(kept);
        self.entries.extend_from_slice(entries);
        let added: usize = entries.iter().map(entry_bytes).sum();
        self.fresh_bytes = self.fresh_bytes.saturating_sub(replaced) + added;
    }

    /// Begins anew behind a snapshot of a leader.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.get_metadata();
        self.base = Place { index: metadata.index, term: metadata.term };
        self.entries.clear();
        self.fresh_bytes = 0;
        self.snapshot = Some(snapshot);
    }

    /// Keeps a snapshot for followers that need one.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        let behind = (snapshot.get_metadata().index - self.base.index) as usize;
        self.fresh_bytes = self.entries[behind..].iter().map(entry_bytes).sum();
        self.snapshot = Some(snapshot);
        self.is_image_wanted.set(false);
    }

    /// Lets entries go that a durable snapshot holds, save for some.
    pub(super) fn compact(&mut self, index: u64) {
        let held = index.saturating_sub(self.base.index).min(self.entries.len() as u64) as usize;
        let mut tail_bytes = 0;
        let fits = |entry: &&Entry| {
            tail_bytes += entry_bytes(entry);
            tail_bytes <= TAIL_BYTES
        };
        let gone = held - self.entries[..held].iter().rev().take_while(fits).count();
        if let Some(last) = self.entries[..gone].last() {
            self.base = Place { index: last.index, term: last.term };
            self.entries.drain(..gone);
        }
    }

    /// Whether the owner should make an image.
    pub(super) fn wants_image(&self) -> bool {
        self.is_image_wanted.get() || QUORUM_LOG_BYTES <= self.fresh_bytes
    }

    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.get_metadata().index)
    }

    fn first(&self) -> u64 {
        self.base.index + 1
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if self.last() + 1 < high {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let (from, to) = ((low - self.first()) as usize, (high - self.first()) as usize);
        let most = max_size.into().unwrap_or(u64::MAX);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for entry in &self.entries[from..to] {
            bytes += entry_bytes(entry) as u64;
            // The crate wants one at least.
            if most < bytes && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        if index < self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let place = (index - self.first()) as usize;
        let entry = self.entries.get(place);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let least = request_index.max(self.base.index).max(1);
        // Whoever is no member in an image could not believe it.
        let names_it = |snapshot: &Snapshot| {
            let members = snapshot.get_metadata().get_conf_state();
            members.get_voters().contains(&to) || members.get_learners().contains(&to)
        };
        let is_new = |snapshot: &Snapshot| least <= snapshot.get_metadata().index;
        match &self.snapshot {
            Some(snapshot) if is_new(snapshot) && names_it(snapshot) => Ok(snapshot.clone()),
            _ => {
                self.is_image_wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len()
}
