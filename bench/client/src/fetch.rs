//! Reading a partition and throwing it away.

use std::io;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::kafka::{Consumer, Settings};
use crate::topic;
use crate::watch::Watch;

/// Reads from the beginning to the end, over and over, until `--seconds` are full. Time runs from
/// the first record of a pass to its last: neither connecting nor the wait at the end counts.
pub fn run(args: &Args) -> io::Result<()> {
    let address = args.address()?.to_string();
    let wanted = Duration::from_secs_f64(args.seconds("seconds", 3.0));
    read_all(&address, &topic(args), Duration::from_secs_f64(args.seconds("warm", 1.0)))?;
    let watch = Watch::start(args.pids())?;
    let (records, bytes, reading) = read_all(&address, &topic(args), wanted)?;
    let seconds = reading.as_secs_f64();
    println!(
        "mb_s={:.2} records_s={:.0} {}",
        bytes as f64 / 1e6 / seconds,
        records as f64 / seconds,
        watch.line(bytes as f64, seconds)?
    );
    Ok(())
}

/// Passes until they took so long: records, bytes, and the time.
fn read_all(address: &str, topic: &str, wanted: Duration) -> io::Result<(usize, usize, Duration)> {
    let (mut records, mut bytes, mut reading) = (0, 0, Duration::ZERO);
    while reading < wanted {
        let settings = Settings::new(address)?
            // The wait at the end of a pass is nobody's fault.
            .with("fetch.wait.max.ms", "10")?
            // Without these two the client stops for a second whenever it is ahead of its reader.
            .with("fetch.queue.backoff.ms", "1")?
            .with("queued.min.messages", "1000000")?;
        let mut consumer = Consumer::new(settings, topic)?;
        let mut began = None;
        let mut last = Instant::now();
        loop {
            let (count, read, is_end) = consumer.read()?;
            if 0 < count {
                last = Instant::now();
                began.get_or_insert(last);
            }
            records += count;
            bytes += read;
            let passed = began.map_or(Duration::ZERO, |began| last.duration_since(began));
            // The first pass may be all there is time for.
            if is_end || wanted <= reading + passed {
                reading += passed;
                break;
            }
        }
    }
    Ok((records, bytes, reading))
}
