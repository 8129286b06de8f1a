//! The real binary, run as a person would: a broker on a folder and a free port, and the commands
//! that talk to it.
//!
//! Everything here leans on the command line's contract only: the ready line on standard output,
//! data on standard output, words on standard error, exit codes 0, 1 and 2.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use rustix::process::{Pid, Signal, kill_process};

/// The binary under test: the one that cargo built for it, or `ODRADEK_BINARY`, so that a release
/// build can be put on the same trial.
pub fn odradek() -> String {
    env::var("ODRADEK_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_odradek").to_owned())
}

/// How long a broker may take to answer on a busy machine.
const READY_WAIT: Duration = Duration::from_secs(120);

/// How long a stopped broker may take to end.
const STOP_WAIT: Duration = Duration::from_secs(120);

/// How long a command may take on a busy machine.
const COMMAND_WAIT: Duration = Duration::from_secs(120);

/// A folder of its own, removed with the value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new empty folder below the system's folder for temporary files.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("odradek-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A broker still to be started.
#[derive(Debug)]
pub struct Setup {
    data: PathBuf,
    log: PathBuf,
    config: Option<PathBuf>,
    settings: Vec<String>,
    wrapper: Vec<String>,
}

impl Setup {
    /// A broker on this log dir, with the smallest journal: many are made and copied.
    pub fn new(data: &Path) -> Self {
        let log = data.with_extension("broker.log");
        let settings = vec!["journal.bytes=16777216".to_owned()];
        Self { data: data.to_owned(), log, config: None, settings, wrapper: Vec::new() }
    }

    /// Whose standard error goes to another file than the one beside its log dir.
    pub fn words_at(mut self, log: &Path) -> Self {
        log.clone_into(&mut self.log);
        self
    }

    /// With `--set KEY=VALUE`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// With `--config FILE`.
    pub fn config(mut self, file: &Path) -> Self {
        self.config = Some(file.to_owned());
        self
    }

    /// Started by another program, which must become the broker itself (as `strace -D` does).
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut words = self.wrapper.iter().cloned().chain([odradek()]);
        let mut command = Command::new(words.next().expect("the binary is always there"));
        command.args(words);
        if let Some(file) = &self.config {
            command.arg("--config").arg(file);
        }
        command.arg("--set").arg(format!("log.dirs={}", self.data.display()));
        command.args(["--set", "listeners=wire://127.0.0.1:0"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        // The variables that steer these tests are not the broker's configuration.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("ODRADEK_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits for its ready line; the words it said, when there is none.
    pub fn try_start(&self) -> Result<Broker, String> {
        let log = self.log.clone();
        let words = File::options().create(true).append(true).open(&log);
        let words = words.map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(words);
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let output = child.stdout.take().expect("piped");
        // The pipe must be read to its end: a broker that cannot write its words would stand still.
        let (sender, lines) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut broker = Broker { child, server: String::new(), kafka: None, log };
        let deadline = Instant::now() + READY_WAIT;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some(server) = address_of("wire", &line) {
                server.clone_into(&mut broker.server);
                broker.kafka = address_of("kafka", &line).map(str::to_owned);
                return Ok(broker);
            }
        }
        Err(format!("no ready line; the broker said: {}", broker.words()))
    }

    /// Starts it; a broker that does not come up fails the test.
    pub fn start(&self) -> Broker {
        self.try_start().expect("the broker starts")
    }
}

/// A protocol's address in `odradek ready in N ms: wire 127.0.0.1:7092 kafka 127.0.0.1:9092`.
fn address_of<'a>(protocol: &str, line: &'a str) -> Option<&'a str> {
    let rest = line.strip_prefix("odradek ready in ")?;
    let (_, listeners) = rest.split_once(": ")?;
    let mut words = listeners.split([' ', ',']);
    words.find(|word| *word == protocol)?;
    words.next()
}

/// A running broker, killed with the value.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    /// Where its wire listens, as `--server` takes it.
    pub server: String,
    /// Where its Kafka door is, if it has one.
    pub kafka: Option<String>,
    log: PathBuf,
}

impl Broker {
    /// What it said on standard error, in this run and those before it on the same folder.
    pub fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that is its own and no file's.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells");
        let kib: Option<u64> = line.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        kib.expect("a number of kB") << 10
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("our child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Asks it to stop (SIGTERM) and waits until it did.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our child can be signalled");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP_WAIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop; it said: {}", self.words());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A subcommand that talks to it: `broker.command(&["topic", "list"])`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        client_command(&self.server, arguments)
    }

    /// Runs a subcommand without input to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        output_of(self.command(arguments), &[])
    }

    /// Runs a subcommand that must succeed and gives what it printed.
    pub fn text(&self, arguments: &[&str]) -> String {
        succeeded(&self.run(arguments), arguments)
    }

    /// Produces lines, all acknowledged when this returns; `arguments` begin with the topic.
    pub fn produce(&self, arguments: &[&str], lines: &[String]) -> String {
        let words = [&["produce"], arguments].concat();
        let mut input = lines.join("\n").into_bytes();
        input.push(b'\n');
        succeeded(&output_of(self.command(&words), &input), &words)
    }

    /// All lines of a topic, from its beginning to its end now.
    pub fn consume(&self, arguments: &[&str]) -> Vec<String> {
        let words = [&["consume"], arguments, &["--from", "beginning", "--until-end"]].concat();
        self.text(&words).lines().map(str::to_owned).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subcommand for the broker at `server`.
pub fn client_command(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(odradek());
    command.args(arguments).env("ODRADEK_SERVER", server).stdin(Stdio::null());
    command
}

/// Runs a command with some input to its end.
pub fn output_of(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // Beside the reader, so that neither side waits for the other with a full pipe. A command that
    // ends before it read everything is no failure here: its exit code is looked at.
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let id = Pid::from_child(&child);
    let (sender, ended) = std::sync::mpsc::channel();
    // A command that never ends fails its test rather than hold up all of them.
    let watchdog = thread::spawn(move || {
        let has_ended = ended.recv_timeout(COMMAND_WAIT).is_ok();
        if !has_ended {
            let _ = kill_process(id, Signal::KILL);
        }
        has_ended
    });
    let output = child.wait_with_output().expect("a child can be waited for");
    let _ = sender.send(());
    writer.join().expect("the writer does not panic");
    assert!(watchdog.join().expect("it only waits"), "{command:?} did not end");
    output
}

fn succeeded(output: &Output, arguments: &[&str]) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{words}", output.status);
    String::from_utf8(output.stdout.clone()).expect("the tests write text")
}
