//! `odradek log dump|import|recover`: log files without a broker.

mod dump;
mod import;

use std::path::{Path, PathBuf};

use argh::FromArgs;
use odradek::runtime::disk::read_bytes;
use odradek::runtime::{self, Recovered};

use super::{CliError, config, progress, say};

/// look into log files, repair log dirs and take over Kafka's, without a broker
#[derive(FromArgs)]
#[argh(subcommand, name = "log")]
pub struct Log {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Dump(dump::Dump),
    Import(import::Import),
    Recover(Recover),
}

impl Log {
    /// Does what is asked.
    pub fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Dump(dump) => dump.run(),
            Action::Import(import) => import.run(),
            Action::Recover(recover) => recover.run(),
        }
    }
}

/// recover a log dir after a power cut, as the broker's next start would, and leave it cleanly
/// stopped, so that Kafka's own tools can open it
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "recover",
    note = "A directory that a broker uses is refused. Nothing that may have been acknowledged is \
            discarded: bytes that nobody was promised move to .torn files beside their segment. \
            Exit code 1 when something that was promised is missing; HOLES names it.",
    example = "{command_name} data"
)]
struct Recover {
    /// the directory, an element of the broker's log.dirs
    #[argh(positional)]
    dir: PathBuf,

    /// configuration file (TOML) of the broker that it belongs to; without one the defaults
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// a configuration key to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,
}

impl Recover {
    fn run(self) -> Result<(), CliError> {
        let config = config::read(self.config.as_deref(), &self.set)?;
        if !is_log_dir(&self.dir) {
            return Err(CliError::Failed(format!("{}: no log dir", self.dir.display())));
        }
        let (total, before) = (bytes_below(&self.dir), read_bytes());
        let work = || runtime::recover(&config, &self.dir);
        let recovered = progress::show("recovering", total, || read_bytes() - before, work);
        report(&recovered.map_err(CliError::failed)?)
    }
}

/// Bytes of what a recovery may read: the journal and all segments. Only what the last checkpoint
/// does not vouch for is read in fact.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| {
        let path = entry.path();
        let is_read = path.extension().is_some_and(|end| end == "log" || end == "journal");
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&path),
            Ok(found) if is_read => found.len(),
            _ => 0,
        }
    });
    bytes.sum()
}

/// Whether a broker has used the directory; recovery would make a log dir of any other. One file
/// is enough, since each of them may be what was lost.
fn is_log_dir(dir: &Path) -> bool {
    ["meta.properties", "format", "commit.journal"].iter().any(|name| dir.join(name).exists())
}

/// One line a partition on stdout, words about the whole on stderr.
fn report(recovered: &Recovered) -> Result<(), CliError> {
    if let Some(damage) = &recovered.damage {
        say(format_args!("{damage}"));
    }
    let was_clean = recovered.report.was_clean;
    say(format_args!("the last stop was {}", if was_clean { "clean" } else { "not clean" }));
    let mut rows = vec![
        ["PARTITION", "LOG START", "END", "SCANNED", "TORN", "HOLES"].map(str::to_owned).to_vec(),
    ];
    for (found, ends) in recovered.report.partitions.iter().zip(&recovered.ends) {
        let holes: Vec<String> =
            found.new_holes.iter().map(|hole| format!("{}..{}", hole.from, hole.to)).collect();
        rows.push(vec![
            format!("{}-{}", found.name, found.topic_partition.partition),
            ends.0.to_string(),
            ends.1.to_string(),
            format!("{} B", found.scanned_bytes),
            format!("{} B", found.torn_bytes),
            if holes.is_empty() { "none".to_owned() } else { holes.join(",") },
        ]);
    }
    let mut out = super::out::stdout();
    out.table(&rows)?;
    out.flush()?;
    for unknown in &recovered.report.unknown {
        say(format_args!("{}: kept, not opened: {:?}", unknown.name.display(), unknown.why));
    }
    let damaged = recovered.report.partitions.iter().filter(|found| !found.is_sound()).count();
    if 0 < damaged {
        return Err(CliError::Failed(format!("{damaged} partition(s) are damaged; see HOLES")));
    }
    say(format_args!("recovered: all that was promised is there"));
    Ok(())
}
