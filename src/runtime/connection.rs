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

/// Frames below this size are copied out of the read buffer, so that they do not keep it alive: a
/// frame's memory is never more than some five times what is reserved for it.
const SMALL_FRAME_BYTES: usize = 12 << 10;

/// Answers up to this size are copied behind the one before.
const SMALL_ANSWER_BYTES: usize = 16 << 10;

/// Slices up to this size are copied rather than sent by `sendfile`.
const SMALL_SLICE_BYTES: u64 = 16 << 10;

/// Bytes sent by one `sendfile`, and looked at for whether they are cached.
const SEND_BYTES: u64 = 1 << 20;

/// A cached byte stands for so many around it: the kernel reads ahead in such units.
const PROBE_BYTES: u64 = 64 << 10;

/// What is to be sent.
enum Chunk<F> {
    Bytes {
        bytes: Vec<u8>,
        sent: usize,
    },
    /// A slice that was found cached just now need not be looked at again before it is sent.
    Slice {
        slice: Slice<F>,
        is_fresh: bool,
    },
}

/// A frame that is larger than a read buffer or that the socket has only a part of.
struct Partial {
    body: Vec<u8>,
    frame_bytes: usize,
}

impl Partial {
    /// Reads what is there of the frame, and nothing of the next one.
    fn read(&mut self, stream: &TcpStream) -> Result<usize, Errno> {
        read_behind(stream, &mut self.body, self.frame_bytes)
    }
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
    /// Bytes of the frame at the front of the buffer, whose prefix is gone and whose memory is
    /// reserved.
    begun_bytes: Option<usize>,
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
    /// This broker made it, to another one.
    pub is_link: bool,
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
            begun_bytes: None,
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
            is_link: false,
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

    /// Bytes that are to be sent.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
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
        scratch: &mut Vec<u8>,
        now: Boot,
    ) -> Taken {
        loop {
            if let Some(taken) = self.take_buffered(ledger, sizes) {
                self.frame_began_at = None;
                return taken;
            }
            if self.is_amid_frame() {
                self.frame_began_at.get_or_insert(now);
            }
            if !self.is_readable {
                self.wants_turn = false;
                self.let_go(ledger);
                return Taken::Drained;
            }
            match self.read(ledger, scratch) {
                Ok(0) => return Taken::Ended,
                Ok(_) => self.active_at = now,
                Err(Errno::WOULDBLOCK) => {
                    self.is_readable = false;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Taken::Ended,
            }
        }
    }

    fn is_amid_frame(&self) -> bool {
        self.partial.is_some() || self.begun_bytes.is_some() || !self.buffer.is_empty()
    }

    /// Reads behind what is there of a frame, as much as a buffer holds. What was read leaves
    /// `scratch` without being copied when it is worth a buffer of its own.
    fn read(&mut self, ledger: &Ledger, scratch: &mut Vec<u8>) -> Result<usize, Errno> {
        if let Some(partial) = &mut self.partial {
            return partial.read(&self.stream);
        }
        scratch.clear();
        scratch.extend_from_slice(&self.buffer);
        let room = READ_BYTES - scratch.len();
        let read = read_behind(&self.stream, scratch, READ_BYTES)?;
        // Edge mode: a short read emptied the socket; the next bytes bring an event. Not so the
        // end of the stream, which is read once more when asked for.
        self.is_readable = read == 0 || read == room;
        let filled = if scratch.len() < SMALL_FRAME_BYTES {
            BytesMut::from(&scratch[..])
        } else {
            let fresh = ledger.buffers.take(READ_BYTES);
            BytesMut::from(Bytes::from(std::mem::replace(scratch, fresh)))
        };
        ledger.buffers.give(std::mem::replace(&mut self.buffer, filled).freeze());
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
        let frame_bytes = match self.begun_bytes.take() {
            Some(bytes) => bytes,
            None => match self.begin_frame(ledger, sizes)? {
                Ok(bytes) => bytes,
                Err(taken) => return Some(taken),
            },
        };
        if frame_bytes <= self.buffer.len() {
            let frame = if frame_bytes < SMALL_FRAME_BYTES {
                let copy = BytesMut::from(&self.buffer[..frame_bytes]);
                self.buffer.advance(frame_bytes);
                copy
            } else {
                self.buffer.split_to(frame_bytes)
            };
            return Some(Taken::Frame(frame));
        }
        self.begun_bytes = Some(frame_bytes);
        if READ_BYTES < frame_bytes {
            self.let_go(ledger);
        }
        None
    }

    /// The length of the frame at the front of the buffer, its memory reserved and its prefix gone;
    /// `None` while too little is there of it.
    fn begin_frame(&mut self, ledger: &Ledger, sizes: FrameSizes) -> Option<Result<usize, Taken>> {
        let prefix: [u8; FRAME_PREFIX_BYTES] =
            self.buffer.get(..FRAME_PREFIX_BYTES)?.try_into().expect("so many were taken");
        let bad = |bytes_max| Some(Err(Taken::BadLength(u32::from_be_bytes(prefix), bytes_max)));
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
            return Some(Err(Taken::NoMemory));
        }
        self.buffer.advance(FRAME_PREFIX_BYTES);
        Some(Ok(frame_bytes))
    }

    /// Gives the buffer back: the frame that is begun goes on in one of its own size, and a
    /// connection that waits for its socket keeps nothing else.
    fn let_go(&mut self, ledger: &Ledger) {
        let buffer = std::mem::take(&mut self.buffer);
        if let Some(frame_bytes) = self.begun_bytes.take() {
            let mut body = ledger.buffers.take(frame_bytes);
            body.extend_from_slice(&buffer);
            self.partial = Some(Partial { body, frame_bytes });
        } else {
            self.buffer = BytesMut::from(&buffer[..]);
        }
        ledger.buffers.give(buffer.freeze());
    }

    /// Bytes reserved for a frame that never became complete.
    pub fn reserved_bytes(&self) -> u64 {
        let begun = self.begun_bytes.unwrap_or(0);
        self.partial.as_ref().map_or(begun, |partial| partial.frame_bytes) as u64
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
            // The log looked at it in this turn, and it leaves in this turn.
            let is_fresh = self.is_writable && !self.is_loading;
            self.chunks.push_back(Chunk::Slice { slice, is_fresh });
            bytes = behind;
        }
        self.queue_bytes(bytes);
    }

    fn queue_bytes(&mut self, fresh: Vec<u8>) {
        if fresh.is_empty() {
            // Nothing sent would be taken for a socket that takes nothing.
            return;
        }
        self.queued_bytes += fresh.len() as u64;
        self.response_bytes += fresh.len() as u64;
        match self.chunks.back_mut() {
            Some(Chunk::Bytes { bytes, .. }) if bytes.len() < SMALL_ANSWER_BYTES => {
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
                Some(Chunk::Slice { slice, is_fresh }) => {
                    if !*is_fresh && !is_cached(slice) {
                        let slice = slice.clone();
                        self.age();
                        return Sent::Cold(slice);
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
                    self.age();
                    return Sent::Full;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Sent::Broken,
            }
        }
    }

    /// What could not be sent now may have left the page cache when it can.
    fn age(&mut self) {
        for chunk in &mut self.chunks {
            if let Chunk::Slice { is_fresh, .. } = chunk {
                *is_fresh = false;
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
            Chunk::Slice { slice, .. } => {
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

/// Reads from a socket behind what a buffer holds, until it holds `bytes` at most, for which it has
/// the capacity.
fn read_behind(stream: &TcpStream, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize, Errno> {
    let held = buffer.len();
    let room = &mut buffer.spare_capacity_mut()[..bytes - held];
    let read = rustix::io::read(stream, room)?.0.len();
    #[expect(unsafe_code, reason = "nothing safe reads into a part of a vector's capacity")]
    // SAFETY: so many bytes behind the vector's end were written just now, within its capacity.
    unsafe {
        buffer.set_len(held + read);
    }
    Ok(read)
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::ids::Offset;
    use crate::journal::disk::{Disk, DiskFile, Open};
    use crate::runtime::disk::{FileDisk, OpenFile};

    const SIZES: FrameSizes = FrameSizes { bytes_max: 1 << 20, is_produce: |_| true };

    /// Numbers that are the same in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) as usize % bound
        }

        /// All orders of magnitude alike.
        fn size(&mut self) -> usize {
            let bound = 1 << (3 + self.below(16));
            1 + self.below(bound)
        }
    }

    fn pair() -> (TcpStream, Connection<OpenFile>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        client.set_nodelay(true).expect("a socket");
        client.set_nonblocking(true).expect("a socket");
        let (stream, peer) = listener.accept().expect("one is there");
        let connection = Connection::new(ConnectionId(1), stream, peer, Boot(0));
        (client, connection.expect("a socket"))
    }

    /// Frames of all sizes, sent in pieces of all sizes, and taken a few at a time.
    #[test]
    fn frames_come_out_as_they_went_in() {
        let (mut client, mut connection) = pair();
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(64 << 20, metrics);
        let mut dice = Dice(7);
        let frames: Vec<Vec<u8>> = (0..400)
            .map(|number| (0..dice.size()).map(|at| (at + number) as u8).collect())
            .collect();
        let framed = |frame: &Vec<u8>| [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
        let bytes: Vec<u8> = frames.iter().flat_map(framed).collect();
        let mut scratch = Vec::with_capacity(READ_BYTES);
        let (mut sent, mut held) = (0, Vec::new());
        let mut taken = frames.iter();
        while 0 < taken.len() {
            let piece = dice.size().min(bytes.len() - sent);
            sent += client.write(&bytes[sent..sent + piece]).unwrap_or(0);
            connection.is_readable = true;
            for _ in 0..=dice.below(8) {
                match connection.take(&ledger, SIZES, &mut scratch, Boot(0)) {
                    Taken::Frame(frame) => {
                        assert_eq!(&frame[..], &taken.next().expect("no more than were sent")[..]);
                        held.push(frame);
                    }
                    Taken::Drained => break,
                    _ => panic!("the socket lives and there is memory for all"),
                }
            }
            // Those that are done with leave their buffers to later ones.
            for frame in held.drain(dice.below(held.len() + 1)..) {
                ledger.release_frame(frame.len() as u64);
                ledger.buffers.give(frame.freeze());
            }
        }
        assert_eq!(connection.reserved_bytes(), 0);
        let held_bytes: usize = held.iter().map(BytesMut::len).sum();
        ledger.release_frame(held_bytes as u64);
        assert_eq!(metrics.memory_frames_bytes_now.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert!(0 < ledger.buffers.kept_bytes(), "buffers were kept");
    }

    /// On our own wire nothing stands between the records of two partitions.
    #[test]
    fn slices_leave_one_behind_the_other() {
        let (client, mut connection) = pair();
        let disk = FileDisk;
        let name = format!("odradek-slices-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = disk.open(&path, Open::CreateOrWrite).expect("a directory for such files");
        let records: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        file.write_all_at(&records, 0).expect("there is space");
        std::fs::remove_file(&path).expect("it was made");
        let slice =
            |position, bytes| Slice { file: file.clone(), position, bytes, end_offset: Offset(0) };
        let (first, second) = (slice(0, 90_000), slice(90_000, 110_000));
        let tail = vec![(first, Vec::new()), (second, Vec::new())];
        connection.queue(Response { head: b"head".to_vec(), tail });
        let mut received = Vec::new();
        let mut piece = vec![0; 1 << 16];
        while connection.queued_bytes != 0 {
            connection.is_writable = true;
            assert!(!matches!(connection.send(Boot(0)), Sent::Broken), "all of it can be sent");
            while let Ok(count) = (&client).read(&mut piece) {
                received.extend_from_slice(&piece[..count]);
            }
        }
        while received.len() < 4 + records.len() {
            let count = (&client).read(&mut piece).unwrap_or(0);
            received.extend_from_slice(&piece[..count]);
        }
        assert_eq!(received, [b"head", &records[..]].concat());
    }

    #[test]
    fn a_frame_that_never_ends_is_accounted_for() {
        let (mut client, mut connection) = pair();
        let metrics = Box::leak(Box::default());
        let ledger = Ledger::new(64 << 20, metrics);
        let mut scratch = Vec::with_capacity(READ_BYTES);
        let pieces = [&[0, 2][..], &[0, 0], &[1; FRAME_BYTES_ON_TRUST]];
        for (number, piece) in pieces.into_iter().enumerate() {
            client.write_all(piece).expect("the socket has room");
            connection.is_readable = true;
            let taken = connection.take(&ledger, SIZES, &mut scratch, Boot(0));
            assert!(matches!(taken, Taken::Drained));
            let expected = if number < 2 { 0 } else { 0x2_0000 };
            assert_eq!(connection.reserved_bytes(), expected);
            assert_eq!(connection.frame_began_at, Some(Boot(0)));
        }
    }
}
