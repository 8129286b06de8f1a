//! What the broker runs with: what was read at the start or by SIGHUP, and over it what clients have
//! set at run time, which the cluster's metadata holds.
//!
//! **Invariant:** what is persisted was checked against the configuration of its day. A file that
//! was changed since may not go with it: then the file alone is in effect, and the log says so. A
//! broker that does not start for a setting that only a running one can take back would be lost.

use crate::config::{Config, ConfigErrors, Problem};
use crate::controller::image::Image;
use crate::controller::{BrokerKeys, Refusal, Settings};
use crate::runtime::reload::{Fixed, Reload};
use crate::wire::ErrorCode;

/// See the module.
#[derive(Debug)]
pub(super) struct RunTime {
    /// What was read last.
    file: Config,
    /// What waits for a restart.
    fixed: Fixed,
}

impl RunTime {
    /// Of a broker that is started with `fixed`.
    pub(super) fn new(fixed: Fixed) -> RunTime {
        RunTime { file: fixed.config.clone(), fixed }
    }

    /// Another configuration was read.
    pub(super) fn replace(&mut self, file: Config) {
        self.file = file;
    }

    /// For whoever checks what clients set.
    pub(super) fn keys(&self) -> Box<dyn BrokerKeys> {
        Box::new(Keys { file: self.file.clone() })
    }

    /// What is in effect.
    pub(super) fn in_effect(&self, image: &Image) -> (Config, Reload) {
        let of_all = image.broker_configs(None);
        let of_this = image.broker_configs(Some(self.fixed.config.broker_id));
        let config = self.file.with_run_time(of_all, of_this).unwrap_or_else(|why| {
            log::error!("nothing that was set at run time is in effect: {why}");
            self.file.clone()
        });
        let reload = Reload::of(&config, &self.fixed);
        (config, reload)
    }

    /// Says so where more connections are wanted than a running broker can have.
    pub(super) fn warn_of_connections(&self, config: &Config) {
        let (wanted, ceiling) = (config.max_connections as u64, self.fixed.handles);
        let allowed = ceiling.connections(wanted);
        if allowed < wanted {
            log::warn!("max.connections is {allowed}: more file handles need a restart");
        }
    }
}

fn pairs(settings: &Settings) -> impl Iterator<Item = (&str, &str)> {
    settings.iter().map(|(key, value)| (&**key, &**value))
}

/// What the keys mean beside the rest of the configuration.
#[derive(Debug)]
struct Keys {
    file: Config,
}

impl Keys {
    fn with(&self, of_all: &Settings, of_this: &Settings) -> Result<Config, ConfigErrors> {
        self.file.with_run_time(pairs(of_all), pairs(of_this))
    }
}

impl BrokerKeys for Keys {
    fn judge(&self, key: &str, is_of_all: bool) -> Result<(), Refusal> {
        let judged = Config::check_run_time_key(key, is_of_all);
        judged.map_err(|problem| {
            let (error, message) = (ErrorCode::INVALID_REQUEST, problem.to_string());
            Refusal { error, message }
        })
    }

    fn check(&self, of_all: &Settings, of_this: &Settings) -> Result<(), Refusal> {
        let checked = self.with(of_all, of_this);
        checked.map(|_| ()).map_err(|errors| {
            let problems = errors.0.iter().map(|error| &error.problem).map(Problem::to_string);
            let message = problems.collect::<Vec<_>>().join("; ");
            Refusal { error: ErrorCode::INVALID_CONFIG, message }
        })
    }

    fn list(&self, of_all: &Settings, of_this: &Settings, key: &str) -> Option<String> {
        let config = self.with(of_all, of_this).ok()?;
        config.list_text(key).map(str::to_owned)
    }
}
