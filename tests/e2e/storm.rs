//! Many failures in a row, several at a time, in an order that a seed gives: what nobody thought of.
//!
//! A few rounds here; `ODRADEK_STORM_ROUNDS` and `ODRADEK_STORM_SEED` ask for more and for others.
//! What is real does not replay; the seed only gives the same orders again.

use std::env;
use std::thread;
use std::time::Duration;

use crate::boards::{Boards, among};
use crate::stream::Stream;
use crate::under_load::{SESSION, TOPIC, under_load};

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn node(&mut self) -> usize {
        1 + self.below(3) as usize
    }

    fn rest(&mut self, ms_max: u64) {
        thread::sleep(Duration::from_millis(self.below(ms_max)));
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_site_outlives_a_storm() {
    let seed = number("ODRADEK_STORM_SEED", u64::from(std::process::id()));
    let rounds = number("ODRADEK_STORM_ROUNDS", 4);
    eprintln!("ODRADEK_STORM_SEED={seed}");
    among(3, &SESSION, |boards| {
        let has_disks = boards.put_on_disks();
        under_load(boards, |boards, stream| {
            let mut random = Random(seed);
            for _ in 0..rounds {
                blow(boards, &mut random, has_disks);
                calm(boards, stream, &mut random);
            }
        });
    });
}

/// One to three failures, one on top of the other.
fn blow(boards: &mut Boards, random: &mut Random, has_disks: bool) {
    for _ in 0..=random.below(3) {
        let node = random.node();
        let is_up = boards.running().contains(&node);
        match random.below(6) {
            0 if is_up => {
                eprintln!("kill {node}");
                boards.kill(node);
            }
            1 if is_up => {
                eprintln!("stop {node}");
                boards.pause(node);
                random.rest(3_000);
                boards.resume(node);
            }
            2 if boards.can_cut() => {
                for _ in 0..=random.below(4) {
                    let (from, to) = (random.below(4) as usize, random.node());
                    if from != to {
                        eprintln!("cut {from} -> {to}");
                        boards.cut(from, to);
                    }
                }
            }
            3 if is_up && has_disks => {
                eprintln!("power of {node}");
                boards.cut_power(&[node]);
            }
            4 if has_disks => {
                let all = boards.running();
                eprintln!("power of {all:?}");
                boards.cut_power(&all);
            }
            _ if !is_up => {
                eprintln!("start {node}");
                boards.start(node);
            }
            _ => {}
        }
        random.rest(2_500);
    }
}

/// Everything is as it should be, and the site is itself again, without a command.
fn calm(boards: &mut Boards, stream: &Stream, random: &mut Random) {
    if boards.can_cut() {
        for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
            if from != to {
                boards.mend(from, to);
            }
        }
    }
    for node in 1..=3 {
        if !boards.running().contains(&node) {
            boards.start(node);
        }
    }
    eprintln!("calm");
    boards.wait_for_isr(TOPIC, 3);
    stream.wait_for_more(boards, 20);
    random.rest(500);
}
