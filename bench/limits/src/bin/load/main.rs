//! The load generator: one client for the broker and for the limit program, so that its own cost
//! is the same on both sides.
//!
//! `load VERB ADDRESS [--key value]...`; every verb prints one line of `name=value` words:
//! - `create`       creates `--topic` with `--partitions` of `--replicas`
//! - `produce`      throughput: connections that keep a window of requests on the way
//! - `latency`      ack latency at a fixed rate; a late send counts as latency
//! - `partitions`   one record to each of `--partitions`, one request after the other
//! - `fetch`        reads a partition and throws it away; `--bare` asks the limit program, and with
//!   `--store FILE` keeps it as a follower must
//! - `idle`         opens connections, says hello, holds them until its stdin ends
//! - `dirty`        fills a compacted topic with records whose keys come again
//! - `metrics`      the broker's metrics, one `name=value` a line
//! - `port`         a free port of the loopback interface
//! - `leader`       who leads `--topic`, once `--isr` replicas are in sync
//! - `catch-up`     how fast a broker comes by `--bytes` of `--topic`
//! - `probe A,B,C`  who acknowledges, and how long nobody did when that changed
//! - `start -- COMMAND...` starts a broker and times it to its first acknowledged record
//!
//! `--pid` names the broker's process, whose CPU time is then printed beside the client's own.

mod args;
mod connection;
mod dirty;
mod fetch;
mod latency;
mod process;
mod produce;
mod site;
mod start;
mod watch;

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use args::Args;
use connection::Connection;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let args = Args::parse()?;
    match args.verb.as_str() {
        "create" => {
            let topic = args.text("topic", "bench");
            let partition_count = args.number("partitions", 1) as i32;
            let replicas = args.text("replicas", "-1").parse().map_err(io::Error::other)?;
            Connection::open(args.address()?)?.create_topic(&topic, partition_count, replicas)
        }
        "produce" => produce::run(&args),
        "latency" => latency::run_open_loop(&args),
        "partitions" => latency::run_partitions(&args),
        "fetch" => fetch::run(&args),
        "idle" => hold_idle(&args),
        "dirty" => dirty::run(&args),
        "metrics" => print_metrics(&args),
        "start" => start::run(&args),
        "port" => site::print_port(),
        "leader" => site::print_leader(&args),
        "catch-up" => site::time_catch_up(&args),
        "probe" => site::probe(&args),
        verb => Err(io::Error::other(format!("no verb `{verb}`"))),
    }
}

/// Opens connections that do nothing, until stdin ends.
fn hold_idle(args: &Args) -> io::Result<()> {
    process::raise_file_limit();
    let count = args.number("connections", 1000);
    let address = args.address()?;
    let held = (0..count).map(|_| Connection::open(address)).collect::<io::Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_millis(300));
    println!("connections={}", held.len());
    io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

fn print_metrics(args: &Args) -> io::Result<()> {
    for (name, value) in Connection::open(args.address()?)?.metrics()? {
        println!("{name}={value}");
    }
    Ok(())
}
