//! `odradek bench consume`: reads what a topic holds, once.

use std::time::{Duration, Instant};

use argh::FromArgs;
use odradek::client::{
    ClientError, Consumer, ConsumerConfig, ConsumerRecord, OffsetReset, TopicPartition,
};
use odradek::ids::Offset;
use odradek::metrics::Histogram;
use odradek::wire::ErrorCode;

use super::report::{Report, Stopwatch};
use crate::cli::{CliError, connect};

/// After so long without a record something is wrong.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// read what the topic holds, from its beginning to its present end
#[derive(FromArgs)]
#[argh(subcommand, name = "consume")]
pub struct Consume {
    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// the topic (default: bench)
    #[argh(option, arg_name = "topic", default = "String::from(\"bench\")")]
    topic: String,

    /// end after so many seconds, if that is sooner
    #[argh(option, arg_name = "seconds")]
    seconds: Option<f64>,

    /// end after so many records, if that is sooner
    #[argh(option, arg_name = "count")]
    records: Option<u64>,

    /// how many records one poll returns at most (default: 500)
    #[argh(option, arg_name = "count", default = "500")]
    max_poll_records: usize,

    /// print one JSON object
    #[argh(switch)]
    json: bool,
}

#[derive(Default)]
struct Tally {
    record_count: u64,
    bytes: u64,
    polls: Histogram,
}

impl Consume {
    /// Measures and reports.
    pub fn run(self) -> Result<(), CliError> {
        let mut config = ConsumerConfig::new(&self.server);
        config.auto_offset_reset = OffsetReset::Earliest;
        config.max_poll_records = self.max_poll_records;
        "odradek-bench".clone_into(&mut config.client_id);
        let mut consumer = Consumer::new(config).map_err(CliError::usage)?;
        let failed = |why: ClientError| self.failed(&why);
        let partitions = consumer.partitions_for(&self.topic).map_err(failed)?;
        let begins = consumer.beginning_offsets(&partitions).map_err(failed)?;
        let ends = consumer.end_offsets(&partitions).map_err(failed)?;
        if begins == ends {
            return Err(CliError::failed(format_args!(
                "topic `{}` is empty; `odradek bench produce` fills it",
                self.topic
            )));
        }
        consumer.assign(&partitions).map_err(failed)?;
        let mut stopwatch = Stopwatch::start();
        let tally = self.read(&mut consumer, &partitions, &ends, &mut stopwatch).map_err(failed)?;
        let (elapsed, client_busy) = stopwatch.stop();
        let report = Report {
            question: "consume",
            words: "from the beginning".to_owned(),
            topic: &self.topic,
            partition_count: partitions.len() as i32,
            record_count: tally.record_count,
            bytes: tally.bytes,
            failed_count: 0,
            elapsed,
            client_busy,
            measured: "poll",
            histogram: &tally.polls,
        };
        report.print(self.json)
    }

    fn failed(&self, why: &ClientError) -> CliError {
        match why {
            ClientError::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                CliError::failed(format_args!(
                    "there is no topic `{}`; `odradek bench produce` makes one",
                    self.topic
                ))
            }
            why => connect::failed(&self.server, why),
        }
    }

    fn read(
        &self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
        ends: &[Offset],
        stopwatch: &mut Stopwatch,
    ) -> Result<Tally, ClientError> {
        let mut tally = Tally::default();
        let mut open: Vec<(TopicPartition, Offset)> =
            partitions.iter().cloned().zip(ends.iter().copied()).collect();
        let until = self
            .seconds
            .map(|seconds| stopwatch.started() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        let count_max = self.records.unwrap_or(u64::MAX);
        let mut heard = stopwatch.started();
        while !open.is_empty() && tally.record_count < count_max {
            let asked = Instant::now();
            if until.is_some_and(|until| until <= asked) {
                break;
            }
            let records = consumer.poll(Duration::from_millis(200))?;
            let now = Instant::now();
            tally.polls.record(now.duration_since(asked).as_micros() as u64);
            tally.record_count += records.len() as u64;
            tally.bytes += records.iter().map(payload_bytes).sum::<u64>();
            stopwatch.progress(now, tally.record_count);
            if !records.is_empty() {
                heard = now;
            } else if SILENCE_MAX <= now.duration_since(heard) {
                return Err(ClientError::Timeout);
            }
            // The position may end behind the last record, where a batch was compacted.
            for index in (0..open.len()).rev() {
                if open[index].1 <= consumer.position(&open[index].0)? {
                    open.swap_remove(index);
                }
            }
        }
        Ok(tally)
    }
}

fn payload_bytes(record: &ConsumerRecord) -> u64 {
    let bytes = |field: &Option<_>| field.as_ref().map_or(0, |field: &bytes::Bytes| field.len());
    (bytes(&record.key) + bytes(&record.value)) as u64
}
