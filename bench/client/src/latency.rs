//! Ack latency at a fixed rate.

use std::time::{Duration, Instant};
use std::{io, thread};

use crate::args::Args;
use crate::kafka::{Deliveries, Producer, Settings};
use crate::produce::value;
use crate::watch::Watch;
use crate::{process, topic};

/// When each record was meant to go, and how long after that it was acknowledged.
struct Timed {
    began: Instant,
    interval: Duration,
    /// Latencies of the first so many do not count.
    warm_count: usize,
    delivered: usize,
    latencies: Vec<Duration>,
    requests: u64,
    failed: Option<io::Error>,
}

impl Timed {
    /// From here on it counts, save for the first so many. When the first is due, and how far
    /// apart they are.
    fn begin(&mut self, warm_count: usize) -> (Instant, Duration) {
        self.began = Instant::now() + Duration::from_millis(20);
        self.warm_count = warm_count;
        (self.began, self.interval)
    }
}

impl Deliveries for Timed {
    fn delivered(&mut self, tag: usize) {
        self.delivered += 1;
        if self.warm_count <= tag {
            self.latencies.push((self.began + self.interval * tag as u32).elapsed());
        }
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

/// Open loop: records have times at which they are meant to go, whatever became of the ones
/// before. Latency counts from the intended time, so a stall is charged to every record that it
/// delayed (no coordinated omission). Records go at once (`linger.ms` 0); those that wait for the
/// connection go together.
pub fn run(args: &Args) -> io::Result<()> {
    let rate = args.number("rate", 1000) as f64;
    let record_bytes = args.number("record", 100) as usize;
    let warm_count = (args.seconds("warm", 1.0) * rate) as usize;
    let count = warm_count + (args.seconds("seconds", 3.0) * rate) as usize;
    let settings = Settings::new(&args.address()?.to_string())?
        .with("linger.ms", "0")?
        .with("socket.nagle.disable", "true")?
        .with("enable.idempotence", if args.has("idempotent") { "true" } else { "false" })?;
    let timed = Timed {
        began: Instant::now(),
        interval: Duration::from_secs_f64(1.0 / rate),
        // Until the topic is there, nothing counts.
        warm_count: usize::MAX,
        delivered: 0,
        latencies: Vec::with_capacity(count),
        requests: 0,
        failed: None,
    };
    let mut producer = Producer::new(settings, &topic(args), timed)?;
    let (sender, value) = (producer.sender(), value(record_bytes));
    producer.warm(value, |timed| timed.delivered == 1, Duration::from_secs(20))?;
    let (began, interval) = producer.deliveries().begin(warm_count);
    let sending = thread::spawn(move || {
        process::sharpen_sleep();
        for number in 0..count {
            let intended = began + interval * number as u32;
            if let Some(wait) = intended.checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            // A full queue is lateness too, and counts as such.
            while !sender.send(value, number)? {
                thread::sleep(Duration::from_millis(1));
            }
        }
        io::Result::Ok(())
    });
    wait_for(&mut producer, 1 + warm_count)?;
    let watch = Watch::start(args.pids())?;
    wait_for(&mut producer, 1 + count)?;
    sending.join().expect("no panic there")?;
    let bytes = ((count - warm_count) * record_bytes) as f64;
    let used = watch.line(bytes, watch.seconds())?;
    producer.poll_statistics();
    let timed = producer.deliveries();
    timed.latencies.sort();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(&timed.latencies, share));
    println!(
        "p50_us={p50:.1} p99_us={p99:.1} p999_us={p999:.1} requests={} {used}",
        timed.requests
    );
    Ok(())
}

fn wait_for(producer: &mut Producer<Timed>, count: usize) -> io::Result<()> {
    while producer.deliveries().delivered < count {
        producer.poll(100);
        producer.deliveries().check()?;
    }
    Ok(())
}

/// In µs; the smallest value that at least `share` of all do not exceed.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
