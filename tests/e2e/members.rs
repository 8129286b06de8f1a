//! `odradek consume --group`: a person reads as a member of a group, is interrupted in every way,
//! and goes on without a gap.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Broker, Folder, Setup};

const WAIT: Duration = Duration::from_secs(30);

fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

fn setup(folder: &Folder) -> Setup {
    Setup::new(&folder.join("data")).set("group.initial.rebalance.delay.ms", "0")
}

fn start(broker: &Broker, more: &[&str]) -> Child {
    let words = [&["consume", "meadow.rain", "--group", "readers"], more].concat();
    let mut command = broker.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn read(broker: &Broker, more: &[&str]) -> Vec<String> {
    let words = [&["consume", "meadow.rain", "--group", "readers"], more].concat();
    broker.text(&words).lines().map(str::to_owned).collect()
}

/// `--max` in the middle of what was fetched, `--until-end`, and what came since.
#[test]
fn a_group_goes_on_behind_what_was_printed() {
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.produce(&["meadow.rain", "--create"], &lines(0..1000));
    assert_eq!(read(&broker, &["--from", "beginning", "--max", "3"]), lines(0..3));
    assert_eq!(read(&broker, &["--max", "4"]), lines(3..7));
    assert_eq!(read(&broker, &["--until-end"]), lines(7..1000));
    assert_eq!(read(&broker, &["--until-end"]), Vec::<String>::new());
    broker.produce(&["meadow.rain"], &lines(1000..1010));
    assert_eq!(read(&broker, &["--from", "beginning", "--until-end"]), lines(1000..1010));
    for wrong in [&["--partition", "0"][..], &["--from", "5"], &["--from", "@2026-01-01"]] {
        let words = [&["consume", "meadow.rain", "--group", "readers"], wrong].concat();
        assert_eq!(broker.run(&words).status.code(), Some(2), "{wrong:?}");
    }
}

/// SIGTERM in the middle: what reached stdout is committed before it ends. A reader that goes away
/// (`| head`) ends it too.
#[test]
fn an_interrupted_member_leaves_no_gap() {
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.produce(&["meadow.rain", "--create"], &lines(0..5000));
    let mut child = start(&broker, &["--from", "beginning"]);
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    output.read_line(&mut first).expect("it prints");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("our child can be signalled");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("it ends");
    assert!(child.wait().expect("it ends").success());
    let count = 1 + rest.lines().count();
    assert_eq!(first.lines().chain(rest.lines()).collect::<Vec<_>>(), lines(0..count));
    let mut head = start(&broker, &[]);
    let mut output = BufReader::new(head.stdout.take().expect("piped"));
    if count < 5000 {
        let mut line = String::new();
        output.read_line(&mut line).expect("it prints");
        assert_eq!(line.trim_end(), format!("line {count}"));
    }
    drop(output);
    broker.produce(&["meadow.rain"], &lines(5000..5001));
    assert!(head.wait().expect("it ends").success());
    // The rest comes, whole and in order, beginning nowhere behind what was read.
    let rest = read(&broker, &["--until-end"]);
    let from = 5001 - rest.len();
    assert!(from <= 5000.max(count), "a gap from {count} to {from}");
    assert_eq!(rest, lines(from..5001));
}

/// Two members share, and say so; one is stopped, and the other takes over.
#[test]
fn members_say_what_they_read() {
    let folder = Folder::new();
    let broker = setup(&folder).start();
    broker.text(&["topic", "create", "meadow.rain", "--partitions", "2"]);
    let words = [folder.join("first"), folder.join("second")];
    let mut children = words.each_ref().map(|file| {
        let mut command = broker.command(&["consume", "meadow.rain", "--group", "readers"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(file).expect("a file"));
        command.spawn().expect("it starts")
    });
    let said = |number: usize| fs::read_to_string(&words[number]).expect("it is there");
    let has = |number: usize, partitions: &str| {
        said(number).lines().last().is_some_and(|line| line.ends_with(partitions))
    };
    let wait_for = |is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + WAIT;
        while !is_so() {
            assert!(Instant::now() < deadline, "{} | {}", said(0), said(1));
            thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(&|| (has(0, ": 0") && has(1, ": 1")) || (has(0, ": 1") && has(1, ": 0")));
    kill_process(Pid::from_child(&children[0]), Signal::TERM).expect("signalled");
    wait_for(&|| has(1, ": 0 1"));
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
}
