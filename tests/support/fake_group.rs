//! A coordinator of one group that knows just enough: members, generations, assignments, offsets,
//! all in memory. A request that has to wait waits in its connection's thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition};
use odradek::wire::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator,
};
use odradek::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use odradek::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};
use odradek::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use odradek::wire::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use odradek::wire::offset_fetch::{
    FetchedOffset, FetchedOffsets, OffsetFetchRequest, OffsetFetchResponse,
};
use odradek::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};

/// How long a rebalance waits for members that do not come back.
const REBALANCE_WAIT: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Member {
    instance_id: Option<String>,
    protocols: Vec<(String, Vec<u8>)>,
    /// The rebalance it joined last.
    round: u64,
}

#[derive(Default)]
struct State {
    members: BTreeMap<String, Member>,
    member_count: usize,
    generation: i32,
    round: u64,
    is_rebalancing: bool,
    assignments: Option<BTreeMap<String, Vec<u8>>>,
    offsets: BTreeMap<(String, i32), (i64, String)>,
    commit_count: usize,
    /// What the next requests of a kind are refused with.
    refusals: BTreeMap<ApiKey, VecDeque<ErrorCode>>,
    left: Vec<String>,
    heartbeat_count: usize,
}

/// See the module's documentation.
#[derive(Default)]
pub struct FakeGroup {
    state: Mutex<State>,
    changed: Condvar,
}

impl FakeGroup {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }

    /// Whether this request is for a coordinator.
    pub fn plays(api: ApiKey) -> bool {
        [
            ApiKey::FindCoordinator,
            ApiKey::JoinGroup,
            ApiKey::SyncGroup,
            ApiKey::Heartbeat,
            ApiKey::LeaveGroup,
            ApiKey::OffsetCommit,
            ApiKey::OffsetFetch,
        ]
        .contains(&api)
    }

    /// The body of the answer.
    pub fn answer(&self, api: ApiKey, body: &[u8], host: &str, port: u16) -> Vec<u8> {
        let refusal = self.lock().refusals.get_mut(&api).and_then(VecDeque::pop_front);
        match api {
            ApiKey::FindCoordinator => find(body, host, port, refusal),
            ApiKey::JoinGroup => self.join(body, refusal),
            ApiKey::SyncGroup => self.sync(body, refusal),
            ApiKey::Heartbeat => self.heartbeat(body, refusal),
            ApiKey::LeaveGroup => self.leave(body),
            ApiKey::OffsetCommit => self.commit(body, refusal),
            ApiKey::OffsetFetch => self.fetch(body, refusal),
            other => panic!("{other:?} is not played here"),
        }
    }

    /// The next requests of this kind are refused.
    pub fn refuse(&self, api: ApiKey, codes: &[ErrorCode]) {
        self.lock().refusals.entry(api).or_default().extend(codes);
    }

    /// The committed offset of a partition, with its metadata.
    pub fn committed(&self, topic: &str, partition: i32) -> Option<(i64, String)> {
        self.lock().offsets.get(&(topic.to_owned(), partition)).cloned()
    }

    /// Commits that were taken so far.
    pub fn commit_count(&self) -> usize {
        self.lock().commit_count
    }

    /// Heartbeats so far.
    pub fn heartbeat_count(&self) -> usize {
        self.lock().heartbeat_count
    }

    /// Members that said goodbye, in order.
    pub fn left(&self) -> Vec<String> {
        self.lock().left.clone()
    }

    /// Throws a member out, as if its session had ended.
    pub fn forget_members(&self) {
        let mut state = self.lock();
        state.members.clear();
        state.is_rebalancing = true;
        self.changed.notify_all();
    }

    fn join(&self, body: &[u8], refusal: Option<ErrorCode>) -> Vec<u8> {
        let request: JoinGroupRequest<'_> = frame::decode(body).expect("decodes");
        if let Some(code) = refusal {
            return frame::encode_body(&JoinGroupResponse::failed(code, request.member_id));
        }
        let mut state = self.lock();
        if request.member_id.is_empty() {
            state.member_count += 1;
            let id = format!("m-{}", state.member_count);
            let code = ErrorCode::MEMBER_ID_REQUIRED;
            return frame::encode_body(&JoinGroupResponse::failed(code, &id));
        }
        if !state.is_rebalancing {
            state.is_rebalancing = true;
            state.round += 1;
        }
        let round = state.round;
        let protocols = request.protocols.iter();
        let protocols = protocols.map(|one| (one.name.to_owned(), one.metadata.to_vec()));
        let instance_id = request.group_instance_id.map(str::to_owned);
        let member = Member { instance_id, protocols: protocols.collect(), round };
        state.members.insert(request.member_id.to_owned(), member);
        self.changed.notify_all();
        let deadline = Instant::now() + REBALANCE_WAIT;
        while state.round == round && state.is_rebalancing {
            let is_whole = state.members.values().all(|member| member.round == round);
            if is_whole || deadline <= Instant::now() {
                state.members.retain(|_, member| member.round == round);
                state.is_rebalancing = false;
                state.generation += 1;
                state.assignments = None;
                self.changed.notify_all();
                break;
            }
            state = self.changed.wait_timeout(state, Duration::from_millis(20)).expect("whole").0;
        }
        let state = &*state;
        let leader = state.members.keys().next().cloned().unwrap_or_default();
        let first = state.members.get(&leader).and_then(|member| member.protocols.first());
        let protocol = first.map_or("", |(name, _)| name);
        let members = state.members.iter().map(|(member_id, member)| JoinedMember {
            member_id,
            group_instance_id: member.instance_id.as_deref(),
            metadata: member
                .protocols
                .iter()
                .find(|one| one.0 == protocol)
                .map_or(&[], |one| &one.1),
        });
        let is_leader = leader == request.member_id;
        frame::encode_body(&JoinGroupResponse {
            error: ErrorCode::NONE,
            generation_id: state.generation,
            protocol_type: Some("consumer"),
            protocol_name: Some(protocol),
            leader: &leader,
            skip_assignment: false,
            member_id: request.member_id,
            members: if is_leader { members.collect() } else { Vec::new() },
        })
    }

    fn sync(&self, body: &[u8], refusal: Option<ErrorCode>) -> Vec<u8> {
        let request: SyncGroupRequest<'_> = frame::decode(body).expect("decodes");
        let mut state = self.lock();
        if let Err(code) = state.check(request.member_id, request.generation_id, refusal) {
            return frame::encode_body(&SyncGroupResponse::failed(code));
        }
        if !request.assignments.is_empty() {
            let all = request.assignments.iter();
            let all = all.map(|one| (one.member_id.to_owned(), one.assignment.to_vec()));
            state.assignments = Some(all.collect());
            self.changed.notify_all();
        }
        while state.assignments.is_none() && !state.is_rebalancing {
            state = self.changed.wait(state).expect("whole");
        }
        if state.is_rebalancing || state.generation != request.generation_id {
            return frame::encode_body(&SyncGroupResponse::failed(
                ErrorCode::REBALANCE_IN_PROGRESS,
            ));
        }
        let assignments = state.assignments.as_ref().expect("waited for");
        frame::encode_body(&SyncGroupResponse {
            error: ErrorCode::NONE,
            protocol_type: Some("consumer"),
            protocol_name: request.protocol_name,
            assignment: assignments.get(request.member_id).map_or(&[], |bytes| bytes),
        })
    }

    fn heartbeat(&self, body: &[u8], refusal: Option<ErrorCode>) -> Vec<u8> {
        let request: HeartbeatRequest<'_> = frame::decode(body).expect("decodes");
        let mut state = self.lock();
        state.heartbeat_count += 1;
        let checked = state.check(request.member_id, request.generation_id, refusal);
        let error = match checked {
            Err(code) => code,
            Ok(()) if state.is_rebalancing => ErrorCode::REBALANCE_IN_PROGRESS,
            Ok(()) => ErrorCode::NONE,
        };
        self.changed.notify_all();
        frame::encode_body(&HeartbeatResponse { error })
    }

    fn leave(&self, body: &[u8]) -> Vec<u8> {
        let request: LeaveGroupRequest<'_> = frame::decode(body).expect("decodes");
        let mut state = self.lock();
        for member in &request.members {
            state.members.remove(member.member_id);
            state.left.push(member.member_id.to_owned());
        }
        if !state.is_rebalancing {
            state.is_rebalancing = true;
            state.round += 1;
        }
        self.changed.notify_all();
        let members = vec![ErrorCode::NONE; request.members.len()];
        frame::encode_body(&LeaveGroupResponse { error: ErrorCode::NONE, members })
    }

    fn commit(&self, body: &[u8], refusal: Option<ErrorCode>) -> Vec<u8> {
        let request: OffsetCommitRequest<'_> = frame::decode(body).expect("decodes");
        let mut state = self.lock();
        let generation = request.generation_id_or_member_epoch;
        let checked = match (generation, refusal) {
            (-1, None) => Ok(()),
            (generation, refusal) => state.check(request.member_id, generation, refusal),
        };
        let code = checked.err().unwrap_or(ErrorCode::NONE);
        if code.is_ok() {
            state.commit_count += 1;
            for one in &request.partitions {
                let TopicRef::Name(topic) = one.topic else { panic!("a name is expected") };
                let key = (topic.to_owned(), one.partition.0);
                state.offsets.insert(key, (one.offset.0, one.metadata.to_owned()));
            }
        }
        let partitions = vec![code; request.partitions.len()];
        frame::encode_body(&OffsetCommitResponse { partitions })
    }

    fn fetch(&self, body: &[u8], refusal: Option<ErrorCode>) -> Vec<u8> {
        let request: OffsetFetchRequest<'_> = frame::decode(body).expect("decodes");
        let state = self.lock();
        let wanted = request.groups[0].partitions.clone().expect("by partition");
        let partitions = wanted.iter().map(|one| {
            let TopicRef::Name(topic) = one.topic else { panic!("a name is expected") };
            let Partition(partition) = one.partition;
            let error = ErrorCode::NONE;
            match state.offsets.get(&(topic.to_owned(), partition)) {
                None => FetchedOffset::absent(one.topic, one.partition, error),
                Some((offset, metadata)) => FetchedOffset {
                    topic: one.topic,
                    partition: one.partition,
                    offset: Offset(*offset),
                    leader_epoch: LeaderEpoch::NONE,
                    metadata,
                    error,
                },
            }
        });
        let group = match refusal {
            Some(error) => FetchedOffsets { error, partitions: Vec::new() },
            None => FetchedOffsets { error: ErrorCode::NONE, partitions: partitions.collect() },
        };
        frame::encode_body(&OffsetFetchResponse { groups: vec![group] })
    }
}

impl State {
    fn check(
        &self,
        member_id: &str,
        generation: i32,
        refusal: Option<ErrorCode>,
    ) -> Result<(), ErrorCode> {
        if let Some(code) = refusal {
            return Err(code);
        }
        if !self.members.contains_key(member_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        Ok(())
    }
}

fn find(body: &[u8], host: &str, port: u16, refusal: Option<ErrorCode>) -> Vec<u8> {
    let request: FindCoordinatorRequest<'_> = frame::decode(body).expect("decodes");
    assert_eq!(request.keys.len(), 1);
    let found = match refusal {
        Some(code) => FoundCoordinator::failed(code),
        None => FoundCoordinator { error: ErrorCode::NONE, node_id: NodeId(1), host, port },
    };
    frame::encode_body(&FindCoordinatorResponse { coordinators: vec![found] })
}
