//! Throughput: each connection keeps a window of equal requests on the way.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use odradek::wire::ErrorCode;

use crate::args::Args;
use crate::connection::{Connection, batch_up_to, produce_request};
use crate::process::{self, MemoryWatch};

/// What one connection did.
#[derive(Default)]
struct Done {
    batch_count: u64,
    refused_count: u64,
    error: ErrorCode,
}

/// When to stop sending.
#[derive(Clone, Copy)]
struct Until {
    window: u64,
    duration: Duration,
    batch_count_max: u64,
}

/// Prints `mb_s` (10⁶ bytes of record batches), CPU seconds of both sides, and the busy share of
/// the client's one processor.
pub fn run(args: &Args) -> io::Result<()> {
    let address = args.address()?;
    let topic = args.text("topic", "bench");
    let connection_count = args.number("connections", 4);
    let partition_count = args.number("partitions", 1);
    let (batch, record_count) =
        batch_up_to(args.number("batch", 65_536) as usize, args.number("record", 1024) as usize);
    let bytes_max = args.number("bytes", u64::MAX);
    let until = Until {
        window: args.number("window", 8),
        duration: Duration::from_secs_f64(args.seconds("seconds", 3.0)),
        batch_count_max: bytes_max / batch.len() as u64 / connection_count,
    };
    let connections =
        (0..connection_count).map(|_| Connection::open(address)).collect::<io::Result<Vec<_>>>()?;
    let watch = args.pid().filter(|_| args.has("rss")).map(MemoryWatch::start);
    let barrier = Barrier::new(connection_count as usize + 1);
    let (began, before, done) = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let partition = (number as u64 % partition_count) as i32;
            let frame = produce_request(&topic, partition..partition + 1, &batch);
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                barrier.wait();
                drive(connection, frame, until)
            }));
        }
        let before = (process::own_cpu_seconds(), args.pid().map(process::cpu_seconds));
        barrier.wait();
        let began = Instant::now();
        let done = threads.into_iter().map(|thread| thread.join().expect("no panic here"));
        io::Result::Ok((began, before, done.collect::<io::Result<Vec<Done>>>()?))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let busy = 100.0 * (process::own_cpu_seconds() - before.0) / seconds;
    let batch_count: u64 = done.iter().map(|done| done.batch_count).sum();
    let bytes = batch_count * batch.len() as u64;
    print!(
        "mb_s={:.1} records_s={:.0} bytes={bytes} seconds={seconds:.3} client_busy={busy:.0}",
        bytes as f64 / 1e6 / seconds,
        (batch_count * record_count as u64) as f64 / seconds,
    );
    if let Some((pid, began)) = args.pid().zip(before.1) {
        let cpu = process::cpu_seconds(pid) - began;
        print!(" server_cpu_s={cpu:.3} server_cpu_s_gb={:.3}", cpu / (bytes as f64 / 1e9));
    }
    if let Some(watch) = watch {
        print!(" rss_anon_kib_max={}", watch.stop());
    }
    println!(" refused={}", done.iter().map(|done| done.refused_count).sum::<u64>());
    match done.iter().find(|done| !done.error.is_ok()) {
        Some(done) if !args.has("refusals") => {
            Err(io::Error::other(format!("the broker refused batches: {}", done.error)))
        }
        _ => Ok(()),
    }
}

fn drive(mut connection: Connection, mut frame: Vec<u8>, until: Until) -> io::Result<Done> {
    let began = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    let mut done = Done::default();
    loop {
        let is_over = until.duration <= began.elapsed() || until.batch_count_max <= sent;
        while !is_over && sent < answered + until.window && sent < until.batch_count_max {
            connection.send(&mut frame)?;
            sent += 1;
        }
        if answered == sent {
            return Ok(done);
        }
        // One answer at least, then all that came with it.
        loop {
            let produced = connection.receive_produced()?;
            answered += 1;
            if produced.refused_count == 0 {
                done.batch_count += 1;
            } else {
                done.refused_count += 1;
                done.error = produced.error;
            }
            if !connection.has_response() {
                break;
            }
        }
    }
}
