//! One client connection: bytes from a non-blocking socket into frames, responses into bytes.
//!
//! A frame's memory is reserved before its body is taken, and of a large one not before its first
//! [`FRAME_BYTES_ON_TRUST`] are there: a length alone costs its sender nothing. Until then its bytes
//! stay where they are (a read of [`READ_BYTES`] of them here, the rest in the socket). Small slices of segments are
//! copied behind the bytes before them and leave in one call; large ones go head corked, then
//! `sendfile`. A slice that is not in the page cache is loaded by the loader first.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

use bytes::{Buf, Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::broker::ConnectionId;
use crate::broker::front::Response;
use crate::journal::disk::DiskFile;
use crate::limits::{
    COPIED_RECORDS_BYTES_MAX, FRAME_BYTES_ON_TRUST, FRAME_PREFIX_BYTES, REQUEST_BYTES_MAX,
    WRITE_QUEUE_BYTES_CROWDED, WRITE_QUEUE_BYTES_MAX,
};
use crate::log::Slice;
use crate::runtime::ledger::Ledger;
use crate::time::Boot;
use crate::wire::frame;

/// Bytes taken from a socket at a time.
pub const READ_BYTES: usize = 64 << 10;

/// Frames up to this size are copied out of the read buffer, so that they do not keep it alive.
const SMALL_FRAME_BYTES: usize = FRAME_BYTES_ON_TRUST;

/// Slices up to this size are copied rather than sent by `sendfile`.
const SMALL_SLICE_BYTES: u64 = 16 << 10;

/// Bytes sent by one `sendfile`, and looked at for whether they are cached.
const SEND_BYTES: u64 = 512 << 10;

/// A cached byte stands for so many around it: the kernel reads ahead in such units.
const PROBE_BYTES: u64 = 64 << 10;

/// What is to be sent.
enum Chunk<F> {
    Bytes { bytes: Vec<u8>, sent: usize },
    Slice(Slice<F>),
}

/// A frame whose body is not complete yet.
struct Partial {
    body: Vec<u8>,
    frame_bytes: usize,
}

/// How large a connection's frames may be.
#[derive(Clone, Copy, Debug)]
pub struct FrameSizes {
    /// That of a produce, which carries records.
    pub bytes_max: usize,
    /// Whether a frame that begins so is one.
    pub is_produce: fn(&[u8]) -> bool,
}

impl FrameSizes {
    /// Of a frame that begins so.
    fn bytes_max_of(self, beginning: &[u8]) -> usize {
        let is_produce = (self.is_produce)(beginning);
        if is_produce { self.bytes_max } else { self.bytes_max.min(REQUEST_BYTES_MAX) }
    }
}

/// What reading led to.
pub enum Taken {
    /// A frame, without its prefix; its bytes are reserved.
    Frame(BytesMut),
    /// Nothing more until the socket has more.
    Drained,
    /// The memory account has no room; try again soon.
    NoMemory,
    /// A length that no frame has; at most so many are read.
    BadLength(u32, usize),
    /// The peer ended the connection, or it broke.
    Ended,
}

/// What writing led to.
pub enum Sent<F> {
    /// Everything is sent.
    All,
    /// The socket is full.
    Full,
    /// These bytes must be loaded first.
    Cold(Slice<F>),
    /// The connection broke.
    Broken,
}

/// A client connection.
pub struct Connection<F> {
    /// Its name.
    pub id: ConnectionId,
    /// Who is at the other end.
    pub peer: SocketAddr,
    stream: TcpStream,
    buffer: BytesMut,
    partial: Option<Partial>,
    chunks: VecDeque<Chunk<F>>,
    queued_bytes: u64,
    /// Those of them that lie in memory.
    response_bytes: u64,
    /// Those that the ledger knows of.
    accounted_bytes: u64,
    /// The socket may have bytes.
    pub is_readable: bool,
    /// The socket may have room.
    pub is_writable: bool,
    /// There may be frames to take without waiting for the socket.
    pub wants_turn: bool,
    /// Nothing is sent until the loader is done.
    pub is_loading: bool,
    /// Nothing more is read; it ends when everything is sent.
    pub is_closing: bool,
    /// When a byte last moved.
    pub active_at: Boot,
    /// When the frame began that is not complete yet.
    pub frame_began_at: Option<Boot>,
}

impl<F: DiskFile + AsFd> Connection<F> {
    /// A fresh connection over a socket, which becomes non-blocking.
    pub fn new(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        now: Boot,
    ) -> io::Result<Connection<F>> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            id,
            peer,
            stream,
            buffer: BytesMut::new(),
            partial: None,
            chunks: VecDeque::new(),
            queued_bytes: 0,
            response_bytes: 0,
            accounted_bytes: 0,
            is_readable: true,
            is_writable: true,
            wants_turn: true,
            is_loading: false,
            is_closing: false,
            active_at: now,
            frame_began_at: None,
        })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether so much waits to be sent that no more requests are read.
    pub fn is_congested(&self, ledger: &Ledger) -> bool {
        WRITE_QUEUE_BYTES_MAX as u64 <= self.queued_bytes || self.is_crowded_out(ledger)
    }

    /// Whether it waits for others' answers to be read, of which no event tells it.
    pub fn is_crowded_out(&self, ledger: &Ledger) -> bool {
        WRITE_QUEUE_BYTES_CROWDED as u64 <= self.queued_bytes && ledger.is_crowded()
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// The next frame, from what was read or from the socket.
    pub fn take(
        &mut self,
        ledger: &Ledger,
        sizes: FrameSizes,
        scratch: &mut [u8],
        now: Boot,
    ) -> Taken {
        loop {
            if let Some(taken) = self.take_buffered(ledger, sizes) {
                self.frame_began_at = None;
                return taken;
            }
            if self.partial.is_some() || !self.buffer.is_empty() {
                self.frame_began_at.get_or_insert(now);
            }
            if !self.is_readable {
                self.wants_turn = false;
                return Taken::Drained;
            }
            match self.read(scratch) {
                Ok(0) => return Taken::Ended,
                Ok(_) => self.active_at = now,
                Err(Errno::WOULDBLOCK) => {
                    self.is_readable = false;
                    self.wants_turn = false;
                    return Taken::Drained;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Taken::Ended,
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<usize, Errno> {
        if let Some(partial) = &mut self.partial {
            return rustix::io::read(&self.stream, spare_capacity(&mut partial.body));
        }
        let read = rustix::io::read(&self.stream, &mut *scratch)?;
        self.buffer.extend_from_slice(&scratch[..read]);
        if read < scratch.len() {
            // Edge mode: a short read emptied the socket; the next bytes bring an event.
            self.is_readable = false;
        }
        // The end of the stream is read once more when asked for.
        if read == 0 {
            self.is_readable = true;
        }
        Ok(read)
    }

    fn take_buffered(&mut self, ledger: &Ledger, sizes: FrameSizes) -> Option<Taken> {
        if let Some(partial) = &self.partial {
            if partial.body.len() < partial.frame_bytes {
                return None;
            }
            let partial = self.partial.take().expect("looked at just now");
            return Some(Taken::Frame(BytesMut::from(Bytes::from(partial.body))));
        }
        let prefix: [u8; FRAME_PREFIX_BYTES] =
            self.buffer.get(..FRAME_PREFIX_BYTES)?.try_into().expect("so many were taken");
        let bad = |bytes_max| Some(Taken::BadLength(u32::from_be_bytes(prefix), bytes_max));
        let Some(frame_bytes) = frame::frame_bytes(prefix, sizes.bytes_max) else {
            return bad(sizes.bytes_max);
        };
        let beginning = &self.buffer[FRAME_PREFIX_BYTES..];
        if beginning.len() < frame_bytes.min(FRAME_BYTES_ON_TRUST) {
            return None;
        }
        let bytes_max = sizes.bytes_max_of(beginning);
        if bytes_max < frame_bytes {
            return bad(bytes_max);
        }
        if !ledger.try_reserve_frame(frame_bytes as u64) {
            return Some(Taken::NoMemory);
        }
        self.buffer.advance(FRAME_PREFIX_BYTES);
        if frame_bytes <= self.buffer.len() {
            let frame = if frame_bytes <= SMALL_FRAME_BYTES {
                let copy = BytesMut::from(&self.buffer[..frame_bytes]);
                self.buffer.advance(frame_bytes);
                copy
            } else {
                self.buffer.split_to(frame_bytes)
            };
            self.shrink();
            return Some(Taken::Frame(frame));
        }
        let mut body = Vec::with_capacity(frame_bytes);
        body.extend_from_slice(&self.buffer);
        self.buffer = BytesMut::new();
        self.partial = Some(Partial { body, frame_bytes });
        None
    }

    /// An idle connection keeps no buffer.
    fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Bytes reserved for a frame that never became complete.
    pub fn reserved_bytes(&self) -> u64 {
        self.partial.as_ref().map_or(0, |partial| partial.frame_bytes as u64)
    }

    /// Tells the ledger what waits to be sent from memory.
    pub fn account(&mut self, ledger: &Ledger) {
        ledger.hold_responses(self.accounted_bytes, self.response_bytes);
        self.accounted_bytes = self.response_bytes;
    }

    /// Forgets what was to be sent.
    pub fn discard(&mut self, ledger: &Ledger) {
        self.chunks.clear();
        self.response_bytes = 0;
        self.account(ledger);
    }

    /// Queues a response.
    pub fn queue(&mut self, response: Response<F>) {
        let Response { head: mut bytes, tail } = response;
        for (slice, behind) in tail {
            let copied_bytes = self.response_bytes + (bytes.len() as u64);
            if copied_bytes < COPIED_RECORDS_BYTES_MAX && copy_small(&slice, &mut bytes) {
                bytes.extend_from_slice(&behind);
                continue;
            }
            self.queue_bytes(bytes);
            self.queued_bytes += slice.bytes;
            self.chunks.push_back(Chunk::Slice(slice));
            bytes = behind;
        }
        if !bytes.is_empty() {
            self.queue_bytes(bytes);
        }
    }

    fn queue_bytes(&mut self, fresh: Vec<u8>) {
        self.queued_bytes += fresh.len() as u64;
        self.response_bytes += fresh.len() as u64;
        match self.chunks.back_mut() {
            Some(Chunk::Bytes { bytes, .. }) if bytes.len() < SMALL_FRAME_BYTES => {
                bytes.extend_from_slice(&fresh);
            }
            _ => self.chunks.push_back(Chunk::Bytes { bytes: fresh, sent: 0 }),
        }
    }

    /// Sends what the socket takes.
    pub fn send(&mut self, now: Boot) -> Sent<F> {
        loop {
            let is_last = self.chunks.len() == 1;
            let sent = match self.chunks.front_mut() {
                None => return Sent::All,
                Some(Chunk::Bytes { bytes, sent }) => {
                    let flags = if is_last { SendFlags::empty() } else { SendFlags::MORE };
                    let flags = flags | SendFlags::NOSIGNAL;
                    rustix::net::send(&self.stream, &bytes[*sent..], flags)
                }
                Some(Chunk::Slice(slice)) => {
                    if !is_cached(slice) {
                        return Sent::Cold(slice.clone());
                    }
                    let mut position = slice.position;
                    let bytes = slice.bytes.min(SEND_BYTES) as usize;
                    rustix::fs::sendfile(&self.stream, &slice.file, Some(&mut position), bytes)
                }
            };
            match sent {
                // A segment that is shorter than its slice was truncated under us.
                Ok(0) => return Sent::Broken,
                Ok(sent) => self.advance(sent as u64, now),
                Err(Errno::WOULDBLOCK) => {
                    self.is_writable = false;
                    return Sent::Full;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Sent::Broken,
            }
        }
    }

    fn advance(&mut self, count: u64, now: Boot) {
        self.active_at = now;
        self.queued_bytes -= count;
        let is_done = match self.chunks.front_mut().expect("it was sent from") {
            Chunk::Bytes { bytes, sent } => {
                *sent += count as usize;
                let is_done = *sent == bytes.len();
                // Sent or not, a buffer is there until the last of it went.
                self.response_bytes -= if is_done { bytes.len() as u64 } else { 0 };
                is_done
            }
            Chunk::Slice(slice) => {
                slice.position += count;
                slice.bytes -= count;
                slice.bytes == 0
            }
        };
        if is_done {
            self.chunks.pop_front();
        }
    }
}

/// Appends a small slice's bytes to `head`, if they are cached.
fn copy_small<F: DiskFile>(slice: &Slice<F>, head: &mut Vec<u8>) -> bool {
    if SMALL_SLICE_BYTES < slice.bytes {
        return false;
    }
    let before = head.len();
    head.resize(before + slice.bytes as usize, 0);
    let read = slice.file.try_read_at(&mut head[before..], slice.position);
    let is_whole = read.is_ok_and(|read| read as u64 == slice.bytes);
    if !is_whole {
        head.truncate(before);
    }
    is_whole
}

/// Whether the next bytes of a slice can be sent without waiting for the disk.
fn is_cached<F: DiskFile>(slice: &Slice<F>) -> bool {
    let end = slice.position + slice.bytes.min(SEND_BYTES);
    let mut position = slice.position;
    let mut byte = [0];
    while position < end {
        match slice.file.try_read_at(&mut byte, position) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return false,
            // Errors show themselves when the bytes are sent.
            _ => {}
        }
        position += PROBE_BYTES;
    }
    true
}
