//! Reading a partition from its start and throwing it away.
//!
//! The reader looks only at a response's header and its first batch's header: the batches are all
//! alike, so that says where the next fetch starts.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::{BatchHeader, HEADER_BYTES};
use odradek::wire::fetch::{FetchPartition, FetchRequest, FetchResponse};
use odradek::wire::{ApiKey, ResponseHeader, TopicRef, frame};

use crate::args::Args;
use crate::connection::{Connection, request};
use crate::process;

/// A reader's buffer: what one `read` takes at most.
const BUFFER_BYTES: usize = 1 << 20;

/// How often the syncing thread looks whether there is more.
const PAUSE: Duration = Duration::from_micros(100);

/// Bytes that surely hold a response's prefix, header and body for one partition.
const RESPONSE_BYTES_MAX: usize = 64;

/// Reads passes over the partition until `--seconds` are over; at least one.
pub fn run(args: &Args) -> io::Result<()> {
    let address = args.address()?;
    let seconds_max = args.seconds("seconds", 2.0);
    let mut buffer = vec![0; BUFFER_BYTES];
    let before = (process::own_cpu_seconds(), args.pid().map(process::cpu_seconds));
    let began = Instant::now();
    let mut bytes = 0;
    while bytes == 0 || began.elapsed().as_secs_f64() < seconds_max {
        bytes += if args.has("bare") {
            match args.text("store", "") {
                path if path.is_empty() => read_bare(address, &mut buffer)?,
                path => store_bare(address, &path, &mut buffer)?,
            }
        } else {
            read_partition(address, args, &mut buffer)?
        };
    }
    let seconds = began.elapsed().as_secs_f64();
    let busy = 100.0 * (process::own_cpu_seconds() - before.0) / seconds;
    print!(
        "mb_s={:.1} bytes={bytes} seconds={seconds:.3} client_busy={busy:.0}",
        bytes as f64 / 1e6 / seconds
    );
    if let Some((pid, began)) = args.pid().zip(before.1) {
        let cpu = process::cpu_seconds(pid) - began;
        print!(" server_cpu_s={cpu:.3} server_cpu_s_gb={:.3}", cpu / (bytes as f64 / 1e9));
    }
    println!();
    Ok(())
}

/// The limit program's way: one line, then everything.
fn read_bare(address: SocketAddr, buffer: &mut [u8]) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"all\n")?;
    let mut bytes = 0;
    loop {
        match stream.read(buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// The same, and what a follower cannot avoid besides: the bytes are summed, appended to a new file,
/// and synced by another thread, once for all that came while the last sync ran. Ends when all are
/// appended, as a follower has them then.
fn store_bare(address: SocketAddr, path: &str, buffer: &mut [u8]) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"all\n")?;
    let file: &'static File = Box::leak(Box::new(File::create(path)?));
    let appended: &'static AtomicU64 = Box::leak(Box::default());
    // It ends with the program, which makes one pass.
    thread::spawn(move || {
        let mut synced = 0;
        loop {
            let end = appended.load(Ordering::Acquire);
            if end == synced {
                thread::sleep(PAUSE);
                continue;
            }
            file.sync_data().expect("the file can be synced");
            synced = end;
        }
    });
    copy_all(&mut stream, file, appended, buffer)?;
    Ok(appended.load(Ordering::Acquire))
}

fn copy_all(
    stream: &mut TcpStream,
    mut file: &File,
    appended: &AtomicU64,
    buffer: &mut [u8],
) -> io::Result<()> {
    loop {
        let mut held = 0;
        while held < buffer.len() {
            match stream.read(&mut buffer[held..])? {
                0 => break,
                read => held += read,
            }
        }
        if held == 0 {
            return Ok(());
        }
        black_box(crc32c::crc32c(&buffer[..held]));
        file.write_all(&buffer[..held])?;
        appended.fetch_add(held as u64, Ordering::Release);
    }
}

/// The wire's way: fetch after fetch, up to the high watermark.
fn read_partition(address: SocketAddr, args: &Args, buffer: &mut [u8]) -> io::Result<u64> {
    let topic = args.text("topic", "bench");
    let max_bytes = args.number("max-bytes", 1 << 20) as u32;
    let mut connection = Connection::open(address)?;
    let (mut offset, mut bytes) = (0, 0);
    loop {
        connection.send(&mut fetch_request(&topic, offset, max_bytes))?;
        let fetched = read_response(&mut connection.stream, buffer)?;
        offset = fetched.next_offset.max(offset);
        bytes += fetched.bytes;
        if fetched.high_watermark <= offset || fetched.bytes == 0 {
            return Ok(bytes);
        }
    }
}

/// What a fetch gave.
struct Fetched {
    bytes: u64,
    next_offset: i64,
    high_watermark: i64,
}

fn read_response(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Fetched> {
    let mut held = 0;
    let mut frame_bytes = usize::MAX;
    while held < frame_bytes.min(RESPONSE_BYTES_MAX + HEADER_BYTES) {
        held += match stream.read(&mut buffer[held..])? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        if let Some(prefix) = buffer[..held].first_chunk() {
            frame_bytes = 4 + u32::from_be_bytes(*prefix) as usize;
        }
    }
    let (_, body) = frame::take::<ResponseHeader>(&buffer[4..held]).map_err(io::Error::other)?;
    let (response, raw) = frame::take::<FetchResponse>(body).map_err(io::Error::other)?;
    let partition = response.partitions[0];
    if !partition.error.is_ok() {
        return Err(io::Error::other(format!("the fetch failed: {}", partition.error)));
    }
    let bytes = u64::from(partition.records_bytes);
    let mut next_offset = 0;
    if 0 < bytes {
        let first = BatchHeader::parse(raw).map_err(io::Error::other)?;
        let batch_count = bytes / first.size_bytes() as u64;
        if bytes % first.size_bytes() as u64 != 0 {
            return Err(io::Error::other("the batches are not all of one size"));
        }
        next_offset = first.base_offset.0 + batch_count as i64 * i64::from(first.record_count);
    }
    let mut rest = frame_bytes - held;
    while 0 < rest {
        let room = buffer.len().min(rest);
        match stream.read(&mut buffer[..room])? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => rest -= read,
        }
    }
    Ok(Fetched { bytes, next_offset, high_watermark: partition.high_watermark.0 })
}

fn fetch_request(topic: &str, offset: i64, max_bytes: u32) -> Vec<u8> {
    let partition = FetchPartition {
        topic: TopicRef::Name(topic),
        partition: Partition(0),
        offset: Offset(offset),
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes,
    };
    let body =
        FetchRequest { max_wait_ms: 5000, min_bytes: 1, max_bytes, partitions: vec![partition] };
    request(ApiKey::Fetch, &body, &[])
}
