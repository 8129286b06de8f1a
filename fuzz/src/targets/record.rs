//! Record batches and records, and whether a producer's batch may enter a log.

use odradek::ids::{LeaderEpoch, Offset};
use odradek::record::batch::{CRC_START, LENGTH_END};
use odradek::record::{
    Batch, BatchBuilder, BatchHeader, Compression, HEADER_BYTES, ProduceRules, Records,
    TimestampType, admit_produce, decompress, stamp, validate_produce,
};
use odradek::time::Timestamp;

use crate::note::note;
use crate::{Target, take};

const NOW: i64 = 1_800_000_000_000;

/// Header, batch, records, admission.
pub fn all() -> Vec<Target> {
    let admission = Target {
        // A batch of 16 KiB may be written anew in another codec, whose tables take memory.
        memory_bytes_max: 32 << 20,
        ..Target::new("record/admission", with_options(), admission)
    };
    vec![
        Target::new("record/header", batches(), header),
        Target::new("record/batch", batches(), batch),
        Target::new("record/records", sections(), records),
        admission,
    ]
}

/// Batches of each codec, some with keys, headers and nulls.
pub fn batches() -> Vec<Vec<u8>> {
    let build = |codec| {
        let mut builder = BatchBuilder::new();
        builder.push(
            Timestamp(NOW),
            Some(b"key"),
            Some(b"value"),
            &[("h", Some(b"x")), ("n", None)],
        );
        builder.push(Timestamp(NOW + 5), None, Some(&[b'z'; 200]), &[]);
        builder.push(Timestamp(NOW - 5), Some(b""), None, &[]);
        builder.finish(codec)
    };
    Compression::ALL.into_iter().map(build).collect()
}

fn with_options() -> Vec<Vec<u8>> {
    let with = |option: u8| batches().into_iter().map(move |batch| [vec![option], batch].concat());
    [0, 1, 2, 4, 8, 16, 0x90].into_iter().flat_map(with).collect()
}

fn sections() -> Vec<Vec<u8>> {
    vec![[&[3], &batches()[0][HEADER_BYTES..]].concat()]
}

/// Makes length and checksum right, so that what lies behind them is met.
pub fn mend(batch: &mut [u8]) {
    if HEADER_BYTES <= batch.len() {
        let length = (batch.len() - LENGTH_END) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = odradek::record::crc::crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

fn header(bytes: &[u8]) {
    match BatchHeader::parse(bytes) {
        Err(error) => note(&error),
        Ok(header) => {
            assert_eq!(header.to_bytes(), bytes[..HEADER_BYTES]);
            assert!(header.base_offset <= header.last_offset());
            assert!(header.last_offset() < header.next_offset());
            assert!(HEADER_BYTES <= header.size_bytes());
            note(&(header.attributes.compression(), header.attributes.is_control()));
        }
    }
}

fn batch(bytes: &[u8]) {
    let mut rest = bytes;
    let mut total = 0;
    while !rest.is_empty() {
        let (batch, after) = match Batch::split_first(rest) {
            Ok(split) => split,
            Err(error) => return note(&error),
        };
        total += batch.bytes().len();
        assert_eq!(total + after.len(), bytes.len());
        note(&("crc", batch.crc_is_valid()));
        if batch.compression() == Some(Compression::None) {
            walk(batch.header(), batch.records_section());
        }
        let mut stamped = batch.bytes().to_vec();
        stamp(&mut stamped, Offset(77), LeaderEpoch(3));
        let again = BatchHeader::parse(&stamped);
        let is_as_before = again.is_ok_and(|again| again.crc == batch.header().crc);
        // The last offset of an enormous batch may be one that 77 more cannot reach; it is not
        // beyond the space from 0, so it is not from 77 either.
        assert!(is_as_before, "{again:?}");
        rest = after;
    }
}

/// Reads all records; answers whether they are sound and use up the section.
fn walk(header: &BatchHeader, section: &[u8]) -> bool {
    let mut records = Records::new(header, section);
    let mut count = 0;
    for record in &mut records {
        let Ok(record) = record else {
            note(&("bad record", count.min(3)));
            return false;
        };
        count += 1;
        let headers = record.headers().count();
        assert!(headers <= section.len(), "each takes two bytes at least");
        note(&("record", record.key.is_some(), record.value.is_some(), headers.min(3)));
    }
    assert!(count <= header.record_count.max(0));
    count == header.record_count && records.remaining_bytes() == 0
}

fn records(mut bytes: &[u8]) {
    let [count] = take(&mut bytes);
    let header = BatchHeader { record_count: i32::from(count), ..plain() };
    let header = BatchHeader { last_offset_delta: header.record_count.max(1) - 1, ..header };
    if !walk(&header, bytes) {
        return;
    }
    // What was read is built again, and reads the same.
    let mut builder = BatchBuilder::new();
    let originals: Vec<_> = Records::new(&header, bytes).flatten().collect();
    for record in &originals {
        let headers: Vec<_> = record.headers().collect();
        let texts: Option<Vec<_>> = headers
            .iter()
            .map(|header| Some((std::str::from_utf8(header.key).ok()?, header.value)))
            .collect();
        let Some(texts) = texts else { return };
        builder.push(record.timestamp, record.key, record.value, &texts);
    }
    let built = builder.finish(Compression::None);
    let (batch, rest) = Batch::split_first(&built).expect("ours");
    assert!(rest.is_empty() && batch.crc_is_valid());
    for (before, after) in originals.iter().zip(batch.records()) {
        let after = after.expect("ours");
        assert_eq!((before.key, before.value), (after.key, after.value));
        assert_eq!(before.timestamp, after.timestamp);
        assert!(before.headers().eq(after.headers()));
    }
}

fn plain() -> BatchHeader {
    let built = BatchBuilder::new().finish(Compression::None);
    BatchHeader::parse(&built).expect("an empty batch")
}

/// The way of a produce; the first byte chooses the topic's rules.
fn admission(mut bytes: &[u8]) {
    let [options] = take(&mut bytes);
    let rules = ProduceRules {
        now: Timestamp(NOW),
        max_message_bytes: 12 << 10,
        compacted: options & 1 != 0,
        timestamp_type: match options & 2 {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: if options & 4 != 0 { 1000 } else { i64::MAX },
        timestamp_after_max_ms: 3_600_000,
        compression: match options >> 3 & 7 {
            0 => None,
            number => Compression::from_number(i16::from(number) - 1),
        },
        window_bytes_max: 1 << 20,
    };
    let mut batch = bytes.to_vec();
    if options & 0x80 == 0 {
        mend(&mut batch);
    }
    let valid = validate_produce(&batch, &rules);
    note(&valid.map(|header| header.attributes));
    let mut sent = batch.clone();
    match admit_produce(&mut sent, &rules, &mut Vec::new()) {
        Err(rejection) => {
            note(&("refused", rejection));
            // Admission mends what validation refuses, never the other way round, save that the
            // batch may grow too large in the topic's codec.
            assert!(valid.is_err() || rules.compression.is_some(), "{rejection:?}");
        }
        Ok(admitted) => {
            let stored = admitted.rewritten.as_deref().unwrap_or(&sent);
            let same = validate_produce(stored, &rules);
            assert_eq!(same, Ok(admitted.header), "what is stored is as good as what is asked for");
            let (batch, rest) = Batch::split_first(stored).expect("it was admitted");
            assert!(rest.is_empty() && batch.crc_is_valid());
            let section = decompress(&batch, rules.window_bytes_max).expect("it was admitted");
            assert!(walk(batch.header(), &section), "consumers read what was admitted");
            let codec = rules.compression.or(batch.compression());
            assert_eq!(batch.compression(), codec);
        }
    }
}
