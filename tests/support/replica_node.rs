//! A node with one replica on a simulated disk, over the real log and journal: what the runtime
//! does around [`Replica`], without threads.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;

use bytes::Bytes;
use odradek::ids::{LeaderEpoch, NodeId, Offset, TopicName, TopicPartition};
use odradek::journal::disk::DiskFile;
use odradek::journal::{Entry, Journal, SmallState};
use odradek::log::{Cut, Log, OpenParameters, RecoveryReport, owed_entries};
use odradek::replica::{Input, Output, Replica, ReplicaConfig};
use odradek::time::Now;
use odradek::topic_config::TopicConfig;

use super::booted::{Booted, boot};
use super::sim_disk::{SimDisk, SimFile};

const RING_BYTES: u64 = 32 << 10;

/// What a node wants sent.
pub type Sent = Output<SimDisk>;

/// See the module.
pub struct Node {
    pub id: NodeId,
    pub broker_epoch: i64,
    pub disk: SimDisk,
    pub replica: Replica<SimDisk>,
    journal: Journal<SimDisk>,
    /// What the flusher has not begun with.
    pub queue: Vec<Entry<SimFile>>,
    /// What it is about to make durable.
    pub flushing: Vec<Entry<SimFile>>,
    pub cut: Option<Box<Cut<SimDisk>>>,
}

/// How a node is made.
#[derive(Clone)]
pub struct Setup {
    pub config: ReplicaConfig,
    pub topic: TopicConfig,
    pub name: TopicName,
    pub topic_partition: TopicPartition,
}

impl Node {
    /// Opens what the disk holds, as a boot does.
    pub fn open(now: Now, disk: &SimDisk, setup: &Setup) -> (Node, RecoveryReport) {
        let id = setup.config.node_id;
        let parameters = OpenParameters {
            node_id: id,
            cluster_id: None,
            random: [id.0 as u8; 32],
            now,
            config: setup.topic.clone(),
        };
        let path = Path::new("/data");
        let booted = boot(disk, path, RING_BYTES, 77, &parameters).expect("the disk works");
        let Booted { dir, mut journal, damage, mut logs, report, .. } = booted;
        assert_eq!(damage, None);
        let mut known = owed_entries(&logs, &report.partitions).expect("the disk works");
        let log = logs.pop().unwrap_or_else(|| {
            dir.create(&setup.name, setup.topic_partition, setup.topic.clone(), now)
                .expect("the disk works")
        });
        let topic_partition = setup.topic_partition;
        // The journal knows the partition before a byte is written to it.
        let state = SmallState::LogStart(log.start_offset());
        known.push(Entry::State { topic_partition, state });
        commit(&mut journal, &known);
        let replica = Replica::new(now, log, setup.config.clone());
        let node = Node {
            id,
            broker_epoch: setup.config.broker_epoch,
            disk: disk.clone(),
            replica,
            journal,
            queue: Vec::new(),
            flushing: Vec::new(),
            cut: None,
        };
        (node, report)
    }

    /// Gives an input and takes what comes of it; what is for the disk stays here.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Sent> {
        self.replica.step(now, input);
        let mut sent = Vec::new();
        while let Some(output) = self.replica.poll() {
            match output {
                Output::Persist(entry) => self.queue.push(entry),
                Output::Cut(cut) => self.cut = Some(cut),
                Output::Note(note) => note.save().expect("the disk works"),
                Output::Damaged { segment, .. } => {
                    if let Some(note) = self.replica.log_mut().note_suspect(segment) {
                        note.save().expect("the disk works");
                        sent.push(output);
                    }
                }
                output => sent.push(output),
            }
        }
        sent
    }

    /// The flusher takes what has gathered; whether that is something.
    pub fn begin_flush(&mut self) -> bool {
        self.begin_flush_of(usize::MAX)
    }

    /// As `begin_flush`, of no more than so many entries.
    pub fn begin_flush_of(&mut self, count: usize) -> bool {
        if self.flushing.is_empty() {
            self.flushing = self.queue.drain(..count.min(self.queue.len())).collect();
        }
        !self.flushing.is_empty()
    }

    /// The commit is made; what the replica is to hear of it.
    pub fn end_flush(&mut self) -> Vec<Input> {
        let entries = std::mem::take(&mut self.flushing);
        commit(&mut self.journal, &entries);
        let mut told = Vec::new();
        let (mut durable_end, mut log_start) = (None, None);
        for entry in &entries {
            match entry {
                Entry::Append { end_offset, .. } | Entry::Flush { end_offset, .. } => {
                    durable_end = durable_end.max(Some(*end_offset));
                }
                Entry::State { state: SmallState::LogStart(start), .. } => {
                    log_start = log_start.max(Some(*start));
                }
                Entry::State { state: SmallState::Truncated { .. }, .. } => {
                    told.push(Input::Flushed { durable_end, log_start });
                    told.push(Input::TruncationPersisted);
                    (durable_end, log_start) = (None, None);
                }
                Entry::State { .. } => {}
            }
        }
        told.push(Input::Flushed { durable_end, log_start });
        told
    }

    /// Runs the cut that waits, if there is one.
    pub fn run_cut(&mut self) -> Option<Input> {
        self.cut.take().map(|cut| Input::CutDone(cut.run()))
    }

    pub fn log(&self) -> &Log<SimDisk> {
        self.replica.log()
    }

    /// Every batch from `from` to `to` as it lies in the log: base offset, epoch, bytes.
    pub fn batches(&self, from: Offset, to: Offset) -> Vec<(Offset, LeaderEpoch, Bytes)> {
        let mut found = Vec::new();
        let mut at = from.max(self.log().start_offset());
        while at < to {
            let slice = super::partition::warm(|| self.log().read(at, 1 << 20, to, true));
            if slice.bytes == 0 {
                break;
            }
            let mut bytes = vec![0; slice.bytes as usize];
            slice.file.read_exact_at(&mut bytes, slice.position).expect("it is in the file");
            let bytes = Bytes::from(bytes);
            let mut position = 0;
            while position < bytes.len() {
                let (batch, _) =
                    odradek::record::Batch::split_first(&bytes[position..]).expect("whole batches");
                assert!(batch.crc_is_valid(), "batch at {}", batch.header().base_offset);
                let end = position + batch.bytes().len();
                let header = batch.header();
                found.push((header.base_offset, header.leader_epoch, bytes.slice(position..end)));
                position = end;
            }
            at = slice.end_offset;
        }
        found
    }
}

fn commit(journal: &mut Journal<SimDisk>, entries: &[Entry<SimFile>]) {
    if !journal.has_room(entries) {
        let job = journal.checkpoint_due().expect("the other half is full");
        let done = job.run().expect("the disk works");
        journal.checkpoint_done(done).expect("the disk works");
    }
    journal.commit(entries).expect("the disk works");
}

/// The bytes of a slice, as they go behind a frame.
pub fn bytes_of(slice: Option<odradek::log::Slice<SimFile>>) -> Bytes {
    let Some(slice) = slice else { return Bytes::new() };
    let mut bytes = vec![0; slice.bytes as usize];
    slice.file.read_exact_at(&mut bytes, slice.position).expect("it is in the file");
    bytes.into()
}
