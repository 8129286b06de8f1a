//! A compacted partition on a [`SimDisk`] with the real journal, whose ring is small, and the truth
//! about every record that it ever took.

#![allow(dead_code, missing_docs, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;

use odradek::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use odradek::journal::disk::DiskFile;
use odradek::journal::{Entry, Journal};
use odradek::log::{
    CleanLimits, CleanTurn, Log, LogDir, LogReport, OpenParameters, ReadError, RecoveryReport,
    Round, owed_entries,
};
use odradek::record::{Batch, BatchBuilder, Compression, Records, decompress};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::{CleanupPolicy, TopicConfig};

use super::booted::{Booted, boot};
use super::sim_disk::{Rng, SimDisk, SimFile};

pub const WALL: i64 = 1_800_000_000_000;

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Option<Vec<u8>>,
    /// `None`: a tombstone.
    pub value: Option<u64>,
    pub time: i64,
}

/// What was promised.
#[derive(Clone, Default)]
pub struct Truth {
    /// Every record that the log took, by offset.
    pub rows: BTreeMap<i64, Row>,
    /// What was acknowledged.
    pub durable: i64,
    /// The log's start; after a stop it may be an earlier one.
    pub start: i64,
}

pub struct Keyed {
    pub disk: SimDisk,
    dir: Option<LogDir<SimDisk>>,
    journal: Option<Journal<SimDisk>>,
    log: Option<Log<SimDisk>>,
    pub truth: Truth,
    pub config: TopicConfig,
    pending: Vec<Entry<SimFile>>,
    pub ms: u64,
    pub next_value: u64,
    pub map_bytes: u64,
    /// Who writes, and the sequence of the next batch.
    pub producer: Option<(i64, i32)>,
    pub is_trusted: bool,
    pub codecs: Vec<Compression>,
}

pub fn topic_partition() -> TopicPartition {
    TopicPartition { topic_id: TopicId(Uuid([6; 16])), partition: Partition(0) }
}

pub fn name() -> TopicName {
    TopicName::new("device.state").expect("legal")
}

/// Compacts often, in small segments.
pub fn config() -> TopicConfig {
    let mut config = TopicConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        segment_bytes: 3000,
        index_interval_bytes: 200,
        delete_retention_ms: 500,
        file_delete_delay_ms: 0,
        ..TopicConfig::default()
    };
    config.set("min.cleanable.dirty.ratio", "0").expect("legal");
    config
}

const RING_BYTES: u64 = 64 << 10;

impl Keyed {
    pub fn new(config: TopicConfig) -> Keyed {
        let mut world = Keyed {
            disk: SimDisk::new(),
            dir: None,
            journal: None,
            log: None,
            truth: Truth::default(),
            config,
            pending: Vec::new(),
            ms: 1000,
            next_value: 0,
            map_bytes: 1 << 20,
            producer: None,
            is_trusted: true,
            codecs: vec![Compression::None],
        };
        let disk = world.disk.clone();
        world.try_open(&disk).expect("an empty disk");
        world
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp(WALL + self.ms as i64);
        Now { boot: Boot(self.ms * 1000), wall, wall_trusted: self.is_trusted }
    }

    pub fn log(&mut self) -> &mut Log<SimDisk> {
        self.log.as_mut().expect("the log is open")
    }

    /// Opens what is there; `None` when the disk stops.
    pub fn try_open(&mut self, disk: &SimDisk) -> Option<RecoveryReport> {
        (self.log, self.journal, self.dir) = (None, None, None);
        self.pending.clear();
        self.disk = disk.clone();
        let parameters = OpenParameters {
            node_id: NodeId(1),
            cluster_id: None,
            random: [9; 32],
            now: self.now(),
            config: self.config.clone(),
        };
        let path = Path::new("/data");
        let Booted { dir, journal, damage, mut logs, report, .. } =
            boot(disk, path, RING_BYTES, 77, &parameters)?;
        assert_eq!(damage, None);
        assert!(report.partitions.iter().all(LogReport::is_sound), "{report:?}");
        let mut entries = owed_entries(&logs, &report.partitions).ok()?;
        let mut log = match logs.pop() {
            Some(log) => log,
            None => {
                dir.create(&name(), topic_partition(), self.config.clone(), parameters.now).ok()?
            }
        };
        let topic_partition = topic_partition();
        let epoch = LeaderEpoch(log.leader_epoch().0 + 1);
        entries.push(Entry::State { topic_partition, state: log.begin_epoch(epoch) });
        self.truth.rows.retain(|&offset, _| offset < log.end_offset().0);
        (self.dir, self.journal, self.log) = (Some(dir), Some(journal), Some(log));
        self.write_commit(&entries)?;
        Some(report)
    }

    fn write_commit(&mut self, entries: &[Entry<SimFile>]) -> Option<()> {
        let journal = self.journal.as_mut().expect("the journal is open");
        if !journal.has_room(entries) {
            let done = journal.checkpoint_due()?.run().ok()?;
            journal.checkpoint_done(done).ok()?;
        }
        journal.commit(entries).ok().map(|_| ())
    }

    /// Appends a batch; `None` when the disk stops.
    pub fn append(
        &mut self,
        rows: &[(Option<&[u8]>, bool, usize)],
        codec: Compression,
    ) -> Option<()> {
        self.ms += 3;
        let mut builder = BatchBuilder::new();
        let mut written = Vec::new();
        for &(key, has_value, padding) in rows {
            let mut value = self.next_value.to_be_bytes().to_vec();
            value.resize(8 + padding, b'.');
            let time = WALL + self.ms as i64 - (self.next_value % 7) as i64;
            builder.push(Timestamp(time), key, has_value.then_some(&value), &[]);
            let value = has_value.then_some(self.next_value);
            written.push(Row { key: key.map(<[u8]>::to_vec), value, time });
            self.next_value += 1;
        }
        if let Some((producer_id, sequence)) = self.producer {
            builder.set_producer(producer_id, 0, sequence);
        }
        let mut batch = builder.finish(codec);
        let now = self.now();
        let appended = self.log().append(now, &mut batch).ok()?;
        for (row, offset) in written.into_iter().zip(appended.base_offset.0..) {
            self.truth.rows.insert(offset, row);
        }
        self.pending.push(appended.into_entry(topic_partition(), batch.into()));
        Some(())
    }

    /// One record in a batch of its own, acknowledged.
    pub fn put(&mut self, key: &str, has_value: bool) -> Option<()> {
        self.append(&[(Some(key.as_bytes()), has_value, 20)], Compression::None)?;
        self.commit()
    }

    /// Seals what there is, so that it can be cleaned.
    pub fn roll(&mut self) -> Option<()> {
        let now = self.now();
        self.log().roll(now.boot).ok()
    }

    /// What is read of a key: offset and value.
    pub fn of(&self, key: &str) -> Vec<(i64, Option<u64>)> {
        let is_of = |row: &Row| row.key.as_deref() == Some(key.as_bytes());
        let found = self.values().into_iter().filter(|(_, row)| is_of(row));
        found.map(|(offset, row)| (offset, row.value)).collect()
    }

    /// A batch of a few records whose keys come again and again.
    pub fn random_batch(&mut self, rng: &mut Rng, key_count: u64) -> Option<()> {
        let mut rows = Vec::new();
        for _ in 0..=rng.below(4) {
            let key = format!("key-{}", rng.below(key_count));
            rows.push((key, rng.below(5) != 0, rng.below(60) as usize));
        }
        let rows: Vec<_> =
            rows.iter().map(|(key, has, pad)| (Some(key.as_bytes()), *has, *pad)).collect();
        let codec = self.codecs[rng.below(self.codecs.len() as u64) as usize];
        self.append(&rows, codec)
    }

    /// The journal commits what was appended: from now on it is acknowledged.
    pub fn commit(&mut self) -> Option<()> {
        let entries = std::mem::take(&mut self.pending);
        self.write_commit(&entries)?;
        let end = self.log().end_offset();
        self.log().mark_durable(end);
        self.truth.durable = end.0;
        Some(())
    }

    /// Retention, and files that may go.
    pub fn expire(&mut self) -> Option<()> {
        let (now, limit) = (self.now(), Offset(self.truth.durable));
        if let Some(state) = self.log().expire(now, limit).ok()? {
            self.persist(state)?;
        }
        self.log().delete_expired(now).ok()
    }

    pub fn persist(&mut self, state: odradek::journal::SmallState) -> Option<()> {
        let start = self.log().start_offset();
        // From here on either start may be found.
        self.truth.start = start.0;
        self.write_commit(&[Entry::State { topic_partition: topic_partition(), state }])?;
        self.log().mark_start_durable(start);
        Some(())
    }

    /// A round, if one is due.
    pub fn begin_round(&mut self) -> Option<Round<SimDisk>> {
        let now = self.now();
        let limits = CleanLimits { map_bytes: self.map_bytes, memory_bytes: 4 << 20 };
        let log = self.log();
        let filth = log.filth(now, log.end_offset())?;
        log.is_filthy(&filth).then(|| log.begin_clean(&filth, &limits))
    }

    /// One step of a round; `false` when it has ended.
    pub fn step(&mut self, round: &mut Round<SimDisk>) -> bool {
        let now = self.now();
        match round.turn() {
            CleanTurn::Work => round.work(now, 500),
            CleanTurn::Swap => {
                let is_done = self.log().swap(now, round);
                round.swapped(is_done);
            }
            CleanTurn::Drop => {
                let is_done = self.log().drop_replaced();
                round.dropped(is_done);
            }
            CleanTurn::End => {
                self.log().end_clean(round, false);
                return false;
            }
        }
        true
    }

    /// Cleans until nothing is dirty. `None` when a round fails.
    pub fn clean(&mut self) -> Option<()> {
        while let Some(mut round) = self.begin_round() {
            while self.step(&mut round) {}
            if round.outcome().is_err() {
                return None;
            }
        }
        Some(())
    }

    pub fn close(&mut self) {
        self.commit().expect("the disk works");
        let now = self.now();
        self.journal.take().expect("open").close().expect("the disk works");
        let (dir, log) = (self.dir.take().expect("open"), self.log.take().expect("open"));
        dir.close(vec![log], now).expect("the disk works");
    }

    /// Whatever was cleaned and wherever it was stopped: what is read is what was written, and each
    /// key's last record is there.
    pub fn check(&self) {
        let log = self.log.as_ref().expect("the log is open");
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        assert!(start <= self.truth.start, "start {start}, at most {}", self.truth.start);
        assert!(self.truth.durable <= end, "end {end}, at least {}", self.truth.durable);
        let found = read_all(log, log.start_offset());
        for (offset, row) in &found {
            assert_eq!(self.truth.rows.get(offset), Some(row), "offset {offset}");
        }
        let mut last = BTreeMap::new();
        for (&offset, row) in self.truth.rows.range(start..end) {
            if let Some(key) = &row.key {
                last.insert(key, (offset, row));
            }
        }
        for (key, (offset, row)) in last {
            let is_there = found.contains_key(&offset);
            let key = String::from_utf8_lossy(key);
            assert!(is_there || row.value.is_none(), "{key} of offset {offset} is lost");
        }
        // A reader that begins in the middle sees the same.
        let middle = Offset(start + (end - start) / 2);
        let rest: BTreeMap<_, _> = found.range(middle.0..).map(|(&o, r)| (o, r.clone())).collect();
        assert_eq!(read_all(log, middle), rest);
    }

    /// Of each key there is one record before the offset up to which the log was cleaned, beside
    /// those that a later record of the same round's reach hides.
    pub fn check_is_clean(&self) {
        let log = self.log.as_ref().expect("the log is open");
        let cleaned = log.cleaned_offset().0;
        let mut seen = BTreeMap::new();
        for (offset, row) in read_all(log, log.start_offset()) {
            if offset < cleaned {
                let before = seen.insert(row.key.clone(), offset);
                assert_eq!(before, None, "{:?} at {offset}", row.key);
            }
        }
    }

    pub fn values(&self) -> BTreeMap<i64, Row> {
        let log = self.log.as_ref().expect("the log is open");
        read_all(log, log.start_offset())
    }
}

/// A client's view: every record from an offset on. Batches follow one another without a gap.
pub fn read_all(log: &Log<SimDisk>, from: Offset) -> BTreeMap<i64, Row> {
    let mut found = BTreeMap::new();
    let mut next = from;
    while next < log.end_offset() {
        let slice = loop {
            match log.read(next, 1000, log.end_offset(), true) {
                Ok(slice) => break slice,
                Err(ReadError::Cold { .. }) => {}
                Err(error) => panic!("at {next}: {error}"),
            }
        };
        let mut bytes = vec![0; slice.bytes as usize];
        slice.file.read_exact_at(&mut bytes, slice.position).expect("the slice is in the file");
        let mut rest = &bytes[..];
        assert!(!rest.is_empty(), "a read makes progress at {next}");
        while !rest.is_empty() {
            let (batch, after) = Batch::split_first(rest).expect("whole batches");
            assert!(batch.crc_is_valid());
            let header = batch.header();
            assert!(header.base_offset <= next && next <= header.last_offset());
            let section = decompress(&batch, 1 << 20).expect("sound");
            let mut records = Records::new(header, &section);
            for record in records.by_ref() {
                let record = record.expect("the checksum was right");
                if from <= record.offset {
                    let value = record.value.map(|v| v[..8].try_into().expect("8 bytes"));
                    let row = Row {
                        key: record.key.map(<[u8]>::to_vec),
                        value: value.map(u64::from_be_bytes),
                        time: record.timestamp.0,
                    };
                    found.insert(record.offset.0, row);
                }
            }
            assert_eq!(records.remaining_bytes(), 0);
            next = header.next_offset();
            rest = after;
        }
        assert_eq!(next, slice.end_offset);
    }
    found
}
