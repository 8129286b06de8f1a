//! The controller's rules, each checked through [`run`]: command in, verdicts and changes out.

use super::*;
use crate::controller::image::TopicImage;
use crate::ids::LeaderEpoch;
use crate::limits::CONFIGURED_GROUPS_MAX;
use crate::topic_config::CleanupPolicy;
use crate::wire::TopicRef;
use crate::wire::configs::{AlterResource, ConfigChange, ConfigResource};
use crate::wire::create_partitions::GrowTopic;
use crate::wire::create_topics::{ConfigEntry, CreateTopic};

fn controller() -> Controller {
    let mut controller = Controller::new(ControllerConfig {
        num_partitions: 3,
        partitions_max: 100,
        ..ControllerConfig::new(NodeId(1))
    });
    run(&mut controller, Command::Boot { cluster_id: Uuid([7; 16]) });
    controller
}

/// Handles a command and replays what it changes, as the control thread does.
fn run(controller: &mut Controller, command: Command<'_>) -> Vec<Verdict> {
    let mut seed = controller.image().topic_count() as u8 + 1;
    let before = controller.image().clone();
    let outcome = controller.handle(command, &mut || {
        seed += 1;
        Uuid([seed; 16])
    });
    assert_eq!(*controller.image(), before, "handling a command mutates nothing");
    let encoded = change::encode(&outcome.changes);
    for change in change::decode(&encoded).expect("what was encoded decodes") {
        controller.replay(&change);
    }
    outcome.verdicts
}

fn topic(name: &str, partition_count: i32) -> CreateTopic<'_> {
    CreateTopic { name, partition_count, replication_factor: -1, configs: Vec::new() }
}

fn create(controller: &mut Controller, topics: Vec<CreateTopic<'_>>) -> Vec<ErrorCode> {
    let request = CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics };
    let verdicts = run(controller, Command::CreateTopics(&request));
    verdicts.iter().map(|verdict| verdict.error).collect()
}

fn found<'a>(controller: &'a Controller, name: &str) -> Option<&'a TopicImage> {
    controller.image().find(TopicRef::Name(name)).map(|(_, image)| image)
}

#[test]
fn a_topic_is_created_with_the_defaults_it_leaves_out() {
    let mut controller = controller();
    assert_eq!(create(&mut controller, vec![topic("t", -1)]), [ErrorCode::NONE]);
    let image = found(&controller, "t").expect("created");
    assert_eq!(image.partitions.len(), 3);
    assert_eq!(image.partitions[0].leader, Some(NodeId(1)));
}

#[test]
fn section_3_names_the_error_of_each_bad_create() {
    let mut controller = controller();
    let long = "x".repeat(250);
    let mut factor = topic("f", 1);
    factor.replication_factor = 2;
    let mut zero_factor = topic("f", 1);
    zero_factor.replication_factor = 0;
    let mut config = topic("c", 1);
    config.configs.push(ConfigEntry { key: "no.such.key", value: "1" });
    create(&mut controller, vec![topic("a_b", 1)]);
    for (bad, error) in [
        (topic("..", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("a/b", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic(&long, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("a.b", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("__consumer_offsets", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("a_b", 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("p", 0), ErrorCode::INVALID_PARTITIONS),
        (topic("p", -2), ErrorCode::INVALID_PARTITIONS),
        (topic("p", 1_000_000), ErrorCode::INVALID_PARTITIONS),
        (topic("p", 200), ErrorCode::POLICY_VIOLATION),
        (factor, ErrorCode::INVALID_REPLICATION_FACTOR),
        (zero_factor, ErrorCode::INVALID_REPLICATION_FACTOR),
        (config, ErrorCode::INVALID_CONFIG),
    ] {
        let name = bad.name.to_owned();
        let before = controller.image().clone();
        assert_eq!(create(&mut controller, vec![bad]), [error], "{name}");
        assert_eq!(*controller.image(), before, "nothing is created");
    }
}

#[test]
fn a_name_twice_in_one_request_is_refused_twice_and_collisions_within_it_once() {
    let mut controller = controller();
    let errors = create(&mut controller, vec![topic("t", 1), topic("t", 1), topic("u", 1)]);
    let twice = ErrorCode::INVALID_REQUEST;
    assert_eq!(errors, [twice, twice, ErrorCode::NONE]);
    let errors = create(&mut controller, vec![topic("x.y", 1), topic("x_y", 1)]);
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION]);
}

#[test]
fn validate_only_changes_nothing() {
    let mut controller = controller();
    let topics = vec![topic("t", 1)];
    let request = CreateTopicsRequest { timeout_ms: 0, validate_only: true, topics };
    let verdicts = run(&mut controller, Command::CreateTopics(&request));
    assert_eq!(verdicts[0].error, ErrorCode::NONE);
    assert!(found(&controller, "t").is_none());
}

#[test]
fn partitions_only_grow_row_34() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 3)]);
    let mut grow = |partition_count| {
        let topics = vec![GrowTopic { topic: TopicRef::Name("t"), partition_count }];
        let request = CreatePartitionsRequest { timeout_ms: 0, validate_only: false, topics };
        run(&mut controller, Command::CreatePartitions(&request))[0].error
    };
    assert_eq!(grow(6), ErrorCode::NONE);
    assert_eq!(grow(3), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(grow(6), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(grow(101), ErrorCode::POLICY_VIOLATION);
    assert_eq!(found(&controller, "t").map(|image| image.partitions.len()), Some(6));
}

#[test]
fn configs_are_checked_set_and_unset() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 1)]);
    let mut alter = |change| {
        let resources =
            vec![AlterResource { resource: ConfigResource::Topic("t"), changes: vec![change] }];
        let request = IncrementalAlterConfigsRequest { validate_only: false, resources };
        run(&mut controller, Command::AlterConfigs { request: &request, asker: NodeId(1) })[0].error
    };
    let set = |key, value| ConfigChange::Set { key, value };
    assert_eq!(alter(set("retention.ms", "1000")), ErrorCode::NONE);
    assert_eq!(alter(set("retention.ms", "soon")), ErrorCode::INVALID_CONFIG);
    assert_eq!(alter(set("retention", "1")), ErrorCode::INVALID_CONFIG);
    assert_eq!(alter(ConfigChange::Delete { key: "nonsense" }), ErrorCode::INVALID_CONFIG);
    let defaults = TopicConfig::default();
    let effective = |controller: &Controller| {
        found(controller, "t").expect("exists").effective(&defaults).retention_ms
    };
    assert_eq!(effective(&controller), 1000);
    let resources = vec![AlterResource {
        resource: ConfigResource::Topic("t"),
        changes: vec![ConfigChange::Delete { key: "retention.ms" }],
    }];
    let request = IncrementalAlterConfigsRequest { validate_only: false, resources };
    run(&mut controller, Command::AlterConfigs { request: &request, asker: NodeId(1) });
    assert_eq!(effective(&controller), defaults.retention_ms);
}

fn alter(
    controller: &mut Controller,
    resource: ConfigResource<'_>,
    changes: Vec<ConfigChange<'_>>,
) -> (ErrorCode, String) {
    let resources = vec![AlterResource { resource, changes }];
    let request = IncrementalAlterConfigsRequest { validate_only: false, resources };
    let verdict =
        run(controller, Command::AlterConfigs { request: &request, asker: NodeId(1) }).remove(0);
    (verdict.error, verdict.message.into_string())
}

/// Kafka's `AlterConfigOp`: what is there already is not added, what is not there is not taken out.
#[test]
fn words_are_added_to_lists_and_taken_out() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 1)]);
    let append = |key, value| ConfigChange::Append { key, value };
    let subtract = |key, value| ConfigChange::Subtract { key, value };
    for (change, error, policy) in [
        (append("cleanup.policy", "compact"), ErrorCode::NONE, "compact,delete"),
        (append("cleanup.policy", "compact"), ErrorCode::NONE, "compact,delete"),
        (subtract("cleanup.policy", "delete, x"), ErrorCode::NONE, "compact"),
        (subtract("cleanup.policy", "delete"), ErrorCode::NONE, "compact"),
        (append("cleanup.policy", "shred"), ErrorCode::INVALID_CONFIG, "compact"),
        (subtract("cleanup.policy", "compact"), ErrorCode::INVALID_CONFIG, "compact"),
        (append("retention.ms", "1"), ErrorCode::INVALID_CONFIG, "compact"),
    ] {
        let altered = alter(&mut controller, ConfigResource::Topic("t"), vec![change]);
        assert_eq!(altered.0, error, "{change:?}: {}", altered.1);
        let topic = found(&controller, "t").expect("exists");
        let config = topic.effective(&TopicConfig::default());
        assert_eq!(config.text("cleanup.policy").as_deref(), Some(policy), "{change:?}");
    }
}

/// Kafka's `GroupConfig`: a group need not be there, and its keys keep within the broker's bounds.
#[test]
fn groups_have_times_of_their_own() {
    const SESSION: &str = "consumer.session.timeout.ms";
    let mut controller = controller();
    let set = |key, value| ConfigChange::Set { key, value };
    let invalid = ErrorCode::INVALID_CONFIG;
    for (group_id, change, error) in [
        ("g", set(SESSION, "44999"), invalid),
        ("g", set(SESSION, "soon"), invalid),
        ("g", set("consumer.heartbeat.interval.ms", "15001"), invalid),
        ("g", set("retention.ms", "50000"), invalid),
        ("g", ConfigChange::Append { key: SESSION, value: "1" }, invalid),
        ("", set(SESSION, "50000"), ErrorCode::INVALID_REQUEST),
        ("a\nb", set(SESSION, "50000"), ErrorCode::INVALID_REQUEST),
        ("h", ConfigChange::Delete { key: SESSION }, ErrorCode::NONE),
        ("g", set(SESSION, "50000"), ErrorCode::NONE),
    ] {
        let altered = alter(&mut controller, ConfigResource::Group(group_id), vec![change]);
        assert_eq!(altered.0, error, "{group_id:?} {change:?}: {}", altered.1);
    }
    let own = controller.image().group_configs("g").expect("has one").overrides();
    assert_eq!(own.over(GroupConfig::default()).session_timeout_ms, 50_000);
    assert_eq!(controller.image().configured_group_count(), 1);
    let mut copy = Image::default();
    controller.image().as_changes().iter().for_each(|change| copy.replay(change));
    assert_eq!(copy, *controller.image());
    let delete = vec![ConfigChange::Delete { key: SESSION }];
    alter(&mut controller, ConfigResource::Group("g"), delete);
    assert_eq!(controller.image().configured_group_count(), 0);
}

#[test]
fn groups_with_a_configuration_are_bounded() {
    let mut controller = controller();
    for number in 0..=CONFIGURED_GROUPS_MAX {
        let change = ConfigChange::Set { key: "consumer.session.timeout.ms", value: "50000" };
        let group_id = number.to_string();
        let resource = ConfigResource::Group(&group_id);
        let full = number == CONFIGURED_GROUPS_MAX;
        let expected = if full { ErrorCode::POLICY_VIOLATION } else { ErrorCode::NONE };
        assert_eq!(alter(&mut controller, resource, vec![change]).0, expected);
    }
}

#[test]
fn a_topic_may_be_compacted_from_the_start_or_later() {
    let mut controller = controller();
    let mut compacted = topic("t", 1);
    compacted.configs = vec![ConfigEntry { key: "cleanup.policy", value: "compact,delete" }];
    create(&mut controller, vec![compacted, topic("u", 1)]);
    let effective = |controller: &Controller, name| {
        found(controller, name).expect("exists").effective(&TopicConfig::default()).cleanup_policy
    };
    assert_eq!(effective(&controller, "t"), CleanupPolicy { delete: true, compact: true });
    for (value, error) in [("compact", ErrorCode::NONE), ("shred", ErrorCode::INVALID_CONFIG)] {
        let changes = vec![ConfigChange::Set { key: "cleanup.policy", value }];
        let resources = vec![AlterResource { resource: ConfigResource::Topic("u"), changes }];
        let request = IncrementalAlterConfigsRequest { validate_only: false, resources };
        let verdict =
            run(&mut controller, Command::AlterConfigs { request: &request, asker: NodeId(1) })
                .remove(0);
        assert_eq!(verdict.error, error, "{value}");
    }
    assert_eq!(effective(&controller, "u"), CleanupPolicy { delete: false, compact: true });
}

#[test]
fn the_topic_of_groups_is_made_once_and_is_nobodys_to_change() {
    let mut controller = controller();
    let verdicts = run(&mut controller, Command::CreateOffsetsTopic);
    assert_eq!(verdicts[0].error, ErrorCode::NONE, "one replica will do on one broker");
    let before = controller.image().clone();
    let topic = found(&controller, OFFSETS_TOPIC).expect("exists");
    assert!(topic.is_internal() && topic.partitions.len() == 4);
    let weak = TopicConfig { acks_durable: false, ..TopicConfig::default() };
    let config = topic.effective(&weak);
    assert!(config.cleanup_policy.compact && !config.cleanup_policy.delete);
    assert!(config.acks_durable, "whatever the broker's default is");
    assert_eq!(run(&mut controller, Command::CreateOffsetsTopic)[0].error, ErrorCode::NONE);

    let (timeout_ms, topic) = (0, TopicRef::Name(OFFSETS_TOPIC));
    let request = DeleteTopicsRequest { timeout_ms, topics: vec![topic] };
    let verdicts = run(&mut controller, Command::DeleteTopics(&request));
    assert_eq!(verdicts[0].error, ErrorCode::INVALID_TOPIC_EXCEPTION);
    // A group's place depends on how many partitions there are.
    let topics = vec![GrowTopic { topic, partition_count: 8 }];
    let request = CreatePartitionsRequest { timeout_ms, validate_only: false, topics };
    let verdicts = run(&mut controller, Command::CreatePartitions(&request));
    assert_eq!(verdicts[0].error, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(*controller.image(), before);
}

#[test]
fn deletion_frees_the_name_and_a_new_topic_has_a_new_id() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 1)]);
    let first = controller.image().find(TopicRef::Name("t")).expect("exists").0;
    let delete = |controller: &mut Controller| {
        let request = DeleteTopicsRequest { timeout_ms: 0, topics: vec![TopicRef::Name("t")] };
        run(controller, Command::DeleteTopics(&request))[0].error
    };
    assert_eq!(delete(&mut controller), ErrorCode::NONE);
    assert_eq!(delete(&mut controller), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(controller.image().partition_count(), 0);
    create(&mut controller, vec![topic("other", 1), topic("t", 1)]);
    let second = controller.image().find(TopicRef::Name("t")).expect("exists").0;
    assert_ne!(first, second);
}

#[test]
fn producer_ids_come_in_blocks_and_none_comes_twice() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 1)]);
    for block in 1..4 {
        let verdicts = run(&mut controller, Command::AllocateProducerIds);
        assert_eq!(verdicts[0].error, ErrorCode::NONE);
        assert_eq!(controller.image().next_producer_id(), block * PRODUCER_IDS_PER_BLOCK);
    }
    let mut copy = Image::default();
    controller.image().as_changes().iter().for_each(|change| copy.replay(change));
    assert_eq!(copy.next_producer_id(), 3000, "shards know it from the start");
    controller.replay(&Change::ProducerIds { next_id: i64::MAX - 999 });
    let verdicts = run(&mut controller, Command::AllocateProducerIds);
    assert_eq!(verdicts[0].error, ErrorCode::UNKNOWN_SERVER_ERROR);
}

#[test]
fn every_boot_raises_every_leader_epoch_by_one() {
    let mut controller = controller();
    create(&mut controller, vec![topic("t", 2)]);
    for boot in 1..4 {
        run(&mut controller, Command::Boot { cluster_id: Uuid([9; 16]) });
        for partition in &found(&controller, "t").expect("exists").partitions {
            assert_eq!(partition.leader_epoch, LeaderEpoch(boot));
        }
    }
    assert_eq!(controller.image().cluster_id(), Some(Uuid([7; 16])), "identity is kept");
    assert_eq!(controller.image().broker_epoch(NodeId(1)), 4);
}
