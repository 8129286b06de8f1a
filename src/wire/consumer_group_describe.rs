//! `ConsumerGroupDescribe` (69): groups of KIP-848 and their members.
//!
//! ```text
//! request                                   response
//! list of     str group id                  list of     groups
//!                                             varint i16  error code
//!                                             varint      state (list_groups.rs)
//!                                             varint i32  group epoch
//!                                             varint i32  assignment epoch
//!                                             str         assignor
//!                                             list of     members
//!                                               str         member id
//!                                               optional    str instance id
//!                                               optional    str rack id
//!                                               varint i32  member epoch
//!                                               str         client id
//!                                               str         client host
//!                                               list of     str topic
//!                                               optional    str regular expression
//!                                               list of     partitions it has
//!                                               list of     partitions it is to have
//!                                               varint      kind (list_groups.rs)
//!
//! partitions: 16 bytes topic id, str topic, list of varint i32 partition
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Partition, TopicId};
use crate::limits::{
    GROUP_MEMBERS_MAX, REQUEST_GROUPS_MAX, REQUEST_PARTITIONS_MAX, REQUEST_TOPICS_MAX,
};
use crate::wire::list_groups::{GroupKind, GroupState};
use crate::wire::{ErrorCode, frame};

/// Asks about groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerGroupDescribeRequest<'a> {
    /// The groups.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<&'a str>,
}

/// Partitions of one topic, which is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPartitions<'a> {
    /// The topic.
    pub topic_id: TopicId,
    /// Its name.
    #[serde(borrow)]
    pub topic: &'a str,
    /// Its partitions, ascending.
    #[serde(deserialize_with = "frame::list::<REQUEST_PARTITIONS_MAX, _, _>")]
    pub partitions: Vec<Partition>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerMember<'a> {
    /// Its id.
    #[serde(borrow)]
    pub member_id: &'a str,
    /// Its static name, if it has one.
    pub instance_id: Option<&'a str>,
    /// Where it is, if it says so.
    pub rack_id: Option<&'a str>,
    /// Up to which assignment it has come.
    pub member_epoch: i32,
    /// As its connection said.
    pub client_id: &'a str,
    /// Where it connects from, with a `/` before it, as Kafka has it.
    pub client_host: &'a str,
    /// The topics it names.
    #[serde(deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub subscribed_topics: Vec<&'a str>,
    /// The expression that the names of other topics match which it reads.
    pub subscribed_regex: Option<&'a str>,
    /// What it may hold.
    #[serde(deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub assignment: Vec<NamedPartitions<'a>>,
    /// What it is on its way to.
    #[serde(deserialize_with = "frame::list::<REQUEST_TOPICS_MAX, _, _>")]
    pub target: Vec<NamedPartitions<'a>>,
    /// By which protocol it works.
    pub kind: GroupKind,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedConsumerGroup<'a> {
    /// `GROUP_ID_NOT_FOUND` where there is no such group of KIP-848.
    pub error: ErrorCode,
    /// What it is doing.
    pub state: GroupState,
    /// Rises with every change of members, subscriptions or topics.
    pub epoch: i32,
    /// Which of them the assignment is made for.
    pub assignment_epoch: i32,
    /// What makes the assignment.
    #[serde(borrow)]
    pub assignor: &'a str,
    /// Its members, ascending by id.
    #[serde(deserialize_with = "frame::list::<GROUP_MEMBERS_MAX, _, _>")]
    pub members: Vec<ConsumerMember<'a>>,
}

impl DescribedConsumerGroup<'_> {
    /// The answer where there is nothing to describe.
    pub const fn failed(error: ErrorCode) -> DescribedConsumerGroup<'static> {
        DescribedConsumerGroup {
            error,
            state: GroupState::Dead,
            epoch: 0,
            assignment_epoch: 0,
            assignor: "",
            members: Vec::new(),
        }
    }
}

/// One answer per group, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerGroupDescribeResponse<'a> {
    /// See [`DescribedConsumerGroup`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<DescribedConsumerGroup<'a>>,
}
