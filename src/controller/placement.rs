//! Where the replicas of new partitions go (semantics.md 2.14).
//!
//! Round robin over the brokers, beginning at a place that the topic's random id chooses. Brokers of
//! different racks take turns in the round, so that neighbours in it, which hold the same partition,
//! stand apart where they can. Those that may lead come first; the others hold replicas only where
//! there are too few of the first.
//!
//! **Invariant:** a broker holds one replica of a partition at most, and the first may lead.

use std::collections::BTreeMap;

use crate::controller::image::{BrokerImage, Image};
use crate::ids::{NodeId, TopicId};

/// The brokers of a site, in the order in which partitions go round.
#[derive(Debug)]
pub(super) struct Round {
    active: Vec<NodeId>,
    fenced: Vec<NodeId>,
}

impl Round {
    pub(super) fn of(image: &Image) -> Round {
        let pick = |is_active: bool| {
            in_turns(image.brokers().filter(|(_, broker)| broker.is_active() == is_active))
        };
        Round { active: pick(true), fenced: pick(false) }
    }

    /// How many replicas a partition can have.
    pub(super) fn len(&self) -> usize {
        self.active.len() + self.fenced.len()
    }

    /// Whether nobody could lead.
    pub(super) fn has_no_leader(&self) -> bool {
        self.active.is_empty()
    }

    /// The replicas of a partition, the leader first; at most [`Round::len`] of them.
    pub(super) fn replicas(&self, topic_id: TopicId, number: i32, count: usize) -> Vec<NodeId> {
        let seed =
            topic_id.0.0.iter().fold(0usize, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
        let number = usize::try_from(number).unwrap_or(0);
        let mut replicas = go_round(&self.active, seed, number, count);
        let missing = count - replicas.len();
        replicas.extend(go_round(&self.fenced, seed, number, missing));
        replicas
    }
}

/// `count` of them at most. The first goes round with the number; the others follow it at a distance
/// that grows with each round, so that the followers of one broker's partitions are many.
fn go_round(of: &[NodeId], seed: usize, number: usize, count: usize) -> Vec<NodeId> {
    let all = of.len();
    if all == 0 || count == 0 {
        return Vec::new();
    }
    let first = (seed + number) % all;
    let mut replicas = vec![of[first]];
    if all == 1 {
        return replicas;
    }
    let shift = number / all;
    let others = (0..all - 1).map(|step| of[(first + 1 + (shift + step) % (all - 1)) % all]);
    replicas.extend(others.take(count - 1));
    replicas
}

/// Brokers such that those of different racks take turns.
fn in_turns<'a>(brokers: impl Iterator<Item = (NodeId, &'a BrokerImage)>) -> Vec<NodeId> {
    let mut racks: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for (node_id, broker) in brokers {
        racks.entry(&broker.rack).or_default().push(node_id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let turn = |turn: usize| racks.values().filter_map(move |rack| rack.get(turn).copied());
    (0..longest).flat_map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::change::{BrokerState, Change};
    use crate::ids::Uuid;

    /// A site of brokers with a rack each; those in upper case are fenced.
    fn site(racks: &str) -> Round {
        let mut image = Image::default();
        for (number, rack) in racks.chars().enumerate() {
            let node_id = NodeId(number as i32 + 1);
            image.replay(&Change::Registration {
                node_id,
                broker_epoch: 1,
                incarnation: Uuid([1; 16]),
                directory_id: Uuid([2; 16]),
                endpoints: Vec::new(),
                rack: rack.to_lowercase().to_string().into(),
                life: 0,
                active_epoch: 0,
            });
            if rack.is_lowercase() {
                image.replay(&Change::BrokerState { node_id, state: BrokerState::Active });
            }
        }
        Round::of(&image)
    }

    fn placed(racks: &str, partitions: i32, count: usize) -> Vec<String> {
        let round = site(racks);
        let text = |number| {
            let replicas = round.replicas(TopicId(Uuid::ZERO), number, count);
            replicas.iter().map(|node| node.0.to_string()).collect()
        };
        (0..partitions).map(text).collect()
    }

    #[test]
    fn semantics_2_14_replicas_go_round_and_leaders_are_spread() {
        assert_eq!(placed("aaa", 6, 3), ["123", "231", "312", "132", "213", "321"]);
        assert_eq!(placed("a", 2, 1), ["1", "1"]);
        assert_eq!(placed("aa", 2, 3), ["12", "21"], "no more than there are");
    }

    #[test]
    fn racks_take_turns() {
        // In the round: 1 (a), 3 (b), 2 (a), 4 (b).
        assert_eq!(placed("aabb", 4, 2), ["13", "32", "24", "41"]);
    }

    #[test]
    fn who_is_fenced_holds_what_nobody_else_can() {
        assert_eq!(placed("aaA", 3, 2), ["12", "21", "12"]);
        assert_eq!(placed("aaA", 2, 3), ["123", "213"]);
        assert!(site("A").has_no_leader());
    }
}
