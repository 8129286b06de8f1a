//! The table of keys: name, default, kind, what SIGHUP does, and one line about it.
//!
//! The order is that of `config.toml`, and within one source that of taking effect: where several
//! keys set one field (`log.retention.hours`, `.minutes`, `.ms`), the finer unit stands later.

use core::fmt::Write;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::Expected;
use super::listener::{Listener, Protocol};
use super::raw::RawValue;
use super::site::{Voter, roles, voters};
use super::{Config, DiskFullPolicy, MigrationPolicy};
use crate::ids::NodeId;
use crate::limits;
use crate::topic_config::{self, TopicConfig, TopicConfigError};

/// One key.
pub(super) struct Key {
    pub name: &'static str,
    /// The default as TOML has it; `None`: the key is not set unless somebody does.
    pub default: Option<&'static str>,
    pub reloadable: bool,
    about: &'static str,
    kind: Kind,
}

/// What a key takes, and where it goes.
enum Kind {
    Boolean(fn(&mut Config, bool)),
    Integer {
        min: i64,
        max: i64,
        put: fn(&mut Config, i64),
    },
    /// A number of bytes, or `"auto"`.
    Size {
        min: u64,
        max: u64,
        put: fn(&mut Config, Option<u64>),
    },
    /// One of some words; its place among them is put.
    Word {
        words: &'static [&'static str],
        put: fn(&mut Config, usize),
    },
    /// Some of these names, the most wanted first.
    Names {
        names: &'static [&'static str],
        put: fn(&mut Config, Vec<&'static str>),
    },
    Directories,
    Listeners,
    Advertised,
    /// Nodes that are to vote, and where they are.
    Voters,
    /// What the node does.
    Roles,
    /// A file.
    File(fn(&mut Config, PathBuf)),
    /// Free text of a few characters.
    Text(fn(&mut Config, &str)),
    /// A topic-level key's default; the text is the topic-level name.
    Topic(&'static str),
}

/// Another name of a key.
const ALIASES: &[(&str, &str)] = &[("node.id", "broker.id"), ("log.dir", "log.dirs")];

/// Keys that set a topic-level key's default in a unit of their own.
const UNITS: &[(&str, &str)] = &[
    ("log.roll.hours", "segment.ms"),
    ("log.retention.hours", "retention.ms"),
    ("log.retention.minutes", "retention.ms"),
];

/// In the order of [`DISK_FULL_POLICIES`].
const DISK_FULL_WORDS: &[&str] = &["delete-oldest", "refuse"];
const DISK_FULL_POLICIES: [DiskFullPolicy; 2] =
    [DiskFullPolicy::DeleteOldest, DiskFullPolicy::Refuse];

/// In the order of [`MIGRATION_POLICIES`].
const MIGRATION_POLICY_WORDS: &[&str] = &["bidirectional", "upgrade", "downgrade", "disabled"];
const MIGRATION_POLICIES: [MigrationPolicy; 4] = [
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Upgrade,
    MigrationPolicy::Downgrade,
    MigrationPolicy::Disabled,
];

/// In the order of [`LOG_LEVELS`].
const LOG_LEVEL_WORDS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const LOG_LEVELS: [log::LevelFilter; 6] = [
    log::LevelFilter::Off,
    log::LevelFilter::Error,
    log::LevelFilter::Warn,
    log::LevelFilter::Info,
    log::LevelFilter::Debug,
    log::LevelFilter::Trace,
];

/// Bytes of a text without a meaning of its own.
const TEXT_BYTES_MAX: usize = 255;

const I32_MAX: i64 = i32::MAX as i64;

/// Longest time in ms that a key takes: a hundred years, far from any overflow.
const MS_MAX: i64 = 100 * 366 * 86_400_000;

pub(super) const KEYS: &[Key] = &[
    restart(
        "broker.id",
        "1",
        Kind::Integer { min: 0, max: I32_MAX, put: |c, n| c.broker_id = NodeId(n as i32) },
        "This broker's number in its cluster; `node.id` is the same key.",
    ),
    restart(
        "log.dirs",
        "[\"data\"]",
        Kind::Directories,
        "Where the logs are kept; each directory has its own commit journal.",
    ),
    restart(
        "listeners",
        "[\"wire://127.0.0.1:7092\", \"kafka://127.0.0.1:9092\"]",
        Kind::Listeners,
        "Where clients connect; 0.0.0.0 listens on every interface, port 0 takes a free one.",
    ),
    Key {
        name: "advertised.listeners",
        default: None,
        reloadable: true,
        about: "What clients are told to connect to, one a protocol; unset: what they came to.",
        kind: Kind::Advertised,
    },
    restart(
        "process.roles",
        "[\"broker\", \"controller\"]",
        Kind::Roles,
        "What this node does in its site; [\"witness\"] votes and holds no data.",
    ),
    Key {
        name: "controller.quorum.voters",
        default: None,
        reloadable: false,
        about: "The nodes that agree on the metadata of a site, this one among them or not.",
        kind: Kind::Voters,
    },
    Key {
        name: "cluster.secret.file",
        default: None,
        reloadable: false,
        about: "A file with the secret that the nodes of a site share; 16 bytes at least.",
        kind: Kind::File(|c, path| c.cluster_secret_file = Some(path)),
    },
    Key {
        name: "broker.rack",
        default: None,
        reloadable: false,
        about: "Where this board stands: replicas of a partition go to different racks.",
        kind: Kind::Text(|c, text| c.broker_rack = text.into()),
    },
    restart(
        "broker.heartbeat.interval.ms",
        "2000",
        Kind::Integer {
            min: 100,
            max: 3_600_000,
            put: |c, n| c.broker_heartbeat_interval_ms = n as u64,
        },
        "How often a broker of a site says that it is there.",
    ),
    restart(
        "broker.session.timeout.ms",
        "9000",
        Kind::Integer {
            min: 500,
            max: 3_600_000,
            put: |c, n| c.broker_session_timeout_ms = n as u64,
        },
        "After so long without a heartbeat a broker leads nothing any more.",
    ),
    reload(
        "num.partitions",
        "1",
        Kind::Integer {
            min: 1,
            max: limits::TOPIC_PARTITIONS_MAX as i64,
            put: |c, n| c.num_partitions = n as i32,
        },
        "Partitions of a topic that is created without saying how many.",
    ),
    reload(
        "default.replication.factor",
        "1",
        Kind::Integer {
            min: 1,
            max: i16::MAX as i64,
            put: |c, n| c.default_replication_factor = n as i16,
        },
        "Replicas of a topic that is created without saying how many.",
    ),
    reload(
        "auto.create.topics.enable",
        "true",
        Kind::Boolean(|c, flag| c.auto_create_topics_enable = flag),
        "Whether asking for an unknown topic may create it.",
    ),
    reload(
        "delete.topic.enable",
        "true",
        Kind::Boolean(|c, flag| c.delete_topic_enable = flag),
        "Whether topics may be deleted.",
    ),
    reload(
        "log.segment.bytes",
        "1073741824",
        Kind::Topic("segment.bytes"),
        "Size at which a partition starts its next segment file.",
    ),
    reload(
        "log.roll.hours",
        "168",
        Kind::Integer {
            min: 1,
            max: MS_MAX / 3_600_000,
            put: |c, n| c.topic_defaults.segment_ms = n * 3_600_000,
        },
        "Age at which a partition starts its next segment file.",
    ),
    unset(
        "log.roll.ms",
        Kind::Topic("segment.ms"),
        "The same in milliseconds; stronger than log.roll.hours.",
    ),
    reload(
        "log.retention.hours",
        "168",
        Kind::Integer {
            min: -1,
            max: MS_MAX / 3_600_000,
            put: |c, n| c.topic_defaults.retention_ms = if n < 0 { -1 } else { n * 3_600_000 },
        },
        "Age at which records are deleted, a segment at a time; -1 keeps them.",
    ),
    unset(
        "log.retention.minutes",
        Kind::Integer {
            min: -1,
            max: MS_MAX / 60_000,
            put: |c, n| c.topic_defaults.retention_ms = if n < 0 { -1 } else { n * 60_000 },
        },
        "The same in minutes; stronger than log.retention.hours.",
    ),
    unset(
        "log.retention.ms",
        Kind::Topic("retention.ms"),
        "The same in milliseconds; stronger than both.",
    ),
    reload(
        "log.retention.bytes",
        "-1",
        Kind::Topic("retention.bytes"),
        "Size of a partition above which its oldest segments are deleted; -1 for no bound.",
    ),
    reload(
        "log.retention.check.interval.ms",
        "300000",
        Kind::Integer {
            min: 1,
            max: MS_MAX,
            put: |c, n| c.log_retention_check_interval_ms = n as u64,
        },
        "Time between two looks for segments to delete.",
    ),
    reload(
        "log.segment.delete.delay.ms",
        "60000",
        Kind::Topic("file.delete.delay.ms"),
        "Time between a segment's deletion and the removal of its file.",
    ),
    reload(
        "log.index.interval.bytes",
        "4096",
        Kind::Topic("index.interval.bytes"),
        "Bytes of log between two entries of its index.",
    ),
    reload(
        "log.index.size.max.bytes",
        "10485760",
        Kind::Topic("segment.index.bytes"),
        "Size of an index at which its segment is full.",
    ),
    reload(
        "log.cleanup.policy",
        "\"delete\"",
        Kind::Topic("cleanup.policy"),
        "What happens to old records: \"delete\", \"compact\" (keep the last of each key), or both.",
    ),
    reload(
        "log.cleaner.min.cleanable.ratio",
        "0.5",
        Kind::Topic("min.cleanable.dirty.ratio"),
        "Share of a partition's bytes that must be new for it to be compacted.",
    ),
    reload(
        "log.cleaner.min.compaction.lag.ms",
        "0",
        Kind::Topic("min.compaction.lag.ms"),
        "Age below which no record is compacted away.",
    ),
    reload(
        "log.cleaner.max.compaction.lag.ms",
        "9223372036854775807",
        Kind::Topic("max.compaction.lag.ms"),
        "Age at which a record is compacted, however little else is new.",
    ),
    reload(
        "log.cleaner.delete.retention.ms",
        "86400000",
        Kind::Topic("delete.retention.ms"),
        "How long compaction keeps a tombstone, so that every reader meets it.",
    ),
    reload(
        "log.cleaner.backoff.ms",
        "15000",
        Kind::Integer { min: 1, max: MS_MAX, put: |c, n| c.log_cleaner_backoff_ms = n as u64 },
        "Time between two looks for partitions to compact.",
    ),
    reload(
        "log.cleaner.dedupe.buffer.size",
        "\"auto\"",
        Kind::Size {
            min: limits::CLEANER_MAP_BYTES_MIN as u64,
            max: u32::MAX as u64,
            put: |c, bytes| c.log_cleaner_dedupe_buffer_size = bytes,
        },
        "Memory for the keys of one round of compaction; \"auto\" is 1/16 of memory.limit.",
    ),
    reload(
        "log.cleaner.io.max.bytes.per.second",
        "8388608",
        Kind::Integer {
            min: 4096,
            max: 1 << 40,
            put: |c, n| c.log_cleaner_io_max_bytes_per_second = n as u64,
        },
        "How fast compaction reads and writes, so that it does not delay acks.",
    ),
    reload(
        "message.max.bytes",
        "1048588",
        Kind::Topic("max.message.bytes"),
        "Largest record batch that is accepted.",
    ),
    reload(
        "log.message.timestamp.type",
        "\"CreateTime\"",
        Kind::Topic("message.timestamp.type"),
        "Who stamps records: \"CreateTime\" the producer, \"LogAppendTime\" the broker.",
    ),
    reload(
        "log.message.timestamp.before.max.ms",
        "9223372036854775807",
        Kind::Topic("message.timestamp.before.max.ms"),
        "How far behind the broker's clock a record's timestamp may be.",
    ),
    reload(
        "log.message.timestamp.after.max.ms",
        "3600000",
        Kind::Topic("message.timestamp.after.max.ms"),
        "How far ahead of the broker's clock a record's timestamp may be.",
    ),
    reload(
        "compression.type",
        "\"producer\"",
        Kind::Topic("compression.type"),
        "Compression on disk: \"producer\" as sent, \"uncompressed\", \"gzip\", \"snappy\", \"lz4\", \"zstd\".",
    ),
    reload(
        "min.insync.replicas",
        "1",
        Kind::Topic("min.insync.replicas"),
        "In-sync replicas without which acks=all is refused; no topic needs more than it has.",
    ),
    reload(
        "acks.durable",
        "true",
        Kind::Topic("acks.durable"),
        "Whether acks=all waits for stable storage; false risks up to log.flush.interval.ms.",
    ),
    reload(
        "log.flush.interval.ms",
        "1000",
        Kind::Topic("flush.ms"),
        "Longest time until a record is on stable storage where no ack waits for it.",
    ),
    reload(
        "flush.linger.ms",
        "0",
        Kind::Integer { min: 0, max: 60_000, put: |c, n| c.flush_linger_ms = n as u64 },
        "How long a commit waits for more records; 20 to 100 spares an SD card, and delays acks.",
    ),
    restart(
        "memory.limit",
        "\"auto\"",
        Kind::Size {
            min: limits::MEMORY_LIMIT_BYTES_MIN,
            max: 1 << 40,
            put: |c, bytes| c.memory_limit = bytes,
        },
        "Memory of the whole process; \"auto\" is the smaller of a quarter of RAM and 256MiB.",
    ),
    restart(
        "journal.bytes",
        "\"auto\"",
        Kind::Size {
            min: limits::JOURNAL_BYTES_MIN,
            max: limits::JOURNAL_BYTES_MAX,
            put: |c, bytes| c.journal_bytes = bytes,
        },
        "Size of each log dir's commit journal; \"auto\" is 1 % of the disk, 16MiB to 256MiB.",
    ),
    restart(
        "shards",
        "0",
        Kind::Integer { min: 0, max: limits::SHARDS_MAX as i64, put: |c, n| c.shards = n as usize },
        "Threads that serve connections and partitions; 0 is half the cores, 1 to 4.",
    ),
    reload(
        "disk.full.policy",
        "\"delete-oldest\"",
        Kind::Word {
            words: DISK_FULL_WORDS,
            put: |c, place| c.disk_full_policy = DISK_FULL_POLICIES[place],
        },
        "On a full disk \"delete-oldest\" makes room for new records, \"refuse\" keeps the old ones.",
    ),
    reload(
        "disk.reserve.bytes",
        "\"auto\"",
        Kind::Size { min: 0, max: 1 << 50, put: |c, bytes| c.disk_reserve_bytes = bytes },
        "Room that appends leave free on the disk; \"auto\" chooses by the size of the disk.",
    ),
    reload(
        "max.connections",
        "2048",
        Kind::Integer { min: 1, max: 1_000_000, put: |c, n| c.max_connections = n as usize },
        "Open connections above which new ones are refused.",
    ),
    reload(
        "max.connections.per.ip",
        "2147483647",
        Kind::Integer { min: 1, max: I32_MAX, put: |c, n| c.max_connections_per_ip = n as usize },
        "The same for connections from one address.",
    ),
    reload(
        "connections.max.idle.ms",
        "600000",
        Kind::Integer { min: 1, max: MS_MAX, put: |c, n| c.connections_max_idle_ms = n as u64 },
        "Age of silence at which a connection is closed.",
    ),
    reload(
        "frame.timeout.ms",
        "10000",
        Kind::Integer { min: 1, max: MS_MAX, put: |c, n| c.frame_timeout_ms = n as u64 },
        "Time within which a started frame must be complete, or its connection is closed.",
    ),
    restart(
        "socket.send.buffer.bytes",
        "-1",
        Kind::Integer {
            min: -1,
            max: I32_MAX,
            put: |c, n| c.socket_send_buffer_bytes = u32::try_from(n).ok(),
        },
        "Send buffer of a connection; -1 leaves it to the system.",
    ),
    restart(
        "socket.receive.buffer.bytes",
        "-1",
        Kind::Integer {
            min: -1,
            max: I32_MAX,
            put: |c, n| c.socket_receive_buffer_bytes = u32::try_from(n).ok(),
        },
        "Receive buffer of a connection; -1 leaves it to the system.",
    ),
    restart(
        "socket.listen.backlog.size",
        "512",
        Kind::Integer { min: 1, max: 65_535, put: |c, n| c.socket_listen_backlog_size = n as i32 },
        "Connections that may wait to be accepted; a whole site reconnects at once.",
    ),
    reload(
        "offsets.topic.num.partitions",
        "4",
        Kind::Integer {
            min: 1,
            max: limits::TOPIC_PARTITIONS_MAX as i64,
            put: |c, n| c.offsets_topic_num_partitions = n as i32,
        },
        "Partitions of the topic that keeps consumer groups; fixed when the first group needs it.",
    ),
    reload(
        "offsets.topic.replication.factor",
        "1",
        Kind::Integer {
            min: 1,
            max: i16::MAX as i64,
            put: |c, n| c.offsets_topic_replication_factor = n as i16,
        },
        "Replicas of that topic, if there are so many brokers.",
    ),
    reload(
        "offsets.topic.segment.bytes",
        "16777216",
        Kind::Integer {
            min: 1 << 20,
            max: I32_MAX,
            put: |c, n| c.offsets_topic_segment_bytes = n as u32,
        },
        "Size of its segments: a start reads them all, and a full one can be compacted.",
    ),
    reload(
        "offsets.retention.minutes",
        "10080",
        Kind::Integer { min: 1, max: I32_MAX, put: |c, n| c.offsets_retention_minutes = n as u64 },
        "How long a group without members keeps its offsets.",
    ),
    reload(
        "offsets.retention.check.interval.ms",
        "600000",
        Kind::Integer {
            min: 1,
            max: MS_MAX,
            put: |c, n| c.offsets_retention_check_interval_ms = n as u64,
        },
        "Time between two looks for offsets that are too old.",
    ),
    reload(
        "offset.metadata.max.bytes",
        "4096",
        Kind::Integer { min: 0, max: 1 << 20, put: |c, n| c.offset_metadata_max_bytes = n as u32 },
        "Longest text that a consumer may commit with an offset.",
    ),
    reload(
        "group.min.session.timeout.ms",
        "6000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_min_session_timeout_ms = n as i32,
        },
        "Shortest session timeout that a member of a group may ask for.",
    ),
    reload(
        "group.max.session.timeout.ms",
        "1800000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_max_session_timeout_ms = n as i32,
        },
        "Longest session timeout that a member of a group may ask for.",
    ),
    reload(
        "group.initial.rebalance.delay.ms",
        "3000",
        Kind::Integer {
            min: 0,
            max: I32_MAX,
            put: |c, n| c.group_initial_rebalance_delay_ms = n as u64,
        },
        "How long the first members of a group wait for others before they start.",
    ),
    reload(
        "group.max.size",
        "2147483647",
        Kind::Integer { min: 1, max: I32_MAX, put: |c, n| c.group_max_size = n as u32 },
        "Members that one group may have; never more than 10000.",
    ),
    reload(
        "group.consumer.session.timeout.ms",
        "45000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_session_timeout_ms = n as i32,
        },
        "How long a member may be silent in a group whose partitions the broker assigns (KIP-848).",
    ),
    reload(
        "group.consumer.min.session.timeout.ms",
        "45000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_min_session_timeout_ms = n as i32,
        },
        "Shortest time that may be set for it, here or for one group.",
    ),
    reload(
        "group.consumer.max.session.timeout.ms",
        "60000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_max_session_timeout_ms = n as i32,
        },
        "Longest time that may be set for it.",
    ),
    reload(
        "group.consumer.heartbeat.interval.ms",
        "5000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_heartbeat_interval_ms = n as i32,
        },
        "How often such a member is to be heard of; at least three times in that time.",
    ),
    reload(
        "group.consumer.min.heartbeat.interval.ms",
        "5000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_min_heartbeat_interval_ms = n as i32,
        },
        "Shortest interval that may be set for it, here or for one group.",
    ),
    reload(
        "group.consumer.max.heartbeat.interval.ms",
        "15000",
        Kind::Integer {
            min: 1,
            max: I32_MAX,
            put: |c, n| c.group_consumer_max_heartbeat_interval_ms = n as i32,
        },
        "Longest interval that may be set for it.",
    ),
    reload(
        "group.consumer.max.size",
        "2147483647",
        Kind::Integer { min: 1, max: I32_MAX, put: |c, n| c.group_consumer_max_size = n as u32 },
        "Members that one such group may have; never more than 10000.",
    ),
    reload(
        "group.consumer.assignors",
        "[\"uniform\", \"range\"]",
        Kind::Names {
            names: &["uniform", "range"],
            put: |c, names| c.group_consumer_assignors = names,
        },
        "How the broker may assign; the first is for groups whose members do not choose.",
    ),
    reload(
        "group.consumer.migration.policy",
        "\"bidirectional\"",
        Kind::Word {
            words: MIGRATION_POLICY_WORDS,
            put: |c, place| c.group_consumer_migration_policy = MIGRATION_POLICIES[place],
        },
        "Whether groups with members may change to such a one (\"upgrade\"), back, both, neither.",
    ),
    reload(
        "scrub.interval.ms",
        "604800000",
        Kind::Integer { min: 0, max: MS_MAX, put: |c, n| c.scrub_interval_ms = n as u64 },
        "Time between two passes that read and verify every sealed segment; 0 for never.",
    ),
    reload(
        "scrub.bytes.per.second",
        "1048576",
        Kind::Integer { min: 4096, max: 1 << 40, put: |c, n| c.scrub_bytes_per_second = n as u64 },
        "How fast sealed segments are read to verify them.",
    ),
    reload(
        "producer.id.expiration.ms",
        "86400000",
        Kind::Integer { min: 1, max: MS_MAX, put: |c, n| c.producer_id_expiration_ms = n as u64 },
        "How long a partition remembers an idempotent producer that writes nothing.",
    ),
    reload(
        "log.level",
        "\"info\"",
        Kind::Word { words: LOG_LEVEL_WORDS, put: |c, place| c.log_level = LOG_LEVELS[place] },
        "What is written to stderr: \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\".",
    ),
    reload(
        "shutdown.timeout.ms",
        "30000",
        Kind::Integer { min: 0, max: MS_MAX, put: |c, n| c.shutdown_timeout_ms = n as u64 },
        "How long a clean stop may take before open requests are cut off.",
    ),
];

const fn restart(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    about: &'static str,
) -> Key {
    Key { name, default: Some(default), reloadable: false, about, kind }
}

const fn reload(name: &'static str, default: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, default: Some(default), reloadable: true, about, kind }
}

const fn unset(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, default: None, reloadable: true, about, kind }
}

impl Key {
    /// The place in [`KEYS`] of the key that `name` names.
    pub(super) fn find(name: &str) -> Option<usize> {
        let alias = ALIASES.iter().find(|alias| alias.0 == name);
        let name = alias.map_or(name, |alias| alias.1);
        KEYS.iter().position(|key| key.name == name)
    }

    /// A value for the file, of a key that has no default.
    fn example(&self) -> &'static str {
        match self.kind {
            Kind::Advertised => "[\"wire://edge-1.local:7092\"]",
            Kind::Voters => {
                "[\"1@edge-1.local:7092\", \"2@edge-2.local:7092\", \"3@edge-3.local:7092\"]"
            }
            Kind::File(_) => "\"/etc/odradek/secret\"",
            Kind::Text(_) => "\"attic\"",
            _ => "1",
        }
    }

    /// Whether its value is a list.
    pub(super) fn is_list(&self) -> bool {
        match self.kind {
            Kind::Names { .. }
            | Kind::Directories
            | Kind::Listeners
            | Kind::Advertised
            | Kind::Voters
            | Kind::Roles => true,
            Kind::Topic(key) => TopicConfig::is_list(key),
            Kind::Boolean(_)
            | Kind::Integer { .. }
            | Kind::Size { .. }
            | Kind::Word { .. }
            | Kind::File(_)
            | Kind::Text(_) => false,
        }
    }

    /// Whether every broker needs a value of its own.
    pub(super) fn is_of_one_broker(&self) -> bool {
        matches!(self.kind, Kind::Listeners | Kind::Advertised)
    }

    /// The topic-level key whose default this key sets.
    pub(super) fn topic_key(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Topic(key) => Some(key),
            _ => UNITS.iter().find(|unit| unit.0 == self.name).map(|unit| unit.1),
        }
    }

    /// The key that `name` was probably meant to be; a topic-level key means its default.
    pub(super) fn nearest(name: &str) -> Option<&'static str> {
        let of_topic =
            KEYS.iter().find(|key| matches!(key.kind, Kind::Topic(topic) if topic == name));
        if let Some(key) = of_topic {
            return Some(key.name);
        }
        let names: Vec<&'static str> = KEYS.iter().map(|key| key.name).collect();
        topic_config::nearest_key(name, &names)
    }

    /// Puts `value` into `config` and answers it as text, or says what the key takes.
    pub(super) fn put(&self, config: &mut Config, value: &RawValue) -> Result<String, Expected> {
        let simple = |expected| Err(Expected::Simple(expected));
        match self.kind {
            Kind::Boolean(put) => match boolean(value) {
                Some(flag) => {
                    put(config, flag);
                    Ok(flag.to_string())
                }
                None => simple(topic_config::Expected::Boolean),
            },
            Kind::Integer { min, max, put } => match integer(value) {
                Some(number) if min <= number && number <= max => {
                    put(config, number);
                    Ok(number.to_string())
                }
                _ => simple(topic_config::Expected::Integer { min, max }),
            },
            Kind::Size { min, max, put } => {
                if text(value) == Some("auto") {
                    put(config, None);
                    return Ok("auto".to_owned());
                }
                let size = size(value).filter(|size| min <= *size && *size <= max);
                let size = size.ok_or(Expected::Size { min, max })?;
                put(config, Some(size));
                Ok(size.to_string())
            }
            Kind::Word { words, put } => {
                let place = text(value).and_then(|word| words.iter().position(|w| *w == word));
                let Some(place) = place else {
                    return simple(topic_config::Expected::OneOf(words));
                };
                put(config, place);
                Ok(words[place].to_owned())
            }
            Kind::Names { names, put } => {
                let find = |text: &str| names.iter().copied().find(|name| *name == text);
                let chosen = list(value).and_then(|texts| texts.into_iter().map(find).collect());
                let Some(chosen) = chosen else {
                    return simple(topic_config::Expected::OneOf(names));
                };
                put(config, Vec::clone(&chosen));
                Ok(chosen.join(","))
            }
            Kind::Directories | Kind::Listeners | Kind::Advertised | Kind::Voters | Kind::Roles => {
                self.put_list(config, value)
            }
            Kind::File(put) => {
                let path = text(value).filter(|path| !path.is_empty() && !path.contains('\0'));
                let path = path.ok_or(Expected::File)?;
                put(config, PathBuf::from(path));
                Ok(path.to_owned())
            }
            Kind::Text(put) => {
                let text = text(value).filter(|text| text.len() <= TEXT_BYTES_MAX);
                let text = text.ok_or(Expected::Text)?;
                put(config, text);
                Ok(text.to_owned())
            }
            Kind::Topic(key) => put_topic_default(&mut config.topic_defaults, key, value),
        }
    }

    /// The same, of a key that takes a list of its own kind.
    fn put_list(&self, config: &mut Config, value: &RawValue) -> Result<String, Expected> {
        match self.kind {
            Kind::Directories => {
                config.log_dirs = directories(value).ok_or(Expected::Directories)?;
                Ok(joined(config.log_dirs.iter().map(|dir| dir.display().to_string())))
            }
            Kind::Listeners => {
                config.listeners = listeners(value).ok_or(Expected::Listeners)?;
                Ok(joined(config.listeners.iter().map(Listener::to_string)))
            }
            Kind::Advertised => {
                config.advertised_listeners = advertised(value).ok_or(Expected::Advertised)?;
                Ok(joined(config.advertised_listeners.iter().map(Listener::to_string)))
            }
            Kind::Voters => {
                config.controller_quorum_voters = voters(value).ok_or(Expected::Voters)?;
                Ok(joined(config.controller_quorum_voters.iter().map(Voter::to_string)))
            }
            Kind::Roles => {
                config.process_roles = roles(value).ok_or(Expected::Roles)?;
                Ok(joined(config.process_roles.iter().map(|role| role.name().to_owned())))
            }
            _ => unreachable!("only keys with lists are put here"),
        }
    }
}

/// Sets a topic-level key; TOML's type must be the key's, as with every other key.
fn put_topic_default(
    topic: &mut TopicConfig,
    key: &'static str,
    value: &RawValue,
) -> Result<String, Expected> {
    use topic_config::Expected::{Boolean, Integer, OneOf, Ratio};

    // No key takes an empty text, and the refusal says what it does take.
    let Err(TopicConfigError::Value { expected, .. }) = topic.clone().set(key, "") else {
        unreachable!("the table names topic keys, and none of them takes nothing")
    };
    let text = match (expected, value) {
        (_, RawValue::Bare(text)) | (OneOf(_), RawValue::Text(text)) => text.clone(),
        (OneOf(_), RawValue::List(words)) => words.join(","),
        (Integer { .. } | Ratio, RawValue::Integer(number)) => number.to_string(),
        (Boolean, RawValue::Boolean(flag)) => flag.to_string(),
        (Ratio, RawValue::Float(digits)) => digits.clone(),
        _ => return Err(Expected::Simple(expected)),
    };
    topic.set(key, &text).map_err(|_| Expected::Simple(expected))?;
    Ok(topic.text(key).expect("a key that was set has a text"))
}

fn boolean(value: &RawValue) -> Option<bool> {
    match value {
        RawValue::Boolean(flag) => Some(*flag),
        RawValue::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn integer(value: &RawValue) -> Option<i64> {
    match value {
        RawValue::Integer(number) => Some(*number),
        RawValue::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn text(value: &RawValue) -> Option<&str> {
    match value {
        RawValue::Text(text) | RawValue::Bare(text) => Some(text),
        _ => None,
    }
}

/// A number of bytes in one of its spellings; `auto` is not one.
fn size(value: &RawValue) -> Option<u64> {
    if let RawValue::Integer(number) = value {
        return u64::try_from(*number).ok();
    }
    let text = text(value)?;
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" if matches!(value, RawValue::Bare(_)) => 0,
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let number: u64 = digits.trim_end().parse().ok()?;
    number.checked_mul(1 << shift)
}

/// A list; a single text is split at its commas, as in Kafka's properties.
pub(super) fn list(value: &RawValue) -> Option<Vec<&str>> {
    let texts: Vec<&str> = match value {
        RawValue::List(texts) => texts.iter().map(String::as_str).collect(),
        _ => text(value)?.split(',').map(str::trim).collect(),
    };
    let repeats = |place: usize| texts[..place].contains(&texts[place]);
    let legal = !texts.is_empty() && !(0..texts.len()).any(repeats);
    legal.then_some(texts)
}

fn directories(value: &RawValue) -> Option<Vec<PathBuf>> {
    let texts = list(value)?;
    let legal = texts.iter().all(|text| !text.is_empty() && !text.contains('\0'));
    legal.then(|| texts.into_iter().map(PathBuf::from).collect())
}

fn listeners(value: &RawValue) -> Option<Vec<Listener>> {
    list(value)?.into_iter().map(Listener::parse).collect()
}

/// One address for each protocol that a client can connect to.
fn advertised(value: &RawValue) -> Option<Vec<Listener>> {
    let listeners = listeners(value)?;
    let is_reachable = |listener: &Listener| {
        let host = listener.host.parse::<IpAddr>();
        listener.port != 0 && !host.is_ok_and(|host| host.is_unspecified())
    };
    let protocols: BTreeSet<Protocol> = listeners.iter().map(|l| l.protocol).collect();
    let is_legal = protocols.len() == listeners.len() && listeners.iter().all(is_reachable);
    (is_legal && !listeners.is_empty()).then_some(listeners)
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<String>>().join(",")
}

/// The text of `config.toml`: every key at its default with one line about it.
pub fn default_file() -> String {
    let mut file = String::from(
        "# Odradek's configuration: every key at its default. A key that is not here has its default,\n\
         # so an empty file is as good, and so is none: `odradek --config config.toml`.\n\
         # `--set key=value` and ODRADEK_KEY_WITH_UNDERSCORES=value override this file;\n\
         # `odradek config show` prints every effective value and where it comes from.\n\
         # [reload]: SIGHUP puts a changed value into effect; the others wait for a restart.\n",
    );
    for key in KEYS {
        let reload = if key.reloadable { " [reload]" } else { "" };
        // TOML has no key beside a longer one that begins with it, unless that one is quoted.
        let quote = if super::raw::clashes(key) { "\"" } else { "" };
        let name = format!("{quote}{}{quote}", key.name);
        // Writing to a string cannot fail.
        let _ = match key.default {
            Some(default) => write!(file, "\n# {}{reload}\n{name} = {default}\n", key.about),
            None => write!(file, "\n# {}{reload}\n# {name} = {}\n", key.about, key.example()),
        };
    }
    file
}
