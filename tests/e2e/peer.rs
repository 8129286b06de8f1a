//! A peer on the wire that may misbehave: frames by hand, over a plain socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use odradek::wire::frame::{encode, take};
use odradek::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader};
use serde::Serialize;

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
        let socket = TcpStream::connect(server)?;
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
