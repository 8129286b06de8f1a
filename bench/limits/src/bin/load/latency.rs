//! Ack latency: at a fixed rate, and of one commit over many partitions.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::connection::{Connection, batch_of, produce_request};
use crate::process;
use crate::watch::MetricWatch;

/// Open loop: requests have times at which they are meant to go, whatever became of the ones
/// before. Latency counts from the intended time, so a stall is charged to every request that it
/// delayed (no coordinated omission). `--rate` counts records; `--per-batch` of them go together.
/// `--watch` names a counter of the broker: by how much it moved meanwhile, and how steadily.
pub fn run_open_loop(args: &Args) -> io::Result<()> {
    let per_batch = args.number("per-batch", 1);
    let rate = args.number("rate", 1000) as f64 / per_batch as f64;
    let interval = Duration::from_secs_f64(1.0 / rate);
    let count = (args.seconds("seconds", 3.0) * rate) as u32;
    let batch = batch_of(per_batch as usize, args.number("record", 100) as usize);
    let mut frame = produce_request(&args.text("topic", "bench"), 0..1, &batch);
    let mut connection = Connection::open(args.address()?)?;
    for _ in 0..20 {
        connection.send(&mut frame)?;
        connection.receive_good()?;
    }
    let watched = args.has("watch").then(|| args.text("watch", ""));
    let watch = watched.map(|name| MetricWatch::start(args.address()?, name)).transpose()?;
    let (mut sender, mut receiver) = connection.split()?;
    let began = Instant::now() + Duration::from_millis(20);
    let sending = thread::spawn(move || {
        process::sharpen_sleep();
        let mut late = Vec::with_capacity(count as usize);
        for number in 0..count {
            let intended = began + interval * number;
            if let Some(wait) = intended.checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            late.push(intended.elapsed());
            sender.send(&mut frame)?;
        }
        io::Result::Ok(late)
    });
    let mut latencies = Vec::with_capacity(count as usize);
    for number in 0..count {
        receiver.receive_good()?;
        latencies.push((began + interval * number).elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    let late = sending.join().expect("no panic there")?;
    if let Some(moved) = watch.map(MetricWatch::stop).transpose()? {
        print!("moved={} moving_percent={:.0} ", moved.by, moved.percent());
    }
    print!("records_s={:.0} {}", f64::from(count) * per_batch as f64 / seconds, line(latencies));
    println!(" late_p50_us={:.1}", percentile(&sorted(late), 0.5));
    Ok(())
}

/// Closed loop: one request with a record for each partition, then the next. Prints what the
/// process wrote and synced meanwhile, and what the block device wrote when all is written back.
pub fn run_partitions(args: &Args) -> io::Result<()> {
    let partition_count = args.number("partitions", 1) as i32;
    let rounds = args.number("rounds", 1000);
    let value_bytes = args.number("record", 200);
    let topic = args.text("topic", "bench");
    let batch = batch_of(1, value_bytes as usize);
    let mut frame = produce_request(&topic, 0..partition_count, &batch);
    let mut connection = Connection::open(args.address()?)?;
    for _ in 0..5 {
        connection.send(&mut frame)?;
        connection.receive_good()?;
    }
    let syncs = |connection: &mut Connection| -> io::Result<u64> {
        let metrics = connection.metrics()?;
        let is_sync = |name: &str| name == "flush_count" || name == "segment_syncs_count";
        Ok(metrics.iter().filter(|(name, _)| is_sync(name)).map(|(_, value)| value).sum())
    };
    let written = || args.pid().map_or(Ok(0), process::written_bytes);
    let (syncs_before, written_before) = (syncs(&mut connection)?, written()?);
    let mut latencies = Vec::with_capacity(rounds as usize);
    for _ in 0..rounds {
        let began = Instant::now();
        connection.send(&mut frame)?;
        connection.receive_good()?;
        latencies.push(began.elapsed());
    }
    let record_bytes = (rounds * partition_count as u64 * value_bytes) as f64;
    let sync_count = syncs(&mut connection)? - syncs_before;
    println!(
        "{} record_bytes={record_bytes} syncs_per_request={:.2} written_per_byte={:.2}",
        line(latencies),
        sync_count as f64 / rounds as f64,
        (written()? - written_before) as f64 / record_bytes,
    );
    Ok(())
}

fn line(latencies: Vec<Duration>) -> String {
    let sorted = sorted(latencies);
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(&sorted, share));
    format!("p50_us={p50:.1} p99_us={p99:.1} p999_us={p999:.1}")
}

fn sorted(mut latencies: Vec<Duration>) -> Vec<Duration> {
    latencies.sort();
    latencies
}

/// In µs; the smallest value that at least `share` of all do not exceed.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let latencies: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        assert!((percentile(&latencies, 0.5) - 500.0).abs() < 1e-6);
        assert!((percentile(&latencies, 0.99) - 990.0).abs() < 1e-6);
        assert!((percentile(&latencies, 0.999) - 999.0).abs() < 1e-6);
        assert!((percentile(&latencies[..1], 0.999) - 1.0).abs() < 1e-6);
    }
}
