//! The bare responder: the least program that answers librdkafka's producer and consumer.
//!
//! `responder ADDRESS DIR [nosync]` speaks one version each of Kafka's Produce, Fetch, Metadata,
//! ListOffsets, InitProducerId and DeleteTopics, and ApiVersions. It checks each batch's CRC-32C,
//! stamps its base offset, appends it to its topic's file, syncs each file once a turn (`nosync`:
//! never) and answers in order; a fetch is `sendfile`. It is one thread in a poll loop and knows no
//! semantics: any topic exists and has partition 0, every producer gets the same id, sequences are
//! not looked at, nothing is recovered. What it reaches is what the machine and the client leave.
//! It prints `responder ready: kafka ADDRESS`, and trusts its client: any other frame ends it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{collections::VecDeque, env};

use odradek_limits::Frames;
use rustix::event::epoll;
use rustix::fs::Timespec;

/// A connection gives up its turn after this much, so that a sync is never far.
const TURN_BYTES_MAX: usize = 4 << 20;
/// Kafka's number for a version that is not spoken.
const UNSUPPORTED_VERSION: i16 = 35;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const DELETE_TOPICS: i16 = 20;
const INIT_PRODUCER_ID: i16 = 22;
/// Key, oldest and newest version. Each is the newest without compact strings and tags, or the
/// simplest that has what librdkafka needs; it looks for Produce 0, which is not spoken.
const APIS: [[i16; 3]; 7] = [
    [PRODUCE, 0, 3],
    [FETCH, 4, 4],
    [LIST_OFFSETS, 1, 1],
    [METADATA, 4, 4],
    [API_VERSIONS, 0, 0],
    [DELETE_TOPICS, 1, 1],
    [INIT_PRODUCER_ID, 0, 0],
];

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (address, dir, syncs) = match &args[..] {
        [address, dir] => (address, dir, true),
        [address, dir, word] if word == "nosync" => (address, dir, false),
        _ => return Err(io::Error::other("usage: responder ADDRESS DIR [nosync]")),
    };
    fs::create_dir_all(dir)?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    println!("responder ready: kafka {address}");
    let store = Store { dir: dir.into(), logs: BTreeMap::new(), syncs, address };
    serve(&listener, store)
}

/// The loop: everything that arrived is read and appended, then synced, then answered.
fn serve(listener: &TcpListener, mut store: Store) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let reading = epoll::EventFlags::IN;
    epoll::add(&poller, listener, epoll::EventData::new_u64(LISTENER), reading)?;
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    let mut next_id = 0;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    loop {
        events.clear();
        let timeout = connections.values().filter_map(Connection::wait).min();
        let timeout = timeout.map(|wait| Timespec::try_from(wait).expect("a wait of seconds"));
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&poller, room, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut gone = Vec::new();
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll::add(&poller, &stream, epoll::EventData::new_u64(next_id), reading)?;
                connections.insert(next_id, Connection::new(stream));
                next_id += 1;
            } else if let Some(connection) = connections.get_mut(&id) {
                if connection.read(&mut store).is_err() {
                    gone.push(id);
                }
            }
        }
        store.sync()?;
        for (id, connection) in &mut connections {
            connection.unpark();
            let was_stuck = connection.is_stuck;
            if connection.write().is_err() {
                gone.push(*id);
            } else if was_stuck != connection.is_stuck {
                let writing = if was_stuck { reading } else { reading | epoll::EventFlags::OUT };
                let data = epoll::EventData::new_u64(*id);
                epoll::modify(&poller, &connection.stream, data, writing)?;
            }
        }
        for id in gone {
            connections.remove(&id);
        }
    }
}

/// What an answer is made of.
enum Piece {
    Bytes { bytes: Vec<u8>, sent: usize },
    File { file: Rc<File>, position: u64, bytes: usize },
}

struct Connection {
    stream: TcpStream,
    frames: Frames,
    output: VecDeque<Piece>,
    /// The socket takes no more for now.
    is_stuck: bool,
    /// The answer to a fetch that found nothing, and when it is due.
    parked: Option<(Instant, Vec<u8>)>,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        let (frames, output) = (Frames::default(), VecDeque::new());
        Connection { stream, frames, output, is_stuck: false, parked: None }
    }

    /// How long the loop may wait for this connection's sake.
    fn wait(&self) -> Option<Duration> {
        let (due, _) = self.parked.as_ref()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn unpark(&mut self) {
        if self.wait() == Some(Duration::ZERO) {
            let (_, bytes) = self.parked.take().expect("it waits for that");
            self.output.push_back(Piece::Bytes { bytes, sent: 0 });
        }
    }

    /// Reads what is there and does what the requests ask.
    fn read(&mut self, store: &mut Store) -> io::Result<()> {
        let mut turn_bytes = 0;
        while turn_bytes < TURN_BYTES_MAX {
            match self.frames.fill(&self.stream) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => turn_bytes += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            while let Some(frame) = self.frames.take() {
                let request = Request::take(frame);
                store.answer(request, &mut self.output, &mut self.parked)?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.is_stuck = false;
        while let Some(piece) = self.output.front_mut() {
            let (sent, is_whole) = match piece {
                Piece::Bytes { bytes, sent } => {
                    let result = self.stream.write(&bytes[*sent..]);
                    *sent += *result.as_ref().unwrap_or(&0);
                    (result, *sent == bytes.len())
                }
                Piece::File { file, position, bytes } => {
                    let result = rustix::fs::sendfile(&self.stream, file, Some(position), *bytes);
                    *bytes -= result.unwrap_or(0);
                    (result.map_err(io::Error::from), *bytes == 0)
                }
            };
            match sent {
                Ok(_) if is_whole => drop(self.output.pop_front()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_stuck = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A request's frame, read from its front.
struct Request<'a> {
    api: i16,
    version: i16,
    correlation_id: i32,
    rest: &'a mut [u8],
}

impl<'a> Request<'a> {
    fn take(frame: &'a mut [u8]) -> Request<'a> {
        let mut request = Request { api: 0, version: 0, correlation_id: 0, rest: frame };
        (request.api, request.version) = (request.i16(), request.i16());
        request.correlation_id = request.i32();
        request.string();
        request
    }

    fn bytes(&mut self, count: usize) -> &'a mut [u8] {
        let (front, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        front
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().expect("as many were taken")
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.array())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }

    /// A length that may be -1, which is as good as none.
    fn count(&mut self) -> usize {
        usize::try_from(self.i32()).unwrap_or(0)
    }

    fn string(&mut self) -> String {
        let bytes = usize::try_from(self.i16()).unwrap_or(0);
        String::from_utf8_lossy(self.bytes(bytes)).into_owned()
    }

    /// The topic and partition of a request that names one, as librdkafka's do here.
    fn only_partition(&mut self) -> (String, i32) {
        assert_eq!(self.count(), 1, "topics");
        let topic = self.string();
        assert_eq!(self.count(), 1, "partitions");
        (topic, self.i32())
    }
}

/// A response's frame.
struct Out(Vec<u8>);

impl Out {
    fn new(correlation_id: i32) -> Out {
        Out(vec![0; 4]).i32(correlation_id)
    }

    fn raw(mut self, bytes: &[u8]) -> Out {
        self.0.extend_from_slice(bytes);
        self
    }

    fn i16(self, value: i16) -> Out {
        self.raw(&value.to_be_bytes())
    }

    fn i32(self, value: i32) -> Out {
        self.raw(&value.to_be_bytes())
    }

    fn i64(self, value: i64) -> Out {
        self.raw(&value.to_be_bytes())
    }

    fn string(self, text: &str) -> Out {
        self.i16(text.len() as i16).raw(text.as_bytes())
    }

    /// The frame, with its length in front; `after` bytes follow it from elsewhere.
    fn finish(mut self, after: usize) -> Vec<u8> {
        let bytes = (self.0.len() - 4 + after) as u32;
        self.0[..4].copy_from_slice(&bytes.to_be_bytes());
        self.0
    }
}

/// A topic's only partition.
struct Log {
    file: Rc<File>,
    /// Where each batch begins: its base offset and its place in the file.
    batches: Vec<(i64, u64)>,
    next_offset: i64,
    bytes: u64,
    is_dirty: bool,
}

impl Log {
    fn append(&mut self, batch: &mut [u8]) -> io::Result<i64> {
        let stored = u32::from_be_bytes([batch[17], batch[18], batch[19], batch[20]]);
        if crc32c::crc32c(&batch[21..]) != stored {
            return Err(io::Error::other("a batch fails its checksum"));
        }
        let last_delta = i32::from_be_bytes([batch[23], batch[24], batch[25], batch[26]]);
        let base_offset = self.next_offset;
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.file.write_all_at(batch, self.bytes)?;
        self.batches.push((base_offset, self.bytes));
        self.bytes += batch.len() as u64;
        self.next_offset += i64::from(last_delta) + 1;
        self.is_dirty = true;
        Ok(base_offset)
    }

    /// Whole batches from the one that holds `offset`, at least one if there is one.
    fn slice(&self, offset: i64, bytes_max: u64) -> (u64, usize) {
        if self.next_offset <= offset {
            return (self.bytes, 0);
        }
        let first = self.batches.partition_point(|(base, _)| *base <= offset).saturating_sub(1);
        let start = self.batches[first].1;
        let after = self.batches.partition_point(|(_, position)| *position <= start + bytes_max);
        let end_of = |index: usize| self.batches.get(index + 1).map_or(self.bytes, |batch| batch.1);
        // The last batch that begins within the limit may end beyond it.
        let last = if end_of(after - 1) <= start + bytes_max { after } else { after - 1 };
        let end = end_of((last - 1).max(first));
        (start, (end - start) as usize)
    }
}

/// All there is to know.
struct Store {
    dir: PathBuf,
    logs: BTreeMap<String, Log>,
    syncs: bool,
    address: SocketAddr,
}

impl Store {
    fn sync(&mut self) -> io::Result<()> {
        for log in self.logs.values_mut().filter(|log| log.is_dirty) {
            log.is_dirty = false;
            if self.syncs {
                log.file.sync_data()?;
            }
        }
        Ok(())
    }

    fn log(&mut self, topic: &str) -> io::Result<&mut Log> {
        if !self.logs.contains_key(topic) {
            let mut options = File::options();
            let file = options.create(true).truncate(true).read(true).write(true);
            let file = Rc::new(file.open(self.dir.join(topic))?);
            let log = Log { file, batches: vec![], next_offset: 0, bytes: 0, is_dirty: false };
            self.logs.insert(topic.to_owned(), log);
        }
        Ok(self.logs.get_mut(topic).expect("it was just made"))
    }

    fn answer(
        &mut self,
        request: Request<'_>,
        output: &mut VecDeque<Piece>,
        parked: &mut Option<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        let out = Out::new(request.correlation_id);
        let out = match request.api {
            API_VERSIONS => api_versions(request.version, out),
            PRODUCE => self.produce(request, out)?,
            FETCH => return self.fetch(request, out, output, parked),
            LIST_OFFSETS => self.list_offsets(request, out)?,
            METADATA => self.metadata(request, out)?,
            DELETE_TOPICS => self.delete_topics(request, out)?,
            // Throttle time, error, producer id, epoch.
            INIT_PRODUCER_ID => out.i32(0).i16(0).i64(1).i16(0),
            _ => return Err(io::Error::other("not a request of the bare responder")),
        };
        output.push_back(Piece::Bytes { bytes: out.finish(0), sent: 0 });
        Ok(())
    }

    fn produce(&mut self, mut request: Request<'_>, out: Out) -> io::Result<Out> {
        request.string();
        request.bytes(6);
        let (topic, partition) = request.only_partition();
        let bytes = request.count();
        let base_offset = self.log(&topic)?.append(request.bytes(bytes))?;
        let out = out.i32(1).string(&topic).i32(1).i32(partition).i16(0).i64(base_offset);
        // No log append time, no throttling.
        Ok(out.i64(-1).i32(0))
    }

    fn fetch(
        &mut self,
        mut request: Request<'_>,
        out: Out,
        output: &mut VecDeque<Piece>,
        parked: &mut Option<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        request.i32();
        let wait = Duration::from_millis(request.count() as u64);
        request.bytes(9);
        let (topic, partition) = request.only_partition();
        let offset = request.i64();
        let bytes_max = request.count() as u64;
        let log = self.log(&topic)?;
        let (position, bytes) = log.slice(offset, bytes_max);
        let out = out.i32(0).i32(1).string(&topic).i32(1).i32(partition).i16(0);
        let out = out.i64(log.next_offset).i64(log.next_offset).i32(-1).i32(bytes as i32);
        let head = out.finish(bytes);
        if bytes == 0 {
            *parked = Some((Instant::now() + wait, head));
            return Ok(());
        }
        output.push_back(Piece::Bytes { bytes: head, sent: 0 });
        output.push_back(Piece::File { file: Rc::clone(&log.file), position, bytes });
        Ok(())
    }

    fn list_offsets(&mut self, mut request: Request<'_>, out: Out) -> io::Result<Out> {
        request.i32();
        let (topic, partition) = request.only_partition();
        // -1 asks for the end, -2 for the beginning.
        let is_end = request.i64() == -1;
        let offset = if is_end { self.log(&topic)?.next_offset } else { 0 };
        Ok(out.i32(1).string(&topic).i32(1).i32(partition).i16(0).i64(-1).i64(offset))
    }

    /// Any topic that is asked for exists.
    fn metadata(&mut self, mut request: Request<'_>, out: Out) -> io::Result<Out> {
        let host = self.address.ip().to_string();
        let out = out.i32(0).i32(1).i32(1).string(&host).i32(i32::from(self.address.port()));
        let out = out.i16(-1).string("bare").i32(1);
        let topic_count = request.count();
        let mut out = out.i32(topic_count as i32);
        for _ in 0..topic_count {
            let topic = request.string();
            self.log(&topic)?;
            out = out.i16(0).string(&topic).raw(&[0]);
            // One partition: no error, index 0, led and held by broker 1.
            out = out.i32(1).i16(0).i32(0).i32(1).i32(1).i32(1).i32(1).i32(1);
        }
        Ok(out)
    }

    fn delete_topics(&mut self, mut request: Request<'_>, out: Out) -> io::Result<Out> {
        let topic_count = request.count();
        let mut out = out.i32(0).i32(topic_count as i32);
        for _ in 0..topic_count {
            let topic = request.string();
            if self.logs.remove(&topic).is_some() {
                fs::remove_file(self.dir.join(&topic))?;
            }
            out = out.string(&topic).i16(0);
        }
        Ok(out)
    }
}

/// In the oldest form: librdkafka, which asks in a newer one first, then asks again.
fn api_versions(version: i16, out: Out) -> Out {
    let error = if version == 0 { 0 } else { UNSUPPORTED_VERSION };
    let out = out.i16(error).i32(APIS.len() as i32);
    APIS.into_iter().flatten().fold(out, Out::i16)
}
