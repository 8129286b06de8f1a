//! What a node is told of the site it belongs to.

use core::fmt;
use std::collections::BTreeSet;

use super::key::list;
use super::listener::Listener;
use super::raw::RawValue;
use crate::ids::NodeId;
use crate::limits::QUORUM_VOTERS_MAX;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds partitions.
    Broker,
    /// It may vote, and run the controller.
    Controller,
    /// It votes, and holds no data.
    Witness,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Broker, Role::Controller, Role::Witness];

    /// As it stands in `process.roles`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Broker => "broker",
            Role::Controller => "controller",
            Role::Witness => "witness",
        }
    }
}

/// A node that is to vote, and its wire listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// The node.
    pub node_id: NodeId,
    /// `HOST:PORT`.
    pub address: String,
}

impl Voter {
    /// Reads `ID@HOST:PORT`.
    pub fn parse(text: &str) -> Option<Voter> {
        let (id, address) = text.split_once('@')?;
        let id: i32 = id.parse().ok().filter(|id| 0 <= *id)?;
        // What a listener may be, a node's may be.
        let listener = Listener::parse(&format!("wire://{address}"))?;
        (listener.port != 0).then(|| Voter { node_id: NodeId(id), address: listener.address() })
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.address)
    }
}

/// Nodes that are to vote, each once.
pub(super) fn voters(value: &RawValue) -> Option<Vec<Voter>> {
    let voters: Option<Vec<Voter>> = list(value)?.into_iter().map(Voter::parse).collect();
    let voters = voters?;
    let ids: BTreeSet<NodeId> = voters.iter().map(|voter| voter.node_id).collect();
    let is_legal = ids.len() == voters.len() && voters.len() <= QUORUM_VOTERS_MAX;
    is_legal.then_some(voters)
}

/// Addresses of nodes, each once.
pub(super) fn peers(value: &RawValue) -> Option<Vec<String>> {
    let address = |text: &str| {
        let listener = Listener::parse(&format!("wire://{text}"))?;
        (listener.port != 0).then(|| listener.address())
    };
    list(value)?.into_iter().map(address).collect()
}

/// What a node does. A witness holds no data, so it is nothing else.
pub(super) fn roles(value: &RawValue) -> Option<Vec<Role>> {
    let find = |text: &str| Role::ALL.into_iter().find(|role| role.name() == text);
    let roles: Option<Vec<Role>> = list(value)?.into_iter().map(find).collect();
    let is_legal = |roles: &Vec<Role>| !roles.contains(&Role::Witness) || roles.len() == 1;
    roles.filter(is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_is_an_id_and_an_address() {
        for (text, node, address) in [
            ("1@edge-1.local:7092", 1, "edge-1.local:7092"),
            ("0@10.0.0.7:1", 0, "10.0.0.7:1"),
            ("2147483647@[::1]:7092", i32::MAX, "[::1]:7092"),
        ] {
            let voter = Voter::parse(text).expect("legal");
            assert_eq!((voter.node_id, &*voter.address), (NodeId(node), address));
            assert_eq!(voter.to_string(), text);
        }
        for text in ["edge-1:7092", "-1@a:1", "a@b:1", "1@a", "1@a:0", "1@:1", "1@a:70000", "@a:1"]
        {
            assert_eq!(Voter::parse(text), None, "{text}");
        }
    }
}
