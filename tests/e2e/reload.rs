//! SIGHUP: what is marked `[reload]` takes effect in the running broker. `runtime::reload` shows by
//! table that each such key reaches somebody; here each of those somebodies acts on it.

use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::broker::{Broker, Folder, Setup, output_of};

/// How long a change may take to be seen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Live {
    broker: Broker,
    file: PathBuf,
    /// Removed at the end.
    _folder: Folder,
}

impl Live {
    fn start(config: &str) -> Live {
        let folder = Folder::new();
        let file = folder.join("config.toml");
        fs::write(&file, config).expect("written");
        let broker = Setup::new(&folder.join("data")).config(&file).start();
        Live { broker, file, _folder: folder }
    }

    /// Gives it another configuration and waits until `is_seen`.
    fn reload(&self, config: &str, is_seen: impl Fn(&Broker) -> bool) {
        fs::write(&self.file, config).expect("written");
        self.broker.signal(Signal::HUP);
        let deadline = Instant::now() + PATIENCE;
        while !is_seen(&self.broker) {
            assert!(Instant::now() < deadline, "{config}: in vain; {}", self.broker.words());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Produces one line; whether it was acknowledged at once.
fn takes_a_line(broker: &Broker, topic: &str) -> bool {
    let command = broker.command(&["produce", topic, "--create"]);
    output_of(command, b"a line\n").status.success()
}

fn log_start(broker: &Broker, topic: &str) -> bool {
    let json = broker.text(&["topic", "describe", topic, "--json"]);
    !json.contains("\"log_start_offset\":0,")
}

#[test]
fn the_controller_and_the_topics_follow() {
    let live = Live::start("");
    live.reload("num.partitions = 3\n", |broker| {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        broker.text(&["topic", "create", &name]);
        broker.text(&["topic", "describe", &name]).contains("partitions 3")
    });
    live.broker.text(&["topic", "create", "kept"]);
    let refuses = |broker: &Broker| !broker.run(&["topic", "delete", "kept"]).status.success();
    live.broker.text(&["topic", "delete", "t0"]);
    fs::write(&live.file, "delete.topic.enable = false\n").expect("written");
    live.broker.signal(Signal::HUP);
    let is_told = |broker: &Broker| broker.words().contains("`delete.topic.enable` is now false");
    let deadline = Instant::now() + PATIENCE;
    while !is_told(&live.broker) {
        assert!(Instant::now() < deadline, "{}", live.broker.words());
        thread::sleep(Duration::from_millis(20));
    }
    // It is told a moment before it is done.
    thread::sleep(Duration::from_millis(200));
    assert!(refuses(&live.broker), "deletion is off");
    live.reload("log.retention.minutes = 90\nshards = 2\nlog.flush.interval.ms = 5\n", |broker| {
        let json = broker.text(&["topic", "describe", "kept", "--json"]);
        json.contains(r#""retention.ms":{"value":"5400000","source":"STATIC_BROKER_CONFIG"}"#)
    });
    let words = live.broker.words();
    assert!(words.contains("`shards` becomes 2 with the next start"), "{words}");
}

#[test]
fn retention_and_the_disks_reserve_follow() {
    let live = Live::start("disk.full.policy = \"refuse\"\n");
    let sets = ["--set", "segment.bytes=16384", "--set", "retention.bytes=16384"];
    live.broker.text(&[&["topic", "create", "old"], &sets[..]].concat());
    for _ in 0..4 {
        live.broker.produce(&["old"], &["x".repeat(12_000)]);
    }
    assert!(!log_start(&live.broker, "old"), "the first check is minutes away");
    let checks = "disk.full.policy = \"refuse\"\nlog.retention.check.interval.ms = 50\n";
    live.reload(checks, |broker| log_start(broker, "old"));

    assert!(takes_a_line(&live.broker, "full"));
    live.reload("disk.full.policy = \"refuse\"\ndisk.reserve.bytes = \"1000TiB\"\n", |broker| {
        broker.text(&["status", "--json"]).contains("\"disk_full_now\":1")
    });
    live.reload("disk.full.policy = \"refuse\"\ndisk.reserve.bytes = 0\n", |broker| {
        broker.text(&["status", "--json"]).contains("\"disk_full_now\":0")
    });
    assert!(takes_a_line(&live.broker, "full"));
    live.broker.text(&["topic", "create", "giving", "--set", "segment.bytes=16384"]);
    for _ in 0..4 {
        live.broker.produce(&["giving"], &["x".repeat(12_000)]);
    }
    live.reload("disk.full.policy = \"delete-oldest\"\ndisk.reserve.bytes = \"1000TiB\"\n", |b| {
        log_start(b, "giving")
    });
}

#[test]
fn the_flusher_and_the_scrubber_follow() {
    let live = Live::start("scrub.interval.ms = 0\n");
    live.broker.text(&["topic", "create", "t", "--set", "segment.bytes=16384"]);
    for _ in 0..3 {
        live.broker.produce(&["t"], &["x".repeat(12_000)]);
    }
    live.reload("scrub.interval.ms = 50\nflush.linger.ms = 400\n", |broker| {
        !broker.text(&["status", "--json"]).contains("\"scrub_segments_count\":0")
    });
    let began = Instant::now();
    assert!(takes_a_line(&live.broker, "t"));
    assert!(Duration::from_millis(400) <= began.elapsed(), "the flusher waits for company");
}

#[test]
fn the_connections_follow() {
    let live = Live::start("");
    let connect = || TcpStream::connect(&live.broker.server).expect("it listens");
    let is_ended = |stream: &mut TcpStream, patience: Duration| {
        stream.set_read_timeout(Some(patience)).expect("a socket");
        matches!(stream.read(&mut [0]), Ok(0))
    };
    let mut silent = connect();
    assert!(!is_ended(&mut silent, Duration::from_millis(100)), "it may be silent for a while");
    live.reload("frame.timeout.ms = 200\n", |_| is_ended(&mut connect(), PATIENCE));
    assert!(is_ended(&mut silent, PATIENCE), "no hello within frame.timeout.ms");
    live.reload("max.connections.per.ip = 1\n", |broker| {
        let _first = connect();
        let refused = is_ended(&mut connect(), Duration::from_millis(200));
        refused && broker.words().contains("`max.connections.per.ip` = 1 are open")
    });
    live.reload("max.connections = 1\n", |broker| {
        let _first = connect();
        let refused = is_ended(&mut connect(), Duration::from_millis(200));
        refused && broker.words().contains("`max.connections` = 1 are open")
    });
}
