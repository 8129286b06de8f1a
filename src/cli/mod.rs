//! The command line: argv to exit code, one file a subcommand.
//!
//! Data goes to stdout, words about it to stderr, JSON where a script would read it. Exit codes:
//! 0 done, 1 failed, 2 wrong usage. This is the floor where errors become words, so that its own
//! error holds them as text; nothing below imports it.
//!
//! A new subcommand is one file with an `argh` struct and a `run`, one variant of [`Command`] and
//! one arm of [`run`]. Options that many have (`--server`, `--json`) and the lists of actions are
//! spelt out in each: `argh` derives from one struct at a time and flattens nothing.

#![expect(clippy::doc_markdown, reason = "argh prints these comments as help; no backticks there")]

mod args;
mod bench;
mod broker;
mod cluster;
mod config;
mod connect;
mod consume;
mod consume_group;
mod demo;
mod group;
mod json;
mod log;
mod out;
mod produce;
mod progress;
mod rfc3339;
mod status;
mod topic;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

/// Odradek: Kafka's log at the edge.
///
/// Without a subcommand it runs the broker, with data in ./data and the wire on 127.0.0.1:7092.
#[derive(FromArgs)]
#[argh(
    note = "Data goes to stdout, words about it to stderr. `odradek COMMAND --help` says more about each command. No configuration file is looked for: --config names it.",
    example = "{command_name}\n  runs a broker with every key at its default",
    example = "{command_name} --config config.toml --set log.dirs=/var/lib/odradek\n  runs a broker with a configuration file, one key overridden",
    error_code(1, "the command failed; stderr says why"),
    error_code(2, "the command line or the configuration is wrong")
)]
struct Odradek {
    /// print the version and exit
    #[argh(switch)]
    version: bool,

    /// configuration file (TOML, or Kafka's server.properties) of the broker; without one every key
    /// has its default
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// a configuration key of the broker to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,

    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Bench(bench::Bench),
    Broker(broker::Broker),
    Cluster(cluster::Cluster),
    Config(config::ConfigCommand),
    Consume(consume::Consume),
    Demo(demo::Demo),
    Group(group::Group),
    Log(log::Log),
    Produce(produce::Produce),
    Status(status::Status),
    Topic(topic::Topic),
}

/// Why a command ends with another exit code than 0.
#[derive(Debug, PartialEq, Eq)]
pub enum CliError {
    /// The command line is wrong: exit code 2.
    Usage(String),
    /// The command failed: exit code 1.
    Failed(String),
    /// Nobody reads stdout any more (`odradek … | head`): the work is over, and that is success.
    StdoutClosed,
}

impl CliError {
    /// A failure in the words of `why`.
    pub fn failed(why: impl fmt::Display) -> CliError {
        CliError::Failed(why.to_string())
    }

    /// Wrong usage in the words of `why`.
    pub fn usage(why: impl fmt::Display) -> CliError {
        CliError::Usage(why.to_string())
    }
}

/// Says something about the data on stderr; with stderr gone there is nobody left to tell.
pub fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Runs what argv says.
pub fn main() -> ExitCode {
    let result = parse().and_then(run);
    let (code, words) = match result {
        Ok(()) | Err(CliError::StdoutClosed) => return ExitCode::SUCCESS,
        Err(CliError::Failed(words)) => (1, words),
        Err(CliError::Usage(words)) => (2, words),
    };
    say(format_args!("odradek: {}", words.trim_end()));
    ExitCode::from(code)
}

/// The command line, or the help text that it asked for.
fn parse() -> Result<Odradek, CliError> {
    let mut given = Vec::new();
    for arg in std::env::args_os().skip(1) {
        let arg = arg.into_string().map_err(|arg| {
            CliError::Usage(format!("an argument is not UTF-8: {}", arg.to_string_lossy()))
        })?;
        given.push(arg);
    }
    let given = args::split_assignments(&given);
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    Odradek::from_args(&["odradek"], &given).or_else(|exit| {
        let words = exit.output.trim_end();
        if exit.status.is_err() {
            return Err(CliError::Usage(format!("{words}\n`odradek --help` says more.")));
        }
        print(format_args!("{words}"))?;
        Err(CliError::StdoutClosed)
    })
}

/// Writes one line of data.
fn print(line: fmt::Arguments<'_>) -> Result<(), CliError> {
    let mut out = out::stdout();
    out.line(line)?;
    out.flush()
}

fn run(odradek: Odradek) -> Result<(), CliError> {
    if odradek.version {
        return print(format_args!("odradek {}", env!("CARGO_PKG_VERSION")));
    }
    let Odradek { config, set, command, .. } = odradek;
    match command {
        None => broker::Broker { config, set }.run(),
        Some(Command::Broker(command)) => command.with_outer(config, set).run(),
        Some(Command::Config(command)) => command.with_outer(config, set).run(),
        // The others take no configuration, or take it after their names.
        Some(_) if config.is_some() || !set.is_empty() => Err(CliError::usage(
            "--config and --set before a subcommand are for `broker` and `config` only",
        )),
        Some(Command::Cluster(command)) => command.run(),
        Some(Command::Consume(command)) => command.run(),
        Some(Command::Bench(command)) => command.run(),
        Some(Command::Demo(command)) => command.run(),
        Some(Command::Group(command)) => command.run(),
        Some(Command::Log(command)) => command.run(),
        Some(Command::Produce(command)) => command.run(),
        Some(Command::Status(command)) => command.run(),
        Some(Command::Topic(command)) => command.run(),
    }
}
