//! The README's tour: create, produce, consume, describe, alter, delete, and the exit codes.

use crate::broker::{Folder, Setup};

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    broker.text(&["topic", "create", "meadow.rain", "--partitions", "3"]);
    assert!(broker.text(&["topic", "list"]).lines().any(|line| line.contains("meadow.rain")));
    broker.produce(&["meadow.rain", "--partition", "2"], &lines(1000));
    assert_eq!(broker.consume(&["meadow.rain", "--partition", "2"]), lines(1000));
    assert_eq!(broker.consume(&["meadow.rain", "--partition", "0"]), Vec::<String>::new());
    let described = broker.text(&["topic", "describe", "meadow.rain"]);
    assert!(described.contains("meadow.rain"), "{described}");
    broker.text(&["topic", "alter", "meadow.rain", "--set", "retention.ms=60000"]);
    let altered = broker.text(&["topic", "describe", "meadow.rain"]);
    assert!(altered.contains("retention.ms") && altered.contains("60000"), "{altered}");
    broker.text(&["topic", "delete", "meadow.rain"]);
    assert!(!broker.text(&["topic", "list"]).contains("meadow.rain"));
}

#[test]
fn a_sensor_is_piped_in_and_read_from_any_point() {
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    let acks = broker.produce(&["host.vmstat", "--create", "--print-acks"], &lines(500));
    let expected: Vec<String> = (0..500).map(|n| format!("0 {n} line {n}")).collect();
    assert_eq!(acks.lines().collect::<Vec<_>>(), expected);
    let tail = broker.text(&["consume", "host.vmstat", "--from", "490", "--until-end"]);
    assert_eq!(tail.lines().collect::<Vec<_>>(), lines(500)[490..]);
    let some = broker.text(&["consume", "host.vmstat", "--from-beginning", "--max", "3"]);
    assert_eq!(some.lines().collect::<Vec<_>>(), lines(3));
    let json = ["consume", "host.vmstat", "--from", "7", "--max", "1", "--format", "json"];
    let json = broker.text(&json);
    assert_eq!(crate::load::field(&json, "offset"), Some("7"), "{json}");
    assert_eq!(crate::load::field(&json, "value"), Some("line 7"), "{json}");
    let keyed: Vec<String> = (0..10).map(|n| format!("key{n}:value{n}")).collect();
    broker.produce(&["keyed", "--create", "--key-separator", ":"], &keyed);
    let keys =
        broker.text(&["consume", "keyed", "--from-beginning", "--max", "10", "--format", "key"]);
    assert_eq!(keys.lines().count(), 10, "{keys}");
    assert!(keys.lines().all(|line| line.starts_with("key")), "{keys}");
}

#[test]
fn every_compression_comes_back_as_it_went_in() {
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.produce(&[name, "--create", "--compression", name], &lines(2000));
        assert_eq!(broker.consume(&[name]), lines(2000), "{name}");
    }
}

#[test]
fn one_shard_and_four_serve_the_same() {
    for shards in ["1", "4"] {
        let folder = Folder::new();
        let broker = Setup::new(&folder.join("data")).set("shards", shards).start();
        broker.text(&["topic", "create", "spread", "--partitions", "8"]);
        broker.produce(&["spread", "--key-separator", " "], &lines(4000));
        let mut found = broker.consume(&["spread"]);
        found.sort();
        let mut expected: Vec<String> = (0..4000).map(|number| number.to_string()).collect();
        expected.sort();
        assert_eq!(found, expected, "{shards} shards");
    }
}
