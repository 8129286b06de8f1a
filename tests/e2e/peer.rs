//! A peer on the wire that may misbehave: frames by hand, over a plain socket.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use odradek::wire::describe_metrics::{DescribeMetricsRequest, DescribeMetricsResponse};
use odradek::wire::frame::{decode, encode, take};
use odradek::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

/// How long an answer may take, and how long a bad peer may be kept.
const WAIT: Duration = Duration::from_secs(15);

/// A connection.
#[derive(Debug)]
pub struct Peer {
    /// Its socket.
    pub socket: TcpStream,
    correlation_id: u32,
}

impl Peer {
    /// Connects, and says nothing yet.
    pub fn connect(server: &str) -> io::Result<Self> {
        Self::over(TcpStream::connect(server)?)
    }

    /// As [`Peer::connect`], with little room for what comes in: the broker keeps the rest.
    pub fn narrow(server: &str) -> io::Result<Self> {
        let address: SocketAddr = server.parse().map_err(io::Error::other)?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&address.into())?;
        Self::over(socket.into())
    }

    fn over(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(WAIT))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, correlation_id: 0 })
    }

    /// Connects and says hello; what the broker said.
    pub fn greeted(server: &str) -> Self {
        let mut peer = Self::connect(server).expect("the broker accepts");
        peer.send(&hello(MAGIC)).expect("a hello is sent");
        let answer = peer.answer().expect("a hello is answered");
        let hello: HelloResponse<'_> = take(&answer).expect("a hello decodes").0;
        assert!(hello.error.is_ok(), "{hello:?}");
        peer
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a request and gives the body of its answer.
    pub fn ask<B: Serialize>(&mut self, api: ApiKey, body: &B, raw: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation_id += 1;
        let mut bytes = request(api, self.correlation_id, body, raw.len());
        bytes.extend_from_slice(raw);
        self.send(&bytes)?;
        self.answer()
    }

    /// Reads one frame and gives its body.
    pub fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix)?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.socket.read_exact(&mut frame)?;
        let (_, body): (ResponseHeader, _) = take(&frame).map_err(io::Error::other)?;
        Ok(body.to_vec())
    }

    /// What the broker counts.
    pub fn metrics(&mut self) -> BTreeMap<String, u64> {
        let answer = self.ask(ApiKey::DescribeMetrics, &DescribeMetricsRequest {}, &[]);
        let answer = answer.expect("a request for metrics is answered");
        let response: DescribeMetricsResponse<'_> = decode(&answer).expect("it decodes");
        response.metrics.iter().map(|metric| (metric.name.to_owned(), metric.value)).collect()
    }

    /// Whether the broker ends the connection; what it sends before that is read and dropped.
    pub fn is_closed_by_the_broker(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// A request's frame; `raw_bytes` more must follow it.
pub fn request<B: Serialize>(
    api: ApiKey,
    correlation_id: u32,
    body: &B,
    raw_bytes: usize,
) -> Vec<u8> {
    let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id };
    let mut bytes = Vec::new();
    encode(&header, body, raw_bytes, &mut bytes);
    bytes
}

/// A hello's frame.
pub fn hello(magic: [u8; 4]) -> Vec<u8> {
    request(ApiKey::Hello, 0, &HelloRequest { magic, client_id: "a test", features: 0 }, 0)
}
