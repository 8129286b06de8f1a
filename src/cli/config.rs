//! `odradek config check|show`: what a broker would run with, without running one.

use std::path::{Path, PathBuf};

use argh::FromArgs;
use odradek::config::{Config, Setting};

use super::json::Json;
use super::{CliError, out};

/// check or show the broker's configuration, without a broker
#[derive(FromArgs)]
#[argh(subcommand, name = "config")]
pub struct ConfigCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Check(Check),
    Show(Show),
}

/// check a configuration: every mistake is named with its place and the key that was meant
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "check",
    example = "{command_name} --config config.toml",
    note = "The environment (ODRADEK_...) is checked too, as the broker would read it. Exit code 2 when there is a mistake."
)]
struct Check {
    /// configuration file (TOML, or Kafka's server.properties); without one every key has its default
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// a key to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,
}

/// show every key with the value a broker would start with, and where that comes from
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "show",
    example = "{command_name}\n  every key at its default, or as the environment sets it",
    example = "{command_name} --config config.toml --set shards=1\n  what a broker started like that would run with"
)]
struct Show {
    /// configuration file (TOML, or Kafka's server.properties); without one every key has its default
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// a key to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,

    /// one JSON object: by key its value, source, line and whether SIGHUP reloads it
    #[argh(switch)]
    json: bool,
}

impl ConfigCommand {
    /// Takes the options that stood before the subcommand; those after it are stronger.
    pub fn with_outer(mut self, outer_config: Option<PathBuf>, outer_set: Vec<String>) -> Self {
        let (config, set) = match &mut self.action {
            Action::Check(check) => (&mut check.config, &mut check.set),
            Action::Show(show) => (&mut show.config, &mut show.set),
        };
        *config = config.take().or(outer_config);
        set.splice(0..0, outer_set);
        self
    }

    /// Reads the configuration and says what it is.
    pub fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Check(Check { config, set }) => {
                let config = read(config.as_deref(), &set)?;
                warn(&config);
                let changed = config.changed_since(&Config::default()).len();
                let keys = config.settings().len();
                super::say(format_args!(
                    "the configuration is legal: {changed} of {keys} keys differ from their defaults"
                ));
                Ok(())
            }
            Action::Show(Show { config, set, json }) => {
                let config = read(config.as_deref(), &set)?;
                warn(&config);
                show(&config, json)
            }
        }
    }
}

/// The broker's configuration; a mistake in it is wrong usage.
pub fn read(file: Option<&Path>, set: &[String]) -> Result<Config, CliError> {
    Config::read(file, set).map_err(CliError::usage)
}

/// Names what has no effect.
fn warn(config: &Config) {
    for warning in config.warnings() {
        super::say(format_args!("{warning}"));
    }
}

fn show(config: &Config, json: bool) -> Result<(), CliError> {
    let mut out = out::stdout();
    if json {
        let member = |setting: &Setting| {
            let value = Json::object([
                ("value", Json::from(setting.value.clone())),
                ("source", Json::from(setting.source.name())),
                ("line", setting.line.map_or(Json::Null, |line| Json::from(line as i64))),
                ("reloadable", Json::from(setting.reloadable)),
            ]);
            (setting.key.to_owned(), value)
        };
        let object = Json::Object(config.settings().iter().map(member).collect());
        out.line(format_args!("{object}"))?;
        return out.flush();
    }
    let mut rows = vec![["KEY", "VALUE", "SOURCE"].map(str::to_owned).to_vec()];
    for setting in config.settings() {
        let value = setting.value.clone().unwrap_or_else(|| "-".to_owned());
        let source = match setting.line {
            Some(line) => format!("{}, line {line}", setting.source.name()),
            None => setting.source.name().to_owned(),
        };
        rows.push(vec![setting.key.to_owned(), value, source]);
    }
    out.table(&rows)?;
    out.flush()
}
