//! What comes in at Kafka's door and should not, item by item as the issue "Kafka's door" lists it.
//!
//! | item | test |
//! |---|---|
//! | every field of every API at its limits, 20 M tagged fields, overlong varints | `fields::every_field_at_its_limits`; the codec alone: `kafka_wire/hostile.rs` |
//! | frames of no length, of any length, larger than a request is | `frames::lengths_that_lie`, `frames::lengths_alone_take_no_memory` |
//! | large frames that never end | `frames::large_frames_that_stop_hold_up_no_consumer` |
//! | requests before `ApiVersions`, response-shaped requests | `frames::requests_come_before_versions`, `frames::responses_are_no_requests` |
//! | 100,000 requests without reading | `pipelines::answers_that_nobody_reads_are_bounded`, `pipelines::many_that_read_nothing_share_the_memory`; the wire: `hostile.rs` |
//! | fetch with `max_bytes` 2³¹−1 | `pipelines::a_fetch_of_everything_is_bounded` |
//! | `replica_id` of a broker | `pipelines::clients_are_no_replicas` |
//! | a million group and member ids | `names::groups_and_members_give_way_or_are_refused`; a million: `many_ids.rs` |
//! | a million producer ids | `src/log/producers/tests.rs`, over all partitions `tests/kafka/producers.rs` |
//! | names of 32 KiB with control characters | `names::a_log_line_stays_a_line`; what groups refuse: `src/group/tests.rs` |
//! | 10⁶ partitions, replication factor 32767 | `names::topics_that_are_too_large_are_not_made` |
//! | control batches, transactional batches without a producer | `batches::batches_that_clients_may_not_write` |
//! | snappy, gzip, lz4 and zstd bombs | `batches::bombs_are_refused` |
//! | bytes that no decoder should take | `fuzz/` |
//!
//! After each: other clients are served, the memory is back, and nothing was stored.

mod batches;
mod fields;
mod frames;
mod names;
mod pipelines;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use odradek::ids::Partition;
use odradek::wire::ErrorCode;
use odradek::wire::kafka::api_versions::ApiVersionsRequest;
use odradek::wire::kafka::find_coordinator::FindCoordinatorRequest;
use odradek::wire::kafka::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use odradek::wire::kafka::{
    ApiKey, Frame, Message, Records, decode_response_header, encode_request,
};

use super::hostile;
use super::peer::Peer;
use crate::broker::{Broker, Folder};

/// The correlation id of the question whether a connection lives.
const ALIVE: i32 = 0x000a_117e;

/// A broker with both doors that makes no topics by itself.
fn start(folder: &Folder) -> Broker {
    hostile::setup(folder)
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("auto.create.topics.enable", "false")
        .set("frame.timeout.ms", "1000")
        .set("max.connections", "300")
        .set("offsets.topic.num.partitions", "5")
        .start()
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The connection goes on; so many frames answered it.
    Answered(usize),
    /// The connection is over.
    Closed,
}

/// A client of Kafka's door that may misbehave.
struct Client {
    peer: Peer,
    next_id: i32,
}

impl Client {
    fn to(broker: &Broker) -> Client {
        let address = broker.kafka.as_deref().expect("the door is open");
        Client { peer: Peer::connect(address).expect("the broker accepts"), next_id: 1 }
    }

    /// As [`Client::to`], with little room for what comes in.
    fn narrow(broker: &Broker) -> Client {
        let address = broker.kafka.as_deref().expect("the door is open");
        Client { peer: Peer::narrow(address).expect("the broker accepts"), next_id: 1 }
    }

    fn socket(&self) -> &TcpStream {
        &self.peer.socket
    }

    /// One frame, without its prefix.
    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        self.peer.socket.read_exact(&mut prefix)?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.peer.socket.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Sends a request and gives the body of its answer.
    fn ask<'a, M: Message<'a>>(&mut self, version: i16, message: &M) -> Vec<u8> {
        let id = self.next_id;
        self.next_id += 1;
        self.peer.send(&request(version, id, message)).expect("sent");
        let frame = self.receive().expect("answered");
        let (correlation_id, body) =
            decode_response_header(M::API, version, &frame).expect("a legal header");
        assert_eq!(correlation_id, id, "answers come in order");
        body.to_vec()
    }

    /// Sends frames, and then asks whether the connection lives.
    fn fate_of(&mut self, frames: &[u8]) -> Fate {
        let alive = request(0, ALIVE, &ApiVersionsRequest::default());
        // The broker may end it while it is still told something.
        let _ = self.socket().write_all(&[frames, &alive].concat());
        let mut answers = 0;
        loop {
            match self.receive() {
                Ok(frame) if frame.starts_with(&ALIVE.to_be_bytes()) => {
                    return Fate::Answered(answers);
                }
                Ok(_) => answers += 1,
                Err(error) => {
                    let is_late =
                        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!is_late, "neither answered nor closed");
                    return Fate::Closed;
                }
            }
        }
    }
}

/// The fate of frames on a connection of their own.
fn fate(broker: &Broker, frames: &[u8]) -> Fate {
    Client::to(broker).fate_of(frames)
}

/// A request's frame.
fn request<'a, M: Message<'a>>(version: i16, correlation_id: i32, message: &M) -> Vec<u8> {
    let mut frame = Frame::new();
    encode_request(version, correlation_id, Some("a test"), message, &mut frame);
    frame.bytes().to_vec()
}

/// A frame of a request whose body is given, from a client of this name.
fn frame(api: ApiKey, version: i16, client_id: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = api.number().to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend([0, 0, 0, 7]);
    bytes.extend((client_id.len() as i16).to_be_bytes());
    bytes.extend(client_id);
    if api.is_flexible(version) {
        bytes.push(0);
    }
    bytes.extend(body);
    prefixed(&bytes)
}

/// Bytes with their length before them.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a small frame");
    [&length.to_be_bytes(), bytes].concat()
}

/// Has the topic made that keeps what groups say, so that it is there before anything is counted.
fn with_groups(broker: &Broker) {
    Client::to(broker).ask(1, &FindCoordinatorRequest { key: "g", ..<_>::default() });
}

/// Produces one batch to each of some partitions of a topic, and gives their error codes.
fn produce(
    client: &mut Client,
    version: i16,
    transactional_id: Option<&str>,
    name: &str,
    batches: &[(i32, &[u8])],
) -> Vec<ErrorCode> {
    let data = |(index, records): &(i32, &[u8])| {
        // The codec's values live as long as their frame, which here is the test.
        let records = Records::Bytes(records.to_vec().leak());
        PartitionProduceData { index: Partition(*index), records }
    };
    let partition_data = batches.iter().map(data).collect();
    let request = ProduceRequest {
        transactional_id,
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData { name, partition_data, ..<_>::default() }],
    };
    let body = client.ask(version, &request);
    let response = ProduceResponse::decode(version, &body).expect("it decodes");
    let results = &response.responses[0].partition_responses;
    results.iter().map(|result| result.error_code).collect()
}

/// What the broker counts.
fn metric(broker: &Broker, name: &str) -> u64 {
    Peer::greeted(&broker.server).metrics()[name]
}
