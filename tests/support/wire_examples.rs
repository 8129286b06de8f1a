//! One example of every message of the wire, by name: the transcripts show their bytes, and the
//! hostile tests mangle them.

#[path = "wire_group_examples.rs"]
mod groups;
#[path = "wire_operator_examples.rs"]
mod operators;
#[path = "wire_peer_examples.rs"]
mod peers;
#[path = "wire_quorum_examples.rs"]
mod quorum;
#[path = "wire_replica_examples.rs"]
mod replicas;
#[path = "wire_site_examples.rs"]
mod sites;

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicId, Uuid};
use odradek::time::Timestamp;
use odradek::wire::configs::{
    AlterResource, ConfigChange, ConfigResource, ConfigSource, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribedConfig, DescribedResource, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use odradek::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowTopic,
};
use odradek::wire::create_topics::{
    ConfigEntry, CreateTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic,
};
use odradek::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeletedRecords,
};
use odradek::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse, TopicOutcome};
use odradek::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use odradek::wire::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribedLog, Hole,
};
use odradek::wire::describe_metrics::{
    DescribeMetricsRequest, DescribeMetricsResponse, Metric, MetricKind,
};
use odradek::wire::describe_producers::{
    ActiveProducer, DescribeProducersRequest, DescribeProducersResponse, DescribedProducers,
    ProducersPartition,
};
use odradek::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchedPartition};
use odradek::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use odradek::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use odradek::wire::list_offsets::{
    EARLIEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListedOffset,
};
use odradek::wire::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use odradek::wire::offset_for_leader_epoch::{
    EpochEnd, EpochPartition, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use odradek::wire::produce::{
    ProducePartition, ProduceRequest, ProduceResponse, ProducedPartition,
};
use odradek::wire::{
    ApiKey, ErrorCode, FrameError, RequestHeader, ResponseHeader, TopicRef, frame,
};
use serde::{Deserialize, Serialize};

/// A message as a whole frame, and how to read it.
pub struct Example {
    /// `request` or `response`, and the API.
    pub name: &'static str,
    /// The frame with its prefix.
    pub frame: Vec<u8>,
    /// Decodes header and body behind the prefix and encodes them again, raw bytes included.
    pub again: fn(&'static [u8]) -> Result<Vec<u8>, FrameError>,
}

/// Bytes that outlive every borrow of a decoded message.
pub fn keep(bytes: &[u8]) -> &'static [u8] {
    Vec::leak(bytes.to_vec())
}

fn again<H, M>(behind_prefix: &'static [u8]) -> Result<Vec<u8>, FrameError>
where
    H: Serialize + Deserialize<'static>,
    M: Serialize + Deserialize<'static>,
{
    let (header, rest) = frame::take::<H>(behind_prefix)?;
    let (body, raw) = frame::take::<M>(rest)?;
    let mut encoded = Vec::new();
    frame::encode(&header, &body, raw.len(), &mut encoded);
    encoded.extend_from_slice(raw);
    Ok(encoded)
}

fn example<H, M>(name: &'static str, header: &H, body: &M, raw: &[u8]) -> Example
where
    H: Serialize + Deserialize<'static>,
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let mut encoded = Vec::new();
    frame::encode(header, body, raw.len(), &mut encoded);
    encoded.extend_from_slice(raw);
    let kept = keep(&encoded);
    let (_, rest) = frame::take::<H>(&kept[4..]).expect("our own header");
    let (decoded, rest) = frame::take::<M>(rest).expect("our own body");
    assert_eq!(&decoded, body, "{name}");
    assert_eq!(rest, raw, "{name}");
    Example { name, frame: encoded, again: again::<H, M> }
}

fn request<M>(name: &'static str, api: ApiKey, body: &M, raw: &[u8]) -> Example
where
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id: 300 };
    example(name, &header, body, raw)
}

fn response<M>(name: &'static str, body: &M, raw: &[u8]) -> Example
where
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let header = ResponseHeader { correlation_id: 300, throttle_time_ms: 0 };
    example(name, &header, body, raw)
}

const ID: TopicId = TopicId(Uuid(*b"topic-id-16bytes"));
const CLUSTER: Uuid = Uuid(*b"cluster-16-bytes");

/// Every message once.
pub fn all() -> Vec<Example> {
    let mut examples = Vec::new();
    examples.extend(produce());
    examples.extend(fetch());
    examples.extend(hello());
    examples.extend(cluster());
    examples.extend(topics());
    examples.extend(topic_changes());
    examples.extend(configs());
    examples.extend(state());
    examples.extend(producers());
    examples.extend(producer_states());
    examples.extend(groups::all());
    examples.extend(quorum::all());
    examples.extend(peers::all());
    examples.extend(replicas::all());
    examples.extend(sites::all());
    examples.extend(operators::all());
    examples
}

fn produce() -> [Example; 2] {
    let batch = |topic, partition| ProducePartition {
        topic,
        partition: Partition(partition),
        records_bytes: 3,
    };
    [
        request(
            "request produce",
            ApiKey::Produce,
            &ProduceRequest {
                acks: -1,
                timeout_ms: 30_000,
                partitions: vec![batch(TopicRef::Name("a"), 0), batch(TopicRef::Id(ID), 1)],
            },
            b"abcdef",
        ),
        response(
            "response produce",
            &ProduceResponse {
                partitions: vec![
                    ProducedPartition {
                        error: ErrorCode::NONE,
                        base_offset: Offset(5_000_000_000),
                        log_append_time: Timestamp::NONE,
                        log_start_offset: Offset(0),
                        bad_records: vec![],
                    },
                    ProducedPartition {
                        error: ErrorCode::INVALID_RECORD,
                        base_offset: Offset(-1),
                        log_append_time: Timestamp::NONE,
                        log_start_offset: Offset(-1),
                        bad_records: vec![0, 300],
                    },
                ],
            },
            b"",
        ),
    ]
}

fn fetch() -> [Example; 4] {
    let fetched = |error, end, records_bytes| FetchedPartition {
        error,
        high_watermark: Offset(end),
        log_start_offset: Offset(0),
        records_bytes,
    };
    [
        request(
            "request fetch",
            ApiKey::Fetch,
            &FetchRequest {
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 50 << 20,
                partitions: vec![FetchPartition {
                    topic: TopicRef::Id(ID),
                    partition: Partition(2),
                    offset: Offset(64),
                    current_leader_epoch: LeaderEpoch::NONE,
                    max_bytes: 1 << 20,
                }],
            },
            b"",
        ),
        response(
            "response fetch",
            &FetchResponse {
                partitions: vec![
                    fetched(ErrorCode::NONE, 70, 4),
                    fetched(ErrorCode::OFFSET_OUT_OF_RANGE, -1, 0),
                ],
            },
            b"wxyz",
        ),
        request(
            "request list-offsets",
            ApiKey::ListOffsets,
            &ListOffsetsRequest {
                partitions: vec![ListOffsetsPartition {
                    topic: TopicRef::Name("a"),
                    partition: Partition(0),
                    current_leader_epoch: LeaderEpoch(3),
                    timestamp: EARLIEST,
                }],
            },
            b"",
        ),
        response(
            "response list-offsets",
            &ListOffsetsResponse {
                partitions: vec![
                    ListedOffset {
                        error: ErrorCode::NONE,
                        offset: Offset(17),
                        timestamp: Timestamp(1_700_000_000_000),
                        leader_epoch: LeaderEpoch(3),
                    },
                    ListedOffset {
                        error: ErrorCode::NONE,
                        offset: Offset(-1),
                        timestamp: Timestamp::NONE,
                        leader_epoch: LeaderEpoch::NONE,
                    },
                ],
            },
            b"",
        ),
    ]
}

fn broker() -> MetadataBroker<'static> {
    MetadataBroker { node_id: NodeId(1), host: "127.0.0.1", port: 7092, rack: "" }
}

fn hello() -> [Example; 2] {
    [
        request(
            "request hello",
            ApiKey::Hello,
            &HelloRequest { magic: MAGIC, client_id: "c", features: 0 },
            b"",
        ),
        response(
            "response hello",
            &HelloResponse {
                error: ErrorCode::NONE,
                cluster_id: CLUSTER,
                node_id: NodeId(1),
                software: "odradek 0.1.0",
                features: 0,
                frame_bytes_max: 1 << 20,
                apis: vec![ApiKey::Produce.versions(), ApiKey::DescribeMetrics.versions()],
            },
            b"",
        ),
    ]
}

fn cluster() -> [Example; 4] {
    [
        request(
            "request metadata",
            ApiKey::Metadata,
            &MetadataRequest {
                topics: Some(vec![TopicRef::Name("a")]),
                allow_auto_topic_creation: true,
            },
            b"",
        ),
        response(
            "response metadata",
            &MetadataResponse {
                cluster_id: CLUSTER,
                controller_id: NodeId(1),
                brokers: vec![broker()],
                topics: vec![MetadataTopic {
                    error: ErrorCode::NONE,
                    name: "a",
                    topic_id: ID,
                    is_internal: false,
                    partitions: vec![MetadataPartition {
                        error: ErrorCode::NONE,
                        partition: Partition(0),
                        leader: NodeId(1),
                        leader_epoch: LeaderEpoch(3),
                        replicas: vec![NodeId(1), NodeId(2)],
                        isr: vec![NodeId(1)],
                    }],
                }],
            },
            b"",
        ),
        request(
            "request describe-cluster",
            ApiKey::DescribeCluster,
            &DescribeClusterRequest {},
            b"",
        ),
        response(
            "response describe-cluster",
            &DescribeClusterResponse {
                error: ErrorCode::NONE,
                cluster_id: CLUSTER,
                controller_id: NodeId(1),
                brokers: vec![broker()],
            },
            b"",
        ),
    ]
}

fn outcomes() -> Vec<TopicOutcome<'static>> {
    vec![
        TopicOutcome { error: ErrorCode::NONE, message: "" },
        TopicOutcome { error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message: "no" },
    ]
}

fn topics() -> [Example; 2] {
    [
        request(
            "request create-topics",
            ApiKey::CreateTopics,
            &CreateTopicsRequest {
                timeout_ms: 30_000,
                validate_only: false,
                topics: vec![CreateTopic {
                    name: "a",
                    partition_count: 3,
                    replication_factor: -1,
                    configs: vec![ConfigEntry { key: "retention.ms", value: "-1" }],
                }],
            },
            b"",
        ),
        response(
            "response create-topics",
            &CreateTopicsResponse {
                topics: vec![CreatedTopic {
                    error: ErrorCode::NONE,
                    message: "",
                    topic_id: ID,
                    partition_count: 3,
                    replication_factor: 1,
                }],
            },
            b"",
        ),
    ]
}

fn topic_changes() -> [Example; 4] {
    [
        request(
            "request delete-topics",
            ApiKey::DeleteTopics,
            &DeleteTopicsRequest {
                timeout_ms: 30_000,
                topics: vec![TopicRef::Name("a"), TopicRef::Id(ID)],
            },
            b"",
        ),
        response("response delete-topics", &DeleteTopicsResponse { topics: outcomes() }, b""),
        request(
            "request create-partitions",
            ApiKey::CreatePartitions,
            &CreatePartitionsRequest {
                timeout_ms: 30_000,
                validate_only: true,
                topics: vec![GrowTopic { topic: TopicRef::Name("a"), partition_count: 6 }],
            },
            b"",
        ),
        response(
            "response create-partitions",
            &CreatePartitionsResponse { topics: outcomes() },
            b"",
        ),
    ]
}

fn configs() -> [Example; 4] {
    [
        request(
            "request describe-configs",
            ApiKey::DescribeConfigs,
            &DescribeConfigsRequest {
                resources: vec![
                    ConfigResource::Topic("a"),
                    ConfigResource::Broker,
                    ConfigResource::Group("g"),
                    ConfigResource::Brokers,
                ],
            },
            b"",
        ),
        response(
            "response describe-configs",
            &DescribeConfigsResponse {
                resources: vec![DescribedResource {
                    error: ErrorCode::NONE,
                    configs: vec![DescribedConfig {
                        key: "flush.ms",
                        value: "1000",
                        source: ConfigSource::Topic,
                    }],
                }],
            },
            b"",
        ),
        request(
            "request incremental-alter-configs",
            ApiKey::IncrementalAlterConfigs,
            &IncrementalAlterConfigsRequest {
                validate_only: false,
                resources: vec![AlterResource {
                    resource: ConfigResource::Topic("a"),
                    changes: vec![
                        ConfigChange::Set { key: "flush.ms", value: "50" },
                        ConfigChange::Delete { key: "retention.ms" },
                        ConfigChange::Append { key: "cleanup.policy", value: "compact" },
                        ConfigChange::Subtract { key: "cleanup.policy", value: "delete" },
                    ],
                }],
            },
            b"",
        ),
        response(
            "response incremental-alter-configs",
            &IncrementalAlterConfigsResponse { resources: outcomes() },
            b"",
        ),
    ]
}

fn described_log() -> DescribedLog {
    DescribedLog {
        error: ErrorCode::NONE,
        topic_place: 0,
        partition: Partition(1),
        leader_epoch: LeaderEpoch(3),
        log_start_offset: Offset(10),
        high_watermark: Offset(90),
        durable_offset: Offset(90),
        log_end_offset: Offset(100),
        size_bytes: 4096,
        segment_count: 1,
        loss_window_ms: 1000,
        holes: vec![Hole { from: Offset(20), end: Offset(25) }],
        suspects: vec![Offset(16)],
    }
}

fn state() -> [Example; 6] {
    [
        request(
            "request delete-records",
            ApiKey::DeleteRecords,
            &DeleteRecordsRequest {
                timeout_ms: 30_000,
                partitions: vec![DeleteRecordsPartition {
                    topic: TopicRef::Name("a"),
                    partition: Partition(1),
                    offset: Offset(40),
                }],
            },
            b"",
        ),
        response(
            "response delete-records",
            &DeleteRecordsResponse {
                partitions: vec![DeletedRecords {
                    error: ErrorCode::NONE,
                    low_watermark: Offset(40),
                }],
            },
            b"",
        ),
        request(
            "request describe-log-dirs",
            ApiKey::DescribeLogDirs,
            &DescribeLogDirsRequest { topics: vec![TopicRef::Name("a")] },
            b"",
        ),
        response(
            "response describe-log-dirs",
            &DescribeLogDirsResponse { partitions: vec![described_log()] },
            b"",
        ),
        request(
            "request describe-metrics",
            ApiKey::DescribeMetrics,
            &DescribeMetricsRequest {},
            b"",
        ),
        response(
            "response describe-metrics",
            &DescribeMetricsResponse {
                metrics: vec![Metric {
                    name: "produce_bytes",
                    kind: MetricKind::Counter,
                    value: 1000,
                }],
            },
            b"",
        ),
    ]
}

fn producers() -> Vec<Example> {
    vec![
        request(
            "request init-producer-id",
            ApiKey::InitProducerId,
            &InitProducerIdRequest {
                producer_id: 4000,
                producer_epoch: 2,
                ..InitProducerIdRequest::NEW
            },
            b"",
        ),
        response(
            "response init-producer-id",
            &InitProducerIdResponse {
                error: ErrorCode::NONE,
                producer_id: 4000,
                producer_epoch: 3,
            },
            b"",
        ),
        request(
            "request offset-for-leader-epoch",
            ApiKey::OffsetForLeaderEpoch,
            &OffsetForLeaderEpochRequest {
                partitions: vec![EpochPartition {
                    topic: TopicRef::Name("a"),
                    partition: Partition(0),
                    current_leader_epoch: LeaderEpoch(3),
                    leader_epoch: LeaderEpoch(2),
                }],
            },
            b"",
        ),
        response(
            "response offset-for-leader-epoch",
            &OffsetForLeaderEpochResponse {
                partitions: vec![
                    EpochEnd {
                        error: ErrorCode::NONE,
                        leader_epoch: LeaderEpoch(2),
                        end_offset: Offset(17),
                    },
                    EpochEnd::failed(ErrorCode::FENCED_LEADER_EPOCH),
                ],
            },
            b"",
        ),
    ]
}

fn producer_states() -> Vec<Example> {
    vec![
        request(
            "request describe-producers",
            ApiKey::DescribeProducers,
            &DescribeProducersRequest {
                partitions: vec![ProducersPartition {
                    topic: TopicRef::Id(ID),
                    partition: Partition(0),
                }],
            },
            b"",
        ),
        response(
            "response describe-producers",
            &DescribeProducersResponse {
                partitions: vec![DescribedProducers {
                    error: ErrorCode::NONE,
                    producers: vec![ActiveProducer {
                        producer_id: 4000,
                        producer_epoch: 3,
                        last_sequence: 70,
                        last_timestamp: Timestamp(1_700_000_000_000),
                        coordinator_epoch: -1,
                        transaction_start_offset: Offset(-1),
                    }],
                }],
            },
            b"",
        ),
    ]
}
