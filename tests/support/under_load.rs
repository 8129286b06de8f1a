//! What every trial of a site has in common: three boards, records from our own client and from
//! librdkafka that keep coming while something happens to the boards, and the check in the end.

use std::time::{Duration, Instant};

use crate::boards::Boards;
use crate::peers;
use crate::stream::{Finished, Found, Kcat, Kind, Readers, Stream};

/// The topic of the trial.
pub const TOPIC: &str = "trial";

/// Its partitions: each board is the preferred leader of one.
pub const PARTITIONS: i32 = 3;

/// Boards are given up soon, or the test waits.
pub const SESSION: [(&str, &str); 3] = [
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "200"),
    ("replica.lag.time.max.ms", "3000"),
];

/// Every record once, in order, whatever happens.
const ONCE: Kind =
    Kind { name: "once", is_idempotent: true, request_timeout: Duration::from_secs(2) };

/// Waits for a paused board until it runs again, and hears what it says then.
const PATIENT: Kind =
    Kind { name: "patient", is_idempotent: false, request_timeout: Duration::from_secs(30) };

/// Lets something happen to three boards under load. It leaves all of them running; afterwards they
/// come together without a command, all that was acknowledged is there, all that was sent by an
/// idempotent producer is there once and in order, and the replicas are alike byte for byte. Answers
/// what came of our own clients.
pub fn under_load(boards: &mut Boards, what: impl FnOnce(&mut Boards, &Stream)) -> [Finished; 2] {
    boards.found(3);
    boards.create_topic(TOPIC, PARTITIONS);
    let [once, patient] =
        [ONCE, PATIENT].map(|kind| Stream::start(boards, TOPIC, PARTITIONS, kind));
    let kcat = Kcat::start(boards, TOPIC, &once);
    let readers = Readers::start(boards, TOPIC, 2);
    let began = Instant::now();
    let pass = |what: &str| eprintln!("{:.1} s: {what}", began.elapsed().as_secs_f32());
    what(boards, &once);
    pass("it has happened");
    boards.wait_for_isr(TOPIC, 3);
    pass("all are in sync");
    for stream in [&once, &patient] {
        stream.wait_for_more(boards, 20);
    }
    let finished = [once, patient].map(Stream::finish);
    let sent = kcat.map(|kcat| kcat.finish(boards));
    pass("all is acknowledged");
    let found = Found::read(boards, TOPIC, PARTITIONS);
    for one in &finished {
        one.check(&found);
    }
    match sent {
        Some(sent) => found.check_kcat(PARTITIONS, sent),
        None => peers::missing(
            "kcat with librdkafka 2.3 or newer",
            "apt-get install kcat, and tests/interop/librdkafka/fetch",
        ),
    }
    pass("all is checked");
    readers.finish(boards, &found);
    pass("the group has read it");
    boards.stop_and_compare(TOPIC, PARTITIONS);
    pass("the replicas are alike");
    let [first, second] = finished.each_ref().map(Finished::acked_count);
    eprintln!("acknowledged: {first} and {second} from our clients, {sent:?} from kcat; none lost");
    finished
}

/// Nobody had an error that does not go away by itself.
pub fn assert_retriable(told: &[Finished]) {
    let all = told.iter().flat_map(Finished::troubles);
    let fatal: Vec<_> = all.filter(|one| !one.is_retriable()).collect();
    assert!(fatal.is_empty(), "{fatal:?}");
}
