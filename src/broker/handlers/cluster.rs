//! Who is there, and where partitions live: what clients are told of the site.

use core::net::IpAddr;

use bytes::BytesMut;

use crate::broker::ConnectionId;
use crate::broker::front::Front;
use crate::broker::handlers::{Call, unknown_topic};
use crate::controller::image::{Image, PartitionImage, TopicImage};
use crate::ids::{NodeId, Partition, TopicId, Uuid};
use crate::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use crate::wire::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
    DescribedTopic,
};
use crate::wire::find_coordinator::FoundCoordinator;
use crate::wire::manage_site::ManageSiteResponse;
use crate::wire::metadata::MetadataBroker;
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef, frame};

/// A broker, and where the client that asks reaches it.
pub(in super::super) struct LiveBroker {
    node_id: NodeId,
    host: Box<str>,
    port: u16,
    rack: Box<str>,
}

impl LiveBroker {
    pub(in super::super) fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub(in super::super) fn as_coordinator(&self) -> FoundCoordinator<'_> {
        let LiveBroker { node_id, host, port, .. } = self;
        FoundCoordinator { error: ErrorCode::NONE, node_id: *node_id, host, port: *port }
    }

    pub(super) fn as_metadata(&self) -> MetadataBroker<'_> {
        let LiveBroker { node_id, host, port, rack } = self;
        MetadataBroker { node_id: *node_id, host, port: *port, rack }
    }
}

impl<F: Clone> Front<F> {
    /// This broker, if it is one, where the client came to it, and the others that take part, where they said they
    /// are reached.
    pub(in super::super) fn live_brokers(&self, connection: ConnectionId) -> Vec<LiveBroker> {
        let protocol = if self.has_door(connection) { "kafka" } else { "wire" };
        let (own_host, own_port) = self.own_address(connection);
        let own = self.config.node_id;
        let rack = self.image.broker(own).map(|broker| broker.rack.clone());
        let mut brokers = Vec::new();
        if self.config.is_broker {
            let (host, rack) = (own_host.into(), rack.unwrap_or_default());
            brokers.push(LiveBroker { node_id: own, host, port: own_port, rack });
        }
        for (node_id, broker) in self.image.brokers() {
            if node_id == own || !broker.is_active() {
                continue;
            }
            if let Some((host, port)) = broker.listener(protocol) {
                let (host, rack) = (host.into(), broker.rack.clone());
                brokers.push(LiveBroker { node_id, host, port, rack });
            }
        }
        brokers.sort_by_key(|broker| broker.node_id);
        brokers
    }

    /// Founds a site, or joins one. What follows from it no machine but this one may ask for.
    pub(super) fn manage_site(&mut self, call: Call, body: BytesMut) {
        let (_, host) = self.caller(call.connection);
        let address = host.trim_start_matches('/').parse::<IpAddr>();
        if address.is_ok_and(|address| address.to_canonical().is_loopback()) {
            return self.control(call, ApiKey::ManageSite, body);
        }
        let number = self.reserve_slot(call.connection);
        let response = ManageSiteResponse {
            error: ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            text: "a site is founded and joined from the broker's own machine only",
            address: "",
            cluster_id: Uuid::ZERO,
        };
        self.respond(call.connection, number, call.correlation_id, &response);
        self.release(call.frame_bytes);
    }

    pub(super) fn describe_cluster(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        frame::decode::<DescribeClusterRequest>(body)?;
        let number = self.reserve_slot(call.connection);
        let brokers = self.live_brokers(call.connection);
        let response = DescribeClusterResponse {
            error: ErrorCode::NONE,
            cluster_id: self.image.cluster_id().unwrap_or_default(),
            // Every node takes what is for the controller, and passes it on to where that is.
            controller_id: self.config.node_id,
            brokers: brokers.iter().map(LiveBroker::as_metadata).collect(),
        };
        self.respond(call.connection, number, call.correlation_id, &response);
        self.release(call.frame_bytes);
        Ok(())
    }

    pub(super) fn describe_partitions(
        &mut self,
        call: Call,
        body: &[u8],
    ) -> Result<(), FrameError> {
        let request = frame::decode::<DescribeTopicPartitionsRequest<'_>>(body)?;
        let number = self.reserve_slot(call.connection);
        let described = |id, topic| described_topic(&self.image, id, topic);
        let topics = match &request.topics {
            None => self.image.topics().map(|(id, topic)| described(id, topic)).collect(),
            Some(topics) => topics
                .iter()
                .map(|topic| match self.image.find(*topic) {
                    Some((topic_id, found)) => described(topic_id, found),
                    None => missing_topic(*topic),
                })
                .collect(),
        };
        let response = DescribeTopicPartitionsResponse { topics };
        let ready = self.ready(call.connection, call.correlation_id, &response);
        self.fill_slot(call.connection, number, ready);
        self.release(call.frame_bytes);
        Ok(())
    }
}

fn described_topic<'a>(
    image: &Image,
    topic_id: TopicId,
    topic: &'a TopicImage,
) -> DescribedTopic<'a> {
    let partition = |(number, partition): (usize, &PartitionImage)| DescribedPartition {
        error: match partition.leader {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::LEADER_NOT_AVAILABLE,
        },
        partition: Partition(number as i32),
        leader: partition.leader.unwrap_or(NodeId::NONE),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.to_vec(),
        isr: partition.isr.to_vec(),
        elr: partition.elr.to_vec(),
        adding: partition.adding.to_vec(),
        removing: partition.removing.to_vec(),
        offline: partition
            .replicas
            .iter()
            .copied()
            .filter(|node| !image.is_active(*node))
            .collect(),
    };
    DescribedTopic {
        error: ErrorCode::NONE,
        name: &topic.name,
        topic_id,
        is_internal: topic.is_internal(),
        partitions: topic.partitions.iter().enumerate().map(partition).collect(),
    }
}

fn missing_topic(topic: TopicRef<'_>) -> DescribedTopic<'_> {
    let (name, topic_id) = match topic {
        TopicRef::Name(name) => (name, TopicId::default()),
        TopicRef::Id(topic_id) => ("", topic_id),
    };
    let error = unknown_topic(topic);
    DescribedTopic { error, name, topic_id, is_internal: false, partitions: Vec::new() }
}
