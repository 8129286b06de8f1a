//! What Kafka leaves for those who move in: its log directory and the records of its metadata.

use std::path::Path;

use odradek::ids::{TopicId, Uuid};
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::log::{KafkaDir, Take, take_over};
use odradek::wire::kafka::metadata_records::MetadataRecord;

use super::record;
use crate::note::note;
use crate::sim_disk::SimDisk;
use crate::{Target, take};

const DIR: &str = "/kafka";

/// Files of the directory that are read, each with what a stopped Kafka has in it.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("meta.properties", b"version=1\ncluster.id=x\nnode.id=1\n".to_vec()),
        (".kafka_cleanshutdown", b"{}".to_vec()),
        ("log-start-offset-checkpoint", b"0\n1\ntopic 0 1\n".to_vec()),
        ("recovery-point-offset-checkpoint", b"0\n1\ntopic 0 3\n".to_vec()),
        ("replication-offset-checkpoint", b"0\n1\ntopic 0 3\n".to_vec()),
        ("topic-0/partition.metadata", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABA".to_vec()),
        ("topic-0/leader-epoch-checkpoint", b"0\n1\n0 0\n".to_vec()),
        ("topic-0/00000000000000000000.log", record::batches().swap_remove(0)),
    ]
}

/// The directory, and the records.
pub fn all() -> Vec<Target> {
    let number =
        |(number, (_, content)): (usize, (_, Vec<u8>))| [&[number as u8], &*content].concat();
    let seeds = files().into_iter().enumerate().map(number).collect();
    vec![
        Target::new("moving-in/directory", seeds, directory),
        Target::new("moving-in/metadata", metadata_records(), metadata),
    ]
}

fn put(disk: &SimDisk, name: &str, content: &[u8]) {
    let path = Path::new(DIR).join(name);
    disk.create_dir_all(path.parent().expect("below the directory")).expect("the disk works");
    let file = disk.open(&path, Open::CreateOrWrite).expect("the disk works");
    file.set_len(0).expect("the disk works");
    file.write_all_at(content, 0).expect("the disk works");
}

/// One file has other content. Whatever is taken over is sound: batch follows on batch.
fn directory(mut bytes: &[u8]) {
    let [choice] = take(&mut bytes);
    let disk = SimDisk::default();
    let files = files();
    for (name, content) in &files {
        put(&disk, name, content);
    }
    let (name, _) = files[usize::from(choice & 0x7f) % files.len()];
    let mut content = bytes.to_vec();
    if choice & 0x80 != 0 {
        record::mend(&mut content);
    }
    put(&disk, name, &content);
    let dir = match KafkaDir::read(&disk, Path::new(DIR)) {
        Ok(dir) => dir,
        Err(error) => return note(&std::mem::discriminant(&error)),
    };
    for partition in &dir.partitions {
        let (id, to) = (TopicId(Uuid([4; 16])), Path::new("/ours/topic-0"));
        match take_over(&disk, partition, id, to, Take::Copy, &mut |_| {}) {
            Err(error) => note(&std::mem::discriminant(&error)),
            Ok(taken) => {
                note(&("taken", taken.size_bytes.checked_ilog2(), taken.epochs.len().min(3)));
                assert!(partition.segments.first().is_none_or(|first| first.base <= taken.end));
            }
        }
    }
}

fn metadata_records() -> Vec<Vec<u8>> {
    let topic = [&[1, 2, 0, 2, b't'][..], &[7; 16], &[0]].concat();
    let mut partition = [&[1, 3, 1, 0, 0, 0, 5][..], &[7; 16]].concat();
    partition.extend([2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2]);
    partition.extend([&[2][..], &[8; 16], &[0]].concat());
    let removed = [&[1, 9, 0][..], &[7; 16], &[0]].concat();
    let config = vec![1, 4, 0, 2, 2, b't', 2, b'k', 2, b'v', 0];
    vec![topic, partition, removed, config, vec![1, 15, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]]
}

fn metadata(bytes: &[u8]) {
    match MetadataRecord::decode(bytes) {
        Err(error) => note(&error),
        Ok(record) => note(&std::mem::discriminant(&record)),
    }
}
