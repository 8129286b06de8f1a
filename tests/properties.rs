//! A Kafka `server.properties` as a broker's configuration: the file that Kafka 4 ships, and one of
//! a Kafka 3 with `ZooKeeper`; what has no effect is named with its line, what is wrong with line and
//! column.

use std::path::{Path, PathBuf};
use std::process::Command;

use odradek::config::{Config, Place, Sources, Warned};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/properties").join(name)
}

fn load(text: &str) -> Result<Config, String> {
    let file = Some(("server.properties".to_owned(), text.to_owned()));
    let loaded = Config::load(&Sources { file, ..Sources::default() });
    loaded.map_err(|errors| errors.to_string())
}

fn listeners(config: &Config) -> Vec<String> {
    config.listeners.iter().map(ToString::to_string).collect()
}

/// The warnings as (key, line).
fn warned(config: &Config) -> Vec<(&str, usize)> {
    let line = |place: &Place| match place {
        Place::File { line, .. } => *line,
        other => panic!("a place in the file, not {other}"),
    };
    config.warnings().iter().map(|one| (&*one.key, line(&one.place))).collect()
}

fn setting<'c>(config: &'c Config, key: &str) -> (&'c str, Option<usize>) {
    let found = config.settings().iter().find(|setting| setting.key == key);
    let found = found.expect("a key of the table");
    (found.value.as_deref().unwrap_or("-"), found.line)
}

#[test]
fn what_kafka_4_ships_is_read() {
    let config = Config::read(Some(&path("kafka-4.properties")), &[]).expect("legal");
    assert_eq!(config.broker_id.0, 1);
    assert_eq!(listeners(&config), ["kafka://0.0.0.0:9092", "wire://127.0.0.1:7092"]);
    assert_eq!(setting(&config, "advertised.listeners"), ("kafka://edge-1.local:9092", Some(28)));
    assert_eq!(setting(&config, "broker.id"), ("1", Some(9)));
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
    assert_eq!(config.socket_send_buffer_bytes, Some(102_400));
    assert_eq!(config.topic_defaults, Config::default().topic_defaults, "stated as they are");
    let warned = warned(&config);
    for key in [
        ("controller.quorum.bootstrap.servers", 12),
        ("controller.listener.names", 31),
        ("num.network.threads", 37),
        ("transaction.state.log.min.isr", 68),
    ] {
        assert!(warned.contains(&key), "{key:?} in {warned:?}");
    }
    // Every line of a stock file has a word of its own.
    let unknown =
        |one: &&odradek::config::ConfigWarning| matches!(one.warned, Warned::Unknown { .. });
    assert_eq!(config.warnings().iter().find(unknown), None);
}

#[test]
fn one_of_kafka_3_with_zookeeper_is_read() {
    let config = Config::read(Some(&path("kafka-3-zookeeper.properties")), &[]).expect("legal");
    assert_eq!(config.broker_id.0, 7);
    let expected = ["kafka://0.0.0.0:9092", "kafka://0.0.0.0:9094", "wire://127.0.0.1:7092"];
    assert_eq!(listeners(&config), expected);
    assert_eq!(setting(&config, "listeners").1, Some(11));
    let dirs = ["/mnt/ssd-1/kafka-logs", "/mnt/ssd-2/kafka-logs"];
    assert_eq!(config.log_dirs, dirs.map(PathBuf::from));
    assert_eq!((config.num_partitions, config.auto_create_topics_enable), (3, false));
    let topic = &config.topic_defaults;
    assert_eq!((topic.retention_ms, topic.segment_bytes), (86_400_000, 536_870_912));
    assert_eq!(topic.max_message_bytes, 2_097_152);
    let words: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    let words = words.join("\n");
    for part in [
        "kafka-3-zookeeper.properties:55:1: `zookeeper.connect`: there is no ZooKeeper",
        "`odradek log import`",
        "`authorizer.class.name`: NOT IN EFFECT",
        "`log.message.format.version`: gone with Kafka 4",
        "`log.retension.minutes`: ignored, there is no such key; did you mean \
         `log.retention.minutes`?",
    ] {
        assert!(words.contains(part), "{part} in\n{words}");
    }
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    for (text, expected) in [
        (
            "num.partitions = many",
            "server.properties:1:18: `num.partitions` takes a whole number from 1 to 10000, \
             not `many`",
        ),
        (
            "\nlisteners=PLAINTEXT://:9092,\\\n  SSL://:9093",
            "server.properties:3:3: `listeners` takes addresses such as PLAINTEXT://:9092 (TLS \
             and SASL are not served yet), not `SSL://:9093`",
        ),
        (
            "log.dirs=/data\\u00",
            "server.properties:1:15: \\u stands before the four hexadecimal digits of a character",
        ),
        (
            "delete.topic.enable=",
            "server.properties:1:21: `delete.topic.enable` takes true or false",
        ),
    ] {
        let words = load(text).expect_err(text);
        assert!(words.starts_with(expected), "{text}\n{words}\n{expected}");
    }
    let words = load("advertised.listeners=PLAINTEXT://:9092").expect_err("no host");
    assert!(words.starts_with("server.properties:1:22: `advertised.listeners`"), "{words}");
}

#[test]
fn of_a_key_given_twice_one_counts_and_it_is_said() {
    let config =
        load("num.partitions=2\nnum.partitions:3\nlog.dirs=/a\nlog.dir=/b").expect("legal");
    assert_eq!(config.num_partitions, 3);
    assert_eq!(config.log_dirs, [PathBuf::from("/a")]);
    assert_eq!(warned(&config), [("num.partitions", 2), ("log.dir", 4)]);
    // The controller's listener alone leaves the default.
    let config = load("listeners=CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER");
    assert_eq!(config.expect("legal").listeners, Config::default().listeners);
}

#[test]
fn check_and_show_read_it_too() {
    let odradek = |arguments: &[&str]| {
        let file = path("kafka-3-zookeeper.properties");
        let mut command = Command::new(env!("CARGO_BIN_EXE_odradek"));
        let output = command.args(arguments).arg("--config").arg(file).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    };
    let (_, words) = odradek(&["config", "check"]);
    assert!(words.contains(":55:1: `zookeeper.connect`: there is no ZooKeeper"), "{words}");
    assert!(words.contains("the configuration is legal"), "{words}");
    let (table, _) = odradek(&["config", "show"]);
    let row = table.lines().find(|line| line.starts_with("log.retention.ms ")).expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words, ["log.retention.ms", "86400000", "file,", "line", "46"]);
    let (json, _) = odradek(&["config", "show", "--json"]);
    assert!(json.contains("\"line\":46"), "{json}");
}
