//! R5 and R11 between replicas: a leader believes nothing that is out of date when it comes. That is
//! what an earlier incarnation of a broker asked, once it has heard that the broker is registered
//! anew, and what a follower of an earlier leadership asks.

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::{Apply, Shard};
use odradek::controller::change::Change;
use odradek::ids::{LeaderEpoch, NodeId, TopicPartition};
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::wire::replica::ReplicaApiKey;
use odradek::wire::replica::fetch::{FetchReplica, ReplicaFetch, ReplicaFetched};
use odradek::wire::{RequestHeader, frame};

use super::Verdict;
use super::rules::{r5, r11};
use crate::sim::event::Life;
use crate::sim::node::Running;
use crate::sim_disk::SimDisk;

/// Why a fetch is to be refused.
#[derive(Clone, Copy, Debug)]
enum Why {
    Incarnation,
    Epoch,
}

/// See the module.
#[derive(Default)]
pub struct Stale {
    /// What each shard was told of each broker, since its process began.
    told: BTreeMap<(Life, u16), BTreeMap<NodeId, i64>>,
    /// Fetches that are to be refused, by connection, partition and number.
    fetches: BTreeMap<(u64, TopicPartition, u64), Why>,
    /// What came last from one node to another, and of which incarnation it is.
    last: BTreeMap<(NodeId, i32), (i64, Bytes)>,
}

fn open(frame: &[u8], api: ReplicaApiKey) -> Option<&[u8]> {
    let (header, body) = frame::take::<RequestHeader>(frame.get(FRAME_PREFIX_BYTES..)?).ok()?;
    (header.api_key == api as u8).then_some(body)
}

/// The epoch of a partition that a shard goes by.
fn epoch_of(shard: &Shard<SimDisk>, topic_partition: TopicPartition) -> Option<LeaderEpoch> {
    let mut partitions = shard.partitions();
    let found = partitions.find(|(log, _)| log.topic_partition() == topic_partition);
    found.and_then(|(_, replica)| Some(replica?.state().leader_epoch))
}

impl Stale {
    /// A shard is told of changes.
    pub fn told(&mut self, life: Life, shard: u16, apply: &Apply<SimDisk>) {
        for change in &apply.changes {
            if let Change::Registration { node_id, broker_epoch, .. } = change {
                self.told.entry((life, shard)).or_default().insert(*node_id, *broker_epoch);
            }
        }
    }

    /// A frame of a follower has reached its leader. If it is the first of an incarnation: what the one
    /// before has asked last. (Not under a number that this one uses as well: of two answers to that
    /// nobody knows which is which.)
    pub fn asked_before(&mut self, leader: &Running, frame: &Bytes) -> Option<Bytes> {
        let body = open(frame, ReplicaApiKey::Fetch)?;
        let ReplicaFetch { follower, broker_epoch, partitions } =
            frame::decode(body).expect("a follower's");
        let last = self.last.insert((follower, leader.life.node), (broker_epoch, frame.clone()));
        let (_, late) = last.filter(|(last, _)| *last < broker_epoch)?;
        let body = open(&late, ReplicaApiKey::Fetch)?;
        let before: ReplicaFetch = frame::decode(body).expect("a follower's");
        let number = |one: &FetchReplica| (one.topic_partition, one.sequence);
        let mut numbers = before.partitions.iter().map(number);
        let is_used = numbers.any(|used| partitions.iter().any(|one| number(one) == used));
        (!is_used).then_some(late)
    }

    /// A frame of a follower reaches its leader.
    pub fn arrives(&mut self, connection: u64, leader: &Running, frame: &[u8]) {
        let Some(body) = open(frame, ReplicaApiKey::Fetch) else { return };
        let ReplicaFetch { follower, broker_epoch, partitions } =
            frame::decode(body).expect("a follower's");
        for one in partitions {
            let owner = ShardId::owner(one.topic_partition, leader.shards.len() as u16);
            let told = self.told.get(&(leader.life, owner.0)).and_then(|told| told.get(&follower));
            let epoch = epoch_of(&leader.shards[usize::from(owner.0)], one.topic_partition);
            let why = if told.is_some_and(|latest| broker_epoch < *latest) {
                Why::Incarnation
            } else if epoch.is_some_and(|epoch| one.leader_epoch < epoch) {
                Why::Epoch
            } else {
                continue;
            };
            self.fetches.insert((connection, one.topic_partition, one.sequence), why);
        }
    }

    /// A leader answers.
    pub fn leaves(&mut self, connection: u64, frame: &[u8], verdict: &mut Verdict) {
        let Some(body) = open(frame, ReplicaApiKey::Fetched) else { return };
        let (fetched, _) = frame::take::<ReplicaFetched>(body).expect("a leader's");
        for one in fetched.partitions {
            match self.fetches.remove(&(connection, one.topic_partition, one.sequence)) {
                Some(Why::Incarnation) => r5::is_refused(verdict, one.topic_partition, one.error),
                Some(Why::Epoch) => r11::is_refused(verdict, one.topic_partition, one.error),
                None => {}
            }
        }
    }
}
