//! The `range` assignor: of each topic, every member that reads it gets as many neighbours.
//!
//! ```text
//! 7 partitions, 3 members:   A 0 1 2   B 3 4   C 5 6
//! ```
//!
//! Static members come first, by their instance ids, so that a restart moves nothing; then the
//! others by their member ids. Members that read topics with equally many partitions get the same
//! partitions of all.

use std::collections::BTreeMap;

use super::assignors::{Candidate, readers};
use super::partitions::PartitionSet;
use crate::ids::{Partition, TopicId, TopicPartition};

/// See the module.
pub(super) fn assign(
    members: &[Candidate<'_>],
    topics: &BTreeMap<TopicId, i32>,
) -> Vec<PartitionSet> {
    let mut assigned = vec![PartitionSet::default(); members.len()];
    for (topic_id, mut places) in readers(members) {
        let Some(count) = topics.get(&topic_id) else { continue };
        places.sort_by_key(|place| {
            let member = &members[*place];
            (member.instance_id.is_none(), member.instance_id, member.member_id)
        });
        let count = usize::try_from(*count).unwrap_or(0);
        let (share, rest) = (count / places.len(), count % places.len());
        let mut next = 0;
        for (order, place) in places.into_iter().enumerate() {
            let end = next + share + usize::from(order < rest);
            for partition in next..end {
                let partition = Partition(partition as i32);
                assigned[place].insert(TopicPartition { topic_id, partition });
            }
            next = end;
        }
    }
    assigned
}
