//! A compacted partition in the hands of others: Kafka's reader of segments, its console consumer,
//! and librdkafka, each of which must be content with batches that compaction has emptied.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, run, tool};
use crate::interop::dump::{dump, jars, log_files};
use crate::peers;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const KEY_COUNT: u32 = 50;
const ROUND_COUNT: u32 = 30;

fn start(data: &Path) -> Broker {
    Setup::new(data)
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("log.cleaner.backoff.ms", "50")
        .set("log.cleaner.io.max.bytes.per.second", "100000000")
        .start()
}

fn value(key: u32, round: u32) -> String {
    // Noise, or the codecs leave too little for several segments.
    let seed = u64::from(key * 1000 + round + 1);
    let word = |n: u64| format!("{:016x}", (seed * 31 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    format!("{round} {}", (0..10).map(word).collect::<String>())
}

/// Many values for few keys, in every codec, and waits until they are compacted.
fn write(broker: &Broker, data: &Path) {
    for codec in CODECS {
        let create = ["topic", "create", codec, "--set", "cleanup.policy=compact"];
        // So dense that no index is empty, which Kafka's reader remarks on.
        let sizes = ["--set", "segment.bytes=16384", "--set", "index.interval.bytes=300"];
        broker.text(&[&create[..], &sizes].concat());
        for round in 0..ROUND_COUNT {
            // Not every key each time, so that most batches lose only a part of their records.
            let keys =
                (0..KEY_COUNT).filter(|key| (key + round) % 3 != 0 || round + 2 > ROUND_COUNT);
            let lines: Vec<String> =
                keys.map(|key| format!("key-{key}={}", value(key, round))).collect();
            broker.produce(&[codec, "--key-separator", "=", "--compression", codec], &lines);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_whole = |codec: &&str| {
        let first = data.join(format!("{codec}-0")).join("cleaned");
        !first.exists()
    };
    while CODECS.iter().any(is_whole) {
        assert!(Instant::now() < deadline, "compaction comes in time");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The last value of each key, as lines of key, tab and value tell.
fn last(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn wanted() -> BTreeMap<String, String> {
    (0..KEY_COUNT).map(|key| (format!("key-{key}"), value(key, ROUND_COUNT - 1))).collect()
}

#[test]
fn kafka_reads_what_compaction_has_left() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let data = folder.join("data");
    let broker = start(&data);
    write(&broker, &data);
    for codec in ["none", "zstd"] {
        let consume = ["--topic", codec, "--partition", "0", "--offset", "earliest"];
        let shown = ["--formatter-property", "print.key=true", "--timeout-ms", "8000"];
        let words = [&consume[..], &shown].concat();
        let text = run(&mut tool(&jars, "consumer.ConsoleConsumer", &broker, &words), "");
        assert!(last(&text) == wanted(), "{codec}: {text}");
        let all = (ROUND_COUNT * KEY_COUNT * 2 / 3) as usize;
        assert!(text.lines().count() < all, "{codec}: {} of {all}", text.lines().count());
    }
    assert!(broker.stop().success());
    for codec in CODECS {
        let files = log_files(&data.join(format!("{codec}-0")));
        let mut dump = dump(&jars, &files);
        // The newest segment may have come to one batch only, which no index has an entry for.
        let newest = files.iter().filter(|file| file.extension().is_some_and(|it| it == "index"));
        let newest = newest.max().expect("a partition has an index");
        let remark = format!("{} is empty.", newest.display());
        dump.complaints.retain(|line| *line != remark);
        assert_eq!(dump.complaints, Vec::<String>::new(), "{codec}");
        let records: BTreeMap<i64, String> = dump.records.into_values().flatten().collect();
        let newest = wanted();
        for value in newest.values() {
            assert!(records.values().any(|found| found == value), "{codec}: {value}");
        }
    }
    let checkpoint = fs::read_to_string(data.join("cleaner-offset-checkpoint")).expect("written");
    assert!(checkpoint.starts_with("0\n5\ngzip 0 "), "{checkpoint}");
}

#[test]
fn librdkafka_reads_what_compaction_has_left() {
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let folder = Folder::new();
    let data = folder.join("data");
    let broker = start(&data);
    write(&broker, &data);
    for codec in CODECS {
        let mut command = Command::new("timeout");
        command.args(["60", "kcat", "-b", door(&broker), "-C", "-t", codec, "-K", "\t"]);
        let text = run(command.args(["-e", "-q", "-o", "beginning"]), "");
        assert!(last(&text) == wanted(), "{codec}: {text}");
    }
}
