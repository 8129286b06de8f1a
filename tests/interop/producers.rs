//! Idempotent producers of other makers: whatever happens to the broker under them, each record is
//! stored once and in order, and Kafka reads what we wrote down of them.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::dump::{dump, jars, log_files};
use crate::peers;

const TOPIC: &str = "once";

/// A broker that has the same door after each start.
fn setup(folder: &Folder) -> Setup {
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let port = free.local_addr().expect("bound").port();
    let listeners = format!("wire://127.0.0.1:0,kafka://127.0.0.1:{port}");
    Setup::new(&folder.join("data")).set("listeners", &listeners)
}

fn start(setup: &Setup) -> Broker {
    let broker = setup.start();
    broker.text(&["topic", "create", TOPIC, "--set", "segment.bytes=65536"]);
    broker
}

/// Kills and starts the broker while a producer is at work.
fn kill_under(setup: &Setup, mut broker: Broker, kills: usize) -> Broker {
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(700));
        broker.kill();
        broker = setup.start();
    }
    broker
}

fn stored(broker: &Broker) -> Vec<String> {
    broker.consume(&[TOPIC])
}

/// The value of each line that says that a record was acknowledged.
fn acknowledged(child: &mut Child) -> thread::JoinHandle<Vec<String>> {
    let output = BufReader::new(child.stdout.take().expect("piped"));
    thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        let acks = lines.filter(|line| line.contains("\"producer_send_success\""));
        let value = |line: String| {
            let value = line.split("\"value\":\"").nth(1)?.split('"').next()?;
            Some(value.to_owned())
        };
        acks.filter_map(value).collect()
    })
}

#[test]
fn kafkas_verifiable_producer_through_kills() {
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let setup = setup(&folder);
    let broker = start(&setup);
    let door = broker.kafka.clone().expect("the ready line names it");
    let mut command = Command::new("timeout");
    command.args(["120", "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}/*", jars.display())).arg("org.apache.kafka.tools.VerifiableProducer");
    command.args(["--bootstrap-server", &door, "--topic", TOPIC]);
    command.args(["--max-messages", "6000", "--throughput", "1500"]);
    // By itself it never tries again, which leaves nothing to be stored twice.
    let properties = folder.join("producer.properties");
    let lines = "retries=2147483647\nenable.idempotence=true\n";
    fs::write(&properties, lines).expect("written");
    command.arg("--command-config").arg(&properties);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("java starts");
    let acks = acknowledged(&mut child);
    let broker = kill_under(&setup, broker, 4);
    assert!(child.wait().expect("it ends").success());
    let acks = acks.join().expect("it reads");
    let wanted: Vec<String> = (0..6000).map(|number| number.to_string()).collect();
    assert_eq!(acks.len(), wanted.len(), "every record was acknowledged, once");
    assert!(stored(&broker) == wanted, "each once, in order");
    let mut describe = Command::new("timeout");
    describe.args(["60", "java", "-XX:TieredStopAtLevel=1", "-cp"]);
    describe.arg(format!("{}/*", jars.display())).arg("org.apache.kafka.tools.TransactionsCommand");
    describe.args(["--bootstrap-server", &door, "describe-producers"]);
    describe.args(["--topic", TOPIC, "--partition", "0"]);
    let told = describe.output().expect("java starts");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let row: Vec<&str> = told.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!((row.get(1), row.get(3)), (Some(&"0"), Some(&"5999")), "its last sequence: {told}");
    assert!(broker.stop().success());
    check_snapshots(&jars, &folder);
}

/// Kafka's own reader takes our snapshots for its own.
fn check_snapshots(jars: &Path, folder: &Folder) {
    let files = log_files(&folder.join("data").join(format!("{TOPIC}-0")));
    let dump = dump(jars, &files);
    assert_eq!(dump.complaints, Vec::<String>::new());
    let snapshots = files.iter().filter(|file| file.extension().is_some_and(|e| e == "snapshot"));
    assert!(1 < snapshots.clone().count(), "{files:?}");
    for file in snapshots {
        let producers = &dump.producers[file];
        assert!(producers.iter().all(|line| line.starts_with("producerId: ")), "{producers:?}");
        assert!(!producers.is_empty(), "{}", file.display());
    }
}

#[test]
fn librdkafka_through_kills() {
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let folder = Folder::new();
    let setup = setup(&folder);
    let broker = start(&setup);
    let door = broker.kafka.clone().expect("the ready line names it");
    let mut command = Command::new("timeout");
    command.args(["120", "kcat", "-E", "-b", &door, "-P", "-t", TOPIC]);
    command.args(["-X", "enable.idempotence=true", "-X", "linger.ms=1"]);
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("kcat starts");
    let mut input = child.stdin.take().expect("piped");
    let wanted: Vec<String> = (0..6000).map(|number| format!("line {number}")).collect();
    let lines = wanted.clone();
    let feeder = thread::spawn(move || {
        for chunk in lines.chunks(20) {
            input.write_all((chunk.join("\n") + "\n").as_bytes()).expect("kcat reads");
            thread::sleep(Duration::from_millis(10));
        }
    });
    let broker = kill_under(&setup, broker, 4);
    feeder.join().expect("all is fed");
    assert!(child.wait().expect("it ends").success());
    assert!(stored(&broker) == wanted, "each once, in order");
}
