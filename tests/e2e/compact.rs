//! A compacted topic of the real binary: it shrinks, shows each key's last value, and does so after
//! a kill too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
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

#[test]
fn kills_in_the_middle_of_rounds_lose_no_last_value() {
    let folder = Folder::new();
    let data = folder.join("data");
    let mut broker = setup(&data).set("shards", "2").start();
    let create = ["topic", "create", TOPIC, "--set", "cleanup.policy=compact"];
    broker.text(&[&create[..], &["--set", "segment.bytes=16384"]].concat());
    let mut round = 0;
    for turn in 0..8_u64 {
        write(&broker, round..round + 6);
        // Compaction is somewhere in what was written; this is somewhere in being written.
        let mut command = broker.command(&["produce", TOPIC, "--key-separator", "="]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut producer = command.spawn().expect("the binary starts");
        let text = lines(round + 6).join("\n") + "\n";
        let mut input = producer.stdin.take().expect("piped");
        thread::sleep(Duration::from_millis(40 + turn * 17 % 60));
        let _ = input.write_all(text.as_bytes());
        drop(input);
        broker.kill();
        let _ = producer.kill();
        let _ = producer.wait();
        broker = setup(&data).set("shards", "2").start();
        let found = read(&broker);
        let (acked, maybe) = ((round + 5).to_string(), (round + 6).to_string());
        assert_eq!(found.len(), 100, "turn {turn}");
        for (key, (_, last)) in found {
            assert!(last == acked || last == maybe, "turn {turn}: {key} is {last}, not {acked}");
        }
        round += 7;
    }
}

#[test]
fn a_topic_that_is_made_anew_has_nothing_of_the_one_that_was_compacted() {
    let folder = Folder::new();
    let data = folder.join("data");
    // So slow that a round is under way when its topic goes.
    let broker = setup(&data).set("log.cleaner.io.max.bytes.per.second", "400000").start();
    let create = ["topic", "create", TOPIC, "--set", "cleanup.policy=compact"];
    for turn in 0..6 {
        broker.text(&[&create[..], &["--set", "segment.bytes=16384"]].concat());
        write(&broker, turn * 20..turn * 20 + 12);
        thread::sleep(Duration::from_millis(100));
        let found = read(&broker);
        let wanted = (turn * 20 + 11).to_string();
        assert!(found.len() == 100 && found.values().all(|(_, last)| *last == wanted));
        broker.text(&["topic", "delete", TOPIC]);
    }
    broker.text(&[&create[..], &["--set", "segment.bytes=16384"]].concat());
    write(&broker, 900..901);
    broker.kill();
    let broker = setup(&data).start();
    let found = read(&broker);
    assert!(
        found.len() == 100 && found.values().all(|(count, last)| (*count, &**last) == (1, "900"))
    );
}
