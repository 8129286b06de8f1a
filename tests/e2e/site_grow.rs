//! A site that grows and shrinks under load: a fourth board comes, partitions move to it, and one of
//! the first three leaves.

use std::time::{Duration, Instant};

use crate::boards::{Boards, among};
use crate::under_load::{SESSION, TOPIC, assert_retriable, under_load};

/// Where groups keep what they committed.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Who has a replica of each partition, the preferred leader first, if all of them are in sync.
fn homes(boards: &Boards, topic: &str) -> Option<Vec<Vec<i32>>> {
    let topic = boards.admin().describe_topics(&[topic]).ok()?.pop()?.ok()?;
    let is_whole = topic.partitions.iter().all(|one| one.isr.len() == one.replicas.len());
    let ids = topic.partitions.iter().map(|one| one.replicas.iter().map(|node| node.0).collect());
    is_whole.then(|| ids.collect())
}

#[test]
fn a_fourth_board_takes_the_place_of_another() {
    among(4, &SESSION, |boards| {
        let told = under_load(boards, |boards, stream| {
            boards.start(4);
            boards.wait_for("the fourth board takes part", |boards| {
                let cluster = boards.admin().describe_cluster();
                cluster.is_ok_and(|cluster| cluster.brokers.len() == 4)
            });
            stream.wait_for_more(boards, 20);
            stream.longest_silence();
            // One partition, then all, while records keep coming.
            let begun = Instant::now();
            let to = ["topic", "reassign", TOPIC, "--replicas", "4,2,3"];
            boards.broker(4).text(&[&to[..], &["--partition", "0"]].concat());
            boards.wait_for("one partition has moved", |boards| {
                homes(boards, TOPIC).is_some_and(|homes| homes[0] == [4, 2, 3])
            });
            stream.wait_for_more(boards, 20);
            boards.broker(2).text(&to);
            boards.wait_for("every partition has moved", |boards| {
                // Each begins with the next board of the list.
                let wanted = [[4, 2, 3], [2, 3, 4], [3, 4, 2]];
                homes(boards, TOPIC).is_some_and(|homes| homes == wanted)
            });
            // The group's own topic too: whoever reads goes on, and at another coordinator.
            let offsets = ["topic", "reassign", OFFSETS_TOPIC, "--replicas", "4,2,3"];
            boards.broker(3).text(&offsets);
            boards.wait_for("the group's topic has moved", |boards| {
                let is_there = |home: &Vec<i32>| home.iter().all(|node| (2..=4).contains(node));
                homes(boards, OFFSETS_TOPIC).is_some_and(|homes| homes.iter().all(is_there))
            });
            stream.wait_for_more(boards, 20);
            let silence = stream.longest_silence();
            eprintln!("moved in {:?}: silent for {silence:?}", begun.elapsed());
            assert!(silence < Duration::from_secs(20), "{silence:?}\n{}", boards.words());

            boards.broker(1).text(&["cluster", "leave"]);
            boards.wait_for_end(1);
            boards.wait_for("three boards are left", |boards| {
                let cluster = boards.broker(4).text(&["cluster", "status"]);
                cluster.lines().filter(|line| line.starts_with("broker ")).count() == 3
            });
            stream.wait_for_more(boards, 20);
            eprintln!("board 1 has left: silent for {:?}", stream.longest_silence());
        });
        assert_retriable(&told);
    });
}
