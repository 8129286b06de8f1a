//! `roundrobin`: all partitions of all topics in one row, dealt to the members in a circle.
//!
//! A member that does not subscribe to a topic is passed over. Where subscriptions differ the
//! counts may differ too (semantics.md row 107).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::assignors::{Assignor, GroupMember, by_rank, partition_of, subscribers};
use crate::client::offsets::TopicPartition;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn assign(
        &self,
        topics: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>> {
        let mut assigned = vec![Vec::new(); members.len()];
        let circle = by_rank(members);
        let mut turn = 0;
        for (topic, places) in subscribers(topics, members) {
            let mut is_subscribed = vec![false; members.len()];
            for place in places {
                is_subscribed[place] = true;
            }
            for partition in 0..topics[topic] {
                // Somebody subscribes, or the topic would not be listed: this ends.
                while !is_subscribed[circle[turn % circle.len()]] {
                    turn += 1;
                }
                assigned[circle[turn % circle.len()]].push(partition_of(topic, partition));
                turn += 1;
            }
        }
        assigned
    }
}
