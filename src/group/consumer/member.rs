//! A member of a consumer group: what it said, and what it has.

use std::collections::BTreeSet;

use super::reconcile::Current;
use crate::group::{Caller, ids};
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::kafka::consumer_group_records::ConsumerGroupMemberMetadataValue;

/// What a member takes beside its texts and partitions, roughly.
const MEMBER_BYTES: usize = 768;

/// What a partition takes in each of the sets it stands in, roughly.
const PARTITION_BYTES: usize = 48;

/// What a member said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Said {
    pub instance_id: Option<Box<str>>,
    pub rack_id: Option<Box<str>>,
    pub client_id: Box<str>,
    pub client_host: Box<str>,
    pub topics: BTreeSet<Box<str>>,
    /// The expression by which it reads other topics.
    pub expression: Option<Box<str>>,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<Box<str>>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub said: Said,
    pub current: Current,
}

impl Said {
    pub fn of_stored(value: &ConsumerGroupMemberMetadataValue<'_>) -> Said {
        let expression = value.subscribed_topic_regex.filter(|text| !text.is_empty());
        Said {
            instance_id: value.instance_id.map(Into::into),
            rack_id: value.rack_id.map(Into::into),
            client_id: value.client_id.into(),
            client_host: value.client_host.into(),
            topics: value.subscribed_topic_names.iter().map(|name| (*name).into()).collect(),
            expression: expression.map(Into::into),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            assignor: value.server_assignor.map(Into::into),
        }
    }

    pub fn stored(&self) -> ConsumerGroupMemberMetadataValue<'_> {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.as_deref(),
            rack_id: self.rack_id.as_deref(),
            client_id: &self.client_id,
            client_host: &self.client_host,
            subscribed_topic_names: self.topics.iter().map(|name| &**name).collect(),
            subscribed_topic_regex: self.expression.as_deref(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.as_deref(),
            classic_member_metadata: None,
        }
    }

    /// What it says now; what a request leaves out is as before.
    pub fn updated(&self, caller: Caller<'_>, request: &ConsumerGroupHeartbeatRequest<'_>) -> Said {
        let mut said = self.clone();
        said.client_id = ids::shown(caller.client_id);
        said.client_host = ids::shown(caller.client_host);
        if let Some(instance_id) = request.instance_id {
            said.instance_id = Some(instance_id.into());
        }
        if let Some(rack_id) = request.rack_id {
            said.rack_id = Some(rack_id.into());
        }
        if 0 <= request.rebalance_timeout_ms {
            said.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(topics) = &request.subscribed_topics {
            said.topics = topics.iter().map(|name| (*name).into()).collect();
        }
        if let Some(expression) = request.subscribed_regex {
            said.expression = Some(expression).filter(|text| !text.is_empty()).map(Into::into);
        }
        if let Some(assignor) = request.server_assignor {
            said.assignor = Some(assignor.into());
        }
        said
    }

    /// Whether it reads the same.
    pub fn reads_as(&self, other: &Said) -> bool {
        self.topics == other.topics && self.expression == other.expression
    }

    fn bytes(&self) -> usize {
        let topics: usize = self.topics.iter().map(|name| name.len() + 32).sum();
        let texts = [&self.instance_id, &self.rack_id, &self.expression, &self.assignor];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        topics + texts.sum::<usize>() + self.client_id.len() + self.client_host.len()
    }
}

impl Member {
    /// What keeping it takes, its target included.
    pub fn cost(&self, member_id: &str, target_count: usize) -> usize {
        // What it has stands in the set of what is held, too.
        let held_count = 2 * (self.current.assigned.len() + self.current.revoking.len());
        let partitions = (held_count + target_count) * PARTITION_BYTES;
        MEMBER_BYTES + 4 * member_id.len() + self.said.bytes() + partitions
    }
}
