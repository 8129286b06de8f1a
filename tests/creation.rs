//! Making many partitions at once: one sync for all of them, and a stop anywhere in between leaves
//! either the whole topic or nothing of it.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use booted::Booted;
use bytes::BytesMut;
use odradek::broker::back::Flushed;
use odradek::broker::control::{
    Control, ControlOutput, ControlStart, METADATA, METADATA_TOPIC, metadata_topic_config,
};
use odradek::broker::front::ControlAsk;
use odradek::broker::mail::{RequestId, ShardId};
use odradek::controller::ControllerConfig;
use odradek::ids::{NodeId, TopicName, Uuid};
use odradek::journal::disk::Disk;
use odradek::journal::{Entry, Journal};
use odradek::log::{OpenParameters, RecoveryReport};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::create_topics::{CreateTopic, CreateTopicsRequest, CreateTopicsResponse};
use odradek::wire::{ApiKey, ErrorCode, frame};
use sim_disk::{Cut, SimDisk, SimFile};

const DIR: &str = "/data";

fn now() -> Now {
    Now { boot: Boot(1_000_000), wall: Timestamp(1_790_000_000_000), wall_trusted: true }
}

/// A node's storage and its control machine, without threads.
struct Node {
    disk: SimDisk,
    journal: Journal<SimDisk>,
    control: Control<SimDisk>,
    report: RecoveryReport,
    /// Partitions of the metadata that are on disk, and those that are not.
    found_count: usize,
    missing_count: usize,
}

impl Node {
    /// What `runtime::boot` does, as far as it concerns directories.
    fn boot(disk: SimDisk) -> Node {
        let path = Path::new(DIR);
        let parameters = OpenParameters {
            node_id: NodeId(1),
            cluster_id: None,
            random: [7; 32],
            now: now(),
            config: TopicConfig::default(),
        };
        let booted = booted::boot(&disk, path, 16 << 20, 3, &parameters).expect("boots");
        let Booted { dir, mut journal, logs, report, .. } = booted;
        let mut found: BTreeMap<_, _> =
            logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
        let name = TopicName::new(METADATA_TOPIC).expect("legal");
        let log = found.remove(&METADATA).unwrap_or_else(|| {
            dir.create(&name, METADATA, metadata_topic_config(), now()).expect("creates")
        });
        let start = ControlStart {
            controller: ControllerConfig::new(NodeId(1)),
            log,
            shard_count: 1,
            seed: 11,
        };
        let (control, entries) = Control::start(now(), start, Uuid([9; 16])).expect("starts");
        journal.commit(&entries).expect("commits");
        let (mut found_count, mut missing_count) = (0, 0);
        for (topic_id, topic) in control.controller().image().topics() {
            for number in 0..topic.partitions.len() as i32 {
                let partition = odradek::ids::Partition(number);
                let is_found =
                    found.remove(&odradek::ids::TopicPartition { topic_id, partition }).is_some();
                found_count += usize::from(is_found);
                missing_count += usize::from(!is_found);
            }
        }
        for stray in found.into_values() {
            let kept = dir.remove_unfinished(stray).expect("the disk works");
            assert!(kept.is_none(), "nothing was ever written to it");
        }
        Node { disk, journal, control, report, found_count, missing_count }
    }

    /// Creates a topic, as the control thread, the flusher and one shard do together. `None` when
    /// the disk failed on the way.
    fn create(&mut self, name: &str, partition_count: i32) -> Option<ErrorCode> {
        self.ask_for(name, partition_count);
        while let Some(output) = self.control.poll() {
            match output {
                ControlOutput::Prepare(mut making) => {
                    let made = making.run(&self.disk, Path::new(DIR), now());
                    self.control.prepared(now(), making, made);
                }
                ControlOutput::Persist(entry) => {
                    self.commit(&entry)?;
                }
                ControlOutput::Apply(_, apply) => self.control.applied(now(), apply.version),
                ControlOutput::Answer(_, body) => {
                    let response: CreateTopicsResponse<'_> = frame::decode(&body).expect("decodes");
                    return Some(response.topics[0].error);
                }
                ControlOutput::Configure
                | ControlOutput::Inform
                | ControlOutput::Depart
                | ControlOutput::Work(_)
                | ControlOutput::Send(..)
                | ControlOutput::Altered(..) => unreachable!("one node, and nobody configures it"),
                ControlOutput::Remove(log) => {
                    let aside = log.retire().ok()?;
                    self.disk.remove_dir_all(&aside).ok()?;
                }
            }
        }
        None
    }

    fn ask_for(&mut self, name: &str, partition_count: i32) {
        let topics =
            vec![CreateTopic { name, partition_count, replication_factor: -1, configs: vec![] }];
        let request = CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics };
        let request_id = RequestId { shard: ShardId(0), number: 1 };
        let body = BytesMut::from(&frame::encode_body(&request)[..]);
        self.control
            .ask(now(), ControlAsk { request: request_id, api: ApiKey::CreateTopics, body });
    }

    fn commit(&mut self, entry: &Entry<SimFile>) -> Option<()> {
        let Entry::Append { topic_partition, end_offset, .. } = entry else {
            panic!("the control machine persists records only")
        };
        self.journal.commit(std::slice::from_ref(entry)).ok()?;
        let durable_offset = Some(*end_offset);
        let flushed = Flushed { durable_offset, ..Flushed::nothing_of(*topic_partition) };
        self.control.flushed(now(), &flushed);
        Some(())
    }
}

/// Directories of the log dir that bear a topic's name.
fn dirs_of(disk: &SimDisk, topic: &str) -> Vec<PathBuf> {
    let is_of = |path: &PathBuf| path.to_string_lossy().starts_with(topic);
    disk.list(Path::new(DIR)).expect("there").into_iter().filter(is_of).collect()
}

#[test]
fn a_thousand_partitions_cost_one_sync_and_one_commit() {
    let mut node = Node::boot(SimDisk::new());
    let (_, _, before) = node.disk.counts();
    assert_eq!(node.create("fleet", 1000), Some(ErrorCode::NONE));
    let (_, _, after) = node.disk.counts();
    assert_eq!(after - before, 2, "one for all directories, one for the metadata's commit");
    let node = Node::boot(node.disk.power_cut(Cut::KeepNothing));
    assert_eq!((node.found_count, node.missing_count), (1000, 0), "what was answered is there");
}

#[test]
fn a_stop_anywhere_leaves_the_whole_topic_or_nothing_of_it() {
    const PARTITIONS: i32 = 2;
    let fresh = Node::boot(SimDisk::new()).disk;
    let base = || Node::boot(fresh.power_cut(Cut::KeepAll));
    let mut whole = base();
    let begin = whole.disk.operation_count();
    assert_eq!(whole.create("fleet", PARTITIONS), Some(ErrorCode::NONE));
    let steps = whole.disk.operation_count() - begin;
    let (mut whole_count, mut none_count) = (0, 0);
    for step in 0..steps {
        let mut node = base();
        node.disk.fail_after(step);
        let answer = node.create("fleet", PARTITIONS);
        assert_ne!(answer, Some(ErrorCode::NONE), "step {step} failed");
        for cut in [Cut::KeepNothing, Cut::KeepSome(step)] {
            let disk = node.disk.power_cut(cut);
            let mut node = Node::boot(disk);
            let context = format!("step {step} of {steps}, {cut:?}");
            assert_eq!(node.missing_count, 0, "{context}: nothing is named that is not there");
            assert!(node.report.unknown.is_empty(), "{context}: {:?}", node.report.unknown);
            if 0 < node.found_count {
                whole_count += 1;
                assert_eq!(node.found_count, PARTITIONS as usize, "{context}");
            } else {
                none_count += 1;
                let left = dirs_of(&node.disk, "fleet");
                assert!(left.is_empty(), "{context}: {left:?}");
                assert_eq!(node.create("fleet", PARTITIONS), Some(ErrorCode::NONE), "{context}");
            }
            let dirs = dirs_of(&node.disk, "fleet");
            assert_eq!(dirs.len(), PARTITIONS as usize, "{context}: {dirs:?}");
        }
    }
    assert!(0 < whole_count && 0 < none_count, "both ends were met: {whole_count}, {none_count}");
}

/// Whoever makes files waits for the card: not the control thread, which has a site's heartbeats to
/// send.
#[test]
fn the_control_machine_makes_no_file_itself() {
    let mut node = Node::boot(SimDisk::new());
    let before = node.disk.operation_count();
    node.ask_for("t", 3);
    let Some(ControlOutput::Prepare(mut making)) = node.control.poll() else {
        panic!("there are logs to make first")
    };
    assert_eq!(node.disk.operation_count(), before);
    making.run(&node.disk, Path::new(DIR), now()).expect("the disk works");
    assert_eq!(dirs_of(&node.disk, "t").len(), 3);
}

#[test]
fn what_a_failed_request_made_is_taken_away_again() {
    let mut node = Node::boot(SimDisk::new());
    let (writes, ..) = node.disk.counts();
    assert_eq!(node.create("probe", 1), Some(ErrorCode::NONE));
    let per_partition = (node.disk.counts().0 - writes) * 100;
    // Room for some partitions' small files, not for all; deleting needs none.
    node.disk.set_free_bytes(Some(per_partition));
    assert_eq!(node.create("fleet", 50), Some(ErrorCode::KAFKA_STORAGE_ERROR));
    node.disk.set_free_bytes(None);
    let left = dirs_of(&node.disk, "fleet");
    assert!(left.len() <= 1, "at most the one that was being made: {left:?}");
    assert_eq!(node.create("fleet", 50), Some(ErrorCode::NONE), "and that one is in nobody's way");
    assert_eq!(dirs_of(&node.disk, "fleet").len(), 50, "nothing was set aside");
}

#[test]
fn a_directory_that_holds_anything_is_never_taken_for_unfinished() {
    let disk = Node::boot(SimDisk::new()).disk;
    for (dir, file, bytes) in
        [("photos-1", "beach.jpg", 3), ("kept-0", "00000000000000000000.log", 1)]
    {
        let dir = Path::new(DIR).join(dir);
        disk.create_dir_all(&dir).expect("the disk works");
        let how = odradek::journal::disk::Open::CreateOrWrite;
        let file = disk.open(&dir.join(file), how).expect("the disk works");
        odradek::journal::disk::DiskFile::write_all_at(&file, &vec![1; bytes], 0).expect("works");
    }
    let node = Node::boot(disk.power_cut(Cut::KeepAll));
    assert_eq!(node.report.unknown.len(), 2, "{:?}", node.report.unknown);
    assert_eq!(dirs_of(&node.disk, "photos").len() + dirs_of(&node.disk, "kept").len(), 2);
}
