//! Frames that are none: their lengths, their beginnings, and ends that never come.

use std::thread;
use std::time::{Duration, Instant};

use odradek::limits::{FRAME_BYTES_ON_TRUST, REQUEST_BYTES_MAX};
use odradek::wire::kafka::ApiKey;
use odradek::wire::kafka::metadata::MetadataRequest;

use super::{ALIVE, Client, Fate, fate, frame, metric, prefixed, request, start, with_groups};
use crate::broker::Folder;
use crate::e2e::hostile::{MEMORY_LIMIT, accounts, is_unharmed, serves_others};
use crate::kafka_schema::{Fill, encode, fill, schemas};

/// The largest frame of a broker with this memory.
const FRAME_BYTES_MAX: u64 = MEMORY_LIMIT / odradek::limits::FRAME_SHARE_OF_MEMORY;

#[test]
fn lengths_that_lie() {
    let folder = Folder::new();
    let broker = start(&folder);
    let before = accounts(&broker);
    let length = |bytes: u32| bytes.to_be_bytes().to_vec();
    let large = vec![0; REQUEST_BYTES_MAX];
    let cases = [
        ("0", length(0)),
        ("-1", [length(u32::MAX), b"x".to_vec()].concat()),
        ("2^31-1", [length(0x7fff_ffff), b"x".to_vec()].concat()),
        ("one more than is read", length(FRAME_BYTES_MAX as u32 + 1)),
        ("shorter than a header", prefixed(&[0, 3, 0, 1, 0, 0])),
        ("a large request of another kind", frame(ApiKey::Metadata, 1, b"", &large)),
        ("no API", prefixed(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        ("another API", prefixed(&[0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        ("no version", prefixed(&[0, 3, 0x7f, 0xff, 0, 0, 0, 1, 0xff, 0xff])),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: odradek\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello from a TLS client".to_vec()),
        ("the wire", crate::e2e::peer::hello(odradek::wire::hello::MAGIC)),
    ];
    for (name, bytes) in cases {
        assert_eq!(fate(&broker, &bytes), Fate::Closed, "{name}");
        is_unharmed(&broker, &before);
    }
}

#[test]
fn lengths_alone_take_no_memory() {
    let folder = Folder::new();
    let broker = start(&folder);
    let before = accounts(&broker);
    let mut clients: Vec<Client> = (0..200).map(|_| Client::to(&broker)).collect();
    for client in &mut clients {
        let produce = [&(FRAME_BYTES_MAX as u32).to_be_bytes()[..], &[0, 0, 0, 9]].concat();
        client.peer.send(&produce).expect("sent");
    }
    // What was sent is read before whoever comes later is answered.
    serves_others(&broker);
    // The question is a frame too.
    let held = metric(&broker, "memory_frames_bytes_now");
    assert!(held < 100, "{held} bytes are reserved, though a length costs nothing to send");
    for client in &mut clients {
        assert!(client.peer.is_closed_by_the_broker(), "a frame must be complete in time");
    }
    drop(clients);
    is_unharmed(&broker, &before);
}

/// Once four of them took all memory that is there for frames, and nobody was heard any more.
#[test]
fn large_frames_that_stop_hold_up_no_consumer() {
    let folder = Folder::new();
    let broker = start(&folder);
    let before = accounts(&broker);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::to(&broker)).collect();
    let mut beginning = (FRAME_BYTES_MAX as u32).to_be_bytes().to_vec();
    beginning.resize(2 * FRAME_BYTES_ON_TRUST, 0);
    let sent = Instant::now();
    for client in &mut clients {
        client.peer.send(&beginning).expect("sent");
    }
    while sent.elapsed() < Duration::from_millis(800) {
        assert_eq!(Client::to(&broker).fate_of(&[]), Fate::Answered(0));
        let asked = Instant::now();
        serves_others(&broker);
        assert!(asked.elapsed() < Duration::from_secs(2), "others wait {:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    for client in &mut clients {
        assert!(client.peer.is_closed_by_the_broker(), "a frame must be complete in time");
    }
    drop(clients);
    is_unharmed(&broker, &before);
}

/// Old clients never ask for versions; whoever speaks a version that is served is served.
#[test]
fn requests_come_before_versions() {
    let folder = Folder::new();
    let broker = start(&folder);
    let before = accounts(&broker);
    for version in 0..=13 {
        let metadata = request(version, 5, &MetadataRequest::default());
        assert_eq!(fate(&broker, &metadata), Fate::Answered(1), "version {version}");
    }
    is_unharmed(&broker, &before);
}

#[test]
fn responses_are_no_requests() {
    let folder = Folder::new();
    let broker = start(&folder);
    with_groups(&broker);
    let before = accounts(&broker);
    for schema in schemas().iter().filter(|schema| schema.name.ends_with("Response")) {
        for version in schema.versions.0..=schema.versions.1 {
            let value = fill(&schema.fields, version, &mut Fill::Plain);
            let body = encode(&schema.fields, &value, version, schema.flexible_from <= version);
            // A correlation id stands where a request has its API and version.
            let api_and_version = i32::from(schema.api) << 16 | i32::from(version);
            for correlation_id in [1, 0, -1, api_and_version] {
                let bytes = prefixed(&[&correlation_id.to_be_bytes()[..], &body].concat());
                let fate = fate(&broker, &bytes);
                let is_one = matches!(fate, Fate::Closed | Fate::Answered(0..=1));
                assert!(is_one, "{} {version}: {fate:?}, {ALIVE}", schema.name);
            }
        }
    }
    is_unharmed(&broker, &before);
}
