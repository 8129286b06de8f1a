//! Batches that the journal keeps and that wait in memory for their segments' files.
//!
//! A thousand sensors that send a record each would cost a thousand writes of a few hundred bytes
//! before the first acknowledgement. The journal has their bytes, so small batches are held back
//! ([`Log::append_held`](crate::log::Log::append_held)) and written when the shard has nothing else
//! to do, several of a partition at once; or before somebody reads them; or when too many are held.
//!
//! **Invariant:** only what is acknowledged on the journal's word is held: `acks` −1 on a topic with
//! `acks.durable`. No half of the ring is freed before all shards have settled
//! ([`Back::settle_all`]).

use std::collections::VecDeque;

use super::{Back, PartitionState};
use crate::ids::{Offset, TopicPartition};
use crate::journal::disk::Disk;
use crate::limits::{HELD_BYTES_MAX, HELD_UNCOMMITTED_BYTES_MAX};

/// Of one shard.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    bytes_max: usize,
    uncommitted_bytes: usize,
    uncommitted_bytes_max: usize,
    /// Partitions that hold something, the longest waiting first.
    queue: VecDeque<TopicPartition>,
    /// Something could not be written.
    has_failed: bool,
}

/// Of one partition.
#[derive(Debug, Default)]
pub(super) struct HeldShare {
    bytes: usize,
    uncommitted_bytes: usize,
    /// Where its last held batch ends.
    end: Offset,
}

impl Held {
    pub fn new(shard_count: u16) -> Held {
        let shard_count = usize::from(shard_count).max(1);
        Held {
            bytes: 0,
            bytes_max: HELD_BYTES_MAX / shard_count,
            uncommitted_bytes: 0,
            uncommitted_bytes_max: HELD_UNCOMMITTED_BYTES_MAX / shard_count,
            queue: VecDeque::new(),
            has_failed: false,
        }
    }

    /// Whether so many bytes more may be held.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.bytes_max
            && self.uncommitted_bytes + bytes <= self.uncommitted_bytes_max
            && !self.has_failed
    }

    /// A batch of the partition is held.
    pub fn hold<D: Disk>(&mut self, state: &mut PartitionState<D>, bytes: usize) {
        if state.held.bytes == 0 {
            self.queue.push_back(state.log.topic_partition());
        }
        state.held.bytes += bytes;
        state.held.uncommitted_bytes += bytes;
        state.held.end = state.log.end_offset();
        self.bytes += bytes;
        self.uncommitted_bytes += bytes;
    }

    /// A partition's durable offset has moved.
    pub fn committed<D: Disk>(&mut self, state: &mut PartitionState<D>) {
        if state.held.end <= state.log.durable_offset() {
            self.uncommitted_bytes -= std::mem::take(&mut state.held.uncommitted_bytes);
        }
    }

    /// A partition goes, and with it what it holds.
    pub fn forget(&mut self, share: &mut HeldShare) {
        self.bytes -= std::mem::take(&mut share.bytes);
        self.uncommitted_bytes -= std::mem::take(&mut share.uncommitted_bytes);
    }
}

impl<D: Disk> Back<D> {
    /// Whether something is held.
    pub fn is_holding(&self) -> bool {
        !self.held.queue.is_empty()
    }

    /// Whether so much is held that some must be written though there is other work.
    pub fn must_settle(&self) -> bool {
        self.held.bytes_max / 2 < self.held.bytes
    }

    /// Writes what so many partitions hold.
    pub fn settle(&mut self, partition_count: usize) {
        for _ in 0..partition_count {
            let Some(topic_partition) = self.held.queue.pop_front() else { return };
            let Some(state) = self.partitions.get_mut(&topic_partition) else { continue };
            self.held.bytes -= std::mem::take(&mut state.held.bytes);
            if let Err(why) = state.log.settle() {
                log::error!("{}-{}: {why}", state.log.name(), topic_partition.partition);
                self.held.has_failed = true;
                self.is_writable = false;
            }
        }
    }

    /// Writes all that is held; answers whether nothing was lost, now or before.
    pub fn settle_all(&mut self) -> bool {
        self.settle(usize::MAX);
        !self.held.has_failed
    }
}
