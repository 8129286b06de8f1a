//! A member of a consumer group: what it said, and what it has.

use std::collections::BTreeSet;

use super::reconcile::Current;
use crate::group::{Caller, classic, ids};
use crate::group_config::GroupConfig;
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::kafka::consumer_group_records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataValue,
};
use crate::wire::kafka::consumer_protocol::ConsumerProtocolSubscription;

/// What a member takes beside its texts and partitions, roughly.
pub(super) const MEMBER_BYTES: usize = 768;

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
    /// What it said when it joined, if it speaks the classic protocol.
    pub classic: Option<Box<classic::Said>>,
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
            classic: value.classic_member_metadata.as_ref().map(|classic| {
                let protocols = classic.supported_protocols.iter();
                Box::new(classic::Said {
                    rebalance_timeout_ms: value.rebalance_timeout_ms,
                    session_timeout_ms: classic.session_timeout_ms,
                    protocols: protocols.map(|it| (it.name.into(), it.metadata.into())).collect(),
                })
            }),
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
            classic_member_metadata: self.classic.as_ref().map(|classic| ClassicMemberMetadata {
                session_timeout_ms: classic.session_timeout_ms,
                supported_protocols: classic
                    .protocols
                    .iter()
                    .map(|(name, metadata)| ClassicProtocol { name, metadata })
                    .collect(),
            }),
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
        said.classic = None;
        said
    }

    /// What it says now by the classic protocol, which names everything each time.
    pub fn of_join(
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
        subscription: &ConsumerProtocolSubscription<'_>,
    ) -> Said {
        let classic = classic::Said::of(request);
        let mut said = Said::of_classic(classic, subscription);
        said.instance_id = request.group_instance_id.map(Into::into);
        said.client_id = ids::shown(caller.client_id);
        said.client_host = ids::shown(caller.client_host);
        said
    }

    /// What a member of a classic group says in a group of KIP-848.
    pub fn of_classic(
        classic: classic::Said,
        subscription: &ConsumerProtocolSubscription<'_>,
    ) -> Said {
        Said {
            rack_id: subscription.rack_id.map(Into::into),
            topics: subscription.topics.iter().map(|name| (*name).into()).collect(),
            rebalance_timeout_ms: classic.rebalance_timeout_ms,
            classic: Some(Box::new(classic)),
            ..Said::default()
        }
    }

    /// Whether it reads the same.
    pub fn reads_as(&self, other: &Said) -> bool {
        self.topics == other.topics && self.expression == other.expression
    }

    fn bytes(&self) -> usize {
        let topics: usize = self.topics.iter().map(|name| name.len() + 32).sum();
        let texts = [&self.instance_id, &self.rack_id, &self.expression, &self.assignor];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        let classic = self.classic.as_ref().map_or(0, |classic| classic.bytes());
        topics + classic + texts.sum::<usize>() + self.client_id.len() + self.client_host.len()
    }
}

impl Member {
    /// Whether it speaks the classic protocol.
    pub fn is_classic(&self) -> bool {
        self.said.classic.is_some()
    }

    /// For how long it may be silent: it says so itself by the classic protocol only.
    pub fn session_timeout_ms(&self, config: GroupConfig) -> u64 {
        let classic = self.said.classic.as_ref();
        let ms = classic.map_or(config.session_timeout_ms, |classic| classic.session_timeout_ms);
        u64::try_from(ms).unwrap_or(0)
    }

    /// What keeping it takes, its target included.
    pub fn cost(&self, member_id: &str, target_count: usize) -> usize {
        // What it has stands in the set of what is held, too.
        let held_count = 2 * (self.current.assigned.len() + self.current.revoking.len());
        let partitions = (held_count + target_count) * PARTITION_BYTES;
        MEMBER_BYTES + 4 * member_id.len() + self.said.bytes() + partitions
    }
}
