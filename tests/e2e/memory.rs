//! One limit for the whole process, under load; and what a running broker takes anew on SIGHUP.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::{Folder, Setup};
use crate::load::{Ack, Load, Shape, check_acked};

const MEMORY_LIMIT: u64 = 32 << 20;

/// What the process may have beside what the limit counts: stacks, the allocator's slack.
const SLACK_BYTES: u64 = 8 << 20;

const SMALL: Shape = Shape { topic: "small", value_bytes: 100, records_per_ms: 30 };
const LARGE: Shape = Shape { topic: "large", value_bytes: 100_000, records_per_ms: 1 };

#[test]
fn memory_stays_within_its_limit_under_load() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    let broker = setup.set("memory.limit", &MEMORY_LIMIT.to_string()).start();
    broker.text(&["topic", "create", SMALL.topic, "--partitions", "16"]);
    broker.text(&["topic", "create", LARGE.topic]);
    let loads: Vec<(Shape, Load)> = (0..4)
        .flat_map(|number| [(number, SMALL), (number, LARGE)])
        .map(|(number, shape)| (shape, Load::start(&broker, shape, &format!("load{number}"))))
        .collect();
    let mut most = 0;
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        most = most.max(broker.anonymous_bytes());
        thread::sleep(Duration::from_millis(20));
    }
    // Under pressure a producer backs off, on a slow machine for seconds: it is not forgotten.
    for (shape, load) in &loads {
        assert!(load.wait_for_acks(1), "everybody gets something through: {}", shape.topic);
    }
    most = most.max(broker.anonymous_bytes());
    // All loads end before anything is read: a load that goes on while its topic is read makes
    // more than can be read in the time a command has.
    let acked: Vec<(Shape, Vec<Ack>)> =
        loads.into_iter().map(|(shape, load)| (shape, load.finish())).collect();
    for (shape, acked) in acked {
        check_acked(&broker, shape.topic, &acked)
            .expect("under pressure, too, an ack is a promise");
        most = most.max(broker.anonymous_bytes());
    }
    assert!(most < MEMORY_LIMIT + SLACK_BYTES, "{most} bytes with a limit of {MEMORY_LIMIT}");
}

#[test]
fn sighup_reloads_what_can_be_and_names_what_needs_a_restart() {
    let folder = Folder::new();
    let file = folder.join("config.toml");
    fs::write(&file, "log.retention.ms = 1000000\n").expect("written");
    let broker = Setup::new(&folder.join("data")).config(&file).start();
    broker.text(&["topic", "create", "kept"]);
    fs::write(&file, "log.retention.ms = 2000000\nmax.connections = 77\nshards = 3\n")
        .expect("written");
    broker.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !broker.words().contains("shards") {
        assert!(Instant::now() < deadline, "what needs a restart is named: {}", broker.words());
        thread::sleep(Duration::from_millis(20));
    }
    fs::write(&file, "log.retention.ms = \"soon\"\n").expect("written");
    broker.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !broker.words().contains("log.retention.ms") {
        assert!(Instant::now() < deadline, "a mistake is named: {}", broker.words());
        thread::sleep(Duration::from_millis(20));
    }
    broker.produce(&["kept"], &["it goes on".to_owned()]);
    assert_eq!(broker.consume(&["kept"]), ["it goes on"]);
}
