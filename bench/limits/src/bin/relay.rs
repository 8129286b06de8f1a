//! The bare relay: the least program of three processes that do what replication cannot avoid.
//!
//! `relay follower FILE` takes record batches from its leader, checks the CRC-32C of each, appends
//! them to FILE, syncs once for all that arrived while the last sync ran, and says how far it is.
//! `relay leader FILE ADDRESS ADDRESS` does the same with the wire's Produce requests, sends the
//! batches on to both followers as they arrive, and answers in order when all three have synced.
//! Nobody stamps offsets, keeps an index, reads a record or could take over: what a site does beyond
//! this is what it must be worth. Both print `relay ready: wire 127.0.0.1:PORT`, and trust who calls.
//!
//! Between leader and follower: a length, the batches; the other way the bytes that are synced.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{env, thread};

use odradek::wire::produce::ProduceRequest;
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader, frame};
use odradek_limits::{Frames, created, hello, produced};

/// Followers of the leader.
const FOLLOWERS: usize = 2;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["follower", path] => follow(path),
        ["leader", path, first, second] => lead(path, [first, second]),
        _ => {
            Err(io::Error::other("usage: relay follower FILE | relay leader FILE ADDRESS ADDRESS"))
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("relay ready: wire {}", listener.local_addr()?);
    Ok(listener)
}

/// One file: what is appended, and what of it is synced.
struct Store {
    file: File,
    ends: Mutex<Ends>,
    appended: Condvar,
}

#[derive(Default)]
struct Ends {
    appended: u64,
    synced: u64,
}

impl Store {
    fn open(path: &str) -> io::Result<Store> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Store { file, ends: Mutex::default(), appended: Condvar::new() })
    }

    /// Appends batches that were checked; answers where they end.
    fn append(&self, batches: &[u8]) -> io::Result<u64> {
        (&self.file).write_all(batches)?;
        let mut ends = lock(&self.ends);
        ends.appended += batches.len() as u64;
        self.appended.notify_one();
        Ok(ends.appended)
    }

    /// Syncs for ever, and tells how far after each time.
    fn sync_forever(&self, mut tell: impl FnMut(u64)) {
        loop {
            let mut ends = lock(&self.ends);
            while ends.appended <= ends.synced {
                ends = self.appended.wait(ends).unwrap_or_else(PoisonError::into_inner);
            }
            let end = ends.appended;
            drop(ends);
            self.file.sync_data().expect("the file can be synced");
            lock(&self.ends).synced = end;
            tell(end);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks the batches of one frame; they stand one behind the other.
fn check(mut batches: &[u8]) -> io::Result<()> {
    while !batches.is_empty() {
        let length = u32::from_be_bytes([batches[8], batches[9], batches[10], batches[11]]);
        let (batch, rest) = batches.split_at(12 + length as usize);
        let stored = u32::from_be_bytes([batch[17], batch[18], batch[19], batch[20]]);
        if crc32c::crc32c(&batch[21..]) != stored {
            return Err(io::Error::other("a batch fails its checksum"));
        }
        batches = rest;
    }
    Ok(())
}

fn follow(path: &str) -> io::Result<()> {
    let store: &'static Store = Box::leak(Box::new(Store::open(path)?));
    let (stream, _) = listen()?.accept()?;
    stream.set_nodelay(true)?;
    let mut back = stream.try_clone()?;
    thread::spawn(move || {
        store.sync_forever(|end| {
            // The thread that reads sees the leader go.
            let _ = back.write_all(&end.to_be_bytes());
        });
    });
    let mut frames = Frames::default();
    loop {
        while let Some(batches) = frames.take() {
            check(batches)?;
            store.append(batches)?;
        }
        if frames.fill(&stream)? == 0 {
            return Ok(());
        }
    }
}

/// What the leader's threads share.
struct Leader {
    store: Store,
    /// Held while batches are appended and sent on, so that all three files hold them in one order.
    followers: Mutex<[TcpStream; FOLLOWERS]>,
    waiting: Mutex<Waiting>,
}

/// Answers that wait until all three have synced what they are about.
#[derive(Default)]
struct Waiting {
    /// Synced here, and by each follower.
    synced: [u64; 1 + FOLLOWERS],
    answers: VecDeque<(u64, Arc<TcpStream>, Vec<u8>)>,
}

fn lead(path: &str, addresses: [&str; FOLLOWERS]) -> io::Result<()> {
    let [first, second] = addresses.map(TcpStream::connect);
    let followers = [first?, second?];
    let mut back = Vec::new();
    for follower in &followers {
        follower.set_nodelay(true)?;
        back.push(follower.try_clone()?);
    }
    let leader: &'static Leader = Box::leak(Box::new(Leader {
        store: Store::open(path)?,
        followers: Mutex::new(followers),
        waiting: Mutex::default(),
    }));
    thread::spawn(|| leader.store.sync_forever(|end| leader.synced(0, end)));
    for (place, mut follower) in back.into_iter().enumerate() {
        thread::spawn(move || {
            let mut end = [0; 8];
            while follower.read_exact(&mut end).is_ok() {
                leader.synced(1 + place, u64::from_be_bytes(end));
            }
        });
    }
    for stream in listen()?.incoming() {
        let stream = Arc::new(stream?);
        thread::spawn(move || {
            // A peer that hangs up ends its thread, not the program.
            let _ = leader.serve(&stream);
        });
    }
    Ok(())
}

impl Leader {
    fn serve(&self, stream: &Arc<TcpStream>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut frames = Frames::default();
        loop {
            while let Some(request) = frames.take() {
                self.answer(request, stream)?;
            }
            if frames.fill(&**stream)? == 0 {
                return Ok(());
            }
        }
    }

    fn answer(&self, request: &[u8], stream: &Arc<TcpStream>) -> io::Result<()> {
        let (header, body) = frame::take::<RequestHeader>(request).map_err(io::Error::other)?;
        let header_out =
            ResponseHeader { correlation_id: header.correlation_id, throttle_time_ms: 0 };
        let mut out = Vec::new();
        match ApiKey::from_number(header.api_key) {
            Some(ApiKey::Produce) => {
                let (request, raw) =
                    frame::take::<ProduceRequest<'_>>(body).map_err(io::Error::other)?;
                let response = produced(request.partitions.len());
                frame::encode(&header_out, &response, 0, &mut out);
                check(raw)?;
                return self.append(raw, stream, out);
            }
            Some(ApiKey::Hello) => frame::encode(&header_out, &hello("relay"), 0, &mut out),
            Some(ApiKey::CreateTopics) => frame::encode(&header_out, &created(3), 0, &mut out),
            _ => return Err(io::Error::other("not a request of the relay")),
        }
        (&**stream).write_all(&out)
    }

    /// Appends, sends on, and leaves the answer to whoever is the last to sync.
    fn append(&self, batches: &[u8], stream: &Arc<TcpStream>, answer: Vec<u8>) -> io::Result<()> {
        let mut followers = lock(&self.followers);
        for follower in &mut *followers {
            follower.write_all(&(batches.len() as u32).to_be_bytes())?;
            follower.write_all(batches)?;
        }
        let end = self.store.append(batches)?;
        // Under the same lock: answers stand in the order of the file.
        lock(&self.waiting).answers.push_back((end, Arc::clone(stream), answer));
        drop(followers);
        self.synced(0, 0);
        Ok(())
    }

    /// One of the three has synced so far.
    fn synced(&self, place: usize, end: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.synced[place] = waiting.synced[place].max(end);
        let all = waiting.synced.iter().copied().min().expect("there are three");
        while waiting.answers.front().is_some_and(|(end, ..)| *end <= all) {
            let (_, stream, answer) = waiting.answers.pop_front().expect("just looked at");
            // Its own thread sees the peer go.
            let _ = (&*stream).write_all(&answer);
        }
    }
}
