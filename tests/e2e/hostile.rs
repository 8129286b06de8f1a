//! What comes in at the wire's port and should not: other protocols, lengths and counts that lie,
//! peers that drip, that never read, that are too many, and batches that are none.
//!
//! After each the broker still serves others, and nothing was stored.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use odradek::ids::Partition;
use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::frame::decode;
use odradek::wire::hello::MAGIC;
use odradek::wire::metadata::MetadataRequest;
use odradek::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef};

use crate::broker::{Broker, Folder, Setup};
use crate::e2e::peer::{Peer, hello, request};

const MEMORY_LIMIT: u64 = 32 << 20;

/// A request for every topic.
const ALL_TOPICS: MetadataRequest<'_> =
    MetadataRequest { topics: None, allow_auto_topic_creation: false };

fn start(folder: &Folder) -> Broker {
    let setup = Setup::new(&folder.join("data")).set("memory.limit", &MEMORY_LIMIT.to_string());
    setup.set("frame.timeout.ms", "1000").set("max.connections", "300").start()
}

/// The broker answers others in good time.
fn serves_others(broker: &Broker) {
    let asked = Instant::now();
    assert!(broker.text(&["topic", "list"]).is_ascii());
    assert!(asked.elapsed() < Duration::from_secs(5), "others wait: {:?}", asked.elapsed());
}

#[test]
fn what_is_not_our_protocol_is_shut_out() {
    let folder = Folder::new();
    let broker = start(&folder);
    let frame = |length: u32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    let mut hello_of_another_version = hello(MAGIC);
    hello_of_another_version[5] = 99;
    let mut count_that_lies = request(ApiKey::Metadata, 1, &ALL_TOPICS, 0);
    count_that_lies.truncate(4 + 3);
    count_that_lies.extend([1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    let length = u32::try_from(count_that_lies.len() - 4).expect("a small frame");
    count_that_lies[..4].copy_from_slice(&length.to_be_bytes());
    let cases: [(&str, Vec<u8>); 9] = [
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
        serves_others(&broker);
    }
    let mut peer = Peer::connect(&broker.server).expect("it accepts");
    peer.send(&hello_of_another_version).expect("sent");
    let answer =
        peer.answer().expect("a hello of another version is answered, with what is served");
    let hello: odradek::wire::hello::HelloResponse<'_> = decode(&answer).expect("it decodes");
    assert_eq!(hello.error, ErrorCode::UNSUPPORTED_VERSION);
    assert!(!hello.apis.is_empty());
}

#[test]
fn peers_that_drip_are_timed_out_and_stop_nobody() {
    let folder = Folder::new();
    let broker = start(&folder);
    let mut peers: Vec<Peer> =
        (0..200).map(|_| Peer::connect(&broker.server).expect("it accepts")).collect();
    // The frame grows for longer than it may take, and is never complete.
    for byte in &hello(MAGIC)[..8] {
        for peer in &mut peers {
            let _ = peer.send(&[*byte]);
        }
        serves_others(&broker);
        thread::sleep(Duration::from_millis(200));
    }
    for mut peer in peers {
        assert!(peer.is_closed_by_the_broker(), "a frame must be complete in time");
    }
}

#[test]
fn too_many_connections_are_refused_and_said_now_and_then() {
    let folder = Folder::new();
    let broker = start(&folder);
    let mut kept = Peer::greeted(&broker.server);
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..800 {
        if let Ok(peer) = Peer::connect(&broker.server) {
            peers.push(peer);
        }
    }
    for peer in &mut peers {
        let _ = peer.send(&hello(MAGIC));
    }
    let answered = peers.iter_mut().filter_map(|peer| peer.answer().ok()).count();
    assert!((200..=300).contains(&answered), "{answered} of 800 connections beside one are served");
    kept.ask(ApiKey::Metadata, &ALL_TOPICS, &[]).expect("who was there is served");
    let lines = broker.words().lines().filter(|line| line.contains("connection")).count();
    assert!((1..=50).contains(&lines), "the log tells of it in {lines} lines");
    drop(peers);
    thread::sleep(Duration::from_millis(500));
    serves_others(&broker);
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "wide", "--partitions", "200"]);
    let mut peer = Peer::greeted(&broker.server);
    peer.socket.set_write_timeout(Some(Duration::from_millis(500))).expect("set");
    let mut sent = 0;
    for number in 0..100_000 {
        let bytes = request(ApiKey::Metadata, number, &ALL_TOPICS, 0);
        if peer.socket.write_all(&bytes).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(100 < sent, "some requests are taken: {sent}");
    serves_others(&broker);
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + (8 << 20), "{bytes} bytes of memory for answers unread");
    for _ in 0..100 {
        peer.answer().expect("the answers are there for whoever reads them");
    }
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

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for _ in 0..3 {
        builder.push(Timestamp(1_700_000_000_000), None, Some(b"value"), &[]);
    }
    builder.finish(Compression::None)
}

#[test]
fn batches_that_are_none_are_refused_and_nothing_is_stored() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "strict"]);
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
    let two = [good.clone(), good.clone()].concat();
    assert!(!produce(&mut peer, "strict", &two).expect("answered").is_ok(), "two batches in one");
    assert_eq!(
        produce(&mut peer, "nowhere", &good).expect("answered"),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(broker.consume(&["strict"]), Vec::<String>::new(), "nothing was stored");
    assert!(produce(&mut peer, "strict", &good).expect("answered").is_ok(), "a good one is taken");
    assert_eq!(broker.consume(&["strict"]).len(), 3);
}
