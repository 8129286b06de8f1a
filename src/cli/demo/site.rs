//! The site: four processes of this binary on loopback, in a folder that goes with them.
//!
//! **Invariant:** no child outlives the demo. The kernel kills it when the thread that started it is
//! gone, however that came about, a stopped child too; a panic removes the folder besides.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Brokers of the site; the witness has the number after theirs.
pub const BROKERS: usize = 3;

/// All nodes.
pub const BOARDS: usize = BROKERS + 1;

/// Four nodes share one machine; whatever has to do with time is at its default.
const SETTINGS: [&str; 3] = ["journal.bytes=16777216", "memory.limit=64MiB", "shards=1"];

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Runs,
    /// It was stopped in its tracks: it holds its connections and answers nobody.
    Paused,
    /// It is gone.
    Down,
}

/// One node.
#[derive(Debug)]
pub struct Board {
    /// `HOST:PORT` of its wire listener.
    pub address: String,
    child: Option<Child>,
    is_paused: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    boards: Vec<Board>,
}

/// What is to be gone when the demo is.
#[derive(Debug)]
struct Leavings {
    folder: Option<PathBuf>,
    children: BTreeSet<u32>,
}

static LEAVINGS: Mutex<Leavings> = Mutex::new(Leavings { folder: None, children: BTreeSet::new() });

/// Ends every child and removes the folder.
pub fn sweep() {
    // Never waits: a panic may come from whoever holds it.
    let mut leavings = match LEAVINGS.try_lock() {
        Ok(leavings) => leavings,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return,
    };
    for id in std::mem::take(&mut leavings.children) {
        if let Some(pid) = Pid::from_raw(id as i32) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    if let Some(folder) = leavings.folder.take() {
        let _ = fs::remove_dir_all(folder);
    }
}

fn with_leavings<T>(change: impl FnOnce(&mut Leavings) -> T) -> T {
    change(&mut LEAVINGS.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Site {
    /// Makes the folder and starts all nodes. To be called from the thread that lives longest.
    pub fn start() -> io::Result<Site> {
        let name = format!("odradek-demo-{}-{}", std::process::id(), random_hex(4)?);
        let folder = std::env::temp_dir().join(name);
        // Nobody else on this machine is to read the secret, or the data.
        DirBuilder::new().mode(0o700).create(&folder)?;
        with_leavings(|leavings| leavings.folder = Some(folder.clone()));
        fs::write(folder.join("secret"), random_hex(32)?)?;
        // Held all at once, so that no two are alike, and free again when the nodes want them.
        let held: io::Result<Vec<TcpListener>> =
            (0..BOARDS).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
        let mut boards = Vec::new();
        for listener in held? {
            boards.push(Board::at(&listener.local_addr()?.to_string()));
        }
        let mut site = Site { folder, boards };
        for place in 0..BOARDS {
            site.start_board(place)?;
        }
        Ok(site)
    }

    fn start_board(&mut self, place: usize) -> io::Result<()> {
        let node = place + 1;
        let words = self.folder.join(format!("node-{node}.log"));
        let words = File::options().create(true).append(true).open(words)?;
        let voters = self.boards.iter().enumerate();
        let voters = voters.map(|(place, board)| format!("\"{}@{}\"", place + 1, board.address));
        let voters = voters.collect::<Vec<_>>().join(",");
        let roles = if place < BROKERS { "\"broker\",\"controller\"" } else { "\"witness\"" };
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
        settings.extend([
            format!("broker.id={node}"),
            format!("process.roles=[{roles}]"),
            format!("log.dirs={}", self.folder.join(format!("node-{node}")).display()),
            format!("listeners=wire://{}", self.boards[place].address),
            format!("controller.quorum.voters=[{voters}]"),
            format!("cluster.secret.file={}", self.folder.join("secret").display()),
        ]);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo", "--parent", &std::process::id().to_string()]);
        for setting in settings {
            command.arg("--board").arg(setting);
        }
        // What this shell says of another broker does not concern these.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ODRADEK_") {
                command.env_remove(name);
            }
        }
        // A group of its own: Ctrl-C asks the demo to end, and the demo ends its children.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words).process_group(0);
        let child = command.spawn()?;
        with_leavings(|leavings| leavings.children.insert(child.id()));
        self.boards[place].child = Some(child);
        self.boards[place].is_paused = false;
        Ok(())
    }

    /// The nodes, the witness last.
    pub fn boards(&self) -> &[Board] {
        &self.boards
    }

    /// Where clients begin.
    pub fn bootstrap_servers(&self) -> String {
        let addresses = self.boards[..BROKERS].iter().map(|board| board.address.as_str());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Kills a node's process (`kill -9`) and waits for its end; answers whether there was one.
    pub fn kill(&mut self, place: usize) -> io::Result<bool> {
        let Some(mut child) = self.boards[place].child.take() else { return Ok(false) };
        child.kill()?;
        child.wait()?;
        with_leavings(|leavings| leavings.children.remove(&child.id()));
        Ok(true)
    }

    /// Stops a node in its tracks (SIGSTOP), or lets it go on.
    pub fn pause(&mut self, place: usize, is_paused: bool) -> io::Result<()> {
        let board = &mut self.boards[place];
        if let Some(child) = &board.child {
            let signal = if is_paused { Signal::STOP } else { Signal::CONT };
            kill_process(Pid::from_child(child), signal)?;
            board.is_paused = is_paused;
        }
        Ok(())
    }

    /// Starts a node that is down.
    pub fn restart(&mut self, place: usize) -> io::Result<()> {
        if self.boards[place].child.is_none() { self.start_board(place) } else { Ok(()) }
    }

    /// A node whose process ended by itself.
    pub fn take_fallen(&mut self) -> Option<usize> {
        for (place, board) in self.boards.iter_mut().enumerate() {
            let Some(child) = &mut board.child else { continue };
            if !matches!(child.try_wait(), Ok(None)) {
                with_leavings(|leavings| leavings.children.remove(&child.id()));
                board.child = None;
                return Some(place);
            }
        }
        None
    }

    /// The last that a node said, for when it did not come up.
    pub fn last_words(&self, place: usize) -> String {
        let words = fs::read(self.folder.join(format!("node-{}.log", place + 1)));
        let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        lines[lines.len().saturating_sub(3)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for place in 0..self.boards.len() {
            let _ = self.kill(place);
        }
        sweep();
    }
}

impl Board {
    /// A board that is to listen here.
    pub fn at(address: &str) -> Board {
        Board { address: address.to_owned(), child: None, is_paused: false }
    }

    /// What its process does.
    pub fn state(&self) -> State {
        match &self.child {
            None => State::Down,
            Some(_) if self.is_paused => State::Paused,
            Some(_) => State::Runs,
        }
    }

    /// Its process.
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

/// Has the kernel kill this process when the demo that started it is gone; answers whether it is
/// there so far.
pub fn die_with(parent: u32) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(std::os::unix::process::parent_id() == parent)
}

fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory takes it");
        text
    }))
}
