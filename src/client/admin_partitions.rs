//! The admin client's half for sites of several brokers: where partitions live, who leads them, who
//! belongs to the site.

use crate::client::admin::{Admin, Each, Refusal, checked, outcomes};
use crate::client::{ClientError, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId};
use crate::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignPartition,
};
use crate::wire::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribedLog,
};
use crate::wire::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
};
use crate::wire::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, ElectPartition};
use crate::wire::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use crate::wire::update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use crate::wire::{ApiKey, ErrorCode, TopicRef};

pub use crate::wire::elect_leaders::ElectionKind;

/// A topic, and where its partitions live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: TopicId,
    /// Whether it serves the broker itself.
    pub is_internal: bool,
    /// Its partitions, in ascending order.
    pub partitions: Vec<PlacedPartition>,
}

/// A partition, where it lives and where it moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPartition {
    /// Its number.
    pub partition: Partition,
    /// Who leads it, if anyone can.
    pub leader: Option<NodeId>,
    /// Epoch of that leadership, or of the lack of one.
    pub leader_epoch: LeaderEpoch,
    /// Version of all this.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those that may lead when none is.
    pub elr: Vec<NodeId>,
    /// Those that a reassignment brings.
    pub adding: Vec<NodeId>,
    /// Those that leave when it is done.
    pub removing: Vec<NodeId>,
    /// Those whose broker does not take part.
    pub offline: Vec<NodeId>,
}

impl PlacedPartition {
    fn new(described: DescribedPartition) -> PlacedPartition {
        PlacedPartition {
            partition: described.partition,
            leader: Some(described.leader).filter(|leader| *leader != NodeId::NONE),
            leader_epoch: described.leader_epoch,
            partition_epoch: described.partition_epoch,
            replicas: described.replicas,
            isr: described.isr,
            elr: described.elr,
            adding: described.adding,
            removing: described.removing,
            offline: described.offline,
        }
    }

    /// Whether a reassignment is under way.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

impl Admin {
    /// Where partitions live: those of some topics, or of all.
    pub fn describe_partitions(
        &self,
        names: Option<&[&str]>,
    ) -> Result<Vec<Result<PlacedTopic, ErrorCode>>, ClientError> {
        let topics = names.map(|names| names.iter().map(|name| TopicRef::Name(name)).collect());
        let request = DescribeTopicPartitionsRequest { topics };
        let api = ApiKey::DescribeTopicPartitions;
        let frame = self.cluster().call_any(api, &request, self.request_timeout())?;
        let response: DescribeTopicPartitionsResponse<'_> = frame.body()?;
        let topics = match names {
            Some(names) => checked(response.topics, names.len())?,
            None => response.topics,
        };
        let placed = topics.into_iter().map(|topic| {
            if !topic.error.is_ok() {
                return Err(topic.error);
            }
            Ok(PlacedTopic {
                name: topic.name.to_owned(),
                topic_id: topic.topic_id,
                is_internal: topic.is_internal,
                partitions: topic.partitions.into_iter().map(PlacedPartition::new).collect(),
            })
        });
        Ok(placed.collect())
    }

    /// What the partitions of a topic hold on one broker.
    pub fn describe_log_dirs_of(
        &self,
        broker: NodeId,
        name: &str,
    ) -> Result<Vec<DescribedLog>, ClientError> {
        let request = DescribeLogDirsRequest { topics: vec![TopicRef::Name(name)] };
        let mut cluster = self.cluster();
        // It says where the brokers are.
        cluster.metadata(Some(&[]), false)?;
        let api = ApiKey::DescribeLogDirs;
        let frame = cluster.call_node(Some(broker), api, &request, self.request_timeout())?;
        Ok(frame.body::<DescribeLogDirsResponse>()?.partitions)
    }

    /// Has leaders elected.
    pub fn elect_leaders(
        &self,
        kind: ElectionKind,
        partitions: &[TopicPartition],
    ) -> Result<Each<()>, ClientError> {
        let wanted = partitions.iter().map(|one| ElectPartition {
            topic: TopicRef::Name(&one.topic),
            partition: one.partition,
        });
        let timeout_ms = self.timeout_ms();
        let request = ElectLeadersRequest { timeout_ms, kind, partitions: wanted.collect() };
        let api = ApiKey::ElectLeaders;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout())?;
        let response: ElectLeadersResponse<'_> = frame.body()?;
        outcomes(response.partitions, partitions.len())
    }

    /// Has partitions moved to other brokers, the preferred leader first; `None` cancels what is
    /// under way. What was accepted goes on by itself: [`Admin::describe_partitions`] shows it.
    pub fn alter_partition_reassignments(
        &self,
        moves: &[(TopicPartition, Option<Vec<NodeId>>)],
    ) -> Result<Each<()>, ClientError> {
        let wanted = moves.iter().map(|(one, replicas)| ReassignPartition {
            topic: TopicRef::Name(&one.topic),
            partition: one.partition,
            replicas: replicas.clone(),
        });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change: true,
            partitions: wanted.collect(),
        };
        let api = ApiKey::AlterPartitionReassignments;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout())?;
        let response: AlterPartitionReassignmentsResponse<'_> = frame.body()?;
        outcomes(response.partitions, moves.len())
    }

    /// Takes a broker that is gone off the list of the site.
    pub fn unregister_broker(&self, node_id: NodeId) -> Result<Result<(), Refusal>, ClientError> {
        let request = UnregisterBrokerRequest { node_id };
        let api = ApiKey::UnregisterBroker;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout())?;
        let response: UnregisterBrokerResponse<'_> = frame.body()?;
        Ok(outcomes(response.outcomes, 1)?.remove(0))
    }

    /// Raises the site's feature level, when every broker understands it.
    pub fn update_features(&self, level: u16) -> Result<Result<(), Refusal>, ClientError> {
        let request = UpdateFeaturesRequest {
            timeout_ms: self.timeout_ms(),
            validate_only: false,
            feature_level: level,
        };
        let api = ApiKey::UpdateFeatures;
        let frame = self.cluster().call_controller(api, &request, self.request_timeout())?;
        let response: UpdateFeaturesResponse<'_> = frame.body()?;
        Ok(outcomes(response.outcomes, 1)?.remove(0))
    }
}
