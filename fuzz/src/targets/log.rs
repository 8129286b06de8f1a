//! A partition's files: indexes and summaries, small files, segments, and the dump of any file.

use std::path::{Path, PathBuf};

use odradek::ids::Offset;
use odradek::journal::disk::{Disk, DiskFile, Open};
use odradek::log::{Dump, Dumped, Log, ReadError};
use odradek::record::Batch;
use odradek::record::crc::crc32c;

use super::record;
use crate::note::note;
use crate::partition::{Fate, Random, World, is_cache, random_batch, read_all, small_config, warm};
use crate::sim_disk::SimDisk;
use crate::{Target, take};

/// Four kinds of files.
pub fn all() -> Vec<Target> {
    let caches = with_world(|world| contents(world, is_cache));
    let small = with_world(|world| contents(world, is_small));
    let segments = with_world(|world| contents(world, is_segment));
    let tails = segments.iter().map(|seed| [&[0], &seed[..seed.len().min(600)]].concat()).collect();
    let dumps = segments.into_iter().map(|seed| seed[1..].to_vec()).collect();
    vec![
        Target::new("log/indexes", caches, indexes),
        Target::new("log/small-files", small, small_files),
        Target::new("log/segment", tails, segment),
        Target::new("log/dump", dumps, dump),
    ]
}

thread_local! {
    /// A partition that was written, checkpointed and stopped; each thread makes the same.
    static STOPPED: World = {
        let mut world = written();
        let middle = Offset(world.log().end_offset().0 / 4);
        let state = world.log().advance_start(middle).expect("it moves");
        world.persist(state);
        world.truth.start = middle.0;
        world.checkpoint().expect("the disk works");
        world.close();
        world
    };
    /// One that was killed, and of which no checkpoint vouches for a byte.
    static KILLED: World = {
        let mut world = written();
        world.commit();
        world.journal.clear();
        world
    };
}

fn written() -> World {
    let mut world = World::new(small_config());
    let mut random = Random::new(3);
    for round in 0..24 {
        random_batch(&mut world, &mut random).expect("the disk works");
        if round == 12 {
            world.begin_epoch();
        }
    }
    for sequence in 0..6 {
        world.append_by((7, 0, sequence), 1, 10).expect("the disk works");
    }
    world
}

fn with_world<T>(act: impl FnOnce(&World) -> T) -> T {
    STOPPED.with(act)
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "log")
}

fn is_small(path: &Path) -> bool {
    !is_cache(path) && !is_segment(path)
}

/// The files of a kind, in order.
fn paths(world: &World, is_one: fn(&Path) -> bool) -> Vec<PathBuf> {
    world.disk.paths().into_iter().filter(|path| is_one(path)).collect()
}

/// Their contents, each behind its number.
fn contents(world: &World, is_one: fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let files = world.disk.files();
    let number = paths(world, is_one).into_iter().enumerate();
    number.map(|(number, path)| [&[number as u8], &*files[&path]].concat()).collect()
}

/// Indexes are caches: whatever lies in one, every record is read back, and found by its time.
fn indexes(mut bytes: &[u8]) {
    let [choice] = take(&mut bytes);
    with_world(|world| {
        let paths = paths(world, is_cache);
        let path = &paths[usize::from(choice & 0x7f) % paths.len()];
        let disk = world.disk.after_kill();
        let mut content = bytes.to_vec();
        // A summary whose own checksum is right may lie about timestamps, and nobody can tell.
        let is_mended = choice & 0x80 != 0 && path.extension().is_some_and(|s| s == "summary");
        // So may a snapshot about producers, whose checksum lies before what it covers.
        let is_snapshot = path.extension().is_some_and(|s| s == "snapshot");
        if choice & 0x80 != 0 && is_snapshot && 6 <= content.len() {
            let crc = crc32c(&content[6..]);
            content[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        if let (true, Some(body)) = (is_mended, content.len().checked_sub(4)) {
            let crc = crc32c(&content[..body]);
            content[body..].copy_from_slice(&crc.to_be_bytes());
        }
        disk.damage(path, |file| file.clone_from(&content));
        let (logs, report) = world.look(&disk);
        assert!(report.partitions[0].is_sound(), "{report:?}");
        let log = &logs[0];
        note(&log.producers().count());
        let start = world.truth.start;
        let found = read_all(log, 1000).expect("nothing is damaged");
        let want: Vec<_> = world.truth.values.range(start..).map(|(&o, &v)| (o, v)).collect();
        assert_eq!(found, want);
        if !is_mended {
            times(world, log);
        }
    });
}

fn times(world: &World, log: &Log<SimDisk>) {
    let times: Vec<_> = world.truth.times.range(world.truth.start..).collect();
    for &(_, &time) in times.iter().step_by(7) {
        let at = odradek::time::Timestamp(time);
        let found = warm(|| log.offset_for_timestamp(at, log.end_offset()));
        let first = times.iter().find(|&&(_, &other)| time <= other).map(|&(&offset, _)| offset);
        assert_eq!(found.map(|found| found.offset.0), first);
    }
    let max = warm(|| log.max_timestamp(log.end_offset())).map(|found| found.timestamp.0);
    assert_eq!(max, times.iter().map(|&(_, &time)| time).max());
}

/// A small file with other content. Bit 7 of the first byte puts our head with a right checksum
/// before it. What is read afterwards is a part of what was written.
fn small_files(mut bytes: &[u8]) {
    let [choice] = take(&mut bytes);
    with_world(|world| {
        let paths = paths(world, is_small);
        let path = &paths[usize::from(choice & 0x7f) % paths.len()];
        let disk = world.disk.after_kill();
        let mut content = bytes.to_vec();
        if choice & 0x80 != 0 {
            let head = format!("odradek-file 1 {:08x}\n", crc32c(bytes));
            content = [head.as_bytes(), bytes].concat();
        }
        disk.damage(path, |file| file.clone_from(&content));
        let Some((logs, report)) = world.try_look(&disk) else { return note(&"refused") };
        note(&(logs.len(), report.unknown.len(), report.was_clean));
        for log in &logs {
            let Ok(found) = read_all(log, 1000) else { return note(&"damaged") };
            for (offset, value) in found {
                assert_eq!(world.truth.values.get(&offset), Some(&value), "at {offset}");
            }
        }
    });
}

/// The last segment ends in something else. The first byte says where that begins, and whether
/// length and checksum of a batch there are made right. Whatever recovery makes of it, reads give
/// whole batches in order, and a second recovery finds the same.
fn segment(mut bytes: &[u8]) {
    let [options] = take(&mut bytes);
    KILLED.with(|world| {
        let path = paths(world, is_segment).pop().expect("there is a segment");
        let disk = world.disk.after_kill();
        let mut tail = bytes.to_vec();
        if options & 0x80 != 0 {
            record::mend(&mut tail);
        }
        let kept = usize::from(options & 7);
        disk.damage(&path, |file| {
            let starts = batch_starts(file);
            let at = starts.get(kept % starts.len().max(1)).copied().unwrap_or(0);
            file.truncate(at);
            file.extend_from_slice(&tail);
        });
        // Without a mark everything that is whole counts; with one, what is missing is a hole.
        let mark = (options & 8 != 0).then_some(Offset(world.truth.durable));
        let (logs, report) = world.look_with_mark(&disk, mark);
        let found = &report.partitions[0];
        note(&(found.is_sound(), found.new_holes.len(), found.torn_bytes.min(1)));
        let ends = walk(&logs[0]);
        drop(logs);
        let (again, _) = world.look_with_mark(&disk, mark);
        assert_eq!(walk(&again[0]), ends, "recovered twice");
    });
}

fn batch_starts(file: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut rest = file;
    while let Ok((_, after)) = Batch::split_first(rest) {
        starts.push(file.len() - rest.len());
        rest = after;
    }
    starts
}

/// Reads a log from start to end; the offsets at which slices ended.
fn walk(log: &Log<SimDisk>) -> Vec<i64> {
    let mut ends = vec![log.start_offset().0, log.end_offset().0];
    let mut from = log.start_offset();
    for _ in 0..10_000 {
        if log.end_offset() <= from {
            return ends;
        }
        let slice = match log.read(from, 4096, log.end_offset(), true) {
            Ok(slice) => slice,
            Err(ReadError::Cold { .. }) => continue,
            Err(ReadError::Damaged { .. }) => {
                note(&"damaged");
                return ends;
            }
            Err(error) => panic!("{error}"),
        };
        if slice.bytes == 0 {
            // What is lost at the end of the log.
            assert!(log.holes().iter().any(|hole| log.end_offset() <= hole.to), "no progress");
            return ends;
        }
        let mut bytes = vec![0; slice.bytes as usize];
        slice.file.read_exact_at(&mut bytes, slice.position).expect("it is in the file");
        let mut rest = &bytes[..];
        let mut last = from;
        while !rest.is_empty() {
            let (batch, after) = Batch::split_first(rest).expect("whole batches");
            assert!(batch.crc_is_valid(), "recovery let it pass");
            assert!(last < batch.header().next_offset(), "offsets rise");
            last = batch.header().next_offset();
            rest = after;
        }
        assert_eq!(last, slice.end_offset);
        from = last;
        ends.push(from.0);
    }
    panic!("a log of a few batches has an end");
}

/// `log dump` of any file: it ends, and accounts for every byte.
fn dump(bytes: &[u8]) {
    let disk = SimDisk::default();
    let path = Path::new("/f.log");
    let file = disk.open(path, Open::Create).expect("the disk works");
    file.write_all_at(bytes, 0).expect("the disk works");
    let dump = Dump::open(&disk, path).expect("it is there");
    let mut end = 0;
    for dumped in dump {
        match dumped.expect("the disk works") {
            Dumped::Batch { position, header, crc_is_valid } => {
                assert_eq!(position, end);
                end += header.size_bytes() as u64;
                assert!(end <= bytes.len() as u64);
                note(&("batch", crc_is_valid));
            }
            Dumped::Garbage { position, bytes } => {
                assert_eq!(position, end);
                end += bytes;
                note(&"garbage");
            }
        }
    }
    assert_eq!(end, bytes.len() as u64, "every byte is accounted for");
}
