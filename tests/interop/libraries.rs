//! Client libraries of other languages at Kafka's door: librdkafka through confluent-kafka,
//! kafka-python, kafkajs, sarama.
//!
//! Each runs a program of its own language that creates topics, writes with every codec it has,
//! reads back, shares a group, commits, alters and deletes, and ends with an error where an answer
//! is not what it must be. All write the same records; what is stored then is looked at here, by
//! our own command line and in the segments themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use odradek::record::{BatchHeader, Compression};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, run};
use crate::peers;

const RECORD_COUNT: usize = 300;
/// Below this offset the records of the topic without compression were deleted.
const TRIMMED: usize = 100;
const SHARED_PARTITION_COUNT: usize = 4;
const FIRST_TIMESTAMP_MS: usize = 1_700_000_000_000;

/// What one library leaves behind.
struct Library {
    /// Its topics' names begin with it.
    name: &'static str,
    /// The codecs it wrote with, and whether as an idempotent producer.
    codecs: &'static [(Compression, bool)],
    /// Records of the shared topic.
    shared_count: usize,
    retention_ms: &'static str,
    /// A group, and where in the shared topic it is.
    group: &'static str,
    committed: [Option<usize>; SHARED_PARTITION_COUNT],
}

/// A thing that `tests/interop/fetch-libraries` made, if it is there and made from these files.
fn fetched(thing: &str, made_from: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop");
    let found = fs::read_to_string(folder.join(format!("{thing}.made-from"))).unwrap_or_default();
    if found != made_from {
        let how = "tests/interop/fetch-libraries (needs python3-venv, npm, golang-go)";
        peers::missing(&format!("target/interop/{thing}, or is out of date,"), how);
        return None;
    }
    Some(folder.join(thing))
}

fn python() -> Option<PathBuf> {
    let folder = fetched("python", include_str!("python/requirements.txt"))?;
    Some(folder.join("bin/python"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// Lets the library's program meet a broker, and looks at what it left there.
fn check(library: &Library, program: &Path, words: &[PathBuf], variables: &[(&str, PathBuf)]) {
    let folder = Folder::new();
    let data = folder.join("data");
    let broker = Setup::new(&data)
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("group.initial.rebalance.delay.ms", "0")
        .start();
    let mut command = Command::new("timeout");
    command.arg("120").arg(program).args(words).arg(door(&broker));
    command.envs(variables.iter().cloned());
    let said = run(&mut command, "");
    assert!(said.ends_with("brokers: as it should be\n"), "it came to its end: {said}");

    check_topics(library, &broker);
    for (codec, is_idempotent) in library.codecs {
        check_records(library, &broker, *codec);
        check_batches(library, &data, *codec, *is_idempotent);
    }
    check_group(library, &broker);
    let complaint = broker.words().lines().find(|line| line.contains(" WARN ")).map(str::to_owned);
    assert_eq!(complaint, None, "the broker had nothing to complain of");
}

fn check_topics(library: &Library, broker: &Broker) {
    let Library { name, codecs, shared_count, retention_ms, .. } = library;
    let topics = broker.text(&["topic", "list"]);
    let mut wanted: Vec<String> =
        codecs.iter().map(|(codec, _)| format!("{name}-{}", codec.name())).collect();
    wanted.push(format!("{name}-shared"));
    wanted.sort();
    assert_eq!(topics.lines().collect::<Vec<&str>>(), wanted, "what it deleted is gone");

    let shared = format!("{name}-shared");
    let described = broker.text(&["topic", "describe", &shared]);
    let mut rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    assert!(rows.any(|row| row == ["retention.ms", retention_ms, "DYNAMIC_TOPIC_CONFIG"]));
    for partition in 0..SHARED_PARTITION_COUNT {
        let read = broker.consume(&[&shared, "--partition", &partition.to_string()]);
        let numbers = (partition..*shared_count).step_by(SHARED_PARTITION_COUNT);
        assert_eq!(read, numbers.map(|number| number.to_string()).collect::<Vec<_>>(), "{shared}");
    }
}

/// Every record of a topic: its offset, timestamp, key, value and headers.
fn check_records(library: &Library, broker: &Broker, codec: Compression) {
    let topic = format!("{}-{}", library.name, codec.name());
    let codec_name = codec.name();
    let first = if codec == Compression::None { TRIMMED } else { 0 };
    let wanted = (first..RECORD_COUNT).map(|number| {
        let (key, text) = (number % 7, "text ".repeat(10));
        let millis = FIRST_TIMESTAMP_MS % 1000 + number;
        format!(
            "{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{number},\
             \"timestamp\":\"2023-11-14T22:13:20.{millis:03}Z\",\"key\":\"key-{key}\",\
             \"value\":\"{codec_name} line {number} {text}\",\
             \"headers\":[{{\"key\":\"unit\",\"value\":\"C\"}},\
             {{\"key\":\"number\",\"value\":\"{number}\"}}]}}"
        )
    });
    let read = broker.consume(&[&topic, "--format", "json"]);
    assert_eq!(read, wanted.collect::<Vec<String>>());
}

/// The batches as they lie in the segment: compressed by the client's codec, and by a producer with
/// an id exactly where it was to be idempotent.
fn check_batches(library: &Library, data: &Path, codec: Compression, is_idempotent: bool) {
    let topic = format!("{}-{}-0", library.name, codec.name());
    let segment = data.join(&topic).join("00000000000000000000.log");
    let bytes = fs::read(segment).expect("the segment is there");
    let (mut rest, mut count) = (&bytes[..], 0);
    while count < RECORD_COUNT {
        let header = BatchHeader::parse(rest).expect("a batch");
        assert_eq!(header.attributes.compression(), Some(codec), "{topic}");
        assert_eq!(-1 < header.producer_id, is_idempotent, "{topic}: {header:?}");
        count += usize::try_from(header.record_count).expect("not negative");
        rest = &rest[header.size_bytes()..];
    }
    assert_eq!(count, RECORD_COUNT, "{topic}");
}

fn check_group(library: &Library, broker: &Broker) {
    let described = broker.text(&["group", "describe", library.group]);
    let shared = format!("{}-shared", library.name);
    for (partition, committed) in library.committed.iter().enumerate() {
        let is_it =
            |line: &&str| line.split_whitespace().take(2).eq([&*shared, &*partition.to_string()]);
        let row = described.lines().find(is_it);
        let found = row.and_then(|row| row.split_whitespace().nth(2)?.parse::<usize>().ok());
        assert_eq!(found, *committed, "{shared}-{partition}: {described}");
    }
}

const ALL_IDEMPOTENT: [(Compression, bool); 5] = [
    (Compression::None, true),
    (Compression::Gzip, true),
    (Compression::Snappy, true),
    (Compression::Lz4, true),
    (Compression::Zstd, true),
];

#[test]
fn librdkafka_by_confluent_kafka() {
    let Some(python) = python() else { return };
    let library = Library {
        name: "librdkafka",
        codecs: &ALL_IDEMPOTENT,
        shared_count: 408,
        retention_ms: "43200000",
        group: "librdkafka-range",
        committed: [Some(7), Some(102), Some(102), Some(102)],
    };
    check(&library, &python, &[script("python/librdkafka.py")], &[]);
}

#[test]
fn kafka_python() {
    let Some(python) = python() else { return };
    let library = Library {
        name: "kafka-python",
        codecs: &[
            (Compression::None, false),
            (Compression::Gzip, false),
            (Compression::Snappy, true),
            (Compression::Lz4, true),
            (Compression::Zstd, true),
        ],
        shared_count: 408,
        retention_ms: "21600000",
        group: "kafka-python",
        committed: [Some(7), Some(102), Some(102), Some(102)],
    };
    check(&library, &python, &[script("python/kafka_python.py")], &[]);
}

#[test]
fn kafkajs() {
    let Some(modules) = fetched("node", include_str!("node/package-lock.json")) else { return };
    if !peers::has_program("node", "--version") {
        return peers::missing("node", "apt-get install nodejs");
    }
    let library = Library {
        name: "kafkajs",
        codecs: &[
            (Compression::None, true),
            (Compression::Gzip, true),
            (Compression::Snappy, true),
        ],
        shared_count: 408,
        retention_ms: "43200000",
        group: "kafkajs",
        committed: [Some(7), Some(102), Some(102), Some(102)],
    };
    let variables = [("NODE_PATH", modules.join("node_modules"))];
    check(&library, Path::new("node"), &[script("node/kafkajs.js")], &variables);
}

#[test]
fn sarama() {
    let made_from = concat!(
        include_str!("sarama/main.go"),
        include_str!("sarama/go.mod"),
        include_str!("sarama/go.sum")
    );
    let Some(folder) = fetched("sarama", made_from) else { return };
    let library = Library {
        name: "sarama",
        codecs: &[
            (Compression::None, false),
            (Compression::Gzip, true),
            (Compression::Snappy, false),
            (Compression::Lz4, true),
            (Compression::Zstd, false),
        ],
        shared_count: 416,
        retention_ms: "21600000",
        group: "sarama-range",
        committed: [None, Some(104), Some(104), Some(104)],
    };
    check(&library, &folder.join("sarama"), &[], &[]);
}
