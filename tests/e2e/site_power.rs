//! Power cuts at a site: of one board, and of all at once. Afterwards every partition has a leader again
//! without a command, and nothing acknowledged is lost.

use std::thread;
use std::time::Duration;

use crate::boards::among;
use crate::under_load::{SESSION, TOPIC, under_load};

#[test]
fn the_power_of_one_board_and_of_all_is_cut() {
    among(3, &SESSION, |boards| {
        if !boards.put_on_disks() {
            return;
        }
        under_load(boards, |boards, stream| {
            let leader = boards.leader(TOPIC, 0);
            boards.cut_power(&[leader]);
            stream.wait_for_more(boards, 20);
            boards.start(leader);
            boards.wait_for_isr(TOPIC, 3);
            for round in 0..3 {
                stream.wait_for_more(boards, 20);
                // Spread over what a commit takes.
                thread::sleep(Duration::from_millis(37 * round));
                boards.cut_power(&[1, 2, 3]);
                (1..=3).for_each(|node| boards.start(node));
                boards.wait_for_isr(TOPIC, 3);
            }
            // The controller alone, and with it whoever leads.
            stream.wait_for_more(boards, 20);
            let controller = boards.controller();
            boards.cut_power(&[controller, controller % 3 + 1]);
            for node in [controller % 3 + 1, controller] {
                boards.start(node);
            }
        });
    });
}

#[test]
fn who_lost_what_it_had_in_memory_does_not_lead() {
    among(3, &SESSION, |boards| {
        if !boards.put_on_disks() {
            return;
        }
        // The others have all that was acknowledged; the board itself has lost some of it.
        boards.acks_wait_for_memory_only = true;
        under_load(boards, |boards, stream| {
            for partition in [0, 1, 2, 0] {
                let leader = boards.leader(TOPIC, partition);
                boards.cut_power(&[leader]);
                boards.start(leader);
                stream.wait_for_more(boards, 20);
                boards.wait_for_isr(TOPIC, 3);
                stream.wait_for_more(boards, 100);
            }
        });
    });
}

#[test]
fn the_card_of_a_leader_dies_and_others_take_over() {
    among(3, &SESSION, |boards| {
        if !boards.put_on_disks() {
            return;
        }
        under_load(boards, |boards, stream| {
            // The controller's too: it must not go on to decide.
            for is_controller in [false, true] {
                let node =
                    if is_controller { boards.controller() } else { boards.leader(TOPIC, 0) };
                stream.longest_silence();
                boards.fail_disk(node);
                stream.wait_for_more(boards, 20);
                let silence = stream.longest_silence();
                eprintln!("the card of board {node} died: silent for {silence:?}");
                // It stays dead, and disturbs nobody.
                thread::sleep(Duration::from_secs(3));
                stream.wait_for_more(boards, 20);
                let silence = stream.longest_silence();
                eprintln!("it is dead: silent for {silence:?}");
                boards.kill(node);
                boards.mend_disk(node);
                boards.start(node);
                boards.wait_for_isr(TOPIC, 3);
            }
        });
    });
}
