//! A connection that said hello, and frames that are built once and sent many times.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use odradek::ids::Partition;
use odradek::record::{BatchBuilder, Compression};
use odradek::time::Timestamp;
use odradek::wire::create_topics::{CreateTopic, CreateTopicsRequest, CreateTopicsResponse};
use odradek::wire::describe_metrics::{DescribeMetricsRequest, DescribeMetricsResponse};
use odradek::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use odradek::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, ErrorCode, RequestHeader, ResponseHeader, TopicRef, frame};
use serde::Serialize;

/// Where a one-byte correlation id stands in a request: after the length, api key and version.
const CORRELATION_ID_AT: usize = 6;

/// Correlation ids stay below this, so that one byte holds them and a frame can be sent again.
const CORRELATION_IDS: u8 = 128;

/// A connection and what arrived on it beyond the last response.
pub struct Connection {
    pub stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    sent: u8,
    answered: u8,
}

impl Connection {
    /// Connects and says hello.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        Connection::greet(TcpStream::connect(address)?)
    }

    /// Says hello.
    pub fn greet(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let mut connection =
            Connection { stream, input: Vec::new(), start: 0, sent: 0, answered: 0 };
        let hello = HelloRequest { magic: MAGIC, client_id: "load", features: 0 };
        let body = connection.call(ApiKey::Hello, &hello)?;
        let response: HelloResponse<'_> = frame::decode(&body).map_err(io::Error::other)?;
        check(response.error)?;
        Ok(connection)
    }

    /// Sends a frame of [`request`], under the next correlation id.
    pub fn send(&mut self, frame: &mut [u8]) -> io::Result<()> {
        frame[CORRELATION_ID_AT] = self.sent;
        self.sent = (self.sent + 1) % CORRELATION_IDS;
        self.stream.write_all(frame)
    }

    /// A second handle on the connection, to send from another thread.
    pub fn split(self) -> io::Result<(Connection, Connection)> {
        let stream = self.stream.try_clone()?;
        let sender = Connection { stream, input: Vec::new(), start: 0, ..self };
        Ok((sender, self))
    }

    /// The next response's body; waits for it.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        while !self.has_response() {
            self.fill()?;
        }
        let bytes = self.next_bytes().expect("a response is there");
        let frame = &self.input[self.start + 4..self.start + bytes];
        self.start += bytes;
        let (header, body) = frame::take::<ResponseHeader>(frame).map_err(io::Error::other)?;
        if header.correlation_id != u32::from(self.answered) {
            return Err(io::Error::other("responses out of order"));
        }
        self.answered = (self.answered + 1) % CORRELATION_IDS;
        Ok(body)
    }

    /// Whether a whole response has arrived already.
    pub fn has_response(&self) -> bool {
        self.next_bytes().is_some_and(|bytes| bytes <= self.input.len() - self.start)
    }

    /// Reads the next response of a produce request; answers how many batches were refused.
    pub fn receive_produced(&mut self) -> io::Result<Produced> {
        let body = self.receive()?;
        let response: ProduceResponse = frame::decode(body).map_err(io::Error::other)?;
        let mut produced = Produced { refused_count: 0, error: ErrorCode::NONE };
        for partition in response.partitions {
            if !partition.error.is_ok() {
                produced.refused_count += 1;
                produced.error = partition.error;
            }
        }
        Ok(produced)
    }

    /// Waits for an answer to produce, which must be a good one.
    pub fn receive_good(&mut self) -> io::Result<()> {
        let produced = self.receive_produced()?;
        if produced.error.is_ok() {
            return Ok(());
        }
        Err(io::Error::other(format!("the broker refused a batch: {}", produced.error)))
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, api: ApiKey, body: &impl Serialize) -> io::Result<Vec<u8>> {
        self.send(&mut request(api, body, &[]))?;
        self.receive().map(<[u8]>::to_vec)
    }

    /// `replication_factor` −1 leaves it to the broker.
    pub fn create_topic(
        &mut self,
        name: &str,
        partition_count: i32,
        replication_factor: i16,
    ) -> io::Result<()> {
        let topic = CreateTopic { name, partition_count, replication_factor, configs: vec![] };
        let request =
            CreateTopicsRequest { timeout_ms: 60_000, validate_only: false, topics: vec![topic] };
        let body = self.call(ApiKey::CreateTopics, &request)?;
        let response: CreateTopicsResponse<'_> = frame::decode(&body).map_err(io::Error::other)?;
        response.topics.iter().try_for_each(|topic| check(topic.error))
    }

    pub fn metrics(&mut self) -> io::Result<Vec<(String, u64)>> {
        let body = self.call(ApiKey::DescribeMetrics, &DescribeMetricsRequest {})?;
        let response: DescribeMetricsResponse<'_> =
            frame::decode(&body).map_err(io::Error::other)?;
        Ok(response.metrics.iter().map(|metric| (metric.name.to_owned(), metric.value)).collect())
    }

    /// Bytes of the response that stands next, prefix and all.
    fn next_bytes(&self) -> Option<usize> {
        let prefix = self.input[self.start..].first_chunk()?;
        Some(4 + u32::from_be_bytes(*prefix) as usize)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..self.start);
        self.start = 0;
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            bytes => {
                self.input.extend_from_slice(&chunk[..bytes]);
                Ok(())
            }
        }
    }
}

/// What a response to produce says.
pub struct Produced {
    pub refused_count: u64,
    /// The last error, or `NONE`.
    pub error: ErrorCode,
}

/// A whole frame, to be sent by [`Connection::send`] as often as wanted.
pub fn request(api: ApiKey, body: &impl Serialize, raw: &[u8]) -> Vec<u8> {
    let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id: 0 };
    let mut bytes = Vec::new();
    frame::encode(&header, body, raw.len(), &mut bytes);
    bytes.extend_from_slice(raw);
    bytes
}

/// A produce request with the same batch for each of `partitions`.
pub fn produce_request(topic: &str, partitions: std::ops::Range<i32>, batch: &[u8]) -> Vec<u8> {
    let raw = batch.repeat(partitions.len());
    let entry = |partition| ProducePartition {
        topic: TopicRef::Name(topic),
        partition: Partition(partition),
        records_bytes: batch.len() as u32,
    };
    let body = ProduceRequest {
        acks: -1,
        timeout_ms: 60_000,
        partitions: partitions.map(entry).collect(),
    };
    request(ApiKey::Produce, &body, &raw)
}

/// A batch of `count` records whose values have `value_bytes`.
pub fn batch_of(count: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for number in 0..count {
        push(&mut builder, number, value_bytes);
    }
    builder.finish(Compression::None)
}

/// As many records of `value_bytes` as a batch of at most `batch_bytes` holds, at least one; and
/// their count.
pub fn batch_up_to(batch_bytes: usize, value_bytes: usize) -> (Vec<u8>, usize) {
    let mut builder = BatchBuilder::new();
    push(&mut builder, 0, value_bytes);
    loop {
        let mut longer = builder.clone();
        // A record's own fields take at most 16 bytes here; one at a time would be quadratic.
        let room = batch_bytes.saturating_sub(longer.size_bytes()) / (value_bytes + 16);
        if room == 0 {
            return (builder.finish(Compression::None), longer.record_count() as usize);
        }
        for _ in 0..room {
            let number = longer.record_count() as usize;
            push(&mut longer, number, value_bytes);
        }
        builder = longer;
    }
}

fn push(builder: &mut BatchBuilder, number: usize, value_bytes: usize) {
    builder.push(now(), None, Some(&value_of(number, value_bytes)), &[]);
}

/// What a record says of the time it was made.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since_epoch.as_millis() as i64)
}

/// Values differ, so that nothing on the way can be clever about them.
pub fn value_of(number: usize, value_bytes: usize) -> Vec<u8> {
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut value = vec![0; value_bytes];
    for byte in &mut value {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    value
}

fn check(error: ErrorCode) -> io::Result<()> {
    if error.is_ok() { Ok(()) } else { Err(io::Error::other(format!("the broker says {error}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek::record::Batch;

    #[test]
    fn a_batch_fills_its_bytes_and_is_sound() {
        for (batch_bytes, value_bytes) in [(65_536, 100), (65_536, 1024), (1 << 20, 100), (1, 10)] {
            let (batch, record_count) = batch_up_to(batch_bytes, value_bytes);
            let (read, rest) = Batch::split_first(&batch).expect("a batch");
            assert!(read.crc_is_valid() && rest.is_empty());
            assert_eq!(read.header().record_count as usize, record_count);
            let is_full = batch_bytes < batch.len() + value_bytes + 16;
            assert!(is_full && (batch.len() <= batch_bytes || record_count == 1));
        }
    }

    #[test]
    fn a_frame_sent_again_differs_in_its_correlation_id_alone() {
        let mut frame = produce_request("t", 0..2, &batch_of(1, 10));
        frame[CORRELATION_ID_AT] = 77;
        let (header, _) = frame::take::<RequestHeader>(&frame[4..]).expect("a header");
        assert_eq!((header.api_key, header.correlation_id), (ApiKey::Produce as u8, 77));
    }
}
