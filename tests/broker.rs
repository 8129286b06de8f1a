//! One record's way through the whole house: wire, shard, log, journal, ack, fetch; against a
//! broker in this process, over a real socket, with 1 shard and with 4.

#[path = "support/raw_client.rs"]
mod raw_client;

use odradek::config::{Config, Protocol, Sources};
use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::{Batch, BatchBuilder, Compression};
use odradek::runtime::Broker;
use odradek::time::Timestamp;
use odradek::wire::configs::{
    AlterResource, ConfigChange, ConfigResource, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribedConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use odradek::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowTopic,
};
use odradek::wire::create_topics::{
    ConfigEntry, CreateTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse,
};
use odradek::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use odradek::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use odradek::wire::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use odradek::wire::describe_metrics::{DescribeMetricsRequest, DescribeMetricsResponse};
use odradek::wire::fetch::{FetchPartition, FetchRequest, FetchResponse};
use odradek::wire::list_offsets::{
    self, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse,
};
use odradek::wire::metadata::{MetadataRequest, MetadataResponse};
use odradek::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, ErrorCode, TopicRef, frame};
use raw_client::RawClient;

/// A broker on a directory of its own, which goes with it.
struct Running {
    broker: Option<Broker>,
    dir: std::path::PathBuf,
    overrides: Vec<String>,
}

impl Running {
    fn start(name: &str, shards: usize, more: &[&str]) -> Running {
        let dir = std::env::temp_dir()
            .join(format!("odradek-broker-{name}-{shards}-{}", std::process::id()));
        let mut overrides = vec![
            format!("log.dirs=[\"{}\"]", dir.display()),
            "listeners=[\"wire://127.0.0.1:0\"]".to_owned(),
            format!("shards={shards}"),
            "journal.bytes=16777216".to_owned(),
        ];
        overrides.extend(more.iter().map(|more| (*more).to_owned()));
        let mut running = Running { broker: None, dir, overrides };
        running.boot();
        running
    }

    fn boot(&mut self) {
        let sources = Sources { overrides: self.overrides.clone(), ..Sources::default() };
        let config = Config::load(&sources).expect("the test's configuration is legal");
        self.broker = Some(Broker::start(&config).expect("the broker starts"));
    }

    fn restart(&mut self) {
        self.broker.take().expect("running").stop();
        self.boot();
    }

    fn client(&self) -> RawClient {
        let address =
            self.broker.as_ref().expect("running").address(Protocol::Wire).expect("it listens");
        RawClient::connect(address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn create(client: &mut RawClient, name: &str, partition_count: i32) -> ErrorCode {
    let topics =
        vec![CreateTopic { name, partition_count, replication_factor: -1, configs: vec![] }];
    let request = CreateTopicsRequest { timeout_ms: 5000, validate_only: false, topics };
    let body = client.call(ApiKey::CreateTopics, &request, &[]);
    frame::decode::<CreateTopicsResponse<'_>>(&body).expect("decodes").topics[0].error
}

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(Timestamp(1_790_000_000_000), None, Some(value.as_bytes()), &[]);
    }
    builder.finish(Compression::None)
}

fn produce(
    client: &mut RawClient,
    topic: &str,
    partition: i32,
    acks: i8,
    bytes: &[u8],
) -> ProduceResponse {
    let request = ProduceRequest {
        acks,
        timeout_ms: 10_000,
        partitions: vec![ProducePartition {
            topic: TopicRef::Name(topic),
            partition: Partition(partition),
            records_bytes: bytes.len() as u32,
        }],
    };
    let body = client.call(ApiKey::Produce, &request, bytes);
    frame::decode(&body).expect("decodes")
}

fn fetch_request(topic: &str, partitions: &[i32], offset: i64, wait_ms: u32) -> Vec<u8> {
    let partition = |partition: &i32| FetchPartition {
        topic: TopicRef::Name(topic),
        partition: Partition(*partition),
        offset: Offset(offset),
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let request = FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: 8 << 20,
        partitions: partitions.iter().map(partition).collect(),
    };
    postcard::to_allocvec(&request).expect("encodes")
}

/// All values of some partitions from an offset on.
fn fetch(
    client: &mut RawClient,
    topic: &str,
    partitions: &[i32],
    offset: i64,
    wait_ms: u32,
) -> Vec<String> {
    let request = fetch_request(topic, partitions, offset, wait_ms);
    let body = client.call_raw(ApiKey::Fetch, &request);
    let (response, raw) = frame::take::<FetchResponse>(&body).expect("decodes");
    for partition in &response.partitions {
        assert_eq!(partition.error, ErrorCode::NONE);
    }
    let lengths = response.partitions.iter().map(|partition| partition.records_bytes);
    let mut values = Vec::new();
    for mut bytes in frame::split_records(lengths, raw).expect("lengths add up") {
        while !bytes.is_empty() {
            let (batch, rest) = Batch::split_first(bytes).expect("whole batches");
            assert!(batch.crc_is_valid());
            for record in batch.records() {
                let value = record.expect("sound").value.expect("has a value");
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
            bytes = rest;
        }
    }
    values
}

fn with_shards(test: impl Fn(usize)) {
    for shards in [1, 4] {
        test(shards);
    }
}

#[test]
fn a_record_goes_in_is_acknowledged_and_comes_out_and_survives_restarts() {
    with_shards(|shards| {
        let mut running = Running::start("way", shards, &[]);
        let mut client = running.client();
        assert_eq!(create(&mut client, "host.vmstat", 3), ErrorCode::NONE);
        assert_eq!(create(&mut client, "host.vmstat", 3), ErrorCode::TOPIC_ALREADY_EXISTS);
        for partition in 0..3 {
            let first = produce(&mut client, "host.vmstat", partition, -1, &batch(&["a", "b"]));
            assert_eq!(first.partitions[0].error, ErrorCode::NONE);
            assert_eq!(first.partitions[0].base_offset, Offset(0));
            let second = produce(&mut client, "host.vmstat", partition, 1, &batch(&["c"]));
            assert_eq!(second.partitions[0].base_offset, Offset(2));
        }
        let mut values = fetch(&mut client, "host.vmstat", &[0, 1, 2], 0, 500);
        values.sort();
        assert!(values.starts_with(&["a", "a", "a", "b", "b", "b"].map(str::to_owned)));
        for _ in 0..2 {
            running.restart();
            let mut client = running.client();
            let values = fetch(&mut client, "host.vmstat", &[1], 0, 500);
            assert_eq!(values, ["a", "b", "c"]);
        }
        let mut client = running.client();
        let after = produce(&mut client, "host.vmstat", 1, -1, &batch(&["d"]));
        assert_eq!(after.partitions[0].base_offset, Offset(3), "offsets go on");
    });
}

#[test]
fn a_parked_fetch_is_woken_by_an_append() {
    with_shards(|shards| {
        let running = Running::start("park", shards, &[]);
        let mut client = running.client();
        assert_eq!(create(&mut client, "t", 4), ErrorCode::NONE);
        let mut reader = running.client();
        let request = fetch_request("t", &[0, 1, 2, 3], 0, 20_000);
        reader.send_raw(ApiKey::Fetch, &request);
        let began = std::time::Instant::now();
        produce(&mut client, "t", 2, -1, &batch(&["wake"]));
        let body = reader.receive();
        assert!(began.elapsed().as_secs() < 10, "the append woke it, not the deadline");
        let (response, raw) = frame::take::<FetchResponse>(&body).expect("decodes");
        assert_eq!(response.partitions[2].records_bytes as usize, raw.len());
        assert!(fetch(&mut reader, "t", &[0, 1], 0, 50).is_empty(), "the deadline answers too");
    });
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    with_shards(|shards| {
        let running = Running::start("order", shards, &[]);
        let mut client = running.client();
        assert_eq!(create(&mut client, "t", 8), ErrorCode::NONE);
        let slow = fetch_request("t", &[5], 0, 200);
        let quick = fetch_request("t", &[3], 0, 0);
        let mut sent = Vec::new();
        for place in 0..20 {
            let request = if place % 5 == 0 { &slow } else { &quick };
            sent.push(client.send_raw(ApiKey::Fetch, request));
        }
        let received: Vec<u32> = sent.iter().map(|_| client.receive_id()).collect();
        assert_eq!(received, sent);
    });
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    with_shards(|shards| {
        let running = Running::start("offsets", shards, &[]);
        let mut client = running.client();
        create(&mut client, "t", 1);
        for time in [1000, 3000, 2000] {
            let mut builder = BatchBuilder::new();
            builder.push(Timestamp(time), None, Some(b"x"), &[]);
            produce(&mut client, "t", 0, -1, &builder.finish(Compression::None));
        }
        let mut offset_at = |timestamp| {
            let partitions = vec![ListOffsetsPartition {
                topic: TopicRef::Name("t"),
                partition: Partition(0),
                current_leader_epoch: LeaderEpoch::NONE,
                timestamp,
            }];
            let request = ListOffsetsRequest { partitions };
            let body = client.call(ApiKey::ListOffsets, &request, &[]);
            let response: ListOffsetsResponse = frame::decode(&body).expect("decodes");
            assert_eq!(response.partitions[0].error, ErrorCode::NONE);
            response.partitions[0].offset
        };
        assert_eq!(offset_at(list_offsets::EARLIEST), Offset(0));
        assert_eq!(offset_at(list_offsets::LATEST), Offset(3));
        assert_eq!(offset_at(list_offsets::MAX_TIMESTAMP), Offset(1));
        assert_eq!(offset_at(Timestamp(1001)), Offset(1));
        assert_eq!(offset_at(Timestamp(0)), Offset(0));
        assert_eq!(offset_at(Timestamp(3001)), Offset(-1));
    });
}

#[test]
fn records_are_trimmed_and_the_trim_survives() {
    with_shards(|shards| {
        let mut running = Running::start("trim", shards, &[]);
        let mut client = running.client();
        create(&mut client, "t", 1);
        for value in ["a", "b", "c"] {
            produce(&mut client, "t", 0, -1, &batch(&[value]));
        }
        let mut trim = |offset| {
            let partitions = vec![DeleteRecordsPartition {
                topic: TopicRef::Name("t"),
                partition: Partition(0),
                offset: Offset(offset),
            }];
            let request = DeleteRecordsRequest { timeout_ms: 5000, partitions };
            let body = client.call(ApiKey::DeleteRecords, &request, &[]);
            let response: DeleteRecordsResponse = frame::decode(&body).expect("decodes");
            (response.partitions[0].error, response.partitions[0].low_watermark)
        };
        assert_eq!(trim(4).0, ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(trim(-2).0, ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(trim(2), (ErrorCode::NONE, Offset(2)));
        assert_eq!(trim(1), (ErrorCode::NONE, Offset(2)));
        running.restart();
        let mut client = running.client();
        assert_eq!(fetch(&mut client, "t", &[0], 2, 100), ["c"]);
        let request = fetch_request("t", &[0], 1, 0);
        let body = client.call_raw(ApiKey::Fetch, &request);
        let response: FetchResponse = frame::decode(&body).expect("decodes");
        assert_eq!(response.partitions[0].error, ErrorCode::OFFSET_OUT_OF_RANGE);
    });
}

#[test]
fn topics_are_configured_described_and_deleted() {
    with_shards(|shards| {
        let mut running = Running::start("topics", shards, &[]);
        let mut client = running.client();
        create(&mut client, "t", 2);
        produce(&mut client, "t", 0, -1, &batch(&["a"]));
        let set = ConfigChange::Set { key: "acks.durable", value: "false" };
        let resource = ConfigResource::Topic("t");
        let request = IncrementalAlterConfigsRequest {
            validate_only: false,
            resources: vec![AlterResource { resource, changes: vec![set] }],
        };
        let body = client.call(ApiKey::IncrementalAlterConfigs, &request, &[]);
        let altered: IncrementalAlterConfigsResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(altered.resources[0].error, ErrorCode::NONE, "{}", altered.resources[0].message);
        running.restart();
        let mut client = running.client();
        let request = DescribeConfigsRequest { resources: vec![resource, ConfigResource::Broker] };
        let body = client.call(ApiKey::DescribeConfigs, &request, &[]);
        let described: DescribeConfigsResponse<'_> = frame::decode(&body).expect("decodes");
        let found = described.resources[0].configs.iter().find(|c| c.key == "acks.durable");
        assert_eq!(found.map(|config| config.value), Some("false"));
        assert!(described.resources[1].configs.iter().any(|config| config.key == "log.dirs"));
        let request = DescribeLogDirsRequest { topics: vec![TopicRef::Name("t")] };
        let body = client.call(ApiKey::DescribeLogDirs, &request, &[]);
        let logs: DescribeLogDirsResponse = frame::decode(&body).expect("decodes");
        assert_eq!(logs.partitions.len(), 2);
        assert_eq!(logs.partitions[0].log_end_offset, Offset(1));
        assert_eq!(logs.partitions[0].loss_window_ms, 1000, "the loss window is shown");
        let weak = produce(&mut client, "t", 0, -1, &batch(&["b"]));
        assert_eq!(weak.partitions[0].base_offset, Offset(1));
        let request = DeleteTopicsRequest { timeout_ms: 5000, topics: vec![TopicRef::Name("t")] };
        let body = client.call(ApiKey::DeleteTopics, &request, &[]);
        let deleted: DeleteTopicsResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(deleted.topics[0].error, ErrorCode::NONE);
        let refused = produce(&mut client, "t", 0, -1, &batch(&["c"]));
        assert_eq!(refused.partitions[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(create(&mut client, "t", 1), ErrorCode::NONE);
        assert!(fetch(&mut client, "t", &[0], 0, 50).is_empty(), "a new topic of the name is new");
        running.restart();
        let mut client = running.client();
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false };
        let body = client.call(ApiKey::Metadata, &request, &[]);
        let metadata: MetadataResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(metadata.topics.len(), 1);
        assert_eq!(metadata.topics[0].partitions.len(), 1);
        let request = MetadataRequest {
            topics: Some(vec![TopicRef::Name("auto")]),
            allow_auto_topic_creation: true,
        };
        let body = client.call(ApiKey::Metadata, &request, &[]);
        let metadata: MetadataResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(metadata.topics[0].error, ErrorCode::NONE, "created on the way");
    });
}

/// Of what waits for the disk's directories one is done after the other: what has the name of one
/// that goes stays.
#[test]
fn deleted_partitions_leave_the_disk_and_those_of_their_name_do_not() {
    let running = Running::start("doomed", 2, &["log.segment.delete.delay.ms=100"]);
    let mut client = running.client();
    let count = |is_doomed: bool| {
        let names = std::fs::read_dir(&running.dir).expect("there");
        let names = names.map(|entry| entry.expect("listed").file_name().into_string());
        let is_of =
            |name: &String| name.starts_with("t-") && name.ends_with("-delete") == is_doomed;
        names.map(|name| name.expect("text")).filter(is_of).count()
    };
    for round in 0..3 {
        assert_eq!(create(&mut client, "t", 4), ErrorCode::NONE);
        produce(&mut client, "t", 0, -1, &batch(&["a"]));
        if round < 2 {
            let topics = vec![TopicRef::Name("t")];
            let request = DeleteTopicsRequest { timeout_ms: 5000, topics };
            let body = client.call(ApiKey::DeleteTopics, &request, &[]);
            let deleted: DeleteTopicsResponse<'_> = frame::decode(&body).expect("decodes");
            assert_eq!(deleted.topics[0].error, ErrorCode::NONE);
        }
    }
    let since = std::time::Instant::now();
    while count(true) != 0 {
        assert!(since.elapsed().as_secs() < 30, "they are there still");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(count(false), 4);
    assert_eq!(fetch(&mut client, "t", &[0], 0, 50), ["a"]);
}

#[test]
fn bad_produce_requests_get_the_code_that_semantics_3_names() {
    with_shards(|shards| {
        let running = Running::start("bad", shards, &[]);
        let mut client = running.client();
        create(&mut client, "t", 1);
        let sound = batch(&["a"]);
        let spoilt = |spoil: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = sound.clone();
            spoil(&mut bytes);
            bytes
        };
        let large = batch(&[&"x".repeat(1_100_000)]);
        let cases: [(&str, i8, Vec<u8>, ErrorCode); 7] = [
            ("t", 2, sound.clone(), ErrorCode::INVALID_REQUIRED_ACKS),
            ("u", -1, sound.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("t", -1, spoilt(&|b| b[68] ^= 1), ErrorCode::CORRUPT_MESSAGE),
            ("t", -1, spoilt(&|b| b[16] = 1), ErrorCode::INVALID_RECORD),
            ("t", -1, spoilt(&|b| b.truncate(60)), ErrorCode::CORRUPT_MESSAGE),
            ("t", -1, [&sound[..], &sound[..]].concat(), ErrorCode::INVALID_RECORD),
            ("t", -1, large, ErrorCode::MESSAGE_TOO_LARGE),
        ];
        for (topic, acks, bytes, expected) in cases {
            let response = produce(&mut client, topic, 0, acks, &bytes);
            assert_eq!(response.partitions[0].error, expected);
        }
        assert!(fetch(&mut client, "t", &[0], 0, 50).is_empty(), "nothing was stored");
        let body = client.call(ApiKey::DescribeMetrics, &DescribeMetricsRequest {}, &[]);
        let metrics: DescribeMetricsResponse<'_> = frame::decode(&body).expect("decodes");
        let value = |name| metrics.metrics.iter().find(|m| m.name == name).map(|m| m.value);
        // The request for metrics itself is the one frame that is held.
        assert!(value("memory_frames_bytes_now").is_some_and(|bytes| bytes < 100));
    });
}

#[test]
fn a_topics_configuration_says_where_each_value_comes_from() {
    // Kafka's ConfigSource: DYNAMIC_TOPIC_CONFIG, STATIC_BROKER_CONFIG, DEFAULT_CONFIG.
    let running = Running::start("sources", 1, &["log.retention.minutes=90"]);
    let mut client = running.client();
    create(&mut client, "t", 1);
    let resource = ConfigResource::Topic("t");
    let changes = vec![ConfigChange::Set { key: "segment.bytes", value: "65536" }];
    let resources = vec![AlterResource { resource, changes }];
    let request = IncrementalAlterConfigsRequest { validate_only: false, resources };
    client.call(ApiKey::IncrementalAlterConfigs, &request, &[]);
    let request = DescribeConfigsRequest { resources: vec![resource] };
    let body = client.call(ApiKey::DescribeConfigs, &request, &[]);
    let described: DescribeConfigsResponse<'_> = frame::decode(&body).expect("decodes");
    let found = |key| {
        let is_it = |config: &&DescribedConfig<'_>| config.key == key;
        let config = described.resources[0].configs.iter().find(is_it).expect("described");
        (config.value.to_owned(), config.source.kafka_name())
    };
    assert_eq!(found("retention.ms"), ("5400000".to_owned(), "STATIC_BROKER_CONFIG"));
    assert_eq!(found("segment.bytes"), ("65536".to_owned(), "DYNAMIC_TOPIC_CONFIG"));
    assert_eq!(found("flush.ms"), ("1000".to_owned(), "DEFAULT_CONFIG"));
}

fn metrics(client: &mut RawClient) -> Vec<(String, u64)> {
    let body = client.call(ApiKey::DescribeMetrics, &DescribeMetricsRequest {}, &[]);
    let metrics: DescribeMetricsResponse<'_> = frame::decode(&body).expect("decodes");
    metrics.metrics.iter().map(|metric| (metric.name.to_owned(), metric.value)).collect()
}

/// What a refused request must leave as it was.
fn stored(client: &mut RawClient) -> Vec<(String, u64)> {
    let mut metrics = metrics(client);
    metrics.retain(|(name, _)| {
        let is_held = name.starts_with("memory_") && name.ends_with("_now");
        is_held || name.starts_with("append_") || name.starts_with("log_") || name.contains("topic")
    });
    assert!(6 < metrics.len(), "{metrics:?}");
    metrics
}

#[test]
fn what_is_not_there_gets_the_code_that_semantics_3_names() {
    with_shards(|shards| {
        let running = Running::start("nowhere", shards, &["auto.create.topics.enable=false"]);
        let mut client = running.client();
        create(&mut client, "t", 2);
        produce(&mut client, "t", 0, -1, &batch(&["a", "b"]));
        let before = stored(&mut client);
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let stranger = TopicRef::Id(odradek::ids::TopicId(odradek::ids::Uuid([9; 16])));
        let places = [
            (TopicRef::Name("nowhere"), 0, unknown),
            (TopicRef::Name("t"), 2, unknown),
            (TopicRef::Name("t"), -1, unknown),
            (TopicRef::Name("t"), i32::MAX, unknown),
            (TopicRef::Name("__cluster_metadata"), 0, unknown),
            (TopicRef::Name("../t"), 0, ErrorCode::INVALID_TOPIC_EXCEPTION),
            (stranger, 0, ErrorCode::UNKNOWN_TOPIC_ID),
        ];
        for (topic, number, expected) in places {
            let partition = Partition(number);
            let context = format!("{topic:?} {number}");
            assert_eq!(fetch_error(&mut client, topic, partition, 0), expected, "{context}");
            assert_eq!(produce_error(&mut client, topic, partition), expected, "{context}");
            assert_eq!(offsets_error(&mut client, topic, partition), expected, "{context}");
            assert_eq!(trim_error(&mut client, topic, partition), expected, "{context}");
        }
        let (topic, partition) = (TopicRef::Name("t"), Partition(0));
        for offset in [3, 1_000_000, i64::MAX, -1, i64::MIN] {
            let error = fetch_error(&mut client, topic, partition, offset);
            assert_eq!(error, ErrorCode::OFFSET_OUT_OF_RANGE, "{offset}");
        }
        assert_eq!(stored(&mut client), before, "nothing is stored, nothing is held");
        assert_eq!(fetch(&mut client, "t", &[0], 0, 100), ["a", "b"]);
    });
}

fn fetch_error(
    client: &mut RawClient,
    topic: TopicRef<'_>,
    partition: Partition,
    offset: i64,
) -> ErrorCode {
    let wanted = FetchPartition {
        topic,
        partition,
        offset: Offset(offset),
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let request =
        FetchRequest { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20, partitions: vec![wanted] };
    let body = client.call(ApiKey::Fetch, &request, &[]);
    frame::take::<FetchResponse>(&body).expect("decodes").0.partitions[0].error
}

fn produce_error(client: &mut RawClient, topic: TopicRef<'_>, partition: Partition) -> ErrorCode {
    let bytes = batch(&["x"]);
    let wanted = ProducePartition { topic, partition, records_bytes: bytes.len() as u32 };
    let request = ProduceRequest { acks: -1, timeout_ms: 5000, partitions: vec![wanted] };
    let body = client.call(ApiKey::Produce, &request, &bytes);
    frame::decode::<ProduceResponse>(&body).expect("decodes").partitions[0].error
}

fn offsets_error(client: &mut RawClient, topic: TopicRef<'_>, partition: Partition) -> ErrorCode {
    let current_leader_epoch = LeaderEpoch::NONE;
    let timestamp = list_offsets::LATEST;
    let wanted = ListOffsetsPartition { topic, partition, current_leader_epoch, timestamp };
    let request = ListOffsetsRequest { partitions: vec![wanted] };
    let body = client.call(ApiKey::ListOffsets, &request, &[]);
    frame::decode::<ListOffsetsResponse>(&body).expect("decodes").partitions[0].error
}

fn trim_error(client: &mut RawClient, topic: TopicRef<'_>, partition: Partition) -> ErrorCode {
    let wanted = DeleteRecordsPartition { topic, partition, offset: Offset(1) };
    let request = DeleteRecordsRequest { timeout_ms: 5000, partitions: vec![wanted] };
    let body = client.call(ApiKey::DeleteRecords, &request, &[]);
    frame::decode::<DeleteRecordsResponse>(&body).expect("decodes").partitions[0].error
}

#[test]
fn topics_that_cannot_be_are_refused_by_name_count_and_configuration() {
    with_shards(|shards| {
        let running = Running::start("names", shards, &[]);
        let mut client = running.client();
        assert_eq!(create(&mut client, "a.b", 1), ErrorCode::NONE);
        let longest = "x".repeat(249);
        assert_eq!(create(&mut client, &longest, 1), ErrorCode::NONE, "249 characters are legal");
        let directories = || {
            let entries = std::fs::read_dir(&running.dir).expect("the log dir is there");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("listed").file_name()).collect();
            names.sort();
            names
        };
        let before = (stored(&mut client), directories());
        let too_long = "x".repeat(250);
        let long_unicode = "ä".repeat(10);
        let illegal = ErrorCode::INVALID_TOPIC_EXCEPTION;
        let cases: [(&str, i32, i16, &[(&str, &str)], ErrorCode); 18] = [
            ("", 1, 1, &[], illegal),
            (".", 1, 1, &[], illegal),
            ("..", 1, 1, &[], illegal),
            ("a/b", 1, 1, &[], illegal),
            ("a\0b", 1, 1, &[], illegal),
            ("a b", 1, 1, &[], illegal),
            (&too_long, 1, 1, &[], illegal),
            (&long_unicode, 1, 1, &[], illegal),
            ("a_b", 1, 1, &[], illegal),
            ("__secret", 1, 1, &[], illegal),
            ("many", 1_000_000, 1, &[], ErrorCode::INVALID_PARTITIONS),
            ("many", i32::MAX, 1, &[], ErrorCode::INVALID_PARTITIONS),
            ("few", 0, 1, &[], ErrorCode::INVALID_PARTITIONS),
            ("few", i32::MIN, 1, &[], ErrorCode::INVALID_PARTITIONS),
            ("far", 1, 3, &[], ErrorCode::INVALID_REPLICATION_FACTOR),
            ("odd", 1, 1, &[("retention.hours", "1")], ErrorCode::INVALID_CONFIG),
            ("odd", 1, 1, &[("retention.ms", "soon")], ErrorCode::INVALID_CONFIG),
            ("odd", 1, 1, &[("segment.bytes", "1")], ErrorCode::INVALID_CONFIG),
        ];
        for (name, partition_count, replication_factor, configs, expected) in cases {
            let configs = configs.iter().map(|&(key, value)| ConfigEntry { key, value }).collect();
            let topic = CreateTopic { name, partition_count, replication_factor, configs };
            let request =
                CreateTopicsRequest { timeout_ms: 5000, validate_only: false, topics: vec![topic] };
            let body = client.call(ApiKey::CreateTopics, &request, &[]);
            let response: CreateTopicsResponse<'_> = frame::decode(&body).expect("decodes");
            let refused = response.topics[0].clone();
            assert_eq!(refused.error, expected, "{name} {partition_count}");
            assert!(!refused.message.is_empty(), "{name} {partition_count}: says why");
        }
        for partition_count in [1, 0, 1_000_000, -5] {
            let grow = GrowTopic { topic: TopicRef::Name("a.b"), partition_count };
            let request = CreatePartitionsRequest {
                timeout_ms: 5000,
                validate_only: false,
                topics: vec![grow],
            };
            let body = client.call(ApiKey::CreatePartitions, &request, &[]);
            let response: CreatePartitionsResponse<'_> = frame::decode(&body).expect("decodes");
            assert_eq!(response.topics[0].error, ErrorCode::INVALID_PARTITIONS);
        }
        assert_eq!((stored(&mut client), directories()), before, "nothing is stored or held");
        assert_eq!(create(&mut running.client(), "good", 1), ErrorCode::NONE);
    });
}

#[test]
fn clients_are_told_an_address_that_they_can_reach() {
    let told = |running: &Running| {
        let port = running
            .broker
            .as_ref()
            .expect("running")
            .address(Protocol::Wire)
            .expect("it listens")
            .port();
        let mut client = RawClient::connect(([127, 0, 0, 1], port).into());
        let body = client.call(ApiKey::DescribeCluster, &DescribeClusterRequest {}, &[]);
        let cluster: DescribeClusterResponse<'_> = frame::decode(&body).expect("decodes");
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false };
        let body = client.call(ApiKey::Metadata, &request, &[]);
        let metadata: MetadataResponse<'_> = frame::decode(&body).expect("decodes");
        assert_eq!(cluster.brokers, metadata.brokers);
        (cluster.brokers[0].host.to_owned(), cluster.brokers[0].port, port)
    };
    let has_ipv6 = std::net::TcpListener::bind("[::]:0").is_ok();
    for everywhere in ["0.0.0.0", "[::]"].into_iter().take(1 + usize::from(has_ipv6)) {
        let listeners = format!("listeners=wire://{everywhere}:0");
        let running = Running::start("told", 1, &[&listeners]);
        let (host, port, bound) = told(&running);
        assert_eq!((host.as_str(), port), ("127.0.0.1", bound), "{everywhere}");
    }
    let advertised = "advertised.listeners=wire://edge-1.local:7092";
    let running = Running::start("told", 1, &["listeners=wire://0.0.0.0:0", advertised]);
    let (host, port, _) = told(&running);
    assert_eq!((host.as_str(), port), ("edge-1.local", 7092));
}

fn metric(client: &mut RawClient, name: &str) -> u64 {
    let body = client.call(ApiKey::DescribeMetrics, &DescribeMetricsRequest {}, &[]);
    let metrics: DescribeMetricsResponse<'_> = frame::decode(&body).expect("decodes");
    let found = metrics.metrics.iter().find(|metric| metric.name == name);
    found.expect("it is counted").value
}

#[test]
fn a_batch_may_not_decompress_to_more_than_the_memory_limit_allows() {
    let running = Running::start("window", 1, &["memory.limit=16MiB"]);
    let mut client = running.client();
    create(&mut client, "t", 1);
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        for (bytes, expected) in
            [(1 << 20, ErrorCode::NONE), (3 << 20, ErrorCode::MESSAGE_TOO_LARGE)]
        {
            let mut builder = BatchBuilder::new();
            builder.push(Timestamp(1_790_000_000_000), None, Some(&vec![0; bytes]), &[]);
            let response = produce(&mut client, "t", 0, -1, &builder.finish(codec));
            assert_eq!(response.partitions[0].error, expected, "{codec:?}, {bytes}");
        }
    }
    assert_eq!(metric(&mut client, "memory_windows_bytes_now"), 0, "all of it is given back");
}

#[test]
fn answers_that_nobody_reads_are_in_the_books() {
    let running = Running::start("unread", 1, &[]);
    let mut client = running.client();
    assert_eq!(metric(&mut client, "memory_responses_bytes_now"), 0);
    let mut deaf = running.client();
    let request = DescribeConfigsRequest { resources: vec![ConfigResource::Broker; 256] };
    for _ in 0..60 {
        deaf.send(ApiKey::DescribeConfigs, &request, &[]);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while metric(&mut client, "memory_responses_bytes_now") < 1 << 19 {
        assert!(std::time::Instant::now() < deadline, "what waits for a deaf client is counted");
    }
    drop(deaf);
    while metric(&mut client, "memory_responses_bytes_now") != 0 {
        assert!(std::time::Instant::now() < deadline, "and no longer when it is gone");
    }
}

#[test]
fn answers_behind_a_parked_fetch_are_bounded() {
    // Answers leave in order: one fetch that waits held up 255 answers of any size behind it.
    let running = Running::start("behind", 1, &[]);
    let mut client = running.client();
    create(&mut client, "t", 1);
    let mut patient = running.client();
    patient.send_raw(ApiKey::Fetch, &fetch_request("t", &[0], 0, 30_000));
    let request = DescribeConfigsRequest { resources: vec![ConfigResource::Broker; 64] };
    let sent: Vec<u32> =
        (0..100).map(|_| patient.send(ApiKey::DescribeConfigs, &request, &[])).collect();
    let mut handled = 0;
    loop {
        let now = metric(&mut client, "requests_count");
        if now == handled + 1 {
            break;
        }
        handled = now;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let held = metric(&mut client, "memory_responses_bytes_now");
    assert!((1 << 20..2 << 20).contains(&held), "{held} bytes wait behind the fetch");
    produce(&mut client, "t", 0, -1, &batch(&["wake"]));
    patient.receive_id();
    let received: Vec<u32> = sent.iter().map(|_| patient.receive_id()).collect();
    assert_eq!(received, sent, "all of them come in the end");
    assert_eq!(metric(&mut client, "memory_responses_bytes_now"), 0);
}

#[test]
fn records_and_the_time_they_take_are_counted() {
    with_shards(|shards| {
        let running = Running::start("counted", shards, &["memory.limit=32MiB"]);
        let mut client = running.client();
        create(&mut client, "t", 4);
        for partition in 0..4 {
            produce(&mut client, "t", partition, -1, &batch(&["a", "b", "c"]));
        }
        let mut spoilt = batch(&["never", "stored"]);
        spoilt[68] ^= 1;
        produce(&mut client, "t", 0, -1, &spoilt);
        assert_eq!(fetch(&mut client, "t", &[0, 1, 2, 3], 1, 100).len(), 12, "whole batches");
        assert_eq!(metric(&mut client, "produce_records_count"), 12);
        assert_eq!(metric(&mut client, "fetch_records_count"), 8, "from where was asked");
        assert_eq!(metric(&mut client, "produce_requests_count"), 5);
        let (p50, p99, max) = (
            metric(&mut client, "produce_latency_us_p50_now"),
            metric(&mut client, "produce_latency_us_p99_now"),
            metric(&mut client, "produce_latency_us_max_now"),
        );
        assert!(0 < p50 && p50 <= p99 && p99 <= max, "{p50} {p99} {max}");
        let all = metric(&mut client, "produce_latency_us");
        assert!(max <= all && all <= 5 * max, "{max} of {all}");
        // The flusher publishes its pace twice a second.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while metric(&mut client, "flush_us_p50_now") == 0 {
            assert!(std::time::Instant::now() < deadline, "flushes were timed");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(0 < metric(&mut client, "uptime_us_now"));
        assert_eq!(metric(&mut client, "memory_limit_bytes_now"), 32 << 20);
        assert_eq!(metric(&mut client, "connections_max_now"), 2048);
        let free = metric(&mut client, "disk_free_bytes_now");
        assert!(0 < free && free <= metric(&mut client, "disk_total_bytes_now"));
    });
}
