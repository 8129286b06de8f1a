//! `odradek bench produce` and `odradek bench latency`: the same load, as fast as it goes or at a
//! rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;
use odradek::client::{
    Acks, ClientError, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
};
use odradek::metrics::Histogram;
use odradek::record::Compression;

use super::report::{Report, Stopwatch};
use crate::cli::{CliError, connect};

/// Values are cut from this many random bytes, so that codecs find little to save.
const POOL_BYTES: usize = 1 << 20;

/// write records as fast as the broker takes them
#[derive(FromArgs)]
#[argh(subcommand, name = "produce")]
pub struct Produce {
    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// the topic; made if it is not there (default: bench)
    #[argh(option, arg_name = "topic", default = "String::from(\"bench\")")]
    topic: String,

    /// partitions of a topic that is made (default: 1)
    #[argh(option, arg_name = "count", default = "1")]
    partitions: i32,

    /// how long to measure, in seconds (default: 5)
    #[argh(option, arg_name = "seconds", default = "5.0")]
    seconds: f64,

    /// end after so many records, if that is sooner
    #[argh(option, arg_name = "count")]
    records: Option<u64>,

    /// bytes of a record's value (default: 100)
    #[argh(option, arg_name = "bytes", default = "100")]
    record_size: usize,

    /// records per second (default: as many as the broker takes)
    #[argh(option, arg_name = "rate")]
    rate: Option<f64>,

    /// what to wait for: all for stable storage, 1 for the broker's memory, 0 for nothing
    /// (default: all)
    #[argh(option, arg_name = "acks", default = "Acks::All", from_str_fn(acks))]
    acks: Acks,

    /// none, gzip, snappy, lz4 or zstd (default: none)
    #[argh(option, arg_name = "codec", default = "Compression::None", from_str_fn(codec))]
    compression: Compression,

    /// bytes at which a batch goes (default: 16384)
    #[argh(option, arg_name = "bytes", default = "16384")]
    batch_size: usize,

    /// how long a record waits for company, in ms (default: 5)
    #[argh(option, arg_name = "ms", default = "5")]
    linger_ms: u64,

    /// print one JSON object
    #[argh(switch)]
    json: bool,
}

/// measure how long acknowledgements take at a fixed rate
#[derive(FromArgs)]
#[argh(subcommand, name = "latency")]
pub struct Latency {
    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// the topic; made if it is not there (default: bench)
    #[argh(option, arg_name = "topic", default = "String::from(\"bench\")")]
    topic: String,

    /// partitions of a topic that is made (default: 1)
    #[argh(option, arg_name = "count", default = "1")]
    partitions: i32,

    /// how long to measure, in seconds (default: 5)
    #[argh(option, arg_name = "seconds", default = "5.0")]
    seconds: f64,

    /// bytes of a record's value (default: 100)
    #[argh(option, arg_name = "bytes", default = "100")]
    record_size: usize,

    /// records per second, whatever the answers do (default: 1000)
    #[argh(option, arg_name = "rate", default = "1000.0")]
    rate: f64,

    /// what to wait for: all for stable storage, 1 for the broker's memory, 0 for nothing
    /// (default: all)
    #[argh(option, arg_name = "acks", default = "Acks::All", from_str_fn(acks))]
    acks: Acks,

    /// how long a record waits for company, in ms (default: 0)
    #[argh(option, arg_name = "ms", default = "0")]
    linger_ms: u64,

    /// print one JSON object
    #[argh(switch)]
    json: bool,
}

impl Latency {
    /// Measures and reports.
    pub fn run(self) -> Result<(), CliError> {
        let load = Produce {
            server: self.server,
            topic: self.topic,
            partitions: self.partitions,
            seconds: self.seconds,
            records: None,
            record_size: self.record_size,
            rate: Some(self.rate),
            acks: self.acks,
            compression: Compression::None,
            batch_size: 16_384,
            linger_ms: self.linger_ms,
            json: self.json,
        };
        load.measure("latency")
    }
}

fn acks(text: &str) -> Result<Acks, String> {
    Acks::parse(text).ok_or_else(|| format!("`{text}` is none of 0, 1, all"))
}

fn codec(text: &str) -> Result<Compression, String> {
    Compression::parse(text)
        .ok_or_else(|| format!("`{text}` is none of none, gzip, snappy, lz4, zstd"))
}

#[derive(Default)]
struct Tally {
    acked_count: u64,
    failed_count: u64,
    first_failure: Option<ClientError>,
    histogram: Histogram,
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Produce {
    /// Measures and reports.
    pub fn run(self) -> Result<(), CliError> {
        self.measure("produce")
    }

    fn check(&self) -> Result<(), CliError> {
        if !(0.0 < self.seconds && self.seconds.is_finite()) {
            return Err(CliError::usage("--seconds is a positive number"));
        }
        if self.rate.is_some_and(|rate| !(0.0 < rate && rate.is_finite())) {
            return Err(CliError::usage("--rate is a positive number"));
        }
        if POOL_BYTES < self.record_size {
            return Err(CliError::usage(format_args!("--record-size is at most {POOL_BYTES}")));
        }
        Ok(())
    }

    fn measure(&self, question: &'static str) -> Result<(), CliError> {
        self.check()?;
        let partition_count = super::ensure_topic(&self.server, &self.topic, self.partitions)?;
        let mut config = ProducerConfig::new(&self.server);
        config.acks = self.acks;
        config.compression_type = self.compression;
        config.batch_size = self.batch_size;
        config.linger = Duration::from_millis(self.linger_ms);
        "odradek-bench".clone_into(&mut config.client_id);
        let producer = Producer::new(config).map_err(CliError::usage)?;
        let failed = |why: ClientError| connect::failed(&self.server, why);
        // Connecting is not what is measured.
        producer.partition_count(&self.topic).map_err(failed)?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut stopwatch = Stopwatch::start();
        self.load(&producer, &tally, &mut stopwatch).map_err(failed)?;
        producer.flush().map_err(failed)?;
        let (elapsed, client_busy) = stopwatch.stop();
        let tally = lock(&tally);
        let acks = match self.acks {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        };
        let rate = self.rate.map_or_else(String::new, |rate| format!(" at {rate} per second"));
        let report = Report {
            question,
            words: format!("{} B each{rate}, acks {acks}", self.record_size),
            topic: &self.topic,
            partition_count,
            record_count: tally.acked_count,
            bytes: tally.acked_count * self.record_size as u64,
            failed_count: tally.failed_count,
            elapsed,
            client_busy,
            measured: "latency",
            histogram: &tally.histogram,
        };
        report.print(self.json)?;
        match &tally.first_failure {
            None => Ok(()),
            Some(why) => Err(connect::failed(&self.server, why)),
        }
    }

    fn load(
        &self,
        producer: &Producer,
        tally: &Arc<Mutex<Tally>>,
        stopwatch: &mut Stopwatch,
    ) -> Result<(), ClientError> {
        let pool = noise();
        let started = stopwatch.started();
        let end = started + Duration::from_secs_f64(self.seconds);
        let mut sent = 0u64;
        while self.records.is_none_or(|count| sent < count) {
            let now = Instant::now();
            let intended = match self.rate {
                None => now,
                Some(rate) => started + Duration::from_secs_f64(sent as f64 / rate),
            };
            if end <= intended.max(now) {
                break;
            }
            if let Some(early) = intended.checked_duration_since(now) {
                thread::sleep(early);
            }
            let room = POOL_BYTES - self.record_size + 1;
            let at = (sent as usize).wrapping_mul(257) % room;
            let record = ProducerRecord::new(&self.topic, &pool[at..at + self.record_size]);
            let tally = Arc::clone(tally);
            producer.send_with(&record, move |result| lock(&tally).take(result, intended))?;
            sent += 1;
            if sent % 1024 == 0 || self.rate.is_some() {
                stopwatch.progress(now, sent);
            }
        }
        Ok(())
    }
}

impl Tally {
    fn take(&mut self, result: Result<RecordMetadata, ClientError>, intended: Instant) {
        match result {
            Ok(_) => {
                self.acked_count += 1;
                self.histogram.record(intended.elapsed().as_micros() as u64);
            }
            Err(why) => {
                self.failed_count += 1;
                self.first_failure.get_or_insert(why);
            }
        }
    }
}

/// Bytes without a pattern that a codec would find (splitmix64); the same in every run.
fn noise() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(POOL_BYTES);
    let mut state = 0u64;
    while bytes.len() < POOL_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}
