//! Our record batches against those of the `kafka-protocol` crate, an independent codec, byte for
//! byte and in both directions, on generated batches and with every codec.
//!
//! The codecs of this file are not ours either: `lz4_flex` and `ruzstd` read and write whole
//! frames here, and xerial's framing is written anew. Read semantics.md 2.1 before editing.

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as reference;
use odradek::ids::{LeaderEpoch, Offset};
use odradek::record::{
    Batch, BatchBuilder, BatchHeader, Compression, HEADER_BYTES, ProduceRules, Records,
    TimestampType, admit_produce, decompress, stamp, validate_produce,
};
use odradek::time::Timestamp;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes_or_null(bytes_max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Vec::new())),
        6 => prop::collection::vec(any::<u8>(), 0..bytes_max).prop_map(Some),
        // Something for the codecs to find.
        2 => (any::<u8>(), 0..4 * bytes_max).prop_map(|(byte, count)| Some(vec![byte; count])),
    ]
}

fn sample(timestamps: impl Strategy<Value = i64>) -> impl Strategy<Value = Sample> {
    let header = ("[a-zé]{0,6}", bytes_or_null(20));
    let headers = prop::collection::vec(header, 0..4);
    (timestamps, bytes_or_null(40), bytes_or_null(300), headers)
        .prop_map(|(timestamp, key, value, headers)| Sample { timestamp, key, value, headers })
}

/// Samples that the reference can hold: it keeps headers in a map, and counts timestamps from the
/// smallest, while Kafka's own builder (and ours) counts from the first.
fn comparable() -> impl Strategy<Value = Vec<Sample>> {
    let samples = prop::collection::vec(sample(-1..2_000_000_000_000i64), 1..20);
    samples.prop_map(|mut samples| {
        for sample in &mut samples {
            sample.headers.sort();
            sample.headers.dedup_by(|a, b| a.0 == b.0);
        }
        samples.sort_by_key(|sample| sample.timestamp);
        samples
    })
}

fn ours(samples: &[Sample], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for sample in samples {
        let headers: Vec<_> =
            sample.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let (key, value) = (sample.key.as_deref(), sample.value.as_deref());
        builder.push(Timestamp(sample.timestamp), key, value, &headers);
    }
    let bytes = builder.size_bytes();
    let batch = builder.finish(codec);
    assert!(codec != Compression::None || batch.len() == bytes);
    batch
}

/// What the reference's records have beside the samples.
#[derive(Clone, Copy, Debug)]
struct Producer {
    base_offset: i64,
    leader_epoch: i32,
    id: i64,
    epoch: i16,
    base_sequence: i32,
    transactional: bool,
}

const NOBODY: Producer = Producer {
    base_offset: 0,
    leader_epoch: -1,
    id: -1,
    epoch: -1,
    base_sequence: -1,
    transactional: false,
};

fn theirs(samples: &[Sample], producer: Producer, codec: Compression) -> Vec<u8> {
    let record = |(place, sample): (usize, &Sample)| reference::Record {
        transactional: producer.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: producer.leader_epoch,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        timestamp_type: reference::TimestampType::Creation,
        offset: producer.base_offset + place as i64,
        sequence: producer.base_sequence.wrapping_add(place as i32),
        timestamp: sample.timestamp,
        key: sample.key.clone().map(Bytes::from),
        value: sample.value.clone().map(Bytes::from),
        headers: sample
            .headers
            .iter()
            .map(|(key, value)| {
                (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from))
            })
            .collect(),
    };
    let records: Vec<_> = samples.iter().enumerate().map(record).collect();
    let compression = match codec {
        Compression::None => reference::Compression::None,
        Compression::Gzip => reference::Compression::Gzip,
        Compression::Snappy => reference::Compression::Snappy,
        Compression::Lz4 => reference::Compression::Lz4,
        Compression::Zstd => reference::Compression::Zstd,
    };
    let options = reference::RecordEncodeOptions { version: 2, compression };
    let mut out = BytesMut::new();
    let pack = |section: &mut BytesMut, out: &mut BytesMut, _| {
        out.extend_from_slice(&pack(section, codec));
        Ok(())
    };
    reference::RecordBatchEncoder::encode_with_custom_compression(
        &mut out,
        &records,
        &options,
        Some(pack),
    )
    .expect("the reference encodes what it can hold");
    out.to_vec()
}

fn read_by_reference(batch: &[u8]) -> Vec<reference::Record> {
    let unpack = |section: &mut Bytes, compression| {
        let codec = match compression {
            reference::Compression::None => Compression::None,
            reference::Compression::Gzip => Compression::Gzip,
            reference::Compression::Snappy => Compression::Snappy,
            reference::Compression::Lz4 => Compression::Lz4,
            reference::Compression::Zstd => Compression::Zstd,
        };
        Ok(Bytes::from(unpack(section, codec)))
    };
    let mut bytes = Bytes::copy_from_slice(batch);
    let set =
        reference::RecordBatchDecoder::decode_with_custom_compression(&mut bytes, Some(unpack))
            .expect("the reference reads our batch");
    assert!(bytes.is_empty());
    set.records
}

fn pack(section: &[u8], codec: Compression) -> Vec<u8> {
    match codec {
        Compression::None => section.to_vec(),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(section).expect("a Vec takes all");
            encoder.finish().expect("a Vec takes all")
        }
        Compression::Snappy => {
            let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            // Other blocks than ours: any size is legal.
            for block in section.chunks(1000) {
                let packed = snap::raw::Encoder::new().compress_vec(block).expect("small");
                out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
                out.extend_from_slice(&packed);
            }
            out
        }
        Compression::Lz4 => {
            // Every part of the format that Kafka reads: checksums, content size, larger blocks.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max256KB)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(section.len() as u64));
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(section).expect("a Vec takes all");
            encoder.finish().expect("a Vec takes all")
        }
        Compression::Zstd => {
            ruzstd::encoding::compress_to_vec(section, ruzstd::encoding::CompressionLevel::Fastest)
        }
    }
}

fn unpack(section: &[u8], codec: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match codec {
        Compression::None => return section.to_vec(),
        Compression::Gzip => flate2::read::GzDecoder::new(section).read_to_end(&mut out),
        Compression::Snappy => {
            let (header, mut blocks) = section.split_at(16);
            assert_eq!(header, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
            while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
                let (block, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                out.extend(snap::raw::Decoder::new().decompress_vec(block).expect("a block"));
                blocks = rest;
            }
            return out;
        }
        Compression::Lz4 => lz4_flex::frame::FrameDecoder::new(section).read_to_end(&mut out),
        Compression::Zstd => {
            ruzstd::decoding::StreamingDecoder::new(section).expect("a frame").read_to_end(&mut out)
        }
    };
    read.expect("a whole frame");
    out
}

fn parse(bytes: &[u8]) -> Batch<'_> {
    let (batch, rest) = Batch::split_first(bytes).expect("a batch");
    assert!(rest.is_empty() && batch.crc_is_valid());
    batch
}

/// Reads a batch with our reader and holds it against the samples.
fn assert_holds(bytes: &[u8], samples: &[Sample]) {
    let batch = parse(bytes);
    let header = batch.header();
    let section = decompress(&batch, 1 << 24).expect("sound");
    let mut records = Records::new(header, &section);
    for (place, sample) in samples.iter().enumerate() {
        let record = records.next().expect("as many records").expect("sound");
        assert_eq!(record.offset, Offset(header.base_offset.0 + place as i64));
        assert_eq!(record.offset_delta, place as i32);
        assert_eq!(record.timestamp, Timestamp(sample.timestamp));
        assert_eq!(record.key, sample.key.as_deref());
        assert_eq!(record.value, sample.value.as_deref());
        let headers: Vec<_> = record.headers().map(|h| (h.key, h.value)).collect();
        let expected: Vec<_> =
            sample.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
        assert_eq!(headers, expected);
    }
    assert!(records.next().is_none());
    assert_eq!(records.remaining_bytes(), 0);
}

fn rules(timestamp_type: TimestampType, compression: Option<Compression>) -> ProduceRules {
    ProduceRules {
        now: Timestamp(1_000_000_000_000),
        max_message_bytes: 1 << 24,
        compacted: false,
        timestamp_type,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression,
        window_bytes_max: 1 << 26,
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn we_write_what_kafka_protocol_writes(samples in comparable()) {
        let plain = ours(&samples, Compression::None);
        prop_assert_eq!(&plain, &theirs(&samples, NOBODY, Compression::None));
        for codec in Compression::ALL {
            let batch = ours(&samples, codec);
            let records = read_by_reference(&batch);
            prop_assert_eq!(records.len(), samples.len());
            for (record, sample) in records.iter().zip(&samples) {
                prop_assert_eq!(record.timestamp, sample.timestamp);
                prop_assert_eq!(record.key.as_deref(), sample.key.as_deref());
                prop_assert_eq!(record.value.as_deref(), sample.value.as_deref());
                prop_assert_eq!(record.headers.len(), sample.headers.len());
            }
            // Under the codec lie the very bytes of the plain batch.
            let section = unpack(parse(&batch).records_section(), codec);
            prop_assert_eq!(&section, &plain[HEADER_BYTES..]);
        }
    }

    #[test]
    fn we_read_what_kafka_protocol_writes(
        samples in comparable(),
        base_offset in 0..1i64 << 50,
        leader_epoch in -1..i32::MAX,
        producer in (0..i64::MAX, 0..i16::MAX, 0..i32::MAX - 100),
        transactional in any::<bool>(),
    ) {
        let (id, epoch, base_sequence) = producer;
        let producer = Producer {
            base_offset, leader_epoch, id, epoch, base_sequence, transactional,
        };
        for codec in Compression::ALL {
            let mut batch = theirs(&samples, producer, codec);
            assert_holds(&batch, &samples);
            let header = *parse(&batch).header();
            prop_assert_eq!(header.base_offset, Offset(base_offset));
            prop_assert_eq!(header.leader_epoch, LeaderEpoch(leader_epoch));
            prop_assert_eq!(header.producer_id, id);
            prop_assert_eq!(header.producer_epoch, epoch);
            prop_assert_eq!(header.base_sequence, base_sequence);
            prop_assert_eq!(header.attributes.is_transactional(), transactional);
            prop_assert_eq!(header.attributes.compression(), Some(codec));
            prop_assert_eq!(header.record_count, samples.len() as i32);
            prop_assert_eq!(header.next_offset(), Offset(base_offset + samples.len() as i64));
            prop_assert_eq!(&header.to_bytes()[..], &batch[..HEADER_BYTES]);
            // What a client sends counts from 0, and is sound.
            stamp(&mut batch, Offset::ZERO, LeaderEpoch::NONE);
            let found = validate_produce(&batch, &rules(TimestampType::CreateTime, None));
            prop_assert_eq!(found, BatchHeader::parse(&batch).map_err(|_| unreachable!()));
        }
    }

    #[test]
    fn any_timestamps_and_repeated_header_keys_come_back(
        samples in prop::collection::vec(sample(prop_oneof![
            any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(-1), -1000..1000i64,
        ]), 1..10),
        repeat in any::<bool>(),
    ) {
        let mut samples = samples;
        if repeat {
            for sample in &mut samples {
                let again = sample.headers.clone();
                sample.headers.extend(again);
            }
        }
        let max_timestamp = samples.iter().map(|sample| sample.timestamp).max();
        for codec in Compression::ALL {
            let batch = ours(&samples, codec);
            assert_holds(&batch, &samples);
            prop_assert_eq!(Some(parse(&batch).header().max_timestamp.0), max_timestamp);
        }
    }

    #[test]
    fn admission_repairs_the_maximum_and_recompresses(
        samples in comparable(),
        source in 0..5usize,
        target in 0..5usize,
        lie in any::<i64>(),
    ) {
        let (source, target) = (Compression::ALL[source], Compression::ALL[target]);
        let sound = theirs(&samples, NOBODY, source);
        let mut batch = sound.clone();
        odradek::record::stamp_max_timestamp(&mut batch, Timestamp(lie));
        let rules = rules(TimestampType::CreateTime, Some(target));
        let admitted = admit_produce(&mut batch, &rules, &mut Vec::new()).expect("sound but for the maximum");
        let stored = admitted.rewritten.as_deref().unwrap_or(&batch);
        prop_assert_eq!(admitted.rewritten.is_some(), source != target);
        if source == target {
            prop_assert_eq!(stored, &sound[..]);
        } else {
            prop_assert_eq!(stored, &ours(&samples, target)[..]);
        }
        let stored_header = *parse(stored).header();
        prop_assert_eq!(admitted.header, stored_header);
        prop_assert_eq!(validate_produce(stored, &rules), Ok(admitted.header));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        samples in comparable(),
        codec in 0..5usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        // The CRC is made right again, as an attacker would: the records themselves must hold.
        let mut batch = ours(&samples, Compression::ALL[codec]);
        for (place, byte) in flips {
            let at = HEADER_BYTES + place.index(batch.len() - HEADER_BYTES);
            batch[at] ^= byte;
        }
        let max_timestamp = parse_unchecked(&batch).header().max_timestamp;
        odradek::record::stamp_max_timestamp(&mut batch, max_timestamp);
        let found = validate_produce(&batch, &rules(TimestampType::LogAppendTime, None));
        if found.is_ok() {
            let section = decompress(&parse(&batch), 1 << 26).expect("it was valid");
            let mut records = Records::new(parse(&batch).header(), &section);
            prop_assert!(records.all(|record| record.is_ok()));
        }
    }
}

fn parse_unchecked(bytes: &[u8]) -> Batch<'_> {
    Batch::split_first(bytes).expect("a batch").0
}
