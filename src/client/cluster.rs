//! What a client knows of the cluster, and blocking calls to its brokers.
//!
//! Kafka's names: `bootstrap.servers` are asked until one answers; from then on the brokers that
//! the metadata names are used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::client::ClientError;
use crate::client::net::{Connection, Frame};
use crate::ids::{LeaderEpoch, NodeId, Partition, TopicId};
use crate::wire::metadata::{MetadataBroker, MetadataRequest, MetadataResponse, MetadataTopic};
use crate::wire::{ApiKey, ErrorCode, TopicRef};

/// How brokers are reached; the same for producer, consumer and admin.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `HOST:PORT`, several separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Its id.
    pub node_id: NodeId,
    /// `HOST:PORT` of its wire listener.
    pub address: String,
    /// Where it stands, or empty.
    pub rack: String,
}

impl BrokerInfo {
    pub(super) fn new(broker: &MetadataBroker<'_>) -> BrokerInfo {
        let address = address(broker.host, broker.port);
        BrokerInfo { node_id: broker.node_id, address, rack: broker.rack.to_owned() }
    }
}

/// `HOST:PORT`, as it is dialled.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub partition: Partition,
    /// `NONE` when it can be used at present.
    pub error: ErrorCode,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// Epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: TopicId,
    /// Whether it serves the broker itself.
    pub is_internal: bool,
    /// Its partitions in ascending order.
    pub partitions: Vec<PartitionInfo>,
}

impl TopicInfo {
    fn new(topic: MetadataTopic<'_>) -> TopicInfo {
        let partitions = topic.partitions.into_iter().map(|partition| PartitionInfo {
            partition: partition.partition,
            error: partition.error,
            leader: (0 <= partition.leader.0).then_some(partition.leader),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas,
            isr: partition.isr,
        });
        TopicInfo {
            name: topic.name.to_owned(),
            topic_id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions: partitions.collect(),
        }
    }

    /// The leader of a partition, if there is one.
    pub fn leader(&self, partition: Partition) -> Option<NodeId> {
        self.partition(partition)?.leader
    }

    pub(super) fn partition(&self, partition: Partition) -> Option<&PartitionInfo> {
        let place = usize::try_from(partition.0).ok()?;
        self.partitions.get(place).filter(|info| info.partition == partition)
    }
}

/// An answer to a Metadata request.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub brokers: Vec<BrokerInfo>,
    /// In the order asked; an error stands for a topic that is not there.
    pub topics: Vec<Result<TopicInfo, ErrorCode>>,
}

/// Connections to the brokers of a cluster, one each, used by one blocking call at a time.
#[derive(Debug)]
pub(super) struct Cluster {
    endpoint: Endpoint,
    brokers: BTreeMap<NodeId, String>,
    controller: Option<NodeId>,
    connections: BTreeMap<String, Connection>,
}

impl Cluster {
    pub fn new(endpoint: Endpoint) -> Cluster {
        Cluster {
            endpoint,
            brokers: BTreeMap::new(),
            controller: None,
            connections: BTreeMap::new(),
        }
    }

    /// Calls one broker by its address.
    fn call_address<B: Serialize>(
        &mut self,
        address: &str,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        if let Some(mut connection) = self.connections.remove(address) {
            match connection.call(api, body, timeout) {
                Ok(frame) => {
                    self.connections.insert(address.to_owned(), connection);
                    return Ok(frame);
                }
                // An idle connection may have been closed by the broker: once more on a new one.
                Err(ClientError::Disconnected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let connect_timeout = self.endpoint.connect_timeout.min(timeout);
        let mut connection = Connection::open(address, &self.endpoint.client_id, connect_timeout)?;
        let frame = connection.call(api, body, timeout)?;
        self.connections.insert(address.to_owned(), connection);
        Ok(frame)
    }

    /// Calls any broker that answers: the known ones, then the bootstrap servers.
    pub fn call_any<B: Serialize>(
        &mut self,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        let mut addresses: Vec<String> = self.brokers.values().cloned().collect();
        let servers = self.endpoint.bootstrap_servers.split(',').map(str::trim);
        for server in servers.filter(|server| !server.is_empty()) {
            if !addresses.iter().any(|address| address == server) {
                addresses.push(server.to_owned());
            }
        }
        let mut last = ClientError::Config("bootstrap.servers");
        for address in addresses {
            match self.call_address(&address, api, body, timeout) {
                Ok(frame) => return Ok(frame),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Calls the broker of this id, if the metadata names it, else any.
    pub fn call_node<B: Serialize>(
        &mut self,
        node: Option<NodeId>,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        match node.and_then(|node| self.brokers.get(&node).cloned()) {
            Some(address) => self.call_address(&address, api, body, timeout),
            None => self.call_any(api, body, timeout),
        }
    }

    /// Calls the controller.
    pub fn call_controller<B: Serialize>(
        &mut self,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        if self.controller.is_none() {
            self.metadata(Some(&[]), false)?;
        }
        self.call_node(self.controller, api, body, timeout)
    }

    /// Asks for some topics, or for all, and remembers the brokers.
    pub fn metadata(
        &mut self,
        topics: Option<&[TopicRef<'_>]>,
        allow_auto_topic_creation: bool,
    ) -> Result<Metadata, ClientError> {
        let request =
            MetadataRequest { topics: topics.map(<[_]>::to_vec), allow_auto_topic_creation };
        let timeout = self.endpoint.request_timeout;
        let frame = self.call_any(ApiKey::Metadata, &request, timeout)?;
        let response: MetadataResponse<'_> = frame.body()?;
        let brokers: Vec<BrokerInfo> = response.brokers.iter().map(BrokerInfo::new).collect();
        self.brokers =
            brokers.iter().map(|broker| (broker.node_id, broker.address.clone())).collect();
        self.controller = Some(response.controller_id);
        let topics = response.topics.into_iter().map(|topic| {
            if topic.error.is_ok() { Ok(TopicInfo::new(topic)) } else { Err(topic.error) }
        });
        Ok(Metadata { brokers, topics: topics.collect() })
    }

    pub fn request_timeout(&self) -> Duration {
        self.endpoint.request_timeout
    }
}
