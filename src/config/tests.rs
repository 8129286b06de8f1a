//! Every mistake is named with its place; every source overrides as the module's doc says.

use super::*;
use crate::topic_config::CleanupPolicy;

fn load_file(text: &str) -> Result<Config, ConfigErrors> {
    let file = Some(("c.toml".to_owned(), text.to_owned()));
    Config::load(&Sources { file, ..Sources::default() })
}

fn load(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigErrors> {
    let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    Config::load(&Sources {
        file: Some(("c.toml".to_owned(), file.to_owned())),
        environment: environment.iter().map(owned).collect(),
        overrides: sets.iter().map(|set| (*set).to_owned()).collect(),
    })
}

fn source_of(config: &Config, key: &str) -> Source {
    let setting = config.settings().iter().find(|setting| setting.key == key);
    setting.expect("a key of the table").source
}

#[test]
fn the_defaults_are_kafkas() {
    let config = Config::default();
    assert_eq!(config.topic_defaults, TopicConfig::default());
    assert_eq!(config.broker_id, NodeId(1));
    assert_eq!(config.log_dirs, [PathBuf::from("data")]);
    assert_eq!(config.listeners[0].to_string(), "wire://127.0.0.1:7092");
    assert_eq!((config.num_partitions, config.default_replication_factor), (1, 1));
    assert!(config.auto_create_topics_enable && config.delete_topic_enable);
    assert_eq!((config.memory_limit, config.journal_bytes, config.shards), (None, None, 0));
    assert_eq!(config.disk_full_policy, DiskFullPolicy::DeleteOldest);
    assert_eq!(config.log_level, log::LevelFilter::Info);
    assert_eq!(config.socket_send_buffer_bytes, None);
}

#[test]
fn config_toml_holds_every_key_at_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    if std::env::var_os("ODRADEK_BLESS").is_some() {
        std::fs::write(&path, default_file()).expect("the repository is writable");
    }
    let text = std::fs::read_to_string(&path).expect("config.toml is at the root");
    assert_eq!(text, default_file(), "set ODRADEK_BLESS=1 to write it anew");
    assert!(text.lines().all(|line| line.chars().count() <= 100));

    let read = load_file(&text).expect("it is legal");
    for (setting, key) in read.settings().iter().zip(KEYS) {
        let expected = if key.default.is_some() { Source::File } else { Source::Default };
        assert_eq!(setting.source, expected, "{}", key.name);
    }
    assert!(read.changed_since(&Config::default()).is_empty());
}

/// A file, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "broker.id = 1\nlog.retension.ms = 5\n",
        "c.toml:2:1: unknown key `log.retension.ms`: did you mean `log.retention.ms`?",
    ),
    (
        "[log]\n  retension.ms = 5\n",
        "c.toml:2:3: unknown key `log.retension.ms`: did you mean `log.retention.ms`?",
    ),
    (
        "retention.ms = 5",
        "c.toml:1:1: unknown key `retention.ms`: did you mean `log.retention.ms`?",
    ),
    ("colour = \"blue\"", "c.toml:1:1: unknown key `colour`"),
    ("[nothing]\n", "c.toml:1:2: unknown key `nothing`"),
    (
        "\n\nlog.segment.bytes = \"big\"",
        "c.toml:3:21: `log.segment.bytes` takes a whole number from 16384 to 2147483647, \
             not \"big\"",
    ),
    (
        "log.segment.bytes = \"1073741824\"",
        "c.toml:1:21: `log.segment.bytes` takes a whole number from 16384 to 2147483647, \
             not \"1073741824\"",
    ),
    (
        "num.partitions = 0",
        "c.toml:1:18: `num.partitions` takes a whole number from 1 to 10000, not 0",
    ),
    (
        "num.partitions = 1.5",
        "c.toml:1:18: `num.partitions` takes a whole number from 1 to 10000, not 1.5",
    ),
    (
        "shards = 99999999999999999999",
        "c.toml:1:10: `shards` takes a whole number from 0 to 16, not 99999999999999999999",
    ),
    ("acks.durable = \"yes\"", "c.toml:1:16: `acks.durable` takes true or false, not \"yes\""),
    (
        "auto.create.topics.enable = 1",
        "c.toml:1:29: `auto.create.topics.enable` takes true or false, not 1",
    ),
    (
        "memory.limit = \"1MiB\"",
        "c.toml:1:16: `memory.limit` takes \"auto\" or a size such as 1048576 or \"32MiB\", \
             from 8MiB to 1TiB, not \"1MiB\"",
    ),
    (
        "disk.full.policy = \"panic\"",
        "c.toml:1:20: `disk.full.policy` takes one of `delete-oldest`, `refuse`, not \"panic\"",
    ),
    (
        "listeners = [\"http://127.0.0.1:80\"]",
        "c.toml:1:13: `listeners` takes a list of addresses such as \
             [\"wire://127.0.0.1:7092\"], no two alike, not [\"http://127.0.0.1:80\"]",
    ),
    (
        "log.dirs = [\"a\", \"a\"]",
        "c.toml:1:12: `log.dirs` takes a list of directories such as [\"data\"], no two \
             alike, not [\"a\", \"a\"]",
    ),
    ("broker.id = 1\nbroker.id = 2", "c.toml:2:1: `broker.id` is given twice"),
    ("broker.id = 1\nnode.id = 2", "c.toml:2:1: `node.id` is given twice"),
    ("log.level = info", "c.toml:1:13: `log.level`: text stands in quotes: log.level = \"info\""),
    (
        "memory.limit = 32MiB # all of it",
        "c.toml:1:16: `memory.limit`: text stands in quotes: memory.limit = \"32MiB\"",
    ),
    (
        "group.consumer.session.timeout.ms = 9000",
        "c.toml:1:37: `group.consumer.min.session.timeout.ms` is 45000, and must be at most \
             `group.consumer.session.timeout.ms`, which is 9000",
    ),
    (
        "group.consumer.min.session.timeout.ms = 50000",
        "c.toml:1:41: `group.consumer.min.session.timeout.ms` is 50000, and must be at most \
             `group.consumer.session.timeout.ms`, which is 45000",
    ),
    (
        "group.consumer.heartbeat.interval.ms = 20000",
        "c.toml:1:40: `group.consumer.heartbeat.interval.ms` is 20000, and must be at most \
             `group.consumer.max.heartbeat.interval.ms`, which is 15000",
    ),
    ("shards", "c.toml:1:7: key with no value, expected `=`"),
    (
        "[log
level = \"info\"",
        "c.toml:1:5: unclosed table, expected `]`",
    ),
];

#[test]
fn mistakes_name_line_column_and_the_key_that_was_meant() {
    for (text, message) in MISTAKES {
        let errors = load_file(text).expect_err(text);
        assert_eq!(errors.to_string(), *message, "{text}");
    }
}

/// Kafka's `GroupCoordinatorConfig`: what one key may be depends on others, whoever sets them.
#[test]
fn keys_bound_each_other_across_sources() {
    let file = "group.consumer.min.session.timeout.ms = 1000\n\
                group.consumer.session.timeout.ms = 3000";
    let errors = load(file, &[], &[]).expect_err("the interval is longer");
    assert_eq!(
        errors.to_string(),
        "c.toml:2:37: `group.consumer.heartbeat.interval.ms` is 5000, and must be less than \
         `group.consumer.session.timeout.ms`, which is 3000"
    );
    let sets =
        ["group.consumer.min.heartbeat.interval.ms=1", "group.consumer.heartbeat.interval.ms=300"];
    let config = load(file, &[], &sets).expect("all are within their bounds");
    assert_eq!(config.group_consumer_session_timeout_ms, 3000);
    assert_eq!(config.group_consumer_heartbeat_interval_ms, 300);
    let variable = [("ODRADEK_GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS", "2000")];
    let errors = load(file, &variable, &sets).expect_err("the bound is lower");
    let message = errors.to_string();
    assert!(
        message.contains("must be at most `group.consumer.max.session.timeout.ms`"),
        "{message}"
    );
}

#[test]
fn all_mistakes_are_named_at_once() {
    let errors = load("shards = -1\ncolour = 1", &[("ODRADEK_SHARD", "2")], &["log.level=loud"]);
    let errors = errors.expect_err("four mistakes");
    assert_eq!(
        errors.to_string(),
        "c.toml:2:1: unknown key `colour`\n\
         c.toml:1:10: `shards` takes a whole number from 0 to 16, not -1\n\
         ODRADEK_SHARD: unknown key `shard`: did you mean `shards`?\n\
         --set log.level=loud: `log.level` takes one of `off`, `error`, `warn`, `info`, `debug`, \
         `trace`, not `loud`"
    );
}

#[test]
fn a_key_may_stand_beside_a_longer_one() {
    for text in [
        "max.connections = 10\nmax.connections.per.ip = 5",
        "max.connections.per.ip = 5\nmax.connections = 10",
        "max.connections = 10\n\"max.connections.per.ip\" = 5",
    ] {
        let config = load_file(text).expect(text);
        assert_eq!((config.max_connections, config.max_connections_per_ip), (10, 5));
    }
    let errors = load_file("max.connections = 10\nmax.connections.per.ip = \"x\"");
    let message = errors.expect_err("not a number").to_string();
    assert!(message.starts_with("c.toml:2:26: `max.connections.per.ip` takes"), "{message}");
}

#[test]
fn later_sources_override_earlier_ones() {
    let file = "log.segment.bytes = 100000\nnum.partitions = 2\nlog.level = \"warn\"";
    let environment =
        [("ODRADEK_LOG_SEGMENT_BYTES", "200000"), ("ODRADEK_NUM_PARTITIONS", "3"), ("SHELL", "x")];
    let config = load(file, &environment, &["num.partitions=4", "num.partitions=5"]);
    let config = config.expect("all legal");
    assert_eq!(config.log_level, log::LevelFilter::Warn);
    assert_eq!(config.topic_defaults.segment_bytes, 200_000);
    assert_eq!(config.num_partitions, 5);
    assert_eq!(source_of(&config, "log.level"), Source::File);
    assert_eq!(source_of(&config, "log.segment.bytes"), Source::Environment);
    assert_eq!(source_of(&config, "num.partitions"), Source::CommandLine);
    assert_eq!(source_of(&config, "shards"), Source::Default);
}

#[test]
fn a_finer_unit_wins_within_one_source() {
    let retention = |config: Config| config.topic_defaults.retention_ms;
    let check = |file: &str, sets: &[&str], ms: i64| {
        assert_eq!(retention(load(file, &[], sets).expect(file)), ms, "{file} {sets:?}");
    };
    check("log.retention.hours = 1", &[], 3_600_000);
    check("log.retention.minutes = 2\nlog.retention.hours = 1", &[], 120_000);
    check("log.retention.ms = 3\nlog.retention.minutes = 2", &[], 3);
    check("log.retention.ms = -1", &[], -1);
    check("log.retention.hours = -1", &[], -1);
    check("log.retention.ms = 3", &["log.retention.hours=1"], 3_600_000);
    let config = load_file("log.roll.hours = 2\nlog.roll.ms = 9").expect("legal");
    assert_eq!(config.topic_defaults.segment_ms, 9);
}

#[test]
fn overrides_are_read_as_the_key_takes_them() {
    let sets = [
        "log.dirs=a, b",
        "listeners=[\"wire://[::1]:0\"]",
        "memory.limit=32MiB",
        "journal.bytes=33554432",
        "log.cleanup.policy=delete",
        "acks.durable=false",
        "disk.full.policy=\"refuse\"",
        "compression.type=zstd",
        "socket.send.buffer.bytes=4096",
    ];
    let config = load("", &[], &sets).expect("all legal");
    assert_eq!(config.log_dirs, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(config.listeners[0].address(), "[::1]:0");
    assert_eq!((config.memory_limit, config.journal_bytes), (Some(32 << 20), Some(32 << 20)));
    let delete = CleanupPolicy { delete: true, compact: false };
    assert_eq!(config.topic_defaults.cleanup_policy, delete);
    assert!(!config.topic_defaults.acks_durable);
    assert_eq!(config.disk_full_policy, DiskFullPolicy::Refuse);
    assert_eq!(config.socket_send_buffer_bytes, Some(4096));
    let error = load("", &[], &["log.level"]).expect_err("no value");
    assert_eq!(error.to_string(), "--set log.level: expected KEY=VALUE");
}

#[test]
fn what_is_advertised_is_one_address_that_can_be_reached() {
    for wrong in [
        "wire://0.0.0.0:7092",
        "wire://[::]:7092",
        "wire://edge-1.local:0",
        "wire://a:1,wire://b:1",
        "edge-1.local:7092",
    ] {
        let error = load("", &[], &[&format!("advertised.listeners={wrong}")]).expect_err(wrong);
        assert!(error.to_string().contains("that clients can connect to"), "{error}");
    }
    let right = load_file("advertised.listeners = [\"wire://edge-1.local:7092\"]").expect("legal");
    let [advertised] = &right.advertised_listeners[..] else { panic!("one is set") };
    assert_eq!((advertised.host.as_str(), advertised.port), ("edge-1.local", 7092));
    assert_eq!(Config::default().advertised_listeners, []);
    load("", &[], &["advertised.listeners=wire://a:1,kafka://a:2"]).expect("one a protocol");
}

#[test]
fn every_topic_key_has_a_default_and_its_source() {
    let config = Config::default();
    for key in TopicConfig::KEYS {
        let is_of = |setting: &&Setting| setting.topic_key == Some(*key);
        assert!(config.settings().iter().any(|setting| is_of(&setting)), "{key} has a broker key");
        assert_eq!(config.topic_source(key), Source::Default, "{key}");
    }
    let file = "log.retention.hours = 1\nlog.segment.bytes = 65536";
    let config = load(file, &[("ODRADEK_LOG_SEGMENT_BYTES", "70000")], &["log.roll.ms=9"]);
    let config = config.expect("legal");
    assert_eq!(config.topic_source("retention.ms"), Source::File);
    assert_eq!(config.topic_source("segment.bytes"), Source::Environment);
    assert_eq!(config.topic_source("segment.ms"), Source::CommandLine);
    assert_eq!(config.topic_source("flush.ms"), Source::Default);
}

#[test]
fn the_cleaners_keys_are_kafkas() {
    let text = "log.cleanup.policy = [\"compact\", \"delete\"]\n\
        log.cleaner.min.cleanable.ratio = 0.25\nlog.cleaner.dedupe.buffer.size = \"1MiB\"";
    let config = load(text, &[], &["log.cleaner.delete.retention.ms=5"]).expect("legal");
    let topic = &config.topic_defaults;
    assert_eq!(topic.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(topic.text("min.cleanable.dirty.ratio").as_deref(), Some("0.25"));
    assert_eq!(topic.delete_retention_ms, 5);
    assert_eq!(config.log_cleaner_dedupe_buffer_size, Some(1 << 20));
    for (wrong, message) in [
        ("log.cleanup.policy = \"shred\"", "takes one of"),
        ("log.cleaner.min.cleanable.ratio = 1.5", "takes a number from 0 to 1, not 1.5"),
        ("log.cleaner.min.cleanable.ratio = \"half\"", "takes a number from 0 to 1, not \"half\""),
    ] {
        let error = load_file(wrong).expect_err(wrong);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = [("ODRADEK_SERVER", "host:1"), ("ODRADEK_POWER_CUTS", "1000")];
    assert!(load("", &environment, &[]).is_ok());
}

#[test]
fn a_reload_names_what_changed() {
    let before = load_file("log.level = \"info\"\nshards = 1").expect("legal");
    let after = load_file("log.level = \"debug\"\nshards = 2").expect("legal");
    let changed: Vec<(&str, bool)> =
        after.changed_since(&before).iter().map(|new| (new.key, new.reloadable)).collect();
    assert_eq!(changed, [("shards", false), ("log.level", true)]);
}

#[test]
fn an_unreadable_file_is_named() {
    let path = Path::new("/nonexistent/odradek.toml");
    let error = Config::read(Some(path), &[]).expect_err("no such file");
    assert_eq!(error.to_string(), "/nonexistent/odradek.toml: entity not found");
}
