//! The brokers of a site: they register, are unfenced when they have caught up, are fenced when they
//! fall silent, and say so when they leave (semantics.md 2.12; KIP-631, 841).
//!
//! A broker's epoch is the offset of its registration, so a later incarnation has a higher one.
//!
//! **A new incarnation stays in sync** (design.md §6). Kafka must drop a replica that stopped
//! uncleanly, because it did not sync what it acknowledged. Here the new incarnation gives up its
//! leaderships (the leader epoch rises, so that no offset gets two values), and stays in the ISR of
//! every partition that its recovery found sound. What it found damaged it names when it registers,
//! and leaves ISR and ELR there, save where nobody else has anything (`last_copy` knows who has).
//!
//! **A log dir that went back in time** is told by the metadata in it: a broker that was active had its
//! own registration on stable storage. One that comes back without it was restored from a backup, and
//! what it acknowledged since is not in it: it is eligible for nothing, as an empty one.
//!
//! **Invariant:** whoever is fenced leads nothing, and is in no ISR from the moment its session is
//! over; the changes of one event are one batch.

use std::collections::BTreeSet;

use crate::controller::change::{BrokerState, Change, Endpoint};
use crate::controller::election::{self, Election, Wish};
use crate::controller::image::{BrokerImage, PartitionImage, TopicImage};
use crate::controller::{Controller, FEATURE_LEVEL_MIN, Refusal};
use crate::ids::{NodeId, Offset, Partition, TopicPartition, Uuid};
use crate::limits::{ENDPOINTS_MAX, SITE_BROKERS_MAX, TEXT_CHARS_MAX};
use crate::mutant::{self, Mutant};
use crate::wire::ErrorCode;

/// What a broker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registering {
    /// Which it is.
    pub node_id: NodeId,
    /// Its process, made at random when it started.
    pub incarnation: Uuid,
    /// Its log dir. A broker that comes with another has none of the copies that it had.
    pub directory_id: Uuid,
    /// The cluster that its log dir belongs to.
    pub cluster_id: Uuid,
    /// The highest feature level it understands.
    pub feature_level: u16,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Box<str>,
    /// Partitions whose copy is not what it was.
    pub unsound: BTreeSet<TopicPartition>,
    /// Nobody knows what it had: that is so of all of its partitions.
    pub is_unproven: bool,
    /// Its last process ended cleanly. One that did not may lack the end of what is acknowledged before
    /// it is durable (`acks.durable=false`).
    pub was_clean: bool,
    /// Which life of its quorum log it has.
    pub life: u32,
    /// End of that log when it started, below 0 if nobody knows.
    pub metadata_end: Offset,
}

impl Controller {
    /// Takes a broker in, or its next incarnation. `offset` is that of the batch which the changes
    /// become; `is_heard` says whether its present incarnation is still heard of.
    pub fn register(
        &self,
        broker: &Registering,
        offset: Offset,
        is_heard: bool,
    ) -> Result<Vec<Change>, ErrorCode> {
        let known = self.image.broker(broker.node_id);
        // It asks again: the answer was lost.
        if self.judge_registration(broker, known, is_heard)? {
            return Ok(Vec::new());
        }
        let node_id = broker.node_id;
        let mut changes = vec![Change::Registration {
            node_id,
            broker_epoch: offset.0,
            incarnation: broker.incarnation,
            directory_id: broker.directory_id,
            endpoints: broker.endpoints.clone(),
            rack: broker.rack.clone(),
            life: broker.life,
            active_epoch: known
                .filter(|known| is_same_life(broker, known))
                .map_or(0, |known| known.active_epoch),
        }];
        if broker.feature_level != FEATURE_LEVEL_MIN {
            let feature_level = broker.feature_level;
            changes.push(Change::BrokerLevel { node_id, feature_level });
        }
        let is_older = known.is_some_and(|known| is_older(broker, known));
        if is_older {
            log::error!(
                "broker {node_id} comes with a log dir that is older than what it had: it was \
                 restored from a backup. Nothing in it counts as in sync; where nobody else is, \
                 `odradek topic elect-leader --unclean` decides"
            );
        }
        let is_other_card = is_older || known.is_some_and(|known| is_other(broker, known));
        let keeps = mutant::is_on(Mutant::KeepsEpochAtBoot);
        let may_lead = |node| (node != node_id || keeps) && self.image.is_active(node);
        for place in self.partitions_of(node_id) {
            changes.extend(self.take_copy(broker, is_other_card, place, &may_lead));
        }
        Ok(changes)
    }

    /// What becomes of a partition when a broker comes with its copy, or without.
    fn take_copy(
        &self,
        broker: &Registering,
        is_other_card: bool,
        place: (TopicPartition, &TopicImage, &PartitionImage),
        may_lead: &dyn Fn(NodeId) -> bool,
    ) -> Vec<Change> {
        let (node_id, (topic_partition, topic, image)) = (broker.node_id, place);
        let is_alone = image.isr.iter().chain(&image.elr).all(|other| *other == node_id);
        let is_believed = mutant::is_on(Mutant::KeepsDamagedInSync);
        let is_named = broker.unsound.contains(&topic_partition) || broker.is_unproven;
        let is_cut = !broker.was_clean && !self.is_acked_durable(topic);
        let is_unsound = (is_named || is_cut) && !is_believed;
        if is_unsound && is_alone && !is_other_card {
            let passed_on = self.pass_on(broker, place, may_lead);
            if !passed_on.is_empty() {
                return passed_on;
            }
        }
        // Of a copy that is damaged something is left; of one that is gone, nothing, and whoever
        // was left behind has more. Only where nobody else ever had any it begins again.
        let is_lost = match is_other_card {
            true => 1 < image.replicas.len(),
            false => is_unsound && !is_alone,
        };
        let wish = if is_lost {
            Wish { lost: Some(node_id), ..Wish::without(image, node_id) }
        } else {
            Wish::leader(image, Election::Keep)
        };
        match election::settle(image, wish, may_lead, self.min_isr(topic)) {
            None if is_lost => self.touched(node_id, topic_partition, image),
            settled => changed(image, settled, topic_partition),
        }
    }

    /// Whether it is registered already; why it may not be.
    fn judge_registration(
        &self,
        broker: &Registering,
        known: Option<&BrokerImage>,
        is_heard: bool,
    ) -> Result<bool, ErrorCode> {
        let is_ours = self.image.cluster_id().is_none_or(|ours| ours == broker.cluster_id);
        if !is_ours {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let level = self.image.feature_level().max(FEATURE_LEVEL_MIN);
        if broker.feature_level < level {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let is_bounded = broker.endpoints.len() <= ENDPOINTS_MAX
            && broker.rack.len() <= TEXT_CHARS_MAX
            && broker.endpoints.iter().all(|endpoint| endpoint.host.len() <= TEXT_CHARS_MAX);
        if broker.node_id.0 < 0 || broker.incarnation == Uuid::ZERO || !is_bounded {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        match known {
            Some(known) if known.incarnation == broker.incarnation => Ok(true),
            // One that was alone here before there was a quorum never registered.
            Some(known) if is_heard && known.incarnation != Uuid::ZERO => {
                Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION)
            }
            _ if self.is_card_of_another(broker) => Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION),
            None if SITE_BROKERS_MAX <= self.image.brokers().count() => {
                Err(ErrorCode::POLICY_VIOLATION)
            }
            _ => Ok(false),
        }
    }

    /// Whether a log dir is another broker's too: its card was copied, and given another id.
    fn is_card_of_another(&self, broker: &Registering) -> bool {
        let others = self.image.brokers().filter(|(node_id, _)| *node_id != broker.node_id);
        broker.directory_id != Uuid::ZERO
            && others.map(|(_, other)| other.directory_id).any(|id| id == broker.directory_id)
    }

    /// A broker was not heard of for a session: it leads nothing any more and is in sync with
    /// nothing. No changes when that was so already.
    pub fn fence(&self, node_id: NodeId) -> Vec<Change> {
        self.put_out(node_id, BrokerState::Fenced)
    }

    /// A broker wants to leave.
    pub fn shut_down(&self, node_id: NodeId) -> Vec<Change> {
        match self.image.broker(node_id).map(|broker| broker.state) {
            Some(BrokerState::Active) => self.put_out(node_id, BrokerState::ShuttingDown),
            _ => Vec::new(),
        }
    }

    fn put_out(&self, node_id: NodeId, state: BrokerState) -> Vec<Change> {
        let Some(broker) = self.image.broker(node_id) else { return Vec::new() };
        let mut changes = vec![Change::BrokerState { node_id, state }];
        let may_lead = |node| node != node_id && self.image.is_active(node);
        for (topic_partition, topic, image) in self.partitions_of(node_id) {
            let wish = Wish::without(image, node_id);
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            changes.extend(changed(image, settled, topic_partition));
        }
        // One that has registered, and is in sync of old, is fenced already: it is said once more, for
        // `last_copy` goes by who is put out in a batch.
        let is_so = broker.state == state && changes.len() == 1;
        if is_so { Vec::new() } else { changes }
    }

    /// A broker has caught up: it may lead, and leads at once what nobody else can.
    pub fn unfence(&self, node_id: NodeId) -> Vec<Change> {
        self.put_in(node_id, BrokerState::Fenced)
    }

    /// A broker that wanted to leave stays, and leads at once what nobody else can.
    pub fn stay(&self, node_id: NodeId) -> Vec<Change> {
        self.put_in(node_id, BrokerState::ShuttingDown)
    }

    /// Whether a broker that wants to leave could lead what nobody else can.
    pub fn is_needed(&self, node_id: NodeId) -> bool {
        // The first change is its own state.
        1 < self.stay(node_id).len()
    }

    fn put_in(&self, node_id: NodeId, from: BrokerState) -> Vec<Change> {
        let state = self.image.broker(node_id).map(|broker| broker.state);
        if state != Some(from) {
            return Vec::new();
        }
        let mut changes = vec![Change::BrokerState { node_id, state: BrokerState::Active }];
        let may_lead = |node| node == node_id || self.image.is_active(node);
        for (topic_partition, topic, image) in self.partitions_of(node_id) {
            if image.leader.is_some() {
                continue;
            }
            let wish = Wish::leader(image, Election::Keep);
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            changes.extend(changed(image, settled, topic_partition));
        }
        changes
    }

    /// A broker is taken off the list. It must be gone, and somebody else must have whatever it has;
    /// partitions that name it go on doing so until they are reassigned, and it is in sync with none.
    pub fn unregister(&self, node_id: NodeId, is_heard: bool) -> Result<Vec<Change>, Refusal> {
        let Some(broker) = self.image.broker(node_id) else {
            let message = format!("there is no broker {node_id}");
            return Err(Refusal { error: ErrorCode::BROKER_ID_NOT_REGISTERED, message });
        };
        let refused = |message| Err(Refusal { error: ErrorCode::POLICY_VIOLATION, message });
        if is_heard || broker.state != BrokerState::Fenced {
            return refused(format!("broker {node_id} takes part: stop it first"));
        }
        let mut changes = Vec::new();
        let may_lead = |node| node != node_id && self.image.is_active(node);
        for (topic_partition, topic, image) in self.partitions_of(node_id) {
            let mut whole = image.isr.iter().chain(&image.elr);
            if !whole.any(|other| *other != node_id) {
                return refused(format!(
                    "broker {node_id} holds the only whole copy of {}-{}",
                    topic.name, topic_partition.partition
                ));
            }
            let wish = Wish { lost: Some(node_id), ..Wish::without(image, node_id) };
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            changes.extend(changed(image, settled, topic_partition));
        }
        changes.push(Change::RemoveBroker { node_id });
        Ok(changes)
    }

    /// Leaderships that should be their first replica's, as many as `count`.
    pub fn prefer(&self, count: usize) -> Vec<Change> {
        let is_settled = |image: &PartitionImage| image.leader.as_ref() == image.replicas.first();
        let odd = self.partitions().filter(|(_, _, image)| !is_settled(image));
        let may_lead = |node| self.image.is_active(node);
        let change = |(topic_partition, topic, image): (TopicPartition, &TopicImage, &_)| {
            let wish = Wish::leader(image, Election::Preferred);
            let settled = election::settle(image, wish, &may_lead, self.min_isr(topic));
            // Where the first replica is not in sync nothing is gained.
            let settled = settled.filter(is_settled);
            settled.map(|new| changed(image, Some(new), topic_partition))
        };
        odd.filter_map(change).take(count).flatten().collect()
    }

    /// Whether a broker leads anything, or is in sync with anything.
    pub fn is_in_use(&self, node_id: NodeId) -> bool {
        self.partitions_of(node_id)
            .any(|(_, _, image)| image.leader == Some(node_id) || image.isr.contains(&node_id))
    }

    /// Replicas that must be in sync before the high watermark moves; all, where there are fewer.
    pub(super) fn min_isr(&self, topic: &TopicImage) -> usize {
        let config = topic.effective(&self.config.topic_defaults);
        usize::try_from(config.min_insync_replicas).unwrap_or(1)
    }

    fn is_acked_durable(&self, topic: &TopicImage) -> bool {
        topic.effective(&self.config.topic_defaults).acks_durable
    }

    pub(super) fn partitions(
        &self,
    ) -> impl Iterator<Item = (TopicPartition, &TopicImage, &PartitionImage)> {
        self.image.topics().flat_map(|(topic_id, topic)| {
            topic.partitions.iter().enumerate().map(move |(number, image)| {
                let partition = Partition(number as i32);
                (TopicPartition { topic_id, partition }, topic, image)
            })
        })
    }

    pub(super) fn partitions_of(
        &self,
        node_id: NodeId,
    ) -> impl Iterator<Item = (TopicPartition, &TopicImage, &PartitionImage)> {
        self.partitions().filter(move |(_, _, image)| image.replicas.contains(&node_id))
    }
}

/// Whether a log dir is another than the one that a broker had.
fn is_other(broker: &Registering, known: &BrokerImage) -> bool {
    known.directory_id != Uuid::ZERO && known.directory_id != broker.directory_id
}

/// Whether a log dir is the one that a broker had, as it was at an earlier time.
fn is_older(broker: &Registering, known: &BrokerImage) -> bool {
    let is_known = Offset::ZERO <= broker.metadata_end && 0 < known.active_epoch;
    is_known && is_same_life(broker, known) && broker.metadata_end.0 <= known.active_epoch
}

/// Whether a broker's quorum log goes on: one that was given up begins anew, and says nothing of what
/// the rest of the log dir had.
pub(super) fn is_same_life(broker: &Registering, known: &BrokerImage) -> bool {
    !is_other(broker, known) && broker.life == known.life
}

/// What leads from a partition as it is to what it is to be, if that is another.
pub(super) fn changed(
    before: &PartitionImage,
    settled: Option<PartitionImage>,
    topic_partition: TopicPartition,
) -> Vec<Change> {
    let TopicPartition { topic_id, partition } = topic_partition;
    let settled = settled.into_iter();
    settled.flat_map(|new| new.changes_from(before, topic_id, partition)).collect()
}
