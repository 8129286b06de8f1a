//! The consumer's settings, by Kafka's names and with Kafka's defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientError;
use crate::client::assignors::{
    Assignor, CooperativeStickyAssignor, RangeAssignor, RebalanceProtocol,
};
use crate::client::cluster::Endpoint;
use crate::client::interceptor::ConsumerInterceptor;
use crate::client::membership::Rules;
use crate::client::offsets::OffsetSpec;
use crate::client::producer::wall_clock;
use crate::limits::JOIN_PROTOCOLS_MAX;
use crate::time::Timestamp;

/// Where to begin when there is no position, or the position is no longer held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// `auto.offset.reset=latest`: at the end; earlier records are not seen.
    #[default]
    Latest,
    /// `auto.offset.reset=earliest`: at the first record held.
    Earliest,
    /// `auto.offset.reset=by_duration`: at the first record younger than this.
    ByDuration(Duration),
    /// `auto.offset.reset=none`: `poll` answers [`ClientError::OffsetOutOfRange`].
    None,
}

impl OffsetReset {
    pub(super) fn spec(self) -> Option<OffsetSpec> {
        match self {
            OffsetReset::Latest => Some(OffsetSpec::Latest),
            OffsetReset::Earliest => Some(OffsetSpec::Earliest),
            OffsetReset::ByDuration(age) => {
                Some(OffsetSpec::At(Timestamp(wall_clock().0 - age.as_millis() as i64)))
            }
            OffsetReset::None => None,
        }
    }
}

/// A consumer's settings; [`Default`] has Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `bootstrap.servers`: `HOST:PORT`, several separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// `group.id`: the group that shares the work of `subscribe`, and keeps committed offsets.
    pub group_id: Option<String>,
    /// `group.instance.id`: a name that outlives the process, so that a restart within the session
    /// timeout moves no partitions.
    pub group_instance_id: Option<String>,
    /// `client.rack`: where this consumer stands.
    pub client_rack: Option<String>,
    /// `partition.assignment.strategy`, the most wanted first. Partitions are kept during a
    /// rebalance if all of them are cooperative.
    pub partition_assignment_strategy: Vec<Arc<dyn Assignor>>,
    /// `session.timeout.ms`: without heartbeats for so long its partitions go to others.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: without a poll for so long the consumer leaves its group.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit`: `poll` and `close` commit what earlier polls returned. Without a
    /// group nothing is committed.
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `exclude.internal.topics`: a pattern does not match the broker's own topics.
    pub exclude_internal_topics: bool,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `max.poll.records`.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: u32,
    /// `fetch.max.bytes`: of one fetch, and of all buffers together.
    pub fetch_max_bytes: u32,
    /// `max.partition.fetch.bytes`: of one fetch; a partition that has so many buffered is not
    /// asked for more.
    pub max_partition_fetch_bytes: u32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: for calls that wait for an answer.
    pub default_api_timeout: Duration,
    /// `interceptor.classes`: a chain that sees every record before `poll` returns it.
    pub interceptors: Vec<Arc<dyn ConsumerInterceptor>>,
    /// `retry.backoff.ms`: the first pause; each one is twice the last.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`; it doubles to twenty times itself.
    pub reconnect_backoff: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig {
            bootstrap_servers: "127.0.0.1:7092".to_owned(),
            client_id: "odradek-consumer".to_owned(),
            group_id: None,
            group_instance_id: None,
            client_rack: None,
            partition_assignment_strategy: vec![
                Arc::new(RangeAssignor),
                Arc::new(CooperativeStickyAssignor),
            ],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            exclude_internal_topics: true,
            auto_offset_reset: OffsetReset::Latest,
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            fetch_max_wait: Duration::from_millis(500),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_secs(60),
            interceptors: Vec::new(),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_millis(1000),
            reconnect_backoff: Duration::from_millis(50),
            metadata_max_age: Duration::from_secs(300),
            connection_setup_timeout: Duration::from_secs(10),
        }
    }
}

impl ConsumerConfig {
    /// The defaults, with these `bootstrap.servers`.
    pub fn new(bootstrap_servers: &str) -> ConsumerConfig {
        ConsumerConfig { bootstrap_servers: bootstrap_servers.to_owned(), ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        let complaints = [
            (self.bootstrap_servers.trim().is_empty(), "bootstrap.servers"),
            (self.max_poll_records < 1, "max.poll.records"),
            (self.request_timeout <= self.fetch_max_wait, "request.timeout.ms"),
            (self.fetch_max_bytes < 1, "fetch.max.bytes"),
            (self.group_id.as_deref() == Some(""), "group.id"),
            (self.group_instance_id.as_deref() == Some(""), "group.instance.id"),
            (self.session_timeout <= self.heartbeat_interval, "heartbeat.interval.ms"),
            (self.max_poll_interval.is_zero(), "max.poll.interval.ms"),
            (
                !(1..=JOIN_PROTOCOLS_MAX).contains(&self.partition_assignment_strategy.len()),
                "partition.assignment.strategy",
            ),
            (self.max_partition_fetch_bytes < 1, "max.partition.fetch.bytes"),
        ];
        match complaints.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, key)) => Err(ClientError::Config(key)),
            None => Ok(()),
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            bootstrap_servers: self.bootstrap_servers.clone(),
            client_id: self.client_id.clone(),
            request_timeout: self.request_timeout,
            connect_timeout: self.connection_setup_timeout,
        }
    }

    /// How members of a group with these strategies give up partitions.
    pub(super) fn rebalance_protocol(&self) -> RebalanceProtocol {
        let mut strategies = self.partition_assignment_strategy.iter();
        match strategies.all(|one| one.supports_cooperative()) {
            true => RebalanceProtocol::Cooperative,
            false => RebalanceProtocol::Eager,
        }
    }

    pub(super) fn membership_rules(&self) -> Rules {
        Rules {
            session_timeout: self.session_timeout,
            heartbeat_interval: self.heartbeat_interval,
            max_poll_interval: self.max_poll_interval,
            retry_backoff: self.retry_backoff,
            retry_backoff_max: self.retry_backoff_max,
            is_static: self.group_instance_id.is_some(),
        }
    }
}
