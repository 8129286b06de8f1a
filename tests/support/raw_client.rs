//! The wire by hand: frames in, frames out, nothing hidden.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use odradek::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use odradek::wire::{ApiKey, ErrorCode, RequestHeader, ResponseHeader, frame};
use serde::Serialize;

/// A connection that said hello.
pub struct RawClient {
    pub stream: TcpStream,
    next_id: u32,
}

impl RawClient {
    /// Connects and says hello.
    pub fn connect(address: SocketAddr) -> RawClient {
        let mut client = RawClient::connect_silently(address);
        let hello = HelloRequest { magic: MAGIC, client_id: "test", features: 0 };
        let body = client.call(ApiKey::Hello, &hello, &[]);
        let response: HelloResponse<'_> = frame::decode(&body).expect("a hello");
        assert_eq!(response.error, ErrorCode::NONE);
        client
    }

    /// Connects and says nothing.
    pub fn connect_silently(address: SocketAddr) -> RawClient {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        RawClient { stream, next_id: 1 }
    }

    /// Sends a request; answers its correlation id.
    pub fn send(&mut self, api: ApiKey, body: &impl Serialize, raw: &[u8]) -> u32 {
        let correlation_id = self.next_id;
        self.next_id += 1;
        let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id };
        let mut bytes = Vec::new();
        frame::encode(&header, body, raw.len(), &mut bytes);
        bytes.extend_from_slice(raw);
        self.stream.write_all(&bytes).expect("the broker reads");
        correlation_id
    }

    /// Sends a request whose body is encoded already.
    pub fn send_raw(&mut self, api: ApiKey, body: &[u8]) -> u32 {
        self.send(api, &(), body)
    }

    /// The next response: its correlation id and its body.
    fn read(&mut self) -> (u32, Vec<u8>) {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).expect("an answer comes");
        let mut bytes = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream.read_exact(&mut bytes).expect("all of it comes");
        let (header, body) = frame::take::<ResponseHeader>(&bytes).expect("a header");
        (header.correlation_id, body.to_vec())
    }

    /// The next response's body.
    pub fn receive(&mut self) -> Vec<u8> {
        self.read().1
    }

    /// The next response's correlation id.
    pub fn receive_id(&mut self) -> u32 {
        self.read().0
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, api: ApiKey, body: &impl Serialize, raw: &[u8]) -> Vec<u8> {
        let sent = self.send(api, body, raw);
        let (received, body) = self.read();
        assert_eq!(received, sent);
        body
    }

    /// As `call`, with an encoded body.
    pub fn call_raw(&mut self, api: ApiKey, body: &[u8]) -> Vec<u8> {
        self.call(api, &(), body)
    }
}
