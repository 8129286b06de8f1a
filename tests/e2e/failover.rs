//! Boards that fail under load: nothing acknowledged is lost, nothing is stored twice, and records
//! are acknowledged again without a command.

use std::thread;
use std::time::{Duration, Instant};

use crate::boards::{Boards, among};
use crate::under_load::{SESSION, TOPIC, under_load};

/// Waits until all other boards see another leader of a partition.
fn wait_for_another_leader(boards: &Boards, old: usize, partition: i32) {
    let others: Vec<usize> = boards.running().into_iter().filter(|node| *node != old).collect();
    boards.wait_for("another leader", |boards| {
        others.iter().all(|node| {
            boards.leader_at(*node, TOPIC, partition).is_some_and(|leader| leader != old)
        })
    });
}

#[test]
fn a_leader_is_killed_and_comes_back() {
    among(3, &SESSION, |boards| {
        under_load(boards, |boards, stream| {
            for round in 0..3 {
                // The controller too, once.
                let leader = match round {
                    1 => boards.controller(),
                    _ => boards.leader(TOPIC, 0),
                };
                stream.longest_silence();
                boards.kill(leader);
                stream.wait_for_more(boards, 20);
                eprintln!("board {leader} killed: silent for {:?}", stream.longest_silence());
                boards.start(leader);
                boards.wait_for_isr(TOPIC, 3);
            }
        });
    });
}

#[test]
fn a_paused_leader_acknowledges_nothing_when_it_wakes() {
    among(3, &SESSION, |boards| {
        under_load(boards, |boards, stream| {
            let leader = boards.leader(TOPIC, 0);
            boards.pause(leader);
            wait_for_another_leader(boards, leader, 0);
            stream.wait_for_more(boards, 20);
            boards.resume(leader);
            boards.wait_for_isr(TOPIC, 3);
            stream.wait_for_more(boards, 20);
            // The controller of the site, in the middle of whatever it does.
            let controller = boards.controller();
            boards.pause(controller);
            wait_for_another_leader(boards, controller, 1);
            boards.resume(controller);
        });
    });
}

#[test]
fn a_leader_is_cut_off_one_way_and_the_other() {
    among(3, &SESSION, |boards| {
        if !boards.can_cut() {
            return;
        }
        under_load(boards, |boards, stream| {
            // It hears all and is heard by none; then it is heard and hears none. The second is told
            // by nothing that it says.
            for is_mute in [true, false] {
                let leader = boards.leader(TOPIC, 0);
                let others = (0..=3).filter(|place| *place != leader);
                let ways: Vec<(usize, usize)> = others
                    .map(|other| if is_mute { (leader, other) } else { (other, leader) })
                    .collect();
                stream.longest_silence();
                for (from, to) in &ways {
                    boards.cut(*from, *to);
                }
                wait_for_another_leader(boards, leader, 0);
                stream.wait_for_more(boards, 20);
                let way = if is_mute { "mute" } else { "deaf" };
                eprintln!("board {leader} is {way}: silent for {:?}", stream.longest_silence());
                for (from, to) in &ways {
                    boards.mend(*from, *to);
                }
                let began = Instant::now();
                boards.wait_for_isr(TOPIC, 3);
                eprintln!("board {leader} is back {:?} after the cut was mended", began.elapsed());
            }
            // Only one peer does not hear it; clients and the other do.
            let leader = boards.leader(TOPIC, 2);
            let peer = leader % 3 + 1;
            boards.cut(leader, peer);
            thread::sleep(Duration::from_secs(4));
            stream.wait_for_more(boards, 20);
            let silence = stream.longest_silence();
            eprintln!("board {leader} is not heard by {peer}: silent for {silence:?}");
            boards.mend(leader, peer);
        });
    });
}
