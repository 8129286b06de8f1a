//! Batches through the door that are not what a client may write, or are far more than they weigh.

use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;

use super::{Client, metric, produce, start};
use crate::broker::Folder;
use crate::e2e::hostile::{MEMORY_LIMIT, SLACK_BYTES, accounts, batch, forged, is_unharmed};

/// Bits of the low byte of a batch's attributes, which is its byte 22.
const TRANSACTIONAL: u8 = 0x10;
const CONTROL: u8 = 0x20;

fn marked(bits: u8) -> Vec<u8> {
    forged(|bytes| bytes[22] |= bits)
}

/// The same, as by producer 7.
fn marked_by_producer(bits: u8) -> Vec<u8> {
    forged(|bytes| {
        bytes[22] |= bits;
        bytes[43..57].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0]);
    })
}

#[test]
fn batches_that_clients_may_not_write() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "strict"]);
    let before = accounts(&broker);
    let mut client = Client::to(&broker);
    let no_id = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    let cases = [
        ("control", 9, None, marked(CONTROL), ErrorCode::INVALID_RECORD),
        ("control, idempotent", 9, None, marked_by_producer(CONTROL), ErrorCode::INVALID_RECORD),
        ("transactional, no producer", 9, None, marked(TRANSACTIONAL), no_id),
        ("transactional, no id", 9, None, marked_by_producer(TRANSACTIONAL), no_id),
        ("a marker", 9, None, marked_by_producer(TRANSACTIONAL | CONTROL), no_id),
        (
            "transactional, none open",
            9,
            Some("t"),
            marked_by_producer(TRANSACTIONAL),
            ErrorCode::INVALID_TXN_STATE,
        ),
        (
            "transactional, none open, to a client that can abort",
            12,
            Some("t"),
            marked_by_producer(TRANSACTIONAL),
            ErrorCode::TRANSACTION_ABORTABLE,
        ),
    ];
    for (name, version, id, bytes, expected) in cases {
        let errors = produce(&mut client, version, id, "strict", &[(0, &bytes)]);
        assert_eq!(errors, [expected], "{name}");
    }
    drop(client);
    is_unharmed(&broker, &before);
    let good = batch();
    let errors = produce(&mut Client::to(&broker), 9, None, "strict", &[(0, &good)]);
    assert_eq!(errors, [ErrorCode::NONE], "a good one is taken");
    assert_eq!(broker.consume(&["strict"]).len(), 3);
}

#[test]
fn bombs_are_refused() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "strict"]);
    let before = accounts(&broker);
    let zeros = vec![0; 18 << 20];
    let mut client = Client::to(&broker);
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1_700_000_000_000), None, Some(&zeros), &[]);
        let bomb = builder.finish(codec);
        assert!(bomb.len() < 1 << 20, "{codec:?} makes {} bytes of it", bomb.len());
        let errors = produce(&mut client, 9, None, "strict", &[(0, &bomb)]);
        assert_eq!(errors, [ErrorCode::MESSAGE_TOO_LARGE], "{codec:?}");
        assert_eq!(metric(&broker, "memory_windows_bytes_now"), 0, "{codec:?}");
    }
    // Snappy says first how much it will be: nothing is believed.
    let liar = forged(|bytes| {
        bytes.truncate(61);
        bytes[22] |= 2;
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    });
    let errors = produce(&mut client, 9, None, "strict", &[(0, &liar)]);
    assert!(!errors[0].is_ok(), "{errors:?}");
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + SLACK_BYTES, "{bytes} bytes of memory");
    drop(client);
    is_unharmed(&broker, &before);
}
