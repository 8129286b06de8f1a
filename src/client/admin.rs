//! The admin client: topics, configurations, offsets and the state of the cluster.
//!
//! Every call blocks and is answered within `request.timeout.ms` for each broker asked. Where a
//! call takes a list, the outer error says that nobody answered, the inner ones what became of
//! each element.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::client::ClientError;
use crate::client::cluster::{BrokerInfo, Cluster, Endpoint, TopicInfo};
use crate::client::offsets::{self, OffsetAndTimestamp, OffsetSpec, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId, Uuid};
use crate::wire::configs::{
    AlterResource, ConfigChange, ConfigResource, ConfigSource, DescribeConfigsRequest,
    DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use crate::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowTopic,
};
use crate::wire::create_topics::{
    ConfigEntry, CreateTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse,
};
use crate::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse, TopicOutcome};
use crate::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use crate::wire::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribedLog,
};
use crate::wire::describe_metrics::{DescribeMetricsRequest, DescribeMetricsResponse, MetricKind};
use crate::wire::describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse};
use crate::wire::quorum::members::MemberKind;
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

/// An admin client's settings; [`Default`] has Kafka's.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// `bootstrap.servers`: `HOST:PORT`, several separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig {
            bootstrap_servers: "127.0.0.1:7092".to_owned(),
            client_id: "odradek-admin".to_owned(),
            request_timeout: Duration::from_secs(30),
            connection_setup_timeout: Duration::from_secs(10),
        }
    }
}

impl AdminConfig {
    /// The defaults, with these `bootstrap.servers`.
    pub fn new(bootstrap_servers: &str) -> AdminConfig {
        AdminConfig { bootstrap_servers: bootstrap_servers.to_owned(), ..Self::default() }
    }
}

/// What the broker said no to, with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub error: ErrorCode,
    /// What was wrong, for a person; may be empty.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = if self.message.is_empty() { self.error.text() } else { &self.message };
        write!(f, "{text} ({})", self.error.name())
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub(super) fn check(error: ErrorCode, message: &str) -> Result<(), Refusal> {
        if error.is_ok() { Ok(()) } else { Err(Refusal { error, message: message.to_owned() }) }
    }
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; −1 for the broker's `num.partitions`.
    pub partition_count: i32,
    /// Its replicas; −1 for the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// Configuration that differs from the broker's.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic as the broker makes it by default.
    pub fn new(name: &str) -> NewTopic {
        NewTopic {
            name: name.to_owned(),
            partition_count: -1,
            replication_factor: -1,
            configs: BTreeMap::new(),
        }
    }

    /// With so many partitions.
    #[must_use]
    pub fn partitions(mut self, count: i32) -> Self {
        self.partition_count = count;
        self
    }

    /// With so many replicas of each partition.
    #[must_use]
    pub fn replication_factor(mut self, factor: i16) -> Self {
        self.replication_factor = factor;
        self
    }

    /// With this configuration.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.configs.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// A topic as it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedTopicInfo {
    /// Its id.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_count: i32,
    /// Its replication factor.
    pub replication_factor: i16,
}

/// What has a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// The broker that answers.
    Broker,
    /// All brokers.
    Brokers,
    /// A consumer group of KIP-848, whether or not it is there.
    Group(String),
}

impl Resource {
    fn wire(&self) -> ConfigResource<'_> {
        match self {
            Resource::Topic(name) => ConfigResource::Topic(name),
            Resource::Broker => ConfigResource::Broker,
            Resource::Brokers => ConfigResource::Brokers,
            Resource::Group(group_id) => ConfigResource::Group(group_id),
        }
    }
}

/// A key's effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterConfig {
    /// Give it this value.
    Set(String, String),
    /// Return it to the broker's default.
    Delete(String),
}

impl AlterConfig {
    fn wire(&self) -> ConfigChange<'_> {
        match self {
            AlterConfig::Set(key, value) => ConfigChange::Set { key, value },
            AlterConfig::Delete(key) => ConfigChange::Delete { key },
        }
    }
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its id.
    pub cluster_id: Uuid,
    /// The active controller.
    pub controller: NodeId,
    /// Live brokers.
    pub brokers: Vec<BrokerInfo>,
}

/// Who agrees on a cluster's metadata, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumInfo {
    /// Who leads, if anyone is known to.
    pub leader: Option<NodeId>,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// The end of what is committed.
    pub high_watermark: Offset,
    /// The end of the log of who answered.
    pub log_end_offset: Offset,
    /// Everybody who belongs to it.
    pub members: Vec<QuorumMember>,
}

impl QuorumInfo {
    /// Those of them who vote, witnesses too.
    pub fn voters(&self) -> impl Iterator<Item = &QuorumMember> {
        self.members.iter().filter(|member| member.kind != MemberKind::Observer)
    }
}

/// A member of a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumMember {
    /// The node.
    pub node_id: NodeId,
    /// Which life of its quorum log.
    pub incarnation: u32,
    /// As what it belongs to the quorum.
    pub kind: MemberKind,
    /// How far its log is on stable storage; only the leader knows.
    pub durable_end_offset: Option<Offset>,
}

/// One of a broker's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricValue {
    /// Its name; the unit comes last.
    pub name: String,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Its value.
    pub value: u64,
}

/// Administers a cluster.
///
/// ```no_run
/// use odradek::client::{Admin, AdminConfig, NewTopic};
///
/// let admin = Admin::new(AdminConfig::new("127.0.0.1:7092"))?;
/// let new = NewTopic::new("host.vmstat").partitions(3).config("retention.ms", "86400000");
/// for created in admin.create_topics(&[new])? {
///     println!("{:?}", created);
/// }
/// # Ok::<(), odradek::client::ClientError>(())
/// ```
#[derive(Debug)]
pub struct Admin {
    cluster: Mutex<Cluster>,
    request_timeout: Duration,
}

/// What became of each element of a list.
pub type Each<T> = Vec<Result<T, Refusal>>;

pub(super) fn checked<T>(answers: Vec<T>, expected: usize) -> Result<Vec<T>, ClientError> {
    if answers.len() == expected {
        Ok(answers)
    } else {
        Err(ClientError::Protocol(FrameError::Malformed))
    }
}

pub(super) fn outcomes(
    answers: Vec<TopicOutcome<'_>>,
    expected: usize,
) -> Result<Each<()>, ClientError> {
    let answers = checked(answers, expected)?.into_iter();
    Ok(answers.map(|answer| Refusal::check(answer.error, answer.message)).collect())
}

impl Admin {
    /// An admin client; it connects with its first call.
    pub fn new(config: AdminConfig) -> Result<Admin, ClientError> {
        if config.bootstrap_servers.trim().is_empty() {
            return Err(ClientError::Config("bootstrap.servers"));
        }
        let endpoint = Endpoint {
            bootstrap_servers: config.bootstrap_servers,
            client_id: config.client_id,
            request_timeout: config.request_timeout,
            connect_timeout: config.connection_setup_timeout,
        };
        let request_timeout = config.request_timeout;
        Ok(Admin { cluster: Mutex::new(Cluster::new(endpoint)), request_timeout })
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) fn cluster(&self) -> std::sync::MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn timeout_ms(&self) -> u32 {
        self.request_timeout.as_millis() as u32
    }

    /// Creates topics.
    pub fn create_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<Each<CreatedTopicInfo>, ClientError> {
        let wire = topics.iter().map(|topic| CreateTopic {
            name: &topic.name,
            partition_count: topic.partition_count,
            replication_factor: topic.replication_factor,
            configs: topic.configs.iter().map(|(key, value)| ConfigEntry { key, value }).collect(),
        });
        let request = CreateTopicsRequest {
            timeout_ms: self.timeout_ms(),
            validate_only: false,
            topics: wire.collect(),
        };
        let frame =
            self.cluster().call_controller(ApiKey::CreateTopics, &request, self.request_timeout)?;
        let response: CreateTopicsResponse<'_> = frame.body()?;
        let created = checked(response.topics, topics.len())?.into_iter().map(|topic| {
            Refusal::check(topic.error, topic.message).map(|()| CreatedTopicInfo {
                topic_id: topic.topic_id,
                partition_count: topic.partition_count,
                replication_factor: topic.replication_factor,
            })
        });
        Ok(created.collect())
    }

    /// Deletes topics with all their records.
    pub fn delete_topics(&self, names: &[&str]) -> Result<Each<()>, ClientError> {
        let request = DeleteTopicsRequest {
            timeout_ms: self.timeout_ms(),
            topics: names.iter().map(|name| TopicRef::Name(name)).collect(),
        };
        let frame =
            self.cluster().call_controller(ApiKey::DeleteTopics, &request, self.request_timeout)?;
        let response: DeleteTopicsResponse<'_> = frame.body()?;
        outcomes(response.topics, names.len())
    }

    /// Gives topics more partitions: their names and the counts afterwards.
    pub fn create_partitions(&self, topics: &[(&str, i32)]) -> Result<Each<()>, ClientError> {
        let grow = topics.iter().map(|(name, count)| GrowTopic {
            topic: TopicRef::Name(name),
            partition_count: *count,
        });
        let request = CreatePartitionsRequest {
            timeout_ms: self.timeout_ms(),
            validate_only: false,
            topics: grow.collect(),
        };
        let api = ApiKey::CreatePartitions;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout)?;
        let response: CreatePartitionsResponse<'_> = frame.body()?;
        outcomes(response.topics, topics.len())
    }

    /// All topics.
    pub fn list_topics(&self) -> Result<Vec<TopicInfo>, ClientError> {
        let metadata = self.cluster().metadata(None, false)?;
        Ok(metadata.topics.into_iter().flatten().collect())
    }

    /// Some topics.
    pub fn describe_topics(
        &self,
        names: &[&str],
    ) -> Result<Vec<Result<TopicInfo, ErrorCode>>, ClientError> {
        let topics: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
        let metadata = self.cluster().metadata(Some(&topics), false)?;
        checked(metadata.topics, names.len())
    }

    /// The effective configuration of some resources.
    pub fn describe_configs(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<Result<Vec<ConfigValue>, ErrorCode>>, ClientError> {
        let request =
            DescribeConfigsRequest { resources: resources.iter().map(Resource::wire).collect() };
        let api = ApiKey::DescribeConfigs;
        let frame = self.cluster().call_any(api, &request, self.request_timeout)?;
        let response: DescribeConfigsResponse<'_> = frame.body()?;
        let described = checked(response.resources, resources.len())?.into_iter();
        let described = described.map(|resource| {
            if !resource.error.is_ok() {
                return Err(resource.error);
            }
            let configs = resource.configs.into_iter().map(|config| ConfigValue {
                key: config.key.to_owned(),
                value: config.value.to_owned(),
                source: config.source,
            });
            Ok(configs.collect())
        });
        Ok(described.collect())
    }

    /// Changes some keys of some resources; for each resource all changes take effect or none.
    pub fn incremental_alter_configs(
        &self,
        changes: &[(Resource, Vec<AlterConfig>)],
    ) -> Result<Each<()>, ClientError> {
        let resources = changes.iter().map(|(resource, changes)| AlterResource {
            resource: resource.wire(),
            changes: changes.iter().map(AlterConfig::wire).collect(),
        });
        let request =
            IncrementalAlterConfigsRequest { validate_only: false, resources: resources.collect() };
        let api = ApiKey::IncrementalAlterConfigs;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout)?;
        let response: IncrementalAlterConfigsResponse<'_> = frame.body()?;
        outcomes(response.resources, changes.len())
    }

    /// Makes the records below an offset unreadable (`None`: below the high watermark). Answers
    /// the first offset each partition holds afterwards.
    pub fn delete_records(
        &self,
        below: &[(TopicPartition, Option<Offset>)],
    ) -> Result<Vec<Result<Offset, ErrorCode>>, ClientError> {
        let mut cluster = self.cluster();
        let partitions: Vec<TopicPartition> = below.iter().map(|(one, _)| one.clone()).collect();
        let by_leader = offsets::by_leader(&mut cluster, &partitions)?;
        let mut answers: Vec<Result<Offset, ErrorCode>> =
            vec![Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION); below.len()];
        for (leader, places) in by_leader {
            let wire = places.iter().map(|place| {
                let (one, offset) = &below[*place];
                DeleteRecordsPartition {
                    topic: TopicRef::Name(&one.topic),
                    partition: one.partition,
                    offset: offset.unwrap_or(Offset(-1)),
                }
            });
            let request =
                DeleteRecordsRequest { timeout_ms: self.timeout_ms(), partitions: wire.collect() };
            let api = ApiKey::DeleteRecords;
            let frame = cluster.call_node(Some(leader), api, &request, self.request_timeout)?;
            let response: DeleteRecordsResponse = frame.body()?;
            let answered = checked(response.partitions, places.len())?;
            for (place, answer) in places.into_iter().zip(answered) {
                let is_ok = answer.error.is_ok();
                answers[place] = if is_ok { Ok(answer.low_watermark) } else { Err(answer.error) };
            }
        }
        Ok(answers)
    }

    /// Offsets at the ends of partitions, or by time; `None` where no record is that late.
    pub fn list_offsets(
        &self,
        questions: &[(TopicPartition, OffsetSpec)],
    ) -> Result<Vec<Result<Option<OffsetAndTimestamp>, ErrorCode>>, ClientError> {
        offsets::list(&mut self.cluster(), questions)
    }

    /// Who is there.
    pub fn describe_cluster(&self) -> Result<ClusterInfo, ClientError> {
        let request = DescribeClusterRequest {};
        let api = ApiKey::DescribeCluster;
        let frame = self.cluster().call_any(api, &request, self.request_timeout)?;
        let response: DescribeClusterResponse<'_> = frame.body()?;
        if !response.error.is_ok() {
            return Err(ClientError::Broker(response.error));
        }
        Ok(ClusterInfo {
            cluster_id: response.cluster_id,
            controller: response.controller_id,
            brokers: response.brokers.iter().map(BrokerInfo::new).collect(),
        })
    }

    /// Who agrees on the cluster's metadata, as the broker sees it that answers.
    pub fn describe_quorum(&self) -> Result<QuorumInfo, ClientError> {
        let api = ApiKey::DescribeQuorum;
        let frame = self.cluster().call_any(
            api,
            &DescribeQuorumRequest { asks_leader: false },
            self.request_timeout,
        )?;
        let response: DescribeQuorumResponse = frame.body()?;
        if !response.error.is_ok() {
            return Err(ClientError::Broker(response.error));
        }
        let members = response.members.iter().map(|one| QuorumMember {
            node_id: one.id.node_id,
            incarnation: one.id.incarnation,
            kind: one.kind,
            durable_end_offset: Some(one.durable_end_offset).filter(|end| Offset::ZERO <= *end),
        });
        Ok(QuorumInfo {
            leader: Some(response.leader).filter(|leader| *leader != NodeId::NONE),
            epoch: response.epoch,
            high_watermark: response.high_watermark,
            log_end_offset: response.log_end_offset,
            members: members.collect(),
        })
    }

    /// What one broker's partitions of some topics hold; `topic_place` counts in `names`.
    pub fn describe_log_dirs(&self, names: &[&str]) -> Result<Vec<DescribedLog>, ClientError> {
        let request = DescribeLogDirsRequest {
            topics: names.iter().map(|name| TopicRef::Name(name)).collect(),
        };
        let api = ApiKey::DescribeLogDirs;
        let frame = self.cluster().call_any(api, &request, self.request_timeout)?;
        Ok(frame.body::<DescribeLogDirsResponse>()?.partitions)
    }

    /// The numbers of the broker that answers.
    pub fn describe_metrics(&self) -> Result<Vec<MetricValue>, ClientError> {
        let request = DescribeMetricsRequest {};
        let api = ApiKey::DescribeMetrics;
        let frame = self.cluster().call_any(api, &request, self.request_timeout)?;
        let response: DescribeMetricsResponse<'_> = frame.body()?;
        let metrics = response.metrics.into_iter().map(|metric| MetricValue {
            name: metric.name.to_owned(),
            kind: metric.kind,
            value: metric.value,
        });
        Ok(metrics.collect())
    }
}
