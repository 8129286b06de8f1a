//! What a site of several brokers says of a partition, and how soon another broker leads it.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use odradek::wire::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use odradek::wire::metadata::{MetadataPartition, MetadataRequest, MetadataResponse};
use odradek::wire::{ApiKey, TopicRef, frame};

use crate::args::Args;
use crate::connection::{Connection, batch_of, produce_request};

/// Time between two looks or tries.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a broker may leave a question unanswered before it is asked on another connection: one
/// that was paused or cut off says nothing.
const SILENCE: Duration = Duration::from_millis(1000);

/// Prints a free port of the loopback interface.
pub fn print_port() -> io::Result<()> {
    println!("{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    Ok(())
}

/// Who leads partition 0 of `--topic`; waits until it has a leader and `--isr` replicas in sync.
pub fn print_leader(args: &Args) -> io::Result<()> {
    let address = args.address()?;
    let wanted = args.number("isr", 1) as usize;
    let deadline = Instant::now() + Duration::from_secs(args.number("patience", 60));
    loop {
        let seen = look(address, &args.text("topic", "bench"));
        if let Ok((partition, Some(leader))) = &seen {
            if wanted <= partition.isr.len() {
                let (id, epoch, isr) =
                    (partition.leader, partition.leader_epoch, partition.isr.len());
                println!("leader={id} address={leader} epoch={epoch} isr={isr}");
                return Ok(());
            }
        }
        if deadline < Instant::now() {
            return Err(io::Error::other(format!("it does not come to that: {seen:?}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Partition 0 of a topic, and where its leader is.
fn look(address: SocketAddr, topic: &str) -> io::Result<(MetadataPartition, Option<String>)> {
    let mut connection = Connection::open_within(address, SILENCE)?;
    let request = MetadataRequest {
        topics: Some(vec![TopicRef::Name(topic)]),
        allow_auto_topic_creation: false,
    };
    let body = connection.call(ApiKey::Metadata, &request)?;
    let response: MetadataResponse<'_> = frame::decode(&body).map_err(io::Error::other)?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.ok_or_else(|| io::Error::other("no such partition"))?.clone();
    let leader = response.brokers.iter().find(|broker| broker.node_id == partition.leader);
    Ok((partition, leader.map(|leader| format!("{}:{}", leader.host, leader.port))))
}

/// How fast the broker at the address comes by `--bytes` of `--topic`, which others have: from the
/// first byte that it gained, so that its start does not count.
pub fn time_catch_up(args: &Args) -> io::Result<()> {
    let (address, topic) = (args.address()?, args.text("topic", "bench"));
    let wanted = args.number("bytes", 1);
    let deadline = Instant::now() + Duration::from_secs(args.number("patience", 600));
    let mut connection = None;
    let mut first: Option<(Instant, u64)> = None;
    loop {
        if deadline < Instant::now() {
            return Err(io::Error::other("it does not catch up"));
        }
        match held_bytes(&mut connection, address, &topic) {
            Ok(bytes) => {
                let (began, before) = *first.get_or_insert((Instant::now(), bytes));
                if wanted <= bytes {
                    let seconds = began.elapsed().as_secs_f64();
                    let gained = bytes - before;
                    let mb_s = gained as f64 / 1e6 / seconds;
                    println!("mb_s={mb_s:.1} bytes={gained} seconds={seconds:.3}");
                    return Ok(());
                }
                // Nothing has come so far: the clock has not begun.
                if bytes == before {
                    first = Some((Instant::now(), bytes));
                }
            }
            Err(_) => connection = None,
        }
        thread::sleep(PAUSE);
    }
}

fn held_bytes(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    topic: &str,
) -> io::Result<u64> {
    if connection.is_none() {
        *connection = Some(Connection::open_within(address, SILENCE)?);
    }
    let open = connection.as_mut().expect("just opened");
    let request = DescribeLogDirsRequest { topics: vec![TopicRef::Name(topic)] };
    let body = open.call(ApiKey::DescribeLogDirs, &request)?;
    let response: DescribeLogDirsResponse = frame::decode(&body).map_err(io::Error::other)?;
    let log = response.partitions.iter().find(|log| log.error.is_ok());
    log.map(|log| log.size_bytes).ok_or_else(|| io::Error::other("no log so far"))
}

/// An acknowledgement, and whose.
struct Ack {
    at: Instant,
    broker: usize,
}

/// Asks every broker all the time to take a record for partition 0 of `--topic`; only its leader
/// does. Whenever another broker is the first to acknowledge one, prints
/// `from=N to=N gap_ms=N`, places in the list of addresses counted from 1: the time between the
/// last acknowledgement of the one and the first of the other. `ready` comes with the first of all.
/// Ends when stdin does.
pub fn probe(args: &Args) -> io::Result<()> {
    let addresses = args.addresses()?;
    let topic = args.text("topic", "bench");
    let (acks, acked) = channel();
    for (broker, address) in addresses.into_iter().enumerate() {
        let (acks, topic) = (acks.clone(), topic.clone());
        thread::spawn(move || {
            loop {
                if ask(address, broker, &topic, &acks).is_err() {
                    thread::sleep(PAUSE);
                }
            }
        });
    }
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let mut last: Option<Ack> = None;
    let mut out = io::stdout();
    for ack in acked {
        match &last {
            None => writeln!(out, "ready leader={}", ack.broker + 1)?,
            Some(before) if before.broker != ack.broker => {
                let gap = ack.at.saturating_duration_since(before.at).as_secs_f64() * 1e3;
                writeln!(out, "from={} to={} gap_ms={gap:.1}", before.broker + 1, ack.broker + 1)?;
            }
            Some(_) => {}
        }
        out.flush()?;
        last = Some(ack);
    }
    Ok(())
}

/// Asks one broker until its connection fails.
fn ask(address: SocketAddr, broker: usize, topic: &str, acks: &Sender<Ack>) -> io::Result<()> {
    let mut connection = Connection::open_within(address, SILENCE)?;
    let mut frame = produce_request(topic, 0..1, &batch_of(1, 100));
    loop {
        connection.send(&mut frame)?;
        if connection.receive_produced()?.error.is_ok() {
            let _ = acks.send(Ack { at: Instant::now(), broker });
        }
        thread::sleep(PAUSE);
    }
}

impl Connection {
    /// As [`Connection::open`], and no question takes longer than this.
    fn open_within(address: SocketAddr, patience: Duration) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        Connection::greet(stream)
    }
}
