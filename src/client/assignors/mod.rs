//! Who reads which partitions of a group: Kafka's assignors, by the same names and rules, so that
//! our members, Java's and librdkafka's share a group (semantics.md 2.21 and rows 106-107).
//!
//! In a classic group one member, the leader, computes what all of them read. It gets the
//! members' subscriptions from the coordinator and gives it their assignments back, both in the
//! bytes of `protocol`.
//!
//! **Invariant:** an assignor is a pure function. Each partition of a topic that somebody
//! subscribes to is given to at most one member, and that one subscribes to the topic; only
//! `cooperative-sticky` withholds partitions, for one round.
//!
//! # Why
//!
//! Kafka's sticky assignor moves one partition at a time until a score stops falling, and may end
//! where no single move helps but a chain of two would. `sticky` here follows such chains
//! ([`StickyAssignor`]), which reaches the most even assignment that the subscriptions allow, in
//! less code. Racks are passed on but do not steer: a site has one.

mod cooperative_sticky;
pub(super) mod protocol;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::client::offsets::TopicPartition;

pub use cooperative_sticky::CooperativeStickyAssignor;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::StickyAssignor;

/// How members give up partitions when the group rebalances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebalanceProtocol {
    /// Everything is given up before the group is joined again.
    Eager,
    /// Only what goes to others is given up, when that is known.
    Cooperative,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// Its `group.instance.id`, if it is a static member.
    pub group_instance_id: Option<String>,
    /// The topics it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// What it reads at present; empty for members of an eager protocol.
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got them, if it says so.
    pub generation: Option<i32>,
    /// Its `client.rack`, if it has one.
    pub rack: Option<String>,
    /// What its assignor added, see [`Assignor::user_data`].
    pub user_data: Option<Vec<u8>>,
}

impl GroupMember {
    /// The order of members: static ones first, by instance id, then the others by member id. It
    /// outlives restarts of static members, so that their partitions do not move.
    pub fn rank(&self) -> (bool, &str) {
        match &self.group_instance_id {
            Some(instance_id) => (false, instance_id),
            None => (true, &self.member_id),
        }
    }
}

/// What a member last got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAssignment {
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
    /// The generation; −1 before the first.
    pub generation: i32,
}

impl Default for LastAssignment {
    fn default() -> Self {
        LastAssignment { partitions: Vec::new(), generation: -1 }
    }
}

/// `partition.assignment.strategy`: distributes a group's partitions.
pub trait Assignor: fmt::Debug + Send + Sync {
    /// The name that all members must share.
    fn name(&self) -> &str;

    /// Whether members may keep their partitions while they join again.
    fn supports_cooperative(&self) -> bool {
        false
    }

    /// Bytes that go with the subscription of a member that last got `last`.
    fn user_data(&self, last: &LastAssignment) -> Option<Vec<u8>> {
        let _ = last;
        None
    }

    /// What each member reads, in the order of `members`. `topics` are those that exist, with
    /// their partition counts.
    fn assign(
        &self,
        topics: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>>;
}

/// The places of `members` in the order of their rank.
fn by_rank(members: &[GroupMember]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..members.len()).collect();
    places.sort_by_key(|place| members[*place].rank());
    places
}

/// For each topic that exists and is subscribed to: its subscribers' places, in the order of their
/// rank.
fn subscribers<'a>(
    topics: &'a BTreeMap<Arc<str>, i32>,
    members: &[GroupMember],
) -> BTreeMap<&'a Arc<str>, Vec<usize>> {
    let mut subscribers: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
    for place in by_rank(members) {
        for topic in &members[place].topics {
            if let Some((topic, _)) = topics.get_key_value(topic) {
                let places = subscribers.entry(topic).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
    }
    subscribers
}

fn partition_of(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::clone(topic), partition: crate::ids::Partition(partition) }
}
