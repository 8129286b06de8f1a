//! Records that keep coming until something breaks, and what was acknowledged of them.
//!
//! A load is `odradek produce --print-acks` with an endless, paced input. What it printed is what a
//! person was promised: each of these lines must be read again, with the same offset and value,
//! whatever happened to the broker since.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::broker::{Broker, client_command};

/// Bytes of a value that are kept; they are unique, what follows is padding.
const VALUE_BYTES_KEPT: usize = 40;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of its topic.
    pub partition: i32,
    /// In its partition.
    pub offset: i64,
}

/// What a record holds, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its first characters, which no other value has.
    start: String,
    /// Its length.
    bytes: usize,
}

impl Value {
    fn new(value: &str) -> Self {
        Self { start: value.chars().take(VALUE_BYTES_KEPT).collect(), bytes: value.len() }
    }
}

/// An acknowledged record.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Where it was put.
    pub place: Place,
    /// What it holds.
    pub value: Value,
}

/// What a load sends.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its topic.
    pub topic: &'static str,
    /// Bytes of a value, at least those of its name.
    pub value_bytes: usize,
    /// Records a millisecond.
    pub records_per_ms: usize,
}

/// A running producer.
#[derive(Debug)]
pub struct Load {
    child: Child,
    feeder: JoinHandle<()>,
    reader: JoinHandle<()>,
    acked: Arc<Mutex<Vec<Ack>>>,
}

impl Load {
    /// Starts to produce values whose names begin with `name`, which no other load uses.
    pub fn start(broker: &Broker, shape: Shape, name: &str) -> Self {
        let words = ["produce", shape.topic, "--acks", "all", "--print-acks"];
        let mut command = client_command(&broker.server, &words);
        // Its retries after the broker is gone are nobody's concern here.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let name = name.to_owned();
        let feeder = thread::spawn(move || feed(input, shape, &name));
        let acked = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&acked);
        let reader = thread::spawn(move || read_acks(output, &sink));
        Self { child, feeder, reader, acked }
    }

    /// Records acknowledged so far.
    pub fn acked_count(&self) -> usize {
        self.acked.lock().expect("the reader does not panic").len()
    }

    /// Waits until so many are acknowledged; whether they were, in good time.
    pub fn wait_for_acks(&self, count: usize) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.acked_count() < count {
            if deadline < Instant::now() {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Ends the producer and gives what was acknowledged.
    pub fn finish(mut self) -> Vec<Ack> {
        self.child.kill().expect("our child can be killed");
        self.child.wait().expect("a killed child ends");
        self.feeder.join().expect("the feeder ends with its pipe");
        self.reader.join().expect("the reader ends with its pipe");
        std::mem::take(&mut *self.acked.lock().expect("the reader is done"))
    }
}

fn feed(mut input: ChildStdin, shape: Shape, name: &str) {
    let mut text = String::new();
    for tick in 0.. {
        text.clear();
        for number in 0..shape.records_per_ms {
            let start = text.len();
            let _ = write!(text, "{name}-{}", tick * shape.records_per_ms + number);
            let missing = shape.value_bytes.saturating_sub(text.len() - start);
            text.extend(std::iter::repeat_n('.', missing));
            text.push('\n');
        }
        // The pipe breaks when the producer is ended.
        if input.write_all(text.as_bytes()).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn read_acks(output: ChildStdout, sink: &Mutex<Vec<Ack>>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    // A line without its end was cut off by the kill, and its offset may be too.
    while output.read_line(&mut line).is_ok_and(|bytes| 0 < bytes) && line.ends_with('\n') {
        let ack = ack_of(line.trim_end_matches('\n'));
        let ack = ack.unwrap_or_else(|| panic!("`partition offset value` expected, not {line:?}"));
        sink.lock().expect("nobody panics with the lock").push(ack);
        line.clear();
    }
}

/// `partition offset value`, as `--print-acks` prints it.
fn ack_of(line: &str) -> Option<Ack> {
    let mut words = line.splitn(3, ' ');
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    Some(Ack { place: Place { partition, offset }, value: Value::new(words.next()?) })
}

/// What a partition holds from an offset to its end, or the words of the failure. Offsets that do
/// not rise are a failure too.
pub fn read(
    broker: &Broker,
    topic: &str,
    partition: i32,
    from: i64,
) -> Result<BTreeMap<Place, Value>, String> {
    let (number, from) = (partition.to_string(), from.to_string());
    let words = ["consume", topic, "--partition", &number, "--from", &from, "--until-end"];
    let output = broker.run(&[&words[..], &["--format", "json"]].concat());
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut records = BTreeMap::new();
    let mut last = -1;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let offset: i64 = field(line, "offset").and_then(|text| text.parse().ok()).unwrap_or(-1);
        let value = field(line, "value").ok_or_else(|| format!("no value in {line}"))?;
        if offset <= last {
            return Err(format!("offset {offset} behind {last} in {topic}-{partition}"));
        }
        last = offset;
        records.insert(Place { partition, offset }, Value::new(value));
    }
    Ok(records)
}

/// A field of one line of JSON whose strings, as all of ours, need no escapes.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    let rest = rest.trim_start();
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}']).next().map(str::trim_end),
    }
}

/// Compares what was acknowledged of a topic with what is there now.
pub fn check_acked(broker: &Broker, topic: &str, acked: &[Ack]) -> Result<(), String> {
    let mut firsts: BTreeMap<i32, i64> = BTreeMap::new();
    for Ack { place, .. } in acked {
        let first = firsts.entry(place.partition).or_insert(place.offset);
        *first = (*first).min(place.offset);
    }
    let mut found = BTreeMap::new();
    for (partition, from) in firsts {
        found.append(&mut read(broker, topic, partition, from)?);
    }
    let is_lost = |ack: &&Ack| found.get(&ack.place) != Some(&ack.value);
    let lost: Vec<&Ack> = acked.iter().filter(is_lost).collect();
    match lost.first() {
        None => Ok(()),
        Some(ack) => Err(format!(
            "{} of {} acknowledged records of {topic} are lost, the first is {ack:?}, where {:?} \
             is now",
            lost.len(),
            acked.len(),
            found.get(&ack.place)
        )),
    }
}
