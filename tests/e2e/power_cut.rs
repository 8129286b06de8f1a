//! Power cuts under load: every acknowledged record is read after each, and a broker that does not
//! sync is caught.

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::Duration;

use crate::broker::Broker;
use crate::load::{Ack, Load, Shape, check_acked};
use crate::peers;
use crate::power::{self, Device};

/// Many small records over several partitions: they share commits of the journal.
const SMALL: Shape = Shape { topic: "small", value_bytes: 60, records_per_ms: 20 };

/// Large ones: a partition's share of a commit is synced in its segment instead.
const LARGE: Shape = Shape { topic: "large", value_bytes: 16_000, records_per_ms: 2 };

/// Cuts in the test; the environment may ask for any number.
fn cuts() -> u32 {
    env::var("ODRADEK_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

fn create_topics(broker: &Broker) {
    // Segments roll often and expire, so that cuts fall into rolls and deletions as well.
    broker.text(&["topic", "create", SMALL.topic, "--partitions", "3"]);
    broker.text(&["topic", "create", LARGE.topic, "--set", "segment.bytes=4194304"]);
}

/// Loads a broker, cuts the power some time later and gives what was acknowledged until then.
fn load_and_cut(
    device: &Device,
    broker: Broker,
    name: &str,
    wait: Duration,
) -> Vec<(Shape, Vec<Ack>)> {
    assert!(power::is_mounted_apart(&device.path()), "only our own device is shut down");
    let loads = [SMALL, LARGE].map(|shape| (shape, Load::start(&broker, shape, name)));
    for (shape, load) in &loads {
        let words = || format!("acks of {} come: {}", shape.topic, broker.words());
        assert!(load.wait_for_acks(100), "{}", words());
    }
    thread::sleep(wait);
    device.cut(broker.id());
    broker.kill();
    // Each ack that left the broker counts, whenever it was read.
    let acked = loads.map(|(shape, load)| (shape, load.finish()));
    device.restore();
    acked.into()
}

fn check(broker: &Broker, acked: &[(Shape, Vec<Ack>)]) -> Result<(), String> {
    acked.iter().try_for_each(|(shape, acked)| check_acked(broker, shape.topic, acked))
}

#[test]
fn what_was_acknowledged_is_read_after_each_power_cut() {
    let Some(device) = Device::new() else { return };
    let setup = power::setup(&device);
    let mut broker = setup.start();
    create_topics(&broker);
    let mut all: BTreeMap<&str, Vec<Ack>> = BTreeMap::new();
    for cut in 0..cuts() {
        // Spread over what a commit, a roll and a checkpoint take.
        let wait = Duration::from_millis(u64::from(cut * 37 % 300));
        let acked = load_and_cut(&device, broker, &format!("cut{cut}"), wait);
        broker = setup.start();
        check(&broker, &acked).unwrap_or_else(|words| panic!("cut {cut}: {words}"));
        for (shape, acked) in acked {
            all.entry(shape.topic).or_default().extend(acked);
        }
    }
    for (topic, acked) in &all {
        check_acked(&broker, topic, acked).expect("what was there earlier is still there");
    }
    let count: usize = all.values().map(Vec::len).sum();
    eprintln!("{} power cuts, {count} acknowledged records, none lost", cuts());
}

#[test]
fn a_broker_that_does_not_sync_is_caught_by_a_power_cut() {
    let Some(device) = Device::new() else { return };
    if !peers::has_program("strace", "-V") {
        return peers::missing("strace", "apt-get install strace");
    }
    let setup = power::setup(&device);
    let broker = setup.start();
    create_topics(&broker);
    assert!(broker.stop().success(), "a clean stop before the syncs are taken away");
    // Each sync returns 0 without being made: a build whose fdatasync does nothing.
    let inject = "inject=fdatasync,fsync,syncfs,sync_file_range:retval=0";
    let trace = "trace=fdatasync,fsync,syncfs,sync_file_range";
    let setup_without = power::setup(&device).under(&[
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        trace,
        "-e",
        inject,
    ]);
    let broker = setup_without.start();
    let acked = load_and_cut(&device, broker, "unsynced", Duration::from_millis(100));
    let found = setup.try_start().and_then(|broker| check(&broker, &acked));
    eprintln!("without syncs: {found:?}");
    assert!(found.is_err(), "without syncs acknowledged records are lost, and the check sees it");
}
