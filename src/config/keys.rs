//! The table of keys: name, default, kind, what SIGHUP does, and one line about it.
//!
//! The order is that of `config.toml`, and within one source that of taking effect: where several
//! keys set one field (`log.retention.hours`, `.minutes`, `.ms`), the finer unit stands later.

use core::fmt::Write;

use super::key::{Key, Kind, reload, restart, unset};
use super::{DiskFullPolicy, MigrationPolicy};
use crate::ids::NodeId;
use crate::limits;

/// Another name of a key.
pub(super) const ALIASES: &[(&str, &str)] = &[("node.id", "broker.id"), ("log.dir", "log.dirs")];

/// Keys that set a topic-level key's default in a unit of their own.
pub(super) const UNITS: &[(&str, &str)] = &[
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
    restart(
        "quorum.voters.max",
        "3",
        Kind::Integer { min: 1, max: 7, put: |c, n| c.quorum_voters_max = n as usize },
        "Nodes that join vote too while fewer than so many do.",
    ),
    Key {
        name: "peers",
        default: None,
        reloadable: false,
        about: "Wire listeners of the other nodes of the site; with no voters named, the lowest id begins it.",
        kind: Kind::Peers,
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
    restart(
        "replica.lag.time.max.ms",
        "30000",
        Kind::Integer {
            min: 200,
            max: 3_600_000,
            put: |c, n| c.replica_lag_time_max_ms = n as u64,
        },
        "A replica that has not had all records on stable storage for so long is out of sync.",
    ),
    restart(
        "auto.leader.rebalance.enable",
        "true",
        Kind::Boolean(|c, flag| c.auto_leader_rebalance_enable = flag),
        "Whether leaderships go back to the first replicas by themselves.",
    ),
    restart(
        "leader.imbalance.check.interval.seconds",
        "300",
        Kind::Integer {
            min: 1,
            max: 86_400,
            put: |c, n| c.leader_imbalance_check_interval_seconds = n as u64,
        },
        "How often that is looked at.",
    ),
    unset(
        "follower.replication.throttled.rate",
        Kind::Integer {
            min: 1,
            max: i64::MAX,
            put: |c, n| c.follower_replication_throttled_rate = Some(n as u64),
        },
        "Bytes a second that replicas here copy while they are not in sync; unset: no bound.",
    ),
    unset(
        "leader.replication.throttled.rate",
        Kind::Integer {
            min: 1,
            max: i64::MAX,
            put: |c, n| c.leader_replication_throttled_rate = Some(n as u64),
        },
        "Bytes a second that go from here to replicas that are not in sync; unset: no bound.",
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
        "3",
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

/// The text of `config.toml`: every key at its default with one line about it.
pub fn default_file() -> String {
    let mut file = String::from(
        "# Odradek's configuration: every key at its default. A key that is not here has its default,\n\
         # so an empty file is as good, and so is none: `odradek --config config.toml`.\n\
         # `--set key=value` and ODRADEK_KEY_WITH_UNDERSCORES=value override this file;\n\
         # `odradek config show` prints what a broker would start with, and where it comes from.\n\
         # [reload]: SIGHUP puts a changed value into effect, and clients may set one at run time, which\n\
         # then lies over this file (`kafka-configs --entity-type brokers`); the others wait for a\n\
         # restart.\n",
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
