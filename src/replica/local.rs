//! What leader and follower share: the log, and what is known of the partition.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::{BrokerState, LeaderAndIsr, Output, ReplicaConfig};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::disk::Disk;
use crate::journal::{Entry, SmallState};
use crate::log::{Appended, FlushTarget, Log, LogError};
use crate::mutant::{self, Mutant};
use crate::record::TimestampType;
use crate::time::{Boot, Now, Timestamp};
use crate::wire::ErrorCode;

/// This node's copy of a partition.
///
/// Range: `log start <= high_watermark <= log end`.
pub(super) struct Local<D: Disk> {
    pub log: Log<D>,
    pub config: ReplicaConfig,
    pub state: LeaderAndIsr,
    pub high_watermark: Offset,
    /// The first offset that is on stable storage: what others are told.
    pub start_durable: Offset,
    /// End of the records that are on stable storage. Where the log's start has passed them the log
    /// says more; but until that start is durable too, a power cut would bring this end back.
    flushed_end: Offset,
    pub brokers: BTreeMap<NodeId, BrokerState>,
    /// From where on the log is damaged.
    pub damage: Option<Offset>,
    /// Whether the log takes no more until it is reopened.
    pub is_failed: bool,
    pub outputs: VecDeque<Output<D>>,
    next_token: u64,
    /// Before this the high watermark is not written down again.
    note_after: Boot,
}

impl<D: Disk> Local<D> {
    /// The high watermark is the one that was last written down; a lower one only makes readers
    /// wait.
    pub fn new(now: Now, log: Log<D>, config: ReplicaConfig) -> Self {
        let (start, flushed_end) = (log.start_offset(), log.durable_offset());
        let damage = log.damaged_from();
        let readable = damage.map_or(flushed_end, |damage| damage.min(flushed_end));
        let high_watermark = log.noted_high_watermark().min(readable).max(start);
        let state = LeaderAndIsr {
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: -1,
            ..LeaderAndIsr::default()
        };
        Local {
            damage,
            is_failed: log.is_poisoned(),
            log,
            state,
            high_watermark,
            start_durable: start,
            flushed_end,
            brokers: BTreeMap::new(),
            outputs: VecDeque::new(),
            next_token: 0,
            note_after: now.boot.plus_ms(config.high_watermark_interval_ms),
            config,
        }
    }

    /// Takes what is known of brokers over. Their incarnations only rise.
    pub fn take_brokers(&mut self, brokers: Vec<BrokerState>) {
        for broker in brokers {
            let known = self.brokers.entry(broker.node_id).or_insert(broker);
            if known.broker_epoch <= broker.broker_epoch {
                *known = broker;
            }
            if broker.node_id == self.config.node_id {
                // It may have begun before it was registered.
                self.config.broker_epoch = self.config.broker_epoch.max(broker.broker_epoch);
            }
        }
    }

    /// Records from here on are damaged.
    pub fn note_damage(&mut self, from: Offset) {
        self.damage = Some(self.damage.map_or(from, |known| known.min(from)));
    }

    /// A read for another replica has met damage.
    pub fn find_damage(&mut self, segment: Offset, position: Option<u64>) {
        self.note_damage(segment);
        self.push(Output::Damaged { segment, position });
    }

    /// End of what no power cut takes away: the acknowledgement.
    pub fn durable_end(&self) -> Offset {
        self.flushed_end.max(self.start_durable)
    }

    /// The log was cut, or begun anew, which the journal had before.
    pub fn cut(&mut self) {
        self.flushed_end = self.flushed_end.min(self.log.end_offset());
        self.start_durable = self.log.start_offset();
        let held = self.log.start_offset()..self.log.end_offset();
        self.damage = self.damage.filter(|damage| held.contains(damage));
    }

    /// How far this copy is acknowledged: to its durable end, or where the topic's acks do not wait
    /// for storage to its log end.
    pub fn acked_end(&self) -> Offset {
        if mutant::is_on(Mutant::AcksUnsynced) {
            return self.log.end_offset();
        }
        self.acked(self.log.end_offset(), self.durable_end())
    }

    /// The same of a copy elsewhere.
    pub fn acked(&self, log_end: Offset, durable_end: Offset) -> Offset {
        #[cfg(feature = "mutants")]
        if self.config.mutant == Some(super::mutant::Mutant::CountsLogEnds) {
            return log_end;
        }
        if self.log.config().acks_durable { durable_end } else { log_end }
    }

    /// `min.insync.replicas`, as far as there are replicas.
    pub fn min_insync(&self) -> usize {
        let wanted = usize::try_from(self.log.config().min_insync_replicas).unwrap_or(0);
        wanted.min(self.state.replicas.len())
    }

    /// What a requested leader epoch is to this one.
    pub fn check_epoch(&self, requested: LeaderEpoch) -> Result<(), ErrorCode> {
        match requested.cmp(&self.state.leader_epoch) {
            Ordering::Less if mutant::is_on(Mutant::TakesStaleEpoch) => Ok(()),
            Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        }
    }

    pub fn push(&mut self, output: Output<D>) {
        self.outputs.push_back(output);
    }

    pub fn persist_state(&mut self, state: SmallState) {
        let topic_partition = self.log.topic_partition();
        self.push(Output::Persist(Entry::State { topic_partition, state }));
    }

    /// Has all that is left synced and the journal told, though nothing of it may be new.
    pub fn persist_end(&mut self) -> Result<(), LogError> {
        let topic_partition = self.log.topic_partition();
        let mut targets = self.log.flush_targets()?;
        if targets.is_empty() {
            targets.push(self.log.last_flush_target()?);
        }
        for FlushTarget { segment, end_offset, position_end } in targets {
            let entry = Entry::Flush { topic_partition, end_offset, segment, position_end };
            self.push(Output::Persist(entry));
        }
        Ok(())
    }

    /// Hands a batch to the flusher. Where acks do not wait for storage the owner flushes the log
    /// in its own time.
    pub fn persist_batch(&mut self, appended: Appended<D::File>, bytes: bytes::Bytes) {
        if !self.log.config().acks_durable {
            return;
        }
        let entry = appended.into_entry(self.log.topic_partition(), bytes);
        self.push(Output::Persist(entry));
    }

    /// The time that was stamped on a batch of this timestamp, if one was.
    pub fn stamped(&self, timestamp: Timestamp) -> Timestamp {
        let is_stamped = self.log.config().message_timestamp_type == TimestampType::LogAppendTime;
        if is_stamped { timestamp } else { Timestamp::NONE }
    }

    /// Raises the first offset to at most the log's end.
    pub fn raise_start(&mut self, start: Offset) {
        if let Some(raised) = self.log.advance_start(start) {
            self.persist_state(raised);
            self.high_watermark = self.high_watermark.max(self.log.start_offset());
        }
    }

    /// What was persisted is.
    pub fn flushed(&mut self, durable_end: Option<Offset>, log_start: Option<Offset>) {
        if let Some(start) = log_start {
            self.log.mark_start_durable(start);
            self.start_durable = self.start_durable.max(start.min(self.log.start_offset()));
        }
        if let Some(end) = durable_end {
            let end = end.min(self.log.end_offset());
            self.log.mark_durable(end);
            self.flushed_end = self.flushed_end.max(end);
        }
    }

    pub fn raise_high_watermark(&mut self, to: Offset) -> bool {
        let is_higher = self.high_watermark < to;
        if is_higher {
            self.high_watermark = to;
            self.push(Output::HighWatermark(to));
        }
        is_higher
    }

    /// Writes the high watermark down when it is time.
    pub fn note_high_watermark(&mut self, now: Boot) {
        if now < self.note_at() || self.is_failed {
            return;
        }
        self.note_after = now.plus_ms(self.config.high_watermark_interval_ms);
        if let Some(state) = self.log.note_high_watermark(self.high_watermark) {
            self.persist_state(state);
        }
    }

    /// When that is; never while there is no news.
    pub fn note_at(&self) -> Boot {
        let is_news = self.log.noted_high_watermark() < self.high_watermark && !self.is_failed;
        if is_news { self.note_after } else { Boot::NEVER }
    }

    /// A name for a wait.
    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub fn invariants(&self) {
        if cfg!(debug_assertions) {
            let (start, end) = (self.log.start_offset(), self.log.end_offset());
            let high_watermark = self.high_watermark;
            assert!(start <= high_watermark, "start {start}, high watermark {high_watermark}");
            assert!(high_watermark <= end, "high watermark {high_watermark}, end {end}");
            assert!(self.durable_end() <= end, "durable end {}, end {end}", self.durable_end());
        }
    }
}
