//! A compacted topic of the real binary: it shrinks, shows each key's last value, and does so after
//! a kill too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Folder, Setup};

const TOPIC: &str = "state";

/// Asks until the answer is there.
fn wait_for(what: &str, ask: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ask() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn setup(data: &Path) -> Setup {
    Setup::new(data)
        .set("log.cleaner.backoff.ms", "50")
        .set("log.cleaner.io.max.bytes.per.second", "100000000")
}

/// Rounds of values for a hundred keys, every tenth of which is deleted in the end.
fn lines(round: u32) -> Vec<String> {
    (0..100).map(|key| format!("device-{key}={round} {}", "x".repeat(90))).collect()
}

fn write(broker: &Broker, rounds: std::ops::Range<u32>) {
    for round in rounds {
        broker.produce(&[TOPIC, "--key-separator", "="], &lines(round));
    }
}

fn log_bytes(data: &Path) -> u64 {
    let files = fs::read_dir(data.join(format!("{TOPIC}-0"))).expect("listed");
    let files = files.map(|file| file.expect("listed").path());
    let logs = files.filter(|path| path.extension().is_some_and(|suffix| suffix == "log"));
    logs.map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum()
}

/// How many values of each key are read, and the last one.
fn read(broker: &Broker) -> BTreeMap<String, (usize, String)> {
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for line in broker.consume(&[TOPIC, "--from-beginning", "--until-end", "--format", "key"]) {
        let (key, value) = line.split_once(['=', '\t', ' ']).expect("key and value");
        let entry = found.entry(key.to_owned()).or_default();
        *entry = (entry.0 + 1, value.split(' ').next().unwrap_or_default().to_owned());
    }
    found
}

#[test]
fn a_compacted_topic_shrinks_to_the_last_values() {
    let folder = Folder::new();
    let data = folder.join("data");
    let broker = setup(&data).start();
    broker.text(&[
        "topic",
        "create",
        TOPIC,
        "--set",
        "cleanup.policy=compact",
        "--set",
        "segment.bytes=65536",
    ]);
    write(&broker, 0..40);
    let written: u64 = 40 * 100 * 100;
    wait_for("the topic shrinks", || log_bytes(&data) < written / 3);
    let status = || broker.text(&["status", "--json"]);
    wait_for("rounds are counted", || !status().contains("\"clean_rounds_count\":0"));
    let found = read(&broker);
    assert_eq!(found.len(), 100, "every key is there");
    assert!(found.values().all(|(_, last)| last == "39"), "its last value last: {found:?}");
    let total: usize = found.values().map(|(count, _)| count).sum();
    assert!(total < 2000, "{total} of 4000 records are left");

    // A kill and a clean stop change nothing; what is written then is compacted too.
    broker.kill();
    let broker = setup(&data).start();
    assert!(read(&broker).values().all(|(_, last)| last == "39"));
    write(&broker, 40..60);
    wait_for("it shrinks again", || log_bytes(&data) < written / 3);
    assert!(broker.stop().success());
    let checkpoint = fs::read_to_string(data.join("cleaner-offset-checkpoint")).expect("written");
    assert!(checkpoint.starts_with(&format!("0\n1\n{TOPIC} 0 ")), "{checkpoint}");
    let broker = setup(&data).start();
    let found = read(&broker);
    assert!(found.len() == 100 && found.values().all(|(_, last)| last == "59"));
}
