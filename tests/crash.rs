//! The commit journal alone, on a disk that stops at every write, sync and change of a name in
//! turn: what was acknowledged is found again, in order, with its small state, by a recovery that
//! may be stopped itself. `crash_log.rs` does the same to log and journal together.
//!
//! Reliability.md S1, S3, S6; design.md §4.

#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use odradek::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicPartition};
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::journal::{
    Entry, Journal, JournalDamage, JournalError, Opened, PartitionState, Redo, SegmentRef,
    SmallState,
};
use odradek::limits::JOURNAL_BYPASS_BYTES;
use sim_disk::{Cut, Rng, SimDisk, SimFile};

/// Two halves of 128 KiB: the smallest ring there is, and the workload goes round it.
const RING_BYTES: u64 = 256 << 10;
const PARTITION_COUNT: i32 = 4;
/// The one whose acknowledgements do not wait: it is only ever flushed.
const WEAK: i32 = 3;
const SEGMENT_BYTES: u64 = 40 << 10;
const JOURNAL: &str = "/data/commit.journal";

fn tp(number: i32) -> TopicPartition {
    TopicPartition { topic_id: TopicId::METADATA, partition: Partition(number) }
}

fn partition_dir(number: i32) -> PathBuf {
    Path::new("/data").join(format!("p-{number}"))
}

fn segment_path(number: i32, base: i64) -> PathBuf {
    partition_dir(number).join(format!("{base:020}.log"))
}

/// What a partition holds, as far as something was said about it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    segments: BTreeMap<i64, Vec<u8>>,
    end: i64,
    log_start: i64,
    epochs: Vec<(LeaderEpoch, Offset)>,
}

/// A shard's side of a partition.
struct Writer {
    number: i32,
    base: i64,
    file: Option<SimFile>,
    told: Told,
}

impl Writer {
    fn new(number: i32) -> Writer {
        Writer { number, base: 0, file: None, told: Told::default() }
    }

    /// The active segment; a new one has a name that nobody made durable.
    fn segment(&mut self, disk: &SimDisk) -> io::Result<SegmentRef<SimFile>> {
        let written = self.told.segments.get(&self.base).map_or(0, Vec::len);
        if self.file.is_none() || SEGMENT_BYTES < written as u64 {
            self.base = self.told.end;
            let path = segment_path(self.number, self.base);
            self.file = Some(disk.open(&path, Open::CreateOrWrite)?);
            self.told.segments.entry(self.base).or_default();
        }
        Ok(SegmentRef {
            file: self.file.clone().expect("opened above"),
            base_offset: Offset(self.base),
            is_new: true,
            dir: partition_dir(self.number).as_path().into(),
        })
    }

    /// One record into the page cache; answers what makes it durable.
    fn append(&mut self, disk: &SimDisk, bytes: Vec<u8>) -> io::Result<Entry<SimFile>> {
        let segment = self.segment(disk)?;
        let held = self.told.segments.get_mut(&self.base).expect("it is the active one");
        let position = held.len() as u64;
        segment.file.write_all_at(&bytes, position)?;
        held.extend_from_slice(&bytes);
        let topic_partition = tp(self.number);
        let base_offset = Offset(self.told.end);
        self.told.end += 1;
        let end_offset = Offset(self.told.end);
        if self.number == WEAK {
            let position_end = position + bytes.len() as u64;
            return Ok(Entry::Flush { topic_partition, end_offset, segment, position_end });
        }
        let leader_epoch = LeaderEpoch(1);
        let bytes = bytes.into();
        Ok(Entry::Append {
            topic_partition,
            leader_epoch,
            base_offset,
            end_offset,
            segment,
            position,
            is_written: true,
            bytes,
        })
    }

    fn state(&mut self, state: SmallState) -> Entry<SimFile> {
        match state {
            SmallState::LogStart(offset) => self.told.log_start = offset.0,
            SmallState::EpochStart { epoch, offset } => self.told.epochs.push((epoch, offset)),
            SmallState::Truncated { .. } | SmallState::HighWatermark(_) | SmallState::Forget => {
                unreachable!("the workload neither deletes nor cuts")
            }
        }
        Entry::State { topic_partition: tp(self.number), state }
    }
}

/// A log dir at work: what was written, and what of it was acknowledged.
struct World {
    disk: SimDisk,
    journal: Journal<SimDisk>,
    writers: Vec<Writer>,
    acked: Vec<Told>,
    rng: Rng,
}

impl World {
    fn open(disk: &SimDisk, seed: u64) -> Result<World, JournalError> {
        for number in 0..PARTITION_COUNT {
            disk.create_dir_all(&partition_dir(number))?;
        }
        disk.sync_dir(Path::new("/data"))?;
        disk.sync_dir(Path::new("/"))?;
        let opened = Journal::open(disk.clone(), Path::new("/data"), RING_BYTES, 42)?;
        assert_eq!(opened.damage, None);
        Ok(World {
            disk: disk.clone(),
            journal: opened.journal,
            writers: (0..PARTITION_COUNT).map(Writer::new).collect(),
            acked: vec![Told::default(); PARTITION_COUNT as usize],
            rng: Rng(seed),
        })
    }

    fn entries(&mut self, round: u64) -> io::Result<Vec<Entry<SimFile>>> {
        let mut entries = Vec::new();
        for writer in &mut self.writers {
            let rng = &mut self.rng;
            let sizes = [0, 150, 150, 2_000, 14_000];
            let mut size = sizes[rng.below(5) as usize];
            if rng.below(14) == 0 {
                size = JOURNAL_BYPASS_BYTES;
            }
            let fill = (round as u8) ^ ((writer.number as u8) << 6);
            if 0 < size {
                entries.push(writer.append(&self.disk, vec![fill; size])?);
            }
            let offset = Offset(writer.told.end);
            match rng.below(6) {
                0 if writer.told.log_start < offset.0 => {
                    entries.push(writer.state(SmallState::LogStart(offset)));
                }
                1 if writer.told.epochs.last().is_none_or(|(_, start)| *start < offset) => {
                    let epoch = LeaderEpoch(round as i32 + 2);
                    entries.push(writer.state(SmallState::EpochStart { epoch, offset }));
                }
                _ => {}
            }
        }
        Ok(entries)
    }

    fn commit(&mut self, entries: &[Entry<SimFile>]) -> Result<(), JournalError> {
        if !self.journal.has_room(entries) {
            self.checkpoint()?;
        }
        self.journal.commit(entries)?;
        self.acked = self.writers.iter().map(|writer| writer.told.clone()).collect();
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), JournalError> {
        if let Some(job) = self.journal.checkpoint_due() {
            let done = job.run()?;
            self.journal.checkpoint_done(done)?;
        }
        Ok(())
    }

    /// Rounds of commits. A checkpoint runs beside the commits that follow its beginning.
    fn work(&mut self, rounds: std::ops::Range<u64>) -> Result<(), JournalError> {
        let mut running = None;
        for round in rounds {
            let entries = self.entries(round)?;
            if !self.journal.has_room(&entries) {
                if let Some(done) = running.take() {
                    self.journal.checkpoint_done(done)?;
                }
            }
            self.commit(&entries)?;
            if let Some(done) = running.take_if(|_| self.rng.below(3) == 0) {
                self.journal.checkpoint_done(done)?;
            }
            if running.is_none() && self.rng.below(2) == 0 {
                running = self.journal.checkpoint_due().map(|job| job.run()).transpose()?;
            }
            if self.rng.below(4) == 0 {
                self.journal.prewrite_step()?;
            }
        }
        if let Some(done) = running {
            self.journal.checkpoint_done(done)?;
        }
        Ok(())
    }
}

/// Redo as the log does it, and what it was told.
struct Target {
    disk: SimDisk,
    ends: BTreeMap<TopicPartition, Offset>,
}

impl Target {
    fn take(&mut self, topic_partition: TopicPartition, end_offset: Offset) {
        let end = self.ends.entry(topic_partition).or_default();
        assert!(*end <= end_offset, "{topic_partition:?}: {end} before {end_offset}");
        *end = end_offset;
    }
}

impl Redo<SimFile> for Target {
    fn append(
        &mut self,
        topic_partition: TopicPartition,
        end_offset: Offset,
        base_offset: Offset,
        position: u64,
        bytes: &[u8],
    ) -> io::Result<Option<SegmentRef<SimFile>>> {
        self.take(topic_partition, end_offset);
        let number = topic_partition.partition.0;
        let path = segment_path(number, base_offset.0);
        let file = self.disk.open(&path, Open::CreateOrWrite)?;
        file.write_all_at(bytes, position)?;
        let dir = partition_dir(number).as_path().into();
        Ok(Some(SegmentRef { file, base_offset, is_new: true, dir }))
    }

    fn flush(&mut self, topic_partition: TopicPartition, end_offset: Offset, _: Offset, _: u64) {
        self.take(topic_partition, end_offset);
    }

    fn state(&mut self, topic_partition: TopicPartition, state: SmallState) {
        if state == SmallState::Forget {
            self.ends.remove(&topic_partition);
        }
    }
}

/// What a recovery found.
struct Found {
    journal: Journal<SimDisk>,
    damage: Option<JournalDamage>,
    ends: BTreeMap<TopicPartition, Offset>,
}

fn try_recover(disk: &SimDisk) -> Result<Found, JournalError> {
    let opened = Journal::open(disk.clone(), Path::new("/data"), RING_BYTES, 43)?;
    let Opened { mut journal, damage, .. } = opened;
    let mut target = Target { disk: disk.clone(), ends: BTreeMap::new() };
    let report = journal.replay(&mut target)?;
    Ok(Found { journal, damage: damage.or(report.damage), ends: target.ends })
}

/// What of `acked` is not there.
fn missing(disk: &SimDisk, found: &Found, acked: &[Told]) -> Option<String> {
    let files = disk.files();
    for (number, told) in acked.iter().enumerate() {
        let number = number as i32;
        for (base, bytes) in &told.segments {
            let there = files.get(&segment_path(number, *base)).map_or(&[][..], |file| &file[..]);
            if !there.starts_with(bytes) {
                return Some(format!("bytes of segment {base} of partition {number}"));
            }
        }
        let default = PartitionState::default();
        let state = found.journal.states().get(&tp(number)).unwrap_or(&default);
        let end = found.ends.get(&tp(number)).map_or(0, |end| end.0).max(state.recovery_offset.0);
        if end < told.end {
            return Some(format!("end {} of partition {number}: {end}", told.end));
        }
        if state.log_start.0 < told.log_start {
            return Some(format!("first offset of partition {number}: {state:?}, {told:?}"));
        }
        // Epochs that ended before the first offset are not kept.
        let is_live = |(place, _): &(usize, _)| {
            let next = told.epochs.get(place + 1);
            next.is_none_or(|(_, start)| state.log_start < *start)
        };
        for (_, epoch) in told.epochs.iter().enumerate().filter(is_live) {
            if !state.epochs.contains(epoch) {
                return Some(format!("{epoch:?} of partition {number}: {state:?}"));
            }
        }
    }
    None
}

/// Recovers, holds it against what was acknowledged, goes on, and is cut once more.
fn check(disk: &SimDisk, acked: &[Told], context: &str) {
    let found = try_recover(disk).unwrap_or_else(|why| panic!("{context}: {why}"));
    assert_eq!(found.damage, None, "{context}");
    assert_eq!(missing(disk, &found, acked), None, "{context}");
    let Found { mut journal, .. } = found;
    let mut acked = acked.to_vec();
    let mut entries = Vec::new();
    for (number, told) in acked.iter_mut().enumerate() {
        let mut writer = Writer::new(number as i32);
        writer.told = Told { end: 1_000_000, ..told.clone() };
        disk.create_dir_all(&partition_dir(number as i32)).expect("no failure");
        entries.push(writer.append(disk, vec![0xee; 3_000]).expect("no failure"));
        *told = writer.told;
    }
    disk.sync_dir(Path::new("/data")).expect("no failure");
    disk.sync_dir(Path::new("/")).expect("no failure");
    if !journal.has_room(&entries) {
        let done = journal.checkpoint_due().expect("the ring is full").run().expect("no failure");
        journal.checkpoint_done(done).expect("no failure");
    }
    journal.commit(&entries).unwrap_or_else(|why| panic!("{context}: {why}"));
    let again = disk.power_cut(Cut::KeepNothing);
    let found = try_recover(&again).unwrap_or_else(|why| panic!("{context}, again: {why}"));
    assert_eq!(found.damage, None, "{context}, again");
    assert_eq!(missing(&again, &found, &acked), None, "{context}, again");
}

const ROUNDS: u64 = 44;

/// The workload up to the disk's death, or to a clean stop.
fn run(disk: &SimDisk, seed: u64) -> Vec<Told> {
    let Ok(mut world) = World::open(disk, seed) else {
        return vec![Told::default(); PARTITION_COUNT as usize];
    };
    // The disk's death ends the work early: that is the point.
    if world.work(0..ROUNDS).is_ok() {
        let _ = world.journal.close();
    }
    world.acked
}

/// Ends, first offsets and epoch counts.
fn summary(told: &[Told]) -> Vec<(i64, i64, usize)> {
    told.iter().map(|told| (told.end, told.log_start, told.epochs.len())).collect()
}

#[test]
fn cut_at_every_write_and_sync_nothing_acknowledged_is_lost() {
    let whole = SimDisk::new();
    let acked = run(&whole, 5);
    let is_work = |told: &Told| 15 < told.end && 0 < told.log_start && !told.epochs.is_empty();
    assert!(acked.iter().all(is_work), "it does something: {:?}", summary(&acked));
    check(&whole.power_cut(Cut::KeepNothing), &acked, "a clean stop");
    for n in 0..whole.operation_count() {
        let disk = SimDisk::new();
        disk.fail_after(n);
        let acked = run(&disk, 5);
        for cut in [Cut::KeepNothing, Cut::KeepSome(n), Cut::KeepSome(n ^ 0xffff), Cut::KeepAll] {
            check(&disk.power_cut(cut), &acked, &format!("operation {n}, {cut:?}"));
        }
    }
}

#[test]
fn a_recovery_that_is_cut_at_every_step_is_begun_again() {
    for (seed, stop) in [(5, 60), (6, 110), (7, 170)] {
        let disk = SimDisk::new();
        disk.fail_after(stop);
        let acked = run(&disk, seed);
        let cut = disk.power_cut(Cut::KeepSome(seed));
        for n in 0.. {
            let first = cut.power_cut(Cut::KeepAll);
            first.fail_after(n);
            let is_done = try_recover(&first).is_ok();
            let second = first.power_cut(Cut::KeepSome(n));
            check(&second, &acked, &format!("stop {stop}, recovery stopped at {n}"));
            if is_done {
                break;
            }
        }
    }
}

#[test]
fn lost_superblocks_cost_nothing_that_was_acknowledged() {
    for rounds in 1..ROUNDS {
        let disk = SimDisk::new();
        let mut world = World::open(&disk, 5).expect("no failure");
        world.work(0..rounds).expect("no failure");
        let cut = disk.power_cut(Cut::KeepNothing);
        for (slots, lost) in [("A", 0..4096), ("B", 4096..8192), ("both", 0..8192)] {
            let hurt = cut.power_cut(Cut::KeepAll);
            hurt.damage(Path::new(JOURNAL), |bytes| bytes[lost.clone()].fill(0xa5));
            let found = try_recover(&hurt).expect("a ring without superblocks is still a ring");
            let context = format!("{rounds} rounds, superblock {slots}");
            assert_eq!(missing(&hurt, &found, &world.acked), None, "{context}");
        }
    }
}

#[test]
fn any_flipped_byte_is_found_or_harmless() {
    let mut found_count = 0;
    for rounds in [9, 25, 38] {
        let disk = SimDisk::new();
        let mut world = World::open(&disk, 5).expect("no failure");
        world.work(0..rounds).expect("no failure");
        let before_last = world.acked.clone();
        world.work(rounds..rounds + 1).expect("no failure");
        let cut = disk.power_cut(Cut::KeepNothing);
        for (path, bytes) in cut.files() {
            if path.extension().is_some_and(|extension| extension == "log") {
                continue;
            }
            let step = (bytes.len() / 300) | 1;
            let front = (0..bytes.len().min(80)).chain((4096..4180).filter(|at| *at < bytes.len()));
            for at in front.chain((80..bytes.len()).step_by(step)) {
                let hurt = cut.power_cut(Cut::KeepAll);
                hurt.damage(&path, |bytes| bytes[at] ^= 0x10);
                let context = format!("{rounds} rounds, {}: byte {at}", path.display());
                let found = try_recover(&hurt).unwrap_or_else(|why| panic!("{context}: {why}"));
                found_count += u32::from(found.damage.is_some());
                if found.damage.is_none() {
                    // What lies in the very last commit cannot be told from a torn write.
                    assert_eq!(missing(&hurt, &found, &before_last), None, "{context}");
                }
            }
        }
    }
    assert!(50 < found_count, "some are found: {found_count}");
}

#[test]
fn a_hole_in_the_ring_is_named_and_what_follows_is_kept() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk, 1).expect("no failure");
    let mut ends = Vec::new();
    for fill in 0..9u8 {
        let entry = world.writers[0].append(&disk, vec![fill; 30_000]).expect("no failure");
        world.commit(&[entry]).expect("no failure");
        ends.push(world.acked[0].clone());
    }
    // Of 8 blocks each, four lie in the first half, four in the second, the ninth in the first.
    let hurt = disk.power_cut(Cut::KeepNothing);
    hurt.damage(Path::new(JOURNAL), |bytes| bytes[8192 + 3 * 32_768..][..3 * 32_768].fill(0));
    let found = try_recover(&hurt).expect("recovers");
    assert!(matches!(found.damage, Some(JournalDamage::Commit { .. })), "{:?}", found.damage);
    assert_eq!(found.ends[&tp(0)], Offset(9), "the commits past the hole are replayed");
}

#[test]
fn writing_ahead_never_covers_a_live_commit() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk, 1).expect("no failure");
    let append = |world: &mut World, bytes: usize| {
        let entry = world.writers[0].append(&disk, vec![7; bytes]).expect("no failure");
        world.commit(&[entry]).expect("no failure");
    };
    // A burst without a pause goes once round the ring.
    for _ in 0..9 {
        append(&mut world, 30_000);
    }
    // The checkpoint of the second half is under way when the flusher has a moment.
    while world.journal.prewrite_step().expect("no failure") {}
    let cut = disk.power_cut(Cut::KeepNothing);
    let found = try_recover(&cut).expect("recovers");
    assert_eq!((found.damage, missing(&cut, &found, &world.acked)), (None, None));
}

#[test]
fn a_failed_checkpoint_neither_frees_nor_closes() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk, 1).expect("no failure");
    for _ in 0..5 {
        let entry = world.writers[0].append(&disk, vec![7; 30_000]).expect("no failure");
        world.commit(&[entry]).expect("no failure");
    }
    let job = world.journal.checkpoint_due().expect("the head is in the second half");
    disk.set_syncs_fail(true);
    job.run().expect_err("the disk fails");
    disk.set_syncs_fail(false);
    world.journal.close().expect_err("bytes that no checkpoint synced are in the ring only");
    let cut = disk.power_cut(Cut::KeepNothing);
    let found = try_recover(&cut).expect("recovers");
    assert_eq!((found.damage, missing(&cut, &found, &world.acked)), (None, None));
}

#[test]
fn a_partition_made_again_in_the_same_directory_gets_its_names_synced() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk, 1).expect("no failure");
    let first = &mut world.writers[0];
    first.told.end = 5_000;
    let entry = first.append(&disk, vec![7; JOURNAL_BYPASS_BYTES]).expect("no failure");
    world.commit(&[entry]).expect("no failure");
    let forget = Entry::State { topic_partition: tp(0), state: SmallState::Forget };
    world.journal.commit(&[forget]).expect("no failure");
    disk.remove_dir_all(&partition_dir(0)).expect("no failure");
    disk.create_dir_all(&partition_dir(0)).expect("no failure");
    disk.sync_dir(Path::new("/data")).expect("no failure");
    // The same name, another topic, offsets from 0 again.
    world.writers[0] = Writer::new(0);
    let entry = world.writers[0].append(&disk, vec![8; JOURNAL_BYPASS_BYTES]).expect("no failure");
    world.commit(&[entry]).expect("no failure");
    let cut = disk.power_cut(Cut::KeepNothing);
    let found = try_recover(&cut).expect("recovers");
    assert_eq!((found.damage, missing(&cut, &found, &world.acked)), (None, None));
}
