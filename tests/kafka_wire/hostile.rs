//! Bytes that no client of good will sends: refused, without panic and without memory.

use std::fs;

use odradek::ids::{NodeId, Partition};
use odradek::limits;
use odradek::wire::kafka::api_versions::ApiVersionsRequest;
use odradek::wire::kafka::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use odradek::wire::kafka::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use odradek::wire::kafka::describe_groups::DescribeGroupsRequest;
use odradek::wire::kafka::describe_topic_partitions::{
    DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use odradek::wire::kafka::metadata::MetadataRequest;
use odradek::wire::kafka::{ApiKey, Expected, Frame, KafkaError, Message, RequestHeader};

use crate::schema::{self, Fill, Schema, Seed};
use crate::{bytes_of, for_each_version, ours};

/// What hostile counts, lengths and varints look like, in every width.
const HOSTILE: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x80, 0, 0, 0],
    &[0x7f, 0xff],
    &[0xff, 0xfe],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x1f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0],
    &[0xff; 16],
    &[0; 16],
];

/// Most memory the process ever had mapped, in KiB; a reserved vector counts although untouched.
fn mapped_peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    peak.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

/// Decodes; what is accepted after all must come back the same from its own bytes.
fn decode_whatever(schema: &Schema, version: i16, bytes: &[u8]) -> Result<(), KafkaError> {
    let outcome = ours(&schema.name, version, bytes)?;
    let again = ours(&schema.name, version, &outcome.again);
    let again = again.unwrap_or_else(|error| panic!("{} {version}: {error}", schema.name));
    assert_eq!(outcome.shown, again.shown, "{} {version}: {bytes:02x?}", schema.name);
    assert_eq!(outcome.again, again.again, "{} {version}: {bytes:02x?}", schema.name);
    Ok(())
}

fn expected<T: std::fmt::Debug>(outcome: Result<T, KafkaError>) -> Expected {
    match outcome {
        Err(KafkaError::Malformed { expected, .. }) => expected,
        outcome => panic!("malformed, but: {outcome:?}"),
    }
}

#[test]
fn hostile_counts_at_every_place_are_refused_without_memory() {
    let before = mapped_peak_kib();
    for_each_version(|schema, version| {
        let value = schema::fill(&schema.fields, version, &mut Fill::Plain);
        let bytes = bytes_of(schema, &value, version);
        for at in 0..bytes.len() {
            for hostile in HOSTILE {
                // In place of what is there, and squeezed in.
                let end = bytes.len().min(at + hostile.len());
                for rest in [&bytes[end..], &bytes[at..]] {
                    let bytes = [&bytes[..at], hostile, rest].concat();
                    let _refused_or_not = decode_whatever(schema, version, &bytes);
                }
            }
        }
    });
    // One vector of 2³¹ elements would be 8 GiB at the least; threads of other tests map some.
    let grown = mapped_peak_kib() - before;
    assert!(grown < 1 << 20, "{grown} KiB more were mapped");
}

#[test]
fn a_count_beyond_the_bytes_left_is_refused_before_the_first_element_is_read() {
    // Three names take at least six bytes; the first of them would even be there.
    let body = [0, 0, 0, 3, 0, 2, b'a', b'b', 0];
    let error = MetadataRequest::decode(0, &body).expect_err("two elements are missing");
    let KafkaError::Malformed { place, expected, .. } = error else { panic!("{error:?}") };
    assert_eq!((place.structure, place.field), ("MetadataRequest", "topics"));
    assert_eq!(expected, Expected::MoreBytes);
}

#[test]
fn a_message_cut_anywhere_is_refused_and_bytes_behind_it_are_ignored() {
    for_each_version(|schema, version| {
        let value = schema::fill(&schema.fields, version, &mut Fill::Plain);
        let mut bytes = bytes_of(schema, &value, version);
        for end in 0..bytes.len() {
            let outcome = ours(&schema.name, version, &bytes[..end]).map(|outcome| outcome.shown);
            let expected = expected(outcome);
            assert_eq!(expected, Expected::MoreBytes, "{} {version} to {end}", schema.name);
        }
        let exact = ours(&schema.name, version, &bytes).map(|outcome| outcome.shown);
        bytes.extend([0, 0xff, 1]);
        let longer = ours(&schema.name, version, &bytes).map(|outcome| outcome.shown);
        assert_eq!(longer, exact, "{} {version}", schema.name);
    });
}

#[test]
fn librdkafkas_request_for_all_topics_is_understood() {
    // It (2.15) writes the null array of topics as four zeros in the versions where one is
    // meant, so that three bytes are too many. Kafka ignores them; we closed the connection, and
    // `kcat -L` of today found no broker.
    let body = [0, 0, 0, 0, 0, 0, 0];
    let request = MetadataRequest::decode(13, &body).expect("the request in its first four bytes");
    assert_eq!(request.topics, None);
}

#[test]
fn twenty_million_tagged_fields_are_refused_at_their_count() {
    let mut fields = vec![0x80, 0xda, 0xc4, 0x09];
    fields.resize(40 << 20, 0);
    let mut body = vec![1, 1];
    body.extend(&fields);
    assert_eq!(expected(ApiVersionsRequest::decode(3, &body)), Expected::FewerTags);
    let mut frame = vec![0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff];
    frame.extend(&fields);
    assert_eq!(expected(RequestHeader::decode(&frame)), Expected::FewerTags);
}

#[test]
fn tagged_fields_of_newer_peers_are_skipped_and_disorder_is_refused() {
    let decode = |tags: &[u8]| {
        let body = [&[2, b'a', 2, b'b'], tags].concat();
        ApiVersionsRequest::decode(3, &body).map(|request| request.client_software_name.to_owned())
    };
    assert_eq!(decode(&[0]), Ok("a".into()));
    assert_eq!(decode(&[2, 0, 0, 9, 3, 1, 2, 3]), Ok("a".into()));
    assert_eq!(expected(decode(&[2, 9, 0, 0, 0])), Expected::AscendingTags);
    assert_eq!(expected(decode(&[2, 9, 0, 9, 0])), Expected::AscendingTags, "twice");
    assert_eq!(expected(decode(&[1, 0, 4, 1, 2, 3])), Expected::MoreBytes);
    assert_eq!(decode(&[1, 0, 2, 1, 2, 3]), Ok("a".into()), "what lies behind is ignored");
    assert_eq!(expected(decode(&[0x80, 0x80, 0x80, 0x80, 0x10])), Expected::Varint);
    assert_eq!(expected(decode(&[0x80, 0x80, 0x80, 0x80, 0x80, 0])), Expected::Varint);
    // A padded varint is longer than it need be, but of 32 bits: Kafka takes it.
    assert_eq!(decode(&[0x80, 0x00]), Ok("a".into()));
}

#[test]
fn many_tiny_elements_are_refused_and_many_real_ones_are_not() {
    let groups = |name: &[u8], count: u32| {
        let mut body = Vec::new();
        let mut rest = count + 1;
        while 0x7f < rest {
            body.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        body.push(rest as u8);
        for _ in 0..count {
            body.push(name.len() as u8 + 1);
            body.extend(name);
        }
        body.extend([0, 0]);
        body
    };
    // Sixteen bytes of memory for each byte of the frame.
    let tiny = groups(b"", 1 << 20);
    assert_eq!(expected(DescribeGroupsRequest::decode(5, &tiny)), Expected::FewerElements);
    let few = groups(b"", (limits::KAFKA_DECODED_BYTES_ALWAYS / size_of::<&str>()) as u32);
    assert!(DescribeGroupsRequest::decode(5, &few).is_ok(), "a small message may be odd");
    let real = groups(b"group-17", 1 << 18);
    assert!(DescribeGroupsRequest::decode(5, &real).is_ok());
    // And none is so large that it may take more than the bound of all.
    let vast =
        groups(b"group-17", (limits::KAFKA_DECODED_BYTES_MAX / size_of::<&str>()) as u32 + 1);
    assert_eq!(expected(DescribeGroupsRequest::decode(5, &vast)), Expected::FewerElements);

    let topics = |count: i32| {
        let mut body = count.to_be_bytes().to_vec();
        for name in 0..count {
            body.extend([0, 7]);
            body.extend(format!("t{name:06}").bytes());
        }
        body
    };
    assert!(MetadataRequest::decode(0, &topics(20_000)).is_ok());
}

#[test]
fn the_largest_messages_that_are_real_are_not_refused() {
    let nodes = || vec![NodeId(1)];
    let partitions = || (0..limits::TOPIC_PARTITIONS_MAX).map(Partition);

    let partition = |partition_index| DescribeTopicPartitionsResponsePartition {
        partition_index,
        replica_nodes: nodes(),
        isr_nodes: nodes(),
        eligible_leader_replicas: Some(nodes()),
        last_known_elr: Some(nodes()),
        offline_replicas: nodes(),
        ..Default::default()
    };
    let topics = vec![DescribeTopicPartitionsResponseTopic {
        partitions: partitions().map(partition).collect(),
        ..Default::default()
    }];
    check_real(0, &DescribeTopicPartitionsResponse { topics, ..Default::default() });

    let assignments = partitions()
        .map(|partition_index| CreatableReplicaAssignment { partition_index, broker_ids: nodes() });
    let topic = CreatableTopic { assignments: assignments.collect(), ..Default::default() };
    check_real(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() });

    let assignments = partitions().map(|_| CreatePartitionsAssignment { broker_ids: nodes() });
    let topics = vec![CreatePartitionsTopic {
        assignments: Some(assignments.collect()),
        ..Default::default()
    }];
    check_real(3, &CreatePartitionsRequest { topics, ..Default::default() });
}

fn check_real<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(version: i16, message: &M) {
    let mut frame = Frame::new();
    message.encode(version, &mut frame);
    let bytes = frame.into_parts().0.leak();
    assert_eq!(M::decode(version, bytes).as_ref(), Ok(message));
}

#[test]
fn noise_and_mutated_messages_do_no_harm() {
    let rounds = if std::env::var_os("CI_LONG").is_some() { 4000 } else { 40 };
    let mut seed = Seed(11);
    let mut accepted = 0;
    let before = mapped_peak_kib();
    for_each_version(|schema, version| {
        for _ in 0..rounds {
            let length = seed.below(64);
            let noise: Vec<u8> = (0..length).map(|_| seed.next() as u8).collect();
            accepted += u32::from(decode_whatever(schema, version, &noise).is_ok());

            let value = schema::fill(&schema.fields, version, &mut Fill::Random(&mut seed));
            let mut bytes = bytes_of(schema, &value, version);
            for _ in 0..=seed.below(3) {
                mutate(&mut bytes, &mut seed);
            }
            accepted += u32::from(decode_whatever(schema, version, &bytes).is_ok());
        }
    });
    assert!(1000 < accepted, "{accepted} mutated messages were still messages");
    let grown = mapped_peak_kib() - before;
    assert!(grown < 1 << 20, "{grown} KiB more were mapped");
}

/// One small change of some bytes.
fn mutate(bytes: &mut Vec<u8>, seed: &mut Seed) {
    let at = seed.below(bytes.len() + 1);
    let end = bytes.len().min(at + seed.below(8));
    match seed.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << seed.below(8),
        1 if at < bytes.len() => bytes[at] = seed.next() as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, HOSTILE[seed.below(HOSTILE.len())].iter().copied())),
        4 => drop(bytes.drain(at..end)),
        _ => {
            let copy = bytes[at..end].to_vec();
            let to = seed.below(bytes.len() + 1);
            drop(bytes.splice(to..to, copy));
        }
    }
}

#[test]
fn every_request_is_refused_in_versions_that_are_not_described() {
    for &api in ApiKey::ALL {
        for version in [-1, api.versions().end() + 1, i16::MAX, i16::MIN] {
            assert_eq!(api.check(version), Err(KafkaError::UnsupportedVersion { api, version }));
        }
    }
    let error = ApiVersionsRequest::decode(5, &[]);
    assert!(matches!(error, Err(KafkaError::UnsupportedVersion { version: 5, .. })));
}
