//! From `exec` to the first acknowledged record.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::args::Args;
use crate::connection::{Connection, batch_of, produce_request};
use crate::process;

/// Starts the command, waits for its ready line, creates `--topic` if `--create`, and has one
/// record acknowledged. Then the broker is killed, so that the next start finds no clean stop; with
/// `--load N`, after N more requests of one record, so that its journal has something to replay.
pub fn run(args: &Args) -> io::Result<()> {
    let (program, words) =
        args.command.split_first().ok_or_else(|| io::Error::other("start -- COMMAND..."))?;
    let began = Instant::now();
    let mut child = Command::new(program).args(words).stdout(Stdio::piped()).spawn()?;
    let timed = time_first_ack(args, &mut child, began);
    child.kill()?;
    child.wait()?;
    println!("{}", timed?);
    Ok(())
}

fn time_first_ack(args: &Args, child: &mut Child, began: Instant) -> io::Result<String> {
    let address = wire_address(child)?;
    let ready_ms = began.elapsed().as_secs_f64() * 1e3;
    let topic = args.text("topic", "bench");
    let mut connection = Connection::open(address)?;
    if args.has("create") {
        connection.create_topic(&topic, 1, -1)?;
    }
    let mut frame = produce_request(&topic, 0..1, &batch_of(1, 100));
    connection.send(&mut frame)?;
    let produced = connection.receive_produced()?;
    let ack_ms = began.elapsed().as_secs_f64() * 1e3;
    if !produced.error.is_ok() {
        return Err(io::Error::other(format!("the first record was refused: {}", produced.error)));
    }
    let cpu_ms = process::cpu_seconds(child.id() as i32) * 1e3;
    for _ in 0..args.number("load", 0) {
        connection.send(&mut frame)?;
        connection.receive_produced()?;
    }
    Ok(format!("ready_ms={ready_ms:.2} first_ack_ms={ack_ms:.2} cpu_ms={cpu_ms:.2}"))
}

/// The address in the line `odradek ready in N ms: wire ADDRESS`.
fn wire_address(child: &mut Child) -> io::Result<SocketAddr> {
    let stdout = child.stdout.take().expect("it is piped");
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let after = line.split_once("ready").and_then(|(_, rest)| rest.split_once("wire "));
        let word = after.and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(address) = word.and_then(|word| word.parse().ok()) {
            return Ok(address);
        }
    }
    Err(io::Error::other("the broker ended without being ready"))
}
