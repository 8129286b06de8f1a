//! Hostile bytes: cut, flipped, with counts that lie. Every outcome is a value, never a panic.

use alloc::vec::Vec;

use super::examples;
use super::frame::{self, FrameError};
use super::metadata::MetadataRequest;
use super::produce::{ProduceRequest, ProduceResponse};
use crate::limits::REQUEST_PARTITIONS_MAX;

/// A varint as postcard writes it.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while 0x80 <= value {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn a_frame_cut_anywhere_is_an_error() {
    for example in examples::all() {
        let raw_free = (example.again)(examples::keep(&example.frame[4..])).expect("whole");
        assert_eq!(raw_free, example.frame);
        for end in 4..example.frame.len() {
            let cut = (example.again)(examples::keep(&example.frame[4..end]));
            // Only the raw bytes behind a body may be cut unseen: their lengths tell.
            if let Ok(shorter) = cut {
                let tail = &example.frame[end..];
                assert!(tail.iter().all(u8::is_ascii_lowercase), "{} at {end}", example.name);
                assert!(shorter.len() < example.frame.len());
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_another_message() {
    for example in examples::all() {
        for bit in 0..(example.frame.len() - 4) * 8 {
            let mut bytes = example.frame[4..].to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A non-canonical varint may encode shorter; nothing may come back longer.
            if let Ok(again) = (example.again)(examples::keep(&bytes)) {
                assert!(again.len() <= example.frame.len(), "{} bit {bit}", example.name);
            }
        }
    }
}

#[test]
fn noise_is_an_error_or_a_message() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..200 {
        let mut noise = Vec::new();
        for _ in 0..64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((state >> 56) as u8);
        }
        let noise = examples::keep(&noise);
        for example in examples::all() {
            // The outcome is free; reaching the next line is the assertion.
            let outcome = (example.again)(noise);
            assert!(outcome.is_err() || outcome.is_ok_and(|bytes| bytes.len() <= 4 + 64));
        }
    }
}

#[test]
fn a_count_beyond_its_limit_is_an_error_before_any_element() {
    let limit = REQUEST_PARTITIONS_MAX as u64;
    for count in [limit + 1, u64::from(u32::MAX), u64::MAX >> 1] {
        let mut bytes = varint(count);
        // Enough elements that only the limit can be the reason for small counts.
        bytes.resize(bytes.len() + 5 * (REQUEST_PARTITIONS_MAX + 1), 0);
        assert_eq!(frame::take::<ProduceResponse>(&bytes).unwrap_err(), FrameError::Malformed);
    }
    let mut full = varint(limit);
    full.resize(full.len() + 5 * REQUEST_PARTITIONS_MAX, 0);
    let decoded = frame::decode::<ProduceResponse>(&full).expect("as many as are allowed");
    assert_eq!(decoded.partitions.len(), REQUEST_PARTITIONS_MAX);
}

#[test]
fn a_count_beyond_the_frame_is_an_error() {
    let mut bytes = alloc::vec![0xff, 0x00];
    bytes.extend(varint(REQUEST_PARTITIONS_MAX as u64));
    bytes.extend([0, 1, b'a', 0, 0]);
    assert_eq!(frame::take::<ProduceRequest>(&bytes).unwrap_err(), FrameError::Malformed);
}

#[test]
fn a_count_reserves_nothing() {
    struct Liar;
    impl Iterator for Liar {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            None
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (10_000, Some(10_000))
        }
    }
    type Deserializer = serde::de::value::SeqDeserializer<Liar, serde::de::value::Error>;
    let list = frame::list::<10_000, u8, _>(Deserializer::new(Liar)).expect("an empty list");
    assert_eq!(list.capacity(), 0);
    assert!(frame::list::<9_999, u8, _>(Deserializer::new(Liar)).is_err());
}

#[test]
fn text_that_is_not_utf8_and_lengths_beyond_the_frame_are_errors() {
    // Some(list of one), by name, of one byte that no UTF-8 text has.
    assert!(frame::decode::<MetadataRequest>(&[1, 1, 0, 1, 0xff, 0]).is_err());
    assert!(frame::decode::<MetadataRequest>(&[1, 1, 0, 1, b'a', 0]).is_ok());
    assert!(frame::decode::<MetadataRequest>(&[1, 1, 0, 0x7f, b'a', 0]).is_err());
    // A variant, an option and a bool that do not exist; a byte too much.
    assert!(frame::decode::<MetadataRequest>(&[1, 1, 2, 1, b'a', 0]).is_err());
    assert!(frame::decode::<MetadataRequest>(&[2, 0]).is_err());
    assert!(frame::decode::<MetadataRequest>(&[0, 2]).is_err());
    assert_eq!(frame::decode::<MetadataRequest>(&[0, 1, 0]), Err(FrameError::Trailing));
}

#[test]
fn a_length_is_positive_and_bounded() {
    for (prefix, max, expected) in [
        ([0, 0, 0, 0], 100, None),
        ([0, 0, 0, 1], 100, Some(1)),
        ([0, 0, 0, 100], 100, Some(100)),
        ([0, 0, 0, 101], 100, None),
        ([0x7f, 0xff, 0xff, 0xff], 100, None),
        ([0xff, 0xff, 0xff, 0xff], 100, None),
        (*b"GET ", 100 << 20, None),
        ([0x16, 0x03, 0x01, 0x02], 100 << 20, None),
    ] {
        assert_eq!(frame::frame_bytes(prefix, max), expected, "{prefix:?}");
    }
}

#[test]
fn record_lengths_add_up() {
    let split = |lengths: &[u32], raw| frame::split_records(lengths.iter().copied(), raw);
    assert_eq!(split(&[2, 0, 1], b"abc"), Ok(alloc::vec![&b"ab"[..], b"", b"c"]));
    assert_eq!(split(&[2], b"abc"), Err(FrameError::Records), "left over");
    assert_eq!(split(&[4], b"abc"), Err(FrameError::Records), "too long");
    assert_eq!(split(&[u32::MAX, u32::MAX], b"abc"), Err(FrameError::Records));
}
