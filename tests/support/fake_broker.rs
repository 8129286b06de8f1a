//! A broker that does as it is told: it speaks the wire, remembers what it was asked, and meets
//! each Produce with the next line of its script.

#[path = "fake_group.rs"]
mod fake_group;

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicId, Uuid};
use odradek::record::{self, Batch, Records};
use odradek::time::Timestamp;
use odradek::wire::fetch::{FetchRequest, FetchResponse, FetchedPartition};
use odradek::wire::hello::HelloResponse;
use odradek::wire::init_producer_id::InitProducerIdResponse;
use odradek::wire::list_offsets::{LATEST, ListOffsetsRequest, ListOffsetsResponse, ListedOffset};
use odradek::wire::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use odradek::wire::produce::{ProduceRequest, ProduceResponse, ProducedPartition};
use odradek::wire::{ApiKey, ErrorCode, RequestHeader, ResponseHeader, TopicRef, frame};
use serde::Serialize;

pub use fake_group::FakeGroup;

/// What a client hears that asks for all topics; any other is there as well.
const TOPICS: [&str; 3] = ["pump.level", "pump.pulses", "__pump"];

const TOPIC_ID: TopicId = TopicId(Uuid([7; 16]));

/// What becomes of one Produce request.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Nothing is appended, every batch gets this error.
    Refuse(ErrorCode),
    /// Nothing is appended, and no answer ever comes.
    Swallow,
    /// Appended, but the connection breaks before the answer.
    AppendAndHangUp,
    /// Answered as usual.
    Append,
}

/// A batch as it came.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// On which connection.
    pub connection: usize,
    /// Its values.
    pub values: Vec<String>,
    /// Its producer's id and epoch, and the sequence of its first record.
    pub stamp: (i64, i16, i32),
}

/// What a partition knows of a producer: epoch, and first sequence, count and offset of batches.
type Known = (i16, Vec<(i32, i32, i64)>);

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    /// When the script is over.
    afterwards: Option<Act>,
    batch_bytes_max: Option<usize>,
    arrivals: Vec<Arrival>,
    appended: BTreeMap<i32, Vec<String>>,
    connection_count: usize,
    metadata_count: usize,
    known: BTreeMap<(i32, i64), Known>,
    /// The next requests for a producer id meet these.
    id_script: VecDeque<ErrorCode>,
    id_count: usize,
    /// Epoch of the next id that is given.
    id_epoch: i16,
    /// Another broker that leads all partitions.
    deposed_by: Option<SocketAddr>,
    /// What a Fetch from partition 0 finds.
    log: Vec<u8>,
    log_end: i64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
    address: SocketAddr,
    partition_count: i32,
    group: FakeGroup,
}

/// See the module's documentation.
pub struct FakeBroker {
    shared: Arc<Shared>,
}

impl FakeBroker {
    /// A broker that leads so many partitions of any topic.
    pub fn start(partition_count: i32) -> FakeBroker {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
            address,
            partition_count,
            group: FakeGroup::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let Ok(stream) = stream else { return };
                thread::spawn(move || shared.serve(stream));
            }
        });
        FakeBroker { shared }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.shared.address.to_string()
    }

    /// Another broker leads from now on, and this one says so whoever asks.
    pub fn depose(&self, other: &FakeBroker) {
        self.shared.state.lock().expect("whole").deposed_by = Some(other.shared.address);
    }

    /// The next Produce requests meet these.
    pub fn script(&self, acts: &[Act]) {
        self.shared.state.lock().expect("whole").script.extend(acts);
    }

    /// What later ones meet.
    pub fn afterwards(&self, act: Act) {
        self.shared.state.lock().expect("whole").afterwards = Some(act);
    }

    /// Larger batches are refused with `MESSAGE_TOO_LARGE`.
    pub fn batch_bytes_max(&self, bytes: usize) {
        self.shared.state.lock().expect("whole").batch_bytes_max = Some(bytes);
    }

    /// What partition 0 holds, as batches, and its end.
    pub fn set_log(&self, bytes: Vec<u8>, end: i64) {
        let mut state = self.shared.state.lock().expect("whole");
        state.log = bytes;
        state.log_end = end;
    }

    /// The group that it coordinates.
    pub fn group(&self) -> &FakeGroup {
        &self.shared.group
    }

    /// All batches so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.state.lock().expect("whole").arrivals.clone()
    }

    /// Waits for so many batches.
    pub fn wait_for_arrivals(&self, count: usize) -> Vec<Arrival> {
        let mut state = self.shared.state.lock().expect("whole");
        let deadline = Instant::now() + Duration::from_secs(20);
        while state.arrivals.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.changed.wait_timeout(state, left).expect("whole").0;
        }
        let arrivals = state.arrivals.clone();
        // A panic under the lock would bury the reason under those of the other threads.
        drop(state);
        assert!(count <= arrivals.len(), "{} of {count} batches came", arrivals.len());
        arrivals
    }

    /// What a partition was given, in order.
    pub fn appended(&self, partition: i32) -> Vec<String> {
        let state = self.shared.state.lock().expect("whole");
        state.appended.get(&partition).cloned().unwrap_or_default()
    }

    /// The next requests for a producer id meet these errors.
    pub fn refuse_ids(&self, errors: &[ErrorCode]) {
        self.shared.state.lock().expect("whole").id_script.extend(errors);
    }

    /// The next producer id is given with this epoch.
    pub fn give_epoch(&self, epoch: i16) {
        self.shared.state.lock().expect("whole").id_epoch = epoch;
    }

    /// Requests for a producer id so far.
    pub fn id_count(&self) -> usize {
        self.shared.state.lock().expect("whole").id_count
    }

    /// Forgets every producer, as a broker may.
    pub fn forget_producers(&self) {
        self.shared.state.lock().expect("whole").known.clear();
    }

    /// Metadata requests so far.
    pub fn metadata_count(&self) -> usize {
        self.shared.state.lock().expect("whole").metadata_count
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.shared.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let connection = {
            let mut state = self.state.lock().expect("whole");
            state.connection_count += 1;
            state.connection_count
        };
        stream.set_nodelay(true).expect("a TCP socket");
        while let Some(bytes) = read_frame(&mut stream) {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let (header, rest) = frame::take::<RequestHeader>(&bytes).expect("a request");
            let api = ApiKey::from_number(header.api_key).expect("a known request");
            let answer = match api {
                ApiKey::Hello => Some(reply(header, &hello(), &[])),
                ApiKey::Metadata => Some(self.metadata(header, rest)),
                ApiKey::ListOffsets => Some(self.list_offsets(header, rest)),
                ApiKey::Fetch => Some(self.fetch(header, rest)),
                ApiKey::InitProducerId => Some(self.init_producer_id(header)),
                ApiKey::Produce => match self.produce(connection, header, rest) {
                    Ok(answer) => answer,
                    Err(()) => return,
                },
                api if FakeGroup::plays(api) => {
                    let (host, port) = (self.address.ip().to_string(), self.address.port());
                    Some(reply_bytes(header, &self.group.answer(api, rest, &host, port)))
                }
                other => panic!("{other:?} is not played here"),
            };
            if let Some(answer) = answer {
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        }
    }

    fn metadata(&self, header: RequestHeader, rest: &[u8]) -> Vec<u8> {
        let deposed_by = {
            let mut state = self.state.lock().expect("whole");
            state.metadata_count += 1;
            state.deposed_by
        };
        let leader = if deposed_by.is_some() { NodeId(2) } else { NodeId(1) };
        let request: MetadataRequest<'_> = frame::decode(rest).expect("decodes");
        let partitions = (0..self.partition_count).map(|partition| MetadataPartition {
            error: ErrorCode::NONE,
            partition: Partition(partition),
            leader,
            leader_epoch: LeaderEpoch(3),
            replicas: vec![NodeId(1)],
            isr: vec![NodeId(1)],
        });
        let all = || TOPICS.iter().map(|name| TopicRef::Name(name)).collect();
        let topics = request.topics.unwrap_or_else(all).into_iter().map(|topic| MetadataTopic {
            error: ErrorCode::NONE,
            name: if let TopicRef::Name(name) = topic { name } else { "" },
            topic_id: TOPIC_ID,
            is_internal: matches!(topic, TopicRef::Name(name) if name.starts_with("__")),
            partitions: partitions.clone().collect(),
        });
        let host = self.address.ip().to_string();
        let broker = |node_id, at: SocketAddr| MetadataBroker {
            node_id,
            host: &host,
            port: at.port(),
            rack: "",
        };
        let mut brokers = vec![broker(NodeId(1), self.address)];
        brokers.extend(deposed_by.map(|other| broker(NodeId(2), other)));
        let response = MetadataResponse {
            cluster_id: Uuid([1; 16]),
            controller_id: NodeId(1),
            brokers,
            topics: topics.collect(),
        };
        reply(header, &response, &[])
    }

    fn init_producer_id(&self, header: RequestHeader) -> Vec<u8> {
        let mut state = self.state.lock().expect("whole");
        state.id_count += 1;
        let response = match state.id_script.pop_front() {
            Some(error) if !error.is_ok() => InitProducerIdResponse::failed(error),
            _ => InitProducerIdResponse {
                error: ErrorCode::NONE,
                producer_id: 1000 + state.id_count as i64,
                producer_epoch: std::mem::take(&mut state.id_epoch),
            },
        };
        reply(header, &response, &[])
    }

    /// `Err` hangs up.
    fn produce(
        &self,
        connection: usize,
        header: RequestHeader,
        rest: &[u8],
    ) -> Result<Option<Vec<u8>>, ()> {
        let (request, raw) = frame::take::<ProduceRequest<'_>>(rest).expect("decodes");
        let lengths = request.partitions.iter().map(|one| one.records_bytes);
        let pieces = frame::split_records(lengths, raw).expect("the lengths add up");
        let mut state = self.state.lock().expect("whole");
        let act = state.script.pop_front().or(state.afterwards).unwrap_or(Act::Append);
        let mut answers = Vec::new();
        for (wanted, piece) in request.partitions.iter().zip(pieces) {
            let partition = wanted.partition.0;
            let values = values(piece);
            let at = Instant::now();
            let stamp = stamp_of(piece);
            state.arrivals.push(Arrival { at, connection, values: values.clone(), stamp });
            let is_too_large = state.batch_bytes_max.is_some_and(|max| max < piece.len());
            let error = match act {
                Act::Refuse(code) => code,
                _ if is_too_large => ErrorCode::MESSAGE_TOO_LARGE,
                _ => ErrorCode::NONE,
            };
            if !error.is_ok() {
                answers.push(ProducedPartition::failed(error));
                continue;
            }
            if matches!(act, Act::Swallow) {
                continue;
            }
            let answer = |offset: i64| ProducedPartition {
                error,
                base_offset: Offset(offset),
                log_append_time: Timestamp::NONE,
                log_start_offset: Offset(0),
                bad_records: Vec::new(),
            };
            let end = state.appended.entry(partition).or_default().len() as i64;
            let count = values.len() as i32;
            answers.push(match state.check(partition, stamp, count, end) {
                Ok(None) => {
                    state.appended.entry(partition).or_default().extend(values);
                    answer(end)
                }
                Ok(Some(offset)) => answer(offset),
                Err(code) => ProducedPartition::failed(code),
            });
        }
        self.changed.notify_all();
        match act {
            Act::AppendAndHangUp => Err(()),
            Act::Swallow => Ok(None),
            _ if request.acks == 0 => Ok(None),
            _ => Ok(Some(reply(header, &ProduceResponse { partitions: answers }, &[]))),
        }
    }

    fn list_offsets(&self, header: RequestHeader, rest: &[u8]) -> Vec<u8> {
        let request: ListOffsetsRequest<'_> = frame::decode(rest).expect("decodes");
        let end = self.state.lock().expect("whole").log_end;
        let partitions = request.partitions.iter().map(|one| ListedOffset {
            error: ErrorCode::NONE,
            offset: Offset(if one.timestamp == LATEST { end } else { 0 }),
            timestamp: Timestamp::NONE,
            leader_epoch: LeaderEpoch(3),
        });
        reply(header, &ListOffsetsResponse { partitions: partitions.collect() }, &[])
    }

    /// Whole batches from the one that holds the offset on; nothing is waited for long.
    fn fetch(&self, header: RequestHeader, rest: &[u8]) -> Vec<u8> {
        let request: FetchRequest<'_> = frame::decode(rest).expect("decodes");
        let mut state = self.state.lock().expect("whole");
        let first = request.partitions.iter().find(|one| one.partition.0 == 0);
        let log = first.map_or(Vec::new(), |wanted| state.records_from(wanted.offset));
        if log.is_empty() {
            let pause = Duration::from_millis(u64::from(request.max_wait_ms.min(20)));
            state = self.changed.wait_timeout(state, pause).expect("whole").0;
        }
        let partitions = request.partitions.iter().map(|wanted| {
            let is_first = wanted.partition.0 == 0;
            FetchedPartition {
                error: ErrorCode::NONE,
                high_watermark: Offset(if is_first { state.log_end } else { 0 }),
                log_start_offset: Offset(0),
                records_bytes: if is_first { log.len() as u32 } else { 0 },
            }
        });
        reply(header, &FetchResponse { partitions: partitions.collect() }, &log)
    }
}

impl State {
    /// Whole batches of partition 0, from the one that holds the offset on.
    fn records_from(&self, offset: Offset) -> Vec<u8> {
        let mut log: &[u8] = &self.log;
        while let Ok((batch, behind)) = Batch::split_first(log) {
            if offset <= batch.header().last_offset() {
                break;
            }
            log = behind;
        }
        log.to_vec()
    }
}

impl State {
    /// Semantics.md 2.15, in few words: the offset of the first time, or that it is the first.
    fn check(
        &mut self,
        partition: i32,
        (id, epoch, sequence): (i64, i16, i32),
        count: i32,
        end: i64,
    ) -> Result<Option<i64>, ErrorCode> {
        if id < 0 {
            return Ok(None);
        }
        let (known_epoch, batches) =
            self.known.entry((partition, id)).or_insert_with(|| (epoch, Vec::new()));
        if epoch < *known_epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if *known_epoch < epoch {
            if sequence != 0 {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            (*known_epoch, *batches) = (epoch, Vec::new());
        }
        let last_five = batches.iter().rev().take(5);
        let mut copies = last_five.filter(|(first, n, _)| (*first, *n) == (sequence, count));
        if let Some((_, _, offset)) = copies.next() {
            return Ok(Some(*offset));
        }
        if batches.last().is_some_and(|(first, n, _)| first + n != sequence) {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        batches.push((sequence, count, end));
        Ok(None)
    }
}

fn stamp_of(batch: &[u8]) -> (i64, i16, i32) {
    let (batch, _) = Batch::split_first(batch).expect("one batch");
    let header = batch.header();
    (header.producer_id, header.producer_epoch, header.base_sequence)
}

fn hello() -> HelloResponse<'static> {
    HelloResponse {
        error: ErrorCode::NONE,
        cluster_id: Uuid([1; 16]),
        node_id: NodeId(1),
        software: "fake",
        features: 0,
        frame_bytes_max: 8 << 20,
        apis: ApiKey::ALL.iter().map(|api| api.versions()).collect(),
    }
}

fn values(batch: &[u8]) -> Vec<String> {
    let (batch, _) = Batch::split_first(batch).expect("one batch");
    assert!(batch.crc_is_valid(), "the producer's own checksum");
    let section = record::decompress(&batch, 64 << 20).expect("decompresses");
    Records::new(batch.header(), &section)
        .map(|record| {
            let value = record.expect("decodes").value.unwrap_or_default();
            String::from_utf8(value.to_vec()).expect("text")
        })
        .collect()
}

fn reply<B: Serialize>(header: RequestHeader, body: &B, raw: &[u8]) -> Vec<u8> {
    let header = ResponseHeader { correlation_id: header.correlation_id, throttle_time_ms: 0 };
    let mut bytes = Vec::new();
    frame::encode(&header, body, raw.len(), &mut bytes);
    bytes.extend_from_slice(raw);
    bytes
}

/// As [`reply`], with a body that is bytes already.
fn reply_bytes(header: RequestHeader, body: &[u8]) -> Vec<u8> {
    let header = ResponseHeader { correlation_id: header.correlation_id, throttle_time_ms: 0 };
    let mut bytes = Vec::new();
    frame::encode(&header, &(), body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut bytes = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
