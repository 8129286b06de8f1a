//! Connections of a client: nonblocking, pipelined, bounded.
//!
//! A [`Connection`] writes requests without waiting and reads whole frames as they arrive; the
//! thread that owns several of them waits for all in [`wait`]. [`Connection::call`] is the
//! blocking shape of the same thing, for one request at a time.
//!
//! **Invariant:** a frame longer than [`CLIENT_FRAME_BYTES_MAX`] closes the connection before any
//! memory is reserved for it. Responses come in the order of the requests; any other correlation
//! id is a broken peer.
//!
//! Why `poll` and one thread, rather than a reading thread per connection: a record that is sent
//! and acknowledged then crosses two threads, not four.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};

use crate::client::ClientError;
use crate::limits::{CLIENT_FRAME_BYTES_MAX, FRAME_PREFIX_BYTES};
use crate::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use crate::wire::{ApiKey, FrameError, RequestHeader, ResponseHeader, frame};

const INBOX_BYTES: usize = 16 << 10;
/// Reserved ahead for a frame; beyond it memory follows the bytes that really arrive.
const RESERVE_BYTES_MAX: usize = 256 << 10;

/// A broker that was not heard for so long is asked whether it is there, so often, at such intervals.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent may go without any sign of the broker's machine.
const UNHEARD_MS_MAX: u32 = 30_000;

/// A response, behind its prefix.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Bytes,
    header: ResponseHeader,
    body_at: usize,
}

impl Frame {
    fn new(bytes: Vec<u8>) -> Result<Frame, ClientError> {
        let (header, body) = frame::take::<ResponseHeader>(&bytes)?;
        let body_at = bytes.len() - body.len();
        Ok(Frame { bytes: Bytes::from(bytes), header, body_at })
    }

    /// Correlation id and throttle hint.
    pub fn header(&self) -> ResponseHeader {
        self.header
    }

    /// The body, which is all that follows the header.
    pub fn body<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        Ok(frame::decode(&self.bytes[self.body_at..])?)
    }

    /// The body and the raw bytes behind it, which share the frame's memory.
    pub fn body_and_raw<'a, T: Deserialize<'a>>(&'a self) -> Result<(T, Bytes), ClientError> {
        let (body, raw) = frame::take(&self.bytes[self.body_at..])?;
        let raw_at = self.bytes.len() - raw.len();
        Ok((body, self.bytes.slice(raw_at..)))
    }
}

/// A frame of which some bytes are here.
#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    total: usize,
}

/// One TCP connection to a broker that said hello.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Box<[u8]>,
    inbox_from: usize,
    inbox_end: usize,
    partial: Option<Partial>,
    outbox: VecDeque<u8>,
    correlation_id: u32,
    frame_bytes_max: usize,
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`) and says hello, both within `timeout`.
    pub fn open(
        address: &str,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Connection, ClientError> {
        let deadline = Instant::now() + timeout;
        let stream = connect(address, deadline)?;
        stream.set_nodelay(true)?;
        notice_death(&stream)?;
        stream.set_nonblocking(true)?;
        let mut connection = Connection {
            stream,
            inbox: vec![0; INBOX_BYTES].into_boxed_slice(),
            inbox_from: 0,
            inbox_end: 0,
            partial: None,
            outbox: VecDeque::new(),
            correlation_id: 0,
            frame_bytes_max: crate::limits::FRAME_BYTES_BEFORE_HELLO_MAX,
        };
        connection.say_hello(client_id, deadline.saturating_duration_since(Instant::now()))?;
        Ok(connection)
    }

    fn say_hello(&mut self, client_id: &str, timeout: Duration) -> Result<(), ClientError> {
        let hello = HelloRequest { magic: MAGIC, client_id, features: 0 };
        let answer = self.call(ApiKey::Hello, &hello, timeout)?;
        let answer: HelloResponse<'_> = answer.body()?;
        if !answer.error.is_ok() {
            return Err(ClientError::Broker(answer.error));
        }
        self.frame_bytes_max = answer.frame_bytes_max as usize;
        for api in ApiKey::ALL {
            let ours = api.versions();
            let is_shared = answer.apis.iter().any(|theirs| {
                theirs.api_key == ours.api_key
                    && theirs.version_min <= ours.version_max
                    && ours.version_min <= theirs.version_max
            });
            if !is_shared {
                return Err(ClientError::Incompatible(api));
            }
        }
        Ok(())
    }

    /// Sends a request and waits for its response; nothing else may be in flight.
    pub fn call<B: Serialize>(
        &mut self,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        let deadline = Instant::now() + timeout;
        let correlation_id = self.send(api, body, &[])?;
        loop {
            self.flush()?;
            if let Some(frame) = self.try_receive()? {
                if frame.header.correlation_id != correlation_id {
                    return Err(ClientError::Protocol(FrameError::Malformed));
                }
                return Ok(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Timeout);
            }
            wait(&[(self.as_fd(), self.wants_write())], left)?;
        }
    }

    /// Queues a request and writes what the socket takes; `raw` follows the body. Answers the
    /// correlation id.
    pub fn send<B: Serialize>(
        &mut self,
        api: ApiKey,
        body: &B,
        raw: &[&[u8]],
    ) -> Result<u32, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api_key: api as u8,
            api_version: api.versions().version_max,
            correlation_id: self.correlation_id,
        };
        let raw_bytes = raw.iter().map(|piece| piece.len()).sum();
        let mut head = Vec::new();
        frame::encode(&header, body, raw_bytes, &mut head);
        let frame_bytes = head.len() - FRAME_PREFIX_BYTES + raw_bytes;
        if self.frame_bytes_max < frame_bytes {
            return Err(ClientError::RecordTooLarge { bytes: frame_bytes });
        }
        self.write(&head)?;
        for piece in raw {
            self.write(piece)?;
        }
        Ok(self.correlation_id)
    }

    /// Writes at once what fits and keeps the rest.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        self.flush()?;
        while self.outbox.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(ClientError::Disconnected(ErrorKind::WriteZero)),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.extend(bytes);
        Ok(())
    }

    /// Writes what the socket takes of what is queued.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        while !self.outbox.is_empty() {
            let (front, _) = self.outbox.as_slices();
            match self.stream.write(front) {
                Ok(0) => return Err(ClientError::Disconnected(ErrorKind::WriteZero)),
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether bytes wait for the socket to take them.
    pub fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// A response, if one is here whole.
    pub fn try_receive(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            if let Some(partial) = &mut self.partial {
                let missing = (partial.total - partial.bytes.len()) as u64;
                if 0 < missing {
                    match (&self.stream).take(missing).read_to_end(&mut partial.bytes) {
                        Ok(_) if partial.bytes.len() < partial.total => {
                            return Err(ClientError::Disconnected(ErrorKind::UnexpectedEof));
                        }
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            if let Some(partial) = self.partial.take() {
                return Frame::new(partial.bytes).map(Some);
            }
            if !self.begin_frame()? && !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Starts a frame when its prefix is in the inbox.
    fn begin_frame(&mut self) -> Result<bool, ClientError> {
        let held = &self.inbox[self.inbox_from..self.inbox_end];
        let Some((prefix, rest)) = held.split_first_chunk() else { return Ok(false) };
        let total = frame::frame_bytes(*prefix, CLIENT_FRAME_BYTES_MAX)
            .ok_or(ClientError::Protocol(FrameError::Malformed))?;
        let here = total.min(rest.len());
        let mut bytes = Vec::with_capacity(total.min(RESERVE_BYTES_MAX.max(here)));
        bytes.extend_from_slice(&rest[..here]);
        self.inbox_from += FRAME_PREFIX_BYTES + here;
        self.partial = Some(Partial { bytes, total });
        Ok(true)
    }

    /// Reads into the inbox; false when nothing is there.
    fn fill(&mut self) -> Result<bool, ClientError> {
        self.inbox.copy_within(self.inbox_from..self.inbox_end, 0);
        self.inbox_end -= self.inbox_from;
        self.inbox_from = 0;
        loop {
            match self.stream.read(&mut self.inbox[self.inbox_end..]) {
                Ok(0) => return Err(ClientError::Disconnected(ErrorKind::UnexpectedEof)),
                Ok(count) => {
                    self.inbox_end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn connect(address: &str, deadline: Instant) -> Result<TcpStream, ClientError> {
    let addresses =
        address.to_socket_addrs().map_err(|error| ClientError::Unreachable(error.kind()))?;
    let mut last = ErrorKind::AddrNotAvailable;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Unreachable(ErrorKind::TimedOut));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.kind(),
        }
    }
    Err(ClientError::Unreachable(last))
}

/// A board that lost its power or its cable says nothing, and some answers may take minutes (a join
/// of a group waits for the others): whoever waits for one must notice within half a minute.
fn notice_death(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    // The probes rest while something that was sent is on its way.
    sockopt::set_tcp_user_timeout(stream, UNHEARD_MS_MAX)?;
    Ok(())
}

/// Waits until one of `sockets` can be read (or written, where asked), or `timeout` passed.
pub fn wait(sockets: &[(BorrowedFd<'_>, bool)], timeout: Duration) -> Result<(), ClientError> {
    let mut polled: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|(fd, wants_write)| {
            let flags = if *wants_write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let timeout = Timespec {
        tv_sec: timeout.as_secs().min(3600) as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// Wakes a thread out of [`wait`]. Many wakes before it runs cost one byte.
#[derive(Debug)]
pub struct Waker {
    sender: UnixStream,
    receiver: UnixStream,
    is_pending: AtomicBool,
}

impl Waker {
    /// A waker that nobody used yet.
    pub fn new() -> Result<Waker, ClientError> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Waker { sender, receiver, is_pending: AtomicBool::new(false) })
    }

    /// Ends the present or the next [`wait`].
    pub fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::AcqRel) {
            // A full pipe would mean that the thread is awake already.
            let _ = (&self.sender).write(&[1]);
        }
    }

    /// Called by the woken thread before it looks at what changed.
    pub fn clear(&self) {
        // Not only when a wake is pending: the byte of an earlier one may come after the mark that
        // went with it was taken away, and `wait` would end at once for as long as it lies there.
        let mut bytes = [0; 16];
        let _ = (&self.receiver).read(&mut bytes);
        self.is_pending.store(false, Ordering::Release);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A member that asked to join a group at a board whose power went waited 305 seconds for the
    /// answer: no segment was on its way, so nothing told it that nobody was there any more.
    #[test]
    fn a_connection_notices_that_the_brokers_machine_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("bound").to_string();
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = connect(&address, deadline).expect("it listens");
        notice_death(&stream).expect("a socket of TCP");
        assert!(sockopt::socket_keepalive(&stream).expect("a socket"));
        let idle = sockopt::tcp_keepidle(&stream).expect("a socket");
        let interval = sockopt::tcp_keepintvl(&stream).expect("a socket");
        let probes = sockopt::tcp_keepcnt(&stream).expect("a socket");
        let silence = idle + interval * probes;
        assert!(silence <= Duration::from_secs(30), "{silence:?}");
    }
}
