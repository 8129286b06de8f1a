//! What a client knows of the cluster, and blocking calls to its brokers.
//!
//! Kafka's names: `bootstrap.servers` are asked until one answers; from then on the brokers that
//! the metadata names are used. Those take turns with the question for metadata: one that is cut off
//! from the others goes on to answer, and what it says is old. One that does not answer in good time
//! is asked after all others for a while.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

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

    /// Keeps of what was known before what is newer than this answer: whoever gave it had not heard
    /// of a change of leaders yet (semantics.md, KIP-320).
    pub(super) fn keep_newer(&mut self, before: TopicInfo) {
        if before.topic_id != self.topic_id {
            return;
        }
        for (seen, known) in self.partitions.iter_mut().zip(before.partitions) {
            if seen.partition == known.partition && seen.leader_epoch < known.leader_epoch {
                *seen = known;
            }
        }
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
    /// Addresses that did not answer in time, and when.
    silent: BTreeMap<String, Instant>,
    /// Who answered the last question for metadata.
    last_answered: Option<String>,
}

/// How long a broker is waited for while there are others to ask.
const PATIENCE_WITH_ONE: Duration = Duration::from_secs(1);

/// How long one that did not answer in time is asked after all others.
const SILENT_FOR: Duration = Duration::from_secs(2);

impl Cluster {
    pub fn new(endpoint: Endpoint) -> Cluster {
        Cluster {
            endpoint,
            brokers: BTreeMap::new(),
            controller: None,
            connections: BTreeMap::new(),
            silent: BTreeMap::new(),
            last_answered: None,
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
        self.call_first(self.addresses(), api, body, timeout)
    }

    /// A broker owes an answer for longer than it should: others are asked before it.
    pub fn shun(&mut self, node: NodeId) {
        if let Some(address) = self.brokers.get(&node) {
            self.silent.insert(address.clone(), Instant::now());
        }
    }

    /// A broker was named, and where it is.
    pub fn meet(&mut self, node: NodeId, host: &str, port: u16) {
        self.brokers.insert(node, address(host, port));
    }

    /// The known brokers, then the bootstrap servers.
    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.brokers.values().cloned().collect();
        let servers = self.endpoint.bootstrap_servers.split(',').map(str::trim);
        for server in servers.filter(|server| !server.is_empty()) {
            if !addresses.iter().any(|address| address == server) {
                addresses.push(server.to_owned());
            }
        }
        addresses
    }

    /// Calls the first of some brokers that answers. No single one may take all the time there is.
    fn call_first<B: Serialize>(
        &mut self,
        mut addresses: Vec<String>,
        api: ApiKey,
        body: &B,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        // For a while only: all that are late with an answer may be waiting for the one that is not,
        // whose card died, and which knows nothing new.
        self.silent.retain(|_, at| at.elapsed() < SILENT_FOR);
        addresses.sort_by_key(|address| self.silent.contains_key(address));
        let short = PATIENCE_WITH_ONE.min(timeout);
        let patience: &[Duration] = match addresses.len() {
            0 | 1 => &[timeout],
            _ => &[short, timeout],
        };
        let mut last = ClientError::Config("bootstrap.servers");
        for patience in patience {
            let mut was_slow = false;
            for address in &addresses {
                match self.call_address(address, api, body, *patience) {
                    Ok(frame) => {
                        self.silent.remove(address);
                        self.last_answered = Some(address.clone());
                        return Ok(frame);
                    }
                    Err(error) => {
                        was_slow |= is_slow(&error);
                        self.silent.insert(address.clone(), Instant::now());
                        last = error;
                    }
                }
            }
            if !was_slow {
                break;
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
        let mut addresses = self.addresses();
        if let Some(last) = &self.last_answered {
            // Not the same one again, if there are others.
            let place = addresses.iter().position(|address| address == last);
            addresses.rotate_left(place.map_or(0, |place| place + 1));
        }
        let frame = self.call_first(addresses, ApiKey::Metadata, &request, timeout)?;
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

/// Whether a broker might have answered, had it had more time.
fn is_slow(error: &ClientError) -> bool {
    matches!(error, ClientError::Timeout | ClientError::Unreachable(ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leader and epoch of each partition.
    fn topic(topic_id: TopicId, leaders: &[(i32, i32)]) -> TopicInfo {
        let partitions = (0..).zip(leaders).map(|(number, (leader, epoch))| PartitionInfo {
            partition: Partition(number),
            error: ErrorCode::NONE,
            leader: Some(NodeId(*leader)),
            leader_epoch: LeaderEpoch(*epoch),
            replicas: Vec::new(),
            isr: Vec::new(),
        });
        TopicInfo {
            name: "t".to_owned(),
            topic_id,
            is_internal: false,
            partitions: partitions.collect(),
        }
    }

    /// KIP-320: a broker that is cut off went on to say that it leads, and its clients, who had known
    /// better, believed it and waited for it for ever.
    #[test]
    fn old_news_do_not_replace_newer() {
        let id = TopicId(crate::ids::Uuid([1; 16]));
        let known = topic(id, &[(2, 7), (2, 3)]);
        let mut old = topic(id, &[(1, 6), (3, 4), (1, 0)]);
        old.keep_newer(known.clone());
        assert_eq!(old, topic(id, &[(2, 7), (3, 4), (1, 0)]));
        let another = topic(TopicId(crate::ids::Uuid([2; 16])), &[(1, 0)]);
        let mut seen = another.clone();
        seen.keep_newer(known);
        assert_eq!(seen, another, "a topic that was made again");
    }
}
