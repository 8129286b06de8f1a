//! No ack leaves before the sync it rests on returned, as the system calls show.
//!
//! A producer sends one record at a time and waits for its ack; each value is a word that is found
//! again in the calls: read from the socket, written to the journal, and then, in this order, a sync
//! that began after that write and returned, and the first thing sent on that socket. The segment
//! gets a record as small as these whenever there is time: the ack rests on the journal.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use odradek::journal::JOURNAL_FILE;

use crate::broker::{Folder, Setup};
use crate::e2e::trace::{Call, parse};
use crate::peers;

const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,\
     pwritev2,fdatasync,fsync,syncfs";
const RECORDS: usize = 20;

fn word(number: usize) -> String {
    format!("needle-{number:04}-in-the-calls")
}

/// Runs a broker under strace, has records acknowledged one by one, and gives the calls.
fn traced(inject: &[&str]) -> Option<Vec<Call>> {
    if !peers::has_program("strace", "-V") {
        peers::missing("strace", "apt-get install strace");
        return None;
    }
    let folder = Folder::new();
    let trace = folder.join("trace");
    let trace_name = trace.display().to_string();
    let strace = ["strace", "-D", "-f", "-yy", "-s", "100000", "-o", &trace_name, "-e", CALLS];
    // The journal's file is written once before, so that its zeros are not in the trace.
    assert!(Setup::new(&folder.join("data")).start().stop().success());
    let setup = Setup::new(&folder.join("data")).under(&[&strace[..], inject].concat());
    let broker = setup.start();
    broker.text(&["topic", "create", "traced"]);
    let produce = ["produce", "traced", "--acks", "all", "--print-acks", "--linger-ms", "0"];
    let mut command = broker.command(&produce);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut producer = command.spawn().expect("the binary starts");
    let mut input = producer.stdin.take().expect("piped");
    let mut acks = BufReader::new(producer.stdout.take().expect("piped"));
    for number in 0..RECORDS {
        writeln!(input, "{}", word(number)).expect("the producer reads");
        let mut ack = String::new();
        acks.read_line(&mut ack).expect("the producer prints its acks");
        assert_eq!(ack.trim_end(), format!("0 {number} {}", word(number)));
    }
    drop(input);
    assert!(producer.wait().expect("it ends").success());
    broker.stop();
    Some(parse(&finished(&trace)))
}

/// The trace, once the tracer, which is not our child, has written the end of it.
fn finished(trace: &std::path::Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(trace).unwrap_or_default();
        if text.contains("+++ exited with") || deadline < Instant::now() {
            return text;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_socket(call: &Call) -> bool {
    call.file().contains("<TCP")
}

/// Checks one record's way through the calls.
fn check(calls: &[Call], word: &str) -> Result<(), String> {
    let with_word = || calls.iter().filter(|call| call.text.contains(word));
    let received = with_word()
        .find(|call| is_socket(call) && (call.name.starts_with("re")))
        .ok_or_else(|| format!("{word} was never received"))?;
    let is_send = |call: &&Call| {
        let is_send = call.name.starts_with("send") || call.name.starts_with("write");
        is_send && call.file() == received.file() && received.end < call.begin
    };
    let ack = calls.iter().find(is_send).ok_or_else(|| format!("{word} was never answered"))?;
    let in_journal = |call: &&Call| call.file().contains(JOURNAL_FILE);
    let written = with_word()
        .filter(in_journal)
        .filter(|call| call.name.contains("write") && call.begin < ack.begin)
        .map(|call| call.end)
        .max()
        .ok_or_else(|| format!("{word} was not in the journal before its ack"))?;
    let is_sync = |call: &&Call| call.name.contains("sync") && call.is_done() && in_journal(call);
    calls
        .iter()
        .filter(is_sync)
        .find(|sync| written < sync.begin && sync.end < ack.begin)
        .map(|_| ())
        .ok_or_else(|| format!("no sync returned between the writes of {word} and its ack"))
}

#[test]
fn no_ack_leaves_before_its_sync_returned() {
    let Some(calls) = traced(&[]) else { return };
    for number in 0..RECORDS {
        check(&calls, &word(number)).expect("an ack rests on a sync");
    }
}

#[test]
fn a_broker_that_does_not_sync_is_caught_by_its_calls() {
    let inject = ["-e", "inject=fdatasync,fsync,syncfs:retval=0"];
    let Some(calls) = traced(&inject) else { return };
    for number in 0..RECORDS {
        let found = check(&calls, &word(number));
        assert!(found.is_err_and(|words| words.starts_with("no sync returned")), "{number}");
    }
}
