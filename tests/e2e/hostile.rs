//! What comes in at the wire's port and should not: other protocols, lengths and counts that lie,
//! peers that drip, that never read, that are too many, and batches that are none.
//!
//! After each the broker still serves others, holds as much as at its start, and nothing was
//! stored.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::{BatchBuilder, Compression, HEADER_BYTES};
use odradek::time::Timestamp;
use odradek::wire::fetch::{FetchPartition, FetchRequest};
use odradek::wire::frame::{decode, take};
use odradek::wire::hello::MAGIC;
use odradek::wire::metadata::MetadataRequest;
use odradek::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, ErrorCode, ResponseHeader, TopicRef};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::broker::{Broker, Folder, Setup};
use crate::e2e::peer::{Peer, hello, request};

pub(super) const MEMORY_LIMIT: u64 = 32 << 20;

/// What the process may have beside what the limit counts: stacks, the allocator's slack.
pub(super) const SLACK_BYTES: u64 = 8 << 20;

/// File handles that the broker keeps for what is neither a connection nor a partition.
const BROKER_HANDLES: usize = 64;

/// File handles of this process that are not for a crowd of peers: all other tests, side by side.
const OTHER_HANDLES: usize = 250;

/// What a bad peer must leave as it was.
const ACCOUNTS: [&str; 7] = [
    "connections_now",
    "memory_frames_bytes_now",
    "memory_flusher_bytes_now",
    "memory_responses_bytes_now",
    "memory_windows_bytes_now",
    "append_batches_count",
    "log_bytes_now",
];

/// A request for every topic.
const ALL_TOPICS: MetadataRequest<'_> =
    MetadataRequest { topics: None, allow_auto_topic_creation: false };

pub(super) fn setup(folder: &Folder) -> Setup {
    Setup::new(&folder.join("data")).set("memory.limit", &MEMORY_LIMIT.to_string())
}

pub(super) fn start(folder: &Folder) -> Broker {
    setup(folder).set("frame.timeout.ms", "1000").set("max.connections", "300").start()
}

/// The broker answers others in good time.
pub(super) fn serves_others(broker: &Broker) {
    let asked = Instant::now();
    assert!(broker.text(&["topic", "list"]).is_ascii());
    assert!(asked.elapsed() < Duration::from_secs(5), "others wait: {:?}", asked.elapsed());
}

/// What the accounts read, and which topics there are, while nobody else is connected.
pub(super) fn accounts(broker: &Broker) -> (BTreeMap<&'static str, u64>, Vec<u8>) {
    let mut peer = Peer::greeted(&broker.server);
    let topics = peer.ask(ApiKey::Metadata, &ALL_TOPICS, &[]).expect("answered");
    let metrics = peer.metrics();
    (ACCOUNTS.map(|name| (name, metrics[name])).into(), topics)
}

/// The broker serves others, and in the end everything is as it was.
pub(super) fn is_unharmed(broker: &Broker, before: &(BTreeMap<&'static str, u64>, Vec<u8>)) {
    serves_others(broker);
    let deadline = Instant::now() + Duration::from_secs(15);
    while accounts(broker) != *before {
        assert!(Instant::now() < deadline, "{:?} was {:?}", accounts(broker).0, before.0);
        thread::sleep(Duration::from_millis(20));
    }
}

/// File handles that this process may have, once it took what it can get.
fn file_handles() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it may not, the present limit is what there is.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize)
}

/// One crowd at a time, and no larger than the file handles allow.
struct Crowd {
    peers: Vec<Peer>,
    _alone: MutexGuard<'static, ()>,
}

impl Crowd {
    fn connect(broker: &Broker, wanted: usize) -> Crowd {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wanted.min(file_handles().saturating_sub(OTHER_HANDLES));
        let connect = |_| Peer::connect(&broker.server).expect("the kernel accepts");
        Crowd { peers: (0..count).map(connect).collect(), _alone: alone }
    }
}

#[test]
fn what_is_not_our_protocol_is_shut_out() {
    let folder = Folder::new();
    let broker = start(&folder);
    let before = accounts(&broker);
    let frame = |length: u32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    let mut hello_of_another_version = hello(MAGIC);
    hello_of_another_version[5] = 99;
    let mut count_that_lies = request(ApiKey::Metadata, 1, &ALL_TOPICS, 0);
    count_that_lies.truncate(4 + 3);
    count_that_lies.extend([1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    let length = u32::try_from(count_that_lies.len() - 4).expect("a small frame");
    count_that_lies[..4].copy_from_slice(&length.to_be_bytes());
    let noise: Vec<u8> =
        (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: [(&str, Vec<u8>); 11] = [
        ("garbage", noise.clone()),
        ("garbage behind a good length", [&hello(MAGIC)[..], &frame(64, &noise[..64])].concat()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: odradek\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello from a TLS client".to_vec()),
        (
            "Kafka",
            b"\x00\x00\x00\x14\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04kcat\x00\x00\x00".to_vec(),
        ),
        ("length -1", frame(u32::MAX, b"x")),
        ("length 0", frame(0, b"")),
        ("length 2^31-1", frame(0x7fff_ffff, b"x")),
        ("a foreign magic", hello(*b"KDRO")),
        ("a request before hello", request(ApiKey::Metadata, 1, &ALL_TOPICS, 0)),
        ("a count that lies", [hello(MAGIC), count_that_lies].concat()),
    ];
    for (name, bytes) in cases {
        let mut peer = Peer::connect(&broker.server).expect("it accepts");
        // The broker may end it while it is still talking.
        let _ = peer.send(&bytes);
        assert!(peer.is_closed_by_the_broker(), "{name}: the connection stays open");
        is_unharmed(&broker, &before);
    }
    let mut peer = Peer::connect(&broker.server).expect("it accepts");
    peer.send(&hello_of_another_version).expect("sent");
    let answer =
        peer.answer().expect("a hello of another version is answered, with what is served");
    let hello: odradek::wire::hello::HelloResponse<'_> = decode(&answer).expect("it decodes");
    assert_eq!(hello.error, ErrorCode::UNSUPPORTED_VERSION);
    assert!(!hello.apis.is_empty());
}

/// The broker's share of file handles for connections, as it says at its start.
fn connections_max(wanted: usize) -> usize {
    wanted.min((file_handles() - BROKER_HANDLES) / 2)
}

#[test]
fn peers_that_drip_are_timed_out_and_stop_nobody() {
    let folder = Folder::new();
    let setup = setup(&folder).set("frame.timeout.ms", "1000");
    let broker = setup.set("max.connections", "1100").start();
    let before = accounts(&broker);
    let mut crowd = Crowd::connect(&broker, 1000.min(connections_max(1100) - 20));
    assert!(100 < crowd.peers.len(), "{} are no crowd", crowd.peers.len());
    // The frame grows for longer than it may take, and is never complete.
    for byte in &hello(MAGIC)[..8] {
        for peer in &mut crowd.peers {
            let _ = peer.send(&[*byte]);
        }
        serves_others(&broker);
        thread::sleep(Duration::from_millis(200));
    }
    for peer in &mut crowd.peers {
        assert!(peer.is_closed_by_the_broker(), "a frame must be complete in time");
    }
    is_unharmed(&broker, &before);
}

#[test]
fn too_many_connections_are_refused_and_said_now_and_then() {
    let folder = Folder::new();
    let broker = setup(&folder).start();
    let before = accounts(&broker);
    // Kafka's default is no limit; ours is what `config.toml` says, or what the handles allow.
    let most = connections_max(2048);
    let mut kept = Peer::greeted(&broker.server);
    let mut crowd = Crowd::connect(&broker, 10_000);
    for peer in &mut crowd.peers {
        let _ = peer.send(&hello(MAGIC));
    }
    let answered = crowd.peers.iter_mut().filter_map(|peer| peer.answer().ok()).count();
    let expected = crowd.peers.len().min(most - 1);
    let count = crowd.peers.len();
    // The connection that asked for the accounts may still be counted when the first ones come.
    let is_expected = (expected - 1..=expected).contains(&answered);
    assert!(is_expected, "{answered} of {count} connections are served, not {expected}");
    kept.ask(ApiKey::Metadata, &ALL_TOPICS, &[]).expect("who was there is served");
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + SLACK_BYTES, "{bytes} bytes for {answered} connections");
    if expected < count {
        let lines = broker.words().lines().filter(|line| line.contains("is refused")).count();
        assert!((1..=50).contains(&lines), "the log tells of it in {lines} lines");
        let limit = format!("`max.connections` = {most} are open");
        assert!(broker.words().contains(&limit), "{limit} is not in: {}", broker.words());
    }
    let refused = kept.metrics()["connections_refused_count"];
    assert_eq!(refused, (count - answered) as u64);
    drop((kept, crowd));
    is_unharmed(&broker, &before);
}

/// Sends beside the test, as far as it is taken.
pub(super) fn send_all(peer: &Peer, requests: Vec<u8>) {
    let mut socket = peer.socket.try_clone().expect("there is a handle");
    socket.set_write_timeout(None).expect("set");
    thread::spawn(move || drop(socket.write_all(&requests)));
}

/// How many requests the broker has handled when it handles no more.
pub(super) fn settled(broker: &Broker) -> u64 {
    let mut peer = Peer::greeted(&broker.server);
    let mut before = 0;
    loop {
        let now = peer.metrics()["requests_count"];
        // The question itself is one.
        if now == before + 1 {
            return now;
        }
        before = now;
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    const REQUESTS: u32 = 100_000;
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "wide", "--partitions", "20"]);
    let before = accounts(&broker);
    let peer = Peer::greeted(&broker.server);
    let requests: Vec<u8> = (1..=REQUESTS)
        .flat_map(|number| request(ApiKey::Metadata, number, &ALL_TOPICS, 0))
        .collect();
    send_all(&peer, requests);
    let handled = settled(&broker);
    assert!((100..u64::from(REQUESTS) / 2).contains(&handled), "{handled} are handled, none read");
    serves_others(&broker);
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + SLACK_BYTES, "{bytes} bytes of memory for answers unread");
    // Whoever reads in the end finds them all, in order.
    let mut reader = BufReader::new(&peer.socket);
    for expected in 1..=REQUESTS {
        let mut prefix = [0; 4];
        reader.read_exact(&mut prefix).expect("the answers are there for whoever reads them");
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        reader.read_exact(&mut frame).expect("whole");
        let (header, _): (ResponseHeader, _) = take(&frame).expect("decodes");
        assert_eq!(header.correlation_id, expected);
    }
    drop(peer);
    is_unharmed(&broker, &before);
}

/// A request for one small batch, as the broker copies it into its answer.
fn fetch_from_start(topic: &str, correlation_id: u32) -> Vec<u8> {
    let partition = FetchPartition {
        topic: TopicRef::Name(topic),
        partition: Partition(0),
        offset: Offset(0),
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1,
    };
    let body =
        FetchRequest { max_wait_ms: 0, min_bytes: 1, max_bytes: 1, partitions: vec![partition] };
    request(ApiKey::Fetch, correlation_id, &body, 0)
}

#[test]
fn many_that_read_no_answers_share_the_memory() {
    // Once each could hold a mebibyte of answers: sixty of them were 60 MiB in 32.
    let folder = Folder::new();
    let broker = start(&folder);
    broker.produce(&["bulk", "--create"], &["x".repeat(15_000)]);
    let before = accounts(&broker);
    let ask: Vec<u8> = (1..=400).flat_map(|number| fetch_from_start("bulk", number)).collect();
    let mut peers: Vec<Peer> =
        (0..60).map(|_| Peer::narrow(&broker.server).expect("it accepts")).collect();
    for peer in &mut peers {
        peer.send(&hello(MAGIC)).expect("sent");
        peer.answer().expect("answered");
    }
    for peer in &mut peers {
        peer.send(&ask).expect("requests are small enough to be on their way");
    }
    settled(&broker);
    let most = broker.anonymous_bytes();
    serves_others(&broker);
    let held = Peer::greeted(&broker.server).metrics()["memory_responses_bytes_now"];
    assert!(MEMORY_LIMIT / 8 < held, "the peers hold {held} bytes");
    assert!(most < MEMORY_LIMIT + SLACK_BYTES, "{most} bytes of memory for answers unread");
    drop(peers);
    is_unharmed(&broker, &before);
}

/// Produces raw bytes as one batch and gives the error code of the answer.
fn produce(peer: &mut Peer, topic: &str, batch: &[u8]) -> io::Result<ErrorCode> {
    let partition = ProducePartition {
        topic: TopicRef::Name(topic),
        partition: Partition(0),
        records_bytes: u32::try_from(batch.len()).expect("a small batch"),
    };
    let body = ProduceRequest { acks: -1, timeout_ms: 5000, partitions: vec![partition] };
    let answer = peer.ask(ApiKey::Produce, &body, batch)?;
    let response: ProduceResponse = decode(&answer).map_err(io::Error::other)?;
    Ok(response.partitions[0].error)
}

pub(super) fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for _ in 0..3 {
        builder.push(Timestamp(1_700_000_000_000), None, Some(b"value"), &[]);
    }
    builder.finish(Compression::None)
}

/// A batch with one field changed, its checksum made good again.
pub(super) fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch();
    change(&mut bytes);
    let length = u32::try_from(bytes.len() - 12).expect("a small batch");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = odradek::record::crc::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A batch whose records are `section`, said to be packed by the codec of that number.
fn packed(codec: u8, section: &[u8]) -> Vec<u8> {
    forged(|bytes| {
        bytes.truncate(HEADER_BYTES);
        bytes[22] |= codec;
        bytes.extend_from_slice(section);
    })
}

/// 100 blocks of zstd, four bytes each, that stand for 128 KiB of zeros each.
fn bomb() -> Vec<u8> {
    let mut section = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    for number in 0..100 {
        let header = u32::from(number == 99) | 1 << 1 | 131_072 << 3;
        section.extend(&header.to_le_bytes()[..3]);
        section.push(0);
    }
    packed(4, &section)
}

/// Records packed by gzip twice over.
fn nested() -> Vec<u8> {
    let gzip = |bytes: &[u8]| {
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    };
    packed(1, &gzip(&gzip(&batch()[HEADER_BYTES..])))
}

#[test]
fn batches_that_are_none_are_refused_and_nothing_is_stored() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "strict"]);
    let before = accounts(&broker);
    let mut peer = Peer::greeted(&broker.server);
    let good = batch();
    for at in 16..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let error = produce(&mut peer, "strict", &bad).expect("a bad batch is answered");
        assert!(!error.is_ok(), "a flipped bit in byte {at} was taken");
    }
    for bytes in [0, 1, 12, 60, 61, good.len() - 1] {
        let error = produce(&mut peer, "strict", &good[..bytes]).expect("it is answered");
        assert!(!error.is_ok(), "{bytes} bytes of a batch were taken");
    }
    let records = |count: u8| forged(|bytes| bytes[60] = count);
    let cases = [
        ("two batches in one", [&good[..], &good[..]].concat(), ErrorCode::INVALID_RECORD),
        ("the control bit", forged(|bytes| bytes[22] |= 0x20), ErrorCode::INVALID_RECORD),
        ("magic 0", forged(|bytes| bytes[16] = 0), ErrorCode::INVALID_RECORD),
        ("magic 1", forged(|bytes| bytes[16] = 1), ErrorCode::INVALID_RECORD),
        ("magic 3", forged(|bytes| bytes[16] = 3), ErrorCode::INVALID_RECORD),
        ("a record too many", records(4), ErrorCode::INVALID_RECORD),
        ("a record too few", records(2), ErrorCode::INVALID_RECORD),
        ("no records", records(0), ErrorCode::INVALID_RECORD),
        ("another last offset", forged(|bytes| bytes[26] = 9), ErrorCode::INVALID_RECORD),
        ("bytes behind the records", forged(|bytes| bytes.push(0)), ErrorCode::INVALID_RECORD),
        ("compression that is none", packed(1, b"plain"), ErrorCode::INVALID_RECORD),
        ("compression in compression", nested(), ErrorCode::INVALID_RECORD),
        ("a codec nobody knows", packed(5, b"x"), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        ("a bomb", bomb(), ErrorCode::MESSAGE_TOO_LARGE),
    ];
    for (name, bytes, expected) in cases {
        let error = produce(&mut peer, "strict", &bytes).expect("a bad batch is answered");
        assert_eq!(error, expected, "{name}");
    }
    assert_eq!(
        produce(&mut peer, "nowhere", &good).expect("answered"),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(broker.consume(&["strict"]), Vec::<String>::new(), "nothing was stored");
    drop(peer);
    is_unharmed(&broker, &before);
    let mut peer = Peer::greeted(&broker.server);
    assert!(produce(&mut peer, "strict", &good).expect("answered").is_ok(), "a good one is taken");
    assert_eq!(broker.consume(&["strict"]).len(), 3);
}
