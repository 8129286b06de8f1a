//! Taking over a partition: gaps are filled, what is bad is refused by name, and done twice it is
//! done once.

use std::path::Path;

use super::testing::{MemoryDisk, batch, name};
use super::walk::Walk;
use super::*;
use crate::ids::{NodeId, Partition, TopicId, Uuid};
use crate::journal::disk::Open;
use crate::record::stamp;

const KAFKA: &str = "/kafka";
const ID: TopicId = TopicId(Uuid([9; 16]));

fn put(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(KAFKA).join(path);
    disk.create_dir_all(path.parent().expect("below the directory")).expect("memory");
    let file = disk.open(&path, Open::CreateOrWrite).expect("memory");
    file.set_len(0).expect("memory");
    file.write_all_at(bytes, 0).expect("memory");
}

/// Batches of one record each at these offsets, in an epoch.
fn batches(offsets: &[i64], epoch: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for offset in offsets {
        let mut batch = batch(1, 1000 + offset, 80);
        stamp(&mut batch, Offset(*offset), LeaderEpoch(epoch));
        bytes.extend(batch);
    }
    bytes
}

/// A Kafka's directory with one partition of two segments, compacted: offsets are missing at the
/// first one's start, middle and end, and the log begins at 12.
fn kafka() -> MemoryDisk {
    let disk = MemoryDisk::default();
    put(&disk, "meta.properties", b"version=1\ncluster.id=x\nnode.id=1\n");
    put(&disk, ".kafka_cleanshutdown", b"{\"version\":0,\"brokerEpoch\":3}");
    put(&disk, "log-start-offset-checkpoint", b"0\n1\ntopic 0 12\n");
    put(&disk, "recovery-point-offset-checkpoint", b"0\n1\ntopic 0 42\n");
    put(&disk, "topic-0/partition.metadata", format!("version: 0\ntopic_id: {ID}").as_bytes());
    put(&disk, "topic-0/leader-epoch-checkpoint", b"0\n2\n2 10\n7 42\n");
    let first = [batches(&[11, 12, 20], 2), batches(&[21], 3)].concat();
    put(&disk, "topic-0/00000000000000000010.log", &first);
    put(&disk, "topic-0/00000000000000000040.log", &batches(&[40, 41], 3));
    put(&disk, "topic-0/00000000000000000010.index", b"Kafka's own");
    put(&disk, "__cluster_metadata-0/00000000000000000000.log", b"");
    put(&disk, "topic-1.abcdef-delete/00000000000000000000.log", b"");
    disk
}

fn read(disk: &MemoryDisk) -> Result<KafkaDir, String> {
    KafkaDir::read(disk, Path::new(KAFKA)).map_err(|why| why.to_string())
}

fn take(disk: &MemoryDisk, how: Take) -> Result<Taken, String> {
    let dir = read(disk)?;
    let to = Path::new("/ours/topic-0");
    let taken = take_over(disk, &dir.partitions[0], ID, to, how, &mut |_| {});
    taken.map_err(|why| why.to_string())
}

/// First and last offset and record count of each batch in a file of ours.
fn shape(disk: &MemoryDisk, file: &str) -> Vec<(i64, i64, i32)> {
    let file = disk.open(&Path::new("/ours/topic-0").join(file), Open::Read).expect("there");
    let mut walk = Walk::new(&file, 0, file.len().expect("memory"), true);
    let mut shape = Vec::new();
    while let Some(met) = walk.next().expect("sound") {
        assert!(walk::crc_is_valid(&file, &met).expect("memory"));
        let header = met.header;
        shape.push((header.base_offset.0, header.last_offset().0, header.record_count));
    }
    shape
}

fn check_taken(disk: &MemoryDisk, taken: &Taken) {
    assert_eq!(taken.end, Offset(42));
    assert_eq!(taken.epochs, [(LeaderEpoch(2), Offset(11)), (LeaderEpoch(3), Offset(21))]);
    let first = [(10, 10, 0), (11, 11, 1), (12, 12, 1), (13, 19, 0), (20, 20, 1), (21, 21, 1)];
    assert_eq!(shape(disk, "00000000000000000010.log"), [&first[..], &[(22, 39, 0)]].concat());
    assert_eq!(shape(disk, "00000000000000000040.log"), [(40, 40, 1), (41, 41, 1)]);
    assert_eq!(taken.last, Some(KafkaSegment { base: Offset(40), bytes: 160 }));
    let id = identity::topic_id(disk, Path::new("/ours/topic-0")).expect("memory");
    assert_eq!(id, Some(ID));
}

#[test]
fn a_directory_of_kafkas_is_read() {
    let disk = kafka();
    let dir = read(&disk).expect("it stopped cleanly");
    let [partition] = &dir.partitions[..] else { unreachable!("there is one") };
    assert_eq!((&partition.name, partition.partition), (&name(), Partition(0)));
    assert_eq!((partition.topic_id, partition.start), (Some(ID), Offset(12)));
    assert_eq!((partition.noted_end, partition.latest_epoch), (Some(Offset(42)), LeaderEpoch(7)));
    assert_eq!(partition.segments.len(), 2);
    let left: Vec<&str> = dir.left.iter().map(|(name, _)| &**name).collect();
    assert_eq!(left, ["__cluster_metadata-0", "topic-1.abcdef-delete"]);
}

#[test]
fn gaps_are_filled_whichever_way_it_comes() {
    for how in [Take::Copy, Take::Move] {
        let disk = kafka();
        let first = take(&disk, how).expect("sound");
        check_taken(&disk, &first);
        let source = Path::new(KAFKA).join("topic-0/00000000000000000040.log");
        assert_eq!(disk.exists(&source).expect("memory"), how == Take::Copy);
        // A stop came before it was ours: it is taken over again.
        let dir = read(&kafka()).expect("as it was");
        let to = Path::new("/ours/topic-0");
        let again = take_over(&disk, &dir.partitions[0], ID, to, how, &mut |_| {});
        check_taken(&disk, &again.expect("sound"));
    }
}

#[test]
fn what_is_bad_is_refused_by_name() {
    let refused = |spoil: &dyn Fn(&MemoryDisk), expected: &str| {
        let disk = kafka();
        spoil(&disk);
        let words = take(&disk, Take::Copy).expect_err(expected);
        assert!(words.contains(expected), "{words}");
    };
    let second = "topic-0/00000000000000000040.log";
    let flipped = |disk: &MemoryDisk| {
        let mut bytes = batches(&[40, 41], 3);
        bytes[150] ^= 1;
        put(disk, second, &bytes);
    };
    refused(&flipped, "/kafka/topic-0/00000000000000000040.log: damaged at position 80");
    let torn = |disk: &MemoryDisk| put(disk, second, &batches(&[40, 41], 3)[..100]);
    refused(&torn, "damaged at position 80");
    let backwards = |disk: &MemoryDisk| put(disk, second, &batches(&[41, 40], 3));
    refused(&backwards, "damaged at position 80");
    // Offsets lie outside a batch's checksum. Found by fuzzing: a flipped high bit would have been
    // a gap of millions of empty batches.
    let far = |disk: &MemoryDisk| put(disk, second, &batches(&[40, 1 << 50], 3));
    refused(&far, "damaged at position 80");
    let short = |disk: &MemoryDisk| put(disk, second, &batches(&[40], 3));
    refused(&short, "ends at offset 41, but Kafka noted 42");
    let old = |disk: &MemoryDisk| {
        let mut bytes = batches(&[40, 41], 3);
        bytes[16] = 1;
        put(disk, second, &bytes);
    };
    refused(&old, "before Kafka 0.11");
    let unclean = |disk: &MemoryDisk| {
        disk.remove_file(&Path::new(KAFKA).join(".kafka_cleanshutdown")).expect("there");
    };
    refused(&unclean, "did not stop cleanly");
    refused(&|disk| put(disk, "format", b"odradek-file"), "a log dir of Odradek already");
    let nothing = |disk: &MemoryDisk| {
        disk.remove_file(&Path::new(KAFKA).join("meta.properties")).expect("there");
    };
    refused(&nothing, "no log directory of Apache Kafka");
}

/// `log.dirs` in a `server.properties` names Kafka's own directory: a broker that was started on it
/// would have removed the mark of its clean stop, and renamed what it did not know.
#[test]
fn a_broker_does_not_touch_kafkas_directory() {
    let disk = kafka();
    let parameters = OpenParameters {
        node_id: NodeId(1),
        cluster_id: None,
        random: [1; 32],
        now: testing::at(0),
        config: TopicConfig::default(),
    };
    let claimed = LogDir::claim(disk.clone(), Path::new(KAFKA), &parameters);
    let words = claimed.map(|_| ()).expect_err("it is Kafka's").to_string();
    assert!(words.contains("`odradek log import`"), "{words}");
    assert!(disk.exists(&Path::new(KAFKA).join(".kafka_cleanshutdown")).expect("memory"));
}
