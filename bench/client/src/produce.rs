//! Throughput: the queue is kept full, whatever the broker does.

use std::io;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::kafka::{Deliveries, Producer, Settings};
use crate::topic;
use crate::watch::Watch;

/// How many records are acknowledged.
#[derive(Default)]
pub struct Counted {
    pub records: u64,
    requests: u64,
    failed: Option<io::Error>,
}

impl Deliveries for Counted {
    fn delivered(&mut self, _tag: usize) {
        self.records += 1;
    }

    fn failed(&mut self, error: io::Error) {
        self.failed.get_or_insert(error);
    }

    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn requests(&mut self, count: u64) {
        self.requests = count;
    }
}

/// Sends for `--warm` seconds, then measures for `--seconds`, and goes; or sends `--bytes` and
/// waits until all are acknowledged.
pub fn run(args: &Args) -> io::Result<()> {
    let record_bytes = args.number("record", 100) as usize;
    let value = value(record_bytes);
    let settings = Settings::new(&args.address()?.to_string())?
        .with("batch.size", &args.number("batch", 1_000_000).to_string())?
        .with("enable.idempotence", if args.has("idempotent") { "true" } else { "false" })?;
    let mut producer = Producer::new(settings, &topic(args), Counted::default())?;
    let patience = Duration::from_secs(args.number("patience", 20));
    producer.warm(value, |counted| 0 < counted.records, patience)?;
    if args.has("bytes") {
        let records = args.number("bytes", 0) / record_bytes as u64;
        return fill(&mut producer, value, records);
    }
    send_for(&mut producer, value, args.seconds("warm", 1.0))?;
    let records = producer.deliveries().records;
    let watch = Watch::start(args.pids())?;
    send_for(&mut producer, value, args.seconds("seconds", 3.0))?;
    let records = producer.deliveries().records - records;
    let bytes = records as f64 * record_bytes as f64;
    let seconds = watch.seconds();
    println!(
        "mb_s={:.2} records_s={:.0} {}",
        bytes / 1e6 / seconds,
        records as f64 / seconds,
        watch.line(bytes, seconds)?,
    );
    Ok(())
}

/// A value that lives as long as the process. Its bytes do not repeat, as those of sensors do not.
pub fn value(bytes: usize) -> &'static [u8] {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    Box::leak((0..bytes).map(next).collect::<Box<[u8]>>())
}

fn send_for(
    producer: &mut Producer<Counted>,
    value: &'static [u8],
    seconds: f64,
) -> io::Result<()> {
    let began = Instant::now();
    let sender = producer.sender();
    while began.elapsed().as_secs_f64() < seconds {
        let mut sent = 0;
        while sent < 500 && sender.send(value, 0)? {
            sent += 1;
        }
        // With a full queue there is nothing to do but wait for an answer.
        producer.poll(if sent < 500 { 10 } else { 0 });
        producer.deliveries().check()?;
    }
    Ok(())
}

fn fill(producer: &mut Producer<Counted>, value: &'static [u8], records: u64) -> io::Result<()> {
    let sender = producer.sender();
    let mut sent = 0;
    while producer.deliveries().records < records {
        let mut is_full = false;
        for _ in 0..500 {
            if records <= sent || is_full {
                break;
            }
            is_full = !sender.send(value, 0)?;
            sent += u64::from(!is_full);
        }
        producer.poll(if is_full || records <= sent { 10 } else { 0 });
        producer.deliveries().check()?;
    }
    producer.poll_statistics();
    println!("records={records} requests={}", producer.deliveries().requests);
    Ok(())
}
