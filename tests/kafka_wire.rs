//! Kafka's protocol, message by message: style.md §6, "model".
//!
//! Three judges. `schema` interprets Kafka's definitions, makes values that fill every field of a
//! version and writes their bytes; the crate `kafka-protocol` reads and writes the same bytes in
//! the versions it knows; and `vectors.txt` holds what Kafka's own classes wrote (by
//! `tests/kafka_wire/Vectors.java`), which judges `schema`. The codec must read every value out of
//! those bytes, field by field, and write the same bytes again.

#[path = "kafka_wire/frames.rs"]
mod frames;
#[path = "kafka_wire/hostile.rs"]
mod hostile;
#[macro_use]
#[path = "kafka_wire/messages.rs"]
mod messages;
#[path = "kafka_wire/schema.rs"]
mod schema;
#[path = "kafka_wire/shown.rs"]
mod shown;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use odradek::wire::kafka::{self, ApiKey, Frame, KafkaError, Message};
use schema::{Fill, Schema, Seed, Value};

/// What our codec made of a message: what it decoded, and the bytes it makes of that.
struct Outcome {
    shown: String,
    again: Vec<u8>,
}

fn through<'a, M: Message<'a> + std::fmt::Debug>(
    version: i16,
    bytes: &'a [u8],
) -> Result<Outcome, KafkaError> {
    let message = M::decode(version, bytes)?;
    let mut frame = Frame::new();
    message.encode(version, &mut frame);
    assert!(frame.is_whole(), "what was decoded has no gaps");
    Ok(Outcome { shown: format!("{message:?}"), again: frame.into_parts().0 })
}

macro_rules! messages {
    ($($module:ident: $request:ident, $response:ident;)*) => {
        /// Decodes and encodes the message of this name.
        fn ours(name: &str, version: i16, bytes: &[u8]) -> Result<Outcome, KafkaError> {
            match name {
                $(
                    stringify!($request) => {
                        through::<kafka::$module::$request>(version, bytes)
                    }
                    stringify!($response) => {
                        through::<kafka::$module::$response>(version, bytes)
                    }
                )*
                _ => panic!("no message {name}"),
            }
        }
    };
}

every_message!(messages);

/// Decodes and encodes with the other codec; `None` in versions that it does not know.
fn theirs(schema: &Schema, version: i16, bytes: &[u8]) -> Option<Outcome> {
    let lacks = [
        ("ListOffsetsRequest", 11),
        ("ListOffsetsResponse", 11),
        ("InitProducerIdRequest", 6),
        ("OffsetCommitRequest", 10),
        ("OffsetFetchRequest", 10),
        ("DescribeLogDirsRequest", 5),
        ("DescribeLogDirsResponse", 5),
    ];
    if lacks.contains(&(&*schema.name, version)) {
        return None;
    }
    let key = TheirKey::try_from(schema.api).expect("an API they know");
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut again = BytesMut::new();
    let name = &schema.name;
    let shown = if schema.name.ends_with("Request") {
        let message = RequestKind::decode(key, &mut bytes, version);
        let message = message.unwrap_or_else(|e| panic!("{name} {version}: {e:?}"));
        message.encode(&mut again, version).expect("what they decoded");
        format!("{message:?}")
    } else {
        let message = ResponseKind::decode(key, &mut bytes, version);
        let message = message.unwrap_or_else(|e| panic!("{name} {version}: {e:?}"));
        message.encode(&mut again, version).expect("what they decoded");
        format!("{message:?}")
    };
    assert!(bytes.is_empty(), "{name} {version}: they read all of it");
    Some(Outcome { shown, again: again.to_vec() })
}

fn bytes_of(schema: &Schema, value: &Value, version: i16) -> Vec<u8> {
    schema::encode(&schema.fields, value, version, schema.flexible_from <= version)
}

/// The codec reads `value` out of its bytes and writes the same bytes again.
fn check_ours(schema: &Schema, value: &Value, version: i16, bytes: &[u8]) {
    let path = format!("ours: {} {version}", schema.name);
    let outcome = ours(&schema.name, version, bytes);
    let outcome = outcome.unwrap_or_else(|error| panic!("{path}: {error}\n{value:?}"));
    shown::assert_shows(&schema.fields, value, &shown::parse(&outcome.shown), true, &path);
    assert_eq!(outcome.again, bytes, "{path}: {value:?}");
}

fn for_each_version(mut check: impl FnMut(&Schema, i16)) {
    for schema in schema::schemas() {
        for version in schema.versions.0..=schema.versions.1 {
            check(&schema, version);
        }
    }
}

#[test]
fn every_field_of_every_version_agrees_with_the_definitions_and_with_another_codec() {
    let mut seed = Seed(7);
    let mut compared = 0;
    for_each_version(|schema, version| {
        for _ in 0..24 {
            let value = schema::fill(&schema.fields, version, &mut Fill::Random(&mut seed));
            let bytes = bytes_of(schema, &value, version);
            check_ours(schema, &value, version, &bytes);
            let Some(outcome) = theirs(schema, version, &bytes) else { continue };
            let path = format!("theirs: {} {version}", schema.name);
            let shown = shown::parse(&outcome.shown);
            shown::assert_shows(&schema.fields, &value, &shown, false, &path);
            assert_eq!(outcome.again, bytes, "{path}");
            compared += 1;
        }
    });
    assert!(8000 < compared, "{compared} messages were compared with the other codec");
}

#[test]
fn what_kafkas_own_classes_wrote_is_read_and_written_the_same() {
    let mut vectors = BTreeMap::new();
    for line in include_str!("kafka_wire/vectors.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let version: i16 = words[1].parse().expect("a version");
        let byte = |at: usize| u8::from_str_radix(&words[2][at..at + 2], 16).expect("hex");
        let bytes: Vec<u8> = (0..words[2].len()).step_by(2).map(byte).collect();
        vectors.insert((words[0].to_owned(), version), bytes);
    }
    for_each_version(|schema, version| {
        let value = schema::fill(&schema.fields, version, &mut Fill::Plain);
        let bytes = bytes_of(schema, &value, version);
        let path = (schema.name.clone(), version);
        assert_eq!(vectors.remove(&path).as_ref(), Some(&bytes), "the judge is right: {path:?}");
        check_ours(schema, &value, version, &bytes);
    });
    assert!(vectors.is_empty(), "of no message: {vectors:?}");
}

#[test]
fn the_table_of_apis_is_that_of_the_definitions() {
    for schema in schema::schemas() {
        let api = ApiKey::from_number(schema.api).expect("served");
        let (first, last) = schema.versions;
        // Produce is described from 0: semantics.md §3, and librdkafka looks for it.
        let first = if api == ApiKey::Produce { 0 } else { first };
        assert_eq!(api.versions(), first..=last, "{}", schema.name);
        for version in first..=last {
            assert_eq!(api.is_flexible(version), schema.flexible_from <= version, "{version}");
            let key = TheirKey::try_from(schema.api).expect("an API they know");
            let request_header = 1 + i16::from(api.is_flexible(version));
            assert_eq!(key.request_header_version(version), request_header, "{}", schema.name);
            let response_header = i16::from(api.has_flexible_response_header(version));
            assert_eq!(key.response_header_version(version), response_header, "{}", schema.name);
        }
    }
    assert_eq!(schema::schemas().len(), 2 * ApiKey::ALL.len());
}
