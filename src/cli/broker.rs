//! `odradek broker`, and `odradek` alone: runs the broker until a signal ends it.
//!
//! The only words on stdout are the ready line, which `runtime` prints once clients are answered.

use std::cell::RefCell;
use std::io::Write as _;
use std::path::PathBuf;

use argh::FromArgs;
use log::{Level, LevelFilter};
use odradek::config::Config;
use odradek::time::Timestamp;

use super::{CliError, config, rfc3339};

/// run the broker; SIGTERM and SIGINT stop it cleanly, SIGHUP reads the configuration again
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "broker",
    example = "{command_name} --set listeners=wire://0.0.0.0:7092 --set memory.limit=64MiB\n  for other machines too, in 64 MiB",
    note = "When clients are answered it prints `odradek ready in N ms: wire HOST:PORT` on stdout; all else goes to stderr. The environment is read too: ODRADEK_LOG_DIRS=data is log.dirs; --set is stronger, the file weaker. `odradek config show` lists all keys, config.toml explains them."
)]
pub struct Broker {
    /// configuration file (TOML, or Kafka's server.properties); without one every key has its default
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,

    /// a key to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    pub set: Vec<String>,
}

impl Broker {
    /// Takes the options that stood before the subcommand; those after it are stronger.
    pub fn with_outer(mut self, outer_config: Option<PathBuf>, outer_set: Vec<String>) -> Self {
        self.config = self.config.or(outer_config);
        self.set.splice(0..0, outer_set);
        self
    }

    /// Runs the broker.
    pub fn run(self) -> Result<(), CliError> {
        let config = config::read(self.config.as_deref(), &self.set)?;
        start_logging(config.log_level);
        for warning in config.warnings() {
            log::warn!("{warning}");
        }
        let running = RefCell::new(config.clone());
        let reload = || reload(&mut running.borrow_mut());
        odradek::runtime::run(&config, &reload).map_err(CliError::failed)
    }
}

/// Reads the configuration again and says what takes effect and what waits for a restart. A
/// mistake leaves the broker as it runs.
fn reload(running: &mut Config) -> Option<Config> {
    let fresh = match running.read_again() {
        Ok(fresh) => fresh,
        Err(errors) => {
            log::error!("the configuration is not reloaded: {errors}");
            return None;
        }
    };
    let changed = fresh.changed_since(running);
    if changed.is_empty() {
        log::info!("the configuration has not changed");
    }
    for setting in changed {
        let value = setting.value.as_deref().unwrap_or("-");
        if setting.reloadable {
            log::info!("`{}` is now {value}", setting.key);
        } else {
            log::warn!("`{}` becomes {value} with the next start", setting.key);
        }
    }
    log::set_max_level(fresh.log_level);
    *running = fresh.clone();
    Some(fresh)
}

/// Logs to stderr; under systemd with the priorities its journal reads, and without the time,
/// which it adds itself.
fn start_logging(level: LevelFilter) {
    let is_for_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    // The logger takes everything; what is shown is the facade's level, which SIGHUP can change.
    builder.filter_level(LevelFilter::Trace).format(move |out, record| {
        if is_for_journal {
            let priority = priority(record.level());
            return writeln!(out, "<{priority}>{}", record.args());
        }
        let at = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let at = rfc3339::print(Timestamp(at));
        writeln!(out, "{at} {:5} {}", record.level(), record.args())
    });
    if builder.try_init().is_ok() {
        log::set_max_level(level);
    }
}

/// Syslog's number, which `sd-daemon(3)` defines as a prefix.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_on_reload_keeps_what_runs() {
        let path = std::env::temp_dir().join(format!("odradek-reload-{}.toml", std::process::id()));
        std::fs::write(&path, "num.partitions = 2\n").expect("the temporary directory is writable");
        let mut running = Config::read(Some(&path), &[]).expect("legal");
        std::fs::write(&path, "num.partitions = 0\n").expect("still writable");
        assert!(reload(&mut running).is_none());
        assert_eq!(running.num_partitions, 2);
        let file = "num.partitions = 3\nlog.level = \"warn\"\n";
        std::fs::write(&path, file).expect("still writable");
        assert_eq!(reload(&mut running).map(|fresh| fresh.num_partitions), Some(3));
        assert_eq!(running.num_partitions, 3);
        assert_eq!(log::max_level(), LevelFilter::Warn);
        std::fs::remove_file(&path).expect("it is there");
    }
}
