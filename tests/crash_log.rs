//! The log stopped at every write, sync and name change in turn, by a kill and by power cuts, and
//! recovered; recovery itself stopped at every step and begun again. No acknowledged record is
//! lost, no offset has another value, and what is served is what was written.
//!
//! The journal is a list in memory that never fails: what it promises is exactly what was
//! committed. `ODRADEK_STOP=n` replays one stop.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::Path;

use booted::{Booted, boot};
use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicPartition};
use odradek::journal::disk::{Disk, DiskFile};
use odradek::journal::{Entry, Journal};
use odradek::log::{Log, LogDir, LogReport, OpenParameters, RecoveryReport, owed_entries};
use odradek::record::{BatchBuilder, Compression};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use partition::{
    Fate, Random, WALL, World, name, random_batch, read_all, small_config, topic_partition,
};
use sim_disk::{Cut, SimDisk, SimFile};

/// What the log goes through; ends early when the disk stops.
fn run(world: &mut World, random: &mut Random) -> Option<()> {
    for round in 0..24 {
        for _ in 0..3 {
            random_batch(world, random).ok()?;
        }
        // Some of it is never acknowledged.
        if round % 3 != 2 {
            world.commit();
        }
        match round {
            5 | 13 => world.checkpoint().ok()?,
            9 | 17 | 21 => {
                world.ms += 60;
                world.expire().ok()?;
            }
            11 => {
                let to = Offset((world.truth.start + world.truth.durable) / 2);
                let state = world.log().advance_start(to)?;
                world.persist(state);
                world.truth.start = to.0;
            }
            15 => world.log().close_idle_handles(),
            _ => {}
        }
    }
    Some(())
}

fn world() -> World {
    let config = odradek::topic_config::TopicConfig { retention_bytes: 15_000, ..small_config() };
    World::new(config)
}

/// The run up to `stop`, its disk as it was then.
fn stopped_at(stop: u64) -> World {
    let mut world = world();
    world.disk.fail_after(stop);
    // The last failures may be of index files only, which nobody misses.
    let _ = run(&mut world, &mut Random::new(1));
    world
}

fn after(disk: &SimDisk, seed: u64) -> SimDisk {
    if seed == 0 { disk.after_kill() } else { disk.after_power_cut(&mut Random::new(seed)) }
}

fn stops() -> Vec<u64> {
    if let Ok(stop) = std::env::var("ODRADEK_STOP") {
        return vec![stop.parse().expect("ODRADEK_STOP is a number")];
    }
    let mut world = world();
    let begin = world.disk.operation_count();
    run(&mut world, &mut Random::new(1)).expect("the disk does not stop");
    (0..world.disk.operation_count() - begin).collect()
}

#[test]
fn no_stop_loses_what_was_acknowledged() {
    let stops = stops();
    assert!(stops.len() == 1 || 100 < stops.len(), "{}", stops.len());
    for stop in stops {
        for seed in 0..3 {
            println!("stop {stop}, seed {seed}");
            let mut world = stopped_at(stop);
            let disk = after(&world.disk, stop * 3 + seed);
            let report = world.open(disk);
            assert!(report.partitions[0].is_sound(), "{report:?}");
            world.check();
            // And it goes on: what is written now is read back after one more stop.
            random_batch(&mut world, &mut Random::new(seed)).expect("the disk works");
            world.commit();
            let disk = after(&world.disk, stop * 3 + seed + 1);
            world.open(disk);
            world.check();
        }
    }
}

#[test]
fn recovery_may_be_stopped_anywhere() {
    for stop in stops().into_iter().step_by(7) {
        let mut world = stopped_at(stop);
        let cut = after(&world.disk, stop);
        for step in 1.. {
            println!("stop {stop}, then {step}");
            let disk = cut.after_kill();
            disk.fail_after(step);
            let is_whole = world.try_look(&disk).is_some();
            let again = after(&disk, stop + step);
            let (logs, report) = world.look(&again);
            assert!(report.partitions[0].is_sound(), "{report:?}");
            assert!(world.truth.durable <= logs[0].end_offset().0);
            if is_whole {
                break;
            }
        }
        world.open(cut);
        world.check();
    }
}

/// Two partitions over the real journal, whose ring is small enough to be checkpointed often.
struct Site {
    disk: SimDisk,
    dir: LogDir<SimDisk>,
    journal: Journal<SimDisk>,
    logs: Vec<Log<SimDisk>>,
    ms: u64,
    next_value: u64,
    checkpoint_count: u64,
}

/// What a site was told, by partition: values by offset, and how far they were acknowledged.
#[derive(Clone, Default)]
struct Told {
    values: [BTreeMap<i64, u64>; 3],
    acked: [i64; 2],
    start: [i64; 2],
}

const RING_BYTES: u64 = 64 << 10;

fn site_parameters(ms: u64) -> OpenParameters {
    let wall = Timestamp(WALL + ms as i64);
    OpenParameters {
        node_id: NodeId(1),
        cluster_id: None,
        random: [9; 32],
        now: Now { boot: Boot(ms * 1000), wall, wall_trusted: true },
        config: TopicConfig {
            segment_bytes: 90_000,
            index_interval_bytes: 1000,
            retention_bytes: 180_000,
            file_delete_delay_ms: 0,
            ..TopicConfig::default()
        },
    }
}

fn site_partition(number: i32) -> TopicPartition {
    TopicPartition { partition: Partition(number), ..topic_partition() }
}

impl Site {
    /// Opens what is there; makes the partitions that are not. `None` when the disk stops.
    fn open(disk: &SimDisk, ms: u64, next_value: u64) -> Option<(Site, RecoveryReport)> {
        let parameters = site_parameters(ms);
        let path = Path::new("/data");
        let Booted { dir, journal, damage, mut logs, report, .. } =
            boot(disk, path, RING_BYTES, 77, &parameters)?;
        assert_eq!(damage, None);
        let mut entries = owed_entries(&logs, &report.partitions).ok()?;
        for number in logs.len() as i32..2 {
            let config = parameters.config.clone();
            let made = dir.create(&name(), site_partition(number), config, parameters.now);
            logs.push(made.ok()?);
        }
        for log in &mut logs {
            let topic_partition = log.topic_partition();
            let epoch = LeaderEpoch(log.leader_epoch().0 + 1);
            entries.push(Entry::State { topic_partition, state: log.begin_epoch(epoch) });
        }
        let mut site =
            Site { disk: disk.clone(), dir, journal, logs, ms, next_value, checkpoint_count: 0 };
        site.commit(&entries)?;
        Some((site, report))
    }

    fn commit(&mut self, entries: &[Entry<SimFile>]) -> Option<()> {
        self.journal.commit(entries).ok()?;
        if let Some(job) = self.journal.checkpoint_due() {
            for log in &mut self.logs {
                log.settle().ok()?;
            }
            self.journal.checkpoint_done(job.run().ok()?).ok()?;
            self.checkpoint_count += 1;
        }
        Some(())
    }

    /// Appends a batch of one record of about `bytes`; what is to be committed of it.
    fn append(&mut self, number: usize, bytes: usize, told: &mut Told) -> Option<Entry<SimFile>> {
        let mut value = self.next_value.to_be_bytes().to_vec();
        value.resize(8 + bytes, b'.');
        let now = site_parameters(self.ms).now;
        let mut builder = BatchBuilder::new();
        builder.push(now.wall, None, Some(&value), &[]);
        let mut batch = builder.finish(Compression::None);
        let log = &mut self.logs[number];
        let appended = log.append_held(now, &mut batch).ok()?;
        told.values[number].insert(appended.base_offset.0, self.next_value);
        self.next_value += 1;
        Some(appended.into_entry(log.topic_partition(), batch.into()))
    }

    fn run(&mut self, told: &mut Told) -> Option<()> {
        for round in 0..64 {
            self.ms += 10;
            let mut entries = Vec::new();
            for _ in 0..2 {
                entries.push(self.append(0, 300 + round * 40, told)?);
            }
            // A share this large bypasses the ring.
            let bytes = if round % 6 == 4 { 70_000 } else { 500 };
            entries.push(self.append(1, bytes, told)?);
            if round % 5 == 3 {
                self.logs[round % 2].settle().ok()?;
            }
            if round % 8 == 7 {
                // Never committed by itself; the next commit has to carry it.
                continue;
            }
            self.commit_appends(entries, told)?;
            if round % 10 == 9 {
                self.expire(told)?;
            }
        }
        Some(())
    }

    fn commit_appends(&mut self, entries: Vec<Entry<SimFile>>, told: &mut Told) -> Option<()> {
        let mut all = Vec::new();
        for (number, log) in self.logs.iter().enumerate() {
            // What an earlier turn left behind goes first: as a reference to its segment.
            let first = entries.iter().find_map(|entry| match entry {
                Entry::Append { topic_partition, base_offset, .. }
                    if *topic_partition == log.topic_partition() =>
                {
                    Some(*base_offset)
                }
                _ => None,
            });
            if first.is_some_and(|first| told.acked[number] < first.0) {
                for target in log.flush_targets().ok()? {
                    all.push(Entry::Flush {
                        topic_partition: log.topic_partition(),
                        end_offset: target.end_offset,
                        segment: target.segment,
                        position_end: target.position_end,
                    });
                }
            }
        }
        all.extend(entries);
        self.commit(&all)?;
        for (number, log) in self.logs.iter_mut().enumerate() {
            let end = log.end_offset();
            log.mark_durable(end);
            told.acked[number] = end.0;
        }
        Some(())
    }

    fn expire(&mut self, told: &mut Told) -> Option<()> {
        let now = site_parameters(self.ms).now;
        for number in 0..2 {
            let limit = Offset(told.acked[number]);
            let log = &mut self.logs[number];
            let topic_partition = log.topic_partition();
            let Some(state) = log.expire(now, limit).ok()? else { continue };
            let start = log.start_offset();
            // From here on either start may be found.
            told.start[number] = start.0;
            self.commit(&[Entry::State { topic_partition, state }])?;
            self.logs[number].mark_start_durable(start);
            self.logs[number].delete_expired(now).ok()?;
        }
        Some(())
    }

    /// Everything acknowledged is there, and nothing that was not written.
    fn check(&self, report: &RecoveryReport, told: &Told) {
        assert!(report.partitions.iter().all(LogReport::is_sound), "{report:?}");
        for (number, log) in self.logs.iter().enumerate() {
            assert_eq!(log.topic_partition(), site_partition(number as i32));
            assert!(log.start_offset().0 <= told.start[number]);
            assert!(told.acked[number] <= log.end_offset().0, "partition {number}");
            let found = read_all(log, 100_000).expect("nothing is damaged");
            let from = log.start_offset().0;
            let want: Vec<_> = told.values[number]
                .range(from..log.end_offset().0)
                .map(|(&offset, &value)| (offset, value))
                .collect();
            assert_eq!(found, want, "partition {number}");
        }
    }
}

/// The site up to a stop.
fn site_stopped_at(stop: u64) -> (SimDisk, Told) {
    let disk = SimDisk::new();
    let (mut site, _) = Site::open(&disk, 1000, 0).expect("an empty disk");
    disk.fail_after(stop);
    let mut told = Told::default();
    let _ = site.run(&mut told);
    (disk, told)
}

#[test]
fn log_and_journal_together_lose_nothing_at_any_stop() {
    let whole = SimDisk::new();
    let (mut site, _) = Site::open(&whole, 1000, 0).expect("an empty disk");
    let begin = whole.operation_count();
    site.run(&mut Told::default()).expect("the disk does not stop");
    let count = whole.operation_count() - begin;
    assert!(100 < count, "{count}");
    assert!(1 < site.checkpoint_count, "{}", site.checkpoint_count);
    let stops: Vec<u64> = match std::env::var("ODRADEK_STOP") {
        Ok(stop) => vec![stop.parse().expect("ODRADEK_STOP is a number")],
        Err(_) => (0..count).collect(),
    };
    for stop in stops {
        println!("stop {stop}");
        let (disk, mut told) = site_stopped_at(stop);
        let disk = after(&disk, stop);
        // Recovery is itself cut once.
        let cut = disk.after_kill();
        cut.fail_after(stop % 23);
        let _ = Site::open(&cut, 2000, 1_000_000);
        let disk = after(&cut, stop + 1);
        let (mut site, report) = Site::open(&disk, 2000, 1_000_000).expect("the disk works");
        site.check(&report, &told);
        // It goes on where it ended; what was lost is written over with other values.
        for (number, log) in site.logs.iter().enumerate() {
            told.values[number].retain(|&offset, _| offset < log.end_offset().0);
            told.start[number] = told.start[number].max(log.start_offset().0);
        }
        for _ in 0..3 {
            let entries = vec![
                site.append(0, 300, &mut told).expect("the disk works"),
                site.append(1, 500, &mut told).expect("the disk works"),
            ];
            site.commit_appends(entries, &mut told).expect("the disk works");
        }
        let disk = after(&site.disk, stop + 2);
        let (site, report) = Site::open(&disk, 3000, 2_000_000).expect("the disk works");
        site.check(&report, &told);
        assert!(site.dir.identity().node_id == NodeId(1));
    }
}

/// Batches in both partitions, as far as the page cache.
fn append_some(site: &mut Site, told: &mut Told) -> Vec<Entry<SimFile>> {
    let entries = (0..6).map(|place| site.append(place % 2, 400, told).expect("no failure"));
    let entries = entries.collect();
    for log in &mut site.logs {
        log.settle().expect("no failure");
    }
    entries
}

/// What a sync that fails leaves: pages that pass for clean, for the next process, too.
fn fail_a_sync(site: &Site) {
    site.disk.set_syncs_fail(true);
    for log in &site.logs {
        for target in log.flush_targets().expect("no failure") {
            target.segment.file.sync_data().expect_err("it fails");
        }
    }
    site.disk.set_syncs_fail(false);
}

/// Found by tests/sim: a process that was started after a failed sync found all that the journal has in
/// the segments already, and wrote nothing. The next checkpoint synced what passes for clean, freed the
/// journal, and the power cut after it took acknowledged records.
#[test]
fn what_the_journal_has_is_written_again_after_a_failed_sync() {
    let disk = SimDisk::new();
    let mut told = Told::default();
    let (mut site, _) = Site::open(&disk, 1000, 0).expect("no failure");
    let entries = append_some(&mut site, &mut told);
    site.commit(&entries).expect("no failure");
    fail_a_sync(&site);
    let (mut site, _) = Site::open(&disk, 2000, 100).expect("no failure");
    // Until the journal has freed what it had.
    while site.checkpoint_count < 3 {
        let entries = append_some(&mut site, &mut told);
        site.commit_appends(entries, &mut told).expect("no failure");
    }
    let (site, report) = Site::open(&disk.power_cut(Cut::KeepNothing), 3000, 0).expect("starts");
    site.check(&report, &told);
}

/// The same of what lies behind the journal's mark, and is taken for durable from a start on.
#[test]
fn what_lies_behind_the_mark_is_written_again_after_a_failed_sync() {
    let disk = SimDisk::new();
    let mut told = Told::default();
    let (mut site, _) = Site::open(&disk, 1000, 0).expect("no failure");
    let _ = append_some(&mut site, &mut told);
    fail_a_sync(&site);
    let (site, _) = Site::open(&disk, 2000, 100).expect("no failure");
    for (number, log) in site.logs.iter().enumerate() {
        assert_eq!(log.durable_offset(), Offset(3), "it is all there");
        told.acked[number] = 3;
    }
    let (site, report) = Site::open(&disk.power_cut(Cut::KeepNothing), 3000, 0).expect("starts");
    site.check(&report, &told);
}

/// Found by tests/sim: what a start made durable behind the journal's mark was told to no journal, and a
/// segment that went was missed by nobody.
#[test]
fn what_a_start_makes_durable_is_told_to_the_journal() {
    let disk = SimDisk::new();
    let mut told = Told::default();
    let (mut site, _) = Site::open(&disk, 1000, 0).expect("no failure");
    let _ = append_some(&mut site, &mut told);
    let (site, _) = Site::open(&disk, 2000, 100).expect("no failure");
    assert_eq!(site.logs[0].durable_offset(), Offset(3));
    let cut = disk.power_cut(Cut::KeepNothing);
    let dir = format!("/data/{}-0", name());
    cut.destroy(&Path::new(&dir).join("00000000000000000000.log"));
    let (_, report) = Site::open(&cut, 3000, 200).expect("starts");
    assert!(!report.partitions[0].is_sound(), "{report:?}");
    assert!(report.partitions[1].is_sound(), "{report:?}");
}

/// Found by tests/sim: a partition was made while syncs failed. The next process took its records for
/// durable, and made them so; but the file that says whose they are passed for clean, and was lost.
#[test]
fn a_partition_that_was_made_while_syncs_failed_keeps_its_name() {
    let disk = SimDisk::new();
    let (mut site, _) = Site::open(&disk, 1000, 0).expect("no failure");
    disk.set_syncs_fail(true);
    let Site { dir, .. } = &site;
    let (config, now) = (site_parameters(1000).config, site_parameters(1000).now);
    let path = dir.path();
    let made = Log::create_unsynced(disk.clone(), path, &name(), site_partition(2), config, now);
    disk.sync_all(path).expect_err("it fails");
    site.logs.push(made.expect("no failure"));
    let mut told = Told::default();
    let _ = site.append(2, 400, &mut told);
    site.logs[2].settle().expect("no failure");
    disk.set_syncs_fail(false);
    let (site, _) = Site::open(&disk, 2000, 100).expect("no failure");
    assert_eq!(site.logs[2].durable_offset(), Offset(1));
    let (site, _) = Site::open(&disk.power_cut(Cut::KeepNothing), 3000, 0).expect("starts");
    assert_eq!(site.logs.len(), 3);
    assert_eq!(site.logs[2].durable_offset(), Offset(1));
}
