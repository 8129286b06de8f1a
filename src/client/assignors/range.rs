//! `range`: of each topic, every subscriber reads one run of neighbouring partitions.
//!
//! Topics with equal partition counts and subscribers are cut alike, so that equal keys of two
//! topics meet in one member. The price: with few partitions and many topics the first members
//! get more (semantics.md row 106).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::assignors::{Assignor, GroupMember, partition_of, subscribers};
use crate::client::offsets::TopicPartition;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(
        &self,
        topics: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>> {
        let mut assigned = vec![Vec::new(); members.len()];
        for (topic, places) in subscribers(topics, members) {
            let count = i32::max(0, topics[topic]);
            let member_count = places.len() as i32;
            let (quotient, remainder) = (count / member_count, count % member_count);
            let mut first = 0;
            for (turn, place) in places.into_iter().enumerate() {
                let length = quotient + i32::from((turn as i32) < remainder);
                let run = (first..first + length).map(|partition| partition_of(topic, partition));
                assigned[place].extend(run);
                first += length;
            }
        }
        assigned
    }
}
