//! The broker's configuration: one table of keys, four sources, one typed value.
//!
//! `keys` names every key with its kind, default and one line of comment, and drives all there
//! is: the TOML file, `ODRADEK_…` environment variables, `--set key=value`, `config show`, and the
//! `config.toml` at the root of the repository. Keys that Kafka has bear Kafka's name and meaning,
//! so that its `server.properties` is read too, where a file's name ends in `.properties`.
//!
//! A later source overrides an earlier one: defaults, file, environment, command line. Within one
//! source the finer unit wins, as in Kafka: `log.retention.ms` over minutes over hours.
//!
//! **Invariant:** a [`Config`] that exists is legal. Every mistake is found before the broker
//! starts, and all of them at once, each with its place and the key that was meant.
//!
//! Why a table and not one serde struct: a struct can name the line of a wrong type, but neither
//! the nearest key of an unknown one nor where an effective value came from, and the comments of
//! `config.toml` would live in a second place.

mod bounds;
mod error;
mod kafka_keys;
mod key;
mod keys;
mod listener;
mod properties;
mod raw;
mod site;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::ids::NodeId;
use crate::topic_config::TopicConfig;
pub use error::{ConfigError, ConfigErrors, ConfigWarning, Expected, Place, Problem, Warned};
use key::Key;
use keys::KEYS;
pub use keys::default_file;
pub use listener::{Listener, Protocol};
use raw::RawSetting;
pub use site::{Role, Voter};

/// What the broker does when its disk is full down to the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFullPolicy {
    /// It deletes the oldest sealed segments: an unattended board keeps running.
    DeleteOldest,
    /// It refuses to append until somebody makes room.
    Refuse,
}

/// Which groups may change their protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both kinds.
    Bidirectional,
    /// Classic ones to that of KIP-848.
    Upgrade,
    /// Those of KIP-848 to the classic one.
    Downgrade,
    /// None.
    Disabled,
}

/// The checked configuration; each field bears its key's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This node's identity.
    pub broker_id: NodeId,
    /// Where the logs are kept; at least one, no two alike.
    pub log_dirs: Vec<PathBuf>,
    /// Where clients connect; at least one, no two alike.
    pub listeners: Vec<Listener>,
    /// Where clients are told to connect; `None`: where they did.
    pub advertised_listeners: Vec<Listener>,
    /// What this node does in its site.
    pub process_roles: Vec<Role>,
    /// The nodes that agree on the site's metadata; none, or only this one: it is alone.
    pub controller_quorum_voters: Vec<Voter>,
    /// Others join the vote while fewer than so many do.
    pub quorum_voters_max: usize,
    /// Where nodes of the site are found, as `HOST:PORT`.
    pub peers: Vec<String>,
    /// The file of the secret that the nodes of a site share.
    pub cluster_secret_file: Option<PathBuf>,
    /// Where this board stands.
    pub broker_rack: Box<str>,
    /// How often a broker says that it is there.
    pub broker_heartbeat_interval_ms: u64,
    /// After so long without a heartbeat a broker is fenced.
    pub broker_session_timeout_ms: u64,
    /// How long a replica may lag.
    pub replica_lag_time_max_ms: u64,
    /// Whether leaderships go back to the first replicas by themselves.
    pub auto_leader_rebalance_enable: bool,
    /// How often that is looked at.
    pub leader_imbalance_check_interval_seconds: u64,
    /// Bytes a second for replicas that are not in sync yet; `None`: as many as there are.
    pub follower_replication_throttled_rate: Option<u64>,
    /// Bytes a second to replicas that are not in sync yet; `None`: as many as they ask for.
    pub leader_replication_throttled_rate: Option<u64>,
    /// Partitions of a topic that does not say.
    pub num_partitions: i32,
    /// Replicas of a topic that does not say.
    pub default_replication_factor: i16,
    /// Whether asking for an unknown topic creates it.
    pub auto_create_topics_enable: bool,
    /// Whether topics may be deleted.
    pub delete_topic_enable: bool,
    /// Configuration of a topic that says nothing.
    pub topic_defaults: TopicConfig,
    /// Time between two looks for segments to delete.
    pub log_retention_check_interval_ms: u64,
    /// Time between two looks for partitions to compact.
    pub log_cleaner_backoff_ms: u64,
    /// Memory for the keys of one round of compaction; `None`: a share of the memory.
    pub log_cleaner_dedupe_buffer_size: Option<u64>,
    /// How fast compaction reads and writes.
    pub log_cleaner_io_max_bytes_per_second: u64,
    /// How long the flusher waits for company before a commit.
    pub flush_linger_ms: u64,
    /// Memory of the whole process; `None`: the smaller of a quarter of RAM and 256 MiB.
    pub memory_limit: Option<u64>,
    /// Size of each log dir's journal; `None`: 1 % of the disk, within the limits.
    pub journal_bytes: Option<u64>,
    /// Poll-loop threads; 0: half the cores, 1 to 4.
    pub shards: usize,
    /// What happens on a full disk.
    pub disk_full_policy: DiskFullPolicy,
    /// Room on the disk that appends leave free; `None`: chosen from the disk's size.
    pub disk_reserve_bytes: Option<u64>,
    /// Open connections of the broker.
    pub max_connections: usize,
    /// Open connections from one address.
    pub max_connections_per_ip: usize,
    /// Age of silence at which a connection is closed.
    pub connections_max_idle_ms: u64,
    /// Time within which a started frame must be complete.
    pub frame_timeout_ms: u64,
    /// `SO_SNDBUF`; `None`: the system's choice.
    pub socket_send_buffer_bytes: Option<u32>,
    /// `SO_RCVBUF`; `None`: the system's choice.
    pub socket_receive_buffer_bytes: Option<u32>,
    /// Connections that may wait to be accepted.
    pub socket_listen_backlog_size: i32,
    /// Partitions of the topic that keeps groups.
    pub offsets_topic_num_partitions: i32,
    /// Replicas of that topic at most.
    pub offsets_topic_replication_factor: i16,
    /// Size of that topic's segments.
    pub offsets_topic_segment_bytes: u32,
    /// How long committed offsets outlive their group.
    pub offsets_retention_minutes: u64,
    /// Time between two looks for offsets that are too old.
    pub offsets_retention_check_interval_ms: u64,
    /// Longest text that may be committed with an offset.
    pub offset_metadata_max_bytes: u32,
    /// Shortest session timeout of a member.
    pub group_min_session_timeout_ms: i32,
    /// Longest session timeout of a member.
    pub group_max_session_timeout_ms: i32,
    /// How long the first rebalance of a group waits for more members.
    pub group_initial_rebalance_delay_ms: u64,
    /// Members of one group.
    pub group_max_size: u32,
    /// How long a member of a group of KIP-848 may be silent.
    pub group_consumer_session_timeout_ms: i32,
    /// Shortest time that may be set for it.
    pub group_consumer_min_session_timeout_ms: i32,
    /// Longest time that may be set for it.
    pub group_consumer_max_session_timeout_ms: i32,
    /// How often such a member is to be heard of.
    pub group_consumer_heartbeat_interval_ms: i32,
    /// Shortest interval that may be set for it.
    pub group_consumer_min_heartbeat_interval_ms: i32,
    /// Longest interval that may be set for it.
    pub group_consumer_max_heartbeat_interval_ms: i32,
    /// Members of one such group.
    pub group_consumer_max_size: u32,
    /// The assignors of such groups, the default first.
    pub group_consumer_assignors: Vec<&'static str>,
    /// Which groups may change their protocol while they have members.
    pub group_consumer_migration_policy: MigrationPolicy,
    /// Time between two passes that verify every sealed segment; 0 never.
    pub scrub_interval_ms: u64,
    /// How fast sealed segments are read to verify them.
    pub scrub_bytes_per_second: u64,
    /// How long a partition remembers a producer that is silent.
    pub producer_id_expiration_ms: u64,
    /// What is written to stderr.
    pub log_level: log::LevelFilter,
    /// How long a stop may take before what is left is cut off.
    pub shutdown_timeout_ms: u64,
    settings: Vec<Setting>,
    warnings: Vec<ConfigWarning>,
    origin: Origin,
}

/// One key's effective value, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value as text; `None` where a key without default is not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// The line of the file that it comes from.
    pub line: Option<usize>,
    /// Whether SIGHUP puts a new value into effect; otherwise a restart does.
    pub reloadable: bool,
    /// The topic-level key whose default it sets.
    pub topic_key: Option<&'static str>,
}

/// Where a value comes from; a later variant overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Built in.
    Default,
    /// The configuration file.
    File,
    /// An `ODRADEK_…` variable.
    Environment,
    /// `--set`.
    CommandLine,
    /// Set at run time for all brokers of the cluster.
    OfAllBrokers,
    /// Set at run time for this broker.
    OfThisBroker,
}

impl Source {
    /// The source in a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::CommandLine => "command line",
            Source::OfAllBrokers => "set for all brokers",
            Source::OfThisBroker => "set for this broker",
        }
    }
}

/// What a configuration is made from; the tests make theirs by hand.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's path, for messages and because its extension says what it holds, and its text.
    pub file: Option<(String, String)>,
    /// The environment; only `ODRADEK_…` is looked at.
    pub environment: Vec<(String, String)>,
    /// The `key=value` of each `--set`.
    pub overrides: Vec<String>,
}

/// How to read the same configuration again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    file: Option<PathBuf>,
    overrides: Vec<String>,
}

impl Config {
    /// Reads `file`, if any, and the process's environment, and lays `overrides` over them.
    pub fn read(file: Option<&Path>, overrides: &[String]) -> Result<Config, ConfigErrors> {
        let mut sources = Sources { overrides: overrides.to_vec(), ..Sources::default() };
        if let Some(path) = file {
            sources.file = Some((path.display().to_string(), raw::read_file(path)?));
        }
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            sources.environment.push((name.into_owned(), value.into_owned()));
        }
        let mut config = Config::load(&sources)?;
        config.origin = Origin { file: file.map(Path::to_path_buf), overrides: overrides.to_vec() };
        Ok(config)
    }

    /// Reads the same file and overrides again, for SIGHUP.
    pub fn read_again(&self) -> Result<Config, ConfigErrors> {
        Config::read(self.origin.file.as_deref(), &self.origin.overrides)
    }

    /// This configuration with what was set at run time over it: keys and values for all brokers,
    /// which are weaker, and for this one.
    pub fn with_run_time<'a>(
        &self,
        of_all: impl Iterator<Item = (&'a str, &'a str)>,
        of_this: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Config, ConfigErrors> {
        let mut config = self.clone();
        let (mut places, mut errors) = (BTreeMap::new(), Vec::new());
        let of_all: Vec<RawSetting> = of_all.map(at_run_time).collect();
        let of_this: Vec<RawSetting> = of_this.map(at_run_time).collect();
        for (source, settings) in [(Source::OfAllBrokers, of_all), (Source::OfThisBroker, of_this)]
        {
            config.lay_over(source, settings, &mut places, &mut errors);
        }
        bounds::check(&config, &places, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }

    /// Whether `key` may be set at run time, for all brokers or for one.
    pub fn check_run_time_key(key: &str, is_of_all: bool) -> Result<(), Problem> {
        let Some(place) = Key::find(key) else {
            return Err(at_run_time((key, "")).unknown_key().problem);
        };
        let found = &KEYS[place];
        if !found.reloadable {
            return Err(Problem::NeedsRestart { key: found.name });
        }
        if is_of_all && found.is_of_one_broker() {
            return Err(Problem::OfOneBroker { key: found.name });
        }
        Ok(())
    }

    /// The words of `key`, with commas between them, if its value is a list.
    pub fn list_text(&self, key: &str) -> Option<&str> {
        let place = Key::find(key).filter(|place| KEYS[*place].is_list())?;
        Some(self.settings[place].value.as_deref().unwrap_or_default())
    }

    /// Checks `sources` and makes a configuration of them, or names every mistake.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let mut errors = Vec::new();
        let mut config = Config::of_defaults();
        let file = match &sources.file {
            Some((path, text)) if properties::is_named(path) => {
                properties::from_file(path, text, &mut errors, &mut config.warnings)
            }
            Some((path, text)) => raw::from_file(path, text, &mut errors),
            None => Vec::new(),
        };
        let environment = raw::from_environment(&sources.environment);
        let overrides = raw::from_overrides(&sources.overrides, &mut errors);
        let mut places = BTreeMap::new();
        for (source, settings) in [
            (Source::File, file),
            (Source::Environment, environment),
            (Source::CommandLine, overrides),
        ] {
            config.lay_over(source, settings, &mut places, &mut errors);
        }
        bounds::check(&config, &places, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }

    /// Has the listeners keep the ports that they were given, where they asked for any.
    pub fn keep_ports(&mut self, bound: &[(Protocol, SocketAddr)]) {
        for (listener, (_, address)) in self.listeners.iter_mut().zip(bound) {
            listener.port = address.port();
        }
    }

    /// Whether this node votes and holds no data.
    pub fn is_witness(&self) -> bool {
        self.process_roles.contains(&Role::Witness)
    }

    /// Whether this node belongs to a site of several, rather than being alone.
    pub fn is_member(&self) -> bool {
        let is_other = |voter: &Voter| voter.node_id != self.broker_id;
        self.controller_quorum_voters.iter().any(is_other) || !self.peers.is_empty()
    }

    /// Settings of a file written for Kafka that have no effect here.
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Every key with its effective value and source, in the order of `config.toml`.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Where a topic's default comes from. Several keys may set one (`log.retention.hours`,
    /// `.ms`): the latest source among them is in force.
    pub fn topic_source(&self, topic_key: &str) -> Source {
        let of_key = self.settings.iter().filter(|setting| setting.topic_key == Some(topic_key));
        of_key.map(|setting| setting.source).max().unwrap_or(Source::Default)
    }

    /// The settings of this configuration that differ from `before`.
    pub fn changed_since(&self, before: &Config) -> Vec<&Setting> {
        let pairs = self.settings.iter().zip(&before.settings);
        pairs.filter(|(new, old)| new.value != old.value).map(|(new, _)| new).collect()
    }

    /// Takes the settings of one source, in the order of the table so that finer units win.
    fn lay_over(
        &mut self,
        source: Source,
        settings: Vec<RawSetting>,
        places: &mut BTreeMap<&'static str, Place>,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut given: BTreeMap<usize, RawSetting> = BTreeMap::new();
        for setting in settings {
            let Some(place) = Key::find(&setting.key) else {
                errors.push(setting.unknown_key());
                continue;
            };
            // On the command line a later `--set` replaces an earlier one, as in Kafka's tools.
            if given.contains_key(&place) && source != Source::CommandLine {
                errors.push(setting.duplicate());
                continue;
            }
            given.insert(place, setting);
        }
        for (place, setting) in given {
            let key = &KEYS[place];
            match key.put(self, &setting.value) {
                Ok(text) => {
                    self.settings[place].value = Some(text);
                    self.settings[place].source = source;
                    self.settings[place].line = setting.line();
                    places.insert(key.name, setting.into_place());
                }
                Err(expected) => errors.push(setting.wrong_value(key.name, expected)),
            }
        }
    }

    /// The table's defaults.
    fn of_defaults() -> Config {
        let mut config = Config::blank();
        for key in KEYS {
            let value = key.default.map(|literal| {
                let value = raw::value_of_literal(literal).expect("a default is legal TOML");
                key.put(&mut config, &value).expect("a default is legal for its key")
            });
            let Key { name, reloadable, .. } = *key;
            config.settings.push(Setting {
                key: name,
                value,
                source: Source::Default,
                line: None,
                reloadable,
                topic_key: key.topic_key(),
            });
        }
        config
    }

    /// A value for every field, each of which the table's defaults replace.
    fn blank() -> Config {
        Config {
            broker_id: NodeId::default(),
            log_dirs: Vec::new(),
            listeners: Vec::new(),
            advertised_listeners: Vec::new(),
            process_roles: Vec::new(),
            controller_quorum_voters: Vec::new(),
            quorum_voters_max: 0,
            peers: Vec::new(),
            cluster_secret_file: None,
            broker_rack: "".into(),
            broker_heartbeat_interval_ms: 0,
            broker_session_timeout_ms: 0,
            replica_lag_time_max_ms: 0,
            auto_leader_rebalance_enable: false,
            leader_imbalance_check_interval_seconds: 0,
            follower_replication_throttled_rate: None,
            leader_replication_throttled_rate: None,
            num_partitions: 0,
            default_replication_factor: 0,
            auto_create_topics_enable: false,
            delete_topic_enable: false,
            topic_defaults: TopicConfig::default(),
            log_retention_check_interval_ms: 0,
            flush_linger_ms: 0,
            memory_limit: None,
            journal_bytes: None,
            shards: 0,
            disk_full_policy: DiskFullPolicy::Refuse,
            disk_reserve_bytes: None,
            max_connections: 0,
            max_connections_per_ip: 0,
            connections_max_idle_ms: 0,
            frame_timeout_ms: 0,
            socket_send_buffer_bytes: None,
            socket_receive_buffer_bytes: None,
            socket_listen_backlog_size: 0,
            offsets_topic_num_partitions: 0,
            offsets_topic_replication_factor: 0,
            offsets_topic_segment_bytes: 0,
            offsets_retention_minutes: 0,
            offsets_retention_check_interval_ms: 0,
            offset_metadata_max_bytes: 0,
            group_min_session_timeout_ms: 0,
            group_max_session_timeout_ms: 0,
            group_initial_rebalance_delay_ms: 0,
            group_max_size: 0,
            group_consumer_session_timeout_ms: 0,
            group_consumer_min_session_timeout_ms: 0,
            group_consumer_max_session_timeout_ms: 0,
            group_consumer_heartbeat_interval_ms: 0,
            group_consumer_min_heartbeat_interval_ms: 0,
            group_consumer_max_heartbeat_interval_ms: 0,
            group_consumer_max_size: 0,
            group_consumer_assignors: Vec::new(),
            group_consumer_migration_policy: MigrationPolicy::Disabled,
            log_cleaner_backoff_ms: 0,
            log_cleaner_dedupe_buffer_size: None,
            log_cleaner_io_max_bytes_per_second: 0,
            scrub_interval_ms: 0,
            scrub_bytes_per_second: 0,
            producer_id_expiration_ms: 0,
            log_level: log::LevelFilter::Off,
            shutdown_timeout_ms: 0,
            settings: Vec::new(),
            warnings: Vec::new(),
            origin: Origin::default(),
        }
    }
}

fn at_run_time((key, value): (&str, &str)) -> RawSetting {
    let value = raw::RawValue::Bare(value.to_owned());
    RawSetting::new(key.to_owned(), value, Place::RunTime, Place::RunTime)
}

impl Default for Config {
    fn default() -> Self {
        Config::of_defaults()
    }
}
