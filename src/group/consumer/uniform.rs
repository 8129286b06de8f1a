//! The `uniform` assignor: balanced first, then as little moved as possible.
//!
//! 1. Every member keeps what it had, where that still exists and it still reads it.
//! 2. What is left goes to the reader with the least, topics with few readers first.
//! 3. While a member has two more than another that reads one of its topics, one partition moves.
//!
//! **Invariant:** in the end no member has a partition of a topic whose other reader has two fewer.
//! Where all read the same this means that numbers differ by one at most, and that only what must
//! move has moved. The loop ends because every move lessens the sum of squares; it is also cut off
//! after so many rounds, as a group may be made to be expensive.

use std::collections::{BTreeMap, BTreeSet};

use super::assignors::{Candidate, readers};
use super::partitions::PartitionSet;
use crate::ids::{Partition, TopicId, TopicPartition};

/// Rounds over all topics; where all read the same, the first one moves all there is to move.
const ROUNDS_MAX: usize = 64;

/// A topic while its partitions are dealt out.
struct Dealt {
    topic_id: TopicId,
    /// Places of members.
    readers: Vec<usize>,
    /// Who has each partition.
    owners: Vec<Option<usize>>,
}

/// See the module.
pub(super) fn assign(
    members: &[Candidate<'_>],
    topics: &BTreeMap<TopicId, i32>,
) -> Vec<PartitionSet> {
    let mut loads = vec![0_usize; members.len()];
    let mut dealt = Vec::new();
    for (topic_id, readers) in readers(members) {
        let Some(count) = topics.get(&topic_id) else { continue };
        let owners = vec![None; usize::try_from(*count).unwrap_or(0)];
        dealt.push(Dealt { topic_id, readers, owners });
    }
    keep(members, &mut dealt, &mut loads);
    // Topics with the same readers stand together, which lets `deal` go on with its queue.
    dealt.sort_by(|a, b| (a.readers.len(), &a.readers).cmp(&(b.readers.len(), &b.readers)));
    deal(&mut dealt, &mut loads);
    for _ in 0..ROUNDS_MAX {
        let moved = dealt.iter_mut().map(|topic| balance(topic, &mut loads)).max();
        if !moved.unwrap_or(false) {
            break;
        }
    }
    let mut assigned = vec![PartitionSet::default(); members.len()];
    for topic in dealt {
        for (partition, owner) in topic.owners.into_iter().enumerate() {
            let owner = owner.expect("a topic in the list has a reader");
            let partition = Partition(partition as i32);
            assigned[owner].insert(TopicPartition { topic_id: topic.topic_id, partition });
        }
    }
    assigned
}

/// Lets everybody keep what they had; `dealt` ascends by topic.
fn keep(members: &[Candidate<'_>], dealt: &mut [Dealt], loads: &mut [usize]) {
    for (place, member) in members.iter().enumerate() {
        for TopicPartition { topic_id, partition } in member.held.iter() {
            if !member.topics.contains(&topic_id) {
                continue;
            }
            let found = dealt.binary_search_by_key(&topic_id, |topic| topic.topic_id);
            let Ok(found) = found else { continue };
            let partition = usize::try_from(partition.0).unwrap_or(usize::MAX);
            let Some(owner) = dealt[found].owners.get_mut(partition) else { continue };
            if owner.is_none() {
                *owner = Some(place);
                loads[place] += 1;
            }
        }
    }
}

/// Gives what nobody has to those with the least.
fn deal(dealt: &mut [Dealt], loads: &mut [usize]) {
    let mut queue = BTreeSet::new();
    let mut queued: Vec<usize> = Vec::new();
    for topic in dealt {
        if queued != topic.readers {
            queued.clone_from(&topic.readers);
            queue = queued.iter().map(|place| (loads[*place], *place)).collect();
        }
        for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
            let (load, place) = queue.pop_first().expect("a topic in the list has a reader");
            *owner = Some(place);
            loads[place] = load + 1;
            queue.insert((load + 1, place));
        }
    }
}

/// Moves partitions of one topic from those with the most to those with the least; answers whether
/// there was any to move.
fn balance(topic: &mut Dealt, loads: &mut [usize]) -> bool {
    let least = topic.readers.iter().map(|place| loads[*place]).min().unwrap_or(0);
    let most = topic.owners.iter().flatten().map(|place| loads[*place]).max().unwrap_or(0);
    if most <= least + 1 {
        return false;
    }
    let mut readers: BTreeSet<(usize, usize)> =
        topic.readers.iter().map(|place| (loads[*place], *place)).collect();
    let mut held = BTreeMap::<usize, Vec<usize>>::new();
    for (partition, owner) in topic.owners.iter().enumerate() {
        held.entry(owner.expect("all are dealt")).or_default().push(partition);
    }
    let mut owners: BTreeSet<(usize, usize)> =
        held.keys().map(|place| (loads[*place], *place)).collect();
    while let (Some((most, from)), Some((least, to))) =
        (owners.last().copied(), readers.first().copied())
    {
        if most <= least + 1 {
            break;
        }
        let partitions = held.get_mut(&from).expect("owners have some");
        let partition = partitions.pop().expect("owners have some");
        let is_last = partitions.is_empty();
        topic.owners[partition] = Some(to);
        owners.remove(&(most, from));
        readers.remove(&(most, from));
        readers.remove(&(least, to));
        owners.remove(&(least, to));
        loads[from] = most - 1;
        loads[to] = least + 1;
        if !is_last {
            owners.insert((most - 1, from));
        }
        readers.insert((most - 1, from));
        readers.insert((least + 1, to));
        owners.insert((least + 1, to));
        held.entry(to).or_default().insert(0, partition);
    }
    true
}
