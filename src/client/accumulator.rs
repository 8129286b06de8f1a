//! The producer's buffer: a queue of batches for each partition, bounded by `buffer.memory`.
//!
//! Records are appended to the last batch of their partition; the sender takes from the first. A
//! batch is ready when it is full, its linger has passed, it was tried before, memory is used up,
//! or the producer is flushed or closed (semantics.md rows 67-70). No clock is asked here: `now`
//! is an argument.
//!
//! **Invariant:** `used` is the sum of `reserved` over all batches that have no outcome yet,
//! queued or in flight, and never above `buffer.memory`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::idempotence::{Idempotence, Stamp};
use crate::client::outcome::{Callback, Outcome};
use crate::ids::{NodeId, Partition};
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::record::{self, BatchBuilder, Compression, HEADER_BYTES};
use crate::time::Timestamp;

/// A record's own bytes around key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
const HEADER_OVERHEAD_BYTES: usize = 10;

/// A partition, by the topic's place in [`crate::client::topics::Topics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub topic: usize,
    pub partition: Partition,
}

/// The part of a record that goes into a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl Payload<'_> {
    /// At most so many bytes in a batch.
    pub fn bytes_max(&self) -> usize {
        let header = |(key, value): &(&str, Option<&[u8]>)| {
            key.len() + value.map_or(0, <[u8]>::len) + HEADER_OVERHEAD_BYTES
        };
        RECORD_OVERHEAD_BYTES
            + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Records on their way to one partition.
pub(super) struct Batch {
    /// For [`Accumulator::is_complete_below`]; parts of a split batch share it.
    pub flush_id: u64,
    /// Place among the batches of its partition: a number, and the index of the first record in
    /// the batch it was cut from. Retries go back there.
    pub sequence: (u64, u32),
    pub created: Instant,
    pub builder: BatchBuilder,
    /// What makes it be stored once; it stays the same when it is sent again.
    pub stamp: Option<Stamp>,
    /// The finished bytes, once it was sent for the first time.
    pub closed: Option<Vec<u8>>,
    pub record_count: u32,
    pub reserved: usize,
    pub outcome: Arc<Outcome>,
    /// With the index and timestamp of their records.
    pub callbacks: Vec<(u32, Timestamp, Callback)>,
    /// Records that nobody watches: their failure is told by `flush`.
    pub unwatched: bool,
    pub attempts: u32,
    pub retry_at: Option<Instant>,
}

impl Batch {
    /// The finished bytes.
    pub fn close(&mut self, compression: Compression) -> &[u8] {
        let mut builder = std::mem::take(&mut self.builder);
        let stamp = self.stamp;
        self.closed.get_or_insert_with(|| {
            if let Some(Stamp { producer, base_sequence }) = stamp {
                builder.set_producer(producer.id, producer.epoch, base_sequence);
            }
            builder.finish(compression)
        })
    }

    /// Gives it another stamp.
    pub fn restamp(&mut self, stamp: Stamp) {
        self.stamp = Some(stamp);
        if let Some(bytes) = &mut self.closed {
            let Stamp { producer, base_sequence } = stamp;
            record::stamp_producer(bytes, producer.id, producer.epoch, base_sequence);
        }
    }

    /// About the bytes it takes in a request.
    pub fn size_bytes(&self) -> usize {
        self.closed.as_ref().map_or_else(|| self.builder.size_bytes(), Vec::len)
    }
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// Batches taken and not yet answered.
    in_flight: usize,
}

/// The settings that rule batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub batch_bytes: usize,
    pub linger: Duration,
    pub memory_bytes: usize,
    pub delivery_timeout: Duration,
    pub request_bytes_max: usize,
    /// One batch of a partition in flight at a time: `max.in.flight.requests.per.connection` = 1.
    pub keeps_order: bool,
}

/// What an append did.
#[derive(Debug)]
pub(super) struct Appended {
    pub outcome: Arc<Outcome>,
    pub index: u32,
    /// The sender must look: a batch began (its linger runs), or became ready.
    pub wakes: bool,
    /// The batch takes no more records.
    pub is_full: bool,
}

/// What the sender shall do now.
#[derive(Default)]
pub(super) struct Turn {
    pub sends: Vec<(NodeId, Vec<(Lane, Batch)>)>,
    pub expired: Vec<(Lane, Batch)>,
    /// Leaders of ready batches that cannot take them at present.
    pub blocked: Vec<NodeId>,
    /// Topics with ready batches whose leader is not known.
    pub leaderless: Vec<usize>,
    /// When to look again if nothing else happens.
    pub deadline: Option<Instant>,
}

/// See the module's documentation.
pub(super) struct Accumulator {
    rules: Rules,
    queues: BTreeMap<Lane, Queue>,
    used: usize,
    next_id: u64,
    incomplete: BTreeMap<u64, usize>,
    /// Calls of `send` that wait for memory.
    pub waiting: usize,
    /// Calls of `flush` that wait.
    pub flushing: usize,
    pub closing: bool,
    /// Where the next turn begins, so that every partition comes first in its turn.
    turn_from: Option<Lane>,
}

impl Accumulator {
    pub fn new(rules: Rules) -> Accumulator {
        Accumulator {
            rules,
            queues: BTreeMap::new(),
            used: 0,
            next_id: 0,
            incomplete: BTreeMap::new(),
            waiting: 0,
            flushing: 0,
            closing: false,
            turn_from: None,
        }
    }

    /// Appends a record, or answers `None` when memory is used up.
    pub fn append(
        &mut self,
        now: Instant,
        lane: Lane,
        payload: &Payload<'_>,
        callback: Option<Callback>,
        unwatched: bool,
    ) -> Result<Appended, Option<Callback>> {
        let bytes = payload.bytes_max();
        let batch_bytes = self.rules.batch_bytes;
        let queue = self.queues.entry(lane).or_default();
        let is_open = queue.batches.back().is_some_and(|batch| {
            batch.closed.is_none() && batch.builder.size_bytes() + bytes <= batch_bytes
        });
        let reserve = if is_open { bytes } else { bytes + HEADER_BYTES };
        if self.rules.memory_bytes < self.used + reserve {
            return Err(callback);
        }
        self.used += reserve;
        if !is_open {
            let id = self.next_id;
            self.next_id += 1;
            self.incomplete.insert(id, 1);
            queue.batches.push_back(Batch {
                flush_id: id,
                sequence: (id, 0),
                created: now,
                builder: BatchBuilder::new(),
                stamp: None,
                closed: None,
                record_count: 0,
                reserved: 0,
                outcome: Outcome::new(),
                callbacks: Vec::new(),
                unwatched: false,
                attempts: 0,
                retry_at: None,
            });
        }
        let batch = queue.batches.back_mut().expect("pushed above if there was none");
        let index = batch.record_count;
        batch.builder.push(payload.timestamp, payload.key, payload.value, payload.headers);
        batch.record_count += 1;
        batch.reserved += reserve;
        batch.unwatched |= unwatched;
        batch.callbacks.extend(callback.map(|callback| (index, payload.timestamp, callback)));
        let is_full = batch_bytes <= batch.builder.size_bytes();
        Ok(Appended {
            outcome: Arc::clone(&batch.outcome),
            index,
            wakes: !is_open || is_full,
            is_full,
        })
    }

    /// Whether a record of this size can ever be appended.
    pub fn can_hold(&self, payload: &Payload<'_>) -> Result<(), ClientError> {
        let bytes = payload.bytes_max() + HEADER_BYTES;
        if self.rules.request_bytes_max < bytes || self.rules.memory_bytes < bytes {
            return Err(ClientError::RecordTooLarge { bytes });
        }
        Ok(())
    }

    /// Batches that wait for a partition.
    pub fn queue_length(&self, lane: Lane) -> usize {
        self.queues.get(&lane).map_or(0, |queue| queue.batches.len())
    }

    /// Takes what can be sent and what is too old.
    pub fn turn(
        &mut self,
        now: Instant,
        leader: impl Fn(Lane) -> Option<NodeId>,
        can_send: impl Fn(NodeId) -> bool,
        idempotence: &mut Idempotence,
    ) -> Turn {
        let mut turn = Turn::default();
        let is_pressed = 0 < self.waiting || 0 < self.flushing || self.closing;
        let rules = self.rules;
        let mut request_bytes: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut requests: BTreeMap<NodeId, Vec<(Lane, Batch)>> = BTreeMap::new();
        let mut left_over = None;
        for lane in self.lanes_in_turn() {
            let queue = self.queues.get_mut(&lane).expect("only this loop removes");
            queue.expire(now, rules.delivery_timeout, lane, &mut turn);
            let Some(at) = queue.ready_at(&rules, is_pressed) else { continue };
            if now < at {
                turn.wait_until(at);
                continue;
            }
            let Some(node) = leader(lane) else {
                turn.leaderless.push(lane.topic);
                continue;
            };
            if !can_send(node) {
                turn.blocked.push(node);
                continue;
            }
            if !idempotence.admits(lane, &mut queue.batches, queue.in_flight) {
                continue;
            }
            let bytes = request_bytes.entry(node).or_default();
            let size = queue.batches.front().map_or(0, Batch::size_bytes);
            let request = requests.entry(node).or_default();
            let is_full = rules.request_bytes_max < *bytes + size;
            if !request.is_empty() && (is_full || REQUEST_PARTITIONS_MAX <= request.len()) {
                // The next turn begins here, and comes at once.
                left_over = left_over.or(Some(lane));
                turn.wait_until(now);
                continue;
            }
            *bytes += size;
            let mut batch = queue.batches.pop_front().expect("a ready queue has a first batch");
            idempotence.stamp(lane, &mut batch);
            queue.in_flight += 1;
            request.push((lane, batch));
            if let Some(next) = queue.ready_at(&rules, is_pressed) {
                // No answer is due before the next batch may follow this one.
                turn.wait_until(next.max(now));
            }
        }
        self.turn_from = left_over;
        self.queues.retain(|_, queue| !queue.batches.is_empty() || 0 < queue.in_flight);
        turn.sends = requests.into_iter().collect();
        turn
    }

    fn lanes_in_turn(&self) -> Vec<Lane> {
        let Some(from) = self.turn_from else { return self.queues.keys().copied().collect() };
        let behind = self.queues.range(from..).map(|(lane, _)| *lane);
        behind.chain(self.queues.range(..from).map(|(lane, _)| *lane)).collect()
    }

    /// A batch that was taken has its answer, or its connection is gone.
    pub fn landed(&mut self, lane: Lane) {
        if let Some(queue) = self.queues.get_mut(&lane) {
            queue.in_flight -= 1;
        }
    }

    /// Puts a batch back where it stood, to be tried again.
    pub fn put_back(&mut self, lane: Lane, batch: Batch) {
        let queue = self.queues.entry(lane).or_default();
        let is_before = |other: &Batch| other.sequence <= batch.sequence;
        let place = queue.batches.partition_point(is_before);
        queue.batches.insert(place, batch);
    }

    /// Parts of a batch that was cut count for the same flush. `extra` is what they hold beyond
    /// what the whole one had reserved.
    pub fn divided(&mut self, flush_id: u64, parts: usize, extra: usize) {
        *self.incomplete.entry(flush_id).or_default() += parts - 1;
        self.used += extra;
    }

    /// A batch has its outcome: its memory is free.
    pub fn release(&mut self, flush_id: u64, reserved: usize) {
        self.used -= reserved;
        let left = self.incomplete.get_mut(&flush_id).expect("it was counted when it began");
        *left -= 1;
        if *left == 0 {
            self.incomplete.remove(&flush_id);
        }
    }

    /// What a flush waits for: batches below this id.
    pub fn flush_target(&self) -> u64 {
        self.next_id
    }

    pub fn is_complete_below(&self, target: u64) -> bool {
        self.incomplete.first_key_value().is_none_or(|(first, _)| target <= *first)
    }

    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    pub fn used_bytes(&self) -> usize {
        self.used
    }

    /// Takes everything that is queued, for a producer that gives up.
    pub fn take_all(&mut self) -> Vec<(Lane, Batch)> {
        let mut batches = Vec::new();
        for (lane, queue) in &mut self.queues {
            batches.extend(queue.batches.drain(..).map(|batch| (*lane, batch)));
        }
        batches
    }

    #[cfg(debug_assertions)]
    pub fn invariants(&self) {
        let queued = self.queues.values().flat_map(|queue| &queue.batches);
        assert!(queued.map(|batch| batch.reserved).sum::<usize>() <= self.used);
        for queue in self.queues.values() {
            assert!(queue.batches.iter().is_sorted_by_key(|batch| batch.sequence));
        }
    }
}

impl Queue {
    fn expire(&mut self, now: Instant, timeout: Duration, lane: Lane, turn: &mut Turn) {
        while let Some(first) = self.batches.front() {
            let dies_at = first.created + timeout;
            if now < dies_at {
                turn.wait_until(dies_at);
                return;
            }
            let batch = self.batches.pop_front().expect("it was just looked at");
            turn.expired.push((lane, batch));
        }
    }

    /// From when on the first batch may go; `None` while there is none, or order forbids it.
    fn ready_at(&self, rules: &Rules, is_pressed: bool) -> Option<Instant> {
        let first = self.batches.front()?;
        if rules.keeps_order && 0 < self.in_flight {
            return None;
        }
        if let Some(retry_at) = first.retry_at {
            return Some(retry_at);
        }
        let is_full = 1 < self.batches.len() || rules.batch_bytes <= first.size_bytes();
        let linger = if is_full || is_pressed { Duration::ZERO } else { rules.linger };
        Some(first.created + linger)
    }
}

impl Turn {
    fn wait_until(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }
}
