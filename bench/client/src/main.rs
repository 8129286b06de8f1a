//! librdkafka under load: the one client of all sides of `bench/run peers`.
//!
//! `client VERB ADDRESS [--key value]...`; every verb prints one line of `name=value` words:
//! - `produce`  throughput with acks=all: `--record` bytes, `--batch` bytes, `--idempotent`, for
//!   `--seconds` after `--warm` seconds that do not count; or `--bytes` in all, and how many
//!   requests that took
//! - `latency`  acks at a fixed `--rate`; a late send counts as latency
//! - `fetch`    reads `--topic` from its beginning, over and over
//! - `delete`   deletes `--topic`
//! - `port`     a free port of the loopback interface
//! - `start -- COMMAND...`  starts a broker and times it to its first acknowledged record
//!
//! `--pid` names the broker's process, whose CPU time and memory are then printed beside the
//! client's own CPU time. Everything not named here is at librdkafka's defaults.

#[path = "../../limits/src/bin/load/args.rs"]
#[allow(dead_code)]
mod args;
mod fetch;
mod kafka;
mod latency;
#[path = "../../limits/src/bin/load/process.rs"]
#[allow(dead_code)]
mod process;
mod produce;
mod start;
mod watch;

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;

use args::Args;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let args = Args::parse()?;
    match args.verb.as_str() {
        "produce" => produce::run(&args),
        "latency" => latency::run(&args),
        "fetch" => fetch::run(&args),
        "delete" => kafka::delete_topic(&args.address()?.to_string(), &topic(&args)),
        "port" => {
            println!("{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
            Ok(())
        }
        "start" => start::run(&args),
        verb => Err(io::Error::other(format!("no verb `{verb}`"))),
    }
}

fn topic(args: &Args) -> String {
    args.text("topic", "bench")
}
