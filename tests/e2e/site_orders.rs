//! What a site does when it is told to, and not before: a leader that lacks records, a move that keeps
//! to a bound. And what it does without being told: leaderships go back.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use odradek::client::{AlterConfig, Resource};

use crate::boards::{Boards, among};
use crate::under_load::SESSION;

/// The only partition of a topic as one board describes it: leader, replicas, ISR, ELR; nothing where
/// it has not heard of the topic yet.
fn described(boards: &Boards, node: usize, topic: &str) -> [String; 4] {
    let output = boards.broker(node).run(&["topic", "describe", topic]);
    if !output.status.success() {
        return Default::default();
    }
    let text = String::from_utf8(output.stdout).expect("it writes text");
    let row = text.lines().skip_while(|line| !line.starts_with("PARTITION")).nth(1);
    let words: Vec<&str> = row.expect("it has a partition").split_whitespace().collect();
    [1, 3, 4, 5].map(|place| words[place].to_owned())
}

fn wait_for_it(boards: &Boards, node: usize, topic: &str, wanted: [&str; 4]) {
    boards.wait_for(&format!("{topic} has leader, replicas, ISR and ELR {wanted:?}"), |boards| {
        described(boards, node, topic) == wanted
    });
}

/// Makes a topic of one partition that lives where it is told to.
fn create(boards: &Boards, topic: &str, replicas: &str) {
    let create = ["topic", "create", topic, "--set", "min.insync.replicas=1"];
    let create = [&create[..], &["--replication-factor", "1"]].concat();
    boards.wait_for("a topic can be made", |boards| boards.broker(3).run(&create).status.success());
    let reassign = ["topic", "reassign", topic, "--replicas", replicas];
    boards.wait_for("it can be moved", |boards| boards.broker(3).run(&reassign).status.success());
    boards.wait_for("it is where it was sent", |boards| {
        let [leader, there, in_sync, _] = described(boards, 3, topic);
        there == replicas && in_sync.len() == replicas.len() && replicas.contains(&leader)
    });
}

#[test]
fn a_leader_that_lacks_records_comes_by_command_only_and_says_what_is_lost() {
    among(3, &SESSION, |boards| {
        boards.found(3);
        create(boards, "t", "1,2");
        let lines = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        boards.broker(3).produce(&["t"], &lines(&["a", "b"]));
        boards.kill(2);
        wait_for_it(boards, 3, "t", ["1", "1,2", "1", "-"]);
        boards.broker(3).produce(&["t"], &lines(&["c", "d", "e"]));
        boards.kill(1);
        boards.start(2);
        // Whoever has everything is waited for, however long it takes.
        wait_for_it(boards, 3, "t", ["none", "1,2", "-", "1"]);
        boards.wait_for("it is led when that is ordered", |boards| {
            let order = ["topic", "elect-leader", "t", "--unclean"];
            boards.broker(3).run(&order).status.success()
        });
        wait_for_it(boards, 3, "t", ["2", "1,2", "2", "-"]);
        assert_eq!(boards.broker(3).consume(&["t"]), ["a", "b"]);

        // It says what nobody will read again, and is in sync with the others from there on.
        boards.start(1);
        wait_for_it(boards, 3, "t", ["2", "1,2", "1,2", "-"]);
        let words = boards.broker(1).words();
        assert!(words.contains("t-0: records 2 up to 5 are not in the leader's log"), "{words}");
        boards.broker(3).text(&["topic", "elect-leader", "t"]);
        wait_for_it(boards, 3, "t", ["1", "1,2", "1,2", "-"]);
        assert_eq!(boards.broker(3).consume(&["t"]), ["a", "b"]);
    });
}

/// What is moved, in so many bytes, and how many a second may be.
const MOVED: usize = 4 << 20;
const RATE: &str = "1000000";

#[test]
fn a_move_keeps_to_the_bound_of_those_who_give_and_of_those_who_take() {
    among(3, &[SESSION[0], SESSION[1], ("shards", "1")], |boards| {
        boards.found(3);
        create(boards, "big", "1");
        let line = "x".repeat(1 << 10);
        boards.broker(3).produce(&["big"], &vec![line; MOVED >> 10]);
        let throttle = |boards: &Boards, change: AlterConfig| {
            let altered =
                boards.admin().incremental_alter_configs(&[(Resource::Brokers, vec![change])]);
            assert!(altered.expect("answered")[0].is_ok());
        };
        let moved_in = |boards: &Boards, to: &str| {
            let begun = Instant::now();
            boards.broker(3).text(&["topic", "reassign", "big", "--replicas", to]);
            wait_for_it(boards, 3, "big", [to, to, to, "-"]);
            begun.elapsed()
        };
        let mut took = String::new();
        for (key, to) in [("follower", "2"), ("leader", "3")] {
            let key = format!("{key}.replication.throttled.rate");
            throttle(boards, AlterConfig::Set(key.clone(), RATE.to_owned()));
            let time = moved_in(boards, to);
            // Two answers may be on the way before the first is counted, and a second's worth is free.
            assert!(Duration::from_millis(900) < time, "{key}: {time:?}\n{}", boards.words());
            throttle(boards, AlterConfig::Delete(key));
            write!(took, "to {to} in {time:?}, ").expect("a String takes all");
        }
        // The command sets both, and takes both back.
        boards.broker(3).text(&["topic", "reassign", "--throttle", RATE]);
        boards.broker(3).text(&["topic", "reassign", "--throttle", "none"]);
        let unbound = moved_in(boards, "1");
        eprintln!("{took}unbound in {unbound:?}");
    });
}

#[test]
fn leaderships_go_back_by_themselves() {
    let check = ("leader.imbalance.check.interval.seconds", "1");
    among(3, &[SESSION[0], SESSION[1], check], |boards| {
        boards.found(3);
        create(boards, "t", "1,2");
        wait_for_it(boards, 3, "t", ["1", "1,2", "1,2", "-"]);
        boards.kill(1);
        wait_for_it(boards, 3, "t", ["2", "1,2", "2", "-"]);
        boards.start(1);
        wait_for_it(boards, 3, "t", ["1", "1,2", "1,2", "-"]);
    });
}
