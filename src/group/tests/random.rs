//! Random members, random failures, random power cuts; whatever happens,
//!
//! - all members that are told an assignment of one generation are told the same one, and each its
//!   own part, so that no partition has two owners in a generation;
//! - what a commit or a fetch has told is never followed by an older offset;
//! - a coordinator that replays the log has what the one before had.

use super::*;

const PARTITIONS: i32 = 3;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// A client: what it knows of its membership.
#[derive(Clone, Debug, Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    generation: i32,
    /// It has a place in that generation.
    has_joined: bool,
    has_synced: bool,
    /// The members to assign to, if it leads.
    members: Vec<String>,
    joining: Option<u64>,
    syncing: Option<u64>,
}

impl Client {
    /// What an error means for the membership.
    fn listen(&mut self, error: ErrorCode) {
        if error.is_ok() {
            return;
        }
        self.has_joined = false;
        if matches!(error, ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) {
            self.member_id.clear();
        }
    }
}

struct World {
    rig: Rig,
    random: Random,
    clients: Vec<Client>,
    nonce: u64,
    /// Who was told which part of which assignment, by generation.
    told: BTreeMap<i32, (String, BTreeMap<String, String>)>,
    /// Offsets that were told, by partition; the next must not be smaller.
    floors: BTreeMap<i32, i64>,
    commits: BTreeMap<u64, (i32, i64)>,
    fetches: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let rules =
            GroupRules { initial_rebalance_delay_ms: 100, group_size_max: 4, ..<_>::default() };
        let instance = |number: usize| (number % 3 == 0).then(|| format!("i{number}"));
        let clients =
            (0..5).map(|number| Client { instance_id: instance(number), ..<_>::default() });
        World {
            rig: Rig::new(rules),
            random: Random(seed),
            clients: clients.collect(),
            nonce: 0,
            told: BTreeMap::new(),
            floors: BTreeMap::new(),
            commits: BTreeMap::new(),
            fetches: Vec::new(),
        }
    }

    fn step(&mut self) {
        let client = self.random.next(self.clients.len() as u64) as usize;
        match self.random.next(100) {
            0..=69 => self.go_on(client),
            70..=71 => self.join(client),
            72..=73 => self.sync(client),
            74..=79 => self.fetch(),
            80..=86 => self.rig.pass(self.random.next(200)),
            87 => self.rig.pass(self.random.next(8_000)),
            88..=90 => drop(self.rig.run("hold")),
            91..=95 => drop(self.rig.run("release")),
            96 => drop(self.rig.run("fail 56")),
            97 => self.power_cut(),
            98 => self.clients[client].member_id.clear(),
            _ => self.leave(client),
        }
        self.hear();
        self.rig.coordinator.invariants();
    }

    /// What a client would do next.
    fn go_on(&mut self, place: usize) {
        let client = &self.clients[place];
        if client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        if !client.has_joined {
            self.join(place);
        } else if !client.has_synced {
            self.sync(place);
        } else if self.random.next(2) == 0 {
            self.commit(place);
        } else {
            self.heartbeat(place);
        }
    }

    fn heartbeat(&mut self, place: usize) {
        let client = self.clients[place].clone();
        let request = crate::wire::heartbeat::HeartbeatRequest {
            group_id: "g",
            generation_id: client.generation,
            member_id: &client.member_id,
            group_instance_id: client.instance_id.as_deref(),
        };
        let token = self.rig.send("heartbeat x", ApiKey::Heartbeat, &request);
        let (answered, body) = self.rig.answers.last().expect("heartbeats are answered at once");
        assert_eq!(*answered, token);
        let answer: HeartbeatResponse = frame::decode(body).expect("a heartbeat's answer");
        self.clients[place].listen(answer.error);
    }

    fn join(&mut self, place: usize) {
        let client = self.clients[place].clone();
        let metadata = [u8::from(self.random.next(8) == 0)];
        let request = JoinGroupRequest {
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 2_000,
            group_instance_id: client.instance_id.as_deref(),
            protocols: vec![JoinProtocol { name: "range", metadata: &metadata }],
            ..join_request("g", &client.member_id)
        };
        let token = self.rig.send("join x", ApiKey::JoinGroup, &request);
        self.clients[place].joining = Some(token);
    }

    fn sync(&mut self, place: usize) {
        let client = self.clients[place].clone();
        self.nonce += 1;
        let parts = client.members.iter().enumerate();
        let parts: Vec<(&str, String)> = parts
            .map(|(part, member_id)| (member_id.as_str(), format!("{} {part}", self.nonce)))
            .collect();
        let assignments = parts.iter();
        let assignments = assignments
            .map(|(member_id, part)| SyncAssignment { member_id, assignment: part.as_bytes() });
        let request = SyncGroupRequest {
            group_id: "g",
            generation_id: client.generation,
            member_id: &client.member_id,
            group_instance_id: client.instance_id.as_deref(),
            protocol_type: None,
            protocol_name: None,
            assignments: assignments.collect(),
        };
        let token = self.rig.send("sync x", ApiKey::SyncGroup, &request);
        self.clients[place].syncing = Some(token);
    }

    fn leave(&mut self, place: usize) {
        let client = self.clients[place].clone();
        let leaving = crate::wire::leave_group::LeavingMember {
            member_id: &client.member_id,
            group_instance_id: client.instance_id.as_deref(),
            reason: None,
        };
        let members = vec![leaving];
        let request = crate::wire::leave_group::LeaveGroupRequest { group_id: "g", members };
        self.rig.send("leave x", ApiKey::LeaveGroup, &request);
    }

    fn commit(&mut self, place: usize) {
        let client = self.clients[place].clone();
        self.nonce += 1;
        let offset = self.nonce as i64;
        let partition = self.random.next(PARTITIONS as u64) as i32;
        let mut request = commit_request("g", "", offset);
        request.partitions[0].partition = Partition(partition);
        if self.random.next(4) != 0 {
            request.generation_id_or_member_epoch = client.generation;
            request.member_id = &client.member_id;
            request.group_instance_id = client.instance_id.as_deref();
        }
        let token = self.rig.send("commit", ApiKey::OffsetCommit, &request);
        self.commits.insert(token, (partition, offset));
    }

    fn fetch(&mut self) {
        let partitions = (0..PARTITIONS)
            .map(|number| FetchOffset { topic: TopicRef::Name("t"), partition: Partition(number) });
        let group = FetchOffsetsGroup {
            group_id: "g",
            member_id: None,
            member_epoch: -1,
            partitions: Some(partitions.collect()),
        };
        let request = OffsetFetchRequest { require_stable: true, groups: vec![group] };
        let token = self.rig.send("fetch", ApiKey::OffsetFetch, &request);
        self.fetches.push(token);
    }

    /// Whatever was not durable is lost, and so is who was waiting.
    fn power_cut(&mut self) {
        let before = durable(&self.rig.coordinator);
        assert_eq!(durable(&self.rig.replayed()), before, "replayed equals live");
        self.hear();
        self.rig.restart();
        self.commits.clear();
        self.fetches.clear();
        for client in &mut self.clients {
            client.joining = None;
            client.syncing = None;
        }
    }

    /// Takes the answers that came.
    fn hear(&mut self) {
        let answers: Vec<(u64, Vec<u8>)> = self.rig.answers.split_off(0);
        for (token, body) in answers {
            if let Some((partition, offset)) = self.commits.remove(&token) {
                self.hear_commit(partition, offset, &body);
            } else if self.fetches.contains(&token) {
                self.hear_fetch(&body);
            } else {
                self.hear_member(token, &body);
            }
        }
    }

    fn hear_commit(&mut self, partition: i32, offset: i64, body: &[u8]) {
        let answer: OffsetCommitResponse = frame::decode(body).expect("a commit's answer");
        if answer.partitions[0].is_ok() {
            let floor = self.floors.entry(partition).or_insert(-1);
            *floor = offset.max(*floor);
        }
    }

    fn hear_fetch(&mut self, body: &[u8]) {
        let answer: OffsetFetchResponse<'_> = frame::decode(body).expect("a fetch's answer");
        for item in &answer.groups[0].partitions {
            let floor = self.floors.entry(item.partition.0).or_insert(-1);
            assert!(*floor <= item.offset.0, "{item:?} after {floor}");
            *floor = item.offset.0;
        }
    }

    fn hear_member(&mut self, token: u64, body: &[u8]) {
        let mut clients = self.clients.iter_mut();
        if let Some(client) = clients.find(|client| client.joining == Some(token)) {
            let answer: JoinGroupResponse<'_> = frame::decode(body).expect("a join's answer");
            client.joining = None;
            client.listen(answer.error);
            if answer.error.is_ok() || answer.error == ErrorCode::MEMBER_ID_REQUIRED {
                client.member_id = answer.member_id.to_owned();
                client.generation = answer.generation_id;
                client.has_joined = answer.error.is_ok();
                client.has_synced = false;
                let members = answer.members.iter();
                client.members = members.map(|member| member.member_id.to_owned()).collect();
            }
            return;
        }
        let mut clients = self.clients.iter_mut();
        if let Some(client) = clients.find(|client| client.syncing == Some(token)) {
            let answer: SyncGroupResponse<'_> = frame::decode(body).expect("a sync's answer");
            client.syncing = None;
            client.listen(answer.error);
            client.has_synced = answer.error.is_ok();
            if !answer.error.is_ok() || answer.assignment.is_empty() {
                return;
            }
            let text = String::from_utf8(answer.assignment.to_vec()).expect("our own text");
            let (nonce, part) = text.split_once(' ').expect("a nonce and a part");
            // A static member is the same whatever its member id is.
            let name = client.instance_id.clone().unwrap_or_else(|| client.member_id.clone());
            let told = self.told.entry(client.generation);
            let (known, parts) = told.or_insert_with(|| (nonce.to_owned(), BTreeMap::new()));
            assert_eq!(known, nonce, "one assignment in generation {}", client.generation);
            let owner = parts.entry(part.to_owned()).or_insert_with(|| name.clone());
            assert_eq!(*owner, name, "one owner of {part} in generation {}", client.generation);
        }
    }
}

#[test]
fn whatever_happens() {
    let mut generations = 0;
    let mut shared = 0;
    let mut floors = 0;
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.power_cut();
        world.fetch();
        world.hear();
        generations += world.told.len();
        shared += world.told.values().filter(|(_, parts)| 1 < parts.len()).count();
        floors += world.floors.values().filter(|floor| 0 < **floor).count();
    }
    // The test is about something: assignments were told, to several, and offsets committed.
    assert!(100 < generations && 100 < shared && 100 < floors, "{generations} {shared} {floors}");
}
