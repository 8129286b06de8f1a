//! Real clients at Kafka's door: Apache Kafka's own command line, and librdkafka's by `kcat`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::dump::jars;
use crate::peers;

fn start(folder: &Folder) -> Broker {
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    Setup::new(&folder.join("data")).set("listeners", listeners).start()
}

pub fn door(broker: &Broker) -> &str {
    broker.kafka.as_deref().expect("the ready line names it")
}

/// Runs a program to its end; its standard output.
pub fn run(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is there");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {words}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A class of Java, run.
pub fn java(class_path: &str, class: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(class_path).arg(class);
    command
}

/// One of Apache Kafka's tools.
pub fn tool(jars: &Path, class: &str, broker: &Broker, words: &[&str]) -> Command {
    let class_path = format!("{}/*", jars.display());
    let mut command = java(&class_path, &format!("org.apache.kafka.tools.{class}"));
    command.args(["--bootstrap-server", door(broker)]).args(words);
    command
}

#[test]
fn kafkas_own_tools_create_write_read_and_trim() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let broker = start(&folder);
    let kafka = |class: &str, words: &[&str], input: &str| {
        run(&mut tool(&jars, class, &broker, words), input)
    };
    let versions = kafka("BrokerApiVersionsCommand", &[], "");
    assert!(versions.contains("Produce(0): 0 to 13 [usable: 13]"), "{versions}");
    assert!(versions.contains("Fetch(1): 4 to 18 [usable: 18]"), "{versions}");
    let create = ["--create", "--topic", "sensors", "--partitions", "2"];
    let create = [&create[..], &["--config", "retention.ms=86400000"]].concat();
    kafka("TopicCommand", &create, "");
    let described = kafka("TopicCommand", &["--describe", "--topic", "sensors"], "");
    assert!(described.contains("PartitionCount: 2"), "{described}");
    assert!(described.contains("retention.ms=86400000"), "{described}");
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    kafka("ConsoleProducer", &["--topic", "sensors"], &(lines.join("\n") + "\n"));
    let offsets = kafka("GetOffsetShell", &["--topic", "sensors"], "");
    let ends: Vec<&str> = offsets.lines().filter_map(|line| line.rsplit(':').next()).collect();
    let count: u64 = ends.iter().filter_map(|end| end.parse::<u64>().ok()).sum();
    assert_eq!((ends.len(), count), (2, 500), "{offsets}");
    let mut read = Vec::new();
    for (partition, end) in ["0", "1"].into_iter().zip(ends) {
        // Records without a key may all go to one partition; nobody waits for what never comes.
        if end != "0" {
            let consume = ["--topic", "sensors", "--partition", partition, "--offset", "earliest"];
            let consume = [&consume[..], &["--max-messages", end]].concat();
            let text = kafka("consumer.ConsoleConsumer", &consume, "");
            read.extend(text.lines().map(str::to_owned));
        }
    }
    read.sort();
    let mut wanted = lines;
    wanted.sort();
    assert_eq!(read, wanted);
    kafka("TopicCommand", &["--delete", "--topic", "sensors"], "");
    assert_eq!(kafka("TopicCommand", &["--list"], "").trim(), "");
}

#[test]
fn librdkafka_writes_and_reads_with_every_codec() {
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let folder = Folder::new();
    let broker = start(&folder);
    let kcat = |words: &[&str], input: &str| {
        let mut command = Command::new("timeout");
        run(command.args(["60", "kcat", "-b", door(&broker)]).args(words), input)
    };
    let mut lines = String::new();
    for number in 0..2000 {
        writeln!(lines, "key{}:line {number}", number % 7).expect("a string takes all");
    }
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kcat(&["-P", "-t", codec, "-K", ":", "-z", codec], &lines);
        let read = kcat(&["-C", "-t", codec, "-K", ":", "-e", "-q", "-o", "beginning"], "");
        assert_eq!(read, lines, "{codec}");
    }
    let listed = kcat(&["-L"], "");
    assert!(listed.contains("5 topics:"), "{listed}");
    // Each sees what the other wrote: the door and the wire are two ways to one log.
    let read = broker.text(&["consume", "zstd", "--from-beginning", "--until-end"]);
    assert_eq!(read.lines().count(), 2000);
}
