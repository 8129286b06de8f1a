//! What recovery keeps, sets aside and names: torn against damaged (design.md §4), deleted files,
//! directories of others.

#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use odradek::ids::{NodeId, Offset, TopicId, TopicPartition, Uuid};
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::journal::{PartitionState, Redo, SmallState};
use odradek::log::{
    Dump, Dumped, Hole, Log, LogDir, OpenError, OpenParameters, Scrubbed, Unknown, forget_unclean,
};
use odradek::topic_config::TopicConfig;
use partition::{Fate, Random, World, name, read_all, topic_partition};
use sim_disk::SimDisk;

const DIR: &str = "/data/host.vmstat-0";

fn log_path(base: i64) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

fn config() -> TopicConfig {
    TopicConfig { segment_bytes: 4000, index_interval_bytes: 300, ..TopicConfig::default() }
}

/// A world with `count` committed batches of one record, about 190 bytes each.
fn world_of(count: usize) -> World {
    let mut world = World::new(config());
    for _ in 0..count {
        world.append(1, 111).expect("the disk works");
    }
    world.commit();
    world
}

fn hole(from: i64, to: i64) -> Hole {
    Hole { from: Offset(from), to: Offset(to) }
}

/// Overwrites part of a file with noise, as a dying card does.
fn smash(disk: &SimDisk, path: &Path, position: u64, bytes: usize) {
    let file = disk.open(path, Open::Write).expect("there");
    file.write_all_at(&vec![0x5a; bytes], position).expect("the disk works");
    file.sync_data().expect("the disk works");
}

/// The `.log` files of the partition, oldest first.
fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "log");
    disk.paths().into_iter().filter(is_log).collect()
}

fn batch_bytes(world: &World) -> u64 {
    let dump = Dump::open(&world.disk, &log_path(0)).expect("there");
    let first = dump.into_iter().next().expect("a batch").expect("reads");
    let Dumped::Batch { header, .. } = first else { panic!("{first:?}") };
    header.size_bytes() as u64
}

/// Five batches, and two more that were never committed; the second of these is cut in the middle.
/// With it the file of what is torn.
fn cut_in_the_seventh() -> (World, SimDisk, PathBuf) {
    let mut world = world_of(5);
    let bytes = batch_bytes(&world);
    world.append(1, 111).expect("the disk works");
    world.append(1, 111).expect("the disk works");
    let disk = world.disk.after_kill();
    disk.open(&log_path(0), Open::Write).expect("there").set_len(6 * bytes + 100).expect("cut");
    (world, disk, Path::new(DIR).join(format!("{:020}.{}.torn", 0, 6 * bytes)))
}

#[test]
fn bytes_above_the_mark_are_torn() {
    let (mut world, disk, torn) = cut_in_the_seventh();
    let report = world.open(disk);
    let log_report = &report.partitions[0];
    assert!(log_report.is_sound());
    assert_eq!(log_report.torn_bytes, 100);
    assert_eq!(world.log().end_offset(), Offset(6), "the longest good prefix stays");
    assert_eq!(world.log().durable_offset(), Offset(6), "and is durable now");
    assert_eq!(world.disk.len_of(&torn), 100);
    world.check();
}

/// Found by tests/sim: on a full disk there was no room for the `.torn` copy of what was to be cut, and
/// so the log could neither be cut nor, with such a cut to finish, opened (reliability.md S7).
#[test]
fn a_full_disk_has_no_room_for_what_is_torn_and_opens() {
    let (mut world, disk, torn) = cut_in_the_seventh();
    disk.set_free_bytes(Some(60));
    let report = world.open(disk);
    assert!(report.partitions[0].is_sound());
    assert_eq!(world.log().end_offset(), Offset(6), "the longest good prefix stays");
    assert_eq!(world.disk.len_of(&torn), 0);
    world.disk.set_free_bytes(None);
    world.check();
}

#[test]
fn damage_below_the_mark_is_a_hole_and_what_is_behind_it_stays() {
    // The bad batch is in no commit of the ring any more, so nothing heals it.
    let mut world = world_of(8);
    let bytes = batch_bytes(&world);
    world.journal.clear();
    world.state.recovery_offset = Offset(0);
    let disk = world.disk.after_kill();
    smash(&disk, &log_path(0), 3 * bytes + 30, 250);
    let once = |disk: &SimDisk| {
        let mark = world.truth.durable;
        let (mut logs, report) = world.look_with_mark(disk, Some(Offset(mark)));
        let found = read_all(&logs[0], 500).expect("what is served is good");
        (logs.pop().expect("one"), report, found)
    };
    let (log, report, found) = once(&disk);
    assert_eq!(report.partitions[0].new_holes, [hole(3, 5)]);
    assert_eq!(log.holes(), [hole(3, 5)]);
    assert_eq!(log.end_offset(), Offset(8));
    let offsets: Vec<_> = found.iter().map(|record| record.0).collect();
    assert_eq!(offsets, [0, 1, 2, 5, 6, 7]);
    // Opened once more it is the same, and no news.
    let (log, report, again) = once(&disk);
    assert!(report.partitions[0].is_sound());
    assert_eq!(log.holes(), [hole(3, 5)], "written down");
    assert_eq!(again, found);
}

/// One bad block kept the broker from starting: recovery answered the first EIO of a segment by
/// refusing the whole log dir. What cannot be read is damage like any other.
#[test]
fn a_block_that_cannot_be_read_is_a_hole() {
    let mut world = World::new(TopicConfig { segment_bytes: 1 << 20, ..config() });
    for _ in 0..60 {
        world.append(1, 111).expect("the disk works");
    }
    world.commit();
    let bytes = batch_bytes(&world);
    world.journal.clear();
    world.state.recovery_offset = Offset(0);
    let mark = Some(Offset(world.truth.durable));
    let disk = world.disk.after_kill();
    disk.lose(&log_path(0), 5000..5500);
    let (logs, report) = world.look_with_mark(&disk, mark);
    // The page cache is filled by the page.
    let (first, last) = ((4096 / bytes) as i64, (8191 / bytes) as i64);
    assert_eq!(report.partitions[0].new_holes, [hole(first, last + 1)]);
    let found = read_all(&logs[0], 500).expect("what is served is good");
    assert_eq!(found.len() as i64, 60 - (last + 1 - first));
    assert_eq!(logs[0].end_offset(), Offset(60));
    let (logs, report) = world.look_with_mark(&disk, mark);
    assert!(report.partitions[0].is_sound(), "it is no news the second time");
    assert_eq!(logs[0].holes(), [hole(first, last + 1)]);
}

#[test]
fn small_files_and_indexes_that_cannot_be_read_are_made_again() {
    let mut world = world_of(60);
    world.close();
    let paths = world.disk.paths();
    let mut lost_count = 0;
    for path in paths.iter().filter(|path| path.starts_with(DIR)) {
        let len = world.disk.len_of(path) as u64;
        let is_log = path.extension().is_some_and(|suffix| suffix == "log");
        if len == 0 || is_log || path.ends_with("partition.metadata") {
            continue;
        }
        let disk = world.disk.after_kill();
        disk.lose(path, 0..len);
        let (logs, report) = world.look_with_mark(&disk, Some(Offset(60)));
        assert!(report.partitions[0].is_sound(), "{}", path.display());
        assert_eq!(read_all(&logs[0], 500).expect("good").len(), 60, "{}", path.display());
        lost_count += 1;
    }
    assert!(5 < lost_count, "the partition has indexes and summaries");
}

#[test]
fn a_torn_recovery_ends_like_a_whole_one() {
    // reliability.md S1: stopped at every step of its own and begun again.
    let world = {
        let mut world = world_of(30);
        world.checkpoint().expect("the disk works");
        // All of it is scanned again.
        world.state.recovery_segment = Offset(0);
        world.state.recovery_position = 0;
        world.state.recovery_offset = Offset(0);
        world
    };
    let bytes = batch_bytes(&world);
    let hurt = |disk: &SimDisk| smash(disk, &log_path(0), 3 * bytes + 30, 250);
    let whole = world.disk.after_kill();
    hurt(&whole);
    let mark = Some(Offset(world.truth.durable));
    let (logs, _) = world.look_with_mark(&whole, mark);
    let want = (read_all(&logs[0], 500).expect("good"), logs[0].holes().to_vec());
    assert_eq!(want.1, [hole(3, 5)]);
    let steps = whole.operation_count();
    for stop in 1..=steps {
        let disk = world.disk.after_kill();
        hurt(&disk);
        disk.fail_after(stop);
        if world.try_look_with_mark(&disk, mark).is_some() {
            break;
        }
        for seed in 0..3 {
            let mut random = Random::new(stop * 7 + seed);
            let disk =
                if seed == 0 { disk.after_kill() } else { disk.after_power_cut(&mut random) };
            let (logs, _) = world.look_with_mark(&disk, mark);
            let found = (read_all(&logs[0], 500).expect("good"), logs[0].holes().to_vec());
            assert_eq!(found, want, "stopped at {stop}, seed {seed}");
        }
    }
}

#[test]
fn the_end_never_falls_behind_the_mark() {
    // The active segment's file is gone or cut: the offsets it held are not given out again.
    let mut world = world_of(50);
    world.journal.clear();
    let newest =
        world.disk.paths().into_iter().rfind(|path| path.extension().is_some_and(|s| s == "log"));
    let newest = newest.expect("there are segments");
    let base: i64 =
        newest.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits");
    let disk = world.disk.after_kill();
    disk.remove_file(&newest).expect("there");
    let (logs, report) = world.look_with_mark(&disk, Some(Offset(50)));
    assert_eq!(logs[0].end_offset(), Offset(50));
    assert_eq!(report.partitions[0].new_holes, [hole(base, 50)]);
    assert_eq!(read_all(&logs[0], 500).expect("good").len() as i64, base);

    // All of them gone.
    let disk = world.disk.after_kill();
    for path in disk.paths().iter().filter(|path| path.extension().is_some_and(|s| s == "log")) {
        disk.remove_file(path).expect("there");
    }
    let (logs, report) = world.look_with_mark(&disk, Some(Offset(50)));
    assert_eq!(logs[0].end_offset(), Offset(50));
    assert_eq!(report.partitions[0].new_holes, [hole(0, 50)]);
    assert_eq!(read_all(&logs[0], 500), Ok(Vec::new()));
}

#[test]
fn a_lost_segment_in_the_middle_is_a_hole() {
    let mut world = world_of(80);
    world.checkpoint().expect("the disk works");
    let logs: Vec<_> = world
        .disk
        .paths()
        .into_iter()
        .filter(|p| p.extension().is_some_and(|s| s == "log"))
        .collect();
    assert!(3 < logs.len());
    let base = |path: &Path| -> i64 {
        path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits")
    };
    let disk = world.disk.after_kill();
    disk.remove_file(&logs[1]).expect("there");
    let (opened, report) = world.look(&disk);
    let lost = hole(base(&logs[1]), base(&logs[2]));
    assert_eq!(report.partitions[0].new_holes, [lost]);
    let found = read_all(&opened[0], 500).expect("good").len() as i64;
    assert_eq!(found, 80 - (lost.to.0 - lost.from.0));

    // Cut short rather than lost: scanned, for its summary knows how long it was.
    let disk = world.disk.after_kill();
    let len = disk.len_of(&logs[1]) as u64;
    disk.open(&logs[1], Open::Write).expect("there").set_len(len - 10).expect("cut");
    let (opened, report) = world.look(&disk);
    let lost = hole(base(&logs[2]) - 1, base(&logs[2]));
    assert_eq!(report.partitions[0].new_holes, [lost]);
    assert_eq!(read_all(&opened[0], 500).expect("good").len(), 79);
}

/// Found by tests/sim: a segment file was gone, and the ring still had its last batches. Redo made the
/// file anew, of the old length and with zeros in front, and nobody looked at those: a segment before
/// the recovery point is not scanned.
#[test]
fn a_segment_that_redo_makes_anew_is_not_taken_for_whole() {
    let mut world = world_of(80);
    let ring = world.journal.clone();
    world.checkpoint().expect("the disk works");
    let logs = segments(&world.disk);
    let base = |path: &Path| -> i64 {
        path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits")
    };
    let (from, to) = (base(&logs[1]), base(&logs[2]));
    world.journal = ring[to as usize - 1..].to_vec();
    for keeps_caches in [true, false] {
        let disk = world.disk.after_kill();
        disk.remove_file(&logs[1]).expect("there");
        for suffix in ["index", "timeindex", "summary"] {
            if !keeps_caches {
                let _ = disk.remove_file(&logs[1].with_extension(suffix));
            }
        }
        let operations = disk.after_kill();
        world.look(&operations);
        for stop in 0..operations.operation_count() {
            let disk = disk.after_kill();
            disk.fail_after(stop);
            let _ = world.try_look(&disk);
            let disk = disk.after_kill();
            let (opened, _) = world.look(&disk);
            assert_eq!(opened[0].holes(), [hole(from, to - 1)], "stopped at {stop}");
            let found = read_all(&opened[0], 500).expect("good").len() as i64;
            assert_eq!(found, 80 - (to - 1 - from));
        }
    }
}

/// Found by tests/sim: the power cut took a segment's summary, which is not synced, and the card the
/// segment behind it. What was missing between the two others went unnoticed.
#[test]
fn a_lost_segment_is_a_hole_without_the_summary_of_the_one_before_it() {
    let mut world = world_of(80);
    world.checkpoint().expect("the disk works");
    let logs = segments(&world.disk);
    let base = |path: &Path| -> i64 {
        path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits")
    };
    let disk = world.disk.after_kill();
    let _ = disk.remove_file(&logs[0].with_extension("summary"));
    disk.remove_file(&logs[1]).expect("there");
    let (opened, report) = world.look(&disk);
    let lost = hole(base(&logs[1]), base(&logs[2]));
    assert_eq!(report.partitions[0].new_holes, [lost]);
    assert_eq!(opened[0].holes(), [lost]);
}

#[test]
fn damage_at_the_start_is_a_hole_and_the_start_stays() {
    let mut world = world_of(80);
    world.checkpoint().expect("the disk works");
    let logs = segments(&world.disk);
    let base = |path: &Path| -> i64 {
        path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("digits")
    };
    let check = |disk: &SimDisk, lost: Hole| {
        let (opened, report) = world.look(disk);
        assert_eq!(report.partitions[0].new_holes, [lost], "it is in the report");
        assert!(!report.partitions[0].is_sound());
        let log = &opened[0];
        assert_eq!((log.start_offset(), log.holes()), (Offset(0), &[lost][..]), "and shown");
        let found = read_all(log, 500).expect("good");
        assert_eq!(found.first().map(|record| record.0), Some(lost.to.0));
        assert_eq!(found.len() as i64, 80 - lost.to.0);
        let (opened, report) = world.look(&disk.after_kill());
        assert!(report.partitions[0].is_sound(), "no news the second time");
        assert_eq!((opened[0].start_offset(), opened[0].holes()), (Offset(0), &[lost][..]));
    };
    // The first segment is gone.
    let disk = world.disk.after_kill();
    disk.remove_file(&logs[0]).expect("there");
    check(&disk, hole(0, base(&logs[1])));
    // Its first two batches are noise: scanned, for the scrub or a read has said so.
    let bytes = batch_bytes(&world);
    let disk = world.disk.after_kill();
    smash(&disk, &logs[0], 0, bytes as usize + 30);
    let (mut opened, _) = world.look(&disk);
    opened[0].note_suspect(Offset(0)).expect("news").save().expect("the disk works");
    check(&disk, hole(0, 2));
}

#[test]
fn without_the_journal_what_is_missing_at_the_start_is_named() {
    let open = |disk: &SimDisk, is_journal_whole: bool| {
        let parameters = parameters(1, None);
        let dir = LogDir::claim(disk.clone(), Path::new("/data"), &parameters);
        let mut dir = dir.expect("claims");
        dir.redo(BTreeMap::new());
        let (mut logs, mut report) = dir.recover(&parameters, is_journal_whole).expect("recovers");
        let holes = report.partitions.remove(0).new_holes;
        let log = logs.remove(0);
        assert_eq!(log.holes(), holes, "what is reported is shown");
        (log.start_offset(), holes)
    };
    let mut world = world_of(80);
    world.checkpoint().expect("the disk works");
    let first = segments(&world.disk)[0].clone();
    let second: i64 = segments(&world.disk)[1]
        .file_stem()
        .and_then(|stem| stem.to_str()?.parse().ok())
        .expect("digits");
    let disk = world.disk.after_kill();
    disk.remove_file(&first).expect("there");
    let second_is_first = (Offset(0), vec![hole(0, second)]);
    assert_eq!(open(&disk.after_kill(), false), second_is_first, "the journal is lost");
    let adopted = (Offset(second), vec![]);
    assert_eq!(open(&disk.after_kill(), true), adopted, "a directory that was put here");

    // The last clean stop noted that what is missing was deleted.
    let note = |disk: &SimDisk, start: i64| {
        let path = Path::new("/data/log-start-offset-checkpoint");
        let file = disk.open(path, Open::CreateOrWrite).expect("made");
        let text = format!("0\n1\nhost.vmstat 0 {start}\n");
        file.write_all_at(text.as_bytes(), 0).expect("written");
    };
    let noted = disk.after_kill();
    note(&noted, second);
    assert_eq!(open(&noted, false), adopted);
    // A note of an earlier topic of that name hides nothing.
    let stale = world.disk.after_kill();
    note(&stale, 79);
    assert_eq!(open(&stale, false), (Offset(0), vec![]));
}

/// A node that is stopped before it reaches its site has told nobody yet that the power went before.
#[test]
fn a_stop_that_was_not_clean_is_known_until_it_is_told() {
    let mut world = world_of(3);
    world.close();
    let disk = world.disk.after_kill();
    let is_unclean = |world: &mut World, disk: SimDisk| {
        let report = world.open(disk);
        (report.was_clean, report.is_unclean)
    };
    assert_eq!(is_unclean(&mut world, disk), (true, false));
    let disk = world.disk.after_kill();
    assert_eq!(is_unclean(&mut world, disk), (false, true));
    world.close();
    let disk = world.disk.after_power_cut(&mut Random::new(1));
    assert_eq!(is_unclean(&mut world, disk), (true, true), "nobody was told");
    forget_unclean(&world.disk, Path::new("/data")).expect("the disk works");
    world.close();
    let disk = world.disk.after_kill();
    assert_eq!(is_unclean(&mut world, disk), (true, false));
}

/// Where the journal was lost the start was learnt from the files, and not told to the journal: the
/// next start, which goes by that, took all before it for damage.
#[test]
fn a_start_that_was_learnt_from_the_files_is_told_to_the_journal() {
    let mut world = world_of(80);
    world.checkpoint().expect("the disk works");
    let first = segments(&world.disk)[0].clone();
    let disk = world.disk.after_kill();
    disk.remove_file(&first).expect("there");
    let parameters = parameters(1, None);
    let mut state = PartitionState::default();
    let mut starts = Vec::new();
    for is_journal_whole in [true, false, true] {
        let dir = LogDir::claim(disk.clone(), Path::new("/data"), &parameters);
        let mut dir = dir.expect("claims");
        let is_known = starts.is_empty();
        let states = BTreeMap::from([(topic_partition(), state.clone())]);
        dir.redo(if is_known { BTreeMap::new() } else { states });
        let (logs, mut report) = dir.recover(&parameters, is_journal_whole).expect("recovers");
        let report = report.partitions.remove(0);
        assert_eq!(report.new_holes, []);
        report.small_states.iter().for_each(|small| state.take(*small));
        starts.push(logs[0].start_offset());
    }
    assert!(Offset(0) < starts[0]);
    assert_eq!(starts, [starts[0]; 3]);
}

/// Found by tests/sim: a log was cut and written anew, and then the card lost the journal that knew.
/// The checkpoint's recovery point spoke of other bytes, and nobody looked at what a power cut had
/// left of the new ones below it.
#[test]
fn without_the_journal_the_recovery_point_is_not_gone_by() {
    let mut world = world_of(8);
    world.checkpoint().expect("the disk works");
    let bytes = batch_bytes(&world);
    world.disk.flip(&log_path(0), 5 * bytes as usize + 100, 1);
    let holes = |is_journal_whole: bool| {
        let parameters = parameters(1, None);
        let disk = world.disk.after_kill();
        let dir = LogDir::claim(disk, Path::new("/data"), &parameters);
        let mut dir = dir.expect("claims");
        dir.redo(BTreeMap::from([(topic_partition(), world.state.clone())]));
        let (_, mut report) = dir.recover(&parameters, is_journal_whole).expect("recovers");
        report.partitions.remove(0).new_holes
    };
    assert_eq!(holes(true), [], "what was synced is left to the scrub");
    assert_eq!(holes(false), [hole(5, 6)]);
}

/// Found by tests/sim: a lost sector ended between a batch's offset and its magic byte. The rest passed its
/// checksum, and was taken for the batch of offset 0, below what was said to be damaged.
#[test]
fn a_batch_that_lost_its_offset_is_not_taken_for_another() {
    // A log with a batch of which so many bytes lie before the end of a sector.
    let find = |before: std::ops::RangeInclusive<u64>| {
        (100..400).find_map(|length| {
            let mut world = World::new(config());
            for _ in 0..8 {
                world.append(1, length).expect("the disk works");
            }
            world.commit();
            let bytes = batch_bytes(&world);
            let number = (1..7).find(|n| before.contains(&(512 - n * bytes % 512)))?;
            Some((world, bytes, number))
        })
    };
    let holes = |world: &World, lost: std::ops::Range<u64>| {
        let disk = world.disk.after_kill();
        let file = disk.open(&log_path(0), Open::Write).expect("there");
        file.write_all_at(&vec![0; (lost.end - lost.start) as usize], lost.start).expect("works");
        let parameters = parameters(1, None);
        let dir = LogDir::claim(disk, Path::new("/data"), &parameters);
        let mut dir = dir.expect("claims");
        dir.redo(BTreeMap::new());
        let (_, mut report) = dir.recover(&parameters, false).expect("recovers");
        report.partitions.remove(0).new_holes
    };
    // All of its offset and nothing of its length, whose first two bytes are zeros.
    let (world, bytes, number) = find(8..=10).expect("some length is right");
    let sector_end = (number * bytes).next_multiple_of(512);
    assert_eq!(holes(&world, 0..sector_end), [hole(0, number as i64 + 1)]);
    // Zeros are what its offset begins with, and the next one says so.
    let (world, bytes, number) = find(1..=7).expect("some length is right");
    assert_eq!(holes(&world, 0..number * bytes), [hole(0, number as i64)]);
}

#[test]
fn deleted_segments_stay_deleted() {
    // The journal still holds batches of a segment that retention removed.
    let mut world = World::new(TopicConfig { retention_bytes: 3000, ..config() });
    for _ in 0..40 {
        world.append(1, 111).expect("the disk works");
    }
    world.commit();
    world.expire().expect("the disk works");
    world.ms += 100_000;
    world.expire().expect("the disk works");
    assert!(!world.disk.paths().contains(&log_path(0)), "unlinked after the delay");
    let disk = world.disk.after_kill();
    world.open(disk);
    assert!(!world.disk.paths().contains(&log_path(0)), "and not brought back");
    world.check();
}

#[test]
fn the_scrub_finds_rot_and_the_next_start_cuts_it_out() {
    let mut world = world_of(40);
    world.checkpoint().expect("the disk works");
    let bytes = batch_bytes(&world);
    let scrub_all = |world: &World| {
        let log = world.log.as_ref().expect("open");
        let mut scrub = log.scrub(None).expect("reads").expect("a sealed segment");
        loop {
            match scrub.step(300).expect("reads") {
                Scrubbed::Going => {}
                end => return end,
            }
        }
    };
    assert_eq!(scrub_all(&world), Scrubbed::Sound);
    world.disk.flip(&log_path(0), 5 * bytes as usize + 100, 1);
    let found = scrub_all(&world);
    assert_eq!(found, Scrubbed::Damaged { position: 5 * bytes, offset: Offset(5) });
    let note = world.log().note_suspect(Offset(0)).expect("news");
    note.save().expect("the disk works");
    assert!(world.log().note_suspect(Offset(0)).is_none(), "no news");
    assert!(world.log().note_suspect(Offset(1)).is_none(), "there is no such segment");
    let disk = world.disk.after_kill();
    let (logs, report) = world.look(&disk);
    assert_eq!(report.partitions[0].new_holes, [hole(5, 6)]);
    assert_eq!(read_all(&logs[0], 500).expect("good").len(), 39);
}

#[test]
fn a_dump_says_what_is_there() {
    let world = world_of(4);
    let bytes = batch_bytes(&world);
    world.disk.flip(&log_path(0), bytes as usize + 100, 1);
    world.disk.flip(&log_path(0), 3 * bytes as usize + 16, 1);
    let dump = Dump::open(&world.disk, &log_path(0)).expect("there");
    let seen: Vec<_> = dump
        .map(|found| match found.expect("reads") {
            Dumped::Batch { position, header, crc_is_valid } => {
                (position, Some((header.base_offset.0, crc_is_valid)))
            }
            Dumped::Garbage { position, .. } => (position, None),
        })
        .collect();
    let want = [
        (0, Some((0, true))),
        (bytes, Some((1, false))),
        (2 * bytes, Some((2, true))),
        (3 * bytes, None),
    ];
    assert_eq!(seen, want);
}

fn parameters(node_id: i32, cluster_id: Option<Uuid>) -> OpenParameters {
    OpenParameters {
        node_id: NodeId(node_id),
        cluster_id,
        random: [3; 32],
        now: odradek::time::Now::default(),
        config: config(),
    }
}

fn claim(disk: &SimDisk, node: i32, cluster: Option<Uuid>) -> Result<LogDir<SimDisk>, String> {
    LogDir::claim(disk.clone(), Path::new("/data"), &parameters(node, cluster))
        .map_err(|error| error.to_string())
}

#[test]
fn a_log_dir_of_another_is_refused_by_name() {
    let disk = SimDisk::default();
    let identity = claim(&disk, 1, None).expect("fresh").identity();
    assert_eq!(claim(&disk, 1, None).expect("ours").identity(), identity);
    assert!(claim(&disk, 1, Some(identity.cluster_id)).is_ok());
    let error = claim(&disk, 2, None).expect_err("another node");
    let belongs = "/data/format: the directory belongs to node 1, but broker.id is 2; ";
    assert!(error.starts_with(belongs), "{error}");
    let error = claim(&disk, 1, Some(Uuid([1; 16]))).expect_err("another cluster");
    assert!(error.starts_with("/data/format: the directory belongs to cluster "), "{error}");

    // Either file may be lost or hurt; the identity stays.
    for file in ["meta.properties", "format", "format.spare"] {
        let path = Path::new("/data").join(file);
        let hurt = disk.after_kill();
        hurt.flip(&path, 30, 4);
        let gone = disk.after_kill();
        gone.remove_file(&path).expect("there");
        for disk in [hurt, gone] {
            match claim(&disk, 1, None) {
                Ok(dir) => assert_eq!(dir.identity(), identity, "{file}"),
                Err(error) => assert!(error.starts_with("/data/meta.properties: "), "{error}"),
            }
        }
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let disk = SimDisk::default();
    claim(&disk, 1, None).expect("fresh");
    let path = Path::new("/data/format");
    let text = "format 9\noldest_reader 9\nwritten_by odradek 9.0.0\n";
    let bytes =
        format!("odradek-file 1 {:08x}\n{text}", odradek::record::crc::crc32c(text.as_bytes()));
    let file = disk.open(path, Open::Write).expect("there");
    file.set_len(0).expect("cut");
    file.write_all_at(bytes.as_bytes(), 0).expect("written");
    let newer = LogDir::claim(disk, Path::new("/data"), &parameters(1, None));
    let error = newer.expect_err("newer");
    assert!(matches!(error, OpenError::NewerFormat { found: 9, expected: 1, .. }));
    assert!(error.to_string().starts_with("/data/format: written by a newer release"));
}

#[test]
fn unknown_directories_are_kept_and_reported() {
    let mut world = world_of(3);
    let disk = world.disk.after_kill();
    for dir in ["/data/other-0", "/data/old-0.00ff-delete"] {
        disk.create_dir_all(Path::new(dir)).expect("made");
    }
    let other = Path::new("/data/other-0/00000000000000000000.log");
    let other = disk.open(other, Open::Create).expect("made");
    other.write_all_at(b"whose?", 0).expect("written");
    disk.open(Path::new("/data/old-0.00ff-delete/x.log"), Open::Create).expect("made");
    let report = world.open(disk);
    assert_eq!(report.unknown.len(), 1);
    assert_eq!(report.unknown[0].name, Path::new("other-0"));
    assert_eq!(report.unknown[0].why, Unknown::NoTopicId);
    let paths = world.disk.paths();
    assert!(paths.iter().any(|path| path.starts_with("/data/other-0")));
    assert!(!paths.iter().any(|path| path.starts_with("/data/old-0.00ff-delete")));

    // A topic made anew under the name of one that is unknown does not touch its files.
    let again = TopicPartition { topic_id: TopicId(Uuid([6; 16])), ..topic_partition() };
    let now = world.now();
    let dir = world.dir.as_ref().expect("open");
    let log = dir.create(&name(), again, config(), now).expect("made");
    assert_eq!(log.end_offset(), Offset(0));
    let is_aside = |path: &PathBuf| path.to_string_lossy().contains("-stray/");
    assert!(world.disk.paths().iter().any(is_aside));
}

#[test]
fn a_deleted_partition_does_not_come_back() {
    let is_left =
        |disk: &SimDisk| disk.paths().iter().any(|path| path.to_string_lossy().contains("vmstat"));
    // Out of the way, then gone with the next start.
    let mut world = world_of(3);
    world.log.take().expect("open").retire().expect("the disk works");
    let disk = world.disk.after_kill();
    let (logs, report) = world.look(&disk);
    assert!(logs.is_empty() && report.unknown.is_empty());
    assert!(!is_left(&disk));
    // Its end was committed, and the stop came before anything else.
    let mut world = world_of(3);
    world.forget();
    let disk = world.disk.after_kill();
    let (logs, _) = world.look(&disk);
    assert!(logs.is_empty());
    assert!(!is_left(&disk));
}

/// Found by tests/sim: a board gave a partition up, got it back, and lost its power. The journal's note
/// that it was given up had the new copy removed, though that is what lies behind the note.
#[test]
fn a_partition_that_is_back_after_it_was_given_up_is_kept() {
    let world = world_of(3);
    let bytes = world.disk.files()[&log_path(0)].len() as u64;
    let mut dir = claim(&world.disk.after_kill(), 1, None).expect("its own");
    let mut redo = dir.redo(BTreeMap::new());
    redo.state(topic_partition(), SmallState::Forget);
    redo.flush(topic_partition(), Offset(3), Offset::ZERO, bytes);
    let (logs, _) = dir.recover(&parameters(1, None), true).expect("it opens");
    assert_eq!(logs.iter().map(Log::end_offset).collect::<Vec<_>>(), [Offset(3)]);
}

/// The same of one that is back and has an epoch, and of one that is back and has nothing yet.
#[test]
fn what_lies_behind_the_note_that_a_partition_was_given_up_is_of_the_new_copy() {
    for has_epoch in [true, false] {
        let world = world_of(if has_epoch { 3 } else { 0 });
        let mut dir = claim(&world.disk.after_kill(), 1, None).expect("its own");
        let mut redo = dir.redo(BTreeMap::new());
        redo.state(topic_partition(), SmallState::Forget);
        if has_epoch {
            let epoch = SmallState::EpochStart {
                epoch: odradek::ids::LeaderEpoch(1),
                offset: Offset::ZERO,
            };
            redo.state(topic_partition(), epoch);
        }
        let (logs, _) = dir.recover(&parameters(1, None), true).expect("it opens");
        assert_eq!(logs.len(), 1, "{has_epoch}");
    }
}

#[test]
fn a_clean_stop_leaves_what_kafka_reads() {
    let mut world = world_of(30);
    world.close();
    let text = |file: &str| {
        let path = Path::new("/data").join(file);
        let file = world.disk.open(&path, Open::Read).expect("there");
        let mut bytes = vec![0; file.len().expect("reads") as usize];
        file.read_exact_at(&mut bytes, 0).expect("reads");
        String::from_utf8(bytes).expect("text")
    };
    assert_eq!(text("recovery-point-offset-checkpoint"), "0\n1\nhost.vmstat 0 30\n");
    assert_eq!(text("replication-offset-checkpoint"), "0\n1\nhost.vmstat 0 30\n");
    assert_eq!(text("log-start-offset-checkpoint"), "0\n0\n");
    assert_eq!(text("host.vmstat-0/leader-epoch-checkpoint"), "0\n1\n1 0\n");
    assert_eq!(text(".kafka_cleanshutdown"), "{\"version\":0,\"brokerEpoch\":-1}");
    assert!(text("host.vmstat-0/partition.metadata").starts_with("version: 0\ntopic_id: "));
    for path in world.disk.paths() {
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        let entry = match suffix {
            Some("index") => 8,
            Some("timeindex") => 12,
            _ => continue,
        };
        assert_eq!(world.disk.len_of(&path) % entry, 0);
        assert!(0 < world.disk.len_of(&path), "{}", path.display());
    }
}

#[test]
fn a_batch_of_an_older_epoch_is_not_taken_back() {
    // A power cut may bring back what lay behind the end before: right offset, right checksum.
    let mut world = world_of(5);
    let bytes = batch_bytes(&world);
    let file = world.disk.open(&log_path(0), Open::Read).expect("there");
    let mut old = vec![0; bytes as usize];
    file.read_exact_at(&mut old, 4 * bytes).expect("reads");
    let disk = world.disk.after_kill();
    world.open(disk);
    world.append(1, 111).expect("the disk works");
    world.commit();
    // The old batch, stamped as the next one, under the epoch of the run before.
    old[..8].copy_from_slice(&6i64.to_be_bytes());
    let disk = world.disk.after_kill();
    let file = disk.open(&log_path(0), Open::Write).expect("there");
    file.write_all_at(&old, 6 * bytes).expect("written");
    let report = world.open(disk);
    assert_eq!(report.partitions[0].torn_bytes, bytes);
    assert_eq!(world.log().end_offset(), Offset(6));
    world.check();
}

#[test]
fn a_segment_ends_where_the_next_begins() {
    // Left behind by a repair that was stopped after the good part had its own name: the older
    // file still holds the newer one's batches.
    let mut world = world_of(40);
    let logs: Vec<_> = segments(&world.disk);
    let next = &world.disk.files()[&logs[1]];
    let disk = world.disk.after_kill();
    let end = disk.len_of(&logs[0]) as u64;
    let file = disk.open(&logs[0], Open::Write).expect("there");
    file.write_all_at(&next[..600], end).expect("written");
    let report = world.open(disk);
    assert!(report.partitions[0].is_sound());
    assert_eq!(report.partitions[0].torn_bytes, 600);
    assert_eq!(world.disk.len_of(&logs[0]) as u64, end);
    world.check();
}

#[test]
fn a_deleted_segment_that_redo_brings_back_goes_again() {
    // Every segment expired, and the name of the one the log goes on in was lost.
    let mut world = World::new(TopicConfig { retention_bytes: 0, ..config() });
    for _ in 0..30 {
        world.append(1, 111).expect("the disk works");
    }
    world.commit();
    world.expire().expect("the disk works");
    world.append(1, 111).expect("the disk works");
    world.commit();
    world.ms += 100_000;
    let disk = world.disk.after_kill();
    for path in segments(&disk) {
        disk.destroy(&path);
    }
    world.open(disk);
    assert_eq!(segments(&world.disk), [log_path(30)]);
    world.check();
}

#[test]
fn a_summary_that_outlived_its_bytes_is_not_believed() {
    // A power cut takes bytes whose summary was written already; others are written in their
    // place, and the old summary is still there when the log is opened once more.
    let mut world = world_of(5);
    let bytes = batch_bytes(&world);
    let summary = log_path(0).with_extension("summary");
    for _ in 0..10 {
        world.append(1, 111).expect("the disk works");
    }
    world.log().close_idle_handles();
    let stale = world.disk.files()[&summary].clone();
    let disk = world.disk.after_kill();
    disk.open(&log_path(0), Open::Write).expect("there").set_len(5 * bytes).expect("cut");
    world.open(disk);
    world.ms += 1_000_000;
    for _ in 0..12 {
        world.append(1, 111).expect("the disk works");
    }
    world.checkpoint().expect("the disk works");
    let disk = world.disk.after_kill();
    disk.open(&summary, Open::CreateOrWrite).expect("made").write_all_at(&stale, 0).expect("put");
    world.open(disk);
    let want = world.truth.times.values().max().copied();
    let found = partition::warm(|| world.log().max_timestamp(Offset(17)));
    assert_eq!(found.map(|found| found.timestamp.0), want);
    world.check();
}
