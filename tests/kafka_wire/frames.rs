//! Headers, whole frames, and frames with gaps.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ConsumerProtocolAssignment as TheirAssignment,
    ConsumerProtocolSubscription as TheirSubscription, RequestHeader as TheirHeader,
    ResponseHeader as TheirResponseHeader,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, StrBytes, decode_request_header_from_buffer,
    encode_request_header_into_buffer,
};
use odradek::ids::{Offset, Partition};
use odradek::wire::ErrorCode;
use odradek::wire::kafka::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use odradek::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use odradek::wire::kafka::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use odradek::wire::kafka::metadata::{MetadataRequest, MetadataResponse, MetadataResponseTopic};
use odradek::wire::kafka::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use odradek::wire::kafka::{
    self, ApiKey, Expected, Frame, KafkaError, Message, Records, Request, RequestHeader, Segment,
    decode_response_header,
};

#[test]
fn request_headers_agree_with_another_codec() {
    let mut frame = Frame::new();
    for &api in ApiKey::ALL {
        // Kafka's client and the other codec know no Produce before 3.
        for version in api.versions().filter(|version| api != ApiKey::Produce || 3 <= *version) {
            for client_id in [None, Some(""), Some("sensor\n")] {
                let header = TheirHeader::default()
                    .with_request_api_key(api.number())
                    .with_request_api_version(version)
                    .with_correlation_id(-7)
                    .with_client_id(client_id.map(StrBytes::from_static_str));
                let mut theirs = BytesMut::new();
                encode_request_header_into_buffer(&mut theirs, &header).expect("their header");
                let (ours, rest) = RequestHeader::decode(&theirs).expect("a header");
                let expected = RequestHeader { api, version, correlation_id: -7, client_id };
                assert_eq!((ours, rest), (expected, &[][..]));
            }
        }
    }
    let body = ApiVersionsRequest { client_software_name: "odradek", ..Default::default() };
    kafka::encode_request(3, 9, Some("me"), &body, &mut frame);
    let mut theirs = Bytes::copy_from_slice(&frame.bytes()[4..]);
    let header = decode_request_header_from_buffer(&mut theirs).expect("our header");
    assert_eq!((header.request_api_key, header.request_api_version), (18, 3));
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (9, Some("me")));
    let (header, rest) = RequestHeader::decode(&frame.bytes()[4..]).expect("a header");
    assert_eq!(Request::decode(&header, rest), Ok(Request::ApiVersions(body)));
}

#[test]
fn response_headers_agree_with_another_codec() {
    let mut frame = Frame::new();
    let check = |api: ApiKey, version: i16, frame: &Frame| {
        let bytes = &frame.bytes()[4..];
        assert_eq!(frame.bytes()[..4], (bytes.len() as u32).to_be_bytes(), "the prefix");
        let mut theirs = Bytes::copy_from_slice(bytes);
        let header_version = i16::from(api.has_flexible_response_header(version));
        let header = TheirResponseHeader::decode(&mut theirs, header_version);
        assert_eq!(header.expect("our header").correlation_id, 5);
        let (correlation_id, body) = decode_response_header(api, version, bytes).expect("a header");
        assert_eq!((correlation_id, body), (5, &theirs[..]));
        body.to_vec()
    };
    for version in ApiKey::ApiVersions.versions() {
        kafka::encode_response(version, 5, &ApiVersionsResponse::default(), &mut frame);
        check(ApiKey::ApiVersions, version, &frame);
    }
    for version in ApiKey::Metadata.versions() {
        kafka::encode_response(version, 5, &MetadataResponse::default(), &mut frame);
        let body = check(ApiKey::Metadata, version, &frame);
        assert_eq!(MetadataResponse::decode(version, &body), Ok(MetadataResponse::default()));
    }
}

#[test]
fn a_version_of_the_future_still_has_a_header() {
    // ApiVersions 99 must be answered with version 0 and error 35 (KIP-511), and so be understood.
    let frame = [0, 18, 0, 99, 0, 0, 0, 1, 0, 1, b'x', 0, 1, 2, 3];
    let (header, body) = RequestHeader::decode(&frame).expect("a header");
    assert_eq!(
        (header.api, header.version, header.client_id),
        (ApiKey::ApiVersions, 99, Some("x"))
    );
    assert_eq!(body, [1, 2, 3]);
    let error = KafkaError::UnsupportedVersion { api: ApiKey::ApiVersions, version: 99 };
    assert_eq!(Request::decode(&header, body), Err(error));
    let unknown = RequestHeader::decode(&[0, 7, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(unknown, Err(KafkaError::UnknownApi(7)), "ControlledShutdown");
}

#[test]
fn produce_before_3_is_understood_well_enough_to_be_refused() {
    // acks 1, timeout 9, topic "t", partition 4, two bytes: librdkafka's oldest layout.
    let body = [0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2, 8, 8];
    for version in 0..3 {
        let request = ProduceRequest::decode(version, &body).expect("Produce");
        let partition = &request.topic_data[0].partition_data[0];
        assert_eq!((request.acks, request.topic_data[0].name), (1, "t"));
        assert_eq!((partition.index, partition.records.bytes()), (Partition(4), Some(&[8, 8][..])));
    }
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: "t",
            partition_responses: vec![PartitionProduceResponse {
                index: Partition(4),
                error_code: ErrorCode::UNSUPPORTED_VERSION,
                base_offset: Offset(-1),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let head = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 35];
    for (version, tail) in [(0, &[0xff; 8][..]), (1, &[0xff; 8]), (2, &[0xff; 16])] {
        let mut frame = Frame::new();
        response.encode(version, &mut frame);
        let throttle: &[u8] = if version == 0 { &[] } else { &[0; 4] };
        assert_eq!(frame.bytes(), [&head, tail, throttle].concat(), "{version}");
    }
}

fn fetched<'a>(records: &[Records<'a>]) -> FetchResponse<'a> {
    let partition = |(index, records)| PartitionData {
        partition_index: Partition(index),
        high_watermark: Offset(99),
        records,
        ..Default::default()
    };
    let topic = |records: &[Records<'a>]| FetchableTopicResponse {
        topic: "t",
        partitions: (0..).zip(records.iter().copied()).map(partition).collect(),
        ..Default::default()
    };
    FetchResponse { responses: records.chunks(2).map(topic).collect(), ..Default::default() }
}

#[test]
fn gaps_stand_for_exactly_the_bytes_that_fill_them() {
    let batches: Vec<Vec<u8>> = (0..7_u8).map(|n| vec![n; usize::from(n) * 40]).collect();
    for version in ApiKey::Fetch.versions() {
        for pattern in 0..1_u32 << batches.len() {
            let is_gap = |at: usize| pattern & (1 << at) != 0;
            let whole: Vec<Records> = batches.iter().map(|b| Records::Bytes(b)).collect();
            let gaps = batches.iter().enumerate().map(|(at, batch)| match is_gap(at) {
                true => Records::Gap(batch.len() as u32),
                false => Records::Bytes(batch),
            });
            let gaps: Vec<Records> = gaps.collect();
            let (mut expected, mut frame) = (Frame::new(), Frame::new());
            kafka::encode_response(version, 1, &fetched(&whole), &mut expected);
            kafka::encode_response(version, 1, &fetched(&gaps), &mut frame);
            let mut fill =
                batches.iter().enumerate().filter(|(at, b)| is_gap(*at) && !b.is_empty());
            let mut sent = Vec::new();
            for segment in frame.segments() {
                match segment {
                    Segment::Bytes(bytes) => sent.extend_from_slice(bytes),
                    Segment::Gap(bytes) => {
                        let (_, batch) = fill.next().expect("a batch for each gap");
                        assert_eq!(batch.len(), bytes as usize);
                        sent.extend_from_slice(batch);
                    }
                }
            }
            assert!(fill.next().is_none(), "every batch is sent");
            assert_eq!(sent, expected.bytes(), "version {version}, pattern {pattern:b}");
            assert_eq!(frame.total_bytes(), sent.len());
            assert_eq!(frame.is_whole(), frame.segments().count() == 1);
        }
    }
}

#[test]
fn null_is_read_and_written_only_where_the_version_has_it() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    for (version, bytes) in [(0, [0_u8; 4]), (1, [0xff; 4])] {
        let mut frame = Frame::new();
        all.encode(version, &mut frame);
        assert_eq!(frame.bytes(), bytes, "{version}");
    }
    assert_eq!(MetadataRequest::decode(1, &[0xff; 4]).map(|all| all.topics), Ok(None));
    let error = MetadataRequest::decode(0, &[0xff; 4]).expect_err("no null in version 0");
    let KafkaError::Malformed { api, place, expected } = error else { panic!("{error:?}") };
    assert_eq!((api, place.structure), (Some(ApiKey::Metadata), "MetadataRequest"));
    assert_eq!((place.field, expected), ("topics", Expected::NotNull));
    assert_eq!(error.to_string(), "MetadataRequest.topics: expected a value, not null");

    let topics = vec![MetadataResponseTopic { name: None, ..Default::default() }];
    let nameless = MetadataResponse { topics, ..Default::default() };
    for version in 9..=13 {
        let mut frame = Frame::new();
        nameless.encode(version, &mut frame);
        let decoded = MetadataResponse::decode(version, frame.bytes()).expect("what we wrote");
        let name = if version < 12 { Some("") } else { None };
        assert_eq!(decoded.topics[0].name, name, "{version}");
    }
}

#[test]
fn text_is_cut_at_the_longest_that_the_format_has() {
    for text in ["x".repeat(40_000), "é".repeat(20_000), "語".repeat(20_000)] {
        let error_message = Some(&*text);
        let response = PartitionProduceResponse { error_message, ..Default::default() };
        let responses = vec![TopicProduceResponse {
            partition_responses: vec![response],
            ..Default::default()
        }];
        let response = ProduceResponse { responses, ..Default::default() };
        for version in [8, 9] {
            let mut frame = Frame::new();
            response.encode(version, &mut frame);
            let decoded = ProduceResponse::decode(version, frame.bytes()).expect("what we wrote");
            let cut = decoded.responses[0].partition_responses[0].error_message;
            let cut = cut.expect("not null");
            assert!(text.starts_with(cut), "{version}");
            assert!((32_765..=32_767).contains(&cut.len()), "{version}: {}", cut.len());
        }
    }
}

#[test]
fn what_consumers_tell_each_other_agrees_with_another_codec() {
    let owned = vec![TopicPartition { topic: "t", partitions: vec![Partition(3), Partition(0)] }];
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t", "u"],
        user_data: Some(&[1, 2]),
        owned_partitions: owned.clone(),
        generation_id: 7,
        rack_id: Some("r"),
    };
    let assignment = ConsumerProtocolAssignment { assigned_partitions: owned, user_data: None };
    for version in 0..=3_i16 {
        let bytes = subscription.encode(version);
        assert_eq!(bytes[..2], version.to_be_bytes());
        let mut theirs = Bytes::copy_from_slice(&bytes[2..]);
        let theirs = TheirSubscription::decode(&mut theirs, version).expect("our bytes");
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).expect("their value");
        assert_eq!(again, bytes[2..]);
        let decoded = ConsumerProtocolSubscription::decode(&bytes).expect("our bytes");
        assert_eq!(decoded.topics, subscription.topics);
        assert_eq!(decoded.generation_id, if version < 2 { -1 } else { 7 });

        let bytes = assignment.encode(version);
        let mut theirs = Bytes::copy_from_slice(&bytes[2..]);
        let theirs = TheirAssignment::decode(&mut theirs, version).expect("our bytes");
        assert_eq!(theirs.assigned_partitions[0].partitions, [3, 0]);
        assert_eq!(ConsumerProtocolAssignment::decode(&bytes), Ok(assignment.clone()));
    }
    // A version of the future appends.
    let mut future = subscription.encode(3);
    future[..2].copy_from_slice(&9_i16.to_be_bytes());
    future.extend([1, 2, 3]);
    assert_eq!(ConsumerProtocolSubscription::decode(&future), Ok(subscription));
    assert!(ConsumerProtocolSubscription::decode(&[0]).is_err());
}
