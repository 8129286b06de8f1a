//! Apache Kafka's tools read what we write: style.md §6, "interop".
//!
//! The claim of the design's first page is that the segment and index files are Kafka's own; the
//! only judge of it is Kafka. Before it judges us it is shown a segment of another codec, whole and
//! with a flipped bit, so that its silence is known to mean something.

#[path = "support/broker.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use the rest")]
mod broker;
mod interop {
    pub mod clients;
    mod compacted;
    pub mod dump;
    mod groups;
    mod kafka_3;
    mod libraries;
    mod members;
    mod moving_in;
    mod one_machine;
    mod producers;
    mod ranges;
    mod shared;
    mod site;
    mod tools;
}
#[path = "support/peers.rs"]
mod peers;
#[path = "support/power.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use the rest")]
mod power;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use broker::{Broker, Folder, Setup, client_command};
use bytes::BytesMut;
use interop::dump::{dump, jars, log_files};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use odradek::ids::{LeaderEpoch, Partition, TopicId, TopicName, TopicPartition, Uuid};
use odradek::log::Log;
use odradek::record::BatchBuilder;
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use power::Device;
use sim_disk::SimDisk;

/// A batch of another codec with these payloads.
fn batch_of_another_codec(base_offset: i64, payloads: &[&str]) -> Vec<u8> {
    let records: Vec<Record> = (base_offset..)
        .zip(payloads)
        .map(|(offset, payload)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 1,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: NO_SEQUENCE,
            timestamp: 1_700_000_000_000 + offset,
            key: None,
            value: Some(payload.as_bytes().to_vec().into()),
            headers: IndexMap::new(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a plain batch encodes");
    bytes.to_vec()
}

#[test]
fn kafka_reads_another_codec_and_notices_a_flipped_bit() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let file = folder.join("00000000000000000000.log");
    let mut bytes = batch_of_another_codec(0, &["one", "two"]);
    bytes.extend(batch_of_another_codec(2, &["three"]));
    fs::write(&file, &bytes).expect("written");
    let whole = dump(&jars, std::slice::from_ref(&file));
    assert_eq!(whole.complaints, Vec::<String>::new());
    let payloads: Vec<_> = whole.records[&file].iter().map(|(o, p)| (*o, p.as_str())).collect();
    assert_eq!(payloads, [(0, "one"), (1, "two"), (2, "three")]);

    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).expect("written");
    let flipped = dump(&jars, std::slice::from_ref(&file));
    assert!(!flipped.complaints.is_empty(), "a flipped bit is noticed: {flipped:?}");
}

/// Lines of a topic: compressible, and long enough for several segments and index entries.
fn lines(topic: &str) -> Vec<String> {
    (0..8000_u64)
        .map(|number| {
            let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let padding = format!("{noise:016x}").repeat(12);
            format!("{topic} {number} {padding}")
        })
        .collect()
}

/// Topics whose batches are stored with each codec.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn write_all(broker: &Broker) {
    for codec in CODECS {
        broker.text(&["topic", "create", codec, "--set", "segment.bytes=1048576"]);
        broker.produce(&[codec, "--compression", codec], &lines(codec));
    }
}

/// Lets Kafka read every partition of a log dir and compares with what was written.
fn check_log_dir(jars: &Path, data: &Path) {
    for codec in CODECS {
        let files = log_files(&data.join(format!("{codec}-0")));
        let dump = dump(jars, &files);
        assert_eq!(dump.complaints, Vec::<String>::new(), "{codec}");
        let found: BTreeMap<i64, String> = dump.records.into_values().flatten().collect();
        let expected: BTreeMap<i64, String> = (0..).zip(lines(codec)).collect();
        assert_eq!(found.len(), expected.len(), "{codec}: as many records as were written");
        assert!(found == expected, "{codec}: each at its offset with its value");
        if codec == "none" {
            assert!(1 < files.iter().filter(|f| f.extension().is_some_and(|e| e == "log")).count());
            let entries: usize = dump.index_entries.values().sum();
            assert!(100 < entries, "the indexes were read as well: {entries} entries");
        }
    }
}

#[test]
fn kafka_reads_our_log_after_a_clean_stop() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    write_all(&broker);
    assert!(broker.stop().success());
    check_log_dir(&jars, &folder.join("data"));
}

fn recover(data: &Path) {
    let recovered = client_command("", &["log", "recover", &data.display().to_string()]).output();
    let recovered = recovered.expect("the binary starts");
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
}

#[test]
fn kafka_reads_our_log_after_a_kill_and_recover() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    write_all(&broker);
    broker.kill();
    recover(&folder.join("data"));
    check_log_dir(&jars, &folder.join("data"));
}

#[test]
fn kafka_reads_our_log_after_a_power_cut_and_recover() {
    let Some(jars) = jars() else { return };
    let Some(device) = Device::new() else { return };
    let data = power::data(&device);
    let broker = power::setup(&device).start();
    write_all(&broker);
    device.cut(broker.id());
    broker.kill();
    device.restore();
    recover(&data);
    check_log_dir(&jars, &data);
}

/// What the log writes by itself, without a broker around it: the quickest way to a wrong byte.
#[test]
fn kafka_reads_what_the_log_writes() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let disk = SimDisk::new();
    let mut config = TopicConfig::default();
    config.set("segment.bytes", "1048576").expect("a legal value");
    let now = Now { boot: Boot(1), wall: Timestamp(1_700_000_000_000), wall_trusted: true };
    let topic_partition =
        TopicPartition { topic_id: TopicId(Uuid([7; 16])), partition: Partition(0) };
    let name = TopicName::new("straight").expect("a legal name");
    let root = Path::new("/data");
    let mut log =
        Log::create(disk.clone(), root, &name, topic_partition, config, now).expect("made");
    let _ = log.begin_epoch(LeaderEpoch(1));
    let lines = lines("straight");
    for (number, chunk) in lines.chunks(7).enumerate() {
        let mut builder = BatchBuilder::new();
        for (line, nth) in chunk.iter().zip(0..) {
            // Timestamps that go back and forth: the time index has to cope.
            let jitter = (number as i64 * 7919) % 1000;
            let at = Timestamp(1_700_000_000_000 + number as i64 * 10 + jitter + nth);
            builder.push(at, None, Some(line.as_bytes()), &[("header", Some(b"there"))]);
        }
        let codec = odradek::record::Compression::ALL[(number % 25).min(5) % 5];
        let mut batch = builder.finish(codec);
        log.append(now, &mut batch).expect("it fits");
    }
    log.close().expect("closed");
    for (path, bytes) in disk.files() {
        let target = folder.path().join(path.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(target.parent().expect("below")).expect("made");
        fs::write(target, bytes).expect("written");
    }
    let files = log_files(&folder.join("data/straight-0"));
    let dump = dump(&jars, &files);
    assert_eq!(dump.complaints, Vec::<String>::new());
    let found: BTreeMap<i64, String> = dump.records.into_values().flatten().collect();
    assert!(found == (0..).zip(lines).collect::<BTreeMap<i64, String>>(), "each at its offset");
    let entries: usize = dump.index_entries.values().sum();
    assert!(3 < files.len() && 20 < entries, "segments and indexes: {entries} entries");
}
