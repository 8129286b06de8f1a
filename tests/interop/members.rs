//! Groups of mixed descent: our consumer and Java's share the partitions of a topic, whoever leads
//! and assigns, by each of Kafka's classic assignors, or where the broker assigns (KIP-848).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use odradek::client::assignors::{
    Assignor, CooperativeStickyAssignor, RangeAssignor, RoundRobinAssignor, StickyAssignor,
};
use odradek::client::{Consumer, ConsumerConfig, OffsetReset};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::dump::jars;

const TOPIC: &str = "mixed";
const PARTITIONS: usize = 4;
const WAIT: Duration = Duration::from_secs(60);
const MS: Duration = Duration::from_millis(1);

/// Kafka's `VerifiableConsumer`, which says what it is assigned.
struct Java {
    child: Child,
    lines: Receiver<String>,
    owned: BTreeSet<usize>,
}

impl Java {
    /// One that assigns by `strategy` when it leads, or for which the broker assigns.
    fn start(
        jars: &Path,
        properties: &Path,
        broker: &Broker,
        group: &str,
        strategy: Option<&str>,
    ) -> Java {
        let door = broker.kafka.clone().expect("the ready line names it");
        let mut command = Command::new("java");
        command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
        command
            .arg(format!("{}/*", jars.display()))
            .arg("org.apache.kafka.tools.VerifiableConsumer");
        command.args(["--bootstrap-server", &door, "--topic", TOPIC, "--group-id", group]);
        command.args(["--reset-policy", "earliest"]);
        match strategy {
            // Or each rebalance waits three seconds for its next heartbeat.
            Some(strategy) => command
                .args(["--assignment-strategy", strategy])
                .arg("--command-config")
                .arg(properties),
            None => command.args(["--group-protocol", "consumer"]),
        };
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("java starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Java { child, lines, owned: BTreeSet::new() }
    }

    /// What it reads, by what it said so far.
    fn owned(&mut self) -> usize {
        while let Ok(line) = self.lines.try_recv() {
            let numbers = line.split("\"partition\":").skip(1).map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<usize>().expect("a number")
            });
            if line.contains("\"partitions_assigned\"") {
                self.owned.extend(numbers);
            } else if line.contains("\"partitions_revoked\"") {
                self.owned.retain(|owned| !numbers.clone().any(|number| number == *owned));
            }
        }
        self.owned.len()
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(broker: &Broker, group: &str, assignor: Arc<dyn Assignor>) -> Consumer {
    let mut config = ConsumerConfig::new(&broker.server);
    config.group_id = Some(group.to_owned());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.heartbeat_interval = 200 * MS;
    config.partition_assignment_strategy = vec![assignor];
    let mut consumer = Consumer::new(config).expect("legal settings");
    consumer.subscribe(&[TOPIC]).expect("a legal name");
    consumer
}

fn wait_for(what: &str, consumer: &mut Consumer, mut is_so: impl FnMut(&Consumer) -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so(consumer) {
        assert!(Instant::now() < deadline, "{what}: not in {WAIT:?}: {:?}", consumer.assignment());
        consumer.poll(20 * MS).expect("readable");
    }
}

fn both_share(what: &str, consumer: &mut Consumer, java: &mut Java) {
    wait_for(what, consumer, |consumer| {
        let mine = consumer.assignment();
        java.owned() == PARTITIONS / 2
            && mine.len() == PARTITIONS / 2
            && mine.iter().all(|tp| !java.owned.contains(&(tp.partition.0 as usize)))
    });
}

#[test]
fn javas_consumer_and_ours_share_a_group() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    let setup = Setup::new(&folder.join("data"))
        .set("listeners", listeners)
        .set("group.initial.rebalance.delay.ms", "0");
    let broker = setup.start();
    broker.text(&["topic", "create", TOPIC, "--partitions", &PARTITIONS.to_string()]);
    let properties = folder.join("consumer.properties");
    fs::write(&properties, "heartbeat.interval.ms=200\n").expect("written");
    let assignors: [(Arc<dyn Assignor>, &str); 4] = [
        (Arc::new(RangeAssignor), "RangeAssignor"),
        (Arc::new(RoundRobinAssignor), "RoundRobinAssignor"),
        (Arc::new(StickyAssignor), "StickyAssignor"),
        (Arc::new(CooperativeStickyAssignor), "CooperativeStickyAssignor"),
    ];
    for (assignor, class) in assignors {
        let strategy = format!("org.apache.kafka.clients.consumer.{class}");
        // Ours comes first and leads; then it goes, Java's has all and leads, and ours comes again.
        let mut leader = ours(&broker, class, Arc::clone(&assignor));
        wait_for(class, &mut leader, |one| one.assignment().len() == PARTITIONS);
        let mut java = Java::start(&jars, &properties, &broker, class, Some(&strategy));
        both_share(class, &mut leader, &mut java);
        leader.close();
        let deadline = Instant::now() + WAIT;
        while java.owned() < PARTITIONS {
            assert!(Instant::now() < deadline, "{class}: java has {:?}", java.owned);
            thread::sleep(20 * MS);
        }
        let mut follower = ours(&broker, class, assignor);
        both_share(class, &mut follower, &mut java);
        drop(java);
    }
}

/// A broker that notices within seconds when a member of KIP-848 has died.
fn quick(folder: &Folder) -> Broker {
    let broker = Setup::new(&folder.join("data"))
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("group.initial.rebalance.delay.ms", "0")
        .set("group.consumer.min.session.timeout.ms", "1000")
        .set("group.consumer.min.heartbeat.interval.ms", "100")
        .set("group.consumer.session.timeout.ms", "9000")
        .set("group.consumer.heartbeat.interval.ms", "300")
        .start();
    broker.text(&["topic", "create", TOPIC, "--partitions", &PARTITIONS.to_string()]);
    broker
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in {WAIT:?}");
        thread::sleep(20 * MS);
    }
}

/// semantics.md 2.19: two members share four partitions, and what a dead one had goes to the other.
#[test]
fn javas_consumers_share_what_the_broker_assigns_and_one_takes_over() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = quick(&folder);
    let start = || Java::start(&jars, Path::new(""), &broker, "assigned", None);
    let (mut first, mut second) = (start(), start());
    wait_until("both have two", || {
        first.owned() == PARTITIONS / 2
            && second.owned() == PARTITIONS / 2
            && first.owned.is_disjoint(&second.owned)
    });
    let described = broker.text(&["group", "describe", "assigned"]);
    assert!(described.contains("members 2"), "{described}");
    let rows = described.lines().filter(|line| line.starts_with(TOPIC));
    assert_eq!(rows.count(), PARTITIONS, "{described}");
    let described = broker.text(&["group", "describe", "assigned", "--json"]);
    assert!(described.contains("\"kind\":\"Consumer\""), "{described}");
    drop(second);
    wait_until("the other has all", || first.owned() == PARTITIONS);
}

/// KIP-848, online migration: ours speaks the classic protocol and reads on while the group changes
/// over and back.
#[test]
fn a_group_changes_over_under_our_consumer_and_back() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = quick(&folder);
    let mut consumer = ours(&broker, "mixed", Arc::new(CooperativeStickyAssignor));
    wait_for("ours is alone", &mut consumer, |one| one.assignment().len() == PARTITIONS);
    let kind = || {
        let described = broker.text(&["group", "describe", "mixed", "--json"]);
        let kinds = ["Classic", "Consumer"];
        kinds.into_iter().find(|kind| described.contains(&format!("\"kind\":\"{kind}\"")))
    };
    assert_eq!(kind(), Some("Classic"));
    let mut java = Java::start(&jars, Path::new(""), &broker, "mixed", None);
    both_share("the broker assigns", &mut consumer, &mut java);
    assert_eq!(kind(), Some("Consumer"));
    drop(java);
    wait_for("ours is alone again", &mut consumer, |one| one.assignment().len() == PARTITIONS);
    assert_eq!(kind(), Some("Classic"));
}
