//! Groups at Kafka's door: Apache Kafka's console consumer and `kafka-consumer-groups`, librdkafka's
//! by `kcat -G`, and a broker that is killed in between.

use std::path::Path;
use std::process::Command;

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, run, tool};
use crate::interop::dump::jars;
use crate::peers;

fn setup(folder: &Folder) -> Setup {
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    Setup::new(&folder.join("data"))
        .set("listeners", listeners)
        .set("group.initial.rebalance.delay.ms", "0")
}

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// What Kafka's console consumer reads as a member of a group, until it has read so much. Waiting
/// for silence instead does not do: the time it may take begins before it has so much as connected,
/// and on a machine with much to do it gives up over loading its own classes.
fn read(jars: &Path, broker: &Broker, group: &str, count: usize, more: &[&str]) -> Vec<String> {
    let count = count.to_string();
    let words = ["--topic", "plant", "--group", group, "--from-beginning", "--timeout-ms", "50000"];
    let words = [&words[..], &["--max-messages", &count], more].concat();
    let text = run(&mut tool(jars, "consumer.ConsoleConsumer", broker, &words), "");
    text.lines().map(str::to_owned).collect()
}

/// By the classic protocol.
fn read_classic(jars: &Path, broker: &Broker, group: &str, count: usize) -> Vec<String> {
    read(jars, broker, group, count, &[])
}

/// By that of KIP-848.
fn read_assigned(jars: &Path, broker: &Broker, group: &str, count: usize) -> Vec<String> {
    read(jars, broker, group, count, &["--command-property", "group.protocol=consumer"])
}

/// What `kafka-consumer-groups` prints. It gives up after five seconds unless it is told otherwise.
fn groups(jars: &Path, broker: &Broker, words: &[&str]) -> String {
    let words = [words, &["--timeout", "50000"]].concat();
    run(&mut tool(jars, "consumer.group.ConsumerGroupCommand", broker, &words), "")
}

/// The cells of a partition's row.
fn row(text: &str, group: &str, partition: &str) -> Vec<String> {
    let rows = text.lines().map(|line| line.split_whitespace().map(str::to_owned));
    let mut rows = rows.map(Iterator::collect::<Vec<_>>);
    let is_it = |row: &Vec<String>| 3 < row.len() && row[0] == group && row[2] == partition;
    rows.find(is_it).unwrap_or_else(|| panic!("no row of {group}, {partition}: {text}"))
}

#[test]
fn kafkas_consumer_commits_and_its_tool_describes_resets_and_deletes() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.produce(&["plant", "--create"], &lines(0, 200));
    assert_eq!(read_classic(&jars, &broker, "readers", 200), lines(0, 200));
    broker.kill();

    let broker = setup(&folder).start();
    broker.produce(&["plant"], &lines(200, 250));
    let described = groups(&jars, &broker, &["--describe", "--group", "readers"]);
    assert_eq!(row(&described, "readers", "0")[3..6], ["200", "250", "50"], "{described}");
    let ours = broker.text(&["group", "describe", "readers"]);
    assert!(ours.contains("200") && ours.contains("50"), "{ours}");
    let more = read_classic(&jars, &broker, "readers", 50);
    assert_eq!(more, lines(200, 250), "it goes on after the kill");

    let listed = groups(&jars, &broker, &["--list", "--state"]);
    assert!(listed.lines().any(|line| line.starts_with("readers") && line.contains("Empty")));
    let reset = ["--reset-offsets", "--group", "readers", "--topic", "plant", "--shift-by", "-10"];
    let shown = groups(&jars, &broker, &[&reset[..], &["--dry-run"]].concat());
    assert_eq!(row(&shown, "readers", "0")[3], "240", "{shown}");
    groups(&jars, &broker, &[&reset[..], &["--execute"]].concat());
    assert_eq!(read_classic(&jars, &broker, "readers", 10), lines(240, 250));

    let forget = ["--delete-offsets", "--group", "readers", "--topic", "plant"];
    let forgotten = groups(&jars, &broker, &forget);
    assert!(forgotten.contains("Successful"), "{forgotten}");
    broker.text(&[
        "group",
        "reset-offsets",
        "readers",
        "--topic",
        "plant",
        "--to-latest",
        "--execute",
    ]);
    groups(&jars, &broker, &["--delete", "--group", "readers"]);
    assert_eq!(broker.text(&["group", "list"]), "");
}

#[test]
fn librdkafka_and_our_own_consumer_are_members_of_one_group() {
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.produce(&["plant", "--create"], &lines(0, 300));
    let kcat = |seconds: &str| {
        let mut command = Command::new("timeout");
        let words = ["--preserve-status", "-s", "INT", seconds, "kcat", "-b", door(&broker), "-q"];
        command.args(words).args(["-X", "auto.offset.reset=earliest", "-G", "readers", "plant"]);
        run(&mut command, "").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kcat("6"), lines(0, 300));
    broker.produce(&["plant"], &lines(300, 400));
    let words = ["consume", "plant", "--group", "readers", "--until-end"];
    let read: Vec<String> = broker.text(&words).lines().map(str::to_owned).collect();
    assert_eq!(read, lines(300, 400), "ours goes on where kcat stopped");
    broker.produce(&["plant"], &lines(400, 450));
    assert_eq!(kcat("6"), lines(400, 450), "and kcat where ours did");
}

/// semantics.md 2.19 with Kafka's own consumer, and a group that changes its protocol while it has
/// no members.
#[test]
fn kafkas_consumer_is_assigned_partitions_by_the_broker() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.produce(&["plant", "--create"], &lines(0, 200));
    assert_eq!(read_assigned(&jars, &broker, "assigned", 200), lines(0, 200));
    broker.kill();

    let broker = setup(&folder).start();
    broker.produce(&["plant"], &lines(200, 250));
    let described = groups(&jars, &broker, &["--describe", "--group", "assigned"]);
    assert_eq!(row(&described, "assigned", "0")[3..6], ["200", "250", "50"], "{described}");
    let ours = broker.text(&["group", "describe", "assigned"]);
    assert!(ours.contains("state Empty") && ours.contains("uniform"), "{ours}");
    let listed = groups(&jars, &broker, &["--list", "--type"]);
    let kind = listed.lines().find(|line| line.starts_with("assigned")).expect("it is listed");
    assert!(kind.contains("Consumer"), "{listed}");
    assert_eq!(read_assigned(&jars, &broker, "assigned", 50), lines(200, 250), "it goes on");

    broker.produce(&["plant"], &lines(250, 260));
    let classic = read_classic(&jars, &broker, "assigned", 10);
    assert_eq!(classic, lines(250, 260), "by the classic protocol");
    broker.produce(&["plant"], &lines(260, 270));
    assert_eq!(read_assigned(&jars, &broker, "assigned", 10), lines(260, 270), "and back");
}
