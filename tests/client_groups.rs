//! Consumers in a group, against a broker that does as it is told: semantics.md rows 100-116 and
//! 2.25.

#[path = "support/fake_broker.rs"]
#[expect(dead_code, reason = "shared with client_rules.rs, which uses the rest")]
mod fake_broker;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fake_broker::FakeBroker;
use odradek::client::assignors::{CooperativeStickyAssignor, RoundRobinAssignor};
use odradek::client::{
    ClientError, Consumer, ConsumerConfig, ConsumerInterceptor, ConsumerRecord, OffsetAndMetadata,
    OffsetReset, RebalanceListener, TopicPartition,
};
use odradek::ids::{LeaderEpoch, Offset};
use odradek::record::{BatchBuilder, Compression, stamp};
use odradek::time::Timestamp;
use odradek::wire::{ApiKey, ErrorCode};

const MS: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(20);

fn consumer(broker: &FakeBroker, tune: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let mut config = ConsumerConfig::new(&broker.address());
    config.group_id = Some("readers".to_owned());
    config.heartbeat_interval = 50 * MS;
    config.auto_offset_reset = OffsetReset::Earliest;
    tune(&mut config);
    Consumer::new(config).expect("legal settings")
}

fn cooperative(config: &mut ConsumerConfig) {
    config.partition_assignment_strategy = vec![Arc::new(CooperativeStickyAssignor)];
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn fill(broker: &FakeBroker, count: i64) {
    let mut log = Vec::new();
    for offset in 0..count {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1000), None, Some(format!("{offset}").as_bytes()), &[]);
        let mut batch = builder.finish(Compression::None);
        stamp(&mut batch, Offset(offset), LeaderEpoch(3));
        log.extend(batch);
    }
    broker.set_log(log, count);
}

fn values(records: &[ConsumerRecord]) -> Vec<String> {
    let text = |record: &ConsumerRecord| {
        String::from_utf8(record.value.as_deref().unwrap_or_default().to_vec()).expect("text")
    };
    records.iter().map(text).collect()
}

/// Polls all of them until `is_done`.
fn poll_until(consumers: &mut [&mut Consumer], mut is_done: impl FnMut(&[&mut Consumer]) -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_done(consumers) {
        assert!(Instant::now() < deadline, "not in {WAIT:?}");
        for consumer in consumers.iter_mut() {
            consumer.poll(10 * MS).expect("readable");
        }
    }
}

/// What each has, and that nobody has what another has.
fn shares(consumers: &[&mut Consumer]) -> Vec<usize> {
    let all: Vec<TopicPartition> = consumers.iter().flat_map(|one| one.assignment()).collect();
    let distinct: BTreeSet<&TopicPartition> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "two members have the same: {all:?}");
    consumers.iter().map(|one| one.assignment().len()).collect()
}

/// Everything that a listener hears, in words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("whole"))
    }

    fn note(&self, what: &str, partitions: &[TopicPartition]) {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        self.0.lock().expect("whole").push(format!("{what} {}", names.join(" ")));
    }
}

impl RebalanceListener for Heard {
    fn on_partitions_revoked(&mut self, _: &mut Consumer, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
    }

    fn on_partitions_assigned(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        assert_eq!(consumer.poll(MS), Err(ClientError::Callback));
        self.note("assigned", partitions);
    }

    fn on_partitions_lost(&mut self, _: &mut Consumer, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
    }
}

/// Rows 109, 110, 111: what was returned is committed when the consumer closes, and the next one
/// of the group goes on there. The coordinator is told goodbye.
#[test]
fn a_group_goes_on_where_it_was() {
    let broker = FakeBroker::start(1);
    fill(&broker, 5);
    let mut first = consumer(&broker, |config| config.max_poll_records = 3);
    first.subscribe(&["t"]).expect("a legal name");
    assert_eq!(values(&first.poll(WAIT).expect("readable")), ["0", "1", "2"]);
    assert_eq!(broker.group().committed("t", 0), None, "nothing is worked on yet");
    first.close();
    assert_eq!(broker.group().committed("t", 0), Some((3, String::new())));
    assert_eq!(broker.group().left(), ["m-1"]);
    let mut second = consumer(&broker, |_| {});
    second.subscribe(&["t"]).expect("a legal name");
    assert_eq!(values(&second.poll(WAIT).expect("readable")), ["3", "4"]);
}

/// Row 111: a poll commits what the polls before it returned, every interval, and an idle consumer
/// writes nothing.
#[test]
fn auto_commit_follows_the_polls() {
    let broker = FakeBroker::start(1);
    fill(&broker, 4);
    let mut reader = consumer(&broker, |config| {
        config.max_poll_records = 2;
        config.auto_commit_interval = MS;
    });
    reader.subscribe(&["t"]).expect("a legal name");
    assert_eq!(values(&reader.poll(WAIT).expect("readable")), ["0", "1"]);
    thread::sleep(5 * MS);
    assert_eq!(values(&reader.poll(WAIT).expect("readable")), ["2", "3"]);
    let deadline = Instant::now() + WAIT;
    while broker.group().committed("t", 0) != Some((2, String::new())) {
        assert!(Instant::now() < deadline, "the first poll's records are not committed");
        thread::sleep(MS);
    }
    poll_until(&mut [&mut reader], |_| broker.group().committed("t", 0).expect("some").0 == 4);
    let count = broker.group().commit_count();
    for _ in 0..20 {
        reader.poll(5 * MS).expect("readable");
    }
    assert_eq!(broker.group().commit_count(), count);
}

/// Rows 100 and 102: members share the partitions; who leaves is replaced. Eager members give up
/// everything first.
#[test]
fn eager_members_share() {
    let broker = FakeBroker::start(4);
    let heard = Heard::default();
    let robin = |config: &mut ConsumerConfig| {
        config.partition_assignment_strategy = vec![Arc::new(RoundRobinAssignor)];
    };
    let mut first = consumer(&broker, robin);
    first.subscribe_with(&["t"], heard.clone()).expect("a legal name");
    poll_until(&mut [&mut first], |all| shares(all) == [4]);
    assert_eq!(heard.take(), ["assigned t-0 t-1 t-2 t-3"]);
    let mut second = consumer(&broker, robin);
    second.subscribe(&["t"]).expect("a legal name");
    poll_until(&mut [&mut first, &mut second], |all| shares(all) == [2, 2]);
    assert_eq!(heard.take(), ["revoked t-0 t-1 t-2 t-3", "assigned t-0 t-2"]);
    assert_eq!(second.assignment(), [tp(1), tp(3)]);
    second.close();
    poll_until(&mut [&mut first], |all| shares(all) == [4]);
    heard.take();
    first.unsubscribe().expect("no callback");
    assert_eq!(heard.take(), ["revoked t-0 t-1 t-2 t-3"]);
    assert!(first.assignment().is_empty() && first.subscription().is_empty());
}

/// KIP-429: cooperative members give up only what goes to others, in two rounds.
#[test]
fn cooperative_members_keep_what_they_can() {
    let broker = FakeBroker::start(4);
    let heard = Heard::default();
    let mut first = consumer(&broker, cooperative);
    first.subscribe_with(&["t"], heard.clone()).expect("a legal name");
    poll_until(&mut [&mut first], |all| shares(all) == [4]);
    heard.take();
    let mut second = consumer(&broker, cooperative);
    second.subscribe(&["t"]).expect("a legal name");
    poll_until(&mut [&mut first, &mut second], |all| shares(all) == [2, 2]);
    let heard_all = heard.take();
    assert_eq!(heard_all[..2], ["revoked t-2 t-3", "assigned "]);
    drop(first);
    poll_until(&mut [&mut second], |all| shares(all) == [4]);
}

/// A member that the coordinator forgot has lost its partitions, and comes back as a new one.
#[test]
fn forgotten_members_lose_and_return() {
    let broker = FakeBroker::start(2);
    let heard = Heard::default();
    let mut reader = consumer(&broker, |_| {});
    reader.subscribe_with(&["t"], heard.clone()).expect("a legal name");
    poll_until(&mut [&mut reader], |all| shares(all) == [2]);
    let before = reader.group_metadata().expect("a group");
    assert_eq!((before.member_id.as_str(), before.generation_id), ("m-1", 1));
    broker.group().forget_members();
    let mut words = heard.take();
    poll_until(&mut [&mut reader], |_| {
        words.extend(heard.take());
        words.len() == 3
    });
    assert_eq!(words, ["assigned t-0 t-1", "lost t-0 t-1", "assigned t-0 t-1"]);
    assert_eq!(reader.group_metadata().expect("a group").member_id, "m-2");
}

/// Heartbeats go on while the user works; who works for longer than `max.poll.interval.ms` leaves,
/// and what it had is lost.
#[test]
fn busy_users_keep_their_place_up_to_a_point() {
    let broker = FakeBroker::start(1);
    fill(&broker, 3);
    let heard = Heard::default();
    let mut reader = consumer(&broker, |config| config.max_poll_interval = 600 * MS);
    reader.subscribe_with(&["t"], heard.clone()).expect("a legal name");
    assert_eq!(reader.poll(WAIT).expect("readable").len(), 3);
    let beats = broker.group().heartbeat_count();
    thread::sleep(300 * MS);
    assert!(beats + 2 <= broker.group().heartbeat_count());
    assert!(broker.group().left().is_empty());
    thread::sleep(600 * MS);
    assert_eq!(broker.group().left(), ["m-1"]);
    heard.take();
    // Nothing was committed, so that the records come again.
    assert_eq!(reader.poll(WAIT).expect("readable").len(), 3);
    assert_eq!(heard.take(), ["lost t-0", "assigned t-0"]);
}

/// Row 112: what is committed, when, and who is told.
#[test]
fn commits_by_hand() {
    let broker = FakeBroker::start(1);
    fill(&broker, 5);
    let mut reader = consumer(&broker, |config| {
        config.enable_auto_commit = false;
        config.max_poll_records = 2;
        config.retry_backoff = MS;
    });
    reader.subscribe(&["t"]).expect("a legal name");
    reader.poll(WAIT).expect("readable");
    let codes = [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::NOT_COORDINATOR];
    broker.group().refuse(ApiKey::OffsetCommit, &codes);
    reader.commit_sync().expect("it is tried again");
    assert_eq!(broker.group().committed("t", 0), Some((2, String::new())));
    let committed = reader.committed(&[tp(0), tp(9)]).expect("answered");
    assert_eq!(committed[0].as_ref().expect("committed").offset, Offset(2));
    assert_eq!(committed[1], None);

    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    broker.group().refuse(ApiKey::OffsetCommit, &[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]);
    for (offset, metadata) in [(3, "refused"), (4, "taken")] {
        let committed = OffsetAndMetadata {
            metadata: metadata.to_owned(),
            ..OffsetAndMetadata::new(Offset(offset))
        };
        let told = Arc::clone(&told);
        let offsets = BTreeMap::from([(tp(0), committed)]);
        let callback = move |offsets: &BTreeMap<_, OffsetAndMetadata>, result: Result<(), _>| {
            let words = format!("{} {}", offsets[&tp(0)].metadata, result.is_ok());
            told.lock().expect("whole").push(words);
        };
        reader.commit_async_with(offsets, callback).expect("there is a group");
    }
    poll_until(&mut [&mut reader], |_| told.lock().expect("whole").len() == 2);
    assert_eq!(*told.lock().expect("whole"), ["refused false", "taken true"]);
    assert_eq!(broker.group().committed("t", 0), Some((4, "taken".to_owned())));

    let too_large = ErrorCode::OFFSET_METADATA_TOO_LARGE;
    broker.group().refuse(ApiKey::OffsetCommit, &[too_large]);
    assert_eq!(reader.commit_sync(), Err(ClientError::Broker(too_large)));
    reader.close();
    assert_eq!(broker.group().committed("t", 0).expect("before").0, 4, "close commits nothing");
}

/// Rows 105 and 114: partitions by hand may commit too, with a group; without one they may not.
#[test]
fn partitions_by_hand_commit_for_a_group() {
    let broker = FakeBroker::start(1);
    fill(&broker, 4);
    let mut reader = consumer(&broker, |config| config.max_poll_records = 3);
    reader.assign(&[tp(0)]).expect("a legal name");
    assert_eq!(reader.poll(WAIT).expect("readable").len(), 3);
    reader.commit_sync().expect("the coordinator takes it");
    assert_eq!(reader.subscribe(&["t"]), Err(ClientError::Subscription));
    drop(reader);
    assert!(broker.group().left().is_empty(), "it was no member");
    let mut again = consumer(&broker, |_| {});
    again.assign(&[tp(0)]).expect("a legal name");
    assert_eq!(again.position(&tp(0)), Ok(Offset(3)));
    let mut nobody = consumer(&broker, |config| config.group_id = None);
    assert_eq!(nobody.commit_sync(), Err(ClientError::NoGroup));
    assert_eq!(nobody.committed(&[tp(0)]), Err(ClientError::NoGroup));
    assert_eq!(nobody.subscribe(&["t"]), Err(ClientError::NoGroup));
    nobody.assign(&[tp(0)]).expect("a legal name");
    assert_eq!(nobody.poll(WAIT).expect("readable").len(), 4);
}

/// A pattern takes the topics whose whole names match, and not the broker's own.
#[test]
fn a_pattern_subscribes_to_what_matches() {
    let broker = FakeBroker::start(2);
    let mut reader = consumer(&broker, |_| {});
    assert_eq!(reader.subscribe_pattern("pump("), Err(ClientError::Config("pattern")));
    reader.subscribe_pattern(".*pump.*").expect("a legal pattern");
    poll_until(&mut [&mut reader], |all| shares(all) == [4]);
    assert_eq!(reader.subscription(), ["pump.level".into(), "pump.pulses".into()]);
    reader.subscribe_pattern("pump.l|level|pump.pulse[sS]").expect("a legal pattern");
    poll_until(&mut [&mut reader], |all| shares(all) == [2]);
    assert_eq!(reader.subscription(), ["pump.pulses".into()]);
}

/// A static member that restarts neither leaves nor is it new (KIP-345); one that another took the
/// name of hears it at every poll.
#[test]
fn static_members() {
    let broker = FakeBroker::start(1);
    let named = |config: &mut ConsumerConfig| config.group_instance_id = Some("pi-1".to_owned());
    let mut reader = consumer(&broker, named);
    reader.subscribe(&["t"]).expect("a legal name");
    poll_until(&mut [&mut reader], |all| shares(all) == [1]);
    broker.group().refuse(ApiKey::Heartbeat, &[ErrorCode::FENCED_INSTANCE_ID]);
    let fenced = ClientError::Broker(ErrorCode::FENCED_INSTANCE_ID);
    let deadline = Instant::now() + WAIT;
    while reader.poll(10 * MS) != Err(fenced.clone()) {
        assert!(Instant::now() < deadline, "it is not told");
    }
    assert_eq!(reader.poll(10 * MS), Err(fenced));
    reader.close();
    assert!(broker.group().left().is_empty());
}

#[test]
fn another_thread_wakes_a_poll() {
    let broker = FakeBroker::start(1);
    let mut reader = consumer(&broker, |_| {});
    reader.subscribe(&["t"]).expect("a legal name");
    let handle = reader.wakeup_handle();
    let waker = thread::spawn(move || {
        thread::sleep(20 * MS);
        handle.wakeup();
    });
    assert_eq!(reader.poll(WAIT), Err(ClientError::Wakeup));
    waker.join().expect("it has ended");
    assert_eq!(reader.poll(MS), Ok(Vec::new()));
}

#[derive(Debug, Default)]
struct Odd(Arc<Mutex<Vec<i64>>>);

impl ConsumerInterceptor for Odd {
    fn on_consume(
        &self,
        mut records: Vec<ConsumerRecord>,
    ) -> Result<Vec<ConsumerRecord>, Box<dyn Error>> {
        records.retain(|record| record.offset.0 % 2 == 1);
        Ok(records)
    }

    fn on_commit(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), Box<dyn Error>> {
        self.0.lock().expect("whole").extend(offsets.values().map(|one| one.offset.0));
        Err("it is not called for this".into())
    }
}

#[test]
fn interceptors_see_records_and_commits() {
    let broker = FakeBroker::start(1);
    fill(&broker, 4);
    let seen: Arc<Mutex<Vec<i64>>> = Arc::default();
    let odd = Arc::new(Odd(Arc::clone(&seen)));
    let mut reader = consumer(&broker, |config| config.interceptors = vec![odd]);
    reader.subscribe(&["t"]).expect("a legal name");
    assert_eq!(values(&reader.poll(WAIT).expect("readable")), ["1", "3"]);
    reader.commit_sync().expect("taken");
    assert_eq!(*seen.lock().expect("whole"), [4]);
}

/// Who cannot reach its group is told nothing, waits, and begins when it is there.
#[test]
fn a_coordinator_that_is_not_there_yet() {
    let broker = FakeBroker::start(1);
    fill(&broker, 1);
    let codes = [ErrorCode::COORDINATOR_NOT_AVAILABLE; 2];
    broker.group().refuse(ApiKey::FindCoordinator, &codes);
    broker.group().refuse(ApiKey::JoinGroup, &[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]);
    broker.group().refuse(ApiKey::OffsetFetch, &[ErrorCode::NOT_COORDINATOR]);
    let mut reader = consumer(&broker, |config| config.retry_backoff = MS);
    reader.subscribe(&["t"]).expect("a legal name");
    assert_eq!(values(&reader.poll(WAIT).expect("readable")), ["0"]);
}
