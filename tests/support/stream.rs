//! Records that keep coming while boards fail, from our own client in this process and from
//! librdkafka, and what must be there of them in the end.
//!
//! Every value is one word: the stream's name, the partition it was sent to (a dash where the client
//! chooses), and a number that rises. What was acknowledged must be read where it was said to be; and
//! of a stream that is idempotent every record is there once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use odradek::client::{ClientError, Producer, ProducerConfig, ProducerRecord};

use crate::boards::{Boards, PATIENCE};
use crate::broker::client_command;
use crate::load::field;

/// Time between two records of a partition.
const PAUSE: Duration = Duration::from_millis(4);

/// So many records of a partition are on their way at most: what is sent is what the machine bears,
/// and a site that was away has no hour's work to make up for.
const BACKLOG: usize = 200;

/// How a stream of our own client is to behave.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Of its values; no two streams of a test have the same.
    pub name: &'static str,
    /// `enable.idempotence`.
    pub is_idempotent: bool,
    /// `request.timeout.ms`: how long a paused board is waited for.
    pub request_timeout: Duration,
}

/// What a stream was told.
#[derive(Debug, Default)]
struct Told {
    /// Partition, offset and value of what was acknowledged.
    acked: Vec<(i32, i64, String)>,
    /// How many of each partition that is.
    counts: BTreeMap<i32, usize>,
    /// What became of all others.
    failed: Vec<ClientError>,
    /// Whatever kept records from being acknowledged for some time.
    troubles: Vec<ClientError>,
    /// Of each partition.
    last: BTreeMap<i32, Instant>,
    /// Longest time without an acknowledgement, of each partition, since somebody asked.
    longest: BTreeMap<i32, Duration>,
}

/// A producer of ours at work.
pub struct Stream {
    kind: Kind,
    partitions: i32,
    is_ended: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    thread: JoinHandle<Vec<u64>>,
}

impl Stream {
    /// Begins to send to all partitions of a topic.
    pub fn start(boards: &Boards, topic: &str, partitions: i32, kind: Kind) -> Stream {
        let mut config = ProducerConfig::new(&boards.servers());
        config.enable_idempotence = Some(kind.is_idempotent);
        config.request_timeout = kind.request_timeout;
        config.connection_setup_timeout = Duration::from_secs(2);
        let producer = Producer::new(config).expect("the settings are legal");
        let told = Arc::new(Mutex::new(Told::default()));
        let is_ended = Arc::new(AtomicBool::new(false));
        let (sink, end, topic) = (Arc::clone(&told), Arc::clone(&is_ended), topic.to_owned());
        let thread = thread::spawn(move || {
            let mut sent = vec![0; partitions as usize];
            while !end.load(Ordering::Relaxed) {
                let acked = sink.lock().expect("nobody panics with the lock").counts.clone();
                for (partition, count) in (0..).zip(&mut sent) {
                    let acked = acked.get(&partition).copied().unwrap_or_default();
                    if acked + BACKLOG <= *count as usize {
                        continue;
                    }
                    send(&producer, &topic, &format!("{}:{partition}:{count}", kind.name), &sink);
                    *count += 1;
                }
                if let Some(trouble) = producer.trouble() {
                    let mut told = sink.lock().expect("nobody panics with the lock");
                    if told.troubles.last() != Some(&trouble.error) {
                        told.troubles.push(trouble.error);
                    }
                }
                thread::sleep(PAUSE);
            }
            // Every record has its outcome afterwards.
            producer.close().expect("it ends");
            sent
        });
        let stream = Stream { kind, partitions, is_ended, told, thread };
        stream.wait_for_more(boards, 1);
        stream
    }

    /// Waits until so many more records of each partition are acknowledged.
    pub fn wait_for_more(&self, boards: &Boards, count: usize) {
        let before = self.counts();
        boards.wait_for(&format!("{} acknowledgements of {}", count, self.kind.name), |_| {
            let now = self.counts();
            let more = |partition: i32| now.get(&partition).copied().unwrap_or_default();
            (0..self.partitions).all(|partition| {
                before.get(&partition).copied().unwrap_or_default() + count <= more(partition)
            })
        });
    }

    fn counts(&self) -> BTreeMap<i32, usize> {
        self.told.lock().expect("nobody panics with the lock").counts.clone()
    }

    /// The longest time any partition went without an acknowledgement since this was asked last.
    pub fn longest_silence(&self) -> Duration {
        let mut told = self.told.lock().expect("nobody panics with the lock");
        std::mem::take(&mut told.longest).into_values().max().unwrap_or_default()
    }

    /// Ends it, and gives what it was told once every record has its outcome.
    pub fn finish(self) -> Finished {
        self.is_ended.store(true, Ordering::Relaxed);
        let sent = self.thread.join().expect("it does not panic");
        let told = std::mem::take(&mut *self.told.lock().expect("all is told"));
        Finished { kind: self.kind, sent, told }
    }
}

fn send(producer: &Producer, topic: &str, value: &str, sink: &Arc<Mutex<Told>>) {
    let partition = value.split(':').nth(1).and_then(|text| text.parse().ok()).expect("we made it");
    let record = ProducerRecord::new(topic, value).partition(partition);
    let (kept, sink) = (value.to_owned(), Arc::clone(sink));
    let sent = producer.send_with(&record, move |result| {
        let mut told = sink.lock().expect("nobody panics with the lock");
        match result {
            Err(error) => told.failed.push(error),
            Ok(place) => {
                let now = Instant::now();
                let last = told.last.insert(partition, now).unwrap_or(now);
                let longest = told.longest.entry(partition).or_default();
                *longest = (now - last).max(*longest);
                *told.counts.entry(partition).or_default() += 1;
                told.acked.push((place.partition.0, place.offset.0, kept));
            }
        }
    });
    sent.expect("the topic is there, and the buffer large enough for all that may gather");
}

/// A stream that has ended.
#[derive(Debug)]
pub struct Finished {
    kind: Kind,
    /// Of each partition.
    sent: Vec<u64>,
    told: Told,
}

impl Finished {
    /// How many records were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.told.acked.len()
    }

    /// What was met on the way and did not pass unseen.
    pub fn troubles(&self) -> &[ClientError] {
        &self.told.troubles
    }

    /// Compares what was acknowledged with what is there.
    pub fn check(&self, found: &Found) {
        let name = self.kind.name;
        assert_eq!(self.told.failed, [], "{name}: every record is acknowledged in the end");
        let is_lost = |(partition, offset, value): &&(i32, i64, String)| {
            found.values.get(&(*partition, *offset)) != Some(value)
        };
        let lost: Vec<_> = self.told.acked.iter().filter(is_lost).collect();
        if let Some((partition, offset, value)) = lost.first() {
            panic!(
                "{} of {} acknowledged records are lost, the first is {value} at {offset} of \
                 partition {partition}, where {:?} is now",
                lost.len(),
                self.told.acked.len(),
                found.values.get(&(*partition, *offset))
            );
        }
        if self.kind.is_idempotent {
            for (partition, count) in (0..).zip(&self.sent) {
                let prefix = format!("{name}:{partition}:");
                let there = found.of(partition, &prefix);
                let wanted: Vec<u64> = (0..*count).collect();
                assert!(there == wanted, "{prefix} once each, in order: {}", odd(&there));
            }
        }
    }
}

/// The first places where numbers do not rise by one.
fn odd(numbers: &[u64]) -> String {
    let pairs = numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]);
    let odd: Vec<String> = pairs.take(10).map(|pair| format!("{}, {}", pair[0], pair[1])).collect();
    format!("{} records; not one behind the other: {}", numbers.len(), odd.join("; "))
}

/// Where `tests/interop/librdkafka/fetch` has built librdkafka, in the user's cache.
const LIBRDKAFKA: &str = "odradek-ci/librdkafka-2.15.1/lib";

/// `kcat`, if its librdkafka is one that knows leader epochs: the one that was built here, or from
/// 2.3 on. One from before believes whoever answered last: when two boards' answers crossed it went
/// on asking the former leader for ever.
fn kcat() -> Option<Command> {
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
        || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let built = cache.join(LIBRDKAFKA);
    let command = || {
        let mut command = Command::new("kcat");
        if built.join("librdkafka.so.1").exists() {
            command.env("LD_LIBRARY_PATH", &built);
        }
        command
    };
    let said = command().arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut numbers = said.split("librdkafka ").nth(1)?.split(['.', ' ', '-']);
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let is_known = (2, 3) <= (number()?, number()?);
    is_known.then(command)
}

/// `kcat`, whose records librdkafka sends, idempotent.
pub struct Kcat {
    child: Child,
    is_ended: Arc<AtomicBool>,
    feeder: Option<JoinHandle<u64>>,
    words: PathBuf,
}

impl Kcat {
    /// Begins to send, no faster than another stream comes along; librdkafka chooses the partitions.
    /// `None` where there is none that can.
    pub fn start(boards: &Boards, topic: &str, beside: &Stream) -> Option<Kcat> {
        let mut command = kcat()?;
        command.args(["-E", "-b", &boards.doors(), "-P", "-t", topic]);
        command.args(["-X", "enable.idempotence=true", "-X", "linger.ms=1"]);
        // Or a paused board is waited for a minute.
        command.args(["-X", "socket.timeout.ms=3000"]);
        // Some at a time to each partition, rather than all to one.
        command.args(["-X", "sticky.partitioning.linger.ms=0"]);
        let words = boards.file("kcat.err");
        let said = File::create(&words).expect("a file can be made");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said);
        let mut child = command.spawn().expect("kcat starts");
        let mut input = child.stdin.take().expect("piped");
        let is_ended = Arc::new(AtomicBool::new(false));
        let (end, told) = (Arc::clone(&is_ended), Arc::clone(&beside.told));
        let feeder = thread::spawn(move || {
            let mut sent: usize = 0;
            while !end.load(Ordering::Relaxed) {
                let acked = told.lock().expect("nobody panics with the lock").acked.len();
                if acked + BACKLOG <= sent {
                    thread::sleep(PAUSE);
                    continue;
                }
                // A kcat that ended is heard of in the end.
                if input.write_all(format!("kcat:-:{sent}\n").as_bytes()).is_err() {
                    break;
                }
                sent += 1;
                thread::sleep(PAUSE);
            }
            sent as u64
        });
        Some(Kcat { child, is_ended, feeder: Some(feeder), words })
    }

    /// Ends it; it exits well only when everything is acknowledged. How many records it sent.
    pub fn finish(mut self, boards: &Boards) -> u64 {
        self.is_ended.store(true, Ordering::Relaxed);
        let feeder = self.feeder.take().expect("it is ended once");
        let sent = feeder.join().expect("it does not panic");
        let words = self.words.clone();
        let said = || fs::read_to_string(&words).unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                let words = said();
                assert!(status.success(), "kcat: {status}\n{words}{}", boards.words());
                let is_fatal =
                    |line: &&str| line.contains("FATAL") || line.contains("elivery failed");
                let fatal: Vec<_> = words.lines().filter(is_fatal).collect();
                assert!(fatal.is_empty(), "kcat: {fatal:#?}");
                return sent;
            }
            assert!(
                Instant::now() <= deadline,
                "kcat does not get rid of its records\n{}{}",
                said(),
                boards.words()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Kcat {
    /// One of a test that failed would send for ever, and be in the way of all others.
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Members of a group that read all the time, each its share: `odradek consume --group`.
pub struct Readers {
    members: Vec<(Child, PathBuf)>,
}

impl Readers {
    /// So many begin to read.
    pub fn start(boards: &Boards, topic: &str, count: usize) -> Readers {
        let start = |number| {
            let printed = boards.file(&format!("reader-{number}"));
            let output = File::create(&printed).expect("a file can be made");
            let words = ["consume", topic, "--group", "readers", "--from-beginning"];
            let mut command = client_command(&boards.servers(), &words);
            let said = File::create(said_at(&printed)).expect("a file can be made");
            command.stdout(output).stderr(said);
            (command.spawn().expect("the binary starts"), printed)
        };
        let members = (0..count).map(start).collect();
        // Whoever has read nothing yet gives up when no board is there: they are in the group first.
        boards.wait_for("the readers are in their group", |boards| {
            // Whichever board is asked, it names the one that knows.
            boards.running().into_iter().all(|node| {
                let described = boards.admin_of(node).describe_groups(&["readers"]);
                let group = described.ok().and_then(|mut groups| groups.pop()?.ok());
                group.is_some_and(|group| group.members.len() == count)
            })
        });
        Readers { members }
    }

    /// Waits until the group has read everything; it may read some twice.
    pub fn finish(mut self, boards: &Boards, found: &Found) {
        let all: BTreeSet<&str> = found.values.values().map(String::as_str).collect();
        let mut missing = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let texts: Vec<String> = self.printed().collect();
            let read: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).collect();
            missing = all.difference(&read).map(|value| (*value).to_owned()).collect();
            if missing.is_empty() {
                let count: usize = texts.iter().map(|text| text.lines().count()).sum();
                let ended = self.members.iter_mut().map(|(child, _)| child.try_wait());
                let ended: Vec<_> = ended.map(|one| one.expect("our child")).collect();
                let words = || self.words(boards);
                let gave_up = ended.iter().any(Option::is_some);
                assert!(!gave_up, "members of the group gave up: {ended:?}\n{}", words());
                eprintln!(
                    "the group read {count} records, {} of them once more",
                    count - all.len()
                );
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let some = &missing[..missing.len().min(5)];
        panic!(
            "the group has not read {} records: {some:?}..\n{}{}",
            missing.len(),
            self.words(boards),
            boards.words()
        );
    }

    /// What the members said, and what the site says of them.
    fn words(mut self, boards: &Boards) -> String {
        let mut words = String::new();
        for (child, printed) in &mut self.members {
            let text = fs::read_to_string(&*printed).unwrap_or_default();
            let said = fs::read_to_string(said_at(printed)).unwrap_or_default();
            let ended = child.try_wait().expect("our child");
            let (count, last) = (text.lines().count(), text.lines().last());
            writeln!(words, "-- read {count}, last {last:?}, ended {ended:?}\n{said}")
                .expect("a String takes all");
        }
        for node in boards.running() {
            let described = boards.broker(node).run(&["group", "describe", "readers"]);
            let text = String::from_utf8_lossy(&described.stdout);
            writeln!(words, "-- group at {node}\n{text}").expect("a String takes all");
        }
        words
    }

    fn printed(&self) -> impl Iterator<Item = String> + '_ {
        self.members.iter().map(|(_, path)| {
            let text = fs::read_to_string(path).expect("it was made");
            // What is being written has no end yet.
            text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
        })
    }
}

/// Where what is said beside is.
fn said_at(printed: &Path) -> PathBuf {
    printed.with_extension("err")
}

impl Drop for Readers {
    fn drop(&mut self) {
        for (child, _) in &mut self.members {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All that a topic holds.
#[derive(Debug)]
pub struct Found {
    values: BTreeMap<(i32, i64), String>,
}

impl Found {
    /// Reads a topic from its beginning to its end.
    pub fn read(boards: &Boards, topic: &str, partitions: i32) -> Found {
        let node = *boards.running().first().expect("a board runs");
        let mut values = BTreeMap::new();
        for partition in 0..partitions {
            let number = partition.to_string();
            let words = ["consume", topic, "--partition", &number, "--from", "beginning"];
            let words = [&words[..], &["--until-end", "--format", "json"]].concat();
            let mut last = -1;
            for line in boards.broker(node).text(&words).lines() {
                let offset = field(line, "offset").and_then(|text| text.parse().ok());
                let offset: i64 = offset.expect("each line has an offset");
                assert!(last < offset, "{topic}-{partition}: {offset} behind {last}");
                last = offset;
                let value = field(line, "value").expect("each line has a value").to_owned();
                values.insert((partition, offset), value);
            }
        }
        Found { values }
    }

    /// The numbers behind a prefix, in the order of a partition.
    fn of(&self, partition: i32, prefix: &str) -> Vec<u64> {
        let place = (partition, 0)..=(partition, i64::MAX);
        let values = self.values.range(place).map(|(_, value)| value.as_str());
        values.filter_map(|value| value.strip_prefix(prefix)?.parse().ok()).collect()
    }

    /// Every record of `kcat` is there once, and in order within its partition.
    pub fn check_kcat(&self, partitions: i32, sent: u64) {
        let mut all = Vec::new();
        for partition in 0..partitions {
            let there = self.of(partition, "kcat:-:");
            let is_rising = there.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(is_rising, "partition {partition}: {}", odd(&there));
            all.extend(there);
        }
        all.sort_unstable();
        let wanted: Vec<u64> = (0..sent).collect();
        assert!(all == wanted, "kcat's records once each, {sent} sent: {}", odd(&all));
    }
}
