//! What a seed decides before anything happens: sizes, timeouts, how good disks and links are.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use odradek::broker::metrics::ProcessMetrics;
use odradek::broker::site::SiteConfig;
use odradek::broker::{BrokerConfig, LiveConfig};
use odradek::controller::change::Endpoint;
use odradek::controller::{ControllerConfig, OffsetsTopic};
use odradek::group::GroupRules;
use odradek::group_config::{GroupBounds, GroupConfig};
use odradek::ids::NodeId;
use odradek::limits::JOURNAL_BYPASS_BYTES;
use odradek::quorum::Timeouts;
use odradek::replica::{ReplicaConfig, ThrottledRates};
use odradek::topic_config::TopicConfig;
use odradek::wire::peer::hello::{BROKER, CONTROLLER};

use crate::plenty::Plenty;
use crate::sim_disk::Rng;

/// What a sync of a worn or cheap card takes.
pub const SLOW_SYNC_US: (u64, u64) = (100_000, 200_000);

/// A topic with `acks.durable=false`.
#[derive(Clone, Copy, Debug)]
pub struct Weak {
    /// Which, of those that clients use.
    pub topic: usize,
    /// Its `flush.ms`.
    pub flush_ms: &'static str,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub node_count: i32,
    pub ring_bytes: u64,
    pub segment_bytes: u32,
    pub min_insync: i32,
    pub session_timeout_ms: u64,
    pub lag_time_max_ms: u64,
    pub fetch_timeout_ms: u64,
    shards: [u16; 4],
    /// Whether a board joins while the run goes on, and another leaves.
    pub has_moves: bool,
    /// What a sync of each board takes, at least and beyond.
    pub sync_us: [(u64, u64); 4],
    /// How long a client rests between two requests, about.
    pub pace_us: u64,
    /// Whether two members of a group bear the same name.
    pub has_twins: bool,
    /// The topic whose acks do not wait for storage, and how often it is flushed.
    pub weak: Option<Weak>,
    /// A partition with so many bytes in a commit is synced ahead of it.
    pub much_bytes: usize,
    /// What a follower asked before it was started anew comes once more; in each fourth seed.
    pub has_late_fetches: bool,
    /// What replicas do wrong on purpose.
    #[cfg(feature = "mutants")]
    pub replica_mutant: Option<odradek::replica::mutant::Mutant>,
}

impl Plan {
    /// Draws one.
    pub fn draw(seed: u64, random: &mut Rng) -> Plan {
        let mut plan = Plan::fine(seed, random);
        plan.draw_slow_cards();
        plan.draw_weak_topic();
        let mut random = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xa4ea);
        if random.below(3) == 0 {
            plan.much_bytes = [100, 1000][random.below(2) as usize];
        }
        plan
    }

    /// In some seeds one of the topics does not wait for storage; drawn apart, too. (Where members
    /// change, a board that leaves may leave a partition to one that has just lost what it had.)
    fn draw_weak_topic(&mut self) {
        let mut random = Rng(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x3ea9);
        if random.below(5) == 0 && !self.has_moves {
            let topic = random.below(2) as usize;
            let flush_ms = ["100", "1000", "5000"][random.below(3) as usize];
            self.weak = Some(Weak { topic, flush_ms });
        }
    }

    /// Some cards need long for each sync: all, or one. This is drawn apart, so that what the other
    /// seeds do stays as it was.
    fn draw_slow_cards(&mut self) {
        let mut random = Rng(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x510e);
        if random.below(5) != 0 {
            return;
        }
        if random.flip() {
            self.sync_us = [SLOW_SYNC_US; 4];
        } else {
            self.sync_us[random.below(self.node_count as u64) as usize] = SLOW_SYNC_US;
        }
    }

    /// All cards are alike.
    fn fine(seed: u64, random: &mut Rng) -> Plan {
        let mut shard = || 1 + random.below(2) as u16;
        let shards = [shard(), shard(), shard(), shard()];
        let sync_us =
            |random: &mut Rng| [(100, 400), (1000, 8000), (5000, 40_000)][random.below(3) as usize];
        Plan {
            seed,
            node_count: 3,
            ring_bytes: [1 << 19, 1 << 20][random.below(2) as usize],
            segment_bytes: [6_000, 30_000, 200_000][random.below(3) as usize],
            min_insync: 1 + random.below(2) as i32,
            session_timeout_ms: [3000, 9000][random.below(2) as usize],
            lag_time_max_ms: [1500, 4000, 10_000][random.below(3) as usize],
            fetch_timeout_ms: [4000, 30_000][random.below(2) as usize],
            shards,
            has_moves: random.below(4) == 0,
            sync_us: [sync_us(random); 4],
            pace_us: [80_000, 200_000, 500_000][random.below(3) as usize],
            has_twins: random.below(2) == 0,
            weak: None,
            much_bytes: JOURNAL_BYPASS_BYTES,
            has_late_fetches: seed % 4 == 1,
            #[cfg(feature = "mutants")]
            replica_mutant: None,
        }
    }

    pub fn shard_count(&self, node: i32) -> u16 {
        self.shards[node as usize - 1]
    }

    pub fn sync_us(&self, node: i32) -> (u64, u64) {
        self.sync_us[node as usize - 1]
    }

    pub fn topic_defaults(&self) -> TopicConfig {
        TopicConfig {
            segment_bytes: self.segment_bytes,
            index_interval_bytes: 600,
            retention_ms: -1,
            retention_bytes: -1,
            min_insync_replicas: self.min_insync,
            // A clock that jumps must not make records unwelcome.
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
            ..TopicConfig::default()
        }
    }

    /// `is_first` is whether a node's process is its first one. Where members change, no list names
    /// who votes: the first node founds the site, and the others join it.
    pub fn site_config(&self, node: i32, is_first: bool) -> SiteConfig {
        let named = if self.has_moves { 0 } else { self.node_count };
        SiteConfig {
            roles: BROKER | CONTROLLER,
            voters: (1..=named).map(NodeId).collect(),
            endpoints: vec![Endpoint {
                protocol: "wire".into(),
                host: format!("board-{node}").into(),
                port: 7092,
            }],
            rack: "".into(),
            timeouts: Timeouts::default(),
            voters_max: 3,
            may_found: node == 1 && (is_first || !self.has_moves),
            session_timeout_ms: self.session_timeout_ms,
            heartbeat_interval_ms: self.session_timeout_ms / 4,
            leader_imbalance_check_ms: Some(7000),
        }
    }

    pub fn controller_config(&self, node: i32) -> ControllerConfig {
        ControllerConfig {
            node_id: NodeId(node),
            num_partitions: 1,
            default_replication_factor: 3,
            delete_topic_enable: true,
            partitions_max: 100,
            offsets_topic: OffsetsTopic {
                partition_count: 2,
                replication_factor: 3,
                segment_bytes: self.segment_bytes.max(20_000),
            },
            topic_defaults: self.topic_defaults(),
            group_defaults: GroupConfig::default(),
            group_bounds: GroupBounds::default(),
        }
    }

    pub fn broker_config(&self, node: i32, seed: u64) -> BrokerConfig {
        static PROCESS: OnceLock<ProcessMetrics> = OnceLock::new();
        let node_id = NodeId(node);
        BrokerConfig {
            node_id,
            shard_count: self.shard_count(node),
            has_peers: true,
            is_broker: true,
            is_informed: false,
            frame_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            handles_max: 100,
            producers_max: 1000,
            process: PROCESS.get_or_init(ProcessMetrics::default),
            memory: &Plenty,
            seed,
            replica: ReplicaConfig {
                lag_time_max_ms: self.lag_time_max_ms,
                fetch_timeout_ms: self.fetch_timeout_ms,
                #[cfg(feature = "mutants")]
                mutant: self.replica_mutant,
                ..ReplicaConfig::new(node_id, 0)
            },
            live: LiveConfig {
                groups: GroupRules::default(),
                advertised: None,
                advertised_kafka: None,
                auto_create_topics_enable: false,
                replication_throttled: ThrottledRates::default(),
                retention_check_interval_ms: 20_000,
                scrub_interval_ms: 3000,
                cleaner_backoff_ms: 1_000_000_000,
                cleaner_map_bytes: None,
                producer_id_expiration_ms: 86_400_000,
                topic_defaults: self.topic_defaults(),
                topic_sources: BTreeMap::new(),
                shown: Vec::new(),
                alterable: Vec::new(),
            },
        }
    }
}
