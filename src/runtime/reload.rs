//! What SIGHUP changes, sorted by who has to hear of it.
//!
//! **Invariant:** a key is marked reloadable in the table exactly if it changes a [`Reload`]
//! (`log.level` apart, which is the process's and not the broker's); the test below walks all keys.
//! Whatever a `Reload` holds is given to somebody: `Broker::reload` takes it apart field by field.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::{ConfigText, LiveConfig};
use crate::config::{self, Config, DiskFullPolicy, Protocol, Setting, Source};
use crate::controller::{ControllerConfig, OffsetsTopic};
use crate::group::{Assignor, GroupRules, MigrationPolicy};
use crate::group_config::{GroupBounds, GroupConfig};
use crate::ids::NodeId;
use crate::journal::disk::Space;
use crate::limits::GROUP_MEMBERS_MAX;
use crate::replica::ThrottledRates;
use crate::runtime::ConnectionLimits;
use crate::runtime::control_loop::SpacePolicy;
use crate::runtime::handles::Handles;
use crate::topic_config::TopicConfig;
use crate::wire::configs::ConfigSource;

/// Everything that may change while the broker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reload {
    /// For the cores of the shards.
    pub(super) live: LiveConfig,
    /// For the shards' connections.
    pub(super) limits: ConnectionLimits,
    /// For the control machine.
    pub(super) controller: ControllerConfig,
    /// For the control thread.
    pub(super) space: SpacePolicy,
    /// For whoever reads them while it works.
    pub(super) dials: DialValues,
}

/// What a reload leaves as it was at the start.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// The configuration that the broker was started with.
    pub(super) config: Config,
    /// Largest frame that is read.
    pub(super) frame_bytes_max: usize,
    /// What the groups of one coordinator may take.
    pub(super) group_state_bytes_max: usize,
    /// What the file handles allow.
    pub(super) handles: Handles,
    /// The log dir's disk.
    pub(super) space: Space,
}

impl Reload {
    /// What of `config` takes effect in a broker that was started with `fixed`.
    pub(super) fn of(config: &Config, fixed: &Fixed) -> Reload {
        Reload {
            live: live(config, fixed),
            limits: ConnectionLimits {
                frame_bytes_max: fixed.frame_bytes_max,
                idle_max_ms: config.connections_max_idle_ms,
                frame_timeout_ms: config.frame_timeout_ms,
                shutdown_timeout_ms: config.shutdown_timeout_ms,
            },
            controller: controller(config, fixed.config.broker_id, fixed.handles.partitions_max),
            space: SpacePolicy {
                reserve_bytes: config
                    .disk_reserve_bytes
                    .unwrap_or_else(|| (fixed.space.total_bytes / 100).clamp(8 << 20, 256 << 20)),
                delete_oldest: config.disk_full_policy == DiskFullPolicy::DeleteOldest,
            },
            dials: DialValues {
                flush_linger_ms: config.flush_linger_ms,
                connections_max: fixed.handles.connections(config.max_connections as u64),
                connections_per_ip_max: config.max_connections_per_ip as u64,
                scrub_bytes_per_second: config.scrub_bytes_per_second,
                cleaner_bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
            },
        }
    }
}

/// Numbers that threads look up each time they need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DialValues {
    flush_linger_ms: u64,
    connections_max: u64,
    connections_per_ip_max: u64,
    scrub_bytes_per_second: u64,
    cleaner_bytes_per_second: u64,
}

/// Where they look.
#[derive(Debug, Default)]
pub struct Dials {
    /// `flush.linger.ms`.
    pub flush_linger_ms: AtomicU64,
    /// `max.connections`.
    pub connections_max: AtomicU64,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: AtomicU64,
    /// `scrub.bytes.per.second`.
    pub scrub_bytes_per_second: AtomicU64,
    /// `log.cleaner.io.max.bytes.per.second`.
    pub cleaner_bytes_per_second: AtomicU64,
}

impl Dials {
    /// Turned to these values.
    pub(super) fn of(values: DialValues) -> Dials {
        let dials = Dials::default();
        dials.set(values);
        dials
    }

    /// Turns all of them.
    pub(super) fn set(&self, values: DialValues) {
        let DialValues {
            flush_linger_ms,
            connections_max,
            connections_per_ip_max,
            scrub_bytes_per_second,
            cleaner_bytes_per_second,
        } = values;
        self.flush_linger_ms.store(flush_linger_ms, Ordering::Relaxed);
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.connections_per_ip_max.store(connections_per_ip_max, Ordering::Relaxed);
        self.scrub_bytes_per_second.store(scrub_bytes_per_second, Ordering::Relaxed);
        self.cleaner_bytes_per_second.store(cleaner_bytes_per_second, Ordering::Relaxed);
    }
}

fn live(config: &Config, fixed: &Fixed) -> LiveConfig {
    let settings = config.settings().iter().zip(fixed.config.settings());
    // What waits for a restart is shown as it is in force.
    let in_force = settings.map(|(new, old)| if new.reloadable { new } else { old });
    let alterable = config.settings().iter().filter(|setting| setting.reloadable);
    let advertised = |protocol: Protocol| {
        let listener = config.advertised_listeners.iter().find(|l| l.protocol == protocol)?;
        Some((listener.host.as_str().into(), listener.port))
    };
    LiveConfig {
        groups: group_rules(config, fixed),
        advertised: advertised(Protocol::Wire),
        advertised_kafka: advertised(Protocol::Kafka),
        auto_create_topics_enable: config.auto_create_topics_enable,
        retention_check_interval_ms: config.log_retention_check_interval_ms,
        scrub_interval_ms: config.scrub_interval_ms,
        cleaner_backoff_ms: config.log_cleaner_backoff_ms,
        cleaner_map_bytes: config.log_cleaner_dedupe_buffer_size,
        replication_throttled: ThrottledRates {
            follower: config.follower_replication_throttled_rate,
            leader: config.leader_replication_throttled_rate,
        },
        producer_id_expiration_ms: config.producer_id_expiration_ms,
        topic_defaults: config.topic_defaults.clone(),
        topic_sources: topic_sources(config),
        shown: in_force.filter_map(shown).collect(),
        alterable: alterable.map(|setting| setting.key).collect(),
    }
}

/// The coordinators' share of the configuration.
fn group_rules(config: &Config, fixed: &Fixed) -> GroupRules {
    let assignors = config.group_consumer_assignors.iter();
    GroupRules {
        session_timeout_ms_min: config.group_min_session_timeout_ms,
        session_timeout_ms_max: config.group_max_session_timeout_ms,
        initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        group_size_max: (config.group_max_size as usize).min(GROUP_MEMBERS_MAX),
        offset_metadata_bytes_max: config.offset_metadata_max_bytes as usize,
        offsets_retention_ms: config.offsets_retention_minutes * 60_000,
        offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms,
        batch_bytes_max: config.topic_defaults.max_message_bytes as usize,
        state_bytes_max: fixed.group_state_bytes_max,
        consumer_defaults: group_defaults(config),
        consumer_bounds: group_bounds(config),
        consumer_group_size_max: (config.group_consumer_max_size as usize).min(GROUP_MEMBERS_MAX),
        consumer_assignors: assignors.filter_map(|name| Assignor::parse(name)).collect(),
        consumer_migration_policy: match config.group_consumer_migration_policy {
            config::MigrationPolicy::Bidirectional => MigrationPolicy::Bidirectional,
            config::MigrationPolicy::Upgrade => MigrationPolicy::Upgrade,
            config::MigrationPolicy::Downgrade => MigrationPolicy::Downgrade,
            config::MigrationPolicy::Disabled => MigrationPolicy::Disabled,
        },
        ..GroupRules::default()
    }
}

fn group_defaults(config: &Config) -> GroupConfig {
    GroupConfig {
        session_timeout_ms: config.group_consumer_session_timeout_ms,
        heartbeat_interval_ms: config.group_consumer_heartbeat_interval_ms,
    }
}

fn group_bounds(config: &Config) -> GroupBounds {
    GroupBounds {
        session_timeout_ms: config.group_consumer_min_session_timeout_ms
            ..=config.group_consumer_max_session_timeout_ms,
        heartbeat_interval_ms: config.group_consumer_min_heartbeat_interval_ms
            ..=config.group_consumer_max_heartbeat_interval_ms,
    }
}

/// The controller's share of the configuration.
pub(super) fn controller(
    config: &Config,
    node_id: NodeId,
    partitions_max: usize,
) -> ControllerConfig {
    ControllerConfig {
        node_id,
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        delete_topic_enable: config.delete_topic_enable,
        partitions_max,
        offsets_topic: OffsetsTopic {
            partition_count: config.offsets_topic_num_partitions,
            replication_factor: config.offsets_topic_replication_factor,
            segment_bytes: config.offsets_topic_segment_bytes,
        },
        topic_defaults: config.topic_defaults.clone(),
        group_defaults: group_defaults(config),
        group_bounds: group_bounds(config),
    }
}

fn shown(setting: &Setting) -> Option<ConfigText> {
    Some((setting.key.to_owned(), setting.value.clone()?, wire_source(setting.source)))
}

fn topic_sources(config: &Config) -> BTreeMap<&'static str, ConfigSource> {
    let source = |key: &&'static str| (*key, wire_source(config.topic_source(key)));
    TopicConfig::KEYS.iter().map(source).collect()
}

fn wire_source(source: Source) -> ConfigSource {
    match source {
        Source::Default => ConfigSource::Default,
        Source::File => ConfigSource::File,
        Source::Environment => ConfigSource::Environment,
        Source::CommandLine => ConfigSource::CommandLine,
        Source::OfAllBrokers => ConfigSource::Brokers,
        Source::OfThisBroker => ConfigSource::Broker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// Another legal value of every key.
    const OTHERS: &[(&str, &str)] = &[
        ("broker.id", "2"),
        ("log.dirs", "elsewhere"),
        ("listeners", "wire://127.0.0.1:1"),
        ("advertised.listeners", "wire://edge-1.local:7092"),
        ("process.roles", "witness"),
        ("controller.quorum.voters", "2@127.0.0.1:1"),
        ("quorum.voters.max", "5"),
        ("peers", "127.0.0.1:1"),
        ("cluster.secret.file", "/secret"),
        ("broker.rack", "attic"),
        ("broker.heartbeat.interval.ms", "700"),
        ("broker.session.timeout.ms", "7000"),
        ("replica.lag.time.max.ms", "20000"),
        ("auto.leader.rebalance.enable", "false"),
        ("leader.imbalance.check.interval.seconds", "60"),
        ("follower.replication.throttled.rate", "1000000"),
        ("leader.replication.throttled.rate", "2000000"),
        ("num.partitions", "3"),
        ("default.replication.factor", "3"),
        ("auto.create.topics.enable", "false"),
        ("delete.topic.enable", "false"),
        ("log.segment.bytes", "65536"),
        ("log.roll.hours", "1"),
        ("log.roll.ms", "7"),
        ("log.retention.hours", "1"),
        ("log.retention.minutes", "7"),
        ("log.retention.ms", "7"),
        ("log.retention.bytes", "7"),
        ("log.retention.check.interval.ms", "7"),
        ("log.segment.delete.delay.ms", "7"),
        ("log.index.interval.bytes", "7"),
        ("log.index.size.max.bytes", "65536"),
        ("log.cleanup.policy", "compact"),
        ("log.cleaner.min.cleanable.ratio", "0.7"),
        ("log.cleaner.min.compaction.lag.ms", "7"),
        ("log.cleaner.max.compaction.lag.ms", "7"),
        ("log.cleaner.delete.retention.ms", "7"),
        ("log.cleaner.backoff.ms", "7"),
        ("log.cleaner.dedupe.buffer.size", "7MiB"),
        ("log.cleaner.io.max.bytes.per.second", "4097"),
        ("message.max.bytes", "65536"),
        ("log.message.timestamp.type", "LogAppendTime"),
        ("log.message.timestamp.before.max.ms", "7"),
        ("log.message.timestamp.after.max.ms", "7"),
        ("compression.type", "zstd"),
        ("min.insync.replicas", "2"),
        ("acks.durable", "false"),
        ("log.flush.interval.ms", "7"),
        ("flush.linger.ms", "7"),
        ("memory.limit", "16MiB"),
        ("journal.bytes", "32MiB"),
        ("shards", "2"),
        ("disk.full.policy", "refuse"),
        ("disk.reserve.bytes", "7"),
        ("max.connections", "7"),
        ("max.connections.per.ip", "7"),
        ("connections.max.idle.ms", "7"),
        ("frame.timeout.ms", "7"),
        ("socket.send.buffer.bytes", "4096"),
        ("socket.receive.buffer.bytes", "4096"),
        ("socket.listen.backlog.size", "7"),
        ("offsets.topic.num.partitions", "7"),
        ("offsets.topic.replication.factor", "2"),
        ("offsets.topic.segment.bytes", "2097152"),
        ("offsets.retention.minutes", "7"),
        ("offsets.retention.check.interval.ms", "7"),
        ("offset.metadata.max.bytes", "7"),
        ("group.min.session.timeout.ms", "7"),
        ("group.max.session.timeout.ms", "7"),
        ("group.initial.rebalance.delay.ms", "7"),
        ("group.max.size", "7"),
        ("group.consumer.session.timeout.ms", "50000"),
        ("group.consumer.min.session.timeout.ms", "7"),
        ("group.consumer.max.session.timeout.ms", "50000"),
        ("group.consumer.heartbeat.interval.ms", "7000"),
        ("group.consumer.min.heartbeat.interval.ms", "7"),
        ("group.consumer.max.heartbeat.interval.ms", "7000"),
        ("group.consumer.max.size", "7"),
        ("group.consumer.assignors", "range"),
        ("group.consumer.migration.policy", "disabled"),
        ("scrub.interval.ms", "7"),
        ("scrub.bytes.per.second", "4097"),
        ("producer.id.expiration.ms", "7"),
        ("shutdown.timeout.ms", "7"),
    ];

    /// Keys that cannot change a `Reload`, and why that is right.
    const APART: &[(&str, &str)] = &[("log.level", "the process's, set where SIGHUP is heard")];

    fn fixed() -> Fixed {
        Fixed {
            config: Config::default(),
            frame_bytes_max: 1 << 20,
            group_state_bytes_max: 1 << 20,
            handles: Handles::share(20_000, 2048),
            space: Space { total_bytes: 1 << 40, free_bytes: 1 << 40 },
        }
    }

    #[test]
    fn a_key_is_marked_reloadable_exactly_if_a_reload_changes_something() {
        let fixed = fixed();
        let before = Reload::of(&fixed.config, &fixed);
        for setting in fixed.config.settings() {
            let key = setting.key;
            if APART.iter().any(|(apart, _)| *apart == key) {
                continue;
            }
            let other = OTHERS.iter().find(|(known, _)| *known == key);
            let (_, value) = other.unwrap_or_else(|| panic!("`{key}` is missing in OTHERS"));
            let overrides = vec![format!("{key}={value}")];
            let changed = Config::load(&Sources { overrides, ..Sources::default() });
            let changed = changed.unwrap_or_else(|why| panic!("{key}: {why}"));
            assert_eq!(changed.changed_since(&fixed.config).len(), 1, "{key} has another value");
            let mut after = Reload::of(&changed, &fixed);
            let is_shown = after.live.shown != before.live.shown;
            assert_eq!(is_shown, setting.reloadable, "`{key}` is shown as it is in force");
            after.live.shown.clone_from(&before.live.shown);
            after.live.topic_sources.clone_from(&before.live.topic_sources);
            assert_eq!(after != before, setting.reloadable, "`{key}`");
        }
    }
}
