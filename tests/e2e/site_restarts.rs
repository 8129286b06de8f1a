//! Boards that are restarted under load, as for an upgrade, and more often than anybody would.

use std::time::Duration;

use crate::boards::among;
use crate::under_load::{SESSION, TOPIC, assert_retriable, under_load};

/// A board that led until it was gone would be given up after `broker.session.timeout.ms` at the
/// latest; one that hands over first is missed for the time of an election and a client's retry. How
/// long that is on a busy machine nobody knows, so the session is long.
const LONG_SESSION: [(&str, &str); 1] = [("broker.session.timeout.ms", "40000")];

/// Half of it.
const HANDED_OVER: Duration = Duration::from_secs(20);

#[test]
fn a_rolling_restart_hands_leadership_over_first() {
    among(3, &LONG_SESSION, |boards| {
        let told = under_load(boards, |boards, stream| {
            for node in 1..=3 {
                stream.longest_silence();
                boards.stop(node);
                boards.start(node);
                boards.wait_for_isr(TOPIC, 3);
                stream.wait_for_more(boards, 20);
                let silence = stream.longest_silence();
                eprintln!("board {node} restarted: silent for {silence:?}");
                assert!(silence < HANDED_OVER, "board {node}: {silence:?}\n{}", boards.words());
            }
        });
        assert_retriable(&told);
    });
}

#[test]
fn boards_are_killed_in_a_loop() {
    among(3, &SESSION, |boards| {
        under_load(boards, |boards, stream| {
            for round in 0..6 {
                let node = 1 + round % 3;
                boards.kill(node);
                // Back before it is missed, or long after.
                if round % 2 == 0 {
                    stream.wait_for_more(boards, 20);
                }
                boards.start(node);
                if round % 2 == 1 {
                    continue;
                }
                boards.wait_for_isr(TOPIC, 3);
            }
        });
    });
}
