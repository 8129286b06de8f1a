//! Partitions by name, and offsets by time or end: shared by admin and consumer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::client::ClientError;
use crate::client::cluster::Cluster;
use crate::ids::{LeaderEpoch, NodeId, Offset, Partition};
use crate::time::Timestamp;
use crate::wire::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, MAX_TIMESTAMP,
};
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

/// A partition, by its topic's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
}

impl TopicPartition {
    /// The partition of this number.
    pub fn new(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::from(topic), partition: Partition(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one held.
    Earliest,
    /// The one after the last that can be read.
    Latest,
    /// That of the record with the largest timestamp.
    MaxTimestamp,
    /// That of the first record at or after this time.
    At(Timestamp),
}

impl OffsetSpec {
    pub(super) fn timestamp(self) -> Timestamp {
        match self {
            OffsetSpec::Earliest => EARLIEST,
            OffsetSpec::Latest => LATEST,
            OffsetSpec::MaxTimestamp => MAX_TIMESTAMP,
            // Times before 1970 stand for the beginning; the wire gives -1 to -3 other meanings.
            OffsetSpec::At(at) => at.max(Timestamp(0)),
        }
    }
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The offset.
    pub offset: Offset,
    /// The timestamp of its record; −1 for the ends.
    pub timestamp: Timestamp,
    /// Epoch in which it was written.
    pub leader_epoch: LeaderEpoch,
}

/// An offset to commit, or that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record to read.
    pub offset: Offset,
    /// Epoch of the last record that was read, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// Whatever the user wants to keep beside it.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// Only the offset.
    pub fn new(offset: Offset) -> OffsetAndMetadata {
        let metadata = String::new();
        OffsetAndMetadata { offset, leader_epoch: LeaderEpoch::NONE, metadata }
    }
}

/// The places of `partitions` by leader; those without a leader are left out.
pub(super) fn by_leader(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<NodeId, Vec<usize>>, ClientError> {
    let mut names: Vec<&str> = partitions.iter().map(|one| &*one.topic).collect();
    names.sort_unstable();
    names.dedup();
    let refs: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
    let metadata = cluster.metadata(Some(&refs), false)?;
    let topics: BTreeMap<&str, _> = names.iter().copied().zip(&metadata.topics).collect();
    let mut places: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (place, one) in partitions.iter().enumerate() {
        if let Some(Ok(topic)) = topics.get(&*one.topic) {
            if let Some(leader) = topic.leader(one.partition) {
                places.entry(leader).or_default().push(place);
            }
        }
    }
    Ok(places)
}

/// Asks the leaders; one answer for each question, in their order.
pub(super) fn list(
    cluster: &mut Cluster,
    questions: &[(TopicPartition, OffsetSpec)],
) -> Result<Vec<Result<Option<OffsetAndTimestamp>, ErrorCode>>, ClientError> {
    let partitions: Vec<TopicPartition> = questions.iter().map(|(one, _)| one.clone()).collect();
    let by_leader = by_leader(cluster, &partitions)?;
    let mut answers: Vec<_> = vec![Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION); questions.len()];
    let timeout = cluster.request_timeout();
    for (leader, places) in by_leader {
        let wire = places.iter().map(|place| {
            let (one, spec) = &questions[*place];
            ListOffsetsPartition {
                topic: TopicRef::Name(&one.topic),
                partition: one.partition,
                current_leader_epoch: LeaderEpoch::NONE,
                timestamp: spec.timestamp(),
            }
        });
        let request = ListOffsetsRequest { partitions: wire.collect() };
        let frame = cluster.call_node(Some(leader), ApiKey::ListOffsets, &request, timeout)?;
        let response: ListOffsetsResponse = frame.body()?;
        if response.partitions.len() != places.len() {
            return Err(ClientError::Protocol(FrameError::Malformed));
        }
        for (place, answer) in places.into_iter().zip(response.partitions) {
            answers[place] = if !answer.error.is_ok() {
                Err(answer.error)
            } else if answer.offset.0 < 0 {
                Ok(None)
            } else {
                Ok(Some(OffsetAndTimestamp {
                    offset: answer.offset,
                    timestamp: answer.timestamp,
                    leader_epoch: answer.leader_epoch,
                }))
            };
        }
    }
    Ok(answers)
}
