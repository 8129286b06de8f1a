//! From `exec` to the first acknowledged record.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::kafka::{Producer, Settings};
use crate::produce::{Counted, value};
use crate::topic;

/// How long a broker may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the command and has one record acknowledged; then kills the broker, so that the next
/// start finds no clean stop. The client is there first and keeps trying to connect.
pub fn run(args: &Args) -> io::Result<()> {
    let (program, words) =
        args.command.split_first().ok_or_else(|| io::Error::other("start -- COMMAND..."))?;
    let settings = Settings::new(&args.address()?.to_string())?
        .with("linger.ms", "0")?
        .with("topic.metadata.refresh.fast.interval.ms", "10")?
        .with("message.timeout.ms", "300000")?;
    let mut producer = Producer::new(settings, &topic(args), Counted::default())?;
    let began = Instant::now();
    let mut child = Command::new(program).args(words).stdout(Stdio::null()).spawn()?;
    let acked = producer.warm(value(100), |counted| 0 < counted.records, PATIENCE);
    let first_ack_ms = began.elapsed().as_secs_f64() * 1e3;
    let cpu_ms = crate::process::cpu_seconds(child.id() as i32) * 1e3;
    child.kill()?;
    child.wait()?;
    acked?;
    println!("first_ack_ms={first_ack_ms:.2} cpu_ms={cpu_ms:.2}");
    Ok(())
}
