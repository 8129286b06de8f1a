//! The shell: threads, poll loops, sockets, disk, clock, signals. The only I/O.
//!
//! ```text
//! acceptor ──► shard-0 … shard-n ──spsc──► flusher ──► checkpoint (when half a ring is full)
//!                │  ▲   each to each: spsc    ├─────► syncer (large shares beside small ones)
//!                │  └──── durable ◄───────────┘
//!                ├──► loader    cold bytes into the page cache
//!                ├──► scrubber  sealed segments verified, damage written down
//!                ├──► cleaner   logs compacted, a round at a time
//!                └──► control   metadata, free space, removal of what was deleted
//! ```
//!
//! Why threads with a poller each and not one async runtime: async-io has one reactor for the
//! process and cost 1.1 to 1.4 times as much per message as a poller per thread (design.md §3).

mod accept;
mod boot;
mod buffers;
mod cleaner;
pub mod clock;
mod connection;
mod control_loop;
mod dialer;
mod directories;
pub mod disk;
mod flusher;
mod handles;
pub mod import;
mod joining;
mod ledger;
mod loader;
mod lock;
mod mailbox;
mod pages;
mod peers;
mod recover;
mod reload;
mod scrubber;
mod settings;
mod shard_loop;
pub mod signals;
mod site;
mod syncer;
mod threads;
mod throttle;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::broker::control::MetadataError;
use crate::broker::metrics::ProcessMetrics;
use crate::broker::site::SiteError;
use crate::config::{Config, Protocol};
use crate::journal::JournalError;
use crate::log::{LogDir, OpenError};
use crate::runtime::control_loop::ControlEvent;
use crate::runtime::disk::FileDisk;
use crate::runtime::lock::DirLock;
use crate::runtime::pages::FilePages;
use crate::runtime::shard_loop::Input;
use crate::runtime::site::pairing::Pairing;
use crate::runtime::threads::Wiring;
pub use recover::{Recovered, recover};

/// Sizes and times that concern a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Largest frame that is read.
    pub frame_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max_ms: u64,
    /// `frame.timeout.ms`: a started frame must be complete after so long.
    pub frame_timeout_ms: u64,
    /// `shutdown.timeout.ms`: answers that are outstanding are waited for so long.
    pub shutdown_timeout_ms: u64,
}

/// Why the broker does not start.
#[derive(Debug)]
pub enum StartError {
    /// Another process uses the log dir.
    LogDirInUse(PathBuf),
    /// `log.dirs` names several directories.
    SeveralLogDirs,
    /// The log dir cannot be used.
    LogDir(OpenError),
    /// The log dir cannot be made, locked or measured.
    LogDirIo(PathBuf, io::Error),
    /// The log dir's journal failed.
    Journal(PathBuf, JournalError),
    /// The cluster's metadata cannot be read.
    Metadata(MetadataError),
    /// A listener cannot be opened.
    Listen(SocketAddr, io::Error),
    /// A name in `listeners` has no address.
    Resolve(String),
    /// `controller.quorum.voters` names others, and there is no secret to know them by.
    NoSecret,
    /// The file of the secret cannot be read.
    Secret(PathBuf, io::Error),
    /// The secret is too short or too long.
    SecretLength(PathBuf, usize),
    /// The node has left its site.
    HasLeft(PathBuf),
    /// The log dir belongs to a member of a site, and the configuration names no others.
    WasMember(PathBuf),
    /// A node of a site cannot take part.
    Site(SiteError),
    /// The system refuses a thread, a poller or a signal handler.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogDirInUse(dir) => {
                write!(f, "log.dirs: {} is in use by another odradek", dir.display())
            }
            Self::SeveralLogDirs => f.write_str("log.dirs: exactly one directory is served so far"),
            Self::LogDir(why) => write!(f, "log.dirs: {why}"),
            Self::LogDirIo(dir, why) => write!(f, "log.dirs: {}: {why}", dir.display()),
            Self::Journal(dir, why) => write!(f, "{}: the journal: {why}", dir.display()),
            Self::Metadata(why) => why.fmt(f),
            Self::Listen(address, why) => write!(f, "listeners: {address}: {why}"),
            Self::Resolve(name) => write!(f, "listeners: {name} has no address"),
            Self::NoSecret => f.write_str(
                "controller.quorum.voters or peers names other nodes: give all of them the same \
                 secret by cluster.secret.file, such as one made by `head -c 32 /dev/urandom | \
                 base64`; or let this node join by `odradek cluster join`",
            ),
            Self::Secret(path, why) => {
                write!(f, "cluster.secret.file: {}: {why}", path.display())
            }
            Self::SecretLength(path, bytes) => write!(
                f,
                "cluster.secret.file: {}: {bytes} bytes; a secret has from 16 to 4096",
                path.display()
            ),
            Self::HasLeft(file) => write!(
                f,
                "log.dirs: this node has left its site. Give it an empty log dir to let it join one; \
                 or delete {} to start it with what it held",
                file.display()
            ),
            Self::WasMember(dir) => write!(
                f,
                "log.dirs: {}: it belongs to a member of a site; controller.quorum.voters must name \
                 the others",
                dir.display()
            ),
            Self::Site(why) => why.fmt(f),
            Self::System(why) => write!(f, "the system refuses: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(why: io::Error) -> StartError {
        StartError::System(why)
    }
}

/// What outlives a restart of the broker within its process.
#[derive(Clone, Default)]
struct Outside {
    /// The invitation that is open.
    pairing: Arc<Pairing>,
    /// Where a restart or an end is asked for.
    signal: Option<Sender<signals::Signal>>,
}

impl Outside {
    /// Asks for something; where nobody listens nothing happens.
    fn ask(&self, signal: signals::Signal) {
        if let Some(sender) = &self.signal {
            let _ = sender.send(signal);
        }
    }
}

/// A running broker.
///
/// ```no_run
/// let config = odradek::config::Config::default();
/// let broker = odradek::runtime::Broker::start(&config)?;
/// println!("{:?}", broker.addresses());
/// broker.stop();
/// # Ok::<(), odradek::runtime::StartError>(())
/// ```
pub struct Broker {
    addresses: Vec<(Protocol, SocketAddr)>,
    wiring: Wiring,
    log_dir: LogDir<FileDisk>,
    metrics: &'static ProcessMetrics,
    _lock: DirLock,
}

impl Broker {
    /// Opens the log dir, recovers it, starts all threads and listens.
    pub fn start(config: &Config) -> Result<Broker, StartError> {
        boot::start(config, &Outside::default())
    }

    /// Where the first listener of a protocol is bound.
    pub fn address(&self, protocol: Protocol) -> Option<SocketAddr> {
        self.addresses.iter().find(|(spoken, _)| *spoken == protocol).map(|(_, address)| *address)
    }

    /// Where the listeners are bound, in the order of `listeners`.
    pub fn addresses(&self) -> &[(Protocol, SocketAddr)] {
        &self.addresses
    }

    /// Whether the log dir has failed.
    pub fn has_failed(&self) -> bool {
        self.metrics.storage_failed_now.load(Ordering::Relaxed) != 0
    }

    /// Writes down the wall clock, if it is trusted: the next start distrusts a clock behind it.
    pub fn note_time(&mut self) {
        if let Err(why) = self.log_dir.note_wall(clock::now()) {
            log::warn!("the time could not be written down: {why}");
        }
    }

    /// Takes over what a new configuration may change while the broker runs; the rest waits for
    /// the next start.
    pub fn reload(&mut self, config: &Config) {
        // A control thread that has ended is on its way out with the process.
        let event = ControlEvent::Reconfigure(Box::new(config.clone()));
        let _ = self.wiring.control_events.send(event);
    }

    /// Ends cleanly: answers what was asked, makes everything durable, empties the ring. The log
    /// dir can then be opened by Kafka's own tools.
    pub fn stop(self) {
        let Wiring { acceptor, acceptor_poller, acceptor_stop, shards, control, .. } = self.wiring;
        let Wiring { control_events, flusher, flusher_stop, loader, .. } = self.wiring;
        let Wiring { scrubber, cleaner, .. } = self.wiring;
        leave(&control_events);
        acceptor_stop.store(true, Ordering::Release);
        let _ = acceptor_poller.notify();
        join(acceptor);
        let mut logs = Vec::new();
        for (inbox, _) in &shards {
            inbox.give(Input::Stop);
        }
        for (inbox, thread) in shards {
            logs.extend(join(thread).into_iter().flatten());
            drop(inbox);
        }
        let _ = control_events.send(ControlEvent::Stop);
        logs.extend(join(control));
        flusher_stop.store(true, Ordering::Release);
        flusher.thread().unpark();
        let journal = join(flusher);
        join(loader);
        join(scrubber);
        // What a round has left half done is tidied up when its log is closed.
        join(cleaner);
        let Some(journal) = journal else { return };
        let closed = journal.close().map_err(|why| why.to_string());
        let now = clock::now();
        let closed =
            closed.and_then(|()| self.log_dir.close(logs, now).map_err(|why| why.to_string()));
        match closed {
            Ok(()) => log::info!("stopped cleanly"),
            Err(why) => log::error!("the log dir was not closed cleanly: {why}"),
        }
    }
}

/// How long a stop waits for the site to have taken over what was led here.
const LEAVE_MS: u64 = 5_000;

/// Has others lead what is led here. A node that is alone has nobody to ask.
fn leave(control: &Sender<ControlEvent<FileDisk>>) {
    let given = Arc::new(AtomicBool::new(false));
    let began = clock::boot();
    if control.send(ControlEvent::Leave(Arc::clone(&given))).is_err() {
        return;
    }
    while !given.load(Ordering::Acquire) && clock::boot().ms_since(began) < LEAVE_MS {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How often the wall clock is written down.
const NOTE_TIME_MS: u64 = 3_600_000;

/// How often a witness lets go of the pages of files; those it needs come back.
const LET_GO_MS: u64 = 10_000;

/// Waits for a thread. One that panicked has printed why; with `panic = "abort"` the process is
/// gone by then anyway.
fn join<T>(thread: JoinHandle<T>) -> Option<T> {
    let name = thread.thread().name().unwrap_or("a thread").to_owned();
    let ended = thread.join();
    if ended.is_err() {
        log::error!("{name} panicked");
    }
    ended.ok()
}

/// Runs a broker until a signal ends it: prints the ready line, reloads on SIGHUP.
pub fn run(config: &Config, reload: &dyn Fn() -> Option<Config>) -> Result<(), StartError> {
    let began = clock::boot();
    let pages = config.is_witness().then(FilePages::mapped);
    let (signal, signals) = channel();
    signals::listen_with(signal.clone())?;
    let outside = Outside { pairing: Arc::default(), signal: Some(signal) };
    let mut broker = start_aside(config, &outside)?;
    let took_ms = clock::boot().ms_since(began);
    ready(took_ms, broker.addresses());
    let mut config = config.clone();
    let (mut noted, mut let_go) = (began, began);
    loop {
        let now = clock::boot();
        if noted.plus_ms(NOTE_TIME_MS) <= now {
            noted = now;
            broker.note_time();
        }
        if let Some(pages) = pages.as_ref().filter(|_| let_go.plus_ms(LET_GO_MS) <= now) {
            let_go = now;
            pages.let_go();
        }
        match signals.recv_timeout(Duration::from_secs(1)) {
            Ok(signals::Signal::Stop) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                break;
            }
            Ok(signals::Signal::Reload) => {
                if let Some(fresh) = reload() {
                    broker.reload(&fresh);
                    config = fresh;
                }
            }
            Ok(signals::Signal::Restart) => {
                config.keep_ports(broker.addresses());
                broker.stop();
                broker = start_aside(&config, &outside)?;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
    broker.stop();
    Ok(())
}

/// Starts on a thread of its own: the stack that a start needs, and nothing later, goes with it.
fn start_aside(config: &Config, outside: &Outside) -> Result<Broker, StartError> {
    std::thread::scope(|scope| {
        let start = || boot::start(config, outside);
        let thread = std::thread::Builder::new().name("start".into()).spawn_scoped(scope, start)?;
        thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
    })
}

#[expect(clippy::print_stdout, reason = "the ready line is the contract that scripts wait for")]
fn ready(took_ms: u64, addresses: &[(Protocol, SocketAddr)]) {
    use std::io::Write;
    let words = addresses.iter().map(|(protocol, address)| format!("{protocol} {address}"));
    println!("odradek ready in {took_ms} ms: {}", words.collect::<Vec<_>>().join(" "));
    // Somebody who does not listen for the line does not stop the broker.
    let _ = io::stdout().flush();
}
