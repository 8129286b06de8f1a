//! Data directories that something happened to: a file gone, cut short or with a flipped bit, a
//! directory of another node, one that cannot be written, a disk that is full.
//!
//! Two outcomes are right: the broker refuses and names what it met, or it serves. Then it serves
//! what was written and nothing else, all of it unless records themselves were hit, and what is
//! missing is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, Folder, Setup};
use crate::load::{Load, Shape, check_acked};
use crate::power::{self, Device};

const TOPIC: &str = "hurt";

fn lines() -> Vec<String> {
    (0..3000).map(|number| format!("line {number} {}", "x".repeat(number % 50))).collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("listed").map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let mut files = Vec::new();
    files_below(from, &mut files);
    for file in files {
        let copy = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(copy.parent().expect("below it")).expect("made");
        fs::copy(&file, &copy).expect("copied");
    }
}

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Gone,
    CutShort,
    FlippedBit,
}

impl Fault {
    fn strike(self, file: &Path) {
        let mut bytes = fs::read(file).expect("read");
        match self {
            Fault::Gone => return fs::remove_file(file).expect("removed"),
            Fault::CutShort => bytes.truncate(bytes.len() / 2),
            Fault::FlippedBit => {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 4;
                }
            }
        }
        fs::write(file, &bytes).expect("written");
    }
}

/// Checks that what is served is a part of what was written, in order; how many lines are missing.
fn missing_lines(broker: &Broker) -> Result<usize, String> {
    let output = broker.run(&["consume", TOPIC, "--from", "beginning", "--until-end"]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = lines();
    let mut rest = expected.iter();
    for line in found.lines() {
        assert!(rest.any(|written| written == line), "never written there: {line}");
    }
    Ok(expected.len() - found.lines().count())
}

/// Starts a broker on a hurt directory and checks that the outcome is one of the right ones.
fn check(data: &Path, file: &Path, fault: Fault) {
    let place = format!("{} {fault:?}", file.display());
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    let folder = file.parent().and_then(Path::file_name).expect("in a folder");
    let folder = folder.to_string_lossy().into_owned();
    let names_it = |words: &str| words.contains(&name) || words.contains(&folder);
    let broker = match Setup::new(data).try_start() {
        Ok(broker) => broker,
        Err(words) => {
            assert!(!words.contains("panicked"), "{place}: {words}");
            return assert!(names_it(&words), "{place}: a refusal names the file: {words}");
        }
    };
    let missing = missing_lines(&broker);
    let words = broker.words();
    assert!(!words.contains("panicked"), "{place}: {words}");
    let holds_records = file.extension().is_some_and(|extension| extension == "log");
    match missing {
        Ok(0) => {}
        Ok(missing) => {
            assert!(holds_records, "{place}: {missing} lines are missing, no record was hit");
            assert!(names_it(&words), "{place}: {missing} lines are missing unsaid: {words}");
        }
        // What lies in sealed segments goes out unread; the client's own check finds it then.
        Err(refusal) => {
            assert!(!refusal.contains("panicked"), "{place}: {refusal}");
            let is_named = names_it(&words) || refusal.contains(TOPIC);
            assert!(is_named, "{place}: {refusal}, unsaid: {words}");
        }
    }
    broker.produce(&["after", "--create"], &["still here".to_owned()]);
    assert_eq!(broker.consume(&["after"]), ["still here"], "{place}");
}

fn check_all_files(is_clean: bool) {
    let folder = Folder::new();
    let whole = folder.join("whole");
    let broker = Setup::new(&whole).start();
    broker.text(&["topic", "create", TOPIC, "--set", "segment.bytes=1048576"]);
    broker.produce(&[TOPIC], &lines());
    if is_clean {
        assert!(broker.stop().success());
    } else {
        broker.kill();
    }
    let mut files = Vec::new();
    files_below(&whole, &mut files);
    assert!(3 < files.len(), "{files:?}");
    for (number, file) in files.iter().enumerate() {
        for fault in [Fault::Gone, Fault::CutShort, Fault::FlippedBit] {
            let data = folder.join(&format!("{number}-{fault:?}"));
            copy(&whole, &data);
            let file = data.join(file.strip_prefix(&whole).expect("below it"));
            fault.strike(&file);
            check(&data, &file, fault);
            fs::remove_dir_all(&data).expect("removed");
        }
    }
}

#[test]
fn any_file_may_be_hurt_after_a_clean_stop() {
    check_all_files(true);
}

#[test]
fn any_file_may_be_hurt_after_a_kill() {
    check_all_files(false);
}

/// Asks until the answer is there.
fn wait_for(what: &str, ask: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !ask() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_bit_that_flips_in_a_sealed_segment_is_found_by_the_scrub() {
    // After a clean stop no start reads sealed segments, so that only the scrub can find it.
    let folder = Folder::new();
    let data = folder.join("data");
    let setup = Setup::new(&data).set("scrub.interval.ms", "200");
    let setup = setup.set("scrub.bytes.per.second", "100000000");
    let broker = setup.start();
    broker.text(&["topic", "create", TOPIC, "--set", "segment.bytes=16384"]);
    for part in lines().chunks(100) {
        broker.produce(&[TOPIC], part);
    }
    assert!(broker.stop().success());
    let sealed = data.join(format!("{TOPIC}-0")).join("00000000000000000000.log");
    Fault::FlippedBit.strike(&sealed);
    let broker = setup.start();
    let describe = || broker.text(&["topic", "describe", TOPIC]);
    wait_for("the scrub finds it", || describe().contains("segment 0 is DAMAGED"));
    assert!(describe().contains("HOLES"), "{}", describe());
    let words = broker.words();
    assert!(words.contains("hurt-0: segment 0 is damaged at byte"), "{words}");
    let json = broker.text(&["topic", "describe", TOPIC, "--json"]);
    assert!(json.contains("\"damaged_segments\":[0]"), "{json}");
    let metrics = broker.text(&["status", "--json"]);
    assert!(metrics.contains("\"log_suspect_segments_now\":1"), "{metrics}");
    assert!(broker.stop().success());

    // The next start scans it: one batch is a hole, all others are there.
    let broker = setup.start();
    let described = broker.text(&["topic", "describe", TOPIC, "--json"]);
    assert!(described.contains("\"damaged_segments\":[]"), "{described}");
    assert!(described.contains("\"holes\":[{\"from\":"), "{described}");
    let missing = missing_lines(&broker).expect("the rest is served");
    assert!((1..=100).contains(&missing), "{missing} lines are missing");
}

#[test]
fn a_first_segment_that_is_gone_is_named() {
    let folder = Folder::new();
    let data = folder.join("data");
    let setup = Setup::new(&data);
    let broker = setup.start();
    broker.text(&["topic", "create", TOPIC, "--set", "segment.bytes=16384"]);
    for part in lines().chunks(100) {
        broker.produce(&[TOPIC], part);
    }
    assert!(broker.stop().success());
    let first = data.join(format!("{TOPIC}-0")).join("00000000000000000000.log");
    fs::remove_file(&first).expect("removed");
    let broker = setup.start();
    let described = broker.text(&["topic", "describe", TOPIC, "--json"]);
    assert!(described.contains("\"log_start_offset\":0,"), "{described}");
    assert!(described.contains("\"holes\":[{\"from\":0,\"end\":"), "{described}");
    let words = broker.words();
    assert!(words.contains("hurt-0: damaged; the records from offset 0 up to"), "{words}");
    let missing = missing_lines(&broker).expect("the rest is served");
    assert!((100..1000).contains(&missing), "{missing} lines are missing");
}

#[test]
fn the_data_of_another_node_is_refused() {
    let folder = Folder::new();
    let data = folder.join("data");
    assert!(Setup::new(&data).set("broker.id", "1").start().stop().success());
    let refused = Setup::new(&data).set("broker.id", "2").try_start();
    let words = refused.expect_err("it belongs to node 1");
    assert!(words.contains("broker.id") || words.contains("meta.properties"), "{words}");
}

/// All files of a folder and what they hold.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    files_below(folder, &mut files);
    files.into_iter().map(|file| (file.clone(), fs::read(file).expect("read"))).collect()
}

#[test]
fn the_data_of_a_newer_release_is_refused_and_left_alone() {
    let folder = Folder::new();
    let data = folder.join("data");
    let setup = Setup::new(&data);
    let broker = setup.start();
    broker.produce(&[TOPIC, "--create"], &lines());
    assert!(broker.stop().success());
    let file = data.join("format");
    let whole = fs::read_to_string(&file).expect("text");
    let (_, text) = whole.split_once('\n').expect("a first line with the checksum");
    let newer = text.replace("oldest_reader 1", "oldest_reader 2");
    assert_ne!(newer, text);
    let crc = odradek::record::crc::crc32c(newer.as_bytes());
    for newer in [
        format!("odradek-file 1 {crc:08x}\n{newer}"),
        // The file's own layout may be newer than what is read here, too.
        whole.replacen("odradek-file 1", "odradek-file 2", 1),
    ] {
        fs::write(&file, newer).expect("written");
        let before = contents(&data);
        let words = setup.try_start().expect_err("it may hold what nobody here understands");
        let names_it = words.contains(&file.display().to_string()) && words.contains("newer");
        assert!(names_it && !words.contains("panicked"), "{words}");
        assert!(contents(&data) == before, "not a byte is changed");
    }
    fs::write(&file, whole).expect("written");
    assert_eq!(missing_lines(&setup.start()), Ok(0));
}

#[test]
fn a_disk_that_cannot_be_written_is_refused() {
    let Some(device) = Device::new() else { return };
    let setup = power::setup(&device);
    assert!(setup.start().stop().success());
    device.make_writable(false);
    let output = setup.command().output().expect("the binary starts");
    device.make_writable(true);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("data") && !words.contains("panicked"), "{words}");
}

#[test]
fn a_file_system_without_fallocate_will_do() {
    let Some(device) = Device::with(256 << 20, &["-O", "^extent,^64bit"]) else { return };
    let setup = power::setup(&device);
    let broker = setup.start();
    broker.produce(&[TOPIC, "--create"], &lines());
    broker.kill();
    assert_eq!(missing_lines(&setup.start()), Ok(0));
}

/// A disk with room for a journal, the reserve and some segments.
const SMALL_DISK_BYTES: u64 = 64 << 20;

/// More than fit on it.
const LARGE_LINES: usize = 8000;

/// What fills a small disk in seconds.
const FILLING: Shape = Shape { topic: "fill", value_bytes: 10_000, records_per_ms: 4 };

fn large_lines() -> Vec<String> {
    (0..LARGE_LINES).map(|number| format!("{number} {}", "y".repeat(10_000))).collect()
}

#[test]
fn a_full_disk_refuses_serves_and_takes_again() {
    let Some(device) = Device::with(SMALL_DISK_BYTES, &[]) else { return };
    let setup = power::setup(&device).set("disk.full.policy", "refuse");
    let broker = setup.start();
    let settings = ["--set", "segment.bytes=4194304", "--set", "file.delete.delay.ms=0"];
    broker.text(&[&["topic", "create", "fill"], &settings[..]].concat());
    broker.produce(&[TOPIC, "--create"], &lines());
    let load = Load::start(&broker, FILLING, "filling");
    assert!(load.wait_for_acks(1000), "an empty disk takes records");
    // The disk is full when acks stay away.
    let mut before = 0;
    while before < load.acked_count() {
        before = load.acked_count();
        thread::sleep(Duration::from_secs(2));
    }
    let acked = load.finish();
    assert!(acked.len() < 5000, "50 MB do not fit on 64 MiB beside a journal and a reserve");
    check_acked(&broker, FILLING.topic, &acked).expect("a full disk loses nothing");
    assert_eq!(missing_lines(&broker), Ok(0), "what was there is served");
    // Deletion, and even a restart, work on the reserve.
    broker.kill();
    let broker = setup.start();
    broker.text(&["topic", "delete", "fill"]);
    let mut taken = broker.run(&["topic", "list"]);
    for _ in 0..100 {
        let produce = broker.command(&["produce", "again", "--create"]);
        taken = crate::broker::output_of(produce, b"room again\n");
        if taken.status.success() {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(broker.consume(&["again"]).first().map(String::as_str), Some("room again"));
}

#[test]
fn a_full_disk_makes_room_for_the_newest() {
    let Some(device) = Device::with(SMALL_DISK_BYTES, &[]) else { return };
    let setup = power::setup(&device).set("disk.full.policy", "delete-oldest");
    let broker = setup.start();
    broker.text(&["topic", "create", "fill", "--set", "segment.bytes=4194304"]);
    broker.produce(&["fill"], &large_lines());
    let found = broker.consume(&["fill"]);
    assert!(100 < found.len() && found.len() < 5000, "{} lines are left", found.len());
    let newest = format!("{} ", LARGE_LINES - 1);
    assert!(found.last().is_some_and(|line| line.starts_with(&newest)), "the newest is there");
}
