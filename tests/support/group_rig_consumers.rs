//! Groups of KIP-848 in the rig; see `group_rig.rs`.
//!
//! A member that joins is called by the name it comes under; with `fresh` the coordinator calls it.
//! What `owned` leaves out is not said, and `owned=-` is nothing.

use std::fmt::Write as _;

use odradek::ids::{Partition, TopicId, Uuid};
use odradek::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, NamedPartitions,
};
use odradek::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use odradek::wire::kafka::consumer_group_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupKey, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue,
};
use odradek::wire::kafka::consumer_protocol::{self, ConsumerProtocolAssignment};
use odradek::wire::list_groups::GroupKind;
use odradek::wire::{ApiKey, frame};

use super::{Args, Rig, ok_or, split_place};

/// The id of a topic: its name.
pub fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    let length = name.len().min(16);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    TopicId(Uuid(bytes))
}

fn topic_name(id: TopicId) -> String {
    let bytes = id.0.0.iter().copied().filter(|byte| *byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

fn shown(topics: impl Iterator<Item = (TopicId, Vec<Partition>)>) -> String {
    let places = topics.flat_map(|(id, partitions)| {
        let name = topic_name(id);
        partitions.into_iter().map(move |partition| format!("{name}-{partition}"))
    });
    format!("[{}]", places.collect::<Vec<String>>().join(" "))
}

/// Places as `a-0+a-1`.
fn owned(text: &str) -> Vec<TopicPartitions> {
    let places = text.split('+').filter_map(split_place);
    let topics = places.map(|(topic, partition)| TopicPartitions {
        topic_id: topic_id(topic),
        partitions: vec![partition],
    });
    topics.collect()
}

/// Places as `a-0+a-1`, as consumers tell each other.
pub fn places(text: &str) -> Vec<consumer_protocol::TopicPartition<'_>> {
    let places = text.split('+').filter_map(split_place);
    let topics = places.map(|(topic, partition)| consumer_protocol::TopicPartition {
        topic,
        partitions: vec![partition],
    });
    topics.collect()
}

/// An assignment: a text, or `@` and places for one that consumers read; `@!` has data besides.
pub fn assignment(text: &str) -> Vec<u8> {
    let Some(named) = text.strip_prefix('@') else { return text.as_bytes().to_vec() };
    let user_data = named.starts_with('!').then_some(&b"own"[..]);
    let assigned_partitions = places(named.trim_start_matches('!'));
    ConsumerProtocolAssignment { assigned_partitions, user_data }.encode(0)
}

/// What an assignment says.
pub fn assigned(bytes: &[u8]) -> String {
    let given = ConsumerProtocolAssignment::decode(bytes);
    let (Ok(given), Some(0)) = (given, bytes.first()) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let places = given.assigned_partitions.into_iter().flat_map(|it| {
        it.partitions.into_iter().map(move |partition| format!("{}-{partition}", it.topic))
    });
    format!("@{}", places.collect::<Vec<String>>().join("+"))
}

impl Rig {
    pub(super) fn ask_beat(&mut self, args: &Args<'_>) {
        let name = args.text("as", "?");
        let epoch = args.number("epoch", 0);
        let is_joining = epoch == 0;
        let member_id = if args.has("fresh") { String::new() } else { self.id(name) };
        let topics =
            args.find("topics").or((is_joining && args.find("regex").is_none()).then_some("t"));
        let topics = topics.map(|topics| topics.split('+').filter(|name| *name != "-").collect());
        let request = ConsumerGroupHeartbeatRequest {
            group_id: args.words.first().copied().unwrap_or_default(),
            member_id: &member_id,
            member_epoch: epoch,
            instance_id: args.find("instance"),
            rack_id: args.find("rack"),
            rebalance_timeout_ms: args.number("rebalance", if is_joining { 60_000 } else { -1 }),
            subscribed_topics: topics,
            subscribed_regex: args.find("regex"),
            server_assignor: args.find("assignor"),
            owned: args.find("owned").or(is_joining.then_some("-")).map(owned),
        };
        self.send(&format!("beat {name}"), ApiKey::ConsumerGroupHeartbeat, &request);
    }

    pub(super) fn ask_inspect(&mut self, args: &Args<'_>) {
        let request = ConsumerGroupDescribeRequest { groups: args.words.clone() };
        self.send("inspect", ApiKey::ConsumerGroupDescribe, &request);
    }

    pub(super) fn beaten(&mut self, name: &str, body: &[u8]) -> String {
        let answer: ConsumerGroupHeartbeatResponse<'_> =
            frame::decode(body).expect("our own answer");
        let who = name.strip_prefix("beat ").expect("a heartbeat");
        if !answer.error.is_ok() {
            return answer.error.name().to_owned();
        }
        if answer.member_id != who {
            self.names.insert(who.to_owned(), answer.member_id.to_owned());
        }
        let assignment = answer.assignment.map(|topics| {
            let topics = topics.into_iter().map(|topic| (topic.topic_id, topic.partitions));
            format!(" {}", shown(topics))
        });
        format!("epoch {}{}", answer.member_epoch, assignment.unwrap_or_default())
    }
}

/// What a description says.
pub fn inspected(body: &[u8]) -> String {
    let answer: ConsumerGroupDescribeResponse<'_> = frame::decode(body).expect("our own answer");
    let mut text = String::new();
    for group in &answer.groups {
        let what = format!(
            "{} epoch {} assigned {} by {}",
            group.state, group.epoch, group.assignment_epoch, group.assignor
        );
        text.push_str(&ok_or(group.error, &what));
        for member in &group.members {
            let named = |topics: &[NamedPartitions<'_>]| {
                shown(topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())))
            };
            let regex = member.subscribed_regex.map(|regex| format!(" /{regex}/"));
            write!(
                text,
                "\n  {}{} epoch {} reads [{}]{} has {} of {}",
                member.member_id,
                if member.kind == GroupKind::Classic { " (classic)" } else { "" },
                member.member_epoch,
                member.subscribed_topics.join(" "),
                regex.unwrap_or_default(),
                named(&member.assignment),
                named(&member.target),
            )
            .expect("a String takes all");
        }
    }
    text
}

/// What a record says.
pub fn record(key: &ConsumerGroupKey<'_>, value: Option<&[u8]>) -> String {
    let what = match key {
        ConsumerGroupKey::Group(_) => "epoch".to_owned(),
        ConsumerGroupKey::Topics(_) => "topics".to_owned(),
        ConsumerGroupKey::Target(_) => "target".to_owned(),
        ConsumerGroupKey::Member(key) => format!("member {}", key.member_id),
        ConsumerGroupKey::TargetMember(key) => {
            format!("target of {}", key.member_id)
        }
        ConsumerGroupKey::CurrentMember(key) => {
            format!("current of {}", key.member_id)
        }
        ConsumerGroupKey::Expression(key) => format!("expression /{}/", key.expression),
    };
    let value = value.map_or_else(|| "forgotten".to_owned(), |value| said(key, value));
    format!("  record: {} {what} {value}", key.group())
}

fn said(key: &ConsumerGroupKey<'_>, value: &[u8]) -> String {
    const OURS: &str = "our own value";
    match key {
        ConsumerGroupKey::Group(_) => {
            ConsumerGroupMetadataValue::decode(value).expect(OURS).epoch.to_string()
        }
        ConsumerGroupKey::Topics(_) => panic!("we write no such records"),
        ConsumerGroupKey::Target(_) => {
            let value = ConsumerGroupTargetAssignmentMetadataValue::decode(value).expect(OURS);
            value.assignment_epoch.to_string()
        }
        ConsumerGroupKey::Member(_) => {
            let value = ConsumerGroupMemberMetadataValue::decode(value).expect(OURS);
            let regex = value.subscribed_topic_regex.map(|regex| format!(" /{regex}/"));
            let regex = regex.unwrap_or_default();
            let classic = value.classic_member_metadata.map(|classic| {
                let names = classic.supported_protocols.iter().map(|it| it.name);
                format!(
                    " by {} for {}",
                    names.collect::<Vec<_>>().join("+"),
                    classic.session_timeout_ms
                )
            });
            let regex = regex + &classic.unwrap_or_default();
            format!("reads [{}]{regex}", value.subscribed_topic_names.join(" "))
        }
        ConsumerGroupKey::TargetMember(_) => {
            let value = ConsumerGroupTargetAssignmentMemberValue::decode(value).expect(OURS);
            shown(value.topic_partitions.into_iter().map(|it| (it.topic_id, it.partitions)))
        }
        ConsumerGroupKey::CurrentMember(_) => {
            let value = ConsumerGroupCurrentMemberAssignmentValue::decode(value).expect(OURS);
            let state = ["stable", "unrevoked", "unreleased"][value.state as usize];
            let held = value.assigned_partitions.into_iter();
            let held = shown(held.map(|it| (it.topic_id, it.partitions)));
            let revoking = value.partitions_pending_revocation.into_iter();
            let revoking = shown(revoking.map(|it| (it.topic_id, it.partitions)));
            let revoking =
                if revoking == "[]" { String::new() } else { format!(" without {revoking}") };
            let (epoch, before) = (value.member_epoch, value.previous_member_epoch);
            format!("epoch {epoch} after {before} {state} {held}{revoking}")
        }
        ConsumerGroupKey::Expression(_) => {
            let value = ConsumerGroupRegularExpressionValue::decode(value).expect(OURS);
            format!("[{}]", value.topics.join(" "))
        }
    }
}
