//! Hostile batches, one table: issue 3's bad input, reliability.md bad input 6 to 8, and the rows
//! of semantics.md 2.2 step 3. The checksum is right wherever the row is not about it: an attacker
//! can compute one too.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::record::batch::{HEADER_BYTES, stamp_crc, write_at};
use crate::record::{BatchBuilder, stamp, stamp_log_append_time, stamp_max_timestamp};

const NOW: i64 = 1_700_000_000_000;

const RULES: ProduceRules = ProduceRules {
    now: Timestamp(NOW),
    max_message_bytes: 1_048_588,
    compacted: false,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
    compression: None,
    window_bytes_max: crate::limits::DECOMPRESSED_BYTES_MAX,
};

/// Three records at and after `NOW`.
fn sound(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(NOW), Some(b"key"), Some(b"value"), &[("h", None)]);
    builder.push(Timestamp(NOW + 5), Some(b""), None, &[("h", Some(b"")), ("h", Some(b"x"))]);
    builder.push(Timestamp(NOW + 2), Some(b"k"), Some(b""), &[]);
    builder.finish(codec)
}

/// A batch whose record section is as given, with the header of a sound batch.
fn with_section(codec: Compression, record_count: i32, section: &[u8]) -> Vec<u8> {
    let mut bytes = sound(codec);
    bytes.truncate(HEADER_BYTES);
    bytes.extend_from_slice(section);
    set(&mut bytes, 8, ((HEADER_BYTES - 12 + section.len()) as i32).to_be_bytes());
    set(&mut bytes, 23, (record_count - 1).to_be_bytes());
    set(&mut bytes, 57, record_count.to_be_bytes());
    set(&mut bytes, 35, NOW.to_be_bytes());
    bytes
}

/// Writes a field and the checksum it then has.
fn set<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    write_at(bytes, at, field);
    stamp_crc(bytes);
}

fn check(row: &str, bytes: &[u8], rules: &ProduceRules, expected: Rejection) {
    assert_eq!(validate_produce(bytes, rules), Err(expected), "{row}");
    let mut bad_records = Vec::new();
    let admitted = admit_produce(&mut bytes.to_vec(), rules, &mut bad_records);
    assert_eq!(admitted, Err(expected), "{row}, admitted");
}

#[test]
fn sound_batches_pass_in_every_codec() {
    for codec in Compression::ALL {
        let mut bytes = sound(codec);
        let header = validate_produce(&bytes, &RULES).expect("sound");
        assert_eq!(header.max_timestamp, Timestamp(NOW + 5));
        let admitted = admit_produce(&mut bytes, &RULES, &mut Vec::new()).expect("sound");
        assert_eq!(admitted, Admitted { header, rewritten: None });
        assert_eq!(bytes, sound(codec), "admitting a right batch changes nothing");
        let compacted = ProduceRules { compacted: true, ..RULES };
        assert_eq!(validate_produce(&bytes, &compacted), Ok(header), "an empty key is a key");
    }
}

#[test]
fn headers_that_no_producer_may_send() {
    let row = |row: &str, expected, spoil: fn(&mut Vec<u8>)| {
        for codec in Compression::ALL {
            let mut bytes = sound(codec);
            spoil(&mut bytes);
            check(row, &bytes, &RULES, expected);
        }
    };
    row("no bytes", Rejection::Invalid, Vec::clear);
    row("half a header", Rejection::Corrupt, |b| b.truncate(30));
    row("a byte short", Rejection::Corrupt, |b| b.truncate(b.len() - 1));
    row("a byte more", Rejection::Invalid, |b| b.push(0));
    row("two batches", Rejection::Invalid, |b| b.extend_from_within(..));
    row("length -1", Rejection::Corrupt, |b| set(b, 8, (-1i32).to_be_bytes()));
    row("length 0", Rejection::Corrupt, |b| set(b, 8, 0i32.to_be_bytes()));
    row("length 48", Rejection::Corrupt, |b| set(b, 8, 48i32.to_be_bytes()));
    row("length 2^31-1", Rejection::Corrupt, |b| set(b, 8, i32::MAX.to_be_bytes()));
    for magic in [0, 1, 3, -1i8] {
        let mut bytes = sound(Compression::None);
        set(&mut bytes, 16, magic.to_be_bytes());
        check("magic", &bytes, &RULES, Rejection::Invalid);
    }
    row("wrong CRC", Rejection::Corrupt, |b| write_at(b, 17, [1, 2, 3, 4]));
    row("base offset 1", Rejection::Invalid, |b| stamp(b, crate::ids::Offset(1), LEADER_EPOCH));
    row("base offset -1", Rejection::Invalid, |b| stamp(b, crate::ids::Offset(-1), LEADER_EPOCH));
    row("count 0", Rejection::Invalid, |b| set(b, 57, 0i32.to_be_bytes()));
    row("count -1", Rejection::Invalid, |b| set(b, 57, (-1i32).to_be_bytes()));
    row("count 2^31-1", Rejection::Invalid, |b| set(b, 57, i32::MAX.to_be_bytes()));
    row("count and delta 2^31-1", Rejection::Invalid, |b| {
        set(b, 23, (i32::MAX - 1).to_be_bytes());
        set(b, 57, i32::MAX.to_be_bytes());
    });
    row("delta 3 for 3 records", Rejection::Invalid, |b| set(b, 23, 3i32.to_be_bytes()));
    row("delta -1", Rejection::Invalid, |b| set(b, 23, (-1i32).to_be_bytes()));
    row("one record more than there is", Rejection::Invalid, |b| {
        set(b, 23, 3i32.to_be_bytes());
        set(b, 57, 4i32.to_be_bytes());
    });
    row("one record fewer than there is", Rejection::Invalid, |b| {
        set(b, 23, 1i32.to_be_bytes());
        set(b, 57, 2i32.to_be_bytes());
    });
    row("producer without sequence", Rejection::Invalid, |b| {
        set(b, 43, 7i64.to_be_bytes());
        set(b, 51, 0i16.to_be_bytes());
    });
    row("producer without epoch", Rejection::Invalid, |b| {
        set(b, 43, 7i64.to_be_bytes());
        set(b, 53, 0i32.to_be_bytes());
    });
    row("producer id -2", Rejection::Invalid, |b| set(b, 43, (-2i64).to_be_bytes()));
}

const LEADER_EPOCH: crate::ids::LeaderEpoch = crate::ids::LeaderEpoch::NONE;

#[test]
fn attributes_that_no_producer_may_set() {
    for (row, bits, expected) in [
        ("transaction without producer", 1 << 4, Rejection::Invalid),
        ("control batch", 1 << 5, Rejection::Invalid),
        ("delete horizon", 1 << 6, Rejection::Invalid),
        ("unknown bit 7", 1 << 7, Rejection::Invalid),
        ("unknown bit 15", i16::MIN, Rejection::Invalid),
        ("append time", 1 << 3, Rejection::Timestamp),
        ("codec 5", 5, Rejection::Codec),
        ("codec 7", 7, Rejection::Codec),
    ] {
        let mut bytes = sound(Compression::None);
        set(&mut bytes, 21, bits.to_be_bytes());
        check(row, &bytes, &RULES, expected);
    }
    let mut bytes = sound(Compression::None);
    stamp_log_append_time(&mut bytes, Timestamp(NOW));
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..RULES };
    check("append time, on a topic that has it", &bytes, &rules, Rejection::Timestamp);
}

#[test]
fn records_that_do_not_hold_together() {
    // attributes, timestamp delta, offset delta, null key, null value, no headers.
    const RECORD: [u8; 7] = [12, 0, 0, 0, 1, 1, 0];
    let sections: [(&str, i32, &[u8]); 17] = [
        ("no record", 1, &[]),
        ("a length that never ends", 1, &[0xff; 12]),
        ("length 2^31-1", 1, &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0]),
        ("length -1", 1, &[1, 0, 0, 0, 1, 1, 0]),
        ("length 0", 1, &[0]),
        ("a record cut short", 1, &RECORD[..6]),
        ("a record longer than its fields", 1, &[14, 0, 0, 0, 1, 1, 0, 0]),
        ("trailing garbage", 1, &[12, 0, 0, 0, 1, 1, 0, 9]),
        ("key length -2", 1, &[12, 0, 0, 0, 3, 1, 0]),
        ("key longer than the record", 1, &[12, 0, 0, 0, 40, 1, 0]),
        ("value length -2", 1, &[12, 0, 0, 0, 1, 3, 0]),
        ("header count -1", 1, &[12, 0, 0, 0, 1, 1, 1]),
        ("header count 2^31-1", 1, &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("a header with a null key", 1, &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("inner offset 1", 1, &[12, 0, 0, 2, 1, 1, 0]),
        ("inner offset -1", 1, &[12, 0, 0, 1, 1, 1, 0]),
        ("record attributes: nested compression", 1, &[12, 1, 0, 0, 1, 1, 0]),
    ];
    let sound = with_section(Compression::None, 1, &RECORD);
    assert!(validate_produce(&sound, &with_now(0)).is_ok());
    for (row, count, section) in sections {
        check(row, &with_section(Compression::None, count, section), &RULES, Rejection::Invalid);
        for codec in Compression::ALL.into_iter().skip(1) {
            let mut packed = Vec::new();
            crate::record::compression::compress_into(codec, section, &mut packed);
            check(row, &with_section(codec, count, &packed), &RULES, Rejection::Invalid);
        }
    }
    let nested = super::tests::sound(Compression::None);
    check("a batch in a batch", &with_section(Compression::None, 1, &nested), &RULES, {
        Rejection::Invalid
    });
}

fn with_now(after_ms: i64) -> ProduceRules {
    ProduceRules { now: Timestamp(NOW + after_ms), ..RULES }
}

#[test]
fn the_topics_rules_bind() {
    let bytes = sound(Compression::None);
    let rules = ProduceRules { max_message_bytes: bytes.len() - 1, ..RULES };
    check("one byte over max.message.bytes", &bytes, &rules, Rejection::TooLarge);
    let rules = ProduceRules { max_message_bytes: bytes.len(), ..RULES };
    assert!(validate_produce(&bytes, &rules).is_ok());

    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(NOW), Some(b"k"), None, &[]);
    builder.push(Timestamp(NOW), None, Some(b"v"), &[]);
    let keyless = builder.finish(Compression::None);
    let rules = ProduceRules { compacted: true, ..RULES };
    check("a null key on a compacted topic", &keyless, &rules, Rejection::Invalid);
    assert!(validate_produce(&keyless, &RULES).is_ok());
}

#[test]
fn timestamps_must_lie_in_the_window() {
    let one = |timestamp: i64| {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(timestamp), Some(b"k"), None, &[]);
        builder.finish(Compression::None)
    };
    let narrow =
        ProduceRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 2000, ..RULES };
    for good in [NOW, NOW - 1000, NOW + 2000, -1] {
        assert!(validate_produce(&one(good), &narrow).is_ok(), "{good}");
    }
    for bad in [NOW - 1001, NOW + 2001, 0, -2, i64::MIN, i64::MAX] {
        check("outside the window", &one(bad), &narrow, Rejection::Timestamp);
        let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..narrow };
        assert!(validate_produce(&one(bad), &rules).is_ok(), "the broker's time replaces {bad}");
    }
}

/// `LogValidator` overwrites a maximum that the records do not have.
#[test]
fn a_wrong_maximum_is_put_right_or_refused() {
    for codec in Compression::ALL {
        for lie in [NOW, i64::MAX, i64::MIN, -1] {
            let mut bytes = sound(codec);
            stamp_max_timestamp(&mut bytes, Timestamp(lie));
            assert_eq!(validate_produce(&bytes, &RULES), Err(Rejection::Invalid));
            let admitted = admit_produce(&mut bytes, &RULES, &mut Vec::new())
                .expect("sound but for the maximum");
            assert_eq!(admitted.header.max_timestamp, Timestamp(NOW + 5));
            assert_eq!(bytes, sound(codec));
        }
    }
}

#[test]
fn a_topics_codec_is_applied_and_the_size_checked_again() {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(NOW), None, Some(&vec![7; 50_000]), &[]);
    let plain = builder.clone().finish(Compression::None);
    for codec in Compression::ALL.into_iter().skip(1) {
        let packed = builder.clone().finish(codec);
        let rules = ProduceRules { compression: Some(codec), ..RULES };
        let admitted = admit_produce(&mut plain.clone(), &rules, &mut Vec::new()).expect("sound");
        assert_eq!(admitted.rewritten.as_deref(), Some(&packed[..]));
        let rules = ProduceRules {
            compression: Some(Compression::None),
            max_message_bytes: plain.len() - 1,
            ..RULES
        };
        let found = admit_produce(&mut packed.clone(), &rules, &mut Vec::new());
        assert_eq!(found, Err(Rejection::TooLarge), "{codec:?} grows beyond the limit");
    }
}

#[test]
fn bombs_and_lying_blocks_are_refused() {
    // One byte beyond the bound on what is decompressed.
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Snappy] {
        let mut packed = Vec::new();
        let zeros = vec![0; crate::limits::DECOMPRESSED_BYTES_MAX + 1];
        crate::record::compression::compress_into(codec, &zeros, &mut packed);
        let rules = ProduceRules { max_message_bytes: 1 << 30, ..RULES };
        check("bomb", &with_section(codec, 1, &packed), &rules, Rejection::Window);
    }
    let xerial = |blocks: &[u8]| {
        let mut section = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        section.extend_from_slice(blocks);
        with_section(Compression::Snappy, 1, &section)
    };
    for (row, blocks) in [
        ("block length -1 (CVE-2023-34455)", &[0xff, 0xff, 0xff, 0xff, 1, 0, 0][..]),
        ("block length 2^31-1", &[0x7f, 0xff, 0xff, 0xff, 1, 0, 0]),
        ("block length 0", &[0, 0, 0, 0]),
        ("half a block length", &[0, 0]),
        ("a block that claims 4 GiB", &[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
        ("a block that claims 1 MiB", &[0, 0, 0, 5, 0x80, 0x80, 0x40, 0, 0]),
    ] {
        let found = validate_produce(&xerial(blocks), &RULES);
        assert!(matches!(found, Err(Rejection::Invalid | Rejection::Window)), "{row}: {found:?}");
    }
}

/// What a single flipped bit can do to a batch: the checksum finds it, or the header's checks do,
/// or it lies in the leader epoch, which the leader overwrites. Outside the checksum lie the base
/// offset (must be 0), the length (must be the whole), the leader epoch, the magic (must be 2) and
/// the checksum itself.
#[test]
fn every_flipped_bit_is_found_but_in_the_leader_epoch() {
    for codec in Compression::ALL {
        let sound = sound(codec);
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_found = validate_produce(&bytes, &RULES).is_err();
            assert_eq!(is_found, !(12..16).contains(&(bit / 8)), "{codec:?}, bit {bit}");
        }
    }
}

/// KIP-467: the producer hears which of its records the topic does not take, all of them.
#[test]
fn records_that_spoil_a_batch_are_named() {
    let compacted = ProduceRules { compacted: true, ..RULES };
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new();
        for number in 0..30 {
            let key = (number % 10 != 0).then_some(&b"key"[..]);
            let late = if number == 7 { 3_600_001 } else { 0 };
            builder.push(Timestamp(NOW + late), key, Some(b"value"), &[]);
        }
        let mut bytes = builder.finish(codec);
        let mut bad_records = Vec::new();
        let found = admit_produce(&mut bytes, &compacted, &mut bad_records);
        assert_eq!((found, &bad_records[..]), (Err(Rejection::Timestamp), &[0, 7, 10, 20][..]));
        let later = ProduceRules { now: Timestamp(NOW + 5), ..compacted };
        bad_records.clear();
        let found = admit_produce(&mut bytes, &later, &mut bad_records);
        assert_eq!((found, &bad_records[..]), (Err(Rejection::Invalid), &[0, 10, 20][..]));
        bad_records.clear();
        let any = ProduceRules { compacted: false, ..later };
        admit_produce(&mut bytes, &any, &mut bad_records).expect("nothing is wrong with it here");
        assert!(bad_records.is_empty());
    }
}
