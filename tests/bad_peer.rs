//! A peer that lies, whole: every way of lying that reliability.md's catalogue and the site's design
//! name, each with the reason by which it is refused. None changes anything, and none disturbs an
//! election.
//!
//! | lie | who refuses it, and where that is shown |
//! |---|---|
//! | votes, batches, images, acks, hints that cannot be | the quorum: [`lies_to_the_quorum`], [`lies_of_a_quorums_leader`], [`images_and_changes_that_cannot_be`] |
//! | any message of the quorum at all, by the hundred thousand | `quorum::hostile_tests` |
//! | what is not a leader's, not this broker's, not of this incarnation, not of this cluster | the controller: [`lies_to_the_controller`], [`lies_of_a_broker_about_itself`] |
//! | a board's card copied, emptied, or restored from a backup | the controller: `controller::site_tests`, `design_6_…` |
//! | the card of a board that was removed | the handshake, and whoever leads: `runtime::site::handshake`, `tests/member.rs` |
//! | fetches of a stale incarnation, with ends that cannot be, out of order | the leader of a partition: [`lies_to_a_leader`] |
//! | a clock a year off | nobody: [`a_clock_that_is_a_year_off_decides_nothing`] |
//! | a board that was away for a year | nobody, it catches up: [`a_board_that_was_away_for_a_year_catches_up`] |
//! | another secret, another cluster, this node's id, a node's id twice | the handshake: `runtime::site::handshake` |
//! | a code that is wrong, replayed, expired, used, tried too often; a taken id | pairing: `runtime::site::pairing` |
//! | frames that are too long or do not decode | the links: `broker::site::passed`, `wire::tests` |

#[path = "support/booted.rs"]
mod booted;
#[path = "support/member_world.rs"]
mod member_world;
#[path = "support/partition.rs"]
mod partition;
#[path = "support/replica_node.rs"]
mod replica_node;
#[path = "support/replica_rig.rs"]
mod replica_rig;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use bytes::Bytes;
use member_world::World;
use odradek::broker::site::Said;
use odradek::controller::FEATURE_LEVEL;
use odradek::controller::change::{self, Change};
use odradek::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use odradek::quorum::message::Body;
use odradek::quorum::{Message, Refusal, VoterId};
use odradek::record::{BatchBuilder, Compression, stamp};
use odradek::time::Timestamp;
use odradek::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use odradek::wire::peer::PeerApiKey;
use odradek::wire::peer::forward::Forwarded;
use odradek::wire::peer::heartbeat::BrokerHeartbeatRequest;
use odradek::wire::peer::producer_ids::AllocateProducerIdsRequest;
use odradek::wire::peer::register::RegisterBrokerRequest;
use odradek::wire::quorum::members::{Member, MemberKind};
use odradek::wire::quorum::{Envelope, LogPlace};
use odradek::wire::replica::ReplicaApiKey;
use odradek::wire::replica::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlterReplicas, InSync,
};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};
use replica_rig::Rig;
use serde::Serialize;

/// How long it takes until a disturbed election would show.
const QUIET_MS: u64 = 3_000;

/// A site of three with a topic on all of them, and who does what in it.
struct Scene {
    world: World,
    /// Who leads the quorum.
    leader: i32,
    /// Who lies.
    liar: i32,
    /// Who neither leads nor lies.
    other: i32,
    epoch: u64,
    end: u64,
    /// Images that came whole: none ends where another did.
    whole_count: u64,
}

impl Scene {
    fn new() -> Scene {
        let mut world = World::of(3);
        world.start_all();
        world.run_until("three vote and take part", |world| world.is_whole(3, 3));
        assert_eq!(world.create(1, "t", 3), ErrorCode::NONE);
        world.run_ms(1000);
        let leader = world.leader().expect("whole");
        let mut others = (1..4).filter(|node| *node != leader);
        let (liar, other) = (others.next().expect("two"), others.next().expect("one"));
        let quorum = world.quorum(leader).expect("it runs");
        let (epoch, end) = (quorum.epoch.0 as u64, quorum.log_end_offset.0 as u64);
        Scene { world, leader, liar, other, epoch, end, whole_count: 0 }
    }

    fn voter(&mut self, node: i32) -> VoterId {
        self.world.site(node).identity().voter
    }

    /// What every node knows.
    fn state(&self) -> Vec<String> {
        let of = |node| {
            let quorum = self.world.quorum(node).expect("it runs");
            let image = self.world.image(node).as_changes();
            format!("{:?} {:?} {:?} {image:?}", quorum.leader, quorum.epoch, quorum.members)
        };
        (1..4).map(of).collect()
    }

    /// Lets time pass, and has nothing changed.
    fn nothing_follows(&mut self, before: &[String], what: &str) {
        self.world.run_ms(QUIET_MS);
        assert_eq!(self.state(), before, "{what}");
        assert_eq!(self.world.leader(), Some(self.leader), "{what}");
    }
}

/// A message of the quorum: who says it to whom, in which epoch, and what.
struct Lie {
    from: VoterId,
    to: VoterId,
    epoch: u64,
    body: Body,
}

fn check_quorum(
    scene: &mut Scene,
    what: &str,
    expected: Refusal,
    lie: impl FnOnce(&mut Scene) -> (i32, Lie),
) {
    let before = scene.state();
    let (to, Lie { from, to: to_voter, epoch, body }) = lie(scene);
    let envelope = Envelope { from, to: to_voter, epoch };
    let said = Said::Quorum(Message { envelope, body });
    scene.world.say(from.node_id.0, to, said);
    let refused = scene.world.site(to).take_refusal();
    assert_eq!(refused, Some((from, expected)), "{what}");
    scene.nothing_follows(&before, what);
}

/// A lie of the one that lies, to the one that neither leads nor lies, in the present epoch.
fn tell(scene: &mut Scene, body: Body) -> (i32, Lie) {
    let (from, to) = (scene.voter(scene.liar), scene.voter(scene.other));
    (scene.other, Lie { from, to, epoch: scene.epoch, body })
}

const NOWHERE: LogPlace = LogPlace { offset: 0, epoch: 0 };

fn vote(is_pre_vote: bool, last: LogPlace) -> Body {
    Body::VoteRequest { is_pre_vote, is_handed_over: true, last, committed: last }
}

fn append(previous: LogPlace, committed_offset: u64, batches: Vec<Bytes>) -> Body {
    Body::AppendRequest { previous, committed_offset, batches }
}

fn image(scene: &mut Scene, image_bytes: u64, position: u64, voters: &[i32]) -> Body {
    piece(scene, (image_bytes, position), voters, Bytes::from_static(b"../../etc/passwd"))
}

/// An image that comes whole.
fn whole(scene: &mut Scene, image: Vec<u8>) -> Body {
    scene.whole_count += 1;
    piece(scene, (image.len() as u64, 0), &[1, 2, 3], image.into())
}

fn piece(
    scene: &mut Scene,
    (image_bytes, position): (u64, u64),
    voters: &[i32],
    piece: Bytes,
) -> Body {
    let member = |node: &i32| Member { id: scene.voter(*node), kind: MemberKind::Voter };
    let members = voters.iter().map(member).collect();
    let last = LogPlace { offset: scene.end + 100 + scene.whole_count, epoch: scene.epoch };
    Body::SnapshotRequest { last, members, image_bytes, position, piece }
}

/// What an image of the site says, and a topic more.
fn with_topic(scene: &Scene, name: &str) -> Vec<Change> {
    let name = TopicName::new(name).expect("legal");
    let mut changes = scene.world.image(scene.other).as_changes();
    changes.push(Change::Topic { topic_id: TopicId(Uuid([9; 16])), name });
    changes
}

#[test]
fn lies_to_the_quorum() {
    let mut scene = Scene::new();
    let far = LogPlace { offset: 1 << 40, epoch: 1 << 20 };
    for is_pre_vote in [true, false] {
        check_quorum(&mut scene, "a vote of term 2^63-1", Refusal::Epoch, |scene| {
            let (to, lie) = tell(scene, vote(is_pre_vote, far));
            (to, Lie { epoch: i64::MAX as u64, ..lie })
        });
        check_quorum(&mut scene, "a vote by a log that cannot be", Refusal::Offset, |scene| {
            tell(scene, vote(is_pre_vote, LogPlace { offset: u64::MAX, epoch: 1 }))
        });
    }
    check_quorum(&mut scene, "a vote of term 0", Refusal::Epoch, |scene| {
        let (to, lie) = tell(scene, vote(false, far));
        (to, Lie { epoch: 0, ..lie })
    });
    check_quorum(&mut scene, "a vote of nobody", Refusal::NotAMember, |scene| {
        let (to, lie) = tell(scene, vote(false, far));
        let from = VoterId { node_id: NodeId(9), incarnation: 1 };
        (to, Lie { from, epoch: lie.epoch + 1, ..lie })
    });
    check_quorum(&mut scene, "batches of nobody", Refusal::NotAMember, |scene| {
        let (to, lie) = tell(scene, append(NOWHERE, 1, Vec::new()));
        (to, Lie { from: VoterId { node_id: NodeId(9), incarnation: 1 }, ..lie })
    });
    check_quorum(&mut scene, "batches of an earlier life", Refusal::NotAMember, |scene| {
        let (to, lie) = tell(scene, append(NOWHERE, 1, Vec::new()));
        let from = VoterId { incarnation: lie.from.incarnation ^ 1, ..lie.from };
        (to, Lie { from, ..lie })
    });
    check_quorum(&mut scene, "batches of who does not lead", Refusal::NotTheLeader, |scene| {
        let previous = LogPlace { offset: scene.end - 1, epoch: scene.epoch };
        tell(scene, append(previous, 1, Vec::new()))
    });
    check_quorum(&mut scene, "batches that are none", Refusal::Batch, |scene| {
        let previous = LogPlace { offset: scene.end - 1, epoch: scene.epoch };
        let body = append(previous, 1, vec![Bytes::from_static(b"noise")]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
}

#[test]
fn lies_of_a_quorums_leader() {
    let mut scene = Scene::new();
    check_quorum(
        &mut scene,
        "a heartbeat that commits what is not there",
        Refusal::CommitBeyondLog,
        |scene| {
            let (to, lie) = tell(scene, Body::HeartbeatRequest { committed_offset: scene.end + 9 });
            (to, Lie { from: scene.voter(scene.leader), ..lie })
        },
    );
    check_quorum(&mut scene, "an ack of what was not sent", Refusal::AckBeyondLog, |scene| {
        let offset = scene.end + 9;
        let (is_appended, hint) = (true, NOWHERE);
        let body = Body::AppendResponse { is_appended, offset, hint, committed_offset: 0 };
        let (_, lie) = tell(scene, body);
        (scene.leader, Lie { to: scene.voter(scene.leader), ..lie })
    });
    check_quorum(&mut scene, "an image of absurd size", Refusal::ImageTooLarge, |scene| {
        let body = image(scene, 1 << 40, 0, &[1, 2, 3]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
    check_quorum(&mut scene, "a piece outside of its image", Refusal::ImagePiece, |scene| {
        let body = image(scene, 100, u64::MAX - 4, &[1, 2, 3]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
    check_quorum(&mut scene, "an image in which nobody votes", Refusal::ImageMembers, |scene| {
        let body = image(scene, 100, 0, &[]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
    check_quorum(&mut scene, "an image of who does not lead", Refusal::NotTheLeader, |scene| {
        let body = image(scene, 100, 0, &[1, 2, 3]);
        tell(scene, body)
    });
    check_quorum(
        &mut scene,
        "stand for election now, of who does not lead",
        Refusal::NotTheLeader,
        |scene| tell(scene, Body::CampaignNow),
    );
    check_quorum(&mut scene, "a word for an earlier life", Refusal::NotForUs, |scene| {
        let (to, lie) = tell(scene, Body::CampaignNow);
        (to, Lie { to: VoterId { incarnation: lie.to.incarnation ^ 1, ..lie.to }, ..lie })
    });
}

/// Each of these once stopped the board that it was sent to, when it went by it, and again at every
/// start.
#[test]
fn images_and_changes_that_cannot_be() {
    type Image = (&'static str, fn(&Scene) -> Vec<u8>);
    let images: [Image; 5] = [
        ("an image that is none", |_| b"../../etc/passwd".to_vec()),
        ("an empty image", |_| Vec::new()),
        ("an image that names a path", |scene| {
            let mut image = change::encode(&with_topic(scene, "..-..-etc-passwd"));
            let name = b"..-..-etc-passwd";
            let at = image.windows(name.len()).position(|bytes| bytes == name).expect("there");
            image[at..at + name.len()].copy_from_slice(b"../../etc/passwd");
            image
        }),
        ("an image with one name twice", |scene| change::encode(&with_topic(scene, "t"))),
        ("an image with a partition of no topic", |scene| {
            let mut changes = scene.world.image(scene.other).as_changes();
            changes.retain(|change| !matches!(change, Change::Topic { .. }));
            change::encode(&changes)
        }),
    ];
    let mut scene = Scene::new();
    for (what, image) in images {
        check_quorum(&mut scene, what, Refusal::Image, |scene| {
            let image = image(scene);
            let body = whole(scene, image);
            let (to, lie) = tell(scene, body);
            (to, Lie { from: scene.voter(scene.leader), ..lie })
        });
    }
    check_quorum(&mut scene, "the same from its beginning", Refusal::Image, |scene| {
        let body = image(scene, 100, 0, &[1, 2, 3]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
    check_quorum(&mut scene, "a batch of what is no change", Refusal::Changes, |scene| {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), None, Some(b"noise"), &[]);
        let mut batch = builder.finish(Compression::None);
        stamp(&mut batch, Offset(scene.end as i64), LeaderEpoch(scene.epoch as i32));
        let previous = LogPlace { offset: scene.end - 1, epoch: scene.epoch };
        let body = append(previous, scene.end, vec![batch.into()]);
        let (to, lie) = tell(scene, body);
        (to, Lie { from: scene.voter(scene.leader), ..lie })
    });
}

#[test]
fn a_link_speaks_for_nobody_else() {
    let mut scene = Scene::new();
    let before = scene.state();
    let (from, to) = (scene.voter(scene.leader), scene.voter(scene.other));
    let envelope = Envelope { from, to, epoch: scene.epoch };
    let body = Body::CampaignNow;
    let said = Said::Quorum(Message { envelope, body });
    scene.world.say(scene.liar, scene.other, said);
    scene.nothing_follows(&before, "the leader's words by the link of another");
}

/// What the active controller answers to a request that the liar passes on.
fn ask<B: Serialize>(scene: &mut Scene, api_key: u8, body: &B) -> (ErrorCode, Bytes) {
    let number = 7_000_000_000 + scene.world.answered.len() as u64;
    let said =
        Said::Forwarded(Forwarded { number, api_key }, Bytes::from(frame::encode_body(body)));
    scene.world.say(scene.liar, scene.leader, said);
    scene.world.run_ms(500);
    let answers = &scene.world.answered;
    let found = answers.iter().find(|(to, head, _)| *to == scene.liar && head.number == number);
    let (_, head, body) = found.expect("it is answered");
    (head.error, body.clone())
}

fn check_controller<B: Serialize>(
    scene: &mut Scene,
    what: &str,
    api_key: u8,
    expected: ErrorCode,
    body: impl FnOnce(&mut Scene) -> B,
) {
    let before = scene.state();
    let body = body(scene);
    let (error, answer) = ask(scene, api_key, &body);
    let error = match frame::decode::<AlterPartitionResponse>(&answer) {
        Ok(altered) if api_key == ReplicaApiKey::AlterPartition as u8 && error.is_ok() => {
            let first = altered.partitions.first().map(|one| one.error);
            first.filter(|_| altered.error.is_ok()).unwrap_or(altered.error)
        }
        _ if api_key == ApiKey::ChangeMembers as u8 && error.is_ok() => {
            frame::decode::<ChangeMembersResponse<'_>>(&answer).expect("an answer").error
        }
        _ => error,
    };
    assert_eq!(error, expected, "{what}");
    scene.nothing_follows(&before, what);
}

fn broker_epoch(scene: &Scene, node: i32) -> i64 {
    scene.world.image(scene.leader).broker_epoch(NodeId(node))
}

/// The liar wants to be alone in sync.
fn alter(scene: &mut Scene, change: impl FnOnce(&mut AlterReplicas)) -> AlterPartitionRequest {
    let liar = NodeId(scene.liar);
    let broker_epoch = broker_epoch(scene, scene.liar);
    let (topic_id, _) = scene.world.image(1).find(TopicRef::Name("t")).expect("created");
    let partition = scene.world.partition(1, "t").expect("created");
    let mut wanted = AlterReplicas {
        topic_partition: TopicPartition { topic_id, partition: Partition(0) },
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: vec![InSync { node_id: liar, broker_epoch }],
        damaged: Vec::new(),
    };
    change(&mut wanted);
    AlterPartitionRequest { leader: liar, broker_epoch, partitions: vec![wanted] }
}

fn registration(scene: &mut Scene, node: i32) -> RegisterBrokerRequest {
    let image = scene.world.image(scene.leader);
    RegisterBrokerRequest {
        node_id: NodeId(node),
        incarnation: Uuid([200; 16]),
        directory_id: Uuid([201; 16]),
        cluster_id: image.cluster_id().expect("founded"),
        feature_level: FEATURE_LEVEL,
        rack: "".into(),
        endpoints: Vec::new(),
        unsound: Vec::new(),
        is_unproven: false,
        was_clean: true,
        metadata_end_offset: odradek::ids::Offset(-1),
    }
}

/// Makes sure that the liar does not lead the partition, which is led by its first replica.
fn of_a_follower(scene: &mut Scene) {
    let leads = scene.world.partition(1, "t").expect("created").leader;
    if leads == Some(NodeId(scene.liar)) {
        std::mem::swap(&mut scene.liar, &mut scene.other);
    }
}

#[test]
fn lies_to_the_controller() {
    let mut scene = Scene::new();
    let key = ReplicaApiKey::AlterPartition as u8;
    check_controller(
        &mut scene,
        "AlterPartition of a follower",
        key,
        ErrorCode::INVALID_REQUEST,
        |scene| {
            of_a_follower(scene);
            alter(scene, |_| {})
        },
    );
    check_controller(
        &mut scene,
        "for the leader, by another",
        key,
        ErrorCode::INVALID_REQUEST,
        |scene| {
            let (leader, epoch) = (NodeId(scene.other), broker_epoch(scene, scene.other));
            AlterPartitionRequest { leader, broker_epoch: epoch, ..alter(scene, |_| {}) }
        },
    );
    check_controller(
        &mut scene,
        "by an old incarnation",
        key,
        ErrorCode::STALE_BROKER_EPOCH,
        |scene| {
            let request = alter(scene, |_| {});
            AlterPartitionRequest { broker_epoch: request.broker_epoch - 1, ..request }
        },
    );
    check_controller(
        &mut scene,
        "of an old leadership",
        key,
        ErrorCode::FENCED_LEADER_EPOCH,
        |scene| alter(scene, |wanted| wanted.leader_epoch.0 -= 1),
    );
    check_controller(
        &mut scene,
        "of a leadership to come",
        key,
        ErrorCode::NOT_CONTROLLER,
        |scene| alter(scene, |wanted| wanted.leader_epoch.0 += 1),
    );
}

#[test]
fn lies_of_a_broker_about_itself() {
    let mut scene = Scene::new();
    let key = PeerApiKey::RegisterBroker as u8;
    let duplicate = ErrorCode::DUPLICATE_BROKER_REGISTRATION;
    check_controller(&mut scene, "two boards with one id", key, duplicate, |scene| {
        registration(scene, scene.liar)
    });
    check_controller(&mut scene, "for another broker", key, ErrorCode::INVALID_REQUEST, |scene| {
        registration(scene, scene.other)
    });
    let foreign = ErrorCode::INCONSISTENT_CLUSTER_ID;
    check_controller(&mut scene, "of another cluster", key, foreign, |scene| {
        let cluster_id = Uuid([202; 16]);
        RegisterBrokerRequest { cluster_id, ..registration(scene, scene.liar) }
    });
    let old = ErrorCode::UNSUPPORTED_VERSION;
    check_controller(&mut scene, "of older software", key, old, |scene| {
        let feature_level = FEATURE_LEVEL - 1;
        RegisterBrokerRequest { feature_level, ..registration(scene, scene.liar) }
    });

    let key = PeerApiKey::BrokerHeartbeat as u8;
    let stale = ErrorCode::STALE_BROKER_EPOCH;
    let beat = |scene: &mut Scene, node: i32, behind: i64| BrokerHeartbeatRequest {
        node_id: NodeId(node),
        broker_epoch: broker_epoch(scene, node) - behind,
        metadata_end_offset: odradek::ids::Offset(i64::MAX),
        wants_shutdown: true,
        has_failed_dir: false,
    };
    check_controller(&mut scene, "an old incarnation is there", key, stale, |scene| {
        beat(scene, scene.liar, 1)
    });
    check_controller(
        &mut scene,
        "another wants to stop",
        key,
        ErrorCode::INVALID_REQUEST,
        |scene| beat(scene, scene.other, 0),
    );
    let key = PeerApiKey::AllocateProducerIds as u8;
    check_controller(&mut scene, "ids for an old incarnation", key, stale, |scene| {
        let node_id = NodeId(scene.liar);
        let broker_epoch = broker_epoch(scene, scene.liar) - 1;
        AllocateProducerIdsRequest { node_id, broker_epoch }
    });

    let key = ApiKey::ChangeMembers as u8;
    check_controller(&mut scene, "another is to leave", key, ErrorCode::INVALID_REQUEST, |scene| {
        ChangeMembersRequest { change: SiteChange::Leave { node_id: NodeId(scene.other) } }
    });
    check_controller(
        &mut scene,
        "one that is alive is dead",
        key,
        ErrorCode::POLICY_VIOLATION,
        |scene| {
            let node_id = NodeId(scene.other);
            ChangeMembersRequest { change: SiteChange::Remove { node_id, is_forced: true } }
        },
    );
    let unknown = ErrorCode::BROKER_ID_NOT_REGISTERED;
    check_controller(&mut scene, "one that never was is dead", key, unknown, |_| {
        ChangeMembersRequest { change: SiteChange::Remove { node_id: NodeId(99), is_forced: true } }
    });
    check_controller(&mut scene, "no request at all", 250, ErrorCode::INVALID_REQUEST, |_| 7_u8);
}

#[test]
fn lies_to_a_leader() {
    for (what, fetch, expected) in [
        ("a fetch of an old incarnation", "seq=1 at=0/-1 end=0 durable=0 broker=19", "NOT_LEADER"),
        ("an old leader epoch", "seq=1 at=0/-1 end=0 durable=0 epoch=0", "FENCED_LEADER_EPOCH"),
        ("an epoch to come", "seq=1 at=0/-1 end=0 durable=0 epoch=9", "UNKNOWN_LEADER_EPOCH"),
        ("a durable end beyond the log end", "seq=1 at=0/-1 end=1 durable=2", "INVALID_REQUEST"),
        ("a start beyond the log end", "seq=1 at=0/-1 end=1 durable=1 start=2", "INVALID_REQUEST"),
        ("an end beyond the leader's", "seq=1 at=0/-1 end=900 durable=900", "INVALID_REQUEST"),
        ("offsets below 0", "seq=1 at=0/-1 end=-5 durable=-5", "INVALID_REQUEST"),
        (
            "behind an answer that never was",
            "seq=5 at=next end=2 durable=2",
            "INVALID_FETCH_SESSION",
        ),
    ] {
        let mut rig = Rig::new("new min=2");
        rig.run("brokers 1:10 2:20 3:30");
        rig.run("metadata leader=1 epoch=1 version=1 isr=1,2,3");
        rig.run("produce 7 records=2");
        rig.run("flush");
        let before = rig.run("state");
        let said = rig.run(&format!("fetch 2 {fetch}"));
        assert!(said.contains(expected), "{what}: {said}");
        assert_eq!(rig.run("state"), before, "{what}");
    }
    // One that is no replica learns nothing either.
    let mut rig = Rig::new("new min=2");
    rig.run("brokers 1:10 2:20 3:30 4:40");
    rig.run("metadata leader=1 epoch=1 version=1 isr=1,2,3");
    let said = rig.run("fetch 4 seq=1 at=0/-1 end=0 durable=0 broker=40");
    assert!(said.contains("UNKNOWN_LEADER_EPOCH"), "{said}");
}

#[test]
fn a_clock_that_is_a_year_off_decides_nothing() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    for (who, ms) in [(0, YEAR_MS), (0, -YEAR_MS), (1, YEAR_MS), (1, -YEAR_MS)] {
        let mut scene = Scene::new();
        let before = scene.state();
        let board = if who == 0 { scene.leader } else { scene.other };
        scene.world.skew(board, ms);
        scene.world.run_ms(15_000);
        scene.nothing_follows(&before, "no session ends by the wall clock");
        assert_eq!(scene.world.create(board, "u", 3), ErrorCode::NONE);
    }
}

#[test]
fn a_board_that_was_away_for_a_year_catches_up() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let mut scene = Scene::new();
    let away = scene.liar;
    scene.world.cut_power(away);
    let (leader, ms) = (scene.leader, YEAR_MS);
    (1..4).for_each(|node| scene.world.skew(node, ms));
    scene.world.run_until("it is fenced", |world| {
        world.image(leader).broker(NodeId(away)).is_some_and(|broker| !broker.is_active())
    });
    for number in 0..20 {
        assert_eq!(scene.world.create(leader, &format!("u{number}"), 2), ErrorCode::NONE);
    }
    let epoch = scene.world.quorum(leader).expect("it runs").epoch;
    scene.world.start(away);
    scene.world.run_until("all take part", |world| world.is_whole(3, 3));
    assert!(scene.world.image(away).find(TopicRef::Name("u19")).is_some());
    let quorum = scene.world.quorum(leader).expect("it runs");
    assert_eq!((quorum.leader, quorum.epoch), (NodeId(leader), epoch), "no election");
}
