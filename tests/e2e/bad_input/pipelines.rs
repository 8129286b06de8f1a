//! Many requests and large answers: what waits for a reader is bounded.

use odradek::ids::{NodeId, Offset, Partition};
use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use odradek::wire::kafka::Message;
use odradek::wire::kafka::api_versions::ApiVersionsRequest;
use odradek::wire::kafka::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ReplicaState,
};
use odradek::wire::kafka::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use super::{Client, metric, produce, request, start};
use crate::broker::{Broker, Folder};
use crate::e2e::hostile::{
    MEMORY_LIMIT, SLACK_BYTES, accounts, is_unharmed, send_all, serves_others, settled,
};

#[test]
fn answers_that_nobody_reads_are_bounded() {
    const REQUESTS: i32 = 100_000;
    let folder = Folder::new();
    let broker = start(&folder);
    broker.text(&["topic", "create", "wide", "--partitions", "20"]);
    let before = accounts(&broker);
    let mut client = Client::to(&broker);
    let one = |number: i32| match number % 2 {
        0 => request(0, number, &ApiVersionsRequest::default()),
        _ => request(9, number, &MetadataRequest { topics: None, ..<_>::default() }),
    };
    send_all(&client.peer, (1..=REQUESTS).flat_map(one).collect());
    let handled = settled(&broker);
    assert!((10..REQUESTS as u64 / 2).contains(&handled), "{handled} are handled, none read");
    serves_others(&broker);
    let bytes = broker.anonymous_bytes();
    assert!(bytes < MEMORY_LIMIT + SLACK_BYTES, "{bytes} bytes of memory for answers unread");
    // Whoever reads in the end finds them all, in order.
    for expected in 1..=REQUESTS {
        let frame = client.receive().expect("the answers are there for whoever reads them");
        assert_eq!(frame[..4], expected.to_be_bytes());
    }
    drop(client);
    is_unharmed(&broker, &before);
}

fn fetch(topic: &str, partitions: i32, max_bytes: i32) -> FetchRequest<'_> {
    let partition = |index| FetchPartition {
        partition: Partition(index),
        fetch_offset: Offset(0),
        partition_max_bytes: max_bytes,
        ..FetchPartition::default()
    };
    let partitions = (0..partitions).map(partition).collect();
    FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 1,
        max_bytes,
        topics: vec![FetchTopic { topic, partitions, ..FetchTopic::default() }],
        ..FetchRequest::default()
    }
}

/// Through the door an answer that could not be sent was not counted until it could.
#[test]
fn many_that_read_nothing_share_the_memory() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.produce(&["bulk", "--create"], &["x".repeat(15_000)]);
    let before = accounts(&broker);
    let ask: Vec<u8> =
        (1..=400).flat_map(|number| request(11, number, &fetch("bulk", 1, 1))).collect();
    let mut clients: Vec<Client> = (0..60).map(|_| Client::narrow(&broker)).collect();
    for client in &mut clients {
        client.peer.send(&ask).expect("requests are small enough to be on their way");
    }
    settled(&broker);
    let most = broker.anonymous_bytes();
    serves_others(&broker);
    let held = metric(&broker, "memory_responses_bytes_now");
    assert!(MEMORY_LIMIT / 8 < held, "the peers hold {held} bytes");
    assert!(most < MEMORY_LIMIT + SLACK_BYTES, "{most} bytes of memory for answers unread");
    drop(clients);
    is_unharmed(&broker, &before);
}

/// Writes a batch of 15,000 bytes to each partition.
fn fill(broker: &Broker, topic: &str, partitions: i32) {
    broker.text(&["topic", "create", topic, "--partitions", &partitions.to_string()]);
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1_700_000_000_000), None, Some(&[b'x'; 15_000]), &[]);
    let batch = builder.finish(Compression::None);
    let all: Vec<(i32, &[u8])> = (0..partitions).map(|partition| (partition, &*batch)).collect();
    for some in all.chunks(100) {
        let errors = produce(&mut Client::to(broker), 9, None, topic, some);
        assert!(errors.iter().all(|error| error.is_ok()), "{errors:?}");
    }
}

/// Once every small batch was copied, whatever they came to together.
#[test]
fn a_fetch_of_everything_is_bounded() {
    const PARTITIONS: i32 = 500;
    let folder = Folder::new();
    let broker = start(&folder);
    fill(&broker, "all", PARTITIONS);
    let before = accounts(&broker);
    let mut client = Client::narrow(&broker);
    let everything = fetch("all", PARTITIONS, i32::MAX);
    client.peer.send(&request(12, 1, &everything)).expect("sent");
    settled(&broker);
    let held = metric(&broker, "memory_responses_bytes_now");
    assert!(held < 1_200_000, "the answer holds {held} bytes of memory");
    let frame = client.receive().expect("answered");
    let response = FetchResponse::decode(12, &frame[5..]).expect("it decodes");
    let partitions = &response.responses[0].partitions;
    let found = partitions.iter().map(|one| one.records.bytes().unwrap_or_default().len());
    assert_eq!(found.clone().count(), PARTITIONS as usize);
    assert!(found.min() > Some(15_000), "a batch of each");
    drop(client);
    is_unharmed(&broker, &before);
}

#[test]
fn clients_are_no_replicas() {
    let folder = Folder::new();
    let broker = start(&folder);
    broker.produce(&["kept", "--create"], &["x".to_owned()]);
    let mut client = Client::to(&broker);
    let topics = vec![MetadataRequestTopic { name: Some("kept"), ..<_>::default() }];
    let body = client.ask(12, &MetadataRequest { topics: Some(topics), ..<_>::default() });
    let topic_id = MetadataResponse::decode(12, &body).expect("decodes").topics[0].topic_id;
    let before = accounts(&broker);
    for version in 4..=18 {
        for replica_id in [NodeId(0), NodeId(1), NodeId(i32::MAX)] {
            let mut request = fetch("kept", 1, 1 << 20);
            request.topics[0].topic_id = topic_id;
            match version {
                ..15 => request.replica_id = replica_id,
                _ => request.replica_state = ReplicaState { replica_id, ..<_>::default() },
            }
            let body = client.ask(version, &request);
            let response = FetchResponse::decode(version, &body).expect("it decodes");
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.error_code, ErrorCode::INVALID_REQUEST, "version {version}");
            assert_eq!(partition.records.bytes().unwrap_or_default().len(), 0);
        }
    }
    is_unharmed(&broker, &before);
}
