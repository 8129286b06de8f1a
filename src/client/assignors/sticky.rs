//! `sticky`: as even as the subscriptions allow, and then as much as possible stays where it is.
//!
//! 1. Members keep what they claim, where the claim holds: they subscribe to the topic, the
//!    partition exists, and nobody claims it in a later generation, or in the same one.
//! 2. What nobody holds goes, partition by partition, to the subscriber that has least; topics
//!    with few subscribers come first, because they leave less choice.
//! 3. While a member has two more than another, and partitions can be handed on from the one to
//!    the other along a chain of members, each taking a partition of a topic it subscribes to, the
//!    shortest such chain is followed, at first only with what is new to its member anyway. Where
//!    no chain is left the assignment is as even as it can be: members and topics form a bipartite
//!    graph, and this is its optimal semi-matching.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::client::assignors::{Assignor, GroupMember, LastAssignment, partition_of, subscribers};
use crate::client::offsets::TopicPartition;
use crate::ids::Partition;
use crate::wire::kafka::consumer_protocol as wire;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct StickyAssignor;

impl Assignor for StickyAssignor {
    fn name(&self) -> &'static str {
        "sticky"
    }

    /// An eager member owns nothing when it joins: what it had travels here, as Kafka's does.
    fn user_data(&self, last: &LastAssignment) -> Option<Vec<u8>> {
        if last.partitions.is_empty() && last.generation < 0 {
            return None;
        }
        let mut partitions: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
        for tp in &last.partitions {
            partitions.entry(&tp.topic).or_default().push(tp.partition);
        }
        let topics = partitions.into_iter();
        let topics = topics.map(|(topic, partitions)| wire::TopicPartition { topic, partitions });
        let data = wire::StickyUserData {
            previous_assignment: topics.collect(),
            generation: last.generation,
        };
        Some(data.encode())
    }

    fn assign(
        &self,
        topics: &BTreeMap<Arc<str>, i32>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>> {
        let claims: Vec<Claim> = members.iter().map(claim_of).collect();
        assign(topics, members, &claims).0
    }
}

/// What the bytes of a member say; bytes that do not decode claim nothing.
fn claim_of(member: &GroupMember) -> Claim {
    let data = member.user_data.as_deref().unwrap_or_default();
    let Some(data) = wire::StickyUserData::decode(data) else { return Claim::default() };
    let partitions = data.previous_assignment.iter().flat_map(|one| {
        let topic: Arc<str> = Arc::from(one.topic);
        one.partitions.iter().map(move |partition| partition_of(&topic, partition.0))
    });
    Claim { partitions: partitions.collect(), generation: data.generation }
}

/// What a member says it reads.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub partitions: Vec<TopicPartition>,
    pub generation: i32,
}

impl Default for Claim {
    fn default() -> Self {
        Claim { partitions: Vec::new(), generation: -1 }
    }
}

/// The places of the members whose claims hold.
pub(super) struct Owners(BTreeMap<TopicPartition, usize>);

impl Owners {
    pub fn of(&self, tp: &TopicPartition) -> Option<usize> {
        self.0.get(tp).copied()
    }
}

/// The assignment, and who owned what before.
pub(super) fn assign(
    topics: &BTreeMap<Arc<str>, i32>,
    members: &[GroupMember],
    claims: &[Claim],
) -> (Vec<Vec<TopicPartition>>, Owners) {
    let subscribers = subscribers(topics, members);
    let owners = owners(topics, &subscribers, claims);
    let mut table = Table::new(topics, subscribers, members.len());
    table.keep(&owners);
    table.hand_out();
    while table.level_once(Movable::New) || table.level_once(Movable::All) {}
    (table.into_assignment(), owners)
}

/// Whose claims hold: the latest generation wins, and where two of one generation claim the same,
/// neither does.
fn owners(
    topics: &BTreeMap<Arc<str>, i32>,
    subscribers: &BTreeMap<&Arc<str>, Vec<usize>>,
    claims: &[Claim],
) -> Owners {
    let mut best: BTreeMap<&TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (place, claim) in claims.iter().enumerate() {
        for tp in &claim.partitions {
            let is_subscribed =
                subscribers.get(&tp.topic).is_some_and(|places| places.contains(&place));
            let is_there = topics.get(&tp.topic).is_some_and(|count| tp.partition.0 < *count);
            if !is_subscribed || !is_there || tp.partition.0 < 0 {
                continue;
            }
            let (generation, owner) = best.entry(tp).or_insert((claim.generation, Some(place)));
            if *generation < claim.generation {
                (*generation, *owner) = (claim.generation, Some(place));
            } else if *generation == claim.generation && *owner != Some(place) {
                *owner = None;
            }
        }
    }
    let held = best.into_iter().filter_map(|(tp, (_, owner))| Some((tp.clone(), owner?)));
    Owners(held.collect())
}

/// A member on its way to an assignment.
#[derive(Clone, Debug, Default)]
struct Hand {
    /// Topics it subscribes to, by their places.
    topics: Vec<usize>,
    /// By the topic's place; the partitions it had before come first.
    held: BTreeMap<usize, Held>,
    load: usize,
}

#[derive(Clone, Debug, Default)]
struct Held {
    before: Vec<i32>,
    new: Vec<i32>,
}

/// What a chain may move. If the new ones suffice, a cooperative group needs no third round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Movable {
    New,
    All,
}

impl Held {
    fn has(&self, movable: Movable) -> bool {
        !self.new.is_empty() || (movable == Movable::All && !self.before.is_empty())
    }
}

/// Partitions to hand on, to end up with `to`: each giver with the topic, the last giver first.
struct Chain {
    links: Vec<(usize, usize)>,
    to: usize,
}

/// Members and topics by number.
struct Table<'a> {
    names: Vec<&'a Arc<str>>,
    partition_counts: Vec<i32>,
    /// By the topic's place.
    subscribers: Vec<Vec<usize>>,
    hands: Vec<Hand>,
    /// Members in the order in which they are served where they have the same.
    order: Vec<usize>,
    /// By the topic's place: who holds a partition.
    is_held: Vec<Vec<bool>>,
}

impl<'a> Table<'a> {
    fn new(
        topics: &'a BTreeMap<Arc<str>, i32>,
        by_topic: BTreeMap<&'a Arc<str>, Vec<usize>>,
        member_count: usize,
    ) -> Table<'a> {
        let mut hands = vec![Hand::default(); member_count];
        let mut order: Vec<usize> = Vec::new();
        let mut is_listed = vec![false; member_count];
        let mut table = Table {
            names: Vec::new(),
            partition_counts: Vec::new(),
            subscribers: Vec::new(),
            hands: Vec::new(),
            order: Vec::new(),
            is_held: Vec::new(),
        };
        for (topic, (name, places)) in by_topic.into_iter().enumerate() {
            let count = i32::max(0, topics[name]);
            for place in &places {
                hands[*place].topics.push(topic);
                if !std::mem::replace(&mut is_listed[*place], true) {
                    order.push(*place);
                }
            }
            table.names.push(name);
            table.partition_counts.push(count);
            table.is_held.push(vec![false; count as usize]);
            table.subscribers.push(places);
        }
        table.hands = hands;
        table.order = order;
        table
    }

    fn keep(&mut self, owners: &Owners) {
        for (tp, member) in &owners.0 {
            let topic = self.names.binary_search(&&tp.topic).expect("the claim was checked");
            let held = self.hands[*member].held.entry(topic).or_default();
            held.before.push(tp.partition.0);
            self.hands[*member].load += 1;
            self.is_held[topic][tp.partition.0 as usize] = true;
        }
    }

    fn hand_out(&mut self) {
        let mut topics: Vec<usize> = (0..self.names.len()).collect();
        topics.sort_by_key(|topic| self.subscribers[*topic].len());
        for topic in topics {
            for partition in 0..self.partition_counts[topic] {
                if self.is_held[topic][partition as usize] {
                    continue;
                }
                let places = self.subscribers[topic].iter().copied();
                let least = places.min_by_key(|place| self.hands[*place].load);
                let hand = &mut self.hands[least.expect("a listed topic has a subscriber")];
                hand.held.entry(topic).or_default().new.push(partition);
                hand.load += 1;
            }
        }
    }

    /// Follows one chain; false when there is none.
    fn level_once(&mut self, movable: Movable) -> bool {
        let most = self.hands.iter().map(|hand| hand.load).max().unwrap_or(0);
        let mut poor = self.order.clone();
        poor.sort_by_key(|member| self.hands[*member].load);
        for member in poor {
            if most < self.hands[member].load + 2 {
                return false;
            }
            if let Some(chain) = self.chain_to(member, movable) {
                self.follow(&chain);
                return true;
            }
        }
        false
    }

    /// A chain from a member that has two more than `poor`: from one that has most, or else what
    /// it gives might have to be replaced from there; of those the shortest.
    fn chain_to(&self, poor: usize, movable: Movable) -> Option<Chain> {
        let mut rich: Option<usize> = None;
        let mut least = self.hands[poor].load + 2;
        let mut given_to: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut is_topic_seen = vec![false; self.names.len()];
        let mut queue = VecDeque::from([poor]);
        while let Some(taker) = queue.pop_front() {
            for topic in &self.hands[taker].topics {
                if std::mem::replace(&mut is_topic_seen[*topic], true) {
                    continue;
                }
                for giver in &self.subscribers[*topic] {
                    let is_new = *giver != poor && !given_to.contains_key(giver);
                    let hand = &self.hands[*giver];
                    let has_one = hand.held.get(topic).is_some_and(|held| held.has(movable));
                    if !is_new || !has_one {
                        continue;
                    }
                    given_to.insert(*giver, (taker, *topic));
                    if least <= hand.load {
                        rich = Some(*giver);
                        least = hand.load + 1;
                    }
                    queue.push_back(*giver);
                }
            }
        }
        Some(self.trace(&given_to, rich?, poor))
    }

    /// The chain from `rich` towards `poor`, up to the first member that has two less than `rich`.
    fn trace(&self, given_to: &BTreeMap<usize, (usize, usize)>, rich: usize, poor: usize) -> Chain {
        let mut links = Vec::new();
        let mut member = rich;
        while member != poor {
            let (taker, topic) = given_to[&member];
            links.push((member, topic));
            member = taker;
            if self.hands[member].load + 2 <= self.hands[rich].load {
                break;
            }
        }
        Chain { links, to: member }
    }

    fn follow(&mut self, chain: &Chain) {
        let takers = chain.links.iter().skip(1).map(|(taker, _)| *taker).chain([chain.to]);
        for ((giver, topic), taker) in chain.links.iter().zip(takers) {
            let held = self.hands[*giver].held.get_mut(topic).expect("the chain was just found");
            let partition = held.new.pop().or_else(|| held.before.pop());
            let partition = partition.expect("the chain was just found");
            self.hands[*giver].load -= 1;
            self.hands[taker].held.entry(*topic).or_default().new.push(partition);
            self.hands[taker].load += 1;
        }
    }

    fn into_assignment(self) -> Vec<Vec<TopicPartition>> {
        let hands = self.hands.into_iter().map(|hand| {
            let mut partitions = Vec::with_capacity(hand.load);
            for (topic, held) in hand.held {
                let mut numbers = [held.before, held.new].concat();
                numbers.sort_unstable();
                let named = numbers.iter().map(|number| partition_of(self.names[topic], *number));
                partitions.extend(named);
            }
            partitions
        });
        hands.collect()
    }
}
