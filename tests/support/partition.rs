//! One partition on an [`SimDisk`] with what the tests need around it: a journal that is only a
//! list in memory, and the truth about every record.

#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use odradek::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::journal::{PartitionState, Redo, SmallState};
use odradek::log::{Hole, Log, LogDir, LogError, OpenParameters, ReadError, RecoveryReport};
use odradek::record::{Batch, BatchBuilder, Compression, Records, decompress};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;

use super::sim_disk::{Cut, Rng, SimDisk};

/// A source of numbers, so that a seed replays everything.
pub struct Random(Rng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(Rng(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    pub fn is_one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What happens to disks.
pub trait Fate {
    /// The disk that is found after the process was killed: nothing that was written is lost.
    fn after_kill(&self) -> SimDisk;
    /// The disk that is found after a power cut.
    fn after_power_cut(&self, random: &mut Random) -> SimDisk;
    /// All files.
    fn paths(&self) -> Vec<PathBuf>;
    /// Length of a file.
    fn len_of(&self, path: &Path) -> usize;
    /// Changes one byte of a file, on stable storage too.
    fn flip(&self, path: &Path, at: usize, bits: u8);
}

impl Fate for SimDisk {
    fn after_kill(&self) -> SimDisk {
        self.power_cut(Cut::KeepAll)
    }

    fn after_power_cut(&self, random: &mut Random) -> SimDisk {
        if random.is_one_in(4) {
            self.power_cut(Cut::KeepNothing)
        } else {
            self.power_cut(Cut::KeepSome(random.next()))
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.files().into_keys().collect()
    }

    fn len_of(&self, path: &Path) -> usize {
        self.files().get(path).map_or(0, Vec::len)
    }

    fn flip(&self, path: &Path, at: usize, bits: u8) {
        self.damage(path, |bytes| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        });
    }
}

pub const WALL: i64 = 1_800_000_000_000;

pub fn topic_partition() -> TopicPartition {
    TopicPartition { topic_id: TopicId(Uuid([5; 16])), partition: Partition(0) }
}

pub fn name() -> TopicName {
    TopicName::new("host.vmstat").expect("legal")
}

/// A commit of the journal that is durable.
#[derive(Clone)]
pub struct Committed {
    end: Offset,
    segment: Offset,
    position: u64,
    bytes: Vec<u8>,
}

/// What was promised.
#[derive(Clone, Default)]
pub struct Truth {
    /// Every record that the log took, by offset.
    pub values: BTreeMap<i64, u64>,
    /// Their timestamps.
    pub times: BTreeMap<i64, i64>,
    pub start: i64,
    /// What was acknowledged.
    pub durable: i64,
}

pub struct World {
    pub disk: SimDisk,
    pub dir: Option<LogDir<SimDisk>>,
    pub log: Option<Log<SimDisk>>,
    pub truth: Truth,
    pub config: TopicConfig,
    pub state: PartitionState,
    pub journal: Vec<Committed>,
    pending: Vec<Committed>,
    pub ms: u64,
    next_value: u64,
    epoch: i32,
    is_forgotten: bool,
    /// Whether an expiry gets to the point where producers are durable; it is another thread's work.
    pub saves_producers: bool,
}

impl World {
    pub fn new(config: TopicConfig) -> World {
        let disk = SimDisk::default();
        let mut world = World {
            disk,
            dir: None,
            log: None,
            truth: Truth::default(),
            config,
            state: PartitionState::default(),
            journal: Vec::new(),
            pending: Vec::new(),
            ms: 1000,
            next_value: 0,
            epoch: 0,
            is_forgotten: false,
            saves_producers: true,
        };
        let parameters = world.parameters();
        let dir = LogDir::claim(world.disk.clone(), Path::new("/data"), &parameters);
        let dir = dir.expect("an empty disk");
        let log = dir.create(&name(), topic_partition(), world.config.clone(), world.now());
        world.log = Some(log.expect("an empty disk"));
        world.dir = Some(dir);
        world.begin_epoch();
        world
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp(WALL + self.ms as i64);
        Now { boot: Boot(self.ms * 1000), wall, wall_trusted: true }
    }

    fn parameters(&self) -> OpenParameters {
        OpenParameters {
            node_id: NodeId(1),
            cluster_id: None,
            random: [9; 32],
            now: self.now(),
            config: self.config.clone(),
        }
    }

    pub fn log(&mut self) -> &mut Log<SimDisk> {
        self.log.as_mut().expect("the log is open")
    }

    /// The journal commits the partition's end.
    pub fn forget(&mut self) {
        self.is_forgotten = true;
    }

    pub fn begin_epoch(&mut self) {
        self.epoch += 1;
        let epoch = LeaderEpoch(self.epoch);
        let state = self.log().begin_epoch(epoch);
        self.persist(state);
    }

    /// The journal commits a small state.
    pub fn persist(&mut self, state: SmallState) {
        match state {
            SmallState::LogStart(start) => {
                self.state.log_start = start;
                self.log().mark_start_durable(start);
            }
            SmallState::EpochStart { epoch, offset } => self.state.epochs.push((epoch, offset)),
            SmallState::Truncated { .. } | SmallState::HighWatermark(_) => {
                unreachable!("nobody follows here")
            }
            SmallState::Forget => unreachable!("the log never forgets itself"),
        }
    }

    /// Appends a batch of `count` records; their values are remembered.
    pub fn append(&mut self, count: usize, padding: usize) -> Result<(), LogError> {
        self.append_by((-1, -1, -1), count, padding)
    }

    /// The same of a producer: its id and epoch, and the sequence of the first record.
    pub fn append_by(
        &mut self,
        (id, epoch, sequence): (i64, i16, i32),
        count: usize,
        padding: usize,
    ) -> Result<(), LogError> {
        self.ms += 7;
        let mut builder = BatchBuilder::new();
        builder.set_producer(id, epoch, sequence);
        let mut times = Vec::new();
        for number in 0..count {
            let mut value = (self.next_value + number as u64).to_be_bytes().to_vec();
            value.resize(8 + padding, b'.');
            // Clients' clocks differ: a value decides by how much.
            let jitter = (self.next_value + number as u64).wrapping_mul(0x9e37_79b9) >> 8 & 511;
            let time = Timestamp(WALL + self.ms as i64 + jitter as i64);
            times.push(time.0);
            builder.push(time, None, Some(&value), &[]);
        }
        let mut batch = builder.finish(Compression::None);
        let now = self.now();
        let appended = self.log().append(now, &mut batch)?;
        for offset in appended.base_offset.0..appended.end_offset.0 {
            self.truth.values.insert(offset, self.next_value);
            let number = (offset - appended.base_offset.0) as usize;
            self.truth.times.insert(offset, times[number]);
            self.next_value += 1;
        }
        self.pending.push(Committed {
            end: appended.end_offset,
            segment: appended.segment.base_offset,
            position: appended.position,
            bytes: batch,
        });
        Ok(())
    }

    /// The journal commits what was appended: from now on it is acknowledged.
    pub fn commit(&mut self) {
        self.journal.append(&mut self.pending);
        let end = self.log().end_offset();
        self.log().mark_durable(end);
        self.truth.durable = end.0;
    }

    /// Everything so far is synced, and the recovery point moves to the end.
    pub fn checkpoint(&mut self) -> std::io::Result<()> {
        self.commit();
        let dir = self.log().dir().to_path_buf();
        for path in self.disk.paths() {
            if path.starts_with(&dir) && path.extension().is_some_and(|suffix| suffix == "log") {
                self.disk.open(&path, Open::Write)?.sync_data()?;
            }
        }
        self.disk.sync_dir(&dir)?;
        if let Some(last) = self.journal.last() {
            self.state.recovery_segment = last.segment;
            self.state.recovery_position = last.position + last.bytes.len() as u64;
            self.state.recovery_offset = last.end;
        }
        self.journal.clear();
        Ok(())
    }

    /// Raises the start by retention or by request, and removes what may go.
    pub fn expire(&mut self) -> Result<(), LogError> {
        let now = self.now();
        let limit = Offset(self.truth.durable);
        if let Some(state) = self.log().expire(now, limit)? {
            self.persist(state);
        }
        self.truth.start = self.log().start_offset().0;
        if let Some(note) = self.log().note_producers(now).filter(|_| self.saves_producers) {
            let at = note.save().map_err(LogError::Io)?;
            self.log().mark_producers_durable(at);
        }
        self.log().delete_expired(now)
    }

    /// Opens what `disk` holds. The truth loses what was not promised and is not there.
    pub fn open(&mut self, disk: SimDisk) -> RecoveryReport {
        self.log = None;
        self.dir = None;
        self.pending.clear();
        self.disk = disk;
        let (dir, mut logs, report) =
            open(&self.disk, &self.parameters(), &self.state, &self.journal, false)
                .expect("the disk works");
        assert_eq!(logs.len(), 1, "the partition is there");
        self.log = logs.pop();
        self.dir = Some(dir);
        let end = self.log().end_offset().0;
        self.truth.values.retain(|&offset, _| offset < end);
        self.truth.times.retain(|&offset, _| offset < end);
        for log in &report.partitions {
            for state in &log.small_states {
                self.persist(*state);
            }
        }
        self.begin_epoch();
        report
    }

    /// As `open`, of a disk that is thrown away; the world stays as it is.
    pub fn look(&self, disk: &SimDisk) -> (Vec<Log<SimDisk>>, RecoveryReport) {
        self.try_look(disk).expect("the disk works")
    }

    /// As `look`; `None` when the disk stopped.
    pub fn try_look(&self, disk: &SimDisk) -> Option<(Vec<Log<SimDisk>>, RecoveryReport)> {
        let opened = open(disk, &self.parameters(), &self.state, &self.journal, self.is_forgotten);
        opened.map(|(_, logs, report)| (logs, report))
    }

    /// As `look`, the journal naming `mark` as the largest end it proved; the ring is empty.
    pub fn look_with_mark(
        &self,
        disk: &SimDisk,
        mark: Option<Offset>,
    ) -> (Vec<Log<SimDisk>>, RecoveryReport) {
        self.try_look_with_mark(disk, mark).expect("the disk works")
    }

    /// As `look_with_mark`; `None` when the disk stopped.
    pub fn try_look_with_mark(
        &self,
        disk: &SimDisk,
        mark: Option<Offset>,
    ) -> Option<(Vec<Log<SimDisk>>, RecoveryReport)> {
        let parameters = self.parameters();
        let mut dir = LogDir::claim(disk.clone(), Path::new("/data"), &parameters).ok()?;
        let mut redo = dir.redo(BTreeMap::from([(topic_partition(), self.state.clone())]));
        if let Some(mark) = mark {
            redo.note_mark(topic_partition(), mark);
        }
        dir.recover(&parameters, true).ok()
    }

    pub fn close(&mut self) {
        self.commit();
        let now = self.now();
        let (dir, log) = (self.dir.take().expect("open"), self.log.take().expect("open"));
        dir.close(vec![log], now).expect("the disk works");
        if let Some(last) = self.journal.last() {
            self.state.recovery_segment = last.segment;
            self.state.recovery_position = last.position + last.bytes.len() as u64;
            self.state.recovery_offset = last.end;
        }
        self.journal.clear();
    }

    /// Reads the whole log and compares it with the truth.
    pub fn check(&mut self) {
        let log = self.log.as_ref().expect("the log is open");
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        assert_eq!(start, self.truth.start, "start");
        assert!(self.truth.durable <= end, "end {end} below {}", self.truth.durable);
        let found = read_all(log, 1000).expect("nothing is damaged");
        let want: Vec<_> = self.truth.values.range(start..).map(|(&o, &v)| (o, v)).collect();
        assert_eq!(found, want);
    }
}

/// Opens the log dir and redoes the journal; `None` when the disk stopped.
fn open(
    disk: &SimDisk,
    parameters: &OpenParameters,
    state: &PartitionState,
    journal: &[Committed],
    is_forgotten: bool,
) -> Option<(LogDir<SimDisk>, Vec<Log<SimDisk>>, RecoveryReport)> {
    let mut dir = LogDir::claim(disk.clone(), Path::new("/data"), parameters).ok()?;
    let states = BTreeMap::from([(topic_partition(), state.clone())]);
    let mut redo = dir.redo(states);
    for entry in journal {
        redo.append(topic_partition(), entry.end, entry.segment, entry.position, &entry.bytes)
            .ok()?;
    }
    if is_forgotten {
        redo.state(topic_partition(), SmallState::Forget);
    }
    let (logs, report) = dir.recover(parameters, true).ok()?;
    Some((dir, logs, report))
}

/// A client's view: every record from the start to the end, `None` at the first damage. Batches
/// are verified as a client does it.
pub fn read_all(log: &Log<SimDisk>, max_bytes: u64) -> Result<Vec<(i64, u64)>, Damaged> {
    let mut found = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let (records, next) = read_at(log, from, max_bytes, log.end_offset())?;
        found.extend(records.into_iter().filter(|record| from.0 <= record.0));
        if from == next {
            let is_lost = |hole: &Hole| hole.from <= from && log.end_offset() <= hole.to;
            assert!(log.holes().iter().any(is_lost), "a read makes progress at {from}");
            break;
        }
        from = next;
    }
    Ok(found)
}

/// A read met damage and said so.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged;

/// One read, decoded: the records of all its batches, and where to read on.
pub fn read_at(
    log: &Log<SimDisk>,
    from: Offset,
    max_bytes: u64,
    limit: Offset,
) -> Result<(Vec<(i64, u64)>, Offset), Damaged> {
    let mut tries = 0;
    let slice = loop {
        tries += 1;
        assert!(tries < 1000, "a read ends");
        match log.read(from, max_bytes, limit, true) {
            Ok(slice) => break slice,
            Err(ReadError::Cold { .. }) => {}
            Err(ReadError::Damaged { .. }) => return Err(Damaged),
            Err(error) => panic!("{error}"),
        }
    };
    let mut bytes = vec![0; slice.bytes as usize];
    slice.file.read_exact_at(&mut bytes, slice.position).expect("the slice is in the file");
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    let mut end = from;
    while !rest.is_empty() {
        let (batch, after) = Batch::split_first(rest).expect("whole batches");
        if !batch.crc_is_valid() {
            return Err(Damaged);
        }
        let section = decompress(&batch, 1 << 20).expect("uncompressed");
        for record in Records::new(batch.header(), &section) {
            let record = record.expect("the checksum was right");
            let value = record.value.expect("a value")[..8].try_into().expect("8 bytes");
            records.push((record.offset.0, u64::from_be_bytes(value)));
        }
        end = batch.header().next_offset();
        rest = after;
    }
    assert_eq!(end, slice.end_offset);
    Ok((records, end))
}

/// Calls until nothing is cold any more.
pub fn warm<T, F>(mut ask: impl FnMut() -> Result<T, ReadError<F>>) -> T {
    for _ in 0..1000 {
        match ask() {
            Ok(found) => return found,
            Err(ReadError::Cold { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the lookup never ends");
}

/// A configuration that rolls and indexes often.
pub fn small_config() -> TopicConfig {
    TopicConfig {
        segment_bytes: 6000,
        index_interval_bytes: 300,
        retention_bytes: 30_000,
        file_delete_delay_ms: 100,
        ..TopicConfig::default()
    }
}

pub fn is_cache(path: &Path) -> bool {
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or("");
    matches!(suffix, "index" | "timeindex" | "summary" | "snapshot")
        || path.ends_with("leader-epoch-checkpoint")
        || path.to_string_lossy().contains("offset-checkpoint")
}

pub fn random_batch(world: &mut World, random: &mut Random) -> Result<(), LogError> {
    let count = 1 + random.below(4) as usize;
    let padding = if random.is_one_in(10) { 1200 } else { random.below(100) as usize };
    world.append(count, padding)
}
