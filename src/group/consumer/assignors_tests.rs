//! Tests of the assignors: vectors, and what holds for any group.

use proptest::prelude::*;

use super::*;
use crate::ids::{Partition, TopicPartition, Uuid};

/// A group as letters: topics `a` to `z`, partitions as `a0`.
struct Rig {
    topics: BTreeMap<TopicId, i32>,
    members: Vec<(String, Option<String>, BTreeSet<TopicId>, PartitionSet)>,
}

fn topic(letter: char) -> TopicId {
    let mut bytes = [0; 16];
    bytes[15] = letter as u8;
    TopicId(Uuid(bytes))
}

fn partition(text: &str) -> TopicPartition {
    let (letter, number) = text.split_at(1);
    let topic_id = topic(letter.chars().next().expect("one letter"));
    TopicPartition { topic_id, partition: Partition(number.parse().expect("a number")) }
}

impl Rig {
    fn new(topics: &[(char, i32)]) -> Rig {
        let topics = topics.iter().map(|(letter, count)| (topic(*letter), *count)).collect();
        Rig { topics, members: Vec::new() }
    }

    /// A member that reads the topics of `reads` and had `held`.
    fn member(mut self, id: &str, reads: &str, held: &str) -> Rig {
        let (id, instance_id) = match id.split_once('/') {
            Some((id, instance_id)) => (id, Some(instance_id.to_owned())),
            None => (id, None),
        };
        let held = held.split_whitespace().map(partition).collect();
        self.members.push((id.to_owned(), instance_id, reads.chars().map(topic).collect(), held));
        self
    }

    fn assign(&self, assignor: Assignor) -> Vec<PartitionSet> {
        let members: Vec<Candidate<'_>> = self
            .members
            .iter()
            .map(|(id, instance_id, topics, held)| Candidate {
                member_id: id,
                instance_id: instance_id.as_deref(),
                topics: topics.clone(),
                held,
            })
            .collect();
        assignor.assign(&members, &self.topics)
    }

    fn check(&self, assignor: Assignor, expected: &[&str]) {
        let assigned = self.assign(assignor);
        let shown: Vec<String> = assigned
            .iter()
            .map(|partitions| {
                let shown = partitions
                    .iter()
                    .map(|it| format!("{}{}", it.topic_id.0.0[15] as char, it.partition.0));
                shown.collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(shown, expected);
        self.invariants(&assigned);
    }

    /// Every partition that somebody reads has one owner, which reads it.
    fn invariants(&self, assigned: &[PartitionSet]) {
        let mut owned = BTreeSet::new();
        for ((_, _, topics, _), partitions) in self.members.iter().zip(assigned) {
            for it in partitions.iter() {
                assert!(topics.contains(&it.topic_id), "nobody gets what it does not read");
                assert!(it.partition.0 < self.topics[&it.topic_id], "partitions exist");
                assert!(owned.insert(it), "one owner");
            }
        }
        let read: BTreeSet<TopicId> =
            self.members.iter().flat_map(|(_, _, topics, _)| topics).copied().collect();
        let counts = self.topics.iter().filter(|(id, _)| read.contains(id));
        let count: i32 = counts.map(|(_, count)| *count).sum();
        assert_eq!(owned.len(), count as usize, "every partition has an owner");
    }

    /// `uniform`: no reader of a topic has two fewer than another that has a partition of it.
    fn is_balanced(&self, assigned: &[PartitionSet]) -> bool {
        self.topics.keys().all(|topic_id| {
            let readers = self.members.iter().zip(assigned);
            let loads = readers.filter(|((_, _, topics, _), _)| topics.contains(topic_id));
            let least = loads.map(|(_, partitions)| partitions.len()).min().unwrap_or(0);
            let owners = assigned
                .iter()
                .filter(|partitions| partitions.iter().any(|it| it.topic_id == *topic_id));
            owners.map(PartitionSet::len).max().unwrap_or(0) <= least + 1
        })
    }
}

#[test]
fn range_gives_neighbours_of_each_topic() {
    // semantics.md row 106.
    let rig = Rig::new(&[('a', 3), ('b', 3)]).member("A", "ab", "").member("B", "ab", "");
    rig.check(Assignor::Range, &["a0 a1 b0 b1", "a2 b2"]);
    let rig = Rig::new(&[('a', 7)]).member("A", "a", "").member("B", "a", "").member("C", "a", "");
    rig.check(Assignor::Range, &["a0 a1 a2", "a3 a4", "a5 a6"]);
    // Static members come first, by their instance ids.
    let rig =
        Rig::new(&[('a', 3)]).member("A", "a", "").member("B/i2", "a", "").member("C/i1", "a", "");
    rig.check(Assignor::Range, &["a2", "a1", "a0"]);
    // Only readers of a topic share it.
    let rig = Rig::new(&[('a', 2), ('b', 2)]).member("A", "a", "").member("B", "ab", "");
    rig.check(Assignor::Range, &["a0", "a1 b0 b1"]);
}

#[test]
fn uniform_balances_and_keeps() {
    let rig = Rig::new(&[('a', 3), ('b', 3)]).member("A", "ab", "").member("B", "ab", "");
    rig.check(Assignor::Uniform, &["a0 a2 b1", "a1 b0 b2"]);
    // A second member comes: half of what there is moves, no more.
    let held = "a0 a1 a2 b0 b1 b2";
    let rig = Rig::new(&[('a', 3), ('b', 3)]).member("A", "ab", held).member("B", "ab", "");
    rig.check(Assignor::Uniform, &["b0 b1 b2", "a0 a1 a2"]);
    // A member has gone: the others keep what they had.
    let rig = Rig::new(&[('a', 6)]).member("A", "a", "a0 a1").member("C", "a", "a4 a5");
    rig.check(Assignor::Uniform, &["a0 a1 a2", "a3 a4 a5"]);
    // More members than partitions.
    let rig = Rig::new(&[('a', 1)]).member("A", "a", "").member("B", "a", "a0");
    rig.check(Assignor::Uniform, &["", "a0"]);
}

#[test]
fn uniform_balances_where_members_read_different_topics() {
    let rig = Rig::new(&[('a', 2), ('b', 2)]).member("A", "a", "").member("B", "ab", "");
    rig.check(Assignor::Uniform, &["a0 a1", "b0 b1"]);
    // What the only reader must have does not count against the others.
    let rig = Rig::new(&[('a', 4), ('b', 2)]).member("A", "a", "").member("B", "b", "");
    rig.check(Assignor::Uniform, &["a0 a1 a2 a3", "b0 b1"]);
    // A topic is gone, a partition too, and a member no longer reads what it had.
    let rig = Rig::new(&[('a', 1), ('b', 1)]).member("A", "ac", "a0 a1 c0").member("B", "ab", "");
    rig.check(Assignor::Uniform, &["a0", "b0"]);
}

/// Members by the bits of the topics they read, and topics by their partitions; what members had
/// comes from an earlier round with other members and topics.
fn shapes() -> impl Strategy<Value = (Vec<i32>, Vec<(u8, bool)>, Vec<i32>)> {
    let counts = || prop::collection::vec(0..12_i32, 1..6);
    (counts(), prop::collection::vec((0..32_u8, any::<bool>()), 1..9), counts())
}

fn rig_of(counts: &[i32], members: &[(u8, bool)], is_old: bool) -> Rig {
    let letters = 'a'..='z';
    let topics: Vec<(char, i32)> = letters.zip(counts.iter().copied()).collect();
    let mut rig = Rig::new(&topics);
    for (number, (bits, was_there)) in members.iter().enumerate() {
        if is_old && !was_there {
            continue;
        }
        let reads = topics.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
        let reads: String = reads.map(|(_, (letter, _))| *letter).collect();
        rig = rig.member(&format!("m{number}"), &reads, "");
    }
    rig
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_assignment_is_whole_and_uniform_ones_are_balanced(
        (counts, members, old_counts) in shapes()
    ) {
        let old = rig_of(&old_counts, &members, true);
        for assignor in Assignor::ALL {
            let before = old.assign(assignor);
            old.invariants(&before);
            let mut rig = rig_of(&counts, &members, false);
            for (had, held) in old.members.iter().zip(&before) {
                let member = rig.members.iter_mut().find(|member| member.0 == had.0);
                member.expect("old members are there").3 = held.clone();
            }
            let after = rig.assign(assignor);
            rig.invariants(&after);
            if assignor == Assignor::Uniform {
                prop_assert!(rig.is_balanced(&after));
                // Nothing has changed since: nothing moves.
                for (member, held) in rig.members.iter_mut().zip(&after) {
                    member.3 = held.clone();
                }
                prop_assert_eq!(rig.assign(assignor), after);
            }
        }
    }

    #[test]
    fn where_all_read_the_same_only_what_must_move_moves(
        counts in prop::collection::vec(0..12_i32, 1..5),
        old_count in 1..6_usize,
        new_count in 1..6_usize,
    ) {
        let all = |count: usize| vec![(0xff_u8, true); count];
        let old = rig_of(&counts, &all(old_count), true);
        let before = old.assign(Assignor::Uniform);
        let mut rig = rig_of(&counts, &all(new_count), false);
        for (member, held) in rig.members.iter_mut().zip(&before) {
            member.3 = held.clone();
        }
        let after = rig.assign(Assignor::Uniform);
        rig.invariants(&after);
        let total: usize = after.iter().map(PartitionSet::len).sum();
        let (least, most) = (total / new_count, total.div_ceil(new_count));
        prop_assert!(after.iter().all(|it| least <= it.len() && it.len() <= most));
        let kept: usize = before.iter().zip(&after).map(|(old, new)| old.and(new).len()).sum();
        // A member can keep no more than its share, and shares of one more are few.
        let larger = total % new_count;
        let mut had: Vec<usize> = before.iter().take(new_count).map(PartitionSet::len).collect();
        had.sort_unstable_by(|a, b| b.cmp(a));
        let best = had.iter().enumerate().map(|(place, had)| {
            (*had).min(least + usize::from(place < larger))
        });
        prop_assert_eq!(kept, best.sum::<usize>());
    }
}
