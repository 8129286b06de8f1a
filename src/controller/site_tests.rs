//! The controller of a site of brokers: registration, fencing, elections, in-sync replicas. Each
//! step goes through [`Site`], which replays what a command leads to, as the quorum does.

mod last_copy;

use std::collections::BTreeSet;

use super::change::{self, BrokerState, Change};
use super::*;
use crate::ids::{LeaderEpoch, Offset, Partition, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::alter_partition_reassignments::ReassignPartition;
use crate::wire::create_topics::{ConfigEntry, CreateTopic};
use crate::wire::elect_leaders::{ElectPartition, ElectionKind};
use crate::wire::replica::alter_partition::{AlterPartitionRequest, AlterReplicas, InSync};

const CLUSTER: Uuid = Uuid([7; 16]);

struct Site {
    controller: Controller,
    offset: i64,
    /// Whether a process ends cleanly before the next one of its node registers.
    stops_cleanly: bool,
}

impl Site {
    /// Three brokers, all active, and a topic `t` of one partition on all of them, led by the first.
    fn of_three() -> Site {
        let controller = Controller::new(ControllerConfig {
            default_replication_factor: 3,
            partitions_max: 100,
            ..ControllerConfig::new(NodeId(1))
        });
        let mut site = Site { controller, offset: 0, stops_cleanly: false };
        site.commit(&[Change::Cluster { cluster_id: CLUSTER, feature_level: FEATURE_LEVEL }]);
        for node in 1..4 {
            assert_eq!(site.register(node, 1, &[]), Ok(()));
            let changes = site.controller.unfence(NodeId(node));
            site.commit(&changes);
        }
        let configs = vec![ConfigEntry { key: "min.insync.replicas", value: "2" }];
        let wanted = CreateTopic { name: "t", partition_count: 1, replication_factor: -1, configs };
        let request =
            CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics: vec![wanted] };
        let outcome = site.controller.handle(Command::CreateTopics(&request), &mut || Uuid::ZERO);
        assert_eq!(outcome.verdicts[0].error, ErrorCode::NONE, "{}", outcome.verdicts[0].message);
        site.commit(&outcome.changes);
        site
    }

    fn commit(&mut self, changes: &[Change]) {
        self.offset += 1;
        let changes = change::decode(&change::encode(changes)).expect("it decodes");
        let taken = self.controller.replay_batch(changes.clone(), Offset(self.offset));
        assert_eq!(taken, changes, "what a controller proposes can follow");
        let again = self.controller.image().as_changes();
        let mut copy = Image::default();
        for change in &again {
            copy.replay(change);
        }
        assert_eq!(copy, *self.controller.image(), "a snapshot is the same cluster");
    }

    /// Registers an incarnation of a node whose last one is not heard of any more.
    fn register(&mut self, node: i32, process: u8, unsound: &[i32]) -> Result<(), ErrorCode> {
        self.register_card(node, process, node as u8, unsound, self.offset)
    }

    /// The same, with another card, which has the metadata up to an offset.
    fn register_card(
        &mut self,
        node: i32,
        process: u8,
        card: u8,
        unsound: &[i32],
        found_end: i64,
    ) -> Result<(), ErrorCode> {
        let place = |number: &i32| TopicPartition {
            topic_id: TopicId(Uuid::ZERO),
            partition: Partition(*number),
        };
        let broker = Registering {
            node_id: NodeId(node),
            incarnation: Uuid([process; 16]),
            directory_id: Uuid([card; 16]),
            cluster_id: CLUSTER,
            feature_level: FEATURE_LEVEL,
            endpoints: Vec::new(),
            rack: "".into(),
            unsound: unsound.iter().map(place).collect::<BTreeSet<_>>(),
            is_unproven: false,
            was_clean: self.stops_cleanly,
            life: 1,
            metadata_end: Offset(found_end),
        };
        let changes = self.controller.register(&broker, Offset(self.offset), false)?;
        self.commit(&changes);
        Ok(())
    }

    fn fence(&mut self, node: i32) {
        let changes = self.controller.fence(NodeId(node));
        self.commit(&changes);
    }

    fn unfence(&mut self, node: i32) {
        let changes = self.controller.unfence(NodeId(node));
        self.commit(&changes);
    }

    /// A command's only verdict; its changes are made.
    fn command(&mut self, command: Command<'_>) -> (ErrorCode, String) {
        let outcome = self.controller.handle(command, &mut || Uuid::ZERO);
        let verdict = outcome.verdicts.into_iter().next().expect("one was asked for");
        let is_refused = !verdict.error.is_ok();
        assert!(!is_refused || outcome.changes.is_empty(), "what is refused changes nothing");
        if !outcome.changes.is_empty() {
            self.commit(&outcome.changes);
        }
        (verdict.error, verdict.message.into())
    }

    /// Moves the partition; `None` cancels.
    fn reassign(&mut self, target: Option<&[i32]>) -> ErrorCode {
        let replicas = target.map(|target| target.iter().map(|node| NodeId(*node)).collect());
        let (topic, partition) = (TopicRef::Name("t"), Partition(0));
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 0,
            allow_replication_factor_change: true,
            partitions: vec![ReassignPartition { topic, partition, replicas }],
        };
        self.command(Command::Reassign(&request)).0
    }

    fn elect(&mut self, kind: ElectionKind) -> ErrorCode {
        let (topic, partition) = (TopicRef::Name("t"), Partition(0));
        let partitions = vec![ElectPartition { topic, partition }];
        let request = ElectLeadersRequest { timeout_ms: 0, kind, partitions };
        self.command(Command::ElectLeaders(&request)).0
    }

    fn unregister(&mut self, node: i32, is_heard: bool) -> (ErrorCode, String) {
        self.command(Command::UnregisterBroker { node_id: NodeId(node), is_heard })
    }

    /// A fourth broker, active.
    fn join(&mut self, node: i32) {
        assert_eq!(self.register(node, 1, &[]), Ok(()));
        self.unfence(node);
    }

    /// Where the partition lives, what comes and what leaves; then the partition.
    fn moving_text(&self) -> String {
        let (_, topic) = self.controller.image().find(TopicRef::Name("t")).expect("created");
        let image = &topic.partitions[0];
        let numbers =
            |list: &[NodeId]| -> String { list.iter().map(|node| node.0.to_string()).collect() };
        format!(
            "on {} +{} -{} {}",
            numbers(&image.replicas),
            numbers(&image.adding),
            numbers(&image.removing),
            self.text()
        )
    }

    /// The partition, as text.
    fn text(&self) -> String {
        let (_, topic) = self.controller.image().find(TopicRef::Name("t")).expect("created");
        let image = &topic.partitions[0];
        let numbers =
            |list: &[NodeId]| -> String { list.iter().map(|node| node.0.to_string()).collect() };
        format!(
            "leader {} epoch {} isr {} elr {}",
            image.leader.map_or(-1, |leader| leader.0),
            image.leader_epoch.0,
            numbers(&image.isr),
            numbers(&image.elr)
        )
    }

    fn set_min_insync(&mut self, value: &str) {
        self.set("min.insync.replicas", value);
    }

    fn set(&mut self, key: &str, value: &str) {
        let (key, value) = (key.into(), Some(value.into()));
        self.commit(&[Change::Config { topic_id: TopicId(Uuid::ZERO), key, value }]);
    }

    fn versions(&self) -> (LeaderEpoch, i32) {
        let (_, topic) = self.controller.image().find(TopicRef::Name("t")).expect("created");
        (topic.partitions[0].leader_epoch, topic.partitions[0].partition_epoch)
    }

    fn broker_epoch(&self, node: i32) -> i64 {
        self.controller.image().broker_epoch(NodeId(node))
    }

    /// What `leader` asks for when it knows everything.
    fn request(&self, leader: i32, isr: &[i32]) -> AlterPartitionRequest {
        let (leader_epoch, partition_epoch) = self.versions();
        let in_sync =
            |node: &i32| InSync { node_id: NodeId(*node), broker_epoch: self.broker_epoch(*node) };
        let topic_partition =
            TopicPartition { topic_id: TopicId(Uuid::ZERO), partition: Partition(0) };
        let isr = isr.iter().map(in_sync).collect();
        AlterPartitionRequest {
            leader: NodeId(leader),
            broker_epoch: self.broker_epoch(leader),
            partitions: vec![AlterReplicas {
                topic_partition,
                leader_epoch,
                partition_epoch,
                isr,
                damaged: Vec::new(),
            }],
        }
    }

    fn alter(&mut self, request: &AlterPartitionRequest) -> ErrorCode {
        let (changes, response) = self.controller.alter_partition(request);
        let before = self.text();
        if !changes.is_empty() {
            self.commit(&changes);
        }
        let error = match response.partitions.first() {
            Some(altered) => altered.error,
            None => response.error,
        };
        let is_done = error.is_ok() || error == ErrorCode::NEW_LEADER_ELECTED;
        assert!(is_done || self.text() == before, "what is refused changes nothing");
        error
    }
}

#[test]
fn a_silent_leader_is_fenced_and_the_next_in_sync_leads() {
    let mut site = Site::of_three();
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
    site.fence(1);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ");
    site.fence(2);
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr 2");
    site.fence(3);
    assert_eq!(site.text(), "leader -1 epoch 3 isr  elr 23");
    // 1 left the ISR while enough were in sync: it may lack what was acknowledged since.
    site.unfence(1);
    assert_eq!(site.text(), "leader -1 epoch 3 isr  elr 23");
    site.unfence(2);
    assert_eq!(site.text(), "leader 2 epoch 4 isr 2 elr 3");
}

#[test]
fn r8_after_a_power_cut_of_all_each_partition_has_a_leader_with_no_command() {
    let mut site = Site::of_three();
    // Nobody was there to fence anybody; all come back as new processes, one after the other.
    assert_eq!(site.register(1, 2, &[]), Ok(()));
    assert_eq!(site.text(), "leader 2 epoch 1 isr 123 elr ", "2 is not known to be gone");
    assert_eq!(site.register(2, 2, &[]), Ok(()));
    assert_eq!(site.text(), "leader 3 epoch 2 isr 123 elr ");
    assert_eq!(site.register(3, 2, &[]), Ok(()));
    assert_eq!(site.text(), "leader -1 epoch 3 isr 123 elr ");
    site.unfence(3);
    assert_eq!(site.text(), "leader 3 epoch 4 isr 123 elr ");
    site.unfence(1);
    site.unfence(2);
    assert_eq!(site.text(), "leader 3 epoch 4 isr 123 elr ");
    let changes = site.controller.prefer(10);
    site.commit(&changes);
    assert_eq!(site.text(), "leader 1 epoch 5 isr 123 elr ");
    assert_eq!(site.controller.prefer(10), []);
}

/// Found by tests/sim: a replica whose scrub found damage left the ISR, was eligible all the same, and
/// cut its log to heal it. Then the one in sync was fenced, and it led without what was acknowledged.
#[test]
fn r8_a_replica_that_is_found_damaged_while_it_runs_is_eligible_for_nothing() {
    let mut site = Site::of_three();
    let mut request = site.request(1, &[1]);
    request.partitions[0].damaged = vec![NodeId(2)];
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 1 elr 3");
    // It was out of the ISR before it was found damaged.
    let mut request = site.request(1, &[1]);
    request.partitions[0].damaged = vec![NodeId(3)];
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 1 elr ");
    assert_eq!(site.alter(&request), ErrorCode::INVALID_UPDATE_VERSION);
    let mut request = site.request(1, &[1]);
    request.partitions[0].damaged = vec![NodeId(3)];
    assert_eq!(site.alter(&request), ErrorCode::NONE, "it is so already");
    site.fence(1);
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 1");
}

/// A leader that finds its own copy damaged leaves the ISR, and another leads; where nobody else in sync
/// can, it goes on with what it has.
#[test]
fn r8_a_leader_that_is_damaged_gives_way_while_another_in_sync_is_there() {
    let mut site = Site::of_three();
    let names_itself = |site: &mut Site, leader: i32, isr: &[i32]| {
        let mut request = site.request(leader, isr);
        request.partitions[0].damaged = vec![NodeId(leader)];
        site.alter(&request)
    };
    assert_eq!(names_itself(&mut site, 1, &[1, 2, 3]), ErrorCode::INVALID_REQUEST);
    let request = site.request(1, &[2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::INVALID_REQUEST, "it does not say why");
    assert_eq!(names_itself(&mut site, 1, &[2, 3]), ErrorCode::NEW_LEADER_ELECTED);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ");
    site.set_min_insync("2");
    assert_eq!(names_itself(&mut site, 2, &[3]), ErrorCode::NEW_LEADER_ELECTED);
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr ", "nor is it eligible");
    assert_eq!(names_itself(&mut site, 3, &[]), ErrorCode::INELIGIBLE_REPLICA);
    // One in sync that is a new process, and not unfenced yet, cannot lead at once.
    let mut site = Site::of_three();
    assert_eq!(site.register(2, 2, &[]), Ok(()));
    assert_eq!(names_itself(&mut site, 1, &[2]), ErrorCode::INELIGIBLE_REPLICA);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
}

/// Found by tests/sim: a node said itself which of its partitions acknowledge before they are durable,
/// by the metadata that it had at its start. Of a topic that was new it did not know, stayed in sync
/// with its end gone, and led.
#[test]
fn what_is_acknowledged_before_it_is_durable_is_not_in_sync_after_an_unclean_stop() {
    let mut site = Site::of_three();
    assert_eq!(site.register(3, 2, &[]), Ok(()));
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ", "what it acknowledged is there");
    site.set("acks.durable", "false");
    site.stops_cleanly = true;
    assert_eq!(site.register(3, 3, &[]), Ok(()));
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
    site.stops_cleanly = false;
    assert_eq!(site.register(3, 4, &[]), Ok(()));
    assert_eq!(site.text(), "leader 1 epoch 0 isr 12 elr ");
}

#[test]
fn r8_a_damaged_copy_leaves_the_isr_and_the_last_one_stays() {
    let mut site = Site::of_three();
    assert_eq!(site.register(1, 2, &[0]), Ok(()));
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ");
    site.fence(2);
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr 2");
    assert_eq!(site.register(2, 2, &[0]), Ok(()));
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr ", "eligible no more");
    assert_eq!(site.register(3, 2, &[0]), Ok(()));
    assert_eq!(site.text(), "leader -1 epoch 3 isr 3 elr ", "nobody else has anything");
    site.unfence(3);
    assert_eq!(site.text(), "leader 3 epoch 4 isr 3 elr ");
}

#[test]
fn a_process_registers_once_and_no_other_while_it_lives() {
    let site = Site::of_three();
    let broker = |process: u8, cluster_id: Uuid| Registering {
        node_id: NodeId(1),
        incarnation: Uuid([process; 16]),
        directory_id: Uuid([1; 16]),
        cluster_id,
        feature_level: FEATURE_LEVEL,
        endpoints: Vec::new(),
        rack: "".into(),
        unsound: BTreeSet::new(),
        is_unproven: false,
        was_clean: true,
        life: 1,
        metadata_end: Offset(-1),
    };
    let register = |broker: &Registering, is_heard: bool| {
        site.controller.register(broker, Offset(99), is_heard)
    };
    assert_eq!(register(&broker(1, CLUSTER), true), Ok(Vec::new()), "it asks again");
    let duplicate = Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION);
    assert_eq!(register(&broker(2, CLUSTER), true), duplicate);
    let foreign = Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
    assert_eq!(register(&broker(2, Uuid([8; 16])), false), foreign);
    let mut old = broker(2, CLUSTER);
    old.feature_level = FEATURE_LEVEL - 1;
    assert_eq!(register(&old, false), Err(ErrorCode::UNSUPPORTED_VERSION));
}

#[test]
fn a_broker_that_leaves_gives_everything_up_first() {
    let mut site = Site::of_three();
    let changes = site.controller.shut_down(NodeId(1));
    site.commit(&changes);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ");
    assert!(!site.controller.is_in_use(NodeId(1)));
    assert_eq!(site.controller.shut_down(NodeId(1)), [], "once");
    assert_eq!(site.controller.unfence(NodeId(1)), [], "it does not come back by a heartbeat");
}

#[test]
fn semantics_2_10_names_the_error_of_each_bad_alter_partition() {
    let mut site = Site::of_three();
    let leader = 1;
    let good = site.request(leader, &[1, 2]);
    let changed = |change: &dyn Fn(&mut AlterPartitionRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let partition = |change: &dyn Fn(&mut AlterReplicas)| {
        changed(&|request| change(&mut request.partitions[0]))
    };
    let nobody = TopicPartition { topic_id: TopicId(Uuid([9; 16])), partition: Partition(0) };
    for (request, expected) in [
        (changed(&|all| all.broker_epoch -= 1), ErrorCode::STALE_BROKER_EPOCH),
        (changed(&|all| all.leader = NodeId(9)), ErrorCode::STALE_BROKER_EPOCH),
        (partition(&|one| one.topic_partition = nobody), ErrorCode::UNKNOWN_TOPIC_ID),
        (
            partition(&|one| one.topic_partition.partition = Partition(-1)),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (partition(&|one| one.leader_epoch.0 += 1), ErrorCode::NOT_CONTROLLER),
        (partition(&|one| one.partition_epoch += 1), ErrorCode::NOT_CONTROLLER),
        (partition(&|one| one.leader_epoch.0 -= 1), ErrorCode::FENCED_LEADER_EPOCH),
        (site.request(2, &[1, 2]), ErrorCode::INVALID_REQUEST),
        (partition(&|one| one.partition_epoch -= 1), ErrorCode::INVALID_UPDATE_VERSION),
        (partition(&|one| one.isr.clear()), ErrorCode::INVALID_REQUEST),
        (partition(&|one| one.isr[0] = one.isr[1]), ErrorCode::INVALID_REQUEST),
        (partition(&|one| one.isr[1].node_id = NodeId(4)), ErrorCode::INVALID_REQUEST),
        (partition(&|one| one.isr[1].broker_epoch -= 1), ErrorCode::INELIGIBLE_REPLICA),
        (changed(&|all| all.partitions.push(all.partitions[0].clone())), ErrorCode::NONE),
    ] {
        let mut copy = Site { controller: Controller::new(site.controller.config.clone()), ..site };
        copy.controller.image = site.controller.image().clone();
        assert_eq!(copy.alter(&request), expected, "{request:?}");
    }
    assert_eq!(site.alter(&good), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 12 elr ");
    assert_eq!(site.alter(&good), ErrorCode::INVALID_UPDATE_VERSION, "late");
}

#[test]
fn kip_841_who_is_fenced_does_not_join_and_who_was_sound_may_stay() {
    let mut site = Site::of_three();
    site.fence(3);
    let request = site.request(1, &[1, 2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::INELIGIBLE_REPLICA);
    // 2 starts again, sound: it stays, though it is fenced still.
    assert_eq!(site.register(2, 2, &[]), Ok(()));
    site.unfence(3);
    let request = site.request(1, &[1, 2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
}

#[test]
fn design_6_a_board_with_another_card_is_in_sync_with_nothing() {
    let mut site = Site::of_three();
    site.register_card(2, 2, 99, &[], -1).expect("its old process is gone");
    assert_eq!(site.text(), "leader 1 epoch 0 isr 13 elr ");
    // Nobody else is in sync, and others have a part of it: an empty copy must not lead them.
    let mut site = Site::of_three();
    site.fence(2);
    site.fence(3);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 1 elr 3");
    site.fence(1);
    site.register_card(1, 2, 99, &[], -1).expect("its old process is gone");
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 3");
    // A card that was copied, and given another id.
    let copied = site.register_card(4, 1, 3, &[], -1);
    assert_eq!(copied, Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION));
}

#[test]
fn design_6_a_board_whose_card_went_back_in_time_is_in_sync_with_nothing() {
    // The card has the broker's own registration, so it has what came before: the broker stays.
    let mut site = Site::of_three();
    let registered_at = site.broker_epoch(2);
    site.register_card(2, 2, 2, &[], registered_at + 1).expect("its old process is gone");
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
    // It never took part since, so nothing is missing.
    site.register_card(2, 3, 2, &[], registered_at + 1).expect("its old process is gone");
    assert_eq!(site.text(), "leader 1 epoch 0 isr 123 elr ");
    // It did, and comes back without that, from a backup.
    site.unfence(2);
    site.register_card(2, 4, 2, &[], registered_at + 1).expect("its old process is gone");
    assert_eq!(site.text(), "leader 1 epoch 0 isr 13 elr ");
    // Nor does it lead where nobody else is in sync: others may have more than the backup.
    let mut site = Site::of_three();
    let registered_at = site.broker_epoch(1);
    for node in [2, 3, 1] {
        site.fence(node);
    }
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 31");
    site.register_card(1, 2, 1, &[], registered_at).expect("its old process is gone");
    site.unfence(1);
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 3");
}

#[test]
fn a_broker_that_departs_leaves_every_partition_to_the_others() {
    let mut site = Site::of_three();
    let changes = site.controller.shut_down(NodeId(1));
    site.commit(&changes);
    let changes = site.controller.vacate(NodeId(1), false).expect("others have everything");
    site.commit(&changes);
    assert_eq!(site.text(), "leader 2 epoch 2 isr 23 elr ");
    let (_, topic) = site.controller.image().find(TopicRef::Name("t")).expect("it is there");
    assert_eq!(*topic.partitions[0].replicas, [NodeId(2), NodeId(3)]);
    let changes = site.controller.forget(NodeId(1)).expect("it holds nothing");
    site.commit(&changes);
    assert!(site.controller.image().broker(NodeId(1)).is_none());
    // The other two: one of them may go too, the last may not.
    site.fence(2);
    let changes = site.controller.vacate(NodeId(2), false).expect("the third has everything");
    site.commit(&changes);
    let only = site.controller.vacate(NodeId(3), true).expect_err("nobody else has anything");
    assert_eq!((&*only.topic, only.has_others, only.count), ("t", false, 1));
}

/// Found by tests/sim: a board was to leave, the others lost what only it had then, and it neither led
/// nor left any more.
#[test]
fn a_broker_that_departs_stays_where_it_alone_has_everything() {
    let mut site = Site::of_three();
    let changes = site.controller.shut_down(NodeId(1));
    site.commit(&changes);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ");
    assert_eq!(site.controller.stay(NodeId(2)), [], "it does not leave");
    assert!(!site.controller.is_needed(NodeId(1)));
    site.unfence(1);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 23 elr ", "nor does it come back by itself");
    // It goes at a moment at which only one other is in sync.
    let mut site = Site::of_three();
    site.fence(3);
    let changes = site.controller.shut_down(NodeId(1));
    site.commit(&changes);
    assert_eq!(site.text(), "leader 2 epoch 1 isr 2 elr 1");
    assert_eq!(site.register(2, 2, &[0]), Ok(()));
    assert_eq!(site.text(), "leader -1 epoch 2 isr  elr 1");
    assert!(site.controller.is_needed(NodeId(1)));
    let changes = site.controller.stay(NodeId(1));
    site.commit(&changes);
    assert_eq!(site.text(), "leader 1 epoch 3 isr 1 elr ");
    assert!(site.controller.image().is_active(NodeId(1)));
}

#[test]
fn what_lives_on_a_broker_that_departs_moves_to_those_that_have_none_of_it() {
    let any = |_| true;
    let mut site = Site::of_three();
    let moves = site.controller.move_off(NodeId(1), 9, &any);
    assert_eq!((moves.changes.len(), moves.under_way_count), (0, 0), "all others have it");
    site.join(4);
    site.join(5);
    let moves = site.controller.move_off(NodeId(1), 9, &|node| node != NodeId(4));
    site.commit(&moves.changes);
    assert_eq!(site.moving_text(), "on 5231 +5 -1 leader 1 epoch 0 isr 123 elr ");
    let moves = site.controller.move_off(NodeId(1), 9, &any);
    assert_eq!((moves.changes.len(), moves.under_way_count), (0, 1), "it is on its way");
    // Who was to have it is gone: another is.
    site.fence(5);
    let moves = site.controller.move_off(NodeId(1), 9, &any);
    site.commit(&moves.changes);
    assert_eq!(site.moving_text(), "on 23451 +4 -51 leader 1 epoch 0 isr 123 elr ");
    let request = site.request(1, &[1, 2, 3, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NEW_LEADER_ELECTED);
    assert_eq!(site.moving_text(), "on 234 + - leader 2 epoch 1 isr 234 elr ");
    let moves = site.controller.move_off(NodeId(1), 9, &any);
    assert_eq!((moves.changes.len(), moves.under_way_count), (0, 0), "it is gone from there");
    // One to whom a partition is on its way does not get it.
    assert_eq!(site.reassign(Some(&[1, 2, 3])), ErrorCode::NONE);
    let moves = site.controller.move_off(NodeId(1), 9, &any);
    site.commit(&moves.changes);
    assert_eq!(site.moving_text(), "on 234 + - leader 2 epoch 2 isr 234 elr ");
}

#[test]
fn what_only_a_dead_broker_has_is_given_up_by_force_alone() {
    let mut site = Site::of_three();
    site.fence(2);
    site.fence(3);
    // The last in sync dies: the others lack what it alone has.
    site.register(2, 2, &[]).expect("it is back");
    let changes = site.controller.unfence(NodeId(2));
    site.commit(&changes);
    site.fence(1);
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 31");
    let only = site.controller.vacate(NodeId(1), false).expect_err("it may have more");
    assert!(only.has_others);
    let changes = site.controller.vacate(NodeId(1), true).expect("by force");
    site.commit(&changes);
    assert_eq!(site.text(), "leader 2 epoch 2 isr 2 elr ");
}

#[test]
fn kip_455_a_partition_moves_when_all_that_stay_are_in_sync() {
    let mut site = Site::of_three();
    site.join(4);
    assert_eq!(site.reassign(Some(&[4, 2, 3])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 4231 +4 -1 leader 1 epoch 0 isr 123 elr ");
    // A move does not end while a replica of the target is away, nor does it lose who is leaving.
    let request = site.request(1, &[1, 2, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 4231 +4 -1 leader 1 epoch 0 isr 124 elr ");
    let request = site.request(1, &[1, 2, 3, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NEW_LEADER_ELECTED, "1 leads no more");
    assert_eq!(site.moving_text(), "on 423 + - leader 4 epoch 1 isr 234 elr ");
    assert_eq!(site.reassign(None), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
}

#[test]
fn row_35_the_replication_factor_rises_and_falls() {
    let mut site = Site::of_three();
    site.join(4);
    assert_eq!(site.reassign(Some(&[2])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 2 + - leader 2 epoch 1 isr 2 elr ");
    assert_eq!(site.reassign(Some(&[2, 3, 4])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 234 +34 - leader 2 epoch 2 isr 2 elr ");
    let request = site.request(2, &[2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    let request = site.request(2, &[2, 3, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 234 + - leader 2 epoch 2 isr 234 elr ");
    // Another order is another preferred leader, and nothing else.
    assert_eq!(site.reassign(Some(&[4, 3, 2])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 432 + - leader 2 epoch 2 isr 234 elr ");
    let changes = site.controller.prefer(9);
    site.commit(&changes);
    assert_eq!(site.moving_text(), "on 432 + - leader 4 epoch 3 isr 234 elr ");
}

#[test]
fn a_leader_that_stays_gets_a_new_epoch_when_replicas_leave() {
    let mut site = Site::of_three();
    assert_eq!(site.reassign(Some(&[1, 2])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 12 + - leader 1 epoch 1 isr 12 elr ");
    // With one of the two away the third is not let go.
    let mut site = Site::of_three();
    site.fence(2);
    assert_eq!(site.reassign(Some(&[1, 2])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 123 + -3 leader 1 epoch 0 isr 13 elr ");
    site.unfence(2);
    let request = site.request(1, &[1, 2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 12 + - leader 1 epoch 1 isr 12 elr ");
}

#[test]
fn a_move_is_cancelled_or_replaced_while_it_is_under_way() {
    let mut site = Site::of_three();
    site.join(4);
    site.join(5);
    assert_eq!(site.reassign(Some(&[4, 5])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 45123 +45 -123 leader 1 epoch 0 isr 123 elr ");
    let request = site.request(1, &[1, 2, 3, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.elect(ElectionKind::Preferred), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 45123 +45 -123 leader 4 epoch 1 isr 1234 elr ");
    assert_eq!(site.reassign(None), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 123 + - leader 1 epoch 2 isr 123 elr ");

    assert_eq!(site.reassign(Some(&[1, 2, 4])), ErrorCode::NONE);
    assert_eq!(site.reassign(Some(&[1, 2, 5])), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 12543 +5 -43 leader 1 epoch 2 isr 123 elr ");
    let request = site.request(1, &[1, 2, 3, 5]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.moving_text(), "on 125 + - leader 1 epoch 3 isr 125 elr ");

    // Only a newcomer is left of those in sync: to send it away would lose what it has.
    let mut site = Site::of_three();
    site.join(4);
    assert_eq!(site.reassign(Some(&[4, 2])), ErrorCode::NONE);
    let request = site.request(1, &[1, 4]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    let request = site.request(1, &[1, 4]);
    assert_eq!(site.elect(ElectionKind::Preferred), ErrorCode::NONE);
    assert_eq!(site.alter(&request), ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(site.register(1, 2, &[0]), Ok(()));
    assert_eq!(site.moving_text(), "on 4213 +4 -13 leader 4 epoch 1 isr 4 elr ");
    assert_eq!(site.reassign(None), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
}

#[test]
fn a_target_that_cannot_be_is_refused() {
    let mut site = Site::of_three();
    for target in [&[][..], &[1, 1], &[1, 9], &[-1]] {
        let expected = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
        assert_eq!(site.reassign(Some(target)), expected, "{target:?}");
    }
    let (topic, replicas) = (TopicRef::Name("t"), Some(vec![NodeId(1)]));
    let wanted = |topic, partition| ReassignPartition {
        topic,
        partition: Partition(partition),
        replicas: replicas.clone(),
    };
    for (partitions, expected) in [
        (vec![wanted(topic, 0)], ErrorCode::INVALID_REPLICATION_FACTOR),
        (vec![wanted(topic, 1)], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (vec![wanted(TopicRef::Name("u"), 0)], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 0,
            allow_replication_factor_change: false,
            partitions,
        };
        assert_eq!(site.command(Command::Reassign(&request)).0, expected);
    }
    assert_eq!(site.moving_text(), "on 123 + - leader 1 epoch 0 isr 123 elr ");
}

#[test]
fn kip_460_names_the_error_of_each_election() {
    let mut site = Site::of_three();
    assert_eq!(site.elect(ElectionKind::Preferred), ErrorCode::ELECTION_NOT_NEEDED);
    assert_eq!(site.elect(ElectionKind::Unclean), ErrorCode::ELECTION_NOT_NEEDED);
    site.fence(1);
    let unavailable = ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE;
    assert_eq!(site.elect(ElectionKind::Preferred), unavailable);
    site.unfence(1);
    assert_eq!(site.elect(ElectionKind::Preferred), unavailable, "it is not in sync yet");
    let request = site.request(2, &[1, 2, 3]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(site.elect(ElectionKind::Preferred), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 1 epoch 2 isr 123 elr ");
    // 3 falls behind while enough are in sync; then those go.
    site.fence(3);
    site.fence(1);
    site.fence(2);
    assert_eq!(site.text(), "leader -1 epoch 4 isr  elr 12");
    let nobody = ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE;
    assert_eq!(site.elect(ElectionKind::Unclean), nobody);
    site.unfence(3);
    assert_eq!(site.text(), "leader -1 epoch 4 isr  elr 12", "only by command");
    assert_eq!(site.elect(ElectionKind::Unclean), ErrorCode::NONE);
    assert_eq!(site.text(), "leader 3 epoch 5 isr 3 elr ");
}

#[test]
fn a_broker_is_taken_off_the_list_when_it_is_gone_and_not_missed() {
    let mut site = Site::of_three();
    assert_eq!(site.unregister(9, false).0, ErrorCode::BROKER_ID_NOT_REGISTERED);
    assert_eq!(site.unregister(1, false).0, ErrorCode::POLICY_VIOLATION, "it takes part");
    site.fence(1);
    assert_eq!(site.unregister(1, true).0, ErrorCode::POLICY_VIOLATION, "it is back");
    site.fence(2);
    site.fence(3);
    assert_eq!(site.text(), "leader -1 epoch 3 isr  elr 23");
    assert_eq!(site.unregister(2, false).0, ErrorCode::NONE, "3 has what it has");
    assert_eq!(site.text(), "leader -1 epoch 3 isr  elr 3");
    let (error, message) = site.unregister(3, false);
    assert_eq!(error, ErrorCode::POLICY_VIOLATION);
    assert_eq!(message, "broker 3 holds the only whole copy of t-0");
    assert_eq!(site.unregister(1, false).0, ErrorCode::NONE);
    let left: Vec<i32> = site.controller.image().brokers().map(|(node, _)| node.0).collect();
    assert_eq!(left, [3]);
    // Whoever comes back is another broker, and must catch up before it counts.
    site.join(1);
    assert_eq!(site.moving_text(), "on 123 + - leader -1 epoch 3 isr  elr 3");
}

#[test]
fn the_feature_level_is_what_all_understand_and_never_falls() {
    let mut site = Site::of_three();
    let update = |site: &mut Site, feature_level: u16| {
        let request = UpdateFeaturesRequest { timeout_ms: 0, validate_only: false, feature_level };
        site.command(Command::UpdateFeatures(request))
    };
    assert_eq!(site.controller.feature_level_max(), FEATURE_LEVEL);
    assert_eq!(update(&mut site, FEATURE_LEVEL), (ErrorCode::NONE, String::new()));
    let (error, message) = update(&mut site, FEATURE_LEVEL + 1);
    assert_eq!(error, ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(message, format!("broker 1 understands level {FEATURE_LEVEL} at most"));
    assert_eq!(update(&mut site, 0).0, ErrorCode::INVALID_UPDATE_VERSION);
    // As newer software would have raised it: who does not understand it stays outside.
    site.commit(&[Change::FeatureLevel { feature_level: FEATURE_LEVEL + 1 }]);
    assert_eq!(site.controller.image().feature_level(), FEATURE_LEVEL + 1);
    assert_eq!(site.register(4, 1, &[]), Err(ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(update(&mut site, FEATURE_LEVEL).0, ErrorCode::INVALID_UPDATE_VERSION);
}

/// Read by a fresh pair of eyes: a leader that lies had every board stop at a change that names
/// nothing, and again at every start.
#[test]
fn a_change_that_cannot_follow_is_left_out() {
    let mut site = Site::of_three();
    let topic_id = site.controller.image().topics().next().expect("one").0;
    let before = site.controller.image().clone();
    let nowhere = TopicId(Uuid([9; 16]));
    let changes = vec![
        Change::RemoveTopic { topic_id: nowhere },
        Change::BrokerState { node_id: NodeId(77), state: BrokerState::Active },
        Change::RemoveBroker { node_id: NodeId(77) },
        Change::ProducerIds { next_id: 5_000 },
        Change::Config { topic_id: nowhere, key: "k".into(), value: None },
        Change::Partition {
            topic_id,
            partition: Partition(7),
            replicas: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
        },
    ];
    let taken = site.controller.replay_batch(changes, Offset(site.offset + 1));
    assert_eq!(taken, [Change::ProducerIds { next_id: 5_000 }]);
    let mut after = before;
    after.replay(&taken[0]);
    assert_eq!(*site.controller.image(), after);
}
