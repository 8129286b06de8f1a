//! Transcripts: commands and their literal outcomes (style.md §6).

#[path = "support/booted.rs"]
mod booted;
#[path = "support/group_rig.rs"]
mod group_rig;
#[path = "support/partition.rs"]
mod partition;
#[path = "support/quorum_rig.rs"]
mod quorum_rig;
#[path = "support/quorum_site.rs"]
mod quorum_site;
#[path = "support/replica_node.rs"]
mod replica_node;
#[path = "support/replica_rig.rs"]
mod replica_rig;
#[path = "support/sim_disk.rs"]
mod sim_disk;
#[path = "support/transcript.rs"]
mod transcript;
#[path = "support/wire_examples.rs"]
mod wire_examples;

use odradek::group::{GroupRules, MigrationPolicy};

/// By their numbers in a transcript.
const MIGRATION_POLICIES: [MigrationPolicy; 4] = [
    MigrationPolicy::Disabled,
    MigrationPolicy::Upgrade,
    MigrationPolicy::Downgrade,
    MigrationPolicy::Bidirectional,
];

#[test]
fn every_message_of_the_wire_has_these_bytes() {
    let mut seen = Vec::new();
    transcript::check("wire.txt", |command| {
        seen.push(command.to_owned());
        let examples = wire_examples::all();
        let example = examples.iter().find(|example| example.name == command);
        let example = example.expect("the transcript names an example");
        let kept = wire_examples::keep(&example.frame[4..]);
        assert_eq!((example.again)(kept).as_ref(), Ok(&example.frame), "{command}");
        transcript::hex(&example.frame)
    });
    for example in wire_examples::all() {
        assert!(seen.iter().any(|name| name == example.name), "{} is not shown", example.name);
    }
}

#[test]
fn a_replica_behaves_like_this() {
    let mut rig = replica_rig::Rig::new("");
    transcript::check("replica.txt", |command| {
        if let Some(how) = command.strip_prefix("new") {
            rig = replica_rig::Rig::new(how);
            return "ok".into();
        }
        rig.run(command)
    });
}

#[test]
fn a_group_coordinator_answers_like_this() {
    let mut rig = group_rig::Rig::new(GroupRules::default());
    transcript::check("group.txt", |command| {
        if let Some(rules) = command.strip_prefix("new") {
            rig = group_rig::Rig::new(group_rules(rules));
            return "ok".into();
        }
        rig.run(command)
    });
}

#[test]
fn a_coordinator_of_consumer_groups_answers_like_this() {
    let mut rig = group_rig::Rig::new(GroupRules::default());
    transcript::check("consumer_group.txt", |command| {
        if let Some(rules) = command.strip_prefix("new") {
            rig = group_rig::Rig::new(group_rules(rules));
            return "ok".into();
        }
        rig.run(command)
    });
}

#[test]
fn groups_change_over_with_their_members_like_this() {
    let mut rig = group_rig::Rig::new(GroupRules::default());
    transcript::check("group_migration.txt", |command| {
        if let Some(rules) = command.strip_prefix("new") {
            rig = group_rig::Rig::new(group_rules(rules));
            return "ok".into();
        }
        rig.run(command)
    });
}

#[test]
fn a_quorum_goes_on_like_this() {
    let mut rig = quorum_rig::Rig::new();
    transcript::check("quorum.txt", |command| rig.run(command));
}

/// `key=value` pairs over the defaults.
fn group_rules(text: &str) -> GroupRules {
    let mut rules = GroupRules::default();
    for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
        let value: u32 = value.parse().expect("a number");
        match key {
            "delay" => rules.initial_rebalance_delay_ms = value.into(),
            "size" => rules.group_size_max = value as usize,
            "migration" => rules.consumer_migration_policy = MIGRATION_POLICIES[value as usize],
            "consumers" => rules.consumer_group_size_max = value as usize,
            "groups" => rules.groups_max = value as usize,
            "pending" => rules.pending_members_max = value as usize,
            "retention" => rules.offsets_retention_ms = value.into(),
            "check" => rules.offsets_retention_check_interval_ms = value.into(),
            "metadata" => rules.offset_metadata_bytes_max = value as usize,
            "state" => rules.state_bytes_max = value as usize,
            "batch" => rules.batch_bytes_max = value as usize,
            other => panic!("no rule {other}"),
        }
    }
    rules
}
