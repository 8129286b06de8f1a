//! `kill -9` in a loop under load: every acknowledged record is read, no offset is given twice.

use std::collections::BTreeMap;
use std::env;

use crate::broker::{Folder, Setup};
use crate::load::{Ack, Load, Place, Shape, Value, check_acked};

const SHAPE: Shape = Shape { topic: "killed", value_bytes: 60, records_per_ms: 20 };

/// Kills in the test; the environment may ask for more.
fn kills() -> u32 {
    env::var("ODRADEK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn what_was_acknowledged_is_read_after_each_kill() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    let mut broker = setup.start();
    broker.text(&["topic", "create", SHAPE.topic, "--partitions", "3"]);
    let mut places: BTreeMap<Place, Value> = BTreeMap::new();
    for round in 0..kills() {
        let load = Load::start(&broker, SHAPE, &format!("round{round}"));
        assert!(load.wait_for_acks(200 + 500 * round as usize), "acks come: {}", broker.words());
        broker.kill();
        let acked = load.finish();
        broker = setup.start();
        check_acked(&broker, SHAPE.topic, &acked).expect("nothing acknowledged is lost");
        for Ack { place, value } in acked {
            let earlier = places.insert(place, value);
            assert_eq!(earlier, None, "the offset at {place:?} was given before");
        }
    }
    let all: Vec<_> = places.into_iter().map(|(place, value)| Ack { place, value }).collect();
    check_acked(&broker, SHAPE.topic, &all).expect("what was there earlier is still there");
}
