//! The controller's commands on topics: create, grow, configure, delete.
//!
//! Each checks a whole request against the image plus what earlier entries of the same request
//! already did, and answers entry by entry (semantics.md §3).

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::change::Change;
use crate::controller::image::TopicImage;
use crate::controller::placement::Round;
use crate::controller::{Controller, OFFSETS_TOPIC, OffsetsTopic, Outcome, Verdict};
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, Uuid};
use crate::limits::{TOPIC_PARTITIONS_MAX, TOPICS_MAX};
use crate::wire::create_partitions::{CreatePartitionsRequest, GrowTopic};
use crate::wire::create_topics::{CreateTopic, CreateTopicsRequest};
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::{ErrorCode, TopicRef};

/// What a request has claimed so far, so that its later entries see its earlier ones.
struct Claims<'a> {
    names: BTreeSet<&'a str>,
    topic_count: usize,
    partition_count: usize,
}

impl Controller {
    pub(super) fn create_topics(
        &self,
        request: &CreateTopicsRequest<'_>,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Outcome {
        let mut occurrences = BTreeMap::new();
        for topic in &request.topics {
            *occurrences.entry(topic.name).or_insert(0) += 1;
        }
        let mut claims = Claims {
            names: BTreeSet::new(),
            topic_count: self.image.topic_count(),
            partition_count: self.image.partition_count(),
        };
        let mut outcome = Outcome::default();
        for topic in &request.topics {
            let verdict = if occurrences[topic.name] == 1 {
                self.create_topic(topic, &mut claims, &mut outcome.changes, fresh_id)
            } else {
                let message = "the topic is named twice in the request";
                Verdict::refused(ErrorCode::INVALID_REQUEST, message)
            };
            outcome.verdicts.push(verdict);
        }
        if request.validate_only {
            outcome.changes.clear();
        }
        outcome
    }

    fn create_topic<'a>(
        &self,
        topic: &CreateTopic<'a>,
        claims: &mut Claims<'a>,
        changes: &mut Vec<Change>,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Verdict {
        let name = match self.check_new_name(topic.name, claims) {
            Ok(name) => name,
            Err(verdict) => return verdict,
        };
        let partition_count = match topic.partition_count {
            -1 => self.config.num_partitions,
            count => count,
        };
        if let Some(verdict) = self.check_growth(partition_count, partition_count, claims) {
            return verdict;
        }
        let replication_factor = match topic.replication_factor {
            -1 => self.config.default_replication_factor,
            factor => factor,
        };
        if let Some(verdict) = self.check_replication_factor(replication_factor) {
            return verdict;
        }
        if let Some(verdict) = self.check_configs(topic) {
            return verdict;
        }
        claims.names.insert(topic.name);
        claims.topic_count += 1;
        claims.partition_count += partition_count as usize;
        let topic_id = TopicId(fresh_id());
        changes.push(Change::Topic { topic_id, name });
        for entry in &topic.configs {
            let (key, value) = (entry.key.into(), Some(entry.value.into()));
            changes.push(Change::Config { topic_id, key, value });
        }
        self.place(topic_id, 0..partition_count, replication_factor as usize, changes);
        Verdict::accepted(topic_id, partition_count, replication_factor)
    }

    /// Makes the topic of groups, unless it is there.
    pub(super) fn create_offsets_topic(&self, fresh_id: &mut dyn FnMut() -> Uuid) -> Outcome {
        if let Some((topic_id, image)) = self.image.find(TopicRef::Name(OFFSETS_TOPIC)) {
            let verdict = Verdict::accepted(topic_id, image.partitions.len() as i32, 1);
            return Outcome { changes: Vec::new(), verdicts: vec![verdict] };
        }
        let OffsetsTopic { partition_count, replication_factor, segment_bytes } =
            self.config.offsets_topic;
        let claims = Claims {
            names: BTreeSet::new(),
            topic_count: self.image.topic_count(),
            partition_count: self.image.partition_count(),
        };
        if let Some(verdict) = self.check_growth(partition_count, partition_count, &claims) {
            return Outcome { changes: Vec::new(), verdicts: vec![verdict] };
        }
        let topic_id = TopicId(fresh_id());
        let name = TopicName::new(OFFSETS_TOPIC).expect("the name is legal");
        let mut changes = vec![Change::Topic { topic_id, name }];
        let segment_bytes = segment_bytes.to_string();
        // A committed offset must survive a power cut, and be kept for as long as its group,
        // whatever the broker's defaults for topics are.
        for (key, value) in [
            ("cleanup.policy", "compact"),
            ("acks.durable", "true"),
            ("compression.type", "producer"),
            ("message.timestamp.type", "CreateTime"),
            ("segment.bytes", &segment_bytes),
        ] {
            let (key, value) = (key.into(), Some(value.into()));
            changes.push(Change::Config { topic_id, key, value });
        }
        // As many replicas as there are brokers, if more are wished for: a group must not wait for
        // boards that may never come.
        let broker_count = i16::try_from(Round::of(&self.image).len()).unwrap_or(i16::MAX);
        let factor = replication_factor.min(broker_count);
        if let Some(verdict) = self.check_replication_factor(factor) {
            return Outcome { changes: Vec::new(), verdicts: vec![verdict] };
        }
        self.place(topic_id, 0..partition_count, factor as usize, &mut changes);
        let verdict = Verdict::accepted(topic_id, partition_count, factor);
        Outcome { changes, verdicts: vec![verdict] }
    }

    fn check_new_name(&self, name: &str, claims: &Claims<'_>) -> Result<TopicName, Verdict> {
        let name = TopicName::new(name)
            .map_err(|why| Verdict::refused(ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_string()))?;
        if name.is_internal() {
            let message = "names that begin with `__` are kept for the broker's own topics";
            return Err(Verdict::refused(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        if self.image.find(TopicRef::Name(name.as_str())).is_some() {
            let message = format!("topic `{name}` exists");
            return Err(Verdict::refused(ErrorCode::TOPIC_ALREADY_EXISTS, message));
        }
        let existing = self.image.topics().map(|(_, topic)| &*topic.name);
        let mut others = existing.chain(claims.names.iter().copied());
        let collides = |other: &str| TopicName::new(other).is_ok_and(|o| name.collides_with(&o));
        if let Some(other) = others.find(|other| collides(other)) {
            let message = format!(
                "topic `{name}` differs from `{other}` only in `.` and `_`, which metrics confuse"
            );
            return Err(Verdict::refused(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        if TOPICS_MAX <= claims.topic_count {
            let message = format!("the cluster holds its limit of {TOPICS_MAX} topics");
            return Err(Verdict::refused(ErrorCode::POLICY_VIOLATION, message));
        }
        Ok(name)
    }

    fn check_growth(&self, total: i32, added: i32, claims: &Claims<'_>) -> Option<Verdict> {
        if !(1..=TOPIC_PARTITIONS_MAX).contains(&total) {
            let message =
                format!("{total} partitions: a topic has from 1 to {TOPIC_PARTITIONS_MAX}");
            return Some(Verdict::refused(ErrorCode::INVALID_PARTITIONS, message));
        }
        let partitions_max = self.config.partitions_max;
        if partitions_max < claims.partition_count.saturating_add(added as usize) {
            let message = format!(
                "{added} more partitions: this broker's file handles allow {partitions_max}, it \
                 has {}",
                claims.partition_count
            );
            return Some(Verdict::refused(ErrorCode::POLICY_VIOLATION, message));
        }
        None
    }

    fn check_replication_factor(&self, factor: i16) -> Option<Verdict> {
        let round = Round::of(&self.image);
        let broker_count = round.len();
        let message = if factor < 1 {
            format!("replication factor {factor}: it is at least 1, or -1 for the default")
        } else if broker_count < factor as usize || round.has_no_leader() {
            format!(
                "target replication factor of {factor} cannot be reached because only \
                 {broker_count} broker(s) are registered"
            )
        } else {
            return None;
        };
        Some(Verdict::refused(ErrorCode::INVALID_REPLICATION_FACTOR, message))
    }

    fn check_configs(&self, topic: &CreateTopic<'_>) -> Option<Verdict> {
        let mut config = self.config.topic_defaults.clone();
        let mut seen = BTreeSet::new();
        for entry in &topic.configs {
            if !seen.insert(entry.key) {
                let message = format!("`{}` is given twice", entry.key);
                return Some(Verdict::refused(ErrorCode::INVALID_CONFIG, message));
            }
            if let Err(why) = config.set(entry.key, entry.value) {
                return Some(Verdict::refused(ErrorCode::INVALID_CONFIG, why.to_string()));
            }
        }
        None
    }

    fn place(
        &self,
        topic_id: TopicId,
        numbers: std::ops::Range<i32>,
        factor: usize,
        changes: &mut Vec<Change>,
    ) {
        let round = Round::of(&self.image);
        for number in numbers {
            let (partition, leader_epoch) = (Partition(number), LeaderEpoch(0));
            let replicas = round.replicas(topic_id, number, factor);
            let leader = *replicas.first().expect("somebody may lead, or nothing is placed");
            let in_sync = replicas.iter().copied().filter(|node| self.image.is_active(*node));
            let isr: Vec<NodeId> = in_sync.collect();
            let is_whole = isr.len() == replicas.len();
            let change = Change::Partition { topic_id, partition, replicas, leader, leader_epoch };
            changes.push(change);
            if !is_whole {
                changes.push(Change::PartitionChange {
                    topic_id,
                    partition,
                    leader: Some(leader),
                    leader_epoch,
                    isr,
                    elr: Vec::new(),
                    partition_epoch: 1,
                });
            }
        }
    }

    pub(super) fn delete_topics(&self, request: &DeleteTopicsRequest<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut gone = BTreeSet::new();
        for &topic in &request.topics {
            let verdict = match self.image.find(topic) {
                _ if !self.config.delete_topic_enable => Verdict::refused(
                    ErrorCode::TOPIC_DELETION_DISABLED,
                    "`delete.topic.enable` is false",
                ),
                None => unknown_topic(topic),
                Some((_, image)) if image.is_internal() => internal(image),
                Some((topic_id, image)) => {
                    if gone.insert(topic_id) {
                        outcome.changes.push(Change::RemoveTopic { topic_id });
                    }
                    Verdict::accepted(topic_id, image.partitions.len() as i32, 1)
                }
            };
            outcome.verdicts.push(verdict);
        }
        outcome
    }

    pub(super) fn create_partitions(&self, request: &CreatePartitionsRequest<'_>) -> Outcome {
        let mut claims = Claims {
            names: BTreeSet::new(),
            topic_count: self.image.topic_count(),
            partition_count: self.image.partition_count(),
        };
        let mut outcome = Outcome::default();
        let mut grown = BTreeSet::new();
        for grow in &request.topics {
            let verdict = self.grow_topic(grow, &mut grown, &mut claims, &mut outcome.changes);
            outcome.verdicts.push(verdict);
        }
        if request.validate_only {
            outcome.changes.clear();
        }
        outcome
    }

    fn grow_topic(
        &self,
        grow: &GrowTopic<'_>,
        grown: &mut BTreeSet<TopicId>,
        claims: &mut Claims<'_>,
        changes: &mut Vec<Change>,
    ) -> Verdict {
        let Some((topic_id, image)) = self.image.find(grow.topic) else {
            return unknown_topic(grow.topic);
        };
        if image.is_internal() {
            return internal(image);
        }
        if !grown.insert(topic_id) {
            let message = "the topic is named twice in the request";
            return Verdict::refused(ErrorCode::INVALID_REQUEST, message);
        }
        let count = image.partitions.len() as i32;
        if grow.partition_count <= count {
            let message = format!(
                "topic `{}` has {count} partitions; it can only grow, not to {}",
                image.name, grow.partition_count
            );
            return Verdict::refused(ErrorCode::INVALID_PARTITIONS, message);
        }
        let added = grow.partition_count - count;
        if let Some(verdict) = self.check_growth(grow.partition_count, added, claims) {
            return verdict;
        }
        // As its first partition has it.
        let factor = image.partitions.first().map_or(1, |first| first.replicas.len());
        if let Some(verdict) = self.check_replication_factor(factor as i16) {
            return verdict;
        }
        claims.partition_count += added as usize;
        self.place(topic_id, count..grow.partition_count, factor, changes);
        Verdict::accepted(topic_id, grow.partition_count, factor as i16)
    }
}

/// The broker's own topics are its own business: which partition keeps a group depends on how many
/// there are, and what is in them is nobody else's to delete.
fn internal(image: &TopicImage) -> Verdict {
    let message = format!("topic `{}` is the broker's own", image.name);
    Verdict::refused(ErrorCode::INVALID_TOPIC_EXCEPTION, message)
}

pub(super) fn unknown_topic(topic: TopicRef<'_>) -> Verdict {
    match topic {
        TopicRef::Name(name) => {
            let message = match TopicName::new(name) {
                Ok(name) => format!("there is no topic `{name}`"),
                Err(why) => why.to_string(),
            };
            Verdict::refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message)
        }
        TopicRef::Id(id) => {
            Verdict::refused(ErrorCode::UNKNOWN_TOPIC_ID, format!("there is no topic of id {id}"))
        }
    }
}
