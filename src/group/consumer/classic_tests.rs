//! Members of the classic protocol among the random ones of `tests.rs`: a group changes over to
//! KIP-848 and back under them, and still no partition has two owners.

use super::super::classic_members::placed;
use super::{PartitionSet, TOPICS, World};
use crate::group::classic::ClassicGroup;
use crate::ids::Partition;
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use crate::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use crate::wire::leave_group::{LeaveGroupRequest, LeavingMember};
use crate::wire::sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ApiKey, ErrorCode, frame};

/// An eager client as it sees itself: it gives up everything before it joins.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassicClient {
    member_id: String,
    generation: i32,
    pub owned: PartitionSet,
    stage: Stage,
    waiting: Option<(u64, ApiKey)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It is to join.
    #[default]
    Out,
    /// It has joined; the members it is to assign to, if it leads.
    Joined(Vec<String>),
    /// It has its assignment.
    In,
}

impl World {
    /// A classic client does what comes next for it.
    pub(super) fn act(&mut self, place: usize) {
        self.hear_classics();
        let client = self.classics[place].clone();
        if client.waiting.is_some() {
            return;
        }
        let sent = match &client.stage {
            Stage::Out => self.join(place),
            Stage::Joined(members) => self.sync(&client, members),
            Stage::In => self.live(&client),
        };
        // The answer may be there already.
        self.classics[place].waiting = Some(sent);
        self.hear_classics();
    }

    fn join(&mut self, place: usize) -> (u64, ApiKey) {
        let client = &mut self.classics[place];
        client.owned = PartitionSet::default();
        let topics = TOPICS.to_vec();
        let metadata = ConsumerProtocolSubscription { topics, ..<_>::default() }.encode(0);
        let request = JoinGroupRequest {
            group_id: "g",
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            member_id: &client.member_id,
            group_instance_id: None,
            protocol_type: "consumer",
            protocols: vec![JoinProtocol { name: "range", metadata: &metadata }],
            reason: None,
            needs_known_member_id: true,
            can_skip_assignment: false,
        };
        (self.rig.send("join classic", ApiKey::JoinGroup, &request), ApiKey::JoinGroup)
    }

    fn sync(&mut self, client: &ClassicClient, members: &[String]) -> (u64, ApiKey) {
        let mut shares = vec![Vec::new(); members.len()];
        let all = self.counts.iter().flat_map(|(name, count)| (0..*count).map(move |n| (*name, n)));
        for (number, (topic, partition)) in all.enumerate() {
            if let Some(share) = shares.get_mut(number % members.len().max(1)) {
                let partitions = vec![Partition(partition)];
                share.push(TopicPartition { topic, partitions });
            }
        }
        let shares = shares.into_iter().map(|assigned_partitions| {
            ConsumerProtocolAssignment { assigned_partitions, user_data: None }.encode(0)
        });
        let shares: Vec<Vec<u8>> = shares.collect();
        let assignments = members.iter().zip(&shares);
        let request = SyncGroupRequest {
            group_id: "g",
            generation_id: client.generation,
            member_id: &client.member_id,
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments
                .map(|(member_id, assignment)| SyncAssignment { member_id, assignment })
                .collect(),
        };
        (self.rig.send("sync classic", ApiKey::SyncGroup, &request), ApiKey::SyncGroup)
    }

    fn live(&mut self, client: &ClassicClient) -> (u64, ApiKey) {
        let request = HeartbeatRequest {
            group_id: "g",
            generation_id: client.generation,
            member_id: &client.member_id,
            group_instance_id: None,
        };
        (self.rig.send("heartbeat classic", ApiKey::Heartbeat, &request), ApiKey::Heartbeat)
    }

    pub(super) fn leave_classic(&mut self, place: usize) {
        let client = std::mem::take(&mut self.classics[place]);
        let member_id = &client.member_id;
        let members = vec![LeavingMember { member_id, group_instance_id: None, reason: None }];
        let request = LeaveGroupRequest { group_id: "g", members };
        self.rig.send("leave classic", ApiKey::LeaveGroup, &request);
    }

    /// The answers that have come; those to others stay.
    pub(super) fn hear_classics(&mut self) {
        let answers = self.rig.answers[self.heard_classics..].to_vec();
        self.heard_classics = self.rig.answers.len();
        for (token, body) in answers {
            let mut clients = self.classics.iter_mut();
            let Some(client) = clients.find(|it| it.waiting.is_some_and(|(at, _)| at == token))
            else {
                continue;
            };
            let (_, api) = client.waiting.take().expect("it was found by it");
            match api {
                ApiKey::JoinGroup => client.joined(&body),
                ApiKey::SyncGroup => {
                    let answer: SyncGroupResponse<'_> = frame::decode(&body).expect("an answer");
                    if client.goes_on(answer.error) && !answer.assignment.is_empty() {
                        let read = ConsumerProtocolAssignment::decode(answer.assignment);
                        let read = read.expect("it was written by us").assigned_partitions;
                        client.owned = placed(&self.rig.coordinator.topics, &read);
                    }
                }
                _ => {
                    let answer: HeartbeatResponse = frame::decode(&body).expect("an answer");
                    client.goes_on(answer.error);
                }
            }
        }
    }

    /// Members that were silent for a session know themselves that they are out.
    pub(super) fn expire_classics(&mut self) {
        let group = self.rig.coordinator.groups.get("g");
        let mut known: Vec<&str> = Vec::new();
        if let Some(group) = group.and_then(|group| group.consumer()) {
            known.extend(group.members.keys().map(|member_id| &**member_id));
        }
        let classic = group.and_then(|group| group.classic());
        let classic: Vec<_> = classic.into_iter().flat_map(ClassicGroup::moving).collect();
        known.extend(classic.iter().map(|member| &*member.member_id));
        for client in &mut self.classics {
            if client.stage == Stage::In && !known.contains(&&*client.member_id) {
                *client = ClassicClient::default();
            }
        }
    }

    /// Whoever waited waits in vain.
    pub(super) fn cut_classics(&mut self) {
        for client in &mut self.classics {
            if client.waiting.take().is_some() && client.stage != Stage::In {
                client.stage = Stage::Out;
            }
        }
    }
}

impl ClassicClient {
    fn joined(&mut self, body: &[u8]) {
        let answer: JoinGroupResponse<'_> = frame::decode(body).expect("an answer");
        match answer.error {
            ErrorCode::NONE => {
                self.member_id = answer.member_id.to_owned();
                self.generation = answer.generation_id;
                let leads = answer.leader == answer.member_id;
                let members = answer.members.iter().filter(|_| leads);
                let members = members.map(|member| member.member_id.to_owned());
                self.stage = Stage::Joined(members.collect());
            }
            ErrorCode::MEMBER_ID_REQUIRED => self.member_id = answer.member_id.to_owned(),
            ErrorCode::UNKNOWN_MEMBER_ID => *self = ClassicClient::default(),
            _ => {}
        }
    }

    /// Whether all is well; otherwise it joins again, or forgets everything.
    fn goes_on(&mut self, error: ErrorCode) -> bool {
        self.stage = match error {
            ErrorCode::NONE => Stage::In,
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                *self = ClassicClient::default();
                Stage::Out
            }
            _ => Stage::Out,
        };
        error.is_ok()
    }
}

/// Few members of KIP-848 and much coming and going, so that the last one leaves often.
#[test]
fn groups_change_over_and_back_without_a_partition_that_two_have() {
    let (mut upgraded, mut downgraded) = (0, 0);
    for seed in 100..=140 {
        let mut world = World::new(seed, 2, 3);
        let mut was_classic = false;
        for _ in 0..400 {
            world.step();
            let group = world.rig.coordinator.groups.get("g");
            let members = group.filter(|group| !group.is_empty());
            let is_classic = members.is_some_and(|group| group.classic().is_some());
            if members.is_some() && is_classic != was_classic {
                let count = if is_classic { &mut downgraded } else { &mut upgraded };
                *count += 1;
                was_classic = is_classic;
            }
        }
        world.settle();
    }
    assert!(20 < upgraded && 20 < downgraded, "{upgraded} and {downgraded}");
}
