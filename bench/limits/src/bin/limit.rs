//! The bare limit: the least program that does the broker's unavoidable work.
//!
//! `limit produce FILE [inline]` reads the wire's Produce requests from loopback TCP, checks each
//! batch's CRC-32C, appends it to FILE, syncs once for all that arrived while the last sync ran,
//! and answers each connection in order. No offsets are stamped, no records are looked at, there
//! is one file and no index: what the broker does beyond this is what it must be worth.
//!
//! Who syncs: a thread of its own (the default) lets the next batches be read while the last
//! sync runs; `inline` lets the connection that arrives first sync for all, which saves a wake-up.
//! Seen on two cores: the thread is a tenth faster at 64 KiB batches, inline at most a twentieth
//! at 1,000 records/s. `bench/run` takes the faster for each question.
//!
//! `limit fetch FILE [HOST]` answers one line with the whole FILE by `sendfile`, and hangs up.
//!
//! Both print `limit ready: wire HOST:PORT` when they answer, on loopback unless told otherwise. They
//! trust their client.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::{env, io, mem, thread};

use odradek::wire::describe_metrics::{DescribeMetricsResponse, Metric, MetricKind};
use odradek::wire::produce::{ProduceRequest, ProduceResponse};
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader, frame};
use odradek_limits::{Frames, created, hello, produced};

/// What the connections share.
struct Limit {
    file: File,
    inline: bool,
    pending: Mutex<Pending>,
    arrived: Condvar,
    sync_count: AtomicU64,
}

/// Answers that wait for the next sync, one buffer per connection.
#[derive(Default)]
struct Pending {
    answers: Vec<(Arc<TcpStream>, Vec<u8>)>,
    syncing: bool,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (path, inline) = match words[..] {
        ["fetch", path] => return serve_file(path, "127.0.0.1"),
        ["fetch", path, host] => return serve_file(path, host),
        ["produce", path] => (path, false),
        ["produce", path, "inline"] => (path, true),
        _ => {
            return Err(io::Error::other(
                "usage: limit produce FILE [inline] | limit fetch FILE [HOST]",
            ));
        }
    };
    let limit: &'static Limit = Box::leak(Box::new(Limit {
        file: File::options().create(true).append(true).open(path)?,
        inline,
        pending: Mutex::default(),
        arrived: Condvar::new(),
        sync_count: AtomicU64::new(0),
    }));
    if !inline {
        thread::spawn(|| limit.flush_forever());
    }
    for stream in listen("127.0.0.1")?.incoming() {
        let stream = stream?;
        thread::spawn(|| {
            // A peer that hangs up ends its thread, not the program.
            let _ = limit.serve(stream);
        });
    }
    Ok(())
}

fn listen(host: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((host, 0))?;
    println!("limit ready: wire {}", listener.local_addr()?);
    Ok(listener)
}

impl Limit {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        let mut frames = Frames::default();
        let mut answers = Vec::new();
        loop {
            while let Some(request) = frames.take() {
                self.answer(request, &mut answers)?;
            }
            if !answers.is_empty() {
                self.hand_over(&stream, &mut answers)?;
            }
            if frames.fill(&*stream)? == 0 {
                return Ok(());
            }
        }
    }

    /// Does what a request asks, and appends its answer's frame to `answers`.
    fn answer(&self, request: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
        let (header, body) = frame::take::<RequestHeader>(request).map_err(io::Error::other)?;
        let header_out =
            ResponseHeader { correlation_id: header.correlation_id, throttle_time_ms: 0 };
        let mut out = Vec::new();
        match ApiKey::from_number(header.api_key) {
            Some(ApiKey::Produce) => {
                let (request, raw) =
                    frame::take::<ProduceRequest<'_>>(body).map_err(io::Error::other)?;
                let response = self.append(&request, raw)?;
                frame::encode(&header_out, &response, 0, &mut out);
            }
            Some(ApiKey::Hello) => frame::encode(&header_out, &hello("limit"), 0, &mut out),
            Some(ApiKey::CreateTopics) => frame::encode(&header_out, &created(1), 0, &mut out),
            Some(ApiKey::DescribeMetrics) => {
                let value = self.sync_count.load(Ordering::Relaxed);
                let metric = Metric { name: "flush_count", kind: MetricKind::Counter, value };
                let response = DescribeMetricsResponse { metrics: vec![metric] };
                frame::encode(&header_out, &response, 0, &mut out);
            }
            _ => return Err(io::Error::other("not a request of the limit program")),
        }
        answers.extend_from_slice(&out);
        Ok(())
    }

    /// Checks the batches of a request and appends them all by one write.
    fn append(&self, request: &ProduceRequest<'_>, raw: &[u8]) -> io::Result<ProduceResponse> {
        let mut rest = raw;
        for partition in &request.partitions {
            let (batch, after) = rest.split_at(partition.records_bytes as usize);
            let stored = u32::from_be_bytes([batch[17], batch[18], batch[19], batch[20]]);
            if crc32c::crc32c(&batch[21..]) != stored {
                return Err(io::Error::other("a batch fails its checksum"));
            }
            rest = after;
        }
        (&self.file).write_all(raw)?;
        Ok(produced(request.partitions.len()))
    }

    /// Leaves answers to whoever syncs next; `inline`, that is the caller if nobody does.
    fn hand_over(&self, stream: &Arc<TcpStream>, answers: &mut Vec<u8>) -> io::Result<()> {
        let mut pending = self.lock();
        let held = pending.answers.iter_mut().find(|(held, _)| Arc::ptr_eq(held, stream));
        match held {
            Some((_, bytes)) => bytes.append(answers),
            None => pending.answers.push((Arc::clone(stream), mem::take(answers))),
        }
        if !self.inline {
            self.arrived.notify_one();
            return Ok(());
        }
        if pending.syncing {
            return Ok(());
        }
        pending.syncing = true;
        while !pending.answers.is_empty() {
            let due = mem::take(&mut pending.answers);
            drop(pending);
            self.sync_and_send(due)?;
            pending = self.lock();
        }
        pending.syncing = false;
        Ok(())
    }

    /// The thread of its own.
    fn flush_forever(&self) {
        loop {
            let mut pending = self.lock();
            while pending.answers.is_empty() {
                pending = self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            let due = mem::take(&mut pending.answers);
            drop(pending);
            self.sync_and_send(due).expect("the file can be synced");
        }
    }

    fn sync_and_send(&self, due: Vec<(Arc<TcpStream>, Vec<u8>)>) -> io::Result<()> {
        self.file.sync_data()?;
        self.sync_count.fetch_add(1, Ordering::Relaxed);
        for (stream, answers) in due {
            // Its own thread sees the peer go.
            let _ = (&*stream).write_all(&answers);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line in, the whole file out, for each connection.
fn serve_file(path: &str, host: &str) -> io::Result<()> {
    let file: &'static File = Box::leak(Box::new(File::open(path)?));
    for stream in listen(host)?.incoming() {
        let stream = stream?;
        thread::spawn(|| {
            let _ = send_file(stream, file);
        });
    }
    Ok(())
}

fn send_file(stream: TcpStream, file: &File) -> io::Result<()> {
    BufReader::new(&stream).read_line(&mut String::new())?;
    let bytes = file.metadata()?.len();
    let mut position: libc::off_t = 0;
    while (position as u64) < bytes {
        let rest = (bytes - position as u64) as usize;
        // SAFETY: both descriptors are open, and `position` lives through the call.
        let sent = unsafe {
            libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut position, rest)
        };
        if sent <= 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
