//! Kafka's door over a real socket, asked in Kafka's own protocol: the APIs it serves in their
//! oldest and newest version, the order of answers, and frames that are none.
//!
//! The client here is the codec's other direction; real clients knock in `interop.rs`.

#[path = "kafka/configs.rs"]
mod configs;
#[path = "kafka/operators.rs"]
mod operators;
#[path = "kafka/producers.rs"]
mod producers;
#[path = "support/running.rs"]
#[expect(dead_code, reason = "other tests use its other door")]
mod running;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use odradek::config::Protocol;
use odradek::ids::{NodeId, Offset, Partition, TopicId};
use odradek::record::{Batch, BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use odradek::wire::kafka::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use odradek::wire::kafka::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use odradek::wire::kafka::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use odradek::wire::kafka::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use odradek::wire::kafka::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use odradek::wire::kafka::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use odradek::wire::kafka::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use odradek::wire::kafka::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use odradek::wire::kafka::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use odradek::wire::kafka::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use odradek::wire::kafka::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use odradek::wire::kafka::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use odradek::wire::kafka::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use odradek::wire::kafka::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use odradek::wire::kafka::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use odradek::wire::kafka::{
    ApiKey, Frame, Message, Records, decode_response_header, encode_request,
};
use running::Running;

const TOPIC: i8 = 2;

fn start(name: &str, shards: usize) -> Running {
    let listeners = "listeners=[\"wire://127.0.0.1:0\",\"kafka://127.0.0.1:0\"]";
    Running::start(name, shards, &[listeners])
}

/// A client's connection.
struct Client {
    socket: TcpStream,
    next_id: i32,
}

impl Client {
    fn to(broker: &Running) -> Client {
        let socket = TcpStream::connect(broker.address_of(Protocol::Kafka)).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Client { socket, next_id: 1 }
    }

    fn send<'a, M: Message<'a>>(&mut self, version: i16, message: &M) -> i32 {
        let mut frame = Frame::new();
        let id = self.next_id;
        self.next_id += 1;
        encode_request(version, id, Some("a test"), message, &mut frame);
        self.socket.write_all(frame.bytes()).expect("sent");
        id
    }

    /// One frame, without its prefix.
    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix)?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.socket.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// The body of the answer to a request.
    fn body(&mut self, api: ApiKey, version: i16, id: i32) -> Vec<u8> {
        let frame = self.receive().expect("answered");
        let (correlation_id, body) = decode_response_header(api, version, &frame).expect("legal");
        assert_eq!(correlation_id, id, "answers come in order");
        body.to_vec()
    }

    fn ask<'a, M: Message<'a>>(&mut self, version: i16, message: &M) -> Vec<u8> {
        let id = self.send(version, message);
        self.body(M::API, version, id)
    }

    /// Whether the broker hung up.
    fn is_closed(&mut self) -> bool {
        self.socket.read(&mut [0]).is_ok_and(|read| read == 0)
    }
}

/// Decodes a response of which nothing is kept but what `look` takes.
fn decode<'a, M: Message<'a>>(version: i16, body: &'a [u8]) -> M {
    M::decode(version, body).expect("the broker speaks the protocol")
}

fn create(client: &mut Client, name: &str, partitions: i32) -> TopicId {
    let topic = CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let body = client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..<_>::default() });
    let response: CreateTopicsResponse<'_> = decode(7, &body);
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
    assert_eq!(response.topics[0].num_partitions, partitions);
    response.topics[0].topic_id
}

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(Timestamp(1_700_000_000_000), None, Some(value.as_bytes()), &[]);
    }
    builder.finish(Compression::None)
}

fn with_all_acks(topic: TopicProduceData<'_>) -> ProduceRequest<'_> {
    let topic_data = vec![topic];
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..ProduceRequest::default() }
}

fn produce(
    client: &mut Client,
    version: i16,
    (name, topic_id): (&str, TopicId),
    batches: &[(i32, &[u8])],
) -> Vec<(ErrorCode, Offset)> {
    let item = |(index, records): &(i32, &'static [u8])| PartitionProduceData {
        index: Partition(*index),
        records: Records::Bytes(records),
    };
    let leaked: Vec<(i32, &'static [u8])> =
        batches.iter().map(|(index, bytes)| (*index, &*bytes.to_vec().leak())).collect();
    let partition_data = leaked.iter().map(item).collect();
    let topic = TopicProduceData { name, topic_id, partition_data };
    let body = client.ask(version, &with_all_acks(topic));
    let response: ProduceResponse<'_> = decode(version, &body);
    let results = &response.responses[0].partition_responses;
    results.iter().map(|result| (result.error_code, result.base_offset)).collect()
}

fn fetch_request<'a>(
    (topic, topic_id): (&'a str, TopicId),
    partitions: &[(i32, i64)],
) -> FetchRequest<'a> {
    let item = |(partition, offset): &(i32, i64)| FetchPartition {
        partition: Partition(*partition),
        fetch_offset: Offset(*offset),
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let partitions = partitions.iter().map(item).collect();
    FetchRequest {
        max_wait_ms: 5000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic { topic, topic_id, partitions }],
        ..FetchRequest::default()
    }
}

/// Values by partition, or the error.
fn values(version: i16, body: &[u8]) -> Vec<Result<Vec<String>, ErrorCode>> {
    let response: FetchResponse<'_> = decode(version, body);
    assert_eq!(response.error_code, ErrorCode::NONE);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let read = |records: Records<'_>| {
        let mut bytes = records.bytes().unwrap_or_default();
        let mut values = Vec::new();
        while !bytes.is_empty() {
            let (batch, rest) = Batch::split_first(bytes).expect("whole batches");
            assert!(batch.crc_is_valid());
            for record in batch.records() {
                let value = record.expect("legal").value.expect("not null");
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
            bytes = rest;
        }
        values
    };
    partitions
        .map(|partition| match partition.error_code {
            ErrorCode::NONE => Ok(read(partition.records)),
            error => Err(error),
        })
        .collect()
}

#[test]
fn versions_are_told_to_whoever_asks() {
    let broker = start("kafka-versions", 1);
    let mut client = Client::to(&broker);
    let mut told = Vec::new();
    for version in 0..=4 {
        let body = client.ask(
            version,
            &ApiVersionsRequest { client_software_name: "test", client_software_version: "1.0" },
        );
        let response: ApiVersionsResponse<'_> = decode(version, &body);
        assert_eq!(response.error_code, ErrorCode::NONE, "version {version}");
        told = response.api_keys;
    }
    let produce = told.iter().find(|range| range.api_key == 0).expect("told");
    assert_eq!((produce.min_version, produce.max_version), (0, 13), "0 for librdkafka's sake");
    assert!(told.windows(2).all(|pair| pair[0].api_key < pair[1].api_key), "each once, in order");
    // A version of the future is answered in version 0, with what is spoken of this API.
    client
        .socket
        .write_all(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 77, 0xff, 0xff, 0])
        .expect("sent");
    let frame = client.receive().expect("answered");
    let (id, body) = decode_response_header(ApiKey::ApiVersions, 0, &frame).expect("legal");
    let response: ApiVersionsResponse<'_> = decode(0, body);
    assert_eq!((id, response.error_code), (77, ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(response.api_keys[0].max_version, 4);
    // A name with control characters would spoil a log.
    let body = client
        .ask(3, &ApiVersionsRequest { client_software_name: "a\nb", client_software_version: "1" });
    assert_eq!(decode::<ApiVersionsResponse<'_>>(3, &body).error_code, ErrorCode::INVALID_REQUEST);
}

#[test]
fn a_record_goes_in_and_comes_out_in_every_version() {
    for shards in [1, 4] {
        let broker = start("kafka-records", shards);
        let mut client = Client::to(&broker);
        let topic = ("sensors", create(&mut client, "sensors", 3));
        let mut next = 0;
        for version in 3..=13 {
            let text = format!("version {version}");
            let bytes = batch(&[&text, "second"]);
            let results = produce(&mut client, version, topic, &[(0, &bytes), (2, &bytes)]);
            assert_eq!(results, [(ErrorCode::NONE, Offset(next)); 2], "version {version}");
            next += 2;
        }
        for version in 4..=18 {
            let request = fetch_request(topic, &[(0, next - 2), (2, next - 4), (1, 0)]);
            let body = client.ask(version, &request);
            let found = values(version, &body);
            assert_eq!(found[0], Ok(vec!["version 13".into(), "second".into()]), "{version}");
            assert_eq!(found[1].as_ref().map(Vec::len), Ok(4), "version {version}");
            assert_eq!(found[2], Ok(Vec::new()), "nothing is there");
        }
        // Too old a version is refused in its own words, and the connection lives.
        let bytes = batch(&["old"]);
        let results = produce(&mut client, 2, topic, &[(0, &bytes)]);
        assert_eq!(results[0].0, ErrorCode::UNSUPPORTED_VERSION);
    }
}

#[test]
fn errors_are_told_by_partition() {
    let broker = start("kafka-errors", 2);
    let mut client = Client::to(&broker);
    let topic = ("known", create(&mut client, "known", 1));
    let good = batch(&["good"]);
    let mut bad = good.clone();
    *bad.last_mut().expect("not empty") ^= 1;
    let results = produce(&mut client, 9, topic, &[(0, &good), (7, &good)]);
    assert_eq!(results[0], (ErrorCode::NONE, Offset(0)));
    assert_eq!(results[1].0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let results = produce(&mut client, 9, topic, &[(0, &bad)]);
    assert_eq!(results[0], (ErrorCode::CORRUPT_MESSAGE, Offset(-1)));
    let nobody = ("nobody", TopicId::default());
    let results = produce(&mut client, 9, nobody, &[(0, &good)]);
    assert_eq!(results[0].0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let results = produce(&mut client, 13, nobody, &[(0, &good)]);
    assert_eq!(results[0].0, ErrorCode::UNKNOWN_TOPIC_ID);
    let body = client.ask(12, &fetch_request(topic, &[(0, 5)]));
    assert_eq!(values(12, &body), [Err(ErrorCode::OFFSET_OUT_OF_RANGE)]);
    let body = client.ask(18, &fetch_request(nobody, &[(0, 0)]));
    assert_eq!(values(18, &body), [Err(ErrorCode::UNKNOWN_TOPIC_ID)]);
    // Only brokers fetch as replicas, and not through this door.
    let replica = FetchRequest { replica_id: NodeId(3), ..fetch_request(topic, &[(0, 0)]) };
    let body = client.ask(12, &replica);
    assert_eq!(values(12, &body), [Err(ErrorCode::INVALID_REQUEST)]);
}

/// KIP-467: from version 8 on a producer hears which records its batch is refused for.
#[test]
fn records_that_spoil_a_batch_are_named() {
    let broker = start("kafka-spoiled", 1);
    let mut client = Client::to(&broker);
    let compact = CreatableTopicConfig { name: "cleanup.policy", value: Some("compact") };
    let topic = CreatableTopic {
        name: "keyed",
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![compact],
        ..CreatableTopic::default()
    };
    client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..<_>::default() });
    let mut builder = BatchBuilder::new();
    for number in 0..5 {
        let key = (number % 3 == 0).then_some(&b"key"[..]);
        builder.push(Timestamp(1_700_000_000_000), key, Some(b"value"), &[]);
    }
    let bytes = builder.finish(Compression::None);
    for version in 3..=12 {
        let records = Records::Bytes(&bytes);
        let item = PartitionProduceData { index: Partition(0), records };
        let topic =
            TopicProduceData { name: "keyed", partition_data: vec![item], ..<_>::default() };
        let body = client.ask(version, &with_all_acks(topic));
        let response: ProduceResponse<'_> = decode(version, &body);
        let result = &response.responses[0].partition_responses[0];
        assert_eq!(result.error_code, ErrorCode::INVALID_RECORD);
        let bad: Vec<i32> = result.record_errors.iter().map(|bad| bad.batch_index).collect();
        assert_eq!(bad, if version < 8 { vec![] } else { vec![1, 2, 4] }, "version {version}");
    }
}

#[test]
fn answers_keep_the_order_of_the_requests() {
    let broker = start("kafka-order", 2);
    let mut client = Client::to(&broker);
    let topic = ("slow", create(&mut client, "slow", 1));
    // The fetch waits for a record; what is asked behind it is answered behind it.
    let first = client.send(12, &fetch_request(topic, &[(0, 0)]));
    let second = client.send(0, &ApiVersionsRequest::default());
    let third = client.send(1, &MetadataRequest::default());
    let mut other = Client::to(&broker);
    let bytes = batch(&["now"]);
    produce(&mut other, 9, topic, &[(0, &bytes)]);
    let body = client.body(ApiKey::Fetch, 12, first);
    assert_eq!(values(12, &body), [Ok(vec!["now".to_owned()])]);
    client.body(ApiKey::ApiVersions, 0, second);
    client.body(ApiKey::Metadata, 1, third);
}

#[test]
fn topics_live_from_create_to_delete() {
    let broker = start("kafka-topics", 2);
    let mut client = Client::to(&broker);
    let first = create(&mut client, "first", 2);
    // An assignment that names this broker is as good as none; any other cannot be met.
    let assigned = |broker: i32| CreatableTopic {
        name: "assigned",
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![CreatableReplicaAssignment {
            partition_index: Partition(0),
            broker_ids: vec![NodeId(broker)],
        }],
        configs: vec![CreatableTopicConfig { name: "retention.ms", value: Some("1000") }],
    };
    for (node, error) in [(9, ErrorCode::INVALID_REPLICA_ASSIGNMENT), (1, ErrorCode::NONE)] {
        let request = CreateTopicsRequest { topics: vec![assigned(node)], ..<_>::default() };
        let body = client.ask(2, &request);
        assert_eq!(decode::<CreateTopicsResponse<'_>>(2, &body).topics[0].error_code, error);
    }
    let grow = CreatePartitionsTopic { name: "first", count: 5, assignments: None };
    let body = client.ask(3, &CreatePartitionsRequest { topics: vec![grow], ..<_>::default() });
    let grown: CreatePartitionsResponse<'_> = decode(3, &body);
    assert_eq!(grown.results[0].error_code, ErrorCode::NONE);
    for version in 0..=13 {
        let body = client.ask(version, &MetadataRequest::default());
        let all: MetadataResponse<'_> = decode(version, &body);
        let found: Vec<_> = all.topics.iter().map(|t| (t.name, t.partitions.len())).collect();
        assert_eq!(found, [(Some("assigned"), 1), (Some("first"), 5)], "version {version}");
        assert_eq!(all.brokers[0].node_id, NodeId(1));
    }
    let by_id = MetadataRequestTopic { topic_id: first, name: None };
    let request = MetadataRequest { topics: Some(vec![by_id]), ..<_>::default() };
    let body = client.ask(12, &request);
    assert_eq!(decode::<MetadataResponse<'_>>(12, &body).topics[0].name, Some("first"));
    let page = DescribeTopicPartitionsRequest { response_partition_limit: 3, ..<_>::default() };
    let body = client.ask(0, &page);
    let page: DescribeTopicPartitionsResponse<'_> = decode(0, &body);
    let cursor = page.next_cursor.expect("there is more");
    assert_eq!((cursor.topic_name, cursor.partition_index), ("first", Partition(2)));
    let by_id = DeleteTopicState { name: None, topic_id: first };
    let request = DeleteTopicsRequest { topics: vec![by_id], ..DeleteTopicsRequest::default() };
    let body = client.ask(6, &request);
    let deleted: DeleteTopicsResponse<'_> = decode(6, &body);
    assert_eq!(deleted.responses[0].error_code, ErrorCode::NONE);
    let request = DeleteTopicsRequest { topic_names: vec!["assigned", "none"], ..<_>::default() };
    let body = client.ask(1, &request);
    let deleted: DeleteTopicsResponse<'_> = decode(1, &body);
    let errors: Vec<_> = deleted.responses.iter().map(|r| (r.name, r.error_code)).collect();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(errors, [(Some("assigned"), ErrorCode::NONE), (Some("none"), unknown)]);
}

#[test]
fn offsets_are_found_and_raised() {
    let broker = start("kafka-offsets", 2);
    let mut client = Client::to(&broker);
    let topic = ("numbers", create(&mut client, "numbers", 1));
    let bytes = batch(&["a", "b", "c"]);
    produce(&mut client, 9, topic, &[(0, &bytes)]);
    let item = |timestamp| ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    let times = [-1, -2, -3, -4, -5, 1_700_000_000_000];
    for (timestamp, offset) in times.into_iter().zip([3, 0, 0, 0, -1, 0]) {
        for version in [1, 5, 11] {
            let topics =
                vec![ListOffsetsTopic { name: "numbers", partitions: vec![item(timestamp)] }];
            let body = client.ask(version, &ListOffsetsRequest { topics, ..<_>::default() });
            let listed: ListOffsetsResponse<'_> = decode(version, &body);
            let found = &listed.topics[0].partitions[0];
            let wanted = (ErrorCode::NONE, Offset(offset));
            assert_eq!((found.error_code, found.offset), wanted, "{timestamp} in {version}");
        }
    }
    let item = DeleteRecordsPartition { partition_index: Partition(0), offset: Offset(-1) };
    let topics = vec![DeleteRecordsTopic { name: "numbers", partitions: vec![item] }];
    let body = client.ask(2, &DeleteRecordsRequest { topics, timeout_ms: 10_000 });
    let trimmed: DeleteRecordsResponse<'_> = decode(2, &body);
    assert_eq!(trimmed.topics[0].partitions[0].low_watermark, Offset(3));
}

#[test]
fn configuration_is_told_and_changed() {
    let broker = start("kafka-configs", 1);
    let mut client = Client::to(&broker);
    create(&mut client, "set", 1);
    let changes = [("retention.ms", 0, Some("5000")), ("segment.bytes", 0, Some("1048576"))];
    let configs = changes.into_iter().map(|(name, config_operation, value)| AlterableConfig {
        name,
        config_operation,
        value,
    });
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "set",
        configs: configs.collect(),
    };
    let unknown = AlterConfigsResource { resource_type: 8, resource_name: "1", ..<_>::default() };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![unknown, resource], ..<_>::default() };
    let body = client.ask(1, &request);
    let altered: IncrementalAlterConfigsResponse<'_> = decode(1, &body);
    let errors: Vec<_> = altered.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(errors, [ErrorCode::INVALID_REQUEST, ErrorCode::NONE]);
    assert_eq!(
        topic_configs(&mut client),
        [("retention.ms", "5000"), ("segment.bytes", "1048576")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    // The old request names all that is to be set: the other key goes back to its default.
    let resource = alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "set",
        configs: vec![alter_configs::AlterableConfig { name: "retention.ms", value: Some("6000") }],
    };
    let body = client.ask(0, &AlterConfigsRequest { resources: vec![resource], ..<_>::default() });
    let replaced: AlterConfigsResponse<'_> = decode(0, &body);
    assert_eq!(replaced.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(topic_configs(&mut client), [("retention.ms".to_owned(), "6000".to_owned())]);
}

/// What the topic `set` sets itself.
fn topic_configs(client: &mut Client) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: "set",
        configuration_keys: None,
    };
    let body =
        client.ask(4, &DescribeConfigsRequest { resources: vec![resource], ..<_>::default() });
    let described: DescribeConfigsResponse<'_> = decode(4, &body);
    let own = described.results[0].configs.iter().filter(|config| config.config_source == 1);
    own.map(|config| (config.name.to_owned(), config.value.expect("told").to_owned())).collect()
}

/// Administrators ask what they may do; Kafka without an authorizer says all that there is, in these
/// numbers, and librdkafka's tests count the operations.
#[test]
fn whoever_asks_is_told_what_is_allowed() {
    let broker = start("kafka-allowed", 1);
    let mut client = Client::to(&broker);
    create(&mut client, "logs", 1);
    for (is_asked, on_topic, on_cluster) in [(false, i32::MIN, i32::MIN), (true, 3576, 8096)] {
        for version in 8..=13 {
            let request = MetadataRequest {
                include_cluster_authorized_operations: is_asked && version < 11,
                include_topic_authorized_operations: is_asked,
                ..MetadataRequest::default()
            };
            let body = client.ask(version, &request);
            let metadata: MetadataResponse<'_> = decode(version, &body);
            assert_eq!(metadata.topics[0].topic_authorized_operations, on_topic);
            let expected = if version < 11 { on_cluster } else { i32::MIN };
            assert_eq!(metadata.cluster_authorized_operations, expected, "version {version}");
        }
        let include_cluster_authorized_operations = is_asked;
        let request =
            DescribeClusterRequest { include_cluster_authorized_operations, ..<_>::default() };
        let body = client.ask(2, &request);
        let cluster: DescribeClusterResponse<'_> = decode(2, &body);
        assert_eq!(cluster.cluster_authorized_operations, on_cluster);
    }
}

#[test]
fn the_broker_describes_itself() {
    let broker = start("kafka-describe", 2);
    let mut client = Client::to(&broker);
    let topic = ("logs", create(&mut client, "logs", 2));
    let bytes = batch(&["one"]);
    produce(&mut client, 9, topic, &[(1, &bytes)]);
    for version in 0..=2 {
        let body = client.ask(version, &DescribeClusterRequest::default());
        let cluster: DescribeClusterResponse<'_> = decode(version, &body);
        assert_eq!((cluster.controller_id, cluster.brokers.len()), (NodeId(1), 1));
    }
    for version in 1..=5 {
        let body = client.ask(version, &DescribeLogDirsRequest { topics: None });
        let dirs: DescribeLogDirsResponse<'_> = decode(version, &body);
        let sizes: Vec<_> = dirs.results[0].topics[0].partitions.iter().collect();
        assert_eq!(sizes.len(), 2);
        assert_eq!(sizes[1].partition_size, bytes.len() as i64, "version {version}");
    }
}

#[test]
fn what_is_not_kafkas_protocol_is_shut_out() {
    let broker = start("kafka-hostile", 1);
    let frames: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        // An API that nobody serves, a version that nobody serves.
        &[0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff],
        // A count of 2^31-1 topics, one of -2, and a client id longer than its frame.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
        &[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0x70, 0, 1, 2],
    ];
    for frame in frames {
        let mut client = Client::to(&broker);
        client.socket.write_all(frame).expect("sent");
        assert!(client.is_closed(), "{frame:?}");
    }
    let mut client = Client::to(&broker);
    create(&mut client, "still-served", 1);
}

#[test]
fn a_flood_of_requests_whose_answers_nobody_reads_is_bounded() {
    let broker = start("kafka-flood", 1);
    let mut flood = Client::to(&broker);
    flood.socket.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
    let mut frame = Frame::new();
    encode_request(0, 1, None, &ApiVersionsRequest::default(), &mut frame);
    let thousand = frame.bytes().repeat(1000);
    let is_stuck = (0..1000).any(|_| flood.socket.write_all(&thousand).is_err());
    assert!(is_stuck, "a million answers are not kept for a client that reads none");
    let mut client = Client::to(&broker);
    create(&mut client, "others-are-served", 1);
}

/// A fetch of `partitions` in a session, and what came back by partition number.
fn fetch_in_session(
    client: &mut Client,
    topic: (&str, TopicId),
    (session_id, session_epoch): (i32, i32),
    partitions: &[(i32, i64)],
) -> (ErrorCode, i32, Vec<(i32, usize)>) {
    let mut request = fetch_request(topic, partitions);
    request.max_wait_ms = 0;
    (request.session_id, request.session_epoch) = (session_id, session_epoch);
    if partitions.is_empty() {
        request.topics.clear();
    }
    let body = client.ask(13, &request);
    let response: FetchResponse<'_> = decode(13, &body);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let told = partitions.map(|partition| {
        let bytes = partition.records.bytes().unwrap_or_default().len();
        (partition.partition_index.0, bytes)
    });
    (response.error_code, response.session_id, told.collect())
}

#[test]
fn a_fetch_session_tells_only_what_is_new() {
    let broker = start("kafka-session", 2);
    let mut client = Client::to(&broker);
    let topic = ("session", create(&mut client, "session", 3));
    let everything = [(0, 0), (1, 0), (2, 0)];
    let (error, id, told) = fetch_in_session(&mut client, topic, (0, 0), &everything);
    assert_eq!((error, told.len()), (ErrorCode::NONE, 3), "the first answer names all");
    assert_ne!(id, 0, "there is a session now");
    let quiet = fetch_in_session(&mut client, topic, (id, 1), &[]);
    assert_eq!(quiet, (ErrorCode::NONE, id, vec![]), "nothing happened, nothing is told");
    let bytes = batch(&["news"]);
    produce(&mut client, 9, topic, &[(1, &bytes)]);
    let news = fetch_in_session(&mut client, topic, (id, 2), &[]);
    assert_eq!(news, (ErrorCode::NONE, id, vec![(1, bytes.len())]));
    // The client has read it and says so; the other partitions need no mention.
    let quiet = fetch_in_session(&mut client, topic, (id, 3), &[(1, 1)]);
    assert_eq!(quiet, (ErrorCode::NONE, id, vec![(1, 0)]), "what is asked anew is told anew");
    let lost = fetch_in_session(&mut client, topic, (id, 9), &[]);
    assert_eq!(lost.0, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let unknown = fetch_in_session(&mut client, topic, (id + 7, 1), &[]);
    assert_eq!(unknown.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    // Another connection knows nothing of it.
    let mut other = Client::to(&broker);
    let unknown = fetch_in_session(&mut other, topic, (id, 4), &[]);
    assert_eq!(unknown.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    // Closing it goes back to naming all.
    let (error, none, told) = fetch_in_session(&mut client, topic, (id, -1), &everything);
    assert_eq!((error, none, told.len()), (ErrorCode::NONE, 0, 3));
    let closed = fetch_in_session(&mut client, topic, (id, 4), &[]);
    assert_eq!(closed.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}
