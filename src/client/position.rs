//! One partition of a consumer: where it stands, what is buffered, what is asked for.
//!
//! ```text
//! AwaitingCommitted --committed--> Fetching
//!      |  nothing committed
//!      v
//! AwaitingReset --offset found--> Fetching --out of range--> AwaitingReset | Failed
//!      ^------------- seek_to_* ------|------ seek ------> Fetching
//! ```
//!
//! **Invariant:** `next <= fetch_offset`; the buffered batches hold, in order, what lies
//! between. A seek raises `generation`, and answers to questions of an older one are dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::client::ClientError;
use crate::client::offsets::{OffsetSpec, TopicPartition};
use crate::ids::{LeaderEpoch, Offset, Partition};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::record::{self, Batch, BatchHeader, Records, TimestampType};
use crate::time::Timestamp;

/// A record as it was read. Keys and values share the memory of what was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its time, and who gave it.
    pub timestamp: Timestamp,
    /// Who gave it the time.
    pub timestamp_type: TimestampType,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; a record without one is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers: key and value, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The group's coordinator must be asked where the group was.
    AwaitingCommitted {
        is_asked: bool,
    },
    /// The offset to begin at must be asked for.
    AwaitingReset {
        spec: OffsetSpec,
        is_asked: bool,
    },
    Fetching,
    /// `poll` answers this until a seek.
    Failed(ClientError),
}

impl Stage {
    pub fn awaits_committed(&self) -> bool {
        matches!(self, Stage::AwaitingCommitted { .. })
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Position {
    pub generation: u64,
    pub stage: Stage,
    /// Offset of the next record that `poll` returns.
    pub next: Offset,
    /// Leader epoch of the last record that `poll` returned.
    pub last_epoch: LeaderEpoch,
    /// Offset of the next record to ask the broker for.
    pub fetch_offset: Offset,
    pub is_paused: bool,
    pub is_in_flight: bool,
    pub retry_at: Option<Instant>,
    pub high_watermark: Option<Offset>,
    buffered: VecDeque<Bytes>,
    buffered_bytes: usize,
    /// Met behind the buffered batches; told when those are returned.
    behind: Option<ClientError>,
    current: Option<Current>,
}

/// A batch whose records are being returned.
#[derive(Debug)]
struct Current {
    /// Its record count falls as records are returned.
    header: BatchHeader,
    section: Bytes,
    next_offset: Offset,
}

impl Position {
    pub fn new(stage: Stage, generation: u64) -> Position {
        Position {
            generation,
            stage,
            next: Offset::ZERO,
            last_epoch: LeaderEpoch::NONE,
            fetch_offset: Offset::ZERO,
            is_paused: false,
            is_in_flight: false,
            retry_at: None,
            high_watermark: None,
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            behind: None,
            current: None,
        }
    }

    /// Goes on at `offset`; nothing that is buffered or asked for counts any more.
    pub fn seek(&mut self, offset: Offset, generation: u64) {
        self.forget(generation);
        self.stage = Stage::Fetching;
        self.next = offset;
        self.fetch_offset = offset;
    }

    /// Begins where there is no position: at an offset that must be asked for, if any will do.
    pub fn begin(&mut self, tp: &TopicPartition, spec: Option<OffsetSpec>, generation: u64) {
        if let Some(spec) = spec {
            self.reset(spec, generation);
        } else {
            let topic = tp.topic.to_string();
            let partition = tp.partition;
            self.stage =
                Stage::Failed(ClientError::OffsetOutOfRange { topic, partition, offset: None });
        }
    }

    /// Goes on at an offset that must be asked for.
    pub fn reset(&mut self, spec: OffsetSpec, generation: u64) {
        self.forget(generation);
        self.stage = Stage::AwaitingReset { spec, is_asked: false };
    }

    pub fn fail(&mut self, error: ClientError) {
        self.behind = Some(error);
    }

    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.buffered.clear();
        self.buffered_bytes = 0;
        self.behind = None;
        self.current = None;
        self.retry_at = None;
        self.last_epoch = LeaderEpoch::NONE;
    }

    /// Whether all that was fetched was returned.
    pub fn is_drained(&self) -> bool {
        self.buffered.is_empty() && self.current.is_none()
    }

    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Whether the broker may be asked for more.
    pub fn is_fetchable(&self, now: Instant, buffer_bytes: usize) -> bool {
        self.stage == Stage::Fetching
            && !self.is_paused
            && !self.is_in_flight
            && self.behind.is_none()
            && self.buffered_bytes < buffer_bytes
            && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Takes fetched bytes: whole batches that continue the buffer. Each batch is checked before
    /// it is kept; what is damaged, or does not lead on, is told when `poll` gets there.
    pub fn deliver(&mut self, tp: &TopicPartition, bytes: &Bytes) {
        let mut rest: &[u8] = bytes;
        let before = self.fetch_offset;
        while !rest.is_empty() {
            let Ok((batch, behind)) = Batch::split_first(rest) else { break };
            rest = behind;
            if batch.header().last_offset() < self.fetch_offset {
                continue;
            }
            if !batch.crc_is_valid() {
                break;
            }
            self.fetch_offset = batch.header().next_offset();
            self.buffered_bytes += batch.bytes().len();
            self.buffered.push_back(bytes.slice_ref(batch.bytes()));
        }
        if !bytes.is_empty() && self.fetch_offset == before {
            self.behind = Some(corrupt(tp, before));
        }
    }

    /// Whether `take` may bring records or an error.
    pub fn has_more(&self) -> bool {
        !self.is_paused
            && (self.current.is_some() || !self.buffered.is_empty() || self.behind.is_some())
    }

    /// Moves up to `count_max` records into `records`, and the position behind them.
    pub fn take(
        &mut self,
        tp: &TopicPartition,
        count_max: usize,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ClientError> {
        while records.len() < count_max {
            if self.current.is_none() && !self.open_next(tp)? {
                break;
            }
            if let Err(error) = self.take_current(tp, count_max, records) {
                self.buffered.clear();
                self.buffered_bytes = 0;
                self.current = None;
                self.behind = Some(error);
            }
        }
        Ok(())
    }

    /// Opens the next buffered batch with data; false when there is none.
    fn open_next(&mut self, tp: &TopicPartition) -> Result<bool, ClientError> {
        loop {
            let Some(bytes) = self.buffered.pop_front() else {
                return match &self.behind {
                    Some(error) => Err(error.clone()),
                    None => Ok(false),
                };
            };
            self.buffered_bytes -= bytes.len();
            let (batch, _) = Batch::split_first(&bytes).expect("it was checked when delivered");
            let next_offset = batch.header().next_offset();
            if batch.header().attributes.is_control() {
                self.next = next_offset;
                continue;
            }
            let section = match record::decompress(&batch, DECOMPRESSED_BYTES_MAX) {
                Ok(std::borrow::Cow::Borrowed(section)) => bytes.slice_ref(section),
                Ok(std::borrow::Cow::Owned(section)) => Bytes::from(section),
                Err(_) => {
                    let error = corrupt(tp, self.next);
                    self.buffered.clear();
                    self.buffered_bytes = 0;
                    self.behind = Some(error);
                    continue;
                }
            };
            self.current = Some(Current { header: *batch.header(), section, next_offset });
            return Ok(true);
        }
    }

    fn take_current(
        &mut self,
        tp: &TopicPartition,
        count_max: usize,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ClientError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let section = current.section.clone();
        let mut decoded = Records::new(&current.header, &section);
        while records.len() < count_max {
            let Some(record) = decoded.next() else {
                self.next = self.next.max(current.next_offset);
                self.current = None;
                return Ok(());
            };
            current.header.record_count -= 1;
            let Ok(record) = record else { return Err(corrupt(tp, self.next)) };
            if record.offset < self.next {
                continue;
            }
            let Some(next) = record.offset.next() else {
                return Err(corrupt(tp, self.next));
            };
            self.next = next;
            self.last_epoch = current.header.leader_epoch;
            let own = |slice: Option<&[u8]>| slice.map(|slice| section.slice_ref(slice));
            let headers = record.headers();
            records.push(ConsumerRecord {
                topic: Arc::clone(&tp.topic),
                partition: tp.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type: current.header.attributes.timestamp_type(),
                leader_epoch: current.header.leader_epoch,
                key: own(record.key),
                value: own(record.value),
                headers: headers.map(|one| (section.slice_ref(one.key), own(one.value))).collect(),
            });
        }
        let left = decoded.remaining_bytes();
        current.section = section.slice(section.len() - left..);
        Ok(())
    }
}

fn corrupt(tp: &TopicPartition, offset: Offset) -> ClientError {
    ClientError::Corrupt { topic: tp.topic.to_string(), partition: tp.partition, offset }
}
