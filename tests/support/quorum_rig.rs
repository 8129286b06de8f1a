//! The commands of `tests/transcripts/quorum.txt`: a simulated site in calm weather, by hand.
//!
//! ```text
//! new 1 2 3 [witness=3] [seed=N]     a site; its nodes are off
//! start N.. | cut-power N..          a node goes on or off, its unsynced writes lost
//! up N                               all go on, N first, so that it leads; not shown
//! wipe N                             an empty card, in a node that is off
//! add N                              a new node with an empty card, off
//! time MS                            what happens meanwhile
//! quiet MS                           the same, not shown
//! cut A>B.. | isolate N | heal       the network
//! stall N | unstall N                the disk of a node
//! pause N MS                         its process
//! propose N TEXT | many N COUNT      changes for the log
//! observe L N | promote L N | remove L N[/LIFE]     at leader L
//! hand-over L
//! forge KEY=VALUE..                  a message nobody sent
//! status [N..]
//! ```

use std::fmt::Write as _;

use bytes::Bytes;
use odradek::ids::NodeId;
use odradek::quorum::message::Body;
use odradek::quorum::{Message, VoterId};
use odradek::wire::quorum::members::{Member, MemberChange, MemberKind};
use odradek::wire::quorum::{Envelope, LogPlace};

use crate::quorum_site::disk::Kept;
use crate::quorum_site::{Site, Weather, id, words};

/// A site under the hand of a transcript.
pub struct Rig {
    site: Site,
}

impl Rig {
    /// No site yet.
    pub fn new() -> Rig {
        Rig { site: Site::new(0, &[1], Weather::CALM) }
    }

    /// Runs a command; answers what happened.
    pub fn run(&mut self, command: &str) -> String {
        self.site.lines = Some(Vec::new());
        let mut parts = command.split_whitespace();
        let verb = parts.next().expect("a command");
        let rest: Vec<&str> = parts.collect();
        let answer = self.act(verb, &rest);
        if let Some(broken) = &self.site.checker.violation {
            panic!("{command}: {broken}");
        }
        let mut text = self.site.lines.take().unwrap_or_default().join("\n");
        if !answer.is_empty() {
            write!(text, "{}{answer}", if text.is_empty() { "" } else { "\n" }).expect("a String");
        }
        if text.is_empty() { "nothing".into() } else { text }
    }

    fn act(&mut self, verb: &str, rest: &[&str]) -> String {
        let numbers = || rest.iter().filter_map(|word| word.parse::<i32>().ok());
        let first = || numbers().next().expect("a node");
        match verb {
            "new" => self.found(rest),
            "start" => numbers().for_each(|node| self.site.start(node)),
            "cut-power" => numbers().for_each(|node| self.site.cut_power(node, 0)),
            "up" => {
                self.site.lines = None;
                self.site.start(first());
                self.site.run_ms(450);
                for node in self.site.all() {
                    if node != first() {
                        self.site.start(node);
                    }
                }
                self.site.run_ms(1500);
                return format!("{} leads", self.site.leader().expect("somebody leads"));
            }
            "wipe" => self.site.wipe(first()),
            "add" => self.site.add(id(first(), 1), false, Kept::nothing()),
            "time" => self.site.run_ms(first() as u64),
            "quiet" => {
                self.site.lines = None;
                self.site.run_ms(first() as u64);
                return "ok".into();
            }
            "cut" => {
                for (from, to) in rest.iter().filter_map(|word| word.split_once('>')) {
                    let node = |word: &str| word.parse().expect("a node");
                    self.site.set_cut(node(from), node(to), true);
                }
            }
            "isolate" => {
                for other in self.site.all() {
                    self.site.set_cut(first(), other, true);
                    self.site.set_cut(other, first(), true);
                }
            }
            "heal" => self.site.heal(),
            "stall" => self.site.disk(first()).stall(odradek::time::Boot(u64::MAX - 1)),
            "unstall" => {
                let now = self.site.now;
                self.site.disk(first()).unstall(now, 1000);
            }
            "pause" => self.site.pause(first(), numbers().nth(1).expect("ms") as u64),
            "propose" => {
                let outcome = self.site.propose(first(), rest[1].as_bytes());
                return format!("{outcome:?}");
            }
            "many" => return self.many(first(), numbers().nth(1).expect("a count")),
            "observe" | "promote" | "remove" => return self.change(verb, rest),
            "hand-over" => self.site.hand_over(first()),
            "forge" => self.forge(rest),
            "status" => return self.status(rest),
            other => panic!("no command {other}"),
        }
        String::new()
    }

    fn found(&mut self, rest: &[&str]) {
        let founders: Vec<i32> = rest.iter().filter_map(|word| word.parse().ok()).collect();
        let option = |key: &str| {
            rest.iter().filter_map(|word| word.split_once('=')).find(|(name, _)| *name == key)
        };
        let seed = option("seed").map_or(7, |(_, seed)| seed.parse().expect("a number"));
        self.site = Site::new(seed, &founders, Weather::CALM);
        if let Some((_, image_bytes)) = option("image") {
            self.site.image_bytes = image_bytes.parse().expect("bytes");
        }
        if let Some((_, witness)) = option("witness") {
            let ids: Vec<VoterId> = founders.iter().map(|&node| id(node, 1)).collect();
            let witness = id(witness.parse().expect("a node"), 1);
            let list = ids.iter().map(|&id| {
                let is_witness = id == witness;
                let kind = if is_witness { MemberKind::Witness } else { MemberKind::Voter };
                Member { id, kind }
            });
            let list: Vec<Member> = list.collect();
            for &one in &ids {
                self.site.add(one, one == witness, Kept::bootstrapped_as(&list));
            }
        }
        self.site.lines = Some(Vec::new());
    }

    fn many(&mut self, node: i32, count: i32) -> String {
        self.site.lines = None;
        let value = vec![b'v'; 16_000];
        let taken = (0..count).filter(|_| {
            let is_taken = self.site.propose(node, &value).is_ok();
            self.site.run_ms(5);
            is_taken
        });
        format!("{} taken", taken.count())
    }

    fn change(&mut self, verb: &str, rest: &[&str]) -> String {
        let leader: i32 = rest[0].parse().expect("a leader");
        let who = match rest[1].split_once('/') {
            Some((node, life)) => {
                id(node.parse().expect("a node"), life.parse().expect("a number"))
            }
            None => self.site.id_of(rest[1].parse().expect("a node")),
        };
        let change = match verb {
            "observe" => MemberChange::Observe(who),
            "promote" => {
                MemberChange::Promote { id: who, is_witness: self.site.is_witness(who.node_id.0) }
            }
            _ => MemberChange::Remove(who),
        };
        self.site.change(leader, change)
    }

    /// `forge from=1 to=2 epoch=9 vote`, and so on; lives may be named: `from=1/7`.
    fn forge(&mut self, rest: &[&str]) {
        let value = |key: &str| {
            let pair = rest.iter().filter_map(|word| word.split_once('='));
            pair.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let number =
            |key: &str| value(key).map_or(0, |text| text.parse::<u64>().expect("a number"));
        let voter = |key: &str| {
            let text = value(key).expect("a voter");
            let (node, life) = text.split_once('/').unwrap_or((text, "1"));
            let node_id = NodeId(node.parse().expect("a node"));
            VoterId { node_id, incarnation: life.parse().expect("a life") }
        };
        let (from, to) = (voter("from"), voter("to"));
        let envelope = Envelope { from, to, epoch: number("epoch") };
        let last = LogPlace { offset: number("offset"), epoch: number("last") };
        let none = LogPlace::default();
        let body = match rest[0] {
            "pre-vote" | "vote" => Body::VoteRequest {
                is_pre_vote: rest[0] == "pre-vote",
                is_handed_over: false,
                last,
                committed: none,
            },
            "append" => Body::AppendRequest {
                previous: last,
                committed_offset: number("committed"),
                batches: value("batch")
                    .map(|text| Bytes::from(text.to_owned()))
                    .into_iter()
                    .collect(),
            },
            "ack" => Body::AppendResponse {
                is_appended: true,
                offset: last.offset,
                hint: none,
                committed_offset: 0,
            },
            "heartbeat" => Body::HeartbeatRequest { committed_offset: number("committed") },
            "campaign" => Body::CampaignNow,
            "image" => Body::SnapshotRequest {
                last,
                members: vec![Member { id: from, kind: MemberKind::Voter }],
                image_bytes: number("bytes"),
                position: number("position"),
                piece: Bytes::from_static(b"piece"),
            },
            other => panic!("no message {other}"),
        };
        self.site.hear(to.node_id.0, Message { envelope, body });
    }

    fn status(&mut self, rest: &[&str]) -> String {
        let mut nodes: Vec<i32> = rest.iter().filter_map(|word| word.parse().ok()).collect();
        if nodes.is_empty() {
            nodes = self.site.all();
        }
        let line = |node: &i32| match self.site.quorum(*node) {
            Some(quorum) => words::status(quorum),
            None => format!("{}: off", self.site.id_of(*node)),
        };
        nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
