//! `odradek produce TOPIC`: lines from stdin become records.
//!
//! With `--print-acks` a line appears on stdout for each record as soon as it is acknowledged, and
//! not before: a script that was cut off knows exactly which of its records are safe.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;
use odradek::client::{
    Acks, ClientError, NewTopic, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
};
use odradek::record::Compression;
use odradek::wire::ErrorCode;

use super::{CliError, connect, say};

/// send lines from stdin as records
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "produce",
    example = "vmstat -n 1 | {command_name} host.vmstat --create\n  a real sensor: this machine",
    example = "echo 'pump-7:21.5' | {command_name} plant.temperature --key-separator :\n  the value 21.5 with the key pump-7",
    note = "A record is acknowledged when it is on stable storage, unless --acks says otherwise. What cannot be written at present is tried for 120 s; stderr says what it waits for. A summary with each partition's last offset goes to stderr. Exit code 1 when a record was not acknowledged."
)]
pub struct Produce {
    /// the topic
    #[argh(positional)]
    topic: String,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// what stands between key and value in a line; without it whole lines are values
    #[argh(option, arg_name = "text")]
    key_separator: Option<String>,

    /// the partition (default: equal keys together, records without a key spread over all)
    #[argh(option, arg_name = "number")]
    partition: Option<i32>,

    /// what to wait for: `all` for stable storage, 1 for the broker's memory, 0 for nothing
    /// (default: all)
    #[argh(option, arg_name = "acks", default = "Acks::All", from_str_fn(acks))]
    acks: Acks,

    /// compress batches: none, gzip, snappy, lz4 or zstd (default: none)
    #[argh(option, arg_name = "codec", default = "Compression::None", from_str_fn(codec))]
    compression: Compression,

    /// how long a record waits for company, in ms (default: 5)
    #[argh(option, arg_name = "ms", default = "5")]
    linger_ms: u64,

    /// create the topic if it is not there, with the broker's num.partitions
    #[argh(switch)]
    create: bool,

    /// print `partition offset value` of each record on stdout as it is acknowledged
    #[argh(switch)]
    print_acks: bool,
}

fn acks(text: &str) -> Result<Acks, String> {
    Acks::parse(text).ok_or_else(|| format!("`{text}` is none of 0, 1, all"))
}

fn codec(text: &str) -> Result<Compression, String> {
    Compression::parse(text)
        .ok_or_else(|| format!("`{text}` is none of none, gzip, snappy, lz4, zstd"))
}

/// How long nothing is said of trouble that may pass by itself, and how often it is looked for.
const SILENCE: Duration = Duration::from_secs(1);

/// Trouble that lasts is named again so often.
const REMINDER: Duration = Duration::from_secs(10);

/// What became of the records so far.
#[derive(Default)]
struct Tally {
    acked_count: u64,
    /// Last offset of each partition.
    last_offsets: BTreeMap<i32, i64>,
    failed_count: u64,
    first_failure: Option<ClientError>,
    stdout_failed: bool,
}

impl Produce {
    /// Sends until stdin ends.
    pub fn run(self) -> Result<(), CliError> {
        if self.create {
            self.create_topic()?;
        } else {
            self.check_topic()?;
        }
        let mut config = ProducerConfig::new(&self.server);
        config.acks = self.acks;
        config.compression_type = self.compression;
        config.linger = Duration::from_millis(self.linger_ms);
        "odradek-produce".clone_into(&mut config.client_id);
        let patience = config.delivery_timeout;
        let producer = Producer::new(config).map_err(CliError::usage)?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (ended, end) = mpsc::channel();
        let (fed, flushed) = thread::scope(|scope| {
            let (this, watched) = (&self, &producer);
            scope.spawn(move || this.tell_of_trouble(watched, patience, &end));
            // What stdin gave is sent in any case; then the first mistake counts.
            let fed = self.feed(&producer, &tally);
            let flushed = producer.flush().map_err(|why| connect::failed(&self.server, why));
            drop(ended);
            (fed, flushed)
        });
        let closed = producer.close().map_err(|why| connect::failed(&self.server, why));
        let summary = self.summarize(&lock(&tally));
        fed.and(summary).and(flushed).and(closed)
    }

    /// Names what records wait for, so that a full disk or a broker that is gone does not look like
    /// a program that hangs. Ends with its channel.
    fn tell_of_trouble(&self, producer: &Producer, patience: Duration, end: &mpsc::Receiver<()>) {
        let mut told: Option<Instant> = None;
        while end.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
            let Some(trouble) = producer.trouble() else {
                if told.take().is_some() {
                    say(format_args!("odradek: {}: acknowledged again", self.server));
                }
                continue;
            };
            let waited = trouble.since.elapsed();
            if waited < SILENCE || told.is_some_and(|at| at.elapsed() < REMINDER) {
                continue;
            }
            told = Some(Instant::now());
            say(format_args!(
                "odradek: {}: waiting for {} s: {} (a record is tried for {} s)",
                self.server,
                waited.as_secs(),
                trouble.error,
                patience.as_secs()
            ));
        }
    }

    fn create_topic(&self) -> Result<(), CliError> {
        let failed = |why: ClientError| connect::failed(&self.server, why);
        let admin = connect::admin(&self.server)?;
        let answers = admin.create_topics(&[NewTopic::new(&self.topic)]).map_err(failed)?;
        for answer in answers {
            match answer {
                Err(refusal) if refusal.error != ErrorCode::TOPIC_ALREADY_EXISTS => {
                    return Err(CliError::failed(refusal));
                }
                Ok(_) => say(format_args!("created topic {}", self.topic)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// A producer would wait for an unknown topic to appear; a person wants to be told.
    fn check_topic(&self) -> Result<(), CliError> {
        let described = connect::admin(&self.server)?.describe_topics(&[&self.topic]);
        let found = described.map_err(|why| connect::failed(&self.server, why))?;
        match found.into_iter().next() {
            Some(Err(refusal)) if refusal == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                Err(CliError::failed(format_args!(
                    "there is no topic `{}`; --create makes one",
                    self.topic
                )))
            }
            Some(Err(refusal)) => Err(CliError::failed(refusal.text())),
            _ => Ok(()),
        }
    }

    fn feed(&self, producer: &Producer, tally: &Arc<Mutex<Tally>>) -> Result<(), CliError> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|why| CliError::failed(format!("stdin: {why}")))? == 0 {
                return Ok(());
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.send(producer, tally, &line)?;
            if lock(tally).stdout_failed {
                return Err(CliError::StdoutClosed);
            }
        }
    }

    fn send(
        &self,
        producer: &Producer,
        tally: &Arc<Mutex<Tally>>,
        line: &[u8],
    ) -> Result<(), CliError> {
        let (key, value) = self.split(line)?;
        let mut record = ProducerRecord::new(&self.topic, value);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        let tally = Arc::clone(tally);
        let printed = self.print_acks.then(|| value.to_vec());
        let sent = producer.send_with(&record, move |result| {
            lock(&tally).take(result, printed.as_deref());
        });
        sent.map_err(|why| connect::failed(&self.server, why))
    }

    fn split<'a>(&self, line: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8]), CliError> {
        let Some(separator) = self.key_separator.as_deref().map(str::as_bytes) else {
            return Ok((None, line));
        };
        let found = line.windows(separator.len().max(1)).position(|window| window == separator);
        let at = found.ok_or_else(|| {
            CliError::failed(format_args!(
                "a line has no key separator: {}",
                String::from_utf8_lossy(line)
            ))
        })?;
        Ok((Some(&line[..at]), &line[at + separator.len()..]))
    }

    fn summarize(&self, tally: &Tally) -> Result<(), CliError> {
        let count = tally.acked_count;
        let ends = tally.last_offsets.iter();
        let ends: Vec<String> = ends.map(|(number, last)| format!("{number}:{last}")).collect();
        let records = if count == 1 { "record" } else { "records" };
        let verb = if self.acks == Acks::None { "sent" } else { "acknowledged" };
        let topic = &self.topic;
        if self.acks == Acks::None || ends.is_empty() {
            say(format_args!("{count} {records} {verb}, topic {topic}"));
        } else {
            let ends = ends.join(" ");
            say(format_args!(
                "{count} {records} {verb}, topic {topic}, last offset by partition {ends}"
            ));
        }
        match &tally.first_failure {
            None => Ok(()),
            Some(why) => {
                let failed = tally.failed_count;
                Err(connect::failed(&self.server, format_args!("{failed} not acknowledged: {why}")))
            }
        }
    }
}

impl Tally {
    fn take(&mut self, result: Result<RecordMetadata, ClientError>, printed: Option<&[u8]>) {
        match result {
            Err(why) => {
                self.failed_count += 1;
                self.first_failure.get_or_insert(why);
            }
            Ok(metadata) => {
                self.acked_count += 1;
                let (partition, offset) = (metadata.partition.0, metadata.offset.0);
                let last = self.last_offsets.entry(partition).or_insert(offset);
                *last = offset.max(*last);
                if let Some(value) = printed {
                    self.stdout_failed |= print_ack(partition, offset, value).is_err();
                }
            }
        }
    }
}

/// One line, handed on at once: it must not be lost in a buffer when the process is killed.
fn print_ack(partition: i32, offset: i64, value: &[u8]) -> io::Result<()> {
    let mut line = format!("{partition} {offset} ").into_bytes();
    line.extend_from_slice(value);
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // A panic under this lock would be a bug of ours; what was counted is still right.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
