//! Moving in: a real Apache Kafka is filled, stopped, and taken over by `odradek log import`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Folder, Setup, odradek};
use crate::interop::dump::{fetched, jars};
use crate::peers;

/// How long Kafka may take to answer, or to stop, on a busy machine.
const KAFKA_WAIT: Duration = Duration::from_secs(120);

/// The folder of the broker's jars.
pub fn server_jars() -> Option<PathBuf> {
    fetched("kafka-server", include_str!("server.xml"), "tests/interop/fetch-server")
}

/// An Apache Kafka, broker and controller in one.
pub struct Kafka {
    class_path: String,
    folder: Folder,
    port: u16,
    process: Option<Child>,
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound").port()
}

impl Kafka {
    /// Formats a directory and starts on it.
    pub fn start(tools: &Path, server: &Path) -> Kafka {
        let folder = Folder::new();
        let (port, controller) = (free_port(), free_port());
        let class_path = format!("{}/*:{}/*", server.display(), tools.display());
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=2\n\
             log.cleaner.backoff.ms=100\ngroup.initial.rebalance.delay.ms=0\n",
            folder.join("kafka").display()
        );
        fs::write(folder.join("server.properties"), config).expect("written");
        let mut kafka = Kafka { class_path, folder, port, process: None };
        let config = kafka.folder.join("server.properties");
        let config = config.to_str().expect("UTF-8");
        let format = ["format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAw", "-c", config];
        kafka.tool("kafka.tools.StorageTool", &format);
        kafka.boot();
        kafka
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp"]);
        command.arg(&self.class_path).arg(class);
        command
    }

    fn boot(&mut self) {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.folder.join("server.properties"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("java is there"));
        let began = Instant::now();
        while !self.kcat(&["-L", "-m", "1"]).status.success() {
            assert!(began.elapsed() < KAFKA_WAIT, "Kafka does not answer");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops it with a signal, and waits for its end.
    fn stop(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("it runs");
        let pid = Pid::from_child(&process);
        kill_process(pid, signal).expect("it is ours");
        process.wait().expect("it ends");
    }

    /// What a tool prints.
    pub fn tool(&self, class: &str, words: &[&str]) -> String {
        let mut command = self.java(class);
        let output = command.args(words).stdin(Stdio::null()).output().expect("java is there");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {words}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where it listens.
    pub fn door(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn create(&self, topic: &str, partitions: &str, configs: &[&str]) {
        let door = self.door();
        let mut words = vec!["--bootstrap-server", &door, "--create", "--topic", topic];
        words.extend(["--partitions", partitions]);
        words.extend(configs.iter().flat_map(|config| ["--config", config]));
        self.tool("org.apache.kafka.tools.TopicCommand", &words);
    }

    fn kcat(&self, words: &[&str]) -> Output {
        kcat(&self.door(), words, "")
    }

    fn produce(&self, words: &[&str], lines: &str) {
        let output = kcat(&self.door(), &[&["-P"], words].concat(), lines);
        assert!(output.status.success(), "{output:?}");
    }

    fn data(&self) -> PathBuf {
        self.folder.join("kafka")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn kcat(door: &str, words: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut command = Command::new("timeout");
    command.args(["60", "kcat", "-b", door]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kcat is there");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Every record of some topics: partition, offset, timestamp, key, value and headers.
fn records(door: &str, topics: &[&str]) -> BTreeMap<String, Vec<String>> {
    let read = |topic: &&str| {
        let form = "%p %o %T %h %k %s\n";
        let words = ["-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", form];
        let output = kcat(door, &words, "");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        ((*topic).to_owned(), lines)
    };
    topics.iter().map(read).collect()
}

/// What a cluster holds.
struct Truth {
    /// Records by topic.
    records: BTreeMap<String, Vec<String>>,
    /// Where the group was in `sensors`.
    committed: Vec<String>,
}

/// The committed offsets of the group, as Kafka's tool shows them: topic, partition, offset.
fn committed(kafka: &Kafka, door: &str) -> Vec<String> {
    let words = ["--bootstrap-server", door, "--describe", "--group", "readers"];
    let text = kafka.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &words);
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let mut rows: Vec<String> =
        rows.filter(|row| row.first() == Some(&"readers")).map(|row| row[1..4].join(" ")).collect();
    rows.sort();
    rows
}

/// Runs our command; its standard output and standard error.
fn import(words: &[&Path], flags: &[&str]) -> Result<(String, String), String> {
    let mut command = Command::new(odradek());
    let output = command.args(["log", "import"]).args(words).args(flags).output().expect("ours");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok((text(&output.stdout), text(&output.stderr))),
        false => Err(text(&output.stderr)),
    }
}

/// All files below a folder, and what they hold.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.ends_with(".lock") {
            // A broker that is refused has locked the directory, to be alone when it looks.
            found.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    found
}

const TOPICS: [&str; 3] = ["sensors", "state", "trimmed"];

/// Topics with several partitions and codecs, one that was compacted, one that begins late.
fn fill(kafka: &Kafka) {
    kafka.create("sensors", "3", &["retention.ms=86400000", "segment.bytes=1048576"]);
    let configs = ["cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.ms=300"];
    kafka.create("state", "1", &configs);
    kafka.create("trimmed", "1", &["max.message.bytes=2000000"]);
    let mut lines = String::new();
    for number in 0..9000 {
        writeln!(lines, "key{}:line {number} {}", number % 10, "text ".repeat(20))
            .expect("a string takes all");
    }
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kafka.produce(&["-t", "sensors", "-K", ":", "-z", codec, "-H", "unit=C"], &lines);
    }
    kafka.produce(&["-t", "trimmed"], "one\ntwo\nthree\n");
    let door = kafka.door();
    // Rounds of the same keys, until the cleaner has taken some of the first.
    let began = Instant::now();
    let mut round = 0;
    loop {
        let keys = (0..200).map(|key| format!("k{key}:{round}\n"));
        kafka.produce(&["-t", "state", "-K", ":"], &keys.collect::<String>());
        round += 1;
        let count = records(&door, &["state"])["state"].len();
        if 3 < round && count < 200 * round {
            break;
        }
        assert!(began.elapsed() < KAFKA_WAIT, "Kafka does not compact");
        thread::sleep(Duration::from_millis(400));
    }
}

/// Moves the start of a log. Kafka writes it down once a minute and at a clean stop.
fn trim(kafka: &Kafka) {
    let trim = "{\"partitions\":[{\"topic\":\"trimmed\",\"partition\":0,\"offset\":2}],\
                \"version\":1}";
    let file = kafka.folder.join("trim.json");
    fs::write(&file, trim).expect("written");
    let (door, file) = (kafka.door(), file.to_str().expect("UTF-8"));
    let words = ["--bootstrap-server", &door, "--offset-json-file", file];
    kafka.tool("org.apache.kafka.tools.DeleteRecordsCommand", &words);
}

#[test]
fn a_kafka_that_was_stopped_moves_in() {
    let Some(tools) = jars() else { return };
    let Some(server) = server_jars() else { return };
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let mut kafka = Kafka::start(&tools, &server);
    let data = kafka.data();
    let into = kafka.folder.join("ours");
    fill(&kafka);
    let to = ["--into", into.to_str().expect("UTF-8")];
    let words = import(&[&data], &to).expect_err("Kafka runs");
    assert!(words.contains("Kafka is running"), "{words}");
    kafka.stop(Signal::KILL);
    let words = import(&[&data], &to).expect_err("it was killed");
    assert!(words.contains("did not stop cleanly"), "{words}");
    kafka.boot();
    trim(&kafka);
    let door = kafka.door();
    let group = ["--topic", "sensors", "--group", "readers", "--from-beginning"];
    let group = [&["--bootstrap-server", &door], &group[..], &["--timeout-ms", "8000"]].concat();
    kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &group);
    let committed = committed(&kafka, &door);
    assert_eq!(committed.len(), 3, "{committed:?}");
    let truth = records(&door, &TOPICS);
    assert_eq!(truth["sensors"].len(), 5 * 9000);
    kafka.stop(Signal::TERM);

    let before = contents(&data);
    let (table, words) = import(&[&data], &[&to[..], &["--dry-run"]].concat()).expect("clean");
    assert!(words.contains("nothing was changed") && !into.exists(), "{words}");
    let row = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let trimmed = table.lines().find(|line| line.starts_with("trimmed-0")).expect("a row");
    assert_eq!(row(trimmed)[1..3], ["2", "3"], "{table}");
    let twice = import(&[&data, &data], &to).expect_err("twice");
    assert!(twice.contains("running") || twice.contains("same partition"), "{twice}");

    let words = Setup::new(&data).try_start().expect_err("it is Kafka's");
    assert!(words.contains("this is Apache Kafka's"), "{words}");
    import(&[&data], &to).expect("it stopped cleanly");
    let after = contents(&data);
    let names = before.keys().chain(after.keys());
    let changed: Vec<&PathBuf> =
        names.filter(|name| before.get(*name) != after.get(*name)).collect();
    assert_eq!(changed, Vec::<&PathBuf>::new(), "Kafka's directory is as it was");
    let (_, words) = import(&[&data], &to).expect("a second time");
    assert!(words.contains("sensors: was taken over before"), "{words}");
    // As it was before a broker wrote to it.
    let first = kafka.folder.join("first");
    for (file, bytes) in contents(&into) {
        let copy = first.join(file.strip_prefix(&into).expect("below"));
        fs::create_dir_all(copy.parent().expect("below")).expect("made");
        fs::write(copy, bytes).expect("written");
    }
    let truth = Truth { records: truth, committed };
    check(&kafka, &into, &truth);

    // A stop after some directories got their names, before they were committed: their files are
    // there, nobody knows them, and the rest is still with Kafka.
    let half = kafka.folder.join("half");
    for topic in ["sensors-1", "state-0"] {
        fs::create_dir_all(half.join(topic)).expect("made");
        for (file, bytes) in contents(&first.join(topic)) {
            fs::write(half.join(topic).join(file.file_name().expect("a file")), bytes)
                .expect("written");
        }
    }
    check_move(&kafka, &half, &truth);
}

/// What was begun in `half` is finished by moving: nothing of the topics is left with Kafka.
fn check_move(kafka: &Kafka, half: &Path, truth: &Truth) {
    let data = kafka.data();
    let flags = ["--move", "--into", half.to_str().expect("UTF-8")];
    import(&[&data], &flags).expect("it stopped cleanly");
    assert!(!data.join("sensors-0").exists() && !data.join("state-0").exists());
    check(kafka, half, truth);
}

/// A broker on the log dir serves what Kafka served, and takes more.
fn check(kafka: &Kafka, into: &Path, truth: &Truth) {
    let Truth { records: truth, committed: groups } = truth;
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    let broker = Setup::new(into).set("listeners", listeners).start();
    let door = broker.kafka.as_deref().expect("the ready line names it");
    let found = records(door, &TOPICS);
    for topic in TOPICS {
        assert!(found[topic] == truth[topic], "{topic}: every record as it was");
    }
    assert_eq!(committed(kafka, door), *groups, "each group goes on where it was");
    let described = broker.text(&["topic", "describe", "sensors"]);
    assert!(described.contains("retention.ms") && described.contains("86400000"), "{described}");
    let described = broker.text(&["topic", "describe", "state"]);
    assert!(described.contains("compact"), "{described}");
    let output = kcat(door, &["-P", "-t", "state", "-K", ":"], "k0:new\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(records(door, &["state"])["state"].len(), truth["state"].len() + 1);
    assert!(broker.stop().success());
    let output = Command::new(odradek()).args(["log", "recover"]).arg(into).output();
    let output = output.expect("ours");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("all that was promised is there"), "{words}");
}
