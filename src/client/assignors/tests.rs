//! Assignors: Kafka's vectors (semantics.md 2.21, rows 106-107) and properties over drawn groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::protocol::{assign_group, decode_assignment, encode_subscription, subscribed_topics};
use super::*;
use crate::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};

const ALL: [&dyn Assignor; 4] =
    [&RangeAssignor, &RoundRobinAssignor, &StickyAssignor, &CooperativeStickyAssignor];

fn member(member_id: &str, topics: &[&str]) -> GroupMember {
    GroupMember {
        member_id: member_id.to_owned(),
        topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
        ..GroupMember::default()
    }
}

fn topics(counts: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
    counts.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

/// `t0p0 t0p1 ...`, members separated by bars, each member's partitions sorted.
fn shown(assigned: &[Vec<TopicPartition>]) -> String {
    let members = assigned.iter().map(|partitions| {
        let mut sorted = partitions.clone();
        sorted.sort();
        let names: Vec<String> =
            sorted.iter().map(|tp| format!("{}p{}", tp.topic, tp.partition)).collect();
        names.join(" ")
    });
    members.collect::<Vec<_>>().join(" | ")
}

fn check(assignor: &dyn Assignor, counts: &[(&str, i32)], members: &[GroupMember], expected: &str) {
    let assigned = assignor.assign(&topics(counts), members);
    assert_eq!(shown(&assigned), expected, "{}", assignor.name());
}

#[test]
fn range_cuts_every_topic_by_itself() {
    let two = [member("c0", &["t0", "t1"]), member("c1", &["t0", "t1"])];
    let expected = "t0p0 t0p1 t1p0 t1p1 | t0p2 t1p2";
    check(&RangeAssignor, &[("t0", 3), ("t1", 3)], &two, expected);
    let uneven = [member("c0", &["t0"]), member("c1", &["t0", "t1"])];
    check(&RangeAssignor, &[("t0", 3), ("t1", 2)], &uneven, "t0p0 t0p1 | t0p2 t1p0 t1p1");
    // More members than partitions: the last ones get nothing, and it is no error (row 102).
    let three = [member("a", &["t0"]), member("b", &["t0"]), member("c", &["t0"])];
    check(&RangeAssignor, &[("t0", 2)], &three, "t0p0 | t0p1 | ");
}

/// Static members come first, by instance id, whatever their member ids are.
#[test]
fn members_are_served_by_instance_id_then_member_id() {
    let mut members = [member("z", &["t"]), member("y", &["t"]), member("a", &["t"])];
    members[0].group_instance_id = Some("1".to_owned());
    members[1].group_instance_id = Some("2".to_owned());
    check(&RangeAssignor, &[("t", 4)], &members, "tp0 tp1 | tp2 | tp3");
    check(&RoundRobinAssignor, &[("t", 4)], &members, "tp0 tp3 | tp1 | tp2");
}

#[test]
fn round_robin_deals_one_row_to_a_circle() {
    let two = [member("c0", &["t0", "t1"]), member("c1", &["t0", "t1"])];
    check(&RoundRobinAssignor, &[("t0", 3), ("t1", 3)], &two, "t0p0 t0p2 t1p1 | t0p1 t1p0 t1p2");
}

fn unequal() -> [GroupMember; 3] {
    [member("c0", &["t0"]), member("c1", &["t0", "t1"]), member("c2", &["t0", "t1", "t2"])]
}

const UNEQUAL_COUNTS: [(&str, i32); 3] = [("t0", 1), ("t1", 2), ("t2", 3)];

/// The vector of semantics.md 2.21, and what sticky makes of the same group (KIP-54).
#[test]
fn unequal_subscriptions() {
    let expected = "t0p0 | t1p0 | t1p1 t2p0 t2p1 t2p2";
    check(&RoundRobinAssignor, &UNEQUAL_COUNTS, &unequal(), expected);
    let expected = "t0p0 | t1p0 t1p1 | t2p0 t2p1 t2p2";
    check(&StickyAssignor, &UNEQUAL_COUNTS, &unequal(), expected);
    check(&CooperativeStickyAssignor, &UNEQUAL_COUNTS, &unequal(), expected);
}

/// No single move helps here, a chain of two does: c2 gives to c1 so that c1 gives to c0.
#[test]
fn sticky_follows_chains() {
    let mut members = unequal();
    let held = |names: &[(&str, i32)]| {
        let partitions = names.iter().map(|(topic, number)| TopicPartition::new(topic, *number));
        let last = LastAssignment { partitions: partitions.collect(), generation: 3 };
        StickyAssignor.user_data(&last)
    };
    members[1].user_data = held(&[("t0", 0)]);
    members[2].user_data = held(&[("t1", 0), ("t1", 1)]);
    check(&StickyAssignor, &[("t0", 1), ("t1", 2)], &members, "t0p0 | t1p1 | t1p0");
}

#[test]
fn topics_that_are_not_there_and_groups_of_nobody_are_no_trouble() {
    for assignor in ALL {
        check(assignor, &[("t", 1)], &[], "");
        check(assignor, &[("t", 1)], &[member("a", &["other"])], "");
        check(assignor, &[("t", 0)], &[member("a", &["t"])], "");
        check(assignor, &[("t", 1)], &[member("a", &["t", "t"]), member("b", &[])], "tp0 | ");
    }
}

/// The bytes that Kafka's own classes write: version, topics, user data, owned partitions,
/// generation, rack.
#[test]
fn subscriptions_are_kafkas_bytes() {
    let owned = [TopicPartition::new("t", 1), TopicPartition::new("t", 0)];
    let last = LastAssignment { partitions: owned.to_vec(), generation: 7 };
    let topics = [Arc::from("t")];
    let bytes = encode_subscription(&CooperativeStickyAssignor, &topics, &owned, &last, Some("r"));
    let expected = [
        &[0, 3][..],                           // version
        &[0, 0, 0, 1, 0, 1, b't'],             // topics
        &[0, 0, 0, 4, 0, 0, 0, 7],             // user data: the generation
        &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2], // owned partitions of one topic
        &[0, 0, 0, 0, 0, 0, 0, 1],             // in ascending order
        &[0, 0, 0, 7],                         // generation
        &[0, 1, b'r'],                         // rack
    ];
    assert_eq!(bytes, expected.concat());
    let sticky = StickyAssignor.user_data(&last).expect("it read something");
    let expected =
        [&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2][..], &[0, 0, 0, 1, 0, 0, 0, 0], &[0, 0, 0, 7]];
    assert_eq!(sticky, expected.concat());
    assert_eq!(StickyAssignor.user_data(&LastAssignment::default()), None);
}

/// A member older than the generation in sticky's data, and one that sends rubbish.
#[test]
fn old_and_broken_user_data() {
    let mut members = [member("a", &["t"]), member("b", &["t"]), member("c", &["t"])];
    let bytes =
        |last: LastAssignment| StickyAssignor.user_data(&last).expect("it has a generation");
    let tp = |partition| TopicPartition::new("t", partition);
    let mut old = bytes(LastAssignment { partitions: vec![tp(2)], generation: 9 });
    old.truncate(old.len() - 4);
    members[0].user_data = Some(old);
    members[1].user_data = Some(vec![0xff; 5]);
    let partitions = vec![tp(0), tp(2)];
    members[2].user_data = Some(bytes(LastAssignment { partitions, generation: 0 }));
    check(&StickyAssignor, &[("t", 4)], &members, "tp1 | tp3 | tp0 tp2");
}

/// The coordinator's bytes in, and out: what the leader does.
#[test]
fn a_leader_assigns_for_members_that_it_can_read() {
    let subscription =
        ConsumerProtocolSubscription { topics: vec!["t", "no"], ..Default::default() };
    let members = [
        ("a".to_owned(), None, subscription.encode(0)),
        ("b".to_owned(), Some("static".to_owned()), subscription.encode(3)),
        ("c".to_owned(), None, vec![0, 3, 0xff]),
    ];
    assert_eq!(subscribed_topics(&members), [Arc::from("no"), Arc::from("t")]);
    let assigned = assign_group(&RangeAssignor, &members, |topic| (topic == "t").then_some(3));
    let partitions = |place: usize| decode_assignment(&assigned[place].1).expect("our own bytes");
    assert_eq!(shown(&[partitions(0), partitions(1), partitions(2)]), "tp2 | tp0 tp1 | ");
    assert_eq!(assigned[1].0, "b");
    assert_eq!(decode_assignment(&[]), Ok(Vec::new()));
    let newer = [ConsumerProtocolAssignment::default().encode(3), vec![1, 2, 3]].concat();
    assert_eq!(decode_assignment(&newer), Ok(Vec::new()), "what newer versions append is skipped");
}

/// Two members that say they read the same: in different generations the later is right, in one
/// generation neither; and cooperative gives it to nobody while anybody says so.
#[test]
fn disputed_partitions() {
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    members[0].owned_partitions = vec![TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    members[1].owned_partitions = vec![TopicPartition::new("t", 0)];
    members[0].generation = Some(4);
    members[1].generation = Some(5);
    check(&CooperativeStickyAssignor, &[("t", 2)], &members, "tp1 | tp0");
    members[1].generation = Some(4);
    check(&CooperativeStickyAssignor, &[("t", 2)], &members, "tp1 | ");
}

/// A drawn group: partition counts by topic, and each member's topics.
#[derive(Clone, Debug)]
struct Group {
    counts: BTreeMap<Arc<str>, i32>,
    members: Vec<GroupMember>,
}

fn name(topic: usize) -> Arc<str> {
    Arc::from(format!("t{topic}"))
}

fn groups() -> impl Strategy<Value = Group> {
    let counts = prop::collection::vec(0..9i32, 1..6);
    let subscriptions = prop::collection::vec(prop::collection::btree_set(0..6usize, 0..5), 1..9);
    (counts, subscriptions).prop_map(|(counts, subscriptions)| Group {
        counts: counts.into_iter().enumerate().map(|(topic, count)| (name(topic), count)).collect(),
        members: subscriptions
            .into_iter()
            .enumerate()
            .map(|(number, topics)| GroupMember {
                member_id: format!("m{number}"),
                topics: topics.into_iter().map(name).collect(),
                ..GroupMember::default()
            })
            .collect(),
    })
}

/// All members subscribe to all topics.
fn equal_groups() -> impl Strategy<Value = Group> {
    groups().prop_map(|mut group| {
        for member in &mut group.members {
            member.topics = group.counts.keys().cloned().collect();
        }
        group
    })
}

fn remember(group: &mut Group, assigned: &[Vec<TopicPartition>], generation: i32) {
    for (member, partitions) in group.members.iter_mut().zip(assigned) {
        let last = LastAssignment { partitions: partitions.clone(), generation };
        member.user_data = StickyAssignor.user_data(&last);
        member.owned_partitions.clone_from(partitions);
        member.generation = Some(generation);
    }
}

fn sorted(assigned: &[Vec<TopicPartition>]) -> Vec<BTreeSet<TopicPartition>> {
    assigned.iter().map(|partitions| partitions.iter().cloned().collect()).collect()
}

/// Every partition with a subscriber has exactly one owner, and that one subscribes.
fn assert_whole(group: &Group, assigned: &[Vec<TopicPartition>], assignor: &dyn Assignor) {
    let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    for (place, partitions) in assigned.iter().enumerate() {
        for tp in partitions {
            assert!(group.members[place].topics.contains(&tp.topic), "{}: {tp}", assignor.name());
            assert_eq!(owners.insert(tp, place), None, "{}: {tp} twice", assignor.name());
        }
    }
    let is_wanted = |topic: &Arc<str>| group.members.iter().any(|one| one.topics.contains(topic));
    let wanted = group.counts.iter().filter(|(topic, _)| is_wanted(topic));
    let expected: i32 = wanted.map(|(_, count)| count).sum();
    assert_eq!(owners.len() as i32, expected, "{}", assignor.name());
}

/// No member has two more than another to which partitions can be handed on, over others or not.
fn assert_even(group: &Group, assigned: &[Vec<TopicPartition>]) {
    let count = group.members.len();
    let mut can_give = vec![vec![false; count]; count];
    for (from, partitions) in assigned.iter().enumerate() {
        for tp in partitions {
            for (to, member) in group.members.iter().enumerate() {
                can_give[from][to] |= member.topics.contains(&tp.topic);
            }
        }
    }
    for through in 0..count {
        for from in 0..count {
            for to in 0..count {
                can_give[from][to] |= can_give[from][through] && can_give[through][to];
            }
        }
    }
    for from in 0..count {
        for to in 0..count {
            let differs = assigned[to].len() + 2 <= assigned[from].len();
            assert!(!(differs && can_give[from][to]), "{}", shown(assigned));
        }
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner(group in groups()) {
        for assignor in ALL {
            let assigned = assignor.assign(&group.counts, &group.members);
            assert_whole(&group, &assigned, assignor);
        }
    }

    #[test]
    fn equal_subscriptions_are_even(group in equal_groups()) {
        for assignor in [ALL[1], ALL[2], ALL[3]] {
            let loads = assignor.assign(&group.counts, &group.members).into_iter().map(|one| one.len());
            let loads: Vec<usize> = loads.collect();
            let (least, most) = (loads.iter().min(), loads.iter().max());
            prop_assert!(*most.expect("members") <= least.expect("members") + 1, "{loads:?}");
        }
    }

    /// No chain of moves makes it more even.
    #[test]
    fn sticky_is_as_even_as_can_be(mut group in groups(), changed in groups()) {
        let assigned = StickyAssignor.assign(&group.counts, &group.members);
        assert_even(&group, &assigned);
        remember(&mut group, &assigned, 1);
        // The same members, with other subscriptions and other partition counts.
        for (member, other) in group.members.iter_mut().zip(changed.members) {
            member.topics = other.topics;
        }
        group.counts = changed.counts;
        let assigned = StickyAssignor.assign(&group.counts, &group.members);
        assert_whole(&group, &assigned, &StickyAssignor);
        assert_even(&group, &assigned);
    }

    /// Nothing moves when nothing changed, whatever the order of the members.
    #[test]
    fn sticky_stays(mut group in groups()) {
        let assigned = StickyAssignor.assign(&group.counts, &group.members);
        remember(&mut group, &assigned, 1);
        let again = StickyAssignor.assign(&group.counts, &group.members);
        prop_assert_eq!(sorted(&again), sorted(&assigned));
        group.members.reverse();
        let mut reversed = StickyAssignor.assign(&group.counts, &group.members);
        reversed.reverse();
        prop_assert_eq!(sorted(&reversed), sorted(&assigned));
    }

    /// When a member leaves, nobody loses anything; when one joins, only it gains.
    #[test]
    fn sticky_moves_no_more_than_it_must(mut group in equal_groups(), leaver in 0..9usize) {
        let before = StickyAssignor.assign(&group.counts, &group.members);
        remember(&mut group, &before, 1);
        let mut fewer = group.clone();
        let leaver = leaver % group.members.len();
        fewer.members.remove(leaver);
        let after = sorted(&StickyAssignor.assign(&fewer.counts, &fewer.members));
        let mut kept = sorted(&before);
        kept.remove(leaver);
        for (kept, after) in kept.iter().zip(&after) {
            prop_assert!(kept.is_subset(after));
        }
        group.members.push(GroupMember {
            member_id: "new".to_owned(),
            topics: group.counts.keys().cloned().collect(),
            ..GroupMember::default()
        });
        let after = sorted(&StickyAssignor.assign(&group.counts, &group.members));
        for (before, after) in sorted(&before).iter().zip(&after) {
            prop_assert!(after.is_subset(before));
        }
    }

    /// Cooperative never gives away what another reads, and the second round ends where sticky is.
    #[test]
    fn cooperative_takes_two_rounds(mut group in groups(), changed in groups()) {
        let first = CooperativeStickyAssignor.assign(&group.counts, &group.members);
        remember(&mut group, &first, 1);
        for (member, other) in group.members.iter_mut().zip(changed.members) {
            member.topics = other.topics;
        }
        let second = CooperativeStickyAssignor.assign(&group.counts, &group.members);
        for (place, partitions) in sorted(&second).iter().enumerate() {
            for (other, claimed) in sorted(&first).iter().enumerate() {
                prop_assert!(place == other || partitions.is_disjoint(claimed));
            }
        }
        remember(&mut group, &second, 2);
        let third = CooperativeStickyAssignor.assign(&group.counts, &group.members);
        assert_whole(&group, &third, &CooperativeStickyAssignor);
        assert_even(&group, &third);
        remember(&mut group, &third, 3);
        let fourth = CooperativeStickyAssignor.assign(&group.counts, &group.members);
        prop_assert_eq!(sorted(&fourth), sorted(&third));
    }
}
