//! What one simulated node keeps of its quorum log: what a power cut leaves, and what is on its way.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::VecDeque;

use bytes::Bytes;
use odradek::ids::{LeaderEpoch, Offset};
use odradek::quorum::{Base, HardState, Members, Persist, VoterId};
use odradek::record::Batch;
use odradek::time::Boot;
use odradek::wire::quorum::members::{Member, MemberKind};

/// An image of what was persisted.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Epoch and vote.
    pub hard_state: HardState,
    /// What the batches stand on.
    pub base: Base,
    /// The log behind it.
    pub batches: Vec<Bytes>,
    /// Rises with every write.
    pub version: u64,
}

/// Offset and epoch of a batch.
pub fn place(batch: &[u8]) -> (i64, i32) {
    let (batch, _) = Batch::split_first(batch).expect("a batch");
    (batch.header().base_offset.0, batch.header().leader_epoch.0)
}

impl Kept {
    /// A disk on which nothing was ever written.
    pub fn nothing() -> Kept {
        let (hard_state, base) = (HardState::default(), Base::Nothing);
        Kept { hard_state, base, batches: Vec::new(), version: 0 }
    }

    /// A disk with the bootstrap batch.
    pub fn bootstrapped(members: &[VoterId]) -> Kept {
        let member = |&id| Member { id, kind: MemberKind::Voter };
        Kept::bootstrapped_as(&members.iter().map(member).collect::<Vec<_>>())
    }

    /// The same, with members of other kinds.
    pub fn bootstrapped_as(list: &[Member]) -> Kept {
        let members = Members::from_list(list).expect("a quorum");
        let epoch = LeaderEpoch(1);
        let hard_state = HardState { epoch, vote: None, high_watermark: Offset(1) };
        let base = Base::Bootstrap { epoch, members };
        Kept { hard_state, base, batches: Vec::new(), version: 0 }
    }

    /// Takes what one [`Persist`] names.
    pub fn take(&mut self, persist: &Persist) {
        self.version += 1;
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &persist.snapshot {
            let held = match persist.begins_anew {
                true => self.batches.len(),
                false => self.count_before(snapshot.last_offset.0 + 1),
            };
            self.batches.drain(..held);
            self.base = Base::Snapshot(snapshot.clone());
        }
        if let Some(first) = persist.batches.first() {
            let kept = self.count_before(place(first).0);
            self.batches.truncate(kept);
            self.batches.extend_from_slice(&persist.batches);
        }
    }

    /// How many of the batches lie before an offset.
    fn count_before(&self, offset: i64) -> usize {
        let first = self.base_place().map_or(0, |(base, _)| base + 1);
        usize::try_from(offset - first).unwrap_or(0).min(self.batches.len())
    }

    /// The last offset below the batches, and its epoch; `None` without any.
    pub fn base_place(&self) -> Option<(i64, i32)> {
        match &self.base {
            Base::Nothing => None,
            Base::Bootstrap { epoch, .. } => Some((0, epoch.0)),
            Base::Snapshot(snapshot) => Some((snapshot.last_offset.0, snapshot.epoch.0)),
        }
    }

    /// The offset behind the last batch.
    pub fn end(&self) -> i64 {
        let last = self.batches.last().map(|batch| place(batch));
        last.or(self.base_place()).map_or(0, |(offset, _)| offset + 1)
    }

    /// Whether this log has the batch of an offset and epoch; what a snapshot holds it has.
    pub fn has(&self, offset: i64, epoch: i32) -> bool {
        let Some((base, base_epoch)) = self.base_place() else { return false };
        if offset <= base {
            return offset < base || epoch == base_epoch;
        }
        let found = self.batches.get((offset - base - 1) as usize);
        found.is_some_and(|batch| place(batch) == (offset, epoch))
    }

    /// The epoch of the batch at an offset, where it is not in a snapshot.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let (base, epoch) = self.base_place()?;
        if offset == base {
            return Some(epoch);
        }
        let place_in_log = usize::try_from(offset - base - 1).ok()?;
        self.batches.get(place_in_log).map(|batch| place(batch).1)
    }
}

/// A disk that syncs in its own time.
#[derive(Debug)]
pub struct QuorumDisk {
    /// What a power cut leaves.
    pub durable: Kept,
    /// What the running node reads.
    pub written: Kept,
    unsynced: VecDeque<Persist>,
    /// How many of them the running sync makes durable.
    syncing: usize,
    /// When it returns.
    pub sync_at: Boot,
    /// Until then no sync returns.
    pub stalled_until: Boot,
}

impl QuorumDisk {
    /// A disk with something on it.
    pub fn new(kept: Kept) -> QuorumDisk {
        QuorumDisk {
            durable: kept.clone(),
            written: kept,
            unsynced: VecDeque::new(),
            syncing: 0,
            sync_at: Boot::NEVER,
            stalled_until: Boot(0),
        }
    }

    /// Writes without a sync.
    pub fn write(&mut self, persist: Persist, now: Boot, latency_us: u64) {
        self.written.take(&persist);
        self.unsynced.push_back(persist);
        if self.syncing == 0 {
            self.begin(now, latency_us);
        }
    }

    fn begin(&mut self, now: Boot, latency_us: u64) {
        self.syncing = self.unsynced.len();
        self.sync_at = match self.syncing {
            0 => Boot::NEVER,
            _ => now.max(self.stalled_until).plus_us(latency_us),
        };
    }

    /// No sync returns for a while, nor the one that runs.
    pub fn stall(&mut self, until: Boot) {
        self.stalled_until = until;
        if 0 < self.syncing {
            self.sync_at = self.sync_at.max(until);
        }
    }

    /// The disk is as quick as ever again.
    pub fn unstall(&mut self, now: Boot, latency_us: u64) {
        self.stalled_until = now;
        if 0 < self.syncing {
            self.sync_at = now.plus_us(latency_us);
        }
    }

    /// The running sync returned; answers the number it made durable.
    pub fn synced(&mut self, now: Boot, latency_us: u64) -> u64 {
        let mut number = 0;
        for persist in self.unsynced.drain(..self.syncing) {
            self.durable.take(&persist);
            number = persist.number;
        }
        self.begin(now, latency_us);
        number
    }

    /// The power goes. `survivors` of the unsynced writes happen to be on the disk.
    pub fn cut(&mut self, survivors: u64) {
        let kept = (survivors as usize).min(self.unsynced.len());
        for persist in self.unsynced.drain(..kept) {
            self.durable.take(&persist);
        }
        self.unsynced.clear();
        self.written = self.durable.clone();
        (self.syncing, self.sync_at, self.stalled_until) = (0, Boot::NEVER, Boot(0));
    }

    /// How many writes wait for a sync.
    pub fn unsynced_count(&self) -> usize {
        self.unsynced.len()
    }
}
